//! What makes a directory a node: its root key outside, its identity inside.
//!
//! The root key file (by default `nodes/NAME.key` in the configuration
//! directory, mode 0600) is
//!
//! ```text
//! offset length
//!      0      4  "SMNK"
//!      4      1  version, 1
//!      5     32  the key that opens the data directory
//! ```
//!
//! and the file `identity` in the data directory, sealed under it, holds
//!
//! ```text
//!      1  version, 1
//!     32  seed of the node's signing key
//!     32  the realm's root public key
//!    4+n  the call that the node answered
//!    4+n  its enrolment
//!      8  incarnation
//!      4  number of enrolments on the list that the node countersigned, then each
//!         with its length; 0 before it countersigned
//! ```

use std::path::{Path, PathBuf};

use sealmoot_authn::files::{self, Existing, FileError};
use sealmoot_authn::realm_id::RealmId;
use sealmoot_authn::roster::{RosterError, verify_call, verify_enrolment};
use sealmoot_authn::statement::{
    Call, CallMember, Enrolment, NODES_MAX, STATEMENT_LENGTH_MAX, Verified,
};
use sealmoot_crypto::encoding::{EncodingError, Reader, Writer};
use sealmoot_crypto::secret::SecretArray;
use sealmoot_crypto::signature::{SigningKey, VerifyingKey};

/// Name of the sealed file in the data directory.
pub const IDENTITY_FILE: &str = "identity";
/// Longest identity in bytes.
pub const IDENTITY_BYTES_MAX: usize = 128 * 1024;
const KEY_MAGIC: &[u8; 5] = b"SMNK\x01";
const KEY_FILE_BYTES: usize = 37;
const VERSION: u8 = 1;

/// An identity that is not what a node writes.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// The bytes are no identity.
    #[error("the node's identity does not decode: {0}")]
    Malformed(#[from] EncodingError),
    /// A statement in it is not to be believed.
    #[error("the node's identity holds a forged statement: {0}")]
    Roster(#[from] RosterError),
}

/// Who a node is.
pub struct Identity {
    /// Its key.
    pub key: SigningKey,
    /// The realm's root key.
    pub root: VerifyingKey,
    /// The call that it answered.
    pub call: Verified<Call>,
    /// Its answer.
    pub enrolment: Verified<Enrolment>,
    /// Which life of the node this is.
    pub incarnation: u64,
    /// The list that it countersigned; it never countersigns another.
    pub countersigned: Vec<Verified<Enrolment>>,
}

impl Identity {
    /// The realm.
    #[must_use]
    pub fn realm(&self) -> RealmId {
        RealmId::of(&self.root)
    }

    /// The node's place in the call.
    ///
    /// # Panics
    /// Never: an identity is made only with an enrolment that answers its call.
    #[must_use]
    pub fn member(&self) -> &CallMember {
        let name = &self.enrolment.body().name;
        self.call
            .body()
            .members
            .iter()
            .find(|member| member.name == *name)
            .expect("the enrolment was verified against the call")
    }

    /// The identity's bytes, to be sealed.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut writer = Writer::with_capacity(4096);
        writer.u8(VERSION);
        writer.fixed(self.key.to_seed().expose());
        writer.fixed(&self.root.to_bytes());
        writer.bytes(self.call.bytes());
        writer.bytes(self.enrolment.bytes());
        writer.u64(self.incarnation);
        writer.count(self.countersigned.len());
        for enrolment in &self.countersigned {
            writer.bytes(enrolment.bytes());
        }
        writer.finish()
    }

    /// Reads an identity and verifies the statements in it.
    ///
    /// # Errors
    /// [`IdentityError`].
    pub fn decode(bytes: &[u8]) -> Result<Self, IdentityError> {
        let mut reader = Reader::new(bytes);
        let version = reader.u8()?;
        if version != VERSION {
            return Err(EncodingError::Unknown {
                what: "identity version",
                value: u64::from(version),
            }
            .into());
        }
        let key = SigningKey::from_seed(&SecretArray::from_bytes(reader.array()?));
        let root = VerifyingKey::from_bytes(&reader.array()?)
            .map_err(|_| EncodingError::Invalid("the root key is malformed"))?;
        let realm = RealmId::of(&root);
        let call =
            verify_call(reader.bytes(STATEMENT_LENGTH_MAX)?, &root).map_err(RosterError::from)?;
        let enrolment = verify_enrolment(reader.bytes(STATEMENT_LENGTH_MAX)?, &realm, &call)?;
        let incarnation = reader.u64()?;
        let count = reader.count(NODES_MAX)?;
        let mut countersigned = Vec::with_capacity(count);
        for _ in 0..count {
            let bytes = reader.bytes(STATEMENT_LENGTH_MAX)?;
            countersigned.push(verify_enrolment(bytes, &realm, &call)?);
        }
        reader.finish()?;
        if enrolment.body().node_key != key.verifying_key() {
            return Err(EncodingError::Invalid("the enrolment is for another key").into());
        }
        Ok(Self {
            key,
            root,
            call,
            enrolment,
            incarnation,
            countersigned,
        })
    }
}

/// Makes a root key and writes it to `path`, which must not exist.
///
/// # Errors
/// [`FileError`].
pub fn create_root_key(path: &Path) -> Result<SecretArray<32>, FileError> {
    let key = SecretArray::<32>::random().map_err(|error| FileError::Io {
        path: path.to_owned(),
        source: std::io::Error::other(error),
    })?;
    let mut writer = Writer::with_capacity(KEY_FILE_BYTES);
    writer.fixed(KEY_MAGIC);
    writer.fixed(key.expose());
    let content = sealmoot_crypto::secret::SecretBytes::new(writer.finish());
    files::write(path, content.expose(), Existing::Refuse)?;
    Ok(key)
}

/// Reads a root key file; `None` when it has another form.
///
/// # Errors
/// [`FileError`].
pub fn read_root_key(path: &Path) -> Result<Option<SecretArray<32>>, FileError> {
    let content = files::read_secret(path, KEY_FILE_BYTES)?;
    Ok(content
        .expose()
        .strip_prefix(KEY_MAGIC)
        .and_then(SecretArray::from_slice))
}

/// Where root keys of nodes may lie: the given file, the service manager's
/// credential, and those of nodes enrolled on this machine.
#[must_use]
pub fn root_key_candidates(given: Option<&Path>, config: &Path) -> Vec<PathBuf> {
    if let Some(given) = given {
        return vec![given.to_owned()];
    }
    let mut candidates = Vec::new();
    if let Some(directory) = std::env::var_os("CREDENTIALS_DIRECTORY") {
        candidates.push(PathBuf::from(directory).join("sealmoot-node-key"));
    }
    let nodes = config.join("nodes");
    for name in files::names(&nodes).unwrap_or_default() {
        if name.ends_with(".key") {
            candidates.push(nodes.join(name));
        }
    }
    candidates
}
