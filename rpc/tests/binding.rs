//! Calling by name: real servers, records that somebody signed or did not, and
//! endpoints that go away.

#[path = "binding/world.rs"]
mod world;

use std::any::Any;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use sealmoot_rpc::binding::balance::{BalancePolicy, Choice};
use sealmoot_rpc::binding::{
    BindError, Endpoint, EndpointFault, Fingerprint, NameRecord, RecordError, ResolveError, Served,
    Way,
};
use sealmoot_rpc::bytes::Bytes;
use sealmoot_rpc::channel::AllowedUsers;
use sealmoot_rpc::health::HealthStatus;
use sealmoot_rpc::limits::binding::{DIAL_MAX, DIAL_PATIENCE};
use sealmoot_rpc::{
    Authorizer, CallOptions, Candidate, Code, Execution, Guard, Idempotency, Refusal, RetryPolicy,
    Retrying, Status,
};
use tokio::net::{TcpListener, UnixListener};
use world::{
    ACT, BUSY_FIRST, COUNT, Dropping, HANG_FIRST, Instance, PATIENCE, SERVICE, World, address,
    eventually, options,
};

const PLAIN: Guard = Guard::Method(Idempotency::Unknown);
const IDEMPOTENT: Guard = Guard::Method(Idempotency::Idempotent);

/// That a call is not sent, and why. Where connecting took all of its time, only
/// the deadline is told: then it is given more.
async fn assert_refused(caller: &Retrying, guard: Guard, told: &str) {
    for seconds in [2, 4, 8, 16, 30] {
        let patience = CallOptions::new(Duration::from_secs(seconds));
        let status = caller.call(ACT, guard, &b"secret"[..], &patience).await;
        let status = status.expect_err("nobody to call");
        assert_eq!(status.execution(), Execution::NotSent, "{status}");
        if status.message().contains(told) {
            return;
        }
    }
    panic!("it was never said that {told}");
}

#[tokio::test]
async fn calls_are_spread_over_the_endpoints_of_a_name() {
    let world = World::new();
    let servers = [Instance::start().await, Instance::start().await];
    world.publish(world.record(1, &servers));
    let caller = world.bind().await.expect("bound");
    for _ in 0..100 {
        let called = caller.call(COUNT, PLAIN, &b""[..], &options()).await;
        called.expect("a reply");
    }
    let counts = servers.each_ref().map(Instance::calls);
    assert_eq!(counts.iter().sum::<usize>(), 100);
    // Each with probability below 2^-90 of being an accident: two fair choices
    // between idle endpoints.
    assert!(counts.iter().all(|count| *count >= 5), "{counts:?}");
    assert_eq!(world.asked(), 1, "the record is held");
}

#[tokio::test]
async fn another_key_at_the_address_is_sent_no_byte_of_a_call() {
    let world = World::new();
    let (meant, impostor) = (Instance::start().await, Instance::start().await);
    let mut record = world.record(1, [&meant]);
    record.endpoints[0].address = impostor.address();
    world.publish(record);
    let faults = world.faults().await;
    let [(address, fault)] = &faults[..] else {
        panic!("{faults:?}");
    };
    assert_eq!(*address, impostor.address());
    assert!(
        matches!(&**fault, EndpointFault::OtherKey { expected, found }
            if *expected == meant.key_id() && *found == impostor.key_id()),
        "{fault}"
    );
    let caller = world.bind_lazily();
    assert_refused(&caller, IDEMPOTENT, "the key there is").await;
    // Not even who calls, which our hello says.
    assert_eq!((impostor.hellos(), impostor.calls()), (0, 0));
}

#[tokio::test]
async fn a_record_by_nobody_trusted_leads_to_no_connection() {
    let world = World::new();
    let server = Instance::start().await;
    let record = world.record(1, [&server]);
    for (bytes, refused) in world.refused_forms(&record) {
        world.publish_bytes(bytes);
        let error = world.bind().await.expect_err("not to be believed");
        let BindError::Name(ResolveError::Record(error)) = error else {
            panic!("{error}");
        };
        assert!(refused(&error), "{error}");
    }
    assert_eq!((server.hellos(), server.calls()), (0, 0));
    // The control: the same record as it was signed.
    world.publish(record);
    world.bind().await.expect("bound");
}

#[tokio::test]
async fn a_record_of_another_schema_leads_to_no_connection() {
    let world = World::new();
    let server = Instance::start().await;
    let mut record = world.record(1, [&server]);
    record.services[0].fingerprint = Fingerprint::from_bytes([9; 32]);
    world.publish(record.clone());
    let error = world.bind().await.expect_err("another schema");
    assert!(
        matches!(&error, BindError::Name(ResolveError::Record(
            RecordError::OtherFingerprint { service, .. })) if service == SERVICE.name),
        "{error}"
    );
    record.serial = 2;
    record.services = vec![Served {
        service: "other.v1.Other".to_owned(),
        fingerprint: SERVICE.fingerprint,
    }];
    world.publish(record);
    let error = world.bind().await.expect_err("no such service");
    assert!(
        matches!(
            &error,
            BindError::Name(ResolveError::Record(RecordError::ServiceMissing { .. }))
        ),
        "{error}"
    );
    assert_eq!((server.hellos(), server.calls()), (0, 0));
}

#[tokio::test]
async fn a_server_with_another_schema_than_its_record_says_is_not_called() {
    let world = World::new();
    let server = Instance::of_another_schema().await;
    world.publish(world.record(1, [&server]));
    let faults = world.faults().await;
    assert!(
        matches!(&faults[..], [(_, fault)] if matches!(&**fault, EndpointFault::Schema(_))),
        "{faults:?}"
    );
    assert_eq!(server.calls(), 0);
}

#[tokio::test]
async fn a_server_that_does_not_tell_what_it_serves_is_not_called() {
    let world = World::new();
    let server = Instance::without_reflection().await;
    world.publish(world.record(1, [&server]));
    let faults = world.faults().await;
    assert!(
        matches!(&faults[..], [(_, fault)] if matches!(&**fault, EndpointFault::Reflection(_))),
        "{faults:?}"
    );
    assert_eq!(server.calls(), 0);
}

#[tokio::test]
async fn an_older_record_does_not_replace_a_newer_one() {
    let world = World::new();
    let (old, new) = (Instance::start().await, Instance::start().await);
    let mut second = world.record(2, [&new]);
    second.ttl_seconds = 1;
    world.publish(second);
    let caller = world.bind().await.expect("bound");
    world.publish(world.record(1, [&old]));
    // Longer than the time to live: the old one is offered meanwhile.
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    for _ in 0..5 {
        let called = caller.call(COUNT, PLAIN, &b""[..], &options()).await;
        called.expect("a reply");
    }
    eventually("the source is asked again", || world.asked() >= 2).await;
    assert_eq!((old.hellos(), old.calls(), new.calls()), (0, 0, 5));
}

#[tokio::test]
async fn a_server_that_is_killed_is_not_noticed() {
    let world = World::new();
    let mut servers = vec![Instance::start().await, Instance::start().await];
    world.publish(world.record(1, &servers));
    let caller = world.bind().await.expect("bound");
    for round in 0..100 {
        if round == 20 {
            drop(servers.pop());
        }
        let called = caller.call(ACT, IDEMPOTENT, &b""[..], &options()).await;
        called.expect("the other one answers");
    }
}

#[tokio::test]
async fn a_server_that_moved_is_found_before_the_record_grows_old() {
    let world = World::new();
    let server = Instance::start().await;
    world.publish(world.record(1, [&server]));
    let caller = world.bind().await.expect("bound");
    let server = server.moved().await;
    // The record in hand counts for an hour.
    world.publish(world.record(2, [&server]));
    let called = caller.call(ACT, IDEMPOTENT, &b""[..], &options()).await;
    called.expect("the new place answers");
    assert_eq!(server.calls(), 1);
}

#[tokio::test]
async fn a_name_that_is_given_away_is_followed_by_those_that_stay_connected() {
    let world = World::new();
    let (before, after) = (Instance::start().await, Instance::start().await);
    let mut record = world.record(1, [&before]);
    record.ttl_seconds = 1;
    world.publish(record);
    let caller = world.bind().await.expect("bound");
    world.publish(world.record(2, [&after]));
    eventually_calls(&caller, || after.calls() > 0).await;
    // Nothing holds the old connection any more.
    eventually("the old place is left", || before.is_left()).await;
}

#[tokio::test]
async fn a_drain_fails_no_call_and_the_server_is_found_again() {
    let world = World::new();
    let (stays, goes) = (Instance::start().await, Instance::start().await);
    world.publish(world.record(1, [&stays, &goes]));
    let caller = world.bind().await.expect("bound");
    let stop = Arc::new(AtomicBool::new(false));
    let calling: Vec<_> = (0..4)
        .map(|_| {
            let (caller, stop) = (caller.clone(), Arc::clone(&stop));
            tokio::spawn(async move {
                while !stop.load(Ordering::SeqCst) {
                    // Not idempotent: sent again only if it certainly did not start.
                    caller.call(COUNT, PLAIN, &b""[..], &options()).await?;
                }
                Ok::<_, Status>(())
            })
        })
        .collect();
    // That it is not ejected meanwhile is seen where standings are:
    // `calls_that_a_drain_turns_away_are_not_held_against_the_server`.
    eventually("it is called", || goes.calls() > 0).await;
    let goes = goes.restarted_in_order().await;
    let before = goes.calls();
    eventually("it is called again", || goes.calls() > before).await;
    stop.store(true, Ordering::SeqCst);
    for calling in calling {
        calling.await.expect("no panic").expect("no call failed");
    }
}

#[tokio::test]
async fn a_server_that_says_it_is_not_ready_is_left_alone_until_it_is() {
    let world = World::new();
    let servers = [Instance::start().await, Instance::start().await];
    world.publish(world.record(1, &servers));
    let caller = world.bind().await.expect("bound");
    let [well, unwell] = &servers;
    eventually_calls(&caller, || well.calls() > 0 && unwell.calls() > 0).await;
    unwell.health(HealthStatus::NotServing);
    // Until it is heard: then no call goes there, so many that chance is no excuse.
    let quiet = async {
        loop {
            let before = unwell.calls();
            for _ in 0..40 {
                let called = caller.call(COUNT, PLAIN, &b""[..], &options()).await;
                called.expect("a reply");
            }
            if unwell.calls() == before {
                break;
            }
        }
    };
    tokio::time::timeout(PATIENCE, quiet).await.expect("heard");
    let before = unwell.calls();
    unwell.health(HealthStatus::Serving);
    eventually_calls(&caller, || unwell.calls() > before).await;
    // With nobody ready, calls go to those that answer.
    for server in &servers {
        server.health(HealthStatus::NotServing);
    }
    for _ in 0..20 {
        let called = caller.call(COUNT, PLAIN, &b""[..], &options()).await;
        called.expect("a reply");
    }
}

#[tokio::test]
async fn an_endpoint_that_never_answers_costs_a_call_less_than_connecting_may_take() {
    let world = World::new();
    let server = Instance::start().await;
    // Takes connections into its backlog and says nothing.
    let silent = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let mut record = world.record(1, [&server]);
    let mut mute = record.endpoints[0].clone();
    mute.address = address(&silent);
    record.endpoints.push(mute);
    world.publish(record);
    // Either endpoint may be drawn first, so that with probability 2^-16 no call
    // goes to the silent one. Connecting is given up after two seconds; each call
    // has less, by the wall clock.
    let callers: Vec<_> = (0..16)
        .map(|_| {
            let caller = world
                .binder()
                .bind_lazily(&World::name(), &[&world::SERVICE]);
            let soon = CallOptions::new(DIAL_MAX - DIAL_MAX / 10);
            tokio::spawn(async move { caller.call(COUNT, PLAIN, &b""[..], &soon).await })
        })
        .collect();
    for called in callers {
        let called = called.await.expect("no panic");
        called.expect("the other one answers");
    }
    assert_eq!(server.calls(), 16);
}

#[tokio::test]
async fn a_dead_endpoint_is_dialled_ever_less_often_while_another_answers() {
    let server = Instance::start().await;
    let at = |record: &NameRecord, place: &Dropping| Endpoint {
        address: place.address(),
        ..record.endpoints[0].clone()
    };
    // Beside one that answers. A call begins to connect to it.
    let world = World::new();
    let beside = Dropping::start().await;
    let mut record = world.record(1, [&server]);
    record.endpoints.push(at(&record, &beside));
    world.publish(record);
    let caller = world.bind().await.expect("bound");
    eventually_calls(&caller, || beside.dialled() > 0).await;
    // The control is alone. It tells how long to look, in dials: a slow machine
    // makes both slow.
    let lonely = World::new();
    let alone = Dropping::start().await;
    let mut record = lonely.record(1, [&server]);
    record.endpoints = vec![at(&record, &alone)];
    lonely.publish(record);
    let lonely = lonely.bind_lazily();
    let soon = CallOptions::new(Duration::from_millis(1));
    let called = lonely.call(COUNT, PLAIN, &b""[..], &soon).await;
    called.expect_err("nobody answers");
    let (before, until) = (beside.dialled(), alone.dialled() + 25);
    eventually("the lonely one is dialled", || alone.dialled() >= until).await;
    let dialled = beside.dialled() - before;
    // Pauses of at least 10, 20, 40 ms ... against at most 200 ms.
    assert!(dialled <= 10, "{dialled} times, and 25 if it were the last");
    let called = caller.call(COUNT, PLAIN, &b""[..], &options()).await;
    called.expect("the other one answers");
}

/// Admits nobody, or everybody, and says who it is.
struct Further {
    admits: bool,
}

impl Authorizer for Further {
    fn present(&self) -> Bytes {
        Bytes::from_static(b"a statement")
    }

    fn authorize(&self, _: &Candidate<'_>) -> Result<Arc<dyn Any + Send + Sync>, Refusal> {
        match self.admits {
            true => Ok(Arc::new(())),
            false => Err(Refusal::new(Code::PermissionDenied, "not this one")),
        }
    }
}

#[tokio::test]
async fn a_further_authorizer_decides_beside_the_record_and_its_statements_are_shown() {
    let world = World::new();
    let server = Instance::start().await;
    world.publish(world.record(1, [&server]));
    let by = |admits| world.binder().authorized_by(Arc::new(Further { admits }));
    let caller = by(false).bind_lazily(&World::name(), &[&world::SERVICE]);
    assert_refused(&caller, PLAIN, "not this one").await;
    assert_eq!((server.hellos(), server.calls()), (0, 0));
    let caller = world.bind_by(&by(true)).await.expect("bound");
    let called = caller.call(ACT, PLAIN, &b""[..], &options()).await;
    called.expect("a reply");
    assert_eq!(server.presented(), "a statement");
    // Without one nothing is shown.
    world.bind().await.expect("bound");
    assert_eq!(server.presented(), "");
}

#[tokio::test]
async fn a_further_authorizer_does_not_admit_another_key_than_the_records() {
    let world = World::new();
    let (meant, impostor) = (Instance::start().await, Instance::start().await);
    let mut record = world.record(1, [&meant]);
    record.endpoints[0].address = impostor.address();
    world.publish(record);
    let binder = world
        .binder()
        .authorized_by(Arc::new(Further { admits: true }));
    let caller = binder.bind_lazily(&World::name(), &[&world::SERVICE]);
    assert_refused(&caller, PLAIN, "the key there is").await;
    assert_eq!((impostor.hellos(), impostor.calls()), (0, 0));
}

#[tokio::test]
async fn a_socket_of_another_user_than_those_allowed_is_not_called() {
    let world = World::new();
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("socket");
    let socket = UnixListener::bind(&path).expect("a socket");
    let noise = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let server = Instance::everywhere(noise, socket, AllowedUsers::own()).await;
    let mut record = world.record(1, [&server]);
    record.endpoints[0].way = Way::Unix;
    record.endpoints[0].address = path.display().to_string();
    world.publish(record);
    let nobody = world.binder().at_sockets_of(AllowedUsers::these([]));
    let caller = nobody.bind_lazily(&World::name(), &[&world::SERVICE]);
    assert_refused(&caller, PLAIN, "which is not allowed").await;
    assert_eq!((server.hellos(), server.calls()), (0, 0));
    let own = world.binder().at_sockets_of(AllowedUsers::own());
    let caller = world.bind_by(&own).await.expect("bound");
    let called = caller.call(ACT, PLAIN, &b""[..], &options()).await;
    called.expect("a reply");
}

#[tokio::test]
async fn with_the_choice_per_client_all_calls_go_to_one_endpoint_until_it_is_gone() {
    let world = World::new();
    let mut servers = vec![Instance::start().await, Instance::start().await];
    world.publish(world.record(1, &servers));
    let policy = BalancePolicy {
        choice: Choice::PerClient,
        ..BalancePolicy::default()
    };
    let binder = world.binder().balanced(policy);
    let caller = world.bind_by(&binder).await.expect("bound");
    for _ in 0..40 {
        let called = caller.call(ACT, IDEMPOTENT, &b""[..], &options()).await;
        called.expect("a reply");
    }
    // With probability 2^-40 an accident of a choice for each call.
    let counts: Vec<_> = servers.iter().map(Instance::calls).collect();
    assert!(counts == [40, 0] || counts == [0, 40], "{counts:?}");
    let home = usize::from(counts[1] == 40);
    drop(servers.remove(home));
    for _ in 0..40 {
        let called = caller.call(ACT, IDEMPOTENT, &b""[..], &options()).await;
        called.expect("the other one answers");
    }
    assert_eq!(servers[0].calls(), 40);
}

#[tokio::test]
async fn calls_are_sent_again_as_the_binders_policy_has_it() {
    let world = World::new();
    for (attempts_max, succeeds, calls) in [(1, false, 1), (2, true, 2)] {
        let server = Instance::start().await;
        world.publish(world.record(1, [&server]));
        let policy = RetryPolicy {
            attempts_max,
            ..RetryPolicy::default()
        };
        let binder = world.binder().retried(policy);
        let caller = world.bind_by(&binder).await.expect("bound");
        let called = caller.call(BUSY_FIRST, PLAIN, &b""[..], &options()).await;
        assert_eq!(called.is_ok(), succeeds, "{attempts_max}: {called:?}");
        assert_eq!(server.calls(), calls, "{attempts_max}");
    }
}

#[tokio::test]
async fn an_at_most_once_call_is_sent_again_to_the_server_that_may_know() {
    for _ in 0..4 {
        let world = World::new();
        let servers = [Instance::start().await, Instance::start().await];
        world.publish(world.record(1, &servers));
        let caller = world.bind().await.expect("bound");
        let calling = {
            let caller = caller.clone();
            let body = &b"x"[..];
            tokio::spawn(
                async move { caller.call(HANG_FIRST, Guard::Once, body, &options()).await },
            )
        };
        let started = || servers.iter().map(Instance::calls).sum::<usize>() == 1;
        eventually("the handler runs", started).await;
        let at = servers.iter().position(|it| it.calls() == 1).expect("one");
        // All connections to it end; the handler goes on, as at-most-once ones do.
        let before = servers[at].hellos();
        servers[at].cut();
        let is_back = || servers[at].hellos() > before;
        eventually("the client connects again", is_back).await;
        servers[at].release();
        calling.await.expect("no panic").expect("the kept reply");
        assert_eq!(servers[at].calls(), 1, "it did not run again");
        assert_eq!(servers[1 - at].calls(), 0, "nor elsewhere");
    }
}

#[tokio::test]
async fn an_at_most_once_call_whose_server_is_gone_is_not_sent_to_another() {
    let world = World::new();
    let mut servers = vec![Instance::start().await, Instance::start().await];
    world.publish(world.record(1, &servers));
    let caller = world.bind().await.expect("bound");
    let calling = {
        // Enough for the handler to run, and waited out.
        let soon = CallOptions::new(Duration::from_secs(10));
        let body = &b"x"[..];
        tokio::spawn(async move { caller.call(HANG_FIRST, Guard::Once, body, &soon).await })
    };
    let started = |servers: &[Instance]| servers.iter().position(|it| it.calls() == 1);
    eventually("the handler runs", || started(&servers).is_some()).await;
    drop(servers.remove(started(&servers).expect("one")));
    let status = calling.await.expect("no panic").expect_err("nobody knows");
    assert_eq!(status.execution(), Execution::MaybeExecuted, "{status}");
    assert_eq!(servers[0].calls(), 0);
}

#[tokio::test]
async fn a_stream_counts_at_its_endpoint_while_it_lasts() {
    let world = World::new();
    let servers = [Instance::start().await, Instance::start().await];
    world.publish(world.record(1, &servers));
    let caller = world.bind().await.expect("bound");
    // To either there is a connection.
    eventually_calls(&caller, || servers.iter().all(|it| it.calls() > 0)).await;
    let before = servers.each_ref().map(Instance::calls);
    let mut streams = Vec::new();
    for _ in 0..8 {
        let started = caller.bidirectional(world::TALK, &options()).await;
        let (mut sink, mut replies) = started.expect("started");
        sink.send(&b"x"[..]).await.expect("sent");
        replies.next().await.expect("a reply").expect("an echo");
        streams.push((sink, replies));
    }
    // The lesser loaded of two, each time: never more than one apart.
    let counts = servers.each_ref().map(Instance::calls);
    assert_eq!(counts, before.map(|calls| calls + 4));
    drop(streams);
}

#[tokio::test]
async fn nobody_known_by_the_name_is_said_at_once_and_a_silent_resolver_is_waited_for() {
    let world = World::new();
    let server = Instance::start().await;
    let error = world.bind().await.expect_err("no such name");
    assert!(
        matches!(error, BindError::Name(ResolveError::NotFound(_))),
        "{error}"
    );
    let unknown = world.bind_lazily();
    let status = unknown.call(ACT, PLAIN, &b""[..], &options()).await;
    let status = status.expect_err("no such name");
    assert_eq!(
        (status.code(), status.execution()),
        (Code::NotFound, Execution::NotSent)
    );

    let world = World::new();
    world.fail(ResolveError::Unavailable("down".to_owned()));
    let error = world.bind_within(Duration::from_secs(1)).await;
    let error = error.expect_err("nobody tells where");
    assert!(
        matches!(error, BindError::Name(ResolveError::Unavailable(_))),
        "{error}"
    );
    assert!(world.asked() > 1, "it was asked again");
    let caller = world.bind_lazily();
    let soon = CallOptions::new(Duration::from_millis(300));
    let status = caller.call(ACT, PLAIN, &b""[..], &soon).await;
    let status = status.expect_err("nobody tells where");
    assert_eq!(status.code(), Code::DeadlineExceeded, "{status}");
    assert_eq!(status.execution(), Execution::NotSent);
    let calling = {
        let caller = caller.clone();
        tokio::spawn(async move { caller.call(ACT, PLAIN, &b""[..], &options()).await })
    };
    let before = world.asked();
    eventually("the source is asked", || world.asked() > before).await;
    assert!(!calling.is_finished());
    world.publish(world.record(1, [&server]));
    calling.await.expect("no panic").expect("a reply");
}

#[tokio::test]
async fn an_endpoint_can_be_reached_over_every_transport() {
    let world = World::new();
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("socket");
    let socket = UnixListener::bind(&path).expect("a socket");
    let noise = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let noise_address = address(&noise);
    let server = Instance::everywhere(noise, socket, AllowedUsers::own()).await;
    let tls = world.record(1, [&server]);
    let key = server.noise_key();
    let path = path.display().to_string();
    let ways = [(Way::Noise(key), noise_address), (Way::Unix, path)];
    let mut serial = 1;
    for (way, place) in ways {
        serial += 1;
        let mut record = tls.clone();
        record.serial = serial;
        record.endpoints[0].way = way;
        record.endpoints[0].address = place;
        let world = World::new();
        world.publish(record);
        let caller = world.bind().await.expect("bound");
        let called = caller.call(COUNT, PLAIN, &b""[..], &options()).await;
        called.expect("a reply");
    }
    assert_eq!(server.calls(), 2);
}

#[tokio::test]
async fn a_caller_that_is_dropped_leaves_no_connection() {
    let world = World::new();
    let server = Instance::start().await;
    world.publish(world.record(1, [&server]));
    let caller = world.bind().await.expect("bound");
    assert!(caller.is_up());
    assert!(!server.is_left());
    drop(caller);
    eventually("the connection is closed", || server.is_left()).await;
}

/// Calls until something shows.
async fn eventually_calls(caller: &Retrying, shows: impl Fn() -> bool) {
    let calling = async {
        while !shows() {
            let called = caller.call(COUNT, PLAIN, &b""[..], &options()).await;
            called.expect("a reply");
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    let shown = tokio::time::timeout(PATIENCE, calling).await;
    shown.expect("it shows in time");
}

#[tokio::test]
async fn a_call_with_little_time_does_not_spend_it_at_an_endpoint_that_is_not_there() {
    let world = World::new();
    let server = Instance::start().await;
    let silent = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let mut record = world.record(1, [&server]);
    let mut mute = record.endpoints[0].clone();
    mute.address = address(&silent);
    record.endpoints.push(mute);
    world.publish(record);
    let caller = world.bind().await.expect("bound");
    // The control knows nothing of the endpoint that is not there.
    let control = World::new();
    control.publish(control.record(1, [&server]));
    let control = control.bind().await.expect("bound");
    // By the wall clock, less than a call waits for one endpoint.
    let options = CallOptions::new(DIAL_PATIENCE * 4 / 5);
    let mut failed = Vec::new();
    for _ in 0..60 {
        let (called, in_time) = tokio::join!(
            caller.call(COUNT, PLAIN, &b""[..], &options),
            control.call(COUNT, PLAIN, &b""[..], &options),
        );
        // Where both fail it is the machine that has no time.
        failed.extend(called.err().filter(|_| in_time.is_ok()));
        // For the endpoint to be tried again and again, once it is ejected.
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(failed, [], "another endpoint stood all the time");
}

#[tokio::test]
async fn a_resolver_that_hangs_takes_no_call_along_while_the_record_counts() {
    let world = World::new();
    let server = Instance::start().await;
    let mut record = world.record(1, [&server]);
    record.ttl_seconds = 1;
    world.publish(record);
    let caller = world.bind().await.expect("bound");
    world.hang();
    let options = CallOptions::new(Duration::from_secs(2));
    for _ in 0..3 {
        tokio::time::sleep(Duration::from_millis(600)).await;
        let called = caller.call(COUNT, PLAIN, &b""[..], &options).await;
        called.expect("the server is there, and its record counts for an hour");
    }
    // Or the calls show nothing.
    assert!(world.asked() > 1, "the time to live was not over");
}

#[tokio::test]
async fn why_a_name_was_not_resolved_is_said_with_the_call_that_it_cost() {
    let world = World::new();
    world.fail(ResolveError::Unavailable("not for this peer".to_owned()));
    let caller = world.bind_lazily();
    let soon = CallOptions::new(Duration::from_secs(2));
    let status = caller.call(ACT, PLAIN, &b""[..], &soon).await;
    let status = status.expect_err("nobody tells where");
    assert!(status.message().contains("not for this peer"), "{status}");
}

#[tokio::test]
async fn binding_waits_for_a_resolver_that_comes_up_a_moment_later() {
    let world = World::new();
    let server = Instance::start().await;
    world.fail(ResolveError::Unavailable("connection refused".to_owned()));
    let publishing = async {
        tokio::time::sleep(Duration::from_millis(300)).await;
        world.publish(world.record(1, [&server]));
    };
    let (bound, ()) = tokio::join!(world.bind(), publishing);
    bound.expect("within its patience");
}
