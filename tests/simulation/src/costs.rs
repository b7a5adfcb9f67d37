//! What requests cost, counted: round trips, syncs waited for, messages, records.
//!
//! What nodes remember of each other's logs is left out: it goes along with records
//! that are written anyway, and costs no sync.

use std::fmt;

use sealmoot_kv::coordinator::Level;
use sealmoot_kv::quorum::Quorums;

use crate::stage::{self, Cost, Stage};

/// In which situation a request is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Situation {
    /// A write by the coordinator that wrote the key last; a read of what all hold.
    Quiet,
    /// The first write of a key by its coordinator.
    Cold,
    /// A write of a key that another coordinator wrote in between; a read of what
    /// only the member that is asked first holds.
    Contended,
    /// One member is down, and the coordinator has noticed.
    OneDown,
}

/// One line of the table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// N, W and R.
    pub quorums: Quorums,
    /// Which request.
    pub request: Request,
    /// In which situation.
    pub situation: Situation,
    /// What it cost; none when it failed for want of members.
    pub cost: Option<Cost>,
}

/// Which request is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Request {
    /// A put; conditional writes and deletions cost the same.
    Put,
    /// A read at this level.
    Get(Level),
}

/// The settings of the table.
#[must_use]
pub fn settings() -> Vec<Quorums> {
    [(3, 2, 2), (3, 3, 1), (3, 1, 3), (5, 3, 3), (5, 4, 2)]
        .into_iter()
        .map(|(members, write, read)| {
            Quorums::new(members, write, read).expect("each of these overlaps")
        })
        .collect()
}

/// Counts everything.
#[must_use]
pub fn table() -> Vec<Line> {
    let requests = [
        Request::Put,
        Request::Get(Level::Linearizable),
        Request::Get(Level::Quorum),
        Request::Get(Level::One),
    ];
    let situations = [
        Situation::Quiet,
        Situation::Cold,
        Situation::Contended,
        Situation::OneDown,
    ];
    let mut lines = Vec::new();
    for quorums in settings() {
        for request in requests {
            for situation in situations {
                // A read needs no ballot, so none can be cold.
                if situation == Situation::Cold && request != Request::Put {
                    continue;
                }
                lines.push(Line {
                    quorums,
                    request,
                    situation,
                    cost: count(quorums, request, situation),
                });
            }
        }
    }
    lines
}

/// Counts one line.
#[must_use]
pub fn count(quorums: Quorums, request: Request, situation: Situation) -> Option<Cost> {
    stage::on(quorums.members(), quorums, |stage| {
        prepare(stage, request, situation);
        match request {
            Request::Put => {
                let (outcome, cost) = stage.put_counted(0, 0, "counted");
                outcome.ok().map(|_| cost)
            }
            Request::Get(level) => {
                let (value, cost) = stage.get_counted(0, 0, level);
                value.ok().map(|_| cost)
            }
        }
    })
}

/// Brings the situation about. What it asks for may fail where too few members are
/// there; then so does what is counted.
fn prepare(stage: &mut Stage<'_>, request: Request, situation: Situation) {
    // The settings are known, and promises are covered by a ceiling, at every node.
    for node in 0..2 {
        let written = stage.put(node, 1, "another key");
        debug_assert!(written.is_ok(), "all members are there: {written:?}");
    }
    match situation {
        Situation::Cold => {}
        Situation::Quiet => drop(stage.put(0, 0, "first")),
        Situation::Contended if request == Request::Put => {
            drop(stage.put(0, 0, "first"));
            drop(stage.put(1, 0, "in between"));
        }
        Situation::Contended => {
            drop(stage.put(0, 0, "first"));
            // A write that reaches its coordinator's own replica and nobody else.
            for node in 1..5 {
                stage.cut_if_there(0, node);
            }
            stage.give_requests(50);
            drop(stage.put(0, 0, "at one member"));
            stage.give_requests(1_000);
            stage.heal();
        }
        Situation::OneDown => {
            drop(stage.put(0, 0, "first"));
            stage.stop(1);
            // The coordinator notices, and its ballot is warm again where it can be.
            drop(stage.get(0, 0, Level::Linearizable));
            drop(stage.put(0, 0, "second"));
        }
    }
}

impl fmt::Display for Situation {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(match self {
            Self::Quiet => "quiet",
            Self::Cold => "cold",
            Self::Contended => "contended",
            Self::OneDown => "one down",
        })
    }
}

impl fmt::Display for Request {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(match self {
            Self::Put => "put",
            Self::Get(Level::Linearizable) => "get linearizable",
            Self::Get(Level::Quorum) => "get quorum",
            Self::Get(Level::One) => "get one",
        })
    }
}

/// The table, for people and for documents.
#[must_use]
pub fn rendered() -> String {
    let mut text = String::from(
        "| N, W, R | request | situation | round trips | syncs waited for | messages | records |\n\
         |---|---|---|---|---|---|---|\n",
    );
    for line in table() {
        let quorums = line.quorums;
        let settings = format!(
            "{}, {}, {}",
            quorums.members(),
            quorums.write(),
            quorums.read()
        );
        let counted = match line.cost {
            None => "no quorum | | | |".to_owned(),
            Some(cost) => format!(
                "{} | {} | {} | {} |",
                cost.trips, cost.sync_waits, cost.messages, cost.records
            ),
        };
        text += &format!(
            "| {settings} | {} | {} | {counted}\n",
            line.request, line.situation
        );
    }
    text
}
