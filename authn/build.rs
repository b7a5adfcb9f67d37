//! Generates the stubs of the login and directory services.

fn main() -> Result<(), sealmoot_rpc_codegen::Error> {
    sealmoot_rpc_codegen::compile(&["proto/login.proto"], &["proto"])
}
