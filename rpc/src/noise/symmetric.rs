//! `SymmetricState` (Noise revision 34, section 5.2).

use std::fmt;

use zeroize::Zeroizing;

use super::cipher::{CipherError, CipherKey};
use super::hash::{HASH_BYTES, derive_two, hash};

use super::suite::{Hash, Suite};

/// Chaining key, transcript hash and the key of the moment.
pub(super) struct Symmetric {
    function: Hash,
    chaining_key: Zeroizing<[u8; HASH_BYTES]>,
    transcript: [u8; HASH_BYTES],
    cipher: Option<CipherKey>,
}

/// What a finished handshake leaves behind.
pub(super) struct Split {
    pub(super) initiator_to_responder: CipherKey,
    pub(super) responder_to_initiator: CipherKey,
    pub(super) handshake_hash: [u8; HASH_BYTES],
}

impl Symmetric {
    /// `InitializeSymmetric(protocol_name)`.
    pub(super) fn new(suite: Suite) -> Self {
        let name = suite.protocol_name();
        let mut transcript = [0; HASH_BYTES];
        match transcript.get_mut(..name.len()) {
            Some(start) => start.copy_from_slice(name.as_bytes()),
            None => transcript = hash(suite.hash, &[name.as_bytes()]),
        }
        Self {
            function: suite.hash,
            chaining_key: Zeroizing::new(transcript),
            transcript,
            cipher: None,
        }
    }

    /// `MixKey(input)`.
    pub(super) fn mix_key(&mut self, input: &[u8; HASH_BYTES]) {
        let (chaining_key, key) = derive_two(self.function, &self.chaining_key, input);
        self.chaining_key = chaining_key;
        self.cipher = Some(CipherKey::new(&key));
    }

    /// `MixHash(data)`.
    pub(super) fn mix_hash(&mut self, data: &[u8]) {
        self.transcript = hash(self.function, &[&self.transcript, data]);
    }

    /// Whether what is written next is encrypted.
    pub(super) fn has_key(&self) -> bool {
        self.cipher.is_some()
    }

    /// `EncryptAndHash(plaintext)`, appended to `out`.
    pub(super) fn encrypt_and_hash(
        &mut self,
        plaintext: &[u8],
        out: &mut Vec<u8>,
    ) -> Result<(), CipherError> {
        let start = out.len();
        out.extend_from_slice(plaintext);
        if let Some(cipher) = &mut self.cipher {
            let tag = cipher.seal(&self.transcript, &mut out[start..])?;
            out.extend_from_slice(&tag);
        }
        self.mix_hash(&out[start..]);
        Ok(())
    }

    /// `DecryptAndHash(ciphertext)`.
    pub(super) fn decrypt_and_hash(&mut self, ciphertext: &[u8]) -> Result<Vec<u8>, CipherError> {
        let mut plaintext = ciphertext.to_vec();
        if let Some(cipher) = &mut self.cipher {
            let length = cipher.open(&self.transcript, &mut plaintext)?;
            plaintext.truncate(length);
        }
        self.mix_hash(ciphertext);
        Ok(plaintext)
    }

    /// `Split()`, which ends the handshake. By reference: to be moved out of its
    /// box would leave a copy there that nothing wipes.
    pub(super) fn split(&self) -> Split {
        let (first, second) = derive_two(self.function, &self.chaining_key, &[]);
        Split {
            initiator_to_responder: CipherKey::new(&first),
            responder_to_initiator: CipherKey::new(&second),
            handshake_hash: self.transcript,
        }
    }
}

impl fmt::Debug for Symmetric {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Symmetric(redacted)")
    }
}
