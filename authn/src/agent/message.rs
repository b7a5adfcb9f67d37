//! The agent's messages as values (draft-miller-ssh-agent, sections 3.5 and 3.6).

use sealmoot_crypto::signature::{Signature, VerifyingKey};

use super::{AGENT_KEYS_MAX, AgentError};
use crate::openssh::{self, ED25519};

const FAILURE: u8 = 5;
const REQUEST_IDENTITIES: u8 = 11;
const IDENTITIES_ANSWER: u8 = 12;
const SIGN_REQUEST: u8 = 13;
const SIGN_RESPONSE: u8 = 14;
/// Room reserved at once for keys of one answer.
const KEYS_EXPECTED: usize = 16;
/// Longest name of a type that is shown.
const TYPE_LENGTH_MAX: usize = 64;

/// A key of an agent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AgentIdentity {
    /// Its type as OpenSSH names it, such as `ssh-ed25519` or `ssh-rsa`.
    pub key_type: String,
    /// The key, when it is of the one type that is taken, and sound.
    pub key: Option<VerifyingKey>,
    /// Its fingerprint, as `ssh-add -l` prints it.
    pub fingerprint: String,
    /// What the agent calls it; may hold any characters.
    pub comment: String,
}

/// The message that asks for all keys.
pub(super) fn request_identities() -> Vec<u8> {
    framed(REQUEST_IDENTITIES, &[])
}

/// The message that asks `key` for a signature over `data`.
pub(super) fn request_signature(key: &VerifyingKey, data: &[u8]) -> Vec<u8> {
    let mut contents = Vec::with_capacity(data.len() + openssh::BLOB_LENGTH + 12);
    push_string(&mut contents, &openssh::blob(key));
    push_string(&mut contents, data);
    // No flags: they choose among the hashes of RSA.
    contents.extend_from_slice(&0u32.to_be_bytes());
    framed(SIGN_REQUEST, &contents)
}

/// The keys of an answer to [`request_identities`].
pub(super) fn parse_identities(message: &[u8]) -> Result<Vec<AgentIdentity>, AgentError> {
    let mut fields = contents(message, IDENTITIES_ANSWER)?;
    let count = fields.u32()?;
    let bounded = usize::try_from(count).unwrap_or(usize::MAX);
    if bounded > AGENT_KEYS_MAX {
        return Err(AgentError::TooManyKeys(count));
    }
    let mut identities = Vec::with_capacity(bounded.min(KEYS_EXPECTED));
    for _ in 0..bounded {
        let blob = fields.string()?;
        let comment = String::from_utf8_lossy(fields.string()?).into_owned();
        let mut key_type = Fields(blob).string()?;
        key_type = &key_type[..key_type.len().min(TYPE_LENGTH_MAX)];
        identities.push(AgentIdentity {
            key_type: String::from_utf8_lossy(key_type).into_owned(),
            key: ed25519(blob),
            fingerprint: openssh::fingerprint(blob),
            comment,
        });
    }
    fields.finish()?;
    Ok(identities)
}

/// The signature of an answer to [`request_signature`], unverified.
pub(super) fn parse_signature(message: &[u8]) -> Result<Signature, AgentError> {
    let mut fields = contents(message, SIGN_RESPONSE)?;
    let mut blob = Fields(fields.string()?);
    fields.finish()?;
    if blob.string()? != ED25519.as_bytes() {
        return Err(AgentError::Malformed("a signature of another type"));
    }
    let bytes = blob.string()?;
    blob.finish()?;
    <[u8; 64]>::try_from(bytes)
        .map(Signature::from_bytes)
        .map_err(|_| AgentError::Malformed("a signature of another length"))
}

fn ed25519(blob: &[u8]) -> Option<VerifyingKey> {
    let mut fields = Fields(blob);
    let of_the_type = fields.string().ok()? == ED25519.as_bytes();
    let bytes = <&[u8; 32]>::try_from(fields.string().ok()?).ok()?;
    fields.finish().ok()?;
    of_the_type.then(|| VerifyingKey::from_bytes(bytes).ok())?
}

fn contents(message: &[u8], expected: u8) -> Result<Fields<'_>, AgentError> {
    match message.split_first() {
        Some((found, contents)) if *found == expected => Ok(Fields(contents)),
        Some((&FAILURE, _)) => Err(AgentError::Refused),
        Some((found, _)) => Err(AgentError::UnexpectedMessage(*found)),
        None => Err(AgentError::Malformed("it is empty")),
    }
}

fn framed(message_type: u8, contents: &[u8]) -> Vec<u8> {
    let mut message = Vec::with_capacity(5 + contents.len());
    message.extend_from_slice(&length(1 + contents.len()));
    message.push(message_type);
    message.extend_from_slice(contents);
    message
}

fn push_string(bytes: &mut Vec<u8>, string: &[u8]) {
    bytes.extend_from_slice(&length(string.len()));
    bytes.extend_from_slice(string);
}

fn length(length: usize) -> [u8; 4] {
    u32::try_from(length)
        .expect("statements and keys are far below 4 GiB")
        .to_be_bytes()
}

/// Numbers and strings of SSH's encoding (RFC 4251, section 5), borrowed: no length
/// asks for memory.
struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    fn u32(&mut self) -> Result<u32, AgentError> {
        let (bytes, rest) = self
            .0
            .split_first_chunk()
            .ok_or(AgentError::Malformed("it ends early"))?;
        self.0 = rest;
        Ok(u32::from_be_bytes(*bytes))
    }

    fn string(&mut self) -> Result<&'a [u8], AgentError> {
        let length = usize::try_from(self.u32()?).unwrap_or(usize::MAX);
        let (string, rest) = self
            .0
            .split_at_checked(length)
            .ok_or(AgentError::Malformed("it ends early"))?;
        self.0 = rest;
        Ok(string)
    }

    fn finish(self) -> Result<(), AgentError> {
        match self.0 {
            [] => Ok(()),
            _ => Err(AgentError::Malformed("bytes follow the end")),
        }
    }
}
