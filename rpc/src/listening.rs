//! Where a server waits for channels, and how one of each kind opens.

use std::future::poll_fn;
use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::io::Interest;
use tokio::net::{TcpListener, TcpStream};
#[cfg(unix)]
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::mpsc;

use crate::admission::Place;
#[cfg(unix)]
use crate::channel::{AllowedUsers, UnixChannel};
use crate::channel::{
    Channel, ChannelError, Identity, MemoryChannel, NoiseChannel, Origin, TlsChannel,
};
use crate::limits::{Limits, MEMORY_BACKLOG};
use crate::noise::Acceptance;
use crate::socket;

/// One place where clients appear.
pub(crate) enum Listening {
    Tls(TcpListener),
    Noise(TcpListener, Arc<Acceptance>),
    #[cfg(unix)]
    Unix(UnixListener, Arc<AllowedUsers>),
    Memory(mpsc::Receiver<MemoryChannel>),
}

/// A client that has appeared and proved nothing yet.
pub(crate) enum Arrival {
    Tls(TcpStream, Origin),
    Noise(TcpStream, Origin, Arc<Acceptance>),
    #[cfg(unix)]
    Unix(UnixStream, Arc<AllowedUsers>),
    Memory(MemoryChannel),
}

/// A way into a server from within its own process.
#[derive(Clone, Debug)]
pub struct Door {
    identity: Identity,
    arrivals: mpsc::Sender<MemoryChannel>,
}

impl Door {
    pub(crate) fn new(identity: Identity) -> (Self, Listening) {
        let (arrivals, waiting) = mpsc::channel(MEMORY_BACKLOG);
        (Self { identity, arrivals }, Listening::Memory(waiting))
    }

    /// The bare channel, for tests whose client keeps no rules.
    #[doc(hidden)]
    pub async fn enter(&self, visitor: &Identity) -> Result<MemoryChannel, ChannelError> {
        let (near, far) = MemoryChannel::pair(visitor, &self.identity)?;
        self.arrivals
            .send(far)
            .await
            .map_err(|_| ChannelError::NobodyThere)?;
        Ok(near)
    }
}

/// The next client at any of the places, in turn so that none starves another.
pub(crate) async fn next(places: &mut Vec<Listening>) -> io::Result<Arrival> {
    poll_fn(|cx| {
        let mut index = 0;
        while index < places.len() {
            match places[index].poll(cx) {
                Poll::Ready(Some(arrival)) => {
                    // Whoever was served goes last.
                    let served = places.remove(index);
                    places.push(served);
                    return Poll::Ready(arrival);
                }
                // Every door is gone: nobody can come this way any more.
                Poll::Ready(None) => drop(places.remove(index)),
                Poll::Pending => index += 1,
            }
        }
        Poll::Pending
    })
    .await
}

impl Listening {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<io::Result<Arrival>>> {
        match self {
            Self::Tls(listener) => listener
                .poll_accept(cx)
                .map_ok(|(stream, address)| Arrival::Tls(stream, Origin::Network(address)))
                .map(Some),
            Self::Noise(listener, acceptance) => listener
                .poll_accept(cx)
                .map_ok(|(stream, address)| {
                    Arrival::Noise(stream, Origin::Network(address), Arc::clone(acceptance))
                })
                .map(Some),
            #[cfg(unix)]
            Self::Unix(listener, users) => listener
                .poll_accept(cx)
                .map_ok(|(stream, _)| Arrival::Unix(stream, Arc::clone(users)))
                .map(Some),
            Self::Memory(waiting) => waiting
                .poll_recv(cx)
                .map(|arrived| arrived.map(|channel| Ok(Arrival::Memory(channel)))),
        }
    }
}

impl Arrival {
    /// Which network the client comes from, if any.
    pub(crate) fn source(&self) -> Option<IpAddr> {
        match self {
            Self::Tls(_, Origin::Network(address))
            | Self::Noise(_, Origin::Network(address), _) => Some(address.ip()),
            _ => None,
        }
    }

    /// Waits for the client's first byte, which in TLS and Noise comes before
    /// any of ours. Until then it costs us neither a buffer nor a turn.
    pub(crate) async fn speaks(&self) -> Result<(), ChannelError> {
        let (Self::Tls(stream, _) | Self::Noise(stream, _, _)) = self else {
            return Ok(());
        };
        match stream.peek(&mut [0; 1]).await {
            Ok(0) => Err(ChannelError::Io(io::ErrorKind::UnexpectedEof.into())),
            Ok(_) => Ok(()),
            Err(error) => Err(ChannelError::Io(error)),
        }
    }

    /// Lets the client prove its key. Its bytes count as those of the stranger
    /// in `place`, if it can be one.
    pub(crate) async fn open(
        self,
        identity: &Identity,
        place: Option<&Place>,
        limits: &Limits,
    ) -> Result<Box<dyn Channel>, ChannelError> {
        Ok(match self {
            Self::Tls(stream, origin) => {
                still_there(&stream).await?;
                socket::tune(&stream, limits).map_err(ChannelError::Io)?;
                let stream = Place::weighing(place, stream);
                Box::new(TlsChannel::accept(identity, stream, origin, limits).await?)
            }
            Self::Noise(stream, origin, acceptance) => {
                still_there(&stream).await?;
                socket::tune(&stream, limits).map_err(ChannelError::Io)?;
                let stream = Place::weighing(place, stream);
                Box::new(NoiseChannel::accept(identity, &acceptance, stream, origin, limits).await?)
            }
            #[cfg(unix)]
            Self::Unix(stream, users) => {
                Box::new(UnixChannel::accept(identity, stream, &users, limits).await?)
            }
            Self::Memory(channel) => Box::new(channel),
        })
    }
}

/// Refuses a client that has left while it waited. What it sent can still be
/// read, and a crowd that has gone would go on costing as much as one that is
/// there; so would clients that lost patience and dialled anew. Whoever has only
/// ended its own direction cannot end a handshake either: the last word is
/// always the client's.
async fn still_there(stream: &TcpStream) -> Result<(), ChannelError> {
    // Its first byte has come: this does not wait.
    let ready = stream
        .ready(Interest::READABLE)
        .await
        .map_err(ChannelError::Io)?;
    if ready.is_read_closed() {
        return Err(ChannelError::Io(io::ErrorKind::UnexpectedEof.into()));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    use std::net::Ipv4Addr;
    use std::time::Duration;

    use sealmoot_crypto::signature::SigningKey;
    use socket2::SockRef;
    use tokio::io::AsyncWriteExt;
    use tokio::time::timeout;

    #[tokio::test]
    async fn whoever_left_while_it_waited_is_not_answered() {
        let key = SigningKey::generate().expect("random source");
        let identity = Identity::new(&key).expect("a sound key");
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await;
        let listener = listener.expect("a port");
        let address = listener.local_addr().expect("bound");
        for (leaves, resets) in [(false, false), (true, false), (true, true)] {
            let mut client = TcpStream::connect(address).await.expect("accepting");
            let (stream, from) = listener.accept().await.expect("a client");
            // A length that no first frame has: it is looked at only when the
            // client is there.
            client.write_all(&[0xff; 64]).await.expect("open");
            stream.peek(&mut [0; 1]).await.expect("bytes");
            if resets {
                SockRef::from(&client)
                    .set_linger(Some(Duration::ZERO))
                    .expect("a socket");
            }
            let client = Some(client).filter(|_| !leaves);
            // Until the runtime has heard of it.
            let heard = async {
                while leaves && still_there(&stream).await.is_ok() {
                    tokio::time::sleep(Duration::from_millis(1)).await;
                }
            };
            timeout(Duration::from_secs(60), heard).await.expect("soon");
            let arrival = Arrival::Noise(stream, Origin::Network(from), Arc::default());
            let opened = arrival.open(&identity, None, &Limits::default()).await;
            match opened.err().expect("refused") {
                ChannelError::Io(error) => assert!(leaves, "{error}"),
                other => assert!(!leaves && matches!(other, ChannelError::NotSealmoot)),
            }
            drop(client);
        }
    }
}
