use super::*;

const fn fingerprint(byte: u8) -> Fingerprint {
    Fingerprint::from_bytes([byte; 32])
}

fn summary(name: &str, present: u8, earlier: &[u8]) -> ServiceSummary {
    let bytes = |byte: &u8| Bytes::from(vec![*byte; 32]);
    ServiceSummary {
        name: name.to_owned(),
        fingerprint: bytes(&present),
        earlier: earlier.iter().map(bytes).collect(),
    }
}

fn believed(services: Vec<ServiceSummary>) -> Result<ServedSchemas, MalformedServices> {
    ServedSchemas::from_reply(ServicesReply { services })
}

static EARLIER: [Fingerprint; 2] = [fingerprint(2), fingerprint(1)];

static WANTED: ServiceDescriptor = ServiceDescriptor {
    name: "shop.v1.Store",
    fingerprint: fingerprint(3),
    earlier: &EARLIER,
    methods: &[],
    file_descriptors: &[],
};

fn checked(present: u8, earlier: &[u8]) -> Result<(), SchemaMismatch> {
    let served = believed(vec![
        summary("shop.v1.Till", 9, &[]),
        summary("shop.v1.Store", present, earlier),
    ]);
    served.expect("it makes sense").check(&WANTED)
}

#[test]
fn the_same_schema_is_no_mismatch() {
    assert_eq!(checked(3, &[]), Ok(()));
}

#[test]
fn a_server_of_an_earlier_schema_that_the_client_knows_is_taken() {
    assert_eq!(checked(1, &[]), Ok(()));
    assert_eq!(checked(2, &[1]), Ok(()));
}

#[test]
fn a_server_of_a_later_schema_that_knows_the_clients_is_taken() {
    assert_eq!(checked(4, &[3]), Ok(()));
    assert_eq!(checked(5, &[4, 3, 2]), Ok(()));
}

#[test]
fn a_schema_of_which_neither_side_knows_is_refused() {
    let other = |found| {
        Err(SchemaMismatch::Other {
            service: "shop.v1.Store".to_owned(),
            found: fingerprint(found),
        })
    };
    assert_eq!(checked(4, &[]), other(4));
    // Both know the first: they were not checked against each other.
    assert_eq!(checked(4, &[1, 2]), other(4));
}

#[test]
fn a_service_that_is_not_there_is_missed() {
    let missing = Err(SchemaMismatch::Missing {
        service: "shop.v1.Store".to_owned(),
    });
    let others = believed(vec![summary("shop.v1.Stor", 3, &[])]);
    assert_eq!(others.expect("it makes sense").check(&WANTED), missing);
    assert_eq!(ServedSchemas::default().check(&WANTED), missing);
}

#[test]
fn fingerprints_of_other_lengths_are_refused() {
    for length in [0, 31, 33] {
        let fault = Err(MalformedServices::FingerprintLength {
            service: "a.S".to_owned(),
            length,
        });
        let mut present = summary("a.S", 1, &[2]);
        present.fingerprint = vec![1; length].into();
        assert_eq!(believed(vec![present]), fault);
        let mut earlier = summary("a.S", 1, &[2]);
        earlier.earlier.push(vec![1; length].into());
        assert_eq!(believed(vec![earlier]), fault);
    }
}

#[test]
fn lists_that_are_too_long_are_refused_and_full_ones_are_not() {
    let services = |count: usize| (0..count).map(|index| summary(&format!("s{index}"), 1, &[]));
    assert!(believed(services(SERVICES_MAX).collect()).is_ok());
    let count = SERVICES_MAX + 1;
    let fault = Err(MalformedServices::TooManyServices { count });
    assert_eq!(believed(services(count).collect()), fault);

    let earlier = |count: usize| summary("a.S", 1, &vec![2; count]);
    assert!(believed(vec![earlier(EARLIER_MAX)]).is_ok());
    let count = EARLIER_MAX + 1;
    let fault = Err(MalformedServices::TooManyEarlier {
        service: "a.S".to_owned(),
        count,
    });
    assert_eq!(believed(vec![earlier(count)]), fault);
}

#[test]
fn the_longest_list_is_as_long_as_the_limit() {
    use crate::limits::binding::SERVICE_BYTES_MAX;
    use prost::Message;

    let services = (0..SERVICES_MAX).map(|index| {
        let name = format!("{}{index:03}", "s".repeat(SERVICE_BYTES_MAX - 3));
        summary(&name, 1, &[2; EARLIER_MAX])
    });
    let reply = ServicesReply {
        services: services.collect(),
    };
    assert_eq!(reply.encode_to_vec().len(), SERVICES_BYTES_MAX);
    assert!(ServedSchemas::from_reply(reply).is_ok());
}

#[test]
fn a_service_that_is_there_twice_is_refused() {
    let fault = Err(MalformedServices::ServiceTwice {
        service: "a.S".to_owned(),
    });
    let twice = vec![summary("a.S", 1, &[]), summary("a.S", 1, &[])];
    assert_eq!(believed(twice), fault);
}

#[test]
fn names_that_are_none_are_refused() {
    for name in ["", "a b", ".", "a.\u{1b}", "1a", &"a".repeat(129)] {
        let refused = believed(vec![summary(name, 1, &[])]);
        assert_eq!(refused, Err(MalformedServices::ServiceName), "{name:?}");
    }
}
