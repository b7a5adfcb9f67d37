//! What a status means to a client: the end, another try, or another node.

use prost::Message;
use sealmoot_authn::cli::{Code, Failure, NodeOutcome, escaped};
use sealmoot_authn::pin::WRONG_REALM;
use sealmoot_rpc::{Code as StatusCode, ConnectError, Execution, Status};

use crate::proto::compare_and_set_request::Expected;
use crate::proto::failure_details::Kind;
use crate::proto::{FailureDetails, NodeReport};
use crate::register::Expectation;

/// What to do about a status.
pub(super) enum Verdict {
    /// Nothing will change it.
    Final(Failure),
    /// Later it may go better, at the same node.
    Retry(Failure),
    /// Another node may do better.
    ElseWhere(Failure),
    /// This node does not believe the session. Its clock or its records may be the
    /// ones that are wrong: it is the end only when all others refuse too.
    Refused(Failure),
}

/// The details of a status; empty ones where there are none.
pub(super) fn details_of(status: &Status) -> FailureDetails {
    FailureDetails::decode(status.details().clone()).unwrap_or_default()
}

pub(super) fn judge_status(status: &Status, maybe_executed: bool) -> Verdict {
    let details = details_of(status);
    let nodes: Vec<NodeOutcome> = details.nodes.iter().map(outcome_of).collect();
    let message = escaped(status.message());
    match details.kind() {
        Kind::NoQuorum => {
            let total = details.nodes.len();
            let down = nodes.iter().find(|node| node.outcome != "ok");
            let down = down.map_or_else(|| "DIR".to_owned(), |node| format!("./{}", node.name));
            // The node may be the one that is cut off.
            Verdict::ElseWhere(
                Failure::new(
                    Code::NoQuorum,
                    format!(
                        "{} of {total} nodes answered, {} needed",
                        details.answered, details.needed
                    ),
                )
                .hint(format!(
                    "start one of them (kvd start --data {down}); kv help no_quorum"
                ))
                .nodes(nodes),
            )
        }
        Kind::TimedOut => Verdict::Retry(
            Failure::new(Code::Timeout, message)
                .hint("give more time with --timeout")
                .nodes(nodes),
        ),
        Kind::DeadlinePassed if maybe_executed => Verdict::Final(unknown(&message, nodes)),
        Kind::DeadlinePassed => Verdict::Retry(Failure::new(Code::Timeout, message).nodes(nodes)),
        Kind::Busy => Verdict::Retry(Failure::new(Code::Busy, message).nodes(nodes)),
        Kind::OutcomeUnknown => Verdict::Retry(unknown(&message, nodes)),
        Kind::OutcomeLost => Verdict::Final(unknown(&message, nodes)),
        Kind::SessionEnded => Verdict::Refused(session_ended()),
        Kind::NotFormed => Verdict::ElseWhere(Failure::new(Code::NotInitialised, message)),
        Kind::Unconfirmed => Verdict::ElseWhere(
            Failure::new(Code::NoQuorum, message)
                .hint("start the other nodes, or mend the network between them")
                .nodes(nodes),
        ),
        Kind::Draining => Verdict::ElseWhere(Failure::new(Code::Draining, message)),
        Kind::Unspecified => judge_plain(status, message),
    }
}

fn judge_plain(status: &Status, message: String) -> Verdict {
    match status.code() {
        StatusCode::PermissionDenied => Verdict::Final(
            Failure::new(Code::PermissionDenied, message)
                .hint("ask an administrator of the realm for the right; kv help permission_denied"),
        ),
        StatusCode::InvalidArgument => Verdict::Final(Failure::usage(message)),
        StatusCode::Unauthenticated => Verdict::Refused(session_ended()),
        StatusCode::ResourceExhausted => Verdict::Retry(Failure::new(Code::Busy, message)),
        StatusCode::Unimplemented => Verdict::Final(Failure::new(
            Code::WrongState,
            format!("the node does not know this request: {message}"),
        )),
        StatusCode::DeadlineExceeded => Verdict::ElseWhere(
            Failure::new(Code::Timeout, message).hint("give more time with --timeout"),
        ),
        StatusCode::Unavailable | StatusCode::Cancelled => {
            Verdict::ElseWhere(Failure::new(Code::Unreachable, message))
        }
        _ if status.execution() == Execution::Executed => {
            Verdict::Final(Failure::internal(message))
        }
        _ => Verdict::ElseWhere(Failure::internal(message)),
    }
}

fn unknown(message: &str, nodes: Vec<NodeOutcome>) -> Failure {
    Failure::new(
        Code::OutcomeUnknown,
        format!("it may have happened: {message}"),
    )
    .hint("read the key before you decide; kv help outcome_unknown")
    .nodes(nodes)
}

fn session_ended() -> Failure {
    Failure::new(
        Code::Unauthenticated,
        "the session ended, or its user was disabled or changed",
    )
    .hint("log in again: kv login USER@HOST:PORT")
}

/// A connection failure that no other node will mend.
pub(super) fn final_connect_failure(address: &str, error: &ConnectError) -> Option<Failure> {
    match error {
        ConnectError::Untrusted(refusal) if refusal.details == WRONG_REALM => Some(
            Failure::new(Code::WrongRealm, format!("{address}: {}", refusal.message)).hint(
                "compare the id with an administrator's `authctl realm show`, and name it with \
                     --realm; kv help wrong_realm",
            ),
        ),
        _ => None,
    }
}

/// A node that does not believe the session.
pub(super) fn refused_session(error: &ConnectError) -> Option<Failure> {
    match error {
        ConnectError::Refused(refusal) if refusal.code == StatusCode::Unauthenticated => {
            Some(session_ended())
        }
        _ => None,
    }
}

pub(super) fn unreachable(address: &str, error: &ConnectError) -> NodeOutcome {
    NodeOutcome {
        name: address.to_owned(),
        address: address.to_owned(),
        outcome: "unreachable".to_owned(),
        cause: error.cause(),
    }
}

pub(super) fn outcome_of(report: &NodeReport) -> NodeOutcome {
    let outcome = match (report.answered, report.cause.is_empty()) {
        (true, _) => "ok",
        (false, true) => "not_asked",
        (false, false) => "unreachable",
    };
    NodeOutcome {
        name: report.name.clone(),
        address: report.address.clone(),
        outcome: outcome.to_owned(),
        cause: report.cause.clone(),
    }
}

pub(super) fn expectation_to_wire(expectation: &Expectation) -> Option<Expected> {
    match expectation {
        Expectation::Absent => None,
        Expectation::Revision(revision) => Some(Expected::Revision(*revision)),
        Expectation::Value(value) => Some(Expected::Current(value.clone())),
    }
}
