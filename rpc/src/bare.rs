//! The multiplexers without anything around them, and what reads answers and
//! metadata, for tests that feed them and judge them from outside. Not for use
//! otherwise: it changes with them.

use std::time::{Duration, Instant};

use bytes::Bytes;

use crate::frame::{Frame, Violation};
use crate::limits::Limits;
use crate::metadata::Metadata;
use crate::multiplexer::{self, Extras, StreamKey, Unsent};
use crate::reflection::{MalformedServices, ServedSchemas};
use crate::service::MethodKind;
use crate::status::Status;
use crate::trace;

pub use crate::multiplexer::Taken;

/// Names a call that was received, for good.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Key(StreamKey);

/// What the server's shell must do.
#[derive(Debug)]
pub enum Event {
    /// Run a handler.
    Start {
        /// Of this call.
        call: u32,
        /// The same for its streams.
        key: Key,
        /// What the caller takes the method for.
        kind: MethodKind,
        /// The request.
        body: Bytes,
    },
    /// Drop the handler of this call.
    Abort(u32),
}

impl Event {
    fn of(event: multiplexer::Event) -> Self {
        match event {
            multiplexer::Event::Start(start) => Self::Start {
                call: start.key.call,
                key: Key(start.key),
                kind: start.kind,
                body: start.body,
            },
            multiplexer::Event::Abort(call) => Self::Abort(call),
        }
    }
}

/// What a connection holds now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Held {
    /// Calls in the table.
    pub calls: usize,
    /// Bytes that were received and not taken.
    pub incoming_bytes: usize,
    /// Bytes that wait to leave.
    pub outgoing_bytes: usize,
}

/// The serving side.
#[derive(Debug)]
pub struct Server(multiplexer::Server);

impl Server {
    /// One that has received nothing.
    pub fn new(limits: Limits) -> Self {
        Self(multiplexer::Server::new(limits))
    }

    /// Takes a frame from the client.
    ///
    /// # Errors
    ///
    /// The rule that it breaks.
    pub fn receive(&mut self, frame: Frame<'_>, now: Instant) -> Result<Vec<Event>, Violation> {
        let mut events = Vec::new();
        self.0.receive(frame, now, &mut events)?;
        Ok(events.into_iter().map(Event::of).collect())
    }

    /// Ends the calls whose time is over.
    pub fn expire(&mut self, now: Instant) -> Vec<Event> {
        let mut events = Vec::new();
        self.0.expire(now, &mut events);
        events.into_iter().map(Event::of).collect()
    }

    /// The handler answered.
    pub fn reply(&mut self, call: u32, outcome: Result<Bytes, Status>) {
        self.0.reply(call, outcome);
    }

    /// The handler is gone without an answer.
    pub fn abandon(&mut self, call: u32) {
        self.0.abandon(call);
    }

    /// The next message of a call's requests.
    pub fn take(&mut self, key: Key) -> Taken {
        self.0.take(key.0)
    }

    /// Queues a message of a call's replies; `None` when it would have to wait.
    ///
    /// # Errors
    ///
    /// It never will be sent.
    pub fn send(&mut self, key: Key, message: Bytes) -> Result<Option<()>, Status> {
        sent(self.0.send(key.0, message))
    }

    /// The handler reads no further requests.
    pub fn stop_reading(&mut self, key: Key) {
        self.0.stop_reading(key.0);
    }

    /// Takes no further calls.
    pub fn goaway(&mut self, status: Status) {
        self.0.goaway(status);
    }

    /// The connection is over.
    pub fn end_all(&mut self) {
        self.0.end_all(|_| false);
    }

    /// Appends a write's worth of frames, and says whether more wait.
    pub fn transmit(&mut self, output: &mut Vec<u8>) -> bool {
        self.0.transmit(output);
        while self.0.next_notice().is_some() {}
        self.0.has_output()
    }

    /// Whether to feed it further frames.
    pub fn wants_input(&self) -> bool {
        self.0.wants_input()
    }

    /// What it holds.
    pub fn held(&self) -> Held {
        self.0.held()
    }
}

/// Calls that are over, by their waiters, and how they ended.
pub type Outcomes = Vec<(u32, Result<Bytes, Status>)>;

/// The calling side. Calls without a stream have a number of the caller's own,
/// which comes back with the outcome.
#[derive(Debug)]
pub struct Client(multiplexer::Client<u32>);

impl Client {
    /// One that has made no calls.
    pub fn new(limits: Limits) -> Self {
        Self(multiplexer::Client::new(limits))
    }

    /// Queues a call and returns its number.
    ///
    /// # Errors
    ///
    /// It is not made.
    pub fn begin(
        &mut self,
        now: Instant,
        kind: MethodKind,
        body: Bytes,
        timeout: Duration,
        waiter: u32,
    ) -> Result<u32, Status> {
        const METHOD: u64 = 1;
        let extras = Extras::default();
        match kind {
            MethodKind::Unary => self
                .0
                .begin_with(now, METHOD, body, timeout, &extras, waiter),
            _ => self
                .0
                .begin_stream(now, kind, METHOD, body, timeout, Metadata::new()),
        }
    }

    /// The caller no longer waits.
    pub fn cancel(&mut self, call: u32) {
        self.0.cancel(call);
    }

    /// Queues a message of a call's stream; `None` when it would have to wait.
    ///
    /// # Errors
    ///
    /// It never will be sent.
    pub fn send(&mut self, call: u32, message: Bytes) -> Result<Option<()>, Status> {
        sent(self.0.send(call, message))
    }

    /// Ends a call's stream.
    pub fn finish(&mut self, call: u32) {
        self.0.finish(call);
    }

    /// The next reply of a call with a stream.
    pub fn take(&mut self, call: u32) -> Taken {
        self.0.take(call)
    }

    /// Nobody looks at this call with a stream any more.
    pub fn release(&mut self, call: u32) {
        self.0.release(call);
    }

    /// Takes a frame from the server, and returns the calls that it ends.
    ///
    /// # Errors
    ///
    /// The rule that it breaks.
    pub fn receive(&mut self, frame: Frame<'_>) -> Result<Outcomes, Violation> {
        let mut outcomes = Vec::new();
        self.0.receive(frame, &mut outcomes)?;
        Ok(outcomes)
    }

    /// Ends the calls whose time is over.
    pub fn expire(&mut self, now: Instant) -> Outcomes {
        let mut outcomes = Vec::new();
        self.0.expire(now, &mut outcomes);
        outcomes
    }

    /// The connection is over: every call ends.
    pub fn fail_all(&mut self, reason: &Status) -> Outcomes {
        let mut outcomes = Vec::new();
        self.0.fail_all(reason, &mut outcomes);
        outcomes
    }

    /// Appends a write's worth of frames, and says whether more wait.
    pub fn transmit(&mut self, output: &mut Vec<u8>) -> bool {
        self.0.transmit(output);
        while self.0.next_notice().is_some() {}
        self.0.has_output()
    }

    /// What it holds.
    pub fn held(&self) -> Held {
        self.0.held()
    }
}

/// What a client takes from the answer to which services there are.
///
/// # Errors
///
/// It is none that can be believed.
pub fn served_schemas(reply: Bytes) -> Result<ServedSchemas, MalformedServices> {
    ServedSchemas::decode(reply)
}

/// What a handler's own call sends of a trace that came with `received`; `None`
/// where none came. `random` is uniform.
pub fn passed_on(received: &Metadata, random: [u8; 8]) -> Option<Metadata> {
    trace::passed_on(received, random)
}

fn sent(outcome: Result<(), Unsent>) -> Result<Option<()>, Status> {
    match outcome {
        Ok(()) => Ok(Some(())),
        Err(Unsent::Wait(_)) => Ok(None),
        Err(Unsent::Over(status)) => Err(status),
    }
}
