use super::*;

use Execution::{Executed, MaybeExecuted, NotSent, NotStarted};

const TIME: Duration = Duration::from_secs(10);

struct Fixture {
    now: Instant,
    policy: RetryPolicy,
    budget: Budget,
}

fn fixture() -> Fixture {
    let now = Instant::now();
    Fixture {
        now,
        policy: RetryPolicy::default(),
        budget: Budget::new(now),
    }
}

fn status(code: Code, execution: Execution) -> Status {
    Status::new(code, execution, "")
}

fn unknown() -> Status {
    status(Code::FailedPrecondition, NotStarted).with_details(crate::once::UNKNOWN_INCARNATION)
}

fn method(idempotency: Idempotency) -> Guard {
    Guard::Method(idempotency)
}

const GUARDS: [Guard; 4] = [
    Guard::Method(Idempotency::Unknown),
    Guard::Method(Idempotency::NoSideEffects),
    Guard::Method(Idempotency::Idempotent),
    Guard::Once,
];

impl Fixture {
    /// What becomes of a call whose attempts fail so, the last of them now.
    fn after(&mut self, guard: Guard, failures: &[Status]) -> Decision {
        let mut attempts = Attempts::new(guard, self.now + TIME);
        let mut decision = Decision::Wait;
        for failure in failures {
            attempts.begin(self.now);
            let budget = &mut self.budget;
            decision = attempts.failed(self.now, failure, &self.policy, budget, u64::MAX);
        }
        decision
    }
}

fn is_again(decision: &Decision) -> bool {
    matches!(decision, Decision::Again(_))
}

fn reported(decision: Decision) -> (Code, Execution) {
    match decision {
        Decision::Report(status) => (status.code(), status.execution()),
        other => panic!("not reported: {other:?}"),
    }
}

#[test]
fn what_certainly_did_not_start_is_sent_again_whatever_it_is() {
    let mut fixture = fixture();
    for guard in GUARDS {
        for execution in [NotSent, NotStarted] {
            for code in [
                Code::Unavailable,
                Code::ResourceExhausted,
                Code::DeadlineExceeded,
            ] {
                assert!(is_again(&fixture.after(guard, &[status(code, execution)])));
            }
        }
    }
}

#[test]
fn what_executed_is_never_sent_again() {
    let mut fixture = fixture();
    for guard in GUARDS {
        let decision = fixture.after(guard, &[status(Code::Unavailable, Executed)]);
        assert_eq!(reported(decision), (Code::Unavailable, Executed));
    }
}

#[test]
fn what_may_have_run_is_sent_again_only_under_a_guard() {
    let mut fixture = fixture();
    let lost = || status(Code::Unavailable, MaybeExecuted);
    let decision = fixture.after(method(Idempotency::Unknown), &[lost()]);
    assert_eq!(reported(decision), (Code::Unavailable, MaybeExecuted));
    for guard in &GUARDS[1..] {
        assert!(is_again(&fixture.after(*guard, &[lost()])), "{guard:?}");
    }
}

#[test]
fn a_refusal_after_an_uncertain_attempt_does_not_free_a_plain_call() {
    let mut fixture = fixture();
    let failures = [
        status(Code::Unavailable, MaybeExecuted),
        status(Code::Unavailable, NotStarted),
    ];
    let decision = fixture.after(method(Idempotency::Unknown), &failures);
    assert_eq!(reported(decision), (Code::Unavailable, MaybeExecuted));
}

#[test]
fn codes_that_will_not_pass_are_reported_at_once() {
    let mut fixture = fixture();
    for code in [
        Code::Cancelled,
        Code::InvalidArgument,
        Code::NotFound,
        Code::PermissionDenied,
        Code::Unauthenticated,
        Code::FailedPrecondition,
        Code::Unimplemented,
        Code::Internal,
        Code::DataLoss,
        Code::OutcomeUnknown,
    ] {
        for guard in GUARDS {
            let decision = fixture.after(guard, &[status(code, NotStarted)]);
            assert_eq!(reported(decision), (code, NotStarted));
        }
    }
}

#[test]
fn attempts_are_bounded() {
    let mut fixture = fixture();
    let failures: Vec<Status> = (0..RETRY_ATTEMPTS_MAX)
        .map(|_| status(Code::Unavailable, NotSent))
        .collect();
    let last = fixture.after(Guard::Once, &failures[1..]);
    assert!(is_again(&last));
    let decision = fixture.after(Guard::Once, &failures);
    assert_eq!(reported(decision), (Code::Unavailable, NotSent));
}

#[test]
fn nothing_is_sent_again_at_the_deadline_or_so_that_it_would_rest_until_then() {
    let mut fixture = fixture();
    let deadline = fixture.now + Duration::from_millis(1);
    let lost = status(Code::Unavailable, NotSent);
    let mut attempts = Attempts::new(Guard::Once, deadline);
    attempts.begin(fixture.now);
    let mut late = attempts.clone();
    let budget = &mut fixture.budget;
    let decision = attempts.failed(fixture.now, &lost, &fixture.policy, budget, u64::MAX);
    let Decision::Again(rest) = decision else {
        panic!("not again: {decision:?}");
    };
    assert!(fixture.now + rest < deadline);
    let decision = late.failed(deadline, &lost, &fixture.policy, budget, 0);
    assert_eq!(reported(decision), (Code::Unavailable, NotSent));
}

#[test]
fn an_empty_budget_ends_a_call() {
    let mut fixture = fixture();
    while fixture.budget.withdraw(fixture.now) {}
    let decision = fixture.after(Guard::Once, &[status(Code::Unavailable, NotSent)]);
    assert_eq!(reported(decision), (Code::Unavailable, NotSent));
}

#[test]
fn calls_that_end_with_their_connection_are_sent_again_once_without_budget() {
    let mut fixture = fixture();
    while fixture.budget.withdraw(fixture.now) {}
    for (guard, failure) in [
        (GUARDS[0], status(Code::Unavailable, NotStarted)),
        (GUARDS[2], status(Code::Unavailable, MaybeExecuted)),
    ] {
        let mut attempts = Attempts::new(guard, fixture.now + TIME);
        let mut fail = |is_cut: bool| {
            attempts.begin(fixture.now);
            if is_cut {
                attempts.cut();
            }
            let budget = &mut fixture.budget;
            attempts.failed(fixture.now, &failure, &fixture.policy, budget, 0)
        };
        assert!(is_again(&fail(true)));
        let decision = fail(true);
        assert_eq!(reported(decision).0, Code::Unavailable);
    }
    // What may not be sent again is not, whatever it costs.
    let mut plain = Attempts::new(GUARDS[0], fixture.now + TIME);
    plain.begin(fixture.now);
    plain.cut();
    let lost = status(Code::Unavailable, MaybeExecuted);
    let budget = &mut fixture.budget;
    let decision = plain.failed(fixture.now, &lost, &fixture.policy, budget, 0);
    assert_eq!(reported(decision), (Code::Unavailable, MaybeExecuted));
}

#[test]
fn a_forgotten_incarnation_is_replaced_when_no_attempt_can_have_run() {
    let mut fixture = fixture();
    assert_eq!(fixture.after(Guard::Once, &[unknown()]), Decision::Anew);
    let refused = status(Code::ResourceExhausted, NotStarted);
    assert_eq!(
        fixture.after(Guard::Once, &[refused, unknown()]),
        Decision::Anew
    );
}

#[test]
fn a_forgotten_incarnation_leaves_unknown_what_may_have_run() {
    let mut fixture = fixture();
    let lost = status(Code::Unavailable, MaybeExecuted);
    let decision = fixture.after(Guard::Once, &[lost, unknown()]);
    assert_eq!(reported(decision), (Code::OutcomeUnknown, MaybeExecuted));
}

#[test]
fn a_call_without_incarnation_takes_that_refusal_for_the_handlers_own() {
    let mut fixture = fixture();
    let decision = fixture.after(method(Idempotency::Idempotent), &[unknown()]);
    assert_eq!(reported(decision), (Code::FailedPrecondition, NotStarted));
}

#[test]
fn incarnations_forgotten_again_and_again_end_a_call_as_unavailable() {
    let mut fixture = fixture();
    let failures: Vec<Status> = (0..RETRY_ATTEMPTS_MAX).map(|_| unknown()).collect();
    let decision = fixture.after(Guard::Once, &failures);
    assert_eq!(reported(decision), (Code::Unavailable, NotStarted));
}

#[test]
fn an_uncertain_once_call_is_not_sent_again_beyond_the_horizon() {
    let mut fixture = fixture();
    let lost = status(Code::Unavailable, MaybeExecuted);
    for (elapsed, may) in [
        (ONCE_HORIZON - Duration::from_nanos(1), true),
        (ONCE_HORIZON, false),
    ] {
        let deadline = fixture.now + 2 * ONCE_HORIZON;
        let mut attempts = Attempts::new(Guard::Once, deadline);
        attempts.begin(fixture.now);
        let now = fixture.now + elapsed;
        let budget = &mut fixture.budget;
        let decision = attempts.failed(now, &lost, &fixture.policy, budget, 0);
        assert_eq!(is_again(&decision), may);
    }
}

#[test]
fn an_uncertain_once_call_stays_with_its_server() {
    let mut fixture = fixture();
    for (execution, may) in [(NotSent, true), (NotStarted, true), (MaybeExecuted, false)] {
        let mut attempts = Attempts::new(Guard::Once, fixture.now + TIME);
        attempts.begin(fixture.now);
        let failure = status(Code::Unavailable, execution);
        let budget = &mut fixture.budget;
        let decision = attempts.failed(fixture.now, &failure, &fixture.policy, budget, 0);
        assert!(is_again(&decision));
        assert_eq!(attempts.may_move(), may);
    }
    let attempts = Attempts::new(method(Idempotency::Unknown), fixture.now);
    assert!(attempts.may_move());
}

#[test]
fn the_rest_is_at_most_the_doubled_ceiling_and_may_be_nothing() {
    let policy = RetryPolicy::default();
    let mut ceiling = policy.backoff_first;
    for failures in 1..40 {
        let most = policy.backoff(failures, u64::MAX);
        assert!(most <= ceiling && most + Duration::from_nanos(1) >= ceiling);
        assert_eq!(policy.backoff(failures, 0), Duration::ZERO);
        ceiling = (2 * ceiling).min(policy.backoff_max);
    }
    assert!(policy.backoff(u32::MAX, u64::MAX) <= policy.backoff_max);
}

fn known_latencies() -> Latencies {
    let mut latencies = Latencies::default();
    for _ in 0..crate::limits::HEDGE_SAMPLES_MIN {
        latencies.record(Duration::from_millis(4));
    }
    latencies
}

#[test]
fn only_idempotent_methods_are_hedged() {
    let mut fixture = fixture();
    let latencies = known_latencies();
    for (guard, may) in GUARDS.into_iter().zip([false, true, true, false]) {
        let mut attempts = Attempts::new(guard, fixture.now + TIME);
        attempts.begin(fixture.now);
        let at = attempts.hedge_at(fixture.now, &latencies, &fixture.policy);
        assert_eq!(at, may.then_some(fixture.now + Duration::from_millis(4)));
        let hedged = attempts.hedge(fixture.now, &fixture.policy, &mut fixture.budget);
        assert_eq!(hedged, may);
    }
}

#[test]
fn nothing_is_hedged_without_latencies_budget_or_time_nor_twice() {
    let mut fixture = fixture();
    let guard = method(Idempotency::Idempotent);
    let mut attempts = Attempts::new(guard, fixture.now + Duration::from_millis(4));
    attempts.begin(fixture.now);
    let none = Latencies::default();
    assert_eq!(attempts.hedge_at(fixture.now, &none, &fixture.policy), None);
    let known = known_latencies();
    assert_eq!(
        attempts.hedge_at(fixture.now, &known, &fixture.policy),
        None
    );
    let late = fixture.now + TIME;
    assert!(!attempts.hedge(late, &fixture.policy, &mut fixture.budget));
    assert!(attempts.hedge(fixture.now, &fixture.policy, &mut fixture.budget));
    assert!(!attempts.hedge(fixture.now, &fixture.policy, &mut fixture.budget));
    while fixture.budget.withdraw(fixture.now) {}
    let mut attempts = Attempts::new(guard, fixture.now + TIME);
    attempts.begin(fixture.now);
    assert!(!attempts.hedge(fixture.now, &fixture.policy, &mut fixture.budget));
    let policy = RetryPolicy {
        hedges: false,
        ..RetryPolicy::default()
    };
    assert_eq!(attempts.hedge_at(fixture.now, &known, &policy), None);
}

#[test]
fn the_first_of_two_attempts_to_fail_decides_nothing_unless_it_has_run() {
    let mut fixture = fixture();
    let guard = method(Idempotency::Idempotent);
    let mut attempts = Attempts::new(guard, fixture.now + TIME);
    attempts.begin(fixture.now);
    attempts.begin(fixture.now);
    let mut answered = attempts.clone();
    let lost = status(Code::Unavailable, MaybeExecuted);
    let refused = status(Code::Internal, NotStarted);
    let (now, policy, budget) = (fixture.now, &fixture.policy, &mut fixture.budget);
    assert_eq!(
        attempts.failed(now, &lost, policy, budget, 0),
        Decision::Wait
    );
    let decision = attempts.failed(now, &refused, policy, budget, 0);
    assert_eq!(reported(decision), (Code::Internal, MaybeExecuted));
    let failed = status(Code::NotFound, Executed);
    let decision = answered.failed(now, &failed, policy, budget, 0);
    assert_eq!(reported(decision), (Code::NotFound, Executed));
}

#[test]
fn what_the_deadline_ends_is_reported_with_all_that_is_known() {
    let mut fixture = fixture();
    let mut attempts = Attempts::new(Guard::Once, fixture.now + TIME);
    let late = status(Code::DeadlineExceeded, NotSent);
    assert_eq!(attempts.report(&late), late);
    attempts.begin(fixture.now);
    let lost = status(Code::Unavailable, MaybeExecuted);
    let budget = &mut fixture.budget;
    let decision = attempts.failed(fixture.now, &lost, &fixture.policy, budget, 0);
    assert!(is_again(&decision));
    assert_eq!(
        attempts.report(&late),
        status(Code::DeadlineExceeded, MaybeExecuted)
    );
}

#[test]
fn an_at_most_once_call_that_may_have_run_is_not_sent_behind_its_horizon() {
    let Fixture {
        now,
        policy,
        mut budget,
    } = fixture();
    let late = now + policy.once_horizon;
    let failed = status(Code::Unavailable, MaybeExecuted);
    let mut may_have_run = Attempts::new(Guard::Once, late + TIME);
    assert!(!may_have_run.is_too_late(late, &policy), "nothing was sent");
    may_have_run.begin(now);
    let again = may_have_run.failed(now, &failed, &policy, &mut budget, 0);
    assert!(is_again(&again), "{again:?}");
    // Decided on in time, and then there was no connection for long.
    let just = late
        .checked_sub(Duration::from_nanos(1))
        .expect("later than 0");
    assert!(!may_have_run.is_too_late(just, &policy));
    assert!(may_have_run.is_too_late(late, &policy));
    for guard in GUARDS {
        let mut not_started = Attempts::new(guard, late + TIME);
        not_started.begin(now);
        let refused = status(Code::Unavailable, NotStarted);
        let _ = not_started.failed(now, &refused, &policy, &mut budget, 0);
        assert!(!not_started.is_too_late(late, &policy), "{guard:?}");
    }
}

fn asking(code: Code, execution: Execution, milliseconds: u64) -> Status {
    let after = RetryAfter { milliseconds };
    status(code, execution).with_detail(&after).expect("room")
}

/// The rests after a first failure, the shortest and the longest.
fn rests(failure: &Status) -> [Decision; 2] {
    [0, u64::MAX].map(|random| {
        let mut fixture = fixture();
        let mut attempts = Attempts::new(GUARDS[2], fixture.now + TIME);
        attempts.begin(fixture.now);
        let (now, policy) = (fixture.now, fixture.policy);
        attempts.failed(now, failure, &policy, &mut fixture.budget, random)
    })
}

#[test]
fn a_server_that_asks_for_time_is_given_it() {
    let asked = Duration::from_secs(3);
    for code in [Code::Unavailable, Code::ResourceExhausted] {
        let [shortest, longest] = rests(&asking(code, NotStarted, 3000));
        assert_eq!(shortest, Decision::Again(asked));
        let Decision::Again(longest) = longest else {
            panic!("not again: {longest:?}");
        };
        // With the usual rest behind it.
        let first = RetryPolicy::default().backoff_first;
        assert!(longest > asked && longest <= asked + first, "{longest:?}");
    }
}

#[test]
fn a_server_that_asks_for_more_than_remains_ends_the_call_and_costs_no_budget() {
    for milliseconds in [10_000, 10_001, u64::MAX] {
        let mut fixture = fixture();
        let before = format!("{:?}", fixture.budget);
        let failure = asking(Code::Unavailable, NotStarted, milliseconds);
        let decision = fixture.after(GUARDS[0], std::slice::from_ref(&failure));
        assert_eq!(decision, Decision::Report(failure));
        assert_eq!(format!("{:?}", fixture.budget), before);
    }
    let failure = asking(Code::Unavailable, NotStarted, 9_999);
    assert!(
        is_again(&rests(&failure)[0]),
        "an attempt in the last moment"
    );
}

#[test]
fn who_did_not_refuse_the_call_cannot_ask_for_time() {
    let first = RetryPolicy::default().backoff_first;
    for (code, execution) in [
        (Code::Unavailable, MaybeExecuted),
        (Code::Unavailable, NotSent),
        (Code::DeadlineExceeded, NotStarted),
    ] {
        let [shortest, longest] = rests(&asking(code, execution, 3000));
        assert_eq!(shortest, Decision::Again(Duration::ZERO));
        assert!(matches!(longest, Decision::Again(rest) if rest <= first));
    }
}
