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

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::time::{Duration, Instant};

use crate::limits::{
    TURN_COST_FORGOTTEN, TURN_COST_HALVES, TURN_DELAY_FACTOR, TURN_DELAY_MAX, TURN_OWED_MAX,
    TURN_SOURCES_MAX,
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
    queue: BTreeMap<(Instant, Ticket), IpAddr>,
    positions: HashMap<Ticket, Instant>,
    costs: HashMap<IpAddr, Cost>,
    ticket_last: u64,
}

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
            queue: BTreeMap::new(),
            positions: HashMap::new(),
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
        let is_free = self.queue.is_empty() && !self.is_resting && self.has_room();
        if is_free && self.later(now).is_none() {
            self.running += 1;
            return (ticket, true);
        }
        let delay = self
            .cost(source, now)
            .saturating_mul(TURN_DELAY_FACTOR)
            .min(TURN_DELAY_MAX);
        let position = since + delay;
        self.queue.insert((position, ticket), source);
        self.positions.insert(ticket, position);
        (ticket, false)
    }

    /// Gives up waiting.
    pub(super) fn leave(&mut self, ticket: Ticket) {
        if let Some(position) = self.positions.remove(&ticket) {
            self.queue.remove(&(position, ticket));
        }
    }

    /// To be asked after everything else that was ready has run.
    pub(super) fn next(&mut self, now: Instant) -> Next {
        self.is_resting = false;
        if self.queue.is_empty() || !self.has_room() {
            return Next::Idle;
        }
        if let Some(at) = self.later(now) {
            return Next::Later(at);
        }
        let Some(((_, ticket), _)) = self.queue.pop_first() else {
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
        let halvings = elapsed.as_millis() / TURN_COST_HALVES.as_millis();
        let divisor = u32::try_from(halvings)
            .ok()
            .and_then(|halvings| 1_u32.checked_shl(halvings));
        divisor.map_or(Duration::ZERO, |divisor| self.amount / divisor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    fn source(last: u8) -> IpAddr {
        IpAddr::from([192, 0, 2, last])
    }

    /// Turns in a state in which whoever comes has to wait.
    fn resting(share_percent: u32) -> (Turns, Instant) {
        let now = Instant::now();
        let mut turns = Turns::new(share_percent, now);
        let (_, has_begun) = turns.queue(source(99), now, now);
        assert!(has_begun);
        turns.end(source(99), Duration::ZERO, now);
        (turns, now)
    }

    fn wait(turns: &mut Turns, last: u8, now: Instant) -> Ticket {
        let (ticket, has_begun) = turns.queue(source(last), now, now);
        assert!(!has_begun);
        ticket
    }

    #[test]
    fn on_an_idle_server_nobody_waits() {
        let now = Instant::now();
        let mut turns = Turns::new(25, now);
        for _ in 0..3 {
            let (_, has_begun) = turns.queue(source(1), now, now);
            assert!(has_begun);
            turns.end(source(1), MS, now);
            assert_eq!(turns.next(now), Next::Idle);
        }
    }

    #[test]
    fn others_run_between_two_turns() {
        let now = Instant::now();
        let mut turns = Turns::new(25, now);
        assert!(turns.queue(source(1), now, now).1);
        turns.end(source(1), MS, now);
        let second = wait(&mut turns, 2, now);
        assert_eq!(turns.next(now), Next::Turn(second));
    }

    #[test]
    fn one_turn_at_a_time() {
        let (mut turns, now) = resting(100);
        let first = wait(&mut turns, 1, now);
        let second = wait(&mut turns, 2, now);
        assert_eq!(turns.next(now), Next::Turn(first));
        assert_eq!(turns.next(now), Next::Idle);
        turns.end(source(1), MS, now);
        assert_eq!(turns.next(now), Next::Turn(second));
        assert_eq!(turns.next(now), Next::Idle);
    }

    #[test]
    fn a_share_beyond_one_processor_runs_several() {
        let (mut turns, now) = resting(150);
        let first = wait(&mut turns, 1, now);
        let second = wait(&mut turns, 2, now);
        wait(&mut turns, 3, now);
        assert_eq!(turns.next(now), Next::Turn(first));
        assert_eq!(turns.next(now), Next::Turn(second));
        assert_eq!(turns.next(now), Next::Idle);
    }

    #[test]
    fn turns_get_their_share_and_no_more() {
        let (mut turns, mut now) = resting(25);
        let started = now;
        let mut computed = Duration::ZERO;
        while now < started + 1_000 * MS {
            let ticket = wait(&mut turns, 1, now);
            match turns.next(now) {
                Next::Turn(begun) => {
                    assert_eq!(begun, ticket);
                    now += MS;
                    computed += MS;
                    turns.end(source(1), MS, now);
                }
                Next::Later(at) => {
                    turns.leave(ticket);
                    assert!(at > now);
                    now = at;
                    turns.next(now);
                    turns.is_resting = true;
                }
                Next::Idle => panic!("somebody waits"),
            }
        }
        let share = 250 * MS;
        assert!(computed >= share, "{computed:?}");
        assert!(computed <= share + TURN_OWED_MAX + 2 * MS, "{computed:?}");
    }

    #[test]
    fn whoever_owes_waits_until_it_is_paid() {
        let (mut turns, now) = resting(50);
        let first = wait(&mut turns, 1, now);
        assert_eq!(turns.next(now), Next::Turn(first));
        turns.end(source(1), TURN_OWED_MAX + 10 * MS, now);
        let second = wait(&mut turns, 2, now);
        assert_eq!(turns.next(now), Next::Later(now + 20 * MS));
        assert_eq!(turns.next(now + 19 * MS), Next::Later(now + 20 * MS));
        assert_eq!(turns.next(now + 20 * MS), Next::Turn(second));
    }

    #[test]
    fn a_new_source_goes_before_one_that_floods() {
        let (mut turns, now) = resting(25);
        for _ in 0..10 {
            let ticket = wait(&mut turns, 1, now);
            assert_eq!(turns.next(now), Next::Turn(ticket));
            turns.end(source(1), MS / 10, now);
        }
        let flood: Vec<_> = (0..64).map(|_| wait(&mut turns, 1, now)).collect();
        let honest = wait(&mut turns, 2, now + MS);
        assert_eq!(turns.next(now + MS), Next::Turn(honest));
        turns.end(source(2), MS / 10, now + MS);
        assert_eq!(turns.next(now + MS), Next::Turn(flood[0]));
    }

    #[test]
    fn a_handshake_that_has_begun_goes_on_before_another_begins() {
        let (mut turns, now) = resting(25);
        let newer = wait(&mut turns, 1, now + MS);
        let (older, _) = turns.queue(source(2), now, now + 2 * MS);
        assert_eq!(turns.next(now + 2 * MS), Next::Turn(older));
        turns.end(source(2), MS / 10, now + 2 * MS);
        assert_eq!(turns.next(now + 2 * MS), Next::Turn(newer));
    }

    #[test]
    fn nobody_waits_for_ever() {
        let (mut turns, now) = resting(100);
        turns.queue(source(1), now, now);
        turns.next(now);
        turns.end(source(1), 100 * TURN_DELAY_MAX, now);
        let late = now + 1_000 * TURN_DELAY_MAX;
        // What was owed is paid, but the source is still known for it.
        turns.costs.insert(
            source(1),
            Cost {
                amount: 100 * TURN_DELAY_MAX,
                at: late,
            },
        );
        turns.is_resting = true;
        let flooding = wait(&mut turns, 1, late);
        let newer = wait(&mut turns, 2, late + TURN_DELAY_MAX + MS);
        let now = late + TURN_DELAY_MAX + MS;
        assert_eq!(turns.next(now), Next::Turn(flooding));
        turns.end(source(1), Duration::ZERO, now);
        assert_eq!(turns.next(now), Next::Turn(newer));
    }

    #[test]
    fn what_a_source_cost_is_forgotten_with_time() {
        let now = Instant::now();
        let cost = Cost {
            amount: 8 * MS,
            at: now,
        };
        assert_eq!(cost.left(now), 8 * MS);
        assert_eq!(cost.left(now + TURN_COST_HALVES), 4 * MS);
        assert_eq!(cost.left(now + 3 * TURN_COST_HALVES), MS);
        assert_eq!(cost.left(now + 40 * TURN_COST_HALVES), Duration::ZERO);
    }

    #[test]
    fn the_table_of_sources_is_bounded() {
        let now = Instant::now();
        let mut turns = Turns::new(100, now);
        for index in 0..3 * TURN_SOURCES_MAX {
            let index = u32::try_from(index).expect("small");
            let source = IpAddr::from(index.to_be_bytes());
            turns.running += 1;
            turns.end(source, MS, now);
            assert!(turns.costs.len() <= TURN_SOURCES_MAX);
        }
    }

    #[test]
    fn whoever_leaves_gets_no_turn() {
        let (mut turns, now) = resting(25);
        let first = wait(&mut turns, 1, now);
        let second = wait(&mut turns, 2, now);
        turns.leave(first);
        turns.leave(first);
        assert_eq!(turns.next(now), Next::Turn(second));
        turns.leave(second);
        assert_eq!(turns.next(now), Next::Idle);
        assert!(turns.queue.is_empty() && turns.positions.is_empty());
    }

    #[test]
    fn a_clock_that_stands_still_or_goes_back_breaks_nothing() {
        let (mut turns, now) = resting(25);
        let ticket = wait(&mut turns, 1, now + 10 * MS);
        assert_eq!(turns.next(now), Next::Turn(ticket));
        turns.end(source(1), 2 * TURN_OWED_MAX, now);
        wait(&mut turns, 1, now);
        assert!(matches!(turns.next(now), Next::Later(_)));
    }
}
