//! A tag over the first message, keyed by the responder's public key.
//!
//! Whoever knows that key can make it, so it authenticates nobody. It lets a
//! responder throw away floods and scans for the price of one hash, before any
//! Diffie-Hellman; and a responder that demands it is silent towards
//! strangers.

use std::fmt;

use sealmoot_crypto::agreement::AgreementPublic;
use sealmoot_crypto::digest::{MacKey, Sha256};
use sealmoot_crypto::secret::{SecretArray, constant_time_equal};

/// Bytes of the tag.
pub(super) const FIRST_MESSAGE_TAG_BYTES: usize = 16;

const LABEL: &[u8] = b"sealmoot noise first message 1";

/// `SHA-256(label || responder's public key)`, as a key of HMAC-SHA-256.
pub(super) struct FirstMessageKey(MacKey);

impl FirstMessageKey {
    pub(super) fn new(responder: &AgreementPublic) -> Self {
        let mut hasher = Sha256::new();
        hasher.update(LABEL);
        hasher.update(responder.as_bytes());
        Self(MacKey::from_secret(&SecretArray::from_bytes(
            hasher.finish(),
        )))
    }

    /// The first 16 bytes of HMAC over `offered`: offer and Noise message.
    pub(super) fn tag(&self, offered: &[u8]) -> [u8; FIRST_MESSAGE_TAG_BYTES] {
        let whole = self.0.tag(&[offered]);
        let mut tag = [0; FIRST_MESSAGE_TAG_BYTES];
        tag.copy_from_slice(&whole[..FIRST_MESSAGE_TAG_BYTES]);
        tag
    }

    pub(super) fn fits(&self, offered: &[u8], tag: &[u8]) -> bool {
        constant_time_equal(&self.tag(offered), tag)
    }
}

impl fmt::Debug for FirstMessageKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("FirstMessageKey(redacted)")
    }
}
