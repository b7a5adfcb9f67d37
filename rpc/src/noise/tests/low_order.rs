//! Public keys of low order, wherever one can be put: as ephemeral and static
//! key, of the initiator and of the responder, sent and configured.

use std::time::Instant;

use sealmoot_crypto::agreement::AgreementPublic;

use super::super::handshake::{Handshake, Role};
use super::super::initiator::PROLOGUE_LABEL;
use super::super::limits::PREFIX_BYTES;
use super::super::suite::Offer;
use super::super::symmetric::Symmetric;
use super::{
    CLIENT, HandshakeError, Hash, Hybrid, Initiator, Options, Pattern, SERVER, STRANGER, Setup,
    Suite, Target, awaiting, randomness, suites, unhex,
};

/// Of low order on the curve or its twist, from Bernstein's list at
/// cr.yp.to/ecdh.html; each also with the top bit, which X25519 ignores.
fn points() -> Vec<[u8; 32]> {
    let canonical = [
        "0000000000000000000000000000000000000000000000000000000000000000",
        "0100000000000000000000000000000000000000000000000000000000000000",
        "e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800",
        "5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157",
        "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    ];
    canonical
        .iter()
        .flat_map(|text| {
            let point: [u8; 32] = unhex(text).try_into().expect("32 bytes");
            let mut high = point;
            high[31] |= 0x80;
            [point, high]
        })
        .collect()
}

fn offer(suite: Suite) -> [u8; 8] {
    Offer {
        suite,
        tagged: true,
    }
    .encode()
}

fn framed(body: &[u8]) -> Vec<u8> {
    let length = u16::try_from(body.len()).expect("short");
    [&length.to_be_bytes(), body].concat()
}

fn tagged(mut body: Vec<u8>) -> Vec<u8> {
    let tag = SERVER.first_message().tag(&body);
    body.extend_from_slice(&tag);
    framed(&body)
}

#[test]
fn an_initiators_ephemeral_is_refused() {
    for suite in suites() {
        for point in points() {
            let setup = Setup::new(suite);
            let (_, first) = setup.start();
            let mut body = first[PREFIX_BYTES..first.len() - 16].to_vec();
            body[8..40].copy_from_slice(&point);
            let result = setup.accept(&tagged(body), Instant::now());
            assert_eq!(
                result.err(),
                Some(HandshakeError::NotContributory),
                "{suite}"
            );
        }
    }
}

#[test]
fn a_responders_ephemeral_is_refused() {
    for suite in suites() {
        for point in points() {
            let setup = Setup::new(suite);
            let now = Instant::now();
            let (initiator, first) = setup.start();
            let (_, mut second) = setup.accept(&first, now).expect("honest");
            second[PREFIX_BYTES..][..32].copy_from_slice(&point);
            let result = initiator.finish(&second, now);
            assert_eq!(
                result.err(),
                Some(HandshakeError::NotContributory),
                "{suite}"
            );
        }
    }
}

/// An initiator of IK that encrypts a static key of its choosing: whatever it
/// agrees on with that key is zero.
#[test]
fn an_initiators_static_in_ik_is_refused() {
    let suite = Suite {
        pattern: Pattern::Ik,
        hash: Hash::Sha256,
        hybrid: Hybrid::Off,
    };
    for point in points() {
        let ephemeral = randomness(9).ephemeral();
        let mut body = offer(suite).to_vec();
        let mut symmetric = Symmetric::new(suite);
        symmetric.mix_hash(&[PROLOGUE_LABEL, &offer(suite)].concat());
        symmetric.mix_hash(SERVER.public().as_bytes());
        body.extend_from_slice(ephemeral.public().as_bytes());
        symmetric.mix_hash(ephemeral.public().as_bytes());
        let secret = ephemeral.agree(&SERVER.public()).expect("contributory");
        symmetric.mix_key(secret.expose());
        symmetric
            .encrypt_and_hash(&point, &mut body)
            .expect("keyed");
        symmetric.mix_key(&[0; 32]);
        symmetric.encrypt_and_hash(&[], &mut body).expect("keyed");
        let result = Setup::new(suite).accept(&tagged(body), Instant::now());
        assert_eq!(result.err(), Some(HandshakeError::NotContributory));
    }
}

/// The same in XX, by both sides.
#[test]
fn a_static_in_xx_is_refused() {
    let suite = Suite {
        pattern: Pattern::Xx,
        hash: Hash::Sha256,
        hybrid: Hybrid::Off,
    };
    let now = Instant::now();
    for point in points() {
        // A responder.
        let setup = Setup::new(suite);
        let (initiator, first) = setup.start();
        let initiators = randomness(setup.client_seed).ephemeral().public();
        let ephemeral = randomness(9).ephemeral();
        let mut symmetric = Symmetric::new(suite);
        symmetric.mix_hash(&[PROLOGUE_LABEL, &offer(suite)].concat());
        symmetric.mix_hash(initiators.as_bytes());
        symmetric.mix_hash(&[]);
        let mut body = ephemeral.public().as_bytes().to_vec();
        symmetric.mix_hash(ephemeral.public().as_bytes());
        let secret = ephemeral.agree(&initiators).expect("contributory");
        symmetric.mix_key(secret.expose());
        symmetric
            .encrypt_and_hash(&point, &mut body)
            .expect("keyed");
        symmetric.mix_key(&[0; 32]);
        symmetric.encrypt_and_hash(&[], &mut body).expect("keyed");
        let result = initiator.finish(&framed(&body), now);
        assert_eq!(result.err(), Some(HandshakeError::NotContributory));

        // An initiator, which has read an honest answer.
        let (answered, second) = setup.accept(&first, now).expect("honest");
        let ephemeral = randomness(setup.client_seed).ephemeral();
        let mut symmetric = Symmetric::new(suite);
        symmetric.mix_hash(&[PROLOGUE_LABEL, &offer(suite)].concat());
        symmetric.mix_hash(initiators.as_bytes());
        symmetric.mix_hash(&[]);
        let answer = &second[PREFIX_BYTES..];
        let responders = AgreementPublic::from_bytes(*answer.first_chunk().expect("e"));
        symmetric.mix_hash(responders.as_bytes());
        let secret = ephemeral.agree(&responders).expect("contributory");
        symmetric.mix_key(secret.expose());
        let remote = symmetric
            .decrypt_and_hash(&answer[32..80])
            .expect("authentic");
        assert_eq!(&remote, SERVER.public().as_bytes());
        let secret = ephemeral.agree(&SERVER.public()).expect("contributory");
        symmetric.mix_key(secret.expose());
        symmetric
            .decrypt_and_hash(&answer[80..])
            .expect("authentic");
        let mut body = Vec::new();
        symmetric
            .encrypt_and_hash(&point, &mut body)
            .expect("keyed");
        symmetric.mix_key(&[0; 32]);
        symmetric.encrypt_and_hash(&[], &mut body).expect("keyed");
        let result = awaiting(answered).finish(&framed(&body), now);
        assert_eq!(result.err(), Some(HandshakeError::NotContributory));
    }
}

#[test]
fn a_configured_static_is_refused() {
    for point in points() {
        let responder = AgreementPublic::from_bytes(point);
        for target in [Target::Ik { responder }, Target::Kk { responder }] {
            let result = Initiator::start(&CLIENT, &target, &Options::default(), randomness(1));
            assert_eq!(result.err(), Some(HandshakeError::NotContributory));
        }
        // KK's initiator with such a key cannot be; the responder finds the
        // key in its configuration.
        let suite = Suite::new(Pattern::Kk);
        let mut setup = Setup::new(suite);
        setup.acceptance.kk_initiator = Some(responder);
        let (_, first) = setup.start();
        assert!(setup.accept(&first, Instant::now()).is_err());
        let mut handshake = Handshake::new(
            suite,
            Role::Initiator,
            &[],
            &STRANGER,
            Some(responder),
            randomness(1),
        )
        .expect("complete");
        assert_eq!(
            handshake.write_message(&[], &mut Vec::new()),
            Err(HandshakeError::NotContributory)
        );
    }
}
