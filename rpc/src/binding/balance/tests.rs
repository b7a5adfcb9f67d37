use std::collections::BTreeMap;

use super::*;
use crate::binding::record::Way;
use crate::binding::record::tests::endpoint;
use crate::splitmix::SplitMix;

const SECOND: Duration = Duration::from_secs(1);

fn endpoints(weights: &[u8]) -> Vec<Endpoint> {
    let each = weights.iter().enumerate();
    each.map(|(index, weight)| endpoint(Way::Tls, &format!("h{index}:1"), *weight))
        .collect()
}

/// A balancer over endpoints of these weights, and their ids.
fn balancer(choice: Choice, weights: &[u8]) -> (Balancer, Vec<EndpointId>) {
    let mut balancer = Balancer::new(BalancePolicy {
        choice,
        failures_max: 3,
        eject_first: SECOND,
        eject_max: 8 * SECOND,
        eject_forgotten: 60 * SECOND,
    });
    balancer.update(&endpoints(weights));
    let ids = balancer.listed().map(|(id, _)| id).collect();
    (balancer, ids)
}

/// One call that ends at once; where it went.
fn call(
    balancer: &mut Balancer,
    random: &mut SplitMix,
    now: Instant,
    judge: impl Fn(EndpointId) -> Verdict,
) -> (EndpointId, bool) {
    let picked = balancer.pick(&[], now, random.next()).expect("endpoints");
    let went = (picked.id(), picked.is_probe());
    let verdict = judge(went.0);
    balancer.end(picked, verdict, now, random.next());
    went
}

/// Ejects `id` by calls that fail there and are good elsewhere.
fn eject(balancer: &mut Balancer, random: &mut SplitMix, now: Instant, id: EndpointId) {
    for _ in 0..10_000 {
        let ejected = |slot: &&Slot| slot.id == id && slot.is_ejected();
        if balancer.slots.iter().any(|slot| ejected(&slot)) {
            return;
        }
        call(balancer, random, now, |at| bad_if(at == id));
    }
    panic!("never ejected");
}

fn bad_if(is_bad: bool) -> Verdict {
    if is_bad { Verdict::Bad } else { Verdict::Good }
}

/// Where `count` calls go that are good.
fn spread(
    balancer: &mut Balancer,
    random: &mut SplitMix,
    now: Instant,
    count: usize,
) -> BTreeMap<EndpointId, usize> {
    let mut calls = BTreeMap::new();
    for _ in 0..count {
        let (id, _) = call(balancer, random, now, |_| Verdict::Good);
        *calls.entry(id).or_default() += 1;
    }
    calls
}

#[test]
fn without_endpoints_nothing_is_picked() {
    let (mut balancer, _) = balancer(Choice::PerRequest, &[]);
    assert_eq!(balancer.pick(&[], Instant::now(), 7), None);
}

#[test]
fn the_lesser_loaded_of_two_is_taken_whatever_is_drawn() {
    let (mut balancer, ids) = balancer(Choice::PerRequest, &[1, 1]);
    let now = Instant::now();
    for random in [0, u64::MAX, u64::MAX << 32, u64::MAX >> 32] {
        let first = balancer.pick(&[], now, random).expect("endpoints");
        let second = balancer.pick(&[], now, random).expect("endpoints");
        assert_ne!(first.id(), second.id());
        assert_eq!(
            (balancer.in_flight(ids[0]), balancer.in_flight(ids[1])),
            (1, 1)
        );
        balancer.end(first, Verdict::Good, now, 0);
        balancer.end(second, Verdict::Good, now, 0);
    }
}

#[test]
fn two_choices_leave_no_endpoint_far_behind_another() {
    let seed = 1;
    let mut random = SplitMix::new(seed);
    let (mut balancer, ids) = balancer(Choice::PerRequest, &[1; 10]);
    let now = Instant::now();
    // None of these calls ends: of 10,000 thrown at random the fullest of ten would
    // hold some 40 more than the mean.
    for _ in 0..10_000 {
        let picked = balancer.pick(&[], now, random.next()).expect("endpoints");
        assert!(!picked.is_probe());
    }
    let loads = ids.iter().map(|id| balancer.in_flight(*id));
    let (least, most) = (loads.clone().min(), loads.max());
    assert!(
        least >= Some(995) && most <= Some(1005),
        "{least:?} {most:?} seed {seed}"
    );
}

#[test]
fn calls_are_spread_by_weight_when_idle_and_when_loaded() {
    let seed = 2;
    let mut random = SplitMix::new(seed);
    let (mut balancer, ids) = balancer(Choice::PerRequest, &[1, 3, 6]);
    let now = Instant::now();
    let calls = spread(&mut balancer, &mut random, now, 10_000);
    for (id, share) in ids.iter().zip([1_000, 3_000, 6_000]) {
        let count = calls.get(id).copied().unwrap_or(0);
        assert!(count.abs_diff(share) <= 200, "{calls:?}, seed {seed}");
    }
    for _ in 0..1_000 {
        let _kept = balancer.pick(&[], now, random.next()).expect("endpoints");
    }
    for (id, share) in ids.iter().zip([100, 300, 600]) {
        let load = balancer.in_flight(*id);
        assert!(
            load.abs_diff(share) <= share / 5,
            "{load} of {share}, seed {seed}"
        );
    }
}

#[test]
fn failures_in_a_row_eject_and_scattered_ones_do_not() {
    let (mut balancer, _) = balancer(Choice::PerRequest, &[1]);
    let now = Instant::now();
    let mut end = |verdict| {
        let picked = balancer.pick(&[], now, 0).expect("an endpoint");
        let was_ejected = picked.is_probe();
        balancer.end(picked, verdict, now, 0);
        was_ejected
    };
    for _ in 0..10 {
        for verdict in [Verdict::Bad, Verdict::Bad, Verdict::Silent, Verdict::Good] {
            assert!(!end(verdict));
        }
    }
    // What says nothing neither counts nor clears.
    for verdict in [Verdict::Bad, Verdict::Silent, Verdict::Bad, Verdict::Bad] {
        assert!(!end(verdict));
    }
    assert!(end(Verdict::Silent), "ejected by now");
}

#[test]
fn no_call_goes_to_an_ejected_endpoint_before_its_time() {
    let seed = 3;
    let mut random = SplitMix::new(seed);
    let (mut balancer, ids) = balancer(Choice::PerRequest, &[1, 1, 1]);
    let now = Instant::now();
    eject(&mut balancer, &mut random, now, ids[1]);
    // The pause is between half of the first and the whole.
    let early = now + SECOND / 2 - Duration::from_millis(1);
    let calls = spread(&mut balancer, &mut random, early, 1_000);
    assert_eq!(calls.get(&ids[1]), None, "seed {seed}");
}

#[test]
fn one_probe_at_a_time_goes_to_an_ejected_endpoint() {
    let mut random = SplitMix::new(4);
    let (mut balancer, ids) = balancer(Choice::PerRequest, &[1, 1]);
    let now = Instant::now();
    eject(&mut balancer, &mut random, now, ids[0]);
    let later = now + SECOND;
    let probe = balancer.pick(&[], later, 0).expect("endpoints");
    assert_eq!((probe.id(), probe.is_probe()), (ids[0], true));
    for _ in 0..100 {
        let (id, is_probe) = call(&mut balancer, &mut random, later, |_| Verdict::Good);
        assert_eq!((id, is_probe), (ids[1], false));
    }
    balancer.end(probe, Verdict::Good, later, 0);
    let calls = spread(&mut balancer, &mut random, later, 1_000);
    assert!(calls[&ids[0]] > 400, "admitted again: {calls:?}");
}

#[test]
fn a_call_that_was_tried_elsewhere_is_no_probe() {
    let mut random = SplitMix::new(5);
    let (mut balancer, ids) = balancer(Choice::PerRequest, &[1, 1, 1]);
    let now = Instant::now();
    eject(&mut balancer, &mut random, now, ids[0]);
    let picked = balancer
        .pick(&[ids[1]], now + SECOND, 0)
        .expect("endpoints");
    assert_eq!((picked.id(), picked.is_probe()), (ids[2], false));
}

/// How long it takes from `now` until a probe goes to `id`.
fn until_probe(balancer: &Balancer, id: EndpointId, now: Instant) -> Duration {
    let slot = balancer.slots.iter().find(|slot| slot.id == id);
    let probe_at = slot.and_then(Slot::probe_at).expect("ejected");
    probe_at - now
}

#[test]
fn each_probe_that_fails_doubles_the_pause_up_to_its_maximum() {
    let mut random = SplitMix::new(6);
    let (mut balancer, ids) = balancer(Choice::PerRequest, &[1, 1]);
    let mut now = Instant::now();
    eject(&mut balancer, &mut random, now, ids[0]);
    for whole in [1, 2, 4, 8, 8, 8] {
        let pause = until_probe(&balancer, ids[0], now);
        let range = whole * SECOND / 2..=whole * SECOND;
        assert!(range.contains(&pause), "{pause:?} of {whole} s");
        now += pause;
        let went = call(&mut balancer, &mut random, now, |id| bad_if(id == ids[0]));
        assert_eq!(went, (ids[0], true));
    }
}

#[test]
fn one_who_fails_again_soon_is_ejected_for_longer_and_later_it_is_forgotten() {
    for (stands, whole) in [(59, 2), (60, 1)] {
        let mut random = SplitMix::new(7);
        let (mut balancer, ids) = balancer(Choice::PerRequest, &[1, 1]);
        let mut now = Instant::now();
        eject(&mut balancer, &mut random, now, ids[0]);
        now += SECOND;
        let went = call(&mut balancer, &mut random, now, |_| Verdict::Good);
        assert_eq!(went, (ids[0], true));
        now += stands * SECOND;
        eject(&mut balancer, &mut random, now, ids[0]);
        let pause = until_probe(&balancer, ids[0], now);
        let range = whole * SECOND / 2..=whole * SECOND;
        assert!(range.contains(&pause), "{pause:?} after {stands} s");
    }
}

#[test]
fn a_probe_that_tells_nothing_is_followed_by_another_after_the_same_pause() {
    let mut random = SplitMix::new(8);
    let (mut balancer, ids) = balancer(Choice::PerRequest, &[1, 1]);
    let now = Instant::now();
    eject(&mut balancer, &mut random, now, ids[0]);
    let pause = until_probe(&balancer, ids[0], now);
    let later = now + pause;
    let went = call(&mut balancer, &mut random, later, |_| Verdict::Silent);
    assert_eq!(went, (ids[0], true));
    assert_eq!(until_probe(&balancer, ids[0], later), pause);
}

#[test]
fn a_hundred_calls_lost_with_one_connection_are_one_failure() {
    let (mut balancer, ids) = balancer(Choice::PerRequest, &[1]);
    let now = Instant::now();
    let calls: Vec<_> = (0..100)
        .map(|_| balancer.pick(&[], now, 0).expect("an endpoint"))
        .collect();
    for picked in calls {
        balancer.end(picked, Verdict::Bad, now, u64::MAX);
    }
    let pause = until_probe(&balancer, ids[0], now);
    assert!(pause <= SECOND, "{pause:?}");
    assert_eq!(balancer.in_flight(ids[0]), 0);
}

#[test]
fn an_answer_to_a_call_from_before_does_not_admit_an_ejected_endpoint() {
    let mut random = SplitMix::new(9);
    let (mut balancer, ids) = balancer(Choice::PerRequest, &[1]);
    let now = Instant::now();
    let before = balancer.pick(&[], now, 0).expect("an endpoint");
    eject(&mut balancer, &mut random, now, ids[0]);
    balancer.end(before, Verdict::Good, now, 0);
    let next = balancer.pick(&[], now, 0).expect("an endpoint");
    assert!(next.is_probe());
}

#[test]
fn when_all_are_ejected_the_least_bad_is_tried_and_each_in_turn() {
    let mut random = SplitMix::new(10);
    let (mut balancer, ids) = balancer(Choice::PerRequest, &[1, 1, 1]);
    let now = Instant::now();
    for id in &ids {
        eject(&mut balancer, &mut random, now, *id);
    }
    let mut tried = Vec::new();
    for _ in 0..3 {
        let (id, is_probe) = call(&mut balancer, &mut random, now, |_| Verdict::Bad);
        assert!(is_probe);
        tried.push(id);
    }
    tried.sort();
    assert_eq!(tried, ids);
    let (well, _) = call(&mut balancer, &mut random, now, |_| Verdict::Good);
    let calls = spread(&mut balancer, &mut random, now, 100);
    assert_eq!(calls, BTreeMap::from([(well, 100)]), "one answer admits it");
}

#[test]
fn a_draining_endpoint_leaves_the_choice_at_once_and_is_not_ejected() {
    let mut random = SplitMix::new(11);
    let (mut balancer, ids) = balancer(Choice::PerRequest, &[1, 1]);
    let now = Instant::now();
    let calls: Vec<_> = (0..20)
        .map(|_| balancer.pick(&[], now, random.next()).expect("endpoints"))
        .collect();
    balancer.draining(ids[0]);
    for _ in 0..100 {
        let (id, _) = call(&mut balancer, &mut random, now, |_| Verdict::Good);
        assert_eq!(id, ids[1]);
    }
    // It turns away what was under way to it.
    for picked in calls {
        let verdict = bad_if(picked.id() == ids[0]);
        balancer.end(picked, verdict, now, 0);
    }
    balancer.connected(ids[0], now);
    let first = balancer.pick(&[ids[1]], now, 0).expect("endpoints");
    assert_eq!((first.id(), first.is_probe()), (ids[0], false));
}

#[test]
fn one_that_drains_is_worse_than_one_that_fails_and_better_than_nothing() {
    let mut random = SplitMix::new(12);
    let (mut balancer, ids) = balancer(Choice::PerRequest, &[1, 1]);
    let now = Instant::now();
    balancer.draining(ids[0]);
    eject(&mut balancer, &mut random, now, ids[1]);
    let (id, _) = call(&mut balancer, &mut random, now, |_| Verdict::Bad);
    assert_eq!(id, ids[1]);
    balancer.draining(ids[1]);
    assert!(balancer.pick(&[], now, 0).is_some());
}

#[test]
fn a_new_connection_makes_the_probe_due() {
    let mut random = SplitMix::new(13);
    let (mut balancer, ids) = balancer(Choice::PerRequest, &[1, 1]);
    let now = Instant::now();
    eject(&mut balancer, &mut random, now, ids[0]);
    balancer.connected(ids[0], now);
    let went = call(&mut balancer, &mut random, now, |_| Verdict::Good);
    assert_eq!(went, (ids[0], true));
}

#[test]
fn what_was_tried_is_passed_over_unless_all_were() {
    let (mut balancer, ids) = balancer(Choice::PerRequest, &[1, 200]);
    let now = Instant::now();
    let mut random = SplitMix::new(14);
    for _ in 0..100 {
        let picked = balancer
            .pick(&[ids[1]], now, random.next())
            .expect("endpoints");
        assert_eq!(picked.id(), ids[0]);
        balancer.end(picked, Verdict::Good, now, 0);
    }
    assert!(balancer.pick(&ids, now, 0).is_some());
}

#[test]
fn a_good_endpoint_is_tried_twice_before_an_ejected_one() {
    let mut random = SplitMix::new(15);
    let (mut balancer, ids) = balancer(Choice::PerRequest, &[1, 1]);
    let now = Instant::now();
    eject(&mut balancer, &mut random, now, ids[0]);
    let picked = balancer.pick(&[ids[1]], now, 0).expect("endpoints");
    assert_eq!(picked.id(), ids[1]);
}

#[test]
fn a_sticky_client_stays_until_its_endpoint_fails_and_does_not_come_back() {
    let mut random = SplitMix::new(16);
    let (mut balancer, ids) = balancer(Choice::PerClient, &[1; 8]);
    let mut now = Instant::now();
    let (home, _) = call(&mut balancer, &mut random, now, |_| Verdict::Good);
    let calls = spread(&mut balancer, &mut random, now, 100);
    assert_eq!(calls, BTreeMap::from([(home, 100)]));
    eject(&mut balancer, &mut random, now, home);
    let (next, _) = call(&mut balancer, &mut random, now, |_| Verdict::Good);
    assert_ne!(next, home);
    now += 10 * SECOND;
    let calls = spread(&mut balancer, &mut random, now, 100);
    assert_eq!(calls, BTreeMap::from([(next, 100)]));
    balancer.draining(next);
    let (third, _) = call(&mut balancer, &mut random, now, |_| Verdict::Good);
    assert_ne!(third, next);
    assert!(ids.contains(&third));
}

#[test]
fn sticky_clients_together_use_all_endpoints() {
    let mut random = SplitMix::new(17);
    let mut homes = BTreeMap::<EndpointId, usize>::new();
    for _ in 0..1_000 {
        let (mut balancer, _) = balancer(Choice::PerClient, &[1; 4]);
        let (home, _) = call(&mut balancer, &mut random, Instant::now(), |_| {
            Verdict::Good
        });
        *homes.entry(home).or_default() += 1;
    }
    assert_eq!(homes.len(), 4);
    assert!(
        homes.values().all(|count| (180..320).contains(count)),
        "{homes:?}"
    );
}

#[test]
fn an_endpoint_that_leaves_the_record_takes_no_calls_and_departs_when_idle() {
    let mut random = SplitMix::new(18);
    let (mut balancer, ids) = balancer(Choice::PerRequest, &[1, 1]);
    let now = Instant::now();
    let under_way = balancer.pick(&[ids[1]], now, 0).expect("endpoints");
    balancer.update(&endpoints(&[1, 1])[1..]);
    assert_eq!(balancer.take_departed(), []);
    let calls = spread(&mut balancer, &mut random, now, 100);
    assert_eq!(calls, BTreeMap::from([(ids[1], 100)]));
    balancer.end(under_way, Verdict::Good, now, 0);
    assert_eq!(balancer.take_departed(), [ids[0]]);
    assert_eq!(balancer.endpoint(ids[0]), None);
    assert_eq!(balancer.take_departed(), []);
}

#[test]
fn what_is_known_of_an_endpoint_survives_a_new_record_that_names_it() {
    let mut random = SplitMix::new(19);
    let (mut balancer, ids) = balancer(Choice::PerRequest, &[1, 1]);
    let now = Instant::now();
    eject(&mut balancer, &mut random, now, ids[0]);
    let mut record = endpoints(&[1, 1, 1]);
    record[0].weight = std::num::NonZeroU8::new(9).expect("not zero");
    balancer.update(&record);
    let listed: Vec<_> = balancer.listed().map(|(id, _)| id).collect();
    assert_eq!(listed[..2], ids);
    let weight = balancer
        .endpoint(ids[0])
        .map(|endpoint| endpoint.weight.get());
    assert_eq!(weight, Some(9));
    let calls = spread(&mut balancer, &mut random, now, 1_000);
    assert_eq!(calls.get(&ids[0]), None, "still ejected");
}

#[test]
fn the_same_address_under_another_key_is_another_endpoint() {
    let mut random = SplitMix::new(20);
    let (mut balancer, ids) = balancer(Choice::PerRequest, &[1]);
    let now = Instant::now();
    eject(&mut balancer, &mut random, now, ids[0]);
    let mut moved = endpoints(&[1]);
    moved[0].key_id = sealmoot_crypto::signature::KeyId::from_bytes([77; 32]);
    balancer.update(&moved);
    let picked = balancer.pick(&[], now, 0).expect("an endpoint");
    assert!(picked.id() != ids[0] && !picked.is_probe());
    assert_eq!(balancer.take_departed(), [ids[0]]);
}

#[test]
fn verdicts_speak_of_the_endpoint_and_not_of_the_call() {
    use Execution::{Executed, MaybeExecuted, NotSent, NotStarted};
    assert_eq!(Verdict::of(&Ok(())), Verdict::Good);
    for (code, execution, verdict) in [
        (Code::Unavailable, NotSent, Verdict::Bad),
        (Code::Unavailable, NotStarted, Verdict::Bad),
        (Code::Unavailable, MaybeExecuted, Verdict::Bad),
        (Code::Unavailable, Executed, Verdict::Good),
        (Code::NotFound, Executed, Verdict::Good),
        (Code::ResourceExhausted, NotStarted, Verdict::Good),
        (Code::Unimplemented, NotStarted, Verdict::Good),
        (Code::ResourceExhausted, NotSent, Verdict::Silent),
        (Code::DeadlineExceeded, MaybeExecuted, Verdict::Silent),
        (Code::DeadlineExceeded, NotSent, Verdict::Silent),
        (Code::Cancelled, MaybeExecuted, Verdict::Silent),
    ] {
        let outcome: Result<(), _> = Err(Status::new(code, execution, ""));
        assert_eq!(Verdict::of(&outcome), verdict, "{code} {execution}");
    }
}

/// Anything that can happen, in any order; what must hold holds throughout.
#[test]
fn no_course_of_events_breaks_a_promise() {
    for seed in 0..300 {
        let mut random = SplitMix::new(seed);
        let choice = [Choice::PerRequest, Choice::PerClient][random.index(2)];
        let (mut balancer, _) = balancer(choice, &[1, 2, 3]);
        let mut now = Instant::now();
        let mut under_way: Vec<Picked> = Vec::new();
        for _ in 0..400 {
            match random.index(12) {
                0..=4 => {
                    let tried: Vec<_> = balancer.listed().map(|(id, _)| id).collect();
                    let tried = &tried[..random.index(tried.len() + 1)];
                    let picked = balancer.pick(tried, now, random.next());
                    let picked = picked.expect("one is listed always");
                    check_pick(&balancer, &picked, now, seed);
                    under_way.push(picked);
                }
                5..=8 if !under_way.is_empty() => {
                    let picked = under_way.swap_remove(random.index(under_way.len()));
                    let verdict = [Verdict::Good, Verdict::Bad, Verdict::Bad, Verdict::Silent]
                        [random.index(4)];
                    balancer.end(picked, verdict, now, random.next());
                }
                9 => now += Duration::from_millis(random.next() % 3_000),
                10 => {
                    let count = 1 + random.index(4);
                    balancer.update(&endpoints(&[1, 2, 3, 4])[4 - count..]);
                    balancer.take_departed();
                }
                _ => {
                    let ids: Vec<_> = balancer.listed().map(|(id, _)| id).collect();
                    let id = ids[random.index(ids.len())];
                    if random.index(2) == 0 {
                        balancer.draining(id);
                    } else {
                        balancer.connected(id, now);
                    }
                }
            }
            let in_flight: usize = balancer.slots.iter().map(|slot| slot.in_flight).sum();
            assert_eq!(in_flight, under_way.len(), "seed {seed}");
        }
        for picked in under_way {
            balancer.end(picked, Verdict::Silent, now, 0);
        }
        let probes: u32 = balancer.slots.iter().map(|slot| slot.probes).sum();
        assert_eq!(probes, 0, "seed {seed}");
    }
}

fn check_pick(balancer: &Balancer, picked: &Picked, now: Instant, seed: u64) {
    let slot = |id| balancer.slots.iter().find(|slot| slot.id == id);
    let slot = slot(picked.id()).expect("picked of those known");
    assert!(slot.is_listed, "seed {seed}");
    let another_is_good = balancer.slots.iter().any(Slot::is_good);
    if another_is_good {
        assert!(!slot.is_draining, "seed {seed}");
        if slot.is_ejected() {
            assert!(slot.probe_at() <= Some(now), "seed {seed}: before its time");
        }
    }
}

#[test]
fn a_second_attempt_elsewhere_does_not_move_a_sticky_client() {
    let mut random = SplitMix::new(23);
    let (mut balancer, _) = balancer(Choice::PerClient, &[1; 4]);
    let now = Instant::now();
    let (home, _) = call(&mut balancer, &mut random, now, |_| Verdict::Good);
    // A hedge, or a retry behind a busy answer: home is as good as before.
    let beside = balancer.pick(&[home], now, random.next()).expect("others");
    assert_ne!(beside.id(), home);
    balancer.end(beside, Verdict::Good, now, random.next());
    let calls = spread(&mut balancer, &mut random, now, 20);
    assert_eq!(calls, BTreeMap::from([(home, 20)]));
}
