//! Cryptography that is hard to misuse, for Sealmoot and for anybody else.
//!
//! This crate knows no socket, no file, no clock and no user. It refuses to take
//! nonces, to import weak keys, to say *why* something did not open, and to
//! reserve memory that a stranger's bytes ask for.
//!
//! | To | use |
//! |---|---|
//! | encrypt values, and rotate keys later | [`keyset`] |
//! | encrypt under a passphrase | [`passphrase_box`] |
//! | store and check passwords | [`password`] |
//! | make up a passphrase | [`passphrase`] |
//! | sign, and name whoever signs | [`signature`] |
//! | agree on a key | [`agreement`] |
//! | encrypt records under one trusted key | [`aead`] |
//! | derive keys from keys | [`kdf`] |
//! | hash and authenticate | [`digest`] |
//! | hold secrets, compare them | [`secret`] |
//! | encode what is signed or stored | [`encoding`] |
//! | draw random bytes | [`random`] |
//!
//! ```
//! use sealmoot_crypto::keyset::Keyset;
//!
//! let keyset = Keyset::generate()?;
//! // What it is, which one it is, what it says: all three are authenticated.
//! let sealed = keyset.seal("invoice", b"customer 7", b"42 EUR")?;
//! assert_eq!(keyset.open("invoice", b"customer 7", &sealed)?.expose(), b"42 EUR");
//! assert!(keyset.open("invoice", b"customer 8", &sealed).is_err());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

#![no_std]

#[macro_use]
extern crate alloc;
#[cfg(any(test, feature = "std"))]
extern crate std;

pub mod aead;
pub mod agreement;
pub mod backend;
mod committing;
pub mod digest;
pub mod encoding;
pub mod hash_chain;
pub mod hazmat;
pub mod kdf;
pub mod kem;
pub mod keyset;
pub mod merkle;
pub mod passphrase;
pub mod passphrase_box;
pub mod password;
#[cfg(test)]
mod published;
pub mod random;
pub mod rsa;
pub mod sealed_box;
pub mod sealed_file;
pub mod secret;
pub mod signature;
pub mod stream;
#[cfg(test)]
mod testing;
