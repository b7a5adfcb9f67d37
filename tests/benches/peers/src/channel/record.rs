//! The record layer alone: no socket, no task.

use std::hint::black_box;
use std::io::{Read, Write};
use std::sync::Arc;
use std::time::Instant;

use ::snow::TransportState;
use rustls::{ClientConnection, ServerConnection};
use sealmoot_rpc::noise::limits::FRAGMENT_BYTES_MAX;
use sealmoot_rpc::noise::{
    Answered, Event, HandshakeRandomness, Hash, Hybrid, Initiator, Pattern, Responder, Transport,
};

use super::certificates::{Ends, name};
use super::parties::{Parties, options, provider_with, shared, suite};
use super::snow::{self, By};
use crate::measure::{Effort, Subject, data, in_turns};
use crate::raw::{Cipher, by_ring, copies, operations};
use crate::table::{Goal, Table};

const GOAL: Goal = Goal::new(1.15, 1.05);

/// The bar is for 1 KiB, 16 KiB and 1 MiB.
const SIZES: [(&str, usize, Goal); 5] = [
    ("64 B", 64, Goal::NONE),
    ("1 KiB", 1 << 10, GOAL),
    ("16 KiB", 1 << 14, GOAL),
    ("64 KiB", 1 << 16, Goal::NONE),
    ("1 MiB", 1 << 20, GOAL),
];

/// Noise against ring and snow, rustls against ring.
///
/// # Panics
/// When the operating system has no randomness.
pub fn compare(table: &mut Table, effort: Effort) {
    table.heading("Noise records as the channel cuts them, ChaCha20-Poly1305");
    for (size_name, size, goal) in SIZES {
        let mut subjects = vec![
            by_ring::seal(Cipher::ChaCha20Poly1305, size, b""),
            seal(size, FRAGMENT_BYTES_MAX),
            by_ring::open(Cipher::ChaCha20Poly1305, size, b""),
            open(size, FRAGMENT_BYTES_MAX),
        ];
        for by in By::ALL {
            subjects.push(snow_seal(by, size));
            subjects.push(snow_open(by, size));
        }
        let samples = in_turns(effort, &mut subjects);
        for (verb, at) in [("seal", 0), ("open", 2)] {
            let (ring, ours) = (&samples[at], &samples[at + 1]);
            let row = format!("{verb} {size_name}, raw ring");
            table.row(&row, goal, ours, ring);
            for (by, theirs) in By::ALL.into_iter().zip(samples[4..].chunks(2)) {
                let row = format!("{verb} {size_name}, {}", by.name());
                table.row(&row, Goal::NONE, ours, &theirs[at / 2]);
            }
        }
    }
    payloads(table, effort);
    tls(table, effort);
}

/// A payload of several records, gathered before it is handed on: the machines'
/// way, which the channel does not take.
fn payloads(table: &mut Table, effort: Effort) {
    table.heading("Noise payloads of several records, gathered whole (information)");
    let size = 1 << 20;
    let mut subjects = vec![
        by_ring::seal(Cipher::ChaCha20Poly1305, size, b""),
        seal(size, size),
        by_ring::open(Cipher::ChaCha20Poly1305, size, b""),
        open(size, size),
    ];
    let samples = in_turns(effort, &mut subjects);
    for (verb, at) in [("seal", 0), ("open", 2)] {
        let row = format!("{verb} 1 MiB, raw ring");
        table.row(&row, Goal::NONE, &samples[at + 1], &samples[at]);
    }
}

/// The same record layer stands behind our TLS channel and behind tokio-rustls.
fn tls(table: &mut Table, effort: Effort) {
    use rustls::crypto::ring::cipher_suite::{
        TLS13_AES_256_GCM_SHA384, TLS13_CHACHA20_POLY1305_SHA256,
    };
    for (cipher, suite) in [
        (Cipher::Aes256Gcm, TLS13_AES_256_GCM_SHA384),
        (Cipher::ChaCha20Poly1305, TLS13_CHACHA20_POLY1305_SHA256),
    ] {
        table.heading(&format!(
            "rustls records, {cipher:?}: ours and every other's (information)"
        ));
        for (size_name, size, _) in SIZES {
            let ends = Ends::certified(shared(provider_with(suite)));
            let mut subjects = vec![
                by_ring::seal(cipher, size, b""),
                tls_seal(&ends, size),
                by_ring::open(cipher, size, b""),
                tls_open(&ends, size),
            ];
            let samples = in_turns(effort, &mut subjects);
            for (verb, at) in [("seal", 0), ("open", 2)] {
                let row = format!("{verb} {size_name}, raw ring");
                table.row(&row, Goal::NONE, &samples[at + 1], &samples[at]);
            }
        }
    }
}

/// Seals `size` bytes as payloads of at most `payload_bytes`.
fn seal(size: usize, payload_bytes: usize) -> Subject<'static> {
    let (mut sender, _) = session();
    let plain = data(size);
    let now = Instant::now();
    let mut wire = Vec::new();
    Subject::plain(operations(size), move || {
        wire.clear();
        for payload in plain.chunks(payload_bytes) {
            sender.seal(payload, now, &mut wire).expect("alive");
        }
        black_box(&wire);
    })
}

/// Opens in place what [`seal`] made; the sealing is left out of the time.
fn open(size: usize, payload_bytes: usize) -> Subject<'static> {
    let (mut sender, mut receiver) = session();
    let plain = data(size);
    let mut wires = vec![Vec::new(); copies(size)];
    Subject::prepared(operations(size), move || {
        let now = Instant::now();
        for wire in &mut wires {
            wire.clear();
            for payload in plain.chunks(payload_bytes) {
                sender.seal(payload, now, wire).expect("alive");
            }
        }
        let started = Instant::now();
        for wire in &mut wires {
            let mut rest = &mut wire[..];
            while !rest.is_empty() {
                let received = receiver.receive(rest).expect("honest records");
                match received.event {
                    Event::Payload(payload) => {
                        black_box(payload);
                    }
                    Event::Fragment => {}
                    other => unreachable!("{other:?}"),
                }
                let consumed = received.consumed;
                rest = &mut rest[consumed..];
            }
        }
        started.elapsed()
    })
}

fn snow_seal(by: By, size: usize) -> Subject<'static> {
    let (mut sender, _) = snow::session(by);
    let plain = data(size);
    let mut wire = room(size);
    Subject::plain(operations(size), move || {
        black_box(snow_write(&mut sender, &plain, &mut wire));
    })
}

fn snow_open(by: By, size: usize) -> Subject<'static> {
    let (mut sender, mut receiver) = snow::session(by);
    let plain = data(size);
    let mut wires = vec![room(size); copies(size)];
    let mut opened = vec![0; FRAGMENT_BYTES_MAX + 16];
    Subject::prepared(operations(size), move || {
        let mut length = 0;
        for wire in &mut wires {
            length = snow_write(&mut sender, &plain, wire);
        }
        let started = Instant::now();
        for wire in &mut wires {
            for message in wire[..length].chunks(FRAGMENT_BYTES_MAX + 16) {
                let length = receiver.read_message(message, &mut opened);
                black_box(length.expect("honest"));
            }
        }
        started.elapsed()
    })
}

/// Messages of `plain`, one behind the other; returns how long they are.
fn snow_write(sender: &mut TransportState, plain: &[u8], wire: &mut [u8]) -> usize {
    let mut length = 0;
    for fragment in plain.chunks(FRAGMENT_BYTES_MAX) {
        length += sender
            .write_message(fragment, &mut wire[length..])
            .expect("room");
    }
    length
}

fn room(size: usize) -> Vec<u8> {
    vec![0; size + size.div_ceil(FRAGMENT_BYTES_MAX) * 16]
}

/// An established channel: the client's side and the server's.
fn session() -> (Transport, Transport) {
    let parties = Parties::new();
    let suite = suite(Pattern::Ik, Hash::Sha256, Hybrid::Off);
    let randomness = || HandshakeRandomness::generate().expect("randomness");
    let now = Instant::now();
    let (initiator, first) = Initiator::start(
        parties.client.static_key(),
        &parties.target(Pattern::Ik),
        &options(suite),
        randomness(),
    )
    .expect("sound keys");
    let responder = Responder::new(parties.server.static_key(), parties.acceptance(suite));
    let (answered, second) = responder
        .accept(&first, randomness(), now)
        .expect("an honest initiator");
    let Answered::Established(server) = answered else {
        unreachable!("IK ends here");
    };
    let (client, _) = initiator.finish(&second, now).expect("honest");
    (client, server)
}

fn tls_seal(ends: &Ends, size: usize) -> Subject<'static> {
    let (mut client, _) = tls_session(ends);
    let plain = data(size);
    let mut wire = Vec::new();
    Subject::plain(operations(size), move || {
        wire.clear();
        tls_write(&mut client, &plain, &mut wire);
        black_box(&wire);
    })
}

fn tls_open(ends: &Ends, size: usize) -> Subject<'static> {
    let (mut client, mut server) = tls_session(ends);
    let plain = data(size);
    let mut wires = vec![Vec::new(); copies(size)];
    let mut opened = vec![0; size];
    Subject::prepared(operations(size), move || {
        for wire in &mut wires {
            wire.clear();
            tls_write(&mut client, &plain, wire);
        }
        let started = Instant::now();
        for wire in &wires {
            let (mut rest, mut taken) = (&wire[..], 0);
            while taken < size {
                server.read_tls(&mut rest).expect("memory");
                let state = server.process_new_packets().expect("honest records");
                let plaintext = state.plaintext_bytes_to_read();
                server
                    .reader()
                    .read_exact(&mut opened[taken..taken + plaintext])
                    .expect("it is there");
                taken += plaintext;
            }
            black_box(&opened);
        }
        started.elapsed()
    })
}

fn tls_write(client: &mut ClientConnection, plain: &[u8], wire: &mut Vec<u8>) {
    let mut rest = plain;
    while !rest.is_empty() {
        let taken = client.writer().write(rest).expect("open");
        rest = &rest[taken..];
        while client.wants_write() {
            client.write_tls(wire).expect("memory");
        }
    }
}

fn tls_session(ends: &Ends) -> (ClientConnection, ServerConnection) {
    let mut client =
        ClientConnection::new(Arc::clone(&ends.client), name()).expect("a sound configuration");
    let mut server =
        ServerConnection::new(Arc::clone(&ends.server)).expect("a sound configuration");
    while client.is_handshaking() || server.is_handshaking() {
        let mut wire = Vec::new();
        while client.wants_write() {
            client.write_tls(&mut wire).expect("memory");
        }
        let mut rest = &wire[..];
        while !rest.is_empty() {
            server.read_tls(&mut rest).expect("memory");
            server.process_new_packets().expect("honest");
        }
        wire.clear();
        while server.wants_write() {
            server.write_tls(&mut wire).expect("memory");
        }
        let mut rest = &wire[..];
        while !rest.is_empty() {
            client.read_tls(&mut rest).expect("memory");
            client.process_new_packets().expect("honest");
        }
    }
    (client, server)
}
