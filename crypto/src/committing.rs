//! One key that seals committingly; the engine under keysets and passphrase boxes.
//!
//! The 32-byte master key is split by HKDF into a sealing key and a commitment
//! key. A box is
//!
//! ```text
//! offset length
//!      0      1  version, 1
//!      1      1  algorithm: 1 XAES-256-GCM, 2 XChaCha20-Poly1305
//!      2      4  key id, big-endian
//!      6     24  nonce
//!     30     32  commitment: HMAC-SHA-256 by the commitment key over
//!                bytes 0..30, length (u64, little-endian) and bytes of the
//!                context, the associated data to its end
//!     62      n  ciphertext
//!   62+n     16  tag, over the ciphertext and bytes 0..6 and 30..62
//! ```
//!
//! so a box names one key, one nonce, one context and one associated data only:
//! a second set that opens it is a collision of HMAC-SHA-256.

use alloc::boxed::Box;
use alloc::vec::Vec;

use core::fmt;

use chacha20::hchacha;
use zeroize::Zeroize;

use crate::aead::{NONCE_LENGTH, OpenError, RecordKey, SealError, TAG_LENGTH};
use crate::backend::Backend;
use crate::backend::aead::{AeadKey, Cipher};
use crate::digest::MacKey;
use crate::kdf;
use crate::random;
use crate::secret::{SecretArray, SecretBytes, constant_time_equal, wipe};

const VERSION: u8 = 1;
const NONCE_AT: usize = 6;
const COMMITMENT_AT: usize = NONCE_AT + NONCE_LENGTH;
/// Length of what stands before the ciphertext.
pub(crate) const HEADER_LENGTH: usize = COMMITMENT_AT + 32;

/// How many bytes longer a box is than its plaintext.
pub(crate) const OVERHEAD: usize = HEADER_LENGTH + TAG_LENGTH;

/// The cipher that a key is for. A key is used with one cipher for its life.
///
/// ```
/// use sealmoot_crypto::keyset::{Algorithm, Keyset};
/// for (algorithm, number) in [(Algorithm::Xaes256Gcm, 1), (Algorithm::XChaCha20Poly1305, 2)] {
///     let sealed = Keyset::generate_with(algorithm)?.seal("note", b"", b"text")?;
///     assert_eq!(sealed[1], number); // the box names it, so an opener need not know
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Algorithm {
    /// XAES-256-GCM (C2SP): fastest where the processor has AES instructions.
    Xaes256Gcm,
    /// XChaCha20-Poly1305 (draft-irtf-cfrg-xchacha-03): constant-time everywhere.
    XChaCha20Poly1305,
}

impl Algorithm {
    /// The one that suits this processor.
    ///
    /// ```
    /// use sealmoot_crypto::keyset::Algorithm;
    /// assert_eq!(Algorithm::for_this_processor(), Algorithm::for_this_processor());
    /// ```
    #[must_use]
    pub fn for_this_processor() -> Self {
        if crate::backend::has_aes_instructions() {
            Self::Xaes256Gcm
        } else {
            Self::XChaCha20Poly1305
        }
    }

    pub(crate) fn number(self) -> u8 {
        match self {
            Self::Xaes256Gcm => 1,
            Self::XChaCha20Poly1305 => 2,
        }
    }

    pub(crate) fn from_number(number: u8) -> Option<Self> {
        match number {
            1 => Some(Self::Xaes256Gcm),
            2 => Some(Self::XChaCha20Poly1305),
            _ => None,
        }
    }
}

/// A key with a 192-bit nonce, from which a key and a nonce of ring's length come.
enum ExtendedKey {
    Xaes256Gcm(Box<RecordKey>),
    XChaCha20Poly1305(Backend, SecretArray<32>),
}

impl ExtendedKey {
    fn derive(&self, nonce: &[u8; NONCE_LENGTH]) -> (AeadKey, [u8; 12]) {
        match self {
            Self::Xaes256Gcm(key) => key.derive(nonce),
            Self::XChaCha20Poly1305(backend, key) => derive_xchacha(*backend, key, nonce),
        }
    }
}

/// The ChaCha20-Poly1305 key and nonce that make XChaCha20-Poly1305 of `key` and
/// `nonce`: draft-irtf-cfrg-xchacha-03, section 2.3.
pub(crate) fn derive_xchacha(
    backend: Backend,
    key: &SecretArray<32>,
    nonce: &[u8; NONCE_LENGTH],
) -> (AeadKey, [u8; 12]) {
    let mut head = [0u8; 16];
    head.copy_from_slice(&nonce[..16]);
    let mut subkey = hchacha::<chacha20::R20>(key.expose().into(), &head.into());
    let mut short_nonce = [0u8; 12];
    short_nonce[4..].copy_from_slice(&nonce[16..]);
    let key = AeadKey::new(backend, Cipher::ChaCha20Poly1305, &subkey.0);
    subkey.as_mut_slice().zeroize();
    (key, short_nonce)
}

/// A key that seals committingly under one algorithm.
pub(crate) struct CommittingKey {
    algorithm: Algorithm,
    sealing: ExtendedKey,
    commitment: MacKey,
}

impl CommittingKey {
    pub(crate) fn new(backend: Backend, master: &SecretArray<32>, algorithm: Algorithm) -> Self {
        let sealing = kdf::derive(master.expose(), "committing seal", &[algorithm.number()]);
        let commitment = kdf::derive(master.expose(), "committing commitment", &[]);
        let sealing = match algorithm {
            Algorithm::Xaes256Gcm => {
                let key = RecordKey::from_secret_on(backend, &sealing);
                ExtendedKey::Xaes256Gcm(Box::new(key))
            }
            Algorithm::XChaCha20Poly1305 => ExtendedKey::XChaCha20Poly1305(backend, sealing),
        };
        Self {
            algorithm,
            sealing,
            commitment: MacKey::from_secret_on(backend, &commitment),
        }
    }

    pub(crate) fn seal(
        &self,
        key_id: u32,
        context: &str,
        associated_data: &[u8],
        plaintext: &[u8],
    ) -> Result<Vec<u8>, SealError> {
        let mut sealed = Vec::with_capacity(plaintext.len() + OVERHEAD);
        sealed.resize(HEADER_LENGTH, 0);
        sealed.extend_from_slice(plaintext);
        match self.seal_in_place(key_id, context, associated_data, &mut sealed, 0) {
            Ok(()) => Ok(sealed),
            Err(error) => {
                wipe(&mut sealed);
                Err(error)
            }
        }
    }

    /// Turns `buffer[start..]`, room for the header and then the plaintext, into
    /// a box.
    pub(crate) fn seal_in_place(
        &self,
        key_id: u32,
        context: &str,
        associated_data: &[u8],
        buffer: &mut Vec<u8>,
        start: usize,
    ) -> Result<(), SealError> {
        let mut header = [0u8; HEADER_LENGTH];
        header[0] = VERSION;
        header[1] = self.algorithm.number();
        header[2..NONCE_AT].copy_from_slice(&key_id.to_be_bytes());
        let nonce: [u8; NONCE_LENGTH] = random::array()?;
        header[NONCE_AT..COMMITMENT_AT].copy_from_slice(&nonce);
        let commitment = self.commit(&header[..COMMITMENT_AT], context, associated_data);
        header[COMMITMENT_AT..].copy_from_slice(&commitment);
        let (key, short_nonce) = self.sealing.derive(&nonce);
        let (room, text) = buffer[start..].split_at_mut(HEADER_LENGTH);
        let tag = key
            .seal(&short_nonce, &tagged(&header), text)
            .map_err(|_| SealError::TooLong)?;
        room.copy_from_slice(&header);
        buffer.extend_from_slice(&tag);
        Ok(())
    }

    pub(crate) fn open(
        &self,
        context: &str,
        associated_data: &[u8],
        sealed: &[u8],
    ) -> Result<SecretBytes, OpenError> {
        let (header, body) = sealed.split_first_chunk().ok_or(OpenError)?;
        let (key, short_nonce) = self.check_header(header, context, associated_data)?;
        // Only what is authentic is worth memory, but its tag comes last: the
        // copy is no longer than what the caller holds already.
        let mut body = SecretBytes::new(body.to_vec());
        let length = key
            .open(&short_nonce, &tagged(header), body.expose_mut())
            .map_err(|_| OpenError)?
            .len();
        body.truncate(length);
        Ok(body)
    }

    pub(crate) fn open_in_place<'a>(
        &self,
        context: &str,
        associated_data: &[u8],
        sealed: &'a mut [u8],
    ) -> Result<&'a mut [u8], OpenError> {
        let (header, body) = sealed.split_first_chunk_mut().ok_or(OpenError)?;
        let (key, short_nonce) = self.check_header(header, context, associated_data)?;
        key.open(&short_nonce, &tagged(header), body)
            .map_err(|_| OpenError)
    }

    /// The key and nonce of the body behind `header`, when the header commits to
    /// this key, this context and this associated data.
    fn check_header(
        &self,
        header: &[u8; HEADER_LENGTH],
        context: &str,
        associated_data: &[u8],
    ) -> Result<(AeadKey, [u8; 12]), OpenError> {
        if header[0] != VERSION || header[1] != self.algorithm.number() {
            return Err(OpenError);
        }
        let expected = self.commit(&header[..COMMITMENT_AT], context, associated_data);
        if !constant_time_equal(&expected, &header[COMMITMENT_AT..]) {
            return Err(OpenError);
        }
        let mut nonce = [0u8; NONCE_LENGTH];
        nonce.copy_from_slice(&header[NONCE_AT..COMMITMENT_AT]);
        Ok(self.sealing.derive(&nonce))
    }

    fn commit(&self, prefix: &[u8], context: &str, associated_data: &[u8]) -> [u8; 32] {
        self.commitment.tag(&[
            prefix,
            &(context.len() as u64).to_le_bytes(),
            context.as_bytes(),
            associated_data,
        ])
    }
}

impl fmt::Debug for CommittingKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "CommittingKey({:?}, redacted)", self.algorithm)
    }
}

/// The key id that a box names, before anything about it is believed.
pub(crate) fn claimed_key_id(sealed: &[u8]) -> Option<u32> {
    let bytes = sealed.get(2..NONCE_AT)?;
    Some(u32::from_be_bytes(bytes.try_into().ok()?))
}

/// What the tag covers besides the ciphertext: the header without its nonce,
/// which the cipher takes by itself.
fn tagged(header: &[u8; HEADER_LENGTH]) -> [u8; HEADER_LENGTH - NONCE_LENGTH] {
    let mut tagged = [0u8; HEADER_LENGTH - NONCE_LENGTH];
    tagged[..NONCE_AT].copy_from_slice(&header[..NONCE_AT]);
    tagged[NONCE_AT..].copy_from_slice(&header[COMMITMENT_AT..]);
    tagged
}
