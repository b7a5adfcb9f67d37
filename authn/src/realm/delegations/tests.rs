use super::super::tests::{name, realm};
use super::super::{AcceptedFile, DelegationFileError, PendingRequest};
use super::*;
use crate::policy::Role;
use crate::realm_id::RealmId;
use crate::records::SignedRecord;
use crate::users::UserDirectory;
use crate::users::tests::device_key;
use sealmoot_crypto::signature::SigningKey;

const PASSPHRASE: &[u8] = b"delegate";

/// A root's directory and, elsewhere, that of a delegate of `app/*`.
struct World {
    _directories: (tempfile::TempDir, tempfile::TempDir),
    root: OpenRealm,
    request: Request,
    dana: OpenRealm,
}

fn terms(grant: &str, expires_ms: u64) -> Terms {
    Terms {
        grants: vec![grant.parse().expect("a grant")],
        may_delegate: false,
        expires_ms,
    }
}

fn ask(realms: &std::path::Path, realm: &RealmId, text: &str) -> Request {
    let bytes = PendingRequest::create(realms, realm, &name(text), PASSPHRASE).expect("made");
    Request::decode(&bytes, realm).expect("a request")
}

fn accept(realms: &std::path::Path, granted: &Granted) -> OpenRealm {
    let file = AcceptedFile::decode(&granted.file).expect("a delegation");
    let pending = PendingRequest::find(realms, &file).expect("asked for here");
    pending
        .accept(realms, file.name(), &file, PASSPHRASE, 2)
        .expect("accepted")
}

impl World {
    fn new() -> Self {
        let (root_directory, root) = realm();
        root.call_nodes(&[(name("n1"), "127.0.0.1:1".to_owned())], 9, 1)
            .expect("called");
        let elsewhere = tempfile::tempdir().expect("a directory");
        let request = ask(elsewhere.path(), &root.realm().id(), "dana");
        let granted = root
            .delegate(&request, &terms("app/*:rwdl", 100), 1)
            .expect("granted");
        let dana = accept(elsewhere.path(), &granted);
        Self {
            _directories: (root_directory, elsewhere),
            root,
            request,
            dana,
        }
    }

    fn elsewhere(&self) -> &std::path::Path {
        self._directories.1.path()
    }

    /// A user whom dana makes, with a key.
    fn add(&self, text: &str, role: &str) -> Result<UserRecord, RealmError> {
        let roles = vec![role.parse::<Role>().expect("a role")];
        self.dana.add_user_without_password(&name(text), roles, 10)
    }

    /// What the root's directory learns of dana's.
    fn learn(&self) -> usize {
        let users = self.dana.realm().users().expect("read");
        let records = users.signed_records().collect();
        self.root.learn(records, 20).expect("learnt").taken
    }

    /// A node that was told everything which the root's directory has.
    fn node(&self) -> UserDirectory {
        self.root.realm().users().expect("read")
    }
}

#[test]
fn a_delegate_adds_changes_and_deletes_its_users() {
    let world = World::new();
    world.add("bob", "app/*:r").expect("added");
    let key = SigningKey::generate().expect("random");
    let enrolled = device_key(&key);
    let new = super::super::NewKey {
        label: enrolled.label,
        usage: enrolled.usage,
        key: enrolled.key,
        expires_ms: 0,
        narrowing: None,
    };
    world
        .dana
        .enroll_key(&name("bob"), new, 11)
        .expect("enrolled");
    let changed = world.dana.change_user(&name("bob"), 12, |user| {
        user.enabled = false;
    });
    assert_eq!(changed.expect("changed").user().version, 3);
    assert_eq!(world.learn(), 1);
    assert_eq!(world.learn(), 0);
    assert!(world.node().active(&name("bob"), 20).is_none());
    world
        .dana
        .change_user(&name("bob"), 13, |user| user.deleted = true)
        .expect("deleted");
    assert_eq!(world.learn(), 1);
    // The directory opens again as what it is.
    let again = Realm::open(world.dana.realm().directory()).expect("opens");
    assert_eq!(again.path(), SerialPath::of([1]));
    assert!(matches!(
        again.unlock(b"another"),
        Err(RealmError::WrongPassphrase)
    ));
    let untold = world.dana.realm().untold().expect("read");
    assert_eq!(untold[0].addresses, ["127.0.0.1:1"]);
}

#[test]
fn what_takes_the_root_is_refused_to_a_delegate_by_name() {
    let world = World::new();
    world.add("bob", "app/*:r").expect("added");
    let dana = &world.dana;
    let bob = name("bob");
    let not_the_root = |refused: Option<RealmError>| {
        assert!(matches!(refused, Some(RealmError::NotTheRoot(_))));
    };
    not_the_root(dana.add_user(&name("carl"), vec![], b"pw", 10).err());
    not_the_root(dana.change_password(&bob, b"pw", 10).err());
    not_the_root(dana.unlock_user(&bob, 10).err());
    not_the_root(
        dana.change_roles(10, |roles| roles.add(name("ops"), vec![]))
            .err(),
    );
    not_the_root(dana.delete_role(&name("ops"), true, 10).err());
    let nodes = [(name("n1"), "127.0.0.1:1".to_owned())];
    not_the_root(dana.call_nodes(&nodes, 9, 10).err());
    not_the_root(dana.realm().backup(PASSPHRASE, None, 10).err());
    not_the_root(
        dana.revoke_delegate(&name("dana"), Fate::Drop, "", 10)
            .err(),
    );
}

#[test]
fn a_delegate_makes_nobody_outside_of_its_bounds() {
    let world = World::new();
    let refused = |user: &str, role: &str| match world.add(user, role) {
        Err(RealmError::Delegation(error)) => Some(error),
        Ok(_) => None,
        Err(error) => panic!("{error}"),
    };
    let outside = |role: &str| Some(DelegationError::RoleOutside(role.parse().expect("a role")));
    assert_eq!(refused("bob", "log/*:r"), outside("log/*:r"));
    assert_eq!(refused("bob", "admin"), outside("admin"));
    assert_eq!(
        refused("dana", "app/*:r"),
        Some(DelegationError::OwnRecord(name("dana")))
    );
    assert_eq!(
        refused("root", "app/*:r"),
        Some(DelegationError::ReservedName(name("root")))
    );
    assert!(world.dana.realm().users().expect("read").is_empty());
}

#[test]
fn a_named_role_that_grants_more_now_is_not_handed_out() {
    let world = World::new();
    let grant = |text: &str| vec![text.parse::<Grant>().expect("a grant")];
    let record = world
        .root
        .change_roles(3, |roles| {
            roles.add(name("ops"), grant("app/*:r"))?;
            roles.add(name("all"), grant("*:r"))
        })
        .expect("changed");
    let learnt = world.dana.learn(vec![SignedRecord::from(record)], 4);
    assert_eq!(learnt.expect("learnt").taken, 1);
    world.add("bob", "ops").expect("added");
    assert!(matches!(
        world.add("carl", "all"),
        Err(RealmError::Delegation(DelegationError::RoleOutside(_)))
    ));
}

#[test]
fn a_delegate_does_not_touch_the_roots_users() {
    let world = World::new();
    let carl = name("carl");
    let record = world
        .root
        .add_user_without_password(&carl, vec![Role::Admin], 2)
        .expect("added");
    // Nor does it learn of them.
    let learnt = world.dana.learn(vec![record.clone().into()], 4);
    assert_eq!(learnt.expect("learnt").taken, 0);
    // Not even when the record lies in its directory.
    world.dana.write_user(&record).expect("written");
    let refused = world
        .dana
        .change_user(&carl, 10, |user| user.enabled = false);
    assert!(matches!(refused, Err(RealmError::OthersUser(name)) if name == carl));
    let deleted = world
        .root
        .change_user(&carl, 11, |user| user.deleted = true);
    world
        .dana
        .write_user(&deleted.expect("deleted"))
        .expect("written");
    assert!(matches!(
        world.add("carl", "app/*:r"),
        Err(RealmError::OthersUser(_))
    ));
}

#[test]
fn what_the_root_changes_of_a_delegates_user_is_the_roots_from_then_on() {
    let world = World::new();
    let bob = name("bob");
    let made = world.add("bob", "app/*:r").expect("added");
    world.learn();
    world
        .root
        .change_user(&bob, 30, |user| user.enabled = false)
        .expect("disabled");
    let mut node = world.node();
    assert!(node.active(&bob, 50).is_none());
    let back = world
        .dana
        .change_user(&bob, 31, |user| user.enabled = true)
        .expect("in its own directory");
    assert!(!node.apply(back));
    assert!(!node.apply(made));
    assert_eq!(world.learn(), 0);
}

#[test]
fn nobody_is_changed_before_or_after_the_delegation_holds() {
    let world = World::new();
    world.add("bob", "app/*:r").expect("added");
    for now_ms in [0, 100, 5000] {
        let refused = world
            .dana
            .change_user(&name("bob"), now_ms, |user| user.enabled = false);
        assert!(matches!(
            refused,
            Err(RealmError::Delegation(DelegationError::NotNow(_)))
        ));
    }
}

#[test]
fn a_revoked_delegate_changes_nobody_once_its_directory_knows() {
    let world = World::new();
    world.add("bob", "app/*:r").expect("added");
    world
        .root
        .revoke_delegate(&name("dana"), Fate::Drop, "left", 20)
        .expect("revoked");
    let record = world.root.realm().revocations().expect("read");
    let learnt = world.dana.learn(vec![record.expect("some").into()], 21);
    assert_eq!(learnt.expect("learnt").taken, 1);
    assert!(
        world
            .dana
            .realm()
            .user(&name("bob"))
            .expect("read")
            .is_none()
    );
    assert!(matches!(
        world.add("carl", "app/*:r"),
        Err(RealmError::Delegation(DelegationError::Revoked { .. }))
    ));
}

#[test]
fn renewing_keeps_the_users_and_narrowing_ends_those_outside() {
    let world = World::new();
    world.add("bob", "app/x/*:r").expect("added");
    world.add("carl", "app/*:rw").expect("added");
    world.learn();
    let mut node = world.node();
    let renewed = world
        .root
        .delegate(&world.request, &terms("app/*:rwdla", 1000), 30)
        .expect("renewed");
    assert!(renewed.renewed && renewed.lost.is_empty());
    assert_eq!(renewed.chain.path(), SerialPath::of([1]));
    for record in world.node().signed_records() {
        node.apply_signed(record);
    }
    assert!(node.active(&name("bob"), 999).is_some());

    let narrower = world
        .root
        .delegate(&world.request, &terms("app/x/*:r", 1000), 40)
        .expect("renewed");
    assert_eq!(narrower.lost, [name("carl")]);
    for record in world.node().signed_records() {
        node.apply_signed(record);
    }
    assert!(node.active(&name("bob"), 999).is_some());
    assert!(node.record(&name("carl")).is_none());
    // The wider delegation is believed no longer.
    let replayed = world.add("dave", "app/*:rw").expect("in its own directory");
    node.apply(replayed);
    assert!(node.record(&name("dave")).is_none());

    // The delegate goes on under the newer one, and not back to the older.
    let file = AcceptedFile::decode(&narrower.file).expect("a delegation");
    let older = AcceptedFile::decode(&renewed.file).expect("a delegation");
    let dana = world.dana.accept_renewal(&file, 41).expect("accepted");
    assert!(dana.realm().user(&name("bob")).expect("read").is_some());
    assert!(dana.accept_renewal(&older, 42).is_err());
}

#[test]
fn a_revoked_delegates_users_live_on_when_the_root_adopts_them() {
    let world = World::new();
    world.add("bob", "app/*:r").expect("added");
    world.learn();
    let mut node = world.node();
    let revoked = world
        .root
        .revoke_delegate(&name("dana"), Fate::Adopt, "left", 20)
        .expect("revoked");
    assert_eq!(revoked.adopted, [name("bob")]);
    assert!(revoked.dropped.is_empty());
    for record in world.node().signed_records() {
        node.apply_signed(record);
    }
    let bob = node.active(&name("bob"), 5000).expect("lives on");
    assert!(bob.chain().is_none());
    assert_eq!(bob.user().roles, ["app/*:r".parse().expect("a role")]);
    let untold = world.root.realm().untold().expect("read");
    let told: Vec<_> = untold.iter().flat_map(|line| &line.records).collect();
    assert!(told.contains(&&RecordName::Revocations));
    assert!(told.contains(&&RecordName::User(name("bob"))));
}

#[test]
fn a_revoked_delegates_users_end_when_the_root_drops_them() {
    let world = World::new();
    world.add("bob", "app/*:r").expect("added");
    world.learn();
    let mut node = world.node();
    let revoked = world
        .root
        .revoke_delegate(&name("dana"), Fate::Drop, "left", 20)
        .expect("revoked");
    assert_eq!(revoked.dropped, [name("bob")]);
    let record = world.root.realm().revocations().expect("read");
    node.apply_signed(record.expect("some").into());
    assert!(node.record(&name("bob")).is_none());
    assert!(
        world
            .root
            .realm()
            .user(&name("bob"))
            .expect("read")
            .is_none()
    );
    // What comes late is not learnt.
    assert_eq!(world.learn(), 0);
    assert!(matches!(
        world
            .root
            .revoke_delegate(&name("dana"), Fate::Drop, "left", 21),
        Err(RealmError::NoSuchDelegate(_))
    ));
}

#[test]
fn a_serial_is_never_given_twice() {
    let world = World::new();
    let id = world.root.realm().id();
    let other = tempfile::tempdir().expect("a directory");
    let twin = ask(other.path(), &id, "dana");
    let wide = terms("app/*:r", 100);
    assert!(matches!(
        world.root.delegate(&twin, &wide, 5),
        Err(RealmError::DelegateExists(_))
    ));
    world
        .root
        .revoke_delegate(&name("dana"), Fate::Drop, "lost", 6)
        .expect("revoked");
    let granted = world.root.delegate(&twin, &wide, 7).expect("granted");
    assert_eq!(granted.chain.path(), SerialPath::of([2]));
    assert!(!granted.renewed);
}

#[test]
fn a_delegate_delegates_only_where_it_may_and_within_its_bounds() {
    let world = World::new();
    let id = world.root.realm().id();
    let erin_directory = tempfile::tempdir().expect("a directory");
    let erin = ask(erin_directory.path(), &id, "erin");
    assert!(matches!(
        world.dana.delegate(&erin, &terms("app/*:r", 50), 10),
        Err(RealmError::Delegation(DelegationError::MayNotDelegate(_)))
    ));
    let wider = Terms {
        may_delegate: true,
        ..terms("app/*:rwdl", 100)
    };
    let granted = world
        .root
        .delegate(&world.request, &wider, 11)
        .expect("renewed");
    let file = AcceptedFile::decode(&granted.file).expect("a delegation");
    let dana = world.dana.accept_renewal(&file, 12).expect("accepted");
    assert!(matches!(
        dana.delegate(&erin, &terms("log/*:r", 50), 13),
        Err(RealmError::Delegation(DelegationError::WiderGrant { .. }))
    ));
    assert!(matches!(
        dana.delegate(&erin, &terms("app/*:r", 101), 13),
        Err(RealmError::Delegation(DelegationError::Longer(_)))
    ));
    let granted = dana
        .delegate(&erin, &terms("app/*:r", 50), 13)
        .expect("granted");
    let erin = accept(erin_directory.path(), &granted);
    let bob = erin.add_user_without_password(&name("bob"), vec![], 14);
    let mut node = UserDirectory::default();
    assert!(node.apply(bob.expect("added")));
}

#[test]
fn requests_and_delegations_that_were_changed_or_cut_are_refused() {
    let world = World::new();
    let id = world.root.realm().id();
    let directory = tempfile::tempdir().expect("a directory");
    let request = PendingRequest::create(directory.path(), &id, &name("erin"), b"pp");
    let request = request.expect("made");
    for at in 0..request.len() {
        let mut changed = request.clone();
        changed[at] ^= 1;
        assert!(Request::decode(&changed, &id).is_err(), "byte {at}");
        assert!(Request::decode(&request[..at], &id).is_err());
    }
    let other = RealmId::from_bytes([7; 32]);
    assert_eq!(
        Request::decode(&request, &other).err(),
        Some(DelegationFileError::WrongRealm(id))
    );
    let granted = world
        .root
        .delegate(&world.request, &terms("app/*:rwdl", 200), 5)
        .expect("renewed");
    for at in 0..granted.file.len() {
        let mut changed = granted.file.clone();
        changed[at] ^= 1;
        assert!(AcceptedFile::decode(&changed).is_err(), "byte {at}");
        assert!(AcceptedFile::decode(&granted.file[..at]).is_err());
    }
    // For a key that was made elsewhere.
    let file = AcceptedFile::decode(&granted.file).expect("a delegation");
    assert_eq!(
        PendingRequest::find(directory.path(), &file).err(),
        Some(DelegationFileError::NoRequest)
    );
    assert_eq!(
        PendingRequest::find(world.elsewhere(), &file).err(),
        Some(DelegationFileError::NoRequest)
    );
}

#[test]
fn a_second_request_of_one_name_does_not_replace_the_first() {
    let world = World::new();
    let id = world.root.realm().id();
    let directory = tempfile::tempdir().expect("a directory");
    let ask = || PendingRequest::create(directory.path(), &id, &name("erin"), b"pp");
    ask().expect("made");
    assert!(matches!(ask(), Err(RealmError::File(FileError::Exists(_)))));
}

#[test]
fn delegations_and_revocations_survive_a_backup() {
    let world = World::new();
    world.add("bob", "app/*:r").expect("added");
    world.learn();
    let id = world.root.realm().id();
    let directory = tempfile::tempdir().expect("a directory");
    let erin = ask(directory.path(), &id, "erin");
    world
        .root
        .delegate(&erin, &terms("log/*:r", 100), 5)
        .expect("granted");
    world
        .root
        .revoke_delegate(&name("erin"), Fate::Drop, "left", 6)
        .expect("revoked");
    let (backup, _) = world
        .root
        .realm()
        .backup(b"passphrase", None, 7)
        .expect("made");
    let backup = super::super::Backup::open(backup.expose(), b"passphrase").expect("opens");
    let elsewhere = tempfile::tempdir().expect("a directory");
    let restored = backup.restore(elsewhere.path(), 8).expect("restored");
    assert_eq!(restored.delegations().expect("read").len(), 2);
    assert!(restored.delegation(&name("dana")).is_ok());
    assert!(matches!(
        restored.delegation(&name("erin")),
        Err(RealmError::NoSuchDelegate(_))
    ));
    assert!(restored.user(&name("bob")).expect("read").is_some());
    let untold = restored.untold().expect("read");
    assert!(untold[0].records.contains(&RecordName::Revocations));
    // A serial of the lost realm does not come again.
    let open = restored.unlock(b"passphrase").expect("unlocks");
    let fred = ask(directory.path(), &id, "fred");
    let granted = open
        .delegate(&fred, &terms("log/*:r", 100), 9)
        .expect("granted");
    assert!(granted.chain.last().serial >= 8);
}

/// A world in which dana's user mallory has the role `ops`, which lies within what was
/// delegated and then grows.
fn world_with_a_role_that_grew(first: &str, then: &str) -> World {
    let world = World::new();
    let grants = |text: &str| vec![text.parse::<Grant>().expect("a grant")];
    let record = world
        .root
        .change_roles(3, |roles| roles.add(name("ops"), grants(first)))
        .expect("changed");
    let learnt = world.dana.learn(vec![SignedRecord::from(record)], 4);
    assert_eq!(learnt.expect("learnt").taken, 1);
    world.add("mallory", "ops").expect("added");
    world.learn();
    world
        .root
        .change_roles(21, |roles| {
            roles.grant(&name("ops"), then.parse().expect("a grant"))
        })
        .expect("grown");
    world
}

fn roles_of(node: &UserDirectory, text: &str) -> Vec<String> {
    let record = node.record(&name(text)).expect("a user");
    record.user().roles.iter().map(Role::to_string).collect()
}

#[test]
fn adopting_a_user_does_not_widen_what_a_role_gave() {
    let world = world_with_a_role_that_grew("app/*:r", "*:rwdla");
    let revoked = world
        .root
        .revoke_delegate(&name("dana"), Fate::Adopt, "left", 30)
        .expect("revoked");
    assert_eq!(roles_of(&world.node(), "mallory"), ["app/*:rwdl"]);
    let replaced = ReplacedRole {
        user: name("mallory"),
        role: name("ops"),
        grants: vec!["app/*:rwdl".parse().expect("a grant")],
    };
    assert_eq!(revoked.replaced, [replaced]);
}

#[test]
fn no_change_by_the_root_widens_what_a_role_gave() {
    type Change = fn(&OpenRealm) -> UserRecord;
    let changes: [Change; 5] = [
        |root| {
            let change = root.change_user(&name("mallory"), 30, |user| user.enabled = false);
            change.expect("disabled")
        },
        |root| root.enable_user(&name("mallory"), 30).expect("enabled").0,
        |root| {
            let changed = root.change_password(&name("mallory"), b"pw", 30);
            changed.expect("changed")
        },
        |root| {
            let key = device_key(&SigningKey::generate().expect("random"));
            let new = super::super::NewKey {
                label: key.label,
                usage: key.usage,
                key: key.key,
                expires_ms: 0,
                narrowing: None,
            };
            root.enroll_key(&name("mallory"), new, 30)
                .expect("enrolled")
                .0
        },
        |root| {
            let other = ["app/x:r".parse().expect("a grant")];
            let changed = root.change_roles_of_user(&name("mallory"), &[], &other, 30);
            changed.expect("changed").0
        },
    ];
    for (index, change) in changes.iter().enumerate() {
        let world = world_with_a_role_that_grew("app/*:r", "*:rwdla");
        let told = world.root.roles_to_replace(&name("mallory")).expect("read");
        assert_eq!(told.len(), 1, "{index}");
        let record = change(&world.root);
        assert!(record.chain().is_none(), "{index}");
        let roles: Vec<String> = record.user().roles.iter().map(Role::to_string).collect();
        assert_eq!(roles[0], "app/*:rwdl", "{index}: {roles:?}");
        assert!(!roles.contains(&"ops".to_owned()), "{index}: {roles:?}");
        // The root's own users keep the names of their roles.
        let told = world.root.roles_to_replace(&name("mallory")).expect("read");
        assert!(told.is_empty(), "{index}");
    }
}

#[test]
fn a_role_that_lay_within_the_delegation_grows_for_nobody_who_was_taken_over() {
    let world = world_with_a_role_that_grew("app/*:r", "app/x:w");
    world
        .root
        .change_user(&name("mallory"), 30, |user| user.enabled = false)
        .expect("disabled");
    let wide: Grant = "*:rwdla".parse().expect("a grant");
    world
        .root
        .change_roles(31, |roles| roles.grant(&name("ops"), wide.clone()))
        .expect("grown");
    assert_eq!(roles_of(&world.node(), "mallory"), ["app/*:r", "app/x:w"]);
}

#[test]
fn the_root_gives_a_role_by_naming_it_and_takes_it_with_all_that_it_gave() {
    let ops = [Role::Named(name("ops"))];
    let world = world_with_a_role_that_grew("app/*:r", "*:rwdla");
    let given = world
        .root
        .change_roles_of_user(&name("mallory"), &[], &ops, 30)
        .expect("changed");
    assert_eq!(given.0.user().roles, ops);
    assert!(given.1.is_empty());
    let world = world_with_a_role_that_grew("app/*:r", "*:rwdla");
    let taken = world
        .root
        .change_roles_of_user(&name("mallory"), &ops, &[], 30)
        .expect("changed");
    assert!(taken.0.user().roles.is_empty() && taken.1.is_empty());
}

#[test]
fn a_role_that_needs_a_second_factor_is_not_turned_into_grants_that_need_none() {
    let world = world_with_a_role_that_grew("app/*:r", "app/x:w");
    world
        .root
        .change_roles(22, |roles| roles.need_second_factor(&name("ops"), true))
        .expect("needed");
    let revoked = world
        .root
        .revoke_delegate(&name("dana"), Fate::Adopt, "left", 30)
        .expect("revoked");
    assert!(roles_of(&world.node(), "mallory").is_empty());
    assert!(revoked.replaced[0].grants.is_empty());
}

#[test]
fn an_elder_delegate_does_not_widen_a_younger_ones_user() {
    let world = World::new();
    let grants = |text: &str| vec![text.parse::<Grant>().expect("a grant")];
    let roles = world
        .root
        .change_roles(3, |roles| roles.add(name("ops"), grants("app/*:r")))
        .expect("changed");
    let wider = Terms {
        may_delegate: true,
        ..terms("app/*:rwdl", 100)
    };
    let granted = world.root.delegate(&world.request, &wider, 11);
    let file = AcceptedFile::decode(&granted.expect("renewed").file).expect("a delegation");
    let dana = world.dana.accept_renewal(&file, 12).expect("accepted");
    let directory = tempfile::tempdir().expect("a directory");
    let erin = ask(directory.path(), &world.root.realm().id(), "erin");
    let narrow = dana.delegate(&erin, &terms("app/x/*:r", 50), 13);
    let erin = accept(directory.path(), &narrow.expect("granted"));
    // What the role grants is too much for erin to hand out, but not when erin does.
    let mallory = erin
        .add_user_without_password(&name("mallory"), vec![Role::Named(name("ops"))], 14)
        .err();
    assert!(matches!(mallory, Some(RealmError::Roles(_))));
    let within = world
        .root
        .change_roles(15, |roles| roles.add(name("low"), grants("app/x/*:r")))
        .expect("changed");
    erin.learn(vec![within.into()], 16).expect("learnt");
    let low = vec![Role::Named(name("low"))];
    let mallory = erin.add_user_without_password(&name("mallory"), low, 17);
    let wide = world
        .root
        .change_roles(18, |roles| {
            roles.grant(&name("low"), "app/*:rw".parse().expect("a grant"))
        })
        .expect("changed");
    drop(roles);
    let records = vec![wide.into(), mallory.expect("added").into()];
    dana.learn(records, 19).expect("learnt");
    let changed = dana.change_user(&name("mallory"), 20, |user| user.enabled = false);
    let changed = changed.expect("changed");
    assert_eq!(changed.chain().expect("dana's").path(), SerialPath::of([1]));
    assert_eq!(
        changed.user().roles,
        ["app/x/*:r".parse().expect("a grant")]
    );
}

#[test]
fn who_was_lost_by_narrowing_does_not_come_back_by_an_older_version() {
    let world = World::new();
    let first = world.add("bob", "app/x/*:r").expect("added");
    let wide = vec!["app/*:rw".parse().expect("a role")];
    let change = |change: &dyn Fn(&mut User)| {
        let changed = world.dana.change_user(&name("bob"), 11, change);
        changed.expect("changed")
    };
    change(&|user| user.roles = wide.clone());
    change(&|user| user.enabled = false);
    world.learn();
    let narrower = world
        .root
        .delegate(&world.request, &terms("app/x/*:r", 1000), 40)
        .expect("narrowed");
    assert_eq!(narrower.lost, [name("bob")]);
    let mut node = world.node();
    assert!(node.record(&name("bob")).is_none());
    assert!(
        world
            .root
            .realm()
            .user(&name("bob"))
            .expect("read")
            .is_none()
    );
    // Whoever kept the first version puts the newer delegation in front.
    let statement = first.user_statement().clone();
    let replayed = UserRecord::by_delegate(narrower.chain.clone(), statement, None);
    let replayed = replayed.expect("within");
    assert!(!node.apply(replayed.clone()));
    let learnt = world.root.learn(vec![replayed.clone().into()], 41);
    assert_eq!(learnt.expect("learnt").taken, 0);
    // The directory opens again and remembers.
    let again = Realm::open(world.root.realm().directory()).expect("opens");
    assert!(!again.users().expect("read").apply(replayed));
    let (listed, _) = again.list_users(None, usize::MAX).expect("listed");
    assert!(listed.is_empty());

    // The delegate makes bob anew, by a version that is news.
    let file = AcceptedFile::decode(&narrower.file).expect("a delegation");
    let dana = world.dana.accept_renewal(&file, 42).expect("accepted");
    let revocations = world.root.realm().revocations().expect("read");
    dana.learn(vec![revocations.expect("some").into()], 43)
        .expect("learnt");
    let role = vec!["app/x/*:r".parse().expect("a role")];
    let made = dana.add_user_without_password(&name("bob"), role, 44);
    let made = made.expect("added");
    assert_eq!(made.user().version, 4);
    assert!(node.apply(made.clone()));
    assert_eq!(
        world
            .root
            .learn(vec![made.into()], 45)
            .expect("learnt")
            .taken,
        1
    );
    assert!(
        world
            .root
            .realm()
            .user(&name("bob"))
            .expect("read")
            .is_some()
    );
}

#[test]
fn a_younger_delegates_user_counts_again_in_the_directory_once_the_elder_is_revoked() {
    let world = World::new();
    let id = world.root.realm().id();
    let directory = tempfile::tempdir().expect("a directory");
    let erin = ask(directory.path(), &id, "erin");
    let granted = world.root.delegate(&erin, &terms("app/*:r", 100), 5);
    let erin = accept(directory.path(), &granted.expect("granted"));
    let younger = erin.add_user_without_password(&name("bob"), vec![], 14);
    let younger = younger.expect("added");
    let learnt = world.root.learn(vec![younger.into()], 15);
    assert_eq!(learnt.expect("learnt").taken, 1);
    world.add("bob", "app/*:r").expect("added");
    assert_eq!(world.learn(), 1);
    let user = || world.root.realm().user(&name("bob")).expect("read");
    let path = || user().expect("one").chain().expect("a chain").path();
    assert_eq!(path(), SerialPath::of([1]));
    world
        .root
        .revoke_delegate(&name("dana"), Fate::Drop, "left", 20)
        .expect("revoked");
    assert_eq!(path(), SerialPath::of([2]));
    let (listed, _) = world.root.realm().list_users(None, 9).expect("listed");
    assert_eq!(listed.len(), 1);
    assert_eq!(world.learn(), 0);
}

#[test]
fn changed_records_that_do_not_count_are_damage() {
    let world = World::new();
    world.add("bob", "app/*:rw").expect("added");
    world.learn();
    world
        .root
        .delegate(&world.request, &terms("app/x/*:r", 1000), 40)
        .expect("narrowed");
    let former = world.root.realm().directory().join("former");
    let bytes = std::fs::read(former.join("1_bob")).expect("one");
    let read = |file: &str, bytes: &[u8]| {
        files::write(&former.join(file), bytes, Existing::Replace).expect("written");
        let read = world.root.realm().users();
        std::fs::remove_file(former.join(file)).expect("removed");
        read.err()
    };
    let mut changed = bytes.clone();
    changed[100] ^= 1;
    for (file, bytes) in [
        ("1_bob", &changed),
        ("2_bob", &bytes),
        ("1_carl", &bytes),
        ("bob", &bytes),
    ] {
        let refused = read(file, bytes);
        assert!(
            matches!(refused, Some(RealmError::Damaged { .. })),
            "{file}"
        );
    }
    assert!(read("1_bob", &bytes).is_none());
}

#[test]
fn a_delegate_goes_on_under_a_root_that_took_over_also_after_a_crash_in_between() {
    let World {
        _directories,
        root,
        request,
        dana,
    } = World::new();
    dana.add_user_without_password(&name("bob"), Vec::new(), 10)
        .expect("added");
    let directory = dana.realm().directory().to_owned();
    let before = std::fs::read(directory.join("delegate")).expect("read");

    let heir = root
        .realm()
        .open_heir(None, b"passphrase")
        .expect("the heir");
    let next = SigningKey::generate().expect("random").verifying_key();
    let roots = root
        .realm()
        .roots()
        .hand_over(&root.issuer, &heir, next.key_id(), &[], 20)
        .expect("handed over");
    let held = root.realm().delegations().expect("read").remove(0);
    let mut delegation = held.last().clone();
    delegation.version += 1;
    assert_eq!(delegation.key, request.key().to_owned());
    let chain = Chain::issue(None, &heir, &roots, delegation, 21).expect("issued");
    let realm = std::fs::read(root.realm().directory().join("realm")).expect("read");
    let file = AcceptedFile::encode(&realm, &roots, &chain, &[]);
    let file = AcceptedFile::decode(&file).expect("a delegation");

    let dana = dana.accept_renewal(&file, 22).expect("accepted");
    assert_eq!(dana.realm().roots().number(), 1);
    let bob = dana.realm().user(&name("bob")).expect("read");
    assert_eq!(bob.expect("came along").standing().root(), 1);
    // As if the power had gone before the last file: everything else was written.
    std::fs::write(directory.join("delegate"), before).expect("put back");
    let again = super::super::Realm::open(&directory).expect("opens");
    let again = again.unlock(PASSPHRASE).expect("unlocks");
    let again = again.accept_renewal(&file, 23).expect("accepted again");
    let bob = again.realm().user(&name("bob")).expect("read");
    assert_eq!(bob.expect("is there").standing().root(), 1);
    // Not twice.
    assert!(again.accept_renewal(&file, 24).is_err());
}
