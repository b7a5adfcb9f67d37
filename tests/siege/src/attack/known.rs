//! Clients that are admitted, and hostile.

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use sealmoot_rpc::channel::Channel;
use tokio::io::AsyncWriteExt;

use super::{Campaign, Over};
use crate::field::{ECHO, STUCK, call, hello};

const ATTACKERS: u32 = 8;
const CALLS: u32 = 1_000;
const BODY_BYTES: usize = 16 * 1024;

/// Calls and takes no reply.
pub(super) async fn mute(campaign: &Arc<Campaign>) {
    campaign
        .squad(ATTACKERS, |campaign, worker, _| {
            async move {
                let mut channel = admitted(&campaign, worker).await?;
                for number in 1.. {
                    let bytes = call(number, ECHO, &[7; BODY_BYTES]);
                    // Stands still when the server reads no further.
                    channel.write_all(&bytes).await?;
                    campaign.sent(bytes.len());
                }
                Ok(())
            }
        })
        .await;
}

/// As many calls as a connection may have, none of which ends.
pub(super) async fn endless_calls(campaign: &Arc<Campaign>) {
    campaign
        .squad(ATTACKERS, |campaign, worker, _| async move {
            let mut channel = admitted(&campaign, worker).await?;
            for number in 1..=CALLS {
                let bytes = call(number, STUCK, &[7; 256]);
                channel.write_all(&bytes).await?;
                campaign.sent(bytes.len());
            }
            channel.flush().await?;
            campaign.await_end(&mut channel).await;
            Ok(())
        })
        .await;
}

async fn admitted(campaign: &Campaign, worker: u32) -> io::Result<Box<dyn Channel>> {
    let mut channel = campaign.open_admitted(Over::of(worker)).await?;
    channel.write_all(&hello(b"")).await?;
    campaign.answered.fetch_add(1, Ordering::Relaxed);
    Ok(channel)
}
