//! Neither passwords nor keys nor values are anywhere but where they belong.

mod memory;

use std::fs;
use std::io::{ErrorKind, Write};
use std::net::TcpStream;
use std::time::Duration;

use sealmoot_tests::capture::Capture;
use sealmoot_tests::cluster::{Cluster, NAMES};
use sealmoot_tests::files::{contains, walk};
use sealmoot_tests::home::{Home, PASSPHRASE, PASSWORD};
use sealmoot_tests::memory::Memory;
use sealmoot_tests::poll::eventually;
use serde_json::json;

const KEY: &str = "canary/heron-key-77af";
const VALUE: &str = "heron-value-b3c9";
const OTHER_PASSWORD: &str = "heron-password-11d0";
/// What the capture must show, being sent in the clear.
const CONTROL: &[u8] = b"heron-in-the-clear-52e4";

/// The secrets, each as it is and as hexadecimal digits.
fn needles() -> Vec<(String, Vec<u8>)> {
    let secrets = [KEY, VALUE, PASSWORD, OTHER_PASSWORD, PASSPHRASE];
    let secrets = secrets.into_iter().chain(["heron-key", "canary/"]);
    secrets
        .flat_map(|secret| {
            let hex: String = secret.bytes().map(|byte| format!("{byte:02x}")).collect();
            let hex_name = format!("{secret} in hexadecimal");
            [
                (secret.to_owned(), secret.as_bytes().to_vec()),
                (hex_name, hex.into_bytes()),
            ]
        })
        .collect()
}

#[track_caller]
fn assert_clean(place: &str, content: &[u8]) {
    // Segments are made long before they are filled.
    let filled = content.iter().rposition(|&byte| byte != 0);
    let content = &content[..filled.map_or(0, |last| last + 1)];
    for (name, needle) in needles() {
        assert!(!contains(content, &needle), "{name} is in {place}");
    }
}

/// A cluster in the background with all logging on, that has seen every secret.
fn used_cluster() -> Cluster {
    let home = Home::with_environment(&[("SEALMOOT_LOG", "trace")]);
    let mut cluster = Cluster::form_in(home);
    for index in 0..3 {
        cluster.stop(index);
    }
    for name in NAMES {
        cluster
            .home
            .kvd(&format!("start --data {name} --daemonize"))
            .succeeded();
    }
    cluster
}

fn use_every_secret(cluster: &Cluster) {
    let home = &cluster.home;
    home.user("heron", "canary/*:rwdl");
    cluster.log_in("heron").succeeded();
    home.secret("heron-pw", OTHER_PASSWORD);
    let passwd = "user passwd heron --passphrase-file pp --password-file heron-pw";
    home.authctl(passwd).succeeded();
    let address = cluster.ports.address(2);
    let login = format!("login heron@{address} --context heron --password-file");
    cluster
        .kv(&format!("{login} pw"))
        .refused(4, "unauthenticated");
    cluster.kv(&format!("{login} heron-pw")).succeeded();
    for index in 0..3 {
        let endpoint = cluster.ports.address(index);
        let kv = |arguments: &str, input: &str| {
            let arguments = format!("{arguments} --context heron --endpoints {endpoint}");
            cluster.kv_run(&arguments).input(input).finish()
        };
        kv(&format!("put {KEY} -"), VALUE).succeeded();
        assert_eq!(kv(&format!("get {KEY}"), "").stdout, VALUE.as_bytes());
        kv("ls canary/", "").succeeded();
        kv(&format!("cas {KEY} - --absent"), VALUE).refused(8, "conflict");
        let lines = [
            json!({"op": "put", "key": format!("{KEY}/{index}"), "value": VALUE}),
            json!({"op": "cas", "key": KEY, "value": VALUE, "expect": VALUE}),
            json!({"op": "get", "key": KEY, "consistency": "one"}),
            json!({"op": "put", "key": format!("other/{KEY}"), "value": VALUE}),
        ];
        let lines: Vec<String> = lines.iter().map(ToString::to_string).collect();
        kv("batch", &lines.join("\n")).succeeded();
        kv(&format!("del {KEY}/{index}"), "").succeeded();
    }
}

/// The process of a node in the background.
fn pid_of(cluster: &Cluster, name: &str) -> u32 {
    let path = cluster.home.path(name).join("kvd.pid");
    let pid = fs::read_to_string(path).expect("a pid");
    pid.trim().parse().expect("a number")
}

#[test]
fn no_secret_is_on_a_disk_or_in_a_log_or_shown_by_a_process() {
    let cluster = used_cluster();
    use_every_secret(&cluster);

    for name in NAMES {
        let pid = pid_of(&cluster, name);
        for file in ["cmdline", "environ"] {
            let path = format!("/proc/{pid}/{file}");
            let content = match fs::read(&path) {
                // What is not dumpable is for root.
                Err(error) if error.kind() == ErrorKind::PermissionDenied => {
                    eprintln!("SKIPPED {path}: it is not for whoever runs this test");
                    continue;
                }
                content => content.expect("it runs"),
            };
            assert!(!content.is_empty(), "{path} is empty");
            assert_clean(&path, &content);
        }
    }
    // The log is that of a node that tells all it can.
    let log = fs::read_to_string(cluster.data(0).join("kvd.log")).expect("a log");
    assert!(log.contains("TRACE") || log.contains("DEBUG"), "{log}");
    for running in [true, false] {
        for name in NAMES {
            let files = walk(&cluster.home.path(name));
            assert!(files.len() >= 4, "{files:?}");
            for path in files {
                let content = match fs::read(&path) {
                    // A running node has put another in its place.
                    Err(error) if running && error.kind() == ErrorKind::NotFound => continue,
                    read => read.expect("a file"),
                };
                assert_clean(&path.display().to_string(), &content);
            }
            let messages = cluster.home.path(format!("{name}.messages"));
            assert_clean("messages", &fs::read(messages).expect("messages"));
            if running {
                cluster.home.kvd(&format!("stop --data {name}")).succeeded();
            }
        }
    }
    // What the administrator and the client keep holds no password or passphrase.
    for directory in ["config", "share"] {
        for path in walk(&cluster.home.path(directory)) {
            let content = fs::read(&path).expect("a file");
            for secret in [PASSWORD, OTHER_PASSWORD, PASSPHRASE, VALUE] {
                let shown = contains(&content, secret.as_bytes());
                assert!(!shown, "{secret} is in {}", path.display());
            }
        }
    }
}

#[test]
fn no_password_is_in_the_core_of_a_node() {
    let cluster = used_cluster();
    use_every_secret(&cluster);
    for name in NAMES {
        let pid = pid_of(&cluster, name);
        assert_eq!(memory::core_limits(pid), ["0", "0"], "{name}");
        let Some(memory) = Memory::of(&cluster.home, pid) else {
            eprintln!("SKIPPED no_password_is_in_the_core_of_a_node: gcore captures nothing");
            return;
        };
        // What a node does hold is there, so the core is one.
        assert!(memory.holds(VALUE.as_bytes()), "{name} lost the value");
        for secret in [PASSWORD, OTHER_PASSWORD, PASSPHRASE] {
            let shown = memory.holds_in_any_form(secret.as_bytes());
            assert!(!shown, "{secret} is in the core of {name}");
        }
    }
}

#[test]
fn no_secret_is_on_the_wire() {
    let cluster = used_cluster();
    let file = cluster.home.path("capture.pcap");
    let Some(capture) = Capture::start(&file, cluster.ports.numbers()) else {
        eprintln!("SKIPPED no_secret_is_on_the_wire: tcpdump does not run");
        return;
    };
    use_every_secret(&cluster);
    for index in 0..3 {
        let mut stream = TcpStream::connect(cluster.ports.address(index)).expect("it listens");
        stream.write_all(CONTROL).expect("sent");
    }
    // Packets come to the capture in order, so the rest is there too.
    eventually("the capture catches up", Duration::from_secs(60), || {
        capture.holds(CONTROL).then_some(())
    });
    let captured = capture.finish();
    assert!(
        captured.len() > 50_000,
        "{} bytes were captured",
        captured.len()
    );
    for (what, bytes) in [
        ("a hello of TLS", &[0x16, 3, 1][..]),
        ("sealed records of TLS", &[0x17, 3, 3]),
    ] {
        assert!(contains(&captured, bytes), "the capture holds no {what}");
    }
    assert_clean("the capture", &captured);
    assert!(
        !contains(&captured, cluster.realm.as_bytes()),
        "the realm is visible"
    );
}

#[test]
fn no_secret_is_in_what_commands_say() {
    let cluster = Cluster::shared();
    cluster.home.secret("heron-pw", OTHER_PASSWORD);
    let address = cluster.ports.address(0);
    cluster
        .kv_run(&format!("put {KEY} -"))
        .input(VALUE)
        .finish()
        .succeeded();
    let outcomes = [
        cluster.kv(&format!(
            "login alice@{address} --password-file heron-pw -v"
        )),
        cluster.kv(&format!("get {KEY} --timeout 0s -v")),
        cluster
            .kv_run(&format!("cas {KEY} - --absent -v"))
            .input(VALUE)
            .finish(),
        cluster
            .kv_run("batch -v")
            .input(format!("{{\"value\":\"{VALUE}\"}}"))
            .finish(),
        cluster.kv_run("put system/x - -v").input(VALUE).finish(),
        cluster.home.authctl("realm show --passphrase-file pp -v"),
        cluster
            .home
            .authctl("user disable alice --passphrase-file heron-pw -v"),
    ];
    for outcome in outcomes {
        assert_ne!(outcome.exit, 0, "{outcome:?}");
        for secret in [VALUE, PASSWORD, OTHER_PASSWORD, PASSPHRASE] {
            assert!(!outcome.stderr.contains(secret), "{outcome:?}");
        }
    }
}
