//! Whether the time of a node's first reply tells who exists.
//!
//! A real login service answers over TLS on the loopback, on a runtime and a thread of
//! its own, audited and throttled as a node's is, but for the disk, and with limits that
//! no run reaches. The client begins logins for names of two classes, drawn
//! at random one by one, and measures from its first message to the server's first
//! reply; each login is then ended before the next begins. Welch's t-test asks whether
//! the mean times differ: `|t| < 5` finds nothing; it does not prove that there is
//! nothing.
//!
//! Slow replies are mostly interruptions, so the test is made on all of them and again
//! on those below each of several percentiles of both classes together. The largest
//! `|t|` counts.
//!
//! Noise policy: a subject fails when it reaches 5 in three runs, one after another. The
//! control leaks on purpose, by 10 microseconds; when it is not seen by a wide margin
//! the harness is blind and its other verdicts mean nothing. Both end the process with
//! exit code 1.
//!
//! `cargo bench -p sealmoot-authn --bench enumeration [-- --samples N]`

use std::any::Any;
use std::process::ExitCode;
use std::sync::{Arc, RwLock};
use std::thread;
use std::time::{Duration, Instant};

use sealmoot_authn::audit::{self, Auditor};
use sealmoot_authn::login::{LoginService, SharedUsers};
use sealmoot_authn::name::Name;
use sealmoot_authn::opaque::{
    ClientLogin, LoginContext, LoginSecrets, ServerLogin, Stretching, register,
};
use sealmoot_authn::proto::log_in_reply::Step as ReplyStep;
use sealmoot_authn::proto::log_in_request::Step as RequestStep;
use sealmoot_authn::proto::{
    LogInChallenge, LogInReply, LogInRequest, LogInStart, Login, LoginClient, LoginServer,
    ProveKeyReply, ProveKeyRequest, RegisterReply, RegisterRequest,
};
use sealmoot_authn::realm_id::RealmId;
use sealmoot_authn::statement::{Credential, User, Verified};
use sealmoot_authn::throttle::{LoginThrottle, Throttle, ThrottleKey, ThrottleLimits, Volatile};
use sealmoot_authn::user_key;
use sealmoot_authn::users::{UserDirectory, UserRecord};
use sealmoot_crypto::digest::MacKey;
use sealmoot_crypto::password::Cost;
use sealmoot_crypto::secret::SecretArray;
use sealmoot_crypto::signature::SigningKey;
use sealmoot_rpc::bytes::Bytes;
use sealmoot_rpc::{
    Authorizer, CallContext, Candidate, Code, Connection, Connector, Execution, Limits, Refusal,
    Replies, Requests, Router, Server, Status,
};
use tokio::net::TcpListener;

/// Attempts of a subject in one run, unless the command line says otherwise.
const SAMPLES: usize = 10_000;
/// What |t| must stay below.
const BOUND: f64 = 5.0;
/// What |t| of the control must exceed.
const BOUND_OF_CONTROL: f64 = 2.0 * BOUND;
/// How often a subject must fail, one run after another, to fail at all.
const RUNS_MAX: usize = 3;
/// How much longer the control takes for users who exist.
const LEAK: Duration = Duration::from_micros(10);
/// Attempts before the first that counts.
const WARM_UP: usize = 500;
/// Which parts of all samples, the fastest, are tested by themselves.
const SHARES: [f64; 8] = [0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.99, 1.0];
/// Users of each kind.
const USERS: usize = 200;
/// Free attempts of the throttle: more than there are.
const ATTEMPTS: u32 = 10_000_000;
const PATIENCE: Duration = Duration::from_secs(30);

fn main() -> ExitCode {
    // `cargo test --benches` asks for no figures.
    if std::env::args().any(|argument| argument == "--test") {
        return ExitCode::SUCCESS;
    }
    let arguments: Vec<String> = std::env::args().collect();
    let samples = arguments
        .windows(2)
        .find(|pair| pair[0] == "--samples")
        .and_then(|pair| pair[1].parse().ok())
        .unwrap_or(SAMPLES);
    let world = Arc::new(World::new());
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    println!(
        "{:<34} {:>8} {:>8} {:>13}",
        "", "samples", "|t|", "difference"
    );
    let honest = runtime.block_on(connected(&world, serve(&world, |world| world.service())));
    let leaky = runtime.block_on(connected(
        &world,
        serve(&world, |world| Leaky(world.clone())),
    ));
    let mut good = true;
    for (name, connection, left, right, control) in [
        (
            "control: known and unknown",
            &leaky,
            "known",
            "nobody",
            true,
        ),
        ("known and unknown", &honest, "known", "nobody", false),
        ("enabled and disabled", &honest, "known", "disabled", false),
        ("known and deleted", &honest, "known", "deleted", false),
        ("disabled and unknown", &honest, "disabled", "nobody", false),
        (
            "keys only and unknown",
            &honest,
            "keysonly",
            "nobody",
            false,
        ),
    ] {
        let mut seen = false;
        for run in 1..=RUNS_MAX {
            let seed = 0x5ea1_0000 + run as u64;
            let times =
                runtime.block_on(measured(&world, connection, [left, right], samples, seed));
            let (t, difference) = worst(&times);
            let (fine, verdict) = match control {
                true if t > BOUND_OF_CONTROL => (true, "seen to leak, as it does".to_owned()),
                true => (false, format!("HARNESS BLIND, run {run} of {RUNS_MAX}")),
                false if t < BOUND => (true, "ok".to_owned()),
                false => (false, format!("LEAKS, run {run} of {RUNS_MAX}")),
            };
            println!("{name:<34} {samples:>8} {t:>8.2} {difference:>10.2} us  {verdict}");
            if fine {
                seen = true;
                break;
            }
        }
        good &= seen;
    }
    if good {
        println!("ok: the time of the first reply does not tell who exists");
        ExitCode::SUCCESS
    } else {
        println!("FAILED");
        ExitCode::FAILURE
    }
}

/// A realm with users of all kinds, every second with an imported password.
struct World {
    root: SigningKey,
    node: SigningKey,
    secrets: Arc<LoginSecrets>,
    users: SharedUsers,
}

impl World {
    fn new() -> Self {
        let (root, node) = (key(), key());
        let secrets = LoginSecrets::generate().expect("random");
        let mut users = UserDirectory::default();
        for index in 0..USERS {
            for kind in ["known", "disabled", "deleted"] {
                users.apply(record(&root, &secrets, kind, index));
            }
            users.apply(record_of_keys(&root, index));
        }
        Self {
            root,
            node,
            secrets: Arc::new(secrets),
            users: Arc::new(RwLock::new(users)),
        }
    }

    fn realm(&self) -> RealmId {
        RealmId::without_heir(&self.root.verifying_key())
    }

    fn service(&self) -> LoginService {
        let node = Arc::new(SigningKey::from_seed(&self.node.to_seed()));
        let (users, secrets) = (Arc::clone(&self.users), Arc::clone(&self.secrets));
        let limits = ThrottleLimits::with_attempts(ATTEMPTS);
        let throttle = Throttle::new(ThrottleKey::of(&secrets), limits);
        let throttle = Arc::new(LoginThrottle::new(throttle, Box::new(Volatile), || 1));
        LoginService::new(self.realm(), node, users, secrets, throttle, || 1).audited(auditor())
    }
}

/// Takes every event, and says at once that it is on the disk.
fn auditor() -> Auditor {
    let names = SecretArray::from_bytes([7; 32]);
    let (auditor, mut submissions) = audit::queue(MacKey::from_secret(&names));
    thread::spawn(move || {
        while let Some(submission) = submissions.blocking_recv() {
            if let Some(waiting) = submission.waiting {
                // Whoever went away needs not be told.
                let _ = waiting.send(Ok(()));
            }
        }
    });
    auditor
}

/// Names of all kinds are as long, so that no message is longer than another.
fn name_of(kind: &str, index: usize) -> Name {
    format!("{kind:x<8}-{index:04}").parse().expect("a name")
}

fn record(root: &SigningKey, secrets: &LoginSecrets, kind: &str, index: usize) -> UserRecord {
    let cost = Cost {
        memory_kib: 8,
        passes: 1,
        lanes: 1,
    };
    let stretching = if index.is_multiple_of(2) {
        Stretching::new(cost)
    } else {
        Stretching::imported(cost, &[7; 16], 32)
    };
    let (stretching, realm) = (
        stretching.expect("cheap"),
        RealmId::without_heir(&root.verifying_key()),
    );
    let (name, user_key) = (name_of(kind, index), key());
    let (password, export_key) =
        register(secrets, &realm, &name, b"pw", stretching).expect("registered");
    let user = User {
        name: name.clone(),
        version: 1,
        enabled: kind == "known",
        deleted: kind == "deleted",
        roles: Vec::new(),
        user_key: Some(user_key.verifying_key()),
        keys: Vec::new(),
        second_factor: None,
    };
    let credential = Credential {
        user_key: user_key.verifying_key(),
        must_change: false,
        stretching,
        password,
        sealed_key: user_key::seal(&export_key, &realm, &name, &user_key).expect("sealed"),
        name,
    };
    UserRecord::new(
        Verified::issue(&realm, root, 1, user),
        Some(Verified::issue(&realm, root, 1, credential)),
    )
    .expect("they belong together")
}

/// A user without a password.
fn record_of_keys(root: &SigningKey, index: usize) -> UserRecord {
    let user = User {
        name: name_of("keysonly", index),
        version: 1,
        enabled: true,
        deleted: false,
        roles: Vec::new(),
        user_key: None,
        keys: Vec::new(),
        second_factor: None,
    };
    let realm = RealmId::without_heir(&root.verifying_key());
    UserRecord::new(Verified::issue(&realm, root, 1, user), None).expect("no password")
}

/// What a login service must not be: it works a little longer for users who exist.
struct Leaky(Arc<World>);

impl Login for Leaky {
    async fn log_in(
        &self,
        context: CallContext,
        mut requests: Requests<LogInRequest>,
        mut replies: Replies<LogInReply>,
    ) -> Result<(), Status> {
        let refused = || Status::new(Code::Unauthenticated, Execution::Executed, "refused");
        let Some(RequestStep::Start(start)) = requests.next().await?.and_then(|it| it.step) else {
            return Err(refused());
        };
        let user: Name = start.user.parse().map_err(|_| refused())?;
        let known = self
            .0
            .users
            .read()
            .expect("not poisoned")
            .active(&user, 1)
            .is_some();
        let context = LoginContext {
            realm: self.0.realm(),
            node: self.0.node.verifying_key().key_id(),
            channel: *context.peer().binding(),
            session: context.peer().key_id(),
            user,
        };
        let (_, message) = ServerLogin::start(&self.0.secrets, None, context, &start.message)
            .map_err(|_| refused())?;
        let began = Instant::now();
        while known && began.elapsed() < LEAK {}
        let challenge = LogInChallenge {
            stretching: Stretching::DEFAULT.to_bytes().into(),
            message: Bytes::copy_from_slice(&message),
        };
        let step = Some(ReplyStep::Challenge(challenge));
        replies.send(&LogInReply { step }).await?;
        requests.next().await?;
        Err(refused())
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

struct Anyone;

impl Authorizer for Anyone {
    fn present(&self) -> Bytes {
        Bytes::new()
    }

    fn authorize(&self, _: &Candidate<'_>) -> Result<Arc<dyn Any + Send + Sync>, Refusal> {
        Ok(Arc::new(()))
    }
}

/// Serves on a thread of its own, for as long as the process lives; returns where.
fn serve<L: Login>(world: &Arc<World>, service: fn(&Arc<World>) -> L) -> String {
    let (sender, receiver) = std::sync::mpsc::channel();
    let world = Arc::clone(world);
    thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("a runtime");
        runtime.block_on(async {
            let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
            let address = listener.local_addr().expect("bound").to_string();
            let router = Router::new()
                .service(LoginServer::new(service(&world)))
                .expect("one service");
            let limits = Limits::default();
            let _server = Server::start(listener, &world.node, Arc::new(Anyone), router, limits)
                .expect("sound limits");
            sender.send(address).expect("somebody waits");
            std::future::pending::<()>().await;
        });
    });
    receiver.recv().expect("it serves")
}

async fn connected(world: &World, address: String) -> (Connection, SigningKey) {
    let session_key = key();
    let connector = Connector::new(&session_key, Arc::new(Anyone), Limits::default());
    let connection = connector
        .expect("sound limits")
        .connect(&address, PATIENCE)
        .await
        .expect("connected");
    assert_eq!(
        connection.peer().key_id(),
        world.node.verifying_key().key_id()
    );
    (connection, session_key)
}

/// How long the first reply takes, in microseconds, and for which of the two kinds.
async fn measured(
    world: &World,
    (connection, session_key): &(Connection, SigningKey),
    kinds: [&str; 2],
    samples: usize,
    seed: u64,
) -> Vec<(usize, f64)> {
    let mut random = SplitMix(seed);
    let mut times = Vec::with_capacity(samples);
    for attempt in 0..WARM_UP + samples {
        let drawn = random.next();
        let kind = (drawn & 1) as usize;
        let user = name_of(kinds[kind], (drawn >> 32) as usize % USERS);
        let context = LoginContext {
            realm: world.realm(),
            node: connection.peer().key_id(),
            channel: *connection.peer().binding(),
            session: session_key.verifying_key().key_id(),
            user: user.clone(),
        };
        let (_, ke1) = ClientLogin::start(b"guess", context).expect("started");
        let start = LogInStart {
            user: user.to_string(),
            message: Bytes::copy_from_slice(&ke1),
            lifetime_ms: 0,
        };
        let (mut requests, mut replies) = LoginClient::new(connection.clone())
            .log_in(PATIENCE)
            .await
            .expect("room");
        let request = LogInRequest {
            step: Some(RequestStep::Start(start)),
        };
        let began = Instant::now();
        requests.send(&request).await.expect("sent");
        let reply = replies.next().await.expect("answered");
        let time = began.elapsed();
        assert!(matches!(
            reply.and_then(|it| it.step),
            Some(ReplyStep::Challenge(_))
        ));
        // To its end, so that nothing of it is left to do during the next.
        requests.finish();
        assert!(replies.next().await.is_err());
        if attempt >= WARM_UP {
            times.push((kind, time.as_secs_f64() * 1e6));
        }
    }
    times
}

/// The largest |t| over all parts, and the difference of the means in that part.
fn worst(times: &[(usize, f64)]) -> (f64, f64) {
    let mut sorted: Vec<f64> = times.iter().map(|(_, time)| *time).collect();
    sorted.sort_by(f64::total_cmp);
    SHARES
        .iter()
        .map(|share| {
            let last = ((sorted.len() as f64 * share) as usize).clamp(1, sorted.len()) - 1;
            welch(times.iter().filter(|(_, time)| *time <= sorted[last]))
        })
        .max_by(|left, right| left.0.total_cmp(&right.0))
        .expect("there are parts")
}

/// Welch's |t|, and the difference of the means.
fn welch<'a>(times: impl Iterator<Item = &'a (usize, f64)>) -> (f64, f64) {
    let mut classes: [Vec<f64>; 2] = [Vec::new(), Vec::new()];
    for (kind, time) in times {
        classes[*kind].push(*time);
    }
    // With fewer the mean is not distributed normally.
    if classes.iter().any(|class| class.len() < 100) {
        return (0.0, 0.0);
    }
    let [left, right] = classes.map(|class| {
        let count = class.len() as f64;
        let mean = class.iter().sum::<f64>() / count;
        let squares: f64 = class.iter().map(|time| (time - mean).powi(2)).sum();
        (mean, squares / (count - 1.0) / count)
    });
    let difference = left.0 - right.0;
    let error = (left.1 + right.1).sqrt();
    let t = if error > 0.0 {
        difference.abs() / error
    } else {
        0.0
    };
    (t, difference)
}

/// SplitMix64: the same order of attempts in every process.
struct SplitMix(u64);

impl SplitMix {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut word = self.0;
        word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        word ^ (word >> 31)
    }
}

fn key() -> SigningKey {
    SigningKey::generate().expect("random")
}
