//! Bytes through an open channel: one way in writes of a size, and there and back.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use rustls::crypto::ring::cipher_suite::{
    TLS13_AES_256_GCM_SHA384, TLS13_CHACHA20_POLY1305_SHA256,
};
use sealmoot_rpc::channel::{
    AllowedUsers, Channel, MemoryChannel, NoiseChannel, Origin, TlsChannel, UnixChannel,
};
use sealmoot_rpc::noise::{Hash, Hybrid, Pattern};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UnixStream};
use tokio::sync::oneshot;

use super::certificates::Ends;
use super::cores::Cores;
use super::parties::{Parties, nowhere, options, provider_with, shared, suite};
use crate::measure::{Effort, Samples, Subject, data, in_turns};
use crate::table::{Goal, Table};

/// Bytes a write, and how many writes stand between two acknowledgements.
const WRITES: [(&str, usize, u32); 4] = [
    ("64 B", 64, 1024),
    ("1 KiB", 1 << 10, 256),
    ("16 KiB", 1 << 14, 32),
    ("1 MiB", 1 << 20, 4),
];
const PING_BYTES: usize = 64;
const PINGS: u32 = 32;

/// What carries the bytes.
#[derive(Clone)]
enum By {
    Tcp,
    Rustls(Ends),
    Tls,
    Noise,
    Unix,
    Memory,
}

const NAMES: [&str; 7] = [
    "TCP",
    "tokio-rustls AES-256-GCM",
    "tokio-rustls ChaCha20",
    "TlsChannel AES-256-GCM",
    "NoiseChannel ChaCha20",
    "UnixChannel",
    "MemoryChannel",
];
const TCP: usize = 0;
const RUSTLS_AES: usize = 1;
const RUSTLS_CHACHA: usize = 2;
const TLS: usize = 3;
const NOISE: usize = 4;

/// On one core, then on two.
///
/// # Panics
/// When the system gives no sockets.
pub fn compare(table: &mut Table, effort: Effort) {
    on(table, effort, &Cores::one(), "both ends on one core");
    match Cores::two() {
        Some(cores) => on(table, effort, &cores, "each end on its own core"),
        None => table.skipped("each end on its own core", "there is only one"),
    }
}

fn on(table: &mut Table, effort: Effort, cores: &Cores, place: &str) {
    let parties = Arc::new(Parties::new());
    let ends = |suite| Ends::certified(shared(provider_with(suite)));
    let mut lines: Vec<Line> = [
        By::Tcp,
        By::Rustls(ends(TLS13_AES_256_GCM_SHA384)),
        By::Rustls(ends(TLS13_CHACHA20_POLY1305_SHA256)),
        By::Tls,
        By::Noise,
        By::Unix,
        By::Memory,
    ]
    .into_iter()
    .map(|by| Line::open(cores, &parties, &by))
    .collect();
    for (size_name, size, writes) in WRITES {
        table.title(&format!(
            "one way, {size_name} a write, each flushed; {place} (information)"
        ));
        let plain = data(size);
        let mut subjects: Vec<_> = lines
            .iter_mut()
            .map(|line| line.one_way(cores, &plain, writes))
            .collect();
        let samples = in_turns(effort, &mut subjects);
        for (name, samples) in NAMES.iter().zip(&samples) {
            table.speed(name, samples, size);
        }
        ratios(table, &samples);
    }
    table.title(&format!("64 B there and 64 B back; {place} (information)"));
    let plain = data(PING_BYTES);
    let mut subjects: Vec<_> = lines
        .iter_mut()
        .map(|line| line.there_and_back(cores, &plain))
        .collect();
    let samples = in_turns(effort, &mut subjects);
    for (name, samples) in NAMES.iter().zip(&samples) {
        table.speed(name, samples, 0);
    }
    ratios(table, &samples);
}

fn ratios(table: &mut Table, samples: &[Samples]) {
    table.columns();
    for (ours, peer) in [
        (TLS, RUSTLS_AES),
        (NOISE, RUSTLS_CHACHA),
        (TLS, TCP),
        (NOISE, TCP),
    ] {
        let row = format!("{}, {}", short(ours), NAMES[peer]);
        table.row(&row, Goal::NONE, &samples[ours], &samples[peer]);
    }
}

fn short(ours: usize) -> &'static str {
    NAMES[ours].split(' ').next().unwrap_or_default()
}

/// The two ends of a stream, as tasks see them.
trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

/// What the far end answers: so many bytes when so many have come. The near end
/// sends nothing while it waits, so it may change this between two bursts.
#[derive(Default)]
struct Plan {
    request_bytes: AtomicUsize,
    reply_bytes: AtomicUsize,
}

/// An open stream whose far end follows a plan.
struct Line {
    near: Box<dyn Stream>,
    plan: Arc<Plan>,
}

impl Line {
    fn open(cores: &Cores, parties: &Arc<Parties>, by: &By) -> Self {
        let plan = Arc::new(Plan::default());
        let near = match by {
            By::Memory => {
                let (near, far) =
                    MemoryChannel::pair(&parties.client, &parties.server).expect("randomness");
                cores.far().spawn(answer(Box::new(far), Arc::clone(&plan)));
                Box::new(near)
            }
            By::Unix => open_unix(cores, parties, &plan),
            _ => open_tcp(cores, parties, by, &plan),
        };
        Self { near, plan }
    }

    fn one_way<'a>(&'a mut self, cores: &'a Cores, plain: &'a [u8], writes: u32) -> Subject<'a> {
        self.expect(plain.len() * writes as usize, 1);
        let near = &mut self.near;
        Subject::prepared(writes, move || {
            let started = Instant::now();
            let done: io::Result<()> = cores.run(async {
                for _ in 0..writes {
                    near.write_all(plain).await?;
                    near.flush().await?;
                }
                near.read_exact(&mut [0]).await.map(|_| ())
            });
            done.expect("an open stream");
            started.elapsed()
        })
    }

    fn there_and_back<'a>(&'a mut self, cores: &'a Cores, plain: &'a [u8]) -> Subject<'a> {
        self.expect(PING_BYTES, PING_BYTES);
        let near = &mut self.near;
        Subject::prepared(PINGS, move || {
            let started = Instant::now();
            let done: io::Result<()> = cores.run(async {
                for _ in 0..PINGS {
                    near.write_all(plain).await?;
                    near.flush().await?;
                    near.read_exact(&mut [0; PING_BYTES]).await?;
                }
                Ok(())
            });
            done.expect("an open stream");
            started.elapsed()
        })
    }

    /// What the far end is to wait for from now on.
    fn expect(&self, request_bytes: usize, reply_bytes: usize) {
        let Plan {
            request_bytes: request,
            reply_bytes: reply,
        } = &*self.plan;
        request.store(request_bytes, Ordering::SeqCst);
        reply.store(reply_bytes, Ordering::SeqCst);
    }
}

async fn answer(mut far: Box<dyn Stream>, plan: Arc<Plan>) {
    let mut buffer = vec![0; 128 * 1024];
    let mut received = 0;
    while let Ok(count @ 1..) = far.read(&mut buffer).await {
        received += count;
        if received < plan.request_bytes.load(Ordering::SeqCst) {
            continue;
        }
        received = 0;
        let reply = &buffer[..plan.reply_bytes.load(Ordering::SeqCst)];
        if far.write_all(reply).await.is_err() || far.flush().await.is_err() {
            return;
        }
    }
}

fn open_tcp(cores: &Cores, parties: &Arc<Parties>, by: &By, plan: &Arc<Plan>) -> Box<dyn Stream> {
    let (tell, told) = oneshot::channel();
    let (plan, far_parties, far_by) = (Arc::clone(plan), Arc::clone(parties), by.clone());
    cores.far().spawn(async move {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let _ = tell.send(listener.local_addr().expect("bound"));
        let (stream, _) = listener.accept().await.expect("a client");
        let far = accept(stream, &far_parties, &far_by).await;
        answer(far, plan).await;
    });
    cores.run(async {
        let address = told.await.expect("an address");
        let stream = TcpStream::connect(address).await.expect("a listener");
        connect(stream, parties, by).await
    })
}

async fn connect(stream: TcpStream, parties: &Parties, by: &By) -> Box<dyn Stream> {
    stream.set_nodelay(true).expect("a socket");
    let origin = Origin::Network(stream.peer_addr().expect("connected"));
    let Parties { client, limits, .. } = parties;
    match by {
        By::Rustls(ends) => Box::new(ends.connect(stream).await),
        By::Tls => {
            let opened = TlsChannel::connect(client, stream, origin, limits).await;
            lifted(opened.expect("opened"))
        }
        By::Noise => {
            let options = options(suite(Pattern::Ik, Hash::Sha256, Hybrid::MlKem768));
            let target = parties.target(Pattern::Ik);
            let opened =
                NoiseChannel::connect(client, &target, &options, stream, origin, limits).await;
            lifted(opened.expect("opened"))
        }
        _ => Box::new(stream),
    }
}

async fn accept(stream: TcpStream, parties: &Parties, by: &By) -> Box<dyn Stream> {
    stream.set_nodelay(true).expect("a socket");
    let Parties { server, limits, .. } = parties;
    match by {
        By::Rustls(ends) => Box::new(ends.accept(stream).await),
        By::Tls => {
            let opened = TlsChannel::accept(server, stream, nowhere(), limits).await;
            lifted(opened.expect("opened"))
        }
        By::Noise => {
            let suite = suite(Pattern::Ik, Hash::Sha256, Hybrid::MlKem768);
            let acceptance = parties.acceptance(suite);
            let opened = NoiseChannel::accept(server, &acceptance, stream, nowhere(), limits).await;
            lifted(opened.expect("opened"))
        }
        _ => Box::new(stream),
    }
}

fn open_unix(cores: &Cores, parties: &Arc<Parties>, plan: &Arc<Plan>) -> Box<dyn Stream> {
    let (near, far) = std::os::unix::net::UnixStream::pair().expect("sockets");
    for socket in [&near, &far] {
        socket.set_nonblocking(true).expect("a socket");
    }
    let users = AllowedUsers::own();
    let (plan, far_parties, far_users) = (Arc::clone(plan), Arc::clone(parties), users.clone());
    cores.far().spawn(async move {
        let Parties { server, limits, .. } = &*far_parties;
        let stream = UnixStream::from_std(far).expect("a socket");
        let opened = UnixChannel::accept(server, stream, &far_users, limits).await;
        answer(lifted(opened.expect("opened")), plan).await;
    });
    cores.run(async {
        let Parties { client, limits, .. } = &**parties;
        let stream = UnixStream::from_std(near).expect("a socket");
        let opened = UnixChannel::connect(client, stream, &users, limits).await;
        lifted(opened.expect("opened"))
    })
}

fn lifted(mut channel: impl Channel + 'static) -> Box<dyn Stream> {
    channel.lift_byte_limit();
    Box::new(channel)
}
