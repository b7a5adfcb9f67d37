//! The record of the sessions that ended before their time.

use sealmoot_crypto::encoding::{Reader, Writer};

use super::{Standing, unknown};
use crate::roots::Roots;
use crate::statement::{Claim, RevokedSessions, STATEMENT_LENGTH_MAX, Verified};
use crate::users::RecordError;

pub(super) const TAG: u8 = 4;

/// The revoked sessions as the root signed them.
#[derive(Clone)]
pub struct RevokedSessionsRecord {
    statement: Verified<RevokedSessions>,
    /// The number of the root that issued it.
    root: u64,
}

impl RevokedSessionsRecord {
    /// A record of a statement by the realm's first root.
    #[must_use]
    pub fn new(statement: Verified<RevokedSessions>) -> Self {
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

    /// Which sessions hold no longer.
    #[must_use]
    pub fn revoked(&self) -> &RevokedSessions {
        self.statement.body()
    }

    /// The revocations as signed.
    #[must_use]
    pub fn statement(&self) -> &Verified<RevokedSessions> {
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

    /// How many bytes [`RevokedSessionsRecord::encode`] yields.
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

fn claim(bytes: &[u8]) -> Result<Claim<RevokedSessions>, RecordError> {
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
mod tests {
    use super::*;
    use crate::realm_id::RealmId;
    use crate::records::{RecordName, SignedRecord};
    use crate::statement::StatementError;
    use crate::users::UserDirectory;
    use sealmoot_crypto::signature::{KeyId, SigningKey};

    /// A record that revokes what `keys` speak for.
    fn revoking(root: &SigningKey, version: u64, keys: &[KeyId]) -> RevokedSessionsRecord {
        let mut revoked = RevokedSessions::default();
        revoked.version = version;
        for key in keys {
            revoked.revoke_key(*key, 1).expect("room");
        }
        let realm = RealmId::without_heir(&root.verifying_key());
        RevokedSessionsRecord::new(Verified::issue(&realm, root, 1, revoked))
    }

    fn key() -> SigningKey {
        SigningKey::generate().expect("random")
    }

    #[test]
    fn revocations_by_anybody_but_the_root_are_refused() {
        let (root, other) = (key(), key());
        let bytes = revoking(&root, 1, &[other.verifying_key().key_id()]).encode();
        let root = root.verifying_key();
        assert!(matches!(
            SignedRecord::decode(&bytes, &Roots::sole(root)),
            Ok(SignedRecord::RevokedSessions(_))
        ));
        assert!(matches!(
            RevokedSessionsRecord::decode(&bytes, &Roots::sole(other.verifying_key())),
            Err(RecordError::Statement(StatementError::WrongRealm))
        ));
        for index in 0..bytes.len() {
            let mut changed = bytes.clone();
            changed[index] ^= 8;
            let refused = SignedRecord::decode(&changed, &Roots::sole(root)).is_err();
            assert!(refused, "{index}");
            assert!(
                SignedRecord::decode(&bytes[..index], &Roots::sole(root)).is_err(),
                "{index}"
            );
        }
    }

    #[test]
    fn the_newest_revocations_hold_and_the_digest_covers_them() {
        let (root, one, two) = (key(), key(), key());
        let [one, two] = [one, two].map(|key| key.verifying_key().key_id());
        let mut directory = UserDirectory::default();
        let empty = directory.digest();
        assert!(directory.apply_signed(revoking(&root, 2, &[one]).into()));
        let second = directory.digest();
        assert_ne!(second, empty);
        assert!(!directory.apply_signed(revoking(&root, 1, &[]).into()));
        let revoked = |directory: &UserDirectory, key| {
            directory
                .revoked_sessions()
                .is_some_and(|revoked| revoked.revokes_key(&key))
        };
        assert!(revoked(&directory, one) && !revoked(&directory, two));
        let standing = directory.standing(&RecordName::RevokedSessions);
        assert_eq!(standing.map(|standing| standing.version()), Some(2));
        assert!(directory.apply_signed(revoking(&root, 3, &[one, two]).into()));
        assert!(revoked(&directory, one) && revoked(&directory, two));
        assert_ne!(directory.digest(), second);
        let kept = directory.signed_records().next().expect("a record");
        assert_eq!(kept.encode(), revoking(&root, 3, &[one, two]).encode());
        assert_eq!(kept.encoded_length(), kept.encode().len());
        let claimed = SignedRecord::claimed(&kept.encode(), &Roots::sole(root.verifying_key()));
        assert_eq!(claimed, Ok((RecordName::RevokedSessions, kept.standing())));
        assert_eq!(kept.standing().version(), 3);
    }

    #[test]
    fn of_two_with_one_version_the_same_holds_in_either_order() {
        let (root, one, two) = (key(), key(), key());
        let records = [one, two].map(|key| revoking(&root, 1, &[key.verifying_key().key_id()]));
        let after = |first: usize, second: usize| {
            let mut directory = UserDirectory::default();
            assert!(directory.apply_signed(records[first].clone().into()));
            directory.apply_signed(records[second].clone().into());
            directory.digest()
        };
        assert_eq!(after(0, 1), after(1, 0));
    }
}
