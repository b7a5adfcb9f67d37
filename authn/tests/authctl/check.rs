//! `check`.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

use serde_json::json;

use crate::fixture::{Home, finish};

#[test]
fn what_is_allowed_names_the_rule() {
    let home = Home::with_realm();
    for (question, rule) in [
        ("ci read app/x", "grant app/*:rw"),
        ("ci write app/x/y", "grant app/*:rw"),
        ("alice delete anything", "role admin: *:rwdla"),
        ("alice list app/", "role admin: *:rwdla"),
        ("alice admin app/x", "role admin: *:rwdla"),
    ] {
        let data = home.run(&format!("check {question} -o json")).data("check");
        assert_eq!(data, json!({"allowed": true, "rule": rule}), "{question}");
        let text = home.run(&format!("check {question}"));
        assert!(text.succeeded().stdout.contains(rule), "{text:?}");
    }
}

#[test]
fn what_is_denied_is_a_result_and_an_error() {
    let home = Home::with_realm();
    for question in [
        "ci delete app/x",
        "ci list app/",
        "ci admin app/x",
        "ci read app",
        "ci read apple",
        "ci read other/app/x",
        "alice read system/users/alice",
    ] {
        home.run(&format!("check {question}"))
            .refused(5, "permission_denied");
        let denied = home.run(&format!("check {question} -o json"));
        assert_eq!(denied.exit, 5);
        let envelope = denied.envelope();
        assert_eq!(envelope["kind"], "check");
        assert_eq!(envelope["data"], json!({"allowed": false, "rule": null}));
        let error: serde_json::Value = serde_json::from_str(&denied.stderr).expect("JSON");
        assert_eq!(error["error"]["code"], "permission_denied");
    }
}

#[test]
fn questions_without_sense_are_refused() {
    let home = Home::with_realm();
    for (question, exit, code) in [
        ("", 2, "usage"),
        ("alice", 2, "usage"),
        ("alice read", 2, "usage"),
        ("alice read x y", 2, "usage"),
        ("alice eat x", 2, "usage"),
        ("alice READ x", 2, "usage"),
        ("Alice read x", 2, "usage"),
        ("eve read x", 3, "not_found"),
        ("gone read x", 3, "not_found"),
    ] {
        home.run(&format!("check {question}")).refused(exit, code);
    }
    home.run(&format!("check alice read {}", "k".repeat(4097)))
        .refused(2, "usage");
    let mut empty = home.command();
    empty.args(["check", "alice", "read", ""]);
    finish(empty, "").refused(2, "usage");
}

#[test]
fn keys_are_bytes_and_do_not_drive_the_terminal() {
    let home = Home::with_realm();
    for key in [&b"app/\xff\xfe"[..], b"app/\x1b[31m"] {
        let mut command = home.command();
        command
            .args(["check", "ci", "read"])
            .arg(OsStr::from_bytes(key));
        let outcome = finish(command, "");
        assert!(!outcome.succeeded().stdout.contains('\x1b'), "{outcome:?}");
    }
    let mut denied = home.command();
    denied.args(["check", "ci", "read", "\x1b[31m"]);
    assert!(!finish(denied, "").stderr.contains('\x1b'));
    let mut misspelt = home.command();
    misspelt.args(["check", "\x1b[31m", "read", "x"]);
    assert!(
        !finish(misspelt, "")
            .refused(2, "usage")
            .stderr
            .contains('\x1b')
    );
}
