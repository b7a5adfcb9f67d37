//! One bucket: how many charges it holds, and until when it makes wait.

use super::limits::Rule;

/// Two points in time hold all of it, so that decay needs no work.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Bucket {
    /// When the last charge will have decayed.
    pub(super) empty_at_ms: u64,
    /// No attempt before.
    pub(super) not_before_ms: u64,
}

impl Bucket {
    /// The bucket as the rule allows it to be. A clock that was set back would leave
    /// points in time far ahead; what is left of them is the heaviest penalty that
    /// the rule knows, from now on.
    pub(super) fn within(self, rule: &Rule, now_ms: u64) -> Self {
        let heaviest = rule.decay_of(rule.charges_max());
        Self {
            empty_at_ms: self.empty_at_ms.min(now_ms.saturating_add(heaviest)),
            not_before_ms: self
                .not_before_ms
                .min(now_ms.saturating_add(rule.wait_ms_max)),
        }
    }

    /// Charges that have not decayed.
    pub(super) fn charges(&self, rule: &Rule, now_ms: u64) -> u64 {
        self.empty_at_ms
            .saturating_sub(now_ms)
            .div_ceil(rule.decay_ms.max(1))
    }

    /// How long an attempt has to wait.
    pub(super) fn wait_ms(&self, now_ms: u64) -> u64 {
        self.not_before_ms.saturating_sub(now_ms)
    }

    /// Whether it is as if it had never been there.
    pub(super) fn is_empty(&self, now_ms: u64) -> bool {
        self.empty_at_ms <= now_ms && self.not_before_ms <= now_ms
    }

    /// Adds a charge. `others` are the charges for the same that other nodes hold;
    /// says whether it was counted.
    pub(super) fn charge(&mut self, rule: &Rule, others: u64, now_ms: u64) -> bool {
        let counted = self.charges(rule, now_ms).saturating_add(others) < rule.charges_max();
        if counted {
            let from = self.empty_at_ms.max(now_ms);
            self.empty_at_ms = from.saturating_add(rule.decay_of(1));
        }
        let charges = self.charges(rule, now_ms).saturating_add(others);
        self.not_before_ms = time_after(rule.wait_ms(charges), now_ms);
        counted
    }

    /// Takes a charge back that was counted.
    pub(super) fn refund(&mut self, rule: &Rule, others: u64, now_ms: u64) {
        self.empty_at_ms = self.empty_at_ms.saturating_sub(rule.decay_of(1));
        let charges = self.charges(rule, now_ms).saturating_add(others);
        // Never later than before: other attempts may have been charged meanwhile.
        self.not_before_ms = self
            .not_before_ms
            .min(time_after(rule.wait_ms(charges), now_ms));
    }
}

/// When a wait is over. Where there is none, no time is kept: a clock that is set
/// back by a second must not make anybody wait.
fn time_after(wait_ms: u64, now_ms: u64) -> u64 {
    match wait_ms {
        0 => 0,
        wait_ms => now_ms.saturating_add(wait_ms),
    }
}
