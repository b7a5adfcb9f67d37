//! The client: finds a node, and asks again where that is safe.
//!
//! Reads are asked again whenever they fail. A write carries an operation id and
//! a deadline that stay the same at every attempt: whichever node takes it up, it
//! is applied once, and a retry finds what became of it. So a write too is asked
//! again, at another node if need be, until it is answered or its time is over;
//! only then is its outcome unknown.

mod failures;
mod login;
mod logout;
mod nodes;
mod write_turns;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use sealmoot_authn::cli::{Code, Failure, NodeOutcome};
use sealmoot_authn::pin::RealmPin;
use sealmoot_authn::presentation::Presentation;
use sealmoot_authn::records::RevokedNodesRecord;
use sealmoot_authn::roots::Roots;
use sealmoot_crypto::random;
use sealmoot_crypto::signature::SigningKey;
use sealmoot_rpc::{Connection, Connector, Execution, Limits, Status};

use crate::clock::Clock;
use crate::placement::preferred_member;
use crate::proto::failure_details::Kind;
use crate::proto::{
    ClusterStatusReply, ClusterStatusRequest, CompareAndSetRequest, CreateNamespaceRequest,
    DeleteRequest, GetReply, GetRequest, ListNamespacesReply, ListNamespacesRequest, ListReply,
    ListRequest, Namespace, NamespaceReply, NodeReport, Operation, PutRequest,
    ShowNamespaceRequest, StoreClient, WriteReply,
};
use crate::register::Expectation;

pub use crate::coordinator::Level;
pub use login::{LoginCredential, LoginRequest, log_in, log_in_with_codes, reach};
pub use logout::{EndedAt, end_session};
pub use sealmoot_authn::context::{Context, ContextError, current};

use failures::{Verdict, details_of, judge_status};
use nodes::Nodes;
use write_turns::WriteTurns;

/// Longest time for one attempt at one node; then another is asked.
const ATTEMPT_MAX: Duration = Duration::from_millis(2_500);
/// Longest time for one connection attempt.
const CONNECT_MAX: Duration = Duration::from_secs(2);
const PAUSE_FIRST: Duration = Duration::from_millis(10);
const PAUSE_MAX: Duration = Duration::from_millis(250);

/// A session in use.
pub struct Client {
    connector: Connector,
    pin: Arc<RealmPin>,
    addresses: Vec<String>,
    nodes: usize,
    realm: sealmoot_authn::realm_id::RealmId,
    connections: Nodes,
    /// Which address is asked first about what belongs to no key.
    preferred: AtomicU64,
    number: [u8; 16],
    sequence: AtomicU64,
    /// How far the cluster's clock was found ahead of this machine's.
    clock_lead_ms: AtomicU64,
    turns: WriteTurns,
    timeout: Duration,
    /// Addresses that did not answer last time, and why.
    silent: Mutex<Vec<NodeOutcome>>,
    now_ms: fn() -> u64,
}

/// What a write does.
#[derive(Debug, Clone)]
pub enum Write {
    /// Sets a value.
    Put(Bytes),
    /// Removes it.
    Delete,
    /// Sets it if the key is as expected.
    CompareAndSet(Expectation, Bytes),
    /// Creates the namespace that the key names: how many nodes hold a key, must
    /// hold a write, and answer a quorum read.
    CreateNamespace {
        /// N.
        replicas: u32,
        /// W.
        write: u32,
        /// R.
        read: u32,
    },
}

/// Why a write has no reply.
enum Unsent {
    /// No node could be reached just now; nothing was sent.
    NoNode,
    /// No node will ever take it.
    Final(Failure),
    /// It was sent, or could have been; the status says which.
    Failed(Status),
}

/// What a request needs besides the connection.
struct Attempt {
    /// The place of the node that is asked first.
    first: usize,
    /// The place of the node that was asked last.
    used: Option<usize>,
    started: Instant,
    deadline: Instant,
    pause: Duration,
    /// The last failure, which is reported when the time is over.
    last: Option<Failure>,
    /// Whether an attempt may have been proposed.
    maybe_executed: bool,
    /// How many nodes did not believe the session.
    refusals: usize,
}

impl Client {
    /// A client with the session of `context`, which gives each request
    /// `timeout`. `addresses` replace those of the context where there are any.
    ///
    /// # Errors
    /// A failure of the random source or of TLS.
    pub fn new(
        context: &Context,
        addresses: Vec<String>,
        timeout: Duration,
        now_ms: fn() -> u64,
    ) -> Result<Self, Failure> {
        let key = SigningKey::from_seed(&context.session_seed);
        let presentation = Presentation::Session {
            session: context.proof.session.clone(),
            receipt: context.proof.receipt.clone(),
        };
        let pin = Arc::new(context.pin(&presentation));
        let addresses = if addresses.is_empty() {
            context.addresses.clone()
        } else {
            addresses
        };
        Ok(Self {
            connector: Connector::new(&key, pin.clone(), limits()).map_err(Failure::internal)?,
            pin,
            connections: Nodes::new(addresses.len()),
            addresses,
            nodes: context.addresses.len(),
            realm: context.realm,
            preferred: AtomicU64::new(0),
            number: random::array().map_err(Failure::internal)?,
            sequence: AtomicU64::new(1),
            clock_lead_ms: AtomicU64::new(0),
            turns: WriteTurns::default(),
            timeout,
            silent: Mutex::new(Vec::new()),
            now_ms,
        })
    }

    /// Prefers the node at this place of the addresses for lists and questions about
    /// the cluster: clients that each prefer another one spread over the nodes. What is
    /// about one key goes to the node that the key prefers.
    #[must_use]
    pub fn preferring(self, index: usize) -> Self {
        self.preferred.store(index as u64, Ordering::Relaxed);
        self
    }

    /// Knows from now on of nodes that are believed no more.
    #[must_use]
    pub fn knowing(self, revoked_nodes: Option<RevokedNodesRecord>) -> Self {
        if let Some(record) = revoked_nodes {
            self.pin.know(record);
        }
        self
    }

    /// The nodes that are believed no more, as far as any node has shown it.
    #[must_use]
    pub fn revoked_nodes(&self) -> Option<RevokedNodesRecord> {
        self.pin.revoked_nodes()
    }

    /// The realm's roots, as far as any node has shown them.
    #[must_use]
    pub fn roots(&self) -> Option<Roots> {
        self.pin.roots()
    }

    /// Writes a key.
    ///
    /// # Errors
    /// A [`Failure`]; with [`Code::OutcomeUnknown`] it may have happened.
    pub async fn write(&self, key: &Bytes, write: Write) -> Result<WriteReply, Failure> {
        // One write of a key at a time, so that its number is the highest.
        let _turn = self.turns.take(key).await;
        let sequence = self.sequence.fetch_add(1, Ordering::Relaxed);
        let mut attempt = self.attempt(Some(key));
        let mut deadline = self.deadline();
        loop {
            let operation = Operation {
                client: Bytes::copy_from_slice(&self.number),
                sequence,
                deadline: deadline.0,
                fresh: !attempt.maybe_executed,
            };
            let sent = self.send_write(&mut attempt, key, &write, operation).await;
            let status = match sent {
                Ok(reply) => {
                    self.note_clock(reply.clock);
                    return Ok(reply);
                }
                Err(Unsent::Failed(status)) => status,
                Err(Unsent::NoNode) => {
                    self.pause(&mut attempt).await?;
                    continue;
                }
                Err(Unsent::Final(failure)) => {
                    attempt.last = Some(failure);
                    return Err(attempt.final_failure());
                }
            };
            let details = details_of(&status);
            if details.kind() == Kind::DeadlinePassed && !attempt.maybe_executed {
                self.note_clock(details.clock);
                deadline = Clock(details.clock).plus_ms(self.timeout_ms());
            }
            attempt.maybe_executed |= status.execution() == Execution::MaybeExecuted;
            self.take_failure(&mut attempt, &status).await?;
        }
    }

    /// Reads a key.
    ///
    /// # Errors
    /// A [`Failure`]; a read has no effect whatever it says.
    pub async fn get(&self, key: &Bytes, level: Level) -> Result<GetReply, Failure> {
        let request = GetRequest {
            key: key.clone(),
            level: crate::proto::Level::from(level).into(),
        };
        self.read(Some(key), |client, timeout| {
            let request = request.clone();
            async move { client.get(request, timeout).await }
        })
        .await
    }

    /// Lists keys that begin with `prefix` and follow `after`.
    ///
    /// # Errors
    /// A [`Failure`].
    pub async fn list(
        &self,
        prefix: &Bytes,
        after: &Bytes,
        limit: u32,
        level: Level,
    ) -> Result<ListReply, Failure> {
        let request = ListRequest {
            prefix: prefix.clone(),
            after: after.clone(),
            limit,
            level: crate::proto::Level::from(level).into(),
        };
        self.read(None, |client, timeout| {
            let request = request.clone();
            async move { client.list(request, timeout).await }
        })
        .await
    }

    /// Reads the settings of a namespace.
    ///
    /// # Errors
    /// A [`Failure`].
    pub async fn show_namespace(&self, name: &Bytes) -> Result<NamespaceReply, Failure> {
        let request = ShowNamespaceRequest { name: name.clone() };
        self.read(None, |client, timeout| {
            let request = request.clone();
            async move { client.show_namespace(request, timeout).await }
        })
        .await
    }

    /// Lists namespaces that follow `after` and that the session may administer.
    ///
    /// # Errors
    /// A [`Failure`].
    pub async fn list_namespaces(
        &self,
        after: &Bytes,
        limit: u32,
    ) -> Result<ListNamespacesReply, Failure> {
        let request = ListNamespacesRequest {
            after: after.clone(),
            limit,
        };
        self.read(None, |client, timeout| {
            let request = request.clone();
            async move { client.list_namespaces(request, timeout).await }
        })
        .await
    }

    /// Asks how every node is.
    ///
    /// # Errors
    /// A [`Failure`].
    pub async fn cluster_status(&self) -> Result<ClusterStatusReply, Failure> {
        self.read(None, |client, timeout| async move {
            client
                .cluster_status(ClusterStatusRequest {}, timeout)
                .await
        })
        .await
    }

    /// How many nodes the cluster has, as far as the client knows.
    #[must_use]
    pub fn nodes(&self) -> usize {
        self.nodes
    }

    /// The realm that the client pins.
    #[must_use]
    pub fn realm(&self) -> sealmoot_authn::realm_id::RealmId {
        self.realm
    }

    /// Nodes that the answering node cannot reach.
    #[must_use]
    pub fn troubles(&self, reported: &[NodeReport]) -> Vec<NodeOutcome> {
        reported.iter().map(failures::outcome_of).collect()
    }

    /// Addresses that this client could not connect to, and that no node reported.
    #[must_use]
    pub fn own_troubles(&self, reported: &[NodeReport]) -> Vec<NodeOutcome> {
        let silent = self.silent.lock().unwrap_or_else(PoisonError::into_inner);
        let unreported = |known: &&NodeOutcome| {
            reported
                .iter()
                .all(|report| report.address != known.address)
        };
        silent.iter().filter(unreported).cloned().collect()
    }

    async fn read<R, F>(
        &self,
        key: Option<&Bytes>,
        call: impl Fn(StoreClient, Duration) -> F,
    ) -> Result<R, Failure>
    where
        F: Future<Output = Result<R, Status>>,
    {
        let mut attempt = self.attempt(key);
        loop {
            let Some(connection) = self.connection(&mut attempt).await? else {
                self.pause(&mut attempt).await?;
                continue;
            };
            let timeout = attempt.next_timeout();
            match call(StoreClient::new(connection), timeout).await {
                Ok(reply) => return Ok(reply),
                Err(status) => self.take_failure(&mut attempt, &status).await?,
            }
        }
    }

    async fn send_write(
        &self,
        attempt: &mut Attempt,
        key: &Bytes,
        write: &Write,
        operation: Operation,
    ) -> Result<WriteReply, Unsent> {
        let connection = match self.connection(attempt).await {
            Ok(Some(connection)) => connection,
            Ok(None) => return Err(Unsent::NoNode),
            Err(failure) => return Err(Unsent::Final(failure)),
        };
        let client = StoreClient::new(connection);
        let timeout = attempt.next_timeout();
        let operation = Some(operation);
        let key = key.clone();
        let sent = match write {
            Write::Put(value) => {
                let value = value.clone();
                let request = PutRequest {
                    operation,
                    key,
                    value,
                };
                client.put(request, timeout).await
            }
            Write::Delete => {
                client
                    .delete(DeleteRequest { operation, key }, timeout)
                    .await
            }
            Write::CompareAndSet(expectation, value) => {
                let request = CompareAndSetRequest {
                    operation,
                    key,
                    value: value.clone(),
                    expected: failures::expectation_to_wire(expectation),
                };
                client.compare_and_set(request, timeout).await
            }
            Write::CreateNamespace {
                replicas,
                write,
                read,
            } => {
                let namespace = Namespace {
                    name: key,
                    replicas: *replicas,
                    write: *write,
                    read: *read,
                };
                let request = CreateNamespaceRequest {
                    operation,
                    namespace: Some(namespace),
                };
                client.create_namespace(request, timeout).await
            }
        };
        sent.map_err(Unsent::Failed)
    }

    /// A connection to some node; `None` when none answers just now.
    async fn connection(&self, attempt: &mut Attempt) -> Result<Option<Connection>, Failure> {
        let mut outcomes = Vec::new();
        let mut refused = None;
        for index in self.connections.in_order(attempt.first, Instant::now()) {
            let mut held = self.connections.connection(index).lock().await;
            if let Some(connection) = &*held
                && !connection.is_closed()
            {
                attempt.used = Some(index);
                return Ok(Some(connection.clone()));
            }
            *held = None;
            let address = &self.addresses[index];
            let patience = attempt.remaining().min(CONNECT_MAX);
            match self.connector.connect(address, patience).await {
                Ok(connection) => {
                    self.set_silent(outcomes);
                    self.connections.answered(index);
                    attempt.used = Some(index);
                    *held = Some(connection.clone());
                    return Ok(Some(connection));
                }
                Err(error) => {
                    self.connections.pass_over(index, Instant::now());
                    if let Some(failure) = failures::final_connect_failure(address, &error) {
                        return Err(failure);
                    }
                    refused = refused.or(failures::refused_session(&error));
                    outcomes.push(failures::unreachable(address, &error));
                }
            }
        }
        // All who answered refused: nobody else will say otherwise.
        if let Some(failure) = refused {
            return Err(failure.nodes(outcomes));
        }
        attempt.note(
            Failure::new(Code::Unreachable, "no node answered")
                .hint("start them (kvd start --data DIR), or name others with --endpoints")
                .nodes(outcomes.clone()),
        );
        self.set_silent(outcomes);
        Ok(None)
    }

    /// Remembers why an attempt failed, moves to another node where that may
    /// help, and waits; or ends with the failure.
    async fn take_failure(&self, attempt: &mut Attempt, status: &Status) -> Result<(), Failure> {
        let verdict = judge_status(status, attempt.maybe_executed);
        match verdict {
            Verdict::Final(failure) => return Err(attempt.end_with(failure)),
            Verdict::Retry(failure) => attempt.note(failure),
            Verdict::ElseWhere(failure) => {
                attempt.note(failure);
                self.leave_node(attempt).await;
            }
            Verdict::Refused(failure) => {
                attempt.refusals += 1;
                if attempt.refusals >= self.addresses.len() {
                    return Err(attempt.end_with(failure));
                }
                attempt.note(failure);
                self.leave_node(attempt).await;
            }
        }
        self.pause(attempt).await
    }

    /// Gives up the node that was asked last: the next attempt begins with another.
    async fn leave_node(&self, attempt: &mut Attempt) {
        let Some(index) = attempt.used.take() else {
            return;
        };
        self.connections.pass_over(index, Instant::now());
        attempt.first = (index + 1) % self.addresses.len();
        if let Some(connection) = self.connections.connection(index).lock().await.take() {
            connection.close();
        }
    }

    async fn pause(&self, attempt: &mut Attempt) -> Result<(), Failure> {
        if attempt.remaining() <= attempt.pause {
            return Err(attempt.final_failure());
        }
        tokio::time::sleep(attempt.pause).await;
        attempt.pause = (attempt.pause * 2).min(PAUSE_MAX);
        Ok(())
    }

    fn attempt(&self, key: Option<&Bytes>) -> Attempt {
        let started = Instant::now();
        let first = match key {
            Some(key) => preferred_member(key, self.addresses.len()),
            None => self.preferred.load(Ordering::Relaxed) as usize,
        };
        Attempt {
            first,
            used: None,
            started,
            deadline: started + self.timeout,
            pause: PAUSE_FIRST,
            last: None,
            maybe_executed: false,
            refusals: 0,
        }
    }

    fn set_silent(&self, outcomes: Vec<NodeOutcome>) {
        *self.silent.lock().unwrap_or_else(PoisonError::into_inner) = outcomes;
    }

    fn timeout_ms(&self) -> u64 {
        u64::try_from(self.timeout.as_millis()).unwrap_or(u64::MAX)
    }

    /// When an operation that begins now is over, by the cluster's clock as far
    /// as it is known.
    fn deadline(&self) -> Clock {
        let lead = self.clock_lead_ms.load(Ordering::Relaxed);
        Clock::from_ms((self.now_ms)().saturating_add(lead)).plus_ms(self.timeout_ms())
    }

    fn note_clock(&self, reading: u64) {
        let lead = Clock(reading).ms().saturating_sub((self.now_ms)());
        self.clock_lead_ms.store(lead, Ordering::Relaxed);
    }
}

impl Attempt {
    fn remaining(&self) -> Duration {
        self.deadline.saturating_duration_since(Instant::now())
    }

    /// Remembers a failure, unless it says only that time ran out while one more
    /// node was asked: then what was known before tells more.
    fn note(&mut self, failure: Failure) {
        let ran_out = failure.code == Code::Timeout || self.remaining().is_zero();
        if !ran_out || self.last.is_none() {
            self.last = Some(failure);
        }
    }

    fn next_timeout(&self) -> Duration {
        self.remaining().min(ATTEMPT_MAX)
    }

    /// The end, for a reason that another attempt would not change. It says nothing
    /// about attempts before, which may have acted.
    fn end_with(&mut self, failure: Failure) -> Failure {
        self.last = Some(failure);
        self.final_failure()
    }

    fn final_failure(&mut self) -> Failure {
        let waited = self.started.elapsed().as_secs_f32();
        let failure = self.last.take().unwrap_or_else(|| {
            Failure::new(Code::Timeout, format!("no answer within {waited:.1} s"))
                .hint("give more time with --timeout")
        });
        if self.maybe_executed && failure.code != Code::OutcomeUnknown {
            return Failure {
                code: Code::OutcomeUnknown,
                message: format!("it may have happened: {}", failure.message),
                hint: "read the key before you decide; kv help outcome_unknown".to_owned(),
                nodes: failure.nodes,
            };
        }
        failure
    }
}

/// Limits of a client's channel: a node that is silent for two seconds is left.
fn limits() -> Limits {
    Limits {
        calls_in_flight_max: 16 * 1024,
        keepalive_idle: Duration::from_millis(700),
        keepalive_timeout: Duration::from_millis(1_300),
        ..Limits::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn attempt(left: Duration) -> Attempt {
        let started = Instant::now();
        Attempt {
            first: 0,
            used: None,
            started,
            deadline: started + left,
            pause: PAUSE_FIRST,
            last: None,
            maybe_executed: false,
            refusals: 0,
        }
    }

    #[test]
    fn a_refusal_after_an_attempt_that_may_have_acted_is_no_certainty() {
        let refused = || Failure::new(Code::PermissionDenied, "no role grants it");
        let mut first = attempt(Duration::from_secs(60));
        assert_eq!(first.end_with(refused()).code, Code::PermissionDenied);
        let mut retried = attempt(Duration::from_secs(60));
        retried.maybe_executed = true;
        let told = retried.end_with(refused());
        assert_eq!(told.code, Code::OutcomeUnknown);
        assert!(told.message.contains("no role grants it"), "{told:?}");
    }

    #[test]
    fn that_time_ran_out_takes_nothing_back_of_what_a_node_has_said() {
        let no_quorum = || Failure::new(Code::NoQuorum, "1 of 3 nodes answered, 2 needed");
        let timeout = || Failure::new(Code::Timeout, "no time left to call");
        let unreachable = || Failure::new(Code::Unreachable, "no node answered");

        let mut in_time = attempt(Duration::from_secs(60));
        in_time.note(timeout());
        assert_eq!(in_time.final_failure().code, Code::Timeout);
        in_time.note(unreachable());
        in_time.note(no_quorum());
        in_time.note(timeout());
        assert_eq!(in_time.final_failure().code, Code::NoQuorum);
        in_time.note(no_quorum());
        in_time.note(unreachable());
        assert_eq!(in_time.final_failure().code, Code::Unreachable);

        let mut over = attempt(Duration::ZERO);
        over.note(no_quorum());
        over.note(unreachable());
        assert_eq!(over.final_failure().code, Code::NoQuorum);
    }
}
