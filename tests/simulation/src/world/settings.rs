//! The namespace of a history's keys: there from the beginning, or created while
//! the first requests are under way.

use sealmoot_kv::ballot::{Ballot, Proposer};
use sealmoot_kv::clock::Clock;
use sealmoot_kv::coordinator::Command;
use sealmoot_kv::namespace::{encode, register_key};
use sealmoot_kv::record::Record;
use sealmoot_kv::register::{Change, Expectation, Operation, OperationId, Register};

use super::node::WALL_MS_FIRST;
use super::shell::Input;
use super::{EPOCH, Event, World};
use crate::keys::NAMESPACE;
use crate::settings::Creation;

/// How long somebody tries to create the namespace, at one node after the other.
const ATTEMPTS: u64 = 6;
const ATTEMPT_EVERY_US: u64 = 30_000;
const ATTEMPT_MS: u64 = 250;
/// Whoever creates it; no client of the workload has this id.
const CREATOR: [u8; 16] = [0xff; 16];
const DEADLINE_MS: u64 = 60_000;

impl World<'_> {
    /// What every node's log holds at the beginning.
    pub(super) fn first_records(&self) -> Vec<Record> {
        if self.plan.settings.creation != Creation::Before {
            return Vec::new();
        }
        let ballot = Ballot {
            epoch: EPOCH,
            clock: Clock::from_ms(WALL_MS_FIRST - 1_000),
            proposer: Proposer { node: 1, start: 0 },
        };
        let state = Register {
            value: Some(encode(self.plan.settings.quorums)),
            revision: 1,
            ..Register::default()
        };
        let key = register_key(NAMESPACE);
        vec![Record::Accepted { key, ballot, state }]
    }

    /// Lets somebody create the namespace soon, where the plan says so.
    pub(super) fn begin_creation(&mut self) {
        if self.plan.settings.creation == Creation::Raced {
            let at_us = self.disk_random.below(8_000);
            self.queue.push(at_us, Event::Create(0));
        }
    }

    /// One attempt, at any node that is there. They all are the same operation.
    pub(super) fn create_namespace(&mut self, attempt: u64) {
        if attempt + 1 < ATTEMPTS {
            let at_us = self.now_us + ATTEMPT_EVERY_US;
            self.queue.push(at_us, Event::Create(attempt + 1));
        }
        let index = self.disk_random.index(self.nodes.len());
        self.note(16, [index as u64, attempt, 0], || {
            format!("somebody creates the namespace at node {index}")
        });
        let command = Command::Write {
            key: register_key(NAMESPACE),
            operation: Operation {
                id: OperationId {
                    client: CREATOR,
                    sequence: 1,
                },
                deadline: Clock::from_ms(WALL_MS_FIRST + DEADLINE_MS),
                change: Change::CompareAndSet(
                    Expectation::Absent,
                    encode(self.plan.settings.quorums),
                ),
            },
            fresh: attempt == 0,
        };
        self.work(index, Input::Own(command, ATTEMPT_MS));
    }

    /// The keys whose quorums are known from the beginning, and so can be watched.
    pub(super) fn watched_keys(plan: &crate::plan::Plan) -> usize {
        match plan.settings.creation {
            Creation::Claimed | Creation::Before => plan.keys,
            Creation::Raced => 0,
        }
    }
}
