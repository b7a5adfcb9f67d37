//! Handshakes, whole ones and beginnings.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use sealmoot_rpc::channel::Identity;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;

use super::{Campaign, Over, fresh_key};
use crate::field::hello;

/// Keys made beforehand: the server knows none of them, and attackers that
/// spend no time on keys attack faster.
const KEYS: u32 = 64;

/// Whole handshakes at a time.
const WHOLE: u32 = 64;

/// Beginnings at a time: above what the server can work off in the time that
/// an attacker waits.
const FIRST_FLIGHTS: u32 = 512;

/// How long an attacker waits for an answer that it has no use for.
const ANSWER_WAIT: Duration = Duration::from_millis(500);

/// Handshake, hello, refusal.
pub(super) async fn whole(campaign: &Arc<Campaign>, over: Over) {
    let identities: Arc<Vec<_>> = Arc::new(
        (0..KEYS)
            .map(|_| Identity::new(&fresh_key()).expect("a sound key"))
            .collect(),
    );
    campaign
        .squad(WHOLE, move |campaign, worker, _| {
            let identities = Arc::clone(&identities);
            async move {
                let identity = &identities[(worker % KEYS) as usize];
                let mut channel = campaign.open(over, identity).await?;
                let hello = hello(b"let me in");
                channel.write_all(&hello).await?;
                channel.flush().await?;
                campaign.sent(hello.len());
                campaign.await_end(&mut channel).await;
                Ok(())
            }
        })
        .await;
}

/// The same first flight over and over; over Noise also with a wrong tag.
pub(super) async fn first_flights(campaign: &Arc<Campaign>, over: Over, is_spoilt: bool) {
    let mut flight = campaign.first_flight(over).await;
    if is_spoilt {
        // The tag is the last thing in a first frame.
        *flight.last_mut().expect("not empty") ^= 1;
    }
    let flight = Arc::new(flight);
    campaign
        .squad(FIRST_FLIGHTS, move |campaign, _, _| {
            let flight = Arc::clone(&flight);
            async move {
                let mut stream = campaign.connect(over).await?;
                stream.write_all(&flight).await?;
                campaign.sent(flight.len());
                let mut answer = [0; 1];
                if let Ok(Ok(1)) = timeout(ANSWER_WAIT, stream.read(&mut answer)).await {
                    campaign.answered.fetch_add(1, Ordering::Relaxed);
                }
                Ok(())
            }
        })
        .await;
}
