//! The serving side: which requests are whole, which handlers run.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::stream::{Arrival, Receiver};
use super::{Side, Taken, Unsent, extend_body};
use crate::bare::Held;
use crate::frame::{FLAG_STREAM, Frame, Kind, PING_BYTES, Violation};
use crate::limits::{Limits, STREAM_MESSAGE_OVERHEAD_BYTES, STREAM_WINDOW_BYTES};
use crate::metadata::Metadata;
use crate::outgoing::Outgoing;
use crate::payload::{CallPayload, OnceId, decode_credit, encode_failure};
use crate::quota::{Permit, Share, Shortage, Usage};
use crate::service::MethodKind;
use crate::status::{Code, Execution, Status};

/// What the shell must do.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Event {
    /// Run the handler of a whole request.
    Start(Start),
    /// Drop the handler of this call; its reply is no longer wanted.
    Abort(u32),
}

/// A request that is whole and within every bound; or, where it is a stream,
/// one that has begun.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Start {
    pub(crate) key: StreamKey,
    pub(crate) method: u64,
    /// What the caller takes the method for.
    pub(crate) kind: MethodKind,
    pub(crate) deadline: Instant,
    pub(crate) body: Bytes,
    pub(crate) metadata: Metadata,
    pub(crate) once: Option<OnceId>,
}

/// Names a call for good: clients choose the numbers, and a handler's stream
/// may outlive its call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct StreamKey {
    pub(crate) call: u32,
    pub(crate) serial: u64,
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
    serial_last: u64,
    notices: Vec<(StreamKey, Side)>,
    draining: Option<Status>,
    limits: Limits,
    /// What it has taken of its identity's quota.
    share: Share,
    /// Calls that permits count, and not the share; and their bytes.
    detached: Usage,
    stream_count: usize,
}

#[derive(Debug)]
struct Entry {
    serial: u64,
    deadline: Instant,
    held_bytes: usize,
    phase: Phase,
    /// None for a call without a stream, so that such a call stays small.
    streams: Option<Box<Streams>>,
    /// Counts the call in place of the connection's share.
    permit: Option<Arc<Permit>>,
}

impl Entry {
    fn permit_bytes(&self) -> usize {
        self.permit.as_ref().map_or(0, |permit| permit.bytes())
    }

    fn requests(&mut self) -> Option<&mut Receiver> {
        self.streams.as_mut()?.requests.as_mut()
    }

    fn sends_stream(&self) -> bool {
        self.streams
            .as_ref()
            .is_some_and(|streams| streams.replies != Replies::Body)
    }
}

#[derive(Debug)]
struct Streams {
    requests: Option<Receiver>,
    replies: Replies,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Replies {
    Body,
    /// A stream whose opening reply has not been queued.
    Awaited,
    Begun,
}

#[derive(Debug)]
enum Phase {
    /// Parts of the request are missing.
    Receiving(Box<Receiving>),
    /// The handler has the request.
    Running,
    /// The handler is gone, and its last messages have not left.
    Leaving,
    /// The handler was told to stop and is not gone yet.
    Aborted,
}

#[derive(Debug)]
struct Receiving {
    method: u64,
    kind: MethodKind,
    metadata: Metadata,
    once: Option<OnceId>,
    body: Vec<u8>,
}

impl Server {
    pub(crate) fn new(limits: Limits) -> Self {
        Self {
            calls: HashMap::new(),
            deadlines: BTreeSet::new(),
            outgoing: Outgoing::default(),
            held_bytes: 0,
            aborted_count: 0,
            serial_last: 0,
            notices: Vec::new(),
            draining: None,
            limits,
            share: Share::default(),
            detached: Usage::default(),
            stream_count: 0,
        }
    }

    /// Its calls count in the quota of an identity, from the first one on.
    pub(crate) fn count_by(&mut self, share: Share) {
        self.share = share;
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
            Kind::Cancel => self.receive_cancel(frame.call, now, events),
            Kind::Ping => {
                let token = <[u8; PING_BYTES]>::try_from(frame.payload)
                    .map_err(|_| Violation::Malformed("ping without its token"))?;
                self.outgoing.set_pong(token);
                Ok(())
            }
            // A client's goaway explains the close that follows it.
            Kind::Pong | Kind::Goaway => Ok(()),
            Kind::Credit => self.receive_credit(frame),
            Kind::Hello | Kind::Reply => Err(Violation::Unexpected(frame.kind)),
        }
    }

    /// The handler answered. Ignored when the answer is no longer wanted. The
    /// body of a successful answer is left out where the answer was a stream.
    pub(crate) fn reply(&mut self, call: u32, outcome: Result<Bytes, Status>) {
        if outcome.is_ok() && self.begin_leaving(call) {
            return;
        }
        let Some(entry) = self.remove(call) else {
            return;
        };
        if !matches!(entry.phase, Phase::Running) {
            return;
        }
        match outcome {
            Ok(body) => self.push_body(call, body),
            Err(status) => {
                // What has not left of its messages never will.
                if entry.sends_stream() {
                    self.outgoing.withdraw(call);
                }
                self.push_failure(call, &status.of_handler());
            }
        }
    }

    /// The handler of a stream of replies came to its end.
    fn begin_leaving(&mut self, call: u32) -> bool {
        let Some(entry) = self.calls.get_mut(&call) else {
            return false;
        };
        if !matches!(entry.phase, Phase::Running) || !entry.sends_stream() {
            return false;
        }
        entry.phase = Phase::Leaving;
        tell(&mut self.notices, call, entry);
        // What a permit counts is held by the handler's work.
        let kept = entry.permit_bytes();
        self.held_bytes -= entry.held_bytes - kept;
        entry.held_bytes = kept;
        self.discard_requests(call);
        self.open_replies(call);
        self.outgoing.end_stream(call);
        true
    }

    /// Queues a message of a call's replies.
    pub(crate) fn send(&mut self, key: StreamKey, message: Bytes) -> Result<(), Unsent> {
        if !self.is_running(key) {
            return Err(Unsent::Over(over()));
        }
        if message.len() > self.limits.message_bytes_max {
            let (code, execution) = (Code::Internal, Execution::MaybeExecuted);
            let status = Status::new(code, execution, "message is too large");
            return Err(Unsent::Over(status));
        }
        let mut stream_bytes_max = self.limits.outgoing_bytes_max / 2;
        if !self.covers_bytes(message.len()) {
            // Room in this connection wakes who waits for it; room that the
            // identity's other connections make does not.
            if message.len() > STREAM_WINDOW_BYTES && !self.outgoing.has_stream_bytes() {
                let (code, execution) = (Code::ResourceExhausted, Execution::MaybeExecuted);
                let status = Status::new(code, execution, Shortage::Bytes.message());
                return Err(Unsent::Over(status));
            }
            stream_bytes_max = 0;
        }
        self.outgoing
            .push_stream(key.call, message, stream_bytes_max)
            .map_err(Unsent::Wait)?;
        self.open_replies(key.call);
        Ok(())
    }

    /// The next message of a call's requests.
    pub(crate) fn take(&mut self, key: StreamKey) -> Taken {
        if !self.is_running(key) {
            return Taken::Failed(over());
        }
        let Some(entry) = self.calls.get_mut(&key.call) else {
            return Taken::Failed(over());
        };
        let Some(receiver) = entry.requests() else {
            return Taken::Failed(over());
        };
        let held = receiver.held_bytes();
        let Some(message) = receiver.take() else {
            return if receiver.is_ended() {
                Taken::End
            } else {
                Taken::Wait
            };
        };
        let freed = held - receiver.held_bytes();
        let credit = receiver.credit();
        entry.held_bytes -= freed;
        self.held_bytes -= freed;
        self.push_credit(key.call, credit);
        Taken::Message(message)
    }

    /// The handler reads no further requests.
    pub(crate) fn stop_reading(&mut self, key: StreamKey) {
        if self.is_running(key) {
            self.discard_requests(key.call);
        }
    }

    /// A call, and who of its streams' users is to look again.
    pub(crate) fn next_notice(&mut self) -> Option<(StreamKey, Side)> {
        if let Some(call) = self.outgoing.next_writable() {
            // A call that is gone has told its writer so.
            let serial = self.calls.get(&call).map_or(0, |entry| entry.serial);
            return Some((StreamKey { call, serial }, Side::Writer));
        }
        self.notices.pop()
    }

    /// The connection is over: whoever still has a stream is told. A call whose
    /// handler `has_task` counts until [`Server::abandon`] says that it is gone:
    /// reconnecting must not be a way to have more of them.
    pub(crate) fn end_all(&mut self, has_task: impl Fn(u32) -> bool) {
        self.outgoing.clear();
        let mut calls: Vec<u32> = self.calls.keys().copied().collect();
        calls.sort_unstable();
        for call in calls {
            if has_task(call) {
                // Whatever it sends leads nowhere.
                self.stop(call, &mut Vec::new());
            } else {
                self.remove(call);
            }
        }
        self.settle();
    }

    /// Gives back what is not used of the identity's quota: when all that was
    /// read is dealt with, and when something ends while nothing is read.
    pub(crate) fn settle(&mut self) {
        self.share.settle(self.usage());
    }

    /// What counts the call for as long as somebody holds it, so that its work
    /// counts beyond its end. `None` when nothing counts this connection.
    pub(crate) fn permit(&mut self, key: StreamKey) -> Option<Arc<Permit>> {
        let entry = self.calls.get_mut(&key.call).filter(|entry| {
            entry.serial == key.serial && matches!(entry.phase, Phase::Running | Phase::Aborted)
        });
        let Some(entry) = entry else {
            return self.share.late().map(Arc::new);
        };
        if let Some(permit) = &entry.permit {
            return Some(Arc::clone(permit));
        }
        // A stream's bytes come and go with its messages.
        let bytes = match &entry.streams {
            Some(streams) if streams.requests.is_some() => 0,
            _ => entry.held_bytes,
        };
        let permit = Arc::new(self.share.detach(bytes)?);
        entry.permit = Some(Arc::clone(&permit));
        self.detached.calls += 1;
        self.detached.bytes += bytes;
        Some(permit)
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
                Some(Phase::Receiving(_)) => Execution::NotStarted,
                Some(Phase::Running) => Execution::MaybeExecuted,
                Some(Phase::Leaving) => Execution::Executed,
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
        while let Some(call) = self.outgoing.next_ended() {
            self.remove(call);
        }
    }

    pub(crate) fn next_deadline(&self) -> Option<Instant> {
        self.deadlines.first().map(|(deadline, _)| *deadline)
    }

    pub(crate) fn has_output(&self) -> bool {
        !self.outgoing.is_empty()
    }

    /// Whether to read further frames: not while the client leaves its replies
    /// untaken: even refusals would pile up. Where its identity holds more than
    /// it may, a single one that is not taken is enough.
    pub(crate) fn wants_input(&self) -> bool {
        let due = self.outgoing.due_bytes();
        due == 0 || (due < self.limits.outgoing_bytes_pause && !self.share.is_beyond_bytes())
    }

    /// Whether the call's handler is not known to be gone, be its answer wanted
    /// or not. A stream whose last messages leave has none any more, though the
    /// call is in the table.
    pub(crate) fn has_handler(&self, key: StreamKey) -> bool {
        self.calls.get(&key.call).is_some_and(|entry| {
            entry.serial == key.serial && matches!(entry.phase, Phase::Running | Phase::Aborted)
        })
    }

    pub(crate) fn is_draining(&self) -> bool {
        self.draining.is_some()
    }

    /// What the connection holds now.
    pub(crate) fn held(&self) -> Held {
        Held {
            calls: self.calls.len(),
            incoming_bytes: self.held_bytes,
            outgoing_bytes: self.outgoing.queued_bytes(),
        }
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
        let payload = CallPayload::decode(frame.flags, frame.payload)?;
        let body = payload.body;
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
        let kind = MethodKind::of_streams(frame.is_stream(), frame.wants_replies());
        let is_stream = kind != MethodKind::Unary;
        let mut wanted = self.usage();
        wanted.calls += 1;
        wanted.streams += usize::from(is_stream);
        wanted.bytes += body.len();
        if let Err(shortage) = self.share.cover(wanted) {
            return self.refuse(frame.call, shortage.message());
        }
        let duration_max = match kind {
            MethodKind::Unary => self.limits.call_duration_max,
            _ => self.limits.stream_duration_max,
        };
        let duration = match payload.prefix.timeout_ms {
            0 => duration_max,
            timeout_ms => Duration::from_millis(u64::from(timeout_ms)).min(duration_max),
        };
        let deadline = now + duration;
        self.serial_last += 1;
        let key = StreamKey {
            call: frame.call,
            serial: self.serial_last,
        };
        let (method, metadata, once) = (payload.prefix.method, payload.metadata, payload.once);
        let phase = if frame.has_more() {
            Phase::Receiving(Box::new(Receiving {
                method,
                kind,
                metadata,
                once,
                body: body.to_vec(),
            }))
        } else {
            events.push(Event::Start(Start {
                key,
                method,
                kind,
                deadline,
                body: Bytes::copy_from_slice(body),
                metadata,
                once,
            }));
            Phase::Running
        };
        let streams = is_stream.then(|| {
            Box::new(Streams {
                requests: kind.has_request_stream().then(Receiver::new),
                replies: if kind.has_reply_stream() {
                    Replies::Awaited
                } else {
                    Replies::Body
                },
            })
        });
        if kind.has_reply_stream() {
            self.outgoing.open_stream(frame.call);
        }
        self.held_bytes += body.len();
        self.stream_count += usize::from(is_stream);
        self.deadlines.insert((deadline, frame.call));
        self.calls.insert(
            frame.call,
            Entry {
                serial: key.serial,
                deadline,
                held_bytes: body.len(),
                phase,
                streams,
                permit: None,
            },
        );
        Ok(())
    }

    fn receive_part(&mut self, frame: Frame<'_>, events: &mut Vec<Event>) -> Result<(), Violation> {
        let is_over_held = self.exceeds_held(frame.payload.len());
        let is_covered = self.covers_bytes(frame.payload.len());
        let Some(entry) = self.calls.get_mut(&frame.call) else {
            // Behind a call that was refused or ran out of time.
            return Ok(());
        };
        if entry.requests().is_some() {
            return self.receive_of_stream(frame, events);
        }
        let Phase::Receiving(receiving) = &mut entry.phase else {
            return Err(Violation::Malformed("part of a request that is whole"));
        };
        if frame.is_last() {
            return Err(Violation::Malformed("end of a message in a body"));
        }
        if frame.payload.is_empty() {
            return Err(Violation::Malformed("empty part of a body"));
        }
        if is_over_held {
            self.drop_call(frame.call);
            return self.refuse(frame.call, "too many request bytes in flight");
        }
        if !is_covered {
            self.drop_call(frame.call);
            return self.refuse(frame.call, Shortage::Bytes.message());
        }
        let bytes_max = self.limits.message_bytes_max;
        if extend_body(&mut receiving.body, frame.payload, bytes_max).is_err() {
            self.drop_call(frame.call);
            return self.refuse_too_large(frame.call);
        }
        entry.held_bytes += frame.payload.len();
        self.held_bytes += frame.payload.len();
        if frame.kind == Kind::End {
            events.push(Event::Start(Start {
                key: StreamKey {
                    call: frame.call,
                    serial: entry.serial,
                },
                method: receiving.method,
                kind: receiving.kind,
                deadline: entry.deadline,
                body: Bytes::from(std::mem::take(&mut receiving.body)),
                metadata: std::mem::take(&mut receiving.metadata),
                once: receiving.once,
            }));
            entry.phase = Phase::Running;
        }
        Ok(())
    }

    fn receive_of_stream(
        &mut self,
        frame: Frame<'_>,
        events: &mut Vec<Event>,
    ) -> Result<(), Violation> {
        let room = self
            .limits
            .incoming_bytes_max
            .saturating_sub(self.held_bytes);
        let is_covered = self.covers_bytes(frame.payload.len() + STREAM_MESSAGE_OVERHEAD_BYTES);
        let room = if is_covered { room } else { 0 };
        let bytes_max = self.limits.message_bytes_max;
        let Some(entry) = self.calls.get_mut(&frame.call) else {
            return Ok(());
        };
        if matches!(entry.phase, Phase::Aborted) {
            // On its way when the call was ended here.
            return Ok(());
        }
        let key = StreamKey {
            call: frame.call,
            serial: entry.serial,
        };
        let Some(receiver) = entry.requests() else {
            return Ok(());
        };
        if frame.kind == Kind::End {
            receiver.end(frame.payload)?;
            self.notices.push((key, Side::Reader));
            return Ok(());
        }
        let held = receiver.held_bytes();
        let arrival = receiver.chunk(frame.payload, frame.is_last(), bytes_max, room)?;
        let held_now = receiver.held_bytes();
        let credit = receiver.credit();
        entry.held_bytes = entry.held_bytes - held + held_now;
        self.held_bytes = self.held_bytes - held + held_now;
        let (code, message) = match arrival {
            Arrival::Message => {
                self.notices.push((key, Side::Reader));
                self.push_credit(frame.call, credit);
                return Ok(());
            }
            Arrival::Part => {
                self.push_credit(frame.call, credit);
                return Ok(());
            }
            Arrival::TooLarge => (Code::InvalidArgument, "a message is too large"),
            Arrival::NoRoom => (
                Code::ResourceExhausted,
                "too many request bytes wait for their handler",
            ),
        };
        self.stop(frame.call, events);
        let status = Status::new(code, Execution::MaybeExecuted, message);
        self.push_failure(frame.call, &status);
        Ok(())
    }

    fn receive_cancel(
        &mut self,
        call: u32,
        now: Instant,
        events: &mut Vec<Event>,
    ) -> Result<(), Violation> {
        let entry = self.calls.get(&call);
        // One that has crossed the reply, or comes again, costs next to nothing.
        let ends_call = entry.is_some_and(|entry| !matches!(entry.phase, Phase::Aborted));
        if ends_call && !self.share.cancel(now) {
            return Err(Violation::TooManyCancelled);
        }
        self.stop(call, events);
        // The reply may have begun to leave.
        self.outgoing.withdraw(call);
        Ok(())
    }

    fn receive_credit(&mut self, frame: Frame<'_>) -> Result<(), Violation> {
        let bytes = decode_credit(frame.payload)?;
        match self.calls.get(&frame.call) {
            None => Ok(()),
            Some(entry) if entry.sends_stream() => self.outgoing.grant(frame.call, bytes),
            Some(_) => Err(Violation::CreditRefused(bytes)),
        }
    }

    fn push_credit(&mut self, call: u32, credit: Option<u32>) {
        if let Some(bytes) = credit {
            self.outgoing
                .push(Kind::Credit, 0, call, &bytes.to_le_bytes());
        }
    }

    /// Throws away what a client's stream has brought and will bring.
    fn discard_requests(&mut self, call: u32) {
        let Some(entry) = self.calls.get_mut(&call) else {
            return;
        };
        let Some(receiver) = entry.requests() else {
            return;
        };
        let held = receiver.held_bytes();
        receiver.discard();
        let credit = receiver.credit();
        let freed = held.min(entry.held_bytes);
        entry.held_bytes -= freed;
        self.held_bytes -= freed;
        self.push_credit(call, credit);
    }

    /// Queues the reply with which the stream begins, ahead of its messages:
    /// whole frames leave before any of a stream.
    fn open_replies(&mut self, call: u32) {
        let Some(streams) = self
            .calls
            .get_mut(&call)
            .and_then(|entry| entry.streams.as_mut())
        else {
            return;
        };
        if streams.replies == Replies::Awaited {
            streams.replies = Replies::Begun;
            self.outgoing
                .push_message(Kind::Reply, FLAG_STREAM, call, &[], Bytes::new());
        }
    }

    fn is_running(&self, key: StreamKey) -> bool {
        self.calls.get(&key.call).is_some_and(|entry| {
            entry.serial == key.serial && matches!(entry.phase, Phase::Running)
        })
    }

    /// Takes a call out of the answerable ones. Its entry stays while its
    /// handler does.
    fn stop(&mut self, call: u32, events: &mut Vec<Event>) {
        let Some(entry) = self.calls.get_mut(&call) else {
            return;
        };
        match entry.phase {
            Phase::Receiving(_) | Phase::Leaving => {
                self.drop_call(call);
            }
            Phase::Running => {
                self.deadlines.remove(&(entry.deadline, call));
                entry.phase = Phase::Aborted;
                self.aborted_count += 1;
                events.push(Event::Abort(call));
                tell(&mut self.notices, call, entry);
                if entry.sends_stream() {
                    self.outgoing.withdraw(call);
                }
            }
            Phase::Aborted => {}
        }
    }

    /// Forgets a call that has no handler.
    fn drop_call(&mut self, call: u32) {
        self.remove(call);
        self.outgoing.withdraw(call);
    }

    fn remove(&mut self, call: u32) -> Option<Entry> {
        let mut entry = self.calls.remove(&call)?;
        self.deadlines.remove(&(entry.deadline, call));
        self.held_bytes -= entry.held_bytes;
        self.stream_count -= usize::from(entry.streams.is_some());
        if let Some(permit) = entry.permit.take() {
            self.detached.calls -= 1;
            self.detached.bytes -= permit.bytes();
        }
        if matches!(entry.phase, Phase::Aborted) {
            self.aborted_count -= 1;
        }
        if matches!(entry.phase, Phase::Running) {
            tell(&mut self.notices, call, &entry);
        }
        Some(entry)
    }

    /// What the connection holds, but for what permits count.
    fn usage(&self) -> Usage {
        Usage {
            calls: self.calls.len() - self.detached.calls,
            streams: self.stream_count,
            bytes: self.held_bytes + self.outgoing.queued_bytes() - self.detached.bytes,
        }
    }

    /// Whether the identity may hold so many more bytes; they are taken then.
    fn covers_bytes(&mut self, additional_bytes: usize) -> bool {
        let mut wanted = self.usage();
        wanted.bytes += additional_bytes;
        self.share.cover(wanted) != Err(Shortage::Bytes)
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
        } else if !self.covers_bytes(body.len()) {
            let (code, execution) = (Code::ResourceExhausted, Execution::Executed);
            let status = Status::new(code, execution, Shortage::Bytes.message());
            self.push_failure(call, &status);
        } else if body.len() > room {
            // The client asks for more than it takes: what it does not take
            // must not pile up here.
            let message = "too many reply bytes wait for the client";
            let status = Status::new(Code::ResourceExhausted, Execution::Executed, message);
            self.push_failure(call, &status);
        } else {
            self.outgoing.push_message(Kind::Reply, 0, call, &[], body);
        }
    }

    fn push_failure(&mut self, call: u32, status: &Status) {
        let payload = encode_failure(status);
        self.outgoing
            .push(Kind::Reply, status.code().number(), call, &payload);
    }
}

/// Whoever uses the streams of a call that is over is to look again.
fn tell(notices: &mut Vec<(StreamKey, Side)>, call: u32, entry: &Entry) {
    if entry.streams.is_some() {
        let serial = entry.serial;
        notices.push((StreamKey { call, serial }, Side::Reader));
        notices.push((StreamKey { call, serial }, Side::Writer));
    }
}

/// What the user of a stream is told whose call is over.
fn over() -> Status {
    Status::new(
        Code::Cancelled,
        Execution::MaybeExecuted,
        "the call is over",
    )
}

#[cfg(test)]
mod tests;
