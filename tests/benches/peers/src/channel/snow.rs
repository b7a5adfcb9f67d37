//! snow, which speaks Noise as well: with its own defaults (curve25519-dalek,
//! RustCrypto) and with ring where ring has the algorithm.

use std::hint::black_box;
use std::time::{Duration, Instant};

use ml_kem::array::Array;
use ml_kem::kem::{Decapsulate, KeyExport};
use ml_kem::{DecapsulationKey768, EncapsulationKey768};
use sealmoot_crypto::random;
use sealmoot_rpc::noise::{Hash, Hybrid, Pattern, Suite};
use snow::params::{
    BaseChoice, CipherChoice, DHChoice, HandshakeChoice, HandshakePattern, HashChoice, KemChoice,
    NoiseParams,
};
use snow::resolvers::{CryptoResolver, DefaultResolver, FallbackResolver, RingResolver};
use snow::types::{Cipher, Dh, Hash as SnowHash, Kem, Random};
use snow::{Builder, HandshakeState, TransportState};

use crate::measure::Subject;

/// As long as ours: the label and the offer.
const PROLOGUE: [u8; 30] = [7; 30];

/// Which implementations snow is given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum By {
    /// What it has by itself.
    Default,
    /// ring before that.
    Ring,
}

impl By {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Default, Self::Ring];

    /// As named in a row.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Default => "snow",
            Self::Ring => "snow+ring",
        }
    }

    fn resolver(self) -> Box<dyn CryptoResolver + Send> {
        match self {
            Self::Default => Box::new(WithMlKem(Box::new(DefaultResolver))),
            Self::Ring => Box::new(WithMlKem(Box::new(FallbackResolver::new(
                Box::new(RingResolver),
                Box::new(DefaultResolver),
            )))),
        }
    }
}

/// A whole handshake as a program has it that keeps a private key: snow works
/// its public half out each time.
#[must_use]
pub fn whole(by: By, suite: Suite) -> Subject<'static> {
    let pair = Pair::new(by, suite);
    let mut buffers = Buffers::new();
    Subject::plain(1, move || {
        let (initiator, responder) = (pair.initiator(), pair.responder());
        black_box(exchange(initiator, responder, &mut buffers));
    })
}

/// Its messages alone, both states built before.
#[must_use]
pub fn messages(by: By, suite: Suite) -> Subject<'static> {
    let pair = Pair::new(by, suite);
    let mut buffers = Buffers::new();
    Subject::prepared(1, move || {
        let (initiator, responder) = (pair.initiator(), pair.responder());
        let started = Instant::now();
        let done = black_box(exchange(initiator, responder, &mut buffers));
        let taken: Duration = started.elapsed();
        drop(done);
        taken
    })
}

/// An established session: the initiator's side and the responder's.
#[must_use]
pub fn session(by: By) -> (TransportState, TransportState) {
    let suite = Suite {
        pattern: Pattern::Kk,
        hash: Hash::Sha256,
        hybrid: Hybrid::Off,
    };
    let pair = Pair::new(by, suite);
    exchange(pair.initiator(), pair.responder(), &mut Buffers::new())
}

struct Pair {
    by: By,
    parameters: NoiseParams,
    pattern: Pattern,
    initiator: snow::Keypair,
    responder: snow::Keypair,
}

impl Pair {
    fn new(by: By, suite: Suite) -> Self {
        let parameters = parameters(suite);
        let key = || {
            Builder::with_resolver(parameters.clone(), by.resolver())
                .generate_keypair()
                .expect("randomness")
        };
        let (initiator, responder) = (key(), key());
        Self {
            by,
            parameters,
            pattern: suite.pattern,
            initiator,
            responder,
        }
    }

    fn initiator(&self) -> HandshakeState {
        let knows = self.pattern != Pattern::Xx;
        self.builder(&self.initiator, knows.then_some(&self.responder))
            .build_initiator()
            .expect("complete")
    }

    fn responder(&self) -> HandshakeState {
        let knows = self.pattern == Pattern::Kk;
        self.builder(&self.responder, knows.then_some(&self.initiator))
            .build_responder()
            .expect("complete")
    }

    fn builder<'a>(
        &self,
        own: &'a snow::Keypair,
        remote: Option<&'a snow::Keypair>,
    ) -> Builder<'a> {
        let builder = Builder::with_resolver(self.parameters.clone(), self.by.resolver())
            .prologue(&PROLOGUE)
            .and_then(|builder| builder.local_private_key(&own.private))
            .expect("set once");
        match remote {
            Some(remote) => builder.remote_public_key(&remote.public).expect("set once"),
            None => builder,
        }
    }
}

struct Buffers {
    wire: Vec<u8>,
    payload: Vec<u8>,
}

impl Buffers {
    fn new() -> Self {
        Self {
            wire: vec![0; 4096],
            payload: vec![0; 4096],
        }
    }
}

fn exchange(
    mut initiator: HandshakeState,
    mut responder: HandshakeState,
    buffers: &mut Buffers,
) -> (TransportState, TransportState) {
    while !(initiator.is_handshake_finished() && responder.is_handshake_finished()) {
        let (writer, reader) = if initiator.is_my_turn() {
            (&mut initiator, &mut responder)
        } else {
            (&mut responder, &mut initiator)
        };
        let length = writer
            .write_message(&[], &mut buffers.wire)
            .expect("its turn");
        reader
            .read_message(&buffers.wire[..length], &mut buffers.payload)
            .expect("an honest message");
    }
    (
        initiator.into_transport_mode().expect("finished"),
        responder.into_transport_mode().expect("finished"),
    )
}

fn parameters(suite: Suite) -> NoiseParams {
    let modifiers = match suite.hybrid {
        Hybrid::MlKem768 => "hfs",
        Hybrid::Off => "",
    };
    NoiseParams::new(
        suite.protocol_name(),
        BaseChoice::Noise,
        HandshakeChoice {
            pattern: match suite.pattern {
                Pattern::Xx => HandshakePattern::XX,
                Pattern::Ik => HandshakePattern::IK,
                Pattern::Kk => HandshakePattern::KK,
            },
            modifiers: modifiers.parse().expect("a modifier"),
        },
        DHChoice::Curve25519,
        // Only the resolver below looks at it.
        (suite.hybrid == Hybrid::MlKem768).then_some(KemChoice::Kyber1024),
        CipherChoice::ChaChaPoly,
        match suite.hash {
            Hash::Sha256 => HashChoice::SHA256,
            Hash::Blake2s => HashChoice::Blake2s,
        },
    )
}

/// snow names no ML-KEM: it is given the one that we have.
struct WithMlKem(Box<dyn CryptoResolver + Send>);

impl CryptoResolver for WithMlKem {
    fn resolve_rng(&self) -> Option<Box<dyn Random>> {
        self.0.resolve_rng()
    }

    fn resolve_dh(&self, choice: &DHChoice) -> Option<Box<dyn Dh>> {
        self.0.resolve_dh(choice)
    }

    fn resolve_hash(&self, choice: &HashChoice) -> Option<Box<dyn SnowHash>> {
        self.0.resolve_hash(choice)
    }

    fn resolve_cipher(&self, choice: &CipherChoice) -> Option<Box<dyn Cipher>> {
        self.0.resolve_cipher(choice)
    }

    fn resolve_kem(&self, _: &KemChoice) -> Option<Box<dyn Kem>> {
        Some(Box::new(MlKem::default()))
    }
}

#[derive(Default)]
struct MlKem {
    key: Option<DecapsulationKey768>,
    public: Vec<u8>,
}

impl Kem for MlKem {
    fn name(&self) -> &'static str {
        "MLKEM768"
    }

    fn pub_len(&self) -> usize {
        1184
    }

    fn ciphertext_len(&self) -> usize {
        1088
    }

    fn shared_secret_len(&self) -> usize {
        32
    }

    fn generate(&mut self, rng: &mut dyn Random) {
        let mut seed = [0; 64];
        rng.try_fill_bytes(&mut seed).expect("randomness");
        let key = DecapsulationKey768::from_seed(Array(seed));
        self.public = key.encapsulation_key().to_bytes().to_vec();
        self.key = Some(key);
    }

    fn pubkey(&self) -> &[u8] {
        &self.public
    }

    fn encapsulate(
        &self,
        pubkey: &[u8],
        shared_secret_out: &mut [u8],
        ciphertext_out: &mut [u8],
    ) -> Result<(usize, usize), snow::Error> {
        let bytes = Array::try_from(pubkey).map_err(|_| snow::Error::Kem)?;
        let key = EncapsulationKey768::new(&bytes).map_err(|_| snow::Error::Kem)?;
        let message = Array(random::array().map_err(|_| snow::Error::Kem)?);
        let (ciphertext, secret) = key.encapsulate_deterministic(&message);
        ciphertext_out.copy_from_slice(&ciphertext);
        shared_secret_out.copy_from_slice(&secret);
        Ok((secret.len(), ciphertext.len()))
    }

    fn decapsulate(
        &self,
        ciphertext: &[u8],
        shared_secret_out: &mut [u8],
    ) -> Result<usize, snow::Error> {
        let key = self.key.as_ref().ok_or(snow::Error::Kem)?;
        let ciphertext = Array::try_from(ciphertext).map_err(|_| snow::Error::Kem)?;
        shared_secret_out.copy_from_slice(&key.decapsulate(&ciphertext));
        Ok(32)
    }
}
