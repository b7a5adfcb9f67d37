use sealmoot_crypto::secret::SecretArray;

use super::*;
use crate::limits::binding::{ADDRESS_BYTES_MAX, NAME_BYTES_MAX, SERVICE_BYTES_MAX};

const NOW_MS: u64 = 1_000_000;

pub(in crate::binding) fn signer(seed: u8) -> SigningKey {
    SigningKey::from_seed(&SecretArray::from_bytes([seed; 32]))
}

pub(in crate::binding) fn name(text: &str) -> Name {
    text.parse().expect("a name")
}

pub(in crate::binding) fn endpoint(way: Way, address: &str, weight: u8) -> Endpoint {
    Endpoint {
        way,
        address: address.to_owned(),
        key_id: KeyId::from_bytes([weight; 32]),
        weight: NonZeroU8::new(weight).expect("not zero"),
    }
}

/// A record that anybody takes who trusts its signer.
pub(in crate::binding) fn plain(called: &str, serial: u64) -> NameRecord {
    NameRecord {
        name: name(called),
        serial,
        valid_until_ms: NOW_MS + 60_000,
        ttl_seconds: 10,
        services: vec![served("shop.Store", 1)],
        endpoints: vec![endpoint(Way::Tls, "127.0.0.1:7000", 1)],
    }
}

fn served(service: &str, fingerprint: u8) -> Served {
    Served {
        service: service.to_owned(),
        fingerprint: Fingerprint::from_bytes([fingerprint; 32]),
    }
}

fn noise_key() -> AgreementPublic {
    AgreementPublic::from_bytes([9; 32])
}

/// One of everything.
fn rich() -> NameRecord {
    NameRecord {
        services: vec![served("shop.Store", 1), served("shop.v1.Till", 2)],
        endpoints: vec![
            endpoint(Way::Tls, "[::1]:7000", 1),
            endpoint(Way::Tls, "store.example:7000", 2),
            endpoint(Way::Noise(noise_key()), "10.0.0.7:7001", 3),
            endpoint(Way::Unix, "/run/store.sock", 255),
        ],
        ..plain("store/eu-1", 7)
    }
}

fn check(bytes: &[u8]) -> Result<VerifiedRecord, RecordError> {
    let trusted = [signer(9), signer(1)].map(|key| key.verifying_key().key_id());
    verify(bytes, &name("store/eu-1"), &trusted, NOW_MS, 7)
}

fn signed(record: NameRecord) -> Vec<u8> {
    record.sign(&signer(1)).expect("sound").bytes().to_vec()
}

/// The record as a signer would make it who does not look at what it signs.
fn signed_carelessly(record: &NameRecord) -> Vec<u8> {
    resigned(record.encode(&signer(1).verifying_key()))
}

fn resigned(mut body: Vec<u8>) -> Vec<u8> {
    let signature = signer(1).sign(DOMAIN, &body);
    body.extend_from_slice(&signature.to_bytes());
    body
}

fn invalid(what: &'static str) -> RecordError {
    RecordError::NotCanonical(EncodingError::Invalid(what))
}

#[test]
fn what_is_signed_is_believed() {
    let signed = rich().sign(&signer(1)).expect("sound");
    let verified = check(signed.bytes()).expect("believed");
    assert_eq!(verified.record(), &rich());
    assert_eq!(verified, signed);
    assert_eq!(verified.signer(), signer(1).verifying_key().key_id());
}

#[test]
fn every_order_of_the_lists_is_signed_alike() {
    let mut turned = rich();
    turned.services.reverse();
    turned.endpoints.reverse();
    assert_eq!(signed(turned), signed(rich()));
}

// The drawing in DESIGN.md, byte by byte.
#[test]
fn the_bytes_are_those_that_are_drawn() {
    let record = NameRecord {
        name: name("ab"),
        serial: 0x0102,
        valid_until_ms: 0x0304,
        ttl_seconds: 0x05,
        services: vec![served("S", 6)],
        endpoints: vec![endpoint(Way::Noise(noise_key()), "h:1", 8)],
    };
    let bytes = signed(record);
    let drawn: &[&[u8]] = &[
        &[1],
        &signer(1).verifying_key().to_bytes(),
        &[2, 1, 0, 0, 0, 0, 0, 0],
        &[4, 3, 0, 0, 0, 0, 0, 0],
        &[5, 0, 0, 0],
        &[2, 0, 0, 0],
        b"ab",
        &[1, 0, 0, 0],
        &[1, 0, 0, 0],
        b"S",
        &[6; 32],
        &[1, 0, 0, 0],
        &[2],
        &[9; 32],
        &[8; 32],
        &[8],
        &[3, 0, 0, 0],
        b"h:1",
    ];
    let drawn = drawn.concat();
    let (body, signature) = bytes.split_at(bytes.len() - 64);
    assert_eq!(body, drawn);
    assert_eq!(signature, signer(1).sign(DOMAIN, &drawn).to_bytes());
    assert_eq!(bytes.len(), 241);
}

#[test]
fn no_changed_bit_is_believed() {
    let bytes = signed(rich());
    for bit in 0..bytes.len() * 8 {
        let mut flipped = bytes.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        assert!(check(&flipped).is_err(), "bit {bit}");
    }
}

#[test]
fn every_truncation_is_refused() {
    let bytes = signed(rich());
    for length in 0..bytes.len() {
        assert!(matches!(
            check(&bytes[..length]),
            Err(RecordError::NotCanonical(EncodingError::EndsEarly { .. }))
        ));
    }
}

#[test]
fn bytes_behind_the_signature_are_refused() {
    let mut bytes = signed(rich());
    bytes.push(0);
    let left_over = EncodingError::TrailingBytes { count: 1 };
    assert_eq!(check(&bytes), Err(RecordError::NotCanonical(left_over)));
}

#[test]
fn another_version_is_refused() {
    let mut body = rich().encode(&signer(1).verifying_key());
    body[0] = 2;
    let unknown = EncodingError::Unknown {
        what: "name record version",
        value: 2,
    };
    let refused = check(&resigned(body));
    assert_eq!(refused, Err(RecordError::NotCanonical(unknown)));
}

#[test]
fn an_unknown_transport_is_refused() {
    let record = NameRecord {
        services: Vec::new(),
        ..plain("store/eu-1", 7)
    };
    let mut body = record.encode(&signer(1).verifying_key());
    let at = 1 + 32 + 8 + 8 + 4 + 4 + "store/eu-1".len() + 4 + 4;
    assert_eq!(body[at], 1);
    body[at] = 4;
    let unknown = EncodingError::Unknown {
        what: "transport",
        value: 4,
    };
    let refused = check(&resigned(body));
    assert_eq!(refused, Err(RecordError::NotCanonical(unknown)));
}

#[test]
fn a_weight_of_zero_is_refused() {
    let record = NameRecord {
        services: Vec::new(),
        ..plain("store/eu-1", 7)
    };
    let mut body = record.encode(&signer(1).verifying_key());
    let at = body.len() - "127.0.0.1:7000".len() - 4 - 1;
    assert_eq!(body[at], 1);
    body[at] = 0;
    assert_eq!(check(&resigned(body)), Err(invalid("a weight is zero")));
}

#[test]
fn a_malformed_name_is_refused() {
    let mut body = plain("store/eu-1", 7).encode(&signer(1).verifying_key());
    let at = 1 + 32 + 8 + 8 + 4 + 4;
    body[at] = b'S';
    let refused = check(&resigned(body));
    assert_eq!(refused, Err(invalid("the name is malformed")));
}

#[test]
fn more_bytes_than_any_record_has_are_refused_unread() {
    let length = RECORD_BYTES_MAX + 1;
    let refused = check(&vec![0; length]);
    assert_eq!(refused, Err(RecordError::TooLong { length }));
}

#[test]
fn the_longest_record_is_as_long_as_the_limit() {
    let host = "h".repeat(ADDRESS_BYTES_MAX - ":7000".len() - 2);
    let record = NameRecord {
        name: name(&"n".repeat(NAME_BYTES_MAX)),
        services: (0..SERVICES_MAX)
            .map(|index| {
                served(
                    &format!("{}{index:02}", "s".repeat(SERVICE_BYTES_MAX - 2)),
                    1,
                )
            })
            .collect(),
        endpoints: (0..ENDPOINTS_MAX)
            .map(|index| {
                let address = format!("{host}{index:02}:7000");
                endpoint(Way::Noise(noise_key()), &address, 1)
            })
            .collect(),
        ..plain("x", 1)
    };
    let verified = record.sign(&signer(1)).expect("within every limit");
    assert_eq!(verified.bytes().len(), RECORD_BYTES_MAX);
    assert!(Claim::decode(verified.bytes()).is_ok());
}

#[test]
fn an_unknown_signer_is_not_believed() {
    let stranger = signer(2);
    let bytes = rich().sign(&stranger).expect("sound").bytes().to_vec();
    let unknown = RecordError::UnknownSigner(stranger.verifying_key().key_id());
    assert_eq!(check(&bytes), Err(unknown));
}

#[test]
fn a_stranger_who_writes_a_trusted_key_into_the_record_is_not_believed() {
    let mut bytes = rich().sign(&signer(2)).expect("sound").bytes().to_vec();
    bytes[1..33].copy_from_slice(&signer(1).verifying_key().to_bytes());
    assert_eq!(check(&bytes), Err(RecordError::BadSignature));
}

#[test]
fn a_signature_of_another_domain_is_not_believed() {
    let mut body = rich().encode(&signer(1).verifying_key());
    let signature = signer(1).sign("sealmoot introduction 1", &body);
    body.extend_from_slice(&signature.to_bytes());
    assert_eq!(check(&body), Err(RecordError::BadSignature));
}

#[test]
fn a_weak_signer_is_refused_before_anything_is_verified() {
    // Under the neutral point this signature verifies over every message, for
    // verifiers that are not strict.
    let mut bytes = signed(rich());
    let mut neutral = [0; 32];
    neutral[0] = 1;
    bytes[1..33].copy_from_slice(&neutral);
    let at = bytes.len() - 64;
    bytes[at..].fill(0);
    bytes[at] = 1;
    let weak = RecordError::SignerRejected(KeyRejected::Weak);
    assert_eq!(check(&bytes), Err(weak));
}

#[test]
fn a_record_of_another_name_is_refused() {
    let bytes = signed(plain("store/eu-2", 7));
    let other = RecordError::OtherName {
        wanted: name("store/eu-1"),
        found: name("store/eu-2"),
    };
    assert_eq!(check(&bytes), Err(other));
}

#[test]
fn a_record_counts_until_its_end_and_not_at_it() {
    let trusted = [signer(1).verifying_key().key_id()];
    let bytes = signed(plain("a", 1));
    let end = NOW_MS + 60_000;
    assert!(verify(&bytes, &name("a"), &trusted, end - 1, 0).is_ok());
    let expired = verify(&bytes, &name("a"), &trusted, end, 0);
    assert_eq!(expired, Err(RecordError::Expired));
}

#[test]
fn a_serial_below_the_newest_seen_is_refused_and_the_same_is_not() {
    let older = RecordError::OlderSerial { found: 6, floor: 7 };
    assert_eq!(check(&signed(plain("store/eu-1", 6))), Err(older));
    assert!(check(&signed(plain("store/eu-1", 7))).is_ok());
    assert!(check(&signed(plain("store/eu-1", 8))).is_ok());
}

#[test]
fn a_record_without_endpoints_is_refused() {
    let record = NameRecord {
        endpoints: Vec::new(),
        ..rich()
    };
    assert_eq!(
        check(&signed_carelessly(&record)),
        Err(RecordError::NoEndpoint)
    );
    assert_eq!(record.sign(&signer(1)), Err(RecordError::NoEndpoint));
}

#[test]
fn too_many_endpoints_are_refused() {
    let count = ENDPOINTS_MAX + 1;
    let record = NameRecord {
        endpoints: (0..count)
            .map(|index| endpoint(Way::Tls, &format!("h{index:02}:1"), 1))
            .collect(),
        ..rich()
    };
    let too_many = Err(RecordError::TooManyEndpoints { count });
    assert_eq!(check(&signed_carelessly(&record)), too_many);
    assert_eq!(record.sign(&signer(1)), too_many);
}

#[test]
fn a_count_of_four_thousand_million_is_refused_before_memory_is_reserved() {
    let body = rich().encode(&signer(1).verifying_key());
    let at = 1 + 32 + 8 + 8 + 4 + 4 + "store/eu-1".len();
    let mut bytes = resigned(body);
    bytes[at..at + 4].fill(0xff);
    let count = u32::MAX as usize;
    assert_eq!(check(&bytes), Err(RecordError::TooManyServices { count }));
}

#[test]
fn too_many_services_are_refused() {
    let count = SERVICES_MAX + 1;
    let record = NameRecord {
        services: (0..count)
            .map(|index| served(&format!("s{index:02}"), 1))
            .collect(),
        ..rich()
    };
    let too_many = Err(RecordError::TooManyServices { count });
    assert_eq!(check(&signed_carelessly(&record)), too_many);
    assert_eq!(record.sign(&signer(1)), too_many);
}

#[test]
fn lists_out_of_order_are_not_canonical() {
    let mut record = rich();
    record.services.reverse();
    let refused = check(&signed_carelessly(&record));
    let fault = "services are out of order, or one is there twice with one schema";
    assert_eq!(refused, Err(invalid(fault)));
    let mut record = rich();
    record.endpoints.reverse();
    let refused = check(&signed_carelessly(&record));
    let fault = "endpoints are out of order, or one is there twice";
    assert_eq!(refused, Err(invalid(fault)));
}

#[test]
fn schemas_of_one_service_out_of_order_are_not_canonical() {
    let mut record = rich();
    record.services = vec![served("shop.Store", 2), served("shop.Store", 1)];
    let refused = check(&signed_carelessly(&record));
    let fault = "services are out of order, or one is there twice with one schema";
    assert_eq!(refused, Err(invalid(fault)));
}

#[test]
fn nothing_stands_in_a_list_twice() {
    let mut record = rich();
    record.services.push(served("shop.Store", 1));
    let fault = "services are out of order, or one is there twice with one schema";
    assert_eq!(record.sign(&signer(1)), Err(invalid(fault)));
    let mut record = rich();
    record.endpoints.push(endpoint(Way::Tls, "[::1]:7000", 9));
    let fault = "endpoints are out of order, or one is there twice";
    assert_eq!(record.sign(&signer(1)), Err(invalid(fault)));
}

#[test]
fn a_time_to_live_of_nothing_or_of_years_is_refused() {
    for seconds in [0, TTL_SECONDS_MAX + 1, u32::MAX] {
        let record = NameRecord {
            ttl_seconds: seconds,
            ..rich()
        };
        let refused = Err(RecordError::TimeToLive { seconds });
        assert_eq!(check(&signed_carelessly(&record)), refused);
        assert_eq!(record.sign(&signer(1)), refused);
    }
}

#[test]
fn addresses_that_are_none_are_refused() {
    let network = "an address is not HOST:PORT";
    let path = "an address is not the absolute path of a socket";
    let noise = Way::Noise(noise_key());
    let long_path = format!("/{}", "p".repeat(103));
    for (way, address, fault) in [
        (Way::Tls, "", network),
        (Way::Tls, "host", network),
        (Way::Tls, ":7000", network),
        (Way::Tls, "host:", network),
        (Way::Tls, "host:0", network),
        (Way::Tls, "host:07", network),
        (Way::Tls, "host:+7", network),
        (Way::Tls, "host:65536", network),
        (Way::Tls, "::1:7000", network),
        (Way::Tls, "[::1:7000", network),
        (Way::Tls, "[nonsense]:7000", network),
        (Way::Tls, "a b:7000", network),
        (Way::Tls, "a\n:7000", network),
        (Way::Tls, "/run/store.sock", network),
        (noise, "host", network),
        (Way::Unix, "run/store.sock", path),
        (Way::Unix, "/", path),
        (Way::Unix, "", path),
        (Way::Unix, "/run/\0", path),
        (Way::Unix, &long_path, path),
    ] {
        let record = NameRecord {
            endpoints: vec![endpoint(way, address, 1)],
            ..rich()
        };
        let refused = check(&signed_carelessly(&record));
        assert_eq!(refused, Err(invalid(fault)), "{address:?}");
        assert_eq!(record.sign(&signer(1)), Err(invalid(fault)), "{address:?}");
    }
}

#[test]
fn names_of_services_that_are_none_are_refused() {
    for service in ["", ".", "a.", ".a", "a..b", "1a", "a-b", "a/b", "a b", "ä"] {
        let record = NameRecord {
            services: vec![served(service, 1)],
            ..rich()
        };
        let refused = check(&signed_carelessly(&record));
        let fault = invalid("a service's name is malformed");
        assert_eq!(refused, Err(fault), "{service:?}");
    }
}

/// Points of low order below the prime, from Bernstein's list at cr.yp.to/ecdh.html.
const LOW_ORDER: [&str; 5] = [
    "0000000000000000000000000000000000000000000000000000000000000000",
    "0100000000000000000000000000000000000000000000000000000000000000",
    "e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800",
    "5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157",
    "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
];

fn with_noise_key(key: [u8; 32]) -> NameRecord {
    let way = Way::Noise(AgreementPublic::from_bytes(key));
    NameRecord {
        endpoints: vec![
            endpoint(Way::Tls, "127.0.0.1:7000", 1),
            endpoint(way, "127.0.0.1:7001", 1),
        ],
        ..rich()
    }
}

#[test]
fn weak_noise_keys_are_refused() {
    for point in LOW_ORDER {
        let mut key = [0; 32];
        for (byte, digits) in key.iter_mut().zip(point.as_bytes().chunks(2)) {
            let digits = std::str::from_utf8(digits).expect("ASCII");
            *byte = u8::from_str_radix(digits, 16).expect("hexadecimal");
        }
        let weak = Err(RecordError::WeakNoiseKey {
            address: "127.0.0.1:7001".to_owned(),
        });
        let record = with_noise_key(key);
        assert_eq!(check(&signed_carelessly(&record)), weak, "{point}");
        assert_eq!(record.sign(&signer(1)), weak, "{point}");
    }
}

#[test]
fn noise_keys_have_one_encoding() {
    let mut prime = [0xff; 32];
    (prime[0], prime[31]) = (0xed, 0x7f);
    let mut highest_bit = *noise_key().as_bytes();
    highest_bit[31] |= 0x80;
    let fault = invalid("a Noise key is not below the prime");
    for key in [prime, [0xff; 32], highest_bit] {
        let refused = check(&signed_carelessly(&with_noise_key(key)));
        assert_eq!(refused, Err(fault.clone()), "{key:02x?}");
    }
    let mut largest = prime;
    (largest[0], largest[1]) = (0xff, 0xfe);
    assert!(with_noise_key(largest).sign(&signer(1)).is_ok());
}

#[test]
fn a_service_that_is_not_served_is_missed() {
    let accepted = [Fingerprint::from_bytes([1; 32])];
    for service in ["shop.Till", "", "shop.Stor", "shop.Store2"] {
        let missing = RecordError::ServiceMissing {
            service: service.to_owned(),
        };
        assert_eq!(rich().check_service(service, &accepted), Err(missing));
    }
}

#[test]
fn a_service_with_another_fingerprint_is_refused_and_an_accepted_one_is_not() {
    let [one, two, three] = [1, 2, 3].map(|byte| Fingerprint::from_bytes([byte; 32]));
    let other = RecordError::OtherFingerprint {
        service: "shop.Store".to_owned(),
        found: one,
    };
    let check = |accepted: &[Fingerprint]| rich().check_service("shop.Store", accepted);
    assert_eq!(check(&[two, three]), Err(other.clone()));
    assert_eq!(check(&[]), Err(other));
    assert_eq!(check(&[two, one]), Ok(()));
}

fn with_history() -> NameRecord {
    NameRecord {
        services: vec![
            served("shop.Store", 3),
            served("shop.Store", 1),
            served("shop.v1.Till", 2),
        ],
        ..rich()
    }
}

#[test]
fn one_service_is_listed_with_several_schemas() {
    let verified = check(&signed(with_history())).expect("believed");
    let listed = [
        served("shop.Store", 1),
        served("shop.Store", 3),
        served("shop.v1.Till", 2),
    ];
    assert_eq!(verified.record().services, listed);
}

#[test]
fn any_of_the_schemas_of_a_service_will_do_and_those_of_another_will_not() {
    let fingerprint = |byte| Fingerprint::from_bytes([byte; 32]);
    let check = |accepted: &[u8]| {
        let accepted: Vec<_> = accepted.iter().map(|byte| fingerprint(*byte)).collect();
        with_history().check_service("shop.Store", &accepted)
    };
    assert_eq!(check(&[1]), Ok(()));
    assert_eq!(check(&[3]), Ok(()));
    let other = RecordError::OtherFingerprint {
        service: "shop.Store".to_owned(),
        found: fingerprint(3),
    };
    assert_eq!(check(&[2, 4]), Err(other));
}

#[test]
fn a_descriptor_is_listed_with_its_past_and_finds_itself() {
    const fn fingerprint(byte: u8) -> Fingerprint {
        Fingerprint::from_bytes([byte; 32])
    }
    static EARLIER: [Fingerprint; 2] = [fingerprint(9), fingerprint(1)];
    let descriptor = |name, own, earlier| ServiceDescriptor {
        name,
        fingerprint: fingerprint(own),
        earlier,
        methods: &[],
        file_descriptors: &[],
    };
    let today = descriptor("shop.Store", 5, &EARLIER);
    let record = NameRecord {
        services: Served::all_of(&today),
        ..rich()
    };
    let listed = [5, 9, 1].map(|byte| served("shop.Store", byte));
    assert_eq!(record.services, listed);
    assert!(check(&signed(record.clone())).is_ok());
    assert_eq!(record.check_schema(&today), Ok(()));
    // Of yesterday, and of tomorrow.
    assert_eq!(
        record.check_schema(&descriptor("shop.Store", 9, &[])),
        Ok(())
    );
    assert_eq!(
        record.check_schema(&descriptor("shop.Store", 6, &EARLIER)),
        Ok(())
    );
    let other = RecordError::OtherFingerprint {
        service: "shop.Store".to_owned(),
        found: fingerprint(5),
    };
    assert_eq!(
        record.check_schema(&descriptor("shop.Store", 6, &[])),
        Err(other)
    );
    let missing = RecordError::ServiceMissing {
        service: "shop.Till".to_owned(),
    };
    assert_eq!(
        record.check_schema(&descriptor("shop.Till", 5, &EARLIER)),
        Err(missing)
    );
}

#[test]
fn one_serial_stands_for_one_record() {
    let sign = |record: NameRecord| record.sign(&signer(1)).expect("sound");
    let held = sign(plain("a", 5));
    assert_eq!(sign(plain("a", 5)).check_succeeds(&held), Ok(()));
    assert_eq!(sign(plain("a", 6)).check_succeeds(&held), Ok(()));
    let older = RecordError::OlderSerial { found: 4, floor: 5 };
    assert_eq!(sign(plain("a", 4)).check_succeeds(&held), Err(older));
    let mut other = plain("a", 5);
    other.endpoints[0].address = "127.0.0.1:7001".to_owned();
    let reused = RecordError::SerialReused { serial: 5 };
    assert_eq!(sign(other).check_succeeds(&held), Err(reused));
}

#[test]
fn what_is_shown_of_a_record_has_no_control_characters() {
    let weak = RecordError::WeakNoiseKey {
        address: "\u{1b}[31m".to_owned(),
    };
    assert!(!weak.to_string().contains('\u{1b}'));
}
