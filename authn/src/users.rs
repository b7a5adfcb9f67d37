//! The realm's users as signed records, and what a node keeps of them.

mod directory;

use sealmoot_crypto::digest::sha256;
use sealmoot_crypto::encoding::{EncodingError, Reader, Writer};

use crate::delegation::{self, CHAIN_BYTES_MAX, Chain, DelegationError};
use crate::name::Name;
use crate::policy::Role;
use crate::records::Standing;
use crate::roots::Roots;
use crate::statement::{Claim, Credential, STATEMENT_LENGTH_MAX, StatementError, User, Verified};

pub use directory::{
    BUCKET_DIGESTS_LENGTH, BUCKETS, DIGEST_LENGTH, ISSUERS_PER_USER_MAX, TooManyUsers, USERS_MAX,
    UserDirectory, bucket_of,
};

/// First byte of a user record among those of other kinds. Records that began with 1
/// always had a credential.
pub(crate) const RECORD_TAG: u8 = 3;
/// First byte of the record of a user whom a delegate made.
pub const DELEGATED_TAG: u8 = 9;
/// Longest encoded record in bytes.
pub const RECORD_LENGTH_MAX: usize = 2 * STATEMENT_LENGTH_MAX + CHAIN_BYTES_MAX + 16;

/// Why a record was not believed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RecordError {
    /// The bytes are no record.
    #[error("not a signed record: {0}")]
    Malformed(#[from] EncodingError),
    /// A statement in it is not to be believed.
    #[error(transparent)]
    Statement(#[from] StatementError),
    /// The credential is for another user or another key.
    #[error("the credential does not belong to the user statement")]
    Mismatch,
    /// The user has a key that a password opens, and there is no credential.
    #[error("the credential of the user's password is missing")]
    NoCredential,
    /// A delegate issued it who may not, or not this.
    #[error(transparent)]
    Delegation(#[from] DelegationError),
}

/// A user and how the user logs in: by a password, by the keys that stand in the
/// statement, or both.
#[derive(Clone)]
pub struct UserRecord {
    user: Verified<User>,
    credential: Option<Verified<Credential>>,
    /// The delegations behind the issuer; none where that is the root.
    chain: Option<Chain>,
    /// The number of the root behind it.
    root: u64,
}

impl UserRecord {
    /// Puts a user and the credential of the user's password together, if there is
    /// one; both by the realm's first root.
    ///
    /// # Errors
    /// [`RecordError::Mismatch`], [`RecordError::NoCredential`].
    pub fn new(
        user: Verified<User>,
        credential: Option<Verified<Credential>>,
    ) -> Result<Self, RecordError> {
        match &credential {
            None if user.body().user_key.is_some() => return Err(RecordError::NoCredential),
            None => {}
            Some(credential) => {
                let belongs = credential.body().name == user.body().name
                    && Some(credential.body().user_key) == user.body().user_key;
                if !belongs {
                    return Err(RecordError::Mismatch);
                }
            }
        }
        Ok(Self {
            user,
            credential,
            chain: None,
            root: 0,
        })
    }

    /// The same where both statements are by the delegate at the end of `chain`.
    ///
    /// # Errors
    /// [`RecordError`], [`RecordError::Delegation`] for what the delegate may not issue.
    pub fn by_delegate(
        chain: Chain,
        user: Verified<User>,
        credential: Option<Verified<Credential>>,
    ) -> Result<Self, RecordError> {
        chain.check_user(user.body())?;
        let mut record = Self::new(user, credential)?;
        record.root = chain.root();
        record.chain = Some(chain);
        Ok(record)
    }

    /// The same by the root with this number.
    #[must_use]
    pub fn under_root(mut self, root: u64) -> Self {
        self.root = root;
        self
    }

    /// The number of the root behind it.
    #[must_use]
    pub fn root(&self) -> u64 {
        self.root
    }

    /// The delegations behind whoever issued it; none where that is the root.
    #[must_use]
    pub fn chain(&self) -> Option<&Chain> {
        self.chain.as_ref()
    }

    /// Whether who issued it may still speak: the root always, a delegate while the
    /// delegation holds. Revoked delegations are not asked for here: a directory does not
    /// keep their records.
    #[must_use]
    pub fn issuer_holds_at(&self, now_ms: u64) -> bool {
        self.chain
            .as_ref()
            .is_none_or(|chain| chain.holds_at(now_ms))
    }

    /// What bounds the user's rights beside the roles, where a delegate issued the
    /// record ([`Chain::rules`]).
    #[must_use]
    pub fn bounds(&self) -> Option<Vec<Role>> {
        self.chain.as_ref().map(Chain::rules)
    }

    /// Where it stands among the records of this user.
    #[must_use]
    pub fn standing(&self) -> Standing {
        self.standing_with(sha256(&self.encode()))
    }

    pub(super) fn standing_with(&self, digest: [u8; 32]) -> Standing {
        let chain = self.chain.as_ref();
        Standing::new(
            self.root,
            chain.map(Chain::path).unwrap_or_default(),
            chain.map(Chain::versions).unwrap_or_default(),
            self.user().version,
            digest,
        )
    }

    /// The user statement with what it takes to believe it: [`verify_user`].
    #[must_use]
    pub fn user_proof(&self) -> Vec<u8> {
        let Some(chain) = &self.chain else {
            return self.user.bytes().to_vec();
        };
        let mut writer = Writer::new();
        writer.u8(DELEGATED_TAG);
        writer.bytes(&chain.encode());
        writer.bytes(self.user.bytes());
        writer.finish()
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

    /// The credential as signed; none for a user without a password.
    #[must_use]
    pub fn credential(&self) -> Option<&Verified<Credential>> {
        self.credential.as_ref()
    }

    /// The record's bytes.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut writer = Writer::with_capacity(self.encoded_length());
        match &self.chain {
            None => writer.u8(RECORD_TAG),
            Some(chain) => {
                writer.u8(DELEGATED_TAG);
                writer.bytes(&chain.encode());
            }
        }
        writer.bytes(self.user.bytes());
        writer.flag(self.credential.is_some());
        if let Some(credential) = &self.credential {
            writer.bytes(credential.bytes());
        }
        writer.finish()
    }

    /// How many bytes [`UserRecord::encode`] yields.
    #[must_use]
    pub fn encoded_length(&self) -> usize {
        let credential = self.credential.as_ref();
        let credential = credential.map_or(0, |credential| 4 + credential.bytes().len());
        let chain = self.chain.as_ref();
        let chain = chain.map_or(0, |chain| 4 + chain.encoded_length());
        1 + chain + 4 + self.user.bytes().len() + 1 + credential
    }

    /// Reads a record and believes it if a root, or one delegate whose chain begins with
    /// a root, issued both statements.
    ///
    /// # Errors
    /// [`RecordError`].
    pub fn decode(bytes: &[u8], roots: &Roots) -> Result<Self, RecordError> {
        let parts = Parts::read(bytes)?;
        let (user, chain, root) = parts.verify_user(roots)?;
        let issuer = match &chain {
            Some(chain) => chain.last().key,
            None => *roots.key(root).ok_or(StatementError::WrongIssuer)?,
        };
        let credential = match parts.credential {
            Some(bytes) => {
                let claim = Claim::<Credential>::decode(bytes)?;
                Some(claim.verify(&roots.realm(), &issuer)?)
            }
            None => None,
        };
        let mut record = Self::new(user, credential)?;
        record.chain = chain;
        record.root = root;
        Ok(record)
    }

    /// Reads the user out of a record and believes it as [`UserRecord::decode`] does.
    /// The credential is not looked at: half the work, for who wants to list users.
    ///
    /// # Errors
    /// [`RecordError`].
    pub fn decode_user(bytes: &[u8], roots: &Roots) -> Result<Verified<User>, RecordError> {
        Ok(Parts::read(bytes)?.verify_user(roots)?.0)
    }

    /// Whose record this claims to be, and how it stands among those, unbelieved: what a
    /// directory has a newer version of is not worth verifying.
    ///
    /// # Errors
    /// [`RecordError`] when the bytes are no record.
    pub fn claimed(bytes: &[u8], roots: &Roots) -> Result<(Name, Standing), RecordError> {
        let parts = Parts::read(bytes)?;
        let claim = Claim::<User>::decode(parts.user)?;
        let (root, path, versions) = match parts.chain {
            Some(chain) => delegation::claimed(chain, roots)?,
            None => {
                let root = roots.number_of(claim.issuer());
                let root = root.ok_or(StatementError::WrongIssuer)?;
                (root, Default::default(), Vec::new())
            }
        };
        let version = claim.claimed().version;
        let standing = Standing::new(root, path, versions, version, sha256(bytes));
        Ok((claim.claimed().name.clone(), standing))
    }
}

/// Believes the user statement that [`UserRecord::user_proof`] yielded.
///
/// # Errors
/// [`RecordError`].
pub fn verify_user(proof: &[u8], roots: &Roots) -> Result<Verified<User>, RecordError> {
    let (chain, user) = if proof.first() == Some(&DELEGATED_TAG) {
        let mut reader = Reader::new(&proof[1..]);
        let chain = reader.bytes(CHAIN_BYTES_MAX)?;
        let user = reader.bytes(STATEMENT_LENGTH_MAX)?;
        reader.finish()?;
        (Some(chain), user)
    } else {
        (None, proof)
    };
    let parts = Parts {
        chain,
        user,
        credential: None,
    };
    Ok(parts.verify_user(roots)?.0)
}

/// What stands in a record, unbelieved.
struct Parts<'a> {
    chain: Option<&'a [u8]>,
    user: &'a [u8],
    credential: Option<&'a [u8]>,
}

impl<'a> Parts<'a> {
    fn read(bytes: &'a [u8]) -> Result<Self, RecordError> {
        let mut reader = Reader::new(bytes);
        let chain = match reader.u8()? {
            RECORD_TAG => None,
            DELEGATED_TAG => Some(reader.bytes(CHAIN_BYTES_MAX)?),
            value => {
                return Err(EncodingError::Unknown {
                    what: "record version",
                    value: u64::from(value),
                }
                .into());
            }
        };
        let user = reader.bytes(STATEMENT_LENGTH_MAX)?;
        let credential = match reader.flag()? {
            true => Some(reader.bytes(STATEMENT_LENGTH_MAX)?),
            false => None,
        };
        reader.finish()?;
        Ok(Self {
            chain,
            user,
            credential,
        })
    }

    fn verify_user(
        &self,
        roots: &Roots,
    ) -> Result<(Verified<User>, Option<Chain>, u64), RecordError> {
        let claim = Claim::<User>::decode(self.user)?;
        let Some(chain) = self.chain else {
            let (user, root) = roots.verify(claim)?;
            return Ok((user, None, root));
        };
        let chain = Chain::decode(chain, roots)?;
        let user = claim.verify(&roots.realm(), &chain.last().key)?;
        chain.check_user(user.body())?;
        let root = chain.root();
        Ok((user, Some(chain), root))
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::opaque::{LoginSecrets, Stretching, register};
    use crate::realm_id::RealmId;
    use crate::statement::{CredentialId, EnrolledKey, KeyUse};
    use crate::user_key;
    use sealmoot_crypto::password::Cost;
    use sealmoot_crypto::signature::SigningKey;

    pub(crate) const CHEAP: Cost = Cost {
        memory_kib: 8,
        passes: 1,
        lanes: 1,
    };

    /// A record whose password nobody can prove: its login secrets are gone.
    pub(crate) fn record(
        root: &SigningKey,
        user_key: &SigningKey,
        name: &str,
        version: u64,
        enabled: bool,
    ) -> UserRecord {
        let secrets = LoginSecrets::generate().expect("random");
        let stretching = Stretching::new(CHEAP).expect("admitted");
        record_with(root, user_key, name, version, enabled, &secrets, stretching)
    }

    /// A record with the password `pw`.
    pub(crate) fn record_with(
        root: &SigningKey,
        user_key: &SigningKey,
        name: &str,
        version: u64,
        enabled: bool,
        secrets: &LoginSecrets,
        stretching: Stretching,
    ) -> UserRecord {
        let realm = RealmId::without_heir(&root.verifying_key());
        let name: Name = name.parse().expect("a name");
        let user = User {
            name: name.clone(),
            version,
            enabled,
            deleted: false,
            roles: vec!["app/*:rw".parse().expect("a role")],
            user_key: Some(user_key.verifying_key()),
            keys: Vec::new(),
            second_factor: None,
        };
        let (password, export_key) =
            register(secrets, &realm, &name, b"pw", stretching).expect("registered");
        let sealed_key = user_key::seal(&export_key, &realm, &name, user_key).expect("sealed");
        let credential = Credential {
            name,
            user_key: user_key.verifying_key(),
            must_change: false,
            stretching,
            password,
            sealed_key,
        };
        UserRecord::new(
            Verified::issue(&realm, root, 1, user),
            Some(Verified::issue(&realm, root, 1, credential)),
        )
        .expect("they belong together")
    }

    /// A record of a user who has these keys and no password.
    pub(crate) fn record_of_keys(
        root: &SigningKey,
        name: &str,
        version: u64,
        keys: Vec<EnrolledKey>,
    ) -> UserRecord {
        let user = User {
            name: name.parse().expect("a name"),
            version,
            enabled: true,
            deleted: false,
            roles: vec!["app/*:rw".parse().expect("a role")],
            user_key: None,
            keys,
            second_factor: None,
        };
        let realm = RealmId::without_heir(&root.verifying_key());
        UserRecord::new(Verified::issue(&realm, root, 1, user), None).expect("no password")
    }

    /// A key of a device, for ever and with all rights.
    pub(crate) fn device_key(key: &SigningKey) -> EnrolledKey {
        EnrolledKey {
            id: CredentialId::random().expect("random"),
            label: "laptop".parse().expect("a label"),
            usage: KeyUse::Device,
            key: key.verifying_key(),
            expires_ms: 0,
            narrowing: None,
        }
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
        assert!(directory.active(&name, 1).is_none());
        assert!(directory.apply(record(&root, &user, "alice", 3, true)));
        assert!(directory.active(&name, 1).is_some());
    }

    #[test]
    fn only_the_root_makes_records() {
        let (root, user) = (key(), key());
        let bytes = record(&root, &user, "alice", 1, true).encode();
        assert!(UserRecord::decode(&bytes, &Roots::sole(root.verifying_key())).is_ok());
        assert!(UserRecord::decode(&bytes, &Roots::sole(user.verifying_key())).is_err());
        for index in 0..bytes.len() {
            let mut changed = bytes.clone();
            changed[index] ^= 4;
            assert!(
                UserRecord::decode(&changed, &Roots::sole(root.verifying_key())).is_err(),
                "{index}"
            );
        }
    }

    #[test]
    fn credentials_of_earlier_versions_are_refused_by_their_version() {
        let (root, user) = (key(), key());
        let record = record(&root, &user, "alice", 1, true);
        for version in [1, 2, 4] {
            let mut bytes = record.credential().expect("a password").bytes().to_vec();
            bytes[1] = version;
            assert_eq!(
                Claim::<Credential>::decode(&bytes).err(),
                Some(StatementError::Malformed(EncodingError::Unknown {
                    what: "statement version",
                    value: u64::from(version)
                }))
            );
        }
    }

    #[test]
    fn a_credential_that_asks_for_too_much_stretching_is_refused() {
        let (root, user) = (key(), key());
        let record = record(&root, &user, "alice", 1, true);
        // Header 74, length of the body, name with its length, user key, flag, kind.
        let at = 74 + 4 + (4 + 5) + 32 + 1 + 1;
        for (offset, value) in [
            (0, 256 * 1024 + 1),
            (0, 7),
            (4, 0),
            (4, 17),
            (8, 0),
            (8, 17),
        ] {
            let mut bytes = record.credential().expect("a password").bytes().to_vec();
            bytes[at + offset..at + offset + 4].copy_from_slice(&u32::to_le_bytes(value));
            assert!(
                matches!(
                    Claim::<Credential>::decode(&bytes).err(),
                    Some(StatementError::Malformed(EncodingError::Invalid(_)))
                ),
                "{value} at {offset}"
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
    fn a_password_and_its_credential_come_together_or_not_at_all() {
        let root = key();
        let with = record(&root, &key(), "alice", 1, true);
        let without = record_of_keys(&root, "alice", 1, vec![device_key(&key())]);
        assert_eq!(
            UserRecord::new(with.user.clone(), None).err(),
            Some(RecordError::NoCredential)
        );
        assert_eq!(
            UserRecord::new(without.user.clone(), with.credential.clone()).err(),
            Some(RecordError::Mismatch)
        );
        let bytes = without.encode();
        let again =
            UserRecord::decode(&bytes, &Roots::sole(root.verifying_key())).expect("a record");
        assert!(again.credential().is_none());
        assert_eq!(again.user(), without.user());
    }

    #[test]
    fn records_and_statements_of_the_first_version_are_refused_by_their_version() {
        let (root, user) = (key(), key());
        let record = record(&root, &user, "alice", 1, true);
        let mut bytes = record.encode();
        bytes[0] = 1;
        let unknown = |what| EncodingError::Unknown { what, value: 1 };
        assert_eq!(
            UserRecord::decode(&bytes, &Roots::sole(root.verifying_key())).err(),
            Some(RecordError::Malformed(unknown("record version")))
        );
        let mut bytes = record.user_statement().bytes().to_vec();
        bytes[1] = 1;
        assert_eq!(
            Claim::<User>::decode(&bytes).err(),
            Some(StatementError::Malformed(unknown("statement version")))
        );
    }

    #[test]
    fn digests_tell_directories_apart() {
        let (root, user) = (key(), key());
        let mut left = UserDirectory::default();
        let mut right = UserDirectory::default();
        let alice = record(&root, &user, "alice", 1, true);
        left.apply(alice.clone());
        assert_ne!(left.digest(), right.digest());
        right.apply(alice);
        assert_eq!(left.digest(), right.digest());
        // The same user statement beside another credential is another record.
        let mut other = UserDirectory::default();
        other.apply(record(&root, &user, "alice", 1, true));
        assert_ne!(left.digest(), other.digest());
    }
}
