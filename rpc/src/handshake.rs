//! From a channel to an admitted peer: the hellos.
//!
//! The server speaks first. A client looks at the server's key and statements
//! and sends nothing of its own before its authorizer agrees: a stranger that
//! answers at an address learns neither who calls nor what for. Callers put a
//! deadline around the whole.

use std::io;

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use crate::channel::{Channel, ChannelError};
use crate::frame::{self, FLAG_WELCOME, HEADER_BYTES, Header, Kind, Violation};
use crate::limits::{HELLO_STEP_BYTES, LINGER_BYTES_MAX, Limits, STATEMENTS_BYTES_MAX};
use crate::payload::{decode_failure, decode_hello, encode_failure, encode_hello};
use crate::peer::{Authorizer, Candidate, Peer, Refusal};
use crate::status::{Code, Execution, Status};

/// How a handshake ended short of an admitted peer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum HandshakeError {
    #[error("{0}")]
    Channel(#[from] ChannelError),
    #[error("the peer broke the protocol: {0}")]
    Violation(#[source] Violation),
    /// This side's authorizer said no.
    #[error("not admitted: {0}")]
    Untrusted(Refusal),
    /// The other side said no.
    #[error("refused: {0}")]
    Refused(Refusal),
    #[error("this side's statements are longer than {STATEMENTS_BYTES_MAX} bytes")]
    StatementsTooLong,
}

/// The server's side. `enter` has the last word on a peer that the authorizer
/// admits, and what it returns comes along: a place that is free again when the
/// peer does not get its welcome.
pub(crate) async fn accept<C: Channel, P>(
    mut stream: C,
    authorizer: &dyn Authorizer,
    limits: &Limits,
    enter: impl FnOnce(&Peer) -> Result<P, Refusal>,
) -> Result<(C, Peer, P), HandshakeError> {
    let hello = encode_hello(&authorizer.present()).ok_or(HandshakeError::StatementsTooLong)?;
    send(&mut stream, Kind::Hello, 0, 0, &hello).await?;
    let admitted = match receive_client_hello(&mut stream).await {
        Ok(presented) => admit(&stream, &presented, authorizer).and_then(|peer| {
            let place = enter(&peer).map_err(HandshakeError::Untrusted)?;
            Ok((peer, place))
        }),
        Err(error) => Err(error),
    };
    let error = match admitted {
        Ok((peer, place)) => {
            send(&mut stream, Kind::Hello, FLAG_WELCOME, 0, &[]).await?;
            stream.lift_byte_limit();
            return Ok((stream, peer, place));
        }
        Err(error) => error,
    };
    let refusal = match &error {
        HandshakeError::Untrusted(refusal) => {
            Status::new(refusal.code, Execution::NotStarted, refusal.message.clone())
                .with_details(refusal.details.clone())
        }
        HandshakeError::Violation(violation) => Status::new(
            Code::FailedPrecondition,
            Execution::NotStarted,
            violation.to_string(),
        ),
        _ => return Err(error),
    };
    // The reason is a courtesy: that it cannot be sent changes nothing.
    let _ = part(&mut stream, &refusal, limits).await;
    Err(error)
}

/// The client's side.
pub(crate) async fn connect<C: Channel>(
    mut stream: C,
    authorizer: &dyn Authorizer,
) -> Result<(C, Peer), HandshakeError> {
    let presented = receive_server_hello(&mut stream, 0).await?;
    let presented = decode_hello(&presented).map_err(HandshakeError::Violation)?;
    let admitted = admit(&stream, presented, authorizer);
    let peer = match admitted {
        Ok(peer) => peer,
        Err(error) => {
            // Only the channel's own close: the stranger is told nothing.
            let _ = stream.shutdown().await;
            return Err(error);
        }
    };
    let hello = encode_hello(&authorizer.present()).ok_or(HandshakeError::StatementsTooLong)?;
    send(&mut stream, Kind::Hello, 0, 0, &hello).await?;
    let welcome = receive_server_hello(&mut stream, FLAG_WELCOME).await?;
    if !welcome.is_empty() {
        return Err(HandshakeError::Violation(Violation::Malformed(
            "welcome with a payload",
        )));
    }
    stream.lift_byte_limit();
    Ok((stream, peer))
}

fn admit<C: Channel>(
    channel: &C,
    presented: &[u8],
    authorizer: &dyn Authorizer,
) -> Result<Peer, HandshakeError> {
    let key = channel.peer_key();
    let (key_id, binding) = (key.key_id(), channel.binding());
    let (origin, transport) = (channel.origin(), channel.transport());
    let claims = authorizer
        .authorize(&Candidate {
            key: &key,
            key_id,
            presented,
            binding: &binding,
            origin,
            transport,
        })
        .map_err(HandshakeError::Untrusted)?;
    Ok(Peer::admitted(
        key, key_id, binding, origin, transport, claims,
    ))
}

async fn receive_client_hello<S>(stream: &mut S) -> Result<Vec<u8>, HandshakeError>
where
    S: AsyncRead + Unpin,
{
    let (header, payload) = receive(stream).await?;
    if header.kind != Kind::Hello || header.flags != 0 {
        return Err(HandshakeError::Violation(Violation::Unexpected(
            header.kind,
        )));
    }
    decode_hello(&payload)
        .map(<[u8]>::to_vec)
        .map_err(HandshakeError::Violation)
}

async fn receive_server_hello<S>(stream: &mut S, flags: u8) -> Result<Bytes, HandshakeError>
where
    S: AsyncRead + Unpin,
{
    let (header, payload) = receive(stream).await?;
    match header.kind {
        Kind::Hello if header.flags == flags => Ok(Bytes::from(payload)),
        // Only from a server that our authorizer has admitted: what a stranger
        // says first is not the server's refusal, and callers act on those.
        Kind::Goaway if flags == FLAG_WELCOME => {
            let status =
                decode_failure(header.code, &payload).map_err(HandshakeError::Violation)?;
            Err(HandshakeError::Refused(Refusal {
                code: status.code(),
                message: status.message().to_owned(),
                details: status.details().clone(),
            }))
        }
        kind => Err(HandshakeError::Violation(Violation::Unexpected(kind))),
    }
}

/// Reads exactly one frame, so that calls pipelined behind a hello stay where
/// the connection will find them. The header bounds what is read, and what is
/// reserved grows with what has come: a length alone reserves no more than the
/// first step.
async fn receive<S>(stream: &mut S) -> Result<(Header, Vec<u8>), HandshakeError>
where
    S: AsyncRead + Unpin,
{
    let mut header = [0; HEADER_BYTES];
    stream.read_exact(&mut header).await.map_err(classify)?;
    let header = Header::decode(&header).map_err(HandshakeError::Violation)?;
    if !matches!(header.kind, Kind::Hello | Kind::Goaway) {
        return Err(HandshakeError::Violation(Violation::Unexpected(
            header.kind,
        )));
    }
    let mut payload = Vec::new();
    while payload.len() < header.length {
        let start = payload.len();
        let step = start.max(HELLO_STEP_BYTES).min(header.length - start);
        payload.reserve_exact(step);
        payload.resize(start + step, 0);
        stream
            .read_exact(&mut payload[start..])
            .await
            .map_err(classify)?;
    }
    Ok((header, payload))
}

async fn send<S>(
    stream: &mut S,
    kind: Kind,
    flags: u8,
    code: u16,
    payload: &[u8],
) -> Result<(), HandshakeError>
where
    S: AsyncWrite + Unpin,
{
    let mut output = Vec::new();
    frame::append(&mut output, kind, flags, code, 0, &[payload]);
    stream.write_all(&output).await.map_err(classify)?;
    stream.flush().await.map_err(classify)
}

/// Says why, and waits a moment for the peer to hear it: closing a socket with
/// unread input resets it, and a reset can overtake the reason.
async fn part<S>(stream: &mut S, refusal: &Status, limits: &Limits) -> Result<(), HandshakeError>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let code = refusal.code().number();
    send(stream, Kind::Goaway, 0, code, &encode_failure(refusal)).await?;
    stream.shutdown().await.map_err(classify)?;
    let discard = async {
        let mut scrap = [0; 1024];
        let mut discarded = 0;
        while discarded < LINGER_BYTES_MAX {
            match stream.read(&mut scrap).await {
                Ok(0) | Err(_) => break,
                Ok(read) => discarded += read,
            }
        }
    };
    let _ = tokio::time::timeout(limits.linger, discard).await;
    Ok(())
}

/// Reading from a channel can still find that the other side refused it: a TLS
/// server judges its client behind the client's last message.
fn classify(error: io::Error) -> HandshakeError {
    ChannelError::from_tls(error).into()
}
