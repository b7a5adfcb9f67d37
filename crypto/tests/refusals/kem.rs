//! ML-KEM-768: keys, seeds and ciphertexts, and what decapsulates to another secret.

use sealmoot_crypto::hazmat::raw::{self, RawKeyError};
use sealmoot_crypto::kem::{
    CIPHERTEXT_LENGTH, Ciphertext, DecapsulationKey, ENCAPSULATION_KEY_LENGTH, EncapsulationKey,
    KeyRejected, WrongCiphertextLength,
};

use crate::kit::{Kit, flipped, longer, report, shorter, with};

/// Where rho stands, behind 768 coefficients of 12 bits.
const RHO_AT: usize = 1152;

#[test]
fn kem() {
    report("kem", family());
}

pub(crate) fn family() -> usize {
    let mut kit = Kit::new("kem");
    keys(&mut kit);
    ciphertexts(&mut kit);
    seeds(&mut kit);
    secrets(&mut kit);
    kit.count()
}

fn key(seed: u8) -> DecapsulationKey {
    raw::import_decapsulation_key(&[seed; 64]).expect("64 bytes are a seed")
}

fn keys(kit: &mut Kit) {
    let sample = key(4).encapsulation_key().to_bytes();
    let read = |bytes: &[u8]| EncapsulationKey::from_bytes(bytes);
    let length =
        |found: usize| move |error: &KeyRejected| *error == KeyRejected::WrongLength { found };
    let not_canonical = |error: &KeyRejected| matches!(error, KeyRejected::NotCanonical);
    // Two coefficients share three bytes: the low twelve bits, the high twelve.
    let pair =
        |at: usize, low: u32, high: u32| with(&sample, at, &(low | high << 12).to_le_bytes()[..3]);
    kit.accepted("a key", read(&sample));
    kit.accepted("coefficients of 3328", read(&pair(0, 3328, 3328)));
    kit.refused("key: empty", read(&[]), length(0));
    kit.refused("key: a byte less", read(&shorter(&sample, 1)), length(1183));
    kit.refused(
        "key: a byte more",
        read(&longer(&sample, &[0])),
        length(1185),
    );
    kit.refused("key: of ML-KEM-512", read(&sample[..800]), length(800));
    kit.refused(
        "key: of ML-KEM-1024",
        read(&longer(&sample, &[0; 384])),
        length(1568),
    );
    kit.refused(
        "key: of X-Wing",
        read(&longer(&sample, &[9; 32])),
        length(1216),
    );
    kit.refused("key: without rho", read(&sample[..RHO_AT]), length(RHO_AT));
    kit.refused("key: a private key's seed", read(&[4; 64]), length(64));
    kit.refused(
        "key: the first coefficient 3329",
        read(&pair(0, 3329, 0)),
        not_canonical,
    );
    kit.refused(
        "key: the second coefficient 3329",
        read(&pair(0, 0, 3329)),
        not_canonical,
    );
    kit.refused(
        "key: the first coefficient 4095",
        read(&pair(0, 4095, 0)),
        not_canonical,
    );
    kit.refused(
        "key: a coefficient of the second polynomial",
        read(&pair(384, 3330, 1)),
        not_canonical,
    );
    kit.refused(
        "key: a coefficient of the third polynomial",
        read(&pair(768, 1, 3330)),
        not_canonical,
    );
    kit.refused(
        "key: the last coefficient 3329",
        read(&pair(RHO_AT - 3, 0, 3329)),
        not_canonical,
    );
    kit.refused(
        "key: all bits",
        read(&[0xff; ENCAPSULATION_KEY_LENGTH]),
        not_canonical,
    );
    let rho_first = [&sample[RHO_AT..], &sample[..RHO_AT]].concat();
    kit.refused(
        "key: rho before the coefficients",
        read(&rho_first),
        not_canonical,
    );
}

fn ciphertexts(kit: &mut Kit) {
    let read = |length| Ciphertext::from_bytes(&vec![7; length]);
    let length = |found: usize| {
        move |error: &WrongCiphertextLength| *error == WrongCiphertextLength { found }
    };
    kit.accepted("a ciphertext", read(CIPHERTEXT_LENGTH));
    kit.refused("ciphertext: empty", read(0), length(0));
    kit.refused("ciphertext: a byte less", read(1087), length(1087));
    kit.refused("ciphertext: a byte more", read(1089), length(1089));
    kit.refused("ciphertext: of ML-KEM-512", read(768), length(768));
    kit.refused("ciphertext: of ML-KEM-1024", read(1568), length(1568));
    kit.refused("ciphertext: of X-Wing", read(1120), length(1120));
}

fn seeds(kit: &mut Kit) {
    let read = raw::import_decapsulation_key;
    let length = |found: usize| move |error: &RawKeyError| matches!(error, RawKeyError::WrongLength { expected: 64, length } if *length == found);
    kit.refused("seed: empty", read(&[]), length(0));
    kit.refused("seed: without z", read(&[4; 32]), length(32));
    kit.refused("seed: a byte more", read(&[4; 65]), length(65));
    // FIPS 203's decapsulation key, which is not stored here.
    kit.refused(
        "seed: a key expanded from one",
        read(&[4; 2400]),
        length(2400),
    );
    kit.refused("seed: zeros", read(&[0; 64]), |error| {
        matches!(error, RawKeyError::AllZero)
    });
}

/// Decapsulation does not fail (FIPS 203 section 6.3): what is refused is the secret,
/// by the key confirmation that a caller makes of it.
fn secrets(kit: &mut Kit) {
    #[derive(Debug)]
    struct AnotherSecret;
    let key_4 = key(4);
    let (sample, secret) = key_4.encapsulation_key().encapsulate().expect("random");
    let (of_another, _) = key_4.encapsulation_key().encapsulate().expect("random");
    let confirm = |key: &DecapsulationKey, ciphertext: &[u8]| {
        let ciphertext = Ciphertext::from_bytes(ciphertext).expect("1088 bytes");
        match key.decapsulate(&ciphertext).same_as(&secret) {
            true => Ok(()),
            false => Err(AnotherSecret),
        }
    };
    let another = |error: &AnotherSecret| matches!(error, AnotherSecret);
    let sample = sample.as_bytes();
    kit.accepted("a secret", confirm(&key_4, sample));
    kit.refused(
        "secret: first part changed",
        confirm(&key_4, &flipped(sample, 0)),
        another,
    );
    kit.refused(
        "secret: second part changed",
        confirm(&key_4, &flipped(sample, 1087)),
        another,
    );
    kit.refused(
        "secret: a ciphertext of zeros",
        confirm(&key_4, &[0; 1088]),
        another,
    );
    let mixed = with(sample, 960, &of_another.as_bytes()[960..]);
    kit.refused(
        "secret: parts of two ciphertexts",
        confirm(&key_4, &mixed),
        another,
    );
    kit.refused(
        "secret: of another encapsulation",
        confirm(&key_4, of_another.as_bytes()),
        another,
    );
    kit.refused(
        "secret: under another key",
        confirm(&key(5), sample),
        another,
    );
    let other_z = [[4u8; 32], [5; 32]].concat();
    let other_z = raw::import_decapsulation_key(&other_z).expect("a seed");
    kit.accepted("another z", confirm(&other_z, sample));
    let rejected = |key: &DecapsulationKey| {
        let zeros = Ciphertext::from_bytes(&[0; 1088]).expect("1088 bytes");
        key.decapsulate(&zeros)
    };
    let same = match rejected(&key_4).same_as(&rejected(&other_z)) {
        true => Ok(()),
        false => Err(AnotherSecret),
    };
    kit.refused("secret: the rejected one of another z", same, another);
}
