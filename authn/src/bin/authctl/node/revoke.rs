//! `authctl node revoke`.

use std::collections::BTreeSet;
use std::sync::Arc;

use clap::Args;
use sealmoot_authn::cli::{self, Code, Failure, PassphraseArgs, SecretArgs, StandardInput};
use sealmoot_authn::name::Name;
use sealmoot_authn::realm::{CalledNode, RealmError};
use sealmoot_authn::roster::Roster;
use sealmoot_crypto::signature::KeyId;
use serde_json::{Value, json};

use super::list;
use crate::Context;
use crate::realm::select;
use crate::refresh::unlock_refreshed;
use crate::tell::tell_nodes;
use crate::user::confirm;

#[derive(Args)]
pub(crate) struct RevokeArgs {
    /// The nodes, by name
    #[arg(required = true, value_name = "NAME")]
    nodes: Vec<Name>,
    /// The id of the key of the one node that is named, where no node can be asked
    ///
    /// `authctl node list -o json` shows ids as long as a node of the cluster answers.
    #[arg(long, value_name = "ID")]
    key: Option<KeyId>,
    #[command(flatten)]
    passphrase: PassphraseArgs,
}

pub(super) fn revoke(args: &RevokeArgs, context: &Context<'_>) -> Result<(), Failure> {
    let no_input = context.common.no_input;
    let passphrase = SecretArgs::from(&args.passphrase);
    passphrase.check(&mut StandardInput::default())?;
    if args.key.is_some() && args.nodes.len() > 1 {
        return Err(
            Failure::usage("--key is the key of one node, and several are named")
                .hint("revoke one at a time"),
        );
    }
    let realm = select(context)?;
    if realm.chain().is_some() {
        return Err(Failure::from(RealmError::NotTheRoot("revoking nodes"))
            .hint("have it done where the root is"));
    }
    let (_, rosters) = list::ask(&realm, context)?;
    let mut meant: Vec<(Name, KeyId)> = Vec::new();
    for name in &args.nodes {
        let key = match args.key {
            Some(key) => key,
            None => key_of(name, &rosters)?,
        };
        meant.push((name.clone(), key));
    }
    passphrase.check_obtainable(no_input)?;
    let mut revoked: BTreeSet<KeyId> = meant.iter().map(|(_, key)| *key).collect();
    if let Some(before) = realm.revoked_nodes()? {
        revoked.extend(before.revoked().iter().map(|(key, _)| *key));
    }
    let question = question(&meant, &revoked, &rosters);
    if let Some(question) = question {
        confirm(&question, context)?;
    }
    let passphrase = passphrase.obtain_for_realm(&realm, no_input)?;
    let realm = unlock_refreshed(realm, passphrase, context)?;
    let now_ms = cli::now_ms();
    realm.revoke_nodes(&meant, now_ms)?;
    // Nobody waits for the revoked ones: whoever stole one need not hear of anything.
    let called: Vec<CalledNode> = realm.realm().called()?;
    let gone: Vec<CalledNode> = called
        .into_iter()
        .filter(|node| args.nodes.contains(&node.name) && is_meant(node, &meant, &rosters))
        .collect();
    if !gone.is_empty() {
        realm.forget_nodes(&gone, now_ms)?;
    }
    tell_nodes(realm.close(), context);
    let data: Vec<Value> = meant
        .iter()
        .map(|(name, key)| json!({"name": name.as_str(), "key_id": key.to_string()}))
        .collect();
    context
        .output
        .result("nodes_revoked", &Value::Array(data), || {
            let names: Vec<&str> = meant.iter().map(|(name, _)| name.as_str()).collect();
            format!("✓ revoked {}", names.join(", "))
        })
}

/// The key that the rosters of running nodes give to a name.
fn key_of(name: &Name, rosters: &[Arc<Roster>]) -> Result<KeyId, Failure> {
    let members = rosters.iter().flat_map(|roster| roster.members());
    let keys: BTreeSet<KeyId> = members
        .filter(|member| member.name == *name)
        .map(|member| member.key.key_id())
        .collect();
    let mut keys = keys.into_iter();
    match (keys.next(), keys.next()) {
        (Some(key), None) => Ok(key),
        (Some(_), Some(_)) => Err(Failure::usage(format!(
            "several clusters of the realm have a node {name}"
        ))
        .hint("name the key too: --key ID; authctl node list -o json shows them")),
        (None, _) if rosters.is_empty() => Err(Failure::new(
            Code::Unreachable,
            "no node answers that could tell the key",
        )
        .hint("start one of the others, or name the key with --key ID")),
        (None, _) => Err(
            Failure::new(Code::NotFound, format!("no cluster has a node {name}"))
                .hint("authctl node list names them"),
        ),
    }
}

/// What has to be confirmed: that too few nodes are left, or that nobody knows.
fn question(
    meant: &[(Name, KeyId)],
    revoked: &BTreeSet<KeyId>,
    rosters: &[Arc<Roster>],
) -> Option<String> {
    let names: Vec<&str> = meant.iter().map(|(name, _)| name.as_str()).collect();
    let names = names.join(", ");
    for (name, key) in meant {
        let is_of = |roster: &&Arc<Roster>| {
            let mut members = roster.members().iter();
            members.any(|member| member.key.key_id() == *key)
        };
        let Some(roster) = rosters.iter().find(is_of) else {
            return Some(format!(
                "No node that answers knows {name} by this key, so it is not known whether the \
                 others are enough without it. Revoke {names} for good?"
            ));
        };
        let members = roster.members().len();
        let left = roster
            .members()
            .iter()
            .filter(|member| !revoked.contains(&member.key.key_id()))
            .count();
        let quorum = members / 2 + 1;
        if left < quorum {
            return Some(format!(
                "{left} of {members} nodes are left then, and {quorum} are needed: nobody can read \
                 or write any more, and the nodes serve nobody. Revoke {names} for good?"
            ));
        }
    }
    None
}

/// Whether a called node is one that is revoked: another cluster may have one of its
/// name.
fn is_meant(node: &CalledNode, meant: &[(Name, KeyId)], rosters: &[Arc<Roster>]) -> bool {
    let mut members = rosters.iter().flat_map(|roster| roster.members());
    let known = members.find(|member| member.name == node.name && member.address == node.address);
    known.is_none_or(|member| meant.iter().any(|(_, key)| *key == member.key.key_id()))
}
