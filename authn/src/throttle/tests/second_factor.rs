//! Codes of a second factor: each counts once wherever it is known, and few are admitted.

use super::*;
use crate::realm_id::RealmId;
use crate::second_factor::totp::STEP_MS;
use crate::second_factor::{CodeError, Enrolled, Proven, SealedSecondFactor, SecondFactor};
use crate::statement::CredentialId;

fn realm() -> RealmId {
    RealmId::from_bytes([7; 32])
}

/// A user's enrolment, on both sides.
struct Enrolment {
    factor: SecondFactor,
    taken_home: Enrolled,
}

impl World {
    fn enrol(&self, user: &str) -> Enrolment {
        let (sealed, taken_home): (SealedSecondFactor, Enrolled) =
            SecondFactor::enrol(&self.secrets, &realm(), &name(user)).expect("enrolled");
        let factor =
            SecondFactor::open(&self.secrets, &realm(), &name(user), &sealed).expect("opens");
        Enrolment { factor, taken_home }
    }

    fn code(&mut self, now_ms: u64, ticket: &mut Ticket) -> Result<(), u64> {
        self.code_of(now_ms, ticket, CredentialId::from_bytes([9; 8]))
    }

    fn code_of(
        &mut self,
        now_ms: u64,
        ticket: &mut Ticket,
        enrolment: CredentialId,
    ) -> Result<(), u64> {
        self.throttle
            .charge_code(ticket, enrolment, now_ms)
            .map(|changes| self.log.push(changes.into_bytes()))
            .map_err(|refused| refused.wait_ms)
    }

    fn take(
        &mut self,
        now_ms: u64,
        user: &str,
        enrolment: &Enrolment,
        typed: &str,
    ) -> Result<(), CodeError> {
        // From ever other addresses: what is looked at here lies behind the throttle.
        let from = format!("10.9.{}.{}", self.log.len() / 250, self.log.len() % 250);
        let mut ticket = self.try_at(now_ms, user, &from).expect("admitted");
        let taken =
            self.throttle
                .take_code(&mut ticket, &enrolment.factor, typed.as_bytes(), now_ms);
        let (_, _, changes) = taken?;
        self.log.push(changes.into_bytes());
        Ok(())
    }
}

impl World {
    /// Hears from the records that a user has this enrolment; whether something is to be
    /// made durable for it.
    fn know(&mut self, user: &str, enrolment: &Enrolment) -> bool {
        let user = name(user);
        let account = Account {
            user: &user,
            user_key: None,
            enrolment: Some(enrolment.factor.id()),
        };
        let changes = self.throttle.know(&account, START);
        let durable = changes.is_some();
        self.log.extend(changes.map(|it| it.into_bytes()));
        durable
    }

    /// Logs in with a code, so that the key is proven by one.
    fn prove_with_code(&mut self, now_ms: u64, user: &str, enrolment: &Enrolment, key: KeyId) {
        let ticket = self.try_with(now_ms, user, "192.0.2.1", key);
        let mut ticket = ticket.expect("admitted");
        let id = enrolment.factor.id();
        self.code_of(now_ms, &mut ticket, id).expect("admitted");
        let typed = enrolment.code_at(now_ms);
        let taken =
            self.throttle
                .take_code(&mut ticket, &enrolment.factor, typed.as_bytes(), now_ms);
        let (_, _, changes) = taken.expect("right");
        self.log.push(changes.into_bytes());
        self.refund(now_ms, ticket);
    }

    /// What a peer that lies tells.
    fn hear(&mut self, peer: &str, entries: &[Entry], now_ms: u64) -> bool {
        let mut durable = false;
        for entries in entries.chunks(RECORD_ENTRIES_MAX) {
            let record = record::encode(entries, now_ms);
            let learnt = self.throttle.learn(&name(peer), &record, now_ms);
            let learnt = learnt.expect("a record");
            durable |= learnt.is_some();
            self.log.extend(learnt.map(|it| it.into_bytes()));
        }
        durable
    }

    fn slot_of(&self, user: &str, enrolment: [u8; 8]) -> [u8; 16] {
        let account = ThrottleKey::of(&self.secrets).account(&name(user));
        let mut slot = [0; 16];
        slot[..8].copy_from_slice(&account);
        slot[8..].copy_from_slice(&enrolment);
        slot
    }
}

/// As if the code of this step was used.
fn used_step(step: u64) -> Used {
    let mut used = Used::default();
    used.take(Proven::Step(step), step.saturating_mul(STEP_MS));
    used
}

impl Enrolment {
    fn code_at(&self, at_ms: u64) -> String {
        self.taken_home.totp.code_at(at_ms).to_string()
    }

    fn paper(&self, place: usize) -> String {
        self.taken_home.recovery[place].to_text().to_string()
    }
}

#[test]
fn a_code_counts_once_and_a_restart_changes_nothing() {
    let mut world = World::new();
    let alice = world.enrol("alice");
    let (code, paper) = (alice.code_at(START), alice.paper(3));
    world.take(START, "alice", &alice, &code).expect("right");
    world.take(START, "alice", &alice, &paper).expect("right");
    let mut restarted = world.restarted(START);
    for world in [&mut world, &mut restarted] {
        for typed in [&code, &paper, &alice.code_at(START - STEP_MS)] {
            assert_eq!(
                world.take(START, "alice", &alice, typed),
                Err(CodeError::UsedAlready)
            );
        }
        let next = alice.code_at(START + STEP_MS);
        assert_eq!(world.take(START, "alice", &alice, &next), Ok(()));
        assert_eq!(world.take(START, "alice", &alice, &alice.paper(4)), Ok(()));
    }
}

#[test]
fn a_clock_that_is_set_back_revives_no_code() {
    let mut world = World::new();
    let alice = world.enrol("alice");
    world
        .take(START, "alice", &alice, &alice.code_at(START))
        .expect("right");
    let back = START - 10 * STEP_MS;
    for at in [back - STEP_MS, back, back + STEP_MS] {
        assert_eq!(
            world.take(back, "alice", &alice, &alice.code_at(at)),
            Err(CodeError::UsedAlready)
        );
    }
}

#[test]
fn a_code_used_at_one_node_does_not_count_at_one_that_was_told() {
    let mut first = World::new();
    let alice = first.enrol("alice");
    let (code, paper) = (alice.code_at(START), alice.paper(0));
    let _ = first.throttle.untold(START);
    first.take(START, "alice", &alice, &code).expect("right");
    first.take(START, "alice", &alice, &paper).expect("right");
    let told = first.throttle.untold(START);

    let mut second = first.restarted_empty();
    second.know("alice", &alice);
    let mut learnt = Vec::new();
    for record in &told {
        let changes = second.throttle.learn(&name("n1"), record, START);
        learnt.extend(changes.expect("a record").map(|it| it.into_bytes()));
    }
    assert!(!learnt.is_empty(), "it is to be made durable");
    second.log.extend(learnt);
    let mut after_a_restart = second.restarted(START);
    // A third hears of it from the second alone.
    let mut third = first.restarted_empty();
    for record in second.throttle.untold(START) {
        let changes = third.throttle.learn(&name("n2"), &record, START);
        drop(changes.expect("a record"));
    }
    for world in [&mut second, &mut after_a_restart, &mut third] {
        for typed in [&code, &paper] {
            assert_eq!(
                world.take(START, "alice", &alice, typed),
                Err(CodeError::UsedAlready)
            );
        }
    }
    // What is told again is no news, and not told on for ever.
    for record in &told {
        let changes = second.throttle.learn(&name("n1"), record, START);
        assert!(changes.expect("a record").is_none());
    }
}

#[test]
fn a_node_that_missed_it_is_told_with_everything() {
    let mut first = World::new();
    let alice = first.enrol("alice");
    let code = alice.code_at(START);
    first.take(START, "alice", &alice, &code).expect("right");
    let restarted = first.restarted(START);
    let mut second = first.restarted_empty();
    for record in restarted.throttle.all(START) {
        let changes = second.throttle.learn(&name("n1"), &record, START);
        drop(changes.expect("a record"));
    }
    assert_eq!(
        second.take(START, "alice", &alice, &code),
        Err(CodeError::UsedAlready)
    );
}

#[test]
fn codes_of_two_users_and_of_two_enrolments_are_told_apart() {
    let mut world = World::new();
    let (alice, bob) = (world.enrol("alice"), world.enrol("bob"));
    world
        .take(START, "alice", &alice, &alice.code_at(START))
        .expect("right");
    world
        .take(START, "bob", &bob, &bob.code_at(START))
        .expect("of his own");
    let again = world.enrol("alice");
    world
        .take(START, "alice", &again, &again.code_at(START))
        .expect("of the new enrolment");
}

#[test]
fn where_no_more_can_be_remembered_no_code_counts() {
    let mut world = World::new();
    let (alice, bob) = (world.enrol("alice"), world.enrol("bob"));
    world.throttle.remember_at_most(1);
    world
        .take(START, "alice", &alice, &alice.code_at(START))
        .expect("the first");
    for typed in [bob.code_at(START), bob.paper(0)] {
        assert_eq!(
            world.take(START, "bob", &bob, &typed),
            Err(CodeError::NoRoom)
        );
    }
    let next = START + STEP_MS;
    let code = alice.code_at(next);
    assert_eq!(world.take(next, "alice", &alice, &code), Ok(()));
}

#[test]
fn wrong_codes_make_wait_and_the_right_one_takes_all_charges_back() {
    let mut world = World::new();
    let mut ticket = world.try_at(START, "alice", "192.0.2.1").expect("admitted");
    for _ in 0..5 {
        assert_eq!(world.code(START, &mut ticket), Ok(()));
    }
    assert_eq!(world.code(START, &mut ticket), Err(SECOND));
    // From anywhere else, too: it is the account's.
    let mut elsewhere = world
        .try_at(START, "alice", "203.0.113.9")
        .expect("admitted");
    assert_eq!(world.code(START, &mut elsewhere), Err(SECOND));
    // Charges are durable.
    let mut restarted = world.restarted(START);
    let mut again = restarted
        .try_at(START, "alice", "198.51.100.7")
        .expect("admitted");
    assert_eq!(restarted.code(START, &mut again), Err(SECOND));
    drop(again);

    world.refund(START, ticket);
    for _ in 0..5 {
        assert_eq!(world.code(START, &mut elsewhere), Ok(()));
    }
}

#[test]
fn who_knows_the_password_tries_few_codes_a_day_from_however_many_addresses() {
    let mut world = World::new();
    let (mut now, mut tried) = (START, 0);
    let mut address = 0_u32;
    while now < START + DAY {
        address += 1;
        let [_, a, b, c] = address.to_be_bytes();
        let attempt = world.try_at(now, "alice", &format!("10.{a}.{b}.{c}"));
        let waited = match attempt {
            Ok(mut ticket) => world.code(now, &mut ticket).map(|()| tried += 1),
            Err(wait_ms) => Err(wait_ms),
        };
        now += waited.err().unwrap_or(0).max(SECOND);
    }
    assert!((24..=41).contains(&tried), "{tried}");
}

#[test]
fn strangers_with_the_password_do_not_hold_up_a_proven_key() {
    let mut world = World::new();
    let enrolment = world.enrol("alice");
    let id = enrolment.factor.id();
    world.prove_with_code(START, "alice", &enrolment, key(1));
    let mut stranger = world.try_at(START, "alice", "192.0.2.1").expect("admitted");
    while world.code_of(START, &mut stranger, id).is_ok() {}
    let mut restarted = world.restarted(START);
    for world in [&mut world, &mut restarted] {
        let mut alice = world
            .try_with(START, "alice", "192.0.2.1", key(1))
            .expect("admitted");
        assert_eq!(world.code_of(START, &mut alice, id), Ok(()));
        // Of another enrolment it has proved nothing.
        let other = CredentialId::from_bytes([9; 8]);
        assert_eq!(world.code_of(START, &mut alice, other), Err(SECOND));
    }
}

#[test]
fn keys_that_proved_the_password_alone_share_the_tries_of_strangers() {
    let mut world = World::new();
    for number in 1..=16 {
        world.prove(START, "alice", "192.0.2.1", key(number));
    }
    let enrolment = world.enrol("alice");
    let id = enrolment.factor.id();
    world.know("alice", &enrolment);
    let mut tried = 0;
    for number in 1..=16 {
        let mut ticket = world
            .try_with(START, "alice", "192.0.2.1", key(number))
            .expect("admitted");
        while world.code_of(START, &mut ticket, id).is_ok() {
            tried += 1;
        }
    }
    assert_eq!(tried, 5);
}

#[test]
fn a_peer_that_tells_of_later_codes_keeps_nobody_out_for_good() {
    for step in [START / STEP_MS + 3, START / STEP_MS + 1_000_000, u64::MAX] {
        for is_known in [true, false] {
            let mut world = World::new();
            let alice = world.enrol("alice");
            if is_known {
                world.know("alice", &alice);
            }
            let slot = world.slot_of("alice", alice.factor.id().to_bytes());
            let mut bytes = record::encode(&[Entry::Used(slot, Used::default())], START);
            let at = bytes.len() - 10;
            bytes[at..at + 8].copy_from_slice(&step.to_le_bytes());
            let learnt = world.throttle.learn(&name("n1"), &bytes, START);
            world
                .log
                .extend(learnt.expect("a record").map(|it| it.into_bytes()));
            let soon = START + 3 * STEP_MS;
            let mut restarted = world.restarted(soon);
            for world in [&mut world, &mut restarted] {
                let code = alice.code_at(soon);
                let taken = world.take(soon, "alice", &alice, &code);
                assert_eq!(taken, Ok(()), "{step} {is_known}");
            }
        }
    }
}

#[test]
fn made_up_enrolments_take_no_room_from_those_that_exist() {
    let mut world = World::new();
    let (alice, bob) = (world.enrol("alice"), world.enrol("bob"));
    world.throttle.remember_at_most(2);
    world.know("alice", &alice);
    world
        .take(START, "alice", &alice, &alice.code_at(START))
        .expect("right");
    // Accounts that there are not, and of alice enrolments that there are not: so many
    // would push hers out.
    let made_up = |index: u64| -> [u8; 16] {
        let id = index.to_le_bytes();
        match index % 2 {
            0 => world.slot_of("alice", id),
            _ => [index.to_be_bytes(), id].concat().try_into().expect("16"),
        }
    };
    let later = used_step(START / STEP_MS + 2);
    let entries: Vec<Entry> = (1..5000)
        .map(|index| Entry::Used(made_up(index), later))
        .collect();
    assert!(!world.hear("n1", &entries, START), "nothing is durable");
    assert_eq!(
        world.take(START, "alice", &alice, &alice.code_at(START)),
        Err(CodeError::UsedAlready)
    );
    let code = bob.code_at(START);
    assert_eq!(world.take(START, "bob", &bob, &code), Ok(()));
    // Nor is it told on.
    let told = world.throttle.all(START);
    let (_, entries) = record::decode(&told.concat(), None).expect("one record");
    let used = entries.iter().filter(|it| matches!(it, Entry::Used(..)));
    assert_eq!(used.count(), 2);
}

#[test]
fn what_is_told_of_an_enrolment_counts_before_its_record_comes_and_stays_behind_it() {
    let mut first = World::new();
    let alice = first.enrol("alice");
    let (code, paper) = (alice.code_at(START), alice.paper(2));
    first.take(START, "alice", &alice, &paper).expect("right");
    first.take(START, "alice", &alice, &code).expect("right");
    let mut second = first.restarted_empty();
    tell(&mut first, &mut second, START);
    for typed in [&code, &paper] {
        let taken = second.take(START, "alice", &alice, typed);
        assert_eq!(taken, Err(CodeError::UsedAlready));
    }
    assert!(second.know("alice", &alice), "it is to be made durable");
    assert!(!second.know("alice", &alice));
    let mut third = first.restarted_empty();
    third.know("alice", &alice);
    tell(&mut second, &mut third, START);
    for world in [&mut second.restarted(START), &mut second, &mut third] {
        for typed in [&code, &paper] {
            let taken = world.take(START, "alice", &alice, typed);
            assert_eq!(taken, Err(CodeError::UsedAlready));
        }
    }
}

#[test]
fn a_restart_forgets_the_enrolments_that_no_record_has_and_no_other() {
    let mut world = World::new();
    let (old, alice) = (world.enrol("alice"), world.enrol("alice"));
    let bob = world.enrol("bob");
    for (user, enrolment) in [("alice", &old), ("alice", &alice), ("bob", &bob)] {
        let code = enrolment.code_at(START);
        world.take(START, user, enrolment, &code).expect("right");
    }
    let mut restarted = world.restarted(START);
    restarted.throttle.remember_at_most(2);
    let names = [name("alice"), name("bob")];
    let account = |user, enrolment: &Enrolment| Account {
        user,
        user_key: None,
        enrolment: Some(enrolment.factor.id()),
    };
    let accounts = [account(&names[0], &alice), account(&names[1], &bob)];
    restarted.throttle.know_all(accounts);
    for (user, enrolment) in [("alice", &alice), ("bob", &bob)] {
        let code = enrolment.code_at(START);
        let taken = restarted.take(START, user, enrolment, &code);
        assert_eq!(taken, Err(CodeError::UsedAlready));
    }
    let told = restarted.throttle.all(START).concat();
    let (_, entries) = record::decode(&told, None).expect("one record");
    let used = entries.iter().filter(|it| matches!(it, Entry::Used(..)));
    assert_eq!(used.count(), 2);
}

#[test]
fn unlocking_forgives_wrong_codes_and_revives_none() {
    let mut world = World::new();
    let alice = world.enrol("alice");
    let code = alice.code_at(START);
    world.take(START, "alice", &alice, &code).expect("right");
    let mut ticket = world.try_at(START, "alice", "192.0.2.1").expect("admitted");
    while world.code(START, &mut ticket).is_ok() {}
    let changes = world.throttle.unlock(&name("alice"), START, START);
    world.log.push(changes.expect("unlocked").into_bytes());
    assert_eq!(world.code(START, &mut ticket), Ok(()));
    for world in [&mut world.restarted(START), &mut world] {
        assert_eq!(
            world.take(START, "alice", &alice, &code),
            Err(CodeError::UsedAlready)
        );
    }
}
