//! Generates the stubs of both frameworks that have a schema, from the same one.

use std::error::Error;
use std::path::PathBuf;

const SCHEMA: &str = "proto/calls.proto";
/// Spoken by a peer only.
const ETCD: &str = "proto/etcd.proto";
const INCLUDES: &str = "proto";

fn main() -> Result<(), Box<dyn Error>> {
    sealmoot_rpc_codegen::compile(&[SCHEMA], &[INCLUDES])?;
    // The files are named after the package, so the peer's go elsewhere.
    let directory = PathBuf::from(std::env::var("OUT_DIR")?).join("tonic");
    std::fs::create_dir_all(&directory)?;
    tonic_prost_build::configure()
        .bytes(".")
        .type_attribute(".", "#[allow(missing_docs, clippy::all)]")
        .out_dir(directory)
        .compile_fds(protox::compile([SCHEMA, ETCD], [INCLUDES])?)?;
    Ok(())
}
