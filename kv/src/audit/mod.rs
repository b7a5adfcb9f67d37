//! A node's audit log on its disk: sealed, append-only, chained.
//!
//! ```text
//! audit-state       1024 bytes: two places of a sector each, written in turn (`state`)
//! audit-00000001    segments: sealed frames of whole sectors (`frame`)
//! audit-witnessed   the newest heads of the other nodes, a sealed file
//! ```
//!
//! A group of events goes to the segment and is synced; then the state that counts it
//! goes to the older place and is synced; then whoever waits is answered. So a state
//! never counts what is not there, what stands behind it was never answered for and is
//! cut off at the next start, and every byte in front of it has to be what was written.
//!
//! Only the state holds a key of the chain, the current one: the place that held the
//! one before is overwritten by the next group.
//!
//! Segments end at [`SEGMENT_BYTES`], and the oldest go when there are more than
//! [`SEGMENTS_KEPT`]. Each begins with the signed head of the chain at that moment, so
//! what is left can still be verified.

mod frame;
mod log;
mod reader;
mod state;
#[cfg(test)]
mod tests;
mod verify;
mod writer;

use sealmoot_crypto::aead::RecordKey;
use sealmoot_crypto::digest::MacKey;
use sealmoot_crypto::kdf;
use sealmoot_crypto::secret::SecretArray;

pub use log::{AppendError, AuditLog, CreateError, OpenError, Owner};
pub use reader::{AuditReader, Cursor, Published, ReadError};
pub use verify::{AuditDamage, verify};
pub use writer::spawn;

/// What names of segments begin with.
pub const SEGMENT_PREFIX: &str = "audit-0";
/// Name of the state's file.
pub const STATE_FILE: &str = "audit-state";
/// Name of the sealed file with the other nodes' heads.
pub const WITNESSED_FILE: &str = "audit-witnessed";
/// No group begins a segment's end beyond this, in bytes.
pub const SEGMENT_BYTES: u64 = 4 * 1024 * 1024;
/// How many segments are kept: half a gigabyte, a million events or more.
pub const SEGMENTS_KEPT: usize = 128;

/// What opens a node's audit log.
#[derive(Debug)]
pub struct AuditKey(RecordKey);

impl AuditKey {
    /// The key of the node with this root key.
    #[must_use]
    pub fn from_root(root: &SecretArray<32>) -> Self {
        let secret = kdf::derive(root.expose(), "kv audit log", b"");
        Self(RecordKey::from_secret(&secret))
    }
}

/// The key under which names of unknown users are hashed, of the node with this root
/// key.
#[must_use]
pub fn names_key(root: &SecretArray<32>) -> MacKey {
    MacKey::from_secret(&kdf::derive(root.expose(), "kv audit names", b""))
}

/// The name of a segment.
fn segment_name(number: u32) -> String {
    format!("audit-{number:08}")
}

/// The number in the name of a segment.
fn segment_number(name: &str) -> Option<u32> {
    let digits = name.strip_prefix("audit-")?;
    let plain = digits.len() == 8 && digits.bytes().all(|byte| byte.is_ascii_digit());
    digits.parse().ok().filter(|_| plain)
}
