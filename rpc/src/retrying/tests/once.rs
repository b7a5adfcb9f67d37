//! At-most-once calls.

use tokio::io::DuplexStream;

use super::*;
use crate::channel::{Identity, Origin, Transport};
use crate::connection::Driver;
use crate::frame::{Frame, Kind};
use crate::limits::ONCE_RUNNING_PER_IDENTITY_MAX;
use crate::once::{Incarnation, UNKNOWN_INCARNATION};
use crate::payload::{CallPayload, CallPrefix, decode_failure};
use crate::peer::{ChannelBinding, Peer};
use crate::serving::{OnceCalls, ServerEndpoint};

const INCARNATION: Incarnation = [7; 16];

fn id(sequence: u64) -> OnceId {
    OnceId {
        incarnation: INCARNATION,
        sequence,
        floor: 1,
    }
}

async fn attempt(connection: &Connection, method: u64, once: OnceId) -> Outcome {
    let extras = Extras {
        once: Some(once),
        ..Extras::default()
    };
    let body = if method == 0 {
        Bytes::new()
    } else {
        Bytes::from_static(b"x")
    };
    connection.call_extra(method, body, PATIENCE, &extras).await
}

fn attempting(connection: &Connection, method: u64, once: OnceId) -> Calling {
    let connection = connection.clone();
    tokio::spawn(async move { attempt(&connection, method, once).await })
}

async fn open(connection: &Connection, incarnation: Incarnation) -> Outcome {
    attempt(connection, 0, OnceId::open(incarnation)).await
}

/// What was sent before has arrived: frames keep their order.
async fn settle_down(connection: &Connection) {
    tokio::task::yield_now().await;
    let echoed = connection.call(ECHO, &b"?"[..], PATIENCE).await;
    assert_eq!(echoed.expect("an answer"), &b"?"[..]);
}

/// A server, and two connections of one key to it: by TLS, then in memory.
async fn twice() -> Vec<(ServerHandle, Deeds, Connection, Connection)> {
    let mut all = Vec::new();
    for is_memory in [false, true] {
        let deeds = Deeds::new();
        let server = serve(&key(), deeds.clone()).await;
        let key = key();
        let mut connections = Vec::new();
        for _ in 0..2 {
            connections.push(if is_memory {
                let identity = Identity::new(&key).expect("a sound key");
                let connector =
                    Connector::with_identity(identity, Arc::new(Anyone), Limits::default())
                        .expect("sound configuration");
                let connected = connector.connect_memory(&server.door(), PATIENCE).await;
                connected.expect("admitted")
            } else {
                connect(&key, &server).await
            });
        }
        let second = connections.remove(1);
        let first = connections.remove(0);
        open(&first, INCARNATION).await.expect("opened");
        all.push((server, deeds, first, second));
    }
    all
}

#[tokio::test]
async fn a_retry_after_a_cut_joins_the_handler_that_still_runs() {
    let deeds = Deeds::new();
    let server = serve(&key(), deeds.clone()).await;
    let proxy = Proxy::to(server.local_addr()).await;
    let calling = call(&retrying(proxy.address), ACT, Guard::Once);
    reaches("the handler runs", || deeds.running() == 1).await;
    proxy.cut();
    reaches("another connection", || proxy.accepted() == 2).await;
    a_while().await;
    deeds.open_gate();
    assert_eq!(ended(calling).await.expect("the reply"), &b"effect 1"[..]);
    assert_eq!((deeds.started(), deeds.effects()), (1, 1));
}

#[tokio::test]
async fn a_reply_that_was_lost_comes_again() {
    let deeds = Deeds::new();
    let server = serve(&key(), deeds.clone()).await;
    let proxy = Proxy::to(server.local_addr()).await;
    let calling = call(&retrying(proxy.address), ACT, Guard::Once);
    reaches("the handler runs", || deeds.running() == 1).await;
    proxy.mute(true);
    deeds.open_gate();
    reaches("the effect", || {
        deeds.effects() == 1 && deeds.running() == 0
    })
    .await;
    a_while().await;
    assert!(!calling.is_finished());
    proxy.cut();
    proxy.mute(false);
    assert_eq!(ended(calling).await.expect("the reply"), &b"effect 1"[..]);
    assert_eq!((deeds.started(), deeds.effects()), (1, 1));
}

#[tokio::test]
async fn a_restarted_server_runs_nothing_again_and_the_outcome_is_unknown() {
    let server_key = key();
    let before = Deeds::new();
    let server = serve(&server_key, before.clone()).await;
    let proxy = Proxy::to(server.local_addr()).await;
    let retrying = retrying(proxy.address);
    let calling = call(&retrying, ACT, Guard::Once);
    reaches("the handler runs", || before.running() == 1).await;
    drop(server);
    let after = Deeds::new();
    after.open_gate();
    let server = serve(&server_key, after.clone()).await;
    proxy.target(Some(server.local_addr()));
    let status = ended(calling).await.expect_err("nobody knows");
    assert_eq!(status.code(), Code::OutcomeUnknown, "{status}");
    assert_eq!(status.execution(), Execution::MaybeExecuted);
    assert_eq!((after.started(), before.effects()), (0, 0));
    // The next call has not been tried, so it goes on in another incarnation.
    let calling = call(&retrying, ACT, Guard::Once);
    assert_eq!(ended(calling).await.expect("a reply"), &b"effect 1"[..]);
}

#[tokio::test]
async fn a_first_attempt_in_a_forgotten_incarnation_is_sent_anew() {
    let server_key = key();
    let before = Deeds::new();
    before.open_gate();
    let server = serve(&server_key, before.clone()).await;
    let proxy = Proxy::to(server.local_addr()).await;
    let retrying = retrying(proxy.address);
    ended(call(&retrying, ACT, Guard::Once))
        .await
        .expect("a reply");
    drop(server);
    let after = Deeds::new();
    after.open_gate();
    let server = serve(&server_key, after.clone()).await;
    proxy.target(Some(server.local_addr()));
    // Over the old connection it might have run, for all that the client knows.
    reaches("another connection", || {
        proxy.accepted() == 2 && retrying.is_up()
    })
    .await;
    let calling = call(&retrying, ACT, Guard::Once);
    assert_eq!(ended(calling).await.expect("a reply"), &b"effect 1"[..]);
    assert_eq!((after.started(), after.effects()), (1, 1));
}

#[tokio::test]
async fn a_caller_that_leaves_stops_the_handler() {
    let deeds = Deeds::new();
    let server = serve(&key(), deeds.clone()).await;
    let retrying = retrying(server.local_addr());
    let calling = call(&retrying, ACT, Guard::Once);
    reaches("the handler runs", || deeds.running() == 1).await;
    calling.abort();
    reaches("the handler stops", || deeds.running() == 0).await;
    deeds.open_gate();
    let calling = call(&retrying, ACT, Guard::Once);
    assert_eq!(ended(calling).await.expect("a reply"), &b"effect 1"[..]);
    assert_eq!(deeds.started(), 2);
}

#[tokio::test]
async fn a_cancel_tells_everybody_who_waits_and_is_remembered() {
    for (_server, deeds, first, second) in twice().await {
        let calling = attempting(&first, ACT, id(1));
        reaches("the handler runs", || deeds.running() == 1).await;
        let other = attempting(&second, ACT, id(1));
        settle_down(&second).await;
        calling.abort();
        let status = ended(other).await.expect_err("cancelled");
        assert_eq!(status.code(), Code::Cancelled);
        assert_eq!(status.execution(), Execution::MaybeExecuted);
        reaches("the handler stops", || deeds.running() == 0).await;
        deeds.open_gate();
        let again = attempt(&second, ACT, id(1)).await.expect_err("remembered");
        assert_eq!(again.code(), Code::Cancelled);
        assert_eq!((deeds.started(), deeds.effects()), (1, 0));
    }
}

#[tokio::test]
async fn two_connections_of_one_key_join() {
    for (_server, deeds, first, second) in twice().await {
        let callings = [&first, &second].map(|connection| attempting(connection, ACT, id(1)));
        settle_down(&first).await;
        settle_down(&second).await;
        deeds.open_gate();
        for calling in callings {
            assert_eq!(ended(calling).await.expect("the reply"), &b"effect 1"[..]);
        }
        assert_eq!((deeds.started(), deeds.effects()), (1, 1));
    }
}

#[tokio::test]
async fn a_closed_connection_leaves_its_handler_running() {
    for (_server, deeds, first, second) in twice().await {
        let calling = attempting(&first, ACT, id(1));
        reaches("the handler runs", || deeds.running() == 1).await;
        first.close();
        ended(calling).await.expect_err("closed");
        first.closed().await;
        a_while().await;
        assert_eq!(deeds.running(), 1);
        let other = attempting(&second, ACT, id(1));
        settle_down(&second).await;
        deeds.open_gate();
        assert_eq!(ended(other).await.expect("the reply"), &b"effect 1"[..]);
        let again = attempt(&second, ACT, id(1)).await;
        assert_eq!(again.expect("the reply again"), &b"effect 1"[..]);
        assert_eq!((deeds.started(), deeds.effects()), (1, 1));
    }
}

#[tokio::test]
async fn the_same_call_of_another_key_is_another_call() {
    let deeds = Deeds::new();
    deeds.open_gate();
    let server = serve(&key(), deeds.clone()).await;
    let (one, other) = (
        connect(&key(), &server).await,
        connect(&key(), &server).await,
    );
    open(&one, INCARNATION).await.expect("opened");
    let reply = attempt(&one, ACT, id(1)).await.expect("a reply");
    assert_eq!(reply, &b"effect 1"[..]);
    let status = attempt(&other, ACT, id(1)).await.expect_err("unknown");
    assert!(is_unknown_incarnation(&status), "{status}");
    assert_eq!(status.details(), UNKNOWN_INCARNATION);
    open(&other, INCARNATION).await.expect("its own");
    let reply = attempt(&other, ACT, id(1)).await.expect("a reply");
    assert_eq!(reply, &b"effect 2"[..]);
}

#[tokio::test]
async fn an_open_is_taken_once() {
    for (_server, _deeds, first, second) in twice().await {
        for connection in [first, second] {
            let status = open(&connection, INCARNATION).await.expect_err("known");
            assert_eq!(status.code(), Code::AlreadyExists);
            assert_eq!(status.execution(), Execution::NotStarted);
        }
    }
}

#[tokio::test]
async fn a_handler_that_panics_may_have_executed_and_does_not_run_again() {
    for (_server, deeds, first, second) in twice().await {
        for (sequence, method) in [(1, PANIC), (2, PANIC_LATER)] {
            for connection in [&first, &second] {
                let outcome = attempt(connection, method, id(sequence)).await;
                let status = outcome.expect_err("it panics");
                assert_eq!(status.code(), Code::Internal);
                assert_eq!(status.execution(), Execution::MaybeExecuted);
            }
        }
        assert_eq!(deeds.started(), 2);
    }
}

#[tokio::test]
async fn what_did_not_start_starts_again() {
    for (_server, deeds, first, second) in twice().await {
        for connection in [&first, &second] {
            let status = attempt(connection, BUSY, id(1)).await.expect_err("busy");
            assert_eq!(status.execution(), Execution::NotStarted);
        }
        assert_eq!(deeds.started(), 2);
        let missing = attempt(&first, 99, id(1)).await.expect_err("no method");
        assert_eq!(missing.code(), Code::Unimplemented);
        deeds.open_gate();
        let reply = attempt(&first, ACT, id(1)).await.expect("a reply");
        assert_eq!(reply, &b"effect 1"[..]);
    }
}

#[tokio::test]
async fn a_drain_waits_for_handlers_whose_connection_is_gone() {
    for (server, deeds, first, second) in twice().await {
        let calling = attempting(&first, ACT, id(1));
        reaches("the handler runs", || deeds.running() == 1).await;
        first.close();
        second.close();
        ended(calling).await.expect_err("closed");
        let drain = tokio::spawn(server.drain(PATIENCE));
        a_while().await;
        assert!(!drain.is_finished());
        deeds.open_gate();
        drain.await.expect("no panic");
        assert_eq!(deeds.effects(), 1);
    }
}

#[tokio::test]
async fn a_drain_ends_handlers_that_take_too_long() {
    for (server, deeds, first, _second) in twice().await {
        let calling = attempting(&first, ACT, id(1));
        reaches("the handler runs", || deeds.running() == 1).await;
        server.drain(Duration::from_millis(50)).await;
        assert_eq!(deeds.running(), 0);
        let status = ended(calling).await.expect_err("cut off");
        assert_eq!(status.execution(), Execution::MaybeExecuted);
    }
}

#[tokio::test]
async fn dropping_the_server_ends_handlers_whose_connection_is_gone() {
    for (server, deeds, first, second) in twice().await {
        let calling = attempting(&first, ACT, id(1));
        reaches("the handler runs", || deeds.running() == 1).await;
        first.close();
        second.close();
        ended(calling).await.expect_err("closed");
        drop(server);
        reaches("the handler is gone", || deeds.running() == 0).await;
    }
}

#[tokio::test]
async fn too_many_incarnations_of_one_key_harm_no_other() {
    let deeds = Deeds::new();
    deeds.open_gate();
    let server = serve(&key(), deeds.clone()).await;
    let greedy = key();
    let connection = connect(&greedy, &server).await;
    for number in 0..ONCE_INCARNATIONS_PER_IDENTITY_MAX {
        let incarnation = (number as u128).to_be_bytes();
        open(&connection, incarnation).await.expect("room");
    }
    let status = open(&connection, [9; 16]).await.expect_err("no room");
    assert_eq!(status.code(), Code::ResourceExhausted);
    assert_eq!(status.execution(), Execution::NotStarted);
    let link = link_to(&greedy, server.local_addr());
    let few = RetryPolicy {
        attempts_max: 2,
        ..RetryPolicy::default()
    };
    let calling = call(&Retrying::new(link, few), ACT, Guard::Once);
    let status = ended(calling).await.expect_err("no room");
    assert_eq!(status.code(), Code::ResourceExhausted, "{status}");
    assert_eq!(status.execution(), Execution::NotSent);
    let calling = call(&retrying(server.local_addr()), ACT, Guard::Once);
    assert_eq!(ended(calling).await.expect("a reply"), &b"effect 1"[..]);
}

#[tokio::test]
async fn too_many_running_calls_of_one_key_harm_no_other() {
    let deeds = Deeds::new();
    let server = serve(&key(), deeds.clone()).await;
    let greedy = key();
    let mut callings = Vec::new();
    for half in 0..2_u8 {
        // Over connections that are gone, so that no bound of a connection holds.
        let connection = connect(&greedy, &server).await;
        let incarnation = [half; 16];
        open(&connection, incarnation).await.expect("room");
        for sequence in 1..=ONCE_RUNNING_PER_IDENTITY_MAX as u64 / 2 {
            let once = OnceId {
                incarnation,
                ..id(sequence)
            };
            callings.push(attempting(&connection, ACT, once));
        }
        let running = ONCE_RUNNING_PER_IDENTITY_MAX / 2 * usize::from(half + 1);
        reaches("all run", || deeds.running() == running).await;
        connection.close();
    }
    let connection = connect(&greedy, &server).await;
    open(&connection, INCARNATION).await.expect("room");
    let status = attempt(&connection, ACT, id(1)).await.expect_err("no room");
    assert_eq!(status.code(), Code::ResourceExhausted);
    assert_eq!(status.execution(), Execution::NotStarted);
    let other = connect(&key(), &server).await;
    open(&other, INCARNATION).await.expect("room");
    let calling = attempting(&other, ACT, id(1));
    reaches("another's runs", || {
        deeds.running() == ONCE_RUNNING_PER_IDENTITY_MAX + 1
    })
    .await;
    deeds.open_gate();
    ended(calling).await.expect("a reply");
    reaches("all have ended", || deeds.running() == 0).await;
    attempt(&connection, ACT, id(1)).await.expect("room again");
}

#[tokio::test]
async fn callers_that_leave_while_an_incarnation_is_opened_leave_no_second_behind() {
    let deeds = Deeds::new();
    deeds.open_gate();
    let server = serve(&key(), deeds.clone()).await;
    let proxy = Proxy::to(server.local_addr()).await;
    let retrying = retrying(proxy.address);
    retrying.up().await.expect("one place");
    proxy.mute(true);
    for _ in 0..2 * ONCE_INCARNATIONS_PER_IDENTITY_MAX {
        let calling = call(&retrying, ACT, Guard::Once);
        tokio::task::yield_now().await;
        calling.abort();
    }
    proxy.cut();
    proxy.mute(false);
    let calling = call(&retrying, ACT, Guard::Once);
    assert_eq!(ended(calling).await.expect("a reply"), &b"effect 1"[..]);
    assert_eq!(deeds.started(), 1);
}

/// A raw far end of a connection of the peer to a server.
fn far_end(peer: &Peer, deeds: &Deeds, once: &Arc<OnceCalls>) -> DuplexStream {
    far_end_of(endpoint(peer, deeds, once))
}

fn endpoint(peer: &Peer, deeds: &Deeds, once: &Arc<OnceCalls>) -> ServerEndpoint {
    let router = Router::new().service(deeds.clone()).expect("no duplicates");
    let limits = Limits::default();
    ServerEndpoint::new(Arc::new(router), Arc::clone(once), peer.clone(), &limits).0
}

fn far_end_of(endpoint: ServerEndpoint) -> DuplexStream {
    let (near, far) = tokio::io::duplex(64 * 1024);
    tokio::spawn(Driver::new(near, endpoint, &Limits::default()));
    far
}

#[tokio::test(start_paused = true)]
async fn a_guest_opens_no_incarnation_and_calls_nothing_at_most_once() {
    let peer = Peer::danger_assume(
        key().verifying_key(),
        ChannelBinding::from_bytes([0; 32]),
        Origin::Memory,
        Transport::Memory,
        Arc::new(()),
    );
    let (deeds, once) = (Deeds::new(), OnceCalls::new());
    let mut guest = far_end_of(endpoint(&peer, &deeds, &once).for_guest());
    let mut known = far_end(&peer, &deeds, &once);
    send(&mut known, 0, OnceId::open(INCARNATION), 0).await;
    assert_eq!(reply(&mut known).await, (0, Vec::new()));
    for (method, id) in [(0, OnceId::open([9; 16])), (ACT, id(1))] {
        send(&mut guest, method, id, 1_000).await;
        let (code, failure) = reply(&mut guest).await;
        let status = decode_failure(code, &failure).expect("a failure");
        assert_eq!(status.code(), Code::PermissionDenied);
        assert_eq!(status.execution(), Execution::NotStarted);
    }
    assert_eq!(deeds.started(), 0);
}

async fn send(far: &mut DuplexStream, method: u64, once: OnceId, timeout_ms: u32) {
    let prefix = CallPrefix { method, timeout_ms };
    let (flags, head) = CallPayload::encode_head(&prefix, Some(&once), &Metadata::new());
    let mut bytes = Vec::new();
    crate::frame::append(&mut bytes, Kind::Call, flags, 0, 1, &[&head]);
    far.write_all(&bytes).await.expect("open");
}

/// The next reply; what only shows life is passed over.
async fn reply(far: &mut DuplexStream) -> (u16, Vec<u8>) {
    let mut bytes = Vec::new();
    loop {
        if let Some((frame, _)) = Frame::decode(&bytes).expect("well formed") {
            if frame.kind == Kind::Reply {
                return (frame.code, frame.payload.to_vec());
            }
            if frame.kind == Kind::Ping {
                let token = frame.payload.to_vec();
                let mut pong = Vec::new();
                crate::frame::append(&mut pong, Kind::Pong, 0, 0, 0, &[&token]);
                far.write_all(&pong).await.expect("open");
            }
            bytes.clear();
        }
        bytes.push(far.read_u8().await.expect("open"));
    }
}

#[tokio::test(start_paused = true)]
async fn the_time_of_one_attempt_ends_neither_the_handler_nor_another_attempt() {
    let peer = Peer::danger_assume(
        key().verifying_key(),
        ChannelBinding::from_bytes([0; 32]),
        Origin::Memory,
        Transport::Memory,
        Arc::new(()),
    );
    let (deeds, once) = (Deeds::new(), OnceCalls::new());
    let [mut patient, mut hasty] = [(); 2].map(|()| far_end(&peer, &deeds, &once));
    send(&mut patient, 0, OnceId::open(INCARNATION), 0).await;
    assert_eq!(reply(&mut patient).await, (0, Vec::new()));
    send(&mut patient, ACT, id(1), 1_500).await;
    reaches("the handler runs", || deeds.running() == 1).await;
    send(&mut hasty, ACT, id(1), 100).await;
    let (code, failure) = reply(&mut hasty).await;
    let status = decode_failure(code, &failure).expect("a failure");
    assert_eq!(status.code(), Code::DeadlineExceeded);
    assert_eq!(status.execution(), Execution::MaybeExecuted);
    assert_eq!(deeds.running(), 1);
    deeds.open_gate();
    assert_eq!(reply(&mut patient).await, (0, b"effect 1".to_vec()));
    // And the handler's own time is bounded: that of the attempt that began it.
    deeds.0.gate.send_replace(false);
    send(&mut patient, ACT, id(2), 200).await;
    reaches("the handler runs", || deeds.running() == 1).await;
    drop(patient);
    send(&mut hasty, ACT, id(2), 60_000).await;
    let (code, failure) = reply(&mut hasty).await;
    let status = decode_failure(code, &failure).expect("a failure");
    assert_eq!(status.code(), Code::DeadlineExceeded);
    assert_eq!(status.execution(), Execution::MaybeExecuted);
    assert_eq!((deeds.running(), deeds.effects()), (0, 1));
}
