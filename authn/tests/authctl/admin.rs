//! `admin`: delegates, between the root's machine and theirs, without any node.

use std::fs;

use serde_json::json;

use crate::fixture::{Home, Outcome, PASSPHRASE, flip, mode, walk};

const FROM_FILE: &str = "--passphrase-file pp";
const ONE_SESSION: &str =
    "session revoke 0011223344556677889900112233445566778899001122334455667788990011";

/// A root's machine and a delegate's, between which files are carried.
struct Pair {
    root: Home,
    dana: Home,
}

impl Pair {
    fn new() -> Self {
        Self {
            root: Home::with_realm(),
            dana: Home::empty(),
        }
    }

    /// Dana's machine when she has asked and been granted `app/*:rw`.
    fn granted() -> Self {
        let pair = Self::new();
        pair.asks("dana").succeeded();
        pair.carry_request();
        pair.grants("app/*:rw --until 90d").succeeded();
        pair.carry_delegation();
        pair
    }

    fn accepted() -> Self {
        let pair = Self::granted();
        pair.dana
            .run(&format!("admin accept dana.delegation {FROM_FILE}"))
            .succeeded();
        pair
    }

    fn id(&self) -> String {
        let shown = self.root.run("realm show -o json").data("realm");
        shown["id"].as_str().expect("an id").to_owned()
    }

    fn asks(&self, name: &str) -> Outcome {
        let realm = self.id();
        self.dana
            .run(&format!("admin request {name} --realm {realm} {FROM_FILE}"))
    }

    fn grants(&self, terms: &str) -> Outcome {
        self.root
            .run(&format!("admin grant dana.request {terms} {FROM_FILE}"))
    }

    fn carry_request(&self) {
        fs::copy(
            self.dana.path("dana.request"),
            self.root.path("dana.request"),
        )
        .expect("carried");
    }

    fn carry_delegation(&self) {
        let (from, to) = (
            self.root.path("dana.delegation"),
            self.dana.path("dana.delegation"),
        );
        fs::copy(from, to).expect("carried");
    }
}

#[test]
fn a_delegates_files_are_its_own_and_hold_no_secret_in_clear() {
    let pair = Pair::accepted();
    for path in walk(&pair.dana.path("data")) {
        let expected = if path.is_dir() { 0o700 } else { 0o600 };
        assert_eq!(mode(&path), expected, "{}", path.display());
    }
    for (path, content) in pair.dana.data() {
        let held = content
            .windows(PASSPHRASE.len())
            .any(|window| window == PASSPHRASE.as_bytes());
        assert!(!held, "{}", path.display());
        let name = path.file_name().expect("a name").to_string_lossy();
        assert!(name != "root.sealed" && name != "login.sealed");
    }
    let left = pair.dana.path("data/.pending-dana");
    assert!(!left.exists(), "the request is answered");
}

#[test]
fn a_request_names_its_realm_by_its_id() {
    let pair = Pair::new();
    pair.dana
        .run(&format!("admin request dana {FROM_FILE}"))
        .refused(2, "usage")
        .saying("--realm");
    pair.dana
        .run(&format!("admin request dana --realm acme {FROM_FILE}"))
        .refused(3, "not_found");
}

#[test]
fn a_second_request_of_one_name_is_refused_and_nothing_overwritten() {
    let pair = Pair::new();
    pair.asks("dana").succeeded();
    pair.asks("dana").refused(8, "exists");
    fs::remove_file(pair.dana.path("dana.request")).expect("removed");
    pair.asks("dana").refused(8, "exists").saying("accept");
    assert!(!pair.dana.path("dana.request").exists());
}

#[test]
fn a_request_that_was_changed_or_is_for_another_realm_is_refused() {
    let pair = Pair::new();
    pair.asks("dana").succeeded();
    pair.carry_request();
    flip(&pair.root.path("dana.request"), 50);
    pair.grants("app/*:rw --until 90d").refused(9, "integrity");
    pair.carry_request();
    pair.root
        .run(&format!("realm init beta {FROM_FILE}"))
        .succeeded();
    pair.grants("app/*:rw --until 90d --realm beta")
        .refused(4, "wrong_realm");
    assert!(!pair.root.path("dana.delegation").exists());
}

#[test]
fn a_grant_says_what_until_when_and_for_which_key() {
    let pair = Pair::new();
    pair.asks("dana").succeeded();
    pair.carry_request();
    pair.grants("--until 90d").refused(2, "usage");
    pair.grants("app/*:rw").refused(2, "usage");
    pair.grants("app/*:x --until 90d").refused(2, "usage");
    let granted = pair.grants("app/*:rw --until 90d");
    granted.succeeded().saying("is for the key");
    // What was made is not overwritten.
    pair.grants("app/*:r --until 90d").refused(8, "exists");
}

#[test]
fn a_delegation_is_accepted_where_its_key_is_and_unchanged() {
    let pair = Pair::granted();
    let accept = format!("admin accept dana.delegation {FROM_FILE}");
    // The root's machine has not the key, and a realm of the name.
    pair.root.run(&accept).refused(3, "not_found");
    flip(&pair.dana.path("dana.delegation"), 200);
    pair.dana.run(&accept).refused(9, "integrity");
    pair.carry_delegation();
    pair.dana.secret("other", "another-passphrase");
    pair.dana
        .run("admin accept dana.delegation --passphrase-file other")
        .refused(4, "unauthenticated");
    pair.dana
        .run(&format!("{accept} --node nowhere"))
        .refused(2, "usage");
    pair.dana.run(&accept).succeeded();
    // The same once more is nothing newer.
    pair.dana.run(&accept).refused(5, "permission_denied");
}

#[test]
fn what_takes_the_root_is_refused_on_a_delegates_machine() {
    let pair = Pair::accepted();
    let add = format!("user add bob --role app/*:r --no-password {FROM_FILE}");
    pair.dana.run(&add).succeeded();
    // Passwords take a node, and none is known here.
    for command in [
        "user add carl --password-file pw",
        "user passwd bob --password-file pw",
    ] {
        let unreachable = pair.dana.run(&format!("{command} {FROM_FILE}"));
        unreachable.refused(6, "unreachable");
        unreachable.saying("--key");
    }
    for (command, hint) in [
        ("user unlock bob", "root"),
        ("cred issue bob --totp", "--public-key"),
        ("session revoke --user bob --all", "user disable"),
        (ONE_SESSION, "user disable"),
        ("role add ops app/*:r", "root"),
        ("node invite n1=127.0.0.1:1", "root"),
        ("realm backup acme.backup", "root"),
        ("admin revoke bob --drop", "bob"),
    ] {
        let refused = pair.dana.run(&format!("{command} {FROM_FILE}"));
        let exit = if command.starts_with("admin revoke") {
            3
        } else {
            5
        };
        assert_eq!(refused.exit, exit, "{command}: {refused:?}");
        refused.saying(hint);
    }
}

#[test]
fn a_delegate_disables_and_enables_its_users_and_says_that_sessions_hold_again() {
    let pair = Pair::accepted();
    let run = |command: &str| pair.dana.run(&format!("{command} {FROM_FILE}"));
    run("user add bob --role app/*:r --no-password").succeeded();
    let disabled = run("user disable bob");
    assert_eq!(disabled.succeeded().stderr, "");
    let enabled = run("user enable bob");
    enabled.succeeded().saying("hold again");
    let data = pair.dana.run("user show bob -o json").data("user");
    assert_eq!(data["enabled"], true);
    // The root ends them, and has nothing to warn of.
    for command in ["user disable ci", "user enable ci"] {
        let done = pair.root.run(&format!("{command} {FROM_FILE}"));
        assert_eq!(done.succeeded().stderr, "", "{command}");
    }
    let revoked = pair.root.run("session list --revoked -o json");
    assert!(revoked.succeeded().stdout.contains("\"ci\""), "{revoked:?}");
}

#[test]
fn a_delegate_stays_within_its_bounds() {
    let pair = Pair::accepted();
    let add = |user: &str, role: &str| {
        let add = format!("user add {user} --role {role} --no-password {FROM_FILE}");
        pair.dana.run(&add)
    };
    add("bob", "app/x:r").succeeded();
    for role in ["app/*:d", "*:r", "admin", "log/x:r"] {
        add("carl", role)
            .refused(5, "permission_denied")
            .saying("wider than what was delegated");
    }
    add("dana", "app/x:r").refused(5, "permission_denied");
    add("root", "app/x:r").refused(5, "permission_denied");
    let role = |change: &str| {
        let role = format!("user role bob {change} {FROM_FILE}");
        pair.dana.run(&role)
    };
    role("--add log/*:r").refused(5, "permission_denied");
    role("--add app/y:w").succeeded();
    let data = pair.dana.run("user show bob -o json").data("user");
    assert_eq!(data["roles"], json!(["app/x:r", "app/y:w"]));
}

#[test]
fn the_list_tells_which_delegations_hold() {
    let pair = Pair::granted();
    let states = || {
        let listed = pair.root.run("admin list -o json").data("delegations");
        let states = listed.as_array().expect("a list").iter();
        states
            .map(|one| one["state"].as_str().expect("a state").to_owned())
            .collect::<Vec<_>>()
    };
    assert_eq!(states(), ["holds"]);
    let listed = pair.root.run("admin list");
    assert!(listed.succeeded().stdout.contains("app/*:rw"));
    fs::remove_file(pair.root.path("dana.delegation")).expect("removed");
    pair.grants("app/*:rw --until 1ms").succeeded();
    assert_eq!(states(), ["expired"]);
    pair.root
        .run(&format!("admin revoke dana --drop {FROM_FILE}"))
        .succeeded();
    assert_eq!(states(), ["revoked"]);
}

#[test]
fn a_revocation_says_what_becomes_of_the_users() {
    let pair = Pair::granted();
    pair.root
        .run(&format!("admin revoke dana {FROM_FILE}"))
        .refused(2, "usage")
        .saying("--adopt");
    pair.root
        .run(&format!("admin revoke dana --adopt --drop {FROM_FILE}"))
        .refused(2, "usage");
    pair.root
        .run(&format!("admin revoke erin --drop {FROM_FILE}"))
        .refused(3, "not_found")
        .saying("admin list");
    let long = "r".repeat(65);
    pair.root
        .run(&format!(
            "admin revoke dana --drop --reason {long} {FROM_FILE}"
        ))
        .refused(2, "usage");
    let revoke = format!("admin revoke dana --drop {FROM_FILE} -o json");
    let data = pair.root.run(&revoke).data("delegation");
    assert_eq!(data, json!({"name": "dana", "adopted": [], "dropped": []}));
    assert_eq!(pair.root.run(&revoke).exit, 3, "nothing is revoked twice");
}

#[test]
fn a_role_of_a_delegates_user_goes_over_to_the_root_as_the_grants_that_were_in_force() {
    let pair = Pair::accepted();
    let role = |arguments: &str| {
        let command = format!("role {arguments} {FROM_FILE}");
        pair.root.run(&command).succeeded();
    };
    role("add ops app/*:r");
    // What nodes would carry.
    let carry = |from: &Home, to: &Home, file: &str| {
        let at = |home: &Home| home.path("data/acme").join(file);
        fs::copy(at(from), at(to)).expect("carried");
    };
    carry(&pair.root, &pair.dana, "roles");
    for user in ["mallory", "carl"] {
        pair.dana
            .run(&format!(
                "user add {user} --role ops --no-password {FROM_FILE}"
            ))
            .succeeded();
        carry(&pair.dana, &pair.root, &format!("users/{user}"));
    }
    role("grant ops *:rwdla");

    let disable = format!("user disable mallory {FROM_FILE} -o json");
    let disabled = pair.root.run(&disable);
    let envelope = disabled.succeeded().envelope();
    assert_eq!(envelope["data"]["roles"], json!(["app/*:rw"]));
    let warnings = envelope["warnings"].to_string();
    assert!(warnings.contains("role ops"), "{warnings}");
    assert!(
        warnings.contains("user role mallory --add ops"),
        "{warnings}"
    );
    // Once: the root's own users keep the names of their roles.
    let given = format!("user role mallory --add ops {FROM_FILE} -o json");
    let given = pair.root.run(&given).data("user");
    assert_eq!(given["roles"], json!(["app/*:rw", "ops"]));
    let enable = format!("user enable mallory {FROM_FILE} -o json");
    let enabled = pair.root.run(&enable).data("user");
    assert_eq!(enabled["roles"], json!(["app/*:rw", "ops"]));

    let revoke = format!("admin revoke dana --adopt {FROM_FILE} -o json");
    let revoked = pair.root.run(&revoke).envelope();
    assert_eq!(revoked["data"]["adopted"], json!(["carl"]));
    let warnings = revoked["warnings"].to_string();
    assert!(warnings.contains("carl") && warnings.contains("role ops"));
    let shown = pair.root.run("user show carl -o json").data("user");
    assert_eq!(shown["roles"], json!(["app/*:rw"]));
}
