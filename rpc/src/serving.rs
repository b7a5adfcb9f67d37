//! One connection on the server: where requests meet their handlers.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Instant;

use bytes::Bytes;
use tokio::task::AbortHandle;

use crate::connection::{Endpoint, Input, Outlook};
use crate::frame::Violation;
use crate::generated::no_method;
use crate::limits::{Limits, TRANSMIT_BYTES_TARGET};
use crate::multiplexer::{self, Event, Side, Start, StreamKey, Taken, Unsent};
use crate::once::{CallKey, OnceId};
use crate::peer::Peer;
use crate::quota::{Permit, Share};
use crate::service::{CallContext, CallOrigin, MethodKind, ReplyFuture, Router, Service};
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
    peer: Peer,
    state: Mutex<State>,
}

struct State {
    multiplexer: multiplexer::Server,
    /// Handlers that were pending when they were first polled, until their tasks
    /// are gone. Bounded by the multiplexer's table.
    spawned: HashMap<u32, AbortHandle>,
    /// At-most-once calls that wait, with their serial numbers. Whoever takes
    /// one out answers it.
    once: HashMap<u32, (u64, CallKey)>,
    /// Handlers that wait for a stream. Bounded by the multiplexer's table, but
    /// for handlers that keep streams of calls that are over.
    waiting: HashMap<(StreamKey, Side), Waker>,
    waker: Option<Waker>,
    cut: Cut,
}

/// Whether this side ends the connection by choice.
enum Cut {
    No,
    /// Asked for, and not done: what the client is to be told.
    Asked(Status),
    Done,
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

    fn abort_handles(&self) -> Vec<AbortHandle> {
        self.spawned.values().cloned().collect()
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

    /// Ends the connection and its calls, by the driver's next turn; says whether
    /// that was new. The driver does it, because handlers start in its task alone:
    /// none can begin behind the end.
    pub(crate) fn cut(&self, reason: Status) -> bool {
        let mut state = self.lock();
        if !matches!(state.cut, Cut::No) {
            return false;
        }
        state.cut = Cut::Asked(reason);
        let waker = state.waker.take();
        drop(state);
        wake(waker);
        true
    }

    /// A spawned handler is gone, with its answer or without.
    fn finish(&self, call: u32, outcome: Option<Outcome>) {
        let mut state = self.lock();
        state.spawned.remove(&call);
        match outcome {
            Some(outcome) => state.multiplexer.reply(call, outcome),
            None => state.multiplexer.abandon(call),
        }
        // The connection may be over, and nobody else would.
        state.multiplexer.settle();
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

    pub(crate) fn peer(&self) -> &Peer {
        &self.peer
    }

    /// What counts a call for as long as somebody holds it.
    pub(crate) fn permit(&self, key: StreamKey) -> Option<Arc<Permit>> {
        self.lock().multiplexer.permit(key)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // No code that can panic runs between two sound states.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Link {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Link").finish_non_exhaustive()
    }
}

/// The server's decisions for the driver.
pub(crate) struct ServerEndpoint {
    link: Arc<Link>,
    router: Arc<Router>,
    once: Arc<OnceCalls>,
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
            peer,
            state: Mutex::new(State {
                multiplexer: multiplexer::Server::new(limits.clone()),
                spawned: HashMap::new(),
                once: HashMap::new(),
                waiting: HashMap::new(),
                waker: None,
                cut: Cut::No,
            }),
        });
        let endpoint = Self {
            link: Arc::clone(&link),
            router,
            once,
            events: Vec::new(),
            replies: Vec::new(),
            reply_bytes: 0,
            is_guest: false,
        };
        (endpoint, link)
    }

    /// What it holds counts in the quota of its identity.
    pub(crate) fn counted_by(self, share: Share) -> Self {
        self.link.lock().multiplexer.count_by(share);
        self
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
        // It stays known: its task counts until it is gone.
        let spawned = state.spawned.get(&call).cloned();
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

    /// Ends every call, with its handler, and leaves the client a word why. Nothing
    /// else leaves: a reply that waited was for somebody who is no longer served.
    fn cut(&self, reason: Status) {
        let mut state = self.link.lock();
        let spawned = state.abort_handles();
        let once = std::mem::take(&mut state.once);
        // Not taken out: each still says that it is gone.
        let tasks: HashSet<u32> = state.spawned.keys().copied().collect();
        state.multiplexer.end_all(|call| tasks.contains(&call));
        state.multiplexer.goaway(reason);
        let wakers = state.stream_wakers();
        drop(state);
        abort_all(spawned);
        wake(wakers);
        // Their handlers go on: another attempt may ask for the outcome.
        for (call, (serial, key)) in once {
            self.leave(call, serial, &key);
        }
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
        let key = start.key;
        let call = key.call;
        if start.once.is_some() && self.is_guest {
            let message = "at-most-once calls are not for guests";
            let status = Status::new(Code::PermissionDenied, Execution::NotStarted, message);
            self.gather(call, Err(status));
            return;
        }
        if let Some(id) = start.once
            && start.method == OPEN
        {
            let opened = self.once.open(self.link.peer.key_id(), id.incarnation);
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
        match self.poll_first(&*service, start, None) {
            Ok(Ok(outcome)) => self.gather(call, outcome),
            Ok(Err(handler)) => self.spawn(key, handler),
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
        let identity = self.link.peer.key_id();
        // Before it begins: another's handler may answer it at once.
        let waits = (place.serial, id.key(identity));
        self.link.lock().once.insert(place.call, waits);
        let waiter = self.waiter(place);
        let mut running = match self.once.begin(identity, id, waiter, start.body.len()) {
            once::Taken::Run(running) => running,
            once::Taken::Joined => return,
            once::Taken::Answer(outcome) => {
                self.link.lock().once.remove(&place.call);
                self.gather(place.call, outcome);
                return;
            }
        };
        // Its handler may outlive the connection, and counts until it is gone.
        let permit = self.link.permit(place);
        running.counts(permit.clone());
        match self.poll_first(service, start, permit) {
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
        permit: Option<Arc<Permit>>,
    ) -> Result<Result<Outcome, ReplyFuture>, Panicked> {
        let polled = catch_unwind(AssertUnwindSafe(|| {
            let mut handler = self.handler(service, start, permit);
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
            return refuse(Code::Unimplemented, no_method(start.method));
        };
        if service.kind(start.method) != start.kind {
            let message = "the method is not of that kind".to_owned();
            return refuse(Code::InvalidArgument, message);
        }
        Ok(service)
    }

    fn handler(
        &self,
        service: &dyn Service,
        start: Start,
        permit: Option<Arc<Permit>>,
    ) -> ReplyFuture {
        let (method, body) = (start.method, start.body);
        let origin = CallOrigin::Connection {
            link: Arc::clone(&self.link),
            key: start.key,
            permit,
        };
        let context = CallContext::of(origin, start.deadline.into(), start.metadata);
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

    fn spawn(&mut self, key: StreamKey, handler: ReplyFuture) {
        let call = key.call;
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
        // take its handle out again, and a later call of that number would be
        // taken for one with a task.
        if state.multiplexer.has_handler(key) {
            state.spawned.insert(call, task.abort_handle());
        }
    }
}

impl Endpoint for ServerEndpoint {
    fn receive(&mut self, input: &mut Input, now: Instant) -> Result<(), Violation> {
        let mut state = self.link.lock();
        if !matches!(state.cut, Cut::No) {
            // What came behind the decision is not looked at.
            return Ok(());
        }
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
        if let Cut::Asked(_) = state.cut
            && let Cut::Asked(reason) = std::mem::replace(&mut state.cut, Cut::Done)
        {
            drop(state);
            self.cut(reason);
            state = self.link.lock();
        }
        state.multiplexer.expire(now, &mut self.events);
        if !self.events.is_empty() {
            drop(state);
            self.run_events(Cause::OutOfTime);
            state = self.link.lock();
        }
        if let Some(output) = output {
            state.multiplexer.transmit(output);
        }
        state.multiplexer.settle();
        let outlook = Outlook {
            wants_input: state.multiplexer.wants_input(),
            has_output: state.multiplexer.has_output(),
            deadline: state.multiplexer.next_deadline(),
            is_finished: state.multiplexer.is_draining()
                && state.multiplexer.calls_in_flight() == 0,
            // A call may be on its way that was sent before the goaway was read.
            // It did not start, and its caller is told so; if the connection ended
            // under it, nobody could say.
            lets_peer_close: true,
            is_cut: matches!(state.cut, Cut::Done),
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
        let spawned = state.abort_handles();
        let once = std::mem::take(&mut state.once);
        drop(state);
        abort_all(spawned);
        for (call, (serial, key)) in once {
            self.leave(call, serial, &key);
            self.link.finish(call, None);
        }
    }

    fn lost(&mut self, reason: &Status) {
        let (key_id, why) = (self.link.peer.key_id(), reason.message());
        tracing::debug!(%key_id, why, "a connection is over");
        let mut state = self.link.lock();
        let spawned = state.abort_handles();
        let once = std::mem::take(&mut state.once);
        // Streams that handlers have given to other tasks end too.
        let tasks = std::mem::take(&mut state.spawned);
        state.multiplexer.end_all(|call| tasks.contains_key(&call));
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

/// Outside the lock: a runtime that ends drops a task in there.
fn abort_all(spawned: Vec<AbortHandle>) {
    for handle in spawned {
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
