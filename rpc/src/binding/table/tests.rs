use std::time::{Duration, Instant};

use super::file::Reading;
use super::*;
use crate::binding::record::tests::{name, plain, signer};
use crate::binding::record::{NameRecord, Way};
use crate::limits::binding::TABLE_REREAD;

fn trusted() -> [KeyId; 1] {
    [signer(1).verifying_key().key_id()]
}

fn signed(record: NameRecord) -> VerifiedRecord {
    record.sign(&signer(1)).expect("sound")
}

fn line(record: NameRecord) -> String {
    Hexadecimal(signed(record).bytes()).to_string()
}

fn parse(text: &str) -> Result<Table, TableError> {
    Table::parse(text.as_bytes(), &trusted())
}

fn serial(table: &Table, called: &str) -> Option<u64> {
    Some(table.record(&name(called))?.record().serial)
}

#[test]
fn a_table_is_read_as_it_was_written() {
    let table = Table::new([plain("a", 1), plain("b/c", 2)].map(signed));
    assert_eq!(parse(&table.to_text()), Ok(table.clone()));
    assert_eq!(serial(&table, "a"), Some(1));
    assert_eq!(serial(&table, "b/c"), Some(2));
    assert_eq!(serial(&table, "b"), None);
}

#[test]
fn comments_blanks_and_foreign_line_ends_say_nothing() {
    let text = format!(
        "# names\r\n\r\n  {}\t\r\n#\n\n#{}",
        line(plain("a", 1)),
        line(plain("b", 1))
    );
    let table = parse(&text).expect("a table");
    assert_eq!(table, Table::new([signed(plain("a", 1))]));
}

#[test]
fn a_table_without_a_record_is_refused() {
    for text in ["", "\n", "# nothing\n"] {
        assert_eq!(parse(text), Err(TableError::NoRecord), "{text:?}");
    }
}

#[test]
fn lines_that_are_no_lower_case_hexadecimal_are_refused() {
    let good = line(plain("a", 1));
    for bad in [
        "x",
        "0",
        "0g",
        "0 1",
        "\u{e4}",
        &good.to_uppercase(),
        &good[1..],
    ] {
        let text = format!("# names\n{good}\n{bad}\n");
        let refused = TableError::NotHexadecimal { line: 3 };
        assert_eq!(parse(&text), Err(refused), "{bad:?}");
    }
}

#[test]
fn one_bad_record_spoils_the_table_and_is_named() {
    let mut forged = line(plain("b", 1));
    forged.replace_range(
        forged.len() - 1..,
        if forged.ends_with('0') { "1" } else { "0" },
    );
    let text = format!("{}\n{forged}\n", line(plain("a", 1)));
    let refused = TableError::Record {
        line: 2,
        source: RecordError::BadSignature,
    };
    assert_eq!(parse(&text), Err(refused));
}

#[test]
fn a_record_by_a_stranger_is_refused() {
    let stranger = plain("a", 1).sign(&signer(2)).expect("sound");
    let refused = TableError::Record {
        line: 1,
        source: RecordError::UnknownSigner(stranger.signer()),
    };
    assert_eq!(
        parse(&Hexadecimal(stranger.bytes()).to_string()),
        Err(refused)
    );
}

#[test]
fn a_line_longer_than_any_record_is_refused() {
    let length = RECORD_BYTES_MAX + 1;
    let refused = TableError::Record {
        line: 1,
        source: RecordError::TooLong { length },
    };
    assert_eq!(parse(&"00".repeat(length)), Err(refused));
}

#[test]
fn a_name_has_one_line() {
    let text = format!("{}\n{}\n", line(plain("a", 1)), line(plain("a", 2)));
    let refused = TableError::Twice {
        line: 2,
        name: name("a"),
    };
    assert_eq!(parse(&text), Err(refused));
}

#[test]
fn a_table_longer_than_the_limit_is_refused_unread() {
    let text = "#".repeat(TABLE_BYTES_MAX + 1);
    assert_eq!(parse(&text), Err(TableError::TooLong));
}

#[test]
fn more_records_than_the_limit_are_refused() {
    let records = (0..=TABLE_RECORDS_MAX).map(|index| {
        signed(NameRecord {
            services: Vec::new(),
            ..plain(&format!("n{index}"), 1)
        })
    });
    let text = Table::new(records).to_text();
    assert!(text.len() <= TABLE_BYTES_MAX);
    assert_eq!(parse(&text), Err(TableError::TooManyRecords));
}

#[test]
fn an_expired_record_spoils_nothing_and_is_not_handed_out() {
    let text = format!("{}\n{}\n", line(plain("a", 1)), line(plain("b", 1)));
    let table = parse(&text).expect("a table");
    let end = table
        .record(&name("a"))
        .expect("there")
        .record()
        .valid_until_ms;
    assert!(table.look_up(&name("a"), end - 1).is_ok());
    let expired = Err(ResolveError::Record(RecordError::Expired));
    assert_eq!(table.look_up(&name("a"), end), expired);
}

#[test]
fn an_unknown_name_is_not_found() {
    let table = Table::new([signed(plain("a", 1))]);
    let not_found = Err(ResolveError::NotFound(name("b")));
    assert_eq!(table.look_up(&name("b"), 0), not_found);
}

fn text(records: impl IntoIterator<Item = NameRecord>) -> Vec<u8> {
    Table::new(records.into_iter().map(signed))
        .to_text()
        .into_bytes()
}

fn reading(now: Instant) -> Reading {
    Reading::first(text([plain("a", 5), plain("b", 1)]), &trusted(), now).expect("a table")
}

#[test]
fn a_file_is_looked_at_once_a_second_at_most() {
    let now = Instant::now();
    let mut reading = reading(now);
    let almost = now + TABLE_REREAD - Duration::from_millis(1);
    assert!(!reading.is_due(almost));
    assert!(reading.is_due(now + TABLE_REREAD));
    reading.look(Err(TableError::TooLong), now + TABLE_REREAD);
    assert!(!reading.is_due(almost + TABLE_REREAD));
}

#[test]
fn a_changed_file_is_taken() {
    let now = Instant::now();
    let mut reading = reading(now);
    reading.look(Ok(text([plain("a", 6), plain("c", 1)])), now);
    assert_eq!(reading.fault(), None);
    assert_eq!(serial(&reading.table, "a"), Some(6));
    assert_eq!(serial(&reading.table, "b"), None);
    assert_eq!(serial(&reading.table, "c"), Some(1));
}

#[test]
fn a_broken_file_leaves_the_old_records_and_is_reported_until_it_is_good() {
    let now = Instant::now();
    let mut reading = reading(now);
    let old = Arc::clone(&reading.table);
    let broken = || Ok(b"rubbish\n".to_vec());
    let fault = TableError::NotHexadecimal { line: 1 };
    for _ in 0..2 {
        reading.look(broken(), now);
        assert_eq!(reading.fault(), Some(&fault));
        assert!(Arc::ptr_eq(&reading.table, &old));
    }
    // That it could not be read in between makes it no better.
    reading.look(Err(TableError::TooLong), now);
    assert_eq!(reading.fault(), Some(&TableError::TooLong));
    reading.look(broken(), now);
    assert_eq!(reading.fault(), Some(&fault));
    reading.look(Ok(text([plain("a", 5)])), now);
    assert_eq!(reading.fault(), None);
    assert_eq!(serial(&reading.table, "a"), Some(5));
}

#[test]
fn a_file_that_is_there_again_unchanged_is_good() {
    let now = Instant::now();
    let mut reading = reading(now);
    let gone = io::Error::from(io::ErrorKind::NotFound);
    reading.look(Err(TableError::Io(gone.into())), now);
    assert!(matches!(reading.fault(), Some(TableError::Io(_))));
    assert_eq!(serial(&reading.table, "a"), Some(5));
    reading.look(Ok(text([plain("a", 5), plain("b", 1)])), now);
    assert_eq!(reading.fault(), None);
}

#[test]
fn a_file_that_goes_backwards_is_not_taken() {
    let now = Instant::now();
    let mut reading = reading(now);
    reading.look(Ok(text([plain("a", 4), plain("b", 2)])), now);
    let fault = TableError::Backwards {
        name: name("a"),
        source: RecordError::OlderSerial { found: 4, floor: 5 },
    };
    assert_eq!(reading.fault(), Some(&fault));
    assert_eq!(serial(&reading.table, "b"), Some(1));
}

#[test]
fn a_file_that_gives_a_serial_to_another_record_is_not_taken() {
    let now = Instant::now();
    let mut reading = reading(now);
    let mut moved = plain("a", 5);
    moved.endpoints[0].way = Way::Unix;
    moved.endpoints[0].address = "/run/a".to_owned();
    reading.look(Ok(text([moved])), now);
    let fault = TableError::Backwards {
        name: name("a"),
        source: RecordError::SerialReused { serial: 5 },
    };
    assert_eq!(reading.fault(), Some(&fault));
}

/// Of the real clock, for what goes through the shells.
fn lasting(called: &str, serial: u64) -> NameRecord {
    NameRecord {
        valid_until_ms: u64::MAX,
        ..plain(called, serial)
    }
}

#[tokio::test]
async fn a_table_in_the_program_resolves() {
    let table = Table::new([lasting("a", 1), plain("b", 1)].map(signed));
    let resolver: &dyn Resolver = &table;
    let record = resolver.resolve(&name("a")).await.expect("there");
    assert_eq!(record.record().serial, 1);
    let expired = Err(ResolveError::Record(RecordError::Expired));
    assert_eq!(resolver.resolve(&name("b")).await, expired);
    let not_found = Err(ResolveError::NotFound(name("c")));
    assert_eq!(resolver.resolve(&name("c")).await, not_found);
}

#[tokio::test]
async fn a_file_resolves_and_is_read_again() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("names");
    let put = |text: &[u8]| {
        let fresh = folder.path().join("fresh");
        std::fs::write(&fresh, text).expect("written");
        std::fs::rename(&fresh, &path).expect("renamed");
    };
    put(&text([lasting("a", 1)]));
    let table = FileTable::open(&path, &trusted()).expect("a table");
    let resolved = async |at_least: u64| loop {
        let record = table.resolve(&name("a")).await.expect("there");
        if record.record().serial >= at_least {
            return record.record().serial;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    assert_eq!(resolved(1).await, 1);
    put(&text([lasting("a", 2)]));
    assert_eq!(resolved(2).await, 2);
    put(b"rubbish");
    while table.fault().is_none() {
        assert_eq!(resolved(2).await, 2);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(table.fault(), Some(TableError::NotHexadecimal { line: 1 }));
    assert_eq!(resolved(2).await, 2);
}

#[test]
fn what_is_no_file_is_not_opened() {
    let folder = tempfile::tempdir().expect("a folder");
    let opened = FileTable::open(folder.path(), &trusted());
    assert!(matches!(opened, Err(TableError::Io(_))));
    let missing = FileTable::open(folder.path().join("none"), &trusted());
    assert!(matches!(missing, Err(TableError::Io(_))));
}

#[test]
fn a_file_longer_than_the_limit_is_not_read_to_its_end() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("names");
    let file = std::fs::File::create(&path).expect("created");
    // Sparse: read whole, it would fill the memory of most machines.
    file.set_len(1 << 40).expect("a sparse file");
    let opened = FileTable::open(&path, &trusted());
    assert_eq!(opened.err(), Some(TableError::TooLong));
}
