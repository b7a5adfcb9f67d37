//! `kv bench`: rate and latency of put, get, cas and a mixture, through real sessions.
//!
//! At given concurrencies the next operation begins when one has ended (a closed loop):
//! that finds the highest rate. At a given rate operations begin when they are due,
//! whether others have ended or not (an open loop), and latency counts from that
//! instant: only so does a stall show in the latencies of all whom it would have hit.

use std::io::IsTerminal;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use indicatif::{ProgressBar, ProgressStyle};
use sealmoot_authn::cli::{CommonArgs, Failure, Output, parse_duration};
use sealmoot_kv::client::{Client, Level, Write};
use sealmoot_kv::register::{Expectation, VALUE_LENGTH_MAX};
use serde_json::{Value, json};

use crate::keys::key;
use crate::session::{SessionArgs, block_on, clients};

/// Most operations in flight.
const CONCURRENCY_MAX: usize = 4096;

/// `kv bench`.
#[derive(Debug, clap::Args)]
pub(crate) struct BenchArgs {
    /// How many operations are in flight, each measured in turn
    #[arg(long, value_name = "N,…", value_delimiter = ',', default_values_t = [1, 16, 64])]
    concurrency: Vec<usize>,
    /// How long each measurement takes
    #[arg(long, value_parser = parse_duration, default_value = "3s")]
    duration: Duration,
    /// Length of values in bytes
    #[arg(long, default_value_t = 256)]
    size: usize,
    /// How many keys are used
    #[arg(long, default_value_t = 1000)]
    keys: u64,
    /// Where the keys lie; they are left there
    #[arg(long, default_value = "bench/")]
    prefix: String,
    /// What is measured
    #[arg(long, value_delimiter = ',', default_values_t = [Load::Put, Load::Get, Load::Cas, Load::Mixed])]
    load: Vec<Load>,
    /// Begin so many operations a second, whether earlier ones have ended or not, instead
    /// of keeping a number in flight; latency counts from when each was due
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=100_000))]
    rate: Option<u32>,
    /// How many connections are used, spread over the nodes
    #[arg(long, default_value_t = 1)]
    connections: usize,
}

/// A kind of load.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Load {
    /// Puts
    Put,
    /// Linearizable gets
    Get,
    /// A cas each, by revision
    Cas,
    /// Nine gets to one put
    Mixed,
}

impl std::fmt::Display for Load {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(match self {
            Self::Put => "put",
            Self::Get => "get",
            Self::Cas => "cas",
            Self::Mixed => "mixed",
        })
    }
}

struct Measured {
    load: Load,
    /// In flight, of a closed loop.
    concurrency: Option<usize>,
    seconds: f64,
    failures: u64,
    /// Latencies of successful operations, sorted.
    latencies: Vec<Duration>,
    /// The longest time in which none ended well.
    stall: Duration,
}

/// What workers saw: when operations began or were due, how long they took.
#[derive(Default)]
struct Seen {
    ended: Vec<(Instant, Duration)>,
    failures: u64,
}

pub(crate) fn bench(
    args: &BenchArgs,
    session: &SessionArgs,
    common: &CommonArgs,
    output: &Output,
) -> Result<(), Failure> {
    let within = |concurrency: &usize| (1..=CONCURRENCY_MAX).contains(concurrency);
    if !args.concurrency.iter().all(within) || args.connections == 0 || args.keys == 0 {
        return Err(Failure::usage(format!(
            "--concurrency is 1 to {CONCURRENCY_MAX}, --connections and --keys at least 1"
        )));
    }
    if args.size > VALUE_LENGTH_MAX {
        return Err(Failure::usage("a value has at most 1 MiB"));
    }
    key(args.prefix.as_bytes())?;
    let connections: Vec<Arc<Client>> = clients(session, common, args.connections)?
        .into_iter()
        .map(Arc::new)
        .collect();
    let concurrencies: Vec<Option<usize>> = match args.rate {
        Some(_) => vec![None],
        None => args.concurrency.iter().copied().map(Some).collect(),
    };
    let steps = args.load.len() * concurrencies.len();
    let bar = progress(steps, output);
    let measured = block_on(async {
        fill(&connections, args).await?;
        let mut measured = Vec::with_capacity(steps);
        for load in &args.load {
            for concurrency in &concurrencies {
                bar.set_message(load.to_string());
                measured.push(measure(&connections, args, *load, *concurrency).await?);
                bar.inc(1);
            }
        }
        Ok(measured)
    })?;
    bar.finish_and_clear();
    let rows: Vec<Value> = measured.iter().map(Measured::to_json).collect();
    let data = json!({
        "size": args.size, "keys": args.keys, "connections": args.connections,
        "offered_rate": args.rate, "runs": rows,
    });
    output.result("bench", &data, || {
        let mut lines = vec![format!(
            "{:6} {:>9} {:>10} {:>10} {:>10} {:>10} {:>10} {:>7}",
            "load", "in flight", "ops/s", "p50", "p99", "p99.9", "stall", "failed"
        )];
        lines.extend(measured.iter().map(Measured::to_text));
        lines.join("\n")
    })
}

fn progress(steps: usize, output: &Output) -> ProgressBar {
    if output.format.is_json() || !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let bar = ProgressBar::new(steps as u64);
    if let Ok(style) = ProgressStyle::with_template("{bar:30} {pos}/{len} {msg}") {
        bar.set_style(style);
    }
    bar
}

fn name(args: &BenchArgs, number: u64) -> Bytes {
    Bytes::from(format!("{}{:08}", args.prefix, number % args.keys))
}

/// Every key exists before gets are measured.
async fn fill(connections: &[Arc<Client>], args: &BenchArgs) -> Result<(), Failure> {
    let next = Arc::new(AtomicU64::new(0));
    let mut workers = tokio::task::JoinSet::new();
    for worker in 0..32 {
        let client = Arc::clone(&connections[worker % connections.len()]);
        let next = Arc::clone(&next);
        let value = Bytes::from(vec![b'x'; args.size]);
        let keys = args.keys;
        let prefix = args.prefix.clone();
        workers.spawn(async move {
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                if number >= keys {
                    return Ok::<(), Failure>(());
                }
                let key = Bytes::from(format!("{prefix}{number:08}"));
                client.write(&key, Write::Put(value.clone())).await?;
            }
        });
    }
    while let Some(worker) = workers.join_next().await {
        worker.map_err(Failure::internal)??;
    }
    Ok(())
}

async fn measure(
    connections: &[Arc<Client>],
    args: &BenchArgs,
    load: Load,
    concurrency: Option<usize>,
) -> Result<Measured, Failure> {
    let started = Instant::now();
    let seen = match (concurrency, args.rate) {
        (None, Some(rate)) => open_loop(connections, args, load, rate).await?,
        (concurrency, _) => closed_loop(connections, args, load, concurrency.unwrap_or(1)).await?,
    };
    let seconds = started.elapsed().as_secs_f64();
    let mut instants: Vec<Instant> = seen.ended.iter().map(|(at, took)| *at + *took).collect();
    instants.push(started);
    instants.sort_unstable();
    let stalls = instants.windows(2).map(|pair| pair[1] - pair[0]);
    let mut latencies: Vec<Duration> = seen.ended.iter().map(|(_, took)| *took).collect();
    latencies.sort_unstable();
    Ok(Measured {
        load,
        concurrency,
        seconds,
        failures: seen.failures,
        latencies,
        stall: stalls.max().unwrap_or_default(),
    })
}

async fn closed_loop(
    connections: &[Arc<Client>],
    args: &BenchArgs,
    load: Load,
    concurrency: usize,
) -> Result<Seen, Failure> {
    let next = Arc::new(AtomicU64::new(0));
    let end = Instant::now() + args.duration;
    let mut workers = tokio::task::JoinSet::new();
    for worker in 0..concurrency {
        let client = Arc::clone(&connections[worker % connections.len()]);
        let next = Arc::clone(&next);
        let value = Bytes::from(vec![b'y'; args.size]);
        let keys: Vec<Bytes> = (0..args.keys).map(|number| name(args, number)).collect();
        let own_key = Bytes::from(format!("{}cas-{worker:08}", args.prefix));
        workers.spawn(async move {
            let mut seen = Seen::default();
            let mut revision = 0;
            while Instant::now() < end {
                let number = next.fetch_add(1, Ordering::Relaxed);
                let key = &keys[(number % keys.len() as u64) as usize];
                let begun = Instant::now();
                let done = match load {
                    Load::Cas => advance(&client, &own_key, &mut revision, &value).await,
                    load => operate(&client, load, number, key, &value).await,
                };
                match done {
                    Ok(true) => seen.ended.push((begun, begun.elapsed())),
                    Ok(false) => {}
                    Err(_) => seen.failures += 1,
                }
            }
            seen
        });
    }
    let mut seen = Seen::default();
    while let Some(worker) = workers.join_next().await {
        let of_worker = worker.map_err(Failure::internal)?;
        seen.ended.extend(of_worker.ended);
        seen.failures += of_worker.failures;
    }
    Ok(seen)
}

async fn open_loop(
    connections: &[Arc<Client>],
    args: &BenchArgs,
    load: Load,
    rate: u32,
) -> Result<Seen, Failure> {
    if load == Load::Cas {
        return Err(Failure::usage(
            "a cas waits for the one before it: --rate is for put, get and mixed",
        ));
    }
    let value = Bytes::from(vec![b'y'; args.size]);
    let started = Instant::now();
    let mut workers = tokio::task::JoinSet::new();
    for number in 0u32.. {
        let due = started + Duration::from_secs(1) * number / rate;
        if due >= started + args.duration {
            break;
        }
        tokio::time::sleep_until(due.into()).await;
        let number = u64::from(number);
        let client = Arc::clone(&connections[number as usize % connections.len()]);
        let (key, value) = (name(args, number), value.clone());
        workers.spawn(async move {
            let done = operate(&client, load, number, &key, &value).await;
            (due, due.elapsed(), done.is_ok())
        });
    }
    let mut seen = Seen::default();
    while let Some(worker) = workers.join_next().await {
        match worker.map_err(Failure::internal)? {
            (due, took, true) => seen.ended.push((due, took)),
            _ => seen.failures += 1,
        }
    }
    Ok(seen)
}

async fn operate(
    client: &Client,
    load: Load,
    number: u64,
    key: &Bytes,
    value: &Bytes,
) -> Result<bool, Failure> {
    if load == Load::Put || (load == Load::Mixed && number.is_multiple_of(10)) {
        client.write(key, Write::Put(value.clone())).await?;
    } else {
        client.get(key, Level::Linearizable).await?;
    }
    Ok(true)
}

/// One successful cas from the revision that the last one made; says whether it
/// was one, which only the first, that has the revision to learn, may not be.
async fn advance(
    client: &Client,
    key: &Bytes,
    revision: &mut u64,
    value: &Bytes,
) -> Result<bool, Failure> {
    let expectation = match *revision {
        0 => Expectation::Absent,
        revision => Expectation::Revision(revision),
    };
    let change = Write::CompareAndSet(expectation, value.clone());
    let reply = client.write(key, change).await?;
    *revision = reply.revision;
    Ok(reply.changed)
}

impl Measured {
    fn rate(&self) -> f64 {
        self.latencies.len() as f64 / self.seconds
    }

    /// The latency that this share of operations did not exceed, in milliseconds.
    fn quantile_ms(&self, share: f64) -> f64 {
        let last = self.latencies.len().saturating_sub(1);
        let at = (share * last as f64).ceil() as usize;
        self.latencies
            .get(at.min(last))
            .map_or(0.0, |latency| latency.as_secs_f64() * 1000.0)
    }

    fn to_json(&self) -> Value {
        let rounded = |number: f64| (number * 1000.0).round() / 1000.0;
        json!({
            "load": self.load.to_string(), "concurrency": self.concurrency,
            "rate": self.rate().round(), "operations": self.latencies.len(),
            "failures": self.failures, "p50_ms": rounded(self.quantile_ms(0.5)),
            "p99_ms": rounded(self.quantile_ms(0.99)),
            "p999_ms": rounded(self.quantile_ms(0.999)), "max_ms": rounded(self.quantile_ms(1.0)),
            "stall_ms": rounded(self.stall.as_secs_f64() * 1000.0),
        })
    }

    fn to_text(&self) -> String {
        let milliseconds = |share| format!("{:.2} ms", self.quantile_ms(share));
        format!(
            "{:6} {:>9} {:>10.0} {:>10} {:>10} {:>10} {:>10} {:>7}",
            self.load.to_string(),
            self.concurrency
                .map_or_else(|| "-".to_owned(), |number| number.to_string()),
            self.rate(),
            milliseconds(0.5),
            milliseconds(0.99),
            milliseconds(0.999),
            format!("{:.0} ms", self.stall.as_secs_f64() * 1000.0),
            self.failures
        )
    }
}
