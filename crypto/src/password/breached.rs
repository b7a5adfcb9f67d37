//! A filter of passwords that are public already, built offline and asked offline.
//!
//! It is a blocked Bloom filter over SHA-1 digests, SHA-1 because that is how the
//! published lists name passwords; nothing here leans on its strength. Every password
//! that was added is found. Of those that were not, about one in 2^17 is found all the
//! same when the filter is as full as it was made for
//! ([`BreachedFilter::false_positive_rate`] counts exactly), at four bytes a password:
//! the billion of the largest public list in 4 GB, a million in 4 MB.
//!
//! Passwords are compared as exact bytes: no case is folded, no space trimmed and no
//! Unicode normalised, as in the published lists. Whoever normalises passwords before
//! they are hashed asks here for the normalised one as well.
//!
//! A password's 32 bytes `SHA-256("sealmoot/v1/breached" || SHA-1(password))` choose a
//! block of 64 bytes (the first eight as a number `h`: block `h * blocks / 2^64`) and
//! [`BITS_EACH`] bits in it (each next two bytes modulo 512: bit `b % 8` of byte
//! `b / 8`). Numbers are little-endian.
//!
//! ```text
//!  offset length
//!       0      4  "SMBF"
//!       4      2  version, 1
//!       6      8  number of blocks n, 1 to 2^26
//!      14      8  number of passwords added
//!      22    64 n the blocks
//! 22+64 n     32  SHA-256 of everything before
//! ```
//!
//! The checksum finds damage. It proves nothing about who made a file: whoever can
//! replace one can replace its checksum.
//!
//! ```
//! use sealmoot_crypto::password::breached::BreachedFilter;
//! let mut builder = BreachedFilter::builder(1000)?;
//! builder.add_password(b"hunter2")?;
//! builder.add_password_lines("123456\nletmein\n".as_bytes())?;
//! let filter = builder.finish();
//! assert!(filter.contains(b"hunter2") && filter.contains(b"letmein"));
//! assert!(!filter.contains(b"Hunter2"));
//!
//! let mut file = Vec::new();
//! filter.write_to(&mut file)?;
//! assert!(BreachedFilter::read_from(&file[..])?.contains(b"123456"));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

#[cfg(feature = "std")]
mod file;
#[cfg(feature = "std")]
mod lines;

use alloc::vec::Vec;

use core::fmt;

use ring::digest;

#[cfg(feature = "std")]
pub use file::FilterError;
#[cfg(feature = "std")]
pub use lines::{LINE_LENGTH_MAX, ListError, Stats};

use crate::digest::Sha256;

/// Most passwords of one filter: 4 GiB at four bytes each.
pub const PASSWORDS_MAX: u64 = 1 << 30;
/// How many bits of a block a password sets.
pub const BITS_EACH: usize = 12;

const DOMAIN: &[u8] = b"sealmoot/v1/breached";
const BLOCK_LENGTH: usize = 64;
const PASSWORDS_A_BLOCK: u64 = 16;
/// Blocks lie in pages of 1 MiB, so that reading a file neither reserves what did not
/// arrive yet nor ever copies what did.
const PAGE_BLOCKS: usize = 1 << 14;

type Block = [u8; BLOCK_LENGTH];

/// Why a filter was not built.
///
/// ```
/// use sealmoot_crypto::password::breached::{BreachedFilter, BuildError};
/// assert_eq!(BreachedFilter::builder(0).err(), Some(BuildError::Size));
/// let mut builder = BreachedFilter::builder(1)?;
/// builder.add_password(b"letmein")?;
/// assert_eq!(builder.add_password(b"123456"), Err(BuildError::Full(1)));
/// // What was added before is still a filter.
/// assert!(builder.finish().contains(b"letmein"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BuildError {
    /// A filter is for 1 to [`PASSWORDS_MAX`] passwords.
    #[error("a filter is for 1 to {PASSWORDS_MAX} passwords")]
    Size,
    /// There is not enough memory.
    #[error("there is not enough memory for this filter")]
    OutOfMemory,
    /// More passwords were added than the filter was made for; one more would find
    /// too many that are not in it.
    #[error("the filter was made for {0} passwords and has them")]
    Full(u64),
}

/// A set of breached passwords that answers "no" for certain and "yes" almost so.
///
/// ```
/// use sealmoot_crypto::password::breached::BreachedFilter;
/// # let mut builder = BreachedFilter::builder(1)?;
/// # builder.add_password(b"letmein")?;
/// # let filter = builder.finish();
/// let chosen = "letmein"; // on a page where a password is changed
/// let refusal = filter.contains(chosen.as_bytes()).then_some("this password is public");
/// assert_eq!(refusal, Some("this password is public"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct BreachedFilter {
    pages: Vec<Vec<Block>>,
    blocks: u64,
    added: u64,
}

impl BreachedFilter {
    /// A builder of a filter for up to `expected_count` different passwords.
    ///
    /// # Errors
    /// [`BuildError::Size`], [`BuildError::OutOfMemory`].
    ///
    /// ```
    /// use sealmoot_crypto::password::breached::{BreachedFilter, BuildError, PASSWORDS_MAX};
    /// let builder = BreachedFilter::builder(1_000_000)?; // some 4 MB
    /// assert_eq!(builder.finish().added(), 0);
    /// let too_many = BreachedFilter::builder(PASSWORDS_MAX + 1);
    /// assert_eq!(too_many.err(), Some(BuildError::Size));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn builder(expected_count: u64) -> Result<BreachedFilterBuilder, BuildError> {
        if expected_count == 0 || expected_count > PASSWORDS_MAX {
            return Err(BuildError::Size);
        }
        let blocks = expected_count.div_ceil(PASSWORDS_A_BLOCK);
        let mut pages = Vec::new();
        let mut left = usize::try_from(blocks).map_err(|_| BuildError::OutOfMemory)?;
        while left > 0 {
            let mut page = Vec::new();
            let count = left.min(PAGE_BLOCKS);
            page.try_reserve_exact(count)
                .map_err(|_| BuildError::OutOfMemory)?;
            page.resize(count, [0; BLOCK_LENGTH]);
            pages.push(page);
            left -= count;
        }
        Ok(BreachedFilterBuilder {
            filter: Self {
                pages,
                blocks,
                added: 0,
            },
            expected_count,
        })
    }

    /// Whether `password` was added, or is one of the few that look so.
    ///
    /// ```
    /// use sealmoot_crypto::password::breached::BreachedFilter;
    /// let mut builder = BreachedFilter::builder(100)?;
    /// builder.add_password(b"letmein")?;
    /// let filter = builder.finish();
    /// assert!(filter.contains(b"letmein"));
    /// assert!(!filter.contains(b"LetMeIn")); // exact bytes
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn contains(&self, password: &[u8]) -> bool {
        self.contains_sha1(&sha1(password))
    }

    /// As [`BreachedFilter::contains`], for the password of this SHA-1 digest.
    ///
    /// ```
    /// use sealmoot_crypto::password::breached::BreachedFilter;
    /// let digest = [0x5a; 20];
    /// let mut builder = BreachedFilter::builder(1)?;
    /// builder.add_sha1(&digest)?;
    /// assert!(builder.finish().contains_sha1(&digest));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn contains_sha1(&self, digest: &[u8; 20]) -> bool {
        let place = Place::of(digest, self.blocks);
        let block = &self.pages[place.page][place.block];
        // All are looked at: the work does not tell how many are set. (Which cache lines
        // it touches depends on the password's hash.)
        place
            .bits()
            .fold(true, |all, (byte, mask)| all & (block[byte] & mask != 0))
    }

    /// How many different passwords were added.
    ///
    /// ```
    /// use sealmoot_crypto::password::breached::BreachedFilter;
    /// let mut builder = BreachedFilter::builder(100)?;
    /// for password in [b"letmein", b"monkey1", b"letmein"] {
    ///     builder.add_password(password)?;
    /// }
    /// assert_eq!(builder.finish().added(), 2);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn added(&self) -> u64 {
        self.added
    }

    /// How often a password that was not added is found all the same, counted from the
    /// bits that are set: the mean over all blocks of `(set bits / 512)^BITS_EACH`.
    ///
    /// ```
    /// use sealmoot_crypto::password::breached::BreachedFilter;
    /// let empty = BreachedFilter::builder(1000)?.finish();
    /// assert_eq!(empty.false_positive_rate(), 0.0);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn false_positive_rate(&self) -> f64 {
        let sum: f64 = self
            .pages
            .iter()
            .flatten()
            .map(|block| {
                let set: u32 = block.iter().map(|byte| byte.count_ones()).sum();
                let share = f64::from(set) / (8 * BLOCK_LENGTH) as f64;
                // `powi` is not in `core`.
                (0..BITS_EACH).fold(1.0, |product, _| product * share)
            })
            .sum();
        sum / self.blocks as f64
    }
}

impl fmt::Debug for BreachedFilter {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            formatter,
            "BreachedFilter({} passwords in {} KiB)",
            self.added,
            self.blocks / 16
        )
    }
}

/// Takes passwords one by one or list by list, in the memory of the finished filter.
///
/// ```
/// use sealmoot_crypto::password::breached::BreachedFilter;
/// let mut builder = BreachedFilter::builder(100)?;
/// builder.add_password(b"our-company-2026")?; // what attackers of this site try first
/// builder.add_password_lines("123456\nletmein\n".as_bytes())?;
/// assert_eq!(builder.finish().added(), 3);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct BreachedFilterBuilder {
    filter: BreachedFilter,
    expected_count: u64,
}

impl BreachedFilterBuilder {
    /// Adds a password, exactly these bytes. Whether it was new: one that looks as if
    /// it had been added already counts as known.
    ///
    /// # Errors
    /// [`BuildError::Full`]; the filter is as it was.
    ///
    /// ```
    /// use sealmoot_crypto::password::breached::BreachedFilter;
    /// let mut builder = BreachedFilter::builder(100)?;
    /// assert!(builder.add_password(b"letmein")?);
    /// assert!(!builder.add_password(b"letmein")?); // known already
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn add_password(&mut self, password: &[u8]) -> Result<bool, BuildError> {
        self.add_sha1(&sha1(password))
    }

    /// Adds the password of this SHA-1 digest, as [`Self::add_password`].
    ///
    /// # Errors
    /// [`BuildError::Full`]; the filter is as it was.
    ///
    /// ```
    /// use sealmoot_crypto::password::breached::BreachedFilter;
    /// let abc = [ // SHA-1 of "abc"
    ///     0xa9, 0x99, 0x3e, 0x36, 0x47, 0x06, 0x81, 0x6a, 0xba, 0x3e, //
    ///     0x25, 0x71, 0x78, 0x50, 0xc2, 0x6c, 0x9c, 0xd0, 0xd8, 0x9d,
    /// ];
    /// let mut builder = BreachedFilter::builder(100)?;
    /// assert!(builder.add_sha1(&abc)?);
    /// assert!(!builder.add_password(b"abc")?); // the same password
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn add_sha1(&mut self, digest: &[u8; 20]) -> Result<bool, BuildError> {
        if self.filter.contains_sha1(digest) {
            return Ok(false);
        }
        if self.filter.added >= self.expected_count {
            return Err(BuildError::Full(self.expected_count));
        }
        let place = Place::of(digest, self.filter.blocks);
        let block = &mut self.filter.pages[place.page][place.block];
        for (byte, mask) in place.bits() {
            block[byte] |= mask;
        }
        self.filter.added += 1;
        Ok(true)
    }

    /// The filter of what was added.
    ///
    /// ```
    /// use sealmoot_crypto::password::breached::BreachedFilter;
    /// let mut builder = BreachedFilter::builder(100)?;
    /// builder.add_password(b"letmein")?;
    /// let filter = builder.finish(); // takes no more, and answers
    /// assert!(filter.contains(b"letmein"));
    /// assert_eq!(format!("{filter:?}"), "BreachedFilter(1 passwords in 0 KiB)");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn finish(self) -> BreachedFilter {
        self.filter
    }
}

/// Where a password's bits stand.
struct Place {
    page: usize,
    block: usize,
    hash: [u8; 32],
}

impl Place {
    fn of(digest: &[u8; 20], blocks: u64) -> Self {
        let mut hasher = Sha256::new();
        hasher.update(DOMAIN);
        hasher.update(digest);
        let hash = hasher.finish();
        let mut head = [0u8; 8];
        head.copy_from_slice(&hash[..8]);
        let scaled = (u128::from(u64::from_le_bytes(head)) * u128::from(blocks)) >> 64;
        let index = usize::try_from(scaled).expect("the blocks are in memory");
        Self {
            page: index / PAGE_BLOCKS,
            block: index % PAGE_BLOCKS,
            hash,
        }
    }

    /// Byte and mask of each bit.
    fn bits(&self) -> impl Iterator<Item = (usize, u8)> {
        self.hash[8..8 + 2 * BITS_EACH].chunks_exact(2).map(|pair| {
            let bit = usize::from(u16::from_le_bytes([pair[0], pair[1]])) % (8 * BLOCK_LENGTH);
            (bit / 8, 1 << (bit % 8))
        })
    }
}

fn sha1(password: &[u8]) -> [u8; 20] {
    let mut array = [0u8; 20];
    let digest = digest::digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, password);
    array.copy_from_slice(digest.as_ref());
    array
}

#[cfg(test)]
mod tests {
    use std::prelude::v1::*;

    use super::*;
    use crate::testing::hex;

    fn filter_of(count: u32) -> BreachedFilter {
        let mut builder = BreachedFilter::builder(u64::from(count)).expect("small");
        for number in 0..count {
            builder.add_password(&number.to_le_bytes()).expect("room");
        }
        builder.finish()
    }

    // FIPS 180-4 example, SHA-1 of "abc".
    #[test]
    fn digests_are_those_of_the_published_lists() {
        assert_eq!(
            hex(&sha1(b"abc")),
            "a9993e364706816aba3e25717850c26c9cd0d89d"
        );
    }

    #[test]
    fn what_was_added_is_always_found() {
        let filter = filter_of(100_000);
        assert!((0..100_000u32).all(|number| filter.contains(&number.to_le_bytes())));
    }

    #[test]
    fn what_was_not_added_is_found_about_as_rarely_as_stated() {
        let filter = filter_of(100_000);
        let stated = filter.false_positive_rate();
        assert!(
            (1.0 / 200_000.0..1.0 / 131_072.0).contains(&stated),
            "{stated}"
        );
        let asked = 2_000_000u32;
        let found = (0..asked)
            .filter(|number| filter.contains(&(number + 100_000).to_le_bytes()))
            .count();
        // Twelve are expected; the passwords are fixed, so the count is.
        assert!((4..=25).contains(&found), "{found}");
    }

    #[test]
    fn bytes_are_compared_as_they_are() {
        let mut builder = BreachedFilter::builder(16).expect("small");
        builder.add_password("Pass\u{e9}".as_bytes()).expect("room");
        let filter = builder.finish();
        assert!(filter.contains("Pass\u{e9}".as_bytes()));
        for other in [
            "pass\u{e9}",
            "Passe\u{301}",
            " Pass\u{e9}",
            "Pass\u{e9}\n",
            "Pass\u{e9}\0",
            "",
        ] {
            assert!(!filter.contains(other.as_bytes()), "{other:?}");
        }
    }

    #[test]
    fn a_password_counts_once() {
        let mut builder = BreachedFilter::builder(2).expect("small");
        assert_eq!(builder.add_password(b"a"), Ok(true));
        assert_eq!(builder.add_password(b"a"), Ok(false));
        assert_eq!(builder.add_password(b""), Ok(true));
        assert_eq!(builder.finish().added(), 2);
    }

    #[test]
    fn a_full_filter_takes_no_more_and_keeps_what_it_has() {
        let mut builder = BreachedFilter::builder(2).expect("small");
        builder.add_password(b"a").expect("room");
        builder.add_password(b"b").expect("room");
        assert_eq!(builder.add_password(b"c"), Err(BuildError::Full(2)));
        assert_eq!(builder.add_password(b"a"), Ok(false));
        let filter = builder.finish();
        assert!(filter.contains(b"a") && filter.contains(b"b") && !filter.contains(b"c"));
    }

    #[test]
    fn impossible_sizes_are_refused_before_memory_is_reserved() {
        for count in [0, PASSWORDS_MAX + 1, u64::MAX] {
            assert_eq!(
                BreachedFilter::builder(count).map(|_| ()).err(),
                Some(BuildError::Size)
            );
        }
    }

    #[test]
    fn every_block_of_several_pages_is_reached() {
        let filter = filter_of(20 * PAGE_BLOCKS as u32);
        assert_eq!(filter.pages.len(), 2);
        let empty = filter
            .pages
            .iter()
            .flatten()
            .filter(|block| **block == [0; 64]);
        // e^-16 of 20,480 blocks.
        assert_eq!(empty.count(), 0);
    }

    #[test]
    fn debug_shows_its_size() {
        assert_eq!(
            format!("{:?}", filter_of(1600)),
            "BreachedFilter(1600 passwords in 6 KiB)"
        );
    }
}
