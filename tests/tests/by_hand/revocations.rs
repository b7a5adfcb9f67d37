//! Sessions listed and ended by an administrator, and nodes listed.

use std::time::Duration;

use sealmoot_tests::cluster::{Cluster, NAMES};
use sealmoot_tests::command::fields;
use sealmoot_tests::poll::eventually;

/// Within which a revocation must have reached every node: in a second, and the rest is
/// for the machine.
const EVERYWHERE_WITHIN: Duration = Duration::from_secs(3);

/// The contexts of two sessions of a user, and the whole ids of the sessions.
fn two_sessions(cluster: &Cluster, user: &str) -> [(String, String); 2] {
    cluster.home.user(user, &format!("{user}/*:rwdl"));
    let mut known: Vec<String> = Vec::new();
    ["one", "two"].map(|which| {
        let context = format!("{user}-{which}");
        let address = cluster.ports.address(0);
        // Each from another machine: a context of the same user lends its key.
        let login = format!("login {user}@{address} --password-file pw --context {context}");
        let realm = &cluster.realm;
        let config = cluster.home.path(&context);
        let login = cluster.kv_run(&format!("{login} --realm {realm}"));
        login
            .env("SEALMOOT_CONFIG_DIR", config.display().to_string())
            .finish()
            .succeeded();
        get(cluster, &context, user, 0).refused(3, "not_found");
        let listed = list(cluster, user);
        let mut ids = listed
            .into_iter()
            .map(|one| one["id"].as_str().expect("an id").to_owned());
        let id = ids.find(|id| !known.contains(id)).expect("a new session");
        known.push(id.clone());
        (context, id)
    })
}

fn get(
    cluster: &Cluster,
    context: &str,
    user: &str,
    node: usize,
) -> sealmoot_tests::command::Outcome {
    let endpoint = cluster.ports.address(node);
    let get = format!("get {user}/x --context {context} --endpoints {endpoint} -o json");
    let config = cluster.home.path(context).display().to_string();
    cluster
        .kv_run(&get)
        .env("SEALMOOT_CONFIG_DIR", &config)
        .finish()
}

fn list(cluster: &Cluster, user: &str) -> Vec<serde_json::Value> {
    let list = format!("session list {user} --context alice -o json");
    let listed = cluster.home.authctl(&list).data("sessions");
    listed.as_array().expect("an array").clone()
}

#[track_caller]
fn assert_over(cluster: &Cluster, context: &str, user: &str) {
    for node in 0..3 {
        let what = format!("n{} refuses {context}", node + 1);
        let refused = eventually(&what, EVERYWHERE_WITHIN, || {
            let outcome = get(cluster, context, user, node);
            (outcome.exit == 4).then_some(outcome)
        });
        refused.refused(4, "unauthenticated");
    }
}

#[test]
fn one_session_is_revoked_by_the_beginning_of_its_id_and_then_all_of_the_user() {
    let cluster = Cluster::shared();
    let [(first, id), (second, other)] = two_sessions(&cluster, "gwen");
    let listed = list(&cluster, "gwen");
    let shown = listed
        .iter()
        .find(|one| one["id"] == id.as_str())
        .expect("listed");
    assert_eq!(
        fields(shown),
        [
            "expires",
            "from",
            "id",
            "idle_seconds",
            "issued",
            "last_seen",
            "made_by",
            "nodes",
            "user"
        ]
    );
    assert_eq!(
        (&shown["user"], &shown["made_by"]),
        (&"gwen".into(), &"password".into())
    );
    let table = cluster.home.authctl("session list gwen --context alice");
    assert!(table.succeeded().text().contains(&id[..12]));

    let revoke = format!(
        "session revoke {} --context alice --passphrase-file pp -o json",
        &id[..12]
    );
    let revoked = cluster.home.authctl(&revoke);
    assert_eq!(revoked.document()["warnings"], serde_json::json!([]));
    assert_eq!(revoked.data("revoked")["ids"], serde_json::json!([id]));
    assert_over(&cluster, &first, "gwen");
    get(&cluster, &second, "gwen", 1).refused(3, "not_found");
    let ids: Vec<_> = list(&cluster, "gwen")
        .iter()
        .map(|one| one["id"].clone())
        .collect();
    assert_eq!(ids, [other.as_str()]);
    // Whose key was revoked logs in again, with another.
    let address = cluster.ports.address(2);
    let config = cluster.home.path(&first).display().to_string();
    let login = format!("login gwen@{address} --password-file pw --context {first}");
    cluster
        .kv_run(&login)
        .env("SEALMOOT_CONFIG_DIR", &config)
        .finish()
        .succeeded();
    get(&cluster, &first, "gwen", 2).refused(3, "not_found");

    let revoke = "session revoke --user gwen --all --passphrase-file pp";
    cluster.home.authctl(revoke).succeeded();
    assert_over(&cluster, &first, "gwen");
    assert_over(&cluster, &second, "gwen");
    assert_eq!(list(&cluster, "gwen"), [] as [serde_json::Value; 0]);
}

#[test]
fn the_sessions_of_others_are_for_administrators() {
    let cluster = Cluster::shared();
    let [(context, id), _] = two_sessions(&cluster, "hugo");
    let config = cluster.home.path(&context).display().to_string();
    let asked = |arguments: &str| {
        let run = cluster
            .home
            .run(sealmoot_tests::binaries::Program::Authctl, arguments);
        run.env("SEALMOOT_CONFIG_DIR", &config).finish()
    };
    asked(&format!("session list --context {context} -o json")).refused(5, "permission_denied");
    asked(&format!("session list alice --context {context} -o json"))
        .refused(5, "permission_denied");
    let own = asked(&format!("session list hugo --context {context} -o json")).data("sessions");
    let mut ids = own
        .as_array()
        .expect("an array")
        .iter()
        .map(|one| &one["id"]);
    assert!(ids.any(|own| own == id.as_str()));
    cluster
        .home
        .authctl("session revoke 0000 --context alice --passphrase-file pp -o json")
        .refused(3, "not_found");
}

#[test]
fn the_nodes_are_listed_with_their_keys() {
    let cluster = Cluster::shared();
    let nodes = cluster.home.authctl("node list -o json").data("nodes");
    let nodes = nodes.as_array().expect("an array");
    assert_eq!(nodes.len(), 3);
    for (index, node) in nodes.iter().enumerate() {
        assert_eq!(fields(node), ["addr", "cause", "key_id", "name", "state"]);
        assert_eq!(node["name"], NAMES[index]);
        assert_eq!(node["addr"], cluster.ports.address(index));
        assert_eq!(
            (&node["state"], &node["cause"]),
            (&"up".into(), &serde_json::Value::Null)
        );
        assert_eq!(node["key_id"].as_str().map(str::len), Some(64));
    }
}
