//! Why no channel opened.

use std::io;

use sealmoot_crypto::random::RandomError;

use super::introduction::IntroductionRefused;
use crate::noise;

/// Why no channel opened. Nothing of the application was sent or received.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ChannelError {
    /// The stream broke off.
    #[error("the connection broke off: {0}")]
    Io(#[source] io::Error),
    /// The TLS handshake failed; wraps a [`rustls::Error`].
    #[error("TLS: {0}")]
    Tls(#[source] io::Error),
    /// The peer speaks something else.
    #[error("the peer does not speak sealmoot/1")]
    NotSealmoot,
    /// The server hung up at our first Noise message, as it does without a word
    /// on whatever it does not take.
    #[error(
        "the server hung up at the first Noise message: it holds another key, \
         does not take {0}, speaks something else or has no room"
    )]
    NotAccepted(noise::Suite),
    /// The Noise handshake failed.
    #[error("Noise: {0}")]
    Noise(#[from] noise::HandshakeError),
    /// The peer did not prove its key.
    #[error("{0}")]
    Introduction(#[from] IntroductionRefused),
    /// The process at the other end runs as a user that is not allowed.
    #[error("the process at the other end runs as user {0}, which is not allowed")]
    WrongUser(u32),
    /// The other end of a memory channel is gone.
    #[error("nobody serves at the other end")]
    NobodyThere,
    /// This side's random source fails.
    #[error("no randomness: {0}")]
    Random(#[from] RandomError),
}

impl ChannelError {
    /// Tells a peer that broke off from one that speaks something else.
    pub(crate) fn from_tls(error: io::Error) -> Self {
        use tokio_rustls::rustls::{AlertDescription, Error};
        let tls = error
            .get_ref()
            .and_then(|source| source.downcast_ref::<Error>());
        match tls {
            None => Self::Io(error),
            Some(
                Error::InvalidMessage(_)
                | Error::NoApplicationProtocol
                | Error::AlertReceived(AlertDescription::NoApplicationProtocol),
            ) => Self::NotSealmoot,
            Some(_) => Self::Tls(error),
        }
    }
}
