//! One key and many connections: what it takes of the server has a bound, and
//! somebody with another key never notices.

use std::sync::Arc;
use std::time::Duration;

use sealmoot_rpc::bytes::Bytes;
use sealmoot_rpc::frame::{FLAG_MORE, FLAG_ONCE, Kind};
use sealmoot_rpc::{
    CallContext, Code, ConnectError, Connector, Execution, Limits, MethodKind, Router, Server,
};
use tokio::net::TcpListener;
use tokio::time::timeout;

use super::credit::assert_answered;
use super::memory::{before, ran_alone};
use super::peer::{Ear, Mouth, Said, call, cancel, knock, message, of, prefixed};
use super::service::{CHAT, Patient, READ, SHIELDS, SILENT, UNREAD};
use super::world::{BOTH, Person, World, count, quiet};
use crate::common::{Anyone, BIG, ECHO, PATIENCE, STUCK, key};

const QUOTA: usize = 100;

fn limits() -> Limits {
    Limits {
        calls_per_identity_max: QUOTA,
        ..quiet()
    }
}

/// So many calls of one kind, numbered from 1.
fn calls(count: u32, method: u64) -> Vec<u8> {
    (1..=count)
        .flat_map(|number| call(number, MethodKind::Unary, method, b""))
        .collect()
}

fn assert_refused(said: &Said, message: &str) {
    let status = said.failure();
    assert_eq!(
        (status.code(), status.execution(), status.message()),
        (Code::ResourceExhausted, Execution::NotStarted, message)
    );
}

/// Waits for an echo, and returns what was said before it.
async fn until_echo(mouth: &mut Mouth, ear: &mut Ear, number: u32) -> Vec<Said> {
    assert!(mouth.say(&call(number, MethodKind::Unary, ECHO, b"")).await);
    let mut before = Vec::new();
    loop {
        let said = ear.next().await.expect("an open connection");
        if said.call == number {
            return before;
        }
        before.push(said);
    }
}

/// That nothing of the quota is taken: all of it can be had.
async fn assert_all_is_free(world: &World, person: &Person) {
    world.plain.stuck.reaches(0).await;
    let (mut mouth, mut ear) = world.peer_as(person).await;
    // What ended last may be given back a moment after its handler went.
    let all = u32::try_from(QUOTA).expect("small");
    let had = async {
        loop {
            assert!(mouth.say(&calls(all, STUCK)).await);
            // Looked for again and again: cancelled too early, they show nothing.
            for _ in 0..200 {
                tokio::time::sleep(Duration::from_millis(5)).await;
                if world.plain.stuck.running() == QUOTA {
                    return;
                }
            }
            let cancels: Vec<u8> = (1..=all).flat_map(cancel).collect();
            assert!(mouth.say(&cancels).await);
            ear.skip().await;
            world.plain.stuck.reaches(0).await;
        }
    };
    timeout(PATIENCE, had).await.expect("the whole quota");
    drop((mouth, ear));
    world.plain.stuck.reaches(0).await;
}

#[tokio::test]
async fn many_connections_of_one_key_have_the_calls_of_one_quota() {
    let world = World::new(limits()).await;
    for over in BOTH {
        let hostile = Person::over(over);
        let mut open = Vec::new();
        let mut refused = 0;
        for _ in 0..10 {
            let (mut mouth, mut ear) = world.peer_as(&hostile).await;
            assert!(mouth.say(&calls(25, STUCK)).await);
            if open.len() < 4 {
                world.plain.stuck.reaches(25 * (open.len() + 1)).await;
            } else {
                for _ in 0..25 {
                    let said = ear.next().await.expect("an open connection");
                    assert_refused(&said, "too many calls of this identity");
                    refused += 1;
                }
            }
            open.push((mouth, ear));
        }
        assert_eq!((world.plain.stuck.running(), refused), (QUOTA, 150));
        // Somebody else has a quota of its own.
        let other = Person::over(over);
        let (mut mouth, mut ear) = world.peer_as(&other).await;
        assert!(mouth.say(&calls(50, STUCK)).await);
        world.plain.stuck.reaches(QUOTA + 50).await;
        assert!(until_echo(&mut mouth, &mut ear, 99).await.is_empty());
        drop((mouth, ear));
        // Two of them end: another connection has their calls.
        drop(open.drain(..2));
        world.plain.stuck.reaches(QUOTA - 50).await;
        let (mouth, _) = open.last_mut().expect("some");
        assert!(mouth.say(&calls(25, STUCK)).await);
        world.plain.stuck.reaches(QUOTA - 25).await;
        drop(open);
        assert_all_is_free(&world, &hostile).await;
    }
    world.assert_unharmed().await;
}

#[tokio::test]
async fn streams_of_one_key_have_one_quota() {
    let world = World::new(Limits {
        streams_per_identity_max: 10,
        ..quiet()
    })
    .await;
    let hostile = Person::new();
    let mut open = Vec::new();
    for connection in 0..4 {
        let (mut mouth, mut ear) = world.peer_as(&hostile).await;
        let opened: Vec<u8> = (1..=5)
            .flat_map(|number| call(number, MethodKind::ClientStream, UNREAD, b""))
            .collect();
        assert!(mouth.say(&opened).await);
        let refused = until_echo(&mut mouth, &mut ear, 99).await;
        assert_eq!(refused.len(), if connection < 2 { 0 } else { 5 });
        for said in refused {
            assert_refused(&said, "too many streams of this identity");
        }
        open.push((mouth, ear));
    }
    drop(open);
    world.assert_unharmed().await;
}

#[tokio::test]
async fn a_connection_beyond_those_of_its_key_is_told_so_in_place_of_a_welcome() {
    let world = World::new(Limits {
        connections_per_identity_max: 3,
        ..quiet()
    })
    .await;
    for over in BOTH {
        let hostile = Person::over(over);
        let mut open = Vec::new();
        for _ in 0..3 {
            open.push(world.peer_as(&hostile).await);
        }
        for _ in 0..20 {
            let stream = world.stream_as(&hostile).await;
            let (_mouth, mut ear, said) = knock(stream).await;
            assert_eq!(said.kind, Kind::Goaway);
            assert_refused(&said, "too many connections of this identity");
            assert!(ear.next().await.is_none());
        }
        let (mouth, ear) = world.peer_as(&Person::over(over)).await;
        drop((mouth, ear));
        open.pop();
        let back = async {
            loop {
                let stream = world.stream_as(&hostile).await;
                let (_mouth, _ear, said) = knock(stream).await;
                if said.kind == Kind::Hello {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        timeout(PATIENCE, back).await.expect("a place is free");
        for (mouth, ear) in &mut open {
            assert_answered(mouth, ear).await;
        }
    }
    world.assert_unharmed().await;
}

#[tokio::test]
async fn a_client_is_told_that_its_key_has_too_many_connections() {
    let world = World::new(Limits {
        connections_per_identity_max: 1,
        ..quiet()
    })
    .await;
    let own = key();
    let connector = Connector::new(&own, Arc::new(Anyone(b"client")), Limits::default());
    let connector = connector.expect("sound");
    let address = world.server.local_addr().to_string();
    let first = connector.connect(&address, PATIENCE).await.expect("room");
    let error = connector.connect(&address, PATIENCE).await;
    match error.expect_err("one too many") {
        ConnectError::Refused(refusal) => {
            assert_eq!(refusal.code, Code::ResourceExhausted);
            assert_eq!(refusal.message, "too many connections of this identity");
        }
        other => panic!("{other}"),
    }
    let reply = first.call(ECHO, &b"well"[..], PATIENCE).await;
    assert_eq!(reply.expect("unharmed"), &b"well"[..]);
    world.assert_unharmed().await;
}

/// More request bytes than one identity may have held, over many connections that
/// each keep their own bounds.
#[tokio::test]
async fn request_bytes_of_many_connections_are_bounded_together() {
    if ran_alone() {
        return;
    }
    let world = World::new(Limits {
        bytes_per_identity_max: 16 * 1024 * 1024,
        ..quiet()
    })
    .await;
    let part = [7; 16 * 1024];
    let hostile = Person::new();
    let memory = before();
    let mut open = Vec::new();
    let mut refused = 0;
    for _ in 0..count(64, 24) {
        let (mut mouth, mut ear) = world.peer_as(&hostile).await;
        let begun = of(Kind::Call, FLAG_MORE, 1, &prefixed(ECHO, &part));
        assert!(mouth.say(&begun).await);
        for _ in 0..127 {
            assert!(mouth.say(&of(Kind::Chunk, 0, 1, &part)).await);
        }
        for said in until_echo(&mut mouth, &mut ear, 9).await {
            assert_refused(&said, "too many bytes are held for this identity");
            refused += 1;
        }
        open.push((mouth, ear));
    }
    assert_eq!(refused, open.len() - 8, "eight times two MiB have room");
    // Buffers double, and each connection has some of its own.
    memory.assert_grew_at_most(56, "large requests");
    drop(open);
    world.assert_unharmed().await;
}

/// Replies that nobody takes, over many connections.
#[tokio::test]
async fn reply_bytes_of_many_connections_are_bounded_together() {
    if ran_alone() {
        return;
    }
    let world = World::new(Limits {
        bytes_per_identity_max: 16 * 1024 * 1024,
        outgoing_bytes_pause: 64 * 1024 * 1024,
        ..quiet()
    })
    .await;
    let hostile = Person::new();
    let memory = before();
    let mut open = Vec::new();
    let size = (1024_u32 * 1024).to_le_bytes();
    for _ in 0..count(64, 16) {
        let (mut mouth, ear) = world.peer_as(&hostile).await;
        let asked: Vec<u8> = (1..=8)
            .flat_map(|number| call(number, MethodKind::Unary, BIG, &size))
            .collect();
        assert!(mouth.say(&asked).await);
        open.push((mouth, ear));
    }
    // They have been read when something else has.
    let (mut mouth, mut ear) = world.peer_as(&Person::new()).await;
    assert_answered(&mut mouth, &mut ear).await;
    memory.assert_grew_at_most(40, "large replies");
    let (_, ear) = open.last_mut().expect("some");
    let said = ear.next().await.expect("an answer");
    let status = said.failure();
    assert_eq!(status.code(), Code::ResourceExhausted);
    assert_eq!(status.execution(), Execution::Executed);
    drop(open);
    world.assert_unharmed().await;
}

#[tokio::test]
async fn a_flood_of_cancels_closes_its_connection_and_no_other() {
    let world = World::new(Limits {
        cancellations_per_second_max: 1_000,
        ..quiet()
    })
    .await;
    for over in BOTH {
        let hostile = Person::over(over);
        let (mut calm, mut calm_ear) = world.peer_as(&hostile).await;
        let (mut mouth, mut ear) = world.peer_as(&hostile).await;
        let flood: Vec<u8> = (1..=100_u32)
            .flat_map(|number| [call(number, MethodKind::Unary, STUCK, b""), cancel(number)])
            .flatten()
            .collect();
        let insist = async {
            for round in 0..1_000_u32 {
                if !mouth.say(&renumbered(&flood, round * 100)).await {
                    return;
                }
                tokio::task::yield_now().await;
            }
            panic!("still there");
        };
        let (_, reason) = tokio::join!(insist, ear.goaway());
        assert_eq!(reason, "too many calls were cancelled within a second");
        assert_answered(&mut calm, &mut calm_ear).await;
        let (mut mouth, mut ear) = world.peer_as(&Person::over(over)).await;
        let one = [call(1, MethodKind::Unary, STUCK, b""), cancel(1)].concat();
        assert!(mouth.say(&one).await);
        assert_answered(&mut mouth, &mut ear).await;
    }
    world.plain.stuck.reaches(0).await;
    world.assert_unharmed().await;
}

/// The same frames for other calls.
fn renumbered(frames: &[u8], by: u32) -> Vec<u8> {
    let mut frames = frames.to_vec();
    let mut at = 0;
    while at < frames.len() {
        let word = |at: usize| <[u8; 4]>::try_from(&frames[at..at + 4]).expect("a header");
        let length = u32::from_le_bytes(word(at));
        let number = u32::from_le_bytes(word(at + 8)) + by;
        frames[at + 8..at + 12].copy_from_slice(&number.to_le_bytes());
        at += 12 + length as usize;
    }
    frames
}

/// A thousand connections that end with calls in every state.
#[tokio::test]
async fn whatever_state_a_connection_ends_in_its_quota_is_free_again() {
    let world = World::new(Limits {
        bytes_per_identity_max: 8 * 1024 * 1024,
        streams_per_identity_max: 20,
        connections_per_identity_max: 20,
        ..limits()
    })
    .await;
    let hostile = Person::new();
    let large = (1024_u32 * 1024).to_le_bytes();
    let once = |method: u64, sequence: u8, body: &[u8]| {
        let mut block = [0; 32];
        sealmoot_crypto::random::fill(&mut block[..16]).expect("random source");
        (block[16], block[24]) = (sequence, sequence);
        let payload = prefixed(method, &[&block[..], body].concat());
        of(Kind::Call, FLAG_ONCE, 1, &payload)
    };
    for round in 0..1_000_usize {
        let entering = async {
            loop {
                let (mouth, ear, said) = knock(world.stream_as(&hostile).await).await;
                if said.kind == Kind::Hello {
                    return (mouth, ear);
                }
                tokio::task::yield_now().await;
            }
        };
        let (mut mouth, ear) = timeout(PATIENCE, entering).await.expect("a place");
        let stuck = call(1, MethodKind::Unary, STUCK, b"body");
        let said = match round % 12 {
            0 => of(Kind::Call, FLAG_MORE, 1, &prefixed(ECHO, b"half")),
            1 => stuck,
            2 => [stuck, cancel(1)].concat(),
            3 => call(1, MethodKind::ClientStream, UNREAD, b""),
            4 => [
                call(1, MethodKind::ClientStream, UNREAD, b""),
                message(1, &[7; 9_000]),
            ]
            .concat(),
            5 => [
                call(1, MethodKind::ClientStream, READ, b""),
                of(Kind::Chunk, 0, 1, b"part"),
            ]
            .concat(),
            6 => call(1, MethodKind::ServerStream, SILENT, b""),
            7 => call(1, MethodKind::Unary, BIG, &large),
            8 => [
                call(1, MethodKind::Bidirectional, CHAT, b""),
                message(1, b"x"),
                message(1, b"y"),
            ]
            .concat(),
            9 => [once(0, 0, b""), once(STUCK, 1, b"")].concat(),
            // Breaks a rule while calls run.
            10 => [stuck.clone(), stuck].concat(),
            _ => calls(30, STUCK),
        };
        assert!(mouth.say(&said).await);
        if round % 3 == 0 {
            // It has been read, or not.
            tokio::task::yield_now().await;
        } else if round % 3 == 1 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        drop((mouth, ear));
    }
    assert_all_is_free(&world, &hostile).await;
    // And its bytes: two replies of which each takes a large share.
    let (mut mouth, mut ear) = world.peer_as(&hostile).await;
    let asked = (4 * 1024_u32 * 1024 - 9).to_le_bytes();
    assert!(mouth.say(&call(1, MethodKind::Unary, BIG, &asked)).await);
    assert_eq!(ear.next().await.expect("a reply").code, 0);
    drop((mouth, ear));
    // Twenty connections and streams.
    let mut open = Vec::new();
    for _ in 0..20 {
        let (mut mouth, mut ear) = world.peer_as(&hostile).await;
        assert!(
            mouth
                .say(&call(1, MethodKind::ClientStream, UNREAD, b""))
                .await
        );
        assert!(until_echo(&mut mouth, &mut ear, 9).await.is_empty());
        open.push((mouth, ear));
    }
    drop(open);
    world.assert_unharmed().await;
}

/// Calls and cancels in a loop, of a handler that shields its work.
#[tokio::test]
async fn shielded_work_is_bounded_by_the_quota_of_who_called() {
    let world = World::new(limits()).await;
    let shielded = world.patient.shielded.clone();
    for over in BOTH {
        let hostile = Person::over(over);
        let mut refused = 0;
        for round in 0..40 {
            let (mut mouth, mut ear) = world.peer_as(&hostile).await;
            let flood: Vec<u8> = (1..=20)
                .flat_map(|number| {
                    [
                        call(number, MethodKind::Unary, SHIELDS, b""),
                        cancel(number),
                    ]
                })
                .flatten()
                .collect();
            assert!(mouth.say(&flood).await);
            for said in until_echo_beyond(&mut mouth, &mut ear, 50).await {
                assert_refused(&said, "too many calls of this identity");
                refused += 1;
            }
            assert!(
                shielded.running() <= QUOTA,
                "{round}: {}",
                shielded.running()
            );
            if round % 2 == 0 {
                drop((mouth, ear));
            } else {
                mouth.close().await;
            }
        }
        assert_eq!((shielded.running(), refused), (QUOTA, 700));
        // Somebody else calls the same.
        let (mut mouth, mut ear) = world.peer_as(&Person::over(over)).await;
        assert!(mouth.say(&call(1, MethodKind::Unary, SHIELDS, b"")).await);
        shielded.reaches(QUOTA + 1).await;
        world.patient.go.add_permits(QUOTA + 1);
        let said = ear.next().await.expect("a reply");
        assert_eq!((said.call, said.code), (1, 0));
        shielded.reaches(0).await;
        assert_all_is_free(&world, &hostile).await;
    }
    world.assert_unharmed().await;
}

/// As [`until_echo`], where the echo may itself be refused.
async fn until_echo_beyond(mouth: &mut Mouth, ear: &mut Ear, number: u32) -> Vec<Said> {
    let mut before = until_echo(mouth, ear, number).await;
    before.retain(|said| said.kind == Kind::Reply);
    before
}

/// The context of a call that no connection has brought counts nothing.
#[tokio::test]
async fn a_context_made_elsewhere_shields_without_a_quota() {
    let patient = Patient::default();
    patient.go.add_permits(1);
    let service = Arc::new(patient.clone());
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let router = Router::new().service(patient.clone()).expect("one");
    let limits = Limits::default();
    let server = Server::start(
        listener,
        &key(),
        Arc::new(Anyone(b"server")),
        router,
        limits,
    );
    let server = server.expect("sound");
    let connector = Connector::new(&key(), Arc::new(Anyone(b"client")), Limits::default());
    let connected = connector
        .expect("sound")
        .connect(&server.local_addr().to_string(), PATIENCE)
        .await
        .expect("admitted");
    let context = CallContext::new(connected.peer().clone(), None);
    let reply = sealmoot_rpc::Service::call(&service, context, SHIELDS, Bytes::from_static(b"x"));
    assert_eq!(reply.await.expect("a reply"), &b"x"[..]);
}
