//! `realm backup` and `realm restore`.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use crate::fixture::{Home, finish, flip, mode};

const PP: &str = "--passphrase-file pp";

/// A home of the realm of `from`, restored from the backup `file`.
fn restored(from: &Home, file: &str, passphrase: &str) -> Home {
    let home = Home::empty();
    fs::copy(from.path(file), home.path(file)).expect("copied");
    home.secret("backup-pp", passphrase);
    home.run(&format!("realm restore {file} --passphrase-file backup-pp"))
        .succeeded();
    home
}

#[test]
fn a_backup_is_one_private_file_and_restores_the_realm() {
    let home = Home::with_realm();
    home.run(&format!("role add ops app/*:r {PP}")).succeeded();
    home.run(&format!("user role ci --add ops {PP}"))
        .succeeded();
    let made = home.run(&format!("realm backup acme.backup {PP} -o json"));
    let data = made.data("backup");
    let realm = home.run("realm show -o json").data("realm");
    assert_eq!(data["id"], realm["id"]);
    assert_eq!(data["file"], "acme.backup");
    assert_eq!((&data["users"], &data["roles"]), (&2.into(), &1.into()));
    assert_eq!(mode(&home.path("acme.backup")), 0o600);

    let other = restored(&home, "acme.backup", crate::fixture::PASSPHRASE);
    assert_eq!(other.run("realm show -o json").data("realm"), realm);
    for command in ["user list -o json", "role list -o json"] {
        assert_eq!(other.run(command).stdout, home.run(command).stdout);
    }
    for path in crate::fixture::walk(&other.path("data")) {
        let expected = if path.is_dir() { 0o700 } else { 0o600 };
        assert_eq!(mode(&path), expected, "{}", path.display());
    }
    // It goes on as if nothing had happened.
    other
        .run(&format!("user add bob --role ops {PP} --password-file pw"))
        .succeeded();
    other.run(&format!("node invite n1=x {PP}")).succeeded();
    other
        .run(&format!("role grant ops log/*:r {PP}"))
        .succeeded();
    other.run(&format!("realm backup again {PP}")).succeeded();
}

#[test]
fn restoring_says_what_is_lost_and_what_nodes_keep() {
    let home = Home::with_realm();
    home.run(&format!("realm backup b {PP}")).succeeded();
    let other = Home::empty();
    fs::copy(home.path("b"), other.path("b")).expect("copied");
    let dry = other.run(&format!("realm restore b --dry-run {PP}"));
    assert!(
        dry.succeeded()
            .stdout
            .starts_with("realm acme with 2 users, 0 named roles and 0 calls for nodes, as of "),
        "{dry:?}"
    );
    assert!(!other.path("data").exists());
    let data = other
        .run(&format!("realm restore b --dry-run {PP} -o json"))
        .data("backup");
    let made = data["made"].as_str().expect("a time").to_owned();
    let restored = other.run(&format!("realm restore b {PP} -o json"));
    let warnings = restored.envelope()["warnings"].to_string();
    assert!(
        warnings.contains(&made) && warnings.contains("nodes keep"),
        "{warnings}"
    );
    assert_eq!(restored.data("realm")["id"], data["id"]);
}

#[test]
fn a_new_passphrase_takes_the_place_of_the_old_in_backup_and_restored_realm() {
    let home = Home::with_realm();
    home.secret("new", "walnut-passphrase-9");
    home.run(&format!("realm backup b {PP} --new-passphrase-file new"))
        .succeeded();
    home.run_with(
        "walnut-passphrase-9",
        &format!("realm backup c {PP} --new-passphrase-stdin"),
    )
    .succeeded();
    let other = restored(&home, "b", "walnut-passphrase-9");
    other
        .run(&format!("user disable ci {PP}"))
        .refused(4, "unauthenticated");
    other
        .run("user disable ci --passphrase-file backup-pp")
        .succeeded();
    // The realm itself keeps its own.
    home.run(&format!("user disable ci {PP}")).succeeded();
    let _ = restored(&home, "c", "walnut-passphrase-9");
}

#[test]
fn refusals_of_backup_write_nothing() {
    let home = Home::with_realm();
    home.secret("there", "x");
    home.secret("empty", "");
    for (arguments, exit, code) in [
        ("realm backup".to_owned(), 2, "usage"),
        ("realm backup b".to_owned(), 2, "usage"),
        ("realm backup b --no-input".to_owned(), 2, "usage"),
        (format!("realm backup b more {PP}"), 2, "usage"),
        (format!("realm backup there {PP}"), 8, "exists"),
        ("realm backup there".to_owned(), 8, "exists"),
        (format!("realm backup data {PP}"), 8, "exists"),
        (format!("realm backup b --realm none {PP}"), 3, "not_found"),
        (format!("realm backup b {PP} --new-passphrase"), 2, "usage"),
        (
            format!("realm backup b {PP} --new-passphrase --new-passphrase-file pw"),
            2,
            "usage",
        ),
        (
            format!("realm backup b {PP} --new-passphrase-file empty"),
            2,
            "usage",
        ),
        (
            "realm backup b --passphrase-stdin --new-passphrase-stdin".to_owned(),
            2,
            "usage",
        ),
        (
            format!("realm backup b {PP} --new-passphrase-file none"),
            2,
            "config",
        ),
        (format!("realm backup none/b {PP}"), 2, "config"),
    ] {
        home.run(&arguments).refused(exit, code);
        assert!(!home.path("b").exists(), "{arguments}");
    }
    home.run_with("wrong", "realm backup b --passphrase-stdin")
        .refused(4, "unauthenticated");
    assert!(!home.path("b").exists());
    assert_eq!(fs::read(home.path("there")).expect("there"), b"x");
}

#[test]
fn refusals_of_restore_leave_nothing_behind() {
    let home = Home::with_realm();
    home.run(&format!("realm backup b {PP}")).succeeded();
    let before = home.data();
    home.run(&format!("realm restore b {PP}"))
        .refused(8, "exists");
    assert!(home.data() == before);

    let other = Home::empty();
    let copy = |name: &str| fs::copy(home.path("b"), other.path(name)).expect("copied");
    let length = usize::try_from(copy("b")).expect("it fits");
    other.secret("cut", "");
    fs::write(
        other.path("cut"),
        &fs::read(home.path("b")).expect("there")[..length - 1],
    )
    .expect("written");
    for (name, at) in [("flip-0", 0), ("flip-20", 20), ("flip-end", length - 1)] {
        copy(name);
        flip(&other.path(name), at);
    }
    copy("loose");
    fs::set_permissions(other.path("loose"), fs::Permissions::from_mode(0o644)).expect("loosened");
    other.secret("empty", "");
    for (arguments, exit, code) in [
        ("realm restore", 2, "usage"),
        ("realm restore b", 2, "usage"),
        (
            "realm restore b --realm acme --passphrase-file pp",
            2,
            "usage",
        ),
        ("realm restore none --passphrase-file pp", 2, "config"),
        ("realm restore loose --passphrase-file pp", 2, "config"),
        ("realm restore b --passphrase-file pw", 4, "unauthenticated"),
        (
            "realm restore b --dry-run --passphrase-file pw",
            4,
            "unauthenticated",
        ),
        ("realm restore empty --passphrase-file pp", 9, "integrity"),
        ("realm restore pw --passphrase-file pp", 9, "integrity"),
        ("realm restore cut --passphrase-file pp", 9, "integrity"),
        ("realm restore flip-0 --passphrase-file pp", 9, "integrity"),
        ("realm restore flip-20 --passphrase-file pp", 9, "integrity"),
        (
            "realm restore flip-end --passphrase-file pp",
            9,
            "integrity",
        ),
        (
            "realm restore flip-end --dry-run --passphrase-file pp",
            9,
            "integrity",
        ),
    ] {
        other.run(arguments).refused(exit, code);
        assert!(!other.path("data").exists(), "{arguments}");
    }
    // What is no realm, and stands where it would be, stays too.
    fs::create_dir_all(other.path("data/acme")).expect("made");
    let mut command = other.command();
    command.args(["realm", "restore", "b", "--passphrase-file", "pp"]);
    finish(command, "").refused(8, "exists");
}

/// A home with the realm `gamma`, whose backups wait for the key in `ap`.
fn with_approver() -> Home {
    let home = Home::empty();
    home.secret("app", "approver-passphrase-1");
    let made = home.run("approver new ap --passphrase-file app -o json");
    let approver = made.data("approver")["approver"].clone();
    let approver = approver.as_str().expect("an approver");
    assert_eq!(mode(&home.path("ap")), 0o600);
    home.run(&format!("realm init gamma --approver {approver} {PP}"))
        .succeeded();
    let shown = home.run("realm show -o json").data("realm");
    assert_eq!(shown["approver"], approver);
    home.run("realm show").succeeded().saying_out(approver);
    home.run(&format!("realm backup b {PP}"))
        .succeeded()
        .saying_out("who has to approve");
    home
}

#[test]
fn a_realm_with_an_approver_is_restored_by_two_persons_only() {
    let home = with_approver();
    let other = Home::empty();
    fs::copy(home.path("b"), other.path("b")).expect("copied");
    other
        .run(&format!("realm restore b {PP}"))
        .refused(5, "permission_denied")
        .saying("authctl approver approve");
    assert!(!other.path("data").exists());

    // The approver's machine has no realm, and needs none.
    let approver = Home::empty();
    for file in ["b", "ap", "app"] {
        fs::copy(home.path(file), approver.path(file)).expect("copied");
    }
    let command = "approver approve b --key ap --passphrase-file app";
    approver
        .run(command)
        .refused(2, "usage")
        .saying("Approve restoring a backup of realm gamma, moot1");
    approver
        .run(&format!("approver approve b --key ap --yes {PP}"))
        .refused(4, "unauthenticated")
        .saying("not the realm's");
    let approved = approver.run(&format!("{command} --yes -o json"));
    let data = approved.data("approval");
    assert_eq!(
        (&data["act"], &data["name"]),
        (&"restore".into(), &"gamma".into())
    );
    assert_eq!(mode(&approver.path("b.approved")), 0o600);
    approver
        .run(&format!("{command} --yes"))
        .refused(8, "exists");

    fs::copy(approver.path("b.approved"), other.path("b.approved")).expect("copied");
    other
        .run("realm restore b.approved --passphrase-file pw")
        .refused(4, "unauthenticated");
    other
        .run(&format!("realm restore b.approved {PP}"))
        .succeeded();
    let of = |home: &Home| home.run("realm show -o json").data("realm");
    assert_eq!(of(&other), of(&home));
    // What is backed up there waits again.
    other.run(&format!("realm backup c {PP}")).succeeded();
    other
        .run(&format!("realm restore c --dry-run {PP}"))
        .refused(5, "permission_denied");
}

#[test]
fn what_cannot_be_approved_is_refused_by_name() {
    let home = with_approver();
    home.run("approver new other --passphrase-file app")
        .succeeded();
    let approve = |arguments: &str| {
        home.run(&format!(
            "approver approve {arguments} --passphrase-file app --yes --out approved"
        ))
    };
    approve("b --key other")
        .refused(5, "permission_denied")
        .saying("only the approver that the realm was made with");
    approve("b --key pp").refused(9, "integrity");
    approve("ap --key ap").refused(9, "integrity");
    approve("nothing --key ap").refused(2, "config");
    // Of another realm's name, or cut: the header is bound to what is within.
    let whole = fs::read(home.path("b")).expect("read");
    for at in [40, 72, 83, whole.len() - 1] {
        flip(&home.path("b"), at);
        let refused = approve("b --key ap");
        assert_eq!(refused.exit, 9, "byte {at}: {refused:?}");
        fs::write(home.path("b"), &whole).expect("written");
    }
    home.secret("short", "");
    fs::write(home.path("short"), &whole[..whole.len() / 2]).expect("written");
    approve("short --key ap").refused(9, "integrity");
    assert!(!home.path("approved").exists());
    // A key is never overwritten, nor a wrong word taken for an approver.
    home.run("approver new ap --passphrase-file app")
        .refused(8, "exists");
    home.run(&format!("realm init delta --approver approver1qqqq {PP}"))
        .refused(2, "usage");
    approve("b --key ap").succeeded();
}
