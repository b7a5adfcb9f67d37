//! Merkle trees with proofs of inclusion and consistency (RFC 9162, section 2.1).
//!
//! A tree's root is 32 bytes that stand for a list of leaves. A proof of a few
//! hashes shows that one leaf is in the list ([`verify_inclusion`]), or that a longer
//! list begins with a shorter one ([`verify_consistency`]): that a log was appended
//! to, and not rewritten.
//!
//! - [`Tree`] keeps all hashes and makes proofs.
//! - [`Frontier`] keeps one hash a level, appends, and knows the root only.
//!
//! The hashes are RFC 9162's, so proofs are interchangeable with those of
//! certificate transparency logs:
//!
//! ```text
//! leaf hash   SHA-256(0x00 || leaf)
//! node        SHA-256(0x01 || left || right)
//! empty tree  SHA-256("")
//! ```
//!
//! The first byte keeps leaves and nodes apart; without it a node could be passed
//! off as a leaf of 64 bytes. For the same reason a [`LeafHash`] is its own type.
//!
//! A root says nothing about who made it: sign it, together with the size, to which
//! it does not commit by itself. The hashes are no secrets, and a leaf that can be
//! guessed is not hidden by its hash.
//!
//! ```
//! use sealmoot_crypto::merkle::{LeafHash, Tree, verify_consistency, verify_inclusion};
//! let mut tree = Tree::new();
//! for entry in ["alice in", "bob in", "alice out"] {
//!     tree.append(LeafHash::of(entry.as_bytes()));
//! }
//! let (old_size, old_root) = (tree.size(), tree.root());
//! tree.append(LeafHash::of(b"bob out"));
//!
//! let proof = tree.inclusion_proof(1, tree.size())?;
//! verify_inclusion(&LeafHash::of(b"bob in"), 1, tree.size(), &proof, &tree.root())?;
//!
//! let proof = tree.consistency_proof(old_size, tree.size())?;
//! verify_consistency(old_size, &old_root, tree.size(), &tree.root(), &proof)?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod frontier;
mod proof;
mod tree;

use core::fmt;

pub use self::frontier::{Frontier, FrontierFull};
pub use self::proof::{
    PROOF_HASHES_MAX, Proof, ProofRejected, verify_consistency, verify_inclusion,
};
pub use self::tree::{NoSuchProof, Tree};
use crate::digest::{Sha256, sha256};

/// Length of every hash in bytes.
pub const HASH_LENGTH: usize = 32;

/// The hash of a node inside a tree, of whatever height.
type Node = [u8; HASH_LENGTH];

/// `SHA-256(0x00 || leaf)`: what a tree holds of a leaf.
///
/// ```
/// use sealmoot_crypto::merkle::{LeafHash, Tree};
/// let mut tree = Tree::new();
/// tree.append(LeafHash::of(b"entry"));
/// // The root of a single leaf is its hash.
/// assert_eq!(tree.root().as_bytes(), LeafHash::of(b"entry").as_bytes());
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct LeafHash([u8; HASH_LENGTH]);

impl LeafHash {
    /// The hash of `leaf`.
    ///
    /// ```
    /// use sealmoot_crypto::{digest::sha256, merkle::LeafHash};
    /// assert_eq!(LeafHash::of(b"entry").as_bytes(), &sha256(b"\0entry"));
    /// ```
    #[must_use]
    pub fn of(leaf: &[u8]) -> Self {
        let mut hasher = Sha256::new();
        hasher.update(&[0x00]);
        hasher.update(leaf);
        Self(hasher.finish())
    }

    /// Takes 32 bytes that [`LeafHash::of`] gave and that were kept. Never a leaf
    /// that happens to have 32 bytes: it could then be a node of another tree.
    ///
    /// ```
    /// use sealmoot_crypto::merkle::LeafHash;
    /// let kept: [u8; 32] = *LeafHash::of(b"entry").as_bytes();
    /// assert_eq!(LeafHash::from_bytes(kept), LeafHash::of(b"entry"));
    /// ```
    #[must_use]
    pub fn from_bytes(bytes: [u8; HASH_LENGTH]) -> Self {
        Self(bytes)
    }

    /// The 32 bytes.
    ///
    /// ```
    /// use sealmoot_crypto::merkle::LeafHash;
    /// let (entry, other) = (LeafHash::of(b"entry"), LeafHash::of(b"other"));
    /// assert_ne!(entry.as_bytes(), other.as_bytes());
    /// ```
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; HASH_LENGTH] {
        &self.0
    }
}

impl fmt::Debug for LeafHash {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "LeafHash({})", Hex(&self.0))
    }
}

/// The hash of a whole tree: RFC 9162's Merkle Tree Hash.
///
/// ```
/// use sealmoot_crypto::merkle::{LeafHash, Tree};
/// let (mut tree, mut reordered) = (Tree::new(), Tree::new());
/// for (one, another) in [(b"a", b"b"), (b"b", b"a")] {
///     tree.append(LeafHash::of(one));
///     reordered.append(LeafHash::of(another));
/// }
/// assert_ne!(tree.root(), reordered.root());
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Root([u8; HASH_LENGTH]);

impl Root {
    /// The root of the tree without leaves: `SHA-256("")`.
    ///
    /// ```
    /// use sealmoot_crypto::merkle::{Root, Tree};
    /// assert_eq!(Tree::new().root(), Root::of_empty_tree());
    /// ```
    #[must_use]
    pub fn of_empty_tree() -> Self {
        Self(sha256(b""))
    }

    /// Takes 32 bytes; whether they are a root shows when a proof is verified.
    ///
    /// ```
    /// use sealmoot_crypto::merkle::{LeafHash, Root, Tree, verify_inclusion};
    /// let mut tree = Tree::new();
    /// tree.append(LeafHash::of(b"first"));
    /// tree.append(LeafHash::of(b"second"));
    /// let received = Root::from_bytes(*tree.root().as_bytes());
    /// let proof = tree.inclusion_proof(0, 2)?;
    /// verify_inclusion(&LeafHash::of(b"first"), 0, 2, &proof, &received)?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn from_bytes(bytes: [u8; HASH_LENGTH]) -> Self {
        Self(bytes)
    }

    /// The 32 bytes.
    ///
    /// ```
    /// use sealmoot_crypto::{encoding::Writer, merkle::{LeafHash, Tree}, signature::SigningKey};
    /// let mut tree = Tree::new();
    /// tree.append(LeafHash::of(b"first"));
    /// // The size is signed with the root, which does not commit to it.
    /// let mut writer = Writer::new();
    /// writer.u64(tree.size());
    /// writer.fixed(tree.root().as_bytes());
    /// let head = writer.finish();
    /// let key = SigningKey::generate()?;
    /// key.verifying_key().verify("log head", &head, &key.sign("log head", &head))?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; HASH_LENGTH] {
        &self.0
    }
}

impl fmt::Debug for Root {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Root({})", Hex(&self.0))
    }
}

struct Hex<'a>(&'a [u8]);

impl fmt::Display for Hex<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for byte in self.0 {
            write!(formatter, "{byte:02x}")?;
        }
        Ok(())
    }
}

/// `SHA-256(0x01 || left || right)`.
fn parent(left: &Node, right: &Node) -> Node {
    let mut input = [0u8; 1 + 2 * HASH_LENGTH];
    input[0] = 0x01;
    input[1..=HASH_LENGTH].copy_from_slice(left);
    input[1 + HASH_LENGTH..].copy_from_slice(right);
    sha256(&input)
}

#[cfg(test)]
mod tests;
