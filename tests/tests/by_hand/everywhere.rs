//! What is to hold at every node.

use std::time::Duration;

use sealmoot_tests::cluster::Cluster;
use sealmoot_tests::command::Outcome;
use sealmoot_tests::poll::eventually;

/// Logs in with a key file, as a context of the user's name.
pub(crate) fn log_in_with_key(cluster: &Cluster, user: &str, node: usize, file: &str) -> Outcome {
    let (address, realm) = (cluster.ports.address(node), &cluster.realm);
    cluster.kv(&format!(
        "login {user}@{address} --realm {realm} --key {file} --no-input --context {user} -o json"
    ))
}

/// Every node refuses the session of the context `user` within this time; `key` is one
/// that the user might read.
#[track_caller]
pub(crate) fn assert_session_ended(cluster: &Cluster, user: &str, key: &str, within: Duration) {
    for index in 0..3 {
        let endpoint = cluster.ports.address(index);
        let get = format!("get {key} --context {user} --endpoints {endpoint} -o json");
        let what = format!("n{} refuses {user}'s session", index + 1);
        let refused = eventually(&what, within, || {
            let outcome = cluster.kv(&get);
            (outcome.exit == 4).then_some(outcome)
        });
        refused.refused(4, "unauthenticated");
    }
}
