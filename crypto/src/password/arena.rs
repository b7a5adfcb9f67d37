//! Memory that one hash after another is computed in.

use alloc::vec::Vec;

use core::fmt;

use argon2::Block;
use zeroize::Zeroize;

use super::PasswordError;

/// Memory for one hash at a time, wiped after each. It grows to the dearest hash made
/// in it and stays so.
///
/// Why wiped: in what Argon2 leaves, the passes can be undone down to the first block,
/// which is two short hashes away from the password. Whoever found it (in a core dump,
/// in swap) could test guesses without paying for the memory.
///
/// ```
/// use sealmoot_crypto::password::{Arena, Cost, PasswordRecord};
/// let mut arena = Arena::default();
/// let record = PasswordRecord::hash_in(b"correct horse", Cost::OWASP, &mut arena)?;
/// assert!(record.verify_in(b"correct horse", &mut arena)?);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Default)]
pub struct Arena(Vec<Block>);

impl Arena {
    /// `count` blocks of whatever content.
    pub(super) fn blocks(&mut self, count: usize) -> Result<&mut [Block], PasswordError> {
        if self.0.len() < count {
            // Wiped and given back before the larger one is taken: growing in place
            // would leave a copy behind, and need both at once.
            drop(core::mem::take(self));
            self.0
                .try_reserve_exact(count)
                .map_err(|_| PasswordError::OutOfMemory)?;
            self.0.resize(count, Block::default());
        }
        Ok(&mut self.0[..count])
    }
}

impl Drop for Arena {
    fn drop(&mut self) {
        // Once more, for a hash that panicked. Only what was written: the wiping of a
        // whole `Vec` goes over its room once more, byte by byte, and here there is
        // none beyond the blocks.
        self.0.iter_mut().zeroize();
    }
}

impl fmt::Debug for Arena {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Arena({} KiB, redacted)", self.0.len())
    }
}

#[cfg(test)]
mod tests {
    use std::prelude::v1::*;

    use super::*;

    #[test]
    fn it_grows_and_never_shrinks() {
        let mut arena = Arena::default();
        assert_eq!(arena.blocks(8).expect("memory").len(), 8);
        assert_eq!(arena.blocks(32).expect("memory").len(), 32);
        assert_eq!(arena.blocks(16).expect("memory").len(), 16);
        assert_eq!(format!("{arena:?}"), "Arena(32 KiB, redacted)");
    }

    #[test]
    fn memory_that_is_not_to_be_had_is_an_error() {
        let mut arena = Arena::default();
        assert!(matches!(
            arena.blocks(usize::MAX / 2),
            Err(PasswordError::OutOfMemory)
        ));
        assert_eq!(arena.blocks(8).expect("memory").len(), 8);
    }
}
