//! What is kept of a node's log when its segments go.
//!
//! A record of the log says what changed; most of what it says is replaced by a later one.
//! [`Changes`] holds what the records since the last checkpoint left, under names of which
//! the last counts. When there is enough of it, the [`Keeper`] moves it to a sealed run of
//! [`crate::storage`], and the segments of the log in front of it go. A node that starts
//! takes what the runs hold, as records again, and then the records of the log behind them:
//! [`load`].
//!
//! What is put on the disk is what the log held at one record, and that record was durable
//! before: a checkpoint never says what the log did not.
//!
//! ```text
//! name                                   value
//! 1 | kind of record | of what           number of the record u64, the record
//! 2 | of what, as the root signed it     the record
//! 3 | key                                the record that accepted its state
//! 4 | key                                epoch u64, the record that condemned it
//! ```

mod changes;
mod keeper;

#[cfg(test)]
mod tests;

use bytes::Bytes;
use sealmoot_crypto::encoding::{EncodingError, Reader};

use crate::disk::DiskFile;
use crate::record::Record;
use crate::storage::{Memory, StorageError, View};

pub(crate) use changes::{Changes, Frozen};
pub(crate) use keeper::{Keeper, Kept};

const SMALL: u8 = 1;
const SIGNED: u8 = 2;
const SLOT: u8 = 3;
const MARK: u8 = 4;

/// How many entries are read at once.
const PAGE: usize = 1024;

/// A checkpoint was not loaded.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LoadError<E: std::error::Error> {
    /// It could not be read.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// An entry is none: a fault of the program, or of another version of it.
    #[error("an entry does not decode: {0}")]
    Entry(#[from] EncodingError),
    /// Whoever takes the records refused one.
    #[error(transparent)]
    Refused(E),
}

/// Hands over, as records, what the runs hold: first what other records may rest on, in the
/// order in which it was written. `changes` learns what is there.
///
/// # Errors
/// [`LoadError`].
pub(crate) fn load<F: DiskFile, E: std::error::Error>(
    view: &View<F>,
    changes: &mut Changes,
    take: &mut impl FnMut(Record) -> Result<(), E>,
) -> Result<(), LoadError<E>> {
    let mut small = Vec::new();
    each(view, SMALL, |key, value| {
        let mut reader = Reader::new(&value);
        small.push((reader.u64()?, key, value.slice(8..)));
        Ok(())
    })?;
    small.sort_unstable_by_key(|(number, ..)| *number);
    for (_, key, value) in small {
        let record = Record::decode(&value)?;
        changes.learn(key, &record);
        take(record).map_err(LoadError::Refused)?;
    }
    for space in [SIGNED, SLOT] {
        each(view, space, |key, value| {
            let record = Record::decode(&value)?;
            changes.learn(key, &record);
            take(record).map_err(LoadError::Refused)
        })?;
    }
    each(view, MARK, |_, value| {
        let epoch = Reader::new(&value).u64()?;
        // Of an epoch that ended, it says nothing any more.
        if epoch == changes.epoch() {
            take(Record::decode(&value[8..])?).map_err(LoadError::Refused)?;
        }
        Ok(())
    })
}

/// All entries of a space, in order.
fn each<F: DiskFile, E: std::error::Error>(
    view: &View<F>,
    space: u8,
    mut act: impl FnMut(Bytes, Bytes) -> Result<(), LoadError<E>>,
) -> Result<(), LoadError<E>> {
    let none = Memory::new();
    let mut after = Bytes::new();
    loop {
        let page = view.scan(&none, (&[space], &after), PAGE)?;
        let Some((last, _)) = page.last() else {
            return Ok(());
        };
        after = last.clone();
        for (key, value) in page {
            act(key, value)?;
        }
    }
}
