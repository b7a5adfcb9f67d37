//! A node that lost or rolled back its disk is not the node it was (REPLICATION
//! rule 9): what nodes remember of how far each other's log was, and when a node that
//! starts may vote.
//!
//! **Attack**: somebody puts a node's directory back to yesterday's copy. Everything
//! in it authenticates; only the writes that the node acknowledged since are gone, and
//! with them the promise that W members hold each. So every answer carries the number
//! of the node's last durable record, peers keep the highest that they saw, and a node
//! that starts asks P members, itself included, before it grants anything: a copy
//! that is older than what one of them remembers is refused. Nor does it answer a member
//! that has not reported. P is that of a majority, which shares a
//! member with every majority that acknowledged a write, so two of three can start
//! without the third. It does not with the W of every namespace: what W = 1 acknowledged
//! at a node that is rolled back afterwards is lost, and the node is told only by a
//! member that heard of it.
//!
//! It knows nothing of sockets, the disk or the clock.

use std::collections::{BTreeMap, BTreeSet};

use crate::log::LogPosition;

/// How far a node's log was, durably.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Attested {
    /// Which life of the node it was.
    pub incarnation: u64,
    /// The number of the last durable record.
    pub counter: u64,
    /// The chain value over all groups up to there.
    pub chain: [u8; 32],
}

impl From<LogPosition> for Attested {
    fn from(position: LogPosition) -> Self {
        Self {
            incarnation: position.incarnation,
            counter: position.records,
            chain: position.chain.0,
        }
    }
}

#[derive(Debug)]
struct Remembered {
    attested: Attested,
    /// The counter that the log holds, and the record that holds it.
    written: (u64, u64),
}

/// What one node remembers of the others, by the number of each.
#[derive(Debug, Default)]
pub struct Attestations(BTreeMap<u64, Remembered>);

impl Attestations {
    /// Takes what the log remembers.
    pub fn replay(&mut self, node: u64, attested: Attested) {
        // Another life is written only when it has replaced the former.
        if self.of(node).map(|held| held.incarnation) != Some(attested.incarnation) {
            self.0.remove(&node);
        }
        self.note(node, attested);
        if let Some(remembered) = self.0.get_mut(&node) {
            remembered.written = (attested.counter, 0);
        }
    }

    /// Takes what a node said of itself. The highest is kept; another life of the
    /// node does not replace the one that is known.
    pub fn note(&mut self, node: u64, attested: Attested) {
        let remembered = self.0.entry(node).or_insert(Remembered {
            attested,
            written: (0, 0),
        });
        let same_life = remembered.attested.incarnation == attested.incarnation;
        if same_life && attested.counter > remembered.attested.counter {
            remembered.attested = attested;
        }
    }

    /// A node has begun another life, with nothing of the former. Says whether that is
    /// new; a life of which more is remembered than it says is not a beginning.
    ///
    /// # Errors
    /// What is remembered of that very life, if it is more.
    pub fn begin_life(&mut self, node: u64, attested: Attested) -> Result<bool, Attested> {
        match self.of(node) {
            Some(held) if held.incarnation == attested.incarnation => {
                if held.counter > attested.counter {
                    return Err(held);
                }
                Ok(false)
            }
            _ => {
                self.0.remove(&node);
                self.note(node, attested);
                Ok(true)
            }
        }
    }

    /// What is remembered of a node.
    #[must_use]
    pub fn of(&self, node: u64) -> Option<Attested> {
        self.0.get(&node).map(|remembered| remembered.attested)
    }

    /// What should be written along with a group that is written anyway: for each
    /// node at most one record that is not durable yet, so that remembering costs a
    /// record a group and no sync.
    #[must_use]
    pub fn due(&self, durable: u64) -> Vec<(u64, Attested)> {
        let due = |remembered: &Remembered| {
            let (counter, record) = remembered.written;
            remembered.attested.counter > counter && record <= durable
        };
        self.0
            .iter()
            .filter(|(_, remembered)| due(remembered))
            .map(|(node, remembered)| (*node, remembered.attested))
            .collect()
    }

    /// Takes note of the record that holds what is remembered of a node.
    pub fn written(&mut self, node: u64, record: u64) {
        if let Some(remembered) = self.0.get_mut(&node) {
            remembered.written = (remembered.attested.counter, record);
        }
    }
}

/// Whether a node that starts may vote.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// Too few members have said what they remember.
    Waiting,
    /// P members remember no more than the node has.
    Admitted,
    /// A member remembers more: the node's disk is not the one that it voted with.
    Behind {
        /// The index of the member.
        member: usize,
        /// What it remembers.
        remembered: Attested,
    },
}

/// The question of a node that starts.
#[derive(Debug)]
pub struct Admission {
    own: Attested,
    members: usize,
    needed: usize,
    reported: BTreeSet<usize>,
    /// Whether members beyond those needed are still waited for.
    waits_for_all: bool,
    behind: Option<(usize, Attested)>,
}

impl Admission {
    /// The member with index `me` starts with its log at `own`; `needed` of `members`,
    /// itself included, must report.
    #[must_use]
    pub fn new(me: usize, own: Attested, members: usize, needed: usize) -> Self {
        Self {
            own,
            members,
            needed,
            reported: BTreeSet::from([me]),
            waits_for_all: true,
            behind: None,
        }
    }

    /// A member says what it remembers of this node. Its first report counts, also
    /// after the node has begun to vote: nothing that the node wrote since its start
    /// may be told to a member before that, so it cannot hide what is missing. Once
    /// somebody remembers more, nothing that others say makes up for it.
    pub fn report(&mut self, member: usize, remembered: Option<Attested>) {
        if !self.reported.insert(member) || self.behind.is_some() {
            return;
        }
        let exceeds = |remembered: &Attested| {
            remembered.incarnation != self.own.incarnation || remembered.counter > self.own.counter
        };
        self.behind = remembered
            .filter(exceeds)
            .map(|remembered| (member, remembered));
    }

    /// Members beyond those needed have had their time.
    pub fn wait_no_longer(&mut self) {
        self.waits_for_all = false;
    }

    /// Whether as many have reported as must.
    #[must_use]
    pub fn has_enough(&self) -> bool {
        self.reported.len() >= self.needed
    }

    /// How it stands.
    #[must_use]
    pub fn standing(&self) -> Standing {
        let all = self.reported.len() >= self.members;
        match self.behind {
            Some((member, remembered)) => Standing::Behind { member, remembered },
            None if self.has_enough() && (all || !self.waits_for_all) => Standing::Admitted,
            None => Standing::Waiting,
        }
    }

    /// Whether a member may be answered: the node votes, and this member has said what it
    /// remembers. It may remember a vote that the log lacks, and until it has said so the
    /// position that it is told says nothing of what is granted now.
    #[must_use]
    pub fn answers(&self, member: usize) -> bool {
        self.standing() == Standing::Admitted && self.has_reported(member)
    }

    /// How far the node's log was when it started.
    #[must_use]
    pub fn own(&self) -> Attested {
        self.own
    }

    /// Whether a member has reported, and may be told of what was written since.
    #[must_use]
    pub fn has_reported(&self, member: usize) -> bool {
        self.reported.contains(&member)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(counter: u64) -> Attested {
        Attested {
            incarnation: 1,
            counter,
            chain: [counter as u8; 32],
        }
    }

    #[test]
    fn two_of_three_start_without_the_third_after_a_wait() {
        let mut admission = Admission::new(0, at(9), 3, 2);
        assert!(!admission.has_enough());
        admission.wait_no_longer();
        assert_eq!(admission.standing(), Standing::Waiting);
        admission.report(2, Some(at(9)));
        assert_eq!(admission.standing(), Standing::Admitted);
    }

    #[test]
    fn a_member_that_has_not_reported_is_not_answered() {
        let mut admission = Admission::new(0, at(9), 3, 2);
        assert!(!admission.answers(0), "it does not vote yet");
        admission.report(2, Some(at(9)));
        admission.wait_no_longer();
        assert_eq!(
            [0, 1, 2].map(|member| admission.answers(member)),
            [true, false, true]
        );
        admission.report(1, Some(at(9)));
        assert!(admission.answers(1));
        let mut behind = Admission::new(0, at(9), 3, 2);
        behind.report(1, Some(at(10)));
        behind.report(2, Some(at(9)));
        assert_eq!([0, 1, 2].map(|member| behind.answers(member)), [false; 3]);
    }

    #[test]
    fn the_third_is_waited_for_because_it_may_remember_more() {
        let mut admission = Admission::new(0, at(9), 3, 2);
        admission.report(2, Some(at(9)));
        assert!(admission.has_enough());
        assert_eq!(admission.standing(), Standing::Waiting);
        admission.report(1, Some(at(9)));
        assert_eq!(admission.standing(), Standing::Admitted);
    }

    #[test]
    fn a_cluster_that_has_just_formed_remembers_nothing_and_votes() {
        let mut admission = Admission::new(1, at(0), 3, 3);
        admission.report(0, None);
        admission.report(0, None);
        assert_eq!(admission.standing(), Standing::Waiting);
        admission.report(2, None);
        assert_eq!(admission.standing(), Standing::Admitted);
        let alone = Admission::new(0, at(3), 1, 1);
        assert_eq!(alone.standing(), Standing::Admitted);
    }

    #[test]
    fn a_node_with_less_than_one_member_remembers_never_votes() {
        let mut admission = Admission::new(0, at(9), 3, 3);
        admission.report(1, Some(at(10)));
        let behind = Standing::Behind {
            member: 1,
            remembered: at(10),
        };
        assert_eq!(admission.standing(), behind);
        admission.wait_no_longer();
        for member in 0..3 {
            admission.report(member, Some(at(2)));
        }
        assert_eq!(admission.standing(), behind);
    }

    #[test]
    fn a_node_that_was_made_anew_under_its_name_does_not_vote() {
        let mut admission = Admission::new(0, at(100), 3, 2);
        let former = Attested {
            incarnation: 7,
            ..at(3)
        };
        admission.report(1, Some(former));
        assert!(matches!(admission.standing(), Standing::Behind { .. }));
    }

    #[test]
    fn a_member_that_comes_late_and_remembers_more_ends_the_voting() {
        let mut admission = Admission::new(0, at(9), 3, 2);
        admission.report(1, Some(at(9)));
        admission.wait_no_longer();
        assert_eq!(admission.standing(), Standing::Admitted);
        // What a member says after its first report it has heard since the start.
        admission.report(1, Some(at(20)));
        assert_eq!(admission.standing(), Standing::Admitted);
        assert!(!admission.has_reported(2));
        admission.report(2, Some(at(12)));
        assert!(matches!(admission.standing(), Standing::Behind { .. }));
    }

    #[test]
    fn the_highest_is_remembered_and_another_life_does_not_replace_it() {
        let mut held = Attestations::default();
        for counter in [3, 9, 5] {
            held.note(7, at(counter));
        }
        assert_eq!(held.of(7), Some(at(9)));
        held.note(
            7,
            Attested {
                incarnation: 2,
                ..at(50)
            },
        );
        assert_eq!(held.of(7), Some(at(9)));
        assert_eq!(held.of(8), None);
    }

    #[test]
    fn one_record_a_peer_is_under_way_at_a_time() {
        let mut held = Attestations::default();
        held.note(7, at(1));
        assert_eq!(held.due(0), [(7, at(1))]);
        held.written(7, 5);
        held.note(7, at(2));
        assert!(held.due(4).is_empty(), "record 5 is not durable yet");
        assert_eq!(held.due(5), [(7, at(2))]);
        held.written(7, 6);
        assert!(held.due(9).is_empty(), "nothing new");
    }

    #[test]
    fn what_the_log_remembers_is_not_written_again() {
        let mut held = Attestations::default();
        held.replay(7, at(4));
        held.replay(7, at(6));
        assert_eq!(held.of(7), Some(at(6)));
        assert!(held.due(0).is_empty());
        held.note(7, at(7));
        assert_eq!(held.due(0), [(7, at(7))]);
    }
}
