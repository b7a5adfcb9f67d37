//! What nodes ask of each other.

use std::sync::Arc;

use sealmoot_rpc::{CallContext, Code, Execution, Status};

use super::not_formed;
use crate::clock::Clock;
use crate::node::authorizer::Claims;
use crate::node::{Cluster, Shared};
use crate::proto::{
    AttestReply, AttestRequest, BeginLifeReply, BeginLifeRequest, Position, Replica, ReplicaReply,
    ReplicaRequest, StatusReply, StatusRequest,
};
use crate::wire::{attested_from_wire, reply_to_wire, request_from_wire};

/// The replication protocol, for members.
pub(in crate::node) struct ReplicaService(pub(in crate::node) Arc<Shared>);

impl ReplicaService {
    /// The cluster, and the place of the calling node among its members.
    fn member(&self, context: &CallContext) -> Result<(Arc<Cluster>, usize), Status> {
        let refused = || super::not_permitted("for nodes of the cluster only");
        let Some(Claims::Member(name)) = context.peer().claims::<Claims>() else {
            return Err(refused());
        };
        let cluster = self.0.cluster().ok_or_else(not_formed)?;
        let mut members = cluster.links.members();
        let place = members.position(|member| member.name == *name);
        drop(members);
        Ok((cluster, place.ok_or_else(refused)?))
    }
}

impl Replica for ReplicaService {
    async fn ask(
        &self,
        context: CallContext,
        request: ReplicaRequest,
    ) -> Result<ReplicaReply, Status> {
        let (cluster, member) = self.member(&context)?;
        let request = request_from_wire(request).map_err(|error| {
            Status::new(
                Code::InvalidArgument,
                Execution::NotStarted,
                error.to_string(),
            )
        })?;
        match cluster.engine.ask(member, request).await {
            Ok(reply) => Ok(ReplicaReply {
                position: Some(cluster.engine.attested_for(member).into()),
                ..reply_to_wire(reply)
            }),
            Err(error) => Err(Status::new(
                Code::Unavailable,
                Execution::MaybeExecuted,
                error.to_string(),
            )),
        }
    }

    async fn attest(
        &self,
        context: CallContext,
        request: AttestRequest,
    ) -> Result<AttestReply, Status> {
        let (cluster, member) = self.member(&context)?;
        let position = request.position.as_ref().map(attested_from_wire);
        let position = position.transpose().map_err(|error| {
            Status::new(
                Code::InvalidArgument,
                Execution::NotStarted,
                error.to_string(),
            )
        })?;
        let remembered = cluster.engine.remembered_of(member);
        if let Some(position) = position {
            cluster.engine.remember(member, position);
        }
        Ok(AttestReply {
            remembered: remembered.map(Position::from),
            position: Some(cluster.engine.attested_for(member).into()),
        })
    }

    async fn begin_life(
        &self,
        context: CallContext,
        request: BeginLifeRequest,
    ) -> Result<BeginLifeReply, Status> {
        let (cluster, member) = self.member(&context)?;
        let position = request.position.as_ref().map(attested_from_wire);
        let Some(Ok(position)) = position else {
            return Err(Status::new(
                Code::InvalidArgument,
                Execution::NotStarted,
                "a position is missing or malformed",
            ));
        };
        let begun = cluster
            .engine
            .begin_life_of(member, position, Clock(request.clock));
        let (clock, revision_floor) = begun.await.map_err(|error| {
            Status::new(
                Code::FailedPrecondition,
                Execution::MaybeExecuted,
                error.to_string(),
            )
        })?;
        Ok(BeginLifeReply {
            clock: clock.0,
            revision_floor,
        })
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
