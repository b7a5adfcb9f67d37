//! Which nodes are told of changes: those of all calls, but for the ones given up.
//!
//! A call is a signed statement and stays as it is. Beside the calls stand two files:
//!
//! ```text
//! formed      a line for each call of which a node was told something: `CALL`
//! forgotten   a line for each node that was given up: `CALL NAME`
//! ```
//!
//! A call is 32 hexadecimal digits. Neither file is trusted with more than whom to
//! tell, and how loudly to say that it could not be done: a node that forms a cluster
//! is told of everything by the others.

use std::collections::BTreeSet;
use std::path::Path;

use super::{OpenRealm, Realm, RealmError, call_file, damaged, untold};
use crate::audit::{Subject, What};
use crate::files::{self, Existing, FileError};
use crate::name::Name;
use crate::statement::{Call, Verified};

const FORMED_FILE: &str = "formed";
const FORGOTTEN_FILE: &str = "forgotten";
/// Longest of the two files in bytes.
const LINES_LENGTH_MAX: usize = 4 * 1024 * 1024;

/// A node as the latest call of its address names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CalledNode {
    /// Its name.
    pub name: Name,
    /// Where the others reach it.
    pub address: String,
    /// The id of the call, as its file is named.
    pub call: String,
    /// Until when the invites of the call could be used, in milliseconds since 1970.
    pub expires_ms: u64,
    /// Whether the nodes of the call are known to have formed a cluster.
    pub formed: bool,
}

impl Realm {
    /// The nodes that were ever called and not forgotten, newest call first, each
    /// address once.
    ///
    /// # Errors
    /// [`RealmError::Damaged`] when a call does not verify, or a line of the files
    /// beside them is none.
    pub fn called(&self) -> Result<Vec<CalledNode>, RealmError> {
        let forgotten = read_lines(&self.directory, FORGOTTEN_FILE)?;
        let formed = read_lines(&self.directory, FORMED_FILE)?;
        let mut nodes: Vec<CalledNode> = Vec::new();
        for call in self.calls()? {
            let id = call_file(&call.body().id);
            for member in &call.body().members {
                let known = nodes.iter().any(|node| node.address == member.address);
                if known || forgotten.contains(&forgotten_line(&id, &member.name)) {
                    continue;
                }
                nodes.push(CalledNode {
                    name: member.name.clone(),
                    address: member.address.clone(),
                    call: id.clone(),
                    expires_ms: call.body().expires_ms,
                    formed: formed.contains(&id),
                });
            }
        }
        Ok(nodes)
    }

    /// Notes that nodes of these calls were told something: so they have formed.
    ///
    /// # Errors
    /// [`RealmError`].
    pub fn note_formed(&self, calls: &BTreeSet<String>) -> Result<(), RealmError> {
        if calls.is_subset(&read_lines(&self.directory, FORMED_FILE)?) {
            return Ok(());
        }
        let _lock = self.lock()?;
        let mut formed = read_lines(&self.directory, FORMED_FILE)?;
        formed.extend(calls.iter().cloned());
        write_lines(&self.directory, FORMED_FILE, &formed)
    }
}

impl OpenRealm {
    /// Gives nodes up: they are told of changes no longer, neither of those to come nor
    /// of those that they missed. Nothing is taken from the nodes themselves.
    ///
    /// # Errors
    /// [`RealmError`].
    pub fn forget_nodes(&self, nodes: &[CalledNode], now_ms: u64) -> Result<(), RealmError> {
        let _lock = self.lock()?;
        let directory = self.realm.directory();
        let named: Vec<String> = nodes
            .iter()
            .map(|node| format!("{}={}", node.name, node.address))
            .collect();
        self.record(
            now_ms,
            What::NodesForgotten,
            Subject::Nothing,
            named.join(" "),
        )?;
        let mut forgotten = read_lines(directory, FORGOTTEN_FILE)?;
        forgotten.extend(nodes.iter().map(|n| forgotten_line(&n.call, &n.name)));
        write_lines(directory, FORGOTTEN_FILE, &forgotten)?;
        // An address may still be that of a node of an older call.
        let left = self.realm.nodes()?;
        let gone: Vec<String> = nodes
            .iter()
            .map(|node| node.address.clone())
            .filter(|gone| left.iter().all(|(_, address)| address != gone))
            .collect();
        untold::forget(directory, &gone)?;
        self.drop_empty_calls(forgotten)
    }

    /// Removes calls all of whose nodes were forgotten, and then what names them: a
    /// crash between the two leaves lines about nothing.
    fn drop_empty_calls(&self, mut forgotten: BTreeSet<String>) -> Result<(), RealmError> {
        let directory = self.realm.directory();
        let mut formed = read_lines(directory, FORMED_FILE)?;
        let before = (forgotten.len(), formed.len());
        for call in self.realm.calls()? {
            let id = call_file(&call.body().id);
            let line = |member: &crate::statement::CallMember| forgotten_line(&id, &member.name);
            let lines: Vec<String> = call.body().members.iter().map(line).collect();
            if lines.iter().all(|line| forgotten.contains(line)) {
                files::remove(&directory.join("calls").join(&id))?;
                for line in &lines {
                    forgotten.remove(line);
                }
                formed.remove(&id);
            }
        }
        if before.0 != forgotten.len() {
            write_lines(directory, FORGOTTEN_FILE, &forgotten)?;
        }
        if before.1 != formed.len() {
            write_lines(directory, FORMED_FILE, &formed)?;
        }
        Ok(())
    }
}

/// The nodes of calls, newest first: each address once, by its latest call.
pub(super) fn nodes_of(calls: &[Verified<Call>]) -> Vec<(Name, String)> {
    let mut nodes: Vec<(Name, String)> = Vec::new();
    for member in calls.iter().flat_map(|call| &call.body().members) {
        if nodes.iter().all(|(_, address)| *address != member.address) {
            nodes.push((member.name.clone(), member.address.clone()));
        }
    }
    nodes
}

fn forgotten_line(call: &str, name: &Name) -> String {
    format!("{call} {name}")
}

fn read_lines(directory: &Path, file: &str) -> Result<BTreeSet<String>, RealmError> {
    let path = directory.join(file);
    let bytes = match files::read_secret(&path, LINES_LENGTH_MAX) {
        Err(FileError::Missing(_)) => return Ok(BTreeSet::new()),
        bytes => bytes?,
    };
    let text = std::str::from_utf8(bytes.expose());
    text.ok()
        .filter(|text| text.lines().all(is_line))
        .map(|text| text.lines().map(str::to_owned).collect())
        .ok_or_else(|| damaged(&path, &"a line names no call"))
}

fn is_line(line: &str) -> bool {
    let (call, name) = line.split_once(' ').unwrap_or((line, "n"));
    let hexadecimal = call.len() == 32 && call.bytes().all(|byte| byte.is_ascii_hexdigit());
    hexadecimal && name.parse::<Name>().is_ok()
}

fn write_lines(directory: &Path, file: &str, lines: &BTreeSet<String>) -> Result<(), RealmError> {
    let path = directory.join(file);
    if lines.is_empty() {
        return match files::remove(&path) {
            Err(FileError::Missing(_)) => Ok(()),
            removed => Ok(removed?),
        };
    }
    let mut text = String::new();
    for line in lines {
        text.push_str(line);
        text.push('\n');
    }
    Ok(files::write(&path, text.as_bytes(), Existing::Replace)?)
}

#[cfg(test)]
mod tests {
    use super::super::tests::{name, realm};
    use super::*;

    fn call(realm: &OpenRealm, nodes: &[(&str, &str)], now_ms: u64) {
        let nodes: Vec<(Name, String)> = nodes
            .iter()
            .map(|(node, address)| (name(node), (*address).to_owned()))
            .collect();
        realm.call_nodes(&nodes, 99, now_ms).expect("called");
    }

    fn addresses(realm: &OpenRealm) -> Vec<String> {
        let nodes = realm.realm().nodes().expect("read");
        nodes.into_iter().map(|(_, address)| address).collect()
    }

    fn change(realm: &OpenRealm, now_ms: u64) {
        realm
            .change_roles(now_ms, |roles| roles.grant(&name("ops"), grant(now_ms)))
            .expect("changed");
    }

    fn grant(number: u64) -> crate::policy::Grant {
        format!("app{number}/*:r").parse().expect("a grant")
    }

    #[test]
    fn a_forgotten_node_is_told_nothing_and_the_others_are() {
        let (_directory, realm) = realm();
        realm
            .change_roles(1, |roles| roles.add(name("ops"), vec![]))
            .expect("added");
        call(&realm, &[("n1", "a:1"), ("n2", "b:1")], 2);
        change(&realm, 3);
        let called = realm.realm().called().expect("read");
        realm.forget_nodes(&called[1..], 4).expect("forgotten");
        assert_eq!(addresses(&realm), ["a:1"]);
        let untold = realm.realm().untold().expect("read");
        assert!(untold.iter().all(|line| line.addresses == ["a:1"]));
        change(&realm, 5);
        let untold = realm.realm().untold().expect("read");
        assert!(untold.iter().all(|line| line.addresses == ["a:1"]));
        // The last of a call takes the call with it, and all that names it.
        let formed = called.iter().map(|node| node.call.clone()).collect();
        realm.realm().note_formed(&formed).expect("noted");
        realm.forget_nodes(&called[..1], 6).expect("forgotten");
        assert!(realm.realm().calls().expect("read").is_empty());
        for file in [FORMED_FILE, FORGOTTEN_FILE, "untold"] {
            assert!(!realm.realm().directory().join(file).exists(), "{file}");
        }
    }

    #[test]
    fn an_address_of_an_older_call_comes_back_and_what_it_missed_stays() {
        let (_directory, realm) = realm();
        call(&realm, &[("n1", "a:1")], 1);
        call(&realm, &[("mistyped", "a:1"), ("x", "b:1")], 2);
        realm
            .change_roles(3, |roles| roles.add(name("ops"), vec![]))
            .expect("added");
        let called = realm.realm().called().expect("read");
        assert_eq!(called[0].name, name("mistyped"));
        realm.forget_nodes(&called, 4).expect("forgotten");
        let called = realm.realm().called().expect("read");
        assert_eq!(called.len(), 1);
        assert_eq!(called[0].name, name("n1"));
        assert_eq!(realm.realm().untold().expect("read")[0].addresses, ["a:1"]);
    }

    #[test]
    fn a_call_is_known_to_have_formed_once_it_is_noted() {
        let (_directory, realm) = realm();
        call(&realm, &[("n1", "a:1")], 1);
        let called = || realm.realm().called().expect("read");
        assert!(!called()[0].formed);
        let calls = BTreeSet::from([called()[0].call.clone()]);
        realm.realm().note_formed(&calls).expect("noted");
        assert!(called()[0].formed);
    }

    #[test]
    fn lines_that_name_no_call_are_damage() {
        let (_directory, realm) = realm();
        for file in [FORMED_FILE, FORGOTTEN_FILE] {
            let path = realm.realm().directory().join(file);
            for line in ["", "x", "00 n1", &format!("{:032x} N1", 7)] {
                let text = format!("{line}\n");
                files::write(&path, text.as_bytes(), Existing::Replace).expect("written");
                let read = realm.realm().called();
                assert!(matches!(read, Err(RealmError::Damaged { .. })), "{line:?}");
            }
            files::remove(&path).expect("removed");
        }
    }
}
