//! What a directory does when the realm goes from one root to the next.

use sealmoot_crypto::signature::SigningKey;

use super::*;
use crate::roots::tests::Keys;
use crate::statement::{Revocations, RevokedNodes, RevokedSessions, Roles, User};

struct World {
    keys: Keys,
    first: Roots,
    second: Roots,
}

impl World {
    fn new() -> Self {
        let keys = Keys::new(4);
        Self {
            first: keys.first(),
            second: keys.after(1),
            keys,
        }
    }

    fn directory(&self, roots: &Roots) -> UserDirectory {
        let mut directory = UserDirectory::default();
        directory.learn_roots(roots).expect("the first");
        directory
    }

    fn key(&self, root: u64) -> &SigningKey {
        &self.keys.0[root as usize]
    }

    fn user(&self, root: u64, name: &str, version: u64) -> SignedRecord {
        let user = User {
            name: name.parse().expect("a name"),
            version,
            enabled: true,
            deleted: false,
            roles: Vec::new(),
            user_key: None,
            keys: Vec::new(),
            second_factor: None,
        };
        let user = Verified::issue(&self.first.realm(), self.key(root), 1, user);
        let record = UserRecord::new(user, None).expect("no password");
        record.under_root(root).into()
    }

    fn roles(&self, root: u64, version: u64) -> SignedRecord {
        let roles = Roles {
            version,
            roles: NamedRoles::default(),
        };
        let roles = Verified::issue(&self.first.realm(), self.key(root), 1, roles);
        RolesRecord::new(roles).under_root(root).into()
    }

    fn nodes(&self, root: u64, revoked: &[KeyId]) -> SignedRecord {
        let mut nodes = RevokedNodes::default();
        nodes.version = 1;
        for key in revoked {
            let name = "n1".parse().expect("a name");
            nodes.revoke(*key, name, 1).expect("room");
        }
        let nodes = Verified::issue(&self.first.realm(), self.key(root), 1, nodes);
        RevokedNodesRecord::new(nodes).under_root(root).into()
    }

    fn sessions(&self, root: u64) -> SignedRecord {
        let mut sessions = RevokedSessions::default();
        sessions.version = 1;
        let sessions = Verified::issue(&self.first.realm(), self.key(root), 1, sessions);
        RevokedSessionsRecord::new(sessions).under_root(root).into()
    }

    /// What a root signs in any case.
    fn all_of(&self, root: u64) -> [SignedRecord; 3] {
        [
            self.sessions(root),
            self.nodes(root, &[]),
            self.revocations(root),
        ]
    }

    fn revocations(&self, root: u64) -> SignedRecord {
        let revocations = Revocations {
            version: 1,
            ..Revocations::default()
        };
        let revocations = Verified::issue(&self.first.realm(), self.key(root), 1, revocations);
        RevocationsRecord::new(revocations).under_root(root).into()
    }
}

fn name(text: &str) -> Name {
    text.parse().expect("a name")
}

#[test]
fn records_carry_which_root_is_behind_them_and_others_are_refused() {
    let world = World::new();
    for root in [0, 1] {
        for record in [
            world.user(root, "alice", 1),
            world.roles(root, 1),
            world.nodes(root, &[]),
            world.revocations(root),
        ] {
            let bytes = record.encode();
            let read = SignedRecord::decode(&bytes, &world.second).expect("a root's");
            assert_eq!(read.root(), root);
            assert_eq!(read.standing(), record.standing());
            let claimed = SignedRecord::claimed(&bytes, &world.second);
            assert_eq!(claimed, Ok((record.name(), record.standing())));
            // Who does not know the second root believes nothing of it.
            let known = SignedRecord::decode(&bytes, &world.first).is_ok();
            assert_eq!(known, root == 0);
            assert_eq!(
                SignedRecord::claimed(&bytes, &world.first).is_ok(),
                root == 0
            );
        }
    }
    for record in [world.user(2, "alice", 9), world.roles(2, 9)] {
        assert!(SignedRecord::decode(&record.encode(), &world.second).is_err());
        assert!(SignedRecord::claimed(&record.encode(), &world.second).is_err());
    }
}

#[test]
fn a_later_root_prevails_whatever_the_versions() {
    let world = World::new();
    let standing = |root, version| world.user(root, "alice", version).standing();
    assert!(standing(1, 1) > standing(0, u64::MAX));
    assert!(standing(1, 2) > standing(1, 1));
}

#[test]
fn nothing_new_by_a_former_root_is_taken() {
    let world = World::new();
    let mut directory = world.directory(&world.first);
    assert!(directory.apply_signed(world.user(0, "alice", 1)));
    assert_eq!(directory.learn_roots(&world.second), Ok(true));
    assert_eq!(directory.learn_roots(&world.second), Ok(false));
    let digest = directory.digest();
    for record in [
        world.sessions(0),
        world.user(0, "alice", u64::MAX),
        world.user(0, "mallory", 1),
        world.roles(0, u64::MAX),
        world.nodes(0, &[world.key(3).verifying_key().key_id()]),
        world.revocations(0),
    ] {
        assert!(!directory.wants(&record.name(), &record.standing()));
        assert!(!directory.apply_signed(record));
    }
    assert_eq!(directory.digest(), digest);
}

#[test]
fn what_a_former_root_said_is_in_force_until_the_new_one_said_all() {
    let world = World::new();
    let node = world.key(3).verifying_key().key_id();
    let mut directory = world.directory(&world.first);
    for record in [
        world.user(0, "alice", 7),
        world.user(0, "bob", 7),
        world.roles(0, 7),
        world.nodes(0, &[node]),
    ] {
        assert!(directory.apply_signed(record));
    }
    directory.learn_roots(&world.second).expect("its heir");
    assert!(directory.record(&name("bob")).is_some());
    assert!(directory.is_node_revoked(&node));
    // A lower version, by the later root.
    assert!(directory.apply_signed(world.user(1, "alice", 1)));
    assert!(directory.apply_signed(world.nodes(1, &[])));
    assert!(!directory.is_node_revoked(&node));
    assert!(directory.record(&name("bob")).is_some());
    assert!(directory.roles_record().is_some());
    assert!(directory.apply_signed(world.sessions(1)));
    assert_eq!(directory.settled_root(), 0);
    assert!(directory.apply_signed(world.revocations(1)));
    assert_eq!(directory.settled_root(), 1);
    assert!(directory.record(&name("bob")).is_none());
    assert!(directory.roles_record().is_none());
    assert_eq!(
        directory.record(&name("alice")).map(UserRecord::root),
        Some(1)
    );
    assert_eq!(directory.len(), 1);
}

#[test]
fn the_same_records_lead_to_the_same_directory_in_another_order() {
    let world = World::new();
    let former = [
        world.user(0, "alice", 7),
        world.user(0, "bob", 7),
        world.roles(0, 7),
    ];
    let later = [
        world.user(1, "alice", 1),
        world.sessions(1),
        world.nodes(1, &[]),
        world.revocations(1),
    ];
    let mut lived = world.directory(&world.first);
    for record in &former {
        assert!(lived.apply_signed(record.clone()));
    }
    lived.learn_roots(&world.second).expect("its heir");
    for record in &later {
        assert!(lived.apply_signed(record.clone()));
    }
    // As a node replays its log: all records, and the roots behind them.
    let mut replayed = UserDirectory::default();
    for record in later.iter().rev().chain(former.iter().rev()) {
        replayed.apply_signed(record.clone());
    }
    replayed.learn_roots(&world.second).expect("the first");
    assert_eq!(replayed.digest(), lived.digest());
    // And so does one that was told of the new root alone.
    let mut told = world.directory(&world.second);
    for record in former.iter().chain(&later) {
        told.apply_signed(record.clone());
    }
    assert_eq!(told.digest(), lived.digest());
}

/// All orders of so many things.
fn orders(count: usize) -> Vec<Vec<usize>> {
    if count == 0 {
        return vec![Vec::new()];
    }
    let mut all = Vec::new();
    for shorter in orders(count - 1) {
        for place in 0..count {
            let mut order = shorter.clone();
            order.insert(place, count - 1);
            all.push(order);
        }
    }
    all
}

#[test]
fn only_all_three_that_a_root_signs_in_any_case_settle_it() {
    let world = World::new();
    let node = world.key(3).verifying_key().key_id();
    for order in orders(3) {
        let mut directory = world.directory(&world.first);
        for record in [
            world.user(0, "bob", 7),
            world.roles(0, 7),
            world.sessions(0),
            world.nodes(0, &[node]),
            world.revocations(0),
        ] {
            assert!(directory.apply_signed(record));
        }
        directory.learn_roots(&world.second).expect("its heir");
        let all = world.all_of(1);
        for (place, index) in order.iter().enumerate() {
            assert_eq!(directory.settled_root(), 0, "{order:?} {place}");
            assert!(directory.record(&name("bob")).is_some());
            assert!(directory.roles_record().is_some());
            assert!(directory.apply_signed(all[*index].clone()));
        }
        assert_eq!(directory.settled_root(), 1);
        assert!(directory.record(&name("bob")).is_none());
        assert!(directory.roles_record().is_none());
        assert!(!directory.is_node_revoked(&node));
    }
}

#[test]
fn one_of_the_three_by_a_still_later_root_settles_the_one_before() {
    let world = World::new();
    let third = world.keys.after(2);
    let mut directory = world.directory(&world.second);
    assert!(directory.apply_signed(world.user(1, "bob", 1)));
    for record in world.all_of(1) {
        assert!(directory.apply_signed(record));
    }
    directory.learn_roots(&third).expect("its heir");
    for record in world.all_of(2) {
        assert_eq!(directory.settled_root(), 1);
        assert!(directory.record(&name("bob")).is_some());
        assert!(directory.apply_signed(record));
    }
    assert_eq!(directory.settled_root(), 2);
    assert!(directory.is_empty());
}

#[test]
fn a_replay_with_two_handovers_brings_nothing_back_that_was_dropped() {
    let world = World::new();
    let third = world.keys.after(2);
    let former = [world.user(0, "bob", 7), world.roles(0, 7)];
    let later = world.all_of(1);
    let kept = world.user(1, "alice", 1);
    let mut lived = world.directory(&world.first);
    for record in &former {
        assert!(lived.apply_signed(record.clone()));
    }
    lived.learn_roots(&world.second).expect("its heir");
    assert!(lived.apply_signed(kept.clone()));
    for record in &later {
        assert!(lived.apply_signed(record.clone()));
    }
    // The second handover came, and nothing yet by the root that it names.
    lived.learn_roots(&third).expect("its heir");
    assert_eq!((lived.settled_root(), lived.root_number()), (1, 2));
    assert!(lived.record(&name("bob")).is_none());
    let all: Vec<SignedRecord> = former
        .iter()
        .chain(&later)
        .chain([&kept])
        .cloned()
        .collect();
    for order in orders(all.len()) {
        let mut replayed = UserDirectory::default();
        for index in &order {
            replayed.apply_signed(all[*index].clone());
        }
        replayed.learn_roots(&third).expect("the first");
        assert_eq!(replayed.digest(), lived.digest(), "{order:?}");
        assert!(replayed.record(&name("bob")).is_none());
    }
}

#[test]
fn a_fork_changes_no_directory() {
    let world = World::new();
    let mut directory = world.directory(&world.second);
    let digest = directory.digest();
    let fork = world.keys.next(&world.first, 1, &[[1; 32]]);
    assert_eq!(directory.learn_roots(&fork), Err(RootsError::Fork(1)));
    assert_eq!(directory.digest(), digest);
    assert_eq!(directory.learn_roots(&world.first), Ok(false));
    assert_eq!(directory.root_number(), 1);
}
