//! Second factors: issued once, listed, confirmed or not, removed; and roles that need one.

use serde_json::{Value, json};

use crate::fixture::{Home, PASSPHRASE};
use crate::terminal::{nobody_at_the_terminal, play};

fn issue(home: &Home, user: &str) -> Value {
    home.run(&format!(
        "cred issue {user} --totp --passphrase-file pp -o json"
    ))
    .data("credential")
}

#[test]
fn a_second_factor_is_shown_once_listed_and_removed() {
    let home = Home::with_realm();
    let issued = issue(&home, "ci");
    let secret = issued["secret"].as_str().expect("a secret");
    assert_eq!(secret.len(), 32);
    let uri = format!("otpauth://totp/acme:ci?secret={secret}&issuer=acme");
    assert_eq!(issued["uri"], uri.as_str());
    let codes = issued["recovery_codes"].as_array().expect("codes");
    assert_eq!(codes.len(), 10);

    let listed = home.run("cred list ci -o json");
    let shown = home.run("cred list ci");
    for secret in codes.iter().filter_map(Value::as_str).chain([secret]) {
        assert!(!listed.stdout.contains(secret) && !shown.stdout.contains(secret));
    }
    let id = issued["id"].as_str().expect("an id");
    let listed = listed.data("credentials");
    assert_eq!(listed.as_array().map(Vec::len), Some(1));
    assert_eq!(
        (&listed[0]["id"], &listed[0]["kind"]),
        (&json!(id), &json!("totp"))
    );
    assert!(shown.stdout.contains("second factor"));
    let inspected = home.run(&format!("cred inspect ci {id} -o json"));
    assert_eq!(inspected.data("credential"), listed[0]);

    home.run(&format!("cred revoke ci {id} --passphrase-file pp"))
        .succeeded();
    assert_eq!(
        home.run("cred list ci -o json").data("credentials"),
        json!([])
    );
    home.run(&format!("cred revoke ci {id} --passphrase-file pp"))
        .refused(3, "not_found");
    assert_ne!(issue(&home, "ci")["id"], issued["id"]);
}

#[test]
fn what_makes_no_sense_is_refused_and_changes_nothing() {
    let home = Home::with_realm();
    home.run("user add keyed --no-password --passphrase-file pp")
        .succeeded();
    let id = issue(&home, "ci")["id"].clone();
    let id = id.as_str().expect("an id");
    let before = home.data();
    home.run("cred issue ci --totp --passphrase-file pp")
        .refused(8, "exists")
        .saying("authctl cred revoke ci");
    home.run("cred issue keyed --totp --passphrase-file pp")
        .refused(10, "wrong_state")
        .saying("authctl user passwd keyed");
    home.run("cred issue nobody --totp --passphrase-file pp")
        .refused(3, "not_found");
    home.run(&format!("cred rotate ci {id} --new k --passphrase-file pp"))
        .refused(2, "usage")
        .saying("cred revoke ci");
    for more in ["--new k", "--agent", "--label x", "--ttl 1d", "--service"] {
        let refused = home.run(&format!("cred issue ci --totp {more} --passphrase-file pp"));
        assert_eq!(refused.exit, 2, "{more}: {refused:?}");
    }
    home.run(&format!("cred revoke alice {id} --passphrase-file pp"))
        .refused(3, "not_found");
    home.run("role require none second-factor --passphrase-file pp")
        .refused(3, "not_found");
    home.run("role require admin second-factor --passphrase-file pp")
        .refused(2, "usage");
    assert!(home.data() == before);
}

#[test]
fn a_role_that_needs_a_second_factor_says_so_and_whom_it_keeps_out() {
    let home = Home::with_realm();
    let pp = "--passphrase-file pp -o json";
    let made = home.run(&format!("role add ops app/*:r --second-factor {pp}"));
    assert_eq!(made.data("role")["second_factor"], true);
    home.run(&format!("user role ci --add ops {pp}"))
        .succeeded();
    home.run("role show ops").succeeded();
    assert!(home.run("role show ops").stdout.contains("second factor"));
    assert!(home.run("role list").stdout.contains("second factor"));
    let eased = home.run(&format!("role require ops nothing {pp}"));
    assert_eq!(eased.data("role")["second_factor"], false);
    let needed = home.run(&format!("role require ops second-factor {pp}"));
    assert_eq!(needed.data("role")["second_factor"], true);
    let warned = needed.envelope()["warnings"].to_string();
    assert!(warned.contains("ci"), "{warned}");

    let id = issue(&home, "ci")["id"].clone();
    let quiet = home.run(&format!("role require ops second-factor {pp}"));
    assert_eq!(quiet.envelope()["warnings"], json!([]));
    let id = id.as_str().expect("an id");
    let removed = home.run(&format!("cred revoke ci {id} {pp}"));
    let warned = removed.envelope()["warnings"].to_string();
    assert!(
        warned.contains("role ops needs a second factor"),
        "{warned}"
    );
    // Rights come and go, the need stays.
    let granted = home.run(&format!("role grant ops log/*:r {pp}"));
    assert_eq!(granted.data("role")["second_factor"], true);
}

#[test]
fn at_a_terminal_nothing_is_enrolled_before_the_app_shows_the_code() {
    if nobody_at_the_terminal("at_a_terminal_nothing_is_enrolled_before_the_app_shows_the_code") {
        return;
    }
    let home = Home::with_realm();
    let ask = "Code (empty = do not confirm): ";
    let wrong = play(
        &home,
        "cred issue ci --totp",
        &[
            ("Passphrase: ", PASSPHRASE),
            (ask, "nonsense"),
            (ask, "12345"),
            (ask, "aaaa-aaaa-aaaa-aaaa"),
        ],
    );
    assert_eq!(wrong.exit, 2, "{}", wrong.screen);
    assert!(!wrong.screen.contains("Recovery codes"));
    assert_eq!(
        home.run("cred list ci -o json").data("credentials"),
        json!([])
    );

    let right = play(
        &home,
        "cred issue ci --totp",
        &[("Passphrase: ", PASSPHRASE), (ask, "000"), (ask, "@code")],
    );
    assert_eq!(right.exit, 0, "{}", right.screen);
    assert!(right.screen.contains("Recovery codes"));
    // The secret is on the screen once, in both of its forms.
    assert_eq!(right.screen.matches("otpauth://").count(), 1);
    let unconfirmed = play(
        &home,
        "cred issue alice --totp",
        &[("Passphrase: ", PASSPHRASE), (ask, "")],
    );
    assert_eq!(unconfirmed.exit, 0, "{}", unconfirmed.screen);
}
