//! The files of one directory.

use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use sealmoot_rpc::binding::VerifiedRecord;

use super::{OpenError, frame};
use crate::limits::{ASIDE_FILES_MAX, LOG_BYTES_MAX};

const LOG: &str = "names.log";
/// A log that is being written, to be renamed.
const FRESH: &str = "names.log.fresh";

/// An append-only file of frames. Holds the directory's lock.
#[derive(Debug)]
pub(crate) struct Log {
    path: PathBuf,
    /// Locked for as long as it is open.
    directory: File,
    file: File,
    length: usize,
}

impl Log {
    /// Takes a directory for this process, and reads its log.
    pub(super) fn open(path: &Path) -> Result<(Self, Vec<u8>), OpenError> {
        make_directory(path).map_err(OpenError::io("make", path))?;
        let directory = File::open(path).map_err(OpenError::io("open", path))?;
        match directory.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let path = path.to_owned();
                return Err(OpenError::Locked { path });
            }
            Err(TryLockError::Error(error)) => return Err(OpenError::io("lock", path)(error)),
        }
        let log = path.join(LOG);
        match fs::symlink_metadata(&log) {
            Ok(metadata) if !metadata.is_file() => return Err(OpenError::NotAFile { path: log }),
            Ok(metadata) if metadata.len() > LOG_BYTES_MAX as u64 => {
                let length = metadata.len();
                return Err(OpenError::TooLong { path: log, length });
            }
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                // By renaming, as always: what has this name is a whole log.
                let file = write_fresh(path, &directory, &[])
                    .map_err(OpenError::io("make a log in", path))?;
                let path = path.to_owned();
                return Ok((
                    Self {
                        path,
                        directory,
                        file,
                        length: 0,
                    },
                    Vec::new(),
                ));
            }
            Err(error) => return Err(OpenError::io("look at", &log)(error)),
        }
        let file = OpenOptions::new()
            .read(true)
            .append(true)
            .open(&log)
            .map_err(OpenError::io("open", &log))?;
        let mut bytes = Vec::new();
        // It may have grown since it was looked at.
        (&file)
            .take(LOG_BYTES_MAX as u64 + 1)
            .read_to_end(&mut bytes)
            .map_err(OpenError::io("read", &log))?;
        if bytes.len() > LOG_BYTES_MAX {
            let length = bytes.len() as u64;
            return Err(OpenError::TooLong { path: log, length });
        }
        let opened = Self {
            path: path.to_owned(),
            directory,
            file,
            length: bytes.len(),
        };
        Ok((opened, bytes))
    }

    /// Bytes in it.
    pub(super) fn length(&self) -> usize {
        self.length
    }

    /// Writes behind all else, and waits for the disk.
    pub(super) fn append(&mut self, records: &[Arc<VerifiedRecord>]) -> io::Result<()> {
        let mut frames = Vec::new();
        for record in records {
            frame::write(record.bytes(), &mut frames);
        }
        self.file.write_all(&frames)?;
        self.file.sync_data()?;
        self.length += frames.len();
        Ok(())
    }

    /// Drops what lies at `end` and behind.
    pub(super) fn cut(&mut self, end: usize) -> io::Result<()> {
        self.file.set_len(end as u64)?;
        self.file.sync_all()?;
        self.length = end;
        Ok(())
    }

    /// Puts a log of these records in the place of this one, all at once.
    pub(super) fn rewrite<'a>(
        &mut self,
        records: impl Iterator<Item = &'a Arc<VerifiedRecord>>,
    ) -> io::Result<()> {
        let mut frames = Vec::new();
        for record in records {
            frame::write(record.bytes(), &mut frames);
        }
        self.file = write_fresh(&self.path, &self.directory, &frames)?;
        self.length = frames.len();
        Ok(())
    }

    /// Gives the log a second name that nothing is written under again.
    pub(super) fn keep_aside(&self) -> Result<PathBuf, OpenError> {
        let log = self.path.join(LOG);
        for number in 1..=ASIDE_FILES_MAX {
            let aside = self.path.join(format!("{LOG}.damaged-{number}"));
            match fs::hard_link(&log, &aside) {
                Ok(()) => {
                    self.directory
                        .sync_all()
                        .map_err(OpenError::io("sync", &self.path))?;
                    return Ok(aside);
                }
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(OpenError::io("keep aside", &log)(error)),
            }
        }
        let path = self.path.clone();
        Err(OpenError::TooManyAside { path })
    }
}

/// Temporary file, sync, rename, sync of the directory: in this order, so that
/// after a crash there is the old log or the new one, whole.
fn write_fresh(path: &Path, directory: &File, frames: &[u8]) -> io::Result<File> {
    let fresh = path.join(FRESH);
    // Left by a crash, or planted: it is not written to.
    match fs::remove_file(&fresh) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut options = OpenOptions::new();
    options.append(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(&fresh)?;
    file.write_all(frames)?;
    file.sync_all()?;
    fs::rename(&fresh, path.join(LOG))?;
    directory.sync_all()?;
    Ok(file)
}

fn make_directory(path: &Path) -> io::Result<()> {
    let mut builder = DirBuilder::new();
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    match builder.create(path) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
        Err(_) => Ok(()),
        Ok(()) => match path
            .parent()
            .filter(|parent| !parent.as_os_str().is_empty())
        {
            Some(parent) => File::open(parent)?.sync_all(),
            None => File::open(".")?.sync_all(),
        },
    }
}
