//! Sets damaged or old data of a node aside, so that nothing of it is lost to somebody who
//! can make use of it, and nothing of it is ever taken for the node's again.
//!
//! A file marks that this has begun and has not ended. While it is there the directory does
//! not open: with its log gone, and without the record that says why, the node would pass
//! for one that never voted.

use std::path::Path;

use sealmoot_authn::files::{self, Existing};

use super::startup::OpenFailure;
use crate::{log, storage};

/// Is there from before the first file is moved until the new log is durable.
const MARK: &str = "begins-anew";
/// How the directories begin that hold what was set aside.
const ASIDE_PREFIX: &str = "quarantined-";

/// Refuses a directory whose files are being set aside.
pub(super) fn check_begun(directory: &Path) -> Result<(), OpenFailure> {
    if directory.join(MARK).exists() {
        return Err(OpenFailure::Data {
            file: MARK.to_owned(),
            what: "the data was being set aside".to_owned(),
        });
    }
    Ok(())
}

/// Moves log and checkpoints into a new directory; returns its name.
pub(super) fn move_files(directory: &Path) -> Result<String, OpenFailure> {
    files::write(&directory.join(MARK), b"", Existing::Replace)?;
    let names = files::names(directory)?;
    let taken = names
        .iter()
        .filter_map(|name| name.strip_prefix(ASIDE_PREFIX)?.parse::<u64>().ok());
    let aside = format!("{ASIDE_PREFIX}{}", taken.max().unwrap_or(0) + 1);
    let target = directory.join(&aside);
    files::create_directory(&target)?;
    let is_data = |name: &str| {
        name.starts_with(log::SEGMENT_PREFIX) || name == log::SPARE_NAME || storage::is_file(name)
    };
    let names = names.iter().map(String::as_str);
    let data: Vec<&str> = names.filter(|name| is_data(name)).collect();
    files::move_files(directory, &data, &target)?;
    Ok(aside)
}

/// The new log is durable.
pub(super) fn end(directory: &Path) -> Result<(), OpenFailure> {
    Ok(files::remove(&directory.join(MARK))?)
}
