use std::fs;
use std::path::PathBuf;

use super::super::tests::{name, realm};
use super::*;
use crate::approval::ApproverKey;
use crate::audit::Subject;
use crate::audit::chain::Entry;
use crate::invite::Invite;
use crate::policy::Role;
use crate::realm::HEIR_FILE;

/// A realm with two users, one of them deleted, a role, a revocation and a call.
fn filled() -> (tempfile::TempDir, OpenRealm) {
    let (directory, realm) = realm();
    realm
        .change_roles(1, |roles| {
            roles.add(name("ops"), vec!["app/*:rw".parse().expect("a grant")])
        })
        .expect("added");
    let ops: Role = "ops".parse().expect("a role");
    for user in ["alice", "gone"] {
        realm
            .add_user(&name(user), vec![ops.clone()], b"pw", 2)
            .expect("added");
    }
    realm
        .change_user(&name("gone"), 3, |user| user.deleted = true)
        .expect("deleted");
    realm
        .revoke_sessions(4, Subject::User(name("alice")), "all", |revoked| {
            revoked.revoke_user(name("alice"), 4)
        })
        .expect("revoked");
    realm
        .call_nodes(&[(name("n1"), "127.0.0.1:1".to_owned())], 9, 1)
        .expect("called");
    (directory, realm)
}

/// All files of a realm with their content, but what only a restored one has.
fn files_of(realm: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut found = Vec::new();
    let mut open = vec![realm.to_owned()];
    while let Some(directory) = open.pop() {
        for entry in fs::read_dir(directory).expect("listed") {
            let path = entry.expect("listed").path();
            if path.is_dir() {
                open.push(path);
                continue;
            }
            let below = path.strip_prefix(realm).expect("below").to_owned();
            // The backup and the restoring are acts on record.
            // The heir is not for whoever finds a backup.
            let other = ["lock", "restored", "untold", "audit.log", HEIR_FILE];
            if !other.iter().any(|name| below == Path::new(name)) {
                found.push((below, fs::read(path).expect("read")));
            }
        }
    }
    found.sort();
    found
}

fn backup(realm: &OpenRealm, new: Option<&[u8]>) -> Vec<u8> {
    let (bytes, _) = realm
        .realm()
        .backup(b"passphrase", new, 5)
        .expect("backed up");
    bytes.expose().to_vec()
}

#[test]
fn a_restored_realm_has_the_same_files_byte_by_byte_and_opens() {
    let (directory, realm) = filled();
    let bytes = backup(&realm, None);
    let opened = Backup::open(&bytes, b"passphrase").expect("opens");
    let summary = opened.summary();
    assert_eq!(summary.id, realm.realm().id());
    assert_eq!((summary.users, summary.roles, summary.calls), (1, 1, 1));
    assert_eq!(summary.made_ms, 5);
    let elsewhere = tempfile::tempdir().expect("a directory");
    let restored = opened.restore(elsewhere.path(), 1000).expect("restored");
    assert_eq!(
        files_of(&elsewhere.path().join("acme")),
        files_of(&directory.path().join("acme"))
    );
    let events = |directory: &Path| -> Vec<What> {
        let entries = local::read(&directory.join("acme")).expect("a log");
        let event = |entry: &Entry| Event::decode(&entry.event).expect("an event").what;
        entries.iter().map(event).collect()
    };
    let mut expected = events(directory.path());
    assert_eq!(expected.last(), Some(&What::RealmBackedUp));
    expected.push(What::RealmRestored);
    assert_eq!(events(elsewhere.path()), expected);
    let report = local::verify(restored.directory(), realm.audit());
    assert!(report.expect("verified").faults.is_empty());
    restored.unlock(b"passphrase").expect("opens");
    assert!(!elsewhere.path().join(".acme.new").exists());
}

#[test]
fn a_backup_under_a_new_passphrase_opens_with_that_alone() {
    let (_directory, realm) = filled();
    let bytes = backup(&realm, Some(b"other"));
    assert!(matches!(
        Backup::open(&bytes, b"passphrase"),
        Err(BackupError::WrongPassphrase)
    ));
    let elsewhere = tempfile::tempdir().expect("a directory");
    let restore = || {
        Backup::open(&bytes, b"other")
            .expect("opens")
            .restore(elsewhere.path(), 1000)
    };
    let restored = restore().expect("restored");
    restored.unlock(b"other").expect("opens");
    // One that stands stays.
    assert!(matches!(
        restore(),
        Err(RealmError::File(FileError::Exists(_)))
    ));
}

#[test]
fn no_backup_is_made_with_a_wrong_passphrase() {
    let (_directory, realm) = realm();
    assert!(matches!(
        realm.realm().backup(b"passphrasf", None, 5),
        Err(RealmError::WrongPassphrase)
    ));
}

#[test]
fn every_flipped_byte_and_every_cut_is_refused() {
    let (_directory, realm) = realm();
    let bytes = backup(&realm, None);
    let root_sealed = 5 + 4 + super::super::tests::realm_file_length(&realm) + 4;
    let stream = root_sealed
        + fs::metadata(realm.realm().directory().join("root.sealed"))
            .expect("there")
            .len() as usize
        + 4
        + realm.realm().roots().encode().len();
    let refused = |changed: &[u8], what: &str| {
        let outcome = Backup::open(changed, b"passphrase");
        assert!(
            matches!(
                outcome,
                Err(BackupError::Malformed(_) | BackupError::Damaged(_))
            ),
            "{what}"
        );
    };
    for at in 0..bytes.len() {
        // Behind the box each takes an Argon2id: there only some, all with
        // SEALMOOT_CRASHES=full.
        if at >= stream && at % 101 != 0 && std::env::var_os("SEALMOOT_CRASHES").is_none() {
            continue;
        }
        let mut changed = bytes.clone();
        changed[at] ^= 1;
        refused(&changed, &format!("byte {at}"));
        refused(&bytes[..at], &format!("cut at {at}"));
    }
    let mut longer = bytes.clone();
    longer.push(0);
    refused(&longer, "a byte more");
    Backup::open(&bytes, b"passphrase").expect("whole");
}

#[test]
fn parts_of_two_backups_do_not_make_one() {
    let (_directory, realm) = realm();
    let older = backup(&realm, None);
    realm
        .change_roles(1, |roles| roles.add(name("ops"), vec![]))
        .expect("added");
    let newer = backup(&realm, None);
    let other_passphrase = backup(&realm, Some(b"other"));
    let front = 5
        + 4
        + super::super::tests::realm_file_length(&realm)
        + 4
        + fs::metadata(realm.realm().directory().join("root.sealed"))
            .expect("there")
            .len() as usize
        + 4
        + realm.realm().roots().encode().len();
    // The same front and the same key, so that only the stream can tell: its two
    // halves are of one stream each, and its header is bound to the front.
    assert_eq!(older[..front], newer[..front]);
    let spliced = [&newer[..front + 60], &older[front + 60..]].concat();
    assert!(matches!(
        Backup::open(&spliced, b"passphrase"),
        Err(BackupError::Damaged(_))
    ));
    let other_front = [&other_passphrase[..front], &newer[front..]].concat();
    assert!(matches!(
        Backup::open(&other_front, b"other"),
        Err(BackupError::Damaged(_))
    ));
}

#[test]
fn the_backup_of_another_version_is_refused_by_its_version() {
    let (_directory, realm) = realm();
    let mut bytes = backup(&realm, None);
    bytes[4] = 2;
    assert!(matches!(
        Backup::open(&bytes, b"passphrase"),
        Err(BackupError::Malformed(EncodingError::Unknown {
            what: "backup version",
            value: 2
        }))
    ));
}

#[test]
fn a_damaged_realm_is_not_backed_up() {
    let (directory, realm) = filled();
    for file in ["users/alice", "roles", "login.sealed", "realm"] {
        let path = directory.path().join("acme").join(file);
        let bytes = fs::read(&path).expect("read");
        let mut changed = bytes.clone();
        changed[20] ^= 1;
        fs::write(&path, changed).expect("written");
        let refused = realm.realm().backup(b"passphrase", None, 5);
        assert!(matches!(refused, Err(RealmError::Damaged { .. })), "{file}");
        fs::write(&path, bytes).expect("written");
    }
}

#[test]
fn a_restored_realm_goes_on_and_its_changes_hold_over_what_was_lost() {
    let (_directory, realm) = filled();
    let bytes = backup(&realm, None);
    // Made after the backup, and known to nodes.
    for at in 6..10 {
        realm
            .change_user(&name("alice"), at, |_| ())
            .expect("changed");
    }
    let mut nodes = realm.realm().users().expect("read");
    let elsewhere = tempfile::tempdir().expect("a directory");
    let restored = Backup::open(&bytes, b"passphrase")
        .expect("opens")
        .restore(elsewhere.path(), 1_000_000)
        .expect("restored")
        .unlock(b"passphrase")
        .expect("opens");
    // The old record rolls nobody back.
    for record in restored.realm().users().expect("read").signed_records() {
        assert!(!nodes.apply_signed(record));
    }
    let disabled = restored
        .change_user(&name("alice"), 11, |user| user.enabled = false)
        .expect("changed");
    assert_eq!(disabled.user().version, 1_000_000);
    assert!(nodes.apply(disabled));
    assert!(nodes.active(&name("alice"), 1).is_none());
    let again = restored
        .change_user(&name("alice"), 12, |user| user.enabled = true)
        .expect("changed");
    assert_eq!(again.user().version, 1_000_001);
    let added = restored
        .add_user(&name("bob"), vec![], b"pw", 12)
        .expect("added");
    assert!(nodes.apply(added));
    let roles = restored.delete_role(&name("ops"), true, 13).expect("done");
    assert_eq!(roles.version(), 1_000_000);
    assert!(nodes.apply_signed(roles.into()));
    let invites = restored
        .call_nodes(&[(name("n2"), "127.0.0.1:2".to_owned())], 99, 14)
        .expect("called");
    let invite = Invite::decode(invites[0].expose()).expect("believed");
    let opened = invite.sealed().open(std::slice::from_ref(invite.share()));
    opened.expect("a call of one opens with its one share");
}

#[test]
fn of_a_restored_realm_no_node_was_told_anything() {
    let (_directory, realm) = filled();
    assert!(realm.realm().untold().expect("read").is_empty());
    realm
        .change_user(&name("alice"), 5, |_| ())
        .expect("changed");
    // As if the node had been told: the lost machine may say so of later changes too.
    let told = realm.realm().untold().expect("read");
    let address = "127.0.0.1:1".to_owned();
    let settled = realm.realm().settle(&told, std::slice::from_ref(&address));
    settled.expect("settled");
    let bytes = backup(&realm, None);
    let elsewhere = tempfile::tempdir().expect("a directory");
    let restored = Backup::open(&bytes, b"passphrase")
        .expect("opens")
        .restore(elsewhere.path(), 1000)
        .expect("restored");
    let untold = restored.untold().expect("read");
    let users = ["alice", "gone"].map(|user| RecordName::User(name(user)));
    assert_eq!(untold.len(), 1);
    assert_eq!(
        untold[0].records,
        [
            vec![RecordName::Roles, RecordName::RevokedSessions],
            users.to_vec()
        ]
        .concat()
    );
    assert_eq!(untold[0].addresses, [address]);
    for record in &untold[0].records {
        assert!(restored.record(record).expect("read").is_some());
    }
}

#[test]
fn a_restored_realm_without_nodes_has_nobody_to_tell() {
    let (_directory, realm) = realm();
    realm
        .add_user(&name("alice"), vec![], b"pw", 1)
        .expect("added");
    let bytes = backup(&realm, None);
    let elsewhere = tempfile::tempdir().expect("a directory");
    let restored = Backup::open(&bytes, b"passphrase")
        .expect("opens")
        .restore(elsewhere.path(), 1000)
        .expect("restored");
    assert!(restored.untold().expect("read").is_empty());
}

#[test]
fn a_changed_version_floor_is_damage() {
    let (_directory, realm) = filled();
    let bytes = backup(&realm, None);
    let elsewhere = tempfile::tempdir().expect("a directory");
    let restored = Backup::open(&bytes, b"passphrase")
        .expect("opens")
        .restore(elsewhere.path(), 1000)
        .expect("restored")
        .unlock(b"passphrase")
        .expect("opens");
    let path = elsewhere.path().join("acme/restored");
    let whole = fs::read(&path).expect("read");
    assert_eq!(whole.len(), RESTORED_LENGTH);
    for at in 0..whole.len() {
        let mut changed = whole.clone();
        changed[at] ^= 1;
        fs::write(&path, changed).expect("written");
        let refused = restored.change_user(&name("alice"), 2, |_| ());
        assert!(matches!(refused, Err(RealmError::Damaged { .. })), "{at}");
    }
}

#[test]
fn a_backup_of_a_realm_with_an_approver_opens_when_both_have_had_their_turn() {
    let (file, approver) = ApproverKey::create(b"other words").expect("made");
    let directory = tempfile::tempdir().expect("a directory");
    let made = Realm::create_with(
        directory.path(),
        &name("acme"),
        b"passphrase",
        Some(approver.clone()),
        None,
    )
    .expect("created");
    assert_eq!(made.approver(), Some(&approver));
    let realm = Realm::open(made.directory()).expect("opens");
    assert_eq!(realm.approver(), Some(&approver));
    let realm = realm.unlock(b"passphrase").expect("unlocks");
    realm
        .add_user(&name("alice"), Vec::new(), b"pw", 1)
        .expect("added");

    // Under the realm's passphrase or another, the passphrase alone opens nothing.
    for (new, passphrase) in [(None, &b"passphrase"[..]), (Some(&b"new"[..]), b"new")] {
        let waiting = backup(&realm, new);
        let refused = Backup::open(&waiting, passphrase);
        assert!(
            matches!(&refused, Err(BackupError::NotApproved(wanted)) if *wanted == approver),
            "{:?}",
            refused.err()
        );
        // Nothing of the realm's box is there to be tried passphrases on.
        let root = realm.realm().read_file("root.sealed", ROOT_FILE_MAX);
        let root = root.expect("read");
        assert!(!waiting.windows(48).any(|part| part == &root[..48]));
        // And the approver's turn alone is not enough either.
        let key = ApproverKey::open(&file, b"other words").expect("opens");
        let approved = key.approve(&waiting).expect("approved");
        assert!(matches!(
            Backup::open(approved.expose(), b"other words"),
            Err(BackupError::WrongPassphrase)
        ));
        let opened = Backup::open(approved.expose(), passphrase).expect("opens");
        let elsewhere = tempfile::tempdir().expect("a directory");
        let restored = opened.restore(elsewhere.path(), 1000).expect("restored");
        // The rule goes on where it was restored.
        assert_eq!(restored.approver(), Some(&approver));
        let again = Realm::open(restored.directory()).expect("opens");
        assert_eq!(again.approver(), Some(&approver));
    }
}

#[test]
fn an_approver_cannot_be_taken_out_of_a_realms_file_nor_exchanged() {
    let (_, approver) = ApproverKey::create(b"other words").expect("made");
    let (_, other) = ApproverKey::create(b"other words").expect("made");
    let directory = tempfile::tempdir().expect("a directory");
    let create = |name: &Name, approver| {
        Realm::create_with(directory.path(), name, b"passphrase", Some(approver), None)
            .expect("created")
    };
    let realm = create(&name("acme"), approver.clone());
    let path = realm.directory().join("realm");
    let bytes = fs::read(&path).expect("read");
    let at = bytes.len() - 64 - 33;
    assert_eq!(
        (bytes[at], &bytes[at + 1..at + 33]),
        (1, &approver.to_bytes()[..])
    );
    let mut without = bytes[..at].to_vec();
    without.push(0);
    without.extend_from_slice(&bytes[at + 33..]);
    let mut exchanged = bytes.clone();
    exchanged[at + 1..at + 33].copy_from_slice(&other.to_bytes());
    for changed in [without, exchanged] {
        fs::write(&path, changed).expect("written");
        assert!(matches!(
            Realm::open(realm.directory()),
            Err(RealmError::Damaged { .. })
        ));
    }
}
