//! What a client keeps between commands: which realm, which nodes, and a session.
//!
//! `contexts/NAME` in the configuration directory, mode 0600, because it holds
//! the session key:
//!
//! ```text
//!      4  "SMCX"
//!      1  version, 2
//!     32  realm id
//!    4+n  realm name
//!    4+n  user
//!     32  seed of the session key
//!    4+n  session statement
//!    4+n  receipt
//!      8  expiry, milliseconds since 1970
//!      8  when all sessions are over that were ever made with the key, likewise
//!      4  number of addresses, then each with its length
//! ```
//!
//! and `contexts/.current` holds the name of the one in use. Beside them, what is known of a
//! realm's revoked nodes is `revoked-nodes/REALM`, the root's record of them, and what is
//! known of its roots is `roots/REALM` ([`crate::roots`]), which never goes back.

use std::path::{Path, PathBuf};

use crate::files::{self, Existing, FileError};
use crate::login::SessionProof;
use crate::name::{NAME_LENGTH_MAX, Name};
use crate::pin::RealmPin;
use crate::presentation::Presentation;
use crate::realm_id::RealmId;
use crate::records::{RevokedNodesRecord, SIGNED_RECORD_LENGTH_MAX};
use crate::roots::{ROOTS_LENGTH_MAX, Roots, RootsError};
use crate::statement::{NODES_MAX, STATEMENT_LENGTH_MAX, check_address};
use sealmoot_crypto::encoding::{EncodingError, Reader, Writer};
use sealmoot_crypto::secret::{SecretArray, SecretBytes};

const MAGIC: &[u8; 4] = b"SMCX";
// Version 1 did not tell when all sessions of the key are over.
const VERSION: u8 = 2;
const CONTEXT_BYTES_MAX: usize = 128 * 1024;
const ADDRESS_LENGTH_MAX: usize = 255;
const CURRENT: &str = ".current";
const REVOKED_NODES: &str = "revoked-nodes";
/// Beside it.
const LOCK: &str = ".lock";
/// The directory of what is known of the roots of realms.
const ROOTS: &str = "roots";

/// A session and where to use it.
pub struct Context {
    /// The pinned realm.
    pub realm: RealmId,
    /// Its name.
    pub realm_name: Name,
    /// For whom the session speaks.
    pub user: Name,
    /// Seed of the session key.
    pub session_seed: SecretArray<32>,
    /// What makes the key a session.
    pub proof: SessionProof,
    /// When all sessions are over that were ever made with the key, in milliseconds
    /// since 1970: a key goes from one login to the next.
    pub key_until_ms: u64,
    /// Addresses of the nodes.
    pub addresses: Vec<String>,
    /// What is known of the realm's roots: in a file of its own, which all contexts of the
    /// realm share.
    pub roots: Option<Roots>,
}

/// Why a context was not read or written.
#[derive(Debug, thiserror::Error)]
pub enum ContextError {
    /// The realm was handed over in two ways.
    #[error("the realm's roots: {0}")]
    Roots(#[from] RootsError),
    /// Nobody has logged in.
    #[error("no context: nobody has logged in on this machine")]
    None,
    /// There is no context of this name.
    #[error("no context {0:?}")]
    NoSuch(String),
    /// The name is none.
    #[error("{0:?} is not the name of a context")]
    BadName(String),
    /// The file has a content that it should not have.
    #[error("{} is damaged: {source}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        source: EncodingError,
    },
    /// What is kept of the realm's roots is not theirs.
    #[error("{} is damaged: {source}", path.display())]
    DamagedRoots {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        source: RootsError,
    },
    /// A file was not read or written.
    #[error(transparent)]
    File(#[from] FileError),
}

impl Context {
    /// The name that a context gets unless told otherwise: `REALM-USER`.
    #[must_use]
    pub fn default_name(&self) -> String {
        format!("{}-{}", self.realm_name, self.user)
    }

    /// The pin of its realm, which shows `presentation` and knows the roots that are known
    /// here.
    #[must_use]
    pub fn pin(&self, presentation: &Presentation) -> RealmPin {
        let pin = RealmPin::new(self.realm, presentation);
        if let Some(roots) = &self.roots {
            // They were read as those of this realm, and the pin knows no others yet.
            let _ = pin.know_roots(roots);
        }
        pin
    }

    /// Writes the context and makes it the current one.
    ///
    /// # Errors
    /// [`ContextError`].
    pub fn save(&self, config: &Path, name: &str) -> Result<(), ContextError> {
        let path = path_of(config, name)?;
        if let Some(roots) = &self.roots {
            keep_roots(config, roots)?;
        }
        files::ensure_directory(config)?;
        let contexts = config.join("contexts");
        files::ensure_directory(&contexts)?;
        files::remove_abandoned(&contexts)?;
        files::write(&path, self.encode().expose(), Existing::Replace)?;
        files::write(&contexts.join(CURRENT), name.as_bytes(), Existing::Replace)?;
        Ok(())
    }

    /// Reads the named context, or the current one.
    ///
    /// # Errors
    /// [`ContextError`].
    pub fn load(config: &Path, name: Option<&str>) -> Result<(String, Self), ContextError> {
        let name = match name {
            Some(name) => name.to_owned(),
            None => current(config)?.ok_or(ContextError::None)?,
        };
        let path = path_of(config, &name)?;
        let content = match files::read_secret(&path, CONTEXT_BYTES_MAX) {
            Err(FileError::Missing(_)) => return Err(ContextError::NoSuch(name)),
            content => content?,
        };
        let mut context = Self::decode(content.expose())
            .map_err(|source| ContextError::Damaged { path, source })?;
        context.roots = known_roots(config, &context.realm)?;
        Ok((name, context))
    }

    /// Deletes the named context, or the current one, and its key with it; returns its
    /// name.
    ///
    /// # Errors
    /// [`ContextError`].
    pub fn delete(config: &Path, name: Option<&str>) -> Result<String, ContextError> {
        let current = current(config)?;
        let name = match name {
            Some(name) => name.to_owned(),
            None => current.clone().ok_or(ContextError::None)?,
        };
        match files::remove(&path_of(config, &name)?) {
            Err(FileError::Missing(_)) => return Err(ContextError::NoSuch(name)),
            outcome => outcome?,
        }
        if current.as_ref() == Some(&name) {
            files::remove(&config.join("contexts").join(CURRENT))?;
        }
        Ok(name)
    }

    /// Makes a context that is there the current one.
    ///
    /// # Errors
    /// [`ContextError`], also when it does not read.
    pub fn make_current(config: &Path, name: &str) -> Result<Self, ContextError> {
        let (_, context) = Self::load(config, Some(name))?;
        let current = config.join("contexts").join(CURRENT);
        files::write(&current, name.as_bytes(), Existing::Replace)?;
        Ok(context)
    }

    /// The context of a user of a realm that has this name, or without one the name that
    /// it gets unless told otherwise. Files that do not read are passed over.
    ///
    /// Of two contexts of one user each has a key of its own: one that logs out ends
    /// whatever its key speaks for, and the other is to go on.
    #[must_use]
    pub fn of_user(config: &Path, realm: RealmId, user: &str, named: Option<&str>) -> Option<Self> {
        let names = names(config).ok()?;
        names
            .iter()
            .filter_map(|name| Self::load(config, Some(name)).ok())
            .filter(|(_, context)| context.realm == realm && context.user.as_str() == user)
            .find(|(name, context)| match named {
                Some(named) => name == named,
                None => *name == context.default_name(),
            })
            .map(|(_, context)| context)
    }

    fn encode(&self) -> SecretBytes {
        let mut writer = Writer::with_capacity(CONTEXT_BYTES_MAX);
        writer.fixed(MAGIC);
        writer.u8(VERSION);
        writer.fixed(self.realm.as_bytes());
        writer.text(self.realm_name.as_str());
        writer.text(self.user.as_str());
        writer.fixed(self.session_seed.expose());
        writer.bytes(&self.proof.session);
        writer.bytes(&self.proof.receipt);
        writer.u64(self.proof.expires_ms);
        writer.u64(self.key_until_ms);
        writer.count(self.addresses.len());
        for address in &self.addresses {
            writer.text(address);
        }
        SecretBytes::new(writer.finish())
    }

    fn decode(bytes: &[u8]) -> Result<Self, EncodingError> {
        let mut reader = Reader::new(bytes);
        if reader.fixed(4)? != MAGIC {
            return Err(EncodingError::Invalid("it does not begin with SMCX"));
        }
        let version = reader.u8()?;
        if version != VERSION {
            return Err(EncodingError::Unknown {
                what: "context version",
                value: u64::from(version),
            });
        }
        let realm = RealmId::from_bytes(reader.array()?);
        let realm_name = read_name(&mut reader)?;
        let user = read_name(&mut reader)?;
        let session_seed = SecretArray::from_bytes(reader.array()?);
        let proof = SessionProof {
            session: reader.bytes(STATEMENT_LENGTH_MAX)?.to_vec(),
            receipt: reader.bytes(STATEMENT_LENGTH_MAX)?.to_vec(),
            expires_ms: reader.u64()?,
            must_change: false,
        };
        let key_until_ms = reader.u64()?;
        let count = reader.count(NODES_MAX)?;
        let mut addresses = Vec::with_capacity(count);
        for _ in 0..count {
            let address = reader.text(ADDRESS_LENGTH_MAX)?;
            check_address(address)?;
            addresses.push(address.to_owned());
        }
        reader.finish()?;
        Ok(Self {
            realm,
            realm_name,
            user,
            session_seed,
            proof,
            key_until_ms,
            addresses,
            roots: None,
        })
    }
}

/// What is known of a realm's nodes that are believed no more. A file that does not read,
/// or that the realm's root did not sign, is as good as none: a node will tell.
#[must_use]
pub fn known_revoked_nodes(config: &Path, realm: &RealmId) -> Option<RevokedNodesRecord> {
    let path = revoked_nodes_path(config, realm);
    let bytes = files::read(&path, SIGNED_RECORD_LENGTH_MAX).ok()?;
    let roots = known_roots(config, realm).ok()??;
    RevokedNodesRecord::decode(&bytes, &roots).ok()
}

/// Keeps what is known of a realm's nodes that are believed no more, unless as much is
/// known already.
///
/// # Errors
/// [`ContextError::File`].
pub fn keep_revoked_nodes(
    config: &Path,
    realm: &RealmId,
    record: &RevokedNodesRecord,
) -> Result<(), ContextError> {
    let is_known = || {
        let known = known_revoked_nodes(config, realm);
        known.is_some_and(|known| known.standing() >= record.standing())
    };
    if is_known() {
        return Ok(());
    }
    let path = revoked_nodes_path(config, realm);
    files::ensure_directory(config)?;
    files::ensure_directory(&config.join(REVOKED_NODES))?;
    // Two commands that end at once: the newer record stays, whichever writes last.
    let _lock = lock(config)?;
    if is_known() {
        return Ok(());
    }
    Ok(files::write(&path, &record.encode(), Existing::Replace)?)
}

/// What is known of a realm's roots; none before any node showed some.
///
/// # Errors
/// [`ContextError::File`], [`ContextError::DamagedRoots`]: taken for none, a damaged file
/// would let who stole a former root key begin anew.
pub fn known_roots(config: &Path, realm: &RealmId) -> Result<Option<Roots>, ContextError> {
    let path = roots_path(config, realm);
    let bytes = match files::read(&path, ROOTS_LENGTH_MAX) {
        Err(FileError::Missing(_)) => return Ok(None),
        read => read?,
    };
    Roots::decode(&bytes, realm)
        .map(Some)
        .map_err(|source| ContextError::DamagedRoots { path, source })
}

/// Keeps what is known of a realm's roots, unless as much is known already: it never goes
/// back. Before [`keep_revoked_nodes`], whose record rests on it.
///
/// # Errors
/// [`ContextError::File`], [`ContextError::Roots`] for roots that go another way than
/// those that are kept, [`ContextError::DamagedRoots`].
pub fn keep_roots(config: &Path, roots: &Roots) -> Result<(), ContextError> {
    let realm = roots.realm();
    let newest = || match known_roots(config, &realm)? {
        None => Ok(Some(roots.clone())),
        Some(mut known) => {
            let news = known.take(&roots.encode())?;
            Ok::<_, ContextError>(news.then_some(known))
        }
    };
    if newest()?.is_none() {
        return Ok(());
    }
    files::ensure_directory(config)?;
    files::ensure_directory(&config.join(ROOTS))?;
    let _lock = lock(config)?;
    let Some(newest) = newest()? else {
        return Ok(());
    };
    let path = roots_path(config, &realm);
    Ok(files::write(&path, &newest.encode(), Existing::Replace)?)
}

/// Held while what is known of realms is changed.
fn lock(config: &Path) -> Result<files::Lock, FileError> {
    files::lock(&config.join(LOCK))
}

fn roots_path(config: &Path, realm: &RealmId) -> PathBuf {
    config.join(ROOTS).join(realm.to_string())
}

fn revoked_nodes_path(config: &Path, realm: &RealmId) -> PathBuf {
    config.join(REVOKED_NODES).join(realm.to_string())
}

/// The name of the current context, if there is one.
///
/// # Errors
/// [`ContextError::File`].
pub fn current(config: &Path) -> Result<Option<String>, ContextError> {
    match files::read(&config.join("contexts").join(CURRENT), 3 * NAME_LENGTH_MAX) {
        Ok(bytes) => Ok(String::from_utf8(bytes).ok()),
        Err(FileError::Missing(_)) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// The names of all contexts, in order.
///
/// # Errors
/// [`ContextError::File`].
pub fn names(config: &Path) -> Result<Vec<String>, ContextError> {
    let mut names = match files::names(&config.join("contexts")) {
        Err(FileError::Missing(_)) => Vec::new(),
        names => names?,
    };
    names.retain(|name| path_of(config, name).is_ok());
    names.sort_unstable();
    Ok(names)
}

fn path_of(config: &Path, name: &str) -> Result<PathBuf, ContextError> {
    let valid = !name.is_empty()
        && name.len() <= 2 * NAME_LENGTH_MAX + 1
        && !name.starts_with('.')
        && name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte));
    if !valid {
        return Err(ContextError::BadName(name.chars().take(64).collect()));
    }
    Ok(config.join("contexts").join(name))
}

fn read_name(reader: &mut Reader<'_>) -> Result<Name, EncodingError> {
    reader
        .text(NAME_LENGTH_MAX)?
        .parse()
        .map_err(|_| EncodingError::Invalid("a name is malformed"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn context() -> Context {
        Context {
            realm: RealmId::from_bytes([1; 32]),
            realm_name: "acme".parse().expect("a name"),
            user: "alice".parse().expect("a name"),
            session_seed: SecretArray::from_bytes([2; 32]),
            proof: SessionProof {
                session: vec![3],
                receipt: vec![4, 5],
                expires_ms: 6,
                must_change: false,
            },
            key_until_ms: 7,
            roots: None,
            addresses: vec!["127.0.0.1:7401".to_owned()],
        }
    }

    #[test]
    fn a_context_is_saved_and_becomes_the_current_one() {
        let directory = tempfile::tempdir().expect("a directory");
        assert!(matches!(
            Context::load(directory.path(), None),
            Err(ContextError::None)
        ));
        context()
            .save(directory.path(), "acme-alice")
            .expect("saved");
        let (name, loaded) = Context::load(directory.path(), None).expect("loaded");
        assert_eq!(name, "acme-alice");
        assert_eq!(loaded.addresses, context().addresses);
        assert_eq!(loaded.proof, context().proof);
        assert!(matches!(
            Context::load(directory.path(), Some("other")),
            Err(ContextError::NoSuch(_))
        ));
    }

    #[test]
    fn a_context_is_found_by_its_user_and_realm_and_no_other() {
        let directory = tempfile::tempdir().expect("a directory");
        let found = |realm: u8, user: &str, named: Option<&str>| {
            let realm = RealmId::from_bytes([realm; 32]);
            Context::of_user(directory.path(), realm, user, named).is_some()
        };
        assert!(!found(1, "alice", None));
        context().save(directory.path(), "x").expect("saved");
        let damaged = directory.path().join("contexts").join("y");
        files::write(&damaged, b"SMCX", Existing::Refuse).expect("written");
        assert!(found(1, "alice", Some("x")));
        assert!(!found(2, "alice", Some("x")));
        assert!(!found(1, "bob", Some("x")));
        assert!(!found(1, "alice", Some("y")));
        // It has a key of its own: another context gets another.
        assert!(!found(1, "alice", None));
        context()
            .save(directory.path(), "acme-alice")
            .expect("saved");
        assert!(found(1, "alice", None));
    }

    #[test]
    fn a_deleted_context_is_gone_and_no_other() {
        let directory = tempfile::tempdir().expect("a directory");
        let config = directory.path();
        let delete = |name: Option<&str>| Context::delete(config, name);
        assert!(matches!(delete(None), Err(ContextError::None)));
        for name in ["x", "y", "z"] {
            context().save(config, name).expect("saved");
        }
        assert!(matches!(delete(Some("w")), Err(ContextError::NoSuch(_))));
        assert!(matches!(
            delete(Some("../x")),
            Err(ContextError::BadName(_))
        ));
        assert_eq!(delete(Some("x")).expect("deleted"), "x");
        assert_eq!(delete(None).expect("deleted"), "z");
        assert!(matches!(delete(None), Err(ContextError::None)));
        assert!(Context::load(config, Some("x")).is_err());
        assert!(Context::load(config, Some("z")).is_err());
        assert!(Context::load(config, Some("y")).is_ok());
    }

    #[test]
    fn another_context_becomes_current_if_it_is_there_and_reads() {
        let directory = tempfile::tempdir().expect("a directory");
        let config = directory.path();
        assert!(names(config).expect("none").is_empty());
        for name in ["y", "x"] {
            context().save(config, name).expect("saved");
        }
        let damaged = config.join("contexts").join("z");
        files::write(&damaged, b"SMCX", Existing::Refuse).expect("written");
        assert_eq!(names(config).expect("listed"), ["x", "y", "z"]);
        let current = || current(config).expect("read").expect("one");
        assert_eq!(current(), "x");
        Context::make_current(config, "y").expect("there");
        assert_eq!(current(), "y");
        assert!(matches!(
            Context::make_current(config, "w"),
            Err(ContextError::NoSuch(_))
        ));
        assert!(matches!(
            Context::make_current(config, "z"),
            Err(ContextError::Damaged { .. })
        ));
        assert!(matches!(
            Context::make_current(config, "../x"),
            Err(ContextError::BadName(_))
        ));
        assert_eq!(current(), "y");
    }

    #[test]
    fn of_two_records_of_revoked_nodes_the_newer_is_kept_and_no_damaged_one_believed() {
        use crate::records::revoked_nodes::tests::revoking;
        let root = sealmoot_crypto::signature::SigningKey::generate().expect("random");
        let realm = RealmId::without_heir(&root.verifying_key());
        let directory = tempfile::tempdir().expect("a directory");
        let config = directory.path();
        let version = || known_revoked_nodes(config, &realm).map(|known| known.version());
        assert_eq!(version(), None);
        keep_roots(config, &Roots::sole(root.verifying_key())).expect("kept");
        for (told, kept) in [(2, 2), (1, 2), (3, 3)] {
            let record = revoking(&root, told, &[]);
            keep_revoked_nodes(config, &realm, &record).expect("kept");
            assert_eq!(version(), Some(kept));
        }
        let path = revoked_nodes_path(config, &realm);
        files::write(&path, b"\x08", Existing::Replace).expect("written");
        assert_eq!(version(), None);
    }

    #[test]
    fn what_is_known_of_roots_never_goes_back_and_takes_no_fork() {
        use crate::roots::tests::Keys;
        let keys = Keys::new(4);
        let (one, two) = (keys.after(1), keys.after(2));
        let realm = one.realm();
        let directory = tempfile::tempdir().expect("a directory");
        let config = directory.path();
        let known = || known_roots(config, &realm).map(|known| known.map(|known| known.number()));
        let number = || known().expect("read");
        assert_eq!(number(), None);
        for (told, kept) in [(&one, 1), (&two, 2), (&one, 2), (&keys.first(), 2)] {
            keep_roots(config, told).expect("kept");
            assert_eq!(number(), Some(kept));
        }
        let calls = [[1; 32]];
        let fork = keys.next(&keys.first(), 1, &calls);
        let refused = keep_roots(config, &fork);
        assert!(matches!(
            refused,
            Err(ContextError::Roots(RootsError::Fork(1)))
        ));
        assert_eq!(number(), Some(2));
        let path = roots_path(config, &realm);
        files::write(&path, &Keys::new(2).first().encode(), Existing::Replace).expect("written");
        // Of another realm, and not taken for none: else it would be written over by less.
        assert!(matches!(known(), Err(ContextError::DamagedRoots { .. })));
        let refused = keep_roots(config, &one);
        assert!(matches!(refused, Err(ContextError::DamagedRoots { .. })));
    }

    #[test]
    fn names_that_lead_elsewhere_are_refused() {
        let directory = tempfile::tempdir().expect("a directory");
        for name in ["", "../x", "a/b", ".current", "a b", &"x".repeat(200)] {
            assert!(
                matches!(
                    context().save(directory.path(), name),
                    Err(ContextError::BadName(_))
                ),
                "{name:?}"
            );
        }
    }

    #[test]
    fn every_truncation_is_refused() {
        let bytes = context().encode();
        for length in 0..bytes.len() {
            assert!(Context::decode(&bytes.expose()[..length]).is_err());
        }
    }
}
