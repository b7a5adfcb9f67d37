//! Where the log ends, and the key of the next link.
//!
//! ```text
//! offset length
//!      0     24  nonce
//!     24    472  ciphertext, of
//!                  1  version, 1
//!                  8  counter: of both places the higher one holds
//!                  4  segment
//!                  8  where in it the next frame begins
//!                 42  head of the chain
//!                 32  key of the next link
//!                377  zeros
//!    496     16  tag
//! ```

use sealmoot_crypto::aead::{RecordKey, SealError};
use sealmoot_crypto::encoding::{EncodingError, Reader, Writer};
use sealmoot_crypto::hash_chain::Head;
use sealmoot_crypto::secret::{SecretArray, SecretBytes};

use super::AuditKey;
use crate::disk::SECTOR_BYTES;

const PLAINTEXT_BYTES: usize = SECTOR_BYTES - RecordKey::OVERHEAD;
const VERSION: u8 = 1;
const LABEL: &[u8; 16] = b"kv audit state 1";

/// Length of the file with both places.
pub(super) const STATE_FILE_BYTES: u64 = 2 * SECTOR_BYTES as u64;

/// Up to where the log is acknowledged.
pub(super) struct State {
    pub(super) counter: u64,
    pub(super) segment: u32,
    pub(super) offset: u64,
    pub(super) head: Head,
    pub(super) key: SecretArray<32>,
}

impl State {
    /// Where in the file it stands: where the one before the last does.
    pub(super) fn place(&self) -> u64 {
        (self.counter % 2) * SECTOR_BYTES as u64
    }

    pub(super) fn seal(&self, key: &AuditKey) -> Result<Vec<u8>, SealError> {
        let mut writer = Writer::with_capacity(PLAINTEXT_BYTES);
        writer.u8(VERSION);
        writer.u64(self.counter);
        writer.u32(self.segment);
        writer.u64(self.offset);
        writer.fixed(&self.head.to_bytes());
        writer.fixed(self.key.expose());
        let mut plaintext = writer.finish();
        plaintext.resize(PLAINTEXT_BYTES, 0);
        let plaintext = SecretBytes::new(plaintext);
        key.0.seal(&bound(self.place()), plaintext.expose())
    }

    /// Reads the sector at `place`, which is opened in place.
    pub(super) fn open(
        sector: &mut [u8],
        place: u64,
        key: &AuditKey,
    ) -> Result<Self, EncodingError> {
        let plaintext = key
            .0
            .open(&bound(place), sector)
            .map_err(|_| EncodingError::Invalid("the state fails authentication"))?;
        let mut reader = Reader::new(plaintext);
        let version = reader.u8()?;
        if version != VERSION {
            return Err(EncodingError::Unknown {
                what: "audit state version",
                value: u64::from(version),
            });
        }
        Ok(Self {
            counter: reader.u64()?,
            segment: reader.u32()?,
            offset: reader.u64()?,
            head: Head::from_bytes(reader.fixed(Head::LENGTH)?)?,
            key: SecretArray::from_bytes(reader.array()?),
        })
    }
}

fn bound(place: u64) -> [u8; 24] {
    let mut bound = [0; 24];
    bound[..16].copy_from_slice(LABEL);
    bound[16..].copy_from_slice(&place.to_le_bytes());
    bound
}
