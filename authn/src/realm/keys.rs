//! Users' keys: enrolled, revoked, replaced; and users who have nothing else.

use sealmoot_crypto::random::RandomError;
use sealmoot_crypto::signature::VerifyingKey;

use super::{OpenRealm, RealmError, check_roles};
use crate::name::Name;
use crate::narrowing::Narrowing;
use crate::policy::Role;
use crate::statement::{
    BODY_LENGTH_MAX, CredentialId, EnrolledKey, KEYS_BYTES_MAX, KEYS_MAX, KeyUse, Label, User,
    clashes, encoded_length,
};
use crate::users::UserRecord;

// With the roles and what stands around them, keys have to fit a statement.
const _: () = assert!(KEYS_BYTES_MAX + super::ROLES_BYTES_MAX + 1024 <= BODY_LENGTH_MAX);

/// Why a user's keys were not changed.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// It has nothing to do with keys.
    #[error(transparent)]
    Realm(#[from] RealmError),
    /// The user has no key with this id.
    #[error("{user} has no key {id}")]
    NoSuchKey {
        /// Whose.
        user: Name,
        /// Which.
        id: CredentialId,
    },
    /// The user has this key already.
    #[error("{user} has this key already")]
    EnrolledAlready {
        /// Whose.
        user: Name,
    },
    /// There would be too many, or too much would stand in them.
    #[error("a user has at most {KEYS_MAX} keys, of {KEYS_BYTES_MAX} bytes together")]
    TooManyKeys,
    /// The key would be of no use to anybody.
    #[error("the key's time would be up already")]
    Expired,
}

/// A key that is to be enrolled.
#[derive(Debug, Clone)]
pub struct NewKey {
    /// What people will call it.
    pub label: Label,
    /// What it is for.
    pub usage: KeyUse,
    /// Its public half.
    pub key: VerifyingKey,
    /// Until when it counts, in milliseconds since 1970; 0 for ever.
    pub expires_ms: u64,
    /// What its sessions are narrowed to.
    pub narrowing: Option<Narrowing>,
}

impl NewKey {
    fn enrolled(self, id: CredentialId) -> EnrolledKey {
        EnrolledKey {
            id,
            label: self.label,
            usage: self.usage,
            key: self.key,
            expires_ms: self.expires_ms,
            narrowing: self.narrowing,
        }
    }
}

impl OpenRealm {
    /// Adds a user who has no password and, so far, no key.
    ///
    /// # Errors
    /// [`RealmError::UserExists`], other [`RealmError`]s.
    pub fn add_user_without_password(
        &self,
        name: &Name,
        roles: Vec<Role>,
        now_ms: u64,
    ) -> Result<UserRecord, RealmError> {
        check_roles(&roles)?;
        let _lock = self.lock()?;
        let version = self.version_of_new(name, &roles)?;
        let user = User {
            name: name.clone(),
            version,
            enabled: true,
            deleted: false,
            roles,
            user_key: None,
            keys: Vec::new(),
            second_factor: None,
        };
        self.store(user, None, now_ms)
    }

    /// Adds a user who logs in with this key, and has no password.
    ///
    /// # Errors
    /// [`KeyError`].
    pub fn add_user_with_key(
        &self,
        name: &Name,
        roles: Vec<Role>,
        key: NewKey,
        now_ms: u64,
    ) -> Result<UserRecord, KeyError> {
        check_roles(&roles)?;
        let _lock = self.lock()?;
        let mut user = User {
            name: name.clone(),
            version: self.version_of_new(name, &roles)?,
            enabled: true,
            deleted: false,
            roles,
            user_key: None,
            keys: Vec::new(),
            second_factor: None,
        };
        let id = CredentialId::random().map_err(RealmError::from)?;
        add(&mut user, key.enrolled(id), now_ms)?;
        Ok(self.store(user, None, now_ms)?)
    }

    /// Enrols a key: with it the user may log in from now on.
    ///
    /// # Errors
    /// [`KeyError`].
    pub fn enroll_key(
        &self,
        name: &Name,
        key: NewKey,
        now_ms: u64,
    ) -> Result<(UserRecord, EnrolledKey), KeyError> {
        let id = CredentialId::random().map_err(RealmError::from)?;
        let enrolled = key.enrolled(id);
        let record = self.change_keys(name, now_ms, |user| add(user, enrolled.clone(), now_ms))?;
        Ok((record, enrolled))
    }

    /// Removes a key: its sessions end, and it makes no others.
    ///
    /// # Errors
    /// [`KeyError`].
    pub fn revoke_key(
        &self,
        name: &Name,
        id: CredentialId,
        now_ms: u64,
    ) -> Result<(UserRecord, EnrolledKey), KeyError> {
        let mut revoked = None;
        let record = self.change_keys(name, now_ms, |user| {
            revoked = Some(take(user, id)?);
            Ok(())
        })?;
        let revoked = revoked.ok_or(KeyError::NoSuchKey {
            user: name.clone(),
            id,
        })?;
        Ok((record, revoked))
    }

    /// Puts another key in the place of one, with a new id and all else as it was,
    /// but for the expiry when one is given. Sessions of the old key end.
    ///
    /// # Errors
    /// [`KeyError`].
    pub fn rotate_key(
        &self,
        name: &Name,
        id: CredentialId,
        key: VerifyingKey,
        expires_ms: Option<u64>,
        now_ms: u64,
    ) -> Result<(UserRecord, EnrolledKey), KeyError> {
        let fresh_id: Result<CredentialId, RandomError> = CredentialId::random();
        let fresh_id = fresh_id.map_err(RealmError::from)?;
        let mut rotated = None;
        let record = self.change_keys(name, now_ms, |user| {
            // The same key again would be no rotation.
            if user.enrolled_with(&key).is_some() {
                return Err(KeyError::EnrolledAlready {
                    user: user.name.clone(),
                });
            }
            let old = take(user, id)?;
            let new = EnrolledKey {
                id: fresh_id,
                key,
                expires_ms: expires_ms.unwrap_or(old.expires_ms),
                ..old
            };
            rotated = Some(new.clone());
            add(user, new, now_ms)
        })?;
        let rotated = rotated.ok_or(KeyError::NoSuchKey {
            user: name.clone(),
            id,
        })?;
        Ok((record, rotated))
    }

    fn change_keys(
        &self,
        name: &Name,
        now_ms: u64,
        change: impl FnOnce(&mut User) -> Result<(), KeyError>,
    ) -> Result<UserRecord, KeyError> {
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

fn add(user: &mut User, key: EnrolledKey, now_ms: u64) -> Result<(), KeyError> {
    if !key.holds_at(now_ms) {
        return Err(KeyError::Expired);
    }
    if clashes(&user.keys, user.user_key.as_ref(), &key) {
        return Err(KeyError::EnrolledAlready {
            user: user.name.clone(),
        });
    }
    user.keys.push(key);
    if user.keys.len() > KEYS_MAX || encoded_length(&user.keys) > KEYS_BYTES_MAX {
        return Err(KeyError::TooManyKeys);
    }
    Ok(())
}

fn take(user: &mut User, id: CredentialId) -> Result<EnrolledKey, KeyError> {
    let at = user.keys.iter().position(|key| key.id == id);
    let at = at.ok_or_else(|| KeyError::NoSuchKey {
        user: user.name.clone(),
        id,
    })?;
    Ok(user.keys.remove(at))
}

#[cfg(test)]
mod tests;
