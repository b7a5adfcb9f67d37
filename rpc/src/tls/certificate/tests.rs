use std::io::Write;
use std::process::{Command, Stdio};

use sealmoot_crypto::secret::SecretArray;
use sealmoot_crypto::signature::KeyRejected;

use super::*;

const SPKI: std::ops::Range<usize> = 112..156;
const POINT: std::ops::Range<usize> = 124..156;

fn key(seed: u8) -> SigningKey {
    SigningKey::from_seed(&SecretArray::from_bytes([seed; 32]))
}

fn import(der: &[u8]) -> Result<VerifyingKey, PeerKeyRejected> {
    key_of(&CertificateDer::from(der))
}

/// Gives `input` to `openssl`, and returns what it says; nothing when there is
/// no openssl.
fn openssl(test: &str, arguments: &[&str], input: &[u8]) -> Option<(bool, String)> {
    let mut child = match Command::new("openssl")
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
    {
        Ok(child) => child,
        Err(error) => {
            eprintln!("SKIPPED {test}: openssl does not run: {error}");
            return None;
        }
    };
    child
        .stdin
        .take()
        .expect("piped")
        .write_all(input)
        .expect("openssl reads");
    let output = child.wait_with_output().expect("openssl ends");
    let said = [output.stdout, output.stderr].concat();
    Some((
        output.status.success(),
        String::from_utf8_lossy(&said).into_owned(),
    ))
}

#[test]
fn the_bytes_are_as_drawn() {
    let key = key(1);
    let der = self_signed_certificate(&key);
    assert_eq!(der.len(), 230);
    assert_eq!(der[..6], [0x30, 0x81, 0xe3, 0x30, 0x81, 0x96]);
    assert_eq!(der[6..13], [0xa0, 3, 2, 1, 2, 2, 0x10]);
    assert_eq!(der[14..29], key.verifying_key().key_id().as_bytes()[1..16]);
    assert_eq!(der[29..36], *ED25519);
    assert_eq!(der[36..57], der[91..112], "subject and issuer");
    assert_eq!(&der[49..57], NAME);
    assert_eq!(&der[61..74], NOT_BEFORE);
    assert_eq!(&der[76..91], NOT_AFTER);
    assert_eq!(der[SPKI], key.verifying_key().to_spki());
    assert_eq!(der[156..163], *ED25519);
    assert_eq!(der[163..166], [3, 0x41, 0]);
}

#[test]
fn a_key_has_one_certificate_and_another_key_another() {
    assert_eq!(
        self_signed_certificate(&key(1)),
        self_signed_certificate(&key(1))
    );
    let (one, other) = (
        self_signed_certificate(&key(1)),
        self_signed_certificate(&key(2)),
    );
    assert_ne!(one[11..29], other[11..29], "serial number");
    assert_ne!(one[SPKI], other[SPKI]);
}

#[test]
fn the_serial_number_is_positive_and_of_full_length() {
    for seed in 0..=255 {
        let serial = serial(&key(seed).verifying_key());
        assert!((0x40..0x80).contains(&serial[0]), "seed {seed}");
    }
}

#[test]
fn it_is_signed_by_its_own_key() {
    let key = key(3);
    let der = self_signed_certificate(&key);
    ring::signature::UnparsedPublicKey::new(
        &ring::signature::ED25519,
        key.verifying_key().to_bytes(),
    )
    .verify(&der[3..156], &der[166..])
    .expect("a signature over what is to be signed");
}

#[test]
fn openssl_reads_every_field() {
    let key = key(4);
    let der = self_signed_certificate(&key);
    let arguments = ["x509", "-inform", "DER", "-noout", "-text"];
    let Some((well, text)) = openssl("openssl_reads_every_field", &arguments, &der) else {
        return;
    };
    assert!(well, "{text}");
    let serial: Vec<_> = der[13..29]
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    for part in [
        "Version: 3 (0x2)",
        "Issuer: CN = sealmoot",
        "Subject: CN = sealmoot",
        "Not Before: Jan  1 00:00:00 1970 GMT",
        "Not After : Dec 31 23:59:59 9999 GMT",
        "Public Key Algorithm: ED25519",
        "Signature Algorithm: ED25519",
        &serial.join(":"),
    ] {
        assert!(text.contains(part), "{part} is not in {text}");
    }
}

#[test]
fn openssl_verifies_it_by_itself_and_strictly() {
    const NAME: &str = "openssl_verifies_it_by_itself_and_strictly";
    let der = self_signed_certificate(&key(5));
    let to_pem = ["x509", "-inform", "DER"];
    let Some((_, pem)) = openssl(NAME, &to_pem, &der) else {
        return;
    };
    let path = std::env::temp_dir().join(format!("{NAME}.{}.pem", std::process::id()));
    std::fs::write(&path, &pem).expect("a temporary file");
    let path_text = path.to_str().expect("UTF-8");
    let arguments = [
        "verify",
        "-check_ss_sig",
        "-x509_strict",
        "-CAfile",
        path_text,
    ];
    let verified = openssl(NAME, &arguments, pem.as_bytes());
    std::fs::remove_file(&path).expect("written before");
    let (well, said) = verified.expect("it ran before");
    assert!(well, "{said}");
}

#[test]
fn a_flipped_bit_is_refused_or_leaves_a_sound_key() {
    let key = key(6);
    let der = self_signed_certificate(&key);
    let (mut refused, mut other) = (0, 0);
    for bit in 0..der.len() * 8 {
        let mut flipped = der.to_vec();
        flipped[bit / 8] ^= 1 << (bit % 8);
        match import(&flipped) {
            Ok(imported) if POINT.contains(&(bit / 8)) => {
                assert_eq!(imported.to_bytes(), flipped[POINT], "bit {bit}");
                assert_ne!(imported, key.verifying_key(), "bit {bit}");
                other += 1;
            }
            Ok(imported) => assert_eq!(imported, key.verifying_key(), "bit {bit}"),
            Err(_) => refused += 1,
        }
    }
    // About half of all values are the y of a point.
    assert!(other > 64, "{other} other keys");
    assert!(refused > 256, "{refused} refused");
}

#[test]
fn every_bit_around_the_key_counts() {
    let der = self_signed_certificate(&key(6));
    for bit in SPKI.start * 8..POINT.start * 8 {
        let mut flipped = der.to_vec();
        flipped[bit / 8] ^= 1 << (bit % 8);
        assert!(import(&flipped).is_err(), "bit {bit}");
    }
}

#[test]
fn a_truncated_certificate_is_refused() {
    let der = self_signed_certificate(&key(7));
    for length in 0..der.len() {
        assert_eq!(
            import(&der[..length]),
            Err(PeerKeyRejected::CertificateMalformed),
            "{length} bytes"
        );
    }
}

#[test]
fn a_byte_behind_the_certificate_is_refused() {
    let mut der = self_signed_certificate(&key(8)).to_vec();
    der.push(0);
    assert_eq!(import(&der), Err(PeerKeyRejected::CertificateMalformed));
}

#[test]
fn two_certificates_as_one_are_refused() {
    let der = self_signed_certificate(&key(8));
    let twice = [&der[..], &der[..]].concat();
    assert_eq!(import(&twice), Err(PeerKeyRejected::CertificateMalformed));
}

#[test]
fn a_length_not_in_its_shortest_form_is_refused() {
    let der = self_signed_certificate(&key(9));
    let longer = [&[0x30, 0x82, 0x00, 0xe3], &der[3..]].concat();
    assert_eq!(import(&longer), Err(PeerKeyRejected::CertificateMalformed));
}

#[test]
fn an_oversized_certificate_is_refused_before_it_is_parsed() {
    for (length, error) in [
        (CERTIFICATE_BYTES_MAX, PeerKeyRejected::CertificateMalformed),
        (
            CERTIFICATE_BYTES_MAX + 1,
            PeerKeyRejected::CertificateTooLong,
        ),
    ] {
        assert_eq!(import(&vec![0x30; length]), Err(error));
    }
}

#[test]
fn a_key_of_another_kind_is_refused() {
    let mut der = self_signed_certificate(&key(10)).to_vec();
    // X25519's identifier.
    der[SPKI.start + 8] = 0x6e;
    assert_eq!(
        import(&der),
        Err(PeerKeyRejected::Key(KeyRejected::Malformed))
    );
}

#[test]
fn a_weak_key_is_refused() {
    let mut der = self_signed_certificate(&key(11)).to_vec();
    der[POINT].fill(0);
    assert_eq!(import(&der), Err(PeerKeyRejected::Key(KeyRejected::Weak)));
}

#[test]
fn names_dates_and_the_own_signature_mean_nothing() {
    let key = key(12);
    let mut der = self_signed_certificate(&key).to_vec();
    der[49..57].copy_from_slice(b"mallory!");
    der[61..74].copy_from_slice(b"991231235959Z");
    der[166..].fill(0);
    assert_eq!(import(&der), Ok(key.verifying_key()));
}
