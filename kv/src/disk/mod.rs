//! Files in one directory, as the store needs them: whole names, positional
//! reads and writes, and syncs that are asked for and never implied.
//!
//! [`Disk`] has two sides: [`DirectoryDisk`], a real directory, and
//! [`MemoryDisk`], which keeps what was written apart from what was synced, so
//! that a test can cut the power between any two effects and see every mixture
//! of sectors that a real machine could leave behind.
//!
//! Deliberately absent: paths (a name has no directory in it), buffering, and
//! retries. Whoever sees a failed write or sync must stop using the file.

use std::fmt;
use std::io;

mod directory;
mod memory;
mod memory_file;

pub use directory::{DirectoryDisk, DirectoryError};
pub use memory::{MemoryDisk, MemoryFile};
#[cfg(test)]
pub(crate) use memory_file::Choices;

/// The unit that a disk writes whole or not at all, in bytes. Every offset and
/// length of the log is a multiple of it.
pub const SECTOR_BYTES: usize = 512;

/// Longest file name, in bytes.
pub const NAME_BYTES_MAX: usize = 64;

/// Largest file that [`Disk::create`] fills with zeros, in bytes.
pub const CREATED_BYTES_MAX: u64 = 1 << 30;

/// An operation on one file, or on the directory itself, failed.
#[derive(Debug, thiserror::Error)]
pub enum DiskError {
    /// The operating system refused, or the medium failed.
    #[error("cannot {action} {name}: {source}")]
    Io {
        /// What was tried.
        action: &'static str,
        /// The file's name, or `.` for the directory.
        name: String,
        /// What the operating system said.
        source: io::Error,
    },
    /// A read or write in the middle of a file failed.
    #[error("cannot {action} {length} bytes at offset {offset} of {name}: {source}")]
    At {
        /// What was tried.
        action: &'static str,
        /// The file's name.
        name: String,
        /// Where in the file.
        offset: u64,
        /// How many bytes.
        length: u64,
        /// What the operating system said.
        source: io::Error,
    },
    /// The file is longer than its reader allows.
    #[error("{name} has {length} bytes, and at most {maximum} are allowed")]
    TooLong {
        /// The file's name.
        name: String,
        /// Its length in bytes.
        length: u64,
        /// The named maximum that it exceeds.
        maximum: u64,
    },
    /// The name is empty, too long, or holds a character other than lower-case
    /// letters, digits, `.`, `_` and `-`.
    #[error("{name:?} cannot name a file of the store")]
    Name {
        /// The refused name.
        name: String,
    },
    /// The file is not a regular file, belongs to somebody else, or lets others in.
    #[error("{name} is refused: {reason}")]
    Refused {
        /// The file's name.
        name: String,
        /// What is wrong with it.
        reason: &'static str,
    },
}

impl DiskError {
    /// Whether the error says that there is no such file.
    #[must_use]
    pub fn is_not_found(&self) -> bool {
        self.kind() == Some(io::ErrorKind::NotFound)
    }

    /// The operating system's kind of error, where it is the one who refused.
    #[must_use]
    pub fn kind(&self) -> Option<io::ErrorKind> {
        match self {
            Self::Io { source, .. } | Self::At { source, .. } => Some(source.kind()),
            Self::TooLong { .. } | Self::Name { .. } | Self::Refused { .. } => None,
        }
    }
}

/// One directory. Clones share it.
///
/// Whoever implements this wrongly loses acknowledged data: nothing may be
/// reported as synced that would not survive a power cut, and a failed sync must
/// be reported as failed.
pub trait Disk: Clone + fmt::Debug + Send + 'static {
    /// An open file of this disk.
    type File: DiskFile;

    /// The names of all files, in ascending order.
    ///
    /// # Errors
    /// [`DiskError::Io`].
    fn names(&self) -> Result<Vec<String>, DiskError>;

    /// A new file of `length` zeros. It must not exist yet. It survives a power
    /// cut only after [`DiskFile::sync_data`] *and* [`Disk::sync_directory`].
    ///
    /// The zeros are really written: a range that is merely allocated would make
    /// later syncs commit metadata too.
    ///
    /// # Errors
    /// [`DiskError`]; a part of the file may then exist.
    fn create(&self, name: &str, length: u64) -> Result<Self::File, DiskError>;

    /// An existing file, for reading and writing.
    ///
    /// # Errors
    /// [`DiskError`]; see [`DiskError::is_not_found`].
    fn open(&self, name: &str) -> Result<Self::File, DiskError>;

    /// Gives a file another name, replacing the file that had it.
    ///
    /// # Errors
    /// [`DiskError::Io`] or [`DiskError::Name`].
    fn rename(&self, from: &str, to: &str) -> Result<(), DiskError>;

    /// Removes a file.
    ///
    /// # Errors
    /// [`DiskError::Io`] or [`DiskError::Name`].
    fn remove(&self, name: &str) -> Result<(), DiskError>;

    /// Waits until all creations, renames and removals survive a power cut.
    ///
    /// # Errors
    /// [`DiskError::Io`]; nothing is known then about what survives.
    fn sync_directory(&self) -> Result<(), DiskError>;

    /// Replaces the content of `name`, or creates it: after any crash either the
    /// old or the new content is there, and on return the new one.
    ///
    /// # Errors
    /// [`DiskError`]; either content may be there.
    fn replace(&self, name: &str, content: &[u8]) -> Result<(), DiskError> {
        let temporary = format!("{name}{TEMPORARY_SUFFIX}");
        match self.remove(&temporary) {
            Ok(()) => {}
            Err(error) if error.is_not_found() => {}
            Err(error) => return Err(error),
        }
        let file = self.create(&temporary, 0)?;
        file.write_at(0, content)?;
        // The content must be on the medium before the name can point to it.
        file.sync_data()?;
        self.rename(&temporary, name)?;
        self.sync_directory()
    }

    /// The whole content of a file of at most `maximum` bytes.
    ///
    /// # Errors
    /// [`DiskError::TooLong`] before anything is read, or another [`DiskError`].
    fn read_small(&self, name: &str, maximum: usize) -> Result<Vec<u8>, DiskError> {
        let file = self.open(name)?;
        let length = file.length()?;
        match usize::try_from(length) {
            Ok(length) if length <= maximum => {
                let mut content = vec![0; length];
                file.read_at(0, &mut content)?;
                Ok(content)
            }
            _ => Err(DiskError::TooLong {
                name: name.to_owned(),
                length,
                maximum: maximum as u64,
            }),
        }
    }
}

/// What [`Disk::replace`] appends to a name while the content is incomplete.
pub const TEMPORARY_SUFFIX: &str = ".tmp";

/// An open file.
pub trait DiskFile: fmt::Debug + Send + Sync + 'static {
    /// Length in bytes.
    ///
    /// # Errors
    /// [`DiskError::Io`].
    fn length(&self) -> Result<u64, DiskError>;

    /// Fills `buffer` from `offset`; a shorter file is an error.
    ///
    /// # Errors
    /// [`DiskError::At`].
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<(), DiskError>;

    /// Writes all of `bytes` at `offset`.
    ///
    /// # Errors
    /// [`DiskError::At`]; any part of the bytes may have been written.
    fn write_at(&self, offset: u64, bytes: &[u8]) -> Result<(), DiskError>;

    /// Cuts the file to `length` bytes; durable after [`DiskFile::sync_data`].
    ///
    /// # Errors
    /// [`DiskError::Io`].
    fn truncate(&self, length: u64) -> Result<(), DiskError>;

    /// Waits until everything written to this file survives a power cut.
    ///
    /// # Errors
    /// [`DiskError::Io`]. The kernel may have dropped what it could not write,
    /// and a second sync would succeed without it: stop, never retry.
    fn sync_data(&self) -> Result<(), DiskError>;

    /// Makes later reads come from the medium, as far as the system allows.
    ///
    /// After a failed sync the kernel's cache may show bytes that the medium
    /// lacks; a recovery that believed them would acknowledge them.
    ///
    /// # Errors
    /// [`DiskError::Io`].
    fn forget_cached(&self) -> Result<(), DiskError>;
}

/// Refuses every name that could leave the directory or confuse a terminal.
pub(crate) fn check_name(name: &str) -> Result<(), DiskError> {
    let plain = name
        .bytes()
        .all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'.' | b'_' | b'-'));
    if plain && !name.is_empty() && !name.starts_with('.') && name.len() <= NAME_BYTES_MAX {
        Ok(())
    } else {
        Err(DiskError::Name {
            name: name.to_owned(),
        })
    }
}

/// A directory that [`DirectoryDisk::open`] takes, whatever the umask is.
#[cfg(test)]
pub(crate) fn private_directory() -> tempfile::TempDir {
    use std::os::unix::fs::PermissionsExt;
    tempfile::Builder::new()
        .permissions(std::fs::Permissions::from_mode(0o700))
        .tempdir()
        .expect("temporary directory")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_leave_the_directory_are_refused() {
        let long = "a".repeat(NAME_BYTES_MAX + 1);
        for name in [
            "", ".", "..", "a/b", "/a", "A", "a b", "a\0", "a\n", ".a", &long,
        ] {
            assert!(
                matches!(check_name(name), Err(DiskError::Name { .. })),
                "{name:?}"
            );
        }
        for name in ["log-00000001", "a.tmp", "identity_2"] {
            assert!(check_name(name).is_ok(), "{name:?}");
        }
    }

    /// The same small story on either side of the trait.
    fn behaves_like_a_disk<D: Disk>(disk: &D) {
        assert!(disk.names().expect("lists").is_empty());
        let file = disk.create("b", 1024).expect("creates");
        assert_eq!(file.length().expect("length"), 1024);
        assert!(disk.create("b", 0).is_err(), "creation is exclusive");
        file.write_at(510, b"abcd").expect("writes");
        file.sync_data().expect("syncs");
        file.forget_cached().expect("forgets");
        let mut read = [9u8; 6];
        file.read_at(509, &mut read).expect("reads");
        assert_eq!(&read, b"\0abcd\0");
        assert!(file.read_at(1020, &mut read).is_err(), "beyond the end");
        file.truncate(512).expect("truncates");
        assert_eq!(
            disk.open("b").expect("opens").length().expect("length"),
            512
        );
        disk.rename("b", "c").expect("renames");
        disk.sync_directory().expect("syncs");
        assert!(disk.open("b").expect_err("gone").is_not_found());
        assert!(disk.remove("b").expect_err("gone").is_not_found());
        disk.replace("small", b"first").expect("creates");
        disk.replace("small", b"second!").expect("replaces");
        assert_eq!(disk.read_small("small", 7).expect("reads"), b"second!");
        assert!(matches!(
            disk.read_small("small", 6),
            Err(DiskError::TooLong {
                length: 7,
                maximum: 6,
                ..
            })
        ));
        assert_eq!(disk.names().expect("lists"), ["c", "small"]);
        assert!(matches!(disk.open("../c"), Err(DiskError::Name { .. })));
        assert!(matches!(
            disk.create("../d", 0),
            Err(DiskError::Name { .. })
        ));
        assert!(matches!(
            disk.rename("c", "../d"),
            Err(DiskError::Name { .. })
        ));
        assert!(matches!(disk.remove("../c"), Err(DiskError::Name { .. })));
        assert!(matches!(
            disk.create("huge", CREATED_BYTES_MAX + 1),
            Err(DiskError::TooLong { .. })
        ));
        disk.remove("c").expect("removes");
        assert_eq!(disk.names().expect("lists"), ["small"]);
    }

    #[test]
    fn a_directory_behaves_like_a_disk() {
        let directory = private_directory();
        behaves_like_a_disk(&DirectoryDisk::open(directory.path()).expect("opens"));
    }

    #[test]
    fn memory_behaves_like_a_disk() {
        behaves_like_a_disk(&MemoryDisk::new());
    }
}
