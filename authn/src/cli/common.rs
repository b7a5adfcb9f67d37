//! Flags that every command understands, and how a command is run.

use std::io::{self, Write};
use std::process::ExitCode;

use clap::error::ErrorKind;
use clap::{Args, Parser};

use super::cores::forbid_core_files;
use super::failure::{Code, Failure};
use super::output::{Format, Output};
use super::terminal::escaped;

/// A length of time on the command line.
pub type Duration = std::time::Duration;

/// Where help lists the flags that every command understands.
pub const GLOBAL: &str = "Options of every command";

/// Flags that every command understands.
#[derive(Debug, Clone, Args)]
pub struct CommonArgs {
    /// Form of results
    #[arg(
        short = 'o',
        long = "output",
        value_enum,
        default_value_t,
        global = true,
        help_heading = GLOBAL,
        env = "SEALMOOT_OUTPUT"
    )]
    pub output: Format,
    /// How long to try before giving up
    #[arg(long, value_parser = parse_duration, default_value = "10s", global = true, help_heading = GLOBAL)]
    pub timeout: Duration,
    /// Say nothing but results (on standard output, the line with ✓ too) and errors
    #[arg(short, long, global = true, help_heading = GLOBAL)]
    pub quiet: bool,
    /// Say more about what is done
    #[arg(short, long, global = true, help_heading = GLOBAL)]
    pub verbose: bool,
    /// Never ask; fail instead
    #[arg(long, global = true, help_heading = GLOBAL)]
    pub no_input: bool,
    /// Answer yes to what would be asked
    #[arg(long, global = true, help_heading = GLOBAL)]
    pub yes: bool,
    /// Colour on the terminal
    #[arg(long, value_parser = ["auto", "always", "never"], default_value = "auto", global = true, help_heading = GLOBAL)]
    pub color: String,
}

/// Parses `500ms`, `10s`, `5m`, `12h`, `7d` or a number of seconds.
///
/// # Errors
/// What is wrong with the text.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    let units = [
        ("ms", 1),
        ("s", 1000),
        ("m", 60_000),
        ("h", 3_600_000),
        ("d", 86_400_000),
    ];
    let (number, factor) = units
        .iter()
        .find_map(|(unit, factor)| text.strip_suffix(unit).map(|number| (number, *factor)))
        .unwrap_or((text, 1000));
    let wrong = || format!("{text:?} is not a time such as 500ms, 10s, 5m, 12h or 7d");
    if !number.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(wrong());
    }
    let number: u64 = number.parse().map_err(|_| wrong())?;
    let milliseconds = number.checked_mul(factor).ok_or_else(wrong)?;
    if milliseconds == 0 || milliseconds > 3_660 * 86_400_000 {
        return Err(format!("{text:?} is zero or more than ten years"));
    }
    Ok(Duration::from_millis(milliseconds))
}

/// Forbids core files, parses the command line and runs the command: its result becomes
/// output, its failure a message and an exit status.
pub fn run<A: Parser>(
    program: &'static str,
    common: impl FnOnce(&A) -> CommonArgs,
    command: impl FnOnce(A, &Output) -> Result<(), Failure>,
) -> ExitCode {
    // Before anything else, for any of it may crash.
    let without_cores = forbid_core_files();
    let arguments = match A::try_parse() {
        Ok(arguments) => arguments,
        Err(error) if error.use_stderr() => {
            let output = Output::new(program, format_before_parsing(), false);
            if output.format.is_json() {
                let hint = format!("{program} --help");
                output.failure(&Failure::usage(parse_message(&error)).hint(hint));
            } else {
                // Arguments are repeated in it, and may hold anything.
                let text = error.render().to_string();
                let text = match text.strip_prefix("error: ") {
                    Some(message) => format!("{program}: error[{}]: {message}", Code::Usage),
                    None => text,
                };
                for line in text.trim_end().lines() {
                    let _ = writeln!(io::stderr(), "{}", escaped(line));
                }
            }
            return ExitCode::from(Code::Usage.exit());
        }
        Err(help) => {
            let _ = help.print();
            return ExitCode::SUCCESS;
        }
    };
    let common = common(&arguments);
    let output = Output::new(program, common.output, common.quiet);
    if let Err(error) = without_cores {
        output.warning(format!("core files could not be forbidden: {error}"));
    }
    match command(arguments, &output) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            output.failure(&failure);
            ExitCode::from(failure.code.exit())
        }
    }
}

/// What is wrong with the command line, in one line: the first paragraph, without
/// usage and tips.
fn parse_message(error: &clap::Error) -> String {
    if error.kind() == ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand {
        return "the command is incomplete".to_owned();
    }
    let text = error.render().to_string();
    let lines: Vec<&str> = text
        .lines()
        .map(str::trim)
        .take_while(|line| !line.is_empty())
        .collect();
    let message = lines.join(" ");
    message
        .strip_prefix("error: ")
        .unwrap_or(&message)
        .to_owned()
}

/// Whether JSON was asked for on a command line that does not parse.
fn format_before_parsing() -> Format {
    let arguments: Vec<String> = std::env::args_os()
        .map(|argument| argument.to_string_lossy().into_owned())
        .collect();
    let asked = arguments.windows(2).any(|pair| {
        matches!(pair[0].as_str(), "-o" | "--output")
            && matches!(pair[1].as_str(), "json" | "jsonl")
    }) || arguments.iter().any(|argument| {
        matches!(
            argument.as_str(),
            "-ojson" | "-ojsonl" | "--output=json" | "--output=jsonl"
        )
    }) || std::env::var("SEALMOOT_OUTPUT").is_ok_and(|value| value.starts_with("json"));
    if asked { Format::Json } else { Format::Table }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_units() {
        let milliseconds = |text: &str| parse_duration(text).map(|time| time.as_millis());
        assert_eq!(milliseconds("500ms"), Ok(500));
        assert_eq!(milliseconds("10s"), Ok(10_000));
        assert_eq!(milliseconds("10"), Ok(10_000));
        assert_eq!(milliseconds("12h"), Ok(43_200_000));
        for bad in [
            "",
            "0",
            "0s",
            "s",
            "-1s",
            "+1s",
            "1.5s",
            "1y",
            "99999999999999d",
            "4000d",
        ] {
            assert!(parse_duration(bad).is_err(), "{bad:?}");
        }
    }
}
