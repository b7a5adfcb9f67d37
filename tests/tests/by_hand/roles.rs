//! Named roles, as the cluster decides by them.

use std::io::{BufRead, BufReader, Write};
use std::process::Stdio;
use std::time::Duration;

use sealmoot_tests::cluster::Cluster;
use sealmoot_tests::poll::eventually;
use serde_json::{Value, json};

const WITHIN: Duration = Duration::from_secs(60);

fn authctl(cluster: &Cluster, arguments: &str) {
    let told = cluster
        .home
        .authctl(&format!("{arguments} --passphrase-file pp -o json"));
    told.succeeded();
    assert_eq!(told.document()["warnings"], json!([]), "{arguments}");
}

#[test]
fn a_right_that_is_revoked_is_gone_at_the_next_request_of_an_open_connection() {
    let cluster = Cluster::shared();
    authctl(&cluster, "role add open-ops open/*:rw");
    cluster.home.user("otto", "open-ops");
    cluster.log_in("otto").succeeded();
    let mut batch = cluster
        .kv_run("batch --context otto --concurrency 1")
        .into_command()
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("kv starts");
    let mut requests = batch.stdin.take().expect("piped");
    let mut answers = BufReader::new(batch.stdout.take().expect("piped"));
    let mut put = |id: u32| -> Value {
        let line = json!({"id": id, "op": "put", "key": "open/x", "value": "1"});
        writeln!(requests, "{line}").expect("written");
        requests.flush().expect("written");
        let mut answer = String::new();
        answers.read_line(&mut answer).expect("an answer");
        serde_json::from_str(&answer).expect("JSON")
    };
    assert_eq!(put(1)["outcome"], "ok");
    authctl(&cluster, "role revoke open-ops open/*:w");
    let refused = put(2);
    assert_eq!(refused["outcome"], "fail", "{refused}");
    assert_eq!(refused["error"]["code"], "permission_denied", "{refused}");
    authctl(&cluster, "role grant open-ops open/*:w");
    assert_eq!(put(3)["outcome"], "ok");
    authctl(&cluster, "user role otto --remove open-ops");
    assert_eq!(put(4)["error"]["code"], "permission_denied");
    authctl(&cluster, "user role otto --add open-ops");
    assert_eq!(put(5)["outcome"], "ok");
    cluster
        .home
        .authctl("role delete open-ops --force --passphrase-file pp --yes")
        .succeeded()
        .saying("grants nothing: otto");
    assert_eq!(put(6)["error"]["code"], "permission_denied");
    drop(requests);
    let _ = batch.wait();
}

#[test]
fn roles_reach_nodes_that_were_down_and_survive_restarts() {
    let mut cluster = Cluster::form();
    cluster.home.user("none", "x:r");
    authctl(&cluster, "role add late late/*:rw");
    authctl(&cluster, "user role none --add late");
    cluster.log_in("none").succeeded();
    cluster.kv("put late/x 1 --context none").succeeded();
    cluster.stop(2);
    let revoked = cluster
        .home
        .authctl("role revoke late late/*:w --passphrase-file pp");
    revoked.succeeded().saying("n3=");
    cluster.start(&[2]);
    let at_third = |arguments: &str| {
        let address = cluster.ports.address(2);
        cluster.kv(&format!(
            "{arguments} --context none --endpoints {address} -o json"
        ))
    };
    eventually("n3 learns the roles", WITHIN, || {
        (at_third("put late/x 2").exit == 5).then_some(())
    });
    at_third("get late/x").succeeded();
    for index in 0..3 {
        cluster.stop(index);
    }
    cluster.start(&[0, 1, 2]);
    for index in 0..3 {
        let address = cluster.ports.address(index);
        let put = format!("put late/x 3 --context none --endpoints {address} -o json");
        cluster.kv(&put).refused(5, "permission_denied");
    }
}
