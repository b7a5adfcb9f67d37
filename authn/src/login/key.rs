//! Logging in by a key: a challenge, and the key's signature over all that was said.
//!
//! Both sides give a nonce, and both sign the same transcript, each in a domain of
//! its own: the node when it challenges, the key when it proves itself, and then over
//! the node's signature too. Each side puts into the transcript what it knows itself,
//! so a login that is relayed to another node, realm, channel or session key ends at
//! the side that notices.

mod client;
mod service;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod world;

use sealmoot_crypto::encoding::Writer;
use sealmoot_crypto::signature::{KeyId, Signature};
use sealmoot_rpc::ChannelBinding;

use crate::name::Name;
use crate::realm_id::RealmId;

pub use client::{KeyLoginError, log_in_with_key};
pub(super) use service::serve;

/// Length of a nonce in bytes.
const NONCE_LENGTH: usize = 32;
/// How long a challenge can be answered, in milliseconds: time enough for a person to
/// touch a token.
const CHALLENGE_LIFETIME_MS: u64 = 20_000;

/// What the transcript begins with.
const TAG: &str = "sealmoot/login-by-key";
const VERSION: u8 = 1;
/// Domain of the node's signature.
const CHALLENGE_DOMAIN: &str = "login/key-challenge";
/// Domain of the signature by the user's key.
const PROOF_DOMAIN: &str = "login/key-proof";

/// What both sides sign.
#[derive(Debug, Clone)]
struct Transcript {
    realm: RealmId,
    node: KeyId,
    channel: ChannelBinding,
    session: KeyId,
    user: Name,
    key: KeyId,
    lifetime_ms: u64,
    client_nonce: [u8; NONCE_LENGTH],
    node_nonce: [u8; NONCE_LENGTH],
    expires_ms: u64,
}

impl Transcript {
    /// What the node signs.
    fn challenge(&self) -> Vec<u8> {
        let mut writer = Writer::new();
        writer.text(TAG);
        writer.bytes(&[VERSION]);
        writer.bytes(self.realm.as_bytes());
        writer.bytes(self.node.as_bytes());
        writer.bytes(self.channel.as_bytes());
        writer.bytes(self.session.as_bytes());
        writer.text(self.user.as_str());
        writer.bytes(self.key.as_bytes());
        writer.bytes(&self.lifetime_ms.to_le_bytes());
        writer.bytes(&self.client_nonce);
        writer.bytes(&self.node_nonce);
        writer.bytes(&self.expires_ms.to_le_bytes());
        writer.finish()
    }

    /// What the user's key signs.
    fn proof(&self, node_signature: &Signature) -> Vec<u8> {
        let mut bytes = Writer::new();
        bytes.bytes(&self.challenge());
        bytes.bytes(&node_signature.to_bytes());
        bytes.finish()
    }
}
