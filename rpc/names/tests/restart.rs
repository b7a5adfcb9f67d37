//! A service in a directory: what is there after a restart, and when the disk is
//! full.

mod common;

use std::path::Path;
use std::process::Command;

use common::{
    GUEST, OTHER_SIGNER, PUBLISHER, asker, id, key, name, policy, serve_names, signed, unsigned,
};
use sealmoot_rpc::binding::VerifiedRecord;
use sealmoot_rpc::{Code, Execution};
use sealmoot_rpc_names::store::Fault;
use sealmoot_rpc_names::{NameService, OpenError, Policy, Prefix, Readers, Refusal, Rule};

async fn open(directory: &Path) -> NameService {
    let (service, recovery) = NameService::open(directory, policy())
        .await
        .expect("opened");
    assert_eq!(recovery.faults, []);
    service
}

async fn publish(service: &NameService, record: &VerifiedRecord) -> Result<(), Refusal> {
    let taken = service.publish(&id(PUBLISHER), record.bytes()).await;
    taken.map(drop)
}

#[tokio::test]
async fn records_and_floors_are_there_after_a_restart() {
    let directory = tempfile::tempdir().expect("a folder");
    let service = open(directory.path()).await;
    let server = serve_names(&service).await;
    let publisher = asker(&server, PUBLISHER).await;
    let kept = signed("open/a", 7);
    for record in [&signed("open/a", 6), &kept] {
        publisher.publish(record.bytes()).await.expect("taken");
    }
    publisher.publish_until_over("open/b", 9).await;
    drop(server);
    service.stop().await;

    let service = open(directory.path()).await;
    let server = serve_names(&service).await;
    let guest = asker(&server, GUEST).await;
    assert_eq!(guest.resolve("open/a").await.expect("found"), kept.bytes());
    let gone = guest.resolve("open/b").await.expect_err("expired");
    assert_eq!(gone.code(), Code::NotFound);
    let publisher = asker(&server, PUBLISHER).await;
    for older in [signed("open/a", 6), signed("open/b", 8)] {
        let refused = publisher.publish(older.bytes()).await.expect_err("older");
        assert_eq!(refused.code(), Code::Aborted);
    }
    let same = publisher.publish(kept.bytes()).await;
    same.expect("the same is fine");
}

#[tokio::test]
async fn what_was_acknowledged_is_there_though_nobody_stopped_the_service() {
    let directory = tempfile::tempdir().expect("a folder");
    let (first, copy) = (
        directory.path().join("first"),
        directory.path().join("copy"),
    );
    let service = open(&first).await;
    for serial in 1..=20 {
        let record = signed(&format!("open/n{}", serial % 7), serial);
        publish(&service, &record).await.expect("taken");
        // What a crash at this moment would leave.
        std::fs::create_dir_all(&copy).expect("made");
        std::fs::copy(first.join("names.log"), copy.join("names.log")).expect("copied");
        let after = open(&copy).await;
        let found = after.resolve(&id(GUEST), &record.record().name);
        assert_eq!(*found.expect("it was acknowledged"), record);
        after.stop().await;
    }
}

#[tokio::test]
async fn a_second_service_on_the_directory_is_refused_until_the_first_has_stopped() {
    let directory = tempfile::tempdir().expect("a folder");
    let service = open(directory.path()).await;
    let second = NameService::open(directory.path(), policy()).await;
    assert!(matches!(second, Err(OpenError::Locked { .. })));
    service.stop().await;
    let second = open(directory.path()).await;
    publish(&second, &signed("open/a", 1)).await.expect("taken");
    let refused = publish(&service, &signed("open/b", 1)).await;
    assert_eq!(refused, Err(Refusal::Closed));
}

#[tokio::test]
async fn a_damaged_record_is_named_and_the_others_are_served() {
    let directory = tempfile::tempdir().expect("a folder");
    let service = open(directory.path()).await;
    let records = ["open/a", "open/b", "open/c"].map(|called| signed(called, 1));
    for record in &records {
        publish(&service, record).await.expect("taken");
    }
    service.stop().await;
    let log = directory.path().join("names.log");
    let mut bytes = std::fs::read(&log).expect("a log");
    let middle = bytes.len() / 2;
    bytes[middle] ^= 0x10;
    std::fs::write(&log, bytes).expect("written");
    let (service, recovery) = NameService::open(directory.path(), policy())
        .await
        .expect("damage is no failure");
    assert!(matches!(recovery.faults[..], [Fault::Damaged { .. }]));
    assert_eq!(recovery.names, 2);
    assert!(recovery.kept_aside.is_some_and(|aside| aside.exists()));
    let found = |called| service.resolve(&id(GUEST), &name(called)).map(drop);
    assert_eq!(found("open/a"), Ok(()));
    assert_eq!(found("open/b"), Err(Refusal::NotFound));
    assert_eq!(found("open/c"), Ok(()));
}

#[tokio::test]
async fn a_stolen_signers_records_are_gone_with_the_policy_that_believed_it() {
    let directory = tempfile::tempdir().expect("a folder");
    let believing = |signers: &[u8]| {
        let rule = Rule {
            publishers: [id(PUBLISHER)].into(),
            signers: signers.iter().map(|seed| id(*seed)).collect(),
            readers: Readers::Admitted,
            ..Rule::default()
        };
        Policy::new().rule(Prefix::ALL, rule).expect("one rule")
    };
    let both = believing(&[common::SIGNER, OTHER_SIGNER]);
    let (service, _) = NameService::open(directory.path(), both)
        .await
        .expect("opened");
    let honest = signed("a", 5);
    publish(&service, &honest).await.expect("taken");
    // The last serial that there is.
    let stolen = unsigned("a", u64::MAX)
        .sign(&key(OTHER_SIGNER))
        .expect("sound");
    publish(&service, &stolen).await.expect("taken");
    service.stop().await;
    let (service, recovery) = NameService::open(directory.path(), believing(&[common::SIGNER]))
        .await
        .expect("opened");
    assert!(matches!(recovery.faults[..], [Fault::NotBelieved { .. }]));
    let found = service.resolve(&id(GUEST), &name("a")).expect("there");
    assert_eq!(*found, honest);
    publish(&service, &signed("a", 6)).await.expect("taken");
}

/// A file system of its own, with little room.
struct Small(tempfile::TempDir);

impl Small {
    /// None where it cannot be made.
    fn new() -> Option<Self> {
        let directory = tempfile::tempdir().ok()?;
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=64k,mode=0700", "tmpfs"])
            .arg(directory.path())
            .output()
            .ok()?;
        mounted.status.success().then_some(Self(directory))
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(self.0.path()).status();
    }
}

#[tokio::test]
async fn a_full_disk_ends_publishing_and_nothing_that_was_acknowledged_is_lost() {
    let Some(small) = Small::new() else {
        eprintln!(
            "SKIPPED a_full_disk_ends_publishing_and_nothing_that_was_acknowledged_is_lost: \
             no tmpfs can be mounted here"
        );
        return;
    };
    let directory = small.0.path().join("names");
    let service = open(&directory).await;
    let server = serve_names(&service).await;
    let publisher = asker(&server, PUBLISHER).await;
    let mut acknowledged = Vec::new();
    let failure = loop {
        // Each another name, so that there is nothing to tidy up.
        let record = signed(&format!("open/n{}", acknowledged.len()), 1);
        match publisher.publish(record.bytes()).await {
            Ok(()) => acknowledged.push(record),
            Err(status) => break status,
        }
        assert!(acknowledged.len() < 10_000, "the disk is small");
    };
    assert_eq!(failure.code(), Code::Unavailable);
    assert_eq!(failure.execution(), Execution::MaybeExecuted);
    assert!(acknowledged.len() > 100);
    // A record that would find room, if anybody tried.
    std::fs::OpenOptions::new()
        .write(true)
        .open(directory.join("names.log"))
        .and_then(|log| log.set_len(log.metadata()?.len() - 10))
        .expect("shortened");
    for _ in 0..2 {
        let refused = publisher.publish(signed("open/z", 1).bytes()).await;
        let refused = refused.expect_err("the store has failed");
        assert_eq!(refused.code(), Code::Unavailable);
        assert_eq!(refused.execution(), Execution::NotStarted);
    }
    let guest = asker(&server, GUEST).await;
    let last = acknowledged.last().expect("some");
    let found = guest.resolve(last.record().name.as_str()).await;
    assert_eq!(found.expect("reads go on"), last.bytes());
    // Neither what was refused nor what may not have been kept is shown.
    let failed = format!("open/n{}", acknowledged.len());
    for called in ["open/z", &failed] {
        let unknown = guest.resolve(called).await.expect_err("not kept");
        assert_eq!(unknown.code(), Code::NotFound);
    }
    drop(server);
    service.stop().await;

    let (service, recovery) = NameService::open(&directory, policy())
        .await
        .expect("opened");
    assert!(!recovery.is_damaged(), "{recovery:?}");
    for record in &acknowledged {
        let found = service.resolve(&id(GUEST), &record.record().name);
        assert_eq!(*found.expect("it was acknowledged"), *record);
    }
}
