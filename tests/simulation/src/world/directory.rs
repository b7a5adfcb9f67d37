//! The directory: one record that is replaced by cas from its exact predecessor, kept
//! here as a cell that never fails, at the end of messages that do. And how nodes hear
//! of it: each looks now and then, and when a message shows that it is behind.

use std::collections::BTreeSet;

use sealmoot_kv::coordinator::Membership;
use sealmoot_kv::directory::{Configuration, DirectoryRecord, Member, MemberSet};
use sealmoot_kv::message::Request;

use super::shell::Input;
use super::{EPOCH, Event, Phase, World};
use crate::fault::Fault;

/// How long an unanswered look keeps a node from looking again, in microseconds.
const LOOK_US: u64 = 20_000;
/// Of a thousand looks while there are faults, after so many the node does not reach
/// the directory for a while.
const CUT_OFF: u64 = 30;

/// Something about the directory.
pub(super) enum DirectoryEvent {
    /// A node's message arrives there: a cas, or a look.
    Asked {
        node: usize,
        start: u64,
        next: Option<Box<DirectoryRecord>>,
    },
    /// Its answer arrives at the node.
    Told {
        node: usize,
        start: u64,
        record: Box<DirectoryRecord>,
    },
    /// A node looks.
    Look { node: usize, start: u64 },
    /// A change that a node drives may have something to do again.
    ChangeDue { node: usize, start: u64 },
    /// Whoever decides who the members are.
    Operator,
}

/// The cell.
pub(super) struct Directory {
    pub(super) record: DirectoryRecord,
    /// Incarnations that were members once.
    pub(super) used: BTreeSet<u64>,
    /// The last incarnation that was given out.
    pub(super) incarnations: u64,
}

impl Directory {
    /// The first `members` nodes hold the keys.
    pub(super) fn new(members: usize) -> Self {
        let member = |index: usize| Member {
            node: node_number(index),
            incarnation: index as u64 + 1,
        };
        let majority = members / 2 + 1;
        let set = MemberSet::new((0..members).map(member).collect(), majority, majority);
        let record = DirectoryRecord::first(EPOCH, set.expect("some nodes, each once"));
        Self {
            used: (1..=members as u64).collect(),
            incarnations: members as u64,
            record,
        }
    }

    /// The members of all sets in force.
    pub(super) fn members(&self) -> Vec<Member> {
        let sets = match self.record.configuration() {
            Configuration::Stable { members, .. } => vec![members],
            Configuration::Joint { old, new, .. } => vec![old, new],
        };
        sets.into_iter()
            .flat_map(|set| set.members().to_vec())
            .collect()
    }
}

/// The number by which the directory knows a node.
pub(super) fn node_number(index: usize) -> u64 {
    index as u64 + 1
}

/// The membership of a record, by index.
pub(super) fn membership(record: &DirectoryRecord) -> Membership {
    Membership::of(record, |node| usize::try_from(node).ok()?.checked_sub(1))
}

/// The epoch that a request is tagged with.
fn epoch_of(request: &Request) -> u64 {
    match request {
        Request::Prepare { ballot, .. } => ballot.epoch,
        Request::Accept { epoch, .. }
        | Request::Condemn { epoch, .. }
        | Request::Remove { epoch, .. }
        | Request::Fence { epoch }
        | Request::Install { epoch, .. }
        | Request::RaiseFloors { epoch, .. }
        | Request::Read { epoch, .. }
        | Request::Scan { epoch, .. } => *epoch,
    }
}

impl World<'_> {
    pub(super) fn directory_event(&mut self, event: DirectoryEvent) {
        match event {
            DirectoryEvent::Asked { node, start, next } => self.asked(node, start, next),
            DirectoryEvent::Told {
                node,
                start,
                record,
            } => {
                if self.is_running(node, start) {
                    self.nodes[node].looking_until_us = 0;
                    self.note(16, [node as u64, record.epoch(), 0], || {
                        format!("node {node} is told of epoch {}", record.epoch())
                    });
                    self.work(node, Input::Directory(record));
                }
            }
            DirectoryEvent::Look { node, start } => {
                if self.is_running(node, start) {
                    self.look(node);
                    self.next_look(node);
                }
            }
            DirectoryEvent::ChangeDue { node, start } => {
                if self.is_running(node, start) {
                    self.nodes[node].change_due_us = u64::MAX;
                    self.work(node, Input::ChangeDue);
                }
            }
            DirectoryEvent::Operator => self.operate(),
        }
    }

    /// A request arrives at a node that may not know of its epoch.
    pub(super) fn look_for_epoch_of(&mut self, node: usize, request: &Request) {
        let known = self.nodes[node].epoch();
        if epoch_of(request) > known {
            self.look(node);
        }
    }

    /// The node looks into the directory, unless it is waiting for an answer.
    pub(super) fn look(&mut self, node: usize) {
        if self.directory.is_none() || self.nodes[node].looking_until_us > self.now_us {
            return;
        }
        self.nodes[node].looking_until_us = self.now_us + LOOK_US;
        self.ask_directory(node, None);
    }

    pub(super) fn next_look(&mut self, node: usize) {
        if self.directory.is_none() || self.is_settled() {
            return;
        }
        let start = self.nodes[node].start;
        let most_us = if self.phase == Phase::Faulty {
            250_000
        } else {
            1_000_000
        };
        let at_us = self.now_us + self.network_random.between(10_000, most_us);
        let look = DirectoryEvent::Look { node, start };
        self.queue.push(at_us, Event::Directory(look));
    }

    /// Sends the directory a cas or a look.
    pub(super) fn ask_directory(&mut self, node: usize, next: Option<Box<DirectoryRecord>>) {
        if self.phase == Phase::Faulty && self.network_random.permille(CUT_OFF) {
            let most = 4 * self.plan.rates.fault_us_max;
            let lasts_us = self.network_random.between(1_000, most);
            self.nodes[node].directory_cut_us = self.now_us + lasts_us;
        }
        if self.is_lost_to_directory(node) {
            return;
        }
        let start = self.nodes[node].start;
        let at_us = self.now_us + self.network_random.between(100, 3_000);
        let asked = DirectoryEvent::Asked { node, start, next };
        self.queue.push(at_us, Event::Directory(asked));
    }

    fn is_lost_to_directory(&mut self, node: usize) -> bool {
        let cut = self.phase == Phase::Faulty && self.nodes[node].directory_cut_us > self.now_us;
        cut || self.faulty(Fault::Loss) && self.network_random.permille(self.plan.rates.loss)
    }

    fn asked(&mut self, node: usize, start: u64, next: Option<Box<DirectoryRecord>>) {
        let Some(directory) = &mut self.directory else {
            return;
        };
        if let Some(next) = next
            && next.follows(&directory.record).is_ok()
        {
            directory.record = *next;
            let members = directory.members();
            directory
                .used
                .extend(members.iter().map(|member| member.incarnation));
            let record = directory.record.clone();
            self.invariants.configured(&record);
            if record.is_joint() {
                self.changes.begun += 1;
            } else {
                self.changes.completed += 1;
            }
            self.note(17, [record.epoch(), node as u64, 0], || {
                format!("the directory: {:?}", record.configuration())
            });
        }
        if self.is_lost_to_directory(node) {
            return;
        }
        let Some(directory) = &self.directory else {
            return;
        };
        let record = Box::new(directory.record.clone());
        let at_us = self.now_us + self.network_random.between(100, 3_000);
        let told = DirectoryEvent::Told {
            node,
            start,
            record,
        };
        self.queue.push(at_us, Event::Directory(told));
    }

    /// Whether the faults are over, no change is under way or needed, and all know the
    /// members.
    pub(super) fn is_settled(&self) -> bool {
        let Some(directory) = &self.directory else {
            return true;
        };
        let epoch = directory.record.epoch();
        let knows = |node: &super::Node| node.machines.is_some() && node.epoch() == epoch;
        // Before that, a cas may be on its way to the directory.
        let calm = self.now_us > self.calm_since_us + self.settle_us;
        self.phase != Phase::Faulty
            && calm
            && !directory.record.is_joint()
            && !self.has_lost_member()
            && self.nodes.iter().all(knows)
    }

    /// Whether a member that the directory names is not there any more.
    pub(super) fn has_lost_member(&self) -> bool {
        let Some(directory) = &self.directory else {
            return false;
        };
        directory
            .members()
            .iter()
            .any(|member| self.is_lost_member(*member))
    }

    pub(super) fn is_lost_member(&self, member: Member) -> bool {
        let index = (member.node - 1) as usize;
        self.nodes[index].incarnation != Some(member.incarnation)
    }
}
