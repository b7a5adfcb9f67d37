//! Sealed files: their headers, slots, senders and contents, and keys stored in them.

use std::io::{self, Cursor, Read, Write};

use sealmoot_crypto::encoding::EncodingError;
use sealmoot_crypto::keyset::Keyset;
use sealmoot_crypto::password::{Cost, PasswordError};
use sealmoot_crypto::sealed_box::{Kem, PrivateKey};
use sealmoot_crypto::sealed_file::{
    self, ExpectedSender, FileOpenError, FileSealError, HeaderError, KeyOpenError, Opener,
    Recipients, SLOTS_MAX, Sender, inspect,
};
use sealmoot_crypto::stream::{self, StreamOpenError};

use crate::kit::{
    CHEAP, Kit, box_key, flipped, flipped_from_end, keyset, longer, other_keyset, report, shorter,
    signing_key, spliced, with, with_byte,
};

const VERSION_AT: usize = 4;
const PAYLOAD_AT: usize = 6;
const SENDER_AT: usize = 7;
const COUNT_AT: usize = 8;
const SLOTS_AT: usize = 12;
/// Of a slot.
const LENGTH_AT: usize = 1;
const BODY_AT: usize = 5;

/// Of slots with their kind and length.
const PASSPHRASE_SLOT: usize = BODY_AT + 144;
const KEYSET_SLOT: usize = BODY_AT + 110;
const X25519_SLOT: usize = BODY_AT + 116;
const KEY_ID: usize = 32;
const SIGNATURE: usize = 64;
const MAC: usize = 32;

/// Of the body of a passphrase slot.
const MEMORY_KIB_AT: usize = 6;
const PASSES_AT: usize = 10;

const GIB: u32 = 1024 * 1024;

#[test]
fn sealed_file_refusals() {
    report("sealed_file", family());
}

pub(crate) fn family() -> usize {
    let mut kit = Kit::new("sealed_file");
    headers(&mut kit);
    slots(&mut kit);
    costs(&mut kit);
    openers(&mut kit);
    mixtures(&mut kit);
    contents(&mut kit);
    agreements(&mut kit);
    signatures(&mut kit);
    payloads(&mut kit);
    readers(&mut kit);
    recipients(&mut kit);
    kit.count()
}

fn seal(recipients: &Recipients<'_>, text: &[u8]) -> Vec<u8> {
    sealed_file::seal(recipients, "letter", text).expect("sealed")
}

fn open(opener: &Opener<'_>, bytes: &[u8]) -> Result<Vec<u8>, FileOpenError> {
    let opened = sealed_file::open(opener, "letter", bytes)?;
    Ok(opened.expose().to_vec())
}

/// A file with one slot, for the keyset, and its opening.
fn to_keyset() -> Vec<u8> {
    seal(&Recipients::new().keyset(&keyset()), b"text")
}

fn open_with_keyset(bytes: &[u8]) -> Result<Vec<u8>, FileOpenError> {
    open(&Opener::keyset(&keyset()), bytes)
}

fn to_passphrases(passphrases: &[&[u8]]) -> Vec<u8> {
    let to = passphrases
        .iter()
        .fold(Recipients::new(), |to, passphrase| {
            to.passphrase(passphrase, CHEAP)
        });
    seal(&to, b"text")
}

fn header(expected: HeaderError) -> impl Fn(&FileOpenError) -> bool {
    move |error| matches!(error, FileOpenError::Header(found) if *found == expected)
}

fn closed(error: &FileOpenError) -> bool {
    matches!(error, FileOpenError::Closed)
}

fn no_slot_opens(error: &FileOpenError) -> bool {
    matches!(error, FileOpenError::NoSlotOpens)
}

fn headers(kit: &mut Kit) {
    let sample = to_keyset();
    let open = open_with_keyset;
    let truncated = || header(HeaderError::Truncated);
    let not_a_file = || header(HeaderError::NotASealedFile);
    kit.accepted("a file", open(&sample));
    kit.refused("empty", open(&[]), truncated());
    kit.refused("cut off in the magic", open(b"SMS"), truncated());
    kit.refused(
        "cut off in the number of slots",
        open(&sample[..SLOTS_AT - 1]),
        truncated(),
    );
    kit.refused(
        "no slot where one should be",
        open(&sample[..SLOTS_AT]),
        truncated(),
    );
    kit.refused(
        "cut off in a slot's length",
        open(&sample[..SLOTS_AT + 4]),
        truncated(),
    );
    kit.refused(
        "cut off in a slot",
        open(&sample[..SLOTS_AT + 50]),
        truncated(),
    );
    let mac_at = SLOTS_AT + KEYSET_SLOT;
    kit.refused(
        "cut off in the MAC",
        open(&sample[..mac_at + 31]),
        truncated(),
    );
    kit.refused(
        "a letter of the magic",
        open(&with_byte(&sample, 3, b'T')),
        not_a_file(),
    );
    kit.refused(
        "a passphrase box",
        open(&with(&sample, 0, b"SMPB")),
        not_a_file(),
    );
    kit.refused(
        "a file of age",
        open(b"age-encryption.org/v1\n"),
        not_a_file(),
    );
    kit.refused(
        "version 0",
        open(&with_byte(&sample, VERSION_AT, 0)),
        header(HeaderError::UnknownVersion(0)),
    );
    kit.refused(
        "version 2",
        open(&with_byte(&sample, VERSION_AT, 2)),
        header(HeaderError::UnknownVersion(2)),
    );
    kit.refused(
        "version in big-endian",
        open(&with(&sample, VERSION_AT, &[0, 1])),
        header(HeaderError::UnknownVersion(256)),
    );
    kit.refused(
        "payload 0",
        open(&with_byte(&sample, PAYLOAD_AT, 0)),
        header(HeaderError::UnknownPayload(0)),
    );
    kit.refused(
        "payload 4",
        open(&with_byte(&sample, PAYLOAD_AT, 4)),
        header(HeaderError::UnknownPayload(4)),
    );
    kit.refused(
        "sender 3",
        open(&with_byte(&sample, SENDER_AT, 3)),
        header(HeaderError::UnknownSender(3)),
    );
    kit.refused(
        "sender 255",
        open(&with_byte(&sample, SENDER_AT, 255)),
        header(HeaderError::UnknownSender(255)),
    );
    let count = |count: u32| open(&with(&sample, COUNT_AT, &count.to_le_bytes()));
    kit.refused("no slots", count(0), header(HeaderError::SlotCount(0)));
    kit.refused("257 slots", count(257), header(HeaderError::SlotCount(257)));
    kit.refused(
        "2^32 - 1 slots",
        count(u32::MAX),
        header(HeaderError::SlotCount(u32::MAX)),
    );
    kit.refused(
        "the number of slots in big-endian",
        count(1 << 24),
        header(HeaderError::SlotCount(1 << 24)),
    );
    kit.refused(
        "inspected: version 2",
        inspect(&with_byte(&sample, VERSION_AT, 2)),
        |error| matches!(error, HeaderError::UnknownVersion(2)),
    );
    kit.refused(
        "inspected: the MAC left out",
        inspect(&sample[..mac_at]),
        |error| matches!(error, HeaderError::Truncated),
    );
}

fn slots(kit: &mut Kit) {
    let sample = to_keyset();
    let open = open_with_keyset;
    let set = |at, value| with_byte(&sample, SLOTS_AT + at, value);
    kit.refused(
        "slot kind 0",
        open(&set(0, 0)),
        header(HeaderError::UnknownSlot(0)),
    );
    kit.refused(
        "slot kind 5",
        open(&set(0, 5)),
        header(HeaderError::UnknownSlot(5)),
    );
    kit.refused(
        "slot kind 128",
        open(&set(0, 128)),
        header(HeaderError::UnknownSlot(128)),
    );
    kit.refused(
        "a keyset's slot said to be X25519's",
        open(&set(0, 3)),
        header(HeaderError::SlotLength(110)),
    );
    kit.refused(
        "a keyset's slot said to be X-Wing's",
        open(&set(0, 4)),
        header(HeaderError::SlotLength(110)),
    );
    kit.refused(
        "a keyset's slot said to be a passphrase's",
        open(&set(0, 1)),
        header(HeaderError::SlotLength(110)),
    );
    let length = |length: u32| open(&with(&sample, SLOTS_AT + LENGTH_AT, &length.to_le_bytes()));
    kit.refused(
        "a slot of nothing",
        length(0),
        header(HeaderError::SlotLength(0)),
    );
    kit.refused(
        "a slot of one less",
        length(109),
        header(HeaderError::SlotLength(109)),
    );
    kit.refused(
        "a slot of one more",
        length(111),
        header(HeaderError::SlotLength(111)),
    );
    kit.refused(
        "a slot of 4 GiB",
        length(u32::MAX),
        header(HeaderError::SlotLength(u32::MAX)),
    );
    let in_mode = |bytes: &[u8], mode| open(&with_byte(bytes, SENDER_AT, mode));
    kit.refused(
        "a keyset's slot beside a sender by agreement",
        in_mode(&sample, 1),
        header(HeaderError::SlotNotAllowed),
    );
    kit.refused(
        "a passphrase beside a sender by agreement",
        in_mode(&to_passphrases(&[b"hip roast"]), 1),
        header(HeaderError::SlotNotAllowed),
    );
    let xwing = box_key(Kem::XWing, 4).public_key();
    let to_xwing = seal(&Recipients::new().public_key(&xwing), b"text");
    kit.refused(
        "X-Wing beside a sender by agreement",
        in_mode(&to_xwing, 1),
        header(HeaderError::SlotNotAllowed),
    );
    kit.refused(
        "X-Wing without a key id, said to be signed",
        in_mode(&to_xwing, 2),
        header(HeaderError::SlotLength(1204)),
    );

    let bodies = |at| open(&flipped(&sample, SLOTS_AT + BODY_AT + at));
    kit.refused("version of a slot's box", bodies(0), no_slot_opens);
    kit.refused("key id of a slot's box", bodies(5), no_slot_opens);
    kit.refused("commitment of a slot's box", bodies(30), no_slot_opens);
    kit.refused("file key in a slot", bodies(62), no_slot_opens);
    kit.refused("tag of a slot's box", bodies(109), no_slot_opens);
    kit.refused(
        "MAC changed",
        open(&flipped(&sample, SLOTS_AT + KEYSET_SLOT)),
        closed,
    );
    let zeros = with(&sample, SLOTS_AT + KEYSET_SLOT, &[0; MAC]);
    kit.refused("a MAC of zeros", open(&zeros), closed);
    let cut = spliced(
        &sample,
        SLOTS_AT + KEYSET_SLOT..SLOTS_AT + KEYSET_SLOT + MAC,
        &[],
    );
    kit.refused("a MAC left out", open(&cut), closed);
    kit.refused(
        "said to be a keyset",
        open(&with_byte(&sample, PAYLOAD_AT, 2)),
        |error| matches!(error, FileOpenError::OtherPayload),
    );
    kit.refused("said to be signed", in_mode(&sample, 2), |error| {
        matches!(error, FileOpenError::SenderNotExpected)
    });
}

/// None of these may reserve memory or compute before it is refused.
fn costs(kit: &mut Kit) {
    let opener = Opener::passphrase(b"hip roast");
    let open = |bytes: &[u8]| open(&opener, bytes);
    let one = to_passphrases(&[b"hip roast"]);
    let four = to_passphrases(&[b"a", b"b", b"c", b"hip roast"]);
    let body = |slot: usize| SLOTS_AT + slot * PASSPHRASE_SLOT + BODY_AT;
    let set = |bytes: &[u8], at, value: u32| with(bytes, at, &value.to_le_bytes());
    let costly = || header(HeaderError::TooCostly);
    kit.accepted("a file to a passphrase", open(&one));
    kit.accepted("a file to four passphrases", open(&four));
    let fifth = set(&four, COUNT_AT, 5);
    let fifth = spliced(
        &fifth,
        SLOTS_AT..SLOTS_AT,
        &one[SLOTS_AT..SLOTS_AT + PASSPHRASE_SLOT],
    );
    kit.refused(
        "five passphrases",
        open(&fifth),
        header(HeaderError::TooManyPassphrases),
    );
    kit.refused(
        "4 TiB of memory",
        open(&set(&one, body(0) + MEMORY_KIB_AT, u32::MAX)),
        costly(),
    );
    kit.refused(
        "a KiB above 1 GiB",
        open(&set(&one, body(0) + MEMORY_KIB_AT, GIB + 1)),
        costly(),
    );
    kit.refused(
        "4 thousand million passes",
        open(&set(&one, body(0) + PASSES_AT, u32::MAX)),
        costly(),
    );
    let mut sum = four.clone();
    for slot in 0..3 {
        sum = set(&sum, body(slot) + MEMORY_KIB_AT, GIB);
        sum = set(&sum, body(slot) + PASSES_AT, 2);
    }
    kit.refused("three slots of 2 GiB each", open(&sum), costly());
    // For a keyset no passphrase is stretched, and a header is refused all the same.
    let beside = seal(
        &Recipients::new()
            .passphrase(b"hip roast", CHEAP)
            .keyset(&keyset()),
        b"text",
    );
    let beside = set(&beside, body(0) + MEMORY_KIB_AT, u32::MAX);
    kit.refused("4 TiB beside a keyset", open_with_keyset(&beside), costly());
    let password = |error: &FileOpenError| match error {
        FileOpenError::Passphrase(PasswordError::TooCostly) => Some("too costly"),
        FileOpenError::Passphrase(PasswordError::InvalidCost) => Some("invalid"),
        _ => None,
    };
    kit.refused(
        "17 passes",
        open(&set(&one, body(0) + PASSES_AT, 17)),
        |error| password(error) == Some("too costly"),
    );
    kit.refused(
        "no pass",
        open(&set(&one, body(0) + PASSES_AT, 0)),
        |error| password(error) == Some("invalid"),
    );
    kit.refused(
        "no memory",
        open(&set(&one, body(0) + MEMORY_KIB_AT, 0)),
        |error| password(error) == Some("invalid"),
    );
    kit.refused(
        "another cost than it was sealed at",
        open(&set(&one, body(0) + MEMORY_KIB_AT, 16)),
        no_slot_opens,
    );
    kit.refused(
        "a slot without its magic",
        open(&with(&one, body(0), b"SMPC")),
        |error| {
            matches!(
                error,
                FileOpenError::Header(HeaderError::Passphrase(EncodingError::Invalid(
                    "it does not begin with SMPB"
                )))
            )
        },
    );
    kit.refused(
        "a slot of version 2",
        open(&with_byte(&one, body(0) + 4, 2)),
        |error| {
            matches!(
                error,
                FileOpenError::Header(HeaderError::Passphrase(EncodingError::Unknown {
                    what: "version",
                    value: 2
                }))
            )
        },
    );
}

fn openers(kit: &mut Kit) {
    let (x25519, xwing) = (box_key(Kem::X25519, 4), box_key(Kem::XWing, 4));
    let (public, xwing_public) = (x25519.public_key(), xwing.public_key());
    let keyset = keyset();
    let to = Recipients::new()
        .passphrase(b"hip roast", CHEAP)
        .keyset(&keyset)
        .public_key(&public)
        .public_key(&xwing_public);
    let sample = seal(&to, b"text");
    kit.accepted(
        "a file to everybody",
        open(&Opener::private_key(&xwing), &sample),
    );
    let mut other =
        |name, opener: Opener<'_>| kit.refused(name, open(&opener, &sample), no_slot_opens);
    other("another passphrase", Opener::passphrase(b"hip toast"));
    other("no passphrase", Opener::passphrase(b""));
    other("another keyset", Opener::keyset(&other_keyset()));
    other(
        "another key of X25519",
        Opener::private_key(&box_key(Kem::X25519, 9)),
    );
    other(
        "another key of X-Wing",
        Opener::private_key(&box_key(Kem::XWing, 9)),
    );
    let elsewhere = sealed_file::open(&Opener::keyset(&keyset), "other", &sample);
    kit.refused("another context", elsewhere, no_slot_opens);
    let prefix = sealed_file::open(&Opener::keyset(&keyset), "lette", &sample);
    kit.refused("the beginning of the context", prefix, no_slot_opens);
    let only_keyset = to_keyset();
    kit.refused(
        "a passphrase where there is none",
        open(&Opener::passphrase(b"hip roast"), &only_keyset),
        no_slot_opens,
    );
    kit.refused(
        "a private key where there is none",
        open(&Opener::private_key(&x25519), &only_keyset),
        no_slot_opens,
    );
    let only_x25519 = seal(&Recipients::new().public_key(&public), b"text");
    kit.refused(
        "a key of the other KEM",
        open(&Opener::private_key(&xwing), &only_x25519),
        no_slot_opens,
    );
    kit.refused(
        "a passphrase of 1025 bytes",
        open(&Opener::passphrase(&[b'a'; 1025]), &sample),
        |error| matches!(error, FileOpenError::Passphrase(PasswordError::TooLong)),
    );
    let mut disabled =
        Keyset::from_secret_bytes(keyset.to_secret_bytes().expose()).expect("a keyset");
    disabled.promote(7).expect("there");
    disabled.disable(8).expect("not primary");
    kit.refused(
        "a keyset whose key is disabled",
        open(&Opener::keyset(&disabled), &sample),
        no_slot_opens,
    );
}

fn mixtures(kit: &mut Kit) {
    let keyset = keyset();
    let public = box_key(Kem::X25519, 4).public_key();
    let to = || Recipients::new().keyset(&keyset).public_key(&public);
    let (one, two) = (seal(&to(), b"text"), seal(&to(), b"next"));
    let (first, second) = (SLOTS_AT, SLOTS_AT + KEYSET_SLOT);
    let mac = second + X25519_SLOT;
    let end = mac + MAC;
    let open = open_with_keyset;
    let count = |bytes: &[u8], count: u8| with_byte(bytes, COUNT_AT, count);
    kit.accepted("two slots", open(&one));
    // A slot is bound to the number of slots, so where that changes none opens.

    let swapped = [
        &one[..first],
        &one[second..mac],
        &one[first..second],
        &one[mac..],
    ]
    .concat();
    kit.refused("slots in another order", open(&swapped), closed);
    kit.refused(
        "the second slot removed",
        open(&count(&spliced(&one, second..mac, &[]), 1)),
        no_slot_opens,
    );
    kit.refused(
        "the first slot removed",
        open(&count(&spliced(&one, first..second, &[]), 1)),
        no_slot_opens,
    );
    let doubled = count(&spliced(&one, first..first, &one[first..second]), 3);
    kit.refused("a slot twice", open(&doubled), no_slot_opens);
    kit.refused(
        "a slot too many for its number",
        open(&count(&one, 1)),
        no_slot_opens,
    );
    kit.refused(
        "another file's slot of somebody else",
        open(&with(&one, second, &two[second..mac])),
        closed,
    );
    kit.refused(
        "another file's slot of one's own",
        open(&with(&one, first, &two[first..second])),
        closed,
    );
    let added = count(&spliced(&one, mac..mac, &two[first..second]), 3);
    kit.refused("another file's slot added", open(&added), no_slot_opens);
    kit.refused(
        "another file's slots",
        open(&with(&one, first, &two[first..mac])),
        closed,
    );
    kit.refused(
        "another file's MAC",
        open(&with(&one, mac, &two[mac..end])),
        closed,
    );
    kit.refused(
        "another file's slots and MAC",
        open(&with(&one, first, &two[first..end])),
        closed,
    );
    kit.refused(
        "another file's content",
        open(&with(&one, end, &two[end..])),
        closed,
    );
    let stream_end = end + stream::HEADER_LENGTH;
    kit.refused(
        "another file's chunks",
        open(&with(&one, stream_end, &two[stream_end..])),
        closed,
    );
    // Made for one passphrase slot: the opener's own, in the place of another's.
    let (ours, theirs) = (
        to_passphrases(&[b"hip roast"]),
        to_passphrases(&[b"hip toast"]),
    );
    let body = SLOTS_AT..SLOTS_AT + PASSPHRASE_SLOT;
    let planted = with(&theirs, body.start, &ours[body]);
    kit.refused(
        "a passphrase's slot planted in another file",
        self::open(&Opener::passphrase(b"hip roast"), &planted),
        closed,
    );
}

fn contents(kit: &mut Kit) {
    let sample = to_keyset();
    let open = open_with_keyset;
    let at = SLOTS_AT + KEYSET_SLOT + MAC;
    let stream = |expected: StreamOpenError| move |error: &FileOpenError| matches!(error, FileOpenError::Stream(found) if *found == expected);
    kit.refused(
        "no content",
        open(&sample[..at]),
        stream(StreamOpenError::Truncated),
    );
    kit.refused(
        "content cut off in its header",
        open(&sample[..at + 70]),
        stream(StreamOpenError::Truncated),
    );
    kit.refused(
        "content without chunks",
        open(&sample[..at + stream::HEADER_LENGTH]),
        stream(StreamOpenError::Truncated),
    );
    kit.refused(
        "content without its magic",
        open(&with(&sample, at, b"SMSF")),
        stream(StreamOpenError::NotAStream),
    );
    kit.refused(
        "content that is plain",
        open(&longer(&sample[..at], b"text")),
        stream(StreamOpenError::NotAStream),
    );
    kit.refused(
        "content of version 2",
        open(&with_byte(&sample, at + 4, 2)),
        stream(StreamOpenError::UnknownVersion(2)),
    );
    kit.refused(
        "content under cipher 9",
        open(&with_byte(&sample, at + 5, 9)),
        stream(StreamOpenError::UnknownCipher(9)),
    );
    kit.refused(
        "content in chunks of 2^40",
        open(&with_byte(&sample, at + 6, 40)),
        stream(StreamOpenError::UnknownChunkSize(40)),
    );
    kit.refused(
        "content: commitment changed",
        open(&flipped(&sample, at + 39)),
        closed,
    );
    kit.refused(
        "content: a letter changed",
        open(&flipped(&sample, at + stream::HEADER_LENGTH)),
        closed,
    );
    kit.refused(
        "content: tag changed",
        open(&flipped_from_end(&sample, 1)),
        closed,
    );
    kit.refused(
        "content: a letter cut off",
        open(&shorter(&sample, 1)),
        closed,
    );
    kit.refused(
        "content: a byte behind",
        open(&longer(&sample, &[0])),
        closed,
    );
    kit.refused(
        "a byte between header and content",
        open(&spliced(&sample, at..at, &[0])),
        stream(StreamOpenError::NotAStream),
    );
    kit.refused("two files", open(&longer(&sample, &sample)), closed);
}

fn agreements(kit: &mut Kit) {
    let (sender, key) = (box_key(Kem::X25519, 5), box_key(Kem::X25519, 4));
    let (sender_public, public) = (sender.public_key(), key.public_key());
    let other = box_key(Kem::X25519, 6).public_key();
    let sample = seal(
        &Recipients::new()
            .public_key(&public)
            .sender(Sender::Agreement(&sender)),
        b"text",
    );
    let nameless = seal(&Recipients::new().public_key(&public), b"text");
    let expecting = |sender| Opener::private_key(&key).expect_sender(sender);
    let from_sender = || expecting(ExpectedSender::Agreement(&sender_public));
    kit.accepted("a file from a sender", open(&from_sender(), &sample));

    kit.refused(
        "agreement: nobody is expected",
        open(&Opener::private_key(&key), &sample),
        |error| matches!(error, FileOpenError::SenderNotExpected),
    );
    let not_named = |error: &FileOpenError| matches!(error, FileOpenError::SenderNotNamed);
    kit.refused(
        "agreement: nobody is named",
        open(&from_sender(), &nameless),
        not_named,
    );
    let signer = signing_key(3).verifying_key();
    let by_signature = expecting(ExpectedSender::Signature(&signer));
    kit.refused(
        "agreement: a signature is expected",
        open(&by_signature, &sample),
        not_named,
    );
    kit.refused(
        "agreement: another sender",
        open(&expecting(ExpectedSender::Agreement(&other)), &sample),
        no_slot_opens,
    );
    kit.refused(
        "agreement: the opener as sender",
        open(&expecting(ExpectedSender::Agreement(&public)), &sample),
        no_slot_opens,
    );
    let xwing = box_key(Kem::XWing, 5).public_key();
    kit.refused(
        "agreement: a sender with a key of X-Wing",
        open(&expecting(ExpectedSender::Agreement(&xwing)), &sample),
        no_slot_opens,
    );
    let stripped = with_byte(&sample, SENDER_AT, 0);
    kit.refused(
        "agreement: the sender's name taken off",
        open(&Opener::private_key(&key), &stripped),
        no_slot_opens,
    );
    let claimed = with_byte(&nameless, SENDER_AT, 1);
    kit.refused(
        "agreement: a sender's name put on",
        open(&from_sender(), &claimed),
        no_slot_opens,
    );
    let stranger = box_key(Kem::X25519, 9);
    let opener =
        Opener::private_key(&stranger).expect_sender(ExpectedSender::Agreement(&sender_public));
    kit.refused(
        "agreement: another recipient",
        open(&opener, &sample),
        no_slot_opens,
    );
    let opener = Opener::keyset(&KEYSET).expect_sender(ExpectedSender::Agreement(&sender_public));
    kit.refused(
        "agreement: opened with a keyset",
        open(&opener, &sample),
        no_slot_opens,
    );
}

static KEYSET: std::sync::LazyLock<Keyset> = std::sync::LazyLock::new(keyset);

fn signatures(kit: &mut Kit) {
    let (signer, key, other) = (
        signing_key(3),
        box_key(Kem::X25519, 4),
        box_key(Kem::X25519, 9),
    );
    let (public, other_public) = (key.public_key(), other.public_key());
    let sign = |signer, text: &[u8]| {
        let to = Recipients::new()
            .public_key(&public)
            .public_key(&other_public);
        seal(&to.sender(Sender::Signature(signer)), text)
    };
    let sample = sign(&signer, b"text");
    let verifying = signer.verifying_key();
    let expected = || ExpectedSender::Signature(&verifying);
    let opener = Opener::private_key(&key).expect_sender(expected());
    let open_signed = |bytes: &[u8]| open(&opener, bytes);
    let wrong = |error: &FileOpenError| matches!(error, FileOpenError::WrongSender);
    let slot = X25519_SLOT + KEY_ID;
    let signature_at = SLOTS_AT + 2 * slot;
    let mac_at = signature_at + SIGNATURE;
    kit.accepted("a signed file", open_signed(&sample));

    kit.refused(
        "signature: nobody is expected",
        open(&Opener::private_key(&key), &sample),
        |error| matches!(error, FileOpenError::SenderNotExpected),
    );
    let not_named = |error: &FileOpenError| matches!(error, FileOpenError::SenderNotNamed);
    let unsigned = seal(&Recipients::new().public_key(&public), b"text");
    kit.refused("signature: not signed", open_signed(&unsigned), not_named);
    let sender = box_key(Kem::X25519, 5).public_key();
    let by_agreement = Opener::private_key(&key).expect_sender(ExpectedSender::Agreement(&sender));
    kit.refused(
        "signature: an agreement is expected",
        open(&by_agreement, &sample),
        not_named,
    );
    let thief = signing_key(6);
    kit.refused(
        "signature: by another",
        open_signed(&sign(&thief, b"text")),
        wrong,
    );
    kit.refused(
        "signature: R changed",
        open_signed(&flipped(&sample, signature_at)),
        wrong,
    );
    kit.refused(
        "signature: S changed",
        open_signed(&flipped(&sample, signature_at + 32)),
        wrong,
    );
    kit.refused(
        "signature: zeros",
        open_signed(&with(&sample, signature_at, &[0; SIGNATURE])),
        wrong,
    );
    let another = sign(&signer, b"next");
    let mixed = with(&sample, signature_at, &another[signature_at..mac_at]);
    kit.refused("signature: of another file", open_signed(&mixed), wrong);
    kit.refused(
        "signature: the slots of another file",
        open_signed(&with(&sample, SLOTS_AT, &another[SLOTS_AT..signature_at])),
        wrong,
    );
    kit.refused(
        "signature: somebody else's slot changed",
        open_signed(&flipped_from_end(&sample, sample.len() - signature_at + 1)),
        wrong,
    );
    let ids = |from: usize| &sample[SLOTS_AT + from * slot + BODY_AT..][..KEY_ID];
    let renamed = with(&sample, SLOTS_AT + slot + BODY_AT, ids(0));
    kit.refused(
        "signature: a recipient's id changed",
        open_signed(&renamed),
        wrong,
    );
    let reordered = [
        &sample[..SLOTS_AT],
        &sample[SLOTS_AT + slot..signature_at],
        &sample[SLOTS_AT..SLOTS_AT + slot],
        &sample[signature_at..],
    ]
    .concat();
    kit.refused(
        "signature: recipients in another order",
        open_signed(&reordered),
        wrong,
    );
    let removed = with_byte(
        &spliced(&sample, SLOTS_AT + slot..signature_at, &[]),
        COUNT_AT,
        1,
    );
    kit.refused(
        "signature: a recipient removed",
        open_signed(&removed),
        wrong,
    );
    kit.refused(
        "signature: said to be of a keyset",
        open_signed(&with_byte(&sample, PAYLOAD_AT, 2)),
        |error| matches!(error, FileOpenError::OtherPayload),
    );
    let elsewhere = sealed_file::open(&opener, "other", &sample);
    kit.refused("signature: another context", elsewhere, wrong);
    kit.refused(
        "signature: cut off",
        open_signed(&sample[..mac_at - 1]),
        header(HeaderError::Truncated),
    );
    kit.refused(
        "signature: left out",
        open_signed(&spliced(&sample, signature_at..mac_at, &[])),
        wrong,
    );
    kit.refused(
        "signature: the MAC of another file",
        open_signed(&with(&sample, mac_at, &another[mac_at..mac_at + MAC])),
        closed,
    );
    kit.refused(
        "signature: the content of another file",
        open_signed(&with(&sample, mac_at + MAC, &another[mac_at + MAC..])),
        closed,
    );
    let stranger = box_key(Kem::X25519, 11);
    let opener = Opener::private_key(&stranger).expect_sender(expected());
    kit.refused(
        "signature: for others",
        open(&opener, &sample),
        no_slot_opens,
    );
    // The thief signs slots that bear the keys' ids, and cannot read what is in them.
    let header = &sample[..signature_at];
    let bound = [&(header.len() as u64).to_le_bytes()[..], header, b"letter"].concat();
    let forged = with(
        &sample,
        signature_at,
        &thief.sign("sealed file", &bound).to_bytes(),
    );
    let thief = thief.verifying_key();
    let opener = Opener::private_key(&key).expect_sender(ExpectedSender::Signature(&thief));
    kit.refused(
        "signature: anew by somebody who cannot read it",
        open(&opener, &forged),
        closed,
    );
    let nobody = with_byte(&unsigned, SENDER_AT, 2);
    kit.refused(
        "signature: said of an unsigned file",
        open_signed(&nobody),
        self::header(HeaderError::SlotLength(116)),
    );
}

fn payloads(kit: &mut Kit) {
    let keyset = keyset();
    let opener = Opener::keyset(&keyset);
    let to = || Recipients::new().keyset(&keyset);
    let stored = keyset.seal_to(&to(), "keys").expect("sealed");
    let key = box_key(Kem::XWing, 4)
        .seal_to(&to(), "keys")
        .expect("sealed");
    let bytes =
        sealed_file::seal(&to(), "keys", keyset.to_secret_bytes().expose()).expect("sealed");
    let as_keyset = |bytes: &[u8]| Keyset::open_from(&opener, "keys", bytes).map(|_| ());
    let as_key = |bytes: &[u8]| PrivateKey::open_from(&opener, "keys", bytes).map(|_| ());
    let as_bytes = |bytes: &[u8]| sealed_file::open(&opener, "keys", bytes).map(|_| ());
    kit.accepted("a stored keyset", as_keyset(&stored));
    kit.accepted("a stored key", as_key(&key));
    let other_payload =
        |error: &KeyOpenError| matches!(error, KeyOpenError::File(FileOpenError::OtherPayload));
    let no_slot =
        |error: &KeyOpenError| matches!(error, KeyOpenError::File(FileOpenError::NoSlotOpens));
    kit.refused(
        "payload: a keyset opened as bytes",
        as_bytes(&stored),
        |error| matches!(error, FileOpenError::OtherPayload),
    );
    kit.refused(
        "payload: a private key opened as bytes",
        as_bytes(&key),
        |error| matches!(error, FileOpenError::OtherPayload),
    );
    kit.refused(
        "payload: bytes of a keyset opened as one",
        as_keyset(&bytes),
        other_payload,
    );
    kit.refused(
        "payload: a private key opened as a keyset",
        as_keyset(&key),
        other_payload,
    );
    kit.refused(
        "payload: a keyset opened as a private key",
        as_key(&stored),
        other_payload,
    );
    kit.refused(
        "payload: bytes said to be a keyset",
        as_keyset(&with_byte(&bytes, PAYLOAD_AT, 2)),
        no_slot,
    );
    kit.refused(
        "payload: bytes said to be a private key",
        as_key(&with_byte(&bytes, PAYLOAD_AT, 3)),
        no_slot,
    );
    kit.refused(
        "payload: a keyset for another context",
        Keyset::open_from(&opener, "other", &stored),
        no_slot,
    );
    kit.refused(
        "payload: a keyset's content changed",
        as_keyset(&flipped_from_end(&stored, 20)),
        |error| matches!(error, KeyOpenError::File(FileOpenError::Closed)),
    );
    kit.refused(
        "payload: a private key cut off",
        as_key(&shorter(&key, 1)),
        |error| matches!(error, KeyOpenError::File(FileOpenError::Closed)),
    );
    kit.refused(
        "payload: a bare keyset",
        as_keyset(keyset.to_secret_bytes().expose()),
        |error| {
            matches!(
                error,
                KeyOpenError::File(FileOpenError::Header(HeaderError::NotASealedFile))
            )
        },
    );
}

/// Fails at once, as a disk may.
#[derive(Debug)]
struct Failing;

impl Read for Failing {
    fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
        Err(io::ErrorKind::TimedOut.into())
    }
}

impl Write for Failing {
    fn write(&mut self, _: &[u8]) -> io::Result<usize> {
        Err(io::ErrorKind::StorageFull.into())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn readers(kit: &mut Kit) {
    let sample = to_keyset();
    let keyset = keyset();
    let opener = Opener::keyset(&keyset);
    let end = SLOTS_AT + KEYSET_SLOT + MAC;
    let copy = |bytes: &[u8]| {
        sealed_file::open_stream(&opener, "letter", (bytes, None), io::sink(), |_| {})
    };
    let seek =
        |bytes: &[u8]| sealed_file::open_seekable(&opener, "letter", Cursor::new(bytes.to_vec()));
    let read = |bytes: &[u8]| sealed_file::open_reader(&opener, "letter", bytes).map(|_| ());
    kit.accepted("a file that is copied", copy(&sample));
    kit.accepted("a file that is sought in", seek(&sample));
    kit.accepted("a file that is read", read(&sample));
    let truncated =
        |error: &FileOpenError| matches!(error, FileOpenError::Stream(StreamOpenError::Truncated));
    kit.refused(
        "copied: cut off in the header",
        copy(&sample[..end - 1]),
        header(HeaderError::Truncated),
    );
    kit.refused("copied: no content", copy(&sample[..end]), truncated);
    kit.refused(
        "copied: content changed",
        copy(&flipped_from_end(&sample, 1)),
        closed,
    );
    kit.refused(
        "copied: MAC changed",
        copy(&flipped(&sample, end - 1)),
        closed,
    );
    kit.refused(
        "sought: content changed",
        seek(&flipped_from_end(&sample, 1)),
        closed,
    );
    kit.refused(
        "sought: a byte behind",
        seek(&longer(&sample, &[0])),
        closed,
    );
    kit.refused(
        "sought: no chunks",
        seek(&sample[..end + stream::HEADER_LENGTH]),
        truncated,
    );
    kit.refused(
        "read: something else",
        read(b"%PDF-1.7"),
        header(HeaderError::NotASealedFile),
    );
    kit.refused("read: no content", read(&sample[..end]), truncated);
    kit.refused(
        "read: a slot changed",
        read(&flipped(&sample, SLOTS_AT + 40)),
        no_slot_opens,
    );
    let timed_out = |error: &FileOpenError| matches!(error, FileOpenError::Io(inner) if inner.kind() == io::ErrorKind::TimedOut);
    let failing = sealed_file::open_reader(&opener, "letter", Failing);
    kit.refused("read: from a disk that fails", failing, timed_out);
    let failing = (&sample[..end]).chain(Failing);
    let failing = sealed_file::open_reader(&opener, "letter", failing);
    kit.refused(
        "read: from a disk that fails behind the header",
        failing,
        timed_out,
    );
    let full = |error: &FileOpenError| matches!(error, FileOpenError::Io(inner) if inner.kind() == io::ErrorKind::StorageFull);
    let copied = sealed_file::open_stream(&opener, "letter", (&sample[..], None), Failing, |_| {});
    kit.refused("copied: onto a disk that is full", copied, full);
    let to = Recipients::new().keyset(&keyset);
    let sealing = sealed_file::seal_writer(&to, "letter", Failing);
    kit.refused("sealing: onto a disk that is full", sealing, |error| {
        matches!(error, FileSealError::Io(inner) if inner.kind() == io::ErrorKind::StorageFull)
    });
}

fn recipients(kit: &mut Kit) {
    let (key, xwing) = (box_key(Kem::X25519, 4), box_key(Kem::XWing, 4));
    let (public, xwing_public) = (key.public_key(), xwing.public_key());
    let seal = |to: &Recipients<'_>| sealed_file::seal(to, "letter", b"text");
    let keyset = keyset();
    kit.refused("sealing: to nobody", seal(&Recipients::new()), |error| {
        matches!(error, FileSealError::NoRecipients)
    });
    let many = (0..=SLOTS_MAX).fold(Recipients::new(), |to, _| to.keyset(&keyset));
    kit.refused("sealing: to 257", seal(&many), |error| {
        matches!(error, FileSealError::TooManyRecipients)
    });
    let five = (0..5).fold(Recipients::new(), |to, _| {
        to.passphrase(b"hip roast", CHEAP)
    });
    kit.refused("sealing: to five passphrases", seal(&five), |error| {
        matches!(error, FileSealError::TooManyPassphrases)
    });
    let costly = |error: &FileSealError| matches!(error, FileSealError::TooCostly);
    let dear = Recipients::new().passphrase(
        b"hip roast",
        Cost {
            memory_kib: GIB + 1,
            ..CHEAP
        },
    );
    kit.refused("sealing: above 1 GiB", seal(&dear), costly);
    let dear = Cost {
        memory_kib: GIB,
        passes: 2,
        lanes: 1,
    };
    let dear = (0..3).fold(Recipients::new(), |to, _| to.passphrase(b"hip roast", dear));
    kit.refused(
        "sealing: to three passphrases of 2 GiB",
        seal(&dear),
        costly,
    );
    let long = [b'a'; 1025];
    kit.refused(
        "sealing: to a passphrase of 1025 bytes",
        seal(&Recipients::new().passphrase(&long, CHEAP)),
        |error| matches!(error, FileSealError::Passphrase(PasswordError::TooLong)),
    );
    let nothing = Cost { passes: 0, ..CHEAP };
    kit.refused(
        "sealing: to a passphrase in no pass",
        seal(&Recipients::new().passphrase(b"hip roast", nothing)),
        |error| matches!(error, FileSealError::Passphrase(PasswordError::InvalidCost)),
    );
    let not_x25519 = |error: &FileSealError| matches!(error, FileSealError::NotX25519);
    let from = |sender| Recipients::new().sender(Sender::Agreement(sender));
    kit.refused(
        "sealing: from a key of X-Wing",
        seal(&from(&xwing).public_key(&public)),
        not_x25519,
    );
    kit.refused(
        "sealing: by agreement to a key of X-Wing",
        seal(&from(&key).public_key(&xwing_public)),
        not_x25519,
    );
    kit.refused(
        "sealing: by agreement to a passphrase",
        seal(&from(&key).passphrase(b"hip roast", CHEAP)),
        not_x25519,
    );
    kit.refused(
        "sealing: by agreement to a keyset too",
        seal(&from(&key).public_key(&public).keyset(&keyset)),
        not_x25519,
    );
}
