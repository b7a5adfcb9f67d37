//! Boxes sealed to public keys: without a sender, from one by agreement, and signed.

use sealmoot_crypto::digest::sha256;
use sealmoot_crypto::encoding::EncodingError;
use sealmoot_crypto::sealed_box::{
    self, Kem, OpenError, OpenFromError, OpenSignedError, PrivateKey, PublicKey, SealFromError,
};
use sealmoot_crypto::signature::SigningKey;

use crate::kit::{
    Kit, box_key, flipped, flipped_from_end, longer, report, shorter, signing_key, spliced,
    unhex_32, with, with_byte,
};

const KIND_AT: usize = 1;
const KEM_AT: usize = 2;
const ENCAPSULATION_AT: usize = 4;
/// Of an X25519 box that is not signed.
const COMMITMENT_AT: usize = 36;
const CIPHERTEXT_AT: usize = 68;
/// Of a signed X25519 box.
const SIGNATURE_AT: usize = 36;
const SIGNED_COMMITMENT_AT: usize = 100;
const SIGNED_CIPHERTEXT_AT: usize = 132;
/// Of an X-Wing box: where its X25519 share begins, behind ML-KEM's ciphertext.
const XWING_SHARE_AT: usize = ENCAPSULATION_AT + 1088;
const XWING_COMMITMENT_AT: usize = ENCAPSULATION_AT + 1120;

/// A point of order 8, from Bernstein's list at cr.yp.to/ecdh.html.
const ORDER_8: &str = "e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800";

#[test]
fn sealed_box_refusals() {
    report("sealed_box", family());
}

pub(crate) fn family() -> usize {
    let mut kit = Kit::new("sealed_box");
    headers(&mut kit);
    base(&mut kit);
    xwing(&mut kit);
    authenticated(&mut kit);
    signed(&mut kit);
    kit.count()
}

fn key() -> PrivateKey {
    box_key(Kem::X25519, 4)
}

fn seal(recipient: &PrivateKey, text: &[u8]) -> Vec<u8> {
    sealed_box::seal(&recipient.public_key(), "letter", b"data", text).expect("sealed")
}

fn open(bytes: &[u8]) -> Result<Vec<u8>, OpenError> {
    let opened = sealed_box::open(&key(), "letter", b"data", bytes)?;
    Ok(opened.expose().to_vec())
}

fn malformed(expected: EncodingError) -> impl Fn(&OpenError) -> bool {
    move |error| matches!(error, OpenError::Malformed(found) if *found == expected)
}

fn ends_early(offset: usize, missing: usize) -> impl Fn(&OpenError) -> bool {
    malformed(EncodingError::EndsEarly { offset, missing })
}

fn unknown(what: &'static str, value: u64) -> impl Fn(&OpenError) -> bool {
    malformed(EncodingError::Unknown { what, value })
}

fn headers(kit: &mut Kit) {
    let sample = seal(&key(), b"text");
    kit.accepted("a box", open(&sample));
    kit.refused("empty", open(&[]), ends_early(0, 1));
    kit.refused(
        "cut off in the KEM",
        open(&sample[..3]),
        ends_early(KEM_AT, 1),
    );
    kit.refused(
        "cut off in the encapsulation",
        open(&sample[..COMMITMENT_AT - 1]),
        ends_early(ENCAPSULATION_AT, 1),
    );
    kit.refused(
        "cut off in the commitment",
        open(&sample[..CIPHERTEXT_AT - 1]),
        ends_early(COMMITMENT_AT, 1),
    );
    kit.refused(
        "cut off in the tag",
        open(&sample[..CIPHERTEXT_AT + 15]),
        ends_early(CIPHERTEXT_AT, 1),
    );
    kit.refused(
        "version 0",
        open(&with_byte(&sample, 0, 0)),
        unknown("version", 0),
    );
    kit.refused(
        "version 2",
        open(&with_byte(&sample, 0, 2)),
        unknown("version", 2),
    );
    let other_kind = |error: &OpenError| matches!(error, OpenError::OtherKind);
    let kind = |kind| open(&with_byte(&sample, KIND_AT, kind));
    kit.refused("said to be authenticated", kind(1), other_kind);
    kit.refused("said to be signed", kind(2), other_kind);
    kit.refused("kind 3", kind(3), unknown("kind", 3));
    let kem = |number: u16| open(&with(&sample, KEM_AT, &number.to_le_bytes()));
    kit.refused("said to be X-Wing's", kem(0x647a), |error| {
        matches!(error, OpenError::OtherKem { found: Kem::XWing })
    });
    kit.refused("KEM 0", kem(0), unknown("KEM", 0));
    kit.refused("KEM P-256", kem(0x0010), unknown("KEM", 0x0010));
    kit.refused("KEM X448", kem(0x0021), unknown("KEM", 0x0021));
    kit.refused("the KEM in big-endian", kem(0x2000), unknown("KEM", 0x2000));
}

fn base(kit: &mut Kit) {
    let sample = seal(&key(), b"text");
    let another = seal(&key(), b"next");
    let closed = |error: &OpenError| matches!(error, OpenError::Authentication);
    let share = |share: &[u8]| open(&with(&sample, ENCAPSULATION_AT, share));
    kit.refused("a share of zero", share(&[0; 32]), closed);
    let one = with_byte(&[0; 32], 0, 1);
    kit.refused("a share of one", share(&one), closed);
    kit.refused("a share of order 8", share(&unhex_32(ORDER_8)), closed);
    let high_bit = with_byte(&sample, COMMITMENT_AT - 1, sample[COMMITMENT_AT - 1] | 0x80);
    kit.refused("the share's ignored bit", open(&high_bit), closed);
    kit.refused(
        "share changed",
        open(&flipped(&sample, ENCAPSULATION_AT)),
        closed,
    );
    kit.refused(
        "share of another box",
        share(&another[4..COMMITMENT_AT]),
        closed,
    );
    kit.refused(
        "commitment changed",
        open(&flipped(&sample, COMMITMENT_AT)),
        closed,
    );
    let zeros = with(&sample, COMMITMENT_AT, &[0; 32]);
    kit.refused("a commitment of zeros", open(&zeros), closed);
    let mixed = with(
        &sample,
        COMMITMENT_AT,
        &another[COMMITMENT_AT..CIPHERTEXT_AT],
    );
    kit.refused("commitment of another box", open(&mixed), closed);
    kit.refused(
        "ciphertext changed",
        open(&flipped(&sample, CIPHERTEXT_AT)),
        closed,
    );
    let mixed = with(&sample, CIPHERTEXT_AT, &another[CIPHERTEXT_AT..]);
    kit.refused("ciphertext of another box", open(&mixed), closed);
    kit.refused("tag changed", open(&flipped_from_end(&sample, 1)), closed);
    kit.refused("a byte more", open(&longer(&sample, &[0])), closed);
    kit.refused("a byte less", open(&shorter(&sample, 1)), closed);

    let open = |key: &PrivateKey, context, data| sealed_box::open(key, context, data, &sample);
    kit.refused(
        "another recipient",
        open(&box_key(Kem::X25519, 9), "letter", b"data"),
        closed,
    );
    kit.refused("another context", open(&key(), "other", b"data"), closed);
    kit.refused(
        "other associated data",
        open(&key(), "letter", b"date"),
        closed,
    );
    kit.refused(
        "the data moved into the context",
        open(&key(), "letterd", b"ata"),
        closed,
    );
    let xwing = open(&box_key(Kem::XWing, 4), "letter", b"data");
    kit.refused("opened with a key of X-Wing", xwing, |error| {
        matches!(error, OpenError::OtherKem { found: Kem::X25519 })
    });
}

fn xwing(kit: &mut Kit) {
    let key = box_key(Kem::XWing, 4);
    let sample = seal(&key, b"text");
    let another = seal(&key, b"next");
    let open = |bytes: &[u8]| sealed_box::open(&key, "letter", b"data", bytes);
    let closed = |error: &OpenError| matches!(error, OpenError::Authentication);
    kit.accepted("a box to X-Wing", open(&sample));
    let changed = flipped(&sample, ENCAPSULATION_AT);
    kit.refused(
        "X-Wing: ciphertext of ML-KEM changed",
        open(&changed),
        closed,
    );
    let changed = flipped(&sample, XWING_SHARE_AT);
    kit.refused("X-Wing: share of X25519 changed", open(&changed), closed);
    let zero = with(&sample, XWING_SHARE_AT, &[0; 32]);
    kit.refused("X-Wing: a share of zero", open(&zero), closed);
    let weak = with(&sample, XWING_SHARE_AT, &unhex_32(ORDER_8));
    kit.refused("X-Wing: a share of order 8", open(&weak), closed);
    let halves = with(
        &sample,
        XWING_SHARE_AT,
        &another[XWING_SHARE_AT..XWING_COMMITMENT_AT],
    );
    kit.refused("X-Wing: halves of two boxes", open(&halves), closed);
    let changed = flipped(&sample, XWING_COMMITMENT_AT);
    kit.refused("X-Wing: commitment changed", open(&changed), closed);
    let cut = open(&sample[..XWING_COMMITMENT_AT - 1]);
    kit.refused(
        "X-Wing: cut off in the share",
        cut,
        ends_early(ENCAPSULATION_AT, 1),
    );
    let other = sealed_box::open(&box_key(Kem::XWing, 9), "letter", b"data", &sample);
    kit.refused("X-Wing: another recipient", other, closed);
}

fn authenticated(kit: &mut Kit) {
    let (sender, key) = (box_key(Kem::X25519, 5), key());
    let public = sender.public_key();
    let sample = sealed_box::seal_from(&sender, &key.public_key(), "letter", b"data", b"text")
        .expect("sealed");
    let open_from = |sender: &PublicKey, bytes: &[u8]| {
        sealed_box::open_from(sender, &key, "letter", b"data", bytes)
    };
    let closed =
        |error: &OpenFromError| matches!(error, OpenFromError::Open(OpenError::Authentication));
    let not_x25519 = |error: &OpenFromError| matches!(error, OpenFromError::NotX25519);
    kit.accepted("a box from a sender", open_from(&public, &sample));

    let other = box_key(Kem::X25519, 6).public_key();
    kit.refused("from another sender", open_from(&other, &sample), closed);
    kit.refused(
        "from the recipient itself",
        open_from(&key.public_key(), &sample),
        closed,
    );
    let base = seal(&key, b"text");
    kit.refused("from nobody", open_from(&public, &base), |error| {
        matches!(error, OpenFromError::Open(OpenError::OtherKind))
    });
    kit.refused(
        "from nobody, said to be from somebody",
        open_from(&public, &with_byte(&base, KIND_AT, 1)),
        closed,
    );
    kit.refused(
        "from somebody, said to be from nobody",
        open(&with_byte(&sample, KIND_AT, 0)),
        |error| matches!(error, OpenError::Authentication),
    );
    let weak = with(&sample, ENCAPSULATION_AT, &[0; 32]);
    kit.refused(
        "from a sender, with a share of zero",
        open_from(&public, &weak),
        closed,
    );
    kit.refused(
        "from a sender, changed",
        open_from(&public, &flipped(&sample, CIPHERTEXT_AT)),
        closed,
    );
    let xwing = box_key(Kem::XWing, 5);
    let outcome = open_from(&xwing.public_key(), &sample);
    kit.refused("from a sender with a key of X-Wing", outcome, not_x25519);
    let outcome = sealed_box::open_from(&public, &xwing, "letter", b"data", &sample);
    kit.refused("from a sender to a key of X-Wing", outcome, not_x25519);
    let sealing = sealed_box::seal_from(&xwing, &key.public_key(), "letter", b"", b"");
    kit.refused("sealing from a key of X-Wing", sealing, |error| {
        matches!(error, SealFromError::NotX25519)
    });
    let sealing = sealed_box::seal_from(&sender, &xwing.public_key(), "letter", b"", b"");
    kit.refused(
        "sealing from a sender to a key of X-Wing",
        sealing,
        |error| matches!(error, SealFromError::NotX25519),
    );
}

fn signed(kit: &mut Kit) {
    let (signer, key) = (signing_key(3), key());
    let seal_signed = |recipient: &PrivateKey| {
        sealed_box::seal_signed(&signer, &recipient.public_key(), "letter", b"data", b"text")
            .expect("sealed")
    };
    let sample = seal_signed(&key);
    let open_signed = |sender: &SigningKey, bytes: &[u8]| {
        sealed_box::open_signed(&sender.verifying_key(), &key, "letter", b"data", bytes)
    };
    let open = |bytes: &[u8]| open_signed(&signer, bytes);
    let signature = |error: &OpenSignedError| matches!(error, OpenSignedError::Signature(_));
    kit.accepted("a signed box", open(&sample));

    kit.refused(
        "signed: by another",
        open_signed(&signing_key(6), &sample),
        signature,
    );
    kit.refused(
        "signed: R changed",
        open(&flipped(&sample, SIGNATURE_AT)),
        signature,
    );
    kit.refused(
        "signed: S changed",
        open(&flipped(&sample, SIGNATURE_AT + 32)),
        signature,
    );
    let zeros = with(&sample, SIGNATURE_AT, &[0; 64]);
    kit.refused("signed: a signature of zeros", open(&zeros), signature);
    let of_another = seal_signed(&key);
    let mixed = with(
        &sample,
        SIGNATURE_AT,
        &of_another[SIGNATURE_AT..SIGNED_COMMITMENT_AT],
    );
    kit.refused("signed: signature of another box", open(&mixed), signature);
    let changed = flipped(&sample, ENCAPSULATION_AT);
    kit.refused("signed: share changed", open(&changed), signature);
    let changed = flipped(&sample, SIGNED_COMMITMENT_AT);
    kit.refused("signed: commitment changed", open(&changed), signature);
    let changed = flipped(&sample, SIGNED_CIPHERTEXT_AT);
    kit.refused("signed: ciphertext changed", open(&changed), signature);
    kit.refused(
        "signed: tag changed",
        open(&flipped_from_end(&sample, 1)),
        signature,
    );
    kit.refused(
        "signed: a byte more",
        open(&longer(&sample, &[0])),
        signature,
    );
    let cut = open(&sample[..SIGNED_COMMITMENT_AT - 1]);
    kit.refused("signed: cut off in the signature", cut, |error| {
        matches!(
            error,
            OpenSignedError::Open(OpenError::Malformed(EncodingError::EndsEarly {
                offset: SIGNATURE_AT,
                missing: 1
            }))
        )
    });
    let handed_on = seal_signed(&box_key(Kem::X25519, 9));
    kit.refused("signed: to somebody else", open(&handed_on), signature);
    let outcome = sealed_box::open_signed(&signer.verifying_key(), &key, "other", b"data", &sample);
    kit.refused("signed: another context", outcome, signature);
    let outcome = sealed_box::open_signed(&signer.verifying_key(), &key, "letter", b"", &sample);
    kit.refused("signed: other associated data", outcome, signature);
    let stripped = spliced(&sample, SIGNATURE_AT..SIGNED_COMMITMENT_AT, &[]);
    kit.refused(
        "signed: signature cut out",
        self::open(&with_byte(&stripped, KIND_AT, 0)),
        |error| matches!(error, OpenError::Authentication),
    );
    kit.refused("signed: not at all", open(&seal(&key, b"text")), |error| {
        matches!(error, OpenSignedError::Open(OpenError::OtherKind))
    });
    kit.refused(
        "signed: said to be X-Wing's",
        open(&with(&sample, KEM_AT, &[0x7a, 0x64])),
        |error| {
            matches!(
                error,
                OpenSignedError::Open(OpenError::OtherKem { found: Kem::XWing })
            )
        },
    );

    // The signature is good, and whoever made it could not read what it is over.
    let thief = signing_key(6);
    let renamed = with(
        &sample,
        SIGNATURE_AT,
        &signature_of(&thief, &key.public_key(), &sample),
    );
    kit.refused(
        "signed: anew by somebody who cannot read it",
        open_signed(&thief, &renamed),
        |error| matches!(error, OpenSignedError::Open(OpenError::Authentication)),
    );
    // Signed over what the signer did not seal.
    let changed = flipped(&sample, SIGNED_CIPHERTEXT_AT);
    let resigned = with(
        &changed,
        SIGNATURE_AT,
        &signature_of(&signer, &key.public_key(), &changed),
    );
    kit.refused(
        "signed: by the sender, over a changed ciphertext",
        open(&resigned),
        |error| matches!(error, OpenSignedError::Open(OpenError::Authentication)),
    );
}

/// The signature of a box to `recipient`, whoever makes it.
fn signature_of(signer: &SigningKey, recipient: &PublicKey, sealed: &[u8]) -> [u8; 64] {
    let parts = [
        &recipient.kem().number().to_le_bytes()[..],
        &recipient.to_bytes(),
        &sealed[ENCAPSULATION_AT..SIGNATURE_AT],
        b"letter",
        b"data",
        &sealed[SIGNED_COMMITMENT_AT..SIGNED_CIPHERTEXT_AT],
        &sealed[SIGNED_CIPHERTEXT_AT..],
    ];
    let mut transcript = Vec::new();
    for part in parts {
        transcript.extend_from_slice(&(part.len() as u64).to_le_bytes());
        transcript.extend_from_slice(part);
    }
    signer.sign("sealed box", &sha256(&transcript)).to_bytes()
}
