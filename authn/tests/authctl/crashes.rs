//! Crash points: `authctl` is killed at each system call that changes something, and
//! each is made to fail. A realm is then what it was or what it should become, and
//! the same command goes through.
//!
//! It takes `strace`, which counts and injects. A plain run takes some of the points;
//! `SEALMOOT_CRASHES=full` all of them.

use std::fs;
use std::io::Write;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Command, Stdio};

use sealmoot_authn::invite::Invite;
use sealmoot_authn::realm::{Backup, Realm};
use sealmoot_authn::records::RecordName;

use crate::fixture::{Home, PASSPHRASE, copy};

/// Of how many points a plain run takes one.
const STRIDE: usize = 7;
const CALLS: [&str; 14] = [
    "openat",
    "write",
    "fsync",
    "syncfs",
    "rename",
    "renameat",
    "renameat2",
    "link",
    "linkat",
    "unlink",
    "unlinkat",
    "mkdir",
    "mkdirat",
    "rmdir",
];

/// A command, and what it finds.
struct Case {
    name: &'static str,
    /// What is there before; made once.
    before: fn() -> Home,
    arguments: &'static str,
}

const CASES: [Case; 12] = [
    Case {
        name: "realm init",
        before: Home::empty,
        arguments: "realm init acme",
    },
    Case {
        name: "user add",
        before: Home::with_realm,
        arguments: "user add bob --role admin --password-file pw",
    },
    Case {
        name: "user passwd",
        before: Home::with_realm,
        arguments: "user passwd ci --password-file pw",
    },
    Case {
        name: "user role",
        before: Home::with_realm,
        arguments: "user role ci --add x:r",
    },
    Case {
        name: "role add",
        before: Home::with_realm,
        arguments: "role add ops app/*:r",
    },
    Case {
        name: "role grant",
        before: with_role,
        arguments: "role grant ops log/*:r",
    },
    Case {
        name: "user disable, with a node",
        before: with_node,
        arguments: "user disable ci",
    },
    Case {
        name: "role add, with a node",
        before: with_node,
        arguments: "role add ops app/*:r",
    },
    Case {
        name: "node invite",
        before: Home::with_realm,
        arguments: "node invite n1=x",
    },
    Case {
        name: "realm backup",
        before: with_role,
        arguments: "realm backup acme.backup",
    },
    Case {
        name: "realm restore",
        before: only_a_backup,
        arguments: "realm restore acme.backup",
    },
    Case {
        name: "realm rotate-root, with a node",
        before: with_role_and_node,
        arguments: "realm rotate-root --yes --offline",
    },
];
/// What a realm is found to be between the decision and the end: as it was, and nothing
/// is done with it but that the same command goes on.
const BEING_HANDED_OVER: &str = "being handed over";

/// A realm with a node that is never reached.
fn with_node() -> Home {
    let home = Home::with_realm();
    home.run("node invite n9=127.0.0.1:1 --passphrase-file pp")
        .succeeded();
    home
}

fn with_role() -> Home {
    let home = Home::with_realm();
    home.run("role add ops app/*:r --passphrase-file pp")
        .succeeded();
    home
}

fn with_role_and_node() -> Home {
    let home = with_role();
    home.run("node invite n9=127.0.0.1:1 --passphrase-file pp")
        .succeeded();
    home
}

fn only_a_backup() -> Home {
    let home = with_role();
    home.run("realm backup acme.backup --passphrase-file pp")
        .succeeded();
    fs::remove_dir_all(home.path("data")).expect("removed");
    home
}

/// One system call of a command: its name, and the how many-th of that name it is.
#[derive(Debug, Clone)]
struct Point {
    call: String,
    number: usize,
    line: String,
}

impl Point {
    /// Whether state changes with it: a crash before a call that changes nothing is
    /// one after the last that did.
    fn changes(&self) -> bool {
        self.call != "openat" || self.line.contains("O_CREAT")
    }

    /// Whether it is about the realm's files: not a library, not standard output, not
    /// what wakes the runtime.
    fn is_about(&self, home: &Path) -> bool {
        match self.call.as_str() {
            "openat" => self.line.contains(home.to_str().expect("UTF-8")),
            "write" => {
                let other = ["write(1,", "write(2,"];
                let wakes = self.line.contains(r#""\1\0\0\0\0\0\0\0", 8)"#);
                !wakes && !other.iter().any(|start| self.line.starts_with(start))
            }
            _ => true,
        }
    }
}

#[test]
fn a_kill_at_any_call_leaves_the_old_or_the_new_and_the_command_goes_through() {
    if skipped("a_kill_at_any_call_leaves_the_old_or_the_new_and_the_command_goes_through") {
        return;
    }
    let mut count = 0;
    for (offset, case) in CASES.iter().enumerate() {
        let (before, old, new, points, _) = clean_run(case);
        let to_tell = {
            let home = copied(&before);
            home.run(&format!("{} --passphrase-file pp", case.arguments))
                .succeeded();
            untold(&home)
        };
        assert_eq!(!to_tell.is_empty(), case.name.ends_with("with a node"));
        for point in chosen(points.iter().filter(|point| point.changes()), offset) {
            let home = copied(&before);
            let inject = format!("inject={}:signal=KILL:when={}", point.call, point.number);
            let status = traced(&home, case, &["-e", &inject], "/dev/null");
            assert_eq!(status.0, 137, "{} was not killed at {point:?}", case.name);
            let found = state(&home);
            assert!(
                found == old || found == new || found == BEING_HANDED_OVER,
                "{} killed at {point:?}: neither {old}\nnor {new}\nbut {found}",
                case.name
            );
            let untold_then = untold(&home);
            assert!(
                found != new || to_tell.iter().all(|record| untold_then.contains(record)),
                "{} killed at {point:?}: changed, and no node will be told",
                case.name
            );
            goes_through(&home, case, &found, &old, &new, point);
            count += 1;
        }
    }
    say(&format!("{count} crash points"));
}

#[test]
fn a_disk_that_fails_at_any_call_is_told_and_leaves_the_old() {
    if skipped("a_disk_that_fails_at_any_call_is_told_and_leaves_the_old") {
        return;
    }
    let mut count = 0;
    for (offset, case) in CASES.iter().enumerate() {
        let (before, old, new, points, path) = clean_run(case);
        let about = points.iter().filter(|point| point.is_about(&path));
        for (index, point) in chosen(about, offset).into_iter().enumerate() {
            let error = if index % 2 == 0 { "ENOSPC" } else { "EIO" };
            let home = copied(&before);
            let inject = format!("inject={}:error={error}:when={}", point.call, point.number);
            let (exit, stderr) = traced(&home, case, &["-e", &inject], "/dev/null");
            let what = format!("{} with {error} at {point:?}: {stderr}", case.name);
            let found = state(&home);
            if exit == 0 {
                // Behind the change itself: where the nodes are was not to be read.
                let warned = ["warning: the nodes", "was not told", "told once they"]
                    .iter()
                    .any(|text| stderr.contains(text));
                assert!(found == new && warned, "{what}");
            } else {
                assert!(exit < 128 && stderr.contains("authctl: error["), "{what}");
                // Renamed, and the directory not synced: told by a status of its own.
                let unconfirmed = exit == 11 && found == new;
                let decided = found == BEING_HANDED_OVER;
                assert!(
                    found == old || unconfirmed || decided,
                    "{found}, {exit}, {what}"
                );
            }
            goes_through(&home, case, &found, &old, &new, point);
            count += 1;
        }
    }
    say(&format!("{count} failing calls"));
}

/// The same command once more: done, or refused because it has been done.
#[track_caller]
fn goes_through(home: &Home, case: &Case, found: &str, old: &str, new: &str, point: &Point) {
    let again = home.run(&format!("{} --passphrase-file pp", case.arguments));
    let what = format!("{} after {point:?}: {again:?}", case.name);
    assert_eq!(half_written(home), [""; 0], "{what}");
    if found == old || found == BEING_HANDED_OVER {
        assert_eq!(again.exit, 0, "{what}");
        assert_eq!(state(home), new, "{what}");
    } else {
        assert!(matches!(again.exit, 0 | 8), "{what}");
    }
}

/// What writes left behind in realms that are there: copies of secrets that nobody
/// would look for.
fn half_written(home: &Home) -> Vec<String> {
    let mut found = Vec::new();
    for realm in Realm::all(&home.path("data")).expect("realms are whole") {
        let directory = home.path("data").join(realm.name().as_str());
        for directory in [directory.join("users"), directory] {
            for entry in fs::read_dir(directory).expect("listed") {
                let name = entry.expect("listed").file_name();
                found.extend(name.into_string().ok().filter(|name| name.starts_with('.')));
            }
        }
    }
    found
}

/// What is there before, the state then and after, the calls in between, and the path
/// of the home in which they were made.
fn clean_run(case: &Case) -> (Home, String, String, Vec<Point>, std::path::PathBuf) {
    let before = (case.before)();
    let home = copied(&before);
    let old = state(&home);
    let log = home.path("trace");
    let (exit, stderr) = traced(&home, case, &[], log.to_str().expect("UTF-8"));
    assert_eq!(exit, 0, "{}: {stderr}", case.name);
    let new = state(&home);
    assert_ne!(old, new, "{}", case.name);
    let log = fs::read_to_string(log).expect("a trace");
    let mut points: Vec<Point> = Vec::new();
    for line in log.lines() {
        let line = line.trim_start_matches(|letter: char| letter.is_ascii_digit() || letter == ' ');
        let Some((call, _)) = line.split_once('(') else {
            continue;
        };
        if !CALLS.contains(&call) {
            continue;
        }
        let number = 1 + points.iter().filter(|point| point.call == call).count();
        points.push(Point {
            call: call.to_owned(),
            number,
            line: line.to_owned(),
        });
    }
    let changing = points.iter().filter(|point| point.changes()).count();
    assert!(changing >= 5, "{}: {log}", case.name);
    (before, old, new, points, home.path(""))
}

fn chosen<'a>(points: impl Iterator<Item = &'a Point>, offset: usize) -> Vec<&'a Point> {
    let full = std::env::var("SEALMOOT_CRASHES").is_ok_and(|value| value == "full");
    let step = if full { 1 } else { STRIDE };
    // Each command begins elsewhere, so that together they meet every kind of call.
    points.skip(offset % step).step_by(step).collect()
}

/// A home with the same data and the same files.
fn copied(home: &Home) -> Home {
    let other = Home::empty();
    for name in ["data", "acme.backup"] {
        if home.path(name).exists() {
            copy(&home.path(name), &other.path(name));
        }
    }
    other
}

/// What a person would find: the realm with its users and roles, invites, backups. All
/// of it is read, so that none of it may be damaged.
fn state(home: &Home) -> String {
    let mut found = Vec::new();
    for realm in Realm::all(&home.path("data")).expect("realms are whole") {
        found.push(format!(
            "realm {} root {}",
            realm.name(),
            realm.roots().number()
        ));
        let users = realm.users().expect("users are whole");
        if realm.is_being_handed_over() {
            assert!(
                !users.is_empty() && users.roles().iter().len() == 1,
                "all is there"
            );
            return BEING_HANDED_OVER.to_owned();
        }
        for record in users.records() {
            let user = record.user();
            found.push(format!("{} {} {:?}", user.name, user.version, user.roles));
        }
        found.push(format!("roles {:?}", users.roles()));
        // A call alone changes nothing: nobody can answer it without an invite.
        let _ = realm.calls().expect("calls are whole");
    }
    if let Ok(bytes) = fs::read(home.path("n1.invite")) {
        let invite = Invite::decode(&bytes).expect("an invite is whole");
        let called = Realm::all(&home.path("data")).expect("whole")[0]
            .calls()
            .expect("whole")
            .iter()
            .any(|call| call.bytes() == invite.call().bytes());
        assert!(called, "an invite to a call that the realm does not know");
        found.push("n1.invite".to_owned());
    }
    if let Ok(bytes) = fs::read(home.path("acme.backup")) {
        Backup::open(&bytes, PASSPHRASE.as_bytes()).expect("a backup is whole");
        found.push("acme.backup".to_owned());
    }
    found.join("\n")
}

/// What the nodes are still to be told.
fn untold(home: &Home) -> Vec<RecordName> {
    let realms = Realm::all(&home.path("data")).expect("realms are whole");
    realms
        .iter()
        .flat_map(|realm| realm.untold().expect("what is untold is whole"))
        .flat_map(|line| line.records)
        .collect()
}

/// Runs the command under `strace`; its exit status, 137 when it was killed, and its
/// standard error.
fn traced(home: &Home, case: &Case, options: &[&str], log: &str) -> (i32, String) {
    let calls: Vec<String> = CALLS.iter().map(|call| format!("?{call}")).collect();
    let authctl = home.command();
    let mut command = Command::new("strace");
    command
        .args(["-f", "-qq", "-o", log, "-e"])
        .arg(format!("trace={}", calls.join(",")))
        .args(options)
        .arg(authctl.get_program())
        .args(case.arguments.split_whitespace())
        .args(["--passphrase-file", "pp"])
        .env_clear()
        .envs(
            authctl
                .get_envs()
                .filter_map(|(name, value)| Some((name, value?))),
        )
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .current_dir(home.path(""))
        .stdin(Stdio::null());
    let output = command.output().expect("strace starts");
    let status = output.status;
    let exit = status
        .code()
        .or_else(|| status.signal().map(|signal| 128 + signal))
        .expect("an exit or a signal");
    (exit, String::from_utf8_lossy(&output.stderr).into_owned())
}

fn skipped(test: &str) -> bool {
    let tried = Command::new("strace")
        .args([
            "-f",
            "-qq",
            "-o",
            "/dev/null",
            "-e",
            "inject=getpid:error=EIO",
        ])
        .arg("true")
        .output();
    let why = match tried {
        Ok(output) if output.status.success() => return false,
        Ok(output) => String::from_utf8_lossy(&output.stderr).into_owned(),
        Err(error) => format!("strace: {error}"),
    };
    say(&format!("SKIPPED {test}: {why}"));
    true
}

/// Not `eprintln!`, which is shown for failing tests only.
fn say(text: &str) {
    let _ = writeln!(std::io::stderr(), "{text}");
}
