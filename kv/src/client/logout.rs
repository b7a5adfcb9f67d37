//! Logging out: the session ends itself at the cluster.

use std::sync::Arc;
use std::time::{Duration, Instant};

use sealmoot_authn::cli::{Code, Failure, NodeOutcome, escaped};
use sealmoot_authn::ended::Ended;
use sealmoot_authn::presentation::Presentation;
use sealmoot_authn::session::proto::{EndReply, EndRequest, SessionsClient};
use sealmoot_crypto::signature::SigningKey;
use sealmoot_rpc::bytes::Bytes;
use sealmoot_rpc::{Code as StatusCode, ConnectError, Connector, Status};

use super::{CONNECT_MAX, Context, failures};
use crate::node::authorizer::SESSION_ENDED;

/// How long one node may take: it tells the others meanwhile.
const END_MAX: Duration = Duration::from_secs(5);

/// Where a session ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EndedAt {
    /// At so many nodes, durably; the others learn it from them.
    Nodes {
        /// How many hold it.
        held: u32,
        /// How many would be a quorum.
        quorum: u32,
        /// How many there are.
        nodes: u32,
    },
    /// A node says that it is over: it was before, or the answer to this end was lost.
    Already,
}

/// Why one node did not end the session.
enum NotEnded {
    /// It does not believe the session, or not any more.
    Over,
    /// It could not be asked, or refuses.
    Failed(String),
    /// Nothing but the realm's pin has to be set right.
    Final(Failure),
}

/// Ends the session of `context` at the cluster, by the word of its own key, at the first
/// node that takes it. `addresses` replace those of the context where there are any.
///
/// # Errors
/// A [`Failure`] when no node takes it; the session holds until it expires then.
pub async fn end_session(
    context: &Context,
    addresses: Vec<String>,
    timeout: Duration,
    now_ms: u64,
) -> Result<EndedAt, Failure> {
    let key = SigningKey::from_seed(&context.session_seed);
    let receipt = &context.proof.receipt;
    let record = Ended::issue(&context.realm, &key, receipt, context.key_until_ms, now_ms);
    let record = Bytes::from(record);
    let presentation = Presentation::Session {
        session: context.proof.session.clone(),
        receipt: receipt.clone(),
    };
    let pin = Arc::new(context.pin(&presentation));
    let connector = Connector::new(&key, pin, super::limits()).map_err(Failure::internal)?;
    let addresses = match addresses.is_empty() {
        true => &context.addresses,
        false => &addresses,
    };
    let deadline = Instant::now() + timeout;
    let mut outcomes = Vec::new();
    let mut over = false;
    for address in addresses {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            break;
        }
        let cause = match end_at(&connector, address, &record, left).await {
            Ok(reply) => {
                return Ok(EndedAt::Nodes {
                    held: reply.held,
                    quorum: reply.quorum,
                    nodes: reply.nodes,
                });
            }
            // One whose clock is wrong may say so too: the others are asked.
            Err(NotEnded::Over) => {
                over = true;
                continue;
            }
            Err(NotEnded::Failed(cause)) => cause,
            Err(NotEnded::Final(failure)) => return Err(failure),
        };
        outcomes.push(NodeOutcome {
            name: address.clone(),
            address: address.clone(),
            outcome: "unreachable".to_owned(),
            cause,
        });
    }
    if over {
        return Ok(EndedAt::Already);
    }
    Err(Failure::new(Code::Unreachable, "no node ended it").nodes(outcomes))
}

async fn end_at(
    connector: &Connector,
    address: &str,
    record: &Bytes,
    left: Duration,
) -> Result<EndReply, NotEnded> {
    let connected = connector.connect(address, left.min(CONNECT_MAX)).await;
    let connection = connected.map_err(|error| {
        if let Some(failure) = failures::final_connect_failure(address, &error) {
            return NotEnded::Final(failure);
        }
        match error {
            ConnectError::Refused(refusal) if refusal.details == SESSION_ENDED => NotEnded::Over,
            error => NotEnded::Failed(escaped(&error.cause())),
        }
    })?;
    let request = EndRequest {
        record: record.clone(),
    };
    let client = SessionsClient::new(connection.clone());
    let ended = client.end(request, left.min(END_MAX)).await;
    connection.close();
    ended.map_err(|status: Status| match status.code() {
        StatusCode::Unauthenticated => NotEnded::Over,
        _ => NotEnded::Failed(escaped(status.message())),
    })
}
