//! `kv get` and `kv ls`.

use std::ffi::OsString;
use std::io::IsTerminal;
use std::os::unix::ffi::OsStrExt;

use bytes::Bytes;
use sealmoot_authn::cli::{Code, CommonArgs, Failure, Format, Output, bytes_fields, escaped};
use sealmoot_kv::register::KEY_LENGTH_MAX;
use serde_json::{Map, Value, json};

use crate::keys::{Consistency, key};
use crate::session::{SessionArgs, block_on, client, warn_of};

/// Most keys asked for in one request.
const PAGE: u32 = 1000;

/// `kv get`.
#[derive(Debug, clap::Args)]
pub(crate) struct GetArgs {
    /// The key
    key: OsString,
    /// How much the read promises
    #[arg(long, value_enum, default_value_t)]
    consistency: Consistency,
}

pub(crate) fn get(
    args: &GetArgs,
    session: &SessionArgs,
    common: &CommonArgs,
    output: &Output,
) -> Result<(), Failure> {
    let key = key(args.key.as_bytes())?;
    let client = client(session, common)?;
    let reply = block_on(client.get(&key, args.consistency.into()))?;
    warn_of(&client, &reply.troubles, output);
    if !reply.found {
        return Err(Failure::new(
            Code::NotFound,
            format!("no key {}", String::from_utf8_lossy(&key)),
        ));
    }
    if output.format.is_json() {
        let mut data = Map::new();
        bytes_fields(&mut data, "key", &key);
        bytes_fields(&mut data, "value", &reply.value);
        data.insert("rev".to_owned(), json!(reply.revision));
        if reply.freshness_unknown {
            data.insert("freshness".to_owned(), json!("unknown"));
        }
        return output.result("get", &Value::Object(data), String::new);
    }
    output.bytes(&reply.value)?;
    let to_people = output.format == Format::Table && std::io::stdout().is_terminal();
    if to_people && !reply.value.ends_with(b"\n") {
        output.bytes(b"\n")?;
    }
    Ok(())
}

/// `kv ls`.
#[derive(Debug, clap::Args)]
pub(crate) struct LsArgs {
    /// With what the keys begin; all keys when it is left out
    #[arg(default_value = "")]
    prefix: OsString,
    /// How many keys at most
    #[arg(long, value_name = "N")]
    limit: Option<u64>,
    /// Begin after this key
    #[arg(long, value_name = "KEY", default_value = "")]
    after: OsString,
    /// How much the list promises, key by key
    #[arg(long, value_enum, default_value_t)]
    consistency: Consistency,
}

pub(crate) fn ls(
    args: &LsArgs,
    session: &SessionArgs,
    common: &CommonArgs,
    output: &Output,
) -> Result<(), Failure> {
    if args.limit == Some(0) {
        return Err(Failure::usage("--limit is at least 1"));
    }
    let bounded = |bytes: &[u8], what: &str| {
        if bytes.len() > KEY_LENGTH_MAX {
            return Err(Failure::usage(format!(
                "{what} is longer than a key can be"
            )));
        }
        Ok(Bytes::copy_from_slice(bytes))
    };
    let prefix = bounded(args.prefix.as_bytes(), "the prefix")?;
    let mut after = bounded(args.after.as_bytes(), "--after")?;
    let client = client(session, common)?;
    let mut left = args.limit.unwrap_or(u64::MAX);
    let mut entries = Vec::new();
    let mut troubles = Vec::new();
    let next = block_on(async {
        loop {
            let limit = u32::try_from(left.min(u64::from(PAGE))).unwrap_or(PAGE);
            let page = client
                .list(&prefix, &after, limit, args.consistency.into())
                .await?;
            left = left.saturating_sub(page.entries.len() as u64);
            entries.extend(page.entries);
            troubles = page.troubles;
            if !page.more {
                return Ok(None);
            }
            if left == 0 {
                return Ok(entries.last().map(|entry| entry.key.clone()));
            }
            after = page.next;
        }
    })?;
    warn_of(&client, &troubles, output);
    let rows: Vec<Value> = entries
        .iter()
        .map(|entry| {
            let mut row = Map::new();
            bytes_fields(&mut row, "key", &entry.key);
            row.insert("rev".to_owned(), json!(entry.revision));
            row.insert("size".to_owned(), json!(entry.size));
            Value::Object(row)
        })
        .collect();
    if output.format == Format::Jsonl {
        for row in &rows {
            output.bytes(format!("{row}\n").as_bytes())?;
        }
        return Ok(());
    }
    if output.format == Format::Raw {
        for entry in &entries {
            output.bytes(&entry.key)?;
            output.bytes(b"\n")?;
        }
        return Ok(());
    }
    let mut data = Map::new();
    data.insert("entries".to_owned(), Value::Array(rows));
    match &next {
        Some(next) => bytes_fields(&mut data, "next", next),
        None => drop(data.insert("next".to_owned(), Value::Null)),
    }
    output.result("ls", &Value::Object(data), || {
        let lines: Vec<String> = entries
            .iter()
            .map(|entry| escaped(&String::from_utf8_lossy(&entry.key)))
            .collect();
        lines.join("\n")
    })?;
    if let Some(next) = next
        && !output.format.is_json()
    {
        output.notice(format!(
            "more: --after {}",
            escaped(&String::from_utf8_lossy(&next))
        ));
    }
    Ok(())
}
