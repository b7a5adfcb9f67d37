//! `authctl`: what it prints and where it refuses.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use sealmoot_tests::binaries::Program;
use sealmoot_tests::cluster::invite;
use sealmoot_tests::command::fields;
use sealmoot_tests::home::{Home, PASSWORD};
use sealmoot_tests::ports::Ports;
use serde_json::json;

#[test]
fn a_realm_is_made_once_and_shown() {
    let home = Home::new();
    let init = "realm init acme --passphrase-file pp -o json";
    let made = home.authctl(init).data("realm");
    assert_eq!(fields(&made), ["approver", "id", "key_id", "name", "root"]);
    assert_eq!(made["name"], "acme");
    assert!(
        made["id"]
            .as_str()
            .is_some_and(|id| id.starts_with("moot1"))
    );
    assert_eq!(home.authctl("realm show -o json").data("realm"), made);
    home.authctl(init).refused(8, "exists");
}

#[test]
fn without_a_realm_there_is_nothing_to_show() {
    let home = Home::new();
    home.authctl("realm show -o json")
        .refused(10, "not_initialised");
    home.authctl("user list -o json")
        .refused(10, "not_initialised");
}

#[test]
fn two_realms_must_be_told_apart() {
    let home = Home::new();
    let _ = home.realm("acme");
    let other = home.realm("other");
    home.authctl("realm show -o json").refused(2, "usage");
    for named in ["other", &other] {
        let shown = home.authctl(&format!("realm show --realm {named} -o json"));
        assert_eq!(shown.data("realm")["name"], "other");
    }
    home.authctl("realm show --realm third -o json")
        .refused(3, "not_found");
}

#[test]
fn a_user_lives_from_add_to_delete() {
    let home = Home::new();
    let _ = home.realm("acme");
    let add = home
        .run(
            Program::Authctl,
            "user add ci --role app/*:rw --password-stdin",
        )
        .arg("--passphrase-file=pp")
        .arg("-ojson")
        .input(PASSWORD);
    let ci = json!({"name": "ci", "roles": ["app/*:rw"], "enabled": true});
    assert_eq!(add.finish().data("user"), ci);
    assert_eq!(home.authctl("user show ci -o json").data("user"), ci);
    assert_eq!(home.authctl("user list -o json").data("users"), json!([ci]));

    let change = |what: &str| {
        let command = format!("user {what} ci --yes --passphrase-file pp -o json");
        home.authctl(&command).data("user")
    };
    assert_eq!(change("disable")["enabled"], false);
    assert_eq!(
        home.authctl("user show ci -o json").data("user")["enabled"],
        false
    );
    assert_eq!(change("enable")["enabled"], true);
    let passwd = "user passwd ci --password-file pw --passphrase-file pp -o json";
    assert_eq!(home.authctl(passwd).data("user"), ci);
    assert_eq!(fields(&change("delete")), ["enabled", "name", "roles"]);
    home.authctl("user show ci -o json").refused(3, "not_found");
    assert_eq!(home.authctl("user list -o json").data("users"), json!([]));
}

#[test]
fn acts_on_users_are_refused_with_a_reason() {
    let home = Home::new();
    let _ = home.realm("acme");
    home.user("alice", "admin");
    home.secret("wrong", "another passphrase");
    home.secret("weak", "a");
    let secrets = "--passphrase-file pp --password-file pw -o json";
    for (arguments, exit, code) in [
        ("user add alice", 8, "exists"),
        ("user add Bad/Name", 2, "usage"),
        ("user add bob --role app:xyz", 2, "usage"),
        ("user add bob --role no/thing", 2, "usage"),
        ("user add bob --role nothing", 3, "not_found"),
        ("user passwd nobody", 3, "not_found"),
    ] {
        home.authctl(&format!("{arguments} {secrets}"))
            .refused(exit, code);
    }
    for what in ["disable", "enable", "delete"] {
        let act = format!("user {what} nobody --passphrase-file pp -o json");
        home.authctl(&act).refused(3, "not_found");
    }
    for (arguments, exit, code) in [
        (
            "user disable alice --passphrase-file wrong",
            4,
            "unauthenticated",
        ),
        ("user disable alice", 2, "usage"),
        ("user disable alice --passphrase-file none", 2, "config"),
        ("user add bob --passphrase-file pp", 2, "usage"),
        (
            "user add bob --passphrase-stdin --password-stdin",
            2,
            "usage",
        ),
    ] {
        home.authctl(&format!("{arguments} -o json"))
            .refused(exit, code);
    }
    assert_eq!(
        home.authctl("user show alice -o json").data("user")["enabled"],
        true
    );
    home.authctl("user show bob -o json")
        .refused(3, "not_found");
}

#[test]
fn secrets_that_others_can_read_are_refused() {
    let home = Home::new();
    let open = fs::Permissions::from_mode(0o644);
    fs::set_permissions(home.path("pp"), open).expect("its mode is changed");
    home.authctl("realm init acme --passphrase-file pp -o json")
        .refused(2, "config");
    home.authctl("realm show -o json")
        .refused(10, "not_initialised");
}

#[test]
fn a_check_tells_the_rule() {
    let home = Home::new();
    let _ = home.realm("acme");
    home.user("alice", "admin");
    home.user("ci", "app/*:rw");
    let check = |arguments: &str| home.authctl(&format!("check {arguments} -o json"));
    let allowed = check("ci write app/x").data("check");
    assert_eq!(fields(&allowed), ["allowed", "rule"]);
    assert_eq!(allowed["allowed"], true);
    assert!(
        allowed["rule"]
            .as_str()
            .is_some_and(|rule| rule.contains("app/*:rw"))
    );
    for allowed in [
        "ci read app/x/y",
        "alice delete any/thing",
        "alice list x",
        "alice admin x",
    ] {
        assert_eq!(check(allowed).data("check")["allowed"], true, "{allowed}");
    }
    for denied in [
        "ci delete app/x",
        "ci list app/x",
        "ci admin app/x",
        "ci read other/x",
        "ci read app",
        "ci read application/x",
        "alice read system/x",
    ] {
        let outcome = check(denied);
        outcome.failed(5, "permission_denied");
        let data = outcome.data_whatever_the_exit("check");
        assert_eq!(data, json!({"allowed": false, "rule": null}), "{denied}");
    }
    check("ci push app/x").refused(2, "usage");
    check("nobody read app/x").refused(3, "not_found");
}

#[test]
fn invites_are_private_files_that_overwrite_nothing() {
    let home = Home::new();
    let _ = home.realm("acme");
    let ports = Ports::reserve(3);
    let made = invite(&home, &ports, "--out out -o json").data("invite");
    let made = made.as_array().expect("an array");
    assert_eq!(made.len(), 3);
    for (index, (invite, name)) in made.iter().zip(["n1", "n2", "n3"]).enumerate() {
        assert_eq!(fields(invite), ["addr", "expires", "file", "name"]);
        assert_eq!(invite["name"], name);
        assert_eq!(invite["addr"], ports.address(index));
        let file = home.path(invite["file"].as_str().expect("a path"));
        let mode = fs::metadata(&file).expect("there").permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{}", file.display());
    }

    fs::remove_file(home.path("out/n1.invite")).expect("there");
    let before = fs::read(home.path("out/n2.invite")).expect("there");
    invite(&home, &ports, "--out out -o json").refused(8, "exists");
    assert!(
        !home.path("out/n1.invite").exists(),
        "it was made all the same"
    );
    assert_eq!(fs::read(home.path("out/n2.invite")).expect("there"), before);

    for (nodes, exit) in [("n1", 2), ("n1=", 2), ("n1=h:0", 2), ("n1=h:1 n1=h:2", 2)] {
        let arguments = format!("node invite {nodes} --passphrase-file pp --out x -o json");
        home.authctl(&arguments).refused(exit, "usage");
    }
}

#[test]
fn every_program_names_its_version_and_explains_its_codes() {
    let home = Home::new();
    for program in [Program::Authctl, Program::Kvd, Program::Kv] {
        let version = home.run(program, "version").finish();
        assert!(version.succeeded().text().starts_with(program.name()));
        let help = home.run(program, "help no_quorum").finish();
        assert!(help.succeeded().text().contains("exit 7"), "{help:?}");
        home.run(program, "help no_such_code -o json")
            .finish()
            .refused(2, "usage");
        home.run(program, "no-such-command")
            .finish()
            .refused(2, "usage");
        home.run(program, "--no-such-flag")
            .finish()
            .refused(2, "usage");
    }
}
