//! Which of two records with one name holds.

use std::cmp::{Ordering, Reverse};

use sealmoot_crypto::digest::sha256;

use crate::delegation::SerialPath;

/// Where a record stands among those of its name. It comes from the record's bytes
/// alone, and two records with different bytes never stand alike: so whoever has the same
/// records goes by the same ones, in whatever order they came.
///
/// In this order count: a later root before a former, who issued it (the root before everybody, an issuer before those
/// below, an elder delegate before a younger), the version, the versions of the
/// delegations, and at last the SHA-256 of the bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standing {
    root: u64,
    path: SerialPath,
    version: u64,
    delegations: Vec<u64>,
    digest: [u8; 32],
}

impl Standing {
    /// The standing of a record that the root with this number issued.
    #[must_use]
    pub fn of_root(root: u64, version: u64, bytes: &[u8]) -> Self {
        Self::new(
            root,
            SerialPath::default(),
            Vec::new(),
            version,
            sha256(bytes),
        )
    }

    pub(crate) fn new(
        root: u64,
        path: SerialPath,
        delegations: Vec<u64>,
        version: u64,
        digest: [u8; 32],
    ) -> Self {
        Self {
            root,
            path,
            version,
            delegations,
            digest,
        }
    }

    /// The number of the root behind it.
    #[must_use]
    pub fn root(&self) -> u64 {
        self.root
    }

    /// By whom it is: the serials of the delegations behind it.
    #[must_use]
    pub fn path(&self) -> &SerialPath {
        &self.path
    }

    /// The versions of these delegations.
    #[must_use]
    pub fn delegations(&self) -> &[u64] {
        &self.delegations
    }

    /// The record's version.
    #[must_use]
    pub fn version(&self) -> u64 {
        self.version
    }
}

impl Ord for Standing {
    fn cmp(&self, other: &Self) -> Ordering {
        let key = |standing: &Self| (Reverse(standing.path.clone()), standing.version);
        self.root
            .cmp(&other.root)
            .then_with(|| key(self).cmp(&key(other)))
            .then_with(|| self.delegations.cmp(&other.delegations))
            .then_with(|| self.digest.cmp(&other.digest))
    }
}

impl PartialOrd for Standing {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}
