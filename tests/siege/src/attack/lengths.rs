//! The greatest lengths that can be said.

use std::io;
use std::sync::Arc;

use sealmoot_rpc::channel::Identity;
use sealmoot_rpc::limits::STATEMENTS_BYTES_MAX;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::time::Instant;

use super::{Campaign, Over, fresh_key};
use crate::field::hello;

const ATTACKERS: u32 = 64;
const HOLDERS: u32 = 1_000;

/// A length of 2^32-1 in each place that has 32 bits for it, of 65535 in those
/// that have 16; then bytes, as if they were to come.
pub(super) async fn longest(campaign: &Arc<Campaign>, over: Over) {
    let stranger = Identity::new(&fresh_key()).expect("a sound key");
    campaign
        .squad(ATTACKERS, move |campaign, worker, round| {
            let stranger = stranger.clone();
            async move {
                match (u64::from(worker) + round) % 4 {
                    // A frame, before authorization: kind hello.
                    0 => {
                        let channel = campaign.open(over, &stranger).await?;
                        let header = [255, 255, 255, 255, 1, 0, 0, 0, 0, 0, 0, 0];
                        pour(&campaign, channel, &header).await
                    }
                    // The statements of a hello.
                    1 => {
                        let channel = campaign.open(over, &stranger).await?;
                        let mut bytes = hello(b"short");
                        // Behind the header and the version.
                        bytes[14..18].fill(255);
                        pour(&campaign, channel, &bytes).await
                    }
                    // A frame, after authorization: kind call.
                    2 => {
                        let channel = campaign.open_admitted(over).await?;
                        let mut bytes = hello(b"");
                        bytes.extend_from_slice(&[255, 255, 255, 255, 2, 0, 0, 0, 1, 0, 0, 0]);
                        pour(&campaign, channel, &bytes).await
                    }
                    // The channel's own first record or frame.
                    _ => {
                        let stream = campaign.connect(over).await?;
                        let first: &[u8] = match over {
                            Over::Tls => &[22, 3, 1, 255, 255, 1, 0, 255, 251],
                            Over::Noise => &[255, 255, b'S', b'M', b'N', 1],
                        };
                        pour(&campaign, stream, first).await
                    }
                }
            }
        })
        .await;
}

/// Sends `first` and 64 KiB behind it, and waits to be thrown out.
async fn pour(
    campaign: &Campaign,
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    first: &[u8],
) -> io::Result<()> {
    let mut bytes = first.to_vec();
    bytes.resize(first.len() + 64 * 1024, 0xa5);
    // It may be cut off at any byte.
    let _ = stream.write_all(&bytes).await;
    let _ = stream.flush().await;
    campaign.sent(bytes.len());
    campaign.await_end(&mut stream).await;
    Ok(())
}

/// Proves a key, announces the longest statements, sends all but their last
/// byte and waits: as much memory as a stranger can ask for lawfully.
pub(super) async fn statements_held(campaign: &Arc<Campaign>) {
    let stranger = Identity::new(&fresh_key()).expect("a sound key");
    let bytes = hello(&vec![0xa5; STATEMENTS_BYTES_MAX]);
    let bytes = Arc::new(bytes[..bytes.len() - 1].to_vec());
    campaign
        .squad(HOLDERS, move |campaign, worker, _| {
            let (stranger, bytes) = (stranger.clone(), Arc::clone(&bytes));
            async move {
                let mut channel = campaign.open(Over::of(worker), &stranger).await?;
                let started = Instant::now();
                channel.write_all(&bytes).await?;
                channel.flush().await?;
                campaign.sent(bytes.len());
                campaign.await_end(&mut channel).await;
                campaign.lived(started);
                Ok(())
            }
        })
        .await;
}
