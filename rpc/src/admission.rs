//! Strangers: how many may be at the door, what they may make us hold, and
//! whose handshake computes when.
//!
//! A connection counts as a stranger until its peer is authorized. What is
//! decided about strangers is decided by two values, [`Strangers`] and
//! [`Turns`]; here are their lock, the clock, and the tasks that wait.

mod known;
mod pace;
mod strangers;
mod turns;
mod weighed;

use std::collections::HashMap;
use std::future::Future;
use std::net::{IpAddr, Ipv6Addr};
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use sealmoot_crypto::signature::KeyId;
use tokio::sync::Notify;

pub(crate) use self::pace::Pace;
use self::strangers::{Strangers, Weighed};
use self::turns::{Next, Ticket, Turns};
pub(crate) use self::weighed::WeighedStream;
use crate::limits::{Limits, TURN_BYTES_MAX, TURN_COST_MAX, TURNS_BY_AGE_MAX};

/// All strangers of a server.
#[derive(Debug)]
pub(crate) struct Admission {
    crowd: Mutex<Crowd>,
    queue: Mutex<Queue>,
    /// A turn has ended, or somebody waits for one.
    changed: Notify,
}

#[derive(Debug)]
struct Crowd {
    strangers: Strangers,
    /// Of everybody in the table.
    seats: HashMap<u64, Arc<Seat>>,
}

#[derive(Debug)]
struct Queue {
    turns: Turns,
    /// Of everybody in the queue, and of those whose turn has begun and who
    /// have not noticed yet.
    waiting: HashMap<Ticket, Waiting>,
}

#[derive(Debug)]
enum Waiting {
    Until(Waker),
    TurnBegun,
}

/// What a place and the stream of its holder share.
#[derive(Debug)]
pub(crate) struct Seat {
    admission: Arc<Admission>,
    number: u64,
    source: IpAddr,
    evicted: Notify,
    /// Read in the turn under way.
    turn_bytes: AtomicUsize,
}

/// One stranger's place; dropping it frees the place.
#[derive(Debug)]
pub(crate) struct Place(Arc<Seat>);

/// An authorized peer is here: its source is known. Dropping it says that the
/// peer has gone, and lets the source be known for as long again: whoever was
/// here for a day and lost its connection is no newcomer.
#[derive(Debug)]
pub(crate) struct Presence {
    admission: Arc<Admission>,
    source: IpAddr,
    identity: KeyId,
}

impl Admission {
    pub(crate) fn new(limits: &Limits) -> Arc<Self> {
        Arc::new(Self {
            crowd: Mutex::new(Crowd {
                strangers: Strangers::new(
                    limits.unauthenticated_max,
                    limits.unauthenticated_per_source_max,
                    limits.unauthenticated_bytes_all_max,
                ),
                seats: HashMap::new(),
            }),
            queue: Mutex::new(Queue {
                turns: Turns::new(limits.unauthenticated_processor_percent, now()),
                waiting: HashMap::new(),
            }),
            changed: Notify::new(),
        })
    }

    /// A place for a stranger, unless its source has all that it may have.
    /// Somebody else may have to go for it: [`Place::evicted`].
    pub(crate) fn admit(self: &Arc<Self>, address: IpAddr) -> Option<Place> {
        let source = source(address);
        // One lock after the other: nobody ever holds both.
        let is_known = self.queue().turns.has_lead(source, now());
        let mut crowd = self.crowd();
        let entered = crowd.strangers.enter(source, is_known)?;
        crowd.evict(entered.evicted);
        let seat = Arc::new(Seat {
            admission: Arc::clone(self),
            number: entered.number,
            source,
            evicted: Notify::new(),
            turn_bytes: AtomicUsize::new(0),
        });
        crowd.seats.insert(entered.number, Arc::clone(&seat));
        Some(Place(seat))
    }

    /// Gives turns, until it is dropped. Between two of them everything else
    /// that is ready runs: to yield is to come back behind it.
    pub(crate) async fn give_turns(self: Arc<Self>) {
        loop {
            self.changed.notified().await;
            loop {
                tokio::task::yield_now().await;
                match self.next_turn() {
                    Next::Turn(_) => {}
                    Next::Later(at) => tokio::time::sleep_until(at.into()).await,
                    Next::Idle => break,
                }
            }
        }
    }

    fn next_turn(&self) -> Next {
        let mut queue = self.queue();
        let next = queue.turns.next(now());
        let mut woken = None;
        if let Next::Turn(ticket) = next {
            match queue.waiting.insert(ticket, Waiting::TurnBegun) {
                Some(Waiting::Until(waker)) => woken = Some(waker),
                // Whoever leaves the one leaves the other.
                _ => debug_assert!(false, "a ticket without a waker"),
            }
        }
        drop(queue);
        if let Some(waker) = woken {
            waker.wake();
        }
        next
    }

    fn crowd(&self) -> MutexGuard<'_, Crowd> {
        // Counting cannot stop halfway, so a poisoned lock guards sound counts.
        self.crowd.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Crowd {
    fn evict(&mut self, number: Option<u64>) {
        if let Some(seat) = number.and_then(|number| self.seats.remove(&number)) {
            seat.evicted.notify_one();
        }
    }
}

impl Seat {
    /// Notes bytes that came; `false` when nobody needs to know any more.
    fn weigh(&self, bytes: usize) -> bool {
        self.turn_bytes.fetch_add(bytes, Ordering::Relaxed);
        let mut crowd = self.admission.crowd();
        match crowd.strangers.weigh(self.number, bytes) {
            Weighed::Noted { evicted } => {
                crowd.evict(evicted);
                true
            }
            Weighed::NoStranger => false,
        }
    }
}

impl Seat {
    /// Whether enough was read for one turn.
    fn has_read_enough(&self) -> bool {
        self.turn_bytes.load(Ordering::Relaxed) >= TURN_BYTES_MAX
    }

    /// Another turn, or none any more: reading may go on.
    fn read_on(&self) {
        self.turn_bytes.store(0, Ordering::Relaxed);
    }
}

impl Place {
    /// Completes when another has got this place, and its holder is to go.
    pub(crate) async fn evicted(&self) {
        self.0.evicted.notified().await;
    }

    /// Its holder is authorized by this key, and no stranger any more.
    pub(crate) fn authorized(self, identity: KeyId) -> Presence {
        let presence = Presence {
            admission: Arc::clone(&self.0.admission),
            source: self.0.source,
            identity,
        };
        presence.note();
        presence
    }

    /// Its holder was let in as somebody unknown: it keeps the place, and is
    /// the last to lose it.
    pub(crate) fn welcome(&self) {
        self.0.admission.crowd().strangers.welcome(self.0.number);
        self.0.read_on();
    }

    /// A stream whose bytes count as this stranger's.
    pub(crate) fn weighing<S>(place: Option<&Self>, stream: S) -> WeighedStream<S> {
        WeighedStream::new(stream, place.map(|place| Arc::clone(&place.0)))
    }

    /// Runs the handshake of this stranger in turns.
    pub(crate) fn in_turns<F: Future>(&self, handshake: F) -> InTurns<'_, F> {
        InTurns {
            handshake: Box::pin(handshake),
            seat: &self.0,
            ticket: None,
            since: now(),
            turns_left_by_age: TURNS_BY_AGE_MAX,
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut crowd = self.0.admission.crowd();
        crowd.strangers.leave(self.0.number);
        crowd.seats.remove(&self.0.number);
        drop(crowd);
        self.0.read_on();
    }
}

impl Presence {
    fn note(&self) {
        let mut queue = self.admission.queue();
        queue.turns.welcome(self.identity, self.source, now());
    }
}

impl Drop for Presence {
    fn drop(&mut self) {
        self.note();
    }
}

/// A handshake that is polled only in its turn.
pub(crate) struct InTurns<'a, F> {
    handshake: Pin<Box<F>>,
    seat: &'a Seat,
    ticket: Option<Ticket>,
    since: Instant,
    turns_left_by_age: u32,
}

impl<F: Future> Future for InTurns<'_, F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        if !self.has_turn(cx) {
            return Poll::Pending;
        }
        self.seat.read_on();
        // What a turn costs is what it took by the clock: that others ran
        // meanwhile makes us give fewer turns, on a machine that is busy.
        let turn = Turn {
            seat: self.seat,
            started: Instant::now(),
        };
        let polled = self.handshake.as_mut().poll(cx);
        drop(turn);
        polled
    }
}

impl<F> InTurns<'_, F> {
    /// Takes a turn that has begun, or waits for one.
    fn has_turn(&mut self, cx: &mut Context<'_>) -> bool {
        let admission = &self.seat.admission;
        let mut queue = admission.queue();
        if let Some(ticket) = self.ticket {
            match queue.waiting.get_mut(&ticket) {
                Some(Waiting::Until(waker)) => {
                    waker.clone_from(cx.waker());
                    return false;
                }
                Some(Waiting::TurnBegun) | None => {
                    queue.waiting.remove(&ticket);
                    self.ticket = None;
                    return true;
                }
            }
        }
        let now = now();
        let since = match self.turns_left_by_age.checked_sub(1) {
            Some(left) => {
                self.turns_left_by_age = left;
                self.since
            }
            None => now,
        };
        let (ticket, has_begun) = queue.turns.queue(self.seat.source, since, now);
        if has_begun {
            return true;
        }
        let waiting = Waiting::Until(cx.waker().clone());
        queue.waiting.insert(ticket, waiting);
        drop(queue);
        self.ticket = Some(ticket);
        admission.changed.notify_one();
        false
    }
}

impl<F> Drop for InTurns<'_, F> {
    fn drop(&mut self) {
        let Some(ticket) = self.ticket else {
            return;
        };
        let mut queue = self.seat.admission.queue();
        queue.turns.leave(ticket);
        if let Some(Waiting::TurnBegun) = queue.waiting.remove(&ticket) {
            queue.turns.end(self.seat.source, Duration::ZERO, now());
            drop(queue);
            self.seat.admission.changed.notify_one();
        }
    }
}

/// A turn under way: ends when dropped, also by a panic of the handshake.
struct Turn<'a> {
    seat: &'a Seat,
    started: Instant,
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        let admission = &self.seat.admission;
        let cost = self.started.elapsed().min(TURN_COST_MAX);
        admission.queue().turns.end(self.seat.source, cost, now());
        admission.changed.notify_one();
    }
}

/// The runtime's clock, so that paused time in tests is honoured.
fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}

/// What counts as one source: whoever has one IPv6 address has all of its /64.
fn source(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(address) => IpAddr::V4(address),
        IpAddr::V6(address) => {
            let network = u128::from(address) & (u128::MAX << 64);
            IpAddr::V6(Ipv6Addr::from(network))
        }
    }
}

#[cfg(test)]
mod tests;
