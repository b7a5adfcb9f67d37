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
//!      1  version, 4
//!     32  seed of the node's signing key
//!    4+n  the realm's roots, as the invite brought them
//!      1  whether what the invites sealed was opened
//!    129  the realm's login secrets, if so
//!     32  the node's share of what opens it, which it hands to the others of the roster
//!    4+n  the call that the node answered
//!    4+n  its enrolment
//!      8  incarnation
//!    4+n  where the invite's file lies, to be destroyed; empty where that is not known
//!      4  number of enrolments on the list that the node countersigned, then each
//!         with its length; 0 before it countersigned
//! ```

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use sealmoot_authn::files::{self, Existing, FileError};
use sealmoot_authn::invite::{InviteError, share_of};
use sealmoot_authn::opaque::{LOGIN_SECRETS_LENGTH, LoginSecrets};
use sealmoot_authn::realm_id::RealmId;
use sealmoot_authn::roots::{ROOTS_LENGTH_MAX, Roots, RootsError};
use sealmoot_authn::roster::{RosterError, verify_call, verify_enrolment};
use sealmoot_authn::statement::{
    Call, CallMember, Enrolment, NODES_MAX, STATEMENT_LENGTH_MAX, Verified,
};
use sealmoot_crypto::encoding::{EncodingError, Reader, Writer};
use sealmoot_crypto::secret::{SecretArray, SecretBytes};
use sealmoot_crypto::secret_sharing::Share;
use sealmoot_crypto::signature::SigningKey;

/// Name of the sealed file in the data directory.
pub const IDENTITY_FILE: &str = "identity";
/// Longest identity in bytes.
pub const IDENTITY_BYTES_MAX: usize = 128 * 1024;
const KEY_MAGIC: &[u8; 5] = b"SMNK\x01";
const KEY_FILE_BYTES: usize = 37;
// Version 1 had no login secrets, version 2 not the invite's path, version 3 no share and
// the root key alone.
const VERSION: u8 = 4;
/// Longest path of an invite in bytes.
const INVITE_PATH_MAX: usize = 4096;
/// Version, key, roots, login secrets, share, incarnation and count.
const FIXED_BYTES: usize = 1 + 32 + 4 + ROOTS_LENGTH_MAX + 1 + LOGIN_SECRETS_LENGTH + 32 + 8 + 4;

/// An identity that is not what a node writes.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// The bytes are no identity.
    #[error("the node's identity does not decode: {0}")]
    Malformed(#[from] EncodingError),
    /// The realm's roots in it are not to be believed.
    #[error("the node's identity holds forged roots: {0}")]
    Roots(#[from] RootsError),
    /// A statement in it is not to be believed.
    #[error("the node's identity holds a forged statement: {0}")]
    Roster(#[from] RosterError),
    /// Its share is none.
    #[error("the node's identity holds no share: {0}")]
    Share(#[from] InviteError),
}

/// Who a node is.
pub struct Identity {
    /// Its key.
    pub key: SigningKey,
    /// The realm's roots when the node was made. What it learnt since is in its log.
    pub roots: Roots,
    /// What it answers logins with; the same on every node of the realm. None before
    /// enough nodes of the roster have handed over their shares.
    pub login: Option<Arc<LoginSecrets>>,
    /// Its own share, kept for those that come later.
    pub share: Share,
    /// The call that it answered.
    pub call: Verified<Call>,
    /// Its answer.
    pub enrolment: Verified<Enrolment>,
    /// Which life of the node this is.
    pub incarnation: u64,
    /// The absolute path of the invite's file. Whoever is stopped before the cluster has
    /// formed, and started afterwards, destroys it then.
    pub invite: Option<PathBuf>,
    /// The list that it countersigned; it never countersigns another.
    pub countersigned: Vec<Verified<Enrolment>>,
}

impl Identity {
    /// The realm.
    #[must_use]
    pub fn realm(&self) -> RealmId {
        self.roots.realm()
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

    /// The same node, when it has countersigned this list and may know these secrets.
    #[must_use]
    pub fn with(
        &self,
        countersigned: Vec<Verified<Enrolment>>,
        login: Option<Arc<LoginSecrets>>,
    ) -> Self {
        Self {
            key: SigningKey::from_seed(&self.key.to_seed()),
            roots: self.roots.clone(),
            login,
            share: self.share.clone(),
            call: self.call.clone(),
            enrolment: self.enrolment.clone(),
            incarnation: self.incarnation,
            invite: self.invite.clone(),
            countersigned,
        }
    }

    /// The identity's bytes, to be sealed.
    #[must_use]
    pub fn encode(&self) -> SecretBytes {
        // Room for all of it: a buffer that grows leaves copies of the secrets behind.
        let statements = [self.call.bytes(), self.enrolment.bytes()];
        let countersigned = self.countersigned.iter().map(Verified::bytes);
        let room: usize = statements
            .into_iter()
            .chain(countersigned)
            .map(|bytes| bytes.len() + 4)
            .sum();
        let invite = self.invite.as_deref().unwrap_or(Path::new(""));
        let invite = invite.as_os_str().as_bytes();
        // One that is too long is not destroyed by a later start, and nothing worse.
        let invite = if invite.len() > INVITE_PATH_MAX {
            b""
        } else {
            invite
        };
        let mut writer = Writer::with_capacity(FIXED_BYTES + 4 + invite.len() + room);
        writer.u8(VERSION);
        writer.fixed(self.key.to_seed().expose());
        writer.bytes(&self.roots.encode());
        writer.flag(self.login.is_some());
        if let Some(login) = &self.login {
            writer.fixed(login.encode().expose());
        }
        writer.fixed(self.share.value().expose());
        writer.bytes(self.call.bytes());
        writer.bytes(self.enrolment.bytes());
        writer.u64(self.incarnation);
        writer.bytes(invite);
        writer.count(self.countersigned.len());
        for enrolment in &self.countersigned {
            writer.bytes(enrolment.bytes());
        }
        SecretBytes::new(writer.finish())
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
        let roots = Roots::decode_unpinned(reader.bytes(ROOTS_LENGTH_MAX)?)?;
        let login = if reader.flag()? {
            let login = LoginSecrets::decode(reader.fixed(LOGIN_SECRETS_LENGTH)?)?;
            Some(Arc::new(login))
        } else {
            None
        };
        let share = SecretArray::from_bytes(reader.array()?);
        let realm = roots.realm();
        let call =
            verify_call(reader.bytes(STATEMENT_LENGTH_MAX)?, &roots).map_err(RosterError::from)?;
        let enrolment = verify_enrolment(reader.bytes(STATEMENT_LENGTH_MAX)?, &realm, &call)?;
        let incarnation = reader.u64()?;
        let invite = reader.bytes(INVITE_PATH_MAX)?;
        let invite = (!invite.is_empty()).then(|| PathBuf::from(OsStr::from_bytes(invite)));
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
        let members = &call.body().members;
        let name = &enrolment.body().name;
        let place = members.iter().position(|member| member.name == *name);
        let share = share_of(place.unwrap_or(members.len()), share)?;
        Ok(Self {
            key,
            roots,
            login,
            share,
            call,
            enrolment,
            incarnation,
            invite,
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
    let content = SecretBytes::new(writer.finish());
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

#[cfg(test)]
mod tests {
    use super::*;

    fn key() -> SigningKey {
        SigningKey::generate().expect("random")
    }

    fn identity() -> Identity {
        let (root, invite, node) = (key(), key(), key());
        let realm = RealmId::without_heir(&root.verifying_key());
        let call = Call {
            id: [7; 16],
            realm_name: "acme".parse().expect("a name"),
            expires_ms: 9,
            members: vec![CallMember {
                name: "n1".parse().expect("a name"),
                address: "127.0.0.1:7401".to_owned(),
                invite_key: invite.verifying_key(),
            }],
        };
        let enrolment = Enrolment {
            call_id: [7; 16],
            name: "n1".parse().expect("a name"),
            node_key: node.verifying_key(),
        };
        Identity {
            key: node,
            roots: Roots::sole(root.verifying_key()),
            login: Some(Arc::new(LoginSecrets::generate().expect("random"))),
            share: share_of(0, SecretArray::from_bytes([6; 32])).expect("a share"),
            call: Verified::issue(&realm, &root, 1, call),
            enrolment: Verified::issue(&realm, &invite, 1, enrolment),
            incarnation: 3,
            invite: Some(PathBuf::from("/tmp/n1.invite")),
            countersigned: Vec::new(),
        }
    }

    #[test]
    fn an_identity_keeps_its_login_secrets() {
        let identity = identity();
        let encoded = identity.encode();
        let bytes = encoded.expose();
        let read = Identity::decode(bytes).expect("valid");
        let login = |identity: &Identity| identity.login.as_ref().map(|login| login.encode());
        assert_eq!(
            login(&read).expect("kept").expose(),
            login(&identity).expect("kept").expose()
        );
        assert_eq!(read.encode().expose(), bytes);
        assert_eq!(read.invite, identity.invite);
        for length in 0..bytes.len() {
            assert!(Identity::decode(&bytes[..length]).is_err(), "{length}");
        }
    }

    #[test]
    fn an_identity_without_login_secrets_keeps_its_share() {
        let identity = identity().with(Vec::new(), None);
        let encoded = identity.encode();
        let bytes = encoded.expose();
        let read = Identity::decode(bytes).expect("valid");
        assert!(read.login.is_none());
        assert_eq!(read.share.index(), 1);
        assert!(read.share.value().same_as(identity.share.value()));
        assert_eq!(read.encode().expose(), bytes);
        for length in 0..bytes.len() {
            assert!(Identity::decode(&bytes[..length]).is_err(), "{length}");
        }
        let mut changed = bytes.to_vec();
        // The flag, behind version, key and roots.
        changed[1 + 32 + 4 + identity.roots.encode().len()] = 2;
        assert!(matches!(
            Identity::decode(&changed),
            Err(IdentityError::Malformed(_))
        ));
    }

    #[test]
    fn other_versions_and_malformed_login_secrets_are_refused() {
        let bytes = identity().encode().expose().to_vec();
        for version in [0, 1, 2, 3, 5] {
            let mut changed = bytes.clone();
            changed[0] = version;
            assert!(matches!(
                Identity::decode(&changed),
                Err(IdentityError::Malformed(EncodingError::Unknown {
                    what: "identity version",
                    ..
                }))
            ));
        }
        // Their version, and a private key that is no scalar: behind key, roots and flag.
        let login = 1 + 32 + 4 + identity().roots.encode().len() + 1;
        for at in [login, login + 65 + 31] {
            let mut changed = bytes.clone();
            changed[at] = 0xff;
            assert!(matches!(
                Identity::decode(&changed),
                Err(IdentityError::Malformed(_))
            ));
        }
    }
}
