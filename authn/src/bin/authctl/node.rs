//! `authctl node`.

mod forget;
mod list;
mod revoke;

use std::net::Ipv6Addr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{Args, Subcommand};
use sealmoot_authn::cli::{
    self, Code, Failure, PassphraseArgs, SecretArgs, StandardInput, escaped, parse_duration,
    rfc3339,
};
use sealmoot_authn::files::{self, Existing};
use sealmoot_authn::name::Name;
use sealmoot_authn::realm::check_call;
use sealmoot_crypto::secret::SecretBytes;
use serde_json::{Value, json};

use crate::Context;
use crate::realm::select;
use crate::refresh::unlock_refreshed;
use forget::ForgetArgs;
use revoke::RevokeArgs;

/// Where a node listens unless told otherwise.
const DEFAULT_PORT: u16 = 7401;
/// How long a node that is listed may take to answer.
const ASK_WITHIN: Duration = Duration::from_secs(2);

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Invite all nodes of a cluster at once, one file each
    ///
    /// Writes NAME.invite for each node. Take each file to its machine and run
    /// `kvd join NAME.invite --data DIR` there. An invite is a secret, and good for one
    /// use.
    #[command(after_long_help = "Examples:
  authctl node invite n1=10.0.0.1 n2=10.0.0.2 n3=10.0.0.3
  authctl node invite n1=127.0.0.1:7401 n2=127.0.0.1:7402 n3=127.0.0.1:7403 --ttl 10m

Then, for each node on its machine: kvd join n1.invite --data ./n1 --daemonize")]
    Invite(InviteArgs),
    /// List the nodes that were called, and how they are
    ///
    /// Asks each of them; whoever answers proves its key, and names those of the others.
    List,
    /// Tell nodes of changes no longer: they are gone, or their cluster never formed
    ///
    /// Takes nothing from the nodes: one that runs goes on, and learns of changes from
    /// its peers. Invites that are out are not called back by it; they expire.
    Forget(ForgetArgs),
    /// Believe nodes no more: they were stolen, or are taken out of service
    ///
    /// The other nodes and all clients refuse a revoked node within a second of hearing of
    /// it, and what it signed counts for nothing, whenever that was: sessions of users who
    /// logged in there end, and they log in again. The cluster goes on as with a node that
    /// is down; its quorums stay as they are. There is no way back: the machine joins again
    /// with a new invite.
    #[command(after_long_help = "Examples:
  authctl node revoke n2
  authctl node revoke n2 --key ID      when no other node answers")]
    Revoke(RevokeArgs),
}

#[derive(Args)]
pub(crate) struct InviteArgs {
    /// Node and the address where the others reach it; the port defaults to 7401
    #[arg(required = true, value_name = "NAME=ADDR", value_parser = parse_node)]
    nodes: Vec<(Name, String)>,
    /// Directory for the invites
    #[arg(long, value_name = "DIR", default_value = ".")]
    out: PathBuf,
    /// How long the nodes may take to join
    #[arg(long, value_name = "TIME", value_parser = parse_duration, default_value = "1h")]
    ttl: Duration,
    #[command(flatten)]
    passphrase: PassphraseArgs,
}

pub(crate) fn run(command: Command, context: &Context<'_>) -> Result<(), Failure> {
    match command {
        Command::Invite(args) => invite(&args, context),
        Command::List => list::run(context),
        Command::Forget(args) => forget::forget(&args, context),
        Command::Revoke(args) => revoke::revoke(&args, context),
    }
}

fn invite(args: &InviteArgs, context: &Context<'_>) -> Result<(), Failure> {
    check_call(&args.nodes)?;
    let passphrase = SecretArgs::from(&args.passphrase);
    passphrase.check(&mut StandardInput::default())?;
    let realm = select(context)?;
    let paths: Vec<PathBuf> = args
        .nodes
        .iter()
        .map(|(name, _)| invite_path(&args.out, name))
        .collect();
    if let Some(path) = paths.iter().find(|path| path.symlink_metadata().is_ok()) {
        let path = path.display();
        return Err(Failure::new(Code::Exists, format!("{path} exists already"))
            .hint("remove it, or choose another place with --out DIR"));
    }
    passphrase.check_obtainable(context.common.no_input)?;
    let passphrase = passphrase.obtain_for_realm(&realm, context.common.no_input)?;
    let realm = unlock_refreshed(realm, passphrase, context)?;

    let now_ms = cli::now_ms();
    let ttl_ms = u64::try_from(args.ttl.as_millis()).unwrap_or(u64::MAX);
    let expires_ms = now_ms.saturating_add(ttl_ms);
    files::ensure_directory(&args.out)?;
    let invites = realm.call_nodes(&args.nodes, expires_ms, now_ms)?;
    write_all(&paths, &invites)?;
    // They and the keys that made them are secrets, and done with.
    drop(invites);
    let realm = realm.close();

    let data: Vec<Value> = args
        .nodes
        .iter()
        .zip(&paths)
        .map(|((name, address), path)| {
            json!({
                "name": name.as_str(),
                "addr": address,
                "file": path.display().to_string(),
                "expires": rfc3339(expires_ms),
            })
        })
        .collect();
    context.output.result("invite", &Value::Array(data), || {
        let files: Vec<String> = paths
            .iter()
            .map(|path| escaped(&path.display().to_string()))
            .collect();
        let pin = realm.id().short();
        format!("✓ {}   single use, pin realm {pin}", files.join(" "))
    })?;
    context.output.notice(format!(
        "on each node, before {}: kvd join NAME.invite --data DIR",
        rfc3339(expires_ms)
    ));
    if let few @ (1 | 2) = args.nodes.len() {
        context.output.notice(format!(
            "a cluster of {few}: when one node fails, nothing works; of three one may fail"
        ));
    }
    Ok(())
}

/// All or none: an invite alone would call for a cluster that cannot form.
fn write_all(paths: &[PathBuf], invites: &[SecretBytes]) -> Result<(), Failure> {
    for (index, (path, invite)) in paths.iter().zip(invites).enumerate() {
        if let Err(error) = files::write(path, invite.expose(), Existing::Refuse) {
            for written in &paths[..index] {
                let _ = files::remove(written);
            }
            return Err(error.into());
        }
    }
    Ok(())
}

fn invite_path(out: &Path, name: &Name) -> PathBuf {
    let file = format!("{name}.invite");
    if out == Path::new(".") {
        PathBuf::from(file)
    } else {
        out.join(file)
    }
}

fn parse_node(text: &str) -> Result<(Name, String), String> {
    let (name, address) = text
        .split_once('=')
        .ok_or_else(|| "not NAME=ADDR, such as n1=127.0.0.1:7401".to_owned())?;
    let name: Name = name.parse().map_err(|error| format!("{error}"))?;
    let address = with_port(address);
    check_call(&[(name.clone(), address.clone())]).map_err(|error| error.to_string())?;
    Ok((name, address))
}

fn with_port(address: &str) -> String {
    if address.parse::<Ipv6Addr>().is_ok() {
        return format!("[{address}]:{DEFAULT_PORT}");
    }
    if address.ends_with(']') || !address.contains(':') {
        return format!("{address}:{DEFAULT_PORT}");
    }
    address.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_port_may_be_left_out() {
        for (text, expected) in [
            ("n1=127.0.0.1", "127.0.0.1:7401"),
            ("n1=127.0.0.1:9", "127.0.0.1:9"),
            ("n1=node.example", "node.example:7401"),
            ("n1=::1", "[::1]:7401"),
            ("n1=[::1]", "[::1]:7401"),
            ("n1=[::1]:9", "[::1]:9"),
        ] {
            let (name, address) = parse_node(text).expect("a node");
            assert_eq!((name.as_str(), address.as_str()), ("n1", expected));
        }
    }

    #[test]
    fn nodes_that_nobody_could_reach_are_refused() {
        for text in [
            "",
            "n1",
            "n1=",
            "=x:1",
            "N1=x:1",
            "../n1=x:1",
            "n1=x:",
            "n1=x:0",
            "n1=x:65536",
            "n1=a b",
            "n1=:1",
            "n1=[::1",
            "n1=a:1:1",
            "n1=x/y:1",
        ] {
            assert!(parse_node(text).is_err(), "{text:?}");
        }
    }
}
