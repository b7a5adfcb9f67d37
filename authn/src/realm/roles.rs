//! The realm's named roles: read, changed, deleted.

use std::path::PathBuf;

use super::{OpenRealm, Realm, RealmError, damaged};
use crate::audit::{Subject, What, difference};
use crate::files::{self, Existing, FileError};
use crate::name::Name;
use crate::policy::{NamedRoles, NamedRolesError, Role};
use crate::records::{RecordName, RolesRecord, SIGNED_RECORD_LENGTH_MAX};
use crate::statement::{Roles, User};
use crate::users::RecordError;

impl Realm {
    /// The realm's named roles as signed, verified; none before the first was made.
    ///
    /// # Errors
    /// [`RealmError::Damaged`] when the record does not verify.
    pub fn roles(&self) -> Result<Option<RolesRecord>, RealmError> {
        let path = self.roles_path();
        let bytes = match files::read_secret(&path, SIGNED_RECORD_LENGTH_MAX) {
            Err(FileError::Missing(_)) => return Ok(None),
            read => read?,
        };
        RolesRecord::decode(bytes.expose(), &self.roots)
            .map(Some)
            .map_err(|error: RecordError| damaged(&path, &error))
    }

    fn roles_path(&self) -> PathBuf {
        self.directory.join("roles")
    }
}

impl OpenRealm {
    /// Changes the named roles, and signs what comes of it as the next version.
    ///
    /// # Errors
    /// What `change` refuses, and other [`RealmError`]s.
    pub fn change_roles(
        &self,
        now_ms: u64,
        change: impl FnOnce(&mut NamedRoles) -> Result<(), NamedRolesError>,
    ) -> Result<RolesRecord, RealmError> {
        self.check_root("changing roles")?;
        let _lock = self.lock()?;
        self.change_locked(now_ms, change)
    }

    /// Deletes a role. `force` deletes it though users have it: they keep a role
    /// that grants nothing.
    ///
    /// # Errors
    /// [`RealmError::RoleHeld`] without `force`; other [`RealmError`]s.
    pub fn delete_role(
        &self,
        name: &Name,
        force: bool,
        now_ms: u64,
    ) -> Result<RolesRecord, RealmError> {
        self.check_root("changing roles")?;
        let _lock = self.lock()?;
        let (users, _) = self.realm.list_users(None, usize::MAX)?;
        let users = holders(&users, name);
        if !force && !users.is_empty() {
            return Err(RealmError::RoleHeld {
                role: name.clone(),
                users,
            });
        }
        self.change_locked(now_ms, |roles| roles.remove(name))
    }

    fn change_locked(
        &self,
        now_ms: u64,
        change: impl FnOnce(&mut NamedRoles) -> Result<(), NamedRolesError>,
    ) -> Result<RolesRecord, RealmError> {
        let held = self.realm.roles()?;
        let mut roles = held
            .as_ref()
            .map(|record| record.roles().clone())
            .unwrap_or_default();
        let before = roles.clone();
        change(&mut roles)?;
        let version = self.next_version(held.map_or(0, |record| record.version()))?;
        self.note_untold(vec![RecordName::Roles])?;
        self.record(
            now_ms,
            What::RolesChanged,
            Subject::Nothing,
            difference::versioned(version, &difference::of_roles(&before, &roles)),
        )?;
        let record = RolesRecord::new(self.issue(Roles { version, roles }, now_ms))
            .under_root(self.root_number());
        let path = self.realm.roles_path();
        files::write(&path, &record.encode(), Existing::Replace)?;
        Ok(record)
    }
}

/// Those of the users, deleted ones apart, who have the role of this name.
#[must_use]
pub fn holders<'a>(users: impl IntoIterator<Item = &'a User>, name: &Name) -> Vec<Name> {
    let holds = |user: &&User| {
        let named = |role: &Role| matches!(role, Role::Named(held) if held == name);
        !user.deleted && user.roles.iter().any(named)
    };
    users
        .into_iter()
        .filter(holds)
        .map(|user| user.name.clone())
        .collect()
}

/// Whether the realm has all the named roles among `roles`.
///
/// # Errors
/// [`NamedRolesError::NoSuchRole`] for the first that it has not.
pub fn must_exist<'a>(
    roles: impl IntoIterator<Item = &'a Role>,
    named: &NamedRoles,
) -> Result<(), NamedRolesError> {
    for role in roles {
        if let Role::Named(name) = role
            && named.grants(name).is_none()
        {
            return Err(NamedRolesError::NoSuchRole(name.clone()));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::tests::{name, realm};
    use super::*;
    use crate::policy::Grant;
    use crate::users::UserRecord;

    fn grants(texts: &[&str]) -> Vec<Grant> {
        texts
            .iter()
            .map(|text| text.parse().expect("a grant"))
            .collect()
    }

    fn role(text: &str) -> Role {
        text.parse().expect("a role")
    }

    #[test]
    fn roles_are_changed_version_by_version() {
        let (_directory, realm) = realm();
        assert!(realm.realm().roles().expect("read").is_none());
        let ops = name("ops");
        let first = realm
            .change_roles(1, |roles| roles.add(ops.clone(), grants(&["app/*:rw"])))
            .expect("added");
        assert_eq!(first.version(), 1);
        let second = realm
            .change_roles(2, |roles| {
                roles.grant(&ops, grants(&["log/*:r"])[0].clone())
            })
            .expect("granted");
        assert_eq!(second.version(), 2);
        let held = realm.realm().users().expect("read");
        assert_eq!(held.roles().grants(&ops).map(<[Grant]>::len), Some(2));
        let refused = realm.change_roles(3, |roles| roles.add(ops.clone(), vec![]));
        assert!(matches!(
            refused,
            Err(RealmError::Roles(NamedRolesError::Exists(_)))
        ));
        let held = realm.realm().roles().expect("read").expect("some");
        assert_eq!(held.version(), 2);
    }

    #[test]
    fn a_role_that_users_have_is_deleted_by_force_only() {
        let (_directory, realm) = realm();
        let (ops, alice) = (name("ops"), name("alice"));
        realm
            .change_roles(1, |roles| roles.add(ops.clone(), vec![]))
            .expect("added");
        realm
            .add_user(&alice, vec![role("ops")], b"pw", 2)
            .expect("added");
        assert!(matches!(
            realm.delete_role(&ops, false, 3),
            Err(RealmError::RoleHeld { users, .. }) if users == [alice.clone()]
        ));
        realm.delete_role(&ops, true, 4).expect("deleted");
        // The user can still be changed, and gets no further role of that name.
        let changed = realm
            .change_user(&alice, 5, |user| user.enabled = false)
            .expect("changed");
        assert_eq!(changed.user().roles, [role("ops")]);
        assert!(matches!(
            realm.delete_role(&ops, true, 6),
            Err(RealmError::Roles(NamedRolesError::NoSuchRole(_)))
        ));
    }

    #[test]
    fn a_role_of_deleted_users_only_is_deleted() {
        let (_directory, realm) = realm();
        let (ops, alice) = (name("ops"), name("alice"));
        realm
            .change_roles(1, |roles| roles.add(ops.clone(), vec![]))
            .expect("added");
        realm
            .add_user(&alice, vec![role("ops")], b"pw", 2)
            .expect("added");
        realm
            .change_user(&alice, 3, |user| user.deleted = true)
            .expect("deleted");
        realm.delete_role(&ops, false, 4).expect("deleted");
    }

    #[test]
    fn nobody_gets_a_role_that_does_not_exist() {
        let (_directory, realm) = realm();
        let (ops, alice) = (name("ops"), name("alice"));
        let no_such = |outcome: Result<UserRecord, RealmError>| {
            matches!(
                outcome,
                Err(RealmError::Roles(NamedRolesError::NoSuchRole(name))) if name == ops
            )
        };
        assert!(no_such(realm.add_user(
            &alice,
            vec![role("admin"), role("ops")],
            b"pw",
            1
        )));
        realm
            .add_user(&alice, vec![role("admin")], b"pw", 2)
            .expect("added");
        assert!(no_such(realm.change_user(&alice, 3, |user| {
            user.roles.push(role("ops"));
        })));
    }

    #[test]
    fn nodes_are_to_be_told_of_changed_roles() {
        let (_directory, realm) = realm();
        realm
            .call_nodes(&[(name("n1"), "127.0.0.1:1".to_owned())], 9, 1)
            .expect("called");
        realm
            .change_roles(2, |roles| roles.add(name("ops"), vec![]))
            .expect("added");
        let untold = realm.realm().untold().expect("read");
        assert_eq!(untold.len(), 1);
        assert_eq!(untold[0].records, [RecordName::Roles]);
        // One that is refused is no change.
        assert!(
            realm
                .change_roles(3, |roles| roles.add(name("ops"), vec![]))
                .is_err()
        );
        assert_eq!(realm.realm().untold().expect("read"), untold);
    }

    #[test]
    fn changed_roles_are_damage() {
        let (directory, realm) = realm();
        realm
            .change_roles(1, |roles| roles.add(name("ops"), grants(&["app/*:r"])))
            .expect("added");
        let path = directory.path().join("acme/roles");
        let bytes = std::fs::read(&path).expect("read");
        for at in (0..bytes.len()).step_by(5) {
            let mut changed = bytes.clone();
            changed[at] ^= 1;
            std::fs::write(&path, changed).expect("written");
            assert!(
                matches!(realm.realm().roles(), Err(RealmError::Damaged { .. })),
                "{at}"
            );
        }
    }
}
