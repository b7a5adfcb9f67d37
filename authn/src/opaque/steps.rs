//! The steps of RFC 9807 as functions from bytes to bytes, with the library's states
//! between them. Randomness, stretching and identities are parameters, so that the
//! published vectors run through the same code as every login.

use opaque_ke::ciphersuite::CipherSuite;
use opaque_ke::errors::{InternalError, ProtocolError};
use opaque_ke::key_exchange::tripledh::TripleDh;
use opaque_ke::rand::{CryptoRng, RngCore};
use opaque_ke::{
    ClientLoginFinishParameters, ClientRegistrationFinishParameters, CredentialFinalization,
    CredentialRequest, CredentialResponse, Identifiers, RegistrationRequest, RegistrationResponse,
    Ristretto255, ServerLoginParameters,
};
use sealmoot_crypto::secret::SecretArray;
use sha2_for_opaque::Sha512;
use zeroize::Zeroize;

use super::stretching::Stretcher;
use super::{
    ExportKey, KE1_LENGTH, KE2_LENGTH, KE3_LENGTH, OpaqueError, REGISTRATION_REQUEST_LENGTH,
    REGISTRATION_RESPONSE_LENGTH, SessionKey,
};

/// The one suite: OPRF ristretto255-SHA512, 3DH over ristretto255, SHA-512.
pub(super) struct Suite;

impl CipherSuite for Suite {
    type OprfCs = Ristretto255;
    type KeyExchange = TripleDh<Ristretto255, Sha512>;
    type Ksf = Stretcher;
}

pub(super) type ServerSetup = opaque_ke::ServerSetup<Suite>;
pub(super) type Record = opaque_ke::ServerRegistration<Suite>;
pub(super) type ClientRegistrationState = opaque_ke::ClientRegistration<Suite>;
pub(super) type ClientLoginState = opaque_ke::ClientLogin<Suite>;
pub(super) type ServerLoginState = opaque_ke::ServerLogin<Suite>;

/// What both sides of a login must agree on.
#[derive(Clone, Copy)]
pub(super) struct Terms<'a> {
    /// What the key exchange is bound to.
    pub(super) context: &'a [u8],
    /// The user's and the server's names.
    pub(super) identifiers: Identifiers<'a>,
}

/// The client's first step of a registration.
pub(super) fn registration_request<R: RngCore + CryptoRng>(
    rng: &mut R,
    password: &[u8],
) -> Result<(ClientRegistrationState, [u8; REGISTRATION_REQUEST_LENGTH]), OpaqueError> {
    let started = ClientRegistrationState::start(rng, password).map_err(coarse)?;
    Ok((started.state, array(&started.message.serialize())))
}

/// The server's step of a registration.
pub(super) fn registration_response(
    setup: &ServerSetup,
    credential_identifier: &[u8],
    request: &[u8],
) -> Result<[u8; REGISTRATION_RESPONSE_LENGTH], OpaqueError> {
    let request =
        RegistrationRequest::<Suite>::deserialize(exactly::<REGISTRATION_REQUEST_LENGTH>(request)?)
            .map_err(malformed)?;
    let answered = Record::start(setup, request, credential_identifier).map_err(coarse)?;
    Ok(array(&answered.message.serialize()))
}

/// The client's last step of a registration.
pub(super) fn registration_record<R: RngCore + CryptoRng>(
    rng: &mut R,
    state: ClientRegistrationState,
    password: &[u8],
    stretcher: &Stretcher,
    identifiers: Identifiers<'_>,
    response: &[u8],
) -> Result<(Record, ExportKey), OpaqueError> {
    let response = RegistrationResponse::<Suite>::deserialize(exactly::<
        REGISTRATION_RESPONSE_LENGTH,
    >(response)?)
    .map_err(malformed)?;
    let parameters = ClientRegistrationFinishParameters::new(identifiers, Some(stretcher));
    let mut finished = state
        .finish(rng, password, response, parameters)
        .map_err(coarse)?;
    let export_key = take(&mut finished.export_key);
    Ok((Record::finish(finished.message), export_key))
}

/// The client's first step of a login.
pub(super) fn login_request<R: RngCore + CryptoRng>(
    rng: &mut R,
    password: &[u8],
) -> Result<(ClientLoginState, [u8; KE1_LENGTH]), OpaqueError> {
    let started = ClientLoginState::start(rng, password).map_err(coarse)?;
    Ok((started.state, array(&started.message.serialize())))
}

/// The server's answer; without a record one that nothing opens, by the same work.
pub(super) fn login_response<R: RngCore + CryptoRng>(
    rng: &mut R,
    setup: &ServerSetup,
    record: Option<Record>,
    credential_identifier: &[u8],
    terms: Terms<'_>,
    request: &[u8],
) -> Result<(ServerLoginState, [u8; KE2_LENGTH]), OpaqueError> {
    let request = CredentialRequest::<Suite>::deserialize(exactly::<KE1_LENGTH>(request)?)
        .map_err(malformed)?;
    let answered = ServerLoginState::start(
        rng,
        setup,
        record,
        request,
        credential_identifier,
        terms.of_server(),
    )
    .map_err(coarse)?;
    Ok((answered.state, array(&answered.message.serialize())))
}

/// The client's last step: its proof, and the keys.
pub(super) fn login_proof<R: RngCore + CryptoRng>(
    rng: &mut R,
    state: ClientLoginState,
    password: &[u8],
    stretcher: &Stretcher,
    terms: Terms<'_>,
    response: &[u8],
) -> Result<([u8; KE3_LENGTH], ExportKey, SessionKey), OpaqueError> {
    let response = CredentialResponse::<Suite>::deserialize(exactly::<KE2_LENGTH>(response)?)
        .map_err(malformed)?;
    let parameters =
        ClientLoginFinishParameters::new(Some(terms.context), terms.identifiers, Some(stretcher));
    let mut finished = state
        .finish(rng, password, response, parameters)
        .map_err(coarse)?;
    let (export_key, session_key) = (
        take(&mut finished.export_key),
        take(&mut finished.session_key),
    );
    let proof = array(&finished.message.serialize());
    Ok((proof, export_key, session_key))
}

/// The server's last step: whether the client knew the password.
pub(super) fn login_verdict(
    state: ServerLoginState,
    terms: Terms<'_>,
    proof: &[u8],
) -> Result<SessionKey, OpaqueError> {
    let proof = CredentialFinalization::<Suite>::deserialize(exactly::<KE3_LENGTH>(proof)?)
        .map_err(malformed)?;
    let mut finished = state.finish(proof, terms.of_server()).map_err(coarse)?;
    Ok(take(&mut finished.session_key))
}

impl<'a> Terms<'a> {
    fn of_server(self) -> ServerLoginParameters<'a, 'a> {
        ServerLoginParameters {
            context: Some(self.context),
            identifiers: self.identifiers,
        }
    }
}

/// The library reads what it needs and leaves the rest: here nothing may follow.
fn exactly<const LENGTH: usize>(bytes: &[u8]) -> Result<&[u8], OpaqueError> {
    if bytes.len() != LENGTH {
        return Err(OpaqueError::Malformed);
    }
    Ok(bytes)
}

fn array<const LENGTH: usize>(message: &[u8]) -> [u8; LENGTH] {
    message
        .try_into()
        .expect("the suite fixes the length of each message")
}

/// Copies a key to where it is wiped, and wipes the library's own copy.
fn take(output: &mut [u8]) -> SecretArray<64> {
    let key = SecretArray::from_slice(output).expect("SHA-512 has 64 bytes of output");
    output.zeroize();
    key
}

/// What a message that does not decode comes to. Decoding meets no secret.
fn malformed(_: ProtocolError) -> OpaqueError {
    OpaqueError::Malformed
}

fn coarse(error: ProtocolError) -> OpaqueError {
    match error {
        ProtocolError::ReflectedValueError => OpaqueError::Reflected,
        ProtocolError::LibraryError(InternalError::KsfError) => OpaqueError::Stretching,
        // All others could depend on the password: a wrong one unmasks garbage, which
        // is no public key, or an envelope that does not verify.
        _ => OpaqueError::Refused,
    }
}
