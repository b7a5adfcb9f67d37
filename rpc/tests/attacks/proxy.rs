//! A man in the middle who cuts both directions into records and changes one.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

/// Which way a record travels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    ToServer,
    ToClient,
}

impl Direction {
    pub const BOTH: [Self; 2] = [Self::ToServer, Self::ToClient];

    pub fn reverse(self) -> Self {
        match self {
            Self::ToServer => Self::ToClient,
            Self::ToClient => Self::ToServer,
        }
    }
}

/// How records are told apart from outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// Type, version, then 16 bits of length.
    Tls,
    /// 16 bits of length.
    Noise,
}

impl Framing {
    pub fn header_bytes(self) -> usize {
        match self {
            Self::Tls => 5,
            Self::Noise => 2,
        }
    }

    /// Bytes of the first record, once they are all there.
    fn whole(self, buffer: &[u8]) -> Option<usize> {
        let header = self.header_bytes();
        let length = buffer.get(header - 2..header)?;
        let bytes = header + usize::from(u16::from_be_bytes([length[0], length[1]]));
        (buffer.len() >= bytes).then_some(bytes)
    }

    /// Makes the length say what stands behind it.
    pub fn fix_length(self, record: &mut [u8]) {
        let header = self.header_bytes();
        let length = u16::try_from(record.len() - header).expect("no longer than two records");
        record[header - 2..header].copy_from_slice(&length.to_be_bytes());
    }
}

type Rewriting = Arc<dyn Fn(&[u8]) -> Vec<u8> + Send + Sync>;

/// What is done to one record.
#[derive(Clone)]
pub enum Manipulation {
    /// One bit of one byte, header included.
    Flip { byte: usize, bit: u8 },
    /// The record is lost.
    Drop,
    /// It comes twice.
    Duplicate,
    /// It comes behind its successor.
    Swap,
    /// The stream ends before it.
    CutBefore,
    /// The stream ends after so many of its bytes.
    CutWithin(usize),
    /// Its last byte is lost, and the length says so.
    Shorten,
    /// It becomes two records.
    Split,
    /// It and its successor become one, which must not exceed 16 bits of length.
    Merge,
    /// Something comes before it.
    Insert(&'static str, Vec<u8>),
    /// Something takes its place.
    Replace(&'static str, Vec<u8>),
    /// From here on, all of another stream comes instead, to its end.
    Continue(&'static str, Vec<u8>),
    /// The receiver gets the record of this number of its own.
    Reflect,
    /// Something that follows from the record takes its place.
    Rewrite(&'static str, Rewriting),
}

impl Manipulation {
    pub fn rewrite(
        name: &'static str,
        rewriting: impl Fn(&[u8]) -> Vec<u8> + Send + Sync + 'static,
    ) -> Self {
        Self::Rewrite(name, Arc::new(rewriting))
    }

    /// For counting: manipulations of one family.
    pub fn family(&self) -> &'static str {
        match self {
            Self::Flip { .. } => "flip",
            Self::Drop => "drop",
            Self::Duplicate => "duplicate",
            Self::Swap => "reorder",
            Self::CutBefore | Self::CutWithin(_) => "truncate the stream",
            Self::Shorten => "truncate a record",
            Self::Split => "split",
            Self::Merge => "merge",
            Self::Insert(name, _)
            | Self::Replace(name, _)
            | Self::Continue(name, _)
            | Self::Rewrite(name, _) => name,
            Self::Reflect => "reflect",
        }
    }
}

impl fmt::Debug for Manipulation {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flip { byte, bit } => write!(formatter, "flip byte {byte} bit {bit}"),
            Self::CutWithin(bytes) => write!(formatter, "cut after {bytes} bytes"),
            other => formatter.write_str(other.family()),
        }
    }
}

/// One manipulation at one record of one direction.
#[derive(Clone, Debug)]
pub struct Attack {
    pub direction: Direction,
    /// Counted from the first record of the handshake.
    pub index: usize,
    pub manipulation: Manipulation,
}

impl Attack {
    /// The first place in the stream where something stands that its sender did
    /// not put there.
    pub fn first_bad(&self) -> usize {
        match self.manipulation {
            Manipulation::Duplicate => self.index + 1,
            _ => self.index,
        }
    }
}

/// What was sent, as its senders sent it, and whether the attack found its place.
#[derive(Default)]
struct Seen {
    to_server: Vec<Vec<u8>>,
    to_client: Vec<Vec<u8>>,
    reached: bool,
}

/// Shared by both directions of one connection, and by the test.
#[derive(Clone, Default)]
pub struct Wire(Arc<Mutex<Seen>>);

impl Wire {
    fn with<T>(&self, look: impl FnOnce(&mut Seen) -> T) -> T {
        look(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub fn records(&self, direction: Direction) -> Vec<Vec<u8>> {
        self.with(|seen| seen.of(direction).clone())
    }

    pub fn count(&self, direction: Direction) -> usize {
        self.with(|seen| seen.of(direction).len())
    }

    pub fn was_reached(&self) -> bool {
        self.with(|seen| seen.reached)
    }
}

impl Seen {
    fn of(&mut self, direction: Direction) -> &mut Vec<Vec<u8>> {
        match direction {
            Direction::ToServer => &mut self.to_server,
            Direction::ToClient => &mut self.to_client,
        }
    }
}

/// One direction of the man in the middle, without I/O.
struct Tamper {
    direction: Direction,
    framing: Framing,
    attack: Option<Attack>,
    wire: Wire,
    /// Waits for its successor.
    held: Option<Vec<u8>>,
    index: usize,
}

/// What goes on instead of a record.
enum Passed {
    On(Vec<u8>),
    /// These, and then the end.
    Last(Vec<u8>),
}

impl Tamper {
    fn pass(&mut self, record: Vec<u8>) -> Passed {
        let index = self.index;
        self.index += 1;
        let (direction, framing) = (self.direction, self.framing);
        self.wire
            .with(|seen| seen.of(direction).push(record.clone()));
        if let Some(held) = self.held.take() {
            let Some(attack) = &self.attack else {
                unreachable!("only attacks hold")
            };
            return Passed::On(match attack.manipulation {
                Manipulation::Merge => {
                    let mut merged = [&held[..], &record[framing.header_bytes()..]].concat();
                    framing.fix_length(&mut merged);
                    merged
                }
                _ => [record, held].concat(),
            });
        }
        let Some(attack) = &self.attack else {
            return Passed::On(record);
        };
        if attack.direction != direction || attack.index != index {
            return Passed::On(record);
        }
        self.wire.with(|seen| seen.reached = true);
        Passed::On(match &attack.manipulation {
            Manipulation::Flip { byte, bit } => {
                let mut record = record;
                let last = record.len() - 1;
                record[(*byte).min(last)] ^= 1 << bit;
                record
            }
            Manipulation::Drop => Vec::new(),
            Manipulation::Duplicate => [&record[..], &record[..]].concat(),
            Manipulation::Swap | Manipulation::Merge => {
                self.held = Some(record);
                Vec::new()
            }
            Manipulation::CutBefore => return Passed::Last(Vec::new()),
            Manipulation::CutWithin(bytes) => {
                return Passed::Last(record[..(*bytes).min(record.len() - 1)].to_vec());
            }
            Manipulation::Shorten => {
                let mut record = record;
                record.pop();
                framing.fix_length(&mut record);
                record
            }
            Manipulation::Split => {
                let header = framing.header_bytes();
                let middle = header + (record.len() - header) / 2;
                let mut first = record[..middle].to_vec();
                let mut second = [&record[..header], &record[middle..]].concat();
                framing.fix_length(&mut first);
                framing.fix_length(&mut second);
                [first, second].concat()
            }
            Manipulation::Insert(_, before) => [&before[..], &record[..]].concat(),
            Manipulation::Replace(_, other) => other.clone(),
            Manipulation::Continue(_, rest) => return Passed::Last(rest.clone()),
            Manipulation::Reflect => self.wire.with(|seen| {
                let own = seen.of(direction.reverse());
                own.get(index).or(own.last()).cloned().unwrap_or_default()
            }),
            Manipulation::Rewrite(_, rewriting) => rewriting(&record),
        })
    }
}

/// Carries one direction until its source ends; then ends it at the other side
/// too.
pub async fn pump(
    mut source: impl AsyncRead + Unpin,
    mut sink: impl AsyncWrite + Unpin,
    framing: Framing,
    direction: Direction,
    attack: Option<Attack>,
    wire: Wire,
) {
    let mut tamper = Tamper {
        direction,
        framing,
        attack,
        wire,
        held: None,
        index: 0,
    };
    let mut buffer = Vec::new();
    let mut has_ended = false;
    loop {
        let mut start = 0;
        while let Some(bytes) = framing.whole(&buffer[start..]) {
            let record = buffer[start..start + bytes].to_vec();
            start += bytes;
            let (bytes, last) = match tamper.pass(record) {
                Passed::On(bytes) => (bytes, false),
                Passed::Last(bytes) => (bytes, true),
            };
            // A receiver that is gone is no news; the source is still recorded.
            if !has_ended {
                let _ = sink.write_all(&bytes).await;
            }
            if last && !has_ended {
                has_ended = true;
                let _ = sink.shutdown().await;
            }
        }
        buffer.drain(..start);
        match source.read_buf(&mut buffer).await {
            Ok(0) | Err(_) => break,
            Ok(_) => {}
        }
    }
    if !has_ended {
        let _ = sink.write_all(&buffer).await;
        let _ = sink.shutdown().await;
    }
}

/// Both directions between two streams.
pub async fn relay<A, B>(client: A, server: B, framing: Framing, attack: Option<Attack>, wire: Wire)
where
    A: AsyncRead + AsyncWrite,
    B: AsyncRead + AsyncWrite,
{
    let (from_client, to_client) = tokio::io::split(client);
    let (from_server, to_server) = tokio::io::split(server);
    tokio::join!(
        pump(
            from_client,
            to_server,
            framing,
            Direction::ToServer,
            attack.clone(),
            wire.clone(),
        ),
        pump(
            from_server,
            to_client,
            framing,
            Direction::ToClient,
            attack,
            wire,
        ),
    );
}
