//! Faults that begin at some time and last for a while.

use std::io::ErrorKind;

use super::node::NodeClock;
use super::storage::Batch;
use super::{Event, Phase, SETTLE_US, World};
use crate::fault::Fault;
use crate::plan::Control;

/// Faults that this file brings about, one at a time.
const LASTING: [Fault; 10] = [
    Fault::OneWayCut,
    Fault::Partition,
    Fault::Flapping,
    Fault::ClientCut,
    Fault::Crash,
    Fault::Pause,
    Fault::ClockJump,
    Fault::SyncFailure,
    Fault::DiskFull,
    Fault::SlowDisk,
];

impl World<'_> {
    /// Draws the clocks' rates and begins the sequence of faults.
    pub(super) fn begin_faults(&mut self) {
        if self.plan.faults.has(Fault::ClockDrift) {
            let most = self.plan.rates.drift;
            for node in 0..self.nodes.len() {
                let drift = self.fault_random.between(0, 2 * most) as i64 - most as i64;
                self.nodes[node].clock.drift = drift;
                self.counts.add(Fault::ClockDrift);
            }
        }
        self.next_fault();
    }

    fn next_fault(&mut self) {
        let mean_us = self.plan.rates.fault_every_us;
        let at_us = self.now_us + self.fault_random.between(mean_us / 2, mean_us * 3 / 2);
        self.queue.push(at_us, Event::Fault);
    }

    /// One of the faults that are switched on begins.
    pub(super) fn fault(&mut self) {
        if self.phase != Phase::Faulty {
            return;
        }
        self.next_fault();
        if self.faulty(Fault::ClientDeath) && self.fault_random.permille(60) {
            let client = self.fault_random.index(self.plan.clients);
            self.kill_client(client);
        }
        let mut enabled = [Fault::Crash; LASTING.len()];
        let mut count = 0;
        for fault in LASTING {
            if self.plan.faults.has(fault) {
                enabled[count] = fault;
                count += 1;
            }
        }
        if count == 0 {
            return;
        }
        let fault = enabled[self.fault_random.index(count)];
        let node = self.fault_random.index(self.nodes.len());
        let lasts_us = self
            .fault_random
            .between(1_000, self.plan.rates.fault_us_max);
        self.counts.add(fault);
        self.note(4, [fault as u64, node as u64, lasts_us], || {
            format!("{} at node {node} for {lasts_us} us", fault.name())
        });
        self.begin_fault(fault, node, self.now_us + lasts_us);
    }

    fn begin_fault(&mut self, fault: Fault, node: usize, until_us: u64) {
        let nodes = self.nodes.len();
        let other = (node + 1 + self.fault_random.index(nodes - 1)) % nodes;
        match fault {
            Fault::OneWayCut => self.network.cut(node, other, until_us),
            Fault::Partition => {
                let side = self.fault_random.between(1, (1 << nodes) - 2);
                for from in 0..nodes {
                    for to in 0..nodes {
                        if (side >> from ^ side >> to) & 1 == 1 {
                            self.network.cut(from, to, until_us);
                        }
                    }
                }
            }
            Fault::Flapping => {
                let half_us = self.fault_random.between(300, 10_000);
                self.network.flap(node, other, until_us, half_us);
                self.network.flap(other, node, until_us, half_us);
            }
            Fault::ClientCut => {
                let client = self.fault_random.index(self.clients.len());
                self.clients[client].cut_until_us[node] = until_us;
            }
            Fault::Crash => self.crash(node),
            Fault::Pause => self.nodes[node].paused_until_us = until_us,
            Fault::ClockJump => {
                let most = self.plan.rates.jump_ms_max;
                let jump = self.fault_random.between(0, 2 * most) as i64 - most as i64;
                self.nodes[node].clock.offset_ms = jump;
            }
            Fault::SyncFailure => self.nodes[node].failing = Some(ErrorKind::Other),
            Fault::DiskFull => self.nodes[node].failing = Some(ErrorKind::StorageFull),
            Fault::SlowDisk => self.nodes[node].slow_until_us = until_us,
            _ => {}
        }
    }

    /// A machine stops. What it had in memory is gone, and what was not synced may be.
    pub(super) fn crash(&mut self, node: usize) {
        if self.nodes[node].machines.take().is_none() {
            return;
        }
        self.note(5, [node as u64, 0, 0], || format!("node {node} stops"));
        let fate = self.fate_of_batch(node);
        let machine = &mut self.nodes[node];
        machine.queued.clear();
        machine
            .storage
            .crash(&mut machine.writing, fate, &mut self.disk_random);
        self.down(node);
    }

    /// A sync failed: the node stops, and nothing that rested on it was said.
    pub(super) fn stop_after_failure(&mut self, node: usize, kind: ErrorKind) {
        self.note(6, [node as u64, 0, 0], || format!("node {node}: {kind}"));
        let machine = &mut self.nodes[node];
        machine.machines = None;
        machine.queued.clear();
        machine
            .storage
            .fail(&mut machine.writing, kind, &mut self.disk_random);
        self.down(node);
    }

    fn down(&mut self, node: usize) {
        let machine = &mut self.nodes[node];
        machine.syncing = false;
        machine.tick_at_us = u64::MAX;
        if self.plan.invariants {
            self.invariants.stopped(node);
        }
        self.break_connections(node);
        let back_us = if self.phase == Phase::Faulty {
            self.fault_random
                .between(1_000, self.plan.rates.fault_us_max)
        } else {
            self.fault_random.between(1_000, 20_000)
        };
        self.queue.push(self.now_us + back_us, Event::Restart(node));
    }

    fn fate_of_batch(&mut self, node: usize) -> Batch {
        if self.nodes[node].writing.is_empty() {
            return Batch::Survives;
        }
        let draw = self.disk_random.below(3);
        if draw == 0 && self.plan.faults.has(Fault::UnsyncedLoss) {
            self.counts.add(Fault::UnsyncedLoss);
            Batch::Lost
        } else if draw == 1 && self.plan.faults.has(Fault::TornWrite) {
            self.counts.add(Fault::TornWrite);
            Batch::Torn
        } else {
            Batch::Survives
        }
    }

    /// Whether this crash leaves an empty disk.
    pub(super) fn is_wiped(&mut self) -> bool {
        self.plan.control == Some(Control::WipedInPlace)
            && self.phase == Phase::Faulty
            && self.fault_random.coin()
    }

    /// Faults end: whatever is cut, slow, paused or wrong is mended.
    pub(super) fn end_faults(&mut self) {
        self.phase = Phase::Calm;
        self.calm_since_us = self.now_us;
        self.note(7, [0; 3], || "faults end".to_owned());
        self.network.heal();
        for client in &mut self.clients {
            client.cut_until_us.fill(0);
        }
        for node in &mut self.nodes {
            // The steady clock does not go back.
            let steady = NodeClock {
                offset_ms: 0,
                ..node.clock
            };
            node.clock = steady;
            node.paused_until_us = 0;
            node.slow_until_us = 0;
            node.failing = None;
            node.effects_left = u64::MAX;
            if let Some(machines) = &mut node.machines {
                machines.change = None;
            }
        }
        self.settle_us = self.time_to_settle();
    }

    /// How long until every wall clock has passed the highest clock there is. Clocks that
    /// jumped are one reason why a clock is ahead; the other is that a node which starts
    /// goes on above its promise ceiling, two seconds ahead, and some nodes start hundreds
    /// of times.
    fn time_to_settle(&self) -> u64 {
        let walls = self.nodes.iter();
        let walls = walls.map(|node| node.clock.now(self.now_us).wall_ms);
        let clocks = (0..self.nodes.len()).map(|index| self.clock_of(index).ms());
        let (slowest, highest) = (walls.min().unwrap_or(0), clocks.max().unwrap_or(0));
        // Nodes that are down now may be somewhat further, and clocks run at rates of
        // their own.
        let behind_ms = highest.saturating_sub(slowest) + 20_000;
        SETTLE_US.max(behind_ms * 1_030)
    }
}
