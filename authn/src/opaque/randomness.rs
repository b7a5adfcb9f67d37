//! Randomness for a library whose generators must not fail.
//!
//! The operating system's source can fail, and the traits of `opaque-ke` have no room
//! for that but a panic. So the failure comes first: a seed of 256 bits is drawn
//! before a step begins, and every request of that step is answered by HKDF-SHA-256
//! from the seed and the request's number. That is a pseudorandom function under a key
//! used once: outputs are independent of each other, and none tells the seed. A
//! generator lives for one step and its seed is wiped.

use opaque_ke::rand::{CryptoRng, Error, RngCore};
use sealmoot_crypto::kdf::{EXPANDED_LENGTH_MAX, Label, expand_into};
use sealmoot_crypto::random::RandomError;
use sealmoot_crypto::secret::SecretArray;

const LABEL: Label = Label::new("opaque randomness");

/// The randomness of one step.
pub(super) struct Randomness {
    seed: SecretArray<32>,
    requests: u64,
}

impl Randomness {
    /// Draws the seed.
    ///
    /// # Errors
    /// When the operating system's random source fails.
    pub(super) fn draw() -> Result<Self, RandomError> {
        Ok(Self {
            seed: SecretArray::random()?,
            requests: 0,
        })
    }
}

impl RngCore for Randomness {
    fn next_u32(&mut self) -> u32 {
        let mut bytes = [0; 4];
        self.fill_bytes(&mut bytes);
        u32::from_le_bytes(bytes)
    }

    fn next_u64(&mut self) -> u64 {
        let mut bytes = [0; 8];
        self.fill_bytes(&mut bytes);
        u64::from_le_bytes(bytes)
    }

    fn fill_bytes(&mut self, output: &mut [u8]) {
        for part in output.chunks_mut(EXPANDED_LENGTH_MAX) {
            expand_into(&self.seed, LABEL, &self.requests.to_le_bytes(), part)
                .expect("a part is as long as one call gives");
            // A step makes a handful of requests.
            self.requests += 1;
        }
    }

    fn try_fill_bytes(&mut self, output: &mut [u8]) -> Result<(), Error> {
        self.fill_bytes(output);
        Ok(())
    }
}

impl CryptoRng for Randomness {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_requests_and_no_two_seeds_give_the_same() {
        let (mut one, mut other) = (
            Randomness::draw().expect("random"),
            Randomness::draw().expect("random"),
        );
        let mut outputs = Vec::new();
        for source in [&mut one, &mut other] {
            for _ in 0..8 {
                let mut bytes = [0; 32];
                source.fill_bytes(&mut bytes);
                outputs.push(bytes);
            }
            outputs.push(
                [[0; 24].as_slice(), &source.next_u64().to_le_bytes()]
                    .concat()
                    .try_into()
                    .expect("32 bytes"),
            );
        }
        for (at, output) in outputs.iter().enumerate() {
            assert!(!outputs[..at].contains(output), "{at}");
        }
    }

    #[test]
    fn more_than_one_expansion_gives_is_given() {
        let mut source = Randomness::draw().expect("random");
        let mut bytes = vec![0; 2 * EXPANDED_LENGTH_MAX + 5];
        source.fill_bytes(&mut bytes);
        let (first, rest) = bytes.split_at(EXPANDED_LENGTH_MAX);
        assert_ne!(first, &rest[..EXPANDED_LENGTH_MAX]);
        assert_ne!(&bytes[2 * EXPANDED_LENGTH_MAX..], &[0; 5]);
    }
}
