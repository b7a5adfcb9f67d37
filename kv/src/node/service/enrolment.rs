//! Gathering the nodes of a call.

use std::sync::Arc;

use sealmoot_rpc::bytes::Bytes;
use sealmoot_rpc::{CallContext, Code, Execution, Status};

use super::{not_formed, not_permitted, require_member};
use crate::node::Shared;
use crate::node::audit::who;
use crate::node::authorizer::Claims;
use crate::node::membership::GatherError;
use crate::proto::{Enrolment, Gathered, HandOverReply, HandOverRequest};

/// Tells and learns what nodes of one call have gathered.
pub(in crate::node) struct EnrolmentService(pub(in crate::node) Arc<Shared>);

impl Enrolment for EnrolmentService {
    async fn exchange(&self, context: CallContext, told: Gathered) -> Result<Gathered, Status> {
        match context.peer().claims::<Claims>() {
            Some(Claims::Candidate(_) | Claims::Member(_)) => {}
            _ => return Err(not_permitted("for nodes of the call only")),
        }
        self.0.learn(&told).map_err(|error| {
            if let GatherError::SecondKey { name } = &error {
                let who = who(context.peer(), None);
                self.0
                    .trust
                    .note_used_invite(who, name, "told by a node of the call");
            }
            Status::new(
                Code::FailedPrecondition,
                Execution::NotStarted,
                error.to_string(),
            )
        })?;
        Ok(self.0.tell())
    }

    async fn hand_over(
        &self,
        context: CallContext,
        _: HandOverRequest,
    ) -> Result<HandOverReply, Status> {
        require_member(&context)?;
        let trust = &self.0.trust;
        // By the roster that is durable here, whatever the peer showed when it came: a
        // share is out for good.
        let roster = trust.roster().ok_or_else(not_formed)?;
        let peer = context.peer();
        if roster.member_with_key(peer.key()).is_none() || trust.is_node_revoked(&peer.key_id()) {
            return Err(not_permitted("for nodes of the cluster only"));
        }
        let share = trust.identity.share.value().expose();
        Ok(HandOverReply {
            share: Bytes::copy_from_slice(share),
        })
    }
}
