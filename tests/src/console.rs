//! Transcripts in Markdown, run and compared.
//!
//! In a block tagged `console`, a line that begins with `$ ` is a command, lines
//! after it that begin with `> ` continue it, and all others are what it prints,
//! standard error among standard output. There, `…` stands for anything within a
//! line, and a line of nothing but `…` for any number of lines. What else follows
//! on a line is part of it: a transcript has no comments.
//!
//! All blocks of a page run in one shell, so that a variable of one is known in
//! the next. A command that calls `cargo` is not run, and nothing is compared.

use std::process::Command;

use crate::command::Running;

/// A command and what it is said to print.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// The line of the page, from 1.
    pub line: usize,
    /// The command, in one or more lines.
    pub command: String,
    /// Its output, line by line.
    pub expected: Vec<String>,
}

impl Step {
    /// Whether it is run: what calls `cargo` is not.
    #[must_use]
    pub fn is_run(&self) -> bool {
        !self.command.split_whitespace().any(|word| word == "cargo")
    }
}

/// The steps in the `console` blocks of a page.
#[must_use]
pub fn steps(page: &str) -> Vec<Step> {
    let mut steps: Vec<Step> = Vec::new();
    // The fence that would end the block.
    let mut fence: Option<(String, bool)> = None;
    let mut continues = false;
    for (number, line) in page.lines().enumerate() {
        let trimmed = line.trim_start();
        match &fence {
            None => {
                let ticks = trimmed.chars().take_while(|&letter| letter == '`').count();
                if ticks >= 3 {
                    let tag = trimmed[ticks..].split([' ', ',']).next();
                    fence = Some(("`".repeat(ticks), tag == Some("console")));
                    continues = false;
                }
                continue;
            }
            Some((end, _)) if trimmed == end => {
                fence = None;
                continue;
            }
            Some((_, false)) => continue,
            Some((_, true)) => {}
        }
        if let Some(command) = line.strip_prefix("$ ") {
            steps.push(Step {
                line: number + 1,
                command: command.to_owned(),
                expected: Vec::new(),
            });
            continues = true;
        } else if let (Some(more), true, Some(step)) =
            (line.strip_prefix("> "), continues, steps.last_mut())
        {
            step.command.push('\n');
            step.command.push_str(more);
        } else if let Some(step) = steps.last_mut() {
            step.expected.push(line.to_owned());
            continues = false;
        }
    }
    for step in &mut steps {
        while step.expected.last().is_some_and(String::is_empty) {
            step.expected.pop();
        }
    }
    steps
}

/// Runs the steps in one shell, `shell` being `bash` with its directories set.
/// Each outcome is what the step printed.
///
/// # Panics
/// When the shell ends before the last step.
#[must_use]
pub fn run(mut shell: Command, steps: &[Step]) -> Vec<String> {
    let mark = "=sealmoot-transcript-step=";
    let mut script = String::from("exec 2>&1 </dev/null\n");
    for step in steps {
        // The output of a step may end within a line.
        script.push_str(&format!("{}\nprintf '\\n{mark}\\n'\n", step.command));
    }
    // Bash reads a script in an argument whole before it runs the first line.
    shell.args(["--norc", "--noprofile", "-c"]).arg(script);
    let outcome = Running::start(shell, Vec::new()).finish();
    let printed = String::from_utf8_lossy(&outcome.stdout);
    let end = format!("\n{mark}\n");
    let mut printed: Vec<String> = printed.split(&end).map(str::to_owned).collect();
    assert_eq!(
        printed.len(),
        steps.len() + 1,
        "the shell did not come to the last step: {outcome:?}"
    );
    printed.pop();
    printed
}

/// Whether these lines are what was expected.
#[must_use]
pub fn agrees(expected: &[String], printed: &[&str]) -> bool {
    let Some((first, rest)) = expected.split_first() else {
        return printed.is_empty();
    };
    if first.trim() == "…" {
        return (0..=printed.len()).any(|skipped| agrees(rest, &printed[skipped..]));
    }
    printed
        .split_first()
        .is_some_and(|(line, left)| line_agrees(first, line) && agrees(rest, left))
}

/// Compares what a step printed; a report where it is something else.
///
/// # Errors
/// The report, for people.
pub fn compare(step: &Step, printed: &str) -> Result<(), String> {
    let lines: Vec<&str> = printed.trim_end_matches('\n').lines().collect();
    if agrees(&step.expected, &lines) {
        return Ok(());
    }
    Err(format!(
        "line {}: $ {}\nexpected:\n{}\nprinted:\n{}\n",
        step.line,
        step.command,
        step.expected.join("\n"),
        lines.join("\n")
    ))
}

fn line_agrees(expected: &str, printed: &str) -> bool {
    let mut parts = expected.trim_end().split('…');
    let printed = printed.trim_end();
    let begin = parts.next().unwrap_or_default();
    let Some(mut left) = printed.strip_prefix(begin) else {
        return false;
    };
    let mut parts: Vec<&str> = parts.collect();
    let Some(end) = parts.pop() else {
        return left.is_empty();
    };
    for part in parts {
        match left.find(part) {
            Some(at) => left = &left[at + part.len()..],
            None => return false,
        }
    }
    left.ends_with(end)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_console_blocks_hold_steps() {
        let page = "$ no\n```sh\n$ no\n```\n```console\n$ one\n1\n\n$ two \\\n> more\n> x\n\
                    ````\n```\n> no\n````md\n```console\n$ no\n```\n````\n";
        let steps = steps(page);
        assert_eq!(steps.len(), 2, "{steps:?}");
        assert_eq!(steps[0].line, 6);
        assert_eq!(steps[0].command, "one");
        assert_eq!(steps[0].expected, ["1"]);
        assert_eq!(steps[1].command, "two \\\nmore\nx");
        assert_eq!(steps[1].expected, ["````"]);
    }

    #[test]
    fn lines_agree_up_to_the_ellipsis() {
        for (expected, printed) in [
            ("", ""),
            ("a", "a"),
            ("a…", "abc"),
            ("…c", "abc"),
            ("a…c", "ac"),
            ("a…b…c", "a-b-c"),
            ("a…b…", "axb"),
            ("…b…b…", "abcb"),
        ] {
            assert!(line_agrees(expected, printed), "{expected} {printed}");
        }
        for (expected, printed) in [
            ("", "a"),
            ("a", ""),
            ("a", "ab"),
            ("a…c", "abcd"),
            ("a…a", "a"),
            ("…b…b…", "ab"),
            ("a…b", "a"),
        ] {
            assert!(!line_agrees(expected, printed), "{expected} {printed}");
        }
    }

    #[test]
    fn a_line_of_an_ellipsis_is_any_number_of_lines() {
        let agrees = |expected: &str, printed: &str| {
            let expected: Vec<String> = expected.lines().map(str::to_owned).collect();
            let printed: Vec<&str> = printed.lines().collect();
            agrees(&expected, &printed)
        };
        assert!(agrees("…", ""));
        assert!(agrees("…", "a\nb"));
        assert!(agrees("a\n…\nb", "a\nb"));
        assert!(agrees("a\n…\nb", "a\nb\nc\nb"));
        assert!(!agrees("a\n…\nb", "a\nb\nc"));
        assert!(!agrees("a", "a\nb"));
        assert!(!agrees("", "a"));
    }

    #[test]
    fn steps_share_a_shell() {
        let page = "```console\n$ x=7; printf open\nopen\n```\n```console\n$ echo $x >&2\n7\n\
                    $ false; echo $?\n1\n```";
        let steps = steps(page);
        let printed = run(Command::new("bash"), &steps);
        for (step, printed) in steps.iter().zip(&printed) {
            assert_eq!(compare(step, printed), Ok(()));
        }
        assert!(compare(&steps[0], "other").is_err());
    }

    #[test]
    fn what_calls_cargo_is_not_run() {
        let steps = steps("```console\n$ cargo run\n$ echo cargoes\n```");
        assert_eq!(
            steps.iter().map(Step::is_run).collect::<Vec<_>>(),
            [false, true]
        );
    }
}
