//! The honest clients: calls at a fixed rate over connections that last, and
//! new connections at a low rate, in turn from addresses that were here before
//! any siege and from such as never were.
//!
//! Latencies run from the moment at which a call was *due*. A client that waits
//! for the server before it counts on would hide the very stalls looked for.
//!
//! On a virtual machine the host takes the processors away at times, for longer
//! than any call takes. The kernel counts that as stolen time, and latencies of
//! such moments are counted and left out: they say nothing about the server.

use std::any::Any;
use std::io::{self, Write};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use sealmoot_rpc::bytes::Bytes;
use sealmoot_rpc::channel::{Channel, Identity, NoiseChannel, Origin, TlsChannel};
use sealmoot_rpc::frame::{FLAG_WELCOME, HEADER_BYTES, Header, Kind};
use sealmoot_rpc::noise::Options;
use sealmoot_rpc::{Authorizer, Candidate, ConnectError, Connection, Connector, Limits, Refusal};
use serde_json::json;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::runtime::Handle;
use tokio::time::{MissedTickBehavior, interval, timeout};

use crate::field::{ECHO, Field, HONEST_SEED, KNOWN_SOURCES, Sources, hello, key};
use crate::process::stolen_ticks;

/// One call each two milliseconds, over four connections.
const CALL_EVERY: Duration = Duration::from_millis(2);
const CONNECTIONS: usize = 4;
const CALL_BYTES: usize = 256;
const CONNECT_EVERY: Duration = Duration::from_millis(200);
const PATIENCE: Duration = Duration::from_secs(10);

/// How often stolen time is looked at.
const SLOT: Duration = Duration::from_millis(20);

/// What happened since the parent last asked.
#[derive(Default)]
struct Samples {
    slots: Slots,
    calls_us: Vec<u64>,
    calls_stolen: usize,
    calls_failed: u64,
    connects_known_us: Vec<u64>,
    connects_new_us: Vec<u64>,
    connects_failed: u64,
    failure: Option<String>,
}

/// Latencies that wait until it is known whether the machine was ours.
#[derive(Default)]
struct Slots {
    stolen_ticks: u64,
    current: Vec<u64>,
    previous: Vec<u64>,
    previous_is_stolen: bool,
}

impl Slots {
    /// Ends the slot at a time at which so much has been stolen in all. Returns
    /// the latencies that are now decided, and whether they count: they do when
    /// nothing was stolen in their slot nor in the one behind it, since the
    /// kernel may count late.
    fn end(&mut self, stolen_ticks: u64) -> (Vec<u64>, bool) {
        let is_stolen = stolen_ticks != self.stolen_ticks;
        self.stolen_ticks = stolen_ticks;
        let counts = !is_stolen && !self.previous_is_stolen;
        self.previous_is_stolen = is_stolen;
        let current = std::mem::take(&mut self.current);
        (std::mem::replace(&mut self.previous, current), counts)
    }
}

type Shared = Arc<Mutex<Samples>>;

/// Calls until standard input ends; each line on it asks for the samples.
pub(crate) fn run() {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime")
        .block_on(serve_parent());
}

async fn serve_parent() {
    let field = Field::of_environment();
    let connector = Connector::new(&key(HONEST_SEED), Arc::new(Anyone), Limits::default())
        .expect("a sound key");
    let samples = Shared::default();
    let mut connections = Vec::new();
    for index in 0..CONNECTIONS {
        let connection = connect(&connector, &field, index).await;
        connections.push(connection.expect("nobody attacks yet"));
    }
    let (runtime, call_samples) = (Handle::current(), Arc::clone(&samples));
    std::thread::spawn(move || call_steadily(&connections, &call_samples, &runtime));
    let identity = Identity::new(&key(HONEST_SEED)).expect("a sound key");
    for index in 0..KNOWN_SOURCES {
        let newcomer = Newcomer::known(index);
        let welcomed = timeout(PATIENCE, newcomer.connect(&identity, &field)).await;
        welcomed
            .expect("an idle server answers")
            .expect("nobody attacks yet");
    }
    tokio::spawn(connect_steadily(identity, field, Arc::clone(&samples)));
    let slot_samples = Arc::clone(&samples);
    std::thread::spawn(move || end_slots(&slot_samples));
    let mut lines = BufReader::new(tokio::io::stdin()).lines();
    while let Ok(Some(_)) = lines.next_line().await {
        let taken = {
            let mut samples = lock(&samples);
            let slots = std::mem::take(&mut samples.slots);
            let taken = std::mem::take(&mut *samples);
            samples.slots = slots;
            taken
        };
        println!(
            "{}",
            json!({
                "calls_us": taken.calls_us,
                "calls_stolen": taken.calls_stolen,
                "calls_failed": taken.calls_failed,
                "connects_known_us": taken.connects_known_us,
                "connects_new_us": taken.connects_new_us,
                "connects_failed": taken.connects_failed,
                "failure": taken.failure,
            })
        );
        std::io::stdout().flush().expect("the parent reads");
    }
}

/// Over TLS and Noise in turn.
async fn connect(
    connector: &Connector,
    field: &Field,
    index: usize,
) -> Result<Connection, ConnectError> {
    if index.is_multiple_of(2) {
        connector.connect(&field.tls.to_string(), PATIENCE).await
    } else {
        let (address, target) = (field.noise.to_string(), field.noise_target());
        connector
            .connect_noise(&address, &target, &Options::default(), PATIENCE)
            .await
    }
}

/// On a thread of its own, whose sleep is finer than the millisecond of the
/// runtime's timers.
fn call_steadily(connections: &[Connection], samples: &Shared, runtime: &Handle) {
    let body = Bytes::from(vec![7; CALL_BYTES]);
    let mut due = Instant::now();
    for connection in connections.iter().cycle() {
        due += CALL_EVERY;
        // One that comes late keeps its time, and so do those behind it.
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
        let (connection, body, samples) = (connection.clone(), body.clone(), Arc::clone(samples));
        runtime.spawn(async move {
            let outcome = connection.call(ECHO, body, PATIENCE).await;
            let elapsed_us = micros(due);
            let mut samples = lock(&samples);
            match outcome {
                Ok(_) => samples.slots.current.push(elapsed_us),
                Err(status) => {
                    samples.calls_failed += 1;
                    samples.failure = Some(format!("call: {status}"));
                }
            }
        });
    }
}

/// Decides which latencies count, slot by slot.
fn end_slots(samples: &Shared) {
    loop {
        std::thread::sleep(SLOT);
        let ticks = stolen_ticks();
        let mut samples = lock(samples);
        let (decided, counts) = samples.slots.end(ticks);
        if counts {
            samples.calls_us.extend(decided);
        } else {
            samples.calls_stolen += decided.len();
        }
    }
}

async fn connect_steadily(identity: Identity, field: Field, samples: Shared) {
    let mut ticks = interval(CONNECT_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
    for index in 0.. {
        let due = ticks.tick().await.into_std();
        let (identity, field, samples) = (identity.clone(), field.clone(), Arc::clone(&samples));
        let newcomer = if index % 2 == 0 {
            Newcomer::known(index / 2)
        } else {
            Newcomer::unknown(index / 2)
        };
        tokio::spawn(async move {
            let outcome = timeout(PATIENCE, newcomer.connect(&identity, &field)).await;
            let elapsed_us = micros(due);
            let mut samples = lock(&samples);
            let kind = newcomer.sources.word();
            match outcome {
                Ok(Ok(())) if newcomer.sources == Sources::Known => {
                    samples.connects_known_us.push(elapsed_us);
                }
                Ok(Ok(())) => samples.connects_new_us.push(elapsed_us),
                Ok(Err(error)) => {
                    samples.connects_failed += 1;
                    samples.failure = Some(format!("connect, {kind}: {error}"));
                }
                Err(_) => {
                    samples.connects_failed += 1;
                    samples.failure = Some(format!("connect, {kind}: no welcome in 10 s"));
                }
            }
        });
    }
}

/// An honest client that connects and leaves when it is welcome.
#[derive(Clone, Copy, Debug)]
struct Newcomer {
    sources: Sources,
    index: u32,
    is_tls: bool,
}

impl Newcomer {
    /// From one of the known addresses, all of which come round; in the next
    /// round over the other protocol.
    fn known(index: u32) -> Self {
        Self {
            sources: Sources::Known,
            index,
            is_tls: (index + index / KNOWN_SOURCES).is_multiple_of(2),
        }
    }

    /// From an address that was never here, over TLS and Noise in turn.
    fn unknown(index: u32) -> Self {
        Self {
            sources: Sources::New,
            index,
            is_tls: index.is_multiple_of(2),
        }
    }

    async fn connect(self, identity: &Identity, field: &Field) -> io::Result<()> {
        let (limits, options) = (Limits::default(), Options::default());
        let address = if self.is_tls { field.tls } else { field.noise };
        let stream = self.sources.connect(self.index, address).await?;
        let origin = Origin::Network(address);
        let mut channel: Box<dyn Channel> = if self.is_tls {
            let opened = TlsChannel::connect(identity, stream, origin, &limits).await;
            Box::new(opened.map_err(io::Error::other)?)
        } else {
            let target = field.noise_target();
            let opened =
                NoiseChannel::connect(identity, &target, &options, stream, origin, &limits).await;
            Box::new(opened.map_err(io::Error::other)?)
        };
        hear_hello(&mut channel, 0).await?;
        channel.write_all(&hello(b"honest")).await?;
        channel.flush().await?;
        hear_hello(&mut channel, FLAG_WELCOME).await
    }
}

/// Reads exactly one frame, which is a hello with these flags.
async fn hear_hello(channel: &mut Box<dyn Channel>, flags: u8) -> io::Result<()> {
    let mut header = [0; HEADER_BYTES];
    channel.read_exact(&mut header).await?;
    let header = Header::decode(&header).map_err(io::Error::other)?;
    let mut payload = vec![0; header.length];
    channel.read_exact(&mut payload).await?;
    if header.kind == Kind::Hello && header.flags == flags {
        Ok(())
    } else {
        Err(io::Error::other("refused"))
    }
}

fn micros(since: Instant) -> u64 {
    u64::try_from(since.elapsed().as_micros()).unwrap_or(u64::MAX)
}

fn lock(samples: &Shared) -> std::sync::MutexGuard<'_, Samples> {
    samples.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The server's key is not what is looked at here.
struct Anyone;

impl Authorizer for Anyone {
    fn present(&self) -> Bytes {
        Bytes::from_static(b"honest")
    }

    fn authorize(&self, _: &Candidate<'_>) -> Result<Arc<dyn Any + Send + Sync>, Refusal> {
        Ok(Arc::new(()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn latencies_of_stolen_moments_do_not_count() {
        let mut slots = Slots::default();
        // What each slot ends with, and whether the slot before it counts then.
        let ends = [
            (0, true),
            (0, true),
            (3, false),
            (3, false),
            (3, true),
            (4, false),
        ];
        for (index, (ticks, counts)) in (0..).zip(ends) {
            slots.current.push(index);
            let (decided, counted) = slots.end(ticks);
            assert_eq!(
                decided,
                index.checked_sub(1).into_iter().collect::<Vec<_>>()
            );
            assert_eq!(counted, counts, "slot {index}");
        }
    }
}
