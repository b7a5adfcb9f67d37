//! Real nodes, on hosts of their own, while everything goes wrong that can go wrong
//! between and below them; and whether a client noticed.
//!
//! ```text
//! nemesis histories --count 20 --seconds 10 --from 1   cuts, pauses, kills, clock jumps
//! nemesis power --count 100                            power cuts; nothing is lost
//! nemesis power --count 3 --lying                      the control: something is
//! ```
//!
//! Needs root, `ip` and `nft`; for power cuts `mkfs.ext4`, `mount` and `python3`; for
//! the control `strace`; for clock jumps libfaketime. What is missing is skipped by
//! name. The seed chooses what happens; what the machine makes of it differs from run
//! to run.
//!
//! | module | idea |
//! |---|---|
//! | `field` | hosts on a bridge, and cuts |
//! | `nodes` | the nodes on them |
//! | `clients` | what clients do and were told |
//! | `faults` | what happens meanwhile |
//! | `histories` | all of it, judged |
//! | `medium`, `power` | disks that lose power |
//! | `ended` | what is taken away when it is told to end |

mod clients;
mod ended;
mod faults;
mod field;
mod histories;
mod medium;
mod nodes;
mod power;
mod tool;

use std::process::{Command, ExitCode, Stdio};
use std::time::Duration;

use clap::{Parser, Subcommand};

/// Real nodes while everything goes wrong.
#[derive(Debug, Parser)]
struct Arguments {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Histories under cuts, pauses, kills and clock jumps, judged
    Histories {
        /// How many
        #[arg(long, default_value_t = 20)]
        count: u64,
        /// How long each is
        #[arg(long, default_value_t = 10)]
        seconds: u64,
        /// The first seed
        #[arg(long, default_value_t = 1)]
        from: u64,
    },
    /// Power cuts under load
    Power {
        /// How many
        #[arg(long, default_value_t = 100)]
        count: u64,
        /// The seed
        #[arg(long, default_value_t = 1)]
        from: u64,
        /// With syncs that lie: something must be lost
        #[arg(long)]
        lying: bool,
    },
}

fn main() -> ExitCode {
    let what = Arguments::parse().what;
    let (name, tools): (&str, &[&str]) = match &what {
        What::Histories { .. } => ("histories", &["ip", "nsenter", "nft"]),
        What::Power { lying: false, .. } => (
            "power cuts",
            &["ip", "nsenter", "nft", "mkfs.ext4", "mount", "python3"],
        ),
        What::Power { lying: true, .. } => (
            "power cuts with lying syncs",
            &[
                "ip",
                "nsenter",
                "nft",
                "mkfs.ext4",
                "mount",
                "python3",
                "strace",
            ],
        ),
    };
    if let Some(why) = cannot(tools) {
        println!("SKIPPED {name}: {why}");
        return ExitCode::SUCCESS;
    }
    if let Err(why) = ended::watch_signals() {
        eprintln!("nemesis: signals cannot be waited for: {why}");
        return ExitCode::FAILURE;
    }
    ended::clean_leftovers();
    let work = move || match what {
        What::Histories {
            count,
            seconds,
            from,
        } => histories::run(count, Duration::from_secs(seconds), from),
        What::Power {
            count,
            from,
            lying: false,
        } => power::run(count, from),
        What::Power { count, from, .. } => power::run_lying(count, from),
    };
    let outcome = std::thread::spawn(work).join();
    // It may have failed, or panicked, because its hosts were taken away.
    ended::give_way();
    match outcome {
        Ok(Ok(())) => ExitCode::SUCCESS,
        Ok(Err(why)) => {
            eprintln!("nemesis: {why}");
            ExitCode::FAILURE
        }
        Err(_) => ExitCode::FAILURE,
    }
}

/// Why it cannot be done here, if it cannot.
fn cannot(tools: &[&str]) -> Option<String> {
    let missing = tools.iter().find(|tool| {
        let probe = Command::new("sh")
            .args(["-c", &format!("command -v {tool}")])
            .stdout(Stdio::null())
            .status();
        !probe.is_ok_and(|status| status.success())
    });
    if let Some(tool) = missing {
        return Some(format!("{tool} is not there"));
    }
    let name = ended::probe();
    let made = tool::run("ip", &["netns", "add", &name]);
    let removed = tool::run("ip", &["netns", "delete", &name]);
    made.and(removed).err()
}
