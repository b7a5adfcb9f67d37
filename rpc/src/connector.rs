//! Opening connections.

use std::io;
#[cfg(unix)]
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use sealmoot_crypto::random::RandomError;
use sealmoot_crypto::signature::SigningKey;
#[cfg(unix)]
use tokio::net::UnixStream;
use tokio::net::{TcpStream, lookup_host};

#[cfg(unix)]
use crate::channel::{AllowedUsers, UnixChannel};
use crate::channel::{Channel, ChannelError, Identity, NoiseChannel, Origin, TlsChannel};
use crate::client::Connection;
use crate::frame::Violation;
use crate::handshake::{self, HandshakeError};
use crate::limits::Limits;
use crate::listening::Door;
use crate::noise;
use crate::peer::{Authorizer, Refusal};
use crate::socket;

/// A key or limits with which nothing can work.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The TLS library does not take the key or the configuration.
    #[error("TLS configuration: {0}")]
    Tls(#[from] rustls::Error),
    /// A limit that would refuse everything.
    #[error("limits: {0}")]
    Limits(&'static str),
    /// The random source fails.
    #[error("no randomness: {0}")]
    Random(#[source] RandomError),
    /// The listener does not tell its address.
    #[error("listener: {0}")]
    Listener(#[source] io::Error),
}

/// Opens connections as one identity, over any transport.
#[derive(Clone)]
pub struct Connector {
    identity: Identity,
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
        Self::with_identity(Identity::new(key)?, authorizer, limits)
    }

    /// The same with an identity made before, to share it or to choose its key
    /// for Noise.
    ///
    /// # Errors
    ///
    /// Limits under which nothing works.
    pub fn with_identity(
        identity: Identity,
        authorizer: Arc<dyn Authorizer>,
        limits: Limits,
    ) -> Result<Self, ConfigError> {
        if let Some(fault) = limits.fault() {
            return Err(ConfigError::Limits(fault));
        }
        Ok(Self {
            identity,
            authorizer,
            limits,
        })
    }

    /// Connects to `host:port` over TLS and waits until the server has admitted
    /// us.
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
        let open = async {
            let (stream, origin) = self.dial(address).await?;
            let opened = TlsChannel::connect(&self.identity, stream, origin, &self.limits).await;
            let channel = opened.map_err(|error| ConnectError::from_channel(address, error))?;
            self.admit(address, channel).await
        };
        self.within(timeout, address, open).await
    }

    /// The same over Noise, to a server that holds what `target` says, with
    /// [`noise::Options`] as they come.
    ///
    /// # Errors
    ///
    /// [`ConnectError`]; no call has been made then.
    pub async fn connect_noise(
        &self,
        address: &str,
        target: &noise::Target,
        options: &noise::Options,
        timeout: Duration,
    ) -> Result<Connection, ConnectError> {
        let open = async {
            let (stream, origin) = self.dial(address).await?;
            let (identity, limits) = (&self.identity, &self.limits);
            let opened =
                NoiseChannel::connect(identity, target, options, stream, origin, limits).await;
            let channel = opened.map_err(|error| ConnectError::from_channel(address, error))?;
            self.admit(address, channel).await
        };
        self.within(timeout, address, open).await
    }

    /// The same to a Unix socket, whose server must run as one of `users`.
    ///
    /// # Errors
    ///
    /// [`ConnectError`]; no call has been made then.
    #[cfg(unix)]
    pub async fn connect_unix(
        &self,
        path: &Path,
        users: &AllowedUsers,
        timeout: Duration,
    ) -> Result<Connection, ConnectError> {
        let address = path.display().to_string();
        let open = async {
            let dialled = UnixStream::connect(path).await;
            let stream = dialled.map_err(|source| ConnectError::Unreachable {
                address: address.clone(),
                source,
            })?;
            let opened = UnixChannel::connect(&self.identity, stream, users, &self.limits).await;
            let channel = opened.map_err(|error| ConnectError::from_channel(&address, error))?;
            self.admit(&address, channel).await
        };
        self.within(timeout, &address, open).await
    }

    /// The same to a server of this process.
    ///
    /// # Errors
    ///
    /// [`ConnectError`]; no call has been made then.
    pub async fn connect_memory(
        &self,
        door: &Door,
        timeout: Duration,
    ) -> Result<Connection, ConnectError> {
        let address = "this process";
        let open = async {
            let entered = door.enter(&self.identity).await;
            let channel = entered.map_err(|error| ConnectError::from_channel(address, error))?;
            self.admit(address, channel).await
        };
        self.within(timeout, address, open).await
    }

    /// Both hellos over an open channel.
    async fn admit(
        &self,
        address: &str,
        channel: impl Channel + 'static,
    ) -> Result<Connection, ConnectError> {
        let channel: Box<dyn Channel> = Box::new(channel);
        let (channel, peer) = handshake::connect(channel, &*self.authorizer)
            .await
            .map_err(|error| ConnectError::from_handshake(address, error))?;
        let (connection, driver) = Connection::over(channel, peer, &self.limits);
        tokio::spawn(driver);
        Ok(connection)
    }

    async fn within(
        &self,
        timeout: Duration,
        address: &str,
        open: impl Future<Output = Result<Connection, ConnectError>>,
    ) -> Result<Connection, ConnectError> {
        let timeout = timeout.min(self.limits.handshake);
        match tokio::time::timeout(timeout, open).await {
            Ok(opened) => opened,
            Err(_) => Err(ConnectError::TimedOut {
                address: address.to_owned(),
            }),
        }
    }

    async fn dial(&self, address: &str) -> Result<(TcpStream, Origin), ConnectError> {
        let stream = dial(address).await?;
        let unreachable = |source| ConnectError::Unreachable {
            address: address.to_owned(),
            source,
        };
        let origin = Origin::Network(stream.peer_addr().map_err(unreachable)?);
        socket::tune(&stream, &self.limits).map_err(unreachable)?;
        Ok((stream, origin))
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
    /// The server did not prove who it is, over Noise or a Unix socket.
    #[error("the channel to {address} failed: {source}")]
    Channel {
        /// As given.
        address: String,
        /// Why.
        source: ChannelError,
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
            // Not a host that is missing: nothing was looked up.
            Self::Resolve { source, .. } if source.kind() == io::ErrorKind::InvalidInput => {
                "not an address as host:port".to_owned()
            }
            Self::Resolve { .. } => "name not found".to_owned(),
            Self::Unreachable { source, .. } | Self::Interrupted { source, .. } => io_cause(source),
            Self::TimedOut { .. } => "timed out".to_owned(),
            Self::Tls { source, .. } => format!("TLS failed: {source}"),
            Self::Channel { source, .. } => source.to_string(),
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
            HandshakeError::Channel(source) => Self::from_channel(&address, source),
            HandshakeError::Violation(source) => Self::Protocol { address, source },
            HandshakeError::Untrusted(refusal) => Self::Untrusted(refusal),
            HandshakeError::Refused(refusal) => Self::Refused(refusal),
            HandshakeError::StatementsTooLong => Self::StatementsTooLong,
        }
    }

    fn from_channel(address: &str, error: ChannelError) -> Self {
        let address = address.to_owned();
        match error {
            ChannelError::Io(source) => Self::Interrupted { address, source },
            ChannelError::Tls(source) => Self::Tls { address, source },
            ChannelError::NotSealmoot => Self::NotSealmoot { address },
            source => Self::Channel { address, source },
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
        let unnamed = |source| ConnectError::Resolve {
            address: address(),
            source,
        };
        let no_port = unnamed(io::ErrorKind::InvalidInput.into());
        assert_eq!(no_port.cause(), "not an address as host:port");
        let no_host = unnamed(io::Error::other("nobody has that name"));
        assert_eq!(no_host.cause(), "name not found");
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
