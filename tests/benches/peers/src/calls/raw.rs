//! Length-prefixed frames over TCP or tokio-rustls, without calls: what carries
//! them costs this much. No task for a call, no number, no deadline, no status.

use std::io;
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::io::{
    AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader, ReadHalf, WriteHalf,
};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;

use super::line::{Line, middle};
use crate::channel::certificates::Ends;
use crate::channel::cores::Cores;
use crate::channel::parties::{our_provider, shared};

/// In a frame's length: to be counted, not to be echoed. Without a body: the
/// count, please.
const COUNT: u32 = 1 << 31;
/// What either side reads, and what the server answers, at a time.
const BUFFER_BYTES: usize = 64 * 1024;

trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

struct Raw {
    incoming: BufReader<ReadHalf<Box<dyn Stream>>>,
    outgoing: WriteHalf<Box<dyn Stream>>,
    frames: Vec<u8>,
    reply: Vec<u8>,
}

/// One connection, by TLS as [`Ends::certified`] has it, or in clear.
///
/// # Panics
/// When the system gives no port.
#[must_use]
pub fn open(cores: &Cores, is_secure: bool) -> Box<dyn Line> {
    let ends = Ends::certified(shared(our_provider()));
    let far = ends.clone();
    let stream = dial(cores, move |stream| async move {
        // The client hangs up at the end.
        let _ = match is_secure {
            true => serve(far.accept(stream).await).await,
            false => serve(stream).await,
        };
    });
    let stream: Box<dyn Stream> = match is_secure {
        true => Box::new(cores.run(ends.connect(stream))),
        false => Box::new(stream),
    };
    let (incoming, outgoing) = tokio::io::split(stream);
    Box::new(Raw {
        incoming: BufReader::with_capacity(BUFFER_BYTES, incoming),
        outgoing,
        frames: vec![],
        reply: vec![],
    })
}

/// A TCP connection, whose other side is given to `serve` at the far end.
pub(super) fn dial<F>(
    cores: &Cores,
    serve: impl FnOnce(TcpStream) -> F + Send + 'static,
) -> TcpStream
where
    F: Future<Output = ()> + Send,
{
    let (tell, told) = oneshot::channel();
    cores.far().spawn(async move {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let _ = tell.send(listener.local_addr().expect("bound"));
        let (stream, _) = listener.accept().await.expect("a client");
        stream.set_nodelay(true).expect("a socket");
        serve(stream).await;
    });
    cores.run(async {
        let address = told.await.expect("an address");
        let stream = TcpStream::connect(address).await.expect("a listener");
        stream.set_nodelay(true).expect("a socket");
        stream
    })
}

async fn serve(stream: impl Stream) -> io::Result<()> {
    let mut stream = BufReader::with_capacity(BUFFER_BYTES, stream);
    let mut replies = Vec::with_capacity(2 * BUFFER_BYTES);
    let mut body = vec![];
    let mut counted = 0_u64;
    loop {
        let length = stream.read_u32_le().await?;
        body.resize((length & !COUNT) as usize, 0);
        stream.read_exact(&mut body).await?;
        match (length & COUNT != 0, body.is_empty()) {
            (false, _) => put(&mut replies, length, &body),
            (true, false) => counted += body.len() as u64,
            (true, true) => {
                put(&mut replies, 8, &counted.to_le_bytes());
                counted = 0;
            }
        }
        // Whatever has come is answered at once; a client that waits has sent it all.
        let is_due = stream.buffer().is_empty() || replies.len() >= BUFFER_BYTES;
        if is_due && !replies.is_empty() {
            stream.write_all(&replies).await?;
            stream.flush().await?;
            replies.clear();
        }
    }
}

fn put(frames: &mut Vec<u8>, length: u32, body: &[u8]) {
    frames.extend_from_slice(&length.to_le_bytes());
    frames.extend_from_slice(body);
}

impl Raw {
    /// Sends so many frames, and takes as many.
    async fn exchange(&mut self, body: &Bytes, count: u32) -> io::Result<()> {
        let length = u32::try_from(body.len()).expect("a frame");
        self.frames.clear();
        for _ in 0..count {
            put(&mut self.frames, length, body);
        }
        let send = async {
            self.outgoing.write_all(&self.frames).await?;
            self.outgoing.flush().await
        };
        let receive = async {
            for _ in 0..count {
                let length = self.incoming.read_u32_le().await?;
                self.reply.resize(length as usize, 0);
                self.incoming.read_exact(&mut self.reply).await?;
                assert_eq!(self.reply.len(), body.len());
            }
            Ok(())
        };
        tokio::try_join!(send, receive).map(|_| ())
    }

    async fn count(&mut self, body: &Bytes, messages: u32) -> io::Result<u64> {
        let length = u32::try_from(body.len()).expect("a frame");
        for _ in 0..messages {
            self.frames.clear();
            put(&mut self.frames, length | COUNT, body);
            self.outgoing.write_all(&self.frames).await?;
        }
        self.outgoing.write_u32_le(COUNT).await?;
        self.outgoing.flush().await?;
        self.incoming.read_u32_le().await?;
        self.incoming.read_u64_le().await
    }
}

impl Line for Raw {
    fn burst(&mut self, cores: &Cores, body: &Bytes, in_flight: u32, each: u32) -> Duration {
        cores.run(async {
            let started = Instant::now();
            for _ in 0..each {
                self.exchange(body, in_flight).await.expect("open");
            }
            started.elapsed()
        })
    }

    fn one_at_a_time(&mut self, cores: &Cores, body: &Bytes, calls: u32) -> Duration {
        cores.run(async {
            let mut times = Vec::with_capacity(calls as usize);
            for _ in 0..calls {
                let started = Instant::now();
                self.exchange(body, 1).await.expect("open");
                times.push(started.elapsed());
            }
            middle(&mut times) * calls
        })
    }

    fn stream(&mut self, cores: &Cores, body: &Bytes, messages: u32) -> Option<Duration> {
        cores.run(async {
            let started = Instant::now();
            let counted = self.count(body, messages).await.expect("open");
            assert_eq!(counted, body.len() as u64 * u64::from(messages));
            Some(started.elapsed())
        })
    }
}
