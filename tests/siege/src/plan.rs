//! Which sieges there are.

use std::time::Duration;

use crate::attack::Attack;
use crate::field::Sources;

/// One siege.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Siege {
    pub(crate) attack: Attack,
    pub(crate) sources: Sources,
    /// Longer than the others, where the attack is about waiting.
    pub(crate) least: Duration,
}

/// How long things last.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Timing {
    pub(crate) window: Duration,
    pub(crate) windows: usize,
    /// Before the first window: attackers start, and first buffers grow.
    pub(crate) settle: Duration,
}

impl Timing {
    /// About 90 s for the whole plan.
    pub(crate) const DEFAULT: Self = Self {
        window: Duration::from_millis(580),
        windows: 3,
        settle: Duration::from_millis(350),
    };
    pub(crate) const QUICK: Self = Self {
        window: Duration::from_millis(400),
        windows: 2,
        settle: Duration::from_millis(250),
    };
    pub(crate) const LONG: Self = Self {
        window: Duration::from_secs(2),
        windows: 7,
        settle: Duration::from_secs(1),
    };
}

/// The deadline of a handshake, and what it takes to see that it holds.
const DEADLINE_SEEN: Duration = Duration::from_millis(12_500);

/// Every siege, in the order of the table.
pub(crate) fn sieges() -> Vec<Siege> {
    let many = |attack| Siege {
        attack,
        sources: Sources::Many,
        least: Duration::ZERO,
    };
    let one = |attack| Siege {
        sources: Sources::One,
        ..many(attack)
    };
    let mut all = vec![Siege {
        least: DEADLINE_SEEN,
        ..many(Attack::Slow)
    }];
    all.extend(
        [
            Attack::HandshakesTls,
            Attack::HandshakesNoise,
            Attack::HelloTls,
            Attack::FirstFrameTag,
            Attack::FirstFrameReplay,
            Attack::LengthsTls,
            Attack::LengthsNoise,
            Attack::HelloHeld,
            Attack::GarbageTls,
            Attack::GarbageNoise,
            Attack::Records,
            Attack::Fragments,
            Attack::KeyUpdates,
            Attack::Silent,
            Attack::ConnectAndClose,
            Attack::HalfClose,
            Attack::Mute,
            Attack::EndlessCalls,
        ]
        .map(many),
    );
    all.extend([Attack::HelloTls, Attack::ConnectAndClose].map(one));
    all
}
