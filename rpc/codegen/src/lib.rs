//! Rust stubs for `sealmoot-rpc` from Protocol Buffers services.
//!
//! Called from a build script; needs no `protoc`. For each service `Store` of
//! a package it writes, beside the messages:
//!
//! | Item | Purpose |
//! |---|---|
//! | `trait Store` | what a server implements, one method per rpc |
//! | `StoreServer<S>` | makes an `S: Store` a `sealmoot_rpc::Service` |
//! | `StoreClient<C>` | calls over a `sealmoot_rpc::Caller`: by default a `Connection`, or `Retrying` |
//! | `mod store_methods` | the number of each method on the wire, and what the service is: `SERVICE` |
//!
//! and `<package>.descriptors.bin`, the schema itself, which a server shows to those
//! who ask (`sealmoot_rpc::reflection`).
//!
//! ```no_run
//! // build.rs
//! fn main() -> Result<(), sealmoot_rpc_codegen::Error> {
//!     sealmoot_rpc_codegen::compile(&["proto/store.proto"], &["proto"])
//! }
//! ```
//!
//! and in the crate, which depends on `prost` itself, in the version that
//! `sealmoot-rpc` has (0.14):
//!
//! ```ignore
//! /// Messages and stubs of `store.v1`.
//! pub mod proto {
//!     sealmoot_rpc::include_proto!("store.v1");
//! }
//! ```
//!
//! A method's number is the first eight bytes, little-endian, of the SHA-256 of
//! `package.Service/Method`, computed when the code is generated. Fields of
//! type `bytes` become `bytes::Bytes`, which share the received message's
//! memory instead of copying.
//!
//! Each method is one of four kinds, by the `stream`s of its signature:
//!
//! | | the server's method is given | and answers | the client's method is given | and answers |
//! |---|---|---|---|---|
//! | unary | `Req` | `Rep` | `Req` | `Rep` |
//! | client stream | `Requests<Req>` | `Rep` | | `RequestSink<Req>`, `PendingReply<Rep>` |
//! | server stream | `Req`, `Replies<Rep>` | `()` | `Req` | `ReplyStream<Rep>` |
//! | bidirectional | `Requests<Req>`, `Replies<Rep>` | `()` | | `RequestSink<Req>`, `ReplyStream<Rep>` |
//!
//! Each of the client's takes a timeout; beside it stands one with `_with` behind
//! its name, which takes all `CallOptions`.
//!
//! Two options of a method tell a client that sends failed calls again when that
//! cannot act twice:
//!
//! ```proto
//! import "sealmoot/rpc/options.proto";
//!
//! service Store {
//!   rpc Get(GetRequest) returns (GetReply) { option idempotency_level = NO_SIDE_EFFECTS; }
//!   rpc Add(AddRequest) returns (AddReply) { option (sealmoot.rpc.at_most_once) = true; }
//! }
//! ```
//!
//! `idempotency_level` is a promise of the schema's author. With `at_most_once` the
//! server remembers which calls have run. A method has one of them, and one with a
//! stream only the first. The imported file comes with this crate.
//!
//! A third one, `option (sealmoot.rpc.strict) = true`, has both sides take a
//! method's messages in their deterministic encoding alone. Each message that has
//! one is marked `sealmoot_rpc::Deterministic`: without a map in it or in what it
//! holds, and without a oneof whose numbers enclose those of other fields, which
//! prost would not write by ascending number. So a crate with messages needs
//! `sealmoot-rpc`, with or without services.
//!
//! A schema may change while programs of its former versions run. [`Builder`] is
//! given those versions, refuses changes with which they would misunderstand each
//! other, and writes their fingerprints into the code: so programs of all of them
//! find each other by name and know what they can talk about.
//!
//! It refuses services without a package, and names or numbers that collide.

mod builder;
mod descriptors;
mod error;
mod evolution;
mod fingerprint;
mod generator;
mod guard;
mod method;
mod options;
pub mod python;
mod strict;

use std::path::{Path, PathBuf};

use prost_types::FileDescriptorSet;
use protox::Compiler;
use protox::file::{ChainFileResolver, GoogleFileResolver, IncludeFileResolver};

pub use builder::{Builder, EARLIER_MAX};
pub use error::{Error, NotDeterministic};
pub use evolution::{FieldPlace, Incompatibility};
pub use method::method_number;

/// What options extend.
const DESCRIPTOR_FILE_NAME: &str = "google/protobuf/descriptor.proto";

/// Methods that the generated client could not have, and its own functions.
const RESERVED_METHODS: [(&str, &str); 6] = [
    ("New", "new"),
    ("new", "new"),
    ("Caller", "caller"),
    ("caller", "caller"),
    ("Draining", "draining"),
    ("draining", "draining"),
];

/// Generates into `OUT_DIR` and tells cargo which files to watch.
///
/// `protos` are found in `includes`, as are their imports.
///
/// # Errors
///
/// [`Error`]; its text names the file, and the place when there is one.
pub fn compile(protos: &[impl AsRef<Path>], includes: &[impl AsRef<Path>]) -> Result<(), Error> {
    Builder::new(protos, includes).compile()
}

/// Generates into a directory, and returns the files that were read.
///
/// # Errors
///
/// [`Error`].
pub fn compile_into(
    protos: &[impl AsRef<Path>],
    includes: &[impl AsRef<Path>],
    out_dir: &Path,
) -> Result<Vec<PathBuf>, Error> {
    Builder::new(protos, includes).compile_into(out_dir)
}

/// The schema with its imports. Files of ours are found wherever it looks.
fn compiled(protos: &[impl AsRef<Path>], includes: &[impl AsRef<Path>]) -> Result<Compiler, Error> {
    let mut resolver = ChainFileResolver::new();
    for include in includes {
        resolver.add(IncludeFileResolver::new(include.as_ref().to_owned()));
    }
    resolver.add(options::OptionsFile);
    resolver.add(GoogleFileResolver::new());
    let mut compiler = Compiler::with_file_resolver(resolver);
    compiler.include_source_info(true).include_imports(true);
    compiler.open_files(protos.iter().map(AsRef::as_ref))?;
    Ok(compiler)
}

/// A name without what its spelling in another case would change.
fn plain(name: &str) -> String {
    name.replace('_', "").to_lowercase()
}

/// Refuses what the generator cannot turn into sound stubs.
fn check(descriptors: &FileDescriptorSet) -> Result<(), Error> {
    for file in &descriptors.file {
        if file.package().is_empty() && !file.service.is_empty() {
            return Err(Error::NoPackage {
                file: file.name().to_owned(),
            });
        }
        for service in &file.service {
            let mut numbers = std::collections::BTreeMap::new();
            for method in &service.method {
                let path = format!("{}.{}/{}", file.package(), service.name(), method.name());
                let mut reserved = RESERVED_METHODS.into_iter();
                if let Some((_, name)) = reserved.find(|(rpc, _)| *rpc == method.name()) {
                    return Err(Error::ReservedName { method: path, name });
                }
                let taken = |other: &&prost_types::MethodDescriptorProto| {
                    plain(method.name()) == format!("{}with", plain(other.name()))
                };
                if let Some(other) = service.method.iter().find(taken) {
                    let other = format!("{}.{}/{}", file.package(), service.name(), other.name());
                    return Err(Error::NameTaken {
                        method: path,
                        other,
                    });
                }
                if let Some(other) = numbers.insert(method_number(&path), path.clone()) {
                    return Err(Error::Collision {
                        method: path,
                        other,
                    });
                }
            }
        }
    }
    Ok(())
}
