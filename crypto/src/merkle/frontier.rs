//! A tree that only grows, in one hash a level.

use alloc::vec::Vec;

use core::fmt;

use super::{LeafHash, Node, Root, parent};
use crate::encoding::{EncodingError, Reader, Writer};

const FORMAT_VERSION: u16 = 1;

/// The tree has 2^64 - 1 leaves, the most that a size can say.
///
/// ```
/// use sealmoot_crypto::merkle::{Frontier, FrontierFull, LeafHash};
/// let mut bytes = vec![0; 2 + 8 + 64 * 32];
/// bytes[0] = 1; // the version
/// bytes[2..10].fill(0xff); // 2^64 - 1 leaves
/// let mut frontier = Frontier::from_bytes(&bytes)?;
/// assert_eq!(frontier.append(LeafHash::of(b"one too many")), Err(FrontierFull));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the tree is full")]
pub struct FrontierFull;

/// The right edge of a tree: enough to append and to know the root, in at most 64
/// hashes whatever the size. Proofs need a [`super::Tree`].
///
/// ```
/// use sealmoot_crypto::merkle::{Frontier, LeafHash, Tree};
/// let (mut frontier, mut tree) = (Frontier::new(), Tree::new());
/// for entry in [b"a", b"b", b"c"] {
///     frontier.append(LeafHash::of(entry))?;
///     tree.append(LeafHash::of(entry));
/// }
/// assert_eq!(frontier.root(), tree.root());
/// assert_eq!(Frontier::from_bytes(&frontier.to_bytes())?, frontier);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Frontier {
    size: u64,
    /// The complete subtrees that the leaves fall into, largest first: one for
    /// every bit of `size` that is set.
    peaks: Vec<Node>,
}

impl Frontier {
    /// A tree without leaves.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Appends a leaf; returns its index, which counts from 0.
    ///
    /// # Errors
    /// [`FrontierFull`]; the frontier is as it was.
    pub fn append(&mut self, leaf: LeafHash) -> Result<u64, FrontierFull> {
        let index = self.size;
        self.size = index.checked_add(1).ok_or(FrontierFull)?;
        // As in a binary counter: each trailing one is a peak as high as the node.
        let mut node = leaf.0;
        for _ in 0..index.trailing_ones() {
            let left = self.peaks.pop().expect("one peak for every bit set");
            node = parent(&left, &node);
        }
        self.peaks.push(node);
        Ok(index)
    }

    /// How many leaves there are.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.size
    }

    /// The root over all leaves.
    #[must_use]
    pub fn root(&self) -> Root {
        let mut peaks = self.peaks.iter().rev();
        match peaks.next() {
            None => Root::of_empty_tree(),
            Some(smallest) => Root(peaks.fold(*smallest, |right, left| parent(left, &right))),
        }
    }

    /// The frontier as bytes: version u16, size u64, then 32 bytes for every bit of
    /// the size that is set, the highest first.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut writer = Writer::new();
        writer.u16(FORMAT_VERSION);
        writer.u64(self.size);
        for peak in &self.peaks {
            writer.fixed(peak);
        }
        writer.finish()
    }

    /// The frontier that [`Frontier::to_bytes`] wrote. The bytes are believed: whoever
    /// could have changed them is kept out by a seal, or by comparing the root.
    ///
    /// # Errors
    /// [`EncodingError`] when the bytes are anything else.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, EncodingError> {
        let mut reader = Reader::new(bytes);
        let version = reader.u16()?;
        if version != FORMAT_VERSION {
            return Err(EncodingError::Unknown {
                what: "frontier version",
                value: u64::from(version),
            });
        }
        let size = reader.u64()?;
        // At most 64 hashes, so no size can ask for memory.
        let peaks = (0..size.count_ones())
            .map(|_| reader.array())
            .collect::<Result<_, _>>()?;
        reader.finish()?;
        Ok(Self { size, peaks })
    }
}

impl fmt::Debug for Frontier {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            formatter,
            "Frontier({} leaves, {:?})",
            self.size,
            self.root()
        )
    }
}
