//! Faults put into the protocol on purpose, to see whether the checker finds them.
//!
//! Each takes one rule out. They exist only when the crate is built with its feature
//! `mutants`, which nothing but the checker's own run asks for; in every other build
//! `active` is the constant `false` and the branches behind it are not compiled in.
//! A mutant is chosen for the current thread only.

/// A rule taken out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Mutant {
    /// Removing a deleted key does not raise the partition's floor.
    NoFloorAtRemoval,
    /// A deleted key is removed when a quorum condemned it instead of all.
    RemovalAtQuorum,
    /// Promises are forgotten at a restart.
    NoPromiseCeiling,
    /// A read returns what not enough members hold.
    ReadWithoutWriteBack,
    /// Members change without fencing the former ones.
    NoFence,
    /// A cached ballot is used again after a failure.
    CachedBallotReused,
    /// A blind put goes to accept without preparing.
    BlindPutWithoutPrepare,
    /// Nothing remembers what became of writes.
    NoOperationWindow,
    /// An operation is applied whatever its deadline.
    WindowIgnoresDeadlines,
    /// Members change without sweeping the keys.
    NoSweep,
    /// A sweep installs what too few of the old members hold.
    SweepInstallsUnchosen,
    /// A ballot of a later epoch may carry an earlier clock.
    ClockFallsAcrossEpochs,
    /// An install is taken whatever was promised.
    InstallBypassesPromises,
    /// A retired replica drops its data before it knows that it is retired.
    RetiredDropsEarly,
    /// An answer leaves before the sync.
    AcknowledgedBeforeSync,
    /// A read asks fewer than a quorum.
    MinorityRead,
    /// A client uses an operation id again for another value.
    OperationIdReused,
    /// A wiped node is filled again in place, without an identity write.
    WipedRefilledInPlace,
    /// The epoch is not durable.
    EpochLostAtCrash,
    /// A change of members does not carry the floors over.
    FloorNotCarriedOver,
    /// A record's promise stands alone, without the floor.
    RecordIgnoresFloor,
    /// An outcome found in the window is told before its state is accepted.
    OutcomeBeforeAccept,
    /// A replaced entry of the window keeps only its own deadline.
    ReplacedEntryKeepsOwnDeadline,
    /// Revisions begin at zero again after a removal.
    RevisionsRestart,
}

impl Mutant {
    /// All of them.
    pub const ALL: &'static [Self] = &[
        Self::NoFloorAtRemoval,
        Self::RemovalAtQuorum,
        Self::NoPromiseCeiling,
        Self::ReadWithoutWriteBack,
        Self::NoFence,
        Self::CachedBallotReused,
        Self::BlindPutWithoutPrepare,
        Self::NoOperationWindow,
        Self::WindowIgnoresDeadlines,
        Self::NoSweep,
        Self::SweepInstallsUnchosen,
        Self::ClockFallsAcrossEpochs,
        Self::InstallBypassesPromises,
        Self::RetiredDropsEarly,
        Self::AcknowledgedBeforeSync,
        Self::MinorityRead,
        Self::OperationIdReused,
        Self::WipedRefilledInPlace,
        Self::EpochLostAtCrash,
        Self::FloorNotCarriedOver,
        Self::RecordIgnoresFloor,
        Self::OutcomeBeforeAccept,
        Self::ReplacedEntryKeepsOwnDeadline,
        Self::RevisionsRestart,
    ];
}

#[cfg(feature = "mutants")]
mod chosen {
    use std::cell::Cell;

    use super::Mutant;

    thread_local! {
        static CHOSEN: Cell<Option<Mutant>> = const { Cell::new(None) };
    }

    /// Whether this thread runs with `mutant`.
    #[must_use]
    pub fn active(mutant: Mutant) -> bool {
        CHOSEN.get() == Some(mutant)
    }

    /// From now on this thread runs with `mutant`, or with the rules as they are.
    pub fn choose(mutant: Option<Mutant>) {
        CHOSEN.set(mutant);
    }
}

#[cfg(feature = "mutants")]
pub use chosen::{active, choose};

/// Whether this thread runs with a mutant: never, in this build.
#[cfg(not(feature = "mutants"))]
#[must_use]
#[inline(always)]
pub(crate) const fn active(_mutant: Mutant) -> bool {
    false
}
