//! The shell around [`Throttle`]: asks it, and makes what it decided durable.

use std::sync::{Mutex, MutexGuard, PoisonError};

use sealmoot_crypto::signature::KeyId;
use sealmoot_rpc::details::RetryAfter;
use sealmoot_rpc::{Code, Execution, Peer, Status};
use tokio::sync::Notify;

use super::accounts::Account;
use super::names::Source;
use super::state::{Attempt, Throttle, Ticket};
use super::store::{NotDurable, ThrottleStore};
use crate::name::Name;
use crate::second_factor::{CodeError, Proven, SecondFactor, Used};
use crate::statement::CredentialId;

/// Throttles the logins of one node, whatever service they come by.
pub struct LoginThrottle {
    state: Mutex<Throttle>,
    store: Box<dyn ThrottleStore>,
    now_ms: fn() -> u64,
    /// Wakes who tells the peers: a used code is told at once.
    urgent: Notify,
}

/// An attempt that was admitted, charged, and durably so. Dropping it leaves the
/// charge where it is.
#[derive(Debug)]
pub struct Begun(Ticket);

impl LoginThrottle {
    /// Throttles from `state` on.
    #[must_use]
    pub fn new(state: Throttle, store: Box<dyn ThrottleStore>, now_ms: fn() -> u64) -> Self {
        Self {
            state: Mutex::new(state),
            store,
            now_ms,
            urgent: Notify::new(),
        }
    }

    /// Admits an attempt of `peer` to prove that it is `user`, or refuses it. Nothing
    /// that depends on the user may leave before this has returned.
    ///
    /// # Errors
    /// `ResourceExhausted` with a [`RetryAfter`] in whole seconds, or `Unavailable`
    /// when the charge could not be made durable. Neither depends on whether the user
    /// exists.
    pub async fn begin(&self, peer: &Peer, user: &Name) -> Result<Begun, Status> {
        let attempt = Attempt {
            source: Source::of(&peer.origin()),
            key: peer.key_id(),
            user,
        };
        let (ticket, durable) = {
            let mut state = self.state();
            let (ticket, changes) = state
                .charge(&attempt, (self.now_ms)())
                .map_err(|refused| too_many(refused.wait_ms))?;
            // Under the lock: records must lie in the order of what they tell.
            (ticket, self.store.append(changes.into_bytes()))
        };
        durable.await.map_err(not_durable)?;
        Ok(Begun(ticket))
    }

    /// Admits a registration by a delegate, or refuses it. Nothing that depends on the name
    /// may leave before this has returned.
    ///
    /// # Errors
    /// As [`LoginThrottle::begin`].
    pub async fn begin_registration(&self, delegate: &KeyId, user: &Name) -> Result<(), Status> {
        let durable = {
            let mut state = self.state();
            let changes = state
                .charge_registration(delegate, user, (self.now_ms)())
                .map_err(|refused| too_many(refused.wait_ms))?;
            self.store.append(changes.into_bytes())
        };
        durable.await.map_err(not_durable)
    }

    /// Admits a code of the second factor, behind the password of an attempt, or refuses
    /// it. Nothing that depends on the code may leave before this has returned.
    ///
    /// # Errors
    /// As [`LoginThrottle::begin`].
    pub async fn begin_code(
        &self,
        begun: &mut Begun,
        enrolment: CredentialId,
    ) -> Result<(), Status> {
        let durable = {
            let mut state = self.state();
            let changes = state
                .charge_code(&mut begun.0, enrolment, (self.now_ms)())
                .map_err(|refused| too_many(refused.wait_ms))?;
            self.store.append(changes.into_bytes())
        };
        durable.await.map_err(not_durable)
    }

    /// Judges a code, which [`LoginThrottle::begin_code`] admitted, and uses it up:
    /// durably before this returns, and the peers are told at once. With the code comes
    /// what was used of the enrolment, this one included.
    ///
    /// # Errors
    /// `Unavailable` when it could not be made durable that the code was used; then it
    /// counts no longer, and nothing may follow from it.
    pub async fn take_code(
        &self,
        begun: &mut Begun,
        factor: &SecondFactor,
        typed: &[u8],
    ) -> Result<Result<(Proven, Used), CodeError>, Status> {
        let (taken, durable) = {
            let mut state = self.state();
            match state.take_code(&mut begun.0, factor, typed, (self.now_ms)()) {
                Ok((proven, used, changes)) => {
                    ((proven, used), self.store.append(changes.into_bytes()))
                }
                Err(error) => return Ok(Err(error)),
            }
        };
        durable.await.map_err(not_durable)?;
        self.urgent.notify_one();
        Ok(Ok(taken))
    }

    /// Learns what new records say of accounts. That it is lost what peers told of their
    /// enrolments is no harm: a process that starts again is told anew.
    pub fn know<'a>(&self, accounts: impl IntoIterator<Item = Account<'a>>) {
        let mut state = self.state();
        for account in accounts {
            if let Some(changes) = state.know(&account, (self.now_ms)()) {
                drop(self.store.append(changes.into_bytes()));
            }
        }
    }

    /// Ends when there is something that the peers are to be told at once. What happens
    /// while nobody waits is kept.
    pub async fn urgent(&self) {
        self.urgent.notified().await;
    }

    /// Takes the charge of an attempt back whose proof verified, and remembers the
    /// key. That this is lost costs the user a charge, so nobody is refused for it.
    pub async fn proved(&self, begun: Begun) {
        let durable = {
            let mut state = self.state();
            let changes = state.refund(begun.0, (self.now_ms)());
            self.store.append(changes.into_bytes())
        };
        let _ = durable.await;
    }

    /// The state, for telling peers and learning from them. What changes it must be
    /// appended before the lock is given up.
    pub fn with<R>(&self, act: impl FnOnce(&mut Throttle, &dyn ThrottleStore, u64) -> R) -> R {
        let mut state = self.state();
        act(&mut state, &*self.store, (self.now_ms)())
    }

    fn state(&self) -> MutexGuard<'_, Throttle> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn not_durable(error: NotDurable) -> Status {
    Status::new(Code::Unavailable, Execution::NotStarted, error.to_string())
}

/// The same for everybody who has to wait as long. Whole seconds: finer ones would
/// tell when others tried.
fn too_many(wait_ms: u64) -> Status {
    let milliseconds = wait_ms.div_ceil(1000).saturating_mul(1000);
    let status = Status::new(
        Code::ResourceExhausted,
        Execution::NotStarted,
        "too many attempts to log in",
    );
    let plain = status.clone();
    status
        .with_detail(&RetryAfter { milliseconds })
        .unwrap_or(plain)
}
