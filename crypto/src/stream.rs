//! Long messages sealed in chunks: bounded memory, seek, nothing released unchecked.
//!
//! The construction is STREAM (Hoang, Reyhanitabar, Rogaway, Vizár, "Online
//! Authenticated-Encryption and its Nonce-Reuse Misuse-Resistance", CRYPTO 2015):
//! a message is cut into chunks, and each is sealed under a nonce that holds its
//! number and whether it is the last. A chunk left out, doubled, moved, taken from
//! another stream or added after the end does not open, and none of its bytes is
//! released.
//!
//! ```text
//! offset length
//!      0      4  "SMST"
//!      4      1  version, 1
//!      5      1  cipher: 1 AES-256-GCM, 2 ChaCha20-Poly1305
//!      6      1  binary logarithm of the chunk size s in bytes, 12 to 20
//!      7     32  salt, random
//!     39     32  commitment: HMAC-SHA-256 by the commitment key over
//!                bytes 0..39, length (u64, little-endian) and bytes of the
//!                context, the associated data to its end
//!     71         chunks: ciphertext of s bytes (the last: 1 to s; 0 only when
//!                the stream is empty), tag of 16 bytes
//! ```
//!
//! The commitment key is `HKDF(secret, "stream commitment")`, the chunks' key
//! `HKDF(secret, "stream chunks", bytes 0..71)`, so every stream has a key of its
//! own and chunk nonces may count from zero: number (88 bits, big-endian), then 1
//! in the last chunk and 0 in all others. The commitment is compared first, in
//! constant time: a stream opens under one secret, one context and one associated
//! data, or a collision of HMAC-SHA-256 was found.
//!
//! | To seal or open | use |
//! |---|---|
//! | bytes at hand | [`seal`], [`open`] |
//! | from a reader to a writer (`std`) | `seal_all`, `open_all` |
//! | what is written bit by bit, what is read bit by bit (`std`) | `SealWriter`, `OpenReader` |
//! | parts of a long stream (`std`) | `OpenSeekReader` |
//! | by input and output of your own | [`Sealer`], [`Opener`] |
//!
//! What opened is authentic as far as it goes. Whoever acts on the beginning of a
//! stream before its end was checked acts on what may turn out to be cut off.
//!
//! ```
//! use sealmoot_crypto::{secret::SecretArray, stream::{self, Options, StreamKey, StreamOpenError}};
//! let key = StreamKey::from_secret(&SecretArray::random()?);
//! let video = vec![7; 200_000]; // four chunks
//! let sealed = stream::seal(&key, "video", b"holiday", Options::default(), &video)?;
//! assert_eq!(stream::open(&key, "video", b"holiday", &sealed)?.expose(), video);
//! // Cut off exactly between two chunks.
//! let cut_off = &sealed[..stream::HEADER_LENGTH + 65_536 + stream::TAG_LENGTH];
//! let refused = stream::open(&key, "video", b"holiday", cut_off).err();
//! assert_eq!(refused, Some(StreamOpenError::Closed));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod chunk;
#[cfg(feature = "std")]
mod copy;
mod header;
#[cfg(feature = "std")]
mod read;
#[cfg(feature = "std")]
mod seek;
#[cfg(test)]
mod tests;
#[cfg(feature = "std")]
mod write;

use alloc::vec::Vec;

use core::fmt;

use crate::backend::Backend;
use crate::backend::aead::AeadKey;
use crate::digest::MacKey;
use crate::kdf;
use crate::random::RandomError;
use crate::secret::{SecretArray, SecretBytes};

pub use chunk::{Opener, Sealer};
#[cfg(feature = "std")]
pub use copy::{CHUNKS_IN_MEMORY, Progress, open_all, seal_all};
pub use header::{ChunkSize, Cipher, HEADER_LENGTH, Options};
#[cfg(feature = "std")]
pub use read::OpenReader;
#[cfg(feature = "std")]
pub use seek::OpenSeekReader;
#[cfg(feature = "std")]
pub use write::SealWriter;

/// Length of the tag that ends a chunk, in bytes.
pub const TAG_LENGTH: usize = crate::backend::aead::TAG_LENGTH;

/// Most chunks in one stream, 2^32. With the longest chunks that is 2^48 blocks
/// under one AES key, where an attacker's advantage against AES-GCM is still about
/// 2^-33 (the PRP/PRF bound); it also keeps every offset far below 2^64.
pub const CHUNKS_MAX: u64 = 1 << 32;

/// Why a chunk was not sealed.
///
/// ```
/// use sealmoot_crypto::secret::SecretArray;
/// use sealmoot_crypto::stream::{Options, Sealer, StreamKey, StreamSealError};
/// let key = StreamKey::from_secret(&SecretArray::random()?);
/// let (mut sealer, _header) = Sealer::new(&key, "log", b"", Options::default())?;
/// let not_full = sealer.seal_chunk(&mut [7; 100], false);
/// assert_eq!(not_full, Err(StreamSealError::ChunkLength));
/// sealer.seal_chunk(&mut [7; 100], true)?;
/// assert_eq!(sealer.seal_chunk(&mut [7; 100], true), Err(StreamSealError::Ended));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum StreamSealError {
    /// All chunks but the last have the stream's chunk size; the last is not
    /// longer, and empty only when it is the first as well.
    #[error("a chunk has the chunk size; only the last may be shorter, and not empty")]
    ChunkLength,
    /// The last chunk was sealed already.
    #[error("the stream has ended")]
    Ended,
    /// The stream has [`CHUNKS_MAX`] chunks.
    #[error("the stream is too long")]
    TooLong,
    /// Writing failed earlier: what was written is unknown, so nothing may follow.
    #[error("an earlier write of this stream failed")]
    FailedBefore,
}

/// Why a stream, or the next chunk of it, did not open.
///
/// ```
/// use sealmoot_crypto::{secret::SecretArray, stream::{self, Options, StreamKey, StreamOpenError}};
/// let key = StreamKey::from_secret(&SecretArray::random()?);
/// let sealed = stream::seal(&key, "log", b"", Options::default(), b"entries")?;
/// let refused = |bytes| stream::open(&key, "log", b"", bytes).err();
/// assert_eq!(refused(b"a letter"), Some(StreamOpenError::NotAStream));
/// assert_eq!(refused(&sealed[..70]), Some(StreamOpenError::Truncated));
/// let newer = [b"SMST\x02", &sealed[5..]].concat();
/// assert_eq!(refused(&newer), Some(StreamOpenError::UnknownVersion(2)));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum StreamOpenError {
    /// It does not begin with `SMST`.
    #[error("not a sealed stream")]
    NotAStream,
    /// The version is not known.
    #[error("stream version {0} is not known")]
    UnknownVersion(u8),
    /// The cipher's number is not known.
    #[error("stream cipher {0} is not known")]
    UnknownCipher(u8),
    /// The chunk size is not one of [`ChunkSize`].
    #[error("a chunk size of 2^{0} bytes is not allowed")]
    UnknownChunkSize(u8),
    /// It ends where no stream can end: in the header, or with a chunk of no bytes.
    /// A stream cut elsewhere is [`StreamOpenError::Closed`].
    #[error("the stream is cut off")]
    Truncated,
    /// Bytes follow the last chunk.
    #[error("bytes follow the end of the stream")]
    Trailing,
    /// It has more than [`CHUNKS_MAX`] chunks.
    #[error("the stream is too long")]
    TooLong,
    /// Wrong key, context or associated data, or changed, cut or added bytes.
    #[error("wrong key, or the stream was changed")]
    Closed,
    /// Reading failed earlier, and what follows cannot be told.
    #[error("an earlier read of this stream failed")]
    FailedBefore,
}

#[cfg(feature = "std")]
impl From<StreamOpenError> for std::io::Error {
    fn from(error: StreamOpenError) -> Self {
        Self::new(std::io::ErrorKind::InvalidData, error)
    }
}

#[cfg(feature = "std")]
impl From<StreamSealError> for std::io::Error {
    fn from(error: StreamSealError) -> Self {
        Self::new(std::io::ErrorKind::InvalidInput, error)
    }
}

/// A secret from which every stream sealed under it gets a key of its own.
///
/// ```
/// use sealmoot_crypto::{secret::SecretArray, stream::{self, Options, StreamKey}};
/// let key = StreamKey::from_secret(&SecretArray::random()?);
/// let seal = |day: &[u8]| stream::seal(&key, "log", day, Options::default(), b"entries");
/// let (monday, tuesday) = (seal(b"monday")?, seal(b"tuesday")?);
/// assert_eq!(stream::open(&key, "log", b"monday", &monday)?.expose(), b"entries");
/// assert!(stream::open(&key, "log", b"monday", &tuesday).is_err());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct StreamKey {
    backend: Backend,
    secret: SecretArray<32>,
    commitment: MacKey,
}

impl StreamKey {
    /// The stream key with these 32 bytes, computed by the default backend.
    ///
    /// ```
    /// use sealmoot_crypto::{secret::SecretArray, stream::{self, Options, StreamKey}};
    /// let key = StreamKey::from_secret(&SecretArray::random()?);
    /// let sealed = stream::seal(&key, "log", b"day 7", Options::default(), b"entries")?;
    /// assert_eq!(stream::open(&key, "log", b"day 7", &sealed)?.expose(), b"entries");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn from_secret(secret: &SecretArray<32>) -> Self {
        Self::from_secret_on(Backend::default(), secret)
    }

    /// The stream key with these 32 bytes, computed by `backend`; streams are the
    /// same under every backend.
    ///
    /// ```
    /// use sealmoot_crypto::backend::Backend;
    /// use sealmoot_crypto::{secret::SecretArray, stream::{self, Options, StreamKey}};
    /// let secret = SecretArray::random()?;
    /// let key = StreamKey::from_secret(&secret);
    /// let sealed = stream::seal(&key, "log", b"", Options::default(), b"entries")?;
    /// for backend in Backend::ALL {
    ///     let key = StreamKey::from_secret_on(*backend, &secret);
    ///     assert_eq!(stream::open(&key, "log", b"", &sealed)?.expose(), b"entries");
    /// }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn from_secret_on(backend: Backend, secret: &SecretArray<32>) -> Self {
        let commitment = kdf::derive(secret.expose(), "stream commitment", &[]);
        Self {
            backend,
            secret: SecretArray::copy_of(secret.expose()),
            commitment: MacKey::from_secret_on(backend, &commitment),
        }
    }

    fn commit(&self, prefix: &[u8], context: &str, associated_data: &[u8]) -> [u8; 32] {
        self.commitment.tag(&[
            prefix,
            &(context.len() as u64).to_le_bytes(),
            context.as_bytes(),
            associated_data,
        ])
    }

    /// The key of one stream. All of its header goes in, the commitment too, so
    /// that a chunk depends on context and associated data by itself.
    fn chunk_key(&self, cipher: Cipher, header: &[u8; HEADER_LENGTH]) -> AeadKey {
        let key = kdf::derive(self.secret.expose(), "stream chunks", header);
        AeadKey::new(self.backend, cipher.backend_cipher(), key.expose())
    }
}

impl fmt::Debug for StreamKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("StreamKey(redacted)")
    }
}

/// Length of a stream in bytes, `71 + length + 16 * max(1, ceil(length / s))` for
/// chunks of `s` bytes; `None` when it would need more than [`CHUNKS_MAX`] chunks.
///
/// ```
/// use sealmoot_crypto::stream::{ChunkSize, sealed_length};
/// assert_eq!(sealed_length(0, ChunkSize::DEFAULT), Some(71 + 16));
/// assert_eq!(sealed_length(65_537, ChunkSize::DEFAULT), Some(71 + 65_537 + 2 * 16));
/// assert_eq!(sealed_length(u64::MAX, ChunkSize::DEFAULT), None);
/// ```
#[must_use]
pub fn sealed_length(length: u64, chunk_size: ChunkSize) -> Option<u64> {
    let chunks = length.div_ceil(chunk_size.bytes() as u64).max(1);
    (chunks <= CHUNKS_MAX).then(|| HEADER_LENGTH as u64 + length + chunks * TAG_LENGTH as u64)
}

/// Why bytes were not sealed as a stream.
///
/// ```
/// use sealmoot_crypto::stream::{SealError, StreamSealError};
/// // The random source may work again; a plaintext does not get shorter.
/// fn retry_helps(error: &SealError) -> bool {
///     matches!(error, SealError::Random(_))
/// }
/// assert!(!retry_helps(&SealError::Stream(StreamSealError::TooLong)));
/// ```
#[derive(Debug, thiserror::Error)]
pub enum SealError {
    /// No salt could be drawn.
    #[error(transparent)]
    Random(#[from] RandomError),
    /// The plaintext is too long for one stream.
    #[error(transparent)]
    Stream(#[from] StreamSealError),
}

/// A whole stream of `plaintext`, bound to `context` (what it is, fixed in the
/// program) and `associated_data` (which one it is).
///
/// # Errors
/// [`SealError`].
///
/// ```
/// use sealmoot_crypto::{secret::SecretArray, stream::{self, Options, StreamKey}};
/// let key = StreamKey::from_secret(&SecretArray::random()?);
/// let sealed = stream::seal(&key, "photo", b"IMG_7", Options::default(), b"pixels")?;
/// assert!(stream::open(&key, "photo", b"IMG_8", &sealed).is_err());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn seal(
    key: &StreamKey,
    context: &str,
    associated_data: &[u8],
    options: Options,
    plaintext: &[u8],
) -> Result<Vec<u8>, SealError> {
    let mut sealed = Vec::new();
    seal_onto(
        &mut sealed,
        key,
        context,
        associated_data,
        options,
        plaintext,
    )?;
    Ok(sealed)
}

/// Appends a whole stream to what `sealed` holds already.
pub(crate) fn seal_onto(
    sealed: &mut Vec<u8>,
    key: &StreamKey,
    context: &str,
    associated_data: &[u8],
    options: Options,
    plaintext: &[u8],
) -> Result<(), SealError> {
    let total = sealed_length(plaintext.len() as u64, options.chunk_size)
        .and_then(|total| usize::try_from(total).ok())
        .ok_or(StreamSealError::TooLong)?;
    let (mut sealer, header) = Sealer::new(key, context, associated_data, options)?;
    sealed.reserve_exact(total);
    sealed.extend_from_slice(&header);
    let mut rest = plaintext;
    loop {
        let (text, after) = rest.split_at(rest.len().min(sealer.chunk_size()));
        let start = sealed.len();
        sealed.extend_from_slice(text);
        let tag = sealer.seal_chunk(&mut sealed[start..], after.is_empty())?;
        sealed.extend_from_slice(&tag);
        rest = after;
        if rest.is_empty() {
            return Ok(());
        }
    }
}

/// Opens a whole stream that was made for the same context and associated data:
/// all of it, or nothing.
///
/// # Errors
/// [`StreamOpenError`].
///
/// ```
/// use sealmoot_crypto::{secret::SecretArray, stream::{self, Options, StreamKey, StreamOpenError}};
/// let key = StreamKey::from_secret(&SecretArray::random()?);
/// let sealed = stream::seal(&key, "photo", b"IMG_7", Options::default(), b"pixels")?;
/// let refused = stream::open(&key, "photo", b"IMG_7", &sealed[..sealed.len() - 1]);
/// assert!(matches!(refused, Err(StreamOpenError::Closed)));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn open(
    key: &StreamKey,
    context: &str,
    associated_data: &[u8],
    sealed: &[u8],
) -> Result<SecretBytes, StreamOpenError> {
    let (header, body) = header::split(sealed)?;
    let mut opener = Opener::new(key, context, associated_data, header)?;
    // No longer than what the caller holds already, and one allocation, so that no
    // half-grown copy of the plaintext is left behind.
    let mut text = Vec::with_capacity(body.len());
    let outcome = open_chunks(&mut opener, body, &mut text);
    // Wiped also when it ends with an error.
    let text = SecretBytes::new(text);
    outcome.map(|()| text)
}

fn open_chunks(
    opener: &mut Opener,
    body: &[u8],
    text: &mut Vec<u8>,
) -> Result<(), StreamOpenError> {
    let mut rest = body;
    loop {
        let (chunk, after) = rest.split_at(rest.len().min(opener.sealed_chunk_size()));
        let start = text.len();
        text.extend_from_slice(chunk);
        let length = opener
            .open_chunk(&mut text[start..], after.is_empty())?
            .len();
        text.truncate(start + length);
        rest = after;
        if rest.is_empty() {
            return Ok(());
        }
    }
}
