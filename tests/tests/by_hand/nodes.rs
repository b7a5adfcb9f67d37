//! `kvd`: joining, starting, stopping, and what a node says of itself.

use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;
use std::time::Duration;

use sealmoot_tests::cluster::{Cluster, NAMES, invite};
use sealmoot_tests::command::fields;
use sealmoot_tests::files::{copy_directory, data_files, walk};
use sealmoot_tests::home::Home;
use sealmoot_tests::poll::eventually;
use sealmoot_tests::ports::Ports;
use serde_json::{Value, json};

const WITHIN: Duration = Duration::from_secs(60);

#[test]
fn a_cluster_forms_in_the_background() {
    let home = Home::new();
    let realm = home.realm("acme");
    home.user("alice", "admin");
    let ports = Ports::reserve(3);
    invite(&home, &ports, "").succeeded();
    for name in NAMES {
        let join = format!("join {name}.invite --data {name} --daemonize");
        assert_eq!(
            home.kvd(&join).succeeded().stdout,
            b"",
            "READY is of the foreground"
        );
        let pid = fs::read_to_string(home.path(name).join("kvd.pid")).expect("a pid");
        assert!(
            fs::exists(format!("/proc/{}", pid.trim())).expect("known"),
            "{name}"
        );
    }
    // At once, at the node that was the first: the last join said that it formed.
    let login = format!(
        "login alice@{} --realm {realm} --password-file pw",
        ports.address(0)
    );
    home.kv(&login).succeeded();
    home.kv("put nodes/x 1").succeeded();
    for name in NAMES {
        let invite = home.path(format!("{name}.invite"));
        let what = format!("{name} destroys its invite");
        eventually(&what, WITHIN, || (!invite.exists()).then_some(()));
    }
    for name in NAMES {
        home.kvd(&format!("stop --data {name}")).succeeded();
        assert!(!home.path(name).join("kvd.pid").exists());
    }
    for name in NAMES {
        let start = format!("start --data {name} --daemonize");
        assert_eq!(home.kvd(&start).succeeded().stdout, b"");
    }
    assert_eq!(home.kv("get nodes/x").succeeded().stdout, b"1");
}

#[test]
fn files_of_a_node_are_private_and_its_key_is_elsewhere() {
    let cluster = Cluster::shared();
    for (index, name) in NAMES.iter().enumerate() {
        for path in walk(&cluster.data(index)) {
            let metadata = match fs::metadata(&path) {
                // The node has put another in its place.
                Err(error) if error.kind() == ErrorKind::NotFound => continue,
                metadata => metadata.expect("there"),
            };
            let mode = metadata.permissions().mode();
            assert_eq!(mode & 0o077, 0, "{}", path.display());
        }
        let key = cluster.home.path(format!("config/nodes/{name}.key"));
        let mode = fs::metadata(&key).expect("a key").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert!(!cluster.home.path(format!("{name}.invite")).exists());
    }
}

#[test]
fn nodes_say_how_they_are() {
    let mut cluster = Cluster::form();
    cluster.await_whole();
    cluster.kv("put nodes/x 1").succeeded();
    let status = |cluster: &Cluster| cluster.kv("cluster status -o json").data("cluster_status");
    let whole = status(&cluster);
    assert_eq!(fields(&whole), ["epoch", "need", "nodes", "realm", "state"]);
    assert_eq!(whole["realm"], cluster.realm.as_str());
    assert_eq!(whole["state"], "ok");
    assert_eq!(whole["need"], 2);
    for (index, node) in whole["nodes"].as_array().expect("nodes").iter().enumerate() {
        assert_eq!(fields(node), ["addr", "name", "root", "state"]);
        assert_eq!(node["name"], NAMES[index]);
        assert_eq!(node["addr"], cluster.ports.address(index));
        assert_eq!(node["state"], "up");
        assert!(node["root"].is_string());
    }
    let node = cluster.home.kvd("status --data n2 -o json").data("status");
    let expected = [
        "addr",
        "counter",
        "incarnation",
        "name",
        "pid",
        "root",
        "state",
    ];
    assert_eq!(fields(&node), expected);
    assert_eq!(node["name"], "n2");
    assert_eq!(node["addr"], cluster.ports.address(1));
    assert_eq!(node["state"], "up");
    assert!(node["incarnation"].is_u64() && node["counter"].is_u64() && node["root"].is_string());

    cluster.stop(1);
    let stopped = cluster.home.kvd("status --data n2 -o json").data("status");
    assert_eq!(fields(&stopped), expected);
    assert_eq!(stopped["pid"], Value::Null);
    assert_eq!(stopped["state"], "stopped");
    let degraded = eventually("n2 is missed", WITHIN, || {
        let now = status(&cluster);
        (now["state"] == "degraded").then_some(now)
    });
    assert_eq!(degraded["nodes"][1]["state"], "down");
    assert_eq!(degraded["nodes"][1]["root"], Value::Null);
}

#[test]
fn one_node_less_is_a_warning_and_two_are_no_quorum() {
    let mut cluster = Cluster::form();
    cluster.kv("put nodes/x 1").succeeded();
    cluster.kill(&[1]);
    let got = eventually("the warning", WITHIN, || {
        let got = cluster.kv("get nodes/x");
        assert_eq!(got.succeeded().stdout, b"1");
        got.stderr.contains("warning").then_some(got)
    });
    got.saying("n2 unreachable").saying("quorum 2/3");
    let got = cluster.kv("get nodes/x -o json").document();
    assert_eq!(got["warnings"].as_array().map(Vec::len), Some(1), "{got}");
    // The counts are those of the cluster, whichever nodes the client asks.
    let endpoint = cluster.ports.address(0);
    cluster
        .kv(&format!("get nodes/x --endpoints {endpoint}"))
        .succeeded()
        .saying("quorum 2/3");
    cluster.kv("put nodes/y 1").succeeded();

    cluster.kill(&[2]);
    for act in [
        "get nodes/x",
        "put nodes/x 2",
        "del nodes/x",
        "cas nodes/x 2 --absent",
        "ls",
    ] {
        let refused = cluster.kv(&format!("{act} --timeout 4s -o json"));
        assert_eq!(refused.stdout, b"");
        // A write that one replica took may come back with the others.
        if refused.exit == 11 {
            assert!(!act.starts_with("get") && act != "ls", "{refused:?}");
            refused.refused(11, "outcome_unknown");
            continue;
        }
        refused.refused(7, "no_quorum");
        let error = refused.error().expect("an error");
        let nodes = error["nodes"].as_array().expect("nodes");
        assert_eq!(nodes.len(), 3, "{error}");
        for (index, node) in nodes.iter().enumerate() {
            assert_eq!(node["name"], NAMES[index]);
            assert_eq!(node["outcome"] == "ok", index == 0, "{error}");
        }
        assert_ne!(error["hint"], "");
    }
    let one = cluster.kv("get nodes/x --consistency one");
    assert_eq!(one.succeeded().stdout, b"1");

    cluster.kill(&[0]);
    let refused = cluster.kv("get nodes/x --timeout 4s -o json");
    refused.refused(6, "unreachable");

    cluster.start(&[0, 1]);
    assert_eq!(cluster.kv("get nodes/y").succeeded().stdout, b"1");
}

#[test]
fn a_stop_and_a_start_keep_all_data() {
    let mut cluster = Cluster::form();
    let lines: Vec<String> = (0..100)
        .map(|n| json!({"id": n, "op": "put", "key": format!("kept/{n:03}"), "value": "v"}))
        .map(|line| line.to_string())
        .collect();
    cluster
        .kv_run("batch")
        .input(lines.join("\n"))
        .finish()
        .succeeded();
    let before = cluster.kv("ls kept/ -o json").data("ls");
    assert_eq!(before["entries"].as_array().map(Vec::len), Some(100));
    for _ in 0..2 {
        for index in 0..3 {
            cluster.stop(index);
        }
        for name in NAMES {
            let verified = cluster.home.kvd(&format!("verify {name} -o json"));
            assert_eq!(verified.data("verify"), json!({"ok": true, "damaged": []}));
        }
        cluster.start(&[0, 1, 2]);
        assert_eq!(cluster.kv("ls kept/ -o json").data("ls"), before);
    }
}

#[test]
fn all_output_but_ready_goes_to_standard_error() {
    let mut cluster = Cluster::form();
    cluster.stop(0);
    let node = cluster.launch(0);
    let line = node.ready();
    let (exit, rest) = (node.terminate(), node.rest_of_stdout());
    assert_eq!(exit, 0);
    assert!(rest.is_empty(), "{rest:?}");
    assert_eq!(line, format!("READY n1 {}", cluster.ports.address(0)));
}

#[test]
fn a_node_alone_is_not_ready() {
    let mut cluster = Cluster::form();
    for index in 0..3 {
        cluster.stop(index);
    }
    assert!(
        !cluster
            .launch(0)
            .is_ready_within(Duration::from_millis(700))
    );
    let refused = cluster.kv("get x --timeout 4s -o json");
    assert!([6, 7].contains(&refused.exit), "{refused:?}");
    cluster.start(&[1]);
    cluster.kv("get x").refused(3, "not_found");
}

#[test]
fn a_directory_has_one_process() {
    let mut cluster = Cluster::form();
    for second in [
        "start --data n1",
        "start --data n1 --daemonize",
        "verify n1",
    ] {
        let refused = cluster.home.kvd(&format!("{second} -o json"));
        refused.refused(10, "wrong_state");
    }
    cluster.kv("put nodes/x 1").succeeded();
    cluster.stop(0);
    cluster.home.kvd("verify n1").succeeded();
    cluster
        .home
        .kvd("stop --data n1 -o json")
        .refused(10, "wrong_state");
}

#[test]
fn a_copied_directory_without_its_key_opens_nothing() {
    let mut cluster = Cluster::form();
    cluster.kv("put nodes/x 1").succeeded();
    cluster.stop(2);
    let thief = Home::new();
    copy_directory(&cluster.data(2), &thief.path("stolen"));
    for act in [
        "start --data stolen",
        "start --data stolen --daemonize",
        "verify stolen",
        "status --data stolen",
    ] {
        thief.kvd(&format!("{act} -o json")).refused(10, "locked");
    }
    // Nor does a key of another node.
    fs::create_dir_all(thief.path("config/nodes")).expect("a directory");
    let other = fs::read(cluster.home.path("config/nodes/n1.key")).expect("a key");
    thief.secret("n1.key", &other);
    thief
        .kvd("verify stolen --key-file n1.key -o json")
        .refused(10, "locked");
    thief.secret("no.key", b"no key at all, though it has a length");
    let refused = thief.kvd("verify stolen --key-file no.key -o json");
    assert!([2, 10].contains(&refused.exit), "{refused:?}");
    // With its own it opens.
    let own = fs::read(cluster.home.path("config/nodes/n3.key")).expect("a key");
    thief.secret("n3.key", &own);
    thief
        .kvd("verify stolen --key-file n3.key -o json")
        .succeeded();
}

#[test]
fn what_is_no_node_is_not_started() {
    let home = Home::new();
    fs::create_dir(home.path("empty")).expect("a directory");
    fs::set_permissions(home.path("empty"), fs::Permissions::from_mode(0o700)).expect("a mode");
    for directory in ["none", "empty"] {
        for act in ["start --data", "stop --data", "status --data", "verify"] {
            let refused = home.kvd(&format!("{act} {directory} -o json"));
            refused.refused(10, "not_initialised");
        }
        assert!(!home.path("none").exists(), "it was made");
    }
    let refused = home.kvd("start --data none --daemonize -o json");
    refused.refused(10, "not_initialised");
    assert!(!home.path("none").exists(), "it was made");
}

#[test]
fn what_others_can_read_is_refused() {
    let mut cluster = Cluster::form();
    cluster.stop(0);
    let set = |path: &std::path::Path, mode| {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("a mode");
    };
    let data = cluster.data(0);
    let mut open_to_others = vec![(data.clone(), 0o755, 0o700)];
    let key = cluster.home.path("config/nodes/n1.key");
    open_to_others.push((key, 0o644, 0o600));
    // A spare segment is replaced at every start, whatever became of it.
    for file in data_files(&data)
        .into_iter()
        .filter(|file| *file != "spare-segment")
    {
        open_to_others.push((data.join(file), 0o640, 0o600));
    }
    for (path, open, closed) in open_to_others {
        set(&path, open);
        for act in ["start --data n1", "verify n1"] {
            let refused = cluster.home.kvd(&format!("{act} -o json"));
            assert_eq!(refused.exit, 2, "{}: {refused:?}", path.display());
            refused.refused(2, "config");
        }
        set(&path, closed);
    }
    cluster.home.kvd("verify n1").succeeded();
}

#[test]
fn a_stale_pid_file_endangers_nobody() {
    let mut cluster = Cluster::form();
    cluster.kill(&[0]);
    let mut stranger = Command::new("sleep").arg("600").spawn().expect("a process");
    let pid_file = cluster.home.path("n1/kvd.pid");
    fs::write(&pid_file, format!("{}\n", stranger.id())).expect("written");
    let stopped = cluster.home.kvd("stop --data n1");
    cluster.home.kvd("verify n1").succeeded();
    let alive = stranger.try_wait().expect("its state").is_none();
    let _ = stranger.kill();
    let _ = stranger.wait();
    stopped.refused(10, "wrong_state");
    assert!(alive, "another process got the signal");
    assert!(!pid_file.exists(), "it still names a stranger");
}

#[test]
fn every_program_has_completions_and_manual_pages() {
    let home = Home::new();
    let run = |program: &str, arguments: &str| match program {
        "kv" => home.kv(arguments),
        _ => home.kvd(arguments),
    };
    for (program, page) in [("kv", "kv-cas.1"), ("kvd", "kvd-join.1")] {
        let script = run(program, "completions bash").succeeded().stdout.clone();
        let path = home.path("script");
        fs::write(&path, script).expect("written");
        let read = Command::new("bash").arg("-n").arg(&path).status();
        assert!(read.expect("bash runs").success(), "{program}");
        run(program, &format!("man {program}-pages")).succeeded();
        let text = fs::read_to_string(home.path(format!("{program}-pages")).join(page));
        assert!(text.expect(page).contains(".SH NAME"));
    }
}

#[test]
fn a_revoked_node_is_refused_by_nodes_and_clients_and_the_others_go_on() {
    let cluster = Cluster::form();
    cluster.kv("put nodes/x 1").succeeded();
    let revoke = |node: &str| {
        let revoke = format!("node revoke {node} --passphrase-file pp -o json");
        cluster.home.authctl(&revoke)
    };
    revoke("n9").refused(3, "not_found");
    let data = revoke("n3").data("nodes_revoked");
    assert_eq!(fields(&data[0]), ["key_id", "name"]);
    assert_eq!(data[0]["name"], "n3");
    eventually("n3, and no other, counts as down", WITHIN, || {
        let status = cluster.kv("cluster status -o json").data("cluster_status");
        let states = [0, 1, 2].map(|index: usize| status["nodes"][index]["state"].clone());
        (states == ["up", "up", "down"]).then_some(())
    });
    cluster.kv("put nodes/x 2").succeeded();
    // The client has heard of it, and keeps it for commands to come.
    let at_third = format!(
        "get nodes/x --endpoints {} -o json",
        cluster.ports.address(2)
    );
    cluster
        .kv(&at_third)
        .refused(6, "unreachable")
        .saying("revoked");
    let listed = cluster.home.authctl("node list -o json").data("nodes");
    assert_eq!(listed[2]["state"], "revoked");
    // One more would leave no quorum.
    revoke("n2").refused(2, "usage").saying("nobody can read");
    assert_eq!(cluster.kv("get nodes/x").succeeded().stdout, b"2");
}
