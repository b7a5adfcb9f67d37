//! The invite file: what a machine needs to become one named node.
//!
//! ```text
//! offset length
//!      0      4  "SMIN"
//!      4      1  version, 1
//!      5     32  the realm's root public key
//!     37    4+n  the call, a statement by the root
//!   41+n      4  which member of the call this invite is for
//!   45+n     32  seed of that member's one-time key: the secret
//!   77+n      4  number of user records, and then each with its length
//! ```
//!
//! It is a secret until it is used, and worthless after.

use sealmoot_crypto::encoding::{EncodingError, Reader, Writer};
use sealmoot_crypto::secret::{SecretArray, SecretBytes};
use sealmoot_crypto::signature::{SigningKey, VerifyingKey};

use crate::realm_id::RealmId;
use crate::roster::verify_call;
use crate::statement::{
    Call, CallMember, NODES_MAX, STATEMENT_LENGTH_MAX, StatementError, Verified,
};
use crate::users::{RECORD_LENGTH_MAX, RecordError, UserRecord};

const MAGIC: &[u8; 4] = b"SMIN";
const VERSION: u8 = 1;
/// Most user records in an invite.
pub const RECORDS_MAX: usize = 100_000;
/// Longest invite file in bytes.
pub const INVITE_LENGTH_MAX: usize = 256 * 1024 * 1024;

/// Why an invite was not accepted.
#[derive(Debug, thiserror::Error)]
pub enum InviteError {
    /// The bytes are no invite.
    #[error("not an invite: {0}")]
    Malformed(#[from] EncodingError),
    /// The call in it is not to be believed.
    #[error("the invite's call is forged: {0}")]
    Call(#[from] StatementError),
    /// The one-time key is not the one that the call names.
    #[error("the invite's key is not the one that the realm invited")]
    WrongKey,
    /// A user record in it is not to be believed.
    #[error("a user record in the invite is forged: {0}")]
    Record(#[from] RecordError),
    /// Its time is up.
    #[error("the invite expired")]
    Expired,
}

/// An invite whose content was verified against the root key that it carries.
pub struct Invite {
    root: VerifyingKey,
    call: Verified<Call>,
    index: usize,
    key: SigningKey,
    records: Vec<UserRecord>,
}

impl Invite {
    /// Makes the invite for one member of a call.
    ///
    /// # Panics
    /// When `index` is not a member of the call, which is a fault of the caller.
    #[must_use]
    pub fn encode(
        root: &VerifyingKey,
        call: &Verified<Call>,
        index: usize,
        seed: &SecretArray<32>,
        records: &[UserRecord],
    ) -> SecretBytes {
        assert!(index < call.body().members.len());
        let records: Vec<Vec<u8>> = records.iter().map(UserRecord::encode).collect();
        let length: usize = records.iter().map(|record| record.len() + 4).sum();
        let mut writer = Writer::with_capacity(128 + call.bytes().len() + length);
        writer.fixed(MAGIC);
        writer.u8(VERSION);
        writer.fixed(&root.to_bytes());
        writer.bytes(call.bytes());
        writer.count(index);
        writer.fixed(seed.expose());
        writer.count(records.len());
        for record in &records {
            writer.bytes(record);
        }
        SecretBytes::new(writer.finish())
    }

    /// Reads an invite and verifies everything in it but its time.
    ///
    /// # Errors
    /// [`InviteError`].
    pub fn decode(bytes: &[u8]) -> Result<Self, InviteError> {
        let mut reader = Reader::new(bytes);
        if reader.fixed(4)? != MAGIC {
            return Err(EncodingError::Invalid("it does not begin with SMIN").into());
        }
        let version = reader.u8()?;
        if version != VERSION {
            return Err(EncodingError::Unknown {
                what: "invite version",
                value: u64::from(version),
            }
            .into());
        }
        let root = crate::statement::read_key(&mut reader)?;
        let call = verify_call(reader.bytes(STATEMENT_LENGTH_MAX)?, &root)?;
        let index = reader.count(NODES_MAX)?;
        let key = SigningKey::from_seed(&SecretArray::from_bytes(reader.array()?));
        let count = reader.count(RECORDS_MAX)?;
        let mut records = Vec::new();
        for _ in 0..count {
            let record = reader.bytes(RECORD_LENGTH_MAX)?;
            records.push(UserRecord::decode(record, &root)?);
        }
        reader.finish()?;
        let called = call.body().members.get(index);
        if called.is_none_or(|member| member.invite_key != key.verifying_key()) {
            return Err(InviteError::WrongKey);
        }
        Ok(Self {
            root,
            call,
            index,
            key,
            records,
        })
    }

    /// The realm that invites.
    #[must_use]
    pub fn realm(&self) -> RealmId {
        RealmId::of(&self.root)
    }

    /// The realm's root key.
    #[must_use]
    pub fn root(&self) -> &VerifyingKey {
        &self.root
    }

    /// The call that the invite is part of.
    #[must_use]
    pub fn call(&self) -> &Verified<Call> {
        &self.call
    }

    /// Who is invited.
    #[must_use]
    pub fn member(&self) -> &CallMember {
        &self.call.body().members[self.index]
    }

    /// The one-time key.
    #[must_use]
    pub fn key(&self) -> &SigningKey {
        &self.key
    }

    /// The users known when the invite was made.
    #[must_use]
    pub fn records(&self) -> &[UserRecord] {
        &self.records
    }

    /// Whether the invite may still be used.
    ///
    /// # Errors
    /// [`InviteError::Expired`].
    pub fn check_time(&self, now_ms: u64) -> Result<(), InviteError> {
        if now_ms >= self.call.body().expires_ms {
            return Err(InviteError::Expired);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::roster::tests::Fixture;
    use crate::users::tests::record;

    fn sample() -> (Fixture, SecretBytes) {
        let fixture = Fixture::new();
        let user = SigningKey::generate().expect("random");
        let bytes = Invite::encode(
            &fixture.root.verifying_key(),
            &fixture.call,
            1,
            &fixture.invites[1].to_seed(),
            &[record(&fixture.root, &user, "alice", 1, true)],
        );
        (fixture, bytes)
    }

    #[test]
    fn an_invite_carries_its_member_key_and_users() {
        let (fixture, bytes) = sample();
        let invite = Invite::decode(bytes.expose()).expect("valid");
        assert_eq!(invite.realm(), fixture.realm());
        assert_eq!(invite.member().name.as_str(), "n1");
        assert_eq!(invite.records().len(), 1);
        assert!(invite.check_time(999).is_ok());
        assert!(matches!(invite.check_time(1000), Err(InviteError::Expired)));
    }

    #[test]
    fn every_changed_byte_and_every_truncation_is_refused() {
        let (_, bytes) = sample();
        for index in 0..bytes.len() {
            let mut changed = bytes.expose().to_vec();
            changed[index] ^= 0x20;
            assert!(Invite::decode(&changed).is_err(), "{index}");
            assert!(Invite::decode(&bytes.expose()[..index]).is_err());
        }
    }

    #[test]
    fn the_key_of_another_invite_of_the_call_is_refused() {
        let fixture = Fixture::new();
        let bytes = Invite::encode(
            &fixture.root.verifying_key(),
            &fixture.call,
            0,
            &fixture.invites[1].to_seed(),
            &[],
        );
        assert!(matches!(
            Invite::decode(bytes.expose()),
            Err(InviteError::WrongKey)
        ));
    }
}
