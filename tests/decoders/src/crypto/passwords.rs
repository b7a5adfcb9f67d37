//! What is stored beside password records: their sealed form, and the filter of
//! breached passwords.

use sealmoot_crypto::password::PasswordRecord;
use sealmoot_crypto::password::breached::BreachedFilter;
use sealmoot_crypto::password::pepper::PepperedRecord;

use super::{CHEAP, KEYSET};
use crate::{Decoder, Outcome};

pub(super) const ALL: &[Decoder] = &[
    Decoder {
        name: "peppered_record",
        authenticates: true,
        samples: || {
            let record = PasswordRecord::hash(b"password", CHEAP).expect("hashed");
            let sealed = PepperedRecord::seal(&record, &KEYSET, b"alice", 3).expect("sealed");
            vec![sealed.to_bytes()]
        },
        check: |bytes| match PepperedRecord::from_bytes(bytes) {
            Ok(record) => {
                assert_eq!(record.to_bytes(), bytes);
                Outcome::of(&record.open(&KEYSET, b"alice", 3))
            }
            Err(_) => Outcome::Refused,
        },
    },
    // The checksum is not keyed, but nothing that happens to a file by accident, and
    // no fuzzer, makes it fit again.
    Decoder {
        name: "breached_filter",
        authenticates: true,
        samples: || {
            let mut builder = BreachedFilter::builder(2).expect("room for two");
            builder.add_password(b"password").expect("room");
            builder.add_password(b"123456").expect("room");
            let mut file = Vec::new();
            builder
                .finish()
                .write_to(&mut file)
                .expect("a vector takes bytes");
            vec![file]
        },
        check: |bytes| match BreachedFilter::read_from(bytes) {
            Ok(filter) => {
                let mut again = Vec::new();
                filter.write_to(&mut again).expect("a vector takes bytes");
                assert_eq!(again, bytes);
                Outcome::Accepted
            }
            Err(_) => Outcome::Refused,
        },
    },
];
