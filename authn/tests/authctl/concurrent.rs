//! Several `authctl` at once on one realm: none loses what another did.

use std::process::Child;
use std::process::Stdio;

use sealmoot_authn::name::Name;
use sealmoot_authn::realm::Realm;

use crate::fixture::Home;

const AT_ONCE: usize = 8;

fn start(home: &Home, arguments: &str) -> Child {
    let mut command = home.command();
    command
        .args(arguments.split_whitespace())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    command.spawn().expect("authctl starts")
}

/// Runs all of them at once; which of them succeeded.
fn at_once(home: &Home, commands: &[String]) -> Vec<i32> {
    let running: Vec<Child> = commands
        .iter()
        .map(|arguments| start(home, &format!("{arguments} --passphrase-file pp")))
        .collect();
    let exit = |mut child: Child| child.wait().expect("it ends").code().expect("no signal");
    running.into_iter().map(exit).collect()
}

fn realm(home: &Home) -> Realm {
    Realm::open(&home.path("data/acme")).expect("opens")
}

fn version(home: &Home, user: &str) -> u64 {
    let users = realm(home).users().expect("whole");
    let name: Name = user.parse().expect("a name");
    users.record(&name).expect("there").user().version
}

#[test]
fn changes_of_one_user_and_of_the_roles_are_all_kept_one_version_each() {
    let home = Home::with_realm();
    let before = version(&home, "ci");
    let commands: Vec<String> = (0..AT_ONCE)
        .map(|at| match at % 2 {
            0 => format!("user role ci --add k{at}:r"),
            _ => format!("role add r{at} k{at}:r"),
        })
        .collect();
    assert_eq!(at_once(&home, &commands), [0; AT_ONCE]);
    let half = AT_ONCE as u64 / 2;
    assert_eq!(version(&home, "ci"), before + half);
    let shown = home.run("user show ci -o json").data("user");
    let roles = shown["roles"].to_string();
    let record = realm(&home).roles().expect("whole").expect("some");
    assert_eq!(record.version(), half);
    for at in 0..AT_ONCE {
        if at % 2 == 0 {
            assert!(roles.contains(&format!("k{at}:r")), "{roles}");
        } else {
            let name: Name = format!("r{at}").parse().expect("a name");
            assert!(record.roles().grants(&name).is_some(), "r{at}");
        }
    }
}

#[test]
fn users_of_different_names_are_all_added_and_of_one_name_once() {
    let home = Home::with_realm();
    let add = |name: &str| format!("user add {name} --password-file pw");
    let commands: Vec<String> = (0..AT_ONCE)
        .map(|at| match at % 2 {
            0 => add(&format!("user{at}")),
            _ => add("same"),
        })
        .collect();
    let exits = at_once(&home, &commands);
    let users = realm(&home).users().expect("whole");
    for (at, exit) in exits.iter().enumerate() {
        if at % 2 == 0 {
            assert_eq!(*exit, 0, "user{at}");
            let name: Name = format!("user{at}").parse().expect("a name");
            assert!(users.record(&name).is_some());
        } else {
            assert!(matches!(exit, 0 | 8), "{exits:?}");
        }
    }
    let added = exits.iter().skip(1).step_by(2).filter(|exit| **exit == 0);
    assert_eq!(added.count(), 1, "{exits:?}");
    assert_eq!(version(&home, "same"), 1);
}

#[test]
fn a_role_is_not_deleted_under_who_just_gets_it() {
    let home = Home::with_realm();
    home.run("role add ops x:r --passphrase-file pp")
        .succeeded();
    let commands = [
        "user role ci --add ops".to_owned(),
        "role delete ops --yes".to_owned(),
    ];
    let exits = at_once(&home, &commands);
    let users = realm(&home).users().expect("whole");
    let ops: Name = "ops".parse().expect("a name");
    let all = users.records().map(|record| record.user());
    let held = !sealmoot_authn::realm::holders(all, &ops).is_empty();
    let exists = users.roles().grants(&ops).is_some();
    assert_eq!(held, exists, "{exits:?}");
    assert!(matches!(exits[..], [0, 8] | [3, 0]), "{exits:?}");
}

#[test]
fn realms_of_one_name_are_made_once() {
    let home = Home::empty();
    let commands = vec!["realm init acme".to_owned(); 4];
    let mut exits = at_once(&home, &commands);
    exits.sort_unstable();
    assert_eq!(exits, [0, 8, 8, 8]);
    home.run("user add a --passphrase-file pp --password-file pw")
        .succeeded();
}
