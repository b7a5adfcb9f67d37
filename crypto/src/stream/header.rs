//! The header of a stream, as bytes and as values.

use super::StreamOpenError;
use crate::backend;
use crate::backend::aead::Cipher as BackendCipher;

const MAGIC: &[u8; 4] = b"SMST";
const VERSION: u8 = 1;
const SALT_AT: usize = 7;
/// Where the commitment begins; it is over all that stands before.
pub(super) const COMMITMENT_AT: usize = SALT_AT + 32;

/// Length of a stream's header, in bytes.
pub const HEADER_LENGTH: usize = COMMITMENT_AT + 32;

/// The cipher of a stream's chunks.
///
/// ```
/// use sealmoot_crypto::{secret::SecretArray, stream::{self, Cipher, Options, StreamKey}};
/// let key = StreamKey::from_secret(&SecretArray::random()?);
/// let options = Options { cipher: Cipher::ChaCha20Poly1305, ..Options::default() };
/// let sealed = stream::seal(&key, "log", b"", options, b"entries")?;
/// assert_eq!(sealed[5], 2); // the stream names it, so an opener need not know
/// assert_eq!(stream::open(&key, "log", b"", &sealed)?.expose(), b"entries");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Cipher {
    /// AES-256-GCM (NIST SP 800-38D): fastest where the processor has AES instructions.
    Aes256Gcm,
    /// ChaCha20-Poly1305 (RFC 8439): constant-time everywhere.
    ChaCha20Poly1305,
}

impl Cipher {
    /// The one that suits this processor.
    ///
    /// ```
    /// use sealmoot_crypto::stream::{Cipher, Options};
    /// assert_eq!(Options::default().cipher, Cipher::for_this_processor());
    /// ```
    #[must_use]
    pub fn for_this_processor() -> Self {
        if backend::has_aes_instructions() {
            Self::Aes256Gcm
        } else {
            Self::ChaCha20Poly1305
        }
    }

    pub(super) fn backend_cipher(self) -> BackendCipher {
        match self {
            Self::Aes256Gcm => BackendCipher::Aes256Gcm,
            Self::ChaCha20Poly1305 => BackendCipher::ChaCha20Poly1305,
        }
    }

    fn number(self) -> u8 {
        match self {
            Self::Aes256Gcm => 1,
            Self::ChaCha20Poly1305 => 2,
        }
    }

    fn from_number(number: u8) -> Option<Self> {
        match number {
            1 => Some(Self::Aes256Gcm),
            2 => Some(Self::ChaCha20Poly1305),
            _ => None,
        }
    }
}

/// How many bytes of plaintext a chunk holds: a power of two from 4 KiB to 1 MiB.
///
/// A reader needs memory for one chunk, and reads and checks one to get at any byte
/// of it.
///
/// ```
/// use sealmoot_crypto::stream::{ChunkSize, sealed_length};
/// assert_eq!((ChunkSize::MIN.bytes(), ChunkSize::MAX.bytes()), (4096, 1 << 20));
/// // What a tag a chunk costs, for a mebibyte.
/// assert_eq!(sealed_length(1 << 20, ChunkSize::MIN), Some(71 + (1 << 20) + 256 * 16));
/// assert_eq!(sealed_length(1 << 20, ChunkSize::MAX), Some(71 + (1 << 20) + 16));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ChunkSize {
    log2: u8,
}

impl ChunkSize {
    /// 4 KiB: least memory, quickest single reads.
    pub const MIN: Self = Self { log2: 12 };
    /// 64 KiB: fits a processor's second cache, so that the cipher finds there what
    /// was read, and costs 0.02 % in tags.
    pub const DEFAULT: Self = Self { log2: 16 };
    /// 1 MiB.
    pub const MAX: Self = Self { log2: 20 };

    /// 2^`log2` bytes, for `log2` from 12 to 20.
    ///
    /// ```
    /// use sealmoot_crypto::stream::ChunkSize;
    /// assert_eq!(ChunkSize::from_log2(16), Some(ChunkSize::DEFAULT));
    /// assert_eq!(ChunkSize::from_log2(21), None);
    /// ```
    #[must_use]
    pub const fn from_log2(log2: u8) -> Option<Self> {
        if log2 < Self::MIN.log2 || log2 > Self::MAX.log2 {
            return None;
        }
        Some(Self { log2 })
    }

    /// The size in bytes.
    ///
    /// ```
    /// assert_eq!(sealmoot_crypto::stream::ChunkSize::DEFAULT.bytes(), 65_536);
    /// ```
    #[must_use]
    pub const fn bytes(self) -> usize {
        1 << self.log2
    }
}

impl Default for ChunkSize {
    fn default() -> Self {
        Self::DEFAULT
    }
}

/// What a sealer chooses; an opener reads it from the header.
///
/// ```
/// use sealmoot_crypto::{secret::SecretArray, stream::{self, ChunkSize, Options, StreamKey}};
/// let key = StreamKey::from_secret(&SecretArray::random()?);
/// let small_chunks = Options { chunk_size: ChunkSize::MIN, ..Options::default() };
/// let sealed = stream::seal(&key, "index", b"", small_chunks, &[7; 8192])?;
/// assert_eq!(sealed.len(), 71 + 2 * (4096 + 16));
/// assert_eq!(stream::open(&key, "index", b"", &sealed)?.len(), 8192);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Options {
    /// How many bytes a chunk holds.
    pub chunk_size: ChunkSize,
    /// The cipher.
    pub cipher: Cipher,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            chunk_size: ChunkSize::DEFAULT,
            cipher: Cipher::for_this_processor(),
        }
    }
}

/// A header without its commitment.
pub(super) fn encode(options: Options, salt: &[u8; 32]) -> [u8; HEADER_LENGTH] {
    let mut header = [0u8; HEADER_LENGTH];
    header[..4].copy_from_slice(MAGIC);
    header[4] = VERSION;
    header[5] = options.cipher.number();
    header[6] = options.chunk_size.log2;
    header[SALT_AT..COMMITMENT_AT].copy_from_slice(salt);
    header
}

/// What a header says, before anything about it is believed.
pub(super) fn decode(header: &[u8; HEADER_LENGTH]) -> Result<Options, StreamOpenError> {
    if &header[..4] != MAGIC {
        return Err(StreamOpenError::NotAStream);
    }
    if header[4] != VERSION {
        return Err(StreamOpenError::UnknownVersion(header[4]));
    }
    let cipher = Cipher::from_number(header[5]).ok_or(StreamOpenError::UnknownCipher(header[5]))?;
    let chunk_size =
        ChunkSize::from_log2(header[6]).ok_or(StreamOpenError::UnknownChunkSize(header[6]))?;
    Ok(Options { chunk_size, cipher })
}

/// The header at the beginning of a stream, and the rest.
pub(super) fn split(sealed: &[u8]) -> Result<(&[u8; HEADER_LENGTH], &[u8]), StreamOpenError> {
    sealed.split_first_chunk().ok_or_else(|| short(sealed))
}

/// What is wrong with bytes that are too few for a header.
pub(super) fn short(bytes: &[u8]) -> StreamOpenError {
    if MAGIC.starts_with(&bytes[..bytes.len().min(MAGIC.len())]) {
        StreamOpenError::Truncated
    } else {
        StreamOpenError::NotAStream
    }
}
