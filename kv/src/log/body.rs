//! The plaintext of a group: what it is, where in the log's history it belongs,
//! and its content. Padding to whole sectors is zeros and part of the plaintext.

use crate::disk::SECTOR_BYTES;

use super::layout::{GROUP_OVERHEAD, is_zero};
use super::position::{Chain, LogId};

/// Kind, sequence number, previous chain value.
const PREFIX_BYTES: usize = 1 + 8 + 32;
/// Before the first record: number of the first record, count.
const RECORDS_PREFIX_BYTES: usize = 8 + 4;
/// Before each record.
pub(super) const RECORD_PREFIX_BYTES: usize = 4;

const KIND_HEADER: u8 = 1;
const KIND_RECORDS: u8 = 2;
const KIND_CLOSE: u8 = 3;

/// What a group of records adds to its records and their lengths.
pub(super) const RECORDS_OVERHEAD: usize = GROUP_OVERHEAD + PREFIX_BYTES + RECORDS_PREFIX_BYTES;

/// Where a group belongs in the history of its log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Link {
    /// How many groups of the log precede this one.
    pub(super) sequence: u64,
    /// The chain value over all of them.
    pub(super) previous: Chain,
}

/// The first group of every segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct SegmentHeader {
    pub(super) log_id: LogId,
    pub(super) incarnation: u64,
    pub(super) opening: u64,
    /// Preallocated size of this segment.
    pub(super) segment_bytes: u64,
    /// Final size of the segment before, zero for the first one.
    pub(super) previous_bytes: u64,
    /// How many records precede this segment.
    pub(super) records: u64,
}

/// A decoded plaintext.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Body<'a> {
    pub(super) link: Link,
    pub(super) content: Content<'a>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Content<'a> {
    Header(SegmentHeader),
    Records(Records<'a>),
    /// The segment ends here; so many records precede.
    Close {
        records: u64,
    },
}

/// Records of one group, every length among them already checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Records<'a> {
    pub(super) first: u64,
    pub(super) count: u32,
    encoded: &'a [u8],
}

impl<'a> Records<'a> {
    /// The number of the last record.
    pub(super) fn last(&self) -> u64 {
        // `decode` refused groups without records and numbers that overflow.
        self.first + u64::from(self.count) - 1
    }

    /// Numbers and bytes of the records, in order.
    pub(super) fn iter(&self) -> impl Iterator<Item = (u64, &'a [u8])> {
        let mut reader = Reader(self.encoded);
        let mut number = self.first;
        std::iter::from_fn(move || {
            let record = reader.record()?;
            number += 1;
            Some((number - 1, record))
        })
    }
}

/// Appends a header's plaintext.
pub(super) fn encode_header(link: Link, header: &SegmentHeader, buffer: &mut Vec<u8>) {
    encode_prefix(KIND_HEADER, link, buffer);
    buffer.extend_from_slice(&header.log_id.0);
    for number in [
        header.incarnation,
        header.opening,
        header.segment_bytes,
        header.previous_bytes,
        header.records,
    ] {
        buffer.extend_from_slice(&number.to_le_bytes());
    }
}

/// Appends a closing group's plaintext.
pub(super) fn encode_close(link: Link, records: u64, buffer: &mut Vec<u8>) {
    encode_prefix(KIND_CLOSE, link, buffer);
    buffer.extend_from_slice(&records.to_le_bytes());
}

/// Appends the plaintext of a group of records, the first of which has the
/// number `first`. The caller has checked that they fit into one group.
pub(super) fn encode_records<R: AsRef<[u8]>>(
    link: Link,
    first: u64,
    records: &[R],
    buffer: &mut Vec<u8>,
) {
    encode_prefix(KIND_RECORDS, link, buffer);
    buffer.extend_from_slice(&first.to_le_bytes());
    buffer.extend_from_slice(&length_u32(records.len()).to_le_bytes());
    for record in records {
        let record = record.as_ref();
        buffer.extend_from_slice(&length_u32(record.len()).to_le_bytes());
        buffer.extend_from_slice(record);
    }
}

/// Bytes on disk of a group with this much plaintext, padding included.
pub(super) const fn group_bytes(plaintext_bytes: usize) -> usize {
    (GROUP_OVERHEAD + plaintext_bytes).next_multiple_of(SECTOR_BYTES)
}

/// Decodes a plaintext, or `None` when no log writes such a one.
pub(super) fn decode(plaintext: &[u8]) -> Option<Body<'_>> {
    let mut reader = Reader(plaintext);
    let kind = reader.array::<1>()?[0];
    let link = Link {
        sequence: reader.u64()?,
        previous: Chain(reader.array()?),
    };
    let content = match kind {
        KIND_HEADER => Content::Header(SegmentHeader {
            log_id: LogId(reader.array()?),
            incarnation: reader.u64()?,
            opening: reader.u64()?,
            segment_bytes: reader.u64()?,
            previous_bytes: reader.u64()?,
            records: reader.u64()?,
        }),
        KIND_RECORDS => Content::Records(reader.records()?),
        KIND_CLOSE => Content::Close {
            records: reader.u64()?,
        },
        _ => return None,
    };
    // One encoding only: padding is zeros, and no longer than needed.
    let used = plaintext.len() - reader.0.len();
    let minimal = group_bytes(used) == GROUP_OVERHEAD + plaintext.len();
    (minimal && is_zero(reader.0)).then_some(Body { link, content })
}

fn encode_prefix(kind: u8, link: Link, buffer: &mut Vec<u8>) {
    buffer.push(kind);
    buffer.extend_from_slice(&link.sequence.to_le_bytes());
    buffer.extend_from_slice(&link.previous.0);
}

fn length_u32(length: usize) -> u32 {
    u32::try_from(length).expect("a group is far below 2^32 bytes")
}

/// What is left to decode.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(taken)
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.take(N)?.try_into().ok()
    }

    fn u64(&mut self) -> Option<u64> {
        self.array().map(u64::from_le_bytes)
    }

    fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_le_bytes)
    }

    fn record(&mut self) -> Option<&'a [u8]> {
        let length = usize::try_from(self.u32()?).ok()?;
        self.take(length)
    }

    fn records(&mut self) -> Option<Records<'a>> {
        let first = self.u64()?;
        let count = self.u32()?;
        let start = self.0;
        for _ in 0..count {
            self.record()?;
        }
        let encoded = &start[..start.len() - self.0.len()];
        let numbered = count > 0 && first > 0 && first.checked_add(u64::from(count)).is_some();
        numbered.then_some(Records {
            first,
            count,
            encoded,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINK: Link = Link {
        sequence: 9,
        previous: Chain([5; 32]),
    };

    fn padded(mut plaintext: Vec<u8>) -> Vec<u8> {
        plaintext.resize(group_bytes(plaintext.len()) - GROUP_OVERHEAD, 0);
        plaintext
    }

    fn records() -> Vec<u8> {
        let mut plaintext = Vec::new();
        encode_records(LINK, 7, &[&b"one"[..], b"", b"three"], &mut plaintext);
        plaintext
    }

    #[test]
    fn records_come_back_with_their_numbers() {
        let plaintext = padded(records());
        let body = decode(&plaintext).expect("decodes");
        assert_eq!(body.link, LINK);
        let Content::Records(found) = body.content else {
            panic!("records were encoded");
        };
        let found: Vec<_> = found.iter().collect();
        assert_eq!(found, [(7, &b"one"[..]), (8, b""), (9, b"three")]);
    }

    #[test]
    fn headers_and_closing_groups_come_back() {
        let header = SegmentHeader {
            log_id: LogId([3; 16]),
            incarnation: 1,
            opening: 2,
            segment_bytes: 3,
            previous_bytes: 4,
            records: 5,
        };
        let mut plaintext = Vec::new();
        encode_header(LINK, &header, &mut plaintext);
        let plaintext = padded(plaintext);
        assert_eq!(
            decode(&plaintext).map(|body| body.content),
            Some(Content::Header(header))
        );
        // One sector each, so that neither is ever torn.
        assert_eq!(GROUP_OVERHEAD + plaintext.len(), SECTOR_BYTES);
        let mut plaintext = Vec::new();
        encode_close(LINK, 6, &mut plaintext);
        let plaintext = padded(plaintext);
        assert_eq!(
            decode(&plaintext).map(|body| body.content),
            Some(Content::Close { records: 6 })
        );
        assert_eq!(GROUP_OVERHEAD + plaintext.len(), SECTOR_BYTES);
    }

    #[test]
    fn an_unknown_kind_is_refused() {
        for kind in [0, 4, 255] {
            let mut plaintext = padded(records());
            plaintext[0] = kind;
            assert_eq!(decode(&plaintext), None);
        }
    }

    #[test]
    fn padding_that_is_not_zero_is_refused() {
        let mut plaintext = padded(records());
        *plaintext.last_mut().expect("not empty") = 1;
        assert_eq!(decode(&plaintext), None);
    }

    #[test]
    fn padding_longer_than_needed_is_refused() {
        let mut plaintext = padded(records());
        plaintext.resize(plaintext.len() + SECTOR_BYTES, 0);
        assert_eq!(decode(&plaintext), None);
    }

    #[test]
    fn a_group_without_records_is_refused() {
        let mut plaintext = Vec::new();
        encode_records::<&[u8]>(LINK, 7, &[], &mut plaintext);
        assert_eq!(decode(&padded(plaintext)), None);
    }

    #[test]
    fn record_numbers_that_overflow_are_refused() {
        for first in [0, u64::MAX] {
            let mut plaintext = Vec::new();
            encode_records(LINK, first, &[b"a"], &mut plaintext);
            assert_eq!(decode(&padded(plaintext)), None, "{first}");
        }
    }

    #[test]
    fn lengths_beyond_the_end_are_refused() {
        let mut plaintext = padded(records());
        let at = PREFIX_BYTES + RECORDS_PREFIX_BYTES;
        plaintext[at..at + 4].copy_from_slice(&u32::MAX.to_le_bytes());
        assert_eq!(decode(&plaintext), None);
        let mut plaintext = padded(records());
        plaintext[at - 4..at].copy_from_slice(&u32::MAX.to_le_bytes());
        assert_eq!(decode(&plaintext), None);
    }

    #[test]
    fn every_prefix_is_refused() {
        let plaintext = padded(records());
        for length in 0..plaintext.len() {
            assert_eq!(decode(&plaintext[..length]), None, "{length}");
        }
    }
}
