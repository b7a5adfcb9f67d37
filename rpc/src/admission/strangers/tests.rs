use super::*;

fn source(last: u8) -> IpAddr {
    IpAddr::from([192, 0, 2, last])
}

/// Enters and tells who had to go.
fn enter(strangers: &mut Strangers, last: u8) -> (u64, Option<u64>) {
    let entered = strangers.enter(source(last), false).expect("room");
    (entered.number, entered.evicted)
}

fn enter_known(strangers: &mut Strangers, last: u8) -> (u64, Option<u64>) {
    let entered = strangers.enter(source(last), true).expect("room");
    (entered.number, entered.evicted)
}

#[test]
fn one_source_cannot_take_every_place() {
    let mut strangers = Strangers::new(3, 2, 100);
    enter(&mut strangers, 1);
    enter(&mut strangers, 1);
    assert_eq!(strangers.enter(source(1), false), None);
    assert_eq!(enter(&mut strangers, 2).1, None);
}

#[test]
fn a_source_at_its_cap_evicts_nobody() {
    let mut strangers = Strangers::new(2, 1, 100);
    enter(&mut strangers, 1);
    enter(&mut strangers, 2);
    assert_eq!(strangers.enter(source(1), false), None);
    assert_eq!(enter(&mut strangers, 3), (3, Some(1)));
}

#[test]
fn the_oldest_of_the_fullest_source_makes_room() {
    let mut strangers = Strangers::new(4, 4, 100);
    let (honest, _) = enter(&mut strangers, 9);
    let (first, _) = enter(&mut strangers, 1);
    let (second, _) = enter(&mut strangers, 1);
    enter(&mut strangers, 2);
    assert_eq!(enter(&mut strangers, 3).1, Some(first));
    // Now everybody is alone: the oldest.
    assert_eq!(enter(&mut strangers, 4).1, Some(honest));
    assert_eq!(enter(&mut strangers, 5).1, Some(second));
}

#[test]
fn guests_are_evicted_last() {
    let mut strangers = Strangers::new(2, 2, 100);
    let (guest, _) = enter(&mut strangers, 1);
    strangers.welcome(guest);
    let (other, _) = enter(&mut strangers, 2);
    assert_eq!(enter(&mut strangers, 3), (3, Some(other)));
    strangers.welcome(3);
    assert_eq!(enter(&mut strangers, 4).1, Some(guest));
}

#[test]
fn strangers_of_known_sources_are_spared_while_there_are_others() {
    let mut strangers = Strangers::new(6, 3, 100);
    let known = [1, 1, 1].map(|last| enter_known(&mut strangers, last).0);
    let unknown = [2, 3, 4].map(|last| enter(&mut strangers, last).0);
    // It has most, and is older.
    assert_eq!(enter(&mut strangers, 5).1, Some(unknown[0]));
    assert_eq!(enter(&mut strangers, 6).1, Some(unknown[1]));
    // Among the unknown still whoever has most.
    enter(&mut strangers, 5);
    assert_eq!(enter_known(&mut strangers, 7).1, Some(7));
    assert!(
        known
            .iter()
            .all(|known| strangers.table.contains_key(known))
    );
}

#[test]
fn known_sources_that_crowd_make_room_like_others() {
    let mut strangers = Strangers::new(4, 3, 100);
    let first = enter_known(&mut strangers, 1).0;
    enter_known(&mut strangers, 1);
    let unknown = enter(&mut strangers, 2).0;
    // Three of four: one more than is spared.
    enter_known(&mut strangers, 1);
    assert_eq!(enter(&mut strangers, 3).1, Some(first));
    // Two of four.
    assert_eq!(enter(&mut strangers, 4).1, Some(unknown));
}

#[test]
fn where_everybody_is_known_the_fullest_source_makes_room() {
    let mut strangers = Strangers::new(2, 2, 100);
    let first = enter_known(&mut strangers, 1).0;
    enter_known(&mut strangers, 1);
    assert_eq!(enter(&mut strangers, 2).1, Some(first));
}

#[test]
fn a_known_source_has_no_more_places_than_others() {
    let mut strangers = Strangers::new(9, 2, 100);
    enter_known(&mut strangers, 1);
    enter(&mut strangers, 1);
    assert_eq!(strangers.enter(source(1), true), None);
}

#[test]
fn a_guest_of_a_known_source_is_a_guest() {
    let mut strangers = Strangers::new(2, 2, 100);
    let guest = enter_known(&mut strangers, 1).0;
    strangers.welcome(guest);
    strangers.welcome(guest);
    let known = enter_known(&mut strangers, 2).0;
    assert_eq!(enter(&mut strangers, 3).1, Some(known));
    strangers.leave(guest);
    strangers.leave(3);
    assert!(strangers.is_empty());
}

#[test]
fn whoever_left_or_was_evicted_leaves_once() {
    let mut strangers = Strangers::new(1, 1, 100);
    let (first, _) = enter(&mut strangers, 1);
    let (second, evicted) = enter(&mut strangers, 2);
    assert_eq!(evicted, Some(first));
    strangers.leave(first);
    assert_eq!(
        strangers.enter(source(2), false),
        None,
        "the second still stands"
    );
    strangers.leave(second);
    strangers.leave(second);
    assert!(strangers.is_empty());
}

#[test]
fn whoever_sent_most_pays_for_all() {
    let mut strangers = Strangers::new(9, 9, 100);
    let (small, _) = enter(&mut strangers, 1);
    let (large, _) = enter(&mut strangers, 2);
    let noted = Weighed::Noted { evicted: None };
    assert_eq!(strangers.weigh(large, 60), noted);
    assert_eq!(strangers.weigh(small, 40), noted);
    let evicted = Weighed::Noted {
        evicted: Some(large),
    };
    assert_eq!(strangers.weigh(small, 1), evicted);
    assert_eq!(strangers.weigh(large, 1), Weighed::NoStranger);
    // Its bytes went with it.
    assert_eq!(strangers.weigh(small, 59), noted);
    let evicted = Weighed::Noted {
        evicted: Some(small),
    };
    assert_eq!(strangers.weigh(small, 1), evicted);
    assert!(strangers.is_empty());
}

#[test]
fn bytes_of_guests_and_of_the_gone_do_not_weigh() {
    let mut strangers = Strangers::new(9, 9, 100);
    let (guest, _) = enter(&mut strangers, 1);
    strangers.weigh(guest, 90);
    strangers.welcome(guest);
    assert_eq!(strangers.weigh(guest, 1_000), Weighed::NoStranger);
    let (gone, _) = enter(&mut strangers, 1);
    strangers.weigh(gone, 90);
    strangers.leave(gone);
    let (last, _) = enter(&mut strangers, 1);
    assert_eq!(strangers.weigh(last, 100), Weighed::Noted { evicted: None });
}

#[test]
fn bytes_beyond_every_number_evict_and_do_not_overflow() {
    let mut strangers = Strangers::new(9, 9, usize::MAX - 1);
    let (number, _) = enter(&mut strangers, 1);
    strangers.weigh(number, usize::MAX - 1);
    let evicted = Weighed::Noted {
        evicted: Some(number),
    };
    assert_eq!(strangers.weigh(number, usize::MAX), evicted);
    assert!(strangers.is_empty());
}

#[test]
fn a_crowd_never_exceeds_the_caps() {
    let mut strangers = Strangers::new(50, 8, 1_000);
    let mut inside = Vec::new();
    for step in 0..5_000_u32 {
        let from = u8::try_from(step * 7 % 31).expect("small");
        if let Some(entered) = strangers.enter(source(from), step % 5 == 0) {
            inside.push(entered.number);
            inside.retain(|number| Some(*number) != entered.evicted);
        }
        if step % 3 == 0 && !inside.is_empty() {
            strangers.leave(inside.remove(step as usize % inside.len()));
        }
        assert_eq!(strangers.table.len(), inside.len());
        assert!(inside.len() <= 50);
        assert!(strangers.by_source.values().all(|crowd| crowd.count() <= 8));
    }
    for number in inside {
        strangers.leave(number);
    }
    assert!(strangers.is_empty());
}
