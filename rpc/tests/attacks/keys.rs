//! The wrong key, half of the right ones, the right key in the wrong role, and
//! a man in the middle with keys of his own.

use std::any::Any;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use sealmoot_crypto::digest::{MacKey, sha256};
use sealmoot_crypto::secret::SecretArray;
use sealmoot_crypto::signature::KeyId;
use sealmoot_rpc::bytes::Bytes;
use sealmoot_rpc::channel::{
    Channel, ChannelError, Identity, Introduction, IntroductionRefused, NoiseChannel, Role,
    TlsChannel, Transport,
};
use sealmoot_rpc::frame::{Frame, Kind};
use sealmoot_rpc::noise::{Acceptance, HandshakeError, Options, Pattern, Suite, Target};
use sealmoot_rpc::payload::encode_hello;
use sealmoot_rpc::{
    Authorizer, Candidate, ChannelBinding, Code, ConnectError, Connection, Connector, Limits,
    Refusal, Router, Server, ServerHandle,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

use super::hostile::Hostile;
use super::panics;
use super::proxy::{Attack, Direction, Manipulation};
use super::session::{Carrier, End, ORIGIN, Parties, Script, converse, identity, run, signing_key};
use crate::common::{ECHO, PATIENCE, TestService};

const SECRET: &[u8] = b"statements that only the true server may see";

/// Knows one peer, and counts what it is asked.
struct Only {
    peer: KeyId,
    asked: AtomicUsize,
    presented: AtomicUsize,
}

impl Only {
    fn new(peer: &Identity) -> Arc<Self> {
        Arc::new(Self {
            peer: peer.key_id(),
            asked: AtomicUsize::new(0),
            presented: AtomicUsize::new(0),
        })
    }
}

impl Authorizer for Only {
    fn present(&self) -> Bytes {
        self.presented.fetch_add(1, Ordering::SeqCst);
        Bytes::from_static(SECRET)
    }

    fn authorize(&self, candidate: &Candidate<'_>) -> Result<Arc<dyn Any + Send + Sync>, Refusal> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        if candidate.key_id == self.peer {
            Ok(Arc::new(crate::common::Presented(Bytes::new())))
        } else {
            Err(Refusal::new(Code::Unauthenticated, "another key"))
        }
    }
}

fn connector(client: &Identity, authorizer: &Arc<Only>) -> Connector {
    let authorizer: Arc<dyn Authorizer> = Arc::clone(authorizer) as _;
    Connector::with_identity(client.clone(), authorizer, Limits::default()).expect("sound")
}

async fn listener() -> (TcpListener, String) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("bound").to_string();
    (listener, address)
}

/// Speaks first, as servers do, and returns every byte that the client's
/// application then says.
async fn greet_and_listen(channel: Result<impl Channel, ChannelError>) -> Vec<u8> {
    let Ok(mut channel) = channel else {
        return Vec::new();
    };
    let mut hello = Vec::new();
    Frame {
        kind: Kind::Hello,
        flags: 0,
        code: 0,
        call: 0,
        payload: &encode_hello(b"trust me").expect("short"),
    }
    .encode(&mut hello);
    let _ = channel.write_all(&hello).await;
    let _ = channel.flush().await;
    let mut heard = Vec::new();
    let _ = tokio::time::timeout(PATIENCE, channel.read_to_end(&mut heard))
        .await
        .expect("the client goes away");
    heard
}

/// A server at an address, as whoever it likes.
async fn false_server(who: Identity, transport: Transport) -> (String, JoinHandle<Vec<u8>>) {
    let (listener, address) = listener().await;
    let task = tokio::spawn(async move {
        let (stream, _) = listener.accept().await.expect("a client");
        let limits = Limits::default();
        match transport {
            Transport::Tls => {
                greet_and_listen(TlsChannel::accept(&who, stream, ORIGIN, &limits).await).await
            }
            _ => {
                let acceptance = Acceptance {
                    untagged_xx: true,
                    ..Acceptance::default()
                };
                let opened = NoiseChannel::accept(&who, &acceptance, stream, ORIGIN, &limits).await;
                greet_and_listen(opened).await
            }
        }
    });
    (address, task)
}

async fn connect_noise(
    connector: &Connector,
    address: &str,
    target: Target,
) -> Result<Connection, ConnectError> {
    connector
        .connect_noise(address, &target, &Options::default(), PATIENCE)
        .await
}

#[tokio::test]
async fn a_tls_server_with_another_key_hears_nothing() {
    panics::count();
    let parties = Parties::new();
    let only = Only::new(&parties.server);
    let (address, server) = false_server(identity(9, 9), Transport::Tls).await;
    let refused = connector(&parties.client, &only)
        .connect(&address, PATIENCE)
        .await;
    assert!(
        matches!(refused, Err(ConnectError::Untrusted(_))),
        "{refused:?}"
    );
    assert_eq!(server.await.expect("no panic"), b"", "the client spoke");
    assert_eq!(only.presented.load(Ordering::SeqCst), 0);
    panics::assert_none();
}

#[tokio::test]
async fn a_noise_server_with_other_keys_hears_nothing() {
    panics::count();
    let parties = Parties::new();
    let only = Only::new(&parties.server);
    let (address, server) = false_server(identity(9, 9), Transport::Noise).await;
    // A client that does not know the X25519 key: all rests on the Ed25519 one.
    let target = Target::Xx { responder: None };
    let refused = connect_noise(&connector(&parties.client, &only), &address, target).await;
    assert!(
        matches!(refused, Err(ConnectError::Untrusted(_))),
        "{refused:?}"
    );
    assert_eq!(server.await.expect("no panic"), b"", "the client spoke");
    assert_eq!(only.presented.load(Ordering::SeqCst), 0);
    panics::assert_none();
}

#[tokio::test]
async fn a_noise_server_with_the_right_x25519_key_alone_hears_nothing() {
    panics::count();
    let parties = Parties::new();
    let only = Only::new(&parties.server);
    let responder = parties.server.static_key().public();
    let targets = [
        Target::Ik { responder },
        Target::Xx {
            responder: Some(responder),
        },
    ];
    for target in targets {
        let (address, server) = false_server(identity(9, 4), Transport::Noise).await;
        let refused = connect_noise(&connector(&parties.client, &only), &address, target).await;
        assert!(
            matches!(refused, Err(ConnectError::Untrusted(_))),
            "{refused:?}"
        );
        assert_eq!(server.await.expect("no panic"), b"", "the client spoke");
    }
    assert_eq!(only.presented.load(Ordering::SeqCst), 0);
    panics::assert_none();
}

#[tokio::test]
async fn a_noise_server_with_the_right_ed25519_key_alone_hears_nothing() {
    panics::count();
    let parties = Parties::new();
    let only = Only::new(&parties.server);
    let responder = parties.server.static_key().public();
    let targets = [
        Target::Ik { responder },
        Target::Xx {
            responder: Some(responder),
        },
    ];
    for target in targets {
        let (address, server) = false_server(identity(3, 9), Transport::Noise).await;
        let refused = connect_noise(&connector(&parties.client, &only), &address, target).await;
        assert!(is_not_accepted(&refused), "{refused:?}");
        assert_eq!(server.await.expect("no panic"), b"", "the client spoke");
    }
    assert_eq!(only.asked.load(Ordering::SeqCst), 0);
    panics::assert_none();
}

/// The tag that a first frame has for another responder's key.
fn retagged(responder: &Identity) -> Manipulation {
    let label = b"sealmoot noise first message 1";
    let public = responder.static_key().public();
    let key = sha256(&[&label[..], public.as_bytes()].concat());
    Manipulation::rewrite("another responder's tag", move |frame| {
        let key = MacKey::from_secret(&SecretArray::from_bytes(key));
        let offered = &frame[2..frame.len() - 16];
        let tag = key.tag(&[offered]);
        [&frame[..frame.len() - 16], &tag[..16]].concat()
    })
}

/// The tag keeps nobody away who knows how it is made.
#[tokio::test(start_paused = true)]
async fn another_responder_that_answers_xx_does_not_learn_who_asked() {
    let carrier = Carrier::noise(Pattern::Xx);
    let asked_for = Parties::new();
    let answering = identity(3, 9);
    let (near, proxy_near) = duplex(1 << 20);
    let (proxy_far, far) = duplex(1 << 20);
    let wire = super::proxy::Wire::default();
    let attack = Attack {
        direction: Direction::ToServer,
        index: 0,
        manipulation: retagged(&answering),
    };
    let false_parties = Parties {
        server: answering,
        ..Parties::new()
    };
    let (client, server, ()) = tokio::join!(
        converse(carrier.connect(&asked_for, near), &[]),
        converse(carrier.accept(&false_parties, far), &[]),
        super::proxy::relay(
            proxy_near,
            proxy_far,
            carrier.framing(),
            Some(attack),
            wire.clone()
        ),
    );
    assert!(
        matches!(
            client.refusal(),
            Some(ChannelError::Noise(HandshakeError::WrongStatic))
        ),
        "{:?}",
        client.end
    );
    assert!(matches!(server.end, End::Refused(_)), "{:?}", server.end);
    assert_eq!(wire.count(Direction::ToServer), 1, "a third message left");
    assert_eq!(wire.count(Direction::ToClient), 1);
}

/// The same for IK and KK, where nobody else can answer at all.
#[tokio::test(start_paused = true)]
async fn another_responder_cannot_answer_ik_or_kk() {
    for pattern in [Pattern::Ik, Pattern::Kk] {
        let carrier = Carrier::noise(pattern);
        let answering = identity(3, 9);
        let mut stream = duplex(1 << 20);
        let recording =
            super::session::record(carrier, &Parties::new(), &Script::new(carrier)).await;
        let Manipulation::Rewrite(_, retag) = retagged(&answering) else {
            unreachable!("made above")
        };
        stream
            .0
            .write_all(&retag(&recording.to_server[0]))
            .await
            .expect("room");
        let parties = Parties {
            server: answering,
            ..Parties::new()
        };
        let side = converse(carrier.accept(&parties, stream.1), &[]).await;
        assert!(
            matches!(
                side.refusal(),
                Some(ChannelError::Noise(HandshakeError::Decrypt))
            ),
            "{:?}",
            side.end
        );
    }
}

async fn serve(server: &Identity, only: &Arc<Only>, client: &Identity) -> ServerHandle {
    let shared: Arc<dyn Authorizer> = Arc::clone(only) as _;
    let router = Router::new()
        .service(TestService::default())
        .expect("no duplicates");
    let acceptance = Acceptance {
        suites: [Pattern::Xx, Pattern::Ik, Pattern::Kk]
            .map(Suite::new)
            .to_vec(),
        kk_initiator: Some(client.static_key().public()),
        ..Acceptance::default()
    };
    Server::builder(server.clone(), shared, router, Limits::default())
        .tls(listener().await.0)
        .noise(listener().await.0, acceptance)
        .start()
        .expect("sound configuration")
}

/// Whoever it is, over each transport and pattern that it can try.
async fn try_everything(
    server: &ServerHandle,
    who: &Identity,
) -> Vec<Result<Connection, ConnectError>> {
    let parties = Parties::new();
    let trusting = Only::new(&parties.server);
    let connector = connector(who, &trusting);
    let [tls, noise] = server.local_addrs() else {
        panic!("two listeners");
    };
    let responder = parties.server.static_key().public();
    let mut all = vec![connector.connect(&tls.to_string(), PATIENCE).await];
    let known = Some(responder);
    for target in [
        Target::Xx { responder: known },
        Target::Ik { responder },
        Target::Kk { responder },
    ] {
        all.push(connect_noise(&connector, &noise.to_string(), target).await);
    }
    all
}

#[tokio::test]
async fn a_client_with_another_key_calls_nothing() {
    panics::count();
    let parties = Parties::new();
    let only = Only::new(&parties.client);
    let server = serve(&parties.server, &only, &parties.client).await;
    // A stranger; the thief of the client's X25519 key; the holder of its
    // Ed25519 key, who is the client, with a new X25519 key; the client.
    for (signing, agreement, admitted) in [
        (9, 9, [false, false, false, false]),
        (9, 2, [false, false, false, false]),
        (1, 9, [true, true, true, false]),
        (1, 2, [true, true, true, true]),
    ] {
        let attempts = try_everything(&server, &identity(signing, agreement)).await;
        for (number, (attempt, admitted)) in attempts.into_iter().zip(admitted).enumerate() {
            match attempt {
                Ok(connection) if admitted => {
                    let reply = connection.call(ECHO, &b"me"[..], PATIENCE).await;
                    assert_eq!(reply.expect("an answer"), &b"me"[..]);
                }
                Err(ConnectError::Refused(refusal)) if !admitted => {
                    assert_eq!(refusal.code, Code::Unauthenticated);
                }
                // KK's responder expects one X25519 key and says nothing to
                // another.
                attempt if !admitted && number == 3 => {
                    assert!(
                        is_not_accepted(&attempt),
                        "{signing}/{agreement}: {attempt:?}"
                    );
                }
                other => panic!("{signing}/{agreement}, attempt {number}: {other:?}"),
            }
        }
    }
    panics::assert_none();
}

#[tokio::test]
async fn the_clients_key_does_not_make_a_server() {
    panics::count();
    let parties = Parties::new();
    let only = Only::new(&parties.server);
    for transport in [Transport::Tls, Transport::Noise] {
        // Another client, admitted wherever it connects, with all its keys.
        let (address, server) = false_server(identity(7, 8), transport).await;
        let connector = connector(&parties.client, &only);
        let refused = match transport {
            Transport::Tls => connector.connect(&address, PATIENCE).await,
            _ => connect_noise(&connector, &address, Target::Xx { responder: None }).await,
        };
        assert!(
            matches!(refused, Err(ConnectError::Untrusted(_))),
            "{refused:?}"
        );
        assert_eq!(server.await.expect("no panic"), b"", "the client spoke");
    }
    panics::assert_none();
}

#[tokio::test]
async fn the_servers_key_does_not_make_a_client() {
    panics::count();
    let parties = Parties::new();
    let only = Only::new(&parties.client);
    let server = serve(&parties.server, &only, &parties.client).await;
    // Itself, and another server of the same kind.
    for who in [parties.server.clone(), identity(5, 6)] {
        for attempt in try_everything(&server, &who).await {
            assert!(attempt.is_err(), "{attempt:?}");
        }
    }
    panics::assert_none();
}

/// What the accepting side of IK makes of an introduction that the far end,
/// who holds every key of the client, makes from the channel's binding.
async fn introduced_as_client(
    introduction: impl FnOnce(&ChannelBinding) -> Vec<u8>,
) -> Option<ChannelError> {
    let parties = Parties::new();
    let (near, far) = duplex(1 << 20);
    let target = Target::Ik {
        responder: parties.server.static_key().public(),
    };
    let attack = async {
        let key = parties.client.static_key();
        let mut hostile = Hostile::initiate(key, &target, near).await.expect("agreed");
        hostile.hear_introduction().await.expect("the server's");
        let binding = hostile.transport.channel_binding();
        hostile.say(&introduction(&binding)).await;
        hostile.say(b"a call").await;
    };
    let acceptance = Acceptance::default();
    let limits = Limits::default();
    let (opened, ()) = tokio::join!(
        NoiseChannel::accept(&parties.server, &acceptance, far, ORIGIN, &limits),
        attack,
    );
    opened.err()
}

/// The same with the connecting side, which must not have introduced itself.
async fn introduced_as_server(
    introduction: impl FnOnce(&ChannelBinding) -> Vec<u8>,
) -> Option<ChannelError> {
    let parties = Parties::new();
    let (near, far) = duplex(1 << 20);
    let target = Target::Ik {
        responder: parties.server.static_key().public(),
    };
    let attack = async {
        let key = parties.server.static_key();
        let acceptance = Acceptance::default();
        let mut hostile = Hostile::respond(key, acceptance, far)
            .await
            .expect("agreed");
        let binding = hostile.transport.channel_binding();
        hostile.say(&introduction(&binding)).await;
        hostile.hear().await
    };
    let options = Options::default();
    let limits = Limits::default();
    let client = async {
        let opened =
            NoiseChannel::connect(&parties.client, &target, &options, near, ORIGIN, &limits);
        opened.await.err()
    };
    let (error, heard) = tokio::join!(client, attack);
    if error.is_some() {
        assert_eq!(heard, None, "the client introduced itself");
    }
    error
}

fn is_refused(error: Option<ChannelError>, why: IntroductionRefused) {
    assert!(
        matches!(error, Some(ChannelError::Introduction(refused)) if refused == why),
        "{error:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn an_introduction_is_for_one_role_transport_and_channel() {
    let make = |seed, transport, role| {
        move |binding: &ChannelBinding| {
            Introduction::make(&signing_key(seed), transport, role, binding).to_vec()
        }
    };
    let (noise, signature) = (Transport::Noise, IntroductionRefused::Signature);
    // What honest peers say, so that the refusals mean something.
    assert!(
        introduced_as_client(make(1, noise, Role::Client))
            .await
            .is_none()
    );
    assert!(
        introduced_as_server(make(3, noise, Role::Server))
            .await
            .is_none()
    );

    is_refused(
        introduced_as_client(make(1, noise, Role::Server)).await,
        signature,
    );
    is_refused(
        introduced_as_server(make(3, noise, Role::Client)).await,
        signature,
    );
    for other in [Transport::Tls, Transport::Unix, Transport::Memory] {
        is_refused(
            introduced_as_client(make(1, other, Role::Client)).await,
            signature,
        );
        is_refused(
            introduced_as_server(make(3, other, Role::Server)).await,
            signature,
        );
    }
    let elsewhere = |seed, role| {
        move |_: &ChannelBinding| {
            let binding = ChannelBinding::from_bytes([7; 32]);
            Introduction::make(&signing_key(seed), noise, role, &binding).to_vec()
        }
    };
    is_refused(
        introduced_as_client(elsewhere(1, Role::Client)).await,
        signature,
    );
    is_refused(
        introduced_as_server(elsewhere(3, Role::Server)).await,
        signature,
    );
    // One key's bytes beside another key's signature.
    let stolen_name = |own: u8, named: u8, role| {
        move |binding: &ChannelBinding| {
            let mut bytes = Introduction::make(&signing_key(own), noise, role, binding);
            bytes[1..33].copy_from_slice(&signing_key(named).verifying_key().to_bytes());
            bytes.to_vec()
        }
    };
    is_refused(
        introduced_as_client(stolen_name(9, 1, Role::Client)).await,
        signature,
    );
    is_refused(
        introduced_as_server(stolen_name(9, 3, Role::Server)).await,
        signature,
    );
}

/// He has a channel of his own with each, and passes on what each says of
/// itself.
#[tokio::test(start_paused = true)]
async fn a_man_in_the_middle_cannot_pass_introductions_on() {
    let parties = Parties::new();
    let middle = identity(9, 9);
    let limits = Limits::default();
    let (near, middle_near) = duplex(1 << 20);
    let (middle_far, far) = duplex(1 << 20);
    // Neither knows the other's X25519 key: the best case for him.
    let acceptance = Acceptance {
        untagged_xx: true,
        ..Acceptance::default()
    };
    let target = Target::Xx { responder: None };
    let options = Options::default();
    let attack = async {
        let key = middle.static_key();
        let (as_server, as_client) = tokio::join!(
            Hostile::respond(key, acceptance.clone(), middle_near),
            Hostile::initiate(key, &target, middle_far),
        );
        let (mut as_server, mut as_client) = (as_server.expect("open"), as_client.expect("open"));
        assert_ne!(
            as_server.transport.channel_binding(),
            as_client.transport.channel_binding()
        );
        let servers = as_client.hear_introduction().await.expect("the server's");
        as_server.say(&servers).await;
        assert_eq!(as_server.hear().await, None, "the client introduced itself");
    };
    let client = async {
        let (client, limits) = (&parties.client, &limits);
        let opened = NoiseChannel::connect(client, &target, &options, near, ORIGIN, limits);
        opened.await.err()
    };
    let server = async {
        let opened = NoiseChannel::accept(&parties.server, &acceptance, far, ORIGIN, &limits);
        opened.await.err()
    };
    let (client, server, ()) = tokio::join!(client, server, attack);
    is_refused(client, IntroductionRefused::Signature);
    assert!(server.is_some());
}

/// The client trusts him, as one server among others; to the server he cannot
/// be that client.
#[tokio::test(start_paused = true)]
async fn a_trusted_server_cannot_pass_as_its_client_elsewhere() {
    let parties = Parties::new();
    let middle = identity(9, 9);
    let limits = Limits::default();
    let (near, middle_near) = duplex(1 << 20);
    let (middle_far, far) = duplex(1 << 20);
    let acceptance = Acceptance {
        untagged_xx: true,
        ..Acceptance::default()
    };
    let target = Target::Xx { responder: None };
    let options = Options::default();
    let attack = async {
        let key = middle.static_key();
        let (as_server, as_client) = tokio::join!(
            Hostile::respond(key, acceptance.clone(), middle_near),
            Hostile::initiate(key, &target, middle_far),
        );
        let (mut as_server, mut as_client) = (as_server.expect("open"), as_client.expect("open"));
        let binding = as_server.transport.channel_binding();
        let own = Introduction::make(&signing_key(9), Transport::Noise, Role::Server, &binding);
        as_server.say(&own).await;
        let clients = as_server.hear_introduction().await.expect("the client's");
        as_client.hear_introduction().await.expect("the server's");
        as_client.say(&clients).await;
        as_client.say(b"a call").await;
    };
    let server = async {
        let opened = NoiseChannel::accept(&parties.server, &acceptance, far, ORIGIN, &limits);
        opened.await.err()
    };
    let client = async {
        let (client, limits) = (&parties.client, &limits);
        let opened = NoiseChannel::connect(client, &target, &options, near, ORIGIN, limits);
        // He is who he is: whether that is enough, an authorizer says.
        opened.await.expect("his own key").peer_key()
    };
    let (server, heard, ()) = tokio::join!(server, client, attack);
    is_refused(server, IntroductionRefused::Signature);
    assert_eq!(heard, middle.key());
}

/// A TLS channel with each side, and everything passed on.
#[tokio::test]
async fn a_man_in_the_middle_of_tls_is_refused_by_both() {
    panics::count();
    let parties = Parties::new();
    let server_only = Only::new(&parties.client);
    let server = serve(&parties.server, &server_only, &parties.client).await;
    let (listener, address) = listener().await;
    let tls = server.local_addrs()[0];
    let middle = identity(9, 9);
    let task = tokio::spawn(async move {
        let limits = Limits::default();
        let (near, _) = listener.accept().await.expect("a client");
        let far = TcpStream::connect(tls).await.expect("a listener");
        let mut near = TlsChannel::accept(&middle, near, ORIGIN, &limits)
            .await
            .expect("any key opens");
        let mut far = TlsChannel::connect(&middle, far, ORIGIN, &limits)
            .await
            .expect("any key opens");
        assert_ne!(near.binding(), far.binding());
        // The server's hello, word for word.
        let mut hello = vec![0; 4096];
        let read = far.read(&mut hello).await.expect("a hello");
        near.write_all(&hello[..read]).await.expect("open");
        near.flush().await.expect("open");
        let mut heard = Vec::new();
        let _ = near.read_to_end(&mut heard).await;
        heard
    });
    let only = Only::new(&parties.server);
    let refused = connector(&parties.client, &only)
        .connect(&address, PATIENCE)
        .await;
    assert!(
        matches!(refused, Err(ConnectError::Untrusted(_))),
        "{refused:?}"
    );
    assert_eq!(task.await.expect("no panic"), b"", "the client spoke");
    assert_eq!(server_only.asked.load(Ordering::SeqCst), 0);
    // And with a hello of his own, the server tells him that he is not the
    // client.
    let direct = try_everything(&server, &identity(9, 9)).await;
    assert!(direct.iter().all(Result::is_err));
    panics::assert_none();
}

/// The proxy alone changes nothing, over every pattern, between these keys.
#[tokio::test(start_paused = true)]
async fn the_right_keys_are_let_through_by_all_this() {
    for pattern in [Pattern::Xx, Pattern::Ik, Pattern::Kk] {
        let carrier = Carrier::noise(pattern);
        let script = Script::new(carrier);
        let outcome = run(carrier, &Parties::new(), &script, None).await;
        assert!(outcome.is_whole(&script));
    }
}

/// The server hung up at our first Noise message.
fn is_not_accepted(attempt: &Result<Connection, ConnectError>) -> bool {
    matches!(
        attempt,
        Err(ConnectError::Channel {
            source: ChannelError::NotAccepted(_),
            ..
        })
    )
}
