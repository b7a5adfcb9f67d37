//! Enrolling, revoking and replacing keys in a realm's directory.

use super::*;
use crate::realm::Realm;
use sealmoot_crypto::signature::SigningKey;

fn name(text: &str) -> Name {
    text.parse().expect("a name")
}

fn public() -> VerifyingKey {
    SigningKey::generate().expect("random").verifying_key()
}

fn device(key: VerifyingKey) -> NewKey {
    NewKey {
        label: "laptop".parse().expect("a label"),
        usage: KeyUse::Device,
        key,
        expires_ms: 0,
        narrowing: None,
    }
}

/// A realm with alice, who has nothing to log in with yet.
fn realm() -> (tempfile::TempDir, OpenRealm) {
    let directory = tempfile::tempdir().expect("a directory");
    let realm = Realm::create(directory.path(), &name("acme"), b"passphrase").expect("created");
    let open = realm.unlock(b"passphrase").expect("unlocks");
    open.add_user_without_password(&name("alice"), vec![], 1)
        .expect("added");
    (directory, open)
}

#[test]
fn keys_come_change_and_go_and_each_change_raises_the_version() {
    let (_directory, realm) = realm();
    let alice = name("alice");
    let (record, first) = realm
        .enroll_key(&alice, device(public()), 2)
        .expect("enrolled");
    assert_eq!((record.user().version, record.user().keys.len()), (2, 1));
    assert!(record.credential().is_none());
    let new = public();
    let (record, second) = realm
        .rotate_key(&alice, first.id, new, None, 3)
        .expect("rotated");
    assert_eq!(record.user().version, 3);
    assert_ne!(second.id, first.id);
    assert_eq!((second.key, second.label), (new, first.label));
    let (record, _) = realm.revoke_key(&alice, second.id, 4).expect("revoked");
    assert_eq!(record.user().version, 4);
    assert!(record.user().keys.is_empty());
    // What was signed is what is read.
    let stored = realm.realm().users().expect("read");
    let stored = stored.record(&alice).expect("there");
    assert_eq!(stored.user(), record.user());
}

#[test]
fn a_user_without_password_can_be_given_one_and_keeps_the_keys() {
    let (_directory, realm) = realm();
    let alice = name("alice");
    realm
        .enroll_key(&alice, device(public()), 2)
        .expect("enrolled");
    let record = realm.change_password(&alice, b"pw", 3).expect("changed");
    assert!(record.credential().is_some());
    assert_eq!(record.user().keys.len(), 1);
    let again = realm.add_user_without_password(&alice, vec![], 4);
    assert!(matches!(again, Err(RealmError::UserExists(_))));
}

#[test]
fn what_cannot_be_enrolled_is_refused_by_its_name() {
    let (_directory, realm) = realm();
    let (alice, nobody) = (name("alice"), name("nobody"));
    let key = public();
    let (_, enrolled) = realm.enroll_key(&alice, device(key), 10).expect("enrolled");
    assert!(matches!(
        realm.enroll_key(&nobody, device(public()), 10),
        Err(KeyError::Realm(RealmError::NoSuchUser(_)))
    ));
    assert!(matches!(
        realm.enroll_key(&alice, device(key), 10),
        Err(KeyError::EnrolledAlready { .. })
    ));
    assert!(matches!(
        realm.rotate_key(&alice, enrolled.id, key, None, 10),
        Err(KeyError::EnrolledAlready { .. })
    ));
    let expired = NewKey {
        expires_ms: 10,
        ..device(public())
    };
    assert!(matches!(
        realm.enroll_key(&alice, expired, 10),
        Err(KeyError::Expired)
    ));
    assert!(matches!(
        realm.rotate_key(&alice, enrolled.id, public(), Some(9), 10),
        Err(KeyError::Expired)
    ));
    let unknown = CredentialId::from_bytes([0; 8]);
    assert!(matches!(
        realm.revoke_key(&alice, unknown, 10),
        Err(KeyError::NoSuchKey { .. })
    ));
    assert!(matches!(
        realm.rotate_key(&alice, unknown, public(), None, 10),
        Err(KeyError::NoSuchKey { .. })
    ));
    let record = realm.change_password(&alice, b"pw", 11).expect("changed");
    let own = record.user().user_key.expect("a password");
    assert!(matches!(
        realm.enroll_key(&alice, device(own), 12),
        Err(KeyError::EnrolledAlready { .. })
    ));
    assert_eq!(record.user().keys, [enrolled]);
}

#[test]
fn no_more_keys_are_signed_than_a_reader_takes() {
    let (_directory, realm) = realm();
    let alice = name("alice");
    for index in 0..KEYS_MAX {
        let enrolled = realm.enroll_key(&alice, device(public()), 1);
        assert!(enrolled.is_ok(), "{index}");
    }
    assert!(matches!(
        realm.enroll_key(&alice, device(public()), 1),
        Err(KeyError::TooManyKeys)
    ));
    let bob = name("bob");
    realm
        .add_user_without_password(&bob, vec![], 1)
        .expect("added");
    let long = |index: usize| {
        let grant = format!("{}{index}:r", "k".repeat(4000));
        grant.parse().expect("a grant")
    };
    let narrowing = Narrowing::new((0..4).map(long).collect()).expect("few");
    let wide = NewKey {
        narrowing: Some(narrowing),
        ..device(public())
    };
    assert!(matches!(
        realm.enroll_key(&bob, wide, 1),
        Err(KeyError::TooManyKeys)
    ));
    assert!(realm.realm().users().is_ok());
}
