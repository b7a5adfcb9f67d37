//! A realm that was lost and restored, beside a cluster that went on meanwhile.

use std::fs;

use sealmoot_tests::cluster::Cluster;
use sealmoot_tests::home::Home;
use serde_json::json;

#[test]
fn nodes_are_not_rolled_back_by_a_restored_realm_and_take_its_changes() {
    let cluster = Cluster::shared();
    cluster.home.user("bea", "bea/*:rw");
    let in_cluster = |arguments: &str| {
        let told = cluster
            .home
            .authctl(&format!("{arguments} --passphrase-file pp"));
        told.succeeded();
    };
    in_cluster("realm backup older.backup");
    for _ in 0..3 {
        in_cluster("user disable bea");
        in_cluster("user enable bea");
    }
    in_cluster("user role bea --remove bea/*:rw --add bea/*:r");
    cluster.log_in("bea").succeeded();

    let other = Home::new();
    fs::copy(
        cluster.home.path("older.backup"),
        other.path("older.backup"),
    )
    .expect("copied");
    other
        .authctl("realm restore older.backup --passphrase-file pp")
        .succeeded()
        .saying("nodes keep what they hold");
    // All that the restored realm knows is told to the nodes with any change.
    let added = other.authctl(
        "user add newcomer --role bea/*:r --passphrase-file pp --password-file pw -o json",
    );
    added.succeeded();
    assert_eq!(added.document()["warnings"], json!([]));
    cluster.log_in("newcomer").succeeded();
    cluster
        .kv("put bea/x 1 --context bea -o json")
        .refused(5, "permission_denied");
    assert_eq!(cluster.kv("get bea/x --context bea").exit, 3);
    // Far fewer changes than the nodes have seen, and yet it holds.
    other
        .authctl("user disable bea --passphrase-file pp")
        .succeeded();
    cluster.log_in("bea").refused(4, "unauthenticated");
}
