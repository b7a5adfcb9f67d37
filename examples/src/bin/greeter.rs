//! A server on its own:
//! `cargo run -p sealmoot-examples --bin greeter -- SERVER.pem 127.0.0.1:7000 CLIENT_KEY_ID...`
//!
//! `SERVER.pem` is an Ed25519 key as the example `python_identity` of
//! `sealmoot-rpc` writes it. Prints its own key id, which is all that a client
//! has to know; admits the named clients and nobody else.

use std::error::Error;
use std::fmt::Display;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use sealmoot_crypto::hazmat::pem;
use sealmoot_crypto::signature::{KeyId, SigningKey};
use sealmoot_examples::Polite;
use sealmoot_examples::proto::GreeterServer;
use sealmoot_rpc::{AllowedKeys, Limits, Router, Server};
use tokio::net::TcpListener;
use zeroize::Zeroizing;

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [key_path, address, clients @ ..] = &arguments[..] else {
        eprintln!("usage: greeter SERVER.pem ADDRESS CLIENT_KEY_ID...");
        return ExitCode::from(2);
    };
    match serve(key_path, address, clients).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("greeter: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn serve(key_path: &str, address: &str, clients: &[String]) -> Result<(), Box<dyn Error>> {
    let key = read_key(key_path)?;
    let clients = clients
        .iter()
        .map(|text| text.parse::<KeyId>().map_err(|error| at(text, error)))
        .collect::<Result<Vec<_>, _>>()?;
    let listener = TcpListener::bind(address).await;
    let server = Server::start(
        listener.map_err(|error| at(address, error))?,
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

/// A key that its owner alone can read.
fn read_key(path: &str) -> Result<SigningKey, Box<dyn Error>> {
    let metadata = std::fs::metadata(path).map_err(|error| at(path, error))?;
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        if metadata.permissions().mode() & 0o077 != 0 {
            return Err(at(path, "others can read it: chmod 600"));
        }
    }
    // A length from outside meets its maximum before memory is reserved.
    if metadata.len() > 64 * 1024 {
        return Err(at(path, "too long for a key"));
    }
    let text = Zeroizing::new(std::fs::read(path).map_err(|error| at(path, error))?);
    pem::signing_key_from_pem(&text).map_err(|error| at(path, error))
}

/// What is wrong with what was named.
fn at(what: &str, error: impl Display) -> Box<dyn Error> {
    format!("{what}: {error}").into()
}
