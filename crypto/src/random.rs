//! Randomness from the operating system, and nothing else.
//!
//! Generation is fallible: a machine whose random source is broken must be told
//! so, not handed zeros.

use rand::TryRng;
use rand::rngs::{SysError, SysRng};

/// The operating system's random source failed.
#[derive(Debug, thiserror::Error)]
#[error("the operating system's random source failed: {0}")]
pub struct RandomError(SysError);

/// Fills `buffer` with random bytes.
///
/// # Errors
/// When the operating system's random source fails; the buffer's content is
/// then unspecified and must not be used.
pub fn fill(buffer: &mut [u8]) -> Result<(), RandomError> {
    SysRng.try_fill_bytes(buffer).map_err(RandomError)
}

/// `N` random bytes that are not a secret: a nonce, a salt, an identifier.
///
/// # Errors
/// When the operating system's random source fails.
///
/// ```
/// let id: [u8; 16] = sealmoot_crypto::random::array()?;
/// # Ok::<(), sealmoot_crypto::random::RandomError>(())
/// ```
pub fn array<const N: usize>() -> Result<[u8; N], RandomError> {
    let mut bytes = [0u8; N];
    fill(&mut bytes)?;
    Ok(bytes)
}
