//! `authctl audit verify`.

use sealmoot_authn::audit::check::{Fault, Report};
use sealmoot_authn::audit::client::Witnesses;
use sealmoot_authn::audit::local;
use sealmoot_authn::cli::{Code, Failure, SecretArgs, StandardInput, escaped};
use serde_json::{Value, json};

use super::tail::LOCAL;
use super::{Nodes, VerifyArgs, block_on, local_failure, node_failure, nodes};
use crate::Context;
use crate::realm::{select, unlock};

/// One log and what was found in it.
struct Found {
    name: String,
    report: Report,
}

pub(super) fn run(args: &VerifyArgs, context: &Context<'_>) -> Result<(), Failure> {
    let no_input = context.common.no_input;
    let passphrase = SecretArgs::from(&args.passphrase);
    passphrase.check(&mut StandardInput::default())?;
    let realm = select(context)?;
    passphrase.check_obtainable(no_input)?;
    let passphrase = passphrase.obtain_for_realm(&realm, no_input)?;
    let (realm, secrets) = unlock(realm, passphrase)?.close_but_audit();
    let mut found = Vec::new();
    if args.source.local {
        let report = local::verify(realm.directory(), &secrets);
        found.push(Found {
            name: LOCAL.to_owned(),
            report: report.map_err(local_failure)?,
        });
    }
    let missing = block_on(async {
        let Nodes { reached, missing } = nodes(&args.source, context).await?;
        let mut witnesses = Witnesses::new();
        for node in &reached {
            // First of all: a log that is asked for later is never behind them.
            node.add_witnessed(&mut witnesses)
                .await
                .map_err(|error| node_failure(node, error))?;
        }
        for node in reached.iter().filter(|node| args.source.wants(node)) {
            let report = node.verify(&secrets.key, &witnesses).await;
            found.push(Found {
                name: node.member.name.to_string(),
                report: report.map_err(|error| node_failure(node, error))?,
            });
        }
        Ok(missing)
    })?;
    for node in &missing {
        context
            .output
            .warning(format!("{} was not verified ({})", node.name, node.cause));
    }
    report(&found, context)?;
    let faulty: Vec<String> = found
        .iter()
        .flat_map(|found| {
            found
                .report
                .faults
                .iter()
                .map(|fault| line(&found.name, fault))
        })
        .collect();
    if let Some(first) = faulty.first() {
        return Err(
            Failure::new(Code::Integrity, format!("the audit log of {first}")).hint(
                "keep that node's data directory as it is, and find out who had access to it",
            ),
        );
    }
    let asked_for_all = args.source.node.is_none();
    if asked_for_all && !missing.is_empty() {
        return Err(Failure::new(
            Code::Unreachable,
            "not every node's audit log could be verified",
        )
        .hint("start the nodes that are missing, and verify again")
        .nodes(missing));
    }
    Ok(())
}

fn report(found: &[Found], context: &Context<'_>) -> Result<(), Failure> {
    let logs: Vec<Value> = found
        .iter()
        .map(|found| {
            let faults: Vec<Value> = found
                .report
                .faults
                .iter()
                .map(|fault| json!({"place": fault.place(), "what": fault.to_string()}))
                .collect();
            json!({
                "node": found.name,
                "ok": faults.is_empty(),
                "events": found.report.events,
                "witnessed": found.report.witnessed,
                "faults": faults,
            })
        })
        .collect();
    let ok = found.iter().all(|found| found.report.faults.is_empty());
    let data = json!({"ok": ok, "logs": logs});
    context.output.result("audit_verify", &data, || {
        let lines: Vec<String> = found.iter().map(describe).collect();
        lines.join("\n")
    })
}

fn describe(found: &Found) -> String {
    let Report {
        events,
        witnessed,
        faults,
    } = &found.report;
    if faults.is_empty() {
        let name = &found.name;
        return format!("✓ {name}  {events} events, {witnessed} witnessed heads agree");
    }
    let lines: Vec<String> = faults
        .iter()
        .map(|fault| format!("! {}", line(&found.name, fault)))
        .collect();
    lines.join("\n")
}

fn line(name: &str, fault: &Fault) -> String {
    escaped(&format!("{name}: {fault}"))
}
