//! What the command lines of `authctl`, `kvd` and `kv` have in common: exit
//! codes, output, where secrets come from and where files lie.

mod about;
mod common;
mod cores;
mod failure;
mod help;
mod keys;
mod output;
mod places;
mod secrets;
mod terminal;

pub use about::{About, ManArgs, Shell};
pub use common::{CommonArgs, Duration, GLOBAL, parse_duration, run};
pub use failure::{Code, Failure, NodeOutcome};
pub use help::HelpArgs;
pub use keys::{AgentArgs, holds_private_key, read_private_key, read_public_key};
pub use output::{Format, Output, bytes_fields, rfc3339};
pub use places::Places;
pub use secrets::{
    CodeArgs, HeirPassphraseArgs, NewPassphraseArgs, PassphraseArgs, PasswordArgs, SecretArgs,
    StandardInput, prompt_code, read_answer,
};
pub use terminal::{escaped, is_terminal};

/// Milliseconds since 1970 by this machine's clock.
#[must_use]
pub fn now_ms() -> u64 {
    std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .map_or(0, |since| {
            u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
        })
}
