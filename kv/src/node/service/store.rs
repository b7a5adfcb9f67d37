//! What clients ask. Here rights are checked, results get their wire form, and
//! what went wrong becomes a status: the one place where failures are mapped.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use prost::Message;
use sealmoot_authn::audit::{Event, Subject, What};
use sealmoot_authn::cli::escaped;
use sealmoot_authn::policy::{Action, Allowed, RESERVED_PREFIX, decide, decide_below};
use sealmoot_authn::session::NotAllowed;
use sealmoot_rpc::{CallContext, Code, Execution, Status};

use super::not_formed;
use crate::clock::Clock;
use crate::coordinator::{Answer, Command, Failure, FailureKind, Level, ListEntry};
use crate::node::audit::who;
use crate::node::authorizer::Claims;
use crate::node::sessions::Refused;
use crate::node::{Cluster, Shared};
use crate::proto::failure_details::Kind;
use crate::proto::{
    ClusterStatusReply, ClusterStatusRequest, CompareAndSetRequest, CreateNamespaceRequest,
    DeleteRequest, FailureDetails, GetReply, GetRequest, ListNamespacesReply,
    ListNamespacesRequest, ListReply, ListRequest, NamespaceReply, NodeReport, NodeStatus,
    PutRequest, ShowNamespaceRequest, Store, WriteReply, compare_and_set_request,
};
use crate::register::{
    Change, Expectation, KEY_LENGTH_MAX, Operation, OperationId, Outcome, Register,
    VALUE_LENGTH_MAX,
};
use crate::wire::{Malformed, checked_key};

/// How long a request may take when the client does not say.
const TIMEOUT_DEFAULT: Duration = Duration::from_secs(10);
/// The coordinator gives up this long before the client does, so that the client
/// hears why.
const ANSWER_MARGIN: Duration = Duration::from_millis(50);
/// A deadline further ahead than this is the mark of a wild clock.
const DEADLINE_LEAD_MS_MAX: u64 = 10 * 60 * 1000;
/// How many bytes of a key a refusal names.
const KEY_SHOWN_MAX: usize = 200;
const PEER_STATUS_TIMEOUT: Duration = Duration::from_millis(800);

/// The store, for sessions.
pub(in crate::node) struct StoreService(pub(in crate::node) Arc<Shared>);

impl StoreService {
    pub(super) fn cluster(&self) -> Result<Arc<Cluster>, Status> {
        self.0.cluster().ok_or_else(not_formed)
    }

    /// The proof that the caller's user may do `action` to `key`.
    fn allow(&self, context: &CallContext, action: Action, key: &[u8]) -> Result<Allowed, Status> {
        self.decided(context, Some((action, key)), |user, roles, named| {
            decide(user, roles, named, action, key)
        })
    }

    /// What `judge` says of the caller's session; `about` is what is asked for, to be
    /// named when it is refused.
    pub(super) fn decided(
        &self,
        context: &CallContext,
        about: Option<(Action, &[u8])>,
        judge: impl Fn(
            &str,
            &[sealmoot_authn::policy::Role],
            &sealmoot_authn::policy::NamedRoles,
        ) -> Result<Allowed, sealmoot_authn::policy::Denied>,
    ) -> Result<Allowed, Status> {
        let Some(Claims::Session(session)) = context.peer().claims::<Claims>() else {
            return Err(session_ended());
        };
        // Judged at every request: a user disabled a moment ago is refused on a
        // connection that stands since yesterday.
        let refused = match self.0.trust.decide(session, judge) {
            Ok(allowed) => return Ok(allowed),
            Err(Refused::Unconfirmed) => return Err(self.unconfirmed()),
            Err(Refused::Ended) => return Err(session_ended()),
            Err(Refused::NotAllowed(refused)) => refused,
        };
        let audit = &self.0.audit;
        let who = who(context.peer(), Some(session.user.clone()));
        let (subject, message, detail) = match about {
            Some((action, key)) => (
                Subject::key(key),
                denial(session.user.as_str(), action, key, &refused),
                format!("{action}: {refused}"),
            ),
            None => (Subject::Nothing, refused.to_string(), refused.to_string()),
        };
        let event = Event::done(audit.now_ms(), What::Permission, who, subject);
        // It is refused whether it gets on record or not.
        if let Err(error) = audit.auditor.note(event.refused().detail(detail)) {
            tracing::warn!(%error, "a refusal is not on record");
        }
        Err(Status::new(
            Code::PermissionDenied,
            Execution::NotStarted,
            message,
        ))
    }

    /// That this node cannot tell who was revoked, and whom it has not heard.
    fn unconfirmed(&self) -> Status {
        let troubles = self.0.cluster().map(|cluster| cluster.links.troubles());
        let details = FailureDetails {
            kind: Kind::Unconfirmed.into(),
            nodes: troubles.unwrap_or_default(),
            ..FailureDetails::default()
        };
        Refused::unconfirmed().with_details(details.encode_to_vec())
    }

    async fn write(
        &self,
        context: &CallContext,
        key: Bytes,
        operation: Option<crate::proto::Operation>,
        change: Change,
    ) -> Result<WriteReply, Status> {
        let key = checked_key(key).map_err(malformed)?;
        refuse_reserved(&key)?;
        self.write_register(context, key, operation, change).await
    }

    /// Carries out a write whose key and right were checked.
    pub(super) async fn write_register(
        &self,
        context: &CallContext,
        key: Bytes,
        operation: Option<crate::proto::Operation>,
        change: Change,
    ) -> Result<WriteReply, Status> {
        let cluster = self.cluster()?;
        let operation = operation.ok_or(malformed(Malformed("no operation")))?;
        let client = <[u8; 16]>::try_from(&*operation.client)
            .map_err(|_| malformed(Malformed("a client's number has 16 bytes")))?;
        let now = cluster.engine.clock();
        let deadline = Clock(operation.deadline);
        if deadline > now.plus_ms(DEADLINE_LEAD_MS_MAX) {
            let failure = Failure::new(FailureKind::DeadlinePassed, now);
            return Err(self.refuse(&cluster, &failure));
        }
        let command = Command::Write {
            key,
            operation: Operation {
                id: OperationId {
                    client,
                    sequence: operation.sequence,
                },
                deadline,
                change,
            },
            fresh: operation.fresh,
        };
        let answer = self.execute(&cluster, context, command).await?;
        let Answer::Written { outcome, acks } = answer else {
            return Err(internal());
        };
        let (changed, revision) = match outcome {
            Outcome::Written { revision } | Outcome::Deleted { revision } => (true, revision),
            Outcome::NothingToDelete => (false, 0),
            Outcome::Conflict { revision } => (false, revision),
        };
        Ok(WriteReply {
            changed,
            revision,
            acks: u32::try_from(acks).unwrap_or(u32::MAX),
            replicas: u32::try_from(cluster.quorums.members()).unwrap_or(u32::MAX),
            clock: cluster.engine.clock().0,
            troubles: cluster.links.troubles(),
        })
    }

    pub(super) async fn execute(
        &self,
        cluster: &Cluster,
        context: &CallContext,
        command: Command,
    ) -> Result<Answer, Status> {
        let timeout = context
            .remaining()
            .unwrap_or(TIMEOUT_DEFAULT)
            .saturating_sub(ANSWER_MARGIN);
        cluster
            .engine
            .execute(command, timeout)
            .await
            .map_err(|failure| self.refuse(cluster, &failure))
    }

    /// A coordinator's failure as a status.
    fn refuse(&self, cluster: &Cluster, failure: &Failure) -> Status {
        let (code, execution, kind, message) = match failure.kind {
            FailureKind::NoQuorum { .. } => (
                Code::Unavailable,
                Execution::NotStarted,
                Kind::NoQuorum,
                "no quorum",
            ),
            FailureKind::TimedOut => (
                Code::DeadlineExceeded,
                Execution::NotStarted,
                Kind::TimedOut,
                "timed out before anything was proposed",
            ),
            FailureKind::DeadlinePassed => (
                Code::FailedPrecondition,
                Execution::NotStarted,
                Kind::DeadlinePassed,
                "the deadline does not fit the coordinator's clock",
            ),
            FailureKind::Busy => (
                Code::ResourceExhausted,
                Execution::NotStarted,
                Kind::Busy,
                "too much is going on",
            ),
            FailureKind::OutcomeUnknown => (
                Code::OutcomeUnknown,
                Execution::MaybeExecuted,
                Kind::OutcomeUnknown,
                "no quorum confirmed it in time",
            ),
            FailureKind::OutcomeLost => (
                Code::OutcomeUnknown,
                Execution::MaybeExecuted,
                Kind::OutcomeLost,
                "what became of an earlier attempt can no longer be told",
            ),
            FailureKind::SettingsUnusable => (
                Code::FailedPrecondition,
                Execution::NotStarted,
                Kind::Unspecified,
                "the settings of the key's namespace are of another version of the store",
            ),
        };
        let (answered, needed) = match failure.kind {
            FailureKind::NoQuorum { answered, needed } => (answered, needed),
            _ => (0, 0),
        };
        let details = FailureDetails {
            kind: kind.into(),
            clock: failure.clock.0,
            answered: u32::try_from(answered).unwrap_or(u32::MAX),
            needed: u32::try_from(needed).unwrap_or(u32::MAX),
            nodes: cluster
                .links
                .members()
                .zip(&failure.nodes)
                .map(|(member, report)| NodeReport {
                    name: member.name.to_string(),
                    address: member.address.clone(),
                    answered: report.answered,
                    cause: report.cause.clone(),
                })
                .collect(),
        };
        Status::new(code, execution, message).with_details(details.encode_to_vec())
    }
}

impl Store for StoreService {
    async fn put(&self, context: CallContext, request: PutRequest) -> Result<WriteReply, Status> {
        let _allowed = self.allow(&context, Action::Write, &request.key)?;
        let value = checked_value(&request.value)?;
        self.write(&context, request.key, request.operation, Change::Put(value))
            .await
    }

    async fn delete(
        &self,
        context: CallContext,
        request: DeleteRequest,
    ) -> Result<WriteReply, Status> {
        let _allowed = self.allow(&context, Action::Delete, &request.key)?;
        self.write(&context, request.key, request.operation, Change::Delete)
            .await
    }

    async fn compare_and_set(
        &self,
        context: CallContext,
        request: CompareAndSetRequest,
    ) -> Result<WriteReply, Status> {
        // A comparison tells what is there, so it takes both rights.
        let _allowed = self.allow(&context, Action::Write, &request.key)?;
        let _allowed = self.allow(&context, Action::Read, &request.key)?;
        let value = checked_value(&request.value)?;
        let expectation = match request.expected {
            None | Some(compare_and_set_request::Expected::Revision(0)) => Expectation::Absent,
            Some(compare_and_set_request::Expected::Revision(revision)) => {
                Expectation::Revision(revision)
            }
            Some(compare_and_set_request::Expected::Current(current)) => {
                Expectation::Value(checked_value(&current)?)
            }
        };
        self.write(
            &context,
            request.key,
            request.operation,
            Change::CompareAndSet(expectation, value),
        )
        .await
    }

    async fn get(&self, context: CallContext, request: GetRequest) -> Result<GetReply, Status> {
        let _allowed = self.allow(&context, Action::Read, &request.key)?;
        let cluster = self.cluster()?;
        let key = checked_key(request.key.clone()).map_err(malformed)?;
        let level = Level::from(request.level());
        let command = Command::Read { key, level };
        let answer = self.execute(&cluster, &context, command).await?;
        let Answer::Value(register) = answer else {
            return Err(internal());
        };
        let Register { value, .. } = &register;
        Ok(GetReply {
            found: value.is_some(),
            revision: register.visible_revision(),
            value: value.clone().unwrap_or_default(),
            troubles: cluster.links.troubles(),
            freshness_unknown: level == Level::One,
        })
    }

    async fn list(&self, context: CallContext, request: ListRequest) -> Result<ListReply, Status> {
        let about = Some((Action::List, request.prefix.as_ref()));
        let _allowed = self.decided(&context, about, |user, roles, named| {
            decide_below(user, roles, named, Action::List, &request.prefix)
        })?;
        if request.prefix.len() > KEY_LENGTH_MAX || request.after.len() > KEY_LENGTH_MAX {
            return Err(malformed(Malformed("a prefix has at most 4096 bytes")));
        }
        let cluster = self.cluster()?;
        let command = Command::List {
            prefix: Bytes::copy_from_slice(&request.prefix),
            after: Bytes::copy_from_slice(&request.after),
            limit: request.limit as usize,
            level: Level::from(request.level()),
        };
        let answer = self.execute(&cluster, &context, command).await?;
        let Answer::Listed { entries, next } = answer else {
            return Err(internal());
        };
        Ok(ListReply {
            entries: entries.into_iter().map(entry_to_wire).collect(),
            more: next.is_some(),
            next: next.unwrap_or_default(),
            troubles: cluster.links.troubles(),
        })
    }

    async fn create_namespace(
        &self,
        context: CallContext,
        request: CreateNamespaceRequest,
    ) -> Result<WriteReply, Status> {
        self.create_namespace_checked(&context, request).await
    }

    async fn show_namespace(
        &self,
        context: CallContext,
        request: ShowNamespaceRequest,
    ) -> Result<NamespaceReply, Status> {
        self.show_namespace_checked(&context, &request.name).await
    }

    async fn list_namespaces(
        &self,
        context: CallContext,
        request: ListNamespacesRequest,
    ) -> Result<ListNamespacesReply, Status> {
        self.list_namespaces_permitted(&context, &request).await
    }

    async fn cluster_status(
        &self,
        context: CallContext,
        _request: ClusterStatusRequest,
    ) -> Result<ClusterStatusReply, Status> {
        // Any session that holds may know how the cluster is.
        self.decided(&context, None, |_, _, _| {
            Ok(Allowed {
                rule: "every session".to_owned(),
            })
        })?;
        let cluster = self.cluster()?;
        let mut tasks = Vec::new();
        for (index, member) in cluster.links.members().cloned().enumerate() {
            let cluster = Arc::clone(&cluster);
            tasks.push(tokio::spawn(async move {
                let status = if index == cluster.links.me() {
                    Ok(cluster.engine.position().chain.to_string())
                } else {
                    match cluster.links.connection(index) {
                        Ok(peer) => peer
                            .status(PEER_STATUS_TIMEOUT)
                            .await
                            .map(|status| status.root),
                        Err(cause) => Err(cause),
                    }
                };
                let (up, cause, root) = match status {
                    Ok(root) => (true, String::new(), root),
                    Err(cause) => (false, cause, String::new()),
                };
                NodeStatus {
                    name: member.name.to_string(),
                    address: member.address,
                    up,
                    cause,
                    root,
                }
            }));
        }
        let mut nodes = Vec::with_capacity(tasks.len());
        for task in tasks {
            nodes.push(task.await.map_err(|_| internal())?);
        }
        Ok(ClusterStatusReply {
            epoch: cluster.epoch,
            needed: u32::try_from(cluster.quorums.prepare()).unwrap_or(u32::MAX),
            nodes,
        })
    }
}

/// What a user is told who may not do it. The key is the user's own word; a long one is
/// cut, because a message is read by people.
fn denial(user: &str, action: Action, key: &[u8], refused: &NotAllowed) -> String {
    let shown = String::from_utf8_lossy(&key[..key.len().min(KEY_SHOWN_MAX)]);
    let cut = if key.len() > KEY_SHOWN_MAX { "…" } else { "" };
    let what = match (action, key.is_empty()) {
        (Action::List, true) => "list all keys".to_owned(),
        (Action::List, false) => format!("list all keys that begin with {shown}{cut}"),
        (action, _) => format!("{action} {shown}{cut}"),
    };
    let why = match refused {
        NotAllowed::Narrowed(_) => "the key that logged in is narrowed to other rights",
        NotAllowed::NotDelegated(_) => "it is more than the delegate has who made the user",
        NotAllowed::Denied(_) | NotAllowed::Ended => "no rule allows it",
    };
    escaped(&format!("{user} may not {what}: {why}"))
}

fn entry_to_wire(entry: ListEntry) -> crate::proto::ListEntry {
    crate::proto::ListEntry {
        key: entry.key,
        revision: entry.revision,
        size: entry.size,
    }
}

fn checked_value(value: &Bytes) -> Result<Bytes, Status> {
    if value.len() > VALUE_LENGTH_MAX {
        return Err(malformed(Malformed("a value has at most 1 MiB")));
    }
    // Its own allocation, so that it does not keep the request's buffer alive.
    Ok(Bytes::copy_from_slice(value))
}

fn refuse_reserved(key: &[u8]) -> Result<(), Status> {
    if key.starts_with(RESERVED_PREFIX) {
        return Err(malformed(Malformed("system/ is reserved")));
    }
    Ok(())
}

pub(super) fn malformed(error: Malformed) -> Status {
    Status::new(Code::InvalidArgument, Execution::NotStarted, error.0)
}

pub(super) fn internal() -> Status {
    Status::new(
        Code::Internal,
        Execution::MaybeExecuted,
        "the coordinator answered another question",
    )
}

pub(super) fn session_ended() -> Status {
    let details = FailureDetails {
        kind: Kind::SessionEnded.into(),
        ..FailureDetails::default()
    };
    Status::new(
        Code::Unauthenticated,
        Execution::NotStarted,
        "the session does not hold",
    )
    .with_details(details.encode_to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;
    use sealmoot_authn::policy::Denied;

    fn denied(action: Action) -> Denied {
        Denied {
            user: "bob".to_owned(),
            action,
        }
    }

    #[test]
    fn a_refusal_names_the_key_and_drives_no_terminal() {
        let refused = NotAllowed::Denied(denied(Action::Write));
        let of = |action, key: &[u8]| denial("bob", action, key, &refused);
        assert_eq!(
            of(Action::Write, b"app/\x1bx"),
            "bob may not write app/\\u{1b}x: no rule allows it"
        );
        assert_eq!(
            of(Action::List, b"app/"),
            "bob may not list all keys that begin with app/: no rule allows it"
        );
        assert_eq!(
            of(Action::List, b""),
            "bob may not list all keys: no rule allows it"
        );
        let long = of(Action::Read, &[b'k'; KEY_LENGTH_MAX]);
        assert!(long.len() < 300 && long.contains('…'), "{long}");
        let narrowed = NotAllowed::Narrowed(denied(Action::Write));
        let told = denial("ci", Action::Write, b"x", &narrowed);
        assert!(told.ends_with("narrowed to other rights"), "{told}");
    }
}
