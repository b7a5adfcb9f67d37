//! Spraying passwords at a real cluster: three processes, their disks, and `kill -9`.

use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use sealmoot_authn::cli::{self, now_ms};
use sealmoot_authn::files::{self, Existing};
use sealmoot_authn::opaque::{ClientLogin, LoginContext};
use sealmoot_authn::pin::RealmPin;
use sealmoot_authn::presentation::Presentation;
use sealmoot_authn::proto::log_in_reply::Step as ReplyStep;
use sealmoot_authn::proto::log_in_request::Step as RequestStep;
use sealmoot_authn::proto::{
    ChargesClient, DirectoryClient, LogInRequest, LogInStart, LoginClient, PublishRequest,
    ShareRequest,
};
use sealmoot_authn::realm::{OpenRealm, Realm};
use sealmoot_authn::realm_id::RealmId;
use sealmoot_authn::statement::{Unlock, Verified};
use sealmoot_crypto::secret::SecretBytes;
use sealmoot_crypto::signature::SigningKey;
use sealmoot_kv::client::{LoginCredential, LoginRequest, log_in};
use sealmoot_rpc::bytes::Bytes;
use sealmoot_rpc::details::RetryAfter;
use sealmoot_rpc::{Code, Connection, Connector, Limits, Status};

const NAMES: [&str; 3] = ["n1", "n2", "n3"];
const USERS: usize = 1000;
const PASSWORDS: usize = 3;
const PATIENCE: Duration = Duration::from_secs(60);
const READY_WITHIN: Duration = Duration::from_secs(60);

/// Three nodes in a directory of their own. They end with it.
struct Cluster {
    nodes: Vec<Option<Child>>,
    addresses: Vec<String>,
    realm: OpenRealm,
    home: tempfile::TempDir,
}

impl Cluster {
    fn form() -> Self {
        let home = tempfile::tempdir().expect("a directory");
        // All are held until all are known, so that they differ.
        let held: Vec<TcpListener> = NAMES
            .iter()
            .map(|_| TcpListener::bind("127.0.0.1:0").expect("a port"))
            .collect();
        let addresses: Vec<String> = held
            .iter()
            .map(|port| port.local_addr().expect("bound").to_string())
            .collect();
        drop(held);
        let realms = home.path().join("realms");
        let realm = Realm::create(&realms, &"acme".parse().expect("a name"), b"passphrase")
            .expect("made")
            .unlock(b"passphrase")
            .expect("unlocked");
        let roles = vec!["*:rw".parse().expect("a role")];
        let victim = "victim".parse().expect("a name");
        realm
            .add_user(&victim, roles, b"pw", now_ms())
            .expect("added");
        let called: Vec<_> = NAMES
            .iter()
            .zip(&addresses)
            .map(|(name, address)| (name.parse().expect("a name"), address.clone()))
            .collect();
        let invites = realm
            .call_nodes(&called, now_ms() + 600_000, now_ms())
            .expect("called");
        let mut cluster = Self {
            nodes: Vec::new(),
            addresses,
            realm,
            home,
        };
        let mut ready = Vec::new();
        for (name, invite) in NAMES.iter().zip(&invites) {
            let path = cluster.path(&format!("{name}.invite"));
            files::write(&path, invite.expose(), Existing::Refuse).expect("written");
            let (child, lines) = cluster.kvd(&["join", &format!("{name}.invite")], name);
            cluster.nodes.push(Some(child));
            ready.push(lines);
        }
        ready.iter().for_each(await_ready);
        cluster
    }

    fn path(&self, name: &str) -> PathBuf {
        self.home.path().join(name)
    }

    fn kvd(&self, arguments: &[&str], name: &str) -> (Child, mpsc::Receiver<String>) {
        let mut child = self
            .command(env!("CARGO_BIN_EXE_kvd"))
            .args(arguments)
            .args(["--data", name, "--quiet"])
            .stdout(Stdio::piped())
            .spawn()
            .expect("kvd starts");
        let stdout = child.stdout.take().expect("it is piped");
        let (sender, lines) = mpsc::channel();
        std::thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    return;
                }
            }
        });
        (child, lines)
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command
            .env_clear()
            .env("HOME", self.home.path())
            .env("SEALMOOT_CONFIG_DIR", self.path("config"))
            .current_dir(self.home.path())
            .stdin(Stdio::null());
        command
    }

    /// Ends a node as `kill -9` does, and starts it again.
    fn kill_and_restart(&mut self, index: usize) {
        let mut child = self.nodes[index].take().expect("it runs");
        child.kill().expect("killed");
        child.wait().expect("it ended");
        let (child, lines) = self.kvd(&["start"], NAMES[index]);
        self.nodes[index] = Some(child);
        await_ready(&lines);
    }

    fn realm_id(&self) -> RealmId {
        self.realm.realm().id()
    }

    async fn connect(&self, index: usize, key: &SigningKey) -> Connection {
        let pin = Arc::new(RealmPin::new(self.realm_id(), &Presentation::Anonymous));
        let connector = Connector::new(key, pin, Limits::default()).expect("sound limits");
        connector
            .connect(&self.addresses[index], PATIENCE)
            .await
            .expect("connected")
    }

    /// Logs the victim in; how long it took.
    async fn victim_logs_in(&self, index: usize, key: &SigningKey) -> Result<Duration, String> {
        let begun = Instant::now();
        let request = LoginRequest {
            revoked_nodes: None,
            roots: None,
            idle: None,
            realm: self.realm_id(),
            address: self.addresses[index].clone(),
            user: "victim".to_owned(),
            credential: LoginCredential::Password(SecretBytes::new(b"pw".to_vec())),
            key: Some(SigningKey::from_seed(&key.to_seed())),
            timeout: PATIENCE,
        };
        log_in(&request, now_ms())
            .await
            .map(|_| begun.elapsed())
            .map_err(|failure| failure.to_text("kv"))
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        for child in self.nodes.iter_mut().flatten() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

#[track_caller]
fn await_ready(lines: &mpsc::Receiver<String>) {
    let line = lines.recv_timeout(READY_WITHIN).expect("ready in time");
    assert!(line.starts_with("READY "), "{line}");
}

/// Somebody who guesses: as much of a login as it takes to test a password, which is
/// everything before the proof.
struct Guesser {
    connection: Connection,
    realm: RealmId,
    key: SigningKey,
}

impl Guesser {
    async fn at(cluster: &Cluster, index: usize) -> Self {
        let key = SigningKey::generate().expect("random");
        Self {
            connection: cluster.connect(index, &key).await,
            realm: cluster.realm_id(),
            key,
        }
    }

    /// Whether a challenge came.
    async fn guess(&self, user: &str, password: &str) -> Result<(), Status> {
        let context = LoginContext {
            realm: self.realm,
            node: self.connection.peer().key_id(),
            channel: *self.connection.peer().binding(),
            session: self.key.verifying_key().key_id(),
            user: user.parse().expect("a name"),
        };
        let (_, message) = ClientLogin::start(password.as_bytes(), context).expect("started");
        let (mut requests, mut replies) = LoginClient::new(self.connection.clone())
            .log_in(PATIENCE)
            .await?;
        let start = LogInStart {
            user: user.to_owned(),
            message: Bytes::copy_from_slice(&message),
            lifetime_ms: 0,
        };
        let step = Some(RequestStep::Start(start));
        requests.send(&LogInRequest { step }).await?;
        let reply = replies.next().await?.and_then(|reply| reply.step);
        assert!(matches!(reply, Some(ReplyStep::Challenge(_))), "{reply:?}");
        Ok(())
    }

    async fn refusal(&self, user: &str) -> Status {
        self.guess(user, "x").await.expect_err("throttled")
    }

    /// Guesses until the next guess has to wait for at least so long.
    async fn exhaust(&self, at_least: Duration) {
        loop {
            let Err(status) = self.guess("somebody", "x").await else {
                continue;
            };
            let wait = wait_of(&status);
            if wait >= at_least {
                return;
            }
            tokio::time::sleep(wait).await;
        }
    }

    /// Guesses until the node refuses, by what others told it: in fewer guesses than it
    /// would answer by itself.
    async fn hears(&self) {
        for number in 0..50 {
            if let Err(status) = self.guess(&format!("early{number}"), "x").await {
                wait_of(&status);
                return;
            }
            tokio::time::sleep(Duration::from_millis(1200)).await;
        }
        panic!("nothing was heard within 60 s");
    }

    /// Of so many guesses at names that differ, how many were answered; all others
    /// must have been told to wait.
    async fn spray(&self, names: impl Iterator<Item = String>, password: &str) -> usize {
        let mut answered = 0;
        for name in names {
            match self.guess(&name, password).await {
                Ok(()) => answered += 1,
                Err(status) => assert!(wait_of(&status) >= Duration::from_secs(1)),
            }
        }
        answered
    }
}

/// How long the next guess has to wait.
fn wait_of(status: &Status) -> Duration {
    assert_eq!(status.code(), Code::ResourceExhausted, "{status}");
    let after = status.detail::<RetryAfter>().expect("typed");
    Duration::from_millis(after.expect("whole").milliseconds)
}

fn names() -> impl Iterator<Item = String> {
    (0..USERS).map(|number| match number {
        500 => "victim".to_owned(),
        number => format!("user{number}"),
    })
}

#[tokio::test]
async fn spraying_is_throttled_on_all_nodes_and_after_kill_9_and_a_proven_key_logs_in() {
    let mut cluster = Cluster::form();
    let key = SigningKey::generate().expect("random");
    cluster.victim_logs_in(0, &key).await.expect("logged in");

    let guesser = Guesser::at(&cluster, 0).await;
    let (begun, mut answered) = (Instant::now(), 0);
    for password in 0..PASSWORDS {
        answered += guesser.spray(names(), &format!("password{password}")).await;
    }
    let seconds = begun.elapsed().as_secs();
    println!(
        "{answered} of {} guesses were answered in {seconds} s",
        USERS * PASSWORDS
    );
    // The free ones, one after each of the waits that fit (1, 2, 4 s and so on), and one
    // for each minute in which a charge is forgotten.
    let waited = usize::try_from((seconds + 1).ilog2()).expect("small") + 1;
    let forgotten = usize::try_from(seconds / 60).expect("small");
    assert!(
        (1..=100 + waited + forgotten).contains(&answered),
        "{answered}"
    );

    // A stranger is told the same of everybody; the victim gets in at once.
    guesser.exhaust(Duration::from_secs(15)).await;
    // They are told whole seconds: compared within one.
    let (known, unknown) = loop {
        let before = guesser.refusal("victim").await;
        let unknown = guesser.refusal("nobody").await;
        if before.details() == guesser.refusal("victim").await.details() {
            break (before, unknown);
        }
    };
    assert_eq!(known, unknown);
    assert_eq!(known.details(), unknown.details());
    let took = cluster.victim_logs_in(0, &key).await.expect("proven");
    println!("the victim logged in within {} ms", took.as_millis());

    // The other nodes know: of the key, and of the source.
    for index in [1, 2] {
        let guesser = Guesser::at(&cluster, index).await;
        guesser.hears().await;
        let names = (0..100).map(|number| format!("other{number}"));
        let answered = guesser.spray(names, "x").await;
        println!(
            "{answered} of 100 guesses were answered by {}",
            NAMES[index]
        );
        assert!(answered <= 2, "{answered}");
        let loggedin = cluster.victim_logs_in(index, &key).await;
        loggedin.expect("proven at another node");
    }

    cluster.kill_and_restart(0);
    let guesser = Guesser::at(&cluster, 0).await;
    let answered = guesser.spray(names().take(100), "password").await;
    println!("{answered} of 100 guesses were answered after kill -9");
    assert!(answered <= 2, "{answered}");
    cluster.victim_logs_in(0, &key).await.expect("still proven");

    an_unlocking_is_taken_once_and_from_the_root_only(&cluster).await;
    charges_are_taken_from_members_only(&cluster).await;
    let guesser = Guesser::at(&cluster, 0).await;
    guesser.exhaust(Duration::from_secs(30)).await;
    kv_says_how_long_to_wait(&cluster);
}

async fn an_unlocking_is_taken_once_and_from_the_root_only(cluster: &Cluster) {
    let key = SigningKey::generate().expect("random");
    let directory = DirectoryClient::new(cluster.connect(0, &key).await);
    let publish = async |record: Vec<u8>| {
        let records = vec![record.into()];
        directory
            .publish(PublishRequest { records }, PATIENCE)
            .await
    };
    let victim = "victim".parse().expect("a name");
    let (now, realm) = (now_ms(), &cluster.realm);
    let unlock = realm.unlock_user(&victim, now).expect("a user");
    for taken in [1, 0, 0] {
        let reply = publish(unlock.clone()).await.expect("believed");
        assert_eq!(reply.taken, taken);
    }
    let old = realm.unlock_user(&victim, now - 3_600_000).expect("a user");
    let refused = publish(old).await.expect_err("too old");
    assert_eq!(refused.code(), Code::FailedPrecondition);
    let body = Unlock { name: victim };
    let forged = Verified::issue(&cluster.realm_id(), &key, now + 1, body);
    for bytes in [forged.bytes(), &[], &unlock[2..]] {
        let refused = publish([&[Unlock::TAG], bytes].concat()).await;
        assert_eq!(refused.expect_err("forged").code(), Code::PermissionDenied);
    }
}

async fn charges_are_taken_from_members_only(cluster: &Cluster) {
    let key = SigningKey::generate().expect("random");
    let charges = ChargesClient::new(cluster.connect(0, &key).await);
    let record = Bytes::from_static(&[1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    let refused = charges.share(ShareRequest { record }, PATIENCE).await;
    let code = refused
        .map(|reply| reply.start)
        .expect_err("a stranger")
        .code();
    assert_eq!(code, Code::PermissionDenied);
}

fn kv_says_how_long_to_wait(cluster: &Cluster) {
    let password = cluster.path("pw");
    files::write(Path::new(&password), b"pw", Existing::Refuse).expect("written");
    let output = cluster
        .command(env!("CARGO_BIN_EXE_kv"))
        .args(["login", &format!("nobody@{}", cluster.addresses[0])])
        .args(["--realm", &cluster.realm_id().to_string()])
        .args(["--password-file", "pw", "--timeout", "15s", "-o", "json"])
        .output()
        .expect("kv runs");
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(4), "{told}");
    assert!(told.contains(r#""code":"throttled""#), "{told}");
    assert!(told.contains("the next is admitted in "), "{told}");
    assert_eq!(i32::from(cli::Code::Throttled.exit()), 4);
}
