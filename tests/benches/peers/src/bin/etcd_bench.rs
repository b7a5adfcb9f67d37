//! Loads an etcd cluster as `kv bench` loads Sealmoot, over mutual TLS, and prints the
//! same JSON.
//!
//! ```text
//! etcd_bench --endpoints HOST:PORT,… --tls DIRECTORY --load put|get|cas
//!            (--concurrency N | --rate N) [--seconds N] [--connections N]
//! ```
//!
//! The directory holds `ca.pem`, `client.pem` and `client.key`. A failed call is tried
//! at the next member until ten seconds are over, as `kv` does.

use std::collections::BTreeMap;
use std::error::Error;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity};

#[allow(missing_docs, unreachable_pub, clippy::all)]
mod proto {
    include!(concat!(env!("OUT_DIR"), "/tonic/etcdserverpb.rs"));
}

use proto::compare::{CompareResult, CompareTarget, TargetUnion};
use proto::kv_client::KvClient;
use proto::request_op::Request;
use proto::{Compare, PutRequest, RangeRequest, RequestOp, TxnRequest};

const KEYS: u64 = 1000;
const VALUE_BYTES: usize = 256;
const PATIENCE: Duration = Duration::from_secs(10);
const RETRY_PAUSE: Duration = Duration::from_millis(10);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Load {
    Put,
    Get,
    Cas,
}

/// A client that prefers one member.
struct Client {
    members: Vec<KvClient<Channel>>,
    preferred: AtomicU64,
}

#[derive(Default)]
struct Seen {
    ended: Vec<(Instant, Duration)>,
    failures: u64,
}

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = BTreeMap::new();
    let mut words = std::env::args().skip(1);
    while let Some(name) = words.next() {
        let value = words.next().ok_or("each option has a value")?;
        arguments.insert(name, value);
    }
    let number = |name: &str, default: u64| -> Result<u64, Box<dyn Error>> {
        Ok(arguments.get(name).map_or(Ok(default), |text| text.parse())?)
    };
    let load = match arguments.get("--load").map(String::as_str) {
        Some("put") => Load::Put,
        Some("get") => Load::Get,
        Some("cas") => Load::Cas,
        _ => return Err("--load is put, get or cas".into()),
    };
    let endpoints = arguments.get("--endpoints").ok_or("--endpoints is missing")?;
    let directory = arguments.get("--tls").ok_or("--tls is missing")?;
    let duration = Duration::from_secs(number("--seconds", 3)?);
    let rate = u32::try_from(number("--rate", 0)?)?;
    let concurrency = usize::try_from(number("--concurrency", 1)?)?;
    let connections = usize::try_from(number("--connections", 1)?)?;
    // As `kv`: one thread drives the client.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let clients = (0..connections)
            .map(|first| connect(endpoints, directory, first).map(Arc::new))
            .collect::<Result<Vec<_>, _>>()?;
        fill(&clients).await?;
        let started = Instant::now();
        let seen = if rate > 0 {
            open_loop(&clients, load, rate, duration).await?
        } else {
            closed_loop(&clients, load, concurrency, duration).await?
        };
        report(load, (rate == 0).then_some(concurrency), started, seen);
        Ok(())
    })
}

fn connect(endpoints: &str, directory: &str, first: usize) -> Result<Client, Box<dyn Error>> {
    let read = |name: &str| std::fs::read(format!("{directory}/{name}"));
    let tls = ClientTlsConfig::new()
        .ca_certificate(Certificate::from_pem(read("ca.pem")?))
        .identity(Identity::from_pem(read("client.pem")?, read("client.key")?));
    let members = endpoints
        .split(',')
        .map(|address| {
            let endpoint = Endpoint::from_shared(format!("https://{address}"))?
                .tls_config(tls.clone())?
                .tcp_nodelay(true);
            Ok(KvClient::new(endpoint.connect_lazy()))
        })
        .collect::<Result<Vec<_>, Box<dyn Error>>>()?;
    Ok(Client {
        members,
        preferred: AtomicU64::new(first as u64),
    })
}

impl Client {
    /// One operation; the revision of the key behind it, or none when a cas failed.
    async fn run(
        &self,
        load: Load,
        key: &Bytes,
        value: &Bytes,
        revision: i64,
    ) -> Result<Option<i64>, tonic::Status> {
        let end = Instant::now() + PATIENCE;
        loop {
            let preferred = self.preferred.load(Ordering::Relaxed);
            let member = &self.members[preferred as usize % self.members.len()];
            match once(member.clone(), load, key, value, revision).await {
                Err(status) if Instant::now() < end => {
                    let _ = self.preferred.compare_exchange(
                        preferred,
                        preferred + 1,
                        Ordering::Relaxed,
                        Ordering::Relaxed,
                    );
                    drop(status);
                    tokio::time::sleep(RETRY_PAUSE).await;
                }
                done => return done,
            }
        }
    }
}

async fn once(
    mut member: KvClient<Channel>,
    load: Load,
    key: &Bytes,
    value: &Bytes,
    revision: i64,
) -> Result<Option<i64>, tonic::Status> {
    let put = PutRequest {
        key: key.clone(),
        value: value.clone(),
    };
    match load {
        Load::Put => {
            let reply = member.put(put).await?.into_inner();
            Ok(reply.header.map(|header| header.revision))
        }
        Load::Get => {
            let request = RangeRequest {
                key: key.clone(),
                serializable: false,
            };
            let reply = member.range(request).await?.into_inner();
            Ok(reply.kvs.first().map(|kv| kv.mod_revision))
        }
        Load::Cas => {
            let request = TxnRequest {
                compare: vec![Compare {
                    result: CompareResult::Equal as i32,
                    target: CompareTarget::Mod as i32,
                    key: key.clone(),
                    target_union: Some(TargetUnion::ModRevision(revision)),
                }],
                success: vec![RequestOp {
                    request: Some(Request::RequestPut(put)),
                }],
            };
            let reply = member.txn(request).await?.into_inner();
            let revision = reply.header.map(|header| header.revision);
            Ok(revision.filter(|_| reply.succeeded))
        }
    }
}

fn key_of(number: u64) -> Bytes {
    Bytes::from(format!("bench/{:08}", number % KEYS))
}

async fn fill(clients: &[Arc<Client>]) -> Result<(), Box<dyn Error>> {
    let value = Bytes::from(vec![b'x'; VALUE_BYTES]);
    let mut workers = tokio::task::JoinSet::new();
    for worker in 0..32 {
        let (client, value) = (Arc::clone(&clients[0]), value.clone());
        workers.spawn(async move {
            for number in (worker..KEYS).step_by(32) {
                client.run(Load::Put, &key_of(number), &value, 0).await?;
            }
            Ok::<(), tonic::Status>(())
        });
    }
    while let Some(worker) = workers.join_next().await {
        worker??;
    }
    Ok(())
}

async fn closed_loop(
    clients: &[Arc<Client>],
    load: Load,
    concurrency: usize,
    duration: Duration,
) -> Result<Seen, Box<dyn Error>> {
    let end = Instant::now() + duration;
    let next = Arc::new(AtomicU64::new(0));
    let mut workers = tokio::task::JoinSet::new();
    for worker in 0..concurrency {
        let client = Arc::clone(&clients[worker % clients.len()]);
        let next = Arc::clone(&next);
        let value = Bytes::from(vec![b'y'; VALUE_BYTES]);
        let own = Bytes::from(format!("bench/cas-{worker:08}"));
        workers.spawn(async move {
            let mut seen = Seen::default();
            let mut revision = 0;
            if load == Load::Cas
                && let Ok(Some(found)) = client.run(Load::Get, &own, &value, 0).await
            {
                revision = found;
            }
            while Instant::now() < end {
                let key = match load {
                    Load::Cas => own.clone(),
                    _ => key_of(next.fetch_add(1, Ordering::Relaxed)),
                };
                let begun = Instant::now();
                match client.run(load, &key, &value, revision).await {
                    Ok(Some(now)) => {
                        revision = now;
                        seen.ended.push((begun, begun.elapsed()));
                    }
                    _ => seen.failures += 1,
                }
            }
            seen
        });
    }
    let mut seen = Seen::default();
    while let Some(worker) = workers.join_next().await {
        let of_worker = worker?;
        seen.ended.extend(of_worker.ended);
        seen.failures += of_worker.failures;
    }
    Ok(seen)
}

async fn open_loop(
    clients: &[Arc<Client>],
    load: Load,
    rate: u32,
    duration: Duration,
) -> Result<Seen, Box<dyn Error>> {
    let value = Bytes::from(vec![b'y'; VALUE_BYTES]);
    let started = Instant::now();
    let mut workers = tokio::task::JoinSet::new();
    for number in 0u32.. {
        let due = started + Duration::from_secs(1) * number / rate;
        if due >= started + duration {
            break;
        }
        tokio::time::sleep_until(due.into()).await;
        let client = Arc::clone(&clients[number as usize % clients.len()]);
        let (key, value) = (key_of(u64::from(number)), value.clone());
        workers.spawn(async move {
            let done = client.run(load, &key, &value, 0).await;
            (due, due.elapsed(), done.is_ok())
        });
    }
    let mut seen = Seen::default();
    while let Some(worker) = workers.join_next().await {
        match worker? {
            (due, took, true) => seen.ended.push((due, took)),
            _ => seen.failures += 1,
        }
    }
    Ok(seen)
}

fn report(load: Load, concurrency: Option<usize>, started: Instant, seen: Seen) {
    let seconds = started.elapsed().as_secs_f64();
    let mut instants: Vec<Instant> = seen.ended.iter().map(|(at, took)| *at + *took).collect();
    instants.push(started);
    instants.sort_unstable();
    let stall = instants.windows(2).map(|pair| pair[1] - pair[0]).max();
    let mut latencies: Vec<Duration> = seen.ended.iter().map(|(_, took)| *took).collect();
    latencies.sort_unstable();
    let milliseconds = |duration: Duration| (duration.as_secs_f64() * 1e6).round() / 1e3;
    let quantile = |share: f64| {
        let last = latencies.len().saturating_sub(1);
        let at = (share * last as f64).ceil() as usize;
        milliseconds(latencies.get(at).copied().unwrap_or_default())
    };
    let load = format!("{load:?}").to_lowercase();
    let concurrency = concurrency.map_or_else(|| "null".to_owned(), |number| number.to_string());
    println!(
        "{{\"load\":\"{load}\",\"concurrency\":{concurrency},\"rate\":{:.0},\"operations\":{},\
         \"failures\":{},\"p50_ms\":{},\"p99_ms\":{},\"p999_ms\":{},\"max_ms\":{},\"stall_ms\":{}}}",
        latencies.len() as f64 / seconds,
        latencies.len(),
        seen.failures,
        quantile(0.5),
        quantile(0.99),
        quantile(0.999),
        quantile(1.0),
        milliseconds(stall.unwrap_or_default()),
    );
}
