//! The realm's users as signed records, and what a node keeps of them.

use std::collections::BTreeMap;

use sealmoot_crypto::digest::Sha256;
use sealmoot_crypto::encoding::{EncodingError, Reader, Writer};
use sealmoot_crypto::signature::VerifyingKey;

use crate::name::Name;
use crate::realm_id::RealmId;
use crate::statement::{Claim, Credential, STATEMENT_LENGTH_MAX, StatementError, User, Verified};

const VERSION: u8 = 1;
/// Longest encoded record in bytes.
pub const RECORD_LENGTH_MAX: usize = 2 * STATEMENT_LENGTH_MAX + 16;

/// Why a record was not believed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RecordError {
    /// The bytes are no record.
    #[error("not a user record: {0}")]
    Malformed(#[from] EncodingError),
    /// A statement in it is not to be believed.
    #[error(transparent)]
    Statement(#[from] StatementError),
    /// The credential is for another user or another key.
    #[error("the credential does not belong to the user statement")]
    Mismatch,
}

/// A user and how the user logs in.
#[derive(Clone)]
pub struct UserRecord {
    user: Verified<User>,
    credential: Verified<Credential>,
}

impl UserRecord {
    /// Puts a user and the user's credential together.
    ///
    /// # Errors
    /// [`RecordError::Mismatch`].
    pub fn new(
        user: Verified<User>,
        credential: Verified<Credential>,
    ) -> Result<Self, RecordError> {
        let belongs = credential.body().name == user.body().name
            && credential.body().user_key == user.body().user_key;
        if !belongs {
            return Err(RecordError::Mismatch);
        }
        Ok(Self { user, credential })
    }

    /// The user.
    #[must_use]
    pub fn user(&self) -> &User {
        self.user.body()
    }

    /// The user as signed.
    #[must_use]
    pub fn user_statement(&self) -> &Verified<User> {
        &self.user
    }

    /// The credential as signed.
    #[must_use]
    pub fn credential(&self) -> &Verified<Credential> {
        &self.credential
    }

    /// The record's bytes.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut writer = Writer::new();
        writer.u8(VERSION);
        writer.bytes(self.user.bytes());
        writer.bytes(self.credential.bytes());
        writer.finish()
    }

    /// Reads a record and believes it if `root` issued both statements.
    ///
    /// # Errors
    /// [`RecordError`].
    pub fn decode(bytes: &[u8], root: &VerifyingKey) -> Result<Self, RecordError> {
        let realm = RealmId::of(root);
        let mut reader = Reader::new(bytes);
        let version = reader.u8()?;
        if version != VERSION {
            return Err(EncodingError::Unknown {
                what: "record version",
                value: u64::from(version),
            }
            .into());
        }
        let user = reader.bytes(STATEMENT_LENGTH_MAX)?;
        let credential = reader.bytes(STATEMENT_LENGTH_MAX)?;
        reader.finish()?;
        Self::new(
            Claim::<User>::decode(user)?.verify(&realm, root)?,
            Claim::<Credential>::decode(credential)?.verify(&realm, root)?,
        )
    }
}

/// All users, the newest record of each; iterates in order of name.
#[derive(Clone, Default)]
pub struct UserDirectory(BTreeMap<Name, UserRecord>);

impl UserDirectory {
    /// Takes a record if it is newer than the one held; says whether it was.
    pub fn apply(&mut self, record: UserRecord) -> bool {
        let name = record.user().name.clone();
        let newer = self
            .0
            .get(&name)
            .is_none_or(|held| held.user().version < record.user().version);
        if newer {
            self.0.insert(name, record);
        }
        newer
    }

    /// The record of a user, deleted or not.
    #[must_use]
    pub fn record(&self, name: &Name) -> Option<&UserRecord> {
        self.0.get(name)
    }

    /// The record of a user who exists and is enabled.
    #[must_use]
    pub fn active(&self, name: &Name) -> Option<&UserRecord> {
        self.record(name)
            .filter(|record| record.user().enabled && !record.user().deleted)
    }

    /// All records, by name.
    pub fn records(&self) -> impl Iterator<Item = &UserRecord> {
        self.0.values()
    }

    /// A digest of all names and versions: equal where the same records are held.
    #[must_use]
    pub fn digest(&self) -> [u8; 32] {
        let mut hasher = Sha256::new();
        for record in self.records() {
            hasher.update(&(record.user.bytes().len() as u64).to_le_bytes());
            hasher.update(record.user.bytes());
        }
        hasher.finish()
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use sealmoot_crypto::password::{Cost, PasswordRecord};
    use sealmoot_crypto::signature::SigningKey;

    pub(crate) const CHEAP: Cost = Cost {
        memory_kib: 8,
        passes: 1,
        lanes: 1,
    };

    pub(crate) fn record(
        root: &SigningKey,
        user_key: &SigningKey,
        name: &str,
        version: u64,
        enabled: bool,
    ) -> UserRecord {
        let realm = RealmId::of(&root.verifying_key());
        let name: Name = name.parse().expect("a name");
        let user = User {
            name: name.clone(),
            version,
            enabled,
            deleted: false,
            roles: vec!["app/*:rw".parse().expect("a role")],
            user_key: user_key.verifying_key(),
        };
        let credential = Credential {
            name,
            user_key: user_key.verifying_key(),
            password: PasswordRecord::hash(b"pw", CHEAP).expect("hashes"),
            sealed_key: vec![1, 2, 3],
        };
        UserRecord::new(
            Verified::issue(&realm, root, 1, user),
            Verified::issue(&realm, root, 1, credential),
        )
        .expect("they belong together")
    }

    fn key() -> SigningKey {
        SigningKey::generate().expect("random")
    }

    #[test]
    fn the_newest_record_holds_whatever_the_order() {
        let (root, user) = (key(), key());
        let name: Name = "alice".parse().expect("a name");
        let mut directory = UserDirectory::default();
        assert!(directory.apply(record(&root, &user, "alice", 2, false)));
        assert!(!directory.apply(record(&root, &user, "alice", 1, true)));
        assert!(!directory.apply(record(&root, &user, "alice", 2, true)));
        assert!(directory.active(&name).is_none());
        assert!(directory.apply(record(&root, &user, "alice", 3, true)));
        assert!(directory.active(&name).is_some());
    }

    #[test]
    fn only_the_root_makes_records() {
        let (root, user) = (key(), key());
        let bytes = record(&root, &user, "alice", 1, true).encode();
        assert!(UserRecord::decode(&bytes, &root.verifying_key()).is_ok());
        assert!(UserRecord::decode(&bytes, &user.verifying_key()).is_err());
        for index in 0..bytes.len() {
            let mut changed = bytes.clone();
            changed[index] ^= 4;
            assert!(
                UserRecord::decode(&changed, &root.verifying_key()).is_err(),
                "{index}"
            );
        }
    }

    #[test]
    fn a_credential_of_another_key_does_not_belong() {
        let root = key();
        let one = record(&root, &key(), "alice", 1, true);
        let two = record(&root, &key(), "alice", 2, true);
        assert_eq!(
            UserRecord::new(one.user.clone(), two.credential.clone()).err(),
            Some(RecordError::Mismatch)
        );
    }

    #[test]
    fn digests_tell_directories_apart() {
        let (root, user) = (key(), key());
        let mut left = UserDirectory::default();
        let mut right = UserDirectory::default();
        left.apply(record(&root, &user, "alice", 1, true));
        assert_ne!(left.digest(), right.digest());
        right.apply(record(&root, &user, "alice", 1, true));
        assert_eq!(left.digest(), right.digest());
    }
}
