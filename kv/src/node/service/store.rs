//! What clients ask. Here rights are checked, results get their wire form, and
//! what went wrong becomes a status: the one place where failures are mapped.

use std::sync::{Arc, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use prost::Message;
use sealmoot_authn::policy::{Action, Allowed, RESERVED_PREFIX, decide, decide_below};
use sealmoot_rpc::{CallContext, Code, Execution, Status};

use super::not_formed;
use crate::clock::Clock;
use crate::coordinator::{Answer, Command, Failure, FailureKind, Level, ListEntry};
use crate::node::authorizer::Claims;
use crate::node::{Cluster, Shared};
use crate::proto::failure_details::Kind;
use crate::proto::{
    ClusterStatusReply, ClusterStatusRequest, CompareAndSetRequest, DeleteRequest, FailureDetails,
    GetReply, GetRequest, ListReply, ListRequest, NodeReport, NodeStatus, PutRequest, Store,
    WriteReply, compare_and_set_request,
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
const PEER_STATUS_TIMEOUT: Duration = Duration::from_millis(800);

/// The store, for sessions.
pub(in crate::node) struct StoreService(pub(in crate::node) Arc<Shared>);

impl StoreService {
    fn cluster(&self) -> Result<Arc<Cluster>, Status> {
        self.0.cluster().ok_or_else(not_formed)
    }

    /// The proof that the caller's user may do `action` to `key`.
    fn allow(&self, context: &CallContext, action: Action, key: &[u8]) -> Result<Allowed, Status> {
        self.decided(context, |user, roles| decide(user, roles, action, key))
    }

    fn decided(
        &self,
        context: &CallContext,
        judge: impl FnOnce(
            &str,
            &[sealmoot_authn::policy::Role],
        ) -> Result<Allowed, sealmoot_authn::policy::Denied>,
    ) -> Result<Allowed, Status> {
        let Some(Claims::Session(session)) = context.peer().claims::<Claims>() else {
            return Err(session_ended());
        };
        let trust = &self.0.trust;
        let users = trust.users.read().unwrap_or_else(PoisonError::into_inner);
        // Judged at every request: a user disabled a moment ago is refused on a
        // connection that stands since yesterday.
        if !session.still_holds(&users, (trust.now_ms)()) {
            return Err(session_ended());
        }
        let record = users.active(&session.user).ok_or_else(session_ended)?;
        judge(session.user.as_str(), &record.user().roles).map_err(|denied| {
            Status::new(
                Code::PermissionDenied,
                Execution::NotStarted,
                denied.to_string(),
            )
        })
    }

    async fn write(
        &self,
        context: &CallContext,
        key: Bytes,
        operation: Option<crate::proto::Operation>,
        change: Change,
    ) -> Result<WriteReply, Status> {
        let cluster = self.cluster()?;
        let key = checked_key(key).map_err(malformed)?;
        refuse_reserved(&key)?;
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

    async fn execute(
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
        let command = Command::Read {
            key,
            level: Level::from(request.level()),
        };
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
        })
    }

    async fn list(&self, context: CallContext, request: ListRequest) -> Result<ListReply, Status> {
        let _allowed = self.decided(&context, |user, roles| {
            decide_below(user, roles, Action::List, &request.prefix)
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

    async fn cluster_status(
        &self,
        context: CallContext,
        _request: ClusterStatusRequest,
    ) -> Result<ClusterStatusReply, Status> {
        // Any session that holds may know how the cluster is.
        self.decided(&context, |_, _| {
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

fn malformed(error: Malformed) -> Status {
    Status::new(Code::InvalidArgument, Execution::NotStarted, error.0)
}

fn internal() -> Status {
    Status::new(
        Code::Internal,
        Execution::MaybeExecuted,
        "the coordinator answered another question",
    )
}

fn session_ended() -> Status {
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
