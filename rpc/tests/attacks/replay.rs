//! Recordings played to fresh peers, and peers who hear themselves.

use std::any::Any;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use sealmoot_rpc::bytes::Bytes;
use sealmoot_rpc::channel::ChannelError;
use sealmoot_rpc::noise::{
    Acceptance, Answered, HandshakeError, HandshakeRandomness, Pattern, ReceiveError, Responder,
};
use sealmoot_rpc::{Authorizer, Candidate, Limits, Refusal, Router, Server};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
use tokio::net::{TcpListener, TcpStream};

use super::panics;
use super::proxy::Direction;
use super::session::{Carrier, End, Parties, Recording, Script, Side, converse, record};
use crate::common::{PATIENCE, TestService};

const CARRIERS: [fn() -> Carrier; 4] = [
    || Carrier::Tls,
    || Carrier::noise(Pattern::Xx),
    || Carrier::noise(Pattern::Ik),
    || Carrier::noise(Pattern::Kk),
];

async fn recorded(carrier: Carrier) -> (Recording, Script) {
    let script = Script::new(carrier);
    let recording = record(carrier, &Parties::new(), &script).await;
    (recording, script)
}

/// Plays `stream` to a fresh peer that is `parties`' in the receiving role, and
/// returns what its application saw and what it sent.
async fn play(
    carrier: Carrier,
    parties: &Parties,
    direction: Direction,
    stream: &[u8],
    script: &Script,
) -> (Side, Vec<u8>) {
    let (mut player, victim) = duplex(1 << 20);
    player.write_all(stream).await.expect("room");
    player.shutdown().await.expect("open");
    let side = match direction {
        Direction::ToServer => converse(carrier.accept(parties, victim), &script.to_client).await,
        Direction::ToClient => converse(carrier.connect(parties, victim), &script.to_server).await,
    };
    let mut answer = Vec::new();
    player.read_to_end(&mut answer).await.expect("memory");
    (side, answer)
}

#[tokio::test(start_paused = true)]
async fn a_recorded_direction_proves_nothing_to_a_fresh_peer_nor_after_a_restart() {
    panics::count();
    let mut refused = 0;
    for carrier in CARRIERS {
        let carrier = carrier();
        let (recording, script) = recorded(carrier).await;
        // The parties that made the recording are gone; these have their keys.
        let restarted = Parties::new();
        for direction in Direction::BOTH {
            let records = recording.to(direction);
            for count in 1..=records.len() {
                let stream = records[..count].concat();
                let (side, _) = play(carrier, &restarted, direction, &stream, &script).await;
                assert!(
                    matches!(side.end, End::Refused(_)),
                    "{carrier:?} {direction:?} {count} records: {:?}",
                    side.end
                );
                assert_eq!(side.received, b"");
                refused += 1;
            }
        }
    }
    eprintln!("attacks: replay: {refused} refused, 0 accepted");
    panics::assert_none();
}

/// The first frame of IK is authentic for ever. The responder answers it, and
/// believes nothing.
#[tokio::test(start_paused = true)]
async fn a_replayed_first_message_of_ik_names_nobody() {
    for pattern in [Pattern::Ik, Pattern::Kk] {
        let carrier = Carrier::noise(pattern);
        let (recording, _) = recorded(carrier).await;
        let parties = Parties::new();
        let acceptance = Carrier::acceptance(&parties);
        let responder = Responder::new(parties.server.static_key(), acceptance);
        for _ in 0..3 {
            let randomness = HandshakeRandomness::generate().expect("random source");
            let (answered, _) = responder
                .accept(&recording.to_server[0], randomness, Instant::now())
                .expect("the message is the client's own");
            let Answered::Established(mut transport) = answered else {
                panic!("two messages")
            };
            assert_eq!(transport.remote_static(), None);
            // The recorded introduction.
            let mut introduction = recording.to_server[1].clone();
            assert_eq!(
                transport.receive(&mut introduction),
                Err(ReceiveError::Decrypt)
            );
            assert_eq!(transport.remote_static(), None);
        }
    }
}

/// Admits everybody, and counts who asked.
struct Counting(AtomicUsize);

impl Authorizer for Counting {
    fn present(&self) -> Bytes {
        Bytes::from_static(b"server")
    }

    fn authorize(&self, _: &Candidate<'_>) -> Result<Arc<dyn Any + Send + Sync>, Refusal> {
        self.0.fetch_add(1, Ordering::SeqCst);
        Ok(Arc::new(()))
    }
}

#[tokio::test]
async fn a_replayed_session_reaches_neither_authorizer_nor_handler_of_a_restarted_server() {
    panics::count();
    let (tls, _) = recorded(Carrier::Tls).await;
    let (noise, _) = recorded(Carrier::noise(Pattern::Ik)).await;
    for _ in 0..2 {
        // The same keys each time, nothing else is kept.
        let authorizer = Arc::new(Counting(AtomicUsize::new(0)));
        let shared: Arc<dyn Authorizer> = Arc::clone(&authorizer) as _;
        let router = Router::new().service(TestService::default());
        let router = router.expect("no duplicates");
        let listener = || async { TcpListener::bind("127.0.0.1:0").await.expect("a port") };
        let server = Parties::new().server;
        let limits = Limits {
            // Nobody goes for having taken too long.
            handshake: 10 * PATIENCE,
            ..Limits::default()
        };
        let server = Server::builder(server, shared, router, limits)
            .tls(listener().await)
            .noise(listener().await, Acceptance::default())
            .start()
            .expect("sound configuration");
        for (address, recording) in server.local_addrs().iter().zip([&tls, &noise]) {
            let mut stream = TcpStream::connect(address).await.expect("a listener");
            let stream_of_client = recording.stream(Direction::ToServer);
            // The server may close in the middle of it.
            let _ = stream.write_all(&stream_of_client).await;
            let _ = stream.shutdown().await;
            let mut answer = Vec::new();
            let ended = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut answer)).await;
            assert!(ended.is_ok(), "the server does not close");
        }
        assert_eq!(authorizer.0.load(Ordering::SeqCst), 0);
        server.drain(PATIENCE).await;
    }
    panics::assert_none();
}

/// Sends back whatever comes.
async fn mirror(stream: DuplexStream) {
    let (mut reader, mut writer) = tokio::io::split(stream);
    let mut piece = vec![0; 4096];
    while let Ok(read) = reader.read(&mut piece).await {
        if read == 0 || writer.write_all(&piece[..read]).await.is_err() {
            break;
        }
    }
    let _ = writer.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn a_client_that_hears_itself_refuses() {
    panics::count();
    for carrier in CARRIERS {
        let carrier = carrier();
        let parties = Parties::new();
        let script = Script::new(carrier);
        let (near, far) = duplex(1 << 20);
        let (side, ()) = tokio::join!(
            converse(carrier.connect(&parties, near), &script.to_server),
            mirror(far),
        );
        let error = side.refusal().expect("refused");
        assert!(
            !matches!(error, ChannelError::Io(_)),
            "{carrier:?} must notice by itself: {error}"
        );
        assert_eq!(side.received, b"");
    }
    panics::assert_none();
}

/// A client's first flight, and from then on the server's own bytes: all of
/// them, or all but its first records.
#[tokio::test(start_paused = true)]
async fn a_server_that_hears_itself_refuses() {
    panics::count();
    let mut refused = 0;
    for carrier in CARRIERS {
        let carrier = carrier();
        let (recording, script) = recorded(carrier).await;
        let parties = Parties::new();
        for skipped in 0..3 {
            let (mut near, far) = duplex(1 << 20);
            let reflect = async {
                near.write_all(&recording.to_server[0]).await.expect("room");
                let mut own = vec![0; 4096];
                let read = near.read(&mut own).await.unwrap_or(0);
                let mut start = 0;
                for _ in 0..skipped {
                    let header = carrier.framing().header_bytes();
                    if start + header > read {
                        break;
                    }
                    let length = [own[start + header - 2], own[start + header - 1]];
                    start += header + usize::from(u16::from_be_bytes(length));
                }
                if start >= read {
                    // There is nothing left to reflect.
                    let _ = near.shutdown().await;
                    return;
                }
                let _ = near.write_all(&own[start..read]).await;
                mirror(near).await;
            };
            let (side, ()) = tokio::join!(
                converse(carrier.accept(&parties, far), &script.to_client),
                reflect,
            );
            assert!(
                matches!(side.end, End::Refused(_)),
                "{carrier:?}: {:?}",
                side.end
            );
            assert_eq!(side.received, b"");
            refused += 1;
        }
    }
    eprintln!("attacks: reflection of a server's stream: {refused} refused, 0 accepted");
    panics::assert_none();
}

/// One machine at both ends: even where every key fits, it does not talk to
/// itself.
#[tokio::test(start_paused = true)]
async fn one_identity_at_both_ends_of_noise_is_refused() {
    for pattern in [Pattern::Xx, Pattern::Ik, Pattern::Kk] {
        let carrier = Carrier::noise(pattern);
        let one = Parties::new().server;
        let parties = Parties {
            client: one.clone(),
            server: one,
        };
        let outcome = super::session::run(carrier, &parties, &Script::new(carrier), None).await;
        for side in [&outcome.client, &outcome.server] {
            assert!(matches!(side.end, End::Refused(_)), "{:?}", side.end);
        }
        let own = |side: &Side| {
            matches!(
                side.refusal(),
                Some(ChannelError::Noise(HandshakeError::OwnKey))
            )
        };
        assert!(own(&outcome.client) || own(&outcome.server), "{pattern:?}");
    }
}
