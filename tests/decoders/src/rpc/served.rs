//! What a server says that it serves.

use std::collections::BTreeSet;

use sealmoot_rpc::bare::served_schemas;
use sealmoot_rpc::bytes::Bytes;
use sealmoot_rpc::limits::binding::SERVICE_BYTES_MAX;
use sealmoot_rpc::limits::reflection::{EARLIER_MAX, SERVICES_BYTES_MAX, SERVICES_MAX};
use sealmoot_rpc::prost::Message;
use sealmoot_rpc::reflection::{ServedSchemas, ServiceSummary, ServicesReply};

use crate::{Decoder, Outcome};

pub(super) const ALL: &[Decoder] = &[Decoder {
    name: "served_schemas",
    authenticates: false,
    samples: || {
        let few = [summary("z.Last", &[])];
        let many = [
            summary("b.B", &[1, 2]),
            summary("a.A", &[3; EARLIER_MAX]),
            summary("z.Last", &[0xff]),
        ];
        [reply(&few), reply(&many)].into()
    },
    check: |bytes| {
        let read = served_schemas(Bytes::copy_from_slice(bytes));
        assert_eq!(read.is_ok(), is_sound(bytes), "{read:?}");
        let Ok(served) = read else {
            return Outcome::Refused;
        };
        with_one_more_than_there_may_be(&served);
        // In order and without what nobody knows it is another text of the same.
        let again = encoded(&served);
        assert!(again.len() <= bytes.len());
        assert_eq!(served_schemas(again.into()).as_ref(), Ok(&served));
        // The list may end behind any entry.
        if served.iter().any(|(service, _)| service == "z.Last") {
            Outcome::Accepted
        } else {
            Outcome::Refused
        }
    },
}];

fn summary(service: &str, earlier: &[u8]) -> ServiceSummary {
    let fingerprint = |byte: &u8| Bytes::from(vec![*byte; 32]);
    ServiceSummary {
        name: service.to_owned(),
        fingerprint: fingerprint(&7),
        earlier: earlier.iter().map(fingerprint).collect(),
    }
}

fn reply(services: &[ServiceSummary]) -> Vec<u8> {
    let services = services.to_vec();
    ServicesReply { services }.encode_to_vec()
}

fn encoded(served: &ServedSchemas) -> Vec<u8> {
    let services: Vec<ServiceSummary> = served
        .iter()
        .map(|(service, schema)| {
            let bytes =
                |it: &sealmoot_rpc::binding::Fingerprint| Bytes::copy_from_slice(it.as_bytes());
            ServiceSummary {
                name: service.to_owned(),
                fingerprint: bytes(&schema.fingerprint),
                earlier: schema.earlier.iter().map(bytes).collect(),
            }
        })
        .collect();
    reply(&services)
}

/// What may be believed, by the message as a library reads it.
fn is_sound(bytes: &[u8]) -> bool {
    // Nothing that a terminal or a log would obey, and no part empty.
    let is_part = |part: &str| {
        let is_plain = |letter: char| letter.is_ascii_alphanumeric() || letter == '_';
        part.chars().all(is_plain) && part.starts_with(|first: char| !first.is_ascii_digit())
    };
    let is_name = |name: &str| name.len() <= SERVICE_BYTES_MAX && name.split('.').all(is_part);
    let is_one = |service: &ServiceSummary| {
        is_name(&service.name)
            && service.fingerprint.len() == 32
            && service.earlier.len() <= EARLIER_MAX
            && service.earlier.iter().all(|earlier| earlier.len() == 32)
    };
    let Ok(ServicesReply { services }) = ServicesReply::decode(bytes) else {
        return false;
    };
    let names: BTreeSet<&str> = services.iter().map(|it| it.name.as_str()).collect();
    bytes.len() <= SERVICES_BYTES_MAX
        && services.len() <= SERVICES_MAX
        && names.len() == services.len()
        && services.iter().all(is_one)
}

/// Lists that are full, and one entry longer: too long to come about by chance.
fn with_one_more_than_there_may_be(served: &ServedSchemas) {
    let Some((service, schema)) = served.iter().next() else {
        return;
    };
    let fingerprint = Bytes::copy_from_slice(schema.fingerprint.as_bytes());
    let with_earlier = |service: &str, count: usize| ServiceSummary {
        name: service.to_owned(),
        fingerprint: fingerprint.clone(),
        earlier: vec![fingerprint.clone(); count],
    };
    let is_taken = |services: &[ServiceSummary]| served_schemas(reply(services).into()).is_ok();
    assert!(is_taken(&[with_earlier(service, EARLIER_MAX)]));
    assert!(!is_taken(&[with_earlier(service, EARLIER_MAX + 1)]));
    let services = |count: usize| -> Vec<ServiceSummary> {
        let name = |number| format!("a.N{number}");
        let summary = |number| with_earlier(&name(number), 0);
        (0..count).map(summary).collect()
    };
    assert!(is_taken(&services(SERVICES_MAX)));
    assert!(!is_taken(&services(SERVICES_MAX + 1)));
}
