//! The records that a service keeps, as a value.
//!
//! Of each name the newest record stays, also when its time is over: it is not
//! handed out any more, but its serial is the floor below which nothing is taken,
//! so that no older record comes back to life. A name therefore keeps its place
//! for good.
//!
//! Without clock, I/O or randomness.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;

use sealmoot_rpc::binding::{Name, VerifiedRecord};

use crate::limits::{BOOK_BYTES_MAX, BOOK_NAMES_MAX};
use crate::policy::{Prefix, Quota};

/// Records by name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Book {
    records: BTreeMap<Name, Arc<VerifiedRecord>>,
    bytes: usize,
}

/// What taking a record has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[must_use]
pub enum Change {
    /// It is the newest of its name now.
    Stored,
    /// It was already.
    Unchanged,
}

/// Why a record was not taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PublishError {
    /// Its time is over.
    #[error("the record has expired")]
    Expired,
    /// A newer one of the name has been taken.
    #[error("serial {found} is older than {floor}, which has been published")]
    OlderSerial {
        /// The record's.
        found: u64,
        /// The newest that was taken.
        floor: u64,
    },
    /// Another record of the name has the same serial.
    #[error("another record with serial {serial} has been published")]
    SerialReused {
        /// The serial of both.
        serial: u64,
    },
    /// So many names stand under the prefix already as the policy gives it.
    #[error("{names_max} names stand under {prefix:?} already")]
    PrefixFull {
        /// The prefix.
        prefix: Prefix,
        /// How many it may have.
        names_max: usize,
    },
    /// No room for another name, or for a longer record.
    #[error("the service keeps as many records as it can")]
    Full,
}

/// A name in a listing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// The name.
    pub name: Name,
    /// The serial of its record.
    pub serial: u64,
    /// Until when the record counts, in milliseconds since 1970.
    pub valid_until_ms: u64,
}

impl Book {
    /// Empty.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes a record, if it counts at `now_ms` (milliseconds since 1970), may
    /// follow the newest of its name, and leaves its prefix within its `quota`.
    ///
    /// # Errors
    ///
    /// [`PublishError`]; then nothing has changed.
    pub fn publish(
        &mut self,
        now_ms: u64,
        record: Arc<VerifiedRecord>,
        quota: &Quota,
    ) -> Result<Change, PublishError> {
        let new = record.record();
        if now_ms >= new.valid_until_ms {
            return Err(PublishError::Expired);
        }
        // Counted for a further name only: renewals are many.
        if !self.records.contains_key(&new.name) && self.count(&quota.prefix) >= quota.names_max {
            return Err(PublishError::PrefixFull {
                prefix: quota.prefix.clone(),
                names_max: quota.names_max,
            });
        }
        self.restore(record)
    }

    /// The same whether or not its time is over: for records that were taken once.
    ///
    /// # Errors
    ///
    /// [`PublishError`], but not [`PublishError::Expired`] nor
    /// [`PublishError::PrefixFull`].
    pub fn restore(&mut self, record: Arc<VerifiedRecord>) -> Result<Change, PublishError> {
        let new = record.record();
        let held = self.records.get(&new.name);
        if let Some(held) = held {
            let floor = held.record().serial;
            if new.serial < floor {
                let found = new.serial;
                return Err(PublishError::OlderSerial { found, floor });
            }
            if new.serial == floor {
                // Of two signers who say the same, the first stays.
                return if held.record() == new {
                    Ok(Change::Unchanged)
                } else {
                    Err(PublishError::SerialReused { serial: floor })
                };
            }
        }
        let bytes = self.bytes - held.map_or(0, |held| held.bytes().len()) + record.bytes().len();
        if bytes > BOOK_BYTES_MAX || (held.is_none() && self.records.len() >= BOOK_NAMES_MAX) {
            return Err(PublishError::Full);
        }
        self.bytes = bytes;
        self.records.insert(new.name.clone(), record);
        Ok(Change::Stored)
    }

    /// The record of a name, if it counts at `now_ms`.
    #[must_use]
    pub fn current(&self, name: &Name, now_ms: u64) -> Option<&Arc<VerifiedRecord>> {
        let record = self.records.get(name)?;
        (now_ms < record.record().valid_until_ms).then_some(record)
    }

    /// Names under `prefix` and behind `after` whose records count at `now_ms`,
    /// ascending, at most `count`; of these only what `may_read` lets pass.
    pub fn list(
        &self,
        prefix: &Prefix,
        after: Option<&Name>,
        now_ms: u64,
        count: usize,
        may_read: impl Fn(&Name) -> bool,
    ) -> Vec<Listed> {
        self.under(prefix, after)
            .filter(|(name, record)| now_ms < record.record().valid_until_ms && may_read(name))
            .map(|(name, record)| Listed {
                name: name.clone(),
                serial: record.record().serial,
                valid_until_ms: record.record().valid_until_ms,
            })
            .take(count)
            .collect()
    }

    /// How many names stand under a prefix, expired ones included.
    #[must_use]
    pub fn count(&self, prefix: &Prefix) -> usize {
        match prefix.name() {
            None => self.len(),
            Some(_) => self.under(prefix, None).count(),
        }
    }

    /// Every name's newest record, expired ones included.
    pub fn records(&self) -> impl Iterator<Item = &Arc<VerifiedRecord>> {
        self.records.values()
    }

    /// How many names there are, expired ones included.
    #[must_use]
    pub fn len(&self) -> usize {
        self.records.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    /// Bytes of all records together.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    fn under(
        &self,
        prefix: &Prefix,
        after: Option<&Name>,
    ) -> impl Iterator<Item = (&Name, &Arc<VerifiedRecord>)> {
        let start = match (prefix.name(), after) {
            (Some(first), Some(after)) if after < first => Bound::Included(first),
            (_, Some(after)) => Bound::Excluded(after),
            (Some(first), None) => Bound::Included(first),
            (None, None) => Bound::Unbounded,
        };
        self.records
            .range::<Name, _>((start, Bound::Unbounded))
            // Names such as `a-b` stand between `a` and `a/b`.
            .take_while(|(name, _)| name.as_str().starts_with(prefix.as_str()))
            .filter(|(name, _)| prefix.covers(name))
    }
}

#[cfg(test)]
mod tests;
