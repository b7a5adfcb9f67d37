//! What a login costs the node that answers it, beside one Argon2id.
//!
//! The node's two steps of OPAQUE together must cost at most a twentieth of what
//! comparing the password would, for whichever cost a node would compare with: the
//! cheapest that is advisable (`Cost::OWASP`) and the one that clients compute
//! (`Stretching::DEFAULT`). Each figure is the median of its runs, on one thread, with
//! Argon2's memory kept between hashes. A ratio below 20 ends with exit code 1.
//!
//! `cargo bench -p sealmoot-authn --bench login`

use std::hint::black_box;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use sealmoot_authn::opaque::{
    ClientLogin, LoginContext, LoginSecrets, PasswordFile, ServerLogin, Stretching, register,
};
use sealmoot_authn::realm_id::RealmId;
use sealmoot_crypto::password::{Arena, Cost, PasswordRecord};
use sealmoot_crypto::signature::KeyId;
use sealmoot_rpc::ChannelBinding;

/// How many logins, and how many comparisons.
const LOGINS: usize = 500;
const COMPARISONS: usize = 25;
/// How much cheaper a login must be.
const RATIO_MIN: f64 = 20.0;

fn main() -> ExitCode {
    // `cargo test --benches` asks for no figures.
    if std::env::args().any(|argument| argument == "--test") {
        return ExitCode::SUCCESS;
    }
    let server = Server::new();
    let known = median(LOGINS, || server.login(Some(&server.file)));
    let unknown = median(LOGINS, || server.answer(None));
    println!("node's steps of a login     {:>10.1} us", micros(known));
    println!("answer for an unknown user  {:>10.1} us", micros(unknown));
    let mut slow = false;
    for (name, cost) in [
        ("OWASP's minimum", Cost::OWASP),
        ("that of clients", Stretching::DEFAULT.cost()),
    ] {
        let comparison = comparison(cost);
        let ratio = comparison.as_secs_f64() / known.as_secs_f64();
        slow |= ratio < RATIO_MIN;
        println!(
            "Argon2id, {name:<17} {:>10.1} us: {ratio:.0} times a login",
            micros(comparison)
        );
    }
    if slow {
        println!("FAILED: a login costs more than a twentieth of an Argon2id");
        return ExitCode::FAILURE;
    }
    println!("ok: a login costs less than a twentieth of an Argon2id");
    ExitCode::SUCCESS
}

struct Server {
    secrets: LoginSecrets,
    file: PasswordFile,
    stretching: Stretching,
}

impl Server {
    fn new() -> Self {
        let secrets = LoginSecrets::generate().expect("random");
        // The client's own work is not measured.
        let cheap = Cost {
            memory_kib: 8,
            passes: 1,
            lanes: 1,
        };
        let stretching = Stretching::new(cheap).expect("admitted");
        let context = context();
        let (realm, user) = (&context.realm, &context.user);
        let (file, _) = register(&secrets, realm, user, b"pw", stretching).expect("registered");
        Self {
            secrets,
            file,
            stretching,
        }
    }

    /// How long the node's two steps take.
    fn login(&self, file: Option<&PasswordFile>) -> Duration {
        let (client, ke1) = ClientLogin::start(b"pw", context()).expect("started");
        let began = Instant::now();
        let (waiting, ke2) =
            ServerLogin::start(&self.secrets, file, context(), &ke1).expect("answered");
        let answer = began.elapsed();
        let (ke3, ..) = client.finish(self.stretching, &ke2).expect("proved");
        let began = Instant::now();
        black_box(waiting.finish(&ke3).expect("proved"));
        answer + began.elapsed()
    }

    /// How long the first of them takes.
    fn answer(&self, file: Option<&PasswordFile>) -> Duration {
        let (_, ke1) = ClientLogin::start(b"pw", context()).expect("started");
        let began = Instant::now();
        let answered = ServerLogin::start(&self.secrets, file, context(), &ke1);
        black_box(answered.expect("answered"));
        began.elapsed()
    }
}

fn context() -> LoginContext {
    LoginContext {
        realm: RealmId::from_bytes([1; 32]),
        node: KeyId::from_bytes([2; 32]),
        channel: ChannelBinding::from_bytes([3; 32]),
        session: KeyId::from_bytes([4; 32]),
        user: "alice".parse().expect("a name"),
    }
}

fn comparison(cost: Cost) -> Duration {
    let mut arena = Arena::default();
    let record = PasswordRecord::hash_in(b"pw", cost, &mut arena).expect("hashed");
    median(COMPARISONS, || {
        let began = Instant::now();
        assert!(record.verify_in(b"pw", &mut arena).expect("compared"));
        began.elapsed()
    })
}

fn median(runs: usize, mut run: impl FnMut() -> Duration) -> Duration {
    let mut times: Vec<Duration> = (0..runs).map(|_| run()).collect();
    times.sort_unstable();
    times[runs / 2]
}

fn micros(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e6
}
