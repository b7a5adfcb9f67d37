//! Many at-most-once calls over connections that are cut at random.

use super::*;
use crate::splitmix::SplitMix;

/// The call's number, and what its handler is to do.
const DEED: u64 = 7;

/// What the handlers of each call did.
#[derive(Clone)]
struct Ledger(Arc<Vec<AtomicUsize>>, Arc<Random>);

struct Random(Mutex<SplitMix>);

impl Random {
    fn below(&self, bound: u64) -> u64 {
        self.0.lock().expect("no panic").below(bound)
    }
}

impl Service for Ledger {
    fn methods(&self) -> &[u64] {
        &[DEED]
    }

    fn call(&self, _: CallContext, _: u64, body: Bytes) -> ReplyFuture {
        let Self(effects, random) = self.clone();
        Box::pin(async move {
            let bytes = body.first_chunk().expect("eight bytes");
            let number = usize::try_from(u64::from_le_bytes(*bytes)).expect("small");
            let conduct = random.below(10);
            if conduct < 6 {
                tokio::time::sleep(Duration::from_millis(random.below(40))).await;
            }
            if conduct == 0 {
                return Err(Status::new(
                    Code::Unavailable,
                    Execution::NotStarted,
                    "not now",
                ));
            }
            effects[number].fetch_add(1, Ordering::SeqCst);
            if conduct < 4 {
                tokio::time::sleep(Duration::from_millis(random.below(40))).await;
            }
            Ok(body)
        })
    }
}

fn number(name: &str, otherwise: u64) -> u64 {
    let given = std::env::var(name).ok();
    given.map_or(otherwise, |given| given.parse().expect("a number"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_call_acts_twice_however_connections_are_cut() {
    let seed = number("SEALMOOT_SEED", 20_261_123);
    let calls = usize::try_from(number("SEALMOOT_CALLS", 300)).expect("small");
    eprintln!("SEALMOOT_SEED={seed} SEALMOOT_CALLS={calls}");
    let random = Arc::new(Random(Mutex::new(SplitMix::new(seed))));
    let effects = Arc::new((0..calls).map(|_| AtomicUsize::new(0)).collect::<Vec<_>>());
    let ledger = Ledger(Arc::clone(&effects), Arc::clone(&random));
    let server_key = key();
    let mut server = serve(&server_key, ledger.clone()).await;
    let proxy = Proxy::to(server.local_addr()).await;
    let clients: Vec<Retrying> = (0..2).map(|_| retrying(proxy.address)).collect();
    let next = Arc::new(AtomicUsize::new(0));
    let workers: Vec<JoinHandle<Vec<(usize, Outcome)>>> = (0..8)
        .map(|worker| {
            let client = clients[worker % clients.len()].clone();
            let (next, random) = (Arc::clone(&next), Arc::clone(&random));
            tokio::spawn(async move {
                let mut outcomes = Vec::new();
                loop {
                    let number = next.fetch_add(1, Ordering::SeqCst);
                    if number >= calls {
                        return outcomes;
                    }
                    let body = (number as u64).to_le_bytes().to_vec();
                    let timeout = match random.below(10) {
                        0 => Duration::from_millis(random.below(60) + 1),
                        _ => PATIENCE,
                    };
                    let options = options(timeout);
                    let outcome = client.call(DEED, Guard::Once, body, &options).await;
                    outcomes.push((number, outcome));
                }
            })
        })
        .collect();
    let mut cuts = 0;
    let mut restarts = 0;
    while !workers.iter().all(JoinHandle::is_finished) {
        tokio::time::sleep(Duration::from_millis(5 + random.below(60))).await;
        proxy.mute(random.below(3) == 0);
        tokio::time::sleep(Duration::from_millis(random.below(20))).await;
        if random.below(20) == 0 {
            drop(server);
            server = serve(&server_key, ledger.clone()).await;
            proxy.target(Some(server.local_addr()));
            restarts += 1;
        }
        proxy.cut();
        proxy.mute(false);
        cuts += 1;
    }
    let mut outcomes = Vec::new();
    for worker in workers {
        outcomes.extend(worker.await.expect("no panic"));
    }
    server.drain(PATIENCE).await;
    assert_eq!(outcomes.len(), calls);
    let mut tally = std::collections::BTreeMap::new();
    for (number, outcome) in &outcomes {
        let effects = effects[*number].load(Ordering::SeqCst);
        let (what, is_true) = match outcome {
            Ok(_) => ("Ok".to_owned(), effects == 1),
            Err(status) => {
                let is_true = match status.execution() {
                    Execution::NotSent | Execution::NotStarted => effects == 0,
                    Execution::MaybeExecuted => effects <= 1,
                    Execution::Executed => effects == 1,
                };
                (
                    format!("{:?}, {}", status.code(), status.execution()),
                    is_true,
                )
            }
        };
        assert!(
            is_true,
            "call {number}: {outcome:?} after {effects} effects"
        );
        *tally.entry(what).or_insert(0) += 1;
    }
    eprintln!("{cuts} cuts, {restarts} restarts: {tally:?}");
    assert!(cuts > 5, "{cuts}");
    assert!(tally["Ok"] > calls / 2, "{tally:?}");
}
