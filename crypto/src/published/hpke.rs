//! HPKE against RFC 9180 and X-Wing against its draft.
//!
//! They run on the types that sealed boxes are made of (`sealed_box::suite`), with the
//! published randomness in the place of the operating system's.

use std::prelude::v1::*;

use hpke::{Deserializable, Kem, OpModeR, OpModeS, Serializable};
use serde_json::Value;

use super::{Counts, vectors_beside_the_repository};
use crate::digest::sha256;
use crate::sealed_box::suite::{Aead, ENTROPY_LENGTH, Entropy, Kdf, X25519, XWing};
use crate::secret::SecretArray;
use crate::testing::{hex, unhex};

/// One suite and mode of RFC 9180 appendix A.
struct Vector {
    ephemeral_material: &'static str,
    recipient_private: &'static str,
    recipient_public: &'static str,
    sender_private: Option<&'static str>,
    encapsulation: &'static str,
    /// Sequence number, ciphertext and tag.
    ciphertexts: [(u64, &'static str); 6],
    /// Exporter context, exported value.
    exports: [(&'static str, &'static str); 3],
}

/// `info` and `pt` of the whole appendix; `aad` is "Count-" and the sequence number.
const INFO: &str = "4f6465206f6e2061204772656369616e2055726e";
const PLAINTEXT: &str = "4265617574792069732074727574682c20747275746820626561757479";

// RFC 9180 appendix A.2.1: DHKEM(X25519, HKDF-SHA256), HKDF-SHA256,
// ChaCha20Poly1305, base mode.
const A_2_1: Vector = Vector {
    ephemeral_material: "909a9b35d3dc4713a5e72a4da274b55d3d3821a37e5d099e74a647db583a904b",
    recipient_private: "8057991eef8f1f1af18f4a9491d16a1ce333f695d4db8e38da75975c4478e0fb",
    recipient_public: "4310ee97d88cc1f088a5576c77ab0cf5c3ac797f3d95139c6c84b5429c59662a",
    sender_private: None,
    encapsulation: "1afa08d3dec047a643885163f1180476fa7ddb54c6a8029ea33f95796bf2ac4a",
    ciphertexts: [
        (
            0,
            "1c5250d8034ec2b784ba2cfd69dbdb8af406cfe3ff938e131f0def8c8b60b4db21993c62ce81883d2dd1b51a28",
        ),
        (
            1,
            "6b53c051e4199c518de79594e1c4ab18b96f081549d45ce015be002090bb119e85285337cc95ba5f59992dc98c",
        ),
        (
            2,
            "71146bd6795ccc9c49ce25dda112a48f202ad220559502cef1f34271e0cb4b02b4f10ecac6f48c32f878fae86b",
        ),
        (
            4,
            "63357a2aa291f5a4e5f27db6baa2af8cf77427c7c1a909e0b37214dd47db122bb153495ff0b02e9e54a50dbe16",
        ),
        (
            255,
            "18ab939d63ddec9f6ac2b60d61d36a7375d2070c9b683861110757062c52b8880a5f6b3936da9cd6c23ef2a95c",
        ),
        (
            256,
            "7a4a13e9ef23978e2c520fd4d2e757514ae160cd0cd05e556ef692370ca53076214c0c40d4c728d6ed9e727a5b",
        ),
    ],
    exports: [
        (
            "",
            "4bbd6243b8bb54cec311fac9df81841b6fd61f56538a775e7c80a9f40160606e",
        ),
        (
            "00",
            "8c1df14732580e5501b00f82b10a1647b40713191b7c1240ac80e2b68808ba69",
        ),
        (
            "54657374436f6e74657874",
            "5acb09211139c43b3090489a9da433e8a30ee7188ba8b0a9a1ccf0c229283e53",
        ),
    ],
};

// RFC 9180 appendix A.2.3: the same suite, mode_auth.
const A_2_3: Vector = Vector {
    ephemeral_material: "938d3daa5a8904540bc24f48ae90eed3f4f7f11839560597b55e7c9598c996c0",
    recipient_private: "3ca22a6d1cda1bb9480949ec5329d3bf0b080ca4c45879c95eddb55c70b80b82",
    recipient_public: "1a478716d63cb2e16786ee93004486dc151e988b34b475043d3e0175bdb01c44",
    sender_private: Some("2def0cb58ffcf83d1062dd085c8aceca7f4c0c3fd05912d847b61f3e54121f05"),
    encapsulation: "f7674cc8cd7baa5872d1f33dbaffe3314239f6197ddf5ded1746760bfc847e0e",
    ciphertexts: [
        (
            0,
            "ab1a13c9d4f01a87ec3440dbd756e2677bd2ecf9df0ce7ed73869b98e00c09be111cb9fdf077347aeb88e61bdf",
        ),
        (
            1,
            "3265c7807ffff7fdace21659a2c6ccffee52a26d270c76468ed74202a65478bfaedfff9c2b7634e24f10b71016",
        ),
        (
            2,
            "3aadee86ad2a05081ea860033a9d09dbccb4acac2ded0891da40f51d4df19925f7a767b076a5cbc9355c8fd35e",
        ),
        (
            4,
            "502ecccd5c2be3506a081809cc58b43b94f77cbe37b8b31712d9e21c9e61aa6946a8e922f54eae630f88eb8033",
        ),
        (
            255,
            "652e597ba20f3d9241cda61f33937298b1169e6adf72974bbe454297502eb4be132e1c5064702fc165c2ddbde8",
        ),
        (
            256,
            "3be14e8b3bbd1028cf2b7d0a691dbbeff71321e7dec92d3c2cfb30a0994ab246af76168480285a60037b4ba13a",
        ),
    ],
    exports: [
        (
            "",
            "070cffafd89b67b7f0eeb800235303a223e6ff9d1e774dce8eac585c8688c872",
        ),
        (
            "00",
            "2852e728568d40ddb0edde284d36a4359c56558bb2fb8837cd3d92e46a3a14a8",
        ),
        (
            "54657374436f6e74657874",
            "1df39dc5dd60edcbf5f9ae804e15ada66e885b28ed7929116f768369a3f950ee",
        ),
    ],
};

fn entropy(material: &[u8]) -> Entropy {
    let mut bytes = SecretArray::from_bytes([0; ENTROPY_LENGTH]);
    bytes.expose_mut()[..material.len()].copy_from_slice(material);
    Entropy::from_bytes(bytes)
}

fn from_hex<T: Deserializable>(text: &str) -> T {
    T::from_bytes(&unhex(text)).expect("a published value")
}

fn runs(vector: &Vector) {
    let private: <X25519 as Kem>::PrivateKey = from_hex(vector.recipient_private);
    let public = X25519::sk_to_pk(&private);
    assert_eq!(hex(&public.to_bytes()), vector.recipient_public);
    let (seal_mode, open_mode) = match vector.sender_private {
        None => (OpModeS::Base, OpModeR::Base),
        Some(sender) => {
            let sender: <X25519 as Kem>::PrivateKey = from_hex(sender);
            let sender_public = X25519::sk_to_pk(&sender);
            (
                OpModeS::Auth((sender, sender_public.clone())),
                OpModeR::Auth(sender_public),
            )
        }
    };
    let (encapsulation, mut sealing) = hpke::setup_sender_with_rng::<Aead, Kdf, X25519>(
        &seal_mode,
        &public,
        &unhex(INFO),
        &mut entropy(&unhex(vector.ephemeral_material)),
    )
    .expect("a contributory key");
    assert_eq!(hex(&encapsulation.to_bytes()), vector.encapsulation);
    let mut opening = hpke::setup_receiver::<Aead, Kdf, X25519>(
        &open_mode,
        &private,
        &encapsulation,
        &unhex(INFO),
    )
    .expect("a contributory share");
    let text = unhex(PLAINTEXT);
    for sequence in 0..=256 {
        let associated_data = format!("Count-{sequence}");
        let sealed = sealing.seal(&text, associated_data.as_bytes());
        let sealed = sealed.expect("short");
        for (_, published) in vector.ciphertexts.iter().filter(|(at, _)| *at == sequence) {
            assert_eq!(hex(&sealed), *published, "{sequence}");
        }
        let opened = opening.open(&sealed, associated_data.as_bytes());
        assert_eq!(opened.expect("authentic"), text);
    }
    for (context, exported) in vector.exports {
        let mut value = [0u8; 32];
        opening.export(&unhex(context), &mut value).expect("short");
        assert_eq!(hex(&value), exported);
    }
}

#[test]
fn rfc_9180_a_2_1_base() {
    runs(&A_2_1);
}

#[test]
fn rfc_9180_a_2_3_authenticated() {
    runs(&A_2_3);
}

#[test]
fn x_wing_in_hpke() {
    let Some(text) = vectors_beside_the_repository("x_wing_in_hpke", "hpke-xwing.json") else {
        return;
    };
    let vectors: Vec<Value> = serde_json::from_str(&text).expect("JSON");
    let mut counts = Counts::default();
    for vector in &vectors {
        let field = |name: &str| vector[name].as_str().expect("a text");
        let number = |name: &str| vector[name].as_u64().expect("a number");
        let suite = (number("kem_id"), number("kdf_id"), number("aead_id"));
        if (number("mode"), suite) != (0, (0x647a, 1, 3)) {
            counts.not_offered += 1;
            continue;
        }
        let private: <XWing as Kem>::PrivateKey = from_hex(field("skRm"));
        let public = XWing::sk_to_pk(&private);
        assert_eq!(hex(&public.to_bytes()), field("pkRm"));
        let info = unhex(field("info"));
        let (encapsulation, mut sealing) = hpke::setup_sender_with_rng::<Aead, Kdf, XWing>(
            &OpModeS::Base,
            &public,
            &info,
            &mut entropy(&unhex(field("ikmE"))),
        )
        .expect("a valid key");
        assert_eq!(hex(&encapsulation.to_bytes()), field("enc"));
        let mut opening = hpke::setup_receiver::<Aead, Kdf, XWing>(
            &OpModeR::Base,
            &private,
            &encapsulation,
            &info,
        )
        .expect("a valid share");
        for case in vector["encryptions"].as_array().expect("a list") {
            let field = |name: &str| unhex(case[name].as_str().expect("a text"));
            let sealed = sealing.seal(&field("pt"), &field("aad")).expect("short");
            assert_eq!(sealed, field("ct"));
            let opened = opening.open(&sealed, &field("aad")).expect("authentic");
            assert_eq!(opened, field("pt"));
            counts.accepted += 1;
        }
        for case in vector["exports"].as_array().expect("a list") {
            let field = |name: &str| unhex(case[name].as_str().expect("a text"));
            let mut value = [0u8; 32];
            opening
                .export(&field("exporter_context"), &mut value)
                .expect("short");
            assert_eq!(value[..], field("exported_value"));
            counts.accepted += 1;
        }
    }
    counts.report("HPKE with X-Wing");
}

/// Runs one known answer of X-Wing's draft; returns public key and ciphertext.
fn x_wing_answer(seed: &str, encapsulation_seed: &str, secret: &str) -> (Vec<u8>, Vec<u8>) {
    let private: <XWing as Kem>::PrivateKey = from_hex(seed);
    let public = XWing::sk_to_pk(&private);
    let (shared, encapsulation) =
        XWing::encap_with_rng(&public, None, &mut entropy(&unhex(encapsulation_seed)))
            .expect("a valid key");
    assert_eq!(hex(&shared.0), secret);
    let received = XWing::decap(&private, None, &encapsulation).expect("a valid share");
    assert_eq!(hex(&received.0), secret);
    (
        public.to_bytes().to_vec(),
        encapsulation.to_bytes().to_vec(),
    )
}

// draft-connolly-cfrg-xwing-kem, spec/test-vectors.json: seed, eseed and ss in full;
// of pk and ct, which have 1216 and 1120 bytes, their SHA-256.
#[test]
fn x_wing_draft_vectors_by_hash() {
    let vectors = [
        (
            "7f9c2ba4e88f827d616045507605853ed73b8093f6efbc88eb1a6eacfa66ef26",
            "3cb1eea988004b93103cfb0aeefd2a686e01fa4a58e8a3639ca8a1e3f9ae57e235b8cc873c23dc62b8d260169afa2f75ab916a58d974918835d25e6a435085b2",
            "d2df0522128f09dd8e2c92b1e905c793d8f57a54c3da25861f10bf4ca613e384",
            "2e816deebcd76c5c80d0cd2d174478871658e8e2ff42bc9d4a6e486372e856bb",
            "17cd532d657e44c897ca6583e548a5424fc70bf54f99515a4d2bcf99e3469f33",
        ),
        (
            "badfd6dfaac359a5efbb7bcc4b59d538df9a04302e10c8bc1cbf1a0b3a5120ea",
            "17cda7cfad765f5623474d368ccca8af0007cd9f5e4c849f167a580b14aabdefaee7eef47cb0fca9767be1fda69419dfb927e9df07348b196691abaeb580b32d",
            "f2e86241c64d60f6649fbc6c5b7d17180b780a3f34355e64a85749949c45f150",
            "c42ba5f8430d7d2c83739338203819f090e8303ce9c8b02107c272bfa5376916",
            "1661ea86d608a1924ba30840cb0a65f13ae051e3aec9cf0f064efc0bc92f2154",
        ),
    ];
    for (seed, encapsulation_seed, secret, public_hash, ciphertext_hash) in vectors {
        let (public, ciphertext) = x_wing_answer(seed, encapsulation_seed, secret);
        assert_eq!(hex(&sha256(&public)), public_hash);
        assert_eq!(hex(&sha256(&ciphertext)), ciphertext_hash);
    }
}

/// The vectors that come with the package x-wing, where Cargo keeps its packages.
fn x_wing_package_vectors() -> Option<String> {
    let home = std::env::var_os("CARGO_HOME").map_or_else(
        || std::env::var_os("HOME").map(|home| std::path::Path::new(&home).join(".cargo")),
        |home| Some(home.into()),
    )?;
    let sources = std::fs::read_dir(home.join("registry/src")).ok()?;
    sources.flatten().find_map(|source| {
        let file = source.path().join("x-wing-0.1.1/tests/test-vectors.json");
        std::fs::read_to_string(file).ok()
    })
}

#[test]
fn x_wing_draft_vectors_in_full() {
    let Some(text) = x_wing_package_vectors() else {
        std::println!("SKIPPED x_wing_draft_vectors_in_full: no package x-wing-0.1.1 is unpacked");
        return;
    };
    let vectors: Vec<Value> = serde_json::from_str(&text).expect("JSON");
    let mut counts = Counts::default();
    for vector in &vectors {
        let field = |name: &str| vector[name].as_str().expect("a text");
        let (public, ciphertext) = x_wing_answer(field("seed"), field("eseed"), field("ss"));
        assert_eq!(hex(&public), field("pk"));
        assert_eq!(hex(&ciphertext), field("ct"));
        counts.accepted += 1;
    }
    counts.report("X-Wing draft");
}
