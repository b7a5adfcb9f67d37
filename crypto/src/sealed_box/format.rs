//! The bytes of a box, and HPKE around them.

use alloc::vec::Vec;

use hpke::aead::AeadTag;
use hpke::inout::InOutBuf;
use hpke::{Deserializable, OpModeR, OpModeS, Serializable};
use zeroize::Zeroizing;

use super::keys::contributes;
use super::suite::{Aead, Entropy, Kdf};
use super::{Kem, OpenError, PLAINTEXT_LENGTH_MAX, PublicKey, SIGNATURE_LENGTH, SealError};
use crate::digest::{Sha256, sha256};
use crate::encoding::{EncodingError, Reader};
use crate::secret::{SecretBytes, constant_time_equal, wipe};

const VERSION: u8 = 1;
pub(super) const HEADER_LENGTH: usize = 4;
pub(super) const COMMITMENT_LENGTH: usize = 32;
pub(super) const TAG_LENGTH: usize = 16;
const COMMITMENT_LABEL: &[u8] = b"sealmoot commitment";
const EXPORTED: &str = "HKDF-SHA256 gives up to 8160 bytes";

/// The kind of a box, its second byte.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Base,
    Authenticated,
    Signed,
}

impl Kind {
    pub(super) fn number(self) -> u8 {
        match self {
            Self::Base => 0,
            Self::Authenticated => 1,
            Self::Signed => 2,
        }
    }

    pub(super) fn signature_length(self) -> usize {
        match self {
            Self::Base | Self::Authenticated => 0,
            Self::Signed => SIGNATURE_LENGTH,
        }
    }
}

/// What a box is bound to, as HPKE takes it.
pub(super) struct Binding {
    kind: Kind,
    kem: Kem,
    info: Vec<u8>,
    associated_data: Vec<u8>,
}

impl Binding {
    /// `signer` is the Ed25519 key of a signed box, and otherwise empty; the kind
    /// says which, so the encoding stays injective.
    pub(super) fn new(
        kind: Kind,
        kem: Kem,
        context: &str,
        signer: &[u8],
        associated_data: &[u8],
    ) -> Self {
        const TAG: &[u8] = b"sealmoot/v1/sealed box";
        let length = context.len() as u64;
        Self {
            kind,
            kem,
            info: [
                TAG,
                &[kind.number()],
                &length.to_le_bytes(),
                context.as_bytes(),
                signer,
            ]
            .concat(),
            associated_data: [&header(kind, kem)[..], associated_data].concat(),
        }
    }

    /// What the commitment is exported for: HPKE's key schedule has seen everything
    /// but the associated data.
    fn commitment_label(&self) -> Vec<u8> {
        [COMMITMENT_LABEL, &sha256(&self.associated_data)].concat()
    }
}

fn header(kind: Kind, kem: Kem) -> [u8; HEADER_LENGTH] {
    let [low, high] = kem.number().to_le_bytes();
    [VERSION, kind.number(), low, high]
}

/// The parts of a box whose header is the expected one.
pub(super) struct Parts<'a> {
    encapsulation: &'a [u8],
    /// Zeros in a box that is not signed.
    pub(super) signature: [u8; SIGNATURE_LENGTH],
    commitment: &'a [u8],
    ciphertext: &'a [u8],
    tag: &'a [u8],
}

impl<'a> Parts<'a> {
    pub(super) fn parse(kind: Kind, kem: Kem, sealed: &'a [u8]) -> Result<Self, OpenError> {
        let mut reader = Reader::new(sealed);
        let version = reader.u8()?;
        if version != VERSION {
            return Err(unknown("version", u64::from(version)));
        }
        match reader.u8()? {
            found if found == kind.number() => {}
            0..=2 => return Err(OpenError::OtherKind),
            found => return Err(unknown("kind", u64::from(found))),
        }
        let number = reader.u16()?;
        match Kem::from_number(number) {
            Some(found) if found == kem => {}
            Some(found) => return Err(OpenError::OtherKem { found }),
            None => return Err(unknown("KEM", u64::from(number))),
        }
        let encapsulation = reader.fixed(kem.encapsulation_length())?;
        let mut signature = [0u8; SIGNATURE_LENGTH];
        let signed = reader.fixed(kind.signature_length())?;
        signature[..signed.len()].copy_from_slice(signed);
        let commitment = reader.fixed(COMMITMENT_LENGTH)?;
        let before = HEADER_LENGTH + encapsulation.len() + signed.len() + COMMITMENT_LENGTH;
        let length = (sealed.len() - before).saturating_sub(TAG_LENGTH);
        if length > PLAINTEXT_LENGTH_MAX {
            return Err(OpenError::TooLong);
        }
        let ciphertext = reader.fixed(length)?;
        let tag = reader.fixed(TAG_LENGTH)?;
        reader.finish()?;
        Ok(Self {
            encapsulation,
            signature,
            commitment,
            ciphertext,
            tag,
        })
    }

    /// SHA-256 over everything that a signed box's signature is for. Hashing first
    /// spares a copy of the ciphertext; Ed25519 hashes the digest again.
    pub(super) fn transcript(
        &self,
        recipient: &PublicKey,
        context: &str,
        associated_data: &[u8],
    ) -> [u8; 32] {
        let mut hasher = Sha256::new();
        let mut part = |bytes: &[&[u8]]| {
            let length: usize = bytes.iter().map(|bytes| bytes.len()).sum();
            hasher.update(&(length as u64).to_le_bytes());
            for bytes in bytes {
                hasher.update(bytes);
            }
        };
        part(&[&recipient.kem().number().to_le_bytes()]);
        part(&[&recipient.to_bytes()]);
        part(&[self.encapsulation]);
        part(&[context.as_bytes()]);
        part(&[associated_data]);
        part(&[self.commitment]);
        part(&[self.ciphertext, self.tag]);
        hasher.finish()
    }
}

fn unknown(what: &'static str, value: u64) -> OpenError {
    OpenError::Malformed(EncodingError::Unknown { what, value })
}

/// Writes a box, with zeros where the signature of a signed one belongs.
pub(super) fn write<K: hpke::Kem>(
    mode: &OpModeS<'_, K>,
    recipient: &K::PublicKey,
    binding: &Binding,
    plaintext: &[u8],
) -> Result<Vec<u8>, SealError> {
    if plaintext.len() > PLAINTEXT_LENGTH_MAX {
        return Err(SealError::TooLong);
    }
    let (encapsulation, mut context) = hpke::setup_sender_with_rng::<Aead, Kdf, K>(
        mode,
        recipient,
        &binding.info,
        &mut Entropy::draw()?,
    )
    .expect("keys that do not contribute were refused on import");
    let mut commitment = [0u8; COMMITMENT_LENGTH];
    context
        .export(&binding.commitment_label(), &mut commitment)
        .expect(EXPORTED);

    let signature_length = binding.kind.signature_length();
    let mut sealed =
        Vec::with_capacity(binding.kem.overhead() + signature_length + plaintext.len());
    sealed.extend_from_slice(&header(binding.kind, binding.kem));
    sealed.extend_from_slice(&encapsulation.to_bytes());
    sealed.resize(sealed.len() + signature_length, 0);
    sealed.extend_from_slice(&commitment);
    let start = sealed.len();
    sealed.extend_from_slice(plaintext);
    let Ok(tag) = context.seal_inout_detached(
        InOutBuf::from(&mut sealed[start..]),
        &binding.associated_data,
    ) else {
        wipe(&mut sealed);
        return Err(SealError::TooLong);
    };
    sealed.extend_from_slice(&tag.to_bytes());
    Ok(sealed)
}

pub(super) fn read<K: hpke::Kem>(
    mode: &OpModeR<'_, K>,
    recipient: &K::PrivateKey,
    binding: &Binding,
    parts: &Parts<'_>,
) -> Result<SecretBytes, OpenError> {
    let refused = |_| OpenError::Authentication;
    // HPKE refuses a zero secret of X25519, X-Wing in its draft does not. No sender
    // makes such a share by accident.
    if !parts.encapsulation.last_chunk().is_some_and(contributes) {
        return Err(OpenError::Authentication);
    }
    let encapsulation = K::EncappedKey::from_bytes(parts.encapsulation).map_err(refused)?;
    let mut context =
        hpke::setup_receiver::<Aead, Kdf, K>(mode, recipient, &encapsulation, &binding.info)
            .map_err(refused)?;
    // The commitment of another key is not for whoever sent the box.
    let mut commitment = Zeroizing::new([0u8; COMMITMENT_LENGTH]);
    context
        .export(&binding.commitment_label(), &mut *commitment)
        .expect(EXPORTED);
    if !constant_time_equal(&commitment[..], parts.commitment) {
        return Err(OpenError::Authentication);
    }
    let tag = AeadTag::from_bytes(parts.tag).map_err(refused)?;
    let mut plaintext = SecretBytes::new(parts.ciphertext.to_vec());
    context
        .open_inout_detached(
            InOutBuf::from(plaintext.expose_mut()),
            &binding.associated_data,
            &tag,
        )
        .map_err(refused)?;
    Ok(plaintext)
}
