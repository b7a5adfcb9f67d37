//! Argon2id against RFC 9106 and the reference implementation.

use std::prelude::v1::*;

use argon2::{Algorithm, Argon2, AssociatedData, ParamsBuilder, Version};

use super::Counts;
use crate::password::{Cost, PasswordError, PasswordRecord, PhcFault};
use crate::testing::hex;

/// RFC 9106 section 5.3: the only published case with a secret and associated data,
/// which this crate does not offer; it checks the engine below.
#[test]
fn rfc_9106_argon2id() {
    let params = ParamsBuilder::new()
        .m_cost(32)
        .t_cost(3)
        .p_cost(4)
        .data(AssociatedData::new(&[4; 12]).expect("12 bytes"))
        .build()
        .expect("valid");
    let argon2 = Argon2::new_with_secret(&[3; 8], Algorithm::Argon2id, Version::V0x13, params)
        .expect("valid");
    let mut tag = [0u8; 32];
    argon2
        .hash_password_into(&[1; 32], &[2; 16], &mut tag)
        .expect("hashes");
    assert_eq!(
        hex(&tag),
        "0d640df58d78766c08c037a34a8b53c9d01ef0452d75b65eb52520e96b01e659"
    );
    Counts {
        accepted: 1,
        ..Counts::default()
    }
    .report("RFC 9106 section 5.3");
}

/// Argon2id version 19 of the reference implementation's `src/test.c`
/// (P-H-C/phc-winner-argon2, commit f57e61e): passes, log2 of KiB, lanes, password, hash,
/// PHC string.
const REFERENCE: [(u32, u32, u32, &str, &str, &str); 8] = [
    (
        2,
        16,
        1,
        "password",
        "09316115d5cf24ed5a15a31a3ba326e5cf32edc24702987c02b6566f61913cf7",
        "$argon2id$v=19$m=65536,t=2,p=1$c29tZXNhbHQ\
         $CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc",
    ),
    (
        2,
        18,
        1,
        "password",
        "78fe1ec91fb3aa5657d72e710854e4c3d9b9198c742f9616c2f085bed95b2e8c",
        "$argon2id$v=19$m=262144,t=2,p=1$c29tZXNhbHQ\
         $eP4eyR+zqlZX1y5xCFTkw9m5GYx0L5YWwvCFvtlbLow",
    ),
    (
        2,
        8,
        1,
        "password",
        "9dfeb910e80bad0311fee20f9c0e2b12c17987b4cac90c2ef54d5b3021c68bfe",
        "$argon2id$v=19$m=256,t=2,p=1$c29tZXNhbHQ\
         $nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4",
    ),
    (
        2,
        8,
        2,
        "password",
        "6d093c501fd5999645e0ea3bf620d7b8be7fd2db59c20d9fff9539da2bf57037",
        "$argon2id$v=19$m=256,t=2,p=2$c29tZXNhbHQ\
         $bQk8UB/VmZZF4Oo79iDXuL5/0ttZwg2f/5U52iv1cDc",
    ),
    (
        1,
        16,
        1,
        "password",
        "f6a5adc1ba723dddef9b5ac1d464e180fcd9dffc9d1cbf76cca2fed795d9ca98",
        "$argon2id$v=19$m=65536,t=1,p=1$c29tZXNhbHQ\
         $9qWtwbpyPd3vm1rB1GThgPzZ3/ydHL92zKL+15XZypg",
    ),
    (
        4,
        16,
        1,
        "password",
        "9025d48e68ef7395cca9079da4c4ec3affb3c8911fe4f86d1a2520856f63172c",
        "$argon2id$v=19$m=65536,t=4,p=1$c29tZXNhbHQ\
         $kCXUjmjvc5XMqQedpMTsOv+zyJEf5PhtGiUghW9jFyw",
    ),
    (
        2,
        16,
        1,
        "differentpassword",
        "0b84d652cf6b0c4beaef0dfe278ba6a80df6696281d7e0d2891b817d8c458fde",
        "$argon2id$v=19$m=65536,t=2,p=1$c29tZXNhbHQ\
         $C4TWUs9rDEvq7w3+J4umqA32aWKB1+DSiRuBfYxFj94",
    ),
    (
        2,
        16,
        1,
        "password",
        "bdf32b05ccc42eb15d58fd19b1f856b113da1e9a5874fdcc544308565aa8141c",
        "$argon2id$v=19$m=65536,t=2,p=1$ZGlmZnNhbHQ\
         $vfMrBczELrFdWP0ZsfhWsRPaHppYdP3MVEMIVlqoFBw",
    ),
];

#[test]
fn phc_strings_of_the_reference_implementation_are_verified() {
    let mut counts = Counts::default();
    for (passes, log2_memory_kib, lanes, password, hash, phc) in REFERENCE {
        let record = PasswordRecord::from_phc(phc).expect("a record");
        assert_eq!(record.to_phc(), phc);
        let (_, last) = phc.rsplit_once('$').expect("fields");
        let last = ::phc::Output::decode(last).expect("base64");
        assert_eq!(hex(last.as_bytes()), hash);
        assert!(
            record.verify(password.as_bytes()).expect("compares"),
            "{phc}"
        );
        assert!(!record.verify(b"passwore").expect("compares"), "{phc}");
        let cost = Cost {
            memory_kib: 1 << log2_memory_kib,
            passes,
            lanes,
        };
        assert_eq!(record.cost(), cost);
        // Salts of eight bytes are taken over, and renewed at the next occasion.
        assert!(record.needs_rehash(cost));
        counts.accepted += 1;
    }
    counts.report("phc-winner-argon2 src/test.c, Argon2id version 19");
}

/// The malformed strings of the same file, for Argon2id instead of Argon2i, and the
/// strings of other types and versions that stand in it.
#[test]
fn strings_that_the_reference_implementation_refuses_are_refused() {
    let mut counts = Counts::default();
    let cases = [
        (
            "no dollar before the salt",
            "$argon2id$v=19$m=65536,t=2,p=1c29tZXNhbHQ\
             $wWKIMhR9lyDFvRz9YTZweHKfbftvj+qf+YFY4NeBbtA",
            PhcFault::Fields,
        ),
        (
            "no dollar before the hash",
            "$argon2id$v=19$m=65536,t=2,p=1$c29tZXNhbHQ\
             wWKIMhR9lyDFvRz9YTZweHKfbftvj+qf+YFY4NeBbtA",
            PhcFault::Fields,
        ),
        (
            "salt too short",
            "$argon2id$v=19$m=65536,t=2,p=1$\
             $9sTbSlTio3Biev89thdrlKKiCaYsjjYVJxGAL3swxpQ",
            PhcFault::Salt,
        ),
        (
            "Argon2i version 19",
            "$argon2i$v=19$m=256,t=2,p=1$c29tZXNhbHQ\
             $iekCn0Y3spW+sCcFanM2xBT63UP2sghkUoHLIUpWRS8",
            PhcFault::Algorithm,
        ),
        (
            "Argon2i without a version",
            "$argon2i$m=256,t=2,p=1$c29tZXNhbHQAAAAAAAAAAA\
             $3+v51OrdaFn0zGqbsgBD/Z2n4eNr2s27BcpWn0Yyafg",
            PhcFault::Fields,
        ),
    ];
    for (name, phc, fault) in cases {
        match PasswordRecord::from_phc(phc) {
            Err(PasswordError::Malformed(found)) => assert_eq!(found, fault, "{name}"),
            other => std::panic!("{name}: {other:?}"),
        }
        counts.refused += 1;
    }
    counts.report("phc-winner-argon2 src/test.c, encodings to refuse");
}
