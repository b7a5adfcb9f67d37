//! TLS 1.3 with raw public keys (RFC 8446, RFC 7250) and nothing else.
//!
//! Both sides prove possession of an Ed25519 key. Which key that is, and what
//! it may do, is decided after the handshake by an
//! [`Authorizer`](crate::Authorizer); here only *how* a key is proved. There
//! are no tickets, no resumption and no early data: each connection is its own
//! proof, and a replayed byte proves nothing.

mod hybrid;

use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{AlwaysResolvesClientRawPublicKeys, Resumption};
use rustls::crypto::{CryptoProvider, WebPkiSupportedAlgorithms, ring};
use rustls::pki_types::{
    CertificateDer, PrivatePkcs8KeyDer, ServerName, SubjectPublicKeyInfoDer, UnixTime,
};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::server::{AlwaysResolvesServerRawPublicKeys, NoServerSessionStorage};
use rustls::sign::CertifiedKey;
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, DistinguishedName, PeerIncompatible,
    ServerConfig, SignatureScheme,
};
use sealmoot_crypto::signature::{SigningKey, VerifyingKey};

use crate::peer::ChannelBinding;

/// The application protocol that both sides must name (RFC 7301), so that a
/// connection meant for another service is never taken for one of ours.
pub const ALPN: &[u8] = b"sealmoot/1";

const BINDING_LABEL: &[u8] = b"EXPORTER-Channel-Binding";

pub(crate) fn server_config(key: &SigningKey) -> Result<Arc<ServerConfig>, rustls::Error> {
    server_config_with(key, provider())
}

pub(crate) fn client_config(key: &SigningKey) -> Result<Arc<ClientConfig>, rustls::Error> {
    client_config_with(key, provider())
}

fn server_config_with(
    key: &SigningKey,
    provider: Arc<CryptoProvider>,
) -> Result<Arc<ServerConfig>, rustls::Error> {
    let certified = certified_key(key)?;
    let verifier = ProofOfPossession::new(&provider);
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_client_cert_verifier(Arc::new(verifier))
        .with_cert_resolver(Arc::new(AlwaysResolvesServerRawPublicKeys::new(certified)));
    config.alpn_protocols = vec![ALPN.to_vec()];
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    config.max_early_data_size = 0;
    Ok(Arc::new(config))
}

fn client_config_with(
    key: &SigningKey,
    provider: Arc<CryptoProvider>,
) -> Result<Arc<ClientConfig>, rustls::Error> {
    let certified = certified_key(key)?;
    let verifier = ProofOfPossession::new(&provider);
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier))
        .with_client_cert_resolver(Arc::new(AlwaysResolvesClientRawPublicKeys::new(certified)));
    config.alpn_protocols = vec![ALPN.to_vec()];
    config.resumption = Resumption::disabled();
    config.enable_early_data = false;
    // Identity is the key; a name in clear would only tell listeners whom the
    // client looks for.
    config.enable_sni = false;
    Ok(Arc::new(config))
}

/// The key that the other side proved, once the handshake is complete.
pub(crate) fn peer_key(certificates: Option<&[CertificateDer<'_>]>) -> Option<VerifyingKey> {
    match certificates {
        Some([spki]) => VerifyingKey::from_spki(spki).ok(),
        _ => None,
    }
}

/// RFC 9266, for either side of a completed handshake.
pub(crate) fn channel_binding<Data>(
    connection: &rustls::ConnectionCommon<Data>,
) -> Result<ChannelBinding, rustls::Error> {
    // RFC 9266 section 2: empty context, which for TLS 1.3 equals none.
    connection
        .export_keying_material([0; 32], BINDING_LABEL, Some(&[]))
        .map(ChannelBinding::from_bytes)
}

/// The groups and suites this crate offers, never the process-wide default,
/// which another library may have set.
fn provider() -> Arc<CryptoProvider> {
    use ring::cipher_suite::{TLS13_AES_256_GCM_SHA384, TLS13_CHACHA20_POLY1305_SHA256};
    let mut cipher_suites = vec![TLS13_AES_256_GCM_SHA384, TLS13_CHACHA20_POLY1305_SHA256];
    if !has_aes_instructions() {
        cipher_suites.reverse();
    }
    Arc::new(CryptoProvider {
        cipher_suites,
        // The first is the one whose share a client sends unasked.
        kx_groups: vec![&hybrid::X25519MlKem768, ring::kx_group::X25519],
        ..ring::default_provider()
    })
}

fn has_aes_instructions() -> bool {
    #[cfg(target_arch = "x86_64")]
    return std::arch::is_x86_feature_detected!("aes");
    #[cfg(target_arch = "aarch64")]
    return std::arch::is_aarch64_feature_detected!("aes");
    #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
    return false;
}

fn certified_key(key: &SigningKey) -> Result<Arc<CertifiedKey>, rustls::Error> {
    let pkcs8 = key.to_pkcs8_der();
    let signer = ring::sign::any_eddsa_type(&PrivatePkcs8KeyDer::from(pkcs8.expose()))?;
    let spki = CertificateDer::from(key.verifying_key().to_spki().to_vec());
    Ok(Arc::new(CertifiedKey::new(vec![spki], signer)))
}

/// Accepts any Ed25519 key that the peer proves to hold.
///
/// The key is imported strictly before any signature is looked at: under a key
/// of small order one fixed signature verifies over every message, and ring
/// does not refuse such keys.
#[derive(Debug)]
struct ProofOfPossession {
    algorithms: WebPkiSupportedAlgorithms,
}

impl ProofOfPossession {
    fn new(provider: &CryptoProvider) -> Self {
        Self {
            algorithms: provider.signature_verification_algorithms,
        }
    }

    fn import(
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
    ) -> Result<VerifyingKey, rustls::Error> {
        if !intermediates.is_empty() {
            return Err(CertificateError::BadEncoding.into());
        }
        VerifyingKey::from_spki(end_entity).map_err(|_| CertificateError::BadEncoding.into())
    }

    fn verify(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let key = Self::import(certificate, &[])?;
        if signed.scheme != SignatureScheme::ED25519 {
            return Err(CertificateError::BadSignature.into());
        }
        let spki = key.to_spki();
        rustls::crypto::verify_tls13_signature_with_raw_key(
            message,
            &SubjectPublicKeyInfoDer::from(&spki[..]),
            signed,
            &self.algorithms,
        )
    }
}

impl ServerCertVerifier for ProofOfPossession {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Self::import(end_entity, intermediates).map(|_| ServerCertVerified::assertion())
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
        true
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
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _now: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        Self::import(end_entity, intermediates).map(|_| ClientCertVerified::assertion())
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
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spki(point: [u8; 32]) -> CertificateDer<'static> {
        let key = SigningKey::generate().expect("random source");
        let mut der = key.verifying_key().to_spki();
        der[12..].copy_from_slice(&point);
        CertificateDer::from(der.to_vec())
    }

    #[test]
    fn a_good_key_is_imported() {
        let key = SigningKey::generate()
            .expect("random source")
            .verifying_key();
        let certificate = CertificateDer::from(key.to_spki().to_vec());
        assert_eq!(
            ProofOfPossession::import(&certificate, &[]).expect("good key"),
            key
        );
        assert_eq!(peer_key(Some(&[certificate])), Some(key));
    }

    #[test]
    fn the_identity_point_is_refused_before_any_signature() {
        let mut identity = [0; 32];
        identity[0] = 1;
        assert!(ProofOfPossession::import(&spki(identity), &[]).is_err());
    }

    #[test]
    fn a_point_of_small_order_is_refused() {
        // y = -1, order two.
        let mut point = [0xff; 32];
        point[0] = 0xec;
        point[31] = 0x7f;
        assert!(ProofOfPossession::import(&spki(point), &[]).is_err());
    }

    #[test]
    fn a_certificate_instead_of_a_key_is_refused() {
        let certificate = CertificateDer::from(vec![0x30, 0x82, 0x01, 0x00]);
        assert!(ProofOfPossession::import(&certificate, &[]).is_err());
        assert_eq!(peer_key(Some(&[certificate])), None);
        assert_eq!(peer_key(None), None);
    }

    #[test]
    fn a_chain_is_refused() {
        let key = SigningKey::generate()
            .expect("random source")
            .verifying_key();
        let certificate = CertificateDer::from(key.to_spki().to_vec());
        let chain = [certificate.clone()];
        assert!(ProofOfPossession::import(&certificate, &chain).is_err());
        assert_eq!(peer_key(Some(&[certificate.clone(), certificate])), None);
    }
}
