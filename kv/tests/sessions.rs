//! Sessions at a cluster of three nodes in this process: revoked, expired, idle, with a
//! clock that was set back, and at a node that hears nothing.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use sealmoot_authn::audit::client::connector;
use sealmoot_authn::audit::proto::tail_request::Begin;
use sealmoot_authn::audit::proto::{AuditClient, TailRequest};
use sealmoot_authn::audit::{Event, Subject, What};
use sealmoot_authn::cli;
use sealmoot_authn::client_key::ClientKey;
use sealmoot_authn::context::Context;
use sealmoot_authn::ended::Ended;
use sealmoot_authn::invite::Invite;
use sealmoot_authn::name::Name;
use sealmoot_authn::pin::{RealmPin, TrustedNode};
use sealmoot_authn::presentation::Presentation;
use sealmoot_authn::proto::{DirectoryClient, PublishRequest};
use sealmoot_authn::realm::{NewKey, OpenRealm, Realm};
use sealmoot_authn::records::{RecordName, RevocationsRecord, RevokedNodesRecord, SignedRecord};
use sealmoot_authn::roots::Roots;
use sealmoot_authn::session::client::{SeenSessions, fetch};
use sealmoot_authn::session::proto::{EndRequest, EndedRequest, SessionsClient, TakeEndedRequest};
use sealmoot_authn::statement::{
    EnrolledKey, KeyUse, Revocations, RevokedNodes, RevokedSessions, User, Verified,
};
use sealmoot_authn::users::UserRecord;
use sealmoot_crypto::digest::sha256;
use sealmoot_crypto::signature::{KeyId, SigningKey};
use sealmoot_kv::client::{EndedAt, LoginCredential, LoginRequest, end_session, log_in};
use sealmoot_kv::node::authorizer::{KEY_REVOKED, SESSION_ENDED};
use sealmoot_kv::node::{self, Node, OpenFailure};
use sealmoot_kv::proto::{ClusterStatusRequest, StoreClient};
use sealmoot_rpc::bytes::Bytes;
use sealmoot_rpc::{Code, ConnectError, Connection, Connector, Execution, Limits, Status};

const NAMES: [&str; 3] = ["n1", "n2", "n3"];
const PATIENCE: Duration = Duration::from_secs(60);
/// How far the clocks of [`moved_now_ms`] are off, in milliseconds and beyond an hour.
static MOVED_MS: AtomicU64 = AtomicU64::new(0);
const HOUR_MS: u64 = 3_600_000;

/// How far the clocks of [`later_now_ms`] are ahead, in milliseconds.
static LATER_MS: AtomicU64 = AtomicU64::new(0);

/// A wall clock that can be set, for the test of a clock that is set back.
fn moved_now_ms() -> u64 {
    cli::now_ms() + MOVED_MS.load(Ordering::SeqCst)
}

/// A wall clock that can be put forward, for the test of unused sessions.
fn later_now_ms() -> u64 {
    cli::now_ms() + LATER_MS.load(Ordering::SeqCst)
}

struct Cluster {
    home: tempfile::TempDir,
    realm: OpenRealm,
    addresses: Vec<String>,
    nodes: Vec<Option<Node>>,
    now_ms: fn() -> u64,
    within: Duration,
    alice_key: SigningKey,
    enrolled: EnrolledKey,
}

fn name(text: &str) -> Name {
    text.parse().expect("a name")
}

impl Cluster {
    /// Three nodes and a user alice, who administers everything and has a key.
    async fn form(now_ms: fn() -> u64, within: Duration) -> Self {
        let home = tempfile::tempdir().expect("a directory");
        // All are held until all are known, so that they differ.
        let held: Vec<_> = NAMES
            .iter()
            .map(|_| std::net::TcpListener::bind("127.0.0.1:0").expect("a port"))
            .collect();
        let addresses: Vec<String> = held
            .iter()
            .map(|port| port.local_addr().expect("bound").to_string())
            .collect();
        drop(held);
        let realm = Realm::create(&home.path().join("realms"), &name("acme"), b"passphrase")
            .expect("made")
            .unlock(b"passphrase")
            .expect("unlocked");
        let admin = vec!["admin".parse().expect("a role")];
        realm
            .add_user_without_password(&name("alice"), admin, now_ms())
            .expect("added");
        let alice_key = SigningKey::generate().expect("random");
        let key = NewKey {
            label: "laptop".parse().expect("a label"),
            usage: KeyUse::Device,
            key: alice_key.verifying_key(),
            expires_ms: 0,
            narrowing: None,
        };
        let (_, enrolled) = realm
            .enroll_key(&name("alice"), key, now_ms())
            .expect("enrolled");
        let called: Vec<_> = NAMES
            .iter()
            .map(|text| name(text))
            .zip(addresses.clone())
            .collect();
        let invites = realm
            .call_nodes(&called, now_ms() + HOUR_MS, now_ms())
            .expect("called");
        let mut cluster = Self {
            home,
            realm,
            addresses,
            nodes: Vec::new(),
            now_ms,
            within,
            alice_key,
            enrolled,
        };
        let mut forming = Vec::new();
        for (index, invite) in invites.iter().enumerate() {
            let invite = Invite::decode(invite.expose()).expect("whole");
            let (directory, key_file) = cluster.places(index);
            node::enrol(
                &invite,
                &cluster.home.path().join("an invite that was handed over"),
                &directory,
                &key_file,
                cluster.home.path(),
                now_ms(),
            )
            .expect("enrolled");
            let mut node = cluster.start(index).await;
            forming.push(tokio::spawn(async move {
                node.form(|_| {}).await.expect("formed");
                node
            }));
        }
        for node in forming {
            cluster.nodes.push(Some(node.await.expect("no panic")));
        }
        for node in cluster.nodes.iter().flatten() {
            within_patience(node.within_quorum()).await;
        }
        // Each is linked to each: what one is told, it tells the others at once.
        within_patience(async {
            let linked = |node: &Node| node.reachable() == (NAMES.len(), NAMES.len());
            while !cluster.nodes.iter().flatten().all(linked) {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        })
        .await;
        cluster
    }

    fn places(&self, index: usize) -> (PathBuf, PathBuf) {
        let path = |suffix: &str| self.home.path().join(format!("{}{suffix}", NAMES[index]));
        (path(""), path(".key"))
    }

    async fn start(&self, index: usize) -> Node {
        let (directory, key_file) = self.places(index);
        // What a former life of the node left running needs a moment to let go.
        let mut opened = within_patience(async {
            loop {
                match node::open(&directory, Some(&key_file), self.home.path()) {
                    Err(OpenFailure::InUse(_)) => {
                        tokio::time::sleep(Duration::from_millis(50)).await;
                    }
                    opened => break opened.expect("opened"),
                }
            }
        })
        .await;
        opened.revocations_within = self.within;
        Node::start(opened, self.now_ms).await.expect("started")
    }

    async fn stop(&mut self, index: usize) {
        let node = self.nodes[index].take().expect("it runs");
        node.stop().await;
    }

    async fn restart(&mut self, index: usize) {
        let mut node = self.start(index).await;
        node.form(|_| {}).await.expect("serves");
        self.nodes[index] = Some(node);
    }

    /// Logs alice in at a node, with a session key of before or a fresh one.
    async fn log_in(
        &self,
        index: usize,
        former: Option<&Context>,
        idle: Option<Duration>,
    ) -> Context {
        let key = SigningKey::from_seed(&self.alice_key.to_seed());
        let request = LoginRequest {
            revoked_nodes: None,
            roots: None,
            realm: self.realm.realm().id(),
            address: self.addresses[index].clone(),
            user: "alice".to_owned(),
            credential: LoginCredential::Key(ClientKey::Held(key)),
            key: former.map(|context| SigningKey::from_seed(&context.session_seed)),
            idle,
            timeout: PATIENCE,
        };
        let context = log_in(&request, (self.now_ms)()).await;
        context.unwrap_or_else(|failure| panic!("{}", failure.to_text("kv")))
    }

    async fn try_connect(
        &self,
        index: usize,
        context: &Context,
    ) -> Result<Connection, ConnectError> {
        let connector = connector(context).expect("a session key");
        connector.connect(&self.addresses[index], PATIENCE).await
    }

    /// The node refuses the session as soon as it has heard from the one that was told.
    async fn refuses_soon(&self, index: usize, context: &Context) {
        let refused = within_patience(async {
            loop {
                match self.try_connect(index, context).await {
                    Ok(_) => tokio::time::sleep(Duration::from_millis(50)).await,
                    refused => break refused,
                }
            }
        });
        assert_refused(refused.await, SESSION_ENDED);
    }

    async fn connect(&self, index: usize, context: &Context) -> Connection {
        self.try_connect(index, context)
            .await
            .expect("the session holds")
    }

    /// Hands a record of the realm to one node.
    async fn tell(&self, index: usize, record: &RecordName) {
        let record = self
            .realm
            .realm()
            .record(record)
            .expect("read")
            .expect("one");
        let key = SigningKey::generate().expect("random");
        let connector = self.stranger(&key);
        let connected = connector.connect(&self.addresses[index], PATIENCE).await;
        let directory = DirectoryClient::new(connected.expect("connected"));
        let records = vec![Bytes::from(SignedRecord::encode(&record))];
        let told = directory.publish(PublishRequest { records }, PATIENCE);
        told.await.expect("believed");
    }

    fn stranger(&self, key: &SigningKey) -> Connector {
        let pin = RealmPin::new(self.realm.realm().id(), &Presentation::Anonymous);
        Connector::new(key, Arc::new(pin), Limits::default()).expect("sound limits")
    }

    async fn revoke(&self, index: usize, revoke: impl FnOnce(&mut RevokedSessions, u64)) {
        let now_ms = (self.now_ms)();
        let revoked = self
            .realm
            .revoke_sessions(now_ms, Subject::Nothing, "a test", |revoked| {
                revoke(revoked, now_ms);
                Ok(())
            });
        revoked.expect("signed");
        self.tell(index, &RecordName::RevokedSessions).await;
    }

    async fn sessions_at(&self, index: usize, context: &Context) -> SeenSessions {
        let connector = connector(context).expect("a session key");
        let (node, told) = fetch(&connector, &self.addresses[index], None, PATIENCE)
            .await
            .expect("an administrator");
        let mut seen = SeenSessions::default();
        for session in told {
            seen.add(&node.member.name, session).expect("whole");
        }
        seen
    }
}

fn key_of(context: &Context) -> KeyId {
    SigningKey::from_seed(&context.session_seed)
        .verifying_key()
        .key_id()
}

async fn within_patience<T>(work: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, work).await.expect("in time")
}

/// Waits until the node has confirmed the revocations in time: a round that was late
/// makes it refuse for a moment.
async fn serves_again(connection: &Connection) {
    within_patience(async {
        while ask(connection).await.is_err() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    })
    .await;
}

/// Any request that takes a session, and no quorum.
async fn ask(connection: &Connection) -> Result<(), Status> {
    let store = StoreClient::new(connection.clone());
    store
        .cluster_status(ClusterStatusRequest {}, PATIENCE)
        .await
        .map(drop)
}

fn assert_ended(status: &Status, execution: Execution) {
    assert_eq!(status.code(), Code::Unauthenticated, "{status}");
    assert_eq!(status.details(), SESSION_ENDED, "{status}");
    assert_eq!(status.execution(), execution, "{status}");
}

fn assert_refused(connected: Result<Connection, ConnectError>, details: &[u8]) {
    match connected {
        Err(ConnectError::Refused(refusal)) => {
            assert_eq!(refusal.code, Code::Unauthenticated);
            assert_eq!(refusal.details, details);
        }
        Err(error) => panic!("another failure: {error}"),
        Ok(_) => panic!("admitted"),
    }
}

#[tokio::test]
async fn a_user_disabled_at_one_node_is_cut_off_at_another() {
    let cluster = Cluster::form(cli::now_ms, node::REVOCATIONS_WITHIN).await;
    let context = cluster.log_in(0, None, None).await;
    let idle = cluster.connect(2, &context).await;
    let streaming = cluster.connect(2, &context).await;
    let tail = TailRequest {
        begin: Some(Begin::Newest(1)),
        limit: 0,
        follow: true,
    };
    let audit = AuditClient::new(streaming.clone());
    let mut events = audit.tail(tail, PATIENCE).await.expect("room");
    assert!(events.next().await.expect("no failure").is_some());
    ask(&idle).await.expect("it holds");

    let disable = cluster
        .realm
        .change_user(&name("alice"), (cluster.now_ms)(), |user| {
            user.enabled = false
        });
    disable.expect("disabled");
    cluster.tell(0, &RecordName::User(name("alice"))).await;

    within_patience(idle.closed()).await;
    within_patience(streaming.closed()).await;
    let status = loop {
        match within_patience(events.next()).await {
            // What happened before the end, such as the end's own event.
            Ok(Some(_)) => {}
            Ok(None) => panic!("the stream ended as if all were well"),
            Err(status) => break status,
        }
    };
    // Its handler may have noticed before the connection ended.
    assert_eq!(status.code(), Code::Unauthenticated, "{status}");
    assert_eq!(status.details(), SESSION_ENDED, "{status}");
    assert_ended(&ask(&idle).await.expect_err("cut"), Execution::NotSent);
    for index in 0..3 {
        cluster.refuses_soon(index, &context).await;
    }
    // Enabled again, the session holds again: nobody revoked it.
    let enable = cluster
        .realm
        .change_user(&name("alice"), (cluster.now_ms)(), |user| {
            user.enabled = true
        });
    enable.expect("enabled");
    for index in 0..3 {
        cluster.tell(index, &RecordName::User(name("alice"))).await;
    }
    ask(&cluster.connect(2, &context).await)
        .await
        .expect("it holds");
}

#[tokio::test]
async fn a_revoked_key_of_the_user_takes_its_sessions_along() {
    let cluster = Cluster::form(cli::now_ms, node::REVOCATIONS_WITHIN).await;
    let context = cluster.log_in(0, None, None).await;
    let connection = cluster.connect(1, &context).await;
    let id = cluster.enrolled.id;
    let revoked = cluster
        .realm
        .revoke_key(&name("alice"), id, (cluster.now_ms)());
    revoked.expect("revoked");
    cluster.tell(2, &RecordName::User(name("alice"))).await;
    within_patience(connection.closed()).await;
    assert_refused(cluster.try_connect(1, &context).await, SESSION_ENDED);
}

#[tokio::test]
async fn one_revoked_session_ends_everywhere_and_the_users_others_go_on() {
    let cluster = Cluster::form(cli::now_ms, node::REVOCATIONS_WITHIN).await;
    let (lost, kept) = (
        cluster.log_in(0, None, None).await,
        cluster.log_in(1, None, None).await,
    );
    let (lost_there, kept_there) = (
        cluster.connect(1, &lost).await,
        cluster.connect(1, &kept).await,
    );
    let lost_here = cluster.connect(0, &lost).await;

    let seen = cluster.sessions_at(1, &kept).await;
    let (_, shown) = seen
        .iter()
        .find(|(key, _)| **key == key_of(&lost))
        .expect("listed");
    assert_eq!(
        (shown.user.as_str(), shown.made_by.as_deref()),
        ("alice", Some("laptop"))
    );
    assert!(shown.expires_ms <= lost.proof.expires_ms && shown.issued_ms < shown.expires_ms);
    assert!(shown.last_used_ms >= shown.issued_ms && shown.origin.starts_with("127.0.0.1"));

    let key = key_of(&lost);
    cluster
        .revoke(0, |revoked, now_ms| {
            assert_eq!(revoked.revoke_key(key, now_ms), Ok(true))
        })
        .await;
    within_patience(lost_here.closed()).await;
    within_patience(lost_there.closed()).await;
    ask(&kept_there).await.expect("another session");
    cluster.refuses_soon(2, &lost).await;
    let seen = cluster.sessions_at(1, &kept).await;
    assert!(
        seen.iter().all(|(key, _)| *key != key_of(&lost)),
        "it is not listed"
    );

    // A login goes on with the former key, and takes another where that is revoked.
    let again = cluster.log_in(1, Some(&kept), None).await;
    assert_eq!(key_of(&again), key_of(&kept));
    let again = cluster.log_in(1, Some(&lost), None).await;
    assert_ne!(key_of(&again), key_of(&lost));
    ask(&cluster.connect(2, &again).await)
        .await
        .expect("it holds");
}

#[tokio::test]
async fn nobody_logs_in_with_a_key_whose_sessions_were_revoked() {
    let cluster = Cluster::form(cli::now_ms, node::REVOCATIONS_WITHIN).await;
    let key = SigningKey::generate().expect("random");
    let connector = cluster.stranger(&key);
    connector
        .connect(&cluster.addresses[0], PATIENCE)
        .await
        .expect("a stranger may");
    let id = key.verifying_key().key_id();
    cluster
        .revoke(0, |revoked, now_ms| {
            assert_eq!(revoked.revoke_key(id, now_ms), Ok(true))
        })
        .await;
    let connected = connector.connect(&cluster.addresses[0], PATIENCE).await;
    assert_refused(connected, KEY_REVOKED);
}

#[tokio::test]
async fn all_sessions_of_a_user_end_and_a_later_login_holds() {
    let cluster = Cluster::form(cli::now_ms, node::REVOCATIONS_WITHIN).await;
    let sessions = [
        cluster.log_in(0, None, None).await,
        cluster.log_in(1, None, None).await,
    ];
    let mut open = Vec::new();
    for context in &sessions {
        open.push(cluster.connect(2, context).await);
    }
    // Not in the millisecond of the login.
    tokio::time::sleep(Duration::from_millis(5)).await;
    cluster
        .revoke(1, |revoked, now_ms| {
            revoked.revoke_user(name("alice"), now_ms).expect("room");
        })
        .await;
    for connection in &open {
        within_patience(connection.closed()).await;
    }
    for context in &sessions {
        cluster.refuses_soon(0, context).await;
    }
    let later = cluster.log_in(2, Some(&sessions[0]), None).await;
    ask(&cluster.connect(2, &later).await)
        .await
        .expect("it holds");
}

#[tokio::test]
async fn a_session_that_goes_unused_for_longer_than_it_may_ends() {
    let cluster = Cluster::form(later_now_ms, node::REVOCATIONS_WITHIN).await;
    let limit = Duration::from_millis(HOUR_MS);
    let context = cluster.log_in(0, None, Some(limit)).await;
    let connection = cluster.connect(0, &context).await;
    let unlimited = cluster.log_in(0, None, None).await;
    let unlimited = cluster.connect(0, &unlimited).await;
    for _ in 0..4 {
        LATER_MS.fetch_add(HOUR_MS / 3, Ordering::SeqCst);
        ask(&connection).await.expect("it is used");
    }
    LATER_MS.fetch_add(HOUR_MS, Ordering::SeqCst);
    within_patience(connection.closed()).await;
    assert_ended(
        &ask(&connection).await.expect_err("cut"),
        Execution::NotSent,
    );
    assert_refused(cluster.try_connect(0, &context).await, SESSION_ENDED);
    ask(&unlimited).await.expect("it has no limit");
}

#[tokio::test]
async fn a_clock_that_is_set_back_revives_no_session_before_or_after_a_restart() {
    MOVED_MS.store(HOUR_MS, Ordering::SeqCst);
    let mut cluster = Cluster::form(moved_now_ms, node::REVOCATIONS_WITHIN).await;
    let context = cluster.log_in(0, None, None).await;
    let connection = cluster.connect(0, &context).await;
    ask(&connection).await.expect("it holds");
    // The session's end comes.
    let lifetime_ms = context.proof.expires_ms - moved_now_ms();
    MOVED_MS.fetch_add(lifetime_ms + 1, Ordering::SeqCst);
    within_patience(connection.closed()).await;
    assert_refused(cluster.try_connect(0, &context).await, SESSION_ENDED);
    // Every node has looked at its clock when it has judged a session. And goes.
    for index in 0..3 {
        assert_refused(cluster.try_connect(index, &context).await, SESSION_ENDED);
    }
    MOVED_MS.fetch_sub(lifetime_ms + 1, Ordering::SeqCst);
    for index in 0..3 {
        assert_refused(cluster.try_connect(index, &context).await, SESSION_ENDED);
    }
    for index in 0..3 {
        cluster.stop(index).await;
    }
    for index in 0..3 {
        cluster.restart(index).await;
    }
    for index in 0..3 {
        assert_refused(cluster.try_connect(index, &context).await, SESSION_ENDED);
    }
}

#[tokio::test]
async fn a_node_that_hears_nothing_serves_no_session_until_it_hears_again() {
    let mut cluster = Cluster::form(cli::now_ms, Duration::from_secs(2)).await;
    let context = cluster.log_in(0, None, None).await;
    let connection = cluster.connect(0, &context).await;
    serves_again(&connection).await;
    cluster.stop(1).await;
    // Two of three know enough.
    tokio::time::sleep(Duration::from_secs(3)).await;
    serves_again(&connection).await;
    cluster.stop(2).await;
    let status = within_patience(async {
        loop {
            match ask(&connection).await {
                Ok(()) => tokio::time::sleep(Duration::from_millis(50)).await,
                Err(status) => break status,
            }
        }
    })
    .await;
    assert_eq!(
        (status.code(), status.execution()),
        (Code::Unavailable, Execution::NotStarted)
    );
    assert!(
        status.message().contains("which sessions were revoked"),
        "{status}"
    );
    assert!(
        !connection.is_closed(),
        "it may go on when the node knows more"
    );
    // Whoever brings records, and whoever logs in, is still heard.
    cluster.tell(0, &RecordName::User(name("alice"))).await;
    let later = cluster.log_in(0, None, None).await;
    let later = cluster.connect(0, &later).await;
    assert_eq!(
        ask(&later).await.expect_err("nobody").code(),
        Code::Unavailable
    );
    cluster.restart(2).await;
    within_patience(async {
        while ask(&connection).await.is_err() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    })
    .await;
}

#[tokio::test]
async fn revocations_and_closed_connections_are_on_record() {
    let cluster = Cluster::form(cli::now_ms, node::REVOCATIONS_WITHIN).await;
    let (lost, kept) = (
        cluster.log_in(0, None, None).await,
        cluster.log_in(0, None, None).await,
    );
    let ended = cluster.connect(0, &lost).await;
    let key = key_of(&lost);
    cluster
        .revoke(0, |revoked, now_ms| {
            assert_eq!(revoked.revoke_key(key, now_ms), Ok(true))
        })
        .await;
    within_patience(ended.closed()).await;
    let connector = connector(&kept).expect("a session key");
    let audit = sealmoot_authn::audit::client::AuditNode::connect(
        &connector,
        &cluster.addresses[0],
        PATIENCE,
    );
    let audit = audit.await.expect("an administrator");
    let mut wanted = vec![What::SessionsRevoked, What::SessionCut];
    within_patience(async {
        let mut events = audit.tail(Begin::From(0), 0, true).await.expect("room");
        while !wanted.is_empty() {
            let entries = events.next().await.expect("no failure").expect("not over");
            for entry in entries {
                let event = Event::decode(&entry.event).expect("an event");
                wanted.retain(|what| *what != event.what);
            }
        }
    })
    .await;
}

#[tokio::test]
async fn a_revoked_node_is_cut_off_and_so_are_the_sessions_that_it_made() {
    use sealmoot_authn::pin::{NODE_REVOKED, RealmPin};
    use sealmoot_authn::presentation::Presentation;
    use sealmoot_rpc::{Connector, Limits};

    let mut cluster = Cluster::form(cli::now_ms, node::REVOCATIONS_WITHIN).await;
    let (by_stolen, kept) = (
        cluster.log_in(2, None, None).await,
        cluster.log_in(0, None, None).await,
    );
    let there = cluster.connect(1, &by_stolen).await;
    let kept_there = cluster.connect(1, &kept).await;
    let stolen = cluster.connect(2, &kept).await.peer().key_id();
    let reaches = |cluster: &Cluster, index: usize| {
        let node = cluster.nodes[index].as_ref().expect("it runs");
        node.reachable()
    };
    within_patience(async {
        while (0..3).any(|index| reaches(&cluster, index) != (3, 3)) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;

    let revoked = cluster
        .realm
        .revoke_nodes(&[(name("n3"), stolen)], (cluster.now_ms)());
    revoked.expect("signed");
    cluster.tell(0, &RecordName::RevokedNodes).await;
    within_patience(there.closed()).await;
    for index in 0..2 {
        cluster.refuses_soon(index, &by_stolen).await;
    }
    ask(&kept_there).await.expect("another node made it");
    // Nobody talks to it any more, and it to nobody.
    within_patience(async {
        let wanted = [(2, 3), (2, 3), (1, 3)];
        while (0..3).any(|index| reaches(&cluster, index) != wanted[index]) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;

    // A client that has spoken with another node refuses it before it says a word.
    let pin = RealmPin::new(cluster.realm.realm().id(), &Presentation::Anonymous);
    let key = SigningKey::generate().expect("random");
    let connector = Connector::new(&key, std::sync::Arc::new(pin), Limits::default());
    let connector = connector.expect("sound limits");
    let connect = |index: usize| connector.connect(&cluster.addresses[index], PATIENCE);
    connect(0).await.expect("a node of the realm");
    match connect(2).await.map(drop) {
        Err(ConnectError::Untrusted(refusal) | ConnectError::Refused(refusal)) => {
            assert_eq!(refusal.details, NODE_REVOKED);
        }
        other => panic!("{other:?}"),
    }

    // It stays so after a restart, of the others and of itself.
    for index in 0..3 {
        cluster.stop(index).await;
    }
    for index in 0..3 {
        cluster.restart(index).await;
    }
    for index in 0..2 {
        let node = cluster.nodes[index].as_ref().expect("it runs");
        within_patience(node.within_quorum()).await;
        assert_refused(cluster.try_connect(index, &by_stolen).await, SESSION_ENDED);
    }
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(reaches(&cluster, 2), (1, 3));
    serves_again(&cluster.connect(0, &kept).await).await;
}

/// The seed that lies sealed in a realm's directory.
fn root_key(cluster: &Cluster) -> SigningKey {
    use sealmoot_crypto::passphrase_box;
    use sealmoot_crypto::secret::SecretArray;

    let realm = cluster.realm.realm();
    let content = std::fs::read(realm.directory().join("root.sealed")).expect("read");
    let sealed = &content[..content.len() - 32];
    let id = realm.id();
    let keys = passphrase_box::open(b"passphrase", "realm root key", id.as_bytes(), sealed);
    let keys = keys.expect("the passphrase");
    let seed = SecretArray::from_slice(&keys.expose()[..32]).expect("a seed");
    SigningKey::from_seed(&seed)
}

/// Hands records to a node as who knows these roots and these revoked nodes.
async fn bring(
    cluster: &Cluster,
    index: usize,
    roots: &Roots,
    revoked: Option<&RevokedNodesRecord>,
    records: Vec<Vec<u8>>,
) -> Result<u32, Status> {
    let pin = RealmPin::new(roots.realm(), &Presentation::Anonymous);
    pin.know_roots(roots).expect("of this realm");
    if let Some(revoked) = revoked {
        pin.know(revoked.clone());
    }
    let key = SigningKey::generate().expect("random");
    let connector = Connector::new(&key, Arc::new(pin), Limits::default()).expect("limits");
    let connected = connector.connect(&cluster.addresses[index], PATIENCE).await;
    let directory = DirectoryClient::new(connected.expect("connected"));
    let records = records.into_iter().map(Bytes::from).collect();
    let told = directory.publish(PublishRequest { records }, PATIENCE);
    told.await.map(|reply| reply.taken)
}

/// The roots that a node shows.
async fn shown_at(cluster: &Cluster, index: usize) -> u64 {
    let key = SigningKey::generate().expect("random");
    let connector = cluster.stranger(&key);
    let connected = connector.connect(&cluster.addresses[index], PATIENCE).await;
    let connected = connected.expect("connected");
    let node = connected.peer().claims::<TrustedNode>().expect("judged");
    node.roots.number()
}

#[tokio::test]
async fn a_cluster_that_a_thief_of_the_root_shut_down_is_taken_back_by_the_heir() {
    let mut cluster = Cluster::form(cli::now_ms, node::REVOCATIONS_WITHIN).await;
    let kept = cluster.log_in(0, None, None).await;
    let id = cluster.realm.realm().id();
    let (root, heir) = (
        root_key(&cluster),
        cluster
            .realm
            .realm()
            .open_heir(None, b"passphrase")
            .expect("opens"),
    );
    let former = cluster.realm.realm().roots().clone();
    let keys: Vec<KeyId> = {
        let mut keys = Vec::new();
        for index in 0..3 {
            keys.push(cluster.connect(index, &kept).await.peer().key_id());
        }
        keys
    };
    // One node is down all the while.
    cluster.stop(2).await;

    // A thief revokes all nodes with the root's key.
    let all: Vec<(Name, KeyId)> = NAMES.iter().map(|text| name(text)).zip(keys).collect();
    let revoked = cluster.realm.revoke_nodes(&all, cli::now_ms());
    revoked.expect("signed");
    cluster.tell(0, &RecordName::RevokedNodes).await;
    assert!(cluster.try_connect(0, &kept).await.is_err());

    // The heir: another key that the thief names is not it.
    let next = SigningKey::generate().expect("random");
    let next = next.verifying_key().key_id();
    let calls = cluster.realm.realm().calls().expect("read");
    let calls: Vec<[u8; 32]> = calls.iter().map(|call| sha256(call.bytes())).collect();
    let thief = SigningKey::generate().expect("random");
    assert!(former.hand_over(&root, &thief, next, &calls, 1).is_err());
    let roots = former.hand_over(&root, &heir, next, &calls, cli::now_ms());
    let roots = roots.expect("the heir");
    let record = cluster.realm.realm().user(&name("alice")).expect("read");
    let user = record.expect("there is one").user().clone();
    let now_ms = cli::now_ms();
    let alice = UserRecord::new(Verified::issue(&id, &heir, now_ms, user.clone()), None);
    let alice = alice.expect("no password").under_root(1);
    let nodes = Verified::issue(&id, &heir, now_ms, RevokedNodes::default());
    let nodes = RevokedNodesRecord::new(nodes).under_root(1);
    let revocations = Verified::issue(&id, &heir, now_ms, Revocations::default());
    let revocations = RevocationsRecord::new(revocations).under_root(1);

    for index in 0..2 {
        let bring = |records| bring(&cluster, index, &roots, Some(&nodes), records);
        // What rests on a root that is not known is not believed, and roots come first.
        if index == 0 {
            let early = bring(vec![alice.encode()]).await.expect_err("unknown root");
            assert_eq!(early.code(), Code::PermissionDenied);
        }
        let late = bring(vec![nodes.encode(), roots.encode()]).await;
        assert!(late.is_err());
        bring(vec![roots.encode(), nodes.encode()])
            .await
            .expect("believed");
        bring(vec![alice.encode()]).await.expect("believed");
        bring(vec![revocations.encode()]).await.expect("believed");
    }
    // What the former root signs from now on is refused by name.
    let thiefs = User {
        version: u64::MAX,
        ..user
    };
    let thiefs = UserRecord::new(Verified::issue(&id, &root, now_ms, thiefs), None);
    let thiefs = thiefs.expect("no password").encode();
    let refused = bring(&cluster, 0, &roots, Some(&nodes), vec![thiefs]).await;
    let refused = refused.expect_err("a former root's");
    assert_eq!(refused.code(), Code::PermissionDenied);
    assert!(refused.message().contains("former root"), "{refused}");

    // The session that was there before goes on, the node that was down learns it all, and
    // one that starts again has not forgotten.
    cluster.restart(2).await;
    within_patience(async {
        while shown_at(&cluster, 2).await != 1 {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    })
    .await;
    cluster.stop(0).await;
    cluster.restart(0).await;
    assert_eq!(shown_at(&cluster, 0).await, 1);
    within_patience(async {
        for index in 0..3 {
            loop {
                match cluster.try_connect(index, &kept).await {
                    Ok(connection) => {
                        serves_again(&connection).await;
                        break;
                    }
                    Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
                }
            }
        }
    })
    .await;
    let again = cluster.log_in(1, None, None).await;
    let known = again.roots.as_ref().expect("learnt");
    assert_eq!(known.encode(), roots.encode());
    serves_again(&cluster.connect(2, &again).await).await;
}

/// So many nodes held the end when it was answered, where its answer was not lost: another
/// node's end of the session may close the connection first.
fn assert_told(ended: &EndedAt, held_by: u32) {
    let told = match ended {
        EndedAt::Nodes {
            held,
            quorum: 2,
            nodes: 3,
        } => *held == held_by,
        EndedAt::Already => true,
        _ => false,
    };
    assert!(told, "{ended:?}");
}

fn end_of(cluster: &Cluster, context: &Context, by: &Context) -> Bytes {
    let key = SigningKey::from_seed(&by.session_seed);
    let realm = cluster.realm.realm().id();
    let receipt = &context.proof.receipt;
    let until_ms = context.key_until_ms;
    Ended::issue(&realm, &key, receipt, until_ms, (cluster.now_ms)()).into()
}

#[tokio::test]
async fn a_session_that_ends_itself_is_over_everywhere_and_stays_so() {
    let mut cluster = Cluster::form(cli::now_ms, node::REVOCATIONS_WITHIN).await;
    let (lost, kept) = (
        cluster.log_in(0, None, None).await,
        cluster.log_in(0, None, None).await,
    );
    let mut open = Vec::new();
    for index in 0..3 {
        open.push(cluster.connect(index, &lost).await);
    }
    let kept_there = cluster.connect(1, &kept).await;
    // Stopped before: it learns of the end when it is back.
    cluster.stop(2).await;
    let ended = end_session(&lost, Vec::new(), PATIENCE, (cluster.now_ms)()).await;
    let ended = ended.unwrap_or_else(|failure| panic!("{}", failure.to_text("kv")));
    assert_told(&ended, 2);
    for connection in &open {
        within_patience(connection.closed()).await;
    }
    for index in 0..2 {
        cluster.refuses_soon(index, &lost).await;
    }
    ask(&kept_there).await.expect("another session goes on");
    cluster.restart(2).await;
    within_patience(cluster.nodes[2].as_ref().expect("it runs").within_quorum()).await;
    cluster.refuses_soon(2, &lost).await;
    // Told again, it is over already.
    let again = end_session(&lost, Vec::new(), PATIENCE, (cluster.now_ms)()).await;
    assert_eq!(again.ok(), Some(EndedAt::Already));
    // The ends are as durable as the sessions.
    for index in 0..3 {
        cluster.stop(index).await;
    }
    for index in 0..3 {
        cluster.restart(index).await;
    }
    for index in 0..3 {
        assert_refused(cluster.try_connect(index, &lost).await, SESSION_ENDED);
    }
    serves_again(&cluster.connect(0, &kept).await).await;
    let later = cluster.log_in(0, Some(&lost), None).await;
    assert_ne!(key_of(&later), key_of(&lost), "the key speaks for nobody");
}

#[tokio::test]
async fn nobody_ends_the_session_of_another() {
    let cluster = Cluster::form(cli::now_ms, node::REVOCATIONS_WITHIN).await;
    let (one, other) = (
        cluster.log_in(0, None, None).await,
        cluster.log_in(0, None, None).await,
    );
    let client = SessionsClient::new(cluster.connect(0, &other).await);
    let end = |record: Bytes| client.end(EndRequest { record }, PATIENCE);
    let own = end_of(&cluster, &one, &one);
    let denied = [
        ("a true end, in another's channel", own.clone()),
        ("signed by another", end_of(&cluster, &one, &other)),
        ("another's receipt", end_of(&cluster, &other, &one)),
        ("nothing", Bytes::new()),
    ];
    for (what, record) in denied {
        let status = end(record).await.expect_err(what);
        assert_eq!(status.code(), Code::PermissionDenied, "{what}: {status}");
    }
    // What nodes tell each other is believed from nodes only.
    let take = TakeEndedRequest { records: vec![own] };
    let status = client
        .take_ended(take, PATIENCE)
        .await
        .expect_err("no node");
    assert_eq!(status.code(), Code::PermissionDenied, "{status}");
    let asked = client.ended(EndedRequest::default(), PATIENCE).await;
    assert_eq!(asked.expect_err("no node").code(), Code::PermissionDenied);
    for context in [&one, &other] {
        for index in 0..3 {
            ask(&cluster.connect(index, context).await)
                .await
                .expect("it holds");
        }
    }
}

#[tokio::test]
async fn a_node_remembers_no_end_for_longer_than_any_session_lasts() {
    let cluster = Cluster::form(cli::now_ms, node::REVOCATIONS_WITHIN).await;
    let mut context = cluster.log_in(0, None, None).await;
    context.key_until_ms = u64::MAX;
    let client = SessionsClient::new(cluster.connect(0, &context).await);
    let record = end_of(&cluster, &context, &context);
    let status = client.end(EndRequest { record }, PATIENCE).await;
    assert_eq!(status.expect_err("too long").code(), Code::PermissionDenied);
    ask(&cluster.connect(0, &context).await)
        .await
        .expect("it holds");
}

#[tokio::test]
async fn a_user_ends_so_many_sessions_and_no_more() {
    let cluster = Cluster::form(cli::now_ms, node::REVOCATIONS_WITHIN).await;
    for _ in 0..sealmoot_authn::ended::ENDED_OF_USER_MAX {
        let context = cluster.log_in(0, None, None).await;
        let ended = end_session(&context, Vec::new(), PATIENCE, (cluster.now_ms)()).await;
        assert_told(&ended.expect("ended"), 3);
        for index in 0..3 {
            cluster.refuses_soon(index, &context).await;
        }
    }
    let one_more = cluster.log_in(0, None, None).await;
    let client = SessionsClient::new(cluster.connect(0, &one_more).await);
    let record = end_of(&cluster, &one_more, &one_more);
    let status = client.end(EndRequest { record }, PATIENCE).await;
    assert_eq!(status.expect_err("no room").code(), Code::ResourceExhausted);
    // What another node made has room of its own.
    let elsewhere = cluster.log_in(1, None, None).await;
    let ended = end_session(&elsewhere, Vec::new(), PATIENCE, (cluster.now_ms)()).await;
    assert_told(&ended.expect("ended"), 3);
    for index in 0..3 {
        cluster.refuses_soon(index, &elsewhere).await;
    }
}
