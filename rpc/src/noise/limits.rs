//! Every bound of the Noise channel, in one place.

use std::time::Duration;

/// Bytes of a length before each frame: 16 bits, big-endian.
pub const PREFIX_BYTES: usize = 2;

/// The longest Noise message (Noise revision 34, section 3).
pub const MESSAGE_BYTES_MAX: usize = 65_535;

/// Bytes that authentication adds to whatever is encrypted.
pub const TAG_BYTES: usize = 16;

/// Bytes of a transport message before its part of the payload: the flags.
pub const FLAGS_BYTES: usize = 1;

/// Payload bytes of one transport message, at most. Part of the wire format:
/// each fragment but a payload's last has exactly this many.
pub const FRAGMENT_BYTES_MAX: usize = MESSAGE_BYTES_MAX - TAG_BYTES - FLAGS_BYTES;

/// The longest frame of any handshake: the first of IK with the hybrid.
pub const HANDSHAKE_FRAME_BYTES_MAX: usize = 1322;

/// One payload, over all its fragments, unless the settings say less.
pub const PAYLOAD_BYTES_MAX: usize = 8 * 1024 * 1024;

/// Memory that a receiver keeps between payloads of several fragments; a
/// larger buffer is given back.
pub(super) const ASSEMBLY_BYTES_KEPT: usize = 256 * 1024;

/// Bytes sent under one key before the sender moves to the next, unless the
/// settings say less: what a stolen key opens.
pub const REKEY_BYTES: u64 = 64 * 1024 * 1024;

/// Age of a key at which the sender moves to the next with the record it
/// sends, unless the settings say otherwise.
pub const REKEY_AGE: Duration = Duration::from_secs(120);

/// Bytes under one key after which a receiver closes on a peer that does not
/// move on. Part of the wire format.
pub const REKEY_BYTES_MAX: u64 = 1024 * 1024 * 1024;
