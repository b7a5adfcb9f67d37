//! The channel against the published vectors, against snow, and against those
//! who change, replay, mix up or cut what is on the wire.

mod handshake;
mod hostile;
mod low_order;
mod snow;
mod transport;
mod vectors;

use std::sync::{Arc, LazyLock};
use std::time::Instant;

use sealmoot_crypto::agreement::AgreementKey;
use sealmoot_crypto::secret::SecretArray;

use super::{
    Acceptance, Answered, AwaitingInitiator, HandshakeError, HandshakeRandomness, Hash, Hybrid,
    Initiator, Options, Pattern, Responder, StaticKey, Suite, Target, Transport, TransportSettings,
};

pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

pub(super) fn unhex(text: &str) -> Vec<u8> {
    assert!(text.len().is_multiple_of(2), "whole bytes");
    (0..text.len() / 2)
        .map(|index| u8::from_str_radix(&text[2 * index..2 * index + 2], 16).expect("hexadecimal"))
        .collect()
}

fn static_key(seed: u8) -> Arc<StaticKey> {
    let secret = SecretArray::from_bytes([seed; 32]);
    Arc::new(StaticKey::from(AgreementKey::from_bytes(&secret)))
}

static CLIENT: LazyLock<Arc<StaticKey>> = LazyLock::new(|| static_key(1));
static SERVER: LazyLock<Arc<StaticKey>> = LazyLock::new(|| static_key(2));
static STRANGER: LazyLock<Arc<StaticKey>> = LazyLock::new(|| static_key(3));

/// The same every time, so that a session can be set up again as it was.
fn randomness(seed: u8) -> HandshakeRandomness {
    HandshakeRandomness::danger_from_bytes(&[seed; 32], &[seed; 64])
}

fn all_suites() -> Vec<Suite> {
    let mut suites = Vec::new();
    for pattern in [Pattern::Xx, Pattern::Ik, Pattern::Kk] {
        for hash in [Hash::Sha256, Hash::Blake2s] {
            for hybrid in [Hybrid::MlKem768, Hybrid::Off] {
                suites.push(Suite {
                    pattern,
                    hash,
                    hybrid,
                });
            }
        }
    }
    suites
}

/// One of each pattern and hybrid: the hash changes no length and no order.
fn suites() -> Vec<Suite> {
    let mut suites = all_suites();
    suites.retain(|suite| suite.hash == Hash::Sha256);
    suites
}

/// Everything that makes up the two sides of one session.
#[derive(Clone)]
struct Setup {
    suite: Suite,
    client: Arc<StaticKey>,
    server: Arc<StaticKey>,
    /// The responder's key as the initiator knows it; none means XX without.
    known: Option<Arc<StaticKey>>,
    client_prologue: Vec<u8>,
    acceptance: Acceptance,
    client_seed: u8,
    server_seed: u8,
    settings: TransportSettings,
}

impl Setup {
    fn new(suite: Suite) -> Self {
        Self {
            suite,
            client: Arc::clone(&CLIENT),
            server: Arc::clone(&SERVER),
            known: Some(Arc::clone(&SERVER)),
            client_prologue: Vec::new(),
            acceptance: Acceptance {
                suites: vec![suite],
                untagged_xx: true,
                kk_initiator: Some(CLIENT.public()),
                ..Acceptance::default()
            },
            client_seed: 11,
            server_seed: 22,
            settings: TransportSettings::default(),
        }
    }

    /// XX in which the initiator knows no key, and so makes no tag.
    fn untagged(suite: Suite) -> Self {
        assert_eq!(suite.pattern, Pattern::Xx);
        Self {
            known: None,
            ..Self::new(suite)
        }
    }

    fn target(&self) -> Target {
        let responder = self.known.as_ref().map(|key| key.public());
        match self.suite.pattern {
            Pattern::Xx => Target::Xx { responder },
            Pattern::Ik => Target::Ik {
                responder: responder.expect("IK needs a key"),
            },
            Pattern::Kk => Target::Kk {
                responder: responder.expect("KK needs a key"),
            },
        }
    }

    fn start(&self) -> (Initiator, Vec<u8>) {
        let options = Options {
            hash: self.suite.hash,
            hybrid: self.suite.hybrid,
            prologue: self.client_prologue.clone(),
            transport: self.settings,
        };
        Initiator::start(
            &self.client,
            &self.target(),
            &options,
            randomness(self.client_seed),
        )
        .expect("honest start")
    }

    fn responder(&self) -> Responder {
        let acceptance = Acceptance {
            transport: self.settings,
            ..self.acceptance.clone()
        };
        Responder::new(&self.server, acceptance)
    }

    fn accept(&self, first: &[u8], now: Instant) -> Result<(Answered, Vec<u8>), HandshakeError> {
        self.responder()
            .accept(first, randomness(self.server_seed), now)
    }

    /// The whole handshake, undisturbed.
    fn run(&self, now: Instant) -> Session {
        let (initiator, first) = self.start();
        let (answered, second) = self.accept(&first, now).expect("honest first frame");
        assert_eq!(initiator.answer_bytes(), second.len());
        let (client, third) = initiator.finish(&second, now).expect("honest answer");
        let server = match (answered, &third) {
            (Answered::Established(server), None) => server,
            (Answered::AwaitingInitiator(awaiting), Some(third)) => {
                assert_eq!(awaiting.frame_bytes(), third.len());
                awaiting.finish(third, now).expect("honest third frame")
            }
            _ => panic!("the sides disagree about the number of messages"),
        };
        let mut frames = vec![first, second];
        frames.extend(third);
        Session {
            client,
            server,
            frames,
        }
    }
}

/// Two ends that trust each other, and what passed between them.
struct Session {
    client: Transport,
    server: Transport,
    frames: Vec<Vec<u8>>,
}

fn awaiting(answered: Answered) -> AwaitingInitiator {
    match answered {
        Answered::AwaitingInitiator(awaiting) => awaiting,
        Answered::Established(_) => panic!("XX has a third message"),
    }
}
