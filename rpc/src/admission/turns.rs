//! Whose handshake computes next, and when: a value without clock or task.
//!
//! *Problem.* A first flight costs its sender a copy and the server two key
//! agreements, a KEM and a signature. A crowd that sends them takes the thread
//! on which calls are served: each call then waits for every handshake that
//! became ready before it.
//!
//! *Idea.* Handshakes take turns. A turn is one poll of a handshake's future.
//! Between two turns everything else that is ready runs, so a call waits for at
//! most one. All turns together get a share of one processor: what they cost is
//! owed and paid off by time, and while too much is owed there is no turn.
//!
//! *Who is next.* Whoever came first, so that a handshake that has begun goes on
//! before another begins; except that a source is treated as if it had come
//! later, by a multiple of what its turns cost of late. A source that floods so
//! waits behind one that is new; but only so long, so that nobody waits for ever.
//!
//! *Known sources*, from which peers were authorized of late, go ahead of all
//! others: what strangers get is little, and a crowd of them would make those
//! wait for it who were here an hour ago. Two things keep that lead from being
//! one more way to keep people out. A source has it only while its turns cost
//! little of late, so a host of ill will behind the same address as an honest one
//! soon makes both wait among the unknown, where they would be without the lead.
//! And one turn in [`UNKNOWN_TURN_EVERY`] is not a known one's, however many of
//! those there are.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::time::{Duration, Instant};

use sealmoot_crypto::signature::KeyId;

use super::known::KnownSources;
use crate::limits::{
    KNOWN_COST_MAX, TURN_COST_FORGOTTEN, TURN_COST_HALVES, TURN_DELAY_FACTOR, TURN_DELAY_MAX,
    TURN_OWED_MAX, TURN_SOURCES_MAX, UNKNOWN_TURN_EVERY,
};

/// Handshakes that wait for a turn, and what turns have cost. Whoever waits has
/// a place among the strangers, which bounds the queue.
#[derive(Debug)]
pub(super) struct Turns {
    share_percent: u32,
    running: u32,
    /// A turn has ended, and what else is ready has not run since.
    is_resting: bool,
    owed: Duration,
    owed_at: Instant,
    leading: Line,
    others: Line,
    /// Turns in a row that had the lead while others waited.
    leads: u32,
    positions: HashMap<Ticket, Instant>,
    known: KnownSources,
    costs: HashMap<IpAddr, Cost>,
    ticket_last: u64,
}

/// Those who wait, in their order.
type Line = BTreeMap<(Instant, Ticket), IpAddr>;

/// One wait for one turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Ticket(u64);

/// What a source's turns cost of late: halved with the passing of time.
#[derive(Clone, Copy, Debug)]
struct Cost {
    amount: Duration,
    at: Instant,
}

/// What happens next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// It is this one's turn, which has begun.
    Turn(Ticket),
    /// Nothing until then: too much is owed.
    Later(Instant),
    /// Nothing until a turn ends or somebody comes.
    Idle,
}

impl Turns {
    /// Turns that get `share_percent` of one processor; beyond 100 several run
    /// at a time.
    pub(super) fn new(share_percent: u32, now: Instant) -> Self {
        Self {
            share_percent,
            running: 0,
            is_resting: false,
            owed: Duration::ZERO,
            owed_at: now,
            leading: Line::new(),
            others: Line::new(),
            leads: 0,
            positions: HashMap::new(),
            known: KnownSources::default(),
            costs: HashMap::new(),
            ticket_last: 0,
        }
    }

    /// Waits for a turn, in the queue as of `since`: when the handshake came, or
    /// now. When `true` comes with the ticket, the turn has begun already: nobody
    /// waits, nothing is owed, and others have just run.
    pub(super) fn queue(&mut self, source: IpAddr, since: Instant, now: Instant) -> (Ticket, bool) {
        self.ticket_last += 1;
        let ticket = Ticket(self.ticket_last);
        let is_free = self.is_empty() && !self.is_resting && self.has_room();
        if is_free && self.later(now).is_none() {
            self.running += 1;
            return (ticket, true);
        }
        let delay = self
            .cost(source, now)
            .saturating_mul(TURN_DELAY_FACTOR)
            .min(TURN_DELAY_MAX);
        let position = since + delay;
        let line = if self.has_lead(source, now) {
            &mut self.leading
        } else {
            &mut self.others
        };
        line.insert((position, ticket), source);
        self.positions.insert(ticket, position);
        (ticket, false)
    }

    /// Gives up waiting.
    pub(super) fn leave(&mut self, ticket: Ticket) {
        if let Some(position) = self.positions.remove(&ticket) {
            self.leading.remove(&(position, ticket));
            self.others.remove(&(position, ticket));
        }
    }

    /// To be asked after everything else that was ready has run.
    pub(super) fn next(&mut self, now: Instant) -> Next {
        self.is_resting = false;
        if self.is_empty() || !self.has_room() {
            return Next::Idle;
        }
        if let Some(at) = self.later(now) {
            return Next::Later(at);
        }
        let Some(ticket) = self.pop(now) else {
            return Next::Idle;
        };
        self.positions.remove(&ticket);
        self.running += 1;
        Next::Turn(ticket)
    }

    /// A turn of `source` has ended and cost so much.
    pub(super) fn end(&mut self, source: IpAddr, cost: Duration, now: Instant) {
        self.running -= 1;
        self.is_resting = true;
        self.pay(now);
        self.owed = self.owed.saturating_add(cost);
        let amount = self.cost(source, now).saturating_add(cost);
        if self.costs.len() >= TURN_SOURCES_MAX && !self.costs.contains_key(&source) {
            self.forget(now);
        }
        self.costs.insert(source, Cost { amount, at: now });
    }

    /// A peer from `source` was authorized, by this key.
    pub(super) fn welcome(&mut self, identity: KeyId, source: IpAddr, now: Instant) {
        self.known.welcome(identity, source, now);
    }

    /// Whether `source` is known and has not cost much of late.
    pub(super) fn has_lead(&self, source: IpAddr, now: Instant) -> bool {
        self.known.contains(source, now) && self.cost(source, now) <= KNOWN_COST_MAX
    }

    fn is_empty(&self) -> bool {
        self.leading.is_empty() && self.others.is_empty()
    }

    /// Whoever goes next. One whose source has cost too much since it came
    /// joins the others, at its place by age: so each is looked at twice at most.
    fn pop(&mut self, now: Instant) -> Option<Ticket> {
        while let Some(first) = self.leading.first_entry() {
            if self.leads + 1 >= UNKNOWN_TURN_EVERY && !self.others.is_empty() {
                break;
            }
            let ((position, ticket), source) = first.remove_entry();
            if self.has_lead(source, now) {
                self.leads = if self.others.is_empty() {
                    0
                } else {
                    self.leads + 1
                };
                return Some(ticket);
            }
            self.others.insert((position, ticket), source);
        }
        self.leads = 0;
        let ((_, ticket), _) = self.others.pop_first()?;
        Some(ticket)
    }

    fn has_room(&self) -> bool {
        self.running < self.share_percent.div_ceil(100)
    }

    /// When the next turn may begin, if not now.
    fn later(&mut self, now: Instant) -> Option<Instant> {
        self.pay(now);
        let excess = self.owed.checked_sub(TURN_OWED_MAX)?;
        if excess.is_zero() {
            return None;
        }
        Some(now + excess.saturating_mul(100) / self.share_percent)
    }

    /// Time pays off what is owed.
    fn pay(&mut self, now: Instant) {
        let elapsed = now.saturating_duration_since(self.owed_at);
        let paid = elapsed.saturating_mul(self.share_percent) / 100;
        self.owed = self.owed.saturating_sub(paid);
        self.owed_at = self.owed_at.max(now);
    }

    fn cost(&self, source: IpAddr, now: Instant) -> Duration {
        self.costs
            .get(&source)
            .map_or(Duration::ZERO, |cost| cost.left(now))
    }

    /// Makes room for a source. When all cost much all are forgotten: then a
    /// flood comes from so many sources that telling them apart gains nothing.
    fn forget(&mut self, now: Instant) {
        self.costs
            .retain(|_, cost| cost.left(now) > TURN_COST_FORGOTTEN);
        if self.costs.len() >= TURN_SOURCES_MAX {
            self.costs.clear();
        }
    }
}

impl Cost {
    fn left(self, now: Instant) -> Duration {
        let elapsed = now.saturating_duration_since(self.at);
        let halvings =
            u32::try_from(elapsed.as_millis() / TURN_COST_HALVES.as_millis()).unwrap_or(u32::MAX);
        let Some(divisor) = 1_u32.checked_shl(halvings) else {
            return Duration::ZERO;
        };
        // Between two halvings along a straight line. In steps, a source that has
        // a turn in each of them would be reckoned anew in time, and what it cost
        // would never be forgotten.
        let since_halving = elapsed.saturating_sub(TURN_COST_HALVES * halvings);
        let part = since_halving.as_secs_f64() / TURN_COST_HALVES.as_secs_f64();
        (self.amount / divisor).mul_f64(1.0 - part / 2.0)
    }
}

#[cfg(test)]
mod tests;
