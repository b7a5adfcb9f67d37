//! Keysets: many keys, one that seals, all that still open what they sealed.
//!
//! Callers pass no nonce and choose no cipher. Every box names its key and
//! commits to key, nonce, context and associated data (format in
//! `crypto/DESIGN.md`). Rotation is `rotate`, or `add`, and `promote` once every holder
//! of the keyset has the new key; the old key goes on opening until it is disabled.
//! A keyset is stored sealed: `seal_to`, `open_from`.
//!
//! ```
//! use sealmoot_crypto::keyset::{KeyState, Keyset};
//! let mut keyset = Keyset::generate()?;
//! let old = keyset.seal("invoice", b"customer 7", b"42 EUR")?;
//! let new = keyset.add()?; // now let every holder of the keyset have it
//! keyset.promote(new)?;
//! assert_eq!(keyset.primary_id(), new);
//! assert_eq!(keyset.open("invoice", b"customer 7", &old)?.expose(), b"42 EUR");
//! assert_eq!(keyset.keys().next().map(|key| key.1), Some(KeyState::DecryptOnly));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod at_rest;

use alloc::vec::Vec;

use core::fmt;

use crate::aead::{OpenError, SealError};
use crate::backend::Backend;
pub use crate::committing::Algorithm;
use crate::committing::{self, CommittingKey, claimed_key_id};
use crate::encoding::{EncodingError, Reader, Writer};
use crate::random::{self, RandomError};
use crate::secret::{SecretArray, SecretBytes};

/// Most keys that one keyset holds.
pub const KEYS_MAX: usize = 256;
const FORMAT_VERSION: u16 = 1;

/// What a key of a keyset may do.
///
/// ```
/// use sealmoot_crypto::keyset::{KeyState, Keyset};
/// let mut keyset = Keyset::generate()?;
/// let first = keyset.primary_id();
/// let second = keyset.add()?;
/// assert!(keyset.keys().eq([(first, KeyState::Primary), (second, KeyState::PreActive)]));
/// keyset.promote(second)?;
/// assert!(keyset.keys().eq([(first, KeyState::DecryptOnly), (second, KeyState::Primary)]));
/// keyset.disable(first)?;
/// assert!(keyset.keys().eq([(first, KeyState::Disabled), (second, KeyState::Primary)]));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyState {
    /// Opens, and waits to be promoted.
    PreActive,
    /// Seals and opens. There is exactly one.
    Primary,
    /// Opens what it sealed when it was primary.
    DecryptOnly,
    /// Does nothing until it is enabled again.
    Disabled,
}

impl KeyState {
    fn number(self) -> u8 {
        match self {
            Self::PreActive => 1,
            Self::Primary => 2,
            Self::DecryptOnly => 3,
            Self::Disabled => 4,
        }
    }

    fn from_number(number: u8) -> Option<Self> {
        [
            Self::PreActive,
            Self::Primary,
            Self::DecryptOnly,
            Self::Disabled,
        ]
        .into_iter()
        .find(|state| state.number() == number)
    }
}

/// A change of a keyset that was refused; the keyset is as it was.
///
/// ```
/// use sealmoot_crypto::keyset::{Keyset, KeysetError};
/// let mut keyset = Keyset::generate()?;
/// let primary = keyset.primary_id();
/// let refused = keyset.destroy(primary);
/// assert!(matches!(refused, Err(KeysetError::IsPrimary(id)) if id == primary));
/// assert!(matches!(keyset.enable(primary), Err(KeysetError::NotDisabled(_))));
/// assert!(matches!(keyset.promote(!primary), Err(KeysetError::NoSuchKey(_))));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, thiserror::Error)]
pub enum KeysetError {
    /// No key has this id.
    #[error("the keyset has no key {0:08x}")]
    NoSuchKey(u32),
    /// The primary key can only be replaced by promoting another.
    #[error("key {0:08x} is the primary; promote another first")]
    IsPrimary(u32),
    /// A key that was disabled, perhaps because it was stolen, seals nothing before it
    /// is enabled again.
    #[error("key {0:08x} is disabled; enable it first")]
    IsDisabled(u32),
    /// Only a disabled key can be enabled.
    #[error("key {0:08x} is not disabled")]
    NotDisabled(u32),
    /// There are [`KEYS_MAX`] keys already.
    #[error("the keyset is full ({KEYS_MAX} keys)")]
    Full,
    /// The random source failed.
    #[error(transparent)]
    Random(#[from] RandomError),
}

/// Its keys are in boxes of their own: a vector that grows, or loses an entry, copies
/// what it holds and wipes nothing.
struct Entry {
    id: u32,
    state: KeyState,
    algorithm: Algorithm,
    master: SecretArray<32>,
    key: CommittingKey,
}

impl Entry {
    fn new(
        backend: Backend,
        id: u32,
        state: KeyState,
        algorithm: Algorithm,
        master: SecretArray<32>,
    ) -> Self {
        let key = CommittingKey::new(backend, &master, algorithm);
        Self {
            id,
            state,
            algorithm,
            master,
            key,
        }
    }
}

/// Keys of which one, the primary, seals.
///
/// ```
/// use sealmoot_crypto::keyset::Keyset;
/// let mut keyset = Keyset::generate()?;
/// let old = keyset.seal("invoice", b"customer 7", b"42 EUR")?;
///
/// keyset.rotate()?;
/// let text = keyset.open("invoice", b"customer 7", &old)?;
/// assert_eq!(text.expose(), b"42 EUR");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Keyset {
    backend: Backend,
    entries: Vec<Entry>,
}

impl Keyset {
    /// How many bytes stand before the ciphertext in a box.
    pub const HEADER_LENGTH: usize = committing::HEADER_LENGTH;
    /// How many bytes longer a box is than its plaintext.
    pub const OVERHEAD: usize = committing::OVERHEAD;

    /// A keyset of one fresh key, with the cipher that suits this processor.
    ///
    /// # Errors
    /// When the random source fails.
    ///
    /// ```
    /// use sealmoot_crypto::keyset::{KeyState, Keyset};
    /// let keyset = Keyset::generate()?;
    /// assert!(keyset.keys().eq([(keyset.primary_id(), KeyState::Primary)]));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn generate() -> Result<Self, RandomError> {
        Self::generate_with(Algorithm::for_this_processor())
    }

    /// A keyset of one fresh key for `algorithm`.
    ///
    /// # Errors
    /// When the random source fails.
    ///
    /// ```
    /// use sealmoot_crypto::keyset::{Algorithm, Keyset};
    /// // For machines of which some have no AES instructions.
    /// let keyset = Keyset::generate_with(Algorithm::XChaCha20Poly1305)?;
    /// let sealed = keyset.seal("note", b"", b"text")?;
    /// assert_eq!(sealed[1], 2); // the box names its cipher
    /// assert_eq!(keyset.open("note", b"", &sealed)?.expose(), b"text");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn generate_with(algorithm: Algorithm) -> Result<Self, RandomError> {
        let id = u32::from_be_bytes(random::array()?);
        let backend = Backend::default();
        let master = SecretArray::random()?;
        Ok(Self {
            backend,
            entries: vec![Entry::new(
                backend,
                id,
                KeyState::Primary,
                algorithm,
                master,
            )],
        })
    }

    /// The same keys, computed by `backend`; boxes are the same under every backend.
    ///
    /// ```
    /// use sealmoot_crypto::{backend::Backend, keyset::Keyset};
    /// for backend in Backend::ALL {
    ///     let keyset = Keyset::generate()?.on(*backend);
    ///     let sealed = keyset.seal("invoice", b"customer 7", b"42 EUR")?;
    ///     assert_eq!(keyset.open("invoice", b"customer 7", &sealed)?.expose(), b"42 EUR");
    /// }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn on(mut self, backend: Backend) -> Self {
        self.backend = backend;
        for entry in &mut self.entries {
            entry.key = CommittingKey::new(backend, &entry.master, entry.algorithm);
        }
        self
    }

    /// Adds a fresh key, which opens and does not yet seal; returns its id.
    ///
    /// # Errors
    /// [`KeysetError::Full`], [`KeysetError::Random`].
    ///
    /// ```
    /// use sealmoot_crypto::keyset::Keyset;
    /// let mut keyset = Keyset::generate()?;
    /// let primary = keyset.primary_id();
    /// let waiting = keyset.add()?;
    /// assert_ne!(waiting, primary);
    /// assert_eq!(keyset.primary_id(), primary); // boxes still name the former
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn add(&mut self) -> Result<u32, KeysetError> {
        if self.entries.len() >= KEYS_MAX {
            return Err(KeysetError::Full);
        }
        let id = loop {
            let id = u32::from_be_bytes(random::array()?);
            if self.entries.iter().all(|entry| entry.id != id) {
                break id;
            }
        };
        let algorithm = Algorithm::for_this_processor();
        let master = SecretArray::random()?;
        self.entries.push(Entry::new(
            self.backend,
            id,
            KeyState::PreActive,
            algorithm,
            master,
        ));
        Ok(id)
    }

    /// Makes key `id` the one that seals; the former goes on opening.
    ///
    /// # Errors
    /// [`KeysetError::NoSuchKey`], [`KeysetError::IsDisabled`].
    ///
    /// ```
    /// use sealmoot_crypto::keyset::{KeyState, Keyset};
    /// let mut keyset = Keyset::generate()?;
    /// let (old, new) = (keyset.primary_id(), keyset.add()?);
    /// keyset.promote(new)?;
    /// let sealed = keyset.seal("note", b"", b"text")?;
    /// assert_eq!(sealed[2..6], new.to_be_bytes());
    /// assert!(keyset.keys().any(|key| key == (old, KeyState::DecryptOnly)));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn promote(&mut self, id: u32) -> Result<(), KeysetError> {
        let promoted = self.position(id)?;
        if self.entries[promoted].state == KeyState::Disabled {
            return Err(KeysetError::IsDisabled(id));
        }
        for entry in &mut self.entries {
            if entry.state == KeyState::Primary {
                entry.state = KeyState::DecryptOnly;
            }
        }
        self.entries[promoted].state = KeyState::Primary;
        Ok(())
    }

    /// Adds a fresh key and makes it the one that seals; returns its id. For a keyset
    /// with one holder: with several, [`Keyset::add`] the key, let all of them have it,
    /// then [`Keyset::promote`] it, or boxes are made that some cannot open yet.
    ///
    /// # Errors
    /// [`KeysetError::Full`], [`KeysetError::Random`].
    ///
    /// ```
    /// use sealmoot_crypto::keyset::Keyset;
    /// let mut keyset = Keyset::generate()?;
    /// let old = keyset.seal("invoice", b"customer 7", b"42 EUR")?;
    /// let new = keyset.rotate()?;
    /// assert_eq!(keyset.keys().count(), 2);
    /// assert!(keyset.open("invoice", b"customer 7", &old).is_ok());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn rotate(&mut self) -> Result<u32, KeysetError> {
        let id = self.add()?;
        self.promote(id)?;
        Ok(id)
    }

    /// Stops key `id` from opening anything.
    ///
    /// # Errors
    /// [`KeysetError::NoSuchKey`], [`KeysetError::IsPrimary`].
    ///
    /// ```
    /// use sealmoot_crypto::keyset::{Keyset, KeysetError};
    /// let mut keyset = Keyset::generate()?;
    /// let old = keyset.primary_id();
    /// let sealed = keyset.seal("note", b"", b"text")?;
    /// assert!(matches!(keyset.disable(old), Err(KeysetError::IsPrimary(_))));
    /// keyset.rotate()?;
    /// keyset.disable(old)?;
    /// assert!(keyset.open("note", b"", &sealed).is_err());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn disable(&mut self, id: u32) -> Result<(), KeysetError> {
        let position = self.secondary(id)?;
        self.entries[position].state = KeyState::Disabled;
        Ok(())
    }

    /// Lets the disabled key `id` open again what it sealed.
    ///
    /// # Errors
    /// [`KeysetError::NoSuchKey`], [`KeysetError::NotDisabled`].
    ///
    /// ```
    /// use sealmoot_crypto::keyset::{KeyState, Keyset};
    /// let mut keyset = Keyset::generate()?;
    /// let (first, _) = keyset.keys().next().expect("one key");
    /// let old = keyset.seal("invoice", b"customer 7", b"42 EUR")?;
    /// keyset.rotate()?;
    /// keyset.disable(first)?;
    /// assert!(keyset.open("invoice", b"customer 7", &old).is_err());
    /// keyset.enable(first)?;
    /// assert!(keyset.open("invoice", b"customer 7", &old).is_ok());
    /// assert!(keyset.keys().any(|key| key == (first, KeyState::DecryptOnly)));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn enable(&mut self, id: u32) -> Result<(), KeysetError> {
        let position = self.position(id)?;
        let entry = &mut self.entries[position];
        if entry.state != KeyState::Disabled {
            return Err(KeysetError::NotDisabled(id));
        }
        entry.state = KeyState::DecryptOnly;
        Ok(())
    }

    /// Removes key `id` and wipes it. What it sealed is lost for good.
    ///
    /// # Errors
    /// [`KeysetError::NoSuchKey`], [`KeysetError::IsPrimary`].
    ///
    /// ```
    /// use sealmoot_crypto::keyset::{Keyset, KeysetError};
    /// let mut keyset = Keyset::generate()?;
    /// let (old, sealed) = (keyset.primary_id(), keyset.seal("note", b"", b"text")?);
    /// keyset.rotate()?;
    /// keyset.destroy(old)?;
    /// assert!(keyset.open("note", b"", &sealed).is_err());
    /// assert!(matches!(keyset.enable(old), Err(KeysetError::NoSuchKey(_)))); // for good
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn destroy(&mut self, id: u32) -> Result<(), KeysetError> {
        let position = self.secondary(id)?;
        self.entries.remove(position);
        Ok(())
    }

    /// The ids and states of all keys, in the order in which they came.
    ///
    /// ```
    /// use sealmoot_crypto::keyset::{KeyState, Keyset};
    /// let mut keyset = Keyset::generate()?;
    /// keyset.rotate()?;
    /// keyset.rotate()?;
    /// let old = keyset.keys().filter(|key| key.1 == KeyState::DecryptOnly).count();
    /// assert_eq!((old, keyset.keys().count()), (2, 3));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn keys(&self) -> impl Iterator<Item = (u32, KeyState)> {
        self.entries.iter().map(|entry| (entry.id, entry.state))
    }

    /// The id of the primary key, which every new box names.
    ///
    /// ```
    /// use sealmoot_crypto::keyset::{KeyState, Keyset};
    /// let keyset = Keyset::generate()?;
    /// assert!(keyset.keys().any(|key| key == (keyset.primary_id(), KeyState::Primary)));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn primary_id(&self) -> u32 {
        self.primary().id
    }

    /// Seals `plaintext` under the primary key for `context` (what it is, fixed
    /// in the program) and `associated_data` (which one it is: a name, a row).
    ///
    /// # Errors
    /// [`SealError`].
    ///
    /// ```
    /// use sealmoot_crypto::keyset::Keyset;
    /// let keyset = Keyset::generate()?;
    /// let sealed = keyset.seal("invoice", b"customer 7", b"42 EUR")?;
    /// assert_eq!(sealed.len(), 6 + Keyset::OVERHEAD);
    /// assert!(keyset.open("invoice", b"customer 8", &sealed).is_err());
    /// assert!(keyset.open("receipt", b"customer 7", &sealed).is_err());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn seal(
        &self,
        context: &str,
        associated_data: &[u8],
        plaintext: &[u8],
    ) -> Result<Vec<u8>, SealError> {
        let primary = self.primary();
        primary
            .key
            .seal(primary.id, context, associated_data, plaintext)
    }

    /// Turns `buffer[start..]`, which is room of [`Keyset::HEADER_LENGTH`] bytes
    /// and then the plaintext, into a box; the tag is appended. For callers that
    /// keep their buffers: from a 100 KiB upwards a fresh one costs more than
    /// the cipher.
    ///
    /// # Errors
    /// [`SealError`]; the plaintext is then still plain.
    ///
    /// # Panics
    /// When `buffer[start..]` is shorter than [`Keyset::HEADER_LENGTH`].
    ///
    /// ```
    /// use sealmoot_crypto::keyset::Keyset;
    /// let keyset = Keyset::generate()?;
    /// let mut buffer = vec![0; Keyset::HEADER_LENGTH];
    /// buffer.extend_from_slice(b"42 EUR");
    /// keyset.seal_in_place("invoice", b"customer 7", &mut buffer, 0)?;
    /// let text = keyset.open_in_place("invoice", b"customer 7", &mut buffer)?;
    /// assert_eq!(text, b"42 EUR");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn seal_in_place(
        &self,
        context: &str,
        associated_data: &[u8],
        buffer: &mut Vec<u8>,
        start: usize,
    ) -> Result<(), SealError> {
        let primary = self.primary();
        primary
            .key
            .seal_in_place(primary.id, context, associated_data, buffer, start)
    }

    /// Opens what [`Keyset::seal`] made for the same context and associated data.
    ///
    /// # Errors
    /// [`OpenError`], whatever is wrong.
    ///
    /// ```
    /// use sealmoot_crypto::{aead::OpenError, keyset::Keyset};
    /// let keyset = Keyset::generate()?;
    /// let mut sealed = keyset.seal("invoice", b"customer 7", b"42 EUR")?;
    /// assert_eq!(keyset.open("invoice", b"customer 7", &sealed)?.expose(), b"42 EUR");
    /// sealed[Keyset::HEADER_LENGTH] ^= 1;
    /// assert_eq!(keyset.open("invoice", b"customer 7", &sealed).err(), Some(OpenError));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn open(
        &self,
        context: &str,
        associated_data: &[u8],
        sealed: &[u8],
    ) -> Result<SecretBytes, OpenError> {
        self.claimed(sealed)?.open(context, associated_data, sealed)
    }

    /// As [`Keyset::open`], in the place of the box: the plaintext is that part of
    /// `sealed` that is returned, and is the caller's to wipe.
    ///
    /// # Errors
    /// [`OpenError`], whatever is wrong; the content of `sealed` is then unspecified.
    ///
    /// ```
    /// use sealmoot_crypto::keyset::Keyset;
    /// let keyset = Keyset::generate()?;
    /// let mut page = keyset.seal("page", b"3", b"content")?;
    /// assert!(keyset.open_in_place("page", b"4", &mut page.clone()).is_err());
    /// assert_eq!(keyset.open_in_place("page", b"3", &mut page)?, b"content");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn open_in_place<'a>(
        &self,
        context: &str,
        associated_data: &[u8],
        sealed: &'a mut [u8],
    ) -> Result<&'a mut [u8], OpenError> {
        self.claimed(sealed)?
            .open_in_place(context, associated_data, sealed)
    }

    /// The keyset as bytes, keys in the clear: to be sealed before it is stored.
    ///
    /// ```
    /// use sealmoot_crypto::{keyset::Keyset, passphrase_box, password::Cost};
    /// # let cost = Cost { memory_kib: 8, passes: 1, lanes: 1 };
    /// let keyset = Keyset::generate()?;
    /// let keys = keyset.to_secret_bytes();
    /// assert_eq!(keys.len(), 2 + 4 + 38);
    /// let stored = passphrase_box::seal(b"hip roast", "keyset", b"", keys.expose(), cost)?;
    /// assert!(!stored.windows(32).any(|bytes| bytes == &keys.expose()[12..]));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn to_secret_bytes(&self) -> SecretBytes {
        // One exact allocation, so that no half-grown copy of the keys is left behind.
        let mut writer = Writer::with_capacity(6 + self.entries.len() * 38);
        writer.u16(FORMAT_VERSION);
        writer.count(self.entries.len());
        for entry in &self.entries {
            writer.u32(entry.id);
            writer.u8(entry.state.number());
            writer.u8(entry.algorithm.number());
            writer.fixed(entry.master.expose());
        }
        SecretBytes::new(writer.finish())
    }

    /// The keyset that [`Keyset::to_secret_bytes`] wrote.
    ///
    /// # Errors
    /// [`EncodingError`] when the bytes are anything else.
    ///
    /// ```
    /// use sealmoot_crypto::{encoding::EncodingError, keyset::Keyset};
    /// let keyset = Keyset::generate()?;
    /// let sealed = keyset.seal("note", b"", b"text")?;
    /// let bytes = keyset.to_secret_bytes();
    /// let again = Keyset::from_secret_bytes(bytes.expose())?;
    /// assert_eq!(again.open("note", b"", &sealed)?.expose(), b"text");
    /// let cut_off = Keyset::from_secret_bytes(&bytes.expose()[..40]);
    /// assert!(matches!(cut_off, Err(EncodingError::EndsEarly { .. })));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn from_secret_bytes(bytes: &[u8]) -> Result<Self, EncodingError> {
        let mut reader = Reader::new(bytes);
        let version = reader.u16()?;
        if version != FORMAT_VERSION {
            return Err(EncodingError::Unknown {
                what: "keyset version",
                value: u64::from(version),
            });
        }
        let count = reader.count(KEYS_MAX)?;
        let mut entries: Vec<Entry> = Vec::with_capacity(count);
        for _ in 0..count {
            let id = reader.u32()?;
            let state = reader.u8()?;
            let state = KeyState::from_number(state).ok_or(EncodingError::Unknown {
                what: "key state",
                value: u64::from(state),
            })?;
            let algorithm = reader.u8()?;
            let algorithm = Algorithm::from_number(algorithm).ok_or(EncodingError::Unknown {
                what: "algorithm",
                value: u64::from(algorithm),
            })?;
            // Straight into what wipes itself: `Reader::array` would leave a copy.
            let master =
                SecretArray::from_slice(reader.fixed(32)?).expect("32 bytes were asked for");
            if entries.iter().any(|entry| entry.id == id) {
                return Err(EncodingError::Invalid(
                    "a key id stands twice in the keyset",
                ));
            }
            entries.push(Entry::new(Backend::default(), id, state, algorithm, master));
        }
        reader.finish()?;
        let primaries = entries
            .iter()
            .filter(|entry| entry.state == KeyState::Primary)
            .count();
        if primaries != 1 {
            return Err(EncodingError::Invalid(
                "a keyset has exactly one primary key",
            ));
        }
        Ok(Self {
            backend: Backend::default(),
            entries,
        })
    }

    fn primary(&self) -> &Entry {
        self.entries
            .iter()
            .find(|entry| entry.state == KeyState::Primary)
            .expect("every constructor and every change leaves one primary key")
    }

    /// The key that a box names, when it may open anything.
    fn claimed(&self, sealed: &[u8]) -> Result<&CommittingKey, OpenError> {
        let id = claimed_key_id(sealed).ok_or(OpenError)?;
        self.entries
            .iter()
            .find(|entry| entry.id == id && entry.state != KeyState::Disabled)
            .map(|entry| &entry.key)
            .ok_or(OpenError)
    }

    fn position(&self, id: u32) -> Result<usize, KeysetError> {
        self.entries
            .iter()
            .position(|entry| entry.id == id)
            .ok_or(KeysetError::NoSuchKey(id))
    }

    fn secondary(&self, id: u32) -> Result<usize, KeysetError> {
        let position = self.position(id)?;
        if self.entries[position].state == KeyState::Primary {
            return Err(KeysetError::IsPrimary(id));
        }
        Ok(position)
    }

    /// Takes in a key that was made elsewhere, as pre-active: for [`crate::hazmat`],
    /// which has checked that there is room and that the id is free.
    pub(crate) fn push_imported(&mut self, id: u32, algorithm: Algorithm, master: SecretArray<32>) {
        self.entries.push(Entry::new(
            self.backend,
            id,
            KeyState::PreActive,
            algorithm,
            master,
        ));
    }

    /// The algorithm and the bytes of key `id`: for [`crate::hazmat`].
    pub(crate) fn exported(&self, id: u32) -> Result<(Algorithm, &SecretArray<32>), KeysetError> {
        let entry = &self.entries[self.position(id)?];
        Ok((entry.algorithm, &entry.master))
    }
}

impl fmt::Debug for Keyset {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_list().entries(self.keys()).finish()
    }
}

#[cfg(test)]
mod tests {
    use std::prelude::v1::*;

    use super::*;

    const BOTH: [Algorithm; 2] = [Algorithm::Xaes256Gcm, Algorithm::XChaCha20Poly1305];

    #[test]
    fn every_flip_and_every_truncation_is_refused() {
        for algorithm in BOTH {
            let keyset = Keyset::generate_with(algorithm).expect("random");
            let sealed = keyset.seal("test", b"row", b"plaintext").expect("sealed");
            let opened = keyset.open("test", b"row", &sealed).expect("opens");
            assert_eq!(opened.expose(), b"plaintext");
            for bit in 0..sealed.len() * 8 {
                let mut flipped = sealed.clone();
                flipped[bit / 8] ^= 1 << (bit % 8);
                assert!(keyset.open("test", b"row", &flipped).is_err(), "bit {bit}");
            }
            for length in 0..sealed.len() {
                assert!(keyset.open("test", b"row", &sealed[..length]).is_err());
            }
        }
    }

    #[test]
    fn context_and_associated_data_bind() {
        for algorithm in BOTH {
            let keyset = Keyset::generate_with(algorithm).expect("random");
            let sealed = keyset.seal("ab", b"c", b"x").expect("sealed");
            assert!(keyset.open("a", b"bc", &sealed).is_err());
            assert!(keyset.open("abc", b"", &sealed).is_err());
            assert!(keyset.open("ab", b"d", &sealed).is_err());
            assert!(keyset.open("ab", b"c", &sealed).is_ok());
        }
    }

    #[test]
    fn a_box_opens_under_no_other_keyset() {
        let sealed = Keyset::generate()
            .expect("random")
            .seal("t", b"", b"x")
            .expect("sealed");
        let other = Keyset::generate().expect("random");
        assert!(other.open("t", b"", &sealed).is_err());
    }

    #[test]
    fn rotation_keeps_old_boxes_open_until_their_key_is_disabled() {
        let mut keyset = Keyset::generate().expect("random");
        let (first, _) = keyset.keys().next().expect("one key");
        let old = keyset.seal("t", b"", b"x").expect("sealed");
        let second = keyset.add().expect("added");
        assert!(matches!(
            keyset.disable(first),
            Err(KeysetError::IsPrimary(_))
        ));
        keyset.promote(second).expect("promoted");
        assert!(keyset.open("t", b"", &old).is_ok());
        let new = keyset.seal("t", b"", b"x").expect("sealed");
        keyset.disable(first).expect("disabled");
        assert!(keyset.open("t", b"", &old).is_err());
        assert!(keyset.open("t", b"", &new).is_ok());
        keyset.enable(first).expect("enabled");
        assert!(keyset.open("t", b"", &old).is_ok());
        let states: Vec<KeyState> = keyset.keys().map(|(_, state)| state).collect();
        assert_eq!(states, [KeyState::DecryptOnly, KeyState::Primary]);
        keyset.destroy(first).expect("destroyed");
        assert!(matches!(
            keyset.promote(first),
            Err(KeysetError::NoSuchKey(_))
        ));
    }

    #[test]
    fn only_a_disabled_key_is_enabled() {
        let mut keyset = Keyset::generate().expect("random");
        let (primary, _) = keyset.keys().next().expect("one key");
        let added = keyset.add().expect("added");
        for id in [primary, added] {
            assert!(matches!(
                keyset.enable(id),
                Err(KeysetError::NotDisabled(refused)) if refused == id
            ));
        }
        assert!(matches!(
            keyset.enable(primary.wrapping_add(1).max(added.wrapping_add(1))),
            Err(KeysetError::NoSuchKey(_))
        ));
    }

    #[test]
    fn a_full_keyset_is_not_rotated() {
        let mut keyset = Keyset::generate().expect("random");
        for _ in 1..KEYS_MAX {
            keyset.add().expect("added");
        }
        let before: Vec<_> = keyset.keys().collect();
        assert!(matches!(keyset.rotate(), Err(KeysetError::Full)));
        assert_eq!(keyset.keys().collect::<Vec<_>>(), before);
    }

    #[test]
    fn a_disabled_key_is_not_promoted() {
        let mut keyset = Keyset::generate().expect("random");
        let stolen = keyset.add().expect("added");
        keyset.disable(stolen).expect("disabled");
        let refused = keyset.promote(stolen);
        assert!(matches!(refused, Err(KeysetError::IsDisabled(id)) if id == stolen));
        keyset.enable(stolen).expect("enabled");
        keyset.promote(stolen).expect("promoted");
    }

    #[test]
    fn stored_keysets_open_what_they_sealed() {
        let mut keyset = Keyset::generate().expect("random");
        keyset.add().expect("added");
        let sealed = keyset.seal("t", b"", b"x").expect("sealed");
        let stored = keyset.to_secret_bytes();
        let again = Keyset::from_secret_bytes(stored.expose()).expect("valid");
        assert!(again.open("t", b"", &sealed).is_ok());
        for length in 0..stored.len() {
            assert!(Keyset::from_secret_bytes(&stored.expose()[..length]).is_err());
        }
        let mut two_primaries = stored.expose().to_vec();
        two_primaries[6 + 38 + 4] = 2;
        assert!(matches!(
            Keyset::from_secret_bytes(&two_primaries),
            Err(EncodingError::Invalid(_))
        ));
    }
}
