//! A source of records that can be changed, and servers that count.
#![allow(unreachable_pub)]

use std::any::Any;
use std::num::NonZeroU8;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use sealmoot_crypto::agreement::AgreementPublic;
use sealmoot_crypto::signature::{KeyId, SigningKey};
use sealmoot_rpc::binding::record::verify;
use sealmoot_rpc::binding::{
    BindError, Binder, Endpoint, EndpointFault, Fingerprint, Name, NameRecord, RecordError,
    Resolution, ResolveError, Resolver, Served, Way, unix_ms,
};
use sealmoot_rpc::bytes::Bytes;
use sealmoot_rpc::channel::{AllowedUsers, Identity};
use sealmoot_rpc::health::{HealthReporter, HealthStatus, health_service};
use sealmoot_rpc::noise::Acceptance;
use sealmoot_rpc::{
    Authorizer, CallContext, CallOptions, Candidate, Code, Execution, Guard, Idempotency, Limits,
    MethodDescriptor, MethodKind, RawReplies, RawRequests, Refusal, ReplyFuture, Retrying, Router,
    Server, ServerHandle, Service, ServiceDescriptor, Status, StreamFuture,
};
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::watch;

pub const PATIENCE: Duration = Duration::from_secs(60);

/// Counts itself.
pub const COUNT: u64 = 0x101;
/// The same, for calls whose guard is at issue.
pub const ACT: u64 = 0x102;
/// Counts itself and waits until it is released.
pub const HANG_FIRST: u64 = 0x103;
/// Counts itself and echoes.
pub const TALK: u64 = 0x104;
/// Counts itself, and has no time the first time.
pub const BUSY_FIRST: u64 = 0x105;

pub static SERVICE: ServiceDescriptor = descriptor(1);
static ANOTHER: ServiceDescriptor = descriptor(2);

const METHODS: &[MethodDescriptor] = &[
    method("Count", COUNT, MethodKind::Unary),
    method("Act", ACT, MethodKind::Unary),
    method("HangFirst", HANG_FIRST, MethodKind::Unary),
    method("Talk", TALK, MethodKind::Bidirectional),
    method("BusyFirst", BUSY_FIRST, MethodKind::Unary),
];

const fn descriptor(fingerprint: u8) -> ServiceDescriptor {
    ServiceDescriptor {
        name: "test.v1.Counter",
        fingerprint: Fingerprint::from_bytes([fingerprint; 32]),
        earlier: &[],
        methods: METHODS,
        file_descriptors: &[],
    }
}

const fn method(name: &'static str, number: u64, kind: MethodKind) -> MethodDescriptor {
    MethodDescriptor {
        name,
        number,
        kind,
        guard: Guard::Method(Idempotency::Unknown),
    }
}

pub fn key() -> SigningKey {
    SigningKey::generate().expect("random source")
}

pub fn options() -> CallOptions {
    CallOptions::new(PATIENCE)
}

pub fn address(listener: &TcpListener) -> String {
    listener.local_addr().expect("bound").to_string()
}

pub async fn eventually(what: &str, holds: impl Fn() -> bool) {
    let held = async {
        while !holds() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    let in_time = tokio::time::timeout(PATIENCE, held).await;
    in_time.unwrap_or_else(|_| panic!("in time: {what}"));
}

/// One client, and who tells it where names are.
pub struct World {
    signer: SigningKey,
    source: Arc<Source>,
    binder: Binder,
}

struct Source {
    trusted: KeyId,
    /// What is handed out: bytes to verify, or a failure.
    answer: Mutex<Option<Result<Vec<u8>, ResolveError>>>,
    asked: AtomicUsize,
    hangs: AtomicBool,
}

impl Resolver for Source {
    fn resolve<'a>(&'a self, name: &'a Name) -> Resolution<'a> {
        Box::pin(async move {
            self.asked.fetch_add(1, Ordering::SeqCst);
            if self.hangs.load(Ordering::SeqCst) {
                std::future::pending::<()>().await;
            }
            let answer = self.answer.lock().expect("no panic").clone();
            let answer = answer.unwrap_or_else(|| Err(ResolveError::NotFound(name.clone())));
            let record = verify(&answer?, name, &[self.trusted], unix_ms(), 0)?;
            Ok(Arc::new(record))
        })
    }
}

impl World {
    pub fn new() -> Self {
        let signer = key();
        let source = Arc::new(Source {
            trusted: signer.verifying_key().key_id(),
            answer: Mutex::new(None),
            asked: AtomicUsize::new(0),
            hangs: AtomicBool::new(false),
        });
        let identity = Identity::new(&key()).expect("a sound key");
        let resolver: Arc<dyn Resolver> = Arc::clone(&source) as _;
        let binder = Binder::new(identity, resolver, Limits::default()).expect("sound limits");
        Self {
            signer,
            source,
            binder,
        }
    }

    pub fn name() -> Name {
        "test/counter".parse().expect("a name")
    }

    /// An hour's record of these servers.
    pub fn record<'a>(
        &self,
        serial: u64,
        servers: impl IntoIterator<Item = &'a Instance>,
    ) -> NameRecord {
        let endpoints = servers.into_iter().map(|server| Endpoint {
            way: Way::Tls,
            address: server.address(),
            key_id: server.key_id(),
            weight: NonZeroU8::MIN,
        });
        NameRecord {
            name: Self::name(),
            serial,
            valid_until_ms: unix_ms() + 3_600_000,
            ttl_seconds: 3_600,
            services: vec![Served {
                service: SERVICE.name.to_owned(),
                fingerprint: SERVICE.fingerprint,
            }],
            endpoints: endpoints.collect(),
        }
    }

    pub fn publish(&self, record: NameRecord) {
        let signed = record.sign(&self.signer).expect("a sound record");
        self.publish_bytes(signed.bytes().to_vec());
    }

    pub fn publish_bytes(&self, bytes: Vec<u8>) {
        *self.source.answer.lock().expect("no panic") = Some(Ok(bytes));
    }

    pub fn fail(&self, error: ResolveError) {
        *self.source.answer.lock().expect("no panic") = Some(Err(error));
    }

    /// Asked from now on, it says nothing.
    pub fn hang(&self) {
        self.source.hangs.store(true, Ordering::SeqCst);
    }

    pub fn asked(&self) -> usize {
        self.source.asked.load(Ordering::SeqCst)
    }

    pub async fn bind(&self) -> Result<Retrying, BindError> {
        self.bind_within(PATIENCE).await
    }

    pub async fn bind_within(&self, patience: Duration) -> Result<Retrying, BindError> {
        // What an earlier one has learnt must not count.
        let binder = self.binder();
        binder.bind(&Self::name(), &[&SERVICE], patience).await
    }

    /// Why the endpoints cannot be called, as soon as each has been tried.
    pub async fn faults(&self) -> Vec<(String, Arc<EndpointFault>)> {
        // Binding waits until its patience is over, which no wall clock tells for
        // every machine: it is given more until it was enough.
        let mut patience = PATIENCE / 96;
        loop {
            match self.bind_within(patience).await {
                Err(BindError::Endpoints { faults, .. }) if !faults.is_empty() => return faults,
                Err(BindError::Endpoints { .. }) if patience < PATIENCE => patience *= 2,
                other => panic!("{other:?}"),
            }
        }
    }

    /// A binder of its own.
    pub fn binder(&self) -> Binder {
        let identity = Identity::new(&key()).expect("a sound key");
        let resolver: Arc<dyn Resolver> = Arc::clone(&self.source) as _;
        Binder::new(identity, resolver, Limits::default()).expect("sound limits")
    }

    /// What that makes of the name.
    pub async fn bind_by(&self, binder: &Binder) -> Result<Retrying, BindError> {
        binder.bind(&Self::name(), &[&SERVICE], PATIENCE).await
    }

    pub fn bind_lazily(&self) -> Retrying {
        self.binder.bind_lazily(&Self::name(), &[&SERVICE])
    }

    /// The record in forms that are not to be believed, and how each is refused.
    #[allow(clippy::type_complexity)]
    pub fn refused_forms(&self, record: &NameRecord) -> Vec<(Vec<u8>, fn(&RecordError) -> bool)> {
        let by = |record: &NameRecord, signer: &SigningKey| {
            let signed = record.clone().sign(signer).expect("a sound record");
            signed.bytes().to_vec()
        };
        let sound = by(record, &self.signer);
        let mut forged = sound.clone();
        *forged.last_mut().expect("a signature") ^= 1;
        let mut expired = record.clone();
        expired.valid_until_ms = unix_ms() - 1;
        let mut of_another = record.clone();
        of_another.name = "test/other".parse().expect("a name");
        let truncated = sound[..sound.len() - 1].to_vec();
        vec![
            (by(record, &key()), |error| {
                matches!(error, RecordError::UnknownSigner(_))
            }),
            (forged, |error| matches!(error, RecordError::BadSignature)),
            (by(&expired, &self.signer), |error| {
                matches!(error, RecordError::Expired)
            }),
            (by(&of_another, &self.signer), |error| {
                matches!(error, RecordError::OtherName { .. })
            }),
            (truncated, |error| {
                matches!(error, RecordError::NotCanonical(_))
            }),
        ]
    }
}

/// A server of the counting service.
pub struct Instance {
    key: SigningKey,
    identity: Identity,
    counter: Counter,
    server: Option<ServerHandle>,
    address: String,
    health: HealthReporter,
    /// Changed, it cuts what goes through the proxy in front of the server.
    cut: watch::Sender<u32>,
}

#[derive(Clone)]
struct Counter(Arc<Counted>);

struct Counted {
    descriptor: &'static ServiceDescriptor,
    hellos: AtomicUsize,
    /// What the last client presented.
    presented: Mutex<Bytes>,
    calls: AtomicUsize,
    /// One for each connection that stands, and one of ours.
    connected: Arc<()>,
    release: watch::Sender<bool>,
}

impl Instance {
    pub async fn start() -> Self {
        Self::serving(&SERVICE, true).await
    }

    /// Its record says [`SERVICE`].
    pub async fn of_another_schema() -> Self {
        Self::serving(&ANOTHER, true).await
    }

    pub async fn without_reflection() -> Self {
        Self::serving(&SERVICE, false).await
    }

    async fn serving(descriptor: &'static ServiceDescriptor, has_reflection: bool) -> Self {
        let key = key();
        let counter = Counter(Arc::new(Counted {
            descriptor,
            hellos: AtomicUsize::new(0),
            presented: Mutex::default(),
            calls: AtomicUsize::new(0),
            connected: Arc::new(()),
            release: watch::channel(false).0,
        }));
        Self::with(key, counter, has_reflection).await
    }

    async fn with(key: SigningKey, counter: Counter, has_reflection: bool) -> Self {
        let identity = Identity::new(&key).expect("a sound key");
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let (health, router) = router(&counter, has_reflection);
        let server = Server::builder(
            identity.clone(),
            Arc::new(counter.clone()),
            router,
            Limits::default(),
        )
        .tls(listener)
        .start()
        .expect("sound configuration");
        // In front of it a proxy, whose connections can be cut.
        let front = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = address(&front);
        let (cut, cuts) = watch::channel(0);
        tokio::spawn(proxy(front, server.local_addr(), cuts));
        Self {
            key,
            identity,
            counter,
            server: Some(server),
            address,
            health,
            cut,
        }
    }

    pub async fn everywhere(noise: TcpListener, socket: UnixListener, users: AllowedUsers) -> Self {
        let mut instance = Self::start().await;
        let server = Server::builder(
            instance.identity.clone(),
            Arc::new(instance.counter.clone()),
            router(&instance.counter, true).1,
            Limits::default(),
        )
        .noise(noise, Acceptance::default())
        .unix(socket, users)
        .start()
        .expect("sound configuration");
        instance.server = Some(server);
        instance
    }

    /// The same server elsewhere; nobody is at the old place any more.
    pub async fn moved(mut self) -> Self {
        self.stop();
        let key = SigningKey::from_seed(&self.key.to_seed());
        Self::with(key, self.counter.clone(), true).await
    }

    /// Drained and started again at the same place.
    pub async fn restarted_in_order(mut self) -> Self {
        let server = self.server.take().expect("it runs");
        let behind = server.local_addr();
        server.drain(PATIENCE).await;
        let listener = TcpListener::bind(behind).await.expect("the same port");
        let (health, router) = router(&self.counter, true);
        self.health = health;
        let server = Server::builder(
            self.identity.clone(),
            Arc::new(self.counter.clone()),
            router,
            Limits::default(),
        );
        self.server = Some(server.tls(listener).start().expect("sound configuration"));
        self
    }

    fn stop(&mut self) {
        self.server = None;
        self.cut.send_modify(|cut| *cut = u32::MAX);
    }

    /// Every connection to it ends without a word.
    pub fn cut(&self) {
        self.cut.send_modify(|cut| *cut += 1);
    }

    /// Says how the service is from now on.
    pub fn health(&self, status: HealthStatus) {
        self.health.set(SERVICE.name, status);
    }

    pub fn release(&self) {
        self.counter.0.release.send_replace(true);
    }

    pub fn address(&self) -> String {
        self.address.clone()
    }

    pub fn key_id(&self) -> KeyId {
        self.key.verifying_key().key_id()
    }

    pub fn noise_key(&self) -> AgreementPublic {
        self.identity.static_key().public()
    }

    /// Clients that said who they are.
    pub fn hellos(&self) -> usize {
        self.counter.0.hellos.load(Ordering::SeqCst)
    }

    /// What the last of them presented.
    pub fn presented(&self) -> Bytes {
        self.counter.0.presented.lock().expect("no panic").clone()
    }

    /// Calls whose handler began.
    pub fn calls(&self) -> usize {
        self.counter.0.calls.load(Ordering::SeqCst)
    }

    /// Whether nobody is connected.
    pub fn is_left(&self) -> bool {
        Arc::strong_count(&self.counter.0.connected) == 1
    }
}

/// Takes connections, counts them and drops them: a dead endpoint that can tell how
/// often it is dialled.
pub struct Dropping {
    address: String,
    dialled: Arc<AtomicUsize>,
}

impl Dropping {
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = address(&listener);
        let dialled = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&dialled);
        tokio::spawn(async move {
            loop {
                drop(listener.accept().await.expect("a connection"));
                counted.fetch_add(1, Ordering::SeqCst);
            }
        });
        Self { address, dialled }
    }

    pub fn address(&self) -> String {
        self.address.clone()
    }

    pub fn dialled(&self) -> usize {
        self.dialled.load(Ordering::SeqCst)
    }
}

impl Drop for Instance {
    fn drop(&mut self) {
        if self.server.is_some() {
            self.stop();
        }
    }
}

fn router(counter: &Counter, has_reflection: bool) -> (HealthReporter, Router) {
    let router = Router::new().service(counter.clone()).expect("one service");
    let (health, service) = health_service(&router);
    let router = router.service(service).expect("one health service");
    let router = match has_reflection {
        true => router.with_reflection().expect("no second one"),
        false => router,
    };
    (health, router)
}

/// Joins connections to `behind`, cuts them when told, and ends when told to.
async fn proxy(front: TcpListener, behind: std::net::SocketAddr, cut: watch::Receiver<u32>) {
    let mut ending = cut.clone();
    loop {
        let accepted = tokio::select! {
            accepted = front.accept() => accepted,
            _ = ending.wait_for(|cut| *cut == u32::MAX) => return,
        };
        let (mut near, _) = accepted.expect("a connection");
        let mut cut = cut.clone();
        cut.mark_unchanged();
        tokio::spawn(async move {
            let Ok(mut far) = tokio::net::TcpStream::connect(behind).await else {
                return;
            };
            tokio::select! {
                _ = tokio::io::copy_bidirectional(&mut near, &mut far) => {}
                _ = cut.changed() => {}
            }
        });
    }
}

impl Authorizer for Counter {
    fn present(&self) -> Bytes {
        Bytes::new()
    }

    fn authorize(&self, client: &Candidate<'_>) -> Result<Arc<dyn Any + Send + Sync>, Refusal> {
        let presented = Bytes::copy_from_slice(client.presented);
        *self.0.presented.lock().expect("no panic") = presented;
        self.0.hellos.fetch_add(1, Ordering::SeqCst);
        // Lives as long as the peer, which lives as long as its connection.
        Ok(Arc::clone(&self.0.connected) as _)
    }
}

impl Service for Counter {
    fn methods(&self) -> &[u64] {
        &[COUNT, ACT, HANG_FIRST, TALK, BUSY_FIRST]
    }

    fn kind(&self, method: u64) -> MethodKind {
        match method {
            TALK => MethodKind::Bidirectional,
            _ => MethodKind::Unary,
        }
    }

    fn descriptor(&self) -> Option<&'static ServiceDescriptor> {
        Some(self.0.descriptor)
    }

    fn call(&self, _: CallContext, method: u64, body: Bytes) -> ReplyFuture {
        let before = self.0.calls.fetch_add(1, Ordering::SeqCst);
        let mut release = self.0.release.subscribe();
        Box::pin(async move {
            if method == BUSY_FIRST && before == 0 {
                let (code, execution) = (Code::Unavailable, Execution::NotStarted);
                return Err(Status::new(code, execution, "busy"));
            }
            if method == HANG_FIRST && release.wait_for(|is| *is).await.is_err() {
                return Err(Status::new(Code::Internal, Execution::Executed, "gone"));
            }
            Ok(body)
        })
    }

    fn bidirectional(
        &self,
        _: CallContext,
        _: u64,
        mut requests: RawRequests,
        mut replies: RawReplies,
    ) -> StreamFuture {
        self.0.calls.fetch_add(1, Ordering::SeqCst);
        Box::pin(async move {
            while let Some(request) = requests.next().await? {
                replies.send(request).await?;
            }
            Ok(())
        })
    }
}
