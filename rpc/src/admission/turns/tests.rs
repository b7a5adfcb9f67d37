use super::*;

use crate::limits::KNOWN_SOURCE_LASTS;

const MS: Duration = Duration::from_millis(1);

fn source(last: u8) -> IpAddr {
    IpAddr::from([192, 0, 2, last])
}

/// Whose key comes from there.
fn holder(last: u8) -> KeyId {
    KeyId::from_bytes([last; 32])
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

/// Turns that are owed nothing, begun and ended one after the other.
fn order(turns: &mut Turns, now: Instant) -> Vec<Ticket> {
    let mut order = Vec::new();
    while let Next::Turn(ticket) = turns.next(now) {
        order.push(ticket);
        turns.end(source(99), Duration::ZERO, now);
    }
    order
}

#[test]
fn a_known_source_goes_before_those_that_came_earlier() {
    let (mut turns, now) = resting(5);
    turns.welcome(holder(1), source(1), now);
    let crowd: Vec<_> = (2..90).map(|last| wait(&mut turns, last, now)).collect();
    let known = wait(&mut turns, 1, now + MS);
    let order = order(&mut turns, now + MS);
    assert_eq!(order[0], known);
    assert_eq!(order[1..], crowd);
}

#[test]
fn among_themselves_known_sources_go_in_order() {
    let (mut turns, now) = resting(5);
    for last in [1, 2, 3] {
        turns.welcome(holder(last), source(last), now);
    }
    turns.running += 1;
    turns.end(source(1), MS, now);
    let costly = wait(&mut turns, 1, now);
    let newer = wait(&mut turns, 2, now + MS);
    let (older, _) = turns.queue(source(3), now, now + 2 * MS);
    let late = now + TURN_DELAY_MAX;
    assert_eq!(order(&mut turns, late), [older, newer, costly]);
}

#[test]
fn a_source_that_was_known_long_ago_waits_like_others() {
    let (mut turns, now) = resting(5);
    turns.welcome(holder(1), source(1), now);
    let late = now + KNOWN_SOURCE_LASTS;
    let other = wait(&mut turns, 2, late);
    let forgotten = wait(&mut turns, 1, late);
    assert_eq!(order(&mut turns, late), [other, forgotten]);
}

#[test]
fn a_known_source_that_floods_has_no_lead() {
    let (mut turns, now) = resting(100);
    turns.welcome(holder(1), source(1), now);
    turns.running += 1;
    turns.end(source(1), KNOWN_COST_MAX + MS, now);
    assert!(!turns.has_lead(source(1), now));
    let newcomer = wait(&mut turns, 2, now);
    let flooding = wait(&mut turns, 1, now);
    assert_eq!(order(&mut turns, now), [newcomer, flooding]);
    // It costs nothing any more.
    let later = now + TURN_COST_HALVES;
    assert!(turns.has_lead(source(1), later));
    turns.is_resting = true;
    let newcomer = wait(&mut turns, 2, later);
    let known = wait(&mut turns, 1, later);
    assert_eq!(order(&mut turns, later), [known, newcomer]);
}

#[test]
fn a_crowd_that_queued_with_the_lead_loses_it_with_its_cost() {
    let (mut turns, now) = resting(100);
    turns.welcome(holder(1), source(1), now);
    turns.welcome(holder(3), source(3), now);
    let newcomers: Vec<_> = (0..9).map(|_| wait(&mut turns, 2, now)).collect();
    let crowd: Vec<_> = (0..9).map(|_| wait(&mut turns, 1, now + MS)).collect();
    let honest = wait(&mut turns, 3, now + 2 * MS);
    let now = now + 2 * MS;
    assert_eq!(turns.next(now), Next::Turn(crowd[0]));
    turns.end(source(1), KNOWN_COST_MAX + MS, now);
    // Another known source keeps its own, and the rest of the crowd is
    // where it would be without.
    let rest = order(&mut turns, now);
    assert_eq!(rest[0], honest);
    assert_eq!(rest[1..10], newcomers);
    assert_eq!(rest[10..], crowd[1..]);
    assert!(turns.positions.is_empty());
}

#[test]
fn known_ones_however_many_leave_every_fourth_turn_to_others() {
    let (mut turns, now) = resting(5);
    let mut waiting = HashMap::new();
    for last in 1..=60 {
        turns.welcome(holder(last), source(last), now);
        waiting.insert(wait(&mut turns, last, now), true);
    }
    for last in 61..=70 {
        waiting.insert(wait(&mut turns, last, now), false);
    }
    let order = order(&mut turns, now);
    assert_eq!(order.len(), 70);
    let every = UNKNOWN_TURN_EVERY as usize;
    for (index, ticket) in order.iter().enumerate().take(10 * every) {
        let is_known = (index + 1) % every != 0;
        assert_eq!(waiting[ticket], is_known, "turn {index}");
    }
}

#[test]
fn a_newcomer_behind_known_turns_that_kept_nobody_waiting_waits_its_time() {
    let (mut turns, now) = resting(5);
    for last in 1..=20 {
        turns.welcome(holder(last), source(last), now);
    }
    for last in 1..=10 {
        wait(&mut turns, last, now);
    }
    assert_eq!(order(&mut turns, now).len(), 10);
    turns.is_resting = true;
    let newcomer = wait(&mut turns, 99, now);
    let known: Vec<_> = (1..=3).map(|last| wait(&mut turns, last, now)).collect();
    let order = order(&mut turns, now);
    assert_eq!(order[..3], known);
    assert_eq!(order[3], newcomer);
}

#[test]
fn whoever_leaves_either_line_gets_no_turn() {
    let (mut turns, now) = resting(5);
    turns.welcome(holder(1), source(1), now);
    let known = wait(&mut turns, 1, now);
    let other = wait(&mut turns, 2, now);
    turns.leave(known);
    turns.leave(other);
    assert_eq!(turns.next(now), Next::Idle);
    assert!(turns.is_empty() && turns.positions.is_empty());
}

#[test]
fn a_source_with_a_turn_now_and_then_is_forgiven() {
    let (mut turns, mut now) = resting(100);
    for _ in 0..1_000 {
        now += TURN_COST_HALVES / 4;
        turns.running += 1;
        turns.end(source(1), MS, now);
    }
    let cost = turns.cost(source(1), now);
    assert!((6 * MS..9 * MS).contains(&cost), "{cost:?}");
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
    assert!(turns.is_empty() && turns.positions.is_empty());
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
