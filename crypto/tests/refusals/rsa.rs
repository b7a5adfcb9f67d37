//! RSA keys in DER and PEM, and signatures by none.

use pem_rfc7468::decode_vec;
use sealmoot_crypto::rsa::{
    BadSignature, KeyRejected, MODULUS_BITS_MIN, PEM_LENGTH_MAX, PrivateKey, PublicKey,
    SIGN_BITS_MAX, Scheme, VERIFY_BITS_MAX,
};

use crate::kit::{
    Kit, element, flipped, flipped_from_end, longer, pem_lines, pem_text, replaced, report,
    shorter, signing_key, spliced, unhex, with, with_byte,
};

const SEQUENCE: u8 = 0x30;
const INTEGER: u8 = 0x02;
const BIT_STRING: u8 = 0x03;
const OCTET_STRING: u8 = 0x04;
const NULL: [u8; 2] = [0x05, 0x00];
const F4: [u8; 3] = [1, 0, 1];

/// `rsaEncryption` and, last byte changed, its neighbours (RFC 8017 appendix C).
const OID: &str = "06092a864886f70d010101";

/// A key of 2048 bits, by `openssl genpkey`, and its public half.
const PRIVATE_PEM: &str = include_str!("../../src/rsa/test_key.pem");
const PUBLIC_PEM: &str = include_str!("../../src/rsa/test_public_key.pem");

#[test]
fn rsa() {
    report("rsa", family());
}

pub(crate) fn family() -> usize {
    let mut kit = Kit::new("rsa");
    numbers(&mut kit);
    public_der(&mut kit);
    public_info(&mut kit);
    private_info(&mut kit);
    private_parts(&mut kit);
    pem(&mut kit);
    signatures(&mut kit);
    kit.count()
}

fn malformed(error: &KeyRejected) -> bool {
    matches!(error, KeyRejected::Malformed)
}

fn exponent_refused(error: &KeyRejected) -> bool {
    matches!(error, KeyRejected::ExponentRefused)
}

fn der(pem: &str) -> Vec<u8> {
    decode_vec(pem.as_bytes()).expect("PEM").1
}

/// `RSAPublicKey`, with the content of its integers as it stands here.
fn key(modulus: &[u8], exponent: &[u8]) -> Vec<u8> {
    element(
        SEQUENCE,
        &[
            &element(INTEGER, &[modulus]),
            &element(INTEGER, &[exponent]),
        ],
    )
}

/// An odd number of so many bits, a multiple of eight, with the zero of its sign.
fn modulus(bits: usize) -> Vec<u8> {
    let mut number = vec![0xa5; bits / 8 + 1];
    number[0] = 0;
    number
}

fn numbers(kit: &mut Kit) {
    let read = |modulus: &[u8], exponent: &[u8]| PublicKey::from_der_pkcs1(&key(modulus, exponent));
    let good = modulus(2048);
    kit.accepted("a key", read(&good, &F4));

    let small = |expected: usize| {
        move |error: &KeyRejected| *error == KeyRejected::TooSmall { bits: expected }
    };
    let large = |expected: usize| {
        move |error: &KeyRejected| {
            *error
                == KeyRejected::TooLarge {
                    bits: expected,
                    maximum: VERIFY_BITS_MAX,
                }
        }
    };
    kit.refused(
        "a modulus of 1024 bits",
        read(&modulus(1024), &F4),
        small(1024),
    );
    kit.refused(
        "a modulus of 512 bits",
        read(&modulus(512), &F4),
        small(512),
    );
    kit.refused("a modulus of one", read(&[1], &F4), small(1));
    let mut just_below = modulus(MODULUS_BITS_MIN);
    just_below[1] = 0x7f;
    kit.refused(
        "a modulus of 2047 bits",
        read(&just_below[1..], &F4),
        small(2047),
    );
    kit.refused(
        "a modulus of 8193 bits",
        read(&[&[1][..], &modulus(8192)[1..]].concat(), &F4),
        large(8193),
    );
    kit.refused(
        "a modulus of 16384 bits",
        read(&modulus(16_384), &F4),
        large(16_384),
    );
    kit.refused(
        "an even modulus",
        read(&with_byte(&good, 256, 0xa4), &F4),
        |error| matches!(error, KeyRejected::ModulusRefused),
    );
    kit.refused(
        "a modulus of two to the 2047",
        read(&[&[0, 0x80][..], &[0; 255]].concat(), &F4),
        |error| matches!(error, KeyRejected::ModulusRefused),
    );
    kit.refused("a modulus below zero", read(&good[1..], &F4), malformed);
    kit.refused("a modulus of zero", read(&[0], &F4), malformed);
    kit.refused("a modulus of no bytes", read(&[], &F4), malformed);
    kit.refused(
        "a modulus with a zero too many",
        read(&longer(&[0], &good), &F4),
        malformed,
    );
    kit.refused(
        "a small modulus with a zero before",
        read(&[0, 0x7f], &F4),
        malformed,
    );

    kit.refused("exponent 1", read(&good, &[1]), exponent_refused);
    kit.refused("exponent 3", read(&good, &[3]), exponent_refused);
    kit.refused("exponent 17", read(&good, &[17]), exponent_refused);
    kit.refused(
        "exponent 65535",
        read(&good, &[0, 0xff, 0xff]),
        exponent_refused,
    );
    kit.refused("exponent 65536", read(&good, &[1, 0, 0]), exponent_refused);
    kit.refused("exponent 65538", read(&good, &[1, 0, 2]), exponent_refused);
    kit.refused(
        "exponent 2^33 + 1",
        read(&good, &[2, 0, 0, 0, 1]),
        exponent_refused,
    );
    kit.refused(
        "an exponent of 64 bits",
        read(&good, &[0x7f, 1, 1, 1, 1, 1, 1, 1]),
        exponent_refused,
    );
    // 65537 in the lowest 64 bits: a narrow number would take it for that.
    kit.refused(
        "exponent 2^64 + 65537",
        read(&good, &[1, 0, 0, 0, 0, 0, 1, 0, 1]),
        exponent_refused,
    );
    kit.refused(
        "the modulus for an exponent",
        read(&good, &good),
        exponent_refused,
    );
    kit.refused("exponent 0", read(&good, &[0]), malformed);
    kit.refused("an exponent below zero", read(&good, &[0xff]), malformed);
    kit.refused("an exponent of no bytes", read(&good, &[]), malformed);
    kit.refused(
        "an exponent with a zero before",
        read(&good, &[0, 1, 0, 1]),
        malformed,
    );
    kit.refused("numbers swapped", read(&F4, &good), small(17));
}

fn public_der(kit: &mut Kit) {
    let sample = key(&modulus(2048), &F4);
    let read = |bytes: &[u8]| PublicKey::from_der_pkcs1(bytes);
    assert_eq!(sample[..5], [SEQUENCE, 0x82, 1, 10, INTEGER]);
    kit.refused("PKCS #1: empty", read(&[]), malformed);
    kit.refused("PKCS #1: only a tag", read(&[SEQUENCE]), malformed);
    kit.refused(
        "PKCS #1: a set",
        read(&with_byte(&sample, 0, 0x31)),
        malformed,
    );
    let indefinite = [&[SEQUENCE, 0x80], &sample[4..], &[0, 0]].concat();
    kit.refused(
        "PKCS #1: an indefinite length",
        read(&indefinite),
        malformed,
    );
    let length = |bytes: &[u8]| read(&spliced(&sample, 1..4, bytes));
    kit.refused(
        "PKCS #1: a length in a byte too many",
        length(&[0x83, 0, 1, 10]),
        malformed,
    );
    kit.refused(
        "PKCS #1: a length in eight bytes",
        length(&[0x88, 0, 0, 0, 0, 0, 0, 1, 10]),
        malformed,
    );
    kit.refused(
        "PKCS #1: a length of 2^64 - 1",
        length(&[0x88, 255, 255, 255, 255, 255, 255, 255, 255]),
        malformed,
    );
    kit.refused(
        "PKCS #1: a length of one less",
        length(&[0x82, 1, 9]),
        malformed,
    );
    kit.refused(
        "PKCS #1: a length of one more",
        length(&[0x82, 1, 11]),
        malformed,
    );
    let exponent = spliced(&sample, sample.len() - 4..sample.len() - 3, &[0x81, 3]);
    let exponent = with(&exponent, 2, &[1, 11]);
    kit.refused(
        "PKCS #1: a short length in two bytes",
        read(&exponent),
        malformed,
    );
    kit.refused(
        "PKCS #1: an octet string for a number",
        read(&with_byte(&sample, 4, OCTET_STRING)),
        malformed,
    );
    kit.refused(
        "PKCS #1: the last byte left out",
        read(&shorter(&sample, 1)),
        malformed,
    );
    kit.refused(
        "PKCS #1: a byte behind",
        read(&longer(&sample, &[0])),
        malformed,
    );
    let third = element(SEQUENCE, &[&sample[4..], &element(INTEGER, &[&[1]])]);
    kit.refused("PKCS #1: a third number", read(&third), malformed);
    let one = element(SEQUENCE, &[&element(INTEGER, &[&modulus(2048)])]);
    kit.refused("PKCS #1: one number", read(&one), malformed);
    kit.refused("PKCS #1: no numbers", read(&[SEQUENCE, 0]), malformed);
    kit.refused(
        "PKCS #1: the other structure",
        read(&der(PUBLIC_PEM)),
        malformed,
    );
}

fn algorithm(last_of_oid: u8, parameters: &[u8]) -> Vec<u8> {
    let mut oid = unhex(OID);
    oid[10] = last_of_oid;
    element(SEQUENCE, &[&oid, parameters])
}

fn public_info(kit: &mut Kit) {
    let sample = der(PUBLIC_PEM);
    let read = |bytes: &[u8]| PublicKey::from_der_spki(bytes);
    let key = key(&modulus(2048), &F4);
    let of = |algorithm: &[u8], key: &[u8]| read(&element(SEQUENCE, &[algorithm, key]));
    let rsa = algorithm(1, &NULL);
    let bits = element(BIT_STRING, &[&[0], &key]);
    let not_rsa = |error: &KeyRejected| matches!(error, KeyRejected::NotRsa);
    kit.accepted("a public key in SPKI", read(&sample));
    kit.accepted("one by hand", of(&rsa, &bits));

    kit.refused("SPKI: empty", read(&[]), malformed);
    kit.refused(
        "SPKI: a byte behind",
        read(&longer(&sample, &[0])),
        malformed,
    );
    kit.refused(
        "SPKI: a null behind the key",
        read(&element(SEQUENCE, &[&rsa, &bits, &NULL])),
        malformed,
    );
    kit.refused(
        "SPKI: a byte inside the bit string",
        of(&rsa, &element(BIT_STRING, &[&[0], &key, &[0]])),
        malformed,
    );
    kit.refused(
        "SPKI: an unused bit",
        of(&rsa, &element(BIT_STRING, &[&[1], &key])),
        malformed,
    );
    kit.refused(
        "SPKI: a bit string of no bytes",
        of(&rsa, &[BIT_STRING, 0]),
        malformed,
    );
    kit.refused(
        "SPKI: a bit string in pieces",
        of(&rsa, &element(0x23, &[&bits])),
        malformed,
    );
    kit.refused(
        "SPKI: the key in an octet string",
        of(&rsa, &element(OCTET_STRING, &[&[0], &key])),
        malformed,
    );
    kit.refused("SPKI: the key not wrapped", of(&rsa, &key), malformed);
    kit.refused(
        "SPKI: without parameters",
        of(&algorithm(1, &[]), &bits),
        not_rsa,
    );
    kit.refused(
        "SPKI: with parameters that are none",
        of(&algorithm(1, &[0x05, 0x01, 0x00]), &bits),
        not_rsa,
    );
    kit.refused(
        "SPKI: for RSA-OAEP",
        of(&algorithm(7, &NULL), &bits),
        not_rsa,
    );
    kit.refused("SPKI: for RSA-PSS", of(&algorithm(10, &[]), &bits), not_rsa);
    kit.refused(
        "SPKI: for a signature with SHA-256",
        of(&algorithm(11, &NULL), &bits),
        not_rsa,
    );
    let ed25519 = signing_key(3).verifying_key().to_spki();
    kit.refused("SPKI: for Ed25519", read(&ed25519), not_rsa);
    let p_256 = element(
        SEQUENCE,
        &[&unhex("06072a8648ce3d0201"), &unhex("06082a8648ce3d030107")],
    );
    kit.refused(
        "SPKI: for P-256",
        of(&p_256, &element(BIT_STRING, &[&[0, 4], &[1; 64]])),
        not_rsa,
    );
    kit.refused(
        "SPKI: no algorithm",
        read(&element(SEQUENCE, &[&bits])),
        malformed,
    );
    kit.refused("SPKI: parts swapped", of(&bits, &rsa), malformed);
    kit.refused("SPKI: a private key", read(&der(PRIVATE_PEM)), malformed);
}

/// The elements in the content of a sequence, whole.
fn elements(sequence: &[u8]) -> Vec<Vec<u8>> {
    let head = |der: &[u8]| match der[1] {
        0x82 => (4, usize::from(u16::from_be_bytes([der[2], der[3]]))),
        0x81 => (3, usize::from(der[2])),
        length => (2, usize::from(length)),
    };
    let mut rest = &sequence[head(sequence).0..];
    let mut parts = Vec::new();
    while !rest.is_empty() {
        let (start, length) = head(rest);
        let (part, behind) = rest.split_at(start + length);
        parts.push(part.to_vec());
        rest = behind;
    }
    parts
}

/// The nine elements of the sample's `RSAPrivateKey`: version, n, e, d, p, q, d mod
/// (p-1), d mod (q-1), q^-1 mod p.
fn parts() -> Vec<Vec<u8>> {
    let info = elements(&der(PRIVATE_PEM));
    assert_eq!(info[2][..2], [OCTET_STRING, 0x82]);
    let parts = elements(&info[2][4..]);
    assert_eq!(parts.len(), 9);
    parts
}

fn of_parts(parts: &[Vec<u8>]) -> Vec<u8> {
    element(SEQUENCE, &[&parts.concat()])
}

fn private_info(kit: &mut Kit) {
    let sample = der(PRIVATE_PEM);
    let read = |bytes: &[u8]| PrivateKey::from_der_pkcs8(bytes);
    let not_rsa = |error: &KeyRejected| matches!(error, KeyRejected::NotRsa);
    let key = element(OCTET_STRING, &[&of_parts(&parts())]);
    let (version, rsa) = ([INTEGER, 1, 0], algorithm(1, &NULL));
    let of = |parts: &[&[u8]]| read(&element(SEQUENCE, parts));
    kit.accepted("a private key", read(&sample));
    kit.accepted("a private key by hand", of(&[&version, &rsa, &key]));

    kit.refused("PKCS #8: empty", read(&[]), malformed);
    kit.refused(
        "PKCS #8: a byte behind",
        read(&longer(&sample, &[0])),
        malformed,
    );
    kit.refused(
        "PKCS #8: the last byte left out",
        read(&shorter(&sample, 1)),
        malformed,
    );
    kit.refused(
        "PKCS #8: two keys",
        read(&longer(&sample, &sample)),
        malformed,
    );
    kit.refused(
        "PKCS #8: version 2",
        of(&[&[INTEGER, 1, 1], &rsa, &key]),
        malformed,
    );
    kit.refused(
        "PKCS #8: version minus one",
        of(&[&[INTEGER, 1, 255], &rsa, &key]),
        malformed,
    );
    kit.refused(
        "PKCS #8: a version of two bytes",
        of(&[&[INTEGER, 2, 0, 0], &rsa, &key]),
        malformed,
    );
    kit.refused("PKCS #8: no version", of(&[&rsa, &key]), malformed);
    kit.refused(
        "PKCS #8: attributes",
        of(&[&version, &rsa, &key, &[0xa0, 0]]),
        malformed,
    );
    kit.refused(
        "PKCS #8: a public key",
        of(&[&version, &rsa, &key, &[0x81, 1, 0]]),
        malformed,
    );
    kit.refused(
        "PKCS #8: the key in a bit string",
        of(&[&version, &rsa, &with_byte(&key, 0, BIT_STRING)]),
        malformed,
    );
    kit.refused(
        "PKCS #8: the key not wrapped",
        of(&[&version, &rsa, &of_parts(&parts())]),
        malformed,
    );
    let inside = element(OCTET_STRING, &[&of_parts(&parts()), &[0]]);
    kit.refused(
        "PKCS #8: a byte behind the key inside",
        of(&[&version, &rsa, &inside]),
        malformed,
    );
    kit.refused(
        "PKCS #8: for RSA-PSS",
        of(&[&version, &algorithm(10, &NULL), &key]),
        not_rsa,
    );
    kit.refused(
        "PKCS #8: without parameters",
        of(&[&version, &algorithm(1, &[]), &key]),
        not_rsa,
    );
    let ed25519 = signing_key(3).to_pkcs8_der();
    kit.refused("PKCS #8: for Ed25519", read(ed25519.expose()), not_rsa);
    let encrypted = [
        &algorithm(13, &NULL)[..],
        &element(OCTET_STRING, &[&[1; 1200]]),
    ]
    .concat();
    kit.refused(
        "PKCS #8: encrypted",
        read(&element(SEQUENCE, &[&encrypted])),
        malformed,
    );
    kit.refused(
        "PKCS #8: a public key's structure",
        read(&der(PUBLIC_PEM)),
        malformed,
    );
    kit.refused(
        "PKCS #8: the other structure",
        read(&of_parts(&parts())),
        malformed,
    );
}

fn private_parts(kit: &mut Kit) {
    let good = parts();
    let read = |parts: &[Vec<u8>]| PrivateKey::from_der_pkcs1(&of_parts(parts));
    kit.accepted("a private key of PKCS #1", read(&good));
    let set = |at: usize, part: Vec<u8>| {
        let mut parts = good.clone();
        parts[at] = part;
        read(&parts)
    };
    let number = |content: &[u8]| element(INTEGER, &[content]);
    let [
        modulus_at,
        exponent_at,
        d_at,
        p_at,
        q_at,
        dp_at,
        dq_at,
        inverse_at,
    ] = [1, 2, 3, 4, 5, 6, 7, 8];

    kit.refused(
        "private: version of more primes",
        set(0, number(&[1])),
        malformed,
    );
    kit.refused(
        "private: a tenth number",
        read(&[&good[..], &[number(&[1])]].concat()),
        malformed,
    );
    kit.refused("private: eight numbers", read(&good[..8]), malformed);
    kit.refused("private: no numbers", read(&[]), malformed);
    kit.refused(
        "private: a prime of zero",
        set(p_at, number(&[0])),
        malformed,
    );
    kit.refused(
        "private: a prime below zero",
        set(p_at, number(&[0xff])),
        malformed,
    );
    kit.refused(
        "private: an exponent of no bytes",
        set(d_at, number(&[])),
        malformed,
    );
    kit.refused(
        "private: an inverse with a zero before",
        set(inverse_at, number(&[0, 1])),
        malformed,
    );
    kit.refused(
        "private: a byte behind",
        PrivateKey::from_der_pkcs1(&longer(&of_parts(&good), &[0])),
        malformed,
    );
    kit.refused(
        "private: a null for a prime",
        set(q_at, NULL.to_vec()),
        malformed,
    );

    kit.refused(
        "private: a modulus of 1024 bits",
        set(modulus_at, number(&modulus(1024))),
        |error| matches!(error, KeyRejected::TooSmall { bits: 1024 }),
    );
    kit.refused(
        "private: a modulus of 4104 bits",
        set(modulus_at, number(&modulus(4104))),
        |error| {
            matches!(
                error,
                KeyRejected::TooLarge {
                    bits: 4104,
                    maximum: SIGN_BITS_MAX
                }
            )
        },
    );
    kit.refused(
        "private: an even modulus",
        set(modulus_at, number(&with_byte(&modulus(2048), 256, 2))),
        |error| matches!(error, KeyRejected::ModulusRefused),
    );
    kit.refused(
        "private: exponent 3",
        set(exponent_at, number(&[3])),
        exponent_refused,
    );
    kit.refused(
        "private: an even exponent",
        set(exponent_at, number(&[1, 0, 0])),
        exponent_refused,
    );

    let inconsistent = |error: &KeyRejected| matches!(error, KeyRejected::Inconsistent);
    kit.refused(
        "private: another modulus",
        set(modulus_at, number(&modulus(2048))),
        inconsistent,
    );
    kit.refused(
        "private: another public exponent",
        set(exponent_at, number(&[1, 0, 3])),
        inconsistent,
    );
    let changed = |at: usize| set(at, flipped_from_end(&good[at], 8));
    // No more of it is checked: signatures are made with the primes alone.
    kit.refused(
        "private: an even exponent of its own",
        set(d_at, flipped_from_end(&good[d_at], 1)),
        inconsistent,
    );
    kit.refused(
        "private: the first prime changed",
        changed(p_at),
        inconsistent,
    );
    kit.refused(
        "private: the second prime changed",
        changed(q_at),
        inconsistent,
    );
    kit.refused(
        "private: the first remainder changed",
        changed(dp_at),
        inconsistent,
    );
    kit.refused(
        "private: the second remainder changed",
        changed(dq_at),
        inconsistent,
    );
    kit.refused(
        "private: the inverse changed",
        changed(inverse_at),
        inconsistent,
    );
    kit.refused(
        "private: an exponent of one",
        set(d_at, number(&[1])),
        inconsistent,
    );
    kit.refused(
        "private: a prime of one",
        set(q_at, number(&[1])),
        inconsistent,
    );
    kit.refused(
        "private: an even prime",
        set(p_at, flipped_from_end(&good[p_at], 1)),
        inconsistent,
    );
    kit.refused(
        "private: the modulus for a prime",
        set(p_at, good[modulus_at].clone()),
        inconsistent,
    );
    kit.refused(
        "private: one prime twice",
        set(q_at, good[p_at].clone()),
        inconsistent,
    );
    kit.refused(
        "private: the exponent for a remainder",
        set(dp_at, good[d_at].clone()),
        inconsistent,
    );
    let swapped = |a: usize, b: usize| {
        let mut parts = good.clone();
        parts.swap(a, b);
        read(&parts)
    };
    kit.refused("private: primes swapped", swapped(p_at, q_at), inconsistent);
    kit.refused(
        "private: remainders swapped",
        swapped(dp_at, dq_at),
        inconsistent,
    );
    kit.refused(
        "private: exponents swapped",
        swapped(exponent_at, d_at),
        exponent_refused,
    );
}

fn pem(kit: &mut Kit) {
    let public = PublicKey::from_pem;
    let private = |text: &str| PrivateKey::from_pem(text);
    let not_pem = |error: &KeyRejected| matches!(error, KeyRejected::NotPem);
    let other = |error: &KeyRejected| matches!(error, KeyRejected::OtherLabel);
    kit.accepted("a public key in PEM", public(PUBLIC_PEM));
    kit.accepted("a private key in PEM", private(PRIVATE_PEM));

    kit.refused("PEM: empty", public(""), not_pem);
    kit.refused("PEM: garbage", public("not a key at all"), not_pem);
    kit.refused("PEM: no end", public(&PUBLIC_PEM[..200]), not_pem);
    kit.refused(
        "PEM: ends differ",
        public(&replaced(PUBLIC_PEM, "END PUBLIC", "END PRIVATE")),
        not_pem,
    );
    kit.refused(
        "PEM: a letter left out",
        public(&replaced(PUBLIC_PEM, "MIIBIj", "MIBIj")),
        not_pem,
    );
    kit.refused(
        "PEM: a letter that is none",
        public(&replaced(PUBLIC_PEM, "MIIBIj", "MI*BIj")),
        not_pem,
    );
    kit.refused(
        "PEM: Base64 for addresses",
        public(&replaced(PUBLIC_PEM, "MIIBIj", "MI_BIj")),
        not_pem,
    );
    kit.refused(
        "PEM: a line left out",
        public(
            &PUBLIC_PEM
                .lines()
                .enumerate()
                .filter(|(at, _)| *at != 2)
                .map(|(_, line)| format!("{line}\n"))
                .collect::<String>(),
        ),
        malformed,
    );
    kit.refused("PEM: two keys", public(&PUBLIC_PEM.repeat(2)), not_pem);
    kit.refused(
        "PEM: words behind",
        public(&format!("{PUBLIC_PEM}words")),
        not_pem,
    );
    kit.refused(
        "PEM: all on one line",
        public(&PUBLIC_PEM.replace('\n', "")),
        not_pem,
    );
    kit.refused(
        "PEM: lines of 76 letters",
        public(&pem_lines("PUBLIC KEY", 76, &der(PUBLIC_PEM))),
        not_pem,
    );
    kit.refused(
        "PEM: nothing inside",
        public("-----BEGIN PUBLIC KEY-----\n-----END PUBLIC KEY-----\n"),
        |error| matches!(error, KeyRejected::NotPem),
    );
    let headers = replaced(
        PRIVATE_PEM,
        "-----BEGIN PRIVATE KEY-----\n",
        "-----BEGIN PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\n\n",
    );
    kit.refused("PEM: headers of RFC 1421", private(&headers), not_pem);
    // Of good PEM: but for its length it would be malformed DER.
    let long = pem_text("PUBLIC KEY", &[SEQUENCE; PEM_LENGTH_MAX / 4 * 3]);
    kit.refused("PEM: above 8 KiB", public(&long), not_pem);
    kit.refused(
        "PEM: a private key for a public one",
        public(PRIVATE_PEM),
        other,
    );
    kit.refused(
        "PEM: a public key for a private one",
        private(PUBLIC_PEM),
        other,
    );
    let labelled = |label| private(&pem_text(label, &der(PRIVATE_PEM)));
    kit.refused(
        "PEM: an encrypted key",
        labelled("ENCRYPTED PRIVATE KEY"),
        other,
    );
    kit.refused("PEM: a certificate", labelled("CERTIFICATE"), other);
    kit.refused("PEM: a key of SEC 1", labelled("EC PRIVATE KEY"), other);
    kit.refused(
        "PEM: OpenSSH's label",
        labelled("OPENSSH PRIVATE KEY"),
        other,
    );
    kit.refused(
        "PEM: PKCS #8 as PKCS #1",
        labelled("RSA PRIVATE KEY"),
        malformed,
    );
    kit.refused(
        "PEM: PKCS #1 as PKCS #8",
        private(&pem_text("PRIVATE KEY", &of_parts(&parts()))),
        malformed,
    );
    let key = key(&modulus(2048), &F4);
    kit.refused(
        "PEM: PKCS #1 as SPKI",
        public(&pem_text("PUBLIC KEY", &key)),
        malformed,
    );
    kit.refused(
        "PEM: SPKI as PKCS #1",
        public(&pem_text("RSA PUBLIC KEY", &der(PUBLIC_PEM))),
        malformed,
    );
    let ed25519 = pem_text("PUBLIC KEY", &signing_key(3).verifying_key().to_spki());
    kit.refused("PEM: a key of Ed25519", public(&ed25519), |error| {
        matches!(error, KeyRejected::NotRsa)
    });
}

fn signatures(kit: &mut Kit) {
    let key = PrivateKey::from_pem(PRIVATE_PEM).expect("a key");
    let sample = key.sign(Scheme::PssSha256, b"at noon").expect("signed");
    let pkcs1 = key.sign(Scheme::Pkcs1Sha256, b"at noon").expect("signed");
    let verify = |scheme, message: &[u8], signature: &[u8]| {
        key.public_key().verify(scheme, message, signature)
    };
    let pss = |signature: &[u8]| verify(Scheme::PssSha256, b"at noon", signature);
    let bad = |error: &BadSignature| matches!(error, BadSignature);
    kit.accepted("a signature", pss(&sample));
    kit.accepted(
        "a signature of PKCS #1",
        verify(Scheme::Pkcs1Sha256, b"at noon", &pkcs1),
    );
    kit.refused("signature: empty", pss(&[]), bad);
    kit.refused("signature: zero", pss(&[0; 256]), bad);
    let one = with_byte(&[0; 256], 255, 1);
    kit.refused("signature: one", pss(&one), bad);
    let modulus = &parts()[1][5..];
    assert_eq!(modulus.len(), 256);
    kit.refused("signature: the modulus", pss(modulus), bad);
    let minus_one = flipped(modulus, 255);
    kit.refused("signature: the modulus minus one", pss(&minus_one), bad);
    kit.refused("signature: all bits", pss(&[0xff; 256]), bad);
    kit.refused("signature: a byte less", pss(&shorter(&sample, 1)), bad);
    kit.refused("signature: a zero before", pss(&longer(&[0], &sample)), bad);
    kit.refused("signature: a zero behind", pss(&longer(&sample, &[0])), bad);
    kit.refused("signature: changed", pss(&flipped(&sample, 128)), bad);
    kit.refused(
        "signature: of another message",
        verify(Scheme::PssSha256, b"at moon", &sample),
        bad,
    );
    kit.refused(
        "signature: with another hash",
        verify(Scheme::PssSha512, b"at noon", &sample),
        bad,
    );
    kit.refused(
        "signature: PSS taken for PKCS #1",
        verify(Scheme::Pkcs1Sha256, b"at noon", &sample),
        bad,
    );
    kit.refused("signature: PKCS #1 taken for PSS", pss(&pkcs1), bad);
    kit.refused(
        "signature: PKCS #1 with another hash",
        verify(Scheme::Pkcs1Sha384, b"at noon", &pkcs1),
        bad,
    );
    let reversed: Vec<u8> = pkcs1.iter().rev().copied().collect();
    kit.refused(
        "signature: in little-endian",
        verify(Scheme::Pkcs1Sha256, b"at noon", &reversed),
        bad,
    );
    let other = PublicKey::from_der_pkcs1(&self::key(&self::modulus(2048), &F4)).expect("a key");
    kit.refused(
        "signature: under another key",
        other.verify(Scheme::PssSha256, b"at noon", &sample),
        bad,
    );
}
