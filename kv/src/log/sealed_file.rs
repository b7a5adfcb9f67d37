//! One small sealed file, replaced as a whole: a node's identity, for instance.

use sealmoot_crypto::aead::{RecordKey, SealError};
use sealmoot_crypto::kdf;
use sealmoot_crypto::secret::{SecretArray, SecretBytes};
use zeroize::Zeroize;

use crate::disk::{Disk, DiskError};

/// Largest plaintext of a sealed file, in bytes.
pub const SEALED_FILE_BYTES_MAX: usize = 1024 * 1024;

/// Format and version.
const MAGIC: &[u8; 4] = b"SMF1";
const LABEL: &[u8] = b"kv sealed file 1";

/// What opens the small sealed files of a node.
#[derive(Debug)]
pub struct SealedFileKey(RecordKey);

impl SealedFileKey {
    /// The key of the node with this root key.
    #[must_use]
    pub fn from_root(root: &SecretArray<32>) -> Self {
        let secret = kdf::derive(root.expose(), "kv sealed file", b"");
        Self(RecordKey::from_secret(&secret))
    }
}

/// A sealed file could not be written. Either content may be there.
#[derive(Debug, thiserror::Error)]
pub enum SealedFileWriteError {
    /// The plaintext is longer than [`SEALED_FILE_BYTES_MAX`]. Nothing was written.
    #[error("{length} bytes for {file} are more than {SEALED_FILE_BYTES_MAX}")]
    TooLong {
        /// The file's name.
        file: String,
        /// Length of the plaintext.
        length: usize,
    },
    /// It could not be sealed. Nothing was written.
    #[error("cannot seal {file}")]
    Seal {
        /// The file's name.
        file: String,
        /// Why.
        source: SealError,
    },
    /// The disk failed.
    #[error(transparent)]
    Disk(#[from] DiskError),
}

/// A sealed file could not be read.
#[derive(Debug, thiserror::Error)]
pub enum SealedFileReadError {
    /// There is no such file.
    #[error("there is no {file}")]
    Missing {
        /// The file's name.
        file: String,
    },
    /// It does not begin like a sealed file of a version that is known here.
    #[error("{file} is not a sealed file of a known version")]
    Format {
        /// The file's name.
        file: String,
    },
    /// It was altered, renamed, or sealed under another key.
    #[error("{file} was altered, or sealed under another key or name")]
    Unauthentic {
        /// The file's name.
        file: String,
    },
    /// The disk failed, or the file is longer than the reader allows.
    #[error(transparent)]
    Disk(#[from] DiskError),
}

/// Puts a sealed file in place of the old one, or creates it: after a crash one
/// of the two is there whole, and on return the new one is durable.
///
/// # Errors
/// [`SealedFileWriteError`].
pub fn write<D: Disk>(
    disk: &D,
    key: &SealedFileKey,
    name: &str,
    plaintext: &[u8],
) -> Result<(), SealedFileWriteError> {
    if plaintext.len() > SEALED_FILE_BYTES_MAX {
        return Err(SealedFileWriteError::TooLong {
            file: name.to_owned(),
            length: plaintext.len(),
        });
    }
    let sealed = key
        .0
        .seal(&associated_data(name), plaintext)
        .map_err(|source| SealedFileWriteError::Seal {
            file: name.to_owned(),
            source,
        })?;
    let content = [MAGIC.as_slice(), &sealed].concat();
    Ok(disk.replace(name, &content)?)
}

/// The plaintext of a sealed file that is at most `maximum` bytes long.
///
/// # Errors
/// [`SealedFileReadError`].
pub fn read<D: Disk>(
    disk: &D,
    key: &SealedFileKey,
    name: &str,
    maximum: usize,
) -> Result<SecretBytes, SealedFileReadError> {
    let file_bytes_max = maximum.min(SEALED_FILE_BYTES_MAX) + MAGIC.len() + RecordKey::OVERHEAD;
    let mut content = match disk.read_small(name, file_bytes_max) {
        Ok(content) => content,
        Err(error) if error.is_not_found() => {
            return Err(SealedFileReadError::Missing {
                file: name.to_owned(),
            });
        }
        Err(error) => return Err(error.into()),
    };
    let sealed = match content.split_first_chunk_mut::<4>() {
        Some((magic, sealed)) if magic == MAGIC => sealed,
        _ => {
            return Err(SealedFileReadError::Format {
                file: name.to_owned(),
            });
        }
    };
    match key.0.open(&associated_data(name), sealed) {
        Ok(plaintext) => {
            let opened = SecretBytes::new(plaintext.to_vec());
            // The buffer was opened in place.
            plaintext.zeroize();
            Ok(opened)
        }
        Err(_) => Err(SealedFileReadError::Unauthentic {
            file: name.to_owned(),
        }),
    }
}

/// Label, format and name; the name comes last, so nothing runs into it.
fn associated_data(name: &str) -> Vec<u8> {
    [LABEL, MAGIC, name.as_bytes()].concat()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::MemoryDisk;

    fn key(seed: u8) -> SealedFileKey {
        SealedFileKey::from_root(&SecretArray::from_bytes([seed; 32]))
    }

    fn disk() -> MemoryDisk {
        let disk = MemoryDisk::new();
        write(&disk, &key(1), "identity", b"the node's own key").expect("writes");
        disk
    }

    #[test]
    fn what_was_written_comes_back() {
        let disk = disk();
        let found = read(&disk, &key(1), "identity", 18).expect("reads");
        assert_eq!(found.expose(), b"the node's own key");
        write(&disk, &key(1), "identity", b"").expect("replaces");
        assert!(
            read(&disk, &key(1), "identity", 0)
                .expect("reads")
                .is_empty()
        );
    }

    #[test]
    fn the_disk_shows_no_plaintext() {
        let bytes = disk().bytes("identity").expect("exists");
        assert!(!bytes.windows(4).any(|window| window == b"node"));
    }

    #[test]
    fn every_flipped_bit_is_refused_by_name() {
        let disk = disk();
        let whole = disk.bytes("identity").expect("exists");
        for bit in 0..whole.len() * 8 {
            disk.flip("identity", bit / 8, 1 << (bit % 8));
            let error = read(&disk, &key(1), "identity", 100).expect_err("flipped");
            assert!(error.to_string().contains("identity"), "{error}");
            disk.set_bytes("identity", whole.clone());
        }
    }

    #[test]
    fn every_truncation_and_extension_is_refused() {
        let disk = disk();
        let whole = disk.bytes("identity").expect("exists");
        for length in (0..whole.len()).chain([whole.len() + 1]) {
            let mut bytes = whole.clone();
            bytes.resize(length, 0);
            disk.set_bytes("identity", bytes);
            assert!(read(&disk, &key(1), "identity", 100).is_err(), "{length}");
        }
    }

    #[test]
    fn another_key_or_name_does_not_open_it() {
        let disk = disk();
        assert!(matches!(
            read(&disk, &key(2), "identity", 100),
            Err(SealedFileReadError::Unauthentic { .. })
        ));
        disk.rename("identity", "other").expect("renames");
        assert!(matches!(
            read(&disk, &key(1), "other", 100),
            Err(SealedFileReadError::Unauthentic { .. })
        ));
        assert!(matches!(
            read(&disk, &key(1), "identity", 100),
            Err(SealedFileReadError::Missing { .. })
        ));
    }

    #[test]
    fn another_version_is_refused() {
        let disk = disk();
        disk.flip("identity", 3, 3);
        assert!(matches!(
            read(&disk, &key(1), "identity", 100),
            Err(SealedFileReadError::Format { .. })
        ));
    }

    #[test]
    fn lengths_beyond_the_maximum_are_refused() {
        assert!(matches!(
            read(&disk(), &key(1), "identity", 17),
            Err(SealedFileReadError::Disk(DiskError::TooLong { .. }))
        ));
        assert!(matches!(
            write(
                &disk(),
                &key(1),
                "identity",
                &vec![0; SEALED_FILE_BYTES_MAX + 1]
            ),
            Err(SealedFileWriteError::TooLong { .. })
        ));
    }
}
