//! Records that do not count now and must not be forgotten.
//!
//! Of one user there may be records by several issuers, and the one that counts may lose
//! its standing: its delegation is narrowed, so that it lies outside, or revoked. If the
//! directory then forgot it, or had forgotten what stood behind it, an older record of the
//! same issuer would be news again, and a user who was disabled, deleted or given other
//! keys since would be back. So a directory keeps of each user and each issuer the record
//! of the highest standing that it ever saw, whether it counts or not. What is kept
//! depends on which records came, not on their order, and travels from node to node like
//! those that count.
//!
//! Two things end that. Where the root issued the user nothing else ever counts again. And
//! an issuer that was revoked for good issues nothing that counts.

use std::collections::BTreeMap;

use super::{Bucket, Held, USERS_MAX, UserDirectory, bucket_of, digest_of};
use crate::delegation::{Chain, SerialPath};
use crate::name::Name;
use crate::records::Standing;
use crate::users::UserRecord;

/// Most issuers of whom the records of one user are kept. Above it the youngest goes: it
/// stands behind all others.
pub const ISSUERS_PER_USER_MAX: usize = 8;

impl UserDirectory {
    /// Takes a record if it prevails over the one that is kept of this user and this
    /// issuer ([`Standing`]), and says whether it was taken: from then on it counts, or is
    /// kept behind the one that does. What is by an issuer that was revoked for good is
    /// never taken. A new user beyond [`USERS_MAX`] is not: ask
    /// [`UserDirectory::check_room`] first where somebody is to be told.
    pub fn apply(&mut self, record: UserRecord) -> bool {
        let name = record.user().name.clone();
        let digest = digest_of(&record);
        let standing = record.standing_with(digest);
        let root = standing.root();
        if root < self.least_root() || !self.is_news(&name, &standing) {
            return false;
        }
        let path = standing.path().clone();
        // A later root's word on a user ends those of the former roots.
        let (kept, former): (Vec<&Held>, Vec<&Held>) = self
            .all_of(&name)
            .partition(|held| held.record.root() >= root);
        let kept: Vec<SerialPath> = kept.into_iter().map(Held::path).collect();
        let is_later = !former.is_empty();
        // The root's takes the place of all others.
        let finds_room = is_later || kept.contains(&path) || path.is_root() && !kept.is_empty();
        let is_full = self.count + self.behind_count >= USERS_MAX;
        let is_youngest = kept.iter().max().is_some_and(|youngest| *youngest < path);
        let has_its_share = kept.len() >= ISSUERS_PER_USER_MAX && is_youngest;
        if !finds_room && (is_full || has_its_share) {
            return false;
        }
        let mut all = self.take_all(&name);
        all.retain(|_, held| held.record.root() >= root);
        if path.is_root() {
            all.clear();
        }
        all.insert(path, Held { record, digest });
        if all.len() > ISSUERS_PER_USER_MAX {
            all.pop_last();
        }
        self.put_all(name, all);
        true
    }

    /// Records of users that are kept and do not count.
    pub fn records_behind(&self) -> impl Iterator<Item = &UserRecord> {
        let held = self
            .buckets
            .iter()
            .flat_map(|bucket| bucket.behind.values());
        held.map(|held| &held.record)
    }

    /// Whether a user record that stands so would be taken.
    pub(super) fn is_news(&self, name: &Name, standing: &Standing) -> bool {
        if self.is_ended(standing.root(), standing.path()) {
            return false;
        }
        if self
            .all_of(name)
            .any(|held| held.record.root() > standing.root())
        {
            return false;
        }
        let bucket = &self.buckets[bucket_of(name)];
        let kept = match bucket.records.get(name) {
            Some(held) if held.path().is_root() || held.path() == *standing.path() => Some(held),
            _ if bucket.behind.is_empty() => None,
            _ => bucket.behind.get(&(name.clone(), standing.path().clone())),
        };
        kept.is_none_or(|kept| kept.record.standing_with(kept.digest) < *standing)
    }

    /// Lets go of what is by issuers that were revoked for good, and decides anew which
    /// records count.
    pub(super) fn judge_anew(&mut self) {
        let counting = self.buckets.iter().flat_map(|bucket| {
            let revoked = |held: &&Held| self.check_revoked(&held.record).is_err();
            bucket.records.values().filter(revoked)
        });
        let behind = self
            .buckets
            .iter()
            .flat_map(|bucket| bucket.behind.values());
        let mut names: Vec<Name> = counting
            .chain(behind)
            .map(|held| held.record.user().name.clone())
            .collect();
        names.sort_unstable();
        names.dedup();
        for name in names {
            let mut all = self.take_all(&name);
            all.retain(|path, held| !self.is_ended(held.record.root(), path));
            self.put_all(name, all);
        }
    }

    /// Whether nothing that this issuer issues will ever count.
    fn is_ended(&self, root: u64, path: &SerialPath) -> bool {
        let revocations = self.revocations.as_ref();
        revocations.is_some_and(|record| record.root() >= root && record.revocations().end(path))
    }

    fn all_of<'a>(&'a self, name: &'a Name) -> impl Iterator<Item = &'a Held> {
        let bucket = &self.buckets[bucket_of(name)];
        let counting = bucket.records.get(name).into_iter();
        counting.chain(bucket.behind_of(name))
    }

    /// Lets go of users by the roots before this one.
    pub(super) fn drop_former_users(&mut self, settled: u64) {
        let all = self
            .buckets
            .iter()
            .flat_map(|bucket| bucket.records.values().chain(bucket.behind.values()));
        let former = all.filter(|held| held.record.root() < settled);
        let mut names: Vec<Name> = former.map(|held| held.record.user().name.clone()).collect();
        names.sort_unstable();
        names.dedup();
        for name in names {
            let mut all = self.take_all(&name);
            all.retain(|_, held| held.record.root() >= settled);
            self.put_all(name, all);
        }
    }

    /// Takes all records of a user out.
    fn take_all(&mut self, name: &Name) -> BTreeMap<SerialPath, Held> {
        let index = bucket_of(name);
        let bucket = &mut self.buckets[index];
        let mut all = BTreeMap::new();
        let behind: Vec<SerialPath> = bucket.behind_of(name).map(Held::path).collect();
        for path in behind {
            if let Some(held) = bucket.behind.remove(&(name.clone(), path.clone())) {
                self.behind_count -= 1;
                all.insert(path, held);
            }
        }
        if let Some(held) = bucket.records.remove(name) {
            self.count -= 1;
            if bucket.records.is_empty() {
                self.filled.retain(|filled| *filled != index);
            }
            self.forget_class(&held.record);
            all.insert(held.path(), held);
        }
        all
    }

    /// Puts all records of a user in: the first by order of issuers counts whose
    /// delegations were not revoked.
    fn put_all(&mut self, name: Name, mut all: BTreeMap<SerialPath, Held>) {
        let counts = all
            .iter()
            .find(|(_, held)| self.check_revoked(&held.record).is_ok())
            .map(|(path, _)| path.clone());
        let counts = counts.and_then(|path| all.remove(&path));
        if let Some(held) = &counts {
            self.count_class(&held.record);
        }
        self.behind_count += all.len();
        let index = bucket_of(&name);
        let bucket = &mut self.buckets[index];
        for (path, held) in all {
            bucket.behind.insert((name.clone(), path), held);
        }
        if let Some(held) = counts {
            self.count += 1;
            if bucket.records.is_empty() {
                self.filled.push(index);
            }
            bucket.records.insert(name, held);
        }
        bucket.digest_anew();
    }
}

impl Held {
    /// By whom the record is.
    pub(super) fn path(&self) -> SerialPath {
        self.record.chain().map(Chain::path).unwrap_or_default()
    }
}

impl Bucket {
    /// The records that are kept behind the one of a user, the eldest issuer's first.
    pub(super) fn behind_of<'a>(&'a self, name: &'a Name) -> impl Iterator<Item = &'a Held> {
        let first = (name.clone(), SerialPath::default());
        let of_user = self.behind.range(first..);
        of_user
            .take_while(move |((of, _), _)| of == name)
            .map(|(_, held)| held)
    }
}

#[cfg(test)]
mod tests;
