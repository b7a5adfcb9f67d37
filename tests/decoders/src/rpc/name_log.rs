//! The log of a name service, and the prefixes of its policy.

use std::collections::BTreeMap;
use std::num::NonZeroU8;
use std::sync::{Arc, LazyLock};

use sealmoot_crypto::signature::KeyId;
use sealmoot_rpc::binding::{Endpoint, Name, NameRecord, VerifiedRecord, Way};
use sealmoot_rpc::limits::binding::RECORD_BYTES_MAX;
use sealmoot_rpc_names::book::Book;
use sealmoot_rpc_names::store::frame::{self, HEADER_BYTES, Stretch};
use sealmoot_rpc_names::store::{Fault, Recovery, recover};
use sealmoot_rpc_names::{Policy, Prefix, Rule};

use super::tls::{CLIENT, SERVER};
use crate::{Decoder, Outcome};

pub(super) const ALL: &[Decoder] = &[
    Decoder {
        name: "name_log",
        // Each record is signed. That none is missing, nobody has signed.
        authenticates: false,
        samples: || {
            let frames = |numbers: &[usize]| {
                let mut log = Vec::new();
                for number in numbers {
                    frame::write(MADE[*number].bytes(), &mut log);
                }
                log
            };
            vec![frames(&[LAST]), frames(&[0, 1, 2, 3, LAST])]
        },
        check: log,
    },
    Decoder {
        name: "name_prefix",
        authenticates: false,
        // A prefix and a name that it covers, a line each.
        samples: || {
            ["\na\n", "store\nstore\n", "store/eu\nstore/eu/a-b/c\n"]
                .map(|lines| lines.as_bytes().to_vec())
                .into()
        },
        check: |bytes| {
            let Some((prefix, name)) = lines(bytes) else {
                return Outcome::Refused;
            };
            let (Ok(parsed), Ok(name)) = (prefix.parse::<Prefix>(), name.parse::<Name>()) else {
                return Outcome::Refused;
            };
            assert_eq!(parsed.as_str(), prefix);
            assert_eq!(parsed.to_string(), prefix);
            assert_eq!(parsed.covers(&name), begins_with(&name, prefix));
            // Nothing else is in it than a name has.
            assert_eq!(prefix.is_empty(), prefix.parse::<Name>().is_err());
            if parsed.covers(&name) {
                Outcome::Accepted
            } else {
                Outcome::Refused
            }
        },
    },
];

/// Records that are believed; of two with one serial, one log holds one.
static MADE: LazyLock<Vec<VerifiedRecord>> = LazyLock::new(|| {
    [
        ("store/a", 1),
        ("store/b", 1),
        ("store/a", 3),
        ("store/a", 2),
        ("store/z", 1),
    ]
    .map(|(name, serial)| record(name, serial).sign(&SERVER).expect("sound"))
    .into()
});

/// The record that an accepted log ends with: a log cut between two frames is one,
/// too.
const LAST: usize = 4;

/// By a key that may not speak for the name, and for a name that is in no rule.
static NOT_BELIEVED: LazyLock<Vec<VerifiedRecord>> = LazyLock::new(|| {
    let stranger = record("store/a", 9).sign(&CLIENT).expect("sound");
    let elsewhere = record("shop/a", 9).sign(&SERVER).expect("sound");
    vec![stranger, elsewhere]
});

static POLICY: LazyLock<Policy> = LazyLock::new(|| {
    let rule = Rule {
        signers: vec![SERVER.verifying_key().key_id()],
        ..Rule::default()
    };
    let prefix = "store".parse().expect("a prefix");
    Policy::new().rule(prefix, rule).expect("the only one")
});

fn record(name: &str, serial: u64) -> NameRecord {
    NameRecord {
        name: name.parse().expect("a name"),
        serial,
        valid_until_ms: u64::MAX,
        ttl_seconds: 10,
        services: Vec::new(),
        endpoints: vec![Endpoint {
            way: Way::Tls,
            address: "h:1".to_owned(),
            key_id: KeyId::from_bytes([4; 32]),
            weight: NonZeroU8::MIN,
        }],
    }
}

fn log(bytes: &[u8]) -> Outcome {
    let stretches = frame::read(bytes);
    to_its_last_byte(bytes, &stretches);
    what_is_appended_is_read_back(bytes, &stretches);
    let recovery = believed(bytes);
    // Whatever stands around them, of the sound records none is lost, and those
    // that nobody may publish do not come in.
    let mut longer = bytes.to_vec();
    for record in NOT_BELIEVED.iter().chain([&MADE[2], &MADE[0]]) {
        frame::write(record.bytes(), &mut longer);
    }
    let (book, _) = recover(&longer, &POLICY);
    newest_of(&longer, &book);
    assert!(book.records().any(|record| **record == MADE[2]));
    match stretches.last() {
        Some(Stretch::Record { bytes, .. })
            if recovery.faults.is_empty() && bytes == MADE[LAST].bytes() =>
        {
            Outcome::Accepted
        }
        _ => Outcome::Refused,
    }
}

/// Every byte is in one stretch, and no whole frame in one that is none.
fn to_its_last_byte(log: &[u8], stretches: &[Stretch<'_>]) {
    let mut end = 0;
    for (index, stretch) in stretches.iter().enumerate() {
        let (offset, length) = match *stretch {
            Stretch::Record { offset, bytes } => {
                let mut again = Vec::new();
                frame::write(bytes, &mut again);
                assert_eq!(log[offset..offset + again.len()], again);
                (offset, again.len())
            }
            Stretch::Damaged { offset, length } | Stretch::Torn { offset, length } => {
                let is_last = index + 1 == stretches.len();
                assert!(is_last || matches!(stretch, Stretch::Damaged { .. }));
                no_frame_in(&log[offset..], length);
                (offset, length)
            }
        };
        assert_eq!(offset, end);
        assert_ne!(length, 0);
        end += length;
    }
    assert_eq!(end, log.len());
}

/// That no whole frame begins in the first so many bytes.
fn no_frame_in(log: &[u8], length: usize) {
    for offset in 0..length {
        let rest = &log[offset..];
        if !rest.starts_with(b"SMN1") {
            continue;
        }
        // Of all that may follow, a frame needs no more than this.
        let rest = &rest[..rest.len().min(HEADER_BYTES + RECORD_BYTES_MAX)];
        let first = frame::read(rest).into_iter().next();
        assert!(!matches!(first, Some(Stretch::Record { .. })));
    }
}

/// Whatever is there already, an append behind it is not lost, not even behind a
/// frame that says to be longer than all that follows.
fn what_is_appended_is_read_back(log: &[u8], stretches: &[Stretch<'_>]) {
    let any = &log[..log.len().min(RECORD_BYTES_MAX)];
    let mut alone = Vec::new();
    frame::write(any, &mut alone);
    let whole = Stretch::Record {
        offset: 0,
        bytes: any,
    };
    assert_eq!(frame::read(&alone), [whole]);
    let longer = [log, &alone].concat();
    let appended = Stretch::Record {
        offset: log.len(),
        bytes: any,
    };
    let read = frame::read(&longer);
    assert_eq!(read.last(), Some(&appended));
    let mut cut = Vec::new();
    frame::write(MADE[LAST].bytes(), &mut cut);
    cut.truncate(HEADER_BYTES + 1);
    let mut behind = [log, &cut].concat();
    let offset = behind.len();
    frame::write(b"short", &mut behind);
    let appended = Stretch::Record {
        offset,
        bytes: b"short",
    };
    let read = frame::read(&behind);
    assert_eq!(read.last(), Some(&appended));
    to_its_last_byte(&behind, &read);
    // The records before are the same.
    let records = |stretches: &[Stretch<'_>]| {
        let are_records = |it: &&Stretch<'_>| matches!(it, Stretch::Record { .. });
        stretches.iter().filter(are_records).count()
    };
    assert_eq!(records(&read), records(stretches) + 1);
}

/// Recovers a log: what comes out is the newest of what may be believed;
/// rewritten, it is the same.
fn believed(log: &[u8]) -> Recovery {
    let (book, recovery) = recover(log, &POLICY);
    assert_eq!(recovery.names, book.len());
    newest_of(log, &book);
    let mut rewritten = Vec::new();
    for record in book.records() {
        frame::write(record.bytes(), &mut rewritten);
    }
    assert!(rewritten.len() <= log.len());
    assert_eq!(book.bytes() + book.len() * HEADER_BYTES, rewritten.len());
    let (again, sound) = recover(&rewritten, &POLICY);
    assert_eq!((&again, &sound.faults[..]), (&book, &[][..]));

    // Without its torn end it reads the same.
    if let Some(Fault::Torn { offset, length }) = recovery.faults.last() {
        assert_eq!(offset + length, log.len());
        let (again, cut) = recover(&log[..*offset], &POLICY);
        assert_eq!(again, book);
        assert_eq!(cut.faults, recovery.faults[..recovery.faults.len() - 1]);
    }
    recovery
}

/// That a book has of each name the newest record of a log, and no other.
fn newest_of(log: &[u8], book: &Book) {
    let mut newest: BTreeMap<&Name, &VerifiedRecord> = BTreeMap::new();
    for stretch in frame::read(log) {
        let Stretch::Record { bytes, .. } = stretch else {
            continue;
        };
        // Nobody else has the key that signs.
        let Some(made) = MADE.iter().find(|made| made.bytes() == bytes) else {
            continue;
        };
        let held = newest.entry(&made.record().name).or_insert(made);
        if held.record().serial < made.record().serial {
            *held = made;
        }
    }
    let held: Vec<&VerifiedRecord> = book.records().map(Arc::as_ref).collect();
    assert_eq!(held, newest.into_values().collect::<Vec<_>>());
}

/// Two lines, the second ended too.
fn lines(bytes: &[u8]) -> Option<(&str, &str)> {
    let text = std::str::from_utf8(bytes).ok()?;
    text.strip_suffix('\n')?.split_once('\n')
}

/// Whether the parts of `name` begin with those of `prefix`.
fn begins_with(name: &Name, prefix: &str) -> bool {
    let mut parts = name.as_str().split('/');
    prefix.is_empty() || prefix.split('/').all(|part| parts.next() == Some(part))
}
