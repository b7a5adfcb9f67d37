//! Taking in users of other systems, many at once.

use super::{OpenRealm, PORTION, RealmError, check_roles, must_exist};
use crate::audit::{Subject, What};
use crate::files;
use crate::import::ImportedUser;
use crate::name::Name;
use crate::parallel;
use crate::policy::NamedRoles;
use crate::records::{RecordName, RolesRecord};
use crate::statement::User;
use crate::users::UserRecord;

/// What became of an import.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Imported {
    /// How many users were added.
    pub added: usize,
    /// Who exists already and was left alone.
    pub existing: Vec<Name>,
}

/// What is to be done with users who exist already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExistingUsers {
    /// Refuse the whole import.
    Refuse,
    /// Leave them as they are.
    Skip,
}

/// One who is to be added.
struct NewUser<'a> {
    user: &'a ImportedUser,
    /// What the record gets.
    version: u64,
    /// Whether there never was a user of this name.
    unknown: bool,
}

impl OpenRealm {
    /// Adds users whose passwords are hashes of another system, with fresh user keys
    /// sealed under the hashes. The realm is locked once; `progress` hears how many of
    /// how many are written.
    ///
    /// A crash leaves some of them added and the others not, each one whole.
    ///
    /// # Errors
    /// [`RealmError::UsersExist`], and [`RealmError::Roles`] for a role that the realm
    /// has not, with nothing written; [`RealmError::TooManyUsers`], other
    /// [`RealmError`]s.
    pub fn import_users(
        &self,
        users: &[ImportedUser],
        must_change: bool,
        existing: ExistingUsers,
        now_ms: u64,
        mut progress: impl FnMut(usize, usize),
    ) -> Result<Imported, RealmError> {
        self.check_root("an import")?;
        let _lock = self.lock()?;
        let mut imported = Imported::default();
        let users = self.new_users(users, &mut imported.existing)?;
        if existing == ExistingUsers::Refuse && !imported.existing.is_empty() {
            return Err(RealmError::UsersExist(imported.existing));
        }
        if users.is_empty() {
            return Ok(imported);
        }
        self.check_room(users.iter().filter(|user| user.unknown).count())?;
        let names = users
            .iter()
            .map(|new| RecordName::User(new.user.name.clone()));
        self.note_untold(names.collect())?;
        // One event for all, first recorded, then done. Who they are stands in the
        // records, and in the log of each node that takes them.
        let added = format!("{} users", users.len());
        self.record(now_ms, What::UsersImported, Subject::Nothing, added)?;
        for portion in users.chunks(PORTION) {
            let contents = parallel::try_map(portion, |new| {
                let record = self.imported_record(new, must_change, now_ms)?;
                Ok::<_, RealmError>((new.user.name.to_string(), record.encode()))
            })?;
            files::write_many(&self.realm.users_directory(), &contents)?;
            imported.added += portion.len();
            progress(imported.added, users.len());
        }
        Ok(imported)
    }

    /// Those who do not exist, or no longer.
    fn new_users<'a>(
        &self,
        users: &'a [ImportedUser],
        existing: &mut Vec<Name>,
    ) -> Result<Vec<NewUser<'a>>, RealmError> {
        let taken = files::names(&self.realm.users_directory())?;
        let named = self.realm.roles()?;
        let none = NamedRoles::none();
        let named = named.as_ref().map_or(&none, RolesRecord::roles);
        let first_version = self.next_version(0)?;
        let mut new = Vec::with_capacity(users.len());
        for user in users {
            check_roles(&user.roles)?;
            must_exist(&user.roles, named)?;
            let known = taken.binary_search_by(|name| name.as_str().cmp(user.name.as_str()));
            let record = match known {
                Ok(_) => self.realm.user(&user.name)?,
                Err(_) => None,
            };
            let (version, unknown) = match record {
                Some(record) if !record.user().deleted => {
                    existing.push(user.name.clone());
                    continue;
                }
                Some(record) => (self.next_version(record.user().version)?, false),
                None => (first_version, true),
            };
            new.push(NewUser {
                user,
                version,
                unknown,
            });
        }
        Ok(new)
    }

    fn imported_record(
        &self,
        new: &NewUser<'_>,
        must_change: bool,
        now_ms: u64,
    ) -> Result<UserRecord, RealmError> {
        let (name, hash) = (&new.user.name, &new.user.hash);
        let (credential, user_key) = self.credential_of(
            name,
            hash.secret().expose(),
            hash.stretching(),
            must_change,
            now_ms,
        )?;
        let user = User {
            name: name.clone(),
            version: new.version,
            enabled: true,
            deleted: false,
            roles: new.user.roles.clone(),
            user_key: Some(user_key),
            keys: Vec::new(),
            second_factor: None,
        };
        let path = self.realm.users_directory().join(name.as_str());
        UserRecord::new(self.issue(user, now_ms), Some(credential))
            .map(|record| record.under_root(self.root_number()))
            .map_err(|error| super::damaged(&path, &error))
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{name, realm};
    use super::*;
    use crate::audit::{Event, local};
    use crate::import::{Format, Import};
    use crate::policy::NamedRolesError;

    fn users(names: &[&str], role: &str) -> Vec<ImportedUser> {
        let mut content = "name,hash,roles\n".to_owned();
        for name in names {
            content.push_str(name);
            content.push_str(",\"$argon2id$v=19$m=8,t=1,p=1$");
            content.push_str("AAAAAAAAAAAAAAAAAAAAAA$");
            content.push_str("AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\",");
            content.push_str(role);
            content.push('\n');
        }
        let import = Import::parse(content.as_bytes(), Format::Csv).expect("a file");
        assert!(import.bad.is_empty());
        import.users
    }

    fn import(realm: &OpenRealm, users: &[ImportedUser]) -> Result<Imported, RealmError> {
        realm.import_users(users, false, ExistingUsers::Skip, 5, |_, _| {})
    }

    fn recorded(realm: &OpenRealm) -> Vec<(What, String)> {
        let entries = local::read(realm.realm().directory()).expect("read");
        entries
            .iter()
            .map(|entry| Event::decode(&entry.event).expect("an event"))
            .map(|event| (event.what, event.detail))
            .collect()
    }

    #[test]
    fn an_import_is_one_event_and_one_line_to_tell() {
        let (_directory, realm) = realm();
        realm
            .call_nodes(&[(name("n1"), "127.0.0.1:1".to_owned())], 9, 1)
            .expect("called");
        let before = recorded(&realm).len();
        let dora_and_emil = users(&["dora", "emil"], "app/*:r");
        assert_eq!(import(&realm, &dora_and_emil).expect("imported").added, 2);
        let events = recorded(&realm);
        assert_eq!(
            events[before..],
            [(What::UsersImported, "2 users".to_owned())]
        );
        let untold = realm.realm().untold().expect("read");
        assert_eq!(untold.len(), 1);
        let names = ["dora", "emil"].map(|user| RecordName::User(name(user)));
        assert_eq!(untold[0].records, names);
        // Where nobody is added nothing was done.
        assert_eq!(import(&realm, &dora_and_emil).expect("skipped").added, 0);
        assert_eq!(recorded(&realm), events);
        assert_eq!(realm.realm().untold().expect("read"), untold);
    }

    #[test]
    fn users_with_a_role_that_does_not_exist_are_not_imported() {
        let (_directory, realm) = realm();
        let dora = users(&["dora"], "ops");
        let before = recorded(&realm);
        assert!(matches!(
            import(&realm, &dora),
            Err(RealmError::Roles(NamedRolesError::NoSuchRole(role))) if role == name("ops")
        ));
        assert!(realm.realm().user(&name("dora")).expect("read").is_none());
        assert_eq!(recorded(&realm), before);
        realm
            .change_roles(6, |roles| roles.add(name("ops"), vec![]))
            .expect("added");
        assert_eq!(import(&realm, &dora).expect("imported").added, 1);
    }

    #[test]
    fn an_import_that_cannot_be_recorded_is_not_done() {
        let (directory, realm) = realm();
        let log = directory.path().join("acme").join(local::LOCAL_FILE);
        std::fs::remove_file(log).expect("removed");
        assert!(matches!(
            import(&realm, &users(&["dora"], "app/*:r")),
            Err(RealmError::Audit(_))
        ));
        assert!(realm.realm().user(&name("dora")).expect("read").is_none());
    }

    #[test]
    fn who_was_deleted_is_imported_with_the_next_version() {
        let (_directory, realm) = realm();
        let dora = users(&["dora"], "app/*:r");
        import(&realm, &dora).expect("imported");
        realm
            .change_user(&name("dora"), 6, |user| user.deleted = true)
            .expect("deleted");
        assert_eq!(import(&realm, &dora).expect("imported").added, 1);
        let record = realm.realm().user(&name("dora")).expect("read");
        assert_eq!(record.expect("there").user().version, 3);
    }
}
