//! Retries and at-most-once calls over real connections.

use std::any::Any;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use sealmoot_crypto::signature::SigningKey;
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::*;
use crate::client::Connection;
use crate::connector::Connector;
use crate::limits::{Limits, ONCE_INCARNATIONS_PER_IDENTITY_MAX, RETRY_BURST_MAX};
use crate::link::DialError;
use crate::peer::{Authorizer, Candidate, Refusal};
use crate::server::{Server, ServerHandle};
use crate::service::{CallContext, ReplyFuture, Router, Service};

mod attempts;
mod once;
mod stress;

/// What calls are given.
const PATIENCE: Duration = Duration::from_secs(60);
/// What tests wait: shorter, so that what must end before its deadline is seen to.
const SOON: Duration = Duration::from_secs(45);

/// Counts its start, waits for the gate, counts its effect and answers with the
/// count.
const ACT: u64 = 1;
/// Answers at once.
const ECHO: u64 = 2;
/// Counts its start, and says that it has not started.
const BUSY: u64 = 3;
/// Counts its start; the first one behind an [`Deeds::arm`] never answers.
const SLOW_ONCE: u64 = 4;
/// Panics when first polled.
const PANIC: u64 = 5;
/// Panics in its own task.
const PANIC_LATER: u64 = 6;

/// What a server's handlers did.
#[derive(Clone)]
struct Deeds(Arc<Done>);

struct Done {
    started: AtomicUsize,
    running: AtomicUsize,
    effects: AtomicUsize,
    armed: AtomicUsize,
    gate: watch::Sender<bool>,
}

struct Entered(Deeds);

impl Drop for Entered {
    fn drop(&mut self) {
        self.0.0.running.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Deeds {
    fn new() -> Self {
        Self(Arc::new(Done {
            started: AtomicUsize::new(0),
            running: AtomicUsize::new(0),
            effects: AtomicUsize::new(0),
            armed: AtomicUsize::new(0),
            gate: watch::channel(false).0,
        }))
    }

    fn enter(&self) -> Entered {
        self.0.started.fetch_add(1, Ordering::SeqCst);
        self.0.running.fetch_add(1, Ordering::SeqCst);
        Entered(self.clone())
    }

    fn arm(&self) {
        self.0.armed.store(1, Ordering::SeqCst);
    }

    fn open_gate(&self) {
        self.0.gate.send_replace(true);
    }

    fn started(&self) -> usize {
        self.0.started.load(Ordering::SeqCst)
    }

    fn effects(&self) -> usize {
        self.0.effects.load(Ordering::SeqCst)
    }

    fn running(&self) -> usize {
        self.0.running.load(Ordering::SeqCst)
    }
}

impl Service for Deeds {
    fn methods(&self) -> &[u64] {
        &[ACT, ECHO, BUSY, SLOW_ONCE, PANIC, PANIC_LATER]
    }

    fn call(&self, _: CallContext, method: u64, body: Bytes) -> ReplyFuture {
        if method == ECHO {
            return Box::pin(async move { Ok(body) });
        }
        let entered = self.enter();
        let deeds = self.clone();
        Box::pin(async move {
            let _entered = entered;
            match method {
                BUSY => Err(Status::new(
                    Code::ResourceExhausted,
                    Execution::NotStarted,
                    "busy",
                )),
                SLOW_ONCE => {
                    if deeds.0.armed.swap(0, Ordering::SeqCst) == 1 {
                        std::future::pending::<()>().await;
                    }
                    Ok(body)
                }
                PANIC => panic!("a handler's fault"),
                PANIC_LATER => {
                    tokio::task::yield_now().await;
                    panic!("a handler's later fault")
                }
                _ => {
                    let mut gate = deeds.0.gate.subscribe();
                    let _ = gate.wait_for(|is_open| *is_open).await;
                    let count = deeds.0.effects.fetch_add(1, Ordering::SeqCst) + 1;
                    Ok(Bytes::from(format!("effect {count}")))
                }
            }
        })
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

fn key() -> SigningKey {
    SigningKey::generate().expect("random source")
}

async fn serve(key: &SigningKey, service: impl Service) -> ServerHandle {
    let router = Router::new().service(service).expect("no duplicates");
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    Server::start(listener, key, Arc::new(Anyone), router, Limits::default())
        .expect("sound configuration")
}

fn connector(key: &SigningKey) -> Connector {
    Connector::new(key, Arc::new(Anyone), Limits::default()).expect("sound configuration")
}

async fn connect(key: &SigningKey, server: &ServerHandle) -> Connection {
    let address = server.local_addr().to_string();
    let connected = connector(key).connect(&address, PATIENCE).await;
    connected.expect("admitted")
}

fn link_to(key: &SigningKey, address: SocketAddr) -> Link {
    let connector = connector(key);
    Link::start(move || {
        let connector = connector.clone();
        async move {
            let address = address.to_string();
            let connected = connector.connect(&address, Duration::from_secs(2));
            connected.await.map_err(DialError::from)
        }
    })
}

fn policy() -> RetryPolicy {
    RetryPolicy {
        attempts_max: 50,
        ..RetryPolicy::default()
    }
}

fn retrying(address: SocketAddr) -> Retrying {
    Retrying::new(link_to(&key(), address), policy())
}

fn options(timeout: Duration) -> CallOptions {
    CallOptions::new(timeout)
}

type Calling = JoinHandle<Result<Bytes, Status>>;

fn call(retrying: &Retrying, method: u64, guard: Guard) -> Calling {
    let retrying = retrying.clone();
    tokio::spawn(async move {
        let options = options(PATIENCE);
        retrying.call(method, guard, &b"x"[..], &options).await
    })
}

async fn ended(calling: Calling) -> Result<Bytes, Status> {
    let ended = tokio::time::timeout(SOON, calling).await;
    ended.expect("in time").expect("no panic")
}

async fn reaches(what: &str, mut is_reached: impl FnMut() -> bool) {
    let reached = async {
        while !is_reached() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    let reached = tokio::time::timeout(SOON, reached).await;
    reached.unwrap_or_else(|_| panic!("never reached: {what}"));
}

/// Long enough for a client to notice a lost connection and to send again. No
/// test depends on it for being right, only for meeting what it is about.
async fn a_while() {
    tokio::time::sleep(Duration::from_millis(150)).await;
}

/// Between a client and a server, with a knife.
struct Proxy {
    address: SocketAddr,
    shared: Arc<ProxyState>,
    task: JoinHandle<()>,
}

struct ProxyState {
    target: Mutex<Option<SocketAddr>>,
    accepted: AtomicUsize,
    /// Rises with every cut.
    cuts: watch::Sender<u64>,
    is_mute: watch::Sender<bool>,
}

impl Proxy {
    async fn to(target: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("bound");
        let shared = Arc::new(ProxyState {
            target: Mutex::new(Some(target)),
            accepted: AtomicUsize::new(0),
            cuts: watch::channel(0).0,
            is_mute: watch::channel(false).0,
        });
        let task = tokio::spawn({
            let shared = Arc::clone(&shared);
            async move {
                loop {
                    let (client, _) = listener.accept().await.expect("a client");
                    tokio::spawn(carry(client, Arc::clone(&shared)));
                }
            }
        });
        Self {
            address,
            shared,
            task,
        }
    }

    /// Ends every connection.
    fn cut(&self) {
        self.shared.cuts.send_modify(|cuts| *cuts += 1);
    }

    /// Throws away what servers send, from here on.
    fn mute(&self, is_mute: bool) {
        self.shared.is_mute.send_replace(is_mute);
    }

    fn target(&self, target: Option<SocketAddr>) {
        *self.shared.target.lock().expect("not poisoned") = target;
    }

    fn accepted(&self) -> usize {
        self.shared.accepted.load(Ordering::SeqCst)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
        self.cut();
    }
}

async fn carry(mut client: TcpStream, shared: Arc<ProxyState>) {
    let mut cuts = shared.cuts.subscribe();
    let target = *shared.target.lock().expect("not poisoned");
    let Some(target) = target else {
        return;
    };
    let Ok(mut server) = TcpStream::connect(target).await else {
        return;
    };
    shared.accepted.fetch_add(1, Ordering::SeqCst);
    let (mut client_read, mut client_write) = client.split();
    let (mut server_read, mut server_write) = server.split();
    let down = async {
        let mut buffer = vec![0; 16 * 1024];
        loop {
            let read = server_read.read(&mut buffer).await.unwrap_or(0);
            if read == 0 {
                break;
            }
            if !*shared.is_mute.borrow() && client_write.write_all(&buffer[..read]).await.is_err() {
                break;
            }
        }
    };
    tokio::select! {
        _ = cuts.changed() => {}
        _ = copy(&mut client_read, &mut server_write) => {}
        () = down => {}
    }
}
