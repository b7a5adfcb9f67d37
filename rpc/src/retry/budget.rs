//! How many retries all calls of one client may make together.

use std::time::{Duration, Instant};

use crate::limits::{RETRY_BURST_MAX, RETRY_DEPOSIT_THOUSANDTHS, RETRY_PER_SECOND};

/// Thousandths of a retry.
const RETRY: u64 = 1000;

/// A token bucket of Finagle's kind (`RetryBudget`: each call deposits a fifth of
/// a retry, a retry withdraws one, and ten a second are free; finagle.github.io,
/// "Retry Budgets", 2016). Where Finagle lets a deposit expire after ten seconds,
/// this one holds no more than what makes one burst. Unlike the throttle of gRPC
/// (proposal A6), which stops retries when its count of failures is above half,
/// it does not judge: it bounds retries to a share of the calls.
#[derive(Clone, Debug)]
pub struct Budget {
    balance: u64,
    refilled: Instant,
}

impl Budget {
    /// A full bucket.
    pub fn new(now: Instant) -> Self {
        Self {
            balance: RETRY_BURST_MAX * RETRY,
            refilled: now,
        }
    }

    /// A call begins: once a call, not for its retries.
    pub fn deposit(&mut self) {
        self.add(RETRY_DEPOSIT_THOUSANDTHS);
    }

    /// Takes one retry; `false` when there is none.
    pub fn withdraw(&mut self, now: Instant) -> bool {
        self.refill(now);
        match self.balance.checked_sub(RETRY) {
            Some(rest) => {
                self.balance = rest;
                true
            }
            None => false,
        }
    }

    /// Whole milliseconds; what is left of one counts the next time.
    fn refill(&mut self, now: Instant) {
        let elapsed = now.saturating_duration_since(self.refilled);
        let milliseconds = u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX);
        if milliseconds > 0 {
            self.refilled += Duration::from_millis(milliseconds);
            self.add(milliseconds.saturating_mul(RETRY_PER_SECOND));
        }
    }

    fn add(&mut self, thousandths: u64) {
        self.balance = self
            .balance
            .saturating_add(thousandths)
            .min(RETRY_BURST_MAX * RETRY);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drained(now: Instant) -> Budget {
        let mut budget = Budget::new(now);
        for _ in 0..RETRY_BURST_MAX {
            assert!(budget.withdraw(now));
        }
        budget
    }

    #[test]
    fn an_empty_budget_gives_no_retry() {
        let now = Instant::now();
        assert!(!drained(now).withdraw(now));
    }

    #[test]
    fn five_calls_earn_one_retry_and_four_none() {
        let now = Instant::now();
        let mut budget = drained(now);
        for _ in 0..4 {
            budget.deposit();
        }
        assert!(!budget.withdraw(now));
        budget.deposit();
        assert!(budget.withdraw(now));
        assert!(!budget.withdraw(now));
    }

    #[test]
    fn time_earns_ten_a_second_and_no_more_than_a_burst() {
        let now = Instant::now();
        let mut budget = drained(now);
        assert!(!budget.withdraw(now + Duration::from_millis(99)));
        assert!(budget.withdraw(now + Duration::from_millis(100)));
        let late = now + Duration::from_secs(1_000_000);
        for _ in 0..RETRY_BURST_MAX {
            assert!(budget.withdraw(late));
        }
        assert!(!budget.withdraw(late));
    }

    #[test]
    fn a_clock_that_went_back_earns_nothing() {
        let now = Instant::now() + Duration::from_secs(10);
        let mut budget = drained(now);
        assert!(!budget.withdraw(now - Duration::from_secs(5)));
    }
}
