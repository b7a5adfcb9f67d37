//! What calls took lately.

use std::collections::VecDeque;
use std::time::Duration;

use crate::limits::{HEDGE_SAMPLES_MAX, HEDGE_SAMPLES_MIN};

/// The last [`HEDGE_SAMPLES_MAX`] latencies of successful calls, in order of time
/// and in order of length.
#[derive(Clone, Debug, Default)]
pub struct Latencies {
    recent: VecDeque<Duration>,
    sorted: Vec<Duration>,
}

impl Latencies {
    /// Takes one; the oldest goes when there are too many. Costs a move of at
    /// most [`HEDGE_SAMPLES_MAX`] values.
    pub fn record(&mut self, latency: Duration) {
        if self.recent.len() >= HEDGE_SAMPLES_MAX
            && let Some(oldest) = self.recent.pop_front()
            && let Ok(index) = self.sorted.binary_search(&oldest)
        {
            self.sorted.remove(index);
        }
        self.recent.push_back(latency);
        let index = self.sorted.partition_point(|kept| *kept <= latency);
        self.sorted.insert(index, latency);
    }

    /// The smallest latency that at least 95 in 100 did not exceed; `None` before
    /// [`HEDGE_SAMPLES_MIN`] are known.
    pub fn p95(&self) -> Option<Duration> {
        if self.sorted.len() < HEDGE_SAMPLES_MIN {
            return None;
        }
        let rank = (self.sorted.len() * 95).div_ceil(100);
        self.sorted.get(rank - 1).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(count: u64) -> Duration {
        Duration::from_millis(count)
    }

    #[test]
    fn too_few_latencies_say_nothing() {
        let mut latencies = Latencies::default();
        for _ in 1..HEDGE_SAMPLES_MIN {
            latencies.record(ms(1));
            assert_eq!(latencies.p95(), None);
        }
        latencies.record(ms(1));
        assert_eq!(latencies.p95(), Some(ms(1)));
    }

    #[test]
    fn it_is_the_nearest_rank() {
        let mut latencies = Latencies::default();
        for count in (1..=100).rev() {
            latencies.record(ms(count));
        }
        assert_eq!(latencies.p95(), Some(ms(95)));
    }

    #[test]
    fn old_latencies_are_forgotten_and_memory_is_bounded() {
        let mut latencies = Latencies::default();
        for _ in 0..10 * HEDGE_SAMPLES_MAX {
            latencies.record(ms(900));
        }
        for _ in 0..HEDGE_SAMPLES_MAX {
            latencies.record(ms(3));
        }
        assert_eq!(latencies.p95(), Some(ms(3)));
        assert_eq!(latencies.sorted.len(), HEDGE_SAMPLES_MAX);
        assert_eq!(latencies.recent.len(), HEDGE_SAMPLES_MAX);
    }
}
