//! One direction of a stream as a value: what its sender may send, what its
//! receiver holds.
//!
//! The sender never sends more than it has credit for. The receiver gives
//! credit back for what it need not hold: at once for the parts of a message
//! that is not whole, which its maximum bounds, and for the end of a message
//! when the application has taken it. So what waits for a slow reader is a
//! window, and a message larger than the window still gets through.

use std::collections::VecDeque;

use bytes::Bytes;

use crate::frame::{HEADER_BYTES, Violation};
use crate::limits::{
    CHUNK_BYTES_MAX, STREAM_CREDIT_MAX, STREAM_MESSAGE_OVERHEAD_BYTES, STREAM_MESSAGES_QUEUED_MAX,
    STREAM_MESSAGES_ROOM_KEPT, STREAM_WINDOW_BYTES,
};

/// Credit is given back in pieces of at least so much. With less than half a
/// window a sender could wait for ever on one full chunk.
const CREDIT_STEP_BYTES: usize = STREAM_WINDOW_BYTES / 2;

const _: () = assert!(STREAM_WINDOW_BYTES - CREDIT_STEP_BYTES >= HEADER_BYTES + CHUNK_BYTES_MAX);

/// The messages of one direction that have not left, and how much may.
#[derive(Debug)]
pub(crate) struct Sender {
    credit: usize,
    messages: VecDeque<Bytes>,
    /// What the messages will cost, headers included.
    queued: usize,
    is_ending: bool,
}

/// The next frame of a stream.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Piece {
    /// Part of a message.
    Chunk { payload: Bytes, is_last: bool },
    /// The stream is over.
    End,
}

impl Sender {
    pub(crate) fn new() -> Self {
        Self {
            credit: STREAM_WINDOW_BYTES,
            messages: VecDeque::new(),
            queued: 0,
            is_ending: false,
        }
    }

    /// Whether a further message may wait here: not while what waits already
    /// would use up the credit, and not beside so many small ones that they
    /// take more memory than they have bytes. So at most a window and one
    /// message wait, however much credit the peer gives.
    pub(crate) fn takes_more(&self) -> bool {
        !self.is_ending
            && self.queued < self.credit.min(STREAM_WINDOW_BYTES)
            && self.messages.len() < STREAM_MESSAGES_QUEUED_MAX
    }

    /// Whether a message could leave whole without further credit.
    pub(crate) fn affords(&self, message_bytes: usize) -> bool {
        self.queued + cost_of(message_bytes) <= self.credit.min(STREAM_WINDOW_BYTES)
    }

    /// Queues a message.
    pub(crate) fn push(&mut self, message: Bytes) {
        self.queued += cost_of(message.len());
        self.messages.push_back(message);
    }

    /// No message follows those that wait.
    pub(crate) fn end(&mut self) {
        self.is_ending = true;
    }

    /// The receiver takes so many more bytes.
    pub(crate) fn grant(&mut self, bytes: u32) -> Result<(), Violation> {
        let refused = Err(Violation::CreditRefused(bytes));
        let Some(credit) = usize::try_from(bytes)
            .ok()
            .and_then(|bytes| self.credit.checked_add(bytes))
        else {
            return refused;
        };
        if credit > STREAM_CREDIT_MAX {
            return refused;
        }
        self.credit = credit;
        Ok(())
    }

    /// Whether [`Sender::next`] has something.
    pub(crate) fn is_due(&self) -> bool {
        match self.messages.front() {
            Some(message) => HEADER_BYTES + message.len().min(CHUNK_BYTES_MAX) <= self.credit,
            None => self.is_ending,
        }
    }

    /// The next frame, when there is credit for it. After [`Piece::End`] the
    /// sender is spent.
    pub(crate) fn next(&mut self) -> Option<Piece> {
        if !self.is_due() {
            return None;
        }
        let Some(message) = self.messages.front_mut() else {
            return Some(Piece::End);
        };
        let payload = message.split_to(message.len().min(CHUNK_BYTES_MAX));
        let is_last = message.is_empty();
        if is_last {
            self.messages.pop_front();
        }
        let cost = HEADER_BYTES + payload.len();
        self.credit -= cost;
        self.queued -= cost;
        Some(Piece::Chunk { payload, is_last })
    }

    /// Bytes that wait, headers included.
    pub(crate) fn queued_bytes(&self) -> usize {
        self.queued
    }

    /// Of these, what need not wait for the receiver's credit.
    pub(crate) fn due_bytes(&self) -> usize {
        if self.is_due() {
            self.queued.min(self.credit)
        } else {
            0
        }
    }
}

/// What a message costs in credit: its bytes and the headers of its chunks.
fn cost_of(message_bytes: usize) -> usize {
    message_bytes + HEADER_BYTES * message_bytes.div_ceil(CHUNK_BYTES_MAX).max(1)
}

/// What one direction has brought and nobody has taken.
#[derive(Debug)]
pub(crate) struct Receiver {
    /// What the sender may still send.
    allowance: usize,
    /// What it will be allowed next.
    due: usize,
    /// The message that is not whole yet.
    partial: Option<Vec<u8>>,
    messages: VecDeque<Message>,
    held: usize,
    is_ended: bool,
    is_discarding: bool,
}

#[derive(Debug)]
struct Message {
    body: Bytes,
    /// What its last chunk cost: due when it is taken.
    cost: usize,
}

/// What became of a chunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Arrival {
    /// A message is whole.
    Message,
    /// One is not whole yet, or nobody wants it.
    Part,
    /// The message is beyond its maximum.
    TooLarge,
    /// There is no room for it.
    NoRoom,
}

impl Receiver {
    pub(crate) fn new() -> Self {
        Self {
            allowance: STREAM_WINDOW_BYTES,
            due: 0,
            partial: None,
            messages: VecDeque::new(),
            held: 0,
            is_ended: false,
            is_discarding: false,
        }
    }

    /// Takes a chunk, of at most `message_bytes_max` a message and with `room`
    /// for as many bytes.
    pub(crate) fn chunk(
        &mut self,
        payload: &[u8],
        is_last: bool,
        message_bytes_max: usize,
        room: usize,
    ) -> Result<Arrival, Violation> {
        if self.is_ended {
            return Err(Violation::Malformed("chunk behind the end of its stream"));
        }
        if payload.is_empty() && (!is_last || self.partial.is_some()) {
            return Err(Violation::Malformed("empty part of a message"));
        }
        let cost = HEADER_BYTES + payload.len();
        self.allowance = self
            .allowance
            .checked_sub(cost)
            .ok_or(Violation::CreditExceeded)?;
        if self.is_discarding {
            // Only the form of what goes on is kept.
            self.partial = (!is_last).then(Vec::new);
            self.due += cost;
            return Ok(Arrival::Part);
        }
        if payload.len() + STREAM_MESSAGE_OVERHEAD_BYTES > room {
            return Ok(Arrival::NoRoom);
        }
        // Before anything is touched: what is held and what is counted as held
        // must agree behind a refusal, too.
        let begun_bytes = self.partial.as_ref().map_or(0, Vec::len);
        if payload.len() > message_bytes_max.saturating_sub(begun_bytes) {
            return Ok(Arrival::TooLarge);
        }
        self.held += payload.len();
        if self.partial.is_none() {
            self.held += STREAM_MESSAGE_OVERHEAD_BYTES;
        }
        if !is_last {
            self.partial
                .get_or_insert_default()
                .extend_from_slice(payload);
            self.due += cost;
            return Ok(Arrival::Part);
        }
        let body = match self.partial.take() {
            Some(mut partial) => {
                partial.extend_from_slice(payload);
                Bytes::from(partial)
            }
            None => Bytes::copy_from_slice(payload),
        };
        self.messages.push_back(Message { body, cost });
        Ok(Arrival::Message)
    }

    /// The sender has sent its last message.
    pub(crate) fn end(&mut self, payload: &[u8]) -> Result<(), Violation> {
        if !payload.is_empty() {
            return Err(Violation::Malformed("end of a stream with a payload"));
        }
        if self.partial.is_some() {
            return Err(Violation::Malformed("end of a stream inside a message"));
        }
        if self.is_ended {
            return Err(Violation::Malformed("second end of a stream"));
        }
        self.is_ended = true;
        Ok(())
    }

    /// The next whole message.
    pub(crate) fn take(&mut self) -> Option<Bytes> {
        let message = self.messages.pop_front()?;
        self.held -= message.body.len() + STREAM_MESSAGE_OVERHEAD_BYTES;
        self.due += message.cost;
        // A burst of small messages must not leave its room behind in each of
        // many streams: nothing counts what is empty.
        let room = self.messages.capacity();
        if room > STREAM_MESSAGES_ROOM_KEPT && self.messages.len() <= room / 4 {
            self.messages.shrink_to(room / 2);
        }
        Some(message.body)
    }

    /// Nobody wants what is there and what follows. The sender still gets its
    /// credit back: it must not wait for a reader that is gone.
    pub(crate) fn discard(&mut self) {
        self.is_discarding = true;
        for message in std::mem::take(&mut self.messages) {
            self.due += message.cost;
        }
        if let Some(partial) = &mut self.partial {
            *partial = Vec::new();
        }
        self.held = 0;
    }

    /// The message that is not whole will never be.
    pub(crate) fn forget_partial(&mut self) {
        if let Some(partial) = self.partial.take() {
            self.held -= partial.len() + STREAM_MESSAGE_OVERHEAD_BYTES;
        }
    }

    /// Credit to be given to the sender now.
    pub(crate) fn credit(&mut self) -> Option<u32> {
        if self.due < CREDIT_STEP_BYTES || self.is_ended {
            return None;
        }
        let bytes = std::mem::take(&mut self.due);
        self.allowance += bytes;
        // At most what was spent of a window.
        u32::try_from(bytes).ok()
    }

    /// Whether the sender has sent its last message.
    pub(crate) fn is_ended(&self) -> bool {
        self.is_ended
    }

    /// Bytes held, with what each message takes beside its own.
    pub(crate) fn held_bytes(&self) -> usize {
        self.held
    }
}

#[cfg(test)]
mod tests;
