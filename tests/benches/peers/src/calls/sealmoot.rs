//! `sealmoot-rpc` by generated stubs, over each of its transports. It has none
//! in clear over TCP.

use std::any::Any;
use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use sealmoot_rpc::channel::{AllowedUsers, Identity};
use sealmoot_rpc::noise::{Acceptance, Options, Pattern};
use sealmoot_rpc::{
    Authorizer, CallContext, Candidate, Connector, Limits, Refusal, Requests, Router, Server,
    ServerHandle, Status,
};
use tokio::net::{TcpListener, UnixListener};

use super::line::{Caller, Line, PATIENCE, Stub};
use crate::channel::cores::Cores;
use crate::channel::parties::Parties;

// Public within what is not.
#[allow(unreachable_pub)]
mod proto {
    sealmoot_rpc::include_proto!("peers.calls.v1");
}

use proto::{Calls, CallsClient, CallsServer, Message, Sum};

/// One connection by TLS, Noise, Unix socket and memory each, in this order.
///
/// # Panics
/// When the system gives no sockets.
#[must_use]
pub fn open(cores: &Cores) -> Vec<Box<dyn Line>> {
    let socket = std::env::temp_dir().join(format!("sealmoot-calls-{}", std::process::id()));
    let parties = Parties::new();
    let starting = start(parties.server.clone(), socket.clone());
    let server = Arc::new(cores.run(cores.far().spawn(starting)).expect("a server"));
    let connections = cores.run(async {
        let [tls, noise] = server.local_addrs() else {
            unreachable!("two listeners");
        };
        let connector =
            Connector::with_identity(parties.client.clone(), Arc::new(Anyone), Limits::default())
                .expect("sound limits");
        let target = parties.target(Pattern::Ik);
        [
            connector.connect(&tls.to_string(), PATIENCE).await,
            connector
                .connect_noise(&noise.to_string(), &target, &Options::default(), PATIENCE)
                .await,
            connector
                .connect_unix(&socket, &AllowedUsers::own(), PATIENCE)
                .await,
            connector.connect_memory(&server.door(), PATIENCE).await,
        ]
    });
    let _ = std::fs::remove_file(&socket);
    connections
        .into_iter()
        .map(|connection| {
            let client = CallsClient::new(connection.expect("a connection"));
            Box::new(Stub::new(client, Arc::clone(&server))) as Box<dyn Line>
        })
        .collect()
}

async fn start(identity: Identity, socket: PathBuf) -> ServerHandle {
    let port = || TcpListener::bind("127.0.0.1:0");
    let _ = std::fs::remove_file(&socket);
    let router = Router::new().service(CallsServer::new(Echo));
    Server::builder(
        identity,
        Arc::new(Anyone),
        router.expect("one service"),
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

impl Caller for CallsClient {
    async fn echo(&mut self, body: Bytes) -> usize {
        let reply = CallsClient::echo(self, Message { body }, PATIENCE).await;
        reply.expect("an answer").body.len()
    }

    async fn sink(&mut self, body: Bytes, messages: u32) -> Option<u64> {
        let (mut requests, sum) = CallsClient::sink(self, PATIENCE).await.expect("a stream");
        for _ in 0..messages {
            let message = Message { body: body.clone() };
            requests.send(&message).await.expect("an open stream");
        }
        requests.finish();
        Some(sum.await.expect("an answer").bytes)
    }
}

/// The procedure itself.
pub(super) struct Echo;

impl Echo {
    /// What a handler does, without a call around it.
    pub(super) async fn answer(&self, body: Bytes) -> Bytes {
        body
    }
}

impl Calls for Echo {
    async fn echo(&self, _: CallContext, request: Message) -> Result<Message, Status> {
        let body = self.answer(request.body).await;
        Ok(Message { body })
    }

    async fn sink(&self, _: CallContext, mut requests: Requests<Message>) -> Result<Sum, Status> {
        let mut bytes = 0;
        while let Some(message) = requests.next().await? {
            bytes += message.body.len() as u64;
        }
        Ok(Sum { bytes })
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
