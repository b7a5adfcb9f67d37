//! `kvd stop` and `kvd status`: speaking to a node from the outside.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use sealmoot_authn::cli::{Code, CommonArgs, Failure, Output, Places};
use sealmoot_authn::files;
use sealmoot_kv::node::authorizer::{TowardsPeers, Trust};
use sealmoot_kv::node::identity::Identity;
use sealmoot_kv::node::{self, OpenFailure};
use sealmoot_kv::proto::{ReplicaClient, StatusReply, StatusRequest};
use sealmoot_rpc::{Connector, Limits};
use serde_json::json;

use crate::{KeyArgs, failures};

/// A data directory.
#[derive(Debug, clap::Args)]
pub(crate) struct DataArgs {
    /// The node's data directory
    #[arg(long, value_name = "DIR")]
    data: PathBuf,
}

/// `kvd status`.
#[derive(Debug, clap::Args)]
pub(crate) struct StatusArgs {
    /// The node's data directory
    #[arg(long, value_name = "DIR")]
    data: PathBuf,
    #[command(flatten)]
    key: KeyArgs,
}

pub(crate) fn stop(args: &DataArgs, common: &CommonArgs, output: &Output) -> Result<(), Failure> {
    if !args.data.join(node::IDENTITY_FILE).exists() {
        return Err(failures::open(OpenFailure::NotInitialised(
            args.data.clone(),
        )));
    }
    let Some(pid) = running(&args.data)? else {
        return Err(Failure::new(
            Code::WrongState,
            format!("no node runs on {}", args.data.display()),
        )
        .hint("it is stopped already; kvd start --data DIR runs it"));
    };
    kill_process(pid, Signal::TERM)
        .map_err(|error| Failure::internal(format!("cannot signal process {pid:?}: {error}")))?;
    let deadline = Instant::now() + common.timeout;
    // Not by the number of its process, which is taken away before the lock.
    while files::try_lock(&args.data.join("lock"))?.is_none() {
        if Instant::now() >= deadline {
            return Err(Failure::new(
                Code::Timeout,
                "the node has not stopped yet; it goes on draining",
            ));
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    output.notice(format!("✓ {} stopped", args.data.display()));
    Ok(())
}

pub(crate) fn status(
    args: &StatusArgs,
    common: &CommonArgs,
    output: &Output,
) -> Result<(), Failure> {
    let places = Places::find()?;
    let key_file = args.key.key_file.as_deref();
    let identity =
        node::reads_identity(&args.data, key_file, &places.config).map_err(failures::open)?;
    let name = identity.member().name.to_string();
    let address = identity.member().address.clone();
    let incarnation = identity.incarnation;
    let pid = running(&args.data)?;
    let (state, counter, root) = match pid {
        Some(_) => match ask(identity, common.timeout.min(Duration::from_secs(3))) {
            Ok(reply) if !reply.formed => ("joining", Some(reply.counter), None),
            Ok(reply) if reply.quorum => ("up", Some(reply.counter), Some(reply.root)),
            Ok(reply) => ("no_quorum", Some(reply.counter), Some(reply.root)),
            Err(cause) => {
                output.warning(format!("the node runs and does not answer: {cause}"));
                ("silent", None, None)
            }
        },
        None => {
            let found =
                node::verify(&args.data, key_file, &places.config).map_err(failures::open)?;
            let state = if found.damaged.is_empty() {
                "stopped"
            } else {
                "damaged"
            };
            (state, Some(found.records), None)
        }
    };
    let pid = pid.map(|pid| pid.as_raw_nonzero().get());
    let data = json!({
        "name": name, "pid": pid, "addr": address, "state": state,
        "incarnation": incarnation, "counter": counter, "root": root,
    });
    output.result("status", &data, || {
        let pid = pid.map_or_else(|| "–".to_owned(), |pid| pid.to_string());
        let counter = counter.map_or_else(|| "–".to_owned(), |counter| counter.to_string());
        let root = root.as_deref().map_or("–", |root| &root[..16]);
        format!("{name}  {state}  {address}  pid {pid}  records {counter}  root {root}")
    })
}

/// The process that holds the directory, if one does.
pub(crate) fn running(data: &Path) -> Result<Option<Pid>, Failure> {
    if !data.join("lock").exists() || files::try_lock(&data.join("lock"))?.is_some() {
        return Ok(None);
    }
    let text = match files::read(&data.join(node::PID_FILE), 32) {
        Ok(bytes) => String::from_utf8_lossy(&bytes).trim().to_owned(),
        // It has just started, or is just ending.
        Err(_) => String::new(),
    };
    text.parse::<i32>()
        .ok()
        .and_then(Pid::from_raw)
        .map(Some)
        .ok_or_else(|| {
            Failure::new(
                Code::WrongState,
                format!(
                    "{} is in use by a process that is starting or verifying",
                    data.display()
                ),
            )
        })
}

/// Asks the node how it is, with the node's own key.
fn ask(identity: Identity, timeout: Duration) -> Result<StatusReply, String> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| error.to_string())?;
    let address = identity.member().address.clone();
    let trust = Arc::new(Trust::of_candidate(identity));
    let connector = Connector::new(
        &trust.identity.key,
        Arc::new(TowardsPeers(Arc::clone(&trust))),
        Limits::default(),
    )
    .map_err(|error| error.to_string())?;
    runtime.block_on(async {
        let connection = connector
            .connect(&address, timeout)
            .await
            .map_err(|error| error.cause())?;
        ReplicaClient::new(connection)
            .status(StatusRequest {}, timeout)
            .await
            .map_err(|status| status.message().to_owned())
    })
}
