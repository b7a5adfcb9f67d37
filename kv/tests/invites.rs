//! What invites seal, at a cluster of three nodes in this process: who opens it, when,
//! and who does not.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use sealmoot_authn::cli;
use sealmoot_authn::client_key::ClientKey;
use sealmoot_authn::context::Context;
use sealmoot_authn::invite::Invite;
use sealmoot_authn::name::Name;
use sealmoot_authn::pin::RealmPin;
use sealmoot_authn::presentation::Presentation;
use sealmoot_authn::realm::{NewKey, OpenRealm, Realm};
use sealmoot_authn::statement::KeyUse;
use sealmoot_crypto::secret::SecretBytes;
use sealmoot_crypto::signature::SigningKey;
use sealmoot_kv::client::{LoginCredential, LoginRequest, log_in};
use sealmoot_kv::node::authorizer::{TowardsPeers, Trust};
use sealmoot_kv::node::{self, Node, OpenFailure, Opened};
use sealmoot_kv::proto::{EnrolmentClient, HandOverRequest};
use sealmoot_rpc::{Authorizer, Code, Connector, Limits, Status};

const NAMES: [&str; 3] = ["n1", "n2", "n3"];
const PATIENCE: Duration = Duration::from_secs(60);
const HOUR_MS: u64 = 3_600_000;

/// A realm with a user alice, who has a key, and three directories that answered their
/// invites.
struct Cluster {
    home: tempfile::TempDir,
    realm: OpenRealm,
    addresses: Vec<String>,
    invites: Vec<SecretBytes>,
    alice_key: SigningKey,
}

fn name(text: &str) -> Name {
    text.parse().expect("a name")
}

async fn within_patience<T>(work: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, work).await.expect("in time")
}

/// What a former life of the node left running needs a moment to let go.
async fn when_free<T>(mut open: impl FnMut() -> Result<T, OpenFailure>) -> Result<T, OpenFailure> {
    within_patience(async {
        loop {
            match open() {
                Err(OpenFailure::InUse(_)) => tokio::time::sleep(Duration::from_millis(50)).await,
                opened => break opened,
            }
        }
    })
    .await
}

impl Cluster {
    fn enrolled() -> Self {
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
            .add_user_without_password(&name("alice"), admin, cli::now_ms())
            .expect("added");
        let alice_key = SigningKey::generate().expect("random");
        let key = NewKey {
            label: "laptop".parse().expect("a label"),
            usage: KeyUse::Device,
            key: alice_key.verifying_key(),
            expires_ms: 0,
            narrowing: None,
        };
        realm
            .enroll_key(&name("alice"), key, cli::now_ms())
            .expect("enrolled");
        let called: Vec<_> = NAMES
            .iter()
            .map(|text| name(text))
            .zip(addresses.clone())
            .collect();
        let invites = realm
            .call_nodes(&called, cli::now_ms() + HOUR_MS, cli::now_ms())
            .expect("called");
        let cluster = Self {
            home,
            realm,
            addresses,
            invites,
            alice_key,
        };
        for index in 0..NAMES.len() {
            let (directory, key_file) = cluster.places(index);
            cluster.enrol(index, &directory, &key_file);
        }
        cluster
    }

    fn enrol(&self, index: usize, directory: &Path, key_file: &Path) {
        let invite = Invite::decode(self.invites[index].expose()).expect("whole");
        let handed = self.home.path().join("an invite that was handed over");
        node::enrol(
            &invite,
            &handed,
            directory,
            key_file,
            self.home.path(),
            cli::now_ms(),
        )
        .expect("enrolled");
    }

    fn places(&self, index: usize) -> (PathBuf, PathBuf) {
        let path = |suffix: &str| self.home.path().join(format!("{}{suffix}", NAMES[index]));
        (path(""), path(".key"))
    }

    async fn start(&self, index: usize) -> Node {
        let opened = self.open(index).await;
        Node::start(opened, cli::now_ms).await.expect("started")
    }

    async fn open(&self, index: usize) -> Opened {
        let (directory, key_file) = self.places(index);
        let open = || node::open(&directory, Some(&key_file), self.home.path());
        when_free(open).await.expect("opened")
    }

    async fn is_sound(&self, index: usize) -> bool {
        let (directory, key_file) = self.places(index);
        let verify = || node::verify(&directory, Some(&key_file), self.home.path());
        when_free(verify).await.expect("read").damaged.is_empty()
    }

    /// All three know the roster, and none has begun to open what is sealed.
    async fn agreed(&self) -> Vec<Node> {
        let mut agreeing = Vec::new();
        for index in 0..NAMES.len() {
            let mut node = self.start(index).await;
            agreeing.push(tokio::spawn(async move {
                node.agree(|_| {}).await.expect("agreed").expect("a roster");
                node
            }));
        }
        let mut nodes = Vec::new();
        for node in agreeing {
            nodes.push(within_patience(node).await.expect("no panic"));
        }
        nodes
    }

    /// Starts these and lets them serve.
    async fn serving(&self, which: &[usize]) -> Vec<Node> {
        let mut forming = Vec::new();
        for index in which {
            let mut node = self.start(*index).await;
            forming.push(tokio::spawn(async move {
                node.form(|_| {}).await.expect("formed");
                node
            }));
        }
        let mut nodes = Vec::new();
        for node in forming {
            nodes.push(within_patience(node).await.expect("no panic"));
        }
        nodes
    }

    fn identity(&self, index: usize) -> node::identity::Identity {
        let (directory, key_file) = self.places(index);
        node::reads_identity(&directory, Some(&key_file), self.home.path()).expect("read")
    }

    fn has_login_secrets(&self, index: usize) -> bool {
        self.identity(index).login.is_some()
    }

    fn has_sealed_part(&self, index: usize) -> bool {
        self.places(index).0.join("invite-0001").exists()
    }

    async fn try_log_in(&self, index: usize) -> Result<Context, cli::Failure> {
        let request = LoginRequest {
            roots: None,
            revoked_nodes: None,
            realm: self.realm.realm().id(),
            address: self.addresses[index].clone(),
            user: "alice".to_owned(),
            credential: LoginCredential::Key(ClientKey::Held(SigningKey::from_seed(
                &self.alice_key.to_seed(),
            ))),
            key: None,
            idle: None,
            timeout: PATIENCE,
        };
        log_in(&request, cli::now_ms()).await
    }

    async fn logs_in(&self, index: usize, node: &Node) -> Context {
        within_patience(node.within_quorum()).await;
        let logged_in = self.try_log_in(index).await;
        logged_in.unwrap_or_else(|failure| panic!("{}", failure.to_text("kv")))
    }

    /// What a node says to the session of a context.
    async fn show(&self, index: usize, context: &Context) -> Result<(), String> {
        let presentation = Presentation::Session {
            session: context.proof.session.clone(),
            receipt: context.proof.receipt.clone(),
        };
        let pin = RealmPin::new(context.realm, &presentation);
        let key = SigningKey::from_seed(&context.session_seed);
        let connector = Connector::new(&key, Arc::new(pin), Limits::default());
        let connector = connector.expect("sound limits");
        let connected = connector.connect(&self.addresses[index], PATIENCE).await;
        connected.map(drop).map_err(|error| error.cause())
    }

    /// Asks a node for its share, as whoever holds the key.
    async fn ask(
        &self,
        index: usize,
        key: &SigningKey,
        as_whom: Arc<dyn Authorizer>,
    ) -> Result<Vec<u8>, Status> {
        let connector = Connector::new(key, as_whom, Limits::default()).expect("sound limits");
        let connected = connector.connect(&self.addresses[index], PATIENCE).await;
        let client = EnrolmentClient::new(connected.expect("connected"));
        let reply = client.hand_over(HandOverRequest {}, PATIENCE).await?;
        Ok(reply.share.to_vec())
    }
}

fn fork(directory: &Path, copy: &Path) {
    std::fs::create_dir(copy).expect("made");
    let mode = std::fs::metadata(directory).expect("there").permissions();
    std::fs::set_permissions(copy, mode).expect("private");
    for entry in std::fs::read_dir(directory).expect("listed") {
        let entry = entry.expect("listed");
        std::fs::copy(entry.path(), copy.join(entry.file_name())).expect("copied");
    }
}

#[tokio::test]
async fn nodes_that_were_stopped_before_they_opened_open_it_when_enough_are_back() {
    let cluster = Cluster::enrolled();
    for node in cluster.agreed().await {
        assert!(node.is_formed());
        node.stop().await;
    }
    for index in 0..NAMES.len() {
        assert!(!cluster.has_login_secrets(index) && cluster.has_sealed_part(index));
    }
    // One alone has its share, and waits.
    let mut alone = cluster.start(0).await;
    let waiting = tokio::time::timeout(Duration::from_millis(500), alone.form(|_| {})).await;
    assert!(waiting.is_err(), "one share opens nothing");
    assert!(cluster.try_log_in(0).await.is_err());
    alone.stop().await;
    assert!(!cluster.has_login_secrets(0) && cluster.has_sealed_part(0));

    // Two are enough, and the third finds the sealed part's secrets when it is back.
    let two = cluster.serving(&[0, 1]).await;
    let mut sessions = Vec::new();
    for (index, node) in two.iter().enumerate() {
        sessions.push(cluster.logs_in(index, node).await);
        assert!(cluster.has_login_secrets(index) && !cluster.has_sealed_part(index));
    }
    assert!(!cluster.has_login_secrets(2) && cluster.has_sealed_part(2));
    let mut waiting = cluster.start(2).await;
    // It knows no user yet, and so does not say that a session ended.
    let shown = cluster.show(2, &sessions[0]).await;
    let cause = shown.expect_err("it cannot judge");
    assert!(cause.contains("has not formed yet"), "{cause}");
    assert_eq!(cluster.show(1, &sessions[0]).await, Ok(()));
    // Whoever gives up waiting for it and comes back finds it where it was.
    let given_up = tokio::time::timeout(Duration::ZERO, waiting.form(|_| {})).await;
    assert!(given_up.is_err());
    within_patience(waiting.form(|_| {})).await.expect("opened");
    let third = vec![waiting];
    cluster.logs_in(2, &third[0]).await;
    assert_eq!(cluster.show(2, &sessions[0]).await, Ok(()));
    assert!(cluster.has_login_secrets(2) && !cluster.has_sealed_part(2));
    let login = |index| {
        let login = cluster.identity(index).login.expect("opened");
        login.encode().expose().to_vec()
    };
    assert!(login(0) == login(1) && login(1) == login(2));
    for node in two.into_iter().chain(third) {
        node.stop().await;
    }

    // What was opened stays: nobody is asked again, and the log has the records.
    let mut again = cluster.start(2).await;
    within_patience(again.form(|_| {})).await.expect("serves");
    again.stop().await;
}

#[tokio::test]
async fn a_crash_while_it_is_opened_is_made_good_at_the_next_start() {
    let cluster = Cluster::enrolled();
    for node in cluster.agreed().await {
        node.stop().await;
    }
    let (directory, _) = cluster.places(0);
    let before = cluster.home.path().join("before");
    fork(&directory, &before);
    let both = cluster.serving(&[0, 1]).await;
    for node in both {
        node.stop().await;
    }
    // The records in the log, the identity and the sealed part as they were: both again.
    std::fs::copy(before.join("identity"), directory.join("identity")).expect("put back");
    std::fs::copy(before.join("invite-0001"), directory.join("invite-0001")).expect("put back");
    assert!(cluster.is_sound(0).await);
    let both = cluster.serving(&[0, 1]).await;
    cluster.logs_in(0, &both[0]).await;
    for node in both {
        node.stop().await;
    }
    // The identity is written and the sealed part still there: it is removed.
    std::fs::copy(before.join("invite-0001"), directory.join("invite-0001")).expect("put back");
    assert!(cluster.has_login_secrets(0) && cluster.has_sealed_part(0));
    let started = cluster.start(0).await;
    assert!(!cluster.has_sealed_part(0));
    started.stop().await;
}

#[tokio::test]
async fn a_share_is_for_members_of_the_roster_only() {
    let cluster = Cluster::enrolled();
    // A node of the call, with its own key, before there is a roster.
    let first = cluster.start(0).await;
    let peer = Arc::new(Trust::of_candidate(cluster.identity(1)));
    let towards = || Arc::new(TowardsPeers(Arc::clone(&peer)));
    let refused = cluster.ask(0, &peer.identity.key, towards()).await;
    assert_eq!(
        refused.expect_err("no member yet").code(),
        Code::PermissionDenied
    );
    first.stop().await;

    let nodes = cluster.agreed().await;
    // Somebody unknown, and a node that shows itself as a candidate only.
    let stranger = SigningKey::generate().expect("random");
    let anonymous = RealmPin::new(cluster.realm.realm().id(), &Presentation::Anonymous);
    let refused = cluster.ask(0, &stranger, Arc::new(anonymous)).await;
    assert_eq!(
        refused.expect_err("a stranger").code(),
        Code::PermissionDenied
    );
    let refused = cluster.ask(0, &peer.identity.key, towards()).await;
    assert_eq!(
        refused.expect_err("a candidate").code(),
        Code::PermissionDenied
    );

    // The same node as a member.
    let mut nodes = nodes.into_iter();
    let (first, second) = (nodes.next().expect("three"), nodes.next().expect("three"));
    second.stop().await;
    let roster = cluster.open(1).await.roster.expect("agreed");
    let peer = Trust::of_candidate(cluster.identity(1));
    *peer.roster.write().expect("whole") = Some(Arc::new(roster));
    let peer = Arc::new(peer);
    let towards = Arc::new(TowardsPeers(Arc::clone(&peer)));
    let share = cluster.ask(0, &peer.identity.key, towards).await;
    let own = cluster.identity(0).share;
    assert_eq!(share.expect("a member"), own.value().expose());
    first.stop().await;
    for node in nodes {
        node.stop().await;
    }
}

/// A thief who answers one stolen invite has its share; with the sealed part that is in
/// the invite too it opens nothing, and the directory holds no secret in clear.
#[tokio::test]
async fn an_invite_and_the_node_that_it_makes_open_nothing_alone() {
    let cluster = Cluster::enrolled();
    let invite = Invite::decode(cluster.invites[0].expose()).expect("whole");
    assert!(invite.sealed().open(&[invite.share().clone()]).is_err());
    assert!(!cluster.has_login_secrets(0));
    let record = cluster.realm.realm().users().expect("read");
    let record = record.signed_records().next().expect("alice").encode();
    for bytes in &cluster.invites {
        let within = |part: &[u8]| {
            bytes
                .expose()
                .windows(part.len())
                .any(|found| found == part)
        };
        assert!(!within(&record[..64]) && !within(b"alice"));
    }
    let (directory, _) = cluster.places(0);
    let mut sealed_pieces = 0;
    for entry in std::fs::read_dir(directory).expect("listed") {
        let path = entry.expect("listed").path();
        let bytes = std::fs::read(&path).expect("read");
        let within = |part: &[u8]| bytes.windows(part.len()).any(|found| found == part);
        assert!(
            !within(&record[..64]) && !within(b"alice"),
            "{}",
            path.display()
        );
        let sealed = invite.sealed().encode();
        // Nor does the sealed part lie there but under the node's own key.
        assert!(!within(&sealed[sealed.len() - 32..]));
        sealed_pieces += usize::from(path.ends_with("invite-0001"));
    }
    assert_eq!(sealed_pieces, 1);
}

#[tokio::test]
async fn a_sealed_part_that_was_changed_on_the_disk_is_damage() {
    let cluster = Cluster::enrolled();
    let (directory, key_file) = cluster.places(0);
    let path = directory.join("invite-0001");
    let bytes = std::fs::read(&path).expect("there");
    for at in [0, 4, 40, bytes.len() - 1] {
        let mut changed = bytes.clone();
        changed[at] ^= 1;
        std::fs::write(&path, &changed).expect("written");
        let opened = node::open(&directory, Some(&key_file), cluster.home.path());
        assert!(
            matches!(opened, Err(OpenFailure::Integrity { ref file, .. }) if file == "invite-0001"),
            "{at}"
        );
        let verified = node::verify(&directory, Some(&key_file), cluster.home.path());
        let damaged = verified.expect("read").damaged;
        assert_eq!(damaged.len(), 1, "{at}");
        assert_eq!(damaged[0].file, "invite-0001");
    }
    std::fs::remove_file(&path).expect("removed");
    let opened = node::open(&directory, Some(&key_file), cluster.home.path());
    assert!(matches!(opened, Err(OpenFailure::Integrity { .. })));

    // That of another node, which is whole.
    let foreign = cluster.places(1).0.join("invite-0001");
    std::fs::copy(foreign, &path).expect("copied");
    let opened = node::open(&directory, Some(&key_file), cluster.home.path());
    assert!(matches!(opened, Err(OpenFailure::Integrity { .. })));
}
