//! When a record is signed anew, and which service is told, as a value.

use std::time::{Duration, Instant};

pub use sealmoot_rpc::binding::cache::Moment;
use sealmoot_rpc::pause::{doubled, half_to_whole};

use crate::limits::{CLOCK_LOOK, PUBLISH_RETRY_FIRST, PUBLISH_RETRY_MAX};

/// What a publisher has to do, and until when nothing.
#[derive(Debug)]
pub struct Renewal {
    validity: Duration,
    /// Of the newest record. Zero before the first.
    serial_last: u64,
    /// The highest that a service was found to have.
    floor: u64,
    /// When the next record is signed; none: at once.
    renew_at: Option<Instant>,
    /// Until when the newest counts, by the clock that readers go by.
    valid_until_ms: u64,
    services: Vec<Service>,
}

#[derive(Clone, Debug)]
struct Service {
    /// What the service has still to be told of the newest record.
    standing: Owed,
    failures: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Owed {
    /// From this moment on.
    Due(Instant),
    /// It is being told.
    UnderWay,
    /// It has taken it.
    Nothing,
}

/// What to do next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Step {
    /// Sign a record with these; attempts that are under way are out of date.
    Sign {
        /// Its serial.
        serial: u64,
        /// Until when it counts, in milliseconds since 1970.
        valid_until_ms: u64,
    },
    /// Publish the newest record; ends with [`Renewal::ended`].
    Publish {
        /// Where, by index.
        service: usize,
        /// Its serial.
        serial: u64,
    },
    /// Nothing, until then or until something happens.
    Wait {
        /// When to ask again.
        until: Instant,
    },
}

/// How an attempt at a service ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It has the record.
    Taken,
    /// It has not.
    Failed,
    /// It has another one, signed by the same key.
    Behind {
        /// The serial of that.
        floor: u64,
    },
}

impl Renewal {
    /// Nothing has been signed; that is due at once.
    #[must_use]
    pub fn new(services: usize, validity: Duration) -> Self {
        let service = Service {
            standing: Owed::Nothing,
            failures: 0,
        };
        Self {
            validity,
            serial_last: 0,
            floor: 0,
            renew_at: None,
            valid_until_ms: u64::MAX,
            services: vec![service; services],
        }
    }

    /// What to do now.
    pub fn step(&mut self, now: Moment) -> Step {
        let renew_at = match self.renew_at {
            Some(at) if now.instant < at && !self.is_old(now.unix_ms) => at,
            _ => match self.sign(now) {
                Ok(step) => return step,
                Err(CannotSign) => {
                    let later = now.instant + PUBLISH_RETRY_MAX;
                    *self.renew_at.insert(later)
                }
            },
        };
        let is_due = |service: &Service| match service.standing {
            Owed::Due(at) => now.instant >= at,
            _ => false,
        };
        if let Some(index) = self.services.iter().position(is_due) {
            self.services[index].standing = Owed::UnderWay;
            return Step::Publish {
                service: index,
                serial: self.serial_last,
            };
        }
        let retries = self
            .services
            .iter()
            .filter_map(|service| match service.standing {
                Owed::Due(at) => Some(at),
                _ => None,
            });
        // Not for long without a look at the clock: it may be set, or have gone on
        // while the machine slept, when instants did not.
        let until = retries.fold(renew_at.min(now.instant + CLOCK_LOOK), Instant::min);
        Step::Wait { until }
    }

    /// What is published has changed: a new record is due at once.
    pub fn renew(&mut self) {
        self.renew_at = None;
    }

    /// An attempt has ended. `random` is uniform over all `u64`. False of one that
    /// carried an older record: it says nothing.
    pub fn ended(
        &mut self,
        index: usize,
        serial: u64,
        outcome: Outcome,
        now: Instant,
        random: u64,
    ) -> bool {
        if serial != self.serial_last {
            return false;
        }
        let Some(service) = self.services.get_mut(index) else {
            return false;
        };
        match outcome {
            Outcome::Taken => {
                service.standing = Owed::Nothing;
                service.failures = 0;
            }
            Outcome::Failed => service.failed(now, random),
            Outcome::Behind { floor } => {
                service.failed(now, random);
                // Our clock runs behind that of whoever signed last. An older one
                // than ours says only that the service is confused.
                if floor >= self.serial_last {
                    self.floor = floor;
                    self.renew_at = None;
                }
            }
        }
        true
    }

    /// Whether a third of the validity is over by the clock that readers go by.
    /// Signed by a clock that was behind, a record may have expired when it came.
    fn is_old(&self, unix_ms: u64) -> bool {
        let fresh_ms = u64::try_from((self.validity - self.validity / 3).as_millis());
        let left_ms = self.valid_until_ms.saturating_sub(unix_ms);
        // Before 1970 nothing can be signed.
        unix_ms != u64::MAX && left_ms < fresh_ms.unwrap_or(u64::MAX)
    }

    fn sign(&mut self, now: Moment) -> Result<Step, CannotSign> {
        // A clock before 1970 reads as the end of all time: a record with such a
        // serial would be the last of its name.
        if now.unix_ms == u64::MAX {
            return Err(CannotSign);
        }
        let highest = self.serial_last.max(self.floor);
        let next = highest.checked_add(1).ok_or(CannotSign)?;
        let serial = next.max(now.unix_ms);
        let validity_ms = u64::try_from(self.validity.as_millis()).unwrap_or(u64::MAX);
        let valid_until_ms = now.unix_ms.saturating_add(validity_ms);
        self.serial_last = serial;
        self.valid_until_ms = valid_until_ms;
        self.renew_at = Some(now.instant + self.validity / 3);
        for service in &mut self.services {
            service.standing = Owed::Due(now.instant);
            service.failures = 0;
        }
        Ok(Step::Sign {
            serial,
            valid_until_ms,
        })
    }
}

/// The clock is wrong, or there is no higher serial.
struct CannotSign;

impl Service {
    /// Left alone for between half of a pause and the whole, so that all who lost
    /// one service do not come back in step.
    fn failed(&mut self, now: Instant, random: u64) {
        let pause = doubled(PUBLISH_RETRY_FIRST, self.failures, PUBLISH_RETRY_MAX);
        self.failures = self.failures.saturating_add(1);
        self.standing = Owed::Due(now + half_to_whole(pause, random));
    }
}

#[cfg(test)]
mod tests;
