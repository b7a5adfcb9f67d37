//! `user`: adding, showing, changing, deleting.

use std::net::TcpListener;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::fixture::{Home, finish};

const PP: &str = "--passphrase-file pp";
const BOTH: &str = "--passphrase-file pp --password-file pw";

#[test]
fn add_prints_the_document_of_the_contract() {
    let home = Home::with_realm();
    let mut command = home.command();
    command.args([
        "user",
        "add",
        "bot",
        "--role",
        "app/*:rw",
        "--password-stdin",
    ]);
    command.args(["--passphrase-file", "pp", "-o", "json"]);
    let added = finish(command, "a password\n");
    assert_eq!(added.succeeded().stderr, "");
    assert_eq!(
        added.envelope(),
        json!({
            "v": 1,
            "kind": "user",
            "data": {"name": "bot", "roles": ["app/*:rw"], "enabled": true},
            "warnings": [],
        })
    );
    assert!(
        added
            .stdout
            .starts_with("{\"v\":1,\"kind\":\"user\",\"data\":{")
    );
    let shown = home.run("user show bot -o json").data("user");
    assert_eq!(shown, added.envelope()["data"]);
}

#[test]
fn add_takes_several_roles_once_each_or_none() {
    let home = Home::with_realm();
    let roles = "--role a/*:wr --role admin --role a/*:rw --role admin";
    let added = home.run(&format!("user add bot {roles} {BOTH}"));
    assert_eq!(added.succeeded().stdout, "✓ user bot [a/*:rw, admin]\n");
    let none = home.run(&format!("user add nobody {BOTH} -o json"));
    assert_eq!(none.data("user")["roles"], json!([]));
    home.run("check nobody read x")
        .refused(5, "permission_denied");
}

#[test]
fn an_existing_user_is_told_before_any_secret_is_asked_for() {
    let home = Home::with_realm();
    let before = home.data();
    home.run("user add alice").refused(8, "exists");
    home.run("user add alice --role admin --passphrase-file none")
        .refused(8, "exists");
    home.run(&format!("user add alice --role admin {BOTH}"))
        .refused(8, "exists");
    assert!(home.data() == before);
}

#[test]
fn add_refuses_and_writes_nothing() {
    let home = Home::with_realm();
    let before = home.data();
    let many = "--role k:r ".to_owned()
        + &(0..64)
            .map(|at| format!("--role k{at}:r "))
            .collect::<String>();
    let long = format!("--role {}:r", "k".repeat(4097));
    let heavy: String = (0..5)
        .map(|at| format!("--role {at}{}:r ", "k".repeat(4000)))
        .collect();
    for arguments in [
        "user add",
        "user add Bob",
        "user add ../bob",
        "user add bob@acme",
        "user add bob more",
        "user add bob --role",
        "user add bob --role Operator",
        "user add bob --role ../ops",
        "user add bob --role app/*",
        "user add bob --role app/*:",
        "user add bob --role app/*:rx",
        "user add bob --role app/*:rr",
        "user add bob --role app*:r",
        "user add bob --role :r",
        "user add bob --role system/*:r",
        "user add bob --password hunter2",
        &format!("user add bob {many}"),
        &format!("user add bob {long}"),
        &format!("user add bob {heavy}"),
    ] {
        home.run(&format!("{arguments} {BOTH}")).refused(2, "usage");
    }
    assert!(home.data() == before);
}

#[test]
fn a_wrong_passphrase_signs_nothing() {
    let home = Home::with_realm();
    let before = home.data();
    for command in [
        "user add bob --generate",
        "user passwd alice --generate",
        "user disable alice",
    ] {
        home.run_with("wrong", &format!("{command} --passphrase-stdin"))
            .refused(4, "unauthenticated")
            .saying("wrong passphrase");
    }
    assert!(home.data() == before);
}

#[test]
fn a_generated_password_is_shown_once() {
    let home = Home::with_realm();
    let added = home.run("user add bob --passphrase-file pp --generate -q");
    assert_eq!(added.succeeded().stdout, "✓ user bob [no rights]\n");
    assert!(added.stderr.starts_with("Generated \""), "{added:?}");
    let changed = home.run("user passwd bob --passphrase-file pp --generate -o json");
    let data = changed.data("user");
    assert_eq!(data["name"], "bob");
    assert!(
        data["password"]
            .as_str()
            .is_some_and(|text| text.contains('-'))
    );
    assert_eq!(changed.stderr, "");
    let shown = home.run("user show bob -o json").data("user");
    assert_eq!(shown, json!({"name": "bob", "roles": [], "enabled": true}));
}

#[test]
fn users_are_disabled_enabled_deleted_and_made_again() {
    let home = Home::with_realm();
    let state = |arguments: &str| {
        let changed = home.run(&format!("{arguments} --passphrase-file pp -o json"));
        changed.data("user")["enabled"].clone()
    };
    let list = || home.run("user list -o json").data("users");
    let alice = json!({"name": "alice", "roles": ["admin"], "enabled": true});
    assert_eq!(state("user disable ci"), false);
    assert_eq!(
        list(),
        json!([alice, {"name": "ci", "roles": ["app/*:rw"], "enabled": false}])
    );
    home.run("check ci read app/x")
        .refused(5, "permission_denied")
        .saying("ci is disabled");
    assert_eq!(state("user enable ci"), true);
    home.run("check ci read app/x").succeeded();

    assert_eq!(state("user delete ci --yes"), false);
    assert_eq!(list(), json!([alice]));
    home.run("user show ci").refused(3, "not_found");
    home.run("check ci read app/x").refused(3, "not_found");
    let again = home.run(&format!("user add ci {BOTH} -o json"));
    assert_eq!(
        again.data("user"),
        json!({"name": "ci", "roles": [], "enabled": true})
    );
}

#[test]
fn lists_are_for_people_too() {
    let home = Home::with_realm();
    assert_eq!(
        home.run("user list").succeeded().stdout,
        "NAME   STATE     ROLES\nalice  enabled   admin\nci     enabled   app/*:rw\n"
    );
    assert!(
        home.run("user show ci")
            .succeeded()
            .stdout
            .contains("app/*:rw")
    );
}

#[test]
fn unknown_and_deleted_users_are_not_found_before_any_secret_is_asked_for() {
    let home = Home::with_realm();
    for name in ["eve", "gone"] {
        for command in ["show", "passwd", "enable", "disable", "delete"] {
            home.run(&format!("user {command} {name}"))
                .refused(3, "not_found")
                .saying(name);
        }
    }
    for command in ["show", "passwd", "enable", "disable", "delete"] {
        home.run(&format!("user {command} Eve")).refused(2, "usage");
        home.run(&format!("user {command}")).refused(2, "usage");
    }
}

#[test]
fn nodes_that_cannot_be_told_are_named_once_each_and_in_time() {
    // What the same command takes here with nobody to be told.
    let plain = Home::with_realm();
    let begun = Instant::now();
    plain
        .run("user disable ci --passphrase-file pp")
        .succeeded();
    let alone = begun.elapsed();
    let home = Home::with_realm();
    // Nobody is there, and no other test can come to be.
    let closed = "127.0.0.1:1";
    // It accepts, and never says a word.
    let silent = TcpListener::bind("127.0.0.1:0").expect("a port");
    let mute = silent.local_addr().expect("bound");
    for out in ["one", "two"] {
        let invite = format!("node invite n1={closed} n2={mute} --out {out} --passphrase-file pp");
        home.run(&invite).succeeded();
    }
    let started = Instant::now();
    let changed = home.run("user disable ci --passphrase-file pp -o json");
    let elapsed = started.elapsed();
    let most = 2 * alone + Duration::from_secs(8);
    assert!(elapsed < most, "{elapsed:?}, and {alone:?} alone");
    assert_eq!(changed.succeeded().stderr, "");
    assert_eq!(changed.envelope()["warnings"], json!([]));
    assert_eq!(changed.data("user")["enabled"], false);
    let changed = home.run("user enable ci --passphrase-file pp");
    assert!(changed.succeeded().stderr.starts_with("invited until "));
    changed.saying(&format!(
        "told once they have formed a cluster: \
         n1={closed} (connection refused), n2={mute} (timed out)\n"
    ));
}

#[test]
fn what_is_done_already_is_said_and_makes_no_new_version() {
    let home = Home::with_realm();
    home.run(&format!("user disable ci {PP}")).succeeded();
    let before = home.data();
    let again = home.run(&format!("user disable ci {PP}"));
    assert_eq!(
        again.succeeded().stdout,
        "✓ user ci [app/*:rw]   already disabled\n"
    );
    let enabled = home.run(&format!("user enable alice {PP}"));
    assert!(enabled.succeeded().stdout.ends_with("already enabled\n"));
    assert!(home.data() == before);
}

#[test]
fn nothing_is_deleted_by_an_oversight() {
    let home = Home::with_realm();
    home.run(&format!("role add ops x:r {PP}")).succeeded();
    let before = home.data();
    for delete in ["user delete ci", "role delete ops"] {
        home.run(&format!("{delete} {PP} --no-input"))
            .refused(2, "usage")
            .saying("help: add --yes");
    }
    assert!(home.data() == before);
    home.run(&format!("user delete ci {PP} --yes --no-input"))
        .succeeded();
    // In a script the name is the answer.
    home.run(&format!("role delete ops {PP}")).succeeded();
}

#[test]
fn a_grant_that_looks_like_a_prefix_is_told() {
    let home = Home::with_realm();
    let meant = "app/:r is for a single key, app/; did you mean app/*:r?";
    home.run(&format!("user add bob --role app/:r {BOTH}"))
        .succeeded()
        .saying(meant);
    for command in [
        "user role bob --add app/:r",
        "role add ops app/:r",
        "role grant ops app/:r",
    ] {
        home.run(&format!("{command} {PP}"))
            .succeeded()
            .saying(meant);
    }
    let clear = home.run(&format!("user role bob --add app/*:r {PP}"));
    assert_eq!(clear.succeeded().stderr, "");
}

#[test]
fn what_was_meant_is_suggested() {
    let home = Home::with_realm();
    home.run(&format!("user add bob --role admn {BOTH}"))
        .refused(3, "not_found")
        .saying("did you mean admin?");
    home.run("role show admn")
        .refused(3, "not_found")
        .saying("did you mean admin?");
    home.run(&format!(
        "user role ci --add app/*:rl --remove app/*:rw {PP}"
    ))
    .succeeded();
    home.run(&format!("user role ci --remove app/*:r {PP}"))
        .refused(3, "not_found")
        .saying("there is app/*:rl: authctl user role ci --remove 'app/*:rl' --add 'app/*:l'");
    home.run("user role ci")
        .refused(2, "usage")
        .saying("--remove");
    home.run("cred inspect ci")
        .refused(2, "config")
        .saying("authctl cred list ci");
}

#[test]
fn how_a_user_logs_in_is_shown() {
    let home = Home::with_realm();
    let shown = home.run("user show alice");
    assert!(
        shown
            .succeeded()
            .stdout
            .contains("login  password, no keys")
    );
    home.run(&format!("user add robot --no-password {PP}"))
        .succeeded();
    home.run(&format!("cred issue robot --new key {PP}"))
        .succeeded();
    let shown = home.run("user show robot");
    let expected = "login  no password, 1 key: authctl cred list robot";
    assert!(shown.succeeded().stdout.contains(expected), "{shown:?}");
}
