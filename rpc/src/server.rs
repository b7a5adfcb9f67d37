//! Accepting connections, and ending them in time.

use std::collections::HashMap;
use std::fmt;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use sealmoot_crypto::signature::SigningKey;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{Instant, timeout_at};
use tokio_rustls::TlsAcceptor;

use crate::admission::{Admission, Place};
use crate::connection::Driver;
use crate::connector::ConfigError;
use crate::handshake;
use crate::limits::{ACCEPT_RETRY, DURATION_MAX, Limits};
use crate::peer::Authorizer;
use crate::service::Router;
use crate::serving::{Link, ServerEndpoint};
use crate::status::{Code, Execution, Status};
use crate::tls;

/// Starts servers.
#[derive(Debug)]
pub struct Server;

impl Server {
    /// Serves `router` at `listener` as `key`, to the clients that
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
        if let Some(fault) = limits.fault() {
            return Err(ConfigError::Limits(fault));
        }
        let local_address = listener.local_addr().map_err(ConfigError::Listener)?;
        let (stop, stopping) = watch::channel(None);
        let shared = Arc::new(Shared {
            acceptor: TlsAcceptor::from(tls::server_config(key)?),
            authorizer,
            router: Arc::new(router),
            admission: Admission::new(
                limits.unauthenticated_max,
                limits.unauthenticated_per_source_max,
            ),
            links: Mutex::default(),
            limits,
            stopping,
        });
        let task = tokio::spawn(serve(listener, shared));
        Ok(ServerHandle {
            local_address,
            stop,
            task,
        })
    }
}

/// A running server. Dropping it stops the server at once.
#[derive(Debug)]
pub struct ServerHandle {
    local_address: SocketAddr,
    stop: watch::Sender<Option<Instant>>,
    task: JoinHandle<()>,
}

impl ServerHandle {
    /// Where the server listens.
    pub fn local_addr(&self) -> SocketAddr {
        self.local_address
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

struct Shared {
    acceptor: TlsAcceptor,
    authorizer: Arc<dyn Authorizer>,
    router: Arc<Router>,
    admission: Arc<Admission>,
    links: Mutex<Links>,
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

async fn serve(listener: TcpListener, shared: Arc<Shared>) {
    let mut connections = JoinSet::new();
    let mut stopping = shared.stopping.clone();
    loop {
        tokio::select! {
            biased;
            _ = stopping.changed() => break,
            Some(_) = connections.join_next() => {}
            accepted = listener.accept() => match accepted {
                Ok((stream, address)) => {
                    if let Some(place) = admit(&shared, address, connections.len()) {
                        connections.spawn(converse(stream, address, place, Arc::clone(&shared)));
                    }
                }
                Err(error) => {
                    tracing::warn!(%error, "cannot accept a connection");
                    tokio::time::sleep(ACCEPT_RETRY).await;
                }
            },
        }
    }
    drop(listener);
    let Some(deadline) = *stopping.borrow() else {
        return;
    };
    shared.drain();
    let emptied = async { while connections.join_next().await.is_some() {} };
    if timeout_at(deadline, emptied).await.is_err() {
        tracing::info!("some connections did not end in time");
    }
    connections.shutdown().await;
}

fn admit(shared: &Shared, address: SocketAddr, connection_count: usize) -> Option<Place> {
    if connection_count >= shared.limits.connections_max {
        tracing::debug!(%address, "refused a connection: too many are open");
        return None;
    }
    let place = shared.admission.admit(address.ip());
    if place.is_none() {
        tracing::debug!(%address, "refused a connection: too many are unauthenticated");
    }
    place
}

/// One connection from its first byte to its last.
async fn converse(stream: TcpStream, address: SocketAddr, place: Place, shared: Arc<Shared>) {
    let deadline = Instant::now() + shared.limits.handshake;
    let mut stopping = shared.stopping.clone();
    let handshake = handshake::accept(
        stream,
        address,
        &shared.acceptor,
        &*shared.authorizer,
        &shared.limits,
    );
    let (stream, peer) = tokio::select! {
        shaken = timeout_at(deadline, handshake) => match shaken {
            Ok(Ok(admitted)) => admitted,
            Ok(Err(error)) => {
                tracing::debug!(%address, %error, "no connection");
                return;
            }
            Err(_) => {
                tracing::debug!(%address, "no connection: the handshake took too long");
                return;
            }
        },
        _ = stopping.wait_for(Option::is_some) => return,
    };
    let own_limits = shared.authorizer.limits(&peer);
    let place = own_limits.is_some().then_some(place);
    let limits = own_limits.as_ref().unwrap_or(&shared.limits);
    let key_id = peer.key_id();
    tracing::debug!(%address, %key_id, "connected");
    let (endpoint, link) = ServerEndpoint::new(Arc::clone(&shared.router), peer, limits);
    let registration = Registration::new(&shared, link);
    Driver::new(stream, endpoint, limits).await;
    drop(place);
    drop(registration);
    tracing::debug!(%address, %key_id, "disconnected");
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
        Self {
            shared: Arc::clone(shared),
            number,
        }
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        self.shared.links().by_number.remove(&self.number);
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Shared").finish_non_exhaustive()
    }
}
