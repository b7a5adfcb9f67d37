//! Streams over every kind of channel, and what must end them.
#![cfg(unix)]

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use sealmoot_crypto::signature::SigningKey;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};

use super::*;
use crate::limits::Limits;
use crate::noise::{Acceptance, Options, Target};

const ORIGIN: Origin = Origin::Network(SocketAddr::new(
    std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST),
    1,
));

fn identity() -> Identity {
    Identity::new(&SigningKey::generate().expect("random source")).expect("a sound key")
}

async fn noise_pair(
    client: &Identity,
    server: &Identity,
    target: Target,
    limits: &Limits,
) -> (NoiseChannel<DuplexStream>, NoiseChannel<DuplexStream>) {
    let (near, far) = duplex(1 << 20);
    let (options, acceptance) = (Options::default(), Acceptance::default());
    let (near, far) = tokio::join!(
        NoiseChannel::connect(client, &target, &options, near, ORIGIN, limits),
        NoiseChannel::accept(server, &acceptance, far, ORIGIN, limits),
    );
    (near.expect("agreed"), far.expect("agreed"))
}

async fn tls_pair(
    client: &Identity,
    server: &Identity,
) -> (TlsChannel<DuplexStream>, TlsChannel<DuplexStream>) {
    let (near, far) = duplex(1 << 20);
    let limits = Limits::default();
    let (near, far) = tokio::join!(
        TlsChannel::connect(client, near, ORIGIN, &limits),
        TlsChannel::accept(server, far, ORIGIN, &limits),
    );
    (near.expect("agreed"), far.expect("agreed"))
}

async fn unix_pair(client: &Identity, server: &Identity) -> (UnixChannel, UnixChannel) {
    let (near, far) = tokio::net::UnixStream::pair().expect("sockets");
    let limits = Limits::default();
    let users = AllowedUsers::own();
    let (near, far) = tokio::join!(
        UnixChannel::connect(client, near, &users, &limits),
        UnixChannel::accept(server, far, &users, &limits),
    );
    (near.expect("agreed"), far.expect("agreed"))
}

/// Both ends of every kind.
async fn every_pair(
    client: &Identity,
    server: &Identity,
) -> Vec<(Box<dyn Channel>, Box<dyn Channel>)> {
    let responder = server.static_key().public();
    let settings = Limits::default();
    let ik = noise_pair(client, server, Target::Ik { responder }, &settings).await;
    let known = Target::Xx {
        responder: Some(responder),
    };
    let xx = noise_pair(client, server, known, &settings).await;
    let tls = tls_pair(client, server).await;
    let unix = unix_pair(client, server).await;
    let memory = MemoryChannel::pair(client, server).expect("random source");
    vec![
        (Box::new(ik.0), Box::new(ik.1)),
        (Box::new(xx.0), Box::new(xx.1)),
        (Box::new(tls.0), Box::new(tls.1)),
        (Box::new(unix.0), Box::new(unix.1)),
        (Box::new(memory.0), Box::new(memory.1)),
    ]
}

#[tokio::test]
async fn every_channel_names_its_peer_and_itself() {
    let (client, server) = (identity(), identity());
    let mut bindings = Vec::new();
    for (near, far) in every_pair(&client, &server).await {
        assert_eq!(near.peer_key(), server.key(), "{}", near.transport());
        assert_eq!(far.peer_key(), client.key(), "{}", far.transport());
        assert_eq!(near.binding(), far.binding());
        bindings.push(near.binding());
    }
    for (index, binding) in bindings.iter().enumerate() {
        assert!(!bindings[..index].contains(binding));
    }
}

#[tokio::test]
async fn bytes_arrive_whole_in_order_and_end_by_the_peers_word() {
    let (client, server) = (identity(), identity());
    for (mut near, mut far) in every_pair(&client, &server).await {
        let transport = near.transport();
        near.lift_byte_limit();
        far.lift_byte_limit();
        // No multiple of any record, and more than any buffer.
        let sent: Vec<u8> = (0..300_001_u32).map(|index| (index % 251) as u8).collect();
        let expected = sent.clone();
        let sender = async move {
            for piece in sent.chunks(70_003) {
                near.write_all(piece).await.expect("open");
            }
            near.shutdown().await.expect("open");
            // Half closed: the other direction goes on.
            let mut answer = Vec::new();
            near.read_to_end(&mut answer).await.expect("closed well");
            answer
        };
        let receiver = async move {
            let mut received = Vec::new();
            far.read_to_end(&mut received).await.expect("closed well");
            far.write_all(b"all of it").await.expect("open");
            far.shutdown().await.expect("open");
            received
        };
        let (answer, received) = tokio::join!(sender, receiver);
        assert!(received == expected, "{transport}");
        assert_eq!(answer, b"all of it", "{transport}");
    }
}

#[tokio::test]
async fn a_peer_that_is_not_authorized_yet_may_not_send_for_ever() {
    let (client, server) = (identity(), identity());
    for (mut near, mut far) in every_pair(&client, &server).await {
        if near.transport() == Transport::Memory {
            continue; // Nobody comes in there who is not of this process.
        }
        let bytes_max = Limits::default().unauthenticated_bytes_max;
        let sender = tokio::spawn(async move {
            let piece = vec![0; 16 * 1024];
            while near.write_all(&piece).await.is_ok() {}
        });
        let mut received = Vec::new();
        let ended = far.read_to_end(&mut received).await;
        assert_eq!(
            ended.expect_err("too many").to_string(),
            "too many bytes before authentication"
        );
        assert!(
            received.len() <= bytes_max + 2 * 65_535,
            "{}",
            received.len()
        );
        sender.abort();
    }
}

#[tokio::test]
async fn the_end_of_the_stream_without_a_close_is_an_error() {
    let (client, server) = (identity(), identity());
    for (mut near, mut far) in every_pair(&client, &server).await {
        if matches!(near.transport(), Transport::Unix | Transport::Memory) {
            continue; // They say so.
        }
        near.write_all(b"and then").await.expect("open");
        near.flush().await.expect("open");
        drop(near);
        let mut received = Vec::new();
        let ended = far.read_to_end(&mut received).await;
        assert_eq!(
            ended.expect_err("truncated").kind(),
            std::io::ErrorKind::UnexpectedEof
        );
        assert_eq!(received, b"and then");
    }
}

#[tokio::test]
async fn a_noise_stream_goes_on_through_many_keys() {
    let (client, server) = (identity(), identity());
    let responder = server.static_key().public();
    let settings = Limits {
        noise_rekey_bytes: 1_000,
        ..Limits::default()
    };
    let (mut near, mut far) =
        noise_pair(&client, &server, Target::Ik { responder }, &settings).await;
    for round in 0..100_u8 {
        near.write_all(&[round; 777]).await.expect("open");
        near.flush().await.expect("open");
        let mut received = [0; 777];
        far.read_exact(&mut received).await.expect("open");
        assert_eq!(received, [round; 777]);
    }
}

#[tokio::test]
async fn a_responder_with_another_key_is_refused_before_we_say_who_we_are() {
    let (client, server, other) = (identity(), identity(), identity());
    let (near, far) = duplex(1 << 20);
    let limits = Limits::default();
    let (options, acceptance) = (Options::default(), Acceptance::default());
    let target = Target::Ik {
        responder: other.static_key().public(),
    };
    let (near, far) = tokio::join!(
        NoiseChannel::connect(&client, &target, &options, near, ORIGIN, &limits),
        NoiseChannel::accept(&server, &acceptance, far, ORIGIN, &limits),
    );
    assert!(
        matches!(near, Err(ChannelError::NotAccepted(_))),
        "{near:?}"
    );
    assert!(
        matches!(
            far,
            Err(ChannelError::Noise(
                crate::noise::HandshakeError::FirstMessageTag
            ))
        ),
        "{far:?}"
    );
}

#[tokio::test]
async fn a_stolen_static_key_does_not_make_its_thief_the_server() {
    let (client, server) = (identity(), identity());
    let thief_key = SigningKey::generate().expect("random source");
    // The thief has the X25519 key, and not the Ed25519 key that is trusted.
    let thief = Identity::with_static_key(&thief_key, Arc::clone(server.static_key()))
        .expect("a sound key");
    let responder = server.static_key().public();
    let settings = Limits::default();
    let (near, _far) = noise_pair(&client, &thief, Target::Ik { responder }, &settings).await;
    assert_ne!(near.peer_key(), server.key());
    assert_eq!(near.peer_key(), thief.key());
}

#[tokio::test]
async fn a_process_of_another_user_is_refused_on_both_sides() {
    let (client, server) = (identity(), identity());
    let limits = Limits::default();
    let nobody = AllowedUsers::these([u32::MAX - 7]);
    let (near, far) = tokio::net::UnixStream::pair().expect("sockets");
    // Whoever is not refused would be waited for.
    let at_once = Duration::from_secs(60);
    let refused = UnixChannel::connect(&client, near, &nobody, &limits);
    let refused = tokio::time::timeout(at_once, refused)
        .await
        .expect("at once");
    assert!(
        matches!(refused, Err(ChannelError::WrongUser(_))),
        "{refused:?}"
    );
    let refused = UnixChannel::accept(&server, far, &nobody, &limits);
    let refused = tokio::time::timeout(at_once, refused)
        .await
        .expect("at once");
    assert!(
        matches!(refused, Err(ChannelError::WrongUser(_))),
        "{refused:?}"
    );
}

#[tokio::test]
async fn what_is_said_on_a_unix_socket_cannot_be_replayed_or_reflected() {
    let server = identity();
    let limits = Limits::default();
    let users = AllowedUsers::own();

    // A recording of a client, played to the same server again.
    let client = identity();
    let (near, mut proxy_near) = tokio::net::UnixStream::pair().expect("sockets");
    let (mut proxy_far, far) = tokio::net::UnixStream::pair().expect("sockets");
    let relay = async {
        let mut recorded = vec![0; UNIX_GREETING_BYTES];
        proxy_near
            .read_exact(&mut recorded)
            .await
            .expect("greeting");
        proxy_far.write_all(&recorded).await.expect("open");
        let mut answer = [0; UNIX_GREETING_BYTES + INTRODUCTION_BYTES];
        proxy_far.read_exact(&mut answer).await.expect("answer");
        proxy_near.write_all(&answer).await.expect("open");
        let mut introduction = [0; INTRODUCTION_BYTES];
        proxy_near.read_exact(&mut introduction).await.expect("key");
        proxy_far.write_all(&introduction).await.expect("open");
        recorded.extend_from_slice(&introduction);
        recorded
    };
    let (near, far, recorded) = tokio::join!(
        UnixChannel::connect(&client, near, &users, &limits),
        UnixChannel::accept(&server, far, &users, &limits),
        relay,
    );
    assert!(near.is_ok() && far.is_ok());

    let (mut replayer, far) = tokio::net::UnixStream::pair().expect("sockets");
    replayer.write_all(&recorded).await.expect("open");
    let replayed = UnixChannel::accept(&server, far, &users, &limits).await;
    let refused = |result: &Result<UnixChannel, ChannelError>, why| matches!(result, Err(ChannelError::Introduction(refused)) if *refused == why);
    assert!(
        refused(&replayed, IntroductionRefused::Signature),
        "{replayed:?}"
    );

    // The server's own bytes, sent back to it.
    let (mut mirror, far) = tokio::net::UnixStream::pair().expect("sockets");
    let reflect = async {
        let mut greeting = [0; UNIX_GREETING_BYTES];
        greeting[..4].copy_from_slice(b"SMU\x01");
        mirror.write_all(&greeting).await.expect("open");
        let mut answer = [0; UNIX_GREETING_BYTES + INTRODUCTION_BYTES];
        mirror.read_exact(&mut answer).await.expect("answer");
        mirror
            .write_all(&answer[UNIX_GREETING_BYTES..])
            .await
            .expect("open");
        mirror
    };
    let (reflected, _mirror) =
        tokio::join!(UnixChannel::accept(&server, far, &users, &limits), reflect);
    assert!(
        refused(&reflected, IntroductionRefused::Signature),
        "{reflected:?}"
    );
}

#[tokio::test]
async fn what_is_in_a_channel_is_not_shown_by_debug() {
    let (client, server) = (identity(), identity());
    let responder = server.static_key().public();
    let limits = Limits::default();
    let (mut near, mut far) = noise_pair(&client, &server, Target::Ik { responder }, &limits).await;
    near.write_all(b"a secret of some length")
        .await
        .expect("open");
    near.flush().await.expect("open");
    let mut part = [0; 3];
    far.read_exact(&mut part).await.expect("open");
    let (mut inside, other) = MemoryChannel::pair(&client, &server).expect("random source");
    inside
        .write_all(b"a secret of some length")
        .await
        .expect("open");
    for shown in [
        format!("{far:?}"),
        format!("{near:?}"),
        format!("{other:?}"),
    ] {
        // As text, or as the numbers of "secret".
        assert!(!shown.contains("secret"), "{shown}");
        assert!(!shown.contains("115, 101, 99, 114, 101, 116"), "{shown}");
        assert!(shown.contains("peer_key"), "{shown}");
    }
}

#[tokio::test]
async fn a_record_longer_than_a_streams_is_refused_by_its_length() {
    let (client, server) = (identity(), identity());
    let limits = Limits::default();
    let (near, far) = duplex(1 << 20);
    let target = Target::Ik {
        responder: server.static_key().public(),
    };
    let (options, acceptance) = (Options::default(), Acceptance::default());
    let hostile = async {
        let channel =
            NoiseChannel::connect(&client, &target, &options, near, ORIGIN, &limits).await;
        let mut stream = channel.expect("agreed").into_stream();
        let length = u16::try_from(crate::limits::noise::STREAM_RECORD_FRAME_BYTES_MAX - 1);
        let prefix = length.expect("short").to_be_bytes();
        stream.write_all(&prefix).await.expect("open");
        stream
    };
    let honest = async {
        let channel = NoiseChannel::accept(&server, &acceptance, far, ORIGIN, &limits).await;
        let mut channel = channel.expect("agreed");
        // The rest never comes.
        let heard = tokio::time::timeout(Duration::from_secs(60), channel.read_u8());
        heard.await.expect("at once").expect_err("too long")
    };
    let (_stream, error) = tokio::join!(hostile, honest);
    assert_eq!(error.kind(), std::io::ErrorKind::InvalidData);
    assert_eq!(error.to_string(), "a payload is longer than allowed");
}
