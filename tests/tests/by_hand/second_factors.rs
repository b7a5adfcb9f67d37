//! Codes beside a password: asked for, good once on whatever node, and needed by roles.

use std::io::Write;
use std::time::Duration;

use sealmoot_tests::authenticator::Authenticator;
use sealmoot_tests::binaries::Program;
use sealmoot_tests::cluster::Cluster;
use sealmoot_tests::command::Outcome;
use sealmoot_tests::poll::eventually;
use serde_json::{Value, json};

/// Within which a change, or that a code was used, must have reached every node.
const EVERYWHERE_WITHIN: Duration = Duration::from_secs(3);

/// Waits for what the terminal says, and types; arguments are what to wait for, what to
/// type, and the program with its own.
const PLAYER: &str = r#"
import os, pty, sys, termios, time
wanted, answer, program = sys.argv[1].encode(), sys.argv[2].encode(), sys.argv[3:]
pid, terminal = pty.fork()
if pid == 0:
    os.execv(program[0], program)
seen = b""
asked = False
while True:
    try:
        piece = os.read(terminal, 4096)
    except OSError:
        break
    if not piece:
        break
    seen += piece
    if not asked and wanted in seen:
        asked = True
        until = time.monotonic() + 60  # the question is out before echo is off
        while termios.tcgetattr(terminal)[3] & termios.ECHO and time.monotonic() < until:
            time.sleep(0.01)
        os.write(terminal, answer + b"\r")
sys.stdout.buffer.write(seen)
sys.exit(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
"#;

/// Enrols a second factor; what is said of it.
fn issue(cluster: &Cluster, user: &str) -> Value {
    let issued = cluster.home.authctl(&format!(
        "cred issue {user} --totp --passphrase-file pp -o json"
    ));
    assert_eq!(issued.succeeded().document()["warnings"], json!([]));
    issued.data("credential")
}

fn login(cluster: &Cluster, user: &str, node: usize, more: &str) -> String {
    let (address, realm) = (cluster.ports.address(node), &cluster.realm);
    format!(
        "login {user}@{address} --realm {realm} --password-file pw --context {user} --no-input \
         {more}"
    )
}

/// Logs in with a code, which comes by standard input.
fn with_code(cluster: &Cluster, user: &str, node: usize, code: &str) -> Outcome {
    cluster
        .kv_run(&login(cluster, user, node, "--code-stdin -o json"))
        .input(format!("{code}\n"))
        .finish()
}

#[track_caller]
fn assert_not_accepted(outcome: &Outcome) {
    outcome
        .refused(4, "unauthenticated")
        .saying("the password was right; the code was not accepted");
}

/// Gives the nodes the time in which they tell each other what was used. Nothing shows
/// from outside that they have, but a guess, which would be counted.
fn let_it_be_told(cluster: &Cluster) {
    cluster.await_whole();
    std::thread::sleep(Duration::from_secs(5));
}

fn text(value: &Value) -> &str {
    value.as_str().expect("a text")
}

#[test]
fn a_code_is_asked_for_and_good_once_on_whatever_node_and_after_kill_9() {
    let mut cluster = Cluster::form();
    cluster.home.user("tina", "tina/*:rw");
    cluster.log_in("tina").succeeded();
    let factor = issue(&cluster, "tina");
    let app = Authenticator::with_secret(text(&factor["secret"]));
    let paper = |place: usize| text(&factor["recovery_codes"][place]).to_owned();

    // The session of before goes on; the next login takes a code.
    cluster.kv("put tina/x 1 --context tina").succeeded();
    let without = login(&cluster, "tina", 0, "-o json");
    cluster.kv(&without).refused(2, "usage").saying("--code-fd");
    assert_not_accepted(&with_code(&cluster, "tina", 0, &app.code(-20)));
    let code = app.code(0);
    with_code(&cluster, "tina", 0, &code).succeeded();
    cluster.kv("put tina/x 2 --context tina").succeeded();
    assert_not_accepted(&with_code(&cluster, "tina", 0, &code));
    with_code(&cluster, "tina", 2, &paper(3)).succeeded();
    let_it_be_told(&cluster);
    assert_not_accepted(&with_code(&cluster, "tina", 1, &code));
    assert_not_accepted(&with_code(&cluster, "tina", 0, &paper(3)));

    // What was used is on the disks, and not in the memory of the others.
    cluster.kill(&[0, 1, 2]);
    cluster.start(&[0, 1, 2]);
    assert_not_accepted(&with_code(&cluster, "tina", 1, &paper(3)));
    assert_not_accepted(&with_code(&cluster, "tina", 2, &code));
    with_code(&cluster, "tina", 1, &paper(4)).succeeded();

    let events = cluster
        .home
        .run(Program::Authctl, "audit tail --limit 1000 -o jsonl")
        .env("SEALMOOT_CONTEXT", "alice")
        .finish();
    let events = events.succeeded().text();
    for told in ["by the clock", "the code was used already", "wrong code"] {
        assert!(events.contains(told), "{told}: {events}");
    }
    assert!(!events.contains(&code) && !events.contains(&paper(3)));
}

#[test]
fn without_the_factor_and_with_a_key_no_code_is_asked_for() {
    let cluster = Cluster::shared();
    cluster.home.user("udo", "udo/*:rw");
    let factor = issue(&cluster, "udo");
    let without = login(&cluster, "udo", 0, "-o json");
    eventually("the factor is asked for", EVERYWHERE_WITHIN, || {
        (cluster.kv(&without).exit == 2).then_some(())
    });
    cluster
        .home
        .authctl("cred issue udo --new udo-key --passphrase-file pp -q")
        .succeeded();
    let (address, realm) = (cluster.ports.address(0), &cluster.realm);
    let with_key =
        format!("login udo@{address} --realm {realm} --key udo-key --no-input --context udo");
    cluster.kv(&with_key).succeeded();
    cluster
        .kv(&format!("{with_key} --code-file pp -o json"))
        .refused(2, "usage");
    // Two secrets by one standard input.
    let both = format!(
        "login udo@{address} --realm {realm} --password-stdin --code-stdin --no-input -o json"
    );
    cluster.kv(&both).refused(2, "usage");

    let id = text(&factor["id"]);
    cluster
        .home
        .authctl(&format!("cred revoke udo {id} --passphrase-file pp -q"))
        .succeeded();
    cluster.kv(&without).succeeded();
}

#[test]
fn a_role_that_needs_a_second_factor_keeps_a_password_out_until_there_is_one() {
    let cluster = Cluster::shared();
    let home = &cluster.home;
    home.authctl("role add strict vera/*:rw --second-factor --passphrase-file pp -q")
        .succeeded();
    home.user("vera", "strict");
    let without = login(&cluster, "vera", 1, "-o json");
    cluster
        .kv(&without)
        .refused(4, "unauthenticated")
        .saying("role strict needs a second factor");
    // Nobody is told who has not proved the password.
    home.secret("wrong", "not the password");
    let guess = without.replace("--password-file pw", "--password-file wrong");
    cluster
        .kv(&guess)
        .refused(4, "unauthenticated")
        .saying("wrong user or password");
    let factor = issue(&cluster, "vera");
    let app = Authenticator::with_secret(text(&factor["secret"]));
    with_code(&cluster, "vera", 1, &app.code(0)).succeeded();
    cluster.kv("put vera/x 1 --context vera").succeeded();
}

#[test]
fn at_a_terminal_the_code_is_asked_for_behind_the_password() {
    let cluster = Cluster::shared();
    let python = cluster
        .home
        .command("python3")
        .args(["-c", "import pty, os; os.waitstatus_to_exitcode"])
        .output();
    if !python.is_ok_and(|output| output.status.success()) {
        // Not `eprintln!`, which is shown for failing tests only.
        let _ = writeln!(
            std::io::stderr(),
            "SKIPPED at_a_terminal_the_code_is_asked_for_behind_the_password: \
             no python3 with its pty module"
        );
        return;
    }
    cluster.home.user("wim", "wim/*:rw");
    let factor = issue(&cluster, "wim");
    let typed = text(&factor["recovery_codes"][0]);
    let arguments = login(&cluster, "wim", 2, "").replace("--no-input", "");
    let played = cluster
        .home
        .command("python3")
        .args(["-c", PLAYER, "Code: ", typed])
        .arg(Program::Kv.path())
        .args(arguments.split_whitespace())
        .output()
        .expect("python3 starts");
    let screen = String::from_utf8_lossy(&played.stdout);
    assert!(played.status.success(), "{screen}");
    assert!(screen.contains("context wim"), "{screen}");
    assert!(!screen.contains(typed), "{screen}");
    cluster.kv("put wim/x 1 --context wim").succeeded();
}
