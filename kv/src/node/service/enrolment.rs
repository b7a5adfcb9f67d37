//! Gathering the nodes of a call.

use std::sync::Arc;

use sealmoot_rpc::{CallContext, Code, Execution, Status};

use super::not_permitted;
use crate::node::Shared;
use crate::node::authorizer::Claims;
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
            Status::new(
                Code::FailedPrecondition,
                Execution::NotStarted,
                error.to_string(),
            )
        })?;
        Ok(self.0.tell())
    }
}
