//! Random numbers which nobody gains by guessing: for spreading load, and for tests
//! that are made again from their seed.

use sealmoot_crypto::secret::SecretArray;

/// SplitMix64 (Steele, Lea, Flood, "Fast Splittable Pseudorandom Number
/// Generators", OOPSLA 2014). Two draws a call from the system would cost more
/// than the rest of choosing an endpoint.
#[derive(Clone, Debug)]
pub(crate) struct SplitMix(u64);

impl SplitMix {
    /// From the system's source, so that no two clients draw alike; without one,
    /// from nothing, which balances less well and is no fault.
    pub(crate) fn seeded() -> Self {
        let seed = SecretArray::<8>::random();
        Self(seed.map_or(0, |seed| u64::from_le_bytes(*seed.expose())))
    }

    /// The next, uniform over all `u64`.
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut word = self.0;
        word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        word ^ (word >> 31)
    }
}

#[cfg(test)]
impl SplitMix {
    /// The same numbers for the same seed.
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// Uniform in `0..end`, but for a bias that no test notices; 0 of nothing.
    pub(crate) fn below(&mut self, end: u64) -> u64 {
        self.next() % end.max(1)
    }

    /// The same for places in a list.
    pub(crate) fn index(&mut self, length: usize) -> usize {
        usize::try_from(self.below(length as u64)).expect("below a usize")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_numbers_are_those_published() {
        // The first three of seed 1234567, as in the reference implementation's
        // commonly published test values.
        let mut draws = SplitMix::new(1_234_567);
        assert_eq!(draws.next(), 6_457_827_717_110_365_317);
        assert_eq!(draws.next(), 3_203_168_211_198_807_973);
        assert_eq!(draws.next(), 9_817_491_932_198_370_423);
    }
}
