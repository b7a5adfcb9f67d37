//! How far a log has come: counters and the hash chain over every group.

use std::fmt;

use sealmoot_crypto::digest::Sha256;
use sealmoot_crypto::encoding::{EncodingError, Reader, Writer};

use super::body::{Link, SegmentHeader};

/// Random bytes that tell one log from every other.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct LogId(pub [u8; 16]);

/// A value of the hash chain: it names everything that was written before it.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Chain(pub [u8; 32]);

/// How far a log has come. Peers remember it: a log that later shows less, or
/// another chain value at the same count, was rolled back or forked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogPosition {
    /// Which log this is.
    pub log_id: LogId,
    /// The number that the log's creator gave this life of the node.
    pub incarnation: u64,
    /// How often the log was opened, its creation included.
    pub opening: u64,
    /// The segment that is being written.
    pub segment: u32,
    /// The number of the last record; records count from one.
    pub records: u64,
    /// The chain value over all groups so far.
    pub chain: Chain,
}

/// Proof that a sync completed after every record up to a number was written.
/// Only a log makes one; an acknowledgement that promises durability asks for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "an acknowledgement is built from this"]
pub struct Durable {
    position: LogPosition,
}

impl Durable {
    /// All records with numbers up to this one are on disk.
    #[must_use]
    pub fn through(&self) -> u64 {
        self.position.records
    }

    /// Where the log stood when the sync completed.
    #[must_use]
    pub fn position(&self) -> LogPosition {
        self.position
    }

    /// To be called right after a successful sync, and nowhere else.
    pub(super) fn after_sync(position: LogPosition) -> Self {
        Self { position }
    }
}

/// A position with what only the log itself needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Cursor {
    pub(super) position: LogPosition,
    /// How many groups precede the next one.
    pub(super) sequence: u64,
}

/// Where a log begins whose first segments were retired: in front of the header of a
/// segment. Who retires segments keeps it, authenticated, and opens the log with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogBase {
    pub(super) cursor: Cursor,
    /// The final length of the segment before.
    pub(super) previous_bytes: u64,
}

impl LogBase {
    /// The number of the first segment that has to be there.
    #[must_use]
    pub fn first_segment(&self) -> u32 {
        self.cursor.position.segment.saturating_add(1)
    }

    /// The number of the last record that is not there any more; 0 for none.
    #[must_use]
    pub fn records(&self) -> u64 {
        self.cursor.position.records
    }

    /// Writes its bytes.
    pub fn write(&self, writer: &mut Writer) {
        let position = &self.cursor.position;
        writer.fixed(&position.log_id.0);
        writer.u64(position.incarnation);
        writer.u64(position.opening);
        writer.u32(position.segment);
        writer.u64(position.records);
        writer.fixed(&position.chain.0);
        writer.u64(self.cursor.sequence);
        writer.u64(self.previous_bytes);
    }

    /// Reads a base.
    ///
    /// # Errors
    /// [`EncodingError`].
    pub fn read(reader: &mut Reader<'_>) -> Result<Self, EncodingError> {
        let position = LogPosition {
            log_id: LogId(reader.array()?),
            incarnation: reader.u64()?,
            opening: reader.u64()?,
            segment: reader.u32()?,
            records: reader.u64()?,
            chain: Chain(reader.array()?),
        };
        let cursor = Cursor {
            position,
            sequence: reader.u64()?,
        };
        Ok(Self {
            cursor,
            previous_bytes: reader.u64()?,
        })
    }
}

impl Cursor {
    /// Before the first group of a log.
    pub(super) fn before(log_id: LogId, incarnation: u64) -> Self {
        Self {
            position: LogPosition {
                log_id,
                incarnation,
                opening: 1,
                segment: 0,
                records: 0,
                chain: Chain::START,
            },
            sequence: 0,
        }
    }

    /// What the next group has to say about its place in history.
    pub(super) fn link(&self) -> Link {
        Link {
            sequence: self.sequence,
            previous: self.position.chain,
        }
    }

    /// Behind a group with these bytes.
    pub(super) fn advance(&mut self, group: &[u8]) {
        self.sequence = self.sequence.saturating_add(1);
        self.position.chain = self.position.chain.after(group);
    }

    /// Whether a segment with this header follows.
    pub(super) fn is_followed_by(&self, link: Link, header: &SegmentHeader) -> bool {
        let position = &self.position;
        let same_opening = header.opening == position.opening;
        let next_opening = Some(header.opening) == position.opening.checked_add(1);
        link == self.link()
            && header.log_id == position.log_id
            && header.incarnation == position.incarnation
            && header.records == position.records
            && (same_opening || next_opening)
    }
}

impl Chain {
    /// Before the first group.
    pub(super) const START: Self = Self([0; 32]);

    /// `SHA-256("kv log chain 1" || self || group)`.
    pub(super) fn after(self, group: &[u8]) -> Self {
        let mut hasher = Sha256::new();
        hasher.update(b"kv log chain 1");
        hasher.update(&self.0);
        hasher.update(group);
        Self(hasher.finish())
    }
}

impl fmt::Display for LogId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_hex(&self.0, formatter)
    }
}

impl fmt::Debug for LogId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_hex(&self.0, formatter)
    }
}

impl fmt::Display for Chain {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_hex(&self.0, formatter)
    }
}

impl fmt::Debug for Chain {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_hex(&self.0, formatter)
    }
}

fn write_hex(bytes: &[u8], formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
    bytes
        .iter()
        .try_for_each(|byte| write!(formatter, "{byte:02x}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_chain_depends_on_every_group_and_their_order() {
        let one = Chain::START.after(b"a").after(b"b");
        assert_ne!(one, Chain::START.after(b"b").after(b"a"));
        assert_ne!(one, Chain::START.after(b"ab"));
        assert_eq!(one, Chain::START.after(b"a").after(b"b"));
    }

    #[test]
    fn only_the_very_next_segment_follows() {
        let mut cursor = Cursor::before(LogId([1; 16]), 5);
        cursor.advance(b"group");
        cursor.position.records = 3;
        let header = SegmentHeader {
            log_id: LogId([1; 16]),
            incarnation: 5,
            opening: 1,
            segment_bytes: 0,
            previous_bytes: 0,
            records: 3,
        };
        let link = cursor.link();
        assert!(cursor.is_followed_by(link, &header));
        let refused = |change: fn(&mut SegmentHeader)| {
            let mut header = header;
            change(&mut header);
            assert!(!cursor.is_followed_by(link, &header), "{header:?}");
        };
        refused(|header| header.log_id = LogId([2; 16]));
        refused(|header| header.incarnation = 6);
        refused(|header| header.records = 2);
        refused(|header| header.opening = 3);
        refused(|header| header.opening = 0);
        let link = Link {
            sequence: 2,
            ..link
        };
        assert!(!cursor.is_followed_by(link, &header));
    }
}
