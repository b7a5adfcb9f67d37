//! Logins that fail tell nothing about why.

use sealmoot_tests::cluster::Cluster;
use sealmoot_tests::command::Outcome;
use sealmoot_tests::home::Home;

use crate::assert_serves;

#[test]
fn wrong_password_unknown_user_and_disabled_user_look_the_same() {
    let cluster = Cluster::shared();
    let home = &cluster.home;
    home.secret("wrong-pw", "this is not it");
    home.user("gone", "x/*:r");
    home.user("left", "x/*:r");
    home.authctl("user disable gone --passphrase-file pp")
        .succeeded();
    home.authctl("user delete left --passphrase-file pp --yes")
        .succeeded();

    for form in ["", "-o json"] {
        let login = |user: &str, password: &str, index: usize| {
            let (address, realm) = (cluster.ports.address(index), &cluster.realm);
            cluster.kv(&format!(
                "login {user}@{address} --realm {realm} --password-file {password} \
                 --context refused {form}"
            ))
        };
        let outcomes: Vec<Outcome> = [
            ("alice", "wrong-pw"),
            ("nobody", "pw"),
            ("nobody", "wrong-pw"),
            ("gone", "pw"),
            ("gone", "wrong-pw"),
            ("left", "pw"),
        ]
        .iter()
        .enumerate()
        // No more than the free attempts at one account: the next would be throttled.
        .map(|(at, (user, password))| login(user, password, at % 3))
        .collect();
        for outcome in &outcomes {
            outcome.refused(4, "unauthenticated");
            assert_eq!(outcome.stderr, outcomes[0].stderr);
        }
    }
    cluster
        .kv("get x --context refused -o json")
        .refused(3, "not_found");
    cluster.log_in("alice").succeeded();
    assert_serves(&cluster, "logins/x");
}

#[test]
fn a_login_at_another_realm_than_the_pinned_one_sends_no_password() {
    let cluster = Cluster::shared();
    let other = Home::new();
    let realm = other.realm("other");
    for index in 0..3 {
        let address = cluster.ports.address(index);
        let login = format!("login alice@{address} --realm {realm} --password-file pw -o json");
        other.kv(&login).refused(4, "wrong_realm");
    }
    assert_serves(&cluster, "logins/y");
}

#[test]
fn a_session_of_another_realm_is_worth_nothing() {
    let cluster = Cluster::shared();
    let other = Cluster::form();
    for index in 0..3 {
        let endpoint = cluster.ports.address(index);
        let get = other.kv(&format!("get x --endpoints {endpoint} -o json"));
        get.refused(4, "wrong_realm");
    }
    assert_serves(&cluster, "logins/z");
    assert_serves(&other, "logins/z");
}

#[test]
fn forms_that_are_none_are_refused_before_anybody_is_asked() {
    let cluster = Cluster::shared();
    let realm = &cluster.realm;
    let address = cluster.ports.address(0);
    for at in [
        "alice",
        "@",
        "alice@",
        &format!("@{address}"),
        "alice@host:port",
    ] {
        let login = cluster
            .kv_run("login -o json --password-file pw --realm")
            .arg(realm)
            .arg(at);
        login.finish().refused(2, "usage");
    }
    for pinned in [
        "moot1",
        "acme",
        &realm[..realm.len() - 1],
        &format!("{realm}q"),
    ] {
        let login = format!("login alice@{address} --password-file pw --realm {pinned} -o json");
        cluster.kv(&login).refused(2, "usage");
    }
    let without = format!("login alice@{address} --realm {realm} -o json");
    cluster.kv(&without).refused(2, "usage");
    cluster
        .kv(&format!("{without} --password-file none"))
        .refused(2, "config");
}

#[test]
fn nobody_answers_where_nobody_is() {
    let cluster = Cluster::shared();
    let free = sealmoot_tests::ports::Ports::reserve(1);
    let (address, realm) = (free.address(0), &cluster.realm);
    let login = format!("login alice@{address} --realm {realm} --password-file pw");
    cluster
        .kv(&format!("{login} --timeout 1s -o json"))
        .refused(6, "unreachable");
}
