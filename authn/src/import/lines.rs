//! The formats, line by line.

use serde_json::{Map, Value};

use super::{Format, HashFault, ImportedHash, LINE_LENGTH_MAX, LineFault};
use crate::name::Name;
use crate::policy::Role;

const HTPASSWD: &str = "NAME:HASH";
const CSV: &str = "as many fields as the header has, those with commas in quotes (RFC 4180)";
const JSONL: &str = "an object with name, hash and perhaps roles, and nothing else";

/// What a line says.
pub(super) enum Line {
    Nothing,
    User {
        name: Name,
        hash: ImportedHash,
        roles: Vec<Role>,
    },
}

pub(super) enum ReadError {
    /// CSV has to begin with a header.
    Header,
    Line(LineFault),
}

impl<E: Into<LineFault>> From<E> for ReadError {
    fn from(fault: E) -> Self {
        Self::Line(fault.into())
    }
}

/// Reads one line after another.
pub(super) struct LineReader {
    format: Format,
    /// How many fields each line of CSV has, once the header was read.
    columns: Option<usize>,
}

impl LineReader {
    pub(super) fn new(format: Format) -> Self {
        Self {
            format,
            columns: None,
        }
    }

    /// Whether there was a header, where there has to be one.
    pub(super) fn has_begun(&self) -> bool {
        self.format != Format::Csv || self.columns.is_some()
    }

    pub(super) fn read(&mut self, line: &[u8]) -> Result<Line, ReadError> {
        if line.len() > LINE_LENGTH_MAX {
            return Err(LineFault::TooLong.into());
        }
        let line = std::str::from_utf8(line).map_err(|_| LineFault::NotUtf8)?;
        match self.format {
            Format::Htpasswd => Ok(htpasswd(line)?),
            Format::Csv => self.csv(line),
            Format::Jsonl => Ok(jsonl(line)?),
        }
    }

    fn csv(&mut self, line: &str) -> Result<Line, ReadError> {
        let fields = fields(line);
        let Some(columns) = self.columns else {
            let header = fields.ok_or(ReadError::Header)?;
            let header: Vec<&str> = header.iter().map(String::as_str).collect();
            if !matches!(&header[..], ["name", "hash"] | ["name", "hash", "roles"]) {
                return Err(ReadError::Header);
            }
            self.columns = Some(header.len());
            return Ok(Line::Nothing);
        };
        let fields = fields
            .filter(|fields| fields.len() == columns)
            .ok_or(LineFault::Form(CSV))?;
        let roles = fields.get(2).map_or("", String::as_str);
        Ok(user(&fields[0], &fields[1], roles.split_whitespace())?)
    }
}

fn htpasswd(line: &str) -> Result<Line, LineFault> {
    if line.trim().is_empty() || line.starts_with('#') {
        return Ok(Line::Nothing);
    }
    let (name, hash) = line.split_once(':').ok_or(LineFault::Form(HTPASSWD))?;
    user(name, hash, std::iter::empty())
}

fn jsonl(line: &str) -> Result<Line, LineFault> {
    let malformed = || LineFault::Form(JSONL);
    let mut object: Map<String, Value> = serde_json::from_str(line).map_err(|_| malformed())?;
    let (Some(Value::String(name)), Some(Value::String(hash))) =
        (object.remove("name"), object.remove("hash"))
    else {
        return Err(malformed());
    };
    let roles = match object.remove("roles") {
        None => Vec::new(),
        Some(Value::Array(roles)) => roles,
        Some(_) => return Err(malformed()),
    };
    if !object.is_empty() {
        return Err(malformed());
    }
    let roles: Vec<&str> = roles
        .iter()
        .map(|role| role.as_str().ok_or_else(malformed))
        .collect::<Result<_, _>>()?;
    user(&name, &hash, roles.into_iter())
}

fn user<'a>(
    name: &str,
    hash: &str,
    roles: impl Iterator<Item = &'a str>,
) -> Result<Line, LineFault> {
    let name: Name = name
        .parse()
        .map_err(|error: crate::name::BadName| LineFault::Name(error.to_string()))?;
    let hash = ImportedHash::parse(hash).map_err(|fault: HashFault| LineFault::Hash(fault))?;
    let mut taken: Vec<Role> = Vec::new();
    for text in roles {
        let role: Role = text.parse().map_err(|_| LineFault::Role(text.to_owned()))?;
        if !taken.contains(&role) {
            taken.push(role);
        }
    }
    Ok(Line::User {
        name,
        hash,
        roles: taken,
    })
}

/// The fields of a line (RFC 4180, section 2). A field in quotes that goes on in the
/// next line is none: nothing that is imported has a line break.
fn fields(line: &str) -> Option<Vec<String>> {
    let mut fields = Vec::new();
    let mut rest = line;
    loop {
        let field;
        (field, rest) = match rest.strip_prefix('"') {
            Some(quoted) => quoted_field(quoted)?,
            None => {
                let end = rest.find(',').unwrap_or(rest.len());
                let field = &rest[..end];
                if field.contains('"') {
                    return None;
                }
                (field.to_owned(), &rest[end..])
            }
        };
        fields.push(field);
        if rest.is_empty() {
            return Some(fields);
        }
        rest = rest.strip_prefix(',')?;
    }
}

/// A field behind its first quote, and what stands behind its last one.
fn quoted_field(text: &str) -> Option<(String, &str)> {
    let mut field = String::new();
    let mut rest = text;
    loop {
        let end = rest.find('"')?;
        field.push_str(&rest[..end]);
        rest = &rest[end + 1..];
        match rest.strip_prefix('"') {
            Some(behind) => {
                field.push('"');
                rest = behind;
            }
            None => return Some((field, rest)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_parted_as_rfc_4180_says() {
        let parted = |line| fields(line).map(|fields| fields.join("|"));
        for (line, expected) in [
            ("a,b,c", Some("a|b|c")),
            ("", Some("")),
            (",", Some("|")),
            ("a,", Some("a|")),
            ("\"a,b\",c", Some("a,b|c")),
            ("\"a\"\"b\",\"\"", Some("a\"b|")),
            (" a , b", Some(" a | b")),
            ("\"a\"b,c", None),
            ("a\"b,c", None),
            ("\"a,b", None),
            ("\"a\"\"", None),
            ("a,\"", None),
        ] {
            assert_eq!(parted(line).as_deref(), expected, "{line:?}");
        }
    }
}
