//! Generates the stubs of the login, directory, audit and session services.

fn main() -> Result<(), sealmoot_rpc_codegen::Error> {
    sealmoot_rpc_codegen::compile(
        &[
            "proto/login.proto",
            "proto/audit.proto",
            "proto/sessions.proto",
        ],
        &["proto"],
    )
}
