//! A service as a caller.

use std::error::Error;
use std::fmt;
use std::future::poll_fn;
use std::sync::Arc;

use bytes::Bytes;
use tower_service::Service;

use super::Request;
use super::service::{CallerService, Trail};
use crate::caller::Caller;
use crate::client::CallOptions;
use crate::retry::Guard;
use crate::status::{Code, Execution, Status};
use crate::streams::{RawPendingReply, RawReplyStream, RawRequestSink};

/// Calls through layers.
///
/// A layer's own failure, one that is no [`Status`], reads as
/// [`Code::Unavailable`]: [`Execution::NotSent`] where the request is gone and
/// never came through, and [`Execution::MaybeExecuted`] otherwise.
#[derive(Clone)]
pub struct TowerCaller<S, C> {
    service: S,
    /// For streams.
    caller: C,
}

impl<S, C: Caller + Clone + 'static> TowerCaller<S, C> {
    /// Calls over `caller` through the layers that `wrap` puts around it.
    pub fn new(caller: C, wrap: impl FnOnce(CallerService<C>) -> S) -> Self {
        let service = wrap(CallerService::new(caller.clone()));
        Self { service, caller }
    }
}

impl<S, C> Caller for TowerCaller<S, C>
where
    S: Service<Request, Response = Bytes> + Clone + Send + Sync,
    S::Error: Into<Box<dyn Error + Send + Sync>>,
    S::Future: Send,
    C: Caller,
{
    async fn call(
        &self,
        method: u64,
        guard: Guard,
        body: Bytes,
        options: &CallOptions,
    ) -> Result<Bytes, Status> {
        let mut service = self.service.clone();
        let request = Request::new(method, guard, body, options.clone());
        let deadline = request.deadline;
        // Of this clone: readiness may be a place that it has taken.
        let ready = within(deadline, poll_fn(|cx| service.poll_ready(cx))).await;
        ready
            .ok_or_else(|| out_of_time(Execution::NotSent))?
            .map_err(|error| status_of(error.into(), Execution::NotSent))?;
        let trail = Arc::clone(&request.trail);
        let Some(answered) = within(deadline, service.call(request)).await else {
            return Err(out_of_time(execution_of(trail)));
        };
        answered.map_err(|error| match error.into().downcast::<Status>() {
            // A layer that sends again passes on the last failure, which takes
            // nothing back of the attempts before, nor of one that it may yet make.
            Ok(status) if Arc::strong_count(&trail) > 1 => trail.may_yet_run(*status),
            Ok(status) => trail.with_all(*status),
            Err(error) => {
                let execution = execution_of(trail);
                Status::new(Code::Unavailable, execution, error.to_string())
            }
        })
    }

    async fn client_stream(
        &self,
        method: u64,
        options: &CallOptions,
    ) -> Result<(RawRequestSink, RawPendingReply), Status> {
        self.caller.client_stream(method, options).await
    }

    async fn server_stream(
        &self,
        method: u64,
        body: Bytes,
        options: &CallOptions,
    ) -> Result<RawReplyStream, Status> {
        self.caller.server_stream(method, body, options).await
    }

    async fn bidirectional(
        &self,
        method: u64,
        options: &CallOptions,
    ) -> Result<(RawRequestSink, RawReplyStream), Status> {
        self.caller.bidirectional(method, options).await
    }
}

impl<S, C> fmt::Debug for TowerCaller<S, C> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("TowerCaller")
            .finish_non_exhaustive()
    }
}

/// What comes of `work` by the deadline; none when it is over.
async fn within<T>(
    deadline: Option<tokio::time::Instant>,
    work: impl Future<Output = T>,
) -> Option<T> {
    match deadline {
        Some(deadline) => tokio::time::timeout_at(deadline, work).await.ok(),
        None => Some(work.await),
    }
}

fn out_of_time(execution: Execution) -> Status {
    Status::new(Code::DeadlineExceeded, execution, "no time is left")
}

/// What is known of a request that a layer has failed. While anybody still holds
/// it, it may yet be sent.
fn execution_of(mut trail: Arc<Trail>) -> Execution {
    match Arc::get_mut(&mut trail).map(|trail| *trail.is_called.get_mut()) {
        Some(false) => Execution::NotSent,
        Some(true) | None => Execution::MaybeExecuted,
    }
}

/// `execution` is of a layer's own failure.
fn status_of(error: Box<dyn Error + Send + Sync>, execution: Execution) -> Status {
    match error.downcast::<Status>() {
        Ok(status) => *status,
        Err(error) => Status::new(Code::Unavailable, execution, error.to_string()),
    }
}
