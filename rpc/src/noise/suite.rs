//! What a handshake is made of, and how the first frame says so.

use std::fmt;

use super::error::HandshakeError;

/// Bytes of the offer before the first Noise message.
pub const OFFER_BYTES: usize = 8;

/// The version of everything in this module that is on the wire.
const VERSION: u8 = 1;

const MAGIC: [u8; 3] = *b"SMN";

const FLAG_TAGGED: u8 = 0b0000_0001;

/// Who knows whose static key beforehand (Noise revision 34, section 7.5).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Pattern {
    /// Neither; both are sent encrypted. Three messages.
    Xx,
    /// The initiator knows the responder's. Two messages.
    Ik,
    /// Both. Two messages.
    Kk,
}

/// The hash function, for the transcript and for deriving keys.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Hash {
    /// SHA-256 (FIPS 180-4).
    #[default]
    Sha256,
    /// BLAKE2s (RFC 7693).
    Blake2s,
}

/// Whether the session's secrecy also rests on a post-quantum algorithm.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Hybrid {
    /// ML-KEM-768 (FIPS 203) beside X25519, by the Noise extension `hfs`.
    #[default]
    MlKem768,
    /// X25519 alone: recordings can be opened once a quantum computer exists.
    Off,
}

/// Pattern, hash and hybrid of one handshake.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Suite {
    /// Who knows whose key.
    pub pattern: Pattern,
    /// The hash function.
    pub hash: Hash,
    /// With ML-KEM-768 or without.
    pub hybrid: Hybrid,
}

impl Suite {
    /// SHA-256 and the hybrid.
    #[must_use]
    pub const fn new(pattern: Pattern) -> Self {
        Self {
            pattern,
            hash: Hash::Sha256,
            hybrid: Hybrid::MlKem768,
        }
    }

    /// The Noise protocol name, which starts the transcript (section 8). The
    /// specification allows letters, digits, `+` and `/` in a name section, so
    /// the KEM's hyphens go.
    ///
    /// ```
    /// use sealmoot_rpc::noise::{Pattern, Suite};
    /// assert_eq!(
    ///     Suite::new(Pattern::Xx).protocol_name(),
    ///     "Noise_XXhfs_25519+MLKEM768_ChaChaPoly_SHA256"
    /// );
    /// ```
    #[must_use]
    pub fn protocol_name(&self) -> String {
        let pattern = match self.pattern {
            Pattern::Xx => "XX",
            Pattern::Ik => "IK",
            Pattern::Kk => "KK",
        };
        let (modifier, kem) = match self.hybrid {
            Hybrid::MlKem768 => ("hfs", "+MLKEM768"),
            Hybrid::Off => ("", ""),
        };
        let hash = match self.hash {
            Hash::Sha256 => "SHA256",
            Hash::Blake2s => "BLAKE2s",
        };
        format!("Noise_{pattern}{modifier}_25519{kem}_ChaChaPoly_{hash}")
    }
}

impl fmt::Display for Suite {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.protocol_name())
    }
}

/// What the initiator says in clear before its first Noise message. Both sides
/// put it into the prologue, so a changed offer is a failed handshake.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Offer {
    pub(super) suite: Suite,
    /// Whether a tag under the responder's public key follows the message.
    pub(super) tagged: bool,
}

impl Offer {
    pub(super) fn encode(&self) -> [u8; OFFER_BYTES] {
        let pattern = match self.suite.pattern {
            Pattern::Xx => 1,
            Pattern::Ik => 2,
            Pattern::Kk => 3,
        };
        let hash = match self.suite.hash {
            Hash::Sha256 => 1,
            Hash::Blake2s => 2,
        };
        let hybrid = match self.suite.hybrid {
            Hybrid::Off => 0,
            Hybrid::MlKem768 => 1,
        };
        let flags = if self.tagged { FLAG_TAGGED } else { 0 };
        let [m0, m1, m2] = MAGIC;
        [m0, m1, m2, VERSION, pattern, hash, hybrid, flags]
    }

    pub(super) fn decode(bytes: &[u8; OFFER_BYTES]) -> Result<Self, HandshakeError> {
        let [m0, m1, m2, version, pattern, hash, hybrid, flags] = *bytes;
        if [m0, m1, m2] != MAGIC {
            return Err(HandshakeError::NotNoise);
        }
        if version != VERSION {
            return Err(HandshakeError::UnknownVersion(version));
        }
        let pattern = match pattern {
            1 => Pattern::Xx,
            2 => Pattern::Ik,
            3 => Pattern::Kk,
            _ => return Err(HandshakeError::UnknownOffer),
        };
        let hash = match hash {
            1 => Hash::Sha256,
            2 => Hash::Blake2s,
            _ => return Err(HandshakeError::UnknownOffer),
        };
        let hybrid = match hybrid {
            0 => Hybrid::Off,
            1 => Hybrid::MlKem768,
            _ => return Err(HandshakeError::UnknownOffer),
        };
        let tagged = match flags {
            0 => false,
            FLAG_TAGGED => true,
            _ => return Err(HandshakeError::UnknownOffer),
        };
        Ok(Self {
            suite: Suite {
                pattern,
                hash,
                hybrid,
            },
            tagged,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_offer_has_one_encoding() {
        let mut decoded = 0;
        for pattern in 0..=255 {
            for hash in 0..=255 {
                for (hybrid, flags) in [(0, 0), (0, 1), (1, 0), (1, 1), (2, 0), (0, 2), (1, 255)] {
                    let bytes = [b'S', b'M', b'N', 1, pattern, hash, hybrid, flags];
                    match Offer::decode(&bytes) {
                        Ok(offer) => {
                            decoded += 1;
                            assert_eq!(offer.encode(), bytes);
                        }
                        Err(error) => assert_eq!(error, HandshakeError::UnknownOffer),
                    }
                }
            }
        }
        assert_eq!(decoded, 3 * 2 * 2 * 2);
    }

    #[test]
    fn another_magic_or_version_is_named() {
        let offer = Offer {
            suite: Suite::new(Pattern::Ik),
            tagged: true,
        };
        let mut bytes = offer.encode();
        bytes[3] = 2;
        assert_eq!(
            Offer::decode(&bytes),
            Err(HandshakeError::UnknownVersion(2))
        );
        for index in 0..3 {
            let mut bytes = offer.encode();
            bytes[index] ^= 0x20;
            assert_eq!(Offer::decode(&bytes), Err(HandshakeError::NotNoise));
        }
    }

    #[test]
    fn protocol_names_obey_section_8() {
        for pattern in [Pattern::Xx, Pattern::Ik, Pattern::Kk] {
            for hash in [Hash::Sha256, Hash::Blake2s] {
                for hybrid in [Hybrid::MlKem768, Hybrid::Off] {
                    let name = Suite {
                        pattern,
                        hash,
                        hybrid,
                    }
                    .protocol_name();
                    assert!(name.len() <= 255);
                    assert_eq!(name.split('_').count(), 5);
                    assert!(
                        name.bytes()
                            .all(|byte| byte.is_ascii_alphanumeric() || b"+/_".contains(&byte))
                    );
                }
            }
        }
    }
}
