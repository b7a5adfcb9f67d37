use super::*;
use crate::policy::Action;
use crate::realm_id::RealmId;
use crate::records::tests::roles_record;
use crate::records::{RevocationsRecord, SignedRecord};
use crate::statement::{Credential, Powers, Revocation, Revocations};
use crate::users::tests::{device_key, record, record_of_keys};
use crate::users::{RecordError, UserDirectory, UserRecord, verify_user};

pub(crate) fn key() -> SigningKey {
    SigningKey::generate().expect("random")
}

fn name(text: &str) -> Name {
    text.parse().expect("a name")
}

/// What the delegate of this name may do with `app/*`, from 10 until 100.
pub(crate) fn terms(delegate: &str, key: &SigningKey, serial: u64) -> Delegation {
    Delegation {
        name: name(delegate),
        key: key.verifying_key(),
        serial,
        version: 1,
        powers: Powers {
            users: true,
            delegations: true,
        },
        grants: vec!["app/*:rwdl".parse().expect("a grant")],
        valid_from_ms: 10,
        expires_ms: 100,
    }
}

pub(crate) struct World {
    pub(crate) root: SigningKey,
    pub(crate) dana: SigningKey,
    pub(crate) erin: SigningKey,
}

/// A delegation to dana by one of several roots.
pub(crate) fn chain_of(roots: &Roots, root: &SigningKey, dana: &SigningKey) -> Chain {
    Chain::issue(None, root, roots, terms("dana", dana, 5), 1).expect("issued")
}

impl World {
    pub(crate) fn new() -> Self {
        Self {
            root: key(),
            dana: key(),
            erin: key(),
        }
    }

    fn root(&self) -> Roots {
        Roots::sole(self.root.verifying_key())
    }

    fn realm(&self) -> RealmId {
        self.root().realm()
    }

    /// The root's delegation to dana under serial 5, changed by `change`.
    pub(crate) fn chain_with(&self, change: impl FnOnce(&mut Delegation)) -> Chain {
        let mut delegation = terms("dana", &self.dana, 5);
        change(&mut delegation);
        Chain::issue(None, &self.root, &self.root(), delegation, 1).expect("issued")
    }

    pub(crate) fn chain(&self) -> Chain {
        self.chain_with(|_| ())
    }

    /// Dana's delegation to erin, signed by dana whatever it says.
    fn forged(&self, change: impl FnOnce(&mut Delegation)) -> Vec<u8> {
        self.forged_under(&self.chain(), change)
    }

    fn forged_under(&self, above: &Chain, change: impl FnOnce(&mut Delegation)) -> Vec<u8> {
        let mut delegation = terms("erin", &self.erin, 2);
        change(&mut delegation);
        let below = Verified::issue(&self.realm(), &self.dana, 1, delegation);
        encoded(above.delegations.iter().chain([&below]))
    }

    fn judge(&self, bytes: &[u8]) -> Result<Chain, DelegationError> {
        Chain::decode(bytes, &self.root())
    }

    /// A user by whoever holds `issuer`, at the end of `chain`, whether that may or not.
    fn user_bytes(
        &self,
        chain: &Chain,
        issuer: &SigningKey,
        change: impl FnOnce(&mut User),
    ) -> Vec<u8> {
        let mut user = user("bob", 1);
        change(&mut user);
        let user = Verified::issue(&self.realm(), issuer, 20, user);
        let mut writer = Writer::new();
        writer.u8(9);
        writer.bytes(&chain.encode());
        writer.bytes(user.bytes());
        writer.flag(false);
        writer.finish()
    }

    pub(crate) fn record(&self, chain: &Chain, change: impl FnOnce(&mut User)) -> UserRecord {
        let bytes = self.user_bytes(chain, &self.dana, change);
        UserRecord::decode(&bytes, &self.root()).expect("believed")
    }

    fn refused(&self, change: impl FnOnce(&mut User)) -> Option<DelegationError> {
        let bytes = self.user_bytes(&self.chain(), &self.dana, change);
        // Listing, a login's client and a directory all judge alike.
        let listed = UserRecord::decode_user(&bytes, &self.root()).err();
        let shown = verify_user(&bytes[..bytes.len() - 1], &self.root()).err();
        let decoded = UserRecord::decode(&bytes, &self.root()).err();
        assert_eq!(listed, decoded);
        assert_eq!(shown, decoded);
        match decoded {
            Some(RecordError::Delegation(error)) => Some(error),
            None => None,
            other => panic!("{other:?}"),
        }
    }
}

pub(crate) fn user(text: &str, version: u64) -> User {
    User {
        name: name(text),
        version,
        enabled: true,
        deleted: false,
        roles: vec!["app/*:r".parse().expect("a role")],
        user_key: None,
        keys: Vec::new(),
        second_factor: None,
    }
}

pub(crate) fn revoked(
    root: &SigningKey,
    version: u64,
    entries: &[(&[u64], u64)],
) -> RevocationsRecord {
    let entry = |(path, lowest_version): &(&[u64], u64)| {
        let entry = Revocation {
            lowest_version: *lowest_version,
            reason: "left".to_owned(),
        };
        (SerialPath::of(path.iter().copied()), entry)
    };
    let revocations = Revocations {
        version,
        entries: entries.iter().map(entry).collect(),
    };
    let realm = RealmId::without_heir(&root.verifying_key());
    RevocationsRecord::new(Verified::issue(&realm, root, 1, revocations))
}

fn encoded<'a>(statements: impl IntoIterator<Item = &'a Verified<Delegation>>) -> Vec<u8> {
    let statements: Vec<_> = statements.into_iter().collect();
    let mut writer = Writer::new();
    writer.count(statements.len());
    for statement in statements {
        writer.bytes(statement.bytes());
    }
    writer.finish()
}

#[test]
fn a_delegate_issues_users_within_its_bounds() {
    let world = World::new();
    let bytes = world.user_bytes(&world.chain(), &world.dana, |_| ());
    let record = UserRecord::decode(&bytes, &world.root()).expect("believed");
    assert_eq!(record.encode(), bytes);
    assert_eq!(record.encoded_length(), bytes.len());
    assert_eq!(record.chain().expect("a chain").path(), SerialPath::of([5]));
    let proof = record.user_proof();
    let shown = verify_user(&proof, &world.root()).expect("believed");
    assert_eq!(shown.body(), record.user());
    let (claimed, standing) = SignedRecord::claimed(&bytes, &world.root()).expect("a record");
    assert_eq!(claimed, SignedRecord::from(record.clone()).name());
    assert_eq!(standing, record.standing());
    for index in 0..bytes.len() {
        let mut changed = bytes.clone();
        changed[index] ^= 4;
        let refused = UserRecord::decode(&changed, &world.root()).is_err();
        assert!(refused, "{index}");
        assert!(UserRecord::decode(&bytes[..index], &world.root()).is_err());
    }
}

#[test]
fn a_chain_of_two_is_believed() {
    let world = World::new();
    let chain = world.judge(&world.forged(|_| ())).expect("believed");
    assert_eq!(chain.path(), SerialPath::of([5, 2]));
    assert_eq!(chain.last().name, name("erin"));
    let user = Verified::issue(&world.realm(), &world.erin, 20, user("bob", 1));
    assert!(UserRecord::by_delegate(chain, user, None).is_ok());
}

#[test]
fn a_delegation_by_anybody_but_the_root_is_refused() {
    let world = World::new();
    let stranger = Verified::issue(
        &world.realm(),
        &world.erin,
        1,
        terms("dana", &world.dana, 5),
    );
    assert_eq!(
        world.judge(&encoded([&stranger])).err(),
        Some(StatementError::WrongIssuer.into())
    );
}

#[test]
fn a_link_by_another_key_than_the_one_before_names_is_refused() {
    let world = World::new();
    let below = Verified::issue(
        &world.realm(),
        &world.root,
        1,
        terms("erin", &world.erin, 2),
    );
    let bytes = encoded(world.chain().delegations.iter().chain([&below]));
    assert_eq!(
        world.judge(&bytes).err(),
        Some(StatementError::WrongIssuer.into())
    );
}

#[test]
fn a_delegation_of_another_realm_is_refused() {
    let world = World::new();
    let other = key();
    let realm = RealmId::without_heir(&other.verifying_key());
    let foreign = Verified::issue(&realm, &world.root, 1, terms("dana", &world.dana, 5));
    assert_eq!(
        world.judge(&encoded([&foreign])).err(),
        Some(StatementError::WrongRealm.into())
    );
}

#[test]
fn an_empty_chain_and_one_of_four_are_refused() {
    let world = World::new();
    assert_eq!(world.judge(&[0; 4]).err(), Some(DelegationError::Length));
    let keys: Vec<SigningKey> = (0..4).map(|_| key()).collect();
    let mut issuer = &world.root;
    let mut statements = Vec::new();
    for (index, key) in keys.iter().enumerate() {
        let delegation = terms(&format!("d{index}"), key, 1);
        statements.push(Verified::issue(&world.realm(), issuer, 1, delegation));
        issuer = key;
    }
    let three = world.judge(&encoded(&statements[..3])).expect("believed");
    assert_eq!(
        world.judge(&encoded(&statements)).err(),
        Some(DelegationError::Length)
    );
    let fourth = Chain::issue(
        Some(&three),
        &keys[2],
        &world.root(),
        terms("d3", &keys[3], 1),
        1,
    );
    assert_eq!(fourth.err(), Some(DelegationError::Length));
}

#[test]
fn a_wider_grant_down_the_chain_is_refused() {
    let world = World::new();
    for wider in ["app/*:a", "*:r", "log/x:r", "app/*:rwdla"] {
        let grant: Grant = wider.parse().expect("a grant");
        let bytes = world.forged(|below| below.grants.push(grant.clone()));
        let expected = DelegationError::WiderGrant {
            issuer: name("dana"),
            grant,
        };
        assert_eq!(world.judge(&bytes).err(), Some(expected), "{wider}");
    }
}

#[test]
fn a_longer_validity_down_the_chain_is_refused() {
    let world = World::new();
    let longer = Some(DelegationError::Longer(name("erin")));
    let later = world.forged(|below| below.expires_ms = 101);
    assert_eq!(world.judge(&later).err(), longer);
    let earlier = world.forged(|below| below.valid_from_ms = 9);
    assert_eq!(world.judge(&earlier).err(), longer);
}

#[test]
fn who_may_not_delegate_does_not() {
    let world = World::new();
    let above = world.chain_with(|dana| dana.powers.delegations = false);
    let bytes = world.forged_under(&above, |below| below.powers.delegations = false);
    assert_eq!(
        world.judge(&bytes).err(),
        Some(DelegationError::MayNotDelegate(name("dana")))
    );
}

#[test]
fn a_power_that_the_issuer_lacks_is_not_handed_on() {
    let world = World::new();
    let above = world.chain_with(|dana| dana.powers.users = false);
    let bytes = world.forged_under(&above, |_| ());
    assert_eq!(
        world.judge(&bytes).err(),
        Some(DelegationError::WiderPowers(name("erin")))
    );
}

#[test]
fn one_key_or_one_name_twice_in_a_chain_is_refused() {
    let world = World::new();
    let dana = world.dana.verifying_key();
    for bytes in [
        world.forged(|below| below.key = dana),
        world.forged(|below| below.key = world.root.verifying_key()),
        world.forged(|below| below.name = name("dana")),
    ] {
        assert_eq!(world.judge(&bytes).err(), Some(DelegationError::Twice));
    }
}

#[test]
fn a_delegation_that_grants_nothing_or_never_holds_is_malformed() {
    let world = World::new();
    let malformed = |bytes: &[u8]| {
        matches!(
            world.judge(bytes),
            Err(DelegationError::Statement(StatementError::Malformed(_)))
        )
    };
    assert!(malformed(&world.forged(|below| below.grants.clear())));
    assert!(malformed(&world.forged(|below| below.expires_ms = 10)));
    let nothing = |below: &mut Delegation| {
        below.powers = Powers {
            users: false,
            delegations: false,
        };
    };
    assert!(malformed(&world.forged(nothing)));
    let many = |below: &mut Delegation| {
        below.grants = vec![below.grants[0].clone(); DELEGATION_GRANTS_MAX + 1];
    };
    assert!(malformed(&world.forged(many)));
    let long = |below: &mut Delegation| {
        let grant = format!("app/{}:r", "k".repeat(4000));
        below.grants = vec![grant.parse().expect("a grant"); 3];
    };
    // Longer than a statement of this kind may be.
    assert!(malformed(&world.forged(long)));
}

#[test]
fn what_nobody_would_believe_is_not_issued() {
    let world = World::new();
    let issue = |change: fn(&mut Delegation)| {
        let mut delegation = terms("dana", &world.dana, 5);
        change(&mut delegation);
        Chain::issue(None, &world.root, &world.root(), delegation, 20).err()
    };
    let grants = |dana: &mut Delegation| dana.grants.clear();
    assert_eq!(issue(grants), Some(DelegationError::Grants));
    let never = |dana: &mut Delegation| dana.expires_ms = dana.valid_from_ms;
    assert_eq!(issue(never), Some(DelegationError::NeverHolds));
    let over = |dana: &mut Delegation| dana.expires_ms = 20;
    assert_eq!(issue(over), Some(DelegationError::NeverHolds));
    let by_other = Chain::issue(
        None,
        &world.erin,
        &world.root(),
        terms("dana", &world.dana, 5),
        20,
    );
    assert_eq!(by_other.err(), Some(StatementError::WrongIssuer.into()));
}

#[test]
fn a_user_by_who_may_not_issue_users_is_refused() {
    let world = World::new();
    let chain = world.chain_with(|dana| dana.powers.users = false);
    let bytes = world.user_bytes(&chain, &world.dana, |_| ());
    assert_eq!(
        UserRecord::decode(&bytes, &world.root()).err(),
        Some(DelegationError::MayNotIssueUsers(name("dana")).into())
    );
}

#[test]
fn a_user_signed_by_another_key_than_the_chain_ends_in_is_refused() {
    let world = World::new();
    for issuer in [&world.root, &world.erin] {
        let bytes = world.user_bytes(&world.chain(), issuer, |_| ());
        assert_eq!(
            UserRecord::decode(&bytes, &world.root()).err(),
            Some(StatementError::WrongIssuer.into())
        );
    }
}

#[test]
fn a_record_with_the_chain_of_another_branch_is_refused() {
    let world = World::new();
    let fred = key();
    let other =
        Chain::issue(None, &world.root, &world.root(), terms("fred", &fred, 6), 1).expect("issued");
    let bytes = world.user_bytes(&other, &world.dana, |_| ());
    assert_eq!(
        UserRecord::decode(&bytes, &world.root()).err(),
        Some(StatementError::WrongIssuer.into())
    );
}

#[test]
fn a_delegates_statement_without_its_chain_is_refused() {
    let world = World::new();
    let statement = Verified::issue(&world.realm(), &world.dana, 20, user("bob", 1));
    let mut writer = Writer::new();
    writer.u8(3);
    writer.bytes(statement.bytes());
    writer.flag(false);
    assert_eq!(
        UserRecord::decode(&writer.finish(), &world.root()).err(),
        Some(StatementError::WrongIssuer.into())
    );
}

#[test]
fn a_credential_by_another_than_the_user_statement_is_refused() {
    let world = World::new();
    // The root's own user, whose statement a delegate replaced.
    let by_root = record(&world.root, &key(), "bob", 1, true);
    let credential = by_root.credential().expect("a password");
    let user_key = by_root.user().user_key;
    let mut bytes = world.user_bytes(&world.chain(), &world.dana, |user| user.user_key = user_key);
    bytes.pop();
    let mut writer = Writer::new();
    writer.flag(true);
    writer.bytes(credential.bytes());
    bytes.extend(writer.finish());
    assert_eq!(
        UserRecord::decode(&bytes, &world.root()).err(),
        Some(StatementError::WrongIssuer.into())
    );
    assert!(Claim::<Credential>::decode(credential.bytes()).is_ok());
}

#[test]
fn a_role_outside_of_the_delegation_is_refused() {
    let world = World::new();
    for outside in ["admin", "*:r", "app/*:a", "log/x:r"] {
        let role: Role = outside.parse().expect("a role");
        let refused = world.refused(|user| user.roles.push(role.clone()));
        assert_eq!(refused, Some(DelegationError::RoleOutside(role)));
    }
    assert_eq!(world.refused(|user| user.roles.clear()), None);
}

#[test]
fn the_role_admin_is_handed_out_only_where_everything_was_delegated() {
    let world = World::new();
    let chain = world.chain_with(|dana| dana.grants = vec![Grant::everything()]);
    let bytes = world.user_bytes(&chain, &world.dana, |user| user.roles = vec![Role::Admin]);
    assert!(UserRecord::decode(&bytes, &world.root()).is_ok());
}

#[test]
fn a_delegate_does_not_issue_its_own_record() {
    let world = World::new();
    assert_eq!(
        world.refused(|user| user.name = name("dana")),
        Some(DelegationError::OwnRecord(name("dana")))
    );
    assert_eq!(
        world.refused(|user| user.keys.push(device_key(&world.dana))),
        Some(DelegationError::OwnKey)
    );
}

#[test]
fn a_delegate_does_not_issue_the_record_of_who_delegated_to_it() {
    let world = World::new();
    let chain = world.judge(&world.forged(|_| ())).expect("believed");
    let bytes = world.user_bytes(&chain, &world.erin, |user| user.name = name("dana"));
    assert_eq!(
        UserRecord::decode(&bytes, &world.root()).err(),
        Some(DelegationError::OwnRecord(name("dana")).into())
    );
}

#[test]
fn reserved_names_are_the_roots() {
    let world = World::new();
    for reserved in RESERVED_NAMES {
        assert_eq!(
            world.refused(|user| user.name = name(reserved)),
            Some(DelegationError::ReservedName(name(reserved)))
        );
    }
}

#[test]
fn a_version_above_which_the_root_has_no_room_is_refused() {
    let world = World::new();
    let version = DELEGATED_VERSION_MAX;
    assert_eq!(world.refused(|user| user.version = version), None);
    assert_eq!(
        world.refused(|user| user.version = version + 1),
        Some(DelegationError::VersionTooHigh)
    );
}

#[test]
fn users_of_a_delegate_are_there_while_the_delegation_holds() {
    let world = World::new();
    let mut directory = UserDirectory::default();
    assert!(directory.apply(world.record(&world.chain(), |_| ())));
    let bob = name("bob");
    for (now, there) in [(9, false), (10, true), (99, true), (100, false)] {
        assert_eq!(directory.active(&bob, now).is_some(), there, "at {now}");
    }
    // Renewed: the same user statement under the newer delegation.
    let renewed = world.chain_with(|dana| {
        dana.version = 2;
        dana.expires_ms = 1000;
    });
    let held = directory.record(&bob).expect("a record").clone();
    let chain = held.chain().expect("a chain");
    let chain = chain.renewed(&renewed, &world.root());
    let chain = chain.expect("newer").expect("believed");
    let again = UserRecord::by_delegate(chain, held.user_statement().clone(), None);
    assert!(directory.apply(again.expect("within")));
    assert!(directory.active(&bob, 999).is_some());
    // The older delegation does not come back.
    assert!(!directory.apply(held));
    assert!(directory.active(&bob, 999).is_some());
}

#[test]
fn no_record_under_a_delegation_that_was_revoked_for_good_is_kept_or_taken() {
    let world = World::new();
    let bob = world.record(&world.chain(), |_| ());
    let mut before = UserDirectory::default();
    let mut after = UserDirectory::default();
    let revocations = revoked(&world.root, 1, &[(&[5], Revocation::FOR_GOOD)]);
    assert!(before.apply(bob.clone()));
    assert!(before.apply_signed(revocations.clone().into()));
    assert!(after.apply_signed(revocations.into()));
    assert!(!after.apply(bob.clone()));
    assert!(!before.wants(&SignedRecord::from(bob.clone()).name(), &bob.standing()));
    assert!(matches!(
        before.check_revoked(&bob),
        Err(DelegationError::Revoked { reason, .. }) if reason == "left"
    ));
    for directory in [&before, &after] {
        assert!(directory.record(&name("bob")).is_none());
        assert!(directory.is_empty());
        assert!(directory.stand_in(0).is_none());
    }
    assert_eq!(before.digest(), after.digest());
    assert_eq!(before.bucket_digests(), after.bucket_digests());
}

#[test]
fn a_revoked_delegate_in_the_middle_takes_all_below_along() {
    let world = World::new();
    let chain = world.judge(&world.forged(|_| ())).expect("believed");
    let user = Verified::issue(&world.realm(), &world.erin, 20, user("bob", 1));
    let bob = UserRecord::by_delegate(chain, user, None).expect("within");
    let mut directory = UserDirectory::default();
    // Erin's serial below another delegate is not hers.
    let other: &[u64] = &[2];
    let entries = [(other, Revocation::FOR_GOOD)];
    directory.apply_signed(revoked(&world.root, 1, &entries).into());
    assert!(directory.apply(bob.clone()));
    let entries = [(&[5][..], Revocation::FOR_GOOD)];
    directory.apply_signed(revoked(&world.root, 2, &entries).into());
    assert!(directory.record(&name("bob")).is_none());
    assert!(!directory.apply(bob));
}

#[test]
fn an_older_version_of_a_delegation_is_refused_once_a_newer_is_demanded() {
    let world = World::new();
    let old = world.record(&world.chain(), |_| ());
    let newer = world.chain_with(|dana| {
        dana.version = 2;
        dana.grants = vec!["app/*:r".parse().expect("a grant")];
    });
    let new = world.record(&newer, |_| ());
    let mut directory = UserDirectory::default();
    directory.apply_signed(revoked(&world.root, 1, &[(&[5], 2)]).into());
    // It is kept, so that nothing older comes back, and does not count.
    assert!(directory.apply(old));
    assert!(directory.record(&name("bob")).is_none());
    assert!(directory.active(&name("bob"), 50).is_none());
    assert!(directory.apply(new));
    assert!(directory.active(&name("bob"), 50).is_some());
}

#[test]
fn revoking_a_serial_ends_every_key_that_got_it() {
    let world = World::new();
    // A root that was restored gave the serial to another key.
    let other = Chain::issue(
        None,
        &world.root,
        &world.root(),
        terms("fred", &world.erin, 5),
        1,
    )
    .expect("issued");
    let carl = Verified::issue(&world.realm(), &world.erin, 20, user("carl", 1));
    let mut directory = UserDirectory::default();
    assert!(directory.apply(world.record(&world.chain(), |_| ())));
    assert!(directory.apply(UserRecord::by_delegate(other.clone(), carl, None).expect("within")));
    assert!(world.chain().renewed(&other, &world.root()).is_none());
    let entries = [(&[5][..], Revocation::FOR_GOOD)];
    directory.apply_signed(revoked(&world.root, 1, &entries).into());
    assert!(directory.is_empty());
}

#[test]
fn only_the_root_revokes() {
    let world = World::new();
    let entries = [(&[5][..], Revocation::FOR_GOOD)];
    let own = Revocations {
        version: 9,
        entries: revoked(&world.root, 9, &entries)
            .revocations()
            .entries
            .clone(),
    };
    let by_delegate = Verified::issue(&world.realm(), &world.dana, 1, own);
    let bytes = RevocationsRecord::new(by_delegate).encode();
    assert_eq!(
        SignedRecord::decode(&bytes, &world.root()).err(),
        Some(StatementError::WrongIssuer.into())
    );
    let bytes = revoked(&world.root, 9, &entries).encode();
    assert!(SignedRecord::decode(&bytes, &world.root()).is_ok());
    for index in 0..bytes.len() {
        let mut changed = bytes.clone();
        changed[index] ^= 4;
        assert!(SignedRecord::decode(&changed, &world.root()).is_err());
        assert!(SignedRecord::decode(&bytes[..index], &world.root()).is_err());
    }
}

#[test]
fn revocations_of_the_root_out_of_order_or_twice_are_malformed() {
    let world = World::new();
    let encode = |paths: &[&[u64]], reason: &str| {
        let mut writer = Writer::new();
        writer.u64(1);
        writer.count(paths.len());
        for path in paths {
            SerialPath::of(path.iter().copied()).encode(&mut writer);
            writer.u64(1);
            writer.text(reason);
        }
        writer.finish()
    };
    let decode = |bytes: &[u8]| {
        use crate::statement::Body;
        let mut reader = Reader::new(bytes);
        Revocations::decode(&mut reader).is_ok() && reader.finish().is_ok()
    };
    assert!(decode(&encode(&[&[5], &[5, 1], &[6]], "left")));
    assert!(!decode(&encode(&[&[]], "left")));
    assert!(!decode(&encode(&[&[6], &[5]], "left")));
    assert!(!decode(&encode(&[&[5], &[5]], "left")));
    assert!(!decode(&encode(&[&[1, 2, 3, 4]], "left")));
    assert!(!decode(&encode(&[&[5]], "a\u{1b}[2J")));
    assert!(!decode(&encode(&[&[5]], &"r".repeat(65))));
    drop(world);
}

#[test]
fn the_roots_record_holds_whatever_version_a_delegate_gives() {
    let world = World::new();
    let high = world.record(&world.chain(), |user| user.version = DELEGATED_VERSION_MAX);
    let by_root = record_of_keys(&world.root, "bob", 1, Vec::new());
    for order in [[&high, &by_root], [&by_root, &high]] {
        let mut directory = UserDirectory::default();
        for record in order {
            directory.apply(record.clone());
        }
        let held = directory.record(&name("bob")).expect("a record");
        assert!(held.chain().is_none());
    }
}

#[test]
fn an_elder_delegate_prevails_over_a_younger_and_an_issuer_over_those_below() {
    let paths: [&[u64]; 5] = [&[], &[5], &[5, 1], &[5, 2], &[7]];
    let standing = |path: &[u64], version| {
        crate::records::Standing::new(
            0,
            SerialPath::of(path.iter().copied()),
            vec![1; path.len()],
            version,
            [0; 32],
        )
    };
    for (index, path) in paths.iter().enumerate() {
        for below in &paths[index + 1..] {
            assert!(
                standing(path, 1) > standing(below, 99),
                "{path:?} {below:?}"
            );
        }
    }
}

/// All orders of a handful of things.
fn orders(count: usize) -> Vec<Vec<usize>> {
    if count == 0 {
        return vec![Vec::new()];
    }
    orders(count - 1)
        .into_iter()
        .flat_map(|order| {
            (0..count).map(move |at| {
                let mut order = order.clone();
                order.insert(at, count - 1);
                order
            })
        })
        .collect()
}

#[test]
fn records_of_several_issuers_converge_in_any_order_of_arrival() {
    let world = World::new();
    let fred = key();
    let fred_chain =
        Chain::issue(None, &world.root, &world.root(), terms("fred", &fred, 6), 1).expect("issued");
    let by_fred = |version| {
        let user = Verified::issue(&world.realm(), &fred, 20, user("bob", version));
        UserRecord::by_delegate(fred_chain.clone(), user, None).expect("within")
    };
    let renewed = world.chain_with(|dana| dana.version = 2);
    let twice = |roles: &str| {
        let role = roles.parse().expect("a role");
        world.record(&world.chain(), |user| user.roles = vec![role])
    };
    let entries = [(&[5][..], 2)];
    let records: Vec<SignedRecord> = vec![
        twice("app/*:r").into(),
        twice("app/*:w").into(),
        world.record(&renewed, |_| ()).into(),
        by_fred(7).into(),
        roles_record(&world.root, 3, "app/*:r").into(),
        roles_record(&world.root, 3, "app/*:w").into(),
        revoked(&world.root, 1, &entries).into(),
    ];
    let digest = |order: &[usize]| {
        let mut directory = UserDirectory::default();
        for at in order {
            directory.apply_signed(records[*at].clone());
        }
        directory.digest()
    };
    let all = orders(records.len());
    assert_eq!(all.len(), 5040);
    let expected = digest(&all[0]);
    for order in &all {
        assert_eq!(digest(order), expected, "{order:?}");
    }
    // Also before anything is revoked, whichever of one version comes first.
    assert_eq!(digest(&[0, 1]), digest(&[1, 0]));
    assert_ne!(digest(&[0]), digest(&[1]));
}

#[test]
fn a_role_that_grew_beyond_the_delegation_grants_no_more_than_that() {
    use crate::session::{Authenticated, NotAllowed};
    let world = World::new();
    let laptop = key();
    let enrolled = device_key(&laptop);
    let mut directory = UserDirectory::default();
    directory.apply(world.record(&world.chain(), |user| {
        user.roles = vec!["ops".parse().expect("a role")];
        user.keys.push(enrolled.clone());
    }));
    let session = Authenticated {
        node: sealmoot_crypto::signature::KeyId::from_bytes([0; 32]),
        user: name("bob"),
        user_key: laptop.verifying_key(),
        key: key().verifying_key().key_id(),
        issued_ms: 1,
        expires_ms: 1000,
        idle_ms: 0,
        enrolled: Some(enrolled),
    };
    let may = |directory: &UserDirectory, action, key: &str, now| {
        session.decide(directory, now, |user, roles, named| {
            crate::policy::decide(user, roles, named, action, key.as_bytes())
        })
    };
    directory.apply_signed(roles_record(&world.root, 1, "app/*:rwdla").into());
    assert!(may(&directory, Action::Read, "app/x", 50).is_ok());
    assert!(matches!(
        may(&directory, Action::Administer, "app/x", 50),
        Err(NotAllowed::NotDelegated(_))
    ));
    directory.apply_signed(roles_record(&world.root, 2, "*:rwdla").into());
    assert!(may(&directory, Action::Read, "app/x", 50).is_ok());
    assert!(matches!(
        may(&directory, Action::Read, "log/x", 50),
        Err(NotAllowed::NotDelegated(_))
    ));
    // Time's up, or revoked: the session ends.
    assert!(matches!(
        may(&directory, Action::Read, "app/x", 100),
        Err(NotAllowed::Ended)
    ));
    let entries = [(&[5][..], Revocation::FOR_GOOD)];
    directory.apply_signed(revoked(&world.root, 1, &entries).into());
    assert!(matches!(
        may(&directory, Action::Read, "app/x", 50),
        Err(NotAllowed::Ended)
    ));
}

#[test]
fn named_roles_are_handed_out_only_while_they_lie_within_the_delegation() {
    let world = World::new();
    let chain = world.chain();
    let role: Role = "ops".parse().expect("a role");
    let within = roles_record(&world.root, 1, "app/x/*:r");
    let beyond = roles_record(&world.root, 2, "log/*:r");
    assert_eq!(chain.check_named([&role], within.roles()), Ok(()));
    assert_eq!(
        chain.check_named([&role], beyond.roles()),
        Err(DelegationError::RoleOutside(role.clone()))
    );
}

#[test]
fn a_chain_goes_over_to_a_later_root_and_never_back_to_a_former_one() {
    use crate::roots::tests::Keys;
    let keys = Keys::new(3);
    let (first, second) = (keys.first(), keys.after(1));
    let dana = key();
    let issue = |roots: &Roots, by: &SigningKey, version| {
        let mut delegation = terms("dana", &dana, 5);
        delegation.version = version;
        Chain::issue(None, by, roots, delegation, 1).expect("issued")
    };
    let former = issue(&first, &keys.0[0], 9);
    let later = former
        .under_root(&keys.0[1], &second, 2, 2)
        .expect("signed anew");
    assert_eq!((later.root(), later.last().version), (1, 2));
    let read = Chain::decode(&later.encode(), &second).expect("believed");
    assert_eq!(read.root(), 1);
    let renewed = former.renewed(&later, &second).expect("renewed");
    assert_eq!(renewed.expect("within").root(), 1);
    // Whatever version who stole the former key gives it.
    let thiefs = issue(&first, &keys.0[0], u64::MAX);
    assert!(later.renewed(&thiefs, &second).is_none());
    // Only the current root signs anew.
    let refused = former.under_root(&keys.0[0], &second, 3, 2);
    assert!(matches!(
        refused,
        Err(DelegationError::Statement(StatementError::WrongIssuer))
    ));
}
