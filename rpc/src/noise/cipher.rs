//! `CipherState` (Noise revision 34, section 5.1) over ring's
//! ChaCha20-Poly1305.
//!
//! The key owns its counter: no caller passes a nonce. `ring` does not wipe
//! its keys, and copies them to the stack with each message; so here the one is
//! overwritten with another key, and the other scrubbed.

use std::fmt;

use ring::aead::{AES_256_GCM, Aad, CHACHA20_POLY1305, LessSafeKey, Nonce, UnboundKey};
use zeroize::{Zeroizing, optimization_barrier};

use super::limits::TAG_BYTES;
use super::scrub::{CIPHER_STACK_BYTES, HANDSHAKE_STACK_BYTES, scrubbed};

/// Bytes of a key.
pub(super) const KEY_BYTES: usize = 32;

/// How long a message must be that ring uses all its registers for it.
const REGISTERS_BYTES: usize = 512;

/// The counter's last value belongs to rekeying alone.
const NONCE_REKEY: u64 = u64::MAX;

/// A message did not authenticate, or the counter is used up: after either,
/// nothing more happens under this key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum CipherError {
    Decrypt,
    Exhausted,
}

/// A key and the number of messages under it and its predecessors; wiped on
/// drop. Boxed, because moves would copy it.
pub(super) struct CipherKey {
    key: Box<LessSafeKey>,
    counter: u64,
}

impl CipherKey {
    pub(super) fn new(key: &[u8; KEY_BYTES]) -> Self {
        Self {
            key: Box::new(expand(key)),
            counter: 0,
        }
    }

    /// Encrypts in place and returns the tag.
    pub(super) fn seal(
        &mut self,
        associated_data: &[u8],
        in_out: &mut [u8],
    ) -> Result<[u8; TAG_BYTES], CipherError> {
        let nonce = self.next_nonce()?;
        let seal = || {
            self.key
                .seal_in_place_separate_tag(nonce, Aad::from(associated_data), in_out)
        };
        let tag = scrubbed::<CIPHER_STACK_BYTES, _>(seal)
            // ring refuses only what is longer than 256 GiB.
            .map_err(|_| CipherError::Exhausted)?;
        let mut bytes = [0; TAG_BYTES];
        bytes.copy_from_slice(tag.as_ref());
        Ok(bytes)
    }

    /// Decrypts `in_out`, ciphertext and tag, in place; returns how many bytes
    /// of plaintext stand at its beginning.
    pub(super) fn open(
        &mut self,
        associated_data: &[u8],
        in_out: &mut [u8],
    ) -> Result<usize, CipherError> {
        let nonce = self.next_nonce()?;
        let open = || {
            self.key
                .open_in_place(nonce, Aad::from(associated_data), in_out)
                .map(|plaintext| plaintext.len())
        };
        scrubbed::<CIPHER_STACK_BYTES, _>(open).map_err(|_| CipherError::Decrypt)
    }

    /// `k = ENCRYPT(k, 2^64 - 1, zerolen, zeros)`, its tag thrown away (section
    /// 4.2). The counter goes on: it never falls back under a later key.
    pub(super) fn rekey(&mut self) {
        scrubbed::<HANDSHAKE_STACK_BYTES, _>(|| {
            let mut next = Zeroizing::new([0; KEY_BYTES]);
            let _tag = self
                .key
                .seal_in_place_separate_tag(nonce(NONCE_REKEY), Aad::empty(), next.as_mut_slice())
                .expect("32 bytes are not too long");
            overwrite(&mut self.key);
            *self.key = expand(&next);
        });
    }

    fn next_nonce(&mut self) -> Result<Nonce, CipherError> {
        if self.counter == NONCE_REKEY {
            return Err(CipherError::Exhausted);
        }
        let nonce = nonce(self.counter);
        self.counter += 1;
        Ok(nonce)
    }

    #[cfg(test)]
    pub(super) fn set_counter(&mut self, counter: u64) {
        self.counter = counter;
    }
}

impl Drop for CipherKey {
    fn drop(&mut self) {
        overwrite(&mut self.key);
        // ring leaves key and key stream in the processor's vector registers too,
        // where few other things are ever put. Work under zeros is.
        let mut nothing = [0; REGISTERS_BYTES];
        let _tag = expand(&[0; KEY_BYTES])
            .seal_in_place_separate_tag(nonce(0), Aad::empty(), &mut nothing)
            .expect("it is short");
        optimization_barrier(&nothing);
    }
}

impl fmt::Debug for CipherKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("CipherKey(redacted)")
    }
}

fn expand(key: &[u8; KEY_BYTES]) -> LessSafeKey {
    LessSafeKey::new(UnboundKey::new(&CHACHA20_POLY1305, key).expect("the key has 32 bytes"))
}

/// Wipes a key, which ring cannot: by another in its place. By one of AES,
/// because a key of ChaCha20 fills a small part of its variable, and what stands
/// in the rest came along from the stack on which the key was made.
fn overwrite(key: &mut LessSafeKey) {
    let zeros = UnboundKey::new(&AES_256_GCM, &[0; KEY_BYTES]).expect("the key has 32 bytes");
    *key = LessSafeKey::new(zeros);
    optimization_barrier(key);
}

/// Four zero bytes, then the counter little-endian (section 12.3).
fn nonce(counter: u64) -> Nonce {
    let mut bytes = [0; 12];
    bytes[4..].copy_from_slice(&counter.to_le_bytes());
    Nonce::assume_unique_for_key(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_counter_value_is_never_used_for_a_message() {
        let mut sender = CipherKey::new(&[7; 32]);
        sender.set_counter(u64::MAX - 1);
        let mut bytes = *b"last";
        sender.seal(b"", &mut bytes).expect("one value is left");
        for _ in 0..2 {
            assert_eq!(sender.seal(b"", &mut bytes), Err(CipherError::Exhausted));
            assert_eq!(sender.open(b"", &mut [0; 16]), Err(CipherError::Exhausted));
        }
        // Rekeying does not turn the counter back.
        sender.rekey();
        assert_eq!(sender.seal(b"", &mut bytes), Err(CipherError::Exhausted));
    }

    #[test]
    fn equal_plaintexts_differ_from_record_to_record() {
        let mut key = CipherKey::new(&[7; 32]);
        let (mut first, mut second) = (*b"same", *b"same");
        key.seal(b"", &mut first).expect("fresh");
        key.seal(b"", &mut second).expect("fresh");
        assert_ne!(first, second);
    }
}
