//! A name, three servers behind it, and calls that go on while they go:
//! `cargo run -p sealmoot-examples --bin failover_by_name`
//!
//! A name service keeps a signed record: where the greeter is served, under which
//! keys, with which schema. The client trusts the key that signs such records, and
//! nothing else that it is told. It calls a name; that one server is killed, one
//! drained and one moved to another port, it does not notice.

use std::error::Error;
use std::num::NonZeroU8;
use std::sync::Arc;
use std::time::{Duration, Instant};

use sealmoot_crypto::signature::{KeyId, SigningKey};
use sealmoot_examples::Polite;
use sealmoot_examples::proto::{GreeterClient, GreeterServer, Name, greeter_methods};
use sealmoot_rpc::binding::{Binder, Endpoint, NameRecord, Served, Way};
use sealmoot_rpc::channel::Identity;
use sealmoot_rpc::health::health_service;
use sealmoot_rpc::{AllowedKeys, Connector, Limits, Router, Server, ServerHandle};
use sealmoot_rpc_names::proto::NamesServer;
use sealmoot_rpc_names::publisher::Standing;
use sealmoot_rpc_names::{
    NameService, NameServiceResolver, Policy, Prefix, Publisher, Readers, Rule,
};
use tokio::net::TcpListener;

const PATIENCE: Duration = Duration::from_secs(30);

/// A greeter that tells what it serves and whether it is ready, as one that is
/// found by name should.
async fn greeter(key: &SigningKey, client: KeyId) -> Result<ServerHandle, Box<dyn Error>> {
    let router = Router::new().service(GreeterServer::new(Polite::default()))?;
    let (_, health) = health_service(&router);
    let server = Server::start(
        TcpListener::bind("127.0.0.1:0").await?,
        key,
        Arc::new(AllowedKeys::new([client])),
        router.service(health)?.with_reflection()?,
        Limits::default(),
    )?;
    Ok(server)
}

fn endpoint(server: &ServerHandle, key: &SigningKey) -> Endpoint {
    Endpoint {
        way: Way::Tls,
        address: server.local_addr().to_string(),
        key_id: id(key),
        weight: NonZeroU8::MIN,
    }
}

fn id(key: &SigningKey) -> KeyId {
    key.verifying_key().key_id()
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    // Who signs names, the name service, the client, and three greeters.
    let (signer, names_key, client_key) = (
        SigningKey::generate()?,
        SigningKey::generate()?,
        SigningKey::generate()?,
    );
    let keys = [
        SigningKey::generate()?,
        SigningKey::generate()?,
        SigningKey::generate()?,
    ];
    let client = id(&client_key);

    // The name service. Its operator says who may publish what; here the client's
    // own program does everything.
    let rule = Rule {
        publishers: [client].into(),
        signers: vec![id(&signer)],
        readers: Readers::Admitted,
        ..Rule::default()
    };
    let policy = Policy::new().rule("greeters".parse::<Prefix>()?, rule)?;
    let names = Server::start(
        TcpListener::bind("127.0.0.1:0").await?,
        &names_key,
        Arc::new(AllowedKeys::new([client])),
        Router::new().service(NamesServer::new(NameService::in_memory(policy)))?,
        Limits::default(),
    )?;
    let connector = Connector::new(
        &client_key,
        Arc::new(AllowedKeys::new([id(&names_key)])),
        Limits::default(),
    )?;
    let address = names.local_addr().to_string();
    let to_names = connector.connect(&address, PATIENCE).await?;

    // The greeters, and the record that says where they are.
    let [killed, drained, moved] = [
        greeter(&keys[0], client).await?,
        greeter(&keys[1], client).await?,
        greeter(&keys[2], client).await?,
    ];
    let name: sealmoot_rpc::binding::Name = "greeters/main".parse()?;
    let record = NameRecord {
        name: name.clone(),
        // The publisher sets both.
        serial: 0,
        valid_until_ms: 0,
        ttl_seconds: 10,
        services: Served::all_of(&greeter_methods::SERVICE),
        endpoints: vec![
            endpoint(&killed, &keys[0]),
            endpoint(&drained, &keys[1]),
            endpoint(&moved, &keys[2]),
        ],
    };
    let validity = Duration::from_secs(60);
    let publisher = Publisher::start(
        SigningKey::from_seed(&signer.to_seed()),
        record,
        validity,
        vec![to_names.clone()],
    )?;
    let mut standing = publisher.standing();
    standing.wait_for(Standing::is_published).await?;

    // The client: a resolver that believes the signer, a binder, the usual stubs.
    let resolver = NameServiceResolver::new(to_names, &[id(&signer)]);
    let identity = Identity::new(&client_key)?;
    let binder = Binder::new(identity, Arc::new(resolver), Limits::default())?;
    let services = [&greeter_methods::SERVICE];
    let greeter_by_name = GreeterClient::new(binder.bind(&name, &services, PATIENCE).await?);
    let calls = |what: &'static str| call(&greeter_by_name, what);
    calls("three servers").await?;

    drop(killed);
    calls("one was killed").await?;

    drained.drain(PATIENCE).await;
    calls("one was drained").await?;

    let elsewhere = greeter(&keys[2], client).await?;
    drop(moved);
    publisher.update(vec![endpoint(&elsewhere, &keys[2])])?;
    calls("the last one has moved").await?;
    Ok(())
}

/// Two hundred calls; none may fail.
async fn call<C: sealmoot_rpc::Caller>(
    greeter: &GreeterClient<C>,
    what: &str,
) -> Result<(), Box<dyn Error>> {
    let mut longest = Duration::ZERO;
    for _ in 0..200 {
        let begun = Instant::now();
        let ada = Name {
            name: "Ada".to_owned(),
        };
        let greeting = greeter.greet(ada, PATIENCE).await?;
        assert_eq!(greeting.text, "Hello, Ada!");
        longest = longest.max(begun.elapsed());
    }
    println!("{what:<24} 200 calls, none failed, the longest took {longest:.1?}");
    Ok(())
}
