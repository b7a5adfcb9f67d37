//! The endpoints of one name, with their connections.
//!
//! [`balance`](super::balance) decides; here its decisions meet connections. A
//! [`Line`] is opened when a call first goes to its endpoint, kept up from then on,
//! and closed when no record names the endpoint any more and its calls are done.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use sealmoot_crypto::signature::KeyId;
use tokio::sync::Notify;
use tokio::time::timeout;

use super::balance::{Balancer, EndpointId, Picked, Verdict};
use super::binder::{Binding, Dialled, EndpointFault, now};
use super::record::{Endpoint, VerifiedRecord};
use super::resolver::ResolveError;
use crate::client::Connection;
use crate::limits::binding::{BIND_REST, DIAL_PATIENCE};
use crate::link::{DialError, Link};
use crate::splitmix::SplitMix;
use crate::status::{Code, Execution, Status};

mod health;

/// What one name's calls share.
pub(crate) struct Endpoints {
    binding: Binding,
    state: Mutex<State>,
    /// A connection stands, or one could not be made, or an endpoint has said
    /// whether it is ready.
    changed: Notify,
}

struct State {
    balancer: Balancer,
    /// The record that the balancer has.
    taken: Option<Arc<VerifiedRecord>>,
    /// Why the name was not resolved when it was looked up last.
    unresolved: Option<ResolveError>,
    lines: BTreeMap<EndpointId, Line>,
    draws: SplitMix,
}

/// The connection to one endpoint.
struct Line {
    link: Arc<Link>,
    address: String,
    /// Why there is no connection, once one has been tried.
    fault: Option<Arc<EndpointFault>>,
    /// Hears over the present connection whether the endpoint is ready.
    watches: Vec<health::Watch>,
}

/// One call at one endpoint. Dropped without a verdict, it says nothing.
pub(crate) struct Seat {
    pick: Pick,
    connection: Connection,
}

/// A call that is in flight at an endpoint, or waits there for a connection.
struct Pick {
    endpoints: Arc<Endpoints>,
    /// Until it has ended.
    picked: Option<Picked>,
    id: EndpointId,
    link: Arc<Link>,
}

/// What an attempt needs.
#[derive(Default)]
pub(crate) struct Wanted<'a> {
    /// Where the same call has failed before.
    pub(crate) tried: &'a [EndpointId],
    /// The one server that may know whether it ran.
    pub(crate) server: Option<KeyId>,
}

impl Endpoints {
    pub(super) fn new(binding: Binding) -> Arc<Self> {
        let state = State {
            balancer: Balancer::new(binding.balance().clone()),
            taken: None,
            unresolved: None,
            lines: BTreeMap::new(),
            draws: SplitMix::seeded(),
        };
        Arc::new(Self {
            binding,
            state: Mutex::new(state),
            changed: Notify::new(),
        })
    }

    /// A connection to an endpoint, as soon as there is one. Callers put a
    /// deadline around it.
    ///
    /// # Errors
    ///
    /// The name is not known, or its record is not to be believed; nothing was
    /// sent.
    pub(crate) async fn seat(self: &Arc<Self>, wanted: &Wanted<'_>) -> Result<Seat, Status> {
        let sought = self.seek(wanted).await;
        sought.map_err(|error| {
            let code = match error {
                ResolveError::NotFound(_) => Code::NotFound,
                ResolveError::TooManyNames => Code::ResourceExhausted,
                _ => Code::FailedPrecondition,
            };
            Status::new(code, Execution::NotSent, error.to_string())
        })
    }

    /// The same, with the resolver's word for why there is none.
    pub(super) async fn seek(self: &Arc<Self>, wanted: &Wanted<'_>) -> Result<Seat, ResolveError> {
        let mut unreached = Vec::new();
        loop {
            // Before anything is looked at, so that no change in between is missed.
            let changed = self.changed.notified();
            match self.refresh().await {
                Ok(()) => {}
                Err(ResolveError::Unavailable(_)) => {
                    tokio::time::sleep(BIND_REST).await;
                    continue;
                }
                Err(error) => return Err(error),
            }
            while let Some(pick) = self.pick(wanted, &unreached) {
                let verdict = match pick.link.connection() {
                    Ok(connection) => return Ok(Seat { pick, connection }),
                    // Its time is the call's, and another endpoint costs none. The
                    // link goes on without us, and at once.
                    Err(_) if self.is_another_up(wanted, pick.id) => {
                        pick.link.hurry();
                        self.verdict_of_link(pick.id)
                    }
                    Err(_) => match timeout(DIAL_PATIENCE, pick.link.attempt()).await {
                        Ok(Ok(connection)) => return Ok(Seat { pick, connection }),
                        _ => Verdict::Bad,
                    },
                };
                unreached.push(pick.id);
                pick.end(verdict);
                if verdict == Verdict::Bad {
                    self.binding.doubt();
                }
            }
            // Nobody was reached, or none has the wanted key: until something
            // changes.
            let _ = timeout(BIND_REST, changed).await;
            unreached.clear();
        }
    }

    /// A connection that stands now, for an attempt beside another.
    pub(crate) fn seat_now(self: &Arc<Self>, tried: &[EndpointId]) -> Option<Seat> {
        let mut state = self.state();
        let standing: BTreeMap<_, _> = state
            .lines
            .iter()
            .filter_map(|(id, line)| Some((*id, line.link.connection().ok()?)))
            .collect();
        let may_take = |id, _: &Endpoint| standing.contains_key(&id);
        let pick = self.pick_among(&mut state, may_take, tried)?;
        drop(state);
        let connection = standing.get(&pick.id)?.clone();
        Some(Seat { pick, connection })
    }

    /// Why there is no connection, endpoint by endpoint.
    pub(crate) fn faults(&self) -> Vec<(String, Arc<EndpointFault>)> {
        let state = self.state();
        let faults = state.balancer.listed().filter_map(|(id, endpoint)| {
            let fault = state.lines.get(&id)?.fault.as_ref()?;
            Some((endpoint.address.clone(), Arc::clone(fault)))
        });
        faults.collect()
    }

    /// Why the name is not resolved, if that is why there is no connection.
    pub(super) fn unresolved(&self) -> Option<ResolveError> {
        let state = self.state();
        let silent = || ResolveError::Unavailable("no answer in time".to_owned());
        let is_silent = state.taken.is_none();
        let unresolved = state.unresolved.clone();
        unresolved.or_else(|| is_silent.then(silent))
    }

    /// The same in a few words.
    pub(crate) fn cause(&self) -> String {
        if let Some(error) = self.unresolved() {
            return error.to_string();
        }
        let faults = self.faults();
        let each = faults
            .iter()
            .map(|(address, fault)| format!("{}: {fault}", address.escape_debug()));
        let each: Vec<_> = each.collect();
        if each.is_empty() {
            format!("no endpoint of {} was reached", self.binding.name())
        } else {
            format!(
                "no endpoint of {}: {}",
                self.binding.name(),
                each.join("; ")
            )
        }
    }

    /// Whether some endpoint has a connection now.
    pub(crate) fn is_up(&self) -> bool {
        let state = self.state();
        let mut lines = state.lines.values();
        lines.any(|line| line.link.connection().is_ok())
    }

    /// Takes the newest record, if there is a newer one than was taken.
    pub(super) async fn refresh(&self) -> Result<(), ResolveError> {
        let record = match self.binding.record().await {
            Ok(record) => record,
            Err(error) => {
                self.state().unresolved = Some(error.clone());
                return Err(error);
            }
        };
        let mut state = self.state();
        state.unresolved = None;
        // Another call may have taken a newer one meanwhile.
        let serial = record.record().serial;
        if state
            .taken
            .as_ref()
            .is_some_and(|taken| Arc::ptr_eq(taken, &record) || taken.record().serial > serial)
        {
            return Ok(());
        }
        self.binding.check_record(&record)?;
        state.balancer.update(&record.record().endpoints);
        // Those that are gone are forgotten when the next call ends.
        state.taken = Some(record);
        Ok(())
    }

    /// Whether the same call could go to another endpoint at once, and one to which
    /// calls go.
    fn is_another_up(&self, wanted: &Wanted<'_>, than: EndpointId) -> bool {
        self.is_any_up(|id, endpoint| {
            id != than && wanted.server.is_none_or(|server| endpoint.key_id == server)
        })
    }

    /// Whether one of these stands, and is one to which calls go.
    pub(crate) fn is_any_up(&self, is_meant: impl Fn(EndpointId, &Endpoint) -> bool) -> bool {
        let state = self.state();
        let mut good = state.balancer.good();
        good.any(|(id, endpoint)| {
            let line = state.lines.get(&id);
            is_meant(id, endpoint) && line.is_some_and(|line| line.link.connection().is_ok())
        })
    }

    /// What is to be said of an endpoint without a connection for which nobody
    /// waited: nothing, while it is connected to for the first time or anew.
    fn verdict_of_link(&self, id: EndpointId) -> Verdict {
        let state = self.state();
        let has_failed = state
            .lines
            .get(&id)
            .is_some_and(|line| line.fault.is_some());
        if has_failed {
            Verdict::Bad
        } else {
            Verdict::Silent
        }
    }

    /// An endpoint that can be waited for, whose link begins to connect if it is
    /// new.
    fn pick(self: &Arc<Self>, wanted: &Wanted<'_>, unreached: &[EndpointId]) -> Option<Pick> {
        let may_take = |id: EndpointId, endpoint: &Endpoint| {
            let is_meant = wanted.server.is_none_or(|server| endpoint.key_id == server);
            is_meant && !unreached.contains(&id)
        };
        // What failed a moment ago goes behind the others, as it would with one
        // that the call itself has been at.
        let tried = [wanted.tried, unreached].concat();
        self.pick_among(&mut self.state(), may_take, &tried)
    }

    fn pick_among(
        self: &Arc<Self>,
        state: &mut State,
        may_take: impl Fn(EndpointId, &Endpoint) -> bool,
        tried: &[EndpointId],
    ) -> Option<Pick> {
        let State {
            balancer, draws, ..
        } = state;
        let picked = balancer.pick_among(may_take, tried, now(), draws.next())?;
        let id = picked.id();
        let endpoint = balancer.endpoint(id).expect("it was picked just now");
        let line = state.lines.entry(id).or_insert_with(|| Line {
            link: Arc::new(self.open(id, endpoint.clone())),
            address: endpoint.address.clone(),
            fault: None,
            watches: Vec::new(),
        });
        Some(Pick {
            endpoints: Arc::clone(self),
            picked: Some(picked),
            id,
            link: Arc::clone(&line.link),
        })
    }

    fn open(self: &Arc<Self>, id: EndpointId, endpoint: Endpoint) -> Link {
        let (dialling, ended) = (Arc::downgrade(self), Arc::downgrade(self));
        let endpoint = Arc::new(endpoint);
        let dial = move || {
            let (endpoints, endpoint) = (Weak::clone(&dialling), Arc::clone(&endpoint));
            async move {
                let Some(binding) = endpoints.upgrade().map(|it| it.binding.clone()) else {
                    return Err(DialError::Refused("no longer wanted".to_owned()));
                };
                let dialled = binding.dial(&endpoint).await;
                if let Some(endpoints) = endpoints.upgrade() {
                    endpoints.dialled(id, &dialled);
                }
                // Calls go to another one: this one is in no hurry, and a dead
                // endpoint must not be dialled by every client several times a
                // second for as long as the record names it.
                let is_another_up = || {
                    let endpoints = endpoints.upgrade();
                    endpoints.is_some_and(|it| it.is_any_up(|other, _| other != id))
                };
                dialled.map(|dialled| dialled.connection).map_err(|fault| {
                    match fault.is_refusal() || is_another_up() {
                        true => DialError::Refused(fault.to_string()),
                        false => DialError::Failed(fault.to_string()),
                    }
                })
            }
        };
        Link::watched(dial, move |connection| {
            if let Some(endpoints) = ended.upgrade() {
                endpoints.connection_ended(id, connection);
            }
        })
    }

    fn dialled(self: &Arc<Self>, id: EndpointId, dialled: &Result<Dialled, EndpointFault>) {
        if dialled.is_ok() {
            // Before there is a watch that may say otherwise.
            self.state().balancer.connected(id, now());
        }
        let watches = match dialled {
            Ok(dialled) => health::watches(self, id, dialled),
            Err(fault) => {
                tracing::debug!(%fault, "an endpoint cannot be called");
                Vec::new()
            }
        };
        let mut state = self.state();
        let before = state.lines.get_mut(&id).map(|line| {
            line.fault = dialled.as_ref().err().cloned().map(Arc::new);
            std::mem::replace(&mut line.watches, watches)
        });
        drop(state);
        drop(before);
        // The link knows a moment later.
        self.changed.notify_waiters();
        if dialled.is_err() {
            self.binding.doubt();
        }
    }

    /// What the endpoint says of itself over this connection.
    fn ready(&self, id: EndpointId, is_ready: bool) {
        self.state().balancer.ready(id, is_ready);
        self.changed.notify_waiters();
    }

    fn connection_ended(&self, id: EndpointId, connection: &Connection) {
        if connection.is_draining() {
            self.drains(id, connection);
        }
        self.binding.doubt();
    }

    /// The server has asked the users of this connection to go.
    fn drains(&self, id: EndpointId, connection: &Connection) {
        let mut state = self.state();
        let line = state.lines.get(&id);
        let current = line.and_then(|line| line.link.connection().ok());
        // Another may stand by now, to a server that was started again.
        if current.is_none_or(|current| current.is_same(connection)) {
            state.balancer.draining(id);
        }
    }

    fn end(&self, picked: Picked, verdict: Verdict) {
        let mut state = self.state();
        let State {
            balancer, draws, ..
        } = &mut *state;
        balancer.end(picked, verdict, now(), draws.next());
        let departed = state.take_departed();
        drop(state);
        // Outside the lock: a link's end runs code of ours.
        drop(departed);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // No code that can panic runs between two sound states.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn take_departed(&mut self) -> Vec<Line> {
        let departed = self.balancer.take_departed();
        let lines = departed.iter().filter_map(|id| self.lines.remove(id));
        lines.collect()
    }
}

impl Seat {
    pub(crate) fn connection(&self) -> &Connection {
        &self.connection
    }

    /// The call may last for hours. As a probe it would keep others from finding
    /// out for as long.
    pub(crate) fn lasts(&mut self) {
        let endpoints = &self.pick.endpoints;
        if let Some(picked) = &mut self.pick.picked {
            endpoints.state().balancer.lasts(picked, now());
        }
    }

    /// The endpoint has answered, though the call is not over.
    pub(crate) fn answered(&self) {
        if let Some(picked) = &self.pick.picked {
            let mut state = self.pick.endpoints.state();
            state.balancer.answered(picked, now());
        }
    }

    /// Where it is.
    pub(crate) fn id(&self) -> EndpointId {
        self.pick.id
    }

    /// The call has ended so.
    pub(crate) fn end<T>(self, outcome: &Result<T, Status>) {
        let verdict = Verdict::of(outcome);
        let Self { pick, connection } = self;
        if verdict == Verdict::Bad {
            // A server that ends in order is not one that fails, and must be told
            // apart before the calls that it turned away are counted.
            if connection.is_draining() {
                pick.endpoints.drains(pick.id, &connection);
            }
            pick.endpoints.binding.doubt();
        }
        pick.end(verdict);
    }
}

impl Pick {
    fn end(mut self, verdict: Verdict) {
        if let Some(picked) = self.picked.take() {
            self.endpoints.end(picked, verdict);
        }
    }
}

impl Drop for Pick {
    fn drop(&mut self) {
        if let Some(picked) = self.picked.take() {
            self.endpoints.end(picked, Verdict::Silent);
        }
    }
}

impl fmt::Debug for Endpoints {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.state();
        let mut map = formatter.debug_map();
        for line in state.lines.values() {
            map.entry(&line.address, &line.link);
        }
        map.finish()
    }
}

#[cfg(test)]
mod tests;
