//! `realm init`, `realm show`, `--realm`, and realms that are damaged.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use crate::fixture::{Home, copy, flip, mode, walk};

#[test]
fn init_makes_private_files_and_show_tells_the_same() {
    let home = Home::empty();
    let made = home
        .run("realm init acme --passphrase-file pp -o json")
        .data("realm");
    assert_eq!(made["name"], "acme");
    let id = made["id"].as_str().expect("an id");
    assert!(id.starts_with("moot1") && id.len() == 63, "{id}");
    assert_eq!(made["key_id"].as_str().map(str::len), Some(64));
    assert_eq!(made.as_object().map(serde_json::Map::len), Some(5));
    assert_eq!(made["root"]["number"], 0);
    assert_eq!(home.run("realm show -o json").data("realm"), made);
    assert!(home.run("realm show").succeeded().stdout.contains(id));
    for path in walk(&home.path("data")) {
        let expected = if path.is_dir() { 0o700 } else { 0o600 };
        assert_eq!(mode(&path), expected, "{}", path.display());
    }
}

#[test]
fn init_shows_the_whole_id_to_people() {
    let home = Home::empty();
    let made = home.run("realm init acme --passphrase-file pp");
    let shown = &made.succeeded().stdout;
    assert!(shown.starts_with("✓ realm acme  moot1"), "{shown}");
    assert!(shown.contains("root key sealed in ~/data/acme"), "{shown}");
    let id = home.run("realm show -o json").data("realm")["id"].clone();
    assert!(shown.contains(id.as_str().expect("an id")), "{shown}");
    assert_eq!(made.stderr, "");
}

#[test]
fn init_overwrites_nothing_and_asks_nothing_before_it_knows() {
    let home = Home::with_realm();
    let before = home.data();
    home.run("realm init acme").refused(8, "exists");
    home.run("realm init acme --passphrase-file pp")
        .refused(8, "exists");
    assert!(home.data() == before);
    fs::create_dir(home.path("data/half")).expect("made");
    home.run("realm init half --generate").refused(8, "exists");
}

#[test]
fn init_refusals_leave_nothing_behind() {
    let home = Home::empty();
    home.secret("empty", "");
    home.secret("line-end", "\n");
    home.secret("long", &"x".repeat(1025));
    home.secret("loose", "x");
    fs::set_permissions(home.path("loose"), fs::Permissions::from_mode(0o640)).expect("loosened");
    for (arguments, code) in [
        ("realm init acme", "usage"),
        ("realm init acme --no-input", "usage"),
        ("realm init", "usage"),
        ("realm init Acme --passphrase-file pp", "usage"),
        ("realm init ../acme --passphrase-file pp", "usage"),
        ("realm init a/b --passphrase-file pp", "usage"),
        ("realm init .acme --passphrase-file pp", "usage"),
        ("realm init acme more --passphrase-file pp", "usage"),
        ("realm init acme --realm acme --passphrase-file pp", "usage"),
        ("realm init acme --passphrase-file empty", "usage"),
        ("realm init acme --passphrase-file line-end", "usage"),
        ("realm init acme --passphrase-file long", "usage"),
        ("realm init acme --passphrase-stdin", "usage"),
        ("realm init acme --passphrase-fd 77", "usage"),
        ("realm init acme --passphrase-file pp --generate", "usage"),
        (
            "realm init acme --passphrase-file pp --passphrase-stdin",
            "usage",
        ),
        ("realm init acme --passphrase hunter2", "usage"),
        ("realm init acme --passphrase-file loose", "config"),
        ("realm init acme --passphrase-file none", "config"),
        ("realm init acme --passphrase-file .", "config"),
    ] {
        home.run(arguments).refused(2, code);
        assert!(!home.path("data").exists(), "{arguments}");
    }
}

#[test]
fn a_generated_passphrase_is_shown_once_and_opens_the_realm() {
    let home = Home::empty();
    let made = home.run("realm init acme --generate -q");
    let shown = made
        .succeeded()
        .stderr
        .strip_prefix("Generated \"")
        .and_then(|rest| rest.strip_suffix("\" (shown once)\n"))
        .expect("the passphrase and nothing else");
    assert!(shown.split('-').count() >= 6, "{shown}");
    assert!(!made.stdout.contains(shown));
    home.run_with(shown, "node invite n1=x --passphrase-stdin")
        .succeeded();

    let json = home.run("realm init beta --generate -o json");
    let passphrase = json.data("realm")["passphrase"].clone();
    assert_eq!(json.stderr, "");
    assert!(passphrase.as_str().is_some_and(|text| text.contains('-')));
    let again = home.run("realm show --realm beta -o json").data("realm");
    assert!(again.get("passphrase").is_none());
}

#[test]
fn without_a_realm_nothing_is_initialised() {
    let home = Home::empty();
    for arguments in [
        "realm show",
        "user list",
        "user show alice",
        "user add alice",
        "user add alice --passphrase-file pp --password-file pw",
        "user delete alice",
        "node invite n1=x",
        "check alice read x",
    ] {
        home.run(arguments)
            .refused(10, "not_initialised")
            .saying("help: authctl realm init NAME");
    }
    assert!(!home.path("data").exists());
}

#[test]
fn of_several_realms_one_must_be_chosen() {
    let home = Home::with_realm();
    home.run("realm init beta --passphrase-file pp").succeeded();
    let refused = home.run("user list");
    refused.refused(2, "usage").saying("acme, beta");
    refused.saying("--realm NAME");

    let acme = home.run("realm show --realm acme -o json").data("realm");
    let id = acme["id"].as_str().expect("an id");
    let by_id = home.run(&format!("--realm {id} realm show -o json"));
    assert_eq!(by_id.data("realm"), acme);
    let users = home.run("user list --realm beta -o json").data("users");
    assert_eq!(users, serde_json::json!([]));

    let typo = format!("{}q", &id[..62]);
    for unknown in ["gamma", "acm", "Acme", "../acme", &id[..20], &typo] {
        home.run(&format!("realm show --realm {unknown}"))
            .refused(3, "not_found");
        home.run(&format!("user add eve --realm {unknown}"))
            .refused(3, "not_found");
    }
}

#[test]
fn a_changed_realm_is_an_integrity_failure() {
    for (file, at) in [
        ("realm", 0),
        ("realm", 4),
        ("realm", 9),
        ("realm", 14),
        ("realm", 100),
    ] {
        let home = Home::with_realm();
        flip(&home.path("data/acme").join(file), at);
        home.run("user list").refused(9, "integrity").saying(file);
        home.run("check alice read x").refused(9, "integrity");
        home.run("user add eve --passphrase-file pp --password-file pw")
            .refused(9, "integrity");
    }
}

#[test]
fn a_changed_user_is_an_integrity_failure_and_in_the_way_of_nobody_else() {
    for at in [0, 30, 500] {
        let home = Home::with_realm();
        let file = "users/ci";
        flip(&home.path("data/acme").join(file), at);
        for command in [
            "user show ci",
            "check ci read app/x",
            "user disable ci --passphrase-file pp",
            "user add ci --passphrase-file pp --password-file pw",
            "node invite n1=x --passphrase-file pp",
        ] {
            home.run(command).refused(9, "integrity").saying(file);
        }
        home.run("check alice read x").succeeded();
        home.run("user disable alice --passphrase-file pp")
            .succeeded();
    }
}

#[test]
fn missing_exchanged_and_swollen_files_are_integrity_failures() {
    let home = Home::with_realm();
    let realm = home.path("data/acme");
    let sealed = fs::read(realm.join("root.sealed")).expect("read");
    let invite = "node invite n1=x --passphrase-file pp";
    let mut changed = sealed.clone();
    changed[60] ^= 1;
    for content in [&sealed[..20], &changed, &[], b"nonsense", &[7; 5000]] {
        fs::write(realm.join("root.sealed"), content).expect("written");
        home.run(invite)
            .refused(9, "integrity")
            .saying("root.sealed");
    }
    fs::remove_file(realm.join("root.sealed")).expect("removed");
    home.run(invite)
        .refused(9, "integrity")
        .saying("root.sealed");
    fs::write(realm.join("root.sealed"), &sealed).expect("written");
    loosen(&realm.join("root.sealed"), 0o600);
    home.run("user disable ci --passphrase-file pp").succeeded();

    let login = realm.join("login.sealed");
    let sealed = fs::read(&login).expect("read");
    let mut changed = sealed.clone();
    changed[60] ^= 1;
    for content in [&sealed[..20], &changed, &[], b"nonsense", &[7; 5000]] {
        fs::write(&login, content).expect("written");
        home.run(invite)
            .refused(9, "integrity")
            .saying("login.sealed");
    }
    fs::remove_file(&login).expect("removed");
    home.run(invite)
        .refused(9, "integrity")
        .saying("login.sealed");

    copy(&realm.join("users/ci"), &realm.join("users/eve"));
    home.run("user list")
        .refused(9, "integrity")
        .saying("users/eve");
    fs::remove_dir_all(realm.join("users")).expect("removed");
    home.run("user list").refused(9, "integrity");
}

#[test]
fn damage_to_one_realm_does_not_stop_another() {
    let home = Home::with_realm();
    copy(&home.path("data/acme"), &home.path("data/broken"));
    flip(&home.path("data/broken/realm"), 0);
    home.run("realm show --realm acme").succeeded();
    home.run("realm show --realm broken")
        .refused(9, "integrity");
    home.run("realm show").refused(9, "integrity");
}

#[test]
fn realm_files_that_others_can_read_are_refused() {
    let home = Home::with_realm();
    for file in ["login.sealed", "root.sealed", "realm"] {
        let path = home.path("data/acme").join(file);
        loosen(&path, 0o644);
        home.run("node invite n1=x --passphrase-file pp")
            .refused(2, "config")
            .saying("must be 0600");
    }
}

fn loosen(path: &std::path::Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("changed");
}
