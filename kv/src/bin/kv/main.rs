//! `kv`: the client.

mod batch;
mod bench;
mod cluster;
mod codes;
mod context;
mod keys;
mod login;
mod logout;
mod namespace;
mod read;
mod session;
mod write;

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use sealmoot_authn::cli::{self, CommonArgs, Failure, Output};

// What TLS and ring leave in freed memory is wiped with the memory.
#[global_allocator]
static ALLOCATOR: zeroizing_alloc::ZeroAlloc<std::alloc::System> =
    zeroizing_alloc::ZeroAlloc(std::alloc::System);

/// Read and write an encrypted, leaderless quorum store
#[derive(Debug, Parser)]
#[command(name = "kv", version, disable_help_subcommand = true)]
struct Arguments {
    #[command(flatten)]
    common: CommonArgs,
    #[command(flatten)]
    session: session::SessionArgs,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Log in at a node and keep the session as a context
    Login(login::LoginArgs),
    /// End a session at the cluster and delete its context
    Logout(logout::LogoutArgs),
    /// Say for whom the context speaks, and until when
    Whoami,
    /// The sessions that this machine keeps
    #[command(subcommand)]
    Context(context::ContextCommand),
    /// Read a value
    Get(read::GetArgs),
    /// Set a value
    Put(write::PutArgs),
    /// Delete a value
    Del(write::DelArgs),
    /// Set a value if the key is as expected
    Cas(write::CasArgs),
    /// List keys
    Ls(read::LsArgs),
    /// Run many operations, one JSON object a line
    Batch(batch::BatchArgs),
    /// Measure put, get, cas and mixed load
    Bench(bench::BenchArgs),
    /// How many nodes take part in what, below one namespace
    #[command(subcommand)]
    Namespace(namespace::NamespaceCommand),
    /// Ask about the cluster
    #[command(subcommand)]
    Cluster(cluster::ClusterCommand),
    #[command(flatten)]
    About(cli::About),
}

fn main() -> ExitCode {
    cli::run(
        "kv",
        |arguments: &Arguments| arguments.common.clone(),
        dispatch,
    )
}

fn dispatch(arguments: Arguments, output: &Output) -> Result<(), Failure> {
    let (common, session) = (arguments.common, arguments.session);
    match arguments.command {
        Command::Login(args) => login::login(&args, &session, &common, output),
        Command::Logout(args) => logout::logout(&args, &session, &common, output),
        Command::Whoami => context::whoami(&session, output),
        Command::Context(command) => context::run(&command, &session, output),
        Command::Get(args) => read::get(&args, &session, &common, output),
        Command::Put(args) => write::put(args, &session, &common, output),
        Command::Del(args) => write::del(&args, &session, &common, output),
        Command::Cas(args) => write::cas(args, &session, &common, output),
        Command::Ls(args) => read::ls(&args, &session, &common, output),
        Command::Batch(args) => batch::batch(&args, &session, &common, output),
        Command::Bench(args) => bench::bench(&args, &session, &common, output),
        Command::Namespace(command) => namespace::run(&command, &session, &common, output),
        Command::Cluster(command) => cluster::run(&command, &session, &common, output),
        Command::About(about) => about.run::<Arguments>(output),
    }
}
