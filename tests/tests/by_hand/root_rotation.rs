//! A realm is handed over to the key that comes after its root, while a cluster runs.

use std::fs;
use std::path::Path;
use std::time::Duration;

use sealmoot_tests::cluster::Cluster;
use sealmoot_tests::command::Outcome;
use sealmoot_tests::home::Home;
use sealmoot_tests::poll::eventually;
use serde_json::json;

use crate::delegates::Delegate;
use crate::everywhere::log_in_with_key;

const WITHIN: Duration = Duration::from_secs(60);

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("made");
    for entry in fs::read_dir(from).expect("listed") {
        let entry = entry.expect("listed");
        let place = to.join(entry.file_name());
        match entry.file_type().expect("a kind").is_dir() {
            true => copy(&entry.path(), &place),
            false => drop(fs::copy(entry.path(), &place).expect("copied")),
        }
    }
}

/// The machine of a thief who has the realm's directory and its passphrase, and not the
/// heir.
fn thief(cluster: &Cluster) -> Home {
    let thief = Home::new();
    let realm = "share/acme";
    let from = cluster.home.path(realm);
    assert!(from.is_dir(), "{}", from.display());
    copy(&from, &thief.path(realm));
    fs::remove_file(thief.path(realm).join("heir.sealed")).expect("kept elsewhere");
    thief
}

fn as_root(home: &Home, arguments: &str) -> Outcome {
    home.authctl(&format!("{arguments} --passphrase-file pp -o json"))
}

#[test]
fn sessions_users_and_nodes_go_on_under_the_heir_also_those_that_were_down() {
    let mut cluster = Cluster::form();
    cluster.kv("put rotation/x 1").succeeded();
    let delegate = Delegate::made(&cluster, "dana", "app/*:rwdl --until 90d");
    delegate.makes(&cluster, "bob", "app/*:rw");
    cluster.stop(2);
    // It takes a yes.
    as_root(&cluster.home, "realm rotate-root").refused(2, "usage");
    let rotated = as_root(&cluster.home, "realm rotate-root --yes");
    let data = rotated.data("realm");
    assert_eq!(data["root"]["number"], 1);
    assert_eq!(data["id"], json!(cluster.realm));
    assert_eq!(data["lost"], json!([]));
    assert_eq!(data["delegations"], json!(["./dana.delegation"]));
    // The session that was open before reads and writes.
    cluster.kv("put rotation/x 2").succeeded();
    assert_eq!(cluster.kv("get rotation/x").succeeded().stdout, b"2");
    cluster.log_in("alice").succeeded();
    log_in_with_key(&cluster, "bob", 1, "bob-key").succeeded();
    // The one that was down hears of it from the others.
    cluster.start(&[2]);
    let at_third = cluster.ports.address(2);
    let realm = &cluster.realm;
    eventually("n3 knows the new root", WITHIN, || {
        let roots = cluster.home.authctl("node list -o json");
        (roots.exit == 0).then_some(())
    });
    as_root(
        &cluster.home,
        "user add carol --role app/*:r --password-file pw",
    )
    .succeeded();
    let login = format!(
        "login carol@{at_third} --realm {realm} --password-file pw --context carol -o json"
    );
    eventually("carol logs in at n3", WITHIN, || {
        (cluster.kv(&login).exit == 0).then_some(())
    });
    // The delegate hears that the realm was handed over, and goes on with what it is given.
    delegate
        .authctl("user disable bob")
        .refused(10, "wrong_state")
        .saying("admin accept");
    delegate.accepts(&cluster).succeeded();
    delegate.authctl("user disable bob").succeeded();
    log_in_with_key(&cluster, "bob", 0, "bob-key").refused(4, "unauthenticated");
    // And once more: the heir of the heir.
    let again = as_root(&cluster.home, "realm rotate-root --yes").data("realm");
    assert_eq!(again["root"]["number"], 2);
    cluster.kv("put rotation/x 3").succeeded();
}

#[test]
fn a_cluster_is_taken_back_from_who_stole_the_root_key() {
    let cluster = Cluster::form();
    cluster.kv("put rotation/x 1").succeeded();
    let stolen = thief(&cluster);
    let thief = thief(&cluster);
    as_root(&thief, "realm rotate-root --yes").refused(3, "not_found");
    as_root(&thief, "user add mallory --role admin --password-file pw").succeeded();
    let realm = &cluster.realm;
    let first = cluster.ports.address(0);
    let mallory = |context: &str| {
        cluster.kv(&format!(
            "login mallory@{first} --realm {realm} --password-file pw --context {context} -o json"
        ))
    };
    mallory("mallory").succeeded();
    as_root(&thief, "user disable alice").succeeded();
    // The thief locks everybody out: the nodes believe each other no more.
    as_root(&thief, "node revoke n1").succeeded();
    as_root(&thief, "node revoke n2 --yes").succeeded();
    as_root(&thief, "node revoke n3 --yes").succeeded();

    let refused = as_root(&cluster.home, "realm rotate-root --yes");
    refused
        .refused(8, "conflict")
        .saying("user mallory")
        .saying("user alice")
        .saying("--discard-unknown");
    assert_eq!(
        cluster.home.authctl("realm show -o json").data("realm")["root"]["number"],
        0
    );
    let rotated = as_root(&cluster.home, "realm rotate-root --yes --discard-unknown");
    assert_eq!(rotated.data("realm")["root"]["number"], 1);
    // What the thief did has ended, and what the thief does is refused.
    eventually("alice logs in again", WITHIN, || {
        (cluster.log_in("alice").exit == 0).then_some(())
    });
    eventually("the cluster serves again", WITHIN, || {
        (cluster.kv("put rotation/x 2").exit == 0).then_some(())
    });
    cluster
        .kv("get rotation/x --context mallory -o json")
        .refused(4, "unauthenticated");
    mallory("again").refused(4, "unauthenticated");
    let eve = as_root(&stolen, "user add eve --role admin --password-file pw").document();
    let warned = eve["warnings"].to_string();
    assert!(warned.contains("former root"), "{warned}");
    // On record at a node, with whose it was.
    eventually("it is on record", WITHIN, || {
        let tail = cluster
            .home
            .authctl("audit tail --context alice --limit 1000 -o json");
        let events = String::from_utf8_lossy(&tail.stdout).into_owned();
        let of_eve = |line: &str| line.contains("old_root_refused") && line.contains("eve");
        (tail.exit == 0 && events.lines().any(of_eve)).then_some(())
    });
    let eve = format!("login eve@{first} --realm {realm} --password-file pw --context eve -o json");
    cluster.kv(&eve).refused(4, "unauthenticated");
}
