//! Generates the stubs of the greeter.

fn main() -> Result<(), sealmoot_rpc_codegen::Error> {
    sealmoot_rpc_codegen::compile(&["proto/greeter.proto"], &["proto"])
}
