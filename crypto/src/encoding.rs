//! A bounded, canonical encoding for everything that is signed or stored.
//!
//! Integers are little-endian of fixed width, byte strings carry a 32-bit
//! length, and there is exactly one encoding of a value: two different byte
//! strings never decode to the same value, so a signature over the bytes is a
//! signature over the value. Decoding states a maximum for every length before
//! memory is reserved, and ends by refusing what is left over.

use alloc::vec::Vec;

/// Why bytes are not the canonical encoding of a value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EncodingError {
    /// The bytes end before the value does.
    #[error("ends early: {missing} more bytes expected at offset {offset}")]
    EndsEarly {
        /// Where the missing part should begin.
        offset: usize,
        /// How many bytes are missing at least.
        missing: usize,
    },
    /// A length or count is above its named maximum.
    #[error("{length} is above the maximum of {maximum} at offset {offset}")]
    TooLong {
        /// Where the length stands.
        offset: usize,
        /// What it says.
        length: u64,
        /// What is allowed.
        maximum: u64,
    },
    /// Bytes follow the end of the value.
    #[error("{count} bytes follow the end")]
    TrailingBytes {
        /// How many.
        count: usize,
    },
    /// A tag, flag or version has a value that means nothing here.
    #[error("{what} {value} is not known")]
    Unknown {
        /// What kind of number it is.
        what: &'static str,
        /// Its value.
        value: u64,
    },
    /// A text is not UTF-8.
    #[error("text at offset {offset} is not UTF-8")]
    NotUtf8 {
        /// Where the text begins.
        offset: usize,
    },
    /// A value that is well formed but breaks a rule of its type.
    #[error("{0}")]
    Invalid(&'static str),
}

/// Builds an encoding.
///
/// ```
/// use sealmoot_crypto::encoding::{Reader, Writer};
/// let mut writer = Writer::new();
/// writer.u16(7);
/// writer.text("alice");
/// let bytes = writer.finish();
///
/// let mut reader = Reader::new(&bytes);
/// assert_eq!(reader.u16()?, 7);
/// assert_eq!(reader.text(64)?, "alice");
/// reader.finish()?;
/// # Ok::<(), sealmoot_crypto::encoding::EncodingError>(())
/// ```
#[derive(Default)]
pub struct Writer(Vec<u8>);

impl Writer {
    /// Nothing written yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Nothing written yet, with room for `capacity` bytes.
    #[must_use]
    pub fn with_capacity(capacity: usize) -> Self {
        Self(Vec::with_capacity(capacity))
    }

    /// One byte.
    pub fn u8(&mut self, value: u8) {
        self.0.push(value);
    }

    /// A flag: 0 or 1.
    pub fn flag(&mut self, value: bool) {
        self.0.push(u8::from(value));
    }

    /// Two bytes.
    pub fn u16(&mut self, value: u16) {
        self.0.extend_from_slice(&value.to_le_bytes());
    }

    /// Four bytes.
    pub fn u32(&mut self, value: u32) {
        self.0.extend_from_slice(&value.to_le_bytes());
    }

    /// Eight bytes.
    pub fn u64(&mut self, value: u64) {
        self.0.extend_from_slice(&value.to_le_bytes());
    }

    /// Bytes whose number the reader knows.
    pub fn fixed(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
    }

    /// A length and that many bytes.
    ///
    /// # Panics
    /// When there are 4 GiB or more, far above every maximum of a reader.
    pub fn bytes(&mut self, bytes: &[u8]) {
        self.count(bytes.len());
        self.0.extend_from_slice(bytes);
    }

    /// A length and that many bytes of UTF-8.
    pub fn text(&mut self, text: &str) {
        self.bytes(text.as_bytes());
    }

    /// The number of elements that follow.
    ///
    /// # Panics
    /// When it does not fit 32 bits, far above every maximum of a reader.
    pub fn count(&mut self, count: usize) {
        self.u32(u32::try_from(count).expect("lengths are bounded far below 4 GiB"));
    }

    /// What was written.
    #[must_use]
    pub fn finish(self) -> Vec<u8> {
        self.0
    }
}

/// Takes an encoding apart, refusing whatever is not canonical.
pub struct Reader<'a> {
    bytes: &'a [u8],
    offset: usize,
}

impl<'a> Reader<'a> {
    /// Begins at the first of `bytes`.
    #[must_use]
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, offset: 0 }
    }

    /// Exactly `count` bytes.
    ///
    /// # Errors
    /// [`EncodingError::EndsEarly`].
    pub fn fixed(&mut self, count: usize) -> Result<&'a [u8], EncodingError> {
        let left = self.bytes.len() - self.offset;
        if left < count {
            return Err(EncodingError::EndsEarly {
                offset: self.offset,
                missing: count - left,
            });
        }
        let taken = &self.bytes[self.offset..self.offset + count];
        self.offset += count;
        Ok(taken)
    }

    /// Exactly `N` bytes.
    ///
    /// # Errors
    /// [`EncodingError::EndsEarly`].
    pub fn array<const N: usize>(&mut self) -> Result<[u8; N], EncodingError> {
        let mut array = [0u8; N];
        array.copy_from_slice(self.fixed(N)?);
        Ok(array)
    }

    /// One byte.
    ///
    /// # Errors
    /// [`EncodingError::EndsEarly`].
    pub fn u8(&mut self) -> Result<u8, EncodingError> {
        Ok(self.array::<1>()?[0])
    }

    /// A flag, 0 or 1 and nothing else.
    ///
    /// # Errors
    /// [`EncodingError::EndsEarly`], [`EncodingError::Unknown`].
    pub fn flag(&mut self) -> Result<bool, EncodingError> {
        match self.u8()? {
            0 => Ok(false),
            1 => Ok(true),
            value => Err(EncodingError::Unknown {
                what: "flag",
                value: u64::from(value),
            }),
        }
    }

    /// Two bytes.
    ///
    /// # Errors
    /// [`EncodingError::EndsEarly`].
    pub fn u16(&mut self) -> Result<u16, EncodingError> {
        self.array().map(u16::from_le_bytes)
    }

    /// Four bytes.
    ///
    /// # Errors
    /// [`EncodingError::EndsEarly`].
    pub fn u32(&mut self) -> Result<u32, EncodingError> {
        self.array().map(u32::from_le_bytes)
    }

    /// Eight bytes.
    ///
    /// # Errors
    /// [`EncodingError::EndsEarly`].
    pub fn u64(&mut self) -> Result<u64, EncodingError> {
        self.array().map(u64::from_le_bytes)
    }

    /// A number of elements, at most `maximum`.
    ///
    /// # Errors
    /// [`EncodingError::EndsEarly`], [`EncodingError::TooLong`].
    pub fn count(&mut self, maximum: usize) -> Result<usize, EncodingError> {
        let offset = self.offset;
        let count = self.u32()?;
        match usize::try_from(count) {
            Ok(count) if count <= maximum => Ok(count),
            _ => Err(EncodingError::TooLong {
                offset,
                length: u64::from(count),
                maximum: maximum as u64,
            }),
        }
    }

    /// A byte string of at most `maximum` bytes, borrowed.
    ///
    /// # Errors
    /// [`EncodingError::EndsEarly`], [`EncodingError::TooLong`].
    pub fn bytes(&mut self, maximum: usize) -> Result<&'a [u8], EncodingError> {
        let count = self.count(maximum)?;
        self.fixed(count)
    }

    /// A text of at most `maximum` bytes, borrowed.
    ///
    /// # Errors
    /// [`EncodingError::EndsEarly`], [`EncodingError::TooLong`],
    /// [`EncodingError::NotUtf8`].
    pub fn text(&mut self, maximum: usize) -> Result<&'a str, EncodingError> {
        let offset = self.offset;
        core::str::from_utf8(self.bytes(maximum)?).map_err(|_| EncodingError::NotUtf8 { offset })
    }

    /// Ends the decoding.
    ///
    /// # Errors
    /// [`EncodingError::TrailingBytes`] when anything is left.
    pub fn finish(self) -> Result<(), EncodingError> {
        match self.bytes.len() - self.offset {
            0 => Ok(()),
            count => Err(EncodingError::TrailingBytes { count }),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::prelude::v1::*;

    use super::*;

    fn sample() -> Vec<u8> {
        let mut writer = Writer::new();
        writer.u8(1);
        writer.flag(true);
        writer.u16(2);
        writer.u32(3);
        writer.u64(4);
        writer.fixed(b"abc");
        writer.bytes(b"defg");
        writer.text("ä");
        writer.finish()
    }

    fn read(bytes: &[u8]) -> Result<(), EncodingError> {
        let mut reader = Reader::new(bytes);
        assert!(reader.u8()? == 1 && reader.flag()? && reader.u16()? == 2);
        assert!(reader.u32()? == 3 && reader.u64()? == 4);
        assert!(reader.fixed(3)? == b"abc" && reader.bytes(4)? == b"defg");
        assert_eq!(reader.text(2)?, "ä");
        reader.finish()
    }

    #[test]
    fn what_is_written_is_read() {
        assert_eq!(read(&sample()), Ok(()));
    }

    #[test]
    fn every_truncation_ends_early() {
        let bytes = sample();
        for length in 0..bytes.len() {
            assert!(matches!(
                read(&bytes[..length]),
                Err(EncodingError::EndsEarly { .. })
            ));
        }
    }

    #[test]
    fn bytes_after_the_end_are_refused() {
        let mut bytes = sample();
        bytes.push(0);
        assert_eq!(read(&bytes), Err(EncodingError::TrailingBytes { count: 1 }));
    }

    #[test]
    fn a_length_above_its_maximum_is_refused_before_it_is_read() {
        let bytes = u32::MAX.to_le_bytes();
        assert!(matches!(
            Reader::new(&bytes).bytes(16),
            Err(EncodingError::TooLong { maximum: 16, .. })
        ));
    }

    #[test]
    fn a_flag_is_zero_or_one() {
        assert!(matches!(
            Reader::new(&[2]).flag(),
            Err(EncodingError::Unknown {
                what: "flag",
                value: 2
            })
        ));
    }

    #[test]
    fn text_is_utf8() {
        assert_eq!(
            Reader::new(&[1, 0, 0, 0, 0xff]).text(4),
            Err(EncodingError::NotUtf8 { offset: 0 })
        );
    }
}
