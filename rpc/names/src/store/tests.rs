use std::collections::BTreeMap;
use std::fs;
use std::ops::Range;

use sealmoot_rpc::binding::{Name, RecordError};
use sealmoot_rpc::limits::binding::RECORD_BYTES_MAX;

use super::frame::{HEADER_BYTES, Stretch, read, write};
use super::recovery::recover;
use super::*;
use crate::book::PublishError;
use crate::policy::{Prefix, Rule};
use crate::testing::{FOREVER_MS, NOW_MS, id, key, name, open_policy, signed, unsigned};

/// What was published, in order: several names, some of them twice, one expired.
fn history() -> Vec<Arc<VerifiedRecord>> {
    vec![
        signed("a", 1, FOREVER_MS),
        signed("b", 1, FOREVER_MS),
        signed("a", 2, FOREVER_MS),
        signed("c/d", 7, NOW_MS),
        signed("e", 1, FOREVER_MS),
    ]
}

fn log_of(records: &[Arc<VerifiedRecord>]) -> Vec<u8> {
    let mut log = Vec::new();
    for record in records {
        write(record.bytes(), &mut log);
    }
    log
}

/// Where each frame of a log lies.
fn frames(log: &[u8]) -> Vec<Range<usize>> {
    let extent = |stretch: Stretch<'_>| match stretch {
        Stretch::Record { offset, bytes } => offset..offset + HEADER_BYTES + bytes.len(),
        other => panic!("not a frame: {other:?}"),
    };
    read(log).into_iter().map(extent).collect()
}

/// The newest of each name, which is what a log of these must read back to.
fn newest(records: &[Arc<VerifiedRecord>]) -> BTreeMap<Name, Arc<VerifiedRecord>> {
    let mut newest = BTreeMap::new();
    for record in records {
        newest.insert(record.record().name.clone(), Arc::clone(record));
    }
    newest
}

fn held(book: &Book) -> BTreeMap<Name, Arc<VerifiedRecord>> {
    newest(&book.records().cloned().collect::<Vec<_>>())
}

fn recovered(log: &[u8]) -> (BTreeMap<Name, Arc<VerifiedRecord>>, Vec<Fault>) {
    let (book, recovery) = recover(log, &open_policy());
    assert_eq!(recovery.names, book.len());
    (held(&book), recovery.faults)
}

#[test]
fn what_is_written_is_read_back() {
    let history = history();
    assert_eq!(recovered(&log_of(&history)), (newest(&history), Vec::new()));
    assert_eq!(recovered(&[]), (BTreeMap::new(), Vec::new()));
}

#[test]
fn a_log_cut_anywhere_reads_back_to_the_records_before_the_cut() {
    let history = history();
    let log = log_of(&history);
    let frames = frames(&log);
    for cut in 0..=log.len() {
        let whole = frames.iter().take_while(|frame| frame.end <= cut).count();
        let (records, faults) = recovered(&log[..cut]);
        assert_eq!(records, newest(&history[..whole]), "cut at {cut}");
        let offset = whole.checked_sub(1).map_or(0, |last| frames[last].end);
        let torn = Fault::Torn {
            offset,
            length: cut - offset,
        };
        let expected = if offset == cut { vec![] } else { vec![torn] };
        assert_eq!(faults, expected, "cut at {cut}");
    }
}

#[test]
fn a_tail_of_zeros_is_torn() {
    let history = history();
    for zeros in [1, HEADER_BYTES - 1, HEADER_BYTES, 4096] {
        let mut log = log_of(&history);
        let offset = log.len();
        log.resize(offset + zeros, 0);
        let torn = Fault::Torn {
            offset,
            length: zeros,
        };
        assert_eq!(recovered(&log), (newest(&history), vec![torn]));
    }
    // A header that came through, and zeros for its record.
    let mut log = log_of(&history);
    let last = frames(&log).pop().expect("a frame");
    log[last.start + HEADER_BYTES..].fill(0);
    let torn = Fault::Torn {
        offset: last.start,
        length: last.len(),
    };
    let before = newest(&history[..history.len() - 1]);
    assert_eq!(recovered(&log), (before, vec![torn]));
}

#[test]
fn a_flipped_byte_anywhere_costs_one_record_and_is_named() {
    let history = history();
    let log = log_of(&history);
    let frames = frames(&log);
    for (index, frame) in frames.iter().enumerate() {
        let mut others = history.clone();
        others.remove(index);
        for position in frame.clone() {
            for mask in [0x01, 0x80, 0xff] {
                let mut damaged = log.clone();
                damaged[position] ^= mask;
                let (records, faults) = recovered(&damaged);
                let which = format!("byte {position} with {mask:#04x}");
                assert_eq!(records, newest(&others), "{which}");
                let fault = Fault::Damaged {
                    offset: frame.start,
                    length: frame.len(),
                };
                assert_eq!(faults, [fault], "{which}");
            }
        }
    }
}

#[test]
fn damage_of_any_length_spares_the_frames_beside_it() {
    let history = history();
    let log = log_of(&history);
    let frames = frames(&log);
    let mut damaged = log.clone();
    damaged[frames[1].start..frames[2].end].fill(0xa5);
    let fault = Fault::Damaged {
        offset: frames[1].start,
        length: frames[1].len() + frames[2].len(),
    };
    let left = [&history[..1], &history[3..]].concat();
    assert_eq!(recovered(&damaged), (newest(&left), vec![fault]));
    // Taken out, and put in.
    let mut shorter = log.clone();
    shorter.drain(frames[1].start + 5..frames[1].end - 5);
    assert_eq!(
        recovered(&shorter).0,
        newest(&[&history[..1], &history[2..]].concat())
    );
    let mut longer = log.clone();
    longer.splice(frames[1].start..frames[1].start, [7; 1000]);
    assert_eq!(recovered(&longer).0, newest(&history));
}

#[test]
fn a_frame_that_reaches_beyond_the_log_is_damage_where_whole_frames_follow() {
    let history = history();
    let mut log = log_of(&history);
    let begun = log.len();
    write(long("z", 1).bytes(), &mut log);
    // Most of the long record is gone, and what follows is shorter.
    log.truncate(begun + 100);
    let behind = log.len();
    write(signed("y", 1, FOREVER_MS).bytes(), &mut log);
    let mut all = history.clone();
    all.push(signed("y", 1, FOREVER_MS));
    let fault = Fault::Damaged {
        offset: begun,
        length: behind - begun,
    };
    assert_eq!(recovered(&log), (newest(&all), vec![fault]));
}

#[test]
fn rubbish_is_no_record_and_no_panic() {
    let mut random = Random(0x5eed);
    for length in 0..600 {
        let byte = |_| u8::try_from(random.below(256)).expect("a byte");
        let rubbish: Vec<u8> = (0..length).map(byte).collect();
        let (records, _) = recovered(&rubbish);
        assert!(records.is_empty());
        let mut framed = Vec::new();
        write(&rubbish, &mut framed);
        let (records, faults) = recovered(&framed);
        assert!(records.is_empty());
        assert!(
            matches!(faults[..], [Fault::NotBelieved { offset: 0, .. }]),
            "{length}: {faults:?}"
        );
    }
}

#[test]
fn a_length_above_any_record_is_damage_and_reserves_nothing() {
    let mut log = log_of(&history()[..1]);
    let length = u32::try_from(RECORD_BYTES_MAX + 1).expect("short");
    log[4..8].copy_from_slice(&length.to_le_bytes());
    log[8..12].copy_from_slice(&(!length).to_le_bytes());
    let damaged = Fault::Damaged {
        offset: 0,
        length: log.len(),
    };
    assert_eq!(recovered(&log), (BTreeMap::new(), vec![damaged]));
}

#[test]
fn a_record_that_was_not_signed_is_not_believed_though_its_checksum_is_right() {
    let history = history();
    let honest = history[0].bytes();
    for position in 0..honest.len() {
        let mut forged = honest.to_vec();
        forged[position] ^= 1;
        let mut log = Vec::new();
        write(&forged, &mut log);
        write(history[1].bytes(), &mut log);
        let (records, faults) = recovered(&log);
        assert_eq!(records, newest(&history[1..2]), "byte {position}");
        assert!(
            matches!(faults[..], [Fault::NotBelieved { offset: 0, .. }]),
            "byte {position}: {faults:?}"
        );
    }
}

#[test]
fn a_signer_that_the_policy_no_longer_believes_is_not_read_back() {
    let theirs = unsigned("a", 9, FOREVER_MS).sign(&key(2)).expect("sound");
    let history = [signed("a", 1, FOREVER_MS), Arc::new(theirs)];
    let (records, faults) = recovered(&log_of(&history));
    assert_eq!(records, newest(&history[..1]));
    let error = RecordError::UnknownSigner(id(2));
    let offset = HEADER_BYTES + history[0].bytes().len();
    assert_eq!(faults, [Fault::NotBelieved { offset, error }]);
}

#[test]
fn what_a_newer_record_has_replaced_is_not_verified() {
    let theirs = unsigned("a", 1, FOREVER_MS).sign(&key(2)).expect("sound");
    let history = [Arc::new(theirs), signed("a", 2, FOREVER_MS)];
    let (records, faults) = recovered(&log_of(&history));
    assert_eq!(records, newest(&history[1..]));
    assert_eq!(faults, []);
}

#[test]
fn faults_are_told_in_the_order_of_the_log() {
    let mut log = log_of(&history());
    let frames = frames(&log);
    for index in [0, 2] {
        log[frames[index].start] ^= 1;
    }
    log.truncate(log.len() - 1);
    let damaged = |index: usize| Fault::Damaged {
        offset: frames[index].start,
        length: frames[index].len(),
    };
    let torn = Fault::Torn {
        offset: frames[4].start,
        length: frames[4].len() - 1,
    };
    assert_eq!(recovered(&log).1, [damaged(0), damaged(2), torn]);
}

/// A directory of its own, which has not been made yet.
struct Folder(tempfile::TempDir);

impl Folder {
    fn new() -> Self {
        Self(tempfile::tempdir().expect("a folder"))
    }

    fn path(&self) -> PathBuf {
        self.0.path().join("names")
    }

    fn open(&self) -> (Store, Book, Recovery) {
        Store::open(&self.path(), &open_policy()).expect("opened")
    }

    fn log(&self) -> PathBuf {
        self.path().join("names.log")
    }

    fn bytes(&self) -> Vec<u8> {
        fs::read(self.log()).expect("a log")
    }

    fn put(&self, log: &[u8]) {
        fs::write(self.log(), log).expect("written");
    }

    fn files(&self) -> Vec<String> {
        let mut files: Vec<_> = fs::read_dir(self.path())
            .expect("a folder")
            .map(|file| file.expect("a file").file_name())
            .map(|file| file.to_string_lossy().into_owned())
            .collect();
        files.sort();
        files
    }
}

#[test]
fn what_was_appended_is_there_after_a_restart() {
    let folder = Folder::new();
    let history = history();
    let (mut store, book, recovery) = folder.open();
    assert!(book.is_empty() && recovery == Recovery::default());
    store.append(&history[..3]).expect("appended");
    store.append(&history[3..]).expect("appended");
    drop(store);
    assert_eq!(folder.bytes(), log_of(&history));
    let (_store, book, recovery) = folder.open();
    assert_eq!(held(&book), newest(&history));
    assert_eq!(recovery.faults, []);
}

#[test]
fn a_serial_stays_a_floor_over_a_restart_though_its_record_has_expired() {
    let folder = Folder::new();
    let (mut store, ..) = folder.open();
    store.append(&history()).expect("appended");
    drop(store);
    let (_store, mut book, _) = folder.open();
    let expired = name("c/d");
    assert_eq!(book.current(&expired, NOW_MS), None);
    let quota = open_policy().quota(&expired).expect("a rule");
    let older = book.publish(NOW_MS, signed("c/d", 6, FOREVER_MS), &quota);
    assert_eq!(older, Err(PublishError::OlderSerial { found: 6, floor: 7 }));
    let reused = book.publish(NOW_MS, signed("c/d", 7, FOREVER_MS), &quota);
    assert_eq!(reused, Err(PublishError::SerialReused { serial: 7 }));
}

#[test]
fn a_torn_tail_is_cut_off_and_what_follows_is_sound() {
    let history = history();
    let log = log_of(&history);
    let last = frames(&log).pop().expect("a frame");
    for cut in [last.start + 1, last.start + HEADER_BYTES, last.end - 1] {
        let folder = Folder::new();
        drop(folder.open());
        folder.put(&log[..cut]);
        let (mut store, book, recovery) = folder.open();
        assert_eq!(held(&book), newest(&history[..4]));
        assert!(!recovery.is_damaged());
        assert_eq!(recovery.faults.len(), 1);
        assert_eq!(folder.files(), ["names.log"]);
        store.append(&history[4..]).expect("appended");
        drop(store);
        assert_eq!(folder.bytes(), log, "nothing is left of what was torn");
    }
}

#[test]
fn a_damaged_log_is_kept_aside_and_the_sound_records_go_on() {
    let folder = Folder::new();
    drop(folder.open());
    let history = history();
    let mut damaged = log_of(&history);
    damaged[HEADER_BYTES + 60] ^= 1;
    folder.put(&damaged);
    let (mut store, book, recovery) = folder.open();
    assert!(recovery.is_damaged());
    let aside = recovery.kept_aside.expect("kept aside");
    assert_eq!(fs::read(aside).expect("there"), damaged);
    assert_eq!(held(&book), newest(&history[1..]));
    let next = signed("f", 1, FOREVER_MS);
    store.append(std::slice::from_ref(&next)).expect("appended");
    drop(store);
    let (_store, book, recovery) = folder.open();
    assert!(!recovery.is_damaged(), "reported once");
    assert_eq!(recovery.kept_aside, None);
    let all = [&history[1..], &[next]].concat();
    assert_eq!(held(&book), newest(&all));
    assert_eq!(folder.files(), ["names.log", "names.log.damaged-1"]);
}

#[test]
fn damaged_logs_are_not_kept_without_end() {
    let folder = Folder::new();
    for _ in 0..crate::limits::ASIDE_FILES_MAX {
        drop(folder.open());
        folder.put(b"rubbish that is no log");
    }
    drop(folder.open());
    folder.put(b"rubbish that is no log");
    let refused = Store::open(&folder.path(), &open_policy());
    assert!(matches!(refused, Err(OpenError::TooManyAside { .. })));
    assert_eq!(folder.bytes(), b"rubbish that is no log", "left as it was");
}

#[test]
fn a_log_that_is_mostly_out_of_date_is_rewritten() {
    let folder = Folder::new();
    let (mut store, mut book, _) = folder.open();
    let mut serial = 0;
    while !store.is_untidy(&book) {
        serial += 1;
        let record = signed("a", serial, FOREVER_MS);
        book.restore(Arc::clone(&record)).map(drop).expect("newer");
        store.append(&[record]).expect("appended");
    }
    assert!(folder.bytes().len() > LOG_REWRITE_BYTES_MIN);
    store.tidy(&book).expect("rewritten");
    let live: Vec<_> = book.records().cloned().collect();
    assert_eq!(folder.bytes(), log_of(&live));
    assert_eq!(folder.files(), ["names.log"]);
    assert!(!store.is_untidy(&book));
    // It is the new file that is appended to.
    let next = signed("b", 1, FOREVER_MS);
    store.append(std::slice::from_ref(&next)).expect("appended");
    assert_eq!(folder.bytes(), log_of(&[&live[..], &[next]].concat()));
}

#[test]
fn a_log_that_is_needed_is_not_rewritten_however_long() {
    let mut book = Book::new();
    let mut length = 0;
    while length <= LOG_REWRITE_BYTES_MIN {
        let record = signed(&format!("n{}", book.len()), 1, FOREVER_MS);
        length += HEADER_BYTES + record.bytes().len();
        book.restore(record).map(drop).expect("new");
    }
    assert!(!is_overgrown(length, &book));
    assert!(!is_overgrown(2 * length, &book));
    assert!(is_overgrown(2 * length + 1, &book));
}

#[test]
fn what_a_crash_left_of_a_rewrite_does_no_harm() {
    let folder = Folder::new();
    let history = history();
    let (mut store, ..) = folder.open();
    store.append(&history).expect("appended");
    drop(store);
    fs::write(folder.path().join("names.log.fresh"), b"half a log").expect("written");
    let (mut store, book, recovery) = folder.open();
    assert_eq!(recovery.faults, []);
    assert_eq!(held(&book), newest(&history));
    match &mut store {
        Store::Directory(log) => log.rewrite(book.records()).expect("rewritten"),
        Store::Memory => panic!("not in a directory"),
    }
    assert_eq!(folder.files(), ["names.log"]);
}

#[test]
fn a_second_store_on_the_same_directory_is_refused() {
    let folder = Folder::new();
    let first = folder.open();
    let refused = Store::open(&folder.path(), &open_policy());
    assert!(matches!(refused, Err(OpenError::Locked { .. })));
    drop(first);
    assert!(Store::open(&folder.path(), &open_policy()).is_ok());
}

#[cfg(unix)]
#[test]
fn nobody_else_may_read_or_write_there() {
    use std::os::unix::fs::PermissionsExt;

    let folder = Folder::new();
    drop(folder.open());
    let mode = |path: PathBuf| {
        let metadata = fs::metadata(path).expect("there");
        metadata.permissions().mode() & 0o777
    };
    assert_eq!(mode(folder.path()), 0o700);
    assert_eq!(mode(folder.log()), 0o600);
}

#[cfg(unix)]
#[test]
fn what_is_no_file_is_not_opened() {
    let folder = Folder::new();
    drop(folder.open());
    fs::remove_file(folder.log()).expect("removed");
    std::os::unix::fs::symlink("/dev/zero", folder.log()).expect("linked");
    let refused = Store::open(&folder.path(), &open_policy());
    assert!(matches!(refused, Err(OpenError::NotAFile { .. })));
}

#[test]
fn a_log_longer_than_any_is_not_read() {
    let folder = Folder::new();
    drop(folder.open());
    let file = fs::OpenOptions::new()
        .write(true)
        .open(folder.log())
        .expect("opened");
    // Sparse: read whole, it would fill the memory of most machines.
    file.set_len(1 << 40).expect("lengthened");
    let refused = Store::open(&folder.path(), &open_policy());
    assert!(matches!(refused, Err(OpenError::TooLong { length, .. }) if length == 1 << 40));
}

#[test]
fn without_a_rule_nothing_is_read_back_and_nothing_is_lost() {
    let folder = Folder::new();
    let history = history();
    let (mut store, ..) = folder.open();
    store.append(&history).expect("appended");
    drop(store);
    let nobody = Policy::new()
        .rule(Prefix::ALL, Rule::default())
        .expect("one rule");
    let (_store, book, recovery) = Store::open(&folder.path(), &nobody).expect("opened");
    assert!(book.is_empty() && recovery.is_damaged());
    let aside = recovery.kept_aside.expect("kept aside");
    assert_eq!(fs::read(aside).expect("there"), log_of(&history));
}

/// Xorshift (Marsaglia, "Xorshift RNGs", 2003).
struct Random(u64);

impl Random {
    fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % end
    }
}

/// Long enough that a few of them make a log worth rewriting.
fn long(called: &str, serial: u64) -> Arc<VerifiedRecord> {
    let mut record = unsigned(called, serial, FOREVER_MS);
    let endpoint = record.endpoints.pop().expect("one");
    record.endpoints = (1..=32)
        .map(|port| sealmoot_rpc::binding::Endpoint {
            address: format!("{}.store.example:{port}", "a".repeat(60)),
            ..endpoint.clone()
        })
        .collect();
    Arc::new(record.sign(&key(1)).expect("sound"))
}

#[test]
fn through_crashes_and_rewrites_it_holds_what_a_plain_map_holds() {
    for seed in 1..=2 {
        let mut random = Random(seed);
        let folder = Folder::new();
        let mut map = BTreeMap::new();
        let mut rewrites = 0;
        let (mut store, mut book, _) = folder.open();
        for serial in 1..=200 {
            let record = long(&format!("n{}", random.below(5)), serial);
            book.restore(Arc::clone(&record)).map(drop).expect("newer");
            store.append(std::slice::from_ref(&record)).expect("kept");
            map.insert(record.record().name.clone(), record);
            if store.is_untidy(&book) {
                store.tidy(&book).expect("rewritten");
                rewrites += 1;
            }
            if random.below(10) > 0 {
                continue;
            }
            drop(store);
            // A write that did not come to its end, of any length.
            let mut log = folder.bytes();
            let sound = log.len();
            write(long("n0", 1000).bytes(), &mut log);
            let frame = log.len() - sound;
            let torn = usize::try_from(random.below(frame as u64)).expect("short");
            folder.put(&log[..sound + torn]);
            let recovery;
            (store, book, recovery) = folder.open();
            assert!(!recovery.is_damaged(), "seed {seed}: {recovery:?}");
            assert_eq!(held(&book), map, "seed {seed}, serial {serial}");
        }
        assert!(rewrites > 3, "seed {seed}: {rewrites}");
        assert_eq!(folder.files(), ["names.log"], "seed {seed}");
    }
}
