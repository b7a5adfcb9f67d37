//! From a password to what a server may store of it.

use std::fmt;

use opaque_ke::Identifiers;
use sealmoot_crypto::encoding::{EncodingError, Reader, Writer};
use sealmoot_crypto::password::PASSWORD_LENGTH_MAX;
use sealmoot_crypto::secret::SecretBytes;

use super::randomness::Randomness;
use super::steps::{self, ClientRegistrationState, Record};
use super::stretching::Stretching;
use super::{
    ExportKey, LoginSecrets, OpaqueError, PASSWORD_FILE_LENGTH, REGISTRATION_REQUEST_LENGTH,
    REGISTRATION_RESPONSE_LENGTH, user_binding,
};
use crate::name::Name;
use crate::realm_id::RealmId;

/// What a server keeps of a password (RFC 9807, section 5.1, `RegistrationRecord`):
///
/// ```text
/// offset length
///      0     32  the client's public key of the key exchange
///     32     64  masking key, under which the envelope travels
///     96     32  nonce of the envelope
///    128     64  HMAC of the envelope
/// ```
///
/// Without the [`LoginSecrets`] it tells nothing about the password.
#[derive(Clone)]
pub struct PasswordFile(Record);

impl PasswordFile {
    /// Writes the encoding.
    pub fn encode(&self, writer: &mut Writer) {
        writer.fixed(&self.0.serialize());
    }

    /// Reads the encoding.
    ///
    /// # Errors
    /// When the bytes are too few, or the public key in them is none.
    pub fn decode(reader: &mut Reader<'_>) -> Result<Self, EncodingError> {
        Record::deserialize(reader.fixed(PASSWORD_FILE_LENGTH)?)
            .map(Self)
            .map_err(|_| EncodingError::Invalid("a password file is malformed"))
    }

    pub(super) fn record(&self) -> Record {
        self.0.clone()
    }
}

impl fmt::Debug for PasswordFile {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("PasswordFile(redacted)")
    }
}

/// A client between the two messages of a registration.
pub struct ClientRegistration {
    // In one place, as that of a login.
    state: Box<ClientRegistrationState>,
    password: SecretBytes,
}

impl ClientRegistration {
    /// Blinds a password; returns the message for the server.
    ///
    /// # Errors
    /// [`OpaqueError::Refused`] for a password above [`PASSWORD_LENGTH_MAX`] bytes,
    /// [`OpaqueError::Random`].
    pub fn start(
        password: &[u8],
    ) -> Result<(Self, [u8; REGISTRATION_REQUEST_LENGTH]), OpaqueError> {
        if password.len() > PASSWORD_LENGTH_MAX {
            return Err(OpaqueError::Refused);
        }
        let (state, message) = steps::registration_request(&mut Randomness::draw()?, password)?;
        let password = SecretBytes::new(password.to_vec());
        let state = Box::new(state);
        Ok((Self { state, password }, message))
    }

    /// Makes the record for `user` in `realm` from the server's answer.
    ///
    /// # Errors
    /// [`OpaqueError::Malformed`], [`OpaqueError::Reflected`],
    /// [`OpaqueError::Stretching`], [`OpaqueError::Random`].
    pub fn finish(
        self,
        realm: &RealmId,
        user: &Name,
        stretching: Stretching,
        response: &[u8],
    ) -> Result<(PasswordFile, ExportKey), OpaqueError> {
        let (record, export_key) = steps::registration_record(
            &mut Randomness::draw()?,
            *self.state,
            self.password.expose(),
            &stretching.stretcher(),
            identifiers(realm, user),
            response,
        )?;
        Ok((PasswordFile(record), export_key))
    }
}

impl LoginSecrets {
    /// The server's half of a registration.
    ///
    /// # Errors
    /// [`OpaqueError::Malformed`].
    pub fn answer_registration(
        &self,
        realm: &RealmId,
        user: &Name,
        request: &[u8],
    ) -> Result<[u8; REGISTRATION_RESPONSE_LENGTH], OpaqueError> {
        steps::registration_response(self.setup(), &user_binding(realm, user), request)
    }
}

/// Both halves of a registration in one place, where the [`LoginSecrets`] and the
/// password are: the realm's own machine. Of an imported hash `password` is the hash.
///
/// # Errors
/// As [`ClientRegistration::start`] and [`ClientRegistration::finish`].
pub fn register(
    secrets: &LoginSecrets,
    realm: &RealmId,
    user: &Name,
    password: &[u8],
    stretching: Stretching,
) -> Result<(PasswordFile, ExportKey), OpaqueError> {
    let (client, request) = ClientRegistration::start(password)?;
    let response = secrets.answer_registration(realm, user, &request)?;
    client.finish(realm, user, stretching, &response)
}

/// The client is the user, the server is the realm: a record is worth nothing under
/// another name or in another realm.
pub(super) fn identifiers<'a>(realm: &'a RealmId, user: &'a Name) -> Identifiers<'a> {
    Identifiers {
        client: Some(user.as_str().as_bytes()),
        server: Some(realm.as_bytes()),
    }
}
