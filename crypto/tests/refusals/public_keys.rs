//! Public keys that are weak or written in a second way, and signatures by none.

use sealmoot_crypto::agreement::{AgreementKey, AgreementPublic, NotContributory};
use sealmoot_crypto::hazmat::{FramedMessage, sign_unframed, verify_unframed};
use sealmoot_crypto::sealed_box::{Kem, KeyRejected as BoxKeyRejected, PublicKey};
use sealmoot_crypto::secret::SecretArray;
use sealmoot_crypto::signature::{BadSignature, KeyRejected, Signature, VerifyingKey};

use crate::kit::{
    Kit, box_key, flipped, longer, report, shorter, signing_key, spliced, unhex, unhex_32, with,
    with_byte,
};

#[test]
fn public_keys() {
    report("public_keys", family());
}

pub(crate) fn family() -> usize {
    let mut kit = Kit::new("public_keys");
    ed25519(&mut kit);
    ed25519_spki(&mut kit);
    signatures(&mut kit);
    x25519(&mut kit);
    box_keys(&mut kit);
    kit.count()
}

fn ed25519(kit: &mut Kit) {
    let read = |text| VerifyingKey::from_bytes(&unhex_32(text));
    kit.accepted(
        "a key of RFC 8032",
        read("d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a"),
    );
    // "Taming the many EdDSAs" (2020), table 6(a) and (b).
    let mut weak = |name, text| {
        kit.refused(name, read(text), |error| matches!(error, KeyRejected::Weak));
    };
    weak(
        "the neutral point",
        "0100000000000000000000000000000000000000000000000000000000000000",
    );
    weak(
        "the point of order 2",
        "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    );
    weak(
        "a point of order 4",
        "0000000000000000000000000000000000000000000000000000000000000000",
    );
    weak(
        "the other point of order 4",
        "0000000000000000000000000000000000000000000000000000000000000080",
    );
    weak(
        "a point of order 8",
        "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
    );
    weak(
        "a second point of order 8",
        "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc85",
    );
    weak(
        "a third point of order 8",
        "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
    );
    weak(
        "the last point of order 8",
        "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa",
    );
    weak(
        "the neutral point with a sign",
        "0100000000000000000000000000000000000000000000000000000000000080",
    );
    weak(
        "the neutral point above p",
        "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    );
    weak(
        "a point of order 4 above p",
        "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    );
    weak(
        "the point of order 2 with a sign",
        "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
    );

    let mut second = |name, text| {
        kit.refused(name, read(text), |error| {
            matches!(error, KeyRejected::NotCanonical)
        });
    };
    second(
        "a coordinate of p + 3",
        "f0ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    );
    second(
        "a coordinate of p + 3 with a sign",
        "f0ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
    );
    second(
        "a coordinate of no point",
        "0200000000000000000000000000000000000000000000000000000000000000",
    );
    second(
        "a coordinate above p of no point",
        "efffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    );
}

fn ed25519_spki(kit: &mut Kit) {
    let sample = signing_key(3).verifying_key().to_spki();
    let read = |bytes: &[u8]| VerifyingKey::from_spki(bytes);
    let malformed = |error: &KeyRejected| matches!(error, KeyRejected::Malformed);
    kit.accepted("a key in SPKI", read(&sample));
    kit.refused("SPKI: empty", read(&[]), malformed);
    kit.refused("SPKI: the bare key", read(&sample[12..]), malformed);
    kit.refused("SPKI: without a key", read(&sample[..12]), malformed);
    kit.refused(
        "SPKI: of X25519",
        read(&with_byte(&sample, 8, 0x6e)),
        malformed,
    );
    kit.refused(
        "SPKI: a byte behind",
        read(&longer(&sample, &[0])),
        malformed,
    );
    kit.refused(
        "SPKI: with parameters",
        read(&spliced(&sample, 9..9, &[5, 0])),
        malformed,
    );
    let weak = with(&sample, 12, &with_byte(&[0; 32], 0, 1));
    kit.refused("SPKI: of the neutral point", read(&weak), |error| {
        matches!(error, KeyRejected::Weak)
    });
    kit.refused(
        "SPKI: of no point",
        read(&with(&sample, 12, &[&[2][..], &[0; 31]].concat())),
        |error| matches!(error, KeyRejected::NotCanonical),
    );
}

fn signatures(kit: &mut Kit) {
    let key = signing_key(3);
    let public = key.verifying_key();
    let sample = key.sign("invite", b"message").to_bytes();
    let signature = |bytes: &[u8]| Signature::from_bytes(bytes.try_into().expect("64 bytes"));
    let verify = |bytes: &[u8]| public.verify("invite", b"message", &signature(bytes));
    let bad = |error: &BadSignature| matches!(error, BadSignature);
    kit.accepted("a signature", verify(&sample));

    kit.refused("signature: of zeros", verify(&[0; 64]), bad);
    kit.refused("signature: of ones", verify(&[0xff; 64]), bad);
    kit.refused("signature: R changed", verify(&flipped(&sample, 0)), bad);
    kit.refused("signature: S changed", verify(&flipped(&sample, 32)), bad);
    kit.refused(
        "signature: sign of R",
        verify(&with_byte(&sample, 31, sample[31] ^ 0x80)),
        bad,
    );
    // The same equation holds for S + L (RFC 8032 section 5.1.7 asks for S < L).
    kit.refused(
        "signature: S above the order",
        verify(&plus_order(&sample)),
        bad,
    );
    let neutral = with_byte(&[0; 64], 0, 1);
    kit.refused("signature: R neutral and S zero", verify(&neutral), bad);
    let halves = [&sample[32..], &sample[..32]].concat();
    kit.refused("signature: halves swapped", verify(&halves), bad);
    let other = key.sign("invite", b"massage").to_bytes();
    let mixed = [&other[..32], &sample[32..]].concat();
    kit.refused("signature: R of another", verify(&mixed), bad);
    kit.refused("signature: of another message", verify(&other), bad);
    let other = key.sign("session", b"message").to_bytes();
    kit.refused("signature: for another domain", verify(&other), bad);
    let other = key.sign("invit", b"emessage").to_bytes();
    kit.refused(
        "signature: a letter moved into the domain",
        verify(&other),
        bad,
    );
    let other = signing_key(6).sign("invite", b"message").to_bytes();
    kit.refused("signature: by another key", verify(&other), bad);
    let unframed = sign_unframed(&key, b"message")
        .expect("not framed")
        .to_bytes();
    kit.refused("signature: without a domain", verify(&unframed), bad);
    let outcome = verify_unframed(&public, b"message", &signature(&sample));
    kit.refused("signature: with a domain, taken without", outcome, bad);
    let framed = sign_unframed(&key, b"sealmoot/v1/signature\x06invitemessage");
    kit.refused("signing what looks framed", framed, |error| {
        matches!(error, FramedMessage)
    });
    let framed = sign_unframed(&key, b"sealmoot/v1/signature");
    kit.refused("signing the beginning of a frame", framed, |error| {
        matches!(error, FramedMessage)
    });
}

/// The signature with the order of the group added to its S.
fn plus_order(signature: &[u8]) -> Vec<u8> {
    // RFC 8032 section 5.1, little-endian.
    let order = unhex("edd3f55c1a631258d69cf7a2def9de1400000000000000000000000000000010");
    let mut sum = signature.to_vec();
    let mut carry = 0;
    for (digit, more) in sum[32..].iter_mut().zip(order) {
        carry += u16::from(*digit) + u16::from(more);
        *digit = carry as u8;
        carry >>= 8;
    }
    assert_eq!(carry, 0, "both are below 2^253");
    sum
}

/// From Bernstein's list at cr.yp.to/ecdh.html.
const ORDER_8: &str = "e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800";
const ORDER_8_TOO: &str = "5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157";
const MINUS_ONE: &str = "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f";
const ZERO_AGAIN: &str = "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f";
const ONE_AGAIN: &str = "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f";
const NINE_AGAIN: &str = "f6ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f";

fn one() -> [u8; 32] {
    let mut bytes = [0; 32];
    bytes[0] = 1;
    bytes
}

fn x25519(kit: &mut Kit) {
    let key = AgreementKey::from_bytes(&SecretArray::from_bytes([4; 32]));
    let agree = |bytes| key.agree(&AgreementPublic::from_bytes(bytes));
    kit.accepted("an agreement", agree([9; 32]));
    let mut weak = |name, bytes| {
        kit.refused(name, agree(bytes), |error| matches!(error, NotContributory));
    };
    weak("agreement: with zero", [0; 32]);
    weak("agreement: with one", one());
    weak("agreement: with a point of order 8", unhex_32(ORDER_8));
    weak(
        "agreement: with the other point of order 8",
        unhex_32(ORDER_8_TOO),
    );
    weak("agreement: with minus one", unhex_32(MINUS_ONE));
    weak("agreement: with zero above p", unhex_32(ZERO_AGAIN));
    weak("agreement: with one above p", unhex_32(ONE_AGAIN));
    let mut high = unhex_32(ZERO_AGAIN);
    high[31] |= 0x80;
    weak("agreement: with zero above p and the ignored bit", high);
}

fn box_keys(kit: &mut Kit) {
    let read = |bytes: &[u8]| PublicKey::from_bytes(Kem::X25519, bytes);
    let length = |expected: usize, found: usize| {
        let wrong = BoxKeyRejected::WrongLength { expected, found };
        move |error: &BoxKeyRejected| *error == wrong
    };
    let weak = |error: &BoxKeyRejected| matches!(error, BoxKeyRejected::NotContributory);
    let second = |error: &BoxKeyRejected| matches!(error, BoxKeyRejected::NotCanonical);
    let sample = box_key(Kem::X25519, 4).public_key().to_bytes();
    kit.accepted("a key for boxes", read(&sample));
    kit.refused("box key: empty", read(&[]), length(32, 0));
    kit.refused(
        "box key: 31 bytes",
        read(&shorter(&sample, 1)),
        length(32, 31),
    );
    kit.refused(
        "box key: with a byte of a type before",
        read(&longer(&[0x40], &sample)),
        length(32, 33),
    );
    kit.refused("box key: in hexadecimal", read(&[b'a'; 64]), length(32, 64));
    kit.refused("box key: zero", read(&[0; 32]), weak);
    kit.refused("box key: one", read(&one()), weak);
    kit.refused("box key: of order 8", read(&unhex(ORDER_8)), weak);
    kit.refused(
        "box key: the other of order 8",
        read(&unhex(ORDER_8_TOO)),
        weak,
    );
    kit.refused("box key: minus one", read(&unhex(MINUS_ONE)), weak);
    kit.refused("box key: zero above p", read(&unhex(ZERO_AGAIN)), weak);
    kit.refused(
        "box key: the base point above p",
        read(&unhex(NINE_AGAIN)),
        second,
    );
    let high = with_byte(&sample, 31, sample[31] | 0x80);
    kit.refused("box key: with the ignored bit", read(&high), second);
    kit.refused("box key: all bits", read(&[0xff; 32]), second);

    let sample = box_key(Kem::XWing, 4).public_key().to_bytes();
    let read = |bytes: &[u8]| PublicKey::from_bytes(Kem::XWing, bytes);
    let point = |point: &[u8]| with(&sample, 1184, point);
    kit.accepted("a key of X-Wing", read(&sample));
    kit.refused(
        "X-Wing key: ML-KEM's alone",
        read(&sample[..1184]),
        length(1216, 1184),
    );
    kit.refused(
        "X-Wing key: X25519's alone",
        read(&sample[1184..]),
        length(1216, 32),
    );
    kit.refused(
        "X-Wing key: taken for X25519's",
        PublicKey::from_bytes(Kem::X25519, &sample),
        length(32, 1216),
    );
    kit.refused(
        "X-Wing key: halves swapped",
        read(&[&sample[1184..], &sample[..1184]].concat()),
        second,
    );
    kit.refused(
        "X-Wing key: the first coefficient 4095",
        read(&with(&sample, 0, &[0xff, 0xff])),
        second,
    );
    let coefficient = with(&sample, 1150, &[sample[1150] | 0xf0, 0xff]);
    kit.refused(
        "X-Wing key: the last coefficient above 3328",
        read(&coefficient),
        second,
    );
    kit.refused(
        "X-Wing key: X25519's point zero",
        read(&point(&[0; 32])),
        weak,
    );
    kit.refused(
        "X-Wing key: X25519's point of order 8",
        read(&point(&unhex(ORDER_8))),
        weak,
    );
    kit.refused(
        "X-Wing key: X25519's point above p",
        read(&point(&unhex(NINE_AGAIN))),
        second,
    );
    let high = with_byte(&sample, 1215, sample[1215] | 0x80);
    kit.refused("X-Wing key: with the ignored bit", read(&high), second);
}
