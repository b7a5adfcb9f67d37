//! `node invite`.

use std::fs;

use sealmoot_authn::invite::Invite;

use crate::fixture::{Home, mode};

#[test]
fn an_invite_is_a_private_file_for_one_node() {
    let home = Home::with_realm();
    let invite = "node invite n1=127.0.0.1 n2=[::1]:9 --out invites --ttl 10m";
    let data = home
        .run(&format!("{invite} --passphrase-file pp -o json"))
        .data("invite");
    let realm = home.run("realm show -o json").data("realm");
    let mut invites = Vec::new();
    for (at, name, address) in [(0, "n1", "127.0.0.1:7401"), (1, "n2", "[::1]:9")] {
        let described = &data[at];
        let file = format!("invites/{name}.invite");
        assert_eq!(described["name"], name);
        assert_eq!(described["addr"], address);
        assert_eq!(described["file"], file);
        assert_eq!(described.as_object().map(serde_json::Map::len), Some(4));
        let expires: &str = described["expires"].as_str().expect("a time");
        assert!(expires.len() == 20 && expires.ends_with('Z'), "{expires}");

        assert_eq!(mode(&home.path(&file)), 0o600);
        let bytes = fs::read(home.path(&file)).expect("written");
        let invite = Invite::decode(&bytes).expect("valid");
        assert_eq!(invite.realm().to_string(), realm["id"]);
        assert_eq!(invite.member().name.as_str(), name);
        assert_eq!(invite.member().address, address);
        let lifetime = invite.call().body().expires_ms - invite.call().issued_ms();
        assert_eq!(lifetime, 600_000);
        assert!(invite.sealed().open(&[invite.share().clone()]).is_err());
        invites.push(invite);
    }
    let shares: Vec<_> = invites
        .iter()
        .map(|invite| invite.share().clone())
        .collect();
    for invite in invites {
        // Who was deleted travels along, so that no older record comes back.
        let opened = invite.sealed().open(&shares).expect("opens");
        assert_eq!(opened.records.len(), 3);
    }
    assert_eq!(data.as_array().map(Vec::len), Some(2));
}

#[test]
fn invites_lie_here_unless_told_otherwise() {
    let home = Home::with_realm();
    let made = home.run("node invite n1=a n2=b n3=c --passphrase-file pp");
    let shown = &made.succeeded().stdout;
    let begins = "✓ n1.invite n2.invite n3.invite   single use, pin realm moot1";
    assert!(shown.starts_with(begins), "{shown}");
    made.saying("kvd join");
    assert!(home.path("n3.invite").is_file());
}

#[test]
fn one_file_in_the_way_stops_all() {
    let home = Home::with_realm();
    home.secret("n2.invite", "precious");
    let before = home.data();
    let invite = "node invite n1=a n2=b n3=c";
    for arguments in [invite, &format!("{invite} --passphrase-file pp")] {
        home.run(arguments).refused(8, "exists").saying("n2.invite");
    }
    std::os::unix::fs::symlink("nowhere", home.path("n4.invite")).expect("linked");
    home.run("node invite n4=d --passphrase-file pp")
        .refused(8, "exists");
    assert!(!home.path("n1.invite").exists() && !home.path("n3.invite").exists());
    assert_eq!(
        fs::read(home.path("n2.invite")).expect("there"),
        b"precious"
    );
    assert!(home.data() == before);
}

#[test]
fn calls_that_cannot_be_answered_are_refused() {
    let home = Home::with_realm();
    let before = home.data();
    let crowd: String = (0..33).map(|at| format!("n{at}=host{at} ")).collect();
    for nodes in [
        "",
        "n1",
        "n1=",
        "=a",
        "N1=a",
        "../n1=a",
        "n1=a:",
        "n1=a:0",
        "n1=a:65536",
        "n1=a:port",
        "n1=a/b:1",
        "n1=:1",
        "n1=a:1:1",
        "n1=a n1=b",
        "n1=a n2=a",
        "n1=a n2=a:7401",
        "n1=a --ttl 0",
        "n1=a --ttl -1s",
        "n1=a --ttl soon",
        &crowd,
    ] {
        home.run(&format!("node invite {nodes} --passphrase-file pp"))
            .refused(2, "usage");
    }
    home.run("node invite n1=a").refused(2, "usage");
    home.run("node invite n1=a --passphrase-file pp --out pp")
        .refused(8, "exists");
    assert!(home.data() == before);
    assert!(!home.path("n1.invite").exists());
}

#[test]
fn a_wrong_passphrase_invites_nobody() {
    let home = Home::with_realm();
    let before = home.data();
    home.run("node invite n1=a --passphrase-file pw --out new")
        .refused(4, "unauthenticated");
    assert!(home.data() == before && !home.path("new").exists());
}

#[test]
fn forgotten_nodes_are_told_of_nothing_and_make_no_noise() {
    let home = Home::with_realm();
    let forget = |what: &str| home.run(&format!("node forget {what} --passphrase-file pp"));
    let disable = "user disable ci --passphrase-file pp";
    let enable = "user enable ci --passphrase-file pp";
    home.run("node invite a=127.0.0.1:1 b=127.0.0.1:2 --ttl 1ms --passphrase-file pp")
        .succeeded();
    home.run("node invite c=127.0.0.1:3 --passphrase-file pp")
        .succeeded()
        .saying("when one node fails, nothing works");
    let noisy = home.run(disable);
    noisy
        .succeeded()
        .saying("never seen, and their invites have expired: a=127.0.0.1:1");
    let call = noisy.stderr.split("--call ").nth(1).expect("the remedy");
    let call = call.lines().next().expect("a line");
    forget(&format!("--call {call}")).succeeded();
    let quieter = home.run(enable);
    assert!(!quieter.succeeded().stderr.contains("127.0.0.1:1"));
    quieter.saying("c=127.0.0.1:3");
    let done = forget("c");
    assert_eq!(done.succeeded().stdout, "✓ forgotten: c=127.0.0.1:3\n");
    assert_eq!(home.run(disable).succeeded().stderr, "");
    assert!(!home.path("data/acme/untold").exists());
    assert_eq!(
        fs::read_dir(home.path("data/acme/calls"))
            .expect("it")
            .count(),
        0
    );
    forget("c").refused(3, "not_found");
    forget("").refused(2, "usage");
    forget("a --call x").refused(2, "usage");
    home.run("node forget c --passphrase-file pw")
        .refused(3, "not_found");
}
