//! Keys as they stand in a user statement.

use sealmoot_crypto::signature::SigningKey;

use super::*;

fn public() -> VerifyingKey {
    SigningKey::generate().expect("random").verifying_key()
}

fn key(id: u8) -> EnrolledKey {
    EnrolledKey {
        id: CredentialId([id; 8]),
        label: "laptop".parse().expect("a label"),
        usage: KeyUse::Device,
        key: public(),
        expires_ms: 0,
        narrowing: None,
    }
}

fn narrowed(id: u8) -> EnrolledKey {
    let grants = vec!["app/*:rw".parse().expect("a grant")];
    EnrolledKey {
        usage: KeyUse::Service,
        expires_ms: 100,
        narrowing: Some(Narrowing::new(grants).expect("one grant")),
        ..key(id)
    }
}

fn bytes(keys: &[EnrolledKey]) -> Vec<u8> {
    let mut writer = Writer::new();
    encode_keys(keys, &mut writer);
    writer.finish()
}

fn read(bytes: &[u8], user_key: Option<&VerifyingKey>) -> Result<Vec<EnrolledKey>, EncodingError> {
    let mut reader = Reader::new(bytes);
    let keys = decode_keys(&mut reader, user_key)?;
    reader.finish()?;
    Ok(keys)
}

#[test]
fn keys_survive_their_bytes_and_no_truncation_does() {
    let keys = vec![key(1), narrowed(2)];
    let bytes = bytes(&keys);
    assert_eq!(read(&bytes, None), Ok(keys));
    for length in 0..bytes.len() {
        assert!(read(&bytes[..length], None).is_err(), "{length}");
    }
}

#[test]
fn more_keys_than_the_maximum_are_refused() {
    let id = |index: usize| u8::try_from(index).expect("few");
    let keys: Vec<EnrolledKey> = (0..=KEYS_MAX).map(|index| key(id(index))).collect();
    assert!(read(&bytes(&keys[1..]), None).is_ok());
    assert!(matches!(
        read(&bytes(&keys), None),
        Err(EncodingError::TooLong { .. })
    ));
}

#[test]
fn a_key_that_stands_twice_is_refused() {
    let one = key(1);
    let same_id = key(1);
    let same_key = EnrolledKey {
        key: one.key,
        ..key(2)
    };
    let twice = EncodingError::Invalid("a key stands twice");
    for other in [same_id, same_key] {
        assert_eq!(
            read(&bytes(&[one.clone(), other]), None),
            Err(twice.clone())
        );
    }
    // The user's own key has all rights; none may pass for it.
    assert_eq!(
        read(&bytes(std::slice::from_ref(&one)), Some(&one.key)),
        Err(twice)
    );
}

#[test]
fn every_malformed_field_is_refused_by_its_name() {
    // Count 4, id 8, length of the label 4, label 6, use 1, key 32, expiry 8, flag 1,
    // grants 4, length of the grant 4, grant 8.
    let good = bytes(&[narrowed(1)]);
    let with = |at: usize, new: &[u8]| {
        let mut changed = good.clone();
        changed[at..at + new.len()].copy_from_slice(new);
        read(&changed, None).expect_err("malformed")
    };
    assert_eq!(
        with(16, b"\x1b"),
        EncodingError::Invalid("a key's label is malformed")
    );
    assert_eq!(
        with(22, &[3]),
        EncodingError::Unknown {
            what: "use of a key",
            value: 3
        }
    );
    assert_eq!(
        with(23, &[0; 32]),
        EncodingError::Invalid("a public key is malformed or weak")
    );
    assert_eq!(
        with(72, b"appX"),
        EncodingError::Invalid("a grant of a key is malformed")
    );
    assert_eq!(
        with(78, b"wr"),
        EncodingError::Invalid("a grant of a key is not in its one form")
    );
    let mut nothing = good[..64].to_vec();
    nothing.extend_from_slice(&[0; 4]);
    assert_eq!(
        read(&nothing, None),
        Err(EncodingError::Invalid("a key is narrowed to nothing"))
    );
    assert!(matches!(with(64, &[17]), EncodingError::TooLong { .. }));
}

#[test]
fn an_id_is_sixteen_digits_in_one_form() {
    let id = CredentialId([0x0a, 1, 2, 3, 4, 5, 6, 0xff]);
    assert_eq!(id.to_string(), "0a010203040506ff");
    assert_eq!(id.to_string().parse(), Ok(id));
    for bad in [
        "",
        "0a010203040506f",
        "0a010203040506ff0",
        "0A010203040506FF",
        "+a010203040506ff",
        "0a010203040506fg",
    ] {
        assert_eq!(
            bad.parse::<CredentialId>(),
            Err(MalformedCredentialId),
            "{bad}"
        );
    }
}

#[test]
fn a_label_is_one_visible_line() {
    for good in ["laptop", "alice's Schlüssel", &"x".repeat(LABEL_LENGTH_MAX)] {
        assert!(good.parse::<Label>().is_ok(), "{good}");
    }
    for bad in [
        "",
        "two\nlines",
        "\x1b[31m",
        "\u{202e}drow",
        "a\u{200b}b",
        &"x".repeat(LABEL_LENGTH_MAX + 1),
    ] {
        assert_eq!(bad.parse::<Label>(), Err(MalformedLabel), "{bad:?}");
    }
}

#[test]
fn a_key_bounds_its_sessions_by_its_own_time() {
    let (endless, short) = (key(1), narrowed(2));
    assert!(endless.holds_at(u64::MAX) && short.holds_at(99) && !short.holds_at(100));
    assert_eq!(
        (endless.bound(500), short.bound(500), short.bound(50)),
        (500, 100, 50)
    );
}
