//! A crowd of strangers costs their own connections, and nobody else's. What it
//! costs in memory and time is measured by the binary `siege`.
#![allow(missing_docs)]

mod common;

use std::any::Any;
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use common::{Anyone, PATIENCE, assert_serves, connect, serve, serve_as};
use sealmoot_rpc::bytes::Bytes;
use sealmoot_rpc::{Authorizer, Candidate, Limits, Peer, Refusal};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

/// The beginning of a ClientHello; more of it than ever arrives.
const BEGINNING: [u8; 6] = [22, 3, 1, 2, 0, 1];

async fn connect_from(host: u8, server: &sealmoot_rpc::ServerHandle) -> io::Result<TcpStream> {
    let socket = TcpSocket::new_v4()?;
    socket.bind(([127, 18, 0, host], 0).into())?;
    socket.connect(server.local_addr()).await
}

async fn ends(stream: &mut TcpStream) {
    let mut scrap = Vec::new();
    // A reset is an end, too.
    let _ = timeout(PATIENCE, stream.read_to_end(&mut scrap))
        .await
        .expect("the server ends it");
}

#[tokio::test]
async fn a_hundred_that_drip_are_closed_while_the_honest_are_served() {
    // Enough for the honest, too, on a busy machine.
    const HANDSHAKE: Duration = Duration::from_secs(6);
    let (server, _) = serve(Limits {
        handshake: HANDSHAKE,
        ..Limits::default()
    })
    .await;
    let connection = connect(&server).await;
    let started = Instant::now();
    let mut crowd = JoinSet::new();
    for host in 1..=100 {
        let mut stream = connect_from(host, &server).await.expect("accepting");
        crowd.spawn(async move {
            // At this pace its record would be whole after minutes.
            let head = [22, 3, 1, 0x3f, 0, 1, 0, 0x3e, 0xfc];
            for byte in head.into_iter().chain(std::iter::repeat(7)) {
                if stream.write_all(&[byte]).await.is_err() {
                    return;
                }
                let mut answer = [0; 64];
                let heard = timeout(Duration::from_millis(50), stream.read(&mut answer));
                if let Ok(Ok(0) | Err(_)) = heard.await {
                    return;
                }
            }
        });
    }
    let mut served = 0;
    while !crowd.is_empty() {
        let elapsed = started.elapsed();
        assert!(elapsed < 10 * HANDSHAKE, "{} are left", crowd.len());
        while crowd.try_join_next().is_some() {}
        let reply = connection.call(common::ECHO, &b"still there?"[..], PATIENCE);
        assert_eq!(reply.await.expect("an answer"), &b"still there?"[..]);
        assert_serves(&server).await;
        served += 1;
        sleep(Duration::from_millis(50)).await;
    }
    assert!(served > 1, "nobody was served meanwhile");
}

#[tokio::test]
async fn a_crowd_that_fills_the_door_does_not_keep_others_out() {
    let (server, _) = serve(Limits {
        unauthenticated_max: 8,
        unauthenticated_per_source_max: 4,
        // Nobody goes for having taken too long.
        handshake: 10 * PATIENCE,
        ..Limits::default()
    })
    .await;
    let mut crowd = Vec::new();
    for host in [1, 1, 1, 1, 2, 2, 2, 3] {
        crowd.push(connect_from(host, &server).await.expect("accepting"));
    }
    for _ in 0..3 {
        assert_serves(&server).await;
    }
    // The oldest of the largest source made room.
    ends(&mut crowd[0]).await;
    let last = timeout(Duration::from_millis(50), crowd[7].read_u8()).await;
    assert!(last.is_err(), "it was one of few and is still there");
}

/// Lets everybody in, but only to log in.
struct Doorkeeper;

impl Authorizer for Doorkeeper {
    fn present(&self) -> Bytes {
        Bytes::from_static(b"server")
    }

    fn authorize(&self, _: &Candidate<'_>) -> Result<Arc<dyn Any + Send + Sync>, Refusal> {
        Ok(Arc::new(()))
    }

    fn limits(&self, _: &Peer) -> Option<Limits> {
        Some(Limits::default())
    }
}

/// Somebody from where a client has been, and the crowd that came afterwards and
/// needs its place or another.
async fn crowded(authorizer: impl Authorizer) -> (TcpStream, TcpStream, impl Sized) {
    let limits = Limits {
        unauthenticated_max: 4,
        // Nobody goes for having taken too long.
        handshake: 10 * PATIENCE,
        ..Limits::default()
    };
    let (server, _) = serve_as(authorizer, limits).await;
    assert_serves(&server).await;
    let again = TcpStream::connect(server.local_addr()).await;
    let mut crowd = Vec::new();
    for host in 2..6 {
        crowd.push(connect_from(host, &server).await.expect("accepting"));
    }
    let first = crowd.remove(0);
    (again.expect("accepting"), first, (crowd, server))
}

#[tokio::test]
async fn a_crowd_drives_out_itself_before_those_who_come_back() {
    let (mut again, mut first, _others) = crowded(Anyone(b"server")).await;
    ends(&mut first).await;
    let still = timeout(Duration::from_millis(50), again.read_u8()).await;
    assert!(still.is_err(), "its source is known and it is still there");
}

#[tokio::test]
async fn whoever_was_here_only_to_log_in_comes_back_as_a_stranger() {
    let (mut again, _first, _others) = crowded(Doorkeeper).await;
    ends(&mut again).await;
}

#[tokio::test]
async fn whoever_holds_most_goes_when_strangers_hold_too_much() {
    let (server, _) = serve(Limits {
        unauthenticated_bytes_all_max: 40_000,
        // Nobody goes for having taken too long.
        handshake: 10 * PATIENCE,
        ..Limits::default()
    })
    .await;
    let mut light = connect_from(1, &server).await.expect("accepting");
    light.write_all(&BEGINNING).await.expect("open");
    let mut heavy = Vec::new();
    for host in 2..8 {
        let mut stream = connect_from(host, &server).await.expect("accepting");
        // A ClientHello of 16,000 bytes, all but its end, in one record.
        let mut bytes = vec![22, 3, 1, 0x3e, 0x84, 1, 0, 0x3e, 0x80];
        bytes.resize(15_000, 0);
        stream.write_all(&bytes).await.expect("open");
        heavy.push(stream);
    }
    // Only two of the six fit beside what an honest client sends.
    let mut ended = [false; 6];
    let four_ended = async {
        loop {
            let enough = ended.iter().filter(|it| **it).count() >= 4;
            for (stream, ended) in heavy.iter_mut().zip(&mut ended) {
                let read = timeout(Duration::from_millis(50), stream.read(&mut [0])).await;
                *ended |= matches!(read, Ok(Ok(0) | Err(_)));
            }
            // One more look behind the fourth, for those that should have stayed.
            if enough {
                return;
            }
        }
    };
    let in_time = timeout(PATIENCE, four_ended).await;
    in_time.expect("four of the six are closed");
    assert!(ended.contains(&false), "all were closed");
    assert_serves(&server).await;
    let still = timeout(Duration::from_millis(50), light.read_u8()).await;
    assert!(still.is_err(), "it held next to nothing");
}

#[tokio::test]
async fn handshakes_in_turns_all_succeed() {
    let (server, _) = serve(Limits {
        // Little: whoever comes has to wait for a turn.
        unauthenticated_processor_percent: 20,
        handshake: PATIENCE,
        ..Limits::default()
    })
    .await;
    let address = server.local_addr().to_string();
    let mut clients = JoinSet::new();
    for _ in 0..60 {
        let address = address.clone();
        clients.spawn(async move {
            let limits = Limits {
                handshake: PATIENCE,
                ..Limits::default()
            };
            let connector = common::connector(limits);
            connector.connect(&address, PATIENCE).await.map(|_| ())
        });
    }
    while let Some(connected) = clients.join_next().await {
        connected.expect("no panic").expect("admitted");
    }
}
