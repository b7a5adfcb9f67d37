//! Randomness from the operating system, and nothing else.
//!
//! Generation is fallible: a machine whose random source is broken must be told
//! so, not handed zeros.
//!
//! ```
//! use sealmoot_crypto::random;
//! let (one, another): ([u8; 16], [u8; 16]) = (random::array()?, random::array()?);
//! assert_ne!(one, another);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use rand::TryRng;
use rand::rngs::{SysError, SysRng};

/// The operating system's random source failed.
///
/// ```
/// use sealmoot_crypto::random::{self, RandomError};
/// // Handed on, and never made up for by bytes of another source.
/// fn session_id() -> Result<[u8; 16], RandomError> {
///     random::array()
/// }
/// assert_ne!(session_id()?, session_id()?);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, thiserror::Error)]
#[error("the operating system's random source failed: {0}")]
pub struct RandomError(SysError);

/// Fills `buffer` with random bytes.
///
/// # Errors
/// When the operating system's random source fails; the buffer's content is
/// then unspecified and must not be used.
///
/// ```
/// use sealmoot_crypto::random;
/// let mut padding = vec![0; 64];
/// random::fill(&mut padding)?;
/// assert!(padding.iter().any(|byte| *byte != 0));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
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
