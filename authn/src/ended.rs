//! Sessions that ended themselves: who logs out signs so with the session's key.
//!
//! Such an end is no act of the root, so it has a record of its own, one for each
//! session key:
//!
//! ```text
//! u8 7, ended session statement (by the session key), receipt (by a node)
//! ```
//!
//! each statement behind its length. The session key alone ends what it speaks for. The
//! receipt says whose session it was, and that there was one: keys are made by anybody,
//! and a table of ends has to be bounded.

mod table;

use sealmoot_crypto::digest::sha256;
use sealmoot_crypto::encoding::{EncodingError, Reader, Writer};
use sealmoot_crypto::signature::{KeyId, SigningKey};

use crate::name::Name;
use crate::realm_id::RealmId;
use crate::roster::Roster;
use crate::session::latest_end;
use crate::statement::{
    Claim, EndedSession, Receipt, STATEMENT_LENGTH_MAX, StatementError, Verified,
};

pub use table::{
    ENDED_BUCKETS, ENDED_DIGESTS_LENGTH, ENDED_OF_NODE_MAX, ENDED_OF_USER_MAX, EndedSessions,
    NoRoom,
};

/// First byte among the signed records of all kinds.
pub const ENDED_TAG: u8 = 7;
/// Longest encoded record in bytes.
pub const ENDED_LENGTH_MAX: usize = 1024;

/// Why the end of a session was not believed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EndedError {
    /// The bytes are no such record.
    #[error("not the end of a session: {0}")]
    Malformed(#[from] EncodingError),
    /// One of the statements is not to be believed.
    #[error(transparent)]
    Statement(#[from] StatementError),
    /// Another key than the session's says so.
    #[error("another key than the session's says that the session ended")]
    OtherKey,
    /// The receipt is by no node of the roster.
    #[error("the receipt was issued by no node of this cluster")]
    NoNode,
    /// It would have to be remembered for longer than any session lasts.
    #[error("it would be remembered for longer than any session lasts")]
    TooLong,
    /// Nothing is left that it could end.
    #[error("what it ends is over already")]
    Over,
}

/// The end of a session, as its own key signed it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ended {
    key: KeyId,
    user: Name,
    /// Of the node that issued the receipt.
    node: KeyId,
    until_ms: u64,
    digest: [u8; 32],
    bytes: Vec<u8>,
}

impl Ended {
    /// The record by which the holder of `session_key` ends what it speaks for.
    /// `until_ms` is when all sessions that were ever made with it are over.
    #[must_use]
    pub fn issue(
        realm: &RealmId,
        session_key: &SigningKey,
        receipt: &[u8],
        until_ms: u64,
        now_ms: u64,
    ) -> Vec<u8> {
        let statement = Verified::issue(realm, session_key, now_ms, EndedSession { until_ms });
        let mut writer = Writer::new();
        writer.u8(ENDED_TAG);
        writer.bytes(statement.bytes());
        writer.bytes(receipt);
        writer.finish()
    }

    /// Believes a record if the session key signed it and a node of the roster the
    /// receipt for that key. Nothing else counts that may change: whoever has the same
    /// roster believes the same, whatever became of the user.
    ///
    /// # Errors
    /// [`EndedError`], without those about the time.
    pub fn decode(bytes: &[u8], roster: &Roster) -> Result<Self, EndedError> {
        if bytes.len() > ENDED_LENGTH_MAX {
            return Err(EncodingError::TooLong {
                offset: 0,
                length: bytes.len() as u64,
                maximum: ENDED_LENGTH_MAX as u64,
            }
            .into());
        }
        let mut reader = Reader::new(bytes);
        let tag = reader.u8()?;
        if tag != ENDED_TAG {
            return Err(EncodingError::Unknown {
                what: "kind of record",
                value: u64::from(tag),
            }
            .into());
        }
        let ended = Claim::<EndedSession>::decode(reader.bytes(STATEMENT_LENGTH_MAX)?)?;
        let receipt = Claim::<Receipt>::decode(reader.bytes(STATEMENT_LENGTH_MAX)?)?;
        reader.finish()?;
        let realm = roster.realm();
        let node = roster
            .member_with_key(receipt.issuer())
            .ok_or(EndedError::NoNode)?;
        let receipt = receipt.verify(&realm, &node.key)?.into_body();
        if *ended.issuer() != receipt.session_key {
            return Err(EndedError::OtherKey);
        }
        let ended = ended.verify(&realm, &receipt.session_key)?;
        Ok(Self {
            key: receipt.session_key.key_id(),
            user: receipt.user,
            node: node.key.key_id(),
            until_ms: ended.body().until_ms,
            digest: sha256(bytes),
            bytes: bytes.to_vec(),
        })
    }

    /// Whether it is worth remembering now, and not for too long.
    ///
    /// # Errors
    /// [`EndedError::Over`], [`EndedError::TooLong`].
    pub fn check_now(&self, now_ms: u64) -> Result<(), EndedError> {
        if self.until_ms <= now_ms {
            return Err(EndedError::Over);
        }
        if self.until_ms > latest_end(now_ms) {
            return Err(EndedError::TooLong);
        }
        Ok(())
    }

    /// The session's key, which names the session.
    #[must_use]
    pub fn key(&self) -> &KeyId {
        &self.key
    }

    /// Whose session it was.
    #[must_use]
    pub fn user(&self) -> &Name {
        &self.user
    }

    /// Until when it is remembered, in milliseconds since 1970.
    #[must_use]
    pub fn until_ms(&self) -> u64 {
        self.until_ms
    }

    /// The record's bytes.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::roster::tests::Fixture;
    use crate::session::LIFETIME_MS_MAX;

    pub(crate) fn receipt(fixture: &Fixture, node: &SigningKey, key: &SigningKey) -> Vec<u8> {
        receipt_of(fixture, node, key, "alice")
    }

    pub(crate) fn receipt_of(
        fixture: &Fixture,
        node: &SigningKey,
        key: &SigningKey,
        user: &str,
    ) -> Vec<u8> {
        let body = Receipt {
            user: user.parse().expect("a name"),
            user_key: fixture.root.verifying_key(),
            session_key: key.verifying_key(),
            expires_ms: 500,
        };
        Verified::issue(&fixture.realm(), node, 1, body)
            .bytes()
            .to_vec()
    }

    fn key() -> SigningKey {
        SigningKey::generate().expect("random")
    }

    #[test]
    fn a_session_ends_itself() {
        let (fixture, session) = (Fixture::new(), key());
        let receipt = receipt(&fixture, &fixture.nodes[1], &session);
        let bytes = Ended::issue(&fixture.realm(), &session, &receipt, 600, 10);
        let ended = Ended::decode(&bytes, &fixture.roster()).expect("believed");
        assert_eq!(*ended.key(), session.verifying_key().key_id());
        assert_eq!((ended.user().as_str(), ended.until_ms()), ("alice", 600));
        assert_eq!(ended.bytes(), bytes);
        assert!(bytes.len() < ENDED_LENGTH_MAX);
        assert_eq!(ended.check_now(599), Ok(()));
        assert_eq!(ended.check_now(600), Err(EndedError::Over));
    }

    #[test]
    fn nobody_else_ends_it_a_node_neither() {
        let (fixture, session, other) = (Fixture::new(), key(), key());
        let roster = fixture.roster();
        let receipt = receipt(&fixture, &fixture.nodes[1], &session);
        for issuer in [&other, &fixture.nodes[1], &fixture.nodes[0], &fixture.root] {
            let bytes = Ended::issue(&fixture.realm(), issuer, &receipt, 600, 10);
            assert_eq!(Ended::decode(&bytes, &roster), Err(EndedError::OtherKey));
        }
    }

    #[test]
    fn an_end_without_a_receipt_of_a_node_of_this_cluster_is_refused() {
        let (fixture, session) = (Fixture::new(), key());
        let roster = fixture.roster();
        for issuer in [&session, &fixture.root, &key()] {
            let receipt = receipt(&fixture, issuer, &session);
            let bytes = Ended::issue(&fixture.realm(), &session, &receipt, 600, 10);
            assert_eq!(Ended::decode(&bytes, &roster), Err(EndedError::NoNode));
        }
        let elsewhere = Fixture::new();
        let foreign = receipt(&elsewhere, &fixture.nodes[0], &session);
        let bytes = Ended::issue(&fixture.realm(), &session, &foreign, 600, 10);
        assert_eq!(
            Ended::decode(&bytes, &roster),
            Err(EndedError::Statement(StatementError::WrongRealm))
        );
        let receipt = receipt(&fixture, &fixture.nodes[0], &session);
        let bytes = Ended::issue(&elsewhere.realm(), &session, &receipt, 600, 10);
        assert_eq!(
            Ended::decode(&bytes, &roster),
            Err(EndedError::Statement(StatementError::WrongRealm))
        );
    }

    #[test]
    fn no_changed_byte_and_no_truncation_is_believed() {
        let (fixture, session) = (Fixture::new(), key());
        let roster = fixture.roster();
        let receipt = receipt(&fixture, &fixture.nodes[0], &session);
        let bytes = Ended::issue(&fixture.realm(), &session, &receipt, 600, 10);
        for index in 0..bytes.len() {
            let mut changed = bytes.clone();
            changed[index] ^= 1;
            assert!(Ended::decode(&changed, &roster).is_err(), "{index}");
            assert!(Ended::decode(&bytes[..index], &roster).is_err(), "{index}");
        }
        let mut longer = bytes;
        longer.push(0);
        assert!(Ended::decode(&longer, &roster).is_err());
        longer.resize(ENDED_LENGTH_MAX + 1, 0);
        assert!(matches!(
            Ended::decode(&longer, &roster),
            Err(EndedError::Malformed(EncodingError::TooLong { .. }))
        ));
    }

    #[test]
    fn an_end_for_ever_is_refused() {
        let (fixture, session) = (Fixture::new(), key());
        let receipt = receipt(&fixture, &fixture.nodes[0], &session);
        let check = |until_ms: u64| {
            let bytes = Ended::issue(&fixture.realm(), &session, &receipt, until_ms, 10);
            let ended = Ended::decode(&bytes, &fixture.roster()).expect("believed");
            ended.check_now(10)
        };
        assert_eq!(check(10 + LIFETIME_MS_MAX), Ok(()));
        assert_eq!(check(latest_end(10) + 1), Err(EndedError::TooLong));
        assert_eq!(check(u64::MAX), Err(EndedError::TooLong));
    }
}
