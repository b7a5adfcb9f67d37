//! Every secret of one Noise session, computed from what both sides put in:
//! sections 5.2 and 5.3 of Noise, revision 34, written once more and apart from
//! the library. Chaining keys do not depend on what was sent, so nothing else
//! is needed.

use blake2::Blake2s256;
use ml_kem::array::Array;
use ml_kem::{DecapsulationKey768, EncapsulationKey768};
use ring::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, Nonce, UnboundKey};
use sealmoot_crypto::agreement::AgreementKey;
use sealmoot_crypto::secret::SecretArray;
use sealmoot_rpc::noise::{Hash, Pattern, Suite};
use sha2::{Digest, Sha256};

use super::core::Needle;
use super::ml_kem_secrets::{of_encapsulation, of_key};

/// What one side puts into a handshake.
#[derive(Clone)]
pub(crate) struct Party {
    pub(crate) static_key: [u8; 32],
    pub(crate) ephemeral: [u8; 32],
    pub(crate) kem: [u8; 64],
}

/// A direction's key and those that follow it.
#[derive(Clone, Copy)]
pub(crate) struct Key(pub(crate) [u8; 32]);

/// What a session's secrets are, in the order in which they come to be.
pub(crate) struct Schedule {
    pub(crate) needles: Vec<Needle>,
    pub(crate) initiator_to_responder: Key,
    pub(crate) responder_to_initiator: Key,
}

impl Schedule {
    pub(crate) fn of(suite: Suite, initiator: &Party, responder: &Party) -> Self {
        let mut needles = vec![];
        for (side, party) in [("initiator", initiator), ("responder", responder)] {
            let mut add = |what: &str, bytes: &[u8]| {
                needles.push(Needle::new(format!("{side}'s {what}"), bytes));
            };
            add("static key", &party.static_key);
            add("ephemeral key", &party.ephemeral);
            // Clamping changes the first and the last byte.
            add("static key, clamped", &clamped(&party.static_key));
            add("ephemeral key, clamped", &clamped(&party.ephemeral));
            add("KEM randomness", &party.kem);
        }
        needles.extend(of_key(&initiator.kem));
        let message: [u8; 32] = *responder.kem.first_chunk().expect("longer");
        let (post_quantum, encapsulation) = encapsulation(&initiator.kem, &message);
        needles.extend(encapsulation);

        let name = suite.protocol_name();
        let mut chaining_key = if name.len() > 32 {
            hash(suite.hash, &[name.as_bytes()])
        } else {
            let mut padded = [0; 32];
            padded[..name.len()].copy_from_slice(name.as_bytes());
            padded
        };
        let order: &[&str] = match suite.pattern {
            Pattern::Xx => &["ee", "ekem1", "es", "se"],
            Pattern::Ik | Pattern::Kk => &["es", "ss", "ee", "ekem1", "se"],
        };
        for token in order {
            let input = match *token {
                "ee" => agree(&initiator.ephemeral, &responder.ephemeral),
                "es" => agree(&initiator.ephemeral, &responder.static_key),
                "se" => agree(&initiator.static_key, &responder.ephemeral),
                "ss" => agree(&initiator.static_key, &responder.static_key),
                _ => post_quantum,
            };
            needles.push(Needle::new(format!("result of {token}"), &input));
            let derived = Derived::of(suite.hash, &chaining_key, &input);
            derived.needles(&format!("after {token}"), &mut needles);
            chaining_key = derived.first;
        }
        let split = Derived::of(suite.hash, &chaining_key, &[]);
        split.needles("of Split()", &mut needles);
        Self {
            needles,
            initiator_to_responder: Key(split.first),
            responder_to_initiator: Key(split.second),
        }
    }
}

impl Key {
    /// The next key: section 4.2, `REKEY`.
    pub(crate) fn next(&self) -> Self {
        let mut next = [0; 32];
        self.encrypt(u64::MAX, &mut next);
        Self(next)
    }

    /// What message `counter` is combined with, up to 128 bytes: with the
    /// ciphertext it gives the plaintext.
    pub(crate) fn keystream(&self, counter: u64) -> [u8; 128] {
        let mut zeros = [0; 128];
        self.encrypt(counter, &mut zeros);
        zeros
    }

    pub(crate) fn opens(&self, counter: u64, message: &[u8]) -> bool {
        let mut message = message.to_vec();
        self.ring()
            .open_in_place(nonce(counter), Aad::empty(), &mut message)
            .is_ok()
    }

    fn encrypt(&self, counter: u64, in_out: &mut [u8]) {
        let _tag = self
            .ring()
            .seal_in_place_separate_tag(nonce(counter), Aad::empty(), in_out)
            .expect("short");
    }

    fn ring(&self) -> LessSafeKey {
        LessSafeKey::new(UnboundKey::new(&CHACHA20_POLY1305, &self.0).expect("32 bytes"))
    }
}

fn nonce(counter: u64) -> Nonce {
    let mut bytes = [0; 12];
    bytes[4..].copy_from_slice(&counter.to_le_bytes());
    Nonce::assume_unique_for_key(bytes)
}

/// `HKDF` with two outputs (section 4.3), and all that stands between.
struct Derived {
    key: [u8; 32],
    temporary: [u8; 32],
    first: [u8; 32],
    second: [u8; 32],
}

impl Derived {
    fn of(function: Hash, key: &[u8; 32], input: &[u8]) -> Self {
        let temporary = hmac(function, key, &[input]);
        let first = hmac(function, &temporary, &[&[1]]);
        let second = hmac(function, &temporary, &[&first, &[2]]);
        Self {
            key: *key,
            temporary,
            first,
            second,
        }
    }

    fn needles(&self, when: &str, needles: &mut Vec<Needle>) {
        for (what, bytes) in [
            ("temporary key", &self.temporary),
            ("first output", &self.first),
            ("second output", &self.second),
        ] {
            needles.push(Needle::new(format!("{what} {when}"), bytes));
        }
        for (what, bytes) in [
            ("chaining key", &self.key),
            ("temporary key", &self.temporary),
        ] {
            for pad in [0x36, 0x5c] {
                let padded = bytes.map(|byte| byte ^ pad);
                let name = format!("{what} padded with {pad:#x} {when}");
                needles.push(Needle::new(name, &padded));
            }
        }
    }
}

fn hmac(function: Hash, key: &[u8; 32], parts: &[&[u8]]) -> [u8; 32] {
    let pad = |with: u8| {
        let mut pad = [with; 64];
        pad.iter_mut().zip(key).for_each(|(pad, key)| *pad ^= key);
        pad
    };
    let (inner_pad, outer_pad) = (pad(0x36), pad(0x5c));
    let mut inner = vec![&inner_pad[..]];
    inner.extend(parts);
    let inner = hash(function, &inner);
    hash(function, &[&outer_pad, &inner])
}

fn hash(function: Hash, parts: &[&[u8]]) -> [u8; 32] {
    let joined = parts.concat();
    match function {
        Hash::Sha256 => Sha256::digest(joined).into(),
        Hash::Blake2s => Blake2s256::digest(joined).into(),
    }
}

pub(crate) fn clamped(key: &[u8; 32]) -> [u8; 32] {
    let mut key = *key;
    key[0] &= 248;
    key[31] = key[31] & 127 | 64;
    key
}

pub(crate) fn agree(own: &[u8; 32], other: &[u8; 32]) -> [u8; 32] {
    let key = |bytes: &[u8; 32]| AgreementKey::from_bytes(&SecretArray::from_bytes(*bytes));
    let shared = key(own).agree(&key(other).public()).expect("honest keys");
    *shared.expose()
}

/// The shared secret of an encapsulation, and what else it is made with.
fn encapsulation(seed: &[u8; 64], message: &[u8; 32]) -> ([u8; 32], Vec<Needle>) {
    use ml_kem::kem::KeyExport;
    let key = DecapsulationKey768::from_seed(Array(*seed));
    let bytes = key.encapsulation_key().to_bytes();
    let key = EncapsulationKey768::new(&bytes).expect("its own encoding");
    let (_, secret) = key.encapsulate_deterministic(&Array(*message));
    (secret.0, of_encapsulation(&bytes, message, &secret.0))
}
