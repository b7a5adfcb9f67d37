//! `kv batch`.

use std::collections::BTreeMap;

use sealmoot_tests::cluster::Cluster;
use sealmoot_tests::command::{Outcome, fields};
use serde_json::{Value, json};

/// Answers by the number that the line gave as its id.
fn answers(outcome: &Outcome) -> BTreeMap<u64, Value> {
    let lines = outcome.text().lines();
    lines
        .map(|line| {
            let answer: Value = serde_json::from_str(line).expect("JSON a line");
            let (invoked, returned) = (&answer["invoke_ns"], &answer["return_ns"]);
            assert!(invoked.as_u64() <= returned.as_u64(), "{line}");
            assert!(invoked.is_u64() && returned.is_u64(), "{line}");
            (answer["id"].as_u64().expect("the id"), answer)
        })
        .collect()
}

fn lines(lines: &[Value]) -> String {
    let lines: Vec<String> = lines.iter().map(Value::to_string).collect();
    lines.join("\n")
}

/// Histories are put together from what several clients were told.
#[test]
fn instants_of_two_batches_can_be_compared() {
    let cluster = Cluster::shared();
    let get = json!({"id": 1, "op": "get", "key": "batch/instants"}).to_string();
    let of = || {
        answers(
            cluster
                .kv_run("batch")
                .input(get.as_str())
                .finish()
                .succeeded(),
        )[&1]
            .clone()
    };
    let (first, second) = (of(), of());
    assert!(first["return_ns"].as_u64() < second["invoke_ns"].as_u64());
}

#[test]
fn every_operation_is_answered() {
    let cluster = Cluster::shared();
    let one_by_one = "batch --concurrency 1";
    let input = lines(&[
        json!({"id": 1, "op": "put", "key": "batch/a", "value": "x"}),
        json!({"id": 2, "op": "get", "key": "batch/a"}),
        json!({"id": 3, "op": "get", "key": "batch/missing"}),
        json!({"id": 4, "op": "cas", "key": "batch/a", "value": "y", "expect_rev": 1}),
        json!({"id": 5, "op": "cas", "key": "batch/a", "value": "z", "expect_rev": 1}),
        json!({"id": 6, "op": "cas", "key": "batch/a", "value": "z", "expect": "y"}),
        json!({"id": 7, "op": "cas", "key": "batch/b", "value": "b", "expect": null}),
        json!({"id": 8, "op": "cas", "key": "batch/b", "value": "b", "expect": null}),
        json!({"id": 9, "op": "put", "key_b64": "YmF0Y2gv/w==", "value_b64": "/w=="}),
        json!({"id": 10, "op": "get", "key_b64": "YmF0Y2gv/w==", "consistency": "quorum"}),
        json!({"id": 11, "op": "del", "key": "batch/a"}),
        json!({"id": 12, "op": "get", "key": "batch/a", "consistency": "linearizable"}),
        json!({"id": 13, "op": "del", "key": "batch/a"}),
        json!({"id": 14, "op": "cas", "key": "batch/c", "value": "c", "expect_b64": "/w=="}),
    ]);
    let outcome = cluster.kv_run(one_by_one).input(input).finish();
    outcome.succeeded();
    let answers = answers(&outcome);
    assert_eq!(answers.len(), 14);

    for ok in [1, 2, 3, 4, 6, 7, 9, 10, 11, 12, 13] {
        assert_eq!(answers[&ok]["outcome"], "ok", "{}", answers[&ok]);
        assert!(answers[&ok].get("error").is_none_or(Value::is_null));
    }
    assert_eq!(answers[&11]["existed"], true, "{}", answers[&11]);
    assert_eq!(answers[&13]["existed"], false, "{}", answers[&13]);
    for (conflict, revision) in [(5, 2), (8, 1), (14, 0)] {
        let answer = &answers[&conflict];
        assert_eq!(answer["outcome"], "fail", "{answer}");
        assert_eq!(answer["error"]["code"], "conflict", "{answer}");
        assert_eq!(answer["rev"], revision, "{answer}");
    }
    assert_eq!(answers[&1]["rev"], 1);
    assert_eq!(answers[&2]["value"], "x");
    assert_eq!(answers[&2]["rev"], 1);
    for missing in [3, 12] {
        assert_eq!(answers[&missing]["value"], Value::Null);
        assert!(fields(&answers[&missing]).contains(&"value"));
        assert_eq!(answers[&missing]["rev"], 0);
    }
    assert_eq!(answers[&6]["rev"], 3);
    assert_eq!(answers[&10]["value_b64"], "/w==");
    assert!(!fields(&answers[&10]).contains(&"value"));
}

#[test]
fn an_id_is_given_back_as_it_came() {
    let cluster = Cluster::shared();
    for id in [json!("seven"), json!(-1.5), json!({"a": [1]}), Value::Null] {
        let line = json!({"id": id, "op": "get", "key": "batch/none"}).to_string();
        let outcome = cluster.kv_run("batch").input(line).finish();
        let answer: Value = serde_json::from_str(outcome.succeeded().text()).expect("JSON");
        assert_eq!(answer["id"], id);
    }
}

#[test]
fn a_malformed_line_is_named_and_those_before_it_are_answered() {
    let cluster = Cluster::shared();
    let good = [
        json!({"id": 1, "op": "put", "key": "batch/m1", "value": "x"}).to_string(),
        json!({"id": 2, "op": "put", "key": "batch/m2", "value": "x"}).to_string(),
    ];
    let after = json!({"id": 9, "op": "put", "key": "batch/after", "value": "x"}).to_string();
    let long_key = "k".repeat(4097);
    for malformed in [
        "no JSON".to_owned(),
        "{\"id\":3,".to_owned(),
        "[]".to_owned(),
        "7".to_owned(),
        json!({"id": 3, "key": "a", "value": "x"}).to_string(),
        json!({"id": 3, "op": "push", "key": "a", "value": "x"}).to_string(),
        json!({"id": 3, "op": "put", "value": "x"}).to_string(),
        json!({"id": 3, "op": "put", "key": "a"}).to_string(),
        json!({"id": 3, "op": "put", "key": "", "value": "x"}).to_string(),
        json!({"id": 3, "op": "put", "key": long_key, "value": "x"}).to_string(),
        json!({"id": 3, "op": "put", "key": "system/a", "value": "x"}).to_string(),
        json!({"id": 3, "op": "put", "key": "a", "value": 7}).to_string(),
        json!({"id": 3, "op": "put", "key": "a", "value": "x", "value_b64": "eA=="}).to_string(),
        json!({"id": 3, "op": "put", "key": "a", "value_b64": "*"}).to_string(),
        json!({"id": 3, "op": "cas", "key": "a", "value": "x"}).to_string(),
        json!({"id": 3, "op": "get", "key": "a", "consistency": "some"}).to_string(),
    ] {
        let input = format!("{}\n\n{}\n{malformed}\n{after}\n", good[0], good[1]);
        let outcome = cluster.kv_run("batch -o json").input(input).finish();
        outcome.failed(2, "usage").saying("line 4");
        let answers = answers(&outcome);
        assert_eq!(answers.keys().collect::<Vec<_>>(), [&1, &2], "{malformed}");
        assert!(answers.values().all(|answer| answer["outcome"] == "ok"));
    }
    cluster.kv("get batch/after").refused(3, "not_found");
}

#[test]
fn an_empty_batch_is_done_at_once() {
    let cluster = Cluster::shared();
    for input in ["", "\n", "\n  \n\n"] {
        let outcome = cluster.kv_run("batch").input(input).finish();
        assert_eq!(outcome.succeeded().stdout, b"");
    }
    cluster
        .kv("batch --concurrency 0 -o json")
        .refused(2, "usage");
}

#[test]
fn a_refused_operation_fails_alone() {
    let cluster = Cluster::shared();
    cluster.home.user("batcher", "batcher/*:rw");
    cluster.log_in("batcher").succeeded();
    let input = lines(&[
        json!({"id": 1, "op": "put", "key": "batcher/a", "value": "x"}),
        json!({"id": 2, "op": "put", "key": "other/a", "value": "x"}),
        json!({"id": 3, "op": "get", "key": "other/a"}),
        json!({"id": 4, "op": "del", "key": "batcher/a"}),
        json!({"id": 5, "op": "get", "key": "batcher/a"}),
    ]);
    let outcome = cluster
        .kv_run("batch --context batcher --concurrency 1")
        .input(input)
        .finish();
    outcome.succeeded();
    let answers = answers(&outcome);
    for refused in [2, 3, 4] {
        assert_eq!(answers[&refused]["outcome"], "fail");
        assert_eq!(answers[&refused]["error"]["code"], "permission_denied");
    }
    assert_eq!(answers[&5]["value"], "x");
}
