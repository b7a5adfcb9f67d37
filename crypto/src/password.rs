//! Password hashing with Argon2id (RFC 9106), stored as PHC strings.
//!
//! | To | use |
//! |---|---|
//! | store a password and check one | [`PasswordRecord`] |
//! | choose what a hash costs | [`Cost`], [`Limits`] |
//! | keep stolen records from being guessed at all | [`pepper`] |
//! | hash on a few threads with bounded memory | `pool` (feature `std`) |
//! | tell people how guessable a password is | `strength` (feature `strength`) |
//! | refuse passwords that are public already | [`breached`] |
//! | derive a key from a passphrase | [`stretch`], [`crate::passphrase_box`] |
//!
//! Stored parameters are capped before any memory is reserved: a record that
//! asks for a terabyte is refused, not obeyed.
//!
//! ```
//! use sealmoot_crypto::password::{Cost, PasswordRecord};
//! let stored = PasswordRecord::hash(b"correct horse", Cost::SERVER)?.to_phc();
//!
//! let record = PasswordRecord::from_phc(&stored)?;
//! assert!(record.verify(b"correct horse")?);
//! assert!(!record.verify(b"battery staple")?);
//! assert!(!record.needs_rehash(Cost::SERVER));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod arena;
pub mod breached;
mod cost;
pub mod pepper;
#[cfg(feature = "std")]
pub mod pool;
mod record;
#[cfg(feature = "strength")]
pub mod strength;

use argon2::{Algorithm, Argon2, Version};
use zeroize::Zeroize;

pub use arena::Arena;
pub use cost::{Cost, LANES_MAX, Limits, MEMORY_KIB_MAX, PASSES_MAX, WORK_KIB_MAX};
pub use record::{PHC_LENGTH_MAX, PasswordRecord, PhcFault, verify_nobody};

use crate::random::RandomError;
use crate::secret::{SecretArray, scrubbed_below};

/// Longest password taken, in bytes.
pub const PASSWORD_LENGTH_MAX: usize = 1024;

/// Longest output of [`recompute`], in bytes.
pub const RECOMPUTED_LENGTH_MAX: usize = 64;

const SALT_LENGTH: usize = 16;
const HASH_LENGTH: usize = 32;

/// Why a password was not hashed or not compared.
///
/// ```
/// use sealmoot_crypto::password::{PasswordError, PasswordRecord, PhcFault};
/// let no_record = PasswordRecord::from_phc("5f4dcc3b5aa765d61d8327deb882cf99");
/// assert!(matches!(no_record, Err(PasswordError::Malformed(PhcFault::Fields))));
/// let terabyte = "$argon2id$v=19$m=1073741824,t=1,p=1$c2FsdHNhbHQ$aGFzaA";
/// let refused = PasswordRecord::from_phc(terabyte);
/// assert!(matches!(refused, Err(PasswordError::TooCostly)));
/// ```
#[derive(Debug, thiserror::Error)]
pub enum PasswordError {
    /// The password is longer than [`PASSWORD_LENGTH_MAX`] bytes.
    #[error("a password has at most {PASSWORD_LENGTH_MAX} bytes")]
    TooLong,
    /// The stored record is not a PHC string of Argon2id version 19.
    #[error("not a PHC string of Argon2id: {0}")]
    Malformed(#[from] PhcFault),
    /// RFC 9106 section 3.1 allows no such cost: at least one pass, one lane, and
    /// eight KiB a lane.
    #[error("Argon2id needs a pass, a lane and 8 KiB of memory a lane")]
    InvalidCost,
    /// More is asked for than the [`Limits`] admit.
    #[error("more memory, passes or lanes are asked for than allowed")]
    TooCostly,
    /// The memory that the hash needs is not to be had.
    #[error("there is not enough memory for this hash")]
    OutOfMemory,
    /// The random source failed.
    #[error(transparent)]
    Random(#[from] RandomError),
}

/// Argon2id version 19 of a password, within [`Limits::DEFAULT`]: 32 bytes to derive
/// keys from.
///
/// # Errors
/// [`PasswordError::TooLong`], [`PasswordError::TooCostly`],
/// [`PasswordError::InvalidCost`], [`PasswordError::OutOfMemory`].
///
/// ```
/// use sealmoot_crypto::{kdf, password::{Cost, stretch}, random};
/// let salt = random::array()?; // to be stored beside what the key seals
/// let master = stretch(b"correct horse", &salt, Cost::OWASP)?;
/// let key = kdf::derive(master.expose(), "example", &[]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn stretch(
    password: &[u8],
    salt: &[u8; SALT_LENGTH],
    cost: Cost,
) -> Result<SecretArray<32>, PasswordError> {
    stretch_in(password, salt, cost, &mut Arena::default())
}

/// As [`stretch`], in memory that is kept for the next time.
///
/// # Errors
/// As [`stretch`].
///
/// ```
/// use sealmoot_crypto::password::{Arena, stretch, stretch_in};
/// # use sealmoot_crypto::password::Cost;
/// # let cost = Cost { memory_kib: 8, passes: 1, lanes: 1 };
/// let mut arena = Arena::default();
/// let key = stretch_in(b"correct horse", &[7; 16], cost, &mut arena)?;
/// let other = stretch_in(b"battery staple", &[7; 16], cost, &mut arena)?;
/// assert!(key.same_as(&stretch(b"correct horse", &[7; 16], cost)?) && !key.same_as(&other));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn stretch_in(
    password: &[u8],
    salt: &[u8; SALT_LENGTH],
    cost: Cost,
    arena: &mut Arena,
) -> Result<SecretArray<32>, PasswordError> {
    stretch_within(password, salt, cost, &Limits::DEFAULT, arena)
}

/// As [`stretch_in`], within limits of the caller's: [`Limits::OWN`] for a cost that
/// stands in the program itself.
///
/// # Errors
/// As [`stretch`].
///
/// ```
/// use sealmoot_crypto::password::{Arena, Cost, Limits, PasswordError, stretch_within};
/// let tight = Limits { memory_kib: 8 * 1024, ..Limits::DEFAULT };
/// let refused = stretch_within(b"pw", &[0; 16], Cost::OWASP, &tight, &mut Arena::default());
/// assert!(matches!(refused, Err(PasswordError::TooCostly)));
/// ```
pub fn stretch_within(
    password: &[u8],
    salt: &[u8; SALT_LENGTH],
    cost: Cost,
    limits: &Limits,
    arena: &mut Arena,
) -> Result<SecretArray<32>, PasswordError> {
    argon2id(password, salt, cost, limits, arena)
}

/// Argon2id version 19 of a password as another program computed it once: into an
/// `output` of 16 to [`RECOMPUTED_LENGTH_MAX`] bytes, under a salt of 8 to 48 bytes. The
/// length of the output is an input of the function (RFC 9106, section 3.2): a shorter
/// one is not the beginning of a longer one.
///
/// # Errors
/// [`PasswordError::Malformed`] for salts and outputs of other lengths, else as
/// [`stretch`].
///
/// ```
/// use sealmoot_crypto::password::{Arena, Cost, Limits, recompute};
/// # let cost = Cost { memory_kib: 8, passes: 1, lanes: 1 };
/// let (mut short, mut long) = ([0; 16], [0; 32]);
/// let (limits, arena) = (&Limits::DEFAULT, &mut Arena::default());
/// recompute(b"correct horse", b"somesalt", cost, limits, arena, &mut short)?;
/// recompute(b"correct horse", b"somesalt", cost, limits, arena, &mut long)?;
/// assert_ne!(short, long[..16]);
/// # Ok::<(), sealmoot_crypto::password::PasswordError>(())
/// ```
pub fn recompute(
    password: &[u8],
    salt: &[u8],
    cost: Cost,
    limits: &Limits,
    arena: &mut Arena,
    output: &mut [u8],
) -> Result<(), PasswordError> {
    if !(8..=48).contains(&salt.len()) {
        return Err(PhcFault::Salt.into());
    }
    if !(16..=RECOMPUTED_LENGTH_MAX).contains(&output.len()) {
        return Err(PhcFault::Hash.into());
    }
    argon2id_into(password, salt, cost, limits, arena, output)
}

/// Argon2id for salts of any length that a [`PasswordRecord`] may have.
fn argon2id(
    password: &[u8],
    salt: &[u8],
    cost: Cost,
    limits: &Limits,
    arena: &mut Arena,
) -> Result<SecretArray<HASH_LENGTH>, PasswordError> {
    let mut hash = SecretArray::zeros();
    argon2id_into(password, salt, cost, limits, arena, hash.expose_mut())?;
    Ok(hash)
}

fn argon2id_into(
    password: &[u8],
    salt: &[u8],
    cost: Cost,
    limits: &Limits,
    arena: &mut Arena,
    output: &mut [u8],
) -> Result<(), PasswordError> {
    if password.len() > PASSWORD_LENGTH_MAX {
        return Err(PasswordError::TooLong);
    }
    let params = cost.params(limits, output.len())?;
    let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
    let blocks = arena.blocks(argon2.params().block_count())?;
    // Argon2 keeps whole blocks of its memory in variables.
    scrubbed_below::<32, _>(|| {
        argon2
            .hash_password_into_with_memory(password, salt, output, &mut *blocks)
            .expect("lengths, parameters and memory were checked above");
    });
    // What is left in the memory would let a guess be tested by two hashes of a few
    // blocks: the first block depends on nothing but the password and public values,
    // and the passes over it can be undone.
    blocks.iter_mut().zeroize();
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_of_a_hash_is_left_in_its_arena() {
        let cost = Cost {
            memory_kib: 32,
            passes: 1,
            lanes: 1,
        };
        let mut arena = Arena::default();
        stretch_in(b"password", &[1; SALT_LENGTH], cost, &mut arena).expect("stretched");
        let blocks = arena.blocks(32).expect("the same memory");
        assert!(
            blocks
                .iter()
                .all(|block| block.as_ref().iter().all(|word| *word == 0))
        );
    }
}
