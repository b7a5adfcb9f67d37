//! The sessions that this node has seen, for administrators, for the other nodes, and
//! for each user the user's own; and their ends, by their own word.

use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};

use sealmoot_authn::audit::{Event, Subject, What};
use sealmoot_authn::name::Name;
use sealmoot_authn::policy::{Action, Allowed, decide_below};
use sealmoot_authn::session::proto::{
    EndReply, EndRequest, EndedReply, EndedRequest, ListReply, ListRequest, SessionSeen, Sessions,
    TakeEndedReply, TakeEndedRequest,
};
use sealmoot_crypto::signature::KeyId;
use sealmoot_rpc::bytes::Bytes;
use sealmoot_rpc::{CallContext, Code, Execution, Status};

use super::{not_formed, not_permitted, require_member};
use crate::node::Shared;
use crate::node::audit::{unavailable, who};
use crate::node::authorizer::Claims;
use crate::node::ended;
use crate::node::sessions::{Refused, SESSIONS_A_PAGE, Seen};

/// Lists sessions.
pub(in crate::node) struct SessionsService(pub(in crate::node) Arc<Shared>);

impl SessionsService {
    /// Whose sessions the caller may see: of this user, or everybody's.
    fn scope(&self, context: &CallContext, asked: Option<Name>) -> Result<Option<Name>, Status> {
        let Some(Claims::Session(session)) = context.peer().claims::<Claims>() else {
            require_member(context)?;
            return Ok(asked);
        };
        let trust = &self.0.trust;
        let everything = trust.decide(session, |user, roles, named| {
            decide_below(user, roles, named, Action::Administer, b"")
        });
        match everything {
            Ok(_) => Ok(asked),
            Err(Refused::Unconfirmed) => Err(Refused::unconfirmed()),
            Err(Refused::Ended) => Err(Refused::ended()),
            Err(Refused::NotAllowed(_)) if asked.as_ref() == Some(&session.user) => {
                // Also for a key that is narrowed: the session's own user is no secret.
                let own = trust.decide(session, |_, _, _| {
                    Ok(Allowed {
                        rule: "one's own sessions".to_owned(),
                    })
                });
                own.map(|_| asked).map_err(|_| Refused::ended())
            }
            Err(Refused::NotAllowed(_)) => Err(not_permitted(
                "the sessions of others are for administrators of everything",
            )),
        }
    }

    /// That somebody asked is on record, once for all pages.
    async fn record(&self, context: &CallContext, request: &ListRequest) -> Result<(), Status> {
        let Some(Claims::Session(session)) = context.peer().claims::<Claims>() else {
            return Ok(());
        };
        if !request.after.is_empty() {
            return Ok(());
        }
        let audit = &self.0.audit;
        let who = who(context.peer(), Some(session.user.clone()));
        let event = Event::done(audit.now_ms(), What::SessionsRead, who, Subject::Nothing);
        let recorded = audit.auditor.record(event.detail(request.user.as_str()));
        let recorded = recorded.await;
        recorded.map_err(|refused| unavailable(refused, Execution::NotStarted))
    }
}

impl Sessions for SessionsService {
    async fn list(&self, context: CallContext, request: ListRequest) -> Result<ListReply, Status> {
        let asked: Option<Name> = match request.user.as_str() {
            "" => None,
            name => Some(name.parse().map_err(|_| malformed("user is no name"))?),
        };
        let after = match &*request.after {
            [] => None,
            bytes => {
                let bytes = <[u8; 32]>::try_from(bytes);
                Some(KeyId::from_bytes(
                    bytes.map_err(|_| malformed("after is no key id"))?,
                ))
            }
        };
        let user = self.scope(&context, asked)?;
        self.record(&context, &request).await?;
        let wanted = |seen: &Seen| {
            user.as_ref().is_none_or(|user| seen.session.user == *user)
                && (!request.idle_limited || seen.session.idle_ms != 0)
        };
        let mut seen = self.0.trust.sessions_seen(after.as_ref());
        seen.retain(wanted);
        let more = seen.len() > SESSIONS_A_PAGE;
        seen.truncate(SESSIONS_A_PAGE);
        Ok(ListReply {
            sessions: seen.into_iter().map(to_wire).collect(),
            more,
        })
    }

    async fn end(&self, context: CallContext, request: EndRequest) -> Result<EndReply, Status> {
        let Some(Claims::Session(session)) = context.peer().claims::<Claims>() else {
            return Err(not_permitted("for a session, about itself"));
        };
        let cluster = self.0.cluster().ok_or_else(not_formed)?;
        let trust = &self.0.trust;
        let ended = ended::believe(trust, &request.record)?;
        // That the session is open is what keeps the table of ends from being filled
        // with receipts of long ago.
        if *ended.key() != session.key {
            return Err(not_permitted("a session ends itself, and no other"));
        }
        let room = {
            let users = trust.users.read().unwrap_or_else(PoisonError::into_inner);
            users.ended().check_room(&ended)
        };
        room.map_err(|error| {
            let (code, execution) = (Code::ResourceExhausted, Execution::NotStarted);
            Status::new(code, execution, error.to_string())
        })?;
        let who = who(context.peer(), Some(session.user.clone()));
        let held = ended::end(&cluster, trust, &self.0.audit, ended, who).await?;
        let count = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
        Ok(EndReply {
            held: count(held),
            quorum: count(cluster.quorums.write()),
            nodes: count(cluster.quorums.members()),
        })
    }

    async fn take_ended(
        &self,
        context: CallContext,
        request: TakeEndedRequest,
    ) -> Result<TakeEndedReply, Status> {
        require_member(&context)?;
        let cluster = self.0.cluster().ok_or_else(not_formed)?;
        let (trust, audit) = (&self.0.trust, &self.0.audit);
        ended::take(&cluster, trust, audit, request.records).await?;
        Ok(TakeEndedReply {})
    }

    async fn ended(
        &self,
        context: CallContext,
        request: EndedRequest,
    ) -> Result<EndedReply, Status> {
        require_member(&context)?;
        let trust = &self.0.trust;
        let held = {
            let users = trust.users.read().unwrap_or_else(PoisonError::into_inner);
            users.ended().digest()
        };
        let mut reply = EndedReply {
            differs: held != *request.digest,
            ..EndedReply::default()
        };
        if reply.differs && !request.buckets.is_empty() {
            (reply.records, reply.more) = ended::page(trust, &request)?;
        }
        Ok(reply)
    }
}

fn to_wire(seen: Seen) -> SessionSeen {
    let session = seen.session;
    let made_by = session.enrolled.as_ref().map(|key| key.label.to_string());
    SessionSeen {
        key: Bytes::copy_from_slice(session.key.as_bytes()),
        user: session.user.to_string(),
        made_by: made_by.unwrap_or_default(),
        issued_ms: session.issued_ms,
        expires_ms: session.expires_ms,
        idle_ms: session.idle_ms,
        last_used_ms: seen.last_used_ms.load(Ordering::Relaxed),
        origin: seen.origin,
    }
}

fn malformed(what: &str) -> Status {
    Status::new(Code::InvalidArgument, Execution::NotStarted, what)
}
