//! The clock by which sessions are judged.

use std::sync::atomic::{AtomicU64, Ordering};

/// The later of the wall clock and whatever time was ever heard of: the wall clock's
/// own past, the hybrid clock of the replica, and what the log kept of both. A wall
/// clock that is set back revives no session, before a restart or after it.
pub struct SessionClock {
    wall_ms: fn() -> u64,
    latest_ms: AtomicU64,
}

impl SessionClock {
    /// A clock that has heard of nothing but the wall clock.
    #[must_use]
    pub fn new(wall_ms: fn() -> u64) -> Self {
        Self {
            wall_ms,
            latest_ms: AtomicU64::new(0),
        }
    }

    /// Milliseconds since 1970, never fewer than before.
    pub fn now_ms(&self) -> u64 {
        let wall_ms = (self.wall_ms)();
        self.raise(wall_ms);
        self.latest_ms.load(Ordering::Relaxed).max(wall_ms)
    }

    /// Takes note of a time that others told, as far as it is within `lead_ms` of the
    /// wall clock. A node that tells ever later times, each within what its peers follow,
    /// would else end everybody's sessions, and durably.
    pub fn hear(&self, told_ms: u64, lead_ms: u64) {
        self.raise(told_ms.min((self.wall_ms)().saturating_add(lead_ms)));
    }

    /// Takes note of a time that has been.
    pub fn raise(&self, heard_ms: u64) {
        self.latest_ms.fetch_max(heard_ms, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    static WALL_MS: AtomicU64 = AtomicU64::new(0);

    #[test]
    fn what_others_tell_counts_within_the_lead_only() {
        let clock = SessionClock::new(|| 1000);
        clock.hear(1030, 60);
        assert_eq!(clock.now_ms(), 1030);
        for told_ms in [1061, 5000, u64::MAX] {
            clock.hear(told_ms, 60);
            assert_eq!(clock.now_ms(), 1060, "{told_ms}");
        }
        // What was kept of this node's own past has no such bound.
        clock.raise(5000);
        assert_eq!(clock.now_ms(), 5000);
    }

    #[test]
    fn a_wall_clock_that_is_set_back_changes_nothing() {
        let clock = SessionClock::new(|| WALL_MS.load(Ordering::Relaxed));
        WALL_MS.store(1000, Ordering::Relaxed);
        assert_eq!(clock.now_ms(), 1000);
        WALL_MS.store(10, Ordering::Relaxed);
        assert_eq!(clock.now_ms(), 1000);
        clock.raise(2000);
        clock.raise(1500);
        assert_eq!(clock.now_ms(), 2000);
        WALL_MS.store(2001, Ordering::Relaxed);
        assert_eq!(clock.now_ms(), 2001);
    }
}
