//! Somebody else at a member's address.

use std::io::copy;
use std::net::{TcpListener, TcpStream};
use std::thread;
use std::time::Duration;

use sealmoot_tests::cluster::Cluster;
use sealmoot_tests::poll::eventually;

/// Hands every connection to `from` on to `to`, byte by byte.
fn forward(from: &str, to: String) {
    let listener = TcpListener::bind(from).expect("the address is free");
    thread::spawn(move || {
        for incoming in listener.incoming() {
            let Ok(incoming) = incoming else { return };
            let Ok(outgoing) = TcpStream::connect(&to) else {
                continue;
            };
            for (mut source, mut sink) in [
                (
                    incoming.try_clone().expect("a handle"),
                    outgoing.try_clone().expect("a handle"),
                ),
                (outgoing, incoming),
            ] {
                thread::spawn(move || copy(&mut source, &mut sink));
            }
        }
    });
}

/// Whoever holds the network can lead a node back to itself; counted as its peer
/// it would be a quorum of one.
#[test]
fn a_node_at_another_ones_address_is_not_counted() {
    let mut cluster = Cluster::form();
    cluster.kv("put app/x acknowledged").succeeded();
    cluster.kill(&[1, 2]);
    forward(&cluster.ports.address(1), cluster.ports.address(0));
    let endpoint = cluster.ports.address(0);
    eventually("n1 has met itself", Duration::from_secs(60), || {
        let get = format!("get app/x --endpoints {endpoint} --timeout 2s");
        let told = cluster.kv(&get).stderr;
        told.contains("another node answers at its address")
            .then_some(())
    });
    for command in ["get app/x", "put app/x other", "ls app/"] {
        cluster
            .kv(&format!("{command} --endpoints {endpoint} --timeout 4s"))
            .refused(7, "no_quorum")
            .saying("another node answers at its address");
    }
}
