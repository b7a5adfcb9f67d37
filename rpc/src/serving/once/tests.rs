use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use sealmoot_crypto::signature::SigningKey;
use tokio::runtime::{Builder, Runtime};

use super::*;
use crate::channel::{Origin, Transport};
use crate::limits::Limits;
use crate::peer::{ChannelBinding, Peer};
use crate::quota::{Quotas, Usage};
use crate::service::Router;
use crate::serving::ServerEndpoint;

const INCARNATION: Incarnation = [5; 16];

/// A net under what must not block for ever.
const PATIENCE: Duration = Duration::from_secs(20);

/// One connection, and the calls of its server.
struct Fixture {
    calls: Arc<OnceCalls>,
    link: Arc<Link>,
    identity: KeyId,
    quotas: Quotas,
}

fn fixture() -> Fixture {
    let limits = Limits::default();
    let key = SigningKey::generate().expect("random source");
    let identity = key.verifying_key().key_id();
    let peer = Peer::danger_assume(
        key.verifying_key(),
        ChannelBinding::from_bytes([0; 32]),
        Origin::Memory,
        Transport::Memory,
        Arc::new(()),
    );
    let quotas = Quotas::new(&limits);
    let member = quotas.enter(identity).expect("room");
    let calls = OnceCalls::new();
    let router = Arc::new(Router::new());
    let (endpoint, link) = ServerEndpoint::new(router, Arc::clone(&calls), peer, &limits);
    let endpoint = endpoint.counted_by(member.share());
    drop(endpoint);
    calls.open(identity, INCARNATION).expect("room");
    Fixture {
        calls,
        link,
        identity,
        quotas,
    }
}

impl Fixture {
    /// An attempt whose handler is to run.
    fn begin(&self, sequence: u64) -> Running {
        let id = OnceId {
            incarnation: INCARNATION,
            sequence,
            floor: 1,
        };
        let waiter = Waiter {
            link: Arc::clone(&self.link),
            key: StreamKey { call: 1, serial: 1 },
        };
        let Taken::Run(mut running) = self.calls.begin(self.identity, id, waiter, 4) else {
            panic!("it does not run");
        };
        running.counts(self.link.permit(StreamKey { call: 1, serial: 1 }));
        running
    }

    fn taken(&self) -> usize {
        let (_, Usage { calls, .. }) = self.quotas.totals(self.identity);
        calls
    }

    fn runs(&self) -> usize {
        self.calls.lock().runs.len()
    }
}

fn never() -> ReplyFuture {
    Box::pin(std::future::pending())
}

/// What `work` comes to, in a thread of its own that must end.
fn ends<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    let (done, is_done) = mpsc::channel();
    thread::spawn(move || done.send(work()));
    is_done
        .recv_timeout(PATIENCE)
        .expect("it has come to its end, and did not block")
}

fn single() -> Runtime {
    Builder::new_current_thread()
        .enable_time()
        .build()
        .expect("a runtime")
}

#[test]
fn a_handler_that_is_spawned_while_its_runtime_ends_blocks_nobody() {
    let fixture = ends(|| {
        let fixture = fixture();
        let runtime = single();
        let handle = runtime.handle().clone();
        let _entered = handle.enter();
        let running = fixture.begin(1);
        drop(runtime);
        // Spawning drops the task in there, and that ends the call.
        let deadline = Instant::now() + PATIENCE;
        fixture.calls.spawn(running, never(), deadline);
        fixture
    });
    assert_eq!((fixture.runs(), fixture.taken()), (0, 0));
    // What became of it is remembered: it may have run.
    let key = OnceId {
        incarnation: INCARNATION,
        sequence: 1,
        floor: 1,
    };
    let waiter = Waiter {
        link: Arc::clone(&fixture.link),
        key: StreamKey { call: 2, serial: 2 },
    };
    match fixture.calls.begin(fixture.identity, key, waiter, 4) {
        Taken::Answer(Err(status)) => {
            assert_eq!(status.execution(), Execution::MaybeExecuted);
        }
        _ => panic!("it ran again"),
    }
}

#[test]
fn the_end_of_a_runtime_ends_the_handlers_that_are_pending() {
    for is_single in [true, false] {
        let fixture = ends(move || {
            let fixture = fixture();
            let runtime = if is_single {
                single()
            } else {
                Builder::new_multi_thread()
                    .worker_threads(2)
                    .enable_time()
                    .build()
                    .expect("a runtime")
            };
            runtime.block_on(async {
                for sequence in 1..=100 {
                    let running = fixture.begin(sequence);
                    let deadline = Instant::now() + PATIENCE;
                    fixture.calls.spawn(running, never(), deadline);
                }
                tokio::task::yield_now().await;
            });
            assert_eq!((fixture.runs(), fixture.taken()), (100, 100));
            drop(runtime);
            fixture
        });
        assert_eq!((fixture.runs(), fixture.taken()), (0, 0));
    }
}

#[test]
fn a_server_that_has_ended_starts_no_handler() {
    let fixture = ends(|| {
        let fixture = fixture();
        let runtime = single();
        let _entered = runtime.enter();
        drop(fixture.calls.close());
        let running = fixture.begin(1);
        fixture.calls.spawn(running, never(), Instant::now());
        fixture
    });
    assert_eq!((fixture.runs(), fixture.taken()), (0, 0));
}
