//! What is generated, word for word. `rpc/tests/generated.rs` compiles and
//! runs the same golden files.
//!
//! After an intended change: `UPDATE_GOLDEN=1 cargo test -p sealmoot-rpc-codegen`.
#![allow(missing_docs)]

use std::fs;
use std::path::{Path, PathBuf};

use sealmoot_rpc_codegen::{compile_into, method_number};

fn tests_dir() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests")
}

#[test]
fn the_stubs_are_the_golden_ones() {
    let out = tempfile::tempdir().expect("a directory");
    let protos = tests_dir().join("proto");
    let read =
        compile_into(&[protos.join("echo.proto")], &[&protos], out.path()).expect("a sound schema");
    assert_eq!(
        read,
        [protos.join("shared.proto"), protos.join("echo.proto")],
        "imports are watched too"
    );
    // What the Python tests talk to.
    let trial = tests_dir().join("../../python/tests/proto");
    compile_into(&[trial.join("trial.proto")], &[&trial], out.path()).expect("a sound schema");
    compile_into(&[protos.join("strict.proto")], &[&protos], out.path()).expect("a sound schema");
    assert_golden(out.path(), &tests_dir().join("golden"), &GOLDEN);
}

const GOLDEN: [&str; 8] = [
    "echo.v1.rs",
    "echo.v1.descriptors.bin",
    "shared.v1.rs",
    "trial.v1.rs",
    "trial.v1.descriptors.bin",
    "parts.v1.rs",
    "strict.v1.rs",
    "strict.v1.descriptors.bin",
];

/// What was generated is what is kept, and nothing else.
fn assert_golden(generated: &Path, golden: &Path, names: &[&str]) {
    for name in names {
        let generated = fs::read(generated.join(name)).expect("generated");
        let golden = golden.join(name);
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            fs::write(&golden, &generated).expect("writable");
        }
        let expected = fs::read(&golden).expect("a golden file");
        assert!(generated == expected, "{name} differs from {golden:?}");
    }
    let written = fs::read_dir(generated).expect("readable").count();
    assert_eq!(written, names.len());
}

// The library cannot generate them for itself: the generator's tests need it.
#[test]
fn what_the_library_serves_itself_is_up_to_date() {
    let out = tempfile::tempdir().expect("a directory");
    let protos = tests_dir().join("../../proto");
    let own = ["reflection.proto", "health.proto"];
    let own = own.map(|name| protos.join("sealmoot/rpc/v1").join(name));
    compile_into(&own, &[&protos], out.path()).expect("a sound schema");
    let names = ["sealmoot.rpc.v1.rs", "sealmoot.rpc.v1.descriptors.bin"];
    assert_golden(out.path(), &tests_dir().join("../../src/builtin"), &names);
}

#[test]
fn the_guard_of_each_method_stands_at_its_calls() {
    let golden = tests_dir().join("golden").join("echo.v1.rs");
    let text = fs::read_to_string(golden).expect("a golden file");
    let method = |level| format!("Guard::Method(::sealmoot_rpc::Idempotency::{level})");
    for (constant, guard) in [
        ("SAY", method("Unknown")),
        ("ALL_", method("NoSideEffects")),
        ("FORGET", method("Idempotent")),
        ("NOTE", "Guard::Once".to_owned()),
    ] {
        let call = format!("echo_methods::{constant},\n            ::sealmoot_rpc::{guard},");
        assert_eq!(text.matches(&call).count(), 2, "{call:?}");
    }
}

#[test]
fn the_golden_stubs_say_what_matters() {
    let golden = tests_dir().join("golden").join("echo.v1.rs");
    let text = fs::read_to_string(golden).expect("a golden file");
    let number = format!("{:#018x}", method_number("echo.v1.Echo/Say"));
    for expected in [
        "/// Says again what it was told.",
        "pub trait Echo: ::core::marker::Send + ::core::marker::Sync + 'static {",
        "/// Returns the request's words.",
        "pub struct EchoServer<S>",
        "pub struct EchoClient<C = ::sealmoot_rpc::Connection>",
        "pub mod echo_methods",
        "fn r#match(",
        "pub const MATCH: u64",
        "pub const ALL_: u64",
        "pub const ALL: [u64; 8] = [SAY, MATCH, ALL_, NOTE, FORGET, COLLECT, LIST, CHAT];",
        "requests: ::sealmoot_rpc::Requests<SayRequest>,",
        "replies: ::sealmoot_rpc::Replies<SayReply>,",
        "pub async fn say_with(",
        "pub async fn match_with(",
        "pub async fn chat_with(",
        "echo_methods::CHAT => ::sealmoot_rpc::MethodKind::Bidirectional,",
        "pub words: ::prost::bytes::Bytes",
        &format!("pub const SAY: u64 = {number};"),
    ] {
        assert!(text.contains(expected), "{expected:?} is missing");
    }
}

#[test]
fn messages_with_one_encoding_are_marked_and_others_are_not() {
    let golden = tests_dir().join("golden").join("strict.v1.rs");
    let text = fs::read_to_string(golden).expect("a golden file");
    let marked = |name: &str| text.contains(&format!("Deterministic for {name} {{}}"));
    for name in [
        "Form",
        "form::Type",
        "form::r#type::HttpPart",
        "Match",
        "r#match::Self_",
    ] {
        assert!(marked(name), "{name} is not marked");
    }
    for name in ["Mapped", "HoldsMapped", "Enclosing"] {
        assert!(!marked(name), "{name} is marked");
    }
    assert_eq!(text.matches("Deterministic for").count(), 5);
}

#[test]
fn a_strict_method_reads_strictly_on_both_sides() {
    let golden = tests_dir().join("golden").join("strict.v1.rs");
    let text = fs::read_to_string(golden).expect("a golden file");
    for (expected, count) in [
        // Check, Clear and List.
        ("decode_request_strict::<", 3),
        ("decode_request::<", 1),
        // Check and Clear, with a timeout and with options.
        ("decode_reply_strict(", 4),
        ("decode_reply(", 2),
        ("Requests::<Form>::strict(", 1),
        ("PendingReply::strict(", 2),
        ("ReplyStream::strict(", 2),
    ] {
        assert_eq!(text.matches(expected).count(), count, "{expected}");
    }
}
