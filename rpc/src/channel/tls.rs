//! TLS 1.3 as a channel.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use rustls::pki_types::ServerName;
use sealmoot_crypto::signature::VerifyingKey;
use tokio::io::{AsyncRead, AsyncWrite, BufReader, ReadBuf};
use tokio_rustls::TlsStream;

use super::error::ChannelError;
use super::metered::Metered;
use super::{Channel, Identity, Origin, Transport};
use crate::limits::{Limits, SOCKET_READ_BYTES};
use crate::peer::ChannelBinding;
use crate::tls;

/// TLS 1.3 over `S`, in which both sides proved an Ed25519 key.
#[derive(Debug)]
pub struct TlsChannel<S> {
    /// rustls alone reads 4 KiB at a time.
    stream: TlsStream<Metered<BufReader<S>>>,
    peer_key: VerifyingKey,
    binding: ChannelBinding,
    origin: Origin,
}

impl<S: AsyncRead + AsyncWrite + Unpin> TlsChannel<S> {
    /// Opens a channel over `stream` as `identity`. Callers put a deadline
    /// around it.
    ///
    /// # Errors
    /// [`ChannelError`].
    pub async fn connect(
        identity: &Identity,
        stream: S,
        origin: Origin,
        limits: &Limits,
    ) -> Result<Self, ChannelError> {
        // Nobody looks at the name: neither is it sent nor is it verified.
        let name = ServerName::IpAddress(std::net::Ipv4Addr::UNSPECIFIED.into());
        let stream = identity
            .tls_connector()
            .connect(name, metered(stream, limits))
            .await
            .map_err(ChannelError::from_tls)?;
        let binding = tls::channel_binding(stream.get_ref().1);
        Self::proved(TlsStream::Client(stream), binding, origin)
    }

    /// The other side of [`TlsChannel::connect`].
    ///
    /// # Errors
    /// [`ChannelError`].
    pub async fn accept(
        identity: &Identity,
        stream: S,
        origin: Origin,
        limits: &Limits,
    ) -> Result<Self, ChannelError> {
        let stream = identity
            .tls_acceptor()
            .accept(metered(stream, limits))
            .await
            .map_err(ChannelError::from_tls)?;
        let binding = tls::channel_binding(stream.get_ref().1);
        Self::proved(TlsStream::Server(stream), binding, origin)
    }

    fn proved(
        stream: TlsStream<Metered<BufReader<S>>>,
        binding: Result<ChannelBinding, rustls::Error>,
        origin: Origin,
    ) -> Result<Self, ChannelError> {
        let (_, connection) = stream.get_ref();
        if connection.alpn_protocol() != Some(tls::ALPN) {
            return Err(ChannelError::NotSealmoot);
        }
        // The verifier has imported the same bytes, so a key is always there.
        let peer_key =
            tls::peer_key(connection.peer_certificates()).ok_or(ChannelError::NotSealmoot)?;
        let binding = binding.map_err(|error| ChannelError::Tls(io::Error::other(error)))?;
        Ok(Self {
            stream,
            peer_key,
            binding,
            origin,
        })
    }
}

fn metered<S: AsyncRead>(stream: S, limits: &Limits) -> Metered<BufReader<S>> {
    Metered::new(
        BufReader::with_capacity(SOCKET_READ_BYTES, stream),
        limits.unauthenticated_bytes_max,
    )
}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Channel for TlsChannel<S> {
    fn peer_key(&self) -> VerifyingKey {
        self.peer_key
    }

    fn binding(&self) -> ChannelBinding {
        self.binding
    }

    fn origin(&self) -> Origin {
        self.origin
    }

    fn transport(&self) -> Transport {
        Transport::Tls
    }

    fn lift_byte_limit(&mut self) {
        match &mut self.stream {
            TlsStream::Client(stream) => stream.get_mut().0.lift_byte_limit(),
            TlsStream::Server(stream) => stream.get_mut().0.lift_byte_limit(),
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for TlsChannel<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for TlsChannel<S> {
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
