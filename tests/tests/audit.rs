//! The audit log of a real cluster: what is on record, who may read it, and how what
//! was done to a node's disk comes out.

use std::fs;
use std::path::Path;
use std::time::Duration;

use sealmoot_tests::binaries::Program;
use sealmoot_tests::cluster::Cluster;
use sealmoot_tests::command::Outcome;
use sealmoot_tests::files::{Flipped, data_files};
use sealmoot_tests::poll::eventually;
use serde_json::Value;

/// How long a node may take to tell the others where its log stands.
const PATIENCE: Duration = Duration::from_secs(120);

fn authctl(cluster: &Cluster, arguments: &str, user: &str) -> Outcome {
    cluster
        .home
        .run(Program::Authctl, arguments)
        .env("SEALMOOT_CONTEXT", user)
        .finish()
}

fn verify(cluster: &Cluster) -> Outcome {
    authctl(
        cluster,
        "audit verify --local --passphrase-file pp -o json",
        "alice",
    )
}

/// All events of a node, or of all.
fn events(cluster: &Cluster, more: &str) -> Vec<Value> {
    let tail = authctl(
        cluster,
        &format!("audit tail --limit 1000 -o json {more}"),
        "alice",
    );
    tail.data("audit").as_array().expect("an array").clone()
}

fn count(events: &[Value], what: &str, outcome: &str, user: &str) -> usize {
    events
        .iter()
        .filter(|event| {
            let subject = &event["subject"]["name"];
            event["what"] == what
                && event["outcome"] == outcome
                && (user.is_empty() || subject == user)
        })
        .count()
}

/// How many remembered heads lie on a node's log.
fn witnessed(cluster: &Cluster, node: &str) -> u64 {
    let data = verify(cluster).data_whatever_the_exit("audit_verify");
    let logs = data["logs"].as_array().expect("an array").clone();
    let of_node = logs.iter().find(|log| log["node"] == node);
    of_node
        .and_then(|log| log["witnessed"].as_u64())
        .unwrap_or(0)
}

/// Waits until the other nodes remember something of each.
fn await_witnesses(cluster: &Cluster) {
    eventually("every log is witnessed twice", PATIENCE, || {
        let verified = verify(cluster);
        let data = verified.data_whatever_the_exit("audit_verify");
        let logs = data["logs"].as_array().expect("an array");
        let witnessed = |log: &Value| log["witnessed"].as_u64().expect("a number") >= 2;
        let nodes: Vec<&Value> = logs.iter().filter(|log| log["node"] != "(realm)").collect();
        (nodes.len() == 3 && nodes.into_iter().all(witnessed)).then_some(())
    });
}

fn copy_audit(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("a directory");
    for name in data_files(from) {
        if name.starts_with("audit-") && name != "audit-witnessed" {
            fs::copy(from.join(&name), to.join(&name)).expect("copied");
        }
    }
}

/// A user without rights is refused, which is on record at the first node.
fn refusals(cluster: &Cluster, number: usize) {
    let endpoint = cluster.ports.address(0);
    for _ in 0..number {
        let get = format!("get app/secret -o json --context bob --endpoints {endpoint}");
        cluster.home.kv(&get).refused(5, "permission_denied");
    }
}

#[test]
fn what_happens_is_on_record_at_the_nodes_that_saw_it_and_verifies() {
    let cluster = Cluster::form();
    cluster.home.user("bob", "app/one:r");
    cluster.log_in("bob").succeeded();
    cluster.home.secret("wrong", "not the password");
    let address = cluster.ports.address(0);
    let login = |user: &str| {
        let realm = &cluster.realm;
        cluster.kv(&format!(
            "login {user}@{address} --realm {realm} --password-file wrong --context x -o json"
        ))
    };
    login("bob").refused(4, "unauthenticated");
    login("hunter2-typed-here").refused(4, "unauthenticated");
    refusals(&cluster, 1);
    let disable = "user disable bob --passphrase-file pp";
    cluster.home.authctl(disable).succeeded();

    let first = events(&cluster, "--node n1");
    for (what, outcome, user) in [
        ("node_enrolled", "done", "n1"),
        ("cluster_formed", "done", ""),
        ("node_started", "done", ""),
        ("login", "done", "alice"),
        ("login", "done", "bob"),
        ("permission", "refused", ""),
        ("user_added", "done", "bob"),
        ("user_disabled", "done", "bob"),
    ] {
        assert!(
            count(&first, what, outcome, user) > 0,
            "{what} {user}: {first:#?}"
        );
    }
    // The client notices a wrong password before the node does, and says so.
    assert_eq!(count(&first, "login", "refused", "bob"), 1);
    let denied = first.iter().find(|event| event["what"] == "permission");
    let denied = denied.expect("the refusal");
    assert_eq!(denied["subject"]["key"], "app/secret", "{denied}");
    assert_eq!(denied["who"]["user"], "bob", "{denied}");
    let detail = denied["detail"].as_str().expect("a text");
    assert!(detail.starts_with("read: "), "{denied}");
    let unknown: Vec<&Value> = first
        .iter()
        .filter(|event| event["subject"]["kind"] == "unknown_name")
        .collect();
    assert_eq!(unknown.len(), 1, "{first:#?}");
    assert_eq!(unknown[0]["subject"]["length"], "hunter2-typed-here".len());
    // The others saw the change of the user, and no login.
    for node in ["n2", "n3"] {
        let other = events(&cluster, &format!("--node {node}"));
        assert!(count(&other, "user_disabled", "done", "bob") > 0, "{node}");
        assert_eq!(count(&other, "login", "done", ""), 0, "{node}");
    }
    let everything = events(&cluster, "--local");
    let own = everything.iter().filter(|event| event["node"] == "(realm)");
    let own: Vec<&str> = own.filter_map(|event| event["what"].as_str()).collect();
    assert_eq!(
        own,
        [
            "realm_created",
            "user_added",
            "nodes_invited",
            "user_added",
            "user_disabled"
        ]
    );
    assert!(!format!("{everything:?}").contains("hunter2"));

    await_witnesses(&cluster);
    let verified = verify(&cluster).data("audit_verify");
    assert_eq!(verified["ok"], true, "{verified:#}");
    assert_eq!(verified["logs"].as_array().map(Vec::len), Some(4));

    let export = "audit export events.jsonl --local -o json";
    let exported = authctl(&cluster, export, "alice").data("audit_export");
    let lines = fs::read_to_string(cluster.home.path("events.jsonl")).expect("written");
    let lines: Vec<Value> = lines
        .lines()
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .collect();
    let heads = lines.iter().filter(|line| line["head_b64"].is_string());
    assert_eq!(heads.count(), 3);
    assert_eq!(exported["events"], lines.len() - 3);
    authctl(&cluster, export, "alice").refused(8, "exists");
}

#[test]
fn the_log_is_for_administrators_of_everything() {
    let cluster = Cluster::form();
    cluster.home.user("carol", "app/*:rwdla");
    cluster.log_in("carol").succeeded();
    let tail = "audit tail -o json";
    authctl(&cluster, tail, "carol").refused(5, "permission_denied");
    let asked = events(&cluster, "");
    assert!(count(&asked, "audit_read", "refused", "") > 0, "{asked:#?}");
    assert!(count(&asked, "audit_read", "done", "") > 0, "{asked:#?}");
    authctl(&cluster, "audit tail --node n9 -o json", "alice").refused(3, "not_found");
    authctl(&cluster, tail, "nobody").refused(3, "not_found");
    cluster.home.secret("other", "another passphrase");
    let wrong = "audit verify --passphrase-file other -o json";
    authctl(&cluster, wrong, "alice").refused(4, "unauthenticated");
}

#[test]
fn what_was_done_to_a_stopped_nodes_log_comes_out() {
    let mut cluster = Cluster::form();
    cluster.home.user("bob", "app/one:r");
    cluster.log_in("bob").succeeded();
    let (data, kept) = (cluster.data(0), cluster.home.path("kept"));
    cluster.stop(0);
    copy_audit(&data, &kept);

    // Any changed byte keeps the node from starting, and has a name.
    for name in ["audit-state", "audit-00000001", "audit-witnessed"] {
        let flipped = Flipped::at(
            &data.join(name),
            600.min(fs::metadata(data.join(name)).expect("there").len() - 1),
            4,
        );
        let found = cluster.home.kvd("verify n1 -o json");
        let damaged = found.data_whatever_the_exit("verify");
        assert_eq!(damaged["damaged"][0]["file"], name, "{damaged:#}");
        found.failed(9, "integrity");
        let start = cluster.home.kvd("start --data n1 -o json");
        start.failed(9, "integrity").saying(name);
        flipped.restore();
    }
    cluster.home.kvd("verify n1 -o json").succeeded();

    cluster.start(&[0]);
    refusals(&cluster, 3);
    let before = witnessed(&cluster, "n1");
    refusals(&cluster, 1);
    eventually("the refusals are witnessed", PATIENCE, || {
        (witnessed(&cluster, "n1") >= before + 2).then_some(())
    });
    verify(&cluster).succeeded();
    cluster.stop(0);

    // An old copy put back: whole in itself, and less than the others saw.
    copy_audit(&kept, &data);
    cluster.home.kvd("verify n1 -o json").succeeded();
    cluster.start(&[0]);
    let verified = verify(&cluster);
    verified
        .failed(9, "integrity")
        .saying("n1")
        .saying("truncated at event");
    let logs = verified.data_whatever_the_exit("audit_verify")["logs"].clone();
    let faulty: Vec<&Value> = logs
        .as_array()
        .expect("an array")
        .iter()
        .filter(|log| log["ok"] == false)
        .collect();
    assert_eq!(faulty.len(), 1, "{logs:#}");
    assert_eq!(faulty[0]["node"], "n1");
    assert!(faulty[0]["faults"][0]["place"].is_u64(), "{logs:#}");
    eventually("the others have an alarm on record", PATIENCE, || {
        let alarms = events(&cluster, "--node n2");
        (count(&alarms, "witness_alarm", "refused", "n1") > 0).then_some(())
    });

    // It goes on, beyond what the others saw: then it was rewritten. How much that was
    // depends on how often was looked above, because looking is an event too.
    eventually("the log outgrows what was witnessed", PATIENCE, || {
        refusals(&cluster, 12);
        let verified = verify(&cluster);
        verified.failed(9, "integrity").saying("n1");
        verified.stderr.contains("rewritten").then_some(())
    });
}
