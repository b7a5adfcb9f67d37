//! Keysets at rest: sealed files ([`crate::sealed_file`]) with the payload 2.
//!
//! The content is what [`Keyset::to_secret_bytes`] writes (format in
//! `crypto/DESIGN.md`). The payload's number is under the file's MAC and in every
//! slot's box, so a keyset never opens as a file of bytes, nor the other way round.

use alloc::vec::Vec;

use super::Keyset;
use crate::sealed_file::{
    FileSealError, KeyOpenError, Opener, Payload, Recipients, open_payload, seal_payload,
};

impl Keyset {
    /// The keyset as a file sealed to `recipients`: to passphrases, to another keyset,
    /// to public keys. `context` says whose it is or what for, so that the files of
    /// two keysets under one passphrase cannot be swapped.
    ///
    /// An older file of the same keyset still opens: who stores a keyset where others
    /// write keeps what tells old from new (a counter, a digest) elsewhere.
    ///
    /// # Errors
    /// [`FileSealError`].
    ///
    /// ```
    /// use sealmoot_crypto::keyset::Keyset;
    /// use sealmoot_crypto::password::Cost;
    /// use sealmoot_crypto::sealed_box::{Kem, PrivateKey};
    /// use sealmoot_crypto::sealed_file::{Opener, Recipients};
    /// let recovery = PrivateKey::generate(Kem::XWing)?;
    /// let recovery_public = recovery.public_key();
    /// let keyset = Keyset::generate()?;
    /// let note = keyset.seal("note", b"", b"text")?;
    ///
    /// let recipients = Recipients::new()
    ///     .passphrase(b"hip roast", Cost::OWASP)
    ///     .public_key(&recovery_public);
    /// let stored = keyset.seal_to(&recipients, "notebook")?;
    ///
    /// let keyset = Keyset::open_from(&Opener::passphrase(b"hip roast"), "notebook", &stored)?;
    /// assert_eq!(keyset.open("note", b"", &note)?.expose(), b"text");
    /// assert!(Keyset::open_from(&Opener::private_key(&recovery), "notebook", &stored).is_ok());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn seal_to(
        &self,
        recipients: &Recipients<'_>,
        context: &str,
    ) -> Result<Vec<u8>, FileSealError> {
        let bytes = self.to_secret_bytes();
        seal_payload(Payload::Keyset, recipients, context, bytes.expose())
    }

    /// Opens what [`Keyset::seal_to`] made for the same context; the keys are computed
    /// by the default backend ([`Keyset::on`] changes that).
    ///
    /// # Errors
    /// [`KeyOpenError`].
    ///
    /// ```
    /// use sealmoot_crypto::keyset::Keyset;
    /// use sealmoot_crypto::sealed_file::{Opener, Recipients};
    /// let (outer, inner) = (Keyset::generate()?, Keyset::generate()?);
    /// let stored = inner.seal_to(&Recipients::new().keyset(&outer), "notebook")?;
    /// assert!(Keyset::open_from(&Opener::keyset(&outer), "notebook", &stored).is_ok());
    /// assert!(Keyset::open_from(&Opener::keyset(&outer), "address book", &stored).is_err());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn open_from(
        opener: &Opener<'_>,
        context: &str,
        stored: &[u8],
    ) -> Result<Self, KeyOpenError> {
        let bytes = open_payload(Payload::Keyset, opener, context, stored)?;
        Ok(Self::from_secret_bytes(bytes.expose())?)
    }
}

#[cfg(test)]
mod tests {
    use std::prelude::v1::*;

    use super::*;
    use crate::password::Cost;
    use crate::sealed_box::{Kem, PrivateKey};
    use crate::sealed_file::{self, FileOpenError, HeaderError};

    const CHEAP: Cost = Cost {
        memory_kib: 8,
        passes: 1,
        lanes: 1,
    };

    #[test]
    fn every_recipient_opens_a_stored_keyset() {
        let mut keyset = Keyset::generate().expect("random");
        keyset.rotate().expect("rotated");
        let note = keyset.seal("note", b"", b"text").expect("sealed");
        let outer = Keyset::generate().expect("random");
        let keys = Kem::ALL.map(|kem| PrivateKey::generate(kem).expect("random"));
        let public_keys = [keys[0].public_key(), keys[1].public_key()];
        let recipients = Recipients::new()
            .passphrase(b"one", CHEAP)
            .passphrase(b"two", CHEAP)
            .keyset(&outer)
            .public_key(&public_keys[0])
            .public_key(&public_keys[1]);
        let stored = keyset.seal_to(&recipients, "test").expect("sealed");
        let openers = [
            Opener::passphrase(b"one"),
            Opener::passphrase(b"two"),
            Opener::keyset(&outer),
            Opener::private_key(&keys[0]),
            Opener::private_key(&keys[1]),
        ];
        for opener in openers {
            let opened = Keyset::open_from(&opener, "test", &stored).expect("opens");
            assert_eq!(
                opened.keys().collect::<Vec<_>>(),
                keyset.keys().collect::<Vec<_>>()
            );
            assert!(opened.open("note", b"", &note).is_ok());
            let refused = Keyset::open_from(&opener, "tesu", &stored);
            assert!(matches!(
                refused,
                Err(KeyOpenError::File(FileOpenError::NoSlotOpens))
            ));
        }
        let refused = Keyset::open_from(&Opener::passphrase(b"three"), "test", &stored);
        assert!(matches!(
            refused,
            Err(KeyOpenError::File(FileOpenError::NoSlotOpens))
        ));
    }

    #[test]
    fn every_flip_and_every_truncation_of_a_stored_keyset_is_refused() {
        let (outer, inner) = (
            Keyset::generate().expect("random"),
            Keyset::generate().expect("random"),
        );
        let recipients = Recipients::new().keyset(&outer);
        let stored = inner.seal_to(&recipients, "test").expect("sealed");
        let opener = Opener::keyset(&outer);
        assert!(Keyset::open_from(&opener, "test", &stored).is_ok());
        for bit in 0..stored.len() * 8 {
            let mut flipped = stored.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            let outcome = Keyset::open_from(&opener, "test", &flipped);
            assert!(matches!(outcome, Err(KeyOpenError::File(_))), "bit {bit}");
        }
        for length in 0..stored.len() {
            let outcome = Keyset::open_from(&opener, "test", &stored[..length]);
            assert!(matches!(outcome, Err(KeyOpenError::File(_))), "{length}");
        }
        let longer = [&stored[..], &[0]].concat();
        assert!(matches!(
            Keyset::open_from(&opener, "test", &longer),
            Err(KeyOpenError::File(FileOpenError::Closed))
        ));
    }

    #[test]
    fn a_keyset_is_no_file_and_a_file_is_no_keyset() {
        let (outer, inner) = (
            Keyset::generate().expect("random"),
            Keyset::generate().expect("random"),
        );
        let recipients = Recipients::new().keyset(&outer);
        let opener = Opener::keyset(&outer);
        let stored = inner.seal_to(&recipients, "test").expect("sealed");
        let bytes = inner.to_secret_bytes();
        let file = sealed_file::seal(&recipients, "test", bytes.expose()).expect("sealed");
        assert!(matches!(
            sealed_file::open(&opener, "test", &stored),
            Err(FileOpenError::OtherPayload)
        ));
        assert!(matches!(
            Keyset::open_from(&opener, "test", &file),
            Err(KeyOpenError::File(FileOpenError::OtherPayload))
        ));
        // Nor when it says so.
        let mut renamed = file.clone();
        renamed[6] = 2;
        assert!(matches!(
            Keyset::open_from(&opener, "test", &renamed),
            Err(KeyOpenError::File(FileOpenError::NoSlotOpens))
        ));
    }

    #[test]
    fn what_opens_and_is_no_keyset_is_malformed() {
        let outer = Keyset::generate().expect("random");
        let recipients = Recipients::new().keyset(&outer);
        let inner = Keyset::generate().expect("random").to_secret_bytes();
        for bytes in [&b""[..], b"\x02\x00", &[inner.expose(), &[0]].concat()] {
            let stored = seal_payload(Payload::Keyset, &recipients, "test", bytes).expect("sealed");
            assert!(matches!(
                Keyset::open_from(&Opener::keyset(&outer), "test", &stored),
                Err(KeyOpenError::Malformed(_))
            ));
        }
    }

    #[test]
    fn the_former_plain_format_is_no_file() {
        let keyset = Keyset::generate().expect("random");
        let bytes = keyset.to_secret_bytes();
        assert!(matches!(
            Keyset::open_from(&Opener::passphrase(b"one"), "test", bytes.expose()),
            Err(KeyOpenError::File(FileOpenError::Header(
                HeaderError::NotASealedFile
            )))
        ));
    }
}
