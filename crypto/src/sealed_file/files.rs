//! Files that are too long for memory.

use std::io::{self, ErrorKind, Read, Seek, Write};

use alloc::vec::Vec;

use super::header::{self, Header, HeaderError};
use super::{CONTEXT, FileOpenError, FileSealError, Opener, Payload, Recipients, begin, unlock};
use crate::stream::{
    OpenReader, OpenSeekReader, Progress, SealWriter, StreamOpenError, open_all, seal_all,
};

/// Writes the header of a file to `writer`, and seals what is written after it. The
/// file is whole only after [`SealWriter::finish`].
///
/// # Errors
/// [`FileSealError`].
///
/// ```
/// use std::io::{Read, Write};
/// use sealmoot_crypto::keyset::Keyset;
/// use sealmoot_crypto::sealed_file::{self, Opener, Recipients};
/// let keyset = Keyset::generate()?;
/// let recipients = Recipients::new().keyset(&keyset);
/// let mut writer = sealed_file::seal_writer(&recipients, "note", Vec::new())?;
/// writer.write_all(b"text")?;
/// let sealed = writer.finish()?;
///
/// let mut reader = sealed_file::open_reader(&Opener::keyset(&keyset), "note", &sealed[..])?;
/// let mut text = String::new();
/// reader.read_to_string(&mut text)?;
/// assert_eq!(text, "text");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn seal_writer<W: Write>(
    recipients: &Recipients<'_>,
    context: &str,
    mut writer: W,
) -> Result<SealWriter<W>, FileSealError> {
    let (header, keys) = begin(Payload::Bytes, recipients, context)?;
    writer.write_all(&header)?;
    let options = recipients.options;
    Ok(SealWriter::new(
        &keys.stream,
        CONTEXT,
        &keys.mac,
        options,
        writer,
    )?)
}

/// Seals all that the reader of `input` gives into a file in `writer`; the number in
/// `input` and `progress` are as in [`seal_all`]. Returns the plaintext's length.
///
/// # Errors
/// [`FileSealError`]. What was written until then does not open.
///
/// ```
/// use sealmoot_crypto::keyset::Keyset;
/// use sealmoot_crypto::sealed_file::{self, Opener, Recipients};
/// let keyset = Keyset::generate()?;
/// let recipients = Recipients::new().keyset(&keyset);
/// let (mut sealed, mut opened) = (Vec::new(), Vec::new());
/// let input = (&b"text"[..], Some(4));
/// sealed_file::seal_stream(&recipients, "note", input, &mut sealed, |progress| {
///     assert_eq!(progress.bytes_done, 4);
/// })?;
/// let (opener, input) = (Opener::keyset(&keyset), (&sealed[..], None));
/// sealed_file::open_stream(&opener, "note", input, &mut opened, |_| {})?;
/// assert_eq!(opened, b"text");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn seal_stream<R: Read, W: Write>(
    recipients: &Recipients<'_>,
    context: &str,
    input: (R, Option<u64>),
    mut writer: W,
    progress: impl FnMut(Progress),
) -> Result<u64, FileSealError> {
    let (header, keys) = begin(Payload::Bytes, recipients, context)?;
    writer.write_all(&header)?;
    let (key, mac) = (&keys.stream, &keys.mac);
    let options = recipients.options;
    Ok(seal_all(
        key, CONTEXT, mac, options, input, writer, progress,
    )?)
}

/// Opens the file that `reader` gives while it is read, as [`OpenReader`] does.
///
/// # Errors
/// [`FileOpenError`].
///
/// ```
/// use std::io::Read;
/// use sealmoot_crypto::keyset::Keyset;
/// use sealmoot_crypto::sealed_file::{self, Opener, Recipients};
/// let keyset = Keyset::generate()?;
/// let sealed = sealed_file::seal(&Recipients::new().keyset(&keyset), "note", b"text")?;
/// let cut_off = &sealed[..sealed.len() - 1];
/// let mut reader = sealed_file::open_reader(&Opener::keyset(&keyset), "note", cut_off)?;
/// assert!(reader.read_to_end(&mut Vec::new()).is_err());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn open_reader<R: Read>(
    opener: &Opener<'_>,
    context: &str,
    mut reader: R,
) -> Result<OpenReader<R>, FileOpenError> {
    let header = read_header(&mut reader)?;
    let keys = unlock(&header, Payload::Bytes, opener, context)?;
    OpenReader::new(&keys.stream, CONTEXT, &keys.mac, reader).map_err(refused)
}

/// Opens the file that begins where `reader` stands and ends with it, for reading
/// parts of it, as [`OpenSeekReader`] does.
///
/// # Errors
/// [`FileOpenError`].
///
/// ```
/// use std::io::{Cursor, Read, Seek, SeekFrom};
/// use sealmoot_crypto::keyset::Keyset;
/// use sealmoot_crypto::sealed_file::{self, Opener, Recipients};
/// let keyset = Keyset::generate()?;
/// let sealed = sealed_file::seal(&Recipients::new().keyset(&keyset), "note", b"0123456789")?;
/// let opener = Opener::keyset(&keyset);
/// let mut reader = sealed_file::open_seekable(&opener, "note", Cursor::new(sealed))?;
/// reader.seek(SeekFrom::Start(7))?;
/// let mut end = String::new();
/// reader.read_to_string(&mut end)?;
/// assert_eq!(end, "789");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn open_seekable<R: Read + Seek>(
    opener: &Opener<'_>,
    context: &str,
    mut reader: R,
) -> Result<OpenSeekReader<R>, FileOpenError> {
    let header = read_header(&mut reader)?;
    let keys = unlock(&header, Payload::Bytes, opener, context)?;
    OpenSeekReader::new(&keys.stream, CONTEXT, &keys.mac, reader).map_err(refused)
}

/// Opens the file that the reader of `input` gives and writes its content to
/// `writer`, each chunk after it was checked. Returns the plaintext's length.
///
/// # Errors
/// [`FileOpenError`]. What was written until then is authentic, but the rest is
/// missing: throw it away.
///
/// ```
/// use sealmoot_crypto::keyset::Keyset;
/// use sealmoot_crypto::sealed_file::{self, FileOpenError, HeaderError, Opener, Recipients};
/// let keyset = Keyset::generate()?;
/// let sealed = sealed_file::seal(&Recipients::new().keyset(&keyset), "note", b"text")?;
/// let (opener, mut opened) = (Opener::keyset(&keyset), Vec::new());
/// sealed_file::open_stream(&opener, "note", (&sealed[..], None), &mut opened, |_| {})?;
/// assert_eq!(opened, b"text");
/// let no_file = sealed_file::open_stream(&opener, "note", (&b""[..], None), Vec::new(), |_| {});
/// assert!(matches!(no_file, Err(FileOpenError::Header(HeaderError::Truncated))));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn open_stream<R: Read, W: Write>(
    opener: &Opener<'_>,
    context: &str,
    (mut reader, bytes_total): (R, Option<u64>),
    writer: W,
    progress: impl FnMut(Progress),
) -> Result<u64, FileOpenError> {
    let header = read_header(&mut reader)?;
    let keys = unlock(&header, Payload::Bytes, opener, context)?;
    let (key, mac) = (&keys.stream, &keys.mac);
    let input = (reader, bytes_total);
    open_all(key, CONTEXT, mac, input, writer, progress).map_err(refused)
}

fn read_header(reader: &mut impl Read) -> Result<Header, FileOpenError> {
    header::read(|raw: &mut Vec<u8>, count| {
        let start = raw.len();
        // No slot is longer than 2 KiB.
        raw.resize(start + count, 0);
        reader
            .read_exact(&mut raw[start..])
            .map_err(|error| match error.kind() {
                ErrorKind::UnexpectedEof => HeaderError::Truncated.into(),
                _ => FileOpenError::Io(error),
            })
    })
}

/// A refusal of the stream as a refusal of the file; other errors stay what they are.
fn refused(error: io::Error) -> FileOpenError {
    let inner = error.get_ref();
    match inner.and_then(|inner| inner.downcast_ref::<StreamOpenError>()) {
        Some(refusal) => (*refusal).into(),
        None => FileOpenError::Io(error),
    }
}
