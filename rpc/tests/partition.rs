//! Calls go on within two seconds of a partition's end, however long it was and
//! whichever way it cut; and a slow link is not taken for one.
//!
//! The network is real: a namespace of its own, whose packet filter drops what
//! the two sides send to each other. Needs root, `ip`, `nft` and `tc`. Two cuts
//! by default; with `SEALMOOT_PARTITIONS=full` all twelve and the slow links,
//! which takes a minute.
#![cfg(target_os = "linux")]

mod common;

use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use common::{Anyone, BIG, ECHO, key};
use sealmoot_rpc::{Connector, DialError, Limits, Link};
use tokio::sync::Notify;

const INSIDE: &str = "SEALMOOT_PARTITION_INSIDE";
const FULL: &str = "SEALMOOT_PARTITIONS";
const RESUMED_WITHIN: Duration = Duration::from_secs(2);
/// Heartbeats, with something for a busy machine.
const NOTICED_WITHIN: Duration = Duration::from_millis(2_500 + 700);

/// What is dropped on the way to or from the server's port.
#[derive(Clone, Copy, Debug)]
enum Cut {
    Both,
    Requests,
    Answers,
}

#[test]
fn calls_resume_within_two_seconds_of_a_partitions_end() {
    if std::env::var_os(INSIDE).is_some() {
        tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .expect("a runtime")
            .block_on(async {
                inside().await;
                if std::env::var_os(FULL).is_some() {
                    slow_links().await;
                }
            });
        return;
    }
    let namespace = format!("sealmoot-{}", std::process::id());
    if let Err(why) = run("ip", &["netns", "add", &namespace]) {
        eprintln!("SKIPPED calls_resume_within_two_seconds_of_a_partitions_end: {why}");
        return;
    }
    let _removed = Namespace(&namespace);
    let prepared = run("ip", &["-n", &namespace, "link", "set", "lo", "up"]).and_then(|()| {
        run(
            "ip",
            &["netns", "exec", &namespace, "nft", "list", "tables"],
        )
    });
    if let Err(why) = prepared {
        eprintln!("SKIPPED calls_resume_within_two_seconds_of_a_partitions_end: {why}");
        return;
    }
    let inside = Command::new("ip")
        .args(["netns", "exec", &namespace])
        .arg(std::env::current_exe().expect("this test"))
        .args([
            "--exact",
            "calls_resume_within_two_seconds_of_a_partitions_end",
            "--nocapture",
        ])
        .env(INSIDE, "1")
        .status()
        .expect("ip runs");
    assert!(inside.success());
}

async fn inside() {
    let (server, _) = common::serve(Limits::default()).await;
    let address = server.local_addr();
    let connector = Connector::new(&key(), Arc::new(Anyone(b"client")), Limits::default())
        .expect("sound configuration");
    let link = Link::start(move || {
        let connector = connector.clone();
        async move {
            let address = address.to_string();
            let connected = connector.connect(&address, Duration::from_secs(2));
            connected.await.map_err(DialError::from)
        }
    });
    let port = address.port();
    filter("add table inet partition");
    filter("add chain inet partition input { type filter hook input priority 0; }");
    let link = Arc::new(link);
    let calls = Arc::new(Notify::new());
    tokio::spawn(keep_calling(Arc::clone(&link), Arc::clone(&calls)));
    for (cut, milliseconds) in cuts() {
        let cut_for = Duration::from_millis(milliseconds);
        calls.notified().await;
        // Before anything is cut, which takes its time.
        let connection = link.connection().expect("it answered a moment ago");
        if !matches!(cut, Cut::Answers) {
            filter(&format!(
                "add rule inet partition input tcp dport {port} drop"
            ));
        }
        if !matches!(cut, Cut::Requests) {
            filter(&format!(
                "add rule inet partition input tcp sport {port} drop"
            ));
        }
        let began = Instant::now();
        if cut_for > NOTICED_WITHIN {
            tokio::time::timeout(NOTICED_WITHIN, connection.closed())
                .await
                .expect("a dead peer is noticed");
        }
        tokio::time::sleep(cut_for.saturating_sub(began.elapsed())).await;
        filter("flush chain inet partition input");
        let healed = Instant::now();
        calls.notified().await;
        let resumed = healed.elapsed();
        println!("partition: {cut:?} for {cut_for:?}, resumed {resumed:?} after its end");
        assert!(
            resumed < RESUMED_WITHIN,
            "{cut:?} for {cut_for:?}: {resumed:?}"
        );
    }
}

/// A bulk reply takes many times what a ping may; heartbeats stand behind it in
/// one direction only.
async fn slow_links() {
    let (server, _) = common::serve(Limits::default()).await;
    for (rate, bytes) in [("300kbit", 300_000_u32), ("2mbit", 2_000_000)] {
        let connection = common::connect(&server).await;
        let shape = format!("qdisc replace dev lo root tbf rate {rate} burst 16kb latency 400ms");
        let words: Vec<&str> = shape.split(' ').collect();
        run("ip", &["link", "set", "lo", "mtu", "1500"]).expect("the link takes it");
        run("tc", &words).expect("the link takes the rate");
        let began = Instant::now();
        let reply = connection
            .call(BIG, bytes.to_le_bytes().to_vec(), Duration::from_secs(60))
            .await;
        run("tc", &["qdisc", "delete", "dev", "lo", "root"]).expect("there is one");
        println!(
            "partition: {bytes} bytes at {rate} took {:?}",
            began.elapsed()
        );
        assert_eq!(reply.expect("a slow answer").len(), bytes as usize);
    }
}

/// Shorter than the heartbeats take to notice, about as long, and far longer.
fn cuts() -> Vec<(Cut, u64)> {
    if std::env::var_os(FULL).is_none() {
        return vec![(Cut::Requests, 1_600), (Cut::Both, 3_900)];
    }
    [900, 2_600, 3_400, 7_000]
        .into_iter()
        .flat_map(|length| [Cut::Both, Cut::Requests, Cut::Answers].map(|cut| (cut, length)))
        .collect()
}

/// Calls all the time, so that TCP has something unanswered to send again, and
/// tells of each answer.
async fn keep_calling(link: Arc<Link>, answered: Arc<Notify>) {
    loop {
        let connection = link.up().await;
        let called = connection.call(ECHO, &b"there?"[..], Duration::from_secs(10));
        if called.await.is_ok() {
            answered.notify_waiters();
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

fn filter(rule: &str) {
    let words: Vec<&str> = rule.split(' ').collect();
    run("nft", &words).expect("the filter takes the rule");
}

/// Runs a tool; of a failure tells what it said.
fn run(tool: &str, arguments: &[&str]) -> Result<(), String> {
    let output = Command::new(tool)
        .args(arguments)
        .output()
        .map_err(|error| format!("{tool}: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(format!("{tool} {}: {}", arguments.join(" "), said.trim()))
}

struct Namespace<'a>(&'a str);

impl Drop for Namespace<'_> {
    fn drop(&mut self) {
        let _ = run("ip", &["netns", "delete", self.0]);
    }
}
