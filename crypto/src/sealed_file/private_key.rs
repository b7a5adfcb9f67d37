//! Private keys at rest: sealed files with the payload 3, whose content is the number
//! of the KEM (u16) and the 32 bytes of the key.

use alloc::vec::Vec;

use super::{
    FileOpenError, FileSealError, Opener, Payload, Recipients, open_payload, seal_payload,
};
use crate::encoding::{EncodingError, Reader, Writer};
use crate::sealed_box::{Kem, PrivateKey};
use crate::secret::SecretBytes;

/// Why a stored key or keyset did not open.
///
/// ```
/// use sealmoot_crypto::keyset::Keyset;
/// use sealmoot_crypto::sealed_box::{Kem, PrivateKey};
/// use sealmoot_crypto::sealed_file::{FileOpenError, KeyOpenError, Opener, Recipients};
/// let (keyset, key) = (Keyset::generate()?, PrivateKey::generate(Kem::X25519)?);
/// let stored = key.seal_to(&Recipients::new().keyset(&keyset), "alice")?;
/// // A private key is no keyset.
/// let refused = Keyset::open_from(&Opener::keyset(&keyset), "alice", &stored);
/// assert!(matches!(refused, Err(KeyOpenError::File(FileOpenError::OtherPayload))));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, thiserror::Error)]
pub enum KeyOpenError {
    /// The file did not open.
    #[error(transparent)]
    File(#[from] FileOpenError),
    /// The file opened, and holds nothing that this version reads.
    #[error("malformed key: {0}")]
    Malformed(#[from] EncodingError),
}

impl PrivateKey {
    /// The key as a file sealed to `recipients`. `context` says whose it is or what
    /// for, so that the files of two keys under one passphrase cannot be swapped.
    ///
    /// # Errors
    /// [`FileSealError`].
    ///
    /// ```
    /// use sealmoot_crypto::password::Cost;
    /// use sealmoot_crypto::sealed_box::{Kem, PrivateKey};
    /// use sealmoot_crypto::sealed_file::{Opener, Recipients};
    /// let key = PrivateKey::generate(Kem::XWing)?;
    /// let recipients = Recipients::new().passphrase(b"hip roast", Cost::OWASP);
    /// let stored = key.seal_to(&recipients, "alice")?;
    /// let again = PrivateKey::open_from(&Opener::passphrase(b"hip roast"), "alice", &stored)?;
    /// assert_eq!(again.public_key(), key.public_key());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn seal_to(
        &self,
        recipients: &Recipients<'_>,
        context: &str,
    ) -> Result<Vec<u8>, FileSealError> {
        let key = self.to_secret_bytes();
        // One exact allocation, so that no half-grown copy of the key is left behind.
        let mut writer = Writer::with_capacity(2 + key.len());
        writer.u16(self.kem().number());
        writer.fixed(key.expose());
        let content = SecretBytes::new(writer.finish());
        seal_payload(Payload::PrivateKey, recipients, context, content.expose())
    }

    /// Opens what [`PrivateKey::seal_to`] made for the same context.
    ///
    /// # Errors
    /// [`KeyOpenError`].
    ///
    /// ```
    /// use sealmoot_crypto::keyset::Keyset;
    /// use sealmoot_crypto::sealed_box::{Kem, PrivateKey};
    /// use sealmoot_crypto::sealed_file::{Opener, Recipients};
    /// let (keyset, key) = (Keyset::generate()?, PrivateKey::generate(Kem::X25519)?);
    /// let stored = key.seal_to(&Recipients::new().keyset(&keyset), "alice")?;
    /// let opener = Opener::keyset(&keyset);
    /// assert_eq!(PrivateKey::open_from(&opener, "alice", &stored)?.kem(), Kem::X25519);
    /// assert!(PrivateKey::open_from(&opener, "bob", &stored).is_err());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn open_from(
        opener: &Opener<'_>,
        context: &str,
        stored: &[u8],
    ) -> Result<Self, KeyOpenError> {
        let content = open_payload(Payload::PrivateKey, opener, context, stored)?;
        let mut reader = Reader::new(content.expose());
        let number = reader.u16()?;
        let kem = Kem::from_number(number).ok_or(EncodingError::Unknown {
            what: "KEM",
            value: u64::from(number),
        })?;
        let key = reader.fixed(32)?;
        reader.finish()?;
        Self::from_secret_bytes(kem, key)
            .map_err(|_| EncodingError::Invalid("not a private key").into())
    }
}

#[cfg(test)]
mod tests {
    use std::prelude::v1::*;

    use super::*;
    use crate::keyset::Keyset;

    #[test]
    fn a_stored_private_key_opens_for_its_context_only() {
        let keyset = Keyset::generate().expect("random");
        let (recipients, opener) = (Recipients::new().keyset(&keyset), Opener::keyset(&keyset));
        for kem in Kem::ALL {
            let key = PrivateKey::generate(kem).expect("random");
            let stored = key.seal_to(&recipients, "alice").expect("sealed");
            let again = PrivateKey::open_from(&opener, "alice", &stored).expect("opens");
            assert_eq!(again.public_key(), key.public_key());
            assert!(matches!(
                PrivateKey::open_from(&opener, "bob", &stored),
                Err(KeyOpenError::File(FileOpenError::NoSlotOpens))
            ));
            assert!(matches!(
                Keyset::open_from(&opener, "alice", &stored),
                Err(KeyOpenError::File(FileOpenError::OtherPayload))
            ));
            for bit in 0..stored.len() * 8 {
                let mut flipped = stored.clone();
                flipped[bit / 8] ^= 1 << (bit % 8);
                assert!(PrivateKey::open_from(&opener, "alice", &flipped).is_err());
            }
        }
    }

    #[test]
    fn what_opens_and_is_no_private_key_is_malformed() {
        let keyset = Keyset::generate().expect("random");
        let (recipients, opener) = (Recipients::new().keyset(&keyset), Opener::keyset(&keyset));
        let mut unknown = vec![0x21, 0];
        unknown.extend_from_slice(&[1; 32]);
        let mut short = vec![0x20, 0];
        short.extend_from_slice(&[1; 31]);
        let mut long = short.clone();
        long.extend_from_slice(&[1; 2]);
        for content in [&unknown, &short, &long, &Vec::new()] {
            let stored =
                seal_payload(Payload::PrivateKey, &recipients, "t", content).expect("sealed");
            assert!(matches!(
                PrivateKey::open_from(&opener, "t", &stored),
                Err(KeyOpenError::Malformed(_))
            ));
        }
    }
}
