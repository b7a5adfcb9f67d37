//! Whatever was written: what checkpoints and the rest of the log hold is what the whole log
//! would have said.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use sealmoot_authn::roots::Roots;
use sealmoot_crypto::secret::SecretArray;
use sealmoot_crypto::signature::SigningKey;

use super::keeper::write;
use super::{Changes, Keeper, Kept, load};
use crate::attest::Attested;
use crate::ballot::{Ballot, Proposer};
use crate::clock::Clock;
use crate::directory::{DirectoryRecord, Member, MemberSet};
use crate::disk::{Disk, MemoryDisk};
use crate::log::{Log, LogKey, LogOptions, SEGMENT_BYTES_MIN};
use crate::record::Record;
use crate::register::Register;
use crate::replica::Replay;
use crate::storage::{StorageKeys, StorageOptions, Tree};

const ROOT: [u8; 32] = [5; 32];

fn roots() -> Roots {
    Roots::sole(SigningKey::from_seed(&SecretArray::from_bytes([1; 32])).verifying_key())
}

fn tree(disk: &MemoryDisk) -> Tree<MemoryDisk> {
    let keys = StorageKeys::from_root(SecretArray::from_bytes(ROOT));
    let options = StorageOptions::default().with_block_bytes(256);
    Tree::open(disk.clone(), keys, &options.expect("a size")).expect("opened")
}

fn log_key() -> LogKey {
    LogKey::from_root(&SecretArray::from_bytes(ROOT))
}

fn log_options() -> LogOptions {
    let options = LogOptions::default().without_helper();
    options
        .with_segment_bytes(SEGMENT_BYTES_MIN)
        .expect("a size")
}

fn ballot(clock: u64) -> Ballot {
    Ballot {
        epoch: 1,
        clock: Clock(clock),
        proposer: Proposer { node: 1, start: 2 },
    }
}

/// Random choices that a seed repeats (SplitMix64: Steele, Lea, Flood, OOPSLA 2014).
struct Choices(u64);

impl Choices {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % bound
    }
}

/// Some record that a node may write, of few keys, so that they meet.
fn record(
    choices: &mut Choices,
    at: u64,
    epoch: &mut u64,
    newest: &mut BTreeMap<u64, u64>,
) -> Record {
    let of = choices.below(12);
    let key = Bytes::from(format!("key {of}"));
    match choices.below(40) {
        0 => {
            newest.clear();
            Record::Incarnation(at)
        }
        1 | 2 => {
            *epoch += 1;
            let retired = choices.below(3) == 0;
            if retired {
                newest.clear();
            }
            let member = |node| Member {
                node,
                incarnation: 7,
            };
            let members = MemberSet::new(vec![member(1), member(2)], 2, 1).expect("a set");
            let mut directory = DirectoryRecord::first(3, members.clone());
            while directory.epoch() < *epoch {
                directory = DirectoryRecord::first(directory.epoch() + 1, members.clone());
            }
            Record::Epoch { directory, retired }
        }
        3 => Record::Floors {
            floor: ballot(choices.below(at + 1)),
            revision_floor: choices.below(at + 1),
        },
        4 => Record::Ceiling(Clock(at * 2)),
        5 => Record::Time(choices.below(at + 1)),
        6 => Record::Attested {
            node: choices.below(3),
            attested: Attested {
                incarnation: 1,
                counter: at,
                chain: [3; 32],
            },
        },
        7..10 => Record::Removed {
            key,
            floor: ballot(newest.remove(&of).unwrap_or(at)),
            revision_floor: choices.below(at + 1),
        },
        10..15 => Record::Condemned {
            key,
            // Also of what is not held any more.
            ballot: ballot(newest.get(&of).copied().unwrap_or(at) - choices.below(2)),
        },
        _ => {
            newest.insert(of, at);
            let value = vec![at as u8; choices.below(90) as usize];
            Record::Accepted {
                key,
                ballot: ballot(at),
                state: Register {
                    value: (choices.below(4) > 0).then(|| value.into()),
                    revision: at,
                    ..Register::default()
                },
            }
        }
    }
}

/// What a replay and the rest of a node know.
#[derive(Debug, Default)]
struct Known {
    replay: Replay,
    attested: BTreeMap<u64, Attested>,
    time_ms: u64,
}

impl Known {
    /// All of it, but the highest clock of what was wiped: the clock of the machine, the
    /// ceiling and the floors are what keeps ballots apart.
    fn said(&self) -> String {
        let said = format!("{self:?}");
        let (before, behind) = said.split_once("highest: ").expect("a field");
        let (_, behind) = behind.split_once(", floor").expect("the next one");
        format!("{before}{behind}")
    }

    fn take(&mut self, record: Record) {
        match record {
            Record::Attested { node, attested } => drop(self.attested.insert(node, attested)),
            Record::Time(time_ms) => self.time_ms = self.time_ms.max(time_ms),
            record => self.replay.record(record),
        }
    }
}

/// What a node knows that starts from this disk.
fn start(disk: &MemoryDisk) -> (Known, Tree<MemoryDisk>, Changes, Log<MemoryDisk>) {
    let mut known = Known::default();
    let mut tree = tree(disk);
    let mut changes = Changes::new(roots());
    load(&tree.view(), &mut changes, &mut |record| {
        known.take(record);
        Ok::<(), std::convert::Infallible>(())
    })
    .expect("loaded");
    let log = Log::open_behind(
        disk.clone(),
        log_key(),
        log_options(),
        tree.base(),
        &mut |number, bytes| {
            if number > tree.flushed() {
                let record = Record::decode(bytes)?;
                changes.note(number, &record, &Bytes::copy_from_slice(bytes));
                known.take(record);
            }
            Ok::<(), sealmoot_crypto::encoding::EncodingError>(())
        },
    )
    .expect("opened");
    tree.settle(log.position().records).expect("settled");
    (known, tree, changes, log)
}

#[test]
fn a_start_from_checkpoints_knows_what_the_whole_log_says() {
    for seed in 0..60 {
        let choices = &mut Choices(seed);
        let disk = MemoryDisk::new();
        let log = Log::create(disk.clone(), log_key(), 1, log_options()).expect("made");
        let mut first = tree(&disk);
        first.settle(0).expect("settled");
        drop((log, first));
        let (_, mut tree, mut changes, mut log) = start(&disk);
        let mut whole = Known::default();
        let (mut epoch, mut newest) = (2, BTreeMap::new());
        for at in 1..=600 {
            match choices.below(24) {
                0 => {
                    let frozen = changes.freeze(log.position().records);
                    write(&mut tree, log.segments(), &frozen).expect("written");
                }
                1 => tree.tend(1 << 16).expect("merged"),
                2 => tree.merge_all().expect("merged"),
                3..6 => {
                    drop((tree, log));
                    let known;
                    (known, tree, changes, log) = start(&disk);
                    assert_eq!(known.said(), whole.said(), "seed {seed}, record {at}");
                }
                _ => {}
            }
            let record = record(choices, at, &mut epoch, &mut newest);
            let bytes = Bytes::from(record.encode());
            let _durable = log.commit(&[&bytes]).expect("committed");
            changes.note(at, &record, &bytes);
            whole.take(record);
        }
    }
}

/// No scrub comes in between.
const NEVER: Duration = Duration::from_secs(3600);

#[test]
fn the_log_gives_its_space_back() {
    let disk = MemoryDisk::new();
    let mut log = Log::create(disk.clone(), log_key(), 1, log_options()).expect("made");
    let mut runs = tree(&disk);
    runs.settle(0).expect("settled");
    let mut changes = Changes::new(roots());
    let (reports, reported) = std::sync::mpsc::channel();
    let keeper = Keeper::spawn(runs, log.segments().clone(), NEVER, move |report| {
        drop(reports.send(report.map_err(|error| error.to_string())));
    });
    let keeper = keeper.expect("started");
    for at in 1..=2_000 {
        let record = Record::Accepted {
            key: Bytes::from(format!("key {}", at % 10)),
            ballot: ballot(at),
            state: Register {
                value: Some(vec![7; 500].into()),
                revision: at,
                ..Register::default()
            },
        };
        let bytes = Bytes::from(record.encode());
        let _durable = log.commit(&[&bytes]).expect("committed");
        changes.note(at, &record, &bytes);
        if at % 100 == 0 {
            keeper.keep(changes.freeze(at));
            let report = reported.recv().expect("reported").expect("written");
            assert!(
                matches!(report, Kept::Through(through) if through == at),
                "{report:?}"
            );
        }
    }
    drop(keeper);
    let names = disk.names().expect("named");
    let segments = names.iter().filter(|name| name.starts_with("log-")).count();
    // A million bytes went through it.
    assert!(segments <= 3, "{names:?}");
    drop(log);
    let (known, ..) = start(&disk);
    assert_eq!(known.replay.finish(1, 2_000).len(), 10);
}

#[test]
fn a_checkpoint_that_is_not_written_is_reported() {
    let disk = MemoryDisk::new();
    let log = Log::create(disk.clone(), log_key(), 1, log_options()).expect("made");
    let mut runs = tree(&disk);
    runs.settle(0).expect("settled");
    let mut changes = Changes::new(roots());
    let record = Record::Time(9);
    changes.note(1, &record, &record.encode().into());
    let (reports, reported) = std::sync::mpsc::channel();
    let segments = log.segments().clone();
    let keeper = Keeper::spawn(runs, segments, NEVER, move |report| {
        drop(reports.send(report));
    });
    let keeper = keeper.expect("started");
    disk.fail_at(disk.effects() + 3, std::io::ErrorKind::StorageFull);
    keeper.keep(changes.freeze(1));
    assert!(reported.recv().expect("reported").is_err());
    // It writes no more.
    assert!(reported.recv().is_err());
}

#[test]
fn a_scrub_reads_every_run_and_writes_damaged_manifests_again() {
    let disk = MemoryDisk::new();
    let mut log = Log::create(disk.clone(), log_key(), 1, log_options()).expect("made");
    let mut runs = tree(&disk);
    runs.settle(0).expect("settled");
    let mut changes = Changes::new(roots());
    let record = Record::Roster(vec![5; 300]);
    let _durable = log.commit(&[record.encode()]).expect("committed");
    changes.note(1, &record, &record.encode().into());
    let (reports, reported) = std::sync::mpsc::channel();
    let every = Duration::from_millis(1);
    let keeper = Keeper::spawn(runs, log.segments().clone(), every, move |report| {
        drop(reports.send(report));
    });
    let keeper = keeper.expect("started");
    keeper.keep(changes.freeze(1));
    let report = reported.recv().expect("reported").expect("written");
    assert!(matches!(report, Kept::Through(1)), "{report:?}");
    // It goes on when both copies of the manifest are damaged or gone.
    for name in ["manifest-a", "manifest-b"] {
        disk.flip(name, 40, 1);
    }
    let names = disk.names().expect("named");
    let run = names.iter().find(|name| name.starts_with("run-"));
    let run = run.expect("there is one").clone();
    let whole = disk.bytes(&run).expect("there");
    for place in 0..whole.len() {
        disk.flip(&run, place, 0x20);
        // A scrub may have begun before.
        let found = reported.recv().expect("reported").expect("it goes on");
        assert!(
            matches!(&found, Kept::Damaged(damage) if damage.to_string().contains(&run)),
            "byte {place}: {found:?}"
        );
        disk.set_bytes(&run, whole.clone());
        // What was found until then.
        while reported.recv_timeout(Duration::from_millis(8)).is_ok() {}
    }
    drop(keeper);
    drop(log);
    // Also the manifests are whole again.
    let (known, ..) = start(&disk);
    assert!(known.replay.finish(1, 1).is_empty());
}
