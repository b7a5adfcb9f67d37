//! Rights, as the cluster decides about them.

use sealmoot_tests::cluster::Cluster;

#[test]
fn a_grant_covers_what_it_names_and_nothing_else() {
    let cluster = Cluster::shared();
    cluster.home.user("ci", "app/*:rw");
    cluster.log_in("ci").succeeded();
    cluster.kv("put other/x secret").succeeded();
    let ci = |arguments: &str| cluster.kv(&format!("{arguments} --context ci -o json"));

    ci("put app/x 1").succeeded();
    ci("cas app/x 2 --expect-rev 1").succeeded();
    assert_eq!(ci("get app/x").data("get")["value"], "2");

    for refused in [
        "put other/x 1",
        "get other/x",
        "get other/missing",
        "put app 1",
        "put application/x 1",
        "get APP/x",
        "cas other/x 1 --absent",
        "del app/x",
        "del app/missing",
        "ls app/",
        "ls",
        "ls other/",
    ] {
        let outcome = ci(refused);
        outcome.refused(5, "permission_denied");
        assert!(!outcome.stderr.contains("secret"), "{outcome:?}");
    }
    assert_eq!(cluster.kv("get other/x").stdout, b"secret");
    assert_eq!(cluster.kv("get app/x").stdout, b"2");
}

#[test]
fn every_right_stands_for_itself() {
    let cluster = Cluster::shared();
    cluster.kv("put each/x value").succeeded();
    for (right, permitted) in [
        ("r", "get each/x"),
        ("w", "put each/y 1"),
        ("d", "del each/none"),
        ("l", "ls each/"),
    ] {
        let user = format!("only-{right}");
        cluster.home.user(&user, &format!("each/*:{right}"));
        cluster.log_in(&user).succeeded();
        for act in ["get each/x", "put each/y 1", "del each/none", "ls each/"] {
            let outcome = cluster.kv(&format!("{act} --context {user} -o json"));
            if act == permitted {
                outcome.succeeded();
            } else {
                outcome.refused(5, "permission_denied");
            }
        }
    }
}

#[test]
fn a_blind_writer_learns_nothing_by_cas() {
    let cluster = Cluster::shared();
    cluster.kv("put blind/x value").succeeded();
    cluster.home.user("blind", "blind/*:w");
    cluster.log_in("blind").succeeded();
    for guess in [
        "--expect value",
        "--expect other",
        "--expect-rev 1",
        "--absent",
    ] {
        let cas = cluster.kv(&format!("cas blind/x new {guess} --context blind -o json"));
        cas.refused(5, "permission_denied");
    }
    assert_eq!(cluster.kv("get blind/x").stdout, b"value");
}

#[test]
fn a_user_without_roles_may_log_in_and_nothing_else() {
    let cluster = Cluster::shared();
    let add = "user add nothing --passphrase-file pp --password-file pw";
    cluster.home.authctl(add).succeeded();
    cluster.log_in("nothing").succeeded();
    for act in ["get x", "put x 1", "del x", "ls", "cas x 1 --absent"] {
        let refused = cluster.kv(&format!("{act} --context nothing -o json"));
        refused.refused(5, "permission_denied");
    }
}
