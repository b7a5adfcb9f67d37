//! Which changes have not reached which nodes yet.
//!
//! Handing every record to every node at each change would be the whole realm each
//! time. So what is to be told is written down before the change is, and crossed out
//! when a node has it: a node that was down, or a crash of `authctl` between the two,
//! loses nothing. The file `untold` has a line for each change:
//!
//! ```text
//! TOKEN RECORD,RECORD,… ADDRESS,ADDRESS,…
//! ```
//!
//! A record is a user's by the user's name, or `*roles`: the realm's named roles, or
//! `*sessions`: the revoked sessions, or `*revocations`: the revoked delegations, or
//! `*nodes`: the revoked nodes.
//! The token, 16 hexadecimal digits drawn at random, names this line and no other:
//! whoever has told a node crosses out the lines that were there before the records
//! were read, and never one of a change that came meanwhile.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use sealmoot_crypto::random::{self, RandomError};

use super::RealmError;
use crate::files::{self, Existing, FileError};
use crate::records::RecordName;

/// Longest file in bytes: all users of a large realm for some nodes.
const UNTOLD_LENGTH_MAX: usize = 256 * 1024 * 1024;
/// Above this number lines are drawn together, one a node.
const LINES_MAX: usize = 256;
pub(super) const UNTOLD_FILE: &str = "untold";
/// How the named roles stand among the users: no user can have this name.
const ROLES: &str = "*roles";
/// How the revoked sessions do.
const SESSIONS: &str = "*sessions";
/// How the revoked nodes do.
const NODES: &str = "*nodes";
/// How the revoked delegations stand there.
const REVOCATIONS: &str = "*revocations";

/// One change, and the nodes that do not know of it yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Untold {
    token: String,
    /// Which records changed.
    pub records: Vec<RecordName>,
    /// Where the nodes are that have to be told.
    pub addresses: Vec<String>,
}

impl Untold {
    fn new(records: Vec<RecordName>, addresses: Vec<String>) -> Result<Self, RandomError> {
        let token = format!("{:016x}", u64::from_be_bytes(random::array()?));
        Ok(Self {
            token,
            records,
            addresses,
        })
    }

    fn parse(line: &str) -> Option<Self> {
        let mut fields = line.split(' ');
        let (token, records, addresses) = (fields.next()?, fields.next()?, fields.next()?);
        let hexadecimal = token.len() == 16 && token.bytes().all(|byte| byte.is_ascii_hexdigit());
        if fields.next().is_some() || !hexadecimal || addresses.is_empty() {
            return None;
        }
        Some(Self {
            token: token.to_owned(),
            records: records
                .split(',')
                .map(|record| match record {
                    ROLES => Some(RecordName::Roles),
                    SESSIONS => Some(RecordName::RevokedSessions),
                    NODES => Some(RecordName::RevokedNodes),
                    REVOCATIONS => Some(RecordName::Revocations),
                    user => user.parse().ok().map(RecordName::User),
                })
                .collect::<Option<_>>()?,
            addresses: addresses.split(',').map(str::to_owned).collect(),
        })
    }

    fn write(&self, text: &mut String) {
        text.push_str(&self.token);
        for (index, record) in self.records.iter().enumerate() {
            text.push(if index == 0 { ' ' } else { ',' });
            text.push_str(match record {
                RecordName::Roles => ROLES,
                RecordName::RevokedSessions => SESSIONS,
                RecordName::RevokedNodes => NODES,
                RecordName::Revocations => REVOCATIONS,
                RecordName::User(name) => name.as_str(),
            });
        }
        text.push(' ');
        text.push_str(&self.addresses.join(","));
        text.push('\n');
    }
}

/// What is to be told, oldest first.
///
/// # Errors
/// [`RealmError`].
pub(super) fn read(directory: &Path) -> Result<Vec<Untold>, RealmError> {
    let path = directory.join(UNTOLD_FILE);
    let bytes = match files::read_secret(&path, UNTOLD_LENGTH_MAX) {
        Err(FileError::Missing(_)) => return Ok(Vec::new()),
        bytes => bytes?,
    };
    std::str::from_utf8(bytes.expose())
        .ok()
        .and_then(|text| text.lines().map(Untold::parse).collect())
        .ok_or_else(|| super::damaged(&path, &"a line is not TOKEN RECORDS ADDRESSES"))
}

/// The file of a realm whose nodes have to be told of `records` and nothing else.
///
/// # Errors
/// When the random source fails.
pub(super) fn initial(
    records: Vec<RecordName>,
    addresses: Vec<String>,
) -> Result<Vec<u8>, RandomError> {
    let mut text = String::new();
    Untold::new(records, addresses)?.write(&mut text);
    Ok(text.into_bytes())
}

/// Writes down that the nodes at `addresses` have to be told of `records`. The caller
/// holds the realm's lock.
///
/// # Errors
/// [`RealmError`].
pub(super) fn note(
    directory: &Path,
    records: Vec<RecordName>,
    addresses: Vec<String>,
) -> Result<(), RealmError> {
    if records.is_empty() || addresses.is_empty() {
        return Ok(());
    }
    let mut untold = read(directory)?;
    untold.push(Untold::new(records, addresses)?);
    if untold.len() > LINES_MAX {
        untold = drawn_together(&untold)?;
    }
    write(directory, &untold)
}

/// Crosses out that the node at each address was told of this line. The caller holds
/// the realm's lock.
///
/// # Errors
/// [`RealmError`].
pub(super) fn settle(
    directory: &Path,
    told: &[Untold],
    addresses: &[String],
) -> Result<(), RealmError> {
    let tokens: BTreeSet<&str> = told.iter().map(|line| line.token.as_str()).collect();
    let mut untold = read(directory)?;
    for line in &mut untold {
        if tokens.contains(line.token.as_str()) {
            line.addresses
                .retain(|address| !addresses.contains(address));
        }
    }
    untold.retain(|line| !line.addresses.is_empty());
    write(directory, &untold)
}

/// Crosses out everything that the nodes at these addresses were to be told. The caller
/// holds the realm's lock.
///
/// # Errors
/// [`RealmError`].
pub(super) fn forget(directory: &Path, addresses: &[String]) -> Result<(), RealmError> {
    let untold = read(directory)?;
    settle(directory, &untold, addresses)
}

/// One line a node: new tokens, so that whoever is just telling crosses out nothing,
/// and tells it once more at worst.
fn drawn_together(untold: &[Untold]) -> Result<Vec<Untold>, RealmError> {
    let mut by_address: BTreeMap<&str, BTreeSet<&RecordName>> = BTreeMap::new();
    for line in untold {
        for address in &line.addresses {
            by_address.entry(address).or_default().extend(&line.records);
        }
    }
    by_address
        .into_iter()
        .map(|(address, records)| {
            let records = records.into_iter().cloned().collect();
            Ok(Untold::new(records, vec![address.to_owned()])?)
        })
        .collect()
}

fn write(directory: &Path, untold: &[Untold]) -> Result<(), RealmError> {
    let path = directory.join(UNTOLD_FILE);
    if untold.is_empty() {
        return match files::remove(&path) {
            Err(FileError::Missing(_)) => Ok(()),
            removed => Ok(removed?),
        };
    }
    let mut text = String::new();
    for line in untold {
        line.write(&mut text);
    }
    Ok(files::write(&path, text.as_bytes(), Existing::Replace)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn users(text: &str) -> Vec<RecordName> {
        text.split(',')
            .map(|name| RecordName::User(name.parse().expect("a name")))
            .collect()
    }

    fn addresses(text: &str) -> Vec<String> {
        text.split(',').map(str::to_owned).collect()
    }

    #[test]
    fn a_change_stays_until_each_node_was_told() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path();
        note(path, users("alice"), addresses("a:1,b:1")).expect("noted");
        let told = read(path).expect("read");
        // This one comes while the first is being told.
        note(path, users("alice,bob"), addresses("a:1,b:1")).expect("noted");
        settle(path, &told, &addresses("a:1")).expect("settled");
        let rest: Vec<_> = read(path)
            .expect("read")
            .into_iter()
            .map(|line| (line.records, line.addresses))
            .collect();
        assert_eq!(
            rest,
            [
                (users("alice"), addresses("b:1")),
                (users("alice,bob"), addresses("a:1,b:1")),
            ]
        );
        let told = read(path).expect("read");
        settle(path, &told, &addresses("a:1,b:1")).expect("settled");
        assert!(!path.join(UNTOLD_FILE).exists());
    }

    #[test]
    fn the_roles_stand_among_the_users_and_are_none_of_them() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path();
        let records = [vec![RecordName::Roles], users("roles")].concat();
        note(path, records.clone(), addresses("a:1")).expect("noted");
        assert_eq!(read(path).expect("read")[0].records, records);
        let whole = initial(records.clone(), addresses("a:1,b:1")).expect("random");
        files::write(&path.join(UNTOLD_FILE), &whole, Existing::Replace).expect("written");
        let lines = read(path).expect("read");
        assert_eq!(lines.len(), 1);
        assert_eq!(lines[0].records, records);
        assert_eq!(lines[0].addresses, addresses("a:1,b:1"));
    }

    #[test]
    fn many_changes_are_drawn_together_and_none_is_lost() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path();
        for index in 0..=LINES_MAX {
            note(path, users(&format!("u{index}")), addresses("a:1,b:1")).expect("noted");
        }
        let lines = read(path).expect("read");
        assert_eq!(lines.len(), 2);
        assert!(lines.iter().all(|line| line.records.len() == LINES_MAX + 1));
    }

    #[test]
    fn a_file_with_another_form_is_damage() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path();
        for text in [
            "x",
            "\n",
            "0123456789abcdef alice\n",
            "0123456789abcdef alice \n",
            "0123456789abcdef  a:1\n",
            "0123456789abcdef Alice a:1\n",
            "0123456789abcdef *users a:1\n",
            "0123456789abcdef alice, a:1\n",
            "0123456789abcdeg alice a:1\n",
            "0123456789abcde alice a:1\n",
            "0123456789abcdef alice a:1 more\n",
        ] {
            files::write(&path.join(UNTOLD_FILE), text.as_bytes(), Existing::Replace)
                .expect("written");
            assert!(
                matches!(read(path), Err(RealmError::Damaged { .. })),
                "{text:?}"
            );
        }
    }
}
