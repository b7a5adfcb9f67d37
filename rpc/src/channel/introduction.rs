//! The proof of an Ed25519 key inside a channel that another key opened.
//!
//! Noise proves an X25519 key, a Unix socket a user of the machine; who is
//! there is an Ed25519 key on every transport. So the first bytes of each side
//! are its key and its signature over what names the channel:
//!
//! ```text
//!  0       1                    33                        97
//! +-------+--------------------+-------------------------+
//! | ver=1 | Ed25519 key        | signature               |
//! | u8    | 32                 | 64                      |
//! +-------+--------------------+-------------------------+
//! ```
//!
//! The signature (domain `sealmoot introduction 1`) covers version, transport,
//! role and channel binding. The binding is fresh, so no introduction can be
//! replayed; the role is in it, so none can be reflected; the transport is in
//! it, so one machine's clear text is not taken for an encrypted channel. It is
//! the construction of SIGMA (Krawczyk, CRYPTO 2003): a signature over the
//! transcript, sent under the keys that follow from it.

use sealmoot_crypto::signature::{Signature, SigningKey, VerifyingKey};

use super::Transport;
use crate::peer::ChannelBinding;

/// Bytes of an introduction.
pub const INTRODUCTION_BYTES: usize = 1 + 32 + 64;

const VERSION: u8 = 1;
const DOMAIN: &str = "sealmoot introduction 1";

/// Which side of the channel speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// The side that connected.
    Client,
    /// The side that was connected to.
    Server,
}

/// Why an introduction proves nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IntroductionRefused {
    /// Another version of the introduction.
    #[error("version {0} of the introduction is not known")]
    UnknownVersion(u8),
    /// No Ed25519 key, or one under which signatures mean nothing.
    #[error("the peer's public key is malformed or weak")]
    Key,
    /// Not signed by that key, for this channel, in that role.
    #[error("the peer did not prove that it holds its key")]
    Signature,
}

/// The signed bytes, made and judged without I/O.
#[derive(Debug)]
pub struct Introduction;

impl Introduction {
    /// What the holder of `key` says first in the channel that `binding` names.
    #[must_use]
    pub fn make(
        key: &SigningKey,
        transport: Transport,
        role: Role,
        binding: &ChannelBinding,
    ) -> [u8; INTRODUCTION_BYTES] {
        let signature = key.sign(DOMAIN, &signed(transport, role, binding));
        let mut bytes = [0; INTRODUCTION_BYTES];
        bytes[0] = VERSION;
        bytes[1..33].copy_from_slice(&key.verifying_key().to_bytes());
        bytes[33..].copy_from_slice(&signature.to_bytes());
        bytes
    }

    /// The key that a peer in `role` has proved by `bytes`.
    ///
    /// # Errors
    /// [`IntroductionRefused`]. The key is imported strictly before the
    /// signature is looked at, so that a weak one proves nothing.
    pub fn verify(
        bytes: &[u8; INTRODUCTION_BYTES],
        transport: Transport,
        role: Role,
        binding: &ChannelBinding,
    ) -> Result<VerifyingKey, IntroductionRefused> {
        let (version, rest) = (bytes[0], &bytes[1..]);
        if version != VERSION {
            return Err(IntroductionRefused::UnknownVersion(version));
        }
        let (key, signature) = rest
            .split_first_chunk::<32>()
            .expect("an introduction holds a key");
        let signature: &[u8; 64] = signature
            .try_into()
            .expect("an introduction ends with a signature");
        let key = VerifyingKey::from_bytes(key).map_err(|_| IntroductionRefused::Key)?;
        key.verify(
            DOMAIN,
            &signed(transport, role, binding),
            &Signature::from_bytes(*signature),
        )
        .map_err(|_| IntroductionRefused::Signature)?;
        Ok(key)
    }
}

fn signed(transport: Transport, role: Role, binding: &ChannelBinding) -> [u8; 3 + 32] {
    let mut bytes = [0; 35];
    bytes[0] = VERSION;
    bytes[1] = match transport {
        Transport::Noise => 1,
        Transport::Unix => 2,
        // They prove keys by other means; the numbers keep their names apart.
        Transport::Tls => 3,
        Transport::Memory => 4,
    };
    bytes[2] = match role {
        Role::Client => 1,
        Role::Server => 2,
    };
    bytes[3..].copy_from_slice(binding.as_bytes());
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(seed: u8) -> SigningKey {
        use sealmoot_crypto::secret::SecretArray;
        SigningKey::from_seed(&SecretArray::from_bytes([seed; 32]))
    }

    const BINDING: ChannelBinding = ChannelBinding::from_bytes([7; 32]);

    fn introduction() -> [u8; INTRODUCTION_BYTES] {
        Introduction::make(&key(1), Transport::Noise, Role::Client, &BINDING)
    }

    fn judge(bytes: &[u8; INTRODUCTION_BYTES]) -> Result<VerifyingKey, IntroductionRefused> {
        Introduction::verify(bytes, Transport::Noise, Role::Client, &BINDING)
    }

    #[test]
    fn the_holder_of_a_key_is_believed() {
        assert_eq!(judge(&introduction()), Ok(key(1).verifying_key()));
    }

    #[test]
    fn another_channel_role_or_transport_is_not() {
        let bytes = introduction();
        let refused = Err(IntroductionRefused::Signature);
        let other = ChannelBinding::from_bytes([8; 32]);
        let verify =
            |transport, role, binding| Introduction::verify(&bytes, transport, role, binding);
        assert_eq!(verify(Transport::Noise, Role::Client, &other), refused);
        assert_eq!(verify(Transport::Noise, Role::Server, &BINDING), refused);
        assert_eq!(verify(Transport::Unix, Role::Client, &BINDING), refused);
    }

    #[test]
    fn every_flipped_bit_is_refused() {
        for bit in 0..INTRODUCTION_BYTES * 8 {
            let mut bytes = introduction();
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert!(judge(&bytes).is_err(), "bit {bit}");
        }
    }

    #[test]
    fn weak_keys_are_refused_before_their_signature() {
        // A signature that lenient verifiers take from the identity point over
        // any message: R the identity too, S zero.
        let mut bytes = introduction();
        bytes[1..].fill(0);
        bytes[1] = 1;
        bytes[33] = 1;
        assert_eq!(judge(&bytes), Err(IntroductionRefused::Key));
    }
}
