//! `import`, `export`, and paging through `user list`.

use std::fs;

use sealmoot_crypto::password::{Cost, PasswordRecord};
use serde_json::json;

use crate::fixture::Home;

const UNLOCK: &str = "--passphrase-file pp";

/// A stored hash of a password that nobody types here.
fn hash() -> String {
    let cost = Cost {
        memory_kib: 8,
        passes: 1,
        lanes: 1,
    };
    let record = PasswordRecord::hash(b"imported", cost).expect("hashed");
    record.to_phc()
}

fn write(home: &Home, name: &str, content: &str) {
    fs::write(home.path(name), content).expect("written");
}

#[test]
fn each_format_is_imported_with_roles() {
    let home = Home::with_realm();
    let (one, two, three) = (hash(), hash(), hash());
    write(&home, "a", &format!("dora:{one}\nemil:{two}\n"));
    write(
        &home,
        "b",
        &format!("name,hash,roles\nfay,\"{three}\",admin b/*:r\n"),
    );
    let line = json!({"name": "gus", "hash": hash(), "roles": ["app/*:rw"]});
    write(&home, "c", &format!("{line}\n"));
    let imported = home.run(&format!(
        "import htpasswd a --role app/*:r {UNLOCK} -o json"
    ));
    assert_eq!(
        imported.data("import"),
        json!({"imported": 2, "existing": [], "bad": [], "dry_run": false})
    );
    for arguments in ["import csv b --must-change", "import jsonl c"] {
        let imported = home.run(&format!("{arguments} {UNLOCK}"));
        assert_eq!(imported.succeeded().stdout, "✓ 1 users imported\n");
    }
    let role =
        |user: &str| home.run(&format!("user show {user} -o json")).data("user")["roles"].clone();
    assert_eq!(role("dora"), json!(["app/*:r"]));
    assert_eq!(role("fay"), json!(["admin", "b/*:r"]));
    assert_eq!(role("gus"), json!(["app/*:rw"]));
    let everything = home.data();
    for stored in [&one, &two, &three] {
        let secret = stored.rsplit('$').next().expect("fields").as_bytes();
        assert!(
            everything
                .iter()
                .all(|(_, content)| content.windows(secret.len()).all(|part| part != secret))
        );
    }
}

#[test]
fn one_bad_line_imports_nothing_unless_it_is_skipped() {
    let home = Home::with_realm();
    let before = home.data();
    let good = hash();
    write(
        &home,
        "users",
        &format!("dora:{good}\nemil:$2y$05$secretsecret\n\nfay:{{SHA}}secretsecret\nDora:{good}\n"),
    );
    let refused = home.run(&format!("import htpasswd users {UNLOCK}"));
    refused
        .refused(2, "config")
        .saying("3 of 4 lines cannot be imported")
        .saying("line 2: bcrypt hashes")
        .saying("line 4: SHA-1 hashes")
        .saying("line 5: ")
        .saying("--skip-bad");
    assert!(!refused.stderr.contains("secretsecret"));
    assert!(home.data() == before);
    let imported = home.run(&format!(
        "import htpasswd users --skip-bad {UNLOCK} -o json"
    ));
    let data = imported.data("import");
    assert_eq!(data["imported"], 1);
    let lines: Vec<_> = data["bad"].as_array().into_iter().flatten().collect();
    assert_eq!(lines.len(), 3);
    assert_eq!(lines[0]["line"], 2);
    home.run("user show dora").succeeded();
    home.run("user show emil").refused(3, "not_found");
}

#[test]
fn existing_users_are_refused_or_left_alone_and_deleted_ones_come_back() {
    let home = Home::with_realm();
    let before = home.data();
    write(
        &home,
        "users",
        &format!("alice:{}\ndora:{}\ngone:{}\n", hash(), hash(), hash()),
    );
    for dry in ["", "--dry-run"] {
        home.run(&format!("import htpasswd users {dry} {UNLOCK}"))
            .refused(8, "exists")
            .saying("alice")
            .saying("--skip-existing");
    }
    let dry = home.run("import htpasswd users --dry-run --skip-existing -o json");
    assert_eq!(
        dry.data("import"),
        json!({"imported": 2, "existing": ["alice"], "bad": [], "dry_run": true})
    );
    assert!(home.data() == before);
    home.run(&format!("import htpasswd users --skip-existing {UNLOCK}"))
        .succeeded();
    assert_eq!(
        home.run("user show alice -o json").data("user")["roles"],
        json!(["admin"])
    );
    home.run("user show gone").succeeded();
}

#[test]
fn what_cannot_be_imported_is_refused_before_the_passphrase() {
    let home = Home::with_realm();
    let before = home.data();
    write(&home, "noheader", &format!("dora,\"{}\"\n", hash()));
    write(&home, "users", &format!("dora:{}\n", hash()));
    home.run("import csv noheader")
        .refused(2, "config")
        .saying("header");
    home.run("import htpasswd none")
        .refused(2, "config")
        .saying("none");
    home.run("import ldif users").refused(2, "usage");
    home.run("import htpasswd").refused(2, "usage");
    home.run("import htpasswd users --role Nobody")
        .refused(2, "usage");
    for dry in ["", "--dry-run"] {
        home.run(&format!("import htpasswd users --role nobody {dry}"))
            .refused(3, "not_found");
    }
    home.run("import htpasswd users").refused(2, "usage");
    home.run_with("wrong", "import htpasswd users --passphrase-stdin")
        .refused(4, "unauthenticated");
    assert!(home.data() == before);
}

#[test]
fn an_export_has_names_and_roles_and_no_secrets() {
    let home = Home::with_realm();
    let exported = home.run("export");
    assert_eq!(
        exported.succeeded().stdout,
        "{\"enabled\":true,\"name\":\"alice\",\"roles\":[\"admin\"]}\n\
         {\"enabled\":true,\"name\":\"ci\",\"roles\":[\"app/*:rw\"]}\n"
    );
    assert_eq!(home.run("export -o json").data("export")[1]["name"], "ci");
}

#[test]
fn lists_come_in_pages() {
    let home = Home::with_realm();
    let content: String = (0..5)
        .map(|index| format!("u{index}:{}\n", hash()))
        .collect();
    write(&home, "users", &content);
    home.run(&format!("import htpasswd users {UNLOCK}"))
        .succeeded();
    let names = |arguments: &str| -> Vec<String> {
        let listed = home
            .run(&format!("user list {arguments} -o json -q"))
            .data("users");
        let users = listed.as_array().expect("an array");
        users
            .iter()
            .map(|user| user["name"].as_str().expect("a name").to_owned())
            .collect()
    };
    assert_eq!(names(""), ["alice", "ci", "u0", "u1", "u2", "u3", "u4"]);
    assert_eq!(names("--limit 3"), ["alice", "ci", "u0"]);
    // Deleted users, and the place where a page ends, do not count.
    assert_eq!(names("--limit 2 --after ci"), ["u0", "u1"]);
    assert_eq!(names("--after u3"), ["u4"]);
    assert_eq!(names("--after b --limit 1"), ["ci"]);
    assert!(names("--after u4").is_empty());
    home.run("user list --limit 3")
        .succeeded()
        .saying("--after u0");
    let last = home.run("user list --limit 5 --after ci");
    assert_eq!(last.succeeded().stderr, "");
    home.run("user list --limit 0").refused(2, "usage");
    home.run("user list --after A").refused(2, "usage");
}
