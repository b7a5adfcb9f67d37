//! `authctl`: the realm, its users and the invites for its nodes.

mod admin;
mod approver;
mod audit;
mod check;
mod cred;
mod grants;
mod import;
mod node;
mod passphrase;
mod progress;
mod realm;
mod refresh;
mod role;
mod session;
mod tell;
mod user;

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use sealmoot_authn::cli::{self, CommonArgs, Failure, GLOBAL, Output, Places};

/// Passphrases and root keys pass through libraries that do not wipe: whatever is
/// freed is wiped here.
#[global_allocator]
static ALLOCATOR: zeroizing_alloc::ZeroAlloc<std::alloc::System> =
    zeroizing_alloc::ZeroAlloc(std::alloc::System);

/// The way from nothing to the first value.
const FIRST_STEPS: &str = "First steps:
  1. authctl realm init NAME                      the root key; keep its passphrase
  2. authctl user add alice --role admin          an administrator
     authctl user add bob --role 'app/*:rw'       somebody with fewer rights
  3. authctl node invite n1=HOST:7401 n2=HOST:7402 n3=HOST:7403
  4. kvd join n1.invite --data ./n1 --daemonize   n2 and n3 likewise
  5. kv login alice@HOST:7401 --realm ID          the ID: authctl realm show
  6. kv put app/x hello; kv get app/x

A command explained: authctl help user add
An error code explained: authctl help CODE; all of them: authctl help codes";

/// Realms, users, rights and invites for nodes
#[derive(Parser)]
#[command(
    name = "authctl",
    version,
    disable_help_subcommand = true,
    after_help = FIRST_STEPS
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
    /// Keys with which users and machines log in
    #[command(subcommand)]
    Cred(cred::Command),
    /// Roles: names for grants
    #[command(subcommand)]
    Role(role::Command),
    /// Sessions: who is logged in, and ending that
    #[command(subcommand)]
    Session(session::Command),
    /// Administrators beside the root: delegates who make users within bounds
    #[command(subcommand)]
    Admin(admin::Command),
    /// A second person, without whom no backup of a realm is restored
    #[command(subcommand)]
    Approver(approver::Command),
    /// Nodes of the cluster
    #[command(subcommand)]
    Node(node::Command),
    /// Add users of another system with their Argon2id hashes
    Import(import::ImportArgs),
    /// Print names, roles and states of all users, a JSON object a line
    Export,
    /// What happened, and whether the record of it is whole
    #[command(subcommand)]
    Audit(audit::Command),
    /// Say whether a user may act on a key, and by which rule
    Check(check::Args),
    /// Generate a passphrase, and say how much there is to guess
    Passphrase(passphrase::PassphraseArgs),
    #[command(flatten)]
    About(cli::About),
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
    // Asked before anything is looked for.
    if let Command::About(about) = &cli.command {
        return about.run::<Cli>(output);
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
        Command::Cred(command) => cred::run(command, &context),
        Command::Role(command) => role::run(command, &context),
        Command::Session(command) => session::run(command, &context),
        Command::Admin(command) => admin::run(command, &context),
        Command::Approver(command) => approver::run(command, &context),
        Command::Node(command) => node::run(command, &context),
        Command::Import(args) => import::import(&args, &context),
        Command::Export => import::export(&context),
        Command::Audit(command) => audit::run(command, &context),
        Command::Check(args) => check::run(&args, &context),
        Command::Passphrase(args) => passphrase::run(&args, &context),
        Command::About(about) => about.run::<Cli>(output),
    }
}
