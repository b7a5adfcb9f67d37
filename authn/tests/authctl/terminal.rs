//! A person at a terminal, played by Python's `pty` module.

use std::io::Write;
use std::process::Command;

use crate::fixture::Home;

/// Answers prompts in turn: arguments are the program's, then `--`, then pairs of
/// what to wait for and what to type. `@last` types the last word between quotes, `@code`
/// what an authenticator app makes of the secret on the screen.
const PLAYER: &str = r#"
import base64, hashlib, hmac, os, pty, re, select, struct, sys, termios, time
split = sys.argv.index("--")
program, script = sys.argv[1:split], sys.argv[split + 1:]
pid, terminal = pty.fork()
if pid == 0:
    os.execv(program[0], program)
seen = b""
def read():
    global seen
    if not select.select([terminal], [], [], 60)[0]:
        sys.exit("nothing came after: %r" % seen)
    try:
        piece = os.read(terminal, 4096)
    except OSError:
        piece = b""
    seen += piece
    return piece
at = 0
while script:
    wanted, answer = script[0].encode(), script[1]
    script = script[2:]
    while wanted not in seen[at:]:
        if not read():
            sys.exit("ended before %r: %r" % (wanted, seen))
    at = seen.index(wanted, at) + len(wanted)
    if answer == "@last":
        answer = seen.split(b'"')[1].split(b"-")[-1].decode()
    if answer == "@code":
        secret = re.search(rb"secret=([A-Z2-7]+)", seen).group(1)
        step = struct.pack(">Q", int(time.time()) // 30)
        tag = hmac.new(base64.b32decode(secret), step, hashlib.sha1).digest()
        number = struct.unpack(">I", tag[tag[19] & 15:][:4])[0] & 0x7fffffff
        answer = "%06d" % (number % 1000000)
    # A prompt is out before echo is off; what is typed in between would be shown.
    # These two ask for nothing secret, and their answers are shown.
    until = time.monotonic() + 60
    shown = wanted.endswith((b"[y/N] ", b"last word: "))
    while not shown and termios.tcgetattr(terminal)[3] & termios.ECHO:
        if time.monotonic() > until:
            sys.exit("echo stays on: %r" % seen)
        time.sleep(0.005)
    os.write(terminal, answer.encode() + b"\r")
while read():
    pass
status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
sys.stdout.buffer.write(seen)
sys.exit(status)
"#;

pub(crate) struct Played {
    pub(crate) exit: i32,
    pub(crate) screen: String,
}

pub(crate) fn play(home: &Home, arguments: &str, script: &[(&str, &str)]) -> Played {
    let mut player = Command::new("python3");
    player
        .args(["-c", PLAYER, env!("CARGO_BIN_EXE_authctl")])
        .args(arguments.split_whitespace())
        .arg("--")
        .args(script.iter().flat_map(|(wanted, answer)| [wanted, answer]))
        .current_dir(home.path(""))
        .env("HOME", home.path(""))
        .env("SEALMOOT_CONFIG_DIR", home.path("config"))
        .env("SEALMOOT_DATA_DIR", home.path("data"))
        .env_remove("SEALMOOT_OUTPUT")
        .env_remove("SEALMOOT_PASSPHRASE_FILE")
        .env_remove("SEALMOOT_PASSWORD_FILE");
    let output = player.output().expect("python3 starts");
    let screen = String::from_utf8_lossy(&output.stdout).into_owned();
    let exit = output.status.code().expect("no signal");
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert_eq!(complaint, "", "{screen}");
    Played { exit, screen }
}

/// Whether there is a Python to play the person; says so where there is none.
pub(crate) fn nobody_at_the_terminal(test: &str) -> bool {
    let python = Command::new("python3")
        .args(["-c", "import pty, os; os.waitstatus_to_exitcode"])
        .output();
    let missing = !python.is_ok_and(|output| output.status.success());
    if missing {
        // Not `eprintln!`, which is shown for failing tests only.
        let _ = writeln!(
            std::io::stderr(),
            "SKIPPED {test}: no python3 with its pty module"
        );
    }
    missing
}

#[test]
fn a_person_makes_a_realm_and_its_users() {
    if nobody_at_the_terminal("a_person_makes_a_realm_and_its_users") {
        return;
    }
    let home = Home::empty();
    let wrong = play(
        &home,
        "realm init acme",
        &[
            ("Passphrase (empty = generate): ", ""),
            ("Type the last word: ", "wrong"),
        ],
    );
    assert_eq!(wrong.exit, 2, "{}", wrong.screen);
    assert!(!home.path("data").exists());

    let made = play(
        &home,
        "realm init acme",
        &[
            ("Passphrase (empty = generate): ", ""),
            ("Type the last word: ", "@last"),
        ],
    );
    assert_eq!(made.exit, 0, "{}", made.screen);
    assert!(
        made.screen.contains("✓ realm acme  moot1"),
        "{}",
        made.screen
    );
    let passphrase = made.screen.split('"').nth(1).expect("generated");

    let added = play(
        &home,
        "user add alice --role admin",
        &[
            ("Passphrase: ", passphrase),
            ("Password: ", "zebra-typed"),
            ("Again: ", "zebra-typed"),
        ],
    );
    assert_eq!(added.exit, 0, "{}", added.screen);
    assert!(added.screen.contains("✓ user alice [admin]"));
    let strength = (0..=4).any(|score| added.screen.contains(&format!("strength {score}/4")));
    assert!(strength, "{}", added.screen);
    let echoed = added.screen.contains("zebra") || added.screen.contains(passphrase);
    assert!(!echoed, "{}", added.screen);

    let differing = play(
        &home,
        "user add bob",
        &[
            ("Passphrase: ", passphrase),
            ("Password: ", "one"),
            ("Again: ", "other"),
            ("Password: ", "one"),
            ("Again: ", "other"),
            ("Password: ", "one"),
            ("Again: ", "other"),
        ],
    );
    assert_eq!(differing.exit, 2, "{}", differing.screen);
    let told = "strength 0/4 (a single word is guessed early)";
    assert!(differing.screen.contains(told), "{}", differing.screen);
    let mistyped = play(&home, "user add bob", &[("Passphrase: ", "mistyped")]);
    assert_eq!(mistyped.exit, 4, "{}", mistyped.screen);
    let existing = play(&home, "user add alice", &[]);
    assert_eq!(existing.exit, 8, "{}", existing.screen);

    let kept = play(
        &home,
        "user delete alice",
        &[("Delete user alice? [y/N] ", "")],
    );
    assert_eq!(kept.exit, 2, "{}", kept.screen);
    let unasked = play(
        &home,
        "user delete alice --no-input --passphrase-file pp",
        &[],
    );
    assert_eq!(unasked.exit, 2, "{}", unasked.screen);
    home.run("user show alice").succeeded();
    let deleted = play(
        &home,
        "user delete alice",
        &[
            ("Delete user alice? [y/N] ", "y"),
            ("Passphrase: ", passphrase),
        ],
    );
    assert_eq!(deleted.exit, 0, "{}", deleted.screen);
    home.run("user show alice").refused(3, "not_found");
}

#[test]
fn a_person_makes_roles_and_a_backup() {
    if nobody_at_the_terminal("a_person_makes_roles_and_a_backup") {
        return;
    }
    let home = Home::with_realm();
    let passphrase = [("Passphrase: ", crate::fixture::PASSPHRASE)];
    let added = play(&home, "role add ops app/*:rw", &passphrase);
    assert_eq!(added.exit, 0, "{}", added.screen);
    assert!(added.screen.contains("✓ role ops [app/*:rw]"));
    let given = play(&home, "user role ci --add ops", &passphrase);
    assert!(given.screen.contains("✓ user ci [app/*:rw, ops]"));
    // What cannot be done is told before anybody is asked.
    for (arguments, exit) in [
        ("role add ops", 8),
        ("role grant none x:r", 3),
        ("role revoke ops x", 3),
        ("role delete ops", 8),
        ("user role ci --add none", 3),
    ] {
        let refused = play(&home, arguments, &[]);
        assert_eq!(refused.exit, exit, "{}", refused.screen);
    }
    let question = "Delete role ops? [y/N] ";
    let kept = play(&home, "role delete ops --force", &[(question, "")]);
    assert_eq!(kept.exit, 2, "{}", kept.screen);
    home.run("role show ops").succeeded();

    let file = home.path("acme.backup").display().to_string();
    let differing = play(
        &home,
        &format!("realm backup {file} --new-passphrase"),
        &[
            passphrase[0],
            ("New passphrase: ", "walnut-one"),
            ("Again: ", "walnut-two"),
            ("New passphrase: ", "walnut-one"),
            ("Again: ", "walnut-two"),
            ("New passphrase: ", "walnut-one"),
            ("Again: ", "walnut-two"),
        ],
    );
    assert_eq!(differing.exit, 2, "{}", differing.screen);
    assert!(!home.path("acme.backup").exists());
    let made = play(
        &home,
        &format!("realm backup {file} --new-passphrase"),
        &[
            passphrase[0],
            ("New passphrase: ", "walnut-one"),
            ("Again: ", "walnut-one"),
        ],
    );
    assert_eq!(made.exit, 0, "{}", made.screen);
    assert!(!made.screen.contains("walnut"), "{}", made.screen);
    let dry = format!("realm restore {file} --dry-run");
    let wrong = play(&home, &dry, &passphrase);
    assert_eq!(wrong.exit, 4, "{}", wrong.screen);
    let right = play(&home, &dry, &[("Passphrase: ", "walnut-one")]);
    assert_eq!(right.exit, 0, "{}", right.screen);

    let answers = [(question, "y"), passphrase[0]];
    let deleted = play(&home, "role delete ops --force", &answers);
    assert_eq!(deleted.exit, 0, "{}", deleted.screen);
    home.run("role show ops").refused(3, "not_found");
}

#[test]
fn a_person_is_told_what_for_and_may_mistype_and_may_give_up() {
    if nobody_at_the_terminal("a_person_is_told_what_for_and_may_mistype_and_may_give_up") {
        return;
    }
    let home = Home::with_realm();
    let passphrase = ("Passphrase: ", crate::fixture::PASSPHRASE);
    let added = play(
        &home,
        "user add bob",
        &[
            passphrase,
            ("Password: ", "walnut-one"),
            ("Again: ", "walnut-two"),
            ("The two differ; once more.", "walnut-three"),
            ("Again: ", "walnut-three"),
        ],
    );
    assert_eq!(added.exit, 0, "{}", added.screen);
    for told in [
        "(realm acme)",
        "(new user bob)",
        "next: authctl node invite",
    ] {
        assert!(added.screen.contains(told), "{told}: {}", added.screen);
    }
    const END_OF_INPUT: &str = "\u{4}";
    for (arguments, question) in [
        ("user passwd bob", "Passphrase: "),
        ("user delete bob", "Delete user bob? [y/N] "),
    ] {
        let ended = play(&home, arguments, &[(question, END_OF_INPUT)]);
        assert_eq!(ended.exit, 2, "{}", ended.screen);
        assert!(
            ended.screen.contains("no answer was given"),
            "{}",
            ended.screen
        );
    }
}
