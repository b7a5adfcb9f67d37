//! A slow reader holds its sender:
//! `cargo run --release -p sealmoot-examples --bin stream_with_backpressure`
//!
//! The server has a hundred thousand messages of 1 KiB to send. The client takes
//! a few, pauses, and takes the rest. While it pauses, the server's handler
//! stands still in `send`: what it may be ahead of the client is the window of
//! the stream, and not what memory allows.

use std::error::Error;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use sealmoot_crypto::signature::SigningKey;
use sealmoot_examples::Polite;
use sealmoot_examples::proto::{CountRequest, GreeterClient, GreeterServer};
use sealmoot_rpc::{AllowedKeys, Connector, Limits, Router, Server};
use tokio::net::TcpListener;

const END: u64 = 100_000;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let (server_key, client_key) = (SigningKey::generate()?, SigningKey::generate()?);
    let polite = Polite::default();
    let counted = Arc::clone(&polite.counted);
    let server = Server::start(
        TcpListener::bind("127.0.0.1:0").await?,
        &server_key,
        Arc::new(AllowedKeys::new([client_key.verifying_key().key_id()])),
        Router::new().service(GreeterServer::new(polite))?,
        Limits::default(),
    )?;
    let connector = Connector::new(
        &client_key,
        Arc::new(AllowedKeys::new([server_key.verifying_key().key_id()])),
        Limits::default(),
    )?;
    let address = server.local_addr().to_string();
    let connection = connector.connect(&address, Duration::from_secs(5)).await?;

    let request = CountRequest {
        end: END,
        padding_bytes: 1024,
    };
    let mut numbers = GreeterClient::new(connection)
        .count(request, Duration::from_secs(60))
        .await?;
    for expected in 0..10 {
        let number = numbers.next().await?.ok_or("the stream ended early")?;
        assert_eq!(number.value, expected);
    }
    tokio::time::sleep(Duration::from_millis(500)).await;
    let ahead = counted.load(Ordering::Relaxed) - 10;
    println!("after half a second of not reading, the server is {ahead} messages ahead");
    assert!(ahead < 1000, "the window holds the sender");

    let started = Instant::now();
    let mut taken = 10;
    while let Some(number) = numbers.next().await? {
        assert_eq!(number.value, taken);
        taken += 1;
    }
    println!(
        "the other {} messages took {:.1?}, all in order",
        END - 10,
        started.elapsed()
    );
    assert_eq!(taken, END);
    server.drain(Duration::from_secs(1)).await;
    Ok(())
}
