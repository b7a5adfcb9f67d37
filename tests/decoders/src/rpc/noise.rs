//! Keys, randomness and suites of the Noise decoders, all fixed: what one run finds,
//! another finds again.

use std::sync::{Arc, LazyLock};

use sealmoot_crypto::agreement::AgreementKey;
use sealmoot_crypto::secret::SecretArray;
use sealmoot_rpc::noise::{
    Acceptance, HandshakeRandomness, Hash, Hybrid, Initiator, Options, Pattern, Responder,
    StaticKey, Suite, Target, TransportSettings,
};

pub(super) static CLIENT: LazyLock<Arc<StaticKey>> = LazyLock::new(|| static_key(1));
pub(super) static SERVER: LazyLock<Arc<StaticKey>> = LazyLock::new(|| static_key(2));
pub(super) static STRANGER: LazyLock<Arc<StaticKey>> = LazyLock::new(|| static_key(3));

/// What `CLIENT`'s side of most handshakes draws; `SERVER`'s draws [`SERVER_SEED`].
pub(super) const CLIENT_SEED: u8 = 11;
pub(super) const SERVER_SEED: u8 = 22;

/// The secret half of `CLIENT`, for an implementation that is not ours.
pub(super) const CLIENT_SECRET: [u8; 32] = [1; 32];

/// One suite of each pattern, without the hybrid and with it; both hashes.
pub(super) const SUITES: [Suite; 6] = [
    suite(Pattern::Xx, Hash::Sha256, Hybrid::Off),
    suite(Pattern::Ik, Hash::Sha256, Hybrid::Off),
    suite(Pattern::Kk, Hash::Blake2s, Hybrid::Off),
    suite(Pattern::Xx, Hash::Blake2s, Hybrid::MlKem768),
    suite(Pattern::Ik, Hash::Sha256, Hybrid::MlKem768),
    suite(Pattern::Kk, Hash::Sha256, Hybrid::MlKem768),
];

pub(super) const fn suite(pattern: Pattern, hash: Hash, hybrid: Hybrid) -> Suite {
    Suite {
        pattern,
        hash,
        hybrid,
    }
}

pub(super) fn randomness(seed: u8) -> HandshakeRandomness {
    HandshakeRandomness::danger_from_bytes(&[seed; 32], &[seed; 64])
}

/// `CLIENT` towards `SERVER`, whom it knows; and its first frame.
pub(super) fn initiator(suite: Suite, transport: TransportSettings) -> (Initiator, Vec<u8>) {
    let responder = SERVER.public();
    let target = match suite.pattern {
        Pattern::Xx => Target::Xx {
            responder: Some(responder),
        },
        Pattern::Ik => Target::Ik { responder },
        Pattern::Kk => Target::Kk { responder },
    };
    let options = Options {
        hash: suite.hash,
        hybrid: suite.hybrid,
        prologue: Vec::new(),
        transport,
    };
    Initiator::start(&CLIENT, &target, &options, randomness(CLIENT_SEED)).expect("good keys")
}

/// `SERVER`, which takes [`SUITES`] from those who know its key.
pub(super) fn responder(transport: TransportSettings) -> Responder {
    Responder::new(&SERVER, acceptance(transport))
}

pub(super) fn acceptance(transport: TransportSettings) -> Acceptance {
    Acceptance {
        suites: SUITES.to_vec(),
        untagged_xx: false,
        kk_initiator: Some(CLIENT.public()),
        prologue: Vec::new(),
        transport,
    }
}

fn static_key(seed: u8) -> Arc<StaticKey> {
    let secret = SecretArray::from_bytes([seed; 32]);
    Arc::new(StaticKey::from(AgreementKey::from_bytes(&secret)))
}
