//! Handshakes in memory, both sides' work in one thread.

use std::hint::black_box;
use std::sync::Arc;
use std::time::Instant;

use sealmoot_rpc::channel::{AllowedUsers, MemoryChannel, NoiseChannel, TlsChannel, UnixChannel};
use sealmoot_rpc::noise::{
    Answered, HandshakeRandomness, Hash, Hybrid, Initiator, Pattern, Responder, Suite,
};
use tokio::io::duplex;
use tokio::net::UnixStream;
use tokio::runtime::Runtime;

use super::certificates::Ends;
use super::parties::{Parties, classical_provider, nowhere, options, our_provider, shared, suite};
use super::snow::{self, By};
use super::{cores, raw_keys};
use crate::measure::{Effort, Samples, Subject, in_turns};
use crate::table::{Goal, Table};

/// Against X.509 with the same group.
pub const TLS_GOAL: Goal = Goal::new(0.8, 0.6);
/// Against the faster snow.
const NOISE_GOAL: Goal = Goal::new(1.0, 1.0);
/// Holds a whole flight of either side.
const PIPE_BYTES: usize = 64 * 1024;

const PATTERNS: [(&str, Pattern); 3] = [
    ("XX", Pattern::Xx),
    ("IK", Pattern::Ik),
    ("KK", Pattern::Kk),
];
const HASHES: [(&str, Hash); 2] = [("SHA256", Hash::Sha256), ("BLAKE2s", Hash::Blake2s)];

/// TLS, Noise, and whole channels of every kind.
///
/// # Panics
/// When the operating system has no randomness.
pub fn compare(table: &mut Table, effort: Effort) {
    let parties = Parties::new();
    let runtime = cores::runtime();
    tls(table, effort, &parties, &runtime);
    noise(table, effort, &parties);
    channels(table, effort, &parties, &runtime);
}

fn tls(table: &mut Table, effort: Effort, parties: &Parties, runtime: &Runtime) {
    table.heading("mutual TLS 1.3 handshake over a pipe in memory, both sides");
    let hybrid = shared(our_provider());
    let classical = shared(classical_provider());
    let (x509, x509_classical) = (
        Ends::certified(Arc::clone(&hybrid)),
        Ends::certified(Arc::clone(&classical)),
    );
    let (raw, raw_classical) = (raw_keys::ends(&hybrid), raw_keys::ends(&classical));
    let mut subjects = vec![
        our_tls(parties, runtime),
        rustls(&x509, runtime),
        rustls(&x509_classical, runtime),
        rustls(&raw, runtime),
        rustls(&raw_classical, runtime),
    ];
    #[cfg(feature = "aws-lc")]
    let by_aws_lc = Ends::certified(shared(super::parties::aws_lc_provider()));
    #[cfg(feature = "aws-lc")]
    subjects.push(rustls(&by_aws_lc, runtime));
    let samples = in_turns(effort, &mut subjects);
    let [ours, x509, x509_classical, raw, raw_classical] = &samples[..5] else {
        unreachable!("as many as subjects");
    };
    table.row("TlsChannel, X.509 P-256, hybrid", TLS_GOAL, ours, x509);
    let information = Goal::NONE;
    table.row(
        "its twin by rustls, X.509 P-256, hybrid",
        information,
        raw,
        x509,
    );
    let row = "its twin, X.509 P-256, X25519";
    table.row(row, information, raw_classical, x509_classical);
    table.row("TlsChannel, its twin, hybrid", information, ours, raw);
    let row = "twin with the hybrid, twin with X25519";
    table.row(row, information, raw, raw_classical);
    let row = "X.509 with the hybrid, with X25519";
    table.row(row, information, x509, x509_classical);
    match samples.get(5) {
        Some(aws_lc) => {
            let row = "TlsChannel, X.509 P-256 by AWS-LC, hybrid";
            table.row(row, information, ours, aws_lc);
        }
        None => table.skipped("against AWS-LC", "built without --features aws-lc"),
    }
}

fn noise(table: &mut Table, effort: Effort, parties: &Parties) {
    for (hash_name, hash) in HASHES {
        table.heading(&format!("Noise handshake, {hash_name}, both sides"));
        for (name, pattern) in PATTERNS {
            let classical = suite(pattern, hash, Hybrid::Off);
            let hybrid = suite(pattern, hash, Hybrid::MlKem768);
            let mut subjects = vec![our_noise(parties, classical), our_noise(parties, hybrid)];
            for by in By::ALL {
                subjects.push(snow::whole(by, classical));
                subjects.push(snow::messages(by, classical));
                subjects.push(snow::whole(by, hybrid));
            }
            let samples = in_turns(effort, &mut subjects);
            let (ours, ours_hybrid) = (&samples[0], &samples[1]);
            let faster = faster(&samples[2], &samples[5]);
            for (by, theirs) in By::ALL.into_iter().zip(samples[2..].chunks(3)) {
                let goal = NOISE_GOAL.when(faster == by);
                let by = by.name();
                table.row(&format!("{name}, {by}"), goal, ours, &theirs[0]);
                let row = format!("{name}, {by}, its messages alone");
                table.row(&row, Goal::NONE, ours, &theirs[1]);
                let row = format!("{name} hybrid, {by} with ml-kem");
                table.row(&row, Goal::NONE, ours_hybrid, &theirs[2]);
            }
            let row = format!("{name} hybrid, {name}");
            table.row(&row, Goal::NONE, ours_hybrid, ours);
        }
    }
}

fn faster(by_default: &Samples, by_ring: &Samples) -> By {
    if by_default.min() < by_ring.min() {
        By::Default
    } else {
        By::Ring
    }
}

fn channels(table: &mut Table, effort: Effort, parties: &Parties, runtime: &Runtime) {
    table.heading("whole channels with their Ed25519 proofs, both sides (information)");
    let x509 = Ends::certified(shared(our_provider()));
    let noise =
        |pattern, hybrid| noise_channel(parties, suite(pattern, Hash::Sha256, hybrid), runtime);
    let mut subjects = vec![
        rustls(&x509, runtime),
        our_tls(parties, runtime),
        noise(Pattern::Xx, Hybrid::MlKem768),
        noise(Pattern::Ik, Hybrid::MlKem768),
        noise(Pattern::Kk, Hybrid::MlKem768),
        noise(Pattern::Ik, Hybrid::Off),
        unix_channel(parties, runtime),
        memory_channel(parties),
    ];
    let samples = in_turns(effort, &mut subjects);
    for (name, ours) in [
        "TlsChannel, hybrid",
        "NoiseChannel XX, hybrid",
        "NoiseChannel IK, hybrid",
        "NoiseChannel KK, hybrid",
        "NoiseChannel IK, X25519",
        "UnixChannel over a socket pair",
        "MemoryChannel",
    ]
    .into_iter()
    .zip(&samples[1..])
    {
        table.row(
            &format!("{name}; X.509 hybrid"),
            Goal::NONE,
            ours,
            &samples[0],
        );
    }
}

fn our_tls<'a>(parties: &'a Parties, runtime: &'a Runtime) -> Subject<'a> {
    Subject::plain(1, move || {
        runtime.block_on(async {
            let (near, far) = duplex(PIPE_BYTES);
            let Parties {
                client,
                server,
                limits,
            } = parties;
            let (near, far) = tokio::join!(
                TlsChannel::connect(client, near, nowhere(), limits),
                TlsChannel::accept(server, far, nowhere(), limits),
            );
            black_box((near.expect("opened"), far.expect("opened")));
        });
    })
}

fn rustls<'a>(ends: &Ends, runtime: &'a Runtime) -> Subject<'a> {
    let ends = ends.clone();
    Subject::plain(1, move || {
        runtime.block_on(async {
            let (near, far) = duplex(PIPE_BYTES);
            black_box(tokio::join!(ends.connect(near), ends.accept(far)));
        });
    })
}

fn our_noise(parties: &Parties, suite: Suite) -> Subject<'_> {
    let (client, server) = (parties.client.static_key(), parties.server.static_key());
    let target = parties.target(suite.pattern);
    let options = options(suite);
    let responder = Responder::new(server, parties.acceptance(suite));
    let randomness = || HandshakeRandomness::generate().expect("randomness");
    Subject::plain(1, move || {
        let now = Instant::now();
        let (initiator, first) =
            Initiator::start(client, &target, &options, randomness()).expect("sound keys");
        let (answered, second) = responder
            .accept(&first, randomness(), now)
            .expect("an honest initiator");
        let (near, third) = initiator.finish(&second, now).expect("honest");
        let far = match (answered, third) {
            (Answered::Established(far), None) => far,
            (Answered::AwaitingInitiator(awaiting), Some(third)) => {
                awaiting.finish(&third, now).expect("honest")
            }
            _ => unreachable!("both sides run one pattern"),
        };
        black_box((near, far));
    })
}

fn noise_channel<'a>(parties: &'a Parties, suite: Suite, runtime: &'a Runtime) -> Subject<'a> {
    let target = parties.target(suite.pattern);
    let options = options(suite);
    let acceptance = parties.acceptance(suite);
    Subject::plain(1, move || {
        runtime.block_on(async {
            let (near, far) = duplex(PIPE_BYTES);
            let Parties {
                client,
                server,
                limits,
            } = parties;
            let (near, far) = tokio::join!(
                NoiseChannel::connect(client, &target, &options, near, nowhere(), limits),
                NoiseChannel::accept(server, &acceptance, far, nowhere(), limits),
            );
            black_box((near.expect("opened"), far.expect("opened")));
        });
    })
}

fn unix_channel<'a>(parties: &'a Parties, runtime: &'a Runtime) -> Subject<'a> {
    let users = AllowedUsers::own();
    Subject::plain(1, move || {
        runtime.block_on(async {
            let (near, far) = UnixStream::pair().expect("sockets");
            let Parties {
                client,
                server,
                limits,
            } = parties;
            let (near, far) = tokio::join!(
                UnixChannel::connect(client, near, &users, limits),
                UnixChannel::accept(server, far, &users, limits),
            );
            black_box((near.expect("opened"), far.expect("opened")));
        });
    })
}

fn memory_channel(parties: &Parties) -> Subject<'_> {
    Subject::plain(16, move || {
        let pair = MemoryChannel::pair(&parties.client, &parties.server);
        black_box(pair.expect("randomness"));
    })
}
