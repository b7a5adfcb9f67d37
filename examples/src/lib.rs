//! What the examples share: the greeter's stubs, and the greeter itself.
//!
//! | Binary | Shows |
//! |---|---|
//! | `greeter` | a server on its own, with the key and the clients that it is given |
//! | `echo_over_each_channel` | one call in six ways, from a procedure to Noise, and what each costs |
//! | `stream_with_backpressure` | a slow reader holding its sender |
//!
//! `python/greet.py` calls the greeter from Python.
//!
//! # From a schema to a secured call
//!
//! **1. The schema**, `proto/greeter.proto`:
//!
//! ```proto
//! syntax = "proto3";
//! package greeter.v1;
//!
//! service Greeter {
//!   rpc Greet(Name) returns (Greeting);
//!   rpc GreetAll(stream Name) returns (stream Greeting);
//! }
//! message Name { string name = 1; }
//! message Greeting { string text = 1; }
//! ```
//!
//! **2. The stubs**, by `build.rs`; no `protoc` is needed. The crate depends on
//! `sealmoot-rpc`, `prost` and `bytes`, and to build on `sealmoot-rpc-codegen`:
//!
//! ```no_run
//! // build.rs
//! # /*
//! fn main() -> Result<(), sealmoot_rpc_codegen::Error> {
//!     sealmoot_rpc_codegen::compile(&["proto/greeter.proto"], &["proto"])
//! }
//! # */
//! # fn main() {}
//! ```
//!
//! ```ignore
//! // src/lib.rs
//! pub mod proto {
//!     sealmoot_rpc::include_proto!("greeter.v1");
//! }
//! ```
//!
//! **3. The service** implements the generated trait: here, [`Polite`].
//!
//! **4. Keys.** Each side has one and knows the other's by its id. There is no
//! certificate and no authority; whoever holds another key is refused.
//!
//! ```
//! use std::sync::Arc;
//! use std::time::Duration;
//!
//! use sealmoot_crypto::signature::SigningKey;
//! use sealmoot_examples::Polite;
//! use sealmoot_examples::proto::{GreeterClient, GreeterServer, Name};
//! use sealmoot_rpc::{AllowedKeys, Connector, Execution, Limits, Router, Server};
//! use tokio::net::TcpListener;
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let (server_key, client_key) = (SigningKey::generate()?, SigningKey::generate()?);
//!
//! let server = Server::start(
//!     TcpListener::bind("127.0.0.1:0").await?,
//!     &server_key,
//!     Arc::new(AllowedKeys::new([client_key.verifying_key().key_id()])),
//!     Router::new().service(GreeterServer::new(Polite::default()))?,
//!     Limits::default(),
//! )?;
//!
//! let connector = Connector::new(
//!     &client_key,
//!     Arc::new(AllowedKeys::new([server_key.verifying_key().key_id()])),
//!     Limits::default(),
//! )?;
//! let patience = Duration::from_secs(5);
//! let address = server.local_addr().to_string();
//! let greeter = GreeterClient::new(connector.connect(&address, patience).await?);
//!
//! // One message each way.
//! let ada = Name { name: "Ada".to_owned() };
//! assert_eq!(greeter.greet(ada.clone(), patience).await?.text, "Hello, Ada!");
//!
//! // What failed says whether it may have had an effect.
//! let refused = greeter.greet(Name::default(), patience).await.expect_err("no name");
//! assert_eq!(refused.execution(), Execution::NotStarted);
//!
//! // Streams both ways; whoever sends waits while the other side takes nothing.
//! let (mut names, mut greetings) = greeter.greet_all(patience)?;
//! names.send(&ada).await?;
//! let greeting = greetings.next().await?.expect("one for each name");
//! assert_eq!(greeting.text, "Hello, Ada!");
//! names.finish();
//! assert!(greetings.next().await?.is_none());
//!
//! server.drain(patience).await;
//! # Ok(())
//! # }
//! ```

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use proto::{CountRequest, Greeter, Greeting, Name, Number};
use sealmoot_rpc::{CallContext, Code, Execution, Replies, Requests, Status};

/// Messages and stubs of `greeter.v1`.
pub mod proto {
    sealmoot_rpc::include_proto!("greeter.v1");
}

/// The most that one message of a count carries beside its number.
const PADDING_BYTES_MAX: u32 = 64 * 1024;

/// Greets.
pub fn greeting(name: &Name) -> Greeting {
    Greeting {
        text: format!("Hello, {}!", name.name),
    }
}

/// A [`Greeter`] that says how far it has counted.
#[derive(Clone, Debug, Default)]
pub struct Polite {
    /// Numbers sent so far, over all counts.
    pub counted: Arc<AtomicU64>,
}

impl Greeter for Polite {
    async fn greet(&self, _: CallContext, request: Name) -> Result<Greeting, Status> {
        if request.name.is_empty() {
            // A handler knows what it has done: here, nothing.
            return Err(Status::new(
                Code::InvalidArgument,
                Execution::NotStarted,
                "whom shall I greet?",
            ));
        }
        Ok(greeting(&request))
    }

    async fn greet_all(
        &self,
        _: CallContext,
        mut requests: Requests<Name>,
        mut replies: Replies<Greeting>,
    ) -> Result<(), Status> {
        while let Some(name) = requests.next().await? {
            replies.send(&greeting(&name)).await?;
        }
        Ok(())
    }

    async fn count(
        &self,
        _: CallContext,
        request: CountRequest,
        mut replies: Replies<Number>,
    ) -> Result<(), Status> {
        // A length from outside meets its maximum before memory is reserved.
        let padding_bytes = usize::try_from(request.padding_bytes.min(PADDING_BYTES_MAX))
            .expect("64 KiB can be addressed");
        let padding = Bytes::from(vec![0; padding_bytes]);
        for value in 0..request.end {
            let number = Number {
                value,
                padding: padding.clone(),
            };
            // Waits here while the caller takes nothing.
            replies.send(&number).await?;
            self.counted.fetch_add(1, Ordering::Relaxed);
        }
        Ok(())
    }
}
