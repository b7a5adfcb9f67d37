//! Ed25519 and X25519 keys in DER.

use sealmoot_crypto::agreement::AgreementKey;
use sealmoot_crypto::hazmat::der::{
    DER_LENGTH_MAX, DerError, agreement_key_from_pkcs8, agreement_key_to_pkcs8,
    agreement_public_from_spki, agreement_public_to_spki, signing_key_from_pkcs8,
    verifying_key_from_spki,
};
use sealmoot_crypto::secret::SecretArray;
use sealmoot_crypto::signature::KeyRejected;

use crate::kit::{
    Kit, element, flipped, longer, report, shorter, signing_key, spliced, unhex, with, with_byte,
};

const SEQUENCE: u8 = 0x30;
const INTEGER: u8 = 0x02;
const BIT_STRING: u8 = 0x03;
const OCTET_STRING: u8 = 0x04;
const NULL: [u8; 2] = [0x05, 0x00];
const ATTRIBUTES: [u8; 4] = [0xa0, 0x02, 0x05, 0x00];

const ED25519: [u8; 5] = [0x06, 0x03, 0x2b, 0x65, 0x70];
const VERSION_1: [u8; 3] = [INTEGER, 1, 0];
const VERSION_2: [u8; 3] = [INTEGER, 1, 1];

/// Of the key that `openssl genpkey` writes.
const VERSION_AT: usize = 2;
const OID_AT: usize = 7;
const OUTER_AT: usize = 12;
const INNER_AT: usize = 14;
const SEED_AT: usize = 16;

#[test]
fn der() {
    report("der", family());
}

pub(crate) fn family() -> usize {
    let mut kit = Kit::new("der");
    lengths_and_tags(&mut kit);
    private_keys(&mut kit);
    with_public_keys(&mut kit);
    public_keys(&mut kit);
    agreement_keys(&mut kit);
    kit.count()
}

fn malformed(error: &DerError) -> bool {
    matches!(error, DerError::Malformed)
}

fn other_algorithm(error: &DerError) -> bool {
    matches!(error, DerError::OtherAlgorithm)
}

fn lengths_and_tags(kit: &mut Kit) {
    let sample = signing_key(3).to_pkcs8_der();
    let sample = sample.expose();
    let read = |bytes: &[u8]| signing_key_from_pkcs8(bytes);
    let length = |bytes: &[u8]| read(&spliced(sample, 1..2, bytes));
    kit.accepted("a private key", read(sample));
    kit.refused("empty", read(&[]), malformed);
    kit.refused("only a tag", read(&[SEQUENCE]), malformed);
    kit.refused("zeros", read(&[0; 48]), malformed);
    kit.refused(
        "4097 bytes",
        read(&[SEQUENCE; DER_LENGTH_MAX + 1]),
        |error| matches!(error, DerError::TooLong { length: 4097 }),
    );
    kit.refused(
        "a set for a sequence",
        read(&with_byte(sample, 0, 0x31)),
        malformed,
    );
    kit.refused(
        "a sequence that is not constructed",
        read(&with_byte(sample, 0, 0x10)),
        malformed,
    );
    kit.refused(
        "a tag of several bytes",
        read(&with_byte(sample, 0, 0x3f)),
        malformed,
    );
    let indefinite = [&[SEQUENCE, 0x80], &sample[2..], &[0, 0]].concat();
    kit.refused("an indefinite length", read(&indefinite), malformed);
    kit.refused(
        "a length in one byte too many",
        length(&[0x81, 46]),
        malformed,
    );
    kit.refused(
        "a length in two bytes too many",
        length(&[0x82, 0, 46]),
        malformed,
    );
    kit.refused(
        "a length of four bytes",
        length(&[0x84, 0, 0, 0, 46]),
        malformed,
    );
    kit.refused(
        "a length of 4 GiB",
        length(&[0x84, 0xff, 0xff, 0xff, 0xff]),
        malformed,
    );
    kit.refused("a length of 126 bytes", length(&[0xfe]), malformed);
    kit.refused("the reserved length", length(&[0xff]), malformed);
    kit.refused("a length of one less", length(&[45]), malformed);
    kit.refused("a length of one more", length(&[47]), malformed);
    kit.refused(
        "cut off in the length",
        read(&[SEQUENCE, 0x82, 1]),
        malformed,
    );
    kit.refused(
        "the last byte left out",
        read(&shorter(sample, 1)),
        malformed,
    );
    kit.refused("a byte behind", read(&longer(sample, &[0])), malformed);
    kit.refused("two keys", read(&longer(sample, sample)), malformed);
    kit.refused(
        "the PEM of a key",
        read(b"-----BEGIN PRIVATE KEY-----"),
        malformed,
    );
}

/// PKCS #8 of these parts.
fn pkcs8(parts: &[&[u8]]) -> Vec<u8> {
    element(SEQUENCE, parts)
}

fn algorithm() -> Vec<u8> {
    element(SEQUENCE, &[&ED25519])
}

fn wrapped(seed: &[u8]) -> Vec<u8> {
    element(OCTET_STRING, &[&element(OCTET_STRING, &[seed])])
}

fn private_keys(kit: &mut Kit) {
    let sample = signing_key(3).to_pkcs8_der();
    let sample = sample.expose();
    let read = |bytes: &[u8]| signing_key_from_pkcs8(bytes).map(|key| key.verifying_key());
    let (algorithm, key) = (algorithm(), wrapped(&[3; 32]));
    let of = |parts: &[&[u8]]| read(&pkcs8(parts));
    let built = kit.accepted("built by hand", of(&[&VERSION_1, &algorithm, &key]));
    assert_eq!(built, signing_key(3).verifying_key());

    let unknown = |error: &DerError| matches!(error, DerError::UnknownVersion);
    let version = |bytes: &[u8]| of(&[&element(INTEGER, &[bytes]), &algorithm, &key]);
    kit.refused("version 3", version(&[2]), unknown);
    kit.refused("version minus one", version(&[0xff]), unknown);
    kit.refused("a version of no bytes", version(&[]), unknown);
    kit.refused("a version of two bytes", version(&[0, 0]), unknown);
    kit.refused("no version", of(&[&algorithm, &key]), malformed);
    kit.refused(
        "version as an enumeration",
        read(&with_byte(sample, VERSION_AT, 0x0a)),
        malformed,
    );
    kit.refused(
        "version 2 without a public key",
        of(&[&VERSION_2, &algorithm, &key]),
        malformed,
    );

    kit.refused(
        "for X25519",
        read(&with_byte(sample, OID_AT + 4, 0x6e)),
        other_algorithm,
    );
    kit.refused(
        "for Ed448",
        read(&with_byte(sample, OID_AT + 4, 0x71)),
        other_algorithm,
    );
    kit.refused(
        "for X448",
        read(&with_byte(sample, OID_AT + 4, 0x6f)),
        other_algorithm,
    );
    let rsa = element(SEQUENCE, &[&unhex("06092a864886f70d010101"), &NULL]);
    kit.refused("for RSA", of(&[&VERSION_1, &rsa, &key]), other_algorithm);
    let p_256 = element(
        SEQUENCE,
        &[&unhex("06072a8648ce3d0201"), &unhex("06082a8648ce3d030107")],
    );
    kit.refused(
        "for P-256",
        of(&[&VERSION_1, &p_256, &key]),
        other_algorithm,
    );
    let padded = element(SEQUENCE, &[&[0x06, 0x04, 0x80, 0x2b, 0x65, 0x70]]);
    kit.refused(
        "an algorithm written longer",
        of(&[&VERSION_1, &padded, &key]),
        other_algorithm,
    );
    let none = element(SEQUENCE, &[&[0x06, 0x00]]);
    kit.refused(
        "an empty algorithm",
        of(&[&VERSION_1, &none, &key]),
        other_algorithm,
    );
    let named = element(SEQUENCE, &[&element(0x0c, &[b"Ed25519"])]);
    kit.refused(
        "an algorithm by its name",
        of(&[&VERSION_1, &named, &key]),
        malformed,
    );
    let with_null = element(SEQUENCE, &[&ED25519, &NULL]);
    kit.refused(
        "parameters of the algorithm",
        of(&[&VERSION_1, &with_null, &key]),
        malformed,
    );
    kit.refused("no algorithm", of(&[&VERSION_1, &key]), malformed);

    let of_key = |key: &[u8]| of(&[&VERSION_1, &algorithm, key]);
    kit.refused("no key", of(&[&VERSION_1, &algorithm]), malformed);
    kit.refused("a key of nothing", of_key(&wrapped(&[])), malformed);
    kit.refused("a key of 31 bytes", of_key(&wrapped(&[3; 31])), malformed);
    kit.refused("a key of 33 bytes", of_key(&wrapped(&[3; 33])), malformed);
    kit.refused(
        "a key with its public key behind",
        of_key(&wrapped(&[3; 64])),
        malformed,
    );
    kit.refused(
        "a key wrapped once",
        of_key(&element(OCTET_STRING, &[&[3; 32]])),
        malformed,
    );
    let thrice = element(OCTET_STRING, &[&wrapped(&[3; 32])]);
    kit.refused("a key wrapped thrice", of_key(&thrice), malformed);
    kit.refused(
        "a key in a bit string",
        read(&with_byte(sample, OUTER_AT, BIT_STRING)),
        malformed,
    );
    kit.refused(
        "a key as a number",
        read(&with_byte(sample, INNER_AT, INTEGER)),
        malformed,
    );
    let inner = element(OCTET_STRING, &[&element(OCTET_STRING, &[&[3; 32]]), &NULL]);
    kit.refused("a null behind the key", of_key(&inner), malformed);
    let twice = [&key[..], &key].concat();
    kit.refused("the key twice", of_key(&twice), malformed);
    kit.refused(
        "the parts in another order",
        of(&[&VERSION_1, &key, &algorithm]),
        malformed,
    );
    let encrypted = element(SEQUENCE, &[&algorithm, &element(OCTET_STRING, &[&[3; 48]])]);
    kit.refused("an encrypted key", read(&encrypted), malformed);
    // SEC 1's form, which `openssl ecparam` writes.
    let sec_1 = element(SEQUENCE, &[&VERSION_2, &element(OCTET_STRING, &[&[3; 32]])]);
    kit.refused("a key of SEC 1", read(&sec_1), malformed);
    assert_eq!(sample[SEED_AT..], [3; 32]);
}

fn with_public_keys(kit: &mut Kit) {
    let public = signing_key(3).verifying_key().to_bytes();
    let (algorithm, key) = (algorithm(), wrapped(&[3; 32]));
    let of = |version: &[u8], behind: &[&[u8]]| {
        let parts = [&[version, &algorithm, &key], behind].concat();
        signing_key_from_pkcs8(&pkcs8(&parts))
    };
    let claimed = |public: &[u8]| element(0x81, &[&[0], public]);
    let explicit = element(0xa1, &[&element(BIT_STRING, &[&[0], &public])]);
    kit.accepted("a public key", of(&VERSION_2, &[&claimed(&public)]));
    kit.accepted(
        "attributes and a public key",
        of(&VERSION_2, &[&ATTRIBUTES, &claimed(&public)]),
    );
    kit.accepted(
        "a public key tagged explicitly",
        of(&VERSION_2, &[&explicit]),
    );

    let differs = |error: &DerError| matches!(error, DerError::PublicKeyDiffers);
    let other = signing_key(6).verifying_key().to_bytes();
    kit.refused(
        "another key's public key",
        of(&VERSION_2, &[&claimed(&other)]),
        differs,
    );
    kit.refused(
        "a public key of zeros",
        of(&VERSION_2, &[&claimed(&[0; 32])]),
        differs,
    );
    kit.refused(
        "a bit of the public key",
        of(&VERSION_2, &[&claimed(&flipped(&public, 31))]),
        differs,
    );
    let explicit_other = element(0xa1, &[&element(BIT_STRING, &[&[0], &other])]);
    kit.refused(
        "another key's public key, explicitly",
        of(&VERSION_2, &[&explicit_other]),
        differs,
    );
    kit.refused(
        "version 1 with a public key",
        of(&VERSION_1, &[&claimed(&public)]),
        malformed,
    );
    kit.refused(
        "a public key of 31 bytes",
        of(&VERSION_2, &[&claimed(&public[1..])]),
        malformed,
    );
    kit.refused(
        "a public key of nothing",
        of(&VERSION_2, &[&[0x81, 0]]),
        malformed,
    );
    let unused = element(0x81, &[&[1], &public]);
    kit.refused(
        "a public key with an unused bit",
        of(&VERSION_2, &[&unused]),
        malformed,
    );
    kit.refused(
        "two public keys",
        of(&VERSION_2, &[&claimed(&public), &explicit]),
        malformed,
    );
    kit.refused(
        "attributes twice",
        of(&VERSION_2, &[&ATTRIBUTES, &ATTRIBUTES, &claimed(&public)]),
        malformed,
    );
    kit.refused(
        "attributes behind the public key",
        of(&VERSION_2, &[&claimed(&public), &ATTRIBUTES]),
        malformed,
    );
    kit.refused(
        "a null behind the public key",
        of(&VERSION_2, &[&claimed(&public), &NULL]),
        malformed,
    );
    kit.refused(
        "a part with an unknown tag",
        of(&VERSION_1, &[&[0x82, 0]]),
        malformed,
    );
    let null = element(0xa1, &[&element(BIT_STRING, &[&[0], &public]), &NULL]);
    kit.refused(
        "a null beside the explicit public key",
        of(&VERSION_2, &[&null]),
        malformed,
    );
}

fn public_keys(kit: &mut Kit) {
    let sample = signing_key(3).verifying_key().to_spki();
    let read = |bytes: &[u8]| verifying_key_from_spki(bytes);
    let of = |algorithm: &[u8], content: &[u8]| {
        read(&element(
            SEQUENCE,
            &[algorithm, &element(BIT_STRING, &[content])],
        ))
    };
    let (algorithm, public) = (algorithm(), &sample[11..]);
    kit.accepted("a public key by hand", of(&algorithm, public));
    kit.refused("public: empty", read(&[]), malformed);
    kit.refused(
        "public: 4097 bytes",
        read(&[SEQUENCE; DER_LENGTH_MAX + 1]),
        |error| matches!(error, DerError::TooLong { length: 4097 }),
    );
    kit.refused(
        "public: a private key",
        read(signing_key(3).to_pkcs8_der().expose()),
        malformed,
    );
    kit.refused(
        "public: a byte behind",
        read(&longer(&sample, &[0])),
        malformed,
    );
    let inside = element(SEQUENCE, &[&sample[2..], &NULL]);
    kit.refused("public: a null behind the key", read(&inside), malformed);
    kit.refused(
        "public: of 31 bytes",
        of(&algorithm, &public[..32]),
        malformed,
    );
    kit.refused(
        "public: of 33 bytes",
        of(&algorithm, &longer(public, &[0])),
        malformed,
    );
    kit.refused(
        "public: without the unused bits",
        of(&algorithm, &public[1..]),
        malformed,
    );
    kit.refused(
        "public: with an unused bit",
        of(&algorithm, &with_byte(public, 0, 1)),
        malformed,
    );
    kit.refused("public: of no bits", of(&algorithm, &[]), malformed);
    kit.refused(
        "public: in an octet string",
        read(&with_byte(&sample, 9, OCTET_STRING)),
        malformed,
    );
    kit.refused(
        "public: for X25519",
        read(&with_byte(&sample, 8, 0x6e)),
        other_algorithm,
    );
    let with_null = element(SEQUENCE, &[&ED25519, &NULL]);
    kit.refused(
        "public: parameters of the algorithm",
        of(&with_null, public),
        malformed,
    );
    kit.refused(
        "public: a length in one byte too many",
        read(&spliced(&sample, 1..2, &[0x81, 42])),
        malformed,
    );
    let weak = with(public, 1, &with_byte(&[0; 32], 0, 1));
    kit.refused(
        "public: the neutral point",
        of(&algorithm, &weak),
        |error| matches!(error, DerError::PublicKey(KeyRejected::Weak)),
    );
    let none = with(public, 1, &with_byte(&[0; 32], 0, 2));
    kit.refused("public: no point", of(&algorithm, &none), |error| {
        matches!(error, DerError::PublicKey(KeyRejected::NotCanonical))
    });
}

fn agreement_keys(kit: &mut Kit) {
    let key = AgreementKey::from_bytes(&SecretArray::from_bytes([4; 32]));
    let private = agreement_key_to_pkcs8(&key);
    let private = private.expose();
    let public = agreement_public_to_spki(&key.public());
    kit.accepted("a key of X25519", agreement_key_from_pkcs8(private));
    kit.accepted(
        "a public key of X25519",
        agreement_public_from_spki(&public),
    );
    let read = |bytes: &[u8]| agreement_key_from_pkcs8(bytes);
    let signing = signing_key(3);
    kit.refused(
        "X25519: a key of Ed25519",
        read(signing.to_pkcs8_der().expose()),
        other_algorithm,
    );
    kit.refused(
        "X25519: a byte behind",
        read(&longer(private, &[0])),
        malformed,
    );
    kit.refused(
        "X25519: version 2 without a public key",
        read(&with_byte(private, 4, 1)),
        malformed,
    );
    let claimed = |public: &[u8]| {
        let algorithm = element(SEQUENCE, &[&[0x06, 0x03, 0x2b, 0x65, 0x6e]]);
        let claimed = element(0x81, &[&[0], public]);
        read(&pkcs8(&[
            &VERSION_2,
            &algorithm,
            &wrapped(&[4; 32]),
            &claimed,
        ]))
    };
    kit.accepted(
        "X25519 with its public key",
        claimed(key.public().as_bytes()),
    );
    kit.refused(
        "X25519: another key's public key",
        claimed(&[9; 32]),
        |error| matches!(error, DerError::PublicKeyDiffers),
    );
    let read = |bytes: &[u8]| agreement_public_from_spki(bytes);
    let spki = signing.verifying_key().to_spki();
    kit.refused(
        "X25519: a public key of Ed25519",
        read(&spki),
        other_algorithm,
    );
    kit.refused(
        "X25519: a private key for a public one",
        read(private),
        malformed,
    );
    kit.refused(
        "X25519: a public key cut short",
        read(&shorter(&public, 1)),
        malformed,
    );
    kit.refused(
        "X25519: a public key with an unused bit",
        read(&with_byte(&public, 11, 1)),
        malformed,
    );
}
