//! `kv namespace`: settings that are settled once, and what they mean when a node
//! is missing.

use sealmoot_tests::cluster::Cluster;
use serde_json::json;

#[test]
fn a_namespace_is_created_once_shown_and_listed() {
    let cluster = Cluster::form();
    let create = "namespace create hall --replicas 3 --write 1 --read 3";
    let created = cluster.kv(&format!("{create} -o json")).data("namespace");
    let hall = json!({"name": "hall", "replicas": 3, "write": 1, "read": 3});
    assert_eq!(created, hall);
    cluster.kv(create).refused(8, "exists");
    cluster.kv("put hall/x 1").succeeded();
    cluster.kv("put app/x 1").succeeded();
    // A first write settles the default.
    cluster
        .kv("namespace create app --replicas 3 --write 3 --read 1")
        .refused(8, "exists");
    assert_eq!(
        cluster.kv("namespace show hall -o json").data("namespace"),
        hall
    );
    let app = json!({"name": "app", "replicas": 3, "write": 2, "read": 2});
    let listed = cluster.kv("namespace list -o json").data("namespaces");
    assert_eq!(listed, json!([app, hall]));
    cluster.kv("namespace show nobody").refused(3, "not_found");
    // What the store keeps for itself is no key of anybody's.
    let listed = cluster.kv("ls -o json").data("ls");
    let keys: Vec<&str> = listed["entries"]
        .as_array()
        .expect("entries")
        .iter()
        .filter_map(|entry| entry["key"].as_str())
        .collect();
    assert_eq!(keys, ["app/x", "hall/x"]);
    cluster.kv("get system/namespace/hall").refused(2, "usage");
}

#[test]
fn settings_that_are_none_are_refused() {
    let cluster = Cluster::shared();
    for bad in [
        "hall2 --replicas 3 --write 1 --read 2",
        "hall2 --replicas 3 --write 0 --read 3",
        "hall2 --replicas 3 --write 4 --read 3",
        "hall2 --replicas 5 --write 3 --read 3",
        "hall/2 --replicas 3 --write 2 --read 2",
        "system --replicas 3 --write 2 --read 2",
    ] {
        cluster
            .kv(&format!("namespace create {bad}"))
            .refused(2, "usage");
    }
    cluster.kv("namespace show hall2").refused(3, "not_found");
}

#[test]
fn with_one_node_down_write_all_refuses_writes_and_read_all_refuses_reads() {
    let mut cluster = Cluster::form();
    cluster
        .kv("namespace create readmany --replicas 3 --write 3 --read 1")
        .succeeded();
    cluster
        .kv("namespace create writemany --replicas 3 --write 1 --read 3")
        .succeeded();
    for key in ["readmany/x", "writemany/x", "plain/x"] {
        cluster.kv(&format!("put {key} 1")).succeeded();
    }
    cluster.kill(&[2]);
    cluster.kv("put plain/x 2").succeeded();
    assert_eq!(cluster.kv("get plain/x").succeeded().text(), "2");
    cluster
        .kv("put readmany/x 2 --timeout 5s")
        .failed(7, "no_quorum");
    assert_eq!(
        cluster
            .kv("get readmany/x --consistency quorum")
            .succeeded()
            .text(),
        "1"
    );
    cluster
        .kv("get writemany/x --timeout 5s")
        .failed(7, "no_quorum");
    let one = cluster
        .kv("get writemany/x --consistency one -o json")
        .data("get");
    assert_eq!(one["freshness"], "unknown");
}
