//! The realm's revoked delegations as the root signed them.

use sealmoot_crypto::encoding::{EncodingError, Reader, Writer};

use super::Standing;
use crate::delegation::{Chain, DelegationError};
use crate::roots::Roots;
use crate::statement::{Claim, Revocations, STATEMENT_LENGTH_MAX, Verified};
use crate::users::RecordError;

/// First byte among the records of all kinds.
pub(super) const RECORD_TAG: u8 = 5;

/// The realm's revoked delegations as the root signed them.
#[derive(Clone)]
pub struct RevocationsRecord {
    statement: Verified<Revocations>,
    /// The number of the root that issued it.
    root: u64,
}

impl RevocationsRecord {
    /// A record of a statement by the realm's first root.
    #[must_use]
    pub fn new(statement: Verified<Revocations>) -> Self {
        Self { statement, root: 0 }
    }

    /// The same by the root with this number.
    #[must_use]
    pub fn under_root(mut self, root: u64) -> Self {
        self.root = root;
        self
    }

    /// The number of the root that issued it.
    #[must_use]
    pub fn root(&self) -> u64 {
        self.root
    }

    /// Rises with every change.
    #[must_use]
    pub fn version(&self) -> u64 {
        self.statement.body().version
    }

    /// What is revoked.
    #[must_use]
    pub fn revocations(&self) -> &Revocations {
        self.statement.body()
    }

    /// The revocations as signed.
    #[must_use]
    pub fn statement(&self) -> &Verified<Revocations> {
        &self.statement
    }

    /// Where it stands among the realm's.
    #[must_use]
    pub fn standing(&self) -> Standing {
        Standing::of_root(self.root, self.version(), &self.encode())
    }

    /// Whether nothing of a chain is revoked.
    ///
    /// # Errors
    /// [`DelegationError::Revoked`].
    pub fn check(&self, chain: &Chain) -> Result<(), DelegationError> {
        // What a former root revoked is no word on what a later one renewed.
        if chain.root() > self.root {
            return Ok(());
        }
        if chain.root() < self.root {
            return Err(DelegationError::Revoked {
                name: chain.last().name.clone(),
                reason: "a former root of the realm issued it".to_owned(),
            });
        }
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
        writer.bytes(self.statement.bytes());
        writer.finish()
    }

    /// How many bytes [`RevocationsRecord::encode`] yields.
    #[must_use]
    pub fn encoded_length(&self) -> usize {
        1 + 4 + self.statement.bytes().len()
    }

    /// Reads a record and believes it if one of the roots issued the statement.
    ///
    /// # Errors
    /// [`RecordError`].
    pub fn decode(bytes: &[u8], roots: &Roots) -> Result<Self, RecordError> {
        let (statement, root) = roots.verify(claim(bytes)?)?;
        Ok(Self { statement, root })
    }

    /// How it claims to stand, unbelieved.
    pub(super) fn claimed(bytes: &[u8], roots: &Roots) -> Result<Standing, RecordError> {
        let claim = claim(bytes)?;
        let root = super::claimed_root(&claim, roots)?;
        Ok(Standing::of_root(root, claim.claimed().version, bytes))
    }
}

fn claim(bytes: &[u8]) -> Result<Claim<Revocations>, RecordError> {
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
    Ok(Claim::decode(statement)?)
}
