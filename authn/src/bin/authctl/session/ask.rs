//! Asking the nodes which sessions there are.

use sealmoot_authn::audit::client::connector;
use sealmoot_authn::cli::{Code, Failure, NodeOutcome};
use sealmoot_authn::context;
use sealmoot_authn::name::Name;
use sealmoot_authn::session::client::{SeenSessions, SessionsError, fetch};
use sealmoot_rpc::Code as StatusCode;

use crate::Context;
use crate::audit::{block_on, context_failure};

/// The sessions of `user`, or all, as the nodes of the login context tell of them; a
/// node that does not answer is a warning while another does.
pub(super) fn sessions(
    user: Option<&Name>,
    named: Option<&str>,
    context: &Context<'_>,
) -> Result<SeenSessions, Failure> {
    let (_, session) =
        context::Context::load(&context.places.config, named).map_err(context_failure)?;
    let connector = connector(&session).map_err(Failure::internal)?;
    let timeout = context.common.timeout;
    block_on(async {
        let asked: Vec<_> = session
            .addresses
            .iter()
            .cloned()
            .map(|address| {
                let (connector, user, at) = (connector.clone(), user.cloned(), address.clone());
                let asked = async move { fetch(&connector, &at, user.as_ref(), timeout).await };
                (address, tokio::spawn(asked))
            })
            .collect();
        let mut seen = SeenSessions::default();
        let mut missing = Vec::new();
        let mut refused = None;
        for (address, asked) in asked {
            let told = asked.await.map_err(Failure::internal)?;
            let added = told.and_then(|(node, sessions)| {
                for session in sessions {
                    seen.add(&node.member.name, session)?;
                }
                Ok(())
            });
            let Err(error) = added else {
                continue;
            };
            missing.push(NodeOutcome {
                name: address.clone(),
                address,
                outcome: "unreachable".to_owned(),
                cause: error.to_string(),
            });
            refused = refused.or_else(|| refusal(&error));
        }
        if missing.len() == session.addresses.len() {
            let failure = refused.unwrap_or_else(|| {
                Failure::new(Code::Unreachable, "no node answered")
                    .hint("start the nodes, or log in again: kv login USER@HOST:PORT")
            });
            return Err(failure.nodes(missing));
        }
        for node in missing {
            let (address, cause) = (node.address, node.cause);
            context
                .output
                .warning(format!("{address} was not asked ({cause})"));
        }
        Ok(seen)
    })
}

/// What no other node will see otherwise.
fn refusal(error: &SessionsError) -> Option<Failure> {
    let code = match error {
        SessionsError::Status(status) => status.code(),
        SessionsError::Connect(sealmoot_rpc::ConnectError::Refused(refusal)) => refusal.code,
        _ => return None,
    };
    match code {
        StatusCode::PermissionDenied => Some(
            Failure::new(Code::PermissionDenied, error)
                .hint("log in as a user with the role admin, or list your own: session list USER"),
        ),
        StatusCode::Unauthenticated => Some(
            Failure::new(Code::Unauthenticated, error)
                .hint("log in again: kv login USER@HOST:PORT"),
        ),
        _ => None,
    }
}
