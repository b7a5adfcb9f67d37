//! What one hash costs, and how much somebody else's record may ask for.

use core::time::Duration;

use argon2::Params;

use super::{Arena, PasswordError, argon2id};

/// Most memory that a stored record may ask for by default, in KiB (1 GiB).
pub const MEMORY_KIB_MAX: u32 = 1024 * 1024;
/// Most passes that a stored record may ask for by default.
pub const PASSES_MAX: u32 = 16;
/// Most lanes that a stored record may ask for by default.
pub const LANES_MAX: u32 = 16;
/// Most memory times passes that a stored record may ask for by default, in KiB: two
/// gibibytes filled once, some two to three seconds of one core.
pub const WORK_KIB_MAX: u64 = 2 * 1024 * 1024;

/// What one hash costs: `passes` over `memory_kib` KiB in `lanes` lanes.
///
/// ```
/// use sealmoot_crypto::password::Cost;
/// assert_eq!(Cost::named("rfc9106-low"), Some(Cost::RFC_9106_LOW_MEMORY));
/// assert_eq!(Cost::SERVER.name(), Some("server"));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cost {
    /// Memory in KiB.
    pub memory_kib: u32,
    /// Passes over that memory.
    pub passes: u32,
    /// Lanes.
    pub lanes: u32,
}

impl Cost {
    /// OWASP's minimum for Argon2id: 19 MiB, 2 passes, 1 lane.
    ///
    /// Source: OWASP Password Storage Cheat Sheet, "Argon2id".
    pub const OWASP: Self = Self {
        memory_kib: 19 * 1024,
        passes: 2,
        lanes: 1,
    };
    /// RFC 9106 section 4, first recommendation: 2 GiB, 1 pass, 4 lanes. For one
    /// secret on one's own machine. [`Limits::DEFAULT`] does not admit it: records
    /// are read with [`super::PasswordRecord::from_phc_within`] and
    /// [`Limits::OWN`], keys are stretched with [`super::stretch_within`].
    pub const RFC_9106_HIGH_MEMORY: Self = Self {
        memory_kib: 2 * 1024 * 1024,
        passes: 1,
        lanes: 4,
    };
    /// RFC 9106 section 4, second recommendation: 64 MiB, 3 passes, 4 lanes. For
    /// what is opened rarely: a root key, a user's key.
    pub const RFC_9106_LOW_MEMORY: Self = Self {
        memory_kib: 64 * 1024,
        passes: 3,
        lanes: 4,
    };
    /// For servers: 32 MiB, 2 passes, 1 lane. Two thirds more memory than
    /// [`Cost::OWASP`] over the same passes.
    ///
    /// Measured with a kept [`Arena`]: 19 ms of one core (`OWASP`: 10 ms; 64 MiB in one
    /// pass: 21 ms) on two virtual cores with AVX2. In fresh memory it takes 25 ms.
    pub const SERVER: Self = Self {
        memory_kib: 32 * 1024,
        passes: 2,
        lanes: 1,
    };

    const NAMED: [(&'static str, Self); 4] = [
        ("owasp", Self::OWASP),
        ("rfc9106-high", Self::RFC_9106_HIGH_MEMORY),
        ("rfc9106-low", Self::RFC_9106_LOW_MEMORY),
        ("server", Self::SERVER),
    ];

    /// The profile of that name: `owasp`, `rfc9106-high`, `rfc9106-low`, `server`.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::NAMED
            .iter()
            .find(|(known, _)| *known == name)
            .map(|(_, cost)| *cost)
    }

    /// The name of this profile, or `None` when it is none.
    #[must_use]
    pub fn name(self) -> Option<&'static str> {
        Self::NAMED
            .iter()
            .find(|(_, known)| *known == self)
            .map(|(name, _)| *name)
    }

    /// The cost of one lane in `memory_kib` KiB with as many passes as fit `target` on
    /// this machine: at least one, and no more than [`Limits::DEFAULT`] admits.
    ///
    /// `now` is a monotonic clock, since any moment; this crate reads none itself.
    /// Three hashes of one pass are made and the fastest counts: another program can
    /// only make one slower.
    ///
    /// # Errors
    /// [`PasswordError::TooCostly`], [`PasswordError::InvalidCost`],
    /// [`PasswordError::OutOfMemory`].
    ///
    /// ```
    /// use sealmoot_crypto::password::{Cost, Limits};
    /// use std::time::{Duration, Instant};
    /// let start = Instant::now();
    /// let cost = Cost::measured(Duration::from_millis(5), 1024, || start.elapsed())?;
    /// assert!(Limits::DEFAULT.admits(cost));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn measured(
        target: Duration,
        memory_kib: u32,
        mut now: impl FnMut() -> Duration,
    ) -> Result<Self, PasswordError> {
        let limits = &Limits::DEFAULT;
        let mut cost = Self {
            memory_kib,
            passes: 1,
            lanes: 1,
        };
        let mut arena = Arena::default();
        let mut fastest = Duration::MAX;
        for _ in 0..3 {
            let start = now();
            argon2id(b"", &[0; 16], cost, limits, &mut arena)?;
            fastest = fastest.min(now().saturating_sub(start));
        }
        let fitting = target.as_nanos() / fastest.as_nanos().max(1);
        let admitted = (limits.work_kib / u64::from(memory_kib)).min(u64::from(limits.passes));
        cost.passes = u32::try_from(fitting.clamp(1, u128::from(admitted)))
            .expect("the limit of passes fits 32 bits");
        Ok(cost)
    }

    pub(super) fn params(
        self,
        limits: &Limits,
        output_length: usize,
    ) -> Result<Params, PasswordError> {
        if !limits.admits(self) {
            return Err(PasswordError::TooCostly);
        }
        Params::new(
            self.memory_kib,
            self.passes,
            self.lanes,
            Some(output_length),
        )
        .map_err(|_| PasswordError::InvalidCost)
    }
}

/// How costly a hash may be that somebody else's bytes ask for.
///
/// Memory and passes have a common limit besides: 1 GiB alone may be wanted, and 16
/// passes alone, but 16 passes over 1 GiB would keep a core busy for twenty seconds.
///
/// ```
/// use sealmoot_crypto::password::{Cost, Limits};
/// assert!(Limits::DEFAULT.admits(Cost::SERVER));
/// assert!(!Limits::DEFAULT.admits(Cost::RFC_9106_HIGH_MEMORY));
/// assert!(Limits::OWN.admits(Cost::RFC_9106_HIGH_MEMORY));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Most memory in KiB.
    pub memory_kib: u32,
    /// Most passes.
    pub passes: u32,
    /// Most lanes.
    pub lanes: u32,
    /// Most memory in KiB times passes.
    pub work_kib: u64,
}

impl Limits {
    /// For records and boxes that come from outside.
    pub const DEFAULT: Self = Self {
        memory_kib: MEMORY_KIB_MAX,
        passes: PASSES_MAX,
        lanes: LANES_MAX,
        work_kib: WORK_KIB_MAX,
    };
    /// For what the program itself asks for, or authenticated before it read it.
    pub const OWN: Self = Self {
        memory_kib: 2 * MEMORY_KIB_MAX,
        work_kib: 2 * WORK_KIB_MAX,
        ..Self::DEFAULT
    };

    /// Whether `cost` is within every limit.
    #[must_use]
    pub fn admits(&self, cost: Cost) -> bool {
        cost.memory_kib <= self.memory_kib
            && cost.passes <= self.passes
            && cost.lanes <= self.lanes
            && u64::from(cost.memory_kib) * u64::from(cost.passes) <= self.work_kib
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self::DEFAULT
    }
}

#[cfg(test)]
mod tests {
    use std::prelude::v1::*;

    use super::*;

    const CHEAP: Cost = Cost {
        memory_kib: 64,
        passes: 1,
        lanes: 1,
    };

    #[test]
    fn every_profile_has_one_name() {
        for (name, cost) in Cost::NAMED {
            assert_eq!(Cost::named(name), Some(cost));
            assert_eq!(cost.name(), Some(name));
            assert!(Limits::OWN.admits(cost), "{name}");
        }
        assert_eq!(Cost::named("OWASP"), None);
        assert_eq!(Cost::named(""), None);
        assert_eq!(CHEAP.name(), None);
    }

    #[test]
    fn each_limit_refuses_alone() {
        let limits = Limits {
            memory_kib: 100,
            passes: 10,
            lanes: 4,
            work_kib: 500,
        };
        let cost = |memory_kib, passes, lanes| Cost {
            memory_kib,
            passes,
            lanes,
        };
        for admitted in [cost(100, 5, 4), cost(50, 10, 4), cost(100, 5, 1)] {
            assert!(limits.admits(admitted), "{admitted:?}");
        }
        for refused in [
            cost(101, 1, 1),
            cost(8, 11, 1),
            cost(64, 1, 5),
            cost(100, 6, 1),
            cost(u32::MAX, u32::MAX, u32::MAX),
        ] {
            assert!(!limits.admits(refused), "{refused:?}");
        }
    }

    #[test]
    fn measured_passes_follow_the_clock_and_stop_at_the_limits() {
        let passes = |target_ms: u64, memory_kib: u32| {
            // Every reading is 2 ms after the one before: each hash takes 2 ms.
            let mut read = 0;
            let now = || {
                read += 2;
                Duration::from_millis(read)
            };
            Cost::measured(Duration::from_millis(target_ms), memory_kib, now)
                .map(|cost| cost.passes)
        };
        assert_eq!(passes(0, 64).expect("measured"), 1);
        assert_eq!(passes(1, 64).expect("measured"), 1);
        assert_eq!(passes(7, 64).expect("measured"), 3);
        assert_eq!(passes(20, 64).expect("measured"), 10);
        assert_eq!(passes(1_000_000, 64).expect("measured"), PASSES_MAX);
        assert!(matches!(passes(7, 0), Err(PasswordError::InvalidCost)));
        assert!(matches!(
            passes(7, MEMORY_KIB_MAX + 1),
            Err(PasswordError::TooCostly)
        ));
    }

    #[test]
    fn a_clock_that_stands_still_or_goes_back_is_survived() {
        let still = Cost::measured(Duration::from_millis(1), 64, || Duration::ZERO);
        assert_eq!(still.expect("measured").passes, PASSES_MAX);
        let mut left = 100;
        let back = Cost::measured(Duration::from_millis(1), 64, || {
            left -= 1;
            Duration::from_secs(left)
        });
        assert_eq!(back.expect("measured").passes, PASSES_MAX);
    }
}
