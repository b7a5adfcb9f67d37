//! The end of a history: when the clients are done and all clocks have caught up,
//! every key is written once more and read at every node.

use super::client::Client;
use super::{Event, Phase, World};
use crate::history::Value;

impl World<'_> {
    /// All operations have begun; when all are over, the probes begin.
    pub(super) fn finish_workload(&mut self) {
        if self.phase == Phase::Faulty {
            self.end_faults();
        }
        if self.phase == Phase::Calm && self.clients.iter().all(Client::is_idle) {
            self.phase = Phase::Probing;
            // Members that change have as long again, once the clocks have caught up.
            let changing = u64::from(self.plan.changes.is_some());
            let at_us = self.now_us + self.settle_us * (1 + changing);
            self.queue.push(at_us, Event::Probe);
        } else if self.phase == Phase::Probing && self.probe > 0 && self.clients[0].is_idle() {
            self.next_probe();
        }
    }

    /// One write through some node, then a read at every node, for each key.
    pub(super) fn next_probe(&mut self) {
        if self.probe == 0 && !self.is_settled() {
            self.stall("the change of members does not end".to_owned());
        }
        let per_key = self.nodes.len() + 1;
        let (key, step) = (self.probe / per_key, self.probe % per_key);
        let too_few = self.nodes_left() < self.plan.settings.members_needed();
        if key == self.plan.keys || too_few {
            self.phase = Phase::Over;
            return;
        }
        self.probe += 1;
        if step == 0 {
            self.probed = None;
            let mut node = self.client_random.index(self.nodes.len());
            while self.nodes[node].health.is_out {
                node = (node + 1) % self.nodes.len();
            }
            self.begin_probe(0, node, key, true);
        } else if self.nodes[step - 1].health.is_out {
            self.next_probe();
        } else {
            self.begin_probe(0, step - 1, key, false);
        }
    }

    /// All nodes must show the same in the end.
    pub(super) fn probe_read(
        &mut self,
        node: usize,
        key: usize,
        value: Option<Value>,
        revision: u64,
    ) {
        let shown = (value, revision);
        if *self.probed.get_or_insert(shown) != shown {
            self.demand(Err(format!(
                "in the end node {node} shows something else of key {key}"
            )));
        }
    }
}
