//! What may be longer than memory: streams and sealed files, read in each of the ways
//! there are, which must agree; and keys stored as sealed files.

use std::io::{Cursor, Read};

use sealmoot_crypto::keyset::Keyset;
use sealmoot_crypto::sealed_box::{Kem, PrivateKey};
use sealmoot_crypto::sealed_file::{self, ExpectedSender, Opener, Recipients, Sender, SlotKind};
use sealmoot_crypto::secret::SecretArray;
use sealmoot_crypto::stream::{
    self, ChunkSize, Cipher, OpenReader, OpenSeekReader, Options, StreamKey,
};

use super::{CHEAP, KEYSET, asks_too_much, box_key, number_at, sender_key, signing_key};
use crate::{Decoder, Outcome};

pub(super) const ALL: &[Decoder] = &[
    Decoder {
        name: "stream",
        authenticates: true,
        samples: streams,
        check: |bytes| {
            let key = stream_key();
            let opened = stream::open(&key, "context", b"data", bytes).ok();
            let opened = opened.as_ref().map(|text| text.expose());
            let mut copied = Vec::new();
            let copy =
                stream::open_all(&key, "context", b"data", (bytes, None), &mut copied, |_| {});
            assert_eq!(copy.ok().map(|_| copied.as_slice()), opened);
            let read = OpenReader::new(&key, "context", b"data", bytes).and_then(read_all);
            assert_eq!(read.ok().as_deref(), opened);
            Outcome::of(&opened.ok_or(()))
        },
    },
    Decoder {
        name: "stream_seekable",
        authenticates: true,
        samples: streams,
        check: |bytes| {
            let reader = OpenSeekReader::new(&stream_key(), "context", b"data", Cursor::new(bytes));
            let read = reader.and_then(read_all).ok();
            let opened = stream::open(&stream_key(), "context", b"data", bytes).ok();
            assert_eq!(read.as_deref(), opened.as_ref().map(|text| text.expose()));
            Outcome::of(&read.ok_or(()))
        },
    },
    Decoder {
        name: "sealed_file_passphrase",
        authenticates: true,
        samples: || {
            let one = Recipients::new().passphrase(b"passphrase", CHEAP);
            let two = Recipients::new()
                .passphrase(b"another", CHEAP)
                .passphrase(b"passphrase", CHEAP);
            vec![sealed(one), sealed(two)]
        },
        check: |bytes| open_file(&Opener::passphrase(b"passphrase"), bytes),
    },
    Decoder {
        name: "sealed_file_keyset",
        authenticates: true,
        samples: || {
            let beside = box_key(Kem::X25519).public_key();
            let one = Recipients::new().keyset(&KEYSET);
            let two = Recipients::new().public_key(&beside).keyset(&KEYSET);
            vec![sealed(one), sealed(two)]
        },
        check: |bytes| open_file(&Opener::keyset(&KEYSET), bytes),
    },
    Decoder {
        name: "sealed_file_x25519",
        authenticates: true,
        samples: || sealed_to_keys(&[Kem::X25519], Sender::NotNamed),
        check: |bytes| open_file(&Opener::private_key(&box_key(Kem::X25519)), bytes),
    },
    Decoder {
        name: "sealed_file_xwing",
        authenticates: true,
        samples: || sealed_to_keys(&[Kem::XWing], Sender::NotNamed),
        check: |bytes| open_file(&Opener::private_key(&box_key(Kem::XWing)), bytes),
    },
    Decoder {
        name: "sealed_file_agreement",
        authenticates: true,
        samples: || sealed_to_keys(&[Kem::X25519], Sender::Agreement(&sender_key())),
        check: |bytes| {
            let (key, sender) = (box_key(Kem::X25519), sender_key().public_key());
            let expected = ExpectedSender::Agreement(&sender);
            open_file(&Opener::private_key(&key).expect_sender(expected), bytes)
        },
    },
    Decoder {
        name: "sealed_file_signature",
        authenticates: true,
        samples: || {
            let kems = [Kem::XWing, Kem::X25519];
            sealed_to_keys(&kems, Sender::Signature(&signing_key()))
        },
        check: |bytes| {
            let (key, sender) = (box_key(Kem::X25519), signing_key().verifying_key());
            let expected = ExpectedSender::Signature(&sender);
            open_file(&Opener::private_key(&key).expect_sender(expected), bytes)
        },
    },
    Decoder {
        name: "stored_keyset",
        authenticates: true,
        samples: || {
            let to = Recipients::new().passphrase(b"passphrase", CHEAP);
            vec![KEYSET.seal_to(&to, "context").expect("sealed")]
        },
        check: |bytes| {
            if costs_too_much(bytes) {
                return Outcome::Refused;
            }
            let opener = Opener::passphrase(b"passphrase");
            Outcome::of(&Keyset::open_from(&opener, "context", bytes))
        },
    },
    Decoder {
        name: "stored_private_key",
        authenticates: true,
        samples: || {
            let to = Recipients::new().keyset(&KEYSET);
            Kem::ALL
                .map(|kem| box_key(kem).seal_to(&to, "context").expect("sealed"))
                .into()
        },
        check: |bytes| {
            let opener = Opener::keyset(&KEYSET);
            Outcome::of(&PrivateKey::open_from(&opener, "context", bytes))
        },
    },
];

/// More than a chunk, exactly one, and none.
fn streams() -> Vec<Vec<u8>> {
    let full = ChunkSize::MIN.bytes();
    [
        (Cipher::Aes256Gcm, full + 5),
        (Cipher::ChaCha20Poly1305, full),
        (Cipher::ChaCha20Poly1305, 0),
    ]
    .map(|(cipher, length)| {
        let options = Options {
            chunk_size: ChunkSize::MIN,
            cipher,
        };
        let text = vec![b'a'; length];
        stream::seal(&stream_key(), "context", b"data", options, &text).expect("sealed")
    })
    .into()
}

fn stream_key() -> StreamKey {
    StreamKey::from_secret(&SecretArray::from_bytes([6; 32]))
}

fn read_all(mut reader: impl Read) -> std::io::Result<Vec<u8>> {
    let mut text = Vec::new();
    reader.read_to_end(&mut text).map(|_| text)
}

fn sealed(recipients: Recipients<'_>) -> Vec<u8> {
    sealed_file::seal(&recipients, "context", b"text").expect("sealed")
}

fn sealed_to_keys(kems: &[Kem], sender: Sender<'_>) -> Vec<Vec<u8>> {
    let keys: Vec<_> = kems.iter().map(|kem| box_key(*kem).public_key()).collect();
    let recipients = keys
        .iter()
        .fold(Recipients::new(), |to, key| to.public_key(key));
    vec![sealed(recipients.sender(sender))]
}

/// Opens the file from memory, from a reader and seekably: the same each time.
fn open_file(opener: &Opener<'_>, bytes: &[u8]) -> Outcome {
    if costs_too_much(bytes) {
        return Outcome::Refused;
    }
    let opened = sealed_file::open(opener, "context", bytes).ok();
    let opened = opened.as_ref().map(|text| text.expose());
    let read = sealed_file::open_reader(opener, "context", bytes)
        .ok()
        .and_then(|reader| read_all(reader).ok());
    assert_eq!(read.as_deref(), opened);
    let read = sealed_file::open_seekable(opener, "context", Cursor::new(bytes))
        .ok()
        .and_then(|reader| read_all(reader).ok());
    assert_eq!(read.as_deref(), opened);
    Outcome::of(&opened.ok_or(()))
}

/// Whether a passphrase slot of a file asks for more work than a test has time for.
fn costs_too_much(bytes: &[u8]) -> bool {
    const SLOTS_AT: usize = 12;
    const SLOT_HEADER_LENGTH: usize = 5;
    // What has no header is refused before any work.
    let Ok(summary) = sealed_file::inspect(bytes) else {
        return false;
    };
    let mut at = SLOTS_AT;
    summary.slots.into_iter().any(|kind| {
        let length = number_at(bytes, at + 1).expect("inspected") as usize;
        let body = &bytes[at + SLOT_HEADER_LENGTH..][..length];
        at += SLOT_HEADER_LENGTH + length;
        kind == SlotKind::Passphrase && asks_too_much(body)
    })
}
