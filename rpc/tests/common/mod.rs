//! A server to call, authorizers that agree or refuse, and raw TLS peers that
//! do what no lawful peer does.
#![allow(dead_code, unreachable_pub, missing_docs, clippy::unwrap_used)]

use std::any::Any;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer, ServerName, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{
    ClientConfig, DigitallySignedStruct, DistinguishedName, ServerConfig, SignatureScheme,
};
use sealmoot_crypto::signature::SigningKey;
use sealmoot_rpc::bytes::Bytes;
use sealmoot_rpc::{
    Authorizer, CallContext, Candidate, Code, Connection, Connector, Execution, Limits, Refusal,
    ReplyFuture, Router, Server, ServerHandle, Service, Status,
};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::{TlsAcceptor, TlsConnector};

pub const ECHO: u64 = 1;
/// Never answers.
pub const STUCK: u64 = 2;
/// Answers with as many bytes as the request's four say.
pub const BIG: u64 = 3;
/// Panics at once.
pub const PANIC: u64 = 4;
/// Panics in its own task.
pub const PANIC_LATER: u64 = 5;
/// Answers the caller's presented statements and binding.
pub const WHO: u64 = 6;
/// Echoes from its own task, after some milliseconds.
pub const LATER: u64 = 7;
/// Fails with a status of its own.
pub const FAIL: u64 = 8;
/// Answers the remaining milliseconds.
pub const REMAINING: u64 = 9;

pub const PATIENCE: Duration = Duration::from_secs(60);

/// Counts handlers that run, so that a test sees them go.
#[derive(Clone, Default)]
pub struct Gauge(Arc<AtomicUsize>);

impl Gauge {
    pub fn running(&self) -> usize {
        self.0.load(Ordering::SeqCst)
    }

    pub async fn reaches(&self, count: usize) {
        let reached = async {
            while self.running() != count {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        tokio::time::timeout(PATIENCE, reached)
            .await
            .expect("the count is reached");
    }

    pub fn enter(&self) -> Entered {
        self.0.fetch_add(1, Ordering::SeqCst);
        Entered(self.clone())
    }
}

pub struct Entered(Gauge);

impl Drop for Entered {
    fn drop(&mut self) {
        self.0.0.fetch_sub(1, Ordering::SeqCst);
    }
}

#[derive(Clone, Default)]
pub struct TestService {
    pub stuck: Gauge,
    /// Calls of [`LATER`] that began, whether they run or have ended.
    pub later: Arc<AtomicUsize>,
}

impl Service for TestService {
    fn methods(&self) -> &[u64] {
        &[
            ECHO,
            STUCK,
            BIG,
            PANIC,
            PANIC_LATER,
            WHO,
            LATER,
            FAIL,
            REMAINING,
        ]
    }

    fn call(&self, context: CallContext, method: u64, body: Bytes) -> ReplyFuture {
        let entered = (method == STUCK).then(|| self.stuck.enter());
        if method == LATER {
            self.later.fetch_add(1, Ordering::SeqCst);
        }
        Box::pin(async move {
            let _entered = entered;
            match method {
                ECHO => Ok(body),
                STUCK => std::future::pending().await,
                BIG => {
                    let size = u32::from_le_bytes(body[..4].try_into().unwrap());
                    Ok(Bytes::from(vec![5; size as usize]))
                }
                PANIC => panic!("a handler's fault"),
                PANIC_LATER => {
                    tokio::task::yield_now().await;
                    panic!("a handler's later fault")
                }
                WHO => {
                    let presented = context.peer().claims::<Presented>().unwrap();
                    let mut reply = context.peer().binding().as_bytes().to_vec();
                    reply.extend_from_slice(context.peer().key_id().as_bytes());
                    reply.extend_from_slice(&presented.0);
                    Ok(Bytes::from(reply))
                }
                LATER => {
                    tokio::time::sleep(Duration::from_millis(20)).await;
                    Ok(body)
                }
                FAIL => {
                    Err(Status::new(Code::Aborted, Execution::Executed, "no luck")
                        .with_details(body))
                }
                REMAINING => {
                    let remaining = context.remaining().unwrap().as_millis() as u64;
                    Ok(Bytes::copy_from_slice(&remaining.to_le_bytes()))
                }
                _ => unreachable!("the router knows the methods"),
            }
        })
    }
}

/// What a peer presented, as its claims.
pub struct Presented(pub Bytes);

pub struct Anyone(pub &'static [u8]);

impl Authorizer for Anyone {
    fn present(&self) -> Bytes {
        Bytes::from_static(self.0)
    }

    fn authorize(&self, candidate: &Candidate<'_>) -> Result<Arc<dyn Any + Send + Sync>, Refusal> {
        Ok(Arc::new(Presented(Bytes::copy_from_slice(
            candidate.presented,
        ))))
    }
}

pub struct Nobody;

impl Authorizer for Nobody {
    fn present(&self) -> Bytes {
        Bytes::from_static(b"private statements")
    }

    fn authorize(&self, _: &Candidate<'_>) -> Result<Arc<dyn Any + Send + Sync>, Refusal> {
        Err(Refusal {
            code: Code::PermissionDenied,
            message: "not you".to_owned(),
            details: Bytes::from_static(b"why"),
        })
    }
}

pub fn key() -> SigningKey {
    SigningKey::generate().expect("random source")
}

pub async fn serve_as(authorizer: impl Authorizer, limits: Limits) -> (ServerHandle, TestService) {
    let service = TestService::default();
    let router = Router::new()
        .service(service.clone())
        .expect("no duplicates");
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let server = Server::start(listener, &key(), Arc::new(authorizer), router, limits)
        .expect("sound configuration");
    (server, service)
}

pub async fn serve(limits: Limits) -> (ServerHandle, TestService) {
    serve_as(Anyone(b"server"), limits).await
}

pub fn connector(limits: Limits) -> Connector {
    Connector::new(&key(), Arc::new(Anyone(b"client")), limits).expect("sound configuration")
}

pub async fn connect(server: &ServerHandle) -> Connection {
    connector(Limits::default())
        .connect(&server.local_addr().to_string(), PATIENCE)
        .await
        .expect("admitted")
}

/// That the server still answers somebody else.
pub async fn assert_serves(server: &ServerHandle) {
    let reply = connect(server)
        .await
        .call(ECHO, &b"still there?"[..], PATIENCE)
        .await
        .expect("an answer");
    assert_eq!(reply, &b"still there?"[..]);
}

/// A TLS client that checks nothing.
pub fn raw_client(alpn: &[&[u8]]) -> TlsConnector {
    let mut config = ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Careless))
        .with_client_cert_resolver(Arc::new(
            rustls::client::AlwaysResolvesClientRawPublicKeys::new(certified()),
        ));
    config.alpn_protocols = alpn.iter().map(|name| name.to_vec()).collect();
    config.check_selected_alpn = false;
    TlsConnector::from(Arc::new(config))
}

/// A TLS client without a key.
pub fn keyless_client() -> TlsConnector {
    let mut config = ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Careless))
        .with_no_client_auth();
    config.alpn_protocols = vec![sealmoot_rpc::ALPN.to_vec()];
    TlsConnector::from(Arc::new(config))
}

pub async fn raw_connect(
    server: &ServerHandle,
    connector: TlsConnector,
) -> std::io::Result<tokio_rustls::client::TlsStream<TcpStream>> {
    let stream = TcpStream::connect(server.local_addr()).await?;
    let name = ServerName::IpAddress(server.local_addr().ip().into());
    connector.connect(name, stream).await
}

/// A TLS server that checks nothing.
pub fn raw_server(alpn: &[&[u8]]) -> TlsAcceptor {
    let mut config = ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .with_client_cert_verifier(Arc::new(Careless))
        .with_cert_resolver(Arc::new(
            rustls::server::AlwaysResolvesServerRawPublicKeys::new(certified()),
        ));
    config.alpn_protocols = alpn.iter().map(|name| name.to_vec()).collect();
    TlsAcceptor::from(Arc::new(config))
}

pub fn provider() -> Arc<rustls::crypto::CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

pub fn certified() -> Arc<rustls::sign::CertifiedKey> {
    let key = key();
    let pkcs8 = key.to_pkcs8_der();
    let signer =
        rustls::crypto::ring::sign::any_eddsa_type(&PrivatePkcs8KeyDer::from(pkcs8.expose()))
            .unwrap();
    let spki = CertificateDer::from(key.verifying_key().to_spki().to_vec());
    Arc::new(rustls::sign::CertifiedKey::new(vec![spki], signer))
}

#[derive(Debug)]
pub struct Careless;

impl ServerCertVerifier for Careless {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
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
    ) -> Result<ClientCertVerified, rustls::Error> {
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ED25519]
    }

    fn requires_raw_public_keys(&self) -> bool {
        true
    }
}
