//! Users' second factors: enrolled and removed.

use super::{OpenRealm, RealmError};
use crate::name::Name;
use crate::second_factor::{Enrolled, SealedSecondFactor, SecondFactor, SecondFactorError};
use crate::statement::{CredentialId, User};
use crate::users::UserRecord;

/// What a delegate is told that it cannot change: there is no user of its own with one.
const WHAT: &str = "a second factor";

/// Why a user's second factor was not changed.
#[derive(Debug, thiserror::Error)]
pub enum SecondFactorChangeError {
    /// It has nothing to do with second factors.
    #[error(transparent)]
    Realm(#[from] RealmError),
    /// It could not be made.
    #[error(transparent)]
    Make(#[from] SecondFactorError),
    /// The user has one: another would make the first one's codes worthless unnoticed.
    #[error("{0} has a second factor already")]
    EnrolledAlready(Name),
    /// The user has no password that it could stand beside.
    #[error("{0} has no password; a second factor goes with one")]
    NoPassword(Name),
    /// The user has no second factor with this id.
    #[error("{user} has no second factor {id}")]
    NoSuchFactor {
        /// Whose.
        user: Name,
        /// Which.
        id: CredentialId,
    },
}

/// Whether a second factor can be enrolled for the user as the record stands.
///
/// # Errors
/// [`SecondFactorChangeError::EnrolledAlready`], [`SecondFactorChangeError::NoPassword`].
pub fn check_enrollable(user: &User) -> Result<(), SecondFactorChangeError> {
    if user.second_factor.is_some() {
        return Err(SecondFactorChangeError::EnrolledAlready(user.name.clone()));
    }
    if user.user_key.is_none() {
        return Err(SecondFactorChangeError::NoPassword(user.name.clone()));
    }
    Ok(())
}

impl OpenRealm {
    /// Makes a second factor for a user. Nothing is asked of the user before
    /// [`OpenRealm::enroll_second_factor`].
    ///
    /// # Errors
    /// [`RealmError::NotTheRoot`] without the login secrets, [`SecondFactorError`].
    pub fn make_second_factor(
        &self,
        name: &Name,
    ) -> Result<(SealedSecondFactor, Enrolled), SecondFactorChangeError> {
        let login = self.login(WHAT)?;
        Ok(SecondFactor::enrol(login, &self.realm.id(), name)?)
    }

    /// Enrols a second factor that [`OpenRealm::make_second_factor`] made for the user:
    /// from now on a login by password takes a code, too. Sessions go on.
    ///
    /// # Errors
    /// [`SecondFactorChangeError`].
    pub fn enroll_second_factor(
        &self,
        name: &Name,
        factor: SealedSecondFactor,
        now_ms: u64,
    ) -> Result<UserRecord, SecondFactorChangeError> {
        // One that no node will open would keep the user out.
        drop(SecondFactor::open(
            self.login(WHAT)?,
            &self.realm.id(),
            name,
            &factor,
        )?);
        self.change_second_factor(name, now_ms, |user| {
            check_enrollable(user)?;
            user.second_factor = Some(Box::new(factor));
            Ok(())
        })
    }

    /// Removes a user's second factor: the password alone is enough again, unless a role
    /// needs one.
    ///
    /// # Errors
    /// [`SecondFactorChangeError`].
    pub fn remove_second_factor(
        &self,
        name: &Name,
        id: CredentialId,
        now_ms: u64,
    ) -> Result<UserRecord, SecondFactorChangeError> {
        self.change_second_factor(name, now_ms, |user| {
            if user.second_factor.as_ref().map(|factor| factor.id()) != Some(id) {
                let user = user.name.clone();
                return Err(SecondFactorChangeError::NoSuchFactor { user, id });
            }
            user.second_factor = None;
            Ok(())
        })
    }

    fn change_second_factor(
        &self,
        name: &Name,
        now_ms: u64,
        change: impl FnOnce(&mut User) -> Result<(), SecondFactorChangeError>,
    ) -> Result<UserRecord, SecondFactorChangeError> {
        self.check_root(WHAT)?;
        let _lock = self.lock()?;
        let record = self.existing(name)?;
        let mut user = record.user().clone();
        change(&mut user)?;
        self.take_over(&record, &mut user, &[])?;
        user.version = self.next_version(record.user().version)?;
        let credential = self.own_credential(&record, now_ms);
        Ok(self.store(user, credential, now_ms)?)
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{name, realm};
    use super::*;
    use crate::audit::{Event, What, local};
    use crate::second_factor::Used;

    const NOW: u64 = 1_800_000_000_000;

    fn last_recorded(realm: &OpenRealm) -> What {
        let entries = local::read(realm.realm().directory()).expect("read");
        let last = entries.last().expect("one");
        Event::decode(&last.event).expect("an event").what
    }

    #[test]
    fn one_is_enrolled_survives_another_password_and_goes() {
        let (_directory, realm) = realm();
        let alice = name("alice");
        realm.add_user(&alice, vec![], b"pw", 1).expect("added");
        let (factor, taken_home) = realm.make_second_factor(&alice).expect("made");
        let id = factor.id();
        let record = realm
            .enroll_second_factor(&alice, factor, 2)
            .expect("enrolled");
        assert_eq!(record.user().version, 2);
        assert_eq!(last_recorded(&realm), What::SecondFactorEnrolled);
        let changed = realm.change_password(&alice, b"other", 3).expect("changed");
        let held = changed.user().second_factor.clone().expect("still there");
        let opened = SecondFactor::open(
            realm.login.as_ref().expect("the root's"),
            &realm.realm().id(),
            &alice,
            &held,
        );
        let code = taken_home.totp.code_at(NOW);
        let proven = opened
            .expect("opens")
            .prove(code.as_bytes(), &Used::default(), NOW);
        assert!(proven.is_ok());

        let other = CredentialId::from_bytes([9; 8]);
        assert!(matches!(
            realm.remove_second_factor(&alice, other, 4),
            Err(SecondFactorChangeError::NoSuchFactor { .. })
        ));
        let removed = realm.remove_second_factor(&alice, id, 4).expect("removed");
        assert_eq!(removed.user().version, 4);
        assert!(removed.user().second_factor.is_none());
        assert_eq!(last_recorded(&realm), What::SecondFactorRemoved);
        assert!(matches!(
            realm.remove_second_factor(&alice, id, 5),
            Err(SecondFactorChangeError::NoSuchFactor { .. })
        ));
    }

    #[test]
    fn a_second_one_one_without_a_password_and_a_neighbours_are_refused() {
        let (_directory, realm) = realm();
        let (alice, bob) = (name("alice"), name("bob"));
        realm.add_user(&alice, vec![], b"pw", 1).expect("added");
        realm
            .add_user_without_password(&bob, vec![], 1)
            .expect("added");
        let make = |user: &Name| realm.make_second_factor(user).expect("made").0;
        realm
            .enroll_second_factor(&alice, make(&alice), 2)
            .expect("enrolled");
        assert!(matches!(
            realm.enroll_second_factor(&alice, make(&alice), 3),
            Err(SecondFactorChangeError::EnrolledAlready(_))
        ));
        assert!(matches!(
            realm.enroll_second_factor(&bob, make(&bob), 3),
            Err(SecondFactorChangeError::NoPassword(_))
        ));
        assert!(matches!(
            realm.enroll_second_factor(&alice, make(&bob), 3),
            Err(SecondFactorChangeError::Make(SecondFactorError::Closed))
        ));
        let nobody = name("nobody");
        assert!(matches!(
            realm.enroll_second_factor(&nobody, make(&nobody), 3),
            Err(SecondFactorChangeError::Realm(RealmError::NoSuchUser(_)))
        ));
        let record = realm.realm().user(&alice).expect("read").expect("there");
        assert_eq!(record.user().version, 2);
    }
}
