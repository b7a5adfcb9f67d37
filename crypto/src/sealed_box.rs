//! Messages sealed to a public key: HPKE (RFC 9180) with X25519 or X-Wing,
//! HKDF-SHA256 and ChaCha20-Poly1305.
//!
//! | Made by | Opened by | Says who sent it |
//! |---|---|---|
//! | [`seal`] | [`open`] | nobody: whoever knows the public key can seal |
//! | [`seal_from`] | [`open_from`] | to the recipient: HPKE's `mode_auth`, X25519 only |
//! | [`seal_signed`] | [`open_signed`] | to anybody: an Ed25519 signature |
//!
//! A box of one kind never opens as another, nor for another recipient, context or
//! associated data. The recipient's key stays secret for as long as its boxes should:
//! whoever gets it later opens every box sealed to it (no forward secrecy). A box can
//! be presented twice; a message that must act once carries its own number.
//!
//! `seal_from` and `seal_signed` differ in what they prove. The key of `seal_from` is
//! agreed between both private keys, so the recipient can forge such a box, and so can
//! whoever steals the recipient's key, in any sender's name (RFC 9180 section 9.1.1);
//! in turn nobody can prove to a third what the sender said. A signature convinces
//! everybody, for good. It covers the recipient, and the sender is part of what the
//! key is derived from: nobody can cut off a signature and put their own on a message
//! that they cannot read.
//!
//! ```
//! use sealmoot_crypto::sealed_box::{Kem, PrivateKey, open_signed, seal_signed};
//! use sealmoot_crypto::signature::SigningKey;
//! let (alice, bob) = (SigningKey::generate()?, PrivateKey::generate(Kem::XWing)?);
//! let sealed = seal_signed(&alice, &bob.public_key(), "order", b"number 7", b"42 apples")?;
//!
//! let order = open_signed(&alice.verifying_key(), &bob, "order", b"number 7", &sealed)?;
//! assert_eq!(order.expose(), b"42 apples");
//! assert!(open_signed(&alice.verifying_key(), &bob, "order", b"number 8", &sealed).is_err());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Commitment
//!
//! ChaCha20-Poly1305 alone commits to nothing: one ciphertext and tag can open under
//! two keys. Here the key comes out of the encapsulation, and a malicious sender could
//! look for two recipients whose keys both open one box, or learn from which of them
//! answers whose key it was (a partitioning oracle). So a box carries 32 bytes of
//! HPKE's secret export (RFC 9180 section 5.3), derived beside the cipher's key from the
//! encapsulation, the recipient's key, the kind of box and the context, and for the
//! hash of the associated data; they are compared, in constant time, before anything
//! is decrypted. Two keys, contexts or associated data for one box are a collision of
//! SHA-256, or with X-Wing of the hashes inside that KEM.
//!
//! # Format
//!
//! ```text
//! version 1, u8 | kind, u8 | KEM number, u16 | encapsulation, 32 or 1120
//!   | [signature, 64: signed boxes only] | commitment, 32 | ciphertext | tag, 16
//! ```
//!
//! Integers are little-endian. HPKE's `info` is `"sealmoot/v1/sealed box" || kind, u8
//! || length of the context, u64 || context || [sender's Ed25519 key, 32: signed boxes
//! only]`; its `aad` is the first four bytes of the box and then the associated data.
//! The commitment is `Export("sealmoot commitment" || SHA-256(aad), 32)`.
//! X-Wing is a draft: should its final form differ, boxes get another version.

mod format;
mod keys;
pub(crate) mod suite;

use alloc::vec::Vec;

use hpke::{OpModeR, OpModeS};

use self::format::{
    Binding, COMMITMENT_LENGTH, HEADER_LENGTH, Kind, Parts, TAG_LENGTH, read, write,
};
pub use self::keys::{Kem, KeyRejected, PrivateKey, PublicKey};
use self::keys::{Private, Public};
use self::suite::{X25519, XWing};
use crate::encoding::EncodingError;
use crate::random::RandomError;
use crate::secret::SecretBytes;
use crate::signature::{BadSignature, Signature, SigningKey, VerifyingKey};

/// Longest plaintext of a box in bytes; [`crate::sealed_file`] takes longer ones in
/// pieces.
pub const PLAINTEXT_LENGTH_MAX: usize = 1 << 30;
/// How many bytes the signature adds to [`Kem::overhead`] in a signed box.
pub const SIGNATURE_LENGTH: usize = 64;

const SIGNATURE_DOMAIN: &str = "sealed box";

impl Kem {
    /// How many bytes longer a box is than its plaintext; a signed box adds
    /// [`SIGNATURE_LENGTH`].
    ///
    /// ```
    /// use sealmoot_crypto::sealed_box::{Kem, PrivateKey, seal};
    /// let key = PrivateKey::generate(Kem::X25519)?;
    /// let sealed = seal(&key.public_key(), "letter", b"", b"seven b")?;
    /// assert_eq!(sealed.len(), 7 + Kem::X25519.overhead());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub const fn overhead(self) -> usize {
        HEADER_LENGTH + self.encapsulation_length() + COMMITMENT_LENGTH + TAG_LENGTH
    }
}

/// Sealing failed; nothing was encrypted.
///
/// ```
/// use sealmoot_crypto::sealed_box::SealError;
/// // The random source may work again; a plaintext does not get shorter.
/// fn retry_helps(error: &SealError) -> bool {
///     matches!(error, SealError::Random(_))
/// }
/// assert!(!retry_helps(&SealError::TooLong));
/// ```
#[derive(Debug, thiserror::Error)]
pub enum SealError {
    /// The random source failed.
    #[error(transparent)]
    Random(#[from] RandomError),
    /// The plaintext is longer than [`PLAINTEXT_LENGTH_MAX`].
    #[error("the plaintext of a box has at most {PLAINTEXT_LENGTH_MAX} bytes")]
    TooLong,
}

/// Sealing in the sender's name failed; nothing was encrypted.
///
/// ```
/// use sealmoot_crypto::sealed_box::{Kem, PrivateKey, SealFromError, seal_from};
/// let (alice, bob) = (PrivateKey::generate(Kem::X25519)?, PrivateKey::generate(Kem::XWing)?);
/// let refused = seal_from(&alice, &bob.public_key(), "letter", b"", b"at noon");
/// assert!(matches!(refused, Err(SealFromError::NotX25519)));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, thiserror::Error)]
pub enum SealFromError {
    /// HPKE authenticates a sender by X25519 only; [`seal_signed`] takes any KEM.
    #[error("only X25519 keys authenticate their sender; sign the box instead")]
    NotX25519,
    /// As without a sender.
    #[error(transparent)]
    Seal(#[from] SealError),
}

/// The box does not open.
///
/// ```
/// use sealmoot_crypto::sealed_box::{Kem, OpenError, PrivateKey, open, seal};
/// let (key, other) = (PrivateKey::generate(Kem::X25519)?, PrivateKey::generate(Kem::X25519)?);
/// let sealed = seal(&key.public_key(), "letter", b"", b"at noon")?;
/// let not_for_us = open(&other, "letter", b"", &sealed).err();
/// assert_eq!(not_for_us, Some(OpenError::Authentication));
/// let newer = PrivateKey::generate(Kem::XWing)?;
/// let old_box = open(&newer, "letter", b"", &sealed).err();
/// assert_eq!(old_box, Some(OpenError::OtherKem { found: Kem::X25519 }));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    /// The bytes are no sealed box of a known version.
    #[error("not a sealed box: {0}")]
    Malformed(#[from] EncodingError),
    /// The box is of another kind than the function that was called opens.
    #[error("the box was sealed in another way")]
    OtherKind,
    /// The box is for a key of another KEM.
    #[error("the box is sealed to a key of {found}")]
    OtherKem {
        /// The KEM that the box names.
        found: Kem,
    },
    /// The ciphertext is longer than any that [`seal`] makes.
    #[error("the plaintext of a box has at most {PLAINTEXT_LENGTH_MAX} bytes")]
    TooLong,
    /// Wrong key, wrong sender, wrong context, wrong associated data or changed
    /// bytes; which of them is not said.
    #[error("authentication failed")]
    Authentication,
}

/// The box does not open as sent by that sender.
///
/// ```
/// use sealmoot_crypto::sealed_box::{Kem, OpenError, OpenFromError, PrivateKey};
/// use sealmoot_crypto::sealed_box::{open_from, seal};
/// let (alice, bob) = (PrivateKey::generate(Kem::X25519)?, PrivateKey::generate(Kem::X25519)?);
/// let from_anybody = seal(&bob.public_key(), "letter", b"", b"I am Alice")?;
/// let refused = open_from(&alice.public_key(), &bob, "letter", b"", &from_anybody);
/// assert_eq!(refused.err(), Some(OpenFromError::Open(OpenError::OtherKind)));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OpenFromError {
    /// HPKE authenticates a sender by X25519 only.
    #[error("only X25519 keys authenticate their sender")]
    NotX25519,
    /// As without a sender.
    #[error(transparent)]
    Open(#[from] OpenError),
}

/// The box does not open as signed by that sender.
///
/// ```
/// use sealmoot_crypto::sealed_box::{Kem, OpenSignedError, PrivateKey, open_signed, seal_signed};
/// use sealmoot_crypto::signature::{BadSignature, SigningKey};
/// let (alice, mallory) = (SigningKey::generate()?, SigningKey::generate()?);
/// let bob = PrivateKey::generate(Kem::XWing)?;
/// let sealed = seal_signed(&mallory, &bob.public_key(), "letter", b"", b"I am Alice")?;
/// let refused = open_signed(&alice.verifying_key(), &bob, "letter", b"", &sealed);
/// assert_eq!(refused.err(), Some(OpenSignedError::Signature(BadSignature)));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OpenSignedError {
    /// The sender did not sign this box, to this recipient, for this context and
    /// associated data. Nothing was decrypted.
    #[error(transparent)]
    Signature(#[from] BadSignature),
    /// As without a sender.
    #[error(transparent)]
    Open(#[from] OpenError),
}

/// Seals `plaintext` to `recipient` for `context` (what it is, fixed in the program)
/// and `associated_data` (which one it is). The box does not say who sealed it.
///
/// # Errors
/// [`SealError`].
///
/// ```
/// use sealmoot_crypto::sealed_box::{Kem, PrivateKey, open, seal};
/// let key = PrivateKey::generate(Kem::XWing)?;
/// let sealed = seal(&key.public_key(), "letter", b"number 7", b"at noon")?;
/// assert_eq!(open(&key, "letter", b"number 7", &sealed)?.expose(), b"at noon");
/// assert!(open(&key, "letter", b"number 8", &sealed).is_err());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn seal(
    recipient: &PublicKey,
    context: &str,
    associated_data: &[u8],
    plaintext: &[u8],
) -> Result<Vec<u8>, SealError> {
    let binding = Binding::new(Kind::Base, recipient.kem(), context, &[], associated_data);
    match &recipient.0 {
        Public::X25519(key) => write::<X25519>(&OpModeS::Base, key, &binding, plaintext),
        Public::XWing(key) => write::<XWing>(&OpModeS::Base, key, &binding, plaintext),
    }
}

/// Opens what [`seal`] made for the same recipient, context and associated data.
///
/// # Errors
/// [`OpenError`].
///
/// ```
/// use sealmoot_crypto::sealed_box::{Kem, PrivateKey, open, seal};
/// let key = PrivateKey::generate(Kem::X25519)?;
/// let sealed = seal(&key.public_key(), "letter", b"number 7", b"at noon")?;
/// assert_eq!(open(&key, "letter", b"number 7", &sealed)?.expose(), b"at noon");
/// assert!(open(&key, "invoice", b"number 7", &sealed).is_err());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn open(
    recipient: &PrivateKey,
    context: &str,
    associated_data: &[u8],
    sealed: &[u8],
) -> Result<SecretBytes, OpenError> {
    let binding = Binding::new(Kind::Base, recipient.kem(), context, &[], associated_data);
    let parts = Parts::parse(Kind::Base, recipient.kem(), sealed)?;
    match &recipient.0 {
        Private::X25519(key) => read::<X25519>(&OpModeR::Base, key, &binding, &parts),
        Private::XWing(key) => read::<XWing>(&OpModeR::Base, key, &binding, &parts),
    }
}

/// As [`seal`], in a way that shows the recipient, and nobody else, that the holder
/// of `sender` sealed it (HPKE `mode_auth`, RFC 9180 section 5.1.3).
///
/// # Errors
/// [`SealFromError::NotX25519`] unless both keys are of X25519.
///
/// ```
/// use sealmoot_crypto::sealed_box::{Kem, PrivateKey, open_from, seal_from};
/// let (alice, bob) = (PrivateKey::generate(Kem::X25519)?, PrivateKey::generate(Kem::X25519)?);
/// let sealed = seal_from(&alice, &bob.public_key(), "letter", b"", b"at noon")?;
/// let text = open_from(&alice.public_key(), &bob, "letter", b"", &sealed)?;
/// assert_eq!(text.expose(), b"at noon");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn seal_from(
    sender: &PrivateKey,
    recipient: &PublicKey,
    context: &str,
    associated_data: &[u8],
    plaintext: &[u8],
) -> Result<Vec<u8>, SealFromError> {
    let (Private::X25519(private), Public::X25519(public), Public::X25519(recipient)) =
        (&sender.0, sender.public_key().0, &recipient.0)
    else {
        return Err(SealFromError::NotX25519);
    };
    let binding = Binding::new(
        Kind::Authenticated,
        Kem::X25519,
        context,
        &[],
        associated_data,
    );
    let mode = OpModeS::Auth(((**private).clone(), public));
    Ok(write::<X25519>(&mode, recipient, &binding, plaintext)?)
}

/// Opens what [`seal_from`] made with the private half of `sender`.
///
/// # Errors
/// [`OpenFromError::NotX25519`] unless both keys are of X25519.
///
/// ```
/// use sealmoot_crypto::sealed_box::{Kem, PrivateKey, open_from, seal_from};
/// let (alice, bob) = (PrivateKey::generate(Kem::X25519)?, PrivateKey::generate(Kem::X25519)?);
/// let mallory = PrivateKey::generate(Kem::X25519)?;
/// let sealed = seal_from(&mallory, &bob.public_key(), "letter", b"", b"I am Alice")?;
/// assert!(open_from(&mallory.public_key(), &bob, "letter", b"", &sealed).is_ok());
/// assert!(open_from(&alice.public_key(), &bob, "letter", b"", &sealed).is_err());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn open_from(
    sender: &PublicKey,
    recipient: &PrivateKey,
    context: &str,
    associated_data: &[u8],
    sealed: &[u8],
) -> Result<SecretBytes, OpenFromError> {
    let (Public::X25519(sender), Private::X25519(recipient)) = (&sender.0, &recipient.0) else {
        return Err(OpenFromError::NotX25519);
    };
    let binding = Binding::new(
        Kind::Authenticated,
        Kem::X25519,
        context,
        &[],
        associated_data,
    );
    let parts = Parts::parse(Kind::Authenticated, Kem::X25519, sealed)?;
    let mode = OpModeR::Auth(sender.clone());
    Ok(read::<X25519>(&mode, recipient, &binding, &parts)?)
}

/// As [`seal`], and signed by `sender`: Ed25519, for the domain `"sealed box"`, over
/// the SHA-256 of the KEM number, the recipient's key, the encapsulation, the context,
/// the associated data, the commitment, and the ciphertext with its tag, each behind
/// its length as u64.
///
/// # Errors
/// [`SealError`].
///
/// ```
/// use sealmoot_crypto::sealed_box::{Kem, PrivateKey, open_signed, seal_signed};
/// use sealmoot_crypto::signature::SigningKey;
/// let (alice, bob) = (SigningKey::generate()?, PrivateKey::generate(Kem::XWing)?);
/// let sealed = seal_signed(&alice, &bob.public_key(), "letter", b"", b"at noon")?;
/// let text = open_signed(&alice.verifying_key(), &bob, "letter", b"", &sealed)?;
/// assert_eq!(text.expose(), b"at noon");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn seal_signed(
    sender: &SigningKey,
    recipient: &PublicKey,
    context: &str,
    associated_data: &[u8],
    plaintext: &[u8],
) -> Result<Vec<u8>, SealError> {
    let kem = recipient.kem();
    let signer = sender.verifying_key().to_bytes();
    let binding = Binding::new(Kind::Signed, kem, context, &signer, associated_data);
    let mut sealed = match &recipient.0 {
        Public::X25519(key) => write::<X25519>(&OpModeS::Base, key, &binding, plaintext),
        Public::XWing(key) => write::<XWing>(&OpModeS::Base, key, &binding, plaintext),
    }?;
    let parts = Parts::parse(Kind::Signed, kem, &sealed).expect("just written in this form");
    let signature = sender.sign(
        SIGNATURE_DOMAIN,
        &parts.transcript(recipient, context, associated_data),
    );
    let place = HEADER_LENGTH + kem.encapsulation_length();
    sealed[place..place + SIGNATURE_LENGTH].copy_from_slice(&signature.to_bytes());
    Ok(sealed)
}

/// Opens what [`seal_signed`] made with the private half of `sender`; the signature
/// is verified before anything is decrypted.
///
/// # Errors
/// [`OpenSignedError`].
///
/// ```
/// use sealmoot_crypto::sealed_box::{Kem, PrivateKey, open_signed, seal_signed};
/// use sealmoot_crypto::signature::SigningKey;
/// let alice = SigningKey::generate()?;
/// let (bob, carol) = (PrivateKey::generate(Kem::XWing)?, PrivateKey::generate(Kem::XWing)?);
/// let sealed = seal_signed(&alice, &bob.public_key(), "letter", b"", b"at noon")?;
/// let opened = open_signed(&alice.verifying_key(), &bob, "letter", b"", &sealed)?;
/// assert_eq!(opened.expose(), b"at noon");
/// // Bob cannot pass it off as a letter from Alice to Carol.
/// assert!(open_signed(&alice.verifying_key(), &carol, "letter", b"", &sealed).is_err());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn open_signed(
    sender: &VerifyingKey,
    recipient: &PrivateKey,
    context: &str,
    associated_data: &[u8],
    sealed: &[u8],
) -> Result<SecretBytes, OpenSignedError> {
    let kem = recipient.kem();
    let parts = Parts::parse(Kind::Signed, kem, sealed)?;
    sender.verify(
        SIGNATURE_DOMAIN,
        &parts.transcript(&recipient.public_key(), context, associated_data),
        &Signature::from_bytes(parts.signature),
    )?;
    let binding = Binding::new(
        Kind::Signed,
        kem,
        context,
        &sender.to_bytes(),
        associated_data,
    );
    Ok(match &recipient.0 {
        Private::X25519(key) => read::<X25519>(&OpModeR::Base, key, &binding, &parts),
        Private::XWing(key) => read::<XWing>(&OpModeR::Base, key, &binding, &parts),
    }?)
}

#[cfg(test)]
mod tests;
