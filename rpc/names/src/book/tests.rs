use super::*;
use crate::testing::{NOW_MS, key, moved, name, signed, unsigned};

const LATER_MS: u64 = NOW_MS + 60_000;

fn publish(
    book: &mut Book,
    now_ms: u64,
    record: Arc<VerifiedRecord>,
) -> Result<Change, PublishError> {
    let quota = Quota {
        prefix: Prefix::ALL,
        names_max: usize::MAX,
    };
    book.publish(now_ms, record, &quota)
}

fn book() -> Book {
    let mut book = Book::new();
    for (called, serial) in [("a", 5), ("a/b", 1), ("a/b/c", 1), ("a-b", 1), ("b", 1)] {
        let stored = publish(&mut book, NOW_MS, signed(called, serial, LATER_MS));
        assert_eq!(stored, Ok(Change::Stored));
    }
    book
}

fn serial(book: &Book, called: &str, now_ms: u64) -> Option<u64> {
    let record = book.current(&name(called), now_ms)?;
    Some(record.record().serial)
}

fn listed(book: &Book, prefix: &str, after: &str, count: usize) -> Vec<String> {
    let prefix = prefix.parse().expect("a prefix");
    let after = (!after.is_empty()).then(|| name(after));
    let listed = book.list(&prefix, after.as_ref(), NOW_MS, count, |_| true);
    listed.iter().map(|it| it.name.to_string()).collect()
}

#[test]
fn a_newer_record_takes_the_place_of_an_older_one() {
    let mut book = book();
    let bytes = book.bytes();
    let newer = publish(&mut book, NOW_MS, signed("a", 6, LATER_MS));
    assert_eq!(newer, Ok(Change::Stored));
    assert_eq!(serial(&book, "a", NOW_MS), Some(6));
    assert_eq!((book.len(), book.bytes()), (5, bytes));
}

#[test]
fn the_same_record_again_changes_nothing() {
    let mut book = book();
    let before = book.clone();
    let again = publish(&mut book, NOW_MS, signed("a", 5, LATER_MS));
    assert_eq!(again, Ok(Change::Unchanged));
    assert_eq!(book, before);
}

#[test]
fn what_another_signer_says_alike_changes_nothing() {
    let mut book = book();
    let before = book.clone();
    let alike = unsigned("a", 5, LATER_MS).sign(&key(2)).expect("sound");
    assert_eq!(
        publish(&mut book, NOW_MS, Arc::new(alike)),
        Ok(Change::Unchanged)
    );
    assert_eq!(book, before);
}

#[test]
fn an_older_serial_is_refused() {
    let mut book = book();
    let before = book.clone();
    let refused = PublishError::OlderSerial { found: 4, floor: 5 };
    let older = publish(&mut book, NOW_MS, signed("a", 4, LATER_MS));
    assert_eq!(older, Err(refused));
    assert_eq!(book, before);
}

#[test]
fn a_serial_used_for_something_else_is_refused() {
    let mut book = book();
    let before = book.clone();
    let refused = PublishError::SerialReused { serial: 5 };
    let reused = publish(&mut book, NOW_MS, moved("a", 5, LATER_MS));
    assert_eq!(reused, Err(refused));
    assert_eq!(book, before);
}

#[test]
fn an_expired_record_is_refused_from_the_moment_of_its_end() {
    let mut book = Book::new();
    let ends_now = signed("a", 1, NOW_MS);
    assert_eq!(
        publish(&mut book, NOW_MS, Arc::clone(&ends_now)),
        Err(PublishError::Expired)
    );
    assert!(book.is_empty());
    assert_eq!(publish(&mut book, NOW_MS - 1, ends_now), Ok(Change::Stored));
}

#[test]
fn an_expired_record_is_not_handed_out() {
    let book = book();
    assert_eq!(serial(&book, "a", LATER_MS - 1), Some(5));
    assert_eq!(serial(&book, "a", LATER_MS), None);
    let left = book.list(&Prefix::ALL, None, LATER_MS, 10, |_| true);
    assert_eq!(left, []);
}

#[test]
fn an_expired_record_is_the_floor_of_its_name() {
    let mut book = book();
    let older = signed("a", 4, LATER_MS + 60_000);
    let refused = PublishError::OlderSerial { found: 4, floor: 5 };
    assert_eq!(publish(&mut book, LATER_MS, older), Err(refused));
    let other = moved("a", 5, LATER_MS + 60_000);
    let refused = PublishError::SerialReused { serial: 5 };
    assert_eq!(publish(&mut book, LATER_MS, other), Err(refused));
    // Nor does the expired one itself come back.
    let same = publish(&mut book, LATER_MS, signed("a", 5, LATER_MS));
    assert_eq!(same, Err(PublishError::Expired));
    let newer = publish(&mut book, LATER_MS, signed("a", 6, LATER_MS + 60_000));
    assert_eq!(newer, Ok(Change::Stored));
}

#[test]
fn a_full_book_takes_no_further_name_and_renews_those_that_it_has() {
    let mut book = Book::new();
    let record = signed("a", 1, LATER_MS);
    for index in 0..BOOK_NAMES_MAX {
        // Signing so many would take a minute, and a book verifies nothing.
        book.records
            .insert(name(&format!("n{index}")), Arc::clone(&record));
        book.bytes += record.bytes().len();
    }
    let another = publish(&mut book, NOW_MS, signed("z", 1, LATER_MS));
    assert_eq!(another, Err(PublishError::Full));
    assert_eq!(book.len(), BOOK_NAMES_MAX);
    let known = publish(&mut book, NOW_MS, signed("n7", 2, LATER_MS));
    assert_eq!(known, Ok(Change::Stored));
}

#[test]
fn a_record_that_leaves_no_room_is_refused() {
    let mut book = book();
    book.bytes = BOOK_BYTES_MAX - 1;
    let before = book.clone();
    let another = publish(&mut book, NOW_MS, signed("z", 1, LATER_MS));
    assert_eq!(another, Err(PublishError::Full));
    assert_eq!(book, before);
}

#[test]
fn whole_parts_are_listed_in_order() {
    let book = book();
    assert_eq!(listed(&book, "", "", 10), ["a", "a-b", "a/b", "a/b/c", "b"]);
    assert_eq!(listed(&book, "a", "", 10), ["a", "a/b", "a/b/c"]);
    assert_eq!(listed(&book, "a/b", "", 10), ["a/b", "a/b/c"]);
    assert_eq!(listed(&book, "c", "", 10), [""; 0]);
}

#[test]
fn a_listing_goes_on_behind_the_last_name() {
    let book = book();
    assert_eq!(listed(&book, "a", "", 2), ["a", "a/b"]);
    assert_eq!(listed(&book, "a", "a/b", 2), ["a/b/c"]);
    assert_eq!(listed(&book, "a", "a/b/c", 2), [""; 0]);
    assert_eq!(listed(&book, "", "a/a", 2), ["a/b", "a/b/c"]);
    // Before the prefix, and behind it.
    assert_eq!(listed(&book, "a/b", "a", 10), ["a/b", "a/b/c"]);
    assert_eq!(listed(&book, "a", "b", 10), [""; 0]);
}

#[test]
fn names_that_may_not_be_read_take_no_place_in_a_page() {
    let book = book();
    let may_read = |it: &Name| it.as_str() != "a";
    let page = book.list(&Prefix::ALL, None, NOW_MS, 2, may_read);
    let names: Vec<_> = page.iter().map(|it| it.name.as_str()).collect();
    assert_eq!(names, ["a-b", "a/b"]);
}

#[test]
fn a_full_prefix_takes_no_further_name_and_others_do() {
    let mut book = book();
    let quota = |prefix: &str, names_max| Quota {
        prefix: prefix.parse().expect("a prefix"),
        names_max,
    };
    let before = book.clone();
    let another = signed("a/z", 1, LATER_MS);
    let full = PublishError::PrefixFull {
        prefix: quota("a", 3).prefix,
        names_max: 3,
    };
    let refused = book.publish(NOW_MS, Arc::clone(&another), &quota("a", 3));
    assert_eq!(refused, Err(full));
    assert_eq!(book, before);
    let renewed = book.publish(NOW_MS, signed("a", 6, LATER_MS), &quota("a", 3));
    assert_eq!(renewed, Ok(Change::Stored));
    let taken = book.publish(NOW_MS, another, &quota("a", 4));
    assert_eq!(taken, Ok(Change::Stored), "there were a, a/b and a/b/c");
}

#[test]
fn an_expired_name_counts_as_one_of_its_prefix() {
    let mut book = book();
    let quota = Quota {
        prefix: Prefix::ALL,
        names_max: 5,
    };
    let another = signed("z", 1, LATER_MS + 60_000);
    let refused = book.publish(LATER_MS, another, &quota);
    assert!(matches!(refused, Err(PublishError::PrefixFull { .. })));
}
