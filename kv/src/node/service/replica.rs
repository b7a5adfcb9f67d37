//! What nodes ask of each other.

use std::sync::Arc;

use sealmoot_rpc::{CallContext, Code, Execution, Status};

use super::{not_formed, require_member};
use crate::node::Shared;
use crate::node::authorizer::Claims;
use crate::proto::{Replica, ReplicaReply, ReplicaRequest, StatusReply, StatusRequest};
use crate::wire::{reply_to_wire, request_from_wire};

/// The replication protocol, for members.
pub(in crate::node) struct ReplicaService(pub(in crate::node) Arc<Shared>);

impl Replica for ReplicaService {
    async fn ask(
        &self,
        context: CallContext,
        request: ReplicaRequest,
    ) -> Result<ReplicaReply, Status> {
        require_member(&context)?;
        let cluster = self.0.cluster().ok_or_else(not_formed)?;
        let request = request_from_wire(request).map_err(|error| {
            Status::new(
                Code::InvalidArgument,
                Execution::NotStarted,
                error.to_string(),
            )
        })?;
        match cluster.engine.ask(request).await {
            Ok(reply) => Ok(reply_to_wire(reply)),
            Err(error) => Err(Status::new(
                Code::Unavailable,
                Execution::MaybeExecuted,
                error.to_string(),
            )),
        }
    }

    async fn status(
        &self,
        context: CallContext,
        _request: StatusRequest,
    ) -> Result<StatusReply, Status> {
        let member = matches!(
            context.peer().claims::<Claims>(),
            Some(Claims::Member(_) | Claims::Candidate(_))
        );
        if !member {
            return Err(super::not_permitted("for nodes of the cluster only"));
        }
        Ok(match self.0.cluster() {
            None => StatusReply {
                incarnation: self.0.trust.identity.incarnation,
                ..StatusReply::default()
            },
            Some(cluster) => {
                let position = cluster.engine.position();
                StatusReply {
                    incarnation: position.incarnation,
                    counter: position.records,
                    root: position.chain.to_string(),
                    formed: true,
                    quorum: cluster.links.reachable() >= cluster.quorums.prepare(),
                }
            }
        })
    }
}
