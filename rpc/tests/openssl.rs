//! `openssl s_client` against our server: another TLS library, in the
//! certificate form, from the first message to the reply of a call.
#![allow(missing_docs)]

mod common;
mod hostile;

use std::any::Any;
use std::io::{Read, Write};
use std::net::TcpListener as StdListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use common::{ECHO, PATIENCE, TestService, assert_serves};
use hostile::key;
use sealmoot_crypto::digest::sha256;
use sealmoot_crypto::hazmat::pem::{signing_key_from_pem, signing_key_to_pem};
use sealmoot_crypto::signature::{KeyId, SigningKey};
use sealmoot_rpc::bytes::Bytes;
use sealmoot_rpc::frame::{FLAG_WELCOME, Frame, Kind};
use sealmoot_rpc::payload::encode_hello;
use sealmoot_rpc::tls::self_signed_certificate;
use sealmoot_rpc::{Authorizer, Candidate, Limits, Refusal, Router, Server, ServerHandle};
use tokio::net::TcpListener;

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
        Bytes::from_static(b"statements of the server")
    }

    fn authorize(&self, candidate: &Candidate<'_>) -> Result<Arc<dyn Any + Send + Sync>, Refusal> {
        self.0.lock().expect("no panic").push(candidate.key_id);
        let presented = Bytes::copy_from_slice(candidate.presented);
        Ok(Arc::new(common::Presented(presented)))
    }
}

/// A server, and a folder with what `openssl` needs; gone when dropped.
struct Rig {
    server: ServerHandle,
    server_id: KeyId,
    recording: Recording,
    folder: PathBuf,
}

impl Drop for Rig {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

impl Rig {
    /// Nothing when there is no `openssl` that can do what `test` needs.
    async fn new(test: &str) -> Option<Self> {
        match Command::new("openssl").arg("version").output() {
            Ok(output) => {
                let version = String::from_utf8_lossy(&output.stdout).into_owned();
                if !version.starts_with("OpenSSL 3.") {
                    eprintln!("SKIPPED {test}: {version:?} is not OpenSSL 3");
                    return None;
                }
            }
            Err(error) => {
                eprintln!("SKIPPED {test}: openssl does not run: {error}");
                return None;
            }
        }
        let folder = std::env::temp_dir().join(format!("{test}.{}", std::process::id()));
        std::fs::create_dir_all(&folder).expect("a folder");
        let key = key();
        let recording = Recording::default();
        let server = Server::start(
            TcpListener::bind("127.0.0.1:0").await.expect("a port"),
            &key,
            Arc::new(recording.clone()),
            Router::new()
                .service(TestService::default())
                .expect("no duplicates"),
            Limits {
                // Nobody goes for having taken too long.
                handshake: 10 * PATIENCE,
                ..Limits::default()
            },
        )
        .expect("sound");
        Some(Self {
            server,
            server_id: key.verifying_key().key_id(),
            recording,
            folder,
        })
    }

    fn path(&self, name: &str) -> String {
        let path = self.folder.join(name);
        path.to_str().expect("UTF-8").to_owned()
    }

    /// A key and its certificate, both made by `openssl`.
    fn openssl_identity(&self, name: &str, algorithm: &[&str]) -> Files {
        let files = self.files(name);
        let request = ["req", "-x509", "-nodes", "-days", "1", "-subj", "/CN=alice"];
        let keys = ["-keyout", &files.key, "-out", &files.certificate];
        openssl(&[&request[..], algorithm, &keys].concat(), b"");
        files
    }

    /// A key, and its certificate made by our own code.
    fn own_identity(&self, name: &str, key: &SigningKey) -> Files {
        let files = self.files(name);
        std::fs::write(&files.key, signing_key_to_pem(key).expose()).expect("a file");
        let certificate = self_signed_certificate(key);
        let pem = openssl(&["x509", "-inform", "DER"], &certificate).stdout;
        std::fs::write(&files.certificate, pem).expect("a file");
        files
    }

    fn files(&self, name: &str) -> Files {
        Files {
            key: self.path(&format!("{name}.key")),
            certificate: self.path(&format!("{name}.pem")),
        }
    }

    /// `openssl s_client` to our server.
    fn client(&self, arguments: &[&str]) -> Client {
        Client::start(&self.server.local_addr().to_string(), arguments)
    }
}

struct Files {
    key: String,
    certificate: String,
}

impl Files {
    fn arguments(&self) -> [&str; 4] {
        ["-cert", &self.certificate, "-key", &self.key]
    }

    fn key_id(&self) -> KeyId {
        let pem = std::fs::read(&self.key).expect("written");
        let key = signing_key_from_pem(&pem).expect("an Ed25519 key");
        key.verifying_key().key_id()
    }
}

const ALPN: [&str; 2] = ["-alpn", "sealmoot/1"];
const ED25519: [&str; 2] = ["-newkey", "ed25519"];

/// Runs to its end, and must succeed.
fn openssl(arguments: &[&str], input: &[u8]) -> Output {
    let mut child = Command::new("openssl")
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("it ran before");
    // One that reads nothing may have ended.
    let _ = child.stdin.take().expect("piped").write_all(input);
    let output = child.wait_with_output().expect("it ends");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{arguments:?}: {said}");
    output
}

/// A running `openssl s_client`; killed when dropped.
struct Client {
    child: Child,
    /// What it wrote so far, by a thread that reads along.
    output: Arc<Mutex<Vec<u8>>>,
    messages: Arc<Mutex<Vec<u8>>>,
    readers: [JoinHandle<()>; 2],
}

impl Drop for Client {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Client {
    fn start(address: &str, arguments: &[&str]) -> Self {
        let mut child = Command::new("openssl")
            .args(["s_client", "-connect", address])
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("it ran before");
        let (output, reads_output) = read_along(child.stdout.take().expect("piped"));
        let (messages, reads_messages) = read_along(child.stderr.take().expect("piped"));
        Self {
            child,
            output,
            messages,
            readers: [reads_output, reads_messages],
        }
    }

    fn say(&mut self, bytes: &[u8]) {
        let input = self.child.stdin.as_mut().expect("piped");
        input.write_all(bytes).expect("it reads");
        input.flush().expect("it reads");
    }

    /// Waits until its output is to the taste of `enough`.
    async fn output_until(&self, enough: impl Fn(&[u8]) -> bool) -> Vec<u8> {
        let started = Instant::now();
        loop {
            let output = self.output.lock().expect("no panic").clone();
            if enough(&output) {
                return output;
            }
            assert!(
                started.elapsed() < PATIENCE,
                "waited in vain; it said {}{}",
                String::from_utf8_lossy(&output),
                self.messages(),
            );
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Whole frames, as many as there are to come.
    async fn frames(&self, count: usize) -> Vec<(Kind, u8, Vec<u8>)> {
        let output = self
            .output_until(|output| frames(output).len() >= count)
            .await;
        frames(&output)
    }

    /// Waits for its end; what it wrote, and what it complained of.
    async fn ended(mut self) -> (Vec<u8>, String) {
        let started = Instant::now();
        // The pipes may hold a little more when it is gone.
        while self.child.try_wait().expect("ours").is_none()
            || !self.readers.iter().all(JoinHandle::is_finished)
        {
            assert!(
                started.elapsed() < PATIENCE,
                "it runs on: {}",
                self.messages()
            );
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let output = self.output.lock().expect("no panic").clone();
        (output, self.messages())
    }

    fn messages(&self) -> String {
        String::from_utf8_lossy(&self.messages.lock().expect("no panic")).into_owned()
    }
}

/// What comes, and who reads it until its end.
fn read_along(mut stream: impl Read + Send + 'static) -> (Arc<Mutex<Vec<u8>>>, JoinHandle<()>) {
    let read = Arc::<Mutex<Vec<u8>>>::default();
    let shared = Arc::clone(&read);
    let reader = std::thread::spawn(move || {
        let mut buffer = [0; 4096];
        while let Ok(length @ 1..) = stream.read(&mut buffer) {
            let mut read = shared.lock().expect("no panic");
            read.extend_from_slice(&buffer[..length]);
        }
    });
    (read, reader)
}

fn frames(mut bytes: &[u8]) -> Vec<(Kind, u8, Vec<u8>)> {
    let mut frames = Vec::new();
    while let Some((frame, size)) = Frame::decode(bytes).expect("lawful") {
        frames.push((frame.kind, frame.flags, frame.payload.to_vec()));
        bytes = &bytes[size..];
    }
    frames
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

/// SHA-256 of the `SubjectPublicKeyInfo` in the certificate that a client
/// printed.
fn shown_key_id(output: &[u8]) -> KeyId {
    let public = openssl(&["x509", "-noout", "-pubkey"], output).stdout;
    let spki = openssl(&["pkey", "-pubin", "-outform", "DER"], &public).stdout;
    KeyId::from_bytes(sha256(&spki))
}

/// Hello, welcome, call and reply through one `s_client`.
async fn assert_converses(rig: &Rig, files: &Files, more: &[&str]) {
    let arguments = [&["-quiet"][..], &ALPN, &files.arguments(), more].concat();
    let mut client = rig.client(&arguments);
    // The server speaks first.
    let (kind, flags, payload) = client.frames(1).await.remove(0);
    assert_eq!((kind, flags), (Kind::Hello, 0));
    let statements = encode_hello(b"statements of the server").expect("short");
    assert_eq!(payload, statements);
    let hello = encode_hello(b"statements of openssl").expect("short");
    client.say(&encoded(Kind::Hello, 0, &hello));
    let (kind, flags, payload) = client.frames(2).await.remove(1);
    assert_eq!(
        (kind, flags, &payload[..]),
        (Kind::Hello, FLAG_WELCOME, &b""[..])
    );
    let call = [&[0; 4][..], &ECHO.to_le_bytes(), b"through openssl"].concat();
    client.say(&encoded(Kind::Call, 1, &call));
    let (kind, _, payload) = client.frames(3).await.remove(2);
    assert_eq!((kind, &payload[..]), (Kind::Reply, &b"through openssl"[..]));
    assert_eq!(rig.recording.seen().last(), Some(&files.key_id()));
}

#[tokio::test]
async fn openssl_calls_with_a_certificate_of_its_own_making() {
    let Some(rig) = Rig::new("openssl_calls_with_a_certificate_of_its_own_making").await else {
        return;
    };
    let files = rig.openssl_identity("alice", &ED25519);
    assert_converses(&rig, &files, &[]).await;
    assert_eq!(rig.recording.seen(), [files.key_id()]);
}

#[tokio::test]
async fn openssl_calls_with_a_certificate_of_our_making() {
    let Some(rig) = Rig::new("openssl_calls_with_a_certificate_of_our_making").await else {
        return;
    };
    let key = key();
    let files = rig.own_identity("own", &key);
    assert_eq!(files.key_id(), key.verifying_key().key_id());
    assert_converses(&rig, &files, &[]).await;
}

// P-256 is what it sends a share for; X25519 is what it is then asked for.
#[tokio::test]
async fn openssl_calls_after_it_was_asked_for_another_share() {
    let Some(rig) = Rig::new("openssl_calls_after_it_was_asked_for_another_share").await else {
        return;
    };
    let files = rig.openssl_identity("alice", &ED25519);
    assert_converses(&rig, &files, &["-groups", "P-256:X25519"]).await;
}

#[tokio::test]
async fn openssl_sees_the_servers_key_and_one_profile() {
    let Some(rig) = Rig::new("openssl_sees_the_servers_key_and_one_profile").await else {
        return;
    };
    let files = rig.openssl_identity("alice", &ED25519);
    for more in [&[][..], &["-groups", "P-256:X25519"]] {
        let client = rig.client(&[&ALPN[..], &files.arguments(), more].concat());
        // Behind the report the server's hello frame comes.
        let output = client
            .output_until(|output| {
                String::from_utf8_lossy(output).contains("statements of the server")
            })
            .await;
        let report = String::from_utf8_lossy(&output);
        // Its versions differ in capitals.
        let in_small = report.to_lowercase();
        for part in [
            "new, tlsv1.3, cipher is tls_",
            "alpn protocol: sealmoot/1",
            "server temp key: x25519, 253 bits",
            "peer signature type: ed25519",
            "s:cn = sealmoot",
            // What the server asks its client for.
            "no client certificate ca names sent",
            "\nrequested signature algorithms: ed25519\n",
            "early data was not sent",
        ] {
            assert!(in_small.contains(part), "{part:?} is not in {report}");
        }
        assert!(!report.contains("New Session Ticket"), "{report}");
        assert_eq!(shown_key_id(&output), rig.server_id);
    }
}

/// That `arguments` get nowhere: no byte from the server, no question to its
/// authorizer, and these words among the complaints.
async fn assert_refused(rig: &Rig, arguments: &[&str], complaint: &str) {
    let client = rig.client(&[&["-quiet"], arguments].concat());
    let (output, messages) = client.ended().await;
    assert_eq!(output, b"", "{arguments:?}: the server spoke; {messages}");
    assert_eq!(rig.recording.seen(), [], "{arguments:?}: {messages}");
    assert!(messages.contains(complaint), "{arguments:?}: {messages}");
}

#[tokio::test]
async fn openssl_is_refused_with_any_other_profile() {
    let Some(rig) = Rig::new("openssl_is_refused_with_any_other_profile").await else {
        return;
    };
    let files = rig.openssl_identity("alice", &ED25519);
    let own = files.arguments();
    let with = |more: &[&'static str]| [&own[..], more].concat();
    for (arguments, complaint) in [
        (
            with(&["-alpn", "sealmoot/1", "-tls1_2"]),
            "alert protocol version",
        ),
        (with(&["-alpn", "h2"]), "alert no application protocol"),
        (
            with(&["-alpn", "sealmoot/2"]),
            "alert no application protocol",
        ),
        (
            with(&["-alpn", "sealmoot/1", "-groups", "P-256"]),
            "alert handshake failure",
        ),
        (
            with(&["-alpn", "sealmoot/1", "-sigalgs", "ECDSA+SHA256"]),
            "alert handshake failure",
        ),
        (
            with(&[
                "-alpn",
                "sealmoot/1",
                "-ciphersuites",
                "TLS_AES_128_GCM_SHA256",
            ]),
            "alert handshake failure",
        ),
        // TLS completes, and then nothing is said.
        (with(&[]), ""),
    ] {
        assert_refused(&rig, &arguments, complaint).await;
    }
    assert_serves(&rig.server).await;
}

#[tokio::test]
async fn openssl_is_refused_without_an_ed25519_certificate() {
    let Some(rig) = Rig::new("openssl_is_refused_without_an_ed25519_certificate").await else {
        return;
    };
    assert_refused(&rig, &ALPN, "alert certificate required").await;
    for algorithm in [
        &["-newkey", "rsa:2048"][..],
        &["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"],
        &["-newkey", "ed448"],
    ] {
        let files = rig.openssl_identity("other", algorithm);
        // It finds nothing that it could sign with, and sends no certificate.
        let arguments = [&ALPN[..], &files.arguments()].concat();
        assert_refused(&rig, &arguments, "alert certificate required").await;
    }
    assert_serves(&rig.server).await;
}

#[tokio::test]
async fn openssl_is_refused_with_a_chain() {
    let Some(rig) = Rig::new("openssl_is_refused_with_a_chain").await else {
        return;
    };
    let files = rig.openssl_identity("alice", &ED25519);
    let other = rig.openssl_identity("authority", &ED25519);
    let chain = ["-cert_chain", &other.certificate];
    let arguments = [&ALPN[..], &files.arguments(), &chain].concat();
    assert_refused(&rig, &arguments, "alert certificate unknown").await;
    assert_serves(&rig.server).await;
}

/// `openssl s_server`, which gives tickets and takes early data.
struct Generous(Child);

impl Drop for Generous {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Generous {
    fn start(files: &Files, address: &str) -> Self {
        let child = Command::new("openssl")
            .args(["s_server", "-accept", address, "-quiet", "-tls1_3"])
            .args(files.arguments())
            .args(ALPN)
            .args(["-early_data", "-max_early_data", "1000"])
            .args(["-ciphersuites", "TLS_AES_256_GCM_SHA384"])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("it ran before");
        Self(child)
    }
}

/// A session with a ticket that allows early data, from another server.
async fn session(rig: &Rig, files: &Files, path: &str) {
    // Free a moment ago; another process could take it, and then this waits in
    // vain and says so.
    let address = {
        let listener = StdListener::bind("127.0.0.1:0").expect("a port");
        listener.local_addr().expect("bound").to_string()
    };
    let _generous = Generous::start(&rig.openssl_identity("generous", &ED25519), &address);
    let started = Instant::now();
    // It is there before all of it is written.
    let is_whole =
        || std::fs::read_to_string(path).is_ok_and(|text| text.contains("-----END SSL SESSION"));
    while !is_whole() {
        assert!(started.elapsed() < PATIENCE, "no session");
        let arguments = [&ALPN[..], &files.arguments(), &["-sess_out", path]].concat();
        let client = Client::start(&address, &arguments);
        for _ in 0..100 {
            tokio::time::sleep(Duration::from_millis(5)).await;
            if is_whole() {
                break;
            }
        }
        drop(client);
    }
}

#[tokio::test]
async fn openssl_gets_no_ticket() {
    let Some(rig) = Rig::new("openssl_gets_no_ticket").await else {
        return;
    };
    let files = rig.openssl_identity("alice", &ED25519);
    // From a server that gives one a session does come.
    let generous = rig.path("generous.session");
    session(&rig, &files, &generous).await;
    let ours = rig.path("our.session");
    let arguments = [&ALPN[..], &files.arguments(), &["-sess_out", &ours]].concat();
    let mut client = rig.client(&arguments);
    client
        .output_until(|output| String::from_utf8_lossy(output).contains("statements of the server"))
        .await;
    // Its end of input ends it, by then it has written what it got.
    drop(client.child.stdin.take());
    let (output, _) = client.ended().await;
    let report = String::from_utf8_lossy(&output);
    assert!(!report.contains("New Session Ticket"), "{report}");
    assert!(!Path::new(&ours).exists(), "a session was given");
}

#[tokio::test]
async fn openssl_resumes_nothing_and_its_early_data_is_not_taken() {
    let Some(rig) = Rig::new("openssl_resumes_nothing_and_its_early_data_is_not_taken").await
    else {
        return;
    };
    let files = rig.openssl_identity("alice", &ED25519);
    let path = rig.path("session");
    session(&rig, &files, &path).await;
    let early = rig.path("early");
    let hello = encode_hello(b"too early").expect("short");
    std::fs::write(&early, encoded(Kind::Hello, 0, &hello)).expect("a file");
    for (more, early_data) in [
        (&[][..], "Early data was not sent"),
        (&["-early_data", &early], "Early data was rejected"),
    ] {
        let resumption = ["-sess_in", &path];
        let arguments = [&ALPN[..], &files.arguments(), &resumption, more].concat();
        let client = rig.client(&arguments);
        let output = client
            .output_until(|output| {
                String::from_utf8_lossy(output).contains("statements of the server")
            })
            .await;
        let report = String::from_utf8_lossy(&output);
        assert!(report.contains("New, TLSv1.3"), "{report}");
        assert!(!report.contains("Reused"), "{report}");
        assert!(report.contains(early_data), "{report}");
        assert_eq!(shown_key_id(&output), rig.server_id);
    }
    assert_eq!(rig.recording.seen(), [], "the early hello was heard");
}
