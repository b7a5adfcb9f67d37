//! Hashes (SHA-256, SHA-512, BLAKE3) and message authentication codes over them.
//!
//! | For | use |
//! |---|---|
//! | identities, signatures' inputs, proofs: whatever others compute too | [`sha256`] |
//! | protocols that name SHA-512 | [`sha512`] |
//! | much data of our own: content addresses, comparing files | [`blake3`] |
//! | authenticating under a shared key | [`MacKey`] |
//! | protocols that name HMAC-SHA-512 | [`MacKey512`] |
//! | authenticating much data of our own under a shared key | [`Blake3Keyed`] |
//!
//! SHA-256 is the default, because every other implementation has it. BLAKE3
//! is made for speed on long inputs and has no standard behind it. None of them
//! is for passwords: see [`crate::password`].
//!
//! A hash without a key proves nothing about who made it. Putting the secret in
//! front of the message and hashing both is not an authentication code: with
//! SHA-256 and SHA-512 whoever sees one can extend the message.
//!
//! ```
//! use sealmoot_crypto::digest::{MacKey, Sha256, sha256};
//! use sealmoot_crypto::secret::SecretArray;
//! let mut hasher = Sha256::new();
//! hasher.update(b"a file, ");
//! hasher.update(b"piece by piece");
//! assert_eq!(hasher.finish(), sha256(b"a file, piece by piece"));
//!
//! let key = MacKey::from_secret(&SecretArray::random()?);
//! let tag = key.tag(&[b"pay 42 EUR"]);
//! assert!(key.verify(&[b"pay 43 EUR"], &tag).is_err());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod blake3;
mod hmac;
mod sha2;

pub use self::blake3::{Blake3, Blake3Keyed, blake3, blake3_keyed};
pub use self::hmac::{BadTag, KeyTooShort, MAC_KEY_LENGTH_MIN, MacKey, MacKey512};
pub use self::sha2::{Sha256, Sha512, sha256, sha512};
