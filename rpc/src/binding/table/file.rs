//! A table in a file, read again when it has changed.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use sealmoot_crypto::signature::KeyId;

use super::{Table, TableError};
use crate::binding::name::Name;
use crate::binding::resolver::{Resolution, ResolveError, Resolver, unix_ms};
use crate::limits::binding::{TABLE_BYTES_MAX, TABLE_REREAD};

/// A [`Table`] in a file, looked at when somebody asks, at most once a second.
///
/// A file that is broken, or says of a name what is older than what was read
/// before, changes nothing: the records read before stay, and
/// [`FileTable::fault`] and one warning in the log say so. Replace the file by
/// renaming another one over it: one that is written in place may be read half
/// written, and half a table whose lines are whole is a table.
pub struct FileTable(Arc<Shared>);

struct Shared {
    path: PathBuf,
    reading: Mutex<Reading>,
}

impl FileTable {
    /// Reads the file; every record in it must be signed by one of `trusted`.
    ///
    /// # Errors
    ///
    /// [`TableError`].
    pub fn open(path: impl Into<PathBuf>, trusted: &[KeyId]) -> Result<Self, TableError> {
        let path = path.into();
        let text = read(&path)?;
        let reading = Reading::first(text, trusted, Instant::now())?;
        Ok(Self(Arc::new(Shared {
            path,
            reading: Mutex::new(reading),
        })))
    }

    /// What is wrong with the file, if anything was when it was last looked at.
    #[must_use]
    pub fn fault(&self) -> Option<TableError> {
        self.0.reading().fault().cloned()
    }
}

impl Resolver for FileTable {
    fn resolve<'a>(&'a self, name: &'a Name) -> Resolution<'a> {
        let shared = Arc::clone(&self.0);
        Box::pin(async move {
            let look = tokio::task::spawn_blocking(move || shared.table());
            let table = look.await.map_err(|error| {
                ResolveError::Unavailable(format!("the table was not read: {error}"))
            })?;
            table.look_up(name, unix_ms())
        })
    }
}

impl std::fmt::Debug for FileTable {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("FileTable")
            .field("path", &self.0.path)
            .finish_non_exhaustive()
    }
}

impl Shared {
    /// The newest good table. Reads the file if that is due.
    fn table(&self) -> Arc<Table> {
        let mut reading = self.reading();
        let now = Instant::now();
        if reading.is_due(now) {
            let before = reading.fault().cloned();
            reading.look(read(&self.path), now);
            let fault = reading.fault();
            if let Some(fault) = fault.filter(|_| fault != before.as_ref()) {
                let path = self.path.display();
                tracing::warn!(%path, %fault, "table of names not taken; the old one stays");
            }
        }
        Arc::clone(&reading.table)
    }

    fn reading(&self) -> std::sync::MutexGuard<'_, Reading> {
        self.reading.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What was read, and what became of it.
pub(super) struct Reading {
    trusted: Vec<KeyId>,
    pub(super) table: Arc<Table>,
    /// The newest text, good or not: times of files are too coarse to tell whether
    /// one has changed.
    text: Vec<u8>,
    /// What is wrong with it.
    text_fault: Option<TableError>,
    /// Why the last look brought none.
    unread: Option<TableError>,
    looked: Instant,
}

impl Reading {
    pub(super) fn first(
        text: Vec<u8>,
        trusted: &[KeyId],
        now: Instant,
    ) -> Result<Self, TableError> {
        Ok(Self {
            trusted: trusted.to_vec(),
            table: Arc::new(Table::parse(&text, trusted)?),
            text,
            text_fault: None,
            unread: None,
            looked: now,
        })
    }

    pub(super) fn is_due(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.looked) >= TABLE_REREAD
    }

    /// Takes what the file holds now, if it differs and is good.
    pub(super) fn look(&mut self, text: Result<Vec<u8>, TableError>, now: Instant) {
        self.looked = now;
        match text {
            Ok(text) => {
                self.unread = None;
                if text != self.text {
                    self.text_fault = self.take(&text).err();
                    self.text = text;
                }
            }
            Err(fault) => self.unread = Some(fault),
        }
    }

    pub(super) fn fault(&self) -> Option<&TableError> {
        self.unread.as_ref().or(self.text_fault.as_ref())
    }

    fn take(&mut self, text: &[u8]) -> Result<(), TableError> {
        let table = Table::parse(text, &self.trusted)?;
        table.check_succeeds(&self.table)?;
        self.table = Arc::new(table);
        Ok(())
    }
}

/// The file's text, at most a byte longer than a table may be.
fn read(path: &Path) -> Result<Vec<u8>, TableError> {
    let unreadable = |error: io::Error| TableError::Io(error.into());
    // Opening a pipe would wait for a writer.
    if !fs::metadata(path).map_err(unreadable)?.is_file() {
        let error = io::Error::new(io::ErrorKind::InvalidInput, "not a regular file");
        return Err(unreadable(error));
    }
    let mut text = Vec::new();
    let bound = TABLE_BYTES_MAX as u64 + 1;
    let file = File::open(path).map_err(unreadable)?;
    file.take(bound)
        .read_to_end(&mut text)
        .map_err(unreadable)?;
    if text.len() > TABLE_BYTES_MAX {
        return Err(TableError::TooLong);
    }
    Ok(text)
}
