//! The decoders of `sealmoot-kv`: what a node writes to its log, and the directory's records.

use sealmoot_kv::attest::Attested;
use sealmoot_kv::ballot::{Ballot, Proposer};
use sealmoot_kv::clock::Clock;
use sealmoot_kv::directory::{DirectoryRecord, Member, MemberSet};
use sealmoot_kv::record::{Record, RefillStage};
use sealmoot_kv::register::{Entry, Outcome as Answer, Register, Window};

use crate::{Decoder, Outcome};

/// Every decoder of the crate that others can call.
pub(crate) const FAMILIES: &[&[Decoder]] = &[ALL];

const ALL: &[Decoder] = &[
    Decoder {
        name: "log_record",
        authenticates: false,
        samples: || records().iter().map(Record::encode).collect(),
        check: |bytes| {
            let record = Record::decode(bytes);
            if let Ok(record) = &record {
                assert_eq!(record.encode(), bytes);
            }
            Outcome::of(&record)
        },
    },
    Decoder {
        name: "directory_record",
        authenticates: false,
        samples: || directories().iter().map(DirectoryRecord::encode).collect(),
        check: |bytes| {
            let record = DirectoryRecord::decode(bytes);
            if let Ok(record) = &record {
                assert_eq!(record.encode(), bytes);
            }
            Outcome::of(&record)
        },
    },
];

fn members(nodes: &[u64]) -> MemberSet {
    let member = |node: &u64| Member {
        node: *node,
        incarnation: 7,
    };
    MemberSet::new(nodes.iter().map(member).collect(), 2, 2).expect("a set")
}

fn directories() -> Vec<DirectoryRecord> {
    let first = DirectoryRecord::first(3, members(&[1, 2, 3]));
    let joint = first.begin_change(members(&[2, 3, 4])).expect("a change");
    vec![first, joint]
}

fn records() -> Vec<Record> {
    let ballot = Ballot {
        epoch: 1,
        clock: Clock(2),
        proposer: Proposer { node: 3, start: 4 },
    };
    let mut window = Window::default();
    let outcomes = [
        Answer::Written { revision: 3 },
        Answer::Deleted { revision: 4 },
        Answer::NothingToDelete,
        Answer::Conflict { revision: 5 },
    ];
    for (client, outcome) in (0..).zip(outcomes) {
        assert!(window.record(Entry {
            client: [client; 16],
            sequence: 7,
            outcome,
            deadline: Clock(9),
        }));
    }
    let accepted = |value: Option<&'static [u8]>| Record::Accepted {
        key: b"app/x"[..].into(),
        ballot,
        state: Register {
            value: value.map(Into::into),
            revision: 5,
            window: window.clone(),
        },
    };
    let mut records = vec![
        accepted(Some(b"value")),
        accepted(None),
        Record::Ceiling(Clock(77)),
        Record::Roster(vec![1, 2]),
        Record::Signed(vec![3]),
        Record::Roots(vec![6]),
        Record::Throttle(vec![4]),
        Record::Condemned {
            key: b"app/x"[..].into(),
            ballot,
        },
        Record::Removed {
            key: b"app/x"[..].into(),
            floor: ballot,
            revision_floor: 9,
        },
        Record::Attested {
            node: 5,
            attested: Attested {
                incarnation: 6,
                counter: 7,
                chain: [8; 32],
            },
        },
        Record::Incarnation(6),
        Record::Floors {
            floor: ballot,
            revision_floor: 9,
        },
        Record::Time(5),
        Record::Refill(RefillStage::Unfenced),
        Record::Refill(RefillStage::Filling),
        Record::Refill(RefillStage::Done),
    ];
    let epochs = directories().into_iter().zip([false, true]);
    records.extend(epochs.map(|(directory, retired)| Record::Epoch { directory, retired }));
    records
}
