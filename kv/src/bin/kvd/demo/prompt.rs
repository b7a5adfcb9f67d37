//! The prompt at the end of the demonstration, for whoever wants to try more.

use std::io::{BufRead, Write as _};

use bytes::Bytes;
use sealmoot_authn::cli::{Failure, escaped};
use sealmoot_kv::client::{Level, Write};

use super::Talk;
use super::steps::Shown;

const HELP: &str = "put KEY VALUE | get KEY | del KEY | ls [PREFIX] | status | \
                    kill NODE | start NODE | quit";

/// Takes commands until the end of the input or `quit`.
pub(super) async fn prompt(shown: &mut Shown, talk: &Talk<'_>) -> Result<(), Failure> {
    talk.heading("The cluster is yours until you leave it.")?;
    talk.line(HELP)?;
    loop {
        eprint!("demo> ");
        let _ = std::io::stderr().flush();
        // Reading blocks; the cluster's connections must go on meanwhile.
        let line = tokio::task::spawn_blocking(|| {
            let mut line = String::new();
            std::io::stdin()
                .lock()
                .read_line(&mut line)
                .map(|read| (read > 0).then_some(line))
        })
        .await
        .map_err(Failure::internal)?
        .map_err(Failure::internal)?;
        let Some(line) = line else {
            return Ok(());
        };
        let words: Vec<&str> = line.split_whitespace().collect();
        if matches!(words[..], ["quit" | "exit"]) {
            return Ok(());
        }
        match act(shown, &words).await {
            Ok(text) if text.is_empty() => {}
            Ok(text) => talk.line(text)?,
            Err(failure) => eprintln!("{}", failure.to_text("demo")),
        }
    }
}

async fn act(shown: &mut Shown, words: &[&str]) -> Result<String, Failure> {
    let bytes = |text: &str| Bytes::copy_from_slice(text.as_bytes());
    let client = &shown.client;
    match words {
        [] => Ok(String::new()),
        ["put", key, value] => {
            let reply = client.write(&bytes(key), Write::Put(bytes(value))).await?;
            Ok(format!("rev {}", reply.revision))
        }
        ["get", key] => {
            let reply = client.get(&bytes(key), Level::Linearizable).await?;
            Ok(if reply.found {
                escaped(&String::from_utf8_lossy(&reply.value))
            } else {
                "not found".to_owned()
            })
        }
        ["del", key] => {
            let reply = client.write(&bytes(key), Write::Delete).await?;
            Ok(if reply.changed {
                "deleted"
            } else {
                "not found"
            }
            .to_owned())
        }
        ["ls", rest @ ..] if rest.len() <= 1 => {
            let prefix = bytes(rest.first().unwrap_or(&""));
            let reply = client
                .list(&prefix, &Bytes::new(), 100, Level::Linearizable)
                .await?;
            let keys: Vec<String> = reply
                .entries
                .iter()
                .map(|entry| escaped(&String::from_utf8_lossy(&entry.key)))
                .collect();
            Ok(keys.join("\n  "))
        }
        ["status"] => {
            let reply = client.cluster_status().await?;
            let nodes: Vec<String> = reply
                .nodes
                .iter()
                .map(|node| {
                    let state = if node.up { "up" } else { "DOWN" };
                    format!("{} {state} {}", node.name, node.cause)
                })
                .collect();
            Ok(nodes.join("\n  "))
        }
        ["kill", name] => {
            let node = node(shown, name)?;
            node.kill();
            Ok(format!("{name} killed"))
        }
        ["start", name] => {
            let node = node(shown, name)?;
            if node.is_running() {
                return Err(Failure::usage(format!("{name} runs already")));
            }
            let ready = node.start()?;
            // Without a quorum it is not ready, so it is not waited for.
            drop(ready);
            Ok(format!("{name} started"))
        }
        _ => Err(Failure::usage("not understood").hint(HELP)),
    }
}

fn node<'a>(shown: &'a mut Shown, name: &str) -> Result<&'a mut super::nodes::DemoNode, Failure> {
    shown
        .nodes
        .iter_mut()
        .find(|node| node.name == name)
        .ok_or_else(|| Failure::usage(format!("no node {name}")))
}
