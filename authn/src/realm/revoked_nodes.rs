//! The nodes whose keys the realm believes no more.

use std::path::PathBuf;

use super::{OpenRealm, Realm, RealmError, damaged};
use crate::audit::{Subject, What};
use crate::files::{self, Existing, FileError};
use crate::name::Name;
use crate::records::{RecordName, RevokedNodesRecord, SIGNED_RECORD_LENGTH_MAX};
use crate::users::RecordError;
use sealmoot_crypto::signature::KeyId;

impl Realm {
    /// The revoked nodes as signed, verified; none before the first was.
    ///
    /// # Errors
    /// [`RealmError::Damaged`] when the record does not verify.
    pub fn revoked_nodes(&self) -> Result<Option<RevokedNodesRecord>, RealmError> {
        let path = self.revoked_nodes_path();
        let bytes = match files::read_secret(&path, SIGNED_RECORD_LENGTH_MAX) {
            Err(FileError::Missing(_)) => return Ok(None),
            read => read?,
        };
        RevokedNodesRecord::decode(bytes.expose(), &self.roots)
            .map(Some)
            .map_err(|error: RecordError| damaged(&path, &error))
    }

    pub(super) fn revoked_nodes_path(&self) -> PathBuf {
        self.directory.join("revoked-nodes")
    }
}

impl OpenRealm {
    /// Revokes the keys of nodes, and signs what comes of it as the next version. Nothing
    /// takes a key from the list again.
    ///
    /// # Errors
    /// [`RealmError::NotTheRoot`], [`RealmError::TooManyNodes`], other [`RealmError`]s.
    pub fn revoke_nodes(
        &self,
        nodes: &[(Name, KeyId)],
        now_ms: u64,
    ) -> Result<RevokedNodesRecord, RealmError> {
        self.check_root("revoking nodes")?;
        let _lock = self.lock()?;
        let held = self.realm.revoked_nodes()?;
        let mut revoked = held
            .map(|record| record.revoked().clone())
            .unwrap_or_default();
        for (name, key) in nodes {
            revoked.revoke(*key, name.clone(), now_ms)?;
        }
        revoked.version = self.next_version(revoked.version)?;
        self.note_untold(vec![RecordName::RevokedNodes])?;
        let named: Vec<String> = nodes
            .iter()
            .map(|(name, key)| format!("{name} {key}"))
            .collect();
        let detail = format!("{}, version {}", named.join(", "), revoked.version);
        self.record(now_ms, What::NodesRevoked, Subject::Nothing, detail)?;
        let record =
            RevokedNodesRecord::new(self.issue(revoked, now_ms)).under_root(self.root_number());
        let path = self.realm.revoked_nodes_path();
        files::write(&path, &record.encode(), Existing::Replace)?;
        Ok(record)
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{name, realm};
    use super::*;

    #[test]
    fn revoked_nodes_add_up_and_stay() {
        let (_directory, realm) = realm();
        assert!(realm.realm().revoked_nodes().expect("read").is_none());
        let (one, two) = (KeyId::from_bytes([1; 32]), KeyId::from_bytes([2; 32]));
        let revoke = |key, now_ms| realm.revoke_nodes(&[(name("n1"), key)], now_ms);
        let first = revoke(one, 100).expect("signed");
        let second = revoke(two, 200).expect("signed");
        assert!(second.version() > first.version());
        assert!(second.revokes(&one) && second.revokes(&two));
        let kept = realm.realm().revoked_nodes().expect("read").expect("one");
        assert_eq!(kept.encode(), second.encode());
        let users = realm.realm().users().expect("read");
        assert!(users.is_node_revoked(&one));
        let record = realm.realm().record(&RecordName::RevokedNodes);
        assert_eq!(
            record.expect("read").expect("one").encode(),
            second.encode()
        );
    }

    #[test]
    fn a_changed_record_is_damage() {
        let (_directory, realm) = realm();
        let record = realm.revoke_nodes(&[(name("n1"), KeyId::from_bytes([1; 32]))], 100);
        let mut bytes = record.expect("signed").encode();
        let last = bytes.len() - 1;
        bytes[last] ^= 1;
        let path = realm.realm().revoked_nodes_path();
        files::write(&path, &bytes, Existing::Replace).expect("written");
        let read = realm.realm().revoked_nodes();
        assert!(matches!(read, Err(RealmError::Damaged { .. })));
    }
}
