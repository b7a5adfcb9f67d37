//! Noise as a channel: the machines of [`crate::noise`] over a stream.
//!
//! Behind the handshake each side introduces itself with the Ed25519 key that
//! it is known by, signed over the handshake hash; a stolen X25519 key alone
//! impersonates nobody. The server's introduction leaves with its last
//! handshake frame where it has the last word (IK, KK), so it costs no flight.
//! Then records carry the stream, as many bytes each as were written at once and
//! at most 16 KiB: what a peer can make us keep of a record is bounded by that,
//! also before it is authorized.

use std::fmt;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Instant;

use sealmoot_crypto::signature::VerifyingKey;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};

use super::error::ChannelError;
use super::introduction::{INTRODUCTION_BYTES, Introduction, Role};
use super::metered::Metered;
use super::{Channel, Identity, Origin, Transport};
use crate::limits::noise::{
    FLAGS_BYTES, PREFIX_BYTES, STREAM_RECORD_BYTES_MAX, STREAM_RECORD_FRAME_BYTES_MAX,
};
use crate::limits::{Limits, NOISE_INPUT_BYTES, NOISE_INPUT_BYTES_FIRST, NOISE_OUTPUT_BYTES};
use crate::noise::{
    Acceptance, Answered, Event, HandshakeRandomness, Initiator, Options, ReceiveError,
    ReceiveHalf, Responder, SendHalf, Target, TransportSettings, handshake_frame_bytes,
};
use crate::peer::ChannelBinding;

/// Noise over `S`, in which both sides proved an X25519 key and, by a signature
/// over the handshake, an Ed25519 key.
pub struct NoiseChannel<S> {
    stream: Metered<S>,
    sending: Sending,
    receiving: Receiving,
    peer_key: VerifyingKey,
    binding: ChannelBinding,
    origin: Origin,
}

/// Payloads on their way out.
struct Sending {
    /// Gone once the close is sealed.
    half: Option<SendHalf>,
    records: Vec<u8>,
    written: usize,
}

/// Bytes that have come in, and plaintext: never shown by `Debug`.
struct Receiving {
    half: ReceiveHalf,
    /// Room for the longest record and then some, once anything has come.
    buffer: Vec<u8>,
    /// Records not taken yet: `start..end`.
    start: usize,
    end: usize,
    /// Plaintext not handed on yet; always before `start`.
    plain_start: usize,
    plain_end: usize,
    is_closed: bool,
}

impl<S: AsyncRead + AsyncWrite + Unpin> NoiseChannel<S> {
    /// Opens a channel over `stream` to `target`, as `identity`. Callers put a
    /// deadline around it. When keys change is in `limits`; what `options` say
    /// of the transport does not count.
    ///
    /// # Errors
    /// [`ChannelError`].
    pub async fn connect(
        identity: &Identity,
        target: &Target,
        options: &Options,
        stream: S,
        origin: Origin,
        limits: &Limits,
    ) -> Result<Self, ChannelError> {
        let mut stream = Metered::new(stream, limits.unauthenticated_bytes_max);
        let options = Options {
            transport: TransportSettings::of_a_stream(limits),
            ..options.clone()
        };
        let (initiator, first) = Initiator::start(
            identity.static_key(),
            target,
            &options,
            HandshakeRandomness::generate()?,
        )?;
        write(&mut stream, &first).await?;
        let answer = hear_answer(&mut stream, &initiator).await?;
        let (transport, third) = initiator.finish(&answer, now())?;
        if let Some(third) = third {
            write(&mut stream, &third).await?;
        }
        let binding = transport.channel_binding();
        let (send, receive) = transport.split();
        let mut channel = Self::opened(stream, send, receive, identity.key(), binding, origin);
        // The server first: whoever has not even a key learns nothing of ours.
        channel.hear_introduction(Role::Server).await?;
        channel.introduce(identity, Role::Client).await?;
        Ok(channel)
    }

    /// The other side of [`NoiseChannel::connect`], for initiators that
    /// `acceptance` takes. What it says of the transport does not count.
    ///
    /// # Errors
    /// [`ChannelError`].
    pub async fn accept(
        identity: &Identity,
        acceptance: &Acceptance,
        stream: S,
        origin: Origin,
        limits: &Limits,
    ) -> Result<Self, ChannelError> {
        let acceptance = Acceptance {
            transport: TransportSettings::of_a_stream(limits),
            ..acceptance.clone()
        };
        let responder = Responder::new(identity.static_key(), acceptance);
        let mut stream = Metered::new(stream, limits.unauthenticated_bytes_max);
        let mut prefix = [0; PREFIX_BYTES];
        read(&mut stream, &mut prefix).await?;
        // Before a byte is reserved for it. Other protocols begin with greater
        // numbers: TLS with 0x1603.
        let bytes = handshake_frame_bytes(prefix).map_err(|_| ChannelError::NotSealmoot)?;
        let mut first = vec![0; bytes];
        first[..PREFIX_BYTES].copy_from_slice(&prefix);
        read(&mut stream, &mut first[PREFIX_BYTES..]).await?;
        let (answered, answer) =
            responder.accept(&first, HandshakeRandomness::generate()?, now())?;
        let (transport, unsent) = match answered {
            Answered::Established(transport) => (transport, answer),
            Answered::AwaitingInitiator(awaiting) => {
                write(&mut stream, &answer).await?;
                let mut third = vec![0; awaiting.frame_bytes()];
                read(&mut stream, &mut third).await?;
                (awaiting.finish(&third, now())?, Vec::new())
            }
        };
        let binding = transport.channel_binding();
        let (send, receive) = transport.split();
        let mut channel = Self::opened(stream, send, receive, identity.key(), binding, origin);
        channel.sending.records = unsent;
        channel.introduce(identity, Role::Server).await?;
        channel.hear_introduction(Role::Client).await?;
        Ok(channel)
    }

    /// The stream below, for tests that break its rules.
    #[cfg(test)]
    pub(super) fn into_stream(self) -> Metered<S> {
        self.stream
    }

    fn opened(
        stream: Metered<S>,
        send: SendHalf,
        receive: ReceiveHalf,
        peer_key: VerifyingKey,
        binding: ChannelBinding,
        origin: Origin,
    ) -> Self {
        Self {
            stream,
            sending: Sending {
                half: Some(send),
                records: Vec::new(),
                written: 0,
            },
            receiving: Receiving {
                half: receive,
                buffer: Vec::new(),
                start: 0,
                end: 0,
                plain_start: 0,
                plain_end: 0,
                is_closed: false,
            },
            peer_key,
            binding,
            origin,
        }
    }

    async fn introduce(&mut self, identity: &Identity, role: Role) -> Result<(), ChannelError> {
        let bytes = Introduction::make(identity.signing(), Transport::Noise, role, &self.binding);
        self.write_all(&bytes).await.map_err(ChannelError::Io)?;
        self.flush().await.map_err(ChannelError::Io)
    }

    async fn hear_introduction(&mut self, role: Role) -> Result<(), ChannelError> {
        let mut bytes = [0; INTRODUCTION_BYTES];
        self.read_exact(&mut bytes)
            .await
            .map_err(ChannelError::Io)?;
        self.peer_key = Introduction::verify(&bytes, Transport::Noise, role, &self.binding)?;
        Ok(())
    }
}

async fn write<S: AsyncWrite + Unpin>(stream: &mut S, bytes: &[u8]) -> Result<(), ChannelError> {
    stream.write_all(bytes).await.map_err(ChannelError::Io)?;
    stream.flush().await.map_err(ChannelError::Io)
}

/// Reads the length alone first, so that something else that says less than an
/// answer and waits is known for that.
async fn hear_answer<S: AsyncRead + Unpin>(
    stream: &mut S,
    initiator: &Initiator,
) -> Result<Vec<u8>, ChannelError> {
    let mut answer = vec![0; initiator.answer_bytes()];
    let (prefix, rest) = answer
        .split_first_chunk_mut::<PREFIX_BYTES>()
        .expect("an answer is longer than its length");
    read(stream, prefix).await.map_err(|error| match error {
        ChannelError::Io(_) => ChannelError::NotAccepted(initiator.suite()),
        other => other,
    })?;
    if handshake_frame_bytes(*prefix) != Ok(PREFIX_BYTES + rest.len()) {
        return Err(ChannelError::NotSealmoot);
    }
    read(stream, rest).await?;
    Ok(answer)
}

async fn read<S: AsyncRead + Unpin>(stream: &mut S, bytes: &mut [u8]) -> Result<(), ChannelError> {
    stream.read_exact(bytes).await.map_err(ChannelError::Io)?;
    Ok(())
}

/// The runtime's clock, so that paused time in tests is honoured.
fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}

impl Sending {
    /// Hands what is sealed to the stream.
    fn poll_drain<S: AsyncWrite + Unpin>(
        &mut self,
        stream: &mut S,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        while self.written < self.records.len() {
            let rest = &self.records[self.written..];
            match ready!(Pin::new(&mut *stream).poll_write(cx, rest))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                count => self.written += count,
            }
        }
        self.records.clear();
        self.written = 0;
        Poll::Ready(Ok(()))
    }
}

impl Receiving {
    /// Takes the next record that is whole. `None` when there is none.
    fn take_record(&mut self) -> io::Result<Option<()>> {
        let record = &mut self.buffer[self.start..self.end];
        let received = self.half.receive(record).map_err(invalid)?;
        match received.event {
            Event::Incomplete { needed } => {
                // By its length alone, before more of it is read.
                if needed > STREAM_RECORD_FRAME_BYTES_MAX {
                    return Err(invalid(ReceiveError::PayloadTooLong));
                }
                self.make_room();
                return Ok(None);
            }
            Event::Payload(payload) => {
                // Decrypted in place: nothing is gathered from fragments here.
                self.plain_start = self.start + PREFIX_BYTES + FLAGS_BYTES;
                self.plain_end = self.plain_start + payload.len();
                self.start += received.consumed;
            }
            Event::Fragment => return Err(invalid(ReceiveError::PayloadTooLong)),
            Event::Closed => {
                self.start += received.consumed;
                self.is_closed = true;
            }
        }
        Ok(Some(()))
    }

    /// Room for the rest of a record. Runs only when no plaintext is left.
    fn make_room(&mut self) {
        debug_assert_eq!(self.plain_start, self.plain_end);
        self.buffer.copy_within(self.start..self.end, 0);
        self.end -= self.start;
        self.start = 0;
        // What has not been authorized yet sends a few hundred bytes; whoever
        // fills the first step gets the second, and there is no third.
        if self.end == self.buffer.len() {
            let bytes = if self.buffer.is_empty() {
                NOISE_INPUT_BYTES_FIRST
            } else {
                NOISE_INPUT_BYTES
            };
            self.buffer.resize(bytes, 0);
        }
    }
}

fn invalid(error: ReceiveError) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}

impl<S> fmt::Debug for NoiseChannel<S> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("NoiseChannel")
            .field("peer_key", &self.peer_key)
            .field("origin", &self.origin)
            .finish_non_exhaustive()
    }
}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Channel for NoiseChannel<S> {
    fn peer_key(&self) -> VerifyingKey {
        self.peer_key
    }

    fn binding(&self) -> ChannelBinding {
        self.binding
    }

    fn origin(&self) -> Origin {
        self.origin
    }

    fn transport(&self) -> Transport {
        Transport::Noise
    }

    fn lift_byte_limit(&mut self) {
        self.stream.lift_byte_limit();
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for NoiseChannel<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let Self {
            stream, receiving, ..
        } = &mut *self;
        while receiving.plain_start == receiving.plain_end {
            if receiving.is_closed {
                return Poll::Ready(Ok(()));
            }
            if receiving.take_record()?.is_some() {
                continue;
            }
            let mut room = ReadBuf::new(&mut receiving.buffer[receiving.end..]);
            ready!(Pin::new(&mut *stream).poll_read(cx, &mut room))?;
            let read = room.filled().len();
            if read == 0 {
                // A stranger can end a stream at any byte; only the peer can
                // close the channel.
                return Poll::Ready(
                    receiving
                        .half
                        .end_of_stream()
                        .map_err(|error| io::Error::new(io::ErrorKind::UnexpectedEof, error)),
                );
            }
            receiving.end += read;
        }
        let plain = &receiving.buffer[receiving.plain_start..receiving.plain_end];
        let taken = plain.len().min(buf.remaining());
        buf.put_slice(&plain[..taken]);
        receiving.plain_start += taken;
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for NoiseChannel<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let Self {
            stream, sending, ..
        } = &mut *self;
        // What waits here is memory of ours.
        if sending.records.len() >= NOISE_OUTPUT_BYTES {
            ready!(sending.poll_drain(stream, cx))?;
        }
        let Some(half) = &mut sending.half else {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        };
        if buf.is_empty() {
            return Poll::Ready(Ok(0));
        }
        // As many records as go out in one write.
        let taken = buf.len().min(NOISE_OUTPUT_BYTES);
        let now = now();
        for record in buf[..taken].chunks(STREAM_RECORD_BYTES_MAX) {
            half.seal(record, now, &mut sending.records)
                .map_err(io::Error::other)?;
        }
        match sending.poll_drain(stream, cx) {
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            // What is sealed is ours to send, now or when there is room.
            Poll::Ready(Ok(())) | Poll::Pending => Poll::Ready(Ok(taken)),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Self {
            stream, sending, ..
        } = &mut *self;
        ready!(sending.poll_drain(stream, cx))?;
        Pin::new(stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Self {
            stream, sending, ..
        } = &mut *self;
        if let Some(half) = sending.half.take() {
            half.close(now(), &mut sending.records)
                .map_err(io::Error::other)?;
        }
        ready!(sending.poll_drain(stream, cx))?;
        Pin::new(stream).poll_shutdown(cx)
    }
}
