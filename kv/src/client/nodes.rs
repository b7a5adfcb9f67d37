//! One connection to each node, made when it is first needed.
//!
//! The requests about one key go to the same node first, so that its warm ballots and
//! its queue are in one place. That is a preference: a node that does not answer is
//! passed over for a while, and any other serves as well.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use sealmoot_rpc::Connection;
use tokio::sync::Mutex as Turn;

/// How long a node that did not answer is asked last.
const PASSED_OVER_FOR: Duration = Duration::from_secs(5);

/// The connections of a client, by the place of the address.
pub(super) struct Nodes(Vec<Node>);

#[derive(Default)]
struct Node {
    /// Held while a connection is made, so that one is made and not many.
    connection: Turn<Option<Connection>>,
    passed_over: Mutex<Option<Instant>>,
}

impl Nodes {
    pub(super) fn new(count: usize) -> Self {
        Self((0..count).map(|_| Node::default()).collect())
    }

    /// All places, `first` before the others, and those last that did not answer a
    /// moment ago.
    pub(super) fn in_order(&self, first: usize, now: Instant) -> Vec<usize> {
        let count = self.0.len();
        let mut order: Vec<usize> = (0..count).map(|offset| (first + offset) % count).collect();
        order.sort_by_key(|index| self.0[*index].is_passed_over(now));
        order
    }

    /// The place's connection, to be looked at or made.
    pub(super) fn connection(&self, index: usize) -> &Turn<Option<Connection>> {
        &self.0[index].connection
    }

    /// The node answered.
    pub(super) fn answered(&self, index: usize) {
        *self.0[index].lock() = None;
    }

    /// The node did not answer, or could not help: others are asked before it.
    pub(super) fn pass_over(&self, index: usize, now: Instant) {
        *self.0[index].lock() = Some(now + PASSED_OVER_FOR);
    }
}

impl Node {
    fn is_passed_over(&self, now: Instant) -> bool {
        self.lock().is_some_and(|until| until > now)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<Instant>> {
        self.passed_over
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_that_did_not_answer_is_asked_last_for_a_while() {
        let nodes = Nodes::new(3);
        let now = Instant::now();
        assert_eq!(nodes.in_order(1, now), [1, 2, 0]);
        nodes.pass_over(1, now);
        assert_eq!(nodes.in_order(1, now), [2, 0, 1]);
        assert_eq!(nodes.in_order(1, now + PASSED_OVER_FOR), [1, 2, 0]);
        nodes.answered(1);
        assert_eq!(nodes.in_order(1, now), [1, 2, 0]);
    }

    #[test]
    fn when_none_answers_all_are_asked_all_the_same() {
        let nodes = Nodes::new(3);
        let now = Instant::now();
        for index in 0..3 {
            nodes.pass_over(index, now);
        }
        assert_eq!(nodes.in_order(2, now), [2, 0, 1]);
        assert!(Nodes::new(0).in_order(0, now).is_empty());
    }
}
