//! What must hold at every step, whatever clients see.
//!
//! - No two different states are ever proposed under one ballot.
//! - Once W members of each set in force durably hold a ballot in one epoch, every
//!   higher one carries a revision that is not lower, and the same value where it is the
//!   same.
//! - What a replica accepts rises, and never stands below a promise that it gave, also
//!   of a former start.
//! - After a restart a replica holds what it had made durable.
//! - When a client is told of a write, W members of each set of some epoch have durably
//!   held that revision or a later one.

use std::collections::{BTreeMap, BTreeSet};

use sealmoot_kv::ballot::Ballot;
use sealmoot_kv::directory::{Configuration, DirectoryRecord, MemberSet};
use sealmoot_kv::quorum::Quorums;
use sealmoot_kv::record::Record;
use sealmoot_kv::register::Register;

use crate::keys::key_index;
use crate::random::Digest;

/// What the machines did so far.
pub(crate) struct Invariants {
    keys: Vec<Key>,
    nodes: Vec<Place>,
    /// Who held the keys in each epoch, by epoch.
    configurations: BTreeMap<u64, Vec<Set>>,
}

/// Members, by index and incarnation, and how many hold what is chosen.
struct Set {
    members: Vec<(usize, u64)>,
    write: usize,
}

/// Where the durable log of a node stands.
#[derive(Clone, Copy, Default)]
struct Place {
    epoch: u64,
    incarnation: u64,
    /// How many records were durable.
    records: u64,
    /// How many of them were handed out since the start.
    replayed: u64,
}

#[derive(Default)]
struct Key {
    /// In order of ballot.
    proposals: Vec<Proposal>,
    /// The highest ballot that was chosen, with revision and value.
    chosen: Option<(Ballot, u64, u64)>,
    members: Vec<Member>,
    /// The highest revision that each incarnation ever held durably.
    held: BTreeMap<(usize, u64), u64>,
}

struct Proposal {
    ballot: Ballot,
    revision: u64,
    value: u64,
    whole: u64,
    /// Who durably held it in which epoch.
    holders: BTreeSet<(u64, usize, u64)>,
    chosen: bool,
}

#[derive(Clone, Copy, Default)]
struct Member {
    accepted: Ballot,
    durable: Ballot,
    /// The highest ballot of which a promise was told.
    promised: Ballot,
}

impl Invariants {
    pub(crate) fn new(nodes: usize, keys: usize) -> Self {
        let key = || Key {
            members: vec![Member::default(); nodes],
            ..Key::default()
        };
        Self {
            keys: (0..keys).map(|_| key()).collect(),
            nodes: vec![Place::default(); nodes],
            configurations: BTreeMap::new(),
        }
    }

    /// The members never change.
    pub(crate) fn configured_for_ever(&mut self, epoch: u64, quorums: Quorums) {
        let set = Set {
            members: (0..quorums.members()).map(|index| (index, 0)).collect(),
            write: quorums.write(),
        };
        self.nodes.iter_mut().for_each(|place| place.epoch = epoch);
        self.configurations.insert(epoch, vec![set]);
    }

    /// The directory holds this record from now on.
    pub(crate) fn configured(&mut self, record: &DirectoryRecord) {
        let set = |set: &MemberSet| Set {
            members: set
                .members()
                .iter()
                .map(|member| ((member.node - 1) as usize, member.incarnation))
                .collect(),
            write: set.quorums().write(),
        };
        let sets = match record.configuration() {
            Configuration::Stable { members, .. } => vec![set(members)],
            Configuration::Joint { old, new, .. } => vec![set(old), set(new)],
        };
        self.configurations.insert(record.epoch(), sets);
    }

    /// A replica accepted a state, not yet durably.
    pub(crate) fn accepted(
        &mut self,
        node: usize,
        key: &[u8],
        ballot: Ballot,
        state: &Register,
    ) -> Result<(), String> {
        let Some(key) = self.key(key) else {
            return Ok(());
        };
        let member = &mut key.members[node];
        if ballot <= member.accepted {
            return Err(format!(
                "node {node} accepted {ballot:?} after {:?}",
                member.accepted
            ));
        }
        if ballot < member.promised {
            return Err(format!(
                "node {node} accepted {ballot:?} after it had promised {:?}",
                member.promised
            ));
        }
        member.accepted = ballot;
        let (value, whole) = digests(state);
        match key.find(ballot) {
            Ok(at) if key.proposals[at].whole != whole => {
                return Err(format!("two different states under {ballot:?}"));
            }
            Ok(_) => return Ok(()),
            Err(at) => key.proposals.insert(
                at,
                Proposal {
                    ballot,
                    revision: state.revision,
                    value,
                    whole,
                    holders: BTreeSet::new(),
                    chosen: false,
                },
            ),
        }
        key.follows_chosen(ballot, state.revision, value)
    }

    /// A record of a replica became durable.
    pub(crate) fn durable(&mut self, node: usize, record: &Record) -> Result<(), String> {
        self.nodes[node].records += 1;
        match record {
            Record::Incarnation(incarnation) => {
                self.nodes[node].incarnation = *incarnation;
                self.empty_durably(node);
            }
            Record::Epoch { directory, retired } => {
                self.nodes[node].epoch = directory.epoch();
                if *retired {
                    self.empty_durably(node);
                }
                return self.carried_over(node);
            }
            _ => {}
        }
        if let Record::Removed { key, .. } = record
            && let Some(key) = self.key(key)
        {
            key.members[node].durable = Ballot::ZERO;
        }
        let Record::Accepted { key, ballot, state } = record else {
            return Ok(());
        };
        let Place {
            epoch, incarnation, ..
        } = self.nodes[node];
        let sets = self.configurations.get(&epoch);
        let Some(key) = key_index(key).and_then(|key| self.keys.get_mut(key)) else {
            return Ok(());
        };
        let member = &mut key.members[node];
        if *ballot >= member.durable {
            member.durable = *ballot;
        }
        let held = key.held.entry((node, incarnation)).or_default();
        *held = (*held).max(state.revision);
        let Ok(at) = key.find(*ballot) else {
            return Err(format!(
                "node {node} holds {ballot:?}, which nobody proposed"
            ));
        };
        key.held_by(
            at,
            (epoch, node, incarnation),
            sets.map_or(&[], Vec::as_slice),
        )
    }

    /// A node holds in the epoch that it has adopted what it held before.
    fn carried_over(&mut self, node: usize) -> Result<(), String> {
        let Place {
            epoch, incarnation, ..
        } = self.nodes[node];
        let sets = self.configurations.get(&epoch);
        for key in &mut self.keys {
            let held = key.members[node].durable;
            if held == Ballot::ZERO {
                continue;
            }
            if let Ok(at) = key.find(held) {
                key.held_by(
                    at,
                    (epoch, node, incarnation),
                    sets.map_or(&[], Vec::as_slice),
                )?;
            }
        }
        Ok(())
    }

    /// A replica dropped or wiped what it held, not yet durably. What it promised, it
    /// promised as a member that it is no more.
    pub(crate) fn emptied(&mut self, node: usize) {
        for key in &mut self.keys {
            key.members[node].accepted = Ballot::ZERO;
            key.members[node].promised = Ballot::ZERO;
        }
    }

    fn empty_durably(&mut self, node: usize) {
        for key in &mut self.keys {
            key.members[node].durable = Ballot::ZERO;
        }
    }

    /// A node lost its disk.
    pub(crate) fn wiped(&mut self, node: usize) {
        self.nodes[node] = Place::default();
        for key in &mut self.keys {
            key.members[node] = Member::default();
        }
    }

    /// A node starts, and its log is about to be handed out.
    pub(crate) fn replays(&mut self, node: usize) {
        self.nodes[node].replayed = 0;
    }

    /// A replica removed a key, not yet durably.
    pub(crate) fn removed(&mut self, node: usize, key: &[u8]) {
        if let Some(key) = self.key(key) {
            key.members[node].accepted = Ballot::ZERO;
        }
    }

    /// The answer to a prepare left a replica.
    pub(crate) fn promised(&mut self, node: usize, key: usize, ballot: Ballot) {
        if let Some(key) = self.keys.get_mut(key) {
            let promised = &mut key.members[node].promised;
            *promised = (*promised).max(ballot);
        }
    }

    /// A node stopped: what was not durable may be gone.
    pub(crate) fn stopped(&mut self, node: usize) {
        for key in &mut self.keys {
            key.members[node].accepted = Ballot::ZERO;
        }
    }

    /// A record was handed out at a start.
    pub(crate) fn replayed(&mut self, node: usize, record: &Record) -> Result<(), String> {
        match record {
            Record::Accepted { key, ballot, .. } => {
                if let Some(key) = self.key(key) {
                    key.members[node].accepted = *ballot;
                }
            }
            Record::Removed { key, .. } => self.removed(node, key),
            Record::Incarnation(_) | Record::Epoch { retired: true, .. } => self.stopped(node),
            _ => {}
        }
        let place = &mut self.nodes[node];
        place.replayed += 1;
        // What was durable before changes nothing; what a crash left besides does.
        if place.replayed > place.records {
            self.durable(node, record)
        } else {
            Ok(())
        }
    }

    /// All records were handed out.
    pub(crate) fn started(&mut self, node: usize) -> Result<(), String> {
        self.nodes[node].records = self.nodes[node].replayed;
        for key in &self.keys {
            let member = &key.members[node];
            if member.accepted < member.durable {
                return Err(format!(
                    "node {node} lost {:?}, which was durable",
                    member.durable
                ));
            }
        }
        Ok(())
    }

    /// A client is told that a write made `revision`.
    ///
    /// It need not be held any more: a member may have retired, or lost its disk, since
    /// it answered. And the members may have changed since; those of some epoch held it.
    pub(crate) fn acknowledged(&self, key: &[u8], revision: u64) -> Result<(), String> {
        let Some(key) = key_index(key).and_then(|key| self.keys.get(key)) else {
            return Ok(());
        };
        let held = |member: &&(usize, u64)| {
            let held = key.held.get(*member);
            held.is_some_and(|held| *held >= revision)
        };
        let enough = |set: &Set| set.members.iter().filter(held).count() >= set.write;
        let mut epochs = self.configurations.values();
        if !epochs.any(|sets| sets.iter().all(enough)) {
            return Err(format!(
                "revision {revision} was acknowledged while too few members held it"
            ));
        }
        Ok(())
    }

    fn key(&mut self, key: &[u8]) -> Option<&mut Key> {
        self.keys.get_mut(key_index(key)?)
    }
}

impl Key {
    /// A member of these sets durably holds a proposal, in this epoch and incarnation.
    fn held_by(
        &mut self,
        at: usize,
        holder: (u64, usize, u64),
        sets: &[Set],
    ) -> Result<(), String> {
        let proposal = &mut self.proposals[at];
        proposal.holders.insert(holder);
        let held =
            |member: &&(usize, u64)| proposal.holders.contains(&(holder.0, member.0, member.1));
        let enough = |set: &Set| set.members.iter().filter(held).count() >= set.write;
        if proposal.chosen || sets.is_empty() || !sets.iter().all(enough) {
            return Ok(());
        }
        proposal.chosen = true;
        let chosen = (proposal.ballot, proposal.revision, proposal.value);
        if self.chosen.is_none_or(|former| former.0 < chosen.0) {
            self.chosen = Some(chosen);
        } else if let Some((higher, revision, value)) = self.chosen {
            follows(chosen, higher, revision, value)?;
        }
        self.proposals[at + 1..].iter().try_for_each(|proposal| {
            follows(chosen, proposal.ballot, proposal.revision, proposal.value)
        })
    }

    /// Recent ballots are asked for most.
    fn find(&self, ballot: Ballot) -> Result<usize, usize> {
        let mut at = self.proposals.len();
        while at > 0 {
            let other = self.proposals[at - 1].ballot;
            if other == ballot {
                return Ok(at - 1);
            }
            if other < ballot {
                break;
            }
            at -= 1;
        }
        Err(at)
    }

    fn follows_chosen(&self, ballot: Ballot, revision: u64, value: u64) -> Result<(), String> {
        match self.chosen {
            Some(chosen) if ballot > chosen.0 => follows(chosen, ballot, revision, value),
            _ => Ok(()),
        }
    }
}

/// Whether a proposal can descend from a chosen one of a lower ballot.
fn follows(
    chosen: (Ballot, u64, u64),
    ballot: Ballot,
    revision: u64,
    value: u64,
) -> Result<(), String> {
    if revision < chosen.1 || (revision == chosen.1 && value != chosen.2) {
        return Err(format!(
            "{ballot:?} with revision {revision} does not follow {:?} with revision {}, \
             which was chosen",
            chosen.0, chosen.1
        ));
    }
    Ok(())
}

/// Digests of the value, and of the whole state.
fn digests(state: &Register) -> (u64, u64) {
    let mut digest = Digest::default();
    match &state.value {
        Some(value) => digest.add_bytes(value),
        None => digest.add(u64::MAX),
    }
    let value = digest.0;
    digest.add(state.revision);
    for entry in state.window.entries() {
        digest.add_bytes(&entry.client);
        digest.add(entry.sequence);
        digest.add(entry.deadline.0);
    }
    (value, digest.0)
}
