//! A connection to a server, and the calls made over it.

use std::fmt;
use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Waker;
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::{oneshot, watch};

use crate::connection::{Driver, Endpoint, Input, Outlook};
use crate::frame::Violation;
use crate::limits::Limits;
use crate::multiplexer;
use crate::peer::Peer;
use crate::status::{Code, Execution, Status};

type Outcome = Result<Bytes, Status>;
type Waiter = oneshot::Sender<Outcome>;

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
        let (waiter, outcome) = oneshot::channel();
        let call = self
            .handle
            .link
            .begin(method, body.into(), timeout, waiter)?;
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

/// What callers and the driver share.
struct Link {
    state: Mutex<State>,
    closed: watch::Sender<bool>,
    peer: Peer,
}

struct State {
    multiplexer: multiplexer::Client<Waiter>,
    waker: Option<Waker>,
    is_closing: bool,
}

impl Link {
    fn begin(
        &self,
        method: u64,
        body: Bytes,
        timeout: Duration,
        waiter: Waiter,
    ) -> Result<u32, Status> {
        let now = tokio::time::Instant::now().into_std();
        let mut state = self.lock();
        let call = state
            .multiplexer
            .begin(now, method, body, timeout, waiter)?;
        let waker = state.waker.take();
        drop(state);
        wake(waker);
        Ok(call)
    }

    fn cancel(&self, call: u32) {
        let mut state = self.lock();
        state.multiplexer.cancel(call);
        let waker = state.waker.take();
        drop(state);
        wake(waker);
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
        let waker = state.waker.take();
        drop(state);
        self.closed.send_replace(true);
        deliver(&mut outcomes);
        wake(waker);
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
        drop(state);
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
        };
        state.keep(waker);
        drop(state);
        deliver(&mut self.outcomes);
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
        drop(state);
        self.link.closed.send_replace(true);
        deliver(&mut self.outcomes);
    }

    fn lost(&mut self, reason: &Status) {
        let mut state = self.link.lock();
        state.multiplexer.fail_all(reason, &mut self.outcomes);
        drop(state);
        self.link.closed.send_replace(true);
        deliver(&mut self.outcomes);
    }
}

impl State {
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

fn wake(waker: Option<Waker>) {
    if let Some(waker) = waker {
        waker.wake();
    }
}
