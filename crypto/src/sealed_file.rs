//! Files sealed to passphrases, keysets and public keys, one or many.
//!
//! A file is a stream ([`crate::stream`]) under a fresh file key, and a header that
//! wraps this key in one slot for each of those who may open it:
//!
//! ```text
//! offset length
//!      0      4  "SMSF"
//!      4      2  version, 1 (little-endian, as all that follows)
//!      6      1  payload: 1 bytes, 2 a keyset, 3 a private key
//!      7      1  sender: 0 not named, 1 by agreement, 2 by signature
//!      8      4  number of slots, 1 to 256
//!     12         each slot: kind u8, length u32, body
//!            64  only with sender 2: Ed25519 for the domain "sealed file" over
//!                length (u64) and bytes of all that stands before, the context
//!            32  MAC: HMAC-SHA-256 by HKDF(file key, "sealed file header") over
//!                length (u64) and bytes of all that stands before, the context
//!                a stream under HKDF(file key, "sealed file stream"), its
//!                associated data the MAC, its context "sealed file"
//!
//! kind  length  body, a box of the 32-byte file key for the context "sealed file"
//!    1     144  passphrase box
//!    2     110  keyset's box
//!    3     116  box sealed to an X25519 key; with sender 1 one that shows its sender
//!    4    1204  box sealed to an X-Wing key
//! ```
//!
//! With sender 2, the bodies of kinds 3 and 4 begin with the 32 bytes of the
//! recipient's key id. A box's associated data is bytes 0..12 of the file, the slot's
//! kind, that key id if there is one, and the context of the file.
//!
//! ```
//! use sealmoot_crypto::password::Cost;
//! use sealmoot_crypto::sealed_box::{Kem, PrivateKey};
//! use sealmoot_crypto::sealed_file::{self, Opener, Recipients};
//! # let cost = Cost { memory_kib: 8, passes: 1, lanes: 1 };
//! let alice = PrivateKey::generate(Kem::XWing)?;
//! let alice_public = alice.public_key();
//! let recipients = Recipients::new().public_key(&alice_public).passphrase(b"hip roast", cost);
//! let sealed = sealed_file::seal(&recipients, "letter", b"at noon")?;
//! for opener in [Opener::private_key(&alice), Opener::passphrase(b"hip roast")] {
//!     assert_eq!(sealed_file::open(&opener, "letter", &sealed)?.expose(), b"at noon");
//! }
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # What holds the parts together
//!
//! Only who has the file key can make the MAC, so nobody else can add, remove, swap
//! or reorder slots, put the slots of one file before the content of another, or open
//! a file in another context. All openers get the same file key, and with it the same
//! content: slots with two different keys under one MAC would be a collision of
//! HMAC-SHA-256.
//!
//! # Who may have made a file
//!
//! Whoever can open a file knows its file key, and could have replaced the content
//! for the others. So what a file says about its maker depends on its openers:
//!
//! | Opened with | Made by, without a sender being named |
//! |---|---|
//! | a passphrase or keyset | somebody who knows it, or another opener |
//! | a private key | anybody: public keys are public |
//!
//! A sender can be named in two ways, and whoever opens must say whom they expect:
//! a file with a named sender does not open for [`Opener`]s that expect none, nor one
//! without for those that expect one.
//!
//! - By agreement ([`Sender::Agreement`]; HPKE `mode_auth`): shows the sender to the
//!   recipients and to nobody else. All slots are X25519. Any recipient can forge such
//!   files to themselves, as can whoever steals a recipient's key. Each slot says how
//!   many there are, so a file for several never passes for a file for one; which
//!   others there are, one of several recipients could change.
//! - By signature ([`Sender::Signature`]): shows everybody that the sender made this
//!   header, for these recipients in this order. Public-key slots name their
//!   recipient, because a signature that does not cover whom it was for could be
//!   handed on: each opener checks that the slot bears its own key id.
//!
//! With exactly one slot, content is from the named sender, unless it is from somebody
//! who holds what opens the slot. With several, each of the openers may have replaced
//! the content (under a signature: not the header) and left the sender's name on it. To close that, the sender would have to sign the
//! content's digest too, which is known only after the last byte: then no byte could
//! be released before all were read. Who needs it signs the content itself.
//!
//! # What a file tells
//!
//! Its length, the number and kinds of slots, the cost of passphrases, the ids of the
//! keyset's keys, and with a signature the recipients' key ids. Without one, a
//! public-key slot does not tell whose it is: a key is tried on every slot of its
//! kind, at most [`SLOTS_MAX`] times, each in a fraction of a millisecond. A hint
//! would save that and tell every observer who talks to whom.
//!
//! # Passphrases beside other slots
//!
//! They are allowed, because a keyset is stored for a passphrase and for a recovery
//! key. A box commits to its passphrase, so that one slot cannot ask about many
//! guesses at once, and the MAC stops mixing. But stretching is work that a stranger's
//! file asks for: there are at most [`PASSPHRASE_SLOTS_MAX`], which together ask for
//! at most [`STRETCH_KIB_MAX`], checked before memory is reserved.

mod error;
#[cfg(feature = "std")]
mod files;
mod header;
mod parties;
mod private_key;
mod slot;
#[cfg(test)]
mod tests;

use alloc::vec::Vec;

use crate::backend::Backend;
use crate::digest::MacKey;
use crate::kdf;
use crate::secret::{SecretArray, SecretBytes, constant_time_equal};
use crate::signature::Signature;
use crate::stream::{self, StreamKey};

pub use error::{FileOpenError, FileSealError};
#[cfg(feature = "std")]
pub use files::{open_reader, open_seekable, open_stream, seal_stream, seal_writer};
use header::{Header, MAC_LENGTH};
pub use header::{HeaderError, Payload, SenderMode, SlotKind, Summary, inspect};
pub use parties::{ExpectedSender, Opener, Recipients, Sender};
use parties::{Recipient, Secret};
pub use private_key::KeyOpenError;

/// Most slots of one file.
pub const SLOTS_MAX: usize = 256;
/// Most passphrase slots of one file.
pub const PASSPHRASE_SLOTS_MAX: usize = 4;
/// Most work that the passphrase slots of one file may ask for together: the sum of
/// memory in KiB times passes. 4 GiB, some seconds of one core.
pub const STRETCH_KIB_MAX: u64 = 4 * 1024 * 1024;

/// The context of slots and of the stream. The caller's is in what they are bound to.
const CONTEXT: &str = "sealed file";
const SIGNATURE_DOMAIN: &str = "sealed file";

/// A file with `plaintext` for `recipients` and `context` (what it is, fixed in the
/// program).
///
/// # Errors
/// [`FileSealError`].
///
/// ```
/// use sealmoot_crypto::keyset::Keyset;
/// use sealmoot_crypto::sealed_file::{self, Opener, Recipients};
/// let keyset = Keyset::generate()?;
/// let sealed = sealed_file::seal(&Recipients::new().keyset(&keyset), "note", b"text")?;
/// let opener = Opener::keyset(&keyset);
/// assert_eq!(sealed_file::open(&opener, "note", &sealed)?.expose(), b"text");
/// assert!(sealed_file::open(&opener, "other", &sealed).is_err());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn seal(
    recipients: &Recipients<'_>,
    context: &str,
    plaintext: &[u8],
) -> Result<Vec<u8>, FileSealError> {
    seal_payload(Payload::Bytes, recipients, context, plaintext)
}

/// Opens what [`seal`] made for the same context: all of it, or nothing.
///
/// # Errors
/// [`FileOpenError`].
///
/// ```
/// use sealmoot_crypto::password::Cost;
/// use sealmoot_crypto::sealed_file::{self, FileOpenError, Opener, Recipients};
/// let recipients = Recipients::new().passphrase(b"hip roast", Cost::OWASP);
/// let sealed = sealed_file::seal(&recipients, "note", b"text")?;
/// let refused = sealed_file::open(&Opener::passphrase(b"hip toast"), "note", &sealed);
/// assert!(matches!(refused, Err(FileOpenError::NoSlotOpens)));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn open(
    opener: &Opener<'_>,
    context: &str,
    sealed: &[u8],
) -> Result<SecretBytes, FileOpenError> {
    open_payload(Payload::Bytes, opener, context, sealed)
}

pub(crate) fn seal_payload(
    payload: Payload,
    recipients: &Recipients<'_>,
    context: &str,
    plaintext: &[u8],
) -> Result<Vec<u8>, FileSealError> {
    let (mut sealed, keys) = begin(payload, recipients, context)?;
    let (key, mac) = (&keys.stream, &keys.mac);
    stream::seal_onto(
        &mut sealed,
        key,
        CONTEXT,
        mac,
        recipients.options,
        plaintext,
    )?;
    Ok(sealed)
}

pub(crate) fn open_payload(
    payload: Payload,
    opener: &Opener<'_>,
    context: &str,
    sealed: &[u8],
) -> Result<SecretBytes, FileOpenError> {
    let (header, content) = header::parse(sealed)?;
    let keys = unlock(&header, payload, opener, context)?;
    Ok(stream::open(&keys.stream, CONTEXT, &keys.mac, content)?)
}

/// What the content of a file is sealed under and bound to.
struct ContentKeys {
    stream: StreamKey,
    mac: [u8; MAC_LENGTH],
}

impl ContentKeys {
    fn new(backend: Backend, file_key: &SecretArray<32>, mac: [u8; MAC_LENGTH]) -> Self {
        let secret = kdf::derive(file_key.expose(), "sealed file stream", &[]);
        let stream = StreamKey::from_secret_on(backend, &secret);
        Self { stream, mac }
    }
}

/// The header of a new file with its MAC, and the keys for what follows it.
fn begin(
    payload: Payload,
    recipients: &Recipients<'_>,
    context: &str,
) -> Result<(Vec<u8>, ContentKeys), FileSealError> {
    slot::check(recipients)?;
    let file_key = SecretArray::random()?;
    let mode = match recipients.sender {
        Sender::NotNamed => SenderMode::NotNamed,
        Sender::Agreement(_) => SenderMode::Agreement,
        Sender::Signature(_) => SenderMode::Signature,
    };
    let mut raw = header::begin(payload, mode, recipients.recipients.len());
    for recipient in &recipients.recipients {
        let (kind, body) = slot::wrap(recipient, recipients.sender, &raw, context, &file_key)?;
        header::push_slot(&mut raw, kind, &body);
    }
    if let Sender::Signature(key) = recipients.sender {
        let signature = key.sign(SIGNATURE_DOMAIN, &bound(&raw, context));
        raw.extend_from_slice(&signature.to_bytes());
    }
    let mac = header_mac(recipients.backend, &file_key, &raw, context);
    raw.extend_from_slice(&mac);
    Ok((raw, ContentKeys::new(recipients.backend, &file_key, mac)))
}

/// The keys for what follows the header, when it is what and from whom `opener`
/// expects.
fn unlock(
    header: &Header,
    payload: Payload,
    opener: &Opener<'_>,
    context: &str,
) -> Result<ContentKeys, FileOpenError> {
    if header.payload != payload {
        return Err(FileOpenError::OtherPayload);
    }
    match (opener.sender, header.sender) {
        (ExpectedSender::Anyone, SenderMode::NotNamed)
        | (ExpectedSender::Agreement(_), SenderMode::Agreement) => {}
        (ExpectedSender::Signature(key), SenderMode::Signature) => key
            .verify(
                SIGNATURE_DOMAIN,
                &bound(header.signed(), context),
                &Signature::from_bytes(header.signature),
            )
            .map_err(|_| FileOpenError::WrongSender)?,
        (ExpectedSender::Anyone, _) => return Err(FileOpenError::SenderNotExpected),
        _ => return Err(FileOpenError::SenderNotNamed),
    }
    let file_key = slot::unwrap(header, opener, context)?;
    let mac = header_mac(opener.backend, &file_key, &header.raw, context);
    if !constant_time_equal(&mac, &header.mac) {
        return Err(FileOpenError::Closed);
    }
    Ok(ContentKeys::new(opener.backend, &file_key, mac))
}

fn header_mac(
    backend: Backend,
    file_key: &SecretArray<32>,
    raw: &[u8],
    context: &str,
) -> [u8; MAC_LENGTH] {
    let key = kdf::derive(file_key.expose(), "sealed file header", &[]);
    let length = (raw.len() as u64).to_le_bytes();
    MacKey::from_secret_on(backend, &key).tag(&[&length, raw, context.as_bytes()])
}

/// What a signature is over. The MAC is over the same form.
fn bound(raw: &[u8], context: &str) -> Vec<u8> {
    let length = (raw.len() as u64).to_le_bytes();
    [&length[..], raw, context.as_bytes()].concat()
}
