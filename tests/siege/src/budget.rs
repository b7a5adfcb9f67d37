//! What is allowed, judged as values.

/// Resident memory of the server, at any time.
pub(crate) const MEMORY_KIB_MAX: u64 = 64 * 1024;

/// p99 of honest calls under siege, as a multiple of that at rest.
pub(crate) const P99_RATIO_MAX: f64 = 2.0;

/// Below it the ratio is not looked at. A call on the server's one thread may
/// wait for one handshake (0.2 to 0.3 ms), and on two cores shared by server,
/// honest clients and attackers who runs first makes half a millisecond more:
/// both are multiples of an idle machine's p99, and neither is felt.
pub(crate) const P99_FLOOR_US: u64 = 2_000;

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

/// The median over windows of a percentile: one window in which the machine did
/// something else does not decide.
pub(crate) fn median_percentile_us<'a>(
    windows: impl IntoIterator<Item = &'a Window>,
    percent: usize,
) -> Option<u64> {
    let mut values: Vec<_> = windows
        .into_iter()
        .filter_map(|window| window.percentile_us(percent))
        .collect();
    values.sort_unstable();
    values.get(values.len().saturating_sub(1) / 2).copied()
}

/// What one siege came to.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Measured {
    pub(crate) p99_rest_us: Option<u64>,
    pub(crate) p99_siege_us: Option<u64>,
    pub(crate) peak_kib: u64,
    pub(crate) calls_failed: u64,
    pub(crate) connects: usize,
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
    match (measured.p99_rest_us, measured.p99_siege_us) {
        (Some(rest), Some(siege)) => {
            if siege > P99_FLOOR_US && ratio(siege, rest) > P99_RATIO_MAX {
                broken.push(Broken::Latency);
            }
        }
        _ => broken.push(Broken::NoMeasure),
    }
    if measured.peak_kib == 0 || measured.connects == 0 {
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

#[expect(clippy::cast_precision_loss, reason = "latencies are small")]
pub(crate) fn ratio(siege: u64, rest: u64) -> f64 {
    siege as f64 / rest.max(1) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOUND: Measured = Measured {
        p99_rest_us: Some(1_500),
        p99_siege_us: Some(3_000),
        peak_kib: MEMORY_KIB_MAX - 1,
        calls_failed: 0,
        connects: 10,
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
                    p99_siege_us: Some(3_001),
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
            (
                Measured {
                    p99_siege_us: None,
                    ..SOUND
                },
                Broken::NoMeasure,
            ),
            (
                Measured {
                    connects: 0,
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
    fn below_the_floor_the_ratio_is_not_looked_at() {
        let measured = Measured {
            p99_rest_us: Some(10),
            p99_siege_us: Some(P99_FLOOR_US),
            ..SOUND
        };
        assert_eq!(judge(&measured), []);
    }

    #[test]
    fn percentiles_are_samples() {
        let window = Window::new((1..=200).rev().collect());
        assert_eq!(window.percentile_us(50), Some(100));
        assert_eq!(window.percentile_us(99), Some(198));
        assert_eq!(window.percentile_us(100), window.max_us());
        assert_eq!(Window::new(vec![5]).percentile_us(99), Some(5));
        assert_eq!(Window::default().percentile_us(99), None);
    }

    #[test]
    fn one_bad_window_does_not_decide() {
        let windows = [vec![1], vec![1_000_000], vec![2]].map(Window::new);
        assert_eq!(median_percentile_us(&windows, 99), Some(2));
        assert_eq!(median_percentile_us(&[], 99), None);
    }
}
