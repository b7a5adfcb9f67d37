use std::prelude::v1::*;

use super::*;
use crate::testing::hex;

const ID: [u8; 32] = [7; 32];
const RECORDS: [&[u8]; 5] = [b"alice in", b"", b"bob in", b"alice out", b"bob out"];

fn first_key() -> SecretArray<32> {
    SecretArray::from_bytes([1; 32])
}

type Log = Vec<(Vec<u8>, Link)>;

fn written(records: &[&[u8]]) -> (Log, Chain) {
    let mut chain = Chain::start(&first_key(), ID);
    let log = records
        .iter()
        .map(|record| (record.to_vec(), chain.append(record).expect("room")))
        .collect();
    (log, chain)
}

fn verified(log: &Log, expected: Head) -> Result<(), ChainError> {
    walked(Verifier::start(&first_key(), ID, expected), log)
}

fn walked(mut verifier: Verifier, log: &Log) -> Result<(), ChainError> {
    for (record, link) in log {
        verifier.check(record, link)?;
    }
    verifier.finish()
}

// Computed by an independent implementation (Python's hmac and hashlib).
#[test]
fn the_links_are_what_they_were() {
    let (log, chain) = written(&RECORDS);
    assert_eq!(
        hex(log[0].1.as_bytes()),
        "ee94e6683c8f0969bb45c21020f609ee42fd42e3d95eb9cd0c145baf65558da1"
    );
    assert_eq!(
        hex(log[4].1.as_bytes()),
        "4d1ee50bf7eba94638499c5a8e1de852b129083f39ffdb0c02df6786761e0a09"
    );
    assert_eq!(
        hex(chain.key().expose()),
        "be4c2ca63848f1ab0e0a4e8415e4beb2a7fcae91fd0587e699f73956777db797"
    );
}

#[test]
fn a_chain_verifies_up_to_its_head_from_its_start_and_from_every_point() {
    let (log, chain) = written(&RECORDS);
    assert_eq!(verified(&log, chain.head()), Ok(()));
    assert_eq!(verified(&Vec::new(), Head::EMPTY), Ok(()));
    for at in 0..=RECORDS.len() {
        let (_, early) = written(&RECORDS[..at]);
        let verifier = Verifier::resume(early.key(), ID, early.head(), chain.head());
        assert_eq!(walked(verifier, &log[at..].to_vec()), Ok(()));
    }
}

#[test]
fn every_bit_of_every_record_and_link_breaks_the_chain_at_its_index() {
    let (log, chain) = written(&RECORDS);
    for at in 0..log.len() {
        let broken = Err(ChainError::Broken { index: at as u64 });
        for bit in 0..log[at].0.len() * 8 {
            let mut changed = log.clone();
            changed[at].0[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(verified(&changed, chain.head()), broken);
        }
        for bit in 0..256 {
            let mut changed = log.clone();
            changed[at].1.0[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(verified(&changed, chain.head()), broken);
        }
    }
}

#[test]
fn a_record_dropped_doubled_moved_or_put_in_breaks_the_chain_there() {
    let (log, chain) = written(&RECORDS);
    let broken = |index| Err(ChainError::Broken { index });
    for at in 0..log.len() {
        let mut doubled = log.clone();
        doubled.insert(at, log[at].clone());
        assert_eq!(verified(&doubled, chain.head()), broken(at as u64 + 1));
        let mut foreign = log.clone();
        foreign.insert(at, (b"forged".to_vec(), Link([3; 32])));
        assert_eq!(verified(&foreign, chain.head()), broken(at as u64));
        if at + 1 < log.len() {
            let mut dropped = log.clone();
            dropped.remove(at);
            assert_eq!(verified(&dropped, chain.head()), broken(at as u64));
            let mut swapped = log.clone();
            swapped.swap(at, at + 1);
            assert_eq!(verified(&swapped, chain.head()), broken(at as u64));
        }
    }
}

#[test]
fn a_cut_tail_shows_against_a_head_kept_elsewhere_only() {
    let (log, chain) = written(&RECORDS);
    for present in 0..log.len() {
        let cut = log[..present].to_vec();
        assert_eq!(
            verified(&cut, chain.head()),
            Err(ChainError::Truncated {
                present: present as u64,
                expected: 5
            })
        );
        // Without that head nothing is wrong with it.
        let (_, early) = written(&RECORDS[..present]);
        assert_eq!(verified(&cut, early.head()), Ok(()));
    }
}

#[test]
fn a_chain_that_goes_on_after_its_head_says_so() {
    let (log, _) = written(&RECORDS);
    for expected in 0..log.len() {
        let (_, early) = written(&RECORDS[..expected]);
        assert_eq!(
            verified(&log, early.head()),
            Err(ChainError::Extended {
                present: 5,
                expected: expected as u64
            })
        );
    }
}

#[test]
fn a_chain_rewritten_with_the_key_differs_from_the_head() {
    let (_, chain) = written(&RECORDS);
    let mut rewritten = RECORDS;
    rewritten[1] = b"nothing happened";
    let (log, _) = written(&rewritten);
    let differs = Err(ChainError::HeadDiffers { records: 5 });
    assert_eq!(verified(&log, chain.head()), differs);
    // Longer or not: the head must lie on the way.
    let (longer, _) = written(&[&rewritten[..], &[b"more"]].concat());
    assert_eq!(verified(&longer, chain.head()), differs);
    // So it does when the walk begins where the head stands.
    let verifier = Verifier::resume(chain.key(), ID, chain.head(), longer_head());
    assert_eq!(
        verifier.finish(),
        Err(ChainError::HeadDiffers { records: 5 })
    );
}

fn longer_head() -> Head {
    Head {
        records: 5,
        link: Link([9; 32]),
    }
}

#[test]
fn nothing_is_accepted_behind_a_break() {
    let (log, chain) = written(&RECORDS);
    let mut verifier = Verifier::start(&first_key(), ID, chain.head());
    let broken = Err(ChainError::Broken { index: 0 });
    assert_eq!(verifier.check(b"forged", &log[0].1), broken);
    assert_eq!(verifier.check(&log[0].0, &log[0].1), broken);
    assert_eq!(verifier.head(), Head::EMPTY);
    assert_eq!(verifier.finish(), broken);
}

#[test]
fn key_and_chain_id_bind() {
    let (log, chain) = written(&RECORDS);
    let broken = Err(ChainError::Broken { index: 0 });
    let other_key = SecretArray::from_bytes([2; 32]);
    let verifier = Verifier::start(&other_key, ID, chain.head());
    assert_eq!(walked(verifier, &log), broken);
    let verifier = Verifier::start(&first_key(), [8; 32], chain.head());
    assert_eq!(walked(verifier, &log), broken);
}

#[test]
fn a_stolen_key_makes_no_link_of_the_past() {
    let (log, chain) = written(&RECORDS);
    let (_, early) = written(&RECORDS[..2]);
    // The thief knows every link, and the key after the last record.
    let mut forger = Chain::resume(chain.key(), ID, early.head());
    let mut forged = log.clone();
    forged[2] = (b"forged".to_vec(), forger.append(b"forged").expect("room"));
    assert_eq!(
        verified(&forged, chain.head()),
        Err(ChainError::Broken { index: 2 })
    );
    for earlier in 0..RECORDS.len() {
        let (_, at) = written(&RECORDS[..earlier]);
        assert!(!at.key().same_as(chain.key()));
    }
}

#[test]
fn records_appended_again_after_a_crash_get_the_same_links() {
    let (log, chain) = written(&RECORDS);
    let (_, stored) = written(&RECORDS[..2]);
    let mut resumed = Chain::resume(stored.key(), ID, stored.head());
    for (record, link) in &log[2..] {
        assert_eq!(resumed.append(record), Ok(*link));
    }
    assert_eq!(resumed.head(), chain.head());
}

#[test]
fn a_full_chain_appends_no_more() {
    let head = Head {
        records: u64::MAX,
        link: Link([1; 32]),
    };
    let mut chain = Chain::resume(&first_key(), ID, head);
    assert_eq!(chain.append(b"x"), Err(ChainFull));
    assert_eq!(chain.head(), head);
    let mut verifier = Verifier::resume(&first_key(), ID, head, head);
    assert_eq!(
        verifier.check(b"x", &Link([1; 32])),
        Err(ChainError::Broken { index: u64::MAX })
    );
}

#[test]
fn a_head_has_one_encoding() {
    let (_, chain) = written(&RECORDS);
    let bytes = chain.head().to_bytes();
    assert_eq!(bytes.len(), Head::LENGTH);
    assert_eq!(Head::from_bytes(&bytes), Ok(chain.head()));
    for length in 0..bytes.len() {
        assert!(matches!(
            Head::from_bytes(&bytes[..length]),
            Err(EncodingError::EndsEarly { .. })
        ));
    }
    assert_eq!(
        Head::from_bytes(&[bytes.as_slice(), &[0]].concat()),
        Err(EncodingError::TrailingBytes { count: 1 })
    );
    for bit in 0..bytes.len() * 8 {
        let mut flipped = bytes.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        match Head::from_bytes(&flipped) {
            Ok(head) => assert_ne!(head, chain.head(), "bit {bit}"),
            Err(error) => assert!(bit < 16, "bit {bit}: {error}"),
        }
    }
}

#[test]
fn an_empty_head_has_no_link() {
    let mut bytes = Head::EMPTY.to_bytes();
    bytes[41] = 1;
    assert!(matches!(
        Head::from_bytes(&bytes),
        Err(EncodingError::Invalid(_))
    ));
}

#[test]
fn debug_shows_no_key() {
    let (_, chain) = written(&RECORDS);
    let verifier = Verifier::start(&first_key(), ID, chain.head());
    assert_eq!(
        format!("{chain:?} {verifier:?}"),
        "Chain(5 records, redacted) Verifier(0 records, redacted)"
    );
}

#[test]
fn a_walk_that_begins_behind_the_expected_head_says_so() {
    let (log, chain) = written(&RECORDS);
    let key = SecretArray::from_bytes(*chain.key().expose());
    // A head of another chain altogether.
    let mut other = Chain::start(&SecretArray::from_bytes([2; 32]), [8; 32]);
    other.append(b"else").expect("room");
    let verifier = Verifier::resume(&key, ID, chain.head(), other.head());
    let refused = ChainError::HeadBeforeStart {
        verified: log.len() as u64,
        expected: 1,
    };
    assert_eq!(verifier.finish(), Err(refused));
}
