//! Calls with deadlines and honest failures over an authenticated channel.
//!
//! A connection is a channel in which both sides prove possession of an Ed25519
//! key: TLS 1.3 with raw public keys (RFC 7250; a self-signed certificate of the
//! key is the same peer), Noise, a Unix socket, or memory of one process.
//! *Which* keys may talk is decided by an [`Authorizer`] on each side; what a
//! caller may do is decided by handlers, which are given the verified [`Peer`].
//! Over the channel travel frames that carry many calls at once, small ones
//! ahead of bulk; requests, replies or both may be streams of messages, whose
//! senders wait for their readers. Every failure says by its [`Execution`] whether the call may
//! have had an effect.
//!
//! ```
//! use std::any::Any;
//! use std::sync::Arc;
//! use std::time::Duration;
//!
//! use sealmoot_crypto::signature::{KeyId, SigningKey};
//! use sealmoot_rpc::bytes::Bytes;
//! use sealmoot_rpc::{
//!     Authorizer, CallContext, Candidate, Code, Connector, Limits, Refusal, ReplyFuture, Router,
//!     Server, Service,
//! };
//!
//! /// Talks to one key and to no other.
//! struct Only(KeyId);
//!
//! impl Authorizer for Only {
//!     fn present(&self) -> Bytes {
//!         Bytes::new()
//!     }
//!
//!     fn authorize(
//!         &self,
//!         candidate: &Candidate<'_>,
//!     ) -> Result<Arc<dyn Any + Send + Sync>, Refusal> {
//!         if candidate.key_id == self.0 {
//!             Ok(Arc::new(()))
//!         } else {
//!             Err(Refusal::new(Code::Unauthenticated, "not the key I know"))
//!         }
//!     }
//! }
//!
//! /// Written by hand; `sealmoot-rpc-codegen` writes such from a `.proto` file.
//! struct Echo;
//!
//! const ECHO: u64 = 0x6563_686f;
//!
//! impl Service for Echo {
//!     fn methods(&self) -> &[u64] {
//!         &[ECHO]
//!     }
//!
//!     fn call(&self, _context: CallContext, _method: u64, body: Bytes) -> ReplyFuture {
//!         Box::pin(async move { Ok(body) })
//!     }
//! }
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let (server_key, client_key) = (SigningKey::generate()?, SigningKey::generate()?);
//! let server_id = server_key.verifying_key().key_id();
//! let client_id = client_key.verifying_key().key_id();
//!
//! let server = Server::start(
//!     tokio::net::TcpListener::bind("127.0.0.1:0").await?,
//!     &server_key,
//!     Arc::new(Only(client_id)),
//!     Router::new().service(Echo)?,
//!     Limits::default(),
//! )?;
//!
//! let connector = Connector::new(&client_key, Arc::new(Only(server_id)), Limits::default())?;
//! let address = server.local_addr().to_string();
//! let connection = connector.connect(&address, Duration::from_secs(5)).await?;
//! assert_eq!(connection.peer().key_id(), server_id);
//!
//! let reply = connection.call(ECHO, &b"hello"[..], Duration::from_secs(1)).await?;
//! assert_eq!(reply, &b"hello"[..]);
//!
//! server.drain(Duration::from_secs(1)).await;
//! # Ok(())
//! # }
//! ```
//!
//! # What it refuses to do
//!
//! - It knows no user, role or statement: those are opaque bytes to it.
//! - A [`Connection`] sends nothing twice: whether a call may be sent again is
//!   the caller's knowledge, and [`Execution`] is what it needs for it. Who has
//!   it can say so by a [`Guard`], and call over [`Retrying`].
//! - No certificate authorities: of a certificate nothing but its key is
//!   believed. No TLS below 1.3, no resumption, no early data.
//! - Only clients call; a server answers.
//!
//! # Where things are
//!
//! | Module | Holds |
//! |---|---|
//! | `connector`, `client` | opening connections; calls over them |
//! | `server`, `serving` | accepting; requests meeting handlers |
//! | `service` | [`Service`], [`Router`], what handlers are given |
//! | `streams` | streams of messages, as callers and handlers hold them |
//! | `metadata` | [`Metadata`], what travels beside a request |
//! | `shield` | [`shield()`], what must not stop halfway |
//! | `peer` | [`Peer`], [`Authorizer`] |
//! | `status` | [`Status`], [`Code`], [`Execution`] |
//! | [`limits`] | every bound |
//! | `listening`, `admission`, `handshake` | from a socket to an admitted peer |
//! | `link` | [`Link`], a connection made again whenever it ends |
//! | [`channel`] | the four transports as one |
//! | [`tls`] | the channel by TLS 1.3, without I/O |
//! | [`noise`] | the channel by the Noise Protocol Framework, without I/O |
//! | [`frame`], [`payload`] | the wire format, drawn in `rpc/DESIGN.md` |
//! | `multiplexer`, `outgoing` | calls in flight, decided without I/O |
//! | [`once`] | which at-most-once calls have run, decided without I/O |
//! | [`binding`] | from a name to an endpoint, decided without I/O |
//! | [`retry`] | whether and when a failed call is sent again |
//! | `retrying`, `caller` | [`Retrying`], which sends it; [`Caller`], what generated clients call over |
//! | `connection`, `socket` | the task that reads and writes |

mod admission;
#[doc(hidden)]
pub mod bare;
pub mod binding;
mod caller;
pub mod channel;
mod client;
mod connection;
mod connector;
pub mod frame;
#[doc(hidden)]
pub mod generated;
mod handshake;
pub mod limits;
mod link;
mod listening;
mod metadata;
mod multiplexer;
pub mod noise;
pub mod once;
mod outgoing;
pub mod payload;
mod peer;
pub mod retry;
mod retrying;
mod server;
mod service;
mod serving;
mod shield;
#[cfg(test)]
mod simulation;
mod socket;
mod status;
mod streams;
pub mod tls;

pub use caller::Caller;
pub use client::{CallOptions, Connection};
pub use connector::{ConfigError, ConnectError, Connector};
pub use limits::Limits;
pub use link::{DialError, Link};
pub use listening::Door;
pub use metadata::{Metadata, MetadataError};
pub use peer::{AllowedKeys, Authorizer, Candidate, ChannelBinding, Peer, Refusal};
pub use retry::{Guard, Idempotency, RetryPolicy};
pub use retrying::Retrying;
pub use server::{Server, ServerBuilder, ServerHandle};
pub use service::{
    CallContext, DuplicateMethod, MethodKind, ReplyFuture, Router, Service, StreamFuture,
};
pub use shield::{Shielded, shield};
pub use status::{Code, Execution, Status};
pub use streams::{
    PendingReply, RawPendingReply, RawReplies, RawReplyStream, RawRequestSink, RawRequests,
    Replies, ReplyStream, RequestSink, Requests,
};
pub use tls::ALPN;

pub use {bytes, prost};

/// Includes what `sealmoot-rpc-codegen` generated for one Protocol Buffers
/// package; for the body of a module.
#[macro_export]
macro_rules! include_proto {
    ($package:tt) => {
        include!(concat!(env!("OUT_DIR"), "/", $package, ".rs"));
    };
}
