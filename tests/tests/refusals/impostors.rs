//! Somebody else at a member's address.

use std::io::copy;
use std::net::{TcpListener, TcpStream};
use std::thread;

use sealmoot_tests::cluster::Cluster;

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
    for command in ["get app/x", "put app/x other", "ls app/"] {
        cluster
            .kv(&format!(
                "{command} --endpoints {endpoint} --timeout 1500ms"
            ))
            .refused(7, "no_quorum")
            .saying("another node answers at its address");
    }
}
