//! The at-most-once calls of a server: which of them run, and who waits.
//!
//! Their handlers belong to the server and not to a connection: one goes on when
//! the connection is lost, and an attempt over another connection waits for the
//! same outcome.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use sealmoot_crypto::signature::KeyId;
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::timeout_at;

use super::Link;
use crate::limits::{ONCE_RUNNING_BYTES_PER_IDENTITY_MAX, ONCE_RUNNING_PER_IDENTITY_MAX};
use crate::multiplexer::StreamKey;
use crate::once::{Begun, Bounds, CallKey, Incarnation, OnceId, Outcome, Table, cancelled};
use crate::quota::Permit;
use crate::service::ReplyFuture;
use crate::status::{Code, Execution, Status};

/// Shared by the connections of one server. No lock of a connection is taken
/// while this one's is held, nor the other way round.
pub(crate) struct OnceCalls {
    state: Mutex<State>,
    /// Every handler that was pending when first polled; `None` when the server
    /// ends. Apart from the state, and locked before it: a runtime that ends
    /// drops a task while it is spawned, and so ends its call in there.
    handlers: Mutex<Option<JoinSet<()>>>,
}

struct State {
    table: Table<Waiter>,
    /// Handlers whose outcome is wanted; as many as entries that run.
    runs: HashMap<CallKey, Run>,
    loads: HashMap<KeyId, Load>,
    run_last: u64,
}

struct Run {
    number: u64,
    /// `None` until it was pending.
    abort: Option<AbortHandle>,
}

/// What the handlers of one identity take, until they are gone.
#[derive(Default)]
struct Load {
    handlers: usize,
    request_bytes: usize,
}

/// Where one attempt waits.
pub(crate) struct Waiter {
    pub(super) link: Arc<Link>,
    pub(super) key: StreamKey,
}

impl PartialEq for Waiter {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.link, &other.link) && self.key == other.key
    }
}

impl Waiter {
    fn tell(self, outcome: Outcome) {
        self.link.answer_once(self.key, outcome);
    }
}

/// What becomes of an attempt.
pub(super) enum Taken {
    /// Its handler is to run.
    Run(Running),
    /// Another's handler runs for it.
    Joined,
    /// It is answered so.
    Answer(Outcome),
}

impl OnceCalls {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self {
            state: Mutex::new(State {
                table: Table::new(Bounds::default()),
                runs: HashMap::new(),
                loads: HashMap::new(),
                run_last: 0,
            }),
            handlers: Mutex::new(Some(JoinSet::new())),
        })
    }

    /// Makes an incarnation known.
    pub(super) fn open(&self, identity: KeyId, incarnation: Incarnation) -> Result<(), Status> {
        self.lock().table.open(now(), identity, incarnation)
    }

    /// Takes an attempt whose request has so many bytes.
    pub(super) fn begin(
        self: &Arc<Self>,
        identity: KeyId,
        id: OnceId,
        waiter: Waiter,
        request_bytes: usize,
    ) -> Taken {
        let now = now();
        let key = id.key(identity);
        let mut state = self.lock();
        match state.table.begin(now, identity, id, waiter) {
            Begun::Joined => return Taken::Joined,
            Begun::Replay(_, outcome) => return Taken::Answer(outcome),
            Begun::Refuse(_, status) => return Taken::Answer(Err(status)),
            Begun::Run => {}
        }
        let load = state.loads.entry(identity).or_default();
        let room = ONCE_RUNNING_BYTES_PER_IDENTITY_MAX.saturating_sub(load.request_bytes);
        if load.handlers >= ONCE_RUNNING_PER_IDENTITY_MAX || request_bytes > room {
            let message = "too many at-most-once calls run";
            let outcome = Err(Status::new(
                Code::ResourceExhausted,
                Execution::NotStarted,
                message,
            ));
            // Nobody else can wait for it: the lock was held all the time.
            state.table.finish(now, &key, &outcome);
            return Taken::Answer(outcome);
        }
        load.handlers += 1;
        load.request_bytes += request_bytes;
        state.run_last += 1;
        let number = state.run_last;
        let abort = None;
        state.runs.insert(key, Run { number, abort });
        Taken::Run(Running {
            calls: Arc::clone(self),
            key,
            number,
            request_bytes,
            outcome: None,
            permit: None,
        })
    }

    /// Runs a handler that was pending, until its deadline at most.
    pub(super) fn spawn(&self, running: Running, handler: ReplyFuture, deadline: Instant) {
        let (key, number) = (running.key, running.number);
        let task = async move {
            // Dropped after the handler: what did not start may be started again.
            let mut running = running;
            let outcome = timeout_at(deadline.into(), handler).await;
            running.outcome = Some(outcome.unwrap_or_else(|_| {
                Err(Status::new(
                    Code::DeadlineExceeded,
                    Execution::MaybeExecuted,
                    "the call took too long",
                ))
            }));
        };
        let mut handlers = self.handlers();
        let Some(set) = handlers.as_mut() else {
            drop(handlers);
            drop(task);
            return;
        };
        while set.try_join_next().is_some() {}
        let abort = set.spawn(task);
        drop(handlers);
        let mut state = self.lock();
        let wanted = state.runs.get_mut(&key);
        match wanted.filter(|run| run.number == number) {
            Some(run) => run.abort = Some(abort),
            // Cancelled over another connection since it began; or it has ended.
            None => {
                drop(state);
                abort.abort();
            }
        }
    }

    /// The caller wants the call no more: nobody gets its outcome.
    pub(super) fn cancel(&self, key: &CallKey) {
        let mut state = self.lock();
        let waiters = state.table.cancel(now(), key);
        let run = state.runs.remove(key);
        drop(state);
        if let Some(abort) = run.and_then(|run| run.abort) {
            abort.abort();
        }
        for waiter in waiters {
            waiter.tell(Err(cancelled()));
        }
    }

    /// An attempt waits no more; the call runs on.
    pub(super) fn leave(&self, key: &CallKey, waiter: &Waiter) {
        self.lock().table.leave(key, waiter);
    }

    /// Forgets what nobody has used for long.
    pub(crate) fn expire(&self) {
        self.lock().table.expire(now());
        if let Some(handlers) = self.handlers().as_mut() {
            while handlers.try_join_next().is_some() {}
        }
    }

    /// Starts no further handler that does not answer at once, and hands over
    /// those that run. They end when they are dropped.
    pub(crate) fn close(&self) -> JoinSet<()> {
        self.handlers().take().unwrap_or_default()
    }

    fn finish(&self, running: &mut Running) {
        let outcome = running.outcome.take().unwrap_or_else(|| {
            Err(Status::new(
                Code::Internal,
                Execution::MaybeExecuted,
                "the handler failed",
            ))
        });
        // Before it is kept: what a retry may do depends on it.
        let outcome = outcome.map_err(Status::of_handler);
        let key = running.key;
        let mut state = self.lock();
        if let Some(load) = state.loads.get_mut(&key.identity) {
            load.handlers -= 1;
            load.request_bytes -= running.request_bytes;
            if load.handlers == 0 {
                state.loads.remove(&key.identity);
            }
        }
        if state.runs.get(&key).map(|run| run.number) != Some(running.number) {
            return;
        }
        state.runs.remove(&key);
        let waiters = state.table.finish(now(), &key, &outcome);
        drop(state);
        for waiter in waiters {
            waiter.tell(outcome.clone());
        }
    }

    fn handlers(&self) -> MutexGuard<'_, Option<JoinSet<()>>> {
        // Spawning and joining leave a sound set behind.
        self.handlers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // No code that can panic runs between two sound states.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for OnceCalls {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("OnceCalls").finish_non_exhaustive()
    }
}

/// Held by whoever polls an at-most-once handler: however that ends, everybody
/// who waits is told.
pub(super) struct Running {
    calls: Arc<OnceCalls>,
    key: CallKey,
    number: u64,
    request_bytes: usize,
    outcome: Option<Outcome>,
    /// Counts the handler in its identity's quota, with or without a connection.
    permit: Option<Arc<Permit>>,
}

impl Running {
    /// The handler counts so until it is gone.
    pub(super) fn counts(&mut self, permit: Option<Arc<Permit>>) {
        self.permit = permit;
    }

    /// The handler has answered.
    pub(super) fn ended(mut self, outcome: Outcome) {
        self.outcome = Some(outcome);
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        Arc::clone(&self.calls).finish(self);
    }
}

/// Ends the handlers of a server when it is dropped.
pub(crate) struct CloseOnDrop(pub(crate) Arc<OnceCalls>);

impl Drop for CloseOnDrop {
    fn drop(&mut self) {
        drop(self.0.close());
    }
}

fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}

#[cfg(test)]
mod tests;
