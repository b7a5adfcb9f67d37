//! Chains of delegations: from the root to the key that issued a user record.
//!
//! A chain is what a record carries with it, so believing it asks nobody: each statement
//! is by the key that the one before names, and is neither wider nor longer than that
//! one. What time it is, what was revoked and what the realm's roles stand for is not in
//! a chain; it is judged where a record is used ([`crate::users::UserDirectory`],
//! [`crate::session`]).
//!
//! ```text
//! chain   number of delegations u32, 1 to 3, then each: length u32, statement
//! ```

mod path;

use std::fmt;

use sealmoot_crypto::encoding::{EncodingError, Reader, Writer};
use sealmoot_crypto::signature::SigningKey;

use crate::name::Name;
use crate::policy::{ADMIN_ROLE, Grant, NamedRoles, Role};
use crate::roots::Roots;
use crate::statement::{
    Claim, DELEGATION_GRANTS_BYTES_MAX, DELEGATION_GRANTS_MAX, DELEGATION_LENGTH_MAX, Delegation,
    StatementError, User, Verified,
};

pub use path::SerialPath;

/// Most delegations between the root and a user record.
pub const CHAIN_LENGTH_MAX: usize = 3;
/// Longest encoded chain in bytes.
pub const CHAIN_BYTES_MAX: usize = 4 + CHAIN_LENGTH_MAX * (4 + DELEGATION_LENGTH_MAX);
/// Highest version that a delegate gives a user: the root can go on from any.
pub const DELEGATED_VERSION_MAX: u64 = 1 << 62;
/// Names that no delegate gives a user: people would take them for somebody else.
pub const RESERVED_NAMES: [&str; 5] = [ADMIN_ROLE, "administrator", "realm", "root", "system"];

/// Why a chain, or what was issued by its end, is not believed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DelegationError {
    /// One of its statements is not to be believed.
    #[error(transparent)]
    Statement(#[from] StatementError),
    /// There is no delegation, or there are too many.
    #[error("a chain has 1 to {CHAIN_LENGTH_MAX} delegations")]
    Length,
    /// The issuer of a delegation may not delegate.
    #[error("{0} may not delegate")]
    MayNotDelegate(Name),
    /// The issuer of a user record may not issue any.
    #[error("{0} may not issue users")]
    MayNotIssueUsers(Name),
    /// A delegation lets issue more than its issuer may.
    #[error("{0} would issue more than who delegated may")]
    WiderPowers(Name),
    /// A delegation hands on a grant that its issuer does not have.
    #[error("{grant} is wider than what {issuer} was delegated")]
    WiderGrant {
        /// Who delegated.
        issuer: Name,
        /// What is too wide.
        grant: Grant,
    },
    /// A delegation begins before its issuer's or ends after it.
    #[error("{0} would be a delegate longer than who delegated")]
    Longer(Name),
    /// A key or a name stands twice in the chain, or is the root's.
    #[error("a key or a name stands twice in the chain")]
    Twice,
    /// A delegation has too many grants, or too long ones.
    #[error(
        "a delegation has 1 to {DELEGATION_GRANTS_MAX} grants, of {DELEGATION_GRANTS_BYTES_MAX} bytes together"
    )]
    Grants,
    /// A delegation would never hold.
    #[error("the delegation's time would be up already")]
    NeverHolds,
    /// The user has the name of a delegate of the chain.
    #[error("{0} is a delegate of this chain, whose user record the root issues")]
    OwnRecord(Name),
    /// The user has the key of a delegate of the chain.
    #[error("a delegate's key cannot be a user's")]
    OwnKey,
    /// The user has a name that only the root gives.
    #[error("the name {0} is reserved")]
    ReservedName(Name),
    /// A role of the user lies outside of what was delegated.
    #[error("{0} is wider than what was delegated")]
    RoleOutside(Role),
    /// The version leaves the root no room.
    #[error("a delegate's version is too high")]
    VersionTooHigh,
    /// The delegation's time is up, or has not come.
    #[error("the delegation of {0} does not hold now")]
    NotNow(Name),
    /// The delegation was revoked, or replaced by a newer version.
    #[error("the delegation of {name} was revoked: {reason}")]
    Revoked {
        /// The delegate at the chain's end.
        name: Name,
        /// What the root gave as reason.
        reason: String,
    },
}

impl From<EncodingError> for DelegationError {
    fn from(error: EncodingError) -> Self {
        Self::Statement(error.into())
    }
}

/// Delegations from the root to one delegate, all verified.
#[derive(Clone)]
pub struct Chain {
    delegations: Vec<Verified<Delegation>>,
    /// The number of the root that it begins with.
    root: u64,
}

impl Chain {
    /// Reads a chain and believes it if it begins with a root and each of its
    /// delegations lies within the one before.
    ///
    /// # Errors
    /// [`DelegationError`].
    pub fn decode(bytes: &[u8], roots: &Roots) -> Result<Self, DelegationError> {
        let mut chain = Self {
            delegations: Vec::with_capacity(CHAIN_LENGTH_MAX),
            root: 0,
        };
        for statement in statements(bytes)? {
            let claim = Claim::<Delegation>::decode(statement)?;
            let verified = match chain.delegations.last() {
                Some(last) => claim.verify(&roots.realm(), &last.body().key)?,
                None => {
                    let (verified, root) = roots.verify(claim)?;
                    chain.root = root;
                    verified
                }
            };
            chain.push(verified, roots)?;
        }
        if chain.delegations.is_empty() {
            return Err(DelegationError::Length);
        }
        Ok(chain)
    }

    /// The chain that `issuer` makes of `above` by one more delegation; `above` is
    /// `None` where the issuer is the root.
    ///
    /// # Errors
    /// [`DelegationError`] when nobody would believe it.
    pub fn issue(
        above: Option<&Self>,
        issuer: &SigningKey,
        roots: &Roots,
        delegation: Delegation,
        now_ms: u64,
    ) -> Result<Self, DelegationError> {
        let count = delegation.grants.len();
        let bytes: usize = delegation
            .grants
            .iter()
            .map(|grant| grant.to_string().len())
            .sum();
        if !(1..=DELEGATION_GRANTS_MAX).contains(&count) || bytes > DELEGATION_GRANTS_BYTES_MAX {
            return Err(DelegationError::Grants);
        }
        if delegation.valid_from_ms >= delegation.expires_ms || now_ms >= delegation.expires_ms {
            return Err(DelegationError::NeverHolds);
        }
        let mut chain = above.cloned().unwrap_or(Self {
            delegations: Vec::new(),
            root: roots.number(),
        });
        let above = chain.delegations.last();
        let expected = above.map_or(*roots.current(), |last| last.body().key);
        if issuer.verifying_key() != expected {
            return Err(StatementError::WrongIssuer.into());
        }
        let delegation = Verified::issue(&roots.realm(), issuer, now_ms, delegation);
        chain.push(delegation, roots)?;
        Ok(chain)
    }

    /// The same delegations where the first, which a root issued, is by the current one and
    /// has this version. One whose time is up stays so.
    ///
    /// # Errors
    /// [`DelegationError`] when nobody would believe it.
    pub fn under_root(
        &self,
        root: &SigningKey,
        roots: &Roots,
        version: u64,
        now_ms: u64,
    ) -> Result<Self, DelegationError> {
        if root.verifying_key() != *roots.current() {
            return Err(StatementError::WrongIssuer.into());
        }
        let mut chain = Self {
            delegations: Vec::with_capacity(self.delegations.len()),
            root: roots.number(),
        };
        for (index, held) in self.delegations.iter().enumerate() {
            let next = match index {
                0 => {
                    let mut first = held.body().clone();
                    first.version = version;
                    Verified::issue(&roots.realm(), root, now_ms, first)
                }
                _ => held.clone(),
            };
            chain.push(next, roots)?;
        }
        Ok(chain)
    }

    /// Puts one more at the end, whose signature was checked.
    fn push(&mut self, next: Verified<Delegation>, roots: &Roots) -> Result<(), DelegationError> {
        if self.delegations.len() == CHAIN_LENGTH_MAX {
            return Err(DelegationError::Length);
        }
        let inner = next.body();
        let twice = roots.number_of(&inner.key).is_some()
            || self
                .delegations()
                .any(|held| held.key == inner.key || held.name == inner.name);
        if twice {
            return Err(DelegationError::Twice);
        }
        if let Some(outer) = self.delegations.last().map(Verified::body) {
            check_within(inner, outer)?;
        }
        self.delegations.push(next);
        Ok(())
    }

    /// The chain's bytes.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut writer = Writer::with_capacity(self.encoded_length());
        writer.count(self.delegations.len());
        for statement in &self.delegations {
            writer.bytes(statement.bytes());
        }
        writer.finish()
    }

    /// How many bytes [`Chain::encode`] yields.
    #[must_use]
    pub fn encoded_length(&self) -> usize {
        let statements = self
            .delegations
            .iter()
            .map(|statement| 4 + statement.bytes().len());
        4 + statements.sum::<usize>()
    }

    /// The number of the root that it begins with.
    #[must_use]
    pub fn root(&self) -> u64 {
        self.root
    }

    /// The delegations, from the root's on.
    pub fn delegations(&self) -> impl ExactSizeIterator<Item = &Delegation> {
        self.delegations.iter().map(Verified::body)
    }

    /// The delegation of whoever issues under this chain.
    ///
    /// # Panics
    /// Never: no chain is empty.
    #[must_use]
    pub fn last(&self) -> &Delegation {
        self.delegations.last().expect("no chain is empty").body()
    }

    /// The serials from the root's delegation down.
    #[must_use]
    pub fn path(&self) -> SerialPath {
        SerialPath::of(self.delegations().map(|delegation| delegation.serial))
    }

    /// The versions, in the same order.
    #[must_use]
    pub fn versions(&self) -> Vec<u64> {
        self.delegations()
            .map(|delegation| delegation.version)
            .collect()
    }

    /// Whether all of its delegations hold at a time.
    #[must_use]
    pub fn holds_at(&self, now_ms: u64) -> bool {
        self.delegations()
            .all(|one| (one.valid_from_ms..one.expires_ms).contains(&now_ms))
    }

    /// Whether it holds now.
    ///
    /// # Errors
    /// [`DelegationError::NotNow`].
    pub fn check_now(&self, now_ms: u64) -> Result<(), DelegationError> {
        if !self.holds_at(now_ms) {
            return Err(DelegationError::NotNow(self.last().name.clone()));
        }
        Ok(())
    }

    /// Whether the delegate at the end may issue this user record at all. Roles with a
    /// name are not judged: what they grant changes without the record, so each request
    /// is judged by [`Chain::rules`] too.
    ///
    /// # Errors
    /// [`DelegationError`].
    pub fn check_user(&self, user: &User) -> Result<(), DelegationError> {
        let last = self.last();
        self.check_name(&user.name)?;
        if user.version > DELEGATED_VERSION_MAX {
            return Err(DelegationError::VersionTooHigh);
        }
        for delegation in self.delegations() {
            let own = user.user_key == Some(delegation.key)
                || user.enrolled_with(&delegation.key).is_some();
            if own {
                return Err(DelegationError::OwnKey);
            }
        }
        match user
            .roles
            .iter()
            .find(|role| role.lies_within(&last.grants) == Some(false))
        {
            Some(role) => Err(DelegationError::RoleOutside(role.clone())),
            None => Ok(()),
        }
    }

    /// Whether the delegate at the end may issue a user of this name, whatever else the
    /// record says.
    ///
    /// # Errors
    /// [`DelegationError`].
    pub fn check_name(&self, name: &Name) -> Result<(), DelegationError> {
        let last = self.last();
        if !last.powers.users {
            return Err(DelegationError::MayNotIssueUsers(last.name.clone()));
        }
        if RESERVED_NAMES.contains(&name.as_str()) {
            return Err(DelegationError::ReservedName(name.clone()));
        }
        if self.delegations().any(|one| one.name == *name) {
            return Err(DelegationError::OwnRecord(name.clone()));
        }
        Ok(())
    }

    /// Whether what the roles with a name grant now lies within the delegation: asked
    /// before they are handed out.
    ///
    /// # Errors
    /// [`DelegationError::RoleOutside`].
    pub fn check_named<'a>(
        &self,
        roles: impl IntoIterator<Item = &'a Role>,
        named: &NamedRoles,
    ) -> Result<(), DelegationError> {
        let grants = &self.last().grants;
        match roles
            .into_iter()
            .find(|role| !role.lies_within_now(grants, named))
        {
            Some(role) => Err(DelegationError::RoleOutside(role.clone())),
            None => Ok(()),
        }
    }

    /// What nobody exceeds whom the delegate made a user: a request has to be allowed by
    /// the user's roles and by one of these. Each delegation lies within the one before,
    /// so those of the last bound all.
    #[must_use]
    pub fn rules(&self) -> Vec<Role> {
        self.last()
            .grants
            .iter()
            .cloned()
            .map(Role::Grant)
            .collect()
    }

    /// The chain with the same serials and keys in which each delegation that `newer`
    /// has in a higher version is replaced by it; `None` where nothing is.
    ///
    /// # Errors
    /// [`DelegationError`] when the renewed delegations do not hold what lies below.
    pub fn renewed(&self, newer: &Self, roots: &Roots) -> Option<Result<Self, DelegationError>> {
        let same = |index: usize| {
            let (held, next) = (
                self.delegations[index].body(),
                newer.delegations[index].body(),
            );
            held.serial == next.serial && held.key == next.key
        };
        let common = newer.delegations.len();
        if common > self.delegations.len() || !(0..common).all(same) {
            return None;
        }
        if newer.root < self.root {
            return None;
        }
        let later = self.root < newer.root;
        let rises = later
            || (0..common).any(|at| {
                self.delegations[at].body().version < newer.delegations[at].body().version
            });
        if !rises {
            return None;
        }
        let mut chain = newer.clone();
        for below in &self.delegations[common..] {
            if let Err(error) = chain.push(below.clone(), roots) {
                return Some(Err(error));
            }
        }
        Some(Ok(chain))
    }
}

impl fmt::Debug for Chain {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_list().entries(self.delegations()).finish()
    }
}

/// The root, serials and versions as a chain claims them, unbelieved.
///
/// # Errors
/// When the bytes are no chain, or one of a root that is not known.
pub(crate) fn claimed(
    bytes: &[u8],
    roots: &Roots,
) -> Result<(u64, SerialPath, Vec<u64>), DelegationError> {
    let claims = statements(bytes)?
        .into_iter()
        .map(Claim::<Delegation>::decode)
        .collect::<Result<Vec<_>, _>>()?;
    let path = SerialPath::of(claims.iter().map(|claim| claim.claimed().serial));
    let versions = claims.iter().map(|claim| claim.claimed().version);
    let first = claims.first().ok_or(DelegationError::Length)?;
    let root = roots.number_of(first.issuer());
    let root = root.ok_or(StatementError::WrongIssuer)?;
    Ok((root, path, versions.collect()))
}

/// The statements of a chain, as they stand there.
fn statements(bytes: &[u8]) -> Result<Vec<&[u8]>, DelegationError> {
    let mut reader = Reader::new(bytes);
    let count = reader
        .count(CHAIN_LENGTH_MAX)
        .map_err(|_| DelegationError::Length)?;
    if count == 0 {
        return Err(DelegationError::Length);
    }
    let mut statements = Vec::with_capacity(count);
    for _ in 0..count {
        statements.push(reader.bytes(DELEGATION_LENGTH_MAX)?);
    }
    reader.finish()?;
    Ok(statements)
}

/// Whether one delegation is no wider and no longer than that of its issuer.
fn check_within(inner: &Delegation, outer: &Delegation) -> Result<(), DelegationError> {
    if !outer.powers.delegations {
        return Err(DelegationError::MayNotDelegate(outer.name.clone()));
    }
    if !inner.powers.lie_within(outer.powers) {
        return Err(DelegationError::WiderPowers(inner.name.clone()));
    }
    if let Some(grant) = inner
        .grants
        .iter()
        .find(|grant| !grant.lies_within(&outer.grants))
    {
        return Err(DelegationError::WiderGrant {
            issuer: outer.name.clone(),
            grant: grant.clone(),
        });
    }
    if inner.valid_from_ms < outer.valid_from_ms || inner.expires_ms > outer.expires_ms {
        return Err(DelegationError::Longer(inner.name.clone()));
    }
    Ok(())
}

#[cfg(test)]
pub(crate) mod tests;
