//! 1,000 connections that drip.

use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::{Instant, sleep, timeout};

use super::{Campaign, Over};

const CONNECTIONS: u32 = 1_000;
const BYTE_EVERY: Duration = Duration::from_secs(2);

/// Each sends one byte of a valid first flight every two seconds, until the
/// server has had enough.
pub(super) async fn byte_by_byte(campaign: &Arc<Campaign>) {
    let flights = [
        Arc::new(campaign.first_flight(Over::Tls).await),
        Arc::new(campaign.first_flight(Over::Noise).await),
    ];
    campaign
        .squad(CONNECTIONS, move |campaign, worker, round| {
            let flight = Arc::clone(&flights[worker as usize % 2]);
            async move {
                if round > 0 {
                    // Once thrown out, they stay out: it is about how long the
                    // first thousand last.
                    sleep(Duration::from_secs(3600)).await;
                }
                let mut stream = campaign.connect(Over::of(worker)).await?;
                let started = Instant::now();
                let mut scrap = [0; 64];
                for byte in flight.iter() {
                    if stream.write_all(&[*byte]).await.is_err() {
                        break;
                    }
                    campaign.sent(1);
                    if let Ok(Ok(0) | Err(_)) = timeout(BYTE_EVERY, stream.read(&mut scrap)).await {
                        break;
                    }
                }
                campaign.lived(started);
                Ok(())
            }
        })
        .await;
}
