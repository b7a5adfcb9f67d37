//! Who seals a file, and who opens it.

use alloc::vec::Vec;

use core::fmt;

use crate::backend::Backend;
use crate::keyset::Keyset;
use crate::password::Cost;
use crate::sealed_box::{PrivateKey, PublicKey};
use crate::signature::{SigningKey, VerifyingKey};
use crate::stream::Options;

/// Who may open a file, and who says that they sealed it.
///
/// ```
/// use sealmoot_crypto::keyset::Keyset;
/// use sealmoot_crypto::password::Cost;
/// use sealmoot_crypto::sealed_box::{Kem, PrivateKey};
/// use sealmoot_crypto::sealed_file::{self, Opener, Recipients};
///
/// let (keyset, recovery) = (Keyset::generate()?, PrivateKey::generate(Kem::XWing)?);
/// let recovery_public = recovery.public_key();
/// let recipients = Recipients::new()
///     .passphrase(b"hip roast", Cost::OWASP)
///     .keyset(&keyset)
///     .public_key(&recovery_public);
/// let sealed = sealed_file::seal(&recipients, "backup", b"content")?;
/// for opener in [
///     Opener::passphrase(b"hip roast"),
///     Opener::keyset(&keyset),
///     Opener::private_key(&recovery),
/// ] {
///     assert_eq!(sealed_file::open(&opener, "backup", &sealed)?.expose(), b"content");
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Default)]
pub struct Recipients<'a> {
    pub(super) recipients: Vec<Recipient<'a>>,
    pub(super) sender: Sender<'a>,
    pub(super) options: Options,
    pub(super) backend: Backend,
}

pub(super) enum Recipient<'a> {
    Passphrase(&'a [u8], Cost),
    Keyset(&'a Keyset),
    PublicKey(&'a PublicKey),
}

/// Who says that they sealed a file.
///
/// ```
/// use sealmoot_crypto::sealed_box::{Kem, PrivateKey};
/// use sealmoot_crypto::sealed_file::{self, ExpectedSender, Opener, Recipients, Sender};
/// let (alice, bob) = (PrivateKey::generate(Kem::X25519)?, PrivateKey::generate(Kem::X25519)?);
/// let (alice_public, bob_public) = (alice.public_key(), bob.public_key());
/// let recipients = Recipients::new().public_key(&bob_public).sender(Sender::Agreement(&alice));
/// let sealed = sealed_file::seal(&recipients, "letter", b"at noon")?;
/// let opener = Opener::private_key(&bob).expect_sender(ExpectedSender::Agreement(&alice_public));
/// assert_eq!(sealed_file::open(&opener, "letter", &sealed)?.expose(), b"at noon");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Copy, Default)]
pub enum Sender<'a> {
    /// Nobody.
    #[default]
    NotNamed,
    /// The holder of this X25519 key, to the recipients only.
    Agreement(&'a PrivateKey),
    /// The holder of this key, to everybody.
    Signature(&'a SigningKey),
}

impl<'a> Recipients<'a> {
    /// Nobody yet, sealed with the default options on the default backend.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Also whoever knows `passphrase`, stretched at `cost`.
    #[must_use]
    pub fn passphrase(mut self, passphrase: &'a [u8], cost: Cost) -> Self {
        self.recipients
            .push(Recipient::Passphrase(passphrase, cost));
        self
    }

    /// Also whoever has `keyset`.
    #[must_use]
    pub fn keyset(mut self, keyset: &'a Keyset) -> Self {
        self.recipients.push(Recipient::Keyset(keyset));
        self
    }

    /// Also whoever has the private half of `key`.
    #[must_use]
    pub fn public_key(mut self, key: &'a PublicKey) -> Self {
        self.recipients.push(Recipient::PublicKey(key));
        self
    }

    /// Names the sender.
    ///
    /// ```
    /// use sealmoot_crypto::sealed_box::{Kem, PrivateKey};
    /// use sealmoot_crypto::sealed_file::{self, ExpectedSender, Opener, Recipients, Sender};
    /// use sealmoot_crypto::signature::SigningKey;
    ///
    /// let (alice, bob) = (SigningKey::generate()?, PrivateKey::generate(Kem::XWing)?);
    /// let bob_public = bob.public_key();
    /// let recipients = Recipients::new()
    ///     .public_key(&bob_public)
    ///     .sender(Sender::Signature(&alice));
    /// let sealed = sealed_file::seal(&recipients, "letter", b"at noon")?;
    ///
    /// let alice_public = alice.verifying_key();
    /// let opener = Opener::private_key(&bob).expect_sender(ExpectedSender::Signature(&alice_public));
    /// assert_eq!(sealed_file::open(&opener, "letter", &sealed)?.expose(), b"at noon");
    /// // A sender is never ignored.
    /// assert!(sealed_file::open(&Opener::private_key(&bob), "letter", &sealed).is_err());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn sender(mut self, sender: Sender<'a>) -> Self {
        self.sender = sender;
        self
    }

    /// Chunk size and cipher of the content.
    #[must_use]
    pub fn options(mut self, options: Options) -> Self {
        self.options = options;
        self
    }

    /// Which library computes; files are the same under every backend.
    #[must_use]
    pub fn on(mut self, backend: Backend) -> Self {
        self.backend = backend;
        self
    }
}

impl fmt::Debug for Recipients<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Recipients({})", self.recipients.len())
    }
}

/// Whom a file is expected from.
///
/// ```
/// use sealmoot_crypto::{keyset::Keyset, signature::SigningKey};
/// use sealmoot_crypto::sealed_file::{self, ExpectedSender, FileOpenError, Opener, Recipients};
/// let (keyset, alice) = (Keyset::generate()?, SigningKey::generate()?.verifying_key());
/// let unsigned = sealed_file::seal(&Recipients::new().keyset(&keyset), "note", b"text")?;
/// let from_alice = Opener::keyset(&keyset).expect_sender(ExpectedSender::Signature(&alice));
/// let refused = sealed_file::open(&from_alice, "note", &unsigned);
/// assert!(matches!(refused, Err(FileOpenError::SenderNotNamed)));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Copy, Default)]
pub enum ExpectedSender<'a> {
    /// Anyone: the file names no sender, and may be from anybody who could seal it.
    #[default]
    Anyone,
    /// The holder of this X25519 key ([`Sender::Agreement`]).
    Agreement(&'a PublicKey),
    /// The holder of this key ([`Sender::Signature`]).
    Signature(&'a VerifyingKey),
}

/// What a file is opened with, and whom it is expected from.
///
/// ```
/// use sealmoot_crypto::sealed_file::{self, Opener, Recipients};
/// # let cost = sealmoot_crypto::password::Cost { memory_kib: 8, passes: 1, lanes: 1 };
/// let recipients = Recipients::new().passphrase(b"hip roast", cost);
/// let sealed = sealed_file::seal(&recipients, "note", b"text")?;
/// let opener = Opener::passphrase(b"hip roast");
/// assert_eq!(sealed_file::open(&opener, "note", &sealed)?.expose(), b"text");
/// assert_eq!(format!("{opener:?}"), "Opener(redacted)");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Opener<'a> {
    pub(super) secret: Secret<'a>,
    pub(super) sender: ExpectedSender<'a>,
    pub(super) backend: Backend,
}

pub(super) enum Secret<'a> {
    Passphrase(&'a [u8]),
    Keyset(&'a Keyset),
    PrivateKey(&'a PrivateKey),
}

impl<'a> Opener<'a> {
    /// Opens with a passphrase.
    #[must_use]
    pub fn passphrase(passphrase: &'a [u8]) -> Self {
        Self::new(Secret::Passphrase(passphrase))
    }

    /// Opens with a keyset.
    #[must_use]
    pub fn keyset(keyset: &'a Keyset) -> Self {
        Self::new(Secret::Keyset(keyset))
    }

    /// Opens with a private key.
    #[must_use]
    pub fn private_key(key: &'a PrivateKey) -> Self {
        Self::new(Secret::PrivateKey(key))
    }

    /// Opens only files from `sender`; without this, only files that name none.
    #[must_use]
    pub fn expect_sender(mut self, sender: ExpectedSender<'a>) -> Self {
        self.sender = sender;
        self
    }

    /// Which library computes.
    #[must_use]
    pub fn on(mut self, backend: Backend) -> Self {
        self.backend = backend;
        self
    }

    fn new(secret: Secret<'a>) -> Self {
        Self {
            secret,
            sender: ExpectedSender::Anyone,
            backend: Backend::default(),
        }
    }
}

impl fmt::Debug for Opener<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Opener(redacted)")
    }
}
