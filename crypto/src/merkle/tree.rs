//! A tree that keeps what its proofs are made of.

use alloc::vec::Vec;

use super::{LeafHash, Node, Proof, Root, parent};

/// A proof that does not exist was asked for.
///
/// ```
/// use sealmoot_crypto::merkle::{LeafHash, NoSuchProof, Tree};
/// let mut tree = Tree::new();
/// tree.append(LeafHash::of(b"first"));
/// let future = NoSuchProof::SizeNotReached { size: 2, present: 1 };
/// assert_eq!(tree.inclusion_proof(0, 2), Err(future));
/// assert_eq!(tree.consistency_proof(0, 1), Err(NoSuchProof::OldTreeEmpty));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NoSuchProof {
    /// The tree has never had that many leaves.
    #[error("the tree has {present} leaves, not {size}")]
    SizeNotReached {
        /// The size that was asked about.
        size: u64,
        /// How many leaves there are.
        present: u64,
    },
    /// A tree of that size has no leaf with that index.
    #[error("a tree of {size} leaves has no leaf {index}")]
    IndexOutside {
        /// The index, which counts from 0.
        index: u64,
        /// The size that was asked about.
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
    /// Every tree begins with the empty one: there is nothing to prove.
    #[error("nothing is proved about an empty older tree")]
    OldTreeEmpty,
}

/// Leaf hashes in order, and the hash of every complete subtree: 64 bytes of memory
/// a leaf. It answers for the tree as it is and as it was at every earlier size.
///
/// ```
/// use sealmoot_crypto::merkle::{LeafHash, Tree};
/// let mut tree = Tree::new();
/// assert_eq!(tree.append(LeafHash::of(b"first")), 0);
/// assert_eq!(tree.append(LeafHash::of(b"second")), 1);
/// assert_eq!(tree.size(), 2);
/// ```
#[derive(Clone, Default)]
pub struct Tree {
    /// `levels[h][i]` is the hash over the leaves from `i * 2^h` to `(i + 1) * 2^h`.
    levels: Vec<Vec<Node>>,
}

impl Tree {
    /// A tree without leaves.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Appends a leaf; returns its index, which counts from 0.
    pub fn append(&mut self, leaf: LeafHash) -> u64 {
        let index = self.size();
        let mut node = leaf.0;
        for height in 0.. {
            if height == self.levels.len() {
                self.levels.push(Vec::new());
            }
            let level = &mut self.levels[height];
            level.push(node);
            // An even number of nodes: the last two have a parent now.
            match level.as_slice() {
                [.., left, right] if level.len().is_multiple_of(2) => node = parent(left, right),
                _ => break,
            }
        }
        index
    }

    /// How many leaves there are.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.levels.first().map_or(0, |leaves| leaves.len() as u64)
    }

    /// The root over all leaves.
    #[must_use]
    pub fn root(&self) -> Root {
        match self.size() {
            0 => Root::of_empty_tree(),
            size => Root(self.subtree(0, size)),
        }
    }

    /// The root when there were `size` leaves.
    ///
    /// # Errors
    /// [`NoSuchProof::SizeNotReached`].
    ///
    /// ```
    /// use sealmoot_crypto::merkle::{LeafHash, Tree};
    /// let mut tree = Tree::new();
    /// tree.append(LeafHash::of(b"first"));
    /// let then = tree.root();
    /// tree.append(LeafHash::of(b"second"));
    /// assert_eq!(tree.root_at(1)?, then);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn root_at(&self, size: u64) -> Result<Root, NoSuchProof> {
        self.reached(size)?;
        Ok(match size {
            0 => Root::of_empty_tree(),
            size => Root(self.subtree(0, size)),
        })
    }

    /// That leaf `index` is in the tree of the first `size` leaves: RFC 9162,
    /// section 2.1.3.1.
    ///
    /// # Errors
    /// [`NoSuchProof::SizeNotReached`], [`NoSuchProof::IndexOutside`].
    pub fn inclusion_proof(&self, index: u64, size: u64) -> Result<Proof, NoSuchProof> {
        self.reached(size)?;
        if index >= size {
            return Err(NoSuchProof::IndexOutside { index, size });
        }
        // From the root down to the leaf, noting each sibling; proofs go upwards.
        let mut path = Vec::new();
        let (mut start, mut length) = (0, size);
        while length > 1 {
            let left = split(length);
            if index - start < left {
                path.push(self.subtree(start + left, length - left));
                length = left;
            } else {
                path.push(self.subtree(start, left));
                start += left;
                length -= left;
            }
        }
        path.reverse();
        Ok(Proof::of(path))
    }

    /// That the tree of the first `new_size` leaves begins with the tree of the
    /// first `old_size`: RFC 9162, section 2.1.4.1. Between equal sizes the proof is
    /// empty.
    ///
    /// # Errors
    /// [`NoSuchProof::SizeNotReached`], [`NoSuchProof::SizesOutOfOrder`],
    /// [`NoSuchProof::OldTreeEmpty`].
    pub fn consistency_proof(&self, old_size: u64, new_size: u64) -> Result<Proof, NoSuchProof> {
        self.reached(new_size)?;
        if old_size > new_size {
            return Err(NoSuchProof::SizesOutOfOrder { old_size, new_size });
        }
        if old_size == 0 {
            return Err(NoSuchProof::OldTreeEmpty);
        }
        // Down to the subtree that ends where the old tree ends.
        let mut path = Vec::new();
        let (mut start, mut length) = (0, new_size);
        while start + length != old_size {
            let left = split(length);
            if old_size - start <= left {
                path.push(self.subtree(start + left, length - left));
                length = left;
            } else {
                path.push(self.subtree(start, left));
                start += left;
                length -= left;
            }
        }
        // When it is the whole old tree its hash is the old root, which the
        // verifier has.
        if start > 0 {
            path.push(self.subtree(start, length));
        }
        path.reverse();
        Ok(Proof::of(path))
    }

    fn reached(&self, size: u64) -> Result<(), NoSuchProof> {
        let present = self.size();
        if size > present {
            return Err(NoSuchProof::SizeNotReached { size, present });
        }
        Ok(())
    }

    /// The Merkle Tree Hash over `length > 0` leaves from `start`, which RFC 9162's
    /// splitting makes a multiple of the power of two at or above `length`.
    fn subtree(&self, start: u64, length: u64) -> Node {
        if length.is_power_of_two() {
            let height = length.trailing_zeros();
            let position = usize::try_from(start >> height).expect("below a vector's length");
            return self.levels[height as usize][position];
        }
        let left = split(length);
        parent(
            &self.subtree(start, left),
            &self.subtree(start + left, length - left),
        )
    }
}

impl core::fmt::Debug for Tree {
    fn fmt(&self, formatter: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(formatter, "Tree({} leaves, {:?})", self.size(), self.root())
    }
}

/// The largest power of two below `length`, which is at least 2.
fn split(length: u64) -> u64 {
    1 << (length - 1).ilog2()
}
