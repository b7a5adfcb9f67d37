//! Reads one segment group by group and checks each against everything before
//! it. Opening and verifying a log both lean on this.

use std::ops::Range;

use zeroize::Zeroizing;

use crate::disk::SECTOR_BYTES;

use super::body::{Content, Records, SegmentHeader, decode};
use super::damage::{Damage, DamageKind};
use super::history::History;
use super::key::LogKey;
use super::layout::{Place, parse_head, segment_name};
use super::tail::{self, TailFault};

/// A walk over the bytes of one segment.
pub(super) struct SegmentWalk<'a> {
    key: &'a LogKey,
    number: u32,
    bytes: &'a [u8],
    is_last: bool,
    offset: usize,
    header: Option<SegmentHeader>,
}

/// What a step of the walk found.
pub(super) enum Step<'s> {
    /// The first group.
    Header(SegmentHeader),
    /// A group of records.
    Records(Records<'s>),
    /// The end, with nothing wrong up to it.
    End(Ending),
}

/// How a segment ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Ending {
    /// It was being written, and is the last one: `end` is where the next group would start, and
    /// `unfinished`, which starts there, holds what a write left behind.
    Open {
        end: usize,
        unfinished: Range<usize>,
    },
    /// Its closing group ends at `end`; the file may still have its full size.
    Closed { end: usize },
}

impl Ending {
    /// Where the last group ends.
    pub(super) fn end(&self) -> usize {
        match *self {
            Self::Open { end, .. } | Self::Closed { end } => end,
        }
    }
}

impl<'a> SegmentWalk<'a> {
    /// A walk that starts at the header of segment `number`.
    pub(super) fn new(key: &'a LogKey, number: u32, bytes: &'a [u8], is_last: bool) -> Self {
        Self {
            key,
            number,
            bytes,
            is_last,
            offset: 0,
            header: None,
        }
    }

    /// The next group, which has to continue `history`; `scratch` takes its
    /// plaintext.
    pub(super) fn step<'s>(
        &mut self,
        history: &mut History,
        scratch: &'s mut Zeroizing<Vec<u8>>,
    ) -> Result<Step<'s>, Damage> {
        let at = self.offset;
        let Some(length) = self.group_length() else {
            return self.end_without_close().map(Step::End);
        };
        let group = &self.bytes[at..at + length];
        let place = self.place(at);
        scratch.clear();
        scratch.extend_from_slice(group);
        let Ok(plaintext) = self.key.open(place, scratch) else {
            return self.end_without_close().map(Step::End);
        };
        let damaged = |what| damage(self.number, at..at + length, what);
        let body = decode(plaintext).ok_or_else(|| damaged(DamageKind::Malformed))?;
        if matches!(body.content, Content::Header(_)) != (at == 0) {
            return Err(damaged(DamageKind::Malformed));
        }
        history.follow(&body, self.number, group).map_err(damaged)?;
        let content = body.content;
        self.offset = at + length;
        match content {
            Content::Header(header) => {
                self.header = Some(header);
                Ok(Step::Header(header))
            }
            Content::Records(records) => Ok(Step::Records(records)),
            Content::Close { .. } => Ok(Step::End(self.end_with_close()?)),
        }
    }

    /// Moves behind a damage to the next place where a group starts, and returns
    /// what lies between; `None` when no group follows.
    pub(super) fn resume(&mut self) -> Option<Range<usize>> {
        let from = self.offset;
        // A head that is itself valid tells how much its group occupies.
        let length = self.group_length().unwrap_or(SECTOR_BYTES);
        let mut offset = from + length;
        while offset < self.bytes.len() {
            if parse_head(self.key, self.place(offset), &self.bytes[offset..]).is_some() {
                self.offset = offset;
                return Some(from..offset);
            }
            offset += SECTOR_BYTES;
        }
        None
    }

    /// All bytes of the segment.
    pub(super) fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    fn place(&self, offset: usize) -> Place {
        Place {
            segment: self.number,
            offset: offset as u64,
        }
    }

    /// The length of the group that starts here and ends within the file.
    fn group_length(&self) -> Option<usize> {
        let rest = &self.bytes[self.offset..];
        let length = parse_head(self.key, self.place(self.offset), rest)?;
        (length <= rest.len()).then_some(length)
    }

    /// No group opens here: the end of the log, or damage.
    fn end_without_close(&self) -> Result<Ending, Damage> {
        let at = self.offset;
        let rest = at..self.bytes.len();
        let parsed = parse_head(self.key, self.place(at), &self.bytes[at..]);
        // A file without its header was never given a segment's name: the
        // header is synced before the name exists.
        let expected = match self.header {
            Some(header) => header.segment_bytes,
            None => {
                let (length, what) = match parsed {
                    Some(length) => (length, DamageKind::Unauthentic),
                    None => (SECTOR_BYTES, DamageKind::NoGroup),
                };
                return Err(self.damage(at..rest.end.min(at + length), what));
            }
        };
        if self.is_last && self.bytes.len() as u64 == expected {
            return match tail::unfinished(self.key, self.number, self.bytes, at) {
                Ok(unfinished) => Ok(Ending::Open {
                    end: at,
                    unfinished,
                }),
                Err(fault) => Err(self.fault(fault)),
            };
        }
        match parsed {
            Some(length) if length <= rest.len() => {
                Err(self.damage(at..at + length, DamageKind::Unauthentic))
            }
            _ if self.is_last => Err(self.damage(rest, DamageKind::WrongSize { expected })),
            Some(_) => Err(self.damage(rest, DamageKind::BeyondEnd)),
            None if rest.is_empty() => Err(self.damage(rest, DamageKind::Unclosed)),
            None => Err(self.damage(rest, DamageKind::NoGroup)),
        }
    }

    /// The closing group was just read.
    fn end_with_close(&self) -> Result<Ending, Damage> {
        let end = self.offset;
        if end == self.bytes.len() {
            return Ok(Ending::Closed { end });
        }
        // Between the closing group and the cut of the file, its size is full
        // and the rest was never written.
        let full = self.header.map(|header| header.segment_bytes);
        if !self.is_last || full != Some(self.bytes.len() as u64) {
            let expected = end as u64;
            let rest = end..self.bytes.len();
            return Err(self.damage(rest, DamageKind::WrongSize { expected }));
        }
        match tail::check_zeros(self.bytes, end) {
            Ok(()) => Ok(Ending::Closed { end }),
            Err(fault) => Err(self.fault(fault)),
        }
    }

    fn fault(&self, fault: TailFault) -> Damage {
        self.damage(fault.place, fault.what)
    }

    fn damage(&self, place: Range<usize>, what: DamageKind) -> Damage {
        damage(self.number, place, what)
    }
}

fn damage(number: u32, place: Range<usize>, what: DamageKind) -> Damage {
    Damage {
        file: segment_name(number),
        offset: place.start as u64,
        length: place.len() as u64,
        what,
    }
}
