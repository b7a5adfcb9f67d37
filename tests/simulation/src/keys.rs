//! Keys and values of a history, as bytes.

use bytes::Bytes;

use crate::history::Value;

/// The namespace of all keys of clients.
pub(crate) const NAMESPACE: &[u8] = b"sim";
const PREFIX: &[u8] = b"sim/";

/// The key of an index; a history has at most three.
pub(crate) fn key_bytes(index: usize) -> Bytes {
    const KEYS: [&[u8]; 3] = [b"sim/0", b"sim/1", b"sim/2"];
    Bytes::from_static(KEYS[index % KEYS.len()])
}

/// The index of a key; none for a key that no client asks for.
pub(crate) fn key_index(key: &[u8]) -> Option<usize> {
    match key.strip_prefix(PREFIX)? {
        [digit @ b'0'..=b'9'] => Some(usize::from(digit - b'0')),
        _ => None,
    }
}

/// The bytes of a value.
pub(crate) fn value_bytes(value: Value) -> Bytes {
    Bytes::copy_from_slice(&value.0.to_le_bytes())
}

/// The value of bytes; one that nobody writes when they are no value.
pub(crate) fn value_of(bytes: &[u8]) -> Value {
    Value(<[u8; 8]>::try_from(bytes).map_or(u64::MAX - 1, u64::from_le_bytes))
}
