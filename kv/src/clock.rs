//! The hybrid logical clock (Kulkarni et al., 2014): wall time where it can be
//! had, order where it cannot.
//!
//! A reading has 48 bits of milliseconds since 1970 and 16 bits of counter. It
//! never goes back, whatever the wall clock does, and it is above every reading
//! that was merged into it.

use std::fmt;

const COUNTER_BITS: u32 = 16;

/// A reading of a hybrid clock.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Clock(pub u64);

impl Clock {
    /// Before everything.
    pub const ZERO: Self = Self(0);

    /// The first reading of a millisecond.
    #[must_use]
    pub fn from_ms(milliseconds: u64) -> Self {
        Self(milliseconds.min(u64::MAX >> COUNTER_BITS) << COUNTER_BITS)
    }

    /// The millisecond of the reading.
    #[must_use]
    pub fn ms(self) -> u64 {
        self.0 >> COUNTER_BITS
    }

    /// The reading `milliseconds` later.
    #[must_use]
    pub fn plus_ms(self, milliseconds: u64) -> Self {
        Self(self.0.saturating_add(Self::from_ms(milliseconds).0))
    }
}

impl fmt::Debug for Clock {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}+{}", self.ms(), self.0 & 0xffff)
    }
}

/// A clock that a machine owns and that is told the wall time.
#[derive(Debug, Clone, Default)]
pub struct HybridClock {
    latest: Clock,
}

impl HybridClock {
    /// A clock that begins above `floor`.
    #[must_use]
    pub fn starting_at(floor: Clock) -> Self {
        Self { latest: floor }
    }

    /// A reading above all that went before.
    pub fn tick(&mut self, wall_ms: u64) -> Clock {
        let next = Clock(self.latest.0.saturating_add(1));
        self.latest = next.max(Clock::from_ms(wall_ms));
        self.latest
    }

    /// Takes note of a reading from elsewhere.
    pub fn merge(&mut self, other: Clock) {
        self.latest = self.latest.max(other);
    }

    /// The latest reading, or the wall time where that is later; nothing moves.
    #[must_use]
    pub fn peek(&self, wall_ms: u64) -> Clock {
        self.latest.max(Clock::from_ms(wall_ms))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn readings_rise_even_when_the_wall_clock_goes_back() {
        let mut clock = HybridClock::default();
        let first = clock.tick(1000);
        let second = clock.tick(1000);
        let third = clock.tick(5);
        assert!(first < second && second < third);
        assert_eq!(first, Clock::from_ms(1000));
        clock.merge(Clock::from_ms(9000));
        assert!(clock.tick(2000) > Clock::from_ms(9000));
    }

    #[test]
    fn the_end_of_time_saturates() {
        let mut clock = HybridClock::starting_at(Clock(u64::MAX));
        assert_eq!(clock.tick(1), Clock(u64::MAX));
        assert_eq!(Clock(u64::MAX).plus_ms(1), Clock(u64::MAX));
    }
}
