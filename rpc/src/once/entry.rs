//! What a server remembers of one incarnation, and of one call in it.

use std::collections::BTreeMap;
use std::time::Instant;

use bytes::Bytes;

use super::Outcome;
use crate::status::Status;

/// One incarnation: complete at and above the floor.
#[derive(Debug)]
pub(super) struct Incarnated<W> {
    pub(super) used: Instant,
    pub(super) floor: u64,
    pub(super) running: usize,
    pub(super) entries: BTreeMap<u64, Entry<W>>,
}

/// One call.
#[derive(Debug)]
pub(super) struct Entry<W> {
    pub(super) phase: Phase<W>,
    /// What the kept outcome counts.
    pub(super) bytes: usize,
}

#[derive(Debug)]
pub(super) enum Phase<W> {
    /// The handler has it, and these wait.
    Running(Vec<W>),
    /// It ended so.
    Done(Outcome),
    /// It succeeded, and there was no room for the reply.
    Lost,
}

/// What one identity takes of the table.
#[derive(Debug, Default)]
pub(super) struct Share {
    pub(super) incarnations: usize,
    pub(super) entries: usize,
    pub(super) reply_bytes: usize,
}

impl<W> Incarnated<W> {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            used: now,
            floor: 1,
            running: 0,
            entries: BTreeMap::new(),
        }
    }

    /// What it takes of its identity's share.
    pub(super) fn share(&self) -> Share {
        Share {
            incarnations: 1,
            entries: self.entries.len(),
            reply_bytes: self.entries.values().map(|entry| entry.bytes).sum(),
        }
    }

    /// A floor that an earlier attempt carries, late, lowers nothing.
    /// Returns what it has removed.
    pub(super) fn raise_floor(&mut self, floor: u64) -> Share {
        let mut removed = Share::default();
        if floor <= self.floor {
            return removed;
        }
        let ended: Vec<u64> = self
            .passed_by(floor)
            .filter(|(_, entry)| !matches!(entry.phase, Phase::Running(_)))
            .map(|(sequence, _)| *sequence)
            .collect();
        self.floor = floor;
        for sequence in ended {
            if let Some(entry) = self.entries.remove(&sequence) {
                removed.entries += 1;
                removed.reply_bytes += entry.bytes;
            }
        }
        removed
    }

    /// What a rise of the floor has to look at. Below the floor that there was
    /// stand running calls alone, and they leave when they end: looking at them
    /// again with each rise would let small frames cost as much as there are
    /// running calls.
    pub(super) fn passed_by(&self, floor: u64) -> impl Iterator<Item = (&u64, &Entry<W>)> {
        self.entries.range(self.floor..floor.max(self.floor))
    }
}

impl<W> Entry<W> {
    pub(super) fn running(waiter: W) -> Self {
        Self {
            phase: Phase::Running(vec![waiter]),
            bytes: 0,
        }
    }
}

/// What keeping an outcome costs.
pub(super) fn kept_bytes(outcome: &Outcome) -> usize {
    match outcome {
        Ok(reply) => reply.len(),
        Err(status) => status.message().len() + status.details().len(),
    }
}

/// An outcome that holds no more than it counts: a handler's reply may be a view
/// into something much larger, such as its request.
pub(super) fn kept_copy(outcome: &Outcome) -> Outcome {
    match outcome {
        Ok(reply) => Ok(Bytes::copy_from_slice(reply)),
        Err(status) => Err(
            Status::new(status.code(), status.execution(), status.message())
                .with_details(Bytes::copy_from_slice(status.details())),
        ),
    }
}
