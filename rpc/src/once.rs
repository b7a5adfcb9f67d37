//! At most once: which calls have run, so that one sent again does not run again.
//!
//! An at-most-once call is named by the caller's authenticated key, an
//! *incarnation* (16 random bytes that the client made for this server) and a
//! sequence number. The client *opens* an incarnation before it calls in it, and
//! never sends the same open twice. So an incarnation comes to exist at most
//! once; after it was forgotten, or the server restarted, it is unknown for
//! ever, and a late attempt in it is refused instead of run. While it exists the
//! [`Table`] is complete for it: what it does not know at or above the *floor*
//! has never run.
//!
//! The floor is the client's word that it has settled all sequences below and
//! will never ask for them again; it lets the server forget them.
//!
//! A value without clock, I/O or randomness. [`session`] is the client's side.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use bytes::Bytes;
use sealmoot_crypto::signature::KeyId;

use crate::limits::{
    ONCE_ENTRIES_ALL_MAX, ONCE_ENTRIES_MAX, ONCE_INCARNATIONS_MAX,
    ONCE_INCARNATIONS_PER_IDENTITY_MAX, ONCE_KEPT, ONCE_REPLY_BYTES_MAX,
    ONCE_REPLY_BYTES_PER_IDENTITY_MAX, ONCE_WAITERS_MAX,
};
use crate::status::{Code, Execution, Status};

mod entry;
pub mod session;

use entry::{Entry, Incarnated, Phase, Share, kept_bytes, kept_copy};

/// Details of the status by which a server says that it does not know an
/// incarnation; see [`is_unknown_incarnation`].
pub const UNKNOWN_INCARNATION: &[u8] = b"sealmoot once: unknown incarnation";

/// 16 random bytes under which a client numbers its calls to one server.
pub type Incarnation = [u8; 16];

/// How a call ended.
pub type Outcome = Result<Bytes, Status>;

/// What an at-most-once call carries beside method and body.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct OnceId {
    /// The client's incarnation, opened before.
    pub incarnation: Incarnation,
    /// Number of the call within the incarnation, from 1; 0 in an open.
    pub sequence: u64,
    /// The client has settled every sequence below.
    pub floor: u64,
}

impl OnceId {
    /// What opens an incarnation.
    pub fn open(incarnation: Incarnation) -> Self {
        Self {
            incarnation,
            sequence: 0,
            floor: 0,
        }
    }

    /// The call's name at the server, when `identity` calls.
    pub fn key(&self, identity: KeyId) -> CallKey {
        CallKey {
            identity,
            incarnation: self.incarnation,
            sequence: self.sequence,
        }
    }
}

/// The name of an at-most-once call at a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CallKey {
    /// The caller, as its channel has proved it.
    pub identity: KeyId,
    /// The caller's incarnation.
    pub incarnation: Incarnation,
    /// Number within the incarnation.
    pub sequence: u64,
}

/// What a [`Table`] may hold. The defaults are the constants of
/// [`limits`](crate::limits).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// Incarnations of one identity.
    pub incarnations_per_identity_max: usize,
    /// Incarnations in all.
    pub incarnations_max: usize,
    /// Calls of one incarnation.
    pub entries_max: usize,
    /// Calls in all.
    pub entries_all_max: usize,
    /// Bytes of replies kept for one identity.
    pub reply_bytes_per_identity_max: usize,
    /// Bytes of replies kept in all.
    pub reply_bytes_max: usize,
    /// Attempts that wait for one call.
    pub waiters_max: usize,
    /// How long an incarnation is kept after its last use. Below twice the
    /// clients' horizon a retry may come too late and end as
    /// [`Code::OutcomeUnknown`]; it still never runs twice.
    pub kept: Duration,
}

impl Default for Bounds {
    fn default() -> Self {
        Self {
            incarnations_per_identity_max: ONCE_INCARNATIONS_PER_IDENTITY_MAX,
            incarnations_max: ONCE_INCARNATIONS_MAX,
            entries_max: ONCE_ENTRIES_MAX,
            entries_all_max: ONCE_ENTRIES_ALL_MAX,
            reply_bytes_per_identity_max: ONCE_REPLY_BYTES_PER_IDENTITY_MAX,
            reply_bytes_max: ONCE_REPLY_BYTES_MAX,
            waiters_max: ONCE_WAITERS_MAX,
            kept: ONCE_KEPT,
        }
    }
}

/// What to do with an attempt that has arrived.
#[derive(Debug, PartialEq, Eq)]
#[must_use]
pub enum Begun<W> {
    /// Run the handler, and give its outcome to [`Table::finish`].
    Run,
    /// It runs already; the waiter comes back from [`Table::finish`].
    Joined,
    /// It has run: answer so again.
    Replay(W, Outcome),
    /// It does not run by this attempt.
    Refuse(W, Status),
}

/// The server's memory of at-most-once calls. `W` is what the shell wants back
/// with the outcome: where one attempt waits.
///
/// Every operation costs O(log n) and what it removes.
#[derive(Debug)]
pub struct Table<W> {
    incarnations: BTreeMap<(KeyId, Incarnation), Incarnated<W>>,
    identities: BTreeMap<KeyId, Share>,
    /// By last use, the oldest first.
    ages: BTreeSet<(Instant, KeyId, Incarnation)>,
    entry_count: usize,
    reply_bytes: usize,
    bounds: Bounds,
}

impl<W> Table<W> {
    /// A table that knows nothing: what a server starts with.
    pub fn new(bounds: Bounds) -> Self {
        Self {
            incarnations: BTreeMap::new(),
            identities: BTreeMap::new(),
            ages: BTreeSet::new(),
            entry_count: 0,
            reply_bytes: 0,
            bounds,
        }
    }

    /// Makes an incarnation known.
    ///
    /// # Errors
    ///
    /// A bound is reached, or the incarnation is known: whoever opens twice
    /// could revive one that was forgotten. Always [`Execution::NotStarted`].
    pub fn open(
        &mut self,
        now: Instant,
        identity: KeyId,
        incarnation: Incarnation,
    ) -> Result<(), Status> {
        self.expire(now);
        if self.incarnations.contains_key(&(identity, incarnation)) {
            return Err(refusal(
                Code::AlreadyExists,
                "the incarnation is open already",
            ));
        }
        let share = self.identities.get(&identity);
        let of_identity = share.map_or(0, |share| share.incarnations);
        if of_identity >= self.bounds.incarnations_per_identity_max {
            return Err(busy("too many incarnations of this identity"));
        }
        if self.incarnations.len() >= self.bounds.incarnations_max {
            return Err(busy("too many incarnations"));
        }
        self.identities.entry(identity).or_default().incarnations += 1;
        self.ages.insert((now, identity, incarnation));
        self.incarnations
            .insert((identity, incarnation), Incarnated::new(now));
        Ok(())
    }

    /// Takes an attempt of a call. `id` has passed the wire's rules: a sequence
    /// of at least 1, and a floor not above it.
    pub fn begin(&mut self, now: Instant, identity: KeyId, id: OnceId, waiter: W) -> Begun<W> {
        self.touch(now, identity, id.incarnation);
        self.raise_floor(identity, id.incarnation, id.floor);
        let is_full = self.entry_count >= self.bounds.entries_all_max;
        let Some(incarnated) = self.incarnations.get_mut(&(identity, id.incarnation)) else {
            let status = refusal(Code::FailedPrecondition, "unknown incarnation")
                .with_details(UNKNOWN_INCARNATION);
            return Begun::Refuse(waiter, status);
        };
        if id.sequence < incarnated.floor {
            return Begun::Refuse(waiter, refusal(Code::Cancelled, "the call was settled"));
        }
        if let Some(entry) = incarnated.entries.get_mut(&id.sequence) {
            return match &mut entry.phase {
                Phase::Running(waiters) if waiters.len() < self.bounds.waiters_max => {
                    waiters.push(waiter);
                    Begun::Joined
                }
                Phase::Running(_) => {
                    Begun::Refuse(waiter, busy("too many attempts wait for this call"))
                }
                Phase::Done(outcome) => Begun::Replay(waiter, outcome.clone()),
                Phase::Lost => {
                    let message = "reply no longer held";
                    let status = Status::new(Code::DataLoss, Execution::Executed, message);
                    Begun::Replay(waiter, Err(status))
                }
            };
        }
        if is_full || incarnated.entries.len() >= self.bounds.entries_max {
            return Begun::Refuse(waiter, busy("too many calls are not settled"));
        }
        incarnated
            .entries
            .insert(id.sequence, Entry::running(waiter));
        incarnated.running += 1;
        self.entry_count += 1;
        Begun::Run
    }

    /// The handler has answered, or is gone without an answer
    /// ([`Execution::MaybeExecuted`] then). Returns who waits for the outcome.
    ///
    /// An outcome that says the call had no effect is not kept: it may be tried
    /// again. Nothing happens when the call does not run, as after
    /// [`Table::cancel`].
    pub fn finish(&mut self, now: Instant, key: &CallKey, outcome: &Outcome) -> Vec<W> {
        let place = (key.identity, key.incarnation);
        let Some(incarnated) = self.incarnations.get_mut(&place) else {
            return Vec::new();
        };
        let Some(entry) = incarnated.entries.get_mut(&key.sequence) else {
            return Vec::new();
        };
        let Phase::Running(waiters) = &mut entry.phase else {
            return Vec::new();
        };
        let waiters = std::mem::take(waiters);
        incarnated.running -= 1;
        let execution = outcome
            .as_ref()
            .map_or_else(Status::execution, |_| Execution::Executed);
        if execution.is_safe_to_retry() || key.sequence < incarnated.floor {
            incarnated.entries.remove(&key.sequence);
            self.entry_count -= 1;
        } else {
            let share = self.identities.entry(key.identity).or_default();
            let bytes = kept_bytes(outcome);
            let room_of_identity = self
                .bounds
                .reply_bytes_per_identity_max
                .saturating_sub(share.reply_bytes);
            let room = self.bounds.reply_bytes_max.saturating_sub(self.reply_bytes);
            if bytes <= room_of_identity.min(room) {
                share.reply_bytes += bytes;
                self.reply_bytes += bytes;
                entry.bytes = bytes;
                entry.phase = Phase::Done(kept_copy(outcome));
            } else {
                entry.phase = match outcome {
                    Ok(_) => Phase::Lost,
                    // Its code takes no room.
                    Err(status) => Phase::Done(Err(Status::new(status.code(), execution, ""))),
                };
            }
        }
        self.touch(now, key.identity, key.incarnation);
        waiters
    }

    /// The caller has cancelled a running call, whose handler the shell drops.
    /// Returns who else waits; all are to be told what
    /// [`cancelled`] says. Empty when it does not run.
    pub fn cancel(&mut self, now: Instant, key: &CallKey) -> Vec<W> {
        self.finish(now, key, &Err(cancelled()))
    }

    /// An attempt no longer waits: its connection is lost, or its time is over.
    /// The call runs on.
    pub fn leave(&mut self, key: &CallKey, waiter: &W)
    where
        W: PartialEq,
    {
        let place = (key.identity, key.incarnation);
        if let Some(incarnated) = self.incarnations.get_mut(&place)
            && let Some(entry) = incarnated.entries.get_mut(&key.sequence)
            && let Phase::Running(waiters) = &mut entry.phase
        {
            waiters.retain(|kept| kept != waiter);
        }
    }

    /// Forgets the incarnations that nobody has used for [`Bounds::kept`], and
    /// returns how many. One in which a call runs is in use.
    pub fn expire(&mut self, now: Instant) -> usize {
        let mut forgotten = 0;
        while let Some((used, identity, incarnation)) = self.ages.first().copied() {
            if now.saturating_duration_since(used) < self.bounds.kept {
                break;
            }
            let place = (identity, incarnation);
            if self
                .incarnations
                .get(&place)
                .is_some_and(|incarnated| incarnated.running > 0)
            {
                self.touch(now, identity, incarnation);
                continue;
            }
            self.ages.pop_first();
            forgotten += 1;
            if let Some(incarnated) = self.incarnations.remove(&place) {
                self.entry_count -= incarnated.entries.len();
                let bytes = incarnated.entries.values().map(|entry| entry.bytes).sum();
                self.release(identity, 1, bytes);
            }
        }
        forgotten
    }

    /// Incarnations that are known.
    pub fn incarnation_count(&self) -> usize {
        self.incarnations.len()
    }

    /// Calls that are remembered, running ones included.
    pub fn entry_count(&self) -> usize {
        self.entry_count
    }

    /// Bytes of replies that are kept.
    pub fn reply_bytes(&self) -> usize {
        self.reply_bytes
    }

    /// Marks an incarnation as used, if it is known.
    fn touch(&mut self, now: Instant, identity: KeyId, incarnation: Incarnation) {
        if let Some(incarnated) = self.incarnations.get_mut(&(identity, incarnation))
            && now > incarnated.used
        {
            self.ages.remove(&(incarnated.used, identity, incarnation));
            incarnated.used = now;
            self.ages.insert((now, identity, incarnation));
        }
    }

    /// Forgets what the client has settled. What still runs below the floor is
    /// forgotten when it ends: until then it counts.
    fn raise_floor(&mut self, identity: KeyId, incarnation: Incarnation, floor: u64) {
        let Some(incarnated) = self.incarnations.get_mut(&(identity, incarnation)) else {
            return;
        };
        let removed = incarnated.raise_floor(floor);
        self.entry_count -= removed.count;
        self.release(identity, 0, removed.bytes);
    }

    fn release(&mut self, identity: KeyId, incarnations: usize, bytes: usize) {
        self.reply_bytes -= bytes;
        if let Some(share) = self.identities.get_mut(&identity) {
            share.incarnations -= incarnations;
            share.reply_bytes -= bytes;
            if share.incarnations == 0 {
                self.identities.remove(&identity);
            }
        }
    }
}

/// What everybody who waits for a cancelled call is told.
pub fn cancelled() -> Status {
    Status::new(
        Code::Cancelled,
        Execution::MaybeExecuted,
        "the caller cancelled the call",
    )
}

/// Whether a server refused an attempt because it does not know the incarnation.
/// The attempt did not run; whether an *earlier* attempt did, the server cannot
/// know, and [`retry::Attempts`](crate::retry::Attempts) tells apart.
pub fn is_unknown_incarnation(status: &Status) -> bool {
    status.code() == Code::FailedPrecondition
        && status.execution().is_safe_to_retry()
        && status.details() == UNKNOWN_INCARNATION
}

fn refusal(code: Code, message: &str) -> Status {
    Status::new(code, Execution::NotStarted, message)
}

fn busy(message: &str) -> Status {
    refusal(Code::ResourceExhausted, message)
}

#[cfg(test)]
mod tests;
