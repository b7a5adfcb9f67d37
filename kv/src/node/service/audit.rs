//! The audit log, for whoever administers everything, and for the other nodes.

use std::sync::Arc;
use std::time::Duration;

use sealmoot_authn::audit::chain::encode_entries;
use sealmoot_authn::audit::proto::tail_request::Begin;
use sealmoot_authn::audit::proto::{
    Audit, HeadReply, HeadRequest, TailReply, TailRequest, WitnessReply, WitnessRequest,
    WitnessedHead, WitnessedReply, WitnessedRequest,
};
use sealmoot_authn::audit::{Event, SignedHead, Subject, What, Who};
use sealmoot_authn::name::Name;
use sealmoot_authn::policy::{Action, decide_below};
use sealmoot_crypto::encoding::Writer;
use sealmoot_rpc::{CallContext, Code, Execution, Replies, Status};
use tracing::error;

use super::{not_permitted, require_member};
use crate::audit::Cursor;
use crate::node::Shared;
use crate::node::audit::{WitnessError, unavailable, who};
use crate::node::authorizer::Claims;
use crate::node::sessions::Refused;

/// How often it is looked whether a follower's session still holds.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Shows the audit log, and remembers the heads of others.
pub(in crate::node) struct AuditService(pub(in crate::node) Arc<Shared>);

impl AuditService {
    /// The caller's user, who may administer everything.
    fn administrator(&self, context: &CallContext) -> Result<Name, Status> {
        let Some(Claims::Session(session)) = context.peer().claims::<Claims>() else {
            return Err(Refused::ended());
        };
        let judged = self.0.trust.decide(session, |user, roles, named| {
            decide_below(user, roles, named, Action::Administer, b"")
        });
        match judged {
            Ok(_) => Ok(session.user.clone()),
            Err(Refused::Unconfirmed) => Err(Refused::unconfirmed()),
            Err(Refused::Ended) => Err(Refused::ended()),
            Err(Refused::NotAllowed(_)) => Err(not_permitted(
                "the audit log is for administrators of everything",
            )),
        }
    }

    /// The same, and it is on record that the log was asked for.
    async fn recorded(&self, context: &CallContext, what: &str) -> Result<(), Status> {
        let allowed = self.administrator(context);
        let user = match context.peer().claims::<Claims>() {
            Some(Claims::Session(session)) => Some(session.user.clone()),
            _ => None,
        };
        let mut event = self.event(What::AuditRead, who(context.peer(), user), Subject::Nothing);
        if allowed.is_err() {
            event = event.refused();
        }
        let recorded = self.0.audit.auditor.record(event.detail(what)).await;
        allowed?;
        recorded.map_err(|refused| unavailable(refused, Execution::NotStarted))
    }

    fn event(&self, what: What, who: Who, subject: Subject) -> Event {
        Event::done((self.0.trust.now_ms)(), what, who, subject)
    }
}

impl Audit for AuditService {
    fn draining(&self) {
        self.0.audit.draining.send_replace(true);
    }

    async fn tail(
        &self,
        context: CallContext,
        request: TailRequest,
        mut replies: Replies<TailReply>,
    ) -> Result<(), Status> {
        self.recorded(&context, "tail").await?;
        let reader = self.0.audit.reader.clone();
        let end = reader.published().head.records();
        let mut cursor = Cursor::at(match request.begin {
            Some(Begin::From(sequence)) => sequence,
            Some(Begin::Newest(count)) => end.saturating_sub(count),
            None => 0,
        });
        let mut left = match request.limit {
            0 => u64::MAX,
            limit => limit,
        };
        let mut changes = reader.changes();
        let mut draining = self.0.audit.draining.subscribe();
        while left > 0 {
            changes.borrow_and_update();
            let blocking = reader.clone();
            let read = tokio::task::spawn_blocking(move || blocking.read(cursor))
                .await
                .map_err(|error| internal(&error))?;
            let (mut entries, next) = read.map_err(|error| {
                error!(%error, "the audit log cannot be read");
                Status::new(Code::DataLoss, Execution::Executed, error.to_string())
            })?;
            cursor = next;
            if entries.is_empty() {
                if !request.follow || *draining.borrow() {
                    return Ok(());
                }
                tokio::select! {
                    _ = tokio::time::timeout(LOOK_EVERY, changes.changed()) => {}
                    _ = draining.changed() => {}
                }
                self.administrator(&context)?;
                continue;
            }
            entries.truncate(usize::try_from(left).unwrap_or(usize::MAX));
            left -= entries.len() as u64;
            let mut writer = Writer::new();
            encode_entries(&mut writer, &entries);
            let reply = TailReply {
                entries: writer.finish().into(),
            };
            replies.send(&reply).await?;
        }
        Ok(())
    }

    async fn head(&self, context: CallContext, _: HeadRequest) -> Result<HeadReply, Status> {
        self.administrator(&context)?;
        let published = self.0.audit.reader.published();
        let oldest = published.oldest().map(SignedHead::bytes);
        Ok(HeadReply {
            head: self.0.audit.head(&self.0.trust).bytes().to_vec().into(),
            sealed_first_key: published.sealed_first_key.to_vec().into(),
            oldest: oldest.unwrap_or_default().to_vec().into(),
        })
    }

    async fn witnessed(
        &self,
        context: CallContext,
        _: WitnessedRequest,
    ) -> Result<WitnessedReply, Status> {
        self.administrator(&context)?;
        let witnessed = self.0.audit.witnessed();
        let heads = witnessed.iter().map(|(name, head)| WitnessedHead {
            node: name.to_string(),
            head: head.bytes().to_vec().into(),
        });
        Ok(WitnessedReply {
            heads: heads.collect(),
        })
    }

    async fn witness(
        &self,
        context: CallContext,
        request: WitnessRequest,
    ) -> Result<WitnessReply, Status> {
        require_member(&context)?;
        let Some(Claims::Member(name)) = context.peer().claims::<Claims>().cloned() else {
            return Err(not_permitted("for nodes of the cluster only"));
        };
        let realm = self.0.trust.identity.realm();
        let head = SignedHead::verify(&request.head, &realm, context.peer().key())
            .map_err(|error| refused(&error))?;
        let audit = Arc::clone(&self.0.audit);
        let node = name.clone();
        let outcome = tokio::task::spawn_blocking(move || audit.witness(&node, head))
            .await
            .map_err(|error| internal(&error))?;
        match outcome {
            Ok(()) => Ok(WitnessReply {}),
            Err(WitnessError::Alarm { alarm, first }) => {
                error!(node = %name, %alarm, "an audit log was tampered with");
                if first {
                    let who = who(context.peer(), None);
                    let event = self.event(What::WitnessAlarm, who, Subject::Node(name));
                    let event = event.refused().detail(alarm.to_string());
                    let recorded = self.0.audit.auditor.record(event).await;
                    recorded.map_err(|refused| unavailable(refused, Execution::Executed))?;
                }
                Err(refused(&alarm))
            }
            Err(error) => Err(refused(&error)),
        }
    }
}

fn refused(error: &dyn std::fmt::Display) -> Status {
    Status::new(
        Code::FailedPrecondition,
        Execution::Executed,
        error.to_string(),
    )
}

fn internal(error: &dyn std::fmt::Display) -> Status {
    Status::new(Code::Internal, Execution::MaybeExecuted, error.to_string())
}
