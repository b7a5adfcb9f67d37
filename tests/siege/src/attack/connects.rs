//! Connections, and next to nothing in them.

use std::sync::Arc;

use tokio::io::AsyncWriteExt;
use tokio::time::Instant;

use super::{Campaign, Over};

/// More than the server keeps.
const SILENT: u32 = 1_500;
const CLOSERS: u32 = 64;

/// Says nothing and waits.
pub(super) async fn silent(campaign: &Arc<Campaign>) {
    campaign
        .squad(SILENT, |campaign, worker, _| async move {
            let mut stream = campaign.connect(Over::of(worker)).await?;
            let started = Instant::now();
            campaign.await_end(&mut stream).await;
            campaign.lived(started);
            Ok(())
        })
        .await;
}

/// Connects and resets.
pub(super) async fn close_at_once(campaign: &Arc<Campaign>) {
    campaign
        .squad(CLOSERS, |campaign, worker, _| async move {
            campaign.connect(Over::of(worker)).await.map(drop)
        })
        .await;
}

/// Half a first flight and the end of the stream; waits for the server's end.
pub(super) async fn half_close(campaign: &Arc<Campaign>) {
    let flights = [
        Arc::new(campaign.first_flight(Over::Tls).await),
        Arc::new(campaign.first_flight(Over::Noise).await),
    ];
    campaign
        .squad(CLOSERS, move |campaign, worker, _| {
            let flight = Arc::clone(&flights[worker as usize % 2]);
            async move {
                let mut stream = campaign.connect(Over::of(worker)).await?;
                stream.write_all(&flight[..flight.len() / 2]).await?;
                campaign.sent(flight.len() / 2);
                stream.shutdown().await?;
                campaign.await_end(&mut stream).await;
                Ok(())
            }
        })
        .await;
}
