//! `authctl node list`.

use std::sync::Arc;

use sealmoot_authn::cli::{Failure, escaped};
use sealmoot_authn::name::Name;
use sealmoot_authn::pin::{RealmPin, TrustedNode};
use sealmoot_authn::presentation::Presentation;
use sealmoot_authn::realm::Realm;
use sealmoot_authn::roster::{Member, Roster};
use sealmoot_crypto::signature::{KeyId, SigningKey};
use sealmoot_rpc::{Connector, Limits};
use serde_json::{Value, json};

use crate::Context;
use crate::audit::block_on;
use crate::realm::select;

/// A node that was called, and what could be learnt of it.
pub(super) struct Listed {
    name: Name,
    address: String,
    /// Why it was not reached; none when it was.
    unreached: Option<String>,
    /// Its key, by a roster that the majority of its cluster signed.
    key: Option<KeyId>,
    /// Whether that key is believed no more.
    revoked: bool,
}

impl Listed {
    fn state(&self) -> &'static str {
        match self.unreached {
            _ if self.revoked => "revoked",
            None => "up",
            Some(_) => "unreachable",
        }
    }
}

/// The nodes of all calls, with what those that answer prove.
pub(super) fn run(context: &Context<'_>) -> Result<(), Failure> {
    let realm = select(context)?;
    let (nodes, _) = ask(&realm, context)?;
    if nodes.is_empty() {
        let next = "no nodes yet: authctl node invite n1=HOST:PORT …";
        context.output.notice(next);
    }
    let data: Vec<Value> = nodes.iter().map(describe).collect();
    let data = Value::Array(data);
    context.output.result("nodes", &data, || table(&nodes))
}

/// Asks the nodes of all calls; what is known of each, and the rosters that they show.
pub(super) fn ask(
    realm: &Realm,
    context: &Context<'_>,
) -> Result<(Vec<Listed>, Vec<Arc<Roster>>), Failure> {
    let called = realm.nodes()?;
    let revoked = realm.revoked_nodes()?;
    // Whoever asks proves nothing: a roster is believed for its signatures.
    let key = SigningKey::generate().map_err(Failure::internal)?;
    let pin = RealmPin::new(realm.id(), &Presentation::Anonymous);
    pin.know_roots(realm.roots()).map_err(Failure::internal)?;
    let pin = Arc::new(pin);
    let connector = Connector::new(&key, pin, Limits::default()).map_err(Failure::internal)?;
    let timeout = context.common.timeout.min(super::ASK_WITHIN);
    let (mut nodes, rosters) = block_on(async {
        let asked: Vec<_> = called
            .into_iter()
            .map(|(name, address)| {
                let (connector, at) = (connector.clone(), address.clone());
                let asked = tokio::spawn(async move { connector.connect(&at, timeout).await });
                (name, address, asked)
            })
            .collect();
        let mut nodes = Vec::new();
        let mut rosters: Vec<Arc<Roster>> = Vec::new();
        for (name, address, asked) in asked {
            let connected = asked.await.map_err(Failure::internal)?;
            let node = connected
                .as_ref()
                .ok()
                .and_then(|connection| connection.peer().claims::<TrustedNode>());
            rosters.extend(node.iter().map(|node| Arc::clone(&node.roster)));
            nodes.push(Listed {
                name,
                address,
                unreached: connected.as_ref().err().map(|error| error.cause()),
                key: node.map(|node| node.member.key.key_id()),
                revoked: false,
            });
        }
        Ok((nodes, rosters))
    })?;
    // Of those that did not answer, the others know the key.
    for node in nodes.iter_mut().filter(|node| node.key.is_none()) {
        let known = |member: &&Member| member.name == node.name && member.address == node.address;
        let mut members = rosters.iter().flat_map(|roster| roster.members());
        node.key = members.find(known).map(|member| member.key.key_id());
    }
    for node in &mut nodes {
        let is_revoked = |key: &KeyId| revoked.as_ref().is_some_and(|all| all.revokes(key));
        node.revoked = node.key.as_ref().is_some_and(is_revoked);
    }
    // Whoever was revoked was forgotten too, and is told nothing: it is shown all the same.
    for member in rosters.iter().flat_map(|roster| roster.members()) {
        let key = member.key.key_id();
        let listed = nodes.iter().any(|node| node.key == Some(key));
        if !listed && revoked.as_ref().is_some_and(|all| all.revokes(&key)) {
            nodes.push(Listed {
                name: member.name.clone(),
                address: member.address.clone(),
                unreached: None,
                key: Some(key),
                revoked: true,
            });
        }
    }
    nodes.sort_by(|left, right| (&left.name, &left.address).cmp(&(&right.name, &right.address)));
    Ok((nodes, rosters))
}

fn describe(node: &Listed) -> Value {
    json!({
        "name": node.name.as_str(),
        "addr": node.address,
        "key_id": node.key.map(|key| key.to_string()),
        "state": node.state(),
        "cause": node.unreached,
    })
}

fn table(nodes: &[Listed]) -> String {
    let width = |of: fn(&Listed) -> &str, head: &str| {
        let longest = nodes.iter().map(|node| of(node).len()).max();
        longest.unwrap_or(0).max(head.len())
    };
    let name = width(|node| node.name.as_str(), "NAME");
    let address = width(|node| &node.address, "ADDR");
    let mut lines = vec![format!(
        "{:name$}  {:address$}  KEY       STATE",
        "NAME", "ADDR"
    )];
    for node in nodes {
        let key = node
            .key
            .map_or_else(|| "–".to_owned(), |key| key.to_string());
        let key: String = key.chars().take(8).collect();
        let cause = node.unreached.as_ref();
        let cause = cause.map_or_else(String::new, |cause| format!(" ({})", escaped(cause)));
        let (at, state) = (escaped(&node.address), node.state());
        lines.push(format!(
            "{:name$}  {at:address$}  {key:8}  {state}{cause}",
            node.name.as_str()
        ));
    }
    lines.join("\n")
}
