use std::prelude::v1::*;

use hpke::Deserializable;

use super::*;
use crate::backend::Backend;
use crate::backend::aead::{AeadKey, Cipher};
use crate::digest::sha256;
use crate::testing::{hex, unhex};

const CONTEXT: &str = "letter";
const DATA: &[u8] = b"number 7";
const TEXT: &[u8] = b"at noon";

fn generate(kem: Kem) -> PrivateKey {
    PrivateKey::generate(kem).expect("random")
}

/// A box of each kind and KEM, and how to open it: as one type, so that every test
/// below runs over all five.
struct Sample {
    name: &'static str,
    kem: Kem,
    recipient: PrivateKey,
    sender: PrivateKey,
    signer: SigningKey,
    kind: Kind,
    sealed: Vec<u8>,
}

impl Sample {
    fn all() -> Vec<Self> {
        [
            ("X25519", Kem::X25519, Kind::Base),
            ("X25519 from a sender", Kem::X25519, Kind::Authenticated),
            ("X25519 signed", Kem::X25519, Kind::Signed),
            ("X-Wing", Kem::XWing, Kind::Base),
            ("X-Wing signed", Kem::XWing, Kind::Signed),
        ]
        .into_iter()
        .map(|(name, kem, kind)| {
            let mut sample = Self {
                name,
                kem,
                recipient: generate(kem),
                sender: generate(Kem::X25519),
                signer: SigningKey::generate().expect("random"),
                kind,
                sealed: Vec::new(),
            };
            sample.sealed = sample.seal(&sample.recipient.public_key(), TEXT);
            sample
        })
        .collect()
    }

    fn seal(&self, recipient: &PublicKey, text: &[u8]) -> Vec<u8> {
        match self.kind {
            Kind::Base => seal(recipient, CONTEXT, DATA, text).expect("random"),
            Kind::Authenticated => {
                seal_from(&self.sender, recipient, CONTEXT, DATA, text).expect("X25519")
            }
            Kind::Signed => {
                seal_signed(&self.signer, recipient, CONTEXT, DATA, text).expect("random")
            }
        }
    }

    /// `None` stands for a signature that does not verify.
    fn open_with(
        &self,
        recipient: &PrivateKey,
        context: &str,
        data: &[u8],
        sealed: &[u8],
    ) -> Result<SecretBytes, Option<OpenError>> {
        match self.kind {
            Kind::Base => open(recipient, context, data, sealed).map_err(Some),
            Kind::Authenticated => {
                match open_from(&self.sender.public_key(), recipient, context, data, sealed) {
                    Ok(text) => Ok(text),
                    Err(OpenFromError::Open(error)) => Err(Some(error)),
                    Err(OpenFromError::NotX25519) => unreachable!("both keys are of X25519"),
                }
            }
            Kind::Signed => {
                match open_signed(
                    &self.signer.verifying_key(),
                    recipient,
                    context,
                    data,
                    sealed,
                ) {
                    Ok(text) => Ok(text),
                    Err(OpenSignedError::Open(error)) => Err(Some(error)),
                    Err(OpenSignedError::Signature(_)) => Err(None),
                }
            }
        }
    }

    fn open(&self, sealed: &[u8]) -> Result<SecretBytes, Option<OpenError>> {
        self.open_with(&self.recipient, CONTEXT, DATA, sealed)
    }

    /// What a box that is well formed but not right comes to.
    fn refusal(&self) -> Option<OpenError> {
        match self.kind {
            Kind::Base | Kind::Authenticated => Some(OpenError::Authentication),
            Kind::Signed => None,
        }
    }
}

#[test]
fn what_is_sealed_opens() {
    for sample in Sample::all() {
        let text = sample.open(&sample.sealed).expect(sample.name);
        assert_eq!(text.expose(), TEXT, "{}", sample.name);
        let overhead = sample.kem.overhead() + sample.kind.signature_length();
        for length in [0, 1, 64, 70_000] {
            let text = vec![0x41; length];
            let sealed = sample.seal(&sample.recipient.public_key(), &text);
            assert_eq!(sealed.len(), length + overhead);
            assert_eq!(sample.open(&sealed).expect(sample.name).expose(), text);
        }
    }
}

#[test]
fn a_box_begins_with_version_kind_and_kem() {
    let headers: Vec<_> = Sample::all()
        .iter()
        .map(|sample| hex(&sample.sealed[..4]))
        .collect();
    assert_eq!(
        headers,
        ["01002000", "01012000", "01022000", "01007a64", "01027a64"]
    );
    assert_eq!((Kem::X25519.overhead(), Kem::XWing.overhead()), (84, 1172));
}

#[test]
fn two_boxes_of_one_text_have_nothing_in_common() {
    for sample in Sample::all() {
        let again = sample.seal(&sample.recipient.public_key(), TEXT);
        assert_ne!(sample.sealed[4..36], again[4..36], "{}", sample.name);
        assert_ne!(
            sample.sealed[again.len() - 23..],
            again[again.len() - 23..],
            "{}",
            sample.name
        );
    }
}

#[test]
fn another_context_data_or_key_opens_nothing() {
    for sample in Sample::all() {
        let other = generate(sample.kem);
        let sealed = &sample.sealed;
        for outcome in [
            sample.open_with(&sample.recipient, "lettes", DATA, sealed),
            sample.open_with(&sample.recipient, "", DATA, sealed),
            sample.open_with(&sample.recipient, "letternumber 7", b"", sealed),
            sample.open_with(&sample.recipient, CONTEXT, b"number 8", sealed),
            sample.open_with(&sample.recipient, CONTEXT, b"", sealed),
            sample.open_with(&other, CONTEXT, DATA, sealed),
        ] {
            assert_eq!(outcome.err(), Some(sample.refusal()), "{}", sample.name);
        }
    }
}

#[test]
fn a_key_of_the_other_kem_is_told_so() {
    for sample in Sample::all() {
        let (other, found) = match sample.kem {
            Kem::X25519 => (Kem::XWing, Kem::X25519),
            Kem::XWing => (Kem::X25519, Kem::XWing),
        };
        if sample.kind == Kind::Authenticated {
            continue;
        }
        let outcome = sample.open_with(&generate(other), CONTEXT, DATA, &sample.sealed);
        assert_eq!(outcome.err(), Some(Some(OpenError::OtherKem { found })));
    }
}

#[test]
fn every_flipped_bit_is_refused() {
    for sample in Sample::all() {
        for byte in 0..sample.sealed.len() {
            for bit in 0..8 {
                // One bit of each byte of the long encapsulation; all of the rest.
                if sample.kem == Kem::XWing && (4..1124).contains(&byte) && bit != byte % 8 {
                    continue;
                }
                let mut changed = sample.sealed.clone();
                changed[byte] ^= 1 << bit;
                let error = sample.open(&changed).expect_err(sample.name);
                if byte >= HEADER_LENGTH {
                    assert_eq!(error, sample.refusal(), "{} {byte}.{bit}", sample.name);
                } else {
                    assert_ne!(error, None, "the header is read before the signature");
                }
            }
        }
    }
}

#[test]
fn every_truncation_is_refused() {
    for sample in Sample::all() {
        let shortest = sample.kem.overhead() + sample.kind.signature_length();
        for length in 0..sample.sealed.len() {
            let error = sample
                .open(&sample.sealed[..length])
                .expect_err(sample.name);
            if length < shortest {
                assert!(
                    matches!(
                        error,
                        Some(OpenError::Malformed(EncodingError::EndsEarly { .. }))
                    ),
                    "{} {length}: {error:?}",
                    sample.name
                );
            } else {
                assert_eq!(error, sample.refusal(), "{} {length}", sample.name);
            }
        }
        let mut longer = sample.sealed.clone();
        longer.push(0);
        assert_eq!(sample.open(&longer).err(), Some(sample.refusal()));
    }
}

#[test]
fn unknown_versions_kinds_and_kems_are_named() {
    let sample = &Sample::all()[0];
    for (byte, value, what, number) in [
        (0, 0, "version", 0),
        (0, 2, "version", 2),
        (1, 3, "kind", 3),
        (1, 255, "kind", 255),
        (2, 0x10, "KEM", 0x10),
    ] {
        let mut changed = sample.sealed.clone();
        changed[byte] = value;
        assert_eq!(
            sample.open(&changed).err(),
            Some(Some(OpenError::Malformed(EncodingError::Unknown {
                what,
                value: number
            })))
        );
    }
}

#[test]
fn a_box_of_one_kind_never_opens_as_another() {
    let samples = Sample::all();
    for made in &samples {
        for other in samples.iter().filter(|other| other.kem == made.kem) {
            if other.kind == made.kind {
                continue;
            }
            // As it is: the header says so.
            let opener = Sample {
                name: "",
                kem: made.kem,
                recipient: generate(made.kem),
                sender: PrivateKey::from_secret_bytes(
                    Kem::X25519,
                    made.sender.to_secret_bytes().expose(),
                )
                .expect("32 bytes"),
                signer: SigningKey::from_seed(&made.signer.to_seed()),
                kind: other.kind,
                sealed: Vec::new(),
            };
            let outcome = opener.open_with(&made.recipient, CONTEXT, DATA, &made.sealed);
            assert_eq!(outcome.err(), Some(Some(OpenError::OtherKind)));
            // With the header of the other kind, its signature cut out or put in.
            let mut forged = made.sealed.clone();
            forged[1] = opener.kind.number();
            let place = HEADER_LENGTH + made.kem.encapsulation_length();
            if made.kind == Kind::Signed {
                forged.drain(place..place + SIGNATURE_LENGTH);
            }
            if opener.kind == Kind::Signed {
                forged.splice(place..place, [0; SIGNATURE_LENGTH]);
            }
            let outcome = opener.open_with(&made.recipient, CONTEXT, DATA, &forged);
            assert_eq!(outcome.err(), Some(opener.refusal()), "{}", made.name);
        }
    }
}

#[test]
fn a_signature_cannot_be_replaced_by_another_senders() {
    for kem in Kem::ALL {
        let (alice, mallory) = (
            SigningKey::generate().expect("random"),
            SigningKey::generate().expect("random"),
        );
        let bob = generate(kem);
        let mut sealed =
            seal_signed(&alice, &bob.public_key(), CONTEXT, DATA, TEXT).expect("random");
        // Mallory, who cannot read it, signs Alice's box as her own.
        let parts = Parts::parse(Kind::Signed, kem, &sealed).expect("a box");
        let transcript = parts.transcript(&bob.public_key(), CONTEXT, DATA);
        let signature = mallory.sign(SIGNATURE_DOMAIN, &transcript).to_bytes();
        let place = HEADER_LENGTH + kem.encapsulation_length();
        sealed[place..place + SIGNATURE_LENGTH].copy_from_slice(&signature);
        let outcome = open_signed(&mallory.verifying_key(), &bob, CONTEXT, DATA, &sealed);
        assert_eq!(
            outcome.err(),
            Some(OpenSignedError::Open(OpenError::Authentication))
        );
    }
}

#[test]
fn a_recipient_cannot_pass_a_signed_box_on_as_sent_to_another() {
    // Bob can make a box for Carol with Alice's text, and has no signature for it.
    let alice = SigningKey::generate().expect("random");
    let (bob, carol) = (generate(Kem::X25519), generate(Kem::X25519));
    let sealed = seal_signed(&alice, &bob.public_key(), CONTEXT, DATA, TEXT).expect("random");
    let outcome = open_signed(&alice.verifying_key(), &carol, CONTEXT, DATA, &sealed);
    assert_eq!(
        outcome.err(),
        Some(OpenSignedError::Signature(BadSignature))
    );
}

#[test]
fn another_sender_is_refused() {
    let samples = Sample::all();
    for sample in &samples {
        let claimed = Sample {
            name: sample.name,
            kem: sample.kem,
            recipient: generate(sample.kem),
            sender: generate(Kem::X25519),
            signer: SigningKey::generate().expect("random"),
            kind: sample.kind,
            sealed: Vec::new(),
        };
        if sample.kind == Kind::Base {
            continue;
        }
        let outcome = claimed.open_with(&sample.recipient, CONTEXT, DATA, &sample.sealed);
        assert_eq!(outcome.err(), Some(sample.refusal()), "{}", sample.name);
    }
}

#[test]
fn only_x25519_authenticates_a_sender() {
    let (x25519, x_wing) = (generate(Kem::X25519), generate(Kem::XWing));
    for (sender, recipient) in [(&x25519, &x_wing), (&x_wing, &x25519), (&x_wing, &x_wing)] {
        assert!(matches!(
            seal_from(sender, &recipient.public_key(), CONTEXT, DATA, TEXT),
            Err(SealFromError::NotX25519)
        ));
        assert!(matches!(
            open_from(&sender.public_key(), recipient, CONTEXT, DATA, b""),
            Err(OpenFromError::NotX25519)
        ));
    }
}

/// The encodings of points of low order (cr.yp.to/ecdh.html), without the highest
/// bit, which X25519 ignores.
const LOW_ORDER: [&str; 7] = [
    "0000000000000000000000000000000000000000000000000000000000000000",
    "0100000000000000000000000000000000000000000000000000000000000000",
    "e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800",
    "5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157",
    "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
];

fn low_order_points() -> impl Iterator<Item = Vec<u8>> {
    LOW_ORDER.into_iter().flat_map(|point| {
        let point = unhex(point);
        let mut high = point.clone();
        high[31] |= 0x80;
        [point, high]
    })
}

#[test]
fn points_of_low_order_are_refused_on_import() {
    for kem in Kem::ALL {
        let good = generate(kem).public_key().to_bytes();
        for point in low_order_points() {
            let mut key = good.clone();
            key[good.len() - 32..].copy_from_slice(&point);
            assert_eq!(
                PublicKey::from_bytes(kem, &key),
                Err(KeyRejected::NotContributory),
                "{kem} {}",
                hex(&point)
            );
        }
    }
}

#[test]
fn points_of_low_order_are_refused_in_a_box() {
    for sample in Sample::all() {
        for point in low_order_points() {
            let mut sealed = sample.sealed.clone();
            let end = HEADER_LENGTH + sample.kem.encapsulation_length();
            sealed[end - 32..end].copy_from_slice(&point);
            assert_eq!(sample.open(&sealed).err(), Some(sample.refusal()));
        }
    }
}

#[test]
fn an_x_wing_box_made_with_a_zero_x25519_secret_is_refused() {
    // A sender who takes a low-order share knows X25519's half of the secret; the
    // draft lets such a box open all the same.
    let key = generate(Kem::XWing);
    let Private::XWing(private) = &key.0 else {
        unreachable!("an X-Wing key");
    };
    let mut sealed = seal(&key.public_key(), CONTEXT, DATA, TEXT).expect("random");
    sealed[1092..1124].fill(0);
    let encapsulation = Deserializable::from_bytes(&sealed[4..1124]).expect("1120 bytes");
    let shared = <XWing as hpke::Kem>::decap(private, None, &encapsulation);
    let shared = shared.expect("X-Wing refuses nothing").0;

    // HPKE's key schedule (RFC 9180 section 5.1), which such a sender runs.
    let suite = b"HPKE\x64\x7a\x00\x01\x00\x03";
    let mut info = b"sealmoot/v1/sealed box\x00".to_vec();
    info.extend_from_slice(&6u64.to_le_bytes());
    info.extend_from_slice(b"letter");
    let psk_id_hash = extracted(b"", suite, b"psk_id_hash", b"");
    let info_hash = extracted(b"", suite, b"info_hash", &info);
    let schedule = [&[0][..], &psk_id_hash, &info_hash].concat();
    let secret = extracted(&shared, suite, b"secret", b"");
    let (mut cipher_key, mut nonce) = ([0u8; 32], [0u8; 12]);
    expanded(&secret, suite, b"key", &schedule, &mut cipher_key);
    expanded(&secret, suite, b"base_nonce", &schedule, &mut nonce);
    let cipher = AeadKey::new(Backend::default(), Cipher::ChaCha20Poly1305, &cipher_key);
    let associated_data = [&sealed[..4], DATA].concat();
    let mut text = TEXT.to_vec();
    let tag = cipher.seal(&nonce, &associated_data, &mut text);
    sealed.truncate(1156);
    sealed.extend_from_slice(&text);
    sealed.extend_from_slice(&tag.expect("short"));
    let (commitment, opened) = by_hand::<XWing>(private, &sealed, 1120, 0, b"");
    sealed[1124..1156].copy_from_slice(&commitment);

    assert_eq!(opened.as_deref(), Some(TEXT), "HPKE alone opens it");
    assert_eq!(
        open(&key, CONTEXT, DATA, &sealed).err(),
        Some(OpenError::Authentication)
    );
}

/// `LabeledExtract` of RFC 9180 section 4.
fn extracted(salt: &[u8], suite: &[u8], label: &[u8], material: &[u8]) -> [u8; 32] {
    let labelled = [b"HPKE-v1", suite, label, material].concat();
    hkdf::Hkdf::<sha2::Sha256>::extract(Some(salt), &labelled)
        .0
        .into()
}

/// `LabeledExpand` of RFC 9180 section 4.
fn expanded(secret: &[u8; 32], suite: &[u8], label: &[u8], info: &[u8], output: &mut [u8]) {
    let length = (output.len() as u16).to_be_bytes();
    let labelled = [&length[..], b"HPKE-v1", suite, label, info].concat();
    hkdf::Hkdf::<sha2::Sha256>::from_prk(secret)
        .expect("32 bytes")
        .expand(&labelled, output)
        .expect("short");
}

/// Commitment and plaintext of a box, taken apart as the module's documentation says
/// and by nothing of its code.
fn by_hand<K: hpke::Kem>(
    recipient: &K::PrivateKey,
    sealed: &[u8],
    encapsulation_length: usize,
    signature_length: usize,
    signer: &[u8],
) -> ([u8; 32], Option<Vec<u8>>) {
    let (header, rest) = sealed.split_at(4);
    let (encapsulation, rest) = rest.split_at(encapsulation_length);
    let ciphertext = &rest[signature_length + 32..];
    let mut info = b"sealmoot/v1/sealed box".to_vec();
    info.push(header[1]);
    info.extend_from_slice(&6u64.to_le_bytes());
    info.extend_from_slice(b"letter");
    info.extend_from_slice(signer);
    let associated_data = [header, b"number 7"].concat();
    let mut context = hpke::setup_receiver::<suite::Aead, suite::Kdf, K>(
        &OpModeR::Base,
        recipient,
        &K::EncappedKey::from_bytes(encapsulation).expect("an encapsulation"),
        &info,
    )
    .expect("a share that contributes, or X-Wing, which refuses nothing");
    let label = [&b"sealmoot commitment"[..], &sha256(&associated_data)].concat();
    let mut commitment = [0u8; 32];
    context.export(&label, &mut commitment).expect("32 bytes");
    (commitment, context.open(ciphertext, &associated_data).ok())
}

#[test]
fn a_box_is_as_documented() {
    for sample in Sample::all() {
        let signer = sample.signer.verifying_key().to_bytes();
        let (encapsulation_length, signature_length, signer) = match (sample.kem, sample.kind) {
            (Kem::X25519, Kind::Base) => (32, 0, &[][..]),
            (Kem::X25519, Kind::Signed) => (32, 64, &signer[..]),
            (Kem::XWing, Kind::Base) => (1120, 0, &[][..]),
            (Kem::XWing, Kind::Signed) => (1120, 64, &signer[..]),
            (_, Kind::Authenticated) => continue,
        };
        let sealed = &sample.sealed;
        let (commitment, text) = match &sample.recipient.0 {
            Private::X25519(key) => {
                by_hand::<X25519>(key, sealed, encapsulation_length, signature_length, signer)
            }
            Private::XWing(key) => {
                by_hand::<XWing>(key, sealed, encapsulation_length, signature_length, signer)
            }
        };
        assert_eq!(text.as_deref(), Some(TEXT), "{}", sample.name);
        let (_, rest) = sealed.split_at(4 + encapsulation_length);
        let (signature, rest) = rest.split_at(signature_length);
        assert_eq!(rest[..32], commitment, "{}", sample.name);
        if let Ok(signature) = signature.try_into() {
            let mut signed = Vec::new();
            for part in [
                &sealed[2..4],
                &sample.recipient.public_key().to_bytes(),
                &sealed[4..4 + encapsulation_length],
                b"letter",
                b"number 7",
                &rest[..32],
                &rest[32..],
            ] {
                signed.extend_from_slice(&(part.len() as u64).to_le_bytes());
                signed.extend_from_slice(part);
            }
            let signature = Signature::from_bytes(signature);
            let verifier = sample.signer.verifying_key();
            let verified = verifier.verify("sealed box", &sha256(&signed), &signature);
            assert_eq!(verified, Ok(()));
        }
    }
}

#[test]
fn second_encodings_of_a_key_are_refused() {
    for kem in Kem::ALL {
        let good = generate(kem).public_key().to_bytes();
        let point = good.len() - 32;
        let mut high_bit = good.clone();
        high_bit[good.len() - 1] |= 0x80;
        // 9 + (2^255 - 19), the base point a second time.
        let mut above = good.clone();
        above[point..].fill(0xff);
        above[point] = 0xf6;
        above[good.len() - 1] = 0x7f;
        for key in [high_bit, above] {
            assert_eq!(
                PublicKey::from_bytes(kem, &key),
                Err(KeyRejected::NotCanonical)
            );
        }
    }
    // The greatest canonical coordinate of a point that is not weak: p - 2.
    let mut key = [0xff; 32];
    key[0] = 0xeb;
    key[31] = 0x7f;
    assert!(PublicKey::from_bytes(Kem::X25519, &key).is_ok());
}

#[test]
fn an_ml_kem_coefficient_of_3329_is_refused() {
    let good = generate(Kem::XWing).public_key().to_bytes();
    for place in [0, 384, 1149] {
        let mut key = good.clone();
        // 12 bits, little-endian: 3329 is 0xd01.
        key[place] = 0x01;
        key[place + 1] = (key[place + 1] & 0xf0) | 0x0d;
        assert_eq!(
            PublicKey::from_bytes(Kem::XWing, &key),
            Err(KeyRejected::NotCanonical)
        );
        key[place] = 0x00;
        assert!(PublicKey::from_bytes(Kem::XWing, &key).is_ok(), "3328");
    }
}

#[test]
fn keys_of_another_length_are_refused() {
    for kem in Kem::ALL {
        let key = generate(kem);
        let bytes = key.public_key().to_bytes();
        let expected = kem.public_key_length();
        assert_eq!(bytes.len(), expected);
        let mut longer = bytes.clone();
        longer.push(0);
        for wrong in [&bytes[1..], &longer[..], &[][..]] {
            assert_eq!(
                PublicKey::from_bytes(kem, wrong),
                Err(KeyRejected::WrongLength {
                    expected,
                    found: wrong.len()
                })
            );
        }
        for found in [0, 31, 33, 64] {
            assert_eq!(
                PrivateKey::from_secret_bytes(kem, &vec![1; found]).err(),
                Some(KeyRejected::WrongLength {
                    expected: 32,
                    found
                })
            );
        }
    }
}

#[test]
fn a_private_key_comes_back_from_its_bytes() {
    for kem in Kem::ALL {
        let key = generate(kem);
        let again = PrivateKey::from_secret_bytes(kem, key.to_secret_bytes().expose());
        let again = again.expect("32 bytes");
        assert_eq!(again.public_key(), key.public_key());
        let sealed = seal(&key.public_key(), CONTEXT, DATA, TEXT).expect("random");
        assert_eq!(
            open(&again, CONTEXT, DATA, &sealed)
                .expect("opens")
                .expose(),
            TEXT
        );
    }
}

#[test]
fn a_key_id_tells_kem_and_key() {
    let key = generate(Kem::X25519).public_key();
    let mut encoded = b"sealmoot/v1/recipient\x20\x00".to_vec();
    encoded.extend_from_slice(&key.to_bytes());
    assert_eq!(key.key_id().as_bytes(), &sha256(&encoded));
    assert_ne!(key.key_id(), generate(Kem::X25519).public_key().key_id());
}

#[test]
fn debug_shows_no_byte_of_a_private_key() {
    for kem in Kem::ALL {
        let key = generate(kem);
        let shown = format!("{key:?}");
        assert!(!shown.contains(&hex(&key.to_secret_bytes().expose()[..4])));
        assert!(shown.contains(&format!("{}", key.public_key().key_id())));
    }
}
