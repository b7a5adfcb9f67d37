//! `help` and `version`, the same for all three binaries.

use clap::{Args, CommandFactory};
use serde_json::json;

use super::failure::{Code, Failure};
use super::output::Output;

/// What is asked about.
#[derive(Debug, Clone, Args)]
pub struct HelpArgs {
    /// An error code such as not_found, or a command
    #[arg(value_name = "CODE|COMMAND")]
    topic: Vec<String>,
}

/// Explains an error code, a command, or the whole program.
///
/// # Errors
/// A usage failure for what is neither.
pub fn help<A: CommandFactory>(args: &HelpArgs, output: &Output) -> Result<(), Failure> {
    if let [topic] = args.topic.as_slice()
        && let Some(code) = Code::parse(topic)
    {
        let data = json!({
            "code": code.as_str(),
            "exit": code.exit(),
            "explanation": code.explanation(),
        });
        return output.result("help", &data, || {
            format!("{code} (exit {})\n{}", code.exit(), code.explanation())
        });
    }
    let mut command = A::command();
    command.build();
    let program = command.get_name().to_owned();
    let mut command = &mut command;
    for topic in &args.topic {
        command = command.find_subcommand_mut(topic).ok_or_else(|| {
            Failure::usage(format!("{topic:?} is neither an error code nor a command")).hint(
                format!(
                    "the code stands in brackets: error[not_found]; {program} help lists commands"
                ),
            )
        })?;
    }
    let text = command.render_help().to_string();
    output.result("help", &json!({"text": text}), || {
        text.trim_end().to_owned()
    })
}

/// Prints the program's version.
///
/// # Errors
/// When standard output cannot be written.
pub fn version<A: CommandFactory>(output: &Output) -> Result<(), Failure> {
    let command = A::command();
    let name = command.get_name();
    let version = command.get_version().unwrap_or("unknown");
    let data = json!({"name": name, "version": version});
    output.result("version", &data, || format!("{name} {version}"))
}
