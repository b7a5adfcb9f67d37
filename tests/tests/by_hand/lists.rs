//! `kv ls`.

use sealmoot_tests::cluster::Cluster;
use sealmoot_tests::command::fields;
use serde_json::{Value, json};

fn keys(data: &Value) -> Vec<String> {
    assert_eq!(fields(data), ["entries", "next"]);
    let entries = data["entries"].as_array().expect("an array");
    let key = |entry: &Value| entry["key"].as_str().expect("text").to_owned();
    entries.iter().map(key).collect()
}

fn put_all(cluster: &Cluster, keys: &[&str]) {
    let lines: Vec<String> = keys
        .iter()
        .map(|key| json!({"op": "put", "key": key, "value": key}).to_string())
        .collect();
    let batch = cluster.kv_run("batch").input(lines.join("\n")).finish();
    assert_eq!(batch.succeeded().text().lines().count(), keys.len());
}

#[test]
fn keys_are_listed_recursively_in_byte_order() {
    let cluster = Cluster::shared();
    put_all(
        &cluster,
        &[
            "ls/b", "ls/a/2", "ls/a", "ls/ä", "ls/a/10", "ls/B", "lsx", "ls/a!",
        ],
    );
    let listed = cluster.kv("ls ls/ -o json").data("ls");
    let in_order = ["ls/B", "ls/a", "ls/a!", "ls/a/10", "ls/a/2", "ls/b", "ls/ä"];
    assert_eq!(keys(&listed), in_order);
    assert_eq!(listed["next"], Value::Null);
    let first = &listed["entries"][0];
    assert_eq!(fields(first), ["key", "rev", "size"]);
    assert_eq!(first["rev"], 1);
    assert_eq!(first["size"], 4);
    assert_eq!(
        keys(&cluster.kv("ls ls/a/ -o json").data("ls")),
        ["ls/a/10", "ls/a/2"]
    );
    let shown = cluster.kv("ls ls/a");
    assert_eq!(shown.succeeded().text(), "ls/a\nls/a!\nls/a/10\nls/a/2\n");
    for level in ["linearizable", "quorum"] {
        let listed = cluster.kv(&format!("ls ls/ --consistency {level} -o json"));
        assert_eq!(keys(&listed.data("ls")), in_order, "{level}");
    }
}

#[test]
fn pages_follow_each_other_without_gap_or_overlap() {
    let cluster = Cluster::shared();
    let all: Vec<String> = (0..25).map(|number| format!("pages/{number:02}")).collect();
    put_all(
        &cluster,
        &all.iter().map(String::as_str).collect::<Vec<_>>(),
    );
    let mut found = Vec::new();
    let mut after = String::new();
    loop {
        let page = cluster
            .kv(&format!("ls pages/ --limit 10 -o json{after}"))
            .data("ls");
        let page_keys = keys(&page);
        assert!(page_keys.len() <= 10, "{page_keys:?}");
        found.extend(page_keys);
        match page["next"].as_str() {
            Some(next) => after = format!(" --after {next}"),
            None => break,
        }
        assert!(found.len() <= 25, "{found:?}");
    }
    assert_eq!(found, all);
    let after = cluster.kv("ls pages/ --after pages/23 -o json").data("ls");
    assert_eq!(keys(&after), ["pages/24"]);
    // It need not exist.
    let after = cluster.kv("ls pages/ --after pages/23x -o json").data("ls");
    assert_eq!(keys(&after), ["pages/24"]);
    let exactly = cluster.kv("ls pages/ --limit 25 -o json").data("ls");
    assert_eq!(exactly["next"], Value::Null);
    cluster
        .kv("ls pages/ --limit 0 -o json")
        .refused(2, "usage");
    cluster
        .kv("ls pages/ --limit few -o json")
        .refused(2, "usage");
}

#[test]
fn deleted_keys_are_not_listed() {
    let cluster = Cluster::shared();
    put_all(&cluster, &["gone/1", "gone/2", "gone/3"]);
    cluster.kv("del gone/2").succeeded();
    assert_eq!(
        keys(&cluster.kv("ls gone/ -o json").data("ls")),
        ["gone/1", "gone/3"]
    );
    cluster.kv("put gone/2 again").succeeded();
    let listed = cluster.kv("ls gone/ -o json").data("ls");
    assert_eq!(keys(&listed), ["gone/1", "gone/2", "gone/3"]);
    assert_eq!(listed["entries"][1]["size"], 5);
}

#[test]
fn nothing_is_listed_where_nothing_is() {
    let cluster = Cluster::shared();
    let listed = cluster.kv("ls nothing/ -o json").data("ls");
    assert_eq!(listed, json!({"entries": [], "next": null}));
    assert_eq!(cluster.kv("ls nothing/").succeeded().stdout, b"");
}
