use super::*;

use crate::splitmix::SplitMix;

fn limits() -> Limits {
    Limits {
        connections_max: 4,
        connections_per_identity_max: 3,
        calls_per_identity_max: 40,
        streams_per_identity_max: 5,
        bytes_per_identity_max: 100_000,
        cancellations_per_second_max: 10,
        ..Limits::default()
    }
}

fn identity(number: u8) -> KeyId {
    KeyId::from_bytes([number; 32])
}

fn calls(calls: usize) -> Usage {
    Usage {
        calls,
        ..Usage::default()
    }
}

fn bytes(bytes: usize) -> Usage {
    Usage {
        bytes,
        ..Usage::default()
    }
}

fn streams(streams: usize) -> Usage {
    Usage {
        calls: streams,
        streams,
        ..Usage::default()
    }
}

fn membership(quotas: &Quotas, number: u8) -> Membership {
    quotas.enter(identity(number)).expect("room")
}

impl Quotas {
    /// What an identity has taken: connections, and the rest.
    pub(crate) fn totals(&self, identity: KeyId) -> (usize, Usage) {
        let accounts = self.accounts();
        let Some(account) = accounts.get(&identity) else {
            return Default::default();
        };
        let load = |total: &AtomicUsize| total.load(Ordering::Relaxed);
        let usage = Usage {
            calls: load(&account.calls),
            streams: load(&account.streams),
            bytes: load(&account.bytes),
        };
        (load(&account.connections), usage)
    }
}

fn totals(quotas: &Quotas, number: u8) -> (usize, Usage) {
    quotas.totals(identity(number))
}

#[test]
fn a_connection_beyond_those_of_its_identity_is_refused() {
    let quotas = Quotas::new(&limits());
    let mut open: Vec<_> = (0..3).map(|_| membership(&quotas, 1)).collect();
    assert!(matches!(quotas.enter(identity(1)), Err(TooManyConnections)));
    assert_eq!(totals(&quotas, 1).0, 3, "a refusal counts for nothing");
    drop(membership(&quotas, 2));
    open.pop();
    open.push(membership(&quotas, 1));
    assert!(quotas.enter(identity(1)).is_err());
}

#[test]
fn calls_beyond_those_of_their_identity_are_refused_whichever_connection_brings_them() {
    let quotas = Quotas::new(&limits());
    let (first, second) = (membership(&quotas, 1), membership(&quotas, 1));
    let (mut first, mut second) = (first.share(), second.share());
    first.cover(calls(25)).expect("room");
    first.settle(calls(25));
    second
        .cover(calls(15))
        .expect("the rest, though it is no whole step");
    assert_eq!(second.cover(calls(16)), Err(Shortage::Calls));
    assert_eq!(first.cover(calls(26)), Err(Shortage::Calls));
    let other = membership(&quotas, 2);
    other.share().cover(calls(40)).expect("another identity");
    first.settle(calls(24));
    second.cover(calls(16)).expect("one is free again");
}

#[test]
fn streams_beyond_those_of_their_identity_are_refused() {
    let quotas = Quotas::new(&limits());
    let member = membership(&quotas, 1);
    let (mut first, mut second) = (member.share(), member.share());
    first.cover(streams(3)).expect("room");
    second.cover(streams(2)).expect("room");
    assert_eq!(second.cover(streams(3)), Err(Shortage::Streams));
    second.cover(calls(3)).expect("a call without a stream");
}

#[test]
fn bytes_beyond_those_of_their_identity_are_refused() {
    let quotas = Quotas::new(&limits());
    let member = membership(&quotas, 1);
    let (mut first, mut second) = (member.share(), member.share());
    first.cover(bytes(99_000)).expect("room");
    first.settle(bytes(99_000));
    assert_eq!(second.cover(bytes(1_001)), Err(Shortage::Bytes));
    second.cover(bytes(1_000)).expect("all of it");
    assert!(!second.is_beyond_bytes());
}

#[test]
fn a_length_near_the_end_of_all_numbers_is_refused() {
    let quotas = Quotas::new(&limits());
    let mut share = membership(&quotas, 1).share();
    share.cover(bytes(1)).expect("room");
    assert_eq!(share.cover(bytes(usize::MAX - 1)), Err(Shortage::Bytes));
}

#[test]
fn what_has_to_be_held_is_counted_beyond_the_quota_and_refuses_others() {
    let quotas = Quotas::new(&limits());
    let member = membership(&quotas, 1);
    let (mut first, mut second) = (member.share(), member.share());
    first.settle(bytes(100_001));
    assert!(first.is_beyond_bytes() && second.is_beyond_bytes());
    assert_eq!(second.cover(bytes(1)), Err(Shortage::Bytes));
    first.settle(bytes(0));
    assert!(!second.is_beyond_bytes());
    second.cover(bytes(1)).expect("room again");
}

#[test]
fn a_refused_call_leaves_nothing_taken() {
    let quotas = Quotas::new(&limits());
    let mut share = membership(&quotas, 1).share();
    let wanted = Usage {
        calls: 1,
        streams: 1,
        bytes: 100_001,
    };
    assert_eq!(share.cover(wanted), Err(Shortage::Bytes));
    share.settle(Usage::default());
    assert_eq!(totals(&quotas, 1).1, Usage::default());
}

#[test]
fn between_batches_exactly_what_is_held_is_taken() {
    let quotas = Quotas::new(&limits());
    let mut share = membership(&quotas, 1).share();
    share.cover(calls(1)).expect("room");
    assert_eq!(totals(&quotas, 1).1.calls, CALLS_STEP, "in advance");
    share.settle(calls(1));
    assert_eq!(totals(&quotas, 1).1, calls(1));
    drop(share);
    assert_eq!(totals(&quotas, 1).1, Usage::default());
}

#[test]
fn a_permit_counts_until_its_last_holder_is_gone() {
    let quotas = Quotas::new(&limits());
    let member = membership(&quotas, 1);
    let mut share = member.share();
    let mut held = calls(1);
    held.bytes = 70;
    share.cover(held).expect("room");
    let permit = Arc::new(share.detach(70).expect("an account"));
    share.settle(Usage::default());
    assert_eq!(totals(&quotas, 1).1, held, "the call's own place, once");
    let work = Arc::clone(&permit);
    drop((permit, share, member));
    assert_eq!(totals(&quotas, 1), (0, held), "beyond call and connection");
    drop(work);
    assert_eq!(totals(&quotas, 1).1, Usage::default());
}

#[test]
fn work_behind_the_end_of_its_call_is_counted_though_the_quota_is_full() {
    let quotas = Quotas::new(&limits());
    let mut share = membership(&quotas, 1).share();
    share.cover(calls(40)).expect("room");
    let late = share.late().expect("an account");
    assert_eq!(totals(&quotas, 1).1.calls, 41);
    share.settle(calls(39));
    assert_eq!(share.cover(calls(40)), Err(Shortage::Calls));
    drop(late);
    share.cover(calls(40)).expect("room again");
}

#[test]
fn without_an_account_nothing_is_refused_or_counted() {
    let mut share = Share::default();
    let all = Usage {
        calls: usize::MAX,
        streams: usize::MAX,
        bytes: usize::MAX,
    };
    assert_eq!(share.cover(all), Ok(()));
    share.settle(all);
    assert!(!share.is_beyond_bytes() && share.cancel(Instant::now()));
    assert!(share.detach(1).is_none() && share.late().is_none());
}

#[test]
fn cancellations_beyond_those_of_a_second_are_refused_over_all_connections() {
    let quotas = Quotas::new(&limits());
    let member = membership(&quotas, 1);
    let (first, second) = (member.share(), member.share());
    let now = Instant::now();
    for _ in 0..5 {
        assert!(first.cancel(now) && second.cancel(now));
    }
    assert!(!first.cancel(now) && !second.cancel(now));
    assert!(membership(&quotas, 2).share().cancel(now), "another's");
    let tenth = Duration::from_millis(100);
    let nearly = now + tenth - Duration::from_nanos(1);
    assert!(!first.cancel(nearly), "too early");
    assert!(first.cancel(now + tenth) && !second.cancel(now + tenth));
    let later = now + Duration::from_secs(100);
    let taken = (0..100).filter(|_| first.cancel(later)).count();
    assert_eq!(taken, 10, "no more is saved than of one second");
}

#[test]
fn who_comes_back_has_no_new_measure_of_cancellations() {
    let quotas = Quotas::new(&limits());
    let now = Instant::now();
    let share = membership(&quotas, 1).share();
    while share.cancel(now) {}
    drop(share);
    quotas.forget_unused(now);
    assert!(!membership(&quotas, 1).share().cancel(now));
    quotas.forget_unused(now + Duration::from_secs(1));
    assert!(quotas.accounts().is_empty(), "nothing to remember");
}

#[test]
fn accounts_in_use_are_not_forgotten() {
    let quotas = Quotas::new(&limits());
    let late = Instant::now() + Duration::from_secs(10);
    let member = membership(&quotas, 1);
    let permit = {
        let mut share = membership(&quotas, 2).share();
        share.cover(calls(1)).expect("room");
        share.detach(0).expect("an account")
    };
    drop(membership(&quotas, 3));
    quotas.forget_unused(late);
    assert_eq!(quotas.accounts().len(), 2);
    drop((member, permit));
    quotas.forget_unused(late);
    assert_eq!(quotas.accounts().len(), 0);
}

#[test]
fn keys_without_number_leave_a_bounded_number_of_accounts() {
    let quotas = Quotas::new(&limits());
    let stays = membership(&quotas, 255);
    for number in 0..200 {
        drop(membership(&quotas, number));
        assert!(quotas.accounts().len() <= 8);
    }
    drop(stays);
    assert_eq!(totals(&quotas, 255).0, 0);
    let accounts = quotas.accounts();
    assert!(accounts.contains_key(&identity(255)), "it was in use");
}

#[test]
fn threads_together_take_no_more_than_there_is() {
    let quotas = Quotas::new(&limits());
    let member = membership(&quotas, 1);
    let running = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let mut share = member.share();
                for round in 0..2_000 {
                    let wanted = 1 + round % 20;
                    if share.cover(calls(wanted)).is_ok() {
                        let all = running.fetch_add(wanted, Ordering::SeqCst) + wanted;
                        assert!(all <= 40, "{all} at a time");
                        running.fetch_sub(wanted, Ordering::SeqCst);
                    }
                    share.settle(Usage::default());
                }
            });
        }
    });
    assert_eq!(totals(&quotas, 1), (1, Usage::default()));
}

/// A program of random steps, against sums that are made anew after each.
struct Program {
    seed: u64,
    random: SplitMix,
    quotas: Quotas,
    connections: Vec<(u8, Membership)>,
    /// With what each holds, and whether that was settled.
    shares: Vec<(u8, Share, Usage, bool)>,
    permits: Vec<(u8, Permit)>,
}

impl Program {
    fn new(seed: u64) -> Self {
        Self {
            seed,
            random: SplitMix::new(seed),
            quotas: Quotas::new(&limits()),
            connections: Vec::new(),
            shares: Vec::new(),
            permits: Vec::new(),
        }
    }

    fn below(&mut self, end: usize) -> usize {
        self.random.index(end)
    }

    fn step(&mut self) {
        match self.below(10) {
            0 => self.connect(),
            1 if !self.connections.is_empty() => {
                let index = self.below(self.connections.len());
                self.connections.swap_remove(index);
            }
            2 if !self.permits.is_empty() => {
                let index = self.below(self.permits.len());
                self.permits.swap_remove(index);
            }
            3 if !self.shares.is_empty() => {
                let index = self.below(self.shares.len());
                self.shares.swap_remove(index);
            }
            4 => self.quotas.forget_unused(Instant::now()),
            _ if !self.shares.is_empty() => self.use_share(),
            _ => self.connect(),
        }
    }

    fn connect(&mut self) {
        let number = u8::try_from(self.below(3)).expect("small");
        let open = self.connections.iter().filter(|(of, _)| *of == number);
        let open = open.count();
        match self.quotas.enter(identity(number)) {
            Ok(member) => {
                assert!(open < 3, "seed {}: a connection too many", self.seed);
                let share = (number, member.share(), Usage::default(), true);
                self.shares.push(share);
                self.connections.push((number, member));
            }
            Err(TooManyConnections) => assert_eq!(open, 3, "seed {}", self.seed),
        }
    }

    fn use_share(&mut self) {
        let index = self.below(self.shares.len());
        let more = Usage {
            calls: self.below(8),
            streams: self.below(3),
            bytes: self.below(40_000),
        };
        let action = self.below(6);
        let percent = self.below(101);
        let (number, share, usage, is_settled) = &mut self.shares[index];
        match action {
            0 | 1 => {
                let mut wanted = *usage;
                wanted.calls += more.calls;
                wanted.streams += more.streams;
                wanted.bytes += more.bytes;
                if share.cover(wanted).is_ok() {
                    *usage = wanted;
                }
                *is_settled = false;
            }
            2 => {
                usage.calls = usage.calls * percent / 100;
                usage.streams = usage.streams * percent / 100;
                usage.bytes = usage.bytes * percent / 100;
                *is_settled = false;
            }
            3 if usage.calls > 0 => {
                let bytes = usage.bytes * percent / 100;
                let permit = share.detach(bytes).expect("an account");
                usage.calls -= 1;
                usage.bytes -= bytes;
                self.permits.push((*number, permit));
            }
            _ => {
                share.settle(*usage);
                *is_settled = true;
            }
        }
    }

    fn check(&self) {
        for number in 0..3 {
            let (connections, sums) = totals(&self.quotas, number);
            let mut expected = Usage::default();
            for (_, share, usage, is_settled) in self.shares.iter().filter(|(of, ..)| *of == number)
            {
                let taken = share.taken;
                if *is_settled {
                    assert_eq!(taken, *usage, "seed {}", self.seed);
                }
                assert!(taken.calls >= usage.calls && taken.bytes >= usage.bytes);
                expected.calls += taken.calls;
                expected.streams += taken.streams;
                expected.bytes += taken.bytes;
            }
            for (_, permit) in self.permits.iter().filter(|(of, _)| *of == number) {
                expected.calls += 1;
                expected.bytes += permit.bytes();
            }
            let open = self.connections.iter().filter(|(of, _)| *of == number);
            assert_eq!(
                (connections, sums),
                (open.count(), expected),
                "seed {}",
                self.seed
            );
            let is_within = sums.calls <= 40 && sums.streams <= 5 && sums.bytes <= 100_000;
            assert!(is_within, "seed {}: {sums:?}", self.seed);
        }
    }
}

#[test]
fn whatever_is_done_totals_are_the_sums_and_end_at_zero() {
    for seed in 0..300 {
        let mut program = Program::new(seed);
        for _ in 0..300 {
            program.step();
            program.check();
        }
        program.connections.clear();
        program.shares.clear();
        program.permits.clear();
        program.check();
        program
            .quotas
            .forget_unused(Instant::now() + Duration::from_secs(2));
        assert!(program.quotas.accounts().is_empty(), "seed {seed}");
    }
}
