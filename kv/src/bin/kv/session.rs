//! From the flags and the stored context to a client.

use sealmoot_authn::cli::{Code, CommonArgs, Failure, Output, Places, now_ms};
use sealmoot_authn::context::{keep_revoked_nodes, keep_roots, known_revoked_nodes, names};
use sealmoot_kv::client::{Client, Context, ContextError};
use sealmoot_kv::proto::NodeReport;

/// Which session is used, and where.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct SessionArgs {
    /// The context to use instead of the current one; the one to make, for login
    #[arg(long, global = true, env = "SEALMOOT_CONTEXT", value_name = "NAME")]
    pub(crate) context: Option<String>,
    /// Addresses to use instead of those of the context
    #[arg(
        long,
        global = true,
        env = "SEALMOOT_ENDPOINTS",
        value_name = "HOST:PORT",
        value_delimiter = ','
    )]
    pub(crate) endpoints: Vec<String>,
}

/// The client of the chosen context.
pub(crate) fn client(args: &SessionArgs, common: &CommonArgs) -> Result<Client, Failure> {
    clients(args, common, 1).map(|mut clients| clients.remove(0))
}

/// Several clients of the chosen context, each preferring another node.
pub(crate) fn clients(
    args: &SessionArgs,
    common: &CommonArgs,
    count: usize,
) -> Result<Vec<Client>, Failure> {
    let context = load(args)?;
    let known = known_revoked_nodes(&Places::find()?.config, &context.realm);
    let endpoints = addresses(&args.endpoints)?;
    let nodes = if endpoints.is_empty() {
        context.addresses.len()
    } else {
        endpoints.len()
    };
    (0..count)
        .map(|index| {
            let client = Client::new(&context, endpoints.clone(), common.timeout, now_ms)?;
            let client = client.preferring(index % nodes.max(1));
            Ok(client.knowing(known.clone()))
        })
        .collect()
}

fn load(args: &SessionArgs) -> Result<Context, Failure> {
    let places = Places::find()?;
    let (_, context) =
        Context::load(&places.config, args.context.as_deref()).map_err(context_failure)?;
    if context.proof.expires_ms <= now_ms() {
        return Err(
            Failure::new(Code::Unauthenticated, "the session has expired")
                .hint("log in again: kv login USER@HOST:PORT"),
        );
    }
    Ok(context)
}

/// Addresses with the default port where none is given.
pub(crate) fn addresses(given: &[String]) -> Result<Vec<String>, Failure> {
    given.iter().map(|address| full_address(address)).collect()
}

/// `host:port`, the port 7401 where none is given.
pub(crate) fn full_address(address: &str) -> Result<String, Failure> {
    let with_port = if address
        .rsplit_once(':')
        .is_some_and(|(host, _)| !host.is_empty())
    {
        address.to_owned()
    } else {
        format!("{address}:7401")
    };
    sealmoot_authn::statement::check_address(&with_port)
        .map_err(|_| Failure::usage(format!("{address:?} is not HOST:PORT")))?;
    Ok(with_port)
}

/// Why a context could not be used.
pub(crate) fn context_failure(error: ContextError) -> Failure {
    match error {
        ContextError::None => no_current(&error),
        ContextError::NoSuch(_) => Failure::new(Code::NotFound, &error)
            .hint("kv context list names them; kv login makes one"),
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

/// There is no current context: perhaps one was deleted, and others are left.
fn no_current(error: &ContextError) -> Failure {
    let left = Places::find().and_then(|places| names(&places.config).map_err(context_failure));
    match left.unwrap_or_default().as_slice() {
        [] => Failure::new(Code::NotInitialised, error)
            .hint("log in first: kv login USER@HOST:PORT --realm ID"),
        left => Failure::new(Code::NotInitialised, "no current context").hint(format!(
            "kv context use NAME, or --context NAME; there are {}",
            left.join(", ")
        )),
    }
}

/// Runs a command's work in a runtime of its own.
pub(crate) fn block_on<R>(work: impl Future<Output = Result<R, Failure>>) -> Result<R, Failure> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(Failure::internal)?
        .block_on(async {
            tokio::select! {
                outcome = work => outcome,
                _ = tokio::signal::ctrl_c() => {
                    Err(Failure::new(Code::Interrupted, "interrupted"))
                }
            }
        })
}

/// Keeps what the client learnt of nodes that are believed no more, for the next commands.
fn remember(client: &Client, output: &Output) {
    if let Some(roots) = client.roots() {
        let kept = Places::find()
            .and_then(|places| keep_roots(&places.config, &roots).map_err(context_failure));
        if let Err(failure) = kept {
            output.warning(format!(
                "which roots the realm has is not kept: {}",
                failure.message
            ));
        }
    }
    let Some(record) = client.revoked_nodes() else {
        return;
    };
    let kept = Places::find().and_then(|places| {
        keep_revoked_nodes(&places.config, &client.realm(), &record).map_err(context_failure)
    });
    if let Err(failure) = kept {
        output.warning(format!(
            "which nodes were revoked is not kept: {}",
            failure.message
        ));
    }
}

/// Warns of nodes that could not be reached although the request succeeded.
pub(crate) fn warn_of(client: &Client, reported: &[NodeReport], output: &Output) {
    remember(client, output);
    let (troubles, nodes) = (client.troubles(reported), client.nodes());
    for trouble in client.own_troubles(reported) {
        output.warning(format!(
            "could not connect to {} ({}); another node answered",
            trouble.name, trouble.cause
        ));
    }
    for trouble in &troubles {
        output.warning(format!(
            "{} unreachable ({}); quorum {}/{nodes}",
            trouble.name,
            trouble.cause,
            nodes.saturating_sub(troubles.len()),
        ));
    }
}
