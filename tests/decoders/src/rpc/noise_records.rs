//! Records of an established Noise channel: changed by somebody without the keys, and
//! made by somebody with them.

use std::sync::LazyLock;
use std::time::Instant;

use sealmoot_rpc::noise::limits::{FRAGMENT_BYTES_MAX, MESSAGE_BYTES_MAX, PREFIX_BYTES};
use sealmoot_rpc::noise::{
    Answered, Event, OFFER_BYTES, ReceiveError, ReceiveHalf, Received, SendHalf, Suite,
    TransportSettings,
};

use super::genuine;
use super::noise::{
    CLIENT_SECRET, CLIENT_SEED, SERVER, SERVER_SEED, SUITES, initiator, randomness, responder,
};
use crate::{Decoder, Outcome};

pub(super) const ALL: &[Decoder] = &[
    Decoder {
        name: "noise_record",
        authenticates: true,
        samples: || RECORDS.to_vec(),
        check: |bytes| {
            let mut buffer = bytes.to_vec();
            let outcome = match receiver(0).receive(&mut buffer) {
                Ok(Received {
                    consumed,
                    event: Event::Payload(_) | Event::Closed,
                }) if consumed == bytes.len() => Outcome::Accepted,
                _ => Outcome::Refused,
            };
            genuine(outcome, bytes, &RECORDS)
        },
    },
    Decoder {
        name: "noise_records",
        authenticates: true,
        samples: || {
            let streams = (0..).zip(STREAMS.iter());
            streams
                .map(|(channel, stream)| [&[channel], &stream.bytes[..]].concat())
                .collect()
        },
        check: |bytes| {
            let Some((channel, bytes)) = bytes.split_first() else {
                return Outcome::Refused;
            };
            let Some(stream) = STREAMS.get(usize::from(*channel)) else {
                return Outcome::Refused;
            };
            let whole = received(*channel, bytes, bytes.len().max(1));
            let pieces = received(*channel, bytes, 1 + bytes.len() / 7);
            assert_eq!(whole, pieces);
            let (payloads, ended) = whole;
            assert!(stream.payloads.starts_with(&payloads), "nobody said that");
            match ended {
                Ended::Closed => {
                    assert_eq!(payloads, stream.payloads);
                    assert!(bytes == stream.bytes, "nobody made that");
                    Outcome::Accepted
                }
                Ended::Cut | Ended::Failed(_) => Outcome::Refused,
            }
        },
    },
    Decoder {
        name: "noise_keyed_records",
        authenticates: false,
        samples: || {
            vec![
                b"\x01\x00\x05\x04\x00\x00".to_vec(),
                b"\x03\x00\xff\x00\x01\x02\x01\x01\x00\x01\x01\x00\x00\x04\x00\x00".to_vec(),
            ]
        },
        check: keyed_records,
    },
];

/// How a stream of records came out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ended {
    /// With the peer's close and nothing behind it.
    Closed,
    /// Without one.
    Cut,
    Failed(ReceiveError),
}

/// First records of channel 0: payloads, and the close.
static RECORDS: LazyLock<Vec<Vec<u8>>> = LazyLock::new(|| {
    let settings = TransportSettings::default();
    vec![
        sealed(0, settings, &[b"payload"], false),
        sealed(0, settings, &[b""], false),
        sealed(0, settings, &[], true),
    ]
});

/// What an honest sender says, and its records, on a channel that is its own: no two
/// streams share a key, so parts of one do not fit into another.
struct Stream {
    payloads: Vec<Vec<u8>>,
    bytes: Vec<u8>,
}

static STREAMS: LazyLock<Vec<Stream>> = LazyLock::new(|| {
    let small = [b"first".to_vec(), Vec::new(), vec![3; 100]];
    let settings = TransportSettings::default();
    let rekeying = TransportSettings {
        rekey_bytes: 100,
        ..settings
    };
    [
        (small.to_vec(), settings),
        (vec![vec![4; 80]; 4], rekeying),
        (
            vec![vec![5; FRAGMENT_BYTES_MAX + 10], vec![6; 10]],
            settings,
        ),
    ]
    .into_iter()
    .zip(0..)
    .map(|((payloads, settings), channel)| {
        let slices: Vec<_> = payloads.iter().map(Vec::as_slice).collect();
        let bytes = sealed(channel, settings, &slices, true);
        Stream { payloads, bytes }
    })
    .collect()
});

/// IK without the KEM: the responder, who receives, has its channel after one frame.
const SUITE: Suite = SUITES[1];

static FIRST_FRAME: LazyLock<Vec<u8>> =
    LazyLock::new(|| initiator(SUITE, TransportSettings::default()).1);

/// The longest payload that the receiver takes.
const PAYLOAD_BYTES_MAX: usize = 3 * FRAGMENT_BYTES_MAX;

fn sealed(channel: u8, settings: TransportSettings, payloads: &[&[u8]], close: bool) -> Vec<u8> {
    let now = Instant::now();
    let mut sender = sender(channel, settings, now);
    let mut bytes = Vec::new();
    for payload in payloads {
        sender.seal(payload, now, &mut bytes).expect("alive");
    }
    if close {
        sender.close(now, &mut bytes).expect("alive");
    }
    bytes
}

fn sender(channel: u8, settings: TransportSettings, now: Instant) -> SendHalf {
    let (initiator, _) = initiator(SUITE, settings);
    let (transport, _) = initiator.finish(&answered(channel).1, now).expect("honest");
    transport.split().0
}

/// The responder's side of `channel`, before its first record; the same every time.
fn receiver(channel: u8) -> ReceiveHalf {
    match answered(channel).0 {
        Answered::Established(transport) => transport.split().1,
        Answered::AwaitingInitiator(_) => panic!("IK has two messages"),
    }
}

fn answered(channel: u8) -> (Answered, Vec<u8>) {
    let settings = TransportSettings {
        payload_bytes_max: PAYLOAD_BYTES_MAX,
        ..TransportSettings::default()
    };
    responder(settings)
        .accept(
            &FIRST_FRAME,
            randomness(SERVER_SEED + channel),
            Instant::now(),
        )
        .expect("an honest first frame")
}

/// Payloads and end of a stream that arrives in pieces.
fn received(channel: u8, bytes: &[u8], piece: usize) -> (Vec<Vec<u8>>, Ended) {
    let mut receiver = receiver(channel);
    let mut payloads = Vec::new();
    let mut closed = false;
    let mut buffer = Vec::new();
    for piece in bytes.chunks(piece) {
        buffer.extend_from_slice(piece);
        loop {
            let received = match receiver.receive(&mut buffer) {
                Ok(received) => received,
                Err(error) => {
                    assert!(receiver.end_of_stream().is_err());
                    let mut more = [0; 64];
                    let again = receiver.receive(&mut more);
                    assert_eq!(again, Err(ReceiveError::Dead), "it went on");
                    return (payloads, Ended::Failed(error));
                }
            };
            let consumed = received.consumed;
            match received.event {
                Event::Incomplete { needed } => {
                    assert_eq!(consumed, 0);
                    assert!(needed <= PREFIX_BYTES + MESSAGE_BYTES_MAX);
                    break;
                }
                Event::Fragment => {}
                Event::Payload(payload) => payloads.push(payload.to_vec()),
                Event::Closed => closed = true,
            }
            assert!(consumed > 0);
            buffer.drain(..consumed);
        }
    }
    assert_eq!(receiver.end_of_stream().is_ok(), closed);
    let ended = if closed { Ended::Closed } else { Ended::Cut };
    (payloads, ended)
}

/// Records whose flags and lengths the bytes choose, sealed by a peer that holds the
/// keys: snow, over the same handshake. The receiver must do what `rpc/DESIGN.md`
/// draws, and refuse with the error of that rule.
///
/// Each record is `flags, 0, length`, or `flags, 1` for a full fragment, or
/// `flags, 2` for one byte less.
fn keyed_records(bytes: &[u8]) -> Outcome {
    const RECORDS_MAX: usize = 12;
    let mut records = Vec::new();
    let mut rest = bytes;
    while let [flags, shape, behind @ ..] = rest {
        let length = match (shape, behind) {
            (0, [length, behind @ ..]) => {
                rest = behind;
                usize::from(*length)
            }
            (1, _) => {
                rest = behind;
                FRAGMENT_BYTES_MAX
            }
            (2, _) => {
                rest = behind;
                FRAGMENT_BYTES_MAX - 1
            }
            _ => return Outcome::Refused,
        };
        let filling = u8::try_from(records.len()).expect("few");
        records.push((*flags, vec![filling; length]));
        if records.len() > RECORDS_MAX {
            return Outcome::Refused;
        }
    }
    if !rest.is_empty() || records.is_empty() {
        return Outcome::Refused;
    }
    let outcome = received(0, &sealed_by_snow(&records), usize::MAX);
    assert_eq!(outcome, drawn(&records));
    match outcome.1 {
        Ended::Closed => Outcome::Accepted,
        Ended::Cut | Ended::Failed(_) => Outcome::Refused,
    }
}

const LAST: u8 = 0b001;
const REKEY: u8 = 0b010;
const CLOSE: u8 = 0b100;

/// The table of flags in `rpc/DESIGN.md`, once more.
fn drawn(records: &[(u8, Vec<u8>)]) -> (Vec<Vec<u8>>, Ended) {
    let mut payloads = Vec::new();
    let mut parts = Vec::new();
    let mut closed = false;
    for (flags, content) in records {
        let last = flags & LAST != 0;
        let full = content.len() == FRAGMENT_BYTES_MAX;
        let second_form = last && content.is_empty() && !parts.is_empty();
        let failed = if closed {
            Some(ReceiveError::AfterClose)
        } else if *flags == CLOSE {
            closed = true;
            (!content.is_empty() || !parts.is_empty()).then_some(ReceiveError::Close)
        } else if flags & !(LAST | REKEY) != 0 {
            Some(ReceiveError::UnknownFlags)
        } else if second_form || (!last && !full) {
            Some(ReceiveError::FragmentNotFull)
        } else if parts.len() + content.len() > PAYLOAD_BYTES_MAX {
            Some(ReceiveError::PayloadTooLong)
        } else {
            parts.extend_from_slice(content);
            if last {
                payloads.push(std::mem::take(&mut parts));
            }
            None
        };
        if let Some(error) = failed {
            return (payloads, Ended::Failed(error));
        }
    }
    let ended = if closed { Ended::Closed } else { Ended::Cut };
    (payloads, ended)
}

/// Length, then flags and content as one Noise message; the next key where the flags
/// say so.
fn sealed_by_snow(records: &[(u8, Vec<u8>)]) -> Vec<u8> {
    let mut snow = snow_transport();
    let mut wire = Vec::new();
    let mut message = vec![0; MESSAGE_BYTES_MAX];
    for (flags, content) in records {
        let plaintext = [&[*flags], &content[..]].concat();
        let length = snow.write_message(&plaintext, &mut message);
        let length = length.expect("a fragment fits a Noise message");
        let prefix = u16::try_from(length).expect("a Noise message has 16 bits of length");
        wire.extend_from_slice(&prefix.to_be_bytes());
        wire.extend_from_slice(&message[..length]);
        if flags & REKEY != 0 {
            snow.rekey_outgoing();
        }
    }
    wire
}

/// The initiator's side of channel 0.
fn snow_transport() -> snow::TransportState {
    const INVARIANT: &str = "snow speaks what we speak, with good keys";
    let (offered, _tag) = FIRST_FRAME[PREFIX_BYTES..].split_at(FIRST_FRAME.len() - 18);
    let (offer, first) = offered.split_at(OFFER_BYTES);
    let prologue = [b"sealmoot noise channel", offer].concat();
    let server = *SERVER.public().as_bytes();
    let name = SUITE.protocol_name();
    let mut handshake = snow::Builder::new(name.parse().expect(INVARIANT))
        .local_private_key(&CLIENT_SECRET)
        .and_then(|builder| builder.remote_public_key(&server))
        .and_then(|builder| builder.prologue(&prologue))
        .expect(INVARIANT)
        .fixed_ephemeral_key_for_testing_only(&[CLIENT_SEED; 32])
        .build_initiator()
        .expect(INVARIANT);
    let mut message = [0; 1024];
    let length = handshake.write_message(&[], &mut message).expect(INVARIANT);
    assert_eq!(message[..length], *first, "the same handshake");
    let answer = &answered(0).1[PREFIX_BYTES..];
    handshake
        .read_message(answer, &mut message)
        .expect(INVARIANT);
    handshake.into_transport_mode().expect(INVARIANT)
}
