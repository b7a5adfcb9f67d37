//! Breached-password filters as files; [`super`] draws the format.

use std::io::{self, ErrorKind, Read, Write};

use alloc::vec::Vec;

use super::{BLOCK_LENGTH, Block, BreachedFilter, PAGE_BLOCKS, PASSWORDS_A_BLOCK, PASSWORDS_MAX};
use crate::digest::Sha256;

const MAGIC: [u8; 4] = *b"SMBF";
const VERSION: u16 = 1;
const HEADER_LENGTH: usize = 22;
const BLOCKS_MAX: u64 = PASSWORDS_MAX / PASSWORDS_A_BLOCK;

/// Why a file was not read as a filter.
///
/// ```
/// use sealmoot_crypto::password::breached::{BreachedFilter, FilterError};
/// let mut file = Vec::new();
/// BreachedFilter::builder(1)?.finish().write_to(&mut file)?;
/// let cut_off = BreachedFilter::read_from(&file[..file.len() - 1]);
/// assert!(matches!(cut_off, Err(FilterError::EndsEarly)));
/// let other_file = BreachedFilter::read_from(&b"123456\nletmein\n"[..]);
/// assert!(matches!(other_file, Err(FilterError::NotAFilter)));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, thiserror::Error)]
pub enum FilterError {
    /// It does not begin with "SMBF".
    #[error("not a filter of breached passwords")]
    NotAFilter,
    /// Its version is not known.
    #[error("version {0} of the filter is not known")]
    Version(u16),
    /// It says that it has no block, or more than 2^26.
    #[error("a filter has 1 to {BLOCKS_MAX} blocks, not {0}")]
    Blocks(u64),
    /// It says that it has more passwords than its blocks are for.
    #[error("{added} passwords do not fit {blocks} blocks")]
    Overfull {
        /// How many passwords it says.
        added: u64,
        /// How many blocks it says.
        blocks: u64,
    },
    /// It ends before its last byte.
    #[error("the filter ends early")]
    EndsEarly,
    /// Bytes follow its last one.
    #[error("bytes follow the end of the filter")]
    TrailingBytes,
    /// Its checksum does not fit its bytes.
    #[error("the filter is damaged: its checksum does not fit")]
    Checksum,
    /// There is not enough memory.
    #[error("there is not enough memory for this filter")]
    OutOfMemory,
    /// The file could not be read.
    #[error("the filter could not be read: {0}")]
    Io(io::Error),
}

impl BreachedFilter {
    /// Writes the filter as a file; the same passwords in any order give the same bytes.
    /// The caller buffers, syncs and renames.
    ///
    /// # Errors
    /// When `file` cannot be written.
    ///
    /// ```
    /// use sealmoot_crypto::password::breached::BreachedFilter;
    /// let mut files = Vec::new();
    /// for passwords in ["123456\nletmein\n", "letmein\n123456\n"] {
    ///     let mut builder = BreachedFilter::builder(2)?;
    ///     builder.add_password_lines(passwords.as_bytes())?;
    ///     let mut file = Vec::new();
    ///     builder.finish().write_to(&mut file)?;
    ///     files.push(file);
    /// }
    /// assert_eq!(files[0], files[1]); // two people can compare what they built
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn write_to(&self, file: impl Write) -> io::Result<()> {
        let mut file = file;
        let mut hasher = Sha256::new();
        let mut put = |bytes: &[u8]| {
            hasher.update(bytes);
            file.write_all(bytes)
        };
        put(&MAGIC)?;
        put(&VERSION.to_le_bytes())?;
        put(&self.blocks.to_le_bytes())?;
        put(&self.added.to_le_bytes())?;
        for page in &self.pages {
            put(page.as_flattened())?;
        }
        file.write_all(&hasher.finish())
    }

    /// Reads what [`BreachedFilter::write_to`] wrote, to the end of `file`. Memory is
    /// taken by the mebibyte as bytes arrive: a short file that claims to be long costs
    /// nothing.
    ///
    /// # Errors
    /// [`FilterError`].
    ///
    /// ```
    /// use sealmoot_crypto::password::breached::{BreachedFilter, FilterError};
    /// let mut builder = BreachedFilter::builder(1)?;
    /// builder.add_password(b"letmein")?;
    /// let mut file = Vec::new();
    /// builder.finish().write_to(&mut file)?;
    /// assert!(BreachedFilter::read_from(&file[..])?.contains(b"letmein"));
    /// file[30] ^= 1;
    /// assert!(matches!(BreachedFilter::read_from(&file[..]), Err(FilterError::Checksum)));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn read_from(file: impl Read) -> Result<Self, FilterError> {
        let mut file = file;
        let mut hasher = Sha256::new();
        let mut header = [0u8; HEADER_LENGTH];
        read_exact(&mut file, &mut header[..MAGIC.len()])?;
        if header[..4] != MAGIC {
            return Err(FilterError::NotAFilter);
        }
        read_exact(&mut file, &mut header[4..])?;
        hasher.update(&header);
        let version = u16::from_le_bytes([header[4], header[5]]);
        if version != VERSION {
            return Err(FilterError::Version(version));
        }
        let number = |at: usize| {
            let mut bytes = [0u8; 8];
            bytes.copy_from_slice(&header[at..at + 8]);
            u64::from_le_bytes(bytes)
        };
        let (blocks, added) = (number(6), number(14));
        if blocks == 0 || blocks > BLOCKS_MAX {
            return Err(FilterError::Blocks(blocks));
        }
        if added > blocks * PASSWORDS_A_BLOCK {
            return Err(FilterError::Overfull { added, blocks });
        }
        let mut left = usize::try_from(blocks).map_err(|_| FilterError::OutOfMemory)?;
        let mut pages = Vec::new();
        while left > 0 {
            let page = read_page(&mut file, left.min(PAGE_BLOCKS))?;
            left -= page.len();
            hasher.update(page.as_flattened());
            pages.push(page);
        }
        let mut checksum = [0u8; 32];
        read_exact(&mut file, &mut checksum)?;
        if checksum != hasher.finish() {
            return Err(FilterError::Checksum);
        }
        match read_exact(&mut file, &mut [0]) {
            Err(FilterError::EndsEarly) => Ok(Self {
                pages,
                blocks,
                added,
            }),
            Err(error) => Err(error),
            Ok(()) => Err(FilterError::TrailingBytes),
        }
    }
}

fn read_page(file: &mut impl Read, count: usize) -> Result<Vec<Block>, FilterError> {
    let mut page = Vec::new();
    page.try_reserve_exact(count)
        .map_err(|_| FilterError::OutOfMemory)?;
    page.resize(count, [0; BLOCK_LENGTH]);
    read_exact(file, page.as_flattened_mut())?;
    Ok(page)
}

fn read_exact(file: &mut impl Read, bytes: &mut [u8]) -> Result<(), FilterError> {
    file.read_exact(bytes).map_err(|error| match error.kind() {
        ErrorKind::UnexpectedEof => FilterError::EndsEarly,
        _ => FilterError::Io(error),
    })
}

#[cfg(test)]
mod tests {
    use std::prelude::v1::*;

    use super::*;
    use crate::digest::sha256;
    use crate::testing::hex;

    /// A file of three blocks.
    fn sample() -> Vec<u8> {
        let mut builder = BreachedFilter::builder(40).expect("small");
        for password in ["123456", "password", "hunter2"] {
            builder.add_password(password.as_bytes()).expect("room");
        }
        let mut file = Vec::new();
        builder.finish().write_to(&mut file).expect("memory");
        file
    }

    /// The same with other bytes at `offset` and a checksum that fits them.
    fn with(offset: usize, replacement: &[u8]) -> Vec<u8> {
        let mut file = sample();
        file[offset..offset + replacement.len()].copy_from_slice(replacement);
        let body = file.len() - 32;
        let checksum = sha256(&file[..body]);
        file[body..].copy_from_slice(&checksum);
        file
    }

    fn refusal(file: &[u8]) -> FilterError {
        BreachedFilter::read_from(file).expect_err("malformed")
    }

    #[test]
    fn a_filter_survives_its_file() {
        let file = sample();
        assert_eq!(file.len(), HEADER_LENGTH + 3 * BLOCK_LENGTH + 32);
        let filter = BreachedFilter::read_from(&file[..]).expect("a filter");
        assert_eq!(filter.added(), 3);
        assert!(filter.contains(b"password") && !filter.contains(b"Password"));
        let mut again = Vec::new();
        filter.write_to(&mut again).expect("memory");
        assert_eq!(again, file);
    }

    /// What is on people's disks must go on being read: this file's bytes never change.
    #[test]
    fn the_format_stands_still() {
        assert_eq!(
            hex(&sample()[..HEADER_LENGTH]),
            "534d4246010003000000000000000300000000000000"
        );
        assert_eq!(
            hex(&sha256(&sample())),
            "84944a06797365599c3313c9a0040f691b2b1f07bbd2e4ac356629002ce60a1b"
        );
    }

    #[test]
    fn several_pages_survive_as_well() {
        let count = 17 * PAGE_BLOCKS as u64;
        let mut builder = BreachedFilter::builder(count).expect("memory");
        for number in 0..1000u32 {
            builder.add_password(&number.to_le_bytes()).expect("room");
        }
        let mut file = Vec::new();
        builder.finish().write_to(&mut file).expect("memory");
        let filter = BreachedFilter::read_from(&file[..]).expect("a filter");
        assert!((0..1000u32).all(|number| filter.contains(&number.to_le_bytes())));
    }

    #[test]
    fn malformed_files_are_refused_each_for_its_fault() {
        let file = sample();
        let mut longer = file.clone();
        longer.push(0);
        let cases = [
            ("empty", Vec::new(), FilterError::EndsEarly),
            ("a magic alone", b"SMBF".to_vec(), FilterError::EndsEarly),
            (
                "a list",
                b"A9993E364706:1\n".to_vec(),
                FilterError::NotAFilter,
            ),
            ("another magic", with(0, b"SMBG"), FilterError::NotAFilter),
            ("lower case", with(0, b"smbf"), FilterError::NotAFilter),
            ("version 0", with(4, &[0, 0]), FilterError::Version(0)),
            ("version 2", with(4, &[2, 0]), FilterError::Version(2)),
            (
                "version big-endian",
                with(4, &[0, 1]),
                FilterError::Version(256),
            ),
            ("no block", with(6, &[0; 8]), FilterError::Blocks(0)),
            (
                "a block above the most",
                with(6, &(BLOCKS_MAX + 1).to_le_bytes()),
                FilterError::Blocks(BLOCKS_MAX + 1),
            ),
            (
                "countless blocks",
                with(6, &[0xff; 8]),
                FilterError::Blocks(u64::MAX),
            ),
            (
                "as many blocks as can be",
                with(6, &BLOCKS_MAX.to_le_bytes()),
                FilterError::EndsEarly,
            ),
            (
                "a block more than it has",
                with(6, &[4]),
                FilterError::EndsEarly,
            ),
            (
                "a block less than it has",
                with(6, &[2]),
                FilterError::Checksum,
            ),
            (
                "49 passwords in 3 blocks",
                with(14, &[49]),
                FilterError::Overfull {
                    added: 49,
                    blocks: 3,
                },
            ),
            (
                "countless passwords",
                with(14, &[0xff; 8]),
                FilterError::Overfull {
                    added: u64::MAX,
                    blocks: 3,
                },
            ),
            (
                "a byte short",
                file[..file.len() - 1].to_vec(),
                FilterError::EndsEarly,
            ),
            ("a byte more", longer, FilterError::TrailingBytes),
            ("twice", file.repeat(2), FilterError::TrailingBytes),
        ];
        for (name, file, expected) in cases {
            let found = refusal(&file);
            assert_eq!(format!("{found:?}"), format!("{expected:?}"), "{name}");
        }
    }

    #[test]
    fn every_flip_and_every_truncation_is_refused() {
        let file = sample();
        for bit in 0..file.len() * 8 {
            let mut flipped = file.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            let found = refusal(&flipped);
            if bit / 8 >= HEADER_LENGTH {
                assert!(matches!(found, FilterError::Checksum), "{bit}: {found}");
            }
        }
        for length in 0..file.len() {
            assert!(matches!(refusal(&file[..length]), FilterError::EndsEarly));
        }
    }

    #[test]
    fn a_failing_file_is_reported() {
        struct Broken;
        impl Read for Broken {
            fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
                Err(io::Error::other("broken"))
            }
        }
        let file = sample();
        assert!(matches!(
            BreachedFilter::read_from((&file[..100]).chain(Broken)),
            Err(FilterError::Io(_))
        ));
        // Where the end should be, too: not to know whether it is one is an error.
        assert!(matches!(
            BreachedFilter::read_from((&file[..]).chain(Broken)),
            Err(FilterError::Io(_))
        ));
    }
}
