//! What a node answers, service by service.

mod audit;
mod charges;
mod directory;
mod enrolment;
mod login;
mod namespaces;
mod replica;
mod sessions;
mod store;

pub(super) use audit::AuditService;
pub(super) use charges::ChargesService;
pub(super) use directory::{DirectoryService, Recorder, WithoutRoom, fetch_from};
pub(super) use enrolment::EnrolmentService;
pub(super) use login::NodeLogin;
pub(super) use replica::ReplicaService;
pub(super) use sessions::SessionsService;
pub(super) use store::StoreService;

use sealmoot_rpc::{CallContext, Code, Execution, Status};

use super::authorizer::Claims;

/// Demands that the caller is a node of the cluster.
fn require_member(context: &CallContext) -> Result<(), Status> {
    match context.peer().claims::<Claims>() {
        Some(Claims::Member(_)) => Ok(()),
        _ => Err(not_permitted("for nodes of the cluster only")),
    }
}

fn not_permitted(message: &str) -> Status {
    Status::new(Code::PermissionDenied, Execution::NotStarted, message)
}

fn not_formed() -> Status {
    use prost::Message;

    use crate::proto::{FailureDetails, failure_details::Kind};
    let details = FailureDetails {
        kind: Kind::NotFormed.into(),
        ..FailureDetails::default()
    };
    Status::new(
        Code::Unavailable,
        Execution::NotStarted,
        "the cluster has not formed yet",
    )
    .with_details(details.encode_to_vec())
}
