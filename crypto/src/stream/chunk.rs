//! The two machines: chunks in, chunks out, no input or output of their own.

use core::fmt;

use super::header::{self, COMMITMENT_AT, ChunkSize, HEADER_LENGTH, Options};
use super::{CHUNKS_MAX, StreamKey, StreamOpenError, StreamSealError, TAG_LENGTH};
use crate::backend::aead::{AeadKey, NONCE_LENGTH};
use crate::random::{self, RandomError};
use crate::secret::constant_time_equal;

/// Seals chunk after chunk in place.
///
/// ```
/// use sealmoot_crypto::{secret::SecretArray, stream::{self, Options, Sealer, StreamKey}};
/// let key = StreamKey::from_secret(&SecretArray::random()?);
/// let (mut sealer, header) = Sealer::new(&key, "log", b"", Options::default())?;
/// let mut chunk = *b"the only chunk";
/// let tag = sealer.seal_chunk(&mut chunk, true)?;
///
/// let sealed = [&header[..], &chunk, &tag].concat();
/// assert_eq!(stream::open(&key, "log", b"", &sealed)?.expose(), b"the only chunk");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Sealer {
    key: AeadKey,
    chunk_size: ChunkSize,
    /// The number of the next chunk; no number is used twice.
    next: u64,
    ended: bool,
}

impl Sealer {
    /// Begins a stream; the header is to be stored before its chunks.
    ///
    /// # Errors
    /// When no salt can be drawn.
    pub fn new(
        key: &StreamKey,
        context: &str,
        associated_data: &[u8],
        options: Options,
    ) -> Result<(Self, [u8; HEADER_LENGTH]), RandomError> {
        let mut header = header::encode(options, &random::array()?);
        let commitment = key.commit(&header[..COMMITMENT_AT], context, associated_data);
        header[COMMITMENT_AT..].copy_from_slice(&commitment);
        let sealer = Self {
            key: key.chunk_key(options.cipher, &header),
            chunk_size: options.chunk_size,
            next: 0,
            ended: false,
        };
        Ok((sealer, header))
    }

    /// How many bytes of plaintext every chunk but the last has.
    #[must_use]
    pub fn chunk_size(&self) -> usize {
        self.chunk_size.bytes()
    }

    /// Encrypts the next chunk in place and returns the tag that is to be stored
    /// behind it.
    ///
    /// # Errors
    /// [`StreamSealError`]; the chunk is then still plain and the stream as before.
    pub fn seal_chunk(
        &mut self,
        chunk: &mut [u8],
        last: bool,
    ) -> Result<[u8; TAG_LENGTH], StreamSealError> {
        if self.ended {
            return Err(StreamSealError::Ended);
        }
        let full = self.chunk_size.bytes();
        let fits = if last {
            chunk.len() <= full && (!chunk.is_empty() || self.next == 0)
        } else {
            chunk.len() == full
        };
        if !fits {
            return Err(StreamSealError::ChunkLength);
        }
        if self.next >= CHUNKS_MAX {
            return Err(StreamSealError::TooLong);
        }
        let tag = self
            .key
            .seal(&nonce(self.next, last), &[], chunk)
            .map_err(|_| StreamSealError::TooLong)?;
        self.next += 1;
        self.ended = last;
        Ok(tag)
    }

    #[cfg(test)]
    pub(super) fn skip_to(&mut self, index: u64) {
        self.next = index;
    }
}

impl fmt::Debug for Sealer {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Sealer(chunk {}, redacted)", self.next)
    }
}

/// Opens chunk after chunk in place; after one refusal it refuses all.
///
/// ```
/// use sealmoot_crypto::{secret::SecretArray, stream::{self, Opener, Options, StreamKey}};
/// let key = StreamKey::from_secret(&SecretArray::random()?);
/// let sealed = stream::seal(&key, "log", b"", Options::default(), b"the only chunk")?;
///
/// let (header, chunk) = sealed.split_first_chunk().expect("long enough");
/// let mut opener = Opener::new(&key, "log", b"", header)?;
/// assert_eq!(opener.open_chunk(&mut chunk.to_vec(), true)?, b"the only chunk");
/// opener.finish()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Opener {
    key: AeadKey,
    chunk_size: ChunkSize,
    next: u64,
    ended: bool,
    failed: Option<StreamOpenError>,
}

impl Opener {
    /// Begins a stream with its header, of which the commitment is checked.
    ///
    /// # Errors
    /// [`StreamOpenError`].
    pub fn new(
        key: &StreamKey,
        context: &str,
        associated_data: &[u8],
        header: &[u8; HEADER_LENGTH],
    ) -> Result<Self, StreamOpenError> {
        let options = header::decode(header)?;
        let commitment = key.commit(&header[..COMMITMENT_AT], context, associated_data);
        if !constant_time_equal(&commitment, &header[COMMITMENT_AT..]) {
            return Err(StreamOpenError::Closed);
        }
        Ok(Self {
            key: key.chunk_key(options.cipher, header),
            chunk_size: options.chunk_size,
            next: 0,
            ended: false,
            failed: None,
        })
    }

    /// How many bytes of plaintext every chunk but the last has.
    #[must_use]
    pub fn chunk_size(&self) -> usize {
        self.chunk_size.bytes()
    }

    /// How many bytes every chunk but the last has with its tag.
    #[must_use]
    pub fn sealed_chunk_size(&self) -> usize {
        self.chunk_size.bytes() + TAG_LENGTH
    }

    /// Opens the next chunk, ciphertext and then tag, in place and returns its
    /// plaintext. `last` is whether the stream ends with it, which the caller sees by
    /// nothing following.
    ///
    /// # Errors
    /// [`StreamOpenError`]; `chunk` is then all zeros, and every further chunk is
    /// refused.
    pub fn open_chunk<'a>(
        &mut self,
        chunk: &'a mut [u8],
        last: bool,
    ) -> Result<&'a mut [u8], StreamOpenError> {
        match self.open_next(chunk, last) {
            Ok(length) => Ok(&mut chunk[..length]),
            Err(error) => {
                chunk.fill(0);
                self.failed = Some(error);
                Err(error)
            }
        }
    }

    /// Ends the stream: whether its last chunk was opened.
    ///
    /// # Errors
    /// [`StreamOpenError::Truncated`], or what was refused before.
    pub fn finish(self) -> Result<(), StreamOpenError> {
        match self.failed {
            Some(error) => Err(error),
            None if self.ended => Ok(()),
            None => Err(StreamOpenError::Truncated),
        }
    }

    fn open_next(&mut self, chunk: &mut [u8], last: bool) -> Result<usize, StreamOpenError> {
        if let Some(error) = self.failed {
            return Err(error);
        }
        if self.ended {
            return Err(StreamOpenError::Trailing);
        }
        let length = self.open_at(self.next, chunk, last)?;
        self.next += 1;
        self.ended = last;
        Ok(length)
    }

    /// Opens chunk `index` in place: the length of its plaintext.
    pub(super) fn open_at(
        &self,
        index: u64,
        chunk: &mut [u8],
        last: bool,
    ) -> Result<usize, StreamOpenError> {
        if index >= CHUNKS_MAX {
            return Err(StreamOpenError::TooLong);
        }
        let length = chunk
            .len()
            .checked_sub(TAG_LENGTH)
            .ok_or(StreamOpenError::Truncated)?;
        let full = self.chunk_size.bytes();
        // One message has one stream: chunks are filled, and none is empty but
        // the one of an empty stream.
        if length > full {
            return Err(StreamOpenError::Trailing);
        }
        if (length < full && !last) || (length == 0 && index > 0) {
            return Err(StreamOpenError::Truncated);
        }
        let text = self
            .key
            .open(&nonce(index, last), &[], chunk)
            .map_err(|_| StreamOpenError::Closed)?;
        Ok(text.len())
    }

    #[cfg(test)]
    pub(super) fn skip_to(&mut self, index: u64) {
        self.next = index;
    }
}

impl fmt::Debug for Opener {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Opener(chunk {}, redacted)", self.next)
    }
}

/// 88 bits of the chunk's number, big-endian, then whether it is the last.
fn nonce(index: u64, last: bool) -> [u8; NONCE_LENGTH] {
    let mut nonce = [0u8; NONCE_LENGTH];
    nonce[3..11].copy_from_slice(&index.to_be_bytes());
    nonce[11] = u8::from(last);
    nonce
}
