//! Passwords that were imported, and what tells users from those who do not exist.

use super::*;
use crate::proto::LogInAgain;
use crate::roots::Roots;

/// A world in which bob has a password `pw` that was imported and is to be changed, and
/// nobody has another kind: those who do not exist seem to have one like bob's.
pub(super) fn with_imported_password() -> (World, Stretching) {
    let world = World::new();
    let stretching = Stretching::imported(CHEAP, &[7; 20], 24).expect("admitted");
    let realm = world.fixture.realm();
    let user_key = key();
    let hash = stretching.password(b"pw").expect("computed");
    let (password, export_key) = crate::opaque::register(
        &world.secrets,
        &realm,
        &name("bob"),
        hash.expose(),
        stretching,
    )
    .expect("registered");
    let sealed_key = crate::user_key::seal(&export_key, &realm, &name("bob"), &user_key);
    let user = User {
        name: name("bob"),
        version: 1,
        enabled: true,
        deleted: false,
        roles: Vec::new(),
        user_key: Some(user_key.verifying_key()),
        keys: Vec::new(),
        second_factor: None,
    };
    let credential = Credential {
        name: name("bob"),
        user_key: user_key.verifying_key(),
        must_change: true,
        stretching,
        password,
        sealed_key: sealed_key.expect("sealed"),
    };
    let root = &world.fixture.root;
    let record = UserRecord::new(
        Verified::issue(&realm, root, 1, user),
        Some(Verified::issue(&realm, root, 1, credential)),
    );
    let mut users = UserDirectory::default();
    users.apply(record.expect("they belong together"));
    *world.users.write().unwrap_or_else(PoisonError::into_inner) = users;
    (world, stretching)
}

#[tokio::test]
async fn an_imported_password_logs_in_and_is_to_be_changed() {
    let (world, _) = with_imported_password();
    let session = log_in_as(&world, "bob", b"pw", &key()).await;
    assert!(session.expect("logged in").must_change);
    for (user, password) in [
        ("bob", &b"pv"[..]),
        ("bob", b""),
        ("bob", &[b'a'; 2000]),
        ("eve", b"pw"),
    ] {
        let outcome = log_in_as(&world, user, password, &key()).await;
        assert!(
            matches!(outcome, Err(LoginError::Refused)),
            "{user}: {outcome:?}"
        );
    }
    world.change("bob", |user| user.enabled = false);
    let outcome = log_in_as(&world, "bob", b"pw", &key()).await;
    assert!(matches!(outcome, Err(LoginError::Refused)));
    let native = World::new();
    let session = log_in_as(&native, "alice", b"pw", &key()).await;
    assert!(!session.expect("logged in").must_change);
}

#[test]
fn a_login_with_an_imported_password_is_one_guess() {
    let (world, stretching) = with_imported_password();
    let (service, peer) = (world.service(0), peer(1));
    let hash = stretching.password(b"pw").expect("computed");
    // The first answer opens under nothing, not even under the right hash.
    let (client, ke1) =
        ClientLogin::start(hash.expose(), world.context(&peer, 0, "bob")).expect("started");
    let (pending, first) = service
        .challenge(&peer, name("bob"), &start("bob", &ke1))
        .expect("answered");
    let opened = client.finish(stretching, &first.message);
    assert!(matches!(opened, Err(OpaqueError::Refused)));
    // The second does, and there is no third.
    let (client, ke1) =
        ClientLogin::start(hash.expose(), world.context(&peer, 0, "bob")).expect("started");
    let again = LogInAgain {
        message: Bytes::copy_from_slice(&ke1),
    };
    let (pending, second) = service
        .challenge_again(&peer, pending, &again)
        .expect("answered");
    assert_eq!(second.stretching, first.stretching);
    let (ke3, ..) = client
        .finish(stretching, &second.message)
        .expect("the password");
    let (other, _) = service
        .challenge(&peer, name("bob"), &start("bob", &ke1))
        .expect("answered");
    let (other, _) = service
        .challenge_again(&peer, other, &again)
        .expect("answered");
    assert!(service.challenge_again(&peer, other, &again).is_err());
    assert!(service.outcome(pending, &proof(&ke3), NOW_MS).is_ok());
}

#[test]
fn a_login_with_a_password_of_our_own_does_not_begin_anew() {
    let world = World::new();
    let (service, peer) = (world.service(0), peer(1));
    let (_, ke1) = ClientLogin::start(b"pw", world.context(&peer, 0, "alice")).expect("started");
    let again = LogInAgain {
        message: Bytes::copy_from_slice(&ke1),
    };
    for user in ["alice", "nobody"] {
        let (pending, _) = service
            .challenge(&peer, name(user), &start(user, &ke1))
            .expect("answered");
        let refused = service.challenge_again(&peer, pending, &again);
        let status = refused.map(|_| ()).expect_err("one guess");
        assert_eq!(status.code(), Code::Unauthenticated, "{user}");
    }
}

fn anew(ke1: &[u8]) -> RequestStep {
    RequestStep::Again(LogInAgain {
        message: Bytes::copy_from_slice(ke1),
    })
}

#[tokio::test]
async fn whoever_asks_for_a_second_challenge_unasked_gets_none() {
    let world = World::new();
    let (_server, connection) = connected(&world.fixture.nodes[0], world.service(0), &key()).await;
    let context = world.context(connection.peer(), 0, "alice");
    let (_, ke1) = ClientLogin::start(b"pw", context).expect("started");
    // Known with a password of our own, with keys only, disabled, unknown.
    for user in ["alice", "keyed", "gone", "nobody"] {
        let (mut requests, mut replies) = LoginClient::new(connection.clone())
            .log_in(PATIENCE)
            .await
            .expect("room");
        let step = Some(RequestStep::Start(start(user, &ke1)));
        requests.send(&LogInRequest { step }).await.expect("taken");
        let reply = replies.next().await.expect("answered");
        assert_eq!(length(reply), KE2_LENGTH + STRETCHING_LENGTH, "{user}");
        let step = Some(anew(&ke1));
        requests.send(&LogInRequest { step }).await.expect("taken");
        let status = replies.next().await.expect_err("no second");
        assert_eq!(status.code(), Code::Unauthenticated, "{user}");
    }
}

#[tokio::test]
async fn a_login_that_begins_anew_is_charged_once_and_has_no_third_challenge() {
    let (world, _) = with_imported_password();
    let service = world.throttled(0, ThrottleLimits::default());
    let (_server, connection) = connected(&world.fixture.nodes[0], service, &key()).await;
    let context = world.context(connection.peer(), 0, "bob");
    let (_, ke1) = ClientLogin::start(b"pw", context).expect("started");
    let begin = RequestStep::Start(start("bob", &ke1));
    let free = 5;
    for attempt in 0..free {
        let (mut requests, mut replies) = LoginClient::new(connection.clone())
            .log_in(PATIENCE)
            .await
            .expect("room");
        for step in [begin.clone(), anew(&ke1)] {
            let step = Some(step);
            requests.send(&LogInRequest { step }).await.expect("taken");
            let reply = replies.next().await.expect("answered");
            assert_eq!(length(reply), KE2_LENGTH + STRETCHING_LENGTH, "{attempt}");
        }
        let step = Some(anew(&ke1));
        requests.send(&LogInRequest { step }).await.expect("taken");
        let status = replies.next().await.expect_err("no third");
        assert_eq!(status.code(), Code::Unauthenticated, "{attempt}");
    }
    let (told, status) = said(&connection, std::slice::from_ref(&begin)).await;
    assert!(told.is_empty());
    assert_eq!(status.code(), Code::ResourceExhausted);
}

#[tokio::test]
async fn a_proof_with_an_imported_password_takes_its_charge_back() {
    let (world, _) = with_imported_password();
    let throttle = Throttle::new(ThrottleKey::of(&world.secrets), ThrottleLimits::default());
    let throttle = Arc::new(LoginThrottle::new(throttle, Box::new(Volatile), || NOW_MS));
    for attempt in 0..8 {
        let session_key = key();
        let service = world.service_with(0, Arc::clone(&throttle));
        let (_server, connection) = connected(&world.fixture.nodes[0], service, &session_key).await;
        let outcome = log_in(
            &connection,
            &Roots::sole(world.fixture.root.verifying_key()),
            &name("bob"),
            &SecretBytes::new(b"pw".to_vec()),
            &session_key.verifying_key(),
            NOW_MS,
            PATIENCE,
        )
        .await;
        assert!(outcome.is_ok(), "{attempt}: {outcome:?}");
    }
}

#[test]
fn a_password_that_was_replaced_meanwhile_is_not_tested_by_a_second_challenge() {
    let (world, stretching) = with_imported_password();
    let (service, peer) = (world.service(0), peer(1));
    let hash = stretching.password(b"pw").expect("computed");
    let (_, ke1) =
        ClientLogin::start(hash.expose(), world.context(&peer, 0, "bob")).expect("started");
    let (pending, _) = service
        .challenge(&peer, name("bob"), &start("bob", &ke1))
        .expect("answered");
    // Bob gets a password of our own, `pw` too.
    let replaced = record_with(
        &world.fixture.root,
        &key(),
        "bob",
        2,
        true,
        &world.secrets,
        Stretching::new(CHEAP).expect("admitted"),
    );
    let mut users = world.users.write().unwrap_or_else(PoisonError::into_inner);
    assert!(users.apply(replaced));
    drop(users);
    // What the second challenge would have tested is gone: nothing opens it.
    let (client, ke1) = ClientLogin::start(b"pw", world.context(&peer, 0, "bob")).expect("started");
    let again = LogInAgain {
        message: Bytes::copy_from_slice(&ke1),
    };
    let (_, second) = service
        .challenge_again(&peer, pending, &again)
        .expect("answered");
    let own = Stretching::new(CHEAP).expect("admitted");
    let opened = client.finish(own, &second.message);
    assert!(matches!(opened, Err(OpaqueError::Refused)));
}

#[test]
fn who_has_keys_only_resembles_who_has_a_password() {
    let (world, stretching) = with_imported_password();
    {
        let mut users = world.users.write().unwrap_or_else(PoisonError::into_inner);
        let keys = vec![device_key(&key())];
        users.apply(record_of_keys(&world.fixture.root, "kate", 1, keys));
    }
    let (service, peer) = (world.service(0), peer(1));
    let told = || {
        let (_, ke1) = ClientLogin::start(b"pw", world.context(&peer, 0, "kate")).expect("started");
        let (_, challenge) = service
            .challenge(&peer, name("kate"), &start("kate", &ke1))
            .expect("any");
        Stretching::from_bytes(&challenge.stretching).expect("admitted")
    };
    let before = told();
    assert_eq!(before.class(), stretching.class());
    // The same as before there was such a user.
    let (users, mut without) = (Arc::clone(&world.users), UserDirectory::default());
    let mut users = users.write().unwrap_or_else(PoisonError::into_inner);
    for record in users
        .records()
        .filter(|record| record.user().name != name("kate"))
    {
        without.apply(record.clone());
    }
    *users = without;
    drop(users);
    assert_eq!(told(), before);
}

#[test]
fn who_does_not_exist_resembles_who_does() {
    let (world, stretching) = with_imported_password();
    let (service, peer) = (world.service(0), peer(1));
    let told = |user: &str| {
        let (_, ke1) = ClientLogin::start(b"pw", world.context(&peer, 0, user)).expect("started");
        let (_, challenge) = service
            .challenge(&peer, name(user), &start(user, &ke1))
            .expect("any");
        Stretching::from_bytes(&challenge.stretching).expect("admitted")
    };
    assert_eq!(told("bob"), stretching);
    for user in ["eve", "a", &"n".repeat(64)] {
        assert_eq!(told(user).class(), stretching.class(), "{user}");
        assert_ne!(told(user), stretching, "{user}: the salt of somebody else");
        assert_eq!(told(user), told(user), "{user}: the same again");
    }
    assert_ne!(told("eve"), told("eva"));
    // What is told of a user does not change when the user may not log in any more.
    for change in [
        |user: &mut User| user.enabled = false,
        |user: &mut User| user.deleted = true,
    ] {
        world.change("bob", change);
        assert_eq!(told("bob"), stretching);
    }
}

#[test]
fn each_kind_of_password_is_as_frequent_among_those_who_do_not_exist() {
    let (world, stretching) = with_imported_password();
    {
        let mut users = world.users.write().unwrap_or_else(PoisonError::into_inner);
        for index in 0..3 {
            users.apply(crate::users::tests::record(
                &world.fixture.root,
                &world.alice,
                &format!("u{index}"),
                1,
                true,
            ));
        }
    }
    let service = world.service(0);
    let peer = peer(1);
    let imported = (0..400)
        .filter(|index| {
            let user = format!("nobody{index}");
            let (_, ke1) =
                ClientLogin::start(b"pw", world.context(&peer, 0, &user)).expect("started");
            let (_, challenge) = service
                .challenge(&peer, name(&user), &start(&user, &ke1))
                .expect("any");
            challenge.stretching[..15] == stretching.class()
        })
        .count();
    // One of four; further off than this happens once in ten thousand realms.
    assert!((65..=135).contains(&imported), "{imported} of 400");
}

/// What a node sends on the wire, byte by byte counted between client and node.
struct Wire {
    sent: Arc<std::sync::atomic::AtomicUsize>,
    address: String,
}

impl Wire {
    /// Forwards one connection to `node`.
    async fn to(node: String) -> Self {
        use tokio::io::{AsyncReadExt, AsyncWriteExt};
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0")
            .await
            .expect("a port");
        let address = listener.local_addr().expect("bound").to_string();
        let sent = Arc::new(std::sync::atomic::AtomicUsize::new(0));
        let counted = Arc::clone(&sent);
        tokio::spawn(async move {
            let (client, _) = listener.accept().await.expect("a client");
            let node = tokio::net::TcpStream::connect(node).await.expect("a node");
            let (mut from_client, mut to_client) = client.into_split();
            let (mut from_node, mut to_node) = node.into_split();
            tokio::spawn(async move { tokio::io::copy(&mut from_client, &mut to_node).await });
            let mut buffer = vec![0; 16 * 1024];
            while let Ok(read @ 1..) = from_node.read(&mut buffer).await {
                counted.fetch_add(read, std::sync::atomic::Ordering::SeqCst);
                if to_client.write_all(&buffer[..read]).await.is_err() {
                    return;
                }
            }
        });
        Self { sent, address }
    }

    fn sent(&self) -> usize {
        self.sent.load(std::sync::atomic::Ordering::SeqCst)
    }
}

#[tokio::test]
async fn on_the_wire_every_refused_login_is_as_long() {
    let (world, _) = with_imported_password();
    {
        let mut users = world.users.write().unwrap_or_else(PoisonError::into_inner);
        for (user, enabled) in [("uma", true), ("udo", false)] {
            let (root, alice) = (&world.fixture.root, &world.alice);
            users.apply(crate::users::tests::record(root, alice, user, 1, enabled));
        }
        users.apply(record_of_keys(&world.fixture.root, "kay", 1, Vec::new()));
    }
    world.change("bob", |_| ());
    let router = Router::new()
        .service(LoginServer::new(world.service(0)))
        .expect("one service");
    // Nobody is asked whether they are still there while bytes are counted.
    let limits = Limits {
        keepalive_idle: PATIENCE,
        keepalive_timeout: PATIENCE,
        ..Limits::default()
    };
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0")
        .await
        .expect("a port");
    let node = listener.local_addr().expect("bound").to_string();
    let anyone = Arc::new(Anyone);
    let _server = Server::start(
        listener,
        &world.fixture.nodes[0],
        anyone.clone(),
        router,
        limits.clone(),
    )
    .expect("sound limits");
    let wire = Wire::to(node).await;
    let connection = Connector::new(&key(), anyone, limits)
        .expect("sound limits")
        .connect(&wire.address, PATIENCE)
        .await
        .expect("admitted");
    let context = LoginContext {
        realm: world.fixture.realm(),
        node: connection.peer().key_id(),
        channel: *connection.peer().binding(),
        session: key().verifying_key().key_id(),
        user: name("bob"),
    };
    let (_, ke1) = ClientLogin::start(b"pw", context).expect("started");
    let wrong = RequestStep::Proof(proof(&[7; KE3_LENGTH]));
    let mut lengths = Vec::new();
    // The first are not counted: what belongs to a connection's beginning is sent then.
    for user in [
        "bob", "bob", "bob", "uma", "udo", "kay", "eve", "eva", "max",
    ] {
        let before = wire.sent();
        let begin = RequestStep::Start(start(user, &ke1));
        let (told, status) = said(&connection, &[begin, wrong.clone()]).await;
        assert_eq!(told, [KE2_LENGTH + STRETCHING_LENGTH], "{user}");
        assert_eq!(status.code(), Code::Unauthenticated, "{user}");
        lengths.push((user, wire.sent() - before));
    }
    let (_, expected) = lengths[2];
    assert!(expected > KE2_LENGTH + STRETCHING_LENGTH);
    for (user, length) in &lengths[2..] {
        assert_eq!(*length, expected, "{user} in {lengths:?}");
    }
}
