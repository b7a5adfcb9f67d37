//! X25519MLKEM768 between our client or server and rustls with AWS-LC, which
//! offers that group and no other: cryptography, shares and secrets on its side
//! are not ours. TLS's Finished messages show that both reached one secret.
//!
//! `cargo test --manifest-path rpc/interop/Cargo.toml`

use std::any::Any;
use std::sync::Arc;
use std::time::Duration;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer, ServerName, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{
    ClientConfig, DigitallySignedStruct, DistinguishedName, Error, NamedGroup, ServerConfig,
    SignatureScheme,
};
use sealmoot_crypto::signature::SigningKey;
use sealmoot_rpc::bytes::Bytes;
use sealmoot_rpc::{Authorizer, Candidate, Connector, Limits, Refusal, Router, Server};
use tokio::io::AsyncReadExt;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::{TlsAcceptor, TlsConnector};

const PATIENCE: Duration = Duration::from_secs(10);

#[tokio::test]
async fn our_server_meets_aws_lc() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let server = Server::start(
        listener,
        &key(),
        Arc::new(Anyone),
        Router::new(),
        Limits::default(),
    )
    .expect("sound configuration");

    let mut config = ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&rustls::version::TLS13])
        .expect("TLS 1.3")
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Careless))
        .with_client_cert_resolver(Arc::new(
            rustls::client::AlwaysResolvesClientRawPublicKeys::new(certified()),
        ));
    config.alpn_protocols = vec![sealmoot_rpc::ALPN.to_vec()];
    let address = server.local_addr();
    let stream = TcpStream::connect(address).await.expect("a listener");
    let mut stream = TlsConnector::from(Arc::new(config))
        .connect(ServerName::IpAddress(address.ip().into()), stream)
        .await
        .expect("the groups agree");
    let group = stream.get_ref().1.negotiated_key_exchange_group();
    assert_eq!(group.expect("a group").name(), NamedGroup::X25519MLKEM768);
    // The server speaks first: its hello opens under the keys of both.
    let mut header = [0; 12];
    tokio::time::timeout(PATIENCE, stream.read_exact(&mut header))
        .await
        .expect("in time")
        .expect("a hello");
    assert_eq!(header[4], 1, "hello");
}

#[tokio::test]
async fn our_client_meets_aws_lc() {
    let mut config = ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&rustls::version::TLS13])
        .expect("TLS 1.3")
        .with_client_cert_verifier(Arc::new(Careless))
        .with_cert_resolver(Arc::new(
            rustls::server::AlwaysResolvesServerRawPublicKeys::new(certified()),
        ));
    config.alpn_protocols = vec![sealmoot_rpc::ALPN.to_vec()];
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("bound").to_string();

    let accepted = async {
        let (stream, _) = listener.accept().await.expect("a client");
        let stream = acceptor.accept(stream).await.expect("the groups agree");
        stream
            .get_ref()
            .1
            .negotiated_key_exchange_group()
            .expect("a group")
            .name()
    };
    let connector =
        Connector::new(&key(), Arc::new(Anyone), Limits::default()).expect("sound configuration");
    // It ends without a hello, which is not what is tested here.
    let (group, _) = tokio::join!(accepted, connector.connect(&address, PATIENCE));
    assert_eq!(group, NamedGroup::X25519MLKEM768);
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(CryptoProvider {
        kx_groups: vec![aws_lc_rs::kx_group::X25519MLKEM768],
        ..aws_lc_rs::default_provider()
    })
}

fn key() -> SigningKey {
    SigningKey::generate().expect("random source")
}

fn certified() -> Arc<rustls::sign::CertifiedKey> {
    let key = key();
    let pkcs8 = key.to_pkcs8_der();
    let signer = aws_lc_rs::sign::any_eddsa_type(&PrivatePkcs8KeyDer::from(pkcs8.expose()))
        .expect("an Ed25519 key");
    let spki = CertificateDer::from(key.verifying_key().to_spki().to_vec());
    Arc::new(rustls::sign::CertifiedKey::new(vec![spki], signer))
}

struct Anyone;

impl Authorizer for Anyone {
    fn present(&self) -> Bytes {
        Bytes::new()
    }

    fn authorize(&self, _: &Candidate<'_>) -> Result<Arc<dyn Any + Send + Sync>, Refusal> {
        Ok(Arc::new(()))
    }
}

/// Trusts every key: only the group is tested.
#[derive(Debug)]
struct Careless;

impl ServerCertVerifier for Careless {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ED25519]
    }

    fn requires_raw_public_keys(&self) -> bool {
        true
    }
}

impl ClientCertVerifier for Careless {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ED25519]
    }

    fn requires_raw_public_keys(&self) -> bool {
        true
    }
}
