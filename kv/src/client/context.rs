//! What a client keeps between commands: which realm, which nodes, and a session.
//!
//! `contexts/NAME` in the configuration directory, mode 0600, because it holds
//! the session key:
//!
//! ```text
//!      4  "SMCX"
//!      1  version, 1
//!     32  realm id
//!    4+n  realm name
//!    4+n  user
//!     32  seed of the session key
//!    4+n  session statement
//!    4+n  receipt
//!      8  expiry, milliseconds since 1970
//!      4  number of addresses, then each with its length
//! ```
//!
//! and `contexts/.current` holds the name of the one in use.

use std::path::{Path, PathBuf};

use sealmoot_authn::files::{self, Existing, FileError};
use sealmoot_authn::login::SessionProof;
use sealmoot_authn::name::{NAME_LENGTH_MAX, Name};
use sealmoot_authn::realm_id::RealmId;
use sealmoot_authn::statement::{NODES_MAX, STATEMENT_LENGTH_MAX, check_address};
use sealmoot_crypto::encoding::{EncodingError, Reader, Writer};
use sealmoot_crypto::secret::{SecretArray, SecretBytes};

const MAGIC: &[u8; 4] = b"SMCX";
const VERSION: u8 = 1;
const CONTEXT_BYTES_MAX: usize = 128 * 1024;
const ADDRESS_LENGTH_MAX: usize = 255;
const CURRENT: &str = ".current";

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
    /// Addresses of the nodes.
    pub addresses: Vec<String>,
}

/// Why a context was not read or written.
#[derive(Debug, thiserror::Error)]
pub enum ContextError {
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

    /// Writes the context and makes it the current one.
    ///
    /// # Errors
    /// [`ContextError`].
    pub fn save(&self, config: &Path, name: &str) -> Result<(), ContextError> {
        let path = path_of(config, name)?;
        files::ensure_directory(config)?;
        files::ensure_directory(&config.join("contexts"))?;
        files::write(&path, self.encode().expose(), Existing::Replace)?;
        let current = config.join("contexts").join(CURRENT);
        files::write(&current, name.as_bytes(), Existing::Replace)?;
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
        let context = Self::decode(content.expose())
            .map_err(|source| ContextError::Damaged { path, source })?;
        Ok((name, context))
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
        };
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
            addresses,
        })
    }
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
            },
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
