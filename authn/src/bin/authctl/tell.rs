//! Taking changes to the nodes. They are made already, so whatever goes wrong here is a
//! warning.
//!
//! It takes as long as the slowest node, or until patience is over, and needs no secret:
//! the realm that is taken is a closed one.

use std::collections::{BTreeMap, BTreeSet};

use sealmoot_authn::cli::{Failure, now_ms, rfc3339};
use sealmoot_authn::realm::{CalledNode, Realm};
use sealmoot_authn::records::RecordName;
use sealmoot_authn::{parallel, publish};
use sealmoot_rpc::bytes::Bytes;

use crate::Context;

/// Takes what changed to the nodes that were ever called, and what they were not told
/// of earlier changes; the realm is handed back.
pub(crate) fn tell_nodes(realm: Realm, context: &Context<'_>) -> Realm {
    warned(tell_untold(&realm, context), context);
    realm
}

/// Takes an unlocking, which no realm keeps, to all nodes that can be reached now.
pub(crate) fn tell_unlock(realm: Realm, statement: Vec<u8>, context: &Context<'_>) {
    let statement = Bytes::from(statement);
    let told = realm.nodes().map_err(Failure::from).and_then(|nodes| {
        let deliveries = nodes
            .into_iter()
            .map(|(_, address)| (address, vec![vec![statement.clone()]]))
            .collect();
        deliver(&realm, deliveries, What::Unlocking, context)
    });
    warned(told.map(drop), context);
}

fn tell_untold(realm: &Realm, context: &Context<'_>) -> Result<(), Failure> {
    // Before the records are read: what changes from here on is in further lines.
    let untold = realm.untold()?;
    let names: BTreeSet<&RecordName> = untold.iter().flat_map(|line| &line.records).collect();
    let names: Vec<&RecordName> = names.into_iter().collect();
    let records = parallel::try_map(&names, |name| realm.record(name))?;
    let records: BTreeMap<&RecordName, Bytes> = names
        .into_iter()
        .zip(records)
        .filter_map(|(name, record)| Some((name, Bytes::from(record?.encode()))))
        .collect();
    let roots = (realm.roots().number() > 0).then(|| Bytes::from(realm.roots().encode()));
    let mut by_address: BTreeMap<&String, BTreeSet<&RecordName>> = BTreeMap::new();
    for line in &untold {
        for address in &line.addresses {
            by_address.entry(address).or_default().extend(&line.records);
        }
    }
    let deliveries = by_address
        .into_iter()
        .map(|(address, names)| {
            let records = names.iter().filter_map(|name| records.get(name).cloned());
            // The roots first of all: what follows rests on them.
            let roots = roots.iter().cloned();
            (address.clone(), publish::portions(roots.chain(records)))
        })
        .collect();
    let told = deliver(realm, deliveries, What::Records, context)?;
    if told.is_empty() {
        return Ok(());
    }
    Ok(realm.settle(&untold, &told)?)
}

/// What part of the timeout each node gets: the change is made, and a node that is away
/// learns of it from the others, so that nobody has to wait long for it.
const TIMEOUT_SHARE: u32 = 4;

/// What is delivered.
#[derive(Clone, Copy, PartialEq)]
enum What {
    /// Signed records, which nodes tell each other too.
    Records,
    /// An unlocking, which nobody keeps.
    Unlocking,
}

/// Hands to each address its portions; which addresses were told all.
fn deliver(
    realm: &Realm,
    deliveries: Vec<(String, Vec<Vec<Bytes>>)>,
    what: What,
    context: &Context<'_>,
) -> Result<Vec<String>, Failure> {
    let mut told: Vec<String> = deliveries
        .iter()
        .map(|(address, _)| address.clone())
        .collect();
    if told.is_empty() {
        return Ok(told);
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(Failure::internal)?;
    let revoked = realm.revoked_nodes()?;
    let patience = context.common.timeout / TIMEOUT_SHARE;
    let telling = publish::publish(realm.roots(), revoked, deliveries, patience);
    let failed = runtime.block_on(telling);
    // A name that is still being resolved must not hold the command up.
    runtime.shutdown_background();
    let publish::Told {
        failures: failed,
        refusals,
        others,
    } = failed.map_err(Failure::internal)?;
    for name in others {
        context.output.warning(format!(
            "the nodes have another user {name}, who belongs to the root or to another \
             delegate: what is kept of {name} here counts nowhere"
        ));
    }
    told.retain(|address| failed.iter().all(|(known, _)| known != address));
    let called = realm.called()?;
    let reached = called
        .iter()
        .filter(|node| told.contains(&node.address) || refusals.contains(&node.address));
    let formed: BTreeSet<String> = reached.map(|node| node.call.clone()).collect();
    realm.note_formed(&formed)?;
    // What a node would not take is not made good by waiting: said for itself.
    for (address, cause) in failed.iter().filter(|(at, _)| refusals.contains(at)) {
        context
            .output
            .warning(format!("the node at {address} refuses it: {cause}"));
    }
    let failed: Vec<(String, String)> = failed
        .into_iter()
        .filter(|(address, _)| !refusals.contains(address))
        .collect();
    for told in told_of(&called, &told, &failed, what, now_ms()) {
        match told {
            Told::Warning(text) => context.output.warning(text),
            // Where machines read, what is nothing unusual is nothing to say.
            Told::Notice(_) if context.output.format.is_json() => {}
            Told::Notice(text) => context.output.notice(text),
            Told::Detail(text) if context.common.verbose => context.output.notice(text),
            Told::Detail(_) => {}
        }
    }
    Ok(told)
}

/// What is said of a delivery.
#[derive(Debug, PartialEq)]
enum Told {
    Warning(String),
    Notice(String),
    /// For whoever asked for more.
    Detail(String),
}

/// What is said of each call: a line for each node of a cluster, and one for all nodes
/// of a call that has not formed, as far as is known.
fn told_of(
    called: &[CalledNode],
    told: &[String],
    failed: &[(String, String)],
    what: What,
    now_ms: u64,
) -> Vec<Told> {
    let mut said = Vec::new();
    let mut calls: Vec<&str> = Vec::new();
    for node in called {
        if !calls.contains(&node.call.as_str()) {
            calls.push(&node.call);
        }
    }
    for call in calls {
        let nodes = || called.iter().filter(move |node| node.call == call);
        let cause = |node: &CalledNode| {
            let mut failed = failed.iter();
            Some(&failed.find(|(address, _)| *address == node.address)?.1)
        };
        let untold: Vec<(&CalledNode, &String)> =
            nodes().filter_map(|n| Some((n, cause(n)?))).collect();
        let told: Vec<&CalledNode> = nodes().filter(|n| told.contains(&n.address)).collect();
        said.extend(
            told.iter()
                .map(|node| Told::Detail(format!("{}={} was told", node.name, node.address))),
        );
        let Some((first, _)) = untold.first() else {
            continue;
        };
        if what == What::Records && told.is_empty() && !first.formed {
            said.push(not_formed(&untold, now_ms));
            continue;
        }
        let rest = match (what, told.is_empty()) {
            (What::Unlocking, _) => "unlock again while it runs".to_owned(),
            (What::Records, false) => "it learns it from the other nodes".to_owned(),
            (What::Records, true) => {
                "no node of its cluster was: start one, then make any change, \
                                      which tells all that was missed"
                    .to_owned()
            }
        };
        said.extend(untold.iter().map(|(node, cause)| {
            let (name, address) = (&node.name, &node.address);
            let forget = format!("gone for good: authctl node forget {name}");
            Told::Warning(format!(
                "{name}={address} was not told ({cause}); {rest}; {forget}"
            ))
        }));
    }
    said.extend(told_of_named(called, told, failed));
    said
}

/// What is said of nodes that no call names: a delegate named them.
fn told_of_named(called: &[CalledNode], told: &[String], failed: &[(String, String)]) -> Vec<Told> {
    let named = |address: &str| called.iter().all(|node| node.address != address);
    let untold = failed.iter().filter(|(address, _)| named(address));
    let untold =
        untold.map(|(address, cause)| Told::Warning(format!("{address} was not told ({cause})")));
    let told = told.iter().filter(|address| named(address));
    untold
        .chain(told.map(|address| Told::Detail(format!("{address} was told"))))
        .collect()
}

/// Nodes that were invited and never seen. While their invites hold that is nothing
/// unusual. Afterwards they are still asked, because they may have formed unseen and
/// would go by outdated rights; so whoever gave them up has to say so.
fn not_formed(untold: &[(&CalledNode, &String)], now_ms: u64) -> Told {
    let nodes: Vec<String> = untold
        .iter()
        .map(|(node, cause)| format!("{}={} ({cause})", node.name, node.address))
        .collect();
    let nodes = nodes.join(", ");
    let node = untold[0].0;
    if now_ms < node.expires_ms {
        let until = rfc3339(node.expires_ms);
        return Told::Notice(format!(
            "invited until {until} and told once they have formed a cluster: {nodes}"
        ));
    }
    Told::Warning(format!(
        "never seen, and their invites have expired: {nodes}; \
         were they given up? authctl node forget --call {}",
        node.call
    ))
}

fn warned(told: Result<(), Failure>, context: &Context<'_>) {
    if let Err(failure) = told {
        let message = failure.message;
        context
            .output
            .warning(format!("the nodes were not told: {message}"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(name: &str, call: &str, formed: bool) -> CalledNode {
        CalledNode {
            name: name.parse().expect("a name"),
            address: format!("{name}:1"),
            call: call.to_owned(),
            expires_ms: 10,
            formed,
        }
    }

    fn failed(names: &[&str]) -> Vec<(String, String)> {
        let cause = "connection refused".to_owned();
        let of = |name: &&str| (format!("{name}:1"), cause.clone());
        names.iter().map(of).collect()
    }

    #[test]
    fn a_node_that_is_down_learns_it_from_its_peers() {
        let called = [node("n1", "c", false), node("n2", "c", false)];
        let told = ["n1:1".to_owned()];
        let said = told_of(&called, &told, &failed(&["n2"]), What::Records, 5);
        assert_eq!(
            said,
            [
                Told::Detail("n1=n1:1 was told".to_owned()),
                Told::Warning(
                    "n2=n2:1 was not told (connection refused); it learns it from the other \
                     nodes; gone for good: authctl node forget n2"
                        .to_owned()
                ),
            ]
        );
    }

    #[test]
    fn nodes_that_never_formed_are_one_line_with_the_remedy() {
        let called = [node("a", "c1", false), node("b", "c1", false)];
        let failed = failed(&["a", "b"]);
        let before = told_of(&called, &[], &failed, What::Records, 9);
        assert!(
            matches!(&before[..], [Told::Notice(text)] if text.contains("invited until")),
            "{before:?}"
        );
        let after = told_of(&called, &[], &failed, What::Records, 10);
        assert!(
            matches!(
                &after[..],
                [Told::Warning(text)] if text.ends_with("authctl node forget --call c1")
            ),
            "{after:?}"
        );
    }

    #[test]
    fn a_node_that_only_a_delegate_named_is_spoken_of_too() {
        let failed = failed(&["x"]);
        let said = told_of(&[], &["y:1".to_owned()], &failed, What::Records, 5);
        assert_eq!(
            said,
            [
                Told::Warning("x:1 was not told (connection refused)".to_owned()),
                Told::Detail("y:1 was told".to_owned()),
            ]
        );
    }

    #[test]
    fn a_cluster_none_of_which_was_told_is_a_warning_for_each() {
        let called = [node("a", "c1", true), node("b", "c1", true)];
        let said = told_of(&called, &[], &failed(&["a", "b"]), What::Records, 20);
        assert_eq!(said.len(), 2);
        for told in said {
            assert!(
                matches!(&told, Told::Warning(text) if text.contains("no node of its cluster")),
                "{told:?}"
            );
        }
    }
}
