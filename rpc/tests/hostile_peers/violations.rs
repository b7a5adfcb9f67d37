//! Every rule of the wire, broken once: the connection is closed, and the goaway
//! names the rule.

use sealmoot_rpc::frame::{
    FLAG_LAST, FLAG_METADATA, FLAG_MORE, FLAG_ONCE, FLAG_REPLIES, FLAG_STREAM, FLAG_WELCOME, Kind,
};
use sealmoot_rpc::limits::{CHUNK_BYTES_MAX, METADATA_BYTES_MAX};
use sealmoot_rpc::{Limits, MethodKind};

use super::peer::{call, cancel, credit, end, frame, message, of, prefixed};
use super::service::{CHAT, ENDLESS, SILENT, UNREAD};
use super::world::{BOTH, Over, World, is_full};
use crate::common::{ECHO, STUCK};

const KINDS: [Kind; 10] = [
    Kind::Hello,
    Kind::Call,
    Kind::Reply,
    Kind::Chunk,
    Kind::End,
    Kind::Cancel,
    Kind::Credit,
    Kind::Ping,
    Kind::Pong,
    Kind::Goaway,
];

/// One offence and what the goaway says of it.
struct Offence {
    bytes: Vec<u8>,
    reason: String,
}

fn offence(bytes: impl Into<Vec<u8>>, reason: impl Into<String>) -> Offence {
    Offence {
        bytes: bytes.into(),
        reason: reason.into(),
    }
}

/// Over memory all of them; over TLS, where each costs a handshake, every
/// `nth`, or all.
async fn assert_closed_on(offences: Vec<Offence>, nth: usize) {
    let world = World::new(Limits::default()).await;
    for over in BOTH {
        let step = if over == Over::Memory || is_full() {
            1
        } else {
            nth
        };
        for offence in offences.iter().step_by(step) {
            let (mut mouth, mut ear) = world.peer(over).await;
            mouth.say(&offence.bytes).await;
            let reason = ear.goaway().await;
            assert_eq!(reason, offence.reason, "{over:?}: {:02x?}", {
                &offence.bytes[..offence.bytes.len().min(64)]
            });
        }
    }
    world.patient.running.reaches(0).await;
    world.plain.stuck.reaches(0).await;
    world.assert_unharmed().await;
}

fn number_of(kind: Kind) -> u32 {
    let has_none = matches!(kind, Kind::Hello | Kind::Ping | Kind::Pong | Kind::Goaway);
    u32::from(!has_none)
}

#[tokio::test]
async fn every_unknown_kind_closes() {
    let unknown = (0..=255).filter(|kind| !(1..=10).contains(kind));
    let offences = unknown
        .map(|kind: u8| {
            let reason = format!("unknown frame kind {kind}");
            offence(frame(kind, 0, 0, 0, b""), reason)
        })
        .collect();
    assert_closed_on(offences, 50).await;
}

/// As drawn in rpc/DESIGN.md.
fn defined_flags(kind: Kind) -> u8 {
    match kind {
        Kind::Hello => 0x02,
        Kind::Call => 0x01 | 0x04 | 0x08 | 0x10 | 0x20,
        Kind::Reply => 0x01 | 0x04,
        Kind::Chunk => 0x40,
        _ => 0,
    }
}

#[tokio::test]
async fn every_undefined_flag_closes() {
    let mut offences = Vec::new();
    for kind in KINDS {
        for flag in (0..8).map(|bit| 1 << bit) {
            if defined_flags(kind) & flag == 0 {
                let reason = format!("unknown flags {flag:#04x} on a {kind:?} frame");
                offences.push(offence(of(kind, flag, number_of(kind), b""), reason));
            }
        }
    }
    assert_eq!(offences.len(), 80 - 1 - 5 - 2 - 1);
    assert_closed_on(offences, 12).await;
}

#[tokio::test]
async fn what_a_client_does_not_send_closes() {
    let mut offences = vec![
        offence(of(Kind::Hello, 0, 0, b""), "unexpected Hello frame"),
        offence(
            of(Kind::Hello, FLAG_WELCOME, 0, b""),
            "unexpected Hello frame",
        ),
        offence(of(Kind::Reply, 0, 1, b""), "unexpected Reply frame"),
        offence(
            of(Kind::Reply, FLAG_STREAM, 1, b""),
            "unexpected Reply frame",
        ),
        offence(
            of(Kind::Ping, 0, 0, b"1234567"),
            "malformed frame: ping without its token",
        ),
        offence(
            of(Kind::Ping, 0, 0, b""),
            "malformed frame: ping without its token",
        ),
        offence(
            of(Kind::Call, 0, 1, b"short"),
            "malformed frame: call is cut short",
        ),
    ];
    for kind in KINDS {
        if !matches!(kind, Kind::Reply | Kind::Goaway) {
            let bytes = frame(kind as u8, 0, 1, number_of(kind), b"");
            let reason = "malformed frame: code on a frame that has none";
            offences.push(offence(bytes, reason));
        }
        let bytes = frame(kind as u8, 0, 0, 1 - number_of(kind), b"");
        let reason = "malformed frame: call number missing or out of place";
        offences.push(offence(bytes, reason));
        // The header alone.
        for length in [kind.payload_bytes_max() + 1, u32::MAX as usize] {
            let mut bytes = of(kind, 0, number_of(kind), b"");
            let announced = u32::try_from(length).expect("fits");
            bytes[..4].copy_from_slice(&announced.to_le_bytes());
            let max = kind.payload_bytes_max();
            let reason = format!("a {kind:?} frame of {length} bytes is longer than {max}");
            offences.push(offence(bytes, reason));
        }
    }
    assert_closed_on(offences, 9).await;
}

#[tokio::test]
async fn every_broken_rule_of_bodies_and_streams_closes() {
    let malformed = |reason: &str| format!("malformed frame: {reason}");
    let stream = || call(1, MethodKind::ClientStream, UNREAD, b"");
    let chat = || call(1, MethodKind::Bidirectional, CHAT, b"");
    let stuck = || call(1, MethodKind::Unary, STUCK, b"");
    let begun = || of(Kind::Call, FLAG_MORE, 1, &prefixed(ECHO, b"begun"));
    let full = [7; CHUNK_BYTES_MAX];
    let too_much = [7; CHUNK_BYTES_MAX + 1];
    let once = |flags: u8, method, sequence: u64, floor: u64| {
        let numbers = [sequence.to_le_bytes(), floor.to_le_bytes()].concat();
        let block = [&[9; 16][..], &numbers].concat();
        of(Kind::Call, FLAG_ONCE | flags, 1, &prefixed(method, &block))
    };
    let cases: Vec<(Vec<Vec<u8>>, &str)> = vec![
        (
            vec![of(
                Kind::Call,
                FLAG_STREAM | FLAG_MORE,
                1,
                &prefixed(UNREAD, b""),
            )],
            "a stream that is a body too",
        ),
        (
            vec![of(Kind::Call, FLAG_STREAM, 1, &prefixed(UNREAD, b"x"))],
            "a body beside a stream",
        ),
        (
            vec![of(Kind::Call, 0, 1, &prefixed(ECHO, &too_much))],
            "too much of a body in one frame",
        ),
        (
            vec![once(FLAG_STREAM, ECHO, 1, 1)],
            "an at-most-once call with a stream",
        ),
        (
            vec![once(FLAG_REPLIES, ECHO, 1, 1)],
            "an at-most-once call with a stream",
        ),
        (vec![once(0, ECHO, 0, 0)], "impossible at-most-once call"),
        (vec![once(0, ECHO, 1, 2)], "impossible at-most-once call"),
        (vec![once(0, 0, 1, 1)], "impossible at-most-once call"),
        (
            vec![once(FLAG_MORE, 0, 0, 0)],
            "impossible at-most-once call",
        ),
        (
            vec![of(Kind::Call, FLAG_ONCE, 1, &prefixed(ECHO, &[0; 31]))],
            "at-most-once block is cut short",
        ),
        (
            vec![stream(), of(Kind::Chunk, 0, 1, b"")],
            "empty part of a message",
        ),
        (
            vec![
                stream(),
                of(Kind::Chunk, 0, 1, b"x"),
                of(Kind::Chunk, FLAG_LAST, 1, b""),
            ],
            "empty part of a message",
        ),
        (
            vec![stream(), of(Kind::End, 0, 1, b"x")],
            "end of a stream with a payload",
        ),
        (
            vec![stream(), of(Kind::Chunk, 0, 1, b"x"), end(1)],
            "end of a stream inside a message",
        ),
        (vec![stream(), end(1), end(1)], "second end of a stream"),
        (
            vec![stream(), end(1), message(1, b"x")],
            "chunk behind the end of its stream",
        ),
        (
            vec![stuck(), of(Kind::Chunk, 0, 1, b"x")],
            "part of a request that is whole",
        ),
        (vec![stuck(), end(1)], "part of a request that is whole"),
        (
            vec![
                call(1, MethodKind::ServerStream, SILENT, b""),
                message(1, b"x"),
            ],
            "part of a request that is whole",
        ),
        (
            vec![begun(), of(Kind::Chunk, FLAG_LAST, 1, b"x")],
            "end of a message in a body",
        ),
        (
            vec![begun(), of(Kind::Chunk, 0, 1, b"")],
            "empty part of a body",
        ),
        (vec![begun(), end(1)], "empty part of a body"),
        (
            vec![chat(), of(Kind::Credit, 0, 1, b"abc")],
            "credit without its bytes",
        ),
    ];
    let mut offences: Vec<Offence> = cases
        .into_iter()
        .map(|(frames, reason)| offence(frames.concat(), malformed(reason)))
        .collect();
    for first in [
        stuck(),
        stream(),
        begun(),
        call(1, MethodKind::ServerStream, SILENT, b""),
    ] {
        for second in [stuck(), stream()] {
            let bytes = [&first[..], &second].concat();
            offences.push(offence(bytes, "call 1 is already in flight"));
        }
    }
    let exceeded = [stream(), message(1, &full).repeat(4)].concat();
    offences.push(offence(exceeded, "a stream exceeded its credit"));
    // Empty messages cost their headers.
    let exceeded = [stream(), message(1, b"").repeat(5462)].concat();
    offences.push(offence(exceeded, "a stream exceeded its credit"));
    assert_closed_on(offences, 7).await;
}

#[tokio::test]
async fn every_broken_rule_of_credit_closes() {
    let wrong = |bytes: u32| {
        format!("a stream was given {bytes} bytes of credit at a wrong time or beyond the maximum")
    };
    let silent = || call(1, MethodKind::ServerStream, SILENT, b"");
    let endless = || call(1, MethodKind::ServerStream, ENDLESS, b"");
    let stuck = || call(1, MethodKind::Unary, STUCK, b"");
    let mut offences = Vec::new();
    for (opening, bytes) in [
        // None; with a window unspent, too much; for what is no stream.
        (silent(), 0),
        (vec![], 0),
        (silent(), (1 << 30) - 65_536 + 1),
        (silent(), 1 << 30),
        (silent(), u32::MAX),
        (endless(), u32::MAX),
        (stuck(), 1),
        (call(1, MethodKind::ClientStream, UNREAD, b""), 32_768),
        (of(Kind::Call, FLAG_MORE, 1, &prefixed(ECHO, b"x")), 1),
    ] {
        offences.push(offence([opening, credit(1, bytes)].concat(), wrong(bytes)));
    }
    // In many steps.
    let most = (1 << 30) - 65_536;
    let steps = [silent(), credit(1, most), credit(1, 1)].concat();
    offences.push(offence(steps, wrong(1)));
    assert_closed_on(offences, 3).await;
}

#[tokio::test]
async fn every_unsound_metadata_closes() {
    let entry = |key: &[u8], value: &[u8]| {
        let length = u16::try_from(value.len()).expect("short").to_le_bytes();
        [
            &[u8::try_from(key.len()).expect("short")][..],
            key,
            &length,
            value,
        ]
        .concat()
    };
    let many = |count: u8| -> Vec<u8> {
        (0..count)
            .flat_map(|index| entry(&[b'a' + index / 10, b'0' + index % 10], b""))
            .collect()
    };
    let blocks: Vec<(Vec<u8>, &str)> = vec![
        (vec![], "empty metadata"),
        (
            [entry(b"a", b"1"), entry(b"a", b"1")].concat(),
            "metadata keys do not ascend",
        ),
        (
            [entry(b"b", b""), entry(b"a", b"")].concat(),
            "metadata keys do not ascend",
        ),
        (many(33), "too many metadata entries"),
        (
            entry(b"a", &[0; METADATA_BYTES_MAX - 3]),
            "metadata is too long",
        ),
        (entry(b"a", &[0; CHUNK_BYTES_MAX]), "metadata is too long"),
        (entry(b"A", b""), "metadata key is not sound"),
        (entry(b"", b""), "metadata key is not sound"),
        (entry(&[b'k'; 65], b""), "metadata key is not sound"),
        (b"\x01a\x05\x00xyz".to_vec(), "metadata entry is cut short"),
    ];
    let mut offences: Vec<Offence> = blocks
        .into_iter()
        .map(|(block, reason)| {
            let length = u16::try_from(block.len()).expect("short").to_le_bytes();
            let payload = prefixed(ECHO, &[&length[..], &block].concat());
            let bytes = of(Kind::Call, FLAG_METADATA, 1, &payload);
            offence(bytes, format!("malformed frame: {reason}"))
        })
        .collect();
    for block in [&b"\x01"[..], b"\x05\x00abc"] {
        let bytes = of(Kind::Call, FLAG_METADATA, 1, &prefixed(ECHO, block));
        offences.push(offence(bytes, "malformed frame: metadata is cut short"));
    }
    assert_closed_on(offences, 4).await;
}

/// A number may be used again when its call is over, and only then.
#[tokio::test]
async fn a_number_may_be_used_again_behind_its_call() {
    let world = World::new(Limits::default()).await;
    for over in BOTH {
        let (mut mouth, mut ear) = world.peer(over).await;
        for _ in 0..100 {
            mouth.say(&call(7, MethodKind::Unary, ECHO, b"again")).await;
            let said = ear.next().await.expect("an answer");
            assert_eq!((said.kind, said.call), (Kind::Reply, 7));
            assert_eq!((said.code, &said.payload[..]), (0, &b"again"[..]));
        }
        // Its handler is told to stop, and is not gone yet: the answer says so.
        let again = call(7, MethodKind::Unary, STUCK, b"");
        mouth.say(&[&again[..], &cancel(7), &again].concat()).await;
        assert_eq!(ear.goaway().await, "call 7 is already in flight");
    }
    world.assert_unharmed().await;
}
