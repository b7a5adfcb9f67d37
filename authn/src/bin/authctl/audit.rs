//! `authctl audit`.

mod export;
mod tail;
mod verify;

use std::future::Future;
use std::path::PathBuf;

use clap::{Args, Subcommand};
use sealmoot_authn::audit::client::{AuditClientError, AuditNode, connector};
use sealmoot_authn::audit::local;
use sealmoot_authn::cli::{Code, Failure, NodeOutcome, PassphraseArgs};
use sealmoot_authn::context::{self, ContextError};
use sealmoot_authn::name::Name;
use sealmoot_rpc::Code as StatusCode;

use crate::Context;
use crate::realm::select;

/// What the words in the column EVENT mean. A test compares them with those that are
/// written.
const GLOSSARY: &str = "Events:
  login             somebody logged in; refused: a wrong password or key, no such user
  login_abandoned   a login ended without a proof and without a word: a client that
                    guesses and goes away, or a connection that broke
  code              a code of a second factor; refused: a wrong one, or one used before
  session           refused: a session was shown that has ended, or holds no longer
                    because its user was disabled, deleted or changed
  permission        refused: a user may not do that to the key
  session_ended     a user logged out: the session ended by its own word
  user_added        user_password    user_enabled     user_disabled    user_deleted
  user_changed      user_keys        user_unlocked    users_imported   roles_changed
                    what an administrator did; the detail says what changed: roles and
                    keys that came have a plus, those that went a minus
  second_factor_enrolled
  second_factor_removed
                    likewise, of a user's second factor
  sessions_revoked  sessions were ended before their time
  root_handed_over  another key speaks for the realm as its root
  old_root_refused  something new under a former root: a delegate has not accepted its
                    new delegation yet (authctl admin accept), or somebody has that
                    root's key
  nodes_revoked     nodes were revoked: their keys are believed no more
  password_registered
                    the node answered a step of a delegate's setting of a password
  session_cut       connections were closed because their session was over
  sessions_read     somebody asked which sessions there are
  revocations_changed
                    delegations were revoked, or older versions of them; by the serials
                    that `authctl admin list -o json` shows
  node_enrolled     the node answered its invite: its log begins
  cluster_formed    all invited nodes have come
  node_started      node_stopped
  invite_refused    another machine came with an invite that was used: it was copied
  witness_alarm     another node's audit log was cut, forked or replaced
  audit_read        somebody read this log
  events_lost       the disk was full, and events that nobody waited for are not here
  realm_created     realm_backed_up  realm_restored   nodes_invited    nodes_forgotten
  delegation_issued      delegation_revoked    delegation_accepted
  users_adopted          records_learnt
                    done on the administrator's machine; shown with --local

A name that no user has is shown as a keyed hash only: people type their password there.";

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Show what happened on the nodes
    ///
    /// Asks the nodes with the session of `kv login`; the user has to administer
    /// everything (role admin). Events are shown as the nodes tell them: `authctl audit
    /// verify` says whether they are to be believed.
    #[command(after_long_help = GLOSSARY)]
    Tail(TailArgs),
    /// Verify that no audit log was changed, cut or begun anew
    ///
    /// Checks every link with the first keys, which only the realm's passphrase opens,
    /// and compares each node's log with what the other nodes remember of it.
    Verify(VerifyArgs),
    /// Write all events to a file, one JSON object a line
    Export(ExportArgs),
}

#[derive(Args)]
pub(crate) struct SourceArgs {
    /// The login context to use instead of the current one
    #[arg(long, env = "SEALMOOT_CONTEXT", value_name = "NAME")]
    context: Option<String>,
    /// Only this node
    #[arg(long, value_name = "NAME")]
    node: Option<Name>,
    /// Also what was done here to the realm's directory; then nobody need be logged in
    #[arg(long)]
    local: bool,
}

#[derive(Args)]
pub(crate) struct TailArgs {
    #[command(flatten)]
    source: SourceArgs,
    /// Go on with what happens
    #[arg(long, short)]
    follow: bool,
    /// How many of the newest events of each log
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u64).range(1..))]
    limit: u64,
}

#[derive(Args)]
pub(crate) struct VerifyArgs {
    #[command(flatten)]
    source: SourceArgs,
    #[command(flatten)]
    passphrase: PassphraseArgs,
}

#[derive(Args)]
pub(crate) struct ExportArgs {
    /// Where to; must not exist
    file: PathBuf,
    #[command(flatten)]
    source: SourceArgs,
}

pub(crate) fn run(command: Command, context: &Context<'_>) -> Result<(), Failure> {
    match command {
        Command::Tail(args) => tail::run(&args, context),
        Command::Verify(args) => verify::run(&args, context),
        Command::Export(args) => export::run(&args, context),
    }
}

/// The nodes that were reached, and those that were not.
struct Nodes {
    reached: Vec<AuditNode>,
    missing: Vec<NodeOutcome>,
}

/// Connects to the nodes of the login context; to none when there is no context and
/// `--local` was given.
async fn nodes(args: &SourceArgs, context: &Context<'_>) -> Result<Nodes, Failure> {
    let mut nodes = Nodes {
        reached: Vec::new(),
        missing: Vec::new(),
    };
    let session = match context::Context::load(&context.places.config, args.context.as_deref()) {
        Err(ContextError::None) if args.local => return Ok(nodes),
        session => session.map_err(context_failure)?.1,
    };
    let connector = connector(&session).map_err(Failure::internal)?;
    let timeout = context.common.timeout;
    let attempts: Vec<_> = session
        .addresses
        .iter()
        .cloned()
        .map(|address| {
            let connector = connector.clone();
            tokio::spawn(async move {
                let connected = AuditNode::connect(&connector, &address, timeout).await;
                (address, connected)
            })
        })
        .collect();
    for attempt in attempts {
        let (address, connected) = attempt.await.map_err(Failure::internal)?;
        match connected {
            Ok(node) => nodes.reached.push(node),
            Err(error) => nodes.missing.push(NodeOutcome {
                name: address.clone(),
                address,
                outcome: "unreachable".to_owned(),
                cause: error.to_string(),
            }),
        }
    }
    // Names of those that were not reached are known to those that were.
    if let Some(node) = nodes.reached.first() {
        for missing in &mut nodes.missing {
            let mut members = node.members.iter();
            if let Some(member) = members.find(|member| member.address == missing.address) {
                missing.name = member.name.to_string();
            }
        }
    }
    if let Some(wanted) = &args.node {
        let known = nodes
            .reached
            .first()
            .is_none_or(|node| node.members.iter().any(|member| member.name == *wanted));
        if !known {
            return Err(
                Failure::new(Code::NotFound, format!("no node {wanted} in the cluster"))
                    .hint("kv cluster status lists them"),
            );
        }
    }
    let chosen = |node: &&AuditNode| args.node.as_ref().is_none_or(|n| node.member.name == *n);
    if !nodes.reached.iter().any(|node| chosen(&node)) {
        return Err(
            Failure::new(Code::Unreachable, "no node that was asked for answered")
                .hint("log in again if the session has ended (kv login), or start the nodes")
                .nodes(nodes.missing),
        );
    }
    Ok(nodes)
}

impl SourceArgs {
    fn wants(&self, node: &AuditNode) -> bool {
        self.node
            .as_ref()
            .is_none_or(|wanted| node.member.name == *wanted)
    }
}

/// What the administrator did here, if it was asked for.
fn local_entries(
    args: &SourceArgs,
    context: &Context<'_>,
) -> Result<Option<Vec<sealmoot_authn::audit::Entry>>, Failure> {
    if !args.local {
        return Ok(None);
    }
    let realm = select(context)?;
    Ok(Some(local::read(realm.directory()).map_err(local_failure)?))
}

fn local_failure(error: local::LocalAuditError) -> Failure {
    sealmoot_authn::realm::RealmError::Audit(error).into()
}

fn node_failure(node: &AuditNode, error: AuditClientError) -> Failure {
    let (name, address) = (&node.member.name, &node.member.address);
    let message = format!("{name}={address}: {error}");
    let AuditClientError::Status(status) = error else {
        return Failure::new(Code::Integrity, message).hint("the node may be compromised");
    };
    match status.code() {
        StatusCode::Unauthenticated => Failure::new(Code::Unauthenticated, message)
            .hint("log in again: kv login USER@HOST:PORT"),
        StatusCode::PermissionDenied => Failure::new(Code::PermissionDenied, message)
            .hint("log in as a user with the role admin"),
        StatusCode::DataLoss => Failure::new(Code::Integrity, message)
            .hint(format!("stop {name} and run: kvd verify DIR")),
        StatusCode::DeadlineExceeded => Failure::new(Code::Timeout, message),
        StatusCode::ResourceExhausted => Failure::new(Code::Busy, message).hint("try again"),
        _ => Failure::new(Code::Unreachable, message).hint("try again, or ask the others"),
    }
}

pub(crate) fn context_failure(error: ContextError) -> Failure {
    match error {
        ContextError::None => Failure::new(Code::NotInitialised, &error)
            .hint("log in first: kv login USER@HOST:PORT --realm ID; or use --local"),
        ContextError::NoSuch(_) => {
            Failure::new(Code::NotFound, &error).hint("kv login makes a context")
        }
        ContextError::BadName(_) => Failure::usage(&error),
        ContextError::Damaged { .. } => {
            Failure::new(Code::Config, &error).hint("log in again to replace it")
        }
        ContextError::DamagedRoots { .. } => Failure::new(Code::Integrity, &error)
            .hint("put it back from a copy; or remove it, and believe what the next node shows"),
        ContextError::Roots(_) => Failure::new(Code::Integrity, &error)
            .hint("somebody has a root key and its heir: ask who administers the realm"),
        ContextError::File(error) => error.into(),
    }
}

/// Runs a command's work in a runtime of its own.
pub(crate) fn block_on<R>(work: impl Future<Output = Result<R, Failure>>) -> Result<R, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(Failure::internal)?;
    let outcome = runtime.block_on(work);
    // A name that is still being resolved must not hold the command up.
    runtime.shutdown_background();
    outcome
}

#[cfg(test)]
mod tests {
    use super::*;
    use sealmoot_authn::audit::What;

    #[test]
    fn every_event_is_in_the_glossary() {
        let words: Vec<&str> = GLOSSARY.split_whitespace().collect();
        for name in What::names() {
            assert!(words.contains(&name), "{name}");
        }
    }
}
