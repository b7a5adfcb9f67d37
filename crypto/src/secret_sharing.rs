//! One secret as N shares, of which any W give it back and fewer say nothing.
//!
//! Shamir's scheme (A. Shamir, How to share a secret, 1979), byte by byte, over
//! GF(2^8) with the polynomial x^8 + x^4 + x^3 + x + 1 (FIPS 197, section 4): each
//! byte of the secret is the value at 0 of a polynomial of degree W - 1 whose other
//! coefficients are drawn at random, and share *i* is the values at *i*.
//!
//! A share carries no mark of its set: what belongs together, and whether a share was
//! changed, is for the caller to know, who can publish a hash of each. Shares that do
//! not belong together give some other secret, and no error.
//!
//! Field elements that come from secrets meet no table and no branch. The indices are
//! public.
//!
//! ```
//! use sealmoot_crypto::secret::SecretArray;
//! use sealmoot_crypto::secret_sharing::{combine, split};
//!
//! let secret = SecretArray::random()?;
//! let mut shares = split(&secret, 2, 3)?;
//! assert!(combine(2, &shares[..1]).is_err());
//! shares.remove(1);
//! assert!(combine(2, &shares)?.same_as(&secret));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use alloc::vec::Vec;
use core::fmt;
use core::hint::black_box;

use crate::random::RandomError;
use crate::secret::{SecretArray, scrubbed};

/// Most shares of one secret.
pub const SHARES_MAX: usize = 32;
/// The polynomial x^8 + x^4 + x^3 + x + 1 without its highest term.
const REDUCTION: u8 = 0x1b;

/// Why a secret was not split, or shares were not put together.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SharingError {
    /// No shares, or more than there are indices for.
    #[error("{0} shares: it takes between 1 and {SHARES_MAX}")]
    Count(usize),
    /// A threshold of none, or of more than all.
    #[error("{threshold} of {count} shares are to give the secret: between 1 and {count} can")]
    Threshold {
        /// How many shares were to give the secret.
        threshold: usize,
        /// How many there are.
        count: usize,
    },
    /// An index that no share has: at 0 lies the secret itself.
    #[error("there is no share number {0}: they count from 1 to {SHARES_MAX}")]
    Index(u8),
    /// Two shares have the same index.
    #[error("share number {0} is there twice")]
    Twice(u8),
    /// Fewer shares than the threshold.
    #[error("{have} shares, and {need} give the secret")]
    TooFew {
        /// How many there are.
        have: usize,
        /// How many it takes.
        need: usize,
    },
    /// More shares than the threshold: those beyond it would go unread, whatever they
    /// say.
    #[error("{have} shares, and {need} give the secret: choose")]
    TooMany {
        /// How many there are.
        have: usize,
        /// How many it takes.
        need: usize,
    },
    /// The random source failed.
    #[error(transparent)]
    Random(#[from] RandomError),
}

/// One share of a 32-byte secret. It is wiped when dropped.
pub struct Share {
    index: u8,
    value: SecretArray<32>,
}

impl Share {
    /// A share that was stored or sent.
    ///
    /// # Errors
    /// [`SharingError::Index`].
    pub fn new(index: u8, value: SecretArray<32>) -> Result<Self, SharingError> {
        if index == 0 || usize::from(index) > SHARES_MAX {
            return Err(SharingError::Index(index));
        }
        Ok(Self { index, value })
    }

    /// Its number, from 1.
    #[must_use]
    pub fn index(&self) -> u8 {
        self.index
    }

    /// Its bytes, to be stored or sent as secrets are.
    #[must_use]
    pub fn value(&self) -> &SecretArray<32> {
        &self.value
    }
}

impl Clone for Share {
    fn clone(&self) -> Self {
        Self {
            index: self.index,
            value: SecretArray::copy_of(self.value.expose()),
        }
    }
}

impl fmt::Debug for Share {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Share({}, redacted)", self.index)
    }
}

/// Splits a secret into `count` shares, of which any `threshold` give it back. They
/// are numbered from 1, in order.
///
/// # Errors
/// [`SharingError::Count`], [`SharingError::Threshold`], [`SharingError::Random`].
pub fn split(
    secret: &SecretArray<32>,
    threshold: usize,
    count: usize,
) -> Result<Vec<Share>, SharingError> {
    check_threshold(threshold, count)?;
    let mut coefficients = Vec::with_capacity(threshold - 1);
    for _ in 1..threshold {
        coefficients.push(SecretArray::random()?);
    }
    Ok(evaluate(secret, &coefficients, count))
}

/// Gives back the secret from exactly `threshold` shares, in any order.
///
/// # Errors
/// [`SharingError`].
pub fn combine(threshold: usize, shares: &[Share]) -> Result<SecretArray<32>, SharingError> {
    check_threshold(threshold, SHARES_MAX)?;
    let (have, need) = (shares.len(), threshold);
    if have < need {
        return Err(SharingError::TooFew { have, need });
    }
    if have > need {
        return Err(SharingError::TooMany { have, need });
    }
    for (place, share) in shares.iter().enumerate() {
        if shares[..place]
            .iter()
            .any(|other| other.index == share.index)
        {
            return Err(SharingError::Twice(share.index));
        }
    }
    let points: Vec<(u8, &[u8; 32])> = shares
        .iter()
        .map(|share| (share.index, share.value.expose()))
        .collect();
    Ok(interpolate(&points, 0))
}

fn check_threshold(threshold: usize, count: usize) -> Result<(), SharingError> {
    if count == 0 || count > SHARES_MAX {
        return Err(SharingError::Count(count));
    }
    if threshold == 0 || threshold > count {
        return Err(SharingError::Threshold { threshold, count });
    }
    Ok(())
}

/// The values at 1, 2, …, `count` of the polynomials that begin with the secret, by
/// Horner's rule.
fn evaluate(
    secret: &SecretArray<32>,
    coefficients: &[SecretArray<32>],
    count: usize,
) -> Vec<Share> {
    (1..=count)
        .map(|index| {
            let index = u8::try_from(index).expect("no more than SHARES_MAX");
            let mut value = SecretArray::zeros();
            scrubbed(|| {
                let value = value.expose_mut();
                for coefficient in coefficients.iter().rev() {
                    step(value, index, coefficient.expose());
                }
                step(value, index, secret.expose());
            });
            Share { index, value }
        })
        .collect()
}

/// `value · x + next`, byte by byte.
fn step(value: &mut [u8; 32], x: u8, next: &[u8; 32]) {
    for (byte, next) in value.iter_mut().zip(next) {
        *byte = multiply(*byte, x) ^ next;
    }
}

/// The value at `at` of the polynomials of least degree through the points, by
/// Lagrange's formula. The places of the points are all different.
fn interpolate(points: &[(u8, &[u8; 32])], at: u8) -> SecretArray<32> {
    let mut result = SecretArray::zeros();
    scrubbed(|| {
        for (place, value) in points {
            let (mut above, mut below) = (1, 1);
            for (other, _) in points.iter().filter(|(other, _)| other != place) {
                // To subtract is to add here.
                above = multiply(above, at ^ other);
                below = multiply(below, place ^ other);
            }
            let weight = multiply(above, invert(below));
            for (byte, value) in result.expose_mut().iter_mut().zip(value.iter()) {
                *byte ^= multiply(*value, weight);
            }
        }
    });
    result
}

/// The product in the field: eight additions under masks and eight reductions.
fn multiply(left: u8, right: u8) -> u8 {
    let (mut left, mut product) = (left, 0);
    for bit in 0..8 {
        product ^= left & mask(right >> bit);
        left = (left << 1) ^ (REDUCTION & mask(left >> 7));
    }
    product
}

/// All ones where the lowest bit is one, else zeros; the compiler is not to know that
/// there are two cases only.
fn mask(bit: u8) -> u8 {
    black_box(0u8.wrapping_sub(bit & 1))
}

/// The inverse as the power 254; 0 has none and gives 0.
fn invert(element: u8) -> u8 {
    let mut power = element;
    let mut result = 1;
    // 254 is 2 + 4 + … + 128.
    for _ in 1..8 {
        power = multiply(power, power);
        result = multiply(result, power);
    }
    result
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;

    fn of(byte: u8) -> SecretArray<32> {
        SecretArray::from_bytes([byte; 32])
    }

    /// The shares that a set of bits names.
    fn chosen(shares: &[Share], set: u32) -> Vec<Share> {
        let places = (0..shares.len()).filter(|place| set >> place & 1 == 1);
        places.map(|place| shares[place].clone()).collect()
    }

    /// FIPS 197, section 4.2 and 4.2.1.
    #[test]
    fn the_field_is_that_of_fips_197() {
        assert_eq!(multiply(0x57, 0x83), 0xc1);
        assert_eq!(multiply(0x57, 0x13), 0xfe);
        let doubled = [0x57, 0xae, 0x47, 0x8e, 0x07];
        for pair in doubled.windows(2) {
            assert_eq!(multiply(pair[0], 2), pair[1]);
        }
    }

    /// SLIP-0039, `vectors.json`: the share values in the mnemonics of "Basic sharing
    /// 2-of-3 (256 bits)" and "Extendable basic sharing 2-of-3 (256 bits)". Its field is
    /// this one; the secret lies at 255, and at 254 the first four bytes of
    /// HMAC-SHA-256 of it, and the key of that.
    #[test]
    fn shares_of_slip_0039_give_a_secret_with_the_digest_that_they_give() {
        let basic = [
            (
                2,
                "81e5473f4b7f66094f888d2f98fe0ded6a692dc72c65dc498d6e28bee6ebdfcc",
            ),
            (
                1,
                "19e366e9b2e34851e52132c31c2b2c957321bf5ce6c9c1410ea1ddf5fef92c27",
            ),
        ];
        let extendable = [
            (
                2,
                "daef18f6bfd2792749905e41a402dae0365bc2434e455226096a99f941d203bf",
            ),
            (
                0,
                "b4290e56271e919a44596794aef75071b07536ee113e1529299a08b19190ed81",
            ),
        ];
        for shares in [basic, extendable] {
            let values: Vec<(u8, [u8; 32])> = shares
                .iter()
                .map(|(place, text)| (*place, crate::testing::unhex(text).try_into().expect("32")))
                .collect();
            let points: Vec<_> = values
                .iter()
                .map(|(place, value)| (*place, value))
                .collect();
            let secret = interpolate(&points, 255);
            let digest = interpolate(&points, 254);
            let (tag, key) = digest.expose().split_at(4);
            let key = crate::digest::MacKey::from_bytes(key).expect("28 bytes");
            assert_eq!(key.tag(&[secret.expose()])[..4], *tag);
        }
    }

    #[test]
    fn every_element_but_0_has_its_inverse() {
        assert_eq!(invert(0), 0);
        for element in 1..=u8::MAX {
            assert_eq!(multiply(element, invert(element)), 1, "{element}");
            for other in 0..=u8::MAX {
                let product = multiply(element, other);
                assert_eq!(product, multiply(other, element));
                assert_eq!(multiply(product, invert(element)), other);
            }
        }
    }

    #[test]
    fn any_threshold_of_the_shares_gives_the_secret_and_any_order_of_them() {
        for count in 1..=6 {
            for threshold in 1..=count {
                let secret = SecretArray::random().expect("random");
                let shares = split(&secret, threshold, count).expect("split");
                assert_eq!(shares.len(), count);
                for set in 0u32..1 << count {
                    let mut some = chosen(&shares, set);
                    some.reverse();
                    match combine(threshold, &some) {
                        Ok(found) => {
                            assert_eq!(some.len(), threshold);
                            assert!(found.same_as(&secret));
                        }
                        Err(SharingError::TooFew { .. }) => assert!(some.len() < threshold),
                        Err(SharingError::TooMany { .. }) => assert!(some.len() > threshold),
                        Err(error) => panic!("{error}"),
                    }
                }
            }
        }
    }

    #[test]
    fn the_most_shares_give_the_secret_too() {
        let secret = SecretArray::random().expect("random");
        for threshold in [1, 17, SHARES_MAX] {
            let shares = split(&secret, threshold, SHARES_MAX).expect("split");
            let found = combine(threshold, &shares[SHARES_MAX - threshold..]).expect("enough");
            assert!(found.same_as(&secret));
        }
    }

    /// Over all polynomials of one byte, every pair of a secret and the shares that
    /// somebody holds comes up once: what he holds says nothing of the secret.
    #[test]
    fn one_share_less_leaves_every_secret_equally_possible() {
        // Two of three: one coefficient, one share in the wrong hands.
        for held in 0..3 {
            let mut seen = vec![0u32; 1 << 16];
            for secret in 0..=u8::MAX {
                for coefficient in 0..=u8::MAX {
                    let value = multiply(coefficient, held + 1) ^ secret;
                    seen[usize::from(secret) << 8 | usize::from(value)] += 1;
                }
            }
            assert!(seen.iter().all(|times| *times == 1));
        }
        // Three of three: two shares, for some secrets.
        for secret in [0, 1, 0x53, 0xff] {
            let mut seen = vec![0u32; 1 << 16];
            for first in 0..=u8::MAX {
                for second in 0..=u8::MAX {
                    let at = |x| multiply(multiply(second, x) ^ first, x) ^ secret;
                    seen[usize::from(at(1)) << 8 | usize::from(at(3))] += 1;
                }
            }
            assert!(seen.iter().all(|times| *times == 1), "{secret}");
        }
    }

    #[test]
    fn the_polynomial_tested_above_is_the_one_that_splits() {
        let coefficients = [of(0x20), of(0x77)];
        let shares = evaluate(&of(0x53), &coefficients, 3);
        for share in shares {
            let x = share.index();
            let expected = multiply(multiply(0x77, x) ^ 0x20, x) ^ 0x53;
            assert_eq!(share.value().expose(), &[expected; 32]);
        }
    }

    #[test]
    fn coefficients_are_drawn_anew_and_differ_from_byte_to_byte() {
        let secret = of(7);
        let (one, other) = (split(&secret, 2, 2), split(&secret, 2, 2));
        let (one, other) = (one.expect("split"), other.expect("split"));
        assert!(!one[0].value().same_as(other[0].value()));
        let first = one[0].value().expose();
        assert!(first.iter().any(|byte| *byte != first[0]));
        // With a threshold of one each share is the secret.
        let all = split(&secret, 1, 3).expect("split");
        assert!(all.iter().all(|share| share.value().same_as(&secret)));
    }

    #[test]
    fn a_changed_share_gives_another_secret() {
        let secret = of(9);
        let shares = split(&secret, 2, 2).expect("split");
        for place in 0..32 {
            let mut bytes = *shares[1].value().expose();
            bytes[place] ^= 1;
            let changed = Share::new(2, SecretArray::from_bytes(bytes)).expect("an index");
            let found = combine(2, &[shares[0].clone(), changed]).expect("two");
            assert!(!found.same_as(&secret), "{place}");
        }
    }

    #[test]
    fn counts_and_thresholds_out_of_bounds_are_refused() {
        for count in [0, SHARES_MAX + 1, usize::MAX] {
            let refused = split(&of(1), 1, count);
            assert!(matches!(refused, Err(SharingError::Count(found)) if found == count));
        }
        for (threshold, count) in [(0, 3), (4, 3), (usize::MAX, 3)] {
            let refused = split(&of(1), threshold, count);
            assert!(matches!(refused, Err(SharingError::Threshold { .. })));
        }
        for threshold in [0, SHARES_MAX + 1] {
            let refused = combine(threshold, &[]);
            assert!(matches!(refused, Err(SharingError::Threshold { .. })));
        }
    }

    #[test]
    fn shares_without_a_place_are_refused() {
        for index in [0, 33, 255] {
            let refused = Share::new(index, of(1));
            assert!(matches!(refused, Err(SharingError::Index(found)) if found == index));
        }
        for index in [1, 32] {
            assert_eq!(Share::new(index, of(1)).expect("a place").index(), index);
        }
    }

    #[test]
    fn too_few_too_many_and_twice_the_same_are_refused_by_name() {
        let shares = split(&of(1), 3, 5).expect("split");
        let refused = combine(3, &shares[..2]);
        assert!(matches!(
            refused,
            Err(SharingError::TooFew { have: 2, need: 3 })
        ));
        let refused = combine(3, &[]);
        assert!(matches!(
            refused,
            Err(SharingError::TooFew { have: 0, need: 3 })
        ));
        let refused = combine(3, &shares[..4]);
        assert!(matches!(
            refused,
            Err(SharingError::TooMany { have: 4, need: 3 })
        ));
        let twice = [shares[1].clone(), shares[4].clone(), shares[1].clone()];
        assert!(matches!(combine(3, &twice), Err(SharingError::Twice(2))));
    }

    #[test]
    fn a_share_shows_its_number_only() {
        let share = Share::new(3, of(0xab)).expect("a place");
        assert_eq!(alloc::format!("{share:?}"), "Share(3, redacted)");
    }
}
