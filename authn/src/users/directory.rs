//! All users at once, with the realm's roles, and digests that tell two directories
//! apart.
//!
//! A user's *bucket* is drawn from the SHA-256 of the name. A bucket's digest is the
//! SHA-256 of the digests of its records, in order of name, and of those that are kept
//! behind them; the directory's is the
//! SHA-256 of the digests of all buckets, and behind them of those of the roles, of the
//! revoked sessions, of the revocations and of the revoked nodes, and of the realm's roots. So a change costs one bucket, a comparison of
//! two directories costs the same however many users there are, and what differs is
//! fetched bucket by bucket. No sum of digests would do: whoever can choose records can
//! make sums collide, and a peer that lies about its digest must not be able to hide a
//! record behind an honest one.

mod behind;

use std::collections::BTreeMap;

pub use behind::ISSUERS_PER_USER_MAX;

use sealmoot_crypto::digest::{Sha256, sha256};
use sealmoot_crypto::signature::KeyId;

use super::UserRecord;
use crate::delegation::{DelegationError, SerialPath};
use crate::ended::EndedSessions;
use crate::name::Name;
use crate::opaque::StretchingClass;
use crate::policy::NamedRoles;
use crate::records::{
    RecordName, RevocationsRecord, RevokedNodesRecord, RevokedSessionsRecord, RolesRecord,
    SignedRecord, Standing,
};
use crate::roots::{Roots, RootsError};
use crate::statement::{RevokedSessions, Verified};

/// Most users of a realm, deleted ones too, and records that are kept behind theirs: what a node keeps of them stays in memory
/// (`cargo bench -p sealmoot-authn --bench scale` prints how much that is).
pub const USERS_MAX: usize = 250_000;
/// How many buckets a directory has.
pub const BUCKETS: usize = 1024;
/// Most classes of stretching that are counted. They are for users who do not exist:
/// what only some users have need not be imitated.
const CLASSES_MAX: usize = 64;
/// Length of a digest.
pub const DIGEST_LENGTH: usize = 32;
/// Length of [`UserDirectory::bucket_digests`].
pub const BUCKET_DIGESTS_LENGTH: usize = BUCKETS * DIGEST_LENGTH;

/// More users than [`USERS_MAX`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a realm has at most {USERS_MAX} users, deleted ones too")]
pub struct TooManyUsers;

/// All users, the newest record of each, and the newest of the realm's roles.
#[derive(Clone)]
pub struct UserDirectory {
    buckets: Vec<Bucket>,
    /// Which buckets have users, in order of arrival.
    filled: Vec<usize>,
    count: usize,
    /// How many records are kept behind those that count.
    behind_count: usize,
    /// How many users of the root have their passwords stretched alike. Users without a
    /// password are in none: to a login they are as good as unknown.
    classes: BTreeMap<StretchingClass, usize>,
    roles: Option<RolesRecord>,
    roles_digest: [u8; DIGEST_LENGTH],
    revoked: Option<RevokedSessionsRecord>,
    revoked_digest: [u8; DIGEST_LENGTH],
    revocations: Option<RevocationsRecord>,
    revocations_digest: [u8; DIGEST_LENGTH],
    revoked_nodes: Option<RevokedNodesRecord>,
    revoked_nodes_digest: [u8; DIGEST_LENGTH],
    /// None where nobody said of which realm it is.
    roots: Option<Roots>,
    /// In no digest of the directory: only nodes have them, and compare them apart.
    ended: EndedSessions,
}

#[derive(Clone)]
struct Bucket {
    /// The records that count.
    records: BTreeMap<Name, Held>,
    /// Those that are kept behind them, at most of a few users.
    behind: BTreeMap<(Name, SerialPath), Held>,
    digest: [u8; DIGEST_LENGTH],
}

#[derive(Clone)]
struct Held {
    record: UserRecord,
    digest: [u8; DIGEST_LENGTH],
}

impl Default for UserDirectory {
    fn default() -> Self {
        let empty = Bucket {
            records: BTreeMap::new(),
            behind: BTreeMap::new(),
            digest: sha256(&[]),
        };
        Self {
            buckets: vec![empty; BUCKETS],
            filled: Vec::new(),
            count: 0,
            behind_count: 0,
            classes: BTreeMap::new(),
            roles: None,
            roles_digest: sha256(&[]),
            revoked: None,
            revoked_digest: sha256(&[]),
            revocations: None,
            revocations_digest: sha256(&[]),
            revoked_nodes: None,
            revoked_nodes_digest: sha256(&[]),
            roots: None,
            ended: EndedSessions::default(),
        }
    }
}

impl UserDirectory {
    /// Takes a record of any kind if it prevails over the one held; says whether it did.
    /// As with [`UserDirectory::apply`], there has to be room for new users.
    pub fn apply_signed(&mut self, record: SignedRecord) -> bool {
        match record {
            SignedRecord::User(record) => self.apply(*record),
            record if record.root() < self.least_root() => false,
            SignedRecord::Roles(record) => {
                let held = self.standing(&RecordName::Roles);
                let newer = held.is_none_or(|held| held < record.standing());
                if newer {
                    self.roles_digest = sha256(record.statement().bytes());
                    self.roles = Some(record);
                }
                newer
            }
            SignedRecord::RevokedSessions(record) => {
                let held = self.standing(&RecordName::RevokedSessions);
                let newer = held.is_none_or(|held| held < record.standing());
                if newer {
                    self.revoked_digest = sha256(record.statement().bytes());
                    self.revoked = Some(record);
                    self.drop_former();
                }
                newer
            }
            SignedRecord::RevokedNodes(record) => {
                let held = self.standing(&RecordName::RevokedNodes);
                let newer = held.is_none_or(|held| held < record.standing());
                if newer {
                    self.revoked_nodes_digest = sha256(record.statement().bytes());
                    self.revoked_nodes = Some(record);
                    self.drop_former();
                }
                newer
            }
            SignedRecord::Revocations(record) => {
                let held = self.standing(&RecordName::Revocations);
                let newer = held.is_none_or(|held| held < record.standing());
                if newer {
                    self.revocations_digest = sha256(record.statement().bytes());
                    self.revocations = Some(record);
                    self.drop_former();
                    self.judge_anew();
                }
                newer
            }
        }
    }

    /// The realm's roots; none where nobody said of which realm it is.
    #[must_use]
    pub fn roots(&self) -> Option<&Roots> {
        self.roots.as_ref()
    }

    /// The number of the current root.
    #[must_use]
    pub fn root_number(&self) -> u64 {
        self.roots.as_ref().map_or(0, Roots::number)
    }

    /// The last root that said all: by it or a later one are the revocations, the revoked
    /// nodes and the revoked sessions, which each root signs, also empty ones. One of them
    /// alone says nothing: anybody can bring it without the others.
    #[must_use]
    pub fn settled_root(&self) -> u64 {
        let revocations = self.revocations.as_ref().map(RevocationsRecord::root);
        let nodes = self.revoked_nodes.as_ref().map(RevokedNodesRecord::root);
        let sessions = self.revoked.as_ref().map(RevokedSessionsRecord::root);
        // None stands before each of them.
        revocations.min(nodes).min(sessions).unwrap_or(0)
    }

    /// By the roots before this one nothing new is taken. What settled counts too: where a
    /// log is replayed, the roots come last.
    fn least_root(&self) -> u64 {
        self.root_number().max(self.settled_root())
    }

    /// Learns roots; says whether there were any that were not known. From then on
    /// nothing new by a former root is taken. What is held by one stays in force until a
    /// later one has said all ([`UserDirectory::settled_root`]): users do not end in between.
    ///
    /// # Errors
    /// [`RootsError::Fork`] where the realm went another way, as far as is known here.
    pub fn learn_roots(&mut self, roots: &Roots) -> Result<bool, RootsError> {
        let news = match &mut self.roots {
            Some(known) => known.take(&roots.encode())?,
            None => {
                self.roots = Some(roots.clone());
                true
            }
        };
        if news {
            self.drop_former();
        }
        Ok(news)
    }

    /// Lets go of all that the roots before the settled one said, whatever root is the
    /// current: the order in which a log is replayed must not bring anything back.
    fn drop_former(&mut self) {
        let settled = self.settled_root();
        if settled == 0 {
            return;
        }
        // The other three are by the settled root or a later one.
        if self
            .roles
            .as_ref()
            .is_some_and(|held| held.root() < settled)
        {
            self.roles = None;
            self.roles_digest = sha256(&[]);
        }
        self.drop_former_users(settled);
    }

    /// Whether nothing behind a record was revoked.
    ///
    /// # Errors
    /// [`DelegationError::Revoked`].
    pub fn check_revoked(&self, record: &UserRecord) -> Result<(), DelegationError> {
        match (record.chain(), &self.revocations) {
            (Some(chain), Some(revocations)) => revocations.check(chain),
            _ => Ok(()),
        }
    }

    /// Whether a record that stands so would be taken, if it is to be believed.
    #[must_use]
    pub fn wants(&self, name: &RecordName, standing: &Standing) -> bool {
        if standing.root() < self.least_root() {
            return false;
        }
        if let RecordName::User(name) = name {
            return self.is_news(name, standing);
        }
        self.standing(name).is_none_or(|held| held < *standing)
    }

    /// The realm's revoked delegations as signed; none before the first.
    #[must_use]
    pub fn revocations_record(&self) -> Option<&RevocationsRecord> {
        self.revocations.as_ref()
    }

    /// A digest of the revocations: that of nothing before the first.
    #[must_use]
    pub fn revocations_digest(&self) -> [u8; DIGEST_LENGTH] {
        self.revocations_digest
    }

    /// Whether `more` users who are not there yet can be added.
    ///
    /// # Errors
    /// [`TooManyUsers`].
    pub fn check_room(&self, more: usize) -> Result<(), TooManyUsers> {
        let held = self.count + self.behind_count;
        if held.saturating_add(more) > USERS_MAX {
            return Err(TooManyUsers);
        }
        Ok(())
    }

    /// How many users there are, deleted ones too.
    #[must_use]
    pub fn len(&self) -> usize {
        self.count
    }

    /// Whether there is no user, not even a deleted one.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// What the names of roles stand for.
    #[must_use]
    pub fn roles(&self) -> &NamedRoles {
        static NONE: NamedRoles = NamedRoles::none();
        self.roles.as_ref().map_or(&NONE, RolesRecord::roles)
    }

    /// The realm's roles as signed; none before the first was made.
    #[must_use]
    pub fn roles_record(&self) -> Option<&RolesRecord> {
        self.roles.as_ref()
    }

    /// Which sessions ended before their time; none before the first was revoked.
    #[must_use]
    pub fn revoked_sessions(&self) -> Option<&RevokedSessions> {
        self.revoked.as_ref().map(RevokedSessionsRecord::revoked)
    }

    /// The same as signed.
    #[must_use]
    pub fn revoked_record(&self) -> Option<&RevokedSessionsRecord> {
        self.revoked.as_ref()
    }

    /// The nodes that are believed no more, as signed; none before the first.
    #[must_use]
    pub fn revoked_nodes_record(&self) -> Option<&RevokedNodesRecord> {
        self.revoked_nodes.as_ref()
    }

    /// A digest of the revoked nodes: that of nothing before the first.
    #[must_use]
    pub fn revoked_nodes_digest(&self) -> [u8; DIGEST_LENGTH] {
        self.revoked_nodes_digest
    }

    /// Whether the root said that the node with this key is believed no more.
    #[must_use]
    pub fn is_node_revoked(&self, key: &KeyId) -> bool {
        let revoked = self.revoked_nodes.as_ref();
        revoked.is_some_and(|revoked| revoked.revokes(key))
    }

    /// The sessions that ended themselves.
    #[must_use]
    pub fn ended(&self) -> &EndedSessions {
        &self.ended
    }

    /// The same, to be changed.
    pub fn ended_mut(&mut self) -> &mut EndedSessions {
        &mut self.ended
    }

    /// Whether this key speaks for nobody any more: the root revoked it, or its session
    /// ended itself.
    #[must_use]
    pub fn is_key_over(&self, key: &KeyId) -> bool {
        let revoked = self.revoked_sessions();
        self.ended.contains(key) || revoked.is_some_and(|revoked| revoked.revokes_key(key))
    }

    /// How the record stands that is held under a name.
    #[must_use]
    pub fn standing(&self, name: &RecordName) -> Option<Standing> {
        match name {
            RecordName::Roles => {
                let held = self.roles.as_ref()?;
                Some(held.standing())
            }
            RecordName::RevokedSessions => Some(self.revoked.as_ref()?.standing()),
            RecordName::RevokedNodes => Some(self.revoked_nodes.as_ref()?.standing()),
            RecordName::Revocations => Some(self.revocations.as_ref()?.standing()),
            RecordName::User(name) => {
                let held = self.buckets[bucket_of(name)].records.get(name)?;
                Some(held.record.standing_with(held.digest))
            }
        }
    }

    /// The record of a user, deleted or not.
    #[must_use]
    pub fn record(&self, name: &Name) -> Option<&UserRecord> {
        self.buckets[bucket_of(name)]
            .records
            .get(name)
            .map(|held| &held.record)
    }

    /// Somebody's record, drawn by `place`: what is read where there is no record to
    /// read, so that it takes as long to fetch from memory. `None` when there are no
    /// users.
    #[must_use]
    pub fn stand_in(&self, place: u64) -> Option<&UserRecord> {
        let among = (u128::from(place) * self.filled.len() as u128) >> u64::BITS;
        let bucket = *self.filled.get(among as usize)?;
        let held = self.buckets[bucket].records.values().next()?;
        Some(&held.record)
    }

    /// The record of a user who exists and is enabled, by somebody who may say so at
    /// `now_ms`: users whom a delegate made are there while the delegation holds.
    #[must_use]
    pub fn active(&self, name: &Name, now_ms: u64) -> Option<&UserRecord> {
        self.record(name).filter(|record| {
            record.user().enabled && !record.user().deleted && record.issuer_holds_at(now_ms)
        })
    }

    /// How the password is stretched of the user who stands at `fraction` of 2^64 among
    /// all with a password, deleted ones too, when they stand by class: drawn evenly,
    /// each class comes as often as it is there. `None` when there are no such users.
    #[must_use]
    pub fn stretching_at(&self, fraction: u64) -> Option<StretchingClass> {
        let total: usize = self.classes.values().sum();
        let place = (u128::from(fraction) * total as u128) >> 64;
        let mut behind = 0;
        self.classes.iter().find_map(|(class, count)| {
            behind += *count as u128;
            (place < behind).then_some(*class)
        })
    }

    fn count_class(&mut self, record: &UserRecord) {
        if let Some(class) = class_of(record)
            && (self.classes.len() < CLASSES_MAX || self.classes.contains_key(&class))
        {
            *self.classes.entry(class).or_default() += 1;
        }
    }

    fn forget_class(&mut self, record: &UserRecord) {
        if let Some(class) = class_of(record)
            && let Some(count) = self.classes.get_mut(&class)
        {
            *count -= 1;
            if *count == 0 {
                self.classes.remove(&class);
            }
        }
    }

    /// The record of each user that counts, by name. Sorts them all: not for a path that
    /// strangers can take.
    pub fn records(&self) -> impl Iterator<Item = &UserRecord> {
        let mut records: Vec<&UserRecord> = self
            .buckets
            .iter()
            .flat_map(|bucket| bucket.records.values())
            .map(|held| &held.record)
            .collect();
        records.sort_unstable_by(|left, right| left.user().name.cmp(&right.user().name));
        records.into_iter()
    }

    /// All records of every kind: the roles, the revoked sessions, the revoked nodes, the
    /// revocations, then the users by name, and at last what is kept behind them.
    pub fn signed_records(&self) -> impl Iterator<Item = SignedRecord> {
        let roles = self.roles.iter().cloned().map(SignedRecord::from);
        let revoked = self.revoked.iter().cloned().map(SignedRecord::from);
        let revocations = self.revocations.iter().cloned().map(SignedRecord::from);
        let nodes = self.revoked_nodes.iter().cloned().map(SignedRecord::from);
        let users = self.records().cloned().map(SignedRecord::from);
        let behind = self.records_behind().cloned().map(SignedRecord::from);
        let realms = roles.chain(revoked).chain(nodes).chain(revocations);
        realms.chain(users).chain(behind)
    }

    /// A digest of all records of every kind: equal where the same records are held.
    #[must_use]
    pub fn digest(&self) -> [u8; DIGEST_LENGTH] {
        let mut hasher = Sha256::new();
        for bucket in &self.buckets {
            hasher.update(&bucket.digest);
        }
        hasher.update(&self.roles_digest);
        hasher.update(&self.revoked_digest);
        hasher.update(&self.revocations_digest);
        hasher.update(&self.revoked_nodes_digest);
        if let Some(roots) = &self.roots {
            hasher.update(&roots.digest());
        }
        hasher.finish()
    }

    /// A digest of the roles: that of nothing before the first was made.
    #[must_use]
    pub fn roles_digest(&self) -> [u8; DIGEST_LENGTH] {
        self.roles_digest
    }

    /// A digest of the revoked sessions: that of nothing before the first was.
    #[must_use]
    pub fn revoked_digest(&self) -> [u8; DIGEST_LENGTH] {
        self.revoked_digest
    }

    /// The digests of all buckets, one behind the other.
    #[must_use]
    pub fn bucket_digests(&self) -> Vec<u8> {
        let mut digests = Vec::with_capacity(BUCKET_DIGESTS_LENGTH);
        for bucket in &self.buckets {
            digests.extend_from_slice(&bucket.digest);
        }
        digests
    }

    /// The records in buckets whose digest is another in `theirs`, by bucket and then
    /// by name, from behind `after` on. Several of one user come one after the other, the
    /// one that counts first. `None` when `theirs` are not as many digests
    /// as there are buckets.
    pub fn differing<'a>(
        &'a self,
        theirs: &'a [u8],
        after: Option<&'a Name>,
    ) -> Option<impl Iterator<Item = &'a UserRecord>> {
        if theirs.len() != BUCKET_DIGESTS_LENGTH {
            return None;
        }
        let first = after.map_or(0, bucket_of);
        let records = self
            .buckets
            .iter()
            .zip(theirs.chunks_exact(DIGEST_LENGTH))
            .enumerate()
            .skip(first)
            .filter(|(_, (bucket, digest))| bucket.digest[..] != **digest)
            .flat_map(move |(index, (bucket, _))| {
                let after = after.filter(|_| index == first);
                bucket.records_from(after)
            });
        Some(records)
    }
}

/// Which bucket a user is in: the first ten bits of the SHA-256 of the name.
#[must_use]
pub fn bucket_of(name: &Name) -> usize {
    let digest = sha256(name.as_str().as_bytes());
    usize::from(u16::from_be_bytes([digest[0], digest[1]]) >> 6)
}

const _: () = assert!(BUCKETS == 1 << (16 - 6), "bucket_of yields every bucket");

/// How a user's password is stretched, for the users who do not exist. Those of delegates
/// are left out: whoever signs them could make up any number of classes.
fn class_of(record: &UserRecord) -> Option<StretchingClass> {
    if record.chain().is_some() {
        return None;
    }
    let credential = record.credential.as_ref().map(Verified::body);
    credential.map(|credential| credential.stretching.class())
}

fn digest_of(record: &UserRecord) -> [u8; DIGEST_LENGTH] {
    sha256(&record.encode())
}

impl Bucket {
    /// All records, by name, of users behind `after`.
    fn records_from(&self, after: Option<&Name>) -> Vec<&UserRecord> {
        let all = self.records.values().chain(self.behind.values());
        let mut records: Vec<&UserRecord> = all
            .map(|held| &held.record)
            .filter(|record| after.is_none_or(|after| record.user().name > *after))
            .collect();
        // The order of one user's stays as it is.
        records.sort_by(|left, right| left.user().name.cmp(&right.user().name));
        records
    }

    fn digest_anew(&mut self) {
        let mut hasher = Sha256::new();
        for held in self.records.values().chain(self.behind.values()) {
            hasher.update(&held.digest);
        }
        self.digest = hasher.finish();
    }
}

#[cfg(test)]
mod roots_tests;
#[cfg(test)]
mod tests {
    use super::*;
    use crate::records::tests::roles_record;
    use crate::users::tests::{record, record_of_keys};
    use sealmoot_crypto::signature::SigningKey;

    fn key() -> SigningKey {
        SigningKey::generate().expect("random")
    }

    fn name(text: &str) -> Name {
        text.parse().expect("a name")
    }

    /// Users `u0`, `u1` and so on.
    fn directory(root: &SigningKey, user: &SigningKey, count: usize) -> UserDirectory {
        let mut directory = UserDirectory::default();
        for index in 0..count {
            directory.apply(record(root, user, &format!("u{index}"), 1, true));
        }
        directory
    }

    #[test]
    fn records_come_in_order_of_name() {
        let (root, user) = (key(), key());
        let directory = directory(&root, &user, 30);
        let names: Vec<&str> = directory
            .records()
            .map(|record| record.user().name.as_str())
            .collect();
        assert_eq!(names.len(), 30);
        assert!(names.is_sorted());
        assert_eq!(directory.len(), 30);
    }

    #[test]
    fn the_order_of_arrival_does_not_show_in_the_digest() {
        let (root, user) = (key(), key());
        let forward = directory(&root, &user, 30);
        let mut records: Vec<UserRecord> = forward.records().cloned().collect();
        records.reverse();
        let mut backward = UserDirectory::default();
        for record in records {
            assert!(backward.apply(record));
        }
        assert_eq!(forward.digest(), backward.digest());
        assert_eq!(forward.bucket_digests(), backward.bucket_digests());
    }

    #[test]
    fn a_change_shows_in_the_digest_and_in_its_bucket_alone() {
        let (root, user) = (key(), key());
        let before = directory(&root, &user, 30);
        let mut after = before.clone();
        assert!(after.apply(record(&root, &user, "u7", 2, false)));
        assert_ne!(before.digest(), after.digest());
        let (left, right) = (before.bucket_digests(), after.bucket_digests());
        let changed: Vec<usize> = (0..BUCKETS)
            .filter(|index| {
                let at = index * DIGEST_LENGTH;
                left[at..at + DIGEST_LENGTH] != right[at..at + DIGEST_LENGTH]
            })
            .collect();
        assert_eq!(changed, [bucket_of(&name("u7"))]);
        let differing: Vec<&str> = after
            .differing(&left, None)
            .expect("all buckets")
            .map(|record| record.user().name.as_str())
            .collect();
        assert!(differing.contains(&"u7"));
        assert!(
            differing
                .iter()
                .all(|other| bucket_of(&name(other)) == bucket_of(&name("u7")))
        );
    }

    #[test]
    fn everything_that_differs_is_found_from_any_place_on_and_nothing_twice() {
        let (root, user) = (key(), key());
        let directory = directory(&root, &user, 300);
        let empty = UserDirectory::default().bucket_digests();
        let mut found: Vec<Name> = Vec::new();
        // Seven at a time, as a peer goes on behind the last that it got.
        loop {
            let after = found.last().cloned();
            let portion: Vec<Name> = directory
                .differing(&empty, after.as_ref())
                .expect("all buckets")
                .take(7)
                .map(|record| record.user().name.clone())
                .collect();
            if portion.is_empty() {
                break;
            }
            found.extend(portion);
        }
        assert_eq!(found.len(), 300);
        found.sort();
        found.dedup();
        assert_eq!(found.len(), 300);
    }

    #[test]
    fn going_on_behind_a_user_whose_bucket_is_equal_by_now_finds_the_rest() {
        let (root, user) = (key(), key());
        let directory = directory(&root, &user, 100);
        let mut theirs = UserDirectory::default().bucket_digests();
        let empty = theirs.clone();
        let first = directory
            .differing(&empty, None)
            .and_then(|mut records| records.next())
            .map(|record| record.user().name.clone())
            .expect("there are users");
        let at = bucket_of(&first) * DIGEST_LENGTH;
        theirs[at..at + DIGEST_LENGTH]
            .copy_from_slice(&directory.bucket_digests()[at..at + DIGEST_LENGTH]);
        let in_first = directory
            .records()
            .filter(|record| bucket_of(&record.user().name) == bucket_of(&first))
            .count();
        let rest = directory.differing(&theirs, Some(&first)).expect("all");
        assert_eq!(rest.count(), 100 - in_first);
    }

    #[test]
    fn roles_show_in_the_digest_and_in_no_bucket() {
        let (root, user) = (key(), key());
        let mut directory = directory(&root, &user, 5);
        let (digest, buckets) = (directory.digest(), directory.bucket_digests());
        let none = directory.roles_digest();
        assert_eq!(directory.standing(&RecordName::Roles), None);
        assert!(directory.apply_signed(roles_record(&root, 4, "app/*:r").into()));
        assert_ne!(directory.digest(), digest);
        assert_ne!(directory.roles_digest(), none);
        assert_eq!(directory.bucket_digests(), buckets);
        let standing = directory.standing(&RecordName::Roles);
        assert_eq!(standing.map(|standing| standing.version()), Some(4));
        let first = directory.signed_records().next();
        assert!(matches!(first, Some(SignedRecord::Roles(_))));
        assert_eq!(directory.signed_records().count(), 6);
    }

    #[test]
    fn the_same_version_with_or_without_a_password_differs() {
        let root = key();
        let mut with = UserDirectory::default();
        let mut without = UserDirectory::default();
        assert!(with.apply(record(&root, &key(), "kate", 1, true)));
        assert!(without.apply(record_of_keys(&root, "kate", 1, Vec::new())));
        assert_ne!(with.digest(), without.digest());
    }

    #[test]
    fn only_users_with_a_password_are_counted_in_a_class() {
        let (root, user) = (key(), key());
        let mut directory = UserDirectory::default();
        for index in 0..9 {
            let name = format!("k{index}");
            directory.apply(record_of_keys(&root, &name, 1, Vec::new()));
        }
        assert_eq!(directory.stretching_at(u64::MAX / 2), None);
        assert!(directory.apply(record(&root, &user, "alice", 1, true)));
        for fraction in [0, u64::MAX / 2, u64::MAX] {
            assert!(directory.stretching_at(fraction).is_some(), "{fraction}");
        }
        // Who gives the password up leaves the class.
        assert!(directory.apply(record_of_keys(&root, "alice", 2, Vec::new())));
        assert_eq!(directory.stretching_at(0), None);
        assert_eq!(directory.len(), 10);
    }

    #[test]
    fn how_delegates_stretch_passwords_shows_in_no_class_and_pushes_none_out() {
        use crate::delegation::tests::World;
        use crate::opaque::{LoginSecrets, Stretching};
        use crate::realm_id::RealmId;
        use crate::users::tests::record_with;
        use sealmoot_crypto::password::Cost;
        let world = World::new();
        let (realm, user) = (RealmId::without_heir(&world.root.verifying_key()), key());
        let secrets = LoginSecrets::generate().expect("random");
        let mut directory = UserDirectory::default();
        for index in 0..CLASSES_MAX as u32 + 6 {
            let cost = Cost {
                memory_kib: 8 + index,
                passes: 1,
                lanes: 1,
            };
            let stretching = Stretching::new(cost).expect("admitted");
            let name = format!("u{index}");
            let made = record_with(&world.root, &user, &name, 1, true, &secrets, stretching);
            let credential = made.credential().expect("a password").body().clone();
            let credential = Verified::issue(&realm, &world.dana, 20, credential);
            let statement = Verified::issue(&realm, &world.dana, 20, made.user().clone());
            let junk = UserRecord::by_delegate(world.chain(), statement, Some(credential));
            assert!(directory.apply(junk.expect("within")));
        }
        assert_eq!(directory.stretching_at(u64::MAX / 2), None);
        let real = record(&world.root, &user, "alice", 1, true);
        let class = class_of(&real);
        assert!(directory.apply(real));
        for fraction in [0, u64::MAX / 2, u64::MAX] {
            assert_eq!(directory.stretching_at(fraction), class, "{fraction}");
        }
    }

    #[test]
    fn somebody_stands_in_wherever_one_looks() {
        let (root, user) = (key(), key());
        let places = [0, 1, u64::MAX / 3, u64::MAX / 2 + 1, u64::MAX];
        for place in places {
            assert!(UserDirectory::default().stand_in(place).is_none());
        }
        for count in [1, 30] {
            let directory = directory(&root, &user, count);
            let names = places.map(|place| {
                let found = directory.stand_in(place).expect("somebody");
                found.user().name.clone()
            });
            assert_eq!(names[0], names[1]);
            assert_eq!(names[0] == names[4], count == 1);
        }
    }

    #[test]
    fn too_few_or_too_many_bucket_digests_are_refused() {
        let directory = UserDirectory::default();
        for length in [
            0,
            DIGEST_LENGTH,
            BUCKET_DIGESTS_LENGTH - 1,
            BUCKET_DIGESTS_LENGTH + 1,
        ] {
            assert!(
                directory.differing(&vec![0; length], None).is_none(),
                "{length}"
            );
        }
    }

    #[test]
    fn a_full_directory_takes_changes_and_no_new_users() {
        let (root, user) = (key(), key());
        let mut directory = directory(&root, &user, 2);
        assert_eq!(directory.check_room(USERS_MAX - 2), Ok(()));
        assert_eq!(directory.check_room(USERS_MAX - 1), Err(TooManyUsers));
        // As if all places but none were taken: making them all takes minutes.
        directory.count = USERS_MAX;
        assert_eq!(directory.check_room(1), Err(TooManyUsers));
        assert_eq!(directory.check_room(0), Ok(()));
        assert!(!directory.apply(record(&root, &user, "late", 1, true)));
        assert!(directory.record(&name("late")).is_none());
        assert!(directory.apply(record(&root, &user, "u1", 2, false)));
    }
}
