//! What is known of one endpoint.

use std::time::{Duration, Instant};

use super::{BalancePolicy, EndpointId};
use crate::binding::record::Endpoint;
use crate::pause::{doubled, half_to_whole};

#[derive(Debug)]
pub(super) struct Slot {
    pub(super) id: EndpointId,
    pub(super) endpoint: Endpoint,
    /// Whether the newest record names it.
    pub(super) is_listed: bool,
    pub(super) is_draining: bool,
    /// It says that calls make no sense there now.
    pub(super) is_unready: bool,
    pub(super) in_flight: usize,
    /// Of these, those that were sent while it was ejected.
    pub(super) probes: u32,
    /// Counts how often it was ejected and admitted again.
    pub(super) epoch: u64,
    standing: Standing,
}

#[derive(Debug)]
enum Standing {
    Admitted {
        failures: u32,
        /// Since when, and how often it had been ejected in a row before.
        since: Option<(Instant, u32)>,
    },
    Ejected {
        times: u32,
        pause: Duration,
        probe_at: Instant,
    },
}

impl Slot {
    pub(super) fn new(id: EndpointId, endpoint: Endpoint) -> Self {
        Self {
            id,
            endpoint,
            is_listed: true,
            is_draining: false,
            is_unready: false,
            in_flight: 0,
            probes: 0,
            epoch: 0,
            standing: Standing::Admitted {
                failures: 0,
                since: None,
            },
        }
    }

    /// Whether this is that endpoint, whatever its weight.
    pub(super) fn is_of(&self, endpoint: &Endpoint) -> bool {
        self.endpoint.way == endpoint.way
            && self.endpoint.address == endpoint.address
            && self.endpoint.key_id == endpoint.key_id
    }

    pub(super) fn is_ejected(&self) -> bool {
        matches!(self.standing, Standing::Ejected { .. })
    }

    pub(super) fn weight(&self) -> u64 {
        self.endpoint.weight.get().into()
    }

    pub(super) fn is_good(&self) -> bool {
        self.is_listed && !self.is_away() && !self.is_ejected()
    }

    /// Whether it has said that it wants no calls.
    pub(super) fn is_away(&self) -> bool {
        self.is_draining || self.is_unready
    }

    /// Whether one call should find out now if it is well again.
    pub(super) fn is_probe_due(&self, now: Instant) -> bool {
        match self.standing {
            Standing::Ejected { probe_at, .. } => {
                now >= probe_at && self.probes == 0 && self.is_listed && !self.is_away()
            }
            Standing::Admitted { .. } => false,
        }
    }

    pub(super) fn ejections(&self) -> u32 {
        match self.standing {
            Standing::Ejected { times, .. } => times,
            Standing::Admitted { .. } => 0,
        }
    }

    pub(super) fn probe_at(&self) -> Option<Instant> {
        match self.standing {
            Standing::Ejected { probe_at, .. } => Some(probe_at),
            Standing::Admitted { .. } => None,
        }
    }

    /// By calls in flight for its weight. The next one is not counted in: among
    /// idle endpoints, which are drawn by weight, weight would count twice.
    pub(super) fn is_less_loaded_than(&self, other: &Self) -> bool {
        let load = |of: &Self, weight: u64| (of.in_flight as u64).saturating_mul(weight);
        load(self, other.weight()) < load(other, self.weight())
    }

    pub(super) fn good(&mut self, now: Instant) {
        match &mut self.standing {
            Standing::Admitted { failures, .. } => *failures = 0,
            Standing::Ejected { times, .. } => {
                let since = Some((now, *times));
                self.epoch += 1;
                self.standing = Standing::Admitted { failures: 0, since };
            }
        }
    }

    pub(super) fn bad(&mut self, policy: &BalancePolicy, now: Instant, random: u64) {
        let times_before = match &mut self.standing {
            Standing::Admitted { failures, since } => {
                *failures = failures.saturating_add(1);
                if *failures < policy.failures_max {
                    return;
                }
                match since {
                    Some((since, times))
                        if now.saturating_duration_since(*since) < policy.eject_forgotten =>
                    {
                        *times
                    }
                    _ => 0,
                }
            }
            Standing::Ejected { times, .. } => *times,
        };
        let pause = doubled(policy.eject_first, times_before, policy.eject_max);
        // Clients that saw it fail together must not all come back in one moment.
        let pause = half_to_whole(pause, random);
        self.epoch += 1;
        self.standing = Standing::Ejected {
            times: times_before.saturating_add(1),
            pause,
            probe_at: now + pause,
        };
    }

    /// A probe has told nothing; the next one comes as late again.
    pub(super) fn probe_later(&mut self, now: Instant) {
        if let Standing::Ejected {
            pause, probe_at, ..
        } = &mut self.standing
        {
            *probe_at = now + *pause;
        }
    }

    pub(super) fn probe_now(&mut self, now: Instant) {
        if let Standing::Ejected { probe_at, .. } = &mut self.standing {
            *probe_at = now;
        }
    }
}
