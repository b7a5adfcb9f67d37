//! `kv cluster`.

use sealmoot_authn::cli::{CommonArgs, Failure, Output};
use serde_json::{Value, json};

use crate::session::{SessionArgs, block_on, client};

/// `kv cluster`.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum ClusterCommand {
    /// Say how every node is
    Status,
}

pub(crate) fn run(
    command: &ClusterCommand,
    session: &SessionArgs,
    common: &CommonArgs,
    output: &Output,
) -> Result<(), Failure> {
    let ClusterCommand::Status = command;
    let client = client(session, common)?;
    let reply = block_on(client.cluster_status())?;
    let up = reply.nodes.iter().filter(|node| node.up).count();
    let total = reply.nodes.len();
    let state = match up {
        _ if up == total => "ok",
        _ if up >= reply.needed as usize => "degraded",
        _ => "no_quorum",
    };
    let nodes: Vec<Value> = reply
        .nodes
        .iter()
        .map(|node| {
            json!({
                "name": node.name, "addr": node.address,
                "state": if node.up { "up" } else { "down" },
                "root": if node.root.is_empty() { Value::Null } else { json!(node.root) },
            })
        })
        .collect();
    let data = json!({
        "realm": client.realm().to_string(), "epoch": reply.epoch, "state": state,
        "need": reply.needed, "nodes": nodes,
    });
    output.result("cluster_status", &data, || {
        let mut lines = vec![format!(
            "{}  {}  {up}/{total} up, need {}   epoch {}",
            client.realm().short(),
            state.to_uppercase(),
            reply.needed,
            reply.epoch
        )];
        let width = reply
            .nodes
            .iter()
            .map(|node| node.name.len())
            .max()
            .unwrap_or(0);
        for node in &reply.nodes {
            let (state, detail) = if node.up {
                ("up  ", &node.root[..node.root.len().min(16)])
            } else {
                ("DOWN", node.cause.as_str())
            };
            lines.push(format!(
                "{:width$}  {state}  {}  {detail}",
                node.name, node.address
            ));
        }
        lines.join("\n")
    })
}
