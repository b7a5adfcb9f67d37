//! The attackers: one process, one attack.

mod careless;
mod connects;
mod garbage;
mod handshakes;
mod known;
mod lengths;
mod slow;

use std::future::Future;
use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use sealmoot_crypto::signature::SigningKey;
use sealmoot_rpc::Limits;
use sealmoot_rpc::channel::{Channel, Identity, NoiseChannel, Origin, TlsChannel};
use sealmoot_rpc::noise::Options;
use serde_json::json;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};

use crate::field::{Field, HOSTILE_SEED, Sources, key};
use crate::process::cpu_time;

/// What the attackers do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Attack {
    /// 1,000 connections, a byte of a valid first flight every two seconds.
    Slow,
    /// Whole handshakes with keys that the server does not know.
    HandshakesTls,
    HandshakesNoise,
    /// One valid ClientHello over and over: key agreement, KEM and signature.
    HelloTls,
    /// First frames whose tag is wrong.
    FirstFrameTag,
    /// One valid first frame over and over.
    FirstFrameReplay,
    /// Lengths of 2^32-1 and 65535 wherever there is a length.
    LengthsTls,
    LengthsNoise,
    /// Statements of the greatest length, all but a byte, held.
    HelloHeld,
    /// Random bytes as fast as they go.
    GarbageTls,
    GarbageNoise,
    /// Records that are well formed and mean nothing.
    Records,
    /// A ClientHello announced longer than any, in fragments, fast and slow.
    Fragments,
    /// Key updates behind a whole handshake.
    KeyUpdates,
    /// Connections on which nothing is said.
    Silent,
    /// Connections closed at once.
    ConnectAndClose,
    /// Half a first flight, and the end of the stream.
    HalfClose,
    /// An admitted client that takes no reply.
    Mute,
    /// An admitted client with 1,000 calls that never end.
    EndlessCalls,
}

impl Attack {
    const ALL: [Self; 19] = [
        Self::Slow,
        Self::HandshakesTls,
        Self::HandshakesNoise,
        Self::HelloTls,
        Self::FirstFrameTag,
        Self::FirstFrameReplay,
        Self::LengthsTls,
        Self::LengthsNoise,
        Self::HelloHeld,
        Self::GarbageTls,
        Self::GarbageNoise,
        Self::Records,
        Self::Fragments,
        Self::KeyUpdates,
        Self::Silent,
        Self::ConnectAndClose,
        Self::HalfClose,
        Self::Mute,
        Self::EndlessCalls,
    ];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Slow => "slow",
            Self::HandshakesTls => "handshakes-tls",
            Self::HandshakesNoise => "handshakes-noise",
            Self::HelloTls => "flood-hello-tls",
            Self::FirstFrameTag => "flood-noise-wrong-tag",
            Self::FirstFrameReplay => "flood-noise-replay",
            Self::LengthsTls => "lengths-tls",
            Self::LengthsNoise => "lengths-noise",
            Self::HelloHeld => "hello-held",
            Self::GarbageTls => "garbage-tls",
            Self::GarbageNoise => "garbage-noise",
            Self::Records => "records-tls",
            Self::Fragments => "fragments-tls",
            Self::KeyUpdates => "key-updates-tls",
            Self::Silent => "silent",
            Self::ConnectAndClose => "connect-and-close",
            Self::HalfClose => "half-close",
            Self::Mute => "mute-client",
            Self::EndlessCalls => "endless-calls",
        }
    }
}

/// What the attackers share.
#[derive(Debug)]
struct Campaign {
    field: Field,
    sources: Sources,
    until: Instant,
    limits: Limits,
    connections: AtomicU64,
    /// Connections on which the server answered anything.
    answered: AtomicU64,
    bytes: AtomicU64,
    longest_ms: AtomicU64,
    /// Connections that outlived the attack.
    left: AtomicU64,
    serial: AtomicU64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Over {
    Tls,
    Noise,
}

impl Over {
    /// Half of the attackers over each.
    fn of(worker: u32) -> Self {
        if worker.is_multiple_of(2) {
            Self::Tls
        } else {
            Self::Noise
        }
    }
}

/// Attacks for as long as told, then prints what it was like.
pub(crate) fn run(name: &str, sources: &str, milliseconds: &str) {
    // Without this the attackers would slow the server by running beside it.
    let _ = rustix::process::setpriority_process(None, 19);
    let attack = Attack::ALL
        .into_iter()
        .find(|attack| attack.name() == name)
        .expect("the parent names one of them");
    let duration = Duration::from_millis(milliseconds.parse().expect("the parent writes it"));
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime");
    runtime.block_on(async {
        let campaign = Arc::new(Campaign {
            field: Field::of_environment(),
            sources: Sources::parse(sources),
            until: Instant::now() + duration,
            // Attackers have no limits of their own.
            limits: Limits {
                unauthenticated_bytes_max: usize::MAX,
                ..Limits::default()
            },
            connections: AtomicU64::new(0),
            answered: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
            longest_ms: AtomicU64::new(0),
            left: AtomicU64::new(0),
            serial: AtomicU64::new(0),
        });
        campaign.lead(attack).await;
        let cpu = cpu_time(std::process::id());
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        println!(
            "{}",
            json!({
                "connections": read(&campaign.connections),
                "answered": read(&campaign.answered),
                "bytes": read(&campaign.bytes),
                "longest_ms": read(&campaign.longest_ms),
                "left": read(&campaign.left),
                "cpu_ms": u64::try_from(cpu.as_millis()).unwrap_or(u64::MAX),
            })
        );
        io::stdout().flush().expect("the parent reads");
    });
    // Attackers that still wait for something are of no interest.
    runtime.shutdown_background();
}

impl Campaign {
    async fn lead(self: &Arc<Self>, attack: Attack) {
        match attack {
            Attack::Slow => slow::byte_by_byte(self).await,
            Attack::HandshakesTls => handshakes::whole(self, Over::Tls).await,
            Attack::HandshakesNoise => handshakes::whole(self, Over::Noise).await,
            Attack::HelloTls => handshakes::first_flights(self, Over::Tls, false).await,
            Attack::FirstFrameTag => handshakes::first_flights(self, Over::Noise, true).await,
            Attack::FirstFrameReplay => handshakes::first_flights(self, Over::Noise, false).await,
            Attack::LengthsTls => lengths::longest(self, Over::Tls).await,
            Attack::LengthsNoise => lengths::longest(self, Over::Noise).await,
            Attack::HelloHeld => lengths::statements_held(self).await,
            Attack::GarbageTls => garbage::random(self, Over::Tls).await,
            Attack::GarbageNoise => garbage::random(self, Over::Noise).await,
            Attack::Records => garbage::records(self).await,
            Attack::Fragments => garbage::fragments(self).await,
            Attack::KeyUpdates => garbage::key_updates(self).await,
            Attack::Silent => connects::silent(self).await,
            Attack::ConnectAndClose => connects::close_at_once(self).await,
            Attack::HalfClose => connects::half_close(self).await,
            Attack::Mute => known::mute(self).await,
            Attack::EndlessCalls => known::endless_calls(self).await,
        }
    }

    /// `count` attackers at a time, each doing `attack` again and again.
    async fn squad<A, F>(self: &Arc<Self>, count: u32, attack: A)
    where
        A: Fn(Arc<Self>, u32, u64) -> F + Send + Sync + 'static,
        F: Future<Output = io::Result<()>> + Send,
    {
        let attack = Arc::new(attack);
        let mut tasks = tokio::task::JoinSet::new();
        for worker in 0..count {
            let (campaign, attack) = (Arc::clone(self), Arc::clone(&attack));
            tasks.spawn(async move {
                for round in 0.. {
                    let left = campaign.until.saturating_duration_since(Instant::now());
                    if left.is_zero() {
                        break;
                    }
                    let once = attack(Arc::clone(&campaign), worker, round);
                    match timeout(left, once).await {
                        Ok(Ok(())) => {}
                        // Refused by the system, for want of ports or of a
                        // listener's patience.
                        Ok(Err(_)) => tokio::time::sleep(Duration::from_millis(1)).await,
                        Err(_) => {
                            campaign.left.fetch_add(1, Ordering::Relaxed);
                        }
                    }
                }
            });
        }
        while tasks.join_next().await.is_some() {}
    }

    /// The next connection, from the next source.
    async fn connect(&self, over: Over) -> io::Result<TcpStream> {
        self.connect_from(self.sources, over).await
    }

    async fn connect_from(&self, sources: Sources, over: Over) -> io::Result<TcpStream> {
        let serial = self.serial.fetch_add(1, Ordering::Relaxed);
        let address = match over {
            Over::Tls => self.field.tls,
            Over::Noise => self.field.noise,
        };
        let source = u32::try_from(serial % u64::from(u32::MAX)).expect("below it");
        let stream = sources.connect(source, address).await?;
        self.connections.fetch_add(1, Ordering::Relaxed);
        Ok(stream)
    }

    /// A channel, in which `identity` is proved.
    async fn open(&self, over: Over, identity: &Identity) -> io::Result<Box<dyn Channel>> {
        self.open_from(self.sources, over, identity).await
    }

    /// The same as somebody whom the server admits.
    async fn open_admitted(&self, over: Over) -> io::Result<Box<dyn Channel>> {
        let identity = Identity::new(&key(HOSTILE_SEED)).expect("a sound key");
        self.open_from(Sources::Admitted, over, &identity).await
    }

    async fn open_from(
        &self,
        sources: Sources,
        over: Over,
        identity: &Identity,
    ) -> io::Result<Box<dyn Channel>> {
        let stream = self.connect_from(sources, over).await?;
        let origin = Origin::Network(stream.peer_addr()?);
        match over {
            Over::Tls => TlsChannel::connect(identity, stream, origin, &self.limits)
                .await
                .map(|channel| Box::new(channel) as Box<dyn Channel>),
            Over::Noise => NoiseChannel::connect(
                identity,
                &self.field.noise_target(),
                &Options::default(),
                stream,
                origin,
                &self.limits,
            )
            .await
            .map(|channel| Box::new(channel) as Box<dyn Channel>),
        }
        .map_err(io::Error::other)
    }

    /// What an honest client would send first.
    async fn first_flight(&self, over: Over) -> Vec<u8> {
        let (near, mut far) = tokio::io::duplex(64 * 1024);
        let identity = Identity::new(&fresh_key()).expect("a sound key");
        let origin = Origin::Memory;
        let target = self.field.noise_target();
        let options = Options::default();
        let open = async {
            match over {
                Over::Tls => {
                    let opened = TlsChannel::connect(&identity, near, origin, &self.limits).await;
                    opened.map(|_| ())
                }
                Over::Noise => {
                    let limits = &self.limits;
                    let opened =
                        NoiseChannel::connect(&identity, &target, &options, near, origin, limits);
                    opened.await.map(|_| ())
                }
            }
        };
        let mut flight = vec![0; 64 * 1024];
        let length = tokio::select! {
            biased;
            _ = open => unreachable!("nobody answers"),
            read = far.read(&mut flight) => read.expect("memory does not fail"),
        };
        flight.truncate(length);
        flight
    }

    fn sent(&self, bytes: usize) {
        let bytes = u64::try_from(bytes).unwrap_or(u64::MAX);
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    fn lived(&self, since: Instant) {
        let lived = u64::try_from(since.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.longest_ms.fetch_max(lived, Ordering::Relaxed);
    }

    /// Reads to the end of the stream, whatever the end is.
    async fn await_end(&self, stream: &mut (impl AsyncRead + AsyncWrite + Unpin)) {
        let mut scrap = [0; 4096];
        let mut is_first = true;
        while let Ok(read) = stream.read(&mut scrap).await {
            if read == 0 {
                break;
            }
            if is_first {
                self.answered.fetch_add(1, Ordering::Relaxed);
                is_first = false;
            }
        }
    }
}

fn fresh_key() -> SigningKey {
    SigningKey::generate().expect("random source")
}
