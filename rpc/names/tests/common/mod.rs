//! Records, and name services over real TLS.
#![allow(dead_code, unreachable_pub, missing_docs)]

use std::num::NonZeroU8;
use std::sync::Arc;
use std::time::Duration;

use sealmoot_crypto::secret::SecretArray;
use sealmoot_crypto::signature::{KeyId, SigningKey};
use sealmoot_rpc::binding::{Endpoint, Name, NameRecord, VerifiedRecord, Way, unix_ms};
use sealmoot_rpc::bytes::Bytes;
use sealmoot_rpc::{
    AllowedKeys, Code, Connection, Connector, Limits, ReplyStream, Router, Server, ServerHandle,
    Service, Status,
};
use sealmoot_rpc_names::proto::{
    ListReply, ListRequest, NamesClient, NamesServer, PublishRequest, ResolveRequest, WatchReply,
    WatchRequest,
};
use sealmoot_rpc_names::{NameService, Policy, Prefix, Readers, Rule};
use tokio::net::TcpListener;

pub const PATIENCE: Duration = Duration::from_secs(60);

/// Who is who.
pub const SERVER: u8 = 1;
pub const SIGNER: u8 = 2;
pub const OTHER_SIGNER: u8 = 3;
pub const PUBLISHER: u8 = 4;
pub const READER: u8 = 5;
/// Admitted, and named in no rule.
pub const GUEST: u8 = 6;

pub fn key(seed: u8) -> SigningKey {
    SigningKey::from_seed(&SecretArray::from_bytes([seed; 32]))
}

pub fn id(seed: u8) -> KeyId {
    key(seed).verifying_key().key_id()
}

pub fn name(text: &str) -> Name {
    text.parse().expect("a name")
}

/// Counts for an hour from now: longer than any test takes.
pub fn unsigned(called: &str, serial: u64) -> NameRecord {
    NameRecord {
        name: name(called),
        serial,
        valid_until_ms: unix_ms() + 3_600_000,
        ttl_seconds: 10,
        services: Vec::new(),
        endpoints: vec![Endpoint {
            way: Way::Tls,
            address: "127.0.0.1:7000".to_owned(),
            key_id: id(9),
            weight: NonZeroU8::MIN,
        }],
    }
}

pub fn sign(record: NameRecord) -> VerifiedRecord {
    record.sign(&key(SIGNER)).expect("sound")
}

pub fn signed(called: &str, serial: u64) -> VerifiedRecord {
    sign(unsigned(called, serial))
}

/// Names under each prefix.
pub const NAMES_MAX: usize = 1200;

/// Under `open`, all may read what the publisher publishes and the signer has
/// signed; under `closed`, only the reader.
pub fn policy() -> Policy {
    let rule = |readers| Rule {
        publishers: [id(PUBLISHER)].into(),
        signers: vec![id(SIGNER)],
        readers,
        names_max: NAMES_MAX,
    };
    let prefix = |text: &str| text.parse::<Prefix>().expect("a prefix");
    let closed = Readers::Keys([id(READER)].into());
    Policy::new()
        .rule(prefix("open"), rule(Readers::Admitted))
        .and_then(|policy| policy.rule(prefix("closed"), rule(closed)))
        .expect("distinct prefixes")
}

/// A server, and whom it admits.
pub async fn serve(service: impl Service) -> ServerHandle {
    Server::start(
        TcpListener::bind("127.0.0.1:0").await.expect("bound"),
        &key(SERVER),
        Arc::new(AllowedKeys::new([PUBLISHER, READER, GUEST].map(id))),
        Router::new().service(service).expect("one service"),
        Limits::default(),
    )
    .expect("started")
}

pub async fn serve_names(service: &NameService) -> ServerHandle {
    serve(NamesServer::new(service.clone())).await
}

pub async fn connect(server: &ServerHandle, who: u8) -> Connection {
    let connector = Connector::new(
        &key(who),
        Arc::new(AllowedKeys::new([id(SERVER)])),
        Limits::default(),
    )
    .expect("a sound key");
    let address = server.local_addr().to_string();
    connector
        .connect(&address, PATIENCE)
        .await
        .expect("connected")
}

/// Calls as one peer.
#[derive(Clone)]
pub struct Asker(pub NamesClient);

pub async fn asker(server: &ServerHandle, who: u8) -> Asker {
    Asker(NamesClient::new(connect(server, who).await))
}

impl Asker {
    pub async fn publish(&self, record: &[u8]) -> Result<(), Status> {
        let record = record.to_vec().into();
        let request = PublishRequest { record };
        self.0.publish(request, PATIENCE).await.map(drop)
    }

    /// Publishes a record that ends soon, and waits until it has.
    pub async fn publish_until_over(&self, called: &str, serial: u64) {
        let mut validity_ms = 500;
        let valid_until_ms = loop {
            let mut short = unsigned(called, serial);
            short.valid_until_ms = unix_ms() + validity_ms;
            let valid_until_ms = short.valid_until_ms;
            match self.publish(sign(short).bytes()).await {
                Ok(()) => break valid_until_ms,
                // Over before it came, on a machine that is busy.
                Err(status) if status.code() == Code::FailedPrecondition => validity_ms *= 2,
                Err(status) => panic!("{status}"),
            }
        };
        until(|| unix_ms() >= valid_until_ms).await;
    }

    pub async fn resolve(&self, called: &str) -> Result<Bytes, Status> {
        let name = called.to_owned();
        let reply = self.0.resolve(ResolveRequest { name }, PATIENCE).await?;
        Ok(reply.record)
    }

    pub async fn list(&self, prefix: &str, after: &str) -> Result<Vec<ListReply>, Status> {
        let request = ListRequest {
            prefix: prefix.to_owned(),
            after: after.to_owned(),
        };
        let mut replies = self.0.list(request, PATIENCE).await?;
        let mut listed = Vec::new();
        while let Some(reply) = replies.next().await? {
            listed.push(reply);
        }
        Ok(listed)
    }

    pub async fn watch(&self, called: &str) -> Result<ReplyStream<WatchReply>, Status> {
        let name = called.to_owned();
        self.0.watch(WatchRequest { name }, PATIENCE).await
    }

    /// The names of a listing.
    pub async fn names(&self, prefix: &str, after: &str) -> Vec<String> {
        let listed = self.list(prefix, after).await.expect("listed");
        listed.into_iter().map(|it| it.name).collect()
    }
}

/// Waits until it is so.
pub async fn until(mut is_so: impl FnMut() -> bool) {
    let reached = async {
        while !is_so() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(PATIENCE, reached)
        .await
        .expect("it comes to be so");
}
