//! Ed25519 and X25519 keys in PEM.

use sealmoot_crypto::hazmat::der::DerError;
use sealmoot_crypto::hazmat::pem::{
    PEM_LENGTH_MAX, PemError, agreement_key_from_pem, agreement_public_from_pem,
    signing_key_from_pem, verifying_key_from_pem,
};
use sealmoot_crypto::signature::KeyRejected;

use crate::kit::{
    Kit, element, longer, pem_lines, pem_text, replaced, report, signing_key, unhex, with,
};

const BEGIN: &str = "-----BEGIN PRIVATE KEY-----\n";
const END: &str = "-----END PRIVATE KEY-----\n";

#[test]
fn pem() {
    report("pem", family());
}

pub(crate) fn family() -> usize {
    let mut kit = Kit::new("pem");
    boundaries(&mut kit);
    base64(&mut kit);
    labels(&mut kit);
    contents(&mut kit);
    kit.count()
}

fn sample() -> String {
    let text = pem_text("PRIVATE KEY", signing_key(3).to_pkcs8_der().expose());
    assert!(text.starts_with(BEGIN) && text.ends_with(END));
    text
}

fn read(text: &str) -> Result<(), PemError> {
    signing_key_from_pem(text.as_bytes()).map(|_| ())
}

fn malformed(error: &PemError) -> bool {
    matches!(error, PemError::Malformed)
}

fn boundaries(kit: &mut Kit) {
    let sample = sample();
    kit.accepted("a key", read(&sample));
    kit.accepted(
        "a key with line ends of Windows",
        read(&sample.replace('\n', "\r\n")),
    );
    let edited = |from: &str, to: &str| read(&replaced(&sample, from, to));
    kit.refused("empty", read(""), malformed);
    kit.refused("a line end only", read("\n"), malformed);
    kit.refused(
        "an empty line before",
        read(&format!("\n{sample}")),
        malformed,
    );
    kit.refused(
        "words before",
        read(&format!("Alice's key:\n{sample}")),
        malformed,
    );
    kit.refused(
        "a byte order mark",
        read(&format!("\u{feff}{sample}")),
        malformed,
    );
    kit.refused(
        "words behind",
        read(&format!("{sample}Alice's key")),
        malformed,
    );
    kit.refused("two keys", read(&format!("{sample}{sample}")), malformed);
    kit.refused("no beginning", read(&sample[BEGIN.len()..]), malformed);
    kit.refused("no end", edited(END, ""), malformed);
    kit.refused("only a beginning", read(BEGIN), malformed);
    kit.refused(
        "an end cut short",
        edited(END, "-----END PRIVATE KEY----"),
        malformed,
    );
    kit.refused(
        "a dash less",
        edited(BEGIN, "----BEGIN PRIVATE KEY-----\n"),
        malformed,
    );
    kit.refused("in lower case", edited("BEGIN", "begin"), malformed);
    kit.refused(
        "an end of another kind",
        edited(END, "-----END PUBLIC KEY-----\n"),
        malformed,
    );
    kit.refused("the beginning at the end", edited(END, BEGIN), malformed);
    kit.refused("nothing inside", read(&format!("{BEGIN}{END}")), malformed);
    kit.refused(
        "all on one line",
        read(&sample.replace('\n', "")),
        malformed,
    );
    let utf_16: Vec<u8> = sample.encode_utf16().flat_map(u16::to_le_bytes).collect();
    kit.refused("UTF-16", signing_key_from_pem(&utf_16), malformed);
    let header = format!("{BEGIN}Proc-Type: 4,ENCRYPTED\nDEK-Info: AES-128-CBC,00\n\n");
    kit.refused("headers of RFC 1421", edited(BEGIN, &header), malformed);
    kit.refused(
        "SSH2's form of it",
        read("---- BEGIN SSH2 PUBLIC KEY ----\n"),
        malformed,
    );
    let long = "x".repeat(PEM_LENGTH_MAX + 1);
    kit.refused("4097 bytes", read(&long), |error| {
        matches!(error, PemError::TooLong { length: 4097 })
    });
}

fn base64(kit: &mut Kit) {
    let sample = sample();
    let der = signing_key(3).to_pkcs8_der();
    let inside = &sample[BEGIN.len()..sample.len() - END.len() - 1];
    assert_eq!(inside.len(), 64, "one full line, without padding");
    let of = |inside: &str| read(&format!("{BEGIN}{inside}\n{END}"));
    kit.accepted("the same, put together again", of(inside));
    kit.refused("a letter left out", of(&inside[..63]), malformed);
    kit.refused("a letter too many", of(&format!("{inside}A")), malformed);
    kit.refused(
        "a letter that is none",
        of(&replaced(inside, "MC4", "M?4")),
        malformed,
    );
    kit.refused(
        "letters of Base64 for addresses",
        of(&replaced(inside, "MC4", "M-_")),
        malformed,
    );
    kit.refused(
        "a letter that is not ASCII",
        of(&replaced(inside, "MC4", "Mä")),
        malformed,
    );
    kit.refused("a NUL", of(&replaced(inside, "MC4", "M\x004")), malformed);
    kit.refused(
        "a space among the letters",
        of(&replaced(inside, "MC4", "M 4")),
        malformed,
    );
    kit.refused(
        "padding that is not needed",
        of(&format!("{inside}====")),
        malformed,
    );
    kit.refused(
        "padding among the letters",
        of(&replaced(inside, "MC4C", "MC==")),
        malformed,
    );
    kit.refused(
        "a space before the letters",
        of(&format!(" {inside}")),
        malformed,
    );
    kit.refused(
        "a space behind the letters",
        of(&format!("{inside} ")),
        malformed,
    );
    kit.refused(
        "two empty lines behind the letters",
        of(&format!("{inside}\n\n")),
        malformed,
    );
    kit.refused(
        "an empty line among the letters",
        of(&format!("{}\n\n{}", &inside[..32], &inside[32..])),
        malformed,
    );
    kit.refused(
        "lines of 32 letters",
        read(&pem_lines("PRIVATE KEY", 32, der.expose())),
        malformed,
    );
    kit.refused(
        "lines of 60 letters",
        read(&pem_lines("PRIVATE KEY", 60, der.expose())),
        malformed,
    );
    let two_lines = longer(der.expose(), &[0; 24]);
    kit.refused(
        "lines of 76 letters",
        read(&pem_lines("PRIVATE KEY", 76, &two_lines)),
        malformed,
    );
    let padded = pem_text("PRIVATE KEY", &longer(der.expose(), &[0]));
    kit.refused(
        "padding left out",
        read(&replaced(&padded, "AA==", "AA")),
        malformed,
    );
    kit.refused(
        "half of the padding",
        read(&replaced(&padded, "AA==", "AA=")),
        malformed,
    );
    kit.refused(
        "bits behind the end",
        read(&replaced(&padded, "AA==", "AB==")),
        malformed,
    );
    kit.refused(
        "letters behind the padding",
        read(&replaced(&padded, "AA==", "AA==AAAA")),
        malformed,
    );
}

fn labels(kit: &mut Kit) {
    let der = signing_key(3).to_pkcs8_der();
    let labelled = |label| read(&pem_text(label, der.expose()));
    let other = |expected_label: &'static str| {
        move |error: &PemError| {
            matches!(
                error,
                PemError::OtherLabel { found, expected: "PRIVATE KEY" } if found == expected_label
            )
        }
    };
    kit.refused(
        "a public key's label",
        labelled("PUBLIC KEY"),
        other("PUBLIC KEY"),
    );
    kit.refused(
        "RSA's label",
        labelled("RSA PRIVATE KEY"),
        other("RSA PRIVATE KEY"),
    );
    kit.refused(
        "SEC 1's label",
        labelled("EC PRIVATE KEY"),
        other("EC PRIVATE KEY"),
    );
    kit.refused(
        "a certificate's label",
        labelled("CERTIFICATE"),
        other("CERTIFICATE"),
    );
    kit.refused(
        "OpenSSH's label",
        labelled("OPENSSH PRIVATE KEY"),
        other("OPENSSH PRIVATE KEY"),
    );
    kit.refused(
        "a label in lower case",
        labelled("private key"),
        other("private key"),
    );
    kit.refused(
        "an encrypted key's label",
        labelled("ENCRYPTED PRIVATE KEY"),
        |error| matches!(error, PemError::Encrypted),
    );
    let two_spaces = sample().replace("PRIVATE KEY", "PRIVATE  KEY");
    kit.refused("a label with two spaces", read(&two_spaces), |error| {
        matches!(error, PemError::Malformed)
    });
    let sample = sample();
    let public = |text: &str| verifying_key_from_pem(text.as_bytes());
    kit.refused("a private key for a public one", public(&sample), |error| {
        matches!(
            error,
            PemError::OtherLabel { found, expected: "PUBLIC KEY" } if found == "PRIVATE KEY"
        )
    });
    kit.refused(
        "a private key for X25519's public one",
        agreement_public_from_pem(sample.as_bytes()),
        |error| {
            matches!(
                error,
                PemError::OtherLabel {
                    expected: "PUBLIC KEY",
                    ..
                }
            )
        },
    );
    let spki = signing_key(3).verifying_key().to_spki();
    let text = pem_text("PUBLIC KEY", &spki);
    kit.refused(
        "a public key for X25519's private one",
        agreement_key_from_pem(text.as_bytes()),
        |error| {
            matches!(
                error,
                PemError::OtherLabel {
                    expected: "PRIVATE KEY",
                    ..
                }
            )
        },
    );
}

fn contents(kit: &mut Kit) {
    let der = signing_key(3).to_pkcs8_der();
    let holding = |der: &[u8]| read(&pem_text("PRIVATE KEY", der));
    let malformed = |error: &PemError| matches!(error, PemError::Der(DerError::Malformed));
    let other = |error: &PemError| matches!(error, PemError::Der(DerError::OtherAlgorithm));
    kit.refused("DER cut short", holding(&der.expose()[..45]), malformed);
    kit.refused(
        "a byte behind the DER",
        holding(&longer(der.expose(), &[0])),
        malformed,
    );
    kit.refused("one byte of DER", holding(&[0x30]), malformed);
    kit.refused("the bare seed", holding(&[3; 32]), malformed);
    kit.refused(
        "a key of X25519",
        holding(&with(der.expose(), 11, &[0x6e])),
        other,
    );
    kit.refused(
        "a key of PKCS #8 version 3",
        holding(&with(der.expose(), 4, &[2])),
        |error| matches!(error, PemError::Der(DerError::UnknownVersion)),
    );
    let rsa = element(0x30, &[&unhex("06092a864886f70d010101"), &[5, 0]]);
    let rsa = element(0x30, &[&[2, 1, 0], &rsa, &element(4, &[&[0x30, 0]])]);
    kit.refused("a key of RSA", holding(&rsa), other);

    let spki = signing_key(3).verifying_key().to_spki();
    let holding = |der: &[u8]| verifying_key_from_pem(pem_text("PUBLIC KEY", der).as_bytes());
    kit.accepted("a public key", holding(&spki));
    kit.refused(
        "a public key of X25519",
        holding(&with(&spki, 8, &[0x6e])),
        other,
    );
    kit.refused(
        "a weak public key",
        holding(&with(&spki, 12, &[0; 32])),
        |error| matches!(error, PemError::Der(DerError::PublicKey(KeyRejected::Weak))),
    );
    let text = pem_text("PUBLIC KEY", &spki);
    kit.refused(
        "a public key for X25519",
        agreement_public_from_pem(text.as_bytes()),
        other,
    );
    kit.refused(
        "a signing key for X25519",
        agreement_key_from_pem(sample().as_bytes()),
        other,
    );
}
