use super::*;
use crate::delegation::tests::{World, key, revoked, terms, user};
use crate::records::{RevocationsRecord, SignedRecord};
use crate::roots::Roots;
use crate::statement::{Revocation, Verified};
use crate::users::tests::record_of_keys;
use sealmoot_crypto::signature::SigningKey;

fn bob() -> Name {
    "bob".parse().expect("a name")
}

/// Dana's chain, which hands out `app/*:r` only from the second version on.
fn narrowed(world: &World) -> Chain {
    world.chain_with(|dana| {
        dana.version = 2;
        dana.grants = vec!["app/*:r".parse().expect("a grant")];
    })
}

/// Bob as dana made him: to read, then to write too, then disabled.
fn versions(world: &World) -> [UserRecord; 3] {
    let chain = world.chain();
    let role = |text: &str| vec![text.parse().expect("a role")];
    [
        world.record(&chain, |bob| bob.roles = role("app/*:r")),
        world.record(&chain, |bob| {
            bob.version = 2;
            bob.roles = role("app/*:rw");
        }),
        world.record(&chain, |bob| {
            bob.version = 3;
            bob.roles = role("app/*:rw");
            bob.enabled = false;
        }),
    ]
}

/// A record under another delegation, whose holder has `key`, with this serial.
fn by_other(world: &World, serial: u64, key: &SigningKey, version: u64) -> UserRecord {
    let root = world.root.verifying_key();
    let name = format!("fred{serial}");
    let chain = Chain::issue(
        None,
        &world.root,
        &Roots::sole(root),
        terms(&name, key, serial),
        1,
    );
    let realm = crate::realm_id::RealmId::without_heir(&root);
    let user = Verified::issue(&realm, key, 20, user("bob", version));
    UserRecord::by_delegate(chain.expect("issued"), user, None).expect("within")
}

/// What one directory has and the other lacks, as nodes tell each other.
fn tell(from: &UserDirectory, to: &mut UserDirectory) {
    let revocations = from.revocations_record().cloned();
    if let Some(revocations) = revocations {
        to.apply_signed(revocations.into());
    }
    let digests = to.bucket_digests();
    let differing = from.differing(&digests, None).expect("all buckets");
    for record in differing.cloned().collect::<Vec<_>>() {
        to.apply(record);
    }
}

fn orders(count: usize) -> Vec<Vec<usize>> {
    let Some(last) = count.checked_sub(1) else {
        return vec![Vec::new()];
    };
    let shorter = orders(last).into_iter();
    shorter
        .flat_map(|order| {
            (0..count).map(move |at| {
                let mut order = order.clone();
                order.insert(at, last);
                order
            })
        })
        .collect()
}

#[test]
fn a_user_who_was_disabled_does_not_come_back_by_an_older_version_under_a_narrower_delegation() {
    let world = World::new();
    let [first, second, third] = versions(&world);
    let narrow = narrowed(&world);
    let statement = first.user_statement().clone();
    let replayed = UserRecord::by_delegate(narrow, statement, None).expect("within");
    let records: [SignedRecord; 5] = [
        first.into(),
        second.into(),
        third.into(),
        revoked(&world.root, 1, &[(&[5], 2)]).into(),
        replayed.into(),
    ];
    let mut digests = Vec::new();
    for order in orders(records.len()) {
        let mut directory = UserDirectory::default();
        for at in &order {
            directory.apply_signed(records[*at].clone());
        }
        assert!(directory.record(&bob()).is_none(), "{order:?}");
        assert!(directory.is_empty());
        digests.push(directory.digest());
        // A node that knows nothing yet, or that started again from its log.
        let mut other = UserDirectory::default();
        for record in directory.signed_records() {
            other.apply_signed(record);
        }
        assert_eq!(other.digest(), directory.digest());
        assert!(!other.apply_signed(records[4].clone()), "{order:?}");
    }
    digests.dedup();
    assert_eq!(digests.len(), 1);
}

#[test]
fn who_was_lost_is_made_anew_by_a_higher_version_only() {
    let world = World::new();
    let mut directory = UserDirectory::default();
    for record in versions(&world) {
        directory.apply(record);
    }
    directory.apply_signed(revoked(&world.root, 1, &[(&[5], 2)]).into());
    let narrow = narrowed(&world);
    let made = |version| world.record(&narrow, |bob| bob.version = version);
    for version in [1, 2] {
        assert!(!directory.apply(made(version)), "{version}");
    }
    assert!(directory.apply(made(4)));
    assert!(directory.active(&bob(), 50).is_some());
}

#[test]
fn a_younger_delegates_record_counts_again_at_its_newest_version() {
    let world = World::new();
    let fred = key();
    let elder = world.record(&world.chain(), |_| ());
    let disabled = {
        let older = by_other(&world, 6, &fred, 3);
        let mut off = older.user().clone();
        off.enabled = false;
        let realm = crate::realm_id::RealmId::without_heir(&world.root.verifying_key());
        let statement = Verified::issue(&realm, &fred, 20, off);
        let chain = older.chain().expect("a chain").clone();
        UserRecord::by_delegate(chain, statement, None).expect("within")
    };
    let replayed = by_other(&world, 6, &fred, 1);
    let gone = revoked(&world.root, 1, &[(&[5], Revocation::FOR_GOOD)]);
    let records: [SignedRecord; 4] = [elder.into(), disabled.into(), replayed.into(), gone.into()];
    for order in orders(records.len()) {
        let mut directory = UserDirectory::default();
        for at in &order {
            directory.apply_signed(records[*at].clone());
        }
        let bob = directory.record(&bob()).expect("fred's");
        assert_eq!(bob.user().version, 3, "{order:?}");
        assert!(!bob.user().enabled, "{order:?}");
        assert_eq!(directory.records_behind().count(), 0, "{order:?}");
    }
}

#[test]
fn nothing_is_kept_behind_the_roots_record_or_of_who_was_revoked_for_good() {
    let world = World::new();
    let mut directory = UserDirectory::default();
    let [first, second, _] = versions(&world);
    assert!(directory.apply(first));
    assert!(directory.apply(by_other(&world, 6, &key(), 1)));
    assert_eq!(directory.records_behind().count(), 1);
    let mut by_root = directory.clone();
    assert!(by_root.apply(record_of_keys(&world.root, "bob", 1, Vec::new())));
    assert_eq!(by_root.records_behind().count(), 0);
    assert!(!by_root.apply(second.clone()));
    let ended = [
        (&[5][..], Revocation::FOR_GOOD),
        (&[6], Revocation::FOR_GOOD),
    ];
    directory.apply_signed(revoked(&world.root, 1, &ended).into());
    assert!(!directory.apply(second));
    assert_eq!(directory.records_behind().count(), 0);
    assert!(directory.is_empty());
    let nothing = UserDirectory::default();
    assert_eq!(directory.bucket_digests(), nothing.bucket_digests());
}

#[test]
fn of_one_user_the_records_of_the_eldest_issuers_are_kept() {
    let world = World::new();
    let more = ISSUERS_PER_USER_MAX as u64 + 3;
    let records: Vec<UserRecord> = (10..10 + more)
        .map(|serial| by_other(&world, serial, &key(), 1))
        .collect();
    let mut forward = UserDirectory::default();
    let mut backward = UserDirectory::default();
    for record in &records {
        forward.apply(record.clone());
    }
    for record in records.iter().rev() {
        backward.apply(record.clone());
    }
    for directory in [&forward, &backward] {
        assert_eq!(directory.len(), 1);
        let behind = directory.records_behind().count();
        assert_eq!(behind, ISSUERS_PER_USER_MAX - 1);
    }
    assert_eq!(forward.digest(), backward.digest());
}

#[test]
fn what_is_kept_takes_room_and_is_not_pushed_out() {
    let world = World::new();
    let [first, second, third] = versions(&world);
    let mut directory = UserDirectory::default();
    directory.apply(first);
    directory.apply_signed(revoked(&world.root, 1, &[(&[5], 2)]).into());
    // As if all places but none were taken: making them all takes minutes.
    directory.count = USERS_MAX - 1;
    assert_eq!(directory.check_room(1).ok(), None);
    assert!(!directory.apply(by_other(&world, 6, &key(), 1)));
    assert!(directory.apply(second));
    assert!(directory.apply(third));
    assert_eq!(directory.records_behind().count(), 1);
    // The root's makes room itself.
    assert!(directory.apply(record_of_keys(&world.root, "bob", 1, Vec::new())));
    assert_eq!(directory.records_behind().count(), 0);
}

/// Numbers that a seed repeats (Knuth's MMIX generator).
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005);
        self.0 = self.0.wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % bound
    }
}

/// All that can be told of bob: by dana under two versions of the delegation, by two
/// younger delegates, and three times what was revoked.
fn pool(world: &World) -> (Vec<UserRecord>, Vec<RevocationsRecord>) {
    let mut records = versions(world).to_vec();
    let narrow = narrowed(world);
    for version in [1, 2, 4] {
        records.push(world.record(&narrow, |bob| bob.version = version));
    }
    for serial in [6, 7] {
        let key = key();
        for version in [1, 2, 3] {
            records.push(by_other(world, serial, &key, version));
        }
    }
    let revocations: [&[(&[u64], u64)]; 3] = [
        &[(&[5], 2)],
        &[(&[5], 2), (&[6], Revocation::FOR_GOOD)],
        &[(&[5], 3), (&[6], Revocation::FOR_GOOD)],
    ];
    let revocations = (1..)
        .zip(revocations)
        .map(|(version, entries)| revoked(&world.root, version, entries));
    (records, revocations.collect())
}

#[test]
fn nodes_agree_and_go_back_to_no_older_version_whatever_comes_in_which_order() {
    let world = World::new();
    let (records, revocations) = pool(&world);
    for seed in 0..300 {
        let mut numbers = Numbers(seed);
        let mut nodes = vec![UserDirectory::default(); 3];
        let mut seen: Vec<BTreeMap<SerialPath, u64>> = vec![BTreeMap::new(); 3];
        let mut told = UserDirectory::default();
        for _ in 0..40 {
            let at = numbers.below(3);
            match numbers.below(8) {
                0 => {
                    let from = nodes[numbers.below(3)].clone();
                    tell(&from, &mut nodes[at]);
                }
                1 => {
                    let record = &revocations[numbers.below(3)];
                    nodes[at].apply_signed(record.clone().into());
                    told.apply_signed(record.clone().into());
                }
                2 => {
                    // It starts again, from a log whose records come in some order.
                    let mut log: Vec<SignedRecord> = nodes[at].signed_records().collect();
                    let mut again = UserDirectory::default();
                    while !log.is_empty() {
                        again.apply_signed(log.swap_remove(numbers.below(log.len())));
                    }
                    assert_eq!(again.digest(), nodes[at].digest(), "seed {seed}");
                    nodes[at] = again;
                }
                _ => {
                    let record = records[numbers.below(records.len())].clone();
                    nodes[at].apply(record.clone());
                    told.apply(record);
                }
            }
            for (node, seen) in nodes.iter().zip(&mut seen) {
                let counting = node.record(&bob());
                for record in counting.into_iter().chain(node.records_behind()) {
                    let path = record.chain().map(Chain::path).unwrap_or_default();
                    let version = record.user().version;
                    let highest = seen.entry(path).or_default();
                    assert!(
                        version >= *highest,
                        "seed {seed}: {version} after {highest}"
                    );
                    *highest = version;
                }
            }
        }
        for _ in 0..2 {
            for (from, to) in [(0, 1), (1, 2), (2, 0), (0, 2), (2, 1), (1, 0)] {
                let from = nodes[from].clone();
                tell(&from, &mut nodes[to]);
            }
        }
        for node in &nodes {
            assert_eq!(node.digest(), told.digest(), "seed {seed}");
        }
    }
}
