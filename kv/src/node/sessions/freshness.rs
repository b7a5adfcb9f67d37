//! Whether a node knows what was revoked.
//!
//! A revocation that counts is held by a write quorum. A node that compared its
//! records with a prepare quorum, itself included, has met it: the two share a node.
//! One that has not for a while may be cut off, and would go on serving whoever was
//! revoked meanwhile; so it serves nobody.

use std::time::Duration;

/// With whom a node has compared its records, and when. Times are milliseconds of a
/// steady clock.
#[derive(Debug, Clone)]
pub struct Freshness {
    /// When each member's records were known to be held here; the node itself has no
    /// need to ask.
    confirmed_ms: Vec<Option<u64>>,
    me: usize,
    quorum: usize,
    within_ms: u64,
}

impl Freshness {
    /// Of a node that is number `me` of `members` and has compared nothing yet. It is
    /// fresh while `quorum` of them, itself included, were compared `within` the time.
    #[must_use]
    pub fn new(me: usize, members: usize, quorum: usize, within: Duration) -> Self {
        Self {
            confirmed_ms: vec![None; members],
            me,
            quorum,
            within_ms: u64::try_from(within.as_millis()).unwrap_or(u64::MAX),
        }
    }

    /// What a member had at `asked_ms` is held here. The time when it was asked counts:
    /// what it learnt while it answered may be missing.
    pub fn confirm(&mut self, member: usize, asked_ms: u64) {
        if let Some(confirmed) = self.confirmed_ms.get_mut(member) {
            *confirmed = (*confirmed).max(Some(asked_ms));
        }
    }

    /// Whether enough were compared lately.
    #[must_use]
    pub fn is_fresh(&self, now_ms: u64) -> bool {
        let lately = |confirmed: &Option<u64>| {
            confirmed.is_some_and(|confirmed| now_ms.saturating_sub(confirmed) <= self.within_ms)
        };
        let others = self.confirmed_ms.iter().enumerate();
        let others = others.filter(|(member, confirmed)| *member != self.me && lately(confirmed));
        1 + others.count() >= self.quorum
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of_five() -> Freshness {
        Freshness::new(2, 5, 3, Duration::from_millis(100))
    }

    #[test]
    fn a_node_that_compared_nothing_is_not_fresh() {
        assert!(!of_five().is_fresh(0));
    }

    #[test]
    fn a_quorum_within_the_time_makes_fresh_and_the_node_itself_counts_once() {
        let mut freshness = of_five();
        freshness.confirm(0, 10);
        freshness.confirm(0, 20);
        freshness.confirm(2, 20);
        assert!(!freshness.is_fresh(20), "one other and itself are two");
        freshness.confirm(4, 15);
        assert!(freshness.is_fresh(20));
        assert!(freshness.is_fresh(115));
        assert!(!freshness.is_fresh(116), "the older of the two is too old");
        freshness.confirm(3, 116);
        assert!(freshness.is_fresh(116));
    }

    #[test]
    fn a_late_answer_takes_nothing_back_and_a_stranger_counts_for_nothing() {
        let mut freshness = of_five();
        freshness.confirm(0, 200);
        freshness.confirm(0, 10);
        freshness.confirm(1, 200);
        assert!(freshness.is_fresh(300));
        let mut freshness = of_five();
        freshness.confirm(0, 10);
        freshness.confirm(5, 10);
        freshness.confirm(usize::MAX, 10);
        assert!(!freshness.is_fresh(10));
    }

    #[test]
    fn a_node_alone_is_its_own_quorum() {
        assert!(Freshness::new(0, 1, 1, Duration::ZERO).is_fresh(u64::MAX));
    }
}
