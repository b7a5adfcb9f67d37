//! A bounded, canonical encoding for everything that is signed or stored.
//!
//! Integers are little-endian of fixed width, byte strings carry a 32-bit
//! length, and there is exactly one encoding of a value: two different byte
//! strings never decode to the same value, so a signature over the bytes is a
//! signature over the value. Decoding states a maximum for every length before
//! memory is reserved, and ends by refusing what is left over.
//!
//! ```
//! use sealmoot_crypto::encoding::{EncodingError, Reader, Writer};
//! fn decode(bytes: &[u8]) -> Result<(u64, &str), EncodingError> {
//!     let mut reader = Reader::new(bytes);
//!     let invoice = (reader.u64()?, reader.text(64)?);
//!     reader.finish()?;
//!     Ok(invoice)
//! }
//! let mut writer = Writer::new();
//! writer.u64(42);
//! writer.text("EUR");
//! let mut bytes = writer.finish();
//! assert_eq!(decode(&bytes)?, (42, "EUR"));
//! bytes.push(0);
//! assert_eq!(decode(&bytes), Err(EncodingError::TrailingBytes { count: 1 }));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use alloc::vec::Vec;

/// Why bytes are not the canonical encoding of a value.
///
/// ```
/// use sealmoot_crypto::encoding::{EncodingError, Reader};
/// let missing = EncodingError::EndsEarly { offset: 4, missing: 1 };
/// assert_eq!(Reader::new(b"\x03\0\0\0hi").text(8), Err(missing));
/// let too_long = EncodingError::TooLong { offset: 0, length: 9, maximum: 8 };
/// assert_eq!(Reader::new(b"\x09\0\0\0").text(8), Err(too_long));
/// let left_over = EncodingError::TrailingBytes { count: 2 };
/// assert_eq!(Reader::new(b"hi").finish(), Err(left_over));
/// ```
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
    ///
    /// ```
    /// use sealmoot_crypto::encoding::Writer;
    /// assert!(Writer::new().finish().is_empty());
    /// ```
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Nothing written yet, with room for `capacity` bytes.
    ///
    /// ```
    /// use sealmoot_crypto::encoding::Writer;
    /// // With exact room no half-grown copy of a secret is left behind.
    /// let mut writer = Writer::with_capacity(2 + 32);
    /// writer.u16(1);
    /// writer.fixed(&[7; 32]);
    /// assert_eq!(writer.finish().len(), 2 + 32);
    /// ```
    #[must_use]
    pub fn with_capacity(capacity: usize) -> Self {
        Self(Vec::with_capacity(capacity))
    }

    /// How many bytes were written.
    ///
    /// ```
    /// use sealmoot_crypto::encoding::Writer;
    /// let mut writer = Writer::new();
    /// assert!(writer.is_empty());
    /// writer.u16(7);
    /// assert_eq!(writer.len(), 2);
    /// ```
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether nothing was written.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// One byte.
    ///
    /// ```
    /// use sealmoot_crypto::encoding::Writer;
    /// let mut writer = Writer::new();
    /// writer.u8(0xff);
    /// assert_eq!(writer.finish(), [0xff]);
    /// ```
    pub fn u8(&mut self, value: u8) {
        self.0.push(value);
    }

    /// A flag: 0 or 1.
    ///
    /// ```
    /// use sealmoot_crypto::encoding::Writer;
    /// let mut writer = Writer::new();
    /// writer.flag(true);
    /// writer.flag(false);
    /// assert_eq!(writer.finish(), [1, 0]);
    /// ```
    pub fn flag(&mut self, value: bool) {
        self.0.push(u8::from(value));
    }

    /// Two bytes.
    ///
    /// ```
    /// use sealmoot_crypto::encoding::Writer;
    /// let mut writer = Writer::new();
    /// writer.u16(0x0102);
    /// assert_eq!(writer.finish(), [0x02, 0x01]);
    /// ```
    pub fn u16(&mut self, value: u16) {
        self.0.extend_from_slice(&value.to_le_bytes());
    }

    /// Four bytes.
    ///
    /// ```
    /// use sealmoot_crypto::encoding::Writer;
    /// let mut writer = Writer::new();
    /// writer.u32(258);
    /// assert_eq!(writer.finish(), [2, 1, 0, 0]);
    /// ```
    pub fn u32(&mut self, value: u32) {
        self.0.extend_from_slice(&value.to_le_bytes());
    }

    /// Eight bytes.
    ///
    /// ```
    /// use sealmoot_crypto::encoding::Writer;
    /// let mut writer = Writer::new();
    /// writer.u64(u64::MAX - 1);
    /// assert_eq!(writer.finish(), [0xfe, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]);
    /// ```
    pub fn u64(&mut self, value: u64) {
        self.0.extend_from_slice(&value.to_le_bytes());
    }

    /// Bytes whose number the reader knows.
    ///
    /// ```
    /// use sealmoot_crypto::encoding::Writer;
    /// let mut writer = Writer::new();
    /// writer.fixed(b"SMXX"); // no length: every reader expects four bytes
    /// assert_eq!(writer.finish(), b"SMXX");
    /// ```
    pub fn fixed(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
    }

    /// A length and that many bytes.
    ///
    /// # Panics
    /// When there are 4 GiB or more, far above every maximum of a reader.
    ///
    /// ```
    /// use sealmoot_crypto::encoding::Writer;
    /// let (mut left, mut right) = (Writer::new(), Writer::new());
    /// left.bytes(b"ab");
    /// left.bytes(b"c");
    /// right.bytes(b"a");
    /// right.bytes(b"bc");
    /// // Lengths keep apart what would be one text when joined.
    /// assert_ne!(left.finish(), right.finish());
    /// ```
    pub fn bytes(&mut self, bytes: &[u8]) {
        self.count(bytes.len());
        self.0.extend_from_slice(bytes);
    }

    /// A length and that many bytes of UTF-8.
    ///
    /// ```
    /// use sealmoot_crypto::encoding::Writer;
    /// let mut writer = Writer::new();
    /// writer.text("ä");
    /// assert_eq!(writer.finish(), [2, 0, 0, 0, 0xc3, 0xa4]); // bytes are counted
    /// ```
    pub fn text(&mut self, text: &str) {
        self.bytes(text.as_bytes());
    }

    /// The number of elements that follow.
    ///
    /// # Panics
    /// When it does not fit 32 bits, far above every maximum of a reader.
    ///
    /// ```
    /// use sealmoot_crypto::encoding::Writer;
    /// let ports = [80u16, 443];
    /// let mut writer = Writer::new();
    /// writer.count(ports.len());
    /// for port in ports {
    ///     writer.u16(port);
    /// }
    /// assert_eq!(writer.finish(), [2, 0, 0, 0, 80, 0, 0xbb, 0x01]);
    /// ```
    pub fn count(&mut self, count: usize) {
        self.u32(u32::try_from(count).expect("lengths are bounded far below 4 GiB"));
    }

    /// What was written.
    ///
    /// ```
    /// use sealmoot_crypto::{encoding::Writer, signature::SigningKey};
    /// let mut writer = Writer::new();
    /// writer.u64(7);
    /// writer.text("alice");
    /// let statement = writer.finish();
    /// let key = SigningKey::generate()?;
    /// let signature = key.sign("membership", &statement);
    /// key.verifying_key().verify("membership", &statement, &signature)?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn finish(self) -> Vec<u8> {
        self.0
    }
}

/// Takes an encoding apart, refusing whatever is not canonical.
///
/// ```
/// use sealmoot_crypto::encoding::{EncodingError, Reader};
/// let mut reader = Reader::new(b"\x01\0\x05\0\0\0alice");
/// assert_eq!(reader.u16()?, 1);
/// assert_eq!(reader.text(64)?, "alice");
/// assert!(matches!(reader.u8(), Err(EncodingError::EndsEarly { .. })));
/// reader.finish()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Reader<'a> {
    bytes: &'a [u8],
    offset: usize,
}

impl<'a> Reader<'a> {
    /// Begins at the first of `bytes`.
    ///
    /// ```
    /// use sealmoot_crypto::encoding::{EncodingError, Reader};
    /// let reader = Reader::new(b"abc");
    /// // Nothing was read yet, so everything is left over.
    /// assert_eq!(reader.finish(), Err(EncodingError::TrailingBytes { count: 3 }));
    /// ```
    #[must_use]
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, offset: 0 }
    }

    /// Whether all was read.
    ///
    /// ```
    /// use sealmoot_crypto::encoding::Reader;
    /// let mut reader = Reader::new(&[7]);
    /// assert!(!reader.is_empty());
    /// reader.u8()?;
    /// assert!(reader.is_empty());
    /// # Ok::<(), sealmoot_crypto::encoding::EncodingError>(())
    /// ```
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.offset == self.bytes.len()
    }

    /// Exactly `count` bytes.
    ///
    /// # Errors
    /// [`EncodingError::EndsEarly`].
    ///
    /// ```
    /// use sealmoot_crypto::encoding::{EncodingError, Reader};
    /// let mut reader = Reader::new(b"SMXXab");
    /// assert_eq!(reader.fixed(4)?, b"SMXX");
    /// let short = EncodingError::EndsEarly { offset: 4, missing: 1 };
    /// assert_eq!(reader.fixed(3), Err(short));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
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
    ///
    /// ```
    /// use sealmoot_crypto::encoding::Reader;
    /// let mut reader = Reader::new(b"abcd");
    /// let head: [u8; 3] = reader.array()?;
    /// assert_eq!(&head, b"abc");
    /// assert!(reader.array::<2>().is_err());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn array<const N: usize>(&mut self) -> Result<[u8; N], EncodingError> {
        let mut array = [0u8; N];
        array.copy_from_slice(self.fixed(N)?);
        Ok(array)
    }

    /// One byte.
    ///
    /// # Errors
    /// [`EncodingError::EndsEarly`].
    ///
    /// ```
    /// use sealmoot_crypto::encoding::{EncodingError, Reader};
    /// let mut reader = Reader::new(&[7]);
    /// assert_eq!(reader.u8()?, 7);
    /// let end = EncodingError::EndsEarly { offset: 1, missing: 1 };
    /// assert_eq!(reader.u8(), Err(end));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn u8(&mut self) -> Result<u8, EncodingError> {
        Ok(self.array::<1>()?[0])
    }

    /// A flag, 0 or 1 and nothing else.
    ///
    /// # Errors
    /// [`EncodingError::EndsEarly`], [`EncodingError::Unknown`].
    ///
    /// ```
    /// use sealmoot_crypto::encoding::{EncodingError, Reader};
    /// let mut reader = Reader::new(&[1, 2]);
    /// assert!(reader.flag()?);
    /// let refused = EncodingError::Unknown { what: "flag", value: 2 };
    /// assert_eq!(reader.flag(), Err(refused));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
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
    ///
    /// ```
    /// use sealmoot_crypto::encoding::Reader;
    /// let mut reader = Reader::new(&[0x02, 0x01, 0xff]);
    /// assert_eq!(reader.u16()?, 0x0102);
    /// assert!(reader.u16().is_err()); // one byte is left
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn u16(&mut self) -> Result<u16, EncodingError> {
        self.array().map(u16::from_le_bytes)
    }

    /// Four bytes.
    ///
    /// # Errors
    /// [`EncodingError::EndsEarly`].
    ///
    /// ```
    /// use sealmoot_crypto::encoding::Reader;
    /// assert_eq!(Reader::new(&[2, 1, 0, 0]).u32()?, 258);
    /// assert!(Reader::new(&[2, 1, 0]).u32().is_err());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn u32(&mut self) -> Result<u32, EncodingError> {
        self.array().map(u32::from_le_bytes)
    }

    /// Eight bytes.
    ///
    /// # Errors
    /// [`EncodingError::EndsEarly`].
    ///
    /// ```
    /// use sealmoot_crypto::encoding::{EncodingError, Reader};
    /// let bytes = u64::MAX.to_le_bytes();
    /// assert_eq!(Reader::new(&bytes).u64()?, u64::MAX);
    /// let short = EncodingError::EndsEarly { offset: 0, missing: 2 };
    /// assert_eq!(Reader::new(&bytes[..6]).u64(), Err(short));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn u64(&mut self) -> Result<u64, EncodingError> {
        self.array().map(u64::from_le_bytes)
    }

    /// A number of elements, at most `maximum`.
    ///
    /// # Errors
    /// [`EncodingError::EndsEarly`], [`EncodingError::TooLong`].
    ///
    /// ```
    /// use sealmoot_crypto::encoding::{EncodingError, Reader};
    /// const MEMBERS_MAX: usize = 100;
    /// // Refused before anybody reserves room for four billion members.
    /// let refused = Reader::new(&[0xff; 4]).count(MEMBERS_MAX);
    /// let too_long = EncodingError::TooLong { offset: 0, length: 0xffff_ffff, maximum: 100 };
    /// assert_eq!(refused, Err(too_long));
    /// ```
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
    ///
    /// ```
    /// use sealmoot_crypto::encoding::{EncodingError, Reader};
    /// let bytes = b"\x03\0\0\0abc";
    /// assert_eq!(Reader::new(bytes).bytes(3)?, b"abc");
    /// let too_long = EncodingError::TooLong { offset: 0, length: 3, maximum: 2 };
    /// assert_eq!(Reader::new(bytes).bytes(2), Err(too_long));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn bytes(&mut self, maximum: usize) -> Result<&'a [u8], EncodingError> {
        let count = self.count(maximum)?;
        self.fixed(count)
    }

    /// A text of at most `maximum` bytes, borrowed.
    ///
    /// # Errors
    /// [`EncodingError::EndsEarly`], [`EncodingError::TooLong`],
    /// [`EncodingError::NotUtf8`].
    ///
    /// ```
    /// use sealmoot_crypto::encoding::{EncodingError, Reader};
    /// assert_eq!(Reader::new(b"\x02\0\0\0hi").text(8)?, "hi");
    /// let refused = Reader::new(b"\x02\0\0\0\xff\xff").text(8);
    /// assert_eq!(refused, Err(EncodingError::NotUtf8 { offset: 0 }));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn text(&mut self, maximum: usize) -> Result<&'a str, EncodingError> {
        let offset = self.offset;
        core::str::from_utf8(self.bytes(maximum)?).map_err(|_| EncodingError::NotUtf8 { offset })
    }

    /// Ends the decoding.
    ///
    /// # Errors
    /// [`EncodingError::TrailingBytes`] when anything is left.
    ///
    /// ```
    /// use sealmoot_crypto::encoding::{EncodingError, Reader};
    /// let mut reader = Reader::new(&[7, 0, 0]);
    /// reader.u16()?;
    /// // Ignored bytes would be a second encoding of the same value.
    /// assert_eq!(reader.finish(), Err(EncodingError::TrailingBytes { count: 1 }));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
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
