//! `authctl node forget`.

use clap::Args;
use sealmoot_authn::cli::{self, Code, Failure, PassphraseArgs, SecretArgs, StandardInput};
use sealmoot_authn::realm::CalledNode;
use serde_json::{Value, json};

use crate::Context;
use crate::realm::{select, unlock};
use crate::user::confirm;

#[derive(Args)]
pub(crate) struct ForgetArgs {
    /// The nodes, by name, or NAME=ADDR where several have one name
    #[arg(
        value_name = "NAME|NAME=ADDR",
        required_unless_present = "call",
        conflicts_with = "call"
    )]
    nodes: Vec<String>,
    /// All nodes that were invited together, by the id that a warning names
    #[arg(long, value_name = "ID")]
    call: Option<String>,
    #[command(flatten)]
    passphrase: PassphraseArgs,
}

pub(super) fn forget(args: &ForgetArgs, context: &Context<'_>) -> Result<(), Failure> {
    let no_input = context.common.no_input;
    let passphrase = SecretArgs::from(&args.passphrase);
    passphrase.check(&mut StandardInput::default())?;
    let realm = select(context)?;
    let called = realm.called()?;
    let meant = meant(&called, args)?;
    passphrase.check_obtainable(no_input)?;
    let formed: Vec<String> = meant
        .iter()
        .filter(|node| node.formed)
        .map(described)
        .collect();
    if !formed.is_empty() {
        let formed = formed.join(", ");
        confirm(
            &format!("{formed}: in a cluster that has formed. Tell no changes there any longer?"),
            context,
        )?;
    }
    let passphrase = passphrase.obtain_for_realm(&realm, no_input)?;
    let realm = unlock(realm, passphrase)?;
    realm.forget_nodes(&meant, cli::now_ms())?;
    drop(realm);
    let data: Vec<Value> = meant
        .iter()
        .map(|node| json!({"name": node.name.as_str(), "addr": node.address, "call": node.call}))
        .collect();
    context
        .output
        .result("nodes_forgotten", &Value::Array(data), || {
            let nodes: Vec<String> = meant.iter().map(described).collect();
            format!("✓ forgotten: {}", nodes.join(", "))
        })
}

/// The nodes that the command line means, each once.
fn meant(called: &[CalledNode], args: &ForgetArgs) -> Result<Vec<CalledNode>, Failure> {
    if let Some(call) = &args.call {
        let of_call: Vec<CalledNode> = called
            .iter()
            .filter(|node| node.call == *call)
            .cloned()
            .collect();
        if of_call.is_empty() {
            return Err(unknown(called, call));
        }
        return Ok(of_call);
    }
    let mut meant: Vec<CalledNode> = Vec::new();
    for wanted in &args.nodes {
        let named: Vec<&CalledNode> = called
            .iter()
            .filter(|node| node.name.as_str() == wanted || described(node) == *wanted)
            .collect();
        match named[..] {
            [] => return Err(unknown(called, wanted)),
            [node] if meant.contains(node) => {}
            [node] => meant.push(node.clone()),
            _ => {
                let nodes: Vec<String> = named.into_iter().map(described).collect();
                let message = format!("several nodes are called {wanted}: {}", nodes.join(", "));
                return Err(Failure::usage(message).hint("name one of them as NAME=ADDR"));
            }
        }
    }
    Ok(meant)
}

fn unknown(called: &[CalledNode], wanted: &str) -> Failure {
    let mut known: Vec<String> = called.iter().map(described).collect();
    known.truncate(16);
    let hint = if known.is_empty() {
        "no nodes are known: none were invited, or all were forgotten".to_owned()
    } else {
        format!("known are {}", known.join(", "))
    };
    Failure::new(Code::NotFound, format!("no node {wanted:?} was invited")).hint(hint)
}

fn described(node: &CalledNode) -> String {
    format!("{}={}", node.name, node.address)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(name: &str, address: &str, call: &str) -> CalledNode {
        CalledNode {
            name: name.parse().expect("a name"),
            address: address.to_owned(),
            call: call.to_owned(),
            expires_ms: 1,
            formed: false,
        }
    }

    fn chosen(nodes: &[&str], call: Option<&str>) -> Result<Vec<String>, Code> {
        let called = [
            node("n1", "a:1", "c2"),
            node("n2", "b:1", "c2"),
            node("n1", "c:1", "c1"),
        ];
        let args = ForgetArgs {
            nodes: nodes.iter().map(|node| (*node).to_owned()).collect(),
            call: call.map(str::to_owned),
            passphrase: PassphraseArgs::default(),
        };
        let meant = meant(&called, &args).map_err(|failure| failure.code)?;
        Ok(meant.iter().map(described).collect())
    }

    #[test]
    fn nodes_are_meant_by_name_by_address_or_by_call() {
        assert_eq!(chosen(&["n2", "n2"], None).expect("one"), ["n2=b:1"]);
        assert_eq!(chosen(&["n1=c:1"], None).expect("one"), ["n1=c:1"]);
        let both = chosen(&[], Some("c2")).expect("two");
        assert_eq!(both, ["n1=a:1", "n2=b:1"]);
    }

    #[test]
    fn what_means_none_or_several_is_refused() {
        assert_eq!(chosen(&["n1"], None), Err(Code::Usage));
        assert_eq!(chosen(&["n3"], None), Err(Code::NotFound));
        assert_eq!(chosen(&["n2", "n1=b:1"], None), Err(Code::NotFound));
        assert_eq!(chosen(&[], Some("c3")), Err(Code::NotFound));
    }
}
