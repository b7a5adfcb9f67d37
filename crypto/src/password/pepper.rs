//! Password records sealed under a key that is not stored beside them.
//!
//! Whoever steals a table of password records guesses at leisure, a hash a guess. With
//! records sealed by a [`Keyset`] that lives elsewhere (a pepper: another machine, a
//! TPM, a service credential) the table alone allows no guess at all.
//!
//! The seal binds each record to its user and to a version, so that whoever can write
//! the table, but has no key, can neither give one user another's password nor put
//! an earlier password back. The version comes from a place that such a writer cannot
//! turn back (a signed statement, a counter), never from the table.
//!
//! A pepper is changed without anybody's password: promote a new key of the keyset,
//! [`PepperedRecord::rotate`] every record for which
//! [`PepperedRecord::needs_rotation`], then destroy the old key.
//!
//! ```text
//! offset length
//!      0      4  "SMPR"
//!      4      2  format version, 1 (little-endian, as all that follows)
//!      6      4  length n of the box
//!     10      n  a keyset's box, context "password pepper", of the PHC string;
//!                associated data: length of the user (4), user, version (8)
//! ```
//!
//! ```
//! use sealmoot_crypto::keyset::Keyset;
//! use sealmoot_crypto::password::{Cost, pepper::PepperedRecord};
//! # let cost = Cost { memory_kib: 8, passes: 1, lanes: 1 };
//! let pepper = Keyset::generate()?; // kept where the table is not
//! let row = PepperedRecord::hash(b"correct horse", cost, &pepper, b"alice", 1)?.to_bytes();
//!
//! let record = PepperedRecord::from_bytes(&row)?;
//! assert!(record.verify(b"correct horse", &pepper, b"alice", 1)?);
//! assert!(!record.verify(b"battery staple", &pepper, b"alice", 1)?);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use alloc::vec::Vec;

use core::fmt;

use super::{Cost, Limits, PHC_LENGTH_MAX, PasswordError, PasswordRecord};
use crate::aead::{OpenError, SealError};
use crate::committing::claimed_key_id;
use crate::encoding::{EncodingError, Reader, Writer};
use crate::keyset::Keyset;
use crate::secret::SecretBytes;

/// Longest name of a user, in bytes.
pub const USER_LENGTH_MAX: usize = 1024;
/// Longest encoding of a peppered record, in bytes.
pub const PEPPERED_LENGTH_MAX: usize = HEADER_LENGTH + BOX_LENGTH_MAX;

const MAGIC: &[u8; 4] = b"SMPR";
const FORMAT_VERSION: u16 = 1;
const HEADER_LENGTH: usize = 10;
const BOX_LENGTH_MAX: usize = Keyset::OVERHEAD + PHC_LENGTH_MAX;
const CONTEXT: &str = "password pepper";

/// Why a peppered record was not made, opened or compared.
///
/// ```
/// use sealmoot_crypto::password::pepper::{PepperError, PepperedRecord};
/// # use sealmoot_crypto::{keyset::Keyset, password::Cost};
/// # let cost = Cost { memory_kib: 8, passes: 1, lanes: 1 };
/// # let pepper = Keyset::generate()?;
/// let record = PepperedRecord::hash(b"correct horse", cost, &pepper, b"alice", 2)?;
/// // A wrong password is no error; a record in the wrong row, or an old one, is.
/// assert!(!record.verify(b"battery staple", &pepper, b"alice", 2)?);
/// let moved = record.verify(b"correct horse", &pepper, b"bob", 2);
/// assert!(matches!(moved, Err(PepperError::Closed(_))));
/// let put_back = record.verify(b"correct horse", &pepper, b"alice", 3);
/// assert!(matches!(put_back, Err(PepperError::Closed(_))));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, thiserror::Error)]
pub enum PepperError {
    /// The user's name is longer than [`USER_LENGTH_MAX`] bytes.
    #[error("a user's name has at most {USER_LENGTH_MAX} bytes")]
    UserTooLong,
    /// No key of the keyset opens the record for this user and version.
    #[error("the password record does not open for this user and version")]
    Closed(#[from] OpenError),
    /// The password was not hashed or not compared.
    #[error(transparent)]
    Password(#[from] PasswordError),
    /// The record was not sealed.
    #[error(transparent)]
    Seal(#[from] SealError),
}

/// A [`PasswordRecord`] sealed for one user and one version.
///
/// ```
/// use sealmoot_crypto::keyset::Keyset;
/// use sealmoot_crypto::password::{Cost, pepper::PepperedRecord};
/// let mut pepper = Keyset::generate()?;
/// let stored = PepperedRecord::hash(b"correct horse", Cost::OWASP, &pepper, b"alice", 7)?;
/// assert!(stored.verify(b"correct horse", &pepper, b"alice", 7)?);
/// assert!(stored.verify(b"correct horse", &pepper, b"bob", 7).is_err());
/// assert!(stored.verify(b"correct horse", &pepper, b"alice", 8).is_err());
///
/// let new = pepper.add()?;
/// pepper.promote(new)?;
/// assert!(stored.needs_rotation(&pepper));
/// let rotated = stored.rotate(&pepper, b"alice", 7)?;
/// assert!(rotated.verify(b"correct horse", &pepper, b"alice", 7)?);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct PepperedRecord(Vec<u8>);

impl PepperedRecord {
    /// Hashes `password` under a fresh salt and seals the record for `user` and
    /// `version` under the keyset's primary key.
    ///
    /// # Errors
    /// [`PepperError::UserTooLong`], [`PepperError::Password`], [`PepperError::Seal`].
    ///
    /// ```
    /// use sealmoot_crypto::password::pepper::{PepperError, PepperedRecord, USER_LENGTH_MAX};
    /// # use sealmoot_crypto::{keyset::Keyset, password::Cost};
    /// # let cost = Cost { memory_kib: 8, passes: 1, lanes: 1 };
    /// # let pepper = Keyset::generate()?;
    /// let record = PepperedRecord::hash(b"correct horse", cost, &pepper, b"alice", 1)?;
    /// assert!(record.verify(b"correct horse", &pepper, b"alice", 1)?);
    /// let user = [b'a'; USER_LENGTH_MAX + 1];
    /// let refused = PepperedRecord::hash(b"correct horse", cost, &pepper, &user, 1);
    /// assert!(matches!(refused, Err(PepperError::UserTooLong)));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn hash(
        password: &[u8],
        cost: Cost,
        keyset: &Keyset,
        user: &[u8],
        version: u64,
    ) -> Result<Self, PepperError> {
        Self::seal(
            &PasswordRecord::hash(password, cost)?,
            keyset,
            user,
            version,
        )
    }

    /// Seals a record that exists: of a table that had no pepper, of
    /// [`PasswordRecord::of_nobody`], of a [`super::Cost`] changed at a login.
    ///
    /// # Errors
    /// [`PepperError::UserTooLong`], [`PepperError::Seal`].
    ///
    /// ```
    /// use sealmoot_crypto::password::{PasswordRecord, pepper::PepperedRecord};
    /// # use sealmoot_crypto::{keyset::Keyset, password::Cost};
    /// # let cost = Cost { memory_kib: 8, passes: 1, lanes: 1 };
    /// # let pepper = Keyset::generate()?;
    /// let old_row = PasswordRecord::hash(b"correct horse", cost)?.to_phc();
    /// let record = PasswordRecord::from_phc(&old_row)?;
    /// let new_row = PepperedRecord::seal(&record, &pepper, b"alice", 1)?;
    /// assert!(new_row.verify(b"correct horse", &pepper, b"alice", 1)?);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn seal(
        record: &PasswordRecord,
        keyset: &Keyset,
        user: &[u8],
        version: u64,
    ) -> Result<Self, PepperError> {
        let text = SecretBytes::new(record.to_phc().into_bytes());
        let sealed = keyset.seal(CONTEXT, &bound(user, version)?, text.expose())?;
        Ok(Self(sealed))
    }

    /// The record itself, to be compared in an [`super::Arena`] or a pool, or asked
    /// whether it [`PasswordRecord::needs_rehash`].
    ///
    /// # Errors
    /// [`PepperError::UserTooLong`], [`PepperError::Closed`].
    ///
    /// ```
    /// use sealmoot_crypto::password::{Arena, pepper::PepperedRecord};
    /// # use sealmoot_crypto::{keyset::Keyset, password::Cost};
    /// # let cost = Cost { memory_kib: 8, passes: 1, lanes: 1 };
    /// # let pepper = Keyset::generate()?;
    /// let sealed = PepperedRecord::hash(b"correct horse", cost, &pepper, b"alice", 1)?;
    /// let record = sealed.open(&pepper, b"alice", 1)?;
    /// assert!(record.verify_in(b"correct horse", &mut Arena::default())?);
    /// assert!(record.needs_rehash(Cost::SERVER)); // it was made at another cost
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn open(
        &self,
        keyset: &Keyset,
        user: &[u8],
        version: u64,
    ) -> Result<PasswordRecord, PepperError> {
        let text = keyset.open(CONTEXT, &bound(user, version)?, &self.0)?;
        let text = core::str::from_utf8(text.expose()).map_err(|_| OpenError)?;
        // Only a holder of the key can have asked for this cost.
        Ok(PasswordRecord::from_phc_within(text, &Limits::OWN)?)
    }

    /// Whether `password` is the one; takes as long either way once the seal opened.
    ///
    /// # Errors
    /// [`PepperError::UserTooLong`], [`PepperError::Closed`],
    /// [`PepperError::Password`].
    ///
    /// ```
    /// use sealmoot_crypto::password::{PasswordRecord, pepper::PepperedRecord};
    /// # use sealmoot_crypto::{keyset::Keyset, password::Cost};
    /// # let cost = Cost { memory_kib: 8, passes: 1, lanes: 1 };
    /// # let pepper = Keyset::generate()?;
    /// // For a user that does not exist: as much work, and the same answer.
    /// let nobody = PasswordRecord::of_nobody(cost)?;
    /// let nobody = PepperedRecord::seal(&nobody, &pepper, b"mallory", 1)?;
    /// assert!(!nobody.verify(b"correct horse", &pepper, b"mallory", 1)?);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn verify(
        &self,
        password: &[u8],
        keyset: &Keyset,
        user: &[u8],
        version: u64,
    ) -> Result<bool, PepperError> {
        Ok(self.open(keyset, user, version)?.verify(password)?)
    }

    /// The same record under the keyset's primary key; nobody's password is needed.
    ///
    /// # Errors
    /// [`PepperError::UserTooLong`], [`PepperError::Closed`], [`PepperError::Seal`].
    ///
    /// ```
    /// use sealmoot_crypto::password::pepper::PepperedRecord;
    /// # use sealmoot_crypto::{keyset::Keyset, password::Cost};
    /// # let cost = Cost { memory_kib: 8, passes: 1, lanes: 1 };
    /// # let mut pepper = Keyset::generate()?;
    /// let record = PepperedRecord::hash(b"correct horse", cost, &pepper, b"alice", 1)?;
    /// let old = pepper.primary_id();
    /// pepper.rotate()?;
    /// let rotated = record.rotate(&pepper, b"alice", 1)?;
    /// pepper.destroy(old)?;
    /// assert!(rotated.verify(b"correct horse", &pepper, b"alice", 1)?);
    /// assert!(record.verify(b"correct horse", &pepper, b"alice", 1).is_err());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn rotate(&self, keyset: &Keyset, user: &[u8], version: u64) -> Result<Self, PepperError> {
        Self::seal(&self.open(keyset, user, version)?, keyset, user, version)
    }

    /// Whether the record is sealed under another key than the keyset's primary one,
    /// as its header claims: nothing is opened.
    ///
    /// ```
    /// use sealmoot_crypto::password::pepper::PepperedRecord;
    /// # use sealmoot_crypto::{keyset::Keyset, password::Cost};
    /// # let cost = Cost { memory_kib: 8, passes: 1, lanes: 1 };
    /// # let mut pepper = Keyset::generate()?;
    /// let record = PepperedRecord::hash(b"correct horse", cost, &pepper, b"alice", 1)?;
    /// assert!(!record.needs_rotation(&pepper));
    /// pepper.rotate()?;
    /// assert!(record.needs_rotation(&pepper));
    /// assert!(!record.rotate(&pepper, b"alice", 1)?.needs_rotation(&pepper));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn needs_rotation(&self, keyset: &Keyset) -> bool {
        claimed_key_id(&self.0) != Some(keyset.primary_id())
    }

    /// The record as it is stored.
    ///
    /// ```
    /// use sealmoot_crypto::password::pepper::{PEPPERED_LENGTH_MAX, PepperedRecord};
    /// # use sealmoot_crypto::{keyset::Keyset, password::Cost};
    /// # let cost = Cost { memory_kib: 8, passes: 1, lanes: 1 };
    /// # let pepper = Keyset::generate()?;
    /// let record = PepperedRecord::hash(b"correct horse", cost, &pepper, b"alice", 1)?;
    /// let row = record.to_bytes();
    /// assert!(row.starts_with(b"SMPR") && row.len() <= PEPPERED_LENGTH_MAX);
    /// // No parameter and no salt can be read in it.
    /// assert!(!row.windows(8).any(|bytes| bytes == b"argon2id"));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut writer = Writer::with_capacity(HEADER_LENGTH + self.0.len());
        writer.fixed(MAGIC);
        writer.u16(FORMAT_VERSION);
        writer.bytes(&self.0);
        writer.finish()
    }

    /// The record that [`PepperedRecord::to_bytes`] wrote; whether it opens is another
    /// question.
    ///
    /// # Errors
    /// [`EncodingError`] when the bytes are anything else.
    ///
    /// ```
    /// # use sealmoot_crypto::keyset::Keyset;
    /// # use sealmoot_crypto::password::{Cost, pepper::PepperedRecord};
    /// # let pepper = Keyset::generate()?;
    /// # let record = PepperedRecord::hash(b"correct horse", Cost::OWASP, &pepper, b"alice", 7)?;
    /// let stored = record.to_bytes();
    /// assert!(PepperedRecord::from_bytes(&stored).is_ok());
    /// assert!(PepperedRecord::from_bytes(&stored[1..]).is_err());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, EncodingError> {
        let mut reader = Reader::new(bytes);
        if reader.fixed(MAGIC.len())? != MAGIC {
            return Err(EncodingError::Invalid("it does not begin with SMPR"));
        }
        let version = reader.u16()?;
        if version != FORMAT_VERSION {
            return Err(EncodingError::Unknown {
                what: "peppered record version",
                value: u64::from(version),
            });
        }
        let sealed = reader.bytes(BOX_LENGTH_MAX)?;
        reader.finish()?;
        if sealed.len() <= Keyset::OVERHEAD {
            return Err(EncodingError::Invalid("its box is too short for a record"));
        }
        Ok(Self(sealed.to_vec()))
    }
}

impl fmt::Debug for PepperedRecord {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("PepperedRecord(redacted)")
    }
}

/// User and version so that no two pairs give the same bytes: the user's length leads.
fn bound(user: &[u8], version: u64) -> Result<Vec<u8>, PepperError> {
    if user.len() > USER_LENGTH_MAX {
        return Err(PepperError::UserTooLong);
    }
    let mut writer = Writer::with_capacity(4 + user.len() + 8);
    writer.bytes(user);
    writer.u64(version);
    Ok(writer.finish())
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

    fn sample(keyset: &Keyset) -> PepperedRecord {
        PepperedRecord::hash(b"pw", CHEAP, keyset, b"alice", 7).expect("hashes")
    }

    fn closed(outcome: Result<bool, PepperError>) -> bool {
        matches!(outcome, Err(PepperError::Closed(OpenError)))
    }

    #[test]
    fn only_user_version_and_keyset_of_the_record_open_it() {
        let keyset = Keyset::generate().expect("random");
        let record = sample(&keyset);
        assert!(record.verify(b"pw", &keyset, b"alice", 7).expect("opens"));
        assert!(!record.verify(b"pv", &keyset, b"alice", 7).expect("opens"));
        let other = Keyset::generate().expect("random");
        let refused = [
            ("another user", record.verify(b"pw", &keyset, b"bob", 7)),
            ("no user", record.verify(b"pw", &keyset, b"", 7)),
            (
                "a longer user",
                record.verify(b"pw", &keyset, b"alice\0", 7),
            ),
            (
                "an older version",
                record.verify(b"pw", &keyset, b"alice", 6),
            ),
            (
                "a newer version",
                record.verify(b"pw", &keyset, b"alice", 8),
            ),
            ("another keyset", record.verify(b"pw", &other, b"alice", 7)),
        ];
        for (name, outcome) in refused {
            assert!(closed(outcome), "{name}");
        }
    }

    #[test]
    fn what_was_sealed_for_another_use_is_refused() {
        let keyset = Keyset::generate().expect("random");
        let text = PasswordRecord::hash(b"pw", CHEAP).expect("hashes").to_phc();
        let data = bound(b"alice", 7).expect("short");
        let sealed = keyset
            .seal("invoice", &data, text.as_bytes())
            .expect("sealed");
        assert!(closed(
            PepperedRecord(sealed).verify(b"pw", &keyset, b"alice", 7)
        ));
    }

    #[test]
    fn a_box_of_something_else_than_a_record_is_refused() {
        let keyset = Keyset::generate().expect("random");
        let data = bound(b"alice", 7).expect("short");
        let sealed = keyset.seal(CONTEXT, &data, b"no record").expect("sealed");
        assert!(matches!(
            PepperedRecord(sealed).open(&keyset, b"alice", 7),
            Err(PepperError::Password(PasswordError::Malformed(_)))
        ));
        let sealed = keyset.seal(CONTEXT, &data, b"\xff").expect("sealed");
        assert!(closed(
            PepperedRecord(sealed).verify(b"pw", &keyset, b"alice", 7)
        ));
    }

    #[test]
    fn user_and_version_are_bound_without_ambiguity() {
        let bound = |user: &[u8], version| bound(user, version).expect("short");
        assert_eq!(bound(b"al", 7), b"\x02\0\0\0al\x07\0\0\0\0\0\0\0");
        let pairs = [
            bound(b"", 0),
            bound(b"\0", 0),
            bound(b"", 1),
            bound(b"\x01\0\0\0\0\0\0\0", 0),
            bound(b"alice", 1 << 56),
            bound(b"alice\x01", 0),
        ];
        for (index, left) in pairs.iter().enumerate() {
            assert!(pairs[index + 1..].iter().all(|right| left != right));
        }
    }

    #[test]
    fn rotation_needs_no_password_and_outlives_the_old_key() {
        let mut keyset = Keyset::generate().expect("random");
        let old = keyset.primary_id();
        let record = sample(&keyset);
        assert!(!record.needs_rotation(&keyset));
        let new = keyset.add().expect("random");
        assert!(!record.needs_rotation(&keyset), "not promoted yet");
        keyset.promote(new).expect("there");
        assert!(record.needs_rotation(&keyset));

        let rotated = record.rotate(&keyset, b"alice", 7).expect("opens");
        assert!(!rotated.needs_rotation(&keyset));
        assert!(matches!(
            record.rotate(&keyset, b"alice", 8),
            Err(PepperError::Closed(_))
        ));
        keyset.destroy(old).expect("not primary");
        assert!(rotated.verify(b"pw", &keyset, b"alice", 7).expect("opens"));
        assert!(closed(record.verify(b"pw", &keyset, b"alice", 7)));
        assert!(record.needs_rotation(&keyset));
    }

    #[test]
    fn records_from_before_the_pepper_and_of_nobody_are_sealed_alike() {
        let keyset = Keyset::generate().expect("random");
        let plain = PasswordRecord::hash(b"pw", CHEAP).expect("hashes");
        let sealed = PepperedRecord::seal(&plain, &keyset, b"alice", 1).expect("sealed");
        assert!(sealed.verify(b"pw", &keyset, b"alice", 1).expect("opens"));
        let opened = sealed.open(&keyset, b"alice", 1).expect("opens");
        assert_eq!(opened.to_phc(), plain.to_phc());
        let nobody = PasswordRecord::of_nobody(CHEAP).expect("random");
        let nobody = PepperedRecord::seal(&nobody, &keyset, b"", 0).expect("sealed");
        assert!(!nobody.verify(b"pw", &keyset, b"", 0).expect("opens"));
    }

    #[test]
    fn a_record_that_only_its_own_program_may_ask_for_opens() {
        let keyset = Keyset::generate().expect("random");
        let record = PasswordRecord::of_nobody(Cost::RFC_9106_HIGH_MEMORY).expect("random");
        let sealed = PepperedRecord::seal(&record, &keyset, b"alice", 1).expect("sealed");
        let opened = sealed.open(&keyset, b"alice", 1).expect("opens");
        assert_eq!(opened.cost(), Cost::RFC_9106_HIGH_MEMORY);
    }

    #[test]
    fn too_long_a_user_is_refused_everywhere() {
        let keyset = Keyset::generate().expect("random");
        let user = [b'a'; USER_LENGTH_MAX + 1];
        let record = sample(&keyset);
        let longest = &user[1..];
        assert!(PepperedRecord::hash(b"pw", CHEAP, &keyset, longest, 1).is_ok());
        for outcome in [
            PepperedRecord::hash(b"pw", CHEAP, &keyset, &user, 1).map(|_| ()),
            record.verify(b"pw", &keyset, &user, 7).map(|_| ()),
            record.rotate(&keyset, &user, 7).map(|_| ()),
        ] {
            assert!(matches!(outcome, Err(PepperError::UserTooLong)));
        }
    }

    #[test]
    fn a_record_survives_its_bytes() {
        let keyset = Keyset::generate().expect("random");
        let bytes = sample(&keyset).to_bytes();
        assert!(bytes.len() <= PEPPERED_LENGTH_MAX);
        let again = PepperedRecord::from_bytes(&bytes).expect("decodes");
        assert_eq!(again.to_bytes(), bytes);
        assert!(again.verify(b"pw", &keyset, b"alice", 7).expect("opens"));
    }

    #[test]
    fn malformed_bytes_are_refused_each_for_its_fault() {
        let keyset = Keyset::generate().expect("random");
        let bytes = sample(&keyset).to_bytes();
        let length = bytes.len() - HEADER_LENGTH;
        let with = |offset: usize, replacement: &[u8]| {
            let mut bytes = bytes.clone();
            bytes[offset..offset + replacement.len()].copy_from_slice(replacement);
            PepperedRecord::from_bytes(&bytes).expect_err("malformed")
        };
        let early = |offset, missing| EncodingError::EndsEarly { offset, missing };
        let unknown = |value| EncodingError::Unknown {
            what: "peppered record version",
            value,
        };
        let magic = EncodingError::Invalid("it does not begin with SMPR");
        let mut longer = bytes.clone();
        longer.push(0);
        let mut hollow = bytes[..HEADER_LENGTH].to_vec();
        hollow[6..].copy_from_slice(&(Keyset::OVERHEAD as u32).to_le_bytes());
        hollow.resize(HEADER_LENGTH + Keyset::OVERHEAD, 0);
        let from = |bytes: &[u8]| PepperedRecord::from_bytes(bytes).expect_err("malformed");
        let cases = [
            ("empty", from(b""), early(0, 4)),
            ("a PHC string", from(b"$argon2id$v=19$"), magic.clone()),
            ("another magic", with(0, b"SMPB"), magic.clone()),
            ("lower case", with(0, b"smpr"), magic),
            ("version 0", with(4, &[0, 0]), unknown(0)),
            ("version 2", with(4, &[2, 0]), unknown(2)),
            ("version big-endian", with(4, &[0, 1]), unknown(256)),
            ("only a header", from(&bytes[..6]), early(6, 4)),
            ("no box", from(&bytes[..10]), early(10, length)),
            (
                "a byte short",
                from(&bytes[..bytes.len() - 1]),
                early(10, 1),
            ),
            (
                "a byte more",
                from(&longer),
                EncodingError::TrailingBytes { count: 1 },
            ),
            (
                "a length of 4 GiB",
                with(6, &[0xff; 4]),
                EncodingError::TooLong {
                    offset: 6,
                    length: u64::from(u32::MAX),
                    maximum: BOX_LENGTH_MAX as u64,
                },
            ),
            (
                "a box of nothing",
                from(&hollow),
                EncodingError::Invalid("its box is too short for a record"),
            ),
        ];
        for (name, found, expected) in cases {
            assert_eq!(found, expected, "{name}");
        }
    }

    #[test]
    fn every_flip_and_every_truncation_is_refused() {
        let keyset = Keyset::generate().expect("random");
        let bytes = sample(&keyset).to_bytes();
        for bit in 0..bytes.len() * 8 {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            if let Ok(record) = PepperedRecord::from_bytes(&flipped) {
                assert!(bit / 8 >= HEADER_LENGTH, "{bit}");
                assert!(closed(record.verify(b"pw", &keyset, b"alice", 7)), "{bit}");
            }
        }
        for length in 0..bytes.len() {
            assert!(PepperedRecord::from_bytes(&bytes[..length]).is_err());
        }
    }

    #[test]
    fn debug_shows_nothing() {
        let keyset = Keyset::generate().expect("random");
        assert_eq!(format!("{:?}", sample(&keyset)), "PepperedRecord(redacted)");
    }
}
