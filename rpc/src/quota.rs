//! What one identity may take of a server, over all of its connections.
//!
//! Each connection has bounds of its own; somebody with one key and a thousand
//! connections has them a thousand times. So there is an [`Account`] for each
//! key, and every connection takes from its own key's account what its calls
//! hold. Other keys have other accounts, and never notice.
//!
//! A connection takes from the account in advance, in pieces, and gives back
//! what it does not use when it has dealt with all that it has read
//! ([`Share::settle`]). So a batch of small calls costs a few atomic operations
//! and no lock, the sum of what connections have taken is never above the
//! quota, and between batches it is exactly what they hold.
//!
//! Values: no clock, no I/O, no tasks.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use sealmoot_crypto::signature::KeyId;

use crate::limits::Limits;

/// Calls that a connection takes from its account at once.
const CALLS_STEP: usize = 16;

/// Bytes that it takes at once.
const BYTES_STEP: usize = 32 * 1024;

/// The most of each thing that one identity may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Bounds {
    connections: usize,
    calls: usize,
    streams: usize,
    bytes: usize,
    cancellations_per_second: u32,
}

/// The accounts of all identities of a server.
#[derive(Debug)]
pub(crate) struct Quotas {
    accounts: Mutex<HashMap<KeyId, Arc<Account>>>,
    bounds: Bounds,
    /// So many accounts are looked through before there is another.
    accounts_max: usize,
}

/// What one identity has taken. Only counters: nothing else is read by looking
/// at them, so no order between them is needed.
#[derive(Debug)]
pub(crate) struct Account {
    connections: AtomicUsize,
    calls: AtomicUsize,
    streams: AtomicUsize,
    bytes: AtomicUsize,
    cancellations: Mutex<Bucket>,
    bounds: Bounds,
}

/// One identity's connection, for as long as it is open.
#[derive(Debug)]
pub(crate) struct Membership {
    account: Arc<Account>,
}

/// An identity has as many connections as it may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TooManyConnections;

/// Which quota a call does not fit in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shortage {
    Calls,
    Streams,
    Bytes,
}

impl Shortage {
    /// What the caller is told.
    pub(crate) fn message(self) -> &'static str {
        match self {
            Self::Calls => "too many calls of this identity",
            Self::Streams => "too many streams of this identity",
            Self::Bytes => "too many bytes are held for this identity",
        }
    }
}

/// What a connection holds of its identity's quota.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Usage {
    pub(crate) calls: usize,
    pub(crate) streams: usize,
    pub(crate) bytes: usize,
}

/// What a connection has taken from its identity's account; dropping it gives
/// all of it back. Without an account nothing is counted.
#[derive(Debug, Default)]
pub(crate) struct Share {
    account: Option<Arc<Account>>,
    taken: Usage,
}

/// The place of one call, which stays taken until the last holder is gone: the
/// call's work may outlive the call, and its connection.
#[derive(Debug)]
pub(crate) struct Permit {
    account: Arc<Account>,
    /// Of the request, which the work may hold.
    bytes: usize,
}

impl Quotas {
    pub(crate) fn new(limits: &Limits) -> Self {
        Self {
            accounts: Mutex::default(),
            bounds: Bounds {
                connections: limits.connections_per_identity_max,
                calls: limits.calls_per_identity_max,
                streams: limits.streams_per_identity_max,
                bytes: limits.bytes_per_identity_max,
                cancellations_per_second: limits.cancellations_per_second_max,
            },
            // Half of it at most is of connections: looking through all is paid
            // for by those that came since.
            accounts_max: limits.connections_max.saturating_mul(2),
        }
    }

    /// One more connection of `identity`.
    pub(crate) fn enter(&self, identity: KeyId) -> Result<Membership, TooManyConnections> {
        let mut accounts = self.accounts();
        if accounts.len() >= self.accounts_max {
            accounts.retain(|_, account| Arc::strong_count(account) > 1);
        }
        let account = accounts
            .entry(identity)
            .or_insert_with(|| Arc::new(Account::new(self.bounds)));
        if !add_within(&account.connections, 1, self.bounds.connections) {
            return Err(TooManyConnections);
        }
        let account = Arc::clone(account);
        Ok(Membership { account })
    }

    /// Forgets the accounts that nobody uses. Not while one has cancelled much
    /// of late: coming back would else buy a new measure of it.
    pub(crate) fn forget_unused(&self, now: Instant) {
        self.accounts()
            .retain(|_, account| Arc::strong_count(account) > 1 || !account.bucket().is_full(now));
    }

    fn accounts(&self) -> MutexGuard<'_, HashMap<KeyId, Arc<Account>>> {
        // No code that can panic runs between two sound states.
        self.accounts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Account {
    fn new(bounds: Bounds) -> Self {
        Self {
            connections: AtomicUsize::new(0),
            calls: AtomicUsize::new(0),
            streams: AtomicUsize::new(0),
            bytes: AtomicUsize::new(0),
            cancellations: Mutex::default(),
            bounds,
        }
    }

    fn bucket(&self) -> MutexGuard<'_, Bucket> {
        self.cancellations
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

impl Membership {
    /// What the connection may take.
    pub(crate) fn share(&self) -> Share {
        Share {
            account: Some(Arc::clone(&self.account)),
            taken: Usage::default(),
        }
    }
}

impl Drop for Membership {
    fn drop(&mut self) {
        self.account.connections.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Share {
    /// Takes what is missing for the connection to hold `usage`.
    pub(crate) fn cover(&mut self, usage: Usage) -> Result<(), Shortage> {
        let Some(account) = &self.account else {
            return Ok(());
        };
        let (taken, bounds) = (&mut self.taken, &account.bounds);
        if !cover(
            &account.calls,
            bounds.calls,
            &mut taken.calls,
            usage.calls,
            CALLS_STEP,
        ) {
            return Err(Shortage::Calls);
        }
        if !cover(
            &account.streams,
            bounds.streams,
            &mut taken.streams,
            usage.streams,
            1,
        ) {
            return Err(Shortage::Streams);
        }
        if !cover(
            &account.bytes,
            bounds.bytes,
            &mut taken.bytes,
            usage.bytes,
            BYTES_STEP,
        ) {
            return Err(Shortage::Bytes);
        }
        Ok(())
    }

    /// Has taken exactly `usage` from here on: gives back what is not used. What
    /// is held already is counted even beyond the quota, such as the refusals
    /// that wait to leave.
    pub(crate) fn settle(&mut self, usage: Usage) {
        let Some(account) = &self.account else {
            return;
        };
        let taken = &mut self.taken;
        settle(&account.calls, &mut taken.calls, usage.calls);
        settle(&account.streams, &mut taken.streams, usage.streams);
        settle(&account.bytes, &mut taken.bytes, usage.bytes);
    }

    /// Whether the identity holds more bytes than it may.
    pub(crate) fn is_beyond_bytes(&self) -> bool {
        self.account
            .as_ref()
            .is_some_and(|account| account.bytes.load(Ordering::Relaxed) > account.bounds.bytes)
    }

    /// Counts a cancelled call; `false` when there were too many of late.
    pub(crate) fn cancel(&self, now: Instant) -> bool {
        self.account.as_ref().is_none_or(|account| {
            let per_second = account.bounds.cancellations_per_second;
            account.bucket().take(now, per_second)
        })
    }

    /// Moves the place of one call that is counted here into a permit of its
    /// own, with so many bytes that are counted here too. `None` where nothing
    /// is counted.
    pub(crate) fn detach(&mut self, bytes: usize) -> Option<Permit> {
        let account = Arc::clone(self.account.as_ref()?);
        // What was not taken before is taken now: the permit gives back as much.
        if self.taken.calls == 0 {
            account.calls.fetch_add(1, Ordering::Relaxed);
        } else {
            self.taken.calls -= 1;
        }
        let covered = bytes.min(self.taken.bytes);
        self.taken.bytes -= covered;
        account.bytes.fetch_add(bytes - covered, Ordering::Relaxed);
        Some(Permit { account, bytes })
    }

    /// The place of work whose call is over: counted even beyond the quota,
    /// because it cannot be refused any more.
    pub(crate) fn late(&self) -> Option<Permit> {
        let account = Arc::clone(self.account.as_ref()?);
        account.calls.fetch_add(1, Ordering::Relaxed);
        Some(Permit { account, bytes: 0 })
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.settle(Usage::default());
    }
}

impl Permit {
    /// Bytes that it counts beside the call.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.account.calls.fetch_sub(1, Ordering::Relaxed);
        self.account.bytes.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

/// A token bucket that holds what one second brings, as the time at which it
/// will be full again (the generic cell rate algorithm, ITU-T I.371).
#[derive(Debug, Default)]
struct Bucket {
    full_at: Option<Instant>,
}

impl Bucket {
    /// Takes one token, if there is one.
    fn take(&mut self, now: Instant, per_second: u32) -> bool {
        const HOLDS: Duration = Duration::from_secs(1);
        let step = HOLDS / per_second.max(1);
        let full_at = self.full_at.map_or(now, |at| at.max(now)) + step;
        let has_token = full_at.saturating_duration_since(now) <= HOLDS;
        if has_token {
            self.full_at = Some(full_at);
        }
        has_token
    }

    fn is_full(&self, now: Instant) -> bool {
        self.full_at.is_none_or(|at| at <= now)
    }
}

/// Adds to a total that must not exceed `max`; whether it did.
fn add_within(total: &AtomicUsize, amount: usize, max: usize) -> bool {
    total
        .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |total| {
            total.checked_add(amount).filter(|sum| *sum <= max)
        })
        .is_ok()
}

/// Raises what is taken to `used` at least: in whole steps, or exactly where
/// that is all there is.
fn cover(total: &AtomicUsize, max: usize, taken: &mut usize, used: usize, step: usize) -> bool {
    let Some(missing) = used.checked_sub(*taken).filter(|missing| *missing > 0) else {
        return true;
    };
    let amount = [missing.next_multiple_of(step), missing]
        .into_iter()
        .find(|amount| add_within(total, *amount, max));
    *taken += amount.unwrap_or(0);
    amount.is_some()
}

fn settle(total: &AtomicUsize, taken: &mut usize, used: usize) {
    match taken.checked_sub(used) {
        Some(0) => {}
        Some(spare) => drop(total.fetch_sub(spare, Ordering::Relaxed)),
        None => drop(total.fetch_add(used - *taken, Ordering::Relaxed)),
    }
    *taken = used;
}

#[cfg(test)]
mod tests;
