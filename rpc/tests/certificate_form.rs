//! One key, two forms, over sockets: the same peer in both; and what a server
//! does with first messages that are slow, endless or no messages at all.
#![allow(missing_docs)]

mod common;
mod hostile;

use std::any::Any;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use common::{ECHO, PATIENCE, TestService, assert_serves, raw_connect, serve};
use hostile::{FORMS, Forger, Form, Identity, forge, key, rejected, spki_of, weak_points};
use rustls::AlertDescription;
use rustls::crypto::ring::kx_group::SECP256R1;
use rustls::pki_types::ServerName;
use sealmoot_crypto::signature::{KeyId, KeyRejected, SigningKey};
use sealmoot_rpc::bytes::Bytes;
use sealmoot_rpc::frame::{FLAG_WELCOME, Frame, Kind};
use sealmoot_rpc::payload::encode_hello;
use sealmoot_rpc::tls::PeerKeyRejected;
use sealmoot_rpc::{
    Authorizer, Candidate, ConnectError, Connector, Limits, Refusal, Router, Server, ServerHandle,
};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::{TlsAcceptor, TlsConnector};

/// Admits everybody and remembers whom.
#[derive(Clone, Default)]
struct Recording(Arc<Mutex<Vec<KeyId>>>);

impl Recording {
    fn seen(&self) -> Vec<KeyId> {
        self.0.lock().expect("no panic").clone()
    }
}

impl Authorizer for Recording {
    fn present(&self) -> Bytes {
        Bytes::new()
    }

    fn authorize(&self, candidate: &Candidate<'_>) -> Result<Arc<dyn Any + Send + Sync>, Refusal> {
        self.0.lock().expect("no panic").push(candidate.key_id);
        let presented = Bytes::copy_from_slice(candidate.presented);
        Ok(Arc::new(common::Presented(presented)))
    }
}

async fn recording_server() -> (ServerHandle, Recording) {
    let recording = Recording::default();
    let server = Server::start(
        TcpListener::bind("127.0.0.1:0").await.expect("a port"),
        &key(),
        Arc::new(recording.clone()),
        Router::new()
            .service(TestService::default())
            .expect("no duplicates"),
        Limits::default(),
    )
    .expect("sound");
    (server, recording)
}

fn tls_client(form: Form, identity: Identity) -> TlsConnector {
    TlsConnector::from(Arc::new(hostile::client(form, identity)))
}

fn same_key(key: &SigningKey) -> SigningKey {
    SigningKey::from_seed(&key.to_seed())
}

fn encoded(kind: Kind, call: u32, payload: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    Frame {
        kind,
        flags: 0,
        code: 0,
        call,
        payload,
    }
    .encode(&mut bytes);
    bytes
}

/// Says hello, calls, and returns the reply.
async fn converse<S: AsyncRead + AsyncWrite + Unpin>(mut stream: S) -> Vec<u8> {
    let mut bytes = encoded(Kind::Hello, 0, &encode_hello(b"me").expect("short"));
    let payload = [&[0; 4][..], &ECHO.to_le_bytes(), b"in an envelope"].concat();
    bytes.extend_from_slice(&encoded(Kind::Call, 1, &payload));
    stream.write_all(&bytes).await.expect("open");
    stream.flush().await.expect("open");
    let mut received = Vec::new();
    let mut frames = Vec::new();
    while frames.len() < 3 {
        let read = stream.read_buf(&mut received);
        let read = tokio::time::timeout(PATIENCE, read).await.expect("answers");
        assert_ne!(read.expect("open"), 0, "closed after {frames:?}");
        while let Some((frame, size)) = Frame::decode(&received).expect("lawful") {
            frames.push((frame.kind, frame.flags, frame.payload.to_vec()));
            received.drain(..size);
        }
    }
    assert_eq!((frames[0].0, frames[0].1), (Kind::Hello, 0));
    assert_eq!((frames[1].0, frames[1].1), (Kind::Hello, FLAG_WELCOME));
    assert_eq!(frames[2].0, Kind::Reply);
    frames.remove(2).2
}

/// That TLS refuses a client with one of these alerts and not a byte besides.
///
/// In TLS 1.3 a client is done first and is refused after, so `connected` may
/// look well. A server that took the handshake for complete and left then would
/// close without an alert.
async fn assert_alerted<S: AsyncRead + Unpin>(
    what: &str,
    connected: io::Result<S>,
    expected: &[AlertDescription],
) {
    let mut received = Vec::new();
    let ended = match connected {
        Err(error) => Err(error),
        Ok(mut stream) => {
            let read = stream.read_to_end(&mut received);
            tokio::time::timeout(PATIENCE, read)
                .await
                .expect("the other side closes")
        }
    };
    assert_eq!(received, b"", "{what}: the server spoke");
    let error = ended.expect_err("an alert");
    // A reset can overtake an alert.
    if error.kind() == io::ErrorKind::ConnectionReset {
        return;
    }
    match error.get_ref().and_then(|error| error.downcast_ref()) {
        Some(rustls::Error::AlertReceived(alert)) if expected.contains(alert) => {}
        _ => panic!("{what}: {error}"),
    }
}

#[tokio::test]
async fn a_key_is_the_same_peer_in_both_forms() {
    let (server, recording) = recording_server().await;
    let key = key();
    let id = key.verifying_key().key_id();

    let connector =
        Connector::new(&key, Arc::new(common::Anyone(b"")), Limits::default()).expect("sound");
    let connection = connector
        .connect(&server.local_addr().to_string(), PATIENCE)
        .await
        .expect("admitted");
    for form in FORMS {
        let identity = Identity::honest(form, same_key(&key));
        let stream = raw_connect(&server, tls_client(form, identity))
            .await
            .expect("admitted");
        assert_eq!(converse(stream).await, b"in an envelope", "{form:?}");
    }
    let reply = connection.call(ECHO, &b"raw"[..], PATIENCE).await;
    assert_eq!(reply.expect("an answer"), &b"raw"[..]);
    assert_eq!(recording.seen(), [id, id, id]);
}

#[tokio::test]
async fn the_server_proves_one_key_in_both_forms() {
    let (server, _) = recording_server().await;
    let connector =
        Connector::new(&key(), Arc::new(common::Anyone(b"")), Limits::default()).expect("sound");
    let connection = connector
        .connect(&server.local_addr().to_string(), PATIENCE)
        .await
        .expect("admitted");
    for form in FORMS {
        let stream = raw_connect(&server, tls_client(form, Identity::honest(form, key())))
            .await
            .expect("admitted");
        let shown = stream.get_ref().1.peer_certificates();
        let shown = sealmoot_rpc::tls::peer_key(shown).expect("a key");
        assert_eq!(shown.key_id(), connection.peer().key_id(), "{form:?}");
    }
}

/// One byte of output at a time.
struct Dripping(TcpStream);

impl AsyncRead for Dripping {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(context, buffer)
    }
}

impl AsyncWrite for Dripping {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(context, &bytes[..bytes.len().min(1)])
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(context)
    }
}

#[tokio::test]
async fn a_handshake_that_comes_byte_by_byte_is_understood() {
    let (server, recording) = recording_server().await;
    for form in FORMS {
        let key = key();
        let id = key.verifying_key().key_id();
        let stream = TcpStream::connect(server.local_addr()).await.expect("open");
        stream.set_nodelay(true).expect("a socket");
        let name = ServerName::IpAddress(server.local_addr().ip().into());
        let stream = tls_client(form, Identity::honest(form, key))
            .connect(name, Dripping(stream))
            .await
            .expect("admitted");
        assert_eq!(converse(stream).await, b"in an envelope", "{form:?}");
        assert_eq!(recording.seen().last(), Some(&id), "{form:?}");
    }
}

/// Sends `pieces` until the server closes; returns what it said.
async fn send_until_closed(
    server: &ServerHandle,
    pieces: impl Iterator<Item = Vec<u8>> + Send + 'static,
    pause: Duration,
) -> Vec<u8> {
    let stream = TcpStream::connect(server.local_addr()).await.expect("open");
    stream.set_nodelay(true).expect("a socket");
    let (mut reader, mut writer) = stream.into_split();
    let sending = tokio::spawn(async move {
        for piece in pieces {
            if writer.write_all(&piece).await.is_err() {
                break;
            }
            tokio::time::sleep(pause).await;
        }
        // Kept open: it is for the server to end this.
        std::future::pending::<()>().await;
        drop(writer);
    });
    let mut said = Vec::new();
    let end = reader.read_to_end(&mut said);
    let _ = tokio::time::timeout(PATIENCE, end)
        .await
        .expect("the server closes");
    sending.abort();
    said
}

const NO_PAUSE: Duration = Duration::ZERO;

#[tokio::test]
async fn a_malformed_first_message_is_answered_with_an_alert() {
    let (server, _) = serve(Limits::default()).await;
    for (name, first) in [
        (
            "a ClientHello of three bytes",
            vec![22, 3, 1, 0, 7, 1, 0, 0, 3, 1, 2, 3],
        ),
        ("an empty ClientHello", vec![22, 3, 1, 0, 4, 1, 0, 0, 0]),
        ("a record of 65,535 bytes", vec![22, 3, 1, 0xff, 0xff]),
        ("an unknown kind of record", vec![99, 3, 1, 0, 1, 0]),
    ] {
        let said = send_until_closed(&server, std::iter::once(first), NO_PAUSE).await;
        // Fatal, decode_error.
        assert_eq!(said, [21, 3, 3, 0, 2, 2, 50], "{name}");
    }
    assert_serves(&server).await;
}

#[tokio::test]
async fn a_first_message_that_suits_neither_form_is_answered_with_an_alert() {
    let (server, recording) = recording_server().await;
    for form in FORMS {
        let identity = || Identity::honest(form, key());
        let mut another_protocol = hostile::client(form, identity());
        another_protocol.alpn_protocols = vec![b"h2".to_vec()];
        let another_group = hostile::client_of_groups(form, identity(), vec![SECP256R1]);
        let other = match form {
            Form::Raw => Form::Certificate,
            Form::Certificate => Form::Raw,
        };
        let mixture = hostile::mixed_client(form, other, identity());
        for (config, alert) in [
            (another_protocol, AlertDescription::NoApplicationProtocol),
            (another_group, AlertDescription::HandshakeFailure),
            (mixture, AlertDescription::HandshakeFailure),
        ] {
            let error = raw_connect(&server, TlsConnector::from(Arc::new(config)))
                .await
                .expect_err("refused");
            let error = error
                .get_ref()
                .and_then(|error| error.downcast_ref::<rustls::Error>());
            let expected = rustls::Error::AlertReceived(alert);
            assert_eq!(error, Some(&expected), "{form:?}");
        }
    }
    assert_eq!(recording.seen(), []);
    assert_serves(&server).await;
}

#[tokio::test]
async fn what_is_no_first_message_at_all_is_closed() {
    let (server, _) = serve(Limits::default()).await;
    for first in [
        vec![22, 3, 1, 0, 4, 20, 0, 0, 0],             // Finished
        vec![23, 3, 3, 0, 1, 0],                       // application data
        vec![22, 3, 1, 0, 4, 1, 0xff, 0xff, 0xff],     // of 16 MiB
        vec![22, 3, 1, 0, 1, 1, 21, 3, 3, 0, 2, 1, 0], // an alert in between
    ] {
        send_until_closed(&server, std::iter::once(first), NO_PAUSE).await;
    }
    assert_serves(&server).await;
}

#[tokio::test]
async fn an_endless_first_message_is_cut_off() {
    // A ClientHello of 65,000 bytes, in records of one byte and of 16 KiB.
    let endless = |record_bytes: usize| {
        let record = move |content: &[u8]| {
            let length = u16::try_from(content.len()).expect("short");
            [&[22, 3, 1][..], &length.to_be_bytes(), content].concat()
        };
        let head = std::iter::once(record(&[1, 0, 0xfd, 0xe8]));
        let bulk = record(&vec![7; record_bytes]).repeat(16 * 1024 / record_bytes);
        head.chain(std::iter::repeat(bulk))
    };
    for bytes_max in [4_000, 256 * 1024] {
        let (server, _) = serve(Limits {
            unauthenticated_bytes_max: bytes_max,
            ..Limits::default()
        })
        .await;
        for record_bytes in [1, 16 * 1024] {
            send_until_closed(&server, endless(record_bytes), NO_PAUSE).await;
        }
        assert_serves(&server).await;
    }
}

#[tokio::test]
async fn endless_garbage_of_any_kind_is_cut_off() {
    let (server, _) = serve(Limits {
        // Nobody goes for having taken too long.
        handshake: 10 * PATIENCE,
        ..Limits::default()
    })
    .await;
    for (name, piece) in [
        ("zeros", vec![0; 1000]),
        ("ones", vec![0xff; 1000]),
        ("empty handshake records", vec![22, 3, 3, 0, 0]),
        ("ChangeCipherSpec", vec![20, 3, 3, 0, 1, 1]),
        ("warnings", vec![21, 3, 3, 0, 2, 1, 0]),
        ("empty alerts", vec![21, 3, 3, 0, 0]),
        ("heartbeats", vec![24, 3, 3, 0, 1, 1]),
    ] {
        let pieces = std::iter::repeat_with(move || piece.clone());
        send_until_closed(&server, pieces, NO_PAUSE).await;
        eprintln!("cut off: {name}");
    }
    assert_serves(&server).await;
}

#[tokio::test]
async fn the_byte_limit_holds_within_the_first_message() {
    // The first message of our own client is longer.
    let (server, _) = serve(Limits {
        unauthenticated_bytes_max: 1000,
        ..Limits::default()
    })
    .await;
    let error = common::connector(Limits::default())
        .connect(&server.local_addr().to_string(), PATIENCE)
        .await
        .expect_err("cut off");
    assert!(matches!(error, ConnectError::Interrupted { .. }), "{error}");
}

#[tokio::test]
async fn the_total_deadline_holds_within_the_first_message() {
    let (server, _) = serve(Limits {
        // Enough for whoever is served below, and less than the dripping takes.
        handshake: Duration::from_secs(6),
        ..Limits::default()
    })
    .await;
    let head = [22, 3, 1, 0x3f, 0, 1, 0, 0x3e, 0xfc];
    let dripping = head.into_iter().chain(std::iter::repeat(7));
    let said = send_until_closed(
        &server,
        dripping.map(|byte| vec![byte]),
        Duration::from_millis(5),
    )
    .await;
    assert_eq!(said, b"", "no reason is known");
    assert_serves(&server).await;
}

#[tokio::test]
async fn a_client_with_a_weak_key_is_refused_in_both_forms() {
    let (server, recording) = recording_server().await;
    for point in weak_points() {
        for form in FORMS {
            let identity = Identity {
                entries: vec![form.enclose(&spki_of(&point))],
                signer: Forger::new(move |message| forge(&point, message)),
            };
            let connected = raw_connect(&server, tls_client(form, identity)).await;
            let what = format!("{form:?}, {point:02x?}");
            assert_alerted(&what, connected, &[AlertDescription::CertificateUnknown]).await;
        }
    }
    assert_eq!(recording.seen(), [], "the authorizer was asked");
    assert_serves(&server).await;
}

#[tokio::test]
async fn a_client_with_a_malformed_key_or_signature_is_refused_in_both_forms() {
    let (server, recording) = recording_server().await;
    let good = key().verifying_key().to_spki().to_vec();
    let mut x25519 = good.clone();
    x25519[8] = 0x6e;
    for form in FORMS {
        let honest = || form.present(&key());
        for (name, identity) in [
            ("X25519", Identity::presenting(vec![form.enclose(&x25519)])),
            (
                "a truncated key",
                Identity::presenting(vec![form.enclose(&good[..43])]),
            ),
            ("a chain", Identity::presenting(vec![honest(), honest()])),
            ("an empty list", Identity::presenting(Vec::new())),
            (
                "an empty entry",
                Identity::presenting(vec![Vec::new().into()]),
            ),
            (
                "a huge entry",
                Identity::presenting(vec![vec![0x30; 60_000].into()]),
            ),
            ("another's key", Identity::presenting(vec![honest()])),
        ] {
            let connected = raw_connect(&server, tls_client(form, identity)).await;
            let expected = [
                AlertDescription::CertificateUnknown,
                AlertDescription::CertificateRequired,
                AlertDescription::DecryptError,
            ];
            assert_alerted(&format!("{name}, {form:?}"), connected, &expected).await;
            assert_eq!(recording.seen(), [], "{name}, {form:?}");
        }
    }
    assert_serves(&server).await;
}

/// Our client's error against a server that presents `identity`.
async fn connect_to(form: Form, identity: Identity) -> (ConnectError, Recording) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("bound").to_string();
    let acceptor = TlsAcceptor::from(hostile::server(form, identity));
    tokio::spawn(async move {
        let (stream, _) = listener.accept().await.expect("a client");
        if let Ok(mut stream) = acceptor.accept(stream).await {
            let _ = stream
                .write_all(&encoded(Kind::Hello, 0, &[1, 0, 0, 0, 0, 0]))
                .await;
            let _ = stream.read_to_end(&mut Vec::new()).await;
        }
    });
    let recording = Recording::default();
    let connector =
        Connector::new(&key(), Arc::new(recording.clone()), Limits::default()).expect("sound");
    let error = connector
        .connect(&address, PATIENCE)
        .await
        .expect_err("refused");
    (error, recording)
}

/// Why our client refused a server's key.
fn reason(error: &ConnectError) -> Option<PeerKeyRejected> {
    let ConnectError::Tls { source, .. } = error else {
        return None;
    };
    rejected(source.get_ref()?.downcast_ref()?)
}

#[tokio::test]
async fn a_server_with_a_weak_key_is_left_before_its_signature_is_looked_at() {
    for point in weak_points() {
        let identity = Identity {
            entries: vec![Form::Raw.enclose(&spki_of(&point))],
            signer: Forger::new(move |message| forge(&point, message)),
        };
        let (error, recording) = connect_to(Form::Raw, identity).await;
        assert!(
            matches!(
                reason(&error),
                Some(PeerKeyRejected::Key(
                    KeyRejected::Weak | KeyRejected::NotCanonical
                ))
            ),
            "{point:02x?}: {error}"
        );
        assert_eq!(recording.seen(), [], "the authorizer was asked");
    }
}

#[tokio::test]
async fn a_server_with_a_certificate_is_left_weak_key_or_not() {
    let weak = weak_points()[0];
    for identity in [
        Identity::honest(Form::Certificate, key()),
        Identity {
            entries: vec![Form::Certificate.enclose(&spki_of(&weak))],
            signer: Forger::new(move |message| forge(&weak, message)),
        },
    ] {
        // rustls itself refuses a client that offers raw keys alone.
        let (error, recording) = connect_to(Form::Certificate, identity.clone()).await;
        assert!(matches!(error, ConnectError::Tls { .. }), "{error}");
        assert_eq!(recording.seen(), []);
        // One that agrees on raw keys and presents a certificate.
        let (error, recording) = connect_to(Form::Raw, identity).await;
        let expected = Some(PeerKeyRejected::Key(KeyRejected::Malformed));
        assert_eq!(reason(&error), expected, "{error}");
        assert_eq!(recording.seen(), []);
    }
}
