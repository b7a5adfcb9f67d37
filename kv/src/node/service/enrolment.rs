//! Gathering the nodes of a call.

use std::sync::Arc;

use sealmoot_rpc::{CallContext, Code, Execution, Status};

use super::not_permitted;
use crate::node::Shared;
use crate::node::audit::who;
use crate::node::authorizer::Claims;
use crate::node::membership::GatherError;
use crate::proto::{Enrolment, Gathered};

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
}
