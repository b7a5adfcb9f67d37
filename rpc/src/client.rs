//! A connection to a server, and the calls made over it.

use std::collections::HashMap;
use std::fmt;
use std::future::Future;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::{oneshot, watch};

use crate::binding::endpoints::Seat;
use crate::connection::{Driver, Endpoint, Input, Outlook};
use crate::frame::Violation;
use crate::limits::Limits;
use crate::metadata::Metadata;
use crate::multiplexer::{self, Extras, Side, Taken, Unsent};
use crate::peer::Peer;
use crate::service::{CallContext, MethodKind};
use crate::status::{Code, Execution, Status};
use crate::streams::{RawPendingReply, RawReplyStream, RawRequestSink};

type Outcome = Result<Bytes, Status>;
type Waiter = oneshot::Sender<Outcome>;

/// What a call carries beside its request, and how long it may take.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct CallOptions {
    /// How long the caller waits. It travels with the call, and the server
    /// drops the handler when it is over.
    pub timeout: Duration,
    /// What the handler, and whoever stands before it, sees beside the request.
    pub metadata: Metadata,
}

impl CallOptions {
    /// No metadata.
    pub fn new(timeout: Duration) -> Self {
        Self {
            timeout,
            metadata: Metadata::new(),
        }
    }

    /// For a call that a handler makes: what remains of the handler's own time, or
    /// `timeout_max` if that is less. So nobody works on after the first caller has
    /// gone. A call that has no time left is not sent.
    pub fn within(context: &CallContext, timeout_max: Duration) -> Self {
        let remaining = context.remaining().unwrap_or(Duration::MAX);
        Self::new(remaining.min(timeout_max))
    }

    /// The same with metadata.
    #[must_use]
    pub fn with_metadata(mut self, metadata: Metadata) -> Self {
        self.metadata = metadata;
        self
    }
}

impl From<Duration> for CallOptions {
    fn from(timeout: Duration) -> Self {
        Self::new(timeout)
    }
}

/// An authenticated connection to one server.
///
/// Clones share the connection. When the last clone is dropped, what is queued
/// is still sent and the connection closes.
#[derive(Clone)]
pub struct Connection {
    handle: Arc<Handle>,
}

impl Connection {
    /// Calls a method and waits for its reply, at most for `timeout`.
    ///
    /// Dropping the future cancels the call: the server drops its handler.
    ///
    /// # Errors
    ///
    /// The server's status, or one made here; either way
    /// [`Status::execution`] tells whether the call may have had an effect.
    pub async fn call(
        &self,
        method: u64,
        body: impl Into<Bytes>,
        timeout: Duration,
    ) -> Result<Bytes, Status> {
        let extras = Extras::default();
        self.call_extra(method, body.into(), timeout, &extras).await
    }

    /// The same with options.
    ///
    /// # Errors
    ///
    /// As [`Connection::call`].
    pub async fn call_with(
        &self,
        method: u64,
        body: impl Into<Bytes>,
        options: &CallOptions,
    ) -> Result<Bytes, Status> {
        let extras = Extras {
            metadata: options.metadata.clone(),
            once: None,
        };
        self.call_extra(method, body.into(), options.timeout, &extras)
            .await
    }

    /// Calls a method with a stream of requests, which is answered once.
    /// Returns at once: nothing has been sent yet.
    ///
    /// # Errors
    ///
    /// No such call can be made now; [`Execution::NotSent`].
    pub fn client_stream(
        &self,
        method: u64,
        options: &CallOptions,
    ) -> Result<(RawRequestSink, RawPendingReply), Status> {
        let (stream, body) = (MethodKind::ClientStream, Bytes::new());
        let stream = self.stream(stream, method, body, options, None)?;
        Ok(RawRequestSink::answered(stream))
    }

    /// Calls a method that answers with a stream. Returns at once: nothing has
    /// been sent yet.
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
        let (stream, body) = (MethodKind::ServerStream, body.into());
        let stream = self.stream(stream, method, body, options, None)?;
        Ok(RawReplyStream::new(stream))
    }

    /// Calls a method with streams both ways. Returns at once: nothing has been
    /// sent yet.
    ///
    /// # Errors
    ///
    /// No such call can be made now; [`Execution::NotSent`].
    pub fn bidirectional(
        &self,
        method: u64,
        options: &CallOptions,
    ) -> Result<(RawRequestSink, RawReplyStream), Status> {
        let (stream, body) = (MethodKind::Bidirectional, Bytes::new());
        let stream = self.stream(stream, method, body, options, None)?;
        Ok(RawRequestSink::both_ways(stream))
    }

    /// Begins a call with a stream, which holds `seat` until it is over.
    pub(crate) fn stream(
        &self,
        kind: MethodKind,
        method: u64,
        body: Bytes,
        options: &CallOptions,
        mut seat: Option<Seat>,
    ) -> Result<Arc<StreamCall>, Status> {
        let call = self.handle.link.begin_stream(kind, method, body, options)?;
        if let Some(seat) = &mut seat {
            seat.lasts();
        }
        Ok(Arc::new(StreamCall {
            handle: Arc::clone(&self.handle),
            call,
            seat,
            is_answered: AtomicBool::new(false),
        }))
    }

    /// The same with whatever a call may carry: for the attempts of one.
    pub(crate) async fn call_extra(
        &self,
        method: u64,
        body: Bytes,
        timeout: Duration,
        extras: &Extras,
    ) -> Result<Bytes, Status> {
        let (waiter, outcome) = oneshot::channel();
        let call = self
            .handle
            .link
            .begin(method, body, timeout, extras, waiter)?;
        let mut cancel = CancelOnDrop {
            link: &self.handle.link,
            call: Some(call),
        };
        let outcome = outcome.await;
        cancel.call = None;
        outcome.unwrap_or_else(|_| {
            Err(Status::new(
                Code::Unavailable,
                Execution::MaybeExecuted,
                "the connection was closed",
            ))
        })
    }

    /// The server, verified and admitted.
    pub fn peer(&self) -> &Peer {
        &self.handle.link.peer
    }

    /// Whether no further call can be made: the connection is lost or closed,
    /// or the server asked to go. Calls in flight may still end well.
    pub fn is_closed(&self) -> bool {
        *self.handle.link.closed.borrow()
    }

    /// Whether the server has said that it takes no more calls because it ends.
    pub(crate) fn is_draining(&self) -> bool {
        self.handle.link.lock().multiplexer.is_draining()
    }

    /// Whether this is a clone of the other.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.handle, &other.handle)
    }

    /// Waits until no further call can be made.
    pub async fn closed(&self) {
        let mut closed = self.handle.link.closed.subscribe();
        // The sender lives as long as this borrow, so waiting cannot fail.
        let _ = closed.wait_for(|closed| *closed).await;
    }

    /// Ends every call in flight and closes the connection.
    pub fn close(&self) {
        self.handle.link.close();
    }

    /// A connection over an authenticated stream, and the task that drives it.
    pub(crate) fn over<S>(
        stream: S,
        peer: Peer,
        limits: &Limits,
    ) -> (Self, impl Future<Output = ()> + Send + use<S>)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send,
    {
        let (closed, _) = watch::channel(false);
        let link = Arc::new(Link {
            state: Mutex::new(State {
                multiplexer: multiplexer::Client::new(limits.clone()),
                waiting: HashMap::new(),
                waker: None,
                is_closing: false,
            }),
            closed,
            peer,
        });
        let endpoint = ClientEndpoint {
            link: Arc::clone(&link),
            outcomes: Vec::new(),
        };
        let driver = Driver::new(stream, endpoint, limits);
        let handle = Arc::new(Handle { link });
        (Self { handle }, driver)
    }
}

impl fmt::Debug for Connection {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Connection")
            .field("peer", self.peer())
            .field("is_closed", &self.is_closed())
            .finish()
    }
}

/// What the clones of a connection share. The driver does not hold it, so its
/// end shows that nobody can call any more.
struct Handle {
    link: Arc<Link>,
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.link.release();
    }
}

/// A call with a stream, as the users of its streams share it. When the last
/// of them is dropped, the call is cancelled unless it is over.
pub(crate) struct StreamCall {
    handle: Arc<Handle>,
    call: u32,
    /// While it lives, the call counts as in flight at its endpoint.
    seat: Option<Seat>,
    is_answered: AtomicBool,
}

impl StreamCall {
    /// The next reply; the one reply of a client's stream comes so, too.
    pub(crate) fn poll_reply(&self, cx: &mut Context<'_>) -> Poll<Result<Option<Bytes>, Status>> {
        let mut state = self.handle.link.lock();
        let taken = match state.multiplexer.take(self.call) {
            Taken::Message(message) => Ok(Some(message)),
            Taken::End => Ok(None),
            Taken::Failed(status) => Err(status),
            Taken::Wait => {
                let waker = cx.waker().clone();
                state.waiting.insert((self.call, Side::Reader), waker);
                return Poll::Pending;
            }
        };
        // Taking may have made credit due.
        let waker = state.waker_for_output();
        drop(state);
        wake(waker);
        if let Some(seat) = &self.seat
            && taken.is_ok()
            && !self.is_answered.swap(true, Ordering::Relaxed)
        {
            seat.answered();
        }
        Poll::Ready(taken)
    }

    /// Queues a message when there is credit; it comes back in `message` when
    /// there is none.
    pub(crate) fn poll_send(
        &self,
        message: &mut Option<Bytes>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), Status>> {
        let Some(taken) = message.take() else {
            return Poll::Ready(Ok(()));
        };
        let mut state = self.handle.link.lock();
        match state.multiplexer.send(self.call, taken) {
            Ok(()) => {
                let waker = state.waker.take();
                drop(state);
                wake(waker);
                Poll::Ready(Ok(()))
            }
            Err(Unsent::Wait(back)) => {
                *message = Some(back);
                let waker = cx.waker().clone();
                state.waiting.insert((self.call, Side::Writer), waker);
                Poll::Pending
            }
            Err(Unsent::Over(status)) => Poll::Ready(Err(status)),
        }
    }

    /// Ends our stream.
    pub(crate) fn finish(&self) {
        let mut state = self.handle.link.lock();
        state.multiplexer.finish(self.call);
        let waker = state.waker.take();
        drop(state);
        wake(waker);
    }

    /// The call is no longer wanted.
    pub(crate) fn cancel(&self) {
        self.handle.link.cancel(self.call);
    }
}

impl Drop for StreamCall {
    fn drop(&mut self) {
        self.handle.link.release_stream(self.call);
    }
}

/// What callers and the driver share.
struct Link {
    state: Mutex<State>,
    closed: watch::Sender<bool>,
    peer: Peer,
}

struct State {
    multiplexer: multiplexer::Client<Waiter>,
    /// Users of streams that wait: at most two a call.
    waiting: HashMap<(u32, Side), Waker>,
    waker: Option<Waker>,
    is_closing: bool,
}

impl Link {
    fn begin(
        &self,
        method: u64,
        body: Bytes,
        timeout: Duration,
        extras: &Extras,
        waiter: Waiter,
    ) -> Result<u32, Status> {
        let now = tokio::time::Instant::now().into_std();
        let mut state = self.lock();
        let call = state
            .multiplexer
            .begin_with(now, method, body, timeout, extras, waiter)?;
        let waker = state.waker.take();
        drop(state);
        wake(waker);
        Ok(call)
    }

    fn begin_stream(
        &self,
        kind: MethodKind,
        method: u64,
        body: Bytes,
        options: &CallOptions,
    ) -> Result<u32, Status> {
        let now = tokio::time::Instant::now().into_std();
        let (timeout, metadata) = (options.timeout, options.metadata.clone());
        let mut state = self.lock();
        let call = state
            .multiplexer
            .begin_stream(now, kind, method, body, timeout, metadata)?;
        let waker = state.waker.take();
        drop(state);
        wake(waker);
        Ok(call)
    }

    fn cancel(&self, call: u32) {
        let mut state = self.lock();
        state.multiplexer.cancel(call);
        let wakers = state.wakers();
        drop(state);
        wake(wakers);
    }

    fn release_stream(&self, call: u32) {
        let mut state = self.lock();
        state.multiplexer.release(call);
        state.waiting.remove(&(call, Side::Reader));
        state.waiting.remove(&(call, Side::Writer));
        let wakers = state.wakers();
        drop(state);
        wake(wakers);
    }

    fn close(&self) {
        let mut outcomes = Vec::new();
        let mut state = self.lock();
        state.is_closing = true;
        let reason = Status::new(
            Code::Cancelled,
            Execution::MaybeExecuted,
            "the connection was closed here",
        );
        state.multiplexer.fail_all(&reason, &mut outcomes);
        let wakers = state.wakers();
        drop(state);
        self.closed.send_replace(true);
        deliver(&mut outcomes);
        wake(wakers);
    }

    fn release(&self) {
        let mut state = self.lock();
        state.is_closing = true;
        let waker = state.waker.take();
        drop(state);
        wake(waker);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // No code that can panic runs between two sound states.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct CancelOnDrop<'a> {
    link: &'a Link,
    call: Option<u32>,
}

impl Drop for CancelOnDrop<'_> {
    fn drop(&mut self) {
        if let Some(call) = self.call {
            self.link.cancel(call);
        }
    }
}

/// The client's decisions for the driver.
struct ClientEndpoint {
    link: Arc<Link>,
    outcomes: Vec<(Waiter, Outcome)>,
}

impl Endpoint for ClientEndpoint {
    fn receive(&mut self, input: &mut Input, _now: Instant) -> Result<(), Violation> {
        let mut state = self.link.lock();
        let mut received = Ok(());
        while received.is_ok() {
            received = match input.next() {
                Ok(Some(frame)) => state.multiplexer.receive(frame, &mut self.outcomes),
                Ok(None) => break,
                Err(violation) => Err(violation),
            };
        }
        let is_refused = state.multiplexer.refusal().is_some();
        let wakers = state.stream_wakers();
        drop(state);
        wake(wakers);
        if is_refused && !*self.link.closed.borrow() {
            self.link.closed.send_replace(true);
        }
        deliver(&mut self.outcomes);
        received
    }

    fn transmit(&mut self, output: Option<&mut Vec<u8>>, now: Instant, waker: &Waker) -> Outlook {
        let mut state = self.link.lock();
        state.multiplexer.expire(now, &mut self.outcomes);
        if let Some(output) = output {
            state.multiplexer.transmit(output);
        }
        let is_refused_and_done =
            state.multiplexer.refusal().is_some() && state.multiplexer.calls_in_flight() == 0;
        let outlook = Outlook {
            wants_input: true,
            has_output: state.multiplexer.has_output(),
            deadline: state.multiplexer.next_deadline(),
            is_finished: state.is_closing || is_refused_and_done,
            lets_peer_close: false,
            is_cut: false,
        };
        state.keep(waker);
        let wakers = state.stream_wakers();
        drop(state);
        deliver(&mut self.outcomes);
        wake(wakers);
        outlook
    }

    fn ping(&mut self) {
        self.link.lock().multiplexer.ping();
    }

    fn show_life(&mut self) {
        self.link.lock().multiplexer.show_life();
    }

    fn violated(&mut self, violation: &Violation) {
        let reason = Status::new(
            Code::Internal,
            Execution::MaybeExecuted,
            format!("the server broke the protocol: {violation}"),
        );
        let mut state = self.link.lock();
        state.multiplexer.fail_all(&reason, &mut self.outcomes);
        let told = Status::new(
            Code::InvalidArgument,
            Execution::NotStarted,
            violation.to_string(),
        );
        state.multiplexer.goaway(&told);
        let wakers = state.stream_wakers();
        drop(state);
        self.link.closed.send_replace(true);
        deliver(&mut self.outcomes);
        wake(wakers);
    }

    fn lost(&mut self, reason: &Status) {
        let mut state = self.link.lock();
        state.multiplexer.fail_all(reason, &mut self.outcomes);
        let wakers = state.stream_wakers();
        drop(state);
        self.link.closed.send_replace(true);
        deliver(&mut self.outcomes);
        wake(wakers);
    }
}

impl State {
    /// Those users of streams who are to look again: to be woken outside the
    /// lock.
    fn stream_wakers(&mut self) -> Vec<Waker> {
        let mut wakers = Vec::new();
        while let Some(notice) = self.multiplexer.next_notice() {
            wakers.extend(self.waiting.remove(&notice));
        }
        wakers
    }

    /// The same with the driver's. Allocates for streams alone.
    fn wakers(&mut self) -> impl Iterator<Item = Waker> + use<> {
        self.stream_wakers().into_iter().chain(self.waker.take())
    }

    /// The driver's, when there is something to write.
    fn waker_for_output(&mut self) -> Option<Waker> {
        let has_output = self.multiplexer.has_output();
        self.waker.take_if(|_| has_output)
    }

    fn keep(&mut self, waker: &Waker) {
        match &self.waker {
            Some(kept) if kept.will_wake(waker) => {}
            _ => self.waker = Some(waker.clone()),
        }
    }
}

/// Outside the lock: whoever is woken wants to take it next.
fn deliver(outcomes: &mut Vec<(Waiter, Outcome)>) {
    for (waiter, outcome) in outcomes.drain(..) {
        // A caller that left meanwhile wants no answer.
        let _ = waiter.send(outcome);
    }
}

fn wake(wakers: impl IntoIterator<Item = Waker>) {
    for waker in wakers {
        waker.wake();
    }
}
