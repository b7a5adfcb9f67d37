//! Every command, by a person at a terminal and by a script without one. A command
//! that stands not in this list fails the test.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::fixture::{Home, PASSPHRASE, PASSWORD};
use crate::terminal::{nobody_at_the_terminal, play};

/// A command as typed; what the person is asked and answers; and what a script says
/// instead of that.
struct Row {
    typed: &'static str,
    asked: &'static [(&'static str, &'static str)],
    instead: &'static str,
}

const fn row(
    typed: &'static str,
    asked: &'static [(&'static str, &'static str)],
    instead: &'static str,
) -> Row {
    Row {
        typed,
        asked,
        instead,
    }
}

const NOBODY: &[(&str, &str)] = &[];
const UNLOCK: &[(&str, &str)] = &[("Passphrase: ", PASSPHRASE)];
const FROM_FILE: &str = "--passphrase-file pp";
const FROM_FILE_SURELY: &str = "--passphrase-file pp --yes";
const NEW_PASSWORD: &[(&str, &str)] = &[
    ("Passphrase: ", PASSPHRASE),
    ("Password: ", PASSWORD),
    ("Again: ", PASSWORD),
];
const BOTH_FROM_FILES: &str = "--passphrase-file pp --password-file pw";

/// A user of another system; nobody knows the password to this hash.
const IMPORTED: &str = concat!(
    r#"{"name":"eve","hash":"$argon2id$v=19$m=8,t=1,p=1$c2FsdHNhbHQ$"#,
    r#"AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8","roles":[]}"#,
);

/// In an order in which each can be done.
const ROWS: &[Row] = &[
    row(
        "realm init beta",
        &[
            ("Passphrase (empty = generate): ", PASSPHRASE),
            ("Again: ", PASSPHRASE),
        ],
        FROM_FILE,
    ),
    row("realm show --realm acme", NOBODY, ""),
    row("realm list", NOBODY, ""),
    row("role add ops app/*:rwl --realm acme", UNLOCK, FROM_FILE),
    row("role grant ops logs/*:r --realm acme", UNLOCK, FROM_FILE),
    row("role revoke ops logs/* --realm acme", UNLOCK, FROM_FILE),
    row("role show ops --realm acme", NOBODY, ""),
    row("role list --realm acme", NOBODY, ""),
    row(
        "user add bob --role ops --realm acme",
        NEW_PASSWORD,
        BOTH_FROM_FILES,
    ),
    row("user show bob --realm acme", NOBODY, ""),
    row("user list --realm acme", NOBODY, ""),
    row("check bob read app/x --realm acme", NOBODY, ""),
    row(
        "user passwd bob --realm acme",
        NEW_PASSWORD,
        BOTH_FROM_FILES,
    ),
    row(
        "user role bob --add tmp/*:r --realm acme",
        UNLOCK,
        FROM_FILE,
    ),
    row("user disable bob --realm acme", UNLOCK, FROM_FILE),
    row("user enable bob --realm acme", UNLOCK, FROM_FILE),
    row("user unlock bob --realm acme", UNLOCK, FROM_FILE),
    row(
        "role require ops second-factor --realm acme",
        UNLOCK,
        FROM_FILE,
    ),
    row(
        "cred issue bob --totp --realm acme",
        &[
            ("Passphrase: ", PASSPHRASE),
            ("Code (empty = do not confirm): ", "@code"),
        ],
        FROM_FILE,
    ),
    row("cred inspect bob @id --realm acme", NOBODY, ""),
    row("cred revoke bob @id --realm acme", UNLOCK, FROM_FILE),
    row("role require ops nothing --realm acme", UNLOCK, FROM_FILE),
    row(
        "cred issue bob --new bob-key --label one --realm acme",
        UNLOCK,
        FROM_FILE,
    ),
    row("cred list bob --realm acme", NOBODY, ""),
    row("cred inspect bob-key --realm acme", NOBODY, ""),
    row(
        "cred rotate bob @id --new bob-key-2 --realm acme",
        UNLOCK,
        FROM_FILE,
    ),
    row("cred revoke bob @id --realm acme", UNLOCK, FROM_FILE),
    row(
        "user delete bob --realm acme",
        &[
            ("Delete user bob? [y/N] ", "y"),
            ("Passphrase: ", PASSPHRASE),
        ],
        FROM_FILE_SURELY,
    ),
    row(
        "role delete ops --realm acme",
        &[
            ("Delete role ops? [y/N] ", "y"),
            ("Passphrase: ", PASSPHRASE),
        ],
        FROM_FILE_SURELY,
    ),
    row(
        "session revoke 0011223344556677889900112233445566778899001122334455667788990011 --realm acme",
        UNLOCK,
        FROM_FILE,
    ),
    row("session list --revoked --realm acme", NOBODY, ""),
    row(
        "admin request dana --realm acme",
        &[
            ("Passphrase (empty = generate): ", PASSPHRASE),
            ("Again: ", PASSPHRASE),
        ],
        FROM_FILE,
    ),
    row(
        "admin grant dana.request *:rwdla --until 90d --realm acme",
        &[
            ("Let dana hand out everything, rwdla too? [y/N] ", "y"),
            ("Passphrase: ", PASSPHRASE),
        ],
        FROM_FILE_SURELY,
    ),
    row("admin accept dana.delegation --as danas", UNLOCK, FROM_FILE),
    row("admin list --realm acme", NOBODY, ""),
    row("admin refresh --realm danas", UNLOCK, FROM_FILE),
    row(
        "admin revoke dana --drop --realm acme",
        &[
            ("Passphrase: ", PASSPHRASE),
            ("Revoke dana, and end these users (0 in all)? [y/N] ", "y"),
        ],
        FROM_FILE,
    ),
    row("node invite n1=127.0.0.1:1 --realm beta", UNLOCK, FROM_FILE),
    row("node list --realm beta", NOBODY, ""),
    row(
        "node revoke n1 --key 0011223344556677889900112233445566778899001122334455667788990011 --realm beta",
        &[
            ("Revoke n1 for good? [y/N] ", "y"),
            ("Passphrase: ", PASSPHRASE),
        ],
        FROM_FILE_SURELY,
    ),
    row("passphrase --words 4", NOBODY, ""),
    row(
        "node invite n1=127.0.0.1:1 --out again --realm beta",
        UNLOCK,
        FROM_FILE,
    ),
    row("node forget n1 --realm beta", UNLOCK, FROM_FILE),
    row("audit tail --local --realm acme", NOBODY, ""),
    row("audit verify --local --realm acme", UNLOCK, FROM_FILE),
    row("audit export events --local --realm acme", NOBODY, ""),
    row("realm backup acme.backup --realm acme", UNLOCK, FROM_FILE),
    row("realm restore acme.backup --dry-run", UNLOCK, FROM_FILE),
    row(
        "approver new ap",
        &[
            ("Passphrase (empty = generate): ", PASSPHRASE),
            ("Again: ", PASSPHRASE),
        ],
        FROM_FILE,
    ),
    row("approver show ap", NOBODY, ""),
    row(
        "realm init gamma --approver @approver",
        &[
            ("Passphrase (empty = generate): ", PASSPHRASE),
            ("Again: ", PASSPHRASE),
        ],
        FROM_FILE,
    ),
    row("realm backup gamma.backup --realm gamma", UNLOCK, FROM_FILE),
    row(
        "approver approve gamma.backup --key ap",
        &[("? [y/N] ", "y"), ("Passphrase: ", PASSPHRASE)],
        FROM_FILE_SURELY,
    ),
    row(
        "realm restore gamma.backup.approved --dry-run",
        UNLOCK,
        FROM_FILE,
    ),
    row(
        "realm rotate-root --offline --realm acme",
        &[("? [y/N] ", "y"), ("Passphrase: ", PASSPHRASE)],
        FROM_FILE_SURELY,
    ),
    row("import jsonl users.jsonl --realm acme", UNLOCK, FROM_FILE),
    row("export --realm acme", NOBODY, ""),
    row("completions bash", NOBODY, ""),
    row("man pages", NOBODY, ""),
    row("help not_found", NOBODY, ""),
    row("version", NOBODY, ""),
];

#[test]
fn every_command_is_done_at_a_terminal_and_by_a_script() {
    if nobody_at_the_terminal("every_command_is_done_at_a_terminal_and_by_a_script") {
        return;
    }
    let (person, script) = (Home::with_realm(), Home::with_realm());
    for home in [&person, &script] {
        home.secret("users.jsonl", IMPORTED);
    }
    for row in ROWS {
        let typed = with_id(&person, row.typed);
        let played = play(&person, &typed, row.asked);
        assert_eq!(played.exit, 0, "{typed}: {}", played.screen);
        assert!(!played.screen.is_empty(), "{typed} says nothing");
        for secret in [PASSPHRASE, PASSWORD] {
            assert!(
                !played.screen.contains(secret),
                "{typed}: {}",
                played.screen
            );
        }

        let typed = with_id(&script, row.typed);
        let told = script.run(&format!("{typed} {} -o json --no-input", row.instead));
        assert_eq!(told.exit, 0, "{told:?}");
        // These print what another program reads.
        if !typed.starts_with("completions") && !typed.starts_with("export") {
            for line in told.stdout.lines() {
                let document: Value = serde_json::from_str(line).expect("JSON");
                assert_eq!(document["v"], 1, "{typed}");
            }
        }
        // Without answers nothing is done, and nobody waits for them.
        if !row.instead.is_empty() {
            let refused = script.run(&format!("{typed} --no-input"));
            assert_ne!(refused.exit, 0, "{typed}");
        }
    }
}

#[test]
fn no_command_is_left_out() {
    let home = Home::empty();
    home.run("man pages").succeeded();
    let pages: BTreeSet<String> = std::fs::read_dir(home.path("pages"))
        .expect("pages")
        .map(|page| page.expect("one").file_name().into_string().expect("UTF-8"))
        .filter_map(|page| Some(page.strip_suffix(".1")?.to_owned()))
        .collect();
    for page in &pages {
        let has_subcommands = pages
            .iter()
            .any(|other| other.starts_with(&format!("{page}-")));
        let command = page.strip_prefix("authctl").expect("its name");
        // In a page's name a hyphen stands between two words, or within one.
        let command = command.trim_start_matches('-').to_owned();
        let listed = ROWS.iter().any(|row| {
            let typed = row.typed.replace(' ', "-");
            typed == command || typed.starts_with(&format!("{command}-"))
        });
        assert!(has_subcommands || listed, "{command:?} is never tried");
    }
}

/// `@id` stands for the id of bob's only key or second factor, `@approver` for whose key
/// the file `ap` has.
fn with_id(home: &Home, typed: &str) -> String {
    if typed.contains("@approver") {
        let shown = home.run("approver show ap -o json").data("approver");
        let approver = shown["approver"].as_str().expect("an approver");
        return typed.replace("@approver", approver);
    }
    if !typed.contains("@id") {
        return typed.to_owned();
    }
    let keys = home.run("cred list bob --realm acme -o json");
    let keys: Value = serde_json::from_str(&keys.stdout).expect("JSON");
    let id = keys["data"][0]["id"].as_str().expect("one key");
    typed.replace("@id", id)
}
