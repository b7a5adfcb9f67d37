//! Which delegations are no longer believed.

use std::collections::BTreeMap;

use sealmoot_crypto::encoding::{EncodingError, Reader, Writer};

use super::Body;
use crate::delegation::{CHAIN_LENGTH_MAX, SerialPath};

/// Most delegations that one realm revokes.
pub const REVOCATIONS_MAX: usize = 256;
/// Longest reason in bytes.
pub const REASON_LENGTH_MAX: usize = 64;

// With three serials and the longest reason each, all of them fit one statement.
const _: () = assert!(
    16 + REVOCATIONS_MAX * (4 + 8 * CHAIN_LENGTH_MAX + 8 + 4 + REASON_LENGTH_MAX)
        <= super::BODY_LENGTH_MAX
);

/// Kind *revocations*: the root takes delegations back. All of a realm's are one
/// statement with one version.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Revocations {
    /// Rises with every change.
    pub version: u64,
    /// By the serials from the root's delegation down to the one that is meant.
    pub entries: BTreeMap<SerialPath, Revocation>,
}

/// What of one delegation is not believed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Revocation {
    /// The lowest version that still counts; [`Revocation::FOR_GOOD`] when none does.
    pub lowest_version: u64,
    /// Why, for people: one line of up to [`REASON_LENGTH_MAX`] bytes.
    pub reason: String,
}

impl Revocation {
    /// No version counts, and none ever will.
    pub const FOR_GOOD: u64 = u64::MAX;
}

impl Revocations {
    /// Why a chain of delegations with these serials and versions is not believed;
    /// `None` when it is. Whoever loses a delegation loses all that lie below it.
    #[must_use]
    pub fn reason(&self, path: &SerialPath, versions: &[u64]) -> Option<&Revocation> {
        path.prefixes().zip(versions).find_map(|(prefix, version)| {
            let entry = self.entries.get(&prefix)?;
            // The last version would pass for one that counts.
            let revoked =
                entry.lowest_version == Revocation::FOR_GOOD || *version < entry.lowest_version;
            revoked.then_some(entry)
        })
    }
}

impl Revocations {
    /// Whether nothing under a path will ever be believed again, whatever its versions.
    #[must_use]
    pub fn end(&self, path: &SerialPath) -> bool {
        let entries = path.prefixes().filter_map(|path| self.entries.get(&path));
        entries
            .map(|entry| entry.lowest_version)
            .any(|lowest| lowest == Revocation::FOR_GOOD)
    }
}

/// Whether a text can be a reason: printed on terminals and in logs.
#[must_use]
pub fn is_reason(text: &str) -> bool {
    text.len() <= REASON_LENGTH_MAX && !text.chars().any(char::is_control)
}

impl Body for Revocations {
    const KIND: u8 = 11;
    const DOMAIN: &'static str = "statement/revocations";

    fn encode(&self, writer: &mut Writer) {
        writer.u64(self.version);
        writer.count(self.entries.len());
        for (path, entry) in &self.entries {
            path.encode(writer);
            writer.u64(entry.lowest_version);
            writer.text(&entry.reason);
        }
    }

    fn decode(reader: &mut Reader<'_>) -> Result<Self, EncodingError> {
        let version = reader.u64()?;
        let count = reader.count(REVOCATIONS_MAX)?;
        let mut entries = BTreeMap::new();
        for _ in 0..count {
            let path = SerialPath::decode(reader)?;
            if path.is_root() {
                return Err(EncodingError::Invalid("the root cannot be revoked"));
            }
            let last = entries.last_key_value().map(|(last, _)| last);
            if last.is_some_and(|last| *last >= path) {
                return Err(EncodingError::Invalid("revocations are out of order"));
            }
            let lowest_version = reader.u64()?;
            let reason = reader.text(REASON_LENGTH_MAX)?;
            if !is_reason(reason) {
                return Err(EncodingError::Invalid("a reason has control characters"));
            }
            let entry = Revocation {
                lowest_version,
                reason: reason.to_owned(),
            };
            entries.insert(path, entry);
        }
        Ok(Self { version, entries })
    }
}
