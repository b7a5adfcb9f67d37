//! Passphrases of random words, from the EFF's large word list.
//!
//! The list (`passphrase/eff_large_wordlist.txt`) is the Electronic Frontier
//! Foundation's "long" list of 2016, 6^5 words, CC BY 3.0 US. Every word is drawn
//! uniformly and independently, so `n` words have `n * log2(7776)` bits. Words are
//! joined by `-`, which stands inside four of them as well; still no two draws give
//! the same text, because no part of those four that could begin one is a word.
//!
//! ```
//! use sealmoot_crypto::{passphrase::Passphrase, passphrase_box, password::Cost};
//! # let cost = Cost { memory_kib: 8, passes: 1, lanes: 1 };
//! let passphrase = Passphrase::generate(6)?; // to be shown once, and written down
//! let sealed = passphrase_box::seal(passphrase.text().expose(), "backup", b"", b"key", cost)?;
//! let opened = passphrase_box::open(passphrase.text().expose(), "backup", b"", &sealed)?;
//! assert_eq!(opened.expose(), b"key");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use alloc::vec::Vec;

use core::fmt;

use zeroize::Zeroizing;

use crate::random::{self, RandomError};
use crate::secret::SecretBytes;

const LIST: &str = include_str!("passphrase/eff_large_wordlist.txt");
/// How many words the list has.
pub const WORDS_IN_LIST: usize = 7776;
/// Most words of one passphrase: more than 800 bits.
pub const WORDS_MAX: usize = 64;

/// Why no passphrase was made.
///
/// ```
/// use sealmoot_crypto::passphrase::{PassphraseError, WORDS_MAX, generate, words_for_bits};
/// assert!(matches!(generate(0), Err(PassphraseError::NoWords)));
/// assert!(matches!(generate(WORDS_MAX + 1), Err(PassphraseError::TooManyWords)));
/// let too_many = generate(words_for_bits(1024));
/// assert!(matches!(too_many, Err(PassphraseError::TooManyWords)));
/// ```
#[derive(Debug, thiserror::Error)]
pub enum PassphraseError {
    /// No word protects nothing.
    #[error("a passphrase has at least one word")]
    NoWords,
    /// More than [`WORDS_MAX`] words are asked for.
    #[error("a passphrase has at most {WORDS_MAX} words")]
    TooManyWords,
    /// The random source failed.
    #[error(transparent)]
    Random(#[from] RandomError),
}

/// Random words, and what they are worth.
///
/// ```
/// use sealmoot_crypto::passphrase::{Passphrase, words_for_bits};
/// let passphrase = Passphrase::generate(words_for_bits(77))?;
/// assert_eq!(passphrase.words(), 6);
/// assert!(passphrase.entropy_bits() > 77.0);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Passphrase {
    text: SecretBytes,
    words: usize,
}

impl Passphrase {
    /// A passphrase of `words` words, 1 to [`WORDS_MAX`], joined by `-`.
    ///
    /// # Errors
    /// [`PassphraseError`].
    ///
    /// ```
    /// use sealmoot_crypto::passphrase::{Passphrase, WORDS_MAX};
    /// let (one, another) = (Passphrase::generate(6)?, Passphrase::generate(6)?);
    /// assert_ne!(one.text().expose(), another.text().expose());
    /// assert!(Passphrase::generate(WORDS_MAX).is_ok());
    /// assert!(Passphrase::generate(WORDS_MAX + 1).is_err());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn generate(words: usize) -> Result<Self, PassphraseError> {
        if words == 0 {
            return Err(PassphraseError::NoWords);
        }
        if words > WORDS_MAX {
            return Err(PassphraseError::TooManyWords);
        }
        let list: Vec<&str> = LIST.lines().collect();
        let mut indices = Zeroizing::new(Vec::with_capacity(words));
        let mut length = 0;
        for _ in 0..words {
            let index = uniform_index(list.len())?;
            length += list[index].len() + 1;
            indices.push(index);
        }
        // One allocation, so that no half-grown copy is left behind.
        let mut text = Vec::with_capacity(length);
        for index in indices.iter() {
            if !text.is_empty() {
                text.push(b'-');
            }
            text.extend_from_slice(list[*index].as_bytes());
        }
        Ok(Self {
            text: SecretBytes::new(text),
            words,
        })
    }

    /// The passphrase itself: ASCII.
    ///
    /// ```
    /// use sealmoot_crypto::passphrase::Passphrase;
    /// let passphrase = Passphrase::generate(6)?;
    /// let shown = core::str::from_utf8(passphrase.text().expose())?;
    /// assert!(shown.chars().all(|character| character.is_ascii_lowercase() || character == '-'));
    /// assert_eq!(format!("{passphrase:?}"), "Passphrase(6 words, redacted)");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn text(&self) -> &SecretBytes {
        &self.text
    }

    /// The passphrase itself, for good.
    ///
    /// ```
    /// use sealmoot_crypto::{passphrase::Passphrase, secret::SecretBytes};
    /// let secret: SecretBytes = Passphrase::generate(6)?.into_text();
    /// assert!(secret.len() >= 6 * 3 + 5); // words of three letters at least
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn into_text(self) -> SecretBytes {
        self.text
    }

    /// How many words it has.
    ///
    /// ```
    /// use sealmoot_crypto::passphrase::{Passphrase, words_for_bits};
    /// let passphrase = Passphrase::generate(words_for_bits(128))?;
    /// assert_eq!(passphrase.words(), 10);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn words(&self) -> usize {
        self.words
    }

    /// How many bits of entropy it has: `words * log2(7776)`, whatever the words.
    ///
    /// ```
    /// use sealmoot_crypto::passphrase::Passphrase;
    /// let passphrase = Passphrase::generate(5)?;
    /// assert_eq!(format!("{:.1} bits", passphrase.entropy_bits()), "64.6 bits");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn entropy_bits(&self) -> f64 {
        entropy_bits(self.words)
    }
}

impl fmt::Debug for Passphrase {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Passphrase({} words, redacted)", self.words)
    }
}

/// The text of a passphrase of `words` words, as [`Passphrase::generate`] makes it.
///
/// # Errors
/// [`PassphraseError`].
///
/// ```
/// let passphrase = sealmoot_crypto::passphrase::generate(6)?;
/// let text = core::str::from_utf8(passphrase.expose())?;
/// assert!(text.split('-').count() >= 6);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn generate(words: usize) -> Result<SecretBytes, PassphraseError> {
    Passphrase::generate(words).map(Passphrase::into_text)
}

/// The entropy of a passphrase of `words` words, in bits: `words * log2(7776)`.
///
/// ```
/// assert_eq!(sealmoot_crypto::passphrase::entropy_bits(6) as u32, 77);
/// ```
#[must_use]
pub fn entropy_bits(words: usize) -> f64 {
    // 7776 = 6^5; `log2` itself is not in `core`.
    words as f64 * 5.0 * 2.584_962_500_721_156
}

/// The fewest words, and at least one, that have `bits` bits of entropy. It may be more
/// than [`WORDS_MAX`], which [`Passphrase::generate`] then refuses.
///
/// ```
/// use sealmoot_crypto::passphrase::words_for_bits;
/// assert_eq!(words_for_bits(64), 5);
/// assert_eq!(words_for_bits(65), 6);
/// assert_eq!(words_for_bits(128), 10);
/// ```
#[must_use]
pub fn words_for_bits(bits: u32) -> usize {
    // Conversion cuts off; the multiple of an irrational number is never whole, so
    // the next word is needed.
    (f64::from(bits) / entropy_bits(1)) as usize + 1
}

/// An index below `count`, uniform: values in the incomplete last cycle of the
/// 32-bit range are drawn again, else the first words would come more often.
fn uniform_index(count: usize) -> Result<usize, RandomError> {
    let count = u32::try_from(count).expect("the list has 7,776 words");
    loop {
        if let Some(index) = index_of(u32::from_le_bytes(random::array()?), count) {
            return Ok(index as usize);
        }
    }
}

/// The index that a 32-bit value stands for, or none.
fn index_of(value: u32, count: u32) -> Option<u32> {
    let complete = u32::MAX - u32::MAX % count;
    (value < complete).then_some(value % count)
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
    fn no_two_draws_give_the_same_text() {
        let words: HashSet<&str> = LIST.lines().collect();
        let hyphenated: Vec<_> = LIST.lines().filter(|word| word.contains('-')).collect();
        assert_eq!(hyphenated, ["drop-down", "felt-tip", "t-shirt", "yo-yo"]);
        for word in hyphenated {
            // Read from the left, a text can only be taken apart in one way.
            let (begins, _) = word.split_once('-').expect("filtered");
            assert!(!words.contains(begins), "{word}");
        }
    }

    #[test]
    fn entropy_is_that_of_the_list() {
        assert!((entropy_bits(6) - 77.549).abs() < 0.001);
        assert!((entropy_bits(1) - (WORDS_IN_LIST as f64).log2()).abs() < 1e-12);
        let passphrase = Passphrase::generate(7).expect("random");
        assert_eq!(passphrase.entropy_bits(), entropy_bits(7));
        assert_eq!(entropy_bits(0), 0.0);
    }

    #[test]
    fn words_for_bits_are_enough_and_one_less_is_not() {
        assert_eq!(words_for_bits(0), 1);
        for bits in (1..2000).chain([u32::MAX]) {
            let words = words_for_bits(bits);
            assert!(entropy_bits(words) >= f64::from(bits), "{bits}");
            assert!(entropy_bits(words - 1) < f64::from(bits), "{bits}");
        }
    }

    #[test]
    fn impossible_numbers_of_words_are_refused() {
        assert!(matches!(generate(0), Err(PassphraseError::NoWords)));
        for words in [WORDS_MAX + 1, words_for_bits(u32::MAX), usize::MAX] {
            assert!(matches!(
                generate(words),
                Err(PassphraseError::TooManyWords)
            ));
        }
        for words in [1, WORDS_MAX] {
            let text = generate(words).expect("random");
            let text = core::str::from_utf8(text.expose()).expect("ASCII");
            assert!(text.split('-').count() >= words);
        }
    }

    #[test]
    fn every_index_has_equally_many_values() {
        // 2^32 = 552,336 * 7776 + 2,560: the last values stand for nothing.
        let count = WORDS_IN_LIST as u32;
        let complete = 552_336 * count;
        assert_eq!(index_of(0, count), Some(0));
        assert_eq!(index_of(complete - 1, count), Some(count - 1));
        for value in [complete, complete + 1, u32::MAX] {
            assert_eq!(index_of(value, count), None);
        }
    }

    #[test]
    fn words_differ_from_draw_to_draw() {
        let first = generate(8).expect("random");
        let second = generate(8).expect("random");
        assert_ne!(first.expose(), second.expose());
    }

    #[test]
    fn debug_shows_no_word() {
        let passphrase = Passphrase::generate(3).expect("random");
        assert_eq!(format!("{passphrase:?}"), "Passphrase(3 words, redacted)");
    }
}
