//! `kv put`, `kv del` and `kv cas`.

use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt;
use std::time::Instant;

use bytes::Bytes;
use sealmoot_authn::cli::{Code, CommonArgs, Failure, Output, bytes_fields, escaped};
use sealmoot_crypto::passphrase;
use sealmoot_kv::client::Write;
use sealmoot_kv::proto::WriteReply;
use sealmoot_kv::register::Expectation;
use serde_json::{Map, Value, json};

use crate::keys::{key, value, value_argument};
use crate::session::{SessionArgs, block_on, client, warn_of};

/// Words of a generated value: 77 bits.
const GENERATED_WORDS: usize = 6;

/// `kv put`.
#[derive(Debug, clap::Args)]
pub(crate) struct PutArgs {
    /// The key
    key: OsString,
    /// The value: - for standard input (the default), @FILE, or the text itself,
    /// which other local users can see
    value: Option<OsString>,
    /// Make up a value of random words; it is not shown
    #[arg(long, conflicts_with = "value")]
    generate: bool,
}

pub(crate) fn put(
    args: PutArgs,
    session: &SessionArgs,
    common: &CommonArgs,
    output: &Output,
) -> Result<(), Failure> {
    let key = key(args.key.as_bytes())?;
    let value = if args.generate {
        let generated = passphrase::generate(GENERATED_WORDS).map_err(Failure::internal)?;
        value(generated.expose().to_vec())?
    } else {
        argument(args.value)?
    };
    write(
        "put",
        &key,
        Write::Put(value),
        session,
        common,
        output,
        |_| Ok(()),
    )
}

/// `kv del`.
#[derive(Debug, clap::Args)]
pub(crate) struct DelArgs {
    /// The key
    key: OsString,
}

pub(crate) fn del(
    args: &DelArgs,
    session: &SessionArgs,
    common: &CommonArgs,
    output: &Output,
) -> Result<(), Failure> {
    let key = key(args.key.as_bytes())?;
    let client = client(session, common)?;
    let reply = block_on(client.write(&key, Write::Delete))?;
    warn_of(&client, &reply.troubles, output);
    let mut data = Map::new();
    bytes_fields(&mut data, "key", &key);
    data.insert("rev".to_owned(), json!(reply.revision));
    data.insert("existed".to_owned(), json!(reply.changed));
    output.result("del", &Value::Object(data), || {
        let name = escaped(&String::from_utf8_lossy(&key));
        if reply.changed {
            format!("✓ {name} deleted  rev {}", reply.revision)
        } else {
            format!("✓ {name} did not exist")
        }
    })
}

/// `kv cas`.
#[derive(Debug, clap::Args)]
#[command(group = clap::ArgGroup::new("expected").required(true))]
pub(crate) struct CasArgs {
    /// The key
    key: OsString,
    /// The new value: -, @FILE, or the text itself
    value: OsString,
    /// Only if the key is at this revision; 0 for absent
    #[arg(long, value_name = "N", group = "expected")]
    expect_rev: Option<u64>,
    /// Only if the key has this value
    #[arg(long, value_name = "V", group = "expected")]
    expect: Option<OsString>,
    /// Only if the key does not exist
    #[arg(long, group = "expected")]
    absent: bool,
}

pub(crate) fn cas(
    args: CasArgs,
    session: &SessionArgs,
    common: &CommonArgs,
    output: &Output,
) -> Result<(), Failure> {
    let key = key(args.key.as_bytes())?;
    let expectation = match (args.expect_rev, &args.expect) {
        (Some(revision), _) if revision > 0 => Expectation::Revision(revision),
        (None, Some(current)) => Expectation::Value(value(current.as_bytes().to_vec())?),
        _ => Expectation::Absent,
    };
    let new = argument(Some(args.value))?;
    let change = Write::CompareAndSet(expectation, new);
    write("cas", &key, change, session, common, output, |reply| {
        if reply.changed {
            return Ok(());
        }
        let state = match reply.revision {
            0 => "it does not exist".to_owned(),
            revision => format!("it is at revision {revision}"),
        };
        Err(Failure::new(
            Code::Conflict,
            format!(
                "{}: {state}; nothing was changed",
                String::from_utf8_lossy(&key)
            ),
        )
        .hint("read it again: kv get KEY -o json"))
    })
}

fn write(
    kind: &str,
    key: &Bytes,
    change: Write,
    session: &SessionArgs,
    common: &CommonArgs,
    output: &Output,
    check: impl FnOnce(&WriteReply) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let client = client(session, common)?;
    let started = Instant::now();
    let reply = block_on(client.write(key, change))?;
    let milliseconds = started.elapsed().as_secs_f64() * 1000.0;
    warn_of(&client, &reply.troubles, output);
    check(&reply)?;
    let mut data = Map::new();
    bytes_fields(&mut data, "key", key);
    data.insert("rev".to_owned(), json!(reply.revision));
    data.insert("acks".to_owned(), json!(reply.acks));
    data.insert("replicas".to_owned(), json!(reply.replicas));
    output.result(kind, &Value::Object(data), || {
        format!(
            "✓ {}  rev {}  acks {}/{}  {milliseconds:.1} ms",
            escaped(&String::from_utf8_lossy(key)),
            reply.revision,
            reply.acks,
            reply.replicas
        )
    })
}

/// A value argument; one that is not UTF-8 is taken as it is.
fn argument(argument: Option<OsString>) -> Result<Bytes, Failure> {
    match argument {
        None => value_argument(None),
        Some(argument) => match argument.to_str() {
            Some(text) => value_argument(Some(text)),
            None => value(argument.as_bytes().to_vec()),
        },
    }
}
