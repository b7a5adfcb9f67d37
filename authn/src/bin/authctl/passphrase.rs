//! `authctl passphrase`.

use clap::Args;
use sealmoot_authn::cli::Failure;
use sealmoot_crypto::passphrase::{Passphrase, WORDS_MAX};
use serde_json::json;

use crate::Context;

/// As many as `realm init` generates.
const WORDS: u8 = 6;
const _: () = assert!(WORDS_MAX == 64, "the range of --words says so");

#[derive(Args)]
pub(crate) struct PassphraseArgs {
    /// How many words; each adds 12.9 bits
    #[arg(
        long,
        value_name = "N",
        default_value_t = WORDS,
        value_parser = clap::value_parser!(u8).range(1..=64)
    )]
    words: u8,
}

/// Prints the passphrase, and on the other channel what it is worth: what is piped
/// away is the passphrase alone.
pub(crate) fn run(args: &PassphraseArgs, context: &Context<'_>) -> Result<(), Failure> {
    let passphrase = Passphrase::generate(args.words.into()).map_err(Failure::internal)?;
    let bits = passphrase.entropy_bits();
    let text = std::str::from_utf8(passphrase.text().expose()).map_err(Failure::internal)?;
    context
        .output
        .notice(format!("{} words, {bits:.1} bits of entropy", args.words));
    let data = json!({"passphrase": text, "words": args.words, "entropy_bits": bits});
    context
        .output
        .result("passphrase", &data, || text.to_owned())
}
