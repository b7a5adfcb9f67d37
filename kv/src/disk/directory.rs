//! A real directory, held by one process at a time.
//!
//! Everything is opened relative to the directory's descriptor, so a renamed
//! parent or a planted symbolic link never leads elsewhere.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::{self, Advice, AtFlags, FileType, FlockOperation, Mode, OFlags};

use super::{CREATED_BYTES_MAX, Disk, DiskError, DiskFile, check_name};

/// A directory that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum DirectoryError {
    /// The operating system refused.
    #[error("cannot {action} the directory {}: {source}", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// The directory.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
    /// Another process holds it: two nodes on one directory would tear its log.
    #[error("the directory {} is in use by another process", path.display())]
    InUse {
        /// The directory.
        path: PathBuf,
    },
    /// Somebody else owns it, or may write or look into it.
    #[error("the directory {} must belong to this user with mode 0700 (it has mode {mode:04o})", path.display())]
    Loose {
        /// The directory.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
}

/// The files of one directory. Holds its lock until the last clone and the last
/// open file are gone.
#[derive(Clone, Debug)]
pub struct DirectoryDisk {
    directory: Arc<OwnedFd>,
}

impl DirectoryDisk {
    /// Takes an existing directory of mode 0700 for this process alone.
    ///
    /// # Errors
    /// [`DirectoryError`].
    pub fn open(path: &Path) -> Result<Self, DirectoryError> {
        let failed = |action| {
            move |error: rustix::io::Errno| DirectoryError::Io {
                action,
                path: path.to_owned(),
                source: error.into(),
            }
        };
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let directory = fs::open(path, flags, Mode::empty()).map_err(failed("open"))?;
        let status = fs::fstat(&directory).map_err(failed("examine"))?;
        let mode = status.st_mode & 0o7777;
        if mode & 0o077 != 0 || status.st_uid != rustix::process::geteuid().as_raw() {
            return Err(DirectoryError::Loose {
                path: path.to_owned(),
                mode,
            });
        }
        match fs::flock(&directory, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Self {
                directory: Arc::new(directory),
            }),
            Err(rustix::io::Errno::WOULDBLOCK) => Err(DirectoryError::InUse {
                path: path.to_owned(),
            }),
            Err(error) => Err(failed("lock")(error)),
        }
    }

    fn open_file(&self, name: &str, more: OFlags, action: &'static str) -> Result<File, DiskError> {
        check_name(name)?;
        let flags = OFlags::RDWR | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NOCTTY;
        // Without NONBLOCK a planted pipe would hold the opener for ever.
        let flags = flags | OFlags::NONBLOCK | more;
        let file = fs::openat(&*self.directory, name, flags, Mode::RUSR | Mode::WUSR)
            .map_err(io_error(action, name))?;
        Ok(File::from(file))
    }
}

impl Disk for DirectoryDisk {
    type File = DirectoryFile;

    fn names(&self) -> Result<Vec<String>, DiskError> {
        let entries = fs::Dir::read_from(&*self.directory).map_err(io_error("list", "."))?;
        let mut names = Vec::new();
        for entry in entries {
            let entry = entry.map_err(io_error("list", "."))?;
            let name = entry.file_name().to_string_lossy().into_owned();
            if name != "." && name != ".." {
                names.push(name);
            }
        }
        names.sort_unstable();
        Ok(names)
    }

    fn create(&self, name: &str, length: u64) -> Result<DirectoryFile, DiskError> {
        if length > CREATED_BYTES_MAX {
            return Err(DiskError::TooLong {
                name: name.to_owned(),
                length,
                maximum: CREATED_BYTES_MAX,
            });
        }
        let file = self.open_file(name, OFlags::CREATE | OFlags::EXCL, "create")?;
        let file = DirectoryFile {
            file,
            name: name.to_owned(),
            _lock: Arc::clone(&self.directory),
        };
        let mut filled = 0;
        while filled < length {
            let step =
                usize::try_from(length - filled).map_or(ZEROS.len(), |left| left.min(ZEROS.len()));
            file.write_at(filled, &ZEROS[..step])?;
            filled += step as u64;
        }
        Ok(file)
    }

    fn open(&self, name: &str) -> Result<DirectoryFile, DiskError> {
        let file = self.open_file(name, OFlags::empty(), "open")?;
        let refused = |reason| DiskError::Refused {
            name: name.to_owned(),
            reason,
        };
        let status = fs::fstat(&file).map_err(io_error("examine", name))?;
        if FileType::from_raw_mode(status.st_mode) != FileType::RegularFile {
            return Err(refused("it is not a regular file"));
        }
        if status.st_uid != rustix::process::geteuid().as_raw() {
            return Err(refused("it belongs to another user"));
        }
        if status.st_mode & 0o077 != 0 {
            return Err(refused("its mode lets other users in; 0600 is required"));
        }
        Ok(DirectoryFile {
            file,
            name: name.to_owned(),
            _lock: Arc::clone(&self.directory),
        })
    }

    fn rename(&self, from: &str, to: &str) -> Result<(), DiskError> {
        check_name(from)?;
        check_name(to)?;
        fs::renameat(&*self.directory, from, &*self.directory, to).map_err(io_error("rename", from))
    }

    fn remove(&self, name: &str) -> Result<(), DiskError> {
        check_name(name)?;
        fs::unlinkat(&*self.directory, name, AtFlags::empty()).map_err(io_error("remove", name))
    }

    fn sync_directory(&self) -> Result<(), DiskError> {
        fs::fsync(&*self.directory).map_err(io_error("sync", "."))
    }
}

/// A file of a [`DirectoryDisk`].
#[derive(Debug)]
pub struct DirectoryFile {
    file: File,
    name: String,
    /// A file that is still being written keeps other processes out.
    _lock: Arc<OwnedFd>,
}

impl DirectoryFile {
    fn failed(&self, action: &'static str) -> impl FnOnce(io::Error) -> DiskError {
        let name = self.name.clone();
        move |source| DiskError::Io {
            action,
            name,
            source,
        }
    }

    fn failed_at(
        &self,
        action: &'static str,
        offset: u64,
        length: usize,
    ) -> impl FnOnce(io::Error) -> DiskError {
        let name = self.name.clone();
        move |source| DiskError::At {
            action,
            name,
            offset,
            length: length as u64,
            source,
        }
    }
}

impl DiskFile for DirectoryFile {
    fn length(&self) -> Result<u64, DiskError> {
        let metadata = self.file.metadata().map_err(self.failed("examine"))?;
        Ok(metadata.len())
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<(), DiskError> {
        let length = buffer.len();
        self.file
            .read_exact_at(buffer, offset)
            .map_err(self.failed_at("read", offset, length))
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> Result<(), DiskError> {
        self.file
            .write_all_at(bytes, offset)
            .map_err(self.failed_at("write", offset, bytes.len()))
    }

    fn truncate(&self, length: u64) -> Result<(), DiskError> {
        self.file.set_len(length).map_err(self.failed("truncate"))
    }

    fn sync_data(&self) -> Result<(), DiskError> {
        self.file.sync_data().map_err(self.failed("sync"))
    }

    fn forget_cached(&self) -> Result<(), DiskError> {
        fs::fadvise(self.file.as_fd(), 0, None, Advice::DontNeed)
            .map_err(io_error("forget the cached pages of", &self.name))
    }
}

/// What new files are filled with, in one write each.
static ZEROS: [u8; 256 * 1024] = [0; 256 * 1024];

fn io_error(action: &'static str, name: &str) -> impl FnOnce(rustix::io::Errno) -> DiskError {
    let name = name.to_owned();
    move |error| DiskError::Io {
        action,
        name,
        source: error.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::private_directory;
    use super::*;
    use std::os::unix::fs::{PermissionsExt, symlink};

    fn directory() -> (tempfile::TempDir, DirectoryDisk) {
        let directory = private_directory();
        let disk = DirectoryDisk::open(directory.path()).expect("opens");
        (directory, disk)
    }

    fn set_mode(path: &Path, mode: u32) {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).expect("mode");
    }

    #[test]
    fn a_second_process_is_refused() {
        let (directory, disk) = directory();
        let file = disk.create("a", 0).expect("creates");
        assert!(matches!(
            DirectoryDisk::open(directory.path()),
            Err(DirectoryError::InUse { .. })
        ));
        drop(disk);
        assert!(
            DirectoryDisk::open(directory.path()).is_err(),
            "an open file holds the lock"
        );
        drop(file);
        assert!(DirectoryDisk::open(directory.path()).is_ok());
    }

    #[test]
    fn a_directory_open_to_others_is_refused() {
        let directory = private_directory();
        set_mode(directory.path(), 0o750);
        assert!(matches!(
            DirectoryDisk::open(directory.path()),
            Err(DirectoryError::Loose { mode: 0o750, .. })
        ));
    }

    #[test]
    fn a_symbolic_link_in_place_of_the_directory_is_refused() {
        let (directory, disk) = directory();
        drop(disk);
        let outer = private_directory();
        symlink(directory.path(), outer.path().join("link")).expect("links");
        assert!(matches!(
            DirectoryDisk::open(&outer.path().join("link")),
            Err(DirectoryError::Io { .. })
        ));
    }

    #[test]
    fn files_are_made_with_mode_0600() {
        let (directory, disk) = directory();
        disk.create("a", 700_000).expect("creates");
        let metadata = std::fs::metadata(directory.path().join("a")).expect("exists");
        assert_eq!(metadata.permissions().mode() & 0o7777, 0o600);
        assert_eq!(metadata.len(), 700_000);
    }

    #[test]
    fn a_file_with_a_loose_mode_is_refused() {
        let (directory, disk) = directory();
        disk.create("a", 0).expect("creates");
        set_mode(&directory.path().join("a"), 0o640);
        assert!(matches!(disk.open("a"), Err(DiskError::Refused { .. })));
    }

    #[test]
    fn symbolic_links_and_pipes_are_refused() {
        let (directory, disk) = directory();
        disk.create("a", 0).expect("creates");
        symlink("a", directory.path().join("link")).expect("links");
        assert!(matches!(disk.open("link"), Err(DiskError::Io { .. })));
        assert!(matches!(disk.create("link", 0), Err(DiskError::Io { .. })));
        let pipe = FileType::Fifo;
        fs::mknodat(&*disk.directory, "pipe", pipe, Mode::RUSR | Mode::WUSR, 0).expect("makes");
        assert!(matches!(disk.open("pipe"), Err(DiskError::Refused { .. })));
    }
}
