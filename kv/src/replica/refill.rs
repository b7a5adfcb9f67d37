//! The replica's part when its node lost what it held (REPLICATION rule 9).
//!
//! A node whose directory is damaged, or older than what it has voted on, begins anew
//! with nothing. Filled up in silence it would lose acknowledged writes: its former
//! life counted as one of the W that hold them, and its promises are forgotten. So:
//!
//! 1. **Unfenced**: it answers nothing. It asks *all* other members for their clocks. No
//!    ballot that its former life promised or accepted is above the highest of them,
//!    because whoever proposed it, or promised it besides, is among those that were asked.
//! 2. All of them raise their floors to that clock, durably, and so does it. From then on
//!    what the former life granted is worth nothing: no member takes such a ballot, for any
//!    key. The others also forget the former life's position, and remember this one's.
//! 3. **Filling**: every key that P of the others know is written again by an identity
//!    write, which must be prepared at P members, all of them others: this one answers
//!    for no key before it has accepted a state of it under a ballot above the floor.
//!    P of the others share a member with every W that acknowledged a write, this one not
//!    counted. Writes of clients that arrive meanwhile do the same for their keys.
//! 4. **Done**: it answers for all keys. One that it does not hold now was acknowledged by
//!    nobody before the floors rose, or by a W of others since.
//!
//! While this lasts the other members must be there, all of them until step 3, P of them
//! from then on. A second node that loses its disk meanwhile waits, and so does this one:
//! what they lost may be the only copies.

use super::{Effect, Replay, Replica};
use crate::ballot::Ballot;
use crate::clock::Clock;
use crate::message::Request;
use crate::record::{Record, RefillStage};

impl Replay {
    /// Whether the log says that the node lost what it held and does not hold it again.
    #[must_use]
    pub fn is_refilling(&self) -> bool {
        self.refill.is_some_and(|stage| stage != RefillStage::Done)
    }
}

impl Replica {
    /// How far it is with taking from the others what it lost; done if it lost nothing.
    #[must_use]
    pub fn refill_stage(&self) -> RefillStage {
        self.refill
    }

    /// Whether it holds what it may have acknowledged, and others may rely on that.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.refill == RefillStage::Done
    }

    /// Whether anything was accepted for a key.
    #[must_use]
    pub fn holds(&self, key: &[u8]) -> bool {
        let slot = self.slots.get(key);
        slot.is_some_and(|slot| slot.accepted != Ballot::ZERO)
    }

    /// Whether it may answer a request at all.
    #[must_use]
    pub fn answers(&self, request: &Request) -> bool {
        match self.refill {
            RefillStage::Done => true,
            RefillStage::Unfenced => false,
            RefillStage::Filling => match request {
                Request::Accept { .. } => true,
                Request::Prepare { key, .. }
                | Request::Read { key, .. }
                | Request::Condemn { key, .. }
                | Request::Remove { key, .. } => self.holds(key),
                Request::Scan { .. }
                | Request::Fence { .. }
                | Request::Install { .. }
                | Request::RaiseFloors { .. } => false,
            },
        }
    }

    /// Nothing at or below `clock` is promised or accepted from now on, for any key. Returns
    /// the record that is to be durable before anybody relies on it; none when that clock is
    /// too far ahead of this replica's, and nothing changes.
    pub fn fence_former_life(
        &mut self,
        wall_ms: u64,
        clock: Clock,
        effects: &mut Vec<Effect>,
    ) -> Option<u64> {
        let floor = Ballot::ceiling_of(self.epoch, clock);
        let refused = self.refuse_former_ballot(wall_ms, floor, self.epoch);
        if refused.is_some() {
            return None;
        }
        if floor > self.floor {
            self.write_floors(floor, 0, effects);
        }
        Some(self.floor_record)
    }

    /// All others have stopped what the former life granted at or below `clock`; and their
    /// highest revision of a removed key is `revision_floor`.
    pub fn begin_filling(&mut self, clock: Clock, revision_floor: u64, effects: &mut Vec<Effect>) {
        let floor = Ballot::ceiling_of(self.epoch, clock);
        self.write_floors(floor, revision_floor, effects);
        // Behind the floors: a crash between leaves it unfenced.
        self.enter(RefillStage::Filling, effects);
        self.floor_record = self.appended;
    }

    /// All keys of the others are held. Returns the record that says so.
    pub fn end_filling(&mut self, effects: &mut Vec<Effect>) -> u64 {
        self.enter(RefillStage::Done, effects);
        self.floor_record = self.appended;
        self.appended
    }

    /// The highest revision of any key that was removed here.
    #[must_use]
    pub fn revision_floor(&self) -> u64 {
        self.revision_floor
    }

    fn enter(&mut self, stage: RefillStage, effects: &mut Vec<Effect>) {
        self.refill = stage;
        self.appended += 1;
        effects.push(Effect::Append(self.appended, Record::Refill(stage)));
    }

    pub(super) fn write_floors(
        &mut self,
        floor: Ballot,
        revision_floor: u64,
        effects: &mut Vec<Effect>,
    ) {
        self.appended += 1;
        self.raise_floors(floor, revision_floor);
        self.floor_record = self.appended;
        let record = Record::Floors {
            floor: self.floor,
            revision_floor: self.revision_floor,
        };
        effects.push(Effect::Append(self.appended, record));
    }
}
