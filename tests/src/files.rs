//! What lies in a data directory, and how it is damaged.

use std::fs::{self, DirBuilder, OpenOptions};
use std::os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// Files of a data directory that hold no data.
const NO_DATA: [&str; 3] = ["kvd.pid", "lock", "kvd.log"];

/// Names of the files that hold a node's data, in order.
///
/// # Panics
/// When the directory cannot be read.
#[must_use]
pub fn data_files(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir(directory).expect("a data directory");
    let mut names: Vec<String> = entries
        .map(|entry| entry.expect("listed").file_name())
        .map(|name| name.into_string().expect("a name in UTF-8"))
        .filter(|name| !NO_DATA.contains(&name.as_str()))
        .collect();
    names.sort();
    names
}

/// Every file below a directory.
///
/// # Panics
/// When a directory cannot be read.
#[must_use]
pub fn walk(directory: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let entries = fs::read_dir(directory).expect("a directory");
    for entry in entries {
        let path = entry.expect("listed").path();
        if path.is_dir() {
            found.extend(walk(&path));
        } else {
            found.push(path);
        }
    }
    found.sort();
    found
}

/// Copies a directory of files, which must not exist yet, closed to others.
///
/// # Panics
/// When that is not possible.
pub fn copy_directory(from: &Path, to: &Path) {
    DirBuilder::new()
        .mode(0o700)
        .create(to)
        .expect("a new directory");
    for entry in fs::read_dir(from).expect("a directory") {
        let entry = entry.expect("listed");
        fs::copy(entry.path(), to.join(entry.file_name())).expect("copied");
    }
}

/// Writes a file that only its owner can read, over an older one.
///
/// # Panics
/// When that is not possible.
pub fn write_private(path: &Path, content: &[u8]) {
    let file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(path)
        .unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    file.write_all_at(content, 0).expect("written");
}

/// A changed byte, to be changed back.
#[derive(Debug)]
#[must_use = "it does nothing but to undo the change"]
pub struct Flipped {
    path: PathBuf,
    offset: u64,
    mask: u8,
}

impl Flipped {
    /// Changes the byte at `offset` by exclusive or with `mask`.
    ///
    /// # Panics
    /// When there is no such byte, or `mask` is 0, which changes nothing.
    pub fn at(path: &Path, offset: u64, mask: u8) -> Self {
        assert_ne!(mask, 0, "it would change nothing");
        change(path, offset, mask);
        Self {
            path: path.to_owned(),
            offset,
            mask,
        }
    }

    /// Changes it back.
    pub fn restore(self) {
        change(&self.path, self.offset, self.mask);
    }
}

fn change(path: &Path, offset: u64, mask: u8) {
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .open(path)
        .unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let mut byte = [0];
    file.read_exact_at(&mut byte, offset).expect("a byte there");
    file.write_all_at(&[byte[0] ^ mask], offset)
        .expect("written");
}

/// Whether `needle` occurs in `haystack`.
#[must_use]
pub fn contains(haystack: &[u8], needle: &[u8]) -> bool {
    let Some((&first, rest)) = needle.split_first() else {
        return true;
    };
    let mut from = 0;
    while let Some(step) = haystack[from..].iter().position(|&byte| byte == first) {
        from += step + 1;
        if haystack[from..].starts_with(rest) {
            return true;
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_there_is_found() {
        for needle in ["", "a", "aab", "b", "caab", "aabaac"] {
            assert!(contains(b"caabaac", needle.as_bytes()), "{needle}");
        }
        for needle in ["d", "aaa", "caabaacx", "bb"] {
            assert!(!contains(b"caabaac", needle.as_bytes()), "{needle}");
        }
        assert!(!contains(b"", b"a"));
    }

    #[test]
    fn a_flipped_byte_is_restored() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("file");
        write_private(&path, b"abc");
        let flipped = Flipped::at(&path, 1, 0x20);
        assert_eq!(fs::read(&path).expect("there"), b"aBc");
        flipped.restore();
        assert_eq!(fs::read(&path).expect("there"), b"abc");
    }

    #[test]
    fn files_without_data_are_left_out() {
        let directory = tempfile::tempdir().expect("a directory");
        for name in ["lock", "kvd.log", "kvd.pid", "log-1", "identity"] {
            write_private(&directory.path().join(name), b"x");
        }
        assert_eq!(data_files(directory.path()), ["identity", "log-1"]);
        assert_eq!(walk(directory.path()).len(), 5);
    }
}
