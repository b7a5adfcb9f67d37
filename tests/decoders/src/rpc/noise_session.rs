//! Noise handshakes and the channels behind them, with an attacker on the wire. All
//! keys and randomness are fixed: the same bytes do the same in every run.

use std::sync::OnceLock;
use std::time::{Duration, Instant};

use sealmoot_rpc::noise::limits::{
    HANDSHAKE_FRAME_BYTES_MAX, MESSAGE_BYTES_MAX, PREFIX_BYTES, REKEY_AGE,
};
use sealmoot_rpc::noise::{
    Acceptance, AgreementPublic, Answered, AwaitingInitiator, Event, HandshakeError, Hash, Hybrid,
    Initiator, Options, Pattern, ReceiveHalf, Responder, SendHalf, Suite, Target, Transport,
    TransportSettings, handshake_frame_bytes,
};

use super::noise::{
    CLIENT, CLIENT_SEED, SERVER, SERVER_SEED, STRANGER, acceptance, randomness, suite,
};
use super::session::{self, Session, Side, Trust, undisturbed};
use crate::{Decoder, Outcome};

pub(super) const ALL: &[Decoder] = &[Decoder {
    name: "noise_session",
    authenticates: false,
    samples: || {
        let setups = SETUPS.iter().zip(0..);
        setups
            .filter(|(setup, _)| setup.disagreement.is_none())
            .map(|(setup, number)| undisturbed(number, setup.flights()))
            .collect()
    },
    check: |bytes| {
        let Some((number, program)) = bytes.split_first() else {
            return Outcome::Refused;
        };
        let number = usize::from(*number);
        let Some(setup) = SETUPS.get(number) else {
            return Outcome::Refused;
        };
        let recorded = RECORDED[number].get_or_init(|| {
            // The same keys; whatever is drawn afresh for each session is other.
            let session = setup.session(CLIENT_SEED + 100, SERVER_SEED + 100);
            session::record(session, &undisturbed(0, setup.flights())[1..])
        });
        let session = setup.session(CLIENT_SEED, SERVER_SEED);
        session::run(session, recorded, program)
    },
}];

/// Suite and knowledge of two sides.
struct Setup {
    suite: Suite,
    /// Whether XX's initiator knows whom it calls.
    tagged: bool,
    disagreement: Option<Disagreement>,
}

/// Why two sides must not come together.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Disagreement {
    Prologue,
    /// The initiator looks for a stranger.
    Responder,
    /// KK's responder expects a stranger.
    Initiator,
    /// The responder takes the same pattern with the hybrid only.
    Suite,
    /// Both sides hold one key: a side that talks to itself.
    OneKey,
}

/// Most without the hybrid: ML-KEM takes most of the time of a handshake and is the
/// same in every pattern.
static SETUPS: [Setup; 12] = {
    use Disagreement::{Initiator, OneKey, Prologue, Responder, Suite};
    use Pattern::{Ik, Kk, Xx};
    const fn plain(pattern: Pattern, hash: Hash, disagreement: Option<Disagreement>) -> Setup {
        Setup {
            suite: suite(pattern, hash, Hybrid::Off),
            tagged: true,
            disagreement,
        }
    }
    const fn hybrid(pattern: Pattern, tagged: bool) -> Setup {
        Setup {
            suite: suite(pattern, Hash::Sha256, Hybrid::MlKem768),
            tagged,
            disagreement: None,
        }
    }
    const fn untagged(disagreement: Option<Disagreement>) -> Setup {
        Setup {
            suite: suite(Xx, Hash::Blake2s, Hybrid::Off),
            tagged: false,
            disagreement,
        }
    }
    [
        plain(Xx, Hash::Sha256, None),
        untagged(None),
        plain(Ik, Hash::Sha256, None),
        plain(Kk, Hash::Blake2s, None),
        hybrid(Xx, false),
        hybrid(Ik, true),
        hybrid(Kk, true),
        plain(Ik, Hash::Sha256, Some(Prologue)),
        plain(Xx, Hash::Sha256, Some(Responder)),
        plain(Kk, Hash::Sha256, Some(Initiator)),
        untagged(Some(OneKey)),
        plain(Ik, Hash::Sha256, Some(Suite)),
    ]
};

static RECORDED: [OnceLock<[Vec<u8>; 2]>; SETUPS.len()] = [const { OnceLock::new() }; _];

/// For the sides of every setup: so that some payloads are too long, and keys change
/// often.
const SETTINGS: TransportSettings = TransportSettings {
    payload_bytes_max: 100_000,
    rekey_bytes: 3_000,
    rekey_age: REKEY_AGE,
};

impl Setup {
    fn flights(&self) -> usize {
        match self.suite.pattern {
            Pattern::Xx => 3,
            Pattern::Ik | Pattern::Kk => 2,
        }
    }

    fn session(&self, client_seed: u8, server_seed: u8) -> Session<NoiseSide> {
        let disagree = |what| self.disagreement == Some(what);
        let client = if disagree(Disagreement::OneKey) {
            &SERVER
        } else {
            &CLIENT
        };
        let responder = if disagree(Disagreement::Responder) {
            STRANGER.public()
        } else {
            SERVER.public()
        };
        let target = match self.suite.pattern {
            Pattern::Xx => Target::Xx {
                responder: self.tagged.then_some(responder),
            },
            Pattern::Ik => Target::Ik { responder },
            Pattern::Kk => Target::Kk { responder },
        };
        let options = Options {
            hash: self.suite.hash,
            hybrid: self.suite.hybrid,
            prologue: b"program".to_vec(),
            transport: SETTINGS,
        };
        let (initiator, first) =
            Initiator::start(client, &target, &options, randomness(client_seed))
                .expect("good keys");
        Session {
            sides: [
                NoiseSide::new(Phase::Initiating(initiator), first),
                NoiseSide::new(
                    Phase::Responding(Responder::new(&SERVER, self.acceptance()), server_seed),
                    Vec::new(),
                ),
            ],
            keys: [client, &SERVER].map(|key| bytes(key.public())),
            belong_together: self.disagreement.is_none(),
        }
    }

    fn acceptance(&self) -> Acceptance {
        let disagree = |what| self.disagreement == Some(what);
        let expected = if disagree(Disagreement::Initiator) {
            STRANGER.public()
        } else {
            CLIENT.public()
        };
        let hybrid = if disagree(Disagreement::Suite) {
            Hybrid::MlKem768
        } else {
            self.suite.hybrid
        };
        Acceptance {
            suites: vec![Suite {
                hybrid,
                ..self.suite
            }],
            untagged_xx: !self.tagged,
            kk_initiator: Some(expected),
            prologue: if disagree(Disagreement::Prologue) {
                b"another".to_vec()
            } else {
                b"program".to_vec()
            },
            ..acceptance(SETTINGS)
        }
    }
}

fn bytes(key: AgreementPublic) -> Vec<u8> {
    key.as_bytes().to_vec()
}

/// One side, as a shell would drive it.
struct NoiseSide {
    phase: Phase,
    input: Vec<u8>,
    consumed: usize,
    output: Vec<u8>,
    binding: [u8; 32],
    trust: Option<Trust>,
    delivered: Vec<Vec<u8>>,
    now: Instant,
}

enum Phase {
    Initiating(Initiator),
    /// And the seed of what it draws.
    Responding(Responder, u8),
    Awaiting(AwaitingInitiator),
    /// Until it has closed, it can send.
    Open(Option<SendHalf>, ReceiveHalf),
    Failed,
}

impl NoiseSide {
    fn new(phase: Phase, output: Vec<u8>) -> Self {
        Self {
            phase,
            input: Vec::new(),
            consumed: 0,
            output,
            binding: [0; 32],
            trust: None,
            delivered: Vec::new(),
            now: Instant::now(),
        }
    }

    /// Takes one frame, and says whether there was one to take.
    fn step(&mut self) -> bool {
        if let Phase::Open(_, receive) = &mut self.phase {
            let Ok(received) = receive.receive(&mut self.input) else {
                self.input.clear();
                return false;
            };
            let consumed = received.consumed;
            match received.event {
                Event::Incomplete { needed } => {
                    assert!(self.input.len() < needed, "it was all there");
                    assert!(needed <= PREFIX_BYTES + MESSAGE_BYTES_MAX);
                    return false;
                }
                Event::Payload(payload) => {
                    assert!(payload.len() <= SETTINGS.payload_bytes_max);
                    self.delivered.push(payload.to_vec());
                }
                Event::Fragment | Event::Closed => {}
            }
            self.take(consumed);
            self.believe();
            return true;
        }
        if matches!(self.phase, Phase::Failed) {
            self.input.clear();
            return false;
        }
        let Some(frame) = self.handshake_frame() else {
            return false;
        };
        match frame.and_then(|frame| self.handshake(&frame).map(|()| frame.len())) {
            Ok(length) => self.take(length),
            // `handshake` has left `Failed` behind.
            Err(_) => self.phase = Phase::Failed,
        }
        self.believe();
        true
    }

    /// The frame that the input begins with, once it is whole.
    fn handshake_frame(&self) -> Option<Result<Vec<u8>, HandshakeError>> {
        let length = match handshake_frame_bytes(*self.input.first_chunk()?) {
            Ok(length) => length,
            Err(error) => return Some(Err(error)),
        };
        assert!(length <= HANDSHAKE_FRAME_BYTES_MAX);
        Some(Ok(self.input.get(..length)?.to_vec()))
    }

    fn handshake(&mut self, frame: &[u8]) -> Result<(), HandshakeError> {
        match std::mem::replace(&mut self.phase, Phase::Failed) {
            Phase::Initiating(initiator) => {
                let (transport, third) = initiator.finish(frame, self.now)?;
                self.output.extend(third.into_iter().flatten());
                self.open(transport);
            }
            Phase::Responding(responder, seed) => {
                let (answered, answer) = responder.accept(frame, randomness(seed), self.now)?;
                self.output.extend(answer);
                match answered {
                    Answered::Established(transport) => self.open(transport),
                    Answered::AwaitingInitiator(awaiting) => {
                        self.phase = Phase::Awaiting(awaiting);
                    }
                }
            }
            Phase::Awaiting(awaiting) => self.open(awaiting.finish(frame, self.now)?),
            Phase::Open(..) | Phase::Failed => return Err(HandshakeError::Dead),
        }
        Ok(())
    }

    fn open(&mut self, transport: Transport) {
        self.binding = *transport.handshake_hash();
        let (send, receive) = transport.split();
        self.phase = Phase::Open(Some(send), receive);
    }

    fn take(&mut self, consumed: usize) {
        self.input.drain(..consumed);
        self.consumed += consumed;
    }

    fn believe(&mut self) {
        if let (Phase::Open(_, receive), None) = (&self.phase, &self.trust) {
            let binding = self.binding;
            self.trust = receive.remote_static().map(|key| Trust {
                key: bytes(key),
                binding,
            });
        }
    }
}

impl Side for NoiseSide {
    const LENGTHS: [usize; 8] = [0, 1, 100, 17, 3_000, 65_518, 65_519, 100_001];

    fn receive(&mut self, bytes: &[u8]) {
        self.input.extend_from_slice(bytes);
        while self.step() {}
    }

    fn take_output(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.output)
    }

    fn say(&mut self, payload: &[u8]) -> bool {
        match &mut self.phase {
            Phase::Open(Some(send), _) => {
                let sealed = send.seal(payload, self.now, &mut self.output);
                assert_eq!(sealed.is_ok(), payload.len() <= SETTINGS.payload_bytes_max);
                sealed.is_ok()
            }
            _ => false,
        }
    }

    fn rekey(&mut self) {
        self.now += REKEY_AGE + Duration::from_secs(1);
    }

    fn close(&mut self) -> bool {
        match &mut self.phase {
            Phase::Open(send, _) => send
                .take()
                .is_some_and(|send| send.close(self.now, &mut self.output).is_ok()),
            _ => false,
        }
    }

    fn consumed(&self) -> usize {
        self.consumed
    }

    fn trust(&self) -> Option<&Trust> {
        self.trust.as_ref()
    }

    fn delivered(&self) -> &[Vec<u8>] {
        &self.delivered
    }

    fn ends_well(&self) -> bool {
        match &self.phase {
            Phase::Open(_, receive) => receive.end_of_stream().is_ok(),
            _ => false,
        }
    }

    /// Every byte.
    fn authenticated(stream: &[u8]) -> Vec<u8> {
        stream.to_vec()
    }
}
