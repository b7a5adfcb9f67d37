//! Generates the stubs of the name service.

fn main() -> Result<(), sealmoot_rpc_codegen::Error> {
    sealmoot_rpc_codegen::compile(&["proto/names.proto"], &["proto"])
}
