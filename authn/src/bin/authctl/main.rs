//! `authctl`: the realm, its users and the invites for its nodes.

mod check;
mod node;
mod realm;
mod user;

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use sealmoot_authn::cli::{self, CommonArgs, Failure, GLOBAL, Output, Places};

/// Passphrases and root keys pass through libraries that do not wipe: whatever is
/// freed is wiped here.
#[global_allocator]
static ALLOCATOR: zeroizing_alloc::ZeroAlloc<std::alloc::System> =
    zeroizing_alloc::ZeroAlloc(std::alloc::System);

/// Realms, users, rights and invites for nodes
#[derive(Parser)]
#[command(
    name = "authctl",
    version,
    disable_help_subcommand = true,
    after_help = "First steps: authctl realm init NAME, authctl user add USER --role admin, \
                  authctl node invite n1=HOST:PORT …\n\
                  An error code explained: authctl help CODE"
)]
struct Cli {
    #[command(flatten)]
    common: CommonArgs,
    /// Realm to act on; not needed while there is one only
    #[arg(long, global = true, value_name = "NAME|ID", help_heading = GLOBAL)]
    realm: Option<String>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// The realm: one root key, kept on this machine
    #[command(subcommand)]
    Realm(realm::Command),
    /// Users, their roles and passwords
    #[command(subcommand)]
    User(user::Command),
    /// Nodes of the cluster
    #[command(subcommand)]
    Node(node::Command),
    /// Say whether a user may act on a key, and by which rule
    Check(check::Args),
    /// Explain an error code or a command
    Help(cli::HelpArgs),
    /// Print the version
    Version,
}

/// What every command needs to know.
struct Context<'a> {
    places: Places,
    realm: Option<String>,
    common: CommonArgs,
    output: &'a Output,
}

fn main() -> ExitCode {
    cli::run::<Cli>("authctl", |cli| cli.common.clone(), run)
}

fn run(cli: Cli, output: &Output) -> Result<(), Failure> {
    match cli.command {
        Command::Help(args) => return cli::help::<Cli>(&args, output),
        Command::Version => return cli::version::<Cli>(output),
        _ => {}
    }
    let context = Context {
        places: Places::find()?,
        realm: cli.realm,
        common: cli.common,
        output,
    };
    match cli.command {
        Command::Realm(command) => realm::run(command, &context),
        Command::User(command) => user::run(command, &context),
        Command::Node(command) => node::run(command, &context),
        Command::Check(args) => check::run(&args, &context),
        Command::Help(_) | Command::Version => Ok(()),
    }
}
