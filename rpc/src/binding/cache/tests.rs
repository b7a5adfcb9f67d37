use super::*;
use crate::binding::record::NameRecord;
use crate::binding::record::tests::{name, plain, signer};

/// When everything begins; records of `plain` count for 60 s from then, with a time
/// to live of 10 s.
fn start() -> Moment {
    Moment {
        instant: Instant::now(),
        unix_ms: 1_000_000,
    }
}

impl Moment {
    fn after(self, seconds: f64) -> Self {
        let passed = Duration::from_secs_f64(seconds);
        let passed_ms = u64::try_from(passed.as_millis()).expect("short");
        Self {
            instant: self.instant + passed,
            unix_ms: self.unix_ms + passed_ms,
        }
    }
}

fn signed(record: NameRecord) -> Arc<VerifiedRecord> {
    Arc::new(record.sign(&signer(1)).expect("sound"))
}

fn record(serial: u64) -> Arc<VerifiedRecord> {
    signed(plain("a", serial))
}

fn down() -> ResolveError {
    ResolveError::Unavailable("down".to_owned())
}

/// A cache that has learnt serial 5 at the start.
fn filled(now: Moment) -> Cache {
    let mut cache = Cache::new();
    assert_eq!(cache.look_up(&name("a"), now), Lookup::Wait { ask: true });
    assert_eq!(cache.learnt(&name("a"), record(5), now, 0), Ok(()));
    cache
}

/// Serial, and whether to ask.
fn used(lookup: Lookup) -> Option<(u64, bool)> {
    match lookup {
        Lookup::Use { record, ask } => Some((record.record().serial, ask)),
        Lookup::Wait { .. } | Lookup::Failed(_) => None,
    }
}

#[test]
fn the_first_asks_and_the_others_wait_for_the_same_answer() {
    let (mut cache, now, a) = (Cache::new(), start(), name("a"));
    assert_eq!(cache.look_up(&a, now), Lookup::Wait { ask: true });
    assert_eq!(cache.look_up(&a, now), Lookup::Wait { ask: false });
    assert_eq!(cache.look_up(&name("b"), now), Lookup::Wait { ask: true });
}

#[test]
fn whoever_asks_and_is_never_heard_of_again_is_replaced() {
    let (mut cache, now, a) = (Cache::new(), start(), name("a"));
    assert_eq!(cache.look_up(&a, now), Lookup::Wait { ask: true });
    assert_eq!(
        cache.look_up(&a, now.after(4.9)),
        Lookup::Wait { ask: false }
    );
    assert_eq!(
        cache.look_up(&a, now.after(5.0)),
        Lookup::Wait { ask: true }
    );
}

#[test]
fn a_record_is_used_without_asking_until_shortly_before_its_end() {
    for (random, refresh) in [(0, 7.0), (u64::MAX, 9.0)] {
        let (now, a) = (start(), name("a"));
        let mut cache = Cache::new();
        let _asks = cache.look_up(&a, now);
        assert_eq!(cache.learnt(&a, record(5), now, random), Ok(()));
        let before = now.after(refresh - 0.01);
        assert_eq!(used(cache.look_up(&a, before)), Some((5, false)));
        let due = now.after(refresh);
        assert_eq!(used(cache.look_up(&a, due)), Some((5, true)));
        assert_eq!(used(cache.look_up(&a, due)), Some((5, false)));
    }
}

#[test]
fn a_record_that_is_doubted_is_used_and_asked_for_a_moment_after_it_was_learnt() {
    let (now, a) = (start(), name("a"));
    let mut cache = filled(now);
    cache.doubt(&a);
    cache.doubt(&name("never-looked-up"));
    // Half of it at least: the random number of the answer was nothing.
    let rest = DOUBT_REST.as_secs_f64() / 2.0;
    let before = now.after(rest - 0.001);
    assert_eq!(used(cache.look_up(&a, before)), Some((5, false)));
    let at = now.after(rest);
    assert_eq!(used(cache.look_up(&a, at)), Some((5, true)));
    // One question at a time, and the answer ends the doubt.
    assert_eq!(used(cache.look_up(&a, at)), Some((5, false)));
    assert_eq!(cache.learnt(&a, record(5), at, 0), Ok(()));
    let later = at.after(2.0 * rest);
    assert_eq!(used(cache.look_up(&a, later)), Some((5, false)));
    // A source that has failed rests as it does otherwise.
    cache.doubt(&a);
    assert_eq!(used(cache.look_up(&a, later)), Some((5, true)));
    cache.failed(&a, down(), later, u64::MAX);
    cache.doubt(&a);
    assert_eq!(used(cache.look_up(&a, later)), Some((5, false)));
}

#[test]
fn a_record_that_is_doubted_again_and_again_is_asked_for_ever_less_often() {
    let (now, a) = (start(), name("a"));
    let mut cache = filled(now);
    let (mut at, mut rests) = (0.0, Vec::new());
    for _ in 0..6 {
        // As often as a dead endpoint has it doubted.
        let asked = (0..)
            .map(|step| at + f64::from(step) * 0.05)
            .find(|moment| {
                cache.doubt(&a);
                used(cache.look_up(&a, now.after(*moment))).is_some_and(|(_, ask)| ask)
            });
        let asked = asked.expect("some time");
        rests.push(asked - at);
        at = asked;
        assert_eq!(cache.learnt(&a, record(5), now.after(at), 0), Ok(()));
    }
    let doubled = [0.25, 0.5, 1.0, 2.0, 4.0, 4.0];
    for (rest, expected) in rests.iter().zip(doubled) {
        assert!((rest - expected).abs() < 0.06, "{rests:?}");
    }
    // Something newer: whoever doubts that is heard soon.
    assert_eq!(cache.learnt(&a, record(6), now.after(at), 0), Ok(()));
    cache.doubt(&a);
    let soon = now.after(at + 0.26);
    assert_eq!(used(cache.look_up(&a, soon)), Some((6, true)));
}

#[test]
fn a_refresh_begins_the_time_to_live_anew() {
    let (now, a) = (start(), name("a"));
    let mut cache = filled(now);
    let later = now.after(8.0);
    assert_eq!(used(cache.look_up(&a, later)), Some((5, true)));
    assert_eq!(cache.learnt(&a, record(6), later, 0), Ok(()));
    assert_eq!(used(cache.look_up(&a, now.after(14.9))), Some((6, false)));
    assert_eq!(used(cache.look_up(&a, now.after(15.0))), Some((6, true)));
}

#[test]
fn after_a_long_silence_the_source_is_asked_before_the_record_is_used() {
    let (now, a) = (start(), name("a"));
    let mut cache = filled(now);
    assert_eq!(
        cache.look_up(&a, now.after(10.0)),
        Lookup::Wait { ask: true }
    );
    assert_eq!(
        cache.look_up(&a, now.after(10.0)),
        Lookup::Wait { ask: false }
    );
}

#[test]
fn while_the_source_fails_the_record_is_used_until_its_signers_time_is_over() {
    let (now, a) = (start(), name("a"));
    let mut cache = filled(now);
    let mut asked = 0;
    for tenths in 80..600_u32 {
        let moment = now.after(f64::from(tenths) / 10.0);
        let lookup = cache.look_up(&a, moment);
        let (serial, ask) = used(lookup).expect("still used");
        assert_eq!(serial, 5);
        if ask {
            asked += 1;
            cache.failed(&a, down(), moment, u64::MAX);
        }
    }
    // Ever less often: ten seconds apart in the end.
    assert!((8..=14).contains(&asked), "{asked}");
    let end = now.after(60.0);
    assert_eq!(used(cache.look_up(&a, end)), None);
}

#[test]
fn a_name_that_is_not_known_any_more_is_used_until_its_record_ends() {
    let (now, a) = (start(), name("a"));
    let mut cache = filled(now);
    let _asks = cache.look_up(&a, now.after(8.0));
    cache.failed(&a, ResolveError::NotFound(a.clone()), now.after(8.0), 0);
    assert!(used(cache.look_up(&a, now.after(30.0))).is_some());
}

#[test]
fn nothing_is_used_beyond_the_signers_time_though_the_time_to_live_is_longer() {
    let (now, a) = (start(), name("a"));
    let long = NameRecord {
        ttl_seconds: 3600,
        ..plain("a", 5)
    };
    let mut cache = Cache::new();
    let _asks = cache.look_up(&a, now);
    assert_eq!(cache.learnt(&a, signed(long), now, 0), Ok(()));
    assert!(used(cache.look_up(&a, now.after(59.9))).is_some());
    assert_eq!(
        cache.look_up(&a, now.after(60.0)),
        Lookup::Wait { ask: true }
    );
}

#[test]
fn a_clock_that_is_set_back_revives_nothing() {
    let (now, a) = (start(), name("a"));
    // A time to live so long that only the signer's time can end the record.
    let filled = || {
        let long = NameRecord {
            ttl_seconds: 3600,
            ..plain("a", 5)
        };
        let mut cache = Cache::new();
        let _asks = cache.look_up(&a, now);
        assert_eq!(cache.learnt(&a, signed(long), now, 0), Ok(()));
        cache
    };
    let at = |instant: Moment, wall: Moment| Moment {
        instant: instant.instant,
        unix_ms: wall.unix_ms,
    };
    let end = now.after(60.0);
    // Back before the end: the other clock knows better.
    let mut cache = filled();
    assert!(used(cache.look_up(&a, at(now.after(59.9), now))).is_some());
    assert_eq!(used(cache.look_up(&a, at(end, now))), None);
    // Ahead and back again: what is over stays over.
    let mut cache = filled();
    assert!(used(cache.look_up(&a, at(now, now.after(59.9)))).is_some());
    assert_eq!(used(cache.look_up(&a, at(now, end))), None);
    assert_eq!(used(cache.look_up(&a, now)), None);
}

#[test]
fn a_name_that_cannot_be_resolved_is_not_asked_for_at_once_again() {
    let (now, a) = (start(), name("a"));
    let mut cache = Cache::new();
    let mut moment = now;
    for pause in [0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 10.0, 10.0] {
        assert_eq!(
            cache.look_up(&a, moment),
            Lookup::Wait { ask: true },
            "{pause}"
        );
        cache.failed(&a, down(), moment, 0);
        let before = moment.after(pause * 0.49);
        assert_eq!(cache.look_up(&a, before), Lookup::Failed(down()), "{pause}");
        moment = moment.after(pause * 0.5);
    }
}

#[test]
fn an_answer_forgets_the_failures() {
    let (now, a) = (start(), name("a"));
    let mut cache = filled(now);
    for _ in 0..10 {
        cache.failed(&a, down(), now, 0);
    }
    assert_eq!(cache.learnt(&a, record(6), now, 0), Ok(()));
    assert_eq!(used(cache.look_up(&a, now.after(8.0))), Some((6, true)));
    cache.failed(&a, down(), now.after(8.0), 0);
    assert_eq!(used(cache.look_up(&a, now.after(8.1))), Some((6, true)));
}

/// What is refused changes nothing, and counts as a failure of the source.
fn refused(record: Arc<VerifiedRecord>, error: &RecordError) {
    let (now, a) = (start(), name("a"));
    let mut cache = filled(now);
    let later = now.after(8.0);
    assert_eq!(used(cache.look_up(&a, later)), Some((5, true)));
    assert_eq!(cache.learnt(&a, record, later, 0).as_ref(), Err(error));
    assert_eq!(used(cache.look_up(&a, later)), Some((5, false)));
    assert_eq!(used(cache.look_up(&a, now.after(10.0))), Some((5, true)));
}

#[test]
fn an_older_record_is_refused() {
    let error = RecordError::OlderSerial { found: 4, floor: 5 };
    refused(record(4), &error);
}

#[test]
fn another_record_with_a_serial_that_was_seen_is_refused() {
    let other = NameRecord {
        ttl_seconds: 11,
        ..plain("a", 5)
    };
    refused(signed(other), &RecordError::SerialReused { serial: 5 });
}

#[test]
fn a_record_of_another_name_is_refused() {
    let error = RecordError::OtherName {
        wanted: name("a"),
        found: name("b"),
    };
    refused(signed(plain("b", 9)), &error);
}

#[test]
fn an_expired_record_is_refused() {
    let expired = NameRecord {
        valid_until_ms: start().unix_ms + 8_000,
        ..plain("a", 9)
    };
    refused(signed(expired), &RecordError::Expired);
}

#[test]
fn an_older_record_is_refused_after_the_newer_has_expired() {
    let (now, a) = (start(), name("a"));
    let mut cache = filled(now);
    let end = now.after(60.0);
    assert_eq!(cache.look_up(&a, end), Lookup::Wait { ask: true });
    let older = NameRecord {
        valid_until_ms: u64::MAX,
        ..plain("a", 4)
    };
    let error = RecordError::OlderSerial { found: 4, floor: 5 };
    assert_eq!(cache.learnt(&a, signed(older), end, 0), Err(error.clone()));
    assert_eq!(cache.look_up(&a, end), Lookup::Failed(error.into()));
}

#[test]
fn a_record_that_counts_for_ever_overflows_nothing() {
    let (now, a) = (start(), name("a"));
    let lasting = NameRecord {
        valid_until_ms: u64::MAX,
        ttl_seconds: crate::limits::binding::TTL_SECONDS_MAX,
        ..plain("a", u64::MAX)
    };
    let mut cache = Cache::new();
    let _asks = cache.look_up(&a, now);
    assert_eq!(cache.learnt(&a, signed(lasting), now, u64::MAX), Ok(()));
    assert!(used(cache.look_up(&a, now.after(60_000.0))).is_some());
}

#[test]
fn names_beyond_the_limit_are_refused_and_the_others_stay() {
    let (now, a) = (start(), name("a"));
    let mut cache = filled(now);
    for index in 1..CACHE_NAMES_MAX {
        let lookup = cache.look_up(&name(&format!("n{index}")), now);
        assert_eq!(lookup, Lookup::Wait { ask: true });
    }
    let refused = Lookup::Failed(ResolveError::TooManyNames);
    assert_eq!(cache.look_up(&name("more"), now), refused);
    assert!(used(cache.look_up(&a, now)).is_some());
}

#[test]
fn what_nobody_looked_up_is_not_held() {
    let (now, a) = (start(), name("a"));
    let mut cache = Cache::new();
    assert_eq!(cache.learnt(&a, record(5), now, 0), Ok(()));
    cache.failed(&a, down(), now, 0);
    assert_eq!(cache.look_up(&a, now), Lookup::Wait { ask: true });
}

#[test]
fn a_source_that_never_answers_holds_nobody_up_who_has_a_record_that_counts() {
    let (now, a) = (start(), name("a"));
    let mut cache = filled(now);
    // The last use in time: asked, and no answer comes.
    assert_eq!(used(cache.look_up(&a, now.after(9.5))), Some((5, true)));
    // The time to live is over. Who asks for a call's sake has a second at most.
    let lookup = cache.look_up(&a, now.after(10.5));
    assert_eq!(used(lookup), Some((5, false)));
}

#[test]
fn names_that_nobody_knows_do_not_fill_the_cache_for_good() {
    let (mut cache, now) = (Cache::new(), start());
    for number in 0..CACHE_NAMES_MAX {
        let unknown = name(&format!("n{number}"));
        assert_eq!(cache.look_up(&unknown, now), Lookup::Wait { ask: true });
        let error = ResolveError::NotFound(unknown.clone());
        cache.failed(&unknown, error, now, 0);
    }
    let later = now.after(3600.0);
    assert_eq!(
        cache.look_up(&name("known"), later),
        Lookup::Wait { ask: true }
    );
}
