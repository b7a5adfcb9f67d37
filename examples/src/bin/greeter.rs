//! A server on its own:
//! `cargo run -p sealmoot-examples --bin greeter -- SERVER.pem 127.0.0.1:7000 CLIENT_KEY_ID...`
//!
//! `SERVER.pem` is an Ed25519 key as the example `python_identity` of
//! `sealmoot-rpc` writes it. Prints its own key id, which is all that a client
//! has to know; admits the named clients and nobody else.

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use sealmoot_crypto::hazmat::pem;
use sealmoot_crypto::signature::KeyId;
use sealmoot_examples::Polite;
use sealmoot_examples::proto::GreeterServer;
use sealmoot_rpc::{AllowedKeys, Limits, Router, Server};
use tokio::net::TcpListener;
use zeroize::Zeroizing;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [key_path, address, clients @ ..] = &arguments[..] else {
        return Err("usage: greeter SERVER.pem ADDRESS CLIENT_KEY_ID...".into());
    };
    let key = pem::signing_key_from_pem(&Zeroizing::new(std::fs::read(key_path)?))?;
    let clients = clients
        .iter()
        .map(|text| text.parse::<KeyId>())
        .collect::<Result<Vec<_>, _>>()?;
    let server = Server::start(
        TcpListener::bind(address).await?,
        &key,
        Arc::new(AllowedKeys::new(clients)),
        Router::new().service(GreeterServer::new(Polite::default()))?,
        Limits::default(),
    )?;
    println!("{} {}", server.local_addr(), key.verifying_key().key_id());
    tokio::signal::ctrl_c().await?;
    server.drain(Duration::from_secs(2)).await;
    Ok(())
}
