//! A channel inside one process.

use std::fmt;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use sealmoot_crypto::random::RandomError;
use sealmoot_crypto::secret::SecretArray;
use sealmoot_crypto::signature::VerifyingKey;
use tokio::io::{AsyncRead, AsyncWrite, DuplexStream, ReadBuf, duplex};

use super::{Channel, Identity, Origin, Transport};
use crate::limits::MEMORY_CHANNEL_BYTES;
use crate::peer::ChannelBinding;

/// Both ends are in this process: who holds an [`Identity`] need not sign to
/// prove it, and nobody else can read what is sent.
pub struct MemoryChannel {
    stream: DuplexStream,
    peer_key: VerifyingKey,
    binding: ChannelBinding,
}

impl MemoryChannel {
    /// The two ends of a channel between two identities of this process. Each
    /// direction holds [`MEMORY_CHANNEL_BYTES`].
    ///
    /// # Errors
    /// When the random source fails: the binding is drawn from it.
    pub fn pair(near: &Identity, far: &Identity) -> Result<(Self, Self), RandomError> {
        let binding = ChannelBinding::from_bytes(*SecretArray::random()?.expose());
        let (near_stream, far_stream) = duplex(MEMORY_CHANNEL_BYTES);
        let end = |stream, peer_key| Self {
            stream,
            peer_key,
            binding,
        };
        Ok((end(near_stream, far.key()), end(far_stream, near.key())))
    }
}

/// Not what is on its way: tokio's stream would show that.
impl fmt::Debug for MemoryChannel {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("MemoryChannel")
            .field("peer_key", &self.peer_key)
            .finish_non_exhaustive()
    }
}

impl Channel for MemoryChannel {
    fn peer_key(&self) -> VerifyingKey {
        self.peer_key
    }

    fn binding(&self) -> ChannelBinding {
        self.binding
    }

    fn origin(&self) -> Origin {
        Origin::Memory
    }

    fn transport(&self) -> Transport {
        Transport::Memory
    }

    fn lift_byte_limit(&mut self) {
        // There is none: no stranger is in this process.
    }
}

impl AsyncRead for MemoryChannel {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for MemoryChannel {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
