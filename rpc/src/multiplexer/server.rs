//! The serving side: which requests are whole, which handlers run.

use std::collections::{BTreeSet, HashMap};
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::extend_body;
use crate::frame::{Frame, Kind, PING_BYTES, Violation};
use crate::limits::Limits;
use crate::outgoing::Outgoing;
use crate::payload::{CallPrefix, encode_failure};
use crate::status::{Code, Execution, Status};

/// What the shell must do.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Event {
    /// Run the handler of a whole request.
    Start(Start),
    /// Drop the handler of this call; its reply is no longer wanted.
    Abort(u32),
}

/// A request that is whole and within every bound.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Start {
    pub(crate) call: u32,
    pub(crate) method: u64,
    pub(crate) deadline: Instant,
    pub(crate) body: Bytes,
}

/// The table of calls received. A call stays in it until its handler is gone,
/// so a client that calls and cancels in a loop meets the same bound as one
/// that waits.
#[derive(Debug)]
pub(crate) struct Server {
    calls: HashMap<u32, Entry>,
    deadlines: BTreeSet<(Instant, u32)>,
    outgoing: Outgoing,
    held_bytes: usize,
    aborted_count: usize,
    draining: Option<Status>,
    limits: Limits,
}

#[derive(Debug)]
struct Entry {
    deadline: Instant,
    held_bytes: usize,
    phase: Phase,
}

#[derive(Debug)]
enum Phase {
    /// Parts of the request are missing.
    Receiving { method: u64, body: Vec<u8> },
    /// The handler has the request.
    Running,
    /// The handler was told to stop and is not gone yet.
    Aborted,
}

impl Server {
    pub(crate) fn new(limits: Limits) -> Self {
        Self {
            calls: HashMap::new(),
            deadlines: BTreeSet::new(),
            outgoing: Outgoing::default(),
            held_bytes: 0,
            aborted_count: 0,
            draining: None,
            limits,
        }
    }

    /// Takes a frame from the client.
    pub(crate) fn receive(
        &mut self,
        frame: Frame<'_>,
        now: Instant,
        events: &mut Vec<Event>,
    ) -> Result<(), Violation> {
        match frame.kind {
            Kind::Call => self.receive_call(frame, now, events),
            Kind::Chunk | Kind::End => self.receive_part(frame, events),
            Kind::Cancel => {
                self.stop(frame.call, events);
                // The reply may have begun to leave.
                self.outgoing.withdraw(frame.call);
                Ok(())
            }
            Kind::Ping => {
                let token = <[u8; PING_BYTES]>::try_from(frame.payload)
                    .map_err(|_| Violation::Malformed("ping without its token"))?;
                self.outgoing.set_pong(token);
                Ok(())
            }
            // A client's goaway explains the close that follows it.
            Kind::Pong | Kind::Goaway => Ok(()),
            Kind::Hello | Kind::Reply | Kind::Credit => Err(Violation::Unexpected(frame.kind)),
        }
    }

    /// The handler answered. Ignored when the answer is no longer wanted.
    pub(crate) fn reply(&mut self, call: u32, outcome: Result<Bytes, Status>) {
        let Some(entry) = self.remove(call) else {
            return;
        };
        if !matches!(entry.phase, Phase::Running) {
            return;
        }
        match outcome {
            Ok(body) => self.push_body(call, body),
            Err(status) => self.push_failure(call, &status),
        }
    }

    /// The handler is gone without an answer: aborted, or it panicked.
    pub(crate) fn abandon(&mut self, call: u32) {
        self.reply(
            call,
            Err(Status::new(
                Code::Internal,
                Execution::MaybeExecuted,
                "the handler failed",
            )),
        );
    }

    /// Ends the calls whose time is over.
    pub(crate) fn expire(&mut self, now: Instant, events: &mut Vec<Event>) {
        while let Some((deadline, call)) = self.deadlines.first().copied() {
            if deadline > now {
                break;
            }
            self.deadlines.pop_first();
            let execution = match self.calls.get(&call).map(|entry| &entry.phase) {
                Some(Phase::Receiving { .. }) => Execution::NotStarted,
                Some(Phase::Running) => Execution::MaybeExecuted,
                Some(Phase::Aborted) | None => continue,
            };
            self.stop(call, events);
            let status = Status::new(Code::DeadlineExceeded, execution, "the call took too long");
            self.push_failure(call, &status);
        }
    }

    /// Tells the client to go, and refuses its calls from here on; those that
    /// run go on.
    pub(crate) fn goaway(&mut self, status: Status) {
        let payload = encode_failure(&status);
        self.outgoing
            .push(Kind::Goaway, status.code().number(), 0, &payload);
        self.draining.get_or_insert(status);
    }

    /// Gives the client a sign of life.
    pub(crate) fn show_life(&mut self) {
        self.outgoing.show_life();
    }

    /// Asks the client for a sign of life.
    pub(crate) fn ping(&mut self) {
        self.outgoing.push(Kind::Ping, 0, 0, &[0; PING_BYTES]);
    }

    pub(crate) fn transmit(&mut self, output: &mut Vec<u8>) {
        self.outgoing.transmit(output);
    }

    pub(crate) fn next_deadline(&self) -> Option<Instant> {
        self.deadlines.first().map(|(deadline, _)| *deadline)
    }

    pub(crate) fn has_output(&self) -> bool {
        !self.outgoing.is_empty()
    }

    /// Whether to read further frames: not while the client leaves its replies
    /// untaken.
    pub(crate) fn wants_input(&self) -> bool {
        self.outgoing.queued_bytes() < self.limits.outgoing_bytes_pause
    }

    /// Whether the call is in the table, be its answer wanted or not.
    pub(crate) fn is_known(&self, call: u32) -> bool {
        self.calls.contains_key(&call)
    }

    pub(crate) fn is_draining(&self) -> bool {
        self.draining.is_some()
    }

    /// Calls that still deserve an answer.
    pub(crate) fn calls_in_flight(&self) -> usize {
        self.calls.len() - self.aborted_count
    }

    fn receive_call(
        &mut self,
        frame: Frame<'_>,
        now: Instant,
        events: &mut Vec<Event>,
    ) -> Result<(), Violation> {
        let (prefix, body) = CallPrefix::decode(frame.payload)?;
        if self.calls.contains_key(&frame.call) {
            return Err(Violation::DuplicateCall(frame.call));
        }
        if let Some(status) = &self.draining {
            let status = Status::new(Code::Unavailable, Execution::NotStarted, status.message());
            self.push_failure(frame.call, &status);
            return Ok(());
        }
        if self.calls.len() >= self.limits.calls_in_flight_max {
            return self.refuse(frame.call, "too many calls in flight");
        }
        if self.exceeds_held(body.len()) {
            return self.refuse(frame.call, "too many request bytes in flight");
        }
        if body.len() > self.limits.message_bytes_max {
            return self.refuse_too_large(frame.call);
        }
        let duration = match prefix.timeout_ms {
            0 => self.limits.call_duration_max,
            timeout_ms => {
                Duration::from_millis(u64::from(timeout_ms)).min(self.limits.call_duration_max)
            }
        };
        let deadline = now + duration;
        let phase = if frame.has_more() {
            Phase::Receiving {
                method: prefix.method,
                body: body.to_vec(),
            }
        } else {
            events.push(Event::Start(Start {
                call: frame.call,
                method: prefix.method,
                deadline,
                body: Bytes::copy_from_slice(body),
            }));
            Phase::Running
        };
        self.held_bytes += body.len();
        self.deadlines.insert((deadline, frame.call));
        self.calls.insert(
            frame.call,
            Entry {
                deadline,
                held_bytes: body.len(),
                phase,
            },
        );
        Ok(())
    }

    fn receive_part(&mut self, frame: Frame<'_>, events: &mut Vec<Event>) -> Result<(), Violation> {
        let is_over_held = self.exceeds_held(frame.payload.len());
        let Some(entry) = self.calls.get_mut(&frame.call) else {
            // Behind a call that was refused or ran out of time.
            return Ok(());
        };
        let Phase::Receiving { method, body } = &mut entry.phase else {
            return Err(Violation::Malformed("part of a request that is whole"));
        };
        if frame.payload.is_empty() {
            return Err(Violation::Malformed("empty part of a body"));
        }
        if is_over_held {
            self.remove(frame.call);
            return self.refuse(frame.call, "too many request bytes in flight");
        }
        if extend_body(body, frame.payload, self.limits.message_bytes_max).is_err() {
            self.remove(frame.call);
            return self.refuse_too_large(frame.call);
        }
        entry.held_bytes += frame.payload.len();
        self.held_bytes += frame.payload.len();
        if frame.kind == Kind::End {
            events.push(Event::Start(Start {
                call: frame.call,
                method: *method,
                deadline: entry.deadline,
                body: Bytes::from(std::mem::take(body)),
            }));
            entry.phase = Phase::Running;
        }
        Ok(())
    }

    /// Takes a call out of the answerable ones. Its entry stays while its
    /// handler does.
    fn stop(&mut self, call: u32, events: &mut Vec<Event>) {
        let Some(entry) = self.calls.get_mut(&call) else {
            return;
        };
        match entry.phase {
            Phase::Receiving { .. } => {
                self.remove(call);
            }
            Phase::Running => {
                self.deadlines.remove(&(entry.deadline, call));
                entry.phase = Phase::Aborted;
                self.aborted_count += 1;
                events.push(Event::Abort(call));
            }
            Phase::Aborted => {}
        }
    }

    fn remove(&mut self, call: u32) -> Option<Entry> {
        let entry = self.calls.remove(&call)?;
        self.deadlines.remove(&(entry.deadline, call));
        self.held_bytes -= entry.held_bytes;
        if matches!(entry.phase, Phase::Aborted) {
            self.aborted_count -= 1;
        }
        Some(entry)
    }

    fn exceeds_held(&self, additional_bytes: usize) -> bool {
        additional_bytes
            > self
                .limits
                .incoming_bytes_max
                .saturating_sub(self.held_bytes)
    }

    fn refuse(&mut self, call: u32, message: &str) -> Result<(), Violation> {
        let status = Status::new(Code::ResourceExhausted, Execution::NotStarted, message);
        self.push_failure(call, &status);
        Ok(())
    }

    fn refuse_too_large(&mut self, call: u32) -> Result<(), Violation> {
        let status = Status::new(
            Code::InvalidArgument,
            Execution::NotStarted,
            "request is too large",
        );
        self.push_failure(call, &status);
        Ok(())
    }

    fn push_body(&mut self, call: u32, body: Bytes) {
        let room = self
            .limits
            .outgoing_bytes_max
            .saturating_sub(self.outgoing.queued_bytes());
        if body.len() > self.limits.message_bytes_max {
            let status = Status::new(Code::Internal, Execution::Executed, "reply is too large");
            self.push_failure(call, &status);
        } else if body.len() > room {
            // The client asks for more than it takes: what it does not take
            // must not pile up here.
            let message = "too many reply bytes wait for the client";
            let status = Status::new(Code::ResourceExhausted, Execution::Executed, message);
            self.push_failure(call, &status);
        } else {
            self.outgoing.push_message(Kind::Reply, call, &[], body);
        }
    }

    fn push_failure(&mut self, call: u32, status: &Status) {
        let payload = encode_failure(status);
        self.outgoing
            .push(Kind::Reply, status.code().number(), call, &payload);
    }
}

#[cfg(test)]
mod tests;
