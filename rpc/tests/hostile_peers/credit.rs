//! Credit that is lawful and of no use to anybody.

use std::time::Duration;

use sealmoot_rpc::frame::Kind;
use sealmoot_rpc::{Limits, MethodKind};

use super::memory::{before, ran_alone};
use super::peer::{Ear, Mouth, call, cancel, credit};
use super::service::{ENDLESS, SILENT};
use super::world::{BOTH, Over, World, count, quiet};
use crate::common::ECHO;

/// More than any call number that the tests use otherwise.
const LAST: u32 = 1_000_000;

/// That this peer, too, is answered, now or when those of its handlers are gone
/// that were told to stop.
pub async fn assert_answered(mouth: &mut Mouth, ear: &mut Ear) {
    for number in LAST.. {
        let asked = call(number, MethodKind::Unary, ECHO, b"me, too");
        assert!(mouth.say(&asked).await);
        let said = loop {
            let said = ear.next().await.expect("an open connection");
            assert_ne!(said.kind, Kind::Goaway, "{}", said.failure().message());
            if said.call == number {
                break said;
            }
        };
        if said.code == 0 {
            assert_eq!(said.payload, b"me, too");
            return;
        }
        assert_eq!(said.failure().message(), "too many calls in flight");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

#[tokio::test]
async fn one_byte_of_credit_at_a_time_is_taken() {
    if ran_alone() {
        return;
    }
    let world = World::new(quiet()).await;
    let times = count(100_000, 10_000);
    for over in BOTH {
        let (mut mouth, mut ear) = world.peer(over).await;
        let memory = before();
        let stream = call(1, MethodKind::ServerStream, SILENT, b"");
        assert!(mouth.say(&stream).await);
        for _ in 0..times / 1_000 {
            assert!(mouth.say(&credit(1, 1).repeat(1_000)).await);
        }
        assert_answered(&mut mouth, &mut ear).await;
        memory.assert_grew_at_most(16, "credit by the byte");
        assert!(mouth.say(&cancel(1)).await);
        world.patient.running.reaches(0).await;
    }
    world.assert_unharmed().await;
}

#[tokio::test]
async fn credit_for_calls_that_are_over_or_never_were_is_ignored() {
    let world = World::new(quiet()).await;
    for over in BOTH {
        let (mut mouth, mut ear) = world.peer(over).await;
        for round in 0..count(100, 10) {
            let first = 2 + u32::try_from(round).expect("small");
            let flood: Vec<u8> = (first..first + 1_000)
                .flat_map(|number| credit(number, u32::MAX))
                .collect();
            assert!(mouth.say(&flood).await);
        }
        assert_answered(&mut mouth, &mut ear).await;
    }
    world.assert_unharmed().await;
}

/// Streams of endless replies, all the credit that there can be, and a client
/// that reads nothing.
#[tokio::test]
async fn a_reader_that_never_takes_is_closed_and_costs_little() {
    if ran_alone() {
        return;
    }
    let streams = u32::try_from(count(1_024, 256)).expect("small");
    let limits = Limits {
        write_stall: Duration::from_millis(400),
        linger: Duration::from_millis(50),
        ..quiet()
    };
    let world = World::new(limits).await;
    for over in BOTH {
        for bytes in [0_u32, 1, 1_000, 100_000] {
            let (mut mouth, ear) = world.peer(over).await;
            let opening: Vec<u8> = (1..=streams)
                .flat_map(|number| {
                    let kind = MethodKind::ServerStream;
                    let stream = call(number, kind, ENDLESS, &bytes.to_le_bytes());
                    [stream, credit(number, (1 << 30) - 65_536)].concat()
                })
                .collect();
            let memory = before();
            let begun = world.endless_begun();
            // The server stops reading when it cannot write.
            mouth.say_within(&opening, Duration::from_millis(200)).await;
            // It may stop before it has read all of it.
            world.endless_begin(begun + streams as usize / 4).await;
            world.patient.running.reaches(0).await;
            // 64 KiB and a message a stream, half as much again around them, and
            // what the system's and the channel's buffers hold.
            let most = u64::from(streams) * 96 / 1024 + 24 + u64::from(bytes) / 3_000;
            memory.assert_grew_at_most(most, &format!("{streams} untaken streams of {bytes}"));
            drop((mouth, ear));
        }
        if over == Over::Tls {
            let (mut mouth, mut ear) = world.peer(over).await;
            assert_answered(&mut mouth, &mut ear).await;
        }
    }
    world.assert_unharmed().await;
}

/// As above, but the client gives no credit: the window is all that it gets.
#[tokio::test]
async fn a_stream_without_credit_ends_at_its_deadline() {
    let limits = Limits {
        // Long enough to be answered below, too.
        stream_duration_max: Duration::from_secs(5),
        ..quiet()
    };
    let world = World::new(limits).await;
    let (mut mouth, mut ear) = world.peer(Over::Memory).await;
    let stream = call(
        1,
        MethodKind::ServerStream,
        ENDLESS,
        &1_000_u32.to_le_bytes(),
    );
    assert!(mouth.say(&stream).await);
    let mut received = 0;
    let failure = loop {
        let said = ear.next().await.expect("an open connection");
        match said.kind {
            Kind::Chunk => received += 12 + said.payload.len(),
            _ if said.code != 0 => break said.failure(),
            _ => {}
        }
    };
    assert!(received <= 65_536, "{received} without credit");
    assert_eq!(failure.message(), "the call took too long");
    assert_answered(&mut mouth, &mut ear).await;
    world.assert_unharmed().await;
}
