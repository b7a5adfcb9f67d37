//! Roles with names: what the realm says each stands for.

use std::collections::{BTreeMap, BTreeSet};

use super::{ADMIN_ROLE, Grant, Rights, Role};
use crate::name::Name;
use crate::statement::BODY_LENGTH_MAX;

/// Most roles with a name in one realm.
pub const NAMED_ROLES_MAX: usize = 256;
/// Most grants of one role with a name.
pub const GRANTS_MAX: usize = 64;
/// Longest encoding of all of them, so that they fit one statement with its version.
pub const NAMED_ROLES_BYTES_MAX: usize = BODY_LENGTH_MAX - 8;

/// Why named roles were not changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NamedRolesError {
    /// The name is that of the role that every realm has.
    #[error("the role {ADMIN_ROLE} is built in and cannot be changed")]
    Reserved,
    /// A role of this name exists.
    #[error("role {0} exists already")]
    Exists(Name),
    /// No role has this name.
    #[error("no role {0}")]
    NoSuchRole(Name),
    /// The role grants nothing of the kind.
    #[error("role {role} does not grant {grant}")]
    NoSuchGrant {
        /// The role.
        role: Name,
        /// What was to be taken from it.
        grant: String,
    },
    /// [`NAMED_ROLES_MAX`].
    #[error("a realm has at most {NAMED_ROLES_MAX} roles")]
    TooManyRoles,
    /// [`GRANTS_MAX`].
    #[error("a role has at most {GRANTS_MAX} grants")]
    TooManyGrants,
    /// [`NAMED_ROLES_BYTES_MAX`].
    #[error("all roles together take at most {NAMED_ROLES_BYTES_MAX} bytes")]
    TooLarge,
}

/// The realm's roles with a name: each at most [`GRANTS_MAX`] grants, one a pattern,
/// in order of pattern.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NamedRoles {
    grants: BTreeMap<Name, Vec<Grant>>,
    /// Those whose holders need a second factor beside a password.
    with_second_factor: BTreeSet<Name>,
}

impl NamedRoles {
    /// No role with a name.
    #[must_use]
    pub const fn none() -> Self {
        Self {
            grants: BTreeMap::new(),
            with_second_factor: BTreeSet::new(),
        }
    }

    /// Adds a role. Of two grants with one pattern it gets the rights of both.
    ///
    /// # Errors
    /// [`NamedRolesError`]; then nothing has changed.
    pub fn add(&mut self, name: Name, grants: Vec<Grant>) -> Result<(), NamedRolesError> {
        if name.as_str() == ADMIN_ROLE {
            return Err(NamedRolesError::Reserved);
        }
        if self.grants.contains_key(&name) {
            return Err(NamedRolesError::Exists(name));
        }
        if self.grants.len() == NAMED_ROLES_MAX {
            return Err(NamedRolesError::TooManyRoles);
        }
        let mut merged = Vec::new();
        for grant in grants {
            merge(&mut merged, grant)?;
        }
        self.replace(name, merged)
    }

    /// Adds a grant to a role, or rights to the one that it has for that pattern.
    ///
    /// # Errors
    /// [`NamedRolesError`]; then nothing has changed.
    pub fn grant(&mut self, name: &Name, grant: Grant) -> Result<(), NamedRolesError> {
        let mut grants = self.held(name)?.to_vec();
        merge(&mut grants, grant)?;
        self.replace(name.clone(), grants)
    }

    /// Takes `rights` over `pattern` from a role, or all that it has there.
    ///
    /// # Errors
    /// [`NamedRolesError`], [`NamedRolesError::NoSuchGrant`] when it has none of them.
    pub fn revoke(
        &mut self,
        name: &Name,
        pattern: &str,
        rights: Option<Rights>,
    ) -> Result<(), NamedRolesError> {
        let mut grants = self.held(name)?.to_vec();
        let taken = rights.unwrap_or(Rights::ALL);
        let found = grants
            .iter()
            .position(|grant| grant.pattern == pattern)
            .filter(|&at| grants[at].rights.without(taken) != Some(grants[at].rights));
        let Some(at) = found else {
            return Err(NamedRolesError::NoSuchGrant {
                role: name.clone(),
                grant: match rights {
                    Some(rights) => format!("{pattern}:{rights}"),
                    None => pattern.to_owned(),
                },
            });
        };
        match grants[at].rights.without(taken) {
            Some(rest) => grants[at].rights = rest,
            None => drop(grants.remove(at)),
        }
        self.replace(name.clone(), grants)
    }

    /// Removes a role. Whoever has its name keeps a role that grants nothing.
    ///
    /// # Errors
    /// [`NamedRolesError::NoSuchRole`], [`NamedRolesError::Reserved`].
    pub fn remove(&mut self, name: &Name) -> Result<(), NamedRolesError> {
        self.held(name)?;
        self.grants.remove(name);
        self.with_second_factor.remove(name);
        Ok(())
    }

    /// Says whether holders of a role need a second factor beside a password.
    ///
    /// # Errors
    /// [`NamedRolesError::NoSuchRole`], [`NamedRolesError::Reserved`].
    pub fn need_second_factor(&mut self, name: &Name, needed: bool) -> Result<(), NamedRolesError> {
        self.held(name)?;
        if needed {
            self.with_second_factor.insert(name.clone());
        } else {
            self.with_second_factor.remove(name);
        }
        Ok(())
    }

    /// Whether holders of a role need a second factor beside a password.
    #[must_use]
    pub fn needs_second_factor(&self, name: &Name) -> bool {
        self.with_second_factor.contains(name)
    }

    /// The first of `roles` whose holders need a second factor beside a password.
    #[must_use]
    pub fn second_factor_needed_by<'a>(&self, roles: &'a [Role]) -> Option<&'a Name> {
        roles.iter().find_map(|role| match role {
            Role::Named(name) => self.needs_second_factor(name).then_some(name),
            Role::Admin | Role::Grant(_) => None,
        })
    }

    /// What a role grants, in order of pattern; none when it does not exist.
    #[must_use]
    pub fn grants(&self, name: &Name) -> Option<&[Grant]> {
        self.grants.get(name).map(Vec::as_slice)
    }

    /// All roles in order of name.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&Name, &[Grant])> {
        self.grants
            .iter()
            .map(|(name, grants)| (name, grants.as_slice()))
    }

    /// Their length as [`crate::statement::Roles`] encodes them.
    fn encoded_length(&self) -> usize {
        let length = |grants: &[Grant]| -> usize {
            let text =
                |grant: &Grant| 4 + grant.pattern.len() + 1 + grant.rights.0.count_ones() as usize;
            grants.iter().map(text).sum()
        };
        self.iter()
            .map(|(name, grants)| 4 + name.as_str().len() + 1 + 4 + length(grants))
            .sum::<usize>()
            + 4
    }

    fn held(&self, name: &Name) -> Result<&[Grant], NamedRolesError> {
        if name.as_str() == ADMIN_ROLE {
            return Err(NamedRolesError::Reserved);
        }
        self.grants(name)
            .ok_or_else(|| NamedRolesError::NoSuchRole(name.clone()))
    }

    fn replace(&mut self, name: Name, grants: Vec<Grant>) -> Result<(), NamedRolesError> {
        let former = self.grants.insert(name.clone(), grants);
        if self.encoded_length() <= NAMED_ROLES_BYTES_MAX {
            return Ok(());
        }
        match former {
            Some(former) => self.grants.insert(name, former),
            None => self.grants.remove(&name),
        };
        Err(NamedRolesError::TooLarge)
    }
}

/// Puts a grant among others that are in order of pattern.
fn merge(grants: &mut Vec<Grant>, grant: Grant) -> Result<(), NamedRolesError> {
    match grants.binary_search_by(|held| held.pattern.cmp(&grant.pattern)) {
        Ok(at) => grants[at].rights = grants[at].rights.with(grant.rights),
        Err(_) if grants.len() == GRANTS_MAX => return Err(NamedRolesError::TooManyGrants),
        Err(at) => grants.insert(at, grant),
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::{Action, Role, decide};

    fn name(text: &str) -> Name {
        text.parse().expect("a name")
    }

    fn grants(texts: &[&str]) -> Vec<Grant> {
        texts
            .iter()
            .map(|text| text.parse().expect("a grant"))
            .collect()
    }

    fn ops() -> NamedRoles {
        let mut named = NamedRoles::default();
        named
            .add(name("ops"), grants(&["app/*:rw", "log/x:r"]))
            .expect("added");
        named
    }

    fn texts(named: &NamedRoles) -> Vec<String> {
        let grants = named.grants(&name("ops")).expect("a role");
        grants.iter().map(Grant::to_string).collect()
    }

    #[test]
    fn a_named_role_allows_what_it_grants_and_is_named_as_the_rule() {
        let named = ops();
        let roles: Vec<Role> = vec![Role::Named(name("ops"))];
        let may = |action, key: &[u8]| decide("u", &roles, &named, action, key);
        let allowed = may(Action::Read, b"app/x").expect("allowed");
        assert_eq!(allowed.rule, "role ops: app/*:rw");
        assert!(may(Action::Delete, b"app/x").is_err());
        assert!(may(Action::Write, b"log/x").is_err());
        assert!(may(Action::Read, b"other").is_err());
    }

    #[test]
    fn a_role_that_needs_a_second_factor_says_so_until_it_is_gone() {
        let mut named = ops();
        let holders: Vec<Role> = vec![Role::Admin, Role::Named(name("ops"))];
        assert_eq!(named.second_factor_needed_by(&holders), None);
        named
            .need_second_factor(&name("ops"), true)
            .expect("a role");
        assert_eq!(named.second_factor_needed_by(&holders), Some(&name("ops")));
        assert_eq!(named.second_factor_needed_by(&holders[..1]), None);
        // A role that is made again under the name begins without.
        named.remove(&name("ops")).expect("removed");
        named.add(name("ops"), vec![]).expect("added");
        assert_eq!(named.second_factor_needed_by(&holders), None);
        assert_eq!(
            named.need_second_factor(&name("none"), true),
            Err(NamedRolesError::NoSuchRole(name("none")))
        );
        assert_eq!(
            named.need_second_factor(&name("admin"), true),
            Err(NamedRolesError::Reserved)
        );
    }

    #[test]
    fn a_name_that_no_role_has_grants_nothing() {
        let mut named = ops();
        named.remove(&name("ops")).expect("removed");
        let roles: Vec<Role> = vec![Role::Named(name("ops"))];
        assert!(decide("u", &roles, &named, Action::Read, b"app/x").is_err());
    }

    #[test]
    fn a_named_role_does_not_reach_the_reserved_namespace() {
        let mut named = NamedRoles::default();
        named.add(name("ops"), grants(&["*:rwdla"])).expect("added");
        let roles: Vec<Role> = vec![Role::Named(name("ops"))];
        assert!(decide("u", &roles, &named, Action::Read, b"system/x").is_err());
    }

    #[test]
    fn grants_of_one_pattern_are_merged_and_taken_apart() {
        let mut named = ops();
        named
            .grant(&name("ops"), grants(&["app/*:dr"])[0].clone())
            .expect("granted");
        assert_eq!(texts(&named), ["app/*:rwd", "log/x:r"]);
        let rights = "wd".parse().expect("rights");
        named
            .revoke(&name("ops"), "app/*", Some(rights))
            .expect("revoked");
        assert_eq!(texts(&named), ["app/*:r", "log/x:r"]);
        named.revoke(&name("ops"), "app/*", None).expect("revoked");
        assert_eq!(texts(&named), ["log/x:r"]);
    }

    #[test]
    fn what_a_role_does_not_grant_cannot_be_revoked() {
        let mut named = ops();
        let before = named.clone();
        for (pattern, rights) in [
            ("app/*", Some("dla")),
            ("app/x", None),
            ("log/*", Some("r")),
        ] {
            let rights = rights.map(|rights| rights.parse().expect("rights"));
            let refused = named.revoke(&name("ops"), pattern, rights);
            assert!(
                matches!(refused, Err(NamedRolesError::NoSuchGrant { .. })),
                "{pattern}"
            );
        }
        assert_eq!(named, before);
    }

    #[test]
    fn the_built_in_role_is_neither_made_nor_changed() {
        let mut named = ops();
        let admin = name("admin");
        let grant = grants(&["app/*:r"]);
        for refused in [
            named.add(admin.clone(), grant.clone()),
            named.grant(&admin, grant[0].clone()),
            named.revoke(&admin, "*", None),
            named.remove(&admin),
        ] {
            assert_eq!(refused, Err(NamedRolesError::Reserved));
        }
    }

    #[test]
    fn unknown_and_existing_roles_are_told() {
        let mut named = ops();
        let none = name("none");
        let no_such = Err(NamedRolesError::NoSuchRole(none.clone()));
        assert_eq!(named.grant(&none, grants(&["a:r"])[0].clone()), no_such);
        assert_eq!(named.revoke(&none, "a", None), no_such);
        assert_eq!(named.remove(&none), no_such);
        let exists = Err(NamedRolesError::Exists(name("ops")));
        assert_eq!(named.add(name("ops"), vec![]), exists);
    }

    #[test]
    fn bounds_hold_and_leave_what_was() {
        let mut named = NamedRoles::default();
        for index in 0..NAMED_ROLES_MAX {
            named
                .add(name(&format!("r{index}")), vec![])
                .expect("added");
        }
        let before = named.clone();
        let refused = named.add(name("more"), vec![]);
        assert_eq!(refused, Err(NamedRolesError::TooManyRoles));
        let many: Vec<Grant> = (0..=GRANTS_MAX)
            .map(|index| format!("k{index}:r").parse().expect("a grant"))
            .collect();
        for grant in &many[..GRANTS_MAX] {
            named.grant(&name("r0"), grant.clone()).expect("granted");
        }
        let refused = named.grant(&name("r0"), many[GRANTS_MAX].clone());
        assert_eq!(refused, Err(NamedRolesError::TooManyGrants));
        // What is held already takes no room.
        named.grant(&name("r0"), many[0].clone()).expect("granted");

        let mut named = before;
        let long = |index: usize| grants(&[&format!("{index}{}:r", "k".repeat(4000))]);
        for index in 0..5 {
            named
                .grant(&name("r0"), long(index)[0].clone())
                .expect("granted");
        }
        let before = named.clone();
        let refused = (5..9)
            .map(|index| named.grant(&name("r1"), long(index)[0].clone()))
            .find(Result::is_err);
        assert_eq!(refused, Some(Err(NamedRolesError::TooLarge)));
        assert_ne!(named, before, "some of them fitted");
        assert!(named.encoded_length() <= NAMED_ROLES_BYTES_MAX);
    }
}
