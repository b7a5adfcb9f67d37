//! Why a file was not sealed or not opened.

use super::header::HeaderError;
use super::{PASSPHRASE_SLOTS_MAX, SLOTS_MAX};
use crate::aead;
use crate::passphrase_box::BoxSealError;
use crate::password::PasswordError;
use crate::random::RandomError;
use crate::stream::{self, StreamOpenError, StreamSealError};

/// Why a file was not sealed.
///
/// ```
/// use sealmoot_crypto::sealed_file::{self, FileSealError, PASSPHRASE_SLOTS_MAX, Recipients};
/// # let cost = sealmoot_crypto::password::Cost { memory_kib: 8, passes: 1, lanes: 1 };
/// let to_nobody = sealed_file::seal(&Recipients::new(), "note", b"text");
/// assert!(matches!(to_nobody, Err(FileSealError::NoRecipients)));
/// let mut many = Recipients::new();
/// for _ in 0..=PASSPHRASE_SLOTS_MAX {
///     many = many.passphrase(b"hip roast", cost);
/// }
/// let refused = sealed_file::seal(&many, "note", b"text");
/// assert!(matches!(refused, Err(FileSealError::TooManyPassphrases)));
/// ```
#[derive(Debug, thiserror::Error)]
pub enum FileSealError {
    /// Nobody could open it.
    #[error("a file is sealed to somebody")]
    NoRecipients,
    /// More than [`SLOTS_MAX`] recipients.
    #[error("a file is sealed to at most {SLOTS_MAX}")]
    TooManyRecipients,
    /// More than [`PASSPHRASE_SLOTS_MAX`] passphrases.
    #[error("a file is sealed to at most {PASSPHRASE_SLOTS_MAX} passphrases")]
    TooManyPassphrases,
    /// The passphrases cost more than [`super::STRETCH_KIB_MAX`] together.
    #[error("the passphrases together cost more than an opener would pay")]
    TooCostly,
    /// [`super::Sender::Agreement`] needs an X25519 key, and no other recipients than such keys.
    #[error("a sender is shown by agreement between X25519 keys only; sign instead")]
    NotX25519,
    /// A passphrase could not be stretched.
    #[error(transparent)]
    Passphrase(#[from] PasswordError),
    /// The random source failed.
    #[error(transparent)]
    Random(#[from] RandomError),
    /// The content is too long.
    #[error(transparent)]
    Stream(#[from] StreamSealError),
    /// Reading or writing failed.
    #[cfg(feature = "std")]
    #[error(transparent)]
    Io(#[from] std::io::Error),
}

impl From<aead::SealError> for FileSealError {
    fn from(error: aead::SealError) -> Self {
        match error {
            aead::SealError::Random(error) => Self::Random(error),
            aead::SealError::TooLong => Self::Stream(StreamSealError::TooLong),
        }
    }
}

impl From<BoxSealError> for FileSealError {
    fn from(error: BoxSealError) -> Self {
        match error {
            BoxSealError::Password(error) => Self::Passphrase(error),
            BoxSealError::Seal(error) => error.into(),
            BoxSealError::Random(error) => Self::Random(error),
        }
    }
}

impl From<stream::SealError> for FileSealError {
    fn from(error: stream::SealError) -> Self {
        match error {
            stream::SealError::Random(error) => Self::Random(error),
            stream::SealError::Stream(error) => Self::Stream(error),
        }
    }
}

/// Why a file did not open.
///
/// ```
/// use sealmoot_crypto::keyset::Keyset;
/// use sealmoot_crypto::sealed_file::{self, FileOpenError, Opener, Recipients};
/// let (keyset, other) = (Keyset::generate()?, Keyset::generate()?);
/// let mut sealed = sealed_file::seal(&Recipients::new().keyset(&keyset), "note", b"text")?;
/// let wrong_key = sealed_file::open(&Opener::keyset(&other), "note", &sealed);
/// assert!(matches!(wrong_key, Err(FileOpenError::NoSlotOpens)));
/// sealed.pop();
/// let changed = sealed_file::open(&Opener::keyset(&keyset), "note", &sealed);
/// assert!(matches!(changed, Err(FileOpenError::Closed)));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, thiserror::Error)]
pub enum FileOpenError {
    /// The bytes begin with no header that this version takes.
    #[error(transparent)]
    Header(#[from] HeaderError),
    /// It is a key where bytes are expected, or the other way round.
    #[error("the file holds something else than is expected")]
    OtherPayload,
    /// The file names a sender, and the caller did not say whom it expects.
    #[error("the file names a sender; say whom it should be from")]
    SenderNotExpected,
    /// A sender is expected, and the file does not name one in that way.
    #[error("the file does not show its sender in the expected way")]
    SenderNotNamed,
    /// The signature is not the expected sender's. A sender by agreement shows only in
    /// opening a slot, so there it is [`FileOpenError::NoSlotOpens`].
    #[error("the file is not from the expected sender")]
    WrongSender,
    /// The passphrase or key opens no slot: it is another one, the context is, the
    /// sender by agreement is, or the slot was changed.
    #[error("wrong passphrase or key, or the file is for another use")]
    NoSlotOpens,
    /// The file was changed: a slot opened, but header or content do not fit.
    #[error("the file was changed")]
    Closed,
    /// The passphrase could not be stretched.
    #[error(transparent)]
    Passphrase(PasswordError),
    /// The content is malformed; when it is refused for a reason that depends on the
    /// key, that is [`FileOpenError::Closed`].
    #[error(transparent)]
    Stream(StreamOpenError),
    /// Reading or writing failed.
    #[cfg(feature = "std")]
    #[error(transparent)]
    Io(std::io::Error),
}

impl From<StreamOpenError> for FileOpenError {
    fn from(error: StreamOpenError) -> Self {
        match error {
            StreamOpenError::Closed => Self::Closed,
            error => Self::Stream(error),
        }
    }
}
