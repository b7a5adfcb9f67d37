//! Which endpoint of a name gets the next call.
//!
//! Two endpoints are drawn, each by its weight, and the one with fewer calls in
//! flight for its weight is taken (Mitzenmacher, "The Power of Two Choices in
//! Randomized Load Balancing", IEEE TPDS 2001): nearly as good as the least loaded
//! of all, and clients that see the same do not all run to the same place.
//!
//! An endpoint that fails several times in a row is *ejected*: no call goes to it
//! for a while. After that one call, the probe, tries it; by its outcome the
//! endpoint is admitted again or ejected for twice as long. An endpoint that says
//! that it takes no more calls is *draining*, and one that says it is not ready is
//! *unready*: it leaves the choice, and is not ejected for saying so. What a draining
//! one turns away is no failure; calls that fail at an unready one are, as anywhere.
//! When nothing else is left, the least bad is tried: what is known here may be wrong
//! or over, and a call that is not sent is certain to fail.
//!
//! A value without clock, I/O or randomness.

use std::time::{Duration, Instant};

use super::record::Endpoint;
use crate::limits::binding::{EJECT_FAILURES, EJECT_FIRST, EJECT_FORGOTTEN, EJECT_MAX};
use crate::status::{Code, Execution, Status};

mod slot;

use slot::Slot;

/// An endpoint in one [`Balancer`], never used for another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EndpointId(u64);

/// How calls are spread.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Choice {
    /// Each call anew.
    #[default]
    PerRequest,
    /// All calls to the endpoint of the first, for as long as it is good.
    PerClient,
}

/// When endpoints are given up, and for how long.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BalancePolicy {
    /// How calls are spread.
    pub choice: Choice,
    /// Failures in a row after which an endpoint is ejected.
    pub failures_max: u32,
    /// How long an endpoint is ejected first.
    pub eject_first: Duration,
    /// How long at most.
    pub eject_max: Duration,
    /// How long an endpoint must have been good before it is ejected for the
    /// shortest time again.
    pub eject_forgotten: Duration,
}

impl Default for BalancePolicy {
    fn default() -> Self {
        Self {
            choice: Choice::default(),
            failures_max: EJECT_FAILURES,
            eject_first: EJECT_FIRST,
            eject_max: EJECT_MAX,
            eject_forgotten: EJECT_FORGOTTEN,
        }
    }
}

/// What the outcome of a call says about the endpoint, not about the call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Verdict {
    /// It answers.
    Good,
    /// It could not be reached, turned the call away, or was lost.
    Bad,
    /// Nothing: the caller gave up, or we did not try.
    Silent,
}

impl Verdict {
    /// Of a call that ended so.
    ///
    /// A server that is busy, or whose handler refuses, is there; ejecting it would
    /// put its load on the others. A deadline that passed may be the caller's
    /// haste: an endpoint that is gone is noticed by heartbeats.
    #[must_use]
    pub fn of<T>(outcome: &Result<T, Status>) -> Self {
        let Err(status) = outcome else {
            return Self::Good;
        };
        match (status.code(), status.execution()) {
            (_, Execution::Executed) => Self::Good,
            (Code::Unavailable, _) => Self::Bad,
            (_, Execution::NotStarted) => Self::Good,
            (_, Execution::NotSent | Execution::MaybeExecuted) => Self::Silent,
        }
    }
}

/// One call at an endpoint. Ends with [`Balancer::end`]; whoever drops it leaves
/// the call in flight for ever.
#[derive(Debug, PartialEq, Eq)]
#[must_use]
pub struct Picked {
    id: EndpointId,
    epoch: u64,
    is_probe: bool,
}

impl Picked {
    /// Where the call goes.
    #[must_use]
    pub fn id(&self) -> EndpointId {
        self.id
    }

    /// Whether it goes to an endpoint that is ejected.
    #[cfg(test)]
    pub(super) fn is_probe(&self) -> bool {
        self.is_probe
    }
}

/// The endpoints of one name, as one client sees them.
#[derive(Debug)]
pub struct Balancer {
    policy: BalancePolicy,
    /// Those of the newest record, and those that have left it and have calls in
    /// flight or were not taken as departed yet.
    slots: Vec<Slot>,
    next: u64,
    sticky: Option<EndpointId>,
}

impl Balancer {
    /// Without endpoints.
    #[must_use]
    pub fn new(policy: BalancePolicy) -> Self {
        Self {
            policy,
            slots: Vec::new(),
            next: 0,
            sticky: None,
        }
    }

    /// Takes the endpoints of a record. What is known of one that was there before
    /// stays, whatever its weight is now; one that is gone takes no more calls and
    /// waits for [`Balancer::take_departed`].
    pub fn update(&mut self, endpoints: &[Endpoint]) {
        for slot in &mut self.slots {
            slot.is_listed = false;
        }
        for endpoint in endpoints {
            // One that left and has come back before its calls were done is the
            // same one.
            match self.slots.iter_mut().find(|slot| slot.is_of(endpoint)) {
                Some(slot) => {
                    slot.is_listed = true;
                    slot.endpoint.weight = endpoint.weight;
                }
                None => {
                    self.slots
                        .push(Slot::new(EndpointId(self.next), endpoint.clone()));
                    self.next += 1;
                }
            }
        }
    }

    /// Picks an endpoint for a call, which is in flight there from now on. Those in
    /// `tried`, where the same call has failed before, are passed over while there
    /// are others that are no worse. `random` is uniform over all `u64`. None when
    /// no endpoint is known at all.
    pub fn pick(&mut self, tried: &[EndpointId], now: Instant, random: u64) -> Option<Picked> {
        self.pick_among(|_, _| true, tried, now, random)
    }

    /// The same among those endpoints for which `may_take` holds, such as the one
    /// server that knows of the call.
    pub fn pick_among(
        &mut self,
        may_take: impl Fn(EndpointId, &Endpoint) -> bool,
        tried: &[EndpointId],
        now: Instant,
        random: u64,
    ) -> Option<Picked> {
        let may_take = |slot: &Slot| may_take(slot.id, &slot.endpoint);
        let id = self.choose(may_take, tried, now, random)?.id;
        let is_home = |slot: &Slot| Some(slot.id) == self.sticky && slot.is_good();
        if self.policy.choice == Choice::PerClient && !self.slots.iter().any(is_home) {
            self.sticky = Some(id);
        }
        let slot = self.slot_mut(id)?;
        slot.in_flight += 1;
        let is_probe = slot.is_ejected();
        slot.probes += u32::from(is_probe);
        Some(Picked {
            id: slot.id,
            epoch: slot.epoch,
            is_probe,
        })
    }

    /// The call has ended. `random` is uniform over all `u64`.
    pub fn end(&mut self, picked: Picked, verdict: Verdict, now: Instant, random: u64) {
        let policy = &self.policy;
        // Slots with calls in flight stay.
        let Some(slot) = self.slots.iter_mut().find(|slot| slot.id == picked.id) else {
            return;
        };
        slot.in_flight = slot.in_flight.saturating_sub(1);
        slot.probes -= u32::from(picked.is_probe).min(slot.probes);
        // What was sent before the endpoint was ejected or admitted says nothing
        // about it since: a hundred calls that end with one connection are one
        // failure and not a hundred.
        if picked.epoch != slot.epoch {
            return;
        }
        match verdict {
            Verdict::Good => slot.good(now),
            Verdict::Bad if slot.is_draining => {}
            Verdict::Bad => slot.bad(policy, now, random),
            Verdict::Silent if picked.is_probe => slot.probe_later(now),
            Verdict::Silent => {}
        }
    }

    /// The call lasts: it is in flight until its end, and no probe any more. The
    /// next one comes a pause later.
    pub fn lasts(&mut self, picked: &mut Picked, now: Instant) {
        if !std::mem::replace(&mut picked.is_probe, false) {
            return;
        }
        if let Some(slot) = self.slot_mut(picked.id) {
            slot.probes = slot.probes.saturating_sub(1);
            slot.probe_later(now);
        }
    }

    /// The endpoint has answered a call that goes on.
    pub fn answered(&mut self, picked: &Picked, now: Instant) {
        if let Some(slot) = self.slot_mut(picked.id)
            && slot.epoch == picked.epoch
        {
            slot.good(now);
        }
    }

    /// The endpoint has said that it takes no more calls. To be told before the
    /// calls end that it turned away, or they count as failures.
    pub fn draining(&mut self, id: EndpointId) {
        if let Some(slot) = self.slot_mut(id) {
            slot.is_draining = true;
        }
    }

    /// The endpoint has said whether calls make sense there now. While they do
    /// not, it leaves the choice; it is not ejected for that. Calls that fail there
    /// nevertheless count as anywhere.
    pub fn ready(&mut self, id: EndpointId, is_ready: bool) {
        if let Some(slot) = self.slot_mut(id) {
            slot.is_unready = !is_ready;
        }
    }

    /// A new connection to the endpoint stands: it does not drain any more, is
    /// ready until it says otherwise, and if it is ejected, a probe may go to it
    /// at once.
    pub fn connected(&mut self, id: EndpointId, now: Instant) {
        if let Some(slot) = self.slot_mut(id) {
            slot.is_draining = false;
            slot.is_unready = false;
            slot.probe_now(now);
        }
    }

    /// The endpoint behind an id, until it was taken as departed.
    #[must_use]
    pub fn endpoint(&self, id: EndpointId) -> Option<&Endpoint> {
        let slot = self.slots.iter().find(|slot| slot.id == id)?;
        Some(&slot.endpoint)
    }

    /// The endpoints of the newest record.
    pub fn listed(&self) -> impl Iterator<Item = (EndpointId, &Endpoint)> {
        let listed = self.slots.iter().filter(|slot| slot.is_listed);
        listed.map(|slot| (slot.id, &slot.endpoint))
    }

    /// Of these, those to which calls go.
    pub(super) fn good(&self) -> impl Iterator<Item = (EndpointId, &Endpoint)> {
        let good = self.slots.iter().filter(|slot| slot.is_good());
        good.map(|slot| (slot.id, &slot.endpoint))
    }

    /// Whether the next first attempt goes there as a probe.
    #[cfg(test)]
    pub(super) fn is_probe_due(&self, id: EndpointId, now: Instant) -> bool {
        let mut slots = self.slots.iter();
        slots.any(|slot| slot.id == id && slot.is_probe_due(now))
    }

    /// Calls in flight at an endpoint.
    #[cfg(test)]
    fn in_flight(&self, id: EndpointId) -> usize {
        let slot = self.slots.iter().find(|slot| slot.id == id);
        slot.map_or(0, |slot| slot.in_flight)
    }

    /// Forgets the endpoints that have left the record and whose calls are done:
    /// their connections can be closed.
    pub fn take_departed(&mut self) -> Vec<EndpointId> {
        let departed = |slot: &Slot| !slot.is_listed && slot.in_flight == 0;
        let ids = self
            .slots
            .iter()
            .filter(|slot| departed(slot))
            .map(|slot| slot.id)
            .collect();
        self.slots.retain(|slot| !departed(slot));
        ids
    }

    fn slot_mut(&mut self, id: EndpointId) -> Option<&mut Slot> {
        self.slots.iter_mut().find(|slot| slot.id == id)
    }

    fn choose(
        &self,
        may_take: impl Fn(&Slot) -> bool,
        tried: &[EndpointId],
        now: Instant,
        random: u64,
    ) -> Option<&Slot> {
        let untried = |slot: &Slot| !tried.contains(&slot.id);
        let good = |slot: &Slot| slot.is_good() && may_take(slot);
        let sticky = |slot: &&Slot| Some(slot.id) == self.sticky && good(slot) && untried(slot);
        if let Some(sticky) = self.slots.iter().find(sticky) {
            return Some(sticky);
        }
        // Only with first attempts, so that no call is made a probe twice.
        let is_due = |slot: &&Slot| slot.is_probe_due(now) && may_take(slot);
        if let Some(due) = self.slots.iter().find(is_due)
            && tried.is_empty()
        {
            return Some(due);
        }
        let listed = |slot: &Slot| slot.is_listed && may_take(slot);
        let ejected = |slot: &Slot| listed(slot) && slot.is_ejected() && !slot.is_away();
        let away = |slot: &Slot| listed(slot) && slot.is_away();
        self.lesser_loaded(|slot| good(slot) && untried(slot), random)
            .or_else(|| self.lesser_loaded(good, random))
            .or_else(|| self.least_bad(|slot| ejected(slot) && untried(slot)))
            .or_else(|| self.least_bad(ejected))
            .or_else(|| self.least_bad(|slot| away(slot) && untried(slot)))
            .or_else(|| self.least_bad(away))
    }

    /// Two choices.
    fn lesser_loaded(&self, is_among: impl Fn(&Slot) -> bool, random: u64) -> Option<&Slot> {
        let (one, other) = (random >> 32, random & u64::from(u32::MAX));
        let first = self.draw(&is_among, one)?;
        let second = self.draw(|slot| is_among(slot) && slot.id != first.id, other);
        Some(match second {
            Some(second) if second.is_less_loaded_than(first) => second,
            _ => first,
        })
    }

    /// One of these, each by its weight; `random` is uniform over all `u32`.
    fn draw(&self, is_among: impl Fn(&Slot) -> bool, random: u64) -> Option<&Slot> {
        let candidates = || self.slots.iter().filter(|slot| is_among(slot));
        let total: u64 = candidates().map(Slot::weight).sum();
        let mut point = (total * random) >> 32;
        candidates().find(|slot| {
            let reached = point < slot.weight();
            point = point.saturating_sub(slot.weight());
            reached
        })
    }

    /// The one ejected least often in a row, and of these the one that may be
    /// probed soonest: each that fails goes behind the others.
    fn least_bad(&self, is_among: impl Fn(&Slot) -> bool) -> Option<&Slot> {
        let candidates = self.slots.iter().filter(|slot| is_among(slot));
        candidates.min_by_key(|slot| (slot.ejections(), slot.probe_at(), slot.in_flight))
    }
}

#[cfg(test)]
mod tests;
