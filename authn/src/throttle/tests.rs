//! Attempts as values: who is admitted when, and what is remembered.

mod second_factor;

use std::collections::BTreeMap;
use std::net::IpAddr;

use sealmoot_crypto::encoding::EncodingError;
use sealmoot_crypto::secret::SecretArray;
use sealmoot_crypto::signature::{KeyId, SigningKey};

use super::limits::{PROVEN_FOR_MS, PROVEN_KEYS_PER_ACCOUNT_MAX, TABLE_ENTRIES_MAX};
use super::names::{Kind, Slot};
use super::proven::{Proven, ProvenKey};
use super::record::{self, Entry};
use super::*;
use crate::name::Name;
use crate::opaque::LoginSecrets;
use crate::second_factor::Used;

const SECOND: u64 = 1000;
const MINUTE: u64 = 60 * SECOND;
const HOUR: u64 = 60 * MINUTE;
const DAY: u64 = 24 * HOUR;
/// Some time in the year 2026.
const START: u64 = 1_790_000_000_000;

/// A throttle, its log, and what it is asked.
struct World {
    secrets: LoginSecrets,
    throttle: Throttle,
    log: Vec<Vec<u8>>,
}

impl World {
    fn new() -> Self {
        Self::with(ThrottleLimits::default())
    }

    fn with(limits: ThrottleLimits) -> Self {
        let secrets = LoginSecrets::generate().expect("random");
        let throttle = Throttle::new(ThrottleKey::of(&secrets), limits);
        Self {
            secrets,
            throttle,
            log: Vec::new(),
        }
    }

    fn try_at(&mut self, now_ms: u64, user: &str, from: &str) -> Result<Ticket, u64> {
        self.try_with(now_ms, user, from, key(0))
    }

    fn try_with(&mut self, now_ms: u64, user: &str, from: &str, key: KeyId) -> Result<Ticket, u64> {
        let user = name(user);
        let attempt = Attempt {
            source: source(from),
            key,
            user: &user,
        };
        let outcome = self.throttle.charge(&attempt, now_ms);
        outcome
            .map(|(ticket, changes)| {
                self.log.push(changes.into_bytes());
                ticket
            })
            .map_err(|refused| refused.wait_ms)
    }

    fn refund(&mut self, now_ms: u64, ticket: Ticket) {
        let changes = self.throttle.refund(ticket, now_ms);
        self.log.push(changes.into_bytes());
    }

    /// Logs in, so that the key is proven.
    fn prove(&mut self, now_ms: u64, user: &str, from: &str, key: KeyId) {
        let ticket = self.try_with(now_ms, user, from, key).expect("admitted");
        self.refund(now_ms, ticket);
    }

    /// What a process knows that starts with the same log.
    fn restarted(&self, now_ms: u64) -> Self {
        let key = ThrottleKey::of(&self.secrets);
        let mut throttle = Throttle::new(key, ThrottleLimits::default());
        for record in &self.log {
            throttle.replay(record).expect("its own record");
        }
        throttle.settle(now_ms);
        assert_eq!(
            told(&self.of_last_parts(now_ms), now_ms),
            told(&throttle, now_ms)
        );
        let secrets = LoginSecrets::decode(self.secrets.encode().expose()).expect("its own");
        Self {
            secrets,
            throttle,
            log: self.log.clone(),
        }
    }

    /// What a process knows that starts with the last part of each name only.
    fn of_last_parts(&self, now_ms: u64) -> Throttle {
        let mut last = BTreeMap::new();
        for (number, record) in self.log.iter().enumerate() {
            for part in parts(record).expect("its own record") {
                last.insert(part.name, (number, part.record));
            }
        }
        let mut last: Vec<_> = last.into_values().collect();
        last.sort_by_key(|(number, _)| *number);
        let key = ThrottleKey::of(&self.secrets);
        let mut throttle = Throttle::new(key, ThrottleLimits::default());
        for (_, record) in last {
            throttle.replay(&record).expect("a record");
        }
        throttle.settle(now_ms);
        throttle
    }

    /// Another node of the same realm, which knows nothing yet.
    fn restarted_empty(&self) -> Self {
        let secrets = LoginSecrets::decode(self.secrets.encode().expose()).expect("its own");
        let mut other = Self::new();
        other.throttle = Throttle::new(ThrottleKey::of(&secrets), ThrottleLimits::default());
        other.secrets = secrets;
        other
    }

    /// Attempts that are admitted to who asks whenever it is allowed, from any of
    /// `sources` in turn.
    fn guesses(&mut self, user: impl Fn(u64) -> String, sources: u64, until_ms: u64) -> u64 {
        let (mut now_ms, mut admitted) = (START, 0);
        let mut waits = vec![START; usize::try_from(sources).expect("few")];
        while now_ms < until_ms {
            for (index, not_before) in waits.iter_mut().enumerate() {
                if *not_before > now_ms {
                    continue;
                }
                let from = format!("10.0.{}.{}", index / 256, index % 256);
                match self.try_at(now_ms, &user(admitted), &from) {
                    Ok(_) => admitted += 1,
                    Err(wait_ms) => *not_before = now_ms + wait_ms,
                }
            }
            let next = waits.iter().copied().min().unwrap_or(now_ms);
            now_ms = next.max(now_ms + 1);
        }
        admitted
    }
}

/// All that it tells, in whatever order.
fn told(throttle: &Throttle, now_ms: u64) -> BTreeMap<Vec<u8>, Vec<u8>> {
    let records = throttle.all(now_ms);
    let parts = records.iter().map(|record| parts(record).expect("its own"));
    parts
        .flatten()
        .map(|part| (part.name, part.record))
        .collect()
}

fn name(text: &str) -> Name {
    text.parse().expect("a name")
}

fn source(text: &str) -> Source {
    let address: IpAddr = text.parse().expect("an address");
    Source::Address(address.to_canonical())
}

fn key(number: u8) -> KeyId {
    let seed = SecretArray::from_bytes([number; 32]);
    SigningKey::from_seed(&seed).verifying_key().key_id()
}

/// xorshift64*, so that a seed replays a schedule.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 16) % bound
    }
}

#[test]
fn after_the_free_attempts_waits_double_up_to_the_maximum() {
    let mut world = World::new();
    let mut now = START;
    for _ in 0..5 {
        world.try_at(now, "alice", "192.0.2.1").expect("free");
    }
    let mut waits = Vec::new();
    for _ in 0..13 {
        let wait = world.try_at(now, "alice", "192.0.2.1").expect_err("early");
        let almost = world.try_at(now + wait - 1, "alice", "192.0.2.1");
        assert_eq!(almost.err(), Some(1));
        now += wait;
        world.try_at(now, "alice", "192.0.2.1").expect("waited");
        waits.push(wait / SECOND);
    }
    // A charge decayed in the 1023 seconds before the tenth.
    let expected = [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 512, 512, 900];
    assert_eq!(waits[..10], expected[..10]);
    assert!(waits[10..].iter().all(|wait| (512..=900).contains(wait)));
}

#[test]
fn a_refused_attempt_costs_nothing() {
    let mut world = World::new();
    for _ in 0..5 {
        world.try_at(START, "alice", "192.0.2.1").expect("free");
    }
    for _ in 0..1000 {
        assert_eq!(
            world.try_at(START, "alice", "192.0.2.1").err(),
            Some(SECOND)
        );
    }
    assert_eq!(world.log.len(), 5);
    assert!(world.try_at(START + SECOND, "alice", "192.0.2.1").is_ok());
}

#[test]
fn charges_decay() {
    let mut world = World::new();
    for _ in 0..5 {
        world.try_at(START, "alice", "192.0.2.1").expect("free");
    }
    // Two have decayed: two are free again, and no third.
    let later = START + 30 * MINUTE;
    assert!(world.try_at(later, "alice", "192.0.2.1").is_ok());
    assert!(world.try_at(later, "alice", "192.0.2.1").is_ok());
    assert!(world.try_at(later, "alice", "192.0.2.1").is_err());
    let much_later = later + DAY;
    for _ in 0..5 {
        world
            .try_at(much_later, "alice", "192.0.2.1")
            .expect("free");
    }
    assert!(world.try_at(much_later, "alice", "192.0.2.1").is_err());
}

#[test]
fn a_proof_takes_its_charge_back_and_no_other() {
    let mut world = World::new();
    for _ in 0..4 {
        world.try_at(START, "alice", "192.0.2.1").expect("free");
    }
    // Another key each time: only charges of strangers are looked at here.
    for number in 1..50 {
        world.prove(START, "alice", "192.0.2.1", key(number));
    }
    assert!(world.try_at(START, "alice", "192.0.2.1").is_ok());
    assert!(world.try_at(START, "alice", "192.0.2.1").is_err());
}

#[test]
fn attempts_that_run_side_by_side_are_charged_before_any_ends() {
    let mut world = World::new();
    let tickets: Vec<Ticket> = (0..5)
        .map(|_| world.try_at(START, "alice", "192.0.2.1").expect("free"))
        .collect();
    assert!(world.try_at(START, "alice", "192.0.2.1").is_err());
    for ticket in tickets {
        world.refund(START, ticket);
    }
    assert!(world.try_with(START, "alice", "192.0.2.1", key(9)).is_ok());
}

#[test]
fn an_attackers_own_logins_do_not_wash_his_source_clean() {
    let mut world = World::new();
    for number in 0..100 {
        let victim = format!("victim{number}");
        world.try_at(START, &victim, "192.0.2.1").expect("free");
    }
    let refused = world
        .try_at(START, "mallory", "192.0.2.1")
        .expect_err("full");
    let now = START + refused;
    world.prove(now, "mallory", "192.0.2.1", key(1));
    // Logging in with the proven key is free, and still clears nothing.
    for _ in 0..20 {
        world.prove(now, "mallory", "192.0.2.1", key(1));
    }
    assert!(world.try_at(now, "victim", "192.0.2.1").is_err());
}

#[test]
fn users_who_do_not_exist_are_judged_as_those_who_do() {
    // The state is never told who exists: two names are the same to it but for their
    // hashes, and refusals do not depend on those.
    let mut waits = [const { Vec::new() }; 2];
    for (user, waits) in ["alice", "nobody"].into_iter().zip(&mut waits) {
        let mut world = World::new();
        for step in 0..200 {
            let now = START + step * 700;
            waits.push(world.try_at(now, user, "192.0.2.1").err());
        }
    }
    assert_eq!(waits[0], waits[1]);
    assert!(waits[0].iter().any(Option::is_some));
}

#[test]
fn one_source_is_throttled_over_all_accounts() {
    let mut world = World::new();
    let mut admitted = 0;
    for round in 0..3 {
        for user in 0..1000 {
            let now = START + (round * 1000 + user) * 5;
            admitted += u32::from(world.try_at(now, &format!("u{user}"), "192.0.2.1").is_ok());
        }
    }
    assert!((100..=104).contains(&admitted), "{admitted}");
    // Others are not concerned.
    assert!(world.try_at(START, "u1", "192.0.2.2").is_ok());
}

#[test]
fn one_source_cannot_shut_an_account_for_others() {
    let mut world = World::new();
    let mut not_before = START;
    for second in 0..86_400 {
        let now = START + second * SECOND;
        if now >= not_before
            && let Err(wait) = world.try_at(now, "alice", "192.0.2.1")
        {
            not_before = now + wait;
        }
        // Another stranger who fails now and then gets in at once all the same.
        if second % 3600 == 1800 {
            let tried = world.try_at(now, "alice", "198.51.100.7");
            assert!(tried.is_ok(), "second {second}: {tried:?}");
        }
    }
}

#[test]
fn strangers_do_not_lock_out_a_proven_key_from_wherever_they_come() {
    let mut world = World::new();
    world.prove(START, "alice", "192.0.2.1", key(1));
    for number in 0..400u32 {
        let from = format!("192.0.{}.{}", number / 100, number % 100 + 1);
        let _ = world.try_at(START, "alice", &from);
    }
    for number in 0..400 {
        let _ = world.try_at(START, &format!("u{number}"), "192.0.2.1");
    }
    assert!(world.try_at(START, "alice", "203.0.113.9").is_err());
    assert!(world.try_at(START, "bob", "192.0.2.1").is_err());
    // From the attackers' own source, and from elsewhere.
    for from in ["192.0.2.1", "203.0.113.9"] {
        let ticket = world.try_with(START, "alice", from, key(1));
        world.refund(START, ticket.expect("a proven key"));
    }
}

#[test]
fn a_key_is_proven_for_its_account_and_its_time_only() {
    let mut world = World::new();
    world.prove(START, "alice", "192.0.2.1", key(1));
    for _ in 0..5 {
        world.try_at(START, "bob", "192.0.2.1").expect("free");
        world.try_at(START, "alice", "192.0.2.1").expect("free");
    }
    let try_with = |world: &mut World, at, user, number| {
        world.try_with(at, user, "192.0.2.1", key(number)).is_ok()
    };
    assert!(!try_with(&mut world, START, "bob", 1));
    assert!(!try_with(&mut world, START, "alice", 2));
    assert!(try_with(&mut world, START, "alice", 1));
    let later = START + PROVEN_FOR_MS;
    for _ in 0..5 {
        world.try_at(later, "alice", "192.0.2.1").expect("free");
    }
    assert!(!try_with(&mut world, later, "alice", 1));
}

#[test]
fn a_key_that_proved_another_password_is_proven_no_longer() {
    let mut world = World::new();
    let alice = name("alice");
    let with_password = |number: u8| Account {
        user: &alice,
        user_key: Some(
            SigningKey::from_seed(&SecretArray::from_bytes([number; 32])).verifying_key(),
        ),
        enrolment: None,
    };
    assert!(world.throttle.know(&with_password(1), START).is_none());
    world.prove(START, "alice", "192.0.2.1", key(1));
    // Strangers shut themselves out, and not the proven key.
    while world.try_at(START, "alice", "192.0.2.1").is_ok() {}
    let attempt = |world: &mut World| world.try_with(START, "alice", "192.0.2.1", key(1)).is_ok();
    assert!(attempt(&mut world));
    let mut restarted = world.restarted(START);
    restarted.throttle.know_all([with_password(1)]);
    assert!(attempt(&mut restarted));
    // A peer that was told hears of the password, too.
    let mut peer = world.restarted_empty();
    tell(&mut world, &mut peer, START);
    peer.throttle.know(&with_password(2), START);
    world.throttle.know(&with_password(2), START);
    restarted.throttle.know_all([with_password(2)]);
    for world in [&mut world, &mut restarted, &mut peer] {
        assert!(!attempt(world));
    }
    // Nor does the older password's key come back from whoever tells of it.
    let told = world.throttle.all(START);
    for record in told {
        let learnt = peer.throttle.learn(&name("n3"), &record, START);
        drop(learnt.expect("a record"));
    }
    assert!(!attempt(&mut peer));
}

#[test]
fn a_proven_key_may_not_guess_without_end() {
    let mut world = World::new();
    world.prove(START, "alice", "192.0.2.1", key(1));
    let mut admitted = 0;
    for _ in 0..100 {
        let tried = world.try_with(START, "alice", "192.0.2.1", key(1));
        admitted += u32::from(tried.is_ok());
    }
    assert_eq!(admitted, 10);
}

#[test]
fn sources_are_prefixes_of_addresses() {
    let hash = |text: &str| source(text);
    assert_eq!(hash("::ffff:192.0.2.1"), hash("192.0.2.1"));
    let mut world = World::new();
    for number in 0..100 {
        let from = format!("2001:db8:1:1::{number:x}");
        world
            .try_at(START, &format!("u{number}"), &from)
            .expect("free");
    }
    assert!(world.try_at(START, "v", "2001:db8:1:1:ffff::1").is_err());
    assert!(world.try_at(START, "v", "2001:db8:1:2::1").is_ok());
    // For one account the whole site counts.
    let mut world = World::new();
    for number in 0..5 {
        let from = format!("2001:db8:1:{number:x}::1");
        world.try_at(START, "alice", &from).expect("free");
    }
    assert!(world.try_at(START, "alice", "2001:db8:1:ffff::1").is_err());
    assert!(world.try_at(START, "alice", "2001:db8:2::1").is_ok());
    assert!(world.try_at(START, "bob", "2001:db8:1::1").is_ok());
}

#[test]
fn a_clock_that_was_set_back_washes_nothing_and_locks_nobody_out_for_long() {
    let mut world = World::new();
    let future = START + 30 * DAY;
    for _ in 0..5 {
        world.try_at(future, "alice", "192.0.2.1").expect("free");
    }
    let mut now = START;
    let wait = world
        .try_at(now, "alice", "192.0.2.1")
        .expect_err("charged");
    assert_eq!(wait, 15 * MINUTE);
    // Time passes again: nobody waits for the future that the clock had been in.
    now += wait;
    world.try_at(now, "alice", "192.0.2.1").expect("waited");
    let mut world = world.restarted(now);
    assert!(world.try_at(now, "alice", "192.0.2.1").is_err());
    assert!(world.try_at(now + 5 * HOUR, "alice", "192.0.2.1").is_ok());
}

#[test]
fn what_was_charged_survives_a_restart_and_what_decayed_is_dropped() {
    let mut world = World::new();
    world.prove(START, "bob", "192.0.2.1", key(1));
    for _ in 0..5 {
        world.try_at(START, "alice", "192.0.2.1").expect("free");
    }
    for _ in 0..5 {
        world.try_at(START, "bob", "192.0.2.1").expect("free");
    }
    let wait = world.try_at(START, "alice", "192.0.2.1").err();
    let mut again = world.restarted(START);
    assert_eq!(again.try_at(START, "alice", "192.0.2.1").err(), wait);
    assert!(again.try_at(START, "bob", "192.0.2.1").is_err());
    assert!(again.try_with(START, "bob", "192.0.2.1", key(1)).is_ok());
    let later = world.restarted(START + 2 * PROVEN_FOR_MS);
    let left = later.throttle.all(START + 2 * PROVEN_FOR_MS);
    let left = left.iter().map(|record| record::decode(record, None));
    for entries in left {
        assert_eq!(entries.expect("its own").1, []);
    }
}

#[test]
fn the_last_part_of_each_thing_says_what_all_records_said() {
    for seed in 1..=20 {
        let (mut world, mut random) = (World::new(), Random(seed));
        let mut now_ms = START;
        let mut known = 0;
        for _ in 0..200 {
            now_ms += random.below(5_000);
            let user = ["alice", "bob", "carol"][random.below(3) as usize];
            let from = ["192.0.2.1", "192.0.2.77", "198.51.100.9"][random.below(3) as usize];
            let with = key(random.below(4) as u8);
            match random.below(8) {
                0 => {
                    let unlocked = world.throttle.unlock(&name(user), now_ms, now_ms);
                    world.log.extend(unlocked.map(state::Changes::into_bytes));
                }
                1 | 2 => {
                    if let Ok(ticket) = world.try_with(now_ms, user, from, with) {
                        world.refund(now_ms, ticket);
                    }
                }
                _ => drop(world.try_with(now_ms, user, from, with)),
            }
            if random.below(20) == 0 {
                known += told(&world.restarted(now_ms).throttle, now_ms).len();
            }
        }
        assert!(known > 0, "seed {seed}");
    }
}

#[test]
fn used_codes_of_two_records_are_both_kept_and_else_the_later() {
    let name_at = |entry: Entry, now_ms| {
        let parts = parts(&record::encode(&[entry], now_ms)).expect("a record");
        parts[0].name.clone()
    };
    let used = Entry::Used([5; 16], Used::default());
    assert_ne!(name_at(used, START), name_at(used, START + 1));
    let proven = Entry::Proven([5; 16], proven_until(7));
    assert_eq!(name_at(proven, START), name_at(proven, START + 1));
    assert_ne!(name_at(proven, START), name_at(used, START));
}

#[test]
fn a_full_table_makes_newcomers_share_and_washes_nobody() {
    let mut world = World::new();
    for _ in 0..5 {
        world.try_at(START, "victim", "192.0.2.1").expect("free");
    }
    // A flood from everywhere, at names of its own.
    for number in 0..u32::try_from(TABLE_ENTRIES_MAX).expect("small") + 400 {
        let [_, a, b, c] = number.to_be_bytes();
        let from = format!("10.{a}.{b}.{c}");
        let _ = world.try_at(START, &format!("u{number}"), &from);
    }
    let held = world.throttle.all(START);
    let most = (6 * TABLE_ENTRIES_MAX).div_ceil(RECORD_ENTRIES_MAX);
    assert!(held.len() <= most, "{}", held.len());
    assert!(world.try_at(START, "victim", "192.0.2.1").is_err());
    // Newcomers have used up what they share, and get it back with time.
    assert!(world.try_at(START, "newcomer", "172.16.0.1").is_err());
    assert!(
        world
            .try_at(START + SECOND, "newcomer", "172.16.0.1")
            .is_ok()
    );
    // When the flood has decayed there is room again.
    let later = START + HOUR;
    for _ in 0..5 {
        world.try_at(later, "alice", "172.16.0.1").expect("free");
    }
    assert!(world.try_at(later, "alice", "172.16.0.1").is_err());
}

#[test]
fn proven_keys_of_an_account_are_bounded_and_push_out_only_their_own() {
    let mut proven = Proven::default();
    let slot = |account: u8, number: u8| {
        let mut slot = [0; 16];
        (slot[0], slot[15]) = (account, number);
        slot
    };
    let until = |until_ms: u64| ProvenKey {
        until_ms,
        password: [0; 8],
        enrolment: [0; 8],
    };
    let holds =
        |proven: &Proven, slot: &[u8; 16], now_ms| proven.holding(slot, &[0; 8], now_ms).is_some();
    proven.remember(slot(2, 0), until(5));
    let most = u8::try_from(PROVEN_KEYS_PER_ACCOUNT_MAX).expect("small");
    for number in 0..most + 3 {
        proven.remember(slot(1, number), until(10 + u64::from(number)));
    }
    let held = (0..=255).filter(|number| holds(&proven, &slot(1, *number), 0));
    assert_eq!(
        held.collect::<Vec<u8>>(),
        (3..most + 3).collect::<Vec<u8>>()
    );
    assert!(holds(&proven, &slot(2, 0), 4));
    assert!(!holds(&proven, &slot(2, 0), 5));
    // What is not later changes nothing.
    assert!(!proven.remember(slot(1, 5), until(0)));
    assert!(holds(&proven, &slot(1, 5), 14));
}

/// What proves the most, until then.
fn proven_until(until_ms: u64) -> ProvenKey {
    ProvenKey {
        until_ms,
        password: [1; 8],
        enrolment: [2; 8],
    }
}

/// Tells everything that is new from one to the other.
fn tell(from: &mut World, to: &mut World, now_ms: u64) {
    for record in from.throttle.untold(now_ms) {
        let learnt = to.throttle.learn(&name("peer"), &record, now_ms);
        let learnt = learnt.expect("a peer's record");
        to.log.extend(learnt.map(|changes| changes.into_bytes()));
    }
}

fn peers() -> (World, World) {
    let first = World::new();
    let second = first.restarted(START);
    (first, second)
}

#[test]
fn what_one_node_charged_counts_at_another() {
    let (mut first, mut second) = peers();
    for _ in 0..3 {
        first.try_at(START, "alice", "192.0.2.1").expect("free");
    }
    tell(&mut first, &mut second, START);
    for _ in 0..2 {
        second.try_at(START, "alice", "192.0.2.1").expect("free");
    }
    assert!(second.try_at(START, "alice", "192.0.2.1").is_err());
    assert!(first.try_at(START, "alice", "192.0.2.1").is_ok());
    tell(&mut second, &mut first, START);
    assert!(first.try_at(START, "alice", "192.0.2.1").is_err());
}

#[test]
fn what_is_told_twice_counts_once_and_a_refund_is_told_too() {
    let (mut first, mut second) = peers();
    let ticket = first.try_at(START, "alice", "192.0.2.1").expect("free");
    for _ in 0..10 {
        for record in first.throttle.all(START) {
            let learnt = second.throttle.learn(&name("peer"), &record, START);
            assert!(learnt.expect("a record").is_none());
        }
    }
    first.refund(START, ticket);
    tell(&mut first, &mut second, START);
    for _ in 0..5 {
        second.try_at(START, "alice", "192.0.2.1").expect("free");
    }
}

#[test]
fn a_key_that_was_proven_at_one_node_is_proven_at_all_and_stays_so() {
    let (mut first, mut second) = peers();
    first.prove(START, "alice", "192.0.2.1", key(1));
    tell(&mut first, &mut second, START);
    let mut second = second.restarted(START);
    for _ in 0..5 {
        second.try_at(START, "alice", "192.0.2.1").expect("free");
    }
    assert!(second.try_at(START, "alice", "192.0.2.1").is_err());
    assert!(second.try_with(START, "alice", "192.0.2.1", key(1)).is_ok());
}

#[test]
fn what_a_peer_tells_goes_no_further_than_the_rules() {
    let mut world = World::new();
    let account = ThrottleKey::of(&world.secrets).account(&name("alice"));
    let wild = bucket::Bucket {
        empty_at_ms: u64::MAX,
        not_before_ms: u64::MAX,
    };
    let entries = [
        Entry::Bucket(Slot::account(account), wild),
        Entry::Proven([7; 16], proven_until(u64::MAX)),
        Entry::Unlocked(account, u64::MAX),
    ];
    let record = record::encode(&entries, 0);
    let learnt = world.throttle.learn(&name("peer"), &record, START);
    assert!(learnt.expect("a record").is_some());
    let wait = world.try_at(START, "alice", "192.0.2.1").err();
    assert_eq!(wait, Some(5 * MINUTE));
    assert!(
        world
            .try_at(START + 5 * MINUTE, "alice", "192.0.2.1")
            .is_ok()
    );
    world.throttle.settle(START + PROVEN_FOR_MS);
    let unlock = world.throttle.unlock(&name("alice"), START, START);
    assert!(unlock.is_ok(), "{unlock:?}");
}

#[test]
fn an_unlocking_clears_an_account_once_and_in_its_time() {
    let mut world = World::new();
    let spend = |world: &mut World, user: &str| {
        for _ in 0..5 {
            world.try_at(START, user, "192.0.2.1").expect("free");
        }
        assert!(world.try_at(START, user, "192.0.2.1").is_err());
    };
    spend(&mut world, "alice");
    spend(&mut world, "bob");
    let unlock = |world: &mut World, issued: u64| {
        let outcome = world.throttle.unlock(&name("alice"), issued, START);
        outcome.map(|changes| world.log.push(changes.into_bytes()))
    };
    for issued in [
        START - UNLOCK_AGE_MS_MAX - 1,
        START + UNLOCK_AGE_MS_MAX + 1,
        0,
        u64::MAX,
    ] {
        assert_eq!(unlock(&mut world, issued), Err(UnlockError::OtherTime));
    }
    assert!(world.try_at(START, "alice", "192.0.2.1").is_err());
    assert_eq!(unlock(&mut world, START), Ok(()));
    assert!(world.try_at(START, "bob", "192.0.2.1").is_err());
    spend(&mut world, "alice");
    for world in [&mut world.restarted(START), &mut world] {
        for issued in [START, START - 1] {
            assert_eq!(unlock(world, issued), Err(UnlockError::TakenBefore));
        }
        assert!(world.try_at(START, "alice", "192.0.2.1").is_err());
    }
    assert_eq!(unlock(&mut world, START + 1), Ok(()));
    spend(&mut world, "alice");
}

#[test]
fn the_state_tells_neither_names_nor_addresses() {
    let mut world = World::new();
    world.prove(START, "alice-the-user", "192.0.2.1", key(1));
    let other = World::new();
    let key = |world: &World| ThrottleKey::of(&world.secrets);
    for record in &world.log {
        for secret in [&b"alice"[..], &[192, 0, 2, 1]] {
            assert!(!record.windows(secret.len()).any(|part| part == secret));
        }
    }
    // Another realm calls them something else.
    let user = name("alice-the-user");
    assert_ne!(key(&world).account(&user), key(&other).account(&user));
}

#[test]
fn records_survive_their_bytes_and_no_truncation_or_other_version_does() {
    let bucket = bucket::Bucket {
        empty_at_ms: START + 5,
        not_before_ms: START + 3,
    };
    let mut entries: Vec<Entry> = Kind::ALL
        .into_iter()
        .map(|kind| Entry::Bucket(Slot(kind, [kind as u8; 16]), bucket))
        .collect();
    entries.push(Entry::Proven([3; 16], proven_until(7)));
    entries.push(Entry::Unlocked([4; 8], 8));
    entries.push(Entry::Used([5; 16], Used::default()));
    let bytes = record::encode(&entries, START);
    assert_eq!(record::decode(&bytes, None), Ok((START, entries.clone())));
    for length in 0..bytes.len() {
        assert!(record::decode(&bytes[..length], None).is_err(), "{length}");
    }
    let unknown = |at: usize, value: u8| {
        let mut changed = bytes.clone();
        changed[at] = value;
        match record::decode(&changed, None) {
            Err(EncodingError::Unknown { what, .. }) => what,
            other => panic!("{other:?}"),
        }
    };
    for version in [0, 1, 2, 4, 255] {
        assert_eq!(unknown(0, version), "version of a throttle record");
    }
    for kind in [0, 12, 255] {
        assert_eq!(unknown(13, kind), "kind of a throttle entry");
    }
    let too_many = vec![entries[0]; RECORD_ENTRIES_MAX + 1];
    assert!(record::decode(&record::encode(&too_many, 0), None).is_err());
    let longest = Entry::Proven([3; 16], proven_until(7));
    let most = vec![longest; RECORD_ENTRIES_MAX];
    assert!(record::encode(&most, 0).len() <= THROTTLE_RECORD_LENGTH_MAX);
}

#[test]
fn no_schedule_gets_strangers_more_than_the_accounts_bound() {
    let account = ThrottleLimits::default().account;
    for seed in 1..=40u64 {
        let mut random = Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let mut world = World::new();
        let (mut now, mut admitted) = (START, Vec::new());
        let sources = 1 + random.below(200);
        let pause = 1 + random.below(20 * SECOND);
        for _ in 0..3000 {
            now += random.below(pause);
            let from = format!("10.0.0.{}", random.below(sources));
            let ticket = world.try_at(now, "alice", &from);
            match ticket {
                Ok(_) => admitted.push(now),
                Err(wait) if random.below(3) == 0 => now += wait,
                Err(_) => {}
            }
            if random.below(500) == 0 {
                world = world.restarted(now);
            }
        }
        for (index, from) in admitted.iter().enumerate() {
            for (count, until) in admitted[index..].iter().enumerate() {
                let window = until - from;
                let bound = account.charges_max() + window / account.decay_ms + 1;
                assert!(count as u64 <= bound, "seed {seed}: {count} in {window} ms");
            }
        }
    }
}

#[test]
fn a_day_of_guessing_gets_no_further_than_the_design_says() {
    let one_account = |_: u64| "alice".to_owned();
    let end = START + DAY;
    let from_one = World::new().guesses(one_account, 1, end);
    let from_many = World::new().guesses(one_account, 64, end);
    let spraying = World::new().guesses(|number| format!("u{}", number % 1000), 1, end);
    println!("a day: {from_one} one source, {from_many} many, {spraying} spraying");
    assert!((90..=115).contains(&from_one), "{from_one}");
    assert!((1400..=1510).contains(&from_many), "{from_many}");
    assert!((1400..=1550).contains(&spraying), "{spraying}");
}
