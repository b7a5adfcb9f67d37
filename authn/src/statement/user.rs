//! What a realm knows of a user.

use sealmoot_crypto::encoding::{EncodingError, Reader, Writer};
use sealmoot_crypto::password::{PHC_LENGTH_MAX, PasswordRecord};
use sealmoot_crypto::signature::VerifyingKey;

use super::{Body, read_key, read_name};
use crate::name::Name;
use crate::policy::{PATTERN_LENGTH_MAX, Role};

/// Most roles of one user.
pub const ROLES_MAX: usize = 64;
const ROLE_LENGTH_MAX: usize = PATTERN_LENGTH_MAX + 8;
const SEALED_KEY_LENGTH_MAX: usize = 512;

/// Kind *user*: the root binds a name to roles and to the user's own key. Of two
/// for one name the higher version holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    /// Who.
    pub name: Name,
    /// Rises with every change.
    pub version: u64,
    /// Whether the user may log in and act.
    pub enabled: bool,
    /// Whether the user is gone; kept so that no older record comes back.
    pub deleted: bool,
    /// What the user may do.
    pub roles: Vec<Role>,
    /// The key that signs the user's sessions.
    pub user_key: VerifyingKey,
}

impl Body for User {
    const KIND: u8 = 3;
    const DOMAIN: &'static str = "statement/user";

    fn encode(&self, writer: &mut Writer) {
        writer.text(self.name.as_str());
        writer.u64(self.version);
        writer.flag(self.enabled);
        writer.flag(self.deleted);
        writer.count(self.roles.len());
        for role in &self.roles {
            writer.text(&role.to_string());
        }
        writer.fixed(&self.user_key.to_bytes());
    }

    fn decode(reader: &mut Reader<'_>) -> Result<Self, EncodingError> {
        let name = read_name(reader)?;
        let version = reader.u64()?;
        let enabled = reader.flag()?;
        let deleted = reader.flag()?;
        let count = reader.count(ROLES_MAX)?;
        let mut roles = Vec::with_capacity(count);
        for _ in 0..count {
            let text = reader.text(ROLE_LENGTH_MAX)?;
            let role: Role = text
                .parse()
                .map_err(|_| EncodingError::Invalid("a role is malformed"))?;
            if role.to_string() != text {
                return Err(EncodingError::Invalid("a role is not in its one form"));
            }
            roles.push(role);
        }
        Ok(Self {
            name,
            version,
            enabled,
            deleted,
            roles,
            user_key: read_key(reader)?,
        })
    }
}

/// Kind *credential*: how a user proves a password, and the user's key sealed
/// under it. Until the password protocol of RFC 9807 arrives, the node that logs
/// a user in sees the password and compares it with this record.
#[derive(Debug, Clone)]
pub struct Credential {
    /// Whose.
    pub name: Name,
    /// The key that is sealed; the user's current one, or the record is stale.
    pub user_key: VerifyingKey,
    /// Argon2id of the password.
    pub password: PasswordRecord,
    /// A passphrase box of the user key's seed, under the same password.
    pub sealed_key: Vec<u8>,
}

impl Body for Credential {
    const KIND: u8 = 4;
    const DOMAIN: &'static str = "statement/credential";

    fn encode(&self, writer: &mut Writer) {
        writer.text(self.name.as_str());
        writer.fixed(&self.user_key.to_bytes());
        writer.text(&self.password.to_phc());
        writer.bytes(&self.sealed_key);
    }

    fn decode(reader: &mut Reader<'_>) -> Result<Self, EncodingError> {
        Ok(Self {
            name: read_name(reader)?,
            user_key: read_key(reader)?,
            password: PasswordRecord::from_phc(reader.text(PHC_LENGTH_MAX)?)
                .map_err(|_| EncodingError::Invalid("a password record is malformed"))?,
            sealed_key: reader.bytes(SEALED_KEY_LENGTH_MAX)?.to_vec(),
        })
    }
}
