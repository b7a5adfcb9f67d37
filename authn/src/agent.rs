//! A client of ssh-agent: which keys it holds, and signatures by them.
//!
//! The protocol is draft-miller-ssh-agent. A message is
//!
//! ```text
//! offset length
//!      0      4  length of what follows, big-endian, as all numbers here
//!      4      1  type
//!      5      n  contents
//! ```
//!
//! An agent signs whatever bytes it is given, for whoever may open its socket. This
//! client gives it only bytes that [`to_be_signed`] framed for a domain, and believes
//! no signature that does not verify. What the agent says is not trusted: lengths and
//! counts have maxima, and every exchange has an end.

mod message;
#[cfg(test)]
mod tests;

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use sealmoot_crypto::signature::{Signature, VerifyingKey, to_be_signed};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::time::timeout;

pub use message::AgentIdentity;

/// Longest message taken from an agent, in bytes; OpenSSH's own limit.
pub const AGENT_MESSAGE_LENGTH_MAX: usize = 256 * 1024;
/// Most keys of one agent.
pub const AGENT_KEYS_MAX: usize = 1024;

/// Why an agent was of no help.
#[derive(Debug, thiserror::Error)]
pub enum AgentError {
    /// Its socket could not be used.
    #[error("the agent at {}: {source}", path.display())]
    Socket {
        /// The socket.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It did not answer in time.
    #[error("the agent did not answer within {} ms", .0.as_millis())]
    TimedOut(Duration),
    /// It announced a message that is empty or longer than
    /// [`AGENT_MESSAGE_LENGTH_MAX`].
    #[error("the agent announced a message of {0} bytes")]
    MessageLength(u32),
    /// It refused: the key is not there, is locked, or somebody said no.
    #[error("the agent refused")]
    Refused,
    /// It answered with another message than was asked for.
    #[error("the agent answered with a message of type {0}")]
    UnexpectedMessage(u8),
    /// Its message cannot be taken apart.
    #[error("the agent's message is malformed: {0}")]
    Malformed(&'static str),
    /// It holds more than [`AGENT_KEYS_MAX`] keys.
    #[error("the agent announced {0} keys; at most {AGENT_KEYS_MAX} are taken")]
    TooManyKeys(u32),
    /// What it gave for a signature is none by this key over these bytes.
    #[error("the agent's signature is not by the key that was asked for")]
    WrongSignature,
}

/// An agent, by its socket. A connection lasts for one exchange.
#[derive(Debug, Clone)]
pub struct Agent {
    socket: PathBuf,
}

impl Agent {
    /// The agent that listens at `socket`.
    #[must_use]
    pub fn at(socket: &Path) -> Self {
        Self {
            socket: socket.to_owned(),
        }
    }

    /// The keys that it holds, of whatever type.
    ///
    /// # Errors
    /// [`AgentError`].
    pub async fn identities(&self, patience: Duration) -> Result<Vec<AgentIdentity>, AgentError> {
        let request = message::request_identities();
        let answer = self.exchange(&request, patience).await?;
        message::parse_identities(&answer)
    }

    /// A signature by `key` over `message` in `domain`.
    ///
    /// # Errors
    /// [`AgentError`].
    pub async fn sign(
        &self,
        key: &VerifyingKey,
        domain: &'static str,
        message: &[u8],
        patience: Duration,
    ) -> Result<Signature, AgentError> {
        let request = message::request_signature(key, &to_be_signed(domain, message));
        let answer = self.exchange(&request, patience).await?;
        let signature = message::parse_signature(&answer)?;
        key.verify(domain, message, &signature)
            .map_err(|_| AgentError::WrongSignature)?;
        Ok(signature)
    }

    async fn exchange(&self, request: &[u8], patience: Duration) -> Result<Vec<u8>, AgentError> {
        timeout(patience, self.exchange_unbounded(request))
            .await
            .unwrap_or(Err(AgentError::TimedOut(patience)))
    }

    async fn exchange_unbounded(&self, request: &[u8]) -> Result<Vec<u8>, AgentError> {
        let failed = |source| AgentError::Socket {
            path: self.socket.clone(),
            source,
        };
        let mut stream = UnixStream::connect(&self.socket).await.map_err(failed)?;
        stream.write_all(request).await.map_err(failed)?;
        let length = stream.read_u32().await.map_err(failed)?;
        let bounded = usize::try_from(length).unwrap_or(usize::MAX);
        if bounded == 0 || bounded > AGENT_MESSAGE_LENGTH_MAX {
            return Err(AgentError::MessageLength(length));
        }
        let mut answer = vec![0; bounded];
        stream.read_exact(&mut answer).await.map_err(failed)?;
        Ok(answer)
    }
}
