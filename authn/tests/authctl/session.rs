//! `session`, `node list` and `passphrase`, without a cluster.

use serde_json::json;

use crate::fixture::Home;

const PP: &str = "--passphrase-file pp";
const ID: &str = "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff";

#[test]
fn a_whole_id_is_revoked_without_any_node_and_once_is_enough() {
    let home = Home::with_realm();
    let none = home.run("session list --revoked -o json").data("revoked");
    assert_eq!(none, json!({"sessions": [], "users": []}));
    let revoked = home.run(&format!("session revoke {ID} {PP} -o json"));
    assert_eq!(
        revoked.data("revoked"),
        json!({"ids": [ID], "user": null, "before": null})
    );
    let again = home.run(&format!("session revoke {ID} {PP}"));
    assert_eq!(again.succeeded().stdout, "✓ revoked 001122334455\n");
    let listed = home.run("session list --revoked -o json").data("revoked");
    assert_eq!(listed["sessions"][0]["id"], ID);
    assert_eq!(listed["sessions"].as_array().map(Vec::len), Some(1));
}

#[test]
fn all_sessions_of_a_user_are_revoked_by_name() {
    let home = Home::with_realm();
    home.run(&format!(
        "user add bob --role app/*:r {PP} --password-file pw"
    ))
    .succeeded();
    let revoked = home.run(&format!("session revoke --user bob --all {PP} -o json"));
    let revoked = revoked.data("revoked");
    assert_eq!(
        (&revoked["user"], &revoked["ids"]),
        (&json!("bob"), &json!([]))
    );
    let listed = home.run("session list --revoked -o json").data("revoked");
    assert_eq!(listed["users"][0]["user"], "bob");
    assert_eq!(listed["users"][0]["before"], revoked["before"]);
    let events = home
        .run("audit tail --local -o jsonl")
        .succeeded()
        .stdout
        .clone();
    assert!(events.contains("sessions_revoked"), "{events}");
}

#[test]
fn revocations_that_mean_nothing_are_refused_and_change_nothing() {
    let home = Home::with_realm();
    for (arguments, exit, code) in [
        ("session revoke", 2, "usage"),
        ("session revoke --all", 2, "usage"),
        ("session revoke --user alice", 2, "usage"),
        (
            &format!("session revoke {ID} --user alice --all"),
            2,
            "usage",
        ),
        ("session revoke abc", 2, "usage"),
        ("session revoke ABCDEF", 2, "usage"),
        (&format!("session revoke {ID}0"), 2, "usage"),
        // Who has not logged in cannot ask what an id begins with.
        ("session revoke 00112233", 10, "not_initialised"),
        ("session list", 10, "not_initialised"),
        ("session list alice --revoked", 2, "usage"),
        ("session revoke --user nobody --all", 3, "not_found"),
        ("passphrase --words 0", 2, "usage"),
        ("passphrase --words 65", 2, "usage"),
    ] {
        let passphrase = match arguments.starts_with("session revoke") {
            true => PP,
            false => "",
        };
        home.run(&format!("{arguments} {passphrase}"))
            .refused(exit, code);
    }
    home.secret("wrong", "another passphrase");
    home.run(&format!("session revoke {ID} --passphrase-file wrong"))
        .refused(4, "unauthenticated");
    let none = home.run("session list --revoked -o json").data("revoked");
    assert_eq!(none, json!({"sessions": [], "users": []}));
}

#[test]
fn called_nodes_are_listed_though_none_answers() {
    let home = Home::with_realm();
    assert_eq!(home.run("node list -o json").data("nodes"), json!([]));
    home.run(&format!("node invite n2=127.0.0.1:2 n1=127.0.0.1:1 {PP}"))
        .succeeded();
    let nodes = home.run("node list -o json").data("nodes");
    let names: Vec<_> = nodes
        .as_array()
        .expect("nodes")
        .iter()
        .map(|node| &node["name"])
        .collect();
    assert_eq!(names, ["n1", "n2"]);
    assert_eq!(nodes[0]["addr"], "127.0.0.1:1");
    assert_eq!(nodes[0]["state"], "unreachable");
    assert!(nodes[0]["cause"].is_string() && nodes[0]["key_id"].is_null());
}

#[test]
fn a_passphrase_has_the_words_and_the_entropy_that_it_says() {
    let home = Home::with_realm();
    let data = home.run("passphrase --words 8 -o json").data("passphrase");
    let text = data["passphrase"].as_str().expect("a text");
    assert_eq!(text.split('-').count(), 8);
    let bits = data["entropy_bits"].as_f64().expect("a number");
    assert!((bits - 8.0 * 7776_f64.log2()).abs() < 1e-9);
    let piped = home.run("passphrase");
    assert_eq!(piped.succeeded().stdout.trim_end().split('-').count(), 6);
    assert!(piped.stderr.contains("77.5 bits"), "{piped:?}");
    assert_ne!(piped.stdout, home.run("passphrase").stdout);
}
