//! Any bytes into every state: an error, or nothing; never a panic.

use std::time::Instant;

use proptest::collection::vec;
use proptest::prelude::*;

use super::super::limits::{HANDSHAKE_FRAME_BYTES_MAX, PREFIX_BYTES};
use super::super::suite::Offer;
use super::super::{Event, handshake_frame_bytes};
use super::{Pattern, SERVER, Setup, Suite, all_suites, awaiting};

fn suite() -> impl Strategy<Value = Suite> {
    (0..all_suites().len()).prop_map(|index| all_suites()[index])
}

fn framed(body: &[u8]) -> Vec<u8> {
    let length = u16::try_from(body.len()).expect("short");
    [&length.to_be_bytes(), body].concat()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn a_responder_refuses_noise(suite in suite(), bytes in vec(any::<u8>(), 0..2_000)) {
        let setup = Setup::new(suite);
        prop_assert!(setup.accept(&bytes, Instant::now()).is_err());
        prop_assert!(setup.accept(&framed(&bytes), Instant::now()).is_err());
    }

    /// Behind an honest offer, of the right length and with a good tag: all
    /// the way into the machine.
    #[test]
    fn a_responder_survives_noise_with_a_tag(
        suite in suite(),
        bytes in vec(any::<u8>(), HANDSHAKE_FRAME_BYTES_MAX),
    ) {
        let setup = Setup::new(suite);
        let now = Instant::now();
        let (initiator, first) = setup.start();
        let offer = Offer { suite, tagged: true }.encode();
        let length = first.len() - PREFIX_BYTES - offer.len() - 16;
        let mut body = [&offer[..], &bytes[..length]].concat();
        let tag = SERVER.first_message().tag(&body);
        body.extend_from_slice(&tag);
        if let Ok((_, second)) = setup.accept(&framed(&body), now) {
            prop_assert_eq!(suite.pattern, Pattern::Xx);
            prop_assert!(initiator.finish(&second, now).is_err());
        }
    }

    #[test]
    fn an_initiator_refuses_noise(
        suite in suite(),
        bytes in vec(any::<u8>(), HANDSHAKE_FRAME_BYTES_MAX),
        cut in 0..HANDSHAKE_FRAME_BYTES_MAX,
    ) {
        let setup = Setup::new(suite);
        let now = Instant::now();
        let (initiator, _) = setup.start();
        let length = initiator.answer_bytes() - PREFIX_BYTES;
        prop_assert!(initiator.finish(&framed(&bytes[..length]), now).is_err());
        let (initiator, _) = setup.start();
        prop_assert!(initiator.finish(&bytes[..cut], now).is_err());
    }

    #[test]
    fn an_awaiting_responder_refuses_noise(
        bytes in vec(any::<u8>(), 64),
        cut in 0..64_usize,
    ) {
        let setup = Setup::new(Suite::new(Pattern::Xx));
        let now = Instant::now();
        let (_, first) = setup.start();
        for frame in [framed(&bytes), framed(&bytes[..cut]), bytes[..cut].to_vec()] {
            let (answered, _) = setup.accept(&first, now).expect("honest");
            prop_assert!(awaiting(answered).finish(&frame, now).is_err());
        }
    }

    #[test]
    fn a_channel_delivers_no_noise(bytes in vec(any::<u8>(), 0..70_000)) {
        let mut session = Setup::new(Suite::new(Pattern::Ik)).run(Instant::now());
        let mut bytes = bytes;
        if let Ok(received) = session.server.receive(&mut bytes) {
            let incomplete = matches!(received.event, Event::Incomplete { .. });
            prop_assert!(incomplete);
        }
    }

    /// Authentic records with any plaintext, one after another: what a peer
    /// that holds the keys can do.
    #[test]
    fn a_channel_survives_a_hostile_peer(
        plaintexts in vec((0..8_u8, vec(any::<u8>(), 0..100), any::<bool>()), 1..12),
    ) {
        let session = Setup::new(Suite::new(Pattern::Ik)).run(Instant::now());
        let (mut send, _) = session.client.split();
        let (_, mut receive) = session.server.split();
        let mut failed = false;
        for (flags, mut content, full) in plaintexts {
            if full {
                content.resize(65_518, 0);
            }
            let mut message = [&[flags][..], &content].concat();
            let tag = send.key_mut().seal(&[], &mut message).expect("fresh");
            message.extend_from_slice(&tag);
            let mut wire = framed(&message);
            let result = receive.receive(&mut wire).map(|received| received.consumed);
            prop_assert!(!failed || result.is_err());
            failed |= result.is_err();
            if flags & 0b010 != 0 {
                send.key_mut().rekey();
            }
        }
    }

    #[test]
    fn payloads_come_back_in_order(
        payloads in vec(vec(any::<u8>(), 0..200), 1..20),
        rekey_bytes in 1..2_000_u64,
        chunk in 1..100_usize,
    ) {
        let mut setup = Setup::new(Suite::new(Pattern::Ik));
        setup.settings.rekey_bytes = rekey_bytes;
        let now = Instant::now();
        let mut session = setup.run(now);
        let mut wire = Vec::new();
        for payload in &payloads {
            session.client.seal(payload, now, &mut wire).expect("alive");
        }
        let mut expected = payloads.iter();
        let mut buffer = Vec::new();
        for chunk in wire.chunks(chunk) {
            buffer.extend_from_slice(chunk);
            loop {
                let received = session.server.receive(&mut buffer).expect("honest");
                let consumed = received.consumed;
                if let Event::Payload(payload) = received.event {
                    prop_assert_eq!(Some(payload), expected.next().map(Vec::as_slice));
                }
                if consumed == 0 {
                    break;
                }
                buffer.drain(..consumed);
            }
        }
        prop_assert_eq!(expected.next(), None);
    }
}

#[test]
fn every_prefix_names_a_length_or_is_refused() {
    for value in 0..=u16::MAX {
        let bytes = PREFIX_BYTES + usize::from(value);
        match handshake_frame_bytes(value.to_be_bytes()) {
            Ok(length) => assert_eq!(length, bytes),
            Err(_) => assert!(bytes > HANDSHAKE_FRAME_BYTES_MAX),
        }
    }
}
