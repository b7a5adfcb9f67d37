//! Logins, once the node has what it takes.

use std::sync::Arc;

use sealmoot_authn::login::LoginService;
use sealmoot_authn::proto::{
    LogInReply, LogInRequest, Login, ProveKeyReply, ProveKeyRequest, RegisterReply, RegisterRequest,
};
use sealmoot_rpc::{CallContext, Replies, Requests, Status};

use super::not_formed;
use crate::node::Shared;

/// Refuses until the login secrets were opened.
pub(in crate::node) struct NodeLogin(pub(in crate::node) Arc<Shared>);

impl NodeLogin {
    fn opened(&self) -> Result<&LoginService, Status> {
        self.0.login.get().ok_or_else(not_formed)
    }
}

impl Login for NodeLogin {
    async fn log_in(
        &self,
        context: CallContext,
        requests: Requests<LogInRequest>,
        replies: Replies<LogInReply>,
    ) -> Result<(), Status> {
        self.opened()?.log_in(context, requests, replies).await
    }

    async fn prove_key(
        &self,
        context: CallContext,
        requests: Requests<ProveKeyRequest>,
        replies: Replies<ProveKeyReply>,
    ) -> Result<(), Status> {
        self.opened()?.prove_key(context, requests, replies).await
    }

    async fn register(
        &self,
        context: CallContext,
        request: RegisterRequest,
    ) -> Result<RegisterReply, Status> {
        self.opened()?.register(context, request).await
    }
}
