//! One side of a Noise session in a child, the other here.

use std::hint::black_box;
use std::sync::Arc;
use std::time::Instant;

use sealmoot_crypto::agreement::{AgreementKey, AgreementPublic};
use sealmoot_crypto::digest::{MacKey, Sha256};
use sealmoot_crypto::random;
use sealmoot_crypto::secret::SecretArray;
use sealmoot_rpc::noise::{
    Acceptance, Answered, Event, HandshakeError, HandshakeRandomness, Hash, Hybrid, Initiator,
    OFFER_BYTES, Options, Pattern, ReceiveHalf, Responder, StaticKey, Suite, Target, Transport,
    TransportSettings,
};
use zeroize::Zeroizing;

use super::ENTRY;
use super::core::{Finding, Needle, Place};
use super::process::{Child, Pipe, deep};
use super::schedule::{Key, Party, Schedule};

/// The third payload brings the sum above this in its middle. Several fragments
/// make a receiver put a payload together in memory of its own: of the second,
/// the allocator keeps that memory, of the third it gives it back.
const REKEY_BYTES: u64 = 100_000;
const PAYLOAD_BYTES: [usize; 4] = [300, 70_000, 150_000, 200];
/// What is sent instead of a frame that never comes.
const GIVE_UP: &[u8] = &[];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    Initiator,
    Responder,
}

/// How the other side, which is this test, spoils a handshake.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Spoiled {
    /// The last byte of the last frame that the child reads is changed.
    Tag,
    /// The first frame's Noise message is changed and its tag made anew, so that
    /// an IK or KK responder computes all of the message before it refuses.
    Retagged,
    /// The last frame that the child reads ends early.
    Truncated,
    /// It never comes.
    Dropped,
    /// An XX initiator finds another key than the one it looks for.
    WrongStatic,
}

pub(crate) fn suites() -> Vec<Suite> {
    let hashes = [Hash::Sha256, Hash::Blake2s];
    let suite = |pattern, hash| Suite {
        pattern,
        hash,
        hybrid: Hybrid::MlKem768,
    };
    if !is_full() {
        return vec![
            suite(Pattern::Xx, Hash::Sha256),
            suite(Pattern::Kk, Hash::Blake2s),
        ];
    }
    [Pattern::Xx, Pattern::Ik, Pattern::Kk]
        .into_iter()
        .flat_map(|pattern| hashes.map(|hash| suite(pattern, hash)))
        .collect()
}

/// The patterns whose handshakes are refused or dropped.
pub(crate) fn patterns() -> &'static [Pattern] {
    if is_full() {
        &[Pattern::Xx, Pattern::Ik, Pattern::Kk]
    } else {
        &[Pattern::Ik]
    }
}

/// Each session is a process and its core: all of them are for `SEALMOOT_WIPED=full`.
fn is_full() -> bool {
    std::env::var_os("SEALMOOT_WIPED").is_some()
}

fn settings() -> TransportSettings {
    TransportSettings {
        rekey_bytes: REKEY_BYTES,
        ..TransportSettings::default()
    }
}

// The child's side. It reads secrets into buffers that wipe themselves, and
// keeps nothing that the library did not give it.

/// What the parent told of a session, but for the secrets.
struct Session {
    suite: Suite,
    side: Side,
    /// The other side's key, for those who know it.
    known: Option<AgreementPublic>,
}

pub(crate) fn child(mut pipe: Pipe) {
    deep(|| talk(&mut pipe));
    pipe.done();
}

fn talk(pipe: &mut Pipe) {
    let session = receive_session(pipe);
    let (key, randomness) = deep(|| {
        let mut secret = SecretArray::from_bytes([0; 32]);
        pipe.receive_into(secret.expose_mut());
        let key = Arc::new(StaticKey::from(AgreementKey::from_bytes(&secret)));
        let mut dh = Zeroizing::new([0; 32]);
        let mut kem = Zeroizing::new([0; 64]);
        pipe.receive_into(&mut *dh);
        pipe.receive_into(&mut *kem);
        (key, HandshakeRandomness::danger_from_bytes(&dh, &kem))
    });
    let agreed = match session.side {
        Side::Initiator => initiate(pipe, &session, &key, randomness),
        Side::Responder => respond(pipe, &session, &key, randomness),
    };
    let Some(agreed) = agreed else { return };
    match agreed {
        Ok(transport) => {
            pipe.send(b"established");
            transfer(pipe, transport);
        }
        Err(error) => pipe.send(format!("{error:?}").as_bytes()),
    }
}

fn receive_session(pipe: &mut Pipe) -> Session {
    let mut head = [0; 4];
    pipe.receive_into(&mut head);
    let mut known = [0; 32];
    pipe.receive_into(&mut known);
    Session {
        suite: Suite {
            pattern: [Pattern::Xx, Pattern::Ik, Pattern::Kk][usize::from(head[0])],
            hash: [Hash::Sha256, Hash::Blake2s][usize::from(head[1])],
            hybrid: Hybrid::MlKem768,
        },
        side: [Side::Initiator, Side::Responder][usize::from(head[2])],
        known: (head[3] == 1).then(|| AgreementPublic::from_bytes(known)),
    }
}

fn initiate(
    pipe: &mut Pipe,
    session: &Session,
    key: &Arc<StaticKey>,
    randomness: HandshakeRandomness,
) -> Option<Result<Transport, HandshakeError>> {
    let target = match (session.suite.pattern, session.known) {
        (Pattern::Xx, responder) => Target::Xx { responder },
        (Pattern::Ik, Some(responder)) => Target::Ik { responder },
        (Pattern::Kk, Some(responder)) => Target::Kk { responder },
        _ => panic!("IK and KK need a key"),
    };
    let options = Options {
        hash: session.suite.hash,
        transport: settings(),
        ..Options::default()
    };
    let started = deep(|| Initiator::start(key, &target, &options, randomness));
    let (initiator, first) = started.expect("honest keys");
    pipe.send(&first);
    let answer = pipe.receive();
    if answer == GIVE_UP {
        deep(|| drop(initiator));
        return None;
    }
    Some(deep(|| {
        let (transport, third) = initiator.finish(&answer, Instant::now())?;
        if let Some(third) = third {
            pipe.send(&third);
        }
        Ok(transport)
    }))
}

fn respond(
    pipe: &mut Pipe,
    session: &Session,
    key: &Arc<StaticKey>,
    randomness: HandshakeRandomness,
) -> Option<Result<Transport, HandshakeError>> {
    let acceptance = Acceptance {
        suites: vec![session.suite],
        kk_initiator: session.known,
        transport: settings(),
        ..Acceptance::default()
    };
    let responder = Responder::new(key, acceptance);
    let first = pipe.receive();
    let accepted = deep(|| responder.accept(&first, randomness, Instant::now()));
    let (answered, answer) = match accepted {
        Ok(accepted) => accepted,
        Err(error) => return Some(Err(error)),
    };
    pipe.send(&answer);
    match answered {
        Answered::Established(transport) => Some(Ok(transport)),
        Answered::AwaitingInitiator(awaiting) => {
            let third = pipe.receive();
            if third == GIVE_UP {
                deep(|| drop(awaiting));
                return None;
            }
            Some(deep(|| awaiting.finish(&third, Instant::now())))
        }
    }
}

/// Payloads each way, a rekey in each, and both closes.
fn transfer(pipe: &mut Pipe, transport: Transport) {
    // The longest on either side, so that nothing moves while it grows.
    let room = 2 * PAYLOAD_BYTES[2];
    let mut wire = Zeroizing::new(Vec::with_capacity(room));
    let (mut sending, mut receiving) = deep(|| transport.split());
    for length in PAYLOAD_BYTES {
        let mut payload = Zeroizing::new(vec![0; length]);
        pipe.receive_into(&mut payload);
        wire.clear();
        deep(|| sending.seal(&payload, Instant::now(), &mut wire)).expect("alive");
        pipe.send(&wire);
    }
    wire.clear();
    deep(|| sending.close(Instant::now(), &mut wire)).expect("alive");
    pipe.send(&wire);
    for _ in PAYLOAD_BYTES {
        let mut records = Zeroizing::new(pipe.receive());
        receive(&mut receiving, &mut records, |payload| pipe.send(payload));
    }
    let mut close = pipe.receive();
    let closed = deep(|| {
        receiving
            .receive(&mut close)
            .map(|done| done.event == Event::Closed)
    });
    assert_eq!(closed, Ok(true));
    deep(|| drop(receiving));
}

fn receive(half: &mut ReceiveHalf, records: &mut [u8], mut take: impl FnMut(&[u8])) {
    let mut at = 0;
    while at < records.len() {
        at += deep(|| {
            let received = half.receive(&mut records[at..]).expect("honest records");
            if let Event::Payload(payload) = received.event {
                take(payload);
            }
            received.consumed
        });
    }
}

/// Keeps what it is told, in each of the ways in which a secret can stay.
pub(crate) fn control(mut pipe: Pipe) {
    let mut kept = Zeroizing::new(vec![0; 32]);
    pipe.receive_into(&mut kept);
    deep(|| {
        let mut freed = vec![0; 96];
        pipe.receive_into(&mut freed);
        drop(black_box(freed));
    });
    deep(|| {
        let mut wiped = SecretArray::from_bytes([0; 32]);
        pipe.receive_into(wiped.expose_mut());
        black_box(&wiped);
    });
    deep(|| {
        let mut left = [0; 32];
        pipe.receive_into(&mut left);
        black_box(&left);
    });
    pipe.done();
    drop(black_box(kept));
}

// The parent's side.

/// A session in which the child was `side`: what of its secrets it still has.
pub(crate) fn session(suite: Suite, side: Side, spoiled: Option<Spoiled>) -> Vec<Finding> {
    let (own, childs) = (party(), party());
    let mut child = Child::start(ENTRY);
    let mut known = static_key(&own).public();
    if spoiled == Some(Spoiled::WrongStatic) {
        known = static_key(&party()).public();
    }
    introduce(&mut child.pipe, suite, side, &known, &childs);
    let (initiator, responder) = match side {
        Side::Initiator => (&childs, &own),
        Side::Responder => (&own, &childs),
    };
    let schedule = Schedule::of(suite, initiator, responder);
    let mut needles = schedule.needles.clone();
    let other = Other {
        suite,
        own: &own,
        childs: &childs,
        known,
        spoiled,
    };
    let agreed = match side {
        Side::Initiator => other.respond(&mut child.pipe),
        Side::Responder => other.initiate(&mut child.pipe),
    };
    match (agreed, spoiled) {
        (Some(transport), None) => {
            assert_eq!(child.pipe.receive(), b"established");
            needles.extend(exchange(&mut child.pipe, transport, &schedule, side));
        }
        (None, Some(Spoiled::Dropped)) => {}
        (None, Some(spoiled)) => {
            let expected = match spoiled {
                Spoiled::Tag if side == Side::Responder && suite.pattern != Pattern::Xx => {
                    HandshakeError::FirstMessageTag
                }
                Spoiled::Tag | Spoiled::Retagged => HandshakeError::Decrypt,
                Spoiled::Truncated => HandshakeError::Length,
                Spoiled::WrongStatic => HandshakeError::WrongStatic,
                Spoiled::Dropped => unreachable!("above"),
            };
            let error = String::from_utf8(child.pipe.receive()).expect("a name");
            assert_eq!(error, format!("{expected:?}"));
        }
        (agreed, _) => panic!("spoiled by {spoiled:?}, established: {}", agreed.is_some()),
    }
    child.core().search(&needles)
}

/// What the control child was found to hold: kept, freed, wiped, left on the
/// stack.
pub(crate) fn controls() -> [Vec<(Place, usize)>; 4] {
    let secrets = [32, 96, 32, 32].map(random_vec);
    let mut child = Child::start(ENTRY);
    child.pipe.send(b"control");
    for secret in &secrets {
        child.pipe.send(secret);
    }
    let core = child.core();
    secrets.map(|secret| {
        let findings = core.search(&[Needle::new("control", &secret)]);
        findings
            .into_iter()
            .map(|finding| (finding.place, finding.longest))
            .collect()
    })
}

fn introduce(pipe: &mut Pipe, suite: Suite, side: Side, known: &AgreementPublic, childs: &Party) {
    pipe.send(b"noise");
    // An IK responder knows nobody; an XX initiator here knows its responder,
    // so that the responder need not be open to all.
    let knows = side == Side::Initiator || suite.pattern == Pattern::Kk;
    pipe.send(&[
        suite.pattern as u8,
        suite.hash as u8,
        side as u8,
        u8::from(knows),
    ]);
    pipe.send(known.as_bytes());
    pipe.send(&childs.static_key);
    pipe.send(&childs.ephemeral);
    pipe.send(&childs.kem);
}

/// The other side of the child's handshake.
struct Other<'a> {
    suite: Suite,
    own: &'a Party,
    childs: &'a Party,
    /// The key that the child takes for ours.
    known: AgreementPublic,
    spoiled: Option<Spoiled>,
}

impl Other<'_> {
    fn initiate(&self, pipe: &mut Pipe) -> Option<Transport> {
        let responder = static_key(self.childs).public();
        let target = match self.suite.pattern {
            Pattern::Xx => Target::Xx {
                responder: Some(responder),
            },
            Pattern::Ik => Target::Ik { responder },
            Pattern::Kk => Target::Kk { responder },
        };
        let options = Options {
            hash: self.suite.hash,
            transport: settings(),
            ..Options::default()
        };
        let key = static_key(self.own);
        let (initiator, first) =
            Initiator::start(&key, &target, &options, randomness(self.own)).expect("honest keys");
        if self.suite.pattern != Pattern::Xx
            && let Some(spoiled) = self.spoiled
        {
            let mut frame = spoil(spoiled, first);
            if spoiled == Spoiled::Retagged {
                retag(&mut frame, &responder);
            }
            pipe.send(&frame);
            return None;
        }
        pipe.send(&first);
        let finished = initiator.finish(&pipe.receive(), Instant::now());
        let (transport, third) = finished.expect("honest answer");
        if let Some(third) = third {
            match self.spoiled {
                Some(spoiled) => {
                    pipe.send(&spoil(spoiled, third));
                    return None;
                }
                None => pipe.send(&third),
            }
        }
        Some(transport)
    }

    fn respond(&self, pipe: &mut Pipe) -> Option<Transport> {
        let acceptance = Acceptance {
            suites: vec![self.suite],
            kk_initiator: Some(static_key(self.childs).public()),
            transport: settings(),
            ..Acceptance::default()
        };
        let key = static_key(self.own);
        let responder = Responder::new(&key, acceptance);
        let mut first = pipe.receive();
        if self.known != key.public() {
            // Whoever knows the key that is looked for can make the tag.
            retag(&mut first, &key.public());
        }
        let now = Instant::now();
        let (answered, answer) = responder
            .accept(&first, randomness(self.own), now)
            .expect("honest first frame");
        match self.spoiled {
            None => pipe.send(&answer),
            Some(Spoiled::WrongStatic) => {
                pipe.send(&answer);
                return None;
            }
            Some(spoiled) => {
                pipe.send(&spoil(spoiled, answer));
                return None;
            }
        }
        match answered {
            Answered::Established(transport) => Some(transport),
            Answered::AwaitingInitiator(awaiting) => {
                let third = pipe.receive();
                Some(awaiting.finish(&third, now).expect("honest third frame"))
            }
        }
    }
}

fn spoil(spoiled: Spoiled, mut frame: Vec<u8>) -> Vec<u8> {
    match spoiled {
        Spoiled::Tag => *frame.last_mut().expect("a frame") ^= 1,
        Spoiled::Truncated => {
            frame.pop();
        }
        Spoiled::Dropped => frame.clear(),
        Spoiled::Retagged => {
            let last_of_message = frame.len() - 17;
            frame[last_of_message] ^= 1;
        }
        Spoiled::WrongStatic => {}
    }
    frame
}

/// Puts the tag of another responder behind a first frame (`rpc/DESIGN.md`).
fn retag(frame: &mut [u8], responder: &AgreementPublic) {
    let mut hasher = Sha256::new();
    hasher.update(b"sealmoot noise first message 1");
    hasher.update(responder.as_bytes());
    let key = MacKey::from_secret(&SecretArray::from_bytes(hasher.finish()));
    let (offered, tag) = frame[2..].split_last_chunk_mut::<16>().expect("a tag");
    assert!(offered.len() > OFFER_BYTES);
    tag.copy_from_slice(&key.tag(&[&*offered])[..16]);
}

/// Payloads both ways; the secrets that come to be then.
fn exchange(
    pipe: &mut Pipe,
    mut transport: Transport,
    schedule: &Schedule,
    side: Side,
) -> Vec<Needle> {
    let (to_child, from_child) = match side {
        Side::Initiator => (
            schedule.responder_to_initiator,
            schedule.initiator_to_responder,
        ),
        Side::Responder => (
            schedule.initiator_to_responder,
            schedule.responder_to_initiator,
        ),
    };
    let mut needles = vec![];
    let mut payload = |direction: &str, length: usize| {
        let payload = random_vec(length);
        needles.push(Needle::new(
            format!("a payload of {length} {direction}"),
            &payload,
        ));
        payload
    };
    let mut received = vec![];
    for length in PAYLOAD_BYTES {
        let payload = payload("from the child", length);
        pipe.send(&payload);
        let records = pipe.receive();
        received.extend_from_slice(&records);
        let mut copy = records.clone();
        let mut at = 0;
        while at < copy.len() {
            let taken = transport.receive(&mut copy[at..]).expect("honest records");
            if let Event::Payload(opened) = taken.event {
                assert_eq!(opened, payload);
            }
            at += taken.consumed;
        }
    }
    let mut close = pipe.receive();
    let closed = transport.receive(&mut close).expect("a close");
    assert_eq!(closed.event, Event::Closed);
    for length in PAYLOAD_BYTES {
        let payload = payload("to the child", length);
        let mut records = vec![];
        let now = Instant::now();
        transport.seal(&payload, now, &mut records).expect("alive");
        pipe.send(&records);
        assert_eq!(pipe.receive(), payload);
    }
    let mut close = vec![];
    transport.close(Instant::now(), &mut close).expect("alive");
    pipe.send(&close);
    check(&from_child, &received);
    for (direction, key) in [("to the child", to_child), ("from the child", from_child)] {
        for (when, key, counters) in [("first", key, 0..4), ("second", key.next(), 4..8)] {
            needles.push(Needle::new(format!("{when} key {direction}"), &key.0));
            for counter in counters {
                let name = format!("keystream {counter} {direction}");
                needles.push(Needle::new(name, &key.keystream(counter)));
            }
        }
    }
    needles
}

/// What is looked for are the right keys: they open what the child sent. The
/// fourth record brings the sum above what one key is for.
fn check(first: &Key, mut records: &[u8]) {
    let mut counter = 0;
    while let Some((length, rest)) = records.split_first_chunk::<2>() {
        let (message, rest) = rest.split_at(usize::from(u16::from_be_bytes(*length)));
        let key = if counter < 4 { *first } else { first.next() };
        assert!(key.opens(counter, message), "record {counter}");
        records = rest;
        counter += 1;
    }
    assert_eq!(counter, 7);
}

fn party() -> Party {
    let array = || random::array().expect("random source");
    Party {
        static_key: array(),
        ephemeral: array(),
        kem: random::array().expect("random source"),
    }
}

fn random_vec(length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    random::fill(&mut bytes).expect("random source");
    bytes
}

fn static_key(party: &Party) -> Arc<StaticKey> {
    let secret = SecretArray::from_bytes(party.static_key);
    Arc::new(StaticKey::from(AgreementKey::from_bytes(&secret)))
}

fn randomness(party: &Party) -> HandshakeRandomness {
    HandshakeRandomness::danger_from_bytes(&party.ephemeral, &party.kem)
}
