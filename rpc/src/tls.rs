//! TLS 1.3 between bare Ed25519 keys (RFC 8446, RFC 7250) and nothing else.
//!
//! Both sides prove possession of an Ed25519 key. Which key that is, and what
//! it may do, is decided after the handshake by an
//! [`Authorizer`](crate::Authorizer); here only *how* a key is proved. There
//! are no tickets, no resumption and no early data: each connection is its own
//! proof, and a replayed byte proves nothing.
//!
//! A key has two forms: raw, and inside a self-signed certificate for clients
//! whose TLS library knows no raw keys. Both are the same peer; a server
//! chooses the form by the client's first message. Our own client always
//! presents, and accepts, the raw form.
//!
//! This is TLS as a state machine without I/O: from the configurations a caller
//! makes `rustls` connections and carries their bytes itself.
//! [`Server`](crate::Server) and [`Connector`](crate::Connector) do so over TCP.
//!
//! ```
//! use rustls::ClientConnection;
//! use rustls::pki_types::ServerName;
//! use rustls::server::Acceptor;
//! use sealmoot_crypto::signature::SigningKey;
//! use sealmoot_rpc::tls::{ALPN, ServerConfigs, channel_binding, client_config, peer_key};
//!
//! let (server_key, client_key) = (SigningKey::generate()?, SigningKey::generate()?);
//! let configs = ServerConfigs::new(&server_key)?;
//! // Neither sent nor verified: who a server is, its key says.
//! let name = ServerName::try_from("anyone")?;
//! let mut client = ClientConnection::new(client_config(&client_key)?, name)?;
//!
//! let mut wire = Vec::new();
//! client.write_tls(&mut wire)?;
//! let mut acceptor = Acceptor::default();
//! acceptor.read_tls(&mut &wire[..])?;
//! let accepted = acceptor.accept().map_err(|(error, _)| error)?.expect("a whole first message");
//! let config = configs.choose(&accepted.client_hello());
//! let mut server = accepted.into_connection(config).map_err(|(error, _)| error)?;
//!
//! while client.is_handshaking() || server.is_handshaking() {
//!     wire.clear();
//!     server.write_tls(&mut wire)?;
//!     client.read_tls(&mut &wire[..])?;
//!     client.process_new_packets()?;
//!     wire.clear();
//!     client.write_tls(&mut wire)?;
//!     server.read_tls(&mut &wire[..])?;
//!     server.process_new_packets()?;
//! }
//!
//! assert_eq!(server.alpn_protocol(), Some(ALPN));
//! assert_eq!(peer_key(server.peer_certificates()), Some(client_key.verifying_key()));
//! assert_eq!(peer_key(client.peer_certificates()), Some(server_key.verifying_key()));
//! assert_eq!(channel_binding(&server)?, channel_binding(&client)?);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod acceptor;
mod certificate;
mod hybrid;
mod signer;
mod verifier;

use std::fmt;
use std::sync::Arc;

use rustls::client::{AlwaysResolvesClientRawPublicKeys, Resumption};
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::CertificateDer;
use rustls::server::{
    AlwaysResolvesServerRawPublicKeys, CertificateType, ClientHello, NoServerSessionStorage,
    ResolvesServerCert,
};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{ClientConfig, ServerConfig};
use sealmoot_crypto::signature::{SigningKey, VerifyingKey};

use crate::peer::ChannelBinding;
use signer::IdentityKey;
use verifier::{Form, ProofOfPossession};

pub(crate) use acceptor::Acceptor;
pub use certificate::self_signed_certificate;
pub use verifier::PeerKeyRejected;

/// The application protocol that both sides must name (RFC 7301), so that a
/// connection meant for another service is never taken for one of ours.
///
/// TLS refuses a peer that names only others. One that names none is the
/// caller's to refuse, once the handshake is complete.
pub const ALPN: &[u8] = b"sealmoot/1";

const BINDING_LABEL: &[u8] = b"EXPORTER-Channel-Binding";

/// A server's configurations: one for clients that know raw public keys, one
/// for those that know certificates only. They differ in nothing else.
#[derive(Clone)]
pub struct ServerConfigs {
    raw: Arc<ServerConfig>,
    certificate: Arc<ServerConfig>,
}

impl ServerConfigs {
    /// Both configurations of a server that proves `key`.
    ///
    /// # Errors
    ///
    /// A key that rustls does not take.
    pub fn new(key: &SigningKey) -> Result<Self, rustls::Error> {
        let provider = provider();
        Ok(Self {
            raw: server_config_with(key, Form::RawPublicKey, Arc::clone(&provider))?,
            certificate: server_config_with(key, Form::Certificate, provider)?,
        })
    }

    /// The configuration for what this client can do.
    ///
    /// Raw keys, when the client offers them for both directions (RFC 7250,
    /// section 4.1); else certificates, for both directions too. A client that
    /// insists on raw keys for one direction and lacks them for the other is
    /// refused by rustls with `handshake_failure`: no peer needs the mixture,
    /// and each further configuration would be one more to attack.
    ///
    /// Whoever changes the offer on the way gains nothing: both forms prove the
    /// same, and the handshake's signatures cover the offer.
    #[must_use]
    pub fn choose(&self, hello: &ClientHello<'_>) -> Arc<ServerConfig> {
        let takes_raw_keys = |offered: Option<&[CertificateType]>| {
            offered.is_some_and(|types| types.contains(&CertificateType::RawPublicKey))
        };
        let both =
            takes_raw_keys(hello.server_cert_types()) && takes_raw_keys(hello.client_cert_types());
        Arc::clone(if both { &self.raw } else { &self.certificate })
    }

    /// The configuration for clients that all have raw keys, as ours do, where
    /// nobody else is expected.
    #[must_use]
    pub fn for_raw_keys(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.raw)
    }
}

impl fmt::Debug for ServerConfigs {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("ServerConfigs")
            .finish_non_exhaustive()
    }
}

/// The configuration of a client that proves `key`, in raw form, and takes any
/// server that proves one in the same form.
///
/// # Errors
///
/// A key that rustls does not take.
pub fn client_config(key: &SigningKey) -> Result<Arc<ClientConfig>, rustls::Error> {
    client_config_with(key, provider())
}

/// The key that the other side proved, in either form, once the handshake is
/// complete: of a connection's `peer_certificates()`.
///
/// The forms cannot be confused: no certificate is as short as a bare key. Which
/// of them was agreed on has been enforced by the handshake.
pub fn peer_key(certificates: Option<&[CertificateDer<'_>]>) -> Option<VerifyingKey> {
    let Some([presented]) = certificates else {
        return None;
    };
    VerifyingKey::from_spki(presented)
        .ok()
        .or_else(|| certificate::key_of(presented).ok())
}

/// RFC 9266, `tls-exporter`, for either side of a completed handshake.
///
/// # Errors
///
/// While the handshake is not complete.
pub fn channel_binding<Data>(
    connection: &rustls::ConnectionCommon<Data>,
) -> Result<ChannelBinding, rustls::Error> {
    // RFC 9266 section 2: empty context, which for TLS 1.3 equals none.
    connection
        .export_keying_material([0; 32], BINDING_LABEL, Some(&[]))
        .map(ChannelBinding::from_bytes)
}

fn server_config_with(
    key: &SigningKey,
    form: Form,
    provider: Arc<CryptoProvider>,
) -> Result<Arc<ServerConfig>, rustls::Error> {
    let certified = certified_key(key, form);
    let resolver: Arc<dyn ResolvesServerCert> = match form {
        Form::RawPublicKey => Arc::new(AlwaysResolvesServerRawPublicKeys::new(certified)),
        Form::Certificate => Arc::new(SingleCertAndKey::from(certified)),
    };
    let verifier = ProofOfPossession::new(form);
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_client_cert_verifier(Arc::new(verifier))
        .with_cert_resolver(resolver);
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
    let certified = certified_key(key, Form::RawPublicKey);
    let verifier = ProofOfPossession::new(Form::RawPublicKey);
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

fn certified_key(key: &SigningKey, form: Form) -> Arc<CertifiedKey> {
    let signer = Arc::new(IdentityKey::new(key));
    let presented = match form {
        Form::RawPublicKey => CertificateDer::from(key.verifying_key().to_spki().to_vec()),
        Form::Certificate => self_signed_certificate(key),
    };
    Arc::new(CertifiedKey::new(vec![presented], signer))
}

#[cfg(test)]
mod tests;
