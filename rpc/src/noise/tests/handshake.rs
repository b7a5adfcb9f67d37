//! Handshakes: undisturbed, and under everything that somebody on the wire can
//! do to their frames.

use std::sync::Arc;
use std::time::Instant;

use super::super::first_message::FIRST_MESSAGE_TAG_BYTES;
use super::super::handshake::{Handshake, Role};
use super::super::limits::{HANDSHAKE_FRAME_BYTES_MAX, PREFIX_BYTES};
use super::super::suite::Offer;
use super::super::{Event, OFFER_BYTES, ReceiveError, handshake_frame_bytes};
use super::{
    Acceptance, Answered, CLIENT, HandshakeError, Hash, Hybrid, Pattern, Responder, SERVER,
    STRANGER, Setup, StaticKey, Suite, all_suites, awaiting, randomness, suites,
};

/// The frame with its length and its tag put right again, as anybody can who
/// knows the responder's public key.
fn repaired(mut body: Vec<u8>, tag_for: Option<&StaticKey>) -> Vec<u8> {
    if let Some(key) = tag_for {
        let tag = key.first_message().tag(&body);
        body.extend_from_slice(&tag);
    }
    let length = u16::try_from(body.len()).expect("short");
    [&length.to_be_bytes(), &body[..]].concat()
}

/// Offer and Noise message of a tagged first frame.
fn offered(first: &[u8]) -> Vec<u8> {
    first[PREFIX_BYTES..first.len() - FIRST_MESSAGE_TAG_BYTES].to_vec()
}

fn flips(bytes: &[u8]) -> impl Iterator<Item = Vec<u8>> + '_ {
    (0..bytes.len() * 8).map(|bit| {
        let mut flipped = bytes.to_vec();
        flipped[bit / 8] ^= 1 << (bit % 8);
        flipped
    })
}

fn is_authentication(error: HandshakeError) -> bool {
    matches!(
        error,
        HandshakeError::Decrypt
            | HandshakeError::NotContributory
            | HandshakeError::EncapsulationKey
    )
}

#[test]
fn every_suite_ends_in_one_channel() {
    for suite in all_suites() {
        let now = Instant::now();
        let mut session = Setup::new(suite).run(now);
        assert_eq!(
            session.client.handshake_hash(),
            session.server.handshake_hash()
        );
        assert_eq!(
            session.client.channel_binding().as_bytes(),
            session.server.channel_binding().as_bytes()
        );
        let mut wire = Vec::new();
        session
            .client
            .seal(b"question", now, &mut wire)
            .expect("alive");
        let received = session.server.receive(&mut wire).expect("authentic");
        assert_eq!(received.event, Event::Payload(b"question"));
        let mut wire = Vec::new();
        session
            .server
            .seal(b"answer", now, &mut wire)
            .expect("alive");
        let received = session.client.receive(&mut wire).expect("authentic");
        assert_eq!(received.event, Event::Payload(b"answer"));
        assert_eq!(session.client.remote_static(), Some(SERVER.public()));
        assert_eq!(session.server.remote_static(), Some(CLIENT.public()));
    }
}

// As drawn in rpc/DESIGN.md.
#[test]
fn frames_have_the_sizes_that_are_drawn() {
    let sizes = |pattern, hybrid| -> Vec<usize> {
        let suite = Suite {
            pattern,
            hash: Hash::Sha256,
            hybrid,
        };
        let session = Setup::new(suite).run(Instant::now());
        for frame in &session.frames {
            let prefix = *frame.first_chunk().expect("a length");
            assert_eq!(handshake_frame_bytes(prefix), Ok(frame.len()));
        }
        session.frames.iter().map(Vec::len).collect()
    };
    assert_eq!(sizes(Pattern::Xx, Hybrid::Off), [58, 98, 66]);
    assert_eq!(sizes(Pattern::Xx, Hybrid::MlKem768), [1242, 1202, 66]);
    assert_eq!(sizes(Pattern::Ik, Hybrid::Off), [122, 50]);
    assert_eq!(sizes(Pattern::Ik, Hybrid::MlKem768), [1322, 1154]);
    assert_eq!(sizes(Pattern::Kk, Hybrid::Off), [74, 50]);
    assert_eq!(sizes(Pattern::Kk, Hybrid::MlKem768), [1274, 1154]);
    assert_eq!(
        handshake_frame_bytes([0x05, 0x29]),
        Err(HandshakeError::Length)
    );
    // So that one port can serve both: a TLS record begins with 22.
    const { assert!(HANDSHAKE_FRAME_BYTES_MAX >> 8 < 22) };
}

#[test]
fn the_responder_is_known_to_ik_and_kk_initiators_before_and_to_others_after() {
    for suite in suites() {
        let session = Setup::new(suite).run(Instant::now());
        assert_eq!(session.client.remote_static(), Some(SERVER.public()));
        let confirmed = suite.pattern == Pattern::Xx;
        assert_eq!(session.server.remote_static().is_some(), confirmed);
    }
}

#[test]
fn every_flipped_bit_of_a_tagged_first_frame_is_refused_before_any_key_agreement() {
    for suite in suites() {
        let now = Instant::now();
        let setup = Setup::new(suite);
        let (_, first) = setup.start();
        for flipped in flips(&first) {
            let error = setup.accept(&flipped, now).expect_err("changed");
            assert!(!is_authentication(error), "{suite}: {error}");
        }
    }
}

#[test]
fn every_flipped_bit_of_a_first_message_is_refused_by_one_side() {
    let (mut by_responder, mut by_initiator) = (0_u32, 0_u32);
    for suite in suites() {
        let now = Instant::now();
        let setup = Setup::new(suite);
        let (_, first) = setup.start();
        let offered = offered(&first);
        for message in flips(&offered[OFFER_BYTES..]) {
            let body = [&offered[..OFFER_BYTES], &message].concat();
            match setup.accept(&repaired(body, Some(&SERVER)), now) {
                Err(error) => {
                    assert!(is_authentication(error), "{suite}: {error}");
                    by_responder += 1;
                }
                Ok((_, second)) => {
                    // Only XX answers before anything is authenticated.
                    assert_eq!(suite.pattern, Pattern::Xx);
                    let (initiator, _) = setup.start();
                    let error = initiator.finish(&second, now).expect_err("changed");
                    assert!(is_authentication(error), "{suite}: {error}");
                    by_initiator += 1;
                }
            }
        }
    }
    assert!(by_responder > 20_000 && by_initiator > 5_000);
}

#[test]
fn every_flipped_bit_of_an_untagged_first_frame_is_refused_by_one_side() {
    let suite = Suite {
        pattern: Pattern::Xx,
        hash: Hash::Sha256,
        hybrid: Hybrid::Off,
    };
    let now = Instant::now();
    let setup = Setup::untagged(suite);
    let (_, first) = setup.start();
    for flipped in flips(&first) {
        if let Ok((_, second)) = setup.accept(&flipped, now) {
            let (initiator, _) = setup.start();
            let error = initiator.finish(&second, now).expect_err("changed");
            assert!(is_authentication(error), "{error}");
        }
    }
}

#[test]
fn every_flipped_bit_of_an_answer_is_refused() {
    for suite in suites() {
        let now = Instant::now();
        let setup = Setup::new(suite);
        let (_, first) = setup.start();
        let (_, second) = setup.accept(&first, now).expect("honest");
        for (bit, flipped) in flips(&second).enumerate() {
            let (initiator, _) = setup.start();
            let error = initiator.finish(&flipped, now).expect_err("changed");
            if bit < PREFIX_BYTES * 8 {
                assert_eq!(error, HandshakeError::Length);
            } else {
                assert!(is_authentication(error), "{suite}: {error}");
            }
        }
    }
}

#[test]
fn every_flipped_bit_of_a_third_frame_is_refused() {
    for suite in suites() {
        if suite.pattern != Pattern::Xx {
            continue;
        }
        let now = Instant::now();
        let setup = Setup::new(suite);
        let frames = setup.run(now).frames;
        for flipped in flips(&frames[2]) {
            let (answered, _) = setup.accept(&frames[0], now).expect("honest");
            let error = awaiting(answered)
                .finish(&flipped, now)
                .expect_err("changed");
            assert!(matches!(
                error,
                HandshakeError::Length | HandshakeError::Decrypt
            ));
        }
    }
}

#[test]
fn every_truncation_and_extension_of_a_frame_is_refused() {
    for suite in suites() {
        let now = Instant::now();
        let setup = Setup::new(suite);
        let frames = setup.run(now).frames;
        let refused = |index: usize, frame: &[u8]| {
            let error = match index {
                0 => setup.accept(frame, now).err(),
                1 => setup.start().0.finish(frame, now).err(),
                _ => {
                    let (answered, _) = setup.accept(&frames[0], now).expect("honest");
                    awaiting(answered).finish(frame, now).err()
                }
            };
            assert_eq!(error, Some(HandshakeError::Length), "{suite} {index}");
        };
        for (index, frame) in frames.iter().enumerate() {
            for length in 0..frame.len() {
                refused(index, &frame[..length]);
                if length >= PREFIX_BYTES {
                    // The same with a length that tells the truth.
                    refused(index, &repaired(frame[PREFIX_BYTES..length].to_vec(), None));
                }
            }
            let longer = [&frame[..], &[0]].concat();
            refused(index, &longer);
            refused(index, &repaired(longer[PREFIX_BYTES..].to_vec(), None));
        }
    }
}

#[test]
fn frames_out_of_order_or_to_the_wrong_role_are_refused() {
    for suite in suites() {
        let now = Instant::now();
        let setup = Setup::new(suite);
        let frames = setup.run(now).frames;
        for frame in &frames[1..] {
            assert!(setup.accept(frame, now).is_err(), "{suite}");
        }
        for (index, frame) in frames.iter().enumerate() {
            if index != 1 {
                let (initiator, _) = setup.start();
                assert!(initiator.finish(frame, now).is_err(), "{suite}");
            }
            if index != 2 && suite.pattern == Pattern::Xx {
                let (answered, _) = setup.accept(&frames[0], now).expect("honest");
                assert!(awaiting(answered).finish(frame, now).is_err(), "{suite}");
            }
        }
    }
}

#[test]
fn a_replayed_session_gets_no_further_than_its_first_frame() {
    for suite in suites() {
        let now = Instant::now();
        let recorded = Setup::new(suite);
        let mut session = recorded.run(now);
        let mut record = Vec::new();
        session
            .client
            .seal(b"pay", now, &mut record)
            .expect("alive");

        // The responder is itself again, with fresh ephemerals, perhaps after
        // a restart.
        let setup = Setup {
            server_seed: 77,
            ..recorded
        };
        let (answered, second) = setup.accept(&session.frames[0], now).expect("authentic");
        assert_ne!(second, session.frames[1]);
        match answered {
            Answered::AwaitingInitiator(awaiting) => {
                let error = awaiting.finish(&session.frames[2], now).expect_err("old");
                assert_eq!(error, HandshakeError::Decrypt);
            }
            Answered::Established(mut server) => {
                assert_eq!(server.remote_static(), None);
                assert_eq!(server.receive(&mut record), Err(ReceiveError::Decrypt));
                assert_eq!(server.remote_static(), None);
            }
        }
    }
}

#[test]
fn an_answer_from_another_session_is_refused() {
    for suite in suites() {
        let now = Instant::now();
        let setup = Setup::new(suite);
        let other = Setup {
            client_seed: 99,
            ..setup.clone()
        };
        let frames = setup.run(now).frames;
        let (initiator, _) = other.start();
        let error = initiator.finish(&frames[1], now).expect_err("not for us");
        assert_eq!(error, HandshakeError::Decrypt);
        if suite.pattern == Pattern::Xx {
            let (_, first) = other.start();
            let (answered, _) = other.accept(&first, now).expect("honest");
            let error = awaiting(answered)
                .finish(&frames[2], now)
                .expect_err("not for us");
            assert_eq!(error, HandshakeError::Decrypt);
        }
    }
}

#[test]
fn what_was_sent_does_not_work_as_its_own_answer() {
    for suite in suites() {
        let now = Instant::now();
        let (initiator, first) = Setup::new(suite).start();
        // Cut or filled to the length of an answer.
        let mut reflected = first[PREFIX_BYTES + OFFER_BYTES..].to_vec();
        reflected.resize(initiator.answer_bytes() - PREFIX_BYTES, 0);
        let error = initiator
            .finish(&repaired(reflected, None), now)
            .expect_err("reflected");
        assert!(is_authentication(error), "{suite}: {error}");
    }
}

#[test]
fn a_node_does_not_take_itself_for_a_peer() {
    for suite in suites() {
        let now = Instant::now();
        let mut setup = Setup::new(suite);
        setup.client = Arc::clone(&SERVER);
        setup.acceptance.kk_initiator = Some(SERVER.public());
        if suite.pattern == Pattern::Xx {
            setup.known = None;
            let (initiator, first) = setup.start();
            let (_, second) = setup.accept(&first, now).expect("not known yet");
            let error = initiator.finish(&second, now).expect_err("itself");
            assert_eq!(error, HandshakeError::OwnKey);
        } else {
            let error = super::Initiator::start(
                &SERVER,
                &setup.target(),
                &super::Options::default(),
                randomness(1),
            )
            .expect_err("itself");
            assert_eq!(error, HandshakeError::OwnKey);
        }
    }
}

#[test]
fn a_responder_does_not_take_its_own_key_for_an_initiators() {
    for suite in suites() {
        let now = Instant::now();
        // The same secret in another process, without the check: what a
        // reflected session looks like to the responder.
        let initiator = Handshake::new(
            suite,
            Role::Initiator,
            &[
                super::super::initiator::PROLOGUE_LABEL,
                &Offer {
                    suite,
                    tagged: true,
                }
                .encode(),
            ],
            &SERVER,
            (suite.pattern != Pattern::Xx).then(|| SERVER.public()),
            randomness(5),
        );
        let mut initiator = initiator.expect("complete");
        let mut body = Offer {
            suite,
            tagged: true,
        }
        .encode()
        .to_vec();
        initiator.write_message(&[], &mut body).expect("in turn");
        let mut setup = Setup::new(suite);
        setup.acceptance.kk_initiator = Some(SERVER.public());
        let result = setup.accept(&repaired(body, Some(&SERVER)), now);
        let error = match result {
            Err(error) => error,
            Ok((answered, second)) => {
                initiator
                    .read_message(&second[PREFIX_BYTES..])
                    .expect("honest");
                let mut third = Vec::new();
                initiator.write_message(&[], &mut third).expect("in turn");
                awaiting(answered)
                    .finish(&repaired(third, None), now)
                    .expect_err("its own key")
            }
        };
        assert_eq!(error, HandshakeError::OwnKey, "{suite}");
    }
}

#[test]
fn a_responder_with_another_key_is_found_out() {
    for suite in suites() {
        let now = Instant::now();
        let mut setup = Setup::new(suite);
        setup.server = Arc::clone(&STRANGER);
        let (initiator, first) = setup.start();
        assert_eq!(
            setup.accept(&first, now).map(|_| ()),
            Err(HandshakeError::FirstMessageTag)
        );
        // A stranger may leave the tag unread.
        let body = repaired(offered(&first), Some(&STRANGER));
        match setup.accept(&body, now) {
            Err(error) => assert_eq!(error, HandshakeError::Decrypt, "{suite}"),
            Ok((_, second)) => {
                assert_eq!(suite.pattern, Pattern::Xx);
                let error = initiator.finish(&second, now).expect_err("a stranger");
                assert_eq!(error, HandshakeError::WrongStatic);
            }
        }
    }
}

#[test]
fn kk_is_for_one_initiator() {
    for suite in suites() {
        if suite.pattern != Pattern::Kk {
            continue;
        }
        let now = Instant::now();
        let mut setup = Setup::new(suite);
        setup.client = Arc::clone(&STRANGER);
        let (_, first) = setup.start();
        assert_eq!(
            setup.accept(&first, now).map(|_| ()),
            Err(HandshakeError::Decrypt)
        );
        setup.acceptance.kk_initiator = None;
        assert_eq!(
            setup.accept(&first, now).map(|_| ()),
            Err(HandshakeError::NotAccepted(suite))
        );
    }
}

#[test]
fn a_changed_offer_fails_even_where_both_suites_are_accepted() {
    for suite in all_suites() {
        let now = Instant::now();
        let mut setup = Setup::new(suite);
        setup.acceptance.suites = all_suites();
        let (_, first) = setup.start();
        let offered = offered(&first);
        for other in all_suites() {
            if other == suite {
                continue;
            }
            let changed = Offer {
                suite: other,
                tagged: true,
            };
            let mut body = [&changed.encode()[..], &offered[OFFER_BYTES..]].concat();
            // The right length for the other suite, whatever it is.
            let length = OFFER_BYTES
                + super::super::pattern::message_bytes(other.pattern, other.hybrid, 0)
                    .expect("a first message");
            body.resize(length, 0);
            match setup.accept(&repaired(body, Some(&SERVER)), now) {
                Err(error) => assert!(is_authentication(error), "{suite} {other}: {error}"),
                Ok((_, second)) => {
                    assert_eq!(other.pattern, Pattern::Xx);
                    let (initiator, _) = setup.start();
                    assert!(initiator.finish(&second, now).is_err(), "{suite} {other}");
                }
            }
        }
    }
}

#[test]
fn a_stripped_tag_fails_even_where_none_is_demanded() {
    let suite = Suite::new(Pattern::Xx);
    let now = Instant::now();
    let setup = Setup::new(suite);
    let (initiator, first) = setup.start();
    let untagged = Offer {
        suite,
        tagged: false,
    };
    let body = [&untagged.encode()[..], &offered(&first)[OFFER_BYTES..]].concat();
    let (_, second) = setup.accept(&repaired(body, None), now).expect("open");
    let error = initiator.finish(&second, now).expect_err("changed");
    assert_eq!(error, HandshakeError::Decrypt);
}

#[test]
fn by_default_only_the_hybrid_with_a_tag_is_accepted() {
    let now = Instant::now();
    for suite in all_suites() {
        let setup = Setup::new(suite);
        let responder = Responder::new(&SERVER, Acceptance::default());
        let (_, first) = setup.start();
        let result = responder.accept(&first, randomness(4), now).map(|_| ());
        if suite == Suite::new(Pattern::Xx) || suite == Suite::new(Pattern::Ik) {
            assert_eq!(result, Ok(()));
        } else {
            assert_eq!(result, Err(HandshakeError::NotAccepted(suite)));
        }
    }
    let (_, first) = Setup::untagged(Suite::new(Pattern::Xx)).start();
    let responder = Responder::new(&SERVER, Acceptance::default());
    assert_eq!(
        responder.accept(&first, randomness(4), now).map(|_| ()),
        Err(HandshakeError::NotAccepted(Suite::new(Pattern::Xx)))
    );
}

#[test]
fn ik_and_kk_without_a_tag_are_never_accepted() {
    for suite in suites() {
        if suite.pattern == Pattern::Xx {
            continue;
        }
        let setup = Setup::new(suite);
        let (_, first) = setup.start();
        let untagged = Offer {
            suite,
            tagged: false,
        };
        let body = [&untagged.encode()[..], &offered(&first)[OFFER_BYTES..]].concat();
        assert_eq!(
            setup
                .accept(&repaired(body, None), Instant::now())
                .map(|_| ()),
            Err(HandshakeError::NotAccepted(suite))
        );
    }
}

#[test]
fn different_prologues_do_not_meet() {
    for suite in suites() {
        let now = Instant::now();
        let mut setup = Setup::new(suite);
        setup.client_prologue = b"one".to_vec();
        setup.acceptance.prologue = b"another".to_vec();
        let (initiator, first) = setup.start();
        match setup.accept(&first, now) {
            Err(error) => assert_eq!(error, HandshakeError::Decrypt),
            Ok((_, second)) => {
                let error = initiator.finish(&second, now).expect_err("differs");
                assert_eq!(error, HandshakeError::Decrypt);
            }
        }
    }
}

#[test]
fn other_randomness_makes_another_channel() {
    for suite in suites() {
        let now = Instant::now();
        let setup = Setup::new(suite);
        let one = setup.run(now);
        let other = Setup {
            server_seed: 23,
            ..setup
        }
        .run(now);
        assert_ne!(one.client.handshake_hash(), other.client.handshake_hash());
    }
}

#[test]
fn debug_shows_nothing_secret() {
    let setup = Setup::new(Suite::new(Pattern::Xx));
    let now = Instant::now();
    let (initiator, first) = setup.start();
    let (answered, _) = setup.accept(&first, now).expect("honest");
    let session = setup.run(now);
    let (send, receive) = setup.run(now).client.split();
    let text = format!(
        "{initiator:?} {answered:?} {:?} {:?} {send:?} {receive:?} {:?} {:?}",
        session.client,
        setup.responder(),
        CLIENT,
        randomness(1)
    );
    for forbidden in ["[1, 1", "[2, 2", "0101", "1, 1, 1"] {
        assert!(!text.contains(forbidden), "{text}");
    }
}

fn raw(role: Role) -> Handshake {
    let key = match role {
        Role::Initiator => &CLIENT,
        Role::Responder => &SERVER,
    };
    Handshake::new(Suite::new(Pattern::Xx), role, &[], key, None, randomness(6))
        .expect("XX needs no key")
}

#[test]
fn a_step_out_of_turn_is_an_error_and_the_last() {
    let mut initiator = raw(Role::Initiator);
    assert_eq!(
        initiator.read_message(&[0; 1216]),
        Err(HandshakeError::OutOfTurn)
    );
    assert_eq!(
        initiator.write_message(&[], &mut Vec::new()),
        Err(HandshakeError::Dead)
    );
    let mut responder = raw(Role::Responder);
    assert_eq!(
        responder.write_message(&[], &mut Vec::new()),
        Err(HandshakeError::OutOfTurn)
    );
    assert_eq!(
        responder.read_message(&[0; 1216]),
        Err(HandshakeError::Dead)
    );
    assert_eq!(responder.finish().err(), Some(HandshakeError::Dead));
    assert_eq!(
        raw(Role::Initiator).finish().err(),
        Some(HandshakeError::Unfinished)
    );
}

#[test]
fn a_step_behind_the_last_message_is_out_of_turn() {
    for misuse in 0..2 {
        let (mut initiator, mut responder) = (raw(Role::Initiator), raw(Role::Responder));
        let mut message = Vec::new();
        initiator.write_message(b"a", &mut message).expect("first");
        assert_eq!(responder.read_message(&message), Ok(b"a".to_vec()));
        message.clear();
        responder.write_message(b"b", &mut message).expect("second");
        assert_eq!(initiator.read_message(&message), Ok(b"b".to_vec()));
        message.clear();
        initiator.write_message(b"c", &mut message).expect("third");
        assert_eq!(responder.read_message(&message), Ok(b"c".to_vec()));
        let error = if misuse == 0 {
            responder.write_message(&[], &mut message)
        } else {
            initiator.read_message(&message).map(|_| ())
        };
        assert_eq!(error, Err(HandshakeError::OutOfTurn));
    }
}

#[test]
fn a_handshake_payload_fills_a_message_and_no_more() {
    let mut initiator = raw(Role::Initiator);
    let mut responder = raw(Role::Responder);
    let mut message = Vec::new();
    initiator
        .write_message(&vec![1; 65_535 - 1216 - 16], &mut message)
        .expect("fits");
    assert!(responder.read_message(&message).is_ok());
    let error = raw(Role::Initiator).write_message(&vec![1; 65_535], &mut Vec::new());
    assert_eq!(error, Err(HandshakeError::PayloadTooLong));
    let error = raw(Role::Responder).read_message(&vec![0; 65_536]);
    assert_eq!(error, Err(HandshakeError::Length));
}

#[test]
fn a_missing_or_needless_key_is_refused() {
    for suite in suites() {
        for role in [Role::Initiator, Role::Responder] {
            let needs = match (suite.pattern, role) {
                (Pattern::Xx, _) | (Pattern::Ik, Role::Responder) => false,
                (Pattern::Ik, Role::Initiator) | (Pattern::Kk, _) => true,
            };
            let given = (!needs).then(|| STRANGER.public());
            let result = Handshake::new(suite, role, &[], &CLIENT, given, randomness(1));
            assert_eq!(result.err(), Some(HandshakeError::MissingKey));
        }
    }
}
