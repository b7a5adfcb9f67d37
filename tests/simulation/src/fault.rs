//! What goes wrong, each kind with a switch of its own.

/// A kind of fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// A message is lost; accepts in bursts of their own.
    Loss,
    /// A message arrives late, some by seconds.
    Delay,
    /// A request arrives twice.
    Duplication,
    /// Messages of one link overtake each other.
    Reorder,
    /// One direction between two nodes is cut for a while.
    OneWayCut,
    /// A set of nodes is cut off from the others for a while.
    Partition,
    /// A link goes up and down.
    Flapping,
    /// A client does not reach a node for a while.
    ClientCut,
    /// A machine stops between two events and starts again later.
    Crash,
    /// A machine stops between two effects of one event, such as after a sync and
    /// before the answer.
    CrashAtEffect,
    /// A process stands still and goes on later with its old timers.
    Pause,
    /// A wall clock jumps, forward or back.
    ClockJump,
    /// A node's clocks run too fast or too slow.
    ClockDrift,
    /// What was written and not synced is gone after a crash.
    UnsyncedLoss,
    /// A crash in the middle of a write leaves a part of it.
    TornWrite,
    /// A sync fails; the node must stop.
    SyncFailure,
    /// The disk is full; the node must stop.
    DiskFull,
    /// Syncs take long for a while.
    SlowDisk,
    /// A client dies with a request under way; another one takes its place.
    ClientDeath,
    /// One bit of what was synced is another.
    BitFlip,
    /// A sector of the log reads as it was before it was written.
    StaleRead,
    /// Another sector is read than was asked for.
    MisdirectedRead,
    /// A sector was written to another place.
    MisdirectedWrite,
    /// Some of what was reported as synced never got to the medium.
    LyingSync,
    /// The whole disk is put back to an earlier state.
    DiskRollback,
    /// The disk is empty, and the node is made anew on it.
    DiskWiped,
}

impl Fault {
    /// All of them.
    pub const ALL: [Self; 26] = [
        Self::Loss,
        Self::Delay,
        Self::Duplication,
        Self::Reorder,
        Self::OneWayCut,
        Self::Partition,
        Self::Flapping,
        Self::ClientCut,
        Self::Crash,
        Self::CrashAtEffect,
        Self::Pause,
        Self::ClockJump,
        Self::ClockDrift,
        Self::UnsyncedLoss,
        Self::TornWrite,
        Self::SyncFailure,
        Self::DiskFull,
        Self::SlowDisk,
        Self::ClientDeath,
        Self::BitFlip,
        Self::StaleRead,
        Self::MisdirectedRead,
        Self::MisdirectedWrite,
        Self::LyingSync,
        Self::DiskRollback,
        Self::DiskWiped,
    ];

    /// What happens to the disk of a node that is down: it has to notice, and is out
    /// of the history from then on.
    pub const DAMAGES: [Self; 7] = [
        Self::BitFlip,
        Self::StaleRead,
        Self::MisdirectedRead,
        Self::MisdirectedWrite,
        Self::LyingSync,
        Self::DiskRollback,
        Self::DiskWiped,
    ];

    /// Whether it is a damage that only the bytes of a log can have.
    #[must_use]
    pub fn needs_a_real_log(self) -> bool {
        Self::DAMAGES.contains(&self) && !matches!(self, Self::DiskRollback | Self::DiskWiped)
    }

    /// The name on the command line and in reports.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Loss => "loss",
            Self::Delay => "delay",
            Self::Duplication => "duplication",
            Self::Reorder => "reorder",
            Self::OneWayCut => "one-way-cut",
            Self::Partition => "partition",
            Self::Flapping => "flapping",
            Self::ClientCut => "client-cut",
            Self::Crash => "crash",
            Self::CrashAtEffect => "crash-at-effect",
            Self::Pause => "pause",
            Self::ClockJump => "clock-jump",
            Self::ClockDrift => "clock-drift",
            Self::UnsyncedLoss => "unsynced-loss",
            Self::TornWrite => "torn-write",
            Self::SyncFailure => "sync-failure",
            Self::DiskFull => "disk-full",
            Self::SlowDisk => "slow-disk",
            Self::ClientDeath => "client-death",
            Self::BitFlip => "bit-flip",
            Self::StaleRead => "stale-read",
            Self::MisdirectedRead => "misdirected-read",
            Self::MisdirectedWrite => "misdirected-write",
            Self::LyingSync => "lying-sync",
            Self::DiskRollback => "disk-rollback",
            Self::DiskWiped => "disk-wiped",
        }
    }

    /// The fault of a name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|fault| fault.name() == name)
    }
}

/// Some kinds of fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct FaultSet(u32);

impl FaultSet {
    /// The set with this kind.
    #[must_use]
    pub fn with(self, fault: Fault) -> Self {
        Self(self.0 | 1 << fault as u32)
    }

    /// The set without this kind.
    #[must_use]
    pub fn without(self, fault: Fault) -> Self {
        Self(self.0 & !(1 << fault as u32))
    }

    /// The kinds that are in both.
    #[must_use]
    pub fn among(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    /// Whether the kind is in it.
    #[must_use]
    pub fn has(self, fault: Fault) -> bool {
        self.0 >> fault as u32 & 1 == 1
    }

    /// The kinds in it.
    pub fn iter(self) -> impl Iterator<Item = Fault> {
        Fault::ALL.into_iter().filter(move |fault| self.has(*fault))
    }
}

/// How often each kind happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct FaultCounts([u64; Fault::ALL.len()]);

impl FaultCounts {
    /// Counts one.
    pub fn add(&mut self, fault: Fault) {
        self.0[fault as usize] += 1;
    }

    /// Takes the counts of another history in.
    pub fn merge(&mut self, other: &Self) {
        for (sum, count) in self.0.iter_mut().zip(other.0) {
            *sum += count;
        }
    }

    /// How often this kind happened.
    #[must_use]
    pub fn of(&self, fault: Fault) -> u64 {
        self.0[fault as usize]
    }

    /// How many kinds happened at all.
    #[must_use]
    pub fn kinds(&self) -> usize {
        self.0.iter().filter(|count| **count > 0).count()
    }
}
