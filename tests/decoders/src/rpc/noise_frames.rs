//! The frames of Noise handshakes, each handed to an honest side that waits for it.

use std::sync::LazyLock;
use std::time::Instant;

use sealmoot_crypto::digest::{MacKey, Sha256};
use sealmoot_crypto::secret::SecretArray;
use sealmoot_rpc::noise::limits::{HANDSHAKE_FRAME_BYTES_MAX, PREFIX_BYTES};
use sealmoot_rpc::noise::{
    Acceptance, Answered, AwaitingInitiator, OFFER_BYTES, Pattern, Responder, Suite, Transport,
    TransportSettings, handshake_frame_bytes,
};

use super::genuine;
use super::noise::{
    CLIENT, SERVER, SERVER_SEED, SUITES, acceptance, initiator, randomness, responder,
};
use crate::{Decoder, Outcome};

pub(super) const ALL: &[Decoder] = &[
    Decoder {
        name: "noise_frame_length",
        authenticates: false,
        samples: || vec![vec![0, 0], vec![0, 96], vec![5, 40]],
        check: |bytes| {
            let Ok(prefix) = <[u8; PREFIX_BYTES]>::try_from(bytes) else {
                return Outcome::Refused;
            };
            let length = handshake_frame_bytes(prefix);
            if let Ok(length) = length {
                assert_eq!(
                    length,
                    PREFIX_BYTES + usize::from(u16::from_be_bytes(prefix))
                );
                assert!(length <= HANDSHAKE_FRAME_BYTES_MAX);
            }
            Outcome::of(&length)
        },
    },
    Decoder {
        name: "noise_first_frame",
        authenticates: true,
        samples: || FIRST_FRAMES.to_vec(),
        check: |bytes| {
            let responder = responder(TransportSettings::default());
            genuine(
                Outcome::of(&accept(&responder, bytes)),
                bytes,
                &FIRST_FRAMES,
            )
        },
    },
    Decoder {
        name: "noise_first_message",
        // Whoever knows the responder's public key can write XX's.
        authenticates: false,
        samples: first_messages,
        check: first_message,
    },
    Decoder {
        name: "noise_answer",
        authenticates: true,
        samples: || ANSWERS.to_vec(),
        check: |bytes| {
            let Some((number, answer)) = bytes.split_first() else {
                return Outcome::Refused;
            };
            let Some(suite) = SUITES.get(usize::from(*number)) else {
                return Outcome::Refused;
            };
            let (initiator, _) = initiator(*suite, TransportSettings::default());
            let finished = initiator.finish(answer, Instant::now());
            if let Ok((transport, third)) = &finished {
                assert_eq!(transport.remote_static(), Some(SERVER.public()));
                assert_eq!(third.is_some(), suite.pattern == Pattern::Xx);
            }
            genuine(Outcome::of(&finished), bytes, &ANSWERS)
        },
    },
    Decoder {
        name: "noise_last_frame",
        authenticates: true,
        samples: || LAST_FRAMES.to_vec(),
        check: |bytes| {
            let Some((number, frame)) = bytes.split_first() else {
                return Outcome::Refused;
            };
            let Some(suite) = XX.get(usize::from(*number)) else {
                return Outcome::Refused;
            };
            let (answered, _) = honest_answer(*suite);
            let finished = awaiting(answered).finish(frame, Instant::now());
            if let Ok(transport) = &finished {
                assert_eq!(transport.remote_static(), Some(CLIENT.public()));
            }
            genuine(Outcome::of(&finished), bytes, &LAST_FRAMES)
        },
    },
];

/// Those of [`SUITES`] that have a third message.
const XX: [Suite; 2] = [SUITES[0], SUITES[3]];

/// The honest first frames, one for each of [`SUITES`].
static FIRST_FRAMES: LazyLock<Vec<Vec<u8>>> = LazyLock::new(|| {
    SUITES
        .iter()
        .map(|suite| initiator(*suite, TransportSettings::default()).1)
        .collect()
});

/// A number of [`SUITES`], then the answer.
static ANSWERS: LazyLock<Vec<Vec<u8>>> = LazyLock::new(|| {
    let suites = (0..).zip(SUITES);
    suites
        .map(|(number, suite)| [&[number], &honest_answer(suite).1[..]].concat())
        .collect()
});

/// A number of [`XX`], then the third frame.
static LAST_FRAMES: LazyLock<Vec<Vec<u8>>> = LazyLock::new(|| {
    let suites = (0..).zip(XX);
    suites
        .map(|(number, suite)| [&[number], &honest_third(suite)[..]].concat())
        .collect()
});

fn accept(responder: &Responder, frame: &[u8]) -> Result<Answered, ()> {
    let accepted = responder.accept(frame, randomness(SERVER_SEED), Instant::now());
    let (answered, answer) = accepted.map_err(drop)?;
    // What answers a stranger is one frame.
    let prefix = *answer.first_chunk().expect("a frame has a length");
    assert_eq!(handshake_frame_bytes(prefix), Ok(answer.len()));
    if let Answered::Established(transport) = &answered {
        // A first message can be a recording.
        assert_eq!(transport.remote_static(), None);
    }
    Ok(answered)
}

fn honest_answer(suite: Suite) -> (Answered, Vec<u8>) {
    let at = SUITES.iter().position(|one| *one == suite);
    let frame = &FIRST_FRAMES[at.expect("callers name one of them")];
    responder(TransportSettings::default())
        .accept(frame, randomness(SERVER_SEED), Instant::now())
        .expect("an honest first frame")
}

fn honest_third(suite: Suite) -> Vec<u8> {
    let (initiator, _) = initiator(suite, TransportSettings::default());
    let finished = initiator.finish(&honest_answer(suite).1, Instant::now());
    let (_, third): (Transport, _) = finished.expect("an honest answer");
    third.expect("XX has a third message")
}

fn awaiting(answered: Answered) -> AwaitingInitiator {
    match answered {
        Answered::AwaitingInitiator(awaiting) => awaiting,
        Answered::Established(_) => panic!("XX has a third message"),
    }
}

const TAG_BYTES: usize = 16;
const FLAGS_AT: usize = OFFER_BYTES - 1;

/// Offers and first messages, without length and tag; the last is XX's without the
/// flag for a tag.
fn first_messages() -> Vec<Vec<u8>> {
    let mut messages: Vec<_> = FIRST_FRAMES
        .iter()
        .map(|frame| frame[PREFIX_BYTES..frame.len() - TAG_BYTES].to_vec())
        .collect();
    let mut untagged = messages[0].clone();
    untagged[FLAGS_AT] = 0;
    messages.push(untagged);
    messages
}

/// Puts length and tag around `bytes`, so that they reach what stands behind both:
/// the tag is keyed by a public key, so an attacker can do the same.
fn first_message(bytes: &[u8]) -> Outcome {
    let mut body = bytes.to_vec();
    if bytes.get(FLAGS_AT).is_some_and(|flags| *flags != 0) {
        body.extend_from_slice(&first_message_tag(bytes));
    }
    let Ok(length) = u16::try_from(body.len()) else {
        return Outcome::Refused;
    };
    let frame = [&length.to_be_bytes(), &body[..]].concat();
    let responder = Responder::new(
        &SERVER,
        Acceptance {
            untagged_xx: true,
            ..acceptance(TransportSettings::default())
        },
    );
    let accepted = accept(&responder, &frame);
    if let Ok(Answered::Established(_)) = &accepted {
        // IK and KK authenticate their initiator in the first message.
        assert!(FIRST_FRAMES.contains(&frame), "made without the key");
    }
    Outcome::of(&accepted)
}

/// As `rpc/DESIGN.md` draws it.
fn first_message_tag(offered: &[u8]) -> [u8; TAG_BYTES] {
    let mut hasher = Sha256::new();
    hasher.update(b"sealmoot noise first message 1");
    hasher.update(SERVER.public().as_bytes());
    let key = MacKey::from_secret(&SecretArray::from_bytes(hasher.finish()));
    *key.tag(&[offered]).first_chunk().expect("32 bytes")
}
