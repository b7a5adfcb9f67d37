//! Connections of the simulated world: bytes that are late, cut or lost.

use std::collections::VecDeque;
use std::time::Instant;

use super::client::Waits;
use super::world::{Event, World};
use crate::frame::Frame;
use crate::multiplexer;
use crate::status::{Code, Execution, Status};

/// What the kernel takes before a writer has to wait.
const PIPE_BYTES: usize = 48 * 1024;

/// One connection, with what stands at its two ends.
pub(super) struct Wire {
    pub(super) client: usize,
    pub(super) server: usize,
    pub(super) upward: Pipe,
    pub(super) downward: Pipe,
    /// The client's end, until it notices that the connection is over.
    pub(super) caller: Option<multiplexer::Client<Waits>>,
    /// The server's end, likewise.
    pub(super) callee: Option<multiplexer::Server>,
    pub(super) caller_timer: Option<Instant>,
    pub(super) callee_timer: Option<Instant>,
}

/// One direction.
#[derive(Debug, Default)]
pub(super) struct Pipe {
    /// Nothing overtakes.
    arrives_last: u64,
    in_flight_bytes: usize,
    pub(super) is_cut: bool,
    pub(super) stalled_until: u64,
    /// The writer does not get to run until then.
    writer_rests_until: u64,
    /// On the way, with when each piece arrives.
    pieces: VecDeque<(u64, Vec<u8>)>,
    /// Arrived, and no whole frame yet.
    input: Vec<u8>,
}

impl Wire {
    pub(super) fn pipe(&mut self, is_upward: bool) -> &mut Pipe {
        if is_upward {
            &mut self.upward
        } else {
            &mut self.downward
        }
    }
}

impl World {
    /// Moves what both ends have to say into the pipes, and sets their timers.
    pub(super) fn pump(&mut self, wire: u32) {
        self.transmit(wire, true);
        self.transmit(wire, false);
        self.set_timers(wire);
    }

    fn transmit(&mut self, number: u32, is_upward: bool) {
        let now = self.now;
        let Some(wire) = self.wires.get_mut(&number) else {
            return;
        };
        let has_output = if is_upward {
            wire.caller
                .as_ref()
                .is_some_and(multiplexer::Client::has_output)
        } else {
            wire.callee
                .as_ref()
                .is_some_and(multiplexer::Server::has_output)
        };
        if !is_upward && self.servers[wire.server].paused_until > now {
            return;
        }
        let pipe = wire.pipe(is_upward);
        if !has_output || now < pipe.writer_rests_until || pipe.in_flight_bytes >= PIPE_BYTES {
            return;
        }
        // The task that writes is not always there at once.
        if self.random.chance(self.nature.writer_rests_percent) {
            let until = now + self.random.between(1, 30_000);
            let pipe = wire.pipe(is_upward);
            pipe.writer_rests_until = until;
            self.at(until, Event::Flush { wire: number });
            return;
        }
        let mut output = Vec::new();
        if is_upward {
            if let Some(caller) = &mut wire.caller {
                caller.transmit(&mut output);
            }
        } else if let Some(callee) = &mut wire.callee {
            callee.transmit(&mut output);
        }
        self.send(number, is_upward, &output);
    }

    /// Cuts bytes anywhere, and lets each piece take its time.
    fn send(&mut self, number: u32, is_upward: bool, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let length = if self.random.chance(70) {
                bytes.len()
            } else {
                1 + self.random.index(bytes.len())
            };
            let (piece, rest) = bytes.split_at(length);
            bytes = rest;
            let latency = self.latency();
            let now = self.now;
            let wire = self.wires.get_mut(&number).expect("asked of before");
            let pipe = wire.pipe(is_upward);
            pipe.in_flight_bytes += piece.len();
            let arrival = (now + latency)
                .max(pipe.arrives_last)
                .max(pipe.stalled_until);
            pipe.arrives_last = arrival;
            pipe.pieces.push_back((arrival, piece.to_vec()));
            self.at(
                arrival,
                Event::Deliver {
                    wire: number,
                    is_upward,
                },
            );
        }
    }

    pub(super) fn latency(&mut self) -> u64 {
        let most = self.nature.latency;
        match self.random.below(20) {
            0 => self.random.between(most, 10 * most),
            _ => self.random.between(50, most),
        }
    }

    /// Hands over what has arrived. Pieces that are held back keep their order.
    pub(super) fn deliver(&mut self, number: u32, is_upward: bool) {
        let now = self.now;
        let Some(wire) = self.wires.get_mut(&number) else {
            return;
        };
        let held_until = if is_upward {
            self.servers[wire.server]
                .paused_until
                .max(wire.upward.stalled_until)
        } else {
            wire.downward.stalled_until
        };
        let pipe = wire.pipe(is_upward);
        if pipe.is_cut {
            // Nobody acknowledges it: the writer finds the pipe full at last.
            if pipe.pieces.pop_front().is_some() {
                self.truth.count("network: a piece lost behind a cut");
            }
            return;
        }
        if held_until > now {
            self.at(
                held_until,
                Event::Deliver {
                    wire: number,
                    is_upward,
                },
            );
            return;
        }
        while pipe
            .pieces
            .front()
            .is_some_and(|(arrival, _)| *arrival <= now)
        {
            let Some((_, bytes)) = pipe.pieces.pop_front() else {
                break;
            };
            pipe.in_flight_bytes -= bytes.len();
            pipe.input.extend_from_slice(&bytes);
        }
        let input = std::mem::take(&mut pipe.input);
        let mut rest = &input[..];
        loop {
            match Frame::decode(rest) {
                Ok(Some((frame, size))) => {
                    rest = &rest[size..];
                    if is_upward {
                        self.server_receives(number, frame);
                    } else {
                        self.client_receives(number, frame);
                    }
                }
                Ok(None) => break,
                Err(violation) => {
                    self.truth
                        .breach_of_world(format!("honest bytes violate: {violation}"));
                    break;
                }
            }
        }
        let rest = rest.to_vec();
        if let Some(wire) = self.wires.get_mut(&number) {
            wire.pipe(is_upward).input = rest;
        }
        self.pump(number);
    }

    /// One end notices that the connection is over.
    pub(super) fn lost(&mut self, number: u32, is_server: bool) {
        if is_server {
            self.server_lost(number);
        } else {
            let mut outcomes = Vec::new();
            if let Some(wire) = self.wires.get_mut(&number)
                && let Some(mut caller) = wire.caller.take()
            {
                let reason = Status::new(
                    Code::Unavailable,
                    Execution::MaybeExecuted,
                    "the connection is lost",
                );
                caller.fail_all(&reason, &mut outcomes);
            }
            self.take_outcomes(number, outcomes);
        }
        if let Some(wire) = self.wires.get(&number)
            && wire.caller.is_none()
            && wire.callee.is_none()
        {
            self.wires.remove(&number);
        }
    }

    fn set_timers(&mut self, number: u32) {
        let Some(wire) = self.wires.get_mut(&number) else {
            return;
        };
        let server = wire.server;
        let caller = wire
            .caller
            .as_ref()
            .and_then(multiplexer::Client::next_deadline);
        let callee = wire
            .callee
            .as_ref()
            .and_then(multiplexer::Server::next_deadline);
        let set_caller = caller != wire.caller_timer;
        let set_callee = callee != wire.callee_timer;
        wire.caller_timer = caller;
        wire.callee_timer = callee;
        if set_caller && let Some(deadline) = caller {
            let at = self.virtual_of_client(deadline).max(self.now);
            self.at(
                at,
                Event::Timer {
                    wire: number,
                    is_server: false,
                },
            );
        }
        if set_callee && let Some(deadline) = callee {
            let at = self.virtual_of_server(server, deadline).max(self.now);
            self.at(
                at,
                Event::Timer {
                    wire: number,
                    is_server: true,
                },
            );
        }
    }
}
