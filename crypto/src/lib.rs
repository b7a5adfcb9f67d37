//! Cryptography that is hard to misuse, for Sealmoot and for anybody else.
//!
//! This crate knows no socket, no clock and no user, and touches no file but those
//! handed to it. It refuses to take nonces, to import weak keys, to say *why*
//! something did not open, and to reserve memory that a stranger's bytes ask for.
//!
//! | To | use |
//! |---|---|
//! | encrypt values, and rotate keys later | [`keyset`] |
//! | seal a file to passphrases, keysets, people | [`sealed_file`] |
//! | seal a message to somebody's public key | [`sealed_box`] |
//! | encrypt under a passphrase | [`passphrase_box`] |
//! | store and check passwords | [`password`] |
//! | make up a passphrase | [`passphrase`] |
//! | sign, and name whoever signs | [`signature`] |
//! | verify and make RSA signatures | [`rsa`] |
//! | agree on a key | [`agreement`], [`kem`] |
//! | encrypt long or many records under one trusted key | [`stream`], [`aead`] |
//! | derive keys from keys | [`kdf`] |
//! | hash and authenticate | [`digest`] |
//! | prove what a log holds, or that nobody changed it | [`merkle`], [`hash_chain`] |
//! | hold secrets, compare them | [`secret`] |
//! | split a secret, so that W of N shares give it back | [`secret_sharing`] |
//! | encode what is signed or stored | [`encoding`] |
//! | draw random bytes | [`random`] |
//! | choose the library that computes | [`backend`] |
//! | let raw keys in or out | [`hazmat`] |
//!
//! # Hash a password
//!
//! ```
//! use sealmoot_crypto::password::{Cost, PasswordRecord};
//!
//! let record = PasswordRecord::hash(b"correct horse battery staple", Cost::SERVER)?;
//! let stored = record.to_phc(); // "$argon2id$v=19$m=...,t=...,p=1$...$..."
//!
//! let record = PasswordRecord::from_phc(&stored)?;
//! assert!(record.verify(b"correct horse battery staple")?);
//! assert!(!record.verify(b"hunter2")?);
//! // After a login, when the profile has grown since: hash again.
//! assert!(!record.needs_rehash(Cost::SERVER));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! A server hashes in a [`HashingPool`](password::pool::HashingPool): bounded threads and memory, and an
//! error at once when all are busy.
//!
//! # Seal a file
//!
//! ```
//! use sealmoot_crypto::password::Cost;
//! use sealmoot_crypto::sealed_box::{Kem, PrivateKey};
//! use sealmoot_crypto::sealed_file::{self, Opener, Recipients};
//!
//! let alice = PrivateKey::generate(Kem::XWing)?; // post-quantum and X25519 together
//! let alice_public = alice.public_key();
//! let recipients = Recipients::new()
//!     .public_key(&alice_public)
//!     .passphrase(b"reuse-cheddar-outsider-glimpse", Cost::RFC_9106_LOW_MEMORY);
//!
//! // From any reader, here a byte slice, to any writer, here a vector; both could be
//! // files. The length, where it is known, is for the progress that is told.
//! let plain = b"of any length";
//! let (mut sealed, mut opened) = (Vec::new(), Vec::new());
//! sealed_file::seal_stream(&recipients, "letter", (&plain[..], None), &mut sealed, |_| {})?;
//!
//! let opener = Opener::private_key(&alice);
//! sealed_file::open_stream(&opener, "letter", (&sealed[..], None), &mut opened, |_| {})?;
//! assert_eq!(opened, plain);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Rotate a key
//!
//! ```
//! use sealmoot_crypto::keyset::Keyset;
//! use sealmoot_crypto::password::Cost;
//! use sealmoot_crypto::sealed_file::{Opener, Recipients};
//!
//! let mut keyset = Keyset::generate()?;
//! // What it is, which one it is, what it says: all three are authenticated.
//! let old = keyset.seal("invoice", b"customer 7", b"42 EUR")?;
//! keyset.rotate()?; // the new key seals, the old one goes on opening
//! assert_eq!(keyset.open("invoice", b"customer 7", &old)?.expose(), b"42 EUR");
//! assert!(keyset.open("invoice", b"customer 8", &old).is_err());
//!
//! // Stored under a passphrase, and read again.
//! let recipients = Recipients::new().passphrase(b"hip roast", Cost::RFC_9106_LOW_MEMORY);
//! let file = keyset.seal_to(&recipients, "billing")?;
//! let keyset = Keyset::open_from(&Opener::passphrase(b"hip roast"), "billing", &file)?;
//! assert_eq!(keyset.open("invoice", b"customer 7", &old)?.expose(), b"42 EUR");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! More are in `examples/`: hash a password, seal a file, share one with two people,
//! rotate a keyset, and prove to each other who one is, by signed nonces and by nonces
//! sealed to public keys. Formats, constructions and their sources are in `DESIGN.md`.
//!
//! # Features
//!
//! | Feature | Brings |
//! |---|---|
//! | `std` (default) | the hashing pool, Argon2 lanes in parallel, readers and writers |
//! | `strength` | `password::strength`: how guessable a password is, with advice |
//! | `aws-lc` | AWS-LC as a second [`backend`](backend::Backend), chosen where a key is made |
//!
//! Without `std` the crate needs `alloc` only.

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
pub mod secret_sharing;
pub mod signature;
pub mod stream;
#[cfg(test)]
mod testing;
