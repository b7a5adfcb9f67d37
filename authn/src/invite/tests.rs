use sealmoot_crypto::sealed_box::{Kem, PrivateKey};

use super::*;
use crate::opaque::LoginSecrets;
use crate::records::SignedRecord;
use crate::records::tests::roles_record;
use crate::roster::tests::Fixture;
use crate::users::tests::record;

fn audit_key() -> PublicKey {
    PrivateKey::generate(Kem::X25519)
        .expect("random")
        .public_key()
}

/// A call of three, its login secrets and its invites.
struct Sample {
    fixture: Fixture,
    login: LoginSecrets,
    records: Vec<SignedRecord>,
    sealed: SealedPart,
    shares: Vec<Share>,
    bytes: Vec<SecretBytes>,
}

fn sample() -> Sample {
    sample_of(Fixture::new())
}

fn sample_of(fixture: Fixture) -> Sample {
    let user = SigningKey::generate().expect("random");
    let login = LoginSecrets::generate().expect("random");
    let records: Vec<SignedRecord> = vec![
        record(&fixture.root, &user, "alice", 1, true).into(),
        roles_record(&fixture.root, 1, "app/*:r").into(),
    ];
    let (sealed, shares) = SealedPart::seal(
        &fixture.roots(),
        &fixture.root,
        &fixture.call,
        &login,
        &audit_key(),
        &records,
    )
    .expect("sealed");
    let root = fixture.roots();
    let bytes = shares
        .iter()
        .zip(&fixture.invites)
        .map(|(share, key)| Invite::encode(&root, &fixture.call, &key.to_seed(), share, &sealed))
        .collect();
    Sample {
        fixture,
        login,
        records,
        sealed,
        shares,
        bytes,
    }
}

/// Where the share of an invite begins, and where the sealed part with what is signed.
fn places(sample: &Sample) -> (usize, usize) {
    let call = sample.fixture.call.bytes().len();
    let roots = sample.fixture.roots().encode().len();
    (49 + roots + call, 81 + roots + call)
}

#[test]
fn an_invite_carries_its_member_and_its_share() {
    let sample = sample();
    for (index, bytes) in sample.bytes.iter().enumerate() {
        let invite = Invite::decode(bytes.expose()).expect("valid");
        assert_eq!(invite.realm(), sample.fixture.realm());
        assert_eq!(invite.member().name.as_str(), format!("n{index}"));
        assert_eq!(usize::from(invite.share().index()), index + 1);
        assert_eq!(invite.sealed().encode(), sample.sealed.encode());
        assert!(invite.check_time(999).is_ok());
        assert!(matches!(invite.check_time(1000), Err(InviteError::Expired)));
    }
}

#[test]
fn any_two_of_three_open_what_is_sealed() {
    let sample = sample();
    assert_eq!(sample.sealed.needed(), 2);
    for left_out in 0..3 {
        let mut shares = sample.shares.clone();
        shares.remove(left_out);
        let contents = sample.sealed.open(&shares).expect("opens");
        let expected = sample.login.encode();
        assert_eq!(contents.login.encode().expose(), expected.expose());
        let encoded = |records: &[SignedRecord]| -> Vec<Vec<u8>> {
            records.iter().map(SignedRecord::encode).collect()
        };
        assert_eq!(encoded(&contents.records), encoded(&sample.records));
    }
}

#[test]
fn more_than_half_are_needed_whatever_the_number() {
    let needed: Vec<usize> = (1..=7).map(shares_needed).collect();
    assert_eq!(needed, [1, 2, 2, 3, 3, 4, 4]);
    assert_eq!(shares_needed(NODES_MAX), 17);
}

/// All invites of the call together hold neither login secrets nor a record in clear,
/// nor does one of them, with its own share, open them.
#[test]
fn an_invite_shows_no_login_secret_and_no_record() {
    let sample = sample();
    let login = sample.login.encode();
    let mut canaries: Vec<Vec<u8>> = vec![
        b"alice".to_vec(),
        b"app/*:r".to_vec(),
        login.expose()[1..33].to_vec(),
        login.expose()[65..97].to_vec(),
        login.expose()[97..].to_vec(),
    ];
    canaries.extend(
        sample
            .records
            .iter()
            .map(|record| record.encode()[..48].to_vec()),
    );
    let mut clear = login.expose().to_vec();
    for record in &sample.records {
        clear.extend(record.encode());
    }
    for canary in &canaries {
        let within = |bytes: &[u8]| bytes.windows(canary.len()).any(|part| part == *canary);
        assert!(within(&clear), "a canary that is nowhere finds nothing");
        for bytes in &sample.bytes {
            assert!(!within(bytes.expose()));
        }
    }
    for bytes in &sample.bytes {
        let invite = Invite::decode(bytes.expose()).expect("valid");
        let refused = invite.sealed().open(std::slice::from_ref(invite.share()));
        assert!(matches!(
            refused,
            Err(InviteError::Shares(SharingError::TooFew {
                have: 1,
                need: 2
            }))
        ));
    }
}

#[test]
fn every_changed_byte_and_every_truncation_is_refused() {
    let sample = sample();
    let bytes = &sample.bytes[1];
    for index in 0..bytes.len() {
        let mut changed = bytes.expose().to_vec();
        changed[index] ^= 0x20;
        assert!(Invite::decode(&changed).is_err(), "{index}");
        assert!(Invite::decode(&bytes.expose()[..index]).is_err());
    }
    let longer = [bytes.expose(), &[0]].concat();
    assert!(Invite::decode(&longer).is_err());
}

#[test]
fn invites_of_other_versions_are_refused_by_name() {
    let sample = sample();
    for version in [0, 1, 2, 3, 5] {
        let mut changed = sample.bytes[0].expose().to_vec();
        changed[4] = version;
        assert!(matches!(
            Invite::decode(&changed),
            Err(InviteError::Malformed(EncodingError::Unknown {
                what: "invite version",
                ..
            }))
        ));
    }
}

#[test]
fn the_key_of_another_invite_of_the_call_is_refused() {
    let sample = sample();
    let root = sample.fixture.roots();
    let seed = sample.fixture.invites[1].to_seed();
    let (call, share) = (&sample.fixture.call, &sample.shares[0]);
    let bytes = Invite::encode(&root, call, &seed, share, &sample.sealed);
    assert!(matches!(
        Invite::decode(bytes.expose()),
        Err(InviteError::WrongKey)
    ));
}

#[test]
fn an_invite_with_a_wrong_share_is_refused_by_its_number() {
    let sample = sample();
    let (share_at, _) = places(&sample);
    let other = &sample.bytes[0].expose()[share_at..share_at + 32];
    for share in [other.to_vec(), vec![0; 32]] {
        let mut changed = sample.bytes[1].expose().to_vec();
        changed[share_at..share_at + 32].copy_from_slice(&share);
        assert!(matches!(
            Invite::decode(&changed),
            Err(InviteError::Share(2))
        ));
    }
}

#[test]
fn wrong_foreign_and_doubled_shares_open_nothing_and_are_named() {
    let sample = sample();
    let other = sample_of(Fixture::new());
    let own = &sample.shares;
    let foreign = other.shares[2].clone();
    let value = |share: &Share| SecretArray::from_bytes(*share.value().expose());
    let renumbered = Share::new(2, value(&own[2])).expect("a number");
    let beyond = Share::new(4, value(&own[2])).expect("a number");
    for (share, number) in [(foreign, 3), (renumbered, 2), (beyond, 4)] {
        assert!(matches!(
            sample.sealed.check(&share),
            Err(InviteError::Share(found)) if found == number
        ));
        let refused = sample.sealed.open(&[own[0].clone(), share]);
        assert!(matches!(refused, Err(InviteError::Share(found)) if found == number));
    }
    let refused = sample.sealed.open(&[own[1].clone(), own[1].clone()]);
    assert!(matches!(
        refused,
        Err(InviteError::Shares(SharingError::Twice(2)))
    ));
    assert!(matches!(
        sample.sealed.open(own),
        Err(InviteError::Shares(SharingError::TooMany { .. }))
    ));
    assert!(matches!(
        sample.sealed.open(&[]),
        Err(InviteError::Shares(SharingError::TooFew { .. }))
    ));
}

#[test]
fn a_changed_sealed_part_commitment_or_audit_key_is_refused_by_name() {
    let sample = sample();
    let (_, sealed_at) = places(&sample);
    let end = sample.bytes[0].len();
    // The audit key, each commitment, the signature, the nonce, the text and the tag.
    let commitments = sealed_at + 37;
    let signature = commitments + 3 * 32;
    let part = signature + 64 + 4;
    for at in [
        sealed_at,
        commitments,
        commitments + 32,
        commitments + 64,
        signature,
        signature + 63,
        part,
        part + 24,
        end - 1,
    ] {
        let mut changed = sample.bytes[0].expose().to_vec();
        changed[at] ^= 1;
        assert!(
            matches!(Invite::decode(&changed), Err(InviteError::SealedPart)),
            "{at}"
        );
    }
    // How many shares there are, and how many are needed, goes by the call.
    for at in [sealed_at + 32, sealed_at + 33, sealed_at + 36] {
        let mut changed = sample.bytes[0].expose().to_vec();
        changed[at] ^= 1;
        assert!(matches!(
            Invite::decode(&changed),
            Err(InviteError::Malformed(_))
        ));
    }
}

#[test]
fn the_sealed_part_of_another_call_or_realm_is_refused() {
    let sample = sample();
    let other = sample_of(Fixture::new());
    let (_, sealed_at) = places(&sample);
    let (_, other_at) = places(&other);
    let mut swapped = sample.bytes[0].expose()[..sealed_at].to_vec();
    swapped.extend(&other.bytes[0].expose()[other_at..]);
    assert!(matches!(
        Invite::decode(&swapped),
        Err(InviteError::SealedPart)
    ));

    // The same root, another call.
    let mut call = sample.fixture.call.body().clone();
    call.id[0] ^= 1;
    let call = Verified::issue(&sample.fixture.realm(), &sample.fixture.root, 1, call);
    let root = sample.fixture.roots();
    let encoded = sample.sealed.encode();
    assert!(SealedPart::decode(&encoded, &root, &sample.fixture.call).is_ok());
    assert!(matches!(
        SealedPart::decode(&encoded, &root, &call),
        Err(InviteError::SealedPart)
    ));
    let share = &sample.shares[0];
    let (again, _) = SealedPart::seal(
        &sample.fixture.roots(),
        &sample.fixture.root,
        &call,
        &sample.login,
        &audit_key(),
        &sample.records,
    )
    .expect("sealed");
    assert!(matches!(again.check(share), Err(InviteError::Share(1))));
}

#[test]
fn a_record_that_the_root_did_not_sign_is_refused_once_it_is_seen() {
    let sample = sample();
    let stranger = Fixture::new();
    let user = SigningKey::generate().expect("random");
    let foreign: SignedRecord = record(&stranger.root, &user, "mallory", 1, true).into();
    let (sealed, shares) = SealedPart::seal(
        &sample.fixture.roots(),
        &sample.fixture.root,
        &sample.fixture.call,
        &sample.login,
        &audit_key(),
        &[foreign],
    )
    .expect("sealed");
    assert!(matches!(
        sealed.open(&shares[1..]),
        Err(InviteError::Record(_))
    ));
}
