//! The schema that stands beside the generated code, for reflection.
#![allow(missing_docs)]

use std::fs;
use std::path::Path;

use protox::prost_reflect::{DescriptorPool, Value};
use sealmoot_rpc_codegen::compile_into;

fn golden() -> Vec<u8> {
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    fs::read(golden.join("echo.v1.descriptors.bin")).expect("a golden file")
}

#[test]
fn it_stands_for_itself_with_all_imports_and_options() {
    let pool = DescriptorPool::decode(golden().as_slice()).expect("each file behind its imports");
    let names: Vec<String> = pool.files().map(|file| file.name().to_owned()).collect();
    assert_eq!(
        names,
        [
            "google/protobuf/empty.proto",
            "google/protobuf/descriptor.proto",
            "sealmoot/rpc/options.proto",
            "shared.proto",
            "echo.proto",
        ]
    );
    let service = pool.get_service_by_name("echo.v1.Echo").expect("there");
    let note = service.methods().find(|method| method.name() == "Note");
    let option = pool
        .get_extension_by_name("sealmoot.rpc.at_most_once")
        .expect("imported");
    let options = note.expect("there").options();
    assert_eq!(*options.get_extension(&option), Value::Bool(true));
}

#[test]
fn comments_stay_with_the_schema() {
    let pool = DescriptorPool::decode(golden().as_slice()).expect("a sound set");
    for file in pool.files() {
        assert_eq!(file.file_descriptor_proto().source_code_info, None);
    }
    let comment = b"Says again";
    assert!(!golden().windows(comment.len()).any(|part| part == comment));
}

#[test]
fn a_package_comes_without_files_that_it_does_not_need() {
    let dir = tempfile::tempdir().expect("a directory");
    let write = |name: &str, text: &str| {
        fs::write(
            dir.path().join(name),
            format!("syntax = \"proto3\"; {text}"),
        )
        .expect("writable");
    };
    let service = "service S { rpc Do(Q) returns (Q); rpc Service(Q) returns (Q); } message Q {}";
    write("a.proto", &format!("package a; {service}"));
    write("b.proto", &format!("package b; {service}"));
    write("c.proto", "package c; message Q {}");
    let out = dir.path().join("out");
    fs::create_dir(&out).expect("writable");
    let protos = ["a.proto", "b.proto", "c.proto"].map(|name| dir.path().join(name));
    compile_into(&protos, &[dir.path()], &out).expect("sound schemas");
    for name in ["a", "b"] {
        let set = fs::read(out.join(format!("{name}.descriptors.bin"))).expect("written");
        let pool = DescriptorPool::decode(set.as_slice()).expect("a sound set");
        let files: Vec<String> = pool.files().map(|file| file.name().to_owned()).collect();
        assert_eq!(files, [format!("{name}.proto")]);
    }
    // Nobody asks about a package without services.
    assert!(!out.join("c.descriptors.bin").exists());
    // A method of that name does not take the descriptor's.
    let code = fs::read_to_string(out.join("a.rs")).expect("written");
    assert!(code.contains("pub const SERVICE_: u64"));
    assert!(code.contains("pub static SERVICE: ::sealmoot_rpc::ServiceDescriptor"));
}
