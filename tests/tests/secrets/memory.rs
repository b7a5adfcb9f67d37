//! What `authctl` and `kv` hold in memory once a secret has done its work, and that they
//! leave no core file.
//!
//! Owed, and so not searched: at a prompt behind the passphrase the open realm, with its
//! root key; at the second of two prompts the first answer; until a login has ended its
//! password, and the user's key that it unseals; in every call the key of the session.

use std::collections::HashSet;
use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, Stdio};
use std::time::Duration;

use sealmoot_tests::binaries::Program;
use sealmoot_tests::cluster::Cluster;
use sealmoot_tests::command::send_signals;
use sealmoot_tests::held::Held;
use sealmoot_tests::home::{Home, PASSPHRASE, PASSWORD};
use sealmoot_tests::memory::{Memory, PublicKeys};
use sealmoot_tests::poll::eventually;
use sealmoot_tests::terminal::Terminal;

/// Reached only by a fault.
const PATIENCE: Duration = Duration::from_secs(60);
const NEW_PASSPHRASE: &str = "walrus-new-passphrase-25d8";

/// A node that takes calls and never says a word.
struct SilentNode(TcpListener);

impl SilentNode {
    fn new() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        listener.set_nonblocking(true).expect("its own socket");
        Self(listener)
    }

    fn address(&self) -> String {
        self.0.local_addr().expect("bound").to_string()
    }

    /// Waits for a call; it lasts as long as what is returned.
    #[track_caller]
    fn called(&self) -> impl Sized + use<> {
        eventually("a call", PATIENCE, || self.0.accept().ok())
    }
}

/// The memory of a process that has no passphrase and no password on its command line or
/// in its environment either.
#[track_caller]
fn memory_of(home: &Home, pid: u32) -> Option<Memory> {
    for file in ["cmdline", "environ"] {
        let path = format!("/proc/{pid}/{file}");
        let content = fs::read(&path).unwrap_or_default();
        assert!(!content.is_empty(), "{path} is empty");
        super::assert_clean(&path, &content);
    }
    let memory = Memory::of(home, pid)?;
    // It is one: what a process has in its environment is in its memory.
    let known = home.path("config");
    let known = known.to_string_lossy();
    assert!(memory.holds(known.as_bytes()), "{known} is not there");
    Some(memory)
}

#[track_caller]
fn assert_forgotten(memory: &Memory, secrets: &[&str], moment: &str) {
    for secret in secrets {
        let shown = memory.holds_in_any_form(secret.as_bytes());
        assert!(!shown, "{moment}: {secret} is in memory");
    }
}

/// No key of the realm is there: of the root, of users, of whom its files name.
#[track_caller]
fn assert_no_key(home: &Home, memory: &Memory, moment: &str) {
    let found = memory.seeds_of(&PublicKeys::below(&home.path("share")));
    assert_eq!(found.len(), 0, "{moment}: private keys are in memory");
}

#[track_caller]
fn assert_all_forgotten(home: &Home, pid: u32, moment: &str) -> Option<Memory> {
    let memory = memory_of(home, pid)?;
    let secrets = [PASSPHRASE, PASSWORD, NEW_PASSPHRASE];
    assert_forgotten(&memory, &secrets, moment);
    assert_no_key(home, &memory, moment);
    Some(memory)
}

fn skipped(test: &str) {
    eprintln!("SKIPPED {test}: gcore captures nothing (is gdb there, and this root?)");
}

#[test]
fn what_was_typed_is_not_in_the_memory_of_authctl() {
    const NAME: &str = "what_was_typed_is_not_in_the_memory_of_authctl";
    if !Terminal::is_possible() {
        eprintln!("SKIPPED {NAME}: no python3 with its pty module");
        return;
    }
    let (home, node) = (Home::new(), SilentNode::new());
    let _ = home.realm("acme");
    let invite = format!("node invite n1={} --out .", node.address());
    home.authctl(&format!("{invite} --passphrase-file pp"))
        .succeeded();
    let root = PublicKeys::below(&home.path("share"));

    let program = Program::Authctl.path();
    let program = program.to_str().expect("a path in UTF-8");
    let bob = [program, "user", "add", "bob", "--timeout", "60s"];
    let mut terminal = Terminal::start(home.command("python3"), &bob);
    let pid = terminal.pid();
    terminal.awaits("Passphrase: ");
    terminal.types_hidden(PASSPHRASE);
    terminal.awaits("Password: ");
    let Some(memory) = memory_of(&home, pid) else {
        return skipped(NAME);
    };
    assert_forgotten(&memory, &[PASSPHRASE], "at the next prompt");
    // The realm is open: what searches for private keys finds one.
    let seeds = memory.seeds_of(&root);
    assert_eq!(seeds.len(), 1, "the root's key");

    terminal.types_hidden(PASSWORD);
    terminal.awaits("Again: ");
    let memory = memory_of(&home, pid).expect("as before");
    assert!(memory.holds(PASSWORD.as_bytes()), "it is to be compared");
    assert_forgotten(&memory, &[PASSPHRASE], "at the last prompt");

    terminal.types_hidden(PASSWORD);
    let _call = node.called();
    let moment = "while a node is told";
    let memory = assert_all_forgotten(&home, pid, moment).expect("as before");
    for seed in seeds {
        let shown = memory.holds_in_any_form(&seed);
        assert!(!shown, "{moment}: the root's key is in memory");
    }
}

#[test]
fn what_was_read_is_not_in_the_memory_of_authctl() {
    let home = Home::new();
    home.secret("new", NEW_PASSPHRASE);
    let commands = [
        ("realm init acme --passphrase-stdin", PASSPHRASE),
        (
            "user add bob --passphrase-file pp --password-stdin",
            PASSWORD,
        ),
        (
            "user passwd bob --passphrase-stdin --password-file pw",
            PASSPHRASE,
        ),
        (
            "user add eve --passphrase-fd 0 --password-file pw",
            PASSPHRASE,
        ),
        ("user disable eve --passphrase-stdin", PASSPHRASE),
        (
            "node invite n1=127.0.0.1:9 --out . --passphrase-file pp",
            "",
        ),
        (
            "realm backup acme.backup --passphrase-file pp --new-passphrase-file new",
            "",
        ),
        (
            "realm restore acme.backup --dry-run --passphrase-file new",
            "",
        ),
        ("audit verify --local --passphrase-file pp", ""),
        (
            "realm rotate-root --offline --yes --passphrase-stdin --new-passphrase-file new",
            PASSPHRASE,
        ),
    ];
    for (arguments, input) in commands {
        let command = home.run(Program::Authctl, arguments).into_command();
        let held = Held::start(command, input.as_bytes());
        if assert_all_forgotten(&home, held.pid(), arguments).is_none() {
            return skipped("what_was_read_is_not_in_the_memory_of_authctl");
        }
    }
}

#[test]
fn what_a_login_needed_is_not_in_the_memory_of_kv() {
    const NAME: &str = "what_a_login_needed_is_not_in_the_memory_of_kv";
    let cluster = Cluster::form();
    let (home, address) = (&cluster.home, cluster.ports.address(0));
    let login = format!("login alice@{address} --realm {}", cluster.realm);
    for (source, input) in [
        ("--password-file pw", ""),
        ("--password-stdin", PASSWORD),
        ("--password-fd 0", PASSWORD),
    ] {
        let login = format!("{login} {source}");
        let command = home.run(Program::Kv, &login).into_command();
        let held = Held::start(command, input.as_bytes());
        if assert_all_forgotten(home, held.pid(), &login).is_none() {
            return skipped(NAME);
        }
    }

    // With the session, at a node that does not answer.
    let node = SilentNode::new();
    let get = format!("get app/x --timeout 60s --endpoints {}", node.address());
    let running = cluster.kv_run(&get).start();
    let _call = node.called();
    assert_all_forgotten(home, running.pid(), &get).expect("as before");
    drop(running);

    let pids: Vec<u32> = (0..3).map(|index| cluster.pid(index)).collect();
    send_signals(&pids, "STOP");
    let get = "get app/x --timeout 60s";
    let running = cluster.kv_run(get).start();
    eventually("it calls", PATIENCE, || {
        has_socket(running.pid()).then_some(())
    });
    assert_all_forgotten(home, running.pid(), get).expect("as before");
    send_signals(&pids, "CONT");
}

fn has_socket(pid: u32) -> bool {
    let Ok(entries) = fs::read_dir(format!("/proc/{pid}/fd")) else {
        return false;
    };
    let links = entries.filter_map(|entry| fs::read_link(entry.ok()?.path()).ok());
    links
        .filter(|link| link.to_string_lossy().starts_with("socket:"))
        .count()
        > 0
}

/// What a process may write of a core file, in bytes or without a bound.
pub(crate) fn core_limits(pid: u32) -> Vec<String> {
    let limits = fs::read_to_string(format!("/proc/{pid}/limits")).expect("it runs");
    let name = "Max core file size";
    let line = limits.lines().find_map(|line| line.strip_prefix(name));
    let words = line.expect("a limit").split_whitespace();
    words.take(2).map(str::to_owned).collect()
}

/// A command in a shell without any limit to core files.
fn without_limit(home: &Home, words: &[&str]) -> Command {
    let mut shell = home.command("bash");
    let script = "ulimit -S -c unlimited && exec \"$@\"";
    shell.args(["-c", script, "bash"]).args(words);
    shell
}

#[test]
fn no_program_leaves_a_core_file() {
    let home = Home::new();
    let killed = without_limit(&home, &["bash", "-c", "kill -ABRT $$"]);
    let control = { killed }.status().expect("bash runs");
    if !control.core_dumped() {
        eprintln!("SKIPPED no_program_leaves_a_core_file: nothing leaves one on this machine");
        return;
    }
    let written = |home: &Home| -> HashSet<String> {
        let entries = fs::read_dir(home.path(".")).expect("a directory");
        let names = entries.map(|entry| entry.expect("listed").file_name());
        let names = names.map(|name| name.to_string_lossy().into_owned());
        names.filter(|name| name.starts_with("core")).collect()
    };
    let before = written(&home);
    for program in [Program::Authctl, Program::Kv, Program::Kvd] {
        let path = program.path();
        let path = path.to_str().expect("a path in UTF-8");
        for signal in ["ABRT", "SEGV"] {
            let held = Held::start(without_limit(&home, &[path, "version"]), b"");
            assert_eq!(core_limits(held.pid()), ["0", "0"], "{program:?}");
            let status = held.ended_by(signal);
            assert!(status.signal().is_some(), "{program:?}: {status}");
            assert!(!status.core_dumped(), "{program:?}: {status}");
        }
    }
    assert_eq!(written(&home), before);
}

/// A limit does not keep the system from piping a core into a program, nor the same user
/// from reading the memory.
#[test]
fn no_program_is_dumpable() {
    const NOBODY: u32 = 65534;
    let nobody = |words: &[&str]| {
        let mut setpriv = Command::new("setpriv");
        setpriv.args([&format!("--reuid={NOBODY}"), "--clear-groups"]);
        setpriv.args(words).current_dir("/").env_clear();
        setpriv
    };
    // What is not dumpable belongs to root.
    let owner = |command: Command| {
        let held = Held::start(command, b"");
        let environment = fs::metadata(format!("/proc/{}/environ", held.pid()));
        environment.expect("it runs").uid()
    };
    for program in [Program::Authctl, Program::Kv, Program::Kvd] {
        let path = program.path();
        let path = path.to_str().expect("a path in UTF-8");
        let tried = nobody(&[path, "version"]).stdout(Stdio::null()).status();
        if !tried.is_ok_and(|status| status.success()) {
            eprintln!("SKIPPED no_program_is_dumpable: setpriv makes nobody of root");
            return;
        }
        assert_eq!(owner(nobody(&["echo", "control"])), NOBODY);
        assert_eq!(owner(nobody(&[path, "version"])), 0, "{program:?}");
    }
}
