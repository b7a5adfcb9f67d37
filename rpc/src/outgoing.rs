//! What waits to be written, and in which order it leaves.
//!
//! Small frames stand encoded in one buffer and leave together. Bulk messages
//! wait in a ring and give one chunk each per round, so that a small call
//! waits for one write's worth of bulk and never for a whole message. Knows
//! nothing of sockets.

use std::collections::VecDeque;

use bytes::Bytes;

use crate::frame::{self, FLAG_MORE, HEADER_BYTES, Kind, PING_BYTES};
use crate::limits::{CHUNK_BYTES_MAX, TRANSMIT_BYTES_TARGET};

/// The queue of one direction. Whoever adds to it bounds it by
/// [`Outgoing::queued_bytes`].
#[derive(Debug, Default)]
pub(crate) struct Outgoing {
    ready: Vec<u8>,
    bulk: VecDeque<Bulk>,
    bulk_bytes: usize,
    batch: Batch,
    pong: Option<[u8; PING_BYTES]>,
}

/// A write's worth of small frames, named so that one can later ask whether
/// it has left.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Batch(u64);

/// Where a message was put.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Placement {
    /// Encoded among the small frames of this batch.
    Small(Batch),
    /// In the ring of bulk messages.
    Bulk,
}

/// What was left of a bulk message when it was withdrawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Withdrawn {
    /// No byte of it had left.
    Whole,
    /// Its beginning had left.
    Rest,
    /// All of it had left, or it never was bulk.
    Nothing,
}

#[derive(Debug)]
struct Bulk {
    call: u32,
    /// Kind and prefix of the first frame, until it has left.
    opening: Option<(Kind, Vec<u8>)>,
    body: Bytes,
}

impl Outgoing {
    /// Queues a frame that is never split.
    pub(crate) fn push(&mut self, kind: Kind, code: u16, call: u32, payload: &[u8]) {
        frame::append(&mut self.ready, kind, 0, code, call, &[payload]);
    }

    /// Queues a call or a successful reply, whole or in chunks.
    pub(crate) fn push_message(
        &mut self,
        kind: Kind,
        call: u32,
        prefix: &[u8],
        body: Bytes,
    ) -> Placement {
        if body.len() <= CHUNK_BYTES_MAX {
            frame::append(&mut self.ready, kind, 0, 0, call, &[prefix, &body]);
            return Placement::Small(self.batch);
        }
        self.bulk_bytes += body.len();
        self.bulk.push_back(Bulk {
            call,
            opening: Some((kind, prefix.to_vec())),
            body,
        });
        Placement::Bulk
    }

    /// Answers a ping. Only the newest answer waits: a peer that sends pings
    /// and reads nothing must not grow this queue.
    pub(crate) fn set_pong(&mut self, token: [u8; PING_BYTES]) {
        self.pong = Some(token);
    }

    /// Tells the peer that we are here, without being asked: what it sends us
    /// may stand so deep in buffers that a ping comes too late.
    pub(crate) fn show_life(&mut self) {
        self.pong.get_or_insert([0; PING_BYTES]);
    }

    /// Takes back what has not left of a bulk message.
    pub(crate) fn withdraw(&mut self, call: u32) -> Withdrawn {
        let Some(index) = self.bulk.iter().position(|bulk| bulk.call == call) else {
            return Withdrawn::Nothing;
        };
        let Some(bulk) = self.bulk.remove(index) else {
            return Withdrawn::Nothing;
        };
        self.bulk_bytes -= bulk.body.len();
        match bulk.opening {
            Some(_) => Withdrawn::Whole,
            None => Withdrawn::Rest,
        }
    }

    /// Forgets everything that has not left.
    pub(crate) fn clear(&mut self) {
        self.ready.clear();
        self.bulk.clear();
        self.bulk_bytes = 0;
        self.pong = None;
    }

    /// Appends the next write's worth of frames to `output`.
    pub(crate) fn transmit(&mut self, output: &mut Vec<u8>) {
        if let Some(token) = self.pong.take() {
            frame::append(output, Kind::Pong, 0, 0, 0, &[&token]);
        }
        if !self.ready.is_empty() {
            self.batch.0 += 1;
            if output.is_empty() {
                std::mem::swap(output, &mut self.ready);
            } else {
                output.append(&mut self.ready);
            }
        }
        while output.len() < TRANSMIT_BYTES_TARGET {
            let Some(mut bulk) = self.bulk.pop_front() else {
                break;
            };
            let chunk = bulk.body.split_to(bulk.body.len().min(CHUNK_BYTES_MAX));
            self.bulk_bytes -= chunk.len();
            let is_last = bulk.body.is_empty();
            match bulk.opening.take() {
                Some((kind, prefix)) => {
                    frame::append(output, kind, FLAG_MORE, 0, bulk.call, &[&prefix, &chunk]);
                }
                None => {
                    let kind = if is_last { Kind::End } else { Kind::Chunk };
                    frame::append(output, kind, 0, 0, bulk.call, &[&chunk]);
                }
            }
            if !is_last {
                self.bulk.push_back(bulk);
            }
        }
    }

    /// Whether a message placed there has not begun to leave.
    pub(crate) fn is_unsent(&self, call: u32, placement: Placement) -> bool {
        match placement {
            Placement::Small(batch) => batch == self.batch,
            Placement::Bulk => self
                .bulk
                .iter()
                .any(|bulk| bulk.call == call && bulk.opening.is_some()),
        }
    }

    /// Whether nothing waits.
    pub(crate) fn is_empty(&self) -> bool {
        self.ready.is_empty() && self.bulk.is_empty() && self.pong.is_none()
    }

    /// Bytes that wait, without the headers of chunks not made yet.
    pub(crate) fn queued_bytes(&self) -> usize {
        self.ready.len() + self.bulk_bytes + self.bulk.len() * HEADER_BYTES
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::Frame;

    /// Kind, call and payload length of every frame of one write.
    fn frames(outgoing: &mut Outgoing) -> Vec<(Kind, u32, usize)> {
        let mut output = Vec::new();
        outgoing.transmit(&mut output);
        let mut rest = &output[..];
        let mut frames = Vec::new();
        while let Some((frame, size)) = Frame::decode(rest).expect("well formed") {
            frames.push((frame.kind, frame.call, frame.payload.len()));
            rest = &rest[size..];
        }
        assert!(rest.is_empty());
        frames
    }

    fn body(length: usize) -> Bytes {
        Bytes::from(vec![7; length])
    }

    #[test]
    fn small_frames_leave_together_in_order() {
        let mut outgoing = Outgoing::default();
        outgoing.push_message(Kind::Reply, 1, &[], body(3));
        outgoing.push(Kind::Cancel, 0, 2, &[]);
        assert_eq!(outgoing.queued_bytes(), 2 * HEADER_BYTES + 3);
        assert_eq!(
            frames(&mut outgoing),
            [(Kind::Reply, 1, 3), (Kind::Cancel, 2, 0)]
        );
        assert!(outgoing.is_empty());
        assert_eq!(outgoing.queued_bytes(), 0);
    }

    #[test]
    fn a_body_of_exactly_one_chunk_is_not_split() {
        let mut outgoing = Outgoing::default();
        outgoing.push_message(Kind::Reply, 1, &[], body(CHUNK_BYTES_MAX));
        assert_eq!(frames(&mut outgoing), [(Kind::Reply, 1, CHUNK_BYTES_MAX)]);
    }

    #[test]
    fn one_byte_more_travels_in_the_end_frame() {
        let mut outgoing = Outgoing::default();
        outgoing.push_message(Kind::Reply, 1, &[], body(CHUNK_BYTES_MAX + 1));
        assert_eq!(
            frames(&mut outgoing),
            [(Kind::Reply, 1, CHUNK_BYTES_MAX), (Kind::End, 1, 1)]
        );
        assert!(outgoing.is_empty());
    }

    #[test]
    fn bulk_takes_turns_and_small_frames_go_first() {
        let mut outgoing = Outgoing::default();
        outgoing.push_message(Kind::Call, 1, &[0; 12], body(3 * CHUNK_BYTES_MAX));
        outgoing.push_message(Kind::Call, 2, &[0; 12], body(3 * CHUNK_BYTES_MAX));
        assert_eq!(
            frames(&mut outgoing),
            [
                (Kind::Call, 1, 12 + CHUNK_BYTES_MAX),
                (Kind::Call, 2, 12 + CHUNK_BYTES_MAX)
            ]
        );
        outgoing.push(Kind::Cancel, 0, 9, &[]);
        assert_eq!(
            frames(&mut outgoing),
            [
                (Kind::Cancel, 9, 0),
                (Kind::Chunk, 1, CHUNK_BYTES_MAX),
                (Kind::Chunk, 2, CHUNK_BYTES_MAX)
            ]
        );
        assert_eq!(
            frames(&mut outgoing),
            [
                (Kind::End, 1, CHUNK_BYTES_MAX),
                (Kind::End, 2, CHUNK_BYTES_MAX)
            ]
        );
        assert!(outgoing.is_empty());
        assert_eq!(outgoing.queued_bytes(), 0);
    }

    #[test]
    fn withdrawing_tells_what_had_left() {
        let mut outgoing = Outgoing::default();
        outgoing.push_message(Kind::Call, 1, &[], body(8 * CHUNK_BYTES_MAX));
        assert_eq!(outgoing.withdraw(1), Withdrawn::Whole);
        assert_eq!(outgoing.queued_bytes(), 0);
        outgoing.push_message(Kind::Call, 2, &[], body(8 * CHUNK_BYTES_MAX));
        frames(&mut outgoing);
        assert_eq!(outgoing.withdraw(2), Withdrawn::Rest);
        assert_eq!(outgoing.withdraw(2), Withdrawn::Nothing);
        assert_eq!(outgoing.queued_bytes(), 0);
    }

    #[test]
    fn unsent_is_known_until_the_batch_leaves() {
        let mut outgoing = Outgoing::default();
        let small = outgoing.push_message(Kind::Call, 1, &[], body(1));
        let bulk = outgoing.push_message(Kind::Call, 2, &[], body(CHUNK_BYTES_MAX + 1));
        assert!(outgoing.is_unsent(1, small));
        assert!(outgoing.is_unsent(2, bulk));
        frames(&mut outgoing);
        assert!(!outgoing.is_unsent(1, small));
        assert!(!outgoing.is_unsent(2, bulk));
    }

    #[test]
    fn a_flood_of_pings_leaves_one_pong() {
        let mut outgoing = Outgoing::default();
        for token in 0..1000_u64 {
            outgoing.set_pong(token.to_le_bytes());
        }
        assert_eq!(frames(&mut outgoing), [(Kind::Pong, 0, PING_BYTES)]);
    }
}
