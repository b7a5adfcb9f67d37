//! Opening connections.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use sealmoot_crypto::signature::SigningKey;
use tokio::net::{TcpStream, lookup_host};
use tokio_rustls::TlsConnector;

use crate::client::Connection;
use crate::frame::Violation;
use crate::handshake::{self, HandshakeError};
use crate::limits::Limits;
use crate::peer::{Authorizer, Refusal};
use crate::tls;

/// A key or limits with which nothing can work.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The TLS library does not take the key or the configuration.
    #[error("TLS configuration: {0}")]
    Tls(#[from] rustls::Error),
    /// A limit that would refuse everything.
    #[error("limits: {0}")]
    Limits(&'static str),
    /// The listener does not tell its address.
    #[error("listener: {0}")]
    Listener(#[source] io::Error),
}

/// Opens connections as one identity.
#[derive(Clone)]
pub struct Connector {
    tls: TlsConnector,
    authorizer: Arc<dyn Authorizer>,
    limits: Limits,
}

impl Connector {
    /// A connector that proves `key` and admits the servers that `authorizer`
    /// admits.
    ///
    /// # Errors
    ///
    /// Limits under which nothing works, or a key that TLS does not take.
    pub fn new(
        key: &SigningKey,
        authorizer: Arc<dyn Authorizer>,
        limits: Limits,
    ) -> Result<Self, ConfigError> {
        if let Some(fault) = limits.fault() {
            return Err(ConfigError::Limits(fault));
        }
        Ok(Self {
            tls: TlsConnector::from(tls::client_config(key)?),
            authorizer,
            limits,
        })
    }

    /// Connects to `host:port` and waits until the server has admitted us.
    ///
    /// `timeout` and [`Limits::handshake`], whichever is shorter, cover
    /// resolving, TCP, TLS and both hellos together. The connection's task
    /// runs on the current tokio runtime.
    ///
    /// # Errors
    ///
    /// [`ConnectError`]; no call has been made then.
    pub async fn connect(
        &self,
        address: &str,
        timeout: Duration,
    ) -> Result<Connection, ConnectError> {
        let timeout = timeout.min(self.limits.handshake);
        match tokio::time::timeout(timeout, self.open(address)).await {
            Ok(opened) => opened,
            Err(_) => Err(ConnectError::TimedOut {
                address: address.to_owned(),
            }),
        }
    }

    async fn open(&self, address: &str) -> Result<Connection, ConnectError> {
        let stream = dial(address).await?;
        let remote = stream
            .peer_addr()
            .map_err(|source| ConnectError::Unreachable {
                address: address.to_owned(),
                source,
            })?;
        let (stream, peer) =
            handshake::connect(stream, remote, &self.tls, &*self.authorizer, &self.limits)
                .await
                .map_err(|error| ConnectError::from_handshake(address, error))?;
        let (connection, driver) = Connection::over(stream, peer, &self.limits);
        tokio::spawn(driver);
        Ok(connection)
    }
}

impl std::fmt::Debug for Connector {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Connector").finish_non_exhaustive()
    }
}

/// The first address of a name that answers.
async fn dial(address: &str) -> Result<TcpStream, ConnectError> {
    let resolved = lookup_host(address)
        .await
        .map_err(|source| ConnectError::Resolve {
            address: address.to_owned(),
            source,
        })?;
    let mut failure = None;
    for candidate in resolved {
        match TcpStream::connect(candidate).await {
            Ok(stream) => return Ok(stream),
            Err(error) => failure = Some(error),
        }
    }
    Err(match failure {
        Some(source) => ConnectError::Unreachable {
            address: address.to_owned(),
            source,
        },
        None => ConnectError::Resolve {
            address: address.to_owned(),
            source: io::Error::new(io::ErrorKind::NotFound, "the name has no address"),
        },
    })
}

/// Why no connection opened. Nothing was called.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// The name means no address.
    #[error("cannot resolve {address}: {source}")]
    Resolve {
        /// As given.
        address: String,
        /// From the resolver.
        source: io::Error,
    },
    /// No TCP connection.
    #[error("cannot reach {address}: {source}")]
    Unreachable {
        /// As given.
        address: String,
        /// From the system.
        source: io::Error,
    },
    /// The time for everything together ran out.
    #[error("connecting to {address} timed out")]
    TimedOut {
        /// As given.
        address: String,
    },
    /// The connection broke off before both sides were admitted.
    #[error("the connection to {address} broke off: {source}")]
    Interrupted {
        /// As given.
        address: String,
        /// From the system.
        source: io::Error,
    },
    /// The TLS handshake failed.
    #[error("TLS with {address} failed: {source}")]
    Tls {
        /// As given.
        address: String,
        /// Wraps a [`rustls::Error`].
        source: io::Error,
    },
    /// Something else answers at the address.
    #[error("{address} does not speak sealmoot/1")]
    NotSealmoot {
        /// As given.
        address: String,
    },
    /// The server broke the protocol.
    #[error("{address} broke the protocol: {source}")]
    Protocol {
        /// As given.
        address: String,
        /// What it did.
        source: Violation,
    },
    /// Our authorizer does not admit the server. It has learnt nothing but our
    /// key.
    #[error("the server is not trusted: {0}")]
    Untrusted(Refusal),
    /// The server does not admit us.
    #[error("the server refused: {0}")]
    Refused(Refusal),
    /// Our own statements do not fit into a hello.
    #[error("the statements to present are too long")]
    StatementsTooLong,
}

impl ConnectError {
    /// The cause in a few words and without addresses, such as "connection
    /// refused": for messages that name the address themselves.
    pub fn cause(&self) -> String {
        match self {
            Self::Resolve { .. } => "name not found".to_owned(),
            Self::Unreachable { source, .. } | Self::Interrupted { source, .. } => io_cause(source),
            Self::TimedOut { .. } => "timed out".to_owned(),
            Self::Tls { source, .. } => format!("TLS failed: {source}"),
            Self::NotSealmoot { .. } => "not a sealmoot server".to_owned(),
            Self::Protocol { source, .. } => format!("protocol broken: {source}"),
            Self::Untrusted(refusal) => format!("not trusted: {}", refusal.message.escape_debug()),
            Self::Refused(refusal) => format!("refused: {}", refusal.message.escape_debug()),
            Self::StatementsTooLong => "statements too long".to_owned(),
        }
    }

    fn from_handshake(address: &str, error: HandshakeError) -> Self {
        let address = address.to_owned();
        match error {
            HandshakeError::Io(source) => Self::Interrupted { address, source },
            HandshakeError::Tls(source) => Self::Tls { address, source },
            HandshakeError::NotSealmoot => Self::NotSealmoot { address },
            HandshakeError::Violation(source) => Self::Protocol { address, source },
            HandshakeError::Untrusted(refusal) => Self::Untrusted(refusal),
            HandshakeError::Refused(refusal) => Self::Refused(refusal),
            HandshakeError::StatementsTooLong => Self::StatementsTooLong,
        }
    }
}

fn io_cause(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::UnexpectedEof => "connection closed".to_owned(),
        io::ErrorKind::Other | io::ErrorKind::InvalidData => error.to_string(),
        kind => kind.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::status::Code;

    #[test]
    fn causes_are_short_and_without_addresses() {
        let address = || "192.0.2.1:7000".to_owned();
        let refused = ConnectError::Unreachable {
            address: address(),
            source: io::ErrorKind::ConnectionRefused.into(),
        };
        assert_eq!(refused.cause(), "connection refused");
        let timed_out = ConnectError::TimedOut { address: address() };
        assert_eq!(timed_out.cause(), "timed out");
        let interrupted = ConnectError::Interrupted {
            address: address(),
            source: io::ErrorKind::UnexpectedEof.into(),
        };
        assert_eq!(interrupted.cause(), "connection closed");
        let untrusted = ConnectError::Untrusted(Refusal::new(Code::Unauthenticated, "a\nb"));
        assert_eq!(untrusted.cause(), "not trusted: a\\nb");
    }
}
