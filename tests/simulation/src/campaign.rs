//! Many histories on several threads.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use sealmoot_kv::mutant::Mutant;
use sealmoot_kv::quorum::Quorums;
use sealmoot_simulation::examine::{Violation, examine};
use sealmoot_simulation::fault::FaultCounts;
use sealmoot_simulation::history::Outcome;
use sealmoot_simulation::plan::LogKind;
use sealmoot_simulation::world::{ChangeCounts, Run};

use crate::options::Options;

/// How many histories a thread takes at a time.
const CHUNK: u64 = 16;
const MANY_KINDS: usize = 8;

/// A run over consecutive seeds.
pub(crate) struct Campaign<'a> {
    options: &'a Options,
    mutant: Option<Mutant>,
    began: Instant,
    next: AtomicU64,
    stop: AtomicBool,
    totals: Mutex<Totals>,
}

/// What it came to.
#[derive(Default)]
pub(crate) struct Totals {
    pub(crate) histories: u64,
    pub(crate) operations: u64,
    pub(crate) answered: u64,
    pub(crate) failed: u64,
    pub(crate) unknown: u64,
    pub(crate) events: u64,
    pub(crate) real_log: u64,
    /// By other settings than the majority.
    pub(crate) other_settings: u64,
    pub(crate) many_kinds: u64,
    pub(crate) twice: bool,
    pub(crate) counts: FaultCounts,
    pub(crate) changing: u64,
    pub(crate) changes: ChangeCounts,
    pub(crate) seconds: f64,
    /// The violation with the lowest seed.
    pub(crate) first: Option<(u64, Violation)>,
}

impl<'a> Campaign<'a> {
    pub(crate) fn new(options: &'a Options, mutant: Option<Mutant>) -> Self {
        Self {
            options,
            mutant,
            began: Instant::now(),
            next: AtomicU64::new(0),
            stop: AtomicBool::new(false),
            totals: Mutex::default(),
        }
    }

    /// Runs until a violation, the end, or the budget.
    pub(crate) fn run(self) -> Totals {
        thread::scope(|scope| {
            for _ in 0..self.options.jobs {
                scope.spawn(|| self.work());
            }
        });
        let seconds = self.began.elapsed().as_secs_f64();
        let totals = self.totals.into_inner();
        Totals {
            seconds,
            twice: self.options.twice,
            ..totals.unwrap_or_else(PoisonError::into_inner)
        }
    }

    fn work(&self) {
        #[cfg(feature = "mutants")]
        sealmoot_simulation::mutants::choose(self.mutant);
        let _ = self.mutant;
        let budget = self.options.budget.map(Duration::from_secs);
        loop {
            let first = self.next.fetch_add(CHUNK, Ordering::Relaxed);
            let end = (first + CHUNK).min(self.options.histories);
            if first >= end {
                return;
            }
            let mut sums = Totals::default();
            for nth in first..end {
                let over = budget.is_some_and(|budget| self.began.elapsed() >= budget);
                if over || self.stop.load(Ordering::Relaxed) {
                    break;
                }
                let seed = self.options.from.wrapping_add(nth);
                if let Some(violation) = self.one(seed, &mut sums) {
                    self.stop.store(true, Ordering::Relaxed);
                    sums.first = Some((seed, violation));
                    break;
                }
            }
            self.add(sums);
        }
    }

    fn one(&self, seed: u64, sums: &mut Totals) -> Option<Violation> {
        let plan = self.options.plan(seed);
        let (run, violation) = examine(&plan, false);
        sums.count(&run);
        sums.changing += u64::from(plan.changes.is_some());
        sums.changes.merge(&run.changes);
        sums.real_log += u64::from(plan.log == LogKind::Real);
        let quorums = plan.settings.quorums;
        sums.other_settings += u64::from(quorums != Quorums::majority(plan.nodes));
        if violation.is_none() && self.options.twice {
            let (again, _) = examine(&plan, false);
            if again != run {
                return Some(Violation::Invariant(format!(
                    "the same seed gave traces {:016x} and {:016x}",
                    run.trace, again.trace
                )));
            }
        }
        violation
    }

    fn add(&self, sums: Totals) {
        let mut totals = self.totals.lock().unwrap_or_else(PoisonError::into_inner);
        totals.histories += sums.histories;
        totals.operations += sums.operations;
        totals.answered += sums.answered;
        totals.failed += sums.failed;
        totals.unknown += sums.unknown;
        totals.events += sums.events;
        totals.real_log += sums.real_log;
        totals.other_settings += sums.other_settings;
        totals.many_kinds += sums.many_kinds;
        totals.counts.merge(&sums.counts);
        totals.changing += sums.changing;
        totals.changes.merge(&sums.changes);
        let earlier =
            |first: &(u64, Violation)| totals.first.as_ref().is_none_or(|known| first.0 < known.0);
        if let Some(first) = sums.first.filter(earlier) {
            totals.first = Some(first);
        }
    }
}

impl Totals {
    fn count(&mut self, run: &Run) {
        self.histories += 1;
        self.events += run.events;
        self.many_kinds += u64::from(run.counts.kinds() >= MANY_KINDS);
        self.counts.merge(&run.counts);
        for operation in run.history.operations() {
            self.operations += 1;
            match operation.outcome {
                Outcome::Ok(..) => self.answered += 1,
                Outcome::Failed => self.failed += 1,
                Outcome::Unknown => self.unknown += 1,
            }
        }
    }
}
