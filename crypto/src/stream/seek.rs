//! Reading parts of a stream.

use std::io::{self, ErrorKind, Read, Seek, SeekFrom};

use core::fmt;

use super::copy::{read_header, read_up_to};
use super::{CHUNKS_MAX, Opener, StreamKey, StreamOpenError, TAG_LENGTH};
use crate::secret::SecretBytes;

/// Opens those chunks of a stream that are read.
///
/// The last chunk is opened at the beginning, so the length is known to be true:
/// its number and its being the last are authentic. A chunk is checked whenever it
/// is read, also when it was read before. After an error all reads fail.
///
/// ```
/// use std::io::{Cursor, Read, Seek, SeekFrom};
/// use sealmoot_crypto::{secret::SecretArray, stream::{self, OpenSeekReader, Options, StreamKey}};
/// let key = StreamKey::from_secret(&SecretArray::random()?);
/// let sealed = stream::seal(&key, "log", b"", Options::default(), &[7; 200_000])?;
/// let mut reader = OpenSeekReader::new(&key, "log", b"", Cursor::new(sealed))?;
/// assert_eq!(reader.length(), 200_000);
/// reader.seek(SeekFrom::End(-3))?;
/// let mut end = Vec::new();
/// reader.read_to_end(&mut end)?;
/// assert_eq!(end, [7; 3]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct OpenSeekReader<R: Read + Seek> {
    reader: R,
    opener: Opener,
    /// Where the first chunk begins in `reader`.
    first_chunk_at: u64,
    /// Length of the plaintext.
    length: u64,
    chunks: u64,
    position: u64,
    buffer: SecretBytes,
    /// The chunk whose plaintext the buffer holds, and its length.
    held: Option<(u64, usize)>,
    failed: Option<StreamOpenError>,
}

impl<R: Read + Seek> OpenSeekReader<R> {
    /// Reads the header from where `reader` stands, and the last chunk.
    ///
    /// # Errors
    /// Those of the reader; a stream that is refused as
    /// [`ErrorKind::InvalidData`] with [`StreamOpenError`] inside.
    pub fn new(
        key: &StreamKey,
        context: &str,
        associated_data: &[u8],
        mut reader: R,
    ) -> io::Result<Self> {
        let header = read_header(&mut reader)?;
        let opener = Opener::new(key, context, associated_data, &header)?;
        let first_chunk_at = reader.stream_position()?;
        let end = reader.seek(SeekFrom::End(0))?;
        let body = end.saturating_sub(first_chunk_at);
        let chunks = body.div_ceil(opener.sealed_chunk_size() as u64).max(1);
        if chunks > CHUNKS_MAX {
            return Err(StreamOpenError::TooLong.into());
        }
        let buffer = SecretBytes::new(vec![0; opener.sealed_chunk_size()]);
        let mut this = Self {
            reader,
            opener,
            first_chunk_at,
            length: 0,
            chunks,
            position: 0,
            buffer,
            held: None,
            failed: None,
        };
        let before = (chunks - 1) * this.opener.sealed_chunk_size() as u64;
        this.length = match body.checked_sub(before + TAG_LENGTH as u64) {
            Some(last) => (chunks - 1) * this.opener.chunk_size() as u64 + last,
            None => return Err(StreamOpenError::Truncated.into()),
        };
        this.load(chunks - 1)?;
        Ok(this)
    }

    /// Length of the plaintext in bytes.
    #[must_use]
    pub fn length(&self) -> u64 {
        self.length
    }

    fn load(&mut self, index: u64) -> io::Result<usize> {
        if let Some(error) = self.failed {
            return Err(error.into());
        }
        if let Some((held, length)) = self.held
            && held == index
        {
            return Ok(length);
        }
        // Until the chunk is known to be good.
        self.held = None;
        self.failed = Some(StreamOpenError::FailedBefore);
        let outcome = self.read_chunk(index)?;
        self.failed = outcome.err();
        let length = outcome?;
        self.held = Some((index, length));
        Ok(length)
    }

    fn read_chunk(&mut self, index: u64) -> io::Result<Result<usize, StreamOpenError>> {
        let last = index == self.chunks - 1;
        let full = self.opener.chunk_size() as u64;
        let length = (self.length - index * full).min(full) as usize + TAG_LENGTH;
        let at = self.first_chunk_at + index * self.opener.sealed_chunk_size() as u64;
        self.reader.seek(SeekFrom::Start(at))?;
        let chunk = &mut self.buffer.expose_mut()[..length];
        if read_up_to(&mut self.reader, chunk)? < length {
            return Ok(Err(StreamOpenError::Truncated));
        }
        Ok(self.opener.open_at(index, chunk, last))
    }
}

impl<R: Read + Seek> Read for OpenSeekReader<R> {
    fn read(&mut self, room: &mut [u8]) -> io::Result<usize> {
        if let Some(error) = self.failed {
            return Err(error.into());
        }
        if room.is_empty() || self.position >= self.length {
            return Ok(0);
        }
        let full = self.opener.chunk_size() as u64;
        let length = self.load(self.position / full)?;
        let start = (self.position % full) as usize;
        let count = room.len().min(length - start);
        room[..count].copy_from_slice(&self.buffer.expose()[start..start + count]);
        self.position += count as u64;
        Ok(count)
    }
}

impl<R: Read + Seek> Seek for OpenSeekReader<R> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let position = match to {
            SeekFrom::Start(position) => Some(position),
            SeekFrom::End(offset) => self.length.checked_add_signed(offset),
            SeekFrom::Current(offset) => self.position.checked_add_signed(offset),
        };
        self.position = position.ok_or(ErrorKind::InvalidInput)?;
        Ok(self.position)
    }
}

impl<R: Read + Seek> fmt::Debug for OpenSeekReader<R> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            formatter,
            "OpenSeekReader({} bytes, {:?})",
            self.length, self.opener
        )
    }
}
