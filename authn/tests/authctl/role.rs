//! `role`, and `user role`.

use serde_json::json;

use crate::fixture::Home;

const PP: &str = "--passphrase-file pp";

/// A realm in which bob has the role `ops`.
fn with_ops() -> Home {
    let home = Home::with_realm();
    home.run(&format!("role add ops app/*:rw log/x:r {PP}"))
        .succeeded();
    home.run(&format!("user add bob --role ops {PP} --password-file pw"))
        .succeeded();
    home
}

#[test]
fn a_role_lives_from_add_to_delete() {
    let home = Home::with_realm();
    let added = home
        .run(&format!("role add ops log/x:r app/*:wr {PP} -o json"))
        .data("role");
    assert_eq!(
        added,
        json!({"name": "ops", "grants": ["app/*:rw", "log/x:r"], "second_factor": false})
    );
    let granted = home.run(&format!("role grant ops app/*:d {PP}"));
    assert_eq!(
        granted.succeeded().stdout,
        "✓ role ops [app/*:rwd, log/x:r]\n"
    );
    let revoked = home.run(&format!("role revoke ops app/*:wd {PP} -o json"));
    assert_eq!(
        revoked.data("role")["grants"],
        json!(["app/*:r", "log/x:r"])
    );
    let revoked = home.run(&format!("role revoke ops log/x {PP}"));
    assert_eq!(revoked.succeeded().stdout, "✓ role ops [app/*:r]\n");
    let listed = home.run("role list -o json").data("roles");
    assert_eq!(
        listed,
        json!([{"name": "ops", "grants": ["app/*:r"], "second_factor": false}])
    );
    let shown = home.run("role show ops -o json").data("role");
    assert_eq!(
        shown,
        json!({"name": "ops", "grants": ["app/*:r"], "second_factor": false, "users": []})
    );
    let deleted = home.run(&format!("role delete ops {PP} --yes"));
    assert_eq!(deleted.succeeded().stdout, "✓ role ops   deleted\n");
    assert_eq!(home.run("role list -o json").data("roles"), json!([]));
    home.run("role show ops").refused(3, "not_found");
}

#[test]
fn a_user_with_a_role_may_do_what_it_grants_just_now() {
    let home = with_ops();
    let data = home.run("check bob read app/x -o json").data("check");
    assert_eq!(data, json!({"allowed": true, "rule": "role ops: app/*:rw"}));
    let text = home.run("check bob read app/x");
    assert_eq!(
        text.succeeded().stdout,
        "✓ bob may read app/x: allowed by role ops: app/*:rw\n"
    );
    home.run("check bob write log/x")
        .refused(5, "permission_denied");
    home.run(&format!("role revoke ops app/*:w {PP}"))
        .succeeded();
    home.run("check bob write app/x")
        .refused(5, "permission_denied");
    home.run("check bob read app/x").succeeded();
    home.run("check bob read system/x")
        .refused(5, "permission_denied");
}

#[test]
fn a_role_that_users_have_is_deleted_by_force_only_and_grants_nothing_then() {
    let home = with_ops();
    let before = home.data();
    home.run(&format!("role delete ops {PP} --yes"))
        .refused(8, "conflict")
        .saying("held by bob")
        .saying("user role USER --remove ops");
    // Without a secret too: it is told before one is asked for.
    home.run("role delete ops").refused(8, "conflict");
    assert!(home.data() == before);
    home.run(&format!("role delete ops --force {PP} --yes"))
        .succeeded();
    home.run("check bob read app/x")
        .refused(5, "permission_denied");
    let shown = home.run("user show bob -o json").data("user");
    assert_eq!(shown["roles"], json!(["ops"]));
    // What was left behind is told when the name comes back.
    home.run(&format!("role add ops log/*:r {PP}")).succeeded();
    let again = home.run(&format!("role delete ops --force {PP} --yes"));
    again.succeeded();
    home.run(&format!("role add ops other:r {PP}"))
        .saying("which was deleted by force: bob");
}

#[test]
fn a_users_roles_are_added_and_removed() {
    let home = with_ops();
    let changed = home.run(&format!(
        "user role ci --add ops --add x:r --remove app/*:rw {PP}"
    ));
    assert_eq!(changed.succeeded().stdout, "✓ user ci [ops, x:r]\n");
    let twice = home.run(&format!("user role ci --add ops {PP} -o json"));
    assert_eq!(twice.data("user")["roles"], json!(["ops", "x:r"]));
    let none = home.run(&format!("user role ci --remove ops --remove x:r {PP}"));
    assert_eq!(none.succeeded().stdout, "✓ user ci [no rights]\n");
    home.run("check ci read app/x")
        .refused(5, "permission_denied");
}

#[test]
fn refusals_of_user_role_change_nothing() {
    let home = with_ops();
    let before = home.data();
    for (arguments, exit, code) in [
        ("user role", 2, "usage"),
        ("user role ci", 2, "usage"),
        ("user role ci --add", 2, "usage"),
        ("user role ci --add app/*", 2, "usage"),
        ("user role ci --add ops --remove ops", 2, "usage"),
        ("user role eve --add ops", 3, "not_found"),
        ("user role gone --add ops", 3, "not_found"),
        ("user role ci --add none", 3, "not_found"),
        ("user role ci --remove ops", 3, "not_found"),
        ("user role ci --remove app/*:r", 3, "not_found"),
        (
            "user add eve --role none --password-file pw",
            3,
            "not_found",
        ),
    ] {
        home.run(&format!("{arguments} {PP}")).refused(exit, code);
    }
    home.run("user add eve --role none")
        .refused(3, "not_found")
        .saying("no role none")
        .saying("authctl role list");
    assert!(home.data() == before);
}

#[test]
fn refusals_of_role_change_nothing() {
    let home = with_ops();
    let before = home.data();
    let many: String = (0..65).map(|at| format!("k{at}:r ")).collect();
    let heavy: String = (0..9)
        .map(|at| format!("{at}{}:r ", "k".repeat(4000)))
        .collect();
    for (arguments, exit, code) in [
        ("role add", 2, "usage"),
        ("role add Ops", 2, "usage"),
        ("role add ../x", 2, "usage"),
        ("role add dev app/*", 2, "usage"),
        ("role add dev ops", 2, "usage"),
        ("role add dev system/*:r", 2, "usage"),
        ("role add admin app/*:r", 2, "usage"),
        (&format!("role add dev {many}"), 2, "usage"),
        (&format!("role add dev {heavy}"), 2, "usage"),
        ("role add ops", 8, "exists"),
        ("role show none", 3, "not_found"),
        ("role show admn", 3, "not_found"),
        ("role grant none a:r", 3, "not_found"),
        ("role grant ops", 2, "usage"),
        ("role grant ops app/*", 2, "usage"),
        ("role grant admin a:r", 2, "usage"),
        ("role revoke ops", 2, "usage"),
        ("role revoke ops app/x", 3, "not_found"),
        ("role revoke ops app/*:d", 3, "not_found"),
        ("role revoke none app/*", 3, "not_found"),
        ("role revoke admin *", 2, "usage"),
        ("role delete none", 3, "not_found"),
        ("role delete none --force", 3, "not_found"),
        ("role delete admin --force", 2, "usage"),
    ] {
        let with_passphrase = if arguments.starts_with("role show") {
            arguments.to_owned()
        } else {
            format!("{arguments} {PP}")
        };
        home.run(&with_passphrase).refused(exit, code);
    }
    home.run_with("wrong", "role add dev --passphrase-stdin")
        .refused(4, "unauthenticated");
    home.run("role add dev").refused(2, "usage");
    assert!(home.data() == before);
}

#[test]
fn changed_roles_fail_authentication() {
    let home = with_ops();
    let path = home.path("data/acme/roles");
    let length = std::fs::read(&path).expect("there").len();
    for at in [0, 5, 40, 90, length - 1] {
        crate::fixture::flip(&path, at);
        for command in [
            "role list",
            "role show ops",
            "user add dora --role ops --passphrase-file pp --password-file pw",
            "check bob read app/x",
        ] {
            home.run(command).refused(9, "integrity");
        }
        crate::fixture::flip(&path, at);
    }
    home.run("role list").succeeded();
}
