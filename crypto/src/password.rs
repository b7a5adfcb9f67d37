//! Password hashing with Argon2id (RFC 9106), stored as PHC strings.
//!
//! Stored parameters are capped before any memory is reserved: a record that
//! asks for a terabyte is refused, not obeyed.

use alloc::string::{String, ToString};
use alloc::vec::Vec;

use core::fmt;

use argon2::{Algorithm, Argon2, Params, Version};
use phc::{Ident, Output, ParamsString, PasswordHash, Salt};
use zeroize::Zeroizing;

use crate::random::{self, RandomError};
use crate::secret::{SecretArray, constant_time_equal};

/// Longest password taken, in bytes.
pub const PASSWORD_LENGTH_MAX: usize = 1024;
/// Longest PHC string taken, in bytes.
pub const PHC_LENGTH_MAX: usize = 512;
/// Most memory that a stored record may ask for, in KiB (1 GiB).
pub const MEMORY_KIB_MAX: u32 = 1024 * 1024;
/// Most passes that a stored record may ask for.
pub const PASSES_MAX: u32 = 16;
/// Most lanes that a stored record may ask for.
pub const LANES_MAX: u32 = 16;

const SALT_LENGTH: usize = 16;
const HASH_LENGTH: usize = 32;

/// What one hash costs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cost {
    /// Memory in KiB.
    pub memory_kib: u32,
    /// Passes over that memory.
    pub passes: u32,
    /// Lanes.
    pub lanes: u32,
}

impl Cost {
    /// OWASP's minimum for Argon2id: 19 MiB, 2 passes, 1 lane. For servers.
    pub const OWASP: Self = Self {
        memory_kib: 19 * 1024,
        passes: 2,
        lanes: 1,
    };
    /// RFC 9106's second recommendation: 64 MiB, 3 passes, 4 lanes. For what is
    /// opened rarely: a root key, a user's key.
    pub const RFC_9106_LOW_MEMORY: Self = Self {
        memory_kib: 64 * 1024,
        passes: 3,
        lanes: 4,
    };

    fn params(self) -> Result<Params, PasswordError> {
        if self.memory_kib > MEMORY_KIB_MAX || self.passes > PASSES_MAX || self.lanes > LANES_MAX {
            return Err(PasswordError::TooCostly);
        }
        Params::new(self.memory_kib, self.passes, self.lanes, Some(HASH_LENGTH))
            .map_err(|_| PasswordError::Malformed)
    }
}

/// Why a password was not hashed or not compared.
#[derive(Debug, thiserror::Error)]
pub enum PasswordError {
    /// The password is longer than [`PASSWORD_LENGTH_MAX`] bytes.
    #[error("a password has at most {PASSWORD_LENGTH_MAX} bytes")]
    TooLong,
    /// The stored record is not a PHC string of Argon2id version 19.
    #[error("not a PHC string of Argon2id")]
    Malformed,
    /// The stored record asks for more than the caps of this module.
    #[error("the stored record asks for more memory, passes or lanes than allowed")]
    TooCostly,
    /// The random source failed.
    #[error(transparent)]
    Random(#[from] RandomError),
}

/// A stored password record: Argon2id, parameters within the caps, 32-byte hash.
#[derive(Clone)]
pub struct PasswordRecord {
    cost: Cost,
    salt: [u8; SALT_LENGTH],
    hash: [u8; HASH_LENGTH],
}

impl PasswordRecord {
    /// Hashes `password` under a fresh salt.
    ///
    /// # Errors
    /// [`PasswordError::TooLong`], [`PasswordError::Random`].
    ///
    /// ```
    /// use sealmoot_crypto::password::{Cost, PasswordRecord};
    /// let record = PasswordRecord::hash(b"correct horse", Cost::OWASP)?;
    /// assert!(record.verify(b"correct horse")?);
    /// assert!(!record.verify(b"battery staple")?);
    /// # Ok::<(), sealmoot_crypto::password::PasswordError>(())
    /// ```
    pub fn hash(password: &[u8], cost: Cost) -> Result<Self, PasswordError> {
        let salt = random::array()?;
        let hash = *stretch(password, &salt, cost)?.expose();
        Ok(Self { cost, salt, hash })
    }

    /// Whether `password` is the one; takes as long either way.
    ///
    /// # Errors
    /// [`PasswordError::TooLong`].
    pub fn verify(&self, password: &[u8]) -> Result<bool, PasswordError> {
        let hash = stretch(password, &self.salt, self.cost)?;
        Ok(constant_time_equal(hash.expose(), &self.hash))
    }

    /// As [`PasswordRecord::verify`], in memory that is kept for the next time: page
    /// faults otherwise cost a fifth of a comparison, and an allocator may never
    /// give back what many threads took one after another.
    ///
    /// # Errors
    /// [`PasswordError::TooLong`].
    pub fn verify_in(&self, password: &[u8], arena: &mut Arena) -> Result<bool, PasswordError> {
        let hash = stretch_in(password, &self.salt, self.cost, arena)?;
        Ok(constant_time_equal(hash.expose(), &self.hash))
    }

    /// Whether the record was made at another cost than `wanted`.
    #[must_use]
    pub fn needs_rehash(&self, wanted: Cost) -> bool {
        self.cost != wanted
    }

    /// The record as a PHC string.
    #[must_use]
    pub fn to_phc(&self) -> String {
        let mut params = ParamsString::new();
        let cost = [
            ("m", self.cost.memory_kib),
            ("t", self.cost.passes),
            ("p", self.cost.lanes),
        ];
        for (name, value) in cost {
            params
                .add_decimal(name, value)
                .expect("three short parameters fit");
        }
        PasswordHash {
            algorithm: Ident::new_unwrap("argon2id"),
            version: Some(19),
            params,
            salt: Some(Salt::new(&self.salt).expect("16 bytes are a salt")),
            hash: Some(Output::new(&self.hash).expect("32 bytes are a hash")),
        }
        .to_string()
    }

    /// Parses a PHC string.
    ///
    /// # Errors
    /// [`PasswordError::Malformed`], [`PasswordError::TooCostly`].
    pub fn from_phc(text: &str) -> Result<Self, PasswordError> {
        if text.len() > PHC_LENGTH_MAX {
            return Err(PasswordError::Malformed);
        }
        let parsed = PasswordHash::new(text).map_err(|_| PasswordError::Malformed)?;
        let parameter = |name: &str| {
            parsed
                .params
                .get_decimal(name)
                .ok_or(PasswordError::Malformed)
        };
        let cost = Cost {
            memory_kib: parameter("m")?,
            passes: parameter("t")?,
            lanes: parameter("p")?,
        };
        cost.params()?;
        let salt = parsed
            .salt
            .as_ref()
            .and_then(|salt| <[u8; SALT_LENGTH]>::try_from(salt.as_ref()).ok())
            .ok_or(PasswordError::Malformed)?;
        let hash = parsed
            .hash
            .as_ref()
            .and_then(|hash| <[u8; HASH_LENGTH]>::try_from(hash.as_bytes()).ok())
            .ok_or(PasswordError::Malformed)?;
        let record = Self { cost, salt, hash };
        // One form only: other algorithms, versions, orders and unknown
        // parameters all show as a difference.
        if record.to_phc() != text {
            return Err(PasswordError::Malformed);
        }
        Ok(record)
    }
}

impl fmt::Debug for PasswordRecord {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "PasswordRecord({:?}, redacted)", self.cost)
    }
}

/// Argon2id version 19 of a password: 32 bytes to derive keys from.
///
/// # Errors
/// [`PasswordError::TooLong`], [`PasswordError::TooCostly`],
/// [`PasswordError::Malformed`] for a cost that RFC 9106 does not allow.
pub fn stretch(
    password: &[u8],
    salt: &[u8; SALT_LENGTH],
    cost: Cost,
) -> Result<SecretArray<32>, PasswordError> {
    stretch_in(password, salt, cost, &mut Arena::default())
}

/// Memory for one stretching at a time, wiped on drop. What stands in it between
/// two is what Argon2 leaves: blocks that its output, and nothing else, depends on.
#[derive(Default)]
pub struct Arena(Zeroizing<Vec<argon2::Block>>);

impl fmt::Debug for Arena {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Arena({} KiB, redacted)", self.0.len())
    }
}

/// As [`stretch`], in memory that is kept for the next time.
///
/// # Errors
/// As [`stretch`].
pub fn stretch_in(
    password: &[u8],
    salt: &[u8; SALT_LENGTH],
    cost: Cost,
    arena: &mut Arena,
) -> Result<SecretArray<32>, PasswordError> {
    if password.len() > PASSWORD_LENGTH_MAX {
        return Err(PasswordError::TooLong);
    }
    let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, cost.params()?);
    let blocks = argon2.params().block_count();
    if arena.0.len() < blocks {
        arena.0.resize(blocks, argon2::Block::default());
    }
    let memory = &mut arena.0[..blocks];
    let mut hash = SecretArray::from_bytes([0u8; HASH_LENGTH]);
    argon2
        .hash_password_into_with_memory(password, salt, hash.expose_mut(), memory)
        .map_err(|_| PasswordError::Malformed)?;
    Ok(hash)
}

#[cfg(test)]
mod tests {
    use std::prelude::v1::*;

    use super::*;
    use crate::testing::hex;

    const CHEAP: Cost = Cost {
        memory_kib: 64,
        passes: 1,
        lanes: 1,
    };

    // RFC 9106 section 5.3.
    #[test]
    fn rfc_9106_argon2id() {
        let params = argon2::ParamsBuilder::new()
            .m_cost(32)
            .t_cost(3)
            .p_cost(4)
            .data(argon2::AssociatedData::new(&[4; 12]).expect("12 bytes"))
            .build()
            .expect("valid");
        let argon2 = Argon2::new_with_secret(&[3; 8], Algorithm::Argon2id, Version::V0x13, params)
            .expect("valid");
        let mut out = [0u8; 32];
        argon2
            .hash_password_into(&[1; 32], &[2; 16], &mut out)
            .expect("hashes");
        assert_eq!(
            hex(&out),
            "0d640df58d78766c08c037a34a8b53c9d01ef0452d75b65eb52520e96b01e659"
        );
    }

    #[test]
    fn a_record_survives_its_text_form() {
        let record = PasswordRecord::hash(b"pw", CHEAP).expect("hashes");
        let text = record.to_phc();
        assert!(text.starts_with("$argon2id$v=19$m=64,t=1,p=1$"), "{text}");
        let again = PasswordRecord::from_phc(&text).expect("parses");
        assert!(again.verify(b"pw").expect("compares"));
        assert!(!again.verify(b"pv").expect("compares"));
        assert!(!again.verify(b"").expect("compares"));
        assert!(again.needs_rehash(Cost::OWASP) && !again.needs_rehash(CHEAP));
    }

    #[test]
    fn records_of_another_form_are_refused() {
        let text = PasswordRecord::hash(b"pw", CHEAP).expect("hashes").to_phc();
        let cases = [
            ("empty", String::new()),
            ("argon2i", text.replace("argon2id", "argon2i")),
            ("argon2d", text.replace("argon2id", "argon2d")),
            ("version 16", text.replace("v=19", "v=16")),
            ("no version", text.replace("$v=19", "")),
            ("order", text.replace("m=64,t=1", "t=1,m=64")),
            ("unknown parameter", text.replace("p=1", "p=1,x=2")),
            ("leading zero", text.replace("t=1", "t=01")),
            (
                "no hash",
                text.rsplit_once('$').expect("fields").0.to_owned(),
            ),
            ("short hash", text[..text.len() - 4].to_owned()),
            ("trailing", format!("{text}$")),
            ("bcrypt", "$2b$10$abcdefghijklmnopqrstuv".to_owned()),
            ("long", format!("{text}{}", "A".repeat(PHC_LENGTH_MAX))),
        ];
        for (name, text) in cases {
            assert!(
                matches!(
                    PasswordRecord::from_phc(&text),
                    Err(PasswordError::Malformed)
                ),
                "{name}"
            );
        }
    }

    #[test]
    fn costs_above_the_caps_are_refused_before_memory_is_reserved() {
        let text = PasswordRecord::hash(b"pw", CHEAP).expect("hashes").to_phc();
        for (from, to) in [("m=64", "m=4294967295"), ("t=1", "t=17"), ("p=1", "p=17")] {
            assert!(matches!(
                PasswordRecord::from_phc(&text.replace(from, to)),
                Err(PasswordError::TooCostly)
            ));
        }
    }

    #[test]
    fn an_arena_serves_one_cost_after_another() {
        let mut arena = Arena::default();
        let dear = Cost {
            memory_kib: 256,
            ..CHEAP
        };
        for cost in [CHEAP, dear, CHEAP, dear] {
            let record = PasswordRecord::hash(b"pw", cost).expect("hashes");
            assert!(record.verify_in(b"pw", &mut arena).expect("compares"));
            assert!(!record.verify_in(b"pv", &mut arena).expect("compares"));
        }
    }

    #[test]
    fn an_endless_password_is_refused() {
        let long = vec![b'a'; PASSWORD_LENGTH_MAX + 1];
        assert!(matches!(
            PasswordRecord::hash(&long, CHEAP),
            Err(PasswordError::TooLong)
        ));
    }
}
