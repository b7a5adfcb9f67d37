//! The sessions that the realm ended before their time.

use std::path::PathBuf;

use super::{OpenRealm, Realm, RealmError, damaged};
use crate::audit::{Subject, What};
use crate::files::{self, Existing, FileError};
use crate::name::Name;
use crate::records::{RecordName, RevokedSessionsRecord, SIGNED_RECORD_LENGTH_MAX};
use crate::statement::{RevokedSessions, TooManyRevoked};
use crate::users::{RecordError, UserRecord};

impl Realm {
    /// The revoked sessions as signed, verified; none before the first was.
    ///
    /// # Errors
    /// [`RealmError::Damaged`] when the record does not verify.
    pub fn revoked_sessions(&self) -> Result<Option<RevokedSessionsRecord>, RealmError> {
        let path = self.revoked_sessions_path();
        let bytes = match files::read_secret(&path, SIGNED_RECORD_LENGTH_MAX) {
            Err(FileError::Missing(_)) => return Ok(None),
            read => read?,
        };
        RevokedSessionsRecord::decode(bytes.expose(), &self.roots)
            .map(Some)
            .map_err(|error: RecordError| damaged(&path, &error))
    }

    pub(super) fn revoked_sessions_path(&self) -> PathBuf {
        self.directory.join("sessions")
    }
}

impl OpenRealm {
    /// Revokes sessions, and signs what comes of it as the next version; what can
    /// concern no session any more is left out. `detail` says in the audit log what was
    /// revoked.
    ///
    /// # Errors
    /// What `revoke` refuses, [`RealmError::NotTheRoot`], and other [`RealmError`]s.
    pub fn revoke_sessions(
        &self,
        now_ms: u64,
        subject: Subject,
        detail: &str,
        revoke: impl FnOnce(&mut RevokedSessions) -> Result<(), TooManyRevoked>,
    ) -> Result<RevokedSessionsRecord, RealmError> {
        self.check_root("revoking sessions")?;
        let _lock = self.lock()?;
        let held = self.realm.revoked_sessions()?;
        let mut revoked = held
            .map(|record| record.revoked().clone())
            .unwrap_or_default();
        revoked.forget_past(now_ms);
        revoke(&mut revoked)?;
        revoked.version = self.next_version(revoked.version)?;
        self.note_untold(vec![RecordName::RevokedSessions])?;
        let version = revoked.version;
        self.record(
            now_ms,
            What::SessionsRevoked,
            subject,
            format!("{detail}, version {version}"),
        )?;
        let record =
            RevokedSessionsRecord::new(self.issue(revoked, now_ms)).under_root(self.root_number());
        let path = self.realm.revoked_sessions_path();
        files::write(&path, &record.encode(), Existing::Replace)?;
        Ok(record)
    }
}

impl OpenRealm {
    /// Enables a user who was disabled; whether the sessions from before stay over. The
    /// root revokes them first. A delegate cannot, and neither can the root where the
    /// revoked sessions have no room: then they hold again until they expire.
    ///
    /// # Errors
    /// [`RealmError::NoSuchUser`], other [`RealmError`]s.
    pub fn enable_user(&self, name: &Name, now_ms: u64) -> Result<(UserRecord, bool), RealmError> {
        self.existing(name)?;
        let mut ended = false;
        if self.realm.chain().is_none() {
            let subject = Subject::User(name.clone());
            let revoke = |revoked: &mut RevokedSessions| revoked.revoke_user(name.clone(), now_ms);
            // Before the user is there again: a node that has one of the two records has
            // this one.
            ended = match self.revoke_sessions(now_ms, subject, "all sessions from before", revoke)
            {
                Ok(_) => true,
                Err(RealmError::TooManyRevoked(_)) => false,
                Err(error) => return Err(error),
            };
        }
        let record = self.change_user(name, now_ms, |user| user.enabled = true)?;
        Ok((record, ended))
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{name, realm};
    use super::*;
    use crate::session::latest_end;
    use sealmoot_crypto::signature::KeyId;

    fn revoke(realm: &OpenRealm, now_ms: u64, key: u8) -> RevokedSessionsRecord {
        let revoke = |revoked: &mut RevokedSessions| {
            revoked
                .revoke_key(KeyId::from_bytes([key; 32]), now_ms)
                .map(drop)
        };
        let revoked = realm.revoke_sessions(now_ms, Subject::Nothing, "one session", revoke);
        revoked.expect("signed")
    }

    #[test]
    fn revocations_add_up_until_they_concern_nothing() {
        let (_directory, realm) = realm();
        assert!(realm.realm().revoked_sessions().expect("read").is_none());
        let first = revoke(&realm, 100, 1);
        let second = revoke(&realm, 200, 2);
        assert!(second.version() > first.version());
        assert_eq!(second.revoked().keys().len(), 2);
        // By now the first revocation is of no use.
        let third = revoke(&realm, latest_end(100), 3);
        assert_eq!(third.revoked().keys().len(), 2);
        assert!(!third.revoked().revokes_key(&KeyId::from_bytes([1; 32])));
        let kept = realm
            .realm()
            .revoked_sessions()
            .expect("read")
            .expect("one");
        assert_eq!(kept.encode(), third.encode());
        let users = realm.realm().users().expect("read");
        assert_eq!(
            users.standing(&RecordName::RevokedSessions),
            Some(third.standing())
        );
    }

    #[test]
    fn a_refused_revocation_changes_nothing() {
        let (_directory, realm) = realm();
        let first = revoke(&realm, 100, 1);
        let refused = realm.revoke_sessions(200, Subject::User(name("alice")), "all", |_| {
            Err(TooManyRevoked::Users)
        });
        assert!(matches!(refused, Err(RealmError::TooManyRevoked(_))));
        let kept = realm
            .realm()
            .revoked_sessions()
            .expect("read")
            .expect("one");
        assert_eq!(kept.encode(), first.encode());
    }

    #[test]
    fn who_is_enabled_again_has_none_of_the_sessions_from_before() {
        let (_directory, realm) = realm();
        let alice = name("alice");
        realm.add_user(&alice, vec![], b"pw", 1).expect("added");
        let disable = |user: &mut crate::statement::User| user.enabled = false;
        realm.change_user(&alice, 100, disable).expect("disabled");
        assert!(realm.realm().revoked_sessions().expect("read").is_none());
        let (record, ended) = realm.enable_user(&alice, 200).expect("enabled");
        assert!(record.user().enabled && ended);
        let users = realm.realm().users().expect("read");
        let revoked = users.revoked_sessions().expect("one");
        let key = KeyId::from_bytes([1; 32]);
        assert!(revoked.revokes(&key, &alice, 199));
        assert!(!revoked.revokes(&key, &alice, 200));
        assert!(!revoked.revokes(&key, &name("bob"), 199));
        let nobody = realm.enable_user(&name("nobody"), 300);
        assert!(matches!(nobody, Err(RealmError::NoSuchUser(_))));
    }

    #[test]
    fn a_user_is_enabled_also_where_no_session_more_can_be_revoked() {
        let (_directory, realm) = realm();
        let alice = name("alice");
        realm.add_user(&alice, vec![], b"pw", 1).expect("added");
        let fill = |revoked: &mut RevokedSessions| {
            (0..crate::statement::REVOKED_USERS_MAX)
                .try_for_each(|index| revoked.revoke_user(name(&format!("u{index}")), 100))
        };
        realm
            .revoke_sessions(100, Subject::Nothing, "many", fill)
            .expect("signed");
        let (record, ended) = realm.enable_user(&alice, 200).expect("enabled");
        assert!(record.user().enabled && !ended);
    }

    #[test]
    fn a_changed_record_is_damage() {
        let (_directory, realm) = realm();
        let mut bytes = revoke(&realm, 100, 1).encode();
        let last = bytes.len() - 1;
        bytes[last] ^= 1;
        let path = realm.realm().revoked_sessions_path();
        files::write(&path, &bytes, Existing::Replace).expect("written");
        let read = realm.realm().revoked_sessions();
        assert!(matches!(read, Err(RealmError::Damaged { .. })));
    }
}
