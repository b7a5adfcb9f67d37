//! What a realm knows of a user.

use sealmoot_crypto::encoding::{EncodingError, Reader, Writer};
use sealmoot_crypto::signature::VerifyingKey;

use super::enrolled_key::{decode_keys, encode_keys};
use super::{Body, CredentialId, EnrolledKey, read_key, read_name};
use crate::name::Name;
use crate::opaque::{PasswordFile, Stretching};
use crate::policy::{PATTERN_LENGTH_MAX, Role};
use crate::second_factor::SealedSecondFactor;
use crate::user_key::SEALED_USER_KEY_LENGTH;

/// Most roles of one user.
pub const ROLES_MAX: usize = 64;
const ROLE_LENGTH_MAX: usize = PATTERN_LENGTH_MAX + 8;

/// Kind *user*: the root binds a name to roles and to the user's own keys. Of two
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
    /// The key that the password opens, and that signs the sessions which the
    /// password makes; none for a user without a password.
    pub user_key: Option<VerifyingKey>,
    /// The keys with which the user may log in without a password.
    pub keys: Vec<EnrolledKey>,
    /// What is asked for beside the password, if the user has enrolled it.
    pub second_factor: Option<Box<SealedSecondFactor>>,
}

impl User {
    /// The enrolled key with this id.
    #[must_use]
    pub fn enrolled(&self, id: &CredentialId) -> Option<&EnrolledKey> {
        self.keys.iter().find(|key| key.id == *id)
    }

    /// The enrolled key with this public half, whether its time is up or not.
    #[must_use]
    pub fn enrolled_with(&self, key: &VerifyingKey) -> Option<&EnrolledKey> {
        self.keys.iter().find(|enrolled| enrolled.key == *key)
    }
}

impl Body for User {
    const KIND: u8 = 3;
    const DOMAIN: &'static str = "statement/user";
    // Version 1 had a password always, and no other key; version 2 no second factor.
    const VERSION: u8 = 3;

    fn encode(&self, writer: &mut Writer) {
        writer.text(self.name.as_str());
        writer.u64(self.version);
        writer.flag(self.enabled);
        writer.flag(self.deleted);
        writer.count(self.roles.len());
        for role in &self.roles {
            writer.text(&role.to_string());
        }
        writer.flag(self.user_key.is_some());
        if let Some(user_key) = &self.user_key {
            writer.fixed(&user_key.to_bytes());
        }
        encode_keys(&self.keys, writer);
        writer.flag(self.second_factor.is_some());
        if let Some(factor) = &self.second_factor {
            factor.encode(writer);
        }
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
        let user_key = match reader.flag()? {
            true => Some(read_key(reader)?),
            false => None,
        };
        let keys = decode_keys(reader, user_key.as_ref())?;
        let second_factor = match reader.flag()? {
            true => Some(Box::new(SealedSecondFactor::decode(reader)?)),
            false => None,
        };
        // An id names one credential of a user.
        let id = second_factor.as_ref().map(|factor| factor.id());
        if id.is_some_and(|id| keys.iter().any(|key| key.id == id)) {
            return Err(EncodingError::Invalid(
                "a key and the second factor have one id",
            ));
        }
        Ok(Self {
            name,
            version,
            enabled,
            deleted,
            roles,
            user_key,
            keys,
            second_factor,
        })
    }
}

/// Kind *credential*: how a user proves a password by OPAQUE, and the user's key
/// sealed so that the password opens it. What stands in it tells nothing about the
/// password to whoever has not the realm's login secrets (whoever has those needs no
/// record: [`LoginSecrets`](crate::opaque::LoginSecrets)).
#[derive(Debug, Clone)]
pub struct Credential {
    /// Whose.
    pub name: Name,
    /// The key that is sealed; the user's current one, or the record is stale.
    pub user_key: VerifyingKey,
    /// Whether the password is to be changed: it was imported, and whoever has the old
    /// hash can log in with it. The client is told after a login.
    pub must_change: bool,
    /// How the client stretches the password.
    pub stretching: Stretching,
    /// What the server of a login needs.
    pub password: PasswordFile,
    /// The user key's seed, sealed under the export key ([`crate::user_key`]).
    pub sealed_key: [u8; SEALED_USER_KEY_LENGTH],
}

impl Body for Credential {
    const KIND: u8 = 4;
    const DOMAIN: &'static str = "statement/credential";
    // Version 1 held an Argon2id hash, which nodes compared passwords with; version 2
    // knew no imported hashes.
    const VERSION: u8 = 3;

    fn encode(&self, writer: &mut Writer) {
        writer.text(self.name.as_str());
        writer.fixed(&self.user_key.to_bytes());
        writer.flag(self.must_change);
        self.stretching.encode(writer);
        self.password.encode(writer);
        writer.fixed(&self.sealed_key);
    }

    fn decode(reader: &mut Reader<'_>) -> Result<Self, EncodingError> {
        Ok(Self {
            name: read_name(reader)?,
            user_key: read_key(reader)?,
            must_change: reader.flag()?,
            stretching: Stretching::decode(reader)?,
            password: PasswordFile::decode(reader)?,
            sealed_key: reader.array()?,
        })
    }
}
