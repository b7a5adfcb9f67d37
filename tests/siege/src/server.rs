//! The server under attack: an echo service over TLS and Noise.

use std::any::Any;
use std::io::Write;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use sealmoot_crypto::signature::KeyId;
use sealmoot_rpc::bytes::Bytes;
use sealmoot_rpc::channel::Identity;
use sealmoot_rpc::noise::Acceptance;
use sealmoot_rpc::{
    Authorizer, CallContext, Candidate, Code, Limits, Refusal, ReplyFuture, Router, Server, Service,
};
use tokio::io::AsyncReadExt;
use tokio::net::{TcpListener, TcpSocket};

use crate::field::{ECHO, Field, HONEST_SEED, HOSTILE_SEED, STUCK, key};

/// Serves until its standard input ends, and so no longer than its parent.
pub(crate) fn run(threads: bool) {
    let runtime = if threads {
        tokio::runtime::Builder::new_multi_thread()
            .enable_all()
            .build()
    } else {
        // As kvd does.
        tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
    };
    runtime.expect("a runtime").block_on(serve());
}

async fn serve() {
    let identity = Identity::new(&key(0)).expect("a sound key");
    let noise_key = identity.static_key().public();
    let (tls, noise) = (listen(), listen());
    let admitted = [HONEST_SEED, HOSTILE_SEED].map(|seed| key(seed).verifying_key().key_id());
    let server = Server::builder(
        identity,
        Arc::new(Only(admitted)),
        Router::new().service(EchoService).expect("no duplicates"),
        Limits::default(),
    )
    .tls(tls)
    .noise(noise, Acceptance::default())
    .start()
    .expect("sound limits");
    let addresses = server.local_addrs();
    let field = Field {
        tls: addresses[0],
        noise: addresses[1],
        noise_key,
    };
    println!("{}", field.line());
    std::io::stdout().flush().expect("the parent reads");
    let mut word = [0; 1];
    // The parent writes nothing: this is its end.
    let _ = tokio::io::stdin().read(&mut word).await;
}

/// With the backlog of kvd: those who are not accepted at once wait in it.
fn listen() -> TcpListener {
    let socket = TcpSocket::new_v4().expect("a socket");
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    socket.bind(address).expect("a port");
    socket.listen(1024).expect("listening")
}

struct Only([KeyId; 2]);

impl Authorizer for Only {
    fn present(&self) -> Bytes {
        Bytes::from_static(b"the server under siege")
    }

    fn authorize(&self, candidate: &Candidate<'_>) -> Result<Arc<dyn Any + Send + Sync>, Refusal> {
        if self.0.contains(&candidate.key_id) {
            Ok(Arc::new(()))
        } else {
            Err(Refusal::new(Code::PermissionDenied, "not you"))
        }
    }
}

struct EchoService;

impl Service for EchoService {
    fn methods(&self) -> &[u64] {
        &[ECHO, STUCK]
    }

    fn call(&self, _: CallContext, method: u64, body: Bytes) -> ReplyFuture {
        Box::pin(async move {
            if method == STUCK {
                std::future::pending::<()>().await;
            }
            Ok(body)
        })
    }
}
