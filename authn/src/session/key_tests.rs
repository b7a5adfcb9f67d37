//! Sessions that an enrolled key signed.

use sealmoot_crypto::signature::SigningKey;

use super::*;
use crate::narrowing::Narrowing;
use crate::roster::tests::Fixture;
use crate::statement::Verified;
use crate::users::UserRecord;
use crate::users::tests::{device_key, record, record_of_keys};

/// alice has two keys and no password.
struct World {
    fixture: Fixture,
    directory: UserDirectory,
    device: SigningKey,
    other: SigningKey,
    channel: SigningKey,
}

fn key() -> SigningKey {
    SigningKey::generate().expect("random")
}

impl World {
    fn new() -> Self {
        let mut world = Self {
            fixture: Fixture::new(),
            directory: UserDirectory::default(),
            device: key(),
            other: key(),
            channel: key(),
        };
        let keys = vec![device_key(&world.device), device_key(&world.other)];
        world.give("alice", 1, keys);
        world
    }

    fn give(&mut self, user: &str, version: u64, keys: Vec<EnrolledKey>) -> UserRecord {
        let record = record_of_keys(&self.fixture.root, user, version, keys);
        self.directory.apply(record.clone());
        record
    }

    fn keys(&self) -> Vec<EnrolledKey> {
        let alice = "alice".parse().expect("a name");
        let record = self.directory.record(&alice).expect("there");
        record.user().keys.clone()
    }

    fn judge(
        &self,
        signer: &SigningKey,
        receipt_for: &SigningKey,
        now_ms: u64,
    ) -> Result<Authenticated, SessionError> {
        let user: Name = "alice".parse().expect("a name");
        let session = Session {
            idle_ms: 0,
            user: user.clone(),
            session_key: self.channel.verifying_key(),
            expires_ms: 100,
        };
        let receipt = Receipt {
            user,
            user_key: receipt_for.verifying_key(),
            session_key: self.channel.verifying_key(),
            expires_ms: 200,
        };
        let realm = self.fixture.realm();
        verify_session(
            &self.fixture.roster(),
            &self.directory,
            Verified::issue(&realm, signer, 1, session).bytes(),
            Verified::issue(&realm, &self.fixture.nodes[1], 1, receipt).bytes(),
            &self.channel.verifying_key(),
            now_ms,
        )
    }
}

const WRONG_ISSUER: SessionError = SessionError::Statement(StatementError::WrongIssuer);

#[test]
fn an_enrolled_key_and_a_node_together_make_a_session() {
    let world = World::new();
    let session = world.judge(&world.device, &world.device, 99);
    let session = session.expect("believed");
    assert_eq!(session.user_key, world.device.verifying_key());
    assert_eq!(session.enrolled.as_ref(), Some(&world.keys()[0]));
    assert_eq!(session.narrowed_to(), None);
    assert_eq!(
        world.judge(&world.device, &world.device, 100),
        Err(SessionError::Expired)
    );
}

#[test]
fn a_receipt_for_one_key_makes_no_session_of_another() {
    let world = World::new();
    assert_eq!(
        world.judge(&world.device, &world.other, 1),
        Err(SessionError::User)
    );
    assert_eq!(
        world.judge(&world.other, &world.device, 1),
        Err(SessionError::User)
    );
}

#[test]
fn a_key_that_is_not_enrolled_signs_no_session() {
    let world = World::new();
    let stranger = key();
    for signer in [&stranger, &world.channel, &world.fixture.root] {
        assert_eq!(world.judge(signer, signer, 1), Err(WRONG_ISSUER));
        assert_eq!(world.judge(signer, &world.device, 1), Err(WRONG_ISSUER));
    }
}

#[test]
fn another_users_key_signs_no_session_of_this_one() {
    let mut world = World::new();
    let bobs = key();
    world.give("bob", 1, vec![device_key(&bobs)]);
    assert_eq!(world.judge(&bobs, &bobs, 1), Err(WRONG_ISSUER));
}

#[test]
fn a_receipt_for_the_password_makes_no_session_of_an_enrolled_key() {
    let mut world = World::new();
    let (password, device) = (key(), key());
    let with_password = record(&world.fixture.root, &password, "alice", 2, true);
    let mut user = with_password.user().clone();
    user.keys = vec![device_key(&device)];
    let user = Verified::issue(&world.fixture.realm(), &world.fixture.root, 1, user);
    let both = UserRecord::new(user, with_password.credential().cloned()).expect("one user");
    world.directory.apply(both);
    assert!(world.judge(&password, &password, 1).is_ok());
    assert!(world.judge(&device, &device, 1).is_ok());
    assert_eq!(world.judge(&device, &password, 1), Err(SessionError::User));
    assert_eq!(world.judge(&password, &device, 1), Err(SessionError::User));
}

#[test]
fn a_revoked_key_ends_its_sessions_and_makes_no_others() {
    let mut world = World::new();
    let revoked = world.judge(&world.device, &world.device, 1).expect("held");
    let stays = world.judge(&world.other, &world.other, 1).expect("held");
    assert!(revoked.still_holds(&world.directory, 1));
    let left = world.keys().split_off(1);
    world.give("alice", 2, left);
    assert!(!revoked.still_holds(&world.directory, 1));
    assert!(stays.still_holds(&world.directory, 1));
    assert_eq!(
        world.judge(&world.device, &world.device, 1),
        Err(WRONG_ISSUER)
    );
    assert!(world.judge(&world.other, &world.other, 1).is_ok());
}

#[test]
fn a_key_that_comes_back_under_another_id_does_not_bring_sessions_back() {
    let mut world = World::new();
    let held = world.judge(&world.device, &world.device, 1).expect("held");
    world.give("alice", 2, vec![device_key(&world.device)]);
    assert!(!held.still_holds(&world.directory, 1));
}

#[test]
fn a_session_ends_with_its_key() {
    let mut world = World::new();
    let mut keys = world.keys();
    keys[0].expires_ms = 50;
    world.give("alice", 2, keys);
    let session = world.judge(&world.device, &world.device, 49);
    let session = session.expect("believed");
    assert_eq!(session.expires_ms, 50);
    assert!(session.still_holds(&world.directory, 49));
    assert!(!session.still_holds(&world.directory, 50));
    assert_eq!(
        world.judge(&world.device, &world.device, 50),
        Err(SessionError::Expired)
    );
}

#[test]
fn a_session_is_narrowed_as_its_key_and_ends_when_that_changes() {
    let mut world = World::new();
    let mut keys = world.keys();
    let grant = "app/x:r".parse().expect("a grant");
    keys[0].narrowing = Some(Narrowing::new(vec![grant]).expect("one grant"));
    world.give("alice", 2, keys.clone());
    let narrowed = world.judge(&world.device, &world.device, 1).expect("held");
    let rules: Vec<Role> = vec!["app/x:r".parse().expect("a grant")];
    assert_eq!(narrowed.narrowed_to(), Some(&rules[..]));
    let other = world.judge(&world.other, &world.other, 1).expect("held");
    assert_eq!(other.narrowed_to(), None);
    keys[0].narrowing = None;
    world.give("alice", 3, keys);
    assert!(!narrowed.still_holds(&world.directory, 1));
    assert!(other.still_holds(&world.directory, 1));
}
