//! The table that is printed.

use std::fmt::Write as _;

use crate::measure::Samples;

/// What a ratio is held against: our time over the peer's.
#[derive(Debug, Clone, Copy)]
pub struct Goal {
    /// The ratio that must not be exceeded, if there is one.
    pub bar: Option<f64>,
    /// The ratio that is hoped for, if there is one.
    pub aim: Option<f64>,
}

impl Goal {
    /// No goal: the row is there to be known.
    pub const NONE: Self = Self {
        bar: None,
        aim: None,
    };

    /// A bar and an aim.
    #[must_use]
    pub const fn new(bar: f64, aim: f64) -> Self {
        Self {
            bar: Some(bar),
            aim: Some(aim),
        }
    }

    /// The goal when `applies`, else none.
    #[must_use]
    pub fn when(self, applies: bool) -> Self {
        if applies { self } else { Self::NONE }
    }

    fn verdict(self, ratio: f64) -> (&'static str, f64) {
        match (self.bar, self.aim) {
            (Some(bar), _) if ratio > bar => ("missed by", ratio / bar - 1.0),
            (_, Some(aim)) if ratio <= aim => ("met, and the aim", 0.0),
            (Some(_), _) => ("met", 0.0),
            (None, Some(aim)) => ("over the aim by", ratio / aim - 1.0),
            (None, None) => ("", 0.0),
        }
    }
}

/// Rows under headings.
#[derive(Debug, Default)]
pub struct Table {
    missed: usize,
    skipped: usize,
}

impl Table {
    /// Prints the machine and the command, so that the figures can be judged.
    pub fn begin(&self, binary: &str) {
        let cpu = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let model = cpu
            .lines()
            .find_map(|line| line.strip_prefix("model name"))
            .map_or("unknown", |rest| rest.trim_start_matches(['\t', ' ', ':']));
        let cores = std::thread::available_parallelism().map_or(0, usize::from);
        let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
        let load = load.split(' ').next().unwrap_or("unknown");
        println!("machine: {model}, {cores} cores; load at the start: {load}");
        let arguments: Vec<String> = std::env::args().skip(1).collect();
        let feature = if cfg!(feature = "aws-lc") {
            "--features aws-lc "
        } else {
            ""
        };
        println!(
            "command: cargo run --release {feature}--bin {binary} -- {}",
            arguments.join(" ")
        );
    }

    /// Prints a heading and the columns' names.
    pub fn heading(&self, text: &str) {
        self.title(text);
        self.columns();
    }

    /// Prints a heading alone: what follows is compared with nothing.
    pub fn title(&self, text: &str) {
        println!("\n{text}");
    }

    /// Prints the columns' names.
    pub fn columns(&self) {
        println!(
            "{:<42} {:>10} {:>10} {:>7} {:>7} {:>13} {:>6} {:>6}  verdict",
            "what, against", "ours", "peer", "ratio", "median", "spread", "bar", "aim"
        );
    }

    /// Prints a comparison of `ours` with `peer`.
    pub fn row(&mut self, what: &str, goal: Goal, ours: &Samples, peer: &Samples) {
        let ratio = ours.min() / peer.min();
        let (low, high) = ours.ratio_spread(peer);
        let (verdict, excess) = goal.verdict(ratio);
        let mut verdict = verdict.to_owned();
        if excess > 0.0 {
            let _ = write!(verdict, " {:.1} %", excess * 100.0);
        }
        if goal.bar.is_some_and(|bar| ratio > bar) {
            self.missed += 1;
        }
        println!(
            "{what:<42} {:>10} {:>10} {ratio:>7.3} {:>7.3} {:>13} {:>6} {:>6}  {verdict}",
            time(ours.min()),
            time(peer.min()),
            ours.median() / peer.median(),
            format!("{low:.3}-{high:.3}"),
            number(goal.bar),
            number(goal.aim),
        );
    }

    /// Prints a figure that is compared with nothing.
    pub fn figure(&self, what: &str, samples: &Samples) {
        println!(
            "{what:<42} {:>10}            (median {})",
            time(samples.min()),
            time(samples.median())
        );
    }

    /// Prints how fast something goes: `bytes` an operation, 0 when only the
    /// operations count.
    pub fn speed(&self, what: &str, samples: &Samples, bytes: usize) {
        let rate = |nanoseconds: f64| match bytes {
            0 => format!("{:.0}/s", 1e9 / nanoseconds),
            _ => format!("{:.1} MB/s", bytes as f64 * 1e3 / nanoseconds),
        };
        println!(
            "{what:<42} {:>10} {:>13}   (median {}, {})",
            time(samples.min()),
            rate(samples.min()),
            time(samples.median()),
            rate(samples.median())
        );
    }

    /// Prints why there is no comparison.
    pub fn skipped(&mut self, what: &str, why: &str) {
        self.skipped += 1;
        println!("{what:<42} SKIPPED: {why}");
    }

    /// Prints the sums; returns how many bars were missed.
    #[must_use]
    pub fn end(&self) -> usize {
        println!(
            "\nbars missed: {}; rows skipped: {}",
            self.missed, self.skipped
        );
        self.missed
    }
}

fn number(value: Option<f64>) -> String {
    let shortest = |value: f64| (value * 1e4).round() / 1e4;
    value.map_or(String::new(), |value| shortest(value).to_string())
}

fn time(nanoseconds: f64) -> String {
    match nanoseconds {
        value if value < 1e4 => format!("{value:.1} ns"),
        value if value < 1e7 => format!("{:.2} us", value / 1e3),
        value => format!("{:.2} ms", value / 1e6),
    }
}
