//! The thin shell around a multiplexer: one task that reads, writes and keeps
//! time for one connection.
//!
//! Each round reads what is there, lets the [`Endpoint`] decide, and writes
//! everything that became ready in one write; nothing is held back on a timer.
//! A client always reads, and a server stops reading only while its client
//! leaves replies untaken, so the two can never both wait for the other to
//! read.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, Waker, ready};
use std::time::{Duration, Instant};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Sleep;

use crate::frame::{Frame, Violation};
use crate::limits::{
    INPUT_BYTES, LINGER_BYTES_MAX, Limits, ROUNDS_PER_POLL_MAX, TRANSMIT_BYTES_TARGET,
};
use crate::status::{Code, Execution, Status};

/// One side's decisions, behind the lock that it shares with callers or
/// handlers.
pub(crate) trait Endpoint {
    /// Takes every whole frame of `input`.
    fn receive(&mut self, input: &mut Input, now: Instant) -> Result<(), Violation>;

    /// Ends what is overdue, moves frames to `output` when it is given, and
    /// keeps `waker` for the next change from outside.
    fn transmit(&mut self, output: Option<&mut Vec<u8>>, now: Instant, waker: &Waker) -> Outlook;

    /// Asks the peer for a sign of life.
    fn ping(&mut self);

    /// Gives the peer one, unasked.
    fn show_life(&mut self);

    /// The peer broke the protocol: say so, and take nothing further.
    fn violated(&mut self, violation: &Violation);

    /// The stream is gone. Called exactly once, at the latest when the driver
    /// is dropped.
    fn lost(&mut self, reason: &Status);
}

/// What the endpoint expects next.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Outlook {
    /// Whether further frames may be read.
    pub(crate) wants_input: bool,
    /// Whether frames wait for room in the output.
    pub(crate) has_output: bool,
    /// When something becomes overdue.
    pub(crate) deadline: Option<Instant>,
    /// Whether the connection may close once everything is written.
    pub(crate) is_finished: bool,
    /// When finished, the peer is left the time to close first: what it sent
    /// before it knew is then answered, instead of lost.
    pub(crate) lets_peer_close: bool,
    /// Nothing further is read: the connection closes as soon as what is left of
    /// the output is written, and its calls have ended.
    pub(crate) is_cut: bool,
}

/// Plaintext received and not yet taken. Never grows: every frame of an open
/// connection fits.
pub(crate) struct Input {
    buffer: Box<[u8]>,
    start: usize,
    end: usize,
}

impl Input {
    fn new() -> Self {
        Self {
            buffer: vec![0; INPUT_BYTES].into_boxed_slice(),
            start: 0,
            end: 0,
        }
    }

    /// The next whole frame.
    pub(crate) fn next(&mut self) -> Result<Option<Frame<'_>>, Violation> {
        match Frame::decode(&self.buffer[self.start..self.end])? {
            Some((frame, size)) => {
                self.start += size;
                Ok(Some(frame))
            }
            None => Ok(None),
        }
    }

    /// Room for more, with what is there moved to the front.
    fn room(&mut self) -> &mut [u8] {
        if self.start == self.end {
            self.start = 0;
            self.end = 0;
        } else if self.start > 0 {
            self.buffer.copy_within(self.start..self.end, 0);
            self.end -= self.start;
            self.start = 0;
        }
        &mut self.buffer[self.end..]
    }
}

/// The task of one connection. Completes when the connection is over.
pub(crate) struct Driver<S, E: Endpoint> {
    stream: S,
    endpoint: E,
    input: Input,
    output: Vec<u8>,
    written: usize,
    needs_flush: bool,
    phase: Phase,
    /// When the peer has had its time to close.
    close_at: Option<Instant>,
    wants_input: bool,
    heard: Instant,
    /// When the peer was asked for a sign of life, since it was heard last.
    pinged: Option<Instant>,
    /// When we last sent anything.
    spoke: Instant,
    blocked_since: Option<Instant>,
    timer: Pin<Box<Sleep>>,
    timer_at: Instant,
    keepalive_idle: Duration,
    keepalive_timeout: Duration,
    write_stall: Duration,
    linger: Duration,
    is_lost: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Open,
    /// Writing what is left, until then.
    Closing(Instant),
    /// Our side is closed; waiting for the peer to close too, until then.
    Lingering(Instant, usize),
}

/// What one round achieved.
enum Round {
    Progress,
    Idle,
    Over,
}

impl<S, E> Driver<S, E>
where
    S: AsyncRead + AsyncWrite + Unpin,
    E: Endpoint,
{
    pub(crate) fn new(stream: S, endpoint: E, limits: &Limits) -> Self {
        let now = now();
        let timer_at = now + limits.keepalive_idle;
        Self {
            stream,
            endpoint,
            input: Input::new(),
            output: Vec::new(),
            written: 0,
            needs_flush: false,
            phase: Phase::Open,
            close_at: None,
            wants_input: true,
            heard: now,
            pinged: None,
            spoke: now,
            blocked_since: None,
            timer: Box::pin(tokio::time::sleep_until(timer_at.into())),
            timer_at,
            keepalive_idle: limits.keepalive_idle,
            keepalive_timeout: limits.keepalive_timeout,
            write_stall: limits.write_stall,
            linger: limits.linger,
            is_lost: false,
        }
    }

    fn round(&mut self, cx: &mut Context<'_>) -> Round {
        match self.phase {
            Phase::Open => self.round_open(cx),
            Phase::Closing(until) => self.round_closing(cx, until),
            Phase::Lingering(until, discarded) => self.round_lingering(cx, until, discarded),
        }
    }

    fn round_open(&mut self, cx: &mut Context<'_>) -> Round {
        let now = now();
        let mut progress = false;
        if self.wants_input {
            match self.poll_read(cx) {
                Poll::Ready(Ok(0)) => return self.over("the peer closed the connection"),
                Poll::Ready(Ok(_)) => {
                    progress = true;
                    self.heard = now;
                    self.pinged = None;
                    if let Err(violation) = self.endpoint.receive(&mut self.input, now) {
                        tracing::debug!(%violation, "closing a connection");
                        self.endpoint.violated(&violation);
                        self.phase = Phase::Closing(now + self.linger);
                        return Round::Progress;
                    }
                }
                Poll::Ready(Err(error)) => {
                    return self.over(&format!("the connection broke: {}", error.kind()));
                }
                Poll::Pending => {}
            }
        }
        if let Some(reason) = self.silence(now) {
            return self.over(reason);
        }
        let (outlook, wrote) = match self.transmit(cx, now) {
            Ok(done) => done,
            Err(error) => return self.over(&format!("the connection broke: {}", error.kind())),
        };
        if outlook.is_cut {
            self.phase = Phase::Closing(now + self.linger);
            return Round::Progress;
        }
        progress |= wrote && outlook.has_output;
        if outlook.wants_input && !self.wants_input {
            // Silence is not the peer's while we did not listen.
            self.heard = now;
            self.pinged = None;
            progress = true;
        }
        self.wants_input = outlook.wants_input;
        if outlook.is_finished && self.output.is_empty() && !outlook.has_output {
            let patience = match outlook.lets_peer_close {
                true => self.linger,
                false => Duration::ZERO,
            };
            if now >= *self.close_at.get_or_insert(now + patience) {
                self.phase = Phase::Closing(now + self.linger);
                return Round::Progress;
            }
        }
        if progress {
            return Round::Progress;
        }
        let alive = match self.pinged {
            _ if !self.wants_input => None,
            Some(asked) => Some(asked + self.keepalive_timeout),
            None => Some(self.heard + self.keepalive_idle),
        };
        let writable = match self.blocked_since {
            Some(since) => since + self.write_stall,
            None => self.spoke + self.keepalive_idle,
        };
        let writable = Some(writable);
        // Once it has passed, what keeps the connection is what is not written. A
        // timer that is set to the past would not fire again.
        let close_at = self.close_at.filter(|at| *at > now);
        let next = [alive, writable, outlook.deadline, close_at]
            .into_iter()
            .flatten()
            .min();
        self.rest(cx, next)
    }

    fn round_closing(&mut self, cx: &mut Context<'_>, until: Instant) -> Round {
        let now = now();
        if now >= until {
            return self.over("the connection was closed");
        }
        let Ok((outlook, wrote)) = self.transmit(cx, now) else {
            return self.over("the connection was closed");
        };
        if wrote && outlook.has_output {
            return Round::Progress;
        }
        if wrote {
            match Pin::new(&mut self.stream).poll_shutdown(cx) {
                Poll::Ready(Ok(())) => {
                    self.lose("the connection was closed");
                    self.phase = Phase::Lingering(until, 0);
                    return Round::Progress;
                }
                Poll::Ready(Err(_)) => return self.over("the connection was closed"),
                Poll::Pending => {}
            }
        }
        self.rest(cx, Some(until))
    }

    /// Reads and throws away until the peer closes: closing a socket with
    /// unread input resets it, and a reset can overtake our last frames.
    fn round_lingering(&mut self, cx: &mut Context<'_>, until: Instant, discarded: usize) -> Round {
        if now() >= until || discarded > LINGER_BYTES_MAX {
            return Round::Over;
        }
        self.input.start = self.input.end;
        match self.poll_read(cx) {
            Poll::Ready(Ok(0) | Err(_)) => Round::Over,
            Poll::Ready(Ok(read)) => {
                self.phase = Phase::Lingering(until, discarded + read);
                Round::Progress
            }
            Poll::Pending => self.rest(cx, Some(until)),
        }
    }

    /// Lets the endpoint fill the output and writes it. The second value tells
    /// whether everything given so far is written.
    fn transmit(&mut self, cx: &mut Context<'_>, now: Instant) -> io::Result<(Outlook, bool)> {
        let output = if self.output.is_empty() {
            Some(&mut self.output)
        } else {
            None
        };
        let outlook = self.endpoint.transmit(output, now, cx.waker());
        if !self.output.is_empty() {
            self.spoke = now;
        }
        match self.poll_write(cx) {
            Poll::Ready(Ok(())) => {
                self.blocked_since = None;
                Ok((outlook, true))
            }
            Poll::Ready(Err(error)) => Err(error),
            Poll::Pending => {
                self.blocked_since.get_or_insert(now);
                Ok((outlook, false))
            }
        }
    }

    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let mut buffer = ReadBuf::new(self.input.room());
        ready!(Pin::new(&mut self.stream).poll_read(cx, &mut buffer))?;
        let read = buffer.filled().len();
        self.input.end += read;
        Poll::Ready(Ok(read))
    }

    fn poll_write(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.written < self.output.len() {
            let rest = &self.output[self.written..];
            match ready!(Pin::new(&mut self.stream).poll_write(cx, rest))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                count => {
                    self.written += count;
                    self.needs_flush = true;
                    self.blocked_since = None;
                }
            }
        }
        if self.needs_flush {
            ready!(Pin::new(&mut self.stream).poll_flush(cx))?;
            self.needs_flush = false;
        }
        self.output.clear();
        // A burst must not stay reserved for the life of the connection.
        self.output.shrink_to(4 * TRANSMIT_BYTES_TARGET);
        self.written = 0;
        Poll::Ready(Ok(()))
    }

    /// Shows that we are here, pings a silent peer, and says when it has been
    /// silent for too long.
    ///
    /// Life is shown unasked because whoever only receives could be asked too
    /// late: a ping stands behind all that is on its way, and over a slow link
    /// that is seconds of it.
    fn silence(&mut self, now: Instant) -> Option<&'static str> {
        if let Some(since) = self.blocked_since
            && now >= since + self.write_stall
        {
            return Some("the peer takes no bytes");
        }
        if self.wants_input && now >= self.heard + self.keepalive_idle {
            // Not from when it was heard: whoever was stopped for a while, and
            // finds on waking that all was silent, asks before it judges.
            let asked = *self.pinged.get_or_insert_with(|| {
                self.endpoint.ping();
                now
            });
            if asked == now {
                self.spoke = now;
            } else if now >= asked + self.keepalive_timeout {
                return Some("the peer has fallen silent");
            }
        }
        if self.blocked_since.is_none() && now >= self.spoke + self.keepalive_idle {
            self.spoke = now;
            self.endpoint.show_life();
        }
        None
    }

    /// Arms the timer. It is moved only to an earlier time; a later one is
    /// found when it fires, so a busy connection does not touch it.
    fn rest(&mut self, cx: &mut Context<'_>, next: Option<Instant>) -> Round {
        if let Some(next) = next
            && (next < self.timer_at || self.timer.is_elapsed())
        {
            self.timer_at = next;
            self.timer.as_mut().reset(next.into());
        }
        if self.timer.is_elapsed() || self.timer.as_mut().poll(cx).is_pending() {
            return Round::Idle;
        }
        Round::Progress
    }

    fn over(&mut self, reason: &str) -> Round {
        self.lose(reason);
        Round::Over
    }
}

impl<S, E: Endpoint> Driver<S, E> {
    fn lose(&mut self, reason: &str) {
        if !self.is_lost {
            self.is_lost = true;
            // The execution is set anew for each call that this ends.
            let status = Status::new(Code::Unavailable, Execution::MaybeExecuted, reason);
            self.endpoint.lost(&status);
        }
    }
}

impl<S, E> Future for Driver<S, E>
where
    S: AsyncRead + AsyncWrite + Unpin,
    E: Endpoint + Unpin,
{
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        for _ in 0..ROUNDS_PER_POLL_MAX {
            match self.round(cx) {
                Round::Progress => {}
                Round::Idle => return Poll::Pending,
                Round::Over => return Poll::Ready(()),
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

impl<S, E: Endpoint> Drop for Driver<S, E> {
    fn drop(&mut self) {
        // Also when the runtime shuts down: nobody may wait for ever.
        self.lose("the connection was closed");
    }
}

/// The runtime's clock, so that paused time in tests is honoured.
fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}

#[cfg(test)]
mod tests;
