//! Peers that hold the channel's keys and then say what no lawful peer says.

use std::time::Instant;

use sealmoot_rpc::channel::INTRODUCTION_BYTES;
use sealmoot_rpc::noise::{
    Acceptance, Answered, Event, HandshakeRandomness, Initiator, Options, Responder, StaticKey,
    Target, Transport, handshake_frame_bytes,
};
use std::sync::Arc;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};

/// One end of a Noise channel behind its handshake, before any introduction.
pub struct Hostile {
    stream: DuplexStream,
    pub transport: Transport,
}

async fn frame(stream: &mut DuplexStream) -> Option<Vec<u8>> {
    let mut prefix = [0; 2];
    stream.read_exact(&mut prefix).await.ok()?;
    let mut frame = vec![0; handshake_frame_bytes(prefix).ok()?];
    frame[..2].copy_from_slice(&prefix);
    stream.read_exact(&mut frame[2..]).await.ok()?;
    Some(frame)
}

fn randomness() -> HandshakeRandomness {
    HandshakeRandomness::generate().expect("random source")
}

impl Hostile {
    /// A server; `None` when the client ends the handshake.
    pub async fn respond(
        key: &Arc<StaticKey>,
        acceptance: Acceptance,
        mut stream: DuplexStream,
    ) -> Option<Self> {
        let first = frame(&mut stream).await?;
        let responder = Responder::new(key, acceptance);
        let (answered, answer) = responder
            .accept(&first, randomness(), Instant::now())
            .ok()?;
        stream.write_all(&answer).await.ok()?;
        let transport = match answered {
            Answered::Established(transport) => transport,
            Answered::AwaitingInitiator(awaiting) => {
                let third = frame(&mut stream).await?;
                awaiting.finish(&third, Instant::now()).ok()?
            }
        };
        Some(Self { stream, transport })
    }

    /// A client; `None` when the server ends the handshake.
    pub async fn initiate(
        key: &Arc<StaticKey>,
        target: &Target,
        mut stream: DuplexStream,
    ) -> Option<Self> {
        let options = Options::default();
        let (initiator, first) =
            Initiator::start(key, target, &options, randomness()).expect("sound");
        stream.write_all(&first).await.ok()?;
        let answer = frame(&mut stream).await?;
        let (transport, third) = initiator.finish(&answer, Instant::now()).ok()?;
        if let Some(third) = third {
            stream.write_all(&third).await.ok()?;
        }
        Some(Self { stream, transport })
    }

    /// Says anything at all, in a record of its own.
    pub async fn say(&mut self, payload: &[u8]) {
        let mut record = Vec::new();
        self.transport
            .seal(payload, Instant::now(), &mut record)
            .expect("alive");
        // Whoever has heard enough is gone.
        let _ = self.stream.write_all(&record).await;
    }

    /// The next record's payload; `None` at the end of the stream.
    pub async fn hear(&mut self) -> Option<Vec<u8>> {
        let mut prefix = [0; 2];
        self.stream.read_exact(&mut prefix).await.ok()?;
        let mut record = prefix.to_vec();
        record.resize(2 + usize::from(u16::from_be_bytes(prefix)), 0);
        self.stream.read_exact(&mut record[2..]).await.ok()?;
        let received = self.transport.receive(&mut record).expect("authentic");
        match received.event {
            Event::Payload(payload) => Some(payload.to_vec()),
            _ => None,
        }
    }

    /// The peer's introduction, to be used elsewhere.
    pub async fn hear_introduction(&mut self) -> Option<[u8; INTRODUCTION_BYTES]> {
        self.hear().await?.try_into().ok()
    }
}
