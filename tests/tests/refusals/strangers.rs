//! Whatever else comes to a node's port.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use sealmoot_tests::cluster::Cluster;
use sealmoot_tests::poll::eventually;
use sealmoot_tests::random::Random;

use crate::assert_serves;

/// How long any stranger may be kept waiting for the end.
const CLOSED_WITHIN: Duration = Duration::from_secs(60);

/// Sends `bytes` and reads to the end, which must come; what was read.
fn send(cluster: &Cluster, index: usize, bytes: &[u8]) -> Vec<u8> {
    let mut stream = TcpStream::connect(cluster.ports.address(index)).expect("it listens");
    stream
        .set_read_timeout(Some(CLOSED_WITHIN))
        .expect("a limit");
    // The node may have closed before it has all of it.
    let _ = stream.write_all(bytes);
    let _ = stream.shutdown(Shutdown::Write);
    let mut answer = Vec::new();
    if let Err(error) = stream.read_to_end(&mut answer) {
        let closed = error.kind() == std::io::ErrorKind::ConnectionReset;
        assert!(closed, "not closed: {error}");
    }
    answer
}

#[test]
fn garbage_and_other_protocols_are_turned_away() {
    let cluster = Cluster::shared();
    let mut random = Random::of_test("strangers");
    let http = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n".to_vec();
    let ssh = b"SSH-2.0-OpenSSH_9.2\r\n".to_vec();
    // A record of TLS that promises more than any may hold.
    let long_record = [&[0x16, 3, 1, 0xff, 0xff][..], &[1; 70_000]].concat();
    // A handshake message of 16 MiB, in pieces that never end.
    let endless_hello = [0x16, 3, 1, 0x40, 0, 1, 0xff, 0xff, 0xff].repeat(20_000);
    let mut visits = vec![Vec::new(), vec![0], http, ssh, long_record, endless_hello];
    visits.extend((0..30).map(|step| random.bytes(1 << (step % 15))));
    for (number, visit) in visits.iter().enumerate() {
        let answer = send(&cluster, number % 3, visit);
        // At most an alert, in the clear: nothing of what the node is.
        assert!(answer.len() < 64, "{answer:?}");
        assert!(answer.is_empty() || answer[0] == 0x15, "{answer:?}");
    }
    assert_serves(&cluster, "strangers/garbage");
}

#[test]
fn tls_1_2_is_refused_by_name() {
    let cluster = Cluster::shared();
    if Command::new("openssl")
        .arg("version")
        .stdout(Stdio::null())
        .status()
        .is_err()
    {
        eprintln!("SKIPPED tls_1_2_is_refused_by_name: there is no openssl");
        return;
    }
    for index in 0..3 {
        for version in ["-tls1_2", "-tls1_1"] {
            let output = Command::new("openssl")
                .args([
                    "s_client",
                    version,
                    "-connect",
                    &cluster.ports.address(index),
                ])
                .args(["-cipher", "ALL:@SECLEVEL=0"])
                .stdin(Stdio::null())
                .output()
                .expect("openssl runs");
            let told = [output.stdout, output.stderr].concat();
            let told = String::from_utf8_lossy(&told);
            assert!(!output.status.success(), "{told}");
            // Nobody offers 1.1 alone any more; that any alert ends it is enough.
            let named = told.contains("protocol version")
                || version == "-tls1_1" && told.contains("alert handshake failure");
            assert!(named, "it was not the version that was refused: {told}");
            assert!(!told.contains("BEGIN CERTIFICATE"), "{told}");
        }
    }
    // TLS 1.3 without the key that a node asks for. The client has finished its
    // part when it is refused, so it is told to wait for the node's word.
    let output = Command::new("openssl")
        .args(["s_client", "-tls1_3", "-alpn", "sealmoot/1", "-ign_eof"])
        .args(["-connect", &cluster.ports.address(0)])
        .stdin(Stdio::null())
        .output()
        .expect("openssl runs");
    assert!(!output.status.success(), "{output:?}");
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(told.contains("certificate required"), "{told}");
    assert_serves(&cluster, "strangers/tls");
}

#[test]
fn two_hundred_idle_connections_disturb_nobody() {
    let cluster = Cluster::form();
    let started = Instant::now();
    cluster.kv("put strangers/idle0 before").succeeded();
    let undisturbed = started.elapsed();
    let mut idle: Vec<TcpStream> = (0..200)
        .map(|_| TcpStream::connect(cluster.ports.address(0)).expect("it listens"))
        .collect();
    // Half of them begin and never go on.
    for stream in idle.iter_mut().step_by(2) {
        let _ = stream.write_all(&[0x16, 3, 1]);
    }
    // The node that they crowd, through the others; and those others.
    cluster.kv("put strangers/idle meanwhile").succeeded();
    assert_eq!(
        cluster.kv("get strangers/idle").succeeded().stdout,
        b"meanwhile"
    );
    let started = Instant::now();
    cluster.kv("put strangers/idle2 meanwhile").succeeded();
    assert!(
        started.elapsed() < Duration::from_secs(5) + 10 * undisturbed,
        "{:?}, and {undisturbed:?} before",
        started.elapsed()
    );

    // In the end the node closes what proves nothing.
    for mut stream in idle {
        stream
            .set_read_timeout(Some(CLOSED_WITHIN))
            .expect("a limit");
        let mut rest = [0; 64];
        loop {
            match stream.read(&mut rest) {
                Ok(0) => break,
                Ok(_) => {}
                Err(error) => {
                    assert_eq!(
                        error.kind(),
                        std::io::ErrorKind::ConnectionReset,
                        "still open"
                    );
                    break;
                }
            }
        }
    }
    eventually("every node serves", Duration::from_secs(60), || {
        let get = format!(
            "get strangers/idle --endpoints {}",
            cluster.ports.address(0)
        );
        (cluster.kv(&get).exit == 0).then_some(())
    });
    assert_serves(&cluster, "strangers/idle");
}

#[test]
fn a_byte_now_and_then_does_not_hold_a_connection() {
    let cluster = Cluster::shared();
    let mut stream = TcpStream::connect(cluster.ports.address(1)).expect("it listens");
    stream
        .set_read_timeout(Some(Duration::from_millis(500)))
        .expect("a limit");
    let hello = [0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3];
    let mut bytes = hello.iter().copied().chain(std::iter::repeat(0));
    eventually("the node closes", CLOSED_WITHIN, || {
        let byte = bytes.next().expect("there is no end");
        let written = stream.write_all(&[byte]);
        let read = stream.read(&mut [0; 64]);
        let waits = |kind| {
            matches!(
                kind,
                std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut
            )
        };
        let closed = written.is_err()
            || read.map_or_else(|error| !waits(error.kind()), |length| length == 0);
        closed.then_some(())
    });
    assert_serves(&cluster, "strangers/slow");
}
