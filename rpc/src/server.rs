//! Accepting connections, and ending them in time.

use std::collections::HashMap;
use std::fmt;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use sealmoot_crypto::signature::SigningKey;
use tokio::net::TcpListener;
#[cfg(unix)]
use tokio::net::UnixListener;
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{Instant, MissedTickBehavior, timeout_at};

use crate::admission::{Admission, Pace, Place};
#[cfg(unix)]
use crate::channel::AllowedUsers;
use crate::channel::Identity;
use crate::connection::Driver;
use crate::connector::ConfigError;
use crate::counted;
use crate::handshake::{self, HandshakeError};
use crate::limits::{ACCEPT_RETRY, DURATION_MAX, Limits, ONCE_SWEEP};
use crate::listening::{self, Arrival, Door, Listening};
use crate::noise::Acceptance;
use crate::peer::{Authorizer, Peer, Refusal};
use crate::quota::{Membership, Quotas, TooManyConnections};
use crate::service::Router;
use crate::serving::{CloseOnDrop, Link, OnceCalls, ServerEndpoint};
use crate::status::{Code, Execution, Status};

/// Starts servers.
#[derive(Debug)]
pub struct Server;

impl Server {
    /// Serves `router` over TLS at `listener` as `key`, to the clients that
    /// `authorizer` admits. Runs on the current tokio runtime, of either kind.
    ///
    /// # Errors
    ///
    /// Limits under which nothing works, a key that TLS does not take, or a
    /// listener without an address.
    pub fn start(
        listener: TcpListener,
        key: &SigningKey,
        authorizer: Arc<dyn Authorizer>,
        router: Router,
        limits: Limits,
    ) -> Result<ServerHandle, ConfigError> {
        ServerBuilder::new(Identity::new(key)?, authorizer, router, limits)
            .tls(listener)
            .start()
    }

    /// A server that is reached over several transports, or others than TLS.
    pub fn builder(
        identity: Identity,
        authorizer: Arc<dyn Authorizer>,
        router: Router,
        limits: Limits,
    ) -> ServerBuilder {
        ServerBuilder::new(identity, authorizer, router, limits)
    }
}

/// A server before it starts: where it is reached.
pub struct ServerBuilder {
    identity: Identity,
    authorizer: Arc<dyn Authorizer>,
    router: Router,
    limits: Limits,
    places: Vec<Listening>,
    addresses: Vec<std::io::Result<SocketAddr>>,
}

impl ServerBuilder {
    fn new(
        identity: Identity,
        authorizer: Arc<dyn Authorizer>,
        router: Router,
        limits: Limits,
    ) -> Self {
        Self {
            identity,
            authorizer,
            router,
            limits,
            places: Vec::new(),
            addresses: Vec::new(),
        }
    }

    /// Reached over TLS at `listener`.
    #[must_use]
    pub fn tls(mut self, listener: TcpListener) -> Self {
        self.addresses.push(listener.local_addr());
        self.places.push(Listening::Tls(listener));
        self
    }

    /// Reached over Noise at `listener`, by initiators that `acceptance` takes.
    #[must_use]
    pub fn noise(mut self, listener: TcpListener, acceptance: Acceptance) -> Self {
        self.addresses.push(listener.local_addr());
        self.places
            .push(Listening::Noise(listener, Arc::new(acceptance)));
        self
    }

    /// Reached at a Unix socket, by processes of `users`. The path's mode
    /// decides who may connect at all; whoever does is checked here.
    #[cfg(unix)]
    #[must_use]
    pub fn unix(mut self, listener: UnixListener, users: AllowedUsers) -> Self {
        self.places.push(Listening::Unix(listener, Arc::new(users)));
        self
    }

    /// Starts the server on the current tokio runtime, of either kind. It can
    /// be reached from within the process too: [`ServerHandle::door`].
    ///
    /// # Errors
    ///
    /// Limits under which nothing works, or a listener without an address.
    pub fn start(self) -> Result<ServerHandle, ConfigError> {
        let Self {
            identity,
            authorizer,
            router,
            limits,
            mut places,
            addresses,
        } = self;
        if let Some(fault) = limits.fault() {
            return Err(ConfigError::Limits(fault));
        }
        let local_addresses = addresses
            .into_iter()
            .collect::<Result<_, _>>()
            .map_err(ConfigError::Listener)?;
        let (stop, stopping) = watch::channel(None);
        let (door, inside) = Door::new(identity.clone());
        places.push(inside);
        let shared = Arc::new(Shared {
            identity,
            authorizer,
            router: Arc::new(router),
            admission: Admission::new(&limits),
            links: Mutex::default(),
            once: OnceCalls::new(),
            quotas: Quotas::new(&limits),
            limits,
            stopping,
        });
        let weak = Arc::downgrade(&shared);
        let task = tokio::spawn(serve(places, shared));
        Ok(ServerHandle {
            local_addresses,
            door,
            stop,
            task,
            shared: weak,
        })
    }
}

impl fmt::Debug for ServerBuilder {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("ServerBuilder")
            .field("identity", &self.identity)
            .finish_non_exhaustive()
    }
}

/// A running server. Dropping it stops the server at once.
#[derive(Debug)]
pub struct ServerHandle {
    local_addresses: Vec<SocketAddr>,
    door: Door,
    stop: watch::Sender<Option<Instant>>,
    task: JoinHandle<()>,
    shared: Weak<Shared>,
}

impl ServerHandle {
    /// Where the server listens: the first of its addresses.
    ///
    /// # Panics
    ///
    /// When it was started without any TCP listener.
    pub fn local_addr(&self) -> SocketAddr {
        *self
            .local_addresses
            .first()
            .expect("the server was given a TCP listener")
    }

    /// Every TCP address where the server listens, in the order in which its
    /// listeners were given.
    pub fn local_addrs(&self) -> &[SocketAddr] {
        &self.local_addresses
    }

    /// The open connections, for whoever ends some of them by choice.
    pub fn connections(&self) -> Connections {
        Connections(Weak::clone(&self.shared))
    }

    /// The way in from within this process, for
    /// [`Connector::connect_memory`](crate::Connector::connect_memory).
    pub fn door(&self) -> Door {
        self.door.clone()
    }

    /// Stops accepting, asks every client to go, lets running calls end
    /// `within` the time, and closes every connection by then.
    pub async fn drain(mut self, within: Duration) {
        let deadline = Instant::now() + within.min(DURATION_MAX);
        self.stop.send_replace(Some(deadline));
        // It ends by itself; a panic in it has been reported already.
        let _ = (&mut self.task).await;
    }
}

impl Drop for ServerHandle {
    fn drop(&mut self) {
        // Ends the connections too: the task owns theirs.
        self.task.abort();
    }
}

/// The open connections of a server: whoever holds it can end some of them, while
/// the server lives.
#[derive(Clone, Debug)]
pub struct Connections(Weak<Shared>);

impl Connections {
    /// How many connections are open.
    pub fn count(&self) -> usize {
        let shared = self.0.upgrade();
        shared.map_or(0, |shared| shared.links().by_number.len())
    }

    /// Ends at once the connections of those for whom `judge` has a reason, and says
    /// how many these were. Their handlers are dropped; what they held of streams
    /// ends; at-most-once calls go on and keep their outcome. The clients are told
    /// the reason in a goaway: their calls in flight fail with it as
    /// [`Execution::MaybeExecuted`], those that had not left as
    /// [`Execution::NotSent`].
    ///
    /// A peer that the [`Authorizer`] has admitted and that is not welcomed yet is
    /// not among them: whoever ends connections because the authorizer would now
    /// decide otherwise asks again a moment later.
    ///
    /// Costs calls nothing: `judge` is asked here alone, without any lock held.
    pub fn close_where(&self, judge: impl Fn(&Peer) -> Option<Refusal>) -> usize {
        let Some(shared) = self.0.upgrade() else {
            return 0;
        };
        let open: Vec<_> = shared.links().by_number.values().cloned().collect();
        let cut =
            |link: &Arc<Link>| judge(link.peer()).is_some_and(|reason| link.cut(status_of(reason)));
        open.iter().filter(|link| cut(link)).count()
    }
}

/// What a client is told. The execution is set anew for each call that this ends.
fn status_of(reason: Refusal) -> Status {
    Status::new(reason.code, Execution::MaybeExecuted, reason.message).with_details(reason.details)
}

struct Shared {
    identity: Identity,
    authorizer: Arc<dyn Authorizer>,
    router: Arc<Router>,
    admission: Arc<Admission>,
    links: Mutex<Links>,
    once: Arc<OnceCalls>,
    quotas: Quotas,
    limits: Limits,
    stopping: watch::Receiver<Option<Instant>>,
}

/// The connections to tell when the server drains; bounded by
/// [`Limits::connections_max`].
#[derive(Default)]
struct Links {
    by_number: HashMap<u64, Arc<Link>>,
    number_last: u64,
    is_draining: bool,
}

async fn serve(mut places: Vec<Listening>, shared: Arc<Shared>) {
    // However this ends, at-most-once handlers end with it: they belong to no
    // connection.
    let _closing = CloseOnDrop(Arc::clone(&shared.once));
    let mut sweep = tokio::time::interval(ONCE_SWEEP);
    sweep.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut connections = JoinSet::new();
    // Ends when it is dropped.
    let mut turns = JoinSet::new();
    turns.spawn(Arc::clone(&shared.admission).give_turns());
    let mut pace = Pace::new(Instant::now().into_std());
    let mut breath_end = None;
    let mut stopping = shared.stopping.clone();
    loop {
        tokio::select! {
            biased;
            _ = stopping.changed() => break,
            Some(_) = connections.join_next() => {}
            _ = sweep.tick() => {
                shared.once.expire();
                shared.quotas.forget_unused(Instant::now().into_std());
            }
            () = tokio::time::sleep_until(breath_end.unwrap_or_else(Instant::now)),
                if breath_end.is_some() => breath_end = None,
            arrived = listening::next(&mut places), if breath_end.is_none() => match arrived {
                Ok(arrival) => {
                    if let Ok(place) = admit(&shared, &arrival, connections.len()) {
                        connections.spawn(converse(arrival, place, Arc::clone(&shared)));
                    }
                    breath_end = pace.accepted(Instant::now().into_std()).map(Instant::from_std);
                    // However many there are: calls run between two of them.
                    tokio::task::yield_now().await;
                }
                Err(error) => {
                    tracing::warn!(%error, "cannot accept a connection");
                    tokio::time::sleep(ACCEPT_RETRY).await;
                }
            },
        }
    }
    drop(places);
    let Some(deadline) = *stopping.borrow() else {
        return;
    };
    // Before the connections: calls that need not go on end in time for them.
    shared.router.draining();
    shared.drain();
    let emptied = async { while connections.join_next().await.is_some() {} };
    if timeout_at(deadline, emptied).await.is_err() {
        tracing::info!("some connections did not end in time");
    }
    connections.shutdown().await;
    let mut handlers = shared.once.close();
    let ended = async { while handlers.join_next().await.is_some() {} };
    if timeout_at(deadline, ended).await.is_err() {
        tracing::info!("some at-most-once calls did not end in time");
    }
    handlers.shutdown().await;
}

/// No room for a client.
struct Refused;

/// A place among the strangers, for those that can be strangers: to a Unix
/// socket or a memory channel, nobody comes who is not let in by the system.
fn admit(
    shared: &Shared,
    arrival: &Arrival,
    connection_count: usize,
) -> Result<Option<Place>, Refused> {
    let source = arrival.source();
    if connection_count >= shared.limits.connections_max {
        tracing::debug!(?source, "refused a connection: too many are open");
        return Err(Refused);
    }
    let Some(source) = source else {
        return Ok(None);
    };
    let place = shared.admission.admit(source);
    if place.is_none() {
        tracing::debug!(%source, "refused a connection: too many of its source are unauthenticated");
    }
    place.map(Some).ok_or(Refused)
}

/// As what a client is admitted.
enum Standing {
    /// As somebody that anybody can be, with limits of its own. It has no
    /// account: as many keys as it likes are as many accounts, and the places of
    /// the unauthenticated bound how many of them there are.
    Guest(Box<Limits>),
    /// As one of those whose connections are counted together.
    Member(Membership),
}

fn enter(shared: &Shared, peer: &Peer) -> Result<Standing, Refusal> {
    if let Some(limits) = shared.authorizer.limits(peer) {
        return Ok(Standing::Guest(Box::new(limits)));
    }
    match shared.quotas.enter(peer.key_id()) {
        Ok(membership) => Ok(Standing::Member(membership)),
        Err(TooManyConnections) => Err(Refusal::new(
            Code::ResourceExhausted,
            "too many connections of this identity",
        )),
    }
}

/// One connection from its first byte to its last.
async fn converse(arrival: Arrival, place: Option<Place>, shared: Arc<Shared>) {
    let deadline = Instant::now() + shared.limits.handshake;
    let mut stopping = shared.stopping.clone();
    let source = arrival.source();
    let handshake = async {
        arrival.speaks().await?;
        let shake = async {
            let channel = arrival
                .open(&shared.identity, place.as_ref(), &shared.limits)
                .await?;
            let enter = |peer: &Peer| enter(&shared, peer);
            handshake::accept(channel, &*shared.authorizer, &shared.limits, enter).await
        };
        match &place {
            Some(place) => place.in_turns(shake).await,
            None => shake.await,
        }
    };
    let (stream, peer, standing) = tokio::select! {
        shaken = timeout_at(deadline, handshake) => match shaken {
            Ok(Ok(admitted)) => admitted,
            Ok(Err::<_, HandshakeError>(error)) => {
                tracing::debug!(?source, %error, "no connection");
                counted::handshake_failed("failed");
                return;
            }
            Err(_) => {
                tracing::debug!(?source, "no connection: the handshake took too long");
                counted::handshake_failed("out_of_time");
                return;
            }
        },
        () = evicted(place.as_ref()) => {
            tracing::debug!(?source, "no connection: others had to be let in");
            counted::handshake_failed("displaced");
            return;
        }
        _ = stopping.wait_for(Option::is_some) => return,
    };
    // Somebody unknown keeps its place, and makes its source no better known.
    let (place, presence) = match (place, &standing) {
        (Some(place), Standing::Guest(_)) => {
            place.welcome();
            (Some(place), None)
        }
        (Some(place), Standing::Member(_)) => (None, Some(place.authorized(peer.key_id()))),
        (None, _) => (None, None),
    };
    let limits = match &standing {
        Standing::Guest(limits) => limits,
        Standing::Member(_) => &shared.limits,
    };
    let (key_id, origin, transport) = (peer.key_id(), peer.origin(), peer.transport());
    tracing::debug!(%origin, %transport, %key_id, "connected");
    let (router, once) = (Arc::clone(&shared.router), Arc::clone(&shared.once));
    let (mut endpoint, link) = ServerEndpoint::new(router, once, peer, limits);
    endpoint = match &standing {
        Standing::Guest(_) => endpoint.for_guest(),
        Standing::Member(membership) => endpoint.counted_by(membership.share()),
    };
    let registration = Registration::new(&shared, link);
    tokio::select! {
        () = Driver::new(stream, endpoint, limits) => {}
        () = evicted(place.as_ref()) => {}
    }
    drop((place, presence, standing));
    drop(registration);
    tracing::debug!(%origin, %transport, %key_id, "disconnected");
}

/// Completes when a stranger has lost its place to another; never for others.
async fn evicted(place: Option<&Place>) {
    match place {
        Some(place) => place.evicted().await,
        None => std::future::pending().await,
    }
}

impl Shared {
    fn drain(&self) {
        let mut links = self.links();
        links.is_draining = true;
        let open: Vec<_> = links.by_number.values().cloned().collect();
        drop(links);
        for link in open {
            link.drain(draining());
        }
    }

    fn links(&self) -> MutexGuard<'_, Links> {
        // No code that can panic runs between two sound states.
        self.links.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn draining() -> Status {
    Status::new(
        Code::Unavailable,
        Execution::NotStarted,
        "the server is shutting down",
    )
}

/// A connection's entry among those to tell; dropping it takes it out.
struct Registration {
    shared: Arc<Shared>,
    number: u64,
}

impl Registration {
    fn new(shared: &Arc<Shared>, link: Arc<Link>) -> Self {
        let mut links = shared.links();
        links.number_last += 1;
        let number = links.number_last;
        if links.is_draining {
            // Authenticated between the announcement and its arrival here.
            link.drain(draining());
        }
        links.by_number.insert(number, link);
        drop(links);
        counted::connection_opened();
        Self {
            shared: Arc::clone(shared),
            number,
        }
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        self.shared.links().by_number.remove(&self.number);
        counted::connection_closed();
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Shared").finish_non_exhaustive()
    }
}
