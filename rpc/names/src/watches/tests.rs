use super::*;
use crate::testing::{FOREVER_MS, id, name, signed};

fn serial(watch: &mut watch::Receiver<Newest>) -> Option<u64> {
    let newest = watch.borrow_and_update();
    newest.as_ref().map(|it| it.record().serial)
}

#[test]
fn what_is_there_is_new_to_whoever_begins() {
    let mut watches = Watches::default();
    let present = signed("a", 1, FOREVER_MS);
    for _ in 0..2 {
        let mut watch = watches
            .open(id(1), &name("a"), Some(Arc::clone(&present)))
            .expect("room");
        assert_eq!(watch.has_changed().ok(), Some(true));
        assert_eq!(serial(&mut watch), Some(1));
        assert_eq!(watch.has_changed().ok(), Some(false));
    }
}

#[test]
fn a_slow_watcher_is_told_the_newest_only() {
    let mut watches = Watches::default();
    let mut watch = watches.open(id(1), &name("a"), None).expect("room");
    for serial in 1..=5 {
        watches.tell(&signed("a", serial, FOREVER_MS));
    }
    watches.tell(&signed("b", 9, FOREVER_MS));
    assert_eq!(serial(&mut watch), Some(5));
    assert_eq!(watch.has_changed().ok(), Some(false));
}

#[test]
fn a_peer_has_so_many_watches_and_no_more() {
    let mut watches = Watches::default();
    let mut held: Vec<_> = (0..WATCHES_PER_PEER_MAX)
        .map(|_| watches.open(id(1), &name("a"), None).expect("room"))
        .collect();
    assert_eq!(watches.open(id(1), &name("b"), None).err(), Some(TooMany));
    assert!(watches.open(id(2), &name("a"), None).is_ok());
    held.pop();
    watches.close(&id(1), &name("a"));
    assert!(watches.open(id(1), &name("b"), None).is_ok());
}

#[test]
fn all_together_have_so_many_watches_and_no_more() {
    let mut watches = Watches::default();
    let peer = |index: usize| {
        let mut bytes = [0; 32];
        bytes[..8].copy_from_slice(&(index as u64).to_le_bytes());
        KeyId::from_bytes(bytes)
    };
    for index in 0..WATCHES_MAX {
        let opened = watches.open(peer(index), &name("a"), None);
        assert!(opened.is_ok(), "{index}");
    }
    let refused = watches.open(peer(WATCHES_MAX), &name("a"), None);
    assert_eq!(refused.err(), Some(TooMany));
    watches.close(&peer(7), &name("a"));
    let opened = watches.open(peer(WATCHES_MAX), &name("a"), None);
    assert!(opened.is_ok());
}

#[test]
fn closed_watches_leave_nothing_behind() {
    let mut watches = Watches::default();
    for _ in 0..3 {
        watches.open(id(1), &name("a"), None).expect("room");
    }
    for _ in 0..3 {
        watches.close(&id(1), &name("a"));
    }
    assert_eq!(watches.len(), 0);
    assert!(watches.by_name.is_empty() && watches.by_peer.is_empty());
}
