//! What really happened, and whether what was reported agrees.

use std::collections::BTreeMap;

use crate::status::{Code, Execution, Status};

/// What is promised of a call, by the way it is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Promise {
    /// Sent once, unless it certainly did not start.
    Plain,
    /// May act several times.
    Idempotent,
    /// At most once, however often it is sent.
    Once,
}

/// One call that somebody made, over all its attempts.
#[derive(Clone, Debug)]
struct Deed {
    promise: Promise,
    deadline: u64,
    /// Made when all faults were over.
    must_succeed: bool,
    /// How the attempts so far ended, in the order in which they began.
    attempts: Vec<Option<Execution>>,
    starts: u32,
    /// Starts after which the handler itself said that it had not started.
    declined: u32,
    effects: u32,
    report: Option<Result<(), (Code, Execution)>>,
}

/// The oracle of one schedule.
#[derive(Debug, Default)]
pub(super) struct Truth {
    deeds: BTreeMap<u64, Deed>,
    pub(super) broken: Vec<String>,
    pub(super) counts: BTreeMap<String, u64>,
}

/// What a call may be late by: one tick of the wire's clock.
const TICK: u64 = 1_000;

impl Truth {
    pub(super) fn count(&mut self, what: &str) {
        match self.counts.get_mut(what) {
            Some(count) => *count += 1,
            None => {
                self.counts.insert(what.to_owned(), 1);
            }
        }
    }

    pub(super) fn begun(&mut self, deed: u64, promise: Promise, deadline: u64, must_succeed: bool) {
        let kept = Deed {
            promise,
            deadline,
            must_succeed,
            attempts: Vec::new(),
            starts: 0,
            declined: 0,
            effects: 0,
            report: None,
        };
        self.deeds.insert(deed, kept);
    }

    /// An attempt is handed to a connection; returns its number.
    pub(super) fn attempted(&mut self, deed: u64) -> usize {
        let known = self.deeds.get_mut(&deed).expect("a call that began");
        // (e)
        let is_safe = known
            .attempts
            .iter()
            .all(|execution| execution.is_some_and(Execution::is_safe_to_retry));
        if known.promise == Promise::Plain && !is_safe {
            let attempts = known.attempts.clone();
            self.breach(
                deed,
                &format!("a plain call was sent again after {attempts:?}"),
            );
            return 0;
        }
        known.attempts.push(None);
        known.attempts.len() - 1
    }

    pub(super) fn attempt_failed(&mut self, deed: u64, attempt: usize, execution: Execution) {
        let known = self.deeds.get_mut(&deed).expect("a call that began");
        if let Some(kept) = known.attempts.get_mut(attempt) {
            *kept = Some(execution);
        }
    }

    pub(super) fn started(&mut self, deed: u64) {
        self.deeds.get_mut(&deed).expect("a call that began").starts += 1;
    }

    pub(super) fn declined(&mut self, deed: u64) {
        self.deeds
            .get_mut(&deed)
            .expect("a call that began")
            .declined += 1;
    }

    pub(super) fn acted(&mut self, deed: u64) {
        let known = self.deeds.get_mut(&deed).expect("a call that began");
        known.effects += 1;
        // (a)
        if known.effects > 1 && known.promise != Promise::Idempotent {
            let promise = known.promise;
            self.breach(deed, &format!("a {promise:?} call acted twice"));
        }
    }

    pub(super) fn reported(&mut self, deed: u64, now: u64, report: Result<(), &Status>) {
        let known = self.deeds.get_mut(&deed).expect("a call that began");
        let promise = known.promise;
        let (deadline, is_second) = (known.deadline, known.report.is_some());
        let code_and_execution = report.map_err(|status| (status.code(), status.execution()));
        known.report = Some(code_and_execution);
        let must_succeed = known.must_succeed;
        if is_second {
            self.breach(deed, "was reported twice");
        }
        // (d)
        if now > deadline + TICK {
            self.breach(deed, &format!("ended {} us late", now - deadline));
        }
        // (f)
        if must_succeed && let Err(status) = report {
            self.breach(
                deed,
                &format!("failed though all faults were over: {status}"),
            );
        }
        let how = match code_and_execution {
            Ok(()) => "ok".to_owned(),
            Err((code, execution)) => format!("{execution}, {code}"),
        };
        self.count(&format!("outcome {promise:?}: {how}"));
    }

    /// Judges what could only be known at the end.
    pub(super) fn judge(&mut self) {
        let mut broken = Vec::new();
        for (number, deed) in &self.deeds {
            let mut breach = |text: String| broken.push(format!("call {number}: {text}"));
            let Some(report) = deed.report else {
                breach("was never reported".to_owned());
                continue;
            };
            let really = deed.starts - deed.declined;
            match report {
                // (b)
                Err((_, execution)) if execution.is_safe_to_retry() => {
                    if really > 0 || deed.effects > 0 {
                        breach(format!("{execution}, and it started {really} times"));
                    }
                }
                // (c)
                Ok(()) | Err((_, Execution::Executed)) => {
                    let is_right = match deed.promise {
                        Promise::Idempotent => deed.effects >= 1,
                        Promise::Plain | Promise::Once => deed.effects == 1,
                    };
                    if !is_right {
                        breach(format!("{report:?}, and it acted {} times", deed.effects));
                    }
                }
                Err(_) => {}
            }
        }
        self.broken.append(&mut broken);
    }

    pub(super) fn breach(&mut self, deed: u64, text: &str) {
        self.broken.push(format!("call {deed}: {text}"));
    }

    pub(super) fn breach_of_world(&mut self, text: String) {
        self.broken.push(text);
    }
}
