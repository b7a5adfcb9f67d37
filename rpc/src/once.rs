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
//! No identity may take so much that others have no room: none grows to more
//! than is left free. The more is taken, the less may one have, and a few
//! together cannot have all (Choudhury and Hahne, "Dynamic Queue Length
//! Thresholds for Shared-Memory Packet Switches", IEEE/ACM Transactions on
//! Networking, 1998).
//!
//! A value without clock, I/O or randomness. [`session`] is the client's side.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use bytes::Bytes;
use sealmoot_crypto::signature::KeyId;

use crate::limits::{
    ONCE_ENTRIES_ALL_MAX, ONCE_ENTRIES_MAX, ONCE_EVICTABLE_AFTER, ONCE_INCARNATIONS_MAX,
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
    /// How long an incarnation must not have been used before a further one of
    /// its identity takes its place.
    pub evictable_after: Duration,
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
            evictable_after: ONCE_EVICTABLE_AFTER,
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
    evicted_count: u64,
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
            evicted_count: 0,
            bounds,
        }
    }

    /// Makes an incarnation known. Where its identity has no room for it, the
    /// one of its others that was used longest ago is forgotten, first of those
    /// that remember no call: a client that is started over and over has no use
    /// for those that it had before. What comes in a forgotten one is refused,
    /// and never runs a second time.
    ///
    /// # Errors
    ///
    /// A bound is reached and nothing of this identity can be forgotten, or the
    /// incarnation is known: whoever opens twice could revive one that was
    /// forgotten. Always [`Execution::NotStarted`].
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
        let room = room(
            of_identity,
            self.bounds.incarnations_per_identity_max,
            self.incarnations.len(),
            self.bounds.incarnations_max,
        );
        if room == 0 && !self.evict(now, identity, Lack::Incarnations) {
            let message = if of_identity == 0 {
                "too many incarnations"
            } else {
                "too many incarnations of this identity"
            };
            return Err(busy(message));
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
        let place = (identity, id.incarnation);
        let Some(incarnated) = self.incarnations.get_mut(&place) else {
            return unknown(waiter);
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
        // Only now: what needs no room forgets nothing.
        let is_full = incarnated.entries.len() >= self.bounds.entries_max;
        if is_full || !self.make_room(now, identity) {
            return Begun::Refuse(waiter, busy("too many calls are not settled"));
        }
        // It is in use, but bounds may let that be forgotten.
        let Some(incarnated) = self.incarnations.get_mut(&place) else {
            return unknown(waiter);
        };
        incarnated
            .entries
            .insert(id.sequence, Entry::running(waiter));
        incarnated.running += 1;
        self.entry_count += 1;
        self.identities.entry(identity).or_default().entries += 1;
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
            let removed = Share {
                entries: 1,
                ..Share::default()
            };
            self.release(key.identity, &removed);
        } else {
            let share = self.identities.entry(key.identity).or_default();
            let bytes = kept_bytes(outcome);
            let room = room(
                share.reply_bytes,
                self.bounds.reply_bytes_per_identity_max,
                self.reply_bytes,
                self.bounds.reply_bytes_max,
            );
            if bytes <= room {
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
            forgotten += 1;
            self.forget(used, identity, incarnation);
        }
        forgotten
    }

    /// Whether an identity may have one call more, if need be in place of what is
    /// remembered for incarnations of its own that nobody uses any more: those must
    /// not keep it from calling. Where that would not be enough nothing is
    /// forgotten.
    fn make_room(&mut self, now: Instant, identity: KeyId) -> bool {
        if self.has_room(identity, 0) {
            return true;
        }
        let evictable = self.evictable(now, identity, Lack::Entries);
        let entries = evictable.map(|(_, incarnated)| incarnated.entries.len());
        if !self.has_room(identity, entries.sum()) {
            return false;
        }
        while !self.has_room(identity, 0) {
            if !self.evict(now, identity, Lack::Entries) {
                return false;
            }
        }
        true
    }

    /// Whether an identity may have one call more when so many of its own are
    /// forgotten.
    fn has_room(&self, identity: KeyId, forgotten: usize) -> bool {
        let share = self.identities.get(&identity);
        let of_identity = share.map_or(0, |share| share.entries);
        let (own, all) = (of_identity - forgotten, self.entry_count - forgotten);
        let all_max = self.bounds.entries_all_max;
        room(own, all_max, all, all_max) > 0
    }

    /// Forgets one incarnation of an identity to make room for another of the
    /// same, if there is one that may go.
    fn evict(&mut self, now: Instant, identity: KeyId, lack: Lack) -> bool {
        let oldest = self
            .evictable(now, identity, lack)
            .map(|(incarnation, incarnated)| {
                let remembers = !incarnated.entries.is_empty();
                (remembers, incarnated.used, incarnation)
            })
            .min();
        let Some((_, used, incarnation)) = oldest else {
            return false;
        };
        self.forget(used, identity, incarnation);
        self.evicted_count += 1;
        true
    }

    /// The incarnations of an identity that may go before their time. Looks at all
    /// that it has, which its bound bounds.
    fn evictable(
        &self,
        now: Instant,
        identity: KeyId,
        lack: Lack,
    ) -> impl Iterator<Item = (Incarnation, &Incarnated<W>)> {
        let own = (identity, Incarnation::default())..=(identity, [u8::MAX; 16]);
        let evictable = self.incarnations.range(own).filter(move |(_, incarnated)| {
            let unused = now.saturating_duration_since(incarnated.used);
            let helps = lack == Lack::Incarnations || !incarnated.entries.is_empty();
            helps && incarnated.running == 0 && unused >= self.bounds.evictable_after
        });
        evictable.map(|((_, incarnation), incarnated)| (*incarnation, incarnated))
    }

    fn forget(&mut self, used: Instant, identity: KeyId, incarnation: Incarnation) {
        self.ages.remove(&(used, identity, incarnation));
        if let Some(incarnated) = self.incarnations.remove(&(identity, incarnation)) {
            self.release(identity, &incarnated.share());
        }
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

    /// Incarnations that were forgotten before their time, for others of the same
    /// identity.
    pub fn evicted_count(&self) -> u64 {
        self.evicted_count
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
        self.release(identity, &removed);
    }

    fn release(&mut self, identity: KeyId, removed: &Share) {
        self.entry_count -= removed.entries;
        self.reply_bytes -= removed.reply_bytes;
        if let Some(share) = self.identities.get_mut(&identity) {
            share.incarnations -= removed.incarnations;
            share.entries -= removed.entries;
            share.reply_bytes -= removed.reply_bytes;
            if share.incarnations == 0 {
                self.identities.remove(&identity);
            }
        }
    }
}

/// What an identity has no room for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Lack {
    Incarnations,
    Entries,
}

/// By how much an identity that has taken `own` of `all` may grow: to what is left
/// free then at most, and to its own bound.
fn room(own: usize, own_max: usize, all: usize, all_max: usize) -> usize {
    let free = all_max.saturating_sub(all);
    // own + n <= free - n; the last one of all may be had by who has none.
    let fair = free.saturating_sub(own).div_ceil(2);
    fair.min(free).min(own_max.saturating_sub(own))
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

fn unknown<W>(waiter: W) -> Begun<W> {
    let status = refusal(Code::FailedPrecondition, "unknown incarnation");
    Begun::Refuse(waiter, status.with_details(UNKNOWN_INCARNATION))
}

fn refusal(code: Code, message: &str) -> Status {
    Status::new(code, Execution::NotStarted, message)
}

fn busy(message: &str) -> Status {
    refusal(Code::ResourceExhausted, message)
}

#[cfg(test)]
mod tests;
