//! What all invites of a call carry, and none of them opens alone.
//!
//! ```text
//! offset length
//!      0     32  the realm's public audit key, X25519 (see `audit/first_key.rs`)
//!     32      1  how many shares open the sealed part: more than half
//!     33      4  how many there are, N: one for each member of the call
//!     37    32N  of each share: SHA-256 over "sealmoot/v1/invite share", the call's id,
//!                the share's index u8 and its 32 bytes
//! 37+32N     64  the root's signature over the realm's id, the call's id, bytes 0 to
//!                37+32N and SHA-256 of the sealed part
//!101+32N    4+m  the sealed part: a record of `aead`, its associated data the realm's
//!                id and the call's, its key by HKDF from the secret that was split
//! ```
//!
//! In the sealed part are
//!
//! ```text
//!      0    129  the realm's login secrets (see `opaque/secrets.rs`)
//!    129      4  number of signed records, and then each with its length
//! ```

use std::sync::Arc;

use sealmoot_crypto::aead::{RecordKey, SealError};
use sealmoot_crypto::digest::{Sha256, sha256};
use sealmoot_crypto::encoding::{EncodingError, Reader, Writer};
use sealmoot_crypto::kdf::{self, Label};
use sealmoot_crypto::sealed_box::{Kem, PublicKey};
use sealmoot_crypto::secret::{SecretArray, SecretBytes};
use sealmoot_crypto::secret_sharing::{self, Share, SharingError};
use sealmoot_crypto::signature::{Signature, SigningKey};

use super::{InviteError, RECORDS_LENGTH_MAX, RECORDS_MAX};
use crate::audit::first_key::AUDIT_KEY_LENGTH;
use crate::opaque::{LOGIN_SECRETS_LENGTH, LoginSecrets};
use crate::parallel;
use crate::realm_id::RealmId;
use crate::records::{SIGNED_RECORD_LENGTH_MAX, SignedRecord};
use crate::roots::Roots;
use crate::statement::{Call, NODES_MAX, Verified};

/// Domain of the root's signature. In invites of version 3 it stood under 193 bytes, a
/// length that no content of today has.
const LOGIN_DOMAIN: &str = "login-secrets";
/// What a commitment to a share begins with.
const SHARE_DOMAIN: &[u8] = b"sealmoot/v1/invite share";
const KEY_LABEL: Label = Label::new("invite sealed part");
/// Longest sealed part in bytes.
const PART_LENGTH_MAX: usize =
    LOGIN_SECRETS_LENGTH + 4 + RECORDS_LENGTH_MAX + 4 * RECORDS_MAX + RecordKey::OVERHEAD;
/// What stands around the sealed part, at most.
const AROUND_LENGTH_MAX: usize = AUDIT_KEY_LENGTH + 1 + 4 + 32 * NODES_MAX + 64 + 4;
/// Most bytes of a [`SealedPart`].
pub const SEALED_PART_LENGTH_MAX: usize = PART_LENGTH_MAX + AROUND_LENGTH_MAX;

/// The sealed part was not made.
#[derive(Debug, thiserror::Error)]
pub enum SealPartError {
    /// The key was not split.
    #[error(transparent)]
    Split(#[from] SharingError),
    /// It was not sealed.
    #[error(transparent)]
    Seal(#[from] SealError),
}

/// Login secrets and records, sealed under a key of which each member of the call has a
/// share. That the root made it was verified; what is in it nobody has seen yet.
#[derive(Clone)]
pub struct SealedPart {
    roots: Roots,
    call: [u8; 16],
    audit: PublicKey,
    commitments: Vec<[u8; 32]>,
    signature: Signature,
    part: Arc<[u8]>,
}

/// What was in the sealed part, verified.
pub struct Contents {
    /// What a node needs to answer logins.
    pub login: Arc<LoginSecrets>,
    /// The users and roles known when the invites were made.
    pub records: Vec<SignedRecord>,
}

/// How many of so many shares open the sealed part: a majority, as many nodes as it
/// takes to serve.
#[must_use]
pub fn shares_needed(members: usize) -> usize {
    members / 2 + 1
}

impl SealedPart {
    /// Seals, and splits the key: the shares are in the order of the call's members.
    ///
    /// # Errors
    /// [`SealPartError`].
    pub fn seal(
        roots: &Roots,
        root_key: &SigningKey,
        call: &Verified<Call>,
        login: &LoginSecrets,
        audit: &PublicKey,
        records: &[SignedRecord],
    ) -> Result<(Self, Vec<Share>), SealPartError> {
        let (realm, id) = (roots.realm(), call.body().id);
        let secret = SecretArray::random().map_err(SharingError::from)?;
        let count = call.body().members.len();
        let shares = secret_sharing::split(&secret, shares_needed(count), count)?;
        let contents = encode_contents(login, records);
        let part = part_key(&secret).seal(&associated_data(&realm, &id), contents.expose())?;
        let commitments: Vec<[u8; 32]> =
            shares.iter().map(|share| commitment(&id, share)).collect();
        let signed = signed(&realm, &id, audit, &commitments, &part);
        let sealed = Self {
            roots: roots.clone(),
            call: id,
            audit: audit.clone(),
            commitments,
            signature: root_key.sign(LOGIN_DOMAIN, &signed),
            part: part.into(),
        };
        Ok((sealed, shares))
    }

    /// The encoding. All of it is the same in each invite of the call.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut writer = Writer::with_capacity(AROUND_LENGTH_MAX + self.part.len());
        self.write(&mut writer);
        writer.finish()
    }

    pub(super) fn write(&self, writer: &mut Writer) {
        write_head(writer, &self.audit, &self.commitments);
        writer.fixed(&self.signature.to_bytes());
        writer.bytes(&self.part);
    }

    pub(super) fn encoded_length_max(&self) -> usize {
        AROUND_LENGTH_MAX + self.part.len()
    }

    /// Reads what [`SealedPart::encode`] wrote, and believes it if the root signed it
    /// for this call: whoever can change an invite must not make a node answer with
    /// secrets of theirs, nor read or forge its audit log.
    ///
    /// # Errors
    /// [`InviteError`].
    pub fn decode(bytes: &[u8], roots: &Roots, call: &Verified<Call>) -> Result<Self, InviteError> {
        let mut reader = Reader::new(bytes);
        let sealed = Self::read(&mut reader, roots, call)?;
        reader.finish()?;
        Ok(sealed)
    }

    pub(super) fn read(
        reader: &mut Reader<'_>,
        roots: &Roots,
        call: &Verified<Call>,
    ) -> Result<Self, InviteError> {
        let audit = PublicKey::from_bytes(Kem::X25519, reader.fixed(AUDIT_KEY_LENGTH)?)
            .map_err(|_| EncodingError::Invalid("the audit key is malformed"))?;
        let needed = usize::from(reader.u8()?);
        let count = reader.count(NODES_MAX)?;
        if count != call.body().members.len() || needed != shares_needed(count) {
            return Err(EncodingError::Invalid("its shares are not those of its call").into());
        }
        let mut commitments = Vec::with_capacity(count);
        for _ in 0..count {
            commitments.push(reader.array()?);
        }
        let signature = Signature::from_bytes(reader.array()?);
        let part = reader.bytes(PART_LENGTH_MAX)?;
        let id = call.body().id;
        let signed = signed(&roots.realm(), &id, &audit, &commitments, part);
        // By the root that made the call: the invite brought its roots.
        let root = roots.current();
        root.verify(LOGIN_DOMAIN, &signed, &signature)
            .map_err(|_| InviteError::SealedPart)?;
        Ok(Self {
            roots: roots.clone(),
            call: id,
            audit,
            commitments,
            signature,
            part: part.into(),
        })
    }

    /// To which key a node seals the first key of its audit log.
    #[must_use]
    pub fn audit_key(&self) -> &PublicKey {
        &self.audit
    }

    /// How many shares open it.
    #[must_use]
    pub fn needed(&self) -> usize {
        shares_needed(self.commitments.len())
    }

    /// Believes a share if it is the one of its number that the root made for this call.
    ///
    /// # Errors
    /// [`InviteError::Share`].
    pub fn check(&self, share: &Share) -> Result<(), InviteError> {
        let place = usize::from(share.index()) - 1;
        if self.commitments.get(place) == Some(&commitment(&self.call, share)) {
            return Ok(());
        }
        Err(InviteError::Share(share.index()))
    }

    /// Opens it with as many shares as it takes, and verifies every record.
    ///
    /// # Errors
    /// [`InviteError`]: of shares the first that is not to be believed.
    pub fn open(&self, shares: &[Share]) -> Result<Contents, InviteError> {
        for share in shares {
            self.check(share)?;
        }
        let secret = secret_sharing::combine(self.needed(), shares)?;
        let associated = associated_data(&self.roots.realm(), &self.call);
        // Opened where it lies, and wiped with all that was in it.
        let mut buffer = OpenedInPlace(self.part.to_vec());
        let contents = part_key(&secret)
            .open(&associated, &mut buffer.0)
            .map_err(|_| InviteError::SealedPart)?;
        read_contents(contents, &self.roots)
    }
}

/// A buffer that becomes a secret.
struct OpenedInPlace(Vec<u8>);

impl Drop for OpenedInPlace {
    fn drop(&mut self) {
        drop(SecretBytes::new(std::mem::take(&mut self.0)));
    }
}

fn part_key(secret: &SecretArray<32>) -> RecordKey {
    RecordKey::from_secret(&kdf::derive_key(secret, KEY_LABEL, &[]))
}

fn associated_data(realm: &RealmId, call: &[u8; 16]) -> Vec<u8> {
    [realm.as_bytes().as_slice(), call].concat()
}

fn commitment(call: &[u8; 16], share: &Share) -> [u8; 32] {
    let mut hash = Sha256::new();
    hash.update(SHARE_DOMAIN);
    hash.update(call);
    hash.update(&[share.index()]);
    hash.update(share.value().expose());
    hash.finish()
}

fn write_head(writer: &mut Writer, audit: &PublicKey, commitments: &[[u8; 32]]) {
    writer.fixed(&audit.to_bytes());
    let needed = shares_needed(commitments.len());
    writer.u8(u8::try_from(needed).expect("no more than NODES_MAX"));
    writer.count(commitments.len());
    for commitment in commitments {
        writer.fixed(commitment);
    }
}

fn signed(
    realm: &RealmId,
    call: &[u8; 16],
    audit: &PublicKey,
    commitments: &[[u8; 32]],
    part: &[u8],
) -> Vec<u8> {
    let mut writer = Writer::with_capacity(128 + AROUND_LENGTH_MAX);
    writer.fixed(realm.as_bytes());
    writer.fixed(call);
    write_head(&mut writer, audit, commitments);
    writer.fixed(&sha256(part));
    writer.finish()
}

fn encode_contents(login: &LoginSecrets, records: &[SignedRecord]) -> SecretBytes {
    let length: usize = records
        .iter()
        .map(|record| record.encoded_length() + 4)
        .sum();
    // Room for all of it at once: a buffer that grows leaves copies behind.
    let mut writer = Writer::with_capacity(LOGIN_SECRETS_LENGTH + 4 + length);
    writer.fixed(login.encode().expose());
    writer.count(records.len());
    for record in records {
        writer.bytes(&record.encode());
    }
    SecretBytes::new(writer.finish())
}

fn read_contents(bytes: &[u8], roots: &Roots) -> Result<Contents, InviteError> {
    let mut reader = Reader::new(bytes);
    let login = Arc::new(LoginSecrets::decode(reader.fixed(LOGIN_SECRETS_LENGTH)?)?);
    let count = reader.count(RECORDS_MAX)?;
    let mut encoded = Vec::new();
    for _ in 0..count {
        encoded.push(reader.bytes(SIGNED_RECORD_LENGTH_MAX)?);
    }
    reader.finish()?;
    let records = parallel::try_map(&encoded, |record| SignedRecord::decode(record, roots))?;
    Ok(Contents { login, records })
}
