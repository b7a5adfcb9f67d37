//! Unary calls over each transport: ours alone, for the documentation.

use std::any::Any;
use std::sync::Arc;
use std::time::{Duration, Instant};

use sealmoot_rpc::bytes::Bytes;
use sealmoot_rpc::channel::{AllowedUsers, Identity, Transport};
use sealmoot_rpc::noise::{Acceptance, Options, Pattern};
use sealmoot_rpc::{
    Authorizer, CallContext, Candidate, Connection, Connector, Limits, Refusal, ReplyFuture,
    Router, Server, ServerHandle, Service,
};
use tokio::net::{TcpListener, UnixListener};

use super::cores::Cores;
use super::parties::Parties;
use crate::measure::{Effort, Subject, data, in_turns};
use crate::table::Table;

const ECHO: u64 = 0x6563_686f;
const BODY_BYTES: usize = 64;
const PATIENCE: Duration = Duration::from_secs(10);
/// Calls one behind the other in each of those in flight.
const CALLS: u32 = 8;

const TRANSPORTS: [Transport; 4] = [
    Transport::Tls,
    Transport::Noise,
    Transport::Unix,
    Transport::Memory,
];

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
    let socket = std::env::temp_dir().join(format!("sealmoot-peers-{}", std::process::id()));
    let parties = Parties::new();
    let listening = start(parties.server.clone(), socket.clone());
    let server = cores.run(cores.far().spawn(listening)).expect("a server");
    let connections = TRANSPORTS.map(|transport| {
        cores.run(async {
            connect(&server, &parties, &socket, transport)
                .await
                .unwrap_or_else(|error| panic!("{transport}: {error}"))
        })
    });
    let _ = std::fs::remove_file(&socket);
    for in_flight in [1, 64] {
        table.title(&format!(
            "unary call of 64 B, {in_flight} in flight; {place} (ours alone)"
        ));
        let mut subjects: Vec<_> = connections
            .iter()
            .map(|connection| calling(cores, connection, in_flight))
            .collect();
        let samples = in_turns(effort, &mut subjects);
        for (transport, samples) in TRANSPORTS.iter().zip(&samples) {
            table.speed(&format!("over {transport}"), samples, 0);
        }
    }
    drop(connections);
    cores.run(server.drain(Duration::from_millis(100)));
}

fn calling<'a>(cores: &'a Cores, connection: &'a Connection, in_flight: u32) -> Subject<'a> {
    let body = Bytes::from(data(BODY_BYTES));
    Subject::prepared(in_flight * CALLS, move || {
        cores.run(async {
            let started = Instant::now();
            let tasks: Vec<_> = (0..in_flight)
                .map(|_| {
                    let (connection, body) = (connection.clone(), body.clone());
                    tokio::spawn(async move {
                        for _ in 0..CALLS {
                            let reply = connection.call(ECHO, body.clone(), PATIENCE).await;
                            assert_eq!(reply.expect("an answer").len(), BODY_BYTES);
                        }
                    })
                })
                .collect();
            for task in tasks {
                task.await.expect("calls are answered");
            }
            started.elapsed()
        })
    })
}

async fn start(identity: Identity, socket: std::path::PathBuf) -> ServerHandle {
    let port = || TcpListener::bind("127.0.0.1:0");
    let _ = std::fs::remove_file(&socket);
    Server::builder(
        identity,
        Arc::new(Anyone),
        Router::new().service(Echo).expect("one service"),
        Limits::default(),
    )
    .tls(port().await.expect("a port"))
    .noise(port().await.expect("a port"), Acceptance::default())
    .unix(
        UnixListener::bind(socket).expect("a socket"),
        AllowedUsers::own(),
    )
    .start()
    .expect("sound configuration")
}

async fn connect(
    server: &ServerHandle,
    parties: &Parties,
    socket: &std::path::Path,
    transport: Transport,
) -> Result<Connection, sealmoot_rpc::ConnectError> {
    let [tls, noise] = server.local_addrs() else {
        unreachable!("two listeners");
    };
    let connector =
        Connector::with_identity(parties.client.clone(), Arc::new(Anyone), Limits::default())
            .expect("sound limits");
    match transport {
        Transport::Tls => connector.connect(&tls.to_string(), PATIENCE).await,
        Transport::Noise => {
            let target = parties.target(Pattern::Ik);
            let address = noise.to_string();
            connector
                .connect_noise(&address, &target, &Options::default(), PATIENCE)
                .await
        }
        Transport::Unix => {
            let users = AllowedUsers::own();
            connector.connect_unix(socket, &users, PATIENCE).await
        }
        Transport::Memory => connector.connect_memory(&server.door(), PATIENCE).await,
    }
}

struct Echo;

impl Service for Echo {
    fn methods(&self) -> &[u64] {
        &[ECHO]
    }

    fn call(&self, _: CallContext, _: u64, body: Bytes) -> ReplyFuture {
        Box::pin(async move { Ok(body) })
    }
}

struct Anyone;

impl Authorizer for Anyone {
    fn present(&self) -> Bytes {
        Bytes::new()
    }

    fn authorize(&self, _: &Candidate<'_>) -> Result<Arc<dyn Any + Send + Sync>, Refusal> {
        Ok(Arc::new(()))
    }
}
