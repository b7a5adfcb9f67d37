//! Schemas with a past: which changes the build refuses, and what it writes of
//! those that it takes.
#![allow(missing_docs)]

use std::fs;
use std::path::Path;

use sealmoot_rpc_codegen::{Builder, EARLIER_MAX, Error, FieldPlace, Incompatibility};

const PACKAGE: &str = "shop.v1";

/// Writes a schema of the package, below a directory of its own.
fn write(root: &Path, name: &str, body: &str) {
    let text = format!("syntax = \"proto3\"; package {PACKAGE}; {body}");
    write_all(root, name, &text);
}

fn write_all(root: &Path, name: &str, text: &str) {
    let path = root.join(name);
    fs::create_dir_all(path.parent().expect("below the root")).expect("writable");
    fs::write(path, text).expect("writable");
}

/// Generates `shop.proto` with these versions of it.
fn build(root: &Path, earlier: &[&str]) -> Result<String, Error> {
    let out = root.join("out");
    fs::create_dir_all(&out).expect("writable");
    let mut builder = Builder::new(&[root.join("shop.proto")], &[root]);
    for name in earlier {
        builder = builder.earlier(root.join(name));
    }
    let built = builder.compile_into(&out);
    if built.is_err() {
        let left = fs::read_dir(&out).expect("readable").count();
        assert_eq!(left, 0, "nothing is half generated");
    }
    built.map(|read| {
        for name in earlier {
            assert!(read.contains(&root.join(name)), "{name} is watched");
        }
        fs::read_to_string(out.join("shop.v1.rs")).expect("generated")
    })
}

/// The generated code of a present schema with one version of the past.
fn evolved(earlier: &str, present: &str) -> Result<String, Error> {
    let dir = tempfile::tempdir().expect("a directory");
    write(dir.path(), "shop.proto", present);
    write(dir.path(), "earlier/1/shop.proto", earlier);
    build(dir.path(), &["earlier/1/shop.proto"])
}

fn change(earlier: &str, present: &str) -> Incompatibility {
    match evolved(earlier, present) {
        Err(Error::Incompatible { change, earlier }) => {
            assert!(earlier.ends_with("earlier/1/shop.proto"));
            change
        }
        other => panic!("{other:?}"),
    }
}

/// A schema whose one request has these fields.
fn fields(fields: &str) -> String {
    format!(
        "service Store {{ rpc Put(Q) returns (R); }} \
         message Q {{ {fields} }} message R {{}} message T {{ int32 a = 1; }} \
         enum E {{ E_NONE = 0; }}"
    )
}

fn field_change(earlier: &str, present: &str) -> Incompatibility {
    change(&fields(earlier), &fields(present))
}

fn place(message: &str, number: u32, name: &str) -> FieldPlace {
    FieldPlace {
        message: format!("{PACKAGE}.{message}"),
        number,
        name: name.to_owned(),
    }
}

/// The fingerprints in generated code: the present one and the earlier ones.
fn fingerprints(code: &str) -> Vec<String> {
    let start = "Fingerprint::from_bytes([";
    let prints = code.split(start).skip(1);
    prints
        .map(|rest| rest.split(']').next().expect("an end"))
        .map(|bytes| bytes.split_whitespace().collect())
        .collect()
}

fn alone(present: &str) -> String {
    let dir = tempfile::tempdir().expect("a directory");
    write(dir.path(), "shop.proto", present);
    let code = build(dir.path(), &[]).expect("a sound schema");
    fingerprints(&code).remove(0)
}

#[test]
fn a_field_more_and_a_method_more_get_along_and_the_past_is_written_down() {
    let (old, new) = (
        fields("int32 a = 1;"),
        fields("int32 a = 1; T b = 2;")
            .replace("returns (R);", "returns (R); rpc Get(Q) returns (R);"),
    );
    let code = evolved(&old, &new).expect("they get along");
    assert_eq!(fingerprints(&code), [alone(&new), alone(&old)]);
    // And the other way round.
    let fewer = evolved(&fields("int32 a = 1; T b = 2;"), &old);
    assert_eq!(fingerprints(&fewer.expect("they get along")).len(), 2);
}

#[test]
fn a_version_that_differs_in_nothing_that_travels_is_no_earlier_one() {
    let code = evolved(&fields("int32 a = 1;"), &fields("int32 renamed = 1;"));
    assert_eq!(fingerprints(&code.expect("they get along")).len(), 1);
}

#[test]
fn several_versions_stand_in_order_and_each_once() {
    let dir = tempfile::tempdir().expect("a directory");
    let versions = ["", "int32 a = 1;", "int32 a = 1; int32 b = 2;"].map(fields);
    write(dir.path(), "shop.proto", &versions[2]);
    for (name, version) in [("1", 0), ("2", 1), ("2b", 1), ("3", 2)] {
        let name = format!("earlier/{name}/shop.proto");
        write(dir.path(), &name, &versions[version]);
    }
    let earlier = ["2", "1", "2b", "3"].map(|name| format!("earlier/{name}/shop.proto"));
    let code = build(dir.path(), &earlier.each_ref().map(String::as_str));
    let expected = [&versions[2], &versions[1], &versions[0]].map(|version| alone(version));
    assert_eq!(fingerprints(&code.expect("they get along")), expected);
}

#[test]
fn an_import_beside_an_earlier_version_is_the_one_that_it_had() {
    let dir = tempfile::tempdir().expect("a directory");
    let schema = "import \"parts.proto\"; \
                  service Store { rpc Put(parts.v1.Part) returns (parts.v1.Part); }";
    let part =
        |fields| format!("syntax = \"proto3\"; package parts.v1; message Part {{ {fields} }}");
    write(dir.path(), "shop.proto", schema);
    write_all(
        dir.path(),
        "parts.proto",
        &part("int32 a = 1; int32 b = 2;"),
    );
    write(dir.path(), "earlier/1/shop.proto", schema);
    let same = build(dir.path(), &["earlier/1/shop.proto"]).expect("the same");
    assert_eq!(fingerprints(&same).len(), 1, "the present import");
    fs::remove_dir_all(dir.path().join("out")).expect("there");
    write_all(dir.path(), "earlier/1/parts.proto", &part("int32 a = 1;"));
    let other = build(dir.path(), &["earlier/1/shop.proto"]).expect("they get along");
    assert_eq!(fingerprints(&other).len(), 2, "the former import");
    fs::remove_dir_all(dir.path().join("out")).expect("there");
    write_all(dir.path(), "earlier/1/parts.proto", &part("string a = 1;"));
    let refused = build(dir.path(), &["earlier/1/shop.proto"]);
    assert!(matches!(refused, Err(Error::Incompatible { .. })));
}

#[test]
fn types_of_one_meaning_get_along() {
    for group in [
        &["int32", "int64", "uint32", "uint64", "bool"][..],
        &["sint32", "sint64"],
        &["fixed32", "sfixed32"],
        &["fixed64", "sfixed64"],
    ] {
        for earlier in group {
            for present in group {
                let [earlier, present] =
                    [earlier, present].map(|kind| fields(&format!("{kind} a = 1;")));
                evolved(&earlier, &present).expect("they get along");
            }
        }
    }
}

#[test]
fn a_field_of_another_meaning_is_refused() {
    // One of each meaning, and what the guide would let pass with a warning.
    let kinds = [
        ("int32", "int32"),
        ("sint32", "sint32"),
        ("fixed32", "fixed32"),
        ("fixed64", "fixed64"),
        ("float", "float"),
        ("double", "double"),
        ("string", "string"),
        ("bytes", "bytes"),
        ("T", "a message"),
        ("E", "an enum"),
    ];
    for (earlier, earlier_name) in kinds {
        for (present, present_name) in kinds {
            if earlier == present {
                continue;
            }
            let refused = field_change(
                &format!("{earlier} was = 1;"),
                &format!("{present} is = 1;"),
            );
            let expected = Incompatibility::Type {
                field: place("Q", 1, "is"),
                earlier: earlier_name,
                present: present_name,
            };
            assert_eq!(refused, expected);
        }
    }
}

#[test]
fn one_value_that_becomes_many_is_refused_both_ways() {
    let expected = Incompatibility::Repeated {
        field: place("Q", 1, "a"),
    };
    for (one, many) in [
        ("int32 a = 1;", "repeated int32 a = 1;"),
        ("string a = 1;", "repeated string a = 1;"),
        ("T a = 1;", "repeated T a = 1;"),
        ("T a = 1;", "map<int32, int32> a = 1;"),
    ] {
        assert_eq!(field_change(one, many), expected);
        assert_eq!(field_change(many, one), expected);
    }
}

#[test]
fn presence_and_packing_get_along() {
    for (earlier, present) in [
        ("int32 a = 1;", "optional int32 a = 1;"),
        (
            "repeated int32 a = 1;",
            "repeated int32 a = 1 [packed = false];",
        ),
    ] {
        evolved(&fields(earlier), &fields(present)).expect("they get along");
        evolved(&fields(present), &fields(earlier)).expect("they get along");
    }
}

#[test]
fn a_field_that_comes_to_a_oneof_or_leaves_it_is_refused() {
    let expected = |number, name: &str| Incompatibility::Oneof {
        field: place("Q", number, name),
    };
    let alone = "int32 a = 1; int32 b = 2;";
    let together = "oneof x { int32 a = 1; int32 b = 2; }";
    let apart = "oneof x { int32 a = 1; } oneof y { int32 b = 2; }";
    for (earlier, present, number, name) in [
        (alone, together, 1, "a"),
        (together, alone, 1, "a"),
        (together, apart, 2, "b"),
        (apart, together, 2, "b"),
        (alone, apart, 1, "a"),
    ] {
        let refused = field_change(earlier, present);
        assert_eq!(refused, expected(number, name), "{earlier} {present}");
    }
}

#[test]
fn a_oneof_may_grow_and_shrink() {
    let one = fields("oneof x { int32 b = 2; }");
    let two = fields("oneof x { int32 a = 1; int32 b = 2; }");
    evolved(&one, &two).expect("they get along");
    evolved(&two, &one).expect("they get along");
}

#[test]
fn a_required_field_neither_comes_nor_goes() {
    let schema = |fields| {
        format!(
            "syntax = \"proto2\"; package shop.v1; service Store {{ rpc Put(Q) returns (Q); }} \
             message Q {{ {fields} }}"
        )
    };
    let expected = Incompatibility::Required {
        field: place("Q", 1, "a"),
    };
    let variants = ["required int32 a = 1;", "optional int32 a = 1;", ""];
    for (earlier, present) in [(0, 1), (1, 0), (0, 2), (2, 0)] {
        let dir = tempfile::tempdir().expect("a directory");
        write_all(dir.path(), "shop.proto", &schema(variants[present]));
        write_all(
            dir.path(),
            "earlier/1/shop.proto",
            &schema(variants[earlier]),
        );
        match build(dir.path(), &["earlier/1/shop.proto"]) {
            Err(Error::Incompatible { change, .. }) => assert_eq!(change, expected),
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn a_change_deep_inside_recursive_messages_is_found() {
    let schema = |kind| {
        fields(&format!(
            "message A {{ B b = 1; }} message B {{ A a = 1; map<string, C> c = 2; }} \
             message C {{ {kind} found = 5; Q q = 6; }} A a = 1; Q again = 2;"
        ))
    };
    evolved(&schema("int32"), &schema("int64")).expect("they get along, and it ends");
    let expected = Incompatibility::Type {
        field: place("Q.C", 5, "found"),
        earlier: "string",
        present: "bytes",
    };
    assert_eq!(change(&schema("string"), &schema("bytes")), expected);
}

#[test]
fn a_message_that_took_anothers_place_is_compared_with_it() {
    let earlier = fields("message Old { int32 a = 1; } Old x = 1; Old y = 2;");
    let same = fields("message New { int32 a = 1; } New x = 1; New y = 2;");
    evolved(&earlier, &same).expect("they get along");
    // One message became two: each of them is compared.
    let split =
        "message New { int32 a = 1; } message Other { bytes a = 1; } New x = 1; Other y = 2;";
    let expected = Incompatibility::Type {
        field: place("Q.Other", 1, "a"),
        earlier: "int32",
        present: "bytes",
    };
    assert_eq!(change(&earlier, &fields(split)), expected);
}

fn methods(methods: &str) -> String {
    format!(
        "import \"sealmoot/rpc/options.proto\"; \
         service Store {{ {methods} }} message Q {{}} message R {{ int32 a = 1; }}"
    )
}

fn method_change(earlier: &str, present: &str) -> Incompatibility {
    change(&methods(earlier), &methods(present))
}

fn method() -> String {
    "shop.v1.Store/Put".to_owned()
}

#[test]
fn a_method_that_is_gone_is_refused() {
    let expected = Incompatibility::MethodRemoved { method: method() };
    let put = "rpc Put(Q) returns (R);";
    assert_eq!(method_change(put, ""), expected);
    // Another name is another number on the wire.
    assert_eq!(method_change(put, "rpc Puts(Q) returns (R);"), expected);
}

#[test]
fn a_method_with_other_streams_is_refused() {
    let signatures = [
        "rpc Put(Q) returns (R);",
        "rpc Put(stream Q) returns (R);",
        "rpc Put(Q) returns (stream R);",
        "rpc Put(stream Q) returns (stream R);",
    ];
    for earlier in signatures {
        for present in signatures {
            if earlier != present {
                let expected = Incompatibility::Streams { method: method() };
                assert_eq!(method_change(earlier, present), expected);
            }
        }
    }
}

#[test]
fn a_promise_that_a_method_may_run_twice_neither_comes_nor_goes() {
    let with = |option: &str| format!("rpc Put(Q) returns (R) {{ {option} }}");
    let plain = with("");
    let once = with("option (sealmoot.rpc.at_most_once) = true;");
    let safe = with("option idempotency_level = NO_SIDE_EFFECTS;");
    let idempotent = with("option idempotency_level = IDEMPOTENT;");
    for promised in [&safe, &idempotent] {
        for unpromised in [&plain, &once] {
            let expected = Incompatibility::Promise { method: method() };
            assert_eq!(method_change(promised, unpromised), expected);
            assert_eq!(method_change(unpromised, promised), expected);
        }
    }
    for (left, right) in [(&plain, &once), (&safe, &idempotent)] {
        evolved(&methods(left), &methods(right)).expect("they get along");
        evolved(&methods(right), &methods(left)).expect("they get along");
    }
}

#[test]
fn replies_are_compared_too() {
    let schema = |kind| {
        format!(
            "service Store {{ rpc Put(Q) returns (R); }} \
             message Q {{}} message R {{ {kind} a = 1; }}"
        )
    };
    let refused = change(&schema("int32"), &schema("string"));
    assert!(matches!(refused, Incompatibility::Type { .. }), "{refused}");
}

#[test]
fn a_service_that_is_gone_is_refused() {
    let two = format!("{} service Till {{ rpc Pay(Q) returns (R); }}", fields(""));
    let refused = change(&two, &fields(""));
    let service = "shop.v1.Till".to_owned();
    assert_eq!(refused, Incompatibility::ServiceRemoved { service });
    evolved(&fields(""), &two).expect("they get along");
}

#[test]
fn a_past_without_services_is_refused() {
    let refused = evolved("message Q {}", &fields(""));
    let Err(Error::EarlierWithoutService { file }) = refused else {
        panic!("{refused:?}");
    };
    assert!(file.ends_with("earlier/1/shop.proto"));
}

#[test]
fn a_past_that_is_missing_or_no_schema_is_refused() {
    let dir = tempfile::tempdir().expect("a directory");
    write(dir.path(), "shop.proto", &fields(""));
    let missing = build(dir.path(), &["earlier/none.proto"]);
    assert!(matches!(missing, Err(Error::Schema(_))), "{missing:?}");
    write(dir.path(), "earlier/1/shop.proto", "message {");
    let broken = build(dir.path(), &["earlier/1/shop.proto"]);
    assert!(matches!(broken, Err(Error::Schema(_))), "{broken:?}");
}

#[test]
fn a_past_longer_than_programs_tell_is_refused() {
    let dir = tempfile::tempdir().expect("a directory");
    write(dir.path(), "shop.proto", &fields(""));
    let names: Vec<String> = (1..=EARLIER_MAX + 1)
        .map(|number| {
            let name = format!("earlier/{number}/shop.proto");
            let field = format!("int32 a = {number};");
            write(dir.path(), &name, &fields(&field));
            name
        })
        .collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let refused = build(dir.path(), &names);
    assert!(
        matches!(&refused, Err(Error::TooManyEarlier { service }) if service == "shop.v1.Store"),
        "{refused:?}"
    );
    let code = build(dir.path(), &names[1..]).expect("as many as may be");
    assert_eq!(fingerprints(&code).len(), 1 + EARLIER_MAX);
}

#[test]
fn a_refusal_names_file_message_and_field() {
    let error = evolved(&fields("string a = 7;"), &fields("bytes b = 7;")).expect_err("refused");
    let text = error.to_string();
    for expected in [
        "earlier/1/shop.proto",
        "shop.v1.Q",
        "field 7",
        "`b`",
        "string",
        "bytes",
    ] {
        assert!(text.contains(expected), "{expected:?} in {text:?}");
    }
}
