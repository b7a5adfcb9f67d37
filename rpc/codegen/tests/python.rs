//! The Python modules, word for word, and the schemas from which none are made.
//! `rpc/python/test` runs modules of the same generator.
//!
//! After an intended change: `UPDATE_GOLDEN=1 cargo test -p sealmoot-rpc-codegen`.
#![allow(missing_docs)]

use std::fs;
use std::path::Path;

use sealmoot_rpc_codegen::{Error, method_number, python};

const SCHEMA: &str = r#"
syntax = "proto3";
package store.v1;
import "google/protobuf/empty.proto";
import "sealmoot/rpc/options.proto";
import "deep/key-parts.proto";

// Keeps "values".
//
// Not for """secrets""" nor for C:\new.
service Store {
  // Puts one.
  rpc Put(Entry) returns (google.protobuf.Empty); // Behind it.
  rpc Get(deep.v1.Key) returns (Entry) { option idempotency_level = NO_SIDE_EFFECTS; }
  rpc Forget(deep.v1.Key) returns (google.protobuf.Empty) {
    option idempotency_level = IDEMPOTENT;
  }
  rpc Append(Entry) returns (google.protobuf.Empty) {
    option (sealmoot.rpc.at_most_once) = true;
  }
  rpc PutAll(stream Entry) returns (google.protobuf.Empty);
  rpc Import(google.protobuf.Empty) returns (stream Entry.Part);
  rpc Exchange(stream Entry) returns (stream deep.v1.Key);
}

message Entry {
  message Part {
    bytes value = 1;
  }
  deep.v1.Key key = 1;
  repeated Part parts = 2;
}
"#;

const IMPORTED: &str = r#"
syntax = "proto3";
package deep.v1;
message Key { bytes name = 1; }
"#;

/// What comes of a schema that is found as `name`.
fn generate(name: &str, schema: &str) -> Result<Vec<(String, String)>, Error> {
    let directory = tempfile::tempdir().expect("a directory");
    let write = |name: &str, text: &str| {
        let path = directory.path().join("proto").join(name);
        fs::create_dir_all(path.parent().expect("a file")).expect("writable");
        fs::write(&path, text).expect("writable");
        path
    };
    write("deep/key-parts.proto", IMPORTED);
    let proto = write(name, schema);
    let out = directory.path().join("out");
    let written = python::generate(&[proto], &[directory.path().join("proto")], &out);
    if written.is_err() {
        assert!(!out.exists(), "nothing is half generated");
    }
    let module = |path: &Path| {
        let name = path.strip_prefix(&out).expect("below the directory");
        let text = fs::read_to_string(path).expect("readable");
        (name.display().to_string(), text)
    };
    Ok(written?.iter().map(|path| module(path)).collect())
}

fn refusal(schema: &str) -> Error {
    generate("schema.proto", schema).expect_err("refused")
}

fn service(methods: &str) -> String {
    format!("syntax = \"proto3\"; package a.v1; message M {{}} service S {{ {methods} }}")
}

#[test]
fn the_modules_are_the_golden_ones() {
    let modules = generate("store.proto", SCHEMA).expect("a sound schema");
    let names: Vec<&str> = modules.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(
        names,
        [
            "sealmoot/rpc/options_pb2.py",
            "deep/key_parts_pb2.py",
            "store_pb2.py",
            "store_rpc.py"
        ],
        "what comes with the runtime is not generated"
    );
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/python");
    for (name, generated) in &modules {
        let path = golden.join(name);
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            fs::create_dir_all(path.parent().expect("a file")).expect("writable");
            fs::write(&path, generated).expect("writable");
        }
        let expected = fs::read_to_string(&path).expect("a golden file");
        assert!(*generated == expected, "{name} differs from {path:?}");
    }
}

#[test]
fn the_stubs_say_what_matters() {
    let modules = generate("store.proto", SCHEMA).expect("a sound schema");
    let (_, stubs) = modules.last().expect("the stubs");
    let number = format!("{:#018x}", method_number("store.v1.Store/Put"));
    for expected in [
        "class StoreClient:",
        "class StoreBlockingClient:",
        "    async def put(\n",
        "    async def put_all(\n",
        "    def import_(\n",
        "    def exchange(\n",
        "-> _rpc.ReplyStream[store_pb2.Entry.Part]:",
        "-> _blocking.DuplexStream[store_pb2.Entry, deep.key_parts_pb2.Key]:",
        "import deep.key_parts_pb2\n",
        "import google.protobuf.empty_pb2\n",
        "Keeps \\\"values\\\".",
        "Not for \\\"\\\"\\\"secrets\\\"\\\"\\\" nor for C:\\\\new.",
        &number,
    ] {
        assert!(stubs.contains(expected), "{expected:?} is missing");
    }
}

#[test]
fn each_unary_call_names_its_guard_and_no_stream_has_one() {
    let modules = generate("store.proto", SCHEMA).expect("a sound schema");
    let (_, stubs) = modules.last().expect("the stubs");
    for (method, guard) in [
        ("Put", "UNKNOWN"),
        ("Get", "NO_SIDE_EFFECTS"),
        ("Forget", "IDEMPOTENT"),
        ("Append", "ONCE"),
    ] {
        let number = method_number(&format!("store.v1.Store/{method}"));
        let calls: Vec<&str> = stubs
            .lines()
            .filter(|line| line.contains(&format!("{number:#018x}")))
            .collect();
        assert_eq!(calls.len(), 2, "{method}");
        for call in calls {
            assert!(
                call.contains(&format!(" guard=_rpc.Guard.{guard},")),
                "{call}"
            );
        }
    }
    assert_eq!(stubs.matches("guard=").count(), 2 * 4);
}

/// The fingerprints that the stubs of a schema have.
fn fingerprints(schema: &str) -> Vec<String> {
    let modules = generate("schema.proto", schema).expect("a sound schema");
    let (_, stubs) = modules.last().expect("the stubs");
    let mut lines = stubs.lines();
    let mut found = Vec::new();
    while lines.any(|line| line == "    FINGERPRINT = bytes.fromhex(") {
        found.push(lines.next().expect("a value").trim().to_owned());
    }
    found
}

#[test]
fn the_fingerprint_is_that_of_the_schema() {
    let plain = fingerprints(&service("rpc A(M) returns (M);"));
    assert_eq!(plain.len(), 2, "both clients have it");
    assert_eq!(plain[0], plain[1]);
    assert_eq!(plain[0].len(), 2 + 64, "{}", plain[0]);
    let commented = fingerprints(&service("// Why.\n rpc A(M) returns (M);"));
    assert_eq!(commented, plain);
    for other in [
        "rpc B(M) returns (M);",
        "rpc A(stream M) returns (M);",
        "rpc A(M) returns (M) { option idempotency_level = IDEMPOTENT; }",
    ] {
        assert_ne!(fingerprints(&service(other)), plain, "{other}");
    }
}

#[test]
fn a_comment_cannot_leave_its_docstring() {
    let schema = service("// \"\"\" + evil() + \"\"\" \\\n rpc A(M) returns (M);");
    let modules = generate("schema.proto", &schema).expect("sound");
    let (_, stubs) = modules.last().expect("the stubs");
    assert!(stubs.contains(r#"\"\"\" + evil() + \"\"\" \\"#), "{stubs}");
    assert!(!stubs.contains("\"\"\" + evil"), "{stubs}");
}

#[test]
fn a_service_without_a_package_is_refused() {
    let error = refusal("syntax = \"proto3\"; message M {} service S { rpc A(M) returns (M); }");
    assert!(matches!(error, Error::NoPackage { .. }), "{error}");
}

#[test]
fn methods_that_are_one_in_python_are_refused() {
    let error = refusal(&service(
        "rpc GetIt(M) returns (M); rpc get_it(M) returns (M);",
    ));
    assert!(matches!(error, Error::PythonName { .. }), "{error}");
    assert!(error.to_string().contains("a.v1.S/GetIt"), "{error}");
}

#[test]
fn a_method_named_like_the_clients_own_is_refused() {
    let error = refusal(&service("rpc Connection(M) returns (M);"));
    assert!(matches!(error, Error::ReservedName { .. }), "{error}");
}

#[test]
fn a_file_that_python_cannot_import_is_refused() {
    let schema = service("rpc A(M) returns (M);");
    for name in [
        "1a.proto",
        "import/a.proto",
        "a b.proto",
        "a.b.proto/c d.proto",
    ] {
        let error = generate(name, &schema).expect_err("refused");
        assert!(
            matches!(error, Error::PythonModule { .. }),
            "{name}: {error}"
        );
    }
    assert!(
        generate("a-b/class.proto", &schema).is_ok(),
        "a suffix follows"
    );
}

#[test]
fn a_message_named_like_a_keyword_is_refused() {
    let error = refusal(
        "syntax = \"proto3\"; package a.v1; message None {} \
         service S { rpc A(None) returns (None); }",
    );
    assert!(matches!(error, Error::PythonModule { .. }), "{error}");
}

#[test]
fn a_schema_that_does_not_parse_is_refused() {
    let error = refusal("syntax = \"proto3\"; package a.v1; message {");
    assert!(matches!(error, Error::Schema(_)), "{error}");
}

#[test]
fn what_cannot_be_written_is_told() {
    let directory = tempfile::tempdir().expect("a directory");
    let proto = directory.path().join("a.proto");
    fs::write(&proto, service("rpc A(M) returns (M);")).expect("writable");
    let out = directory.path().join("a.proto/out");
    let error = python::generate(&[proto], &[directory.path()], &out).expect_err("refused");
    assert!(matches!(error, Error::Write { .. }), "{error}");
}
