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
    pub(super) reply_bytes: usize,
}

/// What a risen floor has removed.
#[derive(Debug, Default)]
pub(super) struct Removed {
    pub(super) count: usize,
    pub(super) bytes: usize,
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

    /// A floor that an earlier attempt carries, late, lowers nothing.
    pub(super) fn raise_floor(&mut self, floor: u64) -> Removed {
        let mut removed = Removed::default();
        if floor <= self.floor {
            return removed;
        }
        // Below the floor that there was stand running calls alone, and they
        // leave when they end: looking at them again with each rise would let
        // small frames cost as much as there are running calls.
        let passed = self.entries.range(self.floor..floor);
        let ended: Vec<u64> = passed
            .filter(|(_, entry)| !matches!(entry.phase, Phase::Running(_)))
            .map(|(sequence, _)| *sequence)
            .collect();
        self.floor = floor;
        for sequence in ended {
            if let Some(entry) = self.entries.remove(&sequence) {
                removed.count += 1;
                removed.bytes += entry.bytes;
            }
        }
        removed
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
