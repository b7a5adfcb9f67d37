//! From where peers were authorized of late: a value without clock.
//!
//! Who is at the door cannot be told before a handshake has been computed; from
//! where it comes can. A source from which somebody with an admitted key came
//! is likelier to bring such a one again than one that nobody has heard of, and
//! most honest connections are of clients that come back.
//!
//! To get in here takes an admitted key, and an address at which the handshake's
//! answers arrive: no address is known because somebody forged it. One key
//! vouches for a few sources only: its holder may have thousands of addresses,
//! and would else push all others out. And a source has several keys that vouch
//! for it: of two behind one address, none can make it forgotten.

use std::collections::{BTreeSet, HashMap};
use std::hash::Hash;
use std::net::IpAddr;
use std::time::Instant;

use sealmoot_crypto::signature::KeyId;

use crate::limits::{
    KNOWN_SOURCE_LASTS, KNOWN_SOURCES_MAX, KNOWN_SOURCES_PER_IDENTITY_MAX,
    KNOWN_VOUCHERS_PER_SOURCE_MAX,
};

/// Which key came from where, and when each was last welcome from there. Every
/// operation is logarithmic in their number.
#[derive(Debug, Default)]
pub(super) struct KnownSources {
    welcomed: HashMap<(KeyId, IpAddr), Instant>,
    by_age: BTreeSet<(Instant, KeyId, IpAddr)>,
    of_identity: HashMap<KeyId, BTreeSet<(Instant, IpAddr)>>,
    of_source: HashMap<IpAddr, BTreeSet<(Instant, KeyId)>>,
}

impl KnownSources {
    /// Somebody with this key is authorized, and comes from there. Where there
    /// is no room, the oldest welcome goes: of the key, of the source, of all.
    pub(super) fn welcome(&mut self, identity: KeyId, source: IpAddr, now: Instant) {
        self.forget(identity, source);
        self.welcomed.insert((identity, source), now);
        self.by_age.insert((now, identity, source));
        let sources = self.of_identity.entry(identity).or_default();
        sources.insert((now, source));
        if sources.len() > KNOWN_SOURCES_PER_IDENTITY_MAX
            && let Some((_, oldest)) = sources.first().copied()
        {
            self.forget(identity, oldest);
        }
        let vouchers = self.of_source.entry(source).or_default();
        vouchers.insert((now, identity));
        if vouchers.len() > KNOWN_VOUCHERS_PER_SOURCE_MAX
            && let Some((_, oldest)) = vouchers.first().copied()
        {
            self.forget(oldest, source);
        }
        if self.by_age.len() > KNOWN_SOURCES_MAX
            && let Some((_, identity, source)) = self.by_age.first().copied()
        {
            self.forget(identity, source);
        }
    }

    /// Whether somebody from there was authorized lately enough.
    pub(super) fn contains(&self, source: IpAddr, now: Instant) -> bool {
        self.of_source
            .get(&source)
            .and_then(BTreeSet::last)
            .is_some_and(|(at, _)| now.saturating_duration_since(*at) < KNOWN_SOURCE_LASTS)
    }

    fn forget(&mut self, identity: KeyId, source: IpAddr) {
        let Some(at) = self.welcomed.remove(&(identity, source)) else {
            return;
        };
        self.by_age.remove(&(at, identity, source));
        remove(&mut self.of_identity, identity, &(at, source));
        remove(&mut self.of_source, source, &(at, identity));
    }
}

/// Takes one out of a set, and the set out when it is empty.
fn remove<K: Eq + Hash, V: Ord>(sets: &mut HashMap<K, BTreeSet<V>>, key: K, value: &V) {
    if let Some(set) = sets.get_mut(&key) {
        set.remove(value);
        if set.is_empty() {
            sets.remove(&key);
        }
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

    fn identity(index: usize) -> KeyId {
        let mut bytes = [0; 32];
        bytes[..8].copy_from_slice(&index.to_le_bytes());
        KeyId::from_bytes(bytes)
    }

    fn at(start: Instant, index: usize) -> Instant {
        start + MS * u32::try_from(index).expect("small")
    }

    /// That all four say the same.
    fn audit(known: &KnownSources) {
        let count = known.welcomed.len();
        assert!(count <= KNOWN_SOURCES_MAX);
        assert_eq!(known.by_age.len(), count);
        let of_identities: usize = known.of_identity.values().map(BTreeSet::len).sum();
        let of_sources: usize = known.of_source.values().map(BTreeSet::len).sum();
        assert_eq!((of_identities, of_sources), (count, count));
        for (at, identity, source) in &known.by_age {
            assert_eq!(known.welcomed.get(&(*identity, *source)), Some(at));
        }
        let most = |sizes: Vec<usize>| sizes.into_iter().max().unwrap_or(0);
        let of_one = most(known.of_identity.values().map(BTreeSet::len).collect());
        assert!(of_one <= KNOWN_SOURCES_PER_IDENTITY_MAX);
        let of_one = most(known.of_source.values().map(BTreeSet::len).collect());
        assert!(of_one <= KNOWN_VOUCHERS_PER_SOURCE_MAX);
    }

    #[test]
    fn whoever_was_never_welcome_is_unknown() {
        let now = Instant::now();
        let mut known = KnownSources::default();
        assert!(!known.contains(source(1), now));
        known.welcome(identity(1), source(1), now);
        assert!(known.contains(source(1), now));
        assert!(!known.contains(source(2), now));
    }

    #[test]
    fn a_source_is_forgotten_a_while_after_its_last_welcome() {
        let now = Instant::now();
        let mut known = KnownSources::default();
        known.welcome(identity(1), source(1), now);
        assert!(known.contains(source(1), now + KNOWN_SOURCE_LASTS - MS));
        assert!(!known.contains(source(1), now + KNOWN_SOURCE_LASTS));
        known.welcome(identity(1), source(1), now + KNOWN_SOURCE_LASTS - MS);
        assert!(known.contains(source(1), now + 2 * KNOWN_SOURCE_LASTS - 2 * MS));
        assert!(!known.contains(source(1), now + 2 * KNOWN_SOURCE_LASTS - MS));
    }

    #[test]
    fn the_table_is_bounded_and_the_oldest_welcome_goes() {
        let now = Instant::now();
        let mut known = KnownSources::default();
        for index in 0..KNOWN_SOURCES_MAX {
            known.welcome(identity(index), source(index), at(now, index));
        }
        // The first is welcome again: now the second is the oldest.
        known.welcome(identity(0), source(0), at(now, KNOWN_SOURCES_MAX));
        let later = at(now, KNOWN_SOURCES_MAX + 1);
        assert!(known.contains(source(1), later));
        let last = KNOWN_SOURCES_MAX;
        known.welcome(identity(last), source(last), later);
        assert!(!known.contains(source(1), later));
        for index in [0, 2, KNOWN_SOURCES_MAX] {
            assert!(known.contains(source(index), later), "{index}");
        }
        for index in 0..2 * KNOWN_SOURCES_MAX {
            known.welcome(identity(index), source(index), later);
            assert!(known.welcomed.len() <= KNOWN_SOURCES_MAX);
        }
        audit(&known);
    }

    #[test]
    fn one_key_from_thousands_of_addresses_pushes_nobody_out() {
        let now = Instant::now();
        let mut known = KnownSources::default();
        for index in 0..KNOWN_SOURCES_MAX - KNOWN_SOURCES_PER_IDENTITY_MAX {
            known.welcome(identity(index), source(index), now);
        }
        let hostile = identity(usize::MAX);
        for index in 0..2 * KNOWN_SOURCES_MAX {
            let address = source((1 << 24) + index);
            known.welcome(hostile, address, at(now, 1 + index));
            assert!(known.contains(address, at(now, 1 + index)));
        }
        let later = at(now, 1 + 2 * KNOWN_SOURCES_MAX);
        for index in 0..KNOWN_SOURCES_MAX - KNOWN_SOURCES_PER_IDENTITY_MAX {
            assert!(known.contains(source(index), later), "{index}");
        }
        // Of its own the last few are left.
        let left = (0..2 * KNOWN_SOURCES_MAX)
            .filter(|index| known.contains(source((1 << 24) + index), later));
        let first = 2 * KNOWN_SOURCES_MAX - KNOWN_SOURCES_PER_IDENTITY_MAX;
        assert!(left.eq(first..2 * KNOWN_SOURCES_MAX));
        audit(&known);
    }

    #[test]
    fn a_neighbour_behind_the_same_address_cannot_make_it_forgotten() {
        let now = Instant::now();
        let mut known = KnownSources::default();
        known.welcome(identity(1), source(1), now);
        for index in 1..100 {
            known.welcome(identity(2), source(index), at(now, index));
        }
        assert!(known.contains(source(1), at(now, 100)));
        // It vouches for the address no longer, and the honest one still does.
        assert!(!known.welcomed.contains_key(&(identity(2), source(1))));
        audit(&known);
    }

    #[test]
    fn a_crowd_behind_one_address_takes_few_places() {
        let now = Instant::now();
        let mut known = KnownSources::default();
        known.welcome(identity(0), source(0), now);
        for index in 1..2 * KNOWN_SOURCES_MAX {
            known.welcome(identity(index), source(1), at(now, index));
        }
        let later = at(now, 2 * KNOWN_SOURCES_MAX);
        assert!(known.contains(source(0), later) && known.contains(source(1), later));
        assert_eq!(known.welcomed.len(), 1 + KNOWN_VOUCHERS_PER_SOURCE_MAX);
        audit(&known);
    }

    #[test]
    fn a_clock_that_goes_back_breaks_nothing() {
        let now = Instant::now();
        let mut known = KnownSources::default();
        known.welcome(identity(1), source(1), now + MS);
        known.welcome(identity(1), source(1), now);
        assert!(known.contains(source(1), now));
        assert_eq!(known.welcomed.len(), 1);
        audit(&known);
    }
}
