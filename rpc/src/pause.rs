//! How long to rest before something is tried again: longer each time, and drawn,
//! so that all who failed together do not come back together.

use std::time::Duration;

use sealmoot_crypto::secret::SecretArray;

/// min(`max`, `first` * 2^`times`).
#[must_use]
pub fn doubled(first: Duration, times: u32, max: Duration) -> Duration {
    let factor = 1_u32.checked_shl(times).unwrap_or(u32::MAX);
    first.saturating_mul(factor).min(max)
}

/// Between half of `pause` and the whole: `pause` * (1 + `random` / 2^64) / 2.
/// `random` is uniform over all `u64`.
#[must_use]
pub fn half_to_whole(pause: Duration, random: u64) -> Duration {
    pause / 2 + share_of(pause / 2, random)
}

/// Uniform over all `u64`, from the system's source. Without one the highest, with
/// which every rest is the longest.
#[must_use]
pub fn random() -> u64 {
    SecretArray::<8>::random().map_or(u64::MAX, |bytes| u64::from_le_bytes(*bytes.expose()))
}

/// `random` / 2^64 of it.
pub(crate) fn share_of(duration: Duration, random: u64) -> Duration {
    let nanos = duration.as_nanos().min(u128::from(u64::MAX));
    let share = (nanos * u128::from(random)) >> 64;
    Duration::from_nanos(u64::try_from(share).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIRST: Duration = Duration::from_millis(20);
    const MAX: Duration = Duration::from_millis(200);

    #[test]
    fn pauses_double_up_to_the_longest_and_do_not_overflow() {
        let pauses = [0, 1, 3, 4, 31, 32, 64, u32::MAX].map(|times| doubled(FIRST, times, MAX));
        let milliseconds = pauses.map(|pause| pause.as_millis());
        assert_eq!(milliseconds, [20, 40, 160, 200, 200, 200, 200, 200]);
        assert_eq!(doubled(Duration::MAX, 5, Duration::MAX), Duration::MAX);
        assert_eq!(doubled(FIRST, 0, FIRST / 2), FIRST / 2);
    }

    #[test]
    fn pauses_stay_between_half_and_whole() {
        assert_eq!(half_to_whole(MAX, 0), MAX / 2);
        assert_eq!(half_to_whole(MAX, 1 << 63), MAX * 3 / 4);
        let longest = half_to_whole(MAX, u64::MAX);
        assert!(longest < MAX && longest > MAX - Duration::from_micros(1));
        for _ in 0..1_000 {
            let pause = half_to_whole(MAX, random());
            assert!((MAX / 2..MAX).contains(&pause), "{pause:?}");
        }
    }
}
