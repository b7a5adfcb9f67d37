//! Bytes sealed under a passphrase or password.
//!
//! ```text
//! offset length
//!      0      4  "SMPB"
//!      4      2  version, 1 (little-endian, as all that follows)
//!      6      4  Argon2id memory in KiB
//!     10      4  passes
//!     14      4  lanes
//!     18     16  salt
//!     34      n  a committing box (see `crypto/DESIGN.md`), key id 0
//! ```
//!
//! Bytes 0..34 are part of the box's associated data. The box commits to its
//! key, so one box cannot be made to open under many guessed passphrases at once
//! (a partitioning oracle).
//!
//! ```
//! use sealmoot_crypto::passphrase_box::{self, BoxOpenError};
//! use sealmoot_crypto::password::Cost;
//! # let cost = Cost { memory_kib: 8, passes: 1, lanes: 1 };
//! let sealed = passphrase_box::seal(b"hip roast", "backup", b"alice", b"root key", cost)?;
//! let opened = passphrase_box::open(b"hip roast", "backup", b"alice", &sealed)?;
//! assert_eq!(opened.expose(), b"root key");
//! let wrong = passphrase_box::open(b"hip toast", "backup", b"alice", &sealed);
//! assert!(matches!(wrong, Err(BoxOpenError::Closed)));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use alloc::vec::Vec;

use crate::aead::SealError;
use crate::backend::Backend;
use crate::committing::{Algorithm, CommittingKey};
use crate::encoding::{EncodingError, Reader, Writer};
use crate::password::{Cost, PasswordError, stretch};
use crate::random::{self, RandomError};
use crate::secret::{SecretArray, SecretBytes};

const MAGIC: &[u8; 4] = b"SMPB";
const VERSION: u16 = 1;
/// Length of what stands before the committing box.
pub(crate) const HEADER_LENGTH: usize = 34;

/// Why a passphrase box was not made.
///
/// ```
/// use sealmoot_crypto::passphrase_box::{self, BoxSealError};
/// use sealmoot_crypto::password::{Cost, PasswordError};
/// let no_memory = Cost { memory_kib: 0, ..Cost::OWASP };
/// let refused = passphrase_box::seal(b"hip roast", "backup", b"", b"root key", no_memory);
/// assert!(matches!(refused, Err(BoxSealError::Password(PasswordError::InvalidCost))));
/// ```
#[derive(Debug, thiserror::Error)]
pub enum BoxSealError {
    /// The passphrase could not be stretched.
    #[error(transparent)]
    Password(#[from] PasswordError),
    /// Sealing failed.
    #[error(transparent)]
    Seal(#[from] SealError),
    /// The random source failed.
    #[error(transparent)]
    Random(#[from] RandomError),
}

/// Why a passphrase box did not open.
///
/// ```
/// use sealmoot_crypto::passphrase_box::{self, BoxOpenError};
/// # use sealmoot_crypto::password::Cost;
/// # let cost = Cost { memory_kib: 8, passes: 1, lanes: 1 };
/// let sealed = passphrase_box::seal(b"hip roast", "backup", b"", b"root key", cost)?;
/// // Ask again for the passphrase, or look for another file?
/// let typo = passphrase_box::open(b"hip toast", "backup", b"", &sealed);
/// assert!(matches!(typo, Err(BoxOpenError::Closed)));
/// let other_file = passphrase_box::open(b"hip roast", "backup", b"", b"a letter");
/// assert!(matches!(other_file, Err(BoxOpenError::Malformed(_))));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, thiserror::Error)]
pub enum BoxOpenError {
    /// The bytes are no passphrase box of a known version.
    #[error("not a passphrase box: {0}")]
    Malformed(#[from] EncodingError),
    /// The passphrase could not be stretched with the box's parameters.
    #[error(transparent)]
    Password(#[from] PasswordError),
    /// The passphrase is wrong, or the box was changed, or it is for another use.
    #[error("wrong passphrase, or the box was changed")]
    Closed,
}

/// Seals `plaintext` under `passphrase` for `context` and `associated_data`.
///
/// # Errors
/// [`BoxSealError`].
///
/// ```
/// use sealmoot_crypto::{passphrase_box, password::Cost};
/// let sealed = passphrase_box::seal(b"hip roast", "example", b"", b"root key", Cost::OWASP)?;
/// let opened = passphrase_box::open(b"hip roast", "example", b"", &sealed)?;
/// assert_eq!(opened.expose(), b"root key");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn seal(
    passphrase: &[u8],
    context: &'static str,
    associated_data: &[u8],
    plaintext: &[u8],
    cost: Cost,
) -> Result<Vec<u8>, BoxSealError> {
    let salt: [u8; 16] = random::array()?;
    let mut writer = Writer::new();
    writer.fixed(MAGIC);
    writer.u16(VERSION);
    writer.u32(cost.memory_kib);
    writer.u32(cost.passes);
    writer.u32(cost.lanes);
    writer.fixed(&salt);
    let mut sealed = writer.finish();
    let master = stretch(passphrase, &salt, cost)?;
    let body = key(&master).seal(0, context, &bound(&sealed, associated_data), plaintext)?;
    sealed.extend_from_slice(&body);
    Ok(sealed)
}

/// Opens what [`seal`] made for the same context and associated data.
///
/// # Errors
/// [`BoxOpenError`].
///
/// ```
/// use sealmoot_crypto::passphrase_box;
/// # use sealmoot_crypto::password::Cost;
/// # let cost = Cost { memory_kib: 8, passes: 1, lanes: 1 };
/// let sealed = passphrase_box::seal(b"hip roast", "backup", b"alice", b"root key", cost)?;
/// assert!(passphrase_box::open(b"hip roast", "backup", b"alice", &sealed).is_ok());
/// assert!(passphrase_box::open(b"hip roast", "backup", b"bob", &sealed).is_err());
/// assert!(passphrase_box::open(b"hip roast", "restore", b"alice", &sealed).is_err());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn open(
    passphrase: &[u8],
    context: &'static str,
    associated_data: &[u8],
    sealed: &[u8],
) -> Result<SecretBytes, BoxOpenError> {
    let (cost, salt) = read_header(sealed)?;
    let (header, body) = sealed.split_at(HEADER_LENGTH);
    let master = stretch(passphrase, &salt, cost)?;
    key(&master)
        .open(context, &bound(header, associated_data), body)
        .map_err(|_| BoxOpenError::Closed)
}

/// What a box asks to be stretched at, before anything about it is believed.
pub(crate) fn claimed_cost(sealed: &[u8]) -> Result<Cost, EncodingError> {
    Ok(read_header(sealed)?.0)
}

fn read_header(sealed: &[u8]) -> Result<(Cost, [u8; 16]), EncodingError> {
    let mut reader = Reader::new(sealed);
    if reader.fixed(4)? != MAGIC {
        return Err(EncodingError::Invalid("it does not begin with SMPB"));
    }
    let version = reader.u16()?;
    if version != VERSION {
        return Err(EncodingError::Unknown {
            what: "version",
            value: u64::from(version),
        });
    }
    let cost = Cost {
        memory_kib: reader.u32()?,
        passes: reader.u32()?,
        lanes: reader.u32()?,
    };
    Ok((cost, reader.array()?))
}

/// The cipher of a box is fixed, so that a box made on one machine opens on any.
fn key(master: &SecretArray<32>) -> CommittingKey {
    CommittingKey::new(Backend::default(), master, Algorithm::XChaCha20Poly1305)
}

fn bound(header: &[u8], associated_data: &[u8]) -> Vec<u8> {
    [header, associated_data].concat()
}

#[cfg(test)]
mod tests {
    use std::prelude::v1::*;

    use super::*;

    const CHEAP: Cost = Cost {
        memory_kib: 8,
        passes: 1,
        lanes: 1,
    };

    fn sample() -> Vec<u8> {
        seal(b"passphrase", "test", b"realm", b"root key", CHEAP).expect("sealed")
    }

    #[test]
    fn only_the_right_passphrase_context_and_data_open_it() {
        let sealed = sample();
        let opened = open(b"passphrase", "test", b"realm", &sealed).expect("opens");
        assert_eq!(opened.expose(), b"root key");
        let refused = [
            open(b"passphrasf", "test", b"realm", &sealed),
            open(b"passphrase", "tesu", b"realm", &sealed),
            open(b"passphrase", "test", b"realn", &sealed),
        ];
        for outcome in refused {
            assert!(matches!(outcome, Err(BoxOpenError::Closed)));
        }
    }

    #[test]
    fn every_changed_byte_and_every_truncation_is_refused() {
        let sealed = sample();
        for index in 0..sealed.len() {
            let mut changed = sealed.clone();
            changed[index] ^= 0x01;
            assert!(
                open(b"passphrase", "test", b"realm", &changed).is_err(),
                "{index}"
            );
            assert!(open(b"passphrase", "test", b"realm", &sealed[..index]).is_err());
        }
    }

    #[test]
    fn a_box_that_asks_for_a_terabyte_is_refused() {
        let mut sealed = sample();
        sealed[6..10].copy_from_slice(&(1u32 << 30).to_le_bytes());
        assert!(matches!(
            open(b"passphrase", "test", b"realm", &sealed),
            Err(BoxOpenError::Password(PasswordError::TooCostly))
        ));
    }
}
