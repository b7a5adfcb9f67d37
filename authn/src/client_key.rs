//! The key with which a client logs in, wherever its private half is.

use std::time::Duration;

use sealmoot_crypto::signature::{Signature, SigningKey, VerifyingKey};

use crate::agent::{Agent, AgentError};

/// A key that can sign.
#[derive(Debug)]
pub enum ClientKey {
    /// In this process, read from a file.
    Held(SigningKey),
    /// In an ssh-agent, which may ask a person or a token before it signs.
    InAgent(Box<AgentKey>),
}

/// A key that an agent holds.
#[derive(Debug, Clone)]
pub struct AgentKey {
    /// Which agent.
    pub agent: Agent,
    /// Which of its keys.
    pub key: VerifyingKey,
}

impl ClientKey {
    /// The public half.
    #[must_use]
    pub fn verifying_key(&self) -> VerifyingKey {
        match self {
            Self::Held(key) => key.verifying_key(),
            Self::InAgent(held) => held.key,
        }
    }

    /// Signs `message` for `domain` within `patience`.
    ///
    /// # Errors
    /// [`AgentError`]; a key in this process always signs.
    pub async fn sign(
        &self,
        domain: &'static str,
        message: &[u8],
        patience: Duration,
    ) -> Result<Signature, AgentError> {
        match self {
            Self::Held(key) => Ok(key.sign(domain, message)),
            Self::InAgent(held) => {
                let AgentKey { agent, key } = held.as_ref();
                agent.sign(key, domain, message, patience).await
            }
        }
    }
}
