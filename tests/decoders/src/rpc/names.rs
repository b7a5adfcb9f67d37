//! Signed name records, alone and as the lines of a table.

use std::num::NonZeroU8;
use std::sync::LazyLock;

use sealmoot_crypto::agreement::AgreementPublic;
use sealmoot_crypto::signature::KeyId;
use sealmoot_rpc::binding::record::{Claim, verify};
use sealmoot_rpc::binding::table::Table;
use sealmoot_rpc::binding::{Endpoint, Fingerprint, Name, NameRecord, Served, VerifiedRecord, Way};
use sealmoot_rpc::limits::binding::{RECORD_BYTES_MAX, TABLE_BYTES_MAX};

use super::genuine;
use super::tls::SERVER;
use crate::{Decoder, Outcome};

/// Version and signer: the bytes that another signer would change.
const SIGNER_END: usize = 33;
const SIGNATURE_BYTES: usize = 64;

static RECORDS: LazyLock<Vec<Vec<u8>>> = LazyLock::new(|| {
    let record = |record: &VerifiedRecord| record.bytes().to_vec();
    SIGNED.iter().map(record).collect()
});

static SIGNED: LazyLock<Vec<VerifiedRecord>> = LazyLock::new(|| {
    let endpoint = |way, address: &str| Endpoint {
        way,
        address: address.to_owned(),
        key_id: KeyId::from_bytes([4; 32]),
        weight: NonZeroU8::MIN,
    };
    let served = |service: &str, fingerprint: u8| Served {
        service: service.to_owned(),
        fingerprint: Fingerprint::from_bytes([fingerprint; 32]),
    };
    let noise = Way::Noise(AgreementPublic::from_bytes([9; 32]));
    let small = NameRecord {
        name: name(),
        serial: 1,
        valid_until_ms: u64::MAX,
        ttl_seconds: 30,
        services: Vec::new(),
        endpoints: vec![endpoint(Way::Tls, "h:1")],
    };
    let rich = NameRecord {
        services: vec![served("a.B", 5), served("a.B", 6), served("a.C", 5)],
        endpoints: vec![
            endpoint(Way::Tls, "[::1]:7000"),
            endpoint(Way::Tls, "host:7000"),
            endpoint(noise, "127.0.0.1:7001"),
            endpoint(Way::Unix, "/run/a"),
        ],
        ..small.clone()
    };
    let sign = |record: NameRecord| record.sign(&SERVER).expect("sound");
    vec![sign(small), sign(rich)]
});

pub(super) const ALL: &[Decoder] = &[
    Decoder {
        name: "name_record",
        authenticates: true,
        samples: || RECORDS.clone(),
        check: |bytes| {
            if let Ok(claim) = Claim::decode(bytes) {
                assert!(bytes.len() <= RECORD_BYTES_MAX);
                one_encoding(&claim, bytes);
            }
            let judged = verify(bytes, &name(), &[signer()], 0, 0);
            if let Ok(verified) = &judged {
                assert_eq!(verified.bytes(), bytes);
            }
            genuine(Outcome::of(&judged), bytes, &RECORDS)
        },
    },
    Decoder {
        name: "name_table",
        // What is signed is in its lines; comments and spaces may change.
        authenticates: false,
        samples: || {
            let line = |record: &VerifiedRecord| {
                let text = Table::new([record.clone()]).to_text();
                let line = text.lines().find(|line| !line.starts_with('#'));
                line.expect("a record").as_bytes().to_vec()
            };
            SIGNED.iter().map(line).collect()
        },
        check: |bytes| {
            let parsed = Table::parse(bytes, &[signer()]);
            if let Ok(table) = &parsed {
                assert!(bytes.len() <= TABLE_BYTES_MAX);
                let again = Table::parse(table.to_text().as_bytes(), &[signer()]);
                assert_eq!(again.as_ref(), Ok(table));
                let record = table.record(&name()).expect("all samples have one name");
                assert!(SIGNED.contains(record), "nobody made that");
            }
            Outcome::of(&parsed)
        },
    },
];

/// What was decoded encodes to the same bytes, but for who signed it.
fn one_encoding(claim: &Claim, bytes: &[u8]) {
    // What any signer refuses to sign is taken apart, too, but never believed.
    if let Ok(again) = claim.claimed().clone().sign(&SERVER) {
        let unsigned = SIGNER_END..bytes.len() - SIGNATURE_BYTES;
        assert_eq!(again.bytes().len(), bytes.len());
        assert_eq!(again.bytes()[unsigned.clone()], bytes[unsigned]);
    }
}

fn name() -> Name {
    "store/eu-1".parse().expect("a name")
}

fn signer() -> KeyId {
    SERVER.verifying_key().key_id()
}
