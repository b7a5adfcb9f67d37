//! Which records are held, and when their source is asked again.
//!
//! A record is used without asking until its time to live is nearly over. Then one
//! question goes out, while the record goes on being used; so no call waits for a
//! resolver but the first, and for [`STALE_PATIENCE`] at most those after a long
//! silence, or while the source hangs. When the source fails, the
//! record goes on being used beyond its time to live, but never beyond the time
//! that its signer gave it: a name service that is down takes nobody along, and one
//! that is held back cannot keep an old record alive.
//!
//! That a source says it knows no such name counts as failure too: a name service
//! that came up empty says that of every name, and who wants a name to end signs a
//! last record or lets the time of the last one run out.
//!
//! A value without clock, I/O or randomness.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::name::Name;
use super::record::{RecordError, VerifiedRecord};
use super::resolver::ResolveError;
use crate::limits::DURATION_MAX;
use crate::limits::binding::{
    CACHE_NAMES_MAX, DOUBT_REST, DOUBT_REST_MAX, RESOLVE_PATIENCE, RESOLVE_RETRY_FIRST,
    RESOLVE_RETRY_MAX, STALE_PATIENCE,
};
use crate::pause::{doubled, half_to_whole, share_of};

/// A moment by both clocks: one that nobody sets, for what lasts so long, and the
/// one that signers go by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moment {
    /// By the clock that nobody sets.
    pub instant: Instant,
    /// Milliseconds since 1970.
    pub unix_ms: u64,
}

/// What a [`Cache`] says about a name.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
pub enum Lookup {
    /// Use this record.
    Use {
        /// What is held.
        record: Arc<VerifiedRecord>,
        /// Ask the source meanwhile.
        ask: bool,
    },
    /// Wait until the source has answered, [`STALE_PATIENCE`] at most, and look
    /// again: a record that counts may be used then, whether or not it has.
    Wait {
        /// Nobody has asked it yet: do.
        ask: bool,
    },
    /// Nothing is held, and the source has failed a moment ago.
    Failed(ResolveError),
}

/// The records that one client holds.
///
/// Whoever is told to ask ends that with [`Cache::learnt`] or [`Cache::failed`].
/// If it does neither, somebody else is told to after [`RESOLVE_PATIENCE`].
#[derive(Debug, Default)]
pub struct Cache {
    entries: BTreeMap<Name, Entry>,
}

#[derive(Debug, Default)]
struct Entry {
    held: Option<Held>,
    /// The newest that has been believed; kept when it expires, so that no older
    /// one comes back.
    newest: Option<Arc<VerifiedRecord>>,
    asked: Option<Instant>,
    /// Since the source last answered.
    failure: Option<Failure>,
}

#[derive(Debug)]
struct Held {
    record: Arc<VerifiedRecord>,
    /// When its source may be asked again if it is doubted.
    doubt_at: Instant,
    is_doubted: bool,
    /// How often in a row its source knew nothing newer when it was.
    doubts: u32,
    refresh_at: Instant,
    stale_at: Instant,
    expires_at: Instant,
}

#[derive(Debug)]
struct Failure {
    error: ResolveError,
    in_a_row: u32,
    retry_at: Instant,
}

impl Cache {
    /// Holds nothing.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// What to do about `name` now. With `ask`, it counts as asked from now on.
    pub fn look_up(&mut self, name: &Name, now: Moment) -> Lookup {
        if !self.entries.contains_key(name) && self.entries.len() >= CACHE_NAMES_MAX {
            // Names of which nothing was ever learnt: a program that is asked for
            // many that do not exist must still find those that do.
            self.entries.retain(|_, entry| !entry.is_idle(now.instant));
            if self.entries.len() >= CACHE_NAMES_MAX {
                return Lookup::Failed(ResolveError::TooManyNames);
            }
        }
        let entry = self.entries.entry(name.clone()).or_default();
        entry.look_up(now)
    }

    /// A source has answered, asked or not. `random` is uniform over all `u64`.
    ///
    /// # Errors
    ///
    /// [`RecordError`] when the record is about another name, has expired, or is
    /// older than one that has been seen, or a different one with its serial. That
    /// counts as a failure of the source, and what was held stays.
    pub fn learnt(
        &mut self,
        name: &Name,
        record: Arc<VerifiedRecord>,
        now: Moment,
        random: u64,
    ) -> Result<(), RecordError> {
        // Unasked for, such as by a watch on a name that nobody uses any more.
        let Some(entry) = self.entries.get_mut(name) else {
            return Ok(());
        };
        let believed = record.check_use(name, now.unix_ms, 0).and_then(|()| {
            let newest = entry.newest.as_ref();
            newest.map_or(Ok(()), |newest| record.check_succeeds(newest))
        });
        if let Err(error) = believed {
            entry.failed(error.clone().into(), now, random);
            return Err(error);
        }
        entry.learnt(record, now, random);
        Ok(())
    }

    /// What the record says did not prove true, such as that somebody answers
    /// there: its source is asked again before its time. Nothing is held against
    /// the record. As long as the source knows nothing newer it is asked ever less
    /// often, from [`DOUBT_REST`] down to [`DOUBT_REST_MAX`]: one endpoint that is
    /// gone for good must not make all clients of a name besiege its source.
    pub fn doubt(&mut self, name: &Name) {
        if let Some(held) = self.entries.get_mut(name).and_then(|it| it.held.as_mut()) {
            held.is_doubted = true;
            held.refresh_at = held.refresh_at.min(held.doubt_at);
        }
    }

    /// A source has failed. `random` is uniform over all `u64`.
    pub fn failed(&mut self, name: &Name, error: ResolveError, now: Moment, random: u64) {
        if let Some(entry) = self.entries.get_mut(name) {
            entry.failed(error, now, random);
        }
    }
}

impl Entry {
    fn look_up(&mut self, now: Moment) -> Lookup {
        // Not only hidden but gone: a clock that is set back revives nothing.
        self.held.take_if(|held| held.is_over(now));
        let Some(held) = &self.held else {
            return match &self.failure {
                Some(failure) if now.instant < failure.retry_at => {
                    Lookup::Failed(failure.error.clone())
                }
                _ => Lookup::Wait {
                    ask: self.ask(now.instant),
                },
            };
        };
        let is_stale = now.instant >= held.stale_at;
        let is_due = now.instant >= held.refresh_at;
        let record = Arc::clone(&held.record);
        let ask = is_due && self.ask(now.instant);
        // A source that hangs is found to have failed much later than a call can
        // wait.
        let has_waited = self
            .asked
            .is_some_and(|asked| now.instant.saturating_duration_since(asked) >= STALE_PATIENCE);
        if is_stale && self.failure.is_none() && !has_waited {
            // Nobody has used it for a while. Its source may know better.
            return Lookup::Wait { ask };
        }
        Lookup::Use { record, ask }
    }

    /// Whether nothing is known by it, and nobody waits or rests for its sake.
    fn is_idle(&self, now: Instant) -> bool {
        let is_asked = self
            .asked
            .is_some_and(|asked| now.saturating_duration_since(asked) < RESOLVE_PATIENCE);
        let is_resting = self.failure.as_ref().is_some_and(|it| now < it.retry_at);
        self.newest.is_none() && !is_asked && !is_resting
    }

    /// Whether the source may be asked now; if so, it counts as asked.
    fn ask(&mut self, now: Instant) -> bool {
        let is_resting = self.failure.as_ref().is_some_and(|it| now < it.retry_at);
        let is_asked = self
            .asked
            .is_some_and(|asked| now.saturating_duration_since(asked) < RESOLVE_PATIENCE);
        if is_resting || is_asked {
            return false;
        }
        self.asked = Some(now);
        true
    }

    fn learnt(&mut self, record: Arc<VerifiedRecord>, now: Moment, random: u64) {
        self.asked = None;
        self.failure = None;
        let doubts = match self.held.take() {
            Some(held)
                if held.is_doubted && held.record.record().serial == record.record().serial =>
            {
                held.doubts.saturating_add(1)
            }
            _ => 0,
        };
        let doubt = doubled(DOUBT_REST, doubts, DOUBT_REST_MAX);
        self.newest = Some(Arc::clone(&record));
        let ttl = Duration::from_secs(record.record().ttl_seconds.into());
        // The last three tenths, but not the very last: clients that learnt of a
        // name together must not ask together.
        let refresh = ttl.mul_f64(0.7) + share_of(ttl.mul_f64(0.2), random);
        let counts_ms = record.record().valid_until_ms.saturating_sub(now.unix_ms);
        let counts = Duration::from_millis(counts_ms).min(DURATION_MAX);
        self.held = Some(Held {
            record,
            doubt_at: now.instant + half_to_whole(doubt, random),
            is_doubted: false,
            doubts,
            refresh_at: now.instant + refresh,
            stale_at: now.instant + ttl,
            expires_at: now.instant + counts,
        });
    }

    fn failed(&mut self, error: ResolveError, now: Moment, random: u64) {
        self.asked = None;
        let in_a_row = self.failure.as_ref().map_or(0, |failure| failure.in_a_row);
        let pause = doubled(RESOLVE_RETRY_FIRST, in_a_row, RESOLVE_RETRY_MAX);
        self.failure = Some(Failure {
            error,
            in_a_row: in_a_row.saturating_add(1),
            retry_at: now.instant + half_to_whole(pause, random),
        });
    }
}

impl Held {
    /// Whether the signer's time is over by either clock.
    fn is_over(&self, now: Moment) -> bool {
        now.instant >= self.expires_at || now.unix_ms >= self.record.record().valid_until_ms
    }
}

#[cfg(test)]
mod tests;
