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

mod epoch;
mod forget;
mod refill;

use std::collections::{BTreeMap, VecDeque};
use std::ops::Bound;

use bytes::Bytes;
use sealmoot_authn::policy::RESERVED_PREFIX;

use crate::ballot::Ballot;
use crate::clock::{Clock, HybridClock};
use crate::directory::DirectoryRecord;
use crate::log::Durable;
use crate::message::{Reply, Request, SCAN_BYTES_MAX, SCAN_ENTRIES_MAX, ScanEntry};
use crate::mutant::{Mutant, active};
use crate::record::{Record, RefillStage};
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
    /// The log record that holds `accepted`, and the mark; 0 when it was replayed.
    record: u64,
    /// Whether it is a tombstone that all members hold.
    condemned: bool,
}

/// The state of one replica.
#[derive(Debug)]
pub struct Replica {
    epoch: u64,
    slots: BTreeMap<Bytes, Slot>,
    clock: HybridClock,
    /// Every ballot up to this is refused: promises of former starts, and those of
    /// keys that were removed.
    floor: Ballot,
    /// The highest revision of any key that was removed.
    revision_floor: u64,
    /// The record that raised the floors last, or changed the epoch or the incarnation:
    /// no answer under them leaves before it is durable.
    floor_record: u64,
    standing: Standing,
    /// Whether it lost what it held, and how far it is with taking it from the others.
    refill: RefillStage,
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

/// As whom the replica answers.
#[derive(Debug)]
enum Standing {
    /// As a member of one epoch that never ends.
    Fixed,
    /// As what the directory's records say of this node.
    InDirectory(InDirectory),
}

#[derive(Debug)]
struct InDirectory {
    node: u64,
    /// None before the node was ever to be a member, and when its disk was lost.
    incarnation: Option<u64>,
    /// The record of the epoch; none before any was adopted.
    record: Option<DirectoryRecord>,
    /// The log record after which the data is dropped.
    retiring: Option<u64>,
}

/// Collects what a log holds, record by record, and becomes a replica.
#[derive(Debug, Default)]
pub struct Replay {
    slots: BTreeMap<Bytes, Slot>,
    ceiling: Clock,
    highest: Clock,
    floor: Ballot,
    revision_floor: u64,
    incarnation: Option<u64>,
    directory: Option<DirectoryRecord>,
    refill: Option<RefillStage>,
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
                    condemned: false,
                };
            }
            Record::Condemned { key, ballot } => {
                if let Some(slot) = self.slots.get_mut(&key) {
                    slot.condemned = slot.accepted == ballot;
                }
            }
            Record::Removed {
                key,
                floor,
                revision_floor,
            } => {
                self.slots.remove(&key);
                self.floor = self.floor.max(floor);
                self.revision_floor = self.revision_floor.max(revision_floor);
            }
            Record::Refill(stage) => self.refill = Some(stage),
            Record::Ceiling(clock) => self.ceiling = self.ceiling.max(clock),
            Record::Incarnation(_) | Record::Epoch { .. } | Record::Floors { .. } => {
                self.record_of_epoch(record);
            }
            Record::Roster(_)
            | Record::Signed(_)
            | Record::Roots(_)
            | Record::Throttle(_)
            | Record::Time(_)
            | Record::Attested { .. } => {}
        }
    }

    /// The latest time that the log knows of.
    #[must_use]
    pub fn clock(&self) -> Clock {
        self.ceiling.max(self.highest)
    }

    /// The replica of `epoch`, whose log goes on after record number `appended`.
    #[must_use]
    pub fn finish(self, epoch: u64, appended: u64) -> Replica {
        self.into_replica(epoch, appended, Standing::Fixed)
    }

    fn into_replica(self, epoch: u64, appended: u64, standing: Standing) -> Replica {
        Replica {
            epoch,
            slots: self.slots,
            clock: HybridClock::starting_at(self.ceiling.max(self.highest).max(self.floor.clock)),
            floor: if self.ceiling == Clock::ZERO || active(Mutant::NoPromiseCeiling) {
                self.floor
            } else {
                self.floor.max(Ballot::ceiling_of(epoch, self.ceiling))
            },
            revision_floor: self.revision_floor,
            floor_record: 0,
            standing,
            refill: self.refill.unwrap_or(RefillStage::Done),
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
            Request::Accept {
                key,
                ballot,
                state,
                next,
                epoch,
            } => self.accept(wall_ms, key, (ballot, epoch), state, next, effects),
            Request::Condemn { key, ballot, epoch } => self
                .refuse_forgetting(wall_ms, ballot, epoch)
                .unwrap_or_else(|| self.condemn(key, ballot, effects)),
            Request::Remove {
                key,
                ballot,
                revision,
                epoch,
            } => self
                .refuse_forgetting(wall_ms, ballot, epoch)
                .unwrap_or_else(|| self.remove(key, ballot, revision, effects)),
            Request::Fence { epoch } => self.fence(epoch),
            Request::Install {
                key,
                ballot,
                state,
                epoch,
            } => self.install(wall_ms, key, (ballot, epoch), state, effects),
            Request::RaiseFloors {
                floor,
                revision_floor,
                epoch,
            } => self.carry_floors(wall_ms, (floor, epoch), revision_floor, effects),
            Request::Read { key, epoch } => self.read(&key, epoch),
            Request::Scan {
                prefix,
                after,
                limit,
                epoch,
            } => self.scan(&prefix, &after, limit, epoch),
        };
        let after = after.max(self.floor_record);
        if after <= self.durable || active(Mutant::AcknowledgedBeforeSync) {
            effects.push(Effect::Reply(token, reply));
        } else {
            self.waiting.push_back((after, token, reply));
        }
    }

    /// Takes note that records are durable and releases what waited for them.
    pub fn synced(&mut self, durable: Durable, effects: &mut Vec<Effect>) {
        self.durable = self.durable.max(durable.through());
        self.drop_when_retired();
        let mut waiting = std::mem::take(&mut self.waiting);
        waiting.retain_mut(|(after, token, reply)| {
            let released = *after <= self.durable;
            if released {
                let reply = std::mem::replace(reply, Reply::Accepted { promised: false });
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
        let promise = self.effective_promise(slot.map(|_| promise));
        let standing = promise.max(accepted);
        if !rises_above(ballot, promise) || !rises_above(ballot, accepted) {
            return (0, Reply::Refused { standing });
        }
        let ceiling = self.promise(ballot, effects);
        // A key that was only ever prepared needs a slot for its promise; what
        // bounds them is that preparing takes a signed session's right to write.
        let slot = self.slots.entry(key).or_default();
        slot.promise = ballot;
        let reply = Reply::Holds {
            accepted: slot.accepted,
            state: slot.state.clone(),
            condemned: slot.condemned,
            revision_floor: self.revision_floor,
            floor: self.floor,
        };
        (ceiling.max(slot.record), reply)
    }

    fn accept(
        &mut self,
        wall_ms: u64,
        key: Bytes,
        (ballot, epoch): (Ballot, u64),
        state: Register,
        next: Option<Ballot>,
        effects: &mut Vec<Effect>,
    ) -> (u64, Reply) {
        if let Some(refusal) = self.refuse_former_ballot(wall_ms, ballot, epoch) {
            return (0, refusal);
        }
        let held = self.slots.get(&key);
        let accepted = held.map_or(Ballot::ZERO, |slot| slot.accepted);
        // The very message that was granted before: it changes nothing.
        if let Some(held) = held
            && accepted == ballot
        {
            let record = held.record;
            let (ceiling, promised) = self.promise_next(wall_ms, &key, next, effects);
            return (record.max(ceiling), Reply::Accepted { promised });
        }
        let promise = self.effective_promise(held.map(|slot| slot.promise));
        if ballot < promise || ballot <= accepted {
            let standing = promise.max(accepted);
            return (0, Reply::Refused { standing });
        }
        self.appended += 1;
        let record = self.appended;
        let slot = Slot {
            promise: ballot,
            accepted: ballot,
            state: state.clone(),
            record,
            condemned: false,
        };
        self.slots.insert(key.clone(), slot);
        self.clock.merge(ballot.clock);
        let accepted = Record::Accepted {
            key: key.clone(),
            ballot,
            state,
        };
        effects.push(Effect::Append(record, accepted));
        let (ceiling, promised) = self.promise_next(wall_ms, &key, next, effects);
        (record.max(ceiling), Reply::Accepted { promised })
    }

    /// Promises the ballot that came along with an accept, under the conditions of a
    /// prepare; to be called while the accepted state is the one that it came with.
    /// Returns the record that the promise rests on, and whether it is given.
    fn promise_next(
        &mut self,
        wall_ms: u64,
        key: &Bytes,
        next: Option<Ballot>,
        effects: &mut Vec<Effect>,
    ) -> (u64, bool) {
        let (Some(next), Some(slot)) = (next, self.slots.get(key)) else {
            return (0, false);
        };
        let promise = self.effective_promise(Some(slot.promise));
        // A repeated message finds its own promise.
        if next != slot.promise {
            let acceptable = self.refuse_ballot(wall_ms, next).is_none();
            if !acceptable || !rises_above(next, promise) || !rises_above(next, slot.accepted) {
                return (0, false);
            }
        }
        let ceiling = self.promise(next, effects);
        if let Some(slot) = self.slots.get_mut(key) {
            slot.promise = next;
        }
        (ceiling, true)
    }

    /// What stands against a ballot for a key: its promise, and the floor whether
    /// there is a record or not.
    fn effective_promise(&self, promise: Option<Ballot>) -> Ballot {
        match promise {
            Some(promise) if active(Mutant::RecordIgnoresFloor) => promise,
            Some(promise) => promise.max(self.floor),
            None => self.floor,
        }
    }

    /// Follows the clock of a ballot that is promised; returns the record that must
    /// be durable before the promise is told.
    fn promise(&mut self, ballot: Ballot, effects: &mut Vec<Effect>) -> u64 {
        self.clock.merge(ballot.clock);
        self.raise_ceiling(ballot.clock, effects)
    }

    fn read(&self, key: &Bytes, epoch: u64) -> (u64, Reply) {
        if let Some(refusal) = self.refuse_epoch(epoch) {
            return (0, refusal);
        }
        match self.slots.get(key) {
            None => (
                0,
                Reply::Holds {
                    accepted: Ballot::ZERO,
                    state: Register::default(),
                    condemned: false,
                    revision_floor: self.revision_floor,
                    floor: self.floor,
                },
            ),
            Some(slot) => (
                slot.record,
                Reply::Holds {
                    accepted: slot.accepted,
                    state: slot.state.clone(),
                    condemned: slot.condemned,
                    revision_floor: self.revision_floor,
                    floor: self.floor,
                },
            ),
        }
    }

    fn scan(&self, prefix: &Bytes, after: &Bytes, limit: usize, epoch: u64) -> (u64, Reply) {
        if let Some(refusal) = self.refuse_epoch(epoch) {
            return (0, refusal);
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
            // What the store keeps for itself is listed by its own prefix only.
            let hidden = key.starts_with(RESERVED_PREFIX) && !prefix.starts_with(RESERVED_PREFIX);
            if slot.accepted == Ballot::ZERO || hidden {
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
        let floor = self.floor;
        let scanned = Reply::Scanned {
            entries,
            complete,
            floor,
        };
        (record, scanned)
    }

    fn refuse_ballot(&self, wall_ms: u64, ballot: Ballot) -> Option<Reply> {
        self.refuse_former_ballot(wall_ms, ballot, ballot.epoch)
    }

    /// The same for a ballot that may be of an epoch before the asker's.
    fn refuse_former_ballot(&self, wall_ms: u64, ballot: Ballot, epoch: u64) -> Option<Reply> {
        if let Some(refusal) = self.refuse_epoch(epoch) {
            return Some(refusal);
        }
        if ballot.epoch > epoch {
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

/// Whether a ballot may be promised over another: above it, and with a higher clock
/// whatever the epochs, so that the clock of a key's ballots never falls.
fn rises_above(ballot: Ballot, standing: Ballot) -> bool {
    let falls = ballot.epoch > standing.epoch && active(Mutant::ClockFallsAcrossEpochs);
    ballot > standing && (ballot.clock > standing.clock || falls)
}
