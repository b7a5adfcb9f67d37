//! The server that the Python client's tests call: `rpc/python/tests/proto`
//! says what its methods do; health and reflection are served beside them. With
//! `python_server KEY.pem` it has a key that outlives it. Prints its address and key id on one line and ends
//! when its standard input does, so that no test leaves it behind.
#![allow(dead_code, missing_docs, unreachable_pub)]

use std::any::Any;
use std::collections::HashMap;
use std::error::Error;
use std::io::Read;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use parts::v1::Number;
use sealmoot_crypto::hazmat::pem;
use sealmoot_crypto::signature::SigningKey;
use sealmoot_rpc::bytes::Bytes;
use sealmoot_rpc::health::health_service;
use sealmoot_rpc::{
    Authorizer, CallContext, Candidate, Code, Execution, Limits, Refusal, Replies, Requests,
    Router, Server, Status,
};
use tokio::net::TcpListener;
use zeroize::Zeroizing;

use trial::v1::metadata_reply::Entry;
use trial::v1::{
    CountRequest, Failure, MetadataReply, SleepRequest, TalliesReply, TallyReply, TallyRequest,
    Trial, TrialServer, WatchReply, Words,
};

/// Laid out like the packages, as nested imports expect.
mod trial {
    pub mod v1 {
        include!("../codegen/tests/golden/trial.v1.rs");
    }
}
mod parts {
    pub mod v1 {
        include!("../codegen/tests/golden/parts.v1.rs");
    }
}

/// Admits everybody but who asks to be refused.
struct Anyone;

impl Authorizer for Anyone {
    fn present(&self) -> Bytes {
        Bytes::from_static(b"trial server")
    }

    fn authorize(&self, candidate: &Candidate<'_>) -> Result<Arc<dyn Any + Send + Sync>, Refusal> {
        if candidate.presented == b"refuse me" {
            return Err(Refusal::new(Code::PermissionDenied, "as you wish"));
        }
        Ok(Arc::new(()))
    }
}

#[derive(Clone, Default)]
struct Tester {
    sleepers: Arc<AtomicU32>,
    dropped: Arc<AtomicU32>,
    tallies: Arc<Mutex<HashMap<u64, Tally>>>,
}

/// What became of the calls with one key.
#[derive(Default)]
struct Tally {
    refusals: u32,
    runs: u32,
}

impl Tester {
    fn tallies(&self) -> MutexGuard<'_, HashMap<u64, Tally>> {
        // Nothing that can panic runs while it is held.
        self.tallies.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn count_run(&self, request: TallyRequest) -> Result<TallyReply, Status> {
        let runs = {
            let mut tallies = self.tallies();
            let tally = tallies.entry(request.key).or_default();
            if tally.refusals < request.refusals {
                tally.refusals += 1;
                let message = "not yet";
                return Err(Status::new(
                    Code::Unavailable,
                    Execution::NotStarted,
                    message,
                ));
            }
            tally.runs += 1;
            tally.runs
        };
        tokio::time::sleep(Duration::from_millis(request.milliseconds.into())).await;
        Ok(TallyReply { runs })
    }
}

/// Counts a sleeper out, whether it woke or was dropped.
struct Sleeper {
    tester: Tester,
    has_woken: bool,
}

impl Drop for Sleeper {
    fn drop(&mut self) {
        self.tester.sleepers.fetch_sub(1, Ordering::SeqCst);
        if !self.has_woken {
            self.tester.dropped.fetch_add(1, Ordering::SeqCst);
        }
    }
}

impl Trial for Tester {
    async fn echo(&self, _: CallContext, request: Words) -> Result<Words, Status> {
        Ok(request)
    }

    async fn sum(&self, _: CallContext, mut requests: Requests<Number>) -> Result<Number, Status> {
        let mut sum = Number::default();
        while let Some(number) = requests.next().await? {
            sum.value = sum.value.wrapping_add(number.value);
        }
        Ok(sum)
    }

    async fn count(
        &self,
        _: CallContext,
        request: CountRequest,
        mut replies: Replies<Number>,
    ) -> Result<(), Status> {
        let padding = usize::try_from(request.padding).unwrap_or(usize::MAX);
        let padding = Bytes::from(vec![0; padding]);
        for value in 0..request.up_to {
            let padding = padding.clone();
            replies.send(&Number { value, padding }).await?;
        }
        request
            .failure
            .map_or(Ok(()), |failure| Err(status(failure)))
    }

    async fn chat(
        &self,
        _: CallContext,
        mut requests: Requests<Words>,
        mut replies: Replies<Words>,
    ) -> Result<(), Status> {
        while let Some(words) = requests.next().await? {
            replies.send(&words).await?;
        }
        Ok(())
    }

    async fn sleep(&self, _: CallContext, request: SleepRequest) -> Result<(), Status> {
        self.sleepers.fetch_add(1, Ordering::SeqCst);
        let mut sleeper = Sleeper {
            tester: self.clone(),
            has_woken: false,
        };
        tokio::time::sleep(Duration::from_millis(request.milliseconds.into())).await;
        sleeper.has_woken = true;
        Ok(())
    }

    async fn fail(&self, _: CallContext, request: Failure) -> Result<(), Status> {
        Err(status(request))
    }

    async fn metadata(&self, context: CallContext, (): ()) -> Result<MetadataReply, Status> {
        let entry = |(key, value): (&str, &[u8])| Entry {
            key: key.to_owned(),
            value: Bytes::copy_from_slice(value),
        };
        Ok(MetadataReply {
            entries: context.metadata().iter().map(entry).collect(),
        })
    }

    async fn watch(&self, context: CallContext, (): ()) -> Result<WatchReply, Status> {
        Ok(WatchReply {
            sleepers: self.sleepers.load(Ordering::SeqCst),
            dropped: self.dropped.load(Ordering::SeqCst),
            caller: Bytes::copy_from_slice(context.peer().key_id().as_bytes()),
        })
    }

    async fn tally(&self, _: CallContext, request: TallyRequest) -> Result<TallyReply, Status> {
        self.count_run(request).await
    }

    async fn tally_again(
        &self,
        _: CallContext,
        request: TallyRequest,
    ) -> Result<TallyReply, Status> {
        self.count_run(request).await
    }

    async fn tally_plainly(
        &self,
        _: CallContext,
        request: TallyRequest,
    ) -> Result<TallyReply, Status> {
        self.count_run(request).await
    }

    async fn tallies(&self, _: CallContext, (): ()) -> Result<TalliesReply, Status> {
        let tallies = Tester::tallies(self);
        let runs = tallies.iter().map(|(key, tally)| (*key, tally.runs));
        Ok(TalliesReply {
            runs: runs.collect(),
        })
    }
}

fn status(failure: Failure) -> Status {
    let code = u16::try_from(failure.code).map_or(Code::Internal, Code::from_number);
    let execution = match failure.execution {
        1 => Execution::NotStarted,
        2 => Execution::MaybeExecuted,
        _ => Execution::Executed,
    };
    Status::new(code, execution, failure.message).with_details(failure.details)
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let key = match std::env::args_os().nth(1) {
        Some(path) => pem::signing_key_from_pem(&Zeroizing::new(std::fs::read(path)?))?,
        None => SigningKey::generate()?,
    };
    let router = Router::new().service(TrialServer::new(Tester::default()))?;
    let (_reporter, health) = health_service(&router);
    // Tells of health, too.
    let router = router.service(health)?.with_reflection()?;
    let limits = Limits {
        call_duration_max: Duration::from_secs(30),
        ..Limits::default()
    };
    let server = Server::start(
        TcpListener::bind("127.0.0.1:0").await?,
        &key,
        Arc::new(Anyone),
        router,
        limits,
    )?;
    println!("{} {}", server.local_addr(), key.verifying_key().key_id());
    // A thread of its own: the runtime's would be blocked.
    let (ended, end) = tokio::sync::oneshot::channel();
    std::thread::spawn(move || {
        let _ = std::io::stdin().read_to_end(&mut Vec::new());
        let _ = ended.send(());
    });
    let _ = end.await;
    server.drain(Duration::from_secs(1)).await;
    Ok(())
}
