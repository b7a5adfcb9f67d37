//! A node whose directory was put back to an older copy.

use sealmoot_tests::cluster::{Cluster, NAMES};
use sealmoot_tests::files::copy_directory;

#[test]
fn a_node_that_was_put_back_to_an_older_copy_does_not_vote() {
    let mut cluster = Cluster::form();
    cluster.kv("put app/x old").succeeded();
    cluster.stop(2);
    let copy = cluster.home.path("copy");
    copy_directory(&cluster.data(2), &copy);
    cluster.start(&[2]);
    // With one of the others down, the third must take part in this.
    cluster.kill(&[1]);
    cluster.kv("put app/x new").succeeded();
    cluster.start(&[1]);
    cluster.kv("put app/x newer").succeeded();
    cluster.kill(&[2]);
    std::fs::remove_dir_all(cluster.data(2)).expect("removed");
    copy_directory(&copy, &cluster.data(2));
    cluster
        .home
        .kvd(&format!("start --no-refetch --data {}", NAMES[2]))
        .refused(10, "wrong_state")
        .saying("older");
    // The others go on without it.
    assert_eq!(cluster.kv("get app/x").succeeded().text(), "newer");
    // It takes from them what it lost, and can stand in for one of them then.
    cluster.start(&[2]);
    cluster.kill(&[0]);
    assert_eq!(cluster.kv("get app/x").succeeded().text(), "newer");
}

#[test]
fn nodes_that_were_killed_start_again_two_without_the_third() {
    let mut cluster = Cluster::form();
    cluster.kv("put app/x 1").succeeded();
    cluster.kill(&[0, 1, 2]);
    cluster.start(&[0, 2]);
    assert_eq!(cluster.kv("get app/x").succeeded().text(), "1");
    cluster.kv("put app/x 2").succeeded();
    cluster.start(&[1]);
    assert_eq!(cluster.kv("get app/x").succeeded().text(), "2");
}
