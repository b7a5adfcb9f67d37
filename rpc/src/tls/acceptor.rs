//! The server's side of a handshake over a stream.

use std::io;

use rustls::server::Acceptor as HelloReader;
use sealmoot_crypto::signature::SigningKey;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::LazyConfigAcceptor;
use tokio_rustls::server::TlsStream;

use super::ServerConfigs;

/// Accepts clients of either form.
#[derive(Clone, Debug)]
pub(crate) struct Acceptor(ServerConfigs);

impl Acceptor {
    pub(crate) fn new(key: &SigningKey) -> Result<Self, rustls::Error> {
        ServerConfigs::new(key).map(Self)
    }

    /// Reads the client's first message, then completes the handshake in the
    /// form that suits it. A refused client gets an alert; what does not even
    /// begin with a ClientHello may be left without.
    ///
    /// Keeps no time and counts no bytes: callers put a deadline around it, and
    /// `stream` ends after the bytes that a stranger may send. Until the first
    /// message is whole, rustls holds at most 64 KiB of it.
    pub(crate) async fn accept<S>(&self, stream: S) -> io::Result<TlsStream<S>>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let start = LazyConfigAcceptor::new(HelloReader::default(), stream).await?;
        let config = self.0.choose(&start.client_hello());
        start.into_stream(config).await
    }
}
