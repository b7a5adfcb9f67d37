//! `kv get`, `put`, `del` and `cas`.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

use sealmoot_tests::cluster::Cluster;
use sealmoot_tests::command::fields;
use serde_json::{Value, json};

#[track_caller]
fn assert_written(data: &Value, key: &str, revision: u64) {
    assert_eq!(fields(data), ["acks", "key", "replicas", "rev"]);
    assert_eq!(data["key"], key);
    assert_eq!(data["rev"], revision);
    assert_eq!(data["replicas"], 3);
    let acks = data["acks"].as_u64().expect("a number");
    assert!((2..=3).contains(&acks), "{data}");
}

#[test]
fn a_value_comes_from_an_argument_a_file_or_standard_input() {
    let cluster = Cluster::shared();
    let put = cluster.kv("put keys/source one -o json");
    assert_written(&put.data("put"), "keys/source", 1);
    assert_eq!(cluster.kv("get keys/source").stdout, b"one");

    cluster.home.secret("value", b"t\0wo\n");
    cluster.kv("put keys/source @value").succeeded();
    assert_eq!(cluster.kv("get keys/source").stdout, b"t\0wo\n");

    for arguments in ["put keys/source - -o json", "put keys/source -o json"] {
        let put = cluster
            .kv_run(arguments)
            .input("threeÿ".as_bytes())
            .finish();
        put.succeeded();
        assert_eq!(
            cluster.kv("get keys/source").stdout,
            "three\u{ff}".as_bytes()
        );
    }
    let put = cluster.kv_run("put keys/source - -o json").finish();
    assert_written(&put.data("put"), "keys/source", 5);
    assert_eq!(cluster.kv("get keys/source").succeeded().stdout, b"");
    cluster
        .kv("put keys/source @no-such-file -o json")
        .refused(2, "config");
}

#[test]
fn a_get_tells_key_value_and_revision() {
    let cluster = Cluster::shared();
    cluster.kv("put keys/get one").succeeded();
    cluster.kv("put keys/get two").succeeded();
    let expected = json!({"key": "keys/get", "value": "two", "rev": 2});
    for level in ["linearizable", "quorum"] {
        let got = cluster.kv(&format!("get keys/get --consistency {level} -o json"));
        assert_eq!(got.data("get"), expected, "{level}");
        assert_eq!(got.document()["warnings"], json!([]), "{level}");
    }
    // One replica answers with what it has, which may be older, and never other.
    let one = cluster.kv("get keys/get --consistency one -o json");
    if one.exit == 0 {
        let value = one.data("get")["value"].clone();
        assert!(value == "one" || value == "two", "{one:?}");
    } else {
        one.refused(3, "not_found");
    }
    cluster
        .kv("get keys/get --consistency most -o json")
        .refused(2, "usage");
}

#[test]
fn a_missing_key_is_nothing_at_all() {
    let cluster = Cluster::shared();
    for form in [
        "",
        "-o json",
        "-o raw",
        "-o jsonl",
        "--consistency one",
        "--consistency quorum",
    ] {
        cluster
            .kv(&format!("get keys/missing {form}"))
            .refused(3, "not_found");
    }
}

#[test]
fn a_deleted_key_is_missing() {
    let cluster = Cluster::shared();
    cluster.kv("put keys/deleted x").succeeded();
    let deleted = cluster.kv("del keys/deleted -o json").data("del");
    assert_eq!(fields(&deleted), ["existed", "key", "rev"]);
    assert_eq!(deleted["existed"], true);
    assert_eq!(deleted["key"], "keys/deleted");
    cluster.kv("get keys/deleted").refused(3, "not_found");
    for _ in 0..2 {
        let again = cluster.kv("del keys/deleted -o json").data("del");
        assert_eq!(again["existed"], false);
    }
    let never = cluster.kv("del keys/never-there -o json").data("del");
    assert_eq!(never["existed"], false);

    cluster.kv("put keys/deleted y").succeeded();
    assert_eq!(cluster.kv("get keys/deleted").stdout, b"y");
}

#[test]
fn keys_and_values_are_bytes() {
    let cluster = Cluster::shared();
    let key = OsStr::from_bytes(b"keys/\xff\xfe\n");
    let value = b"\x00\xff\x80 no UTF-8 \xc3";
    let put = cluster.kv_run("put -o json").arg(key).arg("-").input(value);
    let data = put.finish().data("put");
    assert_eq!(fields(&data), ["acks", "key_b64", "replicas", "rev"]);
    assert_eq!(data["key_b64"], "a2V5cy///go=");

    let plain = cluster.kv_run("get").arg(key).finish();
    assert_eq!(plain.succeeded().stdout, value);
    let data = cluster.kv_run("get -o json").arg(key).finish().data("get");
    assert_eq!(fields(&data), ["key_b64", "rev", "value_b64"]);
    assert_eq!(data["value_b64"], "AP+AIG5vIFVURi04IMM=");
    let data = cluster.kv_run("del -o json").arg(key).finish().data("del");
    assert_eq!(fields(&data), ["existed", "key_b64", "rev"]);
    assert_eq!(data["existed"], true);
}

#[test]
fn a_cas_changes_only_what_it_expected() {
    let cluster = Cluster::shared();
    let made = cluster.kv("cas keys/cas one --absent -o json");
    assert_written(&made.data("cas"), "keys/cas", 1);
    let by_revision = cluster.kv("cas keys/cas two --expect-rev 1 -o json");
    assert_written(&by_revision.data("cas"), "keys/cas", 2);
    let by_value = cluster
        .kv_run("cas keys/cas - --expect two -o json")
        .input("three");
    assert_written(&by_value.finish().data("cas"), "keys/cas", 3);

    for expectation in [
        "--absent",
        "--expect-rev 1",
        "--expect-rev 9",
        "--expect two",
    ] {
        let cas = cluster.kv(&format!("cas keys/cas never {expectation} -o json"));
        cas.refused(8, "conflict");
    }
    cluster
        .kv("cas keys/not-there x --expect-rev 1 -o json")
        .refused(8, "conflict");
    cluster
        .kv("cas keys/not-there x --expect y -o json")
        .refused(8, "conflict");
    cluster.kv("get keys/not-there").refused(3, "not_found");
    assert_eq!(cluster.kv("get keys/cas").stdout, b"three");

    cluster.kv("cas keys/cas x -o json").refused(2, "usage");
    cluster
        .kv("cas keys/cas x --absent --expect-rev 1 -o json")
        .refused(2, "usage");
    cluster
        .kv("cas keys/cas --absent -o json")
        .refused(2, "usage");
}

#[test]
fn every_node_serves_the_same() {
    let cluster = Cluster::shared();
    for writer in 0..3 {
        let endpoint = cluster.ports.address(writer);
        cluster
            .kv(&format!("put keys/every {writer} --endpoints {endpoint}"))
            .succeeded();
        for reader in 0..3 {
            let endpoint = cluster.ports.address(reader);
            let got = cluster.kv(&format!("get keys/every --endpoints {endpoint}"));
            assert_eq!(got.succeeded().text(), writer.to_string());
        }
    }
}

#[test]
fn people_read_what_was_done() {
    let cluster = Cluster::shared();
    let put = cluster.kv("put keys/people x");
    let shown = put.succeeded().text();
    assert!(shown.starts_with("✓ keys/people  rev 1  acks "), "{shown}");
    let del = cluster.kv("del keys/people");
    assert!(
        del.succeeded().text().starts_with("✓ keys/people deleted"),
        "{del:?}"
    );
    let quiet = cluster.kv("get keys/people -q");
    quiet.refused(3, "not_found");
}
