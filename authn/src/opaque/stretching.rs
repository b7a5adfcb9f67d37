//! What a guess costs whoever has stolen everything: Argon2id on the client.
//!
//! ```text
//! offset length
//!      0      1  kind: 0 of the OPRF's output, 1 of the password, as imported
//!      1      4  memory in KiB, little-endian, as all of them
//!      5      4  passes
//!      9      4  lanes
//!     13      1  length of the imported hash, 16 to 64; 0 of kind 0
//!     14      1  length of its salt, 8 to 48; 0 of kind 0
//!     15     48  the salt, zeros behind it
//! ```
//!
//! Of kind 0 the function is
//! `expand(Argon2id(password = OPRF output, salt = 16 zeros, 32 bytes), 64 bytes)`.
//! The salt is empty as in RFC 9807, section 7: the OPRF output is unlike for every
//! user and every server already.
//!
//! Of kind 1 OPAQUE's password is `Argon2id(password, salt)`, which another program
//! stored once as a PHC string, and the stretching function is the identity: the work is
//! done before.
//!
//! A client learns all of this from the server's first reply, which nothing
//! authenticates by itself. It need not: under another kind, salt or parameters than
//! those of the registration the envelope does not open, so the client stops and has
//! said nothing about its password: whatever was made of it left this machine blinded.
//! What a lying server could do is to keep the client busy, and [`STRETCHING_LIMITS`]
//! bound that.

use opaque_ke::errors::InternalError;
use opaque_ke::generic_array::{ArrayLength, GenericArray};
use opaque_ke::ksf::Ksf;
use sealmoot_crypto::encoding::{EncodingError, Reader, Writer};
use sealmoot_crypto::kdf::{Label, expand_into};
use sealmoot_crypto::password::{
    Arena, Cost, Limits, PasswordError, RECOMPUTED_LENGTH_MAX, recompute, stretch_within,
};
use sealmoot_crypto::secret::{SecretArray, SecretBytes};
use zeroize::Zeroize;

use super::OpaqueError;

/// Length of the encoded parameters.
pub const STRETCHING_LENGTH: usize = STRETCHING_CLASS_LENGTH + SALT_LENGTH_MAX;
/// Length of a [`StretchingClass`].
pub const STRETCHING_CLASS_LENGTH: usize = 15;
/// Longest salt of an imported hash in bytes.
pub const SALT_LENGTH_MAX: usize = 48;
const SALT_LENGTH_MIN: usize = 8;
/// Longest imported hash in bytes.
pub const IMPORTED_LENGTH_MAX: usize = RECOMPUTED_LENGTH_MAX;
const IMPORTED_LENGTH_MIN: usize = 16;

/// The most that a client computes because a server asks for it: 256 MiB, and 1 GiB
/// filled in all, about a second and a half of one core.
pub const STRETCHING_LIMITS: Limits = Limits {
    memory_kib: 256 * 1024,
    passes: 16,
    lanes: 16,
    work_kib: 1024 * 1024,
};

const EXPANSION: Label = Label::new("opaque stretching");

/// All of a [`Stretching`] but the salt: what many users have in common.
pub type StretchingClass = [u8; STRETCHING_CLASS_LENGTH];

/// Parameters that are above [`STRETCHING_LIMITS`], or that Argon2id does not have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the stretching of a password costs more than is allowed, or nothing")]
pub struct BadStretching;

/// Parameters of Argon2id that a client may be asked to compute.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stretching {
    cost: Cost,
    imported: Option<Imported>,
}

/// Where the work is done before OPAQUE.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Imported {
    hash_length: u8,
    salt_length: u8,
    salt: [u8; SALT_LENGTH_MAX],
}

impl Stretching {
    /// What new passwords get: the second recommendation of RFC 9106, section 4. It
    /// runs on the client, once a login.
    pub const DEFAULT: Self = Self {
        cost: Cost::RFC_9106_LOW_MEMORY,
        imported: None,
    };

    /// Takes parameters.
    ///
    /// # Errors
    /// [`BadStretching`].
    pub fn new(cost: Cost) -> Result<Self, BadStretching> {
        // RFC 9106, section 3.1: at least a pass, a lane, and 8 KiB a lane.
        let exists = cost.passes >= 1
            && cost.lanes >= 1
            && u64::from(cost.memory_kib) >= 8 * u64::from(cost.lanes);
        if !exists || !STRETCHING_LIMITS.admits(cost) {
            return Err(BadStretching);
        }
        Ok(Self {
            cost,
            imported: None,
        })
    }

    /// Takes parameters, salt and length of a hash that another program stored.
    ///
    /// # Errors
    /// [`BadStretching`], also for a salt that has not 8 to 48 bytes and a hash that
    /// has not 16 to 64.
    pub fn imported(cost: Cost, salt: &[u8], hash_length: usize) -> Result<Self, BadStretching> {
        let lengths = (SALT_LENGTH_MIN..=SALT_LENGTH_MAX).contains(&salt.len())
            && (IMPORTED_LENGTH_MIN..=IMPORTED_LENGTH_MAX).contains(&hash_length);
        if !lengths {
            return Err(BadStretching);
        }
        let mut padded = [0; SALT_LENGTH_MAX];
        padded[..salt.len()].copy_from_slice(salt);
        let length = |length: usize| u8::try_from(length).map_err(|_| BadStretching);
        Ok(Self {
            imported: Some(Imported {
                hash_length: length(hash_length)?,
                salt_length: length(salt.len())?,
                salt: padded,
            }),
            ..Self::new(cost)?
        })
    }

    /// The parameters of a class, under the salt that `salt` begins with, if it has one.
    ///
    /// # Errors
    /// [`BadStretching`] when there is no such class.
    pub fn of_class(
        class: &StretchingClass,
        salt: &[u8; SALT_LENGTH_MAX],
    ) -> Result<Self, BadStretching> {
        let salt_length = usize::from(class[14]).min(SALT_LENGTH_MAX);
        let mut bytes = class.to_vec();
        bytes.extend_from_slice(&salt[..salt_length]);
        bytes.resize(STRETCHING_LENGTH, 0);
        Self::from_bytes(&bytes).map_err(|_| BadStretching)
    }

    /// The parameters.
    #[must_use]
    pub fn cost(self) -> Cost {
        self.cost
    }

    /// Whether the work is done before OPAQUE, of a hash that was imported.
    #[must_use]
    pub fn is_imported(self) -> bool {
        self.imported.is_some()
    }

    /// All but the salt.
    #[must_use]
    pub fn class(self) -> StretchingClass {
        let mut class = [0; STRETCHING_CLASS_LENGTH];
        class.copy_from_slice(&self.to_bytes()[..STRETCHING_CLASS_LENGTH]);
        class
    }

    /// What OPAQUE's password is for a typed one: itself, or the hash of it that was
    /// imported. The latter takes as long and as much memory as the parameters say.
    ///
    /// # Errors
    /// [`OpaqueError::Refused`] for a password that is too long,
    /// [`OpaqueError::Stretching`].
    pub fn password(self, typed: &[u8]) -> Result<SecretBytes, OpaqueError> {
        let Some(imported) = self.imported else {
            return Ok(SecretBytes::new(typed.to_vec()));
        };
        let mut hash = SecretArray::from_bytes([0; IMPORTED_LENGTH_MAX]);
        let hash = &mut hash.expose_mut()[..usize::from(imported.hash_length)];
        recompute(
            typed,
            imported.salt(),
            self.cost,
            &STRETCHING_LIMITS,
            &mut Arena::default(),
            hash,
        )
        .map_err(|error| match error {
            PasswordError::TooLong => OpaqueError::Refused,
            _ => OpaqueError::Stretching,
        })?;
        Ok(SecretBytes::new(hash.to_vec()))
    }

    /// The key stretching function of OPAQUE that goes with it.
    pub(super) fn stretcher(self) -> Stretcher {
        if self.is_imported() {
            return Stretcher::Identity;
        }
        Stretcher::Argon2id(self.cost)
    }

    /// Writes the encoding.
    pub fn encode(self, writer: &mut Writer) {
        writer.u8(u8::from(self.is_imported()));
        writer.u32(self.cost.memory_kib);
        writer.u32(self.cost.passes);
        writer.u32(self.cost.lanes);
        let none = Imported {
            hash_length: 0,
            salt_length: 0,
            salt: [0; SALT_LENGTH_MAX],
        };
        let imported = self.imported.unwrap_or(none);
        writer.u8(imported.hash_length);
        writer.u8(imported.salt_length);
        writer.fixed(&imported.salt);
    }

    /// Reads the encoding.
    ///
    /// # Errors
    /// When the bytes are none, or what they ask for is [`BadStretching`].
    pub fn decode(reader: &mut Reader<'_>) -> Result<Self, EncodingError> {
        let kind = reader.u8()?;
        let cost = Cost {
            memory_kib: reader.u32()?,
            passes: reader.u32()?,
            lanes: reader.u32()?,
        };
        let (hash_length, salt_length) = (reader.u8()?, usize::from(reader.u8()?));
        let padded = reader.fixed(SALT_LENGTH_MAX)?;
        let (salt, padding) = padded
            .split_at_checked(salt_length)
            .ok_or(EncodingError::Invalid("the salt of a hash is too long"))?;
        if padding.iter().any(|byte| *byte != 0) {
            return Err(EncodingError::Invalid("something stands behind a salt"));
        }
        let stretching = match kind {
            0 if hash_length == 0 && salt.is_empty() => Self::new(cost),
            0 => return Err(EncodingError::Invalid("a hash that was not imported")),
            1 => Self::imported(cost, salt, usize::from(hash_length)),
            value => {
                return Err(EncodingError::Unknown {
                    what: "kind of stretching",
                    value: u64::from(value),
                });
            }
        };
        stretching.map_err(|_| {
            EncodingError::Invalid("the stretching costs more than is allowed, or nothing")
        })
    }

    /// The encoding alone.
    #[must_use]
    pub fn to_bytes(self) -> Vec<u8> {
        let mut writer = Writer::with_capacity(STRETCHING_LENGTH);
        self.encode(&mut writer);
        writer.finish()
    }

    /// The parameters from their encoding alone.
    ///
    /// # Errors
    /// As [`Stretching::decode`]; or when anything follows.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, EncodingError> {
        let mut reader = Reader::new(bytes);
        let stretching = Self::decode(&mut reader)?;
        reader.finish()?;
        Ok(stretching)
    }
}

impl Imported {
    fn salt(&self) -> &[u8] {
        &self.salt[..usize::from(self.salt_length)]
    }
}

/// The key stretching function of the suite.
pub(super) enum Stretcher {
    /// Argon2id.
    Argon2id(Cost),
    /// That of imported hashes and of the published vectors, which returns its input.
    Identity,
}

impl Default for Stretcher {
    fn default() -> Self {
        Stretching::DEFAULT.stretcher()
    }
}

impl Ksf for Stretcher {
    fn hash<L: ArrayLength<u8>>(
        &self,
        mut input: GenericArray<u8, L>,
    ) -> Result<GenericArray<u8, L>, InternalError> {
        let cost = match self {
            Self::Argon2id(cost) => *cost,
            Self::Identity => return Ok(input),
        };
        let mut arena = Arena::default();
        let stretched = stretch_within(&input, &[0; 16], cost, &STRETCHING_LIMITS, &mut arena);
        input.as_mut_slice().zeroize();
        let stretched = stretched.map_err(|_| InternalError::KsfError)?;
        let mut output = GenericArray::default();
        expand_into(&stretched, EXPANSION, &[], &mut output)
            .map_err(|_| InternalError::KsfError)?;
        Ok(output)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cost(memory_kib: u32, passes: u32, lanes: u32) -> Cost {
        Cost {
            memory_kib,
            passes,
            lanes,
        }
    }

    fn imported_of(imported: bool) -> Option<Imported> {
        let stretching = Stretching::imported(cost(8, 1, 1), &[7; 16], 32).expect("admitted");
        stretching.imported.filter(|_| imported)
    }

    #[test]
    fn parameters_are_bounded_before_memory_is_reserved() {
        for admitted in [
            cost(8, 1, 1),
            cost(128, 1, 16),
            cost(256 * 1024, 4, 4),
            cost(64 * 1024, 16, 1),
            Stretching::DEFAULT.cost(),
        ] {
            assert!(Stretching::new(admitted).is_ok(), "{admitted:?}");
        }
        for refused in [
            cost(0, 1, 1),
            cost(7, 1, 1),
            cost(8, 0, 1),
            cost(8, 1, 0),
            cost(127, 1, 16),
            cost(256, 1, 17),
            cost(8, 17, 1),
            cost(256 * 1024 + 1, 1, 1),
            cost(256 * 1024, 5, 1),
            cost(u32::MAX, u32::MAX, u32::MAX),
        ] {
            assert_eq!(Stretching::new(refused), Err(BadStretching), "{refused:?}");
            assert_eq!(
                Stretching::imported(refused, &[7; 16], 32),
                Err(BadStretching),
                "{refused:?}"
            );
            for imported in [false, true] {
                let unchecked = Stretching {
                    cost: refused,
                    imported: imported_of(imported),
                };
                assert!(Stretching::from_bytes(&unchecked.to_bytes()).is_err());
            }
        }
    }

    #[test]
    fn there_is_one_encoding() {
        let imported = |salt: &[u8], length| {
            Stretching::imported(cost(8, 1, 1), salt, length).expect("admitted")
        };
        for stretching in [
            Stretching::DEFAULT,
            imported(&[7; 8], 16),
            imported(&[7; 48], 64),
            imported(&[0; 16], 32),
        ] {
            let bytes = stretching.to_bytes();
            assert_eq!(bytes.len(), STRETCHING_LENGTH);
            assert_eq!(Stretching::from_bytes(&bytes), Ok(stretching));
            for length in 0..bytes.len() {
                assert!(Stretching::from_bytes(&bytes[..length]).is_err());
            }
            assert!(Stretching::from_bytes(&[&bytes[..], &[0]].concat()).is_err());
            let mut salt = [9; SALT_LENGTH_MAX];
            if let Some(imported) = stretching.imported {
                salt[..imported.salt().len()].copy_from_slice(imported.salt());
            }
            assert_eq!(
                Stretching::of_class(&stretching.class(), &salt),
                Ok(stretching)
            );
        }
    }

    #[test]
    fn malformed_encodings_of_an_imported_hash_are_refused() {
        let bytes = Stretching::imported(cost(8, 1, 1), &[7; 16], 32)
            .expect("admitted")
            .to_bytes();
        for (what, at, value) in [
            ("another kind", 0, 2),
            ("not imported, and yet a hash", 0, 0),
            ("a short hash", 13, 15),
            ("a long hash", 13, 65),
            ("no hash", 13, 0),
            ("a short salt", 14, 7),
            ("a long salt", 14, 49),
            ("a salt that ends early", 14, 15),
            ("something behind the salt", 15 + 16, 1),
            ("something at the end", STRETCHING_LENGTH - 1, 1),
        ] {
            let mut changed = bytes.clone();
            changed[at] = value;
            assert!(Stretching::from_bytes(&changed).is_err(), "{what}");
        }
        for (salt, hash) in [(7, 32), (49, 32), (0, 32), (16, 15), (16, 65), (16, 0)] {
            let refused = Stretching::imported(cost(8, 1, 1), &vec![7; salt], hash);
            assert_eq!(refused, Err(BadStretching), "{salt} {hash}");
        }
    }

    #[test]
    fn an_imported_hash_is_the_one_of_the_reference_implementation() {
        // echo -n password | argon2 somesalt -id -t 2 -k 65536 -p 1 -l 32, in the test
        // vectors of the reference implementation (phc-winner-argon2, test.c).
        let stretching = Stretching::imported(cost(65536, 2, 1), b"somesalt", 32).expect("fits");
        let hash = stretching.password(b"password").expect("computed");
        let expected = [
            0x09, 0x31, 0x61, 0x15, 0xd5, 0xcf, 0x24, 0xed, 0x5a, 0x15, 0xa3, 0x1a, 0x3b, 0xa3,
            0x26, 0xe5, 0xcf, 0x32, 0xed, 0xc2, 0x47, 0x02, 0x98, 0x7c, 0x02, 0xb6, 0x56, 0x6f,
            0x61, 0x91, 0x3c, 0xf7,
        ];
        assert_eq!(hash.expose(), expected);
        let plain = Stretching::DEFAULT.password(b"password").expect("itself");
        assert_eq!(plain.expose(), b"password");
        assert!(matches!(
            stretching.password(&[b'a'; 1025]),
            Err(OpaqueError::Refused)
        ));
    }

    #[test]
    fn every_parameter_and_every_byte_of_the_input_counts() {
        let hash = |cost, input: [u8; 64]| {
            Stretcher::Argon2id(cost)
                .hash(GenericArray::from(input))
                .expect("stretched")
        };
        let input = [7; 64];
        let one = hash(cost(16, 1, 1), input);
        assert_eq!(one, hash(cost(16, 1, 1), input));
        for other in [cost(24, 1, 1), cost(16, 2, 1), cost(16, 1, 2)] {
            assert_ne!(one, hash(other, input), "{other:?}");
        }
        for at in 0..64 {
            let mut changed = input;
            changed[at] ^= 1;
            assert_ne!(one, hash(cost(16, 1, 1), changed), "{at}");
        }
    }
}
