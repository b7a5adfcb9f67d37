//! Overwriting the stack behind work with secrets.
//!
//! Libraries return keys by value, keep them in variables and spill registers;
//! moves copy. All of it stays on the dead part of the stack until something
//! else is written there, and a core shows it.

use std::hint::black_box;

/// How far down the stack ring goes for one message of any length, twice over:
/// little, because it is written after each record.
pub(super) const CIPHER_STACK_BYTES: usize = 3 * 1024;

/// The same for all of a handshake but ML-KEM.
pub(super) const HANDSHAKE_STACK_BYTES: usize = 16 * 1024;

/// The same for an Ed25519 signature.
pub(crate) const SIGNATURE_STACK_BYTES: usize = 16 * 1024;

/// The same for ML-KEM-768, which keeps matrices of polynomials in variables.
pub(super) const KEM_STACK_BYTES: usize = 64 * 1024;

/// What `work` returns, when the `BYTES` of stack on which it ran are
/// overwritten. It returns secrets in boxes, or they are on the stack again.
pub(crate) fn scrubbed<const BYTES: usize, T>(work: impl FnOnce() -> T) -> T {
    // Both calls begin where this frame ends.
    let result = further_down(work);
    overwrite::<BYTES>();
    result
}

/// Begins the frame of `work` below where [`overwrite`] begins to fill its own:
/// above that stand registers that it saves, and there bytes would be left.
#[inline(never)]
fn further_down<T>(work: impl FnOnce() -> T) -> T {
    let mut margin = [0u8; 128];
    black_box(&mut margin);
    let result = apart(work);
    black_box(&mut margin);
    result
}

#[inline(never)]
fn apart<T>(work: impl FnOnce() -> T) -> T {
    work()
}

/// One frame, because between two there are gaps that nothing fills.
#[inline(never)]
fn overwrite<const BYTES: usize>() {
    let mut frame = [0u8; BYTES];
    black_box(&mut frame);
}
