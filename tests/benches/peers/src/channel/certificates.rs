//! Mutual TLS 1.3 with X.509: an own certificate authority, P-256 throughout,
//! each side's certificate verified by webpki against it. As in our channel
//! there are no tickets and no resumption, and one application protocol.

use std::sync::Arc;

use rcgen::{
    BasicConstraints, Certificate, CertificateParams, ExtendedKeyUsagePurpose, IsCa, Issuer,
    KeyPair, PKCS_ECDSA_P256_SHA256,
};
use rustls::client::Resumption;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::{TlsAcceptor, TlsConnector, TlsStream};

const NAME: &str = "peer.example";

/// Both sides of a TLS configuration.
#[derive(Clone)]
pub struct Ends {
    /// For `rustls::ClientConnection`.
    pub client: Arc<ClientConfig>,
    /// For `rustls::ServerConnection`.
    pub server: Arc<ServerConfig>,
}

impl Ends {
    /// X.509 with the groups, suites and signatures of `provider`.
    ///
    /// # Panics
    /// When the operating system has no randomness.
    #[must_use]
    pub fn certified(provider: Arc<CryptoProvider>) -> Self {
        const SOUND: &str = "P-256 and TLS 1.3 are there";
        let authority = Authority::new();
        let (client_chain, client_key) = authority.issue(ExtendedKeyUsagePurpose::ClientAuth);
        let (server_chain, server_key) = authority.issue(ExtendedKeyUsagePurpose::ServerAuth);
        let roots = Arc::new(authority.roots());
        let verifier =
            WebPkiClientVerifier::builder_with_provider(Arc::clone(&roots), Arc::clone(&provider))
                .build()
                .expect("one root");
        let server = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_protocol_versions(&[&rustls::version::TLS13])
            .expect(SOUND)
            .with_client_cert_verifier(verifier)
            .with_single_cert(server_chain, server_key)
            .expect(SOUND);
        let client = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13])
            .expect(SOUND)
            .with_root_certificates(roots)
            .with_client_auth_cert(client_chain, client_key)
            .expect(SOUND);
        Self::without_tickets(client, server)
    }

    /// Neither tickets nor resumption, and our application protocol.
    #[must_use]
    pub fn without_tickets(mut client: ClientConfig, mut server: ServerConfig) -> Self {
        server.send_tls13_tickets = 0;
        server.session_storage = Arc::new(NoServerSessionStorage {});
        server.alpn_protocols = vec![sealmoot_rpc::ALPN.to_vec()];
        client.resumption = Resumption::disabled();
        client.alpn_protocols = vec![sealmoot_rpc::ALPN.to_vec()];
        Self {
            client: Arc::new(client),
            server: Arc::new(server),
        }
    }

    /// Certificates of the same kind as text, for libraries that build their
    /// own configuration.
    ///
    /// # Panics
    /// When the operating system has no randomness.
    #[must_use]
    pub fn as_text() -> Texts {
        let authority = Authority::new();
        let issue = |purpose| {
            let (certificate, key) = authority.sign(purpose);
            (certificate.pem(), key.serialize_pem())
        };
        Texts {
            name: NAME,
            client: issue(ExtendedKeyUsagePurpose::ClientAuth),
            server: issue(ExtendedKeyUsagePurpose::ServerAuth),
            root: authority.certificate.pem(),
        }
    }

    /// Opens the client's side over `stream`.
    ///
    /// # Panics
    /// When the handshake fails.
    pub async fn connect<S>(&self, stream: S) -> TlsStream<S>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let connected = TlsConnector::from(Arc::clone(&self.client))
            .connect(name(), stream)
            .await;
        TlsStream::Client(connected.expect("a handshake of honest peers"))
    }

    /// Opens the server's side.
    ///
    /// # Panics
    /// When the handshake fails.
    pub async fn accept<S>(&self, stream: S) -> TlsStream<S>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let accepted = TlsAcceptor::from(Arc::clone(&self.server))
            .accept(stream)
            .await;
        TlsStream::Server(accepted.expect("a handshake of honest peers"))
    }
}

/// Whom the certificates are for.
///
/// # Panics
/// Never: the name is one.
#[must_use]
pub fn name() -> ServerName<'static> {
    ServerName::try_from(NAME).expect("a name")
}

/// Certificates and keys in PEM (RFC 7468).
#[derive(Clone)]
pub struct Texts {
    /// Whom both certificates are for.
    pub name: &'static str,
    /// The client's certificate and key.
    pub client: (String, String),
    /// The server's.
    pub server: (String, String),
    /// The authority's certificate.
    pub root: String,
}

struct Authority {
    issuer: Issuer<'static, KeyPair>,
    certificate: Certificate,
}

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::new(vec![]).expect("no names");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = key_pair();
        let certificate = params.self_signed(&key).expect("a sound key");
        Self {
            issuer: Issuer::new(params, key),
            certificate,
        }
    }

    fn roots(&self) -> RootCertStore {
        let mut roots = RootCertStore::empty();
        roots
            .add(self.certificate.der().clone())
            .expect("our own certificate");
        roots
    }

    fn issue(
        &self,
        purpose: ExtendedKeyUsagePurpose,
    ) -> (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>) {
        let (certificate, key) = self.sign(purpose);
        let private = PrivateKeyDer::try_from(key.serialize_der()).expect("PKCS #8");
        (vec![certificate.der().clone()], private)
    }

    fn sign(&self, purpose: ExtendedKeyUsagePurpose) -> (Certificate, KeyPair) {
        let mut params = CertificateParams::new(vec![NAME.to_owned()]).expect("a name");
        params.extended_key_usages = vec![purpose];
        let key = key_pair();
        let certificate = params.signed_by(&key, &self.issuer).expect("a sound key");
        (certificate, key)
    }
}

fn key_pair() -> KeyPair {
    KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).expect("randomness")
}
