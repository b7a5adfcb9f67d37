//! Keys: enrolled, used from files and agents, narrowed, revoked.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use sealmoot_tests::agent::{SshAgent, has_openssh, make_key};
use sealmoot_tests::binaries::Program;
use sealmoot_tests::cluster::Cluster;
use sealmoot_tests::command::{Outcome, fields};
use sealmoot_tests::home::Home;
use serde_json::{Value, json};

use crate::everywhere::{assert_session_ended, log_in_with_key};

/// Within which a change must have reached every node.
const EVERYWHERE_WITHIN: Duration = Duration::from_secs(3);

/// Adds a user who has no password.
fn keyed_user(home: &Home, name: &str, role: &str) {
    let add = format!("user add {name} --role {role} --no-password --passphrase-file pp");
    home.authctl(&add).succeeded();
}

/// Enrols a key; what is said of it.
fn issue(home: &Home, arguments: &str) -> Value {
    let issue = format!("cred issue {arguments} --passphrase-file pp -o json");
    let issued = home.authctl(&issue);
    assert_eq!(issued.succeeded().document()["warnings"], json!([]));
    issued.data("credential")
}

fn id_of(credential: &Value) -> &str {
    credential["id"].as_str().expect("an id")
}

#[test]
fn a_key_in_a_real_agent_logs_in_until_it_is_revoked() {
    if !has_openssh("a_key_in_a_real_agent_logs_in_until_it_is_revoked") {
        return;
    }
    let cluster = Cluster::shared();
    let home = &cluster.home;
    let agent = SshAgent::start(home, "agent-gina");
    make_key(home, "gina-key", "ed25519", "");
    make_key(home, "gina-spare", "ed25519", "");
    make_key(home, "gina-old", "ecdsa", "");
    agent.add(home, "gina-key gina-spare gina-old");
    fs::remove_file(home.path("gina-key")).expect("only the agent has it now");

    keyed_user(home, "gina", "gina/*:rwd");
    let enrol = |more: &str| {
        let issue = format!("cred issue gina --agent {more} --passphrase-file pp -o json");
        home.run(Program::Authctl, &issue)
            .env("SSH_AUTH_SOCK", agent.socket())
            .finish()
    };
    enrol("").refused(2, "usage").saying("gina-spare");
    enrol("--comment nothing").refused(3, "not_found");
    enrol("--comment gina-old")
        .refused(2, "config")
        .saying("ecdsa-sha2-nistp256");
    let credential = enrol("--comment gina-key").data("credential");
    assert_eq!(credential["label"], "gina-key");
    assert_eq!(credential["kind"], "device");

    let login = |node: usize, more: &str| {
        let (address, realm) = (cluster.ports.address(node), &cluster.realm);
        let login =
            format!("login gina@{address} --realm {realm} --agent {more} --context gina -o json");
        cluster
            .kv_run(&login)
            .env("SSH_AUTH_SOCK", agent.socket())
            .finish()
    };
    let fingerprint = credential["fingerprint"].as_str().expect("a fingerprint");
    for node in 0..3 {
        let data = login(node, &format!("--fingerprint {fingerprint}")).data("login");
        assert_eq!(fields(&data), ["context", "expires", "realm", "user"]);
        let endpoint = cluster.ports.address(node);
        let put = format!("put gina/x {node} --context gina --endpoints {endpoint}");
        cluster.kv(&put).succeeded();
        let got = cluster.kv("get gina/x --context gina");
        assert_eq!(got.succeeded().text(), node.to_string());
    }
    cluster
        .kv("get other/x --context gina -o json")
        .refused(5, "permission_denied");
    // Another key of the same agent is nobody's.
    login(0, "--comment gina-spare").refused(4, "unauthenticated");

    let revoke = format!(
        "cred revoke gina {} --passphrase-file pp -o json",
        id_of(&credential)
    );
    let revoked = home.authctl(&revoke);
    assert_eq!(revoked.succeeded().document()["warnings"], json!([]));
    assert_session_ended(&cluster, "gina", "gina/x", EVERYWHERE_WITHIN);
    for node in 0..3 {
        login(node, "--comment gina-key").refused(4, "unauthenticated");
    }
    home.authctl(&revoke).refused(3, "not_found");
}

#[test]
fn a_service_key_has_the_rights_that_both_user_and_key_have() {
    let cluster = Cluster::shared();
    let home = &cluster.home;
    home.user("hal", "hal/*:rwl");
    cluster.log_in("hal").succeeded();
    cluster.kv("put hal/config/a 1 --context hal").succeeded();
    cluster.kv("put hal/secret 1 --context hal").succeeded();
    let credential = issue(
        home,
        "hal --new hal-service --service --label backup --ttl 90d \
         --grant hal/config/*:rd --grant other/*:rw",
    );
    assert_eq!(credential["kind"], "service");
    assert_eq!(credential["label"], "backup");
    assert_eq!(
        credential["grants"],
        json!(["hal/config/*:rd", "other/*:rw"])
    );
    let mode = fs::metadata(home.path("hal-service")).expect("written");
    assert_eq!(mode.permissions().mode() & 0o777, 0o600);

    log_in_with_key(&cluster, "hal", 1, "hal-service").succeeded();
    let hal = |arguments: &str| cluster.kv(&format!("{arguments} --context hal -o json"));
    assert_eq!(hal("get hal/config/a").data("get")["value"], "1");
    for refused in [
        // The user may, the key may not.
        "get hal/secret",
        "put hal/config/a 2",
        "ls hal/config/",
        "cas hal/config/a 2 --expect-rev 1",
        // The key may, the user may not.
        "del hal/config/a",
        "get other/x",
        "put other/x 1",
        // Neither.
        "put x 1",
    ] {
        hal(refused).refused(5, "permission_denied");
    }
    // By the password the same user has all of it.
    cluster.log_in("hal").succeeded();
    hal("get hal/secret").succeeded();
}

#[test]
fn a_replaced_key_is_out_and_its_heir_is_in() {
    let cluster = Cluster::shared();
    let home = &cluster.home;
    keyed_user(home, "iris", "iris/*:rw");
    let first = issue(home, "iris --new iris-1 --label laptop --grant iris/x:rw");
    log_in_with_key(&cluster, "iris", 0, "iris-1").succeeded();
    cluster.kv("put iris/x 1 --context iris").succeeded();
    let rotate = format!(
        "cred rotate iris {} --new iris-2 --passphrase-file pp -o json",
        id_of(&first)
    );
    let second = home.authctl(&rotate).data("credential");
    assert_ne!(second["id"], first["id"]);
    for same in ["label", "kind", "grants", "expires"] {
        assert_eq!(second[same], first[same], "{same}");
    }
    assert_session_ended(&cluster, "iris", "iris/x", EVERYWHERE_WITHIN);
    log_in_with_key(&cluster, "iris", 0, "iris-1").refused(4, "unauthenticated");
    log_in_with_key(&cluster, "iris", 2, "iris-2").succeeded();
    cluster.kv("get iris/x --context iris").succeeded();
    let listed = home.authctl("cred list iris -o json").data("credentials");
    assert_eq!(listed, json!([second]));
}

#[test]
fn unknown_disabled_and_other_users_keys_look_the_same() {
    let cluster = Cluster::shared();
    let home = &cluster.home;
    for user in ["jane", "john", "jill"] {
        keyed_user(home, user, "x/*:r");
        issue(home, &format!("{user} --new {user}-key"));
    }
    home.authctl("user disable jill --passphrase-file pp")
        .succeeded();
    let outcomes: Vec<Outcome> = [
        ("jane", "john-key"),
        ("john", "jane-key"),
        ("jill", "jill-key"),
        ("nobody", "jane-key"),
        ("Nobody", "jane-key"),
        ("alice", "jane-key"),
    ]
    .iter()
    .flat_map(|(user, file)| {
        let log_in = |node: usize| {
            let (address, realm) = (cluster.ports.address(node), &cluster.realm);
            cluster.kv(&format!(
                "login {user}@{address} --realm {realm} --key {file} --context refused -o json"
            ))
        };
        (0..3).map(log_in).collect::<Vec<_>>()
    })
    .collect();
    for outcome in &outcomes {
        outcome.refused(4, "unauthenticated");
        assert_eq!(outcome.stderr, outcomes[0].stderr);
    }
    log_in_with_key(&cluster, "jane", 0, "jane-key").succeeded();
    // A user without a password is as good as unknown to whoever has one.
    let login = |user: &str| {
        let (address, realm) = (cluster.ports.address(0), &cluster.realm);
        cluster.kv(&format!(
            "login {user}@{address} --realm {realm} --password-file pw --context refused -o json"
        ))
    };
    let unknown = login("nobody");
    unknown.refused(4, "unauthenticated");
    assert_eq!(
        login("jane").refused(4, "unauthenticated").stderr,
        unknown.stderr
    );
}

#[test]
fn key_files_that_cannot_be_used_are_refused_before_anybody_is_asked() {
    let cluster = Cluster::shared();
    let home = &cluster.home;
    keyed_user(home, "kate", "kate/*:rw");
    issue(home, "kate --new kate-key");
    let key = home.path("kate-key");
    fs::set_permissions(&key, fs::Permissions::from_mode(0o640)).expect("loosened");
    log_in_with_key(&cluster, "kate", 0, "kate-key")
        .refused(2, "config")
        .saying("0640");
    fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).expect("tightened");
    log_in_with_key(&cluster, "kate", 0, "kate-key").succeeded();
    log_in_with_key(&cluster, "kate", 0, "kate-none").refused(2, "config");
    home.secret("garbage", "no key at all");
    log_in_with_key(&cluster, "kate", 0, "garbage").refused(2, "config");

    let login = |more: &str| {
        let (address, realm) = (cluster.ports.address(0), &cluster.realm);
        let login = format!("login kate@{address} --realm {realm} {more} -o json");
        cluster.kv(&login)
    };
    login("--key kate-key --password-file pw").refused(2, "usage");
    login("--key kate-key --agent").refused(2, "usage");
    login("--comment laptop").refused(2, "usage");
    login("--agent")
        .refused(2, "config")
        .saying("SSH_AUTH_SOCK");
    if !has_openssh("key_files_that_cannot_be_used_are_refused_before_anybody_is_asked") {
        return;
    }
    make_key(home, "kate-locked", "ed25519", "a passphrase");
    log_in_with_key(&cluster, "kate", 0, "kate-locked")
        .refused(2, "config")
        .saying("ssh-add kate-locked");
    make_key(home, "kate-rsa", "rsa", "");
    log_in_with_key(&cluster, "kate", 0, "kate-rsa")
        .refused(2, "config")
        .saying("ssh-rsa");
    let refused = |arguments: &str, exit: i32, code: &str, text: &str| {
        let issue = format!("cred issue kate {arguments} --passphrase-file pp -o json");
        home.authctl(&issue).refused(exit, code).saying(text);
    };
    refused("--public-key kate-rsa.pub", 2, "config", "ssh-rsa");
    refused("--public-key kate-locked", 2, "usage", "private key");
    let inspected = home
        .authctl("cred inspect kate-locked.pub -o json")
        .data("key");
    assert_eq!(inspected["type"], "ssh-ed25519");
    assert_eq!(inspected["private"], false);
}

#[test]
fn what_cannot_be_enrolled_leaves_nothing_behind() {
    let home = Home::new();
    let _ = home.realm("acme");
    keyed_user(&home, "lena", "lena/*:rw");
    let refused = |arguments: &str, exit: i32, code: &str| {
        let issue = format!("cred issue {arguments} --passphrase-file pp -o json");
        home.authctl(&issue).refused(exit, code);
    };
    refused("lena", 2, "usage");
    refused("lena --new a --public-key b", 2, "usage");
    refused("lena --new a --grant system/*:r", 2, "usage");
    refused("lena --new a --ttl 0s", 2, "usage");
    refused("lena --public-key none.pub", 2, "config");
    refused("nobody --new a", 3, "not_found");
    refused("lena --new pp", 8, "exists");
    assert!(!home.path("a").exists() && !home.path("b").exists());
    assert_eq!(
        home.authctl("cred list lena -o json").data("credentials"),
        json!([])
    );

    let issued = issue(&home, "lena --new a");
    let id = id_of(&issued);
    let inspected = home.authctl("cred inspect a -o json").data("key");
    assert_eq!(inspected["private"], true);
    assert_eq!(inspected["fingerprint"], issued["fingerprint"]);
    let shown = home.authctl(&format!("cred inspect lena {id} -o json"));
    assert_eq!(shown.data("credential"), issued);
    home.secret("a.pub", inspected["public"].as_str().expect("a line"));
    refused("lena --public-key a.pub", 8, "exists");
    for unknown in ["cred revoke lena", "cred rotate lena", "cred inspect lena"] {
        let more = match unknown {
            "cred inspect lena" => "",
            "cred rotate lena" => "--new c --passphrase-file pp",
            _ => "--passphrase-file pp",
        };
        home.authctl(&format!("{unknown} 0000000000000000 {more} -o json"))
            .refused(3, "not_found");
        home.authctl(&format!("{unknown} 00 {more} -o json"))
            .refused(2, "usage");
    }
    assert!(!home.path("c").exists());
    home.authctl("user add mona --no-password --password-file pw --passphrase-file pp -o json")
        .refused(2, "usage");
    home.authctl("user add mona --no-password --generate --passphrase-file pp -o json")
        .refused(2, "usage");
}
