//! The replica: what one node holds of each key, and what it grants.
//!
//! A state machine without disk, clock or socket: requests go in with the wall
//! time, records for the log and answers come out. An answer leaves only when
//! everything it rests on is durable, which the machine knows from the
//! [`Durable`] tokens that completed syncs return.
//!
//! Promises are not written one by one. The log holds a *ceiling*: promises up to
//! that clock may have been given. A promise above it first raises the ceiling,
//! durably. After a restart all promises are forgotten and the ceiling refuses
//! every ballot that could have been promised (REPLICATION rule 3).

use std::collections::{BTreeMap, VecDeque};
use std::ops::Bound;

use bytes::Bytes;

use crate::ballot::Ballot;
use crate::clock::{Clock, HybridClock};
use crate::log::Durable;
use crate::message::{Reply, Request, SCAN_BYTES_MAX, SCAN_ENTRIES_MAX, ScanEntry};
use crate::record::Record;
use crate::register::Register;

/// How far ahead of both its clocks a replica follows a ballot, in milliseconds:
/// a machine with a wild clock must not expire everybody's deadlines.
pub const CLOCK_LEAD_MS_MAX: u64 = 60_000;
/// How far above the promise that needs it a ceiling is raised, in milliseconds.
const CEILING_LEAD_MS: u64 = 2_000;

/// Names the request that an answer belongs to; the shell's affair.
pub type RequestToken = u64;

/// What a replica wants done.
#[derive(Debug, PartialEq, Eq)]
pub enum Effect {
    /// Append this record to the log, where it gets this number.
    Append(u64, Record),
    /// Send this answer.
    Reply(RequestToken, Reply),
}

#[derive(Debug, Clone, Default)]
struct Slot {
    promise: Ballot,
    accepted: Ballot,
    state: Register,
    /// The log record that holds `accepted`; 0 when it was replayed.
    record: u64,
}

/// The state of one replica.
#[derive(Debug)]
pub struct Replica {
    epoch: u64,
    slots: BTreeMap<Bytes, Slot>,
    clock: HybridClock,
    /// Every ballot up to this is refused: promises of former starts.
    floor: Ballot,
    /// The ceiling that was appended last, and the record that holds it.
    ceiling: (Clock, u64),
    /// The one before: promises below it do not wait for the last one.
    former_ceiling: (Clock, u64),
    /// The number of the record that was appended last.
    appended: u64,
    /// All records up to this are durable.
    durable: u64,
    /// Answers that wait for records, in the order in which they were made.
    waiting: VecDeque<(u64, RequestToken, Reply)>,
}

/// Collects what a log holds, record by record, and becomes a replica.
#[derive(Debug, Default)]
pub struct Replay {
    slots: BTreeMap<Bytes, Slot>,
    ceiling: Clock,
    highest: Clock,
}

impl Replay {
    /// Takes a record that belongs to the replica; others are ignored.
    pub fn record(&mut self, record: Record) {
        match record {
            Record::Accepted { key, ballot, state } => {
                self.highest = self.highest.max(ballot.clock);
                let slot = self.slots.entry(key).or_default();
                *slot = Slot {
                    promise: ballot,
                    accepted: ballot,
                    state,
                    record: 0,
                };
            }
            Record::Ceiling(clock) => self.ceiling = self.ceiling.max(clock),
            Record::Roster(_) | Record::User(_) => {}
        }
    }

    /// The replica of `epoch`, whose log goes on after record number `appended`.
    #[must_use]
    pub fn finish(self, epoch: u64, appended: u64) -> Replica {
        Replica {
            epoch,
            slots: self.slots,
            clock: HybridClock::starting_at(self.ceiling.max(self.highest)),
            floor: if self.ceiling == Clock::ZERO {
                Ballot::ZERO
            } else {
                Ballot::ceiling_of(epoch, self.ceiling)
            },
            ceiling: (self.ceiling, 0),
            former_ceiling: (self.ceiling, 0),
            appended,
            durable: appended,
            waiting: VecDeque::new(),
        }
    }
}

impl Replica {
    /// Takes a request; its answer comes out now or with a later [`Replica::synced`].
    pub fn request(
        &mut self,
        wall_ms: u64,
        token: RequestToken,
        request: Request,
        effects: &mut Vec<Effect>,
    ) {
        let (after, reply) = match request {
            Request::Prepare { key, ballot } => self.prepare(wall_ms, key, ballot, effects),
            Request::Accept { key, ballot, state } => {
                self.accept(wall_ms, key, ballot, state, effects)
            }
            Request::Read { key, epoch } => self.read(&key, epoch),
            Request::Scan {
                prefix,
                after,
                limit,
                epoch,
            } => self.scan(&prefix, &after, limit, epoch),
        };
        if after <= self.durable {
            effects.push(Effect::Reply(token, reply));
        } else {
            self.waiting.push_back((after, token, reply));
        }
    }

    /// Takes note that records are durable and releases what waited for them.
    pub fn synced(&mut self, durable: Durable, effects: &mut Vec<Effect>) {
        self.durable = self.durable.max(durable.through());
        let mut waiting = std::mem::take(&mut self.waiting);
        waiting.retain_mut(|(after, token, reply)| {
            let released = *after <= self.durable;
            if released {
                let reply = std::mem::replace(reply, Reply::Accepted);
                effects.push(Effect::Reply(*token, reply));
            }
            !released
        });
        self.waiting = waiting;
    }

    /// The number of the record that was appended last.
    #[must_use]
    pub fn appended(&self) -> u64 {
        self.appended
    }

    /// Numbers a record that the node appends besides the replica's own.
    pub fn note_foreign_record(&mut self) -> u64 {
        self.appended += 1;
        self.appended
    }

    /// The replica's clock, for proposers on the same node to begin above.
    #[must_use]
    pub fn clock(&self, wall_ms: u64) -> Clock {
        self.clock.peek(wall_ms)
    }

    /// How many keys it holds, deleted ones included.
    #[must_use]
    pub fn len(&self) -> usize {
        self.slots.len()
    }

    /// Whether it holds nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }

    fn prepare(
        &mut self,
        wall_ms: u64,
        key: Bytes,
        ballot: Ballot,
        effects: &mut Vec<Effect>,
    ) -> (u64, Reply) {
        if let Some(refusal) = self.refuse_ballot(wall_ms, ballot) {
            return (0, refusal);
        }
        let slot = self.slots.get(&key);
        let (promise, accepted) = slot.map_or((Ballot::ZERO, Ballot::ZERO), |slot| {
            (slot.promise, slot.accepted)
        });
        let standing = promise.max(accepted).max(self.floor);
        let clock_standing = promise.clock.max(accepted.clock).max(self.floor.clock);
        if ballot <= standing || ballot.clock <= clock_standing {
            return (0, Reply::Refused { standing });
        }
        self.clock.merge(ballot.clock);
        let ceiling = self.raise_ceiling(ballot.clock, effects);
        // A key that was only ever prepared needs a slot for its promise; what
        // bounds them is that preparing takes a signed session's right to write.
        let slot = self.slots.entry(key).or_default();
        slot.promise = ballot;
        let reply = Reply::Holds {
            accepted: slot.accepted,
            state: slot.state.clone(),
        };
        (ceiling.max(slot.record), reply)
    }

    fn accept(
        &mut self,
        wall_ms: u64,
        key: Bytes,
        ballot: Ballot,
        state: Register,
        effects: &mut Vec<Effect>,
    ) -> (u64, Reply) {
        if let Some(refusal) = self.refuse_ballot(wall_ms, ballot) {
            return (0, refusal);
        }
        let floor = self.floor;
        let slot = self.slots.entry(key.clone()).or_default();
        if slot.accepted == ballot {
            return (slot.record, Reply::Accepted);
        }
        let promise = slot.promise.max(floor);
        if ballot < promise || ballot <= slot.accepted {
            let standing = promise.max(slot.accepted);
            return (0, Reply::Refused { standing });
        }
        self.appended += 1;
        *slot = Slot {
            promise: ballot,
            accepted: ballot,
            state: state.clone(),
            record: self.appended,
        };
        self.clock.merge(ballot.clock);
        let record = Record::Accepted { key, ballot, state };
        effects.push(Effect::Append(self.appended, record));
        (self.appended, Reply::Accepted)
    }

    fn read(&self, key: &Bytes, epoch: u64) -> (u64, Reply) {
        if epoch != self.epoch {
            return (0, Reply::WrongEpoch { epoch: self.epoch });
        }
        match self.slots.get(key) {
            None => (
                0,
                Reply::Holds {
                    accepted: Ballot::ZERO,
                    state: Register::default(),
                },
            ),
            Some(slot) => (
                slot.record,
                Reply::Holds {
                    accepted: slot.accepted,
                    state: slot.state.clone(),
                },
            ),
        }
    }

    fn scan(&self, prefix: &Bytes, after: &Bytes, limit: usize, epoch: u64) -> (u64, Reply) {
        if epoch != self.epoch {
            return (0, Reply::WrongEpoch { epoch: self.epoch });
        }
        let limit = limit.clamp(1, SCAN_ENTRIES_MAX);
        let start = if *after >= *prefix && !after.is_empty() {
            Bound::Excluded(after.clone())
        } else {
            Bound::Included(prefix.clone())
        };
        let mut entries = Vec::new();
        let mut bytes = 0;
        let mut record = 0;
        let mut complete = true;
        for (key, slot) in self.slots.range((start, Bound::Unbounded)) {
            if !key.starts_with(prefix) {
                break;
            }
            if slot.accepted == Ballot::ZERO {
                continue;
            }
            if entries.len() == limit || bytes > SCAN_BYTES_MAX {
                complete = false;
                break;
            }
            bytes += key.len();
            record = record.max(slot.record);
            entries.push(ScanEntry {
                key: key.clone(),
                accepted: slot.accepted,
                revision: slot.state.revision,
                size: slot.state.value.as_ref().map(|value| value.len() as u64),
            });
        }
        (record, Reply::Scanned { entries, complete })
    }

    fn refuse_ballot(&self, wall_ms: u64, ballot: Ballot) -> Option<Reply> {
        if ballot.epoch != self.epoch {
            return Some(Reply::WrongEpoch { epoch: self.epoch });
        }
        let clock = self.clock.peek(wall_ms);
        if ballot.clock > clock.plus_ms(CLOCK_LEAD_MS_MAX) {
            return Some(Reply::ClockTooFar { clock });
        }
        None
    }

    /// Makes sure that the ceiling is above `clock`; returns the record that must
    /// be durable before a promise at `clock` is told.
    fn raise_ceiling(&mut self, clock: Clock, effects: &mut Vec<Effect>) -> u64 {
        let needed = if clock <= self.former_ceiling.0 {
            self.former_ceiling.1
        } else if clock <= self.ceiling.0 {
            self.ceiling.1
        } else {
            self.append_ceiling(clock, effects);
            return self.ceiling.1;
        };
        // Ahead of need, so that the promises after this one do not wait.
        if clock.plus_ms(CEILING_LEAD_MS / 2) > self.ceiling.0 {
            self.append_ceiling(clock, effects);
        }
        needed
    }

    fn append_ceiling(&mut self, clock: Clock, effects: &mut Vec<Effect>) {
        self.appended += 1;
        self.former_ceiling = self.ceiling;
        self.ceiling = (clock.plus_ms(CEILING_LEAD_MS), self.appended);
        let record = Record::Ceiling(self.ceiling.0);
        effects.push(Effect::Append(self.appended, record));
    }
}
