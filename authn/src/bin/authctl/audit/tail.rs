//! `authctl audit tail`.

use std::io::{self, IsTerminal};
use std::time::Duration;

use sealmoot_authn::audit::client::AuditNode;
use sealmoot_authn::audit::proto::tail_request::Begin;
use sealmoot_authn::audit::{Entry, Event};
use sealmoot_authn::cli::{Failure, Format};
use serde_json::{Value, json};
use tokio::sync::mpsc;

use super::{Nodes, TailArgs, block_on, local_entries, node_failure, nodes};
use crate::Context;

/// How the realm's own log is called among those of the nodes.
pub(super) const LOCAL: &str = "(realm)";
/// How long is waited before a node whose stream ended is asked again.
const RETRY_AFTER: Duration = Duration::from_secs(1);
/// What the columns are.
const HEADER: &str =
    "NODE     SEQUENCE  TIME                  EVENT            OUTCOME  SUBJECT, ACTOR, DETAIL\n";
/// Entries that wait to be printed.
const WAITING_MAX: usize = 64;

/// An event and where it stands.
struct Line {
    node: String,
    entry: Entry,
}

pub(super) fn run(args: &TailArgs, context: &Context<'_>) -> Result<(), Failure> {
    let output = context.output;
    if args.follow && output.format == Format::Json {
        return Err(
            Failure::usage("one JSON document cannot follow what happens")
                .hint("use -o jsonl with --follow"),
        );
    }
    let mut lines = Vec::new();
    if let Some(mut entries) = local_entries(&args.source, context)? {
        let limit = usize::try_from(args.limit).unwrap_or(usize::MAX);
        entries.drain(..entries.len().saturating_sub(limit));
        let node = LOCAL.to_owned();
        lines.extend(entries.into_iter().map(|entry| Line {
            node: node.clone(),
            entry,
        }));
    }
    block_on(async {
        let Nodes { reached, missing } = nodes(&args.source, context).await?;
        let chosen: Vec<AuditNode> = reached
            .into_iter()
            .filter(|node| args.source.wants(node))
            .collect();
        if args.follow && chosen.is_empty() {
            return Err(Failure::usage("there is no node to follow")
                .hint("log in first: kv login USER@HOST:PORT --realm ID"));
        }
        if args.source.node.is_none() {
            for node in &missing {
                output.warning(format!("{} was not asked ({})", node.name, node.cause));
            }
        }
        let mut next = Vec::with_capacity(chosen.len());
        for node in &chosen {
            let mut after = None;
            let failed = |error| node_failure(node, error);
            let mut events = node
                .tail(Begin::Newest(args.limit), 0, false)
                .await
                .map_err(failed)?;
            while let Some(entries) = events.next().await.map_err(failed)? {
                after = entries.last().map(|entry| entry.sequence + 1).or(after);
                let name = node.member.name.to_string();
                lines.extend(entries.into_iter().map(|entry| Line {
                    node: name.clone(),
                    entry,
                }));
            }
            next.push(after.unwrap_or(0));
        }
        // Where a log is read by people, columns want names; in a pipe, lines are counted.
        let headed = output.format == Format::Table && io::stdout().is_terminal();
        if headed {
            output.bytes(HEADER.as_bytes())?;
        }
        // Stable: events of one log stay in its order whatever its clock did.
        lines.sort_by_key(|line| Event::decode(&line.entry.event).map_or(0, |event| event.time_ms));
        print_all(&lines, context)?;
        if !args.follow {
            return Ok(());
        }
        follow(chosen, next, context).await
    })
}

/// Prints what comes, until it is interrupted.
async fn follow(
    nodes: Vec<AuditNode>,
    next: Vec<u64>,
    context: &Context<'_>,
) -> Result<(), Failure> {
    let (sender, mut receiver) = mpsc::channel(WAITING_MAX);
    for (node, next) in nodes.into_iter().zip(next) {
        tokio::spawn(follow_node(node, next, sender.clone()));
    }
    drop(sender);
    while let Some(outcome) = receiver.recv().await {
        print(&outcome?, context)?;
    }
    Ok(())
}

async fn follow_node(node: AuditNode, mut next: u64, sender: mpsc::Sender<Result<Line, Failure>>) {
    loop {
        let outcome = async {
            let mut events = node.tail(Begin::From(next), 0, true).await?;
            while let Some(entries) = events.next().await? {
                for entry in entries {
                    next = entry.sequence + 1;
                    let node = node.member.name.to_string();
                    if sender.send(Ok(Line { node, entry })).await.is_err() {
                        return Ok(());
                    }
                }
            }
            Ok(())
        }
        .await;
        if let Err(error) = outcome {
            let failure = node_failure(&node, error);
            // A stream that was only too long is asked for again.
            if failure.code != sealmoot_authn::cli::Code::Timeout {
                let _ = sender.send(Err(failure)).await;
                return;
            }
        }
        if sender.is_closed() {
            return;
        }
        tokio::time::sleep(RETRY_AFTER).await;
    }
}

fn print_all(lines: &[Line], context: &Context<'_>) -> Result<(), Failure> {
    if context.output.format == Format::Json {
        let data: Vec<Value> = lines.iter().map(to_json).collect();
        return context
            .output
            .result("audit", &Value::Array(data), String::new);
    }
    lines.iter().try_for_each(|line| print(line, context))
}

fn print(line: &Line, context: &Context<'_>) -> Result<(), Failure> {
    let text = if context.output.format.is_json() {
        to_json(line).to_string()
    } else {
        let event = Event::decode(&line.entry.event).map_or_else(
            |_| "an event of another version".to_owned(),
            |event| event.to_line(),
        );
        format!("{:8} {:8}  {event}", line.node, line.entry.sequence)
    };
    context.output.bytes(format!("{text}\n").as_bytes())
}

fn to_json(line: &Line) -> Value {
    let mut value = match Event::decode(&line.entry.event) {
        Ok(event) => event.to_json(),
        Err(_) => json!({"what": "unreadable"}),
    };
    value["node"] = json!(line.node);
    value["sequence"] = json!(line.entry.sequence);
    value
}
