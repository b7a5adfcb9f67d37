//! Interoperation with snow 0.10, which is not ours: frames of our initiator
//! and responder, taken apart, are Noise messages that snow reads, and the
//! reverse; then records and rekeying in both directions.
//!
//! With the hybrid, snow runs its own `hfs` extension. It names no ML-KEM, so
//! its resolver is given ours and its protocol name is overridden.

use std::time::{Duration, Instant};

use ml_kem::array::Array;
use ml_kem::kem::{Decapsulate, KeyExport};
use ml_kem::{DecapsulationKey768, EncapsulationKey768};
use sealmoot_crypto::random;
use snow::params::{
    BaseChoice, CipherChoice, DHChoice, HandshakeChoice, HandshakePattern, HashChoice, KemChoice,
    NoiseParams,
};
use snow::resolvers::{CryptoResolver, DefaultResolver};
use snow::types::{Cipher, Dh, Hash as SnowHash, Kem, Random};

use super::super::first_message::FIRST_MESSAGE_TAG_BYTES;
use super::super::initiator::PROLOGUE_LABEL;
use super::super::limits::{FRAGMENT_BYTES_MAX, PREFIX_BYTES};
use super::super::suite::Offer;
use super::super::{Event, OFFER_BYTES};
use super::{
    Answered, CLIENT, Hash, Hybrid, Pattern, SERVER, Setup, Suite, Transport, TransportSettings,
    all_suites, awaiting,
};

/// Everything but ML-KEM is snow's own.
struct Resolver;

impl CryptoResolver for Resolver {
    fn resolve_rng(&self) -> Option<Box<dyn Random>> {
        DefaultResolver.resolve_rng()
    }

    fn resolve_dh(&self, choice: &DHChoice) -> Option<Box<dyn Dh>> {
        DefaultResolver.resolve_dh(choice)
    }

    fn resolve_hash(&self, choice: &HashChoice) -> Option<Box<dyn SnowHash>> {
        DefaultResolver.resolve_hash(choice)
    }

    fn resolve_cipher(&self, choice: &CipherChoice) -> Option<Box<dyn Cipher>> {
        DefaultResolver.resolve_cipher(choice)
    }

    fn resolve_kem(&self, _: &KemChoice) -> Option<Box<dyn Kem>> {
        Some(Box::new(MlKem::new([0; 64])))
    }
}

struct MlKem {
    key: DecapsulationKey768,
    public: Vec<u8>,
}

impl MlKem {
    fn new(seed: [u8; 64]) -> Self {
        let key = DecapsulationKey768::from_seed(Array(seed));
        let public = key.encapsulation_key().to_bytes().to_vec();
        Self { key, public }
    }
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
        rng.try_fill_bytes(&mut seed).expect("random source");
        *self = Self::new(seed);
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
        let ciphertext = Array::try_from(ciphertext).map_err(|_| snow::Error::Kem)?;
        shared_secret_out.copy_from_slice(&self.key.decapsulate(&ciphertext));
        Ok(32)
    }
}

fn parameters(suite: Suite) -> NoiseParams {
    let hfs = match suite.hybrid {
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
            modifiers: hfs.parse().expect("a modifier"),
        },
        DHChoice::Curve25519,
        // Only the resolver above looks at it.
        (suite.hybrid == Hybrid::MlKem768).then_some(KemChoice::Kyber1024),
        CipherChoice::ChaChaPoly,
        match suite.hash {
            Hash::Sha256 => HashChoice::SHA256,
            Hash::Blake2s => HashChoice::Blake2s,
        },
    )
}

/// Snow's side of a session of ours: as responder our client's peer, as
/// initiator our server's.
fn snow(suite: Suite, offer: Offer, initiator: bool) -> snow::HandshakeState {
    let prologue = [PROLOGUE_LABEL, &offer.encode()].concat();
    let (client, server) = (CLIENT.public(), SERVER.public());
    let (secret, remote) = if initiator {
        ([1; 32], server.as_bytes())
    } else {
        ([2; 32], client.as_bytes())
    };
    let knows = match suite.pattern {
        Pattern::Xx => false,
        Pattern::Ik => initiator,
        Pattern::Kk => true,
    };
    let mut builder = snow::Builder::with_resolver(parameters(suite), Box::new(Resolver))
        .prologue(&prologue)
        .expect("once")
        .local_private_key(&secret)
        .expect("once");
    if knows {
        builder = builder.remote_public_key(remote).expect("once");
    }
    if initiator {
        builder.build_initiator().expect("complete")
    } else {
        builder.build_responder().expect("complete")
    }
}

fn snow_writes(state: &mut snow::HandshakeState) -> Vec<u8> {
    let mut message = vec![0; 65_535];
    let length = state.write_message(&[], &mut message).expect("in turn");
    message.truncate(length);
    message
}

fn snow_reads(state: &mut snow::HandshakeState, message: &[u8]) {
    let mut payload = vec![0; 65_535];
    assert_eq!(state.read_message(message, &mut payload), Ok(0));
}

fn framed(body: &[u8]) -> Vec<u8> {
    let length = u16::try_from(body.len()).expect("short");
    [&length.to_be_bytes(), body].concat()
}

/// Changes its key with every 20,000 bytes, so that a session shows it.
fn setup(suite: Suite) -> Setup {
    Setup {
        settings: TransportSettings {
            rekey_bytes: 20_000,
            rekey_age: Duration::MAX,
            ..TransportSettings::default()
        },
        ..Setup::new(suite)
    }
}

/// Records in both directions, large and small, with rekeying of either side.
fn exchange(mut ours: Transport, mut theirs: snow::TransportState, now: Instant) {
    let mut rekeyed = 0;
    for round in 0..20_usize {
        let payload = vec![round as u8; round * 4_000];
        // Ours to snow.
        let mut wire = Vec::new();
        ours.seal(&payload, now, &mut wire).expect("alive");
        let mut received = Vec::new();
        let mut rest = &wire[..];
        while let Some((prefix, tail)) = rest.split_first_chunk::<PREFIX_BYTES>() {
            let (message, tail) = tail.split_at(usize::from(u16::from_be_bytes(*prefix)));
            rest = tail;
            let mut plaintext = vec![0; message.len()];
            let length = theirs
                .read_message(message, &mut plaintext)
                .expect("snow reads our record");
            received.extend_from_slice(&plaintext[1..length]);
            assert_eq!(plaintext[0] & 0b001 != 0, rest.is_empty());
            if plaintext[0] & 0b010 != 0 {
                theirs.rekey_incoming();
                rekeyed += 1;
            }
        }
        assert_eq!(received, payload);
        // Snow to ours, changing its key every third round.
        let rekey = round % 3 == 0;
        let fragment = &payload[..payload.len().min(FRAGMENT_BYTES_MAX)];
        let plaintext = [&[if rekey { 0b011 } else { 0b001 }], fragment].concat();
        let mut message = vec![0; 65_535];
        let length = theirs
            .write_message(&plaintext, &mut message)
            .expect("fits");
        if rekey {
            theirs.rekey_outgoing();
        }
        let mut wire = framed(&message[..length]);
        let received = ours.receive(&mut wire).expect("we read snow's record");
        assert_eq!(received.event, Event::Payload(fragment));
    }
    assert!(rekeyed > 10);
}

#[test]
fn our_initiator_meets_snow() {
    for suite in all_suites() {
        let now = Instant::now();
        let setup = setup(suite);
        let (initiator, first) = setup.start();
        let offer = Offer {
            suite,
            tagged: true,
        };
        assert_eq!(first[PREFIX_BYTES..][..OFFER_BYTES], offer.encode());
        let mut theirs = snow(suite, offer, false);
        let message = &first[PREFIX_BYTES + OFFER_BYTES..first.len() - FIRST_MESSAGE_TAG_BYTES];
        snow_reads(&mut theirs, message);
        let second = framed(&snow_writes(&mut theirs));
        let (ours, third) = initiator.finish(&second, now).expect("snow's answer");
        if let Some(third) = third {
            snow_reads(&mut theirs, &third[PREFIX_BYTES..]);
        }
        assert!(theirs.is_handshake_finished(), "{suite}");
        assert_eq!(theirs.get_handshake_hash(), ours.handshake_hash());
        assert_eq!(ours.remote_static(), Some(SERVER.public()));
        assert_eq!(
            theirs.get_remote_static(),
            Some(&CLIENT.public().as_bytes()[..])
        );
        exchange(ours, theirs.into_transport_mode().expect("finished"), now);
    }
}

#[test]
fn our_responder_meets_snow() {
    for suite in all_suites() {
        let now = Instant::now();
        let setup = setup(suite);
        let offer = Offer {
            suite,
            tagged: true,
        };
        let mut theirs = snow(suite, offer, true);
        let mut body = offer.encode().to_vec();
        body.extend_from_slice(&snow_writes(&mut theirs));
        let tag = SERVER.first_message().tag(&body);
        body.extend_from_slice(&tag);
        let (answered, second) = setup.accept(&framed(&body), now).expect("snow's first");
        snow_reads(&mut theirs, &second[PREFIX_BYTES..]);
        let ours = if suite.pattern == Pattern::Xx {
            let third = framed(&snow_writes(&mut theirs));
            awaiting(answered)
                .finish(&third, now)
                .expect("snow's third")
        } else {
            match answered {
                Answered::Established(ours) => ours,
                Answered::AwaitingInitiator(_) => panic!("two messages"),
            }
        };
        assert!(theirs.is_handshake_finished(), "{suite}");
        assert_eq!(theirs.get_handshake_hash(), ours.handshake_hash());
        assert_eq!(
            theirs.get_remote_static(),
            Some(&SERVER.public().as_bytes()[..])
        );
        exchange(ours, theirs.into_transport_mode().expect("finished"), now);
    }
}

// Our initiator's `KK` follows the text of the extension, not its table; so
// does snow, as the sessions above show. Pinned here by the place of e1.
#[test]
fn the_encapsulation_key_is_encrypted_where_it_can_be() {
    for (pattern, in_clear) in [
        (Pattern::Xx, true),
        (Pattern::Ik, false),
        (Pattern::Kk, false),
    ] {
        let setup = Setup::new(Suite::new(pattern));
        let (_, first) = setup.start();
        let key = super::randomness(setup.client_seed)
            .decapsulation_key()
            .encapsulation_key();
        assert_eq!(
            first.windows(key.len()).any(|window| window == key),
            in_clear
        );
    }
}
