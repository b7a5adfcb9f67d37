//! What was tried at other nodes.

use std::sync::Arc;

use sealmoot_authn::proto::{Charges, ShareReply, ShareRequest};
use sealmoot_rpc::{CallContext, Code, Execution, Status};

use super::{not_formed, not_permitted};
use crate::node::Shared;
use crate::node::authorizer::Claims;

/// Learns what members tell of their logins.
pub(in crate::node) struct ChargesService(pub(in crate::node) Arc<Shared>);

impl Charges for ChargesService {
    async fn share(
        &self,
        context: CallContext,
        request: ShareRequest,
    ) -> Result<ShareReply, Status> {
        let Some(Claims::Member(peer)) = context.peer().claims::<Claims>() else {
            return Err(not_permitted("for nodes of the cluster only"));
        };
        if self.0.login.get().is_none() {
            // It calls nothing by the name that its peers do yet; they tell it again.
            return Err(not_formed());
        }
        self.0
            .throttle
            .with(|throttle, store, now_ms| {
                let learnt = throttle.learn(peer, &request.record, now_ms)?;
                if let Some(changes) = learnt {
                    // Nobody waits for it: the peer has it durably.
                    drop(store.append(changes.into_bytes()));
                }
                Ok(())
            })
            .map_err(|error: sealmoot_crypto::encoding::EncodingError| {
                Status::new(
                    Code::InvalidArgument,
                    Execution::NotStarted,
                    error.to_string(),
                )
            })?;
        Ok(ShareReply {
            start: self.0.start,
        })
    }
}
