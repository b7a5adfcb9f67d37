//! What happens to a disk while its node is down: what was synced is not there any
//! more, or is something else. Such a node must notice, or what it was damaged in must
//! not matter; it must never vote on less than it has voted on.
//!
//! The log itself notices most of it. What no log notices by itself, that it was put
//! back to an earlier state, the others' memory shows, as far as it reaches: a damage
//! that leaves a log shorter than it was, and no shorter than what the others durably
//! remember of it, is taken back, unless [`Control::YoungRollback`] asks to see what
//! comes of it.

use sealmoot_kv::attest::Attested;
use sealmoot_kv::record::Record;

use super::World;
use super::storage::{Image, Storage};
use crate::fault::Fault;
use crate::plan::Control;
use crate::random::Random;

/// Most images of a disk that are kept.
const IMAGES_MAX: usize = 3;
/// Of a thousand syncs, after so many an image is taken.
const IMAGES: u64 = 50;
/// Of a thousand starts, before so many a disk is damaged.
const DAMAGES: u64 = 250;

/// What the world knows of a node's disk.
pub(super) struct Health {
    /// Earlier states of the disk.
    images: Vec<Image>,
    /// How many records were durable at some time, and so may have been told of.
    committed: u64,
    /// By member: the number of that member's record which this node durably
    /// remembers.
    remembers: Vec<u64>,
    /// It was damaged in a way that mattered, and must not vote again.
    pub(super) is_behind: bool,
    /// It has refused to start or to vote, and is down for good.
    pub(super) is_out: bool,
}

impl Health {
    pub(super) fn new(members: usize) -> Self {
        Self {
            images: Vec::new(),
            committed: 0,
            remembers: vec![0; members],
            is_behind: false,
            is_out: false,
        }
    }

    fn is_sound(&self) -> bool {
        !self.is_behind && !self.is_out
    }
}

impl World<'_> {
    /// A batch of a node became durable, in which it `heard` of others.
    pub(super) fn note_durable(&mut self, index: usize, heard: &[(u64, u64)]) {
        let node = &mut self.nodes[index];
        node.health.committed = node.storage.records();
        for (of, counter) in heard {
            let remembered = &mut node.health.remembers[*of as usize];
            *remembered = (*remembered).max(*counter);
        }
        let rolls_back = self.plan.faults.has(Fault::DiskRollback)
            || self.plan.faults.has(Fault::LyingSync)
            || self.plan.control == Some(Control::RolledBackInPlace)
            || self.plan.control == Some(Control::YoungRollback);
        if rolls_back && self.damage_random.permille(IMAGES) {
            let health = &mut node.health;
            if health.images.len() == IMAGES_MAX {
                let at = self.damage_random.index(IMAGES_MAX);
                health.images.remove(at);
            }
            health.images.push(node.storage.image());
        }
    }

    /// A node has started on what it found; it will answer under all of it.
    pub(super) fn note_started(&mut self, index: usize) {
        let node = &mut self.nodes[index];
        let found = node.storage.records();
        if node.health.is_sound() {
            node.health.committed = node.health.committed.max(found);
        }
    }

    /// Perhaps something happens to the disk of a node that is about to start.
    pub(super) fn maybe_damage(&mut self, index: usize) -> Result<(), String> {
        if self.phase != super::Phase::Faulty || !self.nodes[index].health.is_sound() {
            return Ok(());
        }
        let allowed = match self.plan.control {
            None | Some(Control::YoungRollback | Control::RolledBackInPlace) => {
                self.may_damage_another()
            }
            // The other controls are about something else.
            Some(_) => false,
        };
        if !allowed || !self.damage_random.permille(DAMAGES) {
            return Ok(());
        }
        let Some(fault) = self.choose_damage(index) else {
            return Ok(());
        };
        let node = &mut self.nodes[index];
        let before = node.storage.image();
        let changed = damage(
            &mut node.storage,
            &node.health.images,
            fault,
            &mut self.damage_random,
        );
        if !changed {
            return Ok(());
        }
        self.judge_damage(index, fault, before)
    }

    /// At most a minority, so that those who report what they remember of a node are
    /// not all damaged themselves.
    fn may_damage_another(&self) -> bool {
        let damaged = self.nodes.iter().filter(|node| !node.health.is_sound());
        damaged.count() < (self.nodes.len() - 1) / 2
    }

    fn choose_damage(&mut self, index: usize) -> Option<Fault> {
        if let Some(Control::YoungRollback | Control::RolledBackInPlace) = self.plan.control {
            return Some(Fault::DiskRollback);
        }
        let is_real = matches!(self.nodes[index].storage, Storage::Real(_));
        let possible: Vec<Fault> = Fault::DAMAGES
            .into_iter()
            .filter(|fault| self.plan.faults.has(*fault))
            .filter(|fault| is_real || !fault.needs_a_real_log())
            .collect();
        if possible.is_empty() {
            return None;
        }
        Some(possible[self.damage_random.index(possible.len())])
    }

    /// What the damage comes to: whether the log refuses to open, or hands out less.
    fn judge_damage(&mut self, index: usize, fault: Fault, before: Image) -> Result<(), String> {
        let whole = before.records(index)?;
        let node = &self.nodes[index];
        let left = node.storage.image().records(index);
        let name = fault.name();
        let matters = match &left {
            Err(_) => true,
            Ok(_) if fault == Fault::DiskWiped => true,
            Ok(left) if !whole.starts_with(left) => {
                return Err(format!(
                    "after {name} node {index} reads what it never wrote"
                ));
            }
            Ok(left) => (left.len() as u64) < node.health.committed,
        };
        if left.is_ok() && matters && !self.shows_rollback(index, left.map_or(0, |left| left.len()))
        {
            self.nodes[index].storage.restore(before);
            return Ok(());
        }
        self.counts.add(fault);
        self.note(19, [index as u64, fault as u64, u64::from(matters)], || {
            let effect = if matters {
                ""
            } else {
                ", which changes nothing"
            };
            format!("{name} at node {index}{effect}")
        });
        self.nodes[index].health.is_behind = matters;
        Ok(())
    }

    /// Whether all others durably remember more of a node than so many records, or it
    /// is to be seen what comes of it when they do not.
    fn shows_rollback(&self, index: usize, records: usize) -> bool {
        if let Some(Control::YoungRollback | Control::RolledBackInPlace) = self.plan.control {
            return true;
        }
        let others = self.nodes.iter().enumerate();
        others
            .filter(|(other, node)| *other != index && node.health.is_sound())
            .all(|(_, node)| node.health.remembers[index] > records as u64)
    }

    /// A node whose log does not open does not start.
    pub(super) fn refuse_to_start(&mut self, index: usize, why: &str) {
        self.note(20, [index as u64, 0, 0], || {
            format!("node {index} does not start: {why}")
        });
        self.nodes[index].health.is_out = true;
    }

    /// Another member remembers more of a node than there is: it ends.
    pub(super) fn refuse_to_vote(&mut self, index: usize, member: usize, remembered: Attested) {
        self.note(
            21,
            [index as u64, member as u64, remembered.counter],
            || {
                format!(
                    "node {index} does not vote: {member} remembers record {}",
                    remembered.counter
                )
            },
        );
        if !self.nodes[index].health.is_behind {
            self.demand(Err(format!(
                "node {index} lost nothing, and node {member} remembers more of it"
            )));
        }
        self.nodes[index].health.is_out = true;
        self.crash(index);
    }

    /// A node votes.
    pub(super) fn demand_whole(&mut self, index: usize) {
        if self.nodes[index].health.is_behind && self.plan.control.is_none() {
            self.demand(Err(format!(
                "node {index} votes on less than it has voted on"
            )));
        }
    }

    /// Under a control that shows what rule 9 is for, nobody is asked.
    pub(super) fn is_admitted_unasked(&self) -> bool {
        matches!(
            self.plan.control,
            Some(
                Control::LyingSync
                    | Control::AcknowledgedBeforeSync
                    | Control::WipedInPlace
                    | Control::RolledBackInPlace
            )
        )
    }

    /// How many nodes are not down for good.
    pub(super) fn nodes_left(&self) -> usize {
        let left = self.nodes.iter().filter(|node| !node.health.is_out);
        left.count()
    }
}

/// What a batch says that a node heard of others: of whom, and how many records.
pub(super) fn heard_in(batch: &[Record]) -> Vec<(u64, u64)> {
    let heard = |record: &Record| match record {
        Record::Attested { node, attested } => Some((*node, attested.counter)),
        _ => None,
    };
    batch.iter().filter_map(heard).collect()
}

/// Damages what is stored; says whether anything was changed.
fn damage(storage: &mut Storage, images: &[Image], fault: Fault, random: &mut Random) -> bool {
    match fault {
        Fault::DiskWiped => {
            storage.wipe();
            true
        }
        Fault::DiskRollback => {
            if images.is_empty() {
                return false;
            }
            let image = images[random.index(images.len())].clone();
            storage.restore(image);
            true
        }
        Fault::LyingSync => {
            let newest = images.last();
            newest.is_some_and(|image| storage.lose_writes_since(image, random))
        }
        Fault::BitFlip => storage.flip_bit(random),
        Fault::StaleRead => storage.make_stale(random),
        Fault::MisdirectedRead => storage.misdirect_read(random),
        Fault::MisdirectedWrite => storage.misdirect_write(random),
        _ => false,
    }
}
