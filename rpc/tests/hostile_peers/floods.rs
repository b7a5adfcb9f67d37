//! Lawful frames, in numbers.

use std::time::Duration;

use sealmoot_rpc::frame::{FLAG_MORE, FLAG_ONCE, Kind};
use sealmoot_rpc::limits::{METADATA_BYTES_MAX, METADATA_ENTRIES_MAX};
use sealmoot_rpc::{Code, Execution, Limits, Metadata, MethodKind};

use super::credit::assert_answered;
use super::memory::{before, ran_alone};
use super::peer::{Ear, call, call_with, cancel, end, message, of, prefixed};
use super::service::{CHAT, READ, SILENT, SLOW, UNREAD};
use super::world::{BOTH, Over, World, count, is_full, quiet};
use crate::common::{BIG, ECHO, STUCK};

const IN_FLIGHT: u32 = 1_024;

/// The frames with which a call of this number begins.
type Opening = dyn Fn(u32) -> Vec<u8>;

/// Failures of so many calls, all the same.
async fn failures(ear: &mut Ear, count: u32) -> (Code, Execution, String) {
    let mut seen = None;
    for _ in 0..count {
        let said = ear.next().await.expect("an answer each");
        assert_eq!(said.kind, Kind::Reply, "{said:?}");
        let status = said.failure();
        let this = (
            status.code(),
            status.execution(),
            status.message().to_owned(),
        );
        assert_eq!(*seen.get_or_insert_with(|| this.clone()), this);
    }
    seen.expect("some")
}

#[tokio::test]
async fn calling_and_cancelling_in_a_loop_gains_nothing() {
    if ran_alone() {
        return;
    }
    let world = World::new(Limits {
        cancellations_per_second_max: u32::MAX,
        ..quiet()
    })
    .await;
    let calls = u32::try_from(count(100_000, 4_000)).expect("small");
    for over in BOTH {
        for (kind, method) in [
            (MethodKind::Unary, SLOW),
            (MethodKind::Unary, STUCK),
            (MethodKind::ClientStream, UNREAD),
            (MethodKind::ServerStream, SILENT),
            (MethodKind::Bidirectional, CHAT),
        ] {
            let (mut mouth, mut ear) = world.peer(over).await;
            let memory = before();
            let mut running_max = 0;
            for first in (1..=calls).step_by(500) {
                let flood: Vec<u8> = (first..first + 500)
                    .flat_map(|number| [call(number, kind, method, b""), cancel(number)].concat())
                    .collect();
                assert!(mouth.say(&flood).await);
                ear.skip().await;
                let running = world.patient.running.running() + world.plain.stuck.running();
                running_max = running_max.max(running);
            }
            assert_answered(&mut mouth, &mut ear).await;
            memory.assert_grew_at_most(24, "cancelled calls");
            assert!(running_max <= IN_FLIGHT as usize + 2, "{running_max}");
            drop((mouth, ear));
        }
    }
    world.plain.stuck.reaches(0).await;
    world.assert_unharmed().await;
}

/// A cancel for everything that there is, and for what is not.
#[tokio::test]
async fn frames_for_nothing_are_ignored() {
    if ran_alone() {
        return;
    }
    let world = World::new(quiet()).await;
    for over in BOTH {
        let (mut mouth, mut ear) = world.peer(over).await;
        let memory = before();
        let flood: Vec<u8> = (1..=500)
            .flat_map(|number| {
                [
                    cancel(number),
                    message(number, b"x"),
                    end(number),
                    message(number, b""),
                ]
                .concat()
            })
            .collect();
        for _ in 0..count(200, 10) {
            assert!(mouth.say(&flood).await);
        }
        assert_answered(&mut mouth, &mut ear).await;
        memory.assert_grew_at_most(16, "frames for nothing");
    }
    world.assert_unharmed().await;
}

/// Calls that begin and never go on: a thousand beyond the bound are refused,
/// the others end by their deadline.
#[tokio::test]
async fn half_open_calls_are_refused_beyond_their_bound_and_end_in_time() {
    if ran_alone() {
        return;
    }
    // Enough to open and to refuse two thousand on a busy machine.
    let moment = Duration::from_secs(2);
    let world = World::new(Limits {
        call_duration_max: moment,
        stream_duration_max: moment,
        ..quiet()
    })
    .await;
    let begun = |number| of(Kind::Call, FLAG_MORE, number, &prefixed(ECHO, b"begun"));
    let stream = |number| call(number, MethodKind::ClientStream, UNREAD, b"");
    let chat = |number| call(number, MethodKind::Bidirectional, CHAT, b"");
    let silent = |number| call(number, MethodKind::ServerStream, SILENT, b"");
    let inside = |number| {
        let opened = call(number, MethodKind::ClientStream, READ, b"");
        [opened, of(Kind::Chunk, 0, number, b"part")].concat()
    };
    let openings: [(&Opening, Execution); 5] = [
        (&begun, Execution::NotStarted),
        (&stream, Execution::MaybeExecuted),
        (&chat, Execution::MaybeExecuted),
        (&silent, Execution::MaybeExecuted),
        (&inside, Execution::MaybeExecuted),
    ];
    for over in BOTH {
        // Each takes as long as a call may.
        let openings = if over == Over::Tls && !is_full() {
            &openings[..1]
        } else {
            &openings
        };
        for (opening, execution) in openings {
            let (mut mouth, mut ear) = world.peer(over).await;
            let memory = before();
            let held: Vec<u8> = (1..=IN_FLIGHT).flat_map(opening).collect();
            let beyond: Vec<u8> = (5_000..6_000).flat_map(opening).collect();
            assert!(mouth.say(&held).await && mouth.say(&beyond).await);
            let refused = failures(&mut ear, 1_000).await;
            let (code, message) = (
                Code::ResourceExhausted,
                "too many calls in flight".to_owned(),
            );
            assert_eq!(refused, (code, Execution::NotStarted, message));
            let ended = failures(&mut ear, IN_FLIGHT).await;
            let (code, message) = (Code::DeadlineExceeded, "the call took too long".to_owned());
            assert_eq!(ended, (code, *execution, message));
            memory.assert_grew_at_most(24, "half-open calls");
            // Their places are free again.
            assert_answered(&mut mouth, &mut ear).await;
        }
    }
    world.patient.running.reaches(0).await;
    world.assert_unharmed().await;
}

#[tokio::test]
async fn the_most_metadata_on_every_call_is_bounded() {
    if ran_alone() {
        return;
    }
    let world = World::new(quiet()).await;
    let mut metadata = Metadata::new();
    let most = METADATA_BYTES_MAX / METADATA_ENTRIES_MAX - 6;
    for index in 0..METADATA_ENTRIES_MAX {
        let key = format!("k{index:02}");
        metadata.insert(&key, vec![7; most]).expect("room");
    }
    assert_eq!(metadata.as_bytes().len(), METADATA_BYTES_MAX);
    for over in BOTH {
        let (mut mouth, mut ear) = world.peer(over).await;
        let memory = before();
        let first: Vec<u8> = (1..=IN_FLIGHT)
            .flat_map(|number| call_with(number, STUCK, &metadata))
            .collect();
        assert!(mouth.say(&first).await);
        drop(first);
        for round in 0..u32::try_from(count(20, 2)).expect("small") {
            let first = 5_000 + round * 1_000;
            let beyond: Vec<u8> = (first..first + 1_000)
                .flat_map(|number| call_with(number, STUCK, &metadata))
                .collect();
            assert!(mouth.say(&beyond).await);
            let (code, execution, _) = failures(&mut ear, 1_000).await;
            let refused = (Code::ResourceExhausted, Execution::NotStarted);
            assert_eq!((code, execution), refused);
        }
        // Twice 4 MiB are our own.
        memory.assert_grew_at_most(40, "metadata");
        assert!(mouth.say(&cancel(1)).await);
        assert_answered(&mut mouth, &mut ear).await;
    }
    world.plain.stuck.reaches(0).await;
    world.assert_unharmed().await;
}

/// 100,000 messages of nothing, and of one byte, in one stream that nobody reads.
#[tokio::test]
async fn messages_of_nothing_beyond_their_credit_close() {
    if ran_alone() {
        return;
    }
    let world = World::new(quiet()).await;
    for over in BOTH {
        for body in [&b""[..], b"x"] {
            let (mut mouth, mut ear) = world.peer(over).await;
            let memory = before();
            assert!(
                mouth
                    .say(&call(1, MethodKind::ClientStream, UNREAD, b""))
                    .await
            );
            let flood = message(1, body).repeat(1_000);
            let (_, reason) = tokio::join!(mouth.insist(&flood, 100), ear.goaway());
            assert_eq!(reason, "a stream exceeded its credit");
            memory.assert_grew_at_most(16, "messages of nothing");
            world.patient.running.reaches(0).await;
        }
    }
    world.assert_unharmed().await;
}

/// A window of the smallest messages in each of many streams that nobody reads.
#[tokio::test]
async fn small_messages_that_nobody_reads_are_bounded_together() {
    if ran_alone() {
        return;
    }
    let streams = u32::try_from(count(1_024, 128)).expect("small");
    let incoming_bytes_max = if streams == 1_024 { 64 << 20 } else { 8 << 20 };
    let world = World::new(Limits {
        incoming_bytes_max,
        ..quiet()
    })
    .await;
    for over in BOTH {
        for (body, messages) in [(&b""[..], 5_461), (b"x", 5_041)] {
            let (mut mouth, mut ear) = world.peer(over).await;
            let memory = before();
            let mut unread = Vec::new();
            for number in 1..=streams {
                let opening = call(number, MethodKind::ClientStream, UNREAD, b"");
                let flood = message(number, body).repeat(messages);
                unread.extend_from_slice(&opening);
                assert!(mouth.say(&[opening, flood].concat()).await);
            }
            let mut refused = 0;
            assert!(mouth.say(&call(9_999, MethodKind::Unary, ECHO, b"")).await);
            loop {
                let said = ear.next().await.expect("an open connection");
                if said.call == 9_999 {
                    break;
                }
                assert_eq!(said.failure().code(), Code::ResourceExhausted);
                refused += 1;
            }
            assert!(refused > 0 && refused < streams, "{refused} of {streams}");
            // A message counts for 64 bytes and takes up to twice as much.
            let most = (2 * incoming_bytes_max / (1024 * 1024)) as u64 + 8;
            memory.assert_grew_at_most(most, "small messages");
        }
    }
    world.patient.running.reaches(0).await;
    world.assert_unharmed().await;
}

/// Bursts of the smallest messages to handlers that do read: what they were kept
/// in is given back.
#[tokio::test]
async fn bursts_of_small_messages_leave_no_room_behind() {
    if ran_alone() {
        return;
    }
    let streams = u32::try_from(count(1_024, 400)).expect("small");
    let world = World::new(quiet()).await;
    let (mut mouth, mut ear) = world.peer(Over::Memory).await;
    let memory = before();
    for number in 1..=streams {
        let opening = call(number, MethodKind::ClientStream, READ, b"");
        let burst = message(number, b"x").repeat(2_300);
        assert!(mouth.say(&[opening, burst].concat()).await);
        tokio::task::yield_now().await;
    }
    assert!(mouth.say(&call(9_999, MethodKind::Unary, ECHO, b"")).await);
    while ear.next().await.expect("an open connection").call != 9_999 {}
    memory.assert_grew_at_most(u64::from(streams) / 32 + 8, "bursts");
    world.assert_unharmed().await;
}

#[tokio::test]
async fn pings_and_goaways_in_floods_cost_nothing() {
    if ran_alone() {
        return;
    }
    let world = World::new(quiet()).await;
    for over in BOTH {
        for flood in [
            of(Kind::Ping, 0, 0, b"12345678"),
            of(Kind::Pong, 0, 0, b"12345678"),
            of(Kind::Goaway, 0, 0, &[0xff; 9_000]),
            of(Kind::Goaway, 0, 0, b""),
        ] {
            let (mut mouth, mut ear) = world.peer(over).await;
            let memory = before();
            let times = count(100_000, 5_000) * 64 / (64 + flood.len());
            let flood = flood.repeat(100);
            for _ in 0..times.div_ceil(100) {
                assert!(mouth.say(&flood).await);
            }
            assert_answered(&mut mouth, &mut ear).await;
            memory.assert_grew_at_most(16, "pings and goaways");
        }
    }
    world.assert_unharmed().await;
}

/// Whatever is made of them, each is answered, and the bounds hold.
#[tokio::test]
async fn floods_of_incarnations_are_answered() {
    if ran_alone() {
        return;
    }
    let world = World::new(quiet()).await;
    let rounds = u32::try_from(count(100, 10)).expect("small");
    for over in BOTH {
        let (mut mouth, mut ear) = world.peer(over).await;
        let memory = before();
        for round in 0..rounds {
            let first = 1 + round * 500;
            let flood: Vec<u8> = (first..first + 500)
                .flat_map(|number| {
                    let mut block = [0; 32];
                    sealmoot_crypto::random::fill(&mut block[..16]).expect("random source");
                    let method = if number % 2 == 0 { 0 } else { ECHO };
                    if method != 0 {
                        block[16] = 1;
                        block[24] = 1;
                    }
                    of(Kind::Call, FLAG_ONCE, number, &prefixed(method, &block))
                })
                .collect();
            assert!(mouth.say(&flood).await);
            let mut answered: Vec<u32> = Vec::new();
            while answered.len() < 500 {
                let said = ear.next().await.expect("an open connection");
                assert_eq!(said.kind, Kind::Reply, "{said:?}");
                answered.push(said.call);
            }
            answered.sort_unstable();
            assert!(answered.iter().copied().eq(first..first + 500));
        }
        assert_answered(&mut mouth, &mut ear).await;
        memory.assert_grew_at_most(24, "incarnations");
    }
    world.assert_unharmed().await;
}

/// More reply bytes than may wait, to a client that reads none of them.
#[tokio::test]
async fn large_replies_that_nobody_takes_are_bounded() {
    if ran_alone() {
        return;
    }
    for over in BOTH {
        large_replies(over, 1).await;
    }
}

/// The same, asked for in one write.
#[tokio::test]
async fn large_replies_to_one_write_are_bounded() {
    if ran_alone() {
        return;
    }
    for over in BOTH {
        large_replies(over, 500).await;
    }
}

async fn large_replies(over: Over, calls_in_a_write: usize) {
    let stall = Duration::from_millis(500);
    let world = World::new(Limits {
        outgoing_bytes_max: 16 * 1024 * 1024,
        write_stall: stall,
        linger: Duration::from_millis(50),
        ..quiet()
    })
    .await;
    let (mut mouth, ear) = world.peer(over).await;
    let memory = before();
    let large = 4_194_304_u32.to_le_bytes();
    let numbers: Vec<u32> = (1..=500).collect();
    for numbers in numbers.chunks(calls_in_a_write) {
        let asked = |number: &u32| call(*number, MethodKind::Unary, BIG, &large);
        let asked: Vec<u8> = numbers.iter().flat_map(asked).collect();
        if !mouth.say_within(&asked, Duration::from_millis(50)).await {
            break;
        }
        tokio::time::sleep(Duration::from_micros(100)).await;
    }
    // Until it gives this client up.
    tokio::time::sleep(2 * stall).await;
    memory.assert_grew_at_most(48, &format!("{over:?}: large replies"));
    ear.ends().await;
    world.assert_unharmed().await;
}

/// More request bytes than may be held, none of them whole.
#[tokio::test]
async fn large_requests_that_never_end_are_bounded() {
    if ran_alone() {
        return;
    }
    let world = World::new(Limits {
        incoming_bytes_max: 16 * 1024 * 1024,
        ..quiet()
    })
    .await;
    let part = [7; 16 * 1024];
    for over in BOTH {
        let (mut mouth, mut ear) = world.peer(over).await;
        let memory = before();
        for number in 1..=8 {
            let begun = of(Kind::Call, FLAG_MORE, number, &prefixed(ECHO, &part));
            assert!(mouth.say(&begun).await);
            let parts = of(Kind::Chunk, 0, number, &part).repeat(15);
            for _ in 0..15 {
                assert!(mouth.say(&parts).await);
            }
        }
        let (code, execution, why) = failures(&mut ear, 4).await;
        assert_eq!(why, "too many request bytes in flight");
        assert_eq!(
            (code, execution),
            (Code::ResourceExhausted, Execution::NotStarted)
        );
        // Buffers double, and one that grows stands beside the one it was.
        memory.assert_grew_at_most(56, "large requests");
    }
    world.assert_unharmed().await;
}
