//! How many strangers may be at the door at once, in all and from one source.
//!
//! A connection counts as a stranger until its peer is authorized. Without the
//! cap per source, one machine could fill the common one and keep everybody
//! else out.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The counts. The table's size is bounded by the common cap.
#[derive(Debug)]
pub(crate) struct Admission {
    total_max: usize,
    per_source_max: usize,
    counts: Mutex<Counts>,
}

#[derive(Debug, Default)]
struct Counts {
    total: usize,
    by_source: HashMap<IpAddr, usize>,
}

/// One stranger's place; dropping it frees the place.
#[derive(Debug)]
pub(crate) struct Place {
    admission: Arc<Admission>,
    source: IpAddr,
}

impl Admission {
    pub(crate) fn new(total_max: usize, per_source_max: usize) -> Arc<Self> {
        Arc::new(Self {
            total_max,
            per_source_max,
            counts: Mutex::default(),
        })
    }

    /// A place for a stranger, unless there is none.
    pub(crate) fn admit(self: &Arc<Self>, address: IpAddr) -> Option<Place> {
        let source = source(address);
        let mut counts = self.counts();
        let from_source = counts.by_source.get(&source).copied().unwrap_or(0);
        if counts.total >= self.total_max || from_source >= self.per_source_max {
            return None;
        }
        counts.total += 1;
        counts.by_source.insert(source, from_source + 1);
        drop(counts);
        Some(Place {
            admission: Arc::clone(self),
            source,
        })
    }

    fn counts(&self) -> MutexGuard<'_, Counts> {
        // Counting cannot stop halfway, so a poisoned lock guards sound counts.
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut counts = self.admission.counts();
        counts.total -= 1;
        if let Some(count) = counts.by_source.get_mut(&self.source) {
            *count -= 1;
            if *count == 0 {
                counts.by_source.remove(&self.source);
            }
        }
    }
}

/// What counts as one source: whoever has one IPv6 address has all of its /64.
fn source(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(address) => IpAddr::V4(address),
        IpAddr::V6(address) => {
            let network = u128::from(address) & (u128::MAX << 64);
            IpAddr::V6(Ipv6Addr::from(network))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }

    #[test]
    fn one_source_cannot_take_every_place() {
        let admission = Admission::new(3, 2);
        let _first = admission.admit(address("192.0.2.1")).expect("room");
        let _second = admission.admit(address("192.0.2.1")).expect("room");
        assert!(admission.admit(address("192.0.2.1")).is_none());
        assert!(admission.admit(address("192.0.2.2")).is_some());
    }

    #[test]
    fn all_sources_share_the_common_cap() {
        let admission = Admission::new(2, 2);
        let _first = admission.admit(address("192.0.2.1")).expect("room");
        let _second = admission.admit(address("192.0.2.2")).expect("room");
        assert!(admission.admit(address("192.0.2.3")).is_none());
    }

    #[test]
    fn a_place_is_freed_when_dropped() {
        let admission = Admission::new(1, 1);
        for _ in 0..10 {
            assert!(admission.admit(address("192.0.2.1")).is_some());
        }
        assert!(admission.counts().by_source.is_empty());
    }

    #[test]
    fn a_network_of_ipv6_addresses_is_one_source() {
        let admission = Admission::new(9, 1);
        let _place = admission.admit(address("2001:db8::1")).expect("room");
        assert!(admission.admit(address("2001:db8::2")).is_none());
        assert!(admission.admit(address("2001:db8:0:1::2")).is_some());
    }

    #[test]
    fn a_mapped_address_is_its_ipv4_address() {
        let admission = Admission::new(9, 1);
        let _place = admission.admit(address("192.0.2.1")).expect("room");
        assert!(admission.admit(address("::ffff:192.0.2.1")).is_none());
        assert!(admission.admit(address("::ffff:192.0.2.2")).is_some());
    }
}
