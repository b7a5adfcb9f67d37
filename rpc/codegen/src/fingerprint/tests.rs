use protox::Compiler;
use protox::file::{ChainFileResolver, File, FileResolver};

use super::*;
use crate::options::OptionsFile;

/// One file that is nowhere but here.
struct Schema(String);

impl FileResolver for Schema {
    fn open_file(&self, name: &str) -> Result<File, protox::Error> {
        if name == "schema.proto" {
            File::from_source(name, &self.0)
        } else {
            Err(protox::Error::file_not_found(name))
        }
    }
}

fn service(schema: &str) -> (ServiceDescriptor, Guards) {
    let mut resolver = ChainFileResolver::new();
    resolver.add(Schema(schema.to_owned()));
    resolver.add(OptionsFile);
    resolver.add(protox::file::GoogleFileResolver::new());
    let mut compiler = Compiler::with_file_resolver(resolver);
    if let Err(error) = compiler.open_file("schema.proto") {
        panic!("{error}: {schema}");
    }
    let pool = compiler.descriptor_pool();
    let guards = Guards::of_all(&pool).expect("sound options");
    let service = pool.services().next().expect("a service");
    (service, guards)
}

fn print(schema: &str) -> [u8; 32] {
    let (service, guards) = service(schema);
    fingerprint(&service, &guards)
}

fn assert_same(left: &str, right: &str) {
    assert_eq!(print(left), print(right), "{left}\n{right}");
}

fn assert_other(left: &str, right: &str) {
    assert_ne!(print(left), print(right), "{left}\n{right}");
}

/// A schema whose one request has these fields.
fn fields(fields: &str) -> String {
    format!(
        "syntax = \"proto3\"; package a.v1; \
         service S {{ rpc Do(Q) returns (R); }} \
         message Q {{ {fields} }} message R {{}} message T {{}} message U {{ int32 a = 1; }} \
         enum E {{ E_NONE = 0; E_ONE = 1; }} enum F {{ F_NONE = 0; F_TWO = 2; }}"
    )
}

/// A schema whose service has these methods.
fn methods(methods: &str) -> String {
    format!(
        "syntax = \"proto3\"; package a.v1; import \"sealmoot/rpc/options.proto\"; \
         service S {{ {methods} }} message Q {{}} message R {{ int32 a = 1; }}"
    )
}

// The drawing in rpc/DESIGN.md, byte by byte.
#[test]
fn the_hashed_bytes_are_those_that_are_drawn() {
    let (service, guards) = service(
        "syntax = \"proto3\"; package a; import \"sealmoot/rpc/options.proto\";
         service S {
           rpc Two(stream Q) returns (stream Q);
           rpc One(Q) returns (R) { option (sealmoot.rpc.at_most_once) = true; }
         }
         message Q {
           repeated sint32 many = 3;
           oneof choice { Q again = 9; E which = 7; }
         }
         message R { optional string text = 1; bytes rest = 2; }
         enum E { E_ZERO = 0; E_LESS = -1; }",
    );
    let drawn: &[&[u8]] = &[
        &[29, 0, 0, 0],
        b"sealmoot schema fingerprint 1",
        &[3, 0, 0, 0],
        b"a.S",
        // Two methods, by name.
        &[2, 0, 0, 0],
        &[3, 0, 0, 0],
        b"One",
        &[1, 4, 1, 0, 0, 0, 2, 0, 0, 0],
        &[3, 0, 0, 0],
        b"Two",
        &[4, 1, 1, 0, 0, 0, 1, 0, 0, 0],
        // Three types: Q, R, E.
        &[3, 0, 0, 0],
        &[1, 3, 0, 0, 0],
        &[3, 0, 0, 0, 17, 5, 0, 0, 0, 0, 0, 0, 0, 0],
        &[7, 0, 0, 0, 14, 2, 7, 0, 0, 0, 3, 0, 0, 0],
        &[9, 0, 0, 0, 11, 2, 7, 0, 0, 0, 1, 0, 0, 0],
        &[1, 2, 0, 0, 0],
        &[1, 0, 0, 0, 9, 2, 0, 0, 0, 0, 0, 0, 0, 0],
        &[2, 0, 0, 0, 12, 1, 0, 0, 0, 0, 0, 0, 0, 0],
        &[2, 2, 0, 0, 0],
        &[0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0],
    ];
    assert_eq!(canonical(&service, &guards), drawn.concat());
}

#[test]
fn comments_and_layout_leave_it() {
    assert_same(
        &fields("int32 a = 1;"),
        &fields("/* what it was */\n// what it is\nint32 a = 1; // behind\n"),
    );
}

#[test]
fn names_of_messages_fields_enums_and_values_leave_it() {
    assert_same(
        &fields("T a = 1; E b = 2; oneof c { int32 d = 3; }"),
        "syntax = \"proto3\"; package a.v1; \
         service S { rpc Do(Request) returns (Reply); } \
         message Request { Nothing x = 1; Choice y = 2; oneof z { int32 w = 3; } } \
         message Reply {} message Nothing {} enum Choice { CHOICE_A = 0; CHOICE_B = 1; }",
    );
}

#[test]
fn where_a_message_is_declared_leaves_it() {
    assert_same(
        &fields("T a = 1;"),
        &fields("message Inner {} Inner a = 1;"),
    );
}

#[test]
fn the_order_of_declarations_leaves_it() {
    assert_same(
        &fields("int32 a = 1; T b = 2; U c = 3;"),
        &fields("U c = 3; int32 a = 1; T b = 2;"),
    );
    assert_same(
        &methods("rpc A(Q) returns (R); rpc B(R) returns (Q);"),
        &methods("rpc B(R) returns (Q); rpc A(Q) returns (R);"),
    );
    assert_same(
        &fields("oneof x { int32 a = 1; T b = 2; } oneof y { int32 c = 3; }"),
        &fields("oneof y { int32 c = 3; } oneof x { T b = 2; int32 a = 1; }"),
    );
}

#[test]
fn what_never_travels_leaves_it() {
    assert_same(
        &fields("int32 a = 1;"),
        &fields("reserved 2 to 9; int32 a = 1 [deprecated = true];"),
    );
    // A type that no method reaches.
    assert_same(
        &fields("int32 a = 1;"),
        &fields("message Unused { T t = 1; } int32 a = 1;"),
    );
    let alias = |values| {
        format!(
            "syntax = \"proto3\"; package a.v1; service S {{ rpc Do(Q) returns (Q); }} \
             message Q {{ E e = 1; }} enum E {{ {values} }}"
        )
    };
    assert_same(
        &alias("A = 0; B = 1;"),
        &alias("option allow_alias = true; A = 0; B = 1; C = 1;"),
    );
}

#[test]
fn every_type_of_a_field_has_its_own() {
    let types = [
        "double", "float", "int32", "int64", "uint32", "uint64", "sint32", "sint64", "fixed32",
        "fixed64", "sfixed32", "sfixed64", "bool", "string", "bytes", "T", "U", "E", "F",
    ];
    for (index, left) in types.iter().enumerate() {
        for right in &types[index + 1..] {
            assert_other(
                &fields(&format!("{left} a = 1;")),
                &fields(&format!("{right} a = 1;")),
            );
        }
    }
}

#[test]
fn every_change_of_a_field_that_travels_changes_it() {
    for (left, right) in [
        ("int32 a = 1;", ""),
        ("int32 a = 1;", "int32 a = 2;"),
        ("int32 a = 1;", "int32 a = 1; int32 b = 2;"),
        ("int32 a = 1;", "optional int32 a = 1;"),
        ("int32 a = 1;", "repeated int32 a = 1;"),
        ("int32 a = 1;", "oneof x { int32 a = 1; }"),
        ("optional int32 a = 1;", "oneof x { int32 a = 1; }"),
        (
            "repeated int32 a = 1;",
            "repeated int32 a = 1 [packed = false];",
        ),
        ("map<int32, T> a = 1;", "map<int64, T> a = 1;"),
        ("map<int32, T> a = 1;", "map<int32, U> a = 1;"),
        (
            "oneof x { int32 a = 1; int32 b = 2; }",
            "oneof x { int32 a = 1; } oneof y { int32 b = 2; }",
        ),
        (
            "oneof x { int32 a = 1; int32 b = 2; } oneof y { int32 c = 3; }",
            "oneof x { int32 a = 1; } oneof y { int32 b = 2; int32 c = 3; }",
        ),
    ] {
        assert_other(&fields(left), &fields(right));
    }
}

#[test]
fn every_change_of_a_method_changes_it() {
    let once = "{ option (sealmoot.rpc.at_most_once) = true; }";
    let level = |level| format!("rpc A(Q) returns (R) {{ option idempotency_level = {level}; }}");
    let variants = [
        "rpc A(Q) returns (R);".to_owned(),
        "rpc B(Q) returns (R);".to_owned(),
        "rpc A(R) returns (Q);".to_owned(),
        "rpc A(Q) returns (Q);".to_owned(),
        "rpc A(Q) returns (R); rpc B(Q) returns (R);".to_owned(),
        "rpc A(stream Q) returns (R);".to_owned(),
        "rpc A(Q) returns (stream R);".to_owned(),
        "rpc A(stream Q) returns (stream R);".to_owned(),
        format!("rpc A(Q) returns (R) {once}"),
        level("NO_SIDE_EFFECTS"),
        level("IDEMPOTENT"),
    ];
    for (index, left) in variants.iter().enumerate() {
        for right in &variants[index + 1..] {
            assert_other(&methods(left), &methods(right));
        }
    }
}

#[test]
fn the_services_name_and_package_change_it() {
    let schema = fields("int32 a = 1;");
    assert_other(&schema, &schema.replace("service S", "service Z"));
    assert_other(&schema, &schema.replace("package a.v1", "package a.v2"));
}

#[test]
fn a_change_deep_inside_changes_it() {
    let deep = |inner: &str| {
        fields(&format!(
            "message A {{ B b = 1; }} message B {{ map<string, C> c = 1; }} \
             message C {{ repeated D d = 4; }} message D {{ {inner} }} A a = 1;"
        ))
    };
    assert_other(&deep("int32 x = 1;"), &deep("int64 x = 1;"));
    assert_other(&deep("E x = 1;"), &deep("F x = 1;"));
    assert_same(&deep("int32 x = 1;"), &deep("int32 y = 1;"));
}

#[test]
fn types_that_refer_to_themselves_and_each_other_end() {
    let itself = fields("Q again = 1;");
    assert_same(&itself, &itself);
    assert_other(&itself, &fields("T again = 1;"));
    let each_other = |back| {
        fields(&format!(
            "message A {{ B b = 1; }} message B {{ A a = 1; repeated {back} c = 2; }} A a = 1;"
        ))
    };
    assert_other(&each_other("A"), &each_other("B"));
    assert_other(&each_other("A"), &each_other("Q"));
}

#[test]
fn two_types_of_one_form_are_not_one_type() {
    // Not needed on the wire, and never equal by accident: the numbers differ.
    let two = fields("message A { int32 x = 1; } message B { int32 x = 1; } A a = 1; B b = 2;");
    let one = fields("message A { int32 x = 1; } A a = 1; A b = 2;");
    assert_other(&two, &one);
}

#[test]
fn required_and_optional_of_proto2_differ() {
    let schema = |label| {
        format!(
            "syntax = \"proto2\"; package a.v1; service S {{ rpc Do(Q) returns (Q); }} \
             message Q {{ {label} int32 a = 1; }}"
        )
    };
    assert_other(&schema("required"), &schema("optional"));
    assert_other(&schema("repeated"), &schema("optional"));
    assert_same(
        &schema("optional"),
        &schema("optional").replace("a = 1", "a = 1 [default = 5]"),
    );
    let packed =
        |packed: bool| schema("repeated").replace("a = 1", &format!("a = 1 [packed = {packed}]"));
    assert_same(&schema("repeated"), &packed(false));
    assert_other(&schema("repeated"), &packed(true));
}
