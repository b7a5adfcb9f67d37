//! `kvd demo`: a three-node encrypted cluster, and each thing that it promises
//! actually happening.
//!
//! The nodes are this very program, run again as real processes on real
//! directories; the administrator's and the client's parts are the libraries that
//! `authctl` and `kv` call.

mod nodes;
mod prompt;
mod steps;

use std::path::PathBuf;

use sealmoot_authn::cli::{self, CommonArgs, Failure, Output};

/// `kvd demo`.
#[derive(Debug, clap::Args)]
pub(crate) struct DemoArgs {
    /// How many nodes
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u8).range(3..=9))]
    nodes: u8,
    /// Keep everything in this directory, which must not exist
    #[arg(long, value_name = "DIR")]
    keep: Option<PathBuf>,
}

pub(crate) fn demo(args: &DemoArgs, common: &CommonArgs, output: &Output) -> Result<(), Failure> {
    let workshop = nodes::Workshop::new(args.keep.as_deref())?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(Failure::internal)?;
    let talk = Talk(output);
    let outcome = runtime.block_on(async {
        let ended = async {
            let mut shown = steps::show(&workshop, usize::from(args.nodes), &talk).await?;
            if cli::is_terminal() && !common.no_input {
                prompt::prompt(&mut shown, &talk).await?;
            }
            Ok(())
        };
        tokio::select! {
            outcome = ended => outcome,
            _ = tokio::signal::ctrl_c() => {
                Err(Failure::new(cli::Code::Interrupted, "interrupted"))
            }
        }
    });
    workshop.leave(&talk)?;
    outcome
}

/// What the demonstration says, line by line.
struct Talk<'a>(&'a Output);

impl Talk<'_> {
    fn heading(&self, text: &str) -> Result<(), Failure> {
        self.0.bytes(format!("\n{text}\n").as_bytes())
    }

    fn line(&self, text: impl AsRef<str>) -> Result<(), Failure> {
        self.0.bytes(format!("  {}\n", text.as_ref()).as_bytes())
    }
}
