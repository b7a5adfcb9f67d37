//! Calling by name.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use sealmoot_crypto::signature::KeyId;
use tokio::sync::Notify;
use tokio::time::{Instant as TokioInstant, timeout};

use super::balance::BalancePolicy;
use super::cache::{Cache, Lookup, Moment};
use super::endpoints::{Endpoints, Wanted};
use super::name::Name;
use super::record::{Endpoint, RecordError, VerifiedRecord, Way};
use super::resolver::{ResolveError, Resolver, unix_ms};
#[cfg(unix)]
use crate::channel::AllowedUsers;
use crate::channel::Identity;
use crate::client::Connection;
use crate::connector::{ConfigError, ConnectError, Connector};
use crate::descriptor::ServiceDescriptor;
use crate::health;
use crate::limits::binding::{DIAL_MAX, RESOLVE_PATIENCE, STALE_PATIENCE};
use crate::limits::{DURATION_MAX, Limits};
use crate::noise;
use crate::peer::{Authorizer, Candidate, Refusal};
use crate::reflection::{self, ReflectionError, SchemaMismatch};
use crate::retry::RetryPolicy;
use crate::retrying::Retrying;
use crate::splitmix::SplitMix;
use crate::status::Code;

/// Makes clients of names.
///
/// What a client of a name calls is decided by the name's record, which somebody
/// who is trusted with names has signed: the resolver sees to that. Who answers at
/// one of its endpoints is called only if it holds the key that the record names
/// for it, and serves the schemas that the client was built with.
///
/// ```
/// # use std::sync::Arc;
/// # use std::time::Duration;
/// # use sealmoot_crypto::signature::SigningKey;
/// use sealmoot_rpc::binding::{Binder, BindError, ResolveError};
/// use sealmoot_rpc::binding::table::Table;
/// use sealmoot_rpc::channel::Identity;
/// use sealmoot_rpc::Limits;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let identity = Identity::new(&SigningKey::generate()?)?;
/// let names = Arc::new(Table::default());
/// let binder = Binder::new(identity, names, Limits::default())?;
///
/// // With generated stubs, `greeter_methods::SERVICE` would be among the services.
/// let unknown = binder.bind(&"greeter".parse()?, &[], Duration::from_secs(1)).await;
/// assert!(matches!(unknown, Err(BindError::Name(ResolveError::NotFound(_)))));
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Binder {
    shared: Arc<Shared>,
}

#[derive(Clone)]
struct Shared {
    identity: Identity,
    limits: Limits,
    names: Arc<Names>,
    authorizer: Option<Arc<dyn Authorizer>>,
    #[cfg(unix)]
    users: AllowedUsers,
    balance: BalancePolicy,
    retry: RetryPolicy,
}

/// Why nothing could be bound in time.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BindError {
    /// No record of the name, or one that is not to be believed.
    #[error(transparent)]
    Name(#[from] ResolveError),
    /// A record, but no endpoint that can be called.
    #[error("no endpoint of {name} can be called: {}", listed(.faults))]
    Endpoints {
        /// Of which name.
        name: Name,
        /// By address, those that were tried.
        faults: Vec<(String, Arc<EndpointFault>)>,
    },
}

/// Why an endpoint is not called.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EndpointFault {
    /// Another key than the record's is proved there. Whoever it is has been sent
    /// no call.
    #[error("the key there is {found}, not {expected}")]
    OtherKey {
        /// The record's.
        expected: KeyId,
        /// Whose is there.
        found: KeyId,
    },
    /// No connection.
    #[error("{}", .0.cause())]
    Connect(Arc<ConnectError>),
    /// The right server, which does not tell what it serves.
    #[error(transparent)]
    Reflection(Arc<ReflectionError>),
    /// The right server, which serves something else.
    #[error(transparent)]
    Schema(#[from] SchemaMismatch),
    /// A Unix socket, on a system without.
    #[error("Unix sockets do not exist here")]
    NoUnixSockets,
}

impl EndpointFault {
    /// Whether it will most likely be the same a moment later.
    pub(super) fn is_refusal(&self) -> bool {
        match self {
            Self::OtherKey { .. } | Self::Schema(_) | Self::NoUnixSockets => true,
            Self::Reflection(error) => !matches!(**error, ReflectionError::Failed(_)),
            Self::Connect(error) => matches!(
                **error,
                ConnectError::Untrusted(_) | ConnectError::Refused(_)
            ),
        }
    }
}

impl Binder {
    /// A binder that proves `identity` to servers and finds names by `resolver`.
    /// To be used, and everything that is bound by it, on a tokio runtime.
    ///
    /// # Errors
    ///
    /// Limits under which nothing works.
    pub fn new(
        identity: Identity,
        resolver: Arc<dyn Resolver>,
        limits: Limits,
    ) -> Result<Self, ConfigError> {
        if let Some(fault) = limits.fault() {
            return Err(ConfigError::Limits(fault));
        }
        Ok(Self {
            shared: Arc::new(Shared {
                identity,
                limits,
                names: Arc::new(Names::new(resolver)),
                authorizer: None,
                #[cfg(unix)]
                users: AllowedUsers::own(),
                balance: BalancePolicy::default(),
                retry: RetryPolicy::default(),
            }),
        })
    }

    /// What `authorizer` says of a server has to hold beside the record's word,
    /// and what it presents is shown to servers.
    #[must_use]
    pub fn authorized_by(mut self, authorizer: Arc<dyn Authorizer>) -> Self {
        self.change().authorizer = Some(authorizer);
        self
    }

    /// As which users the servers at Unix sockets may run; without it, as the own
    /// one and root.
    #[cfg(unix)]
    #[must_use]
    pub fn at_sockets_of(mut self, users: AllowedUsers) -> Self {
        self.change().users = users;
        self
    }

    /// How calls are spread over endpoints.
    #[must_use]
    pub fn balanced(mut self, policy: BalancePolicy) -> Self {
        self.change().balance = policy;
        self
    }

    /// When calls are sent again.
    #[must_use]
    pub fn retried(mut self, policy: RetryPolicy) -> Self {
        self.change().retry = policy;
        self
    }

    /// A caller of `name`, where each of `services` is served. Returns as soon as
    /// one endpoint can be called.
    ///
    /// # Errors
    ///
    /// [`BindError`]: at once when the name is not known or its record is not to be
    /// believed, else when the resolver did not answer or no endpoint could be
    /// called within `patience`. Why a resolver does not answer is known once it
    /// gives up: let it do so before that.
    pub async fn bind(
        &self,
        name: &Name,
        services: &[&'static ServiceDescriptor],
        patience: Duration,
    ) -> Result<Retrying, BindError> {
        let endpoints = self.endpoints(name, services);
        let anywhere = Wanted::default();
        match timeout(patience.min(DURATION_MAX), endpoints.seek(&anywhere)).await {
            Ok(Ok(_)) => Ok(Retrying::named(endpoints, self.shared.retry.clone())),
            Ok(Err(error)) => Err(error.into()),
            Err(_) => Err(match endpoints.unresolved() {
                Some(error) => error.into(),
                None => BindError::Endpoints {
                    name: name.clone(),
                    faults: endpoints.faults(),
                },
            }),
        }
    }

    /// The same without waiting for anything: what [`Binder::bind`] would find
    /// wrong, the first call does.
    #[must_use]
    pub fn bind_lazily(&self, name: &Name, services: &[&'static ServiceDescriptor]) -> Retrying {
        Retrying::named(self.endpoints(name, services), self.shared.retry.clone())
    }

    pub(super) fn endpoints(
        &self,
        name: &Name,
        services: &[&'static ServiceDescriptor],
    ) -> Arc<Endpoints> {
        Endpoints::new(Binding {
            shared: Arc::clone(&self.shared),
            name: name.clone(),
            services: services.into(),
        })
    }

    fn change(&mut self) -> &mut Shared {
        Arc::make_mut(&mut self.shared)
    }
}

impl fmt::Debug for Binder {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Binder")
            .field("identity", &self.shared.identity)
            .finish_non_exhaustive()
    }
}

fn listed(faults: &[(String, Arc<EndpointFault>)]) -> String {
    if faults.is_empty() {
        return "none was reached in time".to_owned();
    }
    let each = faults.iter().map(|(address, fault)| {
        let address = address.escape_debug();
        format!("{address}: {fault}")
    });
    each.collect::<Vec<_>>().join("; ")
}

/// A name, and what is wanted of it.
#[derive(Clone)]
pub(super) struct Binding {
    shared: Arc<Shared>,
    name: Name,
    services: Arc<[&'static ServiceDescriptor]>,
}

impl Binding {
    pub(super) fn name(&self) -> &Name {
        &self.name
    }

    pub(super) fn balance(&self) -> &BalancePolicy {
        &self.shared.balance
    }

    pub(super) async fn record(&self) -> Result<Arc<VerifiedRecord>, ResolveError> {
        self.shared.names.record(&self.name).await
    }

    /// Whether every wanted service is served there with a schema that we know.
    pub(super) fn check_record(&self, record: &VerifiedRecord) -> Result<(), RecordError> {
        for service in self.services.iter() {
            record.record().check_schema(service)?;
        }
        Ok(())
    }

    pub(super) fn doubt(&self) {
        self.shared.names.doubt(&self.name);
    }

    /// A connection to whom the record means, who serves what is wanted.
    pub(super) async fn dial(&self, endpoint: &Endpoint) -> Result<Dialled, EndpointFault> {
        let only = Arc::new(OnlyKey {
            expected: endpoint.key_id,
            found: OnceLock::new(),
            further: self.shared.authorizer.clone(),
        });
        let connector = Connector::with_identity(
            self.shared.identity.clone(),
            Arc::clone(&only) as Arc<dyn Authorizer>,
            self.shared.limits.clone(),
        )
        .expect("the limits were looked at when the binder was made");
        let started = TokioInstant::now();
        let connection = match self.connect(&connector, endpoint).await? {
            Ok(connection) => connection,
            Err(error) => {
                return Err(match only.found.get() {
                    Some(found) => EndpointFault::OtherKey {
                        expected: endpoint.key_id,
                        found: *found,
                    },
                    None => EndpointFault::Connect(Arc::new(error)),
                });
            }
        };
        if self.services.is_empty() {
            return Ok(Dialled {
                connection,
                watchable: Vec::new(),
            });
        }
        let left = DIAL_MAX.saturating_sub(started.elapsed());
        let served = reflection::services(&connection, left).await;
        let served = served.map_err(|error| EndpointFault::Reflection(Arc::new(error)))?;
        for service in self.services.iter() {
            served.check(service)?;
        }
        let tells_health = served.check(&health::SERVICE).is_ok();
        let watchable = self.services.iter().filter(|_| tells_health);
        Ok(Dialled {
            connection,
            watchable: watchable.map(|service| service.name).collect(),
        })
    }

    async fn connect(
        &self,
        connector: &Connector,
        endpoint: &Endpoint,
    ) -> Result<Result<Connection, ConnectError>, EndpointFault> {
        let address = &endpoint.address;
        Ok(match &endpoint.way {
            Way::Tls => connector.connect(address, DIAL_MAX).await,
            Way::Noise(key) => {
                // By XX, which hides us from whoever records today: IK is one
                // message shorter, and a connection lasts.
                let target = noise::Target::Xx {
                    responder: Some(*key),
                };
                let options = noise::Options::default();
                let connecting = connector.connect_noise(address, &target, &options, DIAL_MAX);
                connecting.await
            }
            #[cfg(unix)]
            Way::Unix => {
                let users = &self.shared.users;
                let connecting = connector.connect_unix(address.as_ref(), users, DIAL_MAX);
                connecting.await
            }
            #[cfg(not(unix))]
            Way::Unix => return Err(EndpointFault::NoUnixSockets),
        })
    }
}

/// A connection to an endpoint that may be called.
pub(super) struct Dialled {
    pub(super) connection: Connection,
    /// The wanted services, if the server tells whether they are ready.
    pub(super) watchable: Vec<&'static str>,
}

/// Admits the holder of the record's key, if a further authorizer does too.
struct OnlyKey {
    expected: KeyId,
    /// Who else was there.
    found: OnceLock<KeyId>,
    further: Option<Arc<dyn Authorizer>>,
}

impl Authorizer for OnlyKey {
    fn present(&self) -> bytes::Bytes {
        let further = self.further.as_ref();
        further.map_or_else(bytes::Bytes::new, |further| further.present())
    }

    fn authorize(
        &self,
        candidate: &Candidate<'_>,
    ) -> Result<Arc<dyn std::any::Any + Send + Sync>, Refusal> {
        if candidate.key_id != self.expected {
            // One connection is opened with it, so it is set once.
            let _ = self.found.set(candidate.key_id);
            return Err(Refusal::new(
                Code::Unauthenticated,
                "another key than the name's record says",
            ));
        }
        match &self.further {
            Some(further) => further.authorize(candidate),
            None => Ok(Arc::new(())),
        }
    }
}

/// The names in use, and whom to ask about them.
struct Names {
    resolver: Arc<dyn Resolver>,
    state: Mutex<(Cache, SplitMix)>,
    answered: Notify,
}

impl Names {
    fn new(resolver: Arc<dyn Resolver>) -> Self {
        Self {
            resolver,
            state: Mutex::new((Cache::new(), SplitMix::seeded())),
            answered: Notify::new(),
        }
    }

    /// The record of a name; waits for the resolver when none is held.
    async fn record(self: &Arc<Self>, name: &Name) -> Result<Arc<VerifiedRecord>, ResolveError> {
        loop {
            let answered = self.answered.notified();
            let looked_up = self.state().0.look_up(name, moment());
            match looked_up {
                Lookup::Use { record, ask } => {
                    self.ask_if(ask, name);
                    return Ok(record);
                }
                Lookup::Wait { ask } => self.ask_if(ask, name),
                Lookup::Failed(error) => return Err(error),
            }
            // Whoever asked may have come to nothing: then somebody else is told to.
            let _ = timeout(STALE_PATIENCE, answered).await;
        }
    }

    fn ask_if(self: &Arc<Self>, ask: bool, name: &Name) {
        if ask {
            // In a task of its own: whoever waits may leave, and others wait too.
            tokio::spawn(Arc::clone(self).ask(name.clone()));
        }
    }

    async fn ask(self: Arc<Self>, name: Name) {
        let answer = timeout(RESOLVE_PATIENCE, self.resolver.resolve(&name)).await;
        let answer = answer.unwrap_or_else(|_| {
            let error = "no answer in time".to_owned();
            Err(ResolveError::Unavailable(error))
        });
        {
            let (cache, draws) = &mut *self.state();
            let learnt = match answer {
                Ok(record) => cache
                    .learnt(&name, record, moment(), draws.next())
                    .map_err(ResolveError::from),
                Err(error) => {
                    cache.failed(&name, error.clone(), moment(), draws.next());
                    Err(error)
                }
            };
            if let Err(error) = learnt {
                tracing::warn!(%name, %error, "a name was not resolved");
            }
        }
        self.answered.notify_waiters();
    }

    fn doubt(&self, name: &Name) {
        self.state().0.doubt(name);
    }

    fn state(&self) -> MutexGuard<'_, (Cache, SplitMix)> {
        // No code that can panic runs between two sound states.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn moment() -> Moment {
    Moment {
        instant: now(),
        unix_ms: unix_ms(),
    }
}

/// The runtime's clock, so that paused time in tests is honoured.
pub(super) fn now() -> Instant {
    TokioInstant::now().into_std()
}
