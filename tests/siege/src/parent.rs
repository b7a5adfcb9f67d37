//! Runs every siege, prints the table, and judges.

use std::process::ExitCode;
use std::thread::sleep;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::attack::Attack;
use crate::budget::{
    Bar, Broken, MEMORY_KIB_MAX, Measured, P99_FATAL_US, P99_RATIO_MAX, P99_REST_QUIET_US, Window,
    bar, judge, ratio,
};
use crate::field::Field;
use crate::plan::{Siege, Timing, sieges};
use crate::process::{Role, cpu_time, forget_peak, memory_kib};

const USAGE: &str = "\
usage: siege [--quick | --long] [--strict] [--threads] [--only WORD,WORD]
  --quick    shorter windows
  --long     longer windows, a quarter of an hour
  --strict   fail when p99 misses its bar anywhere, or could not be measured
  --threads  the server on a runtime of several threads
  --only     sieges whose names contain one of the words";

/// Runs what the options say.
pub(crate) fn run(options: &[&str]) -> ExitCode {
    let mut timing = Timing::DEFAULT;
    let (mut threads, mut strict) = (false, false);
    let mut only: Vec<&str> = Vec::new();
    let mut rest = options.iter();
    while let Some(option) = rest.next() {
        match *option {
            "--quick" => timing = Timing::QUICK,
            "--long" => timing = Timing::LONG,
            "--strict" => strict = true,
            "--threads" => threads = true,
            "--only" => only.extend(rest.next().into_iter().flat_map(|words| words.split(','))),
            _ => {
                eprintln!("{USAGE}");
                return ExitCode::from(2);
            }
        }
    }
    let plan: Vec<_> = sieges()
        .into_iter()
        .filter(|siege| {
            only.is_empty() || only.iter().any(|word| siege.attack.name().contains(word))
        })
        .collect();
    let started = Instant::now();
    let mut battle = Battle::begin(timing, threads);
    let mut fought = Vec::new();
    let mut rests = vec![battle.window()];
    let mut again = AGAIN_MAX;
    for siege in &plan {
        let near = rests.len() - 1;
        rests.push(battle.window());
        fought.push((battle.fight(*siege), near));
        rests.push(battle.window());
        // Others use the machine at times; a server that cannot do it fails
        // each time.
        for _ in 1..FIGHTS_MAX {
            match look_again(&fought[fought.len() - 1], &rests) {
                Look::Enough => break,
                // One siege that others disturbed must not fail a run.
                Look::Needed => {}
                Look::Wanted if again == 0 => break,
                Look::Wanted => again -= 1,
            }
            let (last, last_near) = fought.pop().expect("just pushed");
            let last = last.measured(near_of(&rests, last_near));
            println!(
                "{} fought again: p99 was {} ms, {} ms at rest",
                siege.attack.name(),
                milliseconds(last.p99_siege_us),
                milliseconds(last.p99_rest_us),
            );
            let near = rests.len() - 1;
            rests.push(battle.window());
            fought.push((battle.fight(*siege), near));
            rests.push(battle.window());
        }
    }
    println!(
        "server: {} runtime, echo of 256 bytes at 500 calls/s over 4 connections, 5 new \
         connections/s: in turn from 8 known addresses and from such as were never seen.\nattackers at nice 19, so that they do not slow the server merely by \
         running; \"many\" sources are 250.",
        if threads {
            "multi-thread"
        } else {
            "current-thread"
        },
    );
    println!(
        "budgets: peak memory < {} MiB; no honest call or connect fails; p99 of calls <= \
         {P99_RATIO_MAX} x that at rest, which is said, and fails the run above {} ms where it is at most {} at \
         rest.\n",
        MEMORY_KIB_MAX / 1024,
        P99_FATAL_US / 1000,
        P99_REST_QUIET_US / 1000,
    );
    let (mut broken, missed, unmeasured) = report(&fought, &rests);
    compare_frames(&fought);
    let failed_in_sieges: u64 = fought.iter().map(|(one, _)| one.failed()).sum();
    if battle.failed > failed_in_sieges {
        let failed = battle.failed - failed_in_sieges;
        println!("\n{failed} honest calls or connects failed between the sieges of the table");
        broken += 1;
    }
    println!(
        "\np99 of calls more than {P99_RATIO_MAX} x that at rest in {missed} of {} sieges; not \
         measured in {unmeasured}, where the host took the machine away",
        fought.len()
    );
    if strict {
        broken += missed + unmeasured;
    }
    println!("\n{:.0} s", started.elapsed().as_secs_f64());
    if broken == 0 && !fought.is_empty() {
        println!("every other budget holds");
        ExitCode::SUCCESS
    } else {
        println!(
            "{broken} of {} sieges break a budget, or what lies between them",
            fought.len()
        );
        ExitCode::FAILURE
    }
}

/// How often one siege is fought for its latency, at most.
const FIGHTS_MAX: u32 = 3;

/// Further fights that are only wanted, in all, at most: a run has to end.
const AGAIN_MAX: u32 = 10;

/// Two windows of rest before a siege and one behind it: those that are known
/// when it has just been fought, so that it is judged then as in the table.
fn near_of(rests: &[Seen], first: usize) -> &[Seen] {
    &rests[first..rests.len().min(first + 3)]
}

/// Whether the latencies of a siege want a second look.
enum Look {
    Enough,
    /// The bar was missed, or could not be looked at.
    Wanted,
    /// The run would fail by them.
    Needed,
}

fn look_again((fought, first): &(Fought, usize), rests: &[Seen]) -> Look {
    let measured = fought.measured(near_of(rests, *first));
    match (judge(&measured).as_slice(), bar(&measured)) {
        ([Broken::Latency], _) => Look::Needed,
        ([], Bar::Missed | Bar::Unmeasured) => Look::Wanted,
        _ => Look::Enough,
    }
}

/// The two lawful roles, running.
struct Battle {
    timing: Timing,
    server: Role,
    honest: Role,
    field: String,
    /// Processor time that the server takes for the honest clients, per second.
    cpu_at_rest: f64,
    /// Honest calls and connects that failed so far, whenever it was: a wait that
    /// began in a siege can end behind it.
    failed: u64,
}

/// What the honest clients saw.
struct Seen {
    calls: Window,
    /// Calls whose latency says nothing: the machine was taken away.
    calls_stolen: usize,
    connects_known: Window,
    connects_new: Window,
    calls_failed: u64,
    connects_failed: u64,
    failure: Option<String>,
}

/// One siege and what it came to.
struct Fought {
    siege: Siege,
    windows: Vec<Seen>,
    peak_kib: u64,
    after_kib: u64,
    /// Processor time of the server beyond what the honest clients cost.
    server_cpu_s: f64,
    server_share: f64,
    elapsed_s: f64,
    attack: Value,
}

impl Battle {
    fn begin(timing: Timing, threads: bool) -> Self {
        let arguments: &[&str] = if threads {
            &["server", "--threads"]
        } else {
            &["server"]
        };
        let mut server = Role::start(arguments, "");
        let line = server.line();
        let field = Field::parse(&line).expect("the server says where it is");
        let field = field.line();
        let honest = Role::start(&["honest"], &field);
        let mut battle = Self {
            timing,
            server,
            honest,
            field,
            cpu_at_rest: 0.0,
            failed: 0,
        };
        sleep(Duration::from_millis(300));
        battle.seen();
        let (started, before) = (Instant::now(), cpu_time(battle.server.id()));
        sleep(2 * timing.window);
        battle.seen();
        let used = cpu_time(battle.server.id()).saturating_sub(before);
        battle.cpu_at_rest = used.as_secs_f64() / started.elapsed().as_secs_f64();
        battle
    }

    /// One window from now on.
    fn window(&mut self) -> Seen {
        self.seen();
        sleep(self.timing.window);
        self.seen()
    }

    /// What happened since this was asked last.
    fn seen(&mut self) -> Seen {
        self.honest.ask();
        let report = self.honest.report();
        let samples = |name: &str| {
            let values = report[name].as_array();
            Window::new(
                values
                    .into_iter()
                    .flatten()
                    .filter_map(Value::as_u64)
                    .collect(),
            )
        };
        let seen = Seen {
            calls: samples("calls_us"),
            calls_stolen: report["calls_stolen"]
                .as_u64()
                .and_then(|count| usize::try_from(count).ok())
                .unwrap_or(0),
            connects_known: samples("connects_known_us"),
            connects_new: samples("connects_new_us"),
            calls_failed: report["calls_failed"].as_u64().unwrap_or(1),
            connects_failed: report["connects_failed"].as_u64().unwrap_or(1),
            failure: report["failure"].as_str().map(str::to_owned),
        };
        self.failed += seen.calls_failed + seen.connects_failed;
        seen
    }

    fn fight(&mut self, siege: Siege) -> Fought {
        let Timing {
            window,
            windows,
            settle,
        } = self.timing;
        let windows = windows.max(
            usize::try_from(siege.least.as_millis() / window.as_millis()).expect("a small number"),
        );
        let duration = settle + window * u32::try_from(windows).expect("a small number");
        forget_peak(self.server.id());
        self.seen();
        let (started, cpu_before) = (Instant::now(), cpu_time(self.server.id()));
        let milliseconds = duration.as_millis().to_string();
        let arguments = [
            "attack",
            siege.attack.name(),
            siege.sources.word(),
            &milliseconds,
        ];
        let mut attackers = Role::start(&arguments, &self.field);
        sleep(settle);
        let mut seen = vec![self.seen()];
        // What failed while the attack began counts; latencies are those of the
        // windows behind it.
        seen[0].calls = Window::default();
        for _ in 0..windows {
            sleep(window);
            seen.push(self.seen());
        }
        let attack = attackers.report();
        attackers.join();
        let elapsed = started.elapsed().as_secs_f64();
        let cpu = cpu_time(self.server.id()).saturating_sub(cpu_before);
        let (_, peak_kib) = memory_kib(self.server.id());
        // What is left closes, and its memory shows whether anything leaked.
        sleep(Duration::from_millis(200));
        let peak_kib = if self.server.is_running() {
            peak_kib
        } else {
            0
        };
        Fought {
            siege,
            windows: seen,
            peak_kib,
            after_kib: memory_kib(self.server.id()).0,
            server_cpu_s: (cpu.as_secs_f64() - self.cpu_at_rest * elapsed).max(0.0),
            server_share: cpu.as_secs_f64() / elapsed,
            elapsed_s: elapsed,
            attack,
        }
    }
}

impl Fought {
    fn number(&self, name: &str) -> u64 {
        self.attack[name].as_u64().unwrap_or(0)
    }

    fn failed(&self) -> u64 {
        let failed = |seen: &Seen| seen.calls_failed + seen.connects_failed;
        self.windows.iter().map(failed).sum()
    }

    /// Server time for each connection of the attackers: as many milliseconds for
    /// 1,000 of them.
    fn cpu_us_per_connection(&self) -> f64 {
        self.server_cpu_s * 1e6 / self.count().max(1.0)
    }

    #[expect(clippy::cast_precision_loss, reason = "counts of connections")]
    fn count(&self) -> f64 {
        self.number("connections") as f64
    }

    fn measured(&self, rests: &[Seen]) -> Measured {
        let sum = |of: fn(&Seen) -> u64| self.windows.iter().map(of).sum();
        let p99_us = |seen: &[Seen]| Window::joined(seen.iter().map(|seen| &seen.calls)).p99_us();
        let calls = |seen: &Seen| seen.calls.count() + seen.calls_stolen;
        Measured {
            p99_rest_us: p99_us(rests),
            p99_siege_us: p99_us(&self.windows),
            calls: self.windows.iter().map(calls).sum(),
            peak_kib: self.peak_kib,
            calls_failed: sum(|seen| seen.calls_failed),
            connects_known: self
                .windows
                .iter()
                .map(|seen| seen.connects_known.count())
                .sum(),
            connects_failed: sum(|seen| seen.connects_failed),
            longest_ms: (self.siege.attack == Attack::Slow).then(|| self.number("longest_ms")),
        }
    }
}

/// Prints one row a siege; returns how many break a budget, how many miss the
/// bar of p99, and in how many that could not be told.
fn report(fought: &[(Fought, usize)], rests: &[Seen]) -> (usize, usize, usize) {
    println!(
        "{:<22} {:<4} | {:>6} {:>6} {:>7} {:>7} {:>5} | {:>6} {:>7} | {:>7} {:>7} | {:>4} | {:>5} {:>5} | {:>7} {:>7} {:>6} | {:>8} {:>5} {:>6}",
        "siege",
        "from",
        "p50",
        "p99",
        "max",
        "at rest",
        "ratio",
        "p50",
        "max",
        "p50",
        "max",
        "fail",
        "peak",
        "after",
        "conns",
        "/s",
        "MB",
        "us/conn",
        "srv%",
        "atk%",
    );
    println!(
        "{:<22} {:<4} | {:^35} | {:^14} | {:^15} | {:>4} | {:^11} | {:^22} | {:^21}",
        "", "", "honest calls, ms", "known, ms", "new, ms", "", "MiB", "attackers", "processor"
    );
    let (mut broken_count, mut missed_count, mut unmeasured_count) = (0, 0, 0);
    for (one, first) in fought {
        let measured = one.measured(near_of(rests, *first));
        let broken = judge(&measured);
        row(one, &measured, &broken);
        broken_count += usize::from(!broken.is_empty());
        missed_count += usize::from(bar(&measured) == Bar::Missed);
        unmeasured_count += usize::from(bar(&measured) == Bar::Unmeasured);
    }
    (broken_count, missed_count, unmeasured_count)
}

fn row(one: &Fought, measured: &Measured, broken: &[Broken]) {
    let calls = Window::joined(one.windows.iter().map(|seen| &seen.calls));
    let known = Window::joined(one.windows.iter().map(|seen| &seen.connects_known));
    let new = Window::joined(one.windows.iter().map(|seen| &seen.connects_new));
    let ratio = match (measured.p99_siege_us, measured.p99_rest_us) {
        (Some(siege), Some(rest)) => format!("{:.2}", ratio(siege, rest)),
        _ => "-".to_owned(),
    };
    let seconds: f64 = one.attack["cpu_ms"].as_f64().unwrap_or(0.0) / 1e3;
    let duration = one.elapsed_s;
    println!(
        "{:<22} {:<4} | {:>6} {:>6} {:>7} {:>7} {:>5} | {:>6} {:>7} | {:>7} {:>7} | {:>4} | {:>5.1} {:>5.1} | {:>7} {:>7.0} {:>6.1} | {:>8.1} {:>5.0} {:>6.0} {}",
        one.siege.attack.name(),
        one.siege.sources.word(),
        milliseconds(calls.percentile_us(50)),
        milliseconds(measured.p99_siege_us),
        milliseconds(calls.max_us()),
        milliseconds(measured.p99_rest_us),
        ratio,
        milliseconds(known.percentile_us(50)),
        milliseconds(known.max_us()),
        milliseconds(new.percentile_us(50)),
        milliseconds(new.max_us()),
        measured.connects_failed + measured.calls_failed,
        milli(measured.peak_kib * 1000 / 1024),
        milli(one.after_kib * 1000 / 1024),
        one.number("connections"),
        one.count() / duration,
        milli(one.number("bytes") / 1000),
        one.cpu_us_per_connection(),
        one.server_share * 100.0,
        seconds / duration * 100.0,
        match (broken, bar(measured)) {
            ([], Bar::Met) => String::new(),
            ([], Bar::Missed) => "p99 missed".to_owned(),
            ([], Bar::Unmeasured) => "p99 not measured".to_owned(),
            (broken, _) => format!("BROKEN {broken:?}"),
        },
    );
    if let Some(longest) = measured.longest_ms {
        println!(
            "{:27} | longest life of a slow connection: {longest} ms",
            ""
        );
    }
    if let Some(failure) = one.windows.iter().find_map(|seen| seen.failure.as_ref()) {
        println!("{:27} | {failure}", "");
    }
}

/// As the table shows it; a dash where nothing was measured.
fn milliseconds(us: Option<u64>) -> String {
    us.map_or_else(|| "-".to_owned(), |us| format!("{:.2}", milli(us)))
}

#[expect(clippy::cast_precision_loss, reason = "for people to read")]
fn milli(value: u64) -> f64 {
    value as f64 / 1e3
}

/// What a frame with a wrong tag costs the server beside one that is valid.
fn compare_frames(fought: &[(Fought, usize)]) {
    let cost = |attack| {
        fought
            .iter()
            .map(|(one, _)| one)
            .find(|one| one.siege.attack == attack)
            .map(Fought::cpu_us_per_connection)
    };
    if let (Some(wrong), Some(valid), Some(whole)) = (
        cost(Attack::FirstFrameTag),
        cost(Attack::FirstFrameReplay),
        cost(Attack::HandshakesNoise),
    ) {
        println!(
            "\nNoise, server time a connection with everything that the system does for one: \
             wrong tag {:.0} us, valid first frame {:.0} us ({:.1} x), whole handshake {:.0} us ({:.1} x)",
            wrong,
            valid,
            valid / wrong.max(0.1),
            whole,
            whole / wrong.max(0.1),
        );
    }
}
