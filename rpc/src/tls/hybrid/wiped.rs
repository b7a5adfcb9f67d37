//! Ephemeral secrets of the key agreement are gone after it: a child process
//! agrees, and its core is searched.

use sealmoot_crypto::random;
use sealmoot_crypto::secret::SecretArray;

use super::core::{Finding, Needle};
use super::ml_kem_secrets::{of_encapsulation, of_key};
use super::process::{Child, Pipe, deep};
use super::*;

const ENTRY: &str = "tls::hybrid::wiped::child_process";

/// The randomness of both sides.
struct Randomness {
    seed: [u8; SEED_BYTES],
    message: [u8; ENCAPSULATION_RANDOMNESS_BYTES],
    client: [u8; X25519_BYTES],
    server: [u8; X25519_BYTES],
}

impl Randomness {
    fn fresh() -> Self {
        Self {
            seed: random::array().expect("random source"),
            message: random::array().expect("random source"),
            client: random::array().expect("random source"),
            server: random::array().expect("random source"),
        }
    }

    fn active(&self) -> Active {
        Active::from_randomness(&array(&self.seed), &array(&self.client))
    }

    fn completed(&self) -> CompletedKeyExchange {
        let share = self.active().share;
        complete_from_randomness(&share, &array(&self.message), &array(&self.server))
            .expect("honest share")
    }

    fn needles(&self) -> Vec<Needle> {
        let active = self.active();
        let completed = self.completed();
        let key = &active.share[..ENCAPSULATION_KEY_BYTES];
        let secret = completed.secret.secret_bytes();
        let post_quantum = secret.first_chunk().expect("64 bytes");
        let mut needles = of_key(&self.seed);
        needles.extend(of_encapsulation(key, &self.message, post_quantum));
        needles.push(Needle::new("client's X25519 key", &self.client));
        needles.push(Needle::new("server's X25519 key", &self.server));
        needles.push(Needle::new("X25519 secret", &secret[32..]));
        needles
    }
}

fn array<const N: usize>(bytes: &[u8; N]) -> SecretArray<N> {
    SecretArray::from_bytes(*bytes)
}

fn receive<const N: usize>(pipe: &mut Pipe) -> SecretArray<N> {
    let mut secret = SecretArray::from_bytes([0; N]);
    pipe.receive_into(secret.expose_mut());
    secret
}

/// The child: client, client that falls back to X25519, server, or all of what
/// it was told kept.
#[test]
fn child_process() {
    let Some(mut pipe) = Pipe::of_child() else {
        return;
    };
    let role = pipe.receive();
    let share = pipe.receive();
    let (kem, agreement) = (receive(&mut pipe), receive(&mut pipe));
    let message = receive(&mut pipe);
    match role.as_slice() {
        b"client" => {
            let active = deep(|| Box::new(Active::from_randomness(&kem, &agreement)));
            drop((kem, agreement));
            deep(|| drop(active.complete(&share).expect("honest share")));
        }
        b"fallback" => {
            let active = deep(|| Box::new(Active::from_randomness(&kem, &agreement)));
            drop((kem, agreement));
            let share = &share[CIPHERTEXT_BYTES..];
            deep(|| {
                drop(
                    active
                        .complete_hybrid_component(share)
                        .expect("honest share"),
                )
            });
        }
        b"refused" => {
            let active = deep(|| Box::new(Active::from_randomness(&kem, &agreement)));
            drop((kem, agreement));
            deep(|| assert!(active.complete(&share[1..]).is_err()));
        }
        b"server" => {
            drop(kem);
            deep(|| drop(complete_from_randomness(&share, &message, &agreement)));
            drop((message, agreement));
            return pipe.done();
        }
        other => {
            assert_eq!(other, b"kept");
            return pipe.done();
        }
    }
    drop(message);
    pipe.done();
}

fn findings(role: &str) -> Vec<Finding> {
    let randomness = Randomness::fresh();
    let completed = randomness.completed();
    let (share, agreement) = match role {
        "server" => (randomness.active().share, randomness.server),
        _ => (completed.pub_key, randomness.client),
    };
    let mut child = Child::start(ENTRY);
    child.pipe.send(role.as_bytes());
    child.pipe.send(&share);
    child.pipe.send(&randomness.seed);
    child.pipe.send(&agreement);
    child.pipe.send(&randomness.message);
    child.core().search(&randomness.needles())
}

#[test]
fn a_client_leaves_nothing() {
    for role in ["client", "fallback", "refused"] {
        let found = findings(role);
        assert!(found.is_empty(), "{role}: {found:#?}");
    }
}

#[test]
fn a_server_leaves_nothing() {
    let found = findings("server");
    assert!(found.is_empty(), "{found:#?}");
}

// Dropped before the search, they are gone; kept, they are found.
#[test]
fn what_is_kept_is_found() {
    let found = findings("kept");
    for name in ["ML-KEM seed d", "client's X25519 key", "ML-KEM message"] {
        assert!(
            found.iter().any(|finding| finding.name == name),
            "{name} is missing: {found:#?}"
        );
    }
}
