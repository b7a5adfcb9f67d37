//! TLS with raw Ed25519 keys as our channel has it, with a provider of choice.
//!
//! The channel itself always has the hybrid. This twin, which does the same
//! checks with the same calls, shows what it would cost without: measured with
//! the hybrid as well, so that one sees whether it is a true twin.

use std::sync::Arc;

use rustls::client::AlwaysResolvesClientRawPublicKeys;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring, verify_tls13_signature_with_raw_key};
use rustls::pki_types::{
    CertificateDer, PrivatePkcs8KeyDer, ServerName, SubjectPublicKeyInfoDer, UnixTime,
};
use rustls::server::AlwaysResolvesServerRawPublicKeys;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::sign::CertifiedKey;
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, DistinguishedName, Error,
    PeerIncompatible, ServerConfig, SignatureScheme,
};
use sealmoot_crypto::signature::VerifyingKey;

use super::certificates::Ends;
use super::parties::signing_key;

/// Raw keys with the groups and suites of `provider`.
///
/// # Panics
/// When the operating system has no randomness.
#[must_use]
pub fn ends(provider: &Arc<CryptoProvider>) -> Ends {
    const SOUND: &str = "TLS 1.3 is there";
    let verifier = Arc::new(Possession(Arc::clone(provider)));
    let server = ServerConfig::builder_with_provider(Arc::clone(provider))
        .with_protocol_versions(&[&rustls::version::TLS13])
        .expect(SOUND)
        .with_client_cert_verifier(Arc::clone(&verifier) as Arc<dyn ClientCertVerifier>)
        .with_cert_resolver(Arc::new(
            AlwaysResolvesServerRawPublicKeys::new(certified()),
        ));
    let mut client = ClientConfig::builder_with_provider(Arc::clone(provider))
        .with_protocol_versions(&[&rustls::version::TLS13])
        .expect(SOUND)
        .dangerous()
        .with_custom_certificate_verifier(verifier)
        .with_client_cert_resolver(Arc::new(
            AlwaysResolvesClientRawPublicKeys::new(certified()),
        ));
    client.enable_sni = false;
    Ends::without_tickets(client, server)
}

fn certified() -> Arc<CertifiedKey> {
    let key = signing_key();
    let pkcs8 = key.to_pkcs8_der();
    let signer = ring::sign::any_eddsa_type(&PrivatePkcs8KeyDer::from(pkcs8.expose()))
        .expect("an Ed25519 key");
    let spki = CertificateDer::from(key.verifying_key().to_spki().to_vec());
    Arc::new(CertifiedKey::new(vec![spki], signer))
}

/// Imports the key strictly, then verifies under it.
#[derive(Debug)]
struct Possession(Arc<CryptoProvider>);

impl Possession {
    fn import(certificate: &CertificateDer<'_>) -> Result<VerifyingKey, Error> {
        VerifyingKey::from_spki(certificate).map_err(|_| CertificateError::BadEncoding.into())
    }

    fn verify(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let spki = Self::import(certificate)?.to_spki();
        verify_tls13_signature_with_raw_key(
            message,
            &SubjectPublicKeyInfoDer::from(&spki[..]),
            signed,
            &self.0.signature_verification_algorithms,
        )
    }
}

/// Both traits ask for the same under different names.
macro_rules! verifier {
    ($trait:ident { $($rest:item)* }) => {
        impl $trait for Possession {
            fn verify_tls12_signature(
                &self,
                _: &[u8],
                _: &CertificateDer<'_>,
                _: &DigitallySignedStruct,
            ) -> Result<HandshakeSignatureValid, Error> {
                Err(PeerIncompatible::Tls12NotOffered.into())
            }

            fn verify_tls13_signature(
                &self,
                message: &[u8],
                certificate: &CertificateDer<'_>,
                signed: &DigitallySignedStruct,
            ) -> Result<HandshakeSignatureValid, Error> {
                self.verify(message, certificate, signed)
            }

            fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
                vec![SignatureScheme::ED25519]
            }

            fn requires_raw_public_keys(&self) -> bool {
                true
            }

            $($rest)*
        }
    };
}

verifier!(ServerCertVerifier {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Self::import(certificate).map(|_| ServerCertVerified::assertion())
    }
});

verifier!(ClientCertVerifier {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        certificate: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        Self::import(certificate).map(|_| ClientCertVerified::assertion())
    }
});
