//! Where passphrases and passwords may come from.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::process::Command;

use crate::fixture::{Home, PASSPHRASE, finish};

#[test]
fn two_secrets_do_not_fit_into_one_standard_input() {
    let home = Home::with_realm();
    let before = home.data();
    for sources in [
        "--passphrase-stdin --password-stdin",
        "--passphrase-fd 0 --password-stdin",
        "--passphrase-stdin --password-fd 0",
    ] {
        for command in ["user add bob", "user passwd alice"] {
            home.run_with(PASSPHRASE, &format!("{command} {sources}"))
                .refused(2, "usage")
                .saying("standard input cannot be both");
        }
    }
    assert!(home.data() == before);
}

#[test]
fn without_source_and_terminal_nothing_is_done() {
    let home = Home::with_realm();
    let before = home.data();
    for arguments in [
        "user add bob",
        "user add bob --no-input",
        "user add bob --passphrase-file pp",
        "user add bob --password-file pw",
        "user passwd alice",
        "user passwd alice --passphrase-file pp",
        "user passwd alice --generate",
        "user enable alice",
        "user disable alice",
        "user delete alice",
        "user delete alice --yes",
        "node invite n1=a",
    ] {
        home.run_with(PASSPHRASE, arguments)
            .refused(2, "usage")
            .saying("-stdin");
    }
    assert!(home.data() == before);
}

#[test]
fn a_secret_of_two_lines_is_refused_and_a_weak_passphrase_is_told() {
    let home = Home::empty();
    home.secret("two", "first line\nsecond line\n");
    home.run("realm init acme --passphrase-file two")
        .refused(2, "usage")
        .saying("more than one line");
    assert!(!home.path("data").exists());
    home.secret("weak", "letmein\n");
    let made = home.run("realm init acme --passphrase-file weak");
    made.succeeded()
        .saying("warning: the passphrase is easily guessed: strength 0/4");
}

#[test]
fn a_password_is_refused_before_the_realm_is_opened() {
    let home = Home::with_realm();
    let before = home.data();
    home.secret("wrong", "not the passphrase");
    let long = "x".repeat(1025);
    for password in ["", "\n", &long, &"x".repeat(5000)] {
        for command in ["user add bob", "user passwd alice"] {
            // The passphrase is wrong, and nobody gets to know.
            home.run_with(
                password,
                &format!("{command} --password-stdin --passphrase-file wrong"),
            )
            .refused(2, "usage");
        }
    }
    assert!(home.data() == before);
}

#[test]
fn one_secret_has_one_source() {
    let home = Home::with_realm();
    for sources in [
        "--password-file pw --password-stdin",
        "--password-file pw --password-fd 3",
        "--password-stdin --generate",
        "--password-file pw --generate",
    ] {
        home.run(&format!("user add bob --passphrase-file pp {sources}"))
            .refused(2, "usage")
            .saying("one source of the password");
    }
}

#[test]
fn files_that_others_can_read_are_refused_through_links_too() {
    let home = Home::with_realm();
    symlink("pp", home.path("link")).expect("linked");
    home.run("user passwd ci --password-file pw --passphrase-file link")
        .succeeded();
    for mode in [0o644, 0o640, 0o604, 0o620] {
        fs::set_permissions(home.path("pp"), fs::Permissions::from_mode(mode)).expect("loosened");
        for file in ["pp", "link"] {
            home.run(&format!(
                "user passwd ci --generate --passphrase-file {file}"
            ))
            .refused(2, "config")
            .saying("0600");
        }
    }
}

#[test]
fn a_flag_beats_the_variable() {
    let home = Home::with_realm();
    let with_variable = |value: &str, arguments: &str| {
        let mut command = home.command();
        command.env("SEALMOOT_PASSPHRASE_FILE", value);
        command.args(arguments.split_whitespace());
        finish(command, PASSPHRASE)
    };
    let change = "user passwd ci --generate";
    with_variable("pp", change).succeeded();
    with_variable("none", change).refused(2, "config");
    with_variable("none", &format!("{change} --passphrase-stdin")).succeeded();
    with_variable("none", &format!("{change} --passphrase-file=pp")).succeeded();
    with_variable("pp", "realm init beta --generate")
        .succeeded()
        .saying("Generated");
}

#[test]
fn descriptors_and_the_shells_substitutions_work() {
    let home = Home::with_realm();
    let shell = |script: &str| {
        let mut command = Command::new("sh");
        command
            .arg("-c")
            .arg(script)
            .arg(env!("CARGO_BIN_EXE_authctl"))
            .env("SEALMOOT_DATA_DIR", home.path("data"))
            .env_remove("SEALMOOT_OUTPUT")
            .current_dir(home.path(""));
        finish(command, "")
    };
    shell("\"$0\" user enable ci --passphrase-fd 3 3<pp").succeeded();
    shell("cat pp | \"$0\" user enable ci --passphrase-file /dev/fd/0").succeeded();
}
