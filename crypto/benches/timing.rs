//! Whether what compares secrets takes time that depends on them.
//!
//! After Reparaz, Balasch, Verbauwhede, "dude, is my code constant time?" (DATE
//! 2017): measure two classes of input, one fixed and one random, in an order
//! drawn at random, and ask Welch's t-test whether their mean times differ.
//! `|t| < 5` finds nothing; it does not prove that there is nothing.
//!
//! The processor's cycle counter is out of reach without `unsafe`, so one
//! measurement is a batch of equal calls between two looks at the clock. Slow
//! measurements are mostly interruptions: the test is made on all of them and
//! again on those below each of several thresholds, which come from an earlier
//! sample of both classes together, so that neither class loses more than the
//! other for being itself. The largest `|t|` counts.
//!
//! Noise policy: a subject fails when it reaches 5 in three runs, one after
//! another, each with other random inputs. The control leaks on purpose; when it
//! is not seen by a wide margin the harness is blind and its other verdicts mean
//! nothing. Both end the process with exit code 1.
//!
//! `cargo bench -p sealmoot-crypto --bench timing [-- --samples N]`

use std::hint::black_box;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use sealmoot_crypto::digest::MacKey;
use sealmoot_crypto::password::{Arena, Cost, PasswordRecord};
use sealmoot_crypto::secret::{SecretArray, constant_time_equal};

/// Measurements of a subject in one run, unless the command line says otherwise.
const SAMPLES: usize = 1_000_000;
/// Fewer, for what takes a thousand times longer.
const SAMPLES_OF_SLOW: usize = 60_000;
/// What |t| must stay below.
const BOUND: f64 = 5.0;
/// What |t| of the control must exceed.
const BOUND_OF_CONTROL: f64 = 10.0 * BOUND;
/// How often a subject must fail, one run after another, to fail at all.
const RUNS_MAX: usize = 3;
/// How long a batch lasts at least: the clock's own step is some 20 ns.
const BATCH: Duration = Duration::from_nanos(400);
/// Inputs that are made ahead of their measurement.
const INPUTS_AHEAD: usize = 4096;
/// Measurements that only set the thresholds.
const CALIBRATION: usize = 4 * INPUTS_AHEAD;
/// How many thresholds there are.
const THRESHOLDS: usize = 12;

const LENGTH: usize = 32;
type Input = [u8; LENGTH];

struct Subject<'a> {
    name: &'static str,
    samples: usize,
    role: Role,
    /// The input of the fixed class.
    fixed: Input,
    call: Box<dyn FnMut(&Input) -> bool + 'a>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Role {
    /// Must not be seen to leak.
    Judged,
    /// Must be seen to leak.
    Control,
    /// Is shown and not judged.
    Information,
}

fn main() -> ExitCode {
    let samples = match samples_wanted() {
        Ok(samples) => samples,
        Err(message) => {
            eprintln!("{message}");
            return ExitCode::from(2);
        }
    };
    let mut random = SplitMix(0x5ea1);
    let secret = random.input();
    println!(
        "fixed against random, Welch's t, |t| < {BOUND} is good; at least {samples} samples\n\
         {:<58} {:>9} {:>6} {:>10} {:>12}  verdict",
        "subject", "samples", "batch", "|t|", "means differ"
    );
    let started = Instant::now();
    let mut good = true;
    for mut subject in subjects(secret, samples) {
        good &= judge(&mut subject, &mut random);
    }
    println!("took {:.1} s", started.elapsed().as_secs_f64());
    if good {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

fn samples_wanted() -> Result<usize, String> {
    let mut samples = SAMPLES;
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            // What cargo adds.
            "--bench" => {}
            "--samples" => {
                samples = arguments
                    .next()
                    .and_then(|text| text.parse().ok())
                    .filter(|samples| *samples >= 10_000)
                    .ok_or("--samples takes a number from 10000 upwards")?;
            }
            other => return Err(format!("unknown argument {other}; there is --samples N")),
        }
    }
    Ok(samples)
}

/// All of them, about a secret that an attacker would like to guess byte by byte.
fn subjects(secret: Input, samples: usize) -> Vec<Subject<'static>> {
    let token = SecretArray::from_bytes(secret);
    let key = MacKey::from_secret(&SecretArray::from_bytes(secret));
    let message = [7u8; 64];
    let tag = key.tag(&[&message]);
    let cheap = Cost {
        memory_kib: 8,
        passes: 1,
        lanes: 1,
    };
    let record = PasswordRecord::hash(&secret, cheap).expect("randomness");
    let mut arena = Arena::default();
    let judged = |name, fixed, call| Subject {
        name,
        samples,
        role: Role::Judged,
        fixed,
        call,
    };
    vec![
        Subject {
            role: Role::Control,
            ..judged(
                "control: a comparison that stops at a difference",
                all_but_last(secret),
                Box::new(move |offered| early_exit(&secret, offered)),
            )
        },
        judged(
            "constant_time_equal, 31 right bytes against random",
            all_but_last(secret),
            Box::new(move |offered| constant_time_equal(&secret, offered)),
        ),
        judged(
            "MacKey::tag and comparison, 31 right bytes against random",
            all_but_last(tag),
            Box::new(move |offered| constant_time_equal(&key.tag(&[&message]), offered)),
        ),
        judged(
            "password record's comparison, right hash against random",
            secret,
            Box::new(move |offered| constant_time_equal(offered, &secret)),
        ),
        judged(
            "session token, SecretArray::same_as, right against random",
            secret,
            Box::new(move |offered| token.same_as(&SecretArray::from_bytes(*offered))),
        ),
        Subject {
            role: Role::Information,
            samples: samples.min(SAMPLES_OF_SLOW),
            ..judged(
                "PasswordRecord::verify_in at 8 KiB, right against random",
                secret,
                Box::new(move |offered| {
                    record
                        .verify_in(offered, &mut arena)
                        .expect("a short password")
                }),
            )
        },
    ]
}

fn all_but_last(mut input: Input) -> Input {
    input[LENGTH - 1] ^= 0x55;
    input
}

/// What `secret::constant_time_equal` must not be.
#[inline(never)]
fn early_exit(left: &Input, right: &Input) -> bool {
    for (left, right) in left.iter().zip(right) {
        if black_box(*left) != black_box(*right) {
            return false;
        }
    }
    true
}

/// Runs a subject until it passes or has failed often enough; prints each run.
fn judge(subject: &mut Subject<'_>, random: &mut SplitMix) -> bool {
    for run in 1..=RUNS_MAX {
        let outcome = run_once(subject, random);
        let t = outcome.t;
        let (good, verdict) = match subject.role {
            Role::Information => (true, "information".to_owned()),
            Role::Control if t > BOUND_OF_CONTROL => (true, "seen to leak, as it does".to_owned()),
            Role::Control => (false, format!("HARNESS BLIND, run {run} of {RUNS_MAX}")),
            Role::Judged if t < BOUND => (true, "ok".to_owned()),
            Role::Judged => (false, format!("LEAKS, run {run} of {RUNS_MAX}")),
        };
        println!(
            "{:<58} {:>9} {:>6} {t:>10.2} {:>9.3} ns  {verdict}",
            subject.name, outcome.samples, outcome.batch, outcome.difference
        );
        if good {
            return true;
        }
    }
    false
}

struct Outcome {
    samples: usize,
    batch: u32,
    /// The largest |t| over all thresholds.
    t: f64,
    /// How much longer one call takes for the fixed input, nanoseconds, below
    /// the threshold of that t.
    difference: f64,
}

fn run_once(subject: &mut Subject<'_>, random: &mut SplitMix) -> Outcome {
    let batch = batch_size(subject);
    let mut thresholds = vec![];
    let mut calibration: Vec<f64> = Vec::with_capacity(CALIBRATION);
    let mut tests = vec![Welch::default(); THRESHOLDS + 1];
    let mut measured = 0;
    while measured < subject.samples {
        // All inputs of a stretch are made before the first is measured, and
        // both classes lie in memory alike: else fetching an input would be
        // what is measured.
        let inputs: Vec<(bool, Input)> = (0..INPUTS_AHEAD)
            .map(|_| {
                let drawn = random.input();
                let is_fixed = random.next() & 1 == 0;
                (is_fixed, if is_fixed { subject.fixed } else { drawn })
            })
            .collect();
        for (is_fixed, input) in inputs {
            let time = measure(subject, batch, &input);
            if calibration.len() < CALIBRATION {
                calibration.push(time);
                if calibration.len() == CALIBRATION {
                    thresholds = thresholds_of(&mut calibration);
                }
                continue;
            }
            measured += 1;
            tests[THRESHOLDS].push(is_fixed, time);
            for (threshold, test) in thresholds.iter().zip(&mut tests) {
                if time <= *threshold {
                    test.push(is_fixed, time);
                }
            }
        }
    }
    let worst = tests
        .iter()
        .filter(|test| test.is_meaningful())
        .max_by(|left, right| left.t().abs().total_cmp(&right.t().abs()))
        .expect("the test without a threshold has all samples");
    Outcome {
        samples: measured,
        batch,
        t: worst.t().abs(),
        difference: worst.difference() / f64::from(batch),
    }
}

/// One batch, in nanoseconds.
#[inline(never)]
fn measure(subject: &mut Subject<'_>, batch: u32, input: &Input) -> f64 {
    // In one place for every measurement of either class.
    let input = black_box(*input);
    let started = Instant::now();
    for _ in 0..batch {
        black_box((subject.call)(black_box(&input)));
    }
    started.elapsed().as_nanos() as f64
}

fn batch_size(subject: &mut Subject<'_>) -> u32 {
    let fixed = subject.fixed;
    let mut batch = 1;
    loop {
        let best = (0..1000)
            .map(|_| measure(subject, batch, &fixed))
            .fold(f64::INFINITY, f64::min);
        if best >= BATCH.as_nanos() as f64 {
            return batch;
        }
        batch *= 2;
    }
}

/// Denser towards the fast end, where a leak shows best.
fn thresholds_of(times: &mut [f64]) -> Vec<f64> {
    times.sort_by(f64::total_cmp);
    (1..=THRESHOLDS)
        .map(|index| {
            let share = 1.0 - 0.5_f64.powf(10.0 * index as f64 / THRESHOLDS as f64);
            times[((times.len() - 1) as f64 * share) as usize]
        })
        .collect()
}

/// Welch's t-test, fed one measurement at a time (Welford's means and variances).
#[derive(Clone, Default)]
struct Welch {
    classes: [Class; 2],
}

#[derive(Clone, Default)]
struct Class {
    count: f64,
    mean: f64,
    squares: f64,
}

impl Welch {
    fn push(&mut self, is_fixed: bool, time: f64) {
        let class = &mut self.classes[usize::from(is_fixed)];
        class.count += 1.0;
        let delta = time - class.mean;
        class.mean += delta / class.count;
        class.squares += delta * (time - class.mean);
    }

    /// With fewer the mean is not yet distributed normally.
    fn is_meaningful(&self) -> bool {
        self.classes.iter().all(|class| class.count >= 1000.0)
    }

    fn difference(&self) -> f64 {
        self.classes[1].mean - self.classes[0].mean
    }

    fn t(&self) -> f64 {
        let error: f64 = self
            .classes
            .iter()
            .map(|class| class.squares / (class.count - 1.0) / class.count)
            .sum();
        if error == 0.0 {
            return 0.0;
        }
        self.difference() / error.sqrt()
    }
}

/// SplitMix64: the same inputs in every process, others in every run of one.
struct SplitMix(u64);

impl SplitMix {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut word = self.0;
        word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        word ^ (word >> 31)
    }

    fn input(&mut self) -> Input {
        let mut input = [0u8; LENGTH];
        for chunk in input.chunks_exact_mut(8) {
            chunk.copy_from_slice(&self.next().to_le_bytes());
        }
        input
    }
}
