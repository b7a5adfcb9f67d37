//! One connection on the server: where requests meet their handlers.

use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Instant;

use bytes::Bytes;
use tokio::task::AbortHandle;

use crate::connection::{Endpoint, Input, Outlook};
use crate::frame::Violation;
use crate::limits::Limits;
use crate::multiplexer::{self, Event, Start};
use crate::peer::Peer;
use crate::service::{CallContext, ReplyFuture, Router};
use crate::status::{Code, Execution, Status};

type Outcome = Result<Bytes, Status>;

/// What the driver, the running handlers and the server share.
pub(crate) struct Link {
    state: Mutex<State>,
}

struct State {
    multiplexer: multiplexer::Server,
    /// Handlers that were pending when they were first polled. Bounded by the
    /// multiplexer's table.
    spawned: HashMap<u32, AbortHandle>,
    waker: Option<Waker>,
}

impl Link {
    /// Tells the client to go and refuses its further calls.
    pub(crate) fn drain(&self, reason: Status) {
        let mut state = self.lock();
        if !state.multiplexer.is_draining() {
            state.multiplexer.goaway(reason);
        }
        let waker = state.waker.take();
        drop(state);
        wake(waker);
    }

    /// A spawned handler is gone, with its answer or without.
    fn finish(&self, call: u32, outcome: Option<Outcome>) {
        let mut state = self.lock();
        state.spawned.remove(&call);
        match outcome {
            Some(outcome) => state.multiplexer.reply(call, outcome),
            None => state.multiplexer.abandon(call),
        }
        let waker = state.waker.take();
        drop(state);
        wake(waker);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // No code that can panic runs between two sound states.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The server's decisions for the driver.
pub(crate) struct ServerEndpoint {
    link: Arc<Link>,
    router: Arc<Router>,
    peer: Peer,
    events: Vec<Event>,
    replies: Vec<(u32, Outcome)>,
}

impl ServerEndpoint {
    pub(crate) fn new(router: Arc<Router>, peer: Peer, limits: &Limits) -> (Self, Arc<Link>) {
        let link = Arc::new(Link {
            state: Mutex::new(State {
                multiplexer: multiplexer::Server::new(limits.clone()),
                spawned: HashMap::new(),
                waker: None,
            }),
        });
        let endpoint = Self {
            link: Arc::clone(&link),
            router,
            peer,
            events: Vec::new(),
            replies: Vec::new(),
        };
        (endpoint, link)
    }

    /// Outside the lock, because handlers may take their time or call back.
    fn run_events(&mut self) {
        let mut events = std::mem::take(&mut self.events);
        for event in events.drain(..) {
            match event {
                Event::Start(start) => self.start(start),
                Event::Abort(call) => {
                    let spawned = self.link.lock().spawned.remove(&call);
                    match spawned {
                        Some(handle) => handle.abort(),
                        // Its handler has finished, or never was started.
                        None => {
                            self.replies.retain(|(replied, _)| *replied != call);
                            self.link.finish(call, None);
                        }
                    }
                }
            }
        }
        self.events = events;
        if !self.replies.is_empty() {
            let mut state = self.link.lock();
            for (call, outcome) in self.replies.drain(..) {
                state.multiplexer.reply(call, outcome);
            }
        }
    }

    fn start(&mut self, start: Start) {
        let Some(service) = self.router.find(start.method) else {
            let status = Status::new(
                Code::Unimplemented,
                Execution::NotStarted,
                format!("no method {:#018x}", start.method),
            );
            self.replies.push((start.call, Err(status)));
            return;
        };
        let context = CallContext::new(self.peer.clone(), Some(start.deadline.into()));
        // The first poll wakes nobody: a pending handler is spawned, and its
        // task polls it again.
        let polled = catch_unwind(AssertUnwindSafe(|| {
            let mut handler = service.call(context, start.method, start.body);
            match handler
                .as_mut()
                .poll(&mut Context::from_waker(Waker::noop()))
            {
                Poll::Ready(outcome) => Ok(outcome),
                Poll::Pending => Err(handler),
            }
        }));
        match polled {
            Ok(Ok(outcome)) => self.replies.push((start.call, outcome)),
            Ok(Err(handler)) => self.spawn(start.call, handler),
            Err(_) => {
                let status = Status::new(
                    Code::Internal,
                    Execution::MaybeExecuted,
                    "the handler failed",
                );
                self.replies.push((start.call, Err(status)));
            }
        }
    }

    fn spawn(&mut self, call: u32, handler: ReplyFuture) {
        let running = Running {
            link: Arc::clone(&self.link),
            call,
            outcome: None,
        };
        let task = tokio::spawn(async move {
            let mut running = running;
            running.outcome = Some(handler.await);
        });
        let mut state = self.link.lock();
        // The task may have ended on another thread by now; then nobody would
        // take its handle out again.
        if state.multiplexer.is_known(call) {
            state.spawned.insert(call, task.abort_handle());
        }
    }
}

impl Endpoint for ServerEndpoint {
    fn receive(&mut self, input: &mut Input, now: Instant) -> Result<(), Violation> {
        let mut state = self.link.lock();
        let mut received = Ok(());
        while received.is_ok() {
            received = match input.next() {
                Ok(Some(frame)) => state.multiplexer.receive(frame, now, &mut self.events),
                Ok(None) => break,
                Err(violation) => Err(violation),
            };
        }
        drop(state);
        if received.is_ok() {
            self.run_events();
        } else {
            // The connection ends: what has not started need not start.
            self.events.clear();
        }
        received
    }

    fn transmit(&mut self, output: Option<&mut Vec<u8>>, now: Instant, waker: &Waker) -> Outlook {
        let mut state = self.link.lock();
        state.multiplexer.expire(now, &mut self.events);
        if !self.events.is_empty() {
            drop(state);
            self.run_events();
            state = self.link.lock();
        }
        if let Some(output) = output {
            state.multiplexer.transmit(output);
        }
        let outlook = Outlook {
            wants_input: state.multiplexer.wants_input(),
            has_output: state.multiplexer.has_output(),
            deadline: state.multiplexer.next_deadline(),
            is_finished: state.multiplexer.is_draining()
                && state.multiplexer.calls_in_flight() == 0,
        };
        match &state.waker {
            Some(kept) if kept.will_wake(waker) => {}
            _ => state.waker = Some(waker.clone()),
        }
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
            Code::InvalidArgument,
            Execution::MaybeExecuted,
            violation.to_string(),
        );
        let mut state = self.link.lock();
        state.multiplexer.goaway(reason);
        let spawned = std::mem::take(&mut state.spawned);
        drop(state);
        abort_all(spawned);
    }

    fn lost(&mut self, reason: &Status) {
        let (key_id, why) = (self.peer.key_id(), reason.message());
        tracing::debug!(%key_id, why, "a connection is over");
        let mut state = self.link.lock();
        let spawned = std::mem::take(&mut state.spawned);
        drop(state);
        abort_all(spawned);
    }
}

fn abort_all(spawned: HashMap<u32, AbortHandle>) {
    for handle in spawned.into_values() {
        handle.abort();
    }
}

/// Held by a spawned handler's task: however the task ends, the call does.
struct Running {
    link: Arc<Link>,
    call: u32,
    outcome: Option<Outcome>,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.link.finish(self.call, self.outcome.take());
    }
}

fn wake(waker: Option<Waker>) {
    if let Some(waker) = waker {
        waker.wake();
    }
}
