//! What all three binaries say about themselves: `help`, `version`, `completions`
//! and `man`.

use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use clap::builder::PossibleValue;
use clap::{Args, CommandFactory, Subcommand, ValueEnum};
use clap_complete::Generator;
use serde_json::json;

use super::failure::{Code, Failure};
use super::help::{HelpArgs, help, version};
use super::output::Output;

/// The commands that every binary has.
#[derive(Debug, Subcommand)]
pub enum About {
    /// Explain an error code or a command
    Help(HelpArgs),
    /// Print what a shell needs to complete the command line
    ///
    /// bash: source it, or put it into ~/.local/share/bash-completion/completions.
    /// zsh: put it into a directory of $fpath under the program's name after an
    /// underscore. fish: put it into ~/.config/fish/completions.
    Completions {
        /// The shell
        shell: Shell,
    },
    /// Write manual pages, one for each command, into a directory
    Man(ManArgs),
    /// Print the version
    Version,
}

impl About {
    /// Answers; `A` is the binary's command line.
    ///
    /// # Errors
    /// A usage failure for an unknown topic, [`Code::Exists`] for manual pages that
    /// are there, and failures to write.
    pub fn run<A: CommandFactory>(&self, output: &Output) -> Result<(), Failure> {
        match self {
            Self::Help(args) => help::<A>(args, output),
            Self::Completions { shell } => completions::<A>(*shell, output),
            Self::Man(args) => man::<A>(args, output),
            Self::Version => version::<A>(output),
        }
    }
}

/// A shell whose completions can be made.
#[derive(Debug, Clone, Copy)]
pub struct Shell(clap_complete::Shell);

impl ValueEnum for Shell {
    fn value_variants<'a>() -> &'a [Self] {
        use clap_complete::Shell::{Bash, Elvish, Fish, PowerShell, Zsh};
        &[
            Self(Bash),
            Self(Zsh),
            Self(Fish),
            Self(PowerShell),
            Self(Elvish),
        ]
    }

    fn to_possible_value(&self) -> Option<PossibleValue> {
        self.0.to_possible_value()
    }
}

/// Where manual pages go.
#[derive(Debug, Args)]
pub struct ManArgs {
    /// The directory; it is made if it is not there
    directory: PathBuf,
    /// Overwrite pages that are there
    #[arg(long)]
    force: bool,
}

fn completions<A: CommandFactory>(shell: Shell, output: &Output) -> Result<(), Failure> {
    let mut command = A::command();
    command.set_bin_name(command.get_name().to_owned());
    command.build();
    let mut script = Vec::new();
    shell
        .0
        .try_generate(&command, &mut script)
        .map_err(Failure::internal)?;
    // What it prints is for the shell, whatever the format.
    output.bytes(&script)
}

fn man<A: CommandFactory>(args: &ManArgs, output: &Output) -> Result<(), Failure> {
    let mut command = A::command();
    command.build();
    let mut pages = Vec::new();
    render(&command, &mut pages).map_err(Failure::internal)?;
    let unwritable = |path: &Path, error: &io::Error| {
        Failure::new(Code::Config, format!("{}: {error}", path.display()))
    };
    fs::create_dir_all(&args.directory).map_err(|error| unwritable(&args.directory, &error))?;
    let paths: Vec<(PathBuf, Vec<u8>)> = pages
        .into_iter()
        .map(|(page, text)| (args.directory.join(page), text))
        .collect();
    // All or none is refused.
    let there = paths.iter().find(|(path, _)| path.exists());
    if let Some((path, _)) = there.filter(|_| !args.force) {
        return Err(
            Failure::new(Code::Exists, format!("{} is there", path.display()))
                .hint("--force overwrites manual pages"),
        );
    }
    for (path, text) in &paths {
        write_page(path, text).map_err(|error| unwritable(path, &error))?;
    }
    let files: Vec<String> = paths
        .iter()
        .map(|(path, _)| path.display().to_string())
        .collect();
    let data = json!({"directory": args.directory.display().to_string(), "files": files});
    output.result("man", &data, || {
        format!(
            "✓ {} manual pages in {}",
            files.len(),
            args.directory.display()
        )
    })
}

/// Pages of a command and of all below it, each named after the whole way to it,
/// which clap has for them once they are built.
fn render(command: &clap::Command, pages: &mut Vec<(String, Vec<u8>)>) -> io::Result<()> {
    let name = command
        .get_display_name()
        .unwrap_or_else(|| command.get_name());
    let page = clap_mangen::Man::new(command.clone());
    let mut text = Vec::new();
    page.render(&mut text)?;
    pages.push((format!("{name}.1"), text));
    command
        .get_subcommands()
        .try_for_each(|below| render(below, pages))
}

fn write_page(path: &Path, text: &[u8]) -> io::Result<()> {
    let mut page = fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o644)
        .open(path)?;
    page.write_all(text)
}
