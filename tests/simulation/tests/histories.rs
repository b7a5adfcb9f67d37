//! A few hundred histories of each kind, and the proof that the judge is awake.

use sealmoot_simulation::examine::{Violation, examine, shrink};
use sealmoot_simulation::fault::{Fault, FaultCounts, FaultSet};
use sealmoot_simulation::plan::{Control, LogKind, Plan};
use sealmoot_simulation::settings::{Creation, Settings, valid_quorums};

const OPERATIONS: usize = 100;

/// Runs seeds and fails with what is needed to run the bad one again.
fn run_all(seeds: impl Iterator<Item = u64>, log: LogKind) -> FaultCounts {
    let mut counts = FaultCounts::default();
    for seed in seeds {
        let mut plan = Plan::of_seed(seed, OPERATIONS);
        plan.log = log;
        let (run, violation) = examine(&plan, false);
        if let Some(violation) = violation {
            panic!("seed {seed}, {log:?}: {violation}\nrun: checker --trace {seed} --log ...");
        }
        counts.merge(&run.counts);
    }
    counts
}

/// The first seed at which a control is noticed, of so many.
fn noticed(control: Control, histories: u64, invariants: bool) -> Option<(Plan, Violation)> {
    (1..=histories).find_map(|seed| {
        let mut plan = Plan::of_seed(seed, OPERATIONS);
        plan.log = LogKind::Model;
        plan.control = Some(control);
        plan.changes = None;
        plan.invariants = invariants;
        let violation = examine(&plan, false).1?;
        Some((plan, violation))
    })
}

#[test]
fn histories_on_the_model_of_the_log_are_linearizable_under_every_fault() {
    let counts = run_all(1..=400, LogKind::Model);
    for fault in Fault::ALL
        .into_iter()
        .filter(|fault| !fault.needs_a_real_log())
    {
        assert!(counts.of(fault) > 0, "{} never happened", fault.name());
    }
}

#[test]
fn histories_on_the_real_log_are_linearizable_under_every_fault() {
    let counts = run_all(10_001..=10_120, LogKind::Real);
    for fault in Fault::ALL {
        let is_damage = Fault::DAMAGES.contains(&fault);
        assert!(
            is_damage || counts.of(fault) > 0,
            "{} never happened",
            fault.name()
        );
    }
}

#[test]
fn a_node_whose_disk_was_damaged_never_votes_on_less_than_before() {
    let mut counts = FaultCounts::default();
    for seed in 20_001..=20_100 {
        let mut plan = Plan::of_seed(seed, OPERATIONS);
        plan.log = LogKind::Real;
        plan.changes = None;
        plan.faults = plan.faults.with(Fault::Crash);
        for damage in Fault::DAMAGES {
            plan.faults = plan.faults.with(damage);
        }
        let (run, violation) = examine(&plan, false);
        assert_eq!(violation, None, "seed {seed}, the real log, every damage");
        counts.merge(&run.counts);
    }
    for fault in Fault::DAMAGES {
        assert!(counts.of(fault) > 0, "{} never happened", fault.name());
    }
}

#[test]
fn histories_by_every_valid_setting_are_linearizable() {
    for members in [3, 5] {
        for quorums in valid_quorums(members) {
            for (seed, creation) in (30_001..=30_006).zip(Creation::ALL.into_iter().cycle()) {
                let mut plan = Plan::of_seed(seed, OPERATIONS);
                plan.changes = None;
                plan.set_nodes(members);
                plan.settings = Settings { quorums, creation };
                if creation == Creation::Claimed {
                    plan.settings = Settings::claimed(members);
                }
                let (_, violation) = examine(&plan, false);
                assert_eq!(violation, None, "seed {seed}, {:?}", plan.settings);
            }
        }
    }
}

#[test]
fn most_histories_meet_at_least_eight_kinds_of_fault() {
    let many = (1..=100).filter(|seed| {
        let plan = Plan::of_seed(*seed, OPERATIONS);
        examine(&plan, false).0.counts.kinds() >= 8
    });
    assert!(many.count() > 70);
}

#[test]
fn the_same_seed_gives_the_same_run_and_another_seed_another() {
    let mut traces = Vec::new();
    for seed in (1..=40).chain([49, 99]) {
        let plan = Plan::of_seed(seed, OPERATIONS);
        let (run, _) = examine(&plan, false);
        assert_eq!(run, examine(&plan, false).0, "seed {seed}");
        traces.push(run.trace);
    }
    traces.sort_unstable();
    traces.dedup();
    assert_eq!(traces.len(), 42);
}

#[test]
fn without_faults_every_operation_is_answered() {
    for seed in 1..=20 {
        let mut plan = Plan::of_seed(seed, OPERATIONS);
        plan.faults = FaultSet::default();
        plan.rates.timeout_ms = 10_000;
        plan.rates.attempt_ms = 2_500;
        plan.rates.short_timeouts = 0;
        let (run, violation) = examine(&plan, false);
        assert_eq!(violation, None, "seed {seed}");
        for operation in run.history.operations() {
            let answered = matches!(
                operation.outcome,
                sealmoot_simulation::history::Outcome::Ok(..)
            );
            assert!(answered, "seed {seed}: {operation}");
        }
        assert_eq!(run.counts.kinds(), 0);
    }
}

#[test]
fn a_lying_sync_shows_loss_in_what_clients_see() {
    let found = noticed(Control::LyingSync, 500, false);
    assert!(
        matches!(
            found,
            Some((_, Violation::NotLinearizable(_) | Violation::WeakRead(_)))
        ),
        "{found:?}"
    );
}

#[test]
fn an_acknowledgement_before_the_sync_is_noticed_in_what_clients_see() {
    let found = noticed(Control::AcknowledgedBeforeSync, 2_000, false);
    assert!(
        matches!(found, Some((_, Violation::NotLinearizable(_)))),
        "{found:?}"
    );
}

#[test]
fn an_operation_id_used_again_is_noticed_in_what_clients_see() {
    let found = noticed(Control::OperationIdReused, 500, false);
    assert!(
        matches!(found, Some((_, Violation::NotLinearizable(_)))),
        "{found:?}"
    );
}

#[test]
fn a_node_that_was_wiped_and_goes_on_is_noticed() {
    for invariants in [false, true] {
        assert!(noticed(Control::WipedInPlace, 500, invariants).is_some());
    }
}

#[test]
fn a_rolled_back_node_that_votes_unasked_is_noticed_in_what_clients_see() {
    let found = noticed(Control::RolledBackInPlace, 500, false);
    assert!(
        matches!(
            found,
            Some((_, Violation::NotLinearizable(_) | Violation::WeakRead(_)))
        ),
        "{found:?}"
    );
}

/// What rule 9 does not promise: that nobody remembers is not noticed, and shows.
#[test]
fn a_rollback_to_a_state_that_the_others_do_not_remember_is_noticed_in_what_clients_see() {
    let found = noticed(Control::YoungRollback, 500, false);
    assert!(
        matches!(
            found,
            Some((_, Violation::NotLinearizable(_) | Violation::WeakRead(_)))
        ),
        "{found:?}"
    );
}

#[test]
fn a_coordinator_that_never_retries_is_noticed_because_requests_do_not_end() {
    let found = noticed(Control::NeverRetries, 100, true);
    assert!(
        matches!(found, Some((_, Violation::Liveness(_)))),
        "{found:?}"
    );
}

#[test]
fn a_failing_plan_is_made_smaller_and_still_fails() {
    let (plan, _) = noticed(Control::WipedInPlace, 500, false).expect("noticed");
    let smaller = shrink(&plan);
    assert!(smaller.operations < plan.operations / 2, "{smaller:?}");
    assert!(examine(&smaller, false).1.is_some());
}
