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
    for unknown in [
        "help nonsense",
        "help error[nonsense]",
        "help user nonsense",
    ] {
        home.run(unknown).refused(2, "usage");
    }
}

#[test]
fn a_code_is_explained_as_it_was_copied() {
    let home = Home::empty();
    let expected = home.run("help not_found");
    for copied in [
        "help error[not_found]",
        "help NOT_FOUND",
        "help Error[Not_Found]",
    ] {
        assert_eq!(home.run(copied).succeeded().stdout, expected.stdout);
    }
    let codes = home.run("help codes");
    for code in ["usage ", "not_found ", "interrupted "] {
        let listed = codes.succeeded().stdout.lines();
        assert_eq!(listed.filter(|line| line.starts_with(code)).count(), 1);
    }
    let data = home.run("help codes -o json").data("codes");
    assert_eq!(data[0]["code"], "internal");
    assert_eq!(data[0]["exit"], 1);
}

#[test]
fn rights_are_spelled_out_wherever_a_grant_is_taken() {
    let home = Home::empty();
    for command in [
        "user add",
        "user role",
        "role add",
        "role grant",
        "cred issue",
        "import",
    ] {
        for help in [format!("help {command}"), format!("{command} --help")] {
            let told = home.run(&help);
            let words: Vec<&str> = told.succeeded().stdout.split_whitespace().collect();
            let words = words.join(" ");
            for right in ["r read", "w write", "d delete", "l list", "a administer"] {
                assert!(words.contains(right), "{help} does not say {right}");
            }
        }
    }
}

#[test]
fn the_first_steps_lead_to_the_first_value() {
    let home = Home::empty();
    let help = home.run("help").succeeded().stdout.clone();
    let steps = help.split("First steps:").nth(1).expect("first steps");
    let mut at = 0;
    for step in [
        "authctl realm init",
        "authctl user add",
        "authctl node invite",
        "kvd join",
        "kv login",
        "kv put",
    ] {
        at += steps[at..]
            .find(step)
            .unwrap_or_else(|| panic!("{step} is not next"));
    }
    for command in ["user add", "node invite"] {
        let long = home.run(&format!("help {command}"));
        assert!(long.succeeded().stdout.contains("Examples:"), "{command}");
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

#[test]
fn a_shell_understands_its_completions() {
    let home = Home::empty();
    for shell in ["bash", "zsh", "fish", "powershell", "elvish"] {
        let script = home.run(&format!("completions {shell} -o json"));
        for command in ["passwd", "passphrase-file", "linearizable"] {
            // The last is of another program.
            let named = script.succeeded().stdout.contains(command);
            assert_eq!(named, command != "linearizable", "{shell}: {command}");
        }
        let found = |path: &str| std::path::Path::new(path).exists();
        let program = format!("/usr/bin/{shell}");
        if shell == "powershell" || !(found(&program) || found(&format!("/bin/{shell}"))) {
            eprintln!("SKIPPED a_shell_understands_its_completions: {shell} is not here");
            continue;
        }
        home.secret("script", &script.stdout);
        let read = std::process::Command::new(shell)
            .arg(if shell == "elvish" {
                "-compileonly"
            } else {
                "-n"
            })
            .arg(home.path("script"))
            .status();
        assert!(read.expect("it runs").success(), "{shell}");
    }
    home.run("completions ksh").refused(2, "usage");
}

#[test]
fn every_command_has_a_manual_page() {
    let home = Home::empty();
    let data = home.run("man pages/man1 -o json").data("man");
    assert_eq!(data["directory"], "pages/man1");
    let page = |name: &str| std::fs::read_to_string(home.path("pages/man1").join(name));
    for name in [
        "authctl.1",
        "authctl-user-add.1",
        "authctl-realm-init.1",
        "authctl-man.1",
    ] {
        assert!(page(name).expect(name).contains(".SH NAME"), "{name}");
    }
    assert!(
        page("authctl-user-add.1")
            .expect("a page")
            .contains("password\\-file")
    );
    let files = data["files"].as_array().expect("a list");
    assert_eq!(
        std::fs::read_dir(home.path("pages/man1"))
            .expect("it")
            .count(),
        files.len()
    );
}

#[test]
fn manual_pages_overwrite_nothing_unasked() {
    let home = Home::empty();
    std::fs::create_dir(home.path("man1")).expect("a directory");
    home.secret("man1/authctl-user-add.1", "mine");
    home.run("man man1")
        .refused(8, "exists")
        .saying("authctl-user-add.1");
    // Nothing at all was written.
    assert_eq!(std::fs::read_dir(home.path("man1")).expect("it").count(), 1);
    home.run("man man1 --force").succeeded();
    let page = std::fs::read_to_string(home.path("man1/authctl-user-add.1"));
    assert!(page.expect("a page").contains(".SH NAME"));
    home.run("man pp").refused(2, "config").saying("pp");
}
