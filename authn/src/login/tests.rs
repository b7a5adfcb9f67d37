//! Logins at a service, over connections and against a man in the middle.

mod audit;
mod imported;
mod register;
mod second_factor;

use std::any::Any;
use std::sync::{Mutex, PoisonError};

use sealmoot_crypto::secret::SecretBytes;
use sealmoot_crypto::signature::SigningKey;
use sealmoot_rpc::bytes::Bytes;
use sealmoot_rpc::channel::{Identity, Origin, Transport};
use sealmoot_rpc::details::RetryAfter;
use sealmoot_rpc::{
    Authorizer, CallContext, Candidate, ChannelBinding, Code, Connection, Connector, Execution,
    Limits, Peer, Refusal, Replies, Requests, Router, Server, ServerHandle, Status,
};

use tokio::sync::watch;

use super::*;
use crate::name::Name;
use crate::opaque::{
    ClientLogin, KE1_LENGTH, KE2_LENGTH, KE3_LENGTH, LoginContext, LoginSecrets, OpaqueError,
    STRETCHING_LENGTH, Stretching,
};
use crate::proto::log_in_reply::Step as ReplyStep;
use crate::proto::log_in_request::Step as RequestStep;
use crate::proto::{
    LogInChallenge, LogInOutcome, LogInProof, LogInReply, LogInRequest, LogInStart, Login,
    LoginClient, LoginServer, ProveKeyReply, ProveKeyRequest, RegisterReply, RegisterRequest,
};
use crate::roots::Roots;
use crate::roster::tests::Fixture;
use crate::session::{LIFETIME_MS_MAX, SESSION_LIFETIME_MS, latest_end, verify_session};
use crate::statement::{Credential, Receipt, User, Verified};
use crate::throttle::{
    LoginThrottle, NotDurable, StoreFuture, Throttle, ThrottleKey, ThrottleLimits, ThrottleStore,
    Volatile,
};
use crate::users::UserRecord;
use crate::users::tests::{CHEAP, device_key, record_of_keys, record_with};

const PATIENCE: Duration = Duration::from_secs(60);
const NOW_MS: u64 = 5000;

struct Anyone;

impl Authorizer for Anyone {
    fn present(&self) -> Bytes {
        Bytes::new()
    }

    fn authorize(&self, _: &Candidate<'_>) -> Result<Arc<dyn Any + Send + Sync>, Refusal> {
        Ok(Arc::new(()))
    }
}

/// A realm with alice, who may log in, gone, who is disabled, and left, who is
/// deleted. All have the password `pw`, and each a key of their own.
struct World {
    fixture: Fixture,
    secrets: Arc<LoginSecrets>,
    users: SharedUsers,
    alice: SigningKey,
}

impl World {
    fn new() -> Self {
        Self::with_stretching(Stretching::new(CHEAP).expect("admitted"))
    }

    fn with_stretching(stretching: Stretching) -> Self {
        let fixture = Fixture::new();
        let secrets = LoginSecrets::generate().expect("random");
        let alice = key();
        let record = |user_key: &SigningKey, name, enabled| {
            record_with(
                &fixture.root,
                user_key,
                name,
                1,
                enabled,
                &secrets,
                stretching,
            )
        };
        let mut users = UserDirectory::default();
        users.apply(record(&alice, "alice", true));
        users.apply(record(&key(), "gone", false));
        let left = record(&key(), "left", true);
        users.apply(changed(&fixture.root, &left, |user| user.deleted = true));
        Self {
            fixture,
            secrets: Arc::new(secrets),
            users: Arc::new(RwLock::new(users)),
            alice,
        }
    }

    /// Adds keyed, who has a key and no password.
    fn add_keyed(&self) {
        let keys = vec![device_key(&key())];
        let mut users = self.users.write().unwrap_or_else(PoisonError::into_inner);
        users.apply(record_of_keys(&self.fixture.root, "keyed", 1, keys));
    }

    /// A service that admits attempts without end: what these tests look at lies
    /// behind the throttle.
    fn service(&self, node: usize) -> LoginService {
        self.throttled(node, ThrottleLimits::with_attempts(1_000_000))
    }

    fn throttled(&self, node: usize, limits: ThrottleLimits) -> LoginService {
        let throttle = Throttle::new(ThrottleKey::of(&self.secrets), limits);
        let throttle = LoginThrottle::new(throttle, Box::new(Volatile), || NOW_MS);
        self.service_with(node, Arc::new(throttle))
    }

    fn service_with(&self, node: usize, throttle: Arc<LoginThrottle>) -> LoginService {
        let node_key = Arc::new(SigningKey::from_seed(&self.fixture.nodes[node].to_seed()));
        let (users, secrets) = (Arc::clone(&self.users), Arc::clone(&self.secrets));
        LoginService::new(
            self.fixture.realm(),
            node_key,
            users,
            secrets,
            throttle,
            || NOW_MS,
        )
    }

    /// What the client at `peer`'s other end binds its login to.
    fn context(&self, peer: &Peer, node: usize, user: &str) -> LoginContext {
        LoginContext {
            realm: self.fixture.realm(),
            node: self.fixture.nodes[node].verifying_key().key_id(),
            channel: *peer.binding(),
            session: peer.key_id(),
            user: name(user),
        }
    }

    fn change(&self, user: &str, change: impl FnOnce(&mut User)) {
        let mut users = self.users.write().unwrap_or_else(PoisonError::into_inner);
        let record = users.record(&name(user)).expect("there").clone();
        users.apply(changed(&self.fixture.root, &record, change));
    }
}

/// The next version of a record.
fn changed(root: &SigningKey, record: &UserRecord, change: impl FnOnce(&mut User)) -> UserRecord {
    let mut user = record.user().clone();
    user.version += 1;
    change(&mut user);
    let realm = crate::realm_id::RealmId::without_heir(&root.verifying_key());
    let user = Verified::issue(&realm, root, 2, user);
    UserRecord::new(user, record.credential().cloned()).expect("they belong together")
}

fn key() -> SigningKey {
    SigningKey::generate().expect("random")
}

fn name(text: &str) -> Name {
    text.parse().expect("a name")
}

/// A client with a fresh key, in a channel with this binding.
fn peer(binding: u8) -> Peer {
    Peer::danger_assume(
        key().verifying_key(),
        ChannelBinding::from_bytes([binding; 32]),
        Origin::Memory,
        Transport::Memory,
        Arc::new(()),
    )
}

fn start(user: &str, message: &[u8]) -> LogInStart {
    LogInStart {
        user: user.to_owned(),
        message: Bytes::copy_from_slice(message),
        lifetime_ms: 0,
    }
}

fn proof(message: &[u8]) -> LogInProof {
    LogInProof {
        message: Bytes::copy_from_slice(message),
    }
}

/// A server with `login`, and a client's connection to it.
async fn connected(
    node_key: &SigningKey,
    login: impl Login,
    session_key: &SigningKey,
) -> (ServerHandle, Connection) {
    let router = Router::new()
        .service(LoginServer::new(login))
        .expect("one service");
    let identity = Identity::new(node_key).expect("an identity");
    let server = Server::builder(identity, Arc::new(Anyone), router, Limits::default())
        .start()
        .expect("sound limits");
    let connector =
        Connector::new(session_key, Arc::new(Anyone), Limits::default()).expect("sound limits");
    let connection = connector
        .connect_memory(&server.door(), PATIENCE)
        .await
        .expect("admitted");
    (server, connection)
}

async fn log_in_as(
    world: &World,
    user: &str,
    password: &[u8],
    session_key: &SigningKey,
) -> Result<SessionProof, LoginError> {
    let (_server, connection) =
        connected(&world.fixture.nodes[0], world.service(0), session_key).await;
    let root = world.fixture.root.verifying_key();
    log_in(
        &connection,
        &Roots::sole(root),
        &name(user),
        &SecretBytes::new(password.to_vec()),
        &session_key.verifying_key(),
        NOW_MS,
        PATIENCE,
    )
    .await
}

#[tokio::test]
async fn the_password_makes_a_session_that_the_cluster_believes() {
    let world = World::new();
    let session_key = key();
    let proof = log_in_as(&world, "alice", b"pw", &session_key)
        .await
        .expect("logged in");
    let users = world.users.read().unwrap_or_else(PoisonError::into_inner);
    let authenticated = verify_session(
        &world.fixture.roster(),
        &users,
        &proof.session,
        &proof.receipt,
        &session_key.verifying_key(),
        NOW_MS,
    )
    .expect("believed");
    assert_eq!(authenticated.user, name("alice"));
    assert_eq!(authenticated.user_key, world.alice.verifying_key());
    assert_eq!(
        proof.expires_ms,
        NOW_MS + crate::session::SESSION_LIFETIME_MS
    );
}

#[tokio::test]
async fn wrong_password_and_every_user_who_may_not_are_refused_alike() {
    let world = World::new();
    world.add_keyed();
    world.add_bob();
    world.enrol("bob");
    for (user, password) in [
        ("alice", &b"pv"[..]),
        ("bob", b"pv"),
        ("alice", b""),
        ("alice", &[b'a'; 2000]),
        ("nobody", b"pw"),
        ("keyed", b"pw"),
        ("gone", b"pw"),
        ("left", b"pw"),
    ] {
        let outcome = log_in_as(&world, user, password, &key()).await;
        assert!(
            matches!(outcome, Err(LoginError::Refused)),
            "{user}: {outcome:?}"
        );
    }
}

impl LoginService {
    /// Judges the proof of a user who has no second factor.
    fn outcome(
        &self,
        pending: service::Pending,
        proof: &LogInProof,
        now_ms: u64,
    ) -> Result<LogInOutcome, Status> {
        let proved = self.proved(pending, proof)?;
        match self.judge(&proved, None, now_ms)? {
            service::Judged::Outcome(outcome) => Ok(outcome),
            service::Judged::CodeNeeded(_) | service::Judged::NotEnrolled(_) => {
                panic!("nobody has a second factor here")
            }
        }
    }
}

/// What a node says to these steps, to its end: the lengths of its challenges, and how
/// it ends. The second step waits for the answer to the first.
async fn said(connection: &Connection, steps: &[RequestStep]) -> (Vec<usize>, Status) {
    let (mut requests, mut replies) = LoginClient::new(connection.clone())
        .log_in(PATIENCE)
        .await
        .expect("room");
    let mut lengths = Vec::new();
    for step in steps {
        let request = LogInRequest {
            step: Some(step.clone()),
        };
        // A node that has refused already takes nothing more.
        if requests.send(&request).await.is_err() {
            break;
        }
        if lengths.is_empty() {
            match replies.next().await {
                Ok(reply) => lengths.push(length(reply)),
                Err(status) => return (lengths, status),
            }
        }
    }
    requests.finish();
    loop {
        match replies.next().await {
            Ok(reply) => lengths.push(length(reply)),
            Err(status) => return (lengths, status),
        }
    }
}

#[track_caller]
fn length(reply: Option<LogInReply>) -> usize {
    match reply.expect("it ended well").step.expect("a step") {
        ReplyStep::Challenge(challenge) => challenge.message.len() + challenge.stretching.len(),
        ReplyStep::Outcome(_) | ReplyStep::CodeNeeded(_) => panic!("nothing was proved"),
    }
}

#[tokio::test]
async fn whatever_is_wrong_the_node_says_the_same() {
    let world = World::new();
    world.add_bob();
    world.enrol("bob");
    let session_key = key();
    let (_server, connection) =
        connected(&world.fixture.nodes[0], world.service(0), &session_key).await;
    let context = LoginContext {
        realm: world.fixture.realm(),
        node: connection.peer().key_id(),
        channel: *connection.peer().binding(),
        session: session_key.verifying_key().key_id(),
        user: name("alice"),
    };
    let (_, ke1) = ClientLogin::start(b"pw", context).expect("started");
    let begin = |user: &str| RequestStep::Start(start(user, &ke1));
    let wrong_proof = || RequestStep::Proof(proof(&[7; KE3_LENGTH]));

    let (lengths, refused) = said(&connection, &[begin("alice"), wrong_proof()]).await;
    assert_eq!(lengths, [KE2_LENGTH + STRETCHING_LENGTH]);
    assert_eq!(refused.code(), Code::Unauthenticated);
    let after_challenge = [
        vec![begin("nobody"), wrong_proof()],
        vec![begin("bob"), wrong_proof()],
        vec![begin("bob")],
        vec![begin("gone"), wrong_proof()],
        vec![begin("left"), wrong_proof()],
        vec![begin("alice")],
        vec![begin("nobody")],
        vec![begin("alice"), RequestStep::Proof(proof(&[]))],
        vec![
            begin("alice"),
            RequestStep::Proof(proof(&[7; KE3_LENGTH - 1])),
        ],
        vec![
            begin("nobody"),
            RequestStep::Proof(proof(&[7; KE3_LENGTH + 1])),
        ],
        vec![begin("alice"), RequestStep::Proof(proof(&ke1))],
        vec![begin("alice"), begin("alice")],
        vec![begin("alice"), begin("nobody"), wrong_proof()],
    ];
    for steps in after_challenge {
        let (lengths, status) = said(&connection, &steps).await;
        assert_eq!(lengths, [KE2_LENGTH + STRETCHING_LENGTH], "{steps:?}");
        assert_eq!(status, refused, "{steps:?}");
    }

    let before_challenge = [
        vec![],
        vec![wrong_proof()],
        vec![wrong_proof(), begin("alice")],
        vec![begin("")],
        vec![begin("Alice")],
        vec![begin("../alice")],
        vec![begin(&"a".repeat(65))],
        vec![RequestStep::Start(start("alice", &[]))],
        vec![RequestStep::Start(start("nobody", &[]))],
        vec![RequestStep::Start(start("alice", &ke1[..KE1_LENGTH - 1]))],
        vec![RequestStep::Start(start("alice", &[0; KE1_LENGTH]))],
        vec![RequestStep::Start(start("nobody", &[0; KE1_LENGTH]))],
        vec![RequestStep::Start(start("alice", &[0xff; KE1_LENGTH]))],
        vec![RequestStep::Start(start("alice", &[7; KE2_LENGTH]))],
    ];
    for steps in before_challenge {
        let (lengths, status) = said(&connection, &steps).await;
        assert!(lengths.is_empty(), "{steps:?}");
        assert_eq!(status, refused, "{steps:?}");
    }
}

#[test]
fn challenges_to_whomever_have_one_length_and_one_stretching() {
    // With the parameters that new passwords have.
    let world = World::with_stretching(Stretching::DEFAULT);
    let (service, peer) = (world.service(0), peer(1));
    let challenge = |user: &str| {
        let (_, ke1) = ClientLogin::start(b"pw", world.context(&peer, 0, user)).expect("started");
        let (_, challenge) = service
            .challenge(&peer, name(user), &start(user, &ke1))
            .expect("any");
        (challenge.stretching, challenge.message.len())
    };
    let known = challenge("alice");
    assert_eq!(known.1, KE2_LENGTH);
    // One who has a key and no password is none here.
    world.add_keyed();
    // And one who has a second factor is one like any other.
    world.add_bob_with(Stretching::DEFAULT);
    world.enrol("bob");
    for user in [
        "bob",
        "keyed",
        "gone",
        "left",
        "nobody",
        "a",
        &"n".repeat(64),
    ] {
        assert_eq!(challenge(user), known, "{user}");
    }
}

#[test]
fn what_leaves_after_the_proof_has_one_length_but_for_the_statement_of_the_user() {
    let world = World::new();
    let (service, peer) = (world.service(0), peer(1));
    let (pending, ke3) = proved(&world, &service, &peer);
    let outcome = service
        .outcome(pending, &proof(&ke3), NOW_MS)
        .expect("proved");
    assert_eq!(
        outcome.sealed_key.len(),
        crate::user_key::SEALED_USER_KEY_LENGTH
    );
    let sent = [&outcome.receipt[..], &outcome.sealed_key].concat();
    let seed = world.alice.to_seed();
    assert!(!sent.windows(32).any(|part| part == seed.expose()));
}

/// Runs a login of alice up to the proof that the node will accept.
fn proved(
    world: &World,
    service: &LoginService,
    peer: &Peer,
) -> (service::Pending, [u8; KE3_LENGTH]) {
    let (client, ke1) =
        ClientLogin::start(b"pw", world.context(peer, 0, "alice")).expect("started");
    let (pending, challenge) = service
        .challenge(peer, name("alice"), &start("alice", &ke1))
        .expect("answered");
    let stretching = Stretching::from_bytes(&challenge.stretching).expect("admitted");
    let (ke3, ..) = client
        .finish(stretching, &challenge.message)
        .expect("the password");
    (pending, ke3)
}

#[test]
fn a_login_relayed_to_another_node_channel_or_key_is_refused() {
    let world = World::new();
    let victim = peer(1);
    // Who relays has a channel of its own to the node, with its own key or, if it
    // could, with the victim's.
    let with_the_victims_key = Peer::danger_assume(
        *victim.key(),
        ChannelBinding::from_bytes([2; 32]),
        Origin::Memory,
        Transport::Memory,
        Arc::new(()),
    );
    let with_the_victims_channel = peer(1);
    let other_realm = World::new();
    let (same, relays) = (
        (world.service(0), &victim),
        [
            ("another node", world.service(1), &victim),
            ("another channel", world.service(0), &with_the_victims_key),
            ("another key", world.service(0), &with_the_victims_channel),
            ("another realm", other_realm.service(0), &victim),
        ],
    );
    let finishes = |service: &LoginService, relayed: &Peer| {
        let (client, ke1) =
            ClientLogin::start(b"pw", world.context(&victim, 0, "alice")).expect("started");
        let (_, challenge) = service
            .challenge(relayed, name("alice"), &start("alice", &ke1))
            .expect("answered");
        let stretching = Stretching::new(CHEAP).expect("admitted");
        client
            .finish(stretching, &challenge.message)
            .map(|_| ())
            .map_err(|error| matches!(error, OpaqueError::Refused))
    };
    assert_eq!(finishes(&same.0, same.1), Ok(()));
    for (what, service, relayed) in relays {
        assert_eq!(finishes(&service, relayed), Err(true), "{what}");
    }
}

#[test]
fn a_proof_is_worth_nothing_in_another_login() {
    let world = World::new();
    let (service, peer) = (world.service(0), peer(1));
    let (first, ke3) = proved(&world, &service, &peer);
    let (second, _) = proved(&world, &service, &peer);
    let refused = service.outcome(second, &proof(&ke3), NOW_MS);
    assert_eq!(refused.expect_err("replayed").code(), Code::Unauthenticated);
    assert!(service.outcome(first, &proof(&ke3), NOW_MS).is_ok());
}

#[test]
fn a_user_who_was_disabled_deleted_or_changed_meanwhile_is_refused() {
    let changes: [fn(&World); 3] = [
        |world| world.change("alice", |user| user.enabled = false),
        |world| world.change("alice", |user| user.deleted = true),
        |world| {
            let mut users = world.users.write().unwrap_or_else(PoisonError::into_inner);
            let (root, secrets) = (&world.fixture.root, &world.secrets);
            let stretching = Stretching::new(CHEAP).expect("admitted");
            users.apply(record_with(
                root,
                &key(),
                "alice",
                2,
                true,
                secrets,
                stretching,
            ));
        },
    ];
    for change in changes {
        let world = World::new();
        let (service, peer) = (world.service(0), peer(1));
        let (pending, ke3) = proved(&world, &service, &peer);
        change(&world);
        let refused = service.outcome(pending, &proof(&ke3), NOW_MS);
        assert_eq!(refused.expect_err("changed").code(), Code::Unauthenticated);
    }
    // Roles may change: what counts is the record of the moment.
    let world = World::new();
    let (service, peer) = (world.service(0), peer(1));
    let (pending, ke3) = proved(&world, &service, &peer);
    world.change("alice", |user| user.roles.clear());
    assert!(service.outcome(pending, &proof(&ke3), NOW_MS).is_ok());
}

#[test]
fn a_session_lasts_no_longer_than_the_node_allows() {
    let world = World::new();
    let (service, peer) = (world.service(0), peer(1));
    for (asked, granted) in [
        (0, SESSION_LIFETIME_MS),
        (1000, 1000),
        (u64::MAX, LIFETIME_MS_MAX),
    ] {
        let (client, ke1) =
            ClientLogin::start(b"pw", world.context(&peer, 0, "alice")).expect("started");
        let start = LogInStart {
            lifetime_ms: asked,
            ..start("alice", &ke1)
        };
        let (pending, challenge) = service
            .challenge(&peer, name("alice"), &start)
            .expect("answered");
        let stretching = Stretching::new(CHEAP).expect("admitted");
        let (ke3, export_key, _) = client
            .finish(stretching, &challenge.message)
            .expect("the password");
        let outcome = service
            .outcome(pending, &proof(&ke3), NOW_MS)
            .expect("proved");
        let root = world.fixture.root.verifying_key();
        let session = client::make_session(
            &outcome,
            &Roots::sole(root),
            &world.fixture.nodes[0].verifying_key(),
            &name("alice"),
            peer.key(),
            &export_key,
            NOW_MS,
        )
        .expect("a session");
        assert_eq!(session.expires_ms, NOW_MS + granted);
    }
}

#[test]
fn an_outcome_that_the_root_or_the_password_did_not_make_is_not_believed() {
    let world = World::new();
    let (service, peer) = (world.service(0), peer(1));
    let (client, ke1) =
        ClientLogin::start(b"pw", world.context(&peer, 0, "alice")).expect("started");
    let (pending, challenge) = service
        .challenge(&peer, name("alice"), &start("alice", &ke1))
        .expect("answered");
    let (ke3, export_key, _) = client
        .finish(
            Stretching::new(CHEAP).expect("admitted"),
            &challenge.message,
        )
        .expect("the password");
    let honest = service
        .outcome(pending, &proof(&ke3), NOW_MS)
        .expect("proved");
    let root = world.fixture.root.verifying_key();
    let judge = |outcome: &LogInOutcome| {
        client::make_session(
            outcome,
            &Roots::sole(root),
            &world.fixture.nodes[0].verifying_key(),
            &name("alice"),
            peer.key(),
            &export_key,
            NOW_MS,
        )
    };
    assert!(judge(&honest).is_ok());

    let stranger = World::new();
    let foreign = |user: &str, world: &World| {
        let users = world.users.read().unwrap_or_else(PoisonError::into_inner);
        let record = users.record(&name(user)).expect("there");
        let credential: &Credential = record.credential().expect("a password").body();
        let sealed_key = Bytes::copy_from_slice(&credential.sealed_key);
        let user = Bytes::copy_from_slice(record.user_statement().bytes());
        (user, sealed_key)
    };
    let mut flipped = honest.sealed_key.to_vec();
    flipped[30] ^= 1;
    let user_key = world.alice.verifying_key();
    let told = |issuer: &SigningKey, realm, change: &dyn Fn(&mut Receipt)| {
        let mut receipt = Receipt {
            user: name("alice"),
            user_key,
            session_key: *peer.key(),
            expires_ms: NOW_MS + 1000,
        };
        change(&mut receipt);
        let receipt = Verified::issue(&realm, issuer, NOW_MS, receipt);
        LogInOutcome {
            receipt: Bytes::copy_from_slice(receipt.bytes()),
            ..honest.clone()
        }
    };
    let (node, realm) = (&world.fixture.nodes[0], world.fixture.realm());
    assert!(judge(&told(node, realm, &|_| ())).is_ok());
    let lies = [
        (
            "a receipt of another node",
            told(&world.fixture.nodes[1], realm, &|_| ()),
        ),
        ("a receipt of nobody", told(&key(), realm, &|_| ())),
        (
            "a receipt in another realm",
            told(node, stranger.fixture.realm(), &|_| ()),
        ),
        (
            "a receipt for another user",
            told(node, realm, &|receipt| receipt.user = name("gone")),
        ),
        (
            "a receipt for another key of the user",
            told(node, realm, &|receipt| {
                receipt.user_key = key().verifying_key();
            }),
        ),
        (
            "a receipt for another session",
            told(node, realm, &|receipt| {
                receipt.session_key = key().verifying_key();
            }),
        ),
        (
            "a receipt for ever",
            told(node, realm, &|receipt| receipt.expires_ms = u64::MAX),
        ),
        (
            "a receipt for a moment too long",
            told(node, realm, &|receipt| {
                receipt.expires_ms = latest_end(NOW_MS) + 1;
            }),
        ),
        ("another user's statement", {
            let user = foreign("gone", &world).0;
            LogInOutcome {
                user,
                ..honest.clone()
            }
        }),
        ("another realm's statement", {
            let user = foreign("alice", &stranger).0;
            LogInOutcome {
                user,
                ..honest.clone()
            }
        }),
        ("another user's sealed key", {
            let sealed_key = foreign("gone", &world).1;
            LogInOutcome {
                sealed_key,
                ..honest.clone()
            }
        }),
        (
            "a changed sealed key",
            LogInOutcome {
                sealed_key: flipped.into(),
                ..honest.clone()
            },
        ),
        (
            "no sealed key",
            LogInOutcome {
                sealed_key: Bytes::new(),
                ..honest.clone()
            },
        ),
        (
            "no statement",
            LogInOutcome {
                user: Bytes::new(),
                ..honest.clone()
            },
        ),
        (
            "no receipt",
            LogInOutcome {
                receipt: Bytes::new(),
                ..honest.clone()
            },
        ),
    ];
    for (what, lie) in lies {
        assert!(
            matches!(judge(&lie), Err(LoginError::BadAnswer(_))),
            "{what}"
        );
    }
}

/// A node that says what it was told to.
struct Liar(Mutex<Vec<LogInReply>>);

impl Login for Liar {
    async fn log_in(
        &self,
        _: CallContext,
        mut requests: Requests<LogInRequest>,
        mut replies: Replies<LogInReply>,
    ) -> Result<(), Status> {
        requests.next().await?;
        let told = std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner));
        for reply in told {
            replies.send(&reply).await?;
        }
        Ok(())
    }

    async fn prove_key(
        &self,
        _: CallContext,
        _: Requests<ProveKeyRequest>,
        _: Replies<ProveKeyReply>,
    ) -> Result<(), Status> {
        Ok(())
    }

    async fn register(&self, _: CallContext, _: RegisterRequest) -> Result<RegisterReply, Status> {
        Ok(RegisterReply::default())
    }
}

#[tokio::test]
async fn a_node_that_does_not_keep_to_the_protocol_is_not_believed() {
    let challenge = |stretching: &[u8], message: &[u8]| LogInReply {
        step: Some(ReplyStep::Challenge(LogInChallenge {
            stretching: Bytes::copy_from_slice(stretching),
            message: Bytes::copy_from_slice(message),
        })),
    };
    let cheap = Stretching::new(CHEAP).expect("admitted").to_bytes();
    let dear = [u32::MAX.to_le_bytes(), [1, 0, 0, 0], [1, 0, 0, 0]].concat();
    let lies = [
        ("nothing", vec![]),
        ("no step", vec![LogInReply::default()]),
        ("four terabytes", vec![challenge(&dear, &[7; KE2_LENGTH])]),
        ("no stretching", vec![challenge(&[], &[7; KE2_LENGTH])]),
        ("no KE2", vec![challenge(&cheap, &[])]),
        ("garbage", vec![challenge(&cheap, &[0xff; KE2_LENGTH])]),
        ("a long KE2", vec![challenge(&cheap, &[0; KE2_LENGTH + 1])]),
        (
            "an outcome first",
            vec![LogInReply {
                step: Some(ReplyStep::Outcome(LogInOutcome::default())),
            }],
        ),
    ];
    let world = World::new();
    let root = world.fixture.root.verifying_key();
    for (what, told) in lies {
        let session_key = key();
        let liar = Liar(Mutex::new(told));
        let (_server, connection) = connected(&world.fixture.nodes[0], liar, &session_key).await;
        let outcome = log_in(
            &connection,
            &Roots::sole(root),
            &name("alice"),
            &SecretBytes::new(b"pw".to_vec()),
            &session_key.verifying_key(),
            NOW_MS,
            PATIENCE,
        )
        .await;
        assert!(
            matches!(outcome, Err(LoginError::BadAnswer(_))),
            "{what}: {outcome:?}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_client_that_says_no_more_is_refused_in_time() {
    let world = World::new();
    let session_key = key();
    let (_server, connection) =
        connected(&world.fixture.nodes[0], world.service(0), &session_key).await;
    let context = LoginContext {
        realm: world.fixture.realm(),
        node: connection.peer().key_id(),
        channel: *connection.peer().binding(),
        session: session_key.verifying_key().key_id(),
        user: name("alice"),
    };
    let (_, ke1) = ClientLogin::start(b"pw", context).expect("started");
    for begin in [true, false] {
        let (mut requests, mut replies) = LoginClient::new(connection.clone())
            .log_in(10 * PROOF_WITHIN)
            .await
            .expect("room");
        let begun = tokio::time::Instant::now();
        if begin {
            let step = Some(RequestStep::Start(start("alice", &ke1)));
            requests.send(&LogInRequest { step }).await.expect("taken");
            assert!(matches!(replies.next().await, Ok(Some(_))));
        }
        let status = replies.next().await.expect_err("it takes too long");
        assert_eq!(status.code(), Code::Unauthenticated);
        assert!(begun.elapsed() >= PROOF_WITHIN && begun.elapsed() < 2 * PROOF_WITHIN);
        drop(requests);
    }
}

/// The status with which a login over `connection` is refused, or none when it got a
/// challenge; either way it goes no further.
async fn begun(connection: &Connection, user: &str, message: &[u8]) -> Option<Status> {
    let start = RequestStep::Start(start(user, message));
    let (lengths, status) = said(connection, &[start]).await;
    lengths.is_empty().then_some(status)
}

fn ke1() -> Vec<u8> {
    let world = World::new();
    let (_, ke1) = ClientLogin::start(b"pw", world.context(&peer(1), 0, "alice")).expect("started");
    ke1.to_vec()
}

#[tokio::test]
async fn a_throttled_login_is_refused_alike_for_whomever_and_before_any_work() {
    let world = World::new();
    let service = || world.throttled(0, ThrottleLimits::default());
    let ke1 = ke1();
    let mut refusals = Vec::new();
    for user in ["alice", "gone", "left", "nobody"] {
        let (_server, connection) = connected(&world.fixture.nodes[0], service(), &key()).await;
        for attempt in 0..5 {
            let status = begun(&connection, user, &ke1).await;
            assert!(status.is_none(), "{user} {attempt}: {status:?}");
        }
        // A message that no work can be done with: it is not looked at.
        for message in [&ke1[..], &[], &[0; KE1_LENGTH]] {
            refusals.push(begun(&connection, user, message).await.expect("too many"));
        }
    }
    let first = &refusals[0];
    assert_eq!(first.code(), Code::ResourceExhausted);
    assert_eq!(first.execution(), Execution::NotStarted);
    let after = first.detail::<RetryAfter>().expect("typed").expect("whole");
    assert_eq!(after.milliseconds, 1000);
    for refusal in &refusals {
        assert_eq!(refusal, first);
        assert_eq!(refusal.details(), first.details());
    }
}

#[tokio::test]
async fn a_login_that_succeeds_costs_nothing_and_opens_the_way_for_its_key() {
    let world = World::new();
    let throttle = Throttle::new(ThrottleKey::of(&world.secrets), ThrottleLimits::default());
    let throttle = Arc::new(LoginThrottle::new(throttle, Box::new(Volatile), || NOW_MS));
    let session_key = key();
    let log_in_with = async |session_key: &SigningKey| {
        let service = world.service_with(0, Arc::clone(&throttle));
        let (_server, connection) = connected(&world.fixture.nodes[0], service, session_key).await;
        let root = world.fixture.root.verifying_key();
        log_in(
            &connection,
            &Roots::sole(root),
            &name("alice"),
            &SecretBytes::new(b"pw".to_vec()),
            &session_key.verifying_key(),
            NOW_MS,
            PATIENCE,
        )
        .await
    };
    for _ in 0..8 {
        assert!(log_in_with(&key()).await.is_ok());
    }
    assert!(log_in_with(&session_key).await.is_ok());
    let service = world.service_with(0, Arc::clone(&throttle));
    let (_server, stranger) = connected(&world.fixture.nodes[0], service, &key()).await;
    let ke1 = ke1();
    for _ in 0..5 {
        assert!(begun(&stranger, "alice", &ke1).await.is_none());
    }
    assert!(begun(&stranger, "alice", &ke1).await.is_some());
    let refused = log_in_with(&key()).await;
    assert!(
        matches!(&refused, Err(LoginError::Status(status)) if status.code() == Code::ResourceExhausted),
        "{refused:?}"
    );
    assert!(log_in_with(&session_key).await.is_ok());
}

/// A store whose disk says when: nothing is durable before.
struct Slow(watch::Receiver<Option<bool>>);

impl ThrottleStore for Slow {
    fn append(&self, _: Vec<u8>) -> StoreFuture {
        let mut said = self.0.clone();
        Box::pin(async move {
            let durable = said
                .wait_for(Option::is_some)
                .await
                .is_ok_and(|said| *said == Some(true));
            if durable { Ok(()) } else { Err(NotDurable) }
        })
    }
}

#[tokio::test]
async fn no_challenge_leaves_before_its_charge_is_durable() {
    for (durable, code) in [(true, None), (false, Some(Code::Unavailable))] {
        let world = World::new();
        let (disk, said) = watch::channel(None);
        let throttle = Throttle::new(ThrottleKey::of(&world.secrets), ThrottleLimits::default());
        let throttle = LoginThrottle::new(throttle, Box::new(Slow(said)), || NOW_MS);
        let service = world.service_with(0, Arc::new(throttle));
        let (_server, connection) = connected(&world.fixture.nodes[0], service, &key()).await;
        let ke1 = ke1();
        let mut asked = Box::pin(begun(&connection, "alice", &ke1));
        // The disk is silent, and so is the node.
        let early = tokio::time::timeout(Duration::from_millis(200), &mut asked).await;
        assert!(early.is_err(), "{early:?}");
        disk.send_replace(Some(durable));
        let status = asked.await;
        assert_eq!(status.map(|status| status.code()), code);
    }
}
