//! What a change of members means to a coordinator: its ballots and whatever it was
//! told belong to an epoch, and a new one makes both void.

use std::sync::Arc;

use super::{Answer, Coordinator, Effect, Failure, Kind, Membership, Now, Operation, WarmBallots};
use crate::quorum::Quorums;

impl Coordinator {
    /// Goes by `membership` from now on, if its epoch is later than the present one.
    /// Operations under way begin again among the new members: a write may have been
    /// proposed before, which its operation id makes harmless.
    pub fn reconfigure(&mut self, now: Now, membership: Membership, effects: &mut Vec<Effect>) {
        if membership.epoch() <= self.epoch() {
            return;
        }
        self.membership = Arc::new(membership);
        self.warm = WarmBallots::default();
        let under_way: Vec<u64> = self.operations.keys().copied().collect();
        for id in under_way {
            let Some(mut operation) = self.operations.remove(&id) else {
                continue;
            };
            operation.electorate.change(Arc::clone(&self.membership));
            let ended = self.change_epoch(now, id, &mut operation, effects);
            self.settle(now, id, operation, ended, effects);
        }
    }

    /// The epoch.
    #[must_use]
    pub fn epoch(&self) -> u64 {
        self.membership.epoch()
    }

    /// N, W and R of the members that stay.
    pub(super) fn quorums(&self) -> Quorums {
        self.membership.quorums()
    }

    fn change_epoch(
        &mut self,
        now: Now,
        id: u64,
        operation: &mut Operation,
        effects: &mut Vec<Effect>,
    ) -> Option<Result<Answer, Failure>> {
        // One that waits for its turn or for its settings begins in the new epoch.
        let begun = operation.round.has_begun();
        match &mut operation.kind {
            Kind::Write(write) => {
                if write.void_attempt() {
                    self.back_off(now, operation);
                }
            }
            Kind::Read(read) => {
                if begun {
                    read.pause();
                    self.back_off(now, operation);
                }
            }
            Kind::List(list) => {
                if begun && !list.is_merged() {
                    operation.round.restart_fully();
                    self.scan(now, id, operation, effects);
                }
            }
            Kind::Forget(_) => {
                if begun {
                    return Some(Ok(Answer::Forgotten(false)));
                }
            }
        }
        None
    }
}
