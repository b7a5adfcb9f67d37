//! `kvd verify`: is every byte what the node wrote?

use std::path::PathBuf;

use sealmoot_authn::cli::{Code, Failure, Output, Places};
use sealmoot_kv::node;
use serde_json::json;

use crate::{KeyArgs, failures};

/// `kvd verify`.
#[derive(Debug, clap::Args)]
pub(crate) struct VerifyArgs {
    /// The data directory of a stopped node
    #[arg(
        value_name = "DIR",
        required_unless_present = "data",
        conflicts_with = "data"
    )]
    directory: Option<PathBuf>,
    /// The same, as the other commands name it
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    #[command(flatten)]
    key: KeyArgs,
}

pub(crate) fn verify(args: &VerifyArgs, output: &Output) -> Result<(), Failure> {
    let places = Places::find()?;
    let directory = args.directory.as_ref().or(args.data.as_ref());
    let directory = directory.ok_or_else(|| Failure::usage("which directory?"))?;
    let found = node::verify(directory, args.key.key_file.as_deref(), &places.config)
        .map_err(failures::open)?;
    let damaged: Vec<_> = found
        .damaged
        .iter()
        .map(|place| {
            json!({
                "file": place.file, "offset": place.offset,
                "length": place.length, "what": place.what,
            })
        })
        .collect();
    let sound = damaged.is_empty();
    let data = json!({"ok": sound, "damaged": damaged});
    output.result("verify", &data, || {
        if sound {
            return format!(
                "✓ {} bytes, {} records: every byte authentic",
                found.bytes, found.records
            );
        }
        let lines: Vec<String> = found
            .damaged
            .iter()
            .map(|place| {
                format!(
                    "{}  offset {}  length {}  {}",
                    place.file, place.offset, place.length, place.what
                )
            })
            .collect();
        lines.join("\n")
    })?;
    if sound {
        return Ok(());
    }
    let files: std::collections::BTreeSet<&str> = found
        .damaged
        .iter()
        .map(|place| place.file.as_str())
        .collect();
    let files: Vec<&str> = files.into_iter().collect();
    Err(Failure::new(
        Code::Integrity,
        format!(
            "{} damaged places in {}: failed authentication",
            found.damaged.len(),
            files.join(", ")
        ),
    )
    .hint("leave the node stopped: the others go on without it as long as they are a quorum"))
}
