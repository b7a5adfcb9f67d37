//! One call in six ways, and what each costs:
//! `cargo run --release -p sealmoot-examples --bin echo_over_each_channel`
//!
//! The same service, the same client type and the same keys; only the channel
//! differs. One call at a time, on one thread.

use std::error::Error;
use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant};

use sealmoot_crypto::signature::SigningKey;
use sealmoot_examples::proto::{GreeterClient, GreeterServer, Name};
use sealmoot_examples::{Polite, greeting};
use sealmoot_rpc::channel::{AllowedUsers, Identity};
use sealmoot_rpc::noise::{Acceptance, Options, Target};
use sealmoot_rpc::{AllowedKeys, Connection, Connector, Limits, Router, Server};
use tokio::net::{TcpListener, UnixListener};

const PATIENCE: Duration = Duration::from_secs(5);
const CALLS: u32 = 2_000;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let (server_key, client_key) = (SigningKey::generate()?, SigningKey::generate()?);
    let server_id = server_key.verifying_key().key_id();
    let client_id = client_key.verifying_key().key_id();
    let identity = Identity::new(&server_key)?;

    // One server, four ways in.
    let directory = tempfile::tempdir()?;
    let socket = directory.path().join("greeter.socket");
    let server = Server::builder(
        identity.clone(),
        Arc::new(AllowedKeys::new([client_id])),
        Router::new().service(GreeterServer::new(Polite::default()))?,
        Limits::default(),
    )
    .tls(TcpListener::bind("127.0.0.1:0").await?)
    .noise(
        TcpListener::bind("127.0.0.1:0").await?,
        Acceptance::default(),
    )
    .unix(UnixListener::bind(&socket)?, AllowedUsers::own())
    .start()?;
    let [tls, noise] = server.local_addrs() else {
        return Err("the server has two ports".into());
    };

    // One client, which talks to that key and to no other.
    let connector = Connector::new(
        &client_key,
        Arc::new(AllowedKeys::new([server_id])),
        Limits::default(),
    )?;
    let target = Target::Ik {
        responder: identity.static_key().public(),
    };

    let ada = Name {
        name: "Ada".to_owned(),
    };
    time("a procedure", || async { greeting(&ada).text }).await;
    let connections = [
        connector.connect_memory(&server.door(), PATIENCE).await?,
        connector
            .connect_unix(&socket, &AllowedUsers::own(), PATIENCE)
            .await?,
        connector.connect(&tls.to_string(), PATIENCE).await?,
        connector
            .connect_noise(&noise.to_string(), &target, &Options::default(), PATIENCE)
            .await?,
    ];
    for connection in connections {
        let name = connection.peer().transport().to_string();
        greet_often(&name, connection, &ada).await?;
    }
    server.drain(PATIENCE).await;
    Ok(())
}

async fn greet_often(
    channel: &str,
    connection: Connection,
    ada: &Name,
) -> Result<(), Box<dyn Error>> {
    let greeter = GreeterClient::new(connection);
    // The first call shows a failure as such; the others are timed.
    let hello = greeter.greet(ada.clone(), PATIENCE).await?;
    assert_eq!(hello.text, "Hello, Ada!");
    let nobody = Name::default();
    if let Err(status) = greeter.greet(nobody, PATIENCE).await {
        println!("{channel:>12}: without a name: {status}");
    }
    time(channel, || async {
        let greeting = greeter.greet(ada.clone(), PATIENCE).await;
        greeting.expect("the server is up").text
    })
    .await;
    Ok(())
}

async fn time<F: Future<Output = String>>(name: &str, greet: impl Fn() -> F) {
    let started = Instant::now();
    for _ in 0..CALLS {
        assert_eq!(greet().await, "Hello, Ada!");
    }
    let each = started.elapsed() / CALLS;
    println!("{name:>12}: {each:>10.1?} a call");
}
