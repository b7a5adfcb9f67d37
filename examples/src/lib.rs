//! What the examples share: the greeter's stubs, and the greeter itself.
//!
//! | Binary | Shows |
//! |---|---|
//! | `greeter` | a server on its own, with the key and the clients that it is given |
//! | `echo_over_each_channel` | one call in six ways, from a procedure to Noise, and what each costs |
//! | `stream_with_backpressure` | a slow reader holding its sender |
//! | `failover_by_name` | a name service, and calls that go on while servers are killed, drained and moved |
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
//!   rpc Greet(Name) returns (Greeting) {
//!     option idempotency_level = NO_SIDE_EFFECTS;
//!   }
//!   rpc GreetAll(stream Name) returns (stream Greeting);
//! }
//! message Name { string name = 1; }
//! message Greeting { string text = 1; }
//! ```
//!
//! (The file in this directory has one method more.)
//!
//! **2. The stubs**, by `build.rs`; no `protoc` is needed. The crate's `Cargo.toml`,
//! with `sealmoot` for the directory of this repository; the generated code names
//! `prost`, in the version that `sealmoot-rpc` has:
//!
//! ```toml
//! [dependencies]
//! prost = "0.14"
//! sealmoot-crypto = { path = "sealmoot/crypto" }
//! sealmoot-rpc = { path = "sealmoot/rpc" }
//! tokio = { version = "1", features = ["macros", "net", "rt-multi-thread", "time"] }
//! # For keys in files:
//! zeroize = "1"
//!
//! [build-dependencies]
//! sealmoot-rpc-codegen = { path = "sealmoot/rpc/codegen" }
//! ```
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
//! let (mut names, mut greetings) = greeter.greet_all(patience).await?;
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
//!
//! **5. Keys in files.** `cargo run -p sealmoot-rpc --example python_identity --
//! KEY.pem CERT.pem` makes a key that its owner alone can read, and prints its id: 64
//! hexadecimal digits, which are all that the other side has to know. Programs in
//! Rust need no `CERT.pem`. They read a key and an id so:
//!
//! ```
//! use sealmoot_crypto::hazmat::pem;
//! use sealmoot_crypto::signature::{KeyId, SigningKey};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let directory = tempfile::tempdir()?;
//! # let path = directory.path().join("key.pem");
//! # let made = SigningKey::generate()?;
//! # std::fs::write(&path, pem::signing_key_to_pem(&made).expose())?;
//! # let text = made.verifying_key().key_id().to_string();
//! // Wiped when it is dropped.
//! let file = zeroize::Zeroizing::new(std::fs::read(&path)?);
//! let key: SigningKey = pem::signing_key_from_pem(&file)?;
//! let id: KeyId = text.parse()?;
//! # assert_eq!(key.verifying_key().key_id(), id);
//! # Ok(())
//! # }
//! ```
//!
//! # On from here
//!
//! The stubs call over anything that makes calls:
//!
//! | `GreeterClient::new(...)` of | is for |
//! |---|---|
//! | a `Connection` | each call once, over this one connection |
//! | a `Retrying` | connections made again, calls sent again where that cannot act twice |
//! | what a `Binder` binds | several servers behind a name, found by a signed record: `failover_by_name` |
//! | an `Intercepted` | metrics, traces, what every call should carry |
//!
//! Of one server that comes and goes, with each call logged:
//!
//! ```
//! # use std::sync::Arc;
//! # use std::time::Duration;
//! #
//! # use sealmoot_crypto::signature::SigningKey;
//! # use sealmoot_examples::Polite;
//! # use sealmoot_examples::proto::{GreeterClient, GreeterServer, Name, greeter_methods};
//! # use sealmoot_rpc::{AllowedKeys, Connector, Limits, Router, Server};
//! # use tokio::net::TcpListener;
//! use sealmoot_rpc::interceptor::{ClientInterceptor, EndedCall, MethodNames};
//! use sealmoot_rpc::{Intercepted, Link, RetryPolicy, Retrying};
//!
//! struct Log(MethodNames);
//!
//! impl ClientInterceptor for Log {
//!     fn after(&self, call: &EndedCall<'_>) {
//!         let (name, elapsed) = (self.0.name(call.method), call.elapsed);
//!         match call.outcome {
//!             Ok(()) => println!("{name} {elapsed:?}"),
//!             Err(status) => println!("{name} {elapsed:?} {status}"),
//!         }
//!     }
//! }
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let (server_key, client_key) = (SigningKey::generate()?, SigningKey::generate()?);
//! # let server = Server::start(
//! #     TcpListener::bind("127.0.0.1:0").await?,
//! #     &server_key,
//! #     Arc::new(AllowedKeys::new([client_key.verifying_key().key_id()])),
//! #     Router::new().service(GreeterServer::new(Polite::default()))?,
//! #     Limits::default(),
//! # )?;
//! # let connector = Connector::new(
//! #     &client_key,
//! #     Arc::new(AllowedKeys::new([server_key.verifying_key().key_id()])),
//! #     Limits::default(),
//! # )?;
//! # let address = server.local_addr().to_string();
//! # let patience = Duration::from_secs(5);
//! // `connector`, `address` and `patience` as above.
//! let connector = Arc::new(connector);
//! let link = Link::start(move || {
//!     let (connector, address) = (Arc::clone(&connector), address.clone());
//!     async move { Ok(connector.connect(&address, Duration::from_secs(2)).await?) }
//! });
//! let retrying = Retrying::new(link, RetryPolicy::default());
//! let log = Log(MethodNames::of([&greeter_methods::SERVICE]));
//! let greeter = GreeterClient::new(Intercepted::new(retrying, log));
//!
//! let ada = Name { name: "Ada".to_owned() };
//! assert_eq!(greeter.greet(ada, patience).await?.text, "Hello, Ada!");
//! # Ok(())
//! # }
//! ```
//!
//! - **Methods that change something** get `option (sealmoot.rpc.at_most_once) = true`,
//!   with `import "sealmoot/rpc/options.proto"`. `Retrying` then sends their calls
//!   again too, and the server runs each once. Nothing has to be set up for it; over
//!   a plain `Connection` such a method is called like any other.
//! - **`Retrying` waits for a connection** until the call's timeout is over. A server
//!   that is dead, whose key is another or that does not admit us is therefore
//!   `deadline exceeded: no connection in time: ... (not sent)`, with the cause in the
//!   middle. `Connector::connect` and `Binder::bind` tell it as a typed error.
//! - **Timeouts** cover a call to its end, that of a stream to its last message.
//! - **Servers that are found by name** add health and `Router::with_reflection`, as
//!   in `failover_by_name`: binding asks them whether schemas match. Without it both
//!   sides of a plain connection find out by what they cannot decode, if at all.
//! - **To change the schema**, copy the published file first, as
//!   `proto/earlier/1/greeter.proto`, and name it in `build.rs`. The build then refuses
//!   what programs of both would misunderstand, and both bind to each other:
//!
//! ```no_run
//! // build.rs
//! # /*
//! fn main() -> Result<(), sealmoot_rpc_codegen::Error> {
//!     sealmoot_rpc_codegen::Builder::new(&["proto/greeter.proto"], &["proto"])
//!         .earlier("proto/earlier/1/greeter.proto")
//!         .compile()
//! }
//! # */
//! # fn main() {}
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
