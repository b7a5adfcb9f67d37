//! A Bloom filter: most runs that do not hold a key are not read for it.
//!
//! Ten bits a key and seven probes, which lets through about one key of a hundred that is not
//! there (Bloom 1970; the probes are made of two hashes as in Kirsch and Mitzenmacher, "Less
//! Hashing, Same Performance", 2006). It is sealed like everything else of a run, and never
//! the last word: what it lets through is looked up.
//!
//! ```text
//! filter    number of 64-bit words u32, the words
//! ```

use sealmoot_crypto::digest::sha256;
use sealmoot_crypto::encoding::{EncodingError, Reader, Writer};

const BITS_PER_KEY: usize = 10;
const PROBES: u64 = 7;
const WORDS_MAX: usize = 1 << 26;

/// What a key is looked for by, in all runs.
#[derive(Debug, Clone, Copy)]
pub(in crate::storage) struct KeyHash(u64, u64);

impl KeyHash {
    pub(in crate::storage) fn of(key: &[u8]) -> Self {
        let digest = sha256(key);
        let half = |at: usize| {
            let bytes = digest[at..].first_chunk().expect("32 bytes");
            u64::from_le_bytes(*bytes)
        };
        Self(half(0), half(8) | 1)
    }

    fn probes(self, bits: u64) -> impl Iterator<Item = (usize, u64)> {
        (0..PROBES).map(move |probe| {
            let bit = self.0.wrapping_add(probe.wrapping_mul(self.1)) % bits;
            ((bit / 64) as usize, 1 << (bit % 64))
        })
    }
}

/// Which keys a run may hold.
#[derive(Debug)]
pub(super) struct Filter {
    words: Vec<u64>,
}

impl Filter {
    /// One that lets nothing through.
    pub(super) fn none() -> Self {
        Self { words: Vec::new() }
    }

    pub(super) fn of(keys: &[KeyHash]) -> Self {
        let words = (keys.len() * BITS_PER_KEY).div_ceil(64).min(WORDS_MAX);
        let mut words = vec![0_u64; words];
        let bits = words.len() as u64 * 64;
        for key in keys {
            for (word, bit) in key.probes(bits) {
                words[word] |= bit;
            }
        }
        Self { words }
    }

    pub(super) fn may_contain(&self, key: &KeyHash) -> bool {
        let bits = self.words.len() as u64 * 64;
        bits > 0
            && key
                .probes(bits)
                .all(|(word, bit)| self.words[word] & bit != 0)
    }

    pub(super) fn encode(&self) -> Vec<u8> {
        let mut writer = Writer::with_capacity(4 + 8 * self.words.len());
        writer.count(self.words.len());
        for word in &self.words {
            writer.u64(*word);
        }
        writer.finish()
    }

    pub(super) fn decode(bytes: &[u8]) -> Result<Self, EncodingError> {
        let mut reader = Reader::new(bytes);
        let count = reader.count(WORDS_MAX)?;
        let mut words = Vec::with_capacity(count.min(bytes.len() / 8 + 1));
        for _ in 0..count {
            words.push(reader.u64()?);
        }
        reader.finish()?;
        Ok(Self { words })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_passes_and_few_others_do() {
        let hash = |number: u32| KeyHash::of(&number.to_le_bytes());
        let keys: Vec<KeyHash> = (0..1000).map(hash).collect();
        let filter = Filter::of(&keys);
        let filter = Filter::decode(&filter.encode()).expect("its own");
        assert!(keys.iter().all(|key| filter.may_contain(key)));
        let passed = (1000..11_000).filter(|number| filter.may_contain(&hash(*number)));
        let passed = passed.count();
        assert!((20..200).contains(&passed), "{passed} of 10,000");
        assert!(!Filter::none().may_contain(&hash(1)));
    }
}
