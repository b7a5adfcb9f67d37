//! `kv namespace`.

use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt;

use bytes::Bytes;
use sealmoot_authn::cli::{Code, CommonArgs, Failure, Output, bytes_fields, escaped};
use sealmoot_kv::client::Write;
use sealmoot_kv::namespace::is_name;
use sealmoot_kv::proto::Namespace;
use sealmoot_kv::quorum::Quorums;
use serde_json::{Map, Value, json};

use crate::session::{SessionArgs, block_on, client, warn_of};

/// Most namespaces asked for in one request.
const PAGE: u32 = 100;

/// `kv namespace`.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum NamespaceCommand {
    /// Give a namespace settings of its own, before its first write
    Create(CreateArgs),
    /// List namespaces that have settings
    List,
    /// Show the settings of a namespace
    Show {
        /// Its name: what stands before the first / of its keys
        name: OsString,
    },
}

/// `kv namespace create`.
#[derive(Debug, clap::Args)]
pub(crate) struct CreateArgs {
    /// Its name: what stands before the first / of its keys
    name: OsString,
    /// How many nodes hold a key (N): as many as there are, for now
    #[arg(long, value_name = "N")]
    replicas: u32,
    /// How many of them must hold a write before it is acknowledged
    #[arg(long, value_name = "W")]
    write: u32,
    /// How many answer a quorum read; W + R is above N
    #[arg(long, value_name = "R")]
    read: u32,
}

pub(crate) fn run(
    command: &NamespaceCommand,
    session: &SessionArgs,
    common: &CommonArgs,
    output: &Output,
) -> Result<(), Failure> {
    match command {
        NamespaceCommand::Create(args) => create(args, session, common, output),
        NamespaceCommand::List => list(session, common, output),
        NamespaceCommand::Show { name } => show(name, session, common, output),
    }
}

fn create(
    args: &CreateArgs,
    session: &SessionArgs,
    common: &CommonArgs,
    output: &Output,
) -> Result<(), Failure> {
    let name = checked_name(&args.name)?;
    let (replicas, write, read) = (args.replicas, args.write, args.read);
    Quorums::new(replicas as usize, write as usize, read as usize)
        .map_err(|error| Failure::usage(error.to_string()))?;
    let client = client(session, common)?;
    let change = Write::CreateNamespace {
        replicas,
        write,
        read,
    };
    let reply = block_on(client.write(&name, change))?;
    warn_of(&client, &reply.troubles, output);
    let shown = escaped(&String::from_utf8_lossy(&name));
    if !reply.changed {
        return Err(Failure::new(
            Code::Exists,
            format!(
                "{shown}: its settings were settled before, by its creation or its first write"
            ),
        )
        .hint(format!("see kv namespace show {shown}; they never change")));
    }
    let created = Namespace {
        name,
        replicas,
        write,
        read,
    };
    output.result("namespace", &row(&created), || {
        format!("✓ {}", line(&created))
    })
}

fn list(session: &SessionArgs, common: &CommonArgs, output: &Output) -> Result<(), Failure> {
    let client = client(session, common)?;
    let mut after = Bytes::new();
    let mut troubles = Vec::new();
    let mut found = Vec::new();
    block_on(async {
        loop {
            let page = client.list_namespaces(&after, PAGE).await?;
            found.extend(page.namespaces);
            troubles = page.troubles;
            if page.next.is_empty() {
                return Ok(());
            }
            after = page.next;
        }
    })?;
    warn_of(&client, &troubles, output);
    let rows = Value::Array(found.iter().map(row).collect());
    output.result("namespaces", &rows, || {
        let lines: Vec<String> = found.iter().map(line).collect();
        lines.join("\n")
    })
}

fn show(
    name: &OsString,
    session: &SessionArgs,
    common: &CommonArgs,
    output: &Output,
) -> Result<(), Failure> {
    let name = checked_name(name)?;
    let client = client(session, common)?;
    let reply = block_on(client.show_namespace(&name))?;
    warn_of(&client, &reply.troubles, output);
    let namespace = reply.namespace.unwrap_or_default();
    if !reply.settled {
        let shown = escaped(&String::from_utf8_lossy(&name));
        return Err(Failure::new(
            Code::NotFound,
            format!("nobody created namespace {shown}, and nothing was written below it"),
        )
        .hint(format!(
            "its first write gives it the default: N {} W {} R {}",
            namespace.replicas, namespace.write, namespace.read
        )));
    }
    output.result("namespace", &row(&namespace), || line(&namespace))
}

fn checked_name(name: &OsString) -> Result<Bytes, Failure> {
    if !is_name(name.as_bytes()) {
        return Err(Failure::usage(
            "a namespace has 1 to 255 bytes without /, and is not system",
        ));
    }
    Ok(Bytes::copy_from_slice(name.as_bytes()))
}

fn row(namespace: &Namespace) -> Value {
    let mut row = Map::new();
    bytes_fields(&mut row, "name", &namespace.name);
    row.insert("replicas".to_owned(), json!(namespace.replicas));
    row.insert("write".to_owned(), json!(namespace.write));
    row.insert("read".to_owned(), json!(namespace.read));
    Value::Object(row)
}

fn line(namespace: &Namespace) -> String {
    format!(
        "{}  N {}  W {}  R {}",
        escaped(&String::from_utf8_lossy(&namespace.name)),
        namespace.replicas,
        namespace.write,
        namespace.read
    )
}
