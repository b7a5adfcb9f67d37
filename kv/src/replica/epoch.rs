//! The replica's part in a change of members (REPLICATION rule 7).
//!
//! A replica is in one epoch, that of the last record of the directory that it
//! adopted, and answers nothing of another: so a quorum that has left an epoch is
//! missing to everybody who is still in it. It leaves an epoch durably before it
//! answers in the next, and never returns.
//!
//! It answers as one incarnation of its node. Whoever draws a new one has wiped what
//! the former held, in the same log record; the record of a node that is no member any
//! more drops its data, in the same log record too. So after a crash there is never
//! data without the epoch or the incarnation under which it may be shown. The floors
//! outlive both.

use bytes::Bytes;

use super::{Effect, InDirectory, Replay, Replica, Slot, Standing};
use crate::ballot::Ballot;
use crate::directory::{Configuration, DirectoryRecord, Member};
use crate::message::Reply;
use crate::mutant::{Mutant, active};
use crate::record::Record;
use crate::register::Register;

impl Replay {
    /// Takes a record about epoch, incarnation or floors.
    pub(super) fn record_of_epoch(&mut self, record: Record) {
        match record {
            Record::Incarnation(incarnation) => {
                self.slots.clear();
                self.incarnation = Some(incarnation);
            }
            Record::Epoch { directory, retired } => {
                if retired {
                    self.slots.clear();
                }
                // Said of all members of another epoch.
                for slot in self.slots.values_mut() {
                    slot.condemned = false;
                }
                if self.directory.is_none() || !active(Mutant::EpochLostAtCrash) {
                    self.directory = Some(directory);
                }
            }
            Record::Floors {
                floor,
                revision_floor,
            } => {
                self.floor = self.floor.max(floor);
                self.revision_floor = self.revision_floor.max(revision_floor);
            }
            _ => {}
        }
    }

    /// The replica of `node`, which follows the records of the directory, and whose
    /// log goes on after record number `appended`. Until it has adopted a record that
    /// names it, it answers nothing.
    #[must_use]
    pub fn finish_in_directory(mut self, node: u64, appended: u64) -> Replica {
        let record = self.directory.take();
        let epoch = record.as_ref().map_or(0, DirectoryRecord::epoch);
        let standing = Standing::InDirectory(InDirectory {
            node,
            incarnation: self.incarnation,
            record,
            retiring: None,
        });
        self.into_replica(epoch, appended, standing)
    }
}

impl Replica {
    /// Leaves all earlier epochs for that of `record`, which the caller has verified to
    /// be the directory's; says whether it did. No answer in the new epoch leaves
    /// before that is durable.
    pub fn adopt(&mut self, record: &DirectoryRecord, effects: &mut Vec<Effect>) -> bool {
        let Standing::InDirectory(standing) = &mut self.standing else {
            return false;
        };
        if standing.record.is_some() && record.epoch() <= self.epoch {
            return false;
        }
        let early = active(Mutant::RetiredDropsEarly) && standing.leaves_with(record);
        let retired = !standing.is_member_of(record) || early;
        self.appended += 1;
        self.epoch = record.epoch();
        self.floor_record = self.appended;
        standing.record = Some(record.clone());
        standing.retiring = retired.then_some(self.appended);
        // The marks speak of all members of the epoch that ends.
        for slot in self.slots.values_mut() {
            slot.condemned = false;
        }
        if early {
            self.slots.clear();
        }
        let record = Record::Epoch {
            directory: record.clone(),
            retired,
        };
        effects.push(Effect::Append(self.appended, record));
        true
    }

    /// Becomes a new incarnation of its node, with nothing: what it may be made a
    /// member as. It answers nothing before it has adopted a record that names it.
    ///
    /// A node that lost its disk, or that was no member for a while, must not go on
    /// with what it holds: others may have forgotten deleted keys in the meantime, and
    /// it may have acknowledged what is gone.
    pub fn become_incarnation(&mut self, incarnation: u64, effects: &mut Vec<Effect>) {
        let Standing::InDirectory(standing) = &mut self.standing else {
            return;
        };
        standing.incarnation = Some(incarnation);
        standing.retiring = None;
        self.slots.clear();
        self.appended += 1;
        self.floor_record = self.appended;
        effects.push(Effect::Append(
            self.appended,
            Record::Incarnation(incarnation),
        ));
    }

    /// The epoch.
    #[must_use]
    pub fn epoch(&self) -> u64 {
        self.epoch
    }

    /// The record of the epoch; none where the epoch is fixed, or none was adopted.
    #[must_use]
    pub fn directory(&self) -> Option<&DirectoryRecord> {
        match &self.standing {
            Standing::Fixed => None,
            Standing::InDirectory(standing) => standing.record.as_ref(),
        }
    }

    /// The incarnation as which it can be a member.
    #[must_use]
    pub fn incarnation(&self) -> Option<u64> {
        match &self.standing {
            Standing::Fixed => None,
            Standing::InDirectory(standing) => standing.incarnation,
        }
    }

    /// Whether it answers requests of its epoch.
    #[must_use]
    pub fn is_member(&self) -> bool {
        match &self.standing {
            Standing::Fixed => true,
            Standing::InDirectory(standing) => {
                let record = standing.record.as_ref();
                record.is_some_and(|record| standing.is_member_of(record))
            }
        }
    }

    /// What stands against a request of `epoch`. A replica that knows a later epoch
    /// answers nothing of an earlier one; one that does not know the asker's adopts it
    /// when it holds its record, not because a message names it.
    pub(super) fn refuse_epoch(&self, epoch: u64) -> Option<Reply> {
        let fenced = epoch > self.epoch || !active(Mutant::NoFence);
        let another = epoch != self.epoch && fenced;
        (another || !self.is_member()).then_some(Reply::WrongEpoch { epoch: self.epoch })
    }

    /// What stands against forgetting a key: besides, that its members are changing, or
    /// that the ballot is too far ahead of the clocks.
    pub(super) fn refuse_forgetting(
        &self,
        wall_ms: u64,
        ballot: Ballot,
        epoch: u64,
    ) -> Option<(u64, Reply)> {
        let joint = self.is_joint() || epoch != self.epoch;
        let refusal = self
            .refuse_former_ballot(wall_ms, ballot, epoch)
            .or(joint.then_some(Reply::WrongEpoch { epoch: self.epoch }));
        refusal.map(|refusal| (0, refusal))
    }

    /// Says, once that is durable, that it is in this epoch, and what its floors are.
    pub(super) fn fence(&self, epoch: u64) -> (u64, Reply) {
        if let Some(refusal) = self.refuse_change(epoch) {
            return (0, refusal);
        }
        let reply = Reply::Fenced {
            floor: self.floor,
            revision_floor: self.revision_floor,
        };
        (self.floor_record, reply)
    }

    /// Takes over what the old members hold, under its original ballot. A promise
    /// stands against it as against any accept: whoever asked for that promise was told
    /// what was held here at the time.
    pub(super) fn install(
        &mut self,
        wall_ms: u64,
        key: Bytes,
        (ballot, epoch): (Ballot, u64),
        state: Register,
        effects: &mut Vec<Effect>,
    ) -> (u64, Reply) {
        let refusal = self
            .refuse_change(epoch)
            .or_else(|| self.refuse_former_ballot(wall_ms, ballot, epoch));
        if let Some(refusal) = refusal {
            return (0, refusal);
        }
        let held = self.slots.get(&key);
        if let Some(slot) = held
            && slot.accepted >= ballot
        {
            return (slot.record, Reply::Installed);
        }
        let promise = held.map_or(Ballot::ZERO, |slot| slot.promise);
        let standing = self.effective_promise(held.map(|_| promise));
        if ballot < standing && !active(Mutant::InstallBypassesPromises) {
            return (0, Reply::Refused { standing });
        }
        self.appended += 1;
        let slot = Slot {
            promise: promise.max(ballot),
            accepted: ballot,
            state: state.clone(),
            record: self.appended,
            condemned: false,
        };
        self.slots.insert(key.clone(), slot);
        self.clock.merge(ballot.clock);
        let record = Record::Accepted { key, ballot, state };
        effects.push(Effect::Append(self.appended, record));
        (self.appended, Reply::Installed)
    }

    /// Raises the floors to those of the old members: revisions go on above them, and
    /// clocks above all that was ever promised for a key that is forgotten.
    pub(super) fn carry_floors(
        &mut self,
        wall_ms: u64,
        (floor, epoch): (Ballot, u64),
        revision_floor: u64,
        effects: &mut Vec<Effect>,
    ) -> (u64, Reply) {
        let refusal = self
            .refuse_change(epoch)
            .or_else(|| self.refuse_former_ballot(wall_ms, floor, epoch));
        if let Some(refusal) = refusal {
            return (0, refusal);
        }
        if floor > self.floor || revision_floor > self.revision_floor {
            self.write_floors(floor, revision_floor, effects);
        }
        (self.floor_record, Reply::FloorsRaised)
    }

    /// The data of a retired replica goes once it has durably left the epoch in which
    /// that data counted. Dropped before, a crash would bring it back into that epoch,
    /// empty and with a vote.
    pub(super) fn drop_when_retired(&mut self) {
        let Standing::InDirectory(standing) = &mut self.standing else {
            return;
        };
        if standing
            .retiring
            .is_some_and(|record| record <= self.durable)
        {
            standing.retiring = None;
            self.slots.clear();
        }
    }

    fn is_joint(&self) -> bool {
        self.directory().is_some_and(DirectoryRecord::is_joint)
    }

    /// What stands against a step of a change of members.
    fn refuse_change(&self, epoch: u64) -> Option<Reply> {
        let changing = self.is_joint() && epoch == self.epoch && self.is_member();
        (!changing).then_some(Reply::WrongEpoch { epoch: self.epoch })
    }
}

impl InDirectory {
    fn is_member_of(&self, record: &DirectoryRecord) -> bool {
        let sets = match record.configuration() {
            Configuration::Stable { members, .. } => [Some(members), None],
            Configuration::Joint { old, new, .. } => [Some(old), Some(new)],
        };
        let in_place = active(Mutant::WipedRefilledInPlace) && self.incarnation.is_none();
        let named = |member: &Member| {
            member.node == self.node && (self.incarnation == Some(member.incarnation) || in_place)
        };
        sets.into_iter()
            .flatten()
            .any(|set| set.members().iter().any(named))
    }

    /// Whether it is of the old members and not of the new ones.
    fn leaves_with(&self, record: &DirectoryRecord) -> bool {
        let Configuration::Joint { new, .. } = record.configuration() else {
            return false;
        };
        !new.members().iter().any(|member| member.node == self.node)
    }
}
