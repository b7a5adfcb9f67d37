//! Heads of hash chains, and records that are not a chain's.

use sealmoot_crypto::encoding::EncodingError;
use sealmoot_crypto::hash_chain::{Chain, ChainError, ChainFull, Head, Link, Verifier};
use sealmoot_crypto::secret::SecretArray;

use crate::kit::{Kit, ends_early, longer, report, shorter, unknown, with, with_byte};

const RECORDS_AT: usize = 2;
const LINK_AT: usize = 10;
const CHAIN_ID: [u8; 32] = [8; 32];

#[test]
fn hash_chain() {
    report("hash_chain", family());
}

pub(crate) fn family() -> usize {
    let mut kit = Kit::new("hash_chain");
    heads(&mut kit);
    records(&mut kit);
    others(&mut kit);
    kit.count()
}

type Log = Vec<(&'static [u8], Link)>;

fn key(seed: u8) -> SecretArray<32> {
    SecretArray::from_bytes([seed; 32])
}

fn written(seed: u8, chain_id: [u8; 32]) -> (Log, Head) {
    let mut chain = Chain::start(&key(seed), chain_id);
    let records: [&[u8]; 4] = [b"alice in", b"bob in", b"bob in", b"alice out"];
    let log = records.map(|record| (record, chain.append(record).expect("not full")));
    (log.into(), chain.head())
}

fn verify_with(mut verifier: Verifier, log: &[(&[u8], Link)]) -> Result<(), ChainError> {
    for (record, link) in log {
        verifier.check(record, link)?;
    }
    verifier.finish()
}

fn verify(log: &[(&[u8], Link)], head: Head) -> Result<(), ChainError> {
    verify_with(Verifier::start(&key(7), CHAIN_ID, head), log)
}

fn broken(expected: u64) -> impl Fn(&ChainError) -> bool {
    move |error| matches!(error, ChainError::Broken { index } if *index == expected)
}

fn heads(kit: &mut Kit) {
    let (_, head) = written(7, CHAIN_ID);
    let sample = head.to_bytes();
    let read = |bytes: &[u8]| Head::from_bytes(bytes);
    let linked = |error: &EncodingError| {
        matches!(
            error,
            EncodingError::Invalid("the head of a chain without records has a link")
        )
    };
    kit.accepted("a head", read(&sample));
    kit.refused("head: empty", read(&[]), |error| ends_early(error, 0, 2));
    kit.refused(
        "head: version 0",
        read(&with_byte(&sample, 0, 0)),
        |error| unknown(error, "chain head version", 0),
    );
    kit.refused(
        "head: version in big-endian",
        read(&with(&sample, 0, &[0, 1])),
        |error| unknown(error, "chain head version", 256),
    );
    kit.refused(
        "head: cut off in the number",
        read(&sample[..LINK_AT - 1]),
        |error| ends_early(error, RECORDS_AT, 1),
    );
    kit.refused("head: no link", read(&sample[..LINK_AT]), |error| {
        ends_early(error, LINK_AT, 32)
    });
    kit.refused(
        "head: a link of 31 bytes",
        read(&shorter(&sample, 1)),
        |error| ends_early(error, LINK_AT, 1),
    );
    kit.refused(
        "head: a byte behind",
        read(&longer(&sample, &[0])),
        |error| matches!(error, EncodingError::TrailingBytes { count: 1 }),
    );
    kit.refused(
        "head: a link of no records",
        read(&with(&sample, RECORDS_AT, &[0; 8])),
        linked,
    );
    let last_bit = with_byte(&Head::EMPTY.to_bytes(), Head::LENGTH - 1, 0x80);
    kit.refused(
        "head: a bit in the link of no records",
        read(&last_bit),
        linked,
    );
}

fn records(kit: &mut Kit) {
    let (log, head) = written(7, CHAIN_ID);
    kit.accepted("a log", verify(&log, head));
    let edited = |edit: fn(&mut Log)| {
        let mut log = log.clone();
        edit(&mut log);
        verify(&log, head)
    };
    kit.refused(
        "a record changed",
        edited(|log| log[1].0 = b"eve in"),
        broken(1),
    );
    kit.refused(
        "the first record changed",
        edited(|log| log[0].0 = b"eve in"),
        broken(0),
    );
    kit.refused(
        "the last record changed",
        edited(|log| log[3].0 = b"eve out"),
        broken(3),
    );
    kit.refused("a record emptied", edited(|log| log[2].0 = b""), broken(2));
    kit.refused(
        "a record longer by a NUL",
        edited(|log| log[2].0 = b"bob in\0"),
        broken(2),
    );
    kit.refused(
        "a link changed",
        edited(|log| {
            let mut bytes = *log[2].1.as_bytes();
            bytes[31] ^= 0x80;
            log[2].1 = Link::from_bytes(bytes);
        }),
        broken(2),
    );
    kit.refused(
        "a link of zeros",
        edited(|log| log[0].1 = Link::from_bytes([0; 32])),
        broken(0),
    );
    kit.refused(
        "the links of equal records swapped",
        edited(|log| {
            let link = log[1].1;
            log[1].1 = log[2].1;
            log[2].1 = link;
        }),
        broken(1),
    );
    kit.refused("records swapped", edited(|log| log.swap(0, 1)), broken(0));
    kit.refused(
        "the first record left out",
        edited(|log| {
            log.remove(0);
        }),
        broken(0),
    );
    kit.refused(
        "an equal record left out",
        edited(|log| {
            log.remove(1);
        }),
        broken(1),
    );
    kit.refused(
        "a record twice",
        edited(|log| log.insert(3, log[2])),
        broken(3),
    );
    kit.refused(
        "a record put in between",
        edited(|log| {
            log.insert(2, (b"eve in", Link::from_bytes([1; 32])));
        }),
        broken(2),
    );
    kit.refused(
        "the last record left out",
        edited(|log| log.truncate(3)),
        |error| {
            matches!(
                error,
                ChainError::Truncated {
                    present: 3,
                    expected: 4
                }
            )
        },
    );
    kit.refused("all records left out", edited(Vec::clear), |error| {
        matches!(
            error,
            ChainError::Truncated {
                present: 0,
                expected: 4
            }
        )
    });
}

fn others(kit: &mut Kit) {
    let (log, head) = written(7, CHAIN_ID);
    let number = |records: u64| {
        let bytes = with(&head.to_bytes(), RECORDS_AT, &records.to_le_bytes());
        Head::from_bytes(&bytes).expect("a head")
    };
    kit.refused(
        "a head of a record more",
        verify(&log, number(5)),
        |error| {
            matches!(
                error,
                ChainError::Truncated {
                    present: 4,
                    expected: 5
                }
            )
        },
    );
    kit.refused(
        "a head of a record less",
        verify(&log, number(3)),
        |error| matches!(error, ChainError::HeadDiffers { records: 3 }),
    );
    let (_, of_another) = written(9, CHAIN_ID);
    kit.refused(
        "the head of another chain",
        verify(&log, of_another),
        |error| matches!(error, ChainError::HeadDiffers { records: 4 }),
    );
    kit.refused(
        "records behind the head",
        verify(&log, Head::EMPTY),
        |error| {
            matches!(
                error,
                ChainError::Extended {
                    present: 4,
                    expected: 0
                }
            )
        },
    );
    let verifier = |seed, chain_id| Verifier::start(&key(seed), chain_id, head);
    kit.refused(
        "another key",
        verify_with(verifier(9, CHAIN_ID), &log),
        broken(0),
    );
    kit.refused(
        "another chain's id",
        verify_with(verifier(7, [9; 32]), &log),
        broken(0),
    );
    let (elsewhere, _) = written(7, [9; 32]);
    let mut spliced = log.clone();
    spliced[2..].copy_from_slice(&elsewhere[2..]);
    kit.refused(
        "the end of another chain",
        verify(&spliced, head),
        broken(2),
    );

    // Whoever takes the key after two records goes on as they like, and rewrites none.
    let mut chain = Chain::start(&key(7), CHAIN_ID);
    for (record, _) in &log[..2] {
        chain.append(record).expect("not full");
    }
    let mut thief = Chain::resume(chain.key(), CHAIN_ID, Head::EMPTY);
    let forged = thief.append(b"eve in").expect("not full");
    let rewritten = [(&b"eve in"[..], forged)];
    kit.refused(
        "the past rewritten with a later key",
        verify(&rewritten, head),
        broken(0),
    );
    let resumed = Verifier::resume(&key(7), CHAIN_ID, chain.head(), head);
    kit.refused(
        "resumed with the first key",
        verify_with(resumed, &log[2..]),
        broken(2),
    );
    let resumed = Verifier::resume(chain.key(), CHAIN_ID, chain.head(), head);
    kit.refused(
        "resumed with the records before",
        verify_with(resumed, &log),
        broken(2),
    );
    let resumed = Verifier::resume(chain.key(), CHAIN_ID, chain.head(), number(2));
    kit.refused(
        "resumed at a head that differs",
        resumed.finish(),
        |error| matches!(error, ChainError::HeadDiffers { records: 2 }),
    );
    let resumed = Verifier::resume(chain.key(), CHAIN_ID, number(3), head);
    kit.refused(
        "resumed at a number that is not the key's",
        verify_with(resumed, &log[3..]),
        broken(3),
    );

    let full = with(&head.to_bytes(), RECORDS_AT, &[0xff; 8]);
    let full = Head::from_bytes(&full).expect("a head");
    let mut chain = Chain::resume(&key(7), CHAIN_ID, full);
    kit.refused(
        "a record for a full chain",
        chain.append(b"one more"),
        |error| matches!(error, ChainFull),
    );
    let mut verifier = Verifier::start(&key(7), CHAIN_ID, head);
    let _ = verifier.check(b"eve in", &log[0].1);
    kit.refused(
        "a good record behind a bad one",
        verifier.check(log[0].0, &log[0].1),
        broken(0),
    );
    kit.refused("the end behind a bad record", verifier.finish(), broken(0));
}
