use super::*;

const VALIDITY: Duration = Duration::from_secs(90);
const THIRD: Duration = Duration::from_secs(30);
const UNIX_MS: u64 = 1_000_000;

/// A renewal with two services, and time that passes by hand.
struct Trial {
    renewal: Renewal,
    start: Instant,
    passed: Duration,
}

fn trial() -> Trial {
    Trial {
        renewal: Renewal::new(2, VALIDITY),
        start: Instant::now(),
        passed: Duration::ZERO,
    }
}

impl Trial {
    fn now(&self) -> Instant {
        self.start + self.passed
    }

    fn step(&mut self) -> Step {
        let unix_ms = UNIX_MS + u64::try_from(self.passed.as_millis()).expect("short");
        self.step_at(unix_ms)
    }

    fn step_at(&mut self, unix_ms: u64) -> Step {
        let instant = self.now();
        self.renewal.step(Moment { instant, unix_ms })
    }

    fn ended(&mut self, service: usize, serial: u64, outcome: Outcome, random: u64) -> bool {
        let now = self.now();
        self.renewal.ended(service, serial, outcome, now, random)
    }

    /// Up to the first wait, with everything taken.
    fn settled(&mut self) -> u64 {
        let Step::Sign { serial, .. } = self.step() else {
            panic!("nothing was due");
        };
        for service in 0..2 {
            assert_eq!(self.step(), Step::Publish { service, serial });
        }
        for service in 0..2 {
            assert!(self.ended(service, serial, Outcome::Taken, 0));
        }
        serial
    }
}

fn sign(serial: u64) -> Step {
    Step::Sign {
        serial,
        valid_until_ms: UNIX_MS + 90_000,
    }
}

#[test]
fn a_record_is_signed_at_once_and_published_everywhere() {
    let mut trial = trial();
    assert_eq!(trial.step(), sign(UNIX_MS));
    for service in 0..2 {
        let publish = Step::Publish {
            service,
            serial: UNIX_MS,
        };
        assert_eq!(trial.step(), publish);
    }
    let until = trial.start + THIRD;
    assert_eq!(trial.step(), Step::Wait { until });
}

#[test]
fn it_is_signed_anew_after_a_third_of_its_validity() {
    let mut trial = trial();
    let serial = trial.settled();
    trial.passed = THIRD - Duration::from_millis(1);
    let until = trial.start + THIRD;
    assert_eq!(trial.step(), Step::Wait { until });
    trial.passed = THIRD;
    let renewed = Step::Sign {
        serial: serial + 30_000,
        valid_until_ms: UNIX_MS + 120_000,
    };
    assert_eq!(trial.step(), renewed);
}

#[test]
fn serials_go_up_though_the_clock_goes_back() {
    let mut trial = trial();
    let serial = trial.settled();
    trial.renewal.renew();
    assert_eq!(trial.step(), sign(serial + 1));
    trial.renewal.renew();
    let stepped = trial.step_at(UNIX_MS - 500_000);
    assert!(matches!(stepped, Step::Sign { serial: next, .. } if next == serial + 2));
}

#[test]
fn a_clock_before_1970_signs_nothing() {
    let mut trial = trial();
    let until = trial.start + PUBLISH_RETRY_MAX;
    assert_eq!(trial.step_at(u64::MAX), Step::Wait { until });
    trial.passed = PUBLISH_RETRY_MAX;
    let Step::Sign { serial, .. } = trial.step() else {
        panic!("the clock is right again");
    };
    assert!(serial < u64::MAX);
}

#[test]
fn a_service_that_failed_is_asked_again_ever_later_and_the_other_is_not() {
    let mut trial = trial();
    assert_eq!(trial.step(), sign(UNIX_MS));
    let serial = UNIX_MS;
    for service in 0..2 {
        assert_eq!(trial.step(), Step::Publish { service, serial });
    }
    assert!(trial.ended(0, serial, Outcome::Taken, 0));
    let mut pause = PUBLISH_RETRY_FIRST;
    // Six times, half of each pause, stay within the third of the validity.
    for _ in 0..6 {
        assert!(trial.ended(1, serial, Outcome::Failed, 0));
        let until = trial.now() + pause / 2;
        assert_eq!(trial.step(), Step::Wait { until });
        trial.passed += pause / 2;
        let again = Step::Publish { service: 1, serial };
        assert_eq!(trial.step(), again);
        pause *= 2;
    }
}

#[test]
fn pauses_are_drawn_between_half_and_whole() {
    // The whole itself is never drawn.
    let longest = PUBLISH_RETRY_FIRST - Duration::from_nanos(1);
    for (random, pause) in [(0, PUBLISH_RETRY_FIRST / 2), (u64::MAX, longest)] {
        let mut trial = trial();
        assert_eq!(trial.step(), sign(UNIX_MS));
        let first = Step::Publish {
            service: 0,
            serial: UNIX_MS,
        };
        assert_eq!(trial.step(), first);
        assert!(trial.ended(0, UNIX_MS, Outcome::Failed, random));
        let Owed::Due(at) = trial.renewal.services[0].standing else {
            panic!("it is due");
        };
        assert_eq!(at - trial.start, pause);
    }
}

#[test]
fn pauses_do_not_grow_without_end() {
    let mut service = Service {
        standing: Owed::Nothing,
        failures: 1000,
    };
    let now = Instant::now();
    service.failed(now, u64::MAX);
    let longest = PUBLISH_RETRY_MAX - Duration::from_nanos(1);
    assert_eq!(service.standing, Owed::Due(now + longest));
}

#[test]
fn a_change_is_published_at_once_also_where_an_attempt_is_under_way() {
    let mut trial = trial();
    assert_eq!(trial.step(), sign(UNIX_MS));
    for service in 0..2 {
        let serial = UNIX_MS;
        assert_eq!(trial.step(), Step::Publish { service, serial });
    }
    trial.renewal.renew();
    let serial = UNIX_MS + 1;
    assert_eq!(trial.step(), sign(serial));
    for service in 0..2 {
        assert_eq!(trial.step(), Step::Publish { service, serial });
    }
}

#[test]
fn what_became_of_an_older_record_says_nothing() {
    let mut trial = trial();
    let old = trial.settled();
    trial.renewal.renew();
    assert_eq!(trial.step(), sign(old + 1));
    for outcome in [
        Outcome::Taken,
        Outcome::Failed,
        Outcome::Behind { floor: old + 7 },
    ] {
        assert!(!trial.ended(0, old, outcome, 0));
    }
    let still_due = Step::Publish {
        service: 0,
        serial: old + 1,
    };
    assert_eq!(trial.step(), still_due);
    assert!(
        !trial.ended(7, old + 1, Outcome::Taken, 0),
        "no such service"
    );
}

#[test]
fn a_record_that_is_newer_elsewhere_is_overtaken() {
    let mut trial = trial();
    let serial = trial.settled();
    assert!(trial.ended(1, serial, Outcome::Behind { floor: serial + 40 }, 0));
    assert_eq!(trial.step(), sign(serial + 41));
}

#[test]
fn an_older_record_elsewhere_drives_no_serial() {
    let mut trial = trial();
    let serial = trial.settled();
    let floor = serial - 1;
    assert!(trial.ended(1, serial, Outcome::Behind { floor }, 0));
    let until = trial.now() + PUBLISH_RETRY_FIRST / 2;
    assert_eq!(trial.step(), Step::Wait { until });
}

#[test]
fn behind_the_last_serial_nothing_is_signed() {
    let mut trial = trial();
    let serial = trial.settled();
    assert!(trial.ended(0, serial, Outcome::Behind { floor: u64::MAX }, 0));
    assert!(matches!(trial.step(), Step::Wait { .. }));
}

#[test]
fn a_record_that_was_signed_by_a_clock_far_behind_is_signed_anew_when_it_is_set() {
    let mut trial = trial();
    let serial = trial.settled();
    // A time server has answered: for all readers the record is over.
    trial.passed += Duration::from_secs(1);
    let set = UNIX_MS + 3_600_000;
    let Step::Sign {
        serial: next,
        valid_until_ms,
    } = trial.step_at(set)
    else {
        panic!("the name is gone for a third of the validity");
    };
    assert!(next > serial);
    assert_eq!(valid_until_ms, set + 90_000);
    // Once, though the clock goes on.
    for service in 0..2 {
        let publish = Step::Publish {
            service,
            serial: next,
        };
        assert_eq!(trial.step_at(set + 1), publish);
    }
    assert!(matches!(trial.step_at(set + 1), Step::Wait { .. }));
}

#[test]
fn a_publisher_that_waits_looks_at_the_clock_now_and_then() {
    let mut renewal = Renewal::new(1, Duration::from_secs(24 * 3600));
    let instant = Instant::now();
    let now = Moment {
        instant,
        unix_ms: UNIX_MS,
    };
    let Step::Sign { serial, .. } = renewal.step(now) else {
        panic!("nothing was due");
    };
    assert_eq!(renewal.step(now), Step::Publish { service: 0, serial });
    assert!(renewal.ended(0, serial, Outcome::Taken, instant, 0));
    let Step::Wait { until } = renewal.step(now) else {
        panic!("nothing to do");
    };
    assert!(until <= instant + Duration::from_secs(60));
}
