//! Sealing what is written.

use std::io::{self, Write};

use core::fmt;

use super::{Options, Sealer, StreamKey, StreamSealError, TAG_LENGTH};
use crate::secret::SecretBytes;

/// Seals what is written to it, and writes the stream to `W`, one write a chunk.
///
/// The stream is whole only after [`SealWriter::finish`]: dropped before, it is cut
/// off and does not open. `flush` flushes `W`; a chunk that is not full stays in
/// memory until `finish`.
///
/// ```
/// use std::io::Write;
/// use sealmoot_crypto::{secret::SecretArray, stream::{self, Options, SealWriter, StreamKey}};
/// let key = StreamKey::from_secret(&SecretArray::random()?);
/// let mut writer = SealWriter::new(&key, "log", b"", Options::default(), Vec::new())?;
/// writer.write_all(b"first entry, ")?;
/// writer.write_all(b"second entry")?;
/// let sealed = writer.finish()?;
/// let opened = stream::open(&key, "log", b"", &sealed)?;
/// assert_eq!(opened.expose(), b"first entry, second entry");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct SealWriter<W: Write> {
    writer: W,
    sealer: Sealer,
    /// A chunk and room for its tag.
    buffer: SecretBytes,
    /// How many bytes of plaintext the buffer holds. A full chunk waits until more
    /// follows, because it may be the last.
    filled: usize,
    failed: bool,
}

impl<W: Write> SealWriter<W> {
    /// Begins a stream and writes its header.
    ///
    /// # Errors
    /// When no salt can be drawn or `writer` fails.
    pub fn new(
        key: &StreamKey,
        context: &str,
        associated_data: &[u8],
        options: Options,
        mut writer: W,
    ) -> io::Result<Self> {
        let (sealer, header) =
            Sealer::new(key, context, associated_data, options).map_err(io::Error::other)?;
        writer.write_all(&header)?;
        let buffer = SecretBytes::new(vec![0; sealer.chunk_size() + TAG_LENGTH]);
        Ok(Self {
            writer,
            sealer,
            buffer,
            filled: 0,
            failed: false,
        })
    }

    /// Seals and writes the last chunk, flushes, and gives the writer back.
    ///
    /// # Errors
    /// Those of the writer; [`StreamSealError::FailedBefore`] inside when a write
    /// failed before.
    pub fn finish(mut self) -> io::Result<W> {
        self.check()?;
        self.seal(true)?;
        self.writer.flush()?;
        Ok(self.writer)
    }

    fn seal(&mut self, last: bool) -> io::Result<()> {
        // Set until it is known to have gone well: of a write that failed, any part
        // may have been written, and a chunk is not to be sealed twice.
        self.failed = true;
        let chunk = self.buffer.expose_mut();
        let tag = self.sealer.seal_chunk(&mut chunk[..self.filled], last)?;
        let end = self.filled + TAG_LENGTH;
        chunk[self.filled..end].copy_from_slice(&tag);
        self.writer.write_all(&chunk[..end])?;
        self.filled = 0;
        self.failed = false;
        Ok(())
    }

    fn check(&self) -> Result<(), StreamSealError> {
        match self.failed {
            true => Err(StreamSealError::FailedBefore),
            false => Ok(()),
        }
    }
}

impl<W: Write> Write for SealWriter<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.check()?;
        let full = self.sealer.chunk_size();
        if self.filled == full && !bytes.is_empty() {
            self.seal(false)?;
        }
        let taken = bytes.len().min(full - self.filled);
        let end = self.filled + taken;
        self.buffer.expose_mut()[self.filled..end].copy_from_slice(&bytes[..taken]);
        self.filled = end;
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.check()?;
        self.writer.flush()
    }
}

impl<W: Write> fmt::Debug for SealWriter<W> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "SealWriter({:?})", self.sealer)
    }
}
