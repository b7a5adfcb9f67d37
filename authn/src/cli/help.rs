//! `help` and `version`, the same for all three binaries.

use clap::{Args, CommandFactory};
use serde_json::{Value, json};

use super::failure::{Code, Failure};
use super::output::Output;

/// The topic that lists all error codes.
const CODES: &str = "codes";

/// What is asked about.
#[derive(Debug, Clone, Args)]
pub struct HelpArgs {
    /// An error code such as not_found, a command, or codes for all error codes
    #[arg(value_name = "CODE|COMMAND")]
    topic: Vec<String>,
}

/// Explains an error code, a command, or the whole program.
///
/// # Errors
/// A usage failure for what is neither.
pub(super) fn help<A: CommandFactory>(args: &HelpArgs, output: &Output) -> Result<(), Failure> {
    if let [topic] = args.topic.as_slice()
        && topic == CODES
    {
        return codes(output);
    }
    if let [topic] = args.topic.as_slice()
        && let Some(code) = code_of(topic)
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
                    "{program} help lists the commands, {program} help {CODES} all error codes"
                ),
            )
        })?;
    }
    // Of the whole program only what fits a screen.
    let text = if args.topic.is_empty() {
        command.render_help().to_string()
    } else {
        command.render_long_help().to_string()
    };
    output.result("help", &json!({"text": text}), || {
        text.trim_end().to_owned()
    })
}

/// The code that somebody means who copies it with its brackets, or in capitals.
fn code_of(topic: &str) -> Option<Code> {
    let topic = topic.to_ascii_lowercase();
    let bare = topic
        .strip_prefix("error[")
        .and_then(|rest| rest.strip_suffix(']'))
        .unwrap_or(&topic);
    Code::parse(bare)
}

fn codes(output: &Output) -> Result<(), Failure> {
    let data: Vec<Value> = Code::all()
        .map(|code| json!({"code": code.as_str(), "exit": code.exit()}))
        .collect();
    output.result("codes", &Value::Array(data), || {
        let line = |code: Code| {
            let (first, _) = code
                .explanation()
                .split_once(". ")
                .unwrap_or((code.explanation().trim_end_matches('.'), ""));
            format!("{:17}  exit {:3}  {first}", code.as_str(), code.exit())
        };
        Code::all().map(line).collect::<Vec<_>>().join("\n")
    })
}

/// Prints the program's version.
///
/// # Errors
/// When standard output cannot be written.
pub(super) fn version<A: CommandFactory>(output: &Output) -> Result<(), Failure> {
    let command = A::command();
    let name = command.get_name();
    let version = command.get_version().unwrap_or("unknown");
    let data = json!({"name": name, "version": version});
    output.result("version", &data, || format!("{name} {version}"))
}
