use std::task::Waker;

use tokio::io::AsyncReadExt;

use super::*;
use crate::limits::KNOWN_SOURCE_LASTS;

fn admission(count_max: usize, per_source_max: usize) -> Arc<Admission> {
    Admission::new(&Limits {
        unauthenticated_max: count_max,
        unauthenticated_per_source_max: per_source_max,
        unauthenticated_bytes_all_max: 100,
        ..Limits::default()
    })
}

fn somebody() -> KeyId {
    KeyId::from_bytes([1; 32])
}

fn address(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

fn is_evicted(place: &Place) -> bool {
    let mut evicted = std::pin::pin!(place.evicted());
    evicted
        .as_mut()
        .poll(&mut Context::from_waker(Waker::noop()))
        .is_ready()
}

fn is_deserted(admission: &Admission) -> bool {
    let crowd = admission.crowd();
    let queue = admission.queue();
    crowd.strangers.is_empty() && crowd.seats.is_empty() && queue.waiting.is_empty()
}

fn crowd_is_empty(admission: &Admission) -> bool {
    admission.crowd().strangers.is_empty()
}

#[test]
fn a_place_is_freed_when_dropped() {
    let admission = admission(1, 1);
    for _ in 0..10 {
        assert!(admission.admit(address("192.0.2.1")).is_some());
    }
    assert!(is_deserted(&admission));
}

#[test]
fn a_network_of_ipv6_addresses_is_one_source() {
    let admission = admission(9, 1);
    let _place = admission.admit(address("2001:db8::1")).expect("room");
    assert!(admission.admit(address("2001:db8::2")).is_none());
    assert!(admission.admit(address("2001:db8:0:1::2")).is_some());
}

#[test]
fn a_mapped_address_is_its_ipv4_address() {
    let admission = admission(9, 1);
    let _place = admission.admit(address("192.0.2.1")).expect("room");
    assert!(admission.admit(address("::ffff:192.0.2.1")).is_none());
    assert!(admission.admit(address("::ffff:192.0.2.2")).is_some());
}

#[test]
fn whoever_makes_room_is_told() {
    let admission = admission(2, 2);
    let first = admission.admit(address("192.0.2.1")).expect("room");
    let second = admission.admit(address("192.0.2.2")).expect("room");
    let third = admission.admit(address("192.0.2.3")).expect("room");
    assert!(is_evicted(&first));
    assert!(!is_evicted(&second) && !is_evicted(&third));
    // Whoever was evicted frees no place of another.
    drop(first);
    assert_eq!(admission.crowd().seats.len(), 2);
    drop((second, third));
    assert!(is_deserted(&admission));
}

fn is_known(admission: &Admission, text: &str) -> bool {
    let source = source(address(text));
    admission.queue().turns.has_lead(source, now())
}

#[test]
fn a_source_is_known_once_somebody_from_there_is_authorized() {
    let admission = admission(9, 9);
    let place = admission.admit(address("192.0.2.1")).expect("room");
    assert!(!is_known(&admission, "192.0.2.1"));
    let presence = place.authorized(somebody());
    assert!(crowd_is_empty(&admission), "it is no stranger any more");
    assert!(is_known(&admission, "192.0.2.1"));
    assert!(!is_known(&admission, "192.0.2.2"));
    drop(presence);
    assert!(is_known(&admission, "192.0.2.1"));
}

#[test]
fn guests_and_the_refused_make_no_source_known() {
    let admission = admission(9, 9);
    let guest = admission.admit(address("192.0.2.1")).expect("room");
    guest.welcome();
    drop(guest);
    drop(admission.admit(address("192.0.2.2")).expect("room"));
    assert!(!is_known(&admission, "192.0.2.1"));
    assert!(!is_known(&admission, "192.0.2.2"));
}

#[tokio::test(start_paused = true)]
async fn whoever_was_here_for_long_is_known_from_when_it_left() {
    let admission = admission(9, 9);
    let place = admission.admit(address("192.0.2.1")).expect("room");
    let presence = place.authorized(somebody());
    tokio::time::advance(3 * KNOWN_SOURCE_LASTS).await;
    assert!(!is_known(&admission, "192.0.2.1"));
    drop(presence);
    assert!(is_known(&admission, "192.0.2.1"));
    tokio::time::advance(KNOWN_SOURCE_LASTS).await;
    assert!(!is_known(&admission, "192.0.2.1"));
}

#[test]
fn a_known_source_keeps_its_place_when_others_crowd() {
    let admission = admission(3, 2);
    drop(
        admission
            .admit(address("192.0.2.1"))
            .map(|place| place.authorized(somebody())),
    );
    let known = admission.admit(address("192.0.2.1")).expect("room");
    let crowd = ["192.0.2.2", "192.0.2.2", "192.0.2.3", "192.0.2.4"]
        .map(|text| admission.admit(address(text)).expect("room"));
    assert!(!is_evicted(&known));
    assert!(is_evicted(&crowd[0]) && is_evicted(&crowd[1]));
}

#[tokio::test]
async fn whoever_sends_too_much_for_all_is_told() {
    let admission = admission(2, 2);
    let small = admission.admit(address("192.0.2.1")).expect("room");
    let large = admission.admit(address("192.0.2.1")).expect("room");
    let mut sink = [0; 90];
    let mut read = async |place: &Place, bytes: usize| {
        let mut stream = Place::weighing(Some(place), tokio::io::repeat(0));
        stream.read_exact(&mut sink[..bytes]).await.expect("bytes");
        stream.seat.is_some()
    };
    assert!(read(&large, 60).await);
    assert!(read(&small, 40).await);
    assert!(!is_evicted(&large));
    assert!(read(&small, 1).await);
    assert!(is_evicted(&large) && !is_evicted(&small));
    assert!(!read(&large, 1).await, "it is nobody any more");
    small.welcome();
    assert!(!read(&small, 90).await, "it has limits of its own now");
    assert!(!is_evicted(&small));
}

#[tokio::test]
async fn handshakes_run_one_after_the_other_and_all_end() {
    let admission = admission(100, 100);
    let giver = tokio::spawn(Arc::clone(&admission).give_turns());
    let turns = Arc::new(AtomicUsize::new(0));
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..50 {
        let place = admission.admit(address("192.0.2.1")).expect("room");
        let turns = Arc::clone(&turns);
        tasks.spawn(async move {
            let handshake = async {
                for _ in 0..3 {
                    turns.fetch_add(1, Ordering::Relaxed);
                    tokio::task::yield_now().await;
                }
            };
            place.in_turns(handshake).await;
        });
    }
    while let Some(ended) = tasks.join_next().await {
        ended.expect("no panic");
    }
    assert_eq!(turns.load(Ordering::Relaxed), 150);
    assert!(is_deserted(&admission));
    giver.abort();
}

#[tokio::test]
async fn a_turn_reads_so_much_and_the_next_goes_on() {
    let admission = Admission::new(&Limits::default());
    let giver = tokio::spawn(Arc::clone(&admission).give_turns());
    let place = admission.admit(address("192.0.2.1")).expect("room");
    let mut stream = Place::weighing(Some(&place), tokio::io::repeat(7));
    let mut bytes = vec![0; 3 * TURN_BYTES_MAX];
    let mut first = [0; TURN_BYTES_MAX];
    let mut read = std::pin::pin!(async {
        stream.read_exact(&mut first).await.expect("bytes");
        stream.read_exact(&mut bytes).await.expect("bytes");
    });
    let mut context = Context::from_waker(Waker::noop());
    assert!(read.as_mut().poll(&mut context).is_pending());
    assert!(read.as_mut().poll(&mut context).is_pending(), "no new turn");
    place.in_turns(read).await;
    assert!(bytes.iter().chain(&first).all(|byte| *byte == 7));
    giver.abort();
}

#[tokio::test]
async fn an_admitted_peer_reads_as_much_as_it_likes() {
    let admission = Admission::new(&Limits::default());
    for is_guest in [false, true] {
        let place = admission.admit(address("192.0.2.1")).expect("room");
        let mut stream = Place::weighing(Some(&place), tokio::io::repeat(7));
        let mut bytes = vec![0; TURN_BYTES_MAX];
        stream.read_exact(&mut bytes).await.expect("bytes");
        assert!(place.0.has_read_enough());
        if is_guest {
            place.welcome();
        } else {
            drop(place);
        }
        for _ in 0..3 {
            stream.read_exact(&mut bytes).await.expect("bytes");
        }
        assert!(stream.seat.is_none());
    }
}

#[tokio::test]
async fn whoever_dies_in_its_turn_or_before_blocks_nobody() {
    let admission = admission(100, 100);
    let place = admission.admit(address("192.0.2.1")).expect("room");
    let mut context = Context::from_waker(Waker::noop());
    // One that takes its turn, so that the others have to wait.
    let mut first = std::pin::pin!(place.in_turns(std::future::pending::<()>()));
    assert!(first.as_mut().poll(&mut context).is_pending());
    let mut second = Box::pin(place.in_turns(std::future::ready(())));
    let mut third = Box::pin(place.in_turns(std::future::ready(())));
    let mut fourth = Box::pin(place.in_turns(std::future::ready(())));
    for waiting in [&mut second, &mut third, &mut fourth] {
        assert!(waiting.as_mut().poll(&mut context).is_pending());
    }
    // Dies in the queue; dies when its turn has begun.
    drop(second);
    assert!(matches!(admission.next_turn(), Next::Turn(_)));
    assert_eq!(admission.next_turn(), Next::Idle);
    drop(third);
    assert!(matches!(admission.next_turn(), Next::Turn(_)));
    assert!(fourth.as_mut().poll(&mut context).is_ready());
    drop(fourth);
    assert!(admission.queue().waiting.is_empty());
}

#[tokio::test]
async fn a_turn_in_which_the_machine_stood_still_stops_nobody_for_long() {
    let admission = admission(100, 100);
    let place = admission.admit(address("192.0.2.1")).expect("room");
    let mut context = Context::from_waker(Waker::noop());
    let mut slow = std::pin::pin!(place.in_turns(async {
        std::thread::sleep(5 * TURN_COST_MAX);
    }));
    assert!(slow.as_mut().poll(&mut context).is_ready());
    let mut next = std::pin::pin!(place.in_turns(std::future::ready(())));
    assert!(next.as_mut().poll(&mut context).is_pending());
    assert!(matches!(admission.next_turn(), Next::Turn(_)));
    assert!(next.as_mut().poll(&mut context).is_ready());
}

#[tokio::test]
async fn a_panic_ends_its_turn() {
    let admission = admission(100, 100);
    let giver = tokio::spawn(Arc::clone(&admission).give_turns());
    for _ in 0..2 {
        let place = admission.admit(address("192.0.2.1")).expect("room");
        let handshake = async move { place.in_turns(async { panic!("a fault") }).await };
        assert!(tokio::spawn(handshake).await.is_err());
    }
    let place = admission.admit(address("192.0.2.1")).expect("room");
    place.in_turns(async {}).await;
    giver.abort();
}
