//! A second person for a dangerous act.
//!
//! A realm may name an *approver* when it is made: the X25519 key of somebody else. What
//! the act takes, a backup for a recovery, is then sealed to that key around the
//! passphrase box that it is anyhow. So nobody does the act alone: the approver takes the
//! outer layer away and sees nothing of what is within, because that is still sealed under
//! the administrator's passphrase, and the administrator's passphrase opens nothing before.
//! Nobody has to be asked whether there was an approval, and no node enforces it.
//!
//! ```text
//! the approver's file, 0600
//!   0      4  "SMAK"
//!   4      1  version, 1
//!   5     32  the public key
//!  37         to the end: a passphrase box with the key's 32 bytes; its associated data
//!             is all of the above
//!
//! what waits for an approval
//!   0      4  "SMAW"
//!   4      1  version, 1
//!   5      1  which act: 1 restoring a backup, 2 handing the realm over to its heir
//!   6     32  the approver's key
//!  38     32  the realm's id
//!  70      8  made, milliseconds since 1970
//!  78    4+n  the realm's name
//!  82+n  4+m  a box sealed to the approver; its associated data is all of the above
//! ```
//!
//! What the header says is what the approver is shown. Whoever knows the approver's public
//! key can seal a layer of their own with any header, around something that they had
//! anyhow; a layer that the realm made cannot be given another header.

use std::fmt;
use std::str::FromStr;

use bech32::primitives::decode::CheckedHrpstring;
use bech32::{Bech32m, Hrp};
use sealmoot_crypto::encoding::{EncodingError, Reader, Writer};
use sealmoot_crypto::hazmat::raw::import_box_key;
use sealmoot_crypto::passphrase_box::{self, BoxOpenError, BoxSealError};
use sealmoot_crypto::password::{Cost, PasswordError};
use sealmoot_crypto::random::RandomError;
use sealmoot_crypto::sealed_box::{self, Kem, OpenError, PrivateKey, PublicKey, SealError};
use sealmoot_crypto::secret::{SecretArray, SecretBytes};

use crate::name::Name;
use crate::realm::BACKUP_LENGTH_MAX;
use crate::realm_id::RealmId;

const KEY_MAGIC: &[u8; 4] = b"SMAK";
const LAYER_MAGIC: &[u8; 4] = b"SMAW";
const VERSION: u8 = 1;
const KEY_LENGTH: usize = 32;
const PREFIX: Hrp = Hrp::parse_unchecked("approver");
/// The use of the passphrase box in the approver's file.
const KEY_CONTEXT: &str = "approver key";
/// The use of the box that is sealed to the approver.
const LAYER_CONTEXT: &str = "realm approval";
/// Longest file of an approver's key in bytes.
pub const APPROVER_FILE_MAX: usize = 1024;
/// Longest box that waits for an approval in bytes.
const WAITING_LENGTH_MAX: usize = BACKUP_LENGTH_MAX;
/// How many bytes longer something is at most while it waits for an approval.
pub const LAYER_OVERHEAD_MAX: usize = 512;

/// Why nothing was approved.
#[derive(Debug, thiserror::Error)]
pub enum ApprovalError {
    /// It is no approver's file, or nothing that waits for an approval.
    #[error("{0}")]
    Malformed(#[from] EncodingError),
    /// The passphrase does not open the approver's key.
    #[error("wrong passphrase")]
    WrongPassphrase,
    /// The approver's file was changed.
    #[error("the approver's file is damaged: {0}")]
    Damaged(String),
    /// Somebody else is to approve it.
    #[error("it waits for {wanted}, and this is {found}")]
    OtherApprover {
        /// Whom it waits for.
        wanted: Approver,
        /// Whose key it is.
        found: Approver,
    },
    /// It was changed, or its header was.
    #[error("what waits for the approval was changed")]
    Changed,
}

/// Why an approver's key was not made.
#[derive(Debug, thiserror::Error)]
pub enum NewApproverError {
    /// The key could not be sealed under the passphrase.
    #[error(transparent)]
    Seal(#[from] BoxSealError),
    /// The random source failed.
    #[error(transparent)]
    Random(#[from] RandomError),
}

/// A text that names no approver.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not an approver (approver1…): a character is wrong or missing")]
pub struct BadApprover;

/// The public key of who has to approve. As text it is bech32m (BIP 350) with the prefix
/// `approver`.
#[derive(Clone, PartialEq, Eq)]
pub struct Approver(PublicKey);

impl Approver {
    /// The key's bytes.
    #[must_use]
    pub fn to_bytes(&self) -> [u8; KEY_LENGTH] {
        let bytes = self.0.to_bytes();
        *bytes.first_chunk().expect("an X25519 key has 32 bytes")
    }

    /// # Errors
    /// [`EncodingError::Invalid`] for what is no key, or one that contributes nothing.
    pub fn from_bytes(bytes: &[u8; KEY_LENGTH]) -> Result<Self, EncodingError> {
        PublicKey::from_bytes(Kem::X25519, bytes)
            .map(Self)
            .map_err(|_| EncodingError::Invalid("the approver's key is no key"))
    }

    /// Seals `content` so that its act takes this approver.
    ///
    /// # Errors
    /// [`SealError`].
    pub fn require(&self, waiting: &Waiting, content: &[u8]) -> Result<Vec<u8>, SealError> {
        let header = waiting.header(self);
        let sealed = sealed_box::seal(&self.0, LAYER_CONTEXT, &header, content)?;
        let mut writer = Writer::with_capacity(header.len() + 4 + sealed.len());
        writer.fixed(&header);
        writer.bytes(&sealed);
        Ok(writer.finish())
    }
}

impl fmt::Display for Approver {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = bech32::encode::<Bech32m>(PREFIX, &self.to_bytes())
            .expect("32 bytes are within bech32m's length");
        formatter.write_str(&text)
    }
}

impl fmt::Debug for Approver {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, formatter)
    }
}

impl FromStr for Approver {
    type Err = BadApprover;

    fn from_str(text: &str) -> Result<Self, BadApprover> {
        let parsed = CheckedHrpstring::new::<Bech32m>(text).map_err(|_| BadApprover)?;
        if parsed.hrp() != PREFIX {
            return Err(BadApprover);
        }
        let bytes: Vec<u8> = parsed.byte_iter().collect();
        let bytes: [u8; KEY_LENGTH] = bytes.try_into().map_err(|_| BadApprover)?;
        let approver = Self::from_bytes(&bytes).map_err(|_| BadApprover)?;
        // One form only, as of a realm's id.
        if approver.to_string() != text {
            return Err(BadApprover);
        }
        Ok(approver)
    }
}

/// What takes a second person.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Act {
    /// Restoring a realm from a backup.
    Restore,
    /// Handing a realm over to the key that comes after the root.
    HandOver,
}

impl Act {
    /// The word for it in results.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Restore => "restore",
            Self::HandOver => "hand-over",
        }
    }

    fn code(self) -> u8 {
        match self {
            Self::Restore => 1,
            Self::HandOver => 2,
        }
    }
}

impl fmt::Display for Act {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Restore => "restoring a backup",
            Self::HandOver => "handing over to the heir",
        })
    }
}

/// What an approver is shown of what waits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Waiting {
    /// What it is for.
    pub act: Act,
    /// The realm.
    pub realm: RealmId,
    /// The realm's name.
    pub name: Name,
    /// When it was made, in milliseconds since 1970.
    pub made_ms: u64,
}

impl Waiting {
    fn header(&self, approver: &Approver) -> Vec<u8> {
        let mut writer = Writer::new();
        writer.fixed(LAYER_MAGIC);
        writer.u8(VERSION);
        writer.u8(self.act.code());
        writer.fixed(&approver.to_bytes());
        writer.fixed(self.realm.as_bytes());
        writer.u64(self.made_ms);
        writer.text(self.name.as_str());
        writer.finish()
    }

    /// Whether something waits for an approval, going by how it begins.
    #[must_use]
    pub fn is(bytes: &[u8]) -> bool {
        bytes.starts_with(LAYER_MAGIC)
    }

    /// What waits, and for whom: unbelieved, until the approver's key opens it.
    ///
    /// # Errors
    /// [`EncodingError`].
    pub fn read(bytes: &[u8]) -> Result<(Self, Approver), EncodingError> {
        let layer = Layer::read(bytes)?;
        Ok((layer.waiting, layer.approver))
    }
}

/// What waits, taken apart.
struct Layer<'a> {
    waiting: Waiting,
    approver: Approver,
    header: &'a [u8],
    sealed: &'a [u8],
}

impl<'a> Layer<'a> {
    fn read(bytes: &'a [u8]) -> Result<Self, EncodingError> {
        let mut reader = Reader::new(bytes);
        if reader.fixed(4)? != LAYER_MAGIC {
            return Err(EncodingError::Invalid("nothing that waits for an approval"));
        }
        let version = reader.u8()?;
        if version != VERSION {
            return Err(EncodingError::Unknown {
                what: "version of what waits for an approval",
                value: u64::from(version),
            });
        }
        let act = match reader.u8()? {
            1 => Act::Restore,
            2 => Act::HandOver,
            value => {
                return Err(EncodingError::Unknown {
                    what: "act that waits for an approval",
                    value: u64::from(value),
                });
            }
        };
        let approver = Approver::from_bytes(&reader.array()?)?;
        let waiting = Waiting {
            act,
            realm: RealmId::from_bytes(reader.array()?),
            made_ms: reader.u64()?,
            name: crate::statement::read_name(&mut reader)?,
        };
        let sealed = reader.bytes(WAITING_LENGTH_MAX)?;
        reader.finish()?;
        Ok(Self {
            waiting,
            approver,
            header: &bytes[..bytes.len() - 4 - sealed.len()],
            sealed,
        })
    }
}

/// An approver's key, open.
pub struct ApproverKey(PrivateKey);

impl ApproverKey {
    /// Makes a key: the content of its file, sealed under `passphrase`, and the public
    /// half.
    ///
    /// # Errors
    /// [`NewApproverError`].
    pub fn create(passphrase: &[u8]) -> Result<(Vec<u8>, Approver), NewApproverError> {
        let secret = SecretArray::<KEY_LENGTH>::random()?;
        let approver = imported(&secret)
            .expect("32 random bytes are zeros with probability 2^-256")
            .approver();
        let mut file = key_header(&approver);
        let sealed = passphrase_box::seal(
            passphrase,
            KEY_CONTEXT,
            &file,
            secret.expose(),
            Cost::RFC_9106_LOW_MEMORY,
        )?;
        file.extend_from_slice(&sealed);
        Ok((file, approver))
    }

    /// Whose file it is, without the passphrase.
    ///
    /// # Errors
    /// [`ApprovalError::Malformed`].
    pub fn owner(file: &[u8]) -> Result<Approver, ApprovalError> {
        let mut reader = Reader::new(file);
        if reader.fixed(4)? != KEY_MAGIC {
            return Err(EncodingError::Invalid("not the file of an approver's key").into());
        }
        let version = reader.u8()?;
        if version != VERSION {
            return Err(EncodingError::Unknown {
                what: "version of an approver's file",
                value: u64::from(version),
            }
            .into());
        }
        Ok(Approver::from_bytes(&reader.array()?)?)
    }

    /// Opens the file of a key.
    ///
    /// # Errors
    /// [`ApprovalError::WrongPassphrase`], [`ApprovalError::Damaged`], others.
    pub fn open(file: &[u8], passphrase: &[u8]) -> Result<Self, ApprovalError> {
        let owner = Self::owner(file)?;
        let header = key_header(&owner);
        let opened = passphrase_box::open(passphrase, KEY_CONTEXT, &header, &file[header.len()..]);
        let secret = opened.map_err(|error| match error {
            BoxOpenError::Closed | BoxOpenError::Password(PasswordError::TooLong) => {
                ApprovalError::WrongPassphrase
            }
            error => ApprovalError::Damaged(error.to_string()),
        })?;
        SecretArray::from_slice(secret.expose())
            .and_then(|secret| imported(&secret))
            .filter(|key| key.approver() == owner)
            .ok_or_else(|| ApprovalError::Damaged("another key is sealed in it".to_owned()))
    }

    /// The public half.
    #[must_use]
    pub fn approver(&self) -> Approver {
        Approver(self.0.public_key())
    }

    /// Takes away the layer that waits for this approver. What comes out is sealed under
    /// the administrator's passphrase as it ever was.
    ///
    /// # Errors
    /// [`ApprovalError::OtherApprover`], [`ApprovalError::Changed`], others.
    pub fn approve(&self, layer: &[u8]) -> Result<SecretBytes, ApprovalError> {
        let layer = Layer::read(layer)?;
        let (wanted, found) = (layer.approver, self.approver());
        if wanted != found {
            return Err(ApprovalError::OtherApprover { wanted, found });
        }
        sealed_box::open(&self.0, LAYER_CONTEXT, layer.header, layer.sealed).map_err(|error| {
            match error {
                OpenError::Malformed(error) => error.into(),
                _ => ApprovalError::Changed,
            }
        })
    }
}

/// The key with these bytes; none with zeros.
fn imported(secret: &SecretArray<KEY_LENGTH>) -> Option<ApproverKey> {
    import_box_key(Kem::X25519, secret.expose())
        .ok()
        .map(ApproverKey)
}

fn key_header(approver: &Approver) -> Vec<u8> {
    let mut writer = Writer::new();
    writer.fixed(KEY_MAGIC);
    writer.u8(VERSION);
    writer.fixed(&approver.to_bytes());
    writer.finish()
}

#[cfg(test)]
mod tests;
