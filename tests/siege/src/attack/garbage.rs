//! Bytes without meaning, before anybody is authenticated.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use sealmoot_crypto::random;
use tokio::io::{AsyncWrite, AsyncWriteExt};
use tokio::time::{Instant, sleep};
use tokio_rustls::TlsConnector;

use super::careless;
use super::{Campaign, Over};

const ATTACKERS: u32 = 64;
const HOLDERS: u32 = 1_000;

/// More than the server reads of a stranger.
const BYTES: usize = 320 * 1024;

/// Random bytes until thrown out, then again. Every second attacker begins as
/// the channel does, to get further.
pub(super) async fn random(campaign: &Arc<Campaign>, over: Over) {
    let mut bytes = vec![0; BYTES];
    random::fill(&mut bytes).expect("random source");
    let mut disguised = bytes.clone();
    match over {
        // A handshake record of 16 KiB with a ClientHello in it.
        Over::Tls => disguised[..9].copy_from_slice(&[22, 3, 1, 0x40, 0, 1, 0, 0x3f, 0xfc]),
        // A first frame of IK with the hybrid, 1320 bytes.
        Over::Noise => {
            disguised[..10].copy_from_slice(&[0x05, 0x28, b'S', b'M', b'N', 1, 2, 1, 1, 1]);
        }
    }
    let (bytes, disguised) = (Arc::new(bytes), Arc::new(disguised));
    campaign
        .squad(ATTACKERS, move |campaign, worker, _| {
            let bytes = Arc::clone(if worker.is_multiple_of(2) {
                &bytes
            } else {
                &disguised
            });
            async move { pour(&campaign, over, &bytes).await }
        })
        .await;
}

/// TLS records that are whole and empty of meaning.
pub(super) async fn records(campaign: &Arc<Campaign>) {
    // Empty handshake, alert (warning: user_canceled), change_cipher_spec,
    // empty and short application data, a type that does not exist.
    let kinds: [&[u8]; 6] = [
        &[22, 3, 3, 0, 0],
        &[21, 3, 3, 0, 2, 1, 90],
        &[20, 3, 3, 0, 1, 1],
        &[23, 3, 3, 0, 0],
        &[
            23, 3, 3, 0, 17, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17,
        ],
        &[99, 3, 3, 0, 1, 1],
    ];
    let floods = Arc::new(kinds.map(|kind| kind.repeat(BYTES / kind.len())));
    let hello = Arc::new(campaign.first_flight(Over::Tls).await);
    campaign
        .squad(ATTACKERS, move |campaign, worker, round| {
            let (floods, hello) = (Arc::clone(&floods), Arc::clone(&hello));
            async move {
                let turn = u64::from(worker) + round;
                let flood = &floods[(turn % 6) as usize];
                // Before any hello, and behind one.
                if (turn / 6).is_multiple_of(2) {
                    pour(&campaign, Over::Tls, flood).await
                } else {
                    let bytes = [hello.as_slice(), flood].concat();
                    pour(&campaign, Over::Tls, &bytes).await
                }
            }
        })
        .await;
}

/// A ClientHello that is announced long and never ends: in one go, as much of
/// it as may be held, and in records of one byte.
pub(super) async fn fragments(campaign: &Arc<Campaign>) {
    campaign
        .squad(HOLDERS, |campaign, worker, _| async move {
            let mut stream = campaign.connect(Over::Tls).await?;
            let started = Instant::now();
            let outcome = match worker % 3 {
                0 => records_of(&mut stream, &announced([255; 3], BYTES), 16 * 1024, None).await,
                // The longest that TLS libraries take, less a byte.
                1 => {
                    let bytes = announced([0, 255, 255], 65_534);
                    records_of(&mut stream, &bytes, 16 * 1024, None).await
                }
                _ => {
                    let pause = Some(Duration::from_millis(20));
                    records_of(&mut stream, &announced([0, 255, 255], BYTES), 1, pause).await
                }
            };
            campaign.sent(BYTES);
            if outcome.is_ok() {
                campaign.await_end(&mut stream).await;
            }
            campaign.lived(started);
            Ok(())
        })
        .await;
}

/// The beginning of a ClientHello of the announced length.
fn announced(length: [u8; 3], bytes: usize) -> Vec<u8> {
    let mut message = vec![1, length[0], length[1], length[2], 3, 3];
    message.resize(bytes, 0xa5);
    message
}

async fn records_of(
    stream: &mut (impl AsyncWrite + Unpin),
    message: &[u8],
    each: usize,
    pause: Option<Duration>,
) -> io::Result<()> {
    for part in message.chunks(each) {
        let length = u16::try_from(part.len()).expect("at most 16 KiB");
        let mut record = vec![22, 3, 1];
        record.extend_from_slice(&length.to_be_bytes());
        record.extend_from_slice(part);
        stream.write_all(&record).await?;
        if let Some(pause) = pause {
            sleep(pause).await;
        }
    }
    Ok(())
}

/// A whole handshake, then one key update behind the other.
pub(super) async fn key_updates(campaign: &Arc<Campaign>) {
    let connector = TlsConnector::from(careless::client_config());
    campaign
        .squad(ATTACKERS, move |campaign, _, _| {
            let connector = connector.clone();
            async move {
                let stream = campaign.connect(Over::Tls).await?;
                let mut stream = connector.connect(careless::server_name(), stream).await?;
                for _ in 0..4_000 {
                    let (_, session) = stream.get_mut();
                    session.refresh_traffic_keys().map_err(io::Error::other)?;
                    campaign.sent(27);
                }
                // It may be cut off at any byte.
                let _ = stream.flush().await;
                campaign.await_end(&mut stream).await;
                Ok(())
            }
        })
        .await;
}

async fn pour(campaign: &Campaign, over: Over, bytes: &[u8]) -> io::Result<()> {
    let mut stream = campaign.connect(over).await?;
    for part in bytes.chunks(16 * 1024) {
        if stream.write_all(part).await.is_err() {
            return Ok(());
        }
        campaign.sent(part.len());
    }
    campaign.await_end(&mut stream).await;
    Ok(())
}
