//! The little of DER (ITU-T X.690) that RSA keys need, read strictly: tags of one
//! byte, definite lengths in their shortest form, at most 65,535 bytes. So a key has
//! one encoding, and nothing is reserved for a length that the input does not have.

use alloc::vec::Vec;

pub(super) const INTEGER: u8 = 0x02;
pub(super) const BIT_STRING: u8 = 0x03;
pub(super) const OCTET_STRING: u8 = 0x04;
pub(super) const SEQUENCE: u8 = 0x30;

/// The bytes are not the DER that was expected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct NotDer;

/// Takes elements off the front of DER.
pub(super) struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    /// The content of the next element, which must have this tag.
    pub(super) fn element(&mut self, tag: u8) -> Result<&'a [u8], NotDer> {
        let (head, length) = match *self.0 {
            [found, length @ 0..=0x7f, ..] if found == tag => (2, usize::from(length)),
            [found, 0x81, length @ 0x80..=0xff, ..] if found == tag => (3, usize::from(length)),
            [found, 0x82, high @ 1..=0xff, low, ..] if found == tag => {
                (4, usize::from(u16::from_be_bytes([high, low])))
            }
            _ => return Err(NotDer),
        };
        let content = self.0.get(head..head + length).ok_or(NotDer)?;
        self.0 = &self.0[head + length..];
        Ok(content)
    }

    /// A sequence, to be read in turn.
    pub(super) fn sequence(&mut self) -> Result<Self, NotDer> {
        self.element(SEQUENCE).map(Self)
    }

    /// An integer above zero, big-endian, without the zero byte of its sign.
    pub(super) fn positive(&mut self) -> Result<&'a [u8], NotDer> {
        match self.element(INTEGER)? {
            [0, rest @ ..] if rest.first().is_some_and(|byte| *byte >= 0x80) => Ok(rest),
            number @ [0x01..=0x7f, ..] => Ok(number),
            _ => Err(NotDer),
        }
    }

    /// The integer zero, the version of every structure read here.
    pub(super) fn zero(&mut self) -> Result<(), NotDer> {
        match self.element(INTEGER)? {
            [0] => Ok(()),
            _ => Err(NotDer),
        }
    }

    /// A bit string of whole bytes.
    pub(super) fn bit_string(&mut self) -> Result<&'a [u8], NotDer> {
        match self.element(BIT_STRING)? {
            [0, bytes @ ..] => Ok(bytes),
            _ => Err(NotDer),
        }
    }

    /// Ends the reading; nothing may be left.
    pub(super) fn finish(self) -> Result<(), NotDer> {
        if self.0.is_empty() {
            Ok(())
        } else {
            Err(NotDer)
        }
    }
}

/// One element of this tag and content.
///
/// # Panics
/// When the content has 65,536 bytes or more; keys are bounded far below.
pub(super) fn element(tag: u8, content: &[&[u8]]) -> Vec<u8> {
    let length: usize = content.iter().map(|part| part.len()).sum();
    let length = u16::try_from(length).expect("keys are bounded far below 64 KiB");
    let mut der = Vec::with_capacity(usize::from(length) + 4);
    der.push(tag);
    let [high, low] = length.to_be_bytes();
    match length {
        0..=0x7f => der.push(low),
        0x80..=0xff => der.extend_from_slice(&[0x81, low]),
        _ => der.extend_from_slice(&[0x82, high, low]),
    }
    for part in content {
        der.extend_from_slice(part);
    }
    der
}

/// A positive integer, given big-endian without leading zeros.
pub(super) fn positive(number: &[u8]) -> Vec<u8> {
    match number {
        [0x80..=0xff, ..] => element(INTEGER, &[&[0], number]),
        _ => element(INTEGER, &[number]),
    }
}

#[cfg(test)]
mod tests {
    use std::prelude::v1::*;

    use super::*;

    #[test]
    fn lengths_are_read_in_their_shortest_form_only() {
        for length in [0, 1, 127, 128, 255, 256, 65_535] {
            let content = vec![7; length];
            let der = element(OCTET_STRING, &[&content]);
            let mut reader = Reader::new(&der);
            assert_eq!(reader.element(OCTET_STRING), Ok(&content[..]));
            assert_eq!(reader.finish(), Ok(()));
        }
        let refused: [&[u8]; 10] = [
            &[],
            &[0x04],
            &[0x04, 0x80],                   // indefinite
            &[0x04, 0x81, 0x01, 7],          // 1 in two bytes
            &[0x04, 0x81, 0x7f],             // 127 in two bytes
            &[0x04, 0x82, 0x00, 0x80],       // 128 in three bytes
            &[0x04, 0x83, 0x01, 0x00, 0x00], // above the maximum
            &[0x04, 0x02, 7],                // ends early
            &[0x04, 0x82, 0x01],             // ends in the length
            &[0x05, 0x00],                   // another tag
        ];
        for der in refused {
            assert_eq!(Reader::new(der).element(OCTET_STRING), Err(NotDer));
        }
    }

    #[test]
    fn an_integer_has_one_encoding_and_is_positive() {
        let number = |der: &'static [u8]| Reader::new(der).positive();
        assert_eq!(number(&[2, 1, 1]), Ok(&[1][..]));
        assert_eq!(number(&[2, 2, 0, 0x80]), Ok(&[0x80][..]));
        for der in [
            &[2, 0][..],   // empty
            &[2, 1, 0],    // zero
            &[2, 1, 0x80], // negative
            &[2, 2, 0, 1], // a zero too many
            &[2, 2, 0, 0], // zero, twice
            &[2, 1, 0xff], // minus one
        ] {
            assert_eq!(number(der), Err(NotDer), "{der:?}");
        }
        for number in [&[1][..], &[0x7f], &[0x80], &[0xff, 0]] {
            assert_eq!(Reader::new(&positive(number)).positive(), Ok(number));
        }
    }

    #[test]
    fn a_bit_string_has_whole_bytes() {
        assert_eq!(Reader::new(&[3, 2, 0, 9]).bit_string(), Ok(&[9][..]));
        for der in [&[3, 0][..], &[3, 2, 1, 8], &[3, 2, 8, 9]] {
            assert_eq!(Reader::new(der).bit_string(), Err(NotDer));
        }
    }

    #[test]
    fn bytes_after_the_end_are_refused() {
        assert_eq!(Reader::new(&[0]).finish(), Err(NotDer));
    }
}
