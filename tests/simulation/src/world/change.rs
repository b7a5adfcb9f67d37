//! Who the members are to be, and the nodes that carry changes of them through.

use sealmoot_kv::coordinator::{Command, Effect as CoordinatorEffect};
use sealmoot_kv::directory::{Member, MemberSet};
use sealmoot_kv::reconfiguration::{Effect, Reconfiguration};
use sealmoot_kv::replica::Effect as ReplicaEffect;

use super::directory::{DirectoryEvent, node_number};
use super::node::{Asker, Call};
use super::shell::Input;
use super::{Event, Phase, World};

/// Fewest members of a set: with two, a lost one could never be replaced.
const MEMBERS_MIN: usize = 3;
const MEMBERS_MAX: usize = 5;
/// How long one settling write may take, in milliseconds.
const SETTLE_WITHIN_MS: u64 = 1_000;
/// How often the operator looks after the faults, in microseconds, at most.
const CALM_EVERY_US: u64 = 1_000_000;
/// Of a thousand times, a second node begins what another one is doing already.
const SECOND_DRIVER: u64 = 300;
/// Of a thousand restarts, before so many the disk was lost, where that is survived.
const WIPED: u64 = 200;

/// What happened to the members of a history.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ChangeCounts {
    /// Changes that the directory showed as begun.
    pub begun: u64,
    /// And as completed.
    pub completed: u64,
    /// Changes that somebody took up after another had begun them.
    pub taken_up: u64,
    /// Nodes that lost their disk.
    pub wiped: u64,
}

impl ChangeCounts {
    /// Takes the counts of another history in.
    pub fn merge(&mut self, other: &Self) {
        self.begun += other.begun;
        self.completed += other.completed;
        self.taken_up += other.taken_up;
        self.wiped += other.wiped;
    }
}

impl World<'_> {
    pub(super) fn next_operation_of_operator(&mut self) {
        let Some(changes) = &self.plan.changes else {
            return;
        };
        // After the faults, nothing is changed before all clocks have caught up with the
        // furthest: until then the nodes refuse each other's ballots.
        let (from_us, every_us) = if self.phase == Phase::Faulty {
            (self.now_us, changes.every_us)
        } else {
            let caught_up_us = self.calm_since_us + self.settle_us;
            (self.now_us.max(caught_up_us), CALM_EVERY_US)
        };
        let at_us = from_us + self.change_random.between(every_us / 4, every_us);
        let operator = Event::Directory(DirectoryEvent::Operator);
        self.queue.push(at_us, operator);
    }

    /// Lets nodes that are no members become new incarnations, and begins a change or
    /// takes up one that stands still.
    pub(super) fn operate(&mut self) {
        if self.is_settled() {
            return;
        }
        self.next_operation_of_operator();
        let catching_up = self.now_us < self.calm_since_us + self.settle_us;
        if self.phase != Phase::Faulty && catching_up {
            return;
        }
        self.renew_strangers();
        let Some(directory) = &self.directory else {
            return;
        };
        let record = directory.record.clone();
        let driven = self.nodes.iter().any(|node| {
            let machines = node.machines.as_ref();
            machines.is_some_and(|machines| machines.change.is_some())
        });
        let second = self.phase == Phase::Faulty && self.change_random.permille(SECOND_DRIVER);
        if driven && !second {
            return;
        }
        let needed = record.is_joint() || self.phase == Phase::Faulty || self.has_lost_member();
        let host = self.change_random.index(self.nodes.len());
        let now_us = self.now_us;
        let node = &self.nodes[host];
        let able = node.machines.as_ref().is_some_and(|machines| {
            machines.change.is_none()
                && machines.coordinator.epoch() == record.epoch()
                && node.paused_until_us <= now_us
        });
        if !needed || !able {
            return;
        }
        let Some(target) = self.choose_members() else {
            return;
        };
        if record.is_joint() {
            self.changes.taken_up += 1;
        }
        self.note(18, [host as u64, record.epoch(), 0], || {
            format!("node {host} drives a change from epoch {}", record.epoch())
        });
        self.work(host, Input::Change(Box::new(record), target));
    }

    /// A node that is no member, or has lost its disk, draws a new incarnation.
    fn renew_strangers(&mut self) {
        let Some(directory) = &self.directory else {
            return;
        };
        let members = directory.members();
        let strangers: Vec<usize> = (0..self.nodes.len())
            .filter(|index| {
                let node = &self.nodes[*index];
                let has_fresh = node
                    .incarnation
                    .is_some_and(|incarnation| !directory.used.contains(&incarnation));
                let is_member = members.iter().any(|member| {
                    member.node == node_number(*index)
                        && node.incarnation == Some(member.incarnation)
                });
                let able = node.machines.is_some() && node.paused_until_us <= self.now_us;
                able && !has_fresh && !is_member && !node.renewing
            })
            .collect();
        for index in strangers {
            let Some(directory) = &mut self.directory else {
                return;
            };
            directory.incarnations += 1;
            let incarnation = directory.incarnations;
            self.nodes[index].renewing = true;
            self.note(19, [index as u64, incarnation, 0], || {
                format!("node {index} becomes incarnation {incarnation}")
            });
            self.work(index, Input::Incarnation(incarnation));
        }
    }

    /// Some of the nodes that could hold keys: members that are still there, and fresh
    /// incarnations.
    fn choose_members(&mut self) -> Option<MemberSet> {
        let directory = self.directory.as_ref()?;
        let members = directory.members();
        let mut able: Vec<Member> = Vec::new();
        for (index, node) in self.nodes.iter().enumerate() {
            let Some(incarnation) = node.incarnation else {
                continue;
            };
            let member = Member {
                node: node_number(index),
                incarnation,
            };
            if members.contains(&member) || !directory.used.contains(&incarnation) {
                able.push(member);
            }
        }
        if able.len() < MEMBERS_MIN {
            return None;
        }
        let most = able.len().min(MEMBERS_MAX) as u64;
        let size = self.change_random.between(MEMBERS_MIN as u64, most) as usize;
        let mut chosen = Vec::new();
        while chosen.len() < size {
            let at = self.change_random.index(able.len());
            chosen.push(able.swap_remove(at));
        }
        let majority = size / 2 + 1;
        MemberSet::new(chosen, majority, majority).ok()
    }

    /// Whether this restart finds an empty disk. Every set in force must keep W members
    /// of which at least one is read by P others: one lost at a time, and only between
    /// changes.
    pub(super) fn loses_disk(&mut self) -> bool {
        let Some(changes) = &self.plan.changes else {
            return false;
        };
        let Some(directory) = &self.directory else {
            return false;
        };
        changes.wipes
            && self.phase == Phase::Faulty
            && !directory.record.is_joint()
            && !self.has_lost_member()
            && self.change_random.permille(WIPED)
    }

    pub(super) fn carry_out_change(
        &mut self,
        index: usize,
        effect: Effect,
        replica: &mut Vec<ReplicaEffect>,
        coordinator: &mut Vec<CoordinatorEffect>,
    ) {
        match effect {
            Effect::Cas(next) => self.ask_directory(index, Some(Box::new(next))),
            Effect::Look => self.look(index),
            Effect::Ask(node, round, request) => {
                let member = (node - 1) as usize;
                let call = Call::Change(round);
                if member != index {
                    return self.send_request(index, member, call, request);
                }
                let now = self.nodes[index].clock.now(self.now_us);
                let start = self.nodes[index].start;
                let Some(machines) = &mut self.nodes[index].machines else {
                    return;
                };
                let token = machines.askers.len() as u64;
                machines.askers.push(Asker {
                    node: index,
                    start,
                    call,
                    promise: None,
                });
                machines
                    .replica
                    .request(now.wall_ms, token, request, replica);
            }
            Effect::Settle(round, key) => {
                let now = self.nodes[index].clock.now(self.now_us);
                let Some(machines) = &mut self.nodes[index].machines else {
                    return;
                };
                let token = machines.next_token;
                machines.next_token += 1;
                machines.settling = Some((token, round));
                let command = Command::Settle { key };
                let behind = machines.change.as_ref().map(Reconfiguration::epoch)
                    > Some(machines.coordinator.epoch());
                machines
                    .coordinator
                    .begin(now, token, command, SETTLE_WITHIN_MS, coordinator);
                if behind {
                    self.demand(Err(format!(
                        "node {index} settles a key in an epoch before the change"
                    )));
                }
            }
            Effect::Over(ended) => {
                self.note(20, [index as u64, ended as u64, 0], || {
                    format!("the change that node {index} drives is over: {ended:?}")
                });
                if let Some(machines) = &mut self.nodes[index].machines {
                    machines.change = None;
                    machines.settling = None;
                }
            }
        }
    }

    pub(super) fn schedule_change(&mut self, index: usize) {
        let now_us = self.now_us;
        let node = &mut self.nodes[index];
        let change = node
            .machines
            .as_ref()
            .and_then(|machines| machines.change.as_ref());
        let Some(due_ms) = change.map(Reconfiguration::next_tick_ms) else {
            return;
        };
        let steady_ms = node.clock.now(now_us).steady_ms;
        let wait_us = due_ms
            .saturating_sub(steady_ms)
            .saturating_mul(1000)
            .max(500);
        let at_us = now_us.saturating_add(wait_us);
        if at_us < node.change_due_us {
            node.change_due_us = at_us;
            let start = node.start;
            let due = DirectoryEvent::ChangeDue { node: index, start };
            self.queue.push(at_us, Event::Directory(due));
        }
    }
}
