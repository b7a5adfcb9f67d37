//! Records that stand in the program or in a file.
//!
//! The text of a table has one signed record a line, in lower-case hexadecimal;
//! empty lines and lines that begin with `#` say nothing. It is taken whole or not
//! at all.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;

use sealmoot_crypto::signature::KeyId;

use super::name::Name;
use super::record::{Claim, RecordError, VerifiedRecord};
use super::resolver::{Resolution, ResolveError, Resolver, unix_ms};
use crate::hexadecimal::{Hexadecimal, digit};
use crate::limits::binding::{RECORD_BYTES_MAX, TABLE_BYTES_MAX, TABLE_RECORDS_MAX};

mod file;

pub use file::FileTable;

/// Records by name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Table {
    records: BTreeMap<Name, Arc<VerifiedRecord>>,
}

/// Why a table was not taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TableError {
    /// The file could not be read.
    #[error("cannot be read: {}", .0.kind)]
    Io(#[from] ReadFailure),
    /// More than [`TABLE_BYTES_MAX`].
    #[error("longer than {TABLE_BYTES_MAX} bytes")]
    TooLong,
    /// More than [`TABLE_RECORDS_MAX`].
    #[error("more than {TABLE_RECORDS_MAX} records")]
    TooManyRecords,
    /// Not one record: a file that was cut short, more likely than one meant so.
    #[error("no record in it")]
    NoRecord,
    /// A line that is no record in hexadecimal, nor a comment.
    #[error("line {line} is not hexadecimal in lower case")]
    NotHexadecimal {
        /// From 1.
        line: usize,
    },
    /// A record that is not to be believed.
    #[error("line {line}: {source}")]
    Record {
        /// From 1.
        line: usize,
        /// Why.
        source: RecordError,
    },
    /// A second record of a name.
    #[error("line {line}: a second record of {name}")]
    Twice {
        /// From 1.
        line: usize,
        /// Of which.
        name: Name,
    },
    /// A record that must not stand in the place of the one that is held.
    #[error("{name}: {source}")]
    Backwards {
        /// Of which name.
        name: Name,
        /// Why not.
        source: RecordError,
    },
}

/// An [`io::Error`] that can be compared and kept.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{source}")]
pub struct ReadFailure {
    kind: io::ErrorKind,
    source: Arc<io::Error>,
}

impl PartialEq for ReadFailure {
    fn eq(&self, other: &Self) -> bool {
        self.kind == other.kind
    }
}

impl Eq for ReadFailure {}

impl From<io::Error> for ReadFailure {
    fn from(source: io::Error) -> Self {
        Self {
            kind: source.kind(),
            source: Arc::new(source),
        }
    }
}

impl Table {
    /// The table of these records; of several of one name, the last.
    pub fn new(records: impl IntoIterator<Item = VerifiedRecord>) -> Self {
        let named = |record: VerifiedRecord| (record.record().name.clone(), Arc::new(record));
        Self {
            records: records.into_iter().map(named).collect(),
        }
    }

    /// Reads a table in which every record is signed by one of `trusted`. Records
    /// whose time is over are taken, and not handed out.
    ///
    /// # Errors
    ///
    /// [`TableError`]: the first fault; then nothing is taken.
    pub fn parse(text: &[u8], trusted: &[KeyId]) -> Result<Self, TableError> {
        if text.len() > TABLE_BYTES_MAX {
            return Err(TableError::TooLong);
        }
        let mut records = BTreeMap::new();
        for (index, line) in text.split(|byte| *byte == b'\n').enumerate() {
            let line_number = index + 1;
            let line = line.trim_ascii();
            if line.is_empty() || line.starts_with(b"#") {
                continue;
            }
            if records.len() == TABLE_RECORDS_MAX {
                return Err(TableError::TooManyRecords);
            }
            let record = read_line(line, line_number, trusted)?;
            let name = record.record().name.clone();
            if records.insert(name.clone(), Arc::new(record)).is_some() {
                return Err(TableError::Twice {
                    line: line_number,
                    name,
                });
            }
        }
        if records.is_empty() {
            return Err(TableError::NoRecord);
        }
        Ok(Self { records })
    }

    /// The text of the table, which [`Table::parse`] reads.
    #[must_use]
    pub fn to_text(&self) -> String {
        self.records
            .values()
            .map(|record| {
                let name = &record.record().name;
                format!("# {name}\n{}\n", Hexadecimal(record.bytes()))
            })
            .collect()
    }

    /// The record of a name, whether or not its time is over.
    #[must_use]
    pub fn record(&self, name: &Name) -> Option<&Arc<VerifiedRecord>> {
        self.records.get(name)
    }

    /// The record of a name, if it counts at `now_ms`, milliseconds since 1970.
    ///
    /// # Errors
    ///
    /// [`ResolveError::NotFound`], [`RecordError::Expired`].
    pub fn look_up(&self, name: &Name, now_ms: u64) -> Result<Arc<VerifiedRecord>, ResolveError> {
        let record = self.record(name);
        let record = record.ok_or_else(|| ResolveError::NotFound(name.clone()))?;
        record.check_use(name, now_ms, 0)?;
        Ok(Arc::clone(record))
    }

    /// Whether this table may stand in the place of `held`.
    fn check_succeeds(&self, held: &Self) -> Result<(), TableError> {
        for (name, record) in &self.records {
            let Some(old) = held.records.get(name) else {
                continue;
            };
            record
                .check_succeeds(old)
                .map_err(|source| TableError::Backwards {
                    name: name.clone(),
                    source,
                })?;
        }
        Ok(())
    }
}

impl Resolver for Table {
    fn resolve<'a>(&'a self, name: &'a Name) -> Resolution<'a> {
        Box::pin(async move { self.look_up(name, unix_ms()) })
    }
}

fn read_line(line: &[u8], number: usize, trusted: &[KeyId]) -> Result<VerifiedRecord, TableError> {
    let refused = |source| TableError::Record {
        line: number,
        source,
    };
    // Before any memory is reserved for it.
    let length = line.len() / 2;
    if length > RECORD_BYTES_MAX {
        return Err(refused(RecordError::TooLong { length }));
    }
    let bytes = from_hexadecimal(line).ok_or(TableError::NotHexadecimal { line: number })?;
    Claim::decode(&bytes)
        .and_then(|claim| claim.believe_signer(trusted))
        .map_err(refused)
}

fn from_hexadecimal(text: &[u8]) -> Option<Vec<u8>> {
    let (pairs, rest) = text.as_chunks::<2>();
    if !rest.is_empty() {
        return None;
    }
    pairs
        .iter()
        .map(|[high, low]| Some(digit(*high)? << 4 | digit(*low)?))
        .collect()
}

#[cfg(test)]
mod tests;
