//! The calling side, between callers and a server that keeps no rules.
//!
//! | operation | operands | |
//! |---|---|---|
//! | 0 begin | kind u8, bytes u16, timeout u16 | twice as many bytes; milliseconds |
//! | 1 cancel | call u8 | |
//! | 2 send | call u8, bytes u16 | twice as many |
//! | 3 finish stream | call u8 | |
//! | 4 take | call u8 | |
//! | 5 release | call u8 | |
//! | 6 reply | number u8, flags u8, code u8, bytes u16 | with a code a lawful failure |
//! | 7 chunk | number u8, flags u8, bytes u16 | |
//! | 8 end | number u8, bytes u16 | |
//! | 9 credit | number u8, bytes u32 | |
//! | 10 raw | length u8, the bytes | |
//! | 11 goaway | | |
//! | 12 wait | milliseconds u16 | |
//! | 13 transmit | | |
//! | 14 lose | | the connection is over |
//! | 15 finish | | |

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use sealmoot_rpc::bare::{Client, Taken};
use sealmoot_rpc::bytes::Bytes;
use sealmoot_rpc::frame::{Frame, Kind};
use sealmoot_rpc::payload::{CallPayload, decode_credit, encode_failure};
use sealmoot_rpc::{Code, Execution, MethodKind, Status};

use super::judge::{Inward, Outward, Sent};
use super::{OPERATIONS_MAX, Program, append, body, limits};
use crate::Outcome;

/// Beside the limit: what streams may send at once, and small frames.
const OUTGOING_BYTES_MAX: usize = 300_000 + 6 * (65_536 + 100_000) + 100_000;

pub(super) fn samples() -> Vec<Vec<u8>> {
    vec![
        // A call of each kind, answered.
        [
            &[0, 0, 5, 0, 100, 0, 13, 6, 1, 0, 0, 9, 0][..],
            &[
                0, 1, 0, 0, 100, 0, 2, 2, 9, 0, 3, 2, 13, 6, 2, 0, 0, 9, 0, 4, 2, 4, 2,
            ],
            &[
                0, 2, 5, 0, 100, 0, 13, 6, 3, 4, 0, 0, 0, 7, 3, 64, 5, 0, 8, 3, 0, 0, 4, 3,
            ],
            &[
                0, 3, 0, 0, 100, 0, 2, 4, 5, 0, 13, 6, 4, 4, 0, 0, 0, 6, 4, 0, 3, 2, 0, 4, 4,
            ],
            &[5, 3, 15],
        ]
        .concat(),
        // Bulk, credit both ways, a cancel and a lost connection.
        [
            &[
                0, 1, 0, 0, 0, 9, 2, 1, 0, 128, 13, 13, 13, 9, 1, 0, 128, 0, 0, 13,
            ][..],
            &[
                0, 2, 0, 64, 0, 9, 13, 6, 2, 4, 0, 0, 0, 7, 2, 0, 0, 64, 7, 2, 64, 0, 64,
            ],
            &[
                7, 2, 64, 0, 64, 4, 2, 4, 2, 13, 1, 1, 13, 0, 0, 0, 64, 0, 9, 14, 4, 2, 15,
            ],
        ]
        .concat(),
        // A large reply, replies to nobody, a goaway, time.
        [
            &[
                0, 0, 1, 0, 100, 0, 13, 6, 1, 1, 0, 0, 64, 7, 1, 0, 0, 64, 8, 1, 1, 0,
            ][..],
            &[
                6, 9, 0, 0, 1, 0, 8, 9, 1, 0, 0, 3, 0, 0, 50, 0, 12, 60, 0, 13, 11,
            ],
            &[0, 0, 1, 0, 1, 0, 10, 2, 1, 0, 15],
        ]
        .concat(),
    ]
}

pub(super) fn check(bytes: &[u8]) -> Outcome {
    let mut run = Run::new();
    let mut program = Program(bytes);
    for _ in 0..OPERATIONS_MAX {
        match run.step(&mut program) {
            Some(Step::On) => run.check(),
            Some(Step::Finished) if program.0.is_empty() => return Outcome::Accepted,
            Some(Step::Finished) | None => return Outcome::Refused,
            Some(Step::Closed) => {
                // Its calls end all the same.
                run.finish();
                return Outcome::Refused;
            }
        }
    }
    Outcome::Refused
}

enum Step {
    On,
    /// The server broke a rule.
    Closed,
    Finished,
}

struct Run {
    client: Client,
    now: Instant,
    input: Vec<u8>,
    /// Those begun, in order.
    calls: BTreeMap<u32, Call>,
    /// Calls without a stream that wait, and until when.
    waiting: BTreeMap<u32, Instant>,
    released: BTreeSet<u32>,
    next_waiter: u32,
    is_lost: bool,
}

/// A call as its server sees it.
struct Call {
    kind: MethodKind,
    waiter: u32,
    /// Whether any of it has left.
    is_seen: bool,
    /// Whether its caller was told that nothing of it did.
    is_not_sent: bool,
    is_cancelled: bool,
    requests: Outward,
    replies: Inward,
}

impl Run {
    fn new() -> Self {
        Self {
            client: Client::new(limits()),
            now: Instant::now(),
            input: Vec::new(),
            calls: BTreeMap::new(),
            waiting: BTreeMap::new(),
            released: BTreeSet::new(),
            next_waiter: 1_000,
            is_lost: false,
        }
    }

    fn step(&mut self, program: &mut Program<'_>) -> Option<Step> {
        match program.u8()? {
            0 => {
                let (form, length, timeout) = (program.u8()?, program.u16()?, program.u16()?);
                self.begin(form, 2 * usize::from(length), timeout);
            }
            1 => {
                let call = u32::from(program.u8()?);
                self.cancel(call);
            }
            2 => {
                let (call, length) = (u32::from(program.u8()?), program.u16()?);
                if self.has_stream(call, MethodKind::has_request_stream) {
                    // Whether it waits or is over is the server's doing.
                    let _ = self.client.send(call, body(2 * usize::from(length)));
                }
            }
            3 => {
                let call = u32::from(program.u8()?);
                if self.has_stream(call, MethodKind::has_request_stream) {
                    self.client.finish(call);
                }
            }
            4 => {
                let call = u32::from(program.u8()?);
                if self.has_stream(call, |_| true) {
                    drop(self.client.take(call));
                }
            }
            5 => {
                let call = u32::from(program.u8()?);
                self.release(call);
            }
            6 => {
                let (number, flags, code) = (program.u8()?, program.u8()?, program.u8()?);
                let length = usize::from(program.u16()?);
                let payload = match code {
                    0 => body(length),
                    _ => Bytes::from(encode_failure(&status(Code::Aborted))),
                };
                let (number, code) = (u32::from(number), u16::from(code));
                append(&mut self.input, Kind::Reply, flags, code, number, &payload);
            }
            7 => {
                let (number, flags, length) = (program.u8()?, program.u8()?, program.u16()?);
                let (number, payload) = (u32::from(number), body(usize::from(length)));
                append(&mut self.input, Kind::Chunk, flags, 0, number, &payload);
            }
            8 => {
                let (number, length) = (u32::from(program.u8()?), program.u16()?);
                let payload = body(usize::from(length));
                append(&mut self.input, Kind::End, 0, 0, number, &payload);
            }
            9 => {
                let (number, bytes) = (u32::from(program.u8()?), program.u32()?);
                let payload = bytes.to_le_bytes();
                append(&mut self.input, Kind::Credit, 0, 0, number, &payload);
            }
            10 => self.input.extend_from_slice(program.bytes()?),
            11 => {
                let status = status(Code::Unavailable);
                let (code, payload) = (status.code().number(), encode_failure(&status));
                append(&mut self.input, Kind::Goaway, 0, code, 0, &payload);
            }
            12 => {
                self.now += Duration::from_millis(u64::from(program.u16()?));
                let outcomes = self.client.expire(self.now);
                self.conclude(outcomes);
                let late = self.waiting.values().any(|deadline| *deadline <= self.now);
                assert!(!late, "a call outlived its time");
            }
            13 => drop(self.transmit()),
            14 => self.lose(),
            15 => {
                if !self.feed() {
                    return Some(Step::Closed);
                }
                self.finish();
                return Some(Step::Finished);
            }
            _ => return None,
        }
        Some(if self.feed() { Step::On } else { Step::Closed })
    }

    fn begin(&mut self, form: u8, length: usize, timeout: u16) {
        let kind = MethodKind::of_streams(form & 1 != 0, form & 2 != 0);
        let request = if kind.has_request_stream() { 0 } else { length };
        let timeout = Duration::from_millis(u64::from(timeout));
        self.next_waiter += 1;
        let waiter = self.next_waiter;
        let begun = self
            .client
            .begin(self.now, kind, body(request), timeout, waiter);
        match begun {
            Ok(number) => {
                let call = Call {
                    kind,
                    waiter,
                    is_seen: false,
                    is_not_sent: false,
                    is_cancelled: false,
                    requests: Outward::new(),
                    replies: Inward::new(),
                };
                assert!(self.calls.insert(number, call).is_none(), "a number twice");
                if kind == MethodKind::Unary {
                    self.waiting.insert(waiter, self.now + timeout);
                }
            }
            Err(status) => assert_eq!(status.execution(), Execution::NotSent),
        }
    }

    fn has_stream(&self, number: u32, which: impl Fn(MethodKind) -> bool) -> bool {
        let call = self.calls.get(&number);
        call.is_some_and(|call| call.kind != MethodKind::Unary && which(call.kind))
            && !self.released.contains(&number)
    }

    fn cancel(&mut self, number: u32) {
        let Some(call) = self.calls.get(&number) else {
            return;
        };
        // Whoever cancels a call without a stream does not hear of it.
        self.waiting.remove(&call.waiter);
        self.client.cancel(number);
    }

    fn release(&mut self, number: u32) {
        if self.has_stream(number, |_| true) {
            self.client.release(number);
            self.released.insert(number);
        }
    }

    /// Gives the client what has arrived; false when a rule was broken.
    fn feed(&mut self) -> bool {
        let input = std::mem::take(&mut self.input);
        let mut rest = &input[..];
        while !self.is_lost {
            let received = Frame::decode(rest).and_then(|decoded| match decoded {
                Some((frame, size)) => {
                    let outcomes = self.client.receive(frame)?;
                    self.heard(&frame);
                    rest = &rest[size..];
                    Ok(Some(outcomes))
                }
                None => Ok(None),
            });
            match received {
                Ok(Some(outcomes)) => self.conclude(outcomes),
                Ok(None) => break,
                Err(_) => return false,
            }
        }
        self.input = rest.to_vec();
        true
    }

    /// The server's part in the calls.
    fn heard(&mut self, frame: &Frame<'_>) {
        let Some(call) = self.calls.get_mut(&frame.call) else {
            return;
        };
        match frame.kind {
            Kind::Chunk => call.replies.chunk(frame.payload.len()),
            Kind::Credit => {
                let bytes = decode_credit(frame.payload).expect("it was taken");
                call.requests.grant(bytes);
            }
            _ => {}
        }
    }

    fn conclude(&mut self, outcomes: Vec<(u32, Result<Bytes, Status>)>) {
        for (waiter, outcome) in outcomes {
            let waited = self.waiting.remove(&waiter);
            assert!(waited.is_some(), "an outcome for nobody");
            let execution = outcome.as_ref().err().map(Status::execution);
            if execution == Some(Execution::NotSent) {
                let call = self.calls.values_mut().find(|call| call.waiter == waiter);
                let call = call.expect("of a call");
                assert!(!call.is_seen, "not sent, and seen");
                call.is_not_sent = true;
            }
        }
    }

    /// What leaves keeps the rules. Says whether more waits.
    fn transmit(&mut self) -> bool {
        let mut output = Vec::new();
        let has_more = self.client.transmit(&mut output);
        let mut rest = &output[..];
        while let Some((frame, size)) = Frame::decode(rest).expect("our own frames are lawful") {
            self.said(&frame);
            rest = &rest[size..];
        }
        assert!(rest.is_empty(), "a frame is cut short");
        has_more
    }

    fn said(&mut self, frame: &Frame<'_>) {
        match frame.kind {
            Kind::Ping | Kind::Pong | Kind::Goaway => return,
            Kind::Hello | Kind::Reply => panic!("a client says {frame:?}"),
            _ => {}
        }
        let call = self.calls.get_mut(&frame.call).expect("of a call");
        assert!(!call.is_not_sent, "{frame:?} of a call that was not sent");
        assert!(!call.is_cancelled, "{frame:?} behind a cancel");
        match frame.kind {
            Kind::Call => {
                assert!(!call.is_seen, "a call twice");
                call.is_seen = true;
                CallPayload::decode(frame.flags, frame.payload).expect("a lawful call");
                let kind = MethodKind::of_streams(frame.is_stream(), frame.wants_replies());
                assert_eq!(kind, call.kind);
                call.requests.sent = if frame.is_stream() {
                    Sent::Stream { is_inside: false }
                } else if frame.has_more() {
                    Sent::Part
                } else {
                    Sent::Everything
                };
            }
            Kind::Cancel => {
                assert!(call.is_seen, "a cancel before its call");
                call.is_cancelled = true;
            }
            Kind::Credit => {
                assert!(call.kind.has_reply_stream(), "credit for no stream");
                let bytes = decode_credit(frame.payload).expect("lawful credit");
                call.replies.credit(bytes);
            }
            _ => call.requests.part(frame),
        }
    }

    fn check(&self) {
        let held = self.client.held();
        assert!(
            held.incoming_bytes <= limits().incoming_bytes_max,
            "{held:?}"
        );
        assert!(held.outgoing_bytes <= OUTGOING_BYTES_MAX, "{held:?}");
        assert!(self.waiting.len() <= limits().calls_in_flight_max);
    }

    fn lose(&mut self) {
        let outcomes = self.client.fail_all(&status(Code::Unavailable));
        self.conclude(outcomes);
        self.is_lost = true;
        assert!(self.waiting.is_empty(), "somebody waits for ever");
    }

    /// The connection ends: every call does, and what is held is given out.
    fn finish(&mut self) {
        self.lose();
        assert!(!self.transmit(), "something leaves behind the end");
        let numbers: Vec<u32> = self.calls.keys().copied().collect();
        for number in numbers {
            if self.has_stream(number, |_| true) {
                while let Taken::Message(_) = self.client.take(number) {}
                let taken = self.client.take(number);
                let is_over = matches!(taken, Taken::End | Taken::Failed(_));
                assert!(is_over, "{taken:?} of call {number}");
                self.release(number);
            }
        }
        let held = self.client.held();
        assert_eq!(
            (held.calls, held.incoming_bytes, held.outgoing_bytes),
            (0, 0, 0)
        );
    }
}

fn status(code: Code) -> Status {
    Status::new(code, Execution::MaybeExecuted, "as the program says")
}
