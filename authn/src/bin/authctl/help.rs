//! `authctl help` and `authctl version`.

use clap::CommandFactory;
use sealmoot_authn::cli::{Code, Failure, Output};
use serde_json::json;

use crate::Cli;

#[derive(clap::Args)]
pub(crate) struct Args {
    /// An error code such as not_found, or a command such as user add
    #[arg(value_name = "CODE|COMMAND")]
    topic: Vec<String>,
}

pub(crate) fn run(args: &Args, output: &Output) -> Result<(), Failure> {
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
    let mut command = Cli::command();
    command.build();
    let mut command = &mut command;
    for topic in &args.topic {
        command = command.find_subcommand_mut(topic).ok_or_else(|| {
            Failure::usage(format!("{topic:?} is neither an error code nor a command"))
                .hint("the code stands in brackets: error[not_found]; authctl help lists commands")
        })?;
    }
    let text = command.render_help().to_string();
    output.result("help", &json!({"text": text}), || {
        text.trim_end().to_owned()
    })
}

pub(crate) fn version(output: &Output) -> Result<(), Failure> {
    let version = env!("CARGO_PKG_VERSION");
    let data = json!({"name": "authctl", "version": version});
    output.result("version", &data, || format!("authctl {version}"))
}
