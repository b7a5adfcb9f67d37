//! The sealed part of a node's invite on its disk, until it was opened.
//!
//! It may be longer than a sealed file: so it lies in as many as it takes,
//! `invite-0001` and so on. Each begins with a byte that says whether more follow.

use sealmoot_authn::invite::{SEALED_PART_LENGTH_MAX, SealedPart};
use sealmoot_crypto::encoding::Reader;

use super::identity::Identity;
use super::startup::{OpenFailure, disk_failure};
use crate::disk::{Disk, DiskError};
use crate::log::sealed_file::{
    self, SEALED_FILE_BYTES_MAX, SealedFileKey, SealedFileReadError, SealedFileWriteError,
};

/// What the names of the files begin with.
const PREFIX: &str = "invite-";
const PIECE_BYTES: usize = SEALED_FILE_BYTES_MAX - 1;
/// No sealed part has more.
const FILES_MAX: usize = SEALED_PART_LENGTH_MAX.div_ceil(PIECE_BYTES);

/// Writes it. A crash between leaves files of a directory that is no node yet.
pub(super) fn write<D: Disk>(
    disk: &D,
    sealed: &SealedFileKey,
    part: &SealedPart,
) -> Result<(), SealedFileWriteError> {
    write_pieces(disk, sealed, &part.encode(), PIECE_BYTES)
}

/// Reads what [`write`] wrote, and verifies again what the root signed of it.
pub(super) fn read<D: Disk>(
    disk: &D,
    sealed: &SealedFileKey,
    identity: &Identity,
) -> Result<SealedPart, OpenFailure> {
    let bytes = read_pieces(disk, sealed)?;
    SealedPart::decode(&bytes, &identity.roots, &identity.call)
        .map_err(|error| damaged(&file_name(0), error.to_string()))
}

fn write_pieces<D: Disk>(
    disk: &D,
    sealed: &SealedFileKey,
    bytes: &[u8],
    piece_bytes: usize,
) -> Result<(), SealedFileWriteError> {
    let count = bytes.len().div_ceil(piece_bytes);
    for (index, piece) in bytes.chunks(piece_bytes).enumerate() {
        let more = u8::from(index + 1 < count);
        let content = [&[more], piece].concat();
        sealed_file::write(disk, sealed, &file_name(index), &content)?;
    }
    Ok(())
}

fn read_pieces<D: Disk>(disk: &D, sealed: &SealedFileKey) -> Result<Vec<u8>, OpenFailure> {
    let mut bytes = Vec::new();
    for index in 0..FILES_MAX {
        let file = file_name(index);
        let content = sealed_file::read(disk, sealed, &file, SEALED_FILE_BYTES_MAX)
            .map_err(|error| read_failure(&file, error))?;
        let mut reader = Reader::new(content.expose());
        let more = reader.flag();
        let more = more.map_err(|error| damaged(&file, error.to_string()))?;
        bytes.extend_from_slice(&content.expose()[1..]);
        if !more {
            return Ok(bytes);
        }
    }
    Err(damaged(&file_name(FILES_MAX), "there is no end".to_owned()))
}

fn damaged(file: &str, what: String) -> OpenFailure {
    OpenFailure::Integrity {
        file: file.to_owned(),
        what,
    }
}

/// Removes it: what was in it lies in the log and in the identity by then.
pub(super) fn remove<D: Disk>(disk: &D) -> Result<(), DiskError> {
    let mut removed = false;
    for name in disk.names()? {
        if name.starts_with(PREFIX) {
            disk.remove(&name)?;
            removed = true;
        }
    }
    if removed {
        disk.sync_directory()?;
    }
    Ok(())
}

/// How many bytes it has on the disk.
pub(super) fn length<D: Disk>(disk: &D) -> Result<u64, DiskError> {
    use crate::disk::DiskFile;
    let mut length = 0;
    for name in disk.names()? {
        if name.starts_with(PREFIX) {
            length += disk.open(&name)?.length()?;
        }
    }
    Ok(length)
}

fn file_name(index: usize) -> String {
    format!("{PREFIX}{:04}", index + 1)
}

fn read_failure(file: &str, error: SealedFileReadError) -> OpenFailure {
    match error {
        SealedFileReadError::Disk(error)
            if error.kind().is_some() || matches!(error, DiskError::Refused { .. }) =>
        {
            disk_failure(error)
        }
        error => damaged(file, format!("{error}: failed authentication")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::MemoryDisk;
    use sealmoot_crypto::secret::SecretArray;

    fn key() -> SealedFileKey {
        SealedFileKey::from_root(&SecretArray::from_bytes([4; 32]))
    }

    fn refused_at(disk: &MemoryDisk, wanted: &str) {
        let refused = read_pieces(disk, &key());
        assert!(
            matches!(refused, Err(OpenFailure::Integrity { ref file, .. }) if file == wanted),
            "{wanted}"
        );
    }

    #[test]
    fn what_takes_several_files_comes_back_and_goes_as_a_whole() {
        for (length, files) in [(1, 1), (999, 1), (1000, 1), (1001, 2), (3000, 3), (3001, 4)] {
            let disk = MemoryDisk::new();
            disk.set_bytes("identity", vec![1]);
            let bytes: Vec<u8> = (0..length).map(|at| (at % 251) as u8).collect();
            write_pieces(&disk, &key(), &bytes, 1000).expect("written");
            assert_eq!(disk.names().expect("listed").len(), 1 + files, "{length}");
            assert_eq!(read_pieces(&disk, &key()).expect("read"), bytes);
            remove(&disk).expect("removed");
            assert_eq!(disk.names().expect("listed"), ["identity"]);
        }
    }

    #[test]
    fn a_file_that_is_missing_changed_or_in_anothers_place_is_named() {
        let written = || {
            let disk = MemoryDisk::new();
            write_pieces(&disk, &key(), &[7; 3000], 1000).expect("written");
            disk
        };
        for file in ["invite-0001", "invite-0002", "invite-0003"] {
            let disk = written();
            disk.flip(file, 40, 1);
            refused_at(&disk, file);
            disk.remove(file).expect("removed");
            refused_at(&disk, file);
            let disk = written();
            let other = if file == "invite-0001" {
                "invite-0002"
            } else {
                "invite-0001"
            };
            disk.set_bytes(file, disk.bytes(other).expect("there"));
            refused_at(&disk, file);
        }
    }
}
