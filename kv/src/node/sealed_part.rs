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
    let bytes = part.encode();
    let count = bytes.chunks(PIECE_BYTES).len();
    for (index, piece) in bytes.chunks(PIECE_BYTES).enumerate() {
        let more = u8::from(index + 1 < count);
        let content = [&[more], piece].concat();
        sealed_file::write(disk, sealed, &file_name(index), &content)?;
    }
    Ok(())
}

/// Reads what [`write`] wrote, and verifies again what the root signed of it.
pub(super) fn read<D: Disk>(
    disk: &D,
    sealed: &SealedFileKey,
    identity: &Identity,
) -> Result<SealedPart, OpenFailure> {
    let mut bytes = Vec::new();
    let mut last = file_name(0);
    for index in 0..FILES_MAX {
        last = file_name(index);
        let content = sealed_file::read(disk, sealed, &last, SEALED_FILE_BYTES_MAX)
            .map_err(|error| read_failure(&last, error))?;
        let integrity = |what: String| OpenFailure::Integrity {
            file: last.clone(),
            what,
        };
        let mut reader = Reader::new(content.expose());
        let more = reader
            .flag()
            .map_err(|error| integrity(error.to_string()))?;
        bytes.extend_from_slice(&content.expose()[1..]);
        if !more {
            break;
        }
    }
    SealedPart::decode(&bytes, &identity.root, &identity.call).map_err(|error| {
        OpenFailure::Integrity {
            file: last,
            what: error.to_string(),
        }
    })
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
        error => OpenFailure::Integrity {
            file: file.to_owned(),
            what: format!("{error}: failed authentication"),
        },
    }
}
