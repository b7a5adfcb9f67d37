//! Small files with secrets in them: written whole or not at all, 0600, never
//! through a symbolic link, and refused when others can read them.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::OFlags;
use sealmoot_crypto::secret::SecretBytes;

/// What to do when the file to be written is there already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Existing {
    /// Refuse, with [`FileError::Exists`].
    Refuse,
    /// Put the new content in its place in one step.
    Replace,
}

/// Why a file was not read or written.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// It is there already and was not to be replaced.
    #[error("{} exists already", .0.display())]
    Exists(PathBuf),
    /// It is not there.
    #[error("{} does not exist", .0.display())]
    Missing(PathBuf),
    /// Others than its owner can read or write it.
    #[error("{} has mode {mode:04o}; a file with secrets must be 0600 (chmod 600)", path.display())]
    LooseMode {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// It is longer than it can rightly be.
    #[error("{} is longer than {maximum} bytes", path.display())]
    TooLong {
        /// The file.
        path: PathBuf,
        /// What is allowed.
        maximum: usize,
    },
    /// It was written, and the disk did not confirm that it stays written.
    #[error("{} was changed, but the disk did not confirm it: {source}", path.display())]
    Unconfirmed {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The system refused.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

impl FileError {
    fn io(path: &Path, source: io::Error) -> Self {
        match source.kind() {
            io::ErrorKind::NotFound => Self::Missing(path.to_owned()),
            io::ErrorKind::AlreadyExists => Self::Exists(path.to_owned()),
            _ => Self::Io {
                path: path.to_owned(),
                source,
            },
        }
    }
}

/// Writes `content` to `path`, mode 0600, by temporary file, sync, rename or
/// link, and sync of the directory: after a crash the old content is there or the
/// new, never a part.
///
/// # Errors
/// [`FileError`]; the old content is then still there, except after
/// [`FileError::Unconfirmed`].
pub fn write(path: &Path, content: &[u8], existing: Existing) -> Result<(), FileError> {
    let directory = parent(path);
    let temporary = temporary_name(path)?;
    let outcome = write_temporary(&temporary, content).and_then(|file| {
        file.sync_all()?;
        match existing {
            Existing::Replace => fs::rename(&temporary, path),
            // A link fails when the name is taken; a rename would overwrite, and
            // looking first would leave a gap for another process.
            Existing::Refuse => fs::hard_link(&temporary, path).and_then(|()| {
                fs::remove_file(&temporary).inspect_err(|_| {
                    // An error means that nothing was written.
                    let _ = fs::remove_file(path);
                })
            }),
        }
    });
    if let Err(error) = outcome {
        // The content may be secret: no half-written copy is left lying around.
        let _ = fs::remove_file(&temporary);
        return Err(FileError::io(path, error));
    }
    confirm(path, directory)
}

/// Writes a new file, mode 0600, without making it durable: for a directory that gets
/// its name when [`sync_filesystem`] has made all of it durable at once.
///
/// # Errors
/// [`FileError`].
pub(crate) fn fill(path: &Path, content: &[u8]) -> Result<(), FileError> {
    create_private(path)
        .and_then(|mut file| file.write_all(content))
        .map_err(|error| FileError::io(path, error))
}

/// Makes all that was written to the file system of `directory` durable.
///
/// # Errors
/// [`FileError`].
pub(crate) fn sync_filesystem(directory: &Path) -> Result<(), FileError> {
    File::open(directory)
        .and_then(|handle| Ok(rustix::fs::syncfs(&handle)?))
        .map_err(|error| FileError::io(directory, error))
}

/// Reads a file of secrets of at most `maximum` bytes.
///
/// # Errors
/// [`FileError`], also when its mode lets others read it.
pub fn read_secret(path: &Path, maximum: usize) -> Result<SecretBytes, FileError> {
    read_private(open(path)?, path, maximum)
}

/// Reads a file of secrets that a person named: a symbolic link is followed,
/// because `<(pass show realm)` and mounted secrets are links.
///
/// # Errors
/// As [`read_secret`].
pub fn read_named_secret(path: &Path, maximum: usize) -> Result<SecretBytes, FileError> {
    let file = File::open(path).map_err(|error| FileError::io(path, error))?;
    read_private(file, path, maximum)
}

fn read_private(file: File, path: &Path, maximum: usize) -> Result<SecretBytes, FileError> {
    let metadata = file
        .metadata()
        .map_err(|error| FileError::io(path, error))?;
    let mode = metadata.mode() & 0o7777;
    if metadata.is_file() && mode & 0o077 != 0 {
        return Err(FileError::LooseMode {
            path: path.to_owned(),
            mode,
        });
    }
    read_bounded(file, path, maximum)
}

/// Reads a file without secrets of at most `maximum` bytes.
///
/// # Errors
/// [`FileError`].
pub fn read(path: &Path, maximum: usize) -> Result<Vec<u8>, FileError> {
    read_bounded(open(path)?, path, maximum).map(|bytes| bytes.expose().to_vec())
}

/// Reads a file of at most `maximum` bytes that a person named and that others may
/// read too; a symbolic link is followed. What was read is wiped all the same.
///
/// # Errors
/// [`FileError`].
pub fn read_shared(path: &Path, maximum: usize) -> Result<SecretBytes, FileError> {
    let file = File::open(path).map_err(|error| FileError::io(path, error))?;
    read_bounded(file, path, maximum)
}

/// Writes many files in one directory, each as [`write()`] with [`Existing::Replace`],
/// with one sync for all contents and one for all names: after a crash each has its old
/// content or its new one, some this, some that. So many files are not kept open: a lock
/// of the caller's has to keep [`remove_abandoned`] away meanwhile.
///
/// # Errors
/// [`FileError`] of the first that failed; those before it may be written.
pub fn write_many(directory: &Path, contents: &[(String, Vec<u8>)]) -> Result<(), FileError> {
    let mut temporaries = Vec::with_capacity(contents.len());
    let outcome = contents
        .iter()
        .try_for_each(|(name, content)| {
            let path = directory.join(name);
            let temporary = temporary_name(&path)?;
            let made = fill(&temporary, content);
            temporaries.push((temporary, path));
            made
        })
        .and_then(|()| sync_filesystem(directory))
        .and_then(|()| {
            temporaries.iter().try_for_each(|(temporary, path)| {
                fs::rename(temporary, path).map_err(|error| FileError::io(path, error))
            })
        });
    if outcome.is_err() {
        for (temporary, _) in &temporaries {
            let _ = fs::remove_file(temporary);
        }
    }
    outcome.and_then(|()| confirm(directory, directory))
}

/// Removes a file and makes sure that it stays removed after a crash.
///
/// # Errors
/// [`FileError`].
pub fn remove(path: &Path) -> Result<(), FileError> {
    fs::remove_file(path).map_err(|error| FileError::io(path, error))?;
    sync_directory(parent(path))
}

/// Makes a directory with mode 0700, its parents as the system has it, and all of them
/// durable: a power cut must not take the directory away above what was confirmed in it.
///
/// # Errors
/// [`FileError::Exists`] when it is there, [`FileError::Io`].
pub fn create_directory(path: &Path) -> Result<(), FileError> {
    let above = parent(path);
    create_parents(above)?;
    DirBuilder::new()
        .mode(0o700)
        .create(path)
        .map_err(|error| FileError::io(path, error))?;
    sync_directory(above)
}

fn create_parents(path: &Path) -> Result<(), FileError> {
    if path.is_dir() {
        return Ok(());
    }
    let above = parent(path);
    create_parents(above)?;
    match fs::create_dir(path) {
        Ok(()) => sync_directory(above),
        // Another process was faster.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && path.is_dir() => Ok(()),
        Err(error) => Err(FileError::io(path, error)),
    }
}

/// Makes a directory with mode 0700 unless it is there.
///
/// # Errors
/// [`FileError`].
pub fn ensure_directory(path: &Path) -> Result<(), FileError> {
    match create_directory(path) {
        Err(FileError::Exists(_)) if path.is_dir() => Ok(()),
        outcome => outcome,
    }
}

/// Moves a directory to a name beside it that is not taken.
///
/// # Errors
/// [`FileError::Exists`] when there is something that is not an empty directory.
pub fn rename_directory(from: &Path, to: &Path) -> Result<(), FileError> {
    fs::rename(from, to).map_err(|error| match error.kind() {
        io::ErrorKind::DirectoryNotEmpty | io::ErrorKind::NotADirectory => {
            FileError::Exists(to.to_owned())
        }
        _ => FileError::io(to, error),
    })?;
    confirm(to, parent(to))
}

/// Moves files of one directory into another, durably: after a crash each of them is in
/// one of the two.
///
/// # Errors
/// [`FileError`].
pub fn move_files(from: &Path, names: &[&str], to: &Path) -> Result<(), FileError> {
    for name in names {
        let target = to.join(name);
        fs::rename(from.join(name), &target).map_err(|error| FileError::io(&target, error))?;
    }
    // The target first: one that is in neither would be lost.
    sync_directory(to)?;
    sync_directory(from)
}

/// Removes a directory with all that is in it, if it is there.
///
/// # Errors
/// [`FileError`].
pub fn remove_directory(path: &Path) -> Result<(), FileError> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        removed => removed.map_err(|error| FileError::io(path, error)),
    }
}

/// Gives a directory the mode 0700.
///
/// # Errors
/// [`FileError`].
pub fn make_private(directory: &Path) -> Result<(), FileError> {
    fs::set_permissions(directory, fs::Permissions::from_mode(0o700))
        .map_err(|error| FileError::io(directory, error))
}

/// The plain names of the files in a directory, sorted; no temporary ones.
///
/// # Errors
/// [`FileError`].
pub fn names(directory: &Path) -> Result<Vec<String>, FileError> {
    let mut names = Vec::new();
    let entries = fs::read_dir(directory).map_err(|error| FileError::io(directory, error))?;
    for entry in entries {
        let entry = entry.map_err(|error| FileError::io(directory, error))?;
        if let Ok(name) = entry.file_name().into_string()
            && !name.starts_with('.')
        {
            names.push(name);
        }
    }
    names.sort();
    Ok(names)
}

/// An exclusive lock that lasts as long as this value.
#[derive(Debug)]
pub struct Lock(#[expect(dead_code, reason = "holds the lock until it is closed")] File);

/// Locks `path`, waiting for whoever holds it.
///
/// # Errors
/// [`FileError`].
pub fn lock(path: &Path) -> Result<Lock, FileError> {
    let file = lock_file(path)?;
    file.lock().map_err(|error| FileError::io(path, error))?;
    Ok(Lock(file))
}

/// Locks `path`, or says `None` when another process holds it.
///
/// # Errors
/// [`FileError`].
pub fn try_lock(path: &Path) -> Result<Option<Lock>, FileError> {
    let file = lock_file(path)?;
    match file.try_lock() {
        Ok(()) => Ok(Some(Lock(file))),
        Err(fs::TryLockError::WouldBlock) => Ok(None),
        Err(fs::TryLockError::Error(error)) => Err(FileError::io(path, error)),
    }
}

fn lock_file(path: &Path) -> Result<File, FileError> {
    OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .custom_flags(OFlags::NOFOLLOW.bits().cast_signed())
        .open(path)
        .map_err(|error| FileError::io(path, error))
}

fn open(path: &Path) -> Result<File, FileError> {
    OpenOptions::new()
        .read(true)
        .custom_flags(OFlags::NOFOLLOW.bits().cast_signed())
        .open(path)
        .map_err(|error| FileError::io(path, error))
}

fn read_bounded(file: File, path: &Path, maximum: usize) -> Result<SecretBytes, FileError> {
    // Room for all of it at once: a buffer that grows leaves copies behind.
    let expected = file
        .metadata()
        .ok()
        .and_then(|metadata| usize::try_from(metadata.len()).ok())
        .unwrap_or(0);
    let mut content = Vec::with_capacity(expected.min(maximum) + 1);
    file.take(maximum as u64 + 1)
        .read_to_end(&mut content)
        .map_err(|error| FileError::io(path, error))?;
    let content = SecretBytes::new(content);
    if content.len() > maximum {
        return Err(FileError::TooLong {
            path: path.to_owned(),
            maximum,
        });
    }
    Ok(content)
}

/// Removes from a directory the temporary files that a crash left behind: those that no
/// process is writing. What they hold may be secret.
///
/// # Errors
/// [`FileError`]; what is not a file, or went away meanwhile, is left alone.
pub fn remove_abandoned(directory: &Path) -> Result<(), FileError> {
    let entries = fs::read_dir(directory).map_err(|error| FileError::io(directory, error))?;
    let mut removed = false;
    for entry in entries {
        let entry = entry.map_err(|error| FileError::io(directory, error))?;
        if !entry.file_name().to_str().is_some_and(is_temporary) {
            continue;
        }
        let path = entry.path();
        // Held until the name is gone: whoever writes it sees that, and starts anew.
        let Ok(file) = open(&path) else { continue };
        let is_file = file.metadata().is_ok_and(|metadata| metadata.is_file());
        if is_file && file.try_lock().is_ok() {
            match fs::remove_file(&path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    return Err(FileError::io(&path, error));
                }
                _ => removed = true,
            }
        }
    }
    if removed {
        sync_directory(directory)?;
    }
    Ok(())
}

/// Whether a name is one that [`temporary_name`] makes.
fn is_temporary(name: &str) -> bool {
    let random = name
        .strip_prefix('.')
        .and_then(|name| name.strip_suffix(".tmp"))
        .and_then(|name| name.rsplit_once('.'));
    random.is_some_and(|(name, digits)| {
        let digit = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
        !name.is_empty() && digits.len() == 16 && digits.bytes().all(digit)
    })
}

/// Writes a new file, and gives it back locked: as long as it is held, nobody takes it
/// for abandoned.
fn write_temporary(temporary: &Path, content: &[u8]) -> io::Result<File> {
    let mut file = create_locked(temporary)?;
    file.write_all(content)?;
    Ok(file)
}

fn create_locked(temporary: &Path) -> io::Result<File> {
    loop {
        let file = create_private(temporary)?;
        file.lock()?;
        // Between the two the file may have passed for abandoned.
        if file.metadata()?.nlink() > 0 {
            return Ok(file);
        }
    }
}

fn create_private(path: &Path) -> io::Result<File> {
    let file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)?;
    file.set_permissions(fs::Permissions::from_mode(0o600))?;
    Ok(file)
}

fn temporary_name(path: &Path) -> Result<PathBuf, FileError> {
    let random: [u8; 8] = sealmoot_crypto::random::array()
        .map_err(|error| FileError::io(path, io::Error::other(error)))?;
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let suffix = u64::from_le_bytes(random);
    Ok(parent(path).join(format!(".{name}.{suffix:016x}.tmp")))
}

fn parent(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if parent != Path::new("") => parent,
        _ => Path::new("."),
    }
}

/// Syncs the directory in which `path` was just changed.
fn confirm(path: &Path, directory: &Path) -> Result<(), FileError> {
    File::open(directory)
        .and_then(|handle| handle.sync_all())
        .map_err(|source| FileError::Unconfirmed {
            path: path.to_owned(),
            source,
        })
}

fn sync_directory(directory: &Path) -> Result<(), FileError> {
    File::open(directory)
        .and_then(|handle| handle.sync_all())
        .map_err(|error| FileError::io(directory, error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_private_whole_and_not_overwritten() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("secret");
        write(&path, b"one", Existing::Refuse).expect("written");
        assert!(matches!(
            write(&path, b"two", Existing::Refuse),
            Err(FileError::Exists(_))
        ));
        assert_eq!(read(&path, 3).expect("read"), b"one");
        write(&path, b"two", Existing::Replace).expect("replaced");
        assert_eq!(read_secret(&path, 3).expect("read").expose(), b"two");
        let mode = fs::metadata(&path).expect("there").mode() & 0o777;
        assert_eq!(mode, 0o600);
        assert_eq!(names(directory.path()).expect("listed"), ["secret"]);
    }

    #[test]
    fn loose_modes_long_files_links_and_missing_files_are_refused() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("secret");
        write(&path, b"12345", Existing::Refuse).expect("written");
        assert!(matches!(
            read_secret(&path, 4),
            Err(FileError::TooLong { maximum: 4, .. })
        ));
        let link = directory.path().join("link");
        std::os::unix::fs::symlink(&path, &link).expect("linked");
        assert!(read_secret(&link, 9).is_err());
        assert!(read_named_secret(&link, 9).is_ok());
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).expect("loosened");
        assert!(matches!(
            read_secret(&path, 9),
            Err(FileError::LooseMode { mode: 0o640, .. })
        ));
        assert!(matches!(
            read_named_secret(&link, 9),
            Err(FileError::LooseMode { mode: 0o640, .. })
        ));
        assert!(matches!(
            read(&directory.path().join("none"), 9),
            Err(FileError::Missing(_))
        ));
    }

    #[test]
    fn many_files_are_written_private_over_what_was_there() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path();
        write(&path.join("b"), b"old", Existing::Refuse).expect("written");
        let contents: Vec<(String, Vec<u8>)> = ["a", "b", "c"]
            .map(|name| (name.to_owned(), name.repeat(3).into_bytes()))
            .into();
        write_many(path, &contents).expect("written");
        assert_eq!(names(path).expect("listed"), ["a", "b", "c"]);
        assert_eq!(
            read_secret(&path.join("b"), 9).expect("0600").expose(),
            b"bbb"
        );
        // Nothing is left lying around when one of them cannot be.
        fs::create_dir(path.join("d")).expect("a directory");
        let contents = [("d".to_owned(), vec![1]), ("e".to_owned(), vec![2])];
        assert!(write_many(path, &contents).is_err());
        let left = fs::read_dir(path).expect("listed").count();
        assert_eq!(left, 4);
    }

    #[test]
    fn what_a_crash_left_is_removed_and_what_is_being_written_is_not() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path();
        let abandoned = temporary_name(&path.join("secret")).expect("random");
        fs::write(&abandoned, b"half a sec").expect("written");
        let being_written = temporary_name(&path.join("secret")).expect("random");
        let writer = write_temporary(&being_written, b"half").expect("written");
        let others = [
            "secret",
            ".secret",
            ".secret.tmp",
            ".secret.0123456789abcde.tmp",
            ".secret.0123456789abcdeg.tmp",
            ".secret.0123456789ABCDEF.tmp",
            "secret.0123456789abcdef.tmp",
            "..0123456789abcdef.tmp",
            ".0123456789abcdef.tmp",
        ];
        for other in others {
            fs::write(path.join(other), b"not ours").expect("written");
        }
        fs::create_dir(path.join(".directory.0123456789abcdef.tmp")).expect("made");
        let link = path.join(".link.0123456789abcdef.tmp");
        std::os::unix::fs::symlink(path.join("secret"), &link).expect("linked");

        remove_abandoned(path).expect("removed");
        assert!(!abandoned.exists());
        assert!(being_written.exists());
        let left = fs::read_dir(path).expect("listed").count();
        assert_eq!(left, others.len() + 3, "nothing else is touched");
        drop(writer);
        remove_abandoned(path).expect("removed");
        assert!(!being_written.exists());
        let missing = path.join("missing");
        assert!(matches!(
            remove_abandoned(&missing),
            Err(FileError::Missing(_))
        ));
    }

    #[test]
    fn writers_and_those_who_clean_up_do_not_disturb_each_other() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path();
        std::thread::scope(|scope| {
            for writer in 0..4 {
                scope.spawn(move || {
                    let path = path.join(format!("secret{writer}"));
                    for round in 0..50_u8 {
                        write(&path, &[round], Existing::Replace).expect("written");
                    }
                });
            }
            for _ in 0..2 {
                scope.spawn(|| {
                    for _ in 0..500 {
                        remove_abandoned(path).expect("removed");
                    }
                });
            }
        });
        assert_eq!(fs::read_dir(path).expect("listed").count(), 4);
    }

    #[test]
    fn a_directory_gets_the_parents_that_it_lacks() {
        let directory = tempfile::tempdir().expect("a directory");
        let deep = directory.path().join("a/b/c");
        create_directory(&deep).expect("made");
        let mode = fs::metadata(&deep).expect("there").permissions().mode();
        assert_eq!(mode & 0o7777, 0o700);
        assert!(matches!(create_directory(&deep), Err(FileError::Exists(_))));
        fs::write(directory.path().join("file"), b"").expect("written");
        let below = directory.path().join("file/a/b");
        assert!(create_directory(&below).is_err());
    }

    #[test]
    fn a_lock_is_held_once() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("lock");
        let held = try_lock(&path).expect("lockable");
        assert!(held.is_some());
        assert!(try_lock(&path).expect("lockable").is_none());
        drop(held);
        assert!(try_lock(&path).expect("lockable").is_some());
    }
}
