//! Schemas from which nothing is generated.
#![allow(missing_docs)]

use std::fs;

use sealmoot_rpc_codegen::{Error, NotDeterministic, compile, compile_into};

fn refusal(schema: &str) -> Error {
    let dir = tempfile::tempdir().expect("a directory");
    let proto = dir.path().join("schema.proto");
    fs::write(&proto, schema).expect("writable");
    let out = dir.path().join("out");
    fs::create_dir(&out).expect("writable");
    let error = compile_into(&[&proto], &[dir.path()], &out).expect_err("refused");
    let left = fs::read_dir(&out).expect("readable").count();
    assert_eq!(left, 0, "nothing is half generated");
    error
}

fn service(rpc: &str) -> String {
    format!("syntax = \"proto3\"; package a.v1; message M {{}} service S {{ {rpc} }}")
}

#[test]
fn a_service_without_a_package_is_refused() {
    let error = refusal("syntax = \"proto3\"; message M {} service S { rpc A(M) returns (M); }");
    assert!(matches!(error, Error::NoPackage { .. }), "{error}");
}

#[test]
fn a_method_named_like_the_clients_own_is_refused() {
    for name in ["New", "Caller"] {
        let error = refusal(&service(&format!("rpc {name}(M) returns (M);")));
        assert!(matches!(error, Error::ReservedName { .. }), "{error}");
    }
}

#[test]
fn a_method_named_like_the_options_of_another_is_refused() {
    for (name, other) in [("GetWith", "Get"), ("get_with", "Get"), ("Get_With", "get")] {
        let rpcs = format!("rpc {name}(M) returns (M); rpc {other}(stream M) returns (M);");
        let error = refusal(&service(&rpcs));
        assert!(matches!(error, Error::NameTaken { .. }), "{error}");
    }
}

fn with_options(rpc: &str) -> String {
    format!(
        "syntax = \"proto3\"; package a.v1; import \"sealmoot/rpc/options.proto\"; \
         message M {{}} service S {{ {rpc} }}"
    )
}

#[test]
fn a_method_that_is_at_most_once_and_idempotent_is_refused() {
    for level in ["NO_SIDE_EFFECTS", "IDEMPOTENT"] {
        let error = refusal(&with_options(&format!(
            "rpc A(M) returns (M) {{ option (sealmoot.rpc.at_most_once) = true; \
             option idempotency_level = {level}; }}"
        )));
        assert!(matches!(error, Error::TwoGuards { .. }), "{error}");
    }
}

#[test]
fn a_method_with_a_stream_that_is_at_most_once_is_refused() {
    for signature in ["(stream M) returns (M)", "(M) returns (stream M)"] {
        let error = refusal(&with_options(&format!(
            "rpc A{signature} {{ option (sealmoot.rpc.at_most_once) = true; }}"
        )));
        assert!(matches!(error, Error::StreamOnce { .. }), "{error}");
    }
}

fn strictly(messages: &str, request: &str, reply: &str) -> Error {
    refusal(&format!(
        "syntax = \"proto3\"; package a.v1; import \"sealmoot/rpc/options.proto\"; \
         import \"google/protobuf/struct.proto\"; message M {{}} {messages} \
         service S {{ rpc A({request}) returns (stream {reply}) \
         {{ option (sealmoot.rpc.strict) = true; }} }}"
    ))
}

#[test]
fn a_strict_method_that_reaches_a_map_is_refused() {
    let messages = "message Mapped { map<string, M> all = 1; } \
                    message Outer { Inner inner = 1; } \
                    message Inner { repeated Mapped mapped = 1; Outer again = 2; }";
    for (request, reply) in [("Mapped", "M"), ("M", "Mapped"), ("Outer", "M")] {
        let error = strictly(messages, request, reply);
        let Error::Strict { message, why, .. } = error else {
            panic!("{error}");
        };
        assert_eq!(message, "a.v1.Mapped");
        assert_eq!(why, NotDeterministic::Map("all".to_owned()));
    }
    let error = strictly("message O { google.protobuf.Struct s = 1; }", "O", "M");
    assert!(
        error.to_string().contains("google.protobuf.Struct"),
        "{error}"
    );
}

#[test]
fn a_strict_method_with_a_oneof_around_other_fields_is_refused() {
    let around = "message O { oneof choice { M a = 1; M c = 3; } M b = 2; }";
    let error = strictly(around, "O", "M");
    let is_named = matches!(
        &error,
        Error::Strict { why: NotDeterministic::EnclosingOneof { oneof, field }, .. }
            if oneof == "choice" && field == "b"
    );
    assert!(is_named, "{error}");
}

#[test]
fn a_strict_method_of_a_well_known_type_is_refused() {
    for (request, reply) in [
        ("google.protobuf.ListValue", "M"),
        ("M", "google.protobuf.ListValue"),
    ] {
        let error = strictly("", request, reply);
        let is_named = matches!(
            &error,
            Error::Strict {
                why: NotDeterministic::WellKnown,
                ..
            }
        );
        assert!(is_named, "{error}");
    }
}

#[test]
fn at_most_once_is_no_option_without_its_file() {
    let error = refusal(&service(
        "rpc A(M) returns (M) { option (sealmoot.rpc.at_most_once) = true; }",
    ));
    assert!(matches!(error, Error::Schema(_)), "{error}");
}

#[test]
fn a_schema_that_does_not_parse_is_refused() {
    let error = refusal("syntax = \"proto3\"; package a.v1; message {");
    assert!(matches!(error, Error::Schema(_)), "{error}");
}

#[test]
fn an_unknown_type_is_refused() {
    let error = refusal(&service("rpc A(Missing) returns (M);"));
    assert!(error.to_string().contains("Missing"), "{error}");
}

#[test]
fn a_build_script_that_returns_a_refusal_shows_its_text() {
    let error = refusal("syntax = \"proto3\"; message M {} service S { rpc A(M) returns (M); }");
    // `fn main() -> Result<(), Error>` prints it so.
    let shown = format!("{error:?}");
    assert!(shown.ends_with("add `package name.v1;`"), "{shown}");
}

#[test]
fn a_missing_import_is_refused() {
    let error = refusal("syntax = \"proto3\"; package a.v1; import \"missing.proto\";");
    assert!(error.to_string().contains("missing.proto"), "{error}");
}

#[test]
fn a_missing_file_is_refused() {
    let dir = tempfile::tempdir().expect("a directory");
    let error = compile_into(&[dir.path().join("none.proto")], &[dir.path()], dir.path())
        .expect_err("refused");
    assert!(error.to_string().contains("none.proto"), "{error}");
}

#[test]
fn outside_a_build_script_nothing_is_generated() {
    // Cargo sets OUT_DIR for build scripts, and not for this crate's tests.
    let error = compile(&["none.proto"], &["."]).expect_err("refused");
    assert!(matches!(error, Error::OutsideBuildScript), "{error}");
}
