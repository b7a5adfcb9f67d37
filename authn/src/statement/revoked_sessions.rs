//! Sessions that ended before their time.

use std::collections::BTreeMap;

use sealmoot_crypto::encoding::{EncodingError, Reader, Writer};
use sealmoot_crypto::signature::KeyId;

use super::{BODY_LENGTH_MAX, Body, read_name};
use crate::name::{NAME_LENGTH_MAX, Name};
use crate::session::latest_end;

/// Most keys whose sessions are revoked at a time.
pub const REVOKED_KEYS_MAX: usize = 512;
/// Most users all of whose sessions are revoked at a time.
pub const REVOKED_USERS_MAX: usize = 128;

const KEY_LENGTH: usize = 32 + 8;
const USER_LENGTH_MAX: usize = 4 + NAME_LENGTH_MAX + 8;
const _: () = assert!(
    8 + 4 + REVOKED_KEYS_MAX * KEY_LENGTH + 4 + REVOKED_USERS_MAX * USER_LENGTH_MAX
        <= BODY_LENGTH_MAX,
    "the fullest body fits a statement"
);

/// More revocations than one statement holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TooManyRevoked {
    /// Of single sessions.
    #[error("{REVOKED_KEYS_MAX} sessions are revoked already, and none of them is over yet")]
    Keys,
    /// Of users.
    #[error(
        "the sessions of {REVOKED_USERS_MAX} users are revoked already, and may not be over yet"
    )]
    Users,
}

/// Kind *revoked sessions*: the root says which sessions hold no longer, all of them in
/// one statement. Of two the higher version holds.
///
/// ```text
/// version u64 | count | each: KeyId of the session key 32, until u64
///             | count | each: name of the user, before u64
/// ```
///
/// Key ids and names are in ascending order. A key makes no session until the given
/// time, when all that it can have made are over; of a user, no session holds whose
/// receipt was issued before the given time. Times are milliseconds since 1970.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RevokedSessions {
    /// Rises with every change.
    pub version: u64,
    keys: BTreeMap<KeyId, u64>,
    users: BTreeMap<Name, u64>,
}

impl RevokedSessions {
    /// Whether it ends the session of this key, which speaks for `user` by a receipt
    /// of `issued_ms`.
    #[must_use]
    pub fn revokes(&self, key: &KeyId, user: &Name, issued_ms: u64) -> bool {
        self.revokes_key(key)
            || self
                .users
                .get(user)
                .is_some_and(|before| issued_ms < *before)
    }

    /// Whether it ends whatever this key speaks for.
    #[must_use]
    pub fn revokes_key(&self, key: &KeyId) -> bool {
        self.keys.contains_key(key)
    }

    /// Revokes what the key speaks for; says whether that was new.
    ///
    /// # Errors
    /// [`TooManyRevoked::Keys`].
    pub fn revoke_key(&mut self, key: KeyId, now_ms: u64) -> Result<bool, TooManyRevoked> {
        let is_new = !self.keys.contains_key(&key);
        if is_new && self.keys.len() >= REVOKED_KEYS_MAX {
            return Err(TooManyRevoked::Keys);
        }
        // The later of the two: nobody's clock shortens a revocation.
        let until = self.keys.entry(key).or_default();
        *until = latest_end(now_ms).max(*until);
        Ok(is_new)
    }

    /// Revokes all sessions of the user up to now.
    ///
    /// # Errors
    /// [`TooManyRevoked::Users`].
    pub fn revoke_user(&mut self, user: Name, now_ms: u64) -> Result<(), TooManyRevoked> {
        if !self.users.contains_key(&user) && self.users.len() >= REVOKED_USERS_MAX {
            return Err(TooManyRevoked::Users);
        }
        let before = self.users.entry(user).or_default();
        *before = now_ms.max(*before);
        Ok(())
    }

    /// Forgets what can concern no session any more, because all are over by then.
    pub fn forget_past(&mut self, now_ms: u64) {
        self.keys.retain(|_, until| *until > now_ms);
        self.users.retain(|_, before| latest_end(*before) > now_ms);
    }

    /// The revoked keys in ascending order, each with the time when it is forgotten.
    pub fn keys(&self) -> impl ExactSizeIterator<Item = (&KeyId, u64)> {
        self.keys.iter().map(|(key, until)| (key, *until))
    }

    /// The users in ascending order, each with the time before which all sessions are
    /// revoked.
    pub fn users(&self) -> impl ExactSizeIterator<Item = (&Name, u64)> {
        self.users.iter().map(|(user, before)| (user, *before))
    }
}

impl Body for RevokedSessions {
    const KIND: u8 = 8;
    const DOMAIN: &'static str = "statement/revoked-sessions";

    fn encode(&self, writer: &mut Writer) {
        writer.u64(self.version);
        writer.count(self.keys.len());
        for (key, until) in &self.keys {
            writer.fixed(key.as_bytes());
            writer.u64(*until);
        }
        writer.count(self.users.len());
        for (user, before) in &self.users {
            writer.text(user.as_str());
            writer.u64(*before);
        }
    }

    fn decode(reader: &mut Reader<'_>) -> Result<Self, EncodingError> {
        let mut revoked = Self {
            version: reader.u64()?,
            ..Self::default()
        };
        for _ in 0..reader.count(REVOKED_KEYS_MAX)? {
            let key = KeyId::from_bytes(reader.array()?);
            if revoked
                .keys
                .last_key_value()
                .is_some_and(|(last, _)| *last >= key)
            {
                return Err(EncodingError::Invalid("revoked keys are out of order"));
            }
            revoked.keys.insert(key, reader.u64()?);
        }
        for _ in 0..reader.count(REVOKED_USERS_MAX)? {
            let user = read_name(reader)?;
            if revoked
                .users
                .last_key_value()
                .is_some_and(|(last, _)| *last >= user)
            {
                return Err(EncodingError::Invalid("revoked users are out of order"));
            }
            revoked.users.insert(user, reader.u64()?);
        }
        Ok(revoked)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(byte: u8) -> KeyId {
        KeyId::from_bytes([byte; 32])
    }

    fn name(text: &str) -> Name {
        text.parse().expect("a name")
    }

    fn encoded(revoked: &RevokedSessions) -> Vec<u8> {
        let mut writer = Writer::new();
        revoked.encode(&mut writer);
        writer.finish()
    }

    fn decode(bytes: &[u8]) -> Result<RevokedSessions, EncodingError> {
        let mut reader = Reader::new(bytes);
        let revoked = RevokedSessions::decode(&mut reader)?;
        reader.finish()?;
        Ok(revoked)
    }

    /// Bytes that no encoder writes.
    fn written(keys: &[u8], users: &[&str]) -> Vec<u8> {
        let mut writer = Writer::new();
        writer.u64(1);
        writer.count(keys.len());
        for byte in keys {
            writer.fixed(&[*byte; 32]);
            writer.u64(9);
        }
        writer.count(users.len());
        for user in users {
            writer.text(user);
            writer.u64(9);
        }
        writer.finish()
    }

    #[test]
    fn a_key_is_revoked_whatever_it_speaks_for_and_a_user_up_to_a_time() {
        let mut revoked = RevokedSessions::default();
        assert_eq!(revoked.revoke_key(key(1), 100), Ok(true));
        assert_eq!(revoked.revoke_key(key(1), 50), Ok(false));
        revoked.revoke_user(name("alice"), 100).expect("room");
        revoked.revoke_user(name("alice"), 50).expect("room");
        assert!(revoked.revokes(&key(1), &name("bob"), 1000));
        assert!(revoked.revokes(&key(2), &name("alice"), 99));
        assert!(!revoked.revokes(&key(2), &name("alice"), 100));
        assert!(!revoked.revokes(&key(2), &name("bob"), 1));
        assert_eq!(
            revoked.keys().collect::<Vec<_>>(),
            [(&key(1), latest_end(100))]
        );
    }

    #[test]
    fn nothing_is_forgotten_before_every_session_that_it_ends_is_over() {
        let mut revoked = RevokedSessions::default();
        revoked.revoke_key(key(1), 100).expect("room");
        revoked.revoke_user(name("alice"), 100).expect("room");
        let before = revoked.clone();
        revoked.forget_past(latest_end(100) - 1);
        assert_eq!(revoked, before);
        revoked.forget_past(latest_end(100));
        assert_eq!(revoked, RevokedSessions::default());
    }

    #[test]
    fn the_fullest_statement_survives_its_bytes_and_takes_no_more() {
        let mut revoked = RevokedSessions::default();
        for index in 0..REVOKED_KEYS_MAX {
            let mut bytes = [0; 32];
            bytes[..8].copy_from_slice(&(index as u64).to_be_bytes());
            revoked
                .revoke_key(KeyId::from_bytes(bytes), 1)
                .expect("room");
        }
        let long = |index: usize| name(&format!("u{index:063}"));
        for index in 0..REVOKED_USERS_MAX {
            revoked.revoke_user(long(index), 1).expect("room");
        }
        assert_eq!(revoked.revoke_key(key(9), 1), Err(TooManyRevoked::Keys));
        assert_eq!(
            revoked.revoke_user(name("x"), 1),
            Err(TooManyRevoked::Users)
        );
        // Those that are there may be renewed.
        assert_eq!(revoked.revoke_user(long(0), 2), Ok(()));
        let bytes = encoded(&revoked);
        assert!(bytes.len() <= BODY_LENGTH_MAX);
        assert_eq!(decode(&bytes), Ok(revoked));
    }

    #[test]
    fn what_is_not_in_its_one_form_is_refused_by_name() {
        let mut revoked = RevokedSessions::default();
        revoked.revoke_key(key(1), 100).expect("room");
        revoked.revoke_user(name("alice"), 100).expect("room");
        let bytes = encoded(&revoked);
        for length in 0..bytes.len() {
            assert!(decode(&bytes[..length]).is_err(), "{length}");
        }
        assert!(decode(&written(&[1, 2], &["alice", "bob"])).is_ok());
        let many: Vec<String> = (0..=REVOKED_USERS_MAX)
            .map(|at| format!("u{at:03}"))
            .collect();
        let many: Vec<&str> = many.iter().map(String::as_str).collect();
        for (bytes, what) in [
            (written(&[2, 1], &[]), "revoked keys are out of order"),
            (written(&[1, 1], &[]), "revoked keys are out of order"),
            (
                written(&[], &["bob", "alice"]),
                "revoked users are out of order",
            ),
            (
                written(&[], &["bob", "bob"]),
                "revoked users are out of order",
            ),
            (written(&[], &["Bob"]), "a name is malformed"),
            (
                written(&[0; REVOKED_KEYS_MAX + 1], &[]),
                "above the maximum",
            ),
            (written(&[], &many), "above the maximum"),
        ] {
            let refused = decode(&bytes).expect_err(what);
            assert!(refused.to_string().contains(what), "{what}: {refused}");
        }
    }
}
