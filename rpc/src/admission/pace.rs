//! How fast connections are accepted: a value without clock.
//!
//! A connection costs a dozen system calls even when nothing comes of it, and
//! accepting as fast as a crowd connects leaves little time for calls. Those
//! who have to wait do so in the kernel's backlog, where they cost nothing.

use std::time::Instant;

use crate::limits::{ACCEPT_BREATH, ACCEPTS_PER_BREATH};

/// Connections accepted in the breath under way.
#[derive(Debug)]
pub(crate) struct Pace {
    begun: Instant,
    accepted: u32,
}

impl Pace {
    pub(crate) fn new(now: Instant) -> Self {
        Self {
            begun: now,
            accepted: 0,
        }
    }

    /// One more was accepted. Until the returned time there must be no further.
    pub(crate) fn accepted(&mut self, now: Instant) -> Option<Instant> {
        let end = self.begun + ACCEPT_BREATH;
        if now >= end {
            *self = Self::new(now);
        }
        self.accepted += 1;
        (self.accepted >= ACCEPTS_PER_BREATH).then(|| self.begun + ACCEPT_BREATH)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_few_are_accepted_at_once() {
        let now = Instant::now();
        let mut pace = Pace::new(now);
        for _ in 1..ACCEPTS_PER_BREATH {
            assert_eq!(pace.accepted(now), None);
        }
        assert_eq!(pace.accepted(now), Some(now + ACCEPT_BREATH));
    }

    #[test]
    fn a_new_breath_begins_with_the_first_that_comes_in_it() {
        let now = Instant::now();
        let mut pace = Pace::new(now);
        for _ in 0..ACCEPTS_PER_BREATH {
            pace.accepted(now);
        }
        let later = now + 7 * ACCEPT_BREATH;
        for _ in 1..ACCEPTS_PER_BREATH {
            assert_eq!(pace.accepted(later), None);
        }
        assert_eq!(pace.accepted(later), Some(later + ACCEPT_BREATH));
    }

    #[test]
    fn a_clock_that_goes_back_ends_no_breath_early() {
        let now = Instant::now() + ACCEPT_BREATH;
        let mut pace = Pace::new(now);
        for _ in 0..ACCEPTS_PER_BREATH {
            pace.accepted(now);
        }
        assert_eq!(
            pace.accepted(now - ACCEPT_BREATH),
            Some(now + ACCEPT_BREATH)
        );
    }
}
