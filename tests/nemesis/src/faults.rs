//! What happens to nodes while clients work: chosen by a seed, one thing after another.

use std::rc::Rc;
use std::time::{Duration, Instant};

use sealmoot_tests::random::Random;

use crate::field::{Cut, Field, NODES};
use crate::nodes::{Nodes, has_fake_clock};

/// How long a fault lasts, in milliseconds.
const LASTS_MS: std::ops::Range<u64> = 200..1500;
/// How long nothing is wrong between two faults, in milliseconds.
const QUIET_MS: std::ops::Range<u64> = 100..700;
/// How far a wall clock jumps, in seconds.
const JUMP_SECONDS_MAX: u64 = 40;

/// What is done to one node, or to all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Fault {
    /// Cut off both ways.
    CutOff,
    /// Hears nothing.
    Deaf,
    /// Is not heard.
    Mute,
    /// Loses packets.
    Lossy,
    /// Reaches the clients only.
    FromPeers,
    /// Stands still and goes on.
    Paused,
    /// Is killed and started again.
    Killed,
    /// All are killed and started again.
    AllKilled,
    /// Its wall clock jumps, and jumps back.
    ClockJump,
    /// A different cut for each of two nodes.
    TwoCuts,
}

impl Fault {
    const ALL: [Self; 10] = [
        Self::CutOff,
        Self::Deaf,
        Self::Mute,
        Self::Lossy,
        Self::FromPeers,
        Self::Paused,
        Self::Killed,
        Self::AllKilled,
        Self::ClockJump,
        Self::TwoCuts,
    ];
}

/// Lets faults happen until `ends`; afterwards nothing is wrong any more. Returns what
/// happened, in order.
pub(crate) fn happen(
    nodes: &mut Nodes,
    field: &Rc<Field>,
    random: &mut Random,
    ends: Instant,
) -> Result<Vec<Fault>, String> {
    let mut happened = Vec::new();
    loop {
        std::thread::sleep(within(random, QUIET_MS));
        if Instant::now() >= ends {
            return Ok(happened);
        }
        let fault = Fault::ALL[below(random, Fault::ALL.len())];
        if fault == Fault::ClockJump && !has_fake_clock() {
            continue;
        }
        let host = below(random, NODES);
        let left = ends.saturating_duration_since(Instant::now());
        let lasts = within(random, LASTS_MS).min(left);
        happened.push(fault);
        let cut = |cut| {
            field.cut(host, cut)?;
            std::thread::sleep(lasts);
            field.heal(host)
        };
        match fault {
            Fault::CutOff => cut(Cut::Both)?,
            Fault::Deaf => cut(Cut::Deaf)?,
            Fault::Mute => cut(Cut::Mute)?,
            Fault::Lossy => cut(Cut::Lossy)?,
            Fault::FromPeers => cut(Cut::FromPeers)?,
            Fault::TwoCuts => {
                let other = (host + 1 + below(random, NODES - 1)) % NODES;
                field.cut(host, Cut::Deaf)?;
                field.cut(other, Cut::Mute)?;
                std::thread::sleep(lasts);
                field.heal(host)?;
                field.heal(other)?;
            }
            Fault::Paused => {
                nodes.signal(host, "STOP");
                std::thread::sleep(lasts);
                nodes.signal(host, "CONT");
            }
            Fault::Killed => {
                nodes.kill(host);
                std::thread::sleep(lasts);
                nodes.start(host);
            }
            Fault::AllKilled => {
                (0..NODES).for_each(|host| nodes.kill(host));
                std::thread::sleep(lasts);
                (0..NODES).for_each(|host| nodes.start(host));
            }
            Fault::ClockJump => {
                let seconds = i64::try_from(random.below(2 * JUMP_SECONDS_MAX)).unwrap_or(0);
                let most = i64::try_from(JUMP_SECONDS_MAX).unwrap_or(0);
                nodes.set_clock(host, seconds - most)?;
                std::thread::sleep(lasts);
                nodes.set_clock(host, 0)?;
            }
        }
    }
}

fn within(random: &mut Random, range: std::ops::Range<u64>) -> Duration {
    Duration::from_millis(range.start + random.below(range.end - range.start))
}

fn below(random: &mut Random, bound: usize) -> usize {
    usize::try_from(random.below(bound as u64)).unwrap_or(0)
}
