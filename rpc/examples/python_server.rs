//! The server that the Python client's tests call: `rpc/python/tests/proto`
//! says what its methods do. Prints its address and key id on one line and ends
//! when its standard input does, so that no test leaves it behind.

use std::any::Any;
use std::error::Error;
use std::io::Read;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use prost::Message;
use sealmoot_crypto::signature::SigningKey;
use sealmoot_rpc::bytes::Bytes;
use sealmoot_rpc::{
    Authorizer, CallContext, Candidate, Code, Execution, Limits, Refusal, ReplyFuture, Router,
    Server, Service, Status, prost,
};
use sealmoot_rpc_codegen::method_number;
use tokio::net::TcpListener;

#[derive(Clone, PartialEq, prost::Message)]
struct Words {
    #[prost(bytes = "bytes", tag = "1")]
    words: Bytes,
}

#[derive(Clone, PartialEq, prost::Message)]
struct SleepRequest {
    #[prost(uint32, tag = "1")]
    milliseconds: u32,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Failure {
    #[prost(uint32, tag = "1")]
    code: u32,
    #[prost(uint32, tag = "2")]
    execution: u32,
    #[prost(string, tag = "3")]
    message: String,
    #[prost(bytes = "bytes", tag = "4")]
    details: Bytes,
}

#[derive(Clone, PartialEq, prost::Message)]
struct WatchReply {
    #[prost(uint32, tag = "1")]
    sleepers: u32,
    #[prost(uint32, tag = "2")]
    dropped: u32,
    #[prost(bytes = "bytes", tag = "3")]
    caller: Bytes,
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

static METHODS: LazyLock<[u64; 4]> = LazyLock::new(|| {
    ["Echo", "Sleep", "Fail", "Watch"].map(|name| method_number(&format!("trial.v1.Trial/{name}")))
});

#[derive(Clone, Default)]
struct Trial {
    sleepers: Arc<AtomicU32>,
    dropped: Arc<AtomicU32>,
}

/// Counts a sleeper out, whether it woke or was dropped.
struct Sleeper {
    trial: Trial,
    has_woken: bool,
}

impl Drop for Sleeper {
    fn drop(&mut self) {
        self.trial.sleepers.fetch_sub(1, Ordering::SeqCst);
        if !self.has_woken {
            self.trial.dropped.fetch_add(1, Ordering::SeqCst);
        }
    }
}

impl Service for Trial {
    fn methods(&self) -> &[u64] {
        &*METHODS
    }

    fn call(&self, context: CallContext, method: u64, body: Bytes) -> ReplyFuture {
        let trial = self.clone();
        let [echo, sleep, fail, _] = *METHODS;
        Box::pin(async move {
            let malformed =
                |_| Status::new(Code::InvalidArgument, Execution::NotStarted, "malformed");
            if method == echo {
                let words = Words::decode(body).map_err(malformed)?;
                Ok(words.encode_to_vec().into())
            } else if method == sleep {
                let request = SleepRequest::decode(body).map_err(malformed)?;
                trial.sleepers.fetch_add(1, Ordering::SeqCst);
                let mut sleeper = Sleeper {
                    trial,
                    has_woken: false,
                };
                tokio::time::sleep(Duration::from_millis(request.milliseconds.into())).await;
                sleeper.has_woken = true;
                Ok(Bytes::new())
            } else if method == fail {
                Err(status(Failure::decode(body).map_err(malformed)?))
            } else {
                let reply = WatchReply {
                    sleepers: trial.sleepers.load(Ordering::SeqCst),
                    dropped: trial.dropped.load(Ordering::SeqCst),
                    caller: Bytes::copy_from_slice(context.peer().key_id().as_bytes()),
                };
                Ok(reply.encode_to_vec().into())
            }
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
        Router::new().service(Trial::default())?,
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
