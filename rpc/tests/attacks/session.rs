//! One session of a fixed script between two applications, through the proxy.

use std::future::Future;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use sealmoot_crypto::agreement::AgreementKey;
use sealmoot_crypto::secret::SecretArray;
use sealmoot_crypto::signature::SigningKey;
use sealmoot_rpc::Limits;
use sealmoot_rpc::channel::{
    Channel, ChannelError, INTRODUCTION_BYTES, Identity, NoiseChannel, Origin, TlsChannel,
};
use sealmoot_rpc::limits::noise::STREAM_RECORD_BYTES_MAX;
use sealmoot_rpc::noise::{
    Acceptance, Hash, Hybrid, Options, Pattern, StaticKey, Suite, Target, TransportSettings,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};

use super::proxy::{Attack, Direction, Framing, Wire, relay};

pub const ORIGIN: Origin = Origin::Network(SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 1));

/// More than a whole session sends, so that no writer ever waits and the cut
/// into records is always the same.
const PIPE_BYTES: usize = 1 << 20;

/// Of paused time.
const PATIENCE: Duration = Duration::from_secs(10);

pub fn is_full() -> bool {
    std::env::var("SEALMOOT_ATTACKS").is_ok_and(|value| value == "full")
}

pub fn signing_key(seed: u8) -> SigningKey {
    SigningKey::from_seed(&SecretArray::from_bytes([seed; 32]))
}

pub fn static_key(seed: u8) -> Arc<StaticKey> {
    let key = AgreementKey::from_bytes(&SecretArray::from_bytes([seed; 32]));
    Arc::new(StaticKey::from(key))
}

/// An Ed25519 and an X25519 key, each from a number. The same numbers are the
/// same machine after a restart.
pub fn identity(signing: u8, agreement: u8) -> Identity {
    Identity::with_static_key(&signing_key(signing), static_key(agreement)).expect("a sound key")
}

/// Who meets.
#[derive(Clone)]
pub struct Parties {
    pub client: Identity,
    pub server: Identity,
}

impl Parties {
    pub fn new() -> Self {
        Self {
            client: identity(1, 2),
            server: identity(3, 4),
        }
    }
}

/// Over what they meet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Carrier {
    Tls,
    Noise {
        suite: Suite,
        /// Whether the initiator of XX knows the responder's key.
        tagged: bool,
    },
}

impl Carrier {
    pub fn noise(pattern: Pattern) -> Self {
        Self::Noise {
            suite: Suite::new(pattern),
            tagged: true,
        }
    }

    pub fn framing(self) -> Framing {
        match self {
            Self::Tls => Framing::Tls,
            Self::Noise { .. } => Framing::Noise,
        }
    }

    /// Takes every suite, tagged or not: whatever is refused is refused by the
    /// transcript, not by the configuration.
    pub fn acceptance(parties: &Parties) -> Acceptance {
        let mut suites = Vec::new();
        for pattern in [Pattern::Xx, Pattern::Ik, Pattern::Kk] {
            for hash in [Hash::Sha256, Hash::Blake2s] {
                for hybrid in [Hybrid::MlKem768, Hybrid::Off] {
                    suites.push(Suite {
                        pattern,
                        hash,
                        hybrid,
                    });
                }
            }
        }
        Acceptance {
            suites,
            untagged_xx: true,
            kk_initiator: Some(parties.client.static_key().public()),
            prologue: Vec::new(),
            transport: TransportSettings::default(),
        }
    }

    pub async fn connect(
        self,
        parties: &Parties,
        stream: DuplexStream,
    ) -> Result<Box<dyn Channel>, ChannelError> {
        let limits = Limits::default();
        Ok(match self {
            Self::Tls => {
                Box::new(TlsChannel::connect(&parties.client, stream, ORIGIN, &limits).await?)
            }
            Self::Noise { suite, tagged } => {
                let responder = parties.server.static_key().public();
                let target = match suite.pattern {
                    Pattern::Xx => Target::Xx {
                        responder: tagged.then_some(responder),
                    },
                    Pattern::Ik => Target::Ik { responder },
                    Pattern::Kk => Target::Kk { responder },
                };
                let options = Options {
                    hash: suite.hash,
                    hybrid: suite.hybrid,
                    ..Options::default()
                };
                let client = &parties.client;
                Box::new(
                    NoiseChannel::connect(client, &target, &options, stream, ORIGIN, &limits)
                        .await?,
                )
            }
        })
    }

    pub async fn accept(
        self,
        parties: &Parties,
        stream: DuplexStream,
    ) -> Result<Box<dyn Channel>, ChannelError> {
        let limits = Limits::default();
        let server = &parties.server;
        Ok(match self {
            Self::Tls => Box::new(TlsChannel::accept(server, stream, ORIGIN, &limits).await?),
            Self::Noise { .. } => {
                let acceptance = Self::acceptance(parties);
                Box::new(NoiseChannel::accept(server, &acceptance, stream, ORIGIN, &limits).await?)
            }
        })
    }

    /// Bytes of the application in a record of the open channel.
    pub fn content_bytes(self, record: &[u8]) -> usize {
        match self {
            // Header, the inner type, the tag.
            Self::Tls => record.len() - 5 - 1 - 16,
            // Length, flags, the tag.
            Self::Noise { .. } => record.len() - 2 - 1 - 16,
        }
    }
}

/// What each application sends: messages that begin with their length.
#[derive(Clone)]
pub struct Script {
    pub to_server: Vec<Vec<u8>>,
    pub to_client: Vec<Vec<u8>>,
}

impl Script {
    /// Short ones, one of a single byte, and one of many records.
    pub fn new(carrier: Carrier) -> Self {
        let large = match carrier {
            Carrier::Tls => 2 * 16_384 + 5_000,
            Carrier::Noise { .. } => 2 * STREAM_RECORD_BYTES_MAX + 5_000,
        };
        let messages = |mark: u8, lengths: &[usize]| {
            let message = |(number, &length): (usize, &usize)| {
                let byte = |index: usize| mark ^ (index % 251) as u8 ^ (number as u8) << 4;
                let length_bytes = (length as u32).to_be_bytes();
                let body: Vec<u8> = (0..length).map(byte).collect();
                [&length_bytes[..], &body].concat()
            };
            lengths.iter().enumerate().map(message).collect()
        };
        Self {
            to_server: messages(0x00, &[100, large, 1, 300]),
            to_client: messages(0x80, &[5, 200, large, 17]),
        }
    }

    pub fn to(&self, direction: Direction) -> &[Vec<u8>] {
        match direction {
            Direction::ToServer => &self.to_server,
            Direction::ToClient => &self.to_client,
        }
    }
}

/// How one side's listening ended.
#[derive(Debug)]
pub enum End {
    /// No channel opened.
    Refused(ChannelError),
    /// The peer said that this was all.
    Clean,
    /// The channel said that it was not.
    Failed(io::Error),
    /// Nothing more came, and no end.
    Silence,
}

/// What one application saw.
#[derive(Debug)]
pub struct Side {
    pub received: Vec<u8>,
    pub end: End,
}

impl Side {
    pub fn is_clean(&self) -> bool {
        matches!(self.end, End::Clean)
    }

    pub fn refusal(&self) -> Option<&ChannelError> {
        match &self.end {
            End::Refused(error) => Some(error),
            _ => None,
        }
    }
}

/// What came of a session.
pub struct Outcome {
    pub client: Side,
    pub server: Side,
    pub wire: Wire,
}

impl Outcome {
    /// Who receives in this direction.
    pub fn receiver(&self, direction: Direction) -> &Side {
        match direction {
            Direction::ToServer => &self.server,
            Direction::ToClient => &self.client,
        }
    }

    /// Whether both applications have everything, and know that they do.
    pub fn is_whole(&self, script: &Script) -> bool {
        Direction::BOTH.into_iter().all(|direction| {
            let side = self.receiver(direction);
            side.is_clean() && side.received == script.to(direction).concat()
        })
    }
}

/// One application: says what it has to say, and listens to the end.
pub async fn converse(
    opening: impl Future<Output = Result<Box<dyn Channel>, ChannelError>>,
    outgoing: &[Vec<u8>],
) -> Side {
    let mut received = Vec::new();
    let end = {
        let received = &mut received;
        let talk = async move {
            let mut channel = match opening.await {
                Ok(channel) => channel,
                Err(error) => return End::Refused(error),
            };
            channel.lift_byte_limit();
            let (mut reader, mut writer) = tokio::io::split(channel);
            let speak = async {
                for message in outgoing {
                    writer.write_all(message).await?;
                    writer.flush().await?;
                }
                writer.shutdown().await
            };
            let hear = async {
                let mut piece = vec![0; 32 * 1024];
                // Once failed is for ever: an application that asks again must
                // not get another answer.
                let mut failures = 0;
                loop {
                    match reader.read(&mut piece).await {
                        Ok(0) => return End::Clean,
                        Ok(read) => received.extend_from_slice(&piece[..read]),
                        Err(error) if failures == 3 => return End::Failed(error),
                        Err(_) => failures += 1,
                    }
                }
            };
            // A peer that is gone takes no more; what it sent before counts.
            let (_, end) = tokio::join!(speak, hear);
            end
        };
        match tokio::time::timeout(PATIENCE, talk).await {
            Ok(end) => end,
            Err(_) => End::Silence,
        }
    };
    Side { received, end }
}

/// A whole session with a man in the middle.
pub async fn run(
    carrier: Carrier,
    parties: &Parties,
    script: &Script,
    attack: Option<Attack>,
) -> Outcome {
    let wire = Wire::default();
    let (near, proxy_near) = duplex(PIPE_BYTES);
    let (proxy_far, far) = duplex(PIPE_BYTES);
    let (client, server, ()) = tokio::join!(
        converse(carrier.connect(parties, near), &script.to_server),
        converse(carrier.accept(parties, far), &script.to_client),
        relay(
            proxy_near,
            proxy_far,
            carrier.framing(),
            attack,
            wire.clone()
        ),
    );
    Outcome {
        client,
        server,
        wire,
    }
}

/// A session that nobody disturbed.
pub struct Recording {
    pub to_server: Vec<Vec<u8>>,
    pub to_client: Vec<Vec<u8>>,
    /// Records of each direction before the application's first.
    pub prelude: [usize; 2],
}

impl Recording {
    pub fn to(&self, direction: Direction) -> &[Vec<u8>] {
        match direction {
            Direction::ToServer => &self.to_server,
            Direction::ToClient => &self.to_client,
        }
    }

    pub fn prelude(&self, direction: Direction) -> usize {
        self.prelude[direction as usize]
    }

    pub fn stream(&self, direction: Direction) -> Vec<u8> {
        self.to(direction).concat()
    }
}

/// Records a session, and proves that the proxy alone disturbs nothing.
pub async fn record(carrier: Carrier, parties: &Parties, script: &Script) -> Recording {
    let outcome = run(carrier, parties, script, None).await;
    assert!(
        outcome.is_whole(script),
        "{carrier:?}: {:?} {:?}",
        outcome.client.end,
        outcome.server.end
    );
    let mut recording = Recording {
        to_server: outcome.wire.records(Direction::ToServer),
        to_client: outcome.wire.records(Direction::ToClient),
        prelude: [0; 2],
    };
    for direction in Direction::BOTH {
        let records = recording.to(direction);
        // Short messages one record each, the large one three, and the close.
        let count = records.len() - (script.to(direction).len() + 2 + 1);
        let content: usize = records[count..]
            .iter()
            .map(|record| carrier.content_bytes(record))
            .sum();
        // TLS says its close in two bytes.
        let close = if carrier == Carrier::Tls { 2 } else { 0 };
        assert_eq!(
            content,
            script.to(direction).concat().len() + close,
            "the records are cut otherwise than this test assumes"
        );
        if matches!(carrier, Carrier::Noise { .. }) {
            let introduction = &records[count - 1];
            assert_eq!(carrier.content_bytes(introduction), INTRODUCTION_BYTES);
        }
        recording.prelude[direction as usize] = count;
    }
    recording
}
