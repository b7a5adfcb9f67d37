//! From where peers were authorized of late: a value without clock.
//!
//! Who is at the door cannot be told before a handshake has been computed; from
//! where it comes can. A source from which somebody with an admitted key came
//! is likelier to bring such a one again than one that nobody has heard of, and
//! most honest connections are of clients that come back.
//!
//! To get in here takes an admitted key, and an address at which the handshake's
//! answers arrive: no address is known because somebody forged it.

use std::collections::{BTreeSet, HashMap};
use std::net::IpAddr;
use std::time::Instant;

use crate::limits::{KNOWN_SOURCE_LASTS, KNOWN_SOURCES_MAX};

/// Sources and when each was last welcome. Every operation is logarithmic in
/// their number.
#[derive(Debug, Default)]
pub(super) struct KnownSources {
    welcomed: HashMap<IpAddr, Instant>,
    by_age: BTreeSet<(Instant, IpAddr)>,
}

impl KnownSources {
    /// Somebody from there is authorized. When there is no room, the source
    /// goes whose last welcome is oldest.
    pub(super) fn welcome(&mut self, source: IpAddr, now: Instant) {
        if let Some(before) = self.welcomed.insert(source, now) {
            self.by_age.remove(&(before, source));
        }
        self.by_age.insert((now, source));
        if self.by_age.len() > KNOWN_SOURCES_MAX
            && let Some((_, oldest)) = self.by_age.pop_first()
        {
            self.welcomed.remove(&oldest);
        }
    }

    /// Whether somebody from there was authorized lately enough.
    pub(super) fn contains(&self, source: IpAddr, now: Instant) -> bool {
        self.welcomed
            .get(&source)
            .is_some_and(|at| now.saturating_duration_since(*at) < KNOWN_SOURCE_LASTS)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    use std::time::Duration;

    const MS: Duration = Duration::from_millis(1);

    fn source(index: usize) -> IpAddr {
        let index = u32::try_from(index).expect("small");
        IpAddr::from(index.to_be_bytes())
    }

    #[test]
    fn whoever_was_never_welcome_is_unknown() {
        let now = Instant::now();
        let mut known = KnownSources::default();
        assert!(!known.contains(source(1), now));
        known.welcome(source(1), now);
        assert!(known.contains(source(1), now));
        assert!(!known.contains(source(2), now));
    }

    #[test]
    fn a_source_is_forgotten_a_while_after_its_last_welcome() {
        let now = Instant::now();
        let mut known = KnownSources::default();
        known.welcome(source(1), now);
        assert!(known.contains(source(1), now + KNOWN_SOURCE_LASTS - MS));
        assert!(!known.contains(source(1), now + KNOWN_SOURCE_LASTS));
        known.welcome(source(1), now + KNOWN_SOURCE_LASTS - MS);
        assert!(known.contains(source(1), now + 2 * KNOWN_SOURCE_LASTS - 2 * MS));
        assert!(!known.contains(source(1), now + 2 * KNOWN_SOURCE_LASTS - MS));
    }

    #[test]
    fn the_table_is_bounded_and_the_oldest_welcome_goes() {
        let now = Instant::now();
        let mut known = KnownSources::default();
        let at = |index: usize| now + MS * u32::try_from(index).expect("small");
        for index in 0..KNOWN_SOURCES_MAX {
            known.welcome(source(index), at(index));
        }
        // The first is welcome again: now the second is the oldest.
        known.welcome(source(0), at(KNOWN_SOURCES_MAX));
        let later = at(KNOWN_SOURCES_MAX + 1);
        assert!(known.contains(source(1), later));
        known.welcome(source(KNOWN_SOURCES_MAX), later);
        assert!(!known.contains(source(1), later));
        for index in [0, 2, KNOWN_SOURCES_MAX] {
            assert!(known.contains(source(index), later), "{index}");
        }
        for index in 0..2 * KNOWN_SOURCES_MAX {
            known.welcome(source(index), later);
            assert!(known.welcomed.len() <= KNOWN_SOURCES_MAX);
            assert_eq!(known.welcomed.len(), known.by_age.len());
        }
    }

    #[test]
    fn a_clock_that_goes_back_breaks_nothing() {
        let now = Instant::now();
        let mut known = KnownSources::default();
        known.welcome(source(1), now + MS);
        known.welcome(source(1), now);
        assert!(known.contains(source(1), now));
        assert_eq!((known.welcomed.len(), known.by_age.len()), (1, 1));
    }
}
