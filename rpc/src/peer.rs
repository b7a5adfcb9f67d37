//! Who is at the other end, and who decides whether that is enough.

mod allowed;

use std::any::Any;
use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use sealmoot_crypto::signature::{KeyId, VerifyingKey};

pub use self::allowed::AllowedKeys;
use crate::channel::{Origin, Transport};
use crate::limits::Limits;
use crate::status::Code;

/// Thirty-two bytes that name one channel and no other, equal on both of its
/// sides: over TLS the `tls-exporter` of RFC 9266, over Noise the handshake hash
/// (revision 34, section 11.2).
///
/// A proof of identity that signs them is worth nothing in another connection,
/// which is what defeats a man in the middle who relays proofs.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct ChannelBinding([u8; 32]);

impl ChannelBinding {
    /// The binding with these bytes.
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// What to sign.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Debug for ChannelBinding {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("ChannelBinding")
    }
}

/// A peer that proved possession of its key in this connection and was
/// admitted by this side's [`Authorizer`].
#[derive(Clone)]
pub struct Peer(Arc<Identity>);

struct Identity {
    key: VerifyingKey,
    key_id: KeyId,
    binding: ChannelBinding,
    origin: Origin,
    transport: Transport,
    claims: Arc<dyn Any + Send + Sync>,
}

impl Peer {
    /// A peer that nothing has verified, for tests of handlers and for
    /// transports that verify by other means.
    pub fn danger_assume(
        key: VerifyingKey,
        binding: ChannelBinding,
        origin: Origin,
        transport: Transport,
        claims: Arc<dyn Any + Send + Sync>,
    ) -> Self {
        Self::admitted(key, key.key_id(), binding, origin, transport, claims)
    }

    pub(crate) fn admitted(
        key: VerifyingKey,
        key_id: KeyId,
        binding: ChannelBinding,
        origin: Origin,
        transport: Transport,
        claims: Arc<dyn Any + Send + Sync>,
    ) -> Self {
        Self(Arc::new(Identity {
            key,
            key_id,
            binding,
            origin,
            transport,
            claims,
        }))
    }

    /// The key whose possession the peer proved.
    pub fn key(&self) -> &VerifyingKey {
        &self.0.key
    }

    /// The identity that follows from the key.
    pub fn key_id(&self) -> KeyId {
        self.0.key_id
    }

    /// What a proof of identity inside this connection must cover.
    pub fn binding(&self) -> &ChannelBinding {
        &self.0.binding
    }

    /// Where the peer's bytes come from; no identity.
    pub fn origin(&self) -> Origin {
        self.0.origin
    }

    /// How its bytes travel.
    pub fn transport(&self) -> Transport {
        self.0.transport
    }

    /// What the authorizer found out, when it is a `T`.
    pub fn claims<T: Any>(&self) -> Option<&T> {
        self.0.claims.downcast_ref()
    }
}

impl fmt::Debug for Peer {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Peer")
            .field("key_id", &self.0.key_id)
            .field("origin", &self.0.origin)
            .field("transport", &self.0.transport)
            .finish_non_exhaustive()
    }
}

/// A peer that proved possession of `key` and waits to be admitted.
#[derive(Clone, Copy, Debug)]
pub struct Candidate<'a> {
    /// Verified: the peer holds the private half.
    pub key: &'a VerifyingKey,
    /// The identity that follows from the key.
    pub key_id: KeyId,
    /// What the peer says of itself; nothing in it is verified.
    pub presented: &'a [u8],
    /// What names this connection.
    pub binding: &'a ChannelBinding,
    /// The far end; no identity.
    pub origin: Origin,
    /// How the bytes travel: whether others on the way could read them.
    pub transport: Transport,
}

/// Decides who may talk at all, and what this side says of itself.
///
/// Runs on the connection's task, so it must not block. An authorizer that
/// admits too much hands every method to whoever can reach the port: the
/// handshake proves only *which* key the peer holds, and any stranger holds
/// one. On a client, it hands the requests to whoever answers at the address.
pub trait Authorizer: Send + Sync + 'static {
    /// The statements shown to peers, asked for once per connection. At most
    /// [`STATEMENTS_BYTES_MAX`](crate::limits::STATEMENTS_BYTES_MAX); with more,
    /// no connection opens.
    fn present(&self) -> Bytes;

    /// Admits a peer with what is known of it, for
    /// [`Peer::claims`].
    ///
    /// # Errors
    ///
    /// Why not. A server sends the refusal to the client, so it must not tell
    /// a stranger more than a stranger may know.
    fn authorize(&self, candidate: &Candidate<'_>) -> Result<Arc<dyn Any + Send + Sync>, Refusal>;

    /// What a server spends on this peer, where that differs from what it spends
    /// on others: strangers that are admitted only to log in get less, and stay
    /// counted among the unauthenticated. Their at-most-once calls are refused
    /// ([`Code::PermissionDenied`], not started): a server's memory of such calls is
    /// bounded by identity, and these cost a stranger nothing.
    fn limits(&self, peer: &Peer) -> Option<Limits> {
        let _ = peer;
        None
    }
}

/// Why a peer was not admitted, or why its connection was ended by choice
/// ([`Connections::close_where`](crate::Connections::close_where)).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// Coarsely.
    pub code: Code,
    /// For people; of a refusal sent by a server, escape it where it is
    /// printed.
    pub message: String,
    /// For programs.
    pub details: Bytes,
}

impl Refusal {
    /// A refusal without details.
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
            details: Bytes::new(),
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}: {}", self.code, self.message.escape_debug())
    }
}

impl std::error::Error for Refusal {}
