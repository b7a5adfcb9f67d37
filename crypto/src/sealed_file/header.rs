//! The header of a file, as bytes and as values.

use alloc::vec::Vec;

use core::ops::Range;

use super::{PASSPHRASE_SLOTS_MAX, SLOTS_MAX, STRETCH_KIB_MAX};
use crate::committing;
use crate::encoding::{EncodingError, Reader, Writer};
use crate::passphrase_box;
use crate::password::{Cost, MEMORY_KIB_MAX};
use crate::sealed_box::Kem;

const MAGIC: &[u8; 4] = b"SMSF";
const VERSION: u16 = 1;
/// Length of what stands before the number of slots, to which every slot is bound.
pub(super) const PREFIX_LENGTH: usize = 8;
/// Length of the number of slots, which follows it.
pub(super) const COUNT_LENGTH: usize = 4;
const FILE_KEY_LENGTH: usize = 32;
const KEY_ID_LENGTH: usize = 32;
const SIGNATURE_LENGTH: usize = 64;
pub(super) const MAC_LENGTH: usize = 32;

/// What the content of a file is.
///
/// ```
/// use sealmoot_crypto::keyset::Keyset;
/// use sealmoot_crypto::sealed_file::{self, Payload, Recipients};
/// let (outer, inner) = (Keyset::generate()?, Keyset::generate()?);
/// let stored = inner.seal_to(&Recipients::new().keyset(&outer), "notebook")?;
/// assert_eq!(sealed_file::inspect(&stored)?.payload, Payload::Keyset);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Payload {
    /// Bytes of the caller's.
    Bytes,
    /// A keyset ([`crate::keyset::Keyset::seal_to`]).
    Keyset,
    /// A private key ([`crate::sealed_box::PrivateKey::seal_to`]).
    PrivateKey,
}

/// How a file shows its sender.
///
/// ```
/// use sealmoot_crypto::{keyset::Keyset, signature::SigningKey};
/// use sealmoot_crypto::sealed_file::{self, Recipients, Sender, SenderMode};
/// let (keyset, alice) = (Keyset::generate()?, SigningKey::generate()?);
/// let recipients = Recipients::new().keyset(&keyset).sender(Sender::Signature(&alice));
/// let sealed = sealed_file::seal(&recipients, "note", b"text")?;
/// assert_eq!(sealed_file::inspect(&sealed)?.sender, SenderMode::Signature);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SenderMode {
    /// Not at all.
    NotNamed,
    /// By agreement ([`super::Sender::Agreement`]).
    Agreement,
    /// By signature ([`super::Sender::Signature`]).
    Signature,
}

/// What opens a slot.
///
/// ```
/// use sealmoot_crypto::keyset::Keyset;
/// use sealmoot_crypto::sealed_file::{self, Recipients, SlotKind};
/// # let cost = sealmoot_crypto::password::Cost { memory_kib: 8, passes: 1, lanes: 1 };
/// let keyset = Keyset::generate()?;
/// let recipients = Recipients::new().keyset(&keyset).passphrase(b"hip roast", cost);
/// let sealed = sealed_file::seal(&recipients, "note", b"text")?;
/// let slots = sealed_file::inspect(&sealed)?.slots;
/// assert_eq!(slots, [SlotKind::Keyset, SlotKind::Passphrase]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SlotKind {
    /// A passphrase.
    Passphrase,
    /// A keyset.
    Keyset,
    /// A private key of X25519.
    X25519,
    /// A private key of X-Wing.
    XWing,
}

impl Payload {
    fn number(self) -> u8 {
        match self {
            Self::Bytes => 1,
            Self::Keyset => 2,
            Self::PrivateKey => 3,
        }
    }

    fn from_number(number: u8) -> Option<Self> {
        [Self::Bytes, Self::Keyset, Self::PrivateKey]
            .into_iter()
            .find(|payload| payload.number() == number)
    }
}

impl SenderMode {
    fn number(self) -> u8 {
        match self {
            Self::NotNamed => 0,
            Self::Agreement => 1,
            Self::Signature => 2,
        }
    }

    fn from_number(number: u8) -> Option<Self> {
        [Self::NotNamed, Self::Agreement, Self::Signature]
            .into_iter()
            .find(|mode| mode.number() == number)
    }
}

impl SlotKind {
    pub(super) fn number(self) -> u8 {
        match self {
            Self::Passphrase => 1,
            Self::Keyset => 2,
            Self::X25519 => 3,
            Self::XWing => 4,
        }
    }

    fn from_number(number: u8) -> Option<Self> {
        [Self::Passphrase, Self::Keyset, Self::X25519, Self::XWing]
            .into_iter()
            .find(|kind| kind.number() == number)
    }

    pub(super) fn of_kem(kem: Kem) -> Self {
        match kem {
            Kem::X25519 => Self::X25519,
            Kem::XWing => Self::XWing,
        }
    }

    /// How many bytes at the beginning of the body name the recipient.
    pub(super) fn key_id_length(self, mode: SenderMode) -> usize {
        match (mode, self) {
            (SenderMode::Signature, Self::X25519 | Self::XWing) => KEY_ID_LENGTH,
            _ => 0,
        }
    }

    /// The one length that a body of this kind has.
    fn body_length(self, mode: SenderMode) -> usize {
        let overhead = match self {
            Self::Passphrase => passphrase_box::HEADER_LENGTH + committing::OVERHEAD,
            Self::Keyset => committing::OVERHEAD,
            Self::X25519 => Kem::X25519.overhead(),
            Self::XWing => Kem::XWing.overhead(),
        };
        self.key_id_length(mode) + overhead + FILE_KEY_LENGTH
    }
}

/// Why bytes are no header of a sealed file.
///
/// ```
/// use sealmoot_crypto::keyset::Keyset;
/// use sealmoot_crypto::sealed_file::{self, HeaderError, Recipients};
/// let keyset = Keyset::generate()?;
/// let sealed = sealed_file::seal(&Recipients::new().keyset(&keyset), "note", b"text")?;
/// assert_eq!(sealed_file::inspect(&sealed[..100]), Err(HeaderError::Truncated));
/// assert_eq!(sealed_file::inspect(b"a letter"), Err(HeaderError::NotASealedFile));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HeaderError {
    /// They do not begin with `SMSF`.
    #[error("not a sealed file")]
    NotASealedFile,
    /// The version is not known.
    #[error("file version {0} is not known")]
    UnknownVersion(u16),
    /// The payload's number is not known.
    #[error("file payload {0} is not known")]
    UnknownPayload(u8),
    /// The sender's number is not known.
    #[error("file sender {0} is not known")]
    UnknownSender(u8),
    /// There are no slots, or more than [`SLOTS_MAX`].
    #[error("a file has 1 to {SLOTS_MAX} slots, not {0}")]
    SlotCount(u32),
    /// The slot's kind is not known.
    #[error("slot kind {0} is not known")]
    UnknownSlot(u8),
    /// The slot's length is not that of its kind.
    #[error("a slot of {0} bytes is not of its kind")]
    SlotLength(u32),
    /// A slot that shows no sender in a file that shows its sender by agreement.
    #[error("a slot cannot show the sender that the file shows")]
    SlotNotAllowed,
    /// There are more than [`PASSPHRASE_SLOTS_MAX`] passphrase slots.
    #[error("a file has at most {PASSPHRASE_SLOTS_MAX} passphrase slots")]
    TooManyPassphrases,
    /// The passphrase slots ask for more than [`STRETCH_KIB_MAX`] together, or one for
    /// more memory than [`MEMORY_KIB_MAX`].
    #[error("the passphrase slots ask for more work than allowed")]
    TooCostly,
    /// A passphrase slot holds no passphrase box.
    #[error("malformed passphrase slot: {0}")]
    Passphrase(EncodingError),
    /// The header ends early.
    #[error("the header is cut off")]
    Truncated,
}

/// What a header says, before anything about it is believed.
#[derive(Debug)]
pub(super) struct Header {
    pub(super) payload: Payload,
    pub(super) sender: SenderMode,
    pub(super) slots: Vec<Slot>,
    /// Zeros when there is none.
    pub(super) signature: [u8; SIGNATURE_LENGTH],
    /// All bytes before the MAC.
    pub(super) raw: Vec<u8>,
    pub(super) mac: [u8; MAC_LENGTH],
}

#[derive(Debug)]
pub(super) struct Slot {
    pub(super) kind: SlotKind,
    /// Where the body stands in the header.
    body: Range<usize>,
}

impl Header {
    /// All bytes before the signature.
    pub(super) fn signed(&self) -> &[u8] {
        let end = self
            .slots
            .last()
            .expect("a header has at least one slot")
            .body
            .end;
        &self.raw[..end]
    }

    pub(super) fn body(&self, slot: &Slot) -> &[u8] {
        &self.raw[slot.body.clone()]
    }
}

/// The header up to the first slot.
pub(super) fn begin(payload: Payload, sender: SenderMode, slots: usize) -> Vec<u8> {
    let mut writer = Writer::new();
    writer.fixed(MAGIC);
    writer.u16(VERSION);
    writer.u8(payload.number());
    writer.u8(sender.number());
    writer.count(slots);
    writer.finish()
}

pub(super) fn push_slot(raw: &mut Vec<u8>, kind: SlotKind, body: &[u8]) {
    let mut writer = Writer::with_capacity(5 + body.len());
    writer.u8(kind.number());
    writer.bytes(body);
    raw.extend_from_slice(&writer.finish());
}

/// Takes a header from a source: `more(raw, n)` appends `n` bytes to `raw`, or fails.
/// Memory grows by what the source has, never by what it says.
pub(super) fn read<E: From<HeaderError>>(
    mut more: impl FnMut(&mut Vec<u8>, usize) -> Result<(), E>,
) -> Result<Header, E> {
    let mut raw = Vec::new();
    more(&mut raw, MAGIC.len())?;
    if raw != MAGIC {
        return Err(HeaderError::NotASealedFile.into());
    }
    more(&mut raw, PREFIX_LENGTH + COUNT_LENGTH - MAGIC.len())?;
    let version = u16::from_le_bytes([raw[4], raw[5]]);
    if version != VERSION {
        return Err(HeaderError::UnknownVersion(version).into());
    }
    let payload = Payload::from_number(raw[6]).ok_or(HeaderError::UnknownPayload(raw[6]))?;
    let sender = SenderMode::from_number(raw[7]).ok_or(HeaderError::UnknownSender(raw[7]))?;
    let count = number_at(&raw, PREFIX_LENGTH);
    if count == 0 || count as usize > SLOTS_MAX {
        return Err(HeaderError::SlotCount(count).into());
    }
    let mut slots = Vec::new();
    let mut stretching = Stretching::default();
    for _ in 0..count {
        let start = raw.len();
        more(&mut raw, 5)?;
        let kind = SlotKind::from_number(raw[start]).ok_or(HeaderError::UnknownSlot(raw[start]))?;
        if sender == SenderMode::Agreement && kind != SlotKind::X25519 {
            return Err(HeaderError::SlotNotAllowed.into());
        }
        let length = number_at(&raw, start + 1);
        if length as usize != kind.body_length(sender) {
            return Err(HeaderError::SlotLength(length).into());
        }
        more(&mut raw, length as usize)?;
        let body = start + 5..raw.len();
        if kind == SlotKind::Passphrase {
            stretching.add_slot(&raw[body.clone()])?;
        }
        slots.push(Slot { kind, body });
    }
    let mut signature = [0u8; SIGNATURE_LENGTH];
    if sender == SenderMode::Signature {
        let start = raw.len();
        more(&mut raw, SIGNATURE_LENGTH)?;
        signature.copy_from_slice(&raw[start..]);
    }
    let end = raw.len();
    more(&mut raw, MAC_LENGTH)?;
    let mut mac = [0u8; MAC_LENGTH];
    mac.copy_from_slice(&raw[end..]);
    raw.truncate(end);
    Ok(Header {
        payload,
        sender,
        slots,
        signature,
        raw,
        mac,
    })
}

fn number_at(raw: &[u8], at: usize) -> u32 {
    u32::from_le_bytes([raw[at], raw[at + 1], raw[at + 2], raw[at + 3]])
}

/// The header at the beginning of `sealed`, and the rest.
pub(super) fn parse(sealed: &[u8]) -> Result<(Header, &[u8]), HeaderError> {
    let mut reader = Reader::new(sealed);
    let header = read(|raw, count| {
        let bytes = reader.fixed(count).map_err(|_| HeaderError::Truncated)?;
        raw.extend_from_slice(bytes);
        Ok::<(), HeaderError>(())
    })?;
    let length = header.raw.len() + MAC_LENGTH;
    Ok((header, &sealed[length..]))
}

/// The work that passphrase slots ask for, summed up.
#[derive(Default)]
pub(super) struct Stretching {
    slots: usize,
    kib: u64,
}

impl Stretching {
    pub(super) fn add(&mut self, cost: Cost) -> Result<(), HeaderError> {
        self.slots += 1;
        if self.slots > PASSPHRASE_SLOTS_MAX {
            return Err(HeaderError::TooManyPassphrases);
        }
        let kib = u64::from(cost.memory_kib) * u64::from(cost.passes);
        self.kib = self.kib.saturating_add(kib);
        if cost.memory_kib > MEMORY_KIB_MAX || self.kib > STRETCH_KIB_MAX {
            return Err(HeaderError::TooCostly);
        }
        Ok(())
    }

    fn add_slot(&mut self, body: &[u8]) -> Result<(), HeaderError> {
        self.add(passphrase_box::claimed_cost(body).map_err(HeaderError::Passphrase)?)
    }
}

/// What a file says about itself: not authentic before it opens.
///
/// ```
/// use sealmoot_crypto::keyset::Keyset;
/// use sealmoot_crypto::sealed_file::{self, Payload, Recipients, SenderMode, SlotKind, Summary};
/// let keyset = Keyset::generate()?;
/// let sealed = sealed_file::seal(&Recipients::new().keyset(&keyset), "note", b"text")?;
/// let Summary { payload, sender, slots } = sealed_file::inspect(&sealed)?;
/// assert_eq!((payload, sender), (Payload::Bytes, SenderMode::NotNamed));
/// assert!(!slots.contains(&SlotKind::Passphrase)); // so no passphrase is asked for
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Summary {
    /// What the content is.
    pub payload: Payload,
    /// How the sender is shown.
    pub sender: SenderMode,
    /// What opens it, in the order of the slots.
    pub slots: Vec<SlotKind>,
}

/// What the file that begins with these bytes says about itself, so that a program
/// can ask for the passphrase only when one opens it. Nothing of it is authentic.
///
/// # Errors
/// [`HeaderError`].
///
/// ```
/// use sealmoot_crypto::keyset::Keyset;
/// use sealmoot_crypto::sealed_file::{self, Recipients, SenderMode, SlotKind};
/// let keyset = Keyset::generate()?;
/// let sealed = sealed_file::seal(&Recipients::new().keyset(&keyset), "note", b"text")?;
/// let summary = sealed_file::inspect(&sealed)?;
/// assert_eq!(summary.slots, [SlotKind::Keyset]);
/// assert_eq!(summary.sender, SenderMode::NotNamed);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn inspect(sealed: &[u8]) -> Result<Summary, HeaderError> {
    let (header, _) = parse(sealed)?;
    Ok(Summary {
        payload: header.payload,
        sender: header.sender,
        slots: header.slots.iter().map(|slot| slot.kind).collect(),
    })
}
