use super::*;

fn waiting() -> Waiting {
    Waiting {
        act: Act::Restore,
        realm: RealmId::from_bytes([7; 32]),
        name: "acme".parse().expect("a name"),
        made_ms: 1_700_000_000_000,
    }
}

fn key() -> (ApproverKey, Approver, Vec<u8>) {
    let (file, approver) = ApproverKey::create(b"other words").expect("made");
    let key = ApproverKey::open(&file, b"other words").expect("opens");
    assert_eq!(key.approver(), approver);
    (key, approver, file)
}

#[test]
fn what_waits_shows_what_it_is_and_only_its_approver_takes_the_layer_away() {
    let (key, approver, _) = key();
    let layer = approver.require(&waiting(), b"a box").expect("sealed");
    assert!(Waiting::is(&layer) && !Waiting::is(b"a box"));
    assert!(layer.len() <= 5 + LAYER_OVERHEAD_MAX);
    assert_eq!(Waiting::read(&layer), Ok((waiting(), approver.clone())));
    assert_eq!(key.approve(&layer).expect("approved").expose(), b"a box");
    assert!(!layer.windows(5).any(|part| part == b"a box"));

    let (other, found, _) = self::key();
    let refused = other.approve(&layer);
    assert!(
        matches!(&refused, Err(ApprovalError::OtherApprover { wanted, found: other })
            if *wanted == approver && *other == found),
        "{:?}",
        refused.err()
    );
}

#[test]
fn no_byte_of_what_waits_can_be_changed_nor_left_out() {
    let (key, approver, _) = key();
    let layer = approver.require(&waiting(), b"a box").expect("sealed");
    for at in 0..layer.len() {
        for bit in 0..8 {
            let mut changed = layer.clone();
            changed[at] ^= 1 << bit;
            assert!(key.approve(&changed).is_err(), "byte {at}, bit {bit}");
        }
        assert!(key.approve(&layer[..at]).is_err(), "cut at {at}");
    }
    let mut longer = layer.clone();
    longer.push(0);
    assert!(key.approve(&longer).is_err());
    // Another realm's, another name's, another time's header around the same box.
    let others = [
        Waiting {
            realm: RealmId::from_bytes([8; 32]),
            ..waiting()
        },
        Waiting {
            name: "beta".parse().expect("a name"),
            ..waiting()
        },
        Waiting {
            made_ms: 1,
            ..waiting()
        },
    ];
    let own = waiting().header(&approver).len();
    for other in others {
        let mut changed = other.header(&approver);
        changed.extend_from_slice(&layer[own..]);
        assert!(
            matches!(key.approve(&changed), Err(ApprovalError::Changed)),
            "{other:?}"
        );
    }
}

#[test]
fn an_unknown_act_or_version_is_refused() {
    let (_, approver, _) = key();
    let layer = approver.require(&waiting(), b"a box").expect("sealed");
    for (at, value) in [(4, 0), (4, 2), (5, 0), (5, 9)] {
        let mut other = layer.clone();
        other[at] = value;
        assert!(matches!(
            Waiting::read(&other),
            Err(EncodingError::Unknown { .. })
        ));
    }
    assert!(Waiting::read(b"").is_err());
}

#[test]
fn a_key_opens_with_its_passphrase_only_and_not_when_changed() {
    let (_, approver, file) = key();
    assert!(file.len() <= APPROVER_FILE_MAX);
    assert_eq!(ApproverKey::owner(&file).expect("whose"), approver);
    assert!(matches!(
        ApproverKey::open(&file, b"other word"),
        Err(ApprovalError::WrongPassphrase)
    ));
    for (at, what) in [(0, "magic"), (4, "version"), (9, "key"), (36, "key")] {
        let mut changed = file.clone();
        changed[at] ^= 1;
        assert!(
            ApproverKey::open(&changed, b"other words").is_err(),
            "{what}"
        );
    }
    for length in [0, 4, 5, 36, 37, 60, file.len() - 1] {
        assert!(
            ApproverKey::open(&file[..length], b"other words").is_err(),
            "{length}"
        );
    }
    let mut last = file.clone();
    *last.last_mut().expect("bytes") ^= 1;
    assert!(ApproverKey::open(&last, b"other words").is_err());
}

#[test]
fn a_file_with_a_box_of_other_bytes_is_damaged() {
    let (_, approver, _) = key();
    for secret in [&[0u8; 32][..], &[1; 32], &[1; 31]] {
        let mut file = key_header(&approver);
        let cost = Cost {
            memory_kib: 8,
            passes: 1,
            lanes: 1,
        };
        let sealed = passphrase_box::seal(b"pp", KEY_CONTEXT, &file, secret, cost);
        file.extend_from_slice(&sealed.expect("sealed"));
        assert!(matches!(
            ApproverKey::open(&file, b"pp"),
            Err(ApprovalError::Damaged(_))
        ));
    }
}

#[test]
fn an_approver_survives_its_text_and_no_typo_does() {
    let (_, approver, _) = key();
    let text = approver.to_string();
    assert!(text.starts_with("approver1"), "{text}");
    assert_eq!(text.parse(), Ok(approver));
    for at in 0..text.len() {
        let mut wrong = text.clone().into_bytes();
        wrong[at] = if wrong[at] == b'q' { b'p' } else { b'q' };
        let wrong = String::from_utf8(wrong).expect("ASCII");
        if wrong != text {
            assert_eq!(wrong.parse::<Approver>(), Err(BadApprover), "{wrong}");
        }
        assert_eq!(text[..at].parse::<Approver>(), Err(BadApprover));
    }
    assert_eq!(text.to_uppercase().parse::<Approver>(), Err(BadApprover));
    let realm = RealmId::from_bytes([7; 32]).to_string();
    assert_eq!(realm.parse::<Approver>(), Err(BadApprover));
}
