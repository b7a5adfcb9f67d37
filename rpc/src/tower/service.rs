//! A caller as a service.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::{Context, Poll};

use bytes::Bytes;
use tower_service::Service;

use super::Request;
use crate::caller::Caller;
use crate::status::{Execution, Status};

/// Makes the calls that come to it as requests. Always ready: bounds of calls
/// are layers' business and the connection's.
#[derive(Clone)]
pub struct CallerService<C> {
    caller: C,
}

impl<C> CallerService<C> {
    /// Calls over `caller`.
    pub fn new(caller: C) -> Self {
        Self { caller }
    }
}

impl<C: Caller + Clone + 'static> Service<Request> for CallerService<C> {
    type Response = Bytes;
    type Error = Status;
    type Future = Pin<Box<dyn Future<Output = Result<Bytes, Status>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Status>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request) -> Self::Future {
        let caller = self.caller.clone();
        request.trail.is_called.store(true, Ordering::Release);
        let attempt = Attempt::of(&request.trail);
        Box::pin(async move {
            let Request {
                method,
                guard,
                body,
                mut options,
                deadline,
                ..
            } = request;
            if let Some(deadline) = deadline {
                let left = deadline.saturating_duration_since(tokio::time::Instant::now());
                options.timeout = options.timeout.min(left);
            }
            let outcome = caller.call(method, guard, body, &options).await;
            attempt.ended(&outcome);
            outcome
        })
    }
}

impl<C> fmt::Debug for CallerService<C> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("CallerService")
            .finish_non_exhaustive()
    }
}

/// Whether a request has come through the layers.
#[derive(Debug, Default)]
pub(super) struct Trail {
    pub(super) is_called: AtomicBool,
    /// Attempts of which nothing is known yet. One that was dropped under way
    /// stays among them: it may have run.
    open: AtomicUsize,
    /// An attempt has failed that may have run.
    may_have_run: AtomicBool,
}

impl Trail {
    /// The failure, as one of all attempts.
    pub(super) fn with_all(&self, status: Status) -> Status {
        let may_have_run =
            self.may_have_run.load(Ordering::Acquire) || self.open.load(Ordering::Acquire) > 0;
        if !may_have_run {
            return status;
        }
        self.may_yet_run(status)
    }

    /// The failure of a request that somebody still holds, and may send.
    pub(super) fn may_yet_run(&self, status: Status) -> Status {
        if !status.execution().is_safe_to_retry() {
            return status;
        }
        Status::new(status.code(), Execution::MaybeExecuted, status.message())
            .with_details(status.details().clone())
            .foreign()
    }
}

/// One attempt under way.
struct Attempt(Arc<Trail>);

impl Attempt {
    fn of(trail: &Arc<Trail>) -> Self {
        trail.open.fetch_add(1, Ordering::AcqRel);
        Self(Arc::clone(trail))
    }

    fn ended<T>(self, outcome: &Result<T, Status>) {
        let is_safe = |status: &Status| status.execution().is_safe_to_retry();
        if !outcome.as_ref().is_err_and(is_safe) {
            self.0.may_have_run.store(true, Ordering::Release);
        }
        self.0.open.fetch_sub(1, Ordering::AcqRel);
    }
}
