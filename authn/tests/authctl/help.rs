//! `help`, `version`, and how errors look to machines.

use serde_json::Value;

use crate::fixture::{Home, finish};

#[test]
fn every_code_of_the_contract_is_explained() {
    let home = Home::empty();
    for (code, exit) in [
        ("internal", 1),
        ("usage", 2),
        ("config", 2),
        ("not_found", 3),
        ("unauthenticated", 4),
        ("wrong_realm", 4),
        ("invite_invalid", 4),
        ("invite_expired", 4),
        ("invite_used", 4),
        ("permission_denied", 5),
        ("unreachable", 6),
        ("timeout", 6),
        ("no_quorum", 7),
        ("conflict", 8),
        ("exists", 8),
        ("integrity", 9),
        ("not_initialised", 10),
        ("locked", 10),
        ("draining", 10),
        ("busy", 10),
        ("wrong_state", 10),
        ("outcome_unknown", 11),
        ("interrupted", 130),
    ] {
        let text = home.run(&format!("help {code}"));
        let begins = format!("{code} (exit {exit})\n");
        assert!(text.succeeded().stdout.starts_with(&begins), "{text:?}");
        let data = home.run(&format!("help {code} -o json")).data("help");
        assert_eq!(data["exit"], exit);
    }
}

#[test]
fn help_lists_commands_and_explains_them() {
    let home = Home::empty();
    let help = home.run("help");
    assert!(help.succeeded().stdout.contains("Usage: authctl"));
    assert_eq!(help.stderr, "");
    let about_add = home.run("help user add");
    assert!(about_add.succeeded().stdout.contains("--password-stdin"));
    for unknown in ["help nonsense", "help NOT_FOUND", "help user nonsense"] {
        home.run(unknown).refused(2, "usage");
    }
}

#[test]
fn the_version_has_two_ways() {
    let home = Home::empty();
    let expected = format!("authctl {}\n", env!("CARGO_PKG_VERSION"));
    assert_eq!(home.run("version").succeeded().stdout, expected);
    assert_eq!(home.run("--version").succeeded().stdout, expected);
    let data = home.run("version -o json").data("version");
    assert_eq!(data["version"], env!("CARGO_PKG_VERSION"));
}

#[test]
fn errors_are_documents_where_json_was_asked_for() {
    let home = Home::with_realm();
    for (arguments, code, exit) in [
        ("-o json", "usage", 2),
        ("-o json user", "usage", 2),
        ("user nonsense -o json", "usage", 2),
        ("user add -o json", "usage", 2),
        ("user add Bob -ojson", "usage", 2),
        ("user show eve --output=json", "not_found", 3),
        ("user add alice -o jsonl", "exists", 8),
        ("user add bob -o json", "usage", 2),
        ("--realm beta realm show -o json", "not_found", 3),
    ] {
        let refused = home.run(arguments);
        assert_eq!(
            (refused.exit, refused.stdout.as_str()),
            (exit, ""),
            "{arguments}"
        );
        let document: Value = serde_json::from_str(&refused.stderr).expect("one document");
        assert_eq!(document["v"], 1);
        assert_eq!(document["kind"], "error");
        let error = &document["error"];
        assert_eq!(
            (&error["code"], &error["exit"]),
            (&code.into(), &exit.into())
        );
        assert!(
            error["message"]
                .as_str()
                .is_some_and(|text| !text.is_empty())
        );
        assert!(!error["message"].to_string().contains("\\n"), "{error}");
        assert!(error["hint"].is_string());
        assert_eq!(error["nodes"], serde_json::json!([]));
    }
}

#[test]
fn a_missing_argument_is_named_to_machines_too() {
    let refused = Home::empty().run("user add -o json");
    assert!(refused.stderr.contains("<NAME>"), "{refused:?}");
}

#[test]
fn the_environment_chooses_the_form_and_a_flag_beats_it() {
    let home = Home::with_realm();
    let with_variable = |arguments: &str| {
        let mut command = home.command();
        command.env("SEALMOOT_OUTPUT", "json");
        command.args(arguments.split_whitespace());
        finish(command, "")
    };
    with_variable("realm show").data("realm");
    let text = with_variable("realm show -o table");
    assert!(text.succeeded().stdout.starts_with("realm"));
    assert!(with_variable("nonsense").stderr.starts_with('{'));
}
