//! Whether and when a failed call is sent again.
//!
//! [`Attempts`] is what is known of one call over all its attempts. It sends
//! again only what cannot act twice by it: what certainly did not start, what
//! the method's author declared idempotent, or what the server itself runs at
//! most once ([`once`](crate::once)). How often all calls of a client together
//! may do so is bounded by a [`Budget`], so that retries do not keep an
//! overloaded server down.
//!
//! Values without clock, I/O or randomness.

use std::time::{Duration, Instant};

use crate::details::RetryAfter;
use crate::limits::{ONCE_HORIZON, RETRY_ATTEMPTS_MAX, RETRY_BACKOFF_FIRST, RETRY_BACKOFF_MAX};
use crate::once::is_unknown_incarnation;
use crate::once::session::combined;
use crate::pause::{doubled, share_of};
use crate::status::{Code, Execution, Status};

mod budget;
mod latencies;

pub use budget::Budget;
pub use latencies::Latencies;

/// What a method's author promises of calling it twice: the standard option
/// `idempotency_level` of Protocol Buffers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Idempotency {
    /// Nothing is promised.
    #[default]
    Unknown,
    /// It changes nothing.
    NoSideEffects,
    /// Twice is as good as once.
    Idempotent,
}

/// Why sending a call again cannot act twice, if it cannot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Guard {
    /// By the method, or not at all.
    Method(Idempotency),
    /// By the server's table of at-most-once calls.
    Once,
}

/// When to send again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RetryPolicy {
    /// Attempts of one call, the first and a hedge included.
    pub attempts_max: u32,
    /// Upper end of the rest before the second attempt; it doubles from there.
    pub backoff_first: Duration,
    /// The longest rest.
    pub backoff_max: Duration,
    /// How long after its first attempt an at-most-once call may be sent again;
    /// at most half of what the server keeps.
    pub once_horizon: Duration,
    /// Whether idempotent calls are sent a second time when the first attempt
    /// takes longer than 95 in 100 of those before.
    pub hedges: bool,
}

impl Default for RetryPolicy {
    fn default() -> Self {
        Self {
            attempts_max: RETRY_ATTEMPTS_MAX,
            backoff_first: RETRY_BACKOFF_FIRST,
            backoff_max: RETRY_BACKOFF_MAX,
            once_horizon: ONCE_HORIZON,
            hedges: true,
        }
    }
}

impl RetryPolicy {
    /// random between 0 and min(`backoff_max`, `backoff_first` * 2^(`failures` - 1)):
    /// exponential backoff with full jitter (Brooker, "Exponential Backoff And
    /// Jitter", AWS Architecture Blog, 2015). `random` is uniform over all `u64`.
    pub fn backoff(&self, failures: u32, random: u64) -> Duration {
        let times = failures.saturating_sub(1);
        let ceiling = doubled(self.backoff_first, times, self.backoff_max);
        share_of(ceiling, random)
    }
}

/// What to do after an attempt has failed.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
pub enum Decision {
    /// Send it again after this rest; an at-most-once call under the same
    /// incarnation and sequence.
    Again(Duration),
    /// The server does not know the incarnation and no attempt can have run:
    /// send the call again at once, in another incarnation.
    Anew,
    /// Another attempt is still under way and decides.
    Wait,
    /// Tell the caller.
    Report(Status),
}

/// One call over all its attempts.
#[derive(Clone, Debug)]
pub struct Attempts {
    guard: Guard,
    deadline: Instant,
    first_begun: Option<Instant>,
    begun: u32,
    failures: u32,
    is_hedged: bool,
    /// The attempt ended with its connection.
    is_cut: bool,
    /// That has happened before, and the attempt after it cost nothing.
    was_cut: bool,
    execution: Execution,
}

impl Attempts {
    /// A call that nobody has tried yet.
    pub fn new(guard: Guard, deadline: Instant) -> Self {
        Self {
            guard,
            deadline,
            first_begun: None,
            begun: 0,
            failures: 0,
            is_hedged: false,
            is_cut: false,
            was_cut: false,
            execution: Execution::NotSent,
        }
    }

    /// An attempt begins: with looking for a connection, if there is none.
    pub fn begin(&mut self, now: Instant) {
        self.first_begun.get_or_insert(now);
        self.begun += 1;
    }

    /// The attempt that fails next ended with its connection. The first time, the
    /// attempt after it costs nothing of the budget: a server that dies or drains
    /// ends all calls that it has at once, more than a budget holds, and not one of
    /// them for being too many. A call can be doubled by that, and no more.
    pub fn cut(&mut self) {
        self.is_cut = true;
    }

    /// An attempt that has begun has failed; `random` is uniform over all `u64`.
    ///
    /// A [`RetryAfter`] with an `Unavailable` or `ResourceExhausted` of a call that
    /// did not start stands before the rest; where the deadline comes first, the
    /// failure is reported.
    pub fn failed(
        &mut self,
        now: Instant,
        status: &Status,
        policy: &RetryPolicy,
        budget: &mut Budget,
        random: u64,
    ) -> Decision {
        let before = self.execution;
        let is_free = std::mem::take(&mut self.is_cut) && !self.was_cut;
        self.failures += 1;
        self.execution = combined([before], status.execution());
        if status.execution() == Execution::Executed {
            // The method has answered, whatever another attempt would say.
            return Decision::Report(self.report(status));
        }
        if self.failures < self.begun {
            return Decision::Wait;
        }
        let may_try = now < self.deadline && self.begun < policy.attempts_max;
        if self.guard == Guard::Once && is_unknown_incarnation(status) {
            return self.unknown(before, may_try, status);
        }
        let remaining = self.deadline.saturating_duration_since(now);
        let asked = asked_rest(status);
        if !may_try
            || !is_passing(status.code())
            || !self.is_safe(now, policy)
            // The caller learns at once that there is nothing to wait for.
            || asked >= remaining
            || !self.pays(is_free, now, budget)
        {
            return Decision::Report(self.report(status));
        }
        // Half of what remains, at most: a rest until the deadline is no attempt.
        // What the server asks for comes before it, so that those who were told
        // the same time do not come back together.
        let rest = policy.backoff(self.failures, random);
        let may_rest = (remaining - asked) / 2;
        Decision::Again(asked + rest.min(share_of(may_rest, random)))
    }

    /// When a second attempt should begin beside the first, if at all: after 95
    /// in 100 of the latencies observed (Dean and Barroso, "The Tail at Scale",
    /// CACM 2013). Only for methods that are idempotent; asked when the first
    /// attempt begins.
    pub fn hedge_at(
        &self,
        now: Instant,
        latencies: &Latencies,
        policy: &RetryPolicy,
    ) -> Option<Instant> {
        if !policy.hedges || self.begun != 1 || !self.is_idempotent() {
            return None;
        }
        let at = now + latencies.p95()?;
        (at < self.deadline).then_some(at)
    }

    /// Whether to send the second attempt now that its time has come and the
    /// first is still under way. At most once a call, and on the budget of
    /// retries: a slow server is not helped by twice the calls.
    pub fn hedge(&mut self, now: Instant, policy: &RetryPolicy, budget: &mut Budget) -> bool {
        let may = self.is_idempotent()
            && !self.is_hedged
            && now < self.deadline
            && self.begun < policy.attempts_max
            && budget.withdraw(now);
        self.is_hedged |= may;
        may
    }

    /// Whether the next attempt may go to another server than those before. An
    /// at-most-once call that may have run must ask the server that may know.
    pub fn may_move(&self) -> bool {
        self.guard != Guard::Once || self.execution.is_safe_to_retry()
    }

    /// Whether an attempt that was decided on must not be sent any more: the
    /// server may have forgotten by now that the call has run. Asked when the
    /// connection stands, for which the attempt may have waited long.
    pub fn is_too_late(&self, now: Instant, policy: &RetryPolicy) -> bool {
        self.guard == Guard::Once && !self.is_safe(now, policy)
    }

    /// What to tell the caller when the last failure was this: what is known of
    /// all attempts together. When the caller or the deadline ends the call, the
    /// status says what is known of the attempts still under way.
    pub fn report(&self, status: &Status) -> Status {
        let execution = combined([self.execution], status.execution());
        Status::new(status.code(), execution, status.message())
            .with_details(status.details().clone())
            .foreign()
    }

    /// The most that any failed attempt can have done.
    pub fn execution(&self) -> Execution {
        self.execution
    }

    /// Until when the caller waits.
    pub fn deadline(&self) -> Instant {
        self.deadline
    }

    /// The server has forgotten the incarnation, or never knew it. If no attempt
    /// before can have run, none can still: all were answered or never left.
    fn unknown(&self, before: Execution, may_try: bool, status: &Status) -> Decision {
        if !before.is_safe_to_retry() {
            let message = "the server does not remember whether the call ran";
            return Decision::Report(Status::new(Code::OutcomeUnknown, before, message));
        }
        if may_try {
            return Decision::Anew;
        }
        // Incarnations are no concern of the caller's.
        let message = "the server restarted, and no attempt is left";
        let status = Status::new(Code::Unavailable, status.execution(), message);
        Decision::Report(self.report(&status))
    }

    fn pays(&mut self, is_free: bool, now: Instant, budget: &mut Budget) -> bool {
        self.was_cut |= is_free;
        is_free || budget.withdraw(now)
    }

    fn is_safe(&self, now: Instant, policy: &RetryPolicy) -> bool {
        match self.execution {
            Execution::NotSent | Execution::NotStarted => true,
            // Reported already.
            Execution::Executed => false,
            Execution::MaybeExecuted => match self.guard {
                Guard::Method(_) => self.is_idempotent(),
                Guard::Once => self.first_begun.is_some_and(|first| {
                    now.saturating_duration_since(first) < policy.once_horizon
                }),
            },
        }
    }

    fn is_idempotent(&self) -> bool {
        matches!(
            self.guard,
            Guard::Method(Idempotency::NoSideEffects | Idempotency::Idempotent)
        )
    }
}

/// Whether the same call may well succeed a little later.
fn is_passing(code: Code) -> bool {
    matches!(
        code,
        Code::Unavailable | Code::ResourceExhausted | Code::DeadlineExceeded
    )
}

/// How long a server that did not start the call asks to be left alone.
fn asked_rest(status: &Status) -> Duration {
    let may_ask = matches!(status.code(), Code::Unavailable | Code::ResourceExhausted)
        && status.execution() == Execution::NotStarted;
    match status.detail::<RetryAfter>() {
        Some(Ok(after)) if may_ask => Duration::from_millis(after.milliseconds),
        _ => Duration::ZERO,
    }
}

#[cfg(test)]
mod tests;
