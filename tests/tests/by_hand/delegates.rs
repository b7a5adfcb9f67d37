//! Delegates: asked for, granted, used on a machine of their own, renewed, revoked.

use std::fs;
use std::time::Duration;

use sealmoot_tests::cluster::Cluster;
use sealmoot_tests::command::Outcome;
use sealmoot_tests::home::Home;
use sealmoot_tests::poll::eventually;
use serde_json::{Value, json};

use crate::everywhere::{assert_session_ended, log_in_with_key};

/// Within which a change must have reached every node.
const EVERYWHERE_WITHIN: Duration = Duration::from_secs(5);

/// A machine of the delegate's own; the root is at the cluster's.
pub(crate) struct Delegate {
    home: Home,
    name: &'static str,
}

impl Delegate {
    /// Asks, is granted `terms`, and accepts.
    pub(crate) fn made(cluster: &Cluster, name: &'static str, terms: &str) -> Self {
        let delegate = Self {
            home: Home::new(),
            name,
        };
        let realm = &cluster.realm;
        let ask = format!("admin request {name} --realm {realm} --passphrase-file pp -o json");
        let asked = delegate.home.authctl(&ask).data("request");
        assert_eq!(asked["realm"], json!(realm));
        delegate.carry(&delegate.home, &cluster.home, "request");
        let granted = delegate.granted(cluster, terms).data("delegation");
        assert_eq!(granted["state"], "holds");
        delegate.accepts(cluster).succeeded();
        delegate
    }

    fn carry(&self, from: &Home, to: &Home, kind: &str) {
        let file = format!("{}.{kind}", self.name);
        fs::copy(from.path(&file), to.path(&file)).expect("carried");
    }

    fn granted(&self, cluster: &Cluster, terms: &str) -> Outcome {
        let name = self.name;
        let file = cluster.home.path(format!("{name}.delegation"));
        let _ = fs::remove_file(file);
        let grant = format!("admin grant {name}.request {terms} --passphrase-file pp -o json");
        cluster.home.authctl(&grant)
    }

    pub(crate) fn accepts(&self, cluster: &Cluster) -> Outcome {
        self.carry(&cluster.home, &self.home, "delegation");
        let name = self.name;
        self.home.authctl(&format!(
            "admin accept {name}.delegation --passphrase-file pp -o json"
        ))
    }

    pub(crate) fn authctl(&self, arguments: &str) -> Outcome {
        self.home
            .authctl(&format!("{arguments} --passphrase-file pp -o json"))
    }

    /// Makes a user with a key that the cluster's machine has then.
    pub(crate) fn makes(&self, cluster: &Cluster, user: &str, role: &str) {
        let add = format!("user add {user} --role {role} --no-password");
        quiet(&self.authctl(&add));
        quiet(&self.authctl(&format!("cred issue {user} --new {user}-key")));
        let file = format!("{user}-key");
        fs::copy(self.home.path(&file), cluster.home.path(&file)).expect("carried");
    }
}

#[track_caller]
fn quiet(outcome: &Outcome) {
    let document: Value = outcome.succeeded().document();
    assert_eq!(document["warnings"], json!([]), "{document}");
}

#[test]
fn users_of_a_delegate_have_what_was_delegated_until_it_is_revoked() {
    let cluster = Cluster::form();
    let dana = Delegate::made(&cluster, "dana", "app/*:rwdl --until 90d");
    dana.makes(&cluster, "bob", "app/*:rw");
    log_in_with_key(&cluster, "bob", 1, "bob-key").succeeded();
    cluster.kv("put app/x 1 --context bob").succeeded();
    cluster
        .kv("get log/x --context bob -o json")
        .refused(5, "permission_denied");

    // What the delegate may not do.
    dana.authctl("user add carl --role log/*:r --no-password")
        .refused(5, "permission_denied");
    dana.authctl("user add carl --role admin --no-password")
        .refused(5, "permission_denied");
    dana.authctl("user add dana --no-password")
        .refused(5, "permission_denied");
    dana.authctl("user disable alice").refused(3, "not_found");
    dana.authctl("role add ops app/*:r")
        .refused(5, "permission_denied");
    let alice = dana.authctl("user add alice --no-password").document();
    let warned = alice["warnings"].to_string();
    assert!(warned.contains("belongs to the root"), "{warned}");
    log_in_alice(&cluster);

    // The root learns of the users, and its roles reach the delegate.
    let root = |arguments: &str| {
        let arguments = format!("{arguments} --passphrase-file pp -o json");
        cluster.home.authctl(&arguments)
    };
    root("user show bob").failed(2, "usage");
    cluster
        .home
        .authctl("user show bob -o json")
        .refused(3, "not_found")
        .saying("admin refresh");
    root("admin refresh").succeeded();
    cluster.home.authctl("user show bob").succeeded();
    root("role add ops app/*:r").succeeded();
    dana.authctl("user add dave --role ops --no-password")
        .refused(3, "not_found")
        .saying("admin refresh");
    quiet(&dana.authctl("admin refresh"));
    quiet(&dana.authctl("user add dave --role ops --no-password"));
    quiet(&dana.authctl("user disable dave"));

    // A role that grows later grants no more through the delegate.
    dana.authctl("user role bob --add ops").succeeded();
    root("role grant ops log/*:rw").succeeded();
    cluster
        .kv("put log/x 1 --context bob -o json")
        .refused(5, "permission_denied");
    cluster.kv("get app/x --context bob").succeeded();

    root("admin revoke dana")
        .refused(2, "usage")
        .saying("--adopt");
    let revoked = root("admin revoke dana --drop --reason left").data("delegation");
    let dropped = revoked["dropped"].as_array().expect("names");
    assert!(dropped.contains(&json!("bob")), "{revoked}");
    assert_session_ended(&cluster, "bob", "app/x", EVERYWHERE_WITHIN);
    log_in_with_key(&cluster, "bob", 2, "bob-key").refused(4, "unauthenticated");
    dana.authctl("user enable dave")
        .refused(5, "permission_denied")
        .saying("revoked");
    let listed = cluster
        .home
        .authctl("admin list -o json")
        .data("delegations");
    assert_eq!(listed[0]["state"], "revoked");
}

fn log_in_alice(cluster: &Cluster) {
    cluster.log_in("alice").succeeded();
}

#[test]
fn users_of_a_delegate_live_on_when_the_root_adopts_them_and_through_a_restart() {
    let mut cluster = Cluster::form();
    let erin = Delegate::made(&cluster, "erin", "app/*:rwdl --until 90d");
    erin.makes(&cluster, "bob", "app/*:rw");
    erin.makes(&cluster, "carl", "app/*:rw");
    log_in_with_key(&cluster, "bob", 0, "bob-key").succeeded();
    cluster.kv("put app/x 1 --context bob").succeeded();

    // Narrower: carl ends, because carl had more; bob was given less before.
    erin.authctl("user role bob --remove app/*:rw --add app/*:r")
        .succeeded();
    let renewed = erin.granted(&cluster, "app/*:r --until 30d");
    assert!(
        renewed.succeeded().document()["warnings"]
            .to_string()
            .contains("carl")
    );
    erin.accepts(&cluster).succeeded();
    cluster.kv("get app/x --context bob").succeeded();
    log_in_with_key(&cluster, "carl", 1, "carl-key").refused(4, "unauthenticated");

    // A node that was away learns of it, and one that starts again has not forgotten.
    cluster.stop(2);
    let revoke = "admin revoke erin --adopt --passphrase-file pp -o json";
    let revoked = cluster.home.authctl(revoke).data("delegation");
    assert_eq!(revoked["adopted"], json!(["bob"]));
    cluster.stop(1);
    cluster.start(&[1, 2]);
    for node in 0..3 {
        let endpoint = cluster.ports.address(node);
        let get = format!("get app/x --context bob --endpoints {endpoint}");
        let what = format!("n{} knows bob as the root's", node + 1);
        eventually(&what, EVERYWHERE_WITHIN, || {
            (cluster.kv(&get).exit == 0).then_some(())
        });
    }
    log_in_with_key(&cluster, "carl", 2, "carl-key").refused(4, "unauthenticated");
    erin.authctl("user disable bob")
        .refused(5, "permission_denied")
        .saying("revoked");
}

#[test]
fn a_delegate_sets_passwords_of_its_own_users_and_of_no_others() {
    let mut cluster = Cluster::form();
    cluster.home.user("rita", "app/*:r");
    let dana = Delegate::made(&cluster, "dana", "app/*:rwdl --until 90d");
    let log_in = |cluster: &Cluster, user: &str, node: usize, password: &str| {
        let (address, realm) = (cluster.ports.address(node), &cluster.realm);
        cluster.kv(&format!(
            "login {user}@{address} --realm {realm} --password-file {password} --context {user} -o json"
        ))
    };
    quiet(&dana.authctl("user add bob --role app/*:rw --password-file pw"));
    log_in(&cluster, "bob", 1, "pw").succeeded();
    cluster.kv("put app/x 1 --context bob").succeeded();
    for home in [&dana.home, &cluster.home] {
        home.secret("new-pw", "entirely-other-password");
    }
    quiet(&dana.authctl("user passwd bob --password-file new-pw"));
    assert_session_ended(&cluster, "bob", "app/x", EVERYWHERE_WITHIN);
    log_in(&cluster, "bob", 0, "pw").refused(4, "unauthenticated");
    log_in(&cluster, "bob", 2, "new-pw").succeeded();

    // Nobody else's: neither the root's users nor names that no delegate may have.
    dana.authctl("user add rita --password-file pw")
        .refused(5, "permission_denied")
        .saying("belongs to");
    for name in ["dana", "root"] {
        dana.authctl(&format!("user add {name} --password-file pw"))
            .refused(5, "permission_denied");
    }
    log_in(&cluster, "rita", 0, "pw").succeeded();
    let event = |outcome: &str| {
        let tail = "audit tail --context alice -o json";
        let events = cluster.home.authctl(tail).succeeded().stdout.clone();
        String::from_utf8(events).is_ok_and(|events| {
            events
                .lines()
                .any(|line| line.contains("password_registered") && line.contains(outcome))
        })
    };
    assert!(event("done") && event("refused"));

    let revoke = "admin revoke dana --drop --passphrase-file pp -o json";
    cluster.home.authctl(revoke).succeeded();
    dana.authctl("user passwd bob --password-file pw")
        .refused(5, "permission_denied");
    for node in 0..3 {
        cluster.stop(node);
    }
    dana.authctl("user add emil --password-file pw")
        .refused(6, "unreachable")
        .saying("--key");
}
