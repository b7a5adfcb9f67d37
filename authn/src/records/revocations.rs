//! The realm's revoked delegations as the root signed them.

use sealmoot_crypto::encoding::{EncodingError, Reader, Writer};
use sealmoot_crypto::signature::VerifyingKey;

use super::Standing;
use crate::delegation::{Chain, DelegationError};
use crate::realm_id::RealmId;
use crate::statement::{Claim, Revocations, STATEMENT_LENGTH_MAX, Verified};
use crate::users::RecordError;

/// First byte among the records of all kinds.
pub(super) const RECORD_TAG: u8 = 5;

/// The realm's revoked delegations as the root signed them.
#[derive(Clone)]
pub struct RevocationsRecord(Verified<Revocations>);

impl RevocationsRecord {
    /// A record of a statement.
    #[must_use]
    pub fn new(statement: Verified<Revocations>) -> Self {
        Self(statement)
    }

    /// Rises with every change.
    #[must_use]
    pub fn version(&self) -> u64 {
        self.0.body().version
    }

    /// What is revoked.
    #[must_use]
    pub fn revocations(&self) -> &Revocations {
        self.0.body()
    }

    /// The revocations as signed.
    #[must_use]
    pub fn statement(&self) -> &Verified<Revocations> {
        &self.0
    }

    /// Where it stands among the realm's.
    #[must_use]
    pub fn standing(&self) -> Standing {
        Standing::of_root(self.version(), &self.encode())
    }

    /// Whether nothing of a chain is revoked.
    ///
    /// # Errors
    /// [`DelegationError::Revoked`].
    pub fn check(&self, chain: &Chain) -> Result<(), DelegationError> {
        match self.revocations().reason(&chain.path(), &chain.versions()) {
            Some(entry) => Err(DelegationError::Revoked {
                name: chain.last().name.clone(),
                reason: entry.reason.clone(),
            }),
            None => Ok(()),
        }
    }

    /// The record's bytes.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut writer = Writer::with_capacity(self.encoded_length());
        writer.u8(RECORD_TAG);
        writer.bytes(self.0.bytes());
        writer.finish()
    }

    /// How many bytes [`RevocationsRecord::encode`] yields.
    #[must_use]
    pub fn encoded_length(&self) -> usize {
        1 + 4 + self.0.bytes().len()
    }

    /// Reads a record and believes it if `root` issued the statement.
    ///
    /// # Errors
    /// [`RecordError`].
    pub fn decode(bytes: &[u8], root: &VerifyingKey) -> Result<Self, RecordError> {
        let claim = Claim::<Revocations>::decode(statement(bytes)?)?;
        Ok(Self(claim.verify(&RealmId::of(root), root)?))
    }

    pub(super) fn claimed(bytes: &[u8]) -> Result<u64, RecordError> {
        let claim = Claim::<Revocations>::decode(statement(bytes)?)?;
        Ok(claim.claimed().version)
    }
}

/// The statement of a record, as it stands there.
fn statement(bytes: &[u8]) -> Result<&[u8], RecordError> {
    let mut reader = Reader::new(bytes);
    let tag = reader.u8()?;
    if tag != RECORD_TAG {
        return Err(EncodingError::Unknown {
            what: "kind of record",
            value: u64::from(tag),
        }
        .into());
    }
    let statement = reader.bytes(STATEMENT_LENGTH_MAX)?;
    reader.finish()?;
    Ok(statement)
}
