//! What a peer presents as its key, and the proof that it holds it.

use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, OtherError, PeerIncompatible,
    SignatureScheme,
};
use sealmoot_crypto::hazmat::verify_unframed;
use sealmoot_crypto::signature::{KeyRejected, Signature, VerifyingKey};

use super::certificate;
use crate::limits::CERTIFICATE_BYTES_MAX;

/// How a key is put into TLS's `Certificate` message. One rustls configuration
/// speaks one of the two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// A bare `SubjectPublicKeyInfo` (RFC 7250).
    RawPublicKey,
    /// A self-signed X.509 certificate.
    Certificate,
}

/// Why what a peer presented as its key was refused, before any signature was
/// looked at.
///
/// In a [`rustls::Error`] it stands inside
/// `InvalidCertificate(CertificateError::Other(..))`. The peer learns nothing of
/// it: its alert is `certificate_unknown`, whichever it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PeerKeyRejected {
    /// More than one entry: a chain would lead to somebody's authority, and
    /// there is none here.
    #[error("a chain instead of one key")]
    Chain,
    /// Longer than [`CERTIFICATE_BYTES_MAX`].
    #[error("a certificate longer than {CERTIFICATE_BYTES_MAX} bytes")]
    CertificateTooLong,
    /// Not the strict DER of an X.509 version 3 certificate.
    #[error("not a well-formed certificate")]
    CertificateMalformed,
    /// The key itself: of another kind, not canonical, or weak.
    #[error(transparent)]
    Key(KeyRejected),
}

impl From<PeerKeyRejected> for rustls::Error {
    fn from(rejected: PeerKeyRejected) -> Self {
        CertificateError::Other(OtherError(Arc::new(rejected))).into()
    }
}

impl Form {
    /// The one key that a peer presented in this form.
    pub(super) fn import(
        self,
        end_entity: &CertificateDer<'_>,
    ) -> Result<VerifyingKey, PeerKeyRejected> {
        match self {
            Self::RawPublicKey => VerifyingKey::from_spki(end_entity).map_err(PeerKeyRejected::Key),
            Self::Certificate => certificate::key_of(end_entity),
        }
    }
}

/// Whether a peer presented one key and nothing beside it.
pub(super) fn alone(intermediates: &[CertificateDer<'_>]) -> Result<(), PeerKeyRejected> {
    if intermediates.is_empty() {
        Ok(())
    } else {
        Err(PeerKeyRejected::Chain)
    }
}

/// Accepts any Ed25519 key that the peer proves to hold.
///
/// The key is imported strictly before any signature is looked at: under a key
/// of small order one fixed signature verifies over every message, for ring's
/// verifier too. What is verified is the imported key's signature, strictly.
/// rustls asks about the key and about the signature one directly after the
/// other; the import stands where it is used, for it is a square root.
#[derive(Debug)]
pub(super) struct ProofOfPossession {
    form: Form,
}

impl ProofOfPossession {
    pub(super) fn new(form: Form) -> Self {
        Self { form }
    }

    fn verify(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let key = self.form.import(certificate)?;
        if signed.scheme != SignatureScheme::ED25519 {
            return Err(BAD_SIGNATURE);
        }
        // In either form under the imported key, never under whatever else
        // might be read from the peer's bytes.
        let signature = signed.signature().try_into().map_err(|_| BAD_SIGNATURE)?;
        verify_unframed(&key, message, &Signature::from_bytes(signature))
            .map_err(|_| BAD_SIGNATURE)?;
        Ok(HandshakeSignatureValid::assertion())
    }
}

const BAD_SIGNATURE: rustls::Error =
    rustls::Error::InvalidCertificate(CertificateError::BadSignature);

impl ServerCertVerifier for ProofOfPossession {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        alone(intermediates)?;
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _certificate: &CertificateDer<'_>,
        _signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Err(PeerIncompatible::Tls12NotOffered.into())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.verify(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ED25519]
    }

    fn requires_raw_public_keys(&self) -> bool {
        self.form == Form::RawPublicKey
    }
}

impl ClientCertVerifier for ProofOfPossession {
    fn client_auth_mandatory(&self) -> bool {
        true
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _now: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        alone(intermediates)?;
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _certificate: &CertificateDer<'_>,
        _signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Err(PeerIncompatible::Tls12NotOffered.into())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.verify(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ED25519]
    }

    fn requires_raw_public_keys(&self) -> bool {
        self.form == Form::RawPublicKey
    }
}
