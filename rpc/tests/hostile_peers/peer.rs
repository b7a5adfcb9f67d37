//! A peer that was admitted and writes what it likes.

use std::time::Duration;

use sealmoot_rpc::frame::{
    FLAG_LAST, FLAG_METADATA, FLAG_MORE, FLAG_REPLIES, FLAG_STREAM, FLAG_WELCOME, Frame, Kind,
};
use sealmoot_rpc::limits::CHUNK_BYTES_MAX;
use sealmoot_rpc::payload::{CallPrefix, decode_failure, encode_hello};
use sealmoot_rpc::{Metadata, MethodKind, Status};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadHalf, WriteHalf, split};
use tokio::time::timeout;

use crate::common::PATIENCE;

pub trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

/// Any frame, lawful or not, with the length that it has.
pub fn frame(kind: u8, flags: u8, code: u16, call: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).expect("short");
    let mut bytes = length.to_le_bytes().to_vec();
    bytes.extend_from_slice(&[kind, flags]);
    bytes.extend_from_slice(&code.to_le_bytes());
    bytes.extend_from_slice(&call.to_le_bytes());
    bytes.extend_from_slice(payload);
    bytes
}

pub fn of(kind: Kind, flags: u8, call: u32, payload: &[u8]) -> Vec<u8> {
    frame(kind as u8, flags, 0, call, payload)
}

/// The payload of a call without blocks.
pub fn prefixed(method: u64, body: &[u8]) -> Vec<u8> {
    let timeout_ms = 0;
    [&CallPrefix { timeout_ms, method }.encode()[..], body].concat()
}

pub fn call(number: u32, kind: MethodKind, method: u64, body: &[u8]) -> Vec<u8> {
    let mut flags = 0;
    if kind.has_request_stream() {
        flags |= FLAG_STREAM;
    }
    if kind.has_reply_stream() {
        flags |= FLAG_REPLIES;
    }
    let (first, rest) = body.split_at(body.len().min(CHUNK_BYTES_MAX));
    let more = if rest.is_empty() { 0 } else { FLAG_MORE };
    let mut bytes = of(Kind::Call, flags | more, number, &prefixed(method, first));
    bytes.extend(parts(number, rest));
    bytes
}

/// A unary call with metadata.
pub fn call_with(number: u32, method: u64, metadata: &Metadata) -> Vec<u8> {
    let length = u16::try_from(metadata.as_bytes().len()).expect("short");
    let mut payload = prefixed(method, &length.to_le_bytes());
    payload.extend_from_slice(metadata.as_bytes());
    of(Kind::Call, FLAG_METADATA, number, &payload)
}

/// The rest of a body.
fn parts(number: u32, rest: &[u8]) -> Vec<u8> {
    let count = rest.chunks(CHUNK_BYTES_MAX).len();
    let parts = rest.chunks(CHUNK_BYTES_MAX).enumerate();
    parts
        .flat_map(|(index, part)| {
            let kind = if index + 1 == count {
                Kind::End
            } else {
                Kind::Chunk
            };
            of(kind, 0, number, part)
        })
        .collect()
}

/// A message of a stream.
pub fn message(number: u32, body: &[u8]) -> Vec<u8> {
    if body.is_empty() {
        return of(Kind::Chunk, FLAG_LAST, number, body);
    }
    let count = body.chunks(CHUNK_BYTES_MAX).len();
    let parts = body.chunks(CHUNK_BYTES_MAX).enumerate();
    parts
        .flat_map(|(index, part)| {
            let flags = if index + 1 == count { FLAG_LAST } else { 0 };
            of(Kind::Chunk, flags, number, part)
        })
        .collect()
}

pub fn end(number: u32) -> Vec<u8> {
    of(Kind::End, 0, number, b"")
}

pub fn cancel(number: u32) -> Vec<u8> {
    of(Kind::Cancel, 0, number, b"")
}

pub fn credit(number: u32, bytes: u32) -> Vec<u8> {
    of(Kind::Credit, 0, number, &bytes.to_le_bytes())
}

fn hello(flags: u8, payload: &[u8]) -> Vec<u8> {
    of(Kind::Hello, flags, 0, payload)
}

/// A frame that the other side has sent.
#[derive(Debug)]
pub struct Said {
    pub kind: Kind,
    pub code: u16,
    pub call: u32,
    pub payload: Vec<u8>,
}

impl Said {
    pub fn failure(&self) -> Status {
        decode_failure(self.code, &self.payload).expect("a lawful failure")
    }
}

/// What was heard, frame by frame.
pub struct Ear {
    stream: ReadHalf<Box<dyn Stream>>,
    buffer: Vec<u8>,
}

impl Ear {
    /// The next frame that is neither ping nor pong; none at the end.
    pub async fn next(&mut self) -> Option<Said> {
        timeout(PATIENCE, self.next_of_them())
            .await
            .expect("the other side says something or closes")
    }

    async fn next_of_them(&mut self) -> Option<Said> {
        loop {
            while let Some((said, size)) = self.decoded() {
                self.buffer.drain(..size);
                if !matches!(said.kind, Kind::Ping | Kind::Pong) {
                    return Some(said);
                }
            }
            // A reset is an end, too.
            match self.stream.read_buf(&mut self.buffer).await {
                Ok(0) | Err(_) => return None,
                Ok(_) => {}
            }
        }
    }

    fn decoded(&self) -> Option<(Said, usize)> {
        let (frame, size) = Frame::decode(&self.buffer).expect("we are sent lawful frames")?;
        let said = Said {
            kind: frame.kind,
            code: frame.code,
            call: frame.call,
            payload: frame.payload.to_vec(),
        };
        Some((said, size))
    }

    /// The reason of the goaway, behind which there is nothing.
    pub async fn goaway(&mut self) -> String {
        loop {
            let said = self.next().await.expect("a goaway before the end");
            if said.kind == Kind::Goaway {
                assert!(self.next().await.is_none(), "more behind the goaway");
                return said.failure().message().to_owned();
            }
        }
    }

    /// Reads what is there by now, so that the other side can go on.
    pub async fn skip(&mut self) {
        while let Ok(Some(_)) = timeout(Duration::ZERO, self.next_of_them()).await {}
    }

    /// That the other side closes, whatever it says before.
    pub async fn ends(mut self) {
        while self.next().await.is_some() {}
    }
}

pub struct Mouth(WriteHalf<Box<dyn Stream>>);

impl Mouth {
    /// Whether the other side took it.
    pub async fn say(&mut self, bytes: &[u8]) -> bool {
        self.0.write_all(bytes).await.is_ok() && self.0.flush().await.is_ok()
    }

    /// Whether it took it within a moment.
    pub async fn say_within(&mut self, bytes: &[u8], moment: Duration) -> bool {
        timeout(moment, self.say(bytes)).await == Ok(true)
    }

    /// Says it and waits until the other side is deaf, or this side is through.
    pub async fn insist(&mut self, bytes: &[u8], times: usize) {
        for _ in 0..times {
            if !self.say(bytes).await {
                return;
            }
        }
    }

    pub async fn close(mut self) {
        let _ = self.0.shutdown().await;
    }
}

/// Enters as a client.
pub async fn enter(stream: Box<dyn Stream>) -> (Mouth, Ear) {
    let (mouth, ear, welcome) = knock(stream).await;
    assert_eq!(welcome.kind, Kind::Hello, "{welcome:?}");
    (mouth, ear)
}

/// Asks to enter; what the server says to it.
pub async fn knock(stream: Box<dyn Stream>) -> (Mouth, Ear, Said) {
    let (mut mouth, mut ear) = ends(stream);
    let first = ear.next().await.expect("the server's hello");
    assert_eq!(first.kind, Kind::Hello);
    assert!(
        mouth
            .say(&hello(0, &encode_hello(b"client").expect("short")))
            .await
    );
    let answer = ear.next().await.expect("an answer");
    (mouth, ear, answer)
}

/// Lets a client enter.
pub async fn admit(stream: Box<dyn Stream>) -> (Mouth, Ear) {
    let (mut mouth, mut ear) = ends(stream);
    assert!(
        mouth
            .say(&hello(0, &encode_hello(b"server").expect("short")))
            .await
    );
    let said = ear.next().await.expect("the client's hello");
    assert_eq!(said.kind, Kind::Hello);
    assert!(mouth.say(&hello(FLAG_WELCOME, b"")).await);
    (mouth, ear)
}

fn ends(stream: Box<dyn Stream>) -> (Mouth, Ear) {
    let (reader, writer) = split(stream);
    let ear = Ear {
        stream: reader,
        buffer: Vec::new(),
    };
    (Mouth(writer), ear)
}
