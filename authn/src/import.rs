//! Users of other systems: names, roles and Argon2id hashes out of a file.
//!
//! | Format | A line |
//! |---|---|
//! | `htpasswd` | `NAME:HASH`; empty lines and those that begin with `#` count for nothing |
//! | `csv` | after the line `name,hash` or `name,hash,roles`: the fields, quoted as in RFC 4180; a PHC string has commas, so it stands in quotes; roles are parted by spaces |
//! | `jsonl` | `{"name":…,"hash":…,"roles":[…]}`, roles may be left out |
//!
//! A hash is a PHC string of Argon2id. What other programs store else is recognised and
//! refused by name: only the hash that is asked for can be computed on the client, and a
//! password must not go anywhere else to be compared.
//!
//! Every line is judged by itself, so that all that is wrong is told at once. Nothing
//! here knows the realm, or writes anything.

mod hash;
mod lines;

use std::collections::HashMap;
use std::path::Path;

use crate::files::FileError;
use crate::name::Name;
use crate::policy::Role;
use crate::users::USERS_MAX;

pub use hash::{HashFault, ImportedHash};

/// Longest file that is imported, in bytes.
pub const IMPORT_LENGTH_MAX: usize = 256 * 1024 * 1024;
/// Longest line in bytes: a hash, and the longest roles that a user may have.
pub const LINE_LENGTH_MAX: usize = 32 * 1024;
/// Most lines of a file.
pub const LINES_MAX: usize = 2 * USERS_MAX;

/// How a file is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// Apache's, `NAME:HASH`.
    Htpasswd,
    /// Comma-separated values with a header (RFC 4180).
    Csv,
    /// A JSON object a line.
    Jsonl,
}

/// A user of another system.
#[derive(Debug, Clone)]
pub struct ImportedUser {
    /// Where the user stands in the file, from 1.
    pub line: usize,
    /// Who.
    pub name: Name,
    /// What is known of the password.
    pub hash: ImportedHash,
    /// What the user may do.
    pub roles: Vec<Role>,
}

/// A line that is not imported.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BadLine {
    /// Which, from 1.
    pub line: usize,
    /// What is wrong with it.
    pub fault: LineFault,
}

/// What is wrong with a line. None of it repeats a hash.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LineFault {
    /// It is longer than [`LINE_LENGTH_MAX`].
    #[error("it is longer than {LINE_LENGTH_MAX} bytes")]
    TooLong,
    /// It is not UTF-8.
    #[error("it is not UTF-8")]
    NotUtf8,
    /// It has not the form of the format.
    #[error("it is not {0}")]
    Form(&'static str),
    /// What should be a name is none.
    #[error("{0}")]
    Name(String),
    /// The name stands further up too.
    #[error("{name} stands on line {first} already")]
    Duplicate {
        /// The name.
        name: Name,
        /// Where it stands first.
        first: usize,
    },
    /// What should be a role is none.
    #[error("{0:?} is no role or grant")]
    Role(String),
    /// The hash is not to be imported.
    #[error(transparent)]
    Hash(#[from] HashFault),
}

/// Why a file was not read at all.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// It could not be read, or is longer than [`IMPORT_LENGTH_MAX`].
    #[error(transparent)]
    File(#[from] FileError),
    /// It has more than [`LINES_MAX`] lines.
    #[error("the file has more than {LINES_MAX} lines")]
    TooManyLines,
    /// The first line of CSV is not its header.
    #[error("the first line is not the header name,hash or name,hash,roles")]
    Header,
}

/// What stands in a file.
#[derive(Debug, Default)]
pub struct Import {
    /// The good lines, in order.
    pub users: Vec<ImportedUser>,
    /// The bad ones, in order.
    pub bad: Vec<BadLine>,
}

impl Import {
    /// Reads a file. Others may be able to read it too, as they can elsewhere where the
    /// hashes come from.
    ///
    /// # Errors
    /// [`ImportError`]; bad lines are none.
    pub fn read(path: &Path, format: Format) -> Result<Self, ImportError> {
        let content = crate::files::read_shared(path, IMPORT_LENGTH_MAX)?;
        Self::parse(content.expose(), format)
    }

    /// Takes the content of a file apart.
    ///
    /// # Errors
    /// [`ImportError::TooManyLines`], [`ImportError::Header`].
    pub fn parse(content: &[u8], format: Format) -> Result<Self, ImportError> {
        let mut import = Self::default();
        let mut known: HashMap<Name, usize> = HashMap::new();
        let mut reader = lines::LineReader::new(format);
        // What ends with a line break has no empty line behind it.
        let content = content.strip_suffix(b"\n").unwrap_or(content);
        for (index, line) in content.split(|byte| *byte == b'\n').enumerate() {
            if index >= LINES_MAX {
                return Err(ImportError::TooManyLines);
            }
            let number = index + 1;
            match reader.read(line.strip_suffix(b"\r").unwrap_or(line)) {
                Ok(lines::Line::Nothing) => {}
                Ok(lines::Line::User { name, hash, roles }) => match known.get(&name) {
                    Some(first) => import.bad.push(BadLine {
                        line: number,
                        fault: LineFault::Duplicate {
                            first: *first,
                            name,
                        },
                    }),
                    None => {
                        known.insert(name.clone(), number);
                        import.users.push(ImportedUser {
                            line: number,
                            name,
                            hash,
                            roles,
                        });
                    }
                },
                Err(lines::ReadError::Header) => return Err(ImportError::Header),
                Err(lines::ReadError::Line(fault)) => import.bad.push(BadLine {
                    line: number,
                    fault,
                }),
            }
        }
        if !reader.has_begun() {
            return Err(ImportError::Header);
        }
        Ok(import)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HASH: &str = "$argon2id$v=19$m=64,t=1,p=1$AAECAwQFBgcICQoLDA0ODw\
                        $AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8";

    fn parse(content: &str, format: Format) -> (Vec<(usize, String, String)>, Vec<BadLine>) {
        let import = Import::parse(content.as_bytes(), format).expect("a file");
        let users = import
            .users
            .iter()
            .map(|user| {
                let roles: Vec<String> = user.roles.iter().map(Role::to_string).collect();
                (user.line, user.name.to_string(), roles.join(" "))
            })
            .collect();
        (users, import.bad)
    }

    fn fault(line: &str, format: Format) -> LineFault {
        let content = match format {
            Format::Csv => format!("name,hash,roles\n{line}\n"),
            _ => format!("{line}\n"),
        };
        let (users, mut bad) = parse(&content, format);
        assert!(users.is_empty(), "{line:?}");
        assert_eq!(bad.len(), 1, "{line:?}");
        bad.remove(0).fault
    }

    fn user(line: usize, name: &str, roles: &str) -> (usize, String, String) {
        (line, name.to_owned(), roles.to_owned())
    }

    #[test]
    fn each_format_yields_names_roles_and_lines() {
        let htpasswd = format!("# users\n\nalice:{HASH}\r\nbob:{HASH}");
        assert_eq!(
            parse(&htpasswd, Format::Htpasswd),
            (vec![user(3, "alice", ""), user(4, "bob", "")], vec![])
        );
        let csv = format!(
            "name,hash,roles\r\nalice,\"{HASH}\",admin app/*:rw\r\n\"bob\",\"{HASH}\",\"\"\r\n"
        );
        assert_eq!(
            parse(&csv, Format::Csv),
            (
                vec![user(2, "alice", "admin app/*:rw"), user(3, "bob", "")],
                vec![]
            )
        );
        let csv = format!("name,hash\nalice,\"{HASH}\"\n");
        assert_eq!(
            parse(&csv, Format::Csv),
            (vec![user(2, "alice", "")], vec![])
        );
        let jsonl = format!(
            "{{\"name\":\"alice\",\"hash\":\"{HASH}\",\"roles\":[\"admin\"]}}\n\
             {{\"hash\":\"{HASH}\",\"name\":\"bob\"}}\n"
        );
        assert_eq!(
            parse(&jsonl, Format::Jsonl),
            (vec![user(1, "alice", "admin"), user(2, "bob", "")], vec![])
        );
    }

    #[test]
    fn one_bad_line_keeps_no_other_from_being_judged() {
        let content = format!("alice:x\nbob:{HASH}\nEve:{HASH}\nbob:{HASH}\n");
        let (users, bad) = parse(&content, Format::Htpasswd);
        assert_eq!(users, [user(2, "bob", "")]);
        assert_eq!(
            bad.iter().map(|bad| bad.line).collect::<Vec<_>>(),
            [1, 3, 4]
        );
        assert!(matches!(bad[0].fault, LineFault::Hash(HashFault::Unknown)));
        assert!(matches!(bad[1].fault, LineFault::Name(_)));
        assert!(matches!(
            bad[2].fault,
            LineFault::Duplicate { first: 2, .. }
        ));
    }

    #[test]
    fn malformed_lines_are_refused_by_what_is_wrong() {
        for line in ["alice", ":", "alice"] {
            assert!(
                matches!(
                    fault(line, Format::Htpasswd),
                    LineFault::Form(_) | LineFault::Name(_)
                ),
                "{line:?}"
            );
        }
        let quoted = format!("\"{HASH}\"");
        for line in [
            format!("alice,{HASH},admin"),
            "alice".to_owned(),
            format!("alice,{quoted}"),
            format!("alice,{quoted},admin,more"),
            format!("alice,{quoted}x,admin"),
            format!("al\"ice,{quoted},admin"),
            format!("alice,\"{HASH},admin"),
            String::new(),
        ] {
            assert!(
                matches!(fault(&line, Format::Csv), LineFault::Form(_)),
                "{line:?}"
            );
        }
        for line in [
            "",
            "{",
            "[]",
            "{}",
            "{\"name\":\"alice\"}",
            "{\"name\":1,\"hash\":\"x\"}",
            "{\"name\":\"alice\",\"hash\":\"x\",\"role\":[]}",
            "{\"name\":\"alice\",\"hash\":\"x\",\"roles\":\"admin\"}",
            "{\"name\":\"alice\",\"hash\":\"x\",\"roles\":[1]}",
            "{\"name\":\"alice\",\"hash\":\"x\"} {}",
        ] {
            assert!(
                matches!(fault(line, Format::Jsonl), LineFault::Form(_)),
                "{line:?}"
            );
        }
        let line = format!("{{\"name\":\"alice\",\"hash\":\"{HASH}\",\"roles\":[\"app/*\"]}}");
        assert_eq!(
            fault(&line, Format::Jsonl),
            LineFault::Role("app/*".to_owned())
        );
        let long = format!("alice:{}", "a".repeat(LINE_LENGTH_MAX));
        assert_eq!(fault(&long, Format::Htpasswd), LineFault::TooLong);
        let import = Import::parse(b"alice:\xff\n", Format::Htpasswd).expect("a file");
        assert_eq!(import.bad[0].fault, LineFault::NotUtf8);
    }

    #[test]
    fn csv_without_its_header_is_refused() {
        for content in [
            "",
            "\n",
            "alice,x\n",
            "hash,name\n",
            "name,hash,roles,x\n",
            "Name,Hash\n",
        ] {
            assert!(
                matches!(
                    Import::parse(content.as_bytes(), Format::Csv),
                    Err(ImportError::Header)
                ),
                "{content:?}"
            );
        }
    }

    #[test]
    fn too_many_lines_are_refused() {
        let content = "#\n".repeat(LINES_MAX + 1);
        assert!(matches!(
            Import::parse(content.as_bytes(), Format::Htpasswd),
            Err(ImportError::TooManyLines)
        ));
    }
}
