//! The server that the Python client's tests call: `rpc/python/tests/proto`
//! says what its methods do. Prints its address and key id on one line and ends
//! when its standard input does, so that no test leaves it behind.
#![allow(dead_code, missing_docs, unreachable_pub)]

use std::any::Any;
use std::error::Error;
use std::io::Read;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use parts::v1::Number;
use sealmoot_crypto::signature::SigningKey;
use sealmoot_rpc::bytes::Bytes;
use sealmoot_rpc::{
    Authorizer, CallContext, Candidate, Code, Execution, Limits, Refusal, Replies, Requests,
    Router, Server, Status,
};
use tokio::net::TcpListener;
use trial::v1::metadata_reply::Entry;
use trial::v1::{
    CountRequest, Failure, MetadataReply, SleepRequest, Trial, TrialServer, WatchReply, Words,
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
    let key = SigningKey::generate()?;
    let limits = Limits {
        call_duration_max: Duration::from_secs(30),
        ..Limits::default()
    };
    let server = Server::start(
        TcpListener::bind("127.0.0.1:0").await?,
        &key,
        Arc::new(Anyone),
        Router::new().service(TrialServer::new(Tester::default()))?,
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
