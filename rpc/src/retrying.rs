//! Calls that are sent again, over a connection that is made again.

use std::collections::HashMap;
use std::fmt;
use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use bytes::Bytes;
use sealmoot_crypto::secret::SecretArray;
use tokio::time::{sleep, sleep_until, timeout_at};

use crate::client::{CallOptions, Connection};
use crate::limits::{DURATION_MAX, HEDGE_METHODS_MAX};
use crate::link::Link;
use crate::metadata::Metadata;
use crate::multiplexer::Extras;
use crate::once::{OnceId, Outcome, is_unknown_incarnation};
use crate::retry::{Attempts, Budget, Decision, Guard, Idempotency, Latencies, RetryPolicy};
use crate::status::{Code, Execution, Status};
use crate::streams::{RawPendingReply, RawReplyStream, RawRequestSink};

mod incarnations;

use incarnations::{Incarnations, Place};

/// A client of one place that sends failed calls again, where that cannot act
/// twice: what certainly did not start, methods that are idempotent, and
/// at-most-once calls ([`Guard`]). Retries and hedges of all its clones spend one
/// [`Budget`].
///
/// A status that comes out of it tells of all attempts together.
#[derive(Clone)]
pub struct Retrying {
    shared: Arc<Shared>,
}

struct Shared {
    link: Link,
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
        let state = Mutex::new(State {
            budget: Budget::new(now()),
            latencies: HashMap::new(),
            incarnations: Incarnations::default(),
        });
        let shared = Arc::new(Shared {
            link,
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
        };
        call.run().await
    }

    /// As [`Connection::client_stream`], over the current connection. A start that
    /// was not sent is tried once more; what fails later comes out of the streams.
    ///
    /// # Errors
    ///
    /// No such call can be made now; [`Execution::NotSent`].
    pub fn client_stream(
        &self,
        method: u64,
        options: &CallOptions,
    ) -> Result<(RawRequestSink, RawPendingReply), Status> {
        self.start(|connection| connection.client_stream(method, options))
    }

    /// As [`Connection::server_stream`], started as
    /// [`Retrying::client_stream`] does.
    ///
    /// # Errors
    ///
    /// No such call can be made now; [`Execution::NotSent`].
    pub fn server_stream(
        &self,
        method: u64,
        body: impl Into<Bytes>,
        options: &CallOptions,
    ) -> Result<RawReplyStream, Status> {
        let body = body.into();
        self.start(|connection| connection.server_stream(method, body.clone(), options))
    }

    /// As [`Connection::bidirectional`], started as
    /// [`Retrying::client_stream`] does.
    ///
    /// # Errors
    ///
    /// No such call can be made now; [`Execution::NotSent`].
    pub fn bidirectional(
        &self,
        method: u64,
        options: &CallOptions,
    ) -> Result<(RawRequestSink, RawReplyStream), Status> {
        self.start(|connection| connection.bidirectional(method, options))
    }

    /// What is called over.
    pub fn link(&self) -> &Link {
        &self.shared.link
    }

    fn start<T>(&self, start: impl Fn(&Connection) -> Result<T, Status>) -> Result<T, Status> {
        match start(&self.shared.connection()?) {
            Err(status)
                if status.execution().is_safe_to_retry()
                    && self.shared.state().budget.withdraw(now()) =>
            {
                // The connection may have ended a moment ago and be replaced.
                start(&self.shared.connection()?)
            }
            started => started,
        }
    }
}

impl fmt::Debug for Retrying {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Retrying")
            .field("link", &self.shared.link)
            .field("policy", &self.shared.policy)
            .finish_non_exhaustive()
    }
}

impl Shared {
    fn connection(&self) -> Result<Connection, Status> {
        self.link.connection().map_err(|cause| {
            let message = format!("no connection: {cause}");
            Status::new(Code::Unavailable, Execution::NotSent, message)
        })
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
            Err(_) => Err(self.too_late()),
        };
        let (connection, once) = match ready {
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
            let status = self.too_late();
            return Err(self.failed(&status));
        }
        let body = self.body.clone();
        let first = connection.call_extra(self.method, body, left, &extras);
        let mut first = pin!(first);
        let Some(hedge_at) = self.hedge_at(sent) else {
            let outcome = first.await;
            return self.ended(outcome, sent);
        };
        tokio::select! {
            biased;
            outcome = first.as_mut() => self.ended(outcome, sent),
            () = sleep_until(hedge_at.into()) => self.hedged(first, sent, &extras).await,
        }
    }

    /// The first attempt takes long: a second one beside it, if it may be.
    async fn hedged(
        &mut self,
        mut first: Pin<&mut (impl Future<Output = Outcome> + Send)>,
        sent: Instant,
        extras: &Extras,
    ) -> Result<Bytes, Decision> {
        let hedged = now();
        let left = self.attempts.deadline().saturating_duration_since(hedged);
        let connection = self.shared.link.connection().ok();
        let Some(connection) = connection.filter(|_| self.may_hedge(hedged)) else {
            let outcome = first.await;
            return self.ended(outcome, sent);
        };
        self.attempts.begin(hedged);
        let second = connection.call_extra(self.method, self.body.clone(), left, extras);
        let mut second = pin!(second);
        // Whichever is dropped unanswered is cancelled.
        tokio::select! {
            biased;
            outcome = first.as_mut() => match self.ended(outcome, sent) {
                Err(Decision::Wait) => {
                    let outcome = second.await;
                    self.ended(outcome, hedged)
                }
                ended => ended,
            },
            outcome = second.as_mut() => match self.ended(outcome, hedged) {
                Err(Decision::Wait) => {
                    let outcome = first.await;
                    self.ended(outcome, sent)
                }
                ended => ended,
            },
        }
    }

    /// What an attempt needs: a connection, and a name if it is one of at most
    /// once. A failure here is [`Execution::NotSent`].
    async fn prepare(&mut self) -> Result<(Connection, Option<OnceId>), Status> {
        let connection = self.shared.link.up().await;
        if self.guard != Guard::Once {
            return Ok((connection, None));
        }
        if self.attempts.is_too_late(now(), &self.shared.policy) {
            let message = "it is too long ago that the call was first sent";
            return Err(Status::new(Code::Unavailable, Execution::NotSent, message));
        }
        let server = connection.peer().key_id();
        if self
            .place
            .as_ref()
            .is_some_and(|place| place.server() != server)
        {
            if !self.attempts.may_move() {
                let message = "another server answers, which cannot know whether the call ran";
                return Err(Status::new(Code::Unavailable, Execution::NotSent, message));
            }
            self.place = None;
        }
        let place = match self.place.take() {
            Some(place) => place,
            None => Place::take(self.shared, &connection).await?,
        };
        let id = place.id();
        self.place = Some(place);
        Ok((connection, Some(id)))
    }

    /// An attempt that was sent then has ended.
    fn ended(&mut self, outcome: Outcome, sent: Instant) -> Result<Bytes, Decision> {
        if let Some(place) = &self.place {
            match &outcome {
                Ok(_) => place.heard(sent),
                Err(status) if is_unknown_incarnation(status) => place.lost(),
                Err(status) if status.execution() == Execution::Executed => place.heard(sent),
                Err(_) => {}
            }
        }
        match outcome {
            Ok(reply) => {
                self.took(sent);
                Ok(reply)
            }
            Err(status) => Err(self.failed(&status)),
        }
    }

    fn failed(&mut self, status: &Status) -> Decision {
        // Without randomness the longest rest is taken.
        let random = SecretArray::<8>::random()
            .map_or(u64::MAX, |bytes| u64::from_le_bytes(*bytes.expose()));
        let policy = &self.shared.policy;
        let budget = &mut self.shared.state().budget;
        self.attempts.failed(now(), status, policy, budget, random)
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

    fn too_late(&self) -> Status {
        let message = match self.shared.link.connection() {
            Ok(_) => "no time left to call".to_owned(),
            Err(cause) => format!("no connection in time: {cause}"),
        };
        Status::new(Code::DeadlineExceeded, Execution::NotSent, message)
    }
}

/// The runtime's clock, so that paused time in tests is honoured.
fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}

#[cfg(test)]
mod tests;
