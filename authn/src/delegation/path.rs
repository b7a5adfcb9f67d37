//! Which delegation is meant: the serials from the root's delegation down to it.

use std::fmt;

use sealmoot_crypto::encoding::{EncodingError, Reader, Writer};

use super::CHAIN_LENGTH_MAX;

/// The serials from the root's delegation down; none for the root itself.
///
/// Paths are ordered by who prevails where two issuers made a record of one name: an
/// issuer before those below, an elder before a younger. The root comes first.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct SerialPath(Vec<u64>);

impl SerialPath {
    /// The path with these serials.
    #[must_use]
    pub fn of(serials: impl IntoIterator<Item = u64>) -> Self {
        Self(serials.into_iter().collect())
    }

    /// Whether it is the root's.
    #[must_use]
    pub fn is_root(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether it is `other`, or lies below.
    #[must_use]
    pub fn lies_within(&self, other: &Self) -> bool {
        self.0.starts_with(&other.0)
    }

    /// The path of who issued it; that of the root is its own.
    #[must_use]
    pub fn parent(&self) -> Self {
        Self(self.0[..self.0.len().saturating_sub(1)].to_vec())
    }

    /// The serial of the last delegation; none of the root.
    #[must_use]
    pub fn last(&self) -> Option<u64> {
        self.0.last().copied()
    }

    /// The paths that lead to it, the shortest first, itself last; the root's is not
    /// among them.
    pub(crate) fn prefixes(&self) -> impl Iterator<Item = Self> {
        (1..=self.0.len()).map(|length| Self(self.0[..length].to_vec()))
    }

    pub(crate) fn encode(&self, writer: &mut Writer) {
        writer.count(self.0.len());
        for serial in &self.0 {
            writer.u64(*serial);
        }
    }

    pub(crate) fn decode(reader: &mut Reader<'_>) -> Result<Self, EncodingError> {
        let count = reader.count(CHAIN_LENGTH_MAX)?;
        (0..count)
            .map(|_| reader.u64())
            .collect::<Result<_, _>>()
            .map(Self)
    }
}

impl fmt::Display for SerialPath {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, serial) in self.0.iter().enumerate() {
            let before = if index == 0 { "" } else { "." };
            write!(formatter, "{before}{serial}")?;
        }
        Ok(())
    }
}
