//! The invite file: what a machine needs to become one named node.
//!
//! ```text
//! offset length
//!      0      4  "SMIN"
//!      4      1  version, 4
//!      5    4+m  the realm's roots (see `roots.rs`)
//!    9+m    4+n  the call, a statement by the root
//! 13+m+n      4  which member of the call this invite is for
//!      …     32  seed of that member's one-time key: the secret
//!      …    129  the realm's login secrets (see `opaque/secrets.rs`)
//!      …     32  the realm's public audit key, X25519 (see `audit/first_key.rs`)
//!      …     64  the root's signature over the realm's id, the login secrets and the
//!                audit key
//!      …      4  number of signed records, and then each with its length
//! ```
//!
//! It is a secret until it is used. After that its key is worthless, but the login
//! secrets in it are not: they are those of the whole realm.

use std::sync::Arc;

use sealmoot_crypto::encoding::{EncodingError, Reader, Writer};
use sealmoot_crypto::sealed_box::{Kem, PublicKey};
use sealmoot_crypto::secret::{SecretArray, SecretBytes};
use sealmoot_crypto::signature::{Signature, SigningKey};

use crate::audit::first_key::AUDIT_KEY_LENGTH;
use crate::opaque::{LOGIN_SECRETS_LENGTH, LoginSecrets};
use crate::parallel;
use crate::realm_id::RealmId;
use crate::records::{SIGNED_RECORD_LENGTH_MAX, SignedRecord};
use crate::roots::{ROOTS_LENGTH_MAX, Roots, RootsError};
use crate::roster::verify_call;
use crate::statement::{
    Call, CallMember, NODES_MAX, STATEMENT_LENGTH_MAX, StatementError, Verified,
};
use crate::users::{RecordError, USERS_MAX};

const MAGIC: &[u8; 4] = b"SMIN";
// Version 1 had no login secrets, version 2 no audit key and no
// roles among the records, version 3 the root key alone.
const VERSION: u8 = 4;
/// Domain of the signature over the login secrets and the audit key.
const LOGIN_DOMAIN: &str = "login-secrets";
/// Most signed records in an invite: the users of a whole realm, and its roles.
pub const RECORDS_MAX: usize = USERS_MAX + 1;
/// Most bytes of signed records in an invite.
pub const RECORDS_LENGTH_MAX: usize = 512 * 1024 * 1024;
/// Longest invite file in bytes.
pub const INVITE_LENGTH_MAX: usize =
    RECORDS_LENGTH_MAX + 4 * RECORDS_MAX + STATEMENT_LENGTH_MAX + ROOTS_LENGTH_MAX + 512;

/// Why an invite was not accepted.
#[derive(Debug, thiserror::Error)]
pub enum InviteError {
    /// The bytes are no invite.
    #[error("not an invite: {0}")]
    Malformed(#[from] EncodingError),
    /// The realm's roots in it are not to be believed.
    #[error("the invite's roots are forged: {0}")]
    Roots(#[from] RootsError),
    /// A former root issued the call.
    #[error("a former root of the realm issued the invite")]
    OldCall,
    /// The call in it is not to be believed.
    #[error("the invite's call is forged: {0}")]
    Call(#[from] StatementError),
    /// The one-time key is not the one that the call names.
    #[error("the invite's key is not the one that the realm invited")]
    WrongKey,
    /// The login secrets in it are not the realm's.
    #[error("the login secrets in the invite are forged")]
    LoginSecrets,
    /// A signed record in it is not to be believed.
    #[error("a record in the invite is forged: {0}")]
    Record(#[from] RecordError),
    /// Its time is up.
    #[error("the invite expired")]
    Expired,
}

/// An invite whose content was verified against the roots that it carries.
pub struct Invite {
    roots: Roots,
    call: Verified<Call>,
    index: usize,
    key: SigningKey,
    login: Arc<LoginSecrets>,
    audit: PublicKey,
    records: Vec<SignedRecord>,
}

impl Invite {
    /// Makes the invite for one member of a call.
    ///
    /// # Panics
    /// When `index` is not a member of the call, which is a fault of the caller.
    #[must_use]
    #[expect(clippy::too_many_arguments, reason = "each is a part of the file")]
    pub fn encode(
        roots: &Roots,
        root_key: &SigningKey,
        call: &Verified<Call>,
        index: usize,
        seed: &SecretArray<32>,
        login: &LoginSecrets,
        audit: &PublicKey,
        records: &[SignedRecord],
    ) -> SecretBytes {
        assert!(index < call.body().members.len());
        let records: Vec<Vec<u8>> = records.iter().map(SignedRecord::encode).collect();
        let length: usize = records.iter().map(|record| record.len() + 4).sum();
        let roots_record = roots.encode();
        let login = login.encode();
        let audit = audit.to_bytes();
        let signed = signed_login(&roots.realm(), login.expose(), &audit);
        let signature = root_key.sign(LOGIN_DOMAIN, signed.expose());
        // Room for all of it at once: a buffer that grows leaves copies behind.
        let mut writer =
            Writer::with_capacity(512 + roots_record.len() + call.bytes().len() + length);
        writer.fixed(MAGIC);
        writer.u8(VERSION);
        writer.bytes(&roots_record);
        writer.bytes(call.bytes());
        writer.count(index);
        writer.fixed(seed.expose());
        writer.fixed(login.expose());
        writer.fixed(&audit);
        writer.fixed(&signature.to_bytes());
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
        let record = reader.bytes(ROOTS_LENGTH_MAX)?;
        let roots = Roots::decode_unpinned(record)?;
        let call = verify_call(reader.bytes(STATEMENT_LENGTH_MAX)?, &roots)?;
        if !roots.is_call_valid(&call) {
            return Err(InviteError::OldCall);
        }
        let index = reader.count(NODES_MAX)?;
        let key = SigningKey::from_seed(&SecretArray::from_bytes(reader.array()?));
        let (login, audit) = read_login(&mut reader, &roots)?;
        let count = reader.count(RECORDS_MAX)?;
        let mut encoded = Vec::new();
        for _ in 0..count {
            encoded.push(reader.bytes(SIGNED_RECORD_LENGTH_MAX)?);
        }
        reader.finish()?;
        let records = parallel::try_map(&encoded, |record| SignedRecord::decode(record, &roots))?;
        let called = call.body().members.get(index);
        if called.is_none_or(|member| member.invite_key != key.verifying_key()) {
            return Err(InviteError::WrongKey);
        }
        Ok(Self {
            roots,
            call,
            index,
            key,
            login: Arc::new(login),
            audit,
            records,
        })
    }

    /// The realm that invites.
    #[must_use]
    pub fn realm(&self) -> RealmId {
        self.roots.realm()
    }

    /// The realm's roots.
    #[must_use]
    pub fn roots(&self) -> &Roots {
        &self.roots
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

    /// What a node needs to answer logins.
    #[must_use]
    pub fn login(&self) -> &Arc<LoginSecrets> {
        &self.login
    }

    /// To which key the node seals the first key of its audit log.
    #[must_use]
    pub fn audit_key(&self) -> &PublicKey {
        &self.audit
    }

    /// The users and roles known when the invite was made.
    #[must_use]
    pub fn records(&self) -> &[SignedRecord] {
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

/// Reads the login secrets and the audit key, and believes them if the root signed
/// them: whoever can change an invite must not make a node answer with secrets of
/// theirs, nor read or forge its audit log.
fn read_login(
    reader: &mut Reader<'_>,
    roots: &Roots,
) -> Result<(LoginSecrets, PublicKey), InviteError> {
    let encoded = reader.fixed(LOGIN_SECRETS_LENGTH)?;
    let audit = reader.fixed(AUDIT_KEY_LENGTH)?;
    let signature = Signature::from_bytes(reader.array()?);
    let signed_by = roots.current();
    signed_by
        .verify(
            LOGIN_DOMAIN,
            signed_login(&roots.realm(), encoded, audit).expose(),
            &signature,
        )
        .map_err(|_| InviteError::LoginSecrets)?;
    let audit = PublicKey::from_bytes(Kem::X25519, audit)
        .map_err(|_| EncodingError::Invalid("the audit key is malformed"))?;
    Ok((LoginSecrets::decode(encoded)?, audit))
}

fn signed_login(realm: &RealmId, login: &[u8], audit: &[u8]) -> SecretBytes {
    let mut writer = Writer::with_capacity(32 + LOGIN_SECRETS_LENGTH + AUDIT_KEY_LENGTH);
    writer.fixed(realm.as_bytes());
    writer.fixed(login);
    writer.fixed(audit);
    SecretBytes::new(writer.finish())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::records::tests::roles_record;
    use crate::roster::tests::Fixture;
    use crate::users::tests::record;

    fn audit_key() -> PublicKey {
        let key = sealmoot_crypto::sealed_box::PrivateKey::generate(Kem::X25519);
        key.expect("random").public_key()
    }

    fn sample() -> (Fixture, LoginSecrets, SecretBytes) {
        let fixture = Fixture::new();
        let user = SigningKey::generate().expect("random");
        let login = LoginSecrets::generate().expect("random");
        let bytes = Invite::encode(
            &fixture.roots(),
            &fixture.root,
            &fixture.call,
            1,
            &fixture.invites[1].to_seed(),
            &login,
            &audit_key(),
            &[
                record(&fixture.root, &user, "alice", 1, true).into(),
                roles_record(&fixture.root, 1, "app/*:r").into(),
            ],
        );
        (fixture, login, bytes)
    }

    #[test]
    fn an_invite_carries_its_member_key_and_users() {
        let (fixture, login, bytes) = sample();
        let invite = Invite::decode(bytes.expose()).expect("valid");
        assert_eq!(invite.realm(), fixture.realm());
        assert_eq!(invite.member().name.as_str(), "n1");
        assert_eq!(invite.records().len(), 2);
        assert_eq!(invite.login().encode().expose(), login.encode().expose());
        assert!(invite.check_time(999).is_ok());
        assert!(matches!(invite.check_time(1000), Err(InviteError::Expired)));
    }

    #[test]
    fn every_changed_byte_and_every_truncation_is_refused() {
        let (_, _, bytes) = sample();
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
            &fixture.roots(),
            &fixture.root,
            &fixture.call,
            0,
            &fixture.invites[1].to_seed(),
            &LoginSecrets::generate().expect("random"),
            &audit_key(),
            &[],
        );
        assert!(matches!(
            Invite::decode(bytes.expose()),
            Err(InviteError::WrongKey)
        ));
    }

    #[test]
    fn login_secrets_that_the_root_did_not_sign_are_refused() {
        let (fixture, _, bytes) = sample();
        // Where another realm's secrets and signature would be put.
        let at = 118 + fixture.call.bytes().len();
        let other = Fixture::new();
        let foreign = Invite::encode(
            &other.roots(),
            &other.root,
            &other.call,
            1,
            &other.invites[1].to_seed(),
            &LoginSecrets::generate().expect("random"),
            &audit_key(),
            &[],
        );
        let foreign_at = 118 + other.call.bytes().len();
        for length in [
            LOGIN_SECRETS_LENGTH,
            LOGIN_SECRETS_LENGTH + AUDIT_KEY_LENGTH,
            LOGIN_SECRETS_LENGTH + AUDIT_KEY_LENGTH + 64,
        ] {
            let mut swapped = bytes.expose().to_vec();
            swapped[at..at + length]
                .copy_from_slice(&foreign.expose()[foreign_at..foreign_at + length]);
            assert!(matches!(
                Invite::decode(&swapped),
                Err(InviteError::LoginSecrets)
            ));
        }
    }
}
