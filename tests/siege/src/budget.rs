//! What is allowed, judged as values.

/// Resident memory of the server, at any time.
pub(crate) const MEMORY_KIB_MAX: u64 = 64 * 1024;

/// p99 of honest calls under siege, as a multiple of that at rest: the bar.
/// Missing it is said; it fails a run that is strict.
pub(crate) const P99_RATIO_MAX: f64 = 2.0;

/// Missing it by so much fails every run: calls then wait for something that
/// holds the server's thread.
pub(crate) const P99_FATAL_US: u64 = 10_000;

/// As long as p99 at rest is no more than this. On a machine that others use
/// too it was seen between 0.2 and 45 ms, and says nothing of the server then.
pub(crate) const P99_REST_QUIET_US: u64 = 1_000;

/// Fewer latencies than this show no p99.
pub(crate) const CALLS_LEAST: usize = 300;

/// How long a connection may outlive the handshake's deadline before it is
/// seen gone, on a busy machine.
pub(crate) const DEADLINE_MS_MAX: u64 = 10_000 + 1_500;

/// Latencies of one window, in ascending order.
#[derive(Clone, Debug, Default)]
pub(crate) struct Window {
    sorted_us: Vec<u64>,
}

impl Window {
    pub(crate) fn new(mut samples_us: Vec<u64>) -> Self {
        samples_us.sort_unstable();
        Self {
            sorted_us: samples_us,
        }
    }

    pub(crate) fn count(&self) -> usize {
        self.sorted_us.len()
    }

    /// The smallest latency that at least `percent` of the samples do not
    /// exceed; nothing of no samples.
    pub(crate) fn percentile_us(&self, percent: usize) -> Option<u64> {
        let rank = (self.sorted_us.len() * percent).div_ceil(100);
        self.sorted_us.get(rank.max(1) - 1).copied()
    }

    pub(crate) fn max_us(&self) -> Option<u64> {
        self.sorted_us.last().copied()
    }

    /// The 99th percentile, if there are enough samples to tell.
    pub(crate) fn p99_us(&self) -> Option<u64> {
        (self.count() >= CALLS_LEAST)
            .then(|| self.percentile_us(99))
            .flatten()
    }

    /// All samples of several windows.
    pub(crate) fn joined<'a>(windows: impl IntoIterator<Item = &'a Self>) -> Self {
        Self::new(
            windows
                .into_iter()
                .flat_map(|window| window.sorted_us.iter().copied())
                .collect(),
        )
    }
}

/// What one siege came to.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Measured {
    /// Nothing where the host took the machine away too often to say.
    pub(crate) p99_rest_us: Option<u64>,
    pub(crate) p99_siege_us: Option<u64>,
    /// Calls that were answered under siege, also those that say nothing.
    pub(crate) calls: usize,
    pub(crate) peak_kib: u64,
    pub(crate) calls_failed: u64,
    /// Newcomers from known sources that were welcomed. One from elsewhere may
    /// wait for longer than a siege lasts; it is counted when its wait ends.
    pub(crate) connects_known: usize,
    pub(crate) connects_failed: u64,
    /// For attacks about waiting: the longest life of an attacker's connection.
    pub(crate) longest_ms: Option<u64>,
}

/// A budget that does not hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Broken {
    Memory,
    Latency,
    Calls,
    Connects,
    Deadline,
    /// Nothing was measured, so nothing was shown.
    NoMeasure,
}

/// Every budget that `measured` breaks.
pub(crate) fn judge(measured: &Measured) -> Vec<Broken> {
    let mut broken = Vec::new();
    if measured.peak_kib >= MEMORY_KIB_MAX {
        broken.push(Broken::Memory);
    }
    if let (Some(rest), Some(siege)) = (measured.p99_rest_us, measured.p99_siege_us)
        && rest <= P99_REST_QUIET_US
        && siege > P99_FATAL_US
    {
        broken.push(Broken::Latency);
    }
    if measured.peak_kib == 0 || measured.connects_known == 0 || measured.calls == 0 {
        broken.push(Broken::NoMeasure);
    }
    if measured.calls_failed > 0 {
        broken.push(Broken::Calls);
    }
    if measured.connects_failed > 0 {
        broken.push(Broken::Connects);
    }
    if measured
        .longest_ms
        .is_some_and(|longest| longest > DEADLINE_MS_MAX)
    {
        broken.push(Broken::Deadline);
    }
    broken
}

/// Whether p99 of honest calls was within the bar, however small it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Bar {
    Met,
    Missed,
    /// The host took the machine away too often.
    Unmeasured,
}

pub(crate) fn bar(measured: &Measured) -> Bar {
    match (measured.p99_rest_us, measured.p99_siege_us) {
        (Some(rest), Some(siege)) if ratio(siege, rest) > P99_RATIO_MAX => Bar::Missed,
        (Some(_), Some(_)) => Bar::Met,
        _ => Bar::Unmeasured,
    }
}

#[expect(clippy::cast_precision_loss, reason = "latencies are small")]
pub(crate) fn ratio(siege: u64, rest: u64) -> f64 {
    siege as f64 / rest.max(1) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOUND: Measured = Measured {
        p99_rest_us: Some(6_000),
        p99_siege_us: Some(12_000),
        calls: 1_000,
        peak_kib: MEMORY_KIB_MAX - 1,
        calls_failed: 0,
        connects_known: 10,
        connects_failed: 0,
        longest_ms: Some(DEADLINE_MS_MAX),
    };

    #[test]
    fn what_is_just_within_the_budgets_is_sound() {
        assert_eq!(judge(&SOUND), []);
    }

    #[test]
    fn each_budget_is_named_when_it_breaks() {
        let cases = [
            (
                Measured {
                    peak_kib: MEMORY_KIB_MAX,
                    ..SOUND
                },
                Broken::Memory,
            ),
            (
                Measured {
                    p99_rest_us: Some(P99_REST_QUIET_US),
                    p99_siege_us: Some(P99_FATAL_US + 1),
                    ..SOUND
                },
                Broken::Latency,
            ),
            (
                Measured {
                    calls_failed: 1,
                    ..SOUND
                },
                Broken::Calls,
            ),
            (
                Measured {
                    connects_failed: 1,
                    ..SOUND
                },
                Broken::Connects,
            ),
            (
                Measured {
                    longest_ms: Some(DEADLINE_MS_MAX + 1),
                    ..SOUND
                },
                Broken::Deadline,
            ),
            (Measured { calls: 0, ..SOUND }, Broken::NoMeasure),
            (
                Measured {
                    connects_known: 0,
                    ..SOUND
                },
                Broken::NoMeasure,
            ),
            (
                Measured {
                    peak_kib: 0,
                    ..SOUND
                },
                Broken::NoMeasure,
            ),
        ];
        for (measured, broken) in cases {
            assert_eq!(judge(&measured), [broken], "{measured:?}");
        }
    }

    #[test]
    fn a_latency_that_misses_the_bar_by_little_or_without_quiet_breaks_no_budget() {
        for (rest, siege) in [
            (10, P99_FATAL_US),
            (P99_REST_QUIET_US + 1, 100 * P99_FATAL_US),
        ] {
            let missed = Measured {
                p99_rest_us: Some(rest),
                p99_siege_us: Some(siege),
                ..SOUND
            };
            assert_eq!(judge(&missed), []);
            assert_eq!(bar(&missed), Bar::Missed);
        }
        assert_eq!(bar(&SOUND), Bar::Met);
    }

    #[test]
    fn a_machine_that_was_taken_away_shows_nothing() {
        for (p99_rest_us, p99_siege_us) in [(None, Some(50_000)), (Some(1), None), (None, None)] {
            let measured = Measured {
                p99_rest_us,
                p99_siege_us,
                ..SOUND
            };
            assert_eq!(bar(&measured), Bar::Unmeasured);
            assert_eq!(judge(&measured), []);
        }
    }

    #[test]
    fn percentiles_are_samples() {
        let window = Window::new((1..=200).rev().collect());
        assert_eq!(window.percentile_us(50), Some(100));
        assert_eq!(window.percentile_us(99), Some(198));
        assert_eq!(window.percentile_us(100), window.max_us());
        assert_eq!(Window::new(vec![5]).percentile_us(99), Some(5));
        assert_eq!(Window::default().percentile_us(99), None);
        assert_eq!(Window::new(vec![1; CALLS_LEAST - 1]).p99_us(), None);
        assert_eq!(Window::new(vec![1; CALLS_LEAST]).p99_us(), Some(1));
    }
}
