use super::super::delegate::{PendingRequest, Request};
use super::super::tests::{name, realm};
use super::super::{AcceptedFile, Backup, Learnt, Terms};
use super::*;
use crate::approval::{ApproverKey, Waiting};
use crate::users::UserDirectory;
use crate::users::tests::device_key;

const PASSPHRASE: &[u8] = b"passphrase";

fn with(heir: &SigningKey) -> HandOver<'_> {
    HandOver {
        passphrase: PASSPHRASE,
        heir,
        new_passphrase: None,
        new_heir: None,
    }
}

fn open(directory: &Path) -> Realm {
    Realm::open(directory).expect("opens")
}

fn decide(directory: &Path, now_ms: u64) {
    let realm = open(directory);
    let heir = realm.open_heir(None, PASSPHRASE).expect("opens");
    realm
        .decide_hand_over(&with(&heir), now_ms)
        .expect("decided");
}

fn finish(directory: &Path, now_ms: u64) -> HandedOver {
    let done = open(directory).finish_hand_over(PASSPHRASE, now_ms, |_, _| ());
    done.expect("through")
}

fn hand_over(directory: &Path, now_ms: u64) -> HandedOver {
    decide(directory, now_ms);
    finish(directory, now_ms)
}

/// What a node knows that was told all.
fn node(realm: &Realm) -> UserDirectory {
    realm.users().expect("read")
}

/// A realm with two users, one of whom was deleted, roles, and what was revoked.
fn peopled() -> (tempfile::TempDir, OpenRealm) {
    let (directory, realm) = realm();
    let grant = "app/*:r".parse().expect("a grant");
    realm
        .change_roles(1, |roles| roles.add(name("ops"), vec![grant]))
        .expect("added");
    let roles = vec!["ops".parse().expect("a role")];
    realm
        .add_user(&name("alice"), roles, b"pw", 1)
        .expect("added");
    let key = SigningKey::generate().expect("random");
    let enrolled = device_key(&key);
    realm
        .add_user_without_password(&name("kate"), Vec::new(), 1)
        .expect("added");
    let new = super::super::NewKey {
        label: enrolled.label,
        usage: enrolled.usage,
        key: enrolled.key,
        expires_ms: 0,
        narrowing: None,
    };
    realm.enroll_key(&name("kate"), new, 2).expect("enrolled");
    realm
        .change_user(&name("kate"), 3, |user| user.deleted = true)
        .expect("deleted");
    let thief = sealmoot_crypto::signature::KeyId::from_bytes([9; 32]);
    realm
        .revoke_nodes(&[(name("n9"), thief)], 4)
        .expect("revoked");
    (directory, realm)
}

/// All that a directory says, but for versions and who signed.
fn told(users: &UserDirectory) -> String {
    let mut text = format!("{:?} {}\n", users.roles(), users.len());
    for record in users.records() {
        let mut user = record.user().clone();
        user.version = 0;
        let credential = record.credential().map(|held| held.body().password.clone());
        text.push_str(&format!("{user:?} {:?}\n", credential.is_some()));
    }
    let nodes = users
        .revoked_nodes_record()
        .map(|held| held.revoked().iter().len());
    text.push_str(&format!("{:?}", nodes.filter(|count| *count > 0)));
    text
}

#[test]
fn everything_that_the_root_signed_is_the_heirs() {
    let (_directory, realm) = peopled();
    let directory = realm.realm().directory().to_owned();
    let (id, former) = (realm.realm().id(), *realm.realm().root());
    let before = node(realm.realm());
    let heir = *realm.realm().roots().heir();
    drop(realm);
    let done = hand_over(&directory, 10);
    assert_eq!((done.users, done.lost.len()), (2, 0));
    let realm = done.realm;
    assert_eq!((realm.id(), realm.roots().number()), (id, 1));
    assert_eq!(realm.root().key_id(), heir);
    assert_ne!(*realm.root(), former);
    let after = node(&realm);
    assert_eq!(told(&after), told(&before));
    assert!(after.signed_records().all(|record| record.root() == 1));
    // These are what settles it, also where nothing was revoked.
    assert_eq!(after.settled_root(), 1);
    assert!(after.revoked_record().is_some() && after.revocations_record().is_some());
    // A node that was told of the roots takes all of it.
    let mut other = before;
    other.learn_roots(realm.roots()).expect("no fork");
    for record in after.signed_records() {
        other.apply_signed(record);
    }
    assert_eq!(other.digest(), after.digest());
    // And the realm goes on, and can be handed over again.
    let open = realm.unlock(PASSPHRASE).expect("unlocks");
    open.change_user(&name("alice"), 11, |user| user.enabled = false)
        .expect("changed");
    drop(open);
    let again = hand_over(&directory, 12);
    assert_eq!(again.realm.roots().number(), 2);
    assert!(node(&again.realm).active(&name("alice"), 13).is_none());
    assert!(!directory.join(ROTATION_FILE).exists());
}

#[test]
fn passwords_and_audit_logs_go_on() {
    let (_directory, realm) = peopled();
    let directory = realm.realm().directory().to_owned();
    let before = node(realm.realm());
    let password = |users: &UserDirectory| {
        let record = users.record(&name("alice")).expect("alice");
        let credential = record.credential().expect("a password").body().clone();
        let mut writer = Writer::new();
        credential.password.encode(&mut writer);
        (writer.finish(), credential.sealed_key)
    };
    let held = password(&before);
    let login = realm.login("a test").expect("the root's").encode();
    drop(realm);
    let done = hand_over(&directory, 10);
    assert_eq!(password(&node(&done.realm)), held);
    let open = done.realm.unlock(PASSPHRASE).expect("unlocks");
    let kept = open.login("a test").expect("the root's").encode();
    assert_eq!(kept.expose(), login.expose());
    let events = local::read(&directory).expect("read");
    let last = events.last().expect("events");
    let last = Event::decode(&last.event).expect("an event");
    assert_eq!(last.what, What::RootHandedOver);
}

#[test]
fn another_passphrase_guards_the_new_root_and_the_next_heir() {
    let (_directory, realm) = realm();
    let directory = realm.realm().directory().to_owned();
    drop(realm);
    let elsewhere = tempfile::tempdir().expect("a directory");
    let place = elsewhere.path().join("heir");
    let held = open(&directory);
    let heir = held.open_heir(None, PASSPHRASE).expect("opens");
    let mut with = with(&heir);
    with.new_passphrase = Some(b"new");
    with.new_heir = Some(&place);
    held.decide_hand_over(&with, 10).expect("decided");
    let refused = open(&directory).finish_hand_over(PASSPHRASE, 11, |_, _| ());
    assert!(matches!(refused, Err(RealmError::WrongPassphrase)));
    let done = open(&directory).finish_hand_over(b"new", 11, |_, _| ());
    let realm = done.expect("through").realm;
    assert!(!directory.join(HEIR_FILE).exists());
    let next = realm.open_heir(Some(&place), b"new").expect("opens");
    assert_eq!(next.verifying_key().key_id(), *realm.roots().heir());
    assert!(matches!(
        realm.unlock(PASSPHRASE),
        Err(RealmError::WrongPassphrase)
    ));
    open(&directory).unlock(b"new").expect("unlocks");
}

#[test]
fn only_the_heir_that_was_committed_to_takes_over() {
    let (_directory, realm) = realm();
    let (other_directory, other) = super::super::tests::realm();
    let directory = realm.realm().directory().to_owned();
    let another = other.realm().open_heir(None, PASSPHRASE).expect("opens");
    for heir in [another, SigningKey::generate().expect("random")] {
        let refused = realm.realm().decide_hand_over(&with(&heir), 10);
        assert!(matches!(refused, Err(RealmError::Roots(_))), "{refused:?}");
    }
    let heir = realm.realm().open_heir(None, PASSPHRASE).expect("opens");
    let mut wrong = with(&heir);
    wrong.passphrase = b"passphrasf";
    let refused = realm.realm().decide_hand_over(&wrong, 10);
    assert!(matches!(refused, Err(RealmError::WrongPassphrase)));
    // A place for the next heir that is taken.
    let mut taken = with(&heir);
    let file = directory.join("realm");
    taken.new_heir = Some(&file);
    let refused = realm.realm().decide_hand_over(&taken, 10);
    assert!(matches!(
        refused,
        Err(RealmError::File(FileError::Exists(_)))
    ));
    assert!(!directory.join(ROTATION_FILE).exists());
    assert_eq!(open(&directory).roots().number(), 0);
    drop(other_directory);
}

#[test]
fn with_an_approver_the_heir_opens_when_both_have_had_their_turn() {
    let (file, approver) = ApproverKey::create(b"other words").expect("made");
    let realms = tempfile::tempdir().expect("a directory");
    let realm = Realm::create_with(
        realms.path(),
        &name("acme"),
        PASSPHRASE,
        Some(approver.clone()),
        None,
    );
    let mut realm = realm.expect("created");
    // The second heir is made by the first handover: the rule goes on.
    for number in 1..=2 {
        let refused = realm.open_heir(None, PASSPHRASE);
        assert!(
            matches!(&refused, Err(RealmError::Heir(heir::HeirError::NotApproved(wanted)))
                if *wanted == approver),
            "{:?}",
            refused.err()
        );
        let sealed = std::fs::read(realm.directory().join(HEIR_FILE)).expect("read");
        let (waiting, _) = Waiting::read(&sealed).expect("waits");
        assert_eq!(waiting.realm, realm.id());
        let key = ApproverKey::open(&file, b"other words").expect("opens");
        let approved = key.approve(&sealed).expect("approved");
        let place = realms.path().join("approved");
        let _ = std::fs::remove_file(&place);
        files::write(&place, approved.expose(), Existing::Refuse).expect("written");
        // The approver's turn alone is not enough.
        assert!(matches!(
            realm.open_heir(Some(&place), b"other words"),
            Err(RealmError::Heir(heir::HeirError::WrongPassphrase))
        ));
        let heir = realm.open_heir(Some(&place), PASSPHRASE).expect("opens");
        realm.decide_hand_over(&with(&heir), 10).expect("decided");
        realm = finish(realm.directory(), 11).realm;
        assert_eq!(realm.roots().number(), number);
    }
}

#[test]
fn nothing_else_is_done_before_it_is_through_and_it_is_read_meanwhile() {
    let (_directory, realm) = peopled();
    let directory = realm.realm().directory().to_owned();
    let before = told(&node(realm.realm()));
    decide(&directory, 10);
    // Who opened it before has a root key that signs no more.
    let refused = realm.change_user(&name("alice"), 11, |_| ());
    assert!(matches!(refused, Err(RealmError::BeingHandedOver)));
    let pending = open(&directory);
    assert!(pending.is_being_handed_over());
    assert_eq!(told(&node(&pending)), before);
    assert!(matches!(
        pending.backup(PASSPHRASE, None, 12),
        Err(RealmError::BeingHandedOver)
    ));
    let heir = pending.open_heir(None, PASSPHRASE);
    assert!(heir.is_err(), "the present heir is the root now");
    assert!(matches!(
        pending.unlock(PASSPHRASE),
        Err(RealmError::BeingHandedOver)
    ));
    finish(&directory, 13);
    let refused = realm.change_user(&name("alice"), 14, |_| ());
    assert!(matches!(refused, Err(RealmError::HandedOver)));
    let refused = open(&directory).finish_hand_over(PASSPHRASE, 15, |_, _| ());
    assert!(matches!(refused, Err(RealmError::NothingDecided)));
}

#[test]
fn it_goes_on_from_wherever_it_was_interrupted() {
    let (_directory, realm) = peopled();
    let directory = realm.realm().directory().to_owned();
    let before = told(&node(realm.realm()));
    drop(realm);
    let untouched = tempfile::tempdir().expect("a directory");
    copy(&directory, &untouched.path().join("acme"));
    decide(&directory, 10);
    let decided = std::fs::read(directory.join(ROTATION_FILE)).expect("read");
    let through = finish(&directory, 11);
    drop(through);
    // In the order in which they are written; users in any order among themselves. What
    // the crash kept back is as it was before, or not there.
    let steps = [
        "users/kate",
        "users/alice",
        "roles",
        "sessions",
        "revoked-nodes",
        "revocations",
        "root.sealed",
        "heir.sealed",
        "roots",
    ];
    for done in 0..=steps.len() {
        let at = tempfile::tempdir().expect("a directory");
        let at = at.path().join("acme");
        copy(&directory, &at);
        for path in &steps[done..] {
            std::fs::remove_file(at.join(path)).expect("removed");
            let former = untouched.path().join("acme").join(path);
            if former.exists() {
                std::fs::copy(former, at.join(path)).expect("copied");
            }
        }
        files::write(&at.join(ROTATION_FILE), &decided, Existing::Refuse).expect("written");
        assert_eq!(told(&node(&open(&at))), before, "{done}");
        let realm = finish(&at, 12).realm;
        let users = node(&realm);
        assert_eq!(told(&users), before, "{done}");
        assert!(users.signed_records().all(|record| record.root() == 1));
        realm.open_heir(None, PASSPHRASE).expect("the next");
        realm.unlock(PASSPHRASE).expect("unlocks");
    }
}

#[test]
fn a_changed_decision_is_damage() {
    let (_directory, realm) = realm();
    let directory = realm.realm().directory().to_owned();
    decide(&directory, 10);
    let path = directory.join(ROTATION_FILE);
    let bytes = std::fs::read(&path).expect("read");
    let damage = |bytes: &[u8]| {
        files::write(&path, bytes, Existing::Replace).expect("written");
        match Realm::open(&directory) {
            Err(RealmError::Damaged { .. }) => true,
            Err(_) => false,
            // The box of the new root, or of the heir after it.
            Ok(realm) => match realm.finish_hand_over(PASSPHRASE, 11, |_, _| ()) {
                Err(RealmError::Damaged { .. }) => true,
                Ok(done) => done.realm.open_heir(None, PASSPHRASE).is_err(),
                Err(_) => false,
            },
        }
    };
    let root_box = bytes.len() - 200;
    for at in [0, 4, 8, 40, 100, 300, root_box, bytes.len() - 40] {
        let mut changed = bytes.clone();
        changed[at] ^= 1;
        assert!(damage(&changed), "{at}");
        let roots = directory.join(ROOTS_FILE);
        let _ = std::fs::remove_file(roots);
    }
    for length in [0, 4, 5, 100, bytes.len() - 1] {
        assert!(damage(&bytes[..length]), "{length}");
    }
}

#[test]
fn calls_of_nodes_that_were_not_given_up_stay_valid_and_no_others() {
    let (_directory, realm) = realm();
    let directory = realm.realm().directory().to_owned();
    for index in 0..=HANDOVER_CALLS_MAX {
        let address = format!("a:{}", index + 1);
        realm
            .call_nodes(&[(name("n1"), address)], 99, index as u64)
            .expect("called");
    }
    let heir = realm.realm().open_heir(None, PASSPHRASE).expect("opens");
    let refused = realm.realm().decide_hand_over(&with(&heir), 50);
    assert!(matches!(
        refused,
        Err(RealmError::TooManyCalls { count: 17 })
    ));
    let called = realm.realm().called().expect("read");
    let given_up = &called[3..4];
    let calls = realm.realm().calls().expect("read");
    realm.forget_nodes(given_up, 51).expect("forgotten");
    drop(realm);
    let done = hand_over(&directory, 52).realm;
    let gone = |call: &&crate::statement::Verified<crate::statement::Call>| {
        super::super::call_file(&call.body().id) == given_up[0].call
    };
    for call in &calls {
        assert_eq!(done.roots().is_call_valid(call), !gone(&call));
    }
}

#[test]
fn a_cluster_stays_valid_though_its_addresses_were_called_again() {
    let (_directory, realm) = realm();
    let directory = realm.realm().directory().to_owned();
    for now_ms in [1, 2] {
        let nodes = [(name("n1"), "a:1".to_owned())];
        realm.call_nodes(&nodes, 99, now_ms).expect("called");
    }
    let calls = realm.realm().calls().expect("read");
    drop(realm);
    let done = hand_over(&directory, 3).realm;
    assert_eq!(calls.len(), 2);
    assert!(calls.iter().all(|call| done.roots().is_call_valid(call)));
}

#[test]
fn damage_is_found_before_anything_is_decided() {
    for file in ["users/alice", "users/kate", "roles", "revoked-nodes"] {
        let (_directory, realm) = peopled();
        let directory = realm.realm().directory().to_owned();
        let heir = realm.realm().open_heir(None, PASSPHRASE).expect("opens");
        let path = directory.join(file);
        let mut bytes = std::fs::read(&path).expect("read");
        let last = bytes.len() - 1;
        bytes[last] ^= 1;
        files::write(&path, &bytes, Existing::Replace).expect("written");
        let refused = open(&directory).decide_hand_over(&with(&heir), 10);
        assert!(matches!(refused, Err(RealmError::Damaged { .. })), "{file}");
        assert!(!open(&directory).is_being_handed_over(), "{file}");
    }
}

#[test]
fn a_backup_of_before_is_told_apart_and_one_of_after_has_the_new_root() {
    let (_directory, realm) = peopled();
    let directory = realm.realm().directory().to_owned();
    let older = realm.realm().backup(PASSPHRASE, None, 5).expect("made").0;
    drop(realm);
    let done = hand_over(&directory, 10).realm;
    let newer = done.backup(PASSPHRASE, None, 11).expect("made").0;
    let restore = |bytes: &[u8]| {
        let realms = tempfile::tempdir().expect("a directory");
        let backup = Backup::open(bytes, PASSPHRASE).expect("opens");
        let realm = backup.restore(realms.path(), 100).expect("restored");
        (realms, realm)
    };
    let (_older, old) = restore(older.expose());
    let (_newer, new) = restore(newer.expose());
    assert_eq!((old.roots().number(), new.roots().number()), (0, 1));
    assert_eq!(old.id(), new.id());
    assert_eq!(told(&node(&new)), told(&node(&done)));
    // The heir is in no backup.
    assert!(new.open_heir(None, PASSPHRASE).is_err());
    let kept = done.directory().join(HEIR_FILE);
    let heir = new.open_heir(Some(&kept), PASSPHRASE).expect("opens");
    new.decide_hand_over(&with(&heir), 101).expect("decided");
    let again = finish(new.directory(), 102).realm;
    assert_eq!(again.roots().number(), 2);
    // What the older one signs is no news to who knows the new root.
    let mut nodes = node(&done);
    let old = old.unlock(PASSPHRASE).expect("unlocks");
    let stale = old
        .change_user(&name("alice"), 103, |user| user.enabled = false)
        .expect("signed");
    assert!(!nodes.apply_signed(stale.into()));
}

#[test]
fn what_a_thief_of_the_key_signed_is_named_and_never_signed_anew() {
    let (_directory, realm) = peopled();
    let directory = realm.realm().directory().to_owned();
    let stolen = tempfile::tempdir().expect("a directory");
    copy(&directory, &stolen.path().join("acme"));
    let thief = open(&stolen.path().join("acme"));
    let thief = thief.unlock(PASSPHRASE).expect("unlocks");
    let mallory = name("mallory");
    thief
        .add_user(&mallory, vec!["admin".parse().expect("a role")], b"pw", 20)
        .expect("signed");
    thief
        .change_user(&name("alice"), 21, |user| user.enabled = false)
        .expect("signed");
    let n1 = sealmoot_crypto::signature::KeyId::from_bytes([1; 32]);
    thief.revoke_nodes(&[(name("n1"), n1)], 22).expect("signed");
    let shown: Vec<_> = node(thief.realm()).signed_records().collect();
    // What nodes show has what is known here in it too.
    let learnt = realm.learn(shown, 23).expect("sorted");
    let mut foreign = learnt.foreign.clone();
    foreign.sort();
    assert_eq!(
        foreign,
        [
            RecordName::RevokedNodes,
            RecordName::User(name("alice")),
            RecordName::User(mallory.clone()),
        ]
    );
    assert_eq!(learnt.taken, 0);
    drop(realm);
    let done = hand_over(&directory, 30).realm;
    let users = node(&done);
    assert!(users.record(&mallory).is_none());
    assert!(users.active(&name("alice"), 31).is_some());
    assert!(!users.is_node_revoked(&n1));
    // At a node that has the thief's records it is the same.
    let mut nodes = node(thief.realm());
    nodes.learn_roots(done.roots()).expect("no fork");
    for record in users.signed_records() {
        nodes.apply_signed(record);
    }
    assert_eq!(nodes.digest(), users.digest());
    // What the thief signs now is no news, whatever its version.
    let late = thief
        .change_user(&name("alice"), 40, |_| ())
        .expect("signed");
    assert!(!nodes.apply_signed(late.into()));
    // And the thief cannot hand over: the key that was committed to is not to be had.
    let own = SigningKey::generate().expect("random");
    let forged = thief.realm().decide_hand_over(&with(&own), 41);
    assert!(matches!(forged, Err(RealmError::Roots(_))));
}

#[test]
fn a_realm_whose_node_shows_nothing_new_has_nothing_foreign() {
    let (_directory, realm) = peopled();
    let shown: Vec<_> = node(realm.realm()).signed_records().collect();
    // Older ones of ours are no news either.
    realm
        .change_user(&name("alice"), 9, |_| ())
        .expect("changed");
    let learnt = realm.learn(shown, 10).expect("sorted");
    assert_eq!(learnt, Learnt::default());
}

/// A root's directory, and elsewhere that of a delegate of it with a user.
struct Delegated {
    _directories: (tempfile::TempDir, tempfile::TempDir),
    directory: std::path::PathBuf,
    dana: OpenRealm,
}

fn ask(realms: &Path, id: &RealmId, text: &str) -> Request {
    let bytes = PendingRequest::create(realms, id, &name(text), b"delegate").expect("made");
    Request::decode(&bytes, id).expect("a request")
}

fn terms(grant: &str) -> Terms {
    Terms {
        grants: vec![grant.parse().expect("a grant")],
        may_delegate: false,
        expires_ms: 1_000,
    }
}

impl Delegated {
    fn new() -> Self {
        let (at, root) = realm();
        let elsewhere = tempfile::tempdir().expect("a directory");
        let request = ask(elsewhere.path(), &root.realm().id(), "dana");
        let granted = root
            .delegate(&request, &terms("app/*:rwdl"), 1)
            .expect("granted");
        let file = AcceptedFile::decode(&granted.file).expect("a delegation");
        let pending = PendingRequest::find(elsewhere.path(), &file).expect("asked for here");
        let dana = pending
            .accept(elsewhere.path(), file.name(), &file, b"delegate", 2)
            .expect("accepted");
        Self {
            directory: root.realm().directory().to_owned(),
            _directories: (at, elsewhere),
            dana,
        }
    }

    fn add(&self, text: &str) {
        let roles = vec!["app/*:r".parse().expect("a role")];
        self.dana
            .add_user_without_password(&name(text), roles, 10)
            .expect("added");
    }

    fn root(&self) -> OpenRealm {
        open(&self.directory).unlock(PASSPHRASE).expect("unlocks")
    }

    fn shown(&self) -> Vec<crate::records::SignedRecord> {
        node(self.dana.realm()).signed_records().collect()
    }
}

#[test]
fn users_of_delegates_live_on_and_delegates_go_on_when_they_have_accepted() {
    let world = Delegated::new();
    world.add("bob");
    let learnt = world.root().learn(world.shown(), 20).expect("learnt");
    assert_eq!((learnt.taken, learnt.foreign.len()), (1, 0));
    let done = hand_over(&world.directory, 30);
    assert!(done.lost.is_empty());
    let users = node(&done.realm);
    let bob = users.active(&name("bob"), 31).expect("bob");
    assert_eq!(bob.root(), 1);
    assert_eq!(bob.chain().expect("dana's").last().name, name("dana"));
    // What dana signs under the former root is refused from now on.
    world.add("carl");
    let mut nodes = node(&done.realm);
    for record in world.shown() {
        assert!(!nodes.apply_signed(record));
    }
    let [(delegate, file)] = &done.delegations[..] else {
        panic!("one delegate");
    };
    assert_eq!(*delegate, name("dana"));
    let file = AcceptedFile::decode(file).expect("a delegation");
    let dana = world.dana.accept_renewal(&file, 40).expect("accepted");
    dana.change_user(&name("bob"), 41, |user| user.enabled = false)
        .expect("changed");
    for record in node(dana.realm()).signed_records() {
        nodes.apply_signed(record);
    }
    assert!(nodes.active(&name("bob"), 42).is_none());
    assert!(nodes.active(&name("carl"), 42).is_some(), "carl came along");
    let learnt = done
        .realm
        .unlock(PASSPHRASE)
        .expect("unlocks")
        .learn(node(dana.realm()).signed_records().collect(), 43)
        .expect("learnt");
    assert_eq!((learnt.taken, learnt.foreign.len()), (2, 0));
}

#[test]
fn users_under_a_delegation_that_nobody_here_issued_are_foreign_and_lost() {
    let world = Delegated::new();
    let stolen = tempfile::tempdir().expect("a directory");
    copy(&world.directory, &stolen.path().join("acme"));
    let thief = open(&stolen.path().join("acme"));
    let thief = thief.unlock(PASSPHRASE).expect("unlocks");
    let elsewhere = tempfile::tempdir().expect("a directory");
    let request = ask(elsewhere.path(), &thief.realm().id(), "mallory");
    let granted = thief
        .delegate(&request, &terms("*:rwdla"), 5)
        .expect("granted");
    let file = AcceptedFile::decode(&granted.file).expect("a delegation");
    let pending = PendingRequest::find(elsewhere.path(), &file).expect("asked for");
    let accepted = pending.accept(elsewhere.path(), file.name(), &file, b"delegate", 6);
    let mallory = accepted.expect("accepted");
    let roles = vec!["*:rwdla".parse().expect("a role")];
    let eve = mallory.add_user_without_password(&name("eve"), roles, 7);
    let eve = eve.expect("signed");
    let learnt = world.root().learn(vec![eve.clone().into()], 8);
    let learnt = learnt.expect("sorted");
    assert_eq!(learnt.taken, 0);
    assert_eq!(learnt.foreign, [RecordName::User(name("eve"))]);
    // The same of a delegate of ours to whom the thief gave more.
    let ours = world.root();
    let wider = Request::decode(
        &Request::encode(&ours.realm().id(), &name("dana"), &world.dana.issuer),
        &ours.realm().id(),
    );
    let granted = thief.delegate(&wider.expect("a request"), &terms("*:rwdla"), 9);
    let file = AcceptedFile::decode(&granted.expect("granted").file).expect("a delegation");
    let chain = file.chain().clone();
    assert!(
        world
            .root()
            .realm()
            .issued()
            .expect("read")
            .first_of(&chain)
            .is_none()
    );
    // Also where such a record came to lie in the directory.
    world.root().write_user(&eve).expect("written");
    let done = hand_over(&world.directory, 30);
    assert_eq!(done.lost, [name("eve")]);
    assert!(node(&done.realm).record(&name("eve")).is_none());
}

#[test]
fn users_of_a_revoked_delegate_and_what_is_kept_behind_do_not_come_back() {
    let world = Delegated::new();
    world.add("bob");
    world.add("carl");
    let root = world.root();
    root.learn(world.shown(), 20).expect("learnt");
    // Narrowed: bob and carl are lost and kept aside.
    let id = root.realm().id();
    let request = Request::decode(
        &std::fs::read(world.directory.join("none")).unwrap_or_default(),
        &id,
    );
    assert!(request.is_err());
    root.revoke_delegate(&name("dana"), super::super::Fate::Drop, "left", 25)
        .expect("revoked");
    drop(root);
    let done = hand_over(&world.directory, 30);
    assert!(done.delegations.is_empty(), "a revoked one is no delegate");
    let mut nodes = node(&done.realm);
    assert!(nodes.record(&name("bob")).is_none());
    for record in world.shown() {
        assert!(!nodes.apply_signed(record));
    }
    assert!(nodes.revocations_record().is_some_and(|held| {
        let revoked = held.revocations();
        !revoked.entries.is_empty()
    }));
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).expect("made");
    for entry in std::fs::read_dir(from).expect("listed") {
        let entry = entry.expect("listed");
        let place = to.join(entry.file_name());
        if entry.file_type().expect("a kind").is_dir() {
            copy(&entry.path(), &place);
        } else {
            std::fs::copy(entry.path(), &place).expect("copied");
        }
    }
}
