//! HPKE (RFC 9180) as sealed boxes use it: which algorithms, and randomness that
//! was drawn before it is asked for.

use core::convert::Infallible;

use rand_core::{TryCryptoRng, TryRng};

use crate::random::RandomError;
use crate::secret::SecretArray;

pub(crate) use hpke::aead::ChaCha20Poly1305 as Aead;
pub(crate) use hpke::kdf::HkdfSha256 as Kdf;
pub(crate) use hpke::kem::{X25519HkdfSha256 as X25519, XWing};

/// The most that one encapsulation draws: 32 bytes for X25519, 64 for X-Wing.
pub(crate) const ENTROPY_LENGTH: usize = 64;

/// Random bytes for one encapsulation, wiped on drop.
///
/// HPKE takes a generator that cannot fail, and the operating system's can. So the
/// bytes are drawn first, where a failure is still an error, and dealt out once.
pub(crate) struct Entropy {
    bytes: SecretArray<ENTROPY_LENGTH>,
    taken: usize,
}

impl Entropy {
    /// Fresh bytes for one encapsulation.
    pub(crate) fn draw() -> Result<Self, RandomError> {
        SecretArray::random().map(Self::from_bytes)
    }

    /// These bytes; published vectors state theirs.
    pub(crate) fn from_bytes(bytes: SecretArray<ENTROPY_LENGTH>) -> Self {
        Self { bytes, taken: 0 }
    }
}

impl TryRng for Entropy {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        let mut bytes = [0u8; 4];
        self.try_fill_bytes(&mut bytes)?;
        Ok(u32::from_le_bytes(bytes))
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        let mut bytes = [0u8; 8];
        self.try_fill_bytes(&mut bytes)?;
        Ok(u64::from_le_bytes(bytes))
    }

    fn try_fill_bytes(&mut self, destination: &mut [u8]) -> Result<(), Infallible> {
        // Dealing a byte twice, or a zero, would be worse than to stop.
        let left = &self.bytes.expose()[self.taken..];
        let dealt = left
            .get(..destination.len())
            .expect("one encapsulation draws at most 64 bytes, whatever it encapsulates to");
        destination.copy_from_slice(dealt);
        self.taken += destination.len();
        Ok(())
    }
}

impl TryCryptoRng for Entropy {}

#[cfg(test)]
mod tests {
    use std::prelude::v1::*;

    use hpke::rand_core::Rng;

    use super::*;

    #[test]
    fn no_byte_is_dealt_twice() {
        let mut bytes = [0u8; ENTROPY_LENGTH];
        for (at, byte) in bytes.iter_mut().enumerate() {
            *byte = at as u8;
        }
        let mut entropy = Entropy::from_bytes(SecretArray::from_bytes(bytes));
        let mut dealt = [0u8; 20];
        entropy.fill_bytes(&mut dealt);
        assert_eq!(dealt, bytes[..20]);
        assert_eq!(entropy.next_u32().to_le_bytes(), bytes[20..24]);
        assert_eq!(entropy.next_u64().to_le_bytes(), bytes[24..32]);
        let mut rest = [0u8; 32];
        entropy.fill_bytes(&mut rest);
        assert_eq!(rest, bytes[32..]);
    }

    #[test]
    #[should_panic(expected = "one encapsulation draws at most 64 bytes")]
    fn more_than_was_drawn_is_never_dealt() {
        let mut entropy = Entropy::from_bytes(SecretArray::from_bytes([1; ENTROPY_LENGTH]));
        entropy.fill_bytes(&mut [0; ENTROPY_LENGTH]);
        entropy.fill_bytes(&mut [0; 1]);
    }
}
