//! Generates the stubs of the store's services.

fn main() -> Result<(), sealmoot_rpc_codegen::Error> {
    sealmoot_rpc_codegen::compile(&["proto/store.proto"], &["proto"])
}
