//! `audit` without a cluster: what was done to the realm on this machine.

use std::fs;

use serde_json::Value;

use crate::fixture::{Home, flip};

const LOG: &str = "data/acme/audit.log";
const VERIFY: &str = "audit verify --local --passphrase-file pp -o json";

fn acts(home: &Home) -> Vec<(String, Value)> {
    let tail = home.run("audit tail --local -o json").data("audit");
    tail.as_array()
        .expect("an array")
        .iter()
        .map(|event| {
            let what = event["what"].as_str().expect("a text").to_owned();
            (what, event["subject"]["name"].clone())
        })
        .collect()
}

#[test]
fn every_act_on_the_realm_is_on_record() {
    let home = Home::with_realm();
    home.run("user disable ci --passphrase-file pp").succeeded();
    home.run("user enable ci --passphrase-file pp").succeeded();
    home.run("user passwd ci --passphrase-file pp --password-file pw")
        .succeeded();
    home.run("node invite n1=127.0.0.1:7401 --passphrase-file pp --out invites")
        .succeeded();
    let acts = acts(&home);
    let expected = [
        ("realm_created", None),
        ("user_added", Some("alice")),
        ("user_added", Some("ci")),
        ("user_added", Some("gone")),
        ("user_deleted", Some("gone")),
        ("user_disabled", Some("ci")),
        ("sessions_revoked", Some("ci")),
        ("user_enabled", Some("ci")),
        ("user_password", Some("ci")),
        ("nodes_invited", None),
    ];
    assert_eq!(acts.len(), expected.len(), "{acts:?}");
    for ((what, name), (expected_what, expected_name)) in acts.iter().zip(expected) {
        assert_eq!(
            (what.as_str(), name.as_str()),
            (expected_what, expected_name)
        );
    }
    let verified = home.run(VERIFY).data("audit_verify");
    assert_eq!(verified["ok"], true, "{verified}");
    assert_eq!(verified["logs"][0]["events"], expected.len());
    // What was changed is said, and not only that something was.
    let detail = |arguments: &str| {
        home.run(&format!("{arguments} --passphrase-file pp"))
            .succeeded();
        let tail = home
            .run("audit tail --local --limit 1 -o json")
            .data("audit");
        tail[0]["detail"].as_str().expect("a text").to_owned()
    };
    let changed = detail("user role ci --add logs/*:r --remove app/*:rw");
    assert!(
        changed.ends_with(": roles +logs/*:r -app/*:rw"),
        "{changed}"
    );
    let added = detail("role add ops app/*:r");
    assert_eq!(added, "version 1: +ops app/*:r");
    let forgotten = detail("node forget n1");
    assert_eq!(forgotten, "n1=127.0.0.1:7401");
    home.run("node invite n1=127.0.0.1:7401 --passphrase-file pp --out again")
        .succeeded();
    let expected_more = expected.len() + 4;
    // What is shown last is the newest, one line each.
    let tail = home.run("audit tail --local --limit 2");
    let lines: Vec<&str> = tail.succeeded().stdout.lines().collect();
    assert_eq!(lines.len(), 2, "{lines:?}");
    assert!(lines[1].contains("nodes_invited"), "{lines:?}");
    let tail = home.run("audit tail --local --limit 1 -o jsonl");
    let line: Value = serde_json::from_str(tail.succeeded().stdout.trim()).expect("JSON");
    assert_eq!(line["sequence"], expected_more - 1);
}

#[test]
fn an_act_that_is_refused_is_not_on_record_as_done() {
    let home = Home::with_realm();
    let before = acts(&home);
    home.run("user add alice --passphrase-file pp --password-file pw")
        .refused(8, "exists");
    home.run("user disable nobody --passphrase-file pp")
        .refused(3, "not_found");
    assert_eq!(acts(&home), before);
}

#[test]
fn a_changed_log_is_damage_and_no_act_is_done_on_top_of_a_changed_state() {
    let home = Home::with_realm();
    let length = fs::metadata(home.path(LOG)).expect("there").len();
    let last = usize::try_from(length).expect("small") - 1;
    for at in [1100, last] {
        flip(&home.path(LOG), at);
        let verified = home.run("audit verify --local --passphrase-file pp");
        assert_eq!(verified.exit, 9, "{verified:?}");
        verified.saying("authctl: error[integrity]: the audit log of (realm): event ");
        assert!(
            verified.stdout.starts_with("! (realm): event "),
            "{verified:?}"
        );
        flip(&home.path(LOG), at);
    }
    home.run(VERIFY).succeeded();
    let before = home.run("user list -o json").data("users");
    flip(&home.path(LOG), 100);
    home.run("audit verify --local --passphrase-file pp")
        .refused(9, "integrity");
    home.run("user disable ci --passphrase-file pp")
        .refused(9, "integrity");
    flip(&home.path(LOG), 100);
    assert_eq!(home.run("user list -o json").data("users"), before);
    // Gone altogether.
    fs::remove_file(home.path(LOG)).expect("removed");
    home.run("user disable ci --passphrase-file pp")
        .refused(2, "config");
    assert_eq!(home.run("user list -o json").data("users"), before);
}

#[test]
fn without_a_login_there_is_nobody_to_ask() {
    let home = Home::with_realm();
    for command in [
        "audit tail",
        "audit verify --passphrase-file pp",
        "audit export events",
    ] {
        home.run(command).refused(10, "not_initialised");
    }
    assert!(!home.path("events").exists());
    home.run("audit tail --local --context none")
        .refused(3, "not_found");
    home.run("audit tail --local --context ../x")
        .refused(2, "usage");
    home.run("audit tail --local --follow").refused(2, "usage");
    home.run("audit tail --limit 0").refused(2, "usage");
    home.run("audit verify --local").refused(2, "usage");
    home.secret("wrong", "another");
    home.run("audit verify --local --passphrase-file wrong")
        .refused(4, "unauthenticated");
}

#[test]
fn an_export_is_written_once_and_for_its_owner_only() {
    let home = Home::with_realm();
    let export = format!("audit export {} --local -o json", home.path("e").display());
    let exported = home.run(&export).data("audit_export");
    assert_eq!(exported["events"], 5);
    assert_eq!(crate::fixture::mode(&home.path("e")), 0o600);
    let lines = fs::read_to_string(home.path("e")).expect("read");
    for line in lines.lines() {
        let line: Value = serde_json::from_str(line).expect("JSON");
        assert!(line["event_b64"].is_string() && line["link_b64"].is_string());
    }
    home.run(export.trim_end_matches(" -o json"))
        .refused(8, "exists");
}
