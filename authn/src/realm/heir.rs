//! The key that comes after the root: sealed, and best kept elsewhere.
//!
//! ```text
//! heir.sealed   a passphrase box with the key's seed (32), and the SHA-256 of the box;
//!               where the realm has an approver, all of that waits for the approval
//!               ([`crate::approval`])
//! ```
//!
//! Whoever has the root key *and* this one has the realm. So the file may be moved to
//! another place once it was made; it is needed when the realm is handed over, and for
//! nothing else.

use sealmoot_crypto::digest::sha256;
use sealmoot_crypto::passphrase_box::{self, BoxOpenError};
use sealmoot_crypto::password::{Cost, PasswordError};
use sealmoot_crypto::secret::SecretArray;
use sealmoot_crypto::signature::SigningKey;

use super::{RealmError, under_approval};
use crate::approval::{Act, Approver, LAYER_OVERHEAD_MAX, Waiting};
use crate::name::Name;
use crate::realm_id::RealmId;

/// Name of the file beside `root.sealed`.
pub const HEIR_FILE: &str = "heir.sealed";
/// Longest content of it in bytes.
pub const HEIR_FILE_MAX: usize = 1024 + LAYER_OVERHEAD_MAX;
/// The use that the passphrase box is for.
const CONTEXT: &str = "realm heir key";

/// Why the file did not yield the key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HeirError {
    /// The passphrase is not the heir's.
    #[error("wrong passphrase for the heir")]
    WrongPassphrase,
    /// The file has a content that it should not have.
    #[error("the file of the heir is damaged: {0}")]
    Damaged(String),
    /// It takes a second person, who has not approved yet.
    #[error("the heir waits for an approval by {0}")]
    NotApproved(Approver),
}

/// What an approver is shown of an heir, where there is an approver.
pub(super) fn layer(
    approver: Option<&Approver>,
    realm: &RealmId,
    name: &Name,
    made_ms: u64,
) -> Option<(Approver, Waiting)> {
    let waiting = Waiting {
        act: Act::HandOver,
        realm: *realm,
        name: name.clone(),
        made_ms,
    };
    Some((approver?.clone(), waiting))
}

/// Seals an heir; the content of its file. The id of a new realm is known only with its
/// heir, so it stands in no heir's box.
pub(super) fn seal(
    heir: &SigningKey,
    passphrase: &[u8],
    layer: Option<&(Approver, Waiting)>,
) -> Result<Vec<u8>, RealmError> {
    let mut sealed = passphrase_box::seal(
        passphrase,
        CONTEXT,
        heir.verifying_key().key_id().as_bytes(),
        heir.to_seed().expose(),
        Cost::RFC_9106_LOW_MEMORY,
    )?;
    sealed.extend_from_slice(&sha256(&sealed));
    match layer {
        Some((approver, waiting)) => under_approval(approver, waiting, &sealed),
        None => Ok(sealed),
    }
}

/// Opens the file of the heir with the identity that the realm committed to.
pub(super) fn open(
    content: &[u8],
    passphrase: &[u8],
    committed: &sealmoot_crypto::signature::KeyId,
) -> Result<SigningKey, HeirError> {
    let damaged = |what: &dyn std::fmt::Display| HeirError::Damaged(what.to_string());
    if Waiting::is(content) {
        let waiting = Waiting::read(content).map_err(|error| damaged(&error))?;
        return Err(HeirError::NotApproved(waiting.1));
    }
    let sealed = content
        .split_last_chunk::<32>()
        .filter(|(sealed, digest)| sha256(sealed) == **digest)
        .map(|(sealed, _)| sealed)
        .ok_or_else(|| damaged(&"its digest does not match"))?;
    let seed = passphrase_box::open(passphrase, CONTEXT, committed.as_bytes(), sealed);
    let seed = seed.map_err(|error| match error {
        BoxOpenError::Closed | BoxOpenError::Password(PasswordError::TooLong) => {
            HeirError::WrongPassphrase
        }
        error => damaged(&error),
    })?;
    SecretArray::from_slice(seed.expose())
        .map(|seed| SigningKey::from_seed(&seed))
        .filter(|key| key.verifying_key().key_id() == *committed)
        .ok_or_else(|| damaged(&"another key is sealed in it"))
}
