//! Keys as the bytes that they are.
//!
//! A key that comes in is a plain byte string that somebody made: nothing here can
//! tell whether it is random, or how many copies of it there are. A key that goes out
//! is wiped with its [`SecretArray`]; whatever the caller copies from it is not.
//!
//! ```
//! use sealmoot_crypto::{hazmat::raw, keyset::{Algorithm, Keyset}};
//! let from_another_system = [7; 32];
//! let mut keyset = Keyset::generate()?;
//! let id = raw::import_keyset_key(&mut keyset, Algorithm::Xaes256Gcm, &from_another_system)?;
//! keyset.promote(id)?;
//! assert_eq!(raw::export_keyset_key(&keyset, id)?.1.expose(), &from_another_system);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use crate::aead::RecordKey;
use crate::agreement::AgreementKey;
use crate::backend::Backend;
use crate::kem::DecapsulationKey;
use crate::keyset::{Algorithm, KEYS_MAX, Keyset, KeysetError};
use crate::random::{self, RandomError};
use crate::sealed_box::{Kem, PrivateKey};
use crate::secret::{SecretArray, SecretBytes};
use crate::signature::SigningKey;

/// Length of every raw key but that of ML-KEM, in bytes.
pub const KEY_LENGTH: usize = 32;

/// Why bytes were not taken for a key; the keyset, where there is one, is as it was.
///
/// ```
/// use sealmoot_crypto::hazmat::raw::{self, RawKeyError};
/// let too_long = raw::import_signing_key(&[7; 64]); // seed and public key
/// assert!(matches!(too_long, Err(RawKeyError::WrongLength { expected: 32, length: 64 })));
/// let never_filled = raw::import_signing_key(&[0; 32]);
/// assert!(matches!(never_filled, Err(RawKeyError::AllZero)));
/// ```
#[derive(Debug, thiserror::Error)]
pub enum RawKeyError {
    /// The length is not that of such a key. A longer key is not cut and a shorter one
    /// not filled up: either would be another key than the one that was meant.
    #[error("such a key has {expected} bytes, not {length}")]
    WrongLength {
        /// How many bytes such a key has.
        expected: usize,
        /// How many bytes came.
        length: usize,
    },
    /// Nothing but zeros: a buffer that was never filled, not a key.
    #[error("the key is all zeros")]
    AllZero,
    /// The keyset has a key with this id already.
    #[error("the keyset has a key {0:08x} already")]
    IdTaken(u32),
    /// There are [`KEYS_MAX`] keys already.
    #[error("the keyset is full ({KEYS_MAX} keys)")]
    Full,
    /// No id could be drawn.
    #[error(transparent)]
    Random(#[from] RandomError),
}

/// The secret with these bytes, which are the caller's to wipe.
///
/// # Errors
/// [`RawKeyError::WrongLength`], [`RawKeyError::AllZero`].
///
/// ```
/// use sealmoot_crypto::hazmat::raw;
/// assert!(raw::import_secret(&[7; 32]).is_ok());
/// assert!(raw::import_secret(&[7; 31]).is_err());
/// assert!(raw::import_secret(&[0; 32]).is_err());
/// ```
pub fn import_secret(bytes: &[u8]) -> Result<SecretArray<KEY_LENGTH>, RawKeyError> {
    import_array(bytes)
}

/// The record key (XAES-256-GCM) with these bytes. They must not be an AES-256-GCM
/// key of another system as well: that one's nonces are not counted here.
///
/// # Errors
/// [`RawKeyError::WrongLength`], [`RawKeyError::AllZero`].
///
/// ```
/// use sealmoot_crypto::hazmat::raw;
/// let key = raw::import_record_key(&[7; 32])?;
/// # let _ = key;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn import_record_key(bytes: &[u8]) -> Result<RecordKey, RawKeyError> {
    Ok(RecordKey::from_secret(&import_secret(bytes)?))
}

/// The X25519 private key with these bytes (RFC 7748, section 5), which are clamped
/// when they are used.
///
/// # Errors
/// [`RawKeyError::WrongLength`], [`RawKeyError::AllZero`].
///
/// ```
/// use sealmoot_crypto::hazmat::raw;
/// let key = raw::import_agreement_key(&[7; 32])?;
/// assert_eq!(raw::export_agreement_key(&key).expose(), &[7; 32]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn import_agreement_key(bytes: &[u8]) -> Result<AgreementKey, RawKeyError> {
    Ok(AgreementKey::from_bytes(&import_secret(bytes)?))
}

/// The bytes of an X25519 private key, as they came, not clamped.
///
/// ```
/// use sealmoot_crypto::{agreement::AgreementKey, hazmat::raw};
/// let key = AgreementKey::generate()?;
/// let bytes = raw::export_agreement_key(&key);
/// assert_eq!(raw::import_agreement_key(bytes.expose())?.public(), key.public());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[must_use]
pub fn export_agreement_key(key: &AgreementKey) -> SecretArray<KEY_LENGTH> {
    key.to_secret()
}

/// The Ed25519 private key with this seed (RFC 8032, section 5.1.5). Other systems
/// also keep 64 bytes, seed and public key: pass the first half, and compare the
/// second with the public key that comes of it.
///
/// # Errors
/// [`RawKeyError::WrongLength`], [`RawKeyError::AllZero`].
///
/// ```
/// use sealmoot_crypto::hazmat::raw;
/// let key = raw::import_signing_key(&[7; 32])?;
/// assert_eq!(raw::export_signing_key(&key).expose(), &[7; 32]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn import_signing_key(bytes: &[u8]) -> Result<SigningKey, RawKeyError> {
    Ok(SigningKey::from_seed(&import_secret(bytes)?))
}

/// The seed of an Ed25519 private key.
///
/// ```
/// use sealmoot_crypto::{hazmat::raw, signature::SigningKey};
/// let key = SigningKey::generate()?;
/// let seed = raw::export_signing_key(&key);
/// assert_eq!(SigningKey::from_seed(&seed).verifying_key(), key.verifying_key());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[must_use]
pub fn export_signing_key(key: &SigningKey) -> SecretArray<KEY_LENGTH> {
    key.to_seed()
}

/// The private key for sealed boxes with these bytes: an X25519 scalar, or an X-Wing
/// seed.
///
/// # Errors
/// [`RawKeyError::WrongLength`], [`RawKeyError::AllZero`].
///
/// ```
/// use sealmoot_crypto::hazmat::raw;
/// use sealmoot_crypto::sealed_box::Kem;
/// let key = raw::import_box_key(Kem::XWing, &[7; 32])?;
/// assert_eq!(raw::export_box_key(&key).expose(), &[7; 32]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn import_box_key(kem: Kem, bytes: &[u8]) -> Result<PrivateKey, RawKeyError> {
    let secret = import_secret(bytes)?;
    Ok(PrivateKey::from_secret_bytes(kem, secret.expose())
        .expect("both KEMs take any 32 bytes for a private key"))
}

/// The bytes of a private key for sealed boxes. An X25519 scalar comes clamped.
///
/// ```
/// use sealmoot_crypto::hazmat::raw;
/// use sealmoot_crypto::sealed_box::Kem;
/// let key = raw::import_box_key(Kem::X25519, &[0xff; 32])?;
/// let bytes = raw::export_box_key(&key);
/// assert_eq!((bytes.expose()[0], bytes.expose()[31]), (0xf8, 0x7f)); // clamped
/// let again = raw::import_box_key(Kem::X25519, bytes.expose())?;
/// assert_eq!(again.public_key(), key.public_key());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[must_use]
pub fn export_box_key(key: &PrivateKey) -> SecretBytes {
    key.to_secret_bytes()
}

/// The ML-KEM-768 private key with this 64-byte seed (FIPS 203: `d`, then `z`).
///
/// # Errors
/// [`RawKeyError::WrongLength`], [`RawKeyError::AllZero`].
///
/// ```
/// use sealmoot_crypto::hazmat::raw;
/// let key = raw::import_decapsulation_key(&[7; 64])?;
/// assert_eq!(raw::export_decapsulation_key(&key).expose(), &[7; 64]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn import_decapsulation_key(seed: &[u8]) -> Result<DecapsulationKey, RawKeyError> {
    let seed = import_array(seed)?;
    Ok(DecapsulationKey::from_seed_on(Backend::default(), &seed))
}

/// The seed of an ML-KEM-768 private key.
///
/// ```
/// use sealmoot_crypto::{hazmat::raw, kem::DecapsulationKey};
/// let key = DecapsulationKey::generate()?;
/// let seed = raw::export_decapsulation_key(&key);
/// let again = raw::import_decapsulation_key(seed.expose())?;
/// assert_eq!(again.encapsulation_key(), key.encapsulation_key());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[must_use]
pub fn export_decapsulation_key(key: &DecapsulationKey) -> SecretArray<64> {
    key.to_seed()
}

/// Adds a key that was made elsewhere to `keyset`, under a fresh id, which is
/// returned. It opens at once and seals when it is promoted.
///
/// The bytes are a master key of our construction, not a key of the cipher: boxes
/// that other systems sealed with it do not open.
///
/// # Errors
/// [`RawKeyError`].
///
/// ```
/// use sealmoot_crypto::{hazmat::raw, keyset::{Algorithm, Keyset}};
/// let mut keyset = Keyset::generate()?;
/// let id = raw::import_keyset_key(&mut keyset, Algorithm::Xaes256Gcm, &[7; 32])?;
/// keyset.promote(id)?;
/// let (algorithm, key) = raw::export_keyset_key(&keyset, id)?;
/// assert_eq!((algorithm, key.expose()), (Algorithm::Xaes256Gcm, &[7; 32]));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn import_keyset_key(
    keyset: &mut Keyset,
    algorithm: Algorithm,
    bytes: &[u8],
) -> Result<u32, RawKeyError> {
    let id = loop {
        let id = u32::from_be_bytes(random::array()?);
        if keyset.keys().all(|key| key.0 != id) {
            break id;
        }
    };
    import_keyset_key_with_id(keyset, id, algorithm, bytes)?;
    Ok(id)
}

/// As [`import_keyset_key`], under the id that the key has in another keyset: boxes
/// name their key by its id, so what it sealed there opens here.
///
/// # Errors
/// [`RawKeyError`].
///
/// ```
/// use sealmoot_crypto::{hazmat::raw::{self, RawKeyError}, keyset::Keyset};
/// let (theirs, mut ours) = (Keyset::generate()?, Keyset::generate()?);
/// let sealed = theirs.seal("note", b"", b"text")?;
/// let id = theirs.primary_id();
/// let (algorithm, key) = raw::export_keyset_key(&theirs, id)?;
/// raw::import_keyset_key_with_id(&mut ours, id, algorithm, key.expose())?;
/// assert_eq!(ours.open("note", b"", &sealed)?.expose(), b"text");
/// let twice = raw::import_keyset_key_with_id(&mut ours, id, algorithm, key.expose());
/// assert!(matches!(twice, Err(RawKeyError::IdTaken(taken)) if taken == id));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn import_keyset_key_with_id(
    keyset: &mut Keyset,
    id: u32,
    algorithm: Algorithm,
    bytes: &[u8],
) -> Result<(), RawKeyError> {
    let master = import_secret(bytes)?;
    if keyset.keys().any(|key| key.0 == id) {
        return Err(RawKeyError::IdTaken(id));
    }
    if keyset.keys().count() >= KEYS_MAX {
        return Err(RawKeyError::Full);
    }
    keyset.push_imported(id, algorithm, master);
    Ok(())
}

/// What key `id` of `keyset` is for, and its bytes.
///
/// # Errors
/// [`KeysetError::NoSuchKey`].
///
/// ```
/// use sealmoot_crypto::{hazmat::raw, keyset::{Algorithm, Keyset, KeysetError}};
/// let keyset = Keyset::generate_with(Algorithm::XChaCha20Poly1305)?;
/// let id = keyset.primary_id();
/// assert_eq!(raw::export_keyset_key(&keyset, id)?.0, Algorithm::XChaCha20Poly1305);
/// let other = raw::export_keyset_key(&keyset, !id);
/// assert!(matches!(other, Err(KeysetError::NoSuchKey(missing)) if missing == !id));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn export_keyset_key(
    keyset: &Keyset,
    id: u32,
) -> Result<(Algorithm, SecretArray<KEY_LENGTH>), KeysetError> {
    let (algorithm, master) = keyset.exported(id)?;
    let mut copy = SecretArray::from_bytes([0; KEY_LENGTH]);
    copy.expose_mut().copy_from_slice(master.expose());
    Ok((algorithm, copy))
}

fn import_array<const N: usize>(bytes: &[u8]) -> Result<SecretArray<N>, RawKeyError> {
    let secret = SecretArray::from_slice(bytes).ok_or(RawKeyError::WrongLength {
        expected: N,
        length: bytes.len(),
    })?;
    if secret.same_as(&SecretArray::from_bytes([0; N])) {
        return Err(RawKeyError::AllZero);
    }
    Ok(secret)
}

#[cfg(test)]
mod tests {
    use std::prelude::v1::*;

    use super::*;
    use crate::keyset::KeyState;

    #[test]
    fn every_other_length_is_refused() {
        for length in (0..KEY_LENGTH).chain([33, 64]) {
            let bytes = vec![7; length];
            let refused = |error: Option<RawKeyError>| {
                assert!(
                    matches!(error, Some(RawKeyError::WrongLength { expected: KEY_LENGTH, length: told }) if told == length)
                );
            };
            refused(import_secret(&bytes).err());
            refused(import_record_key(&bytes).err());
            refused(import_agreement_key(&bytes).err());
            refused(import_signing_key(&bytes).err());
            let mut keyset = Keyset::generate().expect("random");
            refused(import_keyset_key(&mut keyset, Algorithm::Xaes256Gcm, &bytes).err());
            assert_eq!(keyset.keys().count(), 1);
        }
    }

    #[test]
    fn zeros_are_no_key() {
        assert!(matches!(import_secret(&[0; 32]), Err(RawKeyError::AllZero)));
        let mut almost = [0; 32];
        almost[31] = 1;
        assert!(import_secret(&almost).is_ok());
    }

    #[test]
    fn a_record_key_opens_what_the_same_bytes_sealed() {
        let secret = SecretArray::from_bytes([9; 32]);
        let mut record = RecordKey::from_secret(&secret)
            .seal(b"x", b"text")
            .expect("sealed");
        let key = import_record_key(secret.expose()).expect("a key");
        assert_eq!(key.open(b"x", &mut record).expect("opens"), b"text");
    }

    #[test]
    fn a_keyset_key_moves_to_another_keyset_with_its_id() {
        for algorithm in [Algorithm::Xaes256Gcm, Algorithm::XChaCha20Poly1305] {
            let from = Keyset::generate_with(algorithm).expect("random");
            let (id, _) = from.keys().next().expect("one key");
            let sealed = from.seal("test", b"row", b"text").expect("sealed");

            let (told, key) = export_keyset_key(&from, id).expect("there");
            assert_eq!(told, algorithm);
            let mut to = Keyset::generate().expect("random");
            assert!(to.open("test", b"row", &sealed).is_err());
            import_keyset_key_with_id(&mut to, id, algorithm, key.expose()).expect("free");
            assert!(to.keys().any(|key| key == (id, KeyState::PreActive)));
            let opened = to.open("test", b"row", &sealed).expect("opens");
            assert_eq!(opened.expose(), b"text");
        }
    }

    #[test]
    fn a_taken_id_is_refused_and_the_key_behind_it_stays() {
        let mut keyset = Keyset::generate().expect("random");
        let sealed = keyset.seal("test", b"", b"text").expect("sealed");
        let (id, _) = keyset.keys().next().expect("one key");
        assert!(matches!(
            import_keyset_key_with_id(&mut keyset, id, Algorithm::Xaes256Gcm, &[7; 32]),
            Err(RawKeyError::IdTaken(taken)) if taken == id
        ));
        assert!(keyset.open("test", b"", &sealed).is_ok());
    }

    #[test]
    fn a_full_keyset_takes_no_more() {
        let mut keyset = Keyset::generate().expect("random");
        while keyset.keys().count() < KEYS_MAX {
            import_keyset_key(&mut keyset, Algorithm::Xaes256Gcm, &[7; 32]).expect("room");
        }
        assert!(matches!(
            import_keyset_key(&mut keyset, Algorithm::Xaes256Gcm, &[7; 32]),
            Err(RawKeyError::Full)
        ));
        assert_eq!(keyset.keys().count(), KEYS_MAX);
    }

    #[test]
    fn an_unknown_id_exports_nothing() {
        let keyset = Keyset::generate().expect("random");
        let (id, _) = keyset.keys().next().expect("one key");
        assert!(matches!(
            export_keyset_key(&keyset, !id),
            Err(KeysetError::NoSuchKey(told)) if told == !id
        ));
    }
}
