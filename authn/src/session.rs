//! Believing a session: the user's key and a node both have to say so.

use sealmoot_crypto::signature::VerifyingKey;

use crate::name::Name;
use crate::roster::Roster;
use crate::statement::{Claim, Receipt, Session, StatementError};
use crate::users::UserDirectory;

/// How long a session lasts unless the client asks for less, in milliseconds.
pub const SESSION_LIFETIME_MS: u64 = 12 * 60 * 60 * 1000;

/// Why a session was not believed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SessionError {
    /// One of the statements is not to be believed.
    #[error(transparent)]
    Statement(#[from] StatementError),
    /// The user does not exist, is disabled, or changed the password since.
    #[error("the session's user is unknown, disabled or changed")]
    User,
    /// The session or the receipt speaks for another key than the channel's.
    #[error("the session belongs to another key")]
    OtherKey,
    /// The receipt is by no node of the roster.
    #[error("the receipt was issued by no node of this cluster")]
    NoNode,
    /// The time is up.
    #[error("the session has expired")]
    Expired,
}

/// A client whose session was believed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Authenticated {
    /// For whom it speaks.
    pub user: Name,
    /// The user's key at login: a record with another one ends the session.
    pub user_key: VerifyingKey,
    /// Until when, in milliseconds since 1970.
    pub expires_ms: u64,
}

impl Authenticated {
    /// Whether the session still holds: users may be disabled, deleted or given
    /// another password while their channel is open.
    #[must_use]
    pub fn still_holds(&self, directory: &UserDirectory, now_ms: u64) -> bool {
        now_ms < self.expires_ms
            && directory
                .active(&self.user)
                .is_some_and(|record| record.user().user_key == self.user_key)
    }
}

/// Believes that `channel_key`, which the peer of a channel proved to hold, speaks
/// for a user.
///
/// # Errors
/// [`SessionError`]; who is refused is told none of it.
pub fn verify_session(
    roster: &Roster,
    directory: &UserDirectory,
    session: &[u8],
    receipt: &[u8],
    channel_key: &VerifyingKey,
    now_ms: u64,
) -> Result<Authenticated, SessionError> {
    let realm = roster.realm();
    let session = Claim::<Session>::decode(session)?;
    let record = directory
        .active(&session.claimed().user)
        .ok_or(SessionError::User)?;
    let user_key = record.user().user_key;
    let session = session.verify(&realm, &user_key)?;

    let receipt = Claim::<Receipt>::decode(receipt)?;
    let issuer = roster
        .members()
        .iter()
        .find(|member| member.key == *receipt.issuer())
        .ok_or(SessionError::NoNode)?;
    let receipt = receipt.verify(&realm, &issuer.key)?;

    let (session, receipt) = (session.body(), receipt.body());
    if receipt.user != session.user || receipt.user_key != user_key {
        return Err(SessionError::User);
    }
    if session.session_key != *channel_key || receipt.session_key != *channel_key {
        return Err(SessionError::OtherKey);
    }
    let expires_ms = session.expires_ms.min(receipt.expires_ms);
    if now_ms >= expires_ms {
        return Err(SessionError::Expired);
    }
    Ok(Authenticated {
        user: session.user.clone(),
        user_key,
        expires_ms,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::roster::tests::Fixture;
    use crate::statement::Verified;
    use crate::users::tests::record;
    use sealmoot_crypto::signature::SigningKey;

    struct Login {
        fixture: Fixture,
        directory: UserDirectory,
        user: SigningKey,
        channel: SigningKey,
    }

    impl Login {
        fn new() -> Self {
            let fixture = Fixture::new();
            let user = SigningKey::generate().expect("random");
            let mut directory = UserDirectory::default();
            directory.apply(record(&fixture.root, &user, "alice", 1, true));
            directory.apply(record(&fixture.root, &user, "bob", 1, true));
            Self {
                fixture,
                directory,
                user,
                channel: SigningKey::generate().expect("random"),
            }
        }

        fn session(&self, issuer: &SigningKey, user: &str, key: &SigningKey) -> Vec<u8> {
            let body = Session {
                user: user.parse().expect("a name"),
                session_key: key.verifying_key(),
                expires_ms: 100,
            };
            Verified::issue(&self.fixture.realm(), issuer, 1, body)
                .bytes()
                .to_vec()
        }

        fn receipt(&self, issuer: &SigningKey, user: &str, key: &SigningKey) -> Vec<u8> {
            let body = Receipt {
                user: user.parse().expect("a name"),
                user_key: self.user.verifying_key(),
                session_key: key.verifying_key(),
                expires_ms: 200,
            };
            Verified::issue(&self.fixture.realm(), issuer, 1, body)
                .bytes()
                .to_vec()
        }

        fn judge(&self, session: &[u8], receipt: &[u8], now: u64) -> Result<(), SessionError> {
            verify_session(
                &self.fixture.roster(),
                &self.directory,
                session,
                receipt,
                &self.channel.verifying_key(),
                now,
            )
            .map(|authenticated| assert_eq!(authenticated.expires_ms, 100))
        }
    }

    #[test]
    fn user_key_and_node_together_make_a_session() {
        let login = Login::new();
        let session = login.session(&login.user, "alice", &login.channel);
        let receipt = login.receipt(&login.fixture.nodes[2], "alice", &login.channel);
        assert_eq!(login.judge(&session, &receipt, 99), Ok(()));
        assert_eq!(
            login.judge(&session, &receipt, 100),
            Err(SessionError::Expired)
        );
    }

    #[test]
    fn neither_a_node_nor_a_user_makes_a_session_alone() {
        let login = Login::new();
        let node = &login.fixture.nodes[0];
        let session = login.session(&login.user, "alice", &login.channel);
        let receipt = login.receipt(node, "alice", &login.channel);
        let by_node = login.session(node, "alice", &login.channel);
        let by_user = login.receipt(&login.user, "alice", &login.channel);
        let by_root = login.receipt(&login.fixture.root, "alice", &login.channel);
        assert_eq!(
            login.judge(&by_node, &receipt, 1),
            Err(SessionError::Statement(StatementError::WrongIssuer))
        );
        assert_eq!(
            login.judge(&session, &by_user, 1),
            Err(SessionError::NoNode)
        );
        assert_eq!(
            login.judge(&session, &by_root, 1),
            Err(SessionError::NoNode)
        );
    }

    #[test]
    fn a_session_belongs_to_one_key_and_one_user() {
        let login = Login::new();
        let node = &login.fixture.nodes[0];
        let stranger = SigningKey::generate().expect("random");
        let session = login.session(&login.user, "alice", &login.channel);
        let receipt = login.receipt(node, "alice", &login.channel);
        let cases = [
            (
                login.session(&login.user, "alice", &stranger),
                receipt.clone(),
                SessionError::OtherKey,
            ),
            (
                session.clone(),
                login.receipt(node, "alice", &stranger),
                SessionError::OtherKey,
            ),
            (
                session.clone(),
                login.receipt(node, "bob", &login.channel),
                SessionError::User,
            ),
            (
                login.session(&login.user, "carol", &login.channel),
                receipt,
                SessionError::User,
            ),
        ];
        for (session, receipt, expected) in cases {
            assert_eq!(login.judge(&session, &receipt, 1), Err(expected));
        }
    }

    #[test]
    fn disabling_a_user_or_changing_the_password_ends_sessions() {
        let mut login = Login::new();
        let session = login.session(&login.user, "alice", &login.channel);
        let receipt = login.receipt(&login.fixture.nodes[0], "alice", &login.channel);
        let held = verify_session(
            &login.fixture.roster(),
            &login.directory,
            &session,
            &receipt,
            &login.channel.verifying_key(),
            1,
        )
        .expect("believed");
        assert!(held.still_holds(&login.directory, 99));
        assert!(!held.still_holds(&login.directory, 100));

        let changed = SigningKey::generate().expect("random");
        login
            .directory
            .apply(record(&login.fixture.root, &changed, "alice", 2, true));
        assert!(!held.still_holds(&login.directory, 1));
        assert!(login.judge(&session, &receipt, 1).is_err());

        login
            .directory
            .apply(record(&login.fixture.root, &login.user, "alice", 3, false));
        assert!(!held.still_holds(&login.directory, 1));
        assert_eq!(login.judge(&session, &receipt, 1), Err(SessionError::User));
    }
}
