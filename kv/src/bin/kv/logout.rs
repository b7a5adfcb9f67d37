//! `kv logout`.

use sealmoot_authn::cli::{Code, CommonArgs, Failure, Output, Places, now_ms, rfc3339};
use sealmoot_crypto::signature::SigningKey;
use sealmoot_kv::client::{Context, ContextError, EndedAt, end_session};
use serde_json::json;

use crate::session::{SessionArgs, addresses, block_on, context_failure};

/// `kv logout`.
#[derive(Debug, clap::Args)]
#[command(
    after_long_help = "The session ends at the nodes, so that a copy of its key, from a \
backup for
example, is of no use. Other sessions of the user go on. When no node can be told, the
context is deleted all the same, and the command fails: the session holds at the cluster
until it expires, or until an administrator revokes it."
)]
pub(crate) struct LogoutArgs {
    /// Delete the context only; tell no node
    #[arg(long)]
    local: bool,
}

/// What became of the session at the cluster.
enum Outcome {
    /// Nobody was asked, or there was nothing to end.
    NotAsked,
    /// It is over there.
    Ended(EndedAt),
    /// It may hold until it expires.
    Holds(Failure),
}

pub(crate) fn logout(
    args: &LogoutArgs,
    session: &SessionArgs,
    common: &CommonArgs,
    output: &Output,
) -> Result<(), Failure> {
    let places = Places::find()?;
    let endpoints = addresses(&session.endpoints)?;
    let loaded = match Context::load(&places.config, session.context.as_deref()) {
        Ok((_, context)) => Some(context),
        // It goes, whatever it was; there is no key in it to end a session with.
        Err(ContextError::Damaged { .. }) => None,
        Err(error) => return Err(context_failure(error)),
    };
    let now_ms = now_ms();
    let live = loaded.filter(|context| context.proof.expires_ms > now_ms);
    let outcome = match &live {
        Some(context) if !args.local => {
            // An interrupted command leaves the context: its key is needed to try again.
            let ended = block_on(async {
                let ended = end_session(context, endpoints, common.timeout, now_ms);
                Ok(ended.await)
            })?;
            match ended {
                Ok(ended) => Outcome::Ended(ended),
                Err(failure) => Outcome::Holds(failure),
            }
        }
        _ => Outcome::NotAsked,
    };
    let name =
        Context::delete(&places.config, session.context.as_deref()).map_err(context_failure)?;
    // The context is gone by now: what is said of the session must not depend on it.
    match outcome {
        Outcome::NotAsked => {
            if let Some(context) = &live {
                output.warning(still_valid(context));
            }
            deleted(&name, None, output)
        }
        Outcome::Ended(ended) => {
            if let EndedAt::Nodes {
                held,
                quorum,
                nodes,
            } = ended
                && held < quorum
            {
                return Err(Failure::new(
                    Code::NoQuorum,
                    format!(
                        "context {name} deleted; its session ended at {held} of {nodes} nodes, \
                         {quorum} needed"
                    ),
                )
                .hint("the others learn it when they reach a node that knows; kv help no_quorum"));
            }
            deleted(&name, Some(ended), output)
        }
        Outcome::Holds(failure) => {
            let id = live.as_ref().map(session_id).unwrap_or_default();
            let until = live.map_or(0, |context| context.proof.expires_ms);
            let message = format!(
                "context {name} deleted, but its session holds at the cluster until {}: {}",
                rfc3339(until),
                failure.message
            );
            Err(Failure::new(failure.code, message)
                .hint(format!(
                    "an administrator ends it with: authctl session revoke {id}"
                ))
                .nodes(failure.nodes))
        }
    }
}

fn deleted(name: &str, ended: Option<EndedAt>, output: &Output) -> Result<(), Failure> {
    let held = match ended {
        Some(EndedAt::Nodes { held, .. }) => Some(held),
        Some(EndedAt::Already) | None => None,
    };
    let data = json!({"context": name, "ended": ended.is_some(), "nodes": held});
    output.result("logout", &data, || match ended {
        Some(EndedAt::Nodes { held, nodes, .. }) => {
            format!("✓ context {name} deleted, its session ended at {held} of {nodes} nodes")
        }
        Some(EndedAt::Already) => format!("✓ context {name} deleted, its session was over"),
        None => format!("✓ context {name} deleted, its key with it"),
    })
}

fn still_valid(context: &Context) -> String {
    format!(
        "the session holds at the cluster until {}; authctl session revoke {} ends it",
        rfc3339(context.proof.expires_ms),
        session_id(context)
    )
}

fn session_id(context: &Context) -> String {
    let key = SigningKey::from_seed(&context.session_seed);
    key.verifying_key().key_id().to_string()
}
