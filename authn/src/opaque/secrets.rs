//! What the nodes of a realm need to answer logins.
//!
//! ```text
//! offset length
//!      0      1  version, 1
//!      1     64  OPRF seed
//!     65     32  private key of the key exchange, a scalar of ristretto255
//!     97     32  public key of the record that users have who do not exist
//! ```

use std::fmt;

use sealmoot_crypto::encoding::{EncodingError, Reader, Writer};
use sealmoot_crypto::kdf::{self, Label, expand_into};
use sealmoot_crypto::random::RandomError;
use sealmoot_crypto::secret::{SecretArray, SecretBytes};
use zeroize::{Zeroize, Zeroizing};

use super::randomness::Randomness;
use super::steps::ServerSetup;
use super::{PASSWORD_FILE_LENGTH, PasswordFile};

const VERSION: u8 = 1;
const SETUP_LENGTH: usize = 128;
const DECOY: Label = Label::new("login decoy record parts");
/// Length of the encoded secrets.
pub const LOGIN_SECRETS_LENGTH: usize = 1 + SETUP_LENGTH;

/// The server's long-term secrets, the same on every node of a realm: the seed from
/// which each user's OPRF key comes, and the key pair of the key exchange.
///
/// Whoever has them and can reach one node, or has the users' records, can guess
/// passwords, present and future ones, at one Argon2id a guess: one answer to a login
/// tests a guess as well as a record does. Records alone tell nothing. They are wiped
/// when dropped.
pub struct LoginSecrets(Box<ServerSetup>);

impl LoginSecrets {
    /// Makes the secrets of a new realm.
    ///
    /// # Errors
    /// When the random source fails.
    pub fn generate() -> Result<Self, RandomError> {
        Ok(Self(Box::new(ServerSetup::new(&mut Randomness::draw()?))))
    }

    /// The encoding, to be sealed.
    #[must_use]
    pub fn encode(&self) -> SecretBytes {
        let mut writer = Writer::with_capacity(LOGIN_SECRETS_LENGTH);
        writer.u8(VERSION);
        let mut setup = self.0.serialize();
        writer.fixed(&setup);
        setup.as_mut_slice().zeroize();
        SecretBytes::new(writer.finish())
    }

    /// Reads the encoding.
    ///
    /// # Errors
    /// When the bytes are none of a known version.
    pub fn decode(bytes: &[u8]) -> Result<Self, EncodingError> {
        let mut reader = Reader::new(bytes);
        let version = reader.u8()?;
        if version != VERSION {
            return Err(EncodingError::Unknown {
                what: "version of login secrets",
                value: u64::from(version),
            });
        }
        let setup = ServerSetup::deserialize(reader.fixed(SETUP_LENGTH)?)
            .map_err(|_| EncodingError::Invalid("a key of the login secrets is malformed"))?;
        reader.finish()?;
        Ok(Self(Box::new(setup)))
    }

    /// A record that nothing opens, for users who do not exist: its public key is the
    /// one that is kept for them, and the rest is derived. Answers made from it differ
    /// from others in nothing (RFC 9807, section 6.3.2.2): what travels of it is masked
    /// under a fresh nonce each time.
    ///
    /// # Panics
    /// Never: the secrets were decoded, and so is the public key in them sound.
    #[must_use]
    pub fn decoy(&self) -> PasswordFile {
        let encoded = self.encode();
        let mut file = Zeroizing::new([0; PASSWORD_FILE_LENGTH]);
        let (public_key, rest) = file.split_at_mut(32);
        public_key.copy_from_slice(&encoded.expose()[LOGIN_SECRETS_LENGTH - 32..]);
        let key = kdf::derive(encoded.expose(), "login decoy record", &[]);
        expand_into(&key, DECOY, &[], rest).expect("a record is shorter than one call gives");
        PasswordFile::decode(&mut Reader::new(file.as_slice()))
            .expect("the public key of the secrets is sound")
    }

    /// A key for another use of what the nodes of a realm have in common, and nobody
    /// else: `context` names the use, `info` the instance ([`kdf::derive`]).
    pub(crate) fn derive(&self, context: &'static str, info: &[u8]) -> SecretArray<32> {
        kdf::derive(self.encode().expose(), context, info)
    }

    pub(super) fn setup(&self) -> &ServerSetup {
        &self.0
    }
}

impl fmt::Debug for LoginSecrets {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("LoginSecrets(redacted)")
    }
}
