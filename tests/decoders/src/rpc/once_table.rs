//! What a server remembers of at-most-once calls, under programs of attempts,
//! ends and time.
//!
//! | | operands | |
//! |---|---|---|
//! | 0 open | place u8 | for the first time alone, as honest clients do |
//! | 1 begin | place u8, sequence u8, floor u8 | |
//! | 2 answer | place u8, sequence u8, length u8 | the handler replies |
//! | 3 fail | place u8, sequence u8, execution u8 | or fails |
//! | 4 cancel | place u8, sequence u8 | |
//! | 5 leave | place u8, sequence u8, waiter u8 | an attempt no longer waits |
//! | 6 pass | time u8 | so many seconds |
//! | 7 end | | the last |
//!
//! A place is an identity (2 bits) and its incarnation. Whatever is done, no call
//! runs twice unless it had no effect, who waits is told once, and in the end
//! nothing is left.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use sealmoot_crypto::signature::KeyId;
use sealmoot_rpc::bytes::Bytes;
use sealmoot_rpc::limits::{ONCE_EVICTABLE_AFTER, ONCE_KEPT};
use sealmoot_rpc::once::{Begun, Bounds, CallKey, OnceId, Outcome as Ended, Table, cancelled};
use sealmoot_rpc::{Code, Execution, Status};

use super::multiplexers::Program;
use crate::{Decoder, Outcome};

pub(super) const ALL: &[Decoder] = &[Decoder {
    name: "once_table",
    authenticates: false,
    samples: || {
        let with = |operations: &[&[u8]]| [operations.concat(), vec![END]].concat();
        vec![
            with(&[]),
            // Run, joined, answered, replayed, settled.
            with(&[
                &[0, 1],
                &[1, 1, 0, 0],
                &[1, 1, 0, 0],
                &[2, 1, 0, 9],
                &[1, 1, 0, 0],
                &[1, 1, 1, 1],
                &[1, 1, 0, 0],
            ]),
            // No effect, and so again; left, cancelled, answered too late.
            with(&[
                &[0, 2],
                &[1, 2, 0, 0],
                &[3, 2, 0, 0],
                &[1, 2, 0, 0],
                &[5, 2, 0, 1],
                &[4, 2, 0],
                &[2, 2, 0, 4],
                &[1, 2, 0, 0],
            ]),
            // More incarnations than an identity may have, long after each other.
            with(&[
                &[0, 2],
                &[0, 6],
                &[0, 10],
                &[1, 2, 0, 0],
                &[6, 255],
                &[0, 14],
                &[1, 6, 0, 0],
                &[6, 255],
                &[1, 2, 0, 0],
            ]),
        ]
    },
    check: |bytes| {
        let mut program = Program(bytes);
        let mut judge = Judge::new();
        for _ in 0..OPERATIONS_MAX {
            match judge.step(&mut program) {
                Some(Step::Further) => {}
                Some(Step::End) if program.0.is_empty() => {
                    judge.end();
                    return Outcome::Accepted;
                }
                _ => break,
            }
        }
        judge.end();
        Outcome::Refused
    },
}];

const END: u8 = 7;

/// So that a program cannot take seconds.
const OPERATIONS_MAX: usize = 1_000;

/// Sequences of one incarnation, so that programs meet the same call again.
const SEQUENCES: u8 = 8;

fn bounds() -> Bounds {
    Bounds {
        incarnations_per_identity_max: 3,
        incarnations_max: 9,
        entries_max: 5,
        entries_all_max: 12,
        reply_bytes_per_identity_max: 60,
        reply_bytes_max: 100,
        waiters_max: 3,
        evictable_after: ONCE_EVICTABLE_AFTER,
        kept: ONCE_KEPT,
    }
}

enum Step {
    Further,
    End,
}

/// What is known of a call from outside.
enum Known {
    Running(Vec<u32>),
    Ended(Ended),
}

struct Judge {
    table: Table<u32>,
    now: Instant,
    /// By place, with the highest floor that was said since.
    opened: BTreeMap<u8, u64>,
    /// Those that may have had an effect, for ever.
    calls: BTreeMap<CallKey, Known>,
    waiter: u32,
}

impl Judge {
    fn new() -> Self {
        Self {
            table: Table::new(bounds()),
            now: Instant::now(),
            opened: BTreeMap::new(),
            calls: BTreeMap::new(),
            waiter: 0,
        }
    }

    fn step(&mut self, program: &mut Program<'_>) -> Option<Step> {
        match program.u8()? {
            0 => self.open(program.u8()?),
            1 => {
                let (place, sequence) = (program.u8()?, sequence(program.u8()?));
                let floor = 1 + u64::from(program.u8()?) % sequence;
                self.begin(place, sequence, floor);
            }
            2 => {
                let key = key(program)?;
                let reply = vec![9; usize::from(program.u8()?) % 64];
                self.finish(&key, Ok(reply.into()));
            }
            3 => {
                let key = key(program)?;
                let execution = match program.u8()? % 4 {
                    0 => Execution::NotStarted,
                    1 => Execution::NotSent,
                    2 => Execution::MaybeExecuted,
                    _ => Execution::Executed,
                };
                self.finish(&key, Err(Status::new(Code::Aborted, execution, "no")));
            }
            4 => {
                let key = key(program)?;
                let waiters = self.table.cancel(self.now, &key);
                assert_eq!(waiters, self.ended(&key, Err(cancelled())));
            }
            5 => {
                let key = key(program)?;
                let waiter = u32::from(program.u8()?);
                self.table.leave(&key, &waiter);
                if let Some(Known::Running(waiters)) = self.calls.get_mut(&key) {
                    waiters.retain(|kept| *kept != waiter);
                }
            }
            6 => {
                self.now += Duration::from_secs(1) * program.u8()?.into();
                self.table.expire(self.now);
            }
            END => return Some(Step::End),
            _ => return None,
        }
        self.within_bounds();
        Some(Step::Further)
    }

    /// Only once: whoever opens twice could revive what was forgotten.
    fn open(&mut self, place: u8) {
        if self.opened.contains_key(&place) {
            return;
        }
        let key = place_key(place, 0);
        match self.table.open(self.now, key.identity, key.incarnation) {
            Ok(()) => drop(self.opened.insert(place, 0)),
            Err(status) => assert_eq!(status.execution(), Execution::NotStarted),
        }
    }

    fn begin(&mut self, place: u8, sequence: u64, floor: u64) {
        let key = place_key(place, sequence);
        let id = OnceId {
            incarnation: key.incarnation,
            sequence,
            floor,
        };
        self.waiter += 1;
        let begun = self.table.begin(self.now, key.identity, id, self.waiter);
        let highest = self.opened.get_mut(&place);
        let is_open = highest.is_some();
        let highest = highest.map_or(0, |highest| {
            *highest = floor.max(*highest);
            *highest
        });
        match begun {
            Begun::Run => {
                assert!(is_open && sequence >= highest);
                let known = self.calls.insert(key, Known::Running(vec![self.waiter]));
                assert!(known.is_none(), "{sequence} ran already");
            }
            Begun::Joined => match self.calls.get_mut(&key) {
                Some(Known::Running(waiters)) => waiters.push(self.waiter),
                _ => panic!("{sequence} does not run"),
            },
            Begun::Replay(waiter, outcome) => {
                assert_eq!(waiter, self.waiter);
                let Some(Known::Ended(ended)) = self.calls.get(&key) else {
                    panic!("{sequence} has not ended");
                };
                assert!(sequence >= highest && is_told(ended, &outcome));
            }
            Begun::Refuse(waiter, status) => {
                assert_eq!(waiter, self.waiter);
                assert_eq!(status.execution(), Execution::NotStarted);
            }
        }
    }

    fn finish(&mut self, key: &CallKey, outcome: Ended) {
        let waiters = self.table.finish(self.now, key, &outcome);
        assert_eq!(waiters, self.ended(key, outcome));
    }

    /// Who waited for a call that ends so, if it ran.
    fn ended(&mut self, key: &CallKey, outcome: Ended) -> Vec<u32> {
        let Some(Known::Running(waiters)) = self.calls.get_mut(key) else {
            return Vec::new();
        };
        let waiters = std::mem::take(waiters);
        let had_no_effect = outcome
            .as_ref()
            .is_err_and(|status| status.execution().is_safe_to_retry());
        if had_no_effect {
            self.calls.remove(key);
        } else {
            self.calls.insert(*key, Known::Ended(outcome));
        }
        waiters
    }

    fn within_bounds(&self) {
        let bounds = bounds();
        assert!(self.table.incarnation_count() <= bounds.incarnations_max);
        assert!(self.table.entry_count() <= bounds.entries_all_max);
        assert!(self.table.reply_bytes() <= bounds.reply_bytes_max);
        let is_running = |known: &&Known| matches!(known, Known::Running(_));
        let running = self.calls.values().filter(is_running).count();
        assert!(self.table.entry_count() >= running, "what runs counts");
        for known in self.calls.values() {
            if let Known::Running(waiters) = known {
                assert!(waiters.len() <= bounds.waiters_max);
            }
        }
    }

    /// All that runs ends, and its time is over.
    fn end(&mut self) {
        let keys: Vec<CallKey> = self.calls.keys().copied().collect();
        for key in keys {
            self.finish(&key, Ok(Bytes::new()));
        }
        self.within_bounds();
        self.now += ONCE_KEPT;
        self.table.expire(self.now);
        assert_eq!(self.table.incarnation_count(), 0);
        assert_eq!(self.table.entry_count(), 0);
        assert_eq!(self.table.reply_bytes(), 0);
    }
}

/// Whether an outcome is told as it was, or what there was room for.
fn is_told(ended: &Ended, told: &Ended) -> bool {
    match (ended, told) {
        _ if ended == told => true,
        (Ok(_), Err(told)) => {
            (told.code(), told.execution()) == (Code::DataLoss, Execution::Executed)
        }
        (Err(ended), Err(told)) => {
            (ended.code(), ended.execution()) == (told.code(), told.execution())
                && told.message().is_empty()
        }
        _ => false,
    }
}

fn sequence(byte: u8) -> u64 {
    1 + u64::from(byte % SEQUENCES)
}

fn key(program: &mut Program<'_>) -> Option<CallKey> {
    let place = program.u8()?;
    Some(place_key(place, sequence(program.u8()?)))
}

fn place_key(place: u8, sequence: u64) -> CallKey {
    CallKey {
        identity: KeyId::from_bytes([place % 4; 32]),
        incarnation: [place / 4; 16],
        sequence,
    }
}
