//! A service under load while its servers move, die and drain: what callers are
//! told is held against what the handlers really did.

mod common;

use std::collections::HashMap;
use std::num::NonZeroU8;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use common::{PUBLISHER, SIGNER, connect, id, key, name, policy, serve_names, unsigned};
use sealmoot_crypto::signature::SigningKey;
use sealmoot_rpc::binding::{Binder, Endpoint, Fingerprint, Served, Way};
use sealmoot_rpc::bytes::Bytes;
use sealmoot_rpc::channel::Identity;
use sealmoot_rpc::{
    AllowedKeys, CallContext, CallOptions, Code, Execution, Guard, Idempotency, Limits,
    ReplyFuture, Retrying, Router, Server, ServerHandle, Service, ServiceDescriptor, Status,
};
use sealmoot_rpc_names::{NameService, NameServiceResolver, Publisher};
use tokio::net::TcpListener;

/// How long each call may take: far more than any failover.
const PATIENCE: Duration = Duration::from_secs(60);
/// The same for at-most-once calls, which wait for a server that may know of them,
/// and two of these do not come back.
const PATIENCE_ONCE: Duration = Duration::from_secs(15);
/// The load, in tasks that call one after the other.
const TASKS: u64 = 8;
/// Between events, so many calls end. What an event has cut is over by then: each
/// task can have had one call at it.
const CALLS_BETWEEN: u64 = 25 * TASKS;

const ACT: u64 = 0x201;
const FINGERPRINT: Fingerprint = Fingerprint::from_bytes([7; 32]);

static SERVICE: ServiceDescriptor = ServiceDescriptor {
    name: "test.v1.Act",
    fingerprint: FINGERPRINT,
    earlier: &[],
    methods: &[],
    file_descriptors: &[],
};

const GUARDS: [Guard; 3] = [
    Guard::Method(Idempotency::Unknown),
    Guard::Method(Idempotency::Idempotent),
    Guard::Once,
];

/// What handlers did, by the number of the call.
#[derive(Clone, Default)]
struct Truth(Arc<Mutex<HashMap<u64, u32>>>);

impl Truth {
    fn act(&self, call: u64) {
        *self.0.lock().expect("no panic").entry(call).or_default() += 1;
    }

    fn effects(&self, call: u64) -> u32 {
        let effects = self.0.lock().expect("no panic");
        effects.get(&call).copied().unwrap_or_default()
    }
}

/// Acts, after a while that depends on the call, and answers a moment later: a
/// server can die before, between and behind.
#[derive(Clone)]
struct Actor {
    truth: Truth,
    answered: Arc<AtomicUsize>,
}

impl Service for Actor {
    fn methods(&self) -> &[u64] {
        &[ACT]
    }

    fn descriptor(&self) -> Option<&'static ServiceDescriptor> {
        Some(&SERVICE)
    }

    fn call(&self, _: CallContext, _: u64, body: Bytes) -> ReplyFuture {
        let actor = self.clone();
        Box::pin(async move {
            let number = body.as_ref().try_into().map(u64::from_le_bytes);
            let number = number.map_err(|_| {
                Status::new(Code::InvalidArgument, Execution::NotStarted, "no number")
            })?;
            let pause = Duration::from_micros(number % 7 * 300);
            tokio::time::sleep(pause).await;
            actor.truth.act(number);
            tokio::time::sleep(pause).await;
            actor.answered.fetch_add(1, Ordering::Relaxed);
            Ok(body)
        })
    }
}

struct Running {
    server: ServerHandle,
    key: SigningKey,
    actor: Actor,
}

impl Running {
    async fn start(key: SigningKey, client: &SigningKey, truth: &Truth) -> Self {
        let actor = Actor {
            truth: truth.clone(),
            answered: Arc::default(),
        };
        let router = Router::new().service(actor.clone()).expect("one service");
        let router = router.with_reflection().expect("one reflection");
        let server = Server::start(
            TcpListener::bind("127.0.0.1:0").await.expect("a port"),
            &key,
            Arc::new(AllowedKeys::new([client.verifying_key().key_id()])),
            router,
            Limits::default(),
        );
        Self {
            server: server.expect("sound configuration"),
            key,
            actor,
        }
    }

    fn endpoint(&self) -> Endpoint {
        Endpoint {
            way: Way::Tls,
            address: self.server.local_addr().to_string(),
            key_id: self.key.verifying_key().key_id(),
            weight: NonZeroU8::MIN,
        }
    }

    fn answered(&self) -> usize {
        self.actor.answered.load(Ordering::Relaxed)
    }
}

/// One call, as its caller saw it.
struct Told {
    number: u64,
    guard: Guard,
    begun: Instant,
    ended: Instant,
    outcome: Result<Bytes, Status>,
}

fn random_key() -> SigningKey {
    SigningKey::generate().expect("random source")
}

async fn load(
    caller: Retrying,
    task: u64,
    stop: Arc<AtomicBool>,
    calls: Arc<AtomicU64>,
) -> Vec<Told> {
    let mut told = Vec::new();
    let mut count = 0;
    while !stop.load(Ordering::Relaxed) {
        let number = count * TASKS + task;
        let guard = GUARDS[usize::try_from(count % 3).expect("below three")];
        let patience = if guard == Guard::Once {
            PATIENCE_ONCE
        } else {
            PATIENCE
        };
        let options = CallOptions::new(patience);
        let begun = Instant::now();
        let body = Bytes::copy_from_slice(&number.to_le_bytes());
        let outcome = caller.call(ACT, guard, body, &options).await;
        told.push(Told {
            number,
            guard,
            begun,
            ended: Instant::now(),
            outcome,
        });
        count += 1;
        calls.fetch_add(1, Ordering::Relaxed);
    }
    told
}

/// Waits until so many more calls have ended, and tells when that was.
async fn calls_end(calls: &AtomicU64) -> Instant {
    let until = calls.load(Ordering::Relaxed) + CALLS_BETWEEN;
    eventually("calls end", || calls.load(Ordering::Relaxed) >= until).await;
    Instant::now()
}

async fn eventually(what: &str, holds: impl Fn() -> bool) {
    let held = async {
        while !holds() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    let in_time = tokio::time::timeout(PATIENCE, held).await;
    in_time.unwrap_or_else(|_| panic!("in time: {what}"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_go_on_while_servers_move_die_and_drain() {
    let truth = Truth::default();
    let client = random_key();
    // The name service, and who speaks for the name.
    let names = NameService::in_memory(policy());
    let names_server = serve_names(&names).await;
    let [moves, dies, drains] = [random_key(), random_key(), random_key()];
    let moves = Running::start(moves, &client, &truth).await;
    let dies = Running::start(dies, &client, &truth).await;
    let drains = Running::start(drains, &client, &truth).await;
    let stays = Running::start(random_key(), &client, &truth).await;
    let mut record = unsigned("open/act", 0);
    record.services = vec![Served {
        service: SERVICE.name.to_owned(),
        fingerprint: FINGERPRINT,
    }];
    record.endpoints = [&moves, &dies, &drains, &stays]
        .map(Running::endpoint)
        .into();
    // Long: it is not its age that makes clients ask again.
    record.ttl_seconds = 3_600;
    let publishing = vec![connect(&names_server, PUBLISHER).await];
    let validity = Duration::from_secs(60);
    let publisher = Publisher::start(key(SIGNER), record, validity, publishing).expect("sound");
    let mut standing = publisher.standing();
    let published = standing.wait_for(sealmoot_rpc_names::publisher::Standing::is_published);
    published.await.expect("it runs");

    let reading = connect(&names_server, common::READER).await;
    let resolver = NameServiceResolver::new(reading, &[id(SIGNER)]);
    let identity = Identity::new(&client).expect("a sound key");
    let binder = Binder::new(identity, Arc::new(resolver), Limits::default()).expect("limits");
    let bound = binder.bind(&name("open/act"), &[&SERVICE], PATIENCE).await;
    let caller = bound.expect("bound");

    let (stop, calls) = (
        Arc::new(AtomicBool::new(false)),
        Arc::new(AtomicU64::new(0)),
    );
    let tasks: Vec<_> = (0..TASKS)
        .map(|task| {
            let (stop, calls) = (Arc::clone(&stop), Arc::clone(&calls));
            tokio::spawn(load(caller.clone(), task, stop, calls))
        })
        .collect();
    let serving = [&moves, &dies, &drains, &stays];
    let all_serve = || serving.iter().all(|it| it.answered() > 0);
    eventually("all answer", all_serve).await;

    // One goes elsewhere, its key with it, and the record follows.
    let moved_key = SigningKey::from_seed(&moves.key.to_seed());
    let moved = Running::start(moved_key, &client, &truth).await;
    let at_move = Instant::now();
    drop(moves.server);
    let endpoints = [&moved, &dies, &drains, &stays].map(Running::endpoint);
    publisher.update(endpoints.into()).expect("a sound record");
    let after_move = calls_end(&calls).await;
    eventually("the moved server is found", || moved.answered() > 0).await;

    // One dies with all that it was doing, and nobody says so anywhere.
    let at_death = Instant::now();
    drop(dies.server);
    let after_death = calls_end(&calls).await;

    // One is stopped in order.
    let drain_began = Instant::now();
    drains.server.drain(PATIENCE).await;
    calls_end(&calls).await;
    stop.store(true, Ordering::Relaxed);

    let mut told = Vec::new();
    for task in tasks {
        told.extend(task.await.expect("no panic"));
    }
    assert!(told.len() > 100, "{} calls are no load", told.len());
    let mut failed: HashMap<&str, u64> = HashMap::new();
    for call in &told {
        let effects = truth.effects(call.number);
        let idempotent = call.guard == GUARDS[1];
        match &call.outcome {
            Ok(reply) => {
                assert_eq!(reply, &call.number.to_le_bytes()[..]);
                assert!(
                    effects == 1 || idempotent && effects > 1,
                    "{effects} effects"
                );
            }
            Err(status) => {
                let what = format!("{:?}: {status}", call.guard);
                // Whatever did not start could safely be sent elsewhere.
                assert_eq!(status.execution(), Execution::MaybeExecuted, "{what}");
                assert!(!idempotent, "{what}");
                assert!(effects <= 1, "{what}: {effects} effects");
                // Only what was under way at a server as it was lost, or went there
                // before that was noticed.
                let is_under = |at, noticed| call.begun <= noticed && call.ended >= at;
                let is_moves = is_under(at_move, after_move);
                assert!(is_moves || is_under(at_death, after_death), "{what}");
                assert!(call.ended - call.begun < PATIENCE, "{what}");
                assert!(call.begun < drain_began, "the drain failed it: {what}");
                let kind = if call.guard == Guard::Once {
                    "at most once"
                } else {
                    "plain"
                };
                *failed.entry(kind).or_default() += 1;
            }
        }
    }
    let failures: u64 = failed.values().sum();
    // No task can have had more than one call at each of the two.
    assert!(failures <= 2 * TASKS, "{failed:?}");
    let longest = told.iter().map(|call| call.ended - call.begun).max();
    println!(
        "{} calls; may have run, by guard: {failed:?}; the longest took {:?}",
        told.len(),
        longest.expect("calls")
    );
}
