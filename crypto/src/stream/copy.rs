//! From a reader to a writer, in place and in bounded memory.

use std::io::{self, ErrorKind, Read, Write};

use super::{
    HEADER_LENGTH, Opener, Options, Sealer, StreamKey, StreamOpenError, TAG_LENGTH, header,
};
use crate::secret::SecretBytes;

/// How many chunks are held in memory at once, whatever the length of the stream.
pub const CHUNKS_IN_MEMORY: usize = 1;

/// How far [`seal_all`] or [`open_all`] has come.
///
/// ```
/// use sealmoot_crypto::{secret::SecretArray, stream::{self, Options, StreamKey}};
/// let key = StreamKey::from_secret(&SecretArray::random()?);
/// let (input, mut percent) = ([7; 100_000], Vec::new());
/// let input = (&input[..], Some(100_000));
/// stream::seal_all(&key, "file", b"", Options::default(), input, Vec::new(), |progress| {
///     percent.extend(progress.bytes_total.map(|total| progress.bytes_done * 100 / total));
/// })?;
/// assert_eq!(percent, [65, 100]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// Bytes of plaintext done.
    pub bytes_done: u64,
    /// What the caller said that there are in all.
    pub bytes_total: Option<u64>,
}

/// Seals all that `reader` gives into a stream in `writer`, and returns how many
/// bytes of plaintext there were. `progress` is called after every chunk; for its
/// sake only, `bytes_total` says how many bytes of plaintext are expected.
///
/// # Errors
/// Those of the reader, of the writer and of the random source. What was written
/// until then does not open.
///
/// ```
/// use sealmoot_crypto::{secret::SecretArray, stream::{self, Options, StreamKey}};
/// let key = StreamKey::from_secret(&SecretArray::random()?);
/// let (mut sealed, mut opened) = (Vec::new(), Vec::new());
/// let input = (&b"text"[..], Some(4));
/// stream::seal_all(&key, "file", b"", Options::default(), input, &mut sealed, |_| {})?;
/// let input = (&sealed[..], None);
/// let length = stream::open_all(&key, "file", b"", input, &mut opened, |_| {})?;
/// assert_eq!((length, &opened[..]), (4, &b"text"[..]));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn seal_all<R: Read, W: Write>(
    key: &StreamKey,
    context: &str,
    associated_data: &[u8],
    options: Options,
    (mut reader, bytes_total): (R, Option<u64>),
    mut writer: W,
    mut progress: impl FnMut(Progress),
) -> io::Result<u64> {
    let (mut sealer, header) =
        Sealer::new(key, context, associated_data, options).map_err(io::Error::other)?;
    writer.write_all(&header)?;
    let mut source = ChunkSource::new(sealer.chunk_size());
    let mut bytes_done = 0;
    loop {
        let (length, last) = source.fill(&mut reader)?;
        let chunk = source.buffer.expose_mut();
        let tag = sealer.seal_chunk(&mut chunk[..length], last)?;
        chunk[length..length + TAG_LENGTH].copy_from_slice(&tag);
        writer.write_all(&chunk[..length + TAG_LENGTH])?;
        bytes_done += length as u64;
        progress(Progress {
            bytes_done,
            bytes_total,
        });
        if last {
            writer.flush()?;
            return Ok(bytes_done);
        }
    }
}

/// Opens the stream that `reader` gives up to its end and writes the plaintext to
/// `writer`, each chunk after it was checked; returns how many bytes there were.
///
/// # Errors
/// Those of the reader and of the writer; a stream that is refused as
/// [`ErrorKind::InvalidData`] with [`StreamOpenError`] inside. What was written until
/// then is authentic, but the rest is missing: throw it away.
///
/// ```
/// use sealmoot_crypto::{secret::SecretArray, stream::{self, Options, StreamKey, StreamOpenError}};
/// let key = StreamKey::from_secret(&SecretArray::random()?);
/// let sealed = stream::seal(&key, "file", b"", Options::default(), b"text")?;
/// let input = (&sealed[..sealed.len() - 1], None);
/// let error = stream::open_all(&key, "file", b"", input, Vec::new(), |_| {}).unwrap_err();
/// let refusal = error.get_ref().and_then(|inner| inner.downcast_ref());
/// assert_eq!(refusal, Some(&StreamOpenError::Closed));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn open_all<R: Read, W: Write>(
    key: &StreamKey,
    context: &str,
    associated_data: &[u8],
    (mut reader, bytes_total): (R, Option<u64>),
    mut writer: W,
    mut progress: impl FnMut(Progress),
) -> io::Result<u64> {
    let header = read_header(&mut reader)?;
    let mut opener = Opener::new(key, context, associated_data, &header)?;
    let mut source = ChunkSource::new(opener.sealed_chunk_size());
    let mut bytes_done = 0;
    loop {
        let (length, last) = source.fill(&mut reader)?;
        let chunk = &mut source.buffer.expose_mut()[..length];
        let text = opener.open_chunk(chunk, last)?;
        writer.write_all(text)?;
        bytes_done += text.len() as u64;
        progress(Progress {
            bytes_done,
            bytes_total,
        });
        if last {
            writer.flush()?;
            return Ok(bytes_done);
        }
    }
}

/// Cuts what a reader gives into chunks, and knows of each whether it is the last:
/// by reading one byte further.
pub(super) struct ChunkSource {
    /// A chunk, and behind it room for the byte read too far or for a tag.
    pub(super) buffer: SecretBytes,
    full: usize,
    read_too_far: Option<u8>,
}

impl ChunkSource {
    pub(super) fn new(full: usize) -> Self {
        Self {
            buffer: SecretBytes::new(vec![0; full + TAG_LENGTH]),
            full,
            read_too_far: None,
        }
    }

    /// Reads the next chunk to the beginning of the buffer: its length, which is
    /// `full` unless it is the last, and whether it is the last.
    pub(super) fn fill(&mut self, reader: &mut impl Read) -> io::Result<(usize, bool)> {
        let room = &mut self.buffer.expose_mut()[..=self.full];
        let mut filled = 0;
        if let Some(byte) = self.read_too_far.take() {
            room[0] = byte;
            filled = 1;
        }
        filled += read_up_to(reader, &mut room[filled..])?;
        if filled > self.full {
            self.read_too_far = Some(room[self.full]);
            return Ok((self.full, false));
        }
        Ok((filled, true))
    }
}

/// Fills `room`, or less when the reader ends before.
pub(super) fn read_up_to(reader: &mut impl Read, room: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while filled < room.len() {
        match reader.read(&mut room[filled..]) {
            Ok(0) => break,
            Ok(count) => filled += count,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

pub(super) fn read_header(reader: &mut impl Read) -> io::Result<[u8; HEADER_LENGTH]> {
    let mut bytes = [0u8; HEADER_LENGTH];
    let filled = read_up_to(reader, &mut bytes)?;
    if filled < HEADER_LENGTH {
        let error: StreamOpenError = header::short(&bytes[..filled]);
        return Err(error.into());
    }
    Ok(bytes)
}
