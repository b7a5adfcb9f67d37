//! `authctl session`.

mod ask;
mod list;
mod revoke;

use clap::{Args, Subcommand};
use sealmoot_authn::cli::{Failure, PassphraseArgs};
use sealmoot_authn::name::Name;

use crate::Context;

#[derive(Subcommand)]
pub(crate) enum Command {
    /// List the sessions that the nodes have seen and that hold
    ///
    /// Asks the nodes with the session of `kv login`; the user has to administer
    /// everything (role admin), but for the user's own sessions. Nobody signed what a
    /// node says of them.
    List(ListArgs),
    /// End sessions before their time
    ///
    /// Their connections are closed on every node that can be reached, and whoever
    /// holds the session's key has to log in again with a new one. With --user and
    /// --all every session ends that a node made before now, by this machine's clock.
    Revoke(RevokeArgs),
}

#[derive(Args)]
pub(crate) struct ListArgs {
    /// Only this user's
    #[arg(value_name = "USER", conflicts_with = "revoked")]
    user: Option<Name>,
    /// What was revoked and is still remembered, from the realm on this machine
    #[arg(long)]
    revoked: bool,
    /// The login context to use instead of the current one
    #[arg(long, env = "SEALMOOT_CONTEXT", value_name = "NAME")]
    context: Option<String>,
}

#[derive(Args)]
pub(crate) struct RevokeArgs {
    /// The session's id, or the digits with which it alone begins
    ///
    /// A whole id, of 64 digits, is revoked also while no node can be asked.
    #[arg(value_name = "ID", required_unless_present = "user")]
    ids: Vec<String>,
    /// All sessions of this user, with --all
    #[arg(long, value_name = "USER", requires = "all", conflicts_with = "ids")]
    user: Option<Name>,
    /// Every session that the user has now
    #[arg(long, requires = "user")]
    all: bool,
    /// The login context to use instead of the current one
    #[arg(long, env = "SEALMOOT_CONTEXT", value_name = "NAME")]
    context: Option<String>,
    #[command(flatten)]
    passphrase: PassphraseArgs,
}

pub(crate) fn run(command: Command, context: &Context<'_>) -> Result<(), Failure> {
    match command {
        Command::List(args) if args.revoked => list::revoked(context),
        Command::List(args) => list::run(&args, context),
        Command::Revoke(args) => revoke::run(&args, context),
    }
}
