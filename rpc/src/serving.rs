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
use crate::limits::{Limits, TRANSMIT_BYTES_TARGET};
use crate::multiplexer::{self, Event, Side, Start, StreamKey, Taken, Unsent};
use crate::once::{CallKey, OnceId};
use crate::peer::Peer;
use crate::service::{CallContext, MethodKind, ReplyFuture, Router, Service};
use crate::status::{Code, Execution, Status};
use crate::streams::{RawReplies, RawRequests};

mod once;

pub(crate) use once::{CloseOnDrop, OnceCalls};

use once::Waiter;

type Outcome = Result<Bytes, Status>;

/// The method of an at-most-once call that opens an incarnation.
const OPEN: u64 = 0;

/// What the driver, the running handlers and the server share.
pub(crate) struct Link {
    state: Mutex<State>,
}

struct State {
    multiplexer: multiplexer::Server,
    /// Handlers that were pending when they were first polled. Bounded by the
    /// multiplexer's table.
    spawned: HashMap<u32, AbortHandle>,
    /// At-most-once calls that wait, with their serial numbers. Whoever takes
    /// one out answers it.
    once: HashMap<u32, (u64, CallKey)>,
    /// Handlers that wait for a stream. Bounded by the multiplexer's table, but
    /// for handlers that keep streams of calls that are over.
    waiting: HashMap<(StreamKey, Side), Waker>,
    waker: Option<Waker>,
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
        let wakers = state.wakers();
        drop(state);
        wake(wakers);
    }

    /// An at-most-once call has ended. Ignored when the attempt waits no more.
    fn answer_once(&self, key: StreamKey, outcome: Outcome) {
        let mut state = self.lock();
        if !matches!(state.once.get(&key.call), Some((serial, _)) if *serial == key.serial) {
            return;
        }
        state.once.remove(&key.call);
        state.multiplexer.reply(key.call, outcome);
        let wakers = state.wakers();
        drop(state);
        wake(wakers);
    }

    /// The next message of a call's requests.
    pub(crate) fn poll_request(
        &self,
        key: StreamKey,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Option<Bytes>, Status>> {
        let mut state = self.lock();
        let taken = match state.multiplexer.take(key) {
            Taken::Message(message) => Ok(Some(message)),
            Taken::End => Ok(None),
            Taken::Failed(status) => Err(status),
            Taken::Wait => {
                let waker = cx.waker().clone();
                state.waiting.insert((key, Side::Reader), waker);
                return Poll::Pending;
            }
        };
        // Taking may have made credit due.
        let waker = state.waker_for_output();
        drop(state);
        wake(waker);
        Poll::Ready(taken)
    }

    /// Queues a message of a call's replies when there is credit; it comes
    /// back in `message` when there is none.
    pub(crate) fn poll_send(
        &self,
        key: StreamKey,
        message: &mut Option<Bytes>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), Status>> {
        let Some(taken) = message.take() else {
            return Poll::Ready(Ok(()));
        };
        let mut state = self.lock();
        match state.multiplexer.send(key, taken) {
            Ok(()) => {
                let waker = state.waker.take();
                drop(state);
                wake(waker);
                Poll::Ready(Ok(()))
            }
            Err(Unsent::Wait(back)) => {
                *message = Some(back);
                let waker = cx.waker().clone();
                state.waiting.insert((key, Side::Writer), waker);
                Poll::Pending
            }
            Err(Unsent::Over(status)) => Poll::Ready(Err(status)),
        }
    }

    /// The handler reads no further requests.
    pub(crate) fn stop_reading(&self, key: StreamKey) {
        let mut state = self.lock();
        state.multiplexer.stop_reading(key);
        state.waiting.remove(&(key, Side::Reader));
        let waker = state.waker_for_output();
        drop(state);
        wake(waker);
    }

    /// The handler sends no further replies.
    pub(crate) fn stop_writing(&self, key: StreamKey) {
        self.lock().waiting.remove(&(key, Side::Writer));
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
    once: Arc<OnceCalls>,
    peer: Peer,
    events: Vec<Event>,
    replies: Vec<(u32, Outcome)>,
    /// Their bodies together, about: what is taken back is not taken off.
    reply_bytes: usize,
    is_guest: bool,
}

/// Why calls are to be aborted.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Cause {
    /// The client has said so.
    Cancelled,
    /// Their time is over.
    OutOfTime,
}

impl ServerEndpoint {
    pub(crate) fn new(
        router: Arc<Router>,
        once: Arc<OnceCalls>,
        peer: Peer,
        limits: &Limits,
    ) -> (Self, Arc<Link>) {
        let link = Arc::new(Link {
            state: Mutex::new(State {
                multiplexer: multiplexer::Server::new(limits.clone()),
                spawned: HashMap::new(),
                once: HashMap::new(),
                waiting: HashMap::new(),
                waker: None,
            }),
        });
        let endpoint = Self {
            link: Arc::clone(&link),
            router,
            once,
            peer,
            events: Vec::new(),
            replies: Vec::new(),
            reply_bytes: 0,
            is_guest: false,
        };
        (endpoint, link)
    }

    /// For a peer that anybody can be: what outlives connections is kept by key,
    /// and strangers have as many keys as they like.
    pub(crate) fn for_guest(mut self) -> Self {
        self.is_guest = true;
        self
    }

    /// Outside the lock, because handlers may take their time or call back.
    fn run_events(&mut self, cause: Cause) {
        let mut events = std::mem::take(&mut self.events);
        for event in events.drain(..) {
            match event {
                Event::Start(start) => self.start(start),
                Event::Abort(call) => self.abort(call, cause),
            }
            // One write can ask for a thousand large replies: what is gathered
            // here is counted by nobody.
            if self.reply_bytes >= TRANSMIT_BYTES_TARGET {
                self.hand_over();
            }
        }
        self.events = events;
        self.hand_over();
    }

    /// Gives the gathered replies to the multiplexer, which knows which of them
    /// are still wanted.
    fn hand_over(&mut self) {
        if self.replies.is_empty() {
            return;
        }
        self.reply_bytes = 0;
        let mut state = self.link.lock();
        for (call, outcome) in self.replies.drain(..) {
            state.multiplexer.reply(call, outcome);
        }
        let wakers = state.stream_wakers();
        drop(state);
        wake(wakers);
    }

    fn abort(&mut self, call: u32, cause: Cause) {
        let mut state = self.link.lock();
        let once = state.once.remove(&call);
        let spawned = state.spawned.remove(&call);
        drop(state);
        if let Some((serial, key)) = once {
            match cause {
                Cause::Cancelled => self.once.cancel(&key),
                Cause::OutOfTime => self.leave(call, serial, &key),
            }
            self.link.finish(call, None);
            return;
        }
        match spawned {
            Some(handle) => handle.abort(),
            // Its handler has finished, or never was started.
            None => {
                self.replies.retain(|(replied, _)| *replied != call);
                self.link.finish(call, None);
            }
        }
    }

    /// An attempt of an at-most-once call waits no more.
    fn leave(&self, call: u32, serial: u64, key: &CallKey) {
        let waiter = self.waiter(StreamKey { call, serial });
        self.once.leave(key, &waiter);
    }

    fn waiter(&self, key: StreamKey) -> Waiter {
        let link = Arc::clone(&self.link);
        Waiter { link, key }
    }

    fn gather(&mut self, call: u32, outcome: Outcome) {
        self.reply_bytes += outcome.as_ref().map_or(0, Bytes::len);
        self.replies.push((call, outcome));
    }

    fn start(&mut self, start: Start) {
        let call = start.key.call;
        if start.once.is_some() && self.is_guest {
            let message = "at-most-once calls are not for guests";
            let status = Status::new(Code::PermissionDenied, Execution::NotStarted, message);
            self.gather(call, Err(status));
            return;
        }
        if let Some(id) = start.once
            && start.method == OPEN
        {
            let opened = self.once.open(self.peer.key_id(), id.incarnation);
            self.gather(call, opened.map(|()| Bytes::new()));
            return;
        }
        let service = match self.admit(&start) {
            Ok(service) => Arc::clone(service),
            Err(status) => {
                self.gather(call, Err(status));
                return;
            }
        };
        if let Some(id) = start.once {
            self.start_once(&*service, start, id);
            return;
        }
        match self.poll_first(&*service, start) {
            Ok(Ok(outcome)) => self.gather(call, outcome),
            Ok(Err(handler)) => self.spawn(call, handler),
            Err(Panicked) => {
                let status = Status::new(
                    Code::Internal,
                    Execution::MaybeExecuted,
                    "the handler failed",
                );
                self.gather(call, Err(status));
            }
        }
    }

    fn start_once(&mut self, service: &dyn Service, start: Start, id: OnceId) {
        let (place, deadline) = (start.key, start.deadline);
        let identity = self.peer.key_id();
        // Before it begins: another's handler may answer it at once.
        let waits = (place.serial, id.key(identity));
        self.link.lock().once.insert(place.call, waits);
        let waiter = self.waiter(place);
        let running = match self.once.begin(identity, id, waiter, start.body.len()) {
            once::Taken::Run(running) => running,
            once::Taken::Joined => return,
            once::Taken::Answer(outcome) => {
                self.link.lock().once.remove(&place.call);
                self.gather(place.call, outcome);
                return;
            }
        };
        match self.poll_first(service, start) {
            Ok(Ok(outcome)) => running.ended(outcome),
            Ok(Err(handler)) => self.once.spawn(running, handler, deadline),
            Err(Panicked) => drop(running),
        }
    }

    /// The answer of a handler that has one at once. The first poll wakes nobody:
    /// a pending handler is spawned, and its task polls it again.
    fn poll_first(
        &self,
        service: &dyn Service,
        start: Start,
    ) -> Result<Result<Outcome, ReplyFuture>, Panicked> {
        let polled = catch_unwind(AssertUnwindSafe(|| {
            let mut handler = self.handler(service, start);
            match handler
                .as_mut()
                .poll(&mut Context::from_waker(Waker::noop()))
            {
                Poll::Ready(outcome) => Ok(outcome),
                Poll::Pending => Err(handler),
            }
        }));
        polled.map_err(|_| Panicked)
    }

    /// The service that is to answer, or why none does.
    fn admit(&self, start: &Start) -> Result<&Arc<dyn Service>, Status> {
        let refuse = |code, message| Err(Status::new(code, Execution::NotStarted, message));
        let Some(service) = self.router.find(start.method) else {
            let message = format!("no method {:#018x}", start.method);
            return refuse(Code::Unimplemented, message);
        };
        if service.kind(start.method) != start.kind {
            let message = "the method is not of that kind".to_owned();
            return refuse(Code::InvalidArgument, message);
        }
        Ok(service)
    }

    fn handler(&self, service: &dyn Service, start: Start) -> ReplyFuture {
        let (method, body) = (start.method, start.body);
        let context = CallContext::new(self.peer.clone(), Some(start.deadline.into()))
            .with_metadata(start.metadata);
        let requests = || RawRequests::new(Arc::clone(&self.link), start.key);
        let replies = || RawReplies::new(Arc::clone(&self.link), start.key);
        let streamed = match start.kind {
            MethodKind::Unary => return service.call(context, method, body),
            MethodKind::ClientStream => return service.client_stream(context, method, requests()),
            MethodKind::ServerStream => service.server_stream(context, method, body, replies()),
            MethodKind::Bidirectional => {
                service.bidirectional(context, method, requests(), replies())
            }
        };
        Box::pin(async move { streamed.await.map(|()| Bytes::new()) })
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
        let wakers = state.stream_wakers();
        drop(state);
        wake(wakers);
        if received.is_ok() {
            self.run_events(Cause::Cancelled);
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
            self.run_events(Cause::OutOfTime);
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
        let wakers = state.stream_wakers();
        drop(state);
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
            Code::InvalidArgument,
            Execution::MaybeExecuted,
            violation.to_string(),
        );
        let mut state = self.link.lock();
        state.multiplexer.goaway(reason);
        let spawned = std::mem::take(&mut state.spawned);
        let once = std::mem::take(&mut state.once);
        drop(state);
        abort_all(spawned);
        for (call, (serial, key)) in once {
            self.leave(call, serial, &key);
            self.link.finish(call, None);
        }
    }

    fn lost(&mut self, reason: &Status) {
        let (key_id, why) = (self.peer.key_id(), reason.message());
        tracing::debug!(%key_id, why, "a connection is over");
        let mut state = self.link.lock();
        let spawned = std::mem::take(&mut state.spawned);
        let once = std::mem::take(&mut state.once);
        // Streams that handlers have given to other tasks end too.
        state.multiplexer.end_all();
        let wakers = state.wakers();
        drop(state);
        abort_all(spawned);
        wake(wakers);
        // Their handlers go on: another attempt may ask for the outcome.
        for (call, (serial, key)) in once {
            self.leave(call, serial, &key);
        }
    }
}

/// A handler panicked when it was first polled.
struct Panicked;

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

fn wake(wakers: impl IntoIterator<Item = Waker>) {
    for waker in wakers {
        waker.wake();
    }
}
