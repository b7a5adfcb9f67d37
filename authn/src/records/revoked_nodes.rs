//! The record of the nodes whose keys are believed no more.

use sealmoot_crypto::encoding::{Reader, Writer};
use sealmoot_crypto::signature::KeyId;

use super::{Standing, unknown};
use crate::roots::Roots;
use crate::statement::{Claim, RevokedNodes, STATEMENT_LENGTH_MAX, Verified};
use crate::users::RecordError;

pub(super) const TAG: u8 = 8;

/// The revoked nodes as the root signed them.
#[derive(Clone)]
pub struct RevokedNodesRecord {
    statement: Verified<RevokedNodes>,
    /// The number of the root that issued it.
    root: u64,
}

impl RevokedNodesRecord {
    /// A record of a statement by the realm's first root.
    #[must_use]
    pub fn new(statement: Verified<RevokedNodes>) -> Self {
        Self { statement, root: 0 }
    }

    /// The same by the root with this number.
    #[must_use]
    pub fn under_root(mut self, root: u64) -> Self {
        self.root = root;
        self
    }

    /// The number of the root that issued it.
    #[must_use]
    pub fn root(&self) -> u64 {
        self.root
    }

    /// Rises with every revocation.
    #[must_use]
    pub fn version(&self) -> u64 {
        self.statement.body().version
    }

    /// Which nodes are believed no more.
    #[must_use]
    pub fn revoked(&self) -> &RevokedNodes {
        self.statement.body()
    }

    /// Whether this key is believed no more.
    #[must_use]
    pub fn revokes(&self, key: &KeyId) -> bool {
        self.revoked().revokes(key)
    }

    /// The revocations as signed.
    #[must_use]
    pub fn statement(&self) -> &Verified<RevokedNodes> {
        &self.statement
    }

    /// Where it stands among the realm's.
    #[must_use]
    pub fn standing(&self) -> Standing {
        Standing::of_root(self.root, self.version(), &self.encode())
    }

    /// The record's bytes.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut writer = Writer::with_capacity(self.encoded_length());
        writer.u8(TAG);
        writer.bytes(self.statement.bytes());
        writer.finish()
    }

    /// How many bytes [`RevokedNodesRecord::encode`] yields.
    #[must_use]
    pub fn encoded_length(&self) -> usize {
        1 + 4 + self.statement.bytes().len()
    }

    /// Reads a record and believes it if one of the roots issued the statement.
    ///
    /// # Errors
    /// [`RecordError`].
    pub fn decode(bytes: &[u8], roots: &Roots) -> Result<Self, RecordError> {
        let (statement, root) = roots.verify(claim(bytes)?)?;
        Ok(Self { statement, root })
    }

    /// How it claims to stand, unbelieved.
    pub(super) fn claimed(bytes: &[u8], roots: &Roots) -> Result<Standing, RecordError> {
        let claim = claim(bytes)?;
        let root = super::claimed_root(&claim, roots)?;
        Ok(Standing::of_root(root, claim.claimed().version, bytes))
    }
}

fn claim(bytes: &[u8]) -> Result<Claim<RevokedNodes>, RecordError> {
    let mut reader = Reader::new(bytes);
    let tag = reader.u8()?;
    if tag != TAG {
        return Err(unknown(tag));
    }
    let statement = reader.bytes(STATEMENT_LENGTH_MAX)?;
    reader.finish()?;
    Ok(Claim::decode(statement)?)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::realm_id::RealmId;
    use crate::records::{RecordName, SignedRecord};
    use crate::statement::StatementError;
    use crate::users::UserDirectory;
    use sealmoot_crypto::signature::SigningKey;

    pub(crate) fn revoking(root: &SigningKey, version: u64, keys: &[KeyId]) -> RevokedNodesRecord {
        let mut revoked = RevokedNodes::default();
        revoked.version = version;
        for key in keys {
            let name = "n1".parse().expect("a name");
            revoked.revoke(*key, name, 1).expect("room");
        }
        let realm = RealmId::without_heir(&root.verifying_key());
        RevokedNodesRecord::new(Verified::issue(&realm, root, 1, revoked))
    }

    fn key() -> SigningKey {
        SigningKey::generate().expect("random")
    }

    #[test]
    fn revoked_nodes_by_anybody_but_the_root_are_refused() {
        let (root, other) = (key(), key());
        let bytes = revoking(&root, 1, &[other.verifying_key().key_id()]).encode();
        let root = root.verifying_key();
        assert!(matches!(
            SignedRecord::decode(&bytes, &Roots::sole(root)),
            Ok(SignedRecord::RevokedNodes(_))
        ));
        assert!(matches!(
            RevokedNodesRecord::decode(&bytes, &Roots::sole(other.verifying_key())),
            Err(RecordError::Statement(StatementError::WrongRealm))
        ));
        for index in 0..bytes.len() {
            let mut changed = bytes.clone();
            changed[index] ^= 8;
            assert!(
                SignedRecord::decode(&changed, &Roots::sole(root)).is_err(),
                "{index}"
            );
            let cut = SignedRecord::decode(&bytes[..index], &Roots::sole(root));
            assert!(cut.is_err(), "{index}");
        }
    }

    #[test]
    fn the_newest_holds_and_the_digest_covers_it() {
        let (root, node) = (key(), key().verifying_key().key_id());
        let mut directory = UserDirectory::default();
        let empty = directory.digest();
        assert!(directory.apply_signed(revoking(&root, 2, &[node]).into()));
        assert!(directory.is_node_revoked(&node));
        let second = directory.digest();
        assert_ne!(second, empty);
        assert!(!directory.apply_signed(revoking(&root, 1, &[]).into()));
        assert!(directory.is_node_revoked(&node));
        assert_eq!(directory.digest(), second);
        let kept = directory.signed_records().next().expect("a record");
        assert_eq!(kept.encoded_length(), kept.encode().len());
        let claimed = SignedRecord::claimed(&kept.encode(), &Roots::sole(root.verifying_key()));
        assert_eq!(claimed, Ok((RecordName::RevokedNodes, kept.standing())));
        let standing = directory.standing(&RecordName::RevokedNodes);
        assert_eq!(standing, Some(kept.standing()));
    }
}
