//! A server, an honest client that calls it all the time, and doors for others.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use sealmoot_rpc::channel::Identity;
use sealmoot_rpc::{
    ALPN, CallContext, CallOptions, Connection, Limits, Replies, Requests, Router, Server,
    ServerHandle, Status,
};
use tokio::net::TcpListener;
use tokio::sync::{Mutex, MutexGuard};
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use super::peer::{Ear, Mouth, Stream, enter};
use super::service::{CHAT, Patient};
use crate::common::{Anyone, ECHO, PATIENCE, TestService, connect, key, raw_client, raw_connect};
use echo::v1::{Echo, EchoServer, SayReply, SayRequest};
use shared::v1::Empty;

pub mod echo {
    pub mod v1 {
        include!("../../codegen/tests/golden/echo.v1.rs");
    }
}
pub mod shared {
    pub mod v1 {
        include!("../../codegen/tests/golden/shared.v1.rs");
    }
}

/// One attack at a time: their memory is counted.
static ALONE: Mutex<()> = Mutex::const_new(());

/// `share` of `full`, unless everything is asked for.
pub fn count(full: usize, share: usize) -> usize {
    if is_full() { full } else { share }
}

pub fn is_full() -> bool {
    std::env::var("SEALMOOT_HOSTILE").is_ok_and(|value| value == "full")
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Over {
    Tls,
    Memory,
}

/// Somebody with a key, who connects as often as it likes.
pub enum Person {
    Tls(TlsConnector),
    Memory(Identity),
}

impl Person {
    pub fn new() -> Self {
        Self::over(Over::Memory)
    }

    pub fn over(over: Over) -> Self {
        match over {
            Over::Tls => Self::Tls(raw_client(&[ALPN])),
            Over::Memory => Self::Memory(Identity::new(&key()).expect("sound")),
        }
    }
}

pub const BOTH: [Over; 2] = [Over::Tls, Over::Memory];

pub struct World {
    pub server: ServerHandle,
    pub plain: TestService,
    pub patient: Patient,
    honest: JoinHandle<u64>,
    is_over: Arc<AtomicBool>,
    _alone: MutexGuard<'static, ()>,
}

/// Limits under which a peer may be silent as long as a test takes.
pub fn quiet() -> Limits {
    Limits {
        keepalive_idle: Duration::from_secs(60),
        keepalive_timeout: Duration::from_secs(60),
        ..Limits::default()
    }
}

impl World {
    pub async fn new(limits: Limits) -> Self {
        let alone = ALONE.lock().await;
        let (plain, patient) = (TestService::default(), Patient::default());
        let router = Router::new()
            .service(plain.clone())
            .and_then(|router| router.service(patient.clone()))
            .and_then(|router| router.service(EchoServer::new(Repeater)))
            .expect("no duplicates");
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let authorizer = Arc::new(Anyone(b"server"));
        let server = Server::start(listener, &key(), authorizer, router, limits).expect("sound");
        let is_over = Arc::new(AtomicBool::new(false));
        let connection = connect(&server).await;
        let honest = tokio::spawn(call_honestly(connection, Arc::clone(&is_over)));
        Self {
            server,
            plain,
            patient,
            honest,
            is_over,
            _alone: alone,
        }
    }

    /// A peer that is admitted.
    pub async fn peer(&self, over: Over) -> (Mouth, Ear) {
        self.peer_as(&Person::over(over)).await
    }

    /// One more connection of somebody who is admitted.
    pub async fn peer_as(&self, person: &Person) -> (Mouth, Ear) {
        enter(self.stream_as(person).await).await
    }

    /// The same before its hello.
    pub async fn stream_as(&self, person: &Person) -> Box<dyn Stream> {
        match person {
            Person::Tls(connector) => {
                let connected = raw_connect(&self.server, connector.clone()).await;
                Box::new(connected.expect("connected"))
            }
            Person::Memory(identity) => {
                let entered = self.server.door().enter(identity).await;
                Box::new(entered.expect("an open door"))
            }
        }
    }

    /// Streams of endless replies that have begun so far.
    pub fn endless_begun(&self) -> usize {
        self.patient.endless.load(Ordering::SeqCst)
    }

    /// Waits until so many of them have: by now they may have ended.
    pub async fn endless_begin(&self, count: usize) {
        let reached = async {
            while self.endless_begun() < count {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        timeout(PATIENCE, reached).await.expect("so many begin");
    }

    /// That no honest call failed, and there were some.
    pub async fn assert_unharmed(self) {
        self.is_over.store(true, Ordering::SeqCst);
        let calls = self.honest.await.expect("every honest call succeeds");
        assert!(calls > 0, "nobody called");
    }
}

/// Calls until it is over, alone and by streams.
async fn call_honestly(connection: Connection, is_over: Arc<AtomicBool>) -> u64 {
    let mut calls = 0;
    let options = CallOptions::new(PATIENCE);
    loop {
        let reply = connection.call(ECHO, &b"honest"[..], PATIENCE).await;
        assert_eq!(reply.expect("an answer"), &b"honest"[..]);
        let (mut requests, mut replies) = connection.bidirectional(CHAT, &options).expect("room");
        requests.send(&b"honest"[..]).await.expect("taken");
        let reply = replies.next().await.expect("an answer").expect("one");
        assert_eq!(reply, &b"honest"[..]);
        requests.finish();
        assert_eq!(replies.next().await.expect("a lawful end"), None);
        calls += 2;
        if is_over.load(Ordering::SeqCst) {
            return calls;
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

/// Generated stubs, to be given what does not decode.
struct Repeater;

impl Echo for Repeater {
    async fn note(&self, _: CallContext, _: SayRequest) -> Result<(), Status> {
        Ok(())
    }

    async fn forget(&self, _: CallContext, (): ()) -> Result<(), Status> {
        Ok(())
    }

    async fn say(&self, _: CallContext, _: SayRequest) -> Result<SayReply, Status> {
        Ok(SayReply::default())
    }

    async fn r#match(&self, _: CallContext, empty: Empty) -> Result<Empty, Status> {
        Ok(empty)
    }

    async fn all(&self, _: CallContext, _: SayRequest) -> Result<SayReply, Status> {
        Ok(SayReply::default())
    }

    async fn collect(
        &self,
        _: CallContext,
        mut requests: Requests<SayRequest>,
    ) -> Result<SayReply, Status> {
        while requests.next().await?.is_some() {}
        Ok(SayReply::default())
    }

    async fn list(
        &self,
        _: CallContext,
        _: SayRequest,
        _: Replies<SayReply>,
    ) -> Result<(), Status> {
        Ok(())
    }

    async fn chat(
        &self,
        _: CallContext,
        mut requests: Requests<SayRequest>,
        _: Replies<SayReply>,
    ) -> Result<(), Status> {
        while requests.next().await?.is_some() {}
        Ok(())
    }
}
