//! Logging in, and what a change to a user does to a running cluster.

use std::time::Duration;

use sealmoot_tests::cluster::Cluster;
use sealmoot_tests::command::fields;
use sealmoot_tests::home::Home;
use sealmoot_tests::poll::eventually;

use crate::everywhere::assert_session_ended;

/// Within which a change must have reached every node: in a second, and the rest is
/// for the machine.
const EVERYWHERE_WITHIN: Duration = Duration::from_secs(3);

#[test]
fn a_login_is_a_context() {
    let cluster = Cluster::shared();
    cluster.home.user("carol", "carol/*:rwdl");
    let (address, realm) = (cluster.ports.address(1), &cluster.realm);
    let login = format!("login carol@{address} --password-file pw -o json");
    let named = format!("{login} --realm {realm} --context mine");
    let data = cluster.kv(&named).data("login");
    assert_eq!(fields(&data), ["context", "expires", "realm", "user"]);
    assert_eq!(data["context"], "mine");
    assert_eq!(data["user"], "carol");
    assert_eq!(data["realm"], realm.as_str());
    cluster.kv("put carol/x 1 --context mine").succeeded();
    // The realm is known by now.
    cluster.kv(&format!("{login} --context mine")).succeeded();
    cluster
        .kv("get carol/x --context no-such -o json")
        .refused(3, "not_found");

    let input = cluster
        .kv_run(&format!(
            "login carol@{address} --realm {realm} --context in --password-stdin"
        ))
        .input(sealmoot_tests::home::PASSWORD);
    input.finish().succeeded();
    cluster.kv("get carol/x --context in").succeeded();
}

#[test]
fn the_first_login_needs_the_realm() {
    let cluster = Cluster::shared();
    let fresh = Home::new();
    let login = format!(
        "login alice@{} --password-file pw -o json",
        cluster.ports.address(0)
    );
    fresh.kv(&login).refused(2, "usage").saying("--realm");
    let with_realm = format!("{login} --realm {}", cluster.realm);
    let data = fresh.kv(&with_realm).data("login");
    assert_eq!(data["context"], "acme-alice");
    assert_eq!(fresh.kv("get sessions/none").exit, 3);
    fresh.kv(&login).succeeded();
}

#[test]
fn contexts_are_listed_chosen_and_deleted() {
    let cluster = Cluster::shared();
    let fresh = Home::new();
    fresh.kv("whoami").refused(10, "not_initialised");
    assert_eq!(
        fresh.kv("context list -o json").data("contexts"),
        serde_json::json!([])
    );
    let login = format!(
        "login alice@{} --realm {} --password-file pw",
        cluster.ports.address(0),
        cluster.realm
    );
    for name in ["one", "two"] {
        fresh.kv(&format!("{login} --context {name}")).succeeded();
    }
    let listed = fresh.kv("context list -o json").data("contexts");
    let current = |index: usize| (&listed[index]["context"], &listed[index]["current"]);
    assert_eq!(current(0), (&"one".into(), &false.into()));
    assert_eq!(current(1), (&"two".into(), &true.into()));
    fresh.kv("context use one").succeeded();
    let data = fresh.kv("whoami -o json").data("context");
    assert_eq!(
        (&data["context"], &data["user"]),
        (&"one".into(), &"alice".into())
    );
    assert_eq!(data["realm"], cluster.realm.as_str());
    assert_eq!(data["expired"], false);
    assert_eq!(
        fresh
            .kv("context show --context two -o json")
            .data("context")["context"],
        "two"
    );
    fresh.kv("context use three").refused(3, "not_found");
    fresh.kv("context delete three").refused(3, "not_found");
    fresh.kv("context use ../one").refused(2, "usage");
    fresh.kv("context delete two").succeeded();
    fresh
        .kv("get sessions/none --context two")
        .refused(3, "not_found");
    assert_eq!(fresh.kv("whoami -o json").data("context")["context"], "one");
    fresh.kv("logout").succeeded();
    fresh.kv("whoami").refused(10, "not_initialised");
}

#[test]
fn without_a_login_nothing_is_done() {
    let cluster = Cluster::shared();
    let fresh = Home::new();
    let endpoint = cluster.ports.address(0);
    for act in [
        "get x",
        "put x 1",
        "del x",
        "ls",
        "cas x 1 --absent",
        "batch",
        "cluster status",
    ] {
        fresh
            .kv(&format!("{act} -o json"))
            .refused(10, "not_initialised");
        let refused = fresh.kv(&format!("{act} --endpoints {endpoint} -o json"));
        refused.refused(10, "not_initialised");
    }
}

#[test]
fn a_disabled_user_is_out_on_every_node() {
    let cluster = Cluster::shared();
    cluster.home.user("dora", "dora/*:rw");
    cluster.log_in("dora").succeeded();
    cluster.kv("put dora/x 1 --context dora").succeeded();
    let disable = cluster
        .home
        .authctl("user disable dora --passphrase-file pp -o json");
    disable.succeeded();
    assert_eq!(disable.document()["warnings"], serde_json::json!([]));
    assert_session_ended(&cluster, "dora", "dora/x", EVERYWHERE_WITHIN);
    cluster.log_in("dora").refused(4, "unauthenticated");

    let enable = "user enable dora --passphrase-file pp";
    cluster.home.authctl(enable).succeeded();
    eventually("dora logs in again", EVERYWHERE_WITHIN, || {
        (cluster.log_in("dora").exit == 0).then_some(())
    });
    assert_eq!(
        cluster.kv("get dora/x --context dora").succeeded().stdout,
        b"1"
    );
}

#[test]
fn a_new_password_ends_old_sessions_and_the_old_password() {
    let cluster = Cluster::shared();
    cluster.home.user("erin", "erin/*:rw");
    cluster.log_in("erin").succeeded();
    cluster.home.secret("new-pw", "entirely-other-password");
    let passwd = "user passwd erin --passphrase-file pp --password-file new-pw";
    cluster.home.authctl(passwd).succeeded();
    assert_session_ended(&cluster, "erin", "erin/x", EVERYWHERE_WITHIN);
    cluster.log_in("erin").refused(4, "unauthenticated");
    for index in 0..3 {
        let address = cluster.ports.address(index);
        let login = format!("login erin@{address} --password-file new-pw --context erin");
        cluster.kv(&login).succeeded();
        cluster.kv("put erin/x 1 --context erin").succeeded();
    }
}

#[test]
fn a_deleted_user_is_gone_and_can_be_made_again() {
    let cluster = Cluster::shared();
    cluster.home.user("fred", "fred/*:rw");
    cluster.log_in("fred").succeeded();
    cluster
        .home
        .authctl("user delete fred --passphrase-file pp --yes")
        .succeeded();
    assert_session_ended(&cluster, "fred", "fred/x", EVERYWHERE_WITHIN);
    cluster.log_in("fred").refused(4, "unauthenticated");
    // Whoever bears the name now has not inherited the old session.
    cluster.home.user("fred", "fred/*:r");
    assert_session_ended(&cluster, "fred", "fred/x", EVERYWHERE_WITHIN);
}

/// The same contexts in another home, as whoever copied them has them.
fn copied(from: &Home, name: &str) -> Home {
    let thief = Home::new();
    let contexts = thief.path("config/contexts");
    std::fs::create_dir_all(&contexts).expect("a directory");
    let of = |home: &Home| home.path("config/contexts").join(name);
    std::fs::copy(of(from), of(&thief)).expect("a context");
    thief
}

#[test]
fn a_logout_ends_the_session_for_whoever_copied_its_key_and_no_other_session() {
    let cluster = Cluster::shared();
    cluster.home.user("greta", "greta/*:rw");
    let fresh = Home::new();
    let login = |name: &str| {
        let (address, realm) = (cluster.ports.address(0), &cluster.realm);
        let login = format!("login greta@{address} --realm {realm} --password-file pw");
        fresh.kv(&format!("{login} --context {name}")).succeeded();
    };
    login("one");
    login("two");
    let thief = copied(&fresh, "one");
    thief.kv("put greta/x 1 --context one").succeeded();
    let data = fresh.kv("logout --context one -o json").data("logout");
    assert_eq!(fields(&data), ["context", "ended", "nodes"]);
    assert_eq!(data["context"], "one");
    assert_eq!(data["ended"], true);
    assert!(data["nodes"].as_u64() >= Some(2), "{data}");
    for index in 0..3 {
        let endpoint = cluster.ports.address(index);
        let get = format!("get greta/x --context one --endpoints {endpoint} -o json");
        let what = format!("n{} refuses the session that ended", index + 1);
        let refused = eventually(&what, EVERYWHERE_WITHIN, || {
            let outcome = thief.kv(&get);
            (outcome.exit == 4).then_some(outcome)
        });
        refused.refused(4, "unauthenticated");
    }
    assert_eq!(
        fresh.kv("get greta/x --context two").succeeded().stdout,
        b"1"
    );
    // The thief's logout finds it over, and that is no failure.
    let data = thief.kv("logout --context one -o json").data("logout");
    assert_eq!(data["ended"], true);
    fresh.kv("logout --context one").refused(3, "not_found");
}

#[test]
fn a_logout_that_reaches_no_node_says_so_and_forgets_the_context() {
    let cluster = Cluster::shared();
    cluster.home.user("hilda", "hilda/*:rw");
    let fresh = Home::new();
    let login = || {
        let (address, realm) = (cluster.ports.address(0), &cluster.realm);
        let login = format!("login hilda@{address} --realm {realm} --password-file pw");
        fresh.kv(&format!("{login} --context one")).succeeded();
    };
    login();
    let thief = copied(&fresh, "one");
    let nowhere = fresh.kv("logout --context one --endpoints 127.0.0.1:1 -o json");
    nowhere.refused(6, "unreachable").saying("session revoke");
    fresh
        .kv("get hilda/x --context one")
        .refused(3, "not_found");
    thief
        .kv("get hilda/none --context one")
        .refused(3, "not_found");
    thief.kv("put hilda/x 1 --context one").succeeded();

    login();
    let thief = copied(&fresh, "one");
    let local = fresh.kv("logout --local --context one");
    local.succeeded().saying("session revoke");
    thief.kv("put hilda/x 2 --context one").succeeded();
}
