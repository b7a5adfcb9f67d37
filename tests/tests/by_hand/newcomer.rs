//! What stands in a newcomer's way: used invites that lie about, refusals that name
//! nothing, contexts that switch unseen, failures without the next step.

use std::fs;
use std::time::Duration;

use sealmoot_tests::cluster::{Cluster, NAMES, invite};
use sealmoot_tests::home::Home;
use sealmoot_tests::poll::eventually;
use sealmoot_tests::ports::Ports;

const WITHIN: Duration = Duration::from_secs(60);

#[test]
fn a_used_invite_is_destroyed_by_a_later_start_and_a_copy_of_it_is_on_record() {
    let home = Home::new();
    let realm = home.realm("acme");
    home.user("alice", "admin");
    let ports = Ports::reserve(3);
    invite(&home, &ports, "").succeeded();
    let copy = fs::read(home.path("n2.invite")).expect("an invite");
    home.kvd("join n1.invite --data n1 --daemonize").succeeded();
    let login = format!(
        "login alice@{} --realm {realm} --password-file pw --timeout 5s",
        ports.address(0)
    );
    home.kv(&login)
        .refused(10, "not_initialised")
        .saying("the cluster of n1, n2, n3 has not formed yet")
        .saying("help: each of its nodes has to join");
    home.kvd("stop --data n1").succeeded();
    assert!(home.path("n1.invite").exists());
    home.kvd("start --data n1 --daemonize").succeeded();
    for name in &NAMES[1..] {
        let join = format!("join {name}.invite --data {name} --daemonize");
        home.kvd(&join).succeeded();
    }
    for name in NAMES {
        let invite = home.path(format!("{name}.invite"));
        eventually(&format!("{name}.invite is destroyed"), WITHIN, || {
            (!invite.exists()).then_some(())
        });
    }
    home.kvd("join n1.invite --data again -o json")
        .refused(2, "config")
        .saying("kvd start");

    // Somebody has kept a copy, and comes with it while the real node is away.
    home.kvd("stop --data n2").succeeded();
    home.kvd("stop --data n2")
        .refused(10, "wrong_state")
        .saying("help: ");
    home.secret("copy.invite", &copy);
    home.kvd("join copy.invite --data thief --key-file thief.key")
        .refused(4, "invite_used");
    home.kvd("start --data n2 --daemonize").succeeded();
    home.kv(login.trim_end_matches(" --timeout 5s")).succeeded();
    eventually("the copy is on record", WITHIN, || {
        let tail = home.authctl("audit tail --limit 1000 -o json");
        let events = tail.data("audit");
        let mut events = events.as_array().expect("an array").iter();
        events
            .any(|event| {
                event["what"] == "invite_refused"
                    && event["outcome"] == "refused"
                    && event["subject"]["name"] == "n2"
                    && event["who"]["origin"].is_string()
            })
            .then_some(())
    });
    for name in NAMES {
        home.kvd(&format!("stop --data {name}")).succeeded();
    }
    home.kvd("verify --data n1 -o json").succeeded();
}

#[test]
fn contexts_say_what_they_are_for() {
    let cluster = Cluster::shared();
    let (fresh, other) = (Home::new(), Home::new());
    let stranger = other.realm("elsewhere");
    let at = |index: usize| cluster.ports.address(index);
    let login = format!("login alice@{} --password-file pw", at(0));
    let named = |name: &str| format!("{login} --realm {} --context {name}", cluster.realm);
    fresh.kv(&named("one")).succeeded();
    fresh.kv(&named("two")).succeeded();
    fresh.kv("context use one").succeeded();
    // Nothing is switched by a login that fails.
    fresh.secret("wrong", b"wrong");
    fresh
        .kv(&format!("login alice@{} --password-file wrong", at(0)))
        .refused(4, "unauthenticated");
    fresh
        .kv(&format!("{login} --realm {stranger}"))
        .refused(4, "wrong_realm");
    assert_eq!(fresh.kv("whoami -o json").data("context")["context"], "one");
    // An address that any context knows has a pin, whoever logs in there.
    fresh.kv("logout").succeeded();
    fresh
        .kv("whoami")
        .refused(10, "not_initialised")
        .saying("no current context")
        .saying("kv context use NAME")
        .saying("two");
    fresh.kv(&login.replace(&at(0), &at(1))).succeeded();
    fresh
        .kv("context use nobody")
        .refused(3, "not_found")
        .saying("kv context list");
}

#[test]
fn a_refusal_names_the_key_and_whom_to_ask_and_the_log_names_both() {
    let cluster = Cluster::shared();
    cluster.home.user("nina", "nina/*:r");
    cluster.log_in("nina").succeeded();
    cluster
        .kv("put app/for-nina 1 --context nina")
        .refused(5, "permission_denied")
        .saying("nina may not write app/for-nina")
        .saying("ask an administrator");
    let disable = "user disable nina --passphrase-file pp";
    cluster.home.authctl(disable).succeeded();
    eventually("nina's session is refused", WITHIN, || {
        let refused = cluster.kv("get nina/x --context nina");
        (refused.exit == 4).then_some(())
    });
    let tail = cluster
        .home
        .authctl("audit tail --context alice --limit 1000 -o json");
    let events = tail.data("audit");
    let events = events.as_array().expect("an array");
    let of = |what: &str, field: &str, value: &str| {
        events.iter().any(|event| {
            event["what"] == what
                && event["outcome"] == "refused"
                && event["subject"][field] == value
        })
    };
    assert!(of("permission", "key", "app/for-nina"), "{events:#?}");
    assert!(of("session", "name", "nina"), "{events:#?}");
}
