//! What a request costs: the world at a fixed pace, counting.

use sealmoot_kv::coordinator::{Answer, Command, Failure};

use super::World;
use super::client::AttemptId;
use super::node::Call;
use super::shell::Input;

/// How long every message takes, in microseconds.
pub(crate) const ONE_WAY_US: u64 = 1_000;
/// How long every sync takes, in microseconds: so little that the time of a request
/// tells messages and syncs apart.
pub(crate) const SYNC_US: u64 = 10;
/// After a request nothing is under way any more when so long has passed.
const SETTLE_US: u64 = 20_000;

/// Counts what one request causes.
#[derive(Default)]
pub(super) struct Meter {
    pub(super) messages: u64,
    pub(super) records: u64,
    /// When the node that carries the request sent messages and in which round, while
    /// the request had not ended; and whether an answer came before it ended.
    sent: Vec<(u64, Call, bool)>,
    carrier: usize,
    ended: Option<(u64, Result<Answer, Failure>)>,
}

/// What one request caused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Measured {
    pub(crate) trips: u64,
    pub(crate) messages: u64,
    pub(crate) records: u64,
    pub(crate) elapsed_us: u64,
}

impl Meter {
    fn sent(&mut self, from: usize, call: Call, now_us: u64) {
        let another = |last: &(u64, Call, bool)| (last.0, last.1) != (now_us, call);
        if from == self.carrier && self.ended.is_none() && self.sent.last().is_none_or(another) {
            self.sent.push((now_us, call, false));
        }
    }

    /// An answer reaches a coordinator.
    pub(super) fn answered(&mut self, to: usize, call: Call) {
        if to == self.carrier && self.ended.is_none() {
            let asked = self.sent.iter_mut().rev().find(|sent| sent.1 == call);
            if let Some((_, _, waited)) = asked {
                *waited = true;
            }
        }
    }

    pub(super) fn ended(&mut self, now_us: u64, result: Result<Answer, Failure>) {
        self.ended.get_or_insert((now_us, result));
    }
}

impl World<'_> {
    /// Starts the nodes and nothing else: no clients, no faults, a fixed pace.
    pub(crate) fn begin_by_hand(&mut self) {
        self.meter = Some(Meter::default());
        self.start_nodes();
    }

    /// Carries one request through `node` and waits until nothing is under way.
    ///
    /// The result is none when the node stopped before it ended.
    pub(crate) fn carry(
        &mut self,
        node: usize,
        command: Command,
        timeout_ms: u64,
    ) -> (Option<Result<Answer, Failure>>, Measured) {
        let began_us = self.now_us;
        self.meter = Some(Meter {
            carrier: node,
            ..Meter::default()
        });
        let nobody = AttemptId {
            client: 0,
            number: u64::MAX,
        };
        self.work(node, Input::Begin(nobody, command, timeout_ms));
        while self
            .meter
            .as_ref()
            .is_some_and(|meter| meter.ended.is_none())
            && self.step()
        {}
        self.pass(SETTLE_US);
        let meter = self.meter.replace(Meter::default()).unwrap_or_default();
        let ended_us = meter.ended.as_ref().map_or(self.now_us, |ended| ended.0);
        let measured = Measured {
            trips: meter.sent.iter().filter(|sent| sent.2).count() as u64,
            messages: meter.messages,
            records: meter.records,
            elapsed_us: ended_us - began_us,
        };
        (meter.ended.map(|(_, result)| result), measured)
    }

    /// Lets everything happen that happens within so long.
    pub(crate) fn pass(&mut self, microseconds: u64) {
        let until_us = self.now_us + microseconds;
        while self
            .queue
            .next_at_us()
            .is_some_and(|at_us| at_us <= until_us)
            && self.step()
        {}
        self.now_us = until_us;
    }

    /// What was seen to be wrong so far.
    pub(crate) fn fallen(&self) -> Option<&super::Fall> {
        self.fall.as_ref()
    }

    /// A node stops, and what it had synced stays.
    pub(crate) fn stop_by_hand(&mut self, node: usize) {
        let machine = &mut self.nodes[node];
        machine.machines = None;
        machine.queued.clear();
        let fate = super::storage::Batch::Lost;
        machine
            .storage
            .crash(&mut machine.writing, fate, &mut self.disk_random);
        machine.syncing = false;
        machine.tick_at_us = u64::MAX;
        if self.plan.invariants {
            self.invariants.stopped(node);
        }
    }

    /// It starts again.
    pub(crate) fn start_by_hand(&mut self, node: usize) {
        self.restart(node);
    }

    /// Nothing from `from` reaches `to` any more.
    pub(crate) fn cut_by_hand(&mut self, from: usize, to: usize) {
        self.network.cut(from, to, u64::MAX);
    }

    pub(crate) fn has_node(&self, node: usize) -> bool {
        node < self.nodes.len()
    }

    /// All cuts end.
    pub(crate) fn heal_by_hand(&mut self) {
        self.network.heal();
    }

    /// A message leaves; says when it arrives, if the pace is fixed.
    pub(super) fn metered_arrival(&mut self) -> Option<u64> {
        let meter = self.meter.as_mut()?;
        meter.messages += 1;
        Some(self.now_us + ONE_WAY_US)
    }

    /// A coordinator sends something, whether or not it arrives.
    pub(super) fn metered_sending(&mut self, from: usize, call: Call) {
        let now_us = self.now_us;
        if let Some(meter) = &mut self.meter {
            meter.sent(from, call, now_us);
        }
    }
}
