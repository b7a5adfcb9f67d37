//! Proofs and what they prove: RFC 9162, sections 2.1.3.2 and 2.1.4.2.

use alloc::vec::Vec;

use super::{HASH_LENGTH, LeafHash, Node, Root, parent};
use crate::encoding::{EncodingError, Reader, Writer};

/// Most hashes that a proof has: one a level, of which a size of 64 bits has 64.
/// (A proof of consistency may need one more above 2^63 leaves, which no tree has.)
pub const PROOF_HASHES_MAX: usize = 64;

/// Why a proof was not accepted.
///
/// ```
/// use sealmoot_crypto::merkle::{LeafHash, ProofRejected, Tree, verify_inclusion};
/// let mut tree = Tree::new();
/// tree.append(LeafHash::of(b"first"));
/// tree.append(LeafHash::of(b"second"));
/// let (first, proof) = (LeafHash::of(b"first"), tree.inclusion_proof(0, 2)?);
/// let elsewhere = verify_inclusion(&first, 1, 2, &proof, &tree.root());
/// assert_eq!(elsewhere, Err(ProofRejected::RootDiffers));
/// let outside = verify_inclusion(&first, 2, 2, &proof, &tree.root());
/// assert_eq!(outside, Err(ProofRejected::IndexOutside { index: 2, size: 2 }));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ProofRejected {
    /// A tree of that size has no leaf with that index.
    #[error("a tree of {size} leaves has no leaf {index}")]
    IndexOutside {
        /// The index, which counts from 0.
        index: u64,
        /// The size that the root is claimed for.
        size: u64,
    },
    /// The older tree is larger than the newer.
    #[error("an older tree of {old_size} leaves is no beginning of one of {new_size}")]
    SizesOutOfOrder {
        /// Size of the older tree.
        old_size: u64,
        /// Size of the newer tree.
        new_size: u64,
    },
    /// Every tree begins with the empty one, so nothing would be proved. Whoever
    /// starts from an empty tree takes the first root as it comes.
    #[error("nothing is proved about an empty older tree")]
    OldTreeEmpty,
    /// The proof has fewer hashes than such a proof has.
    #[error("the proof has too few hashes")]
    TooFewHashes,
    /// The proof has more hashes than such a proof has.
    #[error("the proof has too many hashes")]
    TooManyHashes,
    /// The proof leads to another root than the older tree's.
    #[error("the proof does not lead to the older root")]
    OldRootDiffers,
    /// The proof leads to another root: another leaf, another place, another tree.
    #[error("the proof does not lead to the root")]
    RootDiffers,
}

/// The hashes of a proof of inclusion or of consistency, from the leaves upwards.
///
/// ```
/// use sealmoot_crypto::merkle::{LeafHash, Tree};
/// let mut tree = Tree::new();
/// for entry in 0..1000u32 {
///     tree.append(LeafHash::of(&entry.to_le_bytes()));
/// }
/// let proof = tree.inclusion_proof(7, 1000)?;
/// assert_eq!(proof.hashes().len(), 10); // of a thousand leaves
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proof(Vec<Node>);

impl Proof {
    /// Takes hashes that came in another encoding than [`Proof::to_bytes`].
    ///
    /// # Errors
    /// [`ProofRejected::TooManyHashes`] above [`PROOF_HASHES_MAX`].
    pub fn from_hashes(hashes: Vec<[u8; HASH_LENGTH]>) -> Result<Self, ProofRejected> {
        if hashes.len() > PROOF_HASHES_MAX {
            return Err(ProofRejected::TooManyHashes);
        }
        Ok(Self(hashes))
    }

    /// The hashes, from the leaves upwards.
    #[must_use]
    pub fn hashes(&self) -> &[[u8; HASH_LENGTH]] {
        &self.0
    }

    /// The proof as bytes: the number of hashes (u32) and 32 bytes each.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut writer = Writer::with_capacity(4 + self.0.len() * HASH_LENGTH);
        writer.count(self.0.len());
        for hash in &self.0 {
            writer.fixed(hash);
        }
        writer.finish()
    }

    /// The proof that [`Proof::to_bytes`] wrote.
    ///
    /// # Errors
    /// [`EncodingError`] when the bytes are anything else.
    ///
    /// ```
    /// use sealmoot_crypto::merkle::{LeafHash, Proof, Tree};
    /// let mut tree = Tree::new();
    /// tree.append(LeafHash::of(b"first"));
    /// tree.append(LeafHash::of(b"second"));
    /// let proof = tree.inclusion_proof(0, 2)?;
    /// assert_eq!(Proof::from_bytes(&proof.to_bytes())?, proof);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, EncodingError> {
        let mut reader = Reader::new(bytes);
        let hashes = (0..reader.count(PROOF_HASHES_MAX)?)
            .map(|_| reader.array())
            .collect::<Result<_, _>>()?;
        reader.finish()?;
        Ok(Self(hashes))
    }

    pub(super) fn of(hashes: Vec<Node>) -> Self {
        debug_assert!(hashes.len() <= PROOF_HASHES_MAX, "no tree has 2^63 leaves");
        Self(hashes)
    }
}

/// Verifies that the leaf with `leaf` for its hash stands at `index` (from 0) in the
/// tree of `size` leaves that `root` is the root of: RFC 9162, section 2.1.3.2.
///
/// `size` and `root` come from somebody who is believed: a signature over both, or a
/// proof of consistency with a root that is.
///
/// # Errors
/// [`ProofRejected`].
///
/// ```
/// use sealmoot_crypto::merkle::{LeafHash, ProofRejected, Tree, verify_inclusion};
/// let mut tree = Tree::new();
/// tree.append(LeafHash::of(b"first"));
/// tree.append(LeafHash::of(b"second"));
/// let proof = tree.inclusion_proof(1, 2)?;
/// verify_inclusion(&LeafHash::of(b"second"), 1, 2, &proof, &tree.root())?;
/// assert_eq!(
///     verify_inclusion(&LeafHash::of(b"third"), 1, 2, &proof, &tree.root()),
///     Err(ProofRejected::RootDiffers)
/// );
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn verify_inclusion(
    leaf: &LeafHash,
    index: u64,
    size: u64,
    proof: &Proof,
    root: &Root,
) -> Result<(), ProofRejected> {
    if index >= size {
        return Err(ProofRejected::IndexOutside { index, size });
    }
    // `node` is the index of the ancestor reached so far, `last` that of its level's
    // last node: RFC 9162 calls them fn and sn.
    let (mut node, mut last) = (index, size - 1);
    let mut hash = leaf.0;
    for sibling in &proof.0 {
        if last == 0 {
            return Err(ProofRejected::TooManyHashes);
        }
        if node & 1 == 1 || node == last {
            hash = parent(sibling, &hash);
            // A last node without a right sibling stands for its parents, up to the
            // level where it is a right child.
            while node & 1 == 0 && node != 0 {
                node >>= 1;
                last >>= 1;
            }
        } else {
            hash = parent(&hash, sibling);
        }
        node >>= 1;
        last >>= 1;
    }
    if last != 0 {
        return Err(ProofRejected::TooFewHashes);
    }
    if hash != root.0 {
        return Err(ProofRejected::RootDiffers);
    }
    Ok(())
}

/// Verifies that the tree of `new_size` leaves with `new_root` begins with the
/// `old_size` leaves of the tree with `old_root`: RFC 9162, section 2.1.4.2.
///
/// Between equal sizes the roots have to be equal and the proof empty.
///
/// # Errors
/// [`ProofRejected`].
///
/// ```
/// use sealmoot_crypto::merkle::{LeafHash, Tree, verify_consistency};
/// let mut log = Tree::new();
/// log.append(LeafHash::of(b"first"));
/// let seen = log.root();
/// log.append(LeafHash::of(b"second"));
/// let proof = log.consistency_proof(1, 2)?;
/// verify_consistency(1, &seen, 2, &log.root(), &proof)?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn verify_consistency(
    old_size: u64,
    old_root: &Root,
    new_size: u64,
    new_root: &Root,
    proof: &Proof,
) -> Result<(), ProofRejected> {
    if old_size > new_size {
        return Err(ProofRejected::SizesOutOfOrder { old_size, new_size });
    }
    if old_size == 0 {
        return Err(ProofRejected::OldTreeEmpty);
    }
    if old_size == new_size {
        // RFC 9162 defines no proof here; its algorithm would take one all the same.
        if !proof.0.is_empty() {
            return Err(ProofRejected::TooManyHashes);
        }
        return match old_root == new_root {
            true => Ok(()),
            false => Err(ProofRejected::RootDiffers),
        };
    }
    // An old tree that is one complete subtree is itself the first hash.
    let (first, rest) = match old_size.is_power_of_two() {
        true if proof.0.is_empty() => return Err(ProofRejected::TooFewHashes),
        true => (&old_root.0, proof.0.as_slice()),
        false => proof.0.split_first().ok_or(ProofRejected::TooFewHashes)?,
    };
    let (mut node, mut last) = (old_size - 1, new_size - 1);
    while node & 1 == 1 {
        node >>= 1;
        last >>= 1;
    }
    let (mut old_hash, mut new_hash) = (*first, *first);
    for sibling in rest {
        if last == 0 {
            return Err(ProofRejected::TooManyHashes);
        }
        if node & 1 == 1 || node == last {
            old_hash = parent(sibling, &old_hash);
            new_hash = parent(sibling, &new_hash);
            while node & 1 == 0 && node != 0 {
                node >>= 1;
                last >>= 1;
            }
        } else {
            new_hash = parent(&new_hash, sibling);
        }
        node >>= 1;
        last >>= 1;
    }
    if last != 0 {
        return Err(ProofRejected::TooFewHashes);
    }
    if old_hash != old_root.0 {
        return Err(ProofRejected::OldRootDiffers);
    }
    if new_hash != new_root.0 {
        return Err(ProofRejected::RootDiffers);
    }
    Ok(())
}
