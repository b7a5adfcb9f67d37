//! The caller's side: which calls wait, and what each failure means.

use std::collections::{BTreeSet, HashMap};
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::stream::{Arrival, Receiver};
use super::{Side, Taken, Unsent, extend_body};
use crate::bare::Held;
use crate::frame::{FLAG_REPLIES, FLAG_STREAM, Frame, Kind, PING_BYTES, Violation};
use crate::limits::Limits;
use crate::metadata::Metadata;
use crate::outgoing::{Outgoing, Placement, Withdrawn};
use crate::payload::{CallPayload, CallPrefix, OnceId, decode_credit, decode_failure};
use crate::service::MethodKind;
use crate::status::{Code, Execution, Status};

/// How one call ended.
pub(crate) type Outcome = Result<Bytes, Status>;

/// What a call may carry beside its request.
#[derive(Clone, Debug, Default)]
pub(crate) struct Extras {
    pub(crate) metadata: Metadata,
    pub(crate) once: Option<OnceId>,
}

/// The table of calls in flight. `T` is what the shell wants back with each
/// outcome: the place where the caller waits. Of calls with a stream the shell
/// learns by [`Client::next_notice`] when to look again, and it says when it
/// looks no more ([`Client::release`]).
#[derive(Debug)]
pub(crate) struct Client<T> {
    calls: HashMap<u32, Pending<T>>,
    /// Calls with a stream that are over, until the shell has looked.
    ended: HashMap<u32, Ended>,
    notices: Vec<(u32, Side)>,
    deadlines: BTreeSet<(Instant, u32)>,
    outgoing: Outgoing,
    call_last: u32,
    partial_bytes: usize,
    refusal: Option<Status>,
    /// The server takes no more calls, and nothing is wrong with it or us.
    is_draining: bool,
    limits: Limits,
}

#[derive(Debug)]
struct Pending<T> {
    /// `None` for a call with a stream.
    waiter: Option<T>,
    deadline: Instant,
    placement: Placement,
    sends_stream: bool,
    reply: Reply,
}

#[derive(Debug)]
enum Reply {
    /// One body, and what has come of it once it has begun in parts.
    Body(Option<Vec<u8>>),
    /// A stream that has not begun.
    StreamAwaited,
    Stream(Box<Receiver>),
}

/// What is left of a call with a stream.
#[derive(Debug)]
struct Ended {
    replies: Replies,
    outcome: Result<(), Status>,
}

#[derive(Debug)]
enum Replies {
    Body(Option<Bytes>),
    Stream(Option<Box<Receiver>>),
}

impl Replies {
    fn held_bytes(&self) -> usize {
        match self {
            Self::Body(body) => body.as_ref().map_or(0, Bytes::len),
            Self::Stream(receiver) => receiver.as_ref().map_or(0, |one| one.held_bytes()),
        }
    }
}

impl<T> Client<T> {
    pub(crate) fn new(limits: Limits) -> Self {
        Self {
            calls: HashMap::new(),
            ended: HashMap::new(),
            notices: Vec::new(),
            deadlines: BTreeSet::new(),
            outgoing: Outgoing::default(),
            call_last: 0,
            partial_bytes: 0,
            refusal: None,
            is_draining: false,
            limits,
        }
    }

    /// As [`Client::begin_with`], with nothing beside the request.
    #[cfg(test)]
    pub(crate) fn begin(
        &mut self,
        now: Instant,
        method: u64,
        body: Bytes,
        timeout: Duration,
        waiter: T,
    ) -> Result<u32, Status> {
        self.begin_with(now, method, body, timeout, &Extras::default(), waiter)
    }

    /// Queues a call and returns its number; `waiter` comes back with the
    /// outcome. A refusal here is always [`Execution::NotSent`].
    pub(crate) fn begin_with(
        &mut self,
        now: Instant,
        method: u64,
        body: Bytes,
        timeout: Duration,
        extras: &Extras,
        waiter: T,
    ) -> Result<u32, Status> {
        let kind = MethodKind::Unary;
        self.queue(now, kind, method, body, timeout, extras, Some(waiter))
    }

    /// Queues a call with a stream in either direction; `body` is the request
    /// where the client's is none.
    pub(crate) fn begin_stream(
        &mut self,
        now: Instant,
        kind: MethodKind,
        method: u64,
        body: Bytes,
        timeout: Duration,
        metadata: Metadata,
    ) -> Result<u32, Status> {
        let extras = Extras {
            metadata,
            once: None,
        };
        self.queue(now, kind, method, body, timeout, &extras, None)
    }

    #[expect(clippy::too_many_arguments, reason = "all that a call is")]
    fn queue(
        &mut self,
        now: Instant,
        kind: MethodKind,
        method: u64,
        body: Bytes,
        timeout: Duration,
        extras: &Extras,
        waiter: Option<T>,
    ) -> Result<u32, Status> {
        let refuse = |code, message: &str| Err(Status::new(code, Execution::NotSent, message));
        if let Some(refusal) = &self.refusal {
            return Err(with_execution(refusal, Execution::NotSent));
        }
        if timeout.is_zero() {
            return refuse(Code::DeadlineExceeded, "no time left to call");
        }
        if body.len() > self.limits.message_bytes_max {
            let message = too_large("request", body.len(), self.limits.message_bytes_max);
            return refuse(Code::InvalidArgument, &message);
        }
        if self.calls.len() >= self.limits.calls_in_flight_max {
            return refuse(Code::ResourceExhausted, "too many calls in flight");
        }
        let room = self
            .limits
            .outgoing_bytes_max
            .saturating_sub(self.outgoing.queued_bytes());
        if body.len() > room || room == 0 {
            return refuse(Code::ResourceExhausted, "too many bytes wait to be sent");
        }
        let timeout_ms = wire_timeout(timeout);
        let deadline = now + Duration::from_millis(u64::from(timeout_ms)).min(timeout);
        let call = self.next_call();
        let prefix = CallPrefix { timeout_ms, method };
        let sends_stream = kind.has_request_stream();
        let mut flags = 0;
        if sends_stream {
            flags |= FLAG_STREAM;
        }
        let mut reply = Reply::Body(None);
        if kind.has_reply_stream() {
            flags |= FLAG_REPLIES;
            reply = Reply::StreamAwaited;
        }
        // The common call allocates nothing for what it does not carry.
        let placement = if extras.metadata.is_empty() && extras.once.is_none() {
            let prefix = prefix.encode();
            self.outgoing
                .push_message(Kind::Call, flags, call, &prefix, body)
        } else {
            let (more, head) =
                CallPayload::encode_head(&prefix, extras.once.as_ref(), &extras.metadata);
            self.outgoing
                .push_message(Kind::Call, flags | more, call, &head, body)
        };
        if sends_stream {
            self.outgoing.open_stream(call);
        }
        self.deadlines.insert((deadline, call));
        self.calls.insert(
            call,
            Pending {
                waiter,
                deadline,
                placement,
                sends_stream,
                reply,
            },
        );
        Ok(call)
    }

    /// The caller no longer waits.
    pub(crate) fn cancel(&mut self, call: u32) {
        if let Some(pending) = self.remove(call) {
            let execution = self.tell_cancelled(call);
            let status = Status::new(Code::Cancelled, execution, "the call was cancelled here");
            self.conclude(call, pending, Err(status), &mut Vec::new());
        }
    }

    /// Queues a message of a call's stream.
    pub(crate) fn send(&mut self, call: u32, message: Bytes) -> Result<(), Unsent> {
        if !self.calls.contains_key(&call) {
            return Err(Unsent::Over(self.why_over(call)));
        }
        if message.len() > self.limits.message_bytes_max {
            // Of the message nothing left, of the call something may have.
            let (code, execution) = (Code::InvalidArgument, Execution::MaybeExecuted);
            let text = too_large("message", message.len(), self.limits.message_bytes_max);
            let status = Status::new(code, execution, text);
            return Err(Unsent::Over(status));
        }
        let stream_bytes_max = self.limits.outgoing_bytes_max / 2;
        self.outgoing
            .push_stream(call, message, stream_bytes_max)
            .map_err(Unsent::Wait)
    }

    /// Ends a call's stream behind the messages that were queued.
    pub(crate) fn finish(&mut self, call: u32) {
        self.outgoing.end_stream(call);
    }

    /// The next reply of a call with a stream. The one reply of a client's
    /// stream comes as a message, too.
    pub(crate) fn take(&mut self, call: u32) -> Taken {
        if let Some(pending) = self.calls.get_mut(&call) {
            let Reply::Stream(receiver) = &mut pending.reply else {
                return Taken::Wait;
            };
            let held = receiver.held_bytes();
            let Some(message) = receiver.take() else {
                return Taken::Wait;
            };
            self.partial_bytes -= held - receiver.held_bytes();
            if let Some(credit) = receiver.credit() {
                self.push_credit(call, credit);
            }
            return Taken::Message(message);
        }
        let Some(ended) = self.ended.get_mut(&call) else {
            return Taken::Failed(self.why_over(call));
        };
        let held = ended.replies.held_bytes();
        let message = match &mut ended.replies {
            Replies::Body(body) => body.take(),
            Replies::Stream(receiver) => receiver.as_mut().and_then(|one| one.take()),
        };
        self.partial_bytes -= held - ended.replies.held_bytes();
        match (message, &ended.outcome) {
            (Some(message), _) => Taken::Message(message),
            (None, Ok(())) => Taken::End,
            (None, Err(status)) => Taken::Failed(status.clone()),
        }
    }

    /// Nobody looks at this call with a stream any more.
    pub(crate) fn release(&mut self, call: u32) {
        self.cancel(call);
        if let Some(ended) = self.ended.remove(&call) {
            self.partial_bytes -= ended.replies.held_bytes();
        }
    }

    /// A call with a stream, and who of its users is to look again.
    pub(crate) fn next_notice(&mut self) -> Option<(u32, Side)> {
        if let Some(call) = self.outgoing.next_writable() {
            return Some((call, Side::Writer));
        }
        self.notices.pop()
    }

    /// Takes a frame from the server; finished calls go to `outcomes`.
    pub(crate) fn receive(
        &mut self,
        frame: Frame<'_>,
        outcomes: &mut Vec<(T, Outcome)>,
    ) -> Result<(), Violation> {
        match frame.kind {
            Kind::Reply => self.receive_reply(frame, outcomes),
            Kind::Chunk | Kind::End => self.receive_part(frame, outcomes),
            Kind::Ping => {
                let token = <[u8; PING_BYTES]>::try_from(frame.payload)
                    .map_err(|_| Violation::Malformed("ping without its token"))?;
                self.outgoing.set_pong(token);
                Ok(())
            }
            Kind::Pong => Ok(()),
            Kind::Goaway => {
                let status = decode_failure(frame.code, frame.payload)?;
                // The first says what the server is doing; one that follows takes
                // nothing of it back.
                self.is_draining |= self.refusal.is_none() && status.code() == Code::Unavailable;
                self.refusal.get_or_insert(status);
                Ok(())
            }
            Kind::Credit => self.receive_credit(frame),
            Kind::Hello | Kind::Call | Kind::Cancel => Err(Violation::Unexpected(frame.kind)),
        }
    }

    /// Ends the calls whose time is over.
    pub(crate) fn expire(&mut self, now: Instant, outcomes: &mut Vec<(T, Outcome)>) {
        while let Some((deadline, call)) = self.deadlines.first().copied() {
            if deadline > now {
                break;
            }
            self.deadlines.pop_first();
            let Some(pending) = self.remove(call) else {
                continue;
            };
            let execution = self.tell_cancelled(call);
            let status = Status::new(Code::DeadlineExceeded, execution, "no reply in time");
            self.conclude(call, pending, Err(status), outcomes);
        }
    }

    /// The connection is over: every call ends, and so does every later one.
    pub(crate) fn fail_all(&mut self, reason: &Status, outcomes: &mut Vec<(T, Outcome)>) {
        let reason = self.refusal.get_or_insert_with(|| reason.clone()).clone();
        let mut numbers: Vec<u32> = self.calls.keys().copied().collect();
        numbers.sort_unstable();
        for call in numbers {
            let Some(pending) = self.remove(call) else {
                continue;
            };
            let execution = if self.outgoing.is_unsent(call, pending.placement) {
                Execution::NotSent
            } else {
                Execution::MaybeExecuted
            };
            let status = with_execution(&reason, execution);
            self.conclude(call, pending, Err(status), outcomes);
        }
        // A call just reported as not sent must not leave any more.
        self.outgoing.clear();
    }

    /// Gives the server a sign of life.
    pub(crate) fn show_life(&mut self) {
        self.outgoing.show_life();
    }

    /// Asks the server for a sign of life.
    pub(crate) fn ping(&mut self) {
        self.outgoing.push(Kind::Ping, 0, 0, &[0; PING_BYTES]);
    }

    /// Tells the server why the connection ends.
    pub(crate) fn goaway(&mut self, status: &Status) {
        let payload = crate::payload::encode_failure(status);
        self.outgoing
            .push(Kind::Goaway, status.code().number(), 0, &payload);
    }

    pub(crate) fn transmit(&mut self, output: &mut Vec<u8>) {
        self.outgoing.transmit(output);
        // Nothing hangs on the end of our stream: the reply ends the call.
        while self.outgoing.next_ended().is_some() {}
    }

    pub(crate) fn next_deadline(&self) -> Option<Instant> {
        self.deadlines.first().map(|(deadline, _)| *deadline)
    }

    pub(crate) fn has_output(&self) -> bool {
        !self.outgoing.is_empty()
    }

    /// Why no further call is taken, when none is.
    pub(crate) fn refusal(&self) -> Option<&Status> {
        self.refusal.as_ref()
    }

    /// Whether the server has said that it takes no more calls because it ends.
    pub(crate) fn is_draining(&self) -> bool {
        self.is_draining
    }

    /// What the connection holds now; calls that are over and not released
    /// included.
    pub(crate) fn held(&self) -> Held {
        Held {
            calls: self.calls.len() + self.ended.len(),
            incoming_bytes: self.partial_bytes,
            outgoing_bytes: self.outgoing.queued_bytes(),
        }
    }

    pub(crate) fn calls_in_flight(&self) -> usize {
        self.calls.len()
    }

    fn receive_reply(
        &mut self,
        frame: Frame<'_>,
        outcomes: &mut Vec<(T, Outcome)>,
    ) -> Result<(), Violation> {
        if frame.code != 0 && (frame.has_more() || frame.is_stream()) {
            return Err(Violation::Malformed("failure in more than one frame"));
        }
        if frame.is_stream() && !frame.payload.is_empty() {
            return Err(Violation::Malformed("a body beside a stream"));
        }
        let Some(pending) = self.calls.get_mut(&frame.call) else {
            return Ok(());
        };
        if frame.code != 0 {
            if let Reply::Body(Some(_)) = pending.reply {
                return Err(Violation::Malformed("second reply to one call"));
            }
            let status = decode_failure(frame.code, frame.payload)?;
            self.finish_call(frame.call, Err(status), outcomes);
            return Ok(());
        }
        match &mut pending.reply {
            Reply::Body(Some(_)) | Reply::Stream(_) => {
                Err(Violation::Malformed("second reply to one call"))
            }
            Reply::StreamAwaited if frame.is_stream() => {
                pending.reply = Reply::Stream(Box::new(Receiver::new()));
                Ok(())
            }
            Reply::StreamAwaited => Err(Violation::Malformed("a body in place of a stream")),
            Reply::Body(None) if frame.is_stream() => {
                Err(Violation::Malformed("a stream in place of a body"))
            }
            Reply::Body(partial) if frame.has_more() => {
                *partial = Some(Vec::new());
                self.receive_part(frame, outcomes)
            }
            Reply::Body(_) => {
                let body = Bytes::copy_from_slice(frame.payload);
                self.finish_call(frame.call, Ok(body), outcomes);
                Ok(())
            }
        }
    }

    fn receive_part(
        &mut self,
        frame: Frame<'_>,
        outcomes: &mut Vec<(T, Outcome)>,
    ) -> Result<(), Violation> {
        let room = self
            .limits
            .incoming_bytes_max
            .saturating_sub(self.partial_bytes);
        let Some(pending) = self.calls.get_mut(&frame.call) else {
            return Ok(());
        };
        let partial = match &mut pending.reply {
            Reply::Body(Some(partial)) => partial,
            Reply::Body(None) | Reply::StreamAwaited => {
                return Err(Violation::Malformed("part of a reply that has not begun"));
            }
            Reply::Stream(_) => return self.receive_of_stream(frame, room, outcomes),
        };
        if frame.is_last() {
            return Err(Violation::Malformed("end of a message in a body"));
        }
        if frame.payload.is_empty() {
            return Err(Violation::Malformed("empty part of a body"));
        }
        let fits_all = frame.payload.len() <= room;
        if !fits_all || extend_body(partial, frame.payload, self.limits.message_bytes_max).is_err()
        {
            let message = if fits_all {
                "reply is too large"
            } else {
                "too many bytes of replies wait for their end"
            };
            // The handler has answered, so it has run.
            let status = Status::new(Code::ResourceExhausted, Execution::Executed, message);
            self.give_up(frame.call, status, outcomes);
            return Ok(());
        }
        self.partial_bytes += frame.payload.len();
        if frame.kind == Kind::End {
            let body = Bytes::from(std::mem::take(partial));
            self.partial_bytes -= body.len();
            self.finish_call(frame.call, Ok(body), outcomes);
        }
        Ok(())
    }

    fn receive_of_stream(
        &mut self,
        frame: Frame<'_>,
        room: usize,
        outcomes: &mut Vec<(T, Outcome)>,
    ) -> Result<(), Violation> {
        let Some(Pending {
            reply: Reply::Stream(receiver),
            ..
        }) = self.calls.get_mut(&frame.call)
        else {
            return Ok(());
        };
        if frame.kind == Kind::End {
            receiver.end(frame.payload)?;
            self.finish_call(frame.call, Ok(Bytes::new()), outcomes);
            return Ok(());
        }
        let held = receiver.held_bytes();
        let bytes_max = self.limits.message_bytes_max;
        let arrival = receiver.chunk(frame.payload, frame.is_last(), bytes_max, room)?;
        // A last chunk takes its message's earlier parts over.
        self.partial_bytes = self.partial_bytes - held + receiver.held_bytes();
        let credit = receiver.credit();
        let message = match arrival {
            Arrival::Message => {
                self.notices.push((frame.call, Side::Reader));
                None
            }
            Arrival::Part => None,
            Arrival::TooLarge => Some("a message of the reply is too large"),
            Arrival::NoRoom => Some("too many bytes of replies wait for their reader"),
        };
        if let Some(message) = message {
            // The handler has not come to its end: it is about to be dropped.
            let execution = Execution::MaybeExecuted;
            let status = Status::new(Code::ResourceExhausted, execution, message);
            self.give_up(frame.call, status, outcomes);
        } else if let Some(credit) = credit {
            self.push_credit(frame.call, credit);
        }
        Ok(())
    }

    fn receive_credit(&mut self, frame: Frame<'_>) -> Result<(), Violation> {
        let bytes = decode_credit(frame.payload)?;
        match self.calls.get(&frame.call) {
            None => Ok(()),
            Some(pending) if pending.sends_stream => self.outgoing.grant(frame.call, bytes),
            Some(_) => Err(Violation::CreditRefused(bytes)),
        }
    }

    fn push_credit(&mut self, call: u32, bytes: u32) {
        self.outgoing
            .push(Kind::Credit, 0, call, &bytes.to_le_bytes());
    }

    /// The server has ended a call.
    fn finish_call(&mut self, call: u32, outcome: Outcome, outcomes: &mut Vec<(T, Outcome)>) {
        if let Some(pending) = self.remove(call) {
            // A reply can overtake the request's own chunks, and need not await
            // the end of a stream: the rest need not be sent. Of a call that was
            // answered before any of it had left the server need not hear.
            if self.outgoing.withdraw(call) == Withdrawn::Rest {
                self.outgoing.push(Kind::Cancel, 0, call, &[]);
            }
            self.conclude(call, pending, outcome, outcomes);
        }
    }

    /// A reply is more than can be held.
    fn give_up(&mut self, call: u32, status: Status, outcomes: &mut Vec<(T, Outcome)>) {
        if let Some(pending) = self.remove(call) {
            self.tell_cancelled(call);
            self.conclude(call, pending, Err(status), outcomes);
        }
    }

    /// Hands the outcome of a call that has left the table to its waiter, or
    /// keeps it for the users of its streams.
    fn conclude(
        &mut self,
        call: u32,
        pending: Pending<T>,
        outcome: Outcome,
        outcomes: &mut Vec<(T, Outcome)>,
    ) {
        if let Some(waiter) = pending.waiter {
            outcomes.push((waiter, outcome));
            return;
        }
        let (replies, outcome) = match (pending.reply, outcome) {
            (Reply::Body(_), Ok(body)) => (Replies::Body(Some(body)), Ok(())),
            (Reply::Body(_), Err(status)) => (Replies::Body(None), Err(status)),
            (Reply::StreamAwaited, outcome) => (Replies::Stream(None), outcome.map(|_| ())),
            (Reply::Stream(mut receiver), outcome) => {
                receiver.forget_partial();
                (Replies::Stream(Some(receiver)), outcome.map(|_| ()))
            }
        };
        self.partial_bytes += replies.held_bytes();
        self.ended.insert(call, Ended { replies, outcome });
        self.notices.push((call, Side::Reader));
        self.notices.push((call, Side::Writer));
    }

    /// What a sender is told whose call is over.
    fn why_over(&self, call: u32) -> Status {
        match self.ended.get(&call).map(|ended| &ended.outcome) {
            Some(Err(status)) => status.clone(),
            Some(Ok(())) => Status::new(
                Code::Cancelled,
                Execution::Executed,
                "the call was answered before its requests ended",
            ),
            None => Status::new(
                Code::Cancelled,
                Execution::MaybeExecuted,
                "the call is over",
            ),
        }
    }

    /// Withdraws or cancels a call that has left the table, and says whether
    /// it can have run.
    fn tell_cancelled(&mut self, call: u32) -> Execution {
        if self.outgoing.withdraw(call) == Withdrawn::Whole {
            return Execution::NotSent;
        }
        self.outgoing.push(Kind::Cancel, 0, call, &[]);
        Execution::MaybeExecuted
    }

    fn remove(&mut self, call: u32) -> Option<Pending<T>> {
        let pending = self.calls.remove(&call)?;
        self.deadlines.remove(&(pending.deadline, call));
        self.partial_bytes -= match &pending.reply {
            Reply::Body(partial) => partial.as_ref().map_or(0, Vec::len),
            Reply::StreamAwaited => 0,
            Reply::Stream(receiver) => receiver.held_bytes(),
        };
        Some(pending)
    }

    /// Numbers count up and wrap after four thousand million calls, so a late
    /// reply to a cancelled call cannot be taken for the answer to another.
    fn next_call(&mut self) -> u32 {
        loop {
            self.call_last = self.call_last.wrapping_add(1).max(1);
            if !self.calls.contains_key(&self.call_last)
                && !self.ended.contains_key(&self.call_last)
            {
                return self.call_last;
            }
        }
    }
}

/// The same failure of another call.
/// For whoever made the message, which has not left: the limits are the own ones.
fn too_large(what: &str, bytes: usize, bytes_max: usize) -> String {
    format!("{what} is too large: {bytes} bytes, and at most {bytes_max} may be sent")
}

fn with_execution(status: &Status, execution: Execution) -> Status {
    Status::new(status.code(), execution, status.message()).with_details(status.details().clone())
}

/// Whole milliseconds, rounded up so that a short timeout does not become
/// zero, which means none.
fn wire_timeout(timeout: Duration) -> u32 {
    u32::try_from(timeout.as_nanos().div_ceil(1_000_000))
        .unwrap_or(u32::MAX)
        .max(1)
}

#[cfg(test)]
mod tests;
