//! Signed records of every kind, as nodes keep and exchange them.
//!
//! The first byte tells the kind:
//!
//! ```text
//! 2  the realm's roles: u8 2, roles statement
//! 3  a user record ([`crate::users`]): u8 3, user statement, and the credential if
//!    there is one
//! 4  the sessions that ended before their time: u8 4, statement *revoked sessions*
//! 5  the realm's revoked delegations: u8 5, revocations statement
//! 6  the realm's roots ([`crate::roots`]): none of these records
//! 7  the end of a session by its own word ([`crate::ended`]): none of these records
//! 8  the nodes that are believed no more: u8 8, statement *revoked nodes*
//! 9  a user record by a delegate: u8 9, chain ([`crate::delegation`]), and the rest as
//!    in 3
//! ```

mod revocations;
pub(crate) mod revoked_nodes;
mod revoked_sessions;
mod standing;

use std::fmt;

use sealmoot_crypto::encoding::{EncodingError, Reader, Writer};

use crate::name::Name;
use crate::policy::NamedRoles;
use crate::roots::Roots;
use crate::statement::{Body, Claim, Roles, STATEMENT_LENGTH_MAX, StatementError, Verified};
use crate::users::{self, RecordError, UserRecord};

pub use revocations::RevocationsRecord;
pub use revoked_nodes::RevokedNodesRecord;
pub use revoked_sessions::RevokedSessionsRecord;
pub use standing::Standing;

const USER_TAG: u8 = users::RECORD_TAG;
const DELEGATED_USER_TAG: u8 = users::DELEGATED_TAG;
const REVOCATIONS_TAG: u8 = revocations::RECORD_TAG;
const ROLES_TAG: u8 = 2;
/// Longest encoded record of any kind in bytes.
pub const SIGNED_RECORD_LENGTH_MAX: usize = users::RECORD_LENGTH_MAX;

/// Which of a realm's records one is: of two with the same name the newer holds. The
/// roles come first, because what users may do rests on them.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum RecordName {
    /// The realm's roles.
    Roles,
    /// Which sessions ended before their time.
    RevokedSessions,
    /// Which nodes are believed no more.
    RevokedNodes,
    /// The user of this name.
    User(Name),
    /// The realm's revoked delegations: last, so that users whom the root took over from
    /// a delegate do not end in between.
    Revocations,
}

impl fmt::Display for RecordName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Roles => formatter.write_str("the named roles"),
            Self::RevokedSessions => formatter.write_str("the revoked sessions"),
            Self::RevokedNodes => formatter.write_str("the revoked nodes"),
            Self::User(name) => write!(formatter, "user {name}"),
            Self::Revocations => formatter.write_str("the revoked delegations"),
        }
    }
}

/// A record that the root signed, or a delegate.
#[derive(Clone)]
pub enum SignedRecord {
    /// A user and how the user logs in.
    User(Box<UserRecord>),
    /// What the names of roles stand for.
    Roles(RolesRecord),
    /// Which sessions ended before their time.
    RevokedSessions(RevokedSessionsRecord),
    /// Which nodes are believed no more.
    RevokedNodes(RevokedNodesRecord),
    /// Which delegations are revoked.
    Revocations(RevocationsRecord),
}

impl SignedRecord {
    /// The record's bytes.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        match self {
            Self::User(record) => record.encode(),
            Self::Roles(record) => record.encode(),
            Self::RevokedSessions(record) => record.encode(),
            Self::RevokedNodes(record) => record.encode(),
            Self::Revocations(record) => record.encode(),
        }
    }

    /// How many bytes [`SignedRecord::encode`] yields.
    #[must_use]
    pub fn encoded_length(&self) -> usize {
        match self {
            Self::User(record) => record.encoded_length(),
            Self::Roles(record) => record.encoded_length(),
            Self::RevokedSessions(record) => record.encoded_length(),
            Self::RevokedNodes(record) => record.encoded_length(),
            Self::Revocations(record) => record.encoded_length(),
        }
    }

    /// Which record it is.
    #[must_use]
    pub fn name(&self) -> RecordName {
        match self {
            Self::User(record) => RecordName::User(record.user().name.clone()),
            Self::Roles(_) => RecordName::Roles,
            Self::RevokedSessions(_) => RecordName::RevokedSessions,
            Self::RevokedNodes(_) => RecordName::RevokedNodes,
            Self::Revocations(_) => RecordName::Revocations,
        }
    }

    /// The number of the root behind it.
    #[must_use]
    pub fn root(&self) -> u64 {
        match self {
            Self::User(record) => record.root(),
            Self::Roles(record) => record.root(),
            Self::RevokedSessions(record) => record.root(),
            Self::RevokedNodes(record) => record.root(),
            Self::Revocations(record) => record.root(),
        }
    }

    /// Where it stands among those of its name.
    #[must_use]
    pub fn standing(&self) -> Standing {
        match self {
            Self::User(record) => record.standing(),
            Self::Roles(record) => record.standing(),
            Self::RevokedSessions(record) => record.standing(),
            Self::RevokedNodes(record) => record.standing(),
            Self::Revocations(record) => record.standing(),
        }
    }

    /// Which record this claims to be, and how it stands among those, unbelieved: what a
    /// directory has a newer version of is not worth verifying.
    ///
    /// # Errors
    /// [`RecordError`] when the bytes are no record.
    pub fn claimed(bytes: &[u8], roots: &Roots) -> Result<(RecordName, Standing), RecordError> {
        let kind = Reader::new(bytes).u8()?;
        let named = |name| move |standing| (name, standing);
        match kind {
            USER_TAG | DELEGATED_USER_TAG => {
                let (name, standing) = UserRecord::claimed(bytes, roots)?;
                Ok((RecordName::User(name), standing))
            }
            ROLES_TAG => RolesRecord::claimed(bytes, roots).map(named(RecordName::Roles)),
            REVOCATIONS_TAG => {
                RevocationsRecord::claimed(bytes, roots).map(named(RecordName::Revocations))
            }
            revoked_sessions::TAG => {
                RevokedSessionsRecord::claimed(bytes, roots).map(named(RecordName::RevokedSessions))
            }
            revoked_nodes::TAG => {
                RevokedNodesRecord::claimed(bytes, roots).map(named(RecordName::RevokedNodes))
            }
            value => Err(unknown(value)),
        }
    }

    /// Reads a record and believes it if a root issued it, or of a user a delegate.
    ///
    /// # Errors
    /// [`RecordError`], also for a kind that is not known.
    pub fn decode(bytes: &[u8], roots: &Roots) -> Result<Self, RecordError> {
        match Reader::new(bytes).u8()? {
            REVOCATIONS_TAG => RevocationsRecord::decode(bytes, roots).map(Self::from),
            USER_TAG | DELEGATED_USER_TAG => UserRecord::decode(bytes, roots).map(Self::from),
            ROLES_TAG => RolesRecord::decode(bytes, roots).map(Self::from),
            revoked_sessions::TAG => RevokedSessionsRecord::decode(bytes, roots).map(Self::from),
            revoked_nodes::TAG => RevokedNodesRecord::decode(bytes, roots).map(Self::from),
            value => Err(unknown(value)),
        }
    }
}

impl From<UserRecord> for SignedRecord {
    fn from(record: UserRecord) -> Self {
        Self::User(Box::new(record))
    }
}

impl From<RevocationsRecord> for SignedRecord {
    fn from(record: RevocationsRecord) -> Self {
        Self::Revocations(record)
    }
}

impl From<RolesRecord> for SignedRecord {
    fn from(record: RolesRecord) -> Self {
        Self::Roles(record)
    }
}

impl From<RevokedNodesRecord> for SignedRecord {
    fn from(record: RevokedNodesRecord) -> Self {
        Self::RevokedNodes(record)
    }
}

impl From<RevokedSessionsRecord> for SignedRecord {
    fn from(record: RevokedSessionsRecord) -> Self {
        Self::RevokedSessions(record)
    }
}

/// The realm's named roles as the root signed them.
#[derive(Clone)]
pub struct RolesRecord {
    statement: Verified<Roles>,
    /// The number of the root that issued it.
    root: u64,
}

impl RolesRecord {
    /// A record of a statement by the realm's first root.
    #[must_use]
    pub fn new(statement: Verified<Roles>) -> Self {
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

    /// Where it stands among the realm's.
    #[must_use]
    pub fn standing(&self) -> Standing {
        Standing::of_root(self.root, self.version(), &self.encode())
    }

    /// Rises with every change of any role.
    #[must_use]
    pub fn version(&self) -> u64 {
        self.statement.body().version
    }

    /// What the names stand for.
    #[must_use]
    pub fn roles(&self) -> &NamedRoles {
        &self.statement.body().roles
    }

    /// The roles as signed.
    #[must_use]
    pub fn statement(&self) -> &Verified<Roles> {
        &self.statement
    }

    /// The record's bytes.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut writer = Writer::with_capacity(self.encoded_length());
        writer.u8(ROLES_TAG);
        writer.bytes(self.statement.bytes());
        writer.finish()
    }

    /// How many bytes [`RolesRecord::encode`] yields.
    #[must_use]
    pub fn encoded_length(&self) -> usize {
        1 + 4 + self.statement.bytes().len()
    }

    /// Reads a record and believes it if one of the roots issued the statement.
    ///
    /// # Errors
    /// [`RecordError`].
    pub fn decode(bytes: &[u8], roots: &Roots) -> Result<Self, RecordError> {
        let claim = Claim::<Roles>::decode(statement(bytes)?)?;
        let (statement, root) = roots.verify(claim)?;
        Ok(Self { statement, root })
    }

    fn claimed(bytes: &[u8], roots: &Roots) -> Result<Standing, RecordError> {
        let claim = Claim::<Roles>::decode(statement(bytes)?)?;
        let root = claimed_root(&claim, roots)?;
        Ok(Standing::of_root(root, claim.claimed().version, bytes))
    }
}

/// Which root claims to have issued it, unbelieved.
///
/// # Errors
/// When it is none that is known.
fn claimed_root<B: Body>(claim: &Claim<B>, roots: &Roots) -> Result<u64, RecordError> {
    let number = roots.number_of(claim.issuer());
    number.ok_or_else(|| StatementError::WrongIssuer.into())
}

/// The statement of a roles record, as it stands there.
fn statement(bytes: &[u8]) -> Result<&[u8], RecordError> {
    let mut reader = Reader::new(bytes);
    let tag = reader.u8()?;
    if tag != ROLES_TAG {
        return Err(unknown(tag));
    }
    let statement = reader.bytes(STATEMENT_LENGTH_MAX)?;
    reader.finish()?;
    Ok(statement)
}

fn unknown(tag: u8) -> RecordError {
    RecordError::Malformed(EncodingError::Unknown {
        what: "kind of record",
        value: u64::from(tag),
    })
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::realm_id::RealmId;
    use crate::statement::StatementError;
    use crate::users::UserDirectory;
    use crate::users::tests::{record, record_of_keys};
    use sealmoot_crypto::signature::SigningKey;

    /// A record in which the role `ops` grants `grant`.
    pub(crate) fn roles_record(root: &SigningKey, version: u64, grant: &str) -> RolesRecord {
        let mut roles = NamedRoles::default();
        let grant = grant.parse().expect("a grant");
        roles
            .add("ops".parse().expect("a name"), vec![grant])
            .expect("added");
        let realm = RealmId::without_heir(&root.verifying_key());
        RolesRecord::new(Verified::issue(&realm, root, 1, Roles { version, roles }))
    }

    fn key() -> SigningKey {
        SigningKey::generate().expect("random")
    }

    #[test]
    fn the_first_byte_tells_the_kind() {
        let root = key();
        let user = record(&root, &key(), "alice", 1, true).encode();
        let roles = roles_record(&root, 1, "app/*:r").encode();
        let root = root.verifying_key();
        let decode = |bytes: &[u8]| SignedRecord::decode(bytes, &Roots::sole(root));
        assert!(matches!(decode(&user), Ok(SignedRecord::User(_))));
        assert!(matches!(decode(&roles), Ok(SignedRecord::Roles(_))));
        for (first, bytes) in [(2, &user), (1, &roles), (0, &user), (3, &roles)] {
            let mut other = bytes.clone();
            other[0] = first;
            assert!(decode(&other).is_err(), "{first}");
        }
        assert!(decode(&[]).is_err());
        for bytes in [user, roles] {
            let record = decode(&bytes).expect("believed");
            assert_eq!(record.encode(), bytes);
            assert_eq!(record.encoded_length(), bytes.len());
        }
    }

    #[test]
    fn what_a_record_claims_to_be_is_told_without_believing_it() {
        let (root, other) = (key(), key());
        let claimed = |bytes: &[u8]| {
            SignedRecord::claimed(bytes, &Roots::sole(other.verifying_key()))
                .map(|(name, standing)| (name, standing.version()))
        };
        let user = record(&other, &other, "alice", 7, true).encode();
        let alice = "alice".parse().expect("a name");
        assert_eq!(claimed(&user), Ok((RecordName::User(alice), 7)));
        let roles = roles_record(&other, 3, "app/*:r").encode();
        assert_eq!(claimed(&roles), Ok((RecordName::Roles, 3)));
        for bytes in [&user, &roles] {
            assert!(SignedRecord::decode(bytes, &Roots::sole(root.verifying_key())).is_err());
            for length in 0..bytes.len() {
                assert!(claimed(&bytes[..length]).is_err(), "{length}");
            }
        }
        assert_eq!(claimed(&[1, 0, 0]), Err(unknown(1)));
    }

    #[test]
    fn a_user_without_a_password_has_the_length_that_the_record_says() {
        let record = SignedRecord::from(record_of_keys(&key(), "kate", 1, Vec::new()));
        assert_eq!(record.encoded_length(), record.encode().len());
    }

    #[test]
    fn roles_by_anybody_but_the_root_are_refused() {
        let (root, other) = (key(), key());
        let bytes = roles_record(&root, 1, "app/*:r").encode();
        assert!(matches!(
            RolesRecord::decode(&bytes, &Roots::sole(other.verifying_key())),
            Err(RecordError::Statement(StatementError::WrongRealm))
        ));
        for index in 0..bytes.len() {
            let mut changed = bytes.clone();
            changed[index] ^= 4;
            let refused =
                RolesRecord::decode(&changed, &Roots::sole(root.verifying_key())).is_err();
            assert!(refused, "{index}");
            let cut = RolesRecord::decode(&bytes[..index], &Roots::sole(root.verifying_key()));
            assert!(cut.is_err(), "{index}");
        }
    }

    #[test]
    fn the_newest_roles_hold_whatever_the_order_and_the_digest_covers_them() {
        let root = key();
        let mut directory = UserDirectory::default();
        let without = directory.digest();
        assert!(directory.apply_signed(roles_record(&root, 2, "app/*:r").into()));
        let second = directory.digest();
        assert_ne!(second, without);
        assert!(!directory.apply_signed(roles_record(&root, 1, "*:rwdla").into()));
        assert_eq!(directory.digest(), second);
        let granted = |directory: &UserDirectory| {
            let grants = directory.roles().grants(&"ops".parse().expect("a name"));
            grants.expect("a role")[0].to_string()
        };
        assert_eq!(granted(&directory), "app/*:r");
        assert!(directory.apply_signed(roles_record(&root, 3, "app/*:w").into()));
        assert_eq!(granted(&directory), "app/*:w");
        assert_ne!(directory.digest(), second);
    }
}
