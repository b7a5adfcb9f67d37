//! Those who are refused, and that the nodes go on serving.

mod impostors;
mod invites;
mod logins;
mod strangers;

use sealmoot_tests::cluster::Cluster;

/// A put and a get at every node.
#[track_caller]
fn assert_serves(cluster: &Cluster, key: &str) {
    for index in 0..3 {
        let endpoint = cluster.ports.address(index);
        cluster
            .kv(&format!("put {key} {index} --endpoints {endpoint}"))
            .succeeded();
        let got = cluster.kv(&format!("get {key} --endpoints {endpoint}"));
        assert_eq!(got.succeeded().text(), index.to_string());
    }
}
