//! `authctl audit export`.

use std::fs::{File, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::OpenOptionsExt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use sealmoot_authn::audit::proto::tail_request::Begin;
use sealmoot_authn::audit::{Entry, Event};
use sealmoot_authn::cli::{Code, Failure, escaped};
use serde_json::{Value, json};

use super::tail::LOCAL;
use super::{ExportArgs, Nodes, block_on, local_entries, node_failure, nodes};
use crate::Context;

pub(super) fn run(args: &ExportArgs, context: &Context<'_>) -> Result<(), Failure> {
    let path = escaped(&args.file.display().to_string());
    let file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&args.file)
        .map_err(|error| match error.kind() {
            io::ErrorKind::AlreadyExists => {
                Failure::new(Code::Exists, format!("{path} exists already"))
                    .hint("remove it, or choose another name")
            }
            _ => Failure::new(Code::Config, format!("{path}: {error}")),
        })?;
    let outcome = write(args, BufWriter::new(file), context);
    if outcome.is_err() {
        // Half an export is none.
        let _ = std::fs::remove_file(&args.file);
    }
    let events = outcome?;
    let data = json!({"file": args.file.display().to_string(), "events": events});
    context.output.result("audit_export", &data, || {
        format!("✓ {events} events in {path}")
    })
}

fn write(
    args: &ExportArgs,
    mut file: BufWriter<File>,
    context: &Context<'_>,
) -> Result<u64, Failure> {
    let mut events = 0;
    if let Some(entries) = local_entries(&args.source, context)? {
        events += write_entries(&mut file, LOCAL, &entries)?;
    }
    block_on(async {
        let Nodes { reached, missing } = nodes(&args.source, context).await?;
        for node in &missing {
            context
                .output
                .warning(format!("{} is not in it ({})", node.name, node.cause));
        }
        for node in reached.iter().filter(|node| args.source.wants(node)) {
            let failed = |error| node_failure(node, error);
            let name = node.member.name.as_str();
            let own = node.own_word().await.map_err(failed)?;
            // What it takes to verify the rest later, with the realm's passphrase.
            let head = json!({
                "node": name,
                "head_b64": STANDARD.encode(own.head.bytes()),
                "oldest_b64": STANDARD.encode(own.oldest.bytes()),
                "sealed_first_key_b64": STANDARD.encode(&own.sealed_first_key),
            });
            write_line(&mut file, &head)?;
            let (begin, end) = (own.oldest.head().records(), own.head.head().records());
            if end == begin {
                continue;
            }
            let mut stream = node
                .tail(Begin::From(begin), end - begin, false)
                .await
                .map_err(failed)?;
            while let Some(entries) = stream.next().await.map_err(failed)? {
                events += write_entries(&mut file, name, &entries)?;
            }
        }
        Ok(())
    })?;
    let file = file.into_inner().map_err(|error| cannot(&error))?;
    file.sync_all().map_err(|error| cannot(&error))?;
    Ok(events)
}

fn write_entries(file: &mut impl Write, node: &str, entries: &[Entry]) -> Result<u64, Failure> {
    for entry in entries {
        let event = Event::decode(&entry.event).map_or(Value::Null, |event| event.to_json());
        let line = json!({
            "node": node,
            "sequence": entry.sequence,
            "event": event,
            "event_b64": STANDARD.encode(&entry.event),
            "link_b64": STANDARD.encode(entry.link.as_bytes()),
        });
        write_line(file, &line)?;
    }
    Ok(entries.len() as u64)
}

fn write_line(file: &mut impl Write, line: &Value) -> Result<(), Failure> {
    writeln!(file, "{line}").map_err(|error| cannot(&error))
}

fn cannot(error: &dyn std::fmt::Display) -> Failure {
    Failure::new(
        Code::Config,
        format!("the file could not be written: {error}"),
    )
    .hint("make room, or choose another place")
}
