//! Subjects measured in turns.

use std::time::{Duration, Instant};

/// Something that can be timed.
pub struct Subject<'a> {
    /// How many operations one call of `run` times.
    operations: u32,
    /// Prepares, then does the operations, and returns how long the latter took.
    run: Box<dyn FnMut() -> Duration + 'a>,
}

impl<'a> Subject<'a> {
    /// A subject whose preparation is left out of the time: `run` takes its own
    /// time around `operations` operations.
    pub fn prepared(operations: u32, run: impl FnMut() -> Duration + 'a) -> Self {
        Self {
            operations,
            run: Box::new(run),
        }
    }

    /// A subject that needs no preparation.
    pub fn plain(operations: u32, mut operation: impl FnMut() + 'a) -> Self {
        Self::prepared(operations, move || {
            let started = Instant::now();
            for _ in 0..operations {
                operation();
            }
            started.elapsed()
        })
    }
}

/// Nanoseconds an operation, one figure a round.
#[derive(Debug, Clone)]
pub struct Samples(Vec<f64>);

impl Samples {
    /// Takes figures in the order of their rounds.
    #[must_use]
    pub fn new(nanoseconds: Vec<f64>) -> Self {
        Self(nanoseconds)
    }

    /// The best round: what the work costs when nothing disturbs it.
    #[must_use]
    pub fn min(&self) -> f64 {
        self.0.iter().copied().fold(f64::INFINITY, f64::min)
    }

    /// The middle round.
    #[must_use]
    pub fn median(&self) -> f64 {
        quantile(&self.0, 0.5)
    }

    /// The tenth and the ninetieth percentile of `self / other`, taken round by
    /// round: a disturbance longer than a round strikes both sides of one ratio.
    #[must_use]
    pub fn ratio_spread(&self, other: &Self) -> (f64, f64) {
        let ratios: Vec<f64> = self
            .0
            .iter()
            .zip(&other.0)
            .map(|(left, right)| left / right)
            .collect();
        (quantile(&ratios, 0.1), quantile(&ratios, 0.9))
    }
}

fn quantile(values: &[f64], at: f64) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let last = sorted.len().saturating_sub(1);
    sorted
        .get((last as f64 * at).round() as usize)
        .copied()
        .unwrap_or(f64::NAN)
}

/// How long and how often to measure.
#[derive(Debug, Clone, Copy)]
pub struct Effort {
    /// Rounds, in each of which every subject has its turn.
    pub rounds: usize,
    /// How long one turn lasts at least. Shorter than a time slice of the kernel,
    /// so that among many turns some are undisturbed.
    pub turn: Duration,
}

/// Warms every subject up, then measures them in turns, beginning each round
/// with another one.
pub fn in_turns(effort: Effort, subjects: &mut [Subject<'_>]) -> Vec<Samples> {
    let repeats: Vec<u32> = subjects
        .iter_mut()
        .map(|subject| {
            let started = Instant::now();
            let mut best = Duration::MAX;
            let mut calls = 0;
            while calls < 3 || started.elapsed() < effort.turn * 20 {
                best = best.min((subject.run)());
                calls += 1;
            }
            let best = best.max(Duration::from_nanos(1));
            let repeats = effort.turn.as_nanos().div_ceil(best.as_nanos());
            u32::try_from(repeats).unwrap_or(u32::MAX)
        })
        .collect();
    let mut samples = vec![Vec::with_capacity(effort.rounds); subjects.len()];
    for round in 0..effort.rounds {
        for turn in 0..subjects.len() {
            let index = (round + turn) % subjects.len();
            let subject = &mut subjects[index];
            let mut total = Duration::ZERO;
            for _ in 0..repeats[index] {
                total += (subject.run)();
            }
            let operations = f64::from(repeats[index]) * f64::from(subject.operations);
            samples[index].push(total.as_nanos() as f64 / operations);
        }
    }
    samples.into_iter().map(Samples).collect()
}

/// Bytes that are the same in every run: SplitMix64 from a fixed seed.
#[must_use]
pub fn data(length: usize) -> Vec<u8> {
    let mut state = 0x5ea1_0000_0000_0007_u64;
    let mut bytes = Vec::with_capacity(length + 8);
    while bytes.len() < length {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut word = state;
        word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        bytes.extend_from_slice(&(word ^ (word >> 31)).to_le_bytes());
    }
    bytes.truncate(length);
    bytes
}

/// The sizes at which records and boxes are measured.
pub const SIZES: [(&str, usize); 3] = [("1 KiB", 1 << 10), ("16 KiB", 1 << 14), ("1 MiB", 1 << 20)];
