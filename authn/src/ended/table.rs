//! The ends of sessions that a node remembers.

use std::collections::BTreeMap;
use std::ops::Bound;

use sealmoot_crypto::digest::{Sha256, sha256};
use sealmoot_crypto::signature::KeyId;

use super::Ended;
use crate::name::Name;

/// Most ends of one user's sessions, of those that one node made.
pub const ENDED_OF_USER_MAX: usize = 32;
/// Most ends of sessions that one node made.
///
/// Both bounds are of each node's own receipts: one that makes up receipts fills its own
/// places, and ends and forgets nobody's session that another node made.
pub const ENDED_OF_NODE_MAX: usize = 16_384;
/// How many buckets the table has: one for each first byte of a key id.
pub const ENDED_BUCKETS: usize = 256;
const DIGEST_LENGTH: usize = 32;
/// Length of [`EndedSessions::digests`].
pub const ENDED_DIGESTS_LENGTH: usize = ENDED_BUCKETS * DIGEST_LENGTH;

/// More ends than are remembered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NoRoom {
    /// Of one user.
    #[error("{ENDED_OF_USER_MAX} sessions of this user were ended already that are not over yet")]
    User,
    /// Of all users.
    #[error("{ENDED_OF_NODE_MAX} sessions were ended already that are not over yet")]
    Node,
}

/// The ends of sessions, by session key. Two tables that took the same records hold the
/// same, in whatever order these came.
#[derive(Clone)]
pub struct EndedSessions {
    buckets: Vec<Bucket>,
    of_user: BTreeMap<(KeyId, Name), usize>,
    of_node: BTreeMap<KeyId, usize>,
}

#[derive(Clone)]
struct Bucket {
    ended: BTreeMap<KeyId, Ended>,
    digest: [u8; DIGEST_LENGTH],
}

impl Default for EndedSessions {
    fn default() -> Self {
        let empty = Bucket {
            ended: BTreeMap::new(),
            digest: sha256(&[]),
        };
        Self {
            buckets: vec![empty; ENDED_BUCKETS],
            of_user: BTreeMap::new(),
            of_node: BTreeMap::new(),
        }
    }
}

impl EndedSessions {
    /// Takes an end; says whether anything changed. Of two for one key that holds which
    /// is remembered for longer. Where there are too many, that one goes which is
    /// forgotten first anyhow: ask [`EndedSessions::check_room`] before where somebody is
    /// to be told.
    pub fn apply(&mut self, ended: Ended) -> bool {
        let rank = |ended: &Ended| (ended.until_ms, ended.digest);
        let held = self.bucket(&ended.key).ended.get(&ended.key);
        if held.is_some_and(|held| rank(held) >= rank(&ended)) {
            return false;
        }
        let key = ended.key;
        let (node, user) = (ended.node, ended.user.clone());
        self.remove(&key);
        self.insert(ended);
        if self.count_of_user(&node, &user) > ENDED_OF_USER_MAX {
            self.remove_first(|other| other.node == node && other.user == user);
        } else if self.count_of_node(&node) > ENDED_OF_NODE_MAX {
            self.remove_first(|other| other.node == node);
        }
        self.contains(&key)
    }

    /// Whether there is room for one more end.
    ///
    /// # Errors
    /// [`NoRoom`].
    pub fn check_room(&self, ended: &Ended) -> Result<(), NoRoom> {
        if self.contains(&ended.key) {
            return Ok(());
        }
        if self.count_of_user(&ended.node, &ended.user) >= ENDED_OF_USER_MAX {
            return Err(NoRoom::User);
        }
        if self.count_of_node(&ended.node) >= ENDED_OF_NODE_MAX {
            return Err(NoRoom::Node);
        }
        Ok(())
    }

    /// Forgets what can concern no session any more.
    pub fn forget_past(&mut self, now_ms: u64) {
        let past: Vec<KeyId> = self
            .iter()
            .filter(|ended| ended.until_ms <= now_ms)
            .map(|ended| ended.key)
            .collect();
        for key in past {
            self.remove(&key);
        }
    }

    /// Whether what this key speaks for has ended.
    #[must_use]
    pub fn contains(&self, key: &KeyId) -> bool {
        self.bucket(key).ended.contains_key(key)
    }

    /// Whether something can be forgotten.
    #[must_use]
    pub fn has_past(&self, now_ms: u64) -> bool {
        self.iter().any(|ended| ended.until_ms <= now_ms)
    }

    /// The ends by session key.
    pub fn iter(&self) -> impl Iterator<Item = &Ended> {
        self.buckets.iter().flat_map(|bucket| bucket.ended.values())
    }

    /// A digest of all ends: equal where the same are held.
    #[must_use]
    pub fn digest(&self) -> [u8; DIGEST_LENGTH] {
        sha256(&self.digests())
    }

    /// The digests of all buckets, one behind the other.
    #[must_use]
    pub fn digests(&self) -> Vec<u8> {
        let digests = self.buckets.iter().flat_map(|bucket| bucket.digest);
        digests.collect()
    }

    /// The ends in buckets whose digest is another in `theirs`, by session key, from
    /// behind `after` on. `None` when `theirs` are not as many digests as there are
    /// buckets.
    pub fn differing<'a>(
        &'a self,
        theirs: &'a [u8],
        after: Option<&KeyId>,
    ) -> Option<impl Iterator<Item = &'a Ended>> {
        if theirs.len() != ENDED_DIGESTS_LENGTH {
            return None;
        }
        let from = after.map_or(Bound::Unbounded, |after| Bound::Excluded(*after));
        let ended = self
            .buckets
            .iter()
            .zip(theirs.chunks_exact(DIGEST_LENGTH))
            .skip(after.map_or(0, bucket_of))
            .filter(|(bucket, digest)| bucket.digest[..] != **digest)
            .flat_map(move |(bucket, _)| bucket.ended.range((from, Bound::Unbounded)))
            .map(|(_, ended)| ended);
        Some(ended)
    }

    fn insert(&mut self, ended: Ended) {
        let of_user = (ended.node, ended.user.clone());
        *self.of_node.entry(ended.node).or_default() += 1;
        *self.of_user.entry(of_user).or_default() += 1;
        let bucket = &mut self.buckets[bucket_of(&ended.key)];
        bucket.ended.insert(ended.key, ended);
        bucket.digest_anew();
    }

    fn remove(&mut self, key: &KeyId) {
        let bucket = &mut self.buckets[bucket_of(key)];
        let Some(gone) = bucket.ended.remove(key) else {
            return;
        };
        bucket.digest_anew();
        one_less(&mut self.of_node, &gone.node);
        one_less(&mut self.of_user, &(gone.node, gone.user));
    }

    fn remove_first(&mut self, among: impl Fn(&Ended) -> bool) {
        let first = self
            .iter()
            .filter(|ended| among(ended))
            .min_by_key(|ended| (ended.until_ms, ended.digest))
            .map(|ended| ended.key);
        if let Some(first) = first {
            self.remove(&first);
        }
    }

    fn bucket(&self, key: &KeyId) -> &Bucket {
        &self.buckets[bucket_of(key)]
    }

    fn count_of_user(&self, node: &KeyId, user: &Name) -> usize {
        let of_user = self.of_user.get(&(*node, user.clone()));
        of_user.copied().unwrap_or_default()
    }

    fn count_of_node(&self, node: &KeyId) -> usize {
        self.of_node.get(node).copied().unwrap_or_default()
    }
}

impl Bucket {
    fn digest_anew(&mut self) {
        let mut hasher = Sha256::new();
        for ended in self.ended.values() {
            hasher.update(&ended.digest);
        }
        self.digest = hasher.finish();
    }
}

fn bucket_of(key: &KeyId) -> usize {
    usize::from(key.as_bytes()[0])
}

fn one_less<K: Ord>(counts: &mut BTreeMap<K, usize>, key: &K) {
    if let Some(count) = counts.get_mut(key) {
        *count -= 1;
        if *count == 0 {
            counts.remove(key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(byte: u8, rest: u16) -> KeyId {
        let mut bytes = [0; 32];
        bytes[0] = byte;
        bytes[1..3].copy_from_slice(&rest.to_be_bytes());
        KeyId::from_bytes(bytes)
    }

    /// As if it had been decoded: what is counted and compared, without signatures.
    fn ended(key: KeyId, node: u8, user: &str, until_ms: u64) -> Ended {
        let user: Name = user.parse().expect("a name");
        let bytes = [key.as_bytes().as_slice(), &until_ms.to_be_bytes()].concat();
        Ended {
            key,
            user,
            node: id(node, 0),
            until_ms,
            digest: sha256(&bytes),
            bytes,
        }
    }

    #[test]
    fn an_end_is_remembered_until_its_time() {
        let mut table = EndedSessions::default();
        let empty = table.digest();
        assert!(table.apply(ended(id(1, 1), 1, "alice", 100)));
        assert!(!table.apply(ended(id(1, 1), 1, "alice", 100)), "told twice");
        assert!(table.contains(&id(1, 1)) && !table.contains(&id(1, 2)));
        assert_ne!(table.digest(), empty);
        assert!(!table.has_past(99) && table.has_past(100));
        table.forget_past(99);
        assert!(table.contains(&id(1, 1)));
        table.forget_past(100);
        assert!(!table.contains(&id(1, 1)));
        assert_eq!(table.digest(), empty);
        assert!(table.of_user.is_empty() && table.of_node.is_empty());
    }

    #[test]
    fn an_end_is_never_shortened() {
        let mut table = EndedSessions::default();
        assert!(table.apply(ended(id(1, 1), 1, "alice", 100)));
        assert!(!table.apply(ended(id(1, 1), 1, "alice", 50)));
        table.forget_past(99);
        assert!(table.contains(&id(1, 1)));
        assert!(table.apply(ended(id(1, 1), 2, "alice", 200)));
        table.forget_past(199);
        assert!(table.contains(&id(1, 1)));
        assert_eq!(table.iter().count(), 1);
    }

    #[test]
    fn who_floods_one_node_pushes_out_no_others() {
        let mut table = EndedSessions::default();
        let victim = ended(id(0, 0), 1, "alice", 10);
        assert!(table.apply(victim));
        // Another node makes up sessions of the same user, as many as it likes.
        for rest in 0..200 {
            table.apply(ended(id(2, rest), 2, "alice", 1000 + u64::from(rest)));
        }
        assert!(table.contains(&id(0, 0)));
        assert_eq!(table.iter().count(), 1 + ENDED_OF_USER_MAX);
        // Another user of the same node.
        assert!(table.apply(ended(id(3, 0), 2, "bob", 5)));
        let more = ended(id(2, 999), 2, "alice", 5000);
        assert_eq!(table.check_room(&more), Err(NoRoom::User));
        let held = ended(id(2, 199), 2, "alice", 5000);
        assert_eq!(table.check_room(&held), Ok(()), "no one more");
        assert_eq!(table.check_room(&ended(id(4, 0), 1, "alice", 1)), Ok(()));
    }

    #[test]
    fn a_node_has_a_bound_over_all_users() {
        let mut table = EndedSessions::default();
        table.of_node.insert(id(1, 0), ENDED_OF_NODE_MAX);
        let one = ended(id(9, 0), 1, "alice", 10);
        assert_eq!(table.check_room(&one), Err(NoRoom::Node));
        assert_eq!(table.check_room(&ended(id(9, 0), 2, "alice", 10)), Ok(()));
        // The only one that there really is: it is the first to go.
        assert!(!table.apply(one));
        assert_eq!(table.iter().count(), 0);
    }

    #[test]
    fn the_order_of_arrival_does_not_show_also_when_too_many_came() {
        let all: Vec<Ended> = (0..100u16)
            .map(|rest| ended(id(rest as u8, rest), 1, "alice", 1000 - u64::from(rest)))
            .collect();
        let mut forward = EndedSessions::default();
        let mut backward = EndedSessions::default();
        for one in &all {
            forward.apply(one.clone());
        }
        for one in all.iter().rev() {
            backward.apply(one.clone());
        }
        assert_eq!(forward.digests(), backward.digests());
        assert!(forward.contains(&id(0, 0)), "what lasts longest stays");
    }

    #[test]
    fn what_differs_is_found_from_any_place_on_and_nothing_twice() {
        let mut table = EndedSessions::default();
        for rest in 0..60 {
            let user = format!("u{rest}");
            table.apply(ended(id((rest / 4) as u8, rest), 1, &user, 10));
        }
        let theirs = EndedSessions::default().digests();
        let mut found: Vec<KeyId> = Vec::new();
        loop {
            let differing = table.differing(&theirs, found.last()).expect("all buckets");
            let portion: Vec<KeyId> = differing.take(7).map(|ended| ended.key).collect();
            if portion.is_empty() {
                break;
            }
            found.extend(portion);
        }
        assert_eq!(found.len(), 60);
        assert!(found.is_sorted());
        let own = table.digests();
        assert_eq!(table.differing(&own, None).expect("all").count(), 0);
        assert!(table.differing(&own[1..], None).is_none());
    }
}
