//! The directory's record: who holds the keys, and how that changes (REPLICATION
//! rule 7).
//!
//! Members change in three records: `Stable(e)`, then `Joint(e+1)` with the old and
//! the new set, then `Stable(e+2)` with the new set. Each record names the hash of the
//! one before it, and replaces exactly that one, by one cas: so two who change members
//! at the same time cannot both succeed, and whoever finds a joint record can finish
//! what another began.
//!
//! **A member is a node and an incarnation.** A node draws a new incarnation whenever
//! it becomes a member, after it has wiped whatever it held. So a node whose disk was
//! lost, and one that comes back after it was removed, are not the member that the
//! record names, and nobody counts their answers for it.
//!
//! N, W and R of each set stand in the record and change in no other way.
//!
//! ```text
//! offset length
//!      0      1  version, 1
//!      1     32  hash of the record before; zeros in the first
//!     33      1  kind: 1 stable, 2 joint
//!     34      8  epoch
//!     42      …  the set, or the old and the new one:
//!                count u32, each member: node u64, incarnation u64, in order of
//!                node; W u32, R u32
//! ```

use sealmoot_crypto::digest::Sha256;
use sealmoot_crypto::encoding::{EncodingError, Reader, Writer};

use crate::quorum::{BadQuorum, Quorums};

/// Most members of one set.
pub const MEMBERS_MAX: usize = 64;
/// Longest record in bytes.
pub const DIRECTORY_RECORD_LENGTH_MAX: usize = 42 + 2 * (12 + 16 * MEMBERS_MAX);

const VERSION: u8 = 1;
const HASH_CONTEXT: &[u8] = b"kv directory record 1";

/// One life of one node as a holder of keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Member {
    /// The first eight bytes of the node's identity.
    pub node: u64,
    /// Drawn by the node when it became a member, after it had wiped what it held.
    pub incarnation: u64,
}

/// Who holds the keys, and how many of them each step needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MemberSet {
    members: Vec<Member>,
    quorums: Quorums,
}

/// A set of members that cannot be one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadMembers {
    /// More than [`MEMBERS_MAX`].
    #[error("a set has at most {MEMBERS_MAX} members")]
    TooMany,
    /// One node would count twice.
    #[error("a node is named twice")]
    NodeTwice,
    /// W and R do not fit the number of members.
    #[error(transparent)]
    Quorum(#[from] BadQuorum),
}

/// Who holds the keys in one epoch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Configuration {
    /// One set.
    Stable {
        /// The epoch.
        epoch: u64,
        /// The set.
        members: MemberSet,
    },
    /// Two sets; everything needs a quorum of each.
    Joint {
        /// The epoch.
        epoch: u64,
        /// Who held the keys before.
        old: MemberSet,
        /// Who will.
        new: MemberSet,
    },
}

/// A record of the directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DirectoryRecord {
    predecessor: [u8; 32],
    configuration: Configuration,
}

/// A record that must not come after another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NotASuccessor {
    /// It names another record as the one before it.
    #[error("it names another predecessor")]
    OtherPredecessor,
    /// Its epoch is not the next.
    #[error("its epoch is not the next one")]
    EpochNotNext,
    /// From stable to stable, or from joint to joint.
    #[error("a change goes from stable to joint, and from joint to stable")]
    StepSkipped,
    /// Its old set is not the present one, or its set not the one agreed on.
    #[error("its members are not those of the record before")]
    OtherMembers,
    /// Nothing changes.
    #[error("it changes nothing")]
    NothingChanges,
}

/// One of the sets that a step needs a quorum of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SetInForce {
    /// The nodes whose answers count for it. Fewer than N where one of them lives on
    /// as another member.
    pub nodes: Vec<u64>,
    /// N, W and R.
    pub quorums: Quorums,
}

impl MemberSet {
    /// The set of these members, W of which hold a write and R of which answer a read.
    ///
    /// # Errors
    /// [`BadMembers`].
    pub fn new(mut members: Vec<Member>, write: usize, read: usize) -> Result<Self, BadMembers> {
        members.sort_unstable();
        Self::from_ordered(members, write, read)
    }

    fn from_ordered(members: Vec<Member>, write: usize, read: usize) -> Result<Self, BadMembers> {
        if members.len() > MEMBERS_MAX {
            return Err(BadMembers::TooMany);
        }
        if members.windows(2).any(|pair| pair[0].node >= pair[1].node) {
            return Err(BadMembers::NodeTwice);
        }
        let quorums = Quorums::new(members.len(), write, read)?;
        Ok(Self { members, quorums })
    }

    /// The members, in order of node.
    #[must_use]
    pub fn members(&self) -> &[Member] {
        &self.members
    }

    /// N, W and R.
    #[must_use]
    pub fn quorums(&self) -> Quorums {
        self.quorums
    }

    /// Whether this life of this node is in it.
    #[must_use]
    pub fn has(&self, member: Member) -> bool {
        self.members.binary_search(&member).is_ok()
    }

    fn incarnation_of(&self, node: u64) -> Option<u64> {
        let found = self.members.iter().find(|member| member.node == node);
        found.map(|member| member.incarnation)
    }

    fn in_force(&self, counts: impl Fn(&&Member) -> bool) -> SetInForce {
        let counted = self.members.iter().filter(counts);
        SetInForce {
            nodes: counted.map(|member| member.node).collect(),
            quorums: self.quorums,
        }
    }

    fn write(&self, writer: &mut Writer) {
        let number = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
        writer.count(self.members.len());
        for member in &self.members {
            writer.u64(member.node);
            writer.u64(member.incarnation);
        }
        writer.u32(number(self.quorums.write()));
        writer.u32(number(self.quorums.read()));
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, EncodingError> {
        let count = reader.count(MEMBERS_MAX)?;
        let mut members = Vec::with_capacity(count);
        for _ in 0..count {
            members.push(Member {
                node: reader.u64()?,
                incarnation: reader.u64()?,
            });
        }
        let (write, read) = (reader.u32()? as usize, reader.u32()? as usize);
        Self::from_ordered(members, write, read)
            .map_err(|_| EncodingError::Invalid("the members are no set with quorums"))
    }
}

impl DirectoryRecord {
    /// The first record, with which a cluster is formed.
    #[must_use]
    pub fn first(epoch: u64, members: MemberSet) -> Self {
        Self {
            predecessor: [0; 32],
            configuration: Configuration::Stable { epoch, members },
        }
    }

    /// The record that begins to replace the present members by `new`.
    ///
    /// # Errors
    /// [`NotASuccessor`]: the record is joint already, or nothing would change.
    pub fn begin_change(&self, new: MemberSet) -> Result<Self, NotASuccessor> {
        let Configuration::Stable { epoch, members } = &self.configuration else {
            return Err(NotASuccessor::StepSkipped);
        };
        let next = Self {
            predecessor: self.hash(),
            configuration: Configuration::Joint {
                epoch: epoch.checked_add(1).ok_or(NotASuccessor::EpochNotNext)?,
                old: members.clone(),
                new,
            },
        };
        next.follows(self).map(|()| next)
    }

    /// The record that ends a change.
    ///
    /// # Errors
    /// [`NotASuccessor`]: the record is not joint.
    pub fn complete_change(&self) -> Result<Self, NotASuccessor> {
        let Configuration::Joint { epoch, new, .. } = &self.configuration else {
            return Err(NotASuccessor::StepSkipped);
        };
        let next = Self {
            predecessor: self.hash(),
            configuration: Configuration::Stable {
                epoch: epoch.checked_add(1).ok_or(NotASuccessor::EpochNotNext)?,
                members: new.clone(),
            },
        };
        next.follows(self).map(|()| next)
    }

    /// Whether this record may take the place of `former`: what whoever keeps the
    /// directory checks at each cas.
    ///
    /// # Errors
    /// [`NotASuccessor`].
    pub fn follows(&self, former: &Self) -> Result<(), NotASuccessor> {
        if self.predecessor != former.hash() {
            return Err(NotASuccessor::OtherPredecessor);
        }
        if former.epoch().checked_add(1) != Some(self.epoch()) {
            return Err(NotASuccessor::EpochNotNext);
        }
        let same = match (&former.configuration, &self.configuration) {
            (Configuration::Stable { members, .. }, Configuration::Joint { old, new, .. }) => {
                if old == new {
                    return Err(NotASuccessor::NothingChanges);
                }
                members == old
            }
            (Configuration::Joint { new, .. }, Configuration::Stable { members, .. }) => {
                new == members
            }
            _ => return Err(NotASuccessor::StepSkipped),
        };
        if same {
            Ok(())
        } else {
            Err(NotASuccessor::OtherMembers)
        }
    }

    /// Who holds the keys.
    #[must_use]
    pub fn configuration(&self) -> &Configuration {
        &self.configuration
    }

    /// The epoch.
    #[must_use]
    pub fn epoch(&self) -> u64 {
        match &self.configuration {
            Configuration::Stable { epoch, .. } | Configuration::Joint { epoch, .. } => *epoch,
        }
    }

    /// Whether two sets are in force.
    #[must_use]
    pub fn is_joint(&self) -> bool {
        matches!(self.configuration, Configuration::Joint { .. })
    }

    /// Whether this life of this node answers in this epoch.
    #[must_use]
    pub fn has(&self, member: Member) -> bool {
        match &self.configuration {
            Configuration::Stable { members, .. } => members.has(member),
            Configuration::Joint { old, new, .. } => old.has(member) || new.has(member),
        }
    }

    /// The sets of which each step needs a quorum; while joint the old one first.
    ///
    /// A node that is in both sets as different members is the one of the new set: it
    /// was wiped, and counts in the new set alone. The old set keeps its N.
    #[must_use]
    pub fn in_force(&self) -> Vec<SetInForce> {
        match &self.configuration {
            Configuration::Stable { members, .. } => vec![members.in_force(|_| true)],
            Configuration::Joint { old, new, .. } => {
                let lives_on = |member: &&Member| {
                    new.incarnation_of(member.node)
                        .is_none_or(|incarnation| incarnation == member.incarnation)
                };
                vec![old.in_force(lives_on), new.in_force(|_| true)]
            }
        }
    }

    /// The hash by which its successor names it.
    #[must_use]
    pub fn hash(&self) -> [u8; 32] {
        let mut hasher = Sha256::new();
        hasher.update(HASH_CONTEXT);
        hasher.update(&self.encode());
        hasher.finish()
    }

    /// The record's bytes.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut writer = Writer::new();
        writer.u8(VERSION);
        writer.fixed(&self.predecessor);
        match &self.configuration {
            Configuration::Stable { epoch, members } => {
                writer.u8(1);
                writer.u64(*epoch);
                members.write(&mut writer);
            }
            Configuration::Joint { epoch, old, new } => {
                writer.u8(2);
                writer.u64(*epoch);
                old.write(&mut writer);
                new.write(&mut writer);
            }
        }
        writer.finish()
    }

    /// Takes a record apart.
    ///
    /// # Errors
    /// [`EncodingError`].
    pub fn decode(bytes: &[u8]) -> Result<Self, EncodingError> {
        let mut reader = Reader::new(bytes);
        let version = reader.u8()?;
        if version != VERSION {
            return Err(EncodingError::Unknown {
                what: "version of a directory record",
                value: u64::from(version),
            });
        }
        let predecessor = reader.array()?;
        let configuration = match reader.u8()? {
            1 => Configuration::Stable {
                epoch: reader.u64()?,
                members: MemberSet::read(&mut reader)?,
            },
            2 => Configuration::Joint {
                epoch: reader.u64()?,
                old: MemberSet::read(&mut reader)?,
                new: MemberSet::read(&mut reader)?,
            },
            value => {
                return Err(EncodingError::Unknown {
                    what: "kind of a directory record",
                    value: u64::from(value),
                });
            }
        };
        reader.finish()?;
        Ok(Self {
            predecessor,
            configuration,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(members: &[(u64, u64)]) -> MemberSet {
        let member = |(node, incarnation): &(u64, u64)| Member {
            node: *node,
            incarnation: *incarnation,
        };
        let majority = members.len() / 2 + 1;
        let members = members.iter().map(member).collect();
        MemberSet::new(members, majority, majority).expect("a set")
    }

    fn first() -> DirectoryRecord {
        DirectoryRecord::first(1, set(&[(1, 1), (2, 2), (3, 3)]))
    }

    #[test]
    fn a_change_goes_from_stable_to_joint_to_stable() {
        let new = set(&[(2, 2), (3, 3), (4, 4)]);
        let joint = first().begin_change(new.clone()).expect("a change");
        let stable = joint.complete_change().expect("completed");
        assert_eq!((joint.epoch(), stable.epoch()), (2, 3));
        assert!(joint.is_joint() && !stable.is_joint());
        assert_eq!(stable.in_force()[0].nodes, [2, 3, 4]);
        assert_eq!(
            joint.begin_change(new.clone()),
            Err(NotASuccessor::StepSkipped)
        );
        assert_eq!(stable.complete_change(), Err(NotASuccessor::StepSkipped));
        assert_eq!(stable.begin_change(new), Err(NotASuccessor::NothingChanges));
    }

    #[test]
    fn a_record_follows_exactly_one_other() {
        let one = first().begin_change(set(&[(1, 1), (2, 2)])).expect("one");
        let other = first().begin_change(set(&[(1, 1), (3, 3)])).expect("other");
        assert_eq!(one.follows(&first()), Ok(()));
        assert_eq!(other.follows(&one), Err(NotASuccessor::OtherPredecessor));
        let completed = other.complete_change().expect("completed");
        assert_eq!(
            completed.follows(&one),
            Err(NotASuccessor::OtherPredecessor)
        );
        assert_eq!(one.follows(&one), Err(NotASuccessor::OtherPredecessor));
    }

    #[test]
    fn a_step_with_other_members_epoch_or_order_is_refused() {
        let joint = first().begin_change(set(&[(1, 1), (2, 2)])).expect("joint");
        let forged = |configuration| DirectoryRecord {
            predecessor: joint.hash(),
            configuration,
        };
        let cases = [
            (3, set(&[(1, 1)]), NotASuccessor::OtherMembers),
            (4, set(&[(1, 1), (2, 2)]), NotASuccessor::EpochNotNext),
        ];
        for (epoch, members, refusal) in cases {
            let next = forged(Configuration::Stable { epoch, members });
            assert_eq!(next.follows(&joint), Err(refusal));
        }
        let next = forged(Configuration::Joint {
            epoch: 3,
            old: set(&[(1, 1), (2, 2)]),
            new: set(&[(1, 1)]),
        });
        assert_eq!(next.follows(&joint), Err(NotASuccessor::StepSkipped));
        let last = DirectoryRecord::first(u64::MAX, set(&[(1, 1)]));
        let change = last.begin_change(set(&[(2, 2)]));
        assert_eq!(change, Err(NotASuccessor::EpochNotNext));
    }

    #[test]
    fn a_node_that_was_wiped_counts_in_the_new_set_alone() {
        let joint = first()
            .begin_change(set(&[(1, 9), (2, 2), (3, 3)]))
            .expect("joint");
        let sets = joint.in_force();
        assert_eq!(sets[0].nodes, [2, 3]);
        assert_eq!(sets[0].quorums.members(), 3);
        assert_eq!(sets[1].nodes, [1, 2, 3]);
        let life = |incarnation| Member {
            node: 1,
            incarnation,
        };
        assert!(joint.has(life(9)) && !first().has(life(9)));
    }

    #[test]
    fn a_set_with_one_node_twice_or_without_overlap_is_refused() {
        let member = |node, incarnation| Member { node, incarnation };
        let twice = vec![member(1, 1), member(1, 2)];
        assert_eq!(MemberSet::new(twice, 2, 2), Err(BadMembers::NodeTwice));
        let overlap = MemberSet::new(vec![member(1, 1), member(2, 1)], 1, 1);
        assert!(matches!(overlap, Err(BadMembers::Quorum(_))));
        assert!(matches!(
            MemberSet::new(Vec::new(), 0, 0),
            Err(BadMembers::Quorum(_))
        ));
        let many = (0..=MEMBERS_MAX as u64).map(|node| member(node, 1));
        assert_eq!(
            MemberSet::new(many.collect(), 40, 40),
            Err(BadMembers::TooMany)
        );
    }

    #[test]
    fn records_survive_their_bytes_and_nothing_shorter_decodes() {
        let joint = first()
            .begin_change(set(&[(2, 2), (3, 3), (4, 4), (5, 5)]))
            .expect("joint");
        for record in [first(), joint] {
            let bytes = record.encode();
            assert_eq!(DirectoryRecord::decode(&bytes), Ok(record));
            for length in 0..bytes.len() {
                assert!(DirectoryRecord::decode(&bytes[..length]).is_err());
            }
            for index in 0..bytes.len() {
                let mut changed = bytes.clone();
                changed[index] ^= 1;
                if let Ok(other) = DirectoryRecord::decode(&changed) {
                    assert_eq!(other.encode(), changed, "{index}");
                }
            }
        }
    }

    #[test]
    fn no_record_is_longer_than_the_maximum() {
        let nodes = |from: u64| {
            let members = (from..from + MEMBERS_MAX as u64).map(|node| Member {
                node,
                incarnation: 1,
            });
            MemberSet::new(members.collect(), MEMBERS_MAX, 1).expect("a set")
        };
        let joint = DirectoryRecord::first(1, nodes(0))
            .begin_change(nodes(100))
            .expect("joint");
        assert_eq!(joint.encode().len(), DIRECTORY_RECORD_LENGTH_MAX);
    }
}
