//! A name service: stores signed name records and hands them out.
//!
//! What a record says, and who reads it, is in [`sealmoot_rpc::binding`]. This crate
//! is one more place where a [`Resolver`](sealmoot_rpc::binding::Resolver) finds
//! records, itself a generated service over the same channel.
//!
//! ```
//! use std::collections::BTreeSet;
//! use std::num::NonZeroU8;
//! use std::sync::Arc;
//! use std::time::Duration;
//!
//! use sealmoot_crypto::signature::SigningKey;
//! use sealmoot_rpc::binding::{Endpoint, NameRecord, Resolver, Way};
//! use sealmoot_rpc::{AllowedKeys, Connector, Limits, Router, Server};
//! use sealmoot_rpc_names::proto::NamesServer;
//! use sealmoot_rpc_names::{
//!     NameService, NameServiceResolver, Policy, Prefix, Publisher, Readers, Rule,
//! };
//! use tokio::net::TcpListener;
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! // The name service's key, the store's, and that of whoever speaks for names.
//! let (names_key, store_key) = (SigningKey::generate()?, SigningKey::generate()?);
//! let signer = SigningKey::generate()?;
//! let (store_id, signer_id) = (
//!     store_key.verifying_key().key_id(),
//!     signer.verifying_key().key_id(),
//! );
//!
//! // The operator says who may do what; what no rule covers nobody may do.
//! let rule = Rule {
//!     publishers: BTreeSet::from([store_id]),
//!     signers: vec![signer_id],
//!     readers: Readers::Admitted,
//!     ..Rule::default()
//! };
//! let policy = Policy::new().rule("store".parse::<Prefix>()?, rule)?;
//! let directory = tempfile::tempdir()?;
//! let (service, recovery) = NameService::open(directory.path(), policy).await?;
//! assert!(!recovery.is_damaged());
//! let server = Server::start(
//!     TcpListener::bind("127.0.0.1:0").await?,
//!     &names_key,
//!     Arc::new(AllowedKeys::new([store_id])),
//!     Router::new().service(NamesServer::new(service))?,
//!     Limits::default(),
//! )?;
//!
//! // The store keeps its name alive. A `Retrying` in place of the connection
//! // comes back when the name service was away.
//! let connector = Connector::new(
//!     &store_key,
//!     Arc::new(AllowedKeys::new([names_key.verifying_key().key_id()])),
//!     Limits::default(),
//! )?;
//! let address = server.local_addr().to_string();
//! let connection = connector.connect(&address, Duration::from_secs(5)).await?;
//! let record = NameRecord {
//!     name: "store/eu-1".parse()?,
//!     serial: 0,
//!     valid_until_ms: 0,
//!     ttl_seconds: 10,
//!     services: Vec::new(),
//!     endpoints: vec![Endpoint {
//!         way: Way::Tls,
//!         address: "store.example:7000".to_owned(),
//!         key_id: store_id,
//!         weight: NonZeroU8::MIN,
//!     }],
//! };
//! let name = record.name.clone();
//! let validity = Duration::from_secs(60);
//! let publisher = Publisher::start(signer, record, validity, vec![connection.clone()])?;
//! publisher.standing().wait_for(|it| it.is_published()).await?;
//!
//! // Whoever looks for it believes the signer, and not the name service.
//! let resolver = NameServiceResolver::new(connection, &[signer_id]);
//! let found = resolver.resolve(&name).await?;
//! assert_eq!(found.record().endpoints[0].address, "store.example:7000");
//! # Ok(())
//! # }
//! ```
//!
//! # What it refuses to do
//!
//! - It signs nothing, and no reader has to trust it: it can withhold a record or
//!   show an old one that still counts, and nothing else.
//! - It takes no record that is older than what it has seen of a name, across
//!   restarts and after the name has expired.
//! - It does not replicate. Publishers publish at several services, and readers
//!   ask one after the other ([`FirstOf`]).
//! - Its policy stands for the life of the process.
//!
//! # Where things are
//!
//! | Module | Holds |
//! |---|---|
//! | [`book`] | the records as a value: which may follow which |
//! | [`policy`] | who may publish and read which prefix, as a value |
//! | [`store`] | memory, or a log in a directory; its format is drawn in `rpc/names/DESIGN.md` |
//! | [`service`] | [`NameService`], the generated service; what a peer is told |
//! | `watches` | who waits for newer records |
//! | [`resolver`] | [`NameServiceResolver`], [`FirstOf`] |
//! | [`publisher`] | [`Publisher`], which keeps a name alive |
//! | [`limits`] | every bound |

pub mod book;
pub mod limits;
pub mod policy;
pub mod publisher;
pub mod resolver;
pub mod service;
pub mod store;
#[cfg(test)]
mod testing;
mod watches;

pub use policy::{Policy, Prefix, Readers, Rule};
pub use publisher::Publisher;
pub use resolver::{FirstOf, NameServiceResolver};
pub use service::{NameService, Refusal};
pub use store::{OpenError, Recovery};

/// Messages and stubs of `sealmoot.names.v1`.
pub mod proto {
    sealmoot_rpc::include_proto!("sealmoot.names.v1");
}
