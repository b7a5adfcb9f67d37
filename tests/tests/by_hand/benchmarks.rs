//! `kv bench`.

use sealmoot_tests::cluster::Cluster;
use sealmoot_tests::command::fields;
use serde_json::{Value, json};

const RUN: [&str; 10] = [
    "concurrency",
    "failures",
    "load",
    "max_ms",
    "operations",
    "p50_ms",
    "p999_ms",
    "p99_ms",
    "rate",
    "stall_ms",
];

fn runs(arguments: &str) -> Vec<Value> {
    let cluster = Cluster::shared();
    let outcome = cluster.kv(&format!("bench --keys 20 {arguments} -o json"));
    let data = outcome.data("bench");
    let runs = data["runs"].as_array().expect("an array").clone();
    for run in &runs {
        assert_eq!(fields(run), RUN, "{outcome:?}");
        assert_eq!(run["failures"], 0, "{outcome:?}");
        assert!(run["operations"].as_u64() > Some(0), "{outcome:?}");
        assert!(run["p50_ms"].as_f64() <= run["max_ms"].as_f64());
    }
    runs
}

#[test]
fn every_load_is_measured_at_every_concurrency() {
    let runs = runs("--concurrency 1,4 --duration 1s --prefix bench/closed/");
    let loads: Vec<&Value> = runs.iter().map(|run| &run["load"]).collect();
    let all = ["put", "put", "get", "get", "cas", "cas", "mixed", "mixed"];
    assert_eq!(loads, all);
    assert_eq!(runs[1]["concurrency"], 4);
}

#[test]
fn at_a_rate_as_many_operations_begin_as_are_due() {
    let runs = runs("--rate 40 --duration 1s --load put,get --prefix bench/open/");
    for run in &runs {
        assert_eq!(run["operations"], 40);
        assert_eq!(run["concurrency"], json!(null));
    }
}

#[test]
fn what_cannot_be_measured_is_refused() {
    let cluster = Cluster::shared();
    for arguments in [
        "bench --rate 10 --load cas",
        "bench --concurrency 0",
        "bench --rate 0",
        "bench --keys 0",
    ] {
        cluster.kv(arguments).refused(2, "usage");
    }
}
