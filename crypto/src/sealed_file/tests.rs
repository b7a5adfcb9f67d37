//! Tests of sealed files.

#[cfg(feature = "std")]
mod io;

use std::prelude::v1::*;

use super::parties::Recipient;
use super::*;
use crate::keyset::Keyset;
use crate::password::{Cost, PasswordError};
use crate::sealed_box::{self, Kem, PrivateKey, PublicKey};
use crate::signature::{SigningKey, VerifyingKey};
use crate::stream::{Options, StreamOpenError, TAG_LENGTH};

const CHEAP: Cost = Cost {
    memory_kib: 8,
    passes: 1,
    lanes: 1,
};
/// Where the first slot begins, where its body does.
const SLOTS_AT: usize = 12;
const BODY_AT: usize = SLOTS_AT + 5;

/// One of everything that seals and opens.
struct Cast {
    keyset: Keyset,
    x25519: PrivateKey,
    x25519_public: PublicKey,
    x_wing: PrivateKey,
    x_wing_public: PublicKey,
    sender: PrivateKey,
    sender_public: PublicKey,
    signer: SigningKey,
    signer_public: VerifyingKey,
}

impl Cast {
    fn new() -> Self {
        let private = |kem| PrivateKey::generate(kem).expect("random");
        let (x25519, x_wing, sender) = (
            private(Kem::X25519),
            private(Kem::XWing),
            private(Kem::X25519),
        );
        let signer = SigningKey::generate().expect("random");
        Self {
            keyset: Keyset::generate().expect("random"),
            x25519_public: x25519.public_key(),
            x_wing_public: x_wing.public_key(),
            sender_public: sender.public_key(),
            signer_public: signer.verifying_key(),
            x25519,
            x_wing,
            sender,
            signer,
        }
    }

    /// Recipients of every kind that `sender` allows, one each, and who opens.
    fn each<'a>(&'a self, sender: Sender<'a>) -> Vec<(SlotKind, Recipients<'a>, Opener<'a>)> {
        let new = || Recipients::new().sender(sender);
        let mut all = vec![(
            SlotKind::X25519,
            new().public_key(&self.x25519_public),
            Opener::private_key(&self.x25519),
        )];
        if !matches!(sender, Sender::Agreement(_)) {
            all.push((
                SlotKind::Passphrase,
                new().passphrase(b"hip roast", CHEAP),
                Opener::passphrase(b"hip roast"),
            ));
            all.push((
                SlotKind::Keyset,
                new().keyset(&self.keyset),
                Opener::keyset(&self.keyset),
            ));
            all.push((
                SlotKind::XWing,
                new().public_key(&self.x_wing_public),
                Opener::private_key(&self.x_wing),
            ));
        }
        let expected = self.expected(sender);
        for (_, _, opener) in &mut all {
            opener.sender = expected;
        }
        all
    }

    fn expected(&self, sender: Sender<'_>) -> ExpectedSender<'_> {
        match sender {
            Sender::NotNamed => ExpectedSender::Anyone,
            Sender::Agreement(_) => ExpectedSender::Agreement(&self.sender_public),
            Sender::Signature(_) => ExpectedSender::Signature(&self.signer_public),
        }
    }

    fn senders(&self) -> [Sender<'_>; 3] {
        [
            Sender::NotNamed,
            Sender::Agreement(&self.sender),
            Sender::Signature(&self.signer),
        ]
    }
}

fn sealed(recipients: &Recipients<'_>) -> Vec<u8> {
    seal(recipients, "test", b"text").expect("sealed")
}

fn refusal(opener: &Opener<'_>, sealed: &[u8]) -> FileOpenError {
    open(opener, "test", sealed).expect_err("refused")
}

fn header_refusal(sealed: &[u8]) -> HeaderError {
    let opened = inspect(sealed);
    // Whatever opens a file refuses it for the same reason, before any work.
    let refused = refusal(&Opener::passphrase(b"hip roast"), sealed);
    let expected = opened.expect_err("refused");
    assert!(matches!(refused, FileOpenError::Header(error) if error == expected));
    expected
}

/// Length of a file's header with its MAC.
fn header_length(sealed: &[u8]) -> usize {
    let (header, _) = header::parse(sealed).expect("a header");
    header.raw.len() + MAC_LENGTH
}

#[test]
fn every_slot_opens_in_every_way_of_naming_a_sender() {
    let cast = Cast::new();
    for sender in cast.senders() {
        for (kind, recipients, opener) in cast.each(sender) {
            let sealed = sealed(&recipients);
            let opened = open(&opener, "test", &sealed).expect("opens");
            assert_eq!(opened.expose(), b"text");
            let summary = inspect(&sealed).expect("a header");
            assert_eq!(summary.slots, [kind]);
            assert_eq!(summary.payload, Payload::Bytes);
        }
    }
}

#[test]
fn a_file_of_one_backend_opens_on_every_other() {
    let cast = Cast::new();
    for sealing in Backend::ALL {
        let recipients = Recipients::new().keyset(&cast.keyset).on(*sealing);
        let sealed = sealed(&recipients);
        for opening in Backend::ALL {
            let opener = Opener::keyset(&cast.keyset).on(*opening);
            assert!(open(&opener, "test", &sealed).is_ok());
        }
    }
}

#[test]
fn every_flip_is_refused() {
    let cast = Cast::new();
    for sender in cast.senders() {
        for (kind, recipients, opener) in cast.each(sender) {
            let sealed = sealed(&recipients);
            let header = header_length(&sealed);
            for bit in 0..sealed.len() * 8 {
                let at = bit / 8;
                let mut flipped = sealed.clone();
                flipped[at] ^= 1 << (bit % 8);
                let refused = refusal(&opener, &flipped);
                let fits = match at {
                    0..8 => matches!(
                        refused,
                        FileOpenError::Header(_)
                            | FileOpenError::OtherPayload
                            | FileOpenError::SenderNotExpected
                            | FileOpenError::SenderNotNamed
                    ),
                    8..BODY_AT => matches!(refused, FileOpenError::Header(_)),
                    _ if at < header && matches!(sender, Sender::Signature(_)) => {
                        let in_mac = at >= header - MAC_LENGTH;
                        match refused {
                            FileOpenError::Closed => in_mac,
                            FileOpenError::WrongSender | FileOpenError::Header(_) => !in_mac,
                            _ => false,
                        }
                    }
                    _ if at < header - MAC_LENGTH => matches!(
                        refused,
                        FileOpenError::NoSlotOpens
                            | FileOpenError::Passphrase(_)
                            | FileOpenError::Header(_)
                    ),
                    _ if at < header => matches!(refused, FileOpenError::Closed),
                    _ => matches!(refused, FileOpenError::Closed | FileOpenError::Stream(_)),
                };
                assert!(fits, "{kind:?} {sender:?} byte {at}: {refused:?}");
            }
        }
    }
}

#[test]
fn every_truncation_is_refused() {
    let cast = Cast::new();
    for sender in cast.senders() {
        for (kind, recipients, opener) in cast.each(sender) {
            let sealed = sealed(&recipients);
            let header = header_length(&sealed);
            for length in 0..sealed.len() {
                let refused = refusal(&opener, &sealed[..length]);
                let least = header + stream::HEADER_LENGTH + TAG_LENGTH;
                let fits = if length < header {
                    matches!(refused, FileOpenError::Header(HeaderError::Truncated))
                } else if length < least {
                    matches!(refused, FileOpenError::Stream(StreamOpenError::Truncated))
                } else {
                    matches!(refused, FileOpenError::Closed)
                };
                assert!(fits, "{kind:?} {sender:?} {length}: {refused:?}");
            }
            let longer = [&sealed[..], &[0]].concat();
            assert!(matches!(refusal(&opener, &longer), FileOpenError::Closed));
        }
    }
}

#[test]
fn another_secret_or_context_opens_nothing() {
    let (cast, other) = (Cast::new(), Cast::new());
    for sender in cast.senders() {
        let strangers = other.each(sender).into_iter().map(|(_, _, opener)| opener);
        for ((kind, recipients, opener), stranger) in cast.each(sender).into_iter().zip(strangers) {
            let sealed = sealed(&recipients);
            let refused = open(&opener, "tesu", &sealed).expect_err("refused");
            match sender {
                Sender::Signature(_) => assert!(matches!(refused, FileOpenError::WrongSender)),
                _ => assert!(matches!(refused, FileOpenError::NoSlotOpens)),
            }
            if kind != SlotKind::Passphrase {
                let stranger = stranger.expect_sender(cast.expected(sender));
                assert!(matches!(
                    refusal(&stranger, &sealed),
                    FileOpenError::NoSlotOpens
                ));
            }
            let guess = Opener::passphrase(b"hip toast").expect_sender(cast.expected(sender));
            assert!(matches!(
                refusal(&guess, &sealed),
                FileOpenError::NoSlotOpens
            ));
        }
    }
}

#[test]
fn a_key_of_the_other_kem_opens_nothing() {
    let cast = Cast::new();
    let sealed = sealed(&Recipients::new().public_key(&cast.x25519_public));
    assert!(matches!(
        refusal(&Opener::private_key(&cast.x_wing), &sealed),
        FileOpenError::NoSlotOpens
    ));
}

#[test]
fn a_sender_is_neither_ignored_nor_made_up() {
    let (cast, other) = (Cast::new(), Cast::new());
    let expectations = [
        ExpectedSender::Anyone,
        ExpectedSender::Agreement(&cast.sender_public),
        ExpectedSender::Signature(&cast.signer_public),
        ExpectedSender::Agreement(&other.sender_public),
        ExpectedSender::Signature(&other.signer_public),
        // A key of X-Wing agrees with nobody.
        ExpectedSender::Agreement(&cast.x_wing_public),
    ];
    let outcomes: Vec<Vec<&str>> = cast
        .senders()
        .into_iter()
        .map(|sender| {
            let recipients = Recipients::new()
                .public_key(&cast.x25519_public)
                .sender(sender);
            let sealed = sealed(&recipients);
            let open = |expected| {
                let opener = Opener::private_key(&cast.x25519).expect_sender(expected);
                match open(&opener, "test", &sealed) {
                    Ok(_) => "opens",
                    Err(FileOpenError::SenderNotExpected) => "not expected",
                    Err(FileOpenError::SenderNotNamed) => "not named",
                    Err(FileOpenError::WrongSender) => "wrong",
                    Err(FileOpenError::NoSlotOpens) => "no slot",
                    Err(_) => "otherwise",
                }
            };
            expectations.into_iter().map(open).collect()
        })
        .collect();
    let named = "not named";
    assert_eq!(
        outcomes,
        [
            ["opens", named, named, named, named, named],
            ["not expected", "opens", named, "no slot", named, "no slot"],
            ["not expected", named, "opens", named, "wrong", named],
        ]
    );
}

#[test]
fn the_way_of_naming_a_sender_cannot_be_rewritten() {
    let cast = Cast::new();
    for sender in cast.senders() {
        let recipients = Recipients::new()
            .public_key(&cast.x25519_public)
            .sender(sender);
        let sealed = sealed(&recipients);
        for (mode, expected) in [
            (0, ExpectedSender::Anyone),
            (1, ExpectedSender::Agreement(&cast.sender_public)),
            (2, ExpectedSender::Signature(&cast.signer_public)),
        ] {
            let mut rewritten = sealed.clone();
            if rewritten[7] == mode {
                continue;
            }
            rewritten[7] = mode;
            let opener = Opener::private_key(&cast.x25519).expect_sender(expected);
            let refused = refusal(&opener, &rewritten);
            assert!(matches!(
                refused,
                FileOpenError::NoSlotOpens | FileOpenError::Header(HeaderError::SlotLength(_))
            ));
        }
    }
}

/// The slots of a file as they stand, kind and length included.
fn slots(sealed: &[u8]) -> Vec<Vec<u8>> {
    let (header, _) = header::parse(sealed).expect("a header");
    let slot = |slot| {
        let mut raw = Vec::new();
        let body = header.body(slot);
        header::push_slot(&mut raw, slot.kind, body);
        raw
    };
    header.slots.iter().map(slot).collect()
}

/// The file with other slots, and all else as it was.
fn with_slots(sealed: &[u8], slots: &[Vec<u8>]) -> Vec<u8> {
    let (header, _) = header::parse(sealed).expect("a header");
    let after = header.signed().len();
    let count = (slots.len() as u32).to_le_bytes();
    [&sealed[..8], &count, &slots.concat(), &sealed[after..]].concat()
}

#[test]
fn slots_are_neither_added_nor_removed_nor_moved() {
    let cast = Cast::new();
    for sender in [Sender::NotNamed, Sender::Signature(&cast.signer)] {
        let recipients = || {
            Recipients::new()
                .keyset(&cast.keyset)
                .public_key(&cast.x_wing_public)
                .passphrase(b"hip roast", CHEAP)
                .sender(sender)
        };
        let file = sealed(&recipients());
        let all = slots(&file);
        let other = slots(&sealed(&recipients()));
        let opener = Opener::keyset(&cast.keyset).expect_sender(cast.expected(sender));
        assert_eq!(with_slots(&file, &all), file);
        assert!(open(&opener, "test", &file).is_ok());
        let changes = [
            vec![all[0].clone()],
            vec![all[0].clone(), all[1].clone()],
            vec![all[1].clone(), all[0].clone(), all[2].clone()],
            vec![
                all[0].clone(),
                all[0].clone(),
                all[1].clone(),
                all[2].clone(),
            ],
            vec![all[0].clone(), other[1].clone(), all[2].clone()],
            // Opens, to the other file's key.
            vec![other[0].clone(), all[1].clone(), all[2].clone()],
            other.clone(),
        ];
        for slots in &changes {
            let refused = refusal(&opener, &with_slots(&file, slots));
            match sender {
                Sender::Signature(_) => assert!(matches!(refused, FileOpenError::WrongSender)),
                // A slot is bound to the number of slots, and all of them by the MAC.
                _ if slots.len() != all.len() => {
                    assert!(matches!(refused, FileOpenError::NoSlotOpens));
                }
                _ => assert!(matches!(refused, FileOpenError::Closed)),
            }
        }
        let without_its_own = with_slots(&file, &all[1..]);
        assert!(open(&opener, "test", &without_its_own).is_err());
    }
}

#[test]
fn the_header_of_one_file_does_not_fit_the_content_of_another() {
    let cast = Cast::new();
    for sender in cast.senders() {
        for (_, recipients, opener) in cast.each(sender) {
            let (first, second) = (sealed(&recipients), sealed(&recipients));
            let header = header_length(&first);
            let mixed = [&first[..header], &second[header..]].concat();
            assert!(matches!(refusal(&opener, &mixed), FileOpenError::Closed));
            let mac = header - MAC_LENGTH..header;
            let mut mixed = first.clone();
            mixed[mac.clone()].copy_from_slice(&second[mac]);
            assert!(matches!(refusal(&opener, &mixed), FileOpenError::Closed));
        }
    }
}

/// A file made by hand by one who knows the file key: `slots` as they stand, then
/// `signature`, then whatever such a one can make.
fn forged(
    mode: SenderMode,
    slots: &[Vec<u8>],
    signature: &[u8],
    file_key: &SecretArray<32>,
) -> Vec<u8> {
    let mut raw = header::begin(Payload::Bytes, mode, slots.len());
    raw.extend(slots.concat());
    raw.extend_from_slice(signature);
    let mac = header_mac(Backend::default(), file_key, &raw, "test");
    raw.extend_from_slice(&mac);
    let keys = ContentKeys::new(Backend::default(), file_key, mac);
    let (key, options) = (&keys.stream, Options::default());
    stream::seal_onto(&mut raw, key, CONTEXT, &mac, options, b"forged").expect("sealed");
    raw
}

/// The file key of a file, as one of its openers knows it.
fn file_key(opener: &Opener<'_>, sealed: &[u8]) -> SecretArray<32> {
    let (header, _) = header::parse(sealed).expect("a header");
    slot::unwrap(&header, opener, "test").expect("opens")
}

#[test]
fn a_recipient_cannot_hand_a_signed_file_on_as_if_it_were_for_another() {
    let (cast, other) = (Cast::new(), Cast::new());
    let (bob, bob_public) = (&cast.x_wing, &cast.x_wing_public);
    let (carol, carol_public) = (&other.x_wing, &other.x_wing_public);
    let signer = Sender::Signature(&cast.signer);
    let from_alice = ExpectedSender::Signature(&cast.signer_public);
    let file = sealed(&Recipients::new().public_key(bob_public).sender(signer));
    let bob_opens = Opener::private_key(bob).expect_sender(from_alice);
    let carol_opens = Opener::private_key(carol).expect_sender(from_alice);
    let key = file_key(&bob_opens, &file);
    let (header, _) = header::parse(&file).expect("a header");
    let signature = header.signature;

    // As it is, and with the content replaced.
    let kept = forged(SenderMode::Signature, &slots(&file), &signature, &key);
    for file in [&file, &kept] {
        assert!(matches!(
            refusal(&carol_opens, file),
            FileOpenError::NoSlotOpens
        ));
    }
    // With a slot for Carol in the place of Bob's, under either's id, or beside it.
    let (raw, bob_id) = (&header.raw, bob_public.key_id());
    let (kind, for_carol) = slot::wrap(
        &Recipient::PublicKey(carol_public),
        signer,
        raw,
        "test",
        &key,
    )
    .expect("wrapped");
    let under_her_id = [&[kind.number()], &1236u32.to_le_bytes()[..], &for_carol].concat();
    let mut under_bobs_id = under_her_id.clone();
    under_bobs_id[5..37].copy_from_slice(bob_id.as_bytes());
    let bobs = slots(&file).remove(0);
    for slots in [
        vec![under_her_id.clone()],
        vec![under_bobs_id.clone()],
        vec![bobs, under_her_id.clone()],
    ] {
        let file = forged(SenderMode::Signature, &slots, &signature, &key);
        assert!(matches!(
            refusal(&carol_opens, &file),
            FileOpenError::WrongSender
        ));
    }
    // A box for Carol that was made and signed under Bob's id is not for Carol.
    let mut raw = header::begin(Payload::Bytes, SenderMode::Signature, 1);
    let associated_data = slot::binding(&raw, kind, bob_id.as_bytes(), "test");
    let boxed = sealed_box::seal(carol_public, CONTEXT, &associated_data, key.expose());
    let body = [&bob_id.as_bytes()[..], &boxed.expect("sealed")].concat();
    header::push_slot(&mut raw, kind, &body);
    let signature = cast.signer.sign(SIGNATURE_DOMAIN, &bound(&raw, "test"));
    let slots = [raw[SLOTS_AT..].to_vec()];
    let file = forged(SenderMode::Signature, &slots, &signature.to_bytes(), &key);
    assert!(matches!(
        refusal(&carol_opens, &file),
        FileOpenError::NoSlotOpens
    ));
}

#[test]
fn a_signature_is_for_its_context_and_for_files() {
    let cast = Cast::new();
    let recipients = Recipients::new()
        .keyset(&cast.keyset)
        .sender(Sender::Signature(&cast.signer));
    let file = sealed(&recipients);
    let opener =
        Opener::keyset(&cast.keyset).expect_sender(ExpectedSender::Signature(&cast.signer_public));
    let key = file_key(&opener, &file);
    let (header, _) = header::parse(&file).expect("a header");
    for (domain, context) in [("sealed file", "tesu"), ("sealed box", "test")] {
        let signature = cast
            .signer
            .sign(domain, &bound(header.signed(), context))
            .to_bytes();
        let forged = forged(SenderMode::Signature, &slots(&file), &signature, &key);
        assert!(matches!(
            refusal(&opener, &forged),
            FileOpenError::WrongSender
        ));
    }
}

// Not a promise but its limit, as the module's documentation states it.
#[test]
fn one_of_several_recipients_can_replace_the_content_for_the_others() {
    let cast = Cast::new();
    let recipients = Recipients::new()
        .public_key(&cast.x25519_public)
        .public_key(&cast.x_wing_public)
        .sender(Sender::Signature(&cast.signer));
    let file = sealed(&recipients);
    let expected = ExpectedSender::Signature(&cast.signer_public);
    let insider = Opener::private_key(&cast.x25519).expect_sender(expected);
    let key = file_key(&insider, &file);
    let (header, _) = header::parse(&file).expect("a header");
    let forged = forged(
        SenderMode::Signature,
        &slots(&file),
        &header.signature,
        &key,
    );
    let other = Opener::private_key(&cast.x_wing).expect_sender(expected);
    assert_eq!(
        open(&other, "test", &forged).expect("opens").expose(),
        b"forged"
    );
}

#[test]
fn one_of_several_recipients_cannot_make_it_a_file_for_one() {
    let [alice, bob, mallory] =
        [(); 3].map(|()| PrivateKey::generate(Kem::X25519).expect("random"));
    let (of_alice, of_bob, of_mallory) =
        (alice.public_key(), bob.public_key(), mallory.public_key());
    let file = sealed(
        &Recipients::new()
            .public_key(&of_bob)
            .public_key(&of_mallory)
            .sender(Sender::Agreement(&alice)),
    );
    let expected = ExpectedSender::Agreement(&of_alice);
    let key = file_key(
        &Opener::private_key(&mallory).expect_sender(expected),
        &file,
    );
    let slots = slots(&file);
    let for_bob = Opener::private_key(&bob).expect_sender(expected);
    let with = |slots: &[Vec<u8>]| forged(SenderMode::Agreement, slots, &[], &key);
    // The forgery itself is right: for both, bob takes it, as the module page says.
    assert!(open(&for_bob, "test", &with(&slots)).is_ok());
    assert!(matches!(
        open(&for_bob, "test", &with(&slots[..1])),
        Err(FileOpenError::NoSlotOpens)
    ));
}

#[test]
fn a_slot_with_a_key_of_another_length_is_refused() {
    // By one who knows the keyset, whose box is as long as a key's would be.
    let cast = Cast::new();
    let file = sealed(&Recipients::new().keyset(&cast.keyset));
    let (header, _) = header::parse(&file).expect("a header");
    let opener = Opener::keyset(&cast.keyset);
    let mut associated_data = header.raw[..12].to_vec();
    associated_data.push(2);
    associated_data.extend_from_slice(b"test");
    let short = cast
        .keyset
        .seal(CONTEXT, &associated_data, &[0; 31])
        .expect("sealed");
    let mut slot = Vec::new();
    header::push_slot(&mut slot, SlotKind::Keyset, &short);
    assert!(matches!(
        refusal(&opener, &with_slots(&file, &[slot])),
        FileOpenError::Header(HeaderError::SlotLength(109))
    ));
}

#[test]
fn public_key_slots_name_their_recipient_only_under_a_signature() {
    let cast = Cast::new();
    let contains = |file: &[u8], bytes: &[u8]| file.windows(bytes.len()).any(|at| at == bytes);
    for sender in cast.senders() {
        let recipients = Recipients::new()
            .public_key(&cast.x25519_public)
            .sender(sender);
        let file = sealed(&recipients);
        let named = matches!(sender, Sender::Signature(_));
        let id = cast.x25519_public.key_id();
        assert_eq!(contains(&file, id.as_bytes()), named);
        assert!(!contains(&file, &id.as_bytes()[..8]) || named);
        assert!(!contains(&file, &cast.x25519_public.to_bytes()));
        assert!(!contains(&file, &cast.sender_public.to_bytes()));
        assert!(!contains(&file, &cast.signer_public.to_bytes()));
    }
}

#[test]
fn malformed_headers_are_refused_for_their_reason() {
    let cast = Cast::new();
    let file = sealed(&Recipients::new().keyset(&cast.keyset));
    let changed = |at: usize, bytes: &[u8]| {
        let mut changed = file.clone();
        changed[at..at + bytes.len()].copy_from_slice(bytes);
        header_refusal(&changed)
    };
    assert_eq!(changed(0, b"SMSX"), HeaderError::NotASealedFile);
    assert_eq!(changed(4, &[2, 0]), HeaderError::UnknownVersion(2));
    assert_eq!(changed(4, &[1, 1]), HeaderError::UnknownVersion(257));
    assert_eq!(changed(6, &[0]), HeaderError::UnknownPayload(0));
    assert_eq!(changed(6, &[4]), HeaderError::UnknownPayload(4));
    assert_eq!(changed(7, &[3]), HeaderError::UnknownSender(3));
    assert_eq!(changed(7, &[1]), HeaderError::SlotNotAllowed);
    for count in [0, 257, u32::MAX] {
        let refused = changed(8, &count.to_le_bytes());
        assert_eq!(refused, HeaderError::SlotCount(count));
    }
    assert_eq!(changed(12, &[0]), HeaderError::UnknownSlot(0));
    assert_eq!(changed(12, &[5]), HeaderError::UnknownSlot(5));
    for length in [0, 109, 111, u32::MAX] {
        let refused = changed(13, &length.to_le_bytes());
        assert_eq!(refused, HeaderError::SlotLength(length));
    }
    assert_eq!(header_refusal(b""), HeaderError::Truncated);
    assert_eq!(header_refusal(b"SMSF"), HeaderError::Truncated);
}

#[test]
fn passphrase_slots_that_ask_for_too_much_are_refused_before_any_stretching() {
    let cast = Cast::new();
    let recipients = Recipients::new()
        .keyset(&cast.keyset)
        .passphrase(b"a", CHEAP)
        .passphrase(b"b", CHEAP)
        .passphrase(b"c", CHEAP)
        .passphrase(b"d", CHEAP);
    let file = sealed(&recipients);
    let all = slots(&file);
    let asking = |costs: &[(u32, u32)]| {
        let mut changed = all.clone();
        for (slot, (memory_kib, passes)) in changed[1..].iter_mut().zip(costs) {
            slot[5 + 6..5 + 10].copy_from_slice(&memory_kib.to_le_bytes());
            slot[5 + 10..5 + 14].copy_from_slice(&passes.to_le_bytes());
        }
        with_slots(&file, &changed)
    };
    const GIB: u32 = 1024 * 1024;
    let bombs: [&[(u32, u32)]; 6] = [
        &[(GIB + 1, 1)],
        &[(u32::MAX, 1)],
        &[(u32::MAX, u32::MAX); 4],
        &[(GIB, 5)],
        &[(GIB, 2), (GIB, 2), (8, 1)],
        &[(8, u32::MAX)],
    ];
    for bomb in bombs {
        assert_eq!(header_refusal(&asking(bomb)), HeaderError::TooCostly);
    }
    // Just within, for an opener that does not stretch.
    let within = asking(&[(GIB, 1), (GIB, 1), (GIB, 1), (GIB, 1)]);
    assert!(inspect(&within).is_ok());

    let five = [&all[..], &[all[1].clone()]].concat();
    let five = with_slots(&file, &five);
    assert_eq!(header_refusal(&five), HeaderError::TooManyPassphrases);
    let mut not_a_box = all.clone();
    not_a_box[1][5] = b'X';
    assert!(matches!(
        header_refusal(&with_slots(&file, &not_a_box)),
        HeaderError::Passphrase(_)
    ));
}

#[test]
fn a_file_that_nobody_would_open_is_not_sealed() {
    let cast = Cast::new();
    let refused = |recipients: &Recipients<'_>| {
        seal(recipients, "test", b"text")
            .map(|_| ())
            .expect_err("refused")
    };
    assert!(matches!(
        refused(&Recipients::new()),
        FileSealError::NoRecipients
    ));
    let many = (0..=SLOTS_MAX).fold(Recipients::new(), |all, _| all.keyset(&cast.keyset));
    assert!(matches!(refused(&many), FileSealError::TooManyRecipients));
    let five = (0..5).fold(Recipients::new(), |all, _| all.passphrase(b"a", CHEAP));
    assert!(matches!(refused(&five), FileSealError::TooManyPassphrases));
    for (memory_kib, passes) in [(1024 * 1024, 5), (1024 * 1024 + 1, 1)] {
        let cost = Cost {
            memory_kib,
            passes,
            lanes: 1,
        };
        let costly = Recipients::new().passphrase(b"a", cost);
        assert!(matches!(refused(&costly), FileSealError::TooCostly));
    }
    let endless = vec![b'a'; crate::password::PASSWORD_LENGTH_MAX + 1];
    let endless = Recipients::new().passphrase(&endless, CHEAP);
    assert!(matches!(
        refused(&endless),
        FileSealError::Passphrase(PasswordError::TooLong)
    ));
    let by_agreement = || Recipients::new().sender(Sender::Agreement(&cast.sender));
    for recipients in [
        by_agreement().public_key(&cast.x_wing_public),
        by_agreement().keyset(&cast.keyset),
        by_agreement().passphrase(b"a", CHEAP),
        by_agreement()
            .public_key(&cast.x25519_public)
            .public_key(&cast.x_wing_public),
        Recipients::new()
            .sender(Sender::Agreement(&cast.x_wing))
            .public_key(&cast.x25519_public),
    ] {
        assert!(matches!(refused(&recipients), FileSealError::NotX25519));
    }
}

#[test]
fn the_most_recipients_all_open() {
    let cast = Cast::new();
    let last = Keyset::generate().expect("random");
    let many = (1..SLOTS_MAX).fold(Recipients::new(), |all, _| {
        all.public_key(&cast.x25519_public)
    });
    let file = sealed(&many.keyset(&last));
    assert!(open(&Opener::keyset(&last), "test", &file).is_ok());
    assert!(open(&Opener::private_key(&cast.x25519), "test", &file).is_ok());
    let stranger = PrivateKey::generate(Kem::X25519).expect("random");
    assert!(matches!(
        refusal(&Opener::private_key(&stranger), &file),
        FileOpenError::NoSlotOpens
    ));
}

#[test]
fn passphrases_are_tried_in_turn() {
    let recipients = Recipients::new()
        .passphrase(b"a", CHEAP)
        .passphrase(b"b", CHEAP)
        .passphrase(b"c", CHEAP);
    let file = sealed(&recipients);
    for passphrase in [b"a", b"b", b"c"] {
        assert!(open(&Opener::passphrase(passphrase), "test", &file).is_ok());
    }
    assert!(matches!(
        refusal(&Opener::passphrase(b"d"), &file),
        FileOpenError::NoSlotOpens
    ));
}

#[test]
fn a_box_that_is_no_slot_does_not_stand_in_for_one() {
    // Boxes of the same key, made for a use of their own.
    let cast = Cast::new();
    let file = sealed(&Recipients::new().public_key(&cast.x25519_public));
    let boxed =
        sealed_box::seal(&cast.x25519_public, "sealed file", b"", &[0; 32]).expect("sealed");
    let mut slot = Vec::new();
    header::push_slot(&mut slot, SlotKind::X25519, &boxed);
    assert!(matches!(
        refusal(
            &Opener::private_key(&cast.x25519),
            &with_slots(&file, &[slot])
        ),
        FileOpenError::NoSlotOpens
    ));
}

#[test]
fn debug_is_redacted() {
    let recipients = Recipients::new().passphrase(b"hip roast", CHEAP);
    let shown = format!("{recipients:?} {:?}", Opener::passphrase(b"hip roast"));
    assert_eq!(shown, "Recipients(1) Opener(redacted)");
}
