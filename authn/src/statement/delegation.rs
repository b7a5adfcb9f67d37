//! Who may issue user records beside the root, and within which bounds.

use sealmoot_crypto::encoding::{EncodingError, Reader, Writer};
use sealmoot_crypto::signature::VerifyingKey;

use super::{Body, read_key, read_name};
use crate::name::Name;
use crate::policy::{Grant, PATTERN_LENGTH_MAX};

/// Most grants of one delegation.
pub const DELEGATION_GRANTS_MAX: usize = 16;
/// Most bytes of one delegation's grants together.
pub const DELEGATION_GRANTS_BYTES_MAX: usize = 8 * 1024;
/// Longest statement of this kind in bytes: its grants and what stands around them.
pub const DELEGATION_LENGTH_MAX: usize = DELEGATION_GRANTS_BYTES_MAX + 512;
const GRANT_LENGTH_MAX: usize = PATTERN_LENGTH_MAX + 8;

const USERS_BIT: u8 = 1;
const DELEGATIONS_BIT: u8 = 2;

/// Kind *delegation*: the issuer lets a key issue statements within these bounds. The
/// issuer is the root, or a delegate who may delegate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delegation {
    /// The delegate's name, for people; no user record of this name is the delegate's
    /// to make.
    pub name: Name,
    /// The delegate's key.
    pub key: VerifyingKey,
    /// Tells the issuer's delegations apart; the elder has the lower one.
    pub serial: u64,
    /// Rises with every renewal under one serial.
    pub version: u64,
    /// What the delegate may issue.
    pub powers: Powers,
    /// What the delegate may hand out.
    pub grants: Vec<Grant>,
    /// From when it holds, in milliseconds since 1970.
    pub valid_from_ms: u64,
    /// Until when it holds, in milliseconds since 1970.
    pub expires_ms: u64,
}

/// Kinds of statements that a delegate may issue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Powers {
    /// User records.
    pub users: bool,
    /// Further delegations.
    pub delegations: bool,
}

impl Powers {
    /// Whether these are no more than `outer`.
    #[must_use]
    pub fn lie_within(self, outer: Self) -> bool {
        self.bits() & !outer.bits() == 0
    }

    fn bits(self) -> u8 {
        let users = if self.users { USERS_BIT } else { 0 };
        let delegations = if self.delegations { DELEGATIONS_BIT } else { 0 };
        users | delegations
    }
}

impl Body for Delegation {
    const KIND: u8 = 9;
    const DOMAIN: &'static str = "statement/delegation";

    fn encode(&self, writer: &mut Writer) {
        writer.text(self.name.as_str());
        writer.fixed(&self.key.to_bytes());
        writer.u64(self.serial);
        writer.u64(self.version);
        writer.u8(self.powers.bits());
        writer.count(self.grants.len());
        for grant in &self.grants {
            writer.text(&grant.to_string());
        }
        writer.u64(self.valid_from_ms);
        writer.u64(self.expires_ms);
    }

    fn decode(reader: &mut Reader<'_>) -> Result<Self, EncodingError> {
        let name = read_name(reader)?;
        let key = read_key(reader)?;
        let serial = reader.u64()?;
        let version = reader.u64()?;
        let bits = reader.u8()?;
        if bits == 0 || bits & !(USERS_BIT | DELEGATIONS_BIT) != 0 {
            return Err(EncodingError::Unknown {
                what: "powers of a delegate",
                value: u64::from(bits),
            });
        }
        let count = reader.count(DELEGATION_GRANTS_MAX)?;
        if count == 0 {
            return Err(EncodingError::Invalid("a delegation grants nothing"));
        }
        let mut grants = Vec::with_capacity(count);
        let mut bytes = 0;
        for _ in 0..count {
            let text = reader.text(GRANT_LENGTH_MAX)?;
            bytes += text.len();
            let grant: Grant = text
                .parse()
                .map_err(|_| EncodingError::Invalid("a grant of a delegation is malformed"))?;
            if grant.to_string() != text {
                return Err(EncodingError::Invalid(
                    "a grant of a delegation is not in its one form",
                ));
            }
            grants.push(grant);
        }
        if bytes > DELEGATION_GRANTS_BYTES_MAX {
            return Err(EncodingError::Invalid("a delegation's grants are too long"));
        }
        let valid_from_ms = reader.u64()?;
        let expires_ms = reader.u64()?;
        if valid_from_ms >= expires_ms {
            return Err(EncodingError::Invalid("a delegation never holds"));
        }
        Ok(Self {
            name,
            key,
            serial,
            version,
            powers: Powers {
                users: bits & USERS_BIT != 0,
                delegations: bits & DELEGATIONS_BIT != 0,
            },
            grants,
            valid_from_ms,
            expires_ms,
        })
    }
}
