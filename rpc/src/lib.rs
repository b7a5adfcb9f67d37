//! Calls with deadlines and honest failures over an authenticated channel.
//!
//! A connection is a channel in which both sides prove possession of an Ed25519
//! key: TLS 1.3 with raw public keys (RFC 7250; a self-signed certificate of the
//! key is the same peer), Noise, a Unix socket, or memory of one process.
//! *Which* keys may talk is decided by an [`Authorizer`] on each side; what a
//! caller may do is decided by handlers, which are given the verified [`Peer`].
//! Over the channel travel frames that carry many calls at once, small ones
//! ahead of bulk; requests, replies or both may be streams of messages, whose
//! senders wait for their readers. Every failure says by its [`Execution`] whether
//! the call may have had an effect.
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
//! | `descriptor` | [`ServiceDescriptor`], a service's name, schema and methods as data |
//! | [`reflection`] | what a server serves, told to those who ask |
//! | [`health`] | whether it is ready |
//! | `builtin` | messages and stubs of these services, as they were generated |
//! | `generated` | what generated stubs call |
//! | `streams` | streams of messages, as callers and handlers hold them |
//! | `strict` | [`decode_strict`], where two encodings of one message would be an attack |
//! | `metadata` | [`Metadata`], what travels beside a request |
//! | [`interceptor`] | what sees calls before and behind them, on both sides |
//! | [`trace`] | which calls belong together: W3C Trace Context |
//! | `measured`, `counted` | `Measured`, which counts and times calls, and a server's connections, with the feature `metrics` |
//! | `tower` | the adapter to `tower`, with the feature `tower` |
//! | `shield` | [`shield()`], what must not stop halfway |
//! | `peer` | [`Peer`], [`Authorizer`] |
//! | `quota` | what one identity may take of a server, over all its connections |
//! | `status` | [`Status`], [`Code`], [`Execution`] |
//! | [`details`] | typed details of a [`Status`] |
//! | [`limits`] | every bound |
//! | `listening`, `admission`, `handshake` | from a socket to an admitted peer |
//! | `link` | [`Link`], a connection made again whenever it ends |
//! | [`channel`] | the four transports as one |
//! | [`tls`] | the channel by TLS 1.3, without I/O |
//! | [`noise`] | the channel by the Noise Protocol Framework, without I/O |
//! | [`frame`], [`payload`] | the wire format, drawn in `rpc/DESIGN.md` |
//! | `multiplexer`, `outgoing` | calls in flight, decided without I/O |
//! | `bare` | the multiplexers for tests from outside |
//! | [`once`] | which at-most-once calls have run, decided without I/O |
//! | [`binding`] | from a name to an endpoint |
//! | [`retry`] | whether and when a failed call is sent again |
//! | [`pause`] | how long to rest before that |
//! | `retrying`, `caller` | [`Retrying`], which sends it; [`Caller`], what generated clients call over |
//! | `connection`, `socket` | the task that reads and writes |
//! | `splitmix`, `hexadecimal` | random numbers that spread load; digits |

// Generated code names this crate as others do.
extern crate self as sealmoot_rpc;

mod admission;
#[doc(hidden)]
pub mod bare;
pub mod binding;
mod builtin;
mod caller;
pub mod channel;
mod client;
mod connection;
mod connector;
mod counted;
mod descriptor;
pub mod details;
pub mod frame;
#[doc(hidden)]
pub mod generated;
mod handshake;
pub mod health;
mod hexadecimal;
pub mod interceptor;
pub mod limits;
mod link;
mod listening;
#[cfg(feature = "metrics")]
mod measured;
mod metadata;
mod multiplexer;
pub mod noise;
pub mod once;
mod outgoing;
pub mod pause;
pub mod payload;
mod peer;
mod quota;
pub mod reflection;
pub mod retry;
mod retrying;
mod server;
mod service;
mod serving;
mod shield;
#[cfg(test)]
mod simulation;
mod socket;
mod splitmix;
mod status;
mod streams;
mod strict;
pub mod tls;
#[cfg(feature = "tower")]
pub mod tower;
pub mod trace;

pub use caller::Caller;
pub use client::{CallOptions, Connection};
pub use connector::{ConfigError, ConnectError, Connector};
pub use descriptor::{MethodDescriptor, ServiceDescriptor};
pub use interceptor::{ClientInterceptor, Intercepted, ServerInterceptor};
pub use limits::Limits;
pub use link::{DialError, Link};
pub use listening::Door;
#[cfg(feature = "metrics")]
pub use measured::Measured;
pub use metadata::{Metadata, MetadataError};
pub use peer::{AllowedKeys, Authorizer, Candidate, ChannelBinding, Peer, Refusal};
pub use retry::{Guard, Idempotency, RetryPolicy};
pub use retrying::Retrying;
pub use server::{Connections, Server, ServerBuilder, ServerHandle};
pub use service::{
    CallContext, DuplicateMethod, MethodKind, ReplyFuture, Router, Service, StreamFuture,
};
pub use shield::{Shielded, shield};
pub use status::{Code, Execution, Status};
pub use streams::{
    PendingReply, RawPendingReply, RawReplies, RawReplyStream, RawRequestSink, RawRequests,
    Replies, ReplyStream, RequestSink, Requests,
};
pub use strict::{Deterministic, StrictError, decode_strict};
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
