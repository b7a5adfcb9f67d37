//! Slots: the file key wrapped for one who may open the file.

use alloc::vec::Vec;

use super::header::{COUNT_LENGTH, Header, HeaderError, PREFIX_LENGTH, Slot, SlotKind, Stretching};
use super::{
    CONTEXT, ExpectedSender, FileOpenError, FileSealError, Opener, Recipient, Recipients,
    SLOTS_MAX, Secret, Sender, SenderMode,
};
use crate::passphrase_box::{self, BoxOpenError};
use crate::sealed_box::{self, Kem, PrivateKey, PublicKey, SealFromError};
use crate::secret::{SecretArray, SecretBytes};

/// Refuses what no opener would take, before anything costly is done.
pub(super) fn check(recipients: &Recipients<'_>) -> Result<(), FileSealError> {
    let all = &recipients.recipients;
    if all.is_empty() {
        return Err(FileSealError::NoRecipients);
    }
    if all.len() > SLOTS_MAX {
        return Err(FileSealError::TooManyRecipients);
    }
    let mut stretching = Stretching::default();
    for recipient in all {
        if let Recipient::Passphrase(_, cost) = recipient {
            stretching.add(*cost).map_err(|error| match error {
                HeaderError::TooManyPassphrases => FileSealError::TooManyPassphrases,
                _ => FileSealError::TooCostly,
            })?;
        }
    }
    let is_x25519 = |recipient: &Recipient<'_>| matches!(recipient, Recipient::PublicKey(key) if key.kem() == Kem::X25519);
    if let Sender::Agreement(key) = recipients.sender
        && (key.kem() != Kem::X25519 || !all.iter().all(is_x25519))
    {
        return Err(FileSealError::NotX25519);
    }
    Ok(())
}

/// The slot of `recipient` in the file that begins with `raw`: its kind and body.
pub(super) fn wrap(
    recipient: &Recipient<'_>,
    sender: Sender<'_>,
    raw: &[u8],
    context: &str,
    file_key: &SecretArray<32>,
) -> Result<(SlotKind, Vec<u8>), FileSealError> {
    let file_key = file_key.expose();
    Ok(match recipient {
        Recipient::Passphrase(passphrase, cost) => {
            let bound = binding(raw, SlotKind::Passphrase, &[], context);
            let body = passphrase_box::seal(passphrase, CONTEXT, &bound, file_key, *cost)?;
            (SlotKind::Passphrase, body)
        }
        Recipient::Keyset(keyset) => {
            let bound = binding(raw, SlotKind::Keyset, &[], context);
            let body = keyset.seal(CONTEXT, &bound, file_key)?;
            (SlotKind::Keyset, body)
        }
        Recipient::PublicKey(key) => {
            let kind = SlotKind::of_kem(key.kem());
            let key_id = key.key_id();
            let named: &[u8] = match sender {
                Sender::Signature(_) => key_id.as_bytes(),
                Sender::NotNamed | Sender::Agreement(_) => &[],
            };
            let bound = binding(raw, kind, named, context);
            let sealed = seal_to_key(key, sender, &bound, file_key)?;
            (kind, [named, &sealed].concat())
        }
    })
}

fn seal_to_key(
    key: &PublicKey,
    sender: Sender<'_>,
    bound: &[u8],
    file_key: &[u8],
) -> Result<Vec<u8>, FileSealError> {
    let sealed = match sender {
        Sender::Agreement(sender) => sealed_box::seal_from(sender, key, CONTEXT, bound, file_key),
        Sender::NotNamed | Sender::Signature(_) => {
            sealed_box::seal(key, CONTEXT, bound, file_key).map_err(SealFromError::from)
        }
    };
    sealed.map_err(|error| match error {
        SealFromError::NotX25519 => FileSealError::NotX25519,
        SealFromError::Seal(sealed_box::SealError::Random(error)) => error.into(),
        SealFromError::Seal(sealed_box::SealError::TooLong) => {
            unreachable!("a file key of 32 bytes is not too long for a box")
        }
    })
}

/// The file key, from the first slot that opens.
pub(super) fn unwrap(
    header: &Header,
    opener: &Opener<'_>,
    context: &str,
) -> Result<SecretArray<32>, FileOpenError> {
    let wanted = match &opener.secret {
        Secret::Passphrase(_) => SlotKind::Passphrase,
        Secret::Keyset(_) => SlotKind::Keyset,
        Secret::PrivateKey(key) => SlotKind::of_kem(key.kem()),
    };
    // Computed once, not for every slot.
    let own_id = match (&opener.secret, header.sender) {
        (Secret::PrivateKey(key), SenderMode::Signature) => Some(key.public_key().key_id()),
        _ => None,
    };
    for slot in header.slots.iter().filter(|slot| slot.kind == wanted) {
        let (named, sealed) = split(header, slot);
        if own_id.is_some_and(|own| own.as_bytes() != named) {
            continue;
        }
        let bound = binding(&header.raw, slot.kind, named, context);
        let opened = match &opener.secret {
            Secret::Passphrase(passphrase) => {
                match passphrase_box::open(passphrase, CONTEXT, &bound, sealed) {
                    Err(BoxOpenError::Password(error)) => {
                        return Err(FileOpenError::Passphrase(error));
                    }
                    outcome => outcome.ok(),
                }
            }
            Secret::Keyset(keyset) => keyset.open(CONTEXT, &bound, sealed).ok(),
            Secret::PrivateKey(key) => open_with_key(key, opener.sender, &bound, sealed),
        };
        if let Some(opened) = opened {
            // Only whoever knows what opens the slot could put something else in it.
            return SecretArray::from_slice(opened.expose()).ok_or(FileOpenError::Closed);
        }
    }
    Err(FileOpenError::NoSlotOpens)
}

fn open_with_key(
    key: &PrivateKey,
    sender: ExpectedSender<'_>,
    bound: &[u8],
    sealed: &[u8],
) -> Option<SecretBytes> {
    match sender {
        ExpectedSender::Agreement(sender) => {
            sealed_box::open_from(sender, key, CONTEXT, bound, sealed).ok()
        }
        ExpectedSender::Anyone | ExpectedSender::Signature(_) => {
            sealed_box::open(key, CONTEXT, bound, sealed).ok()
        }
    }
}

/// The key id at the beginning of a slot's body, if there is one, and the box.
fn split<'a>(header: &'a Header, slot: &Slot) -> (&'a [u8], &'a [u8]) {
    header
        .body(slot)
        .split_at(slot.kind.key_id_length(header.sender))
}

/// What a slot's box is bound to. The lengths of all but the last part follow from
/// those before. The other slots are not in it: they are the MAC's affair. But their
/// number is: else one of several recipients, who knows the file key, could cut the
/// others' slots off and make it look as if the sender had written to one person only,
/// which is what vouches for the content.
pub(super) fn binding(raw: &[u8], kind: SlotKind, key_id: &[u8], context: &str) -> Vec<u8> {
    [
        &raw[..PREFIX_LENGTH + COUNT_LENGTH],
        &[kind.number()],
        key_id,
        context.as_bytes(),
    ]
    .concat()
}
