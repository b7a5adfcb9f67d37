//! Passphrases of random words, from the EFF's large word list.
//!
//! The list (`passphrase/eff_large_wordlist.txt`) is the Electronic Frontier
//! Foundation's "long" list of 2016, 6^5 words, CC BY 3.0 US. Every word is drawn
//! uniformly and independently, so `n` words have `n * log2(7776)` bits.

use alloc::vec::Vec;

use zeroize::Zeroize;

use crate::random::{self, RandomError};
use crate::secret::SecretBytes;

const LIST: &str = include_str!("passphrase/eff_large_wordlist.txt");
/// How many words the list has.
pub const WORDS_IN_LIST: usize = 7776;

/// A passphrase of `words` random words joined by `-`.
///
/// # Errors
/// When the random source fails.
///
/// ```
/// let passphrase = sealmoot_crypto::passphrase::generate(6)?;
/// let text = core::str::from_utf8(passphrase.expose())?;
/// assert!(text.split('-').count() >= 6);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn generate(words: usize) -> Result<SecretBytes, RandomError> {
    let list: Vec<&str> = LIST.lines().collect();
    let mut indices = Vec::with_capacity(words);
    let mut length = 0;
    for _ in 0..words {
        let index = uniform_index(list.len())?;
        length += list[index].len() + 1;
        indices.push(index);
    }
    let mut passphrase = Vec::with_capacity(length);
    for index in &indices {
        if !passphrase.is_empty() {
            passphrase.push(b'-');
        }
        passphrase.extend_from_slice(list[*index].as_bytes());
    }
    indices.zeroize();
    Ok(SecretBytes::new(passphrase))
}

/// The entropy of a passphrase of `words` words, in bits.
#[must_use]
pub fn entropy_bits(words: usize) -> f64 {
    // 7776 = 6^5; `log2` itself is not in `core`.
    words as f64 * 5.0 * 2.584_962_500_721_156
}

/// An index below `count`, uniform: values in the incomplete last cycle of the
/// 32-bit range are drawn again, else the first words would come more often.
fn uniform_index(count: usize) -> Result<usize, RandomError> {
    let count = u32::try_from(count).expect("the list has 7,776 words");
    let complete = u32::MAX - u32::MAX % count;
    loop {
        let value = u32::from_le_bytes(random::array()?);
        if value < complete {
            return Ok((value % count) as usize);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::prelude::v1::*;

    use super::*;
    use std::collections::HashSet;

    #[test]
    fn the_list_is_whole() {
        let words: HashSet<&str> = LIST.lines().collect();
        assert_eq!(words.len(), WORDS_IN_LIST);
        assert!(words.contains("abacus") && words.contains("zoom"));
    }

    #[test]
    fn entropy_is_that_of_the_list() {
        assert!((entropy_bits(6) - 77.549).abs() < 0.001);
    }

    #[test]
    fn words_differ_from_draw_to_draw() {
        let first = generate(8).expect("random");
        let second = generate(8).expect("random");
        assert_ne!(first.expose(), second.expose());
    }
}
