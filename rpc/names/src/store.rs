//! Where records are kept: in memory, or in a directory.
//!
//! A directory has one log, drawn in `rpc/names/DESIGN.md`. Everything in here
//! blocks; the task in `writer` keeps it off the runtime, and in order.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use sealmoot_rpc::binding::VerifiedRecord;

use crate::book::Book;
use crate::limits::LOG_REWRITE_BYTES_MIN;
use crate::policy::Policy;

pub mod frame;
mod log;
pub(crate) mod recovery;
pub(crate) mod writer;

use log::Log;
#[doc(hidden)]
pub use recovery::recover;
pub use recovery::{Fault, Recovery};

/// Where what is published is kept.
#[derive(Debug)]
pub(crate) enum Store {
    /// For as long as the process lives.
    Memory,
    /// In a log that is synced before anything is acknowledged.
    Directory(Log),
}

/// Why a directory could not be opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// The operating system refused.
    #[error("cannot {action} {}: {source}", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// With what.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
    /// Another process holds the directory: two of them would tear its log.
    #[error("{} is in use by another process", path.display())]
    Locked {
        /// The directory.
        path: PathBuf,
    },
    /// A link, a pipe or the like where the log should be.
    #[error("{} is not a regular file", path.display())]
    NotAFile {
        /// The log.
        path: PathBuf,
    },
    /// The log is longer than any that this version writes.
    #[error("{} has {length} bytes, more than any log", path.display())]
    TooLong {
        /// The log.
        path: PathBuf,
        /// Its length.
        length: u64,
    },
    /// So many damaged logs are kept aside already that somebody has to look.
    #[error("too many damaged logs are kept in {}: look at them, and take them away", path.display())]
    TooManyAside {
        /// The directory.
        path: PathBuf,
    },
    /// The runtime ended, or a fault of this program.
    #[error("reading the log was broken off")]
    BrokenOff,
}

impl OpenError {
    fn io(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io {
            action,
            path,
            source,
        }
    }
}

impl Store {
    /// Opens a directory, which is made if it is not there, for this process alone.
    /// Reads back what `policy` believes, and cuts off or keeps aside the rest.
    ///
    /// # Errors
    ///
    /// [`OpenError`].
    pub(crate) fn open(path: &Path, policy: &Policy) -> Result<(Self, Book, Recovery), OpenError> {
        let (mut log, bytes) = Log::open(path)?;
        let (book, mut recovery) = recovery::recover(&bytes, policy);
        drop(bytes);
        if recovery.is_damaged() {
            // Linked first: at no moment is there no log.
            recovery.kept_aside = Some(log.keep_aside()?);
            log.rewrite(book.records())
                .map_err(OpenError::io("write", path))?;
        } else if let Some(end) = recovery.torn_at() {
            log.cut(end).map_err(OpenError::io("cut", path))?;
        }
        Ok((Self::Directory(log), book, recovery))
    }

    /// Keeps these records; they are on the disk when this returns.
    ///
    /// # Errors
    ///
    /// Nobody knows what is on the disk then. To be called never again.
    pub(crate) fn append(&mut self, records: &[Arc<VerifiedRecord>]) -> io::Result<()> {
        match self {
            Self::Memory => Ok(()),
            Self::Directory(log) => log.append(records),
        }
    }

    /// Rewrites the log if most of it is not needed any more.
    ///
    /// # Errors
    ///
    /// As [`Store::append`], though what was appended before is safe.
    pub(crate) fn tidy(&mut self, book: &Book) -> io::Result<()> {
        match self {
            Self::Directory(log) if is_overgrown(log.length(), book) => log.rewrite(book.records()),
            _ => Ok(()),
        }
    }

    /// Whether [`Store::tidy`] would do anything.
    pub(crate) fn is_untidy(&self, book: &Book) -> bool {
        match self {
            Self::Memory => false,
            Self::Directory(log) => is_overgrown(log.length(), book),
        }
    }
}

fn is_overgrown(length: usize, book: &Book) -> bool {
    let live = book.bytes() + book.len() * frame::HEADER_BYTES;
    length > LOG_REWRITE_BYTES_MIN && length > 2 * live
}

#[cfg(test)]
mod tests;
