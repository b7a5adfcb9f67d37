//! tonic with its own TLS by rustls and ring, everything as it comes: HTTP/2
//! with its default windows and its default of 200 streams at a time.

use std::net::SocketAddr;

use bytes::Bytes;
use tonic::transport::{
    Certificate, Channel, ClientTlsConfig, Endpoint, Identity, Server, ServerTlsConfig,
    server::TcpIncoming,
};
use tonic::{Request, Response, Status, Streaming};

use super::line::{Caller, Line, Stub};
use crate::channel::certificates::{Ends, Texts};
use crate::channel::cores::Cores;

mod proto {
    #![allow(missing_docs, unreachable_pub, clippy::all)]
    include!(concat!(env!("OUT_DIR"), "/tonic/peers.calls.v1.rs"));
}

use proto::calls_client::CallsClient;
use proto::calls_server::{Calls, CallsServer};
use proto::{Message, Sum};

/// One connection.
///
/// # Panics
/// When the system gives no port, or tonic does not take the certificates.
#[must_use]
pub fn open(cores: &Cores) -> Box<dyn Line> {
    // tonic takes its ciphers from the process. Where others have been set
    // before, they are ring's too.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let texts = Ends::as_text();
    let server = texts.clone();
    let address = cores
        .run(cores.far().spawn(async move { start(&server) }))
        .expect("a server");
    let channel = cores.run(connect(&texts, address));
    Box::new(Stub::new(CallsClient::new(channel), ()))
}

fn start(texts: &Texts) -> SocketAddr {
    let (certificate, key) = &texts.server;
    let tls = ServerTlsConfig::new()
        .identity(Identity::from_pem(certificate, key))
        .client_ca_root(Certificate::from_pem(&texts.root));
    let port = TcpIncoming::bind(SocketAddr::from(([127, 0, 0, 1], 0))).expect("a port");
    let address = port.local_addr().expect("bound");
    let serving = Server::builder()
        .tls_config(tls)
        .expect("sound certificates")
        .add_service(CallsServer::new(Echo))
        .serve_with_incoming(port.with_nodelay(Some(true)));
    tokio::spawn(serving);
    address
}

async fn connect(texts: &Texts, address: SocketAddr) -> Channel {
    let (certificate, key) = &texts.client;
    let tls = ClientTlsConfig::new()
        .identity(Identity::from_pem(certificate, key))
        .ca_certificate(Certificate::from_pem(&texts.root))
        .domain_name(texts.name);
    Endpoint::from_shared(format!("https://{address}"))
        .expect("an address")
        .tls_config(tls)
        .expect("sound certificates")
        .connect()
        .await
        .expect("a connection")
}

impl Caller for CallsClient<Channel> {
    async fn echo(&mut self, body: Bytes) -> usize {
        let reply = CallsClient::echo(self, Message { body }).await;
        reply.expect("an answer").into_inner().body.len()
    }

    async fn sink(&mut self, body: Bytes, messages: u32) -> Option<u64> {
        let message = move |_| Message { body: body.clone() };
        let requests = tokio_stream::iter((0..messages).map(message));
        let sum = CallsClient::sink(self, requests).await;
        Some(sum.expect("an answer").into_inner().bytes)
    }
}

struct Echo;

#[tonic::async_trait]
impl Calls for Echo {
    async fn echo(&self, request: Request<Message>) -> Result<Response<Message>, Status> {
        Ok(Response::new(request.into_inner()))
    }

    async fn sink(&self, request: Request<Streaming<Message>>) -> Result<Response<Sum>, Status> {
        let mut requests = request.into_inner();
        let mut bytes = 0;
        while let Some(message) = requests.message().await? {
            bytes += message.body.len() as u64;
        }
        Ok(Response::new(Sum { bytes }))
    }
}
