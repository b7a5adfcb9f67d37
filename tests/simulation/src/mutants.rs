//! Which rule is taken out of the machines of this thread.

use sealmoot_kv::mutant::Mutant;

/// Mutants whose rule the machines do not have yet, or that this simulation does not
/// reach: taking out what is not there changes nothing.
pub const NOT_APPLICABLE: &[Mutant] = &[];

/// Mutants that random histories find too seldom, or have not found at all: what they need
/// comes together too seldom. Each is found by a schedule written for it in `sealmoot-kv`
/// (`coordinator/schedules.rs`, `reconfiguration/tests.rs`).
pub const DIRECTED: &[Mutant] = &[
    Mutant::ReplacedEntryKeepsOwnDeadline,
    Mutant::FloorNotCarriedOver,
    Mutant::SweepInstallsUnchosen,
];

/// Whether this thread runs with `mutant`: never, in a build without the feature.
#[must_use]
pub fn is_active(mutant: Mutant) -> bool {
    #[cfg(feature = "mutants")]
    return sealmoot_kv::mutant::active(mutant);
    #[cfg(not(feature = "mutants"))]
    {
        let _ = mutant;
        false
    }
}

/// From now on this thread runs with `mutant`, or with the rules as they are.
#[cfg(feature = "mutants")]
pub fn choose(mutant: Option<Mutant>) {
    sealmoot_kv::mutant::choose(mutant);
}

/// The mutant of a name as its variant is written.
#[must_use]
pub fn named(name: &str) -> Option<Mutant> {
    let found = |mutant: &&Mutant| format!("{mutant:?}").eq_ignore_ascii_case(name);
    Mutant::ALL.iter().find(found).copied()
}
