//! Users of a delegate with whom another issuer goes on: the root, or an elder delegate.
//!
//! What a delegate's user may do is bounded twice: by the roles and by the delegation
//! ([`Chain::rules`]). The second bound goes with the chain, so a name of a role that stood
//! in the delegate's record must not stand in the new one: it would give all that the role
//! grants, now and whatever it grants later. In its place comes what of the role was in
//! force, grant by grant.

use super::{OpenRealm, RealmError, check_roles};
use crate::delegation::Chain;
use crate::name::Name;
use crate::policy::{Grant, NamedRoles, Role, intersection};
use crate::records::RolesRecord;
use crate::statement::User;
use crate::users::UserRecord;

/// A named role that another issuer did not take over by its name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReplacedRole {
    /// Whose.
    pub user: Name,
    /// The role.
    pub role: Name,
    /// What came in its place. None where nothing of it was in force, where it needs a
    /// second factor, which no grant can ask for, or where the grants are more than one
    /// user may have.
    pub grants: Vec<Grant>,
}

impl OpenRealm {
    /// Takes roles from a user and gives others. A role that is given by its name is meant
    /// so, whoever issued the user before.
    ///
    /// # Errors
    /// [`RealmError::NoSuchUser`], other [`RealmError`]s.
    pub fn change_roles_of_user(
        &self,
        name: &Name,
        remove: &[Role],
        add: &[Role],
        now_ms: u64,
    ) -> Result<(UserRecord, Vec<ReplacedRole>), RealmError> {
        let _lock = self.lock()?;
        let record = self.existing(name)?;
        let mut user = record.user().clone();
        user.roles.retain(|role| !remove.contains(role));
        let replaced = self.take_over(&record, &mut user, add)?;
        for role in add {
            if !user.roles.contains(role) {
                user.roles.push(role.clone());
            }
        }
        check_roles(&user.roles)?;
        let mut before = record.user().roles.clone();
        if !self.is_own(&record) {
            // Who goes on with another's user hands out anew what is meant by its name.
            before.retain(|role| !add.contains(role));
        }
        self.check_added(&before, &user.roles)?;
        user.version = self.next_version(record.user().version)?;
        let credential = self.own_credential(&record, now_ms);
        Ok((self.store(user, credential, now_ms)?, replaced))
    }

    /// The named roles of a user that would be replaced if the user were changed here: none
    /// where who signs here made the user.
    ///
    /// # Errors
    /// [`RealmError::NoSuchUser`], other [`RealmError`]s.
    pub fn roles_to_replace(&self, name: &Name) -> Result<Vec<ReplacedRole>, RealmError> {
        let record = self.existing(name)?;
        self.take_over(&record, &mut record.user().clone(), &[])
    }

    /// Puts explicit grants in the place of the named roles that `user`, the next version
    /// of `record`, has still from it; those among `meant` stay. Says which they were.
    /// Changes nothing where the record is by who signs here.
    ///
    /// # Errors
    /// [`RealmError::Damaged`] when the realm's roles cannot be read.
    pub(super) fn take_over(
        &self,
        record: &UserRecord,
        user: &mut User,
        meant: &[Role],
    ) -> Result<Vec<ReplacedRole>, RealmError> {
        let Some(chain) = record.chain().filter(|_| !self.is_own(record)) else {
            return Ok(Vec::new());
        };
        let named = self.realm.roles()?;
        let none = NamedRoles::none();
        let named = named.as_ref().map_or(&none, RolesRecord::roles);
        Ok(replace(chain, record, user, meant, named))
    }

    /// Whether a record is by who signs here.
    fn is_own(&self, record: &UserRecord) -> bool {
        record.chain().map(Chain::path).unwrap_or_default() == self.realm.path()
    }
}

fn replace(
    chain: &Chain,
    record: &UserRecord,
    user: &mut User,
    meant: &[Role],
    named: &NamedRoles,
) -> Vec<ReplacedRole> {
    let mut replaced = Vec::new();
    let mut roles: Vec<Role> = Vec::with_capacity(user.roles.len());
    for role in std::mem::take(&mut user.roles) {
        match &role {
            Role::Named(name) if record.user().roles.contains(&role) && !meant.contains(&role) => {
                replaced.push(ReplacedRole {
                    user: user.name.clone(),
                    role: name.clone(),
                    grants: in_force(chain, name, named),
                });
            }
            _ => roles.push(role),
        }
    }
    for one in &mut replaced {
        let mut more = roles.clone();
        let grants = one.grants.iter().cloned().map(Role::Grant);
        more.extend(grants.filter(|grant| !roles.contains(grant)));
        // To refuse would keep the administrator from disabling such a user, or from
        // revoking the delegate.
        match check_roles(&more) {
            Ok(()) => roles = more,
            Err(_) => one.grants.clear(),
        }
    }
    user.roles = roles;
    replaced
}

/// What a named role gave a user under `chain`, if grants can say it.
fn in_force(chain: &Chain, role: &Name, named: &NamedRoles) -> Vec<Grant> {
    if named.needs_second_factor(role) {
        return Vec::new();
    }
    let granted = named.grants(role).unwrap_or_default();
    intersection(granted, &chain.last().grants)
}
