//! wip
use sealmoot_authn::cli::{CommonArgs, Failure, Output};
#[derive(Debug, clap::Args)]
pub(crate) struct DemoArgs {}
pub(crate) fn demo(_: &DemoArgs, _: &CommonArgs, _: &Output) -> Result<(), Failure> {
    Ok(())
}
