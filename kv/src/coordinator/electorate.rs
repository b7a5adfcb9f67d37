//! Who must take part in an operation: one set of members, or while members change two,
//! of each of which everything needs a quorum.
//!
//! Members are named by the index that the shell gives a node, the same in every epoch
//! and in both sets, so that an answer counts in each set that its node is in.

use std::sync::Arc;

use super::round::Round;
use crate::directory::DirectoryRecord;
use crate::quorum::Quorums;

/// The members of one epoch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Membership {
    epoch: u64,
    /// One, or the old and the new one.
    sets: Vec<Set>,
    /// The members of all sets, in order.
    all: Vec<usize>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Set {
    members: Vec<usize>,
    quorums: Quorums,
}

impl Membership {
    /// The nodes with the indexes below N, in an epoch that is stable.
    #[must_use]
    pub fn stable(epoch: u64, quorums: Quorums) -> Self {
        let members = (0..quorums.members()).collect();
        Self::new(epoch, vec![Set { members, quorums }])
    }

    /// What a record of the directory says. A node that `index_of` does not know counts
    /// as one that never answers.
    #[must_use]
    pub fn of(record: &DirectoryRecord, index_of: impl Fn(u64) -> Option<usize>) -> Self {
        let sets = record.in_force().into_iter().map(|set| Set {
            members: set
                .nodes
                .iter()
                .filter_map(|node| index_of(*node))
                .collect(),
            quorums: set.quorums,
        });
        Self::new(record.epoch(), sets.collect())
    }

    fn new(epoch: u64, sets: Vec<Set>) -> Self {
        let members = sets.iter().flat_map(|set| set.members.iter().copied());
        let mut all: Vec<usize> = members.collect();
        all.sort_unstable();
        all.dedup();
        Self { epoch, sets, all }
    }

    /// The epoch.
    #[must_use]
    pub fn epoch(&self) -> u64 {
        self.epoch
    }

    /// Whether two sets are in force.
    #[must_use]
    pub fn is_joint(&self) -> bool {
        self.sets.len() > 1
    }

    /// N, W and R of the members that stay.
    pub(super) fn quorums(&self) -> Quorums {
        self.sets
            .last()
            .expect("every membership has a set")
            .quorums
    }

    pub(super) fn all(&self) -> &[usize] {
        &self.all
    }
}

/// The members that an operation needs, and how many of them.
#[derive(Debug, Clone)]
pub(super) struct Electorate {
    membership: Arc<Membership>,
    /// Those of its namespace; none where the members' own hold.
    settings: Option<Quorums>,
}

impl Electorate {
    pub(super) fn new(membership: Arc<Membership>) -> Self {
        Self {
            membership,
            settings: None,
        }
    }

    /// From now on the settings of a namespace hold.
    pub(super) fn heed(&mut self, settings: Option<Quorums>) {
        self.settings = settings;
    }

    pub(super) fn settings(&self) -> Option<Quorums> {
        self.settings
    }

    /// Another epoch begins.
    pub(super) fn change(&mut self, membership: Arc<Membership>) {
        self.membership = membership;
    }

    /// Everybody that takes part, in order.
    pub(super) fn members(&self) -> Vec<usize> {
        self.membership.all.clone()
    }

    pub(super) fn is_joint(&self) -> bool {
        self.membership.is_joint()
    }

    /// The quorums of the set that stays.
    pub(super) fn quorums(&self) -> Quorums {
        self.adapted(self.membership.quorums())
    }

    /// Whether in each set as many members as `need` says are `counted`.
    pub(super) fn reaches(
        &self,
        counted: impl Fn(usize) -> bool,
        need: impl Fn(Quorums) -> usize,
    ) -> bool {
        self.every_set(|members, quorums| count(members, &counted) >= need(quorums))
    }

    /// The same for the set that goes alone; for the only one in a stable epoch.
    pub(super) fn old_set_reaches(
        &self,
        counted: impl Fn(usize) -> bool,
        need: impl Fn(Quorums) -> usize,
    ) -> bool {
        let goes = self.membership.sets.first();
        goes.is_some_and(|set| count(&set.members, &counted) >= need(self.adapted(set.quorums)))
    }

    /// The same for the set that stays alone.
    pub(super) fn new_set_reaches(
        &self,
        counted: impl Fn(usize) -> bool,
        need: impl Fn(Quorums) -> usize,
    ) -> bool {
        let stays = self.membership.sets.last();
        stays.is_some_and(|set| count(&set.members, &counted) >= need(self.adapted(set.quorums)))
    }

    /// Whether as many as `need` says have done what this round asks.
    pub(super) fn is_done(&self, round: &Round, need: impl Fn(Quorums) -> usize) -> bool {
        self.reaches(|member| round.is_done(member), need)
    }

    /// Whether fewer than `need` says can still do it. The answer of this node's own
    /// replica is waited for all the same: it always comes, and the report would be
    /// wrong without it.
    pub(super) fn is_out_of_reach(
        &self,
        round: &Round,
        need: impl Fn(Quorums) -> usize,
        me: usize,
    ) -> bool {
        !self.reaches(|member| round.may_do(member), need) && !round.is_asked(me)
    }

    /// Of members in order of preference, those to ask so that as many as `need` says
    /// may answer.
    pub(super) fn to_ask(
        &self,
        round: &Round,
        preferred: &[usize],
        need: impl Fn(Quorums) -> usize,
    ) -> Vec<usize> {
        let mut chosen = Vec::new();
        for set in &self.membership.sets {
            let taken = |member: &usize| round.is_under_way(*member) || chosen.contains(member);
            let under_way = set.members.iter().filter(|member| taken(member)).count();
            let missing = need(self.adapted(set.quorums)).saturating_sub(under_way);
            let spared = preferred.iter().copied().filter(|member| {
                set.members.contains(member) && round.is_spared(*member) && !chosen.contains(member)
            });
            let more: Vec<usize> = spared.take(missing).collect();
            chosen.extend(more);
        }
        chosen
    }

    /// The most that any set needs, for reports.
    pub(super) fn most(&self, need: impl Fn(Quorums) -> usize) -> usize {
        let sets = self.membership.sets.iter();
        let needs = sets.map(|set| need(self.adapted(set.quorums)));
        needs.max().unwrap_or(0)
    }

    fn every_set(&self, test: impl Fn(&[usize], Quorums) -> bool) -> bool {
        let mut sets = self.membership.sets.iter();
        sets.all(|set| test(&set.members, self.adapted(set.quorums)))
    }

    fn adapted(&self, quorums: Quorums) -> Quorums {
        self.settings
            .map_or(quorums, |settings| settings.scaled_to(quorums.members()))
    }
}

fn count(members: &[usize], counted: impl Fn(usize) -> bool) -> usize {
    members.iter().filter(|member| counted(**member)).count()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::directory::{Member, MemberSet};

    /// Nodes 1, 2, 3 are replaced by 3, 4, 5; the shell gives node n the index n.
    fn joint() -> Electorate {
        let set = |nodes: [u64; 3]| {
            let members = nodes.map(|node| Member {
                node,
                incarnation: node,
            });
            MemberSet::new(members.to_vec(), 2, 2).expect("a set")
        };
        let record = DirectoryRecord::first(1, set([1, 2, 3]))
            .begin_change(set([3, 4, 5]))
            .expect("a change");
        let membership = Membership::of(&record, |node| usize::try_from(node).ok());
        assert_eq!(membership.epoch(), 2);
        Electorate::new(Arc::new(membership))
    }

    fn done(members: &[usize]) -> Round {
        let mut round = Round::new(6);
        members.iter().for_each(|member| round.done(*member));
        round
    }

    #[test]
    fn while_joint_a_quorum_of_one_set_is_none() {
        let electorate = joint();
        for (members, enough) in [
            (&[1, 2, 3][..], false),
            (&[4, 5, 3], false),
            (&[1, 2, 4], false),
            (&[1, 3, 4], true),
            (&[1, 2, 4, 5], true),
        ] {
            let reached = electorate.is_done(&done(members), Quorums::write);
            assert_eq!(reached, enough, "{members:?}");
        }
    }

    #[test]
    fn a_set_that_cannot_answer_any_more_ends_the_round() {
        let electorate = joint();
        let mut round = done(&[1, 2, 3]);
        round.fail(4, "");
        assert!(!electorate.is_out_of_reach(&round, Quorums::write, 0));
        round.fail(5, "");
        assert!(electorate.is_out_of_reach(&round, Quorums::write, 0));
    }

    #[test]
    fn a_member_of_both_sets_is_asked_once_and_counts_in_both() {
        let electorate = joint();
        let round = Round::new(6);
        let asked = electorate.to_ask(&round, &[3, 1, 2, 4, 5], Quorums::read);
        assert_eq!(asked, [3, 1, 4]);
    }

    #[test]
    fn a_node_that_lives_on_as_another_member_counts_in_the_new_set_alone() {
        let member = |node, incarnation| Member { node, incarnation };
        let set = |one| {
            let members = vec![member(1, one), member(2, 1), member(3, 1)];
            MemberSet::new(members, 2, 2).expect("a set")
        };
        let record = DirectoryRecord::first(1, set(1))
            .begin_change(set(9))
            .expect("a change");
        let membership = Membership::of(&record, |node| usize::try_from(node).ok());
        let electorate = Electorate::new(Arc::new(membership));
        assert!(!electorate.is_done(&done(&[1, 2]), Quorums::write));
        assert!(electorate.is_done(&done(&[2, 3]), Quorums::write));
    }
}
