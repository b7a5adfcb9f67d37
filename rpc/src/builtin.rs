//! Messages and stubs of the services that this crate brings along, as
//! `sealmoot-rpc-codegen` writes them from `rpc/proto/sealmoot/rpc/v1`. It cannot
//! do so when this crate is built, because its own tests need this crate: a test
//! there compares the files.
#![allow(missing_docs, unreachable_pub)]

include!("builtin/sealmoot.rpc.v1.rs");
