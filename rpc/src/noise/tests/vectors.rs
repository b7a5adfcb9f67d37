//! The vectors of cacophony and of snow, as the package snow 0.10.0 carries
//! them: every one with pattern XX, IK or KK, 25519, ChaChaPoly, SHA256 or
//! BLAKE2s. Each session is run in both roles and compared byte for byte.
//!
//! `cargo test -p sealmoot-rpc --lib vectors -- --nocapture` shows the counts.

use std::path::PathBuf;
use std::sync::Arc;

use sealmoot_crypto::agreement::{AgreementKey, AgreementPublic};
use sealmoot_crypto::secret::SecretArray;
use serde_json::Value;

use super::super::handshake::{Handshake, Role};
use super::super::limits::TAG_BYTES;
use super::{HandshakeRandomness, StaticKey, Suite, all_suites, hex, unhex};
use crate::noise::Hybrid;

#[test]
fn cacophony() {
    run("cacophony.txt");
}

#[test]
fn snow() {
    run("snow.txt");
}

/// Where cargo unpacked snow.
fn file(name: &str) -> Option<PathBuf> {
    let home = std::env::var_os("CARGO_HOME").map_or_else(
        || PathBuf::from(std::env::var_os("HOME").unwrap_or_default()).join(".cargo"),
        PathBuf::from,
    );
    std::fs::read_dir(home.join("registry/src"))
        .ok()?
        .filter_map(Result::ok)
        .map(|registry| registry.path().join("snow-0.10.0/tests/vectors").join(name))
        .find(|path| path.is_file())
}

fn run(name: &str) {
    let Some(path) = file(name) else {
        println!("SKIPPED vectors of {name}: the package snow 0.10.0 is not unpacked here");
        return;
    };
    let text = std::fs::read_to_string(path).expect("readable");
    let document: Value = serde_json::from_str(&text).expect("JSON");
    let vectors = document["vectors"].as_array().expect("a list");
    let (mut agreed, mut with_psk) = (0, 0);
    for vector in vectors {
        let protocol = vector["protocol_name"].as_str().expect("a name");
        // Ours but for a modifier `psk...` behind the pattern.
        let unmodified = match protocol.split_once("psk") {
            None => protocol.to_owned(),
            Some((pattern, rest)) => {
                let algorithms = rest.split_once('_').expect("algorithms").1;
                format!("{pattern}_{algorithms}")
            }
        };
        let suite = all_suites()
            .into_iter()
            .find(|suite| suite.hybrid == Hybrid::Off && suite.protocol_name() == unmodified);
        match suite {
            Some(suite) if unmodified == protocol => {
                check(suite, vector);
                agreed += 1;
            }
            Some(_) => with_psk += 1,
            None => {}
        }
    }
    println!(
        "published: {name}: of {} vectors {agreed} apply and agree byte for byte in both roles; \
         {with_psk} more differ by pre-shared keys, which are not offered",
        vectors.len()
    );
    assert_eq!(agreed, 6, "three patterns, two hashes");
}

fn check(suite: Suite, vector: &Value) {
    let bytes = |name: &str| vector[name].as_str().map(unhex);
    let array = |name: &str| -> Option<[u8; 32]> {
        bytes(name).map(|bytes| bytes.try_into().expect("32 bytes"))
    };
    let side = |role, prefix: &str| {
        let of = |name: &str| format!("{prefix}_{name}");
        let secret = array(&of("static")).expect("every pattern here has static keys");
        let key = AgreementKey::from_bytes(&SecretArray::from_bytes(secret));
        Handshake::new(
            suite,
            role,
            &[&bytes(&of("prologue")).unwrap_or_default()],
            &Arc::new(StaticKey::from(key)),
            array(&of("remote_static")).map(AgreementPublic::from_bytes),
            HandshakeRandomness::danger_from_bytes(
                &array(&of("ephemeral")).expect("an ephemeral"),
                &[0; 64],
            ),
        )
        .expect("the vector gives what the pattern needs")
    };
    let mut initiator = side(Role::Initiator, "init");
    let mut responder = side(Role::Responder, "resp");
    let messages: Vec<(Vec<u8>, Vec<u8>)> = vector["messages"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|message| {
            let field = |name: &str| unhex(message[name].as_str().expect("hexadecimal"));
            (field("payload"), field("ciphertext"))
        })
        .collect();
    let name = suite.protocol_name();
    let handshake_messages = match suite.pattern {
        super::Pattern::Xx => 3,
        super::Pattern::Ik | super::Pattern::Kk => 2,
    };
    let (during, after) = messages.split_at(handshake_messages);
    assert!(after.len() >= 2, "{name}: both directions");
    for (index, (payload, ciphertext)) in during.iter().enumerate() {
        let (writer, reader) = if index % 2 == 0 {
            (&mut initiator, &mut responder)
        } else {
            (&mut responder, &mut initiator)
        };
        let mut written = Vec::new();
        writer
            .write_message(payload, &mut written)
            .expect("in turn");
        assert_eq!(hex(&written), hex(ciphertext), "{name}: message {index}");
        let read = reader.read_message(ciphertext).expect("authentic");
        assert_eq!(&read, payload, "{name}: payload {index}");
    }
    let initiator = initiator.finish().expect("ended");
    let responder = responder.finish().expect("ended");
    assert_eq!(
        initiator.split.handshake_hash,
        responder.split.handshake_hash
    );
    if let Some(handshake_hash) = bytes("handshake_hash") {
        assert_eq!(initiator.split.handshake_hash[..], handshake_hash);
    }
    let (mut initiator, mut responder) = (initiator.split, responder.split);
    for (index, (payload, ciphertext)) in after.iter().enumerate() {
        let (seal, open) = if (index + handshake_messages) % 2 == 0 {
            (
                &mut initiator.initiator_to_responder,
                &mut responder.initiator_to_responder,
            )
        } else {
            (
                &mut responder.responder_to_initiator,
                &mut initiator.responder_to_initiator,
            )
        };
        let mut sealed = payload.clone();
        let tag = seal.seal(&[], &mut sealed).expect("fresh");
        sealed.extend_from_slice(&tag);
        assert_eq!(hex(&sealed), hex(ciphertext), "{name}: record {index}");
        let length = open.open(&[], &mut sealed).expect("authentic");
        assert_eq!(length + TAG_BYTES, ciphertext.len());
        assert_eq!(&sealed[..length], payload);
    }
}
