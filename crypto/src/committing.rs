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
//!                bytes 0..30, length and bytes of the context, length and
//!                bytes of the associated data (lengths: u64, little-endian)
//!     62      n  ciphertext
//!   62+n     16  tag, over the ciphertext and bytes 0..6 and 30..62
//! ```
//!
//! so a box names one key, one nonce, one context and one associated data only:
//! a second set that opens it is a collision of HMAC-SHA-256.

use std::fmt;

use chacha20poly1305::aead::AeadInOut;
use chacha20poly1305::{KeyInit, XChaCha20Poly1305};

use crate::aead::{NONCE_LENGTH, OpenError, RecordKey, SealError, TAG_LENGTH};
use crate::digest::MacKey;
use crate::kdf;
use crate::random;
use crate::secret::{SecretArray, SecretBytes, constant_time_equal};

const VERSION: u8 = 1;
const NONCE_AT: usize = 6;
const COMMITMENT_AT: usize = NONCE_AT + NONCE_LENGTH;
const BODY_AT: usize = COMMITMENT_AT + 32;

/// How many bytes longer a box is than its plaintext.
pub(crate) const OVERHEAD: usize = BODY_AT + TAG_LENGTH;

/// The cipher that a key is for. A key is used with one cipher for its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Algorithm {
    /// XAES-256-GCM (C2SP): fastest where the processor has AES instructions.
    Xaes256Gcm,
    /// XChaCha20-Poly1305 (draft-irtf-cfrg-xchacha-03): constant-time everywhere.
    XChaCha20Poly1305,
}

impl Algorithm {
    /// The one that suits this processor.
    #[must_use]
    pub fn for_this_processor() -> Self {
        #[cfg(any(target_arch = "x86_64", target_arch = "x86"))]
        let has_aes =
            std::is_x86_feature_detected!("aes") && std::is_x86_feature_detected!("pclmulqdq");
        #[cfg(target_arch = "aarch64")]
        let has_aes = std::arch::is_aarch64_feature_detected!("aes");
        #[cfg(not(any(target_arch = "x86_64", target_arch = "x86", target_arch = "aarch64")))]
        let has_aes = false;
        if has_aes {
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

enum Cipher {
    Xaes256Gcm(Box<RecordKey>),
    XChaCha20Poly1305(Box<XChaCha20Poly1305>),
}

/// A key that seals committingly under one algorithm.
pub(crate) struct CommittingKey {
    algorithm: Algorithm,
    cipher: Cipher,
    commitment: MacKey,
}

impl CommittingKey {
    pub(crate) fn new(master: &SecretArray<32>, algorithm: Algorithm) -> Self {
        let sealing = kdf::derive(master.expose(), "committing seal", &[algorithm.number()]);
        let commitment = kdf::derive(master.expose(), "committing commitment", &[]);
        let cipher = match algorithm {
            Algorithm::Xaes256Gcm => Cipher::Xaes256Gcm(Box::new(RecordKey::from_secret(&sealing))),
            Algorithm::XChaCha20Poly1305 => Cipher::XChaCha20Poly1305(Box::new(
                XChaCha20Poly1305::new(&(*sealing.expose()).into()),
            )),
        };
        Self {
            algorithm,
            cipher,
            commitment: MacKey::from_secret(&commitment),
        }
    }

    pub(crate) fn seal(
        &self,
        key_id: u32,
        context: &str,
        associated_data: &[u8],
        plaintext: &[u8],
    ) -> Result<Vec<u8>, SealError> {
        let mut header = [0u8; BODY_AT];
        header[0] = VERSION;
        header[1] = self.algorithm.number();
        header[2..NONCE_AT].copy_from_slice(&key_id.to_be_bytes());
        let mut sealed = Vec::with_capacity(plaintext.len() + OVERHEAD);
        match &self.cipher {
            // The record key draws the nonce, and the tag covers the commitment,
            // which covers the nonce: seal under a nonce drawn beforehand.
            Cipher::Xaes256Gcm(key) => {
                let nonce: [u8; NONCE_LENGTH] = random::array()?;
                self.finish_header(&mut header, &nonce, context, associated_data);
                sealed.resize(NONCE_LENGTH, 0);
                sealed.extend_from_slice(plaintext);
                key.seal_with_nonce(&nonce, &tagged(&header), &mut sealed, 0)?;
                sealed.splice(..NONCE_LENGTH, header);
            }
            Cipher::XChaCha20Poly1305(key) => {
                let nonce: [u8; NONCE_LENGTH] = random::array()?;
                self.finish_header(&mut header, &nonce, context, associated_data);
                sealed.extend_from_slice(&header);
                sealed.extend_from_slice(plaintext);
                let tag = key
                    .encrypt_inout_detached(
                        &nonce.into(),
                        &tagged(&header),
                        (&mut sealed[BODY_AT..]).into(),
                    )
                    .map_err(|_| SealError::TooLong)?;
                sealed.extend_from_slice(&tag);
            }
        }
        Ok(sealed)
    }

    fn finish_header(
        &self,
        header: &mut [u8; BODY_AT],
        nonce: &[u8; NONCE_LENGTH],
        context: &str,
        associated_data: &[u8],
    ) {
        header[NONCE_AT..COMMITMENT_AT].copy_from_slice(nonce);
        let commitment = self.commit(&header[..COMMITMENT_AT], context, associated_data);
        header[COMMITMENT_AT..].copy_from_slice(&commitment);
    }

    pub(crate) fn open(
        &self,
        context: &str,
        associated_data: &[u8],
        sealed: &[u8],
    ) -> Result<SecretBytes, OpenError> {
        let header: &[u8; BODY_AT] = sealed
            .get(..BODY_AT)
            .and_then(|header| header.try_into().ok())
            .ok_or(OpenError)?;
        if sealed.len() < OVERHEAD || header[0] != VERSION || header[1] != self.algorithm.number() {
            return Err(OpenError);
        }
        let expected = self.commit(&header[..COMMITMENT_AT], context, associated_data);
        if !constant_time_equal(&expected, &header[COMMITMENT_AT..]) {
            return Err(OpenError);
        }
        let mut body = Vec::with_capacity(sealed.len());
        match &self.cipher {
            Cipher::Xaes256Gcm(key) => {
                body.extend_from_slice(&header[NONCE_AT..COMMITMENT_AT]);
                body.extend_from_slice(&sealed[BODY_AT..]);
                let length = key.open(&tagged(header), &mut body)?.len();
                body.copy_within(NONCE_LENGTH..NONCE_LENGTH + length, 0);
                body.truncate(length);
            }
            Cipher::XChaCha20Poly1305(key) => {
                let (ciphertext, tag) = sealed[BODY_AT..].split_at(sealed.len() - OVERHEAD);
                let mut nonce = [0u8; NONCE_LENGTH];
                nonce.copy_from_slice(&header[NONCE_AT..COMMITMENT_AT]);
                let tag: [u8; TAG_LENGTH] = tag.try_into().map_err(|_| OpenError)?;
                body.extend_from_slice(ciphertext);
                key.decrypt_inout_detached(
                    &nonce.into(),
                    &tagged(header),
                    body.as_mut_slice().into(),
                    &tag.into(),
                )
                .map_err(|_| OpenError)?;
            }
        }
        Ok(SecretBytes::new(body))
    }

    fn commit(&self, prefix: &[u8], context: &str, associated_data: &[u8]) -> [u8; 32] {
        self.commitment.tag(&[
            prefix,
            &(context.len() as u64).to_le_bytes(),
            context.as_bytes(),
            &(associated_data.len() as u64).to_le_bytes(),
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
fn tagged(header: &[u8; BODY_AT]) -> [u8; BODY_AT - NONCE_LENGTH] {
    let mut tagged = [0u8; BODY_AT - NONCE_LENGTH];
    tagged[..NONCE_AT].copy_from_slice(&header[..NONCE_AT]);
    tagged[NONCE_AT..].copy_from_slice(&header[COMMITMENT_AT..]);
    tagged
}
