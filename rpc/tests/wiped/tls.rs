//! A `Server` or a `Connector` in a child, and here the other end: rustls by
//! itself, whose key log tells what both ends have.

use std::any::Any;
use std::sync::Arc;
use std::time::Duration;

use rustls::client::AlwaysResolvesClientRawPublicKeys;
use rustls::pki_types::ServerName;
use rustls::server::AlwaysResolvesServerRawPublicKeys;
use rustls::{ClientConfig, ServerConfig};
use sealmoot_crypto::random;
use sealmoot_crypto::secret::SecretArray;
use sealmoot_crypto::signature::SigningKey;
use sealmoot_rpc::bytes::Bytes;
use sealmoot_rpc::frame::{FLAG_WELCOME, Frame, HEADER_BYTES, Header, Kind};
use sealmoot_rpc::payload::{CallPrefix, encode_hello};
use sealmoot_rpc::{
    ALPN, Authorizer, CallContext, Candidate, Connector, Limits, Refusal, ReplyFuture, Router,
    Server, Service,
};
use sha2::{Digest, Sha384, Sha512};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;
use tokio::sync::Notify;
use tokio_rustls::{TlsAcceptor, TlsConnector};

use super::ENTRY;
use super::common::{Careless, PATIENCE, certified, provider};
use super::core::{Finding, Needle};
use super::group::{Named, Secrets, Telling};
use super::process::{Child, Pipe, deep};

const ECHO: u64 = 1;
/// The child stops at the second call, while the connection is open.
const CALLS: usize = 2;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    Client,
    Server,
}

// The child's side.

struct Anyone;

impl Authorizer for Anyone {
    fn present(&self) -> Bytes {
        Bytes::new()
    }

    fn authorize(&self, _: &Candidate<'_>) -> Result<Arc<dyn Any + Send + Sync>, Refusal> {
        Ok(Arc::new(()))
    }
}

/// Answers what it was sent, and says so.
struct Echo(Arc<Notify>);

impl Service for Echo {
    fn methods(&self) -> &[u64] {
        &[ECHO]
    }

    fn call(&self, _: CallContext, _: u64, body: Bytes) -> ReplyFuture {
        self.0.notify_one();
        Box::pin(async move { Ok(body) })
    }
}

pub(crate) fn serve(mut pipe: Pipe) {
    deep(|| {
        let key = receive_key(&mut pipe);
        runtime().block_on(async {
            let called = Arc::new(Notify::new());
            let router = Router::new()
                .service(Echo(Arc::clone(&called)))
                .expect("one method");
            let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
            let server = Server::start(listener, &key, Arc::new(Anyone), router, Limits::default());
            let server = server.expect("sound");
            pipe.send(server.local_addr().to_string().as_bytes());
            for _ in 0..CALLS {
                called.notified().await;
            }
            pipe.pause();
            server.drain(PATIENCE).await;
        });
    });
    pipe.done();
}

pub(crate) fn connect(mut pipe: Pipe) {
    deep(|| {
        let key = receive_key(&mut pipe);
        let address = String::from_utf8(pipe.receive()).expect("an address");
        runtime().block_on(async {
            let connector = Connector::new(&key, Arc::new(Anyone), Limits::default());
            let connector = connector.expect("sound");
            let connection = connector
                .connect(&address, PATIENCE)
                .await
                .expect("admitted");
            for number in 0..CALLS {
                if number + 1 == CALLS {
                    pipe.pause();
                }
                let reply = connection.call(ECHO, &b"call"[..], PATIENCE).await;
                assert_eq!(reply.expect("an answer"), &b"call"[..]);
            }
            connection.close();
            connection.closed().await;
        });
    });
    pipe.done();
}

fn receive_key(pipe: &mut Pipe) -> SigningKey {
    let mut seed = SecretArray::from_bytes([0; 32]);
    pipe.receive_into(seed.expose_mut());
    SigningKey::from_seed(&seed)
}

/// Of one thread, so that there is one stack to look at.
fn runtime() -> Runtime {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime")
}

// The parent's side.

/// What the child has of each secret while the connection is open, and after
/// everything is dropped.
pub(crate) struct Measured {
    pub(crate) open: Vec<Finding>,
    pub(crate) closed: Vec<Finding>,
}

pub(crate) fn connection(side: Side) -> Measured {
    let seed: [u8; 32] = random::array().expect("random source");
    let secrets = Secrets::default();
    let mut child = Child::start(ENTRY);
    runtime().block_on(async {
        match side {
            Side::Server => call(&mut child, &seed, &secrets).await,
            Side::Client => answer(&mut child, &seed, &secrets).await,
        }
    })
}

/// The client of a child.
async fn call(child: &mut Child, seed: &[u8; 32], secrets: &Secrets) -> Measured {
    child.pipe.send(b"serve");
    child.pipe.send(seed);
    let address = String::from_utf8(child.pipe.receive()).expect("an address");
    let mut stream = dial(&address, secrets).await;
    let (kind, ..) = read_frame(&mut stream).await.expect("a hello");
    assert_eq!(kind, Kind::Hello);
    let hello = encode_hello(&[]).expect("short");
    write_frame(&mut stream, Kind::Hello, 0, 0, &hello).await;
    let (kind, ..) = read_frame(&mut stream).await.expect("a welcome");
    assert_eq!(kind, Kind::Hello);
    let needles = needles(seed, secrets.take());
    let prefix = CallPrefix {
        timeout_ms: 0,
        method: ECHO,
    };
    let mut open = vec![];
    for number in 1..=CALLS {
        let payload = [&prefix.encode()[..], b"call"].concat();
        let call = u32::try_from(number).expect("few");
        write_frame(&mut stream, Kind::Call, 0, call, &payload).await;
        if number == CALLS {
            open = child.core().search(&needles);
            child.pipe.send(b"on");
        }
        let (kind, _, payload) = read_frame(&mut stream).await.expect("a reply");
        assert_eq!((kind, &payload[..]), (Kind::Reply, &b"call"[..]));
    }
    stream.shutdown().await.expect("open");
    // The server asks its client to go, then ends the stream.
    while read_frame(&mut stream).await.is_some() {}
    drop(stream);
    let closed = child.core().search(&needles);
    Measured { open, closed }
}

async fn dial(address: &str, secrets: &Secrets) -> tokio_rustls::client::TlsStream<TcpStream> {
    let mut config = ClientConfig::builder_with_provider(telling(secrets))
        .with_protocol_versions(&[&rustls::version::TLS13])
        .expect("TLS 1.3")
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Careless))
        .with_client_cert_resolver(Arc::new(
            AlwaysResolvesClientRawPublicKeys::new(certified()),
        ));
    config.alpn_protocols = vec![ALPN.to_vec()];
    config.key_log = Arc::new(secrets.clone());
    let stream = TcpStream::connect(address).await.expect("a server");
    let name = ServerName::try_from("peer").expect("a name");
    TlsConnector::from(Arc::new(config))
        .connect(name, stream)
        .await
        .expect("a handshake")
}

/// The server of a child.
async fn answer(child: &mut Child, seed: &[u8; 32], secrets: &Secrets) -> Measured {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    child.pipe.send(b"connect");
    child.pipe.send(seed);
    let address = listener.local_addr().expect("bound").to_string();
    child.pipe.send(address.as_bytes());
    let mut stream = accept(&listener, secrets).await;
    let hello = encode_hello(&[]).expect("short");
    write_frame(&mut stream, Kind::Hello, 0, 0, &hello).await;
    let (kind, ..) = read_frame(&mut stream).await.expect("a hello");
    assert_eq!(kind, Kind::Hello);
    write_frame(&mut stream, Kind::Hello, FLAG_WELCOME, 0, &[]).await;
    let needles = needles(seed, secrets.take());
    let mut open = vec![];
    for number in 1..=CALLS {
        if number == CALLS {
            open = child.core().search(&needles);
            child.pipe.send(b"on");
        }
        let (kind, call, payload) = read_frame(&mut stream).await.expect("a call");
        assert_eq!(kind, Kind::Call);
        let (_, body) = CallPrefix::decode(&payload).expect("whole");
        write_frame(&mut stream, Kind::Reply, 0, call, body).await;
    }
    while read_frame(&mut stream).await.is_some() {}
    drop(stream);
    let closed = child.core().search(&needles);
    Measured { open, closed }
}

async fn accept(
    listener: &TcpListener,
    secrets: &Secrets,
) -> tokio_rustls::server::TlsStream<TcpStream> {
    let mut config = ServerConfig::builder_with_provider(telling(secrets))
        .with_protocol_versions(&[&rustls::version::TLS13])
        .expect("TLS 1.3")
        .with_client_cert_verifier(Arc::new(Careless))
        .with_cert_resolver(Arc::new(
            AlwaysResolvesServerRawPublicKeys::new(certified()),
        ));
    config.alpn_protocols = vec![ALPN.to_vec()];
    config.send_tls13_tickets = 0;
    config.key_log = Arc::new(secrets.clone());
    let (stream, _) = listener.accept().await.expect("a client");
    TlsAcceptor::from(Arc::new(config))
        .accept(stream)
        .await
        .expect("a handshake")
}

/// What a client and a server of this process show of themselves, and every
/// secret that they had.
pub(crate) struct Told {
    pub(crate) text: String,
    pub(crate) secrets: Vec<Named>,
}

/// Two connections between a `Connector`, a `Server` and rustls by itself, and
/// some that fail.
pub(crate) fn talkative() -> Told {
    let mut text = String::new();
    let mut secrets = vec![];
    let mut identity = |name: &str| {
        let seed: [u8; 32] = random::array().expect("random source");
        let expanded: [u8; 64] = Sha512::digest(seed).into();
        secrets.push((format!("{name}'s seed"), seed.to_vec()));
        secrets.push((format!("{name}'s scalar"), expanded[..32].to_vec()));
        secrets.push((format!("{name}'s prefix"), expanded[32..].to_vec()));
        SigningKey::from_seed(&SecretArray::from_bytes(seed))
    };
    let (server_key, client_key) = (identity("server"), identity("client"));
    let log = Secrets::default();
    runtime().block_on(async {
        let show = |text: &mut String, value: &dyn std::fmt::Debug| {
            text.push_str(&format!("{value:?} {value:#?}\n"));
        };
        let router = Router::new()
            .service(Echo(Arc::default()))
            .expect("one method");
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let limits = Limits::default();
        let server = Server::start(
            listener,
            &server_key,
            Arc::new(Showing),
            router,
            limits.clone(),
        )
        .expect("sound");
        let connector =
            Connector::new(&client_key, Arc::new(Showing), limits.clone()).expect("sound");
        show(
            &mut text,
            &(
                &server_key,
                &client_key,
                Server,
                &server,
                &connector,
                &limits,
            ),
        );

        // Our client, to our server and to nobody.
        let address = server.local_addr().to_string();
        let connection = connector
            .connect(&address, PATIENCE)
            .await
            .expect("admitted");
        connection
            .call(ECHO, &b"call"[..], PATIENCE)
            .await
            .expect("an answer");
        let failed = connection.call(ECHO + 1, &b"call"[..], PATIENCE).await;
        show(&mut text, &(&connection, connection.peer(), &failed));
        let status = failed.expect_err("no such method");
        text.push_str(&status.to_string());
        let nobody = connector.connect("127.0.0.1:1", PATIENCE).await;
        let error = nobody.expect_err("nobody listens");
        text.push_str(&format!("{error} {error:?}"));

        // Our server and a client that tells; our client and a server that tells.
        drop(dial(&address, &log).await);
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("bound").to_string();
        let (broken, ()) = tokio::join!(connector.connect(&address, PATIENCE), async {
            drop(accept(&listener, &log).await);
        });
        let error = broken.expect_err("the server leaves");
        text.push_str(&format!("{error} {error:?} {}", error.cause()));

        // Not TLS at all.
        let mut stream = TcpStream::connect(server.local_addr())
            .await
            .expect("a server");
        stream.write_all(b"not a handshake").await.expect("open");
        stream.shutdown().await.expect("open");
        // The server answers with an alert, or closes.
        let _ = stream.read_to_end(&mut vec![]).await;
        connection.close();
        connection.closed().await;
        server.drain(PATIENCE).await;
    });
    secrets.extend(log.take());
    Told { text, secrets }
}

/// Admits everyone, and shows whom.
struct Showing;

impl Authorizer for Showing {
    fn present(&self) -> Bytes {
        Bytes::from_static(b"statements")
    }

    fn authorize(&self, peer: &Candidate<'_>) -> Result<Arc<dyn Any + Send + Sync>, Refusal> {
        tracing::trace!("{peer:?} {peer:#?}");
        Ok(Arc::new(()))
    }
}

/// ring's provider with the group that tells.
fn telling(secrets: &Secrets) -> Arc<rustls::crypto::CryptoProvider> {
    let group: &'static Telling = Box::leak(Box::new(Telling(secrets.clone())));
    let mut provider = (*provider()).clone();
    provider.kx_groups = vec![group];
    provider.cipher_suites = vec![rustls::crypto::ring::cipher_suite::TLS13_AES_256_GCM_SHA384];
    Arc::new(provider)
}

async fn write_frame(
    stream: &mut (impl AsyncWrite + Unpin),
    kind: Kind,
    flags: u8,
    call: u32,
    payload: &[u8],
) {
    let mut bytes = vec![];
    Frame {
        kind,
        flags,
        code: 0,
        call,
        payload,
    }
    .encode(&mut bytes);
    stream.write_all(&bytes).await.expect("open");
    stream.flush().await.expect("open");
}

/// The next frame, or none at the end of the stream.
async fn read_frame(stream: &mut (impl AsyncRead + Unpin)) -> Option<(Kind, u32, Vec<u8>)> {
    let read = async {
        let mut header = [0; HEADER_BYTES];
        stream.read_exact(&mut header).await.ok()?;
        let header = Header::decode(&header).expect("lawful");
        let mut payload = vec![0; header.length];
        stream.read_exact(&mut payload).await.ok()?;
        Some((header.kind, header.call, payload))
    };
    let patience: Duration = PATIENCE;
    tokio::time::timeout(patience, read)
        .await
        .expect("an honest child")
}

/// What the key and the connection's secrets are made of.
fn needles(seed: &[u8; 32], secrets: Vec<Named>) -> Vec<Needle> {
    // RFC 8032, section 5.1.5.
    let expanded: [u8; 64] = Sha512::digest(seed).into();
    let scalar: [u8; 32] = *expanded.first_chunk().expect("64 bytes");
    let mut needles = vec![
        Needle::new("Ed25519 seed", seed),
        Needle::new("Ed25519 scalar", &super::schedule::clamped(&scalar)),
        // Clamping changes the first byte and the last.
        Needle::new("Ed25519 scalar", &scalar[8..24]),
        Needle::new("Ed25519 prefix", &expanded[32..]),
    ];
    assert_eq!(secrets.len(), 2 + 5, "two key agreements and five secrets");
    for (name, secret) in secrets {
        if name.ends_with("_TRAFFIC_SECRET") || name.ends_with("_TRAFFIC_SECRET_0") {
            let key = expand_label(&secret, b"key", 32);
            needles.push(Needle::new("AEAD key", &key));
            needles.push(Needle::new("traffic secret", &secret));
        } else if name == "EXPORTER_SECRET" {
            needles.push(Needle::new("exporter secret", &secret));
        } else {
            needles.push(Needle::new(name, &secret));
        }
    }
    needles
}

/// `HKDF-Expand-Label` with SHA-384, an empty context and at most 48 bytes
/// (RFC 8446, section 7.1).
fn expand_label(secret: &[u8], label: &[u8], length: u8) -> Vec<u8> {
    let label = [b"tls13 ", label].concat();
    let mut info = vec![0, length, u8::try_from(label.len()).expect("short")];
    info.extend(label);
    info.extend([0, 1]);
    let pad = |with: u8| {
        let mut pad = [with; 128];
        pad.iter_mut()
            .zip(secret)
            .for_each(|(pad, key)| *pad ^= key);
        pad
    };
    let inner = Sha384::digest([&pad(0x36)[..], &info].concat());
    let outer = Sha384::digest([&pad(0x5c)[..], &inner].concat());
    outer[..usize::from(length)].to_vec()
}
