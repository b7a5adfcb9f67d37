//! Sealed frames of a segment, each of whole sectors.
//!
//! ```text
//! offset length
//!      0      4  "SMAF"
//!      4      4  length of the whole frame, a multiple of 512
//!      8     24  nonce
//!     32      n  ciphertext, of
//!                  1  kind: 0 beginning, 1 entries
//!                4+n  content
//!                  n  zeros up to the end of the sector
//!   32+n     16  tag; it also covers segment, offset, and the first 8 bytes
//! ```
//!
//! A *beginning* is the first frame of a segment: the sealed first key of the chain and
//! the signed head there, each with its length. *Entries* are as in `authn`'s
//! `audit/chain.rs`.

use sealmoot_authn::audit::chain::{decode_entries, encode_entries};
use sealmoot_authn::audit::first_key::SEALED_FIRST_KEY_LENGTH;
use sealmoot_authn::audit::{ENTRIES_BYTES_MAX, Entry, HEAD_LENGTH_MAX};
use sealmoot_crypto::aead::{NONCE_LENGTH, RecordKey, SealError};
use sealmoot_crypto::encoding::{EncodingError, Reader, Writer};

use super::{AuditKey, segment_name};
use crate::disk::{Disk, DiskError, DiskFile, SECTOR_BYTES};

const MAGIC: &[u8; 4] = b"SMAF";
const LABEL: &[u8; 16] = b"kv audit frame 1";
const FRAME_HEAD_BYTES: usize = 8;
/// Longest frame in bytes: the most entries of one group, and what stands around them.
pub(super) const FRAME_BYTES_MAX: usize = ENTRIES_BYTES_MAX + 4 * SECTOR_BYTES;

/// Where a frame stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) segment: u32,
    pub(super) offset: u64,
}

/// What a frame holds.
#[derive(Debug)]
pub(super) enum Frame {
    Beginning {
        sealed_first_key: Vec<u8>,
        head: Vec<u8>,
    },
    Entries(Vec<Entry>),
}

/// Why a frame was not read.
#[derive(Debug, thiserror::Error)]
pub(super) enum FrameError {
    /// It is not what was written there.
    #[error("{name} at offset {offset}: {what}", name = segment_name(place.segment), offset = place.offset)]
    Damaged {
        place: Place,
        length: u64,
        what: &'static str,
    },
    #[error(transparent)]
    Disk(#[from] DiskError),
}

/// The bytes of a frame at its place.
pub(super) fn seal(key: &AuditKey, place: Place, frame: &Frame) -> Result<Vec<u8>, SealError> {
    let mut content = Writer::new();
    let kind = match frame {
        Frame::Beginning {
            sealed_first_key,
            head,
        } => {
            content.bytes(sealed_first_key);
            content.bytes(head);
            0
        }
        Frame::Entries(entries) => {
            encode_entries(&mut content, entries);
            1
        }
    };
    let mut plaintext = Writer::new();
    plaintext.u8(kind);
    plaintext.bytes(&content.finish());
    let plaintext = plaintext.finish();
    let around = FRAME_HEAD_BYTES + RecordKey::OVERHEAD;
    let length = (around + plaintext.len()).next_multiple_of(SECTOR_BYTES);
    let mut buffer = Vec::with_capacity(length);
    buffer.extend_from_slice(MAGIC);
    let written = u32::try_from(length).expect("a frame is far below 4 GiB");
    buffer.extend_from_slice(&written.to_le_bytes());
    // Room for the nonce, then the plaintext and its zeros.
    buffer.resize(FRAME_HEAD_BYTES + NONCE_LENGTH, 0);
    buffer.extend_from_slice(&plaintext);
    buffer.resize(length - sealmoot_crypto::aead::TAG_LENGTH, 0);
    let bound = bound(place, &buffer[..FRAME_HEAD_BYTES]);
    key.0.seal_in_place(&bound, &mut buffer, FRAME_HEAD_BYTES)?;
    Ok(buffer)
}

/// Reads the frame at `place` of a segment whose valid part ends at `end`; gives it and
/// where the next one begins.
pub(super) fn read<D: Disk>(
    file: &D::File,
    key: &AuditKey,
    place: Place,
    end: u64,
) -> Result<(Frame, u64), FrameError> {
    let damaged = |length: u64, what| FrameError::Damaged {
        place,
        length,
        what,
    };
    let left = end.saturating_sub(place.offset);
    let mut head = [0; FRAME_HEAD_BYTES];
    if left < SECTOR_BYTES as u64 {
        return Err(damaged(left, "it ends within a frame"));
    }
    file.read_at(place.offset, &mut head)?;
    let length = u32::from_le_bytes([head[4], head[5], head[6], head[7]]) as usize;
    let fits = length.is_multiple_of(SECTOR_BYTES)
        && (SECTOR_BYTES..=FRAME_BYTES_MAX).contains(&length)
        && length as u64 <= left;
    if &head[..4] != MAGIC || !fits {
        return Err(damaged(left, "no frame begins there"));
    }
    let mut frame = vec![0; length];
    file.read_at(place.offset, &mut frame)?;
    let damaged = |what| damaged(length as u64, what);
    let (head, sealed) = frame.split_at_mut(FRAME_HEAD_BYTES);
    let plaintext = key
        .0
        .open(&bound(place, head), sealed)
        .map_err(|_| damaged("it fails authentication"))?;
    let decoded = decode(plaintext).map_err(|_| damaged("it does not decode"))?;
    Ok((decoded, place.offset + length as u64))
}

fn decode(plaintext: &[u8]) -> Result<Frame, EncodingError> {
    let mut reader = Reader::new(plaintext);
    let kind = reader.u8()?;
    let content = reader.bytes(FRAME_BYTES_MAX)?;
    if plaintext[5 + content.len()..].iter().any(|byte| *byte != 0) {
        return Err(EncodingError::Invalid(
            "something stands behind the content",
        ));
    }
    let mut reader = Reader::new(content);
    let frame = match kind {
        0 => Frame::Beginning {
            sealed_first_key: reader.bytes(SEALED_FIRST_KEY_LENGTH)?.to_vec(),
            head: reader.bytes(HEAD_LENGTH_MAX)?.to_vec(),
        },
        1 => Frame::Entries(decode_entries(&mut reader)?),
        other => {
            return Err(EncodingError::Unknown {
                what: "audit frame",
                value: u64::from(other),
            });
        }
    };
    reader.finish()?;
    Ok(frame)
}

fn bound(place: Place, head: &[u8]) -> [u8; 28 + FRAME_HEAD_BYTES] {
    let mut bound = [0; 28 + FRAME_HEAD_BYTES];
    bound[..16].copy_from_slice(LABEL);
    bound[16..20].copy_from_slice(&place.segment.to_le_bytes());
    bound[20..28].copy_from_slice(&place.offset.to_le_bytes());
    bound[28..].copy_from_slice(head);
    bound
}
