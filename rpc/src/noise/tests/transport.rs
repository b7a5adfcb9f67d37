//! The channel after the handshake, under everything that somebody on the wire
//! can do to its records.

use std::time::{Duration, Instant};

use super::super::limits::{
    FRAGMENT_BYTES_MAX, MESSAGE_BYTES_MAX, PREFIX_BYTES, REKEY_BYTES_MAX, TAG_BYTES,
};
use super::super::{Event, ReceiveError, ReceiveHalf, SendError, SendHalf, Truncated};
use super::{Pattern, Setup, Suite, TransportSettings};

const RECORD_OVERHEAD: usize = PREFIX_BYTES + 1 + TAG_BYTES;

/// One direction of a fresh session, and the moment it began.
fn direction_with(settings: TransportSettings, seed: u8) -> (SendHalf, ReceiveHalf, Instant) {
    let now = Instant::now();
    let setup = Setup {
        settings,
        server_seed: seed,
        ..Setup::new(Suite::new(Pattern::Ik))
    };
    let session = setup.run(now);
    let (send, _) = session.client.split();
    let (_, receive) = session.server.split();
    (send, receive, now)
}

fn direction() -> (SendHalf, ReceiveHalf, Instant) {
    direction_with(TransportSettings::default(), 22)
}

/// `payload` as records.
fn sealed(send: &mut SendHalf, payload: &[u8], now: Instant) -> Vec<u8> {
    let mut wire = Vec::new();
    send.seal(payload, now, &mut wire).expect("alive");
    wire
}

/// A record of any plaintext, authentic: what a hostile peer can send.
fn forged(send: &mut SendHalf, plaintext: &[u8]) -> Vec<u8> {
    let mut message = plaintext.to_vec();
    let tag = send.key_mut().seal(&[], &mut message).expect("fresh");
    message.extend_from_slice(&tag);
    let length = u16::try_from(message.len()).expect("fits");
    [&length.to_be_bytes(), &message[..]].concat()
}

#[derive(Debug, PartialEq, Eq)]
enum Seen {
    Fragment,
    Payload(Vec<u8>),
    Closed,
}

/// Feeds `wire` and tells all that came of it, and how it ended.
fn receive_all(receive: &mut ReceiveHalf, wire: &[u8]) -> (Vec<Seen>, Result<(), ReceiveError>) {
    let mut wire = wire.to_vec();
    let mut seen = Vec::new();
    let mut place = 0;
    loop {
        match receive.receive(&mut wire[place..]) {
            Err(error) => return (seen, Err(error)),
            Ok(received) => {
                let consumed = received.consumed;
                match received.event {
                    Event::Incomplete { .. } => return (seen, Ok(())),
                    Event::Fragment => seen.push(Seen::Fragment),
                    Event::Payload(payload) => seen.push(Seen::Payload(payload.to_vec())),
                    Event::Closed => seen.push(Seen::Closed),
                }
                place += consumed;
            }
        }
    }
}

fn payloads(seen: &[Seen]) -> usize {
    seen.iter()
        .filter(|seen| matches!(seen, Seen::Payload(_)))
        .count()
}

fn stays_dead(receive: &mut ReceiveHalf, send: &mut SendHalf, now: Instant) {
    let mut honest = sealed(send, b"later", now);
    assert_eq!(receive.receive(&mut honest), Err(ReceiveError::Dead));
    assert_eq!(receive.receive(&mut []), Err(ReceiveError::Dead));
    assert_eq!(receive.end_of_stream(), Err(Truncated));
}

#[test]
fn payloads_of_every_size_arrive_whole() {
    let (mut send, mut receive, now) = direction();
    let full = FRAGMENT_BYTES_MAX;
    for (length, records) in [
        (0, 1),
        (1, 1),
        (full - 1, 1),
        (full, 1),
        (full + 1, 2),
        (2 * full, 2),
        (2 * full + 1, 3),
        (300_000, 5),
    ] {
        let payload: Vec<u8> = (0..length).map(|index| (index % 251) as u8).collect();
        let wire = sealed(&mut send, &payload, now);
        assert_eq!(wire.len(), length + records * RECORD_OVERHEAD);
        let (seen, result) = receive_all(&mut receive, &wire);
        assert_eq!(result, Ok(()));
        assert_eq!(seen.len(), records);
        assert_eq!(seen.last(), Some(&Seen::Payload(payload)));
    }
}

#[test]
fn the_largest_record_is_the_largest_noise_message() {
    let (mut send, _, now) = direction();
    let wire = sealed(&mut send, &vec![0; FRAGMENT_BYTES_MAX], now);
    assert_eq!(wire[..PREFIX_BYTES], [0xff, 0xff]);
    assert_eq!(wire.len(), PREFIX_BYTES + MESSAGE_BYTES_MAX);
}

#[test]
fn a_record_may_arrive_byte_by_byte() {
    let (mut send, mut receive, now) = direction();
    let mut wire = sealed(&mut send, b"slowly", now);
    for length in 0..wire.len() {
        let needed = if length < PREFIX_BYTES {
            PREFIX_BYTES
        } else {
            wire.len()
        };
        let received = receive.receive(&mut wire[..length]).expect("so far");
        assert_eq!(received.consumed, 0);
        assert_eq!(received.event, Event::Incomplete { needed });
    }
    let received = receive.receive(&mut wire).expect("whole");
    assert_eq!(received.event, Event::Payload(b"slowly"));
}

#[test]
fn every_flipped_bit_is_refused_and_nothing_is_taken_after() {
    for bit in 0..(RECORD_OVERHEAD + 7) * 8 {
        let (mut send, mut receive, now) = direction();
        let first = sealed(&mut send, b"payload", now);
        let second = sealed(&mut send, b"another", now);
        let mut wire = [first, second].concat();
        wire[bit / 8] ^= 1 << (bit % 8);
        let (seen, result) = receive_all(&mut receive, &wire);
        assert!(seen.is_empty(), "bit {bit}: {seen:?}");
        match result {
            // A longer length waits for bytes that never come.
            Ok(()) => assert!(bit < PREFIX_BYTES * 8),
            Err(error) => {
                assert!(matches!(
                    error,
                    ReceiveError::Decrypt | ReceiveError::Length
                ));
                stays_dead(&mut receive, &mut send, now);
            }
        }
        assert_eq!(receive.end_of_stream(), Err(Truncated));
    }
}

#[test]
fn every_truncation_shows() {
    let (mut send, _, now) = direction();
    let mut wire = sealed(&mut send, b"one", now);
    wire.extend(sealed(&mut send, b"two", now));
    send.close(now, &mut wire).expect("alive");
    for length in 0..=wire.len() {
        let (_, mut receive, _) = direction();
        let (seen, result) = receive_all(&mut receive, &wire[..length]);
        assert_eq!(result, Ok(()));
        let whole = length == wire.len();
        assert_eq!(receive.end_of_stream().is_ok(), whole);
        assert_eq!(seen.contains(&Seen::Closed), whole);
    }
}

#[test]
fn a_payload_cut_between_its_fragments_is_never_delivered() {
    let payload = vec![7; 3 * FRAGMENT_BYTES_MAX + 5];
    let (mut send, _, now) = direction();
    let mut wire = sealed(&mut send, &payload, now);
    let record = FRAGMENT_BYTES_MAX + RECORD_OVERHEAD;
    for records in 0..4 {
        let (_, mut receive, _) = direction();
        let (seen, result) = receive_all(&mut receive, &wire[..records * record]);
        assert_eq!((payloads(&seen), result), (0, Ok(())));
        assert_eq!(receive.end_of_stream(), Err(Truncated));
    }
    // Nor does a close behind the cut make a payload of it: the close is
    // record 4, where record 1 is due.
    let end = wire.len();
    send.close(now, &mut wire).expect("alive");
    let (_, mut receive, _) = direction();
    let cut = [&wire[..record], &wire[end..]].concat();
    let (seen, result) = receive_all(&mut receive, &cut);
    assert_eq!(payloads(&seen), 0);
    assert_eq!(result, Err(ReceiveError::Decrypt));
}

#[test]
fn dropped_duplicated_and_reordered_records_are_refused_at_every_index() {
    let (mut send, _, now) = direction();
    let records: Vec<Vec<u8>> = (0..6)
        .map(|index| sealed(&mut send, &[index; 10], now))
        .collect();
    for index in 0..records.len() {
        let mut dropped = records.clone();
        dropped.remove(index);
        let mut duplicated = records.clone();
        duplicated.insert(index, records[index].clone());
        let mut reordered = records.clone();
        reordered.swap(index, (index + 1) % records.len());
        for (what, wire, delivered, fails) in [
            ("dropped", dropped, index, index + 1 < records.len()),
            ("duplicated", duplicated, index + 1, true),
            ("reordered", reordered, index.min((index + 1) % 6), true),
        ] {
            let (_, mut receive, _) = direction();
            let (seen, result) = receive_all(&mut receive, &wire.concat());
            assert_eq!(payloads(&seen), delivered, "{what} at {index}");
            assert_eq!(result.is_err(), fails, "{what} at {index}");
            assert_eq!(receive.end_of_stream(), Err(Truncated));
        }
    }
}

#[test]
fn records_of_another_session_or_direction_are_refused() {
    let now = Instant::now();
    let setup = Setup::new(Suite::new(Pattern::Xx));
    let mut one = setup.run(now);
    let mut other = Setup {
        client_seed: 44,
        ..setup
    }
    .run(now);
    // Spliced: the first record from one, the second from the other.
    let mut first = Vec::new();
    one.client.seal(b"one", now, &mut first).expect("alive");
    let mut skipped = Vec::new();
    other.client.seal(b"-", now, &mut skipped).expect("alive");
    let mut second = Vec::new();
    other.client.seal(b"two", now, &mut second).expect("alive");
    assert!(one.server.receive(&mut first).is_ok());
    assert_eq!(one.server.receive(&mut second), Err(ReceiveError::Decrypt));
    // Reflected: what the client sent comes back to it.
    let mut sent = Vec::new();
    other.client.seal(b"mine", now, &mut sent).expect("alive");
    assert_eq!(other.client.receive(&mut sent), Err(ReceiveError::Decrypt));
}

#[test]
fn lengths_that_lie_are_refused_or_waited_for() {
    for length in 0..=u16::MAX {
        let (mut send, mut receive, now) = if length % 4096 == 0 || length < 64 {
            direction()
        } else {
            continue;
        };
        let mut wire = sealed(&mut send, b"0123456789", now);
        let honest = u16::try_from(wire.len() - PREFIX_BYTES).expect("short");
        wire[..PREFIX_BYTES].copy_from_slice(&length.to_be_bytes());
        let result = receive.receive(&mut wire).map(|received| received.consumed);
        if length < 17 {
            assert_eq!(result, Err(ReceiveError::Length));
        } else if length < honest {
            assert_eq!(result, Err(ReceiveError::Decrypt));
        } else if length > honest {
            assert_eq!(result, Ok(0));
        } else {
            assert_eq!(result, Ok(wire.len()));
        }
    }
}

#[test]
fn unknown_flags_are_refused() {
    for flags in 0..=u8::MAX {
        let (mut send, mut receive, _) = direction();
        let wire = forged(&mut send, &[flags, b'x']);
        let (seen, result) = receive_all(&mut receive, &wire);
        match flags {
            0b001 | 0b011 => assert_eq!((payloads(&seen), result), (1, Ok(()))),
            0b000 | 0b010 => assert_eq!(result, Err(ReceiveError::FragmentNotFull)),
            0b100 => assert_eq!(result, Err(ReceiveError::Close)),
            _ => assert_eq!(result, Err(ReceiveError::UnknownFlags), "{flags:08b}"),
        }
    }
}

#[test]
fn a_payload_has_one_form() {
    // A first fragment that is not full, even one byte short or empty.
    for length in [0, 1, FRAGMENT_BYTES_MAX - 1] {
        let (mut send, mut receive, _) = direction();
        let wire = forged(&mut send, &vec![0; 1 + length]);
        let result = receive_all(&mut receive, &wire).1;
        assert_eq!(result, Err(ReceiveError::FragmentNotFull));
    }
    // A last fragment of nothing behind a full one.
    let (mut send, mut receive, _) = direction();
    let mut wire = forged(&mut send, &vec![0; 1 + FRAGMENT_BYTES_MAX]);
    wire.extend(forged(&mut send, &[1]));
    let (seen, result) = receive_all(&mut receive, &wire);
    assert_eq!(seen, [Seen::Fragment]);
    assert_eq!(result, Err(ReceiveError::FragmentNotFull));
}

#[test]
fn the_limit_on_payloads_holds_on_both_sides() {
    let settings = |payload_bytes_max| TransportSettings {
        payload_bytes_max,
        ..TransportSettings::default()
    };
    let (mut send, mut receive, now) = direction_with(settings(100_000), 22);
    let wire = sealed(&mut send, &vec![1; 100_000], now);
    assert_eq!(payloads(&receive_all(&mut receive, &wire).0), 1);
    let mut out = b"before".to_vec();
    let error = send.seal(&vec![1; 100_001], now, &mut out);
    assert_eq!(error, Err(SendError::PayloadTooLong));
    assert_eq!(out, b"before");
    // The sender goes on, as if nothing had been asked.
    let wire = sealed(&mut send, b"short", now);
    assert_eq!(payloads(&receive_all(&mut receive, &wire).0), 1);

    // A peer with another limit is stopped at the record that would pass it.
    let (mut send, _, now) = direction_with(settings(1_000_000), 22);
    let (_, mut receive, _) = direction_with(settings(100_000), 22);
    let wire = sealed(&mut send, &vec![1; 100_001], now);
    let (seen, result) = receive_all(&mut receive, &wire);
    assert_eq!(seen, [Seen::Fragment]);
    assert_eq!(result, Err(ReceiveError::PayloadTooLong));
    let (mut send, _, now) = direction_with(settings(1_000_000), 22);
    let (_, mut receive, _) = direction_with(settings(3), 22);
    let wire = sealed(&mut send, b"four", now);
    assert_eq!(
        receive_all(&mut receive, &wire).1,
        Err(ReceiveError::PayloadTooLong)
    );
}

#[test]
fn a_close_ends_the_stream_and_nothing_follows_it() {
    let (mut send, mut receive, now) = direction();
    let mut wire = sealed(&mut send, b"last words", now);
    send.close(now, &mut wire).expect("alive");
    let (seen, result) = receive_all(&mut receive, &wire);
    assert_eq!(result, Ok(()));
    assert_eq!(seen.last(), Some(&Seen::Closed));
    assert_eq!(receive.end_of_stream(), Ok(()));
    for tail in [1, 2, 40] {
        let (_, mut receive, _) = direction();
        receive_all(&mut receive, &wire).1.expect("honest");
        let result = receive.receive(&mut vec![0; tail]).map(|_| ());
        assert_eq!(result, Err(ReceiveError::AfterClose));
        assert_eq!(receive.end_of_stream(), Err(Truncated));
        assert_eq!(
            receive.receive(&mut [0; 40]).map(|_| ()),
            Err(ReceiveError::Dead)
        );
    }
}

#[test]
fn a_close_with_content_or_inside_a_payload_is_refused() {
    let (mut send, mut receive, _) = direction();
    let wire = forged(&mut send, &[0b100, 0]);
    assert_eq!(receive_all(&mut receive, &wire).1, Err(ReceiveError::Close));
    let (mut send, mut receive, now) = direction();
    let mut wire = forged(&mut send, &vec![0; 1 + FRAGMENT_BYTES_MAX]);
    send.close(now, &mut wire).expect("alive");
    let (seen, result) = receive_all(&mut receive, &wire);
    assert_eq!(seen, [Seen::Fragment]);
    assert_eq!(result, Err(ReceiveError::Close));
}

/// Whether a record, read by its own receiver, said that the key changes.
fn rekeys(wire: &[u8], reader: &mut super::super::cipher::CipherKey) -> bool {
    let mut message = wire[PREFIX_BYTES..].to_vec();
    reader.open(&[], &mut message).expect("authentic");
    let rekey = message[0] & 0b010 != 0;
    if rekey {
        reader.rekey();
    }
    rekey
}

/// The sender of a session, and a bare key that follows it by section 11.3
/// alone.
fn watched(settings: TransportSettings) -> (SendHalf, super::super::cipher::CipherKey, Instant) {
    use super::super::handshake::{Handshake, Role};
    use super::{CLIENT, SERVER, randomness};
    let now = Instant::now();
    let suite = Suite::new(Pattern::Xx);
    let (mut initiator, mut responder) = (
        Handshake::new(suite, Role::Initiator, &[], &CLIENT, None, randomness(1)).expect("XX"),
        Handshake::new(suite, Role::Responder, &[], &SERVER, None, randomness(2)).expect("XX"),
    );
    let mut message = Vec::new();
    initiator.write_message(&[], &mut message).expect("first");
    responder.read_message(&message).expect("first");
    message.clear();
    responder.write_message(&[], &mut message).expect("second");
    initiator.read_message(&message).expect("second");
    message.clear();
    initiator.write_message(&[], &mut message).expect("third");
    responder.read_message(&message).expect("third");
    let finished = initiator.finish().expect("ended");
    let (send, _) = super::Transport::new(finished, settings, true, now).split();
    let key = responder
        .finish()
        .expect("ended")
        .split
        .initiator_to_responder;
    (send, key, now)
}

#[test]
fn the_key_changes_by_bytes() {
    let settings = TransportSettings {
        rekey_bytes: 1_000,
        ..TransportSettings::default()
    };
    let (mut send, mut reader, now) = watched(settings);
    // 217 bytes a record without the prefix: the fifth passes 1,000.
    let changes: Vec<bool> = (0..15)
        .map(|_| rekeys(&sealed(&mut send, &[0; 200], now), &mut reader))
        .collect();
    let expected: Vec<bool> = (1..=15).map(|record| record % 5 == 0).collect();
    assert_eq!(changes, expected);
}

#[test]
fn the_key_changes_by_age() {
    let settings = TransportSettings {
        rekey_age: Duration::from_secs(60),
        ..TransportSettings::default()
    };
    let (mut send, mut reader, start) = watched(settings);
    for (seconds, expected) in [
        (0, false),
        (59, false),
        (60, true),
        (61, false),
        (119, false),
        (120, true),
        (500, true),
        (500, false),
        // A clock that steps back ages nothing.
        (100, false),
        (560, true),
    ] {
        let now = start + Duration::from_secs(seconds);
        let changed = rekeys(&sealed(&mut send, b"tick", now), &mut reader);
        assert_eq!(changed, expected, "at {seconds} s");
    }
}

#[test]
fn no_setting_lets_a_sender_pass_what_receivers_take() {
    let settings = TransportSettings {
        rekey_bytes: u64::MAX,
        rekey_age: Duration::MAX,
        ..TransportSettings::default()
    };
    // Pretend that all but 18 bytes of what may come under one key have come;
    // an empty record has 17.
    let (mut send, mut receive, now) = direction_with(settings, 22);
    send.count_bytes(REKEY_BYTES_MAX - 18);
    receive.count_bytes(REKEY_BYTES_MAX - 18);
    for _ in 0..3 {
        let wire = sealed(&mut send, b"", now);
        assert_eq!(receive_all(&mut receive, &wire).1, Ok(()));
    }
    // A sender that does not count is not heard beyond.
    let (mut send, mut receive, now) = direction_with(settings, 22);
    receive.count_bytes(REKEY_BYTES_MAX - 18);
    let wire = sealed(&mut send, b"", now);
    assert_eq!(receive_all(&mut receive, &wire).1, Ok(()));
    let wire = sealed(&mut send, b"", now);
    assert_eq!(
        receive_all(&mut receive, &wire).1,
        Err(ReceiveError::RekeyOverdue)
    );
    stays_dead(&mut receive, &mut send, now);
}

#[test]
fn payloads_pass_while_both_directions_change_keys_with_every_record() {
    let now = Instant::now();
    let setup = Setup {
        settings: TransportSettings {
            rekey_bytes: 0,
            ..TransportSettings::default()
        },
        ..Setup::new(Suite::new(Pattern::Kk))
    };
    let mut session = setup.run(now);
    for round in 0..50_u8 {
        let payload = vec![round; usize::from(round) * 3_000];
        for (from, to) in [(0, 1), (1, 0)] {
            let ends = [&mut session.client, &mut session.server];
            let mut wire = Vec::new();
            ends[from].seal(&payload, now, &mut wire).expect("alive");
            let mut place = 0;
            loop {
                let received = ends[to].receive(&mut wire[place..]).expect("in step");
                place += received.consumed;
                if let Event::Payload(found) = received.event {
                    assert_eq!(found, payload);
                    break;
                }
                assert_eq!(received.event, Event::Fragment);
            }
            assert_eq!(place, wire.len());
        }
    }
}

#[test]
fn a_side_that_misses_a_key_change_reads_nothing_more() {
    // The sender changes its key and does not say so.
    let (mut send, mut receive, now) = direction();
    let wire = sealed(&mut send, b"before", now);
    assert_eq!(receive_all(&mut receive, &wire).1, Ok(()));
    send.key_mut().rekey();
    let wire = sealed(&mut send, b"after", now);
    assert_eq!(
        receive_all(&mut receive, &wire).1,
        Err(ReceiveError::Decrypt)
    );
    stays_dead(&mut receive, &mut send, now);
    // It says so and does not.
    let (mut send, mut receive, _) = direction();
    let wire = [forged(&mut send, &[0b011]), forged(&mut send, &[0b001])].concat();
    let (seen, result) = receive_all(&mut receive, &wire);
    assert_eq!(payloads(&seen), 1);
    assert_eq!(result, Err(ReceiveError::Decrypt));
}

#[test]
fn an_exhausted_counter_kills_the_direction() {
    let (mut send, _, now) = direction();
    send.key_mut().set_counter(u64::MAX);
    let mut out = b"before".to_vec();
    assert_eq!(
        send.seal(b"too late", now, &mut out),
        Err(SendError::Exhausted)
    );
    assert_eq!(out, b"before");
    assert_eq!(send.seal(b"again", now, &mut out), Err(SendError::Dead));
    assert_eq!(send.close(now, &mut out), Err(SendError::Dead));
    // In the middle of a payload: nothing of it stays in the output.
    for fragments in [2, 3] {
        let (mut send, _, now) = direction();
        send.key_mut().set_counter(u64::MAX - 1);
        let payload = vec![0; fragments * FRAGMENT_BYTES_MAX];
        assert_eq!(
            send.seal(&payload, now, &mut out),
            Err(SendError::Exhausted)
        );
        assert_eq!(out, b"before");
    }
}
