//! The same calls over every transport.

mod common;

use std::sync::Arc;

use common::{Anyone, ECHO, Nobody, PATIENCE, TestService, WHO, key};
use sealmoot_rpc::channel::{AllowedUsers, Identity, Transport};
use sealmoot_rpc::noise::{Acceptance, Options, Target};
use sealmoot_rpc::{
    Authorizer, Code, ConnectError, Connection, Connector, Limits, Router, Server, ServerHandle,
};
use tokio::net::{TcpListener, UnixListener};

struct Everywhere {
    server: ServerHandle,
    identity: Identity,
    directory: tempfile::TempDir,
}

impl Everywhere {
    async fn start(authorizer: impl Authorizer) -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let identity = Identity::new(&key()).expect("a sound key");
        let router = Router::new()
            .service(TestService::default())
            .expect("no duplicates");
        let limits = Limits::default();
        let socket = directory.path().join("socket");
        let server = Server::builder(identity.clone(), Arc::new(authorizer), router, limits)
            .tls(TcpListener::bind("127.0.0.1:0").await.expect("a port"))
            .noise(
                TcpListener::bind("127.0.0.1:0").await.expect("a port"),
                Acceptance::default(),
            )
            .unix(
                UnixListener::bind(socket).expect("a socket"),
                AllowedUsers::own(),
            )
            .start()
            .expect("sound configuration");
        Self {
            server,
            identity,
            directory,
        }
    }

    async fn connect(
        &self,
        connector: &Connector,
        transport: Transport,
    ) -> Result<Connection, ConnectError> {
        let [tls, noise] = self.server.local_addrs() else {
            panic!("two listeners");
        };
        match transport {
            Transport::Tls => connector.connect(&tls.to_string(), PATIENCE).await,
            Transport::Noise => {
                let target = Target::Ik {
                    responder: self.identity.static_key().public(),
                };
                let options = Options::default();
                connector
                    .connect_noise(&noise.to_string(), &target, &options, PATIENCE)
                    .await
            }
            Transport::Unix => {
                let users = AllowedUsers::own();
                let path = self.directory.path().join("socket");
                connector.connect_unix(&path, &users, PATIENCE).await
            }
            Transport::Memory => {
                connector
                    .connect_memory(&self.server.door(), PATIENCE)
                    .await
            }
        }
    }
}

const TRANSPORTS: [Transport; 4] = [
    Transport::Tls,
    Transport::Noise,
    Transport::Unix,
    Transport::Memory,
];

#[tokio::test]
async fn a_call_is_the_same_over_every_transport() {
    let everywhere = Everywhere::start(Anyone(b"server")).await;
    let key = key();
    let connector =
        Connector::new(&key, Arc::new(Anyone(b"client")), Limits::default()).expect("sound");
    for transport in TRANSPORTS {
        let connection = everywhere
            .connect(&connector, transport)
            .await
            .unwrap_or_else(|error| panic!("{transport}: {error}"));
        assert_eq!(connection.peer().transport(), transport);
        assert_eq!(connection.peer().key_id(), everywhere.identity.key_id());
        let body = vec![7; 100_000];
        let reply = connection.call(ECHO, body.clone(), PATIENCE).await;
        assert_eq!(reply.expect("an answer"), body, "{transport}");

        // What the handler sees: the binding, our key, our statements.
        let who = connection.call(WHO, &b""[..], PATIENCE).await;
        let who = who.expect("an answer");
        assert_eq!(&who[..32], connection.peer().binding().as_bytes());
        assert_eq!(&who[32..64], key.verifying_key().key_id().as_bytes());
        assert_eq!(&who[64..], b"client");
    }
}

#[tokio::test]
async fn a_refusal_is_told_over_every_transport() {
    let everywhere = Everywhere::start(Nobody).await;
    let connector =
        Connector::new(&key(), Arc::new(Anyone(b"client")), Limits::default()).expect("sound");
    for transport in TRANSPORTS {
        match everywhere.connect(&connector, transport).await {
            Err(ConnectError::Refused(refusal)) => {
                assert_eq!(refusal.code, Code::PermissionDenied, "{transport}");
                assert_eq!(refusal.message, "not you");
            }
            other => panic!("{transport}: {other:?}"),
        }
    }
}

#[tokio::test]
async fn a_server_that_is_not_trusted_hears_nothing_over_any_transport() {
    let everywhere = Everywhere::start(Anyone(b"server")).await;
    let connector = Connector::new(&key(), Arc::new(Nobody), Limits::default()).expect("sound");
    for transport in TRANSPORTS {
        match everywhere.connect(&connector, transport).await {
            Err(ConnectError::Untrusted(_)) => {}
            other => panic!("{transport}: {other:?}"),
        }
    }
}

#[tokio::test]
async fn draining_ends_connections_over_every_transport() {
    let everywhere = Everywhere::start(Anyone(b"server")).await;
    let connector =
        Connector::new(&key(), Arc::new(Anyone(b"client")), Limits::default()).expect("sound");
    let mut connections = Vec::new();
    for transport in TRANSPORTS {
        connections.push(
            everywhere
                .connect(&connector, transport)
                .await
                .expect("open"),
        );
    }
    let door = everywhere.server.door();
    everywhere.server.drain(PATIENCE).await;
    for connection in connections {
        tokio::time::timeout(PATIENCE, connection.closed())
            .await
            .expect("closed");
    }
    let refused = connector.connect_memory(&door, PATIENCE).await;
    assert!(
        matches!(refused, Err(ConnectError::Channel { .. })),
        "{refused:?}"
    );
}

#[tokio::test]
async fn the_wrong_protocol_at_a_port_is_refused_either_way() {
    let everywhere = Everywhere::start(Anyone(b"server")).await;
    let connector =
        Connector::new(&key(), Arc::new(Anyone(b"client")), Limits::default()).expect("sound");
    let [tls, noise] = everywhere.server.local_addrs() else {
        panic!("two listeners");
    };
    let over_tls = connector.connect(&noise.to_string(), PATIENCE).await;
    assert!(over_tls.is_err(), "{over_tls:?}");
    let target = Target::Ik {
        responder: everywhere.identity.static_key().public(),
    };
    let over_noise = connector
        .connect_noise(&tls.to_string(), &target, &Options::default(), PATIENCE)
        .await;
    assert!(over_noise.is_err(), "{over_noise:?}");
    for transport in TRANSPORTS {
        everywhere
            .connect(&connector, transport)
            .await
            .expect("others are served");
    }
}
