//! Static keys, and the randomness of one handshake.

use std::fmt;

use sealmoot_crypto::agreement::{AgreementKey, AgreementPublic};
use sealmoot_crypto::random::RandomError;
use sealmoot_crypto::secret::SecretArray;

use super::first_message::FirstMessageKey;
use super::hybrid::{DecapsulationKey, ENCAPSULATION_RANDOMNESS_BYTES, SEED_BYTES};
use super::pattern::DH_BYTES;

/// A long-lived X25519 key pair, with what follows from it computed once.
///
/// It proves nothing by itself: a signed statement elsewhere says whose it is.
pub struct StaticKey {
    agreement: AgreementKey,
    public: AgreementPublic,
    first_message: FirstMessageKey,
}

impl StaticKey {
    /// A fresh key.
    ///
    /// # Errors
    /// When the random source fails.
    pub fn generate() -> Result<Self, RandomError> {
        AgreementKey::generate().map(Self::from)
    }

    /// The public half.
    #[must_use]
    pub fn public(&self) -> AgreementPublic {
        self.public
    }

    pub(super) fn agreement(&self) -> &AgreementKey {
        &self.agreement
    }

    pub(super) fn first_message(&self) -> &FirstMessageKey {
        &self.first_message
    }
}

impl From<AgreementKey> for StaticKey {
    fn from(agreement: AgreementKey) -> Self {
        let public = agreement.public();
        Self {
            agreement,
            public,
            first_message: FirstMessageKey::new(&public),
        }
    }
}

impl fmt::Debug for StaticKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("StaticKey(redacted)")
    }
}

/// Everything random in one side of one handshake: what its ephemeral keys
/// follow from. Used up by the handshake it is given to; wiped.
pub struct HandshakeRandomness {
    dh: SecretArray<DH_BYTES>,
    kem: SecretArray<SEED_BYTES>,
}

impl HandshakeRandomness {
    /// Fresh, from the operating system.
    ///
    /// # Errors
    /// When the random source fails.
    pub fn generate() -> Result<Self, RandomError> {
        Ok(Self {
            dh: SecretArray::random()?,
            kem: SecretArray::random()?,
        })
    }

    /// Chosen by the caller, for simulations and fuzzing. Used in two
    /// handshakes, or known to anybody, it gives away all their secrets.
    #[must_use]
    pub fn danger_from_bytes(dh: &[u8; DH_BYTES], kem: &[u8; SEED_BYTES]) -> Self {
        const LENGTH: &str = "the slice is of an array of that length";
        Self {
            dh: SecretArray::from_slice(dh).expect(LENGTH),
            kem: SecretArray::from_slice(kem).expect(LENGTH),
        }
    }

    pub(super) fn ephemeral(&self) -> AgreementKey {
        AgreementKey::from_bytes(&self.dh)
    }

    /// For the initiator, who sends an encapsulation key.
    pub(super) fn decapsulation_key(&self) -> DecapsulationKey {
        DecapsulationKey::from_seed(&self.kem)
    }

    /// For the responder, who encapsulates. One side is never both.
    pub(super) fn encapsulation(&self) -> SecretArray<ENCAPSULATION_RANDOMNESS_BYTES> {
        SecretArray::from_slice(&self.kem.expose()[..ENCAPSULATION_RANDOMNESS_BYTES])
            .expect("the seed is longer")
    }
}

impl fmt::Debug for HandshakeRandomness {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("HandshakeRandomness(redacted)")
    }
}
