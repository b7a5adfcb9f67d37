//! Opening what is read.

use std::io::{self, BufRead, Read};

use core::fmt;
use core::ops::Range;

use super::copy::{ChunkSource, read_header};
use super::{Opener, StreamKey, StreamOpenError};

/// Opens a stream while it is read from `R`; gives only bytes that were checked.
///
/// A stream ends where `R` ends. Only when a read has returned 0 is it known that
/// nothing was cut off. After an error all reads fail. `R` is expected to block.
///
/// ```
/// use std::io::Read;
/// use sealmoot_crypto::{secret::SecretArray, stream::{self, OpenReader, Options, StreamKey}};
/// let key = StreamKey::from_secret(&SecretArray::random()?);
/// let sealed = stream::seal(&key, "log", b"", Options::default(), b"entries")?;
/// let mut text = String::new();
/// OpenReader::new(&key, "log", b"", &sealed[..])?.read_to_string(&mut text)?;
/// assert_eq!(text, "entries");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct OpenReader<R: Read> {
    reader: R,
    opener: Opener,
    source: ChunkSource,
    /// Where in the source's buffer plaintext stands that was not given out yet.
    ready: Range<usize>,
    ended: bool,
    failed: Option<StreamOpenError>,
}

impl<R: Read> OpenReader<R> {
    /// Reads the header and checks its commitment.
    ///
    /// # Errors
    /// Those of the reader; a header that is refused as
    /// [`io::ErrorKind::InvalidData`] with [`StreamOpenError`] inside.
    pub fn new(
        key: &StreamKey,
        context: &str,
        associated_data: &[u8],
        mut reader: R,
    ) -> io::Result<Self> {
        let header = read_header(&mut reader)?;
        let opener = Opener::new(key, context, associated_data, &header)?;
        // Only now: a header that is not authentic is worth no memory.
        let source = ChunkSource::new(opener.sealed_chunk_size());
        Ok(Self {
            reader,
            opener,
            source,
            ready: 0..0,
            ended: false,
            failed: None,
        })
    }

    fn next_chunk(&mut self) -> io::Result<()> {
        if let Some(error) = self.failed {
            return Err(error.into());
        }
        // Until it is known what to say: after a failed read the place is lost.
        self.failed = Some(StreamOpenError::FailedBefore);
        let (length, last) = self.source.fill(&mut self.reader)?;
        let chunk = &mut self.source.buffer.expose_mut()[..length];
        match self.opener.open_chunk(chunk, last) {
            Ok(text) => {
                self.ready = 0..text.len();
                self.ended = last;
                self.failed = None;
                Ok(())
            }
            Err(error) => {
                self.failed = Some(error);
                Err(error.into())
            }
        }
    }
}

impl<R: Read> Read for OpenReader<R> {
    fn read(&mut self, room: &mut [u8]) -> io::Result<usize> {
        if room.is_empty() {
            return Ok(0);
        }
        let ready = self.fill_buf()?;
        let count = ready.len().min(room.len());
        room[..count].copy_from_slice(&ready[..count]);
        self.consume(count);
        Ok(count)
    }
}

impl<R: Read> BufRead for OpenReader<R> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.ready.is_empty() && !self.ended {
            self.next_chunk()?;
        }
        Ok(&self.source.buffer.expose()[self.ready.clone()])
    }

    fn consume(&mut self, count: usize) {
        self.ready.start = self.ready.end.min(self.ready.start + count);
    }
}

impl<R: Read> fmt::Debug for OpenReader<R> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "OpenReader({:?})", self.opener)
    }
}
