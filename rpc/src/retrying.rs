//! Calls that are sent again, over connections that are made again.

use std::collections::HashMap;
use std::fmt;
use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use bytes::Bytes;
use tokio::time::{sleep, sleep_until, timeout_at};

use crate::binding::balance::EndpointId;
use crate::binding::endpoints::Endpoints;
use crate::client::{CallOptions, StreamCall};
use crate::details::RetryAfter;
use crate::limits::{DURATION_MAX, HEDGE_METHODS_MAX};
use crate::link::Link;
use crate::metadata::Metadata;
use crate::multiplexer::Extras;
use crate::once::{OnceId, Outcome, is_unknown_incarnation};
use crate::pause::random;
use crate::retry::{Attempts, Budget, Decision, Guard, Idempotency, Latencies, RetryPolicy};
use crate::service::MethodKind;
use crate::status::{Code, Execution, Status};
use crate::streams::{RawPendingReply, RawReplyStream, RawRequestSink};

mod incarnations;
mod reach;

use incarnations::{Incarnations, Place};
use reach::{Lease, Reach};

/// A client of one place, or of a name ([`Binder`](crate::binding::Binder)), that
/// sends failed calls again, where that cannot act twice: what certainly did not
/// start, methods that are idempotent, and at-most-once calls ([`Guard`]). Retries
/// and hedges of all its clones spend one [`Budget`], except that the first attempt
/// after one that ended with its connection is free, once a call.
///
/// Where there is no connection, a call waits for one. When its time is over before
/// there is, it fails with [`Code::DeadlineExceeded`], and its message ends with why
/// there was none; if no attempt was made before, with [`Execution::NotSent`]. A
/// name that nobody knows, or whose record is not to be believed, fails a call at
/// once.
///
/// A status that comes out of it tells of all attempts together.
///
/// ```no_run
/// # use std::sync::Arc;
/// # use std::time::Duration;
/// # use sealmoot_rpc::{Connector, Link, RetryPolicy, Retrying};
/// # fn example(connector: Arc<Connector>) -> Retrying {
/// // Keeps one connection up; each attempt at it takes two seconds at most.
/// let link = Link::start(move || {
///     let connector = Arc::clone(&connector);
///     async move { Ok(connector.connect("store.example:7000", Duration::from_secs(2)).await?) }
/// });
/// Retrying::new(link, RetryPolicy::default())
/// # }
/// ```
#[derive(Clone)]
pub struct Retrying {
    shared: Arc<Shared>,
}

struct Shared {
    reach: Reach,
    policy: RetryPolicy,
    state: Mutex<State>,
}

struct State {
    budget: Budget,
    /// By method, of idempotent ones.
    latencies: HashMap<u64, Latencies>,
    incarnations: Incarnations,
}

impl Retrying {
    /// Calls over whatever connection `link` has at the time.
    pub fn new(link: Link, policy: RetryPolicy) -> Self {
        Self::over(Reach::One(link), policy)
    }

    /// Calls at whatever endpoint is good for the next attempt.
    pub(crate) fn named(endpoints: Arc<Endpoints>, policy: RetryPolicy) -> Self {
        Self::over(Reach::Named(endpoints), policy)
    }

    fn over(reach: Reach, policy: RetryPolicy) -> Self {
        let state = Mutex::new(State {
            budget: Budget::new(now()),
            latencies: HashMap::new(),
            incarnations: Incarnations::default(),
        });
        let shared = Arc::new(Shared {
            reach,
            policy,
            state,
        });
        Self { shared }
    }

    /// Calls a method and waits for its reply, through as many attempts as the
    /// policy, the budget and the options' timeout allow. Waits for a connection
    /// when there is none.
    ///
    /// Dropping the future cancels the attempts that are under way.
    ///
    /// # Errors
    ///
    /// How the last attempt failed, and the most that any of them can have done.
    /// [`Code::OutcomeUnknown`] when the server has forgotten an at-most-once call
    /// that may have run.
    pub async fn call(
        &self,
        method: u64,
        guard: Guard,
        body: impl Into<Bytes>,
        options: &CallOptions,
    ) -> Result<Bytes, Status> {
        let deadline = now() + options.timeout.min(DURATION_MAX);
        self.shared.state().budget.deposit();
        let call = Call {
            shared: &self.shared,
            method,
            guard,
            body: body.into(),
            metadata: &options.metadata,
            attempts: Attempts::new(guard, deadline),
            place: None,
            tried: Vec::new(),
        };
        call.run().await
    }

    /// As [`client_stream`](crate::Connection::client_stream) of a connection, for
    /// which it waits if there is none. A start that was not sent is tried once
    /// more; what fails later comes out of the streams.
    ///
    /// # Errors
    ///
    /// No such call could be made; [`Execution::NotSent`].
    pub async fn client_stream(
        &self,
        method: u64,
        options: &CallOptions,
    ) -> Result<(RawRequestSink, RawPendingReply), Status> {
        let (kind, body) = (MethodKind::ClientStream, Bytes::new());
        let stream = self.start(kind, method, body, options).await?;
        Ok(RawRequestSink::answered(stream))
    }

    /// As [`server_stream`](crate::Connection::server_stream) of a connection, started as
    /// [`Retrying::client_stream`] does.
    ///
    /// # Errors
    ///
    /// No such call could be made; [`Execution::NotSent`].
    pub async fn server_stream(
        &self,
        method: u64,
        body: impl Into<Bytes>,
        options: &CallOptions,
    ) -> Result<RawReplyStream, Status> {
        let (kind, body) = (MethodKind::ServerStream, body.into());
        let stream = self.start(kind, method, body, options).await?;
        Ok(RawReplyStream::new(stream))
    }

    /// As [`bidirectional`](crate::Connection::bidirectional) of a connection, started as
    /// [`Retrying::client_stream`] does.
    ///
    /// # Errors
    ///
    /// No such call could be made; [`Execution::NotSent`].
    pub async fn bidirectional(
        &self,
        method: u64,
        options: &CallOptions,
    ) -> Result<(RawRequestSink, RawReplyStream), Status> {
        let (kind, body) = (MethodKind::Bidirectional, Bytes::new());
        let stream = self.start(kind, method, body, options).await?;
        Ok(RawRequestSink::both_ways(stream))
    }

    /// Whether a connection stands, so that a call could be sent at once.
    pub fn is_up(&self) -> bool {
        self.shared.reach.is_up()
    }

    /// Waits until a connection stands. Callers put a deadline around it.
    ///
    /// # Errors
    ///
    /// There is nobody to wait for: the name is not known, or its record is not to
    /// be believed. Of one place, none.
    pub async fn up(&self) -> Result<(), Status> {
        self.shared.reach.lease(&[], None).await.map(|_| ())
    }

    async fn start(
        &self,
        kind: MethodKind,
        method: u64,
        body: Bytes,
        options: &CallOptions,
    ) -> Result<Arc<StreamCall>, Status> {
        let deadline = now() + options.timeout.min(DURATION_MAX);
        let (mut tried, mut is_second) = (Vec::new(), false);
        loop {
            let leased = timeout_at(deadline.into(), self.shared.reach.lease(&tried, None));
            let lease = match leased.await {
                Ok(lease) => lease?,
                Err(_) => return Err(self.shared.too_late()),
            };
            let mut options = options.clone();
            options.timeout = deadline.saturating_duration_since(now());
            let endpoint = lease.endpoint();
            let (connection, seat) = lease.into_parts();
            match connection.stream(kind, method, body.clone(), &options, seat) {
                // The connection may have ended a moment ago and be replaced.
                Err(status)
                    if status.execution().is_safe_to_retry()
                        && !is_second
                        && self.shared.state().budget.withdraw(now()) =>
                {
                    is_second = true;
                    tried.extend(endpoint);
                }
                started => return started,
            }
        }
    }
}

impl fmt::Debug for Retrying {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Retrying")
            .field("reach", &self.shared.reach)
            .field("policy", &self.shared.policy)
            .finish_non_exhaustive()
    }
}

impl Shared {
    /// A status for a caller whose time has run out.
    fn too_late(&self) -> Status {
        let message = match self.reach.cause() {
            None => "no time left to call".to_owned(),
            Some(cause) => format!("no connection in time: {cause}"),
        };
        Status::new(Code::DeadlineExceeded, Execution::NotSent, message)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // No code that can panic runs between two sound states.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One call over all its attempts.
struct Call<'a> {
    shared: &'a Arc<Shared>,
    method: u64,
    guard: Guard,
    body: Bytes,
    metadata: &'a Metadata,
    attempts: Attempts,
    /// The name of an at-most-once call, from its first attempt on.
    place: Option<Place>,
    /// Endpoints at which an attempt has failed.
    tried: Vec<EndpointId>,
}

impl Call<'_> {
    async fn run(mut self) -> Outcome {
        loop {
            self.attempts.begin(now());
            match self.round().await {
                Ok(reply) => return Ok(reply),
                Err(Decision::Report(status)) => return Err(status),
                Err(Decision::Again(rest)) => sleep(rest).await,
                Err(Decision::Anew) => self.place = None,
                // Within a round.
                Err(Decision::Wait) => {}
            }
        }
    }

    /// An attempt that has begun, and a hedge beside it.
    async fn round(&mut self) -> Result<Bytes, Decision> {
        let deadline = self.attempts.deadline();
        let ready = match timeout_at(deadline.into(), self.prepare()).await {
            Ok(ready) => ready,
            Err(_) => Err(self.shared.too_late()),
        };
        let (lease, once) = match ready {
            Ok(ready) => ready,
            Err(status) => return Err(self.failed(&status)),
        };
        let extras = Extras {
            metadata: self.metadata.clone(),
            once,
        };
        let sent = now();
        // All the time that is left, at most once or not: an attempt that ran out
        // of a share of it would cancel what the next one wants to join.
        let left = deadline.saturating_duration_since(sent);
        if left.is_zero() {
            let status = self.shared.too_late();
            return Err(self.failed(&status));
        }
        let (body, connection) = (self.body.clone(), lease.connection.clone());
        let mut first = pin!(connection.call_extra(self.method, body, left, &extras));
        let Some(hedge_at) = self.hedge_at(sent) else {
            let outcome = first.await;
            return self.ended(outcome, sent, lease);
        };
        tokio::select! {
            biased;
            outcome = first.as_mut() => self.ended(outcome, sent, lease),
            () = sleep_until(hedge_at.into()) => self.hedged(first, sent, lease, &extras).await,
        }
    }

    /// The first attempt takes long: a second one beside it, if it may be.
    async fn hedged(
        &mut self,
        mut first: Pin<&mut (impl Future<Output = Outcome> + Send)>,
        sent: Instant,
        lease: Lease,
        extras: &Extras,
    ) -> Result<Bytes, Decision> {
        let hedged = now();
        let left = self.attempts.deadline().saturating_duration_since(hedged);
        let tried: Vec<_> = self.tried.iter().copied().chain(lease.endpoint()).collect();
        let beside = self.shared.reach.lease_now(&tried);
        let Some(beside) = beside.filter(|_| self.may_hedge(hedged)) else {
            let outcome = first.await;
            return self.ended(outcome, sent, lease);
        };
        self.attempts.begin(hedged);
        let (body, connection) = (self.body.clone(), beside.connection.clone());
        let mut second = pin!(connection.call_extra(self.method, body, left, extras));
        // Whichever is dropped unanswered is cancelled.
        tokio::select! {
            biased;
            outcome = first.as_mut() => match self.ended(outcome, sent, lease) {
                Err(Decision::Wait) => {
                    let outcome = second.await;
                    self.ended(outcome, hedged, beside)
                }
                ended => ended,
            },
            outcome = second.as_mut() => match self.ended(outcome, hedged, beside) {
                Err(Decision::Wait) => {
                    let outcome = first.await;
                    self.ended(outcome, sent, lease)
                }
                ended => ended,
            },
        }
    }

    /// What an attempt needs: a connection, and a name if it is one of at most
    /// once. A failure here is [`Execution::NotSent`].
    async fn prepare(&mut self) -> Result<(Lease, Option<OnceId>), Status> {
        // What may have run is known where it was sent and nowhere else.
        let place = self.place.as_ref().filter(|_| !self.attempts.may_move());
        let server = place.map(Place::server);
        let lease = self.shared.reach.lease(&self.tried, server).await?;
        if self.guard != Guard::Once {
            return Ok((lease, None));
        }
        if self.attempts.is_too_late(now(), &self.shared.policy) {
            let message = "it is too long ago that the call was first sent";
            return Err(Status::new(Code::Unavailable, Execution::NotSent, message));
        }
        let server = lease.connection.peer().key_id();
        let place = match self.place.take().filter(|place| place.server() == server) {
            Some(place) => place,
            None => Place::take(self.shared, &lease.connection).await?,
        };
        let id = place.id();
        self.place = Some(place);
        Ok((lease, Some(id)))
    }

    /// An attempt that was sent then has ended.
    fn ended(&mut self, outcome: Outcome, sent: Instant, lease: Lease) -> Result<Bytes, Decision> {
        if let Some(place) = &self.place {
            match &outcome {
                Ok(_) => place.heard(sent),
                Err(status) if is_unknown_incarnation(status) => place.lost(),
                Err(status) if status.execution() == Execution::Executed => place.heard(sent),
                Err(_) => {}
            }
        }
        let (endpoint, is_cut) = (lease.endpoint(), lease.connection.is_closed());
        lease.end(&outcome);
        match outcome {
            Ok(reply) => {
                self.took(sent);
                Ok(reply)
            }
            Err(status) => {
                self.tried.extend(endpoint);
                if is_cut {
                    self.attempts.cut();
                }
                Err(self.failed(&status))
            }
        }
    }

    fn failed(&mut self, status: &Status) -> Decision {
        let random = random();
        let policy = &self.shared.policy;
        // What one server asks for does not keep the call from another.
        let moves = status.detail::<RetryAfter>().is_some()
            && self.attempts.may_move()
            && self.shared.reach.has_other(&self.tried);
        let judged = match moves {
            true => status.clone().with_details(Bytes::new()),
            false => status.clone(),
        };
        let budget = &mut self.shared.state().budget;
        let decision = self.attempts.failed(now(), &judged, policy, budget, random);
        match decision {
            Decision::Report(report) if moves && report.details().is_empty() => {
                Decision::Report(report.with_details(status.details().clone()))
            }
            decision => decision,
        }
    }

    fn took(&self, sent: Instant) {
        let is_idempotent = matches!(
            self.guard,
            Guard::Method(Idempotency::NoSideEffects | Idempotency::Idempotent)
        );
        if !is_idempotent || !self.shared.policy.hedges {
            return;
        }
        let latency = now().saturating_duration_since(sent);
        let latencies = &mut self.shared.state().latencies;
        if latencies.len() < HEDGE_METHODS_MAX || latencies.contains_key(&self.method) {
            latencies.entry(self.method).or_default().record(latency);
        }
    }

    fn hedge_at(&self, sent: Instant) -> Option<Instant> {
        let state = self.shared.state();
        let latencies = state.latencies.get(&self.method)?;
        self.attempts.hedge_at(sent, latencies, &self.shared.policy)
    }

    fn may_hedge(&mut self, at: Instant) -> bool {
        let budget = &mut self.shared.state().budget;
        self.attempts.hedge(at, &self.shared.policy, budget)
    }
}

/// The runtime's clock, so that paused time in tests is honoured.
fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}

#[cfg(test)]
mod tests;
