//! Records for tests.

use std::num::NonZeroU8;
use std::sync::Arc;

use sealmoot_crypto::secret::SecretArray;
use sealmoot_crypto::signature::{KeyId, SigningKey};
use sealmoot_rpc::binding::{Endpoint, Name, NameRecord, VerifiedRecord, Way};

use crate::policy::{Policy, Prefix, Readers, Rule};

pub(crate) const NOW_MS: u64 = 1_000_000;

/// For what goes through shells, which have the real clock.
pub(crate) const FOREVER_MS: u64 = u64::MAX;

pub(crate) fn key(seed: u8) -> SigningKey {
    SigningKey::from_seed(&SecretArray::from_bytes([seed; 32]))
}

pub(crate) fn id(seed: u8) -> KeyId {
    key(seed).verifying_key().key_id()
}

pub(crate) fn name(text: &str) -> Name {
    text.parse().expect("a name")
}

pub(crate) fn unsigned(called: &str, serial: u64, valid_until_ms: u64) -> NameRecord {
    NameRecord {
        name: name(called),
        serial,
        valid_until_ms,
        ttl_seconds: 10,
        services: Vec::new(),
        endpoints: vec![Endpoint {
            way: Way::Tls,
            address: "127.0.0.1:7000".to_owned(),
            key_id: KeyId::from_bytes([1; 32]),
            weight: NonZeroU8::MIN,
        }],
    }
}

/// By signer 1.
pub(crate) fn signed(called: &str, serial: u64, valid_until_ms: u64) -> Arc<VerifiedRecord> {
    let record = unsigned(called, serial, valid_until_ms);
    Arc::new(record.sign(&key(1)).expect("sound"))
}

/// The same name and serial at another place.
pub(crate) fn moved(called: &str, serial: u64, valid_until_ms: u64) -> Arc<VerifiedRecord> {
    let mut record = unsigned(called, serial, valid_until_ms);
    record.endpoints[0].address = "127.0.0.1:7001".to_owned();
    Arc::new(record.sign(&key(1)).expect("sound"))
}

/// Peer 9 publishes what signer 1 signs, everybody reads.
pub(crate) fn open_policy() -> Policy {
    let rule = Rule {
        publishers: [id(9)].into(),
        signers: vec![id(1)],
        readers: Readers::Admitted,
        ..Rule::default()
    };
    Policy::new().rule(Prefix::ALL, rule).expect("one rule")
}
