//! Believing a session: a key of the user and a node both have to say so.

use sealmoot_crypto::signature::{KeyId, VerifyingKey};

pub mod client;

/// Messages and stubs of the session service, generated from
/// `authn/proto/sessions.proto`.
pub mod proto {
    sealmoot_rpc::include_proto!("sealmoot.sessions.v1");
}

use crate::name::Name;
use crate::policy::{Allowed, Denied, NamedRoles, Role};
use crate::roster::Roster;
use crate::statement::{Claim, EnrolledKey, Receipt, Session, StatementError, User};
use crate::users::UserDirectory;

/// How long a session lasts unless the client asks for less, in milliseconds.
pub const SESSION_LIFETIME_MS: u64 = 12 * 60 * 60 * 1000;

/// Longest session that there is, in milliseconds.
pub const LIFETIME_MS_MAX: u64 = 30 * 24 * 60 * 60 * 1000;
/// How far two clocks may be apart, in milliseconds, before a session of the longest
/// kind is refused.
pub const CLOCKS_APART_MS_MAX: u64 = 24 * 60 * 60 * 1000;

/// The latest end that a session may have which is judged now. Whoever issues one that
/// ends later, by fault or by malice, has issued none.
#[must_use]
pub fn latest_end(now_ms: u64) -> u64 {
    now_ms.saturating_add(LIFETIME_MS_MAX + CLOCKS_APART_MS_MAX)
}

/// Why a session was not believed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SessionError {
    /// One of the statements is not to be believed.
    #[error(transparent)]
    Statement(#[from] StatementError),
    /// The user does not exist, is disabled, or changed the password since; or the
    /// receipt is for another key than the session's.
    #[error("the session's user is unknown, disabled or changed")]
    User,
    /// The session or the receipt speaks for another key than the channel's.
    #[error("the session belongs to another key")]
    OtherKey,
    /// The receipt is by no node of the roster.
    #[error("the receipt was issued by no node of this cluster")]
    NoNode,
    /// The receipt is by a node that is believed no more.
    #[error("the receipt was issued by a node that was revoked")]
    RevokedNode,
    /// It was revoked.
    #[error("the session was revoked")]
    Revoked,
    /// The time is up.
    #[error("the session has expired")]
    Expired,
    /// It would last longer than any may.
    #[error("the session would last longer than any may")]
    TooLong,
    /// The receipt was issued at a time that has not come, by any clock that may be right.
    #[error("the receipt is dated in the future")]
    Ahead,
}

/// Why a request in a session is not allowed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotAllowed {
    /// The session holds no longer.
    #[error("the session has ended")]
    Ended,
    /// No rule of the user's allows it.
    #[error(transparent)]
    Denied(#[from] Denied),
    /// The user's roles allow it, and the delegate who made the user may not.
    #[error("{0}: it is more than the delegate has who made the user")]
    NotDelegated(#[source] Denied),
    /// The user may, the key that logged in may not.
    #[error("{0}: the key that logged in is narrowed to other rights")]
    Narrowed(#[source] Denied),
}

/// A client whose session was believed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Authenticated {
    /// For whom it speaks.
    pub user: Name,
    /// The key of the user that signed the session: a record without it ends the
    /// session.
    pub user_key: VerifyingKey,
    /// The session's key, which names the session.
    pub key: KeyId,
    /// The key of the node that issued the receipt.
    pub node: KeyId,
    /// When that node proved the login, in milliseconds since 1970 by its clock.
    pub issued_ms: u64,
    /// Until when, in milliseconds since 1970.
    pub expires_ms: u64,
    /// How long it may go unused, in milliseconds; 0 without end.
    pub idle_ms: u64,
    /// The enrolled key that signed the session, as it was when the channel opened;
    /// none when it was the one that the password opens.
    pub enrolled: Option<EnrolledKey>,
}

impl Authenticated {
    /// Whether the session still holds: users may be disabled, deleted, given
    /// another password or deprived of a key while their channel is open, and the
    /// session may be revoked.
    #[must_use]
    pub fn still_holds(&self, directory: &UserDirectory, now_ms: u64) -> bool {
        now_ms < self.expires_ms
            && !is_revoked(directory, &self.key, &self.user, self.issued_ms)
            && !directory.is_node_revoked(&self.node)
            && directory
                .active(&self.user, now_ms)
                .is_some_and(|record| self.is_signed_for(record.user()))
    }

    /// Whether it has gone unused for as long as it may or longer, when it was used
    /// last at `last_used_ms`. Who uses it is seen by each node for itself.
    #[must_use]
    pub fn is_idle(&self, last_used_ms: u64, now_ms: u64) -> bool {
        self.idle_ms != 0 && now_ms.saturating_sub(last_used_ms) >= self.idle_ms
    }

    /// Judges a request by what the record says now: `judge` has to allow it by the
    /// user's roles, by what was delegated to who made the user, unless that is the
    /// root, and by the rules to which the session's key narrows them, if it does. This
    /// is the one way to a session's rights: whoever took the user's roles would give a
    /// narrowed key all of them.
    ///
    /// # Errors
    /// [`NotAllowed`].
    pub fn decide(
        &self,
        directory: &UserDirectory,
        now_ms: u64,
        judge: impl Fn(&str, &[Role], &NamedRoles) -> Result<Allowed, Denied>,
    ) -> Result<Allowed, NotAllowed> {
        if !self.still_holds(directory, now_ms) {
            return Err(NotAllowed::Ended);
        }
        let record = directory
            .active(&self.user, now_ms)
            .ok_or(NotAllowed::Ended)?;
        let user = self.user.as_str();
        let allowed = judge(user, &record.user().roles, directory.roles())?;
        // A role with a name may have grown since it was handed out.
        if let Some(bounds) = record.bounds() {
            judge(user, &bounds, directory.roles()).map_err(NotAllowed::NotDelegated)?;
        }
        let Some(rules) = self.narrowed_to() else {
            return Ok(allowed);
        };
        judge(user, rules, directory.roles()).map_err(NotAllowed::Narrowed)
    }

    /// The rules to which the session's key narrows the user's rights, if it does.
    /// A request has to be allowed by the user's roles and by these.
    #[must_use]
    fn narrowed_to(&self) -> Option<&[Role]> {
        let narrowing = self.enrolled.as_ref()?.narrowing.as_ref();
        narrowing.map(|narrowing| narrowing.rules())
    }

    /// Whether the record still has the key that signed the session. An enrolled key
    /// has to be the same in all respects: one that was narrowed meanwhile must not
    /// act by its former rights.
    fn is_signed_for(&self, user: &User) -> bool {
        match &self.enrolled {
            None => user.user_key == Some(self.user_key),
            Some(enrolled) => user.enrolled(&enrolled.id) == Some(enrolled),
        }
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
        .active(&session.claimed().user, now_ms)
        .ok_or(SessionError::User)?;
    // Which key signed it is read from the session and looked for in the record: only
    // the user's own and the enrolled ones can issue it.
    let user_key = *session.issuer();
    let enrolled = record.user().enrolled_with(&user_key).cloned();
    if enrolled.is_none() && record.user().user_key != Some(user_key) {
        return Err(StatementError::WrongIssuer.into());
    }
    let session = session.verify(&realm, &user_key)?;

    let receipt = Claim::<Receipt>::decode(receipt)?;
    let issuer = roster
        .members()
        .iter()
        .find(|member| member.key == *receipt.issuer())
        .ok_or(SessionError::NoNode)?;
    let node = issuer.key.key_id();
    // Whatever its time: who has the node's key writes any.
    if directory.is_node_revoked(&node) {
        return Err(SessionError::RevokedNode);
    }
    let receipt = receipt.verify(&realm, &issuer.key)?;
    let issued_ms = receipt.issued_ms();

    let (session, receipt) = (session.body(), receipt.body());
    if receipt.user != session.user || receipt.user_key != user_key {
        return Err(SessionError::User);
    }
    if session.session_key != *channel_key || receipt.session_key != *channel_key {
        return Err(SessionError::OtherKey);
    }
    let expires_ms = session.expires_ms.min(receipt.expires_ms);
    let expires_ms = match &enrolled {
        Some(enrolled) => enrolled.bound(expires_ms),
        None => expires_ms,
    };
    if now_ms >= expires_ms {
        return Err(SessionError::Expired);
    }
    // Both of them: one clock that is wrong, or one issuer that lies, is not cured by
    // the other's being right.
    if session.expires_ms.max(receipt.expires_ms) > latest_end(now_ms) {
        return Err(SessionError::TooLong);
    }
    // The receipt's times rest on each other and on the clock: by the first a session of
    // a user is revoked, and a revocation is forgotten when none that it concerned can
    // hold any longer. A node that dates a receipt ahead, or has it end later than any
    // does, would make one that escapes either.
    if issued_ms > now_ms.saturating_add(CLOCKS_APART_MS_MAX) {
        return Err(SessionError::Ahead);
    }
    if receipt.expires_ms > issued_ms.saturating_add(LIFETIME_MS_MAX) {
        return Err(SessionError::TooLong);
    }
    let key = channel_key.key_id();
    if is_revoked(directory, &key, &session.user, issued_ms) {
        return Err(SessionError::Revoked);
    }
    Ok(Authenticated {
        user: session.user.clone(),
        user_key,
        key,
        node,
        issued_ms,
        expires_ms,
        idle_ms: session.idle_ms,
        enrolled,
    })
}

/// Whether the root ended it before its time, or it did itself. By the receipt's time, which a node gave,
/// and not by the session's: whoever stole a user's key would date that as he liked.
fn is_revoked(directory: &UserDirectory, key: &KeyId, user: &Name, issued_ms: u64) -> bool {
    let revoked = directory.revoked_sessions();
    directory.ended().contains(key)
        || revoked.is_some_and(|revoked| revoked.revokes(key, user, issued_ms))
}

#[cfg(test)]
mod key_tests;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::records::RevokedSessionsRecord;
    use crate::roster::tests::Fixture;
    use crate::statement::{RevokedSessions, Verified};
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
            self.session_until(100, issuer, user, key)
        }

        fn session_until(
            &self,
            expires_ms: u64,
            issuer: &SigningKey,
            user: &str,
            key: &SigningKey,
        ) -> Vec<u8> {
            let body = Session {
                user: user.parse().expect("a name"),
                session_key: key.verifying_key(),
                expires_ms,
                idle_ms: 0,
            };
            Verified::issue(&self.fixture.realm(), issuer, 1, body)
                .bytes()
                .to_vec()
        }

        fn receipt(&self, issuer: &SigningKey, user: &str, key: &SigningKey) -> Vec<u8> {
            self.receipt_until(200, issuer, user, key)
        }

        fn receipt_until(
            &self,
            expires_ms: u64,
            issuer: &SigningKey,
            user: &str,
            key: &SigningKey,
        ) -> Vec<u8> {
            self.receipt_of(1, expires_ms, issuer, user, key)
        }

        fn receipt_of(
            &self,
            issued_ms: u64,
            expires_ms: u64,
            issuer: &SigningKey,
            user: &str,
            key: &SigningKey,
        ) -> Vec<u8> {
            let body = Receipt {
                user: user.parse().expect("a name"),
                user_key: self.user.verifying_key(),
                session_key: key.verifying_key(),
                expires_ms,
            };
            Verified::issue(&self.fixture.realm(), issuer, issued_ms, body)
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
    fn a_revoked_nodes_receipts_make_no_session_whenever_they_were_issued() {
        let mut login = Login::new();
        let session = login.session(&login.user, "alice", &login.channel);
        let of = |node: usize| login.receipt(&login.fixture.nodes[node], "alice", &login.channel);
        let (by_first, by_second) = (of(0), of(1));
        let open = verify_session(
            &login.fixture.roster(),
            &login.directory,
            &session,
            &by_first,
            &login.channel.verifying_key(),
            1,
        );
        let open = open.expect("it holds");
        assert!(open.still_holds(&login.directory, 1));
        let node = login.fixture.nodes[0].verifying_key().key_id();
        let record =
            crate::records::revoked_nodes::tests::revoking(&login.fixture.root, 1, &[node]);
        assert!(login.directory.apply_signed(record.into()));
        assert!(!open.still_holds(&login.directory, 1));
        assert_eq!(
            login.judge(&session, &by_first, 1),
            Err(SessionError::RevokedNode)
        );
        assert_eq!(login.judge(&session, &by_second, 1), Ok(()));
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
    fn nobody_makes_a_session_for_ever() {
        let login = Login::new();
        let (node, now) = (&login.fixture.nodes[0], 1);
        let session = |until| login.session_until(until, &login.user, "alice", &login.channel);
        let receipt = |until| login.receipt_until(until, node, "alice", &login.channel);
        let end = latest_end(now);
        for until in [end + 1, u64::MAX] {
            for (session, receipt) in [
                (session(until), receipt(until)),
                (session(100), receipt(until)),
                (session(until), receipt(100)),
            ] {
                assert_eq!(
                    login.judge(&session, &receipt, now),
                    Err(SessionError::TooLong)
                );
            }
        }
        let longest = 1 + LIFETIME_MS_MAX;
        assert_eq!(login.judge(&session(100), &receipt(longest), now), Ok(()));
        let longer = receipt(longest + 1);
        assert_eq!(
            login.judge(&session(100), &longer, now),
            Err(SessionError::TooLong)
        );
    }

    #[test]
    fn a_receipt_that_is_dated_ahead_of_all_clocks_makes_no_session() {
        let login = Login::new();
        let node = &login.fixture.nodes[0];
        let session = login.session(&login.user, "alice", &login.channel);
        let ahead = 1 + CLOCKS_APART_MS_MAX;
        let receipt = |issued| login.receipt_of(issued, ahead + 10, node, "alice", &login.channel);
        assert_eq!(login.judge(&session, &receipt(ahead), 1), Ok(()));
        for issued in [ahead + 1, u64::MAX - 1, u64::MAX] {
            let refused = login.judge(&session, &receipt(issued), 1);
            assert_eq!(refused, Err(SessionError::Ahead), "{issued}");
        }
    }

    #[test]
    fn no_session_outlives_a_revocation_of_its_key() {
        let login = Login::new();
        let node = &login.fixture.nodes[0];
        let revoked_ms = 1000;
        let mut revoked = RevokedSessions::default();
        let key = login.channel.verifying_key().key_id();
        revoked.revoke_key(key, revoked_ms).expect("room");
        let forgotten_ms = latest_end(revoked_ms);
        revoked.forget_past(forgotten_ms);
        assert_eq!(revoked, RevokedSessions::default());
        // As late as a receipt could be dated that came before the revocation, and ending
        // whenever its node likes.
        let latest = revoked_ms + CLOCKS_APART_MS_MAX;
        for issued in [1, revoked_ms, latest] {
            for expires in [forgotten_ms + 1, latest_end(forgotten_ms)] {
                let session = login.session_until(expires, &login.user, "alice", &login.channel);
                let receipt = login.receipt_of(issued, expires, node, "alice", &login.channel);
                let refused = login.judge(&session, &receipt, forgotten_ms);
                assert_eq!(refused, Err(SessionError::TooLong), "{issued} {expires}");
            }
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

    fn revoked(login: &mut Login, version: u64, revoke: impl FnOnce(&mut RevokedSessions)) {
        let mut revoked = RevokedSessions::default();
        revoke(&mut revoked);
        revoked.version = version;
        let statement = Verified::issue(&login.fixture.realm(), &login.fixture.root, 1, revoked);
        let record = RevokedSessionsRecord::new(statement);
        assert!(login.directory.apply_signed(record.into()));
    }

    #[test]
    fn a_revoked_session_is_over_and_no_later_one_of_its_key_holds() {
        let mut login = Login::new();
        let session = login.session(&login.user, "alice", &login.channel);
        let receipt = login.receipt(&login.fixture.nodes[0], "alice", &login.channel);
        let key = login.channel.verifying_key().key_id();
        let other = login.user.verifying_key().key_id();
        let held = verify_session(
            &login.fixture.roster(),
            &login.directory,
            &session,
            &receipt,
            &login.channel.verifying_key(),
            1,
        )
        .expect("believed");
        revoked(&mut login, 1, |revoked| {
            revoked.revoke_key(other, 1).expect("room");
        });
        assert!(held.still_holds(&login.directory, 1));
        assert_eq!(login.judge(&session, &receipt, 1), Ok(()));
        revoked(&mut login, 2, |revoked| {
            revoked.revoke_key(key, 1).expect("room");
        });
        assert!(!held.still_holds(&login.directory, 1));
        assert_eq!(
            login.judge(&session, &receipt, 1),
            Err(SessionError::Revoked)
        );
    }

    #[test]
    fn all_sessions_of_a_user_end_by_when_a_node_made_them_and_later_ones_hold() {
        let mut login = Login::new();
        let session = login.session(&login.user, "alice", &login.channel);
        // Issued at 1, like all of this fixture.
        let receipt = login.receipt(&login.fixture.nodes[0], "alice", &login.channel);
        let user = |text: &str| text.parse::<Name>().expect("a name");
        for (version, (name, before, ends)) in
            [("bob", 50, false), ("alice", 1, false), ("alice", 2, true)]
                .into_iter()
                .enumerate()
        {
            revoked(&mut login, version as u64 + 1, |revoked| {
                revoked.revoke_user(user(name), before).expect("room");
            });
            let judged = login.judge(&session, &receipt, 1);
            assert_eq!(
                judged == Err(SessionError::Revoked),
                ends,
                "{name} {before}"
            );
        }
    }

    #[test]
    fn a_session_without_an_idle_limit_is_never_idle() {
        let login = Login::new();
        let session = login.session(&login.user, "alice", &login.channel);
        let receipt = login.receipt(&login.fixture.nodes[0], "alice", &login.channel);
        let mut held = verify_session(
            &login.fixture.roster(),
            &login.directory,
            &session,
            &receipt,
            &login.channel.verifying_key(),
            1,
        )
        .expect("believed");
        assert!(!held.is_idle(0, u64::MAX));
        held.idle_ms = 10;
        assert!(!held.is_idle(5, 14));
        assert!(held.is_idle(5, 15));
        assert!(!held.is_idle(20, 15), "a clock that was set back");
    }
}
