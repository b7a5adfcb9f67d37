//! The keys by which a user may log in without a password.

use std::fmt;
use std::str::FromStr;

use sealmoot_crypto::encoding::{EncodingError, Reader, Writer};
use sealmoot_crypto::random::{self, RandomError};
use sealmoot_crypto::signature::VerifyingKey;

use super::read_key;
use crate::narrowing::{NARROWING_GRANTS_MAX, Narrowing};
use crate::policy::{Grant, PATTERN_LENGTH_MAX};

/// Most keys of one user.
pub const KEYS_MAX: usize = 32;
/// Longest label of a key in bytes.
pub const LABEL_LENGTH_MAX: usize = 64;
/// Most bytes of one user's keys together, well within a statement.
pub const KEYS_BYTES_MAX: usize = 12 * 1024;
const GRANT_LENGTH_MAX: usize = PATTERN_LENGTH_MAX + 8;

/// A key with which a user may log in. It signs the sessions that it makes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EnrolledKey {
    /// Tells it from the user's other keys, those of the past too.
    pub id: CredentialId,
    /// What people call it.
    pub label: Label,
    /// What it is for.
    pub usage: KeyUse,
    /// Its public half.
    pub key: VerifyingKey,
    /// Until when it counts, in milliseconds since 1970; 0 for ever.
    pub expires_ms: u64,
    /// What its sessions are narrowed to; without, they have all the user's rights.
    pub narrowing: Option<Narrowing>,
}

impl EnrolledKey {
    /// Whether its time is not up.
    #[must_use]
    pub fn holds_at(&self, now_ms: u64) -> bool {
        self.expires_ms == 0 || now_ms < self.expires_ms
    }

    /// Until when a session may last that this key makes.
    #[must_use]
    pub fn bound(&self, expires_ms: u64) -> u64 {
        match self.expires_ms {
            0 => expires_ms,
            own => own.min(expires_ms),
        }
    }

    pub(super) fn encode(&self, writer: &mut Writer) {
        writer.fixed(&self.id.0);
        writer.text(&self.label.0);
        writer.u8(self.usage as u8);
        writer.fixed(&self.key.to_bytes());
        writer.u64(self.expires_ms);
        writer.flag(self.narrowing.is_some());
        if let Some(narrowing) = &self.narrowing {
            writer.count(narrowing.rules().len());
            for grant in narrowing.rules() {
                writer.text(&grant.to_string());
            }
        }
    }

    pub(super) fn decode(reader: &mut Reader<'_>) -> Result<Self, EncodingError> {
        Ok(Self {
            id: CredentialId(reader.array()?),
            label: reader
                .text(LABEL_LENGTH_MAX)?
                .parse()
                .map_err(|_| EncodingError::Invalid("a key's label is malformed"))?,
            usage: match reader.u8()? {
                1 => KeyUse::Device,
                2 => KeyUse::Service,
                value => {
                    return Err(EncodingError::Unknown {
                        what: "use of a key",
                        value: u64::from(value),
                    });
                }
            },
            key: read_key(reader)?,
            expires_ms: reader.u64()?,
            narrowing: match reader.flag()? {
                true => Some(read_narrowing(reader)?),
                false => None,
            },
        })
    }
}

/// Writes a user's keys.
pub(super) fn encode_keys(keys: &[EnrolledKey], writer: &mut Writer) {
    writer.count(keys.len());
    for key in keys {
        key.encode(writer);
    }
}

/// Reads a user's keys. No two have one id or one public half, and none is
/// `user_key`: a session's issuer has to name one key, with its own rights.
pub(super) fn decode_keys(
    reader: &mut Reader<'_>,
    user_key: Option<&VerifyingKey>,
) -> Result<Vec<EnrolledKey>, EncodingError> {
    let count = reader.count(KEYS_MAX)?;
    let mut keys: Vec<EnrolledKey> = Vec::with_capacity(count);
    for _ in 0..count {
        let key = EnrolledKey::decode(reader)?;
        if clashes(&keys, user_key, &key) {
            return Err(EncodingError::Invalid("a key stands twice"));
        }
        keys.push(key);
    }
    Ok(keys)
}

/// Whether `key` cannot stand beside these.
pub(crate) fn clashes(
    keys: &[EnrolledKey],
    user_key: Option<&VerifyingKey>,
    key: &EnrolledKey,
) -> bool {
    user_key == Some(&key.key)
        || keys
            .iter()
            .any(|other| other.id == key.id || other.key == key.key)
}

/// Length of the canonical encoding of these keys, in bytes.
pub(crate) fn encoded_length(keys: &[EnrolledKey]) -> usize {
    let mut writer = Writer::new();
    encode_keys(keys, &mut writer);
    writer.finish().len()
}

fn read_narrowing(reader: &mut Reader<'_>) -> Result<Narrowing, EncodingError> {
    let count = reader.count(NARROWING_GRANTS_MAX)?;
    let mut grants = Vec::with_capacity(count);
    for _ in 0..count {
        let text = reader.text(GRANT_LENGTH_MAX)?;
        let grant: Grant = text
            .parse()
            .map_err(|_| EncodingError::Invalid("a grant of a key is malformed"))?;
        if grant.to_string() != text {
            return Err(EncodingError::Invalid(
                "a grant of a key is not in its one form",
            ));
        }
        grants.push(grant);
    }
    Narrowing::new(grants).map_err(|_| EncodingError::Invalid("a key is narrowed to nothing"))
}

/// What an enrolled key is for. Both prove themselves alike; people and tools treat
/// them differently.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyUse {
    /// A person's device.
    Device = 1,
    /// A machine, without anybody to ask.
    Service = 2,
}

impl fmt::Display for KeyUse {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Device => "device",
            Self::Service => "service",
        })
    }
}

/// The name of one credential of a user: 8 random bytes, shown as 16 hexadecimal
/// digits.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct CredentialId([u8; 8]);

/// A text that is not the id of a credential.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("an id has 16 lower-case hexadecimal digits")]
pub struct MalformedCredentialId;

impl CredentialId {
    /// A fresh one.
    ///
    /// # Errors
    /// When the random source fails.
    pub fn random() -> Result<Self, RandomError> {
        random::array().map(Self)
    }

    /// The id with these bytes.
    #[must_use]
    pub fn from_bytes(bytes: [u8; 8]) -> Self {
        Self(bytes)
    }

    /// Its bytes.
    #[must_use]
    pub fn to_bytes(self) -> [u8; 8] {
        self.0
    }
}

impl FromStr for CredentialId {
    type Err = MalformedCredentialId;

    fn from_str(text: &str) -> Result<Self, MalformedCredentialId> {
        let digit = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
        if text.len() != 16 || !text.bytes().all(digit) {
            return Err(MalformedCredentialId);
        }
        u64::from_str_radix(text, 16)
            .map(|number| Self(number.to_be_bytes()))
            .map_err(|_| MalformedCredentialId)
    }
}

impl fmt::Display for CredentialId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:016x}", u64::from_be_bytes(self.0))
    }
}

impl fmt::Debug for CredentialId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{self}")
    }
}

/// What people call a key: one line of up to [`LABEL_LENGTH_MAX`] bytes without
/// control characters, because it is printed on terminals and in logs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Label(String);

/// A text that is not a label.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a label is one line of 1 to {LABEL_LENGTH_MAX} bytes")]
pub struct MalformedLabel;

impl Label {
    /// The label as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Label {
    type Err = MalformedLabel;

    fn from_str(text: &str) -> Result<Self, MalformedLabel> {
        let printable = |character: char| !character.is_control() && !is_invisible(character);
        if text.is_empty() || text.len() > LABEL_LENGTH_MAX || !text.chars().all(printable) {
            return Err(MalformedLabel);
        }
        Ok(Self(text.to_owned()))
    }
}

impl fmt::Display for Label {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

/// Line separators, and what changes the direction of what follows: with these a
/// label could pass for another.
fn is_invisible(character: char) -> bool {
    matches!(
        character,
        '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}'
    )
}

#[cfg(test)]
mod tests;
