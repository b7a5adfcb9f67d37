//! The service over real TLS: what it does, and what it refuses to whom.

mod common;

use common::{
    Asker, GUEST, NAMES_MAX, OTHER_SIGNER, PATIENCE, PUBLISHER, READER, asker, id, key, name,
    policy, serve_names, sign, signed, unsigned, until,
};
use sealmoot_rpc::binding::unix_ms;
use sealmoot_rpc::bytes::Bytes;
use sealmoot_rpc::{Code, Execution, ReplyStream, ServerHandle, Status};
use sealmoot_rpc_names::NameService;
use sealmoot_rpc_names::limits::{LIST_PAGE_MAX, WATCHES_PER_PEER_MAX};
use sealmoot_rpc_names::proto::WatchReply;

struct World {
    service: NameService,
    _server: ServerHandle,
    publisher: Asker,
    reader: Asker,
    guest: Asker,
}

async fn world() -> World {
    let service = NameService::in_memory(policy());
    let server = serve_names(&service).await;
    World {
        publisher: asker(&server, PUBLISHER).await,
        reader: asker(&server, READER).await,
        guest: asker(&server, GUEST).await,
        service,
        _server: server,
    }
}

/// Nothing was done, and so.
fn assert_refused<T>(outcome: Result<T, Status>, code: Code) -> Status {
    let status = outcome.map(drop).expect_err("refused");
    assert_eq!(status.code(), code, "{status}");
    assert_eq!(status.execution(), Execution::NotStarted, "{status}");
    status
}

async fn watched(watch: &mut ReplyStream<WatchReply>) -> Bytes {
    let next = tokio::time::timeout(PATIENCE, watch.next()).await;
    let reply = next.expect("in time").expect("watching");
    reply.expect("it does not end").record
}

#[tokio::test]
async fn what_is_published_is_resolved_byte_by_byte() {
    let world = world().await;
    let record = signed("open/a", 1);
    world
        .publisher
        .publish(record.bytes())
        .await
        .expect("taken");
    let found = world.guest.resolve("open/a").await.expect("found");
    assert_eq!(found, record.bytes());
}

#[tokio::test]
async fn the_same_record_twice_is_fine() {
    let world = world().await;
    let record = signed("open/a", 1);
    for _ in 0..2 {
        world
            .publisher
            .publish(record.bytes())
            .await
            .expect("taken");
    }
}

#[tokio::test]
async fn a_name_without_a_record_is_not_found() {
    let world = world().await;
    let status = world.guest.resolve("open/a").await.expect_err("not there");
    assert_eq!(status.code(), Code::NotFound);
}

#[tokio::test]
async fn whoever_may_not_publish_is_refused_whatever_the_record() {
    let world = world().await;
    for who in [&world.guest, &world.reader] {
        let refused = who.publish(signed("open/a", 1).bytes()).await;
        assert_refused(refused, Code::PermissionDenied);
    }
    // Nor the publisher where no rule says so.
    let refused = world.publisher.publish(signed("other", 1).bytes()).await;
    assert_refused(refused, Code::PermissionDenied);
    assert_eq!(world.guest.names("", "").await, [""; 0]);
}

#[tokio::test]
async fn a_signer_that_is_not_believed_for_the_name_is_refused() {
    let world = world().await;
    let theirs = unsigned("open/a", 1)
        .sign(&key(OTHER_SIGNER))
        .expect("sound");
    let refused = world.publisher.publish(theirs.bytes()).await;
    assert_refused(refused, Code::PermissionDenied);
    let found = world.guest.resolve("open/a").await;
    assert_eq!(found.expect_err("not there").code(), Code::NotFound);
}

#[tokio::test]
async fn a_record_changed_on_its_way_is_refused_wherever_it_was_changed() {
    let world = world().await;
    let record = signed("open/a", 1);
    for position in 0..record.bytes().len() {
        let mut changed = record.bytes().to_vec();
        changed[position] ^= 1;
        let refused = world.publisher.publish(&changed).await;
        let status = refused.expect_err("changed");
        let codes = [Code::InvalidArgument, Code::PermissionDenied];
        assert!(codes.contains(&status.code()), "byte {position}: {status}");
    }
    for rubbish in [&[][..], &[1; 64], &[1; 100_000]] {
        let refused = world.publisher.publish(rubbish).await;
        assert_refused(refused, Code::InvalidArgument);
    }
    assert_eq!(world.guest.names("", "").await, [""; 0]);
}

#[tokio::test]
async fn serials_go_up_only() {
    let world = world().await;
    let newest = signed("open/a", 5);
    world
        .publisher
        .publish(newest.bytes())
        .await
        .expect("taken");
    let older = world.publisher.publish(signed("open/a", 4).bytes()).await;
    assert_refused(older, Code::Aborted);
    let mut other = unsigned("open/a", 5);
    other.ttl_seconds += 1;
    let reused = world.publisher.publish(sign(other).bytes()).await;
    assert_refused(reused, Code::AlreadyExists);
    let found = world.guest.resolve("open/a").await.expect("found");
    assert_eq!(found, newest.bytes());
}

#[tokio::test]
async fn an_expired_record_is_refused() {
    let world = world().await;
    let mut expired = unsigned("open/a", 1);
    expired.valid_until_ms = unix_ms();
    let refused = world.publisher.publish(sign(expired).bytes()).await;
    assert_refused(refused, Code::FailedPrecondition);
}

#[tokio::test]
async fn a_name_ends_with_its_record_and_its_serial_stays() {
    let world = world().await;
    world.publisher.publish_until_over("open/a", 5).await;
    let gone = world.guest.resolve("open/a").await.expect_err("expired");
    assert_eq!(gone.code(), Code::NotFound);
    assert_eq!(world.guest.names("", "").await, [""; 0]);
    let older = world.publisher.publish(signed("open/a", 4).bytes()).await;
    assert_refused(older, Code::Aborted);
}

#[tokio::test]
async fn whoever_may_not_read_cannot_tell_whether_there_is_anything() {
    let world = world().await;
    let record = signed("closed/a", 1);
    world
        .publisher
        .publish(record.bytes())
        .await
        .expect("taken");
    let found = world.reader.resolve("closed/a").await.expect("found");
    assert_eq!(found, record.bytes());
    let there = assert_refused(
        world.guest.resolve("closed/a").await,
        Code::PermissionDenied,
    );
    let nowhere = assert_refused(
        world.guest.resolve("closed/b").await,
        Code::PermissionDenied,
    );
    assert_eq!(there, nowhere);
    let ruleless = assert_refused(world.guest.resolve("other").await, Code::PermissionDenied);
    assert_eq!(there, ruleless);
    for called in ["closed/a", "closed/b", "other"] {
        let mut watch = world.guest.watch(called).await.expect("begun");
        let refused = assert_refused(watch.next().await, Code::PermissionDenied);
        assert_eq!(there, refused);
    }
    assert_eq!(world.guest.names("", "").await, [""; 0]);
    assert_eq!(world.guest.names("closed", "").await, [""; 0]);
    assert_eq!(world.reader.names("closed", "").await, ["closed/a"]);
    // Nor does the right to publish let anybody read.
    let refused = world.publisher.resolve("closed/a").await;
    assert_refused(refused, Code::PermissionDenied);
}

#[tokio::test]
async fn what_is_no_name_is_refused() {
    let world = world().await;
    for bad in ["", "A", "a/", "/a", &"a".repeat(1000)] {
        assert_refused(world.guest.resolve(bad).await, Code::InvalidArgument);
        let mut watch = world.guest.watch(bad).await.expect("begun");
        assert_refused(watch.next().await, Code::InvalidArgument);
        if !bad.is_empty() {
            assert_refused(world.guest.list(bad, "").await, Code::InvalidArgument);
            assert_refused(world.guest.list("", bad).await, Code::InvalidArgument);
        }
    }
}

#[tokio::test]
async fn a_listing_tells_names_serials_and_ends() {
    let world = world().await;
    let records: Vec<_> = ["open/a", "open/a/b", "open/ab", "open/c"]
        .into_iter()
        .zip(1..)
        .map(|(called, serial)| signed(called, serial))
        .collect();
    for record in &records {
        world
            .publisher
            .publish(record.bytes())
            .await
            .expect("taken");
    }
    let listed = world.guest.list("open", "").await.expect("listed");
    assert_eq!(listed.len(), records.len());
    for (listed, record) in listed.iter().zip(&records) {
        let record = record.record();
        assert_eq!(listed.name, record.name.as_str());
        assert_eq!(listed.serial, record.serial);
        assert_eq!(listed.valid_until_ms, record.valid_until_ms);
    }
    let under = world.guest.names("open/a", "").await;
    assert_eq!(under, ["open/a", "open/a/b"]);
    let behind = world.guest.names("open", "open/a/b").await;
    assert_eq!(behind, ["open/ab", "open/c"]);
}

#[tokio::test]
async fn a_long_listing_comes_in_pages() {
    let world = world().await;
    let count = LIST_PAGE_MAX + 5;
    for index in 0..count {
        let record = signed(&format!("open/n{index:05}"), 1);
        let taken = world.service.publish(&id(PUBLISHER), record.bytes()).await;
        taken.map(drop).expect("taken");
    }
    let first = world.guest.names("open", "").await;
    assert_eq!(first.len(), LIST_PAGE_MAX);
    let last = first.last().expect("a name");
    let rest = world.guest.names("open", last).await;
    assert_eq!(rest.len(), 5);
    assert!(rest[0] > *last);
}

#[tokio::test]
async fn watches_hold_no_drain_up_and_begin_anew_at_the_next_server() {
    let mut world = world().await;
    let mut watch = world.guest.watch("open/a").await.expect("begun");
    until(|| world.service.watches() == 1).await;
    let next = serve_names(&world.service).await;
    let server = std::mem::replace(&mut world._server, next);
    let begun = std::time::Instant::now();
    server.drain(PATIENCE * 10).await;
    assert!(begun.elapsed() < PATIENCE * 5, "the watch held it up");
    let status = watch.next().await.expect_err("over");
    assert_eq!(status.code(), Code::Unavailable, "{status}");
    let guest = asker(&world._server, GUEST).await;
    let mut watch = guest.watch("open/a").await.expect("begun");
    until(|| world.service.watches() == 1).await;
    let record = signed("open/a", 1);
    let publisher = asker(&world._server, PUBLISHER).await;
    publisher.publish(record.bytes()).await.expect("taken");
    assert_eq!(watched(&mut watch).await, record.bytes());
}

#[tokio::test]
async fn a_watch_begins_with_what_is_there_and_goes_on_with_what_is_newer() {
    let world = world().await;
    let mut early = world.guest.watch("open/a").await.expect("begun");
    until(|| world.service.watches() == 1).await;
    let records = [1, 2].map(|serial| signed("open/a", serial));
    let [first, second] = records.each_ref();
    world.publisher.publish(first.bytes()).await.expect("taken");
    assert_eq!(watched(&mut early).await, first.bytes());
    let mut late = world.guest.watch("open/a").await.expect("begun");
    assert_eq!(watched(&mut late).await, first.bytes());
    // What is of another name, refused, or nothing new, is not told.
    for other in [signed("open/b", 9), signed("open/a", 0)] {
        let _ = world.publisher.publish(other.bytes()).await;
    }
    world.publisher.publish(first.bytes()).await.expect("taken");
    world
        .publisher
        .publish(second.bytes())
        .await
        .expect("taken");
    for watch in [&mut early, &mut late] {
        assert_eq!(watched(watch).await, second.bytes());
    }
}

#[tokio::test]
async fn a_watcher_that_does_not_read_gets_the_newest() {
    let world = world().await;
    let mut watch = world
        .service
        .watch(&id(GUEST), &name("open/a"))
        .expect("room");
    for serial in 1..=50 {
        let record = signed("open/a", serial);
        world
            .publisher
            .publish(record.bytes())
            .await
            .expect("taken");
    }
    let newest = tokio::time::timeout(PATIENCE, watch.next()).await;
    assert_eq!(newest.expect("in time").record().serial, 50);
}

#[tokio::test]
async fn a_watch_ends_with_whoever_watches() {
    let world = world().await;
    let watch = world.guest.watch("open/a").await.expect("begun");
    until(|| world.service.watches() == 1).await;
    drop(watch);
    until(|| world.service.watches() == 0).await;
}

#[tokio::test]
async fn one_peer_cannot_have_all_the_watches() {
    let world = world().await;
    let mut held = Vec::new();
    for index in 0..WATCHES_PER_PEER_MAX {
        let called = format!("open/n{index}");
        held.push(world.guest.watch(&called).await.expect("begun"));
    }
    until(|| world.service.watches() == WATCHES_PER_PEER_MAX).await;
    let mut further = world.guest.watch("open/a").await.expect("begun");
    assert_refused(further.next().await, Code::ResourceExhausted);
    let _other = world.reader.watch("open/a").await.expect("begun");
    until(|| world.service.watches() == WATCHES_PER_PEER_MAX + 1).await;
}

#[tokio::test]
async fn publishes_that_come_together_are_all_answered_and_the_newest_stays() {
    let world = world().await;
    let mut publishes = tokio::task::JoinSet::new();
    for serial in 1..=100 {
        let publisher = world.publisher.clone();
        let record = signed(&format!("open/n{}", serial % 10), serial);
        publishes.spawn(async move { publisher.publish(record.bytes()).await });
    }
    let mut taken = 0;
    while let Some(outcome) = publishes.join_next().await {
        match outcome.expect("no panic") {
            Ok(()) => taken += 1,
            Err(status) => assert_eq!(status.code(), Code::Aborted, "{status}"),
        }
    }
    assert!(taken >= 10, "{taken}");
    let listed = world.guest.list("open", "").await.expect("listed");
    let serials: Vec<_> = listed.iter().map(|it| it.serial).collect();
    assert_eq!(serials, [100, 91, 92, 93, 94, 95, 96, 97, 98, 99]);
}

#[tokio::test]
async fn one_prefix_cannot_fill_the_service() {
    let world = world().await;
    for index in 0..NAMES_MAX {
        let record = signed(&format!("open/n{index}"), 1);
        let taken = world.service.publish(&id(PUBLISHER), record.bytes()).await;
        taken.map(drop).expect("taken");
    }
    let refused = world.publisher.publish(signed("open/z", 1).bytes()).await;
    assert_refused(refused, Code::ResourceExhausted);
    for other in [signed("closed/a", 1), signed("open/n0", 2)] {
        world
            .publisher
            .publish(other.bytes())
            .await
            .expect("there is room");
    }
}
