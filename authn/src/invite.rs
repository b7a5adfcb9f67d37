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
//!      …     32  that member's share of the key of the sealed part; its number is the
//!                member's, from 1
//!      …         the sealed part, with what the root signed of it: `invite/sealed.rs`
//! ```
//!
//! It is a secret until it is used. After that its key is worthless, and its share opens
//! the login secrets and the records together with those of other invites only: more
//! than half of the call's.

mod sealed;

use sealmoot_crypto::encoding::{EncodingError, Reader, Writer};
use sealmoot_crypto::sealed_box::PublicKey;
use sealmoot_crypto::secret::{SecretArray, SecretBytes};
use sealmoot_crypto::secret_sharing::{Share, SharingError};
use sealmoot_crypto::signature::SigningKey;

use crate::realm_id::RealmId;
use crate::roots::{ROOTS_LENGTH_MAX, Roots, RootsError};
use crate::roster::verify_call;
use crate::statement::{
    Call, CallMember, NODES_MAX, STATEMENT_LENGTH_MAX, StatementError, Verified,
};
use crate::users::{RecordError, USERS_MAX};

pub use sealed::{Contents, SEALED_PART_LENGTH_MAX, SealPartError, SealedPart, shares_needed};

const MAGIC: &[u8; 4] = b"SMIN";
// Version 1 had no login secrets, version 2 no audit key and no
// roles among the records, version 3 all of it in clear and the root key alone.
const VERSION: u8 = 4;
/// Most signed records in an invite: the users of a whole realm, and its roles.
pub const RECORDS_MAX: usize = USERS_MAX + 1;
/// Most bytes of signed records in an invite.
pub const RECORDS_LENGTH_MAX: usize = 512 * 1024 * 1024;
/// Longest invite file in bytes.
pub const INVITE_LENGTH_MAX: usize =
    SEALED_PART_LENGTH_MAX + STATEMENT_LENGTH_MAX + ROOTS_LENGTH_MAX + 512;

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
    /// The sealed part, or what stands around it, is not what the root made.
    #[error("the sealed part of the invite is forged")]
    SealedPart,
    /// A share is not the one of this number that the root made for this call.
    #[error("share number {0} is not one of this call")]
    Share(u8),
    /// The shares do not open the sealed part.
    #[error("the sealed part of the invite stays closed: {0}")]
    Shares(#[from] SharingError),
    /// A signed record in it is not to be believed.
    #[error("a record in the invite is forged: {0}")]
    Record(#[from] RecordError),
    /// Its time is up.
    #[error("the invite expired")]
    Expired,
}

/// An invite whose content was verified against the roots that it carries, but for what
/// is sealed.
pub struct Invite {
    roots: Roots,
    call: Verified<Call>,
    index: usize,
    key: SigningKey,
    share: Share,
    sealed: SealedPart,
}

impl Invite {
    /// Makes the invite of the member with this share.
    ///
    /// # Panics
    /// When the share is of no member of the call, which is a fault of the caller.
    #[must_use]
    pub fn encode(
        roots: &Roots,
        call: &Verified<Call>,
        seed: &SecretArray<32>,
        share: &Share,
        sealed: &SealedPart,
    ) -> SecretBytes {
        let index = usize::from(share.index()) - 1;
        assert!(index < call.body().members.len());
        let roots_record = roots.encode();
        // Room for all of it at once: a buffer that grows leaves copies behind.
        let room = 128 + roots_record.len() + call.bytes().len() + sealed.encoded_length_max();
        let mut writer = Writer::with_capacity(room);
        writer.fixed(MAGIC);
        writer.u8(VERSION);
        writer.bytes(&roots_record);
        writer.bytes(call.bytes());
        writer.count(index);
        writer.fixed(seed.expose());
        writer.fixed(share.value().expose());
        sealed.write(&mut writer);
        SecretBytes::new(writer.finish())
    }

    /// Reads an invite and verifies everything in it but its time and what is sealed.
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
        let value = SecretArray::from_bytes(reader.array()?);
        let sealed = SealedPart::read(&mut reader, &roots, &call)?;
        reader.finish()?;
        let called = call.body().members.get(index);
        if called.is_none_or(|member| member.invite_key != key.verifying_key()) {
            return Err(InviteError::WrongKey);
        }
        let share = share_of(index, value)?;
        sealed.check(&share)?;
        Ok(Self {
            roots,
            call,
            index,
            key,
            share,
            sealed,
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

    /// This member's share of what opens the sealed part.
    #[must_use]
    pub fn share(&self) -> &Share {
        &self.share
    }

    /// Login secrets and records, which more than half of the call's shares open.
    #[must_use]
    pub fn sealed(&self) -> &SealedPart {
        &self.sealed
    }

    /// To which key the node seals the first key of its audit log.
    #[must_use]
    pub fn audit_key(&self) -> &PublicKey {
        self.sealed.audit_key()
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

/// The share of the member with this index, which counts from 0.
///
/// # Errors
/// [`InviteError::Shares`] when no call has such a member.
pub fn share_of(index: usize, value: SecretArray<32>) -> Result<Share, InviteError> {
    let number = u8::try_from(index).unwrap_or(u8::MAX).saturating_add(1);
    Ok(Share::new(number, value)?)
}

#[cfg(test)]
mod tests;
