//! The caller's side: which calls wait, and what each failure means.

use std::collections::{BTreeSet, HashMap};
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::extend_body;
use crate::frame::{Frame, Kind, PING_BYTES, Violation};
use crate::limits::Limits;
use crate::outgoing::{Outgoing, Placement, Withdrawn};
use crate::payload::{CallPrefix, decode_failure};
use crate::status::{Code, Execution, Status};

/// How one call ended.
pub(crate) type Outcome = Result<Bytes, Status>;

/// The table of calls in flight. `T` is what the shell wants back with each
/// outcome: the place where the caller waits.
#[derive(Debug)]
pub(crate) struct Client<T> {
    calls: HashMap<u32, Pending<T>>,
    deadlines: BTreeSet<(Instant, u32)>,
    outgoing: Outgoing,
    call_last: u32,
    partial_bytes: usize,
    refusal: Option<Status>,
    limits: Limits,
}

#[derive(Debug)]
struct Pending<T> {
    waiter: T,
    deadline: Instant,
    placement: Placement,
    /// The reply so far, once it has begun in parts.
    partial: Option<Vec<u8>>,
}

impl<T> Client<T> {
    pub(crate) fn new(limits: Limits) -> Self {
        Self {
            calls: HashMap::new(),
            deadlines: BTreeSet::new(),
            outgoing: Outgoing::default(),
            call_last: 0,
            partial_bytes: 0,
            refusal: None,
            limits,
        }
    }

    /// Queues a call and returns its number; `waiter` comes back with the
    /// outcome. A refusal here is always [`Execution::NotSent`].
    pub(crate) fn begin(
        &mut self,
        now: Instant,
        method: u64,
        body: Bytes,
        timeout: Duration,
        waiter: T,
    ) -> Result<u32, Status> {
        let refuse = |code, message: &str| Err(Status::new(code, Execution::NotSent, message));
        if let Some(refusal) = &self.refusal {
            return Err(with_execution(refusal, Execution::NotSent));
        }
        if timeout.is_zero() {
            return refuse(Code::DeadlineExceeded, "no time left to call");
        }
        if body.len() > self.limits.message_bytes_max {
            return refuse(Code::InvalidArgument, "request is too large");
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
        let prefix = CallPrefix { timeout_ms, method }.encode();
        let placement = self.outgoing.push_message(Kind::Call, call, &prefix, body);
        self.deadlines.insert((deadline, call));
        self.calls.insert(
            call,
            Pending {
                waiter,
                deadline,
                placement,
                partial: None,
            },
        );
        Ok(call)
    }

    /// The caller no longer waits.
    pub(crate) fn cancel(&mut self, call: u32) {
        if self.remove(call).is_some() {
            self.tell_cancelled(call);
        }
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
                self.refusal.get_or_insert(status);
                Ok(())
            }
            Kind::Hello | Kind::Call | Kind::Cancel | Kind::Credit => {
                Err(Violation::Unexpected(frame.kind))
            }
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
            outcomes.push((pending.waiter, Err(status)));
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
            outcomes.push((pending.waiter, Err(with_execution(&reason, execution))));
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

    pub(crate) fn calls_in_flight(&self) -> usize {
        self.calls.len()
    }

    fn receive_reply(
        &mut self,
        frame: Frame<'_>,
        outcomes: &mut Vec<(T, Outcome)>,
    ) -> Result<(), Violation> {
        if frame.code != 0 && frame.has_more() {
            return Err(Violation::Malformed("failure in more than one frame"));
        }
        let Some(pending) = self.calls.get_mut(&frame.call) else {
            return Ok(());
        };
        if pending.partial.is_some() {
            return Err(Violation::Malformed("second reply to one call"));
        }
        if frame.has_more() {
            pending.partial = Some(Vec::new());
            return self.receive_part(frame, outcomes);
        }
        let outcome = if frame.code == 0 {
            Ok(Bytes::copy_from_slice(frame.payload))
        } else {
            Err(decode_failure(frame.code, frame.payload)?)
        };
        if let Some(pending) = self.remove(frame.call) {
            // A reply can overtake the request's own chunks: the rest of a
            // refused request need not be sent.
            if self.outgoing.withdraw(frame.call) != Withdrawn::Nothing {
                self.outgoing.push(Kind::Cancel, 0, frame.call, &[]);
            }
            outcomes.push((pending.waiter, outcome));
        }
        Ok(())
    }

    fn receive_part(
        &mut self,
        frame: Frame<'_>,
        outcomes: &mut Vec<(T, Outcome)>,
    ) -> Result<(), Violation> {
        let Some(pending) = self.calls.get_mut(&frame.call) else {
            return Ok(());
        };
        let Some(partial) = pending.partial.as_mut() else {
            return Err(Violation::Malformed("part of a reply that has not begun"));
        };
        if frame.payload.is_empty() {
            return Err(Violation::Malformed("empty part of a body"));
        }
        let fits_all = frame.payload.len()
            <= self
                .limits
                .incoming_bytes_max
                .saturating_sub(self.partial_bytes);
        if !fits_all || extend_body(partial, frame.payload, self.limits.message_bytes_max).is_err()
        {
            let message = if fits_all {
                "reply is too large"
            } else {
                "too many bytes of replies wait for their end"
            };
            if let Some(pending) = self.remove(frame.call) {
                self.tell_cancelled(frame.call);
                // The handler has answered, so it has run.
                let status = Status::new(Code::ResourceExhausted, Execution::Executed, message);
                outcomes.push((pending.waiter, Err(status)));
            }
            return Ok(());
        }
        self.partial_bytes += frame.payload.len();
        if frame.kind == Kind::End
            && let Some(mut pending) = self.remove(frame.call)
        {
            let body = pending.partial.take().unwrap_or_default();
            outcomes.push((pending.waiter, Ok(Bytes::from(body))));
        }
        Ok(())
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
        self.partial_bytes -= pending.partial.as_ref().map_or(0, Vec::len);
        Some(pending)
    }

    /// Numbers count up and wrap after four thousand million calls, so a late
    /// reply to a cancelled call cannot be taken for the answer to another.
    fn next_call(&mut self) -> u32 {
        loop {
            self.call_last = self.call_last.wrapping_add(1).max(1);
            if !self.calls.contains_key(&self.call_last) {
                return self.call_last;
            }
        }
    }
}

/// The same failure of another call.
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
