//! What waits to be written, and in which order it leaves.
//!
//! Small frames stand encoded in one buffer and leave together. Bulk messages
//! wait in a ring and give one chunk each per round, so that a small call
//! waits for one write's worth of bulk and never for a whole message. A stream
//! stands in the ring while it has something to send and credit for it. Knows
//! nothing of sockets.

use std::collections::{BTreeSet, HashMap, VecDeque};

use bytes::Bytes;

use crate::frame::{self, FLAG_LAST, FLAG_MORE, HEADER_BYTES, Kind, PING_BYTES, Violation};
use crate::limits::{CHUNK_BYTES_MAX, TRANSMIT_BYTES_TARGET};
use crate::multiplexer::{Piece, Sender};

/// The queue of one direction. Whoever adds to it bounds it by
/// [`Outgoing::queued_bytes`].
#[derive(Debug, Default)]
pub(crate) struct Outgoing {
    ready: Vec<u8>,
    ring: VecDeque<Turn>,
    bulk_bytes: usize,
    /// Those that have not ended. Bounded by the calls in flight.
    streams: HashMap<u32, Stream>,
    stream_bytes: usize,
    /// Of these, what need not wait for credit.
    stream_bytes_due: usize,
    /// Streams whose senders were told to wait.
    awaited: BTreeSet<u32>,
    /// Whether some of these wait for room, and not for credit.
    is_room_awaited: bool,
    /// Streams whose senders may try again.
    writable: Vec<u32>,
    /// Streams whose end has left.
    ended: Vec<u32>,
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
enum Turn {
    Body(Bulk),
    Stream(u32),
}

impl Turn {
    fn call(&self) -> u32 {
        match self {
            Self::Body(bulk) => bulk.call,
            Self::Stream(call) => *call,
        }
    }
}

#[derive(Debug)]
struct Stream {
    sender: Sender,
    is_in_ring: bool,
}

#[derive(Debug)]
struct Bulk {
    call: u32,
    /// Kind, flags and prefix of the first frame, until it has left.
    opening: Option<(Kind, u8, Vec<u8>)>,
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
        flags: u8,
        call: u32,
        prefix: &[u8],
        body: Bytes,
    ) -> Placement {
        if body.len() <= CHUNK_BYTES_MAX {
            frame::append(&mut self.ready, kind, flags, 0, call, &[prefix, &body]);
            return Placement::Small(self.batch);
        }
        self.bulk_bytes += body.len();
        self.ring.push_back(Turn::Body(Bulk {
            call,
            opening: Some((kind, flags, prefix.to_vec())),
            body,
        }));
        Placement::Bulk
    }

    /// The direction of this call that is ours is a stream from here on.
    pub(crate) fn open_stream(&mut self, call: u32) {
        let stream = Stream {
            sender: Sender::new(),
            is_in_ring: false,
        };
        self.streams.insert(call, stream);
    }

    /// Queues a message of a stream. Without credit, or while what waits for
    /// credit takes `stream_bytes_max`, it comes back, and the call shows in
    /// [`Outgoing::next_writable`] when to try again.
    pub(crate) fn push_stream(
        &mut self,
        call: u32,
        message: Bytes,
        stream_bytes_max: usize,
    ) -> Result<(), Bytes> {
        let Some(stream) = self.streams.get(&call) else {
            return Err(message);
        };
        // What can leave by the reading of the peer alone waits for no other
        // stream: else two of them could wait for each other.
        let has_room = stream.sender.affords(message.len())
            || self.stream_bytes + message.len() <= stream_bytes_max
            || self.stream_bytes == 0;
        if !stream.sender.takes_more() || !has_room {
            self.awaited.insert(call);
            self.is_room_awaited |= !has_room;
            return Err(message);
        }
        self.change_stream(call, |sender| {
            sender.push(message);
            Ok(())
        })
        .expect("queueing breaks no rule of the peer's");
        Ok(())
    }

    /// Whether messages of any stream wait: their leaving makes room.
    pub(crate) fn has_stream_bytes(&self) -> bool {
        self.stream_bytes > 0
    }

    /// Ends a stream behind the messages that wait.
    pub(crate) fn end_stream(&mut self, call: u32) {
        self.change_stream(call, |sender| {
            sender.end();
            Ok(())
        })
        .expect("ending breaks no rule of the peer's");
    }

    /// The peer takes so many more bytes of a stream. One that has ended needs
    /// none.
    pub(crate) fn grant(&mut self, call: u32, bytes: u32) -> Result<(), Violation> {
        self.change_stream(call, |sender| sender.grant(bytes))?;
        self.wake_writer(call);
        Ok(())
    }

    /// A call whose sender may try again.
    pub(crate) fn next_writable(&mut self) -> Option<u32> {
        self.writable.pop()
    }

    /// A call whose stream has left to its end.
    pub(crate) fn next_ended(&mut self) -> Option<u32> {
        self.ended.pop()
    }

    /// Changes a stream, keeps the sums, and gives it a place in the ring when
    /// it has something to send.
    fn change_stream(
        &mut self,
        call: u32,
        change: impl FnOnce(&mut Sender) -> Result<(), Violation>,
    ) -> Result<(), Violation> {
        let Some(stream) = self.streams.get_mut(&call) else {
            return Ok(());
        };
        let sender = &mut stream.sender;
        self.stream_bytes -= sender.queued_bytes();
        self.stream_bytes_due -= sender.due_bytes();
        let changed = change(sender);
        self.stream_bytes += sender.queued_bytes();
        self.stream_bytes_due += sender.due_bytes();
        if sender.is_due() && !stream.is_in_ring {
            stream.is_in_ring = true;
            self.ring.push_back(Turn::Stream(call));
        }
        changed
    }

    fn wake_writer(&mut self, call: u32) {
        let takes_more = self
            .streams
            .get(&call)
            .is_some_and(|stream| stream.sender.takes_more());
        if takes_more && self.awaited.remove(&call) {
            self.writable.push(call);
        }
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

    /// Takes back what has not left of a bulk message, or of a stream.
    pub(crate) fn withdraw(&mut self, call: u32) -> Withdrawn {
        let mut withdrawn = Withdrawn::Nothing;
        if let Some(stream) = self.streams.remove(&call) {
            self.stream_bytes -= stream.sender.queued_bytes();
            self.stream_bytes_due -= stream.sender.due_bytes();
            if self.awaited.remove(&call) {
                self.writable.push(call);
            }
            self.wake_those_without_room();
            withdrawn = Withdrawn::Rest;
        }
        // A direction is a body or a stream, so it has one turn at most.
        let Some(index) = self.ring.iter().position(|turn| turn.call() == call) else {
            return withdrawn;
        };
        if let Some(Turn::Body(bulk)) = self.ring.remove(index) {
            self.bulk_bytes -= bulk.body.len();
            withdrawn = match bulk.opening {
                Some(_) => Withdrawn::Whole,
                None => Withdrawn::Rest,
            };
        }
        withdrawn
    }

    /// Forgets everything that has not left.
    pub(crate) fn clear(&mut self) {
        self.ready.clear();
        self.ring.clear();
        self.bulk_bytes = 0;
        self.streams.clear();
        self.stream_bytes = 0;
        self.stream_bytes_due = 0;
        self.writable.extend(std::mem::take(&mut self.awaited));
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
            match self.ring.pop_front() {
                Some(Turn::Body(bulk)) => self.transmit_body(bulk, output),
                Some(Turn::Stream(call)) => self.transmit_stream(call, output),
                None => break,
            }
        }
    }

    fn transmit_body(&mut self, mut bulk: Bulk, output: &mut Vec<u8>) {
        let chunk = bulk.body.split_to(bulk.body.len().min(CHUNK_BYTES_MAX));
        self.bulk_bytes -= chunk.len();
        let is_last = bulk.body.is_empty();
        match bulk.opening.take() {
            Some((kind, flags, prefix)) => {
                let flags = flags | FLAG_MORE;
                frame::append(output, kind, flags, 0, bulk.call, &[&prefix, &chunk]);
            }
            None => {
                let kind = if is_last { Kind::End } else { Kind::Chunk };
                frame::append(output, kind, 0, 0, bulk.call, &[&chunk]);
            }
        }
        if !is_last {
            self.ring.push_back(Turn::Body(bulk));
        }
    }

    /// One turn of a stream: as many of its frames as make one full chunk, so
    /// that small messages need not go round the ring one by one.
    fn transmit_stream(&mut self, call: u32, output: &mut Vec<u8>) {
        let Some(stream) = self.streams.get_mut(&call) else {
            return;
        };
        let sender = &mut stream.sender;
        self.stream_bytes -= sender.queued_bytes();
        self.stream_bytes_due -= sender.due_bytes();
        let full = output.len() + CHUNK_BYTES_MAX;
        let mut is_over = false;
        while output.len() < full
            && !is_over
            && let Some(piece) = sender.next()
        {
            match piece {
                Piece::Chunk { payload, is_last } => {
                    let flags = if is_last { FLAG_LAST } else { 0 };
                    frame::append(output, Kind::Chunk, flags, 0, call, &[&payload]);
                }
                Piece::End => {
                    frame::append(output, Kind::End, 0, 0, call, &[]);
                    is_over = true;
                }
            }
        }
        self.stream_bytes += sender.queued_bytes();
        self.stream_bytes_due += sender.due_bytes();
        if is_over {
            self.streams.remove(&call);
            self.ended.push(call);
        } else if sender.is_due() {
            self.ring.push_back(Turn::Stream(call));
        } else {
            stream.is_in_ring = false;
        }
        self.wake_writer(call);
        self.wake_those_without_room();
    }

    /// Whatever takes bytes of streams away makes room for other streams.
    fn wake_those_without_room(&mut self) {
        if std::mem::take(&mut self.is_room_awaited) {
            for call in self.awaited.clone() {
                self.wake_writer(call);
            }
        }
    }

    /// Whether a message placed there has not begun to leave.
    pub(crate) fn is_unsent(&self, call: u32, placement: Placement) -> bool {
        match placement {
            Placement::Small(batch) => batch == self.batch,
            Placement::Bulk => self.ring.iter().any(|turn| {
                matches!(turn, Turn::Body(bulk) if bulk.call == call && bulk.opening.is_some())
            }),
        }
    }

    /// Whether nothing waits.
    pub(crate) fn is_empty(&self) -> bool {
        self.ready.is_empty() && self.ring.is_empty() && self.pong.is_none()
    }

    /// Bytes that wait, without the headers of chunks not made yet.
    pub(crate) fn queued_bytes(&self) -> usize {
        self.due_bytes() + (self.stream_bytes - self.stream_bytes_due)
    }

    /// Of these, what waits for nothing but the peer's reading. What waits for
    /// credit must not keep us from reading, or the credit would never come.
    pub(crate) fn due_bytes(&self) -> usize {
        self.ready.len() + self.bulk_bytes + self.ring.len() * HEADER_BYTES + self.stream_bytes_due
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::Frame;
    use crate::limits::STREAM_WINDOW_BYTES;

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
        outgoing.push_message(Kind::Reply, 0, 1, &[], body(3));
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
        outgoing.push_message(Kind::Reply, 0, 1, &[], body(CHUNK_BYTES_MAX));
        assert_eq!(frames(&mut outgoing), [(Kind::Reply, 1, CHUNK_BYTES_MAX)]);
    }

    #[test]
    fn one_byte_more_travels_in_the_end_frame() {
        let mut outgoing = Outgoing::default();
        outgoing.push_message(Kind::Reply, 0, 1, &[], body(CHUNK_BYTES_MAX + 1));
        assert_eq!(
            frames(&mut outgoing),
            [(Kind::Reply, 1, CHUNK_BYTES_MAX), (Kind::End, 1, 1)]
        );
        assert!(outgoing.is_empty());
    }

    #[test]
    fn bulk_takes_turns_and_small_frames_go_first() {
        let mut outgoing = Outgoing::default();
        outgoing.push_message(Kind::Call, 0, 1, &[0; 12], body(3 * CHUNK_BYTES_MAX));
        outgoing.push_message(Kind::Call, 0, 2, &[0; 12], body(3 * CHUNK_BYTES_MAX));
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
        outgoing.push_message(Kind::Call, 0, 1, &[], body(8 * CHUNK_BYTES_MAX));
        assert_eq!(outgoing.withdraw(1), Withdrawn::Whole);
        assert_eq!(outgoing.queued_bytes(), 0);
        outgoing.push_message(Kind::Call, 0, 2, &[], body(8 * CHUNK_BYTES_MAX));
        frames(&mut outgoing);
        assert_eq!(outgoing.withdraw(2), Withdrawn::Rest);
        assert_eq!(outgoing.withdraw(2), Withdrawn::Nothing);
        assert_eq!(outgoing.queued_bytes(), 0);
    }

    #[test]
    fn unsent_is_known_until_the_batch_leaves() {
        let mut outgoing = Outgoing::default();
        let small = outgoing.push_message(Kind::Call, 0, 1, &[], body(1));
        let bulk = outgoing.push_message(Kind::Call, 0, 2, &[], body(CHUNK_BYTES_MAX + 1));
        assert!(outgoing.is_unsent(1, small));
        assert!(outgoing.is_unsent(2, bulk));
        frames(&mut outgoing);
        assert!(!outgoing.is_unsent(1, small));
        assert!(!outgoing.is_unsent(2, bulk));
    }

    #[test]
    fn a_stream_takes_turns_with_bulk_and_goes_behind_small_frames() {
        let mut outgoing = Outgoing::default();
        outgoing.open_stream(1);
        let room = usize::MAX / 2;
        let large = body(3 * CHUNK_BYTES_MAX);
        outgoing.push_stream(1, large, room).expect("credit");
        outgoing.push_message(Kind::Call, 0, 2, &[], body(2 * CHUNK_BYTES_MAX));
        outgoing.push(Kind::Cancel, 0, 9, &[]);
        assert_eq!(
            frames(&mut outgoing),
            [
                (Kind::Cancel, 9, 0),
                (Kind::Chunk, 1, CHUNK_BYTES_MAX),
                (Kind::Call, 2, CHUNK_BYTES_MAX),
            ]
        );
        assert_eq!(
            frames(&mut outgoing),
            [
                (Kind::Chunk, 1, CHUNK_BYTES_MAX),
                (Kind::End, 2, CHUNK_BYTES_MAX),
            ]
        );
    }

    #[test]
    fn room_that_a_withdrawal_makes_wakes_who_waits_for_it() {
        let mut outgoing = Outgoing::default();
        for call in [1, 2] {
            outgoing.open_stream(call);
        }
        // More than its credit: it will not leave by itself.
        let large = || body(8 * STREAM_WINDOW_BYTES);
        let room = 8 * STREAM_WINDOW_BYTES;
        outgoing.push_stream(1, large(), room).expect("room");
        outgoing.push_stream(2, large(), room).expect_err("no room");
        assert_eq!(outgoing.next_writable(), None);
        assert_eq!(outgoing.withdraw(1), Withdrawn::Rest);
        assert_eq!(outgoing.next_writable(), Some(2));
        outgoing.push_stream(2, large(), room).expect("room again");
    }

    #[test]
    fn small_messages_share_a_turn() {
        let mut outgoing = Outgoing::default();
        for call in [1, 2] {
            outgoing.open_stream(call);
            for _ in 0..20 {
                let pushed = outgoing.push_stream(call, body(1000), usize::MAX / 2);
                pushed.expect("credit");
            }
        }
        let calls: Vec<u32> = frames(&mut outgoing).iter().map(|frame| frame.1).collect();
        let turn = CHUNK_BYTES_MAX.div_ceil(1000 + HEADER_BYTES);
        assert_eq!(calls, [vec![1; turn], vec![2; turn]].concat());
    }

    #[test]
    fn a_withdrawn_stream_leaves_nothing_and_wakes_its_sender() {
        let mut outgoing = Outgoing::default();
        outgoing.open_stream(1);
        let all = body(5 * CHUNK_BYTES_MAX);
        outgoing
            .push_stream(1, all, usize::MAX / 2)
            .expect("credit");
        assert!(outgoing.push_stream(1, body(1), usize::MAX / 2).is_err());
        assert_eq!(outgoing.withdraw(1), Withdrawn::Rest);
        assert_eq!(outgoing.next_writable(), Some(1));
        assert_eq!((outgoing.queued_bytes(), outgoing.is_empty()), (0, true));
        assert_eq!(outgoing.withdraw(1), Withdrawn::Nothing);
        assert!(outgoing.push_stream(1, body(1), usize::MAX / 2).is_err());
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
