//! The serving side, between a client that keeps no rules and handlers that do
//! what they like.
//!
//! | operation | operands | |
//! |---|---|---|
//! | 0 call | number u8, form u8, bytes u16 | form: kind (2 bits), metadata, at most once |
//! | 1 chunk | number u8, flags u8, bytes u16 | |
//! | 2 end | number u8, bytes u16 | |
//! | 3 cancel | number u8 | |
//! | 4 credit | number u8, bytes u32 | |
//! | 5 raw | length u8, the bytes | |
//! | 6 answer | handler u8, bytes u16 | twice as many |
//! | 7 fail | handler u8 | |
//! | 8 take | handler u8 | |
//! | 9 send | handler u8, bytes u16 | twice as many |
//! | 10 stop reading | handler u8 | |
//! | 11 reap | | handlers that were told to stop are gone |
//! | 12 wait | milliseconds u16 | |
//! | 13 transmit | | |
//! | 14 drain | | |
//! | 15 finish | | all handlers answer, and time passes |

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use sealmoot_rpc::bare::{Event, Key, Server, Taken};
use sealmoot_rpc::frame::{
    FLAG_METADATA, FLAG_MORE, FLAG_ONCE, FLAG_REPLIES, FLAG_STREAM, Frame, Kind,
};
use sealmoot_rpc::limits::CHUNK_BYTES_MAX;
use sealmoot_rpc::payload::{decode_credit, decode_failure};
use sealmoot_rpc::{Code, Execution, MethodKind, Status};

use super::judge::{Inward, Outward, Sent};
use super::{OPERATIONS_MAX, Program, append, body, limits};
use crate::Outcome;

/// Streams wait beside the replies' limit: a window and a message each.
const OUTGOING_BYTES_MAX: usize = 300_000 + 6 * (65_536 + 100_000) + 100_000;

pub(super) fn samples() -> Vec<Vec<u8>> {
    vec![
        // Calls of each kind, answered, with metadata and once.
        [
            &[0, 1, 0, 5, 0, 0, 2, 4, 5, 0, 0, 3, 8, 0, 0, 0, 5, 2, 5, 0][..],
            &[
                0, 4, 1, 0, 0, 1, 4, 64, 9, 0, 1, 4, 64, 9, 0, 2, 4, 0, 0, 8, 4,
            ],
            &[9, 3, 9, 0, 6, 0, 1, 0, 6, 0, 0, 0, 13, 6, 0, 0, 0, 13, 6],
            &[0, 0, 0, 7, 0, 15],
        ]
        .concat(),
        // A conversation with credit, pieces and an early end.
        [
            &[0, 1, 3, 0, 0, 1, 1, 64, 0, 64, 9, 0, 0, 128, 13][..],
            &[8, 0, 9, 0, 0, 128, 13, 9, 0, 0, 1, 4, 1, 0, 128, 0, 0, 13],
            &[
                10, 0, 1, 1, 64, 0, 64, 1, 1, 64, 0, 64, 13, 6, 0, 0, 0, 13, 15,
            ],
        ]
        .concat(),
        // A window spent to the byte, and twelve more.
        [
            &[
                0, 1, 2, 0, 0, 9, 0, 0xfa, 0x1f, 9, 0, 0xfa, 0x1f, 9, 0, 0xfa, 0x1f,
            ][..],
            &[
                13, 13, 13, 9, 0, 0, 0x20, 13, 13, 4, 1, 12, 0, 0, 0, 13, 6, 0, 0, 0, 13,
            ],
            &[15],
        ]
        .concat(),
        // A large request and reply, a cancel, a number used again, and time.
        [
            &[
                0, 1, 0, 0, 80, 1, 1, 0, 0, 64, 2, 1, 1, 0, 6, 0, 0, 128, 13, 13, 13,
            ][..],
            &[
                0, 2, 2, 1, 0, 9, 0, 0, 1, 3, 2, 11, 13, 0, 2, 0, 1, 0, 12, 0, 64, 11, 13,
            ],
            &[14, 0, 3, 0, 1, 0, 13, 5, 3, 1, 2, 3],
            &[15],
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
            Some(Step::Finished | Step::Closed) | None => return Outcome::Refused,
        }
    }
    Outcome::Refused
}

enum Step {
    On,
    /// The client broke a rule.
    Closed,
    Finished,
}

struct Run {
    server: Server,
    now: Instant,
    input: Vec<u8>,
    calls: BTreeMap<u32, Call>,
    running: Vec<Handler>,
    /// Told to stop.
    stopped: Vec<Handler>,
    /// Streams that outlived their calls.
    left: Vec<Key>,
}

#[derive(Clone, Copy)]
struct Handler {
    call: u32,
    key: Key,
    kind: MethodKind,
}

/// A call as its client sees it.
struct Call {
    kind: MethodKind,
    replies: Outward,
    requests: Inward,
    /// Cancelled, or its number was used again too early: what comes may belong
    /// to either.
    is_confused: bool,
}

impl Run {
    fn new() -> Self {
        Self {
            server: Server::new(limits()),
            now: Instant::now(),
            input: Vec::new(),
            calls: BTreeMap::new(),
            running: Vec::new(),
            stopped: Vec::new(),
            left: Vec::new(),
        }
    }

    fn step(&mut self, program: &mut Program<'_>) -> Option<Step> {
        match program.u8()? {
            0 => {
                let (number, form, length) = (program.u8()?, program.u8()?, program.u16()?);
                append_call(&mut self.input, number, form, usize::from(length));
            }
            1 => {
                let (number, flags, length) = (program.u8()?, program.u8()?, program.u16()?);
                let payload = body(usize::from(length));
                let number = u32::from(number);
                append(&mut self.input, Kind::Chunk, flags, 0, number, &payload);
            }
            2 => {
                let (number, length) = (u32::from(program.u8()?), program.u16()?);
                let payload = body(usize::from(length));
                append(&mut self.input, Kind::End, 0, 0, number, &payload);
            }
            3 => append(
                &mut self.input,
                Kind::Cancel,
                0,
                0,
                u32::from(program.u8()?),
                b"",
            ),
            4 => {
                let (number, bytes) = (u32::from(program.u8()?), program.u32()?);
                let payload = bytes.to_le_bytes();
                append(&mut self.input, Kind::Credit, 0, 0, number, &payload);
            }
            5 => self.input.extend_from_slice(program.bytes()?),
            6 => {
                let (index, length) = (program.u8()?, program.u16()?);
                self.answer(index, Ok(2 * usize::from(length)));
            }
            7 => {
                let index = program.u8()?;
                self.answer(index, Err(()));
            }
            8 => self.take(program.u8()?),
            9 => {
                let (index, length) = (program.u8()?, program.u16()?);
                self.send(index, 2 * usize::from(length));
            }
            10 => {
                let index = program.u8()?;
                if let Some(handler) = self.handler(index) {
                    self.server.stop_reading(handler.key);
                }
            }
            11 => self.reap(),
            12 => {
                self.now += Duration::from_millis(u64::from(program.u16()?));
                self.expire();
            }
            13 => drop(self.transmit()),
            14 => self.server.goaway(status(Code::Unavailable)),
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

    /// Gives the server what it wants to read; false when a rule was broken.
    fn feed(&mut self) -> bool {
        let input = std::mem::take(&mut self.input);
        let mut rest = &input[..];
        while self.server.wants_input() {
            let received = Frame::decode(rest).and_then(|decoded| match decoded {
                Some((frame, size)) => {
                    let events = self.server.receive(frame, self.now)?;
                    self.heard(&frame);
                    rest = &rest[size..];
                    Ok(Some(events))
                }
                None => Ok(None),
            });
            match received {
                Ok(Some(events)) => self.obey(events),
                Ok(None) => break,
                Err(_) => {
                    self.server.end_all();
                    let held = self.server.held();
                    assert_eq!((held.calls, held.incoming_bytes), (0, 0));
                    return false;
                }
            }
        }
        self.input = rest.to_vec();
        true
    }

    /// The client's part in its calls.
    fn heard(&mut self, frame: &Frame<'_>) {
        let call = self.calls.get_mut(&frame.call);
        match (frame.kind, call) {
            (Kind::Call, call) => {
                let is_early = call
                    .is_some_and(|call| call.is_confused || call.replies.sent != Sent::Everything);
                let call = Call {
                    kind: MethodKind::of_streams(frame.is_stream(), frame.wants_replies()),
                    replies: Outward::new(),
                    requests: Inward::new(),
                    is_confused: is_early,
                };
                self.calls.insert(frame.call, call);
            }
            (Kind::Chunk, Some(call)) => call.requests.chunk(frame.payload.len()),
            (Kind::Credit, Some(call)) => {
                let bytes = decode_credit(frame.payload).expect("it was taken");
                call.replies.grant(bytes);
            }
            (Kind::Cancel, Some(call)) => call.is_confused = true,
            _ => {}
        }
    }

    fn obey(&mut self, events: Vec<Event>) {
        for event in events {
            match event {
                Event::Start {
                    call, key, kind, ..
                } => self.running.push(Handler { call, key, kind }),
                Event::Abort(call) => {
                    let index = self.running.iter().position(|one| one.call == call);
                    let handler = self.running.remove(index.expect("it runs"));
                    self.stopped.push(handler);
                }
            }
        }
    }

    fn handler(&self, index: u8) -> Option<Handler> {
        let count = self.running.len();
        self.running.get(usize::from(index) % count.max(1)).copied()
    }

    fn answer(&mut self, index: u8, outcome: Result<usize, ()>) {
        let Some(handler) = self.handler(index) else {
            return;
        };
        self.running.retain(|one| one.key != handler.key);
        self.left.push(handler.key);
        let outcome = outcome.map(body).map_err(|()| status(Code::Aborted));
        self.server.reply(handler.call, outcome);
    }

    fn take(&mut self, index: u8) {
        if let Some(handler) = self.handler(index) {
            let taken = self.server.take(handler.key);
            if !handler.kind.has_request_stream() {
                assert!(matches!(taken, Taken::Failed(_)), "{taken:?} of no stream");
            }
        }
        for key in &self.left {
            let taken = self.server.take(*key);
            assert!(matches!(taken, Taken::Failed(_)), "{taken:?} of the dead");
        }
    }

    fn send(&mut self, index: u8, length: usize) {
        if let Some(handler) = self.handler(index)
            && handler.kind.has_reply_stream()
        {
            let sent = self.server.send(handler.key, body(length));
            assert_eq!(sent.is_err(), length > limits().message_bytes_max);
        }
        for key in &self.left {
            assert!(self.server.send(*key, body(1)).is_err(), "sent by the dead");
        }
    }

    fn reap(&mut self) {
        for handler in std::mem::take(&mut self.stopped) {
            self.left.push(handler.key);
            self.server.abandon(handler.call);
        }
    }

    fn expire(&mut self) {
        let events = self.server.expire(self.now);
        self.obey(events);
    }

    /// What leaves keeps the rules. Says whether more waits.
    fn transmit(&mut self) -> bool {
        let mut output = Vec::new();
        let has_more = self.server.transmit(&mut output);
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
            Kind::Ping | Kind::Pong => return,
            Kind::Goaway => {
                decode_failure(frame.code, frame.payload).expect("a lawful goaway");
                return;
            }
            Kind::Hello | Kind::Call | Kind::Cancel => panic!("a server says {frame:?}"),
            Kind::Reply | Kind::Chunk | Kind::End | Kind::Credit => {}
        }
        let call = self.calls.get_mut(&frame.call).expect("of a call");
        if call.is_confused {
            return;
        }
        match frame.kind {
            Kind::Credit => {
                assert!(call.kind.has_request_stream(), "credit for no stream");
                let bytes = decode_credit(frame.payload).expect("lawful credit");
                call.requests.credit(bytes);
            }
            Kind::Reply => call.replied(frame),
            _ => call.replies.part(frame),
        }
    }

    fn check(&self) {
        let held = self.server.held();
        assert!(held.calls <= limits().calls_in_flight_max, "{held:?}");
        assert!(
            held.incoming_bytes <= limits().incoming_bytes_max,
            "{held:?}"
        );
        assert!(held.outgoing_bytes <= OUTGOING_BYTES_MAX, "{held:?}");
    }

    /// Every call ends, whatever went before.
    fn finish(&mut self) {
        while !self.running.is_empty() {
            self.answer(0, Ok(10));
        }
        self.reap();
        while self.transmit() {}
        // Requests that are not whole, and replies without credit.
        self.now += limits().stream_duration_max;
        self.expire();
        self.reap();
        while self.transmit() {}
        let held = self.server.held();
        assert_eq!(
            (held.calls, held.incoming_bytes, held.outgoing_bytes),
            (0, 0, 0)
        );
        for (number, call) in &self.calls {
            let is_over = call.is_confused || call.replies.sent == Sent::Everything;
            assert!(is_over, "call {number} has no end: {:?}", call.replies);
        }
    }
}

impl Call {
    fn replied(&mut self, frame: &Frame<'_>) {
        let sent = &mut self.replies.sent;
        if frame.code != 0 {
            decode_failure(frame.code, frame.payload).expect("a lawful failure");
            let is_first = matches!(sent, Sent::Nothing | Sent::Stream { .. });
            assert!(is_first, "a failure behind {sent:?}");
            *sent = Sent::Everything;
            return;
        }
        assert_eq!(*sent, Sent::Nothing, "a second reply");
        assert_eq!(frame.is_stream(), self.kind.has_reply_stream());
        *sent = if frame.is_stream() {
            assert!(frame.payload.is_empty(), "a body beside a stream");
            Sent::Stream { is_inside: false }
        } else if frame.has_more() {
            Sent::Part
        } else {
            Sent::Everything
        };
    }
}

fn append_call(input: &mut Vec<u8>, number: u8, form: u8, length: usize) {
    let mut flags = 0;
    if form & 1 != 0 {
        flags |= FLAG_STREAM;
    }
    if form & 2 != 0 {
        flags |= FLAG_REPLIES;
    }
    let mut payload = [&[0; 4][..], &1_u64.to_le_bytes()].concat();
    if form & 8 != 0 {
        flags |= FLAG_ONCE;
        payload.extend_from_slice(&[9; 16]);
        payload.extend_from_slice(&[1, 0, 0, 0, 0, 0, 0, 0].repeat(2));
    }
    if form & 4 != 0 {
        flags |= FLAG_METADATA;
        payload.extend_from_slice(b"\x05\x00\x01k\x01\x00v");
    }
    if length > CHUNK_BYTES_MAX {
        flags |= FLAG_MORE;
    }
    payload.extend_from_slice(&body(length.min(CHUNK_BYTES_MAX)));
    append(input, Kind::Call, flags, 0, u32::from(number), &payload);
}

fn status(code: Code) -> Status {
    Status::new(code, Execution::Executed, "as the program says")
}
