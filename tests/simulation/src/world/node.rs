//! One node: the production machines, what is written and not synced, and clocks of
//! its own.

use bytes::Bytes;
use sealmoot_kv::ballot::{Ballot, Proposer};
use sealmoot_kv::coordinator::{CallId, Coordinator, Now, Token};
use sealmoot_kv::directory::DirectoryRecord;
use sealmoot_kv::quorum::Quorums;
use sealmoot_kv::reconfiguration::{Effect as ChangeEffect, Reconfiguration, RoundNumber};
use sealmoot_kv::record::Record;
use sealmoot_kv::replica::{Replay, Replica};

use super::EPOCH;
use super::attesting::Attesting;
use super::client::AttemptId;
use super::damages::Health;
use super::directory::{membership, node_number};
use super::storage::Storage;

/// The time at the beginning, in milliseconds since 1970.
pub(super) const WALL_MS_FIRST: u64 = 1_700_000_000_000;

/// A node.
pub(super) struct Node {
    /// Absent while the node is down.
    pub(super) machines: Option<Machines>,
    /// The number of the last start; no two starts of a history share one.
    pub(super) start: u64,
    pub(super) storage: Storage,
    pub(super) health: Health,
    /// Appended, and not yet taken by the writer.
    pub(super) queued: Vec<Record>,
    /// Being written and synced.
    pub(super) writing: Vec<Record>,
    pub(super) syncing: bool,
    pub(super) clock: NodeClock,
    /// When the next tick is due.
    pub(super) tick_at_us: u64,
    pub(super) paused_until_us: u64,
    pub(super) slow_until_us: u64,
    /// How the next sync fails.
    pub(super) failing: Option<std::io::ErrorKind>,
    /// So many effects until the next crash at one.
    pub(super) effects_left: u64,
    /// As whom it could hold keys, durably.
    pub(super) incarnation: Option<u64>,
    /// Whether a new incarnation is on its way to the disk.
    pub(super) renewing: bool,
    /// It waits for the directory's answer until then.
    pub(super) looking_until_us: u64,
    /// It does not reach the directory until then.
    pub(super) directory_cut_us: u64,
    /// When the change that it drives is due.
    pub(super) change_due_us: u64,
}

/// What a running process has in memory.
pub(super) struct Machines {
    pub(super) replica: Replica,
    pub(super) coordinator: Coordinator,
    /// Absent where nobody is asked before a node votes.
    pub(super) attesting: Option<Attesting>,
    /// Who asked the replica, by token.
    pub(super) askers: Vec<Asker>,
    /// Whose requests the coordinator carries, by token.
    pub(super) callers: Vec<(Token, AttemptId, Bytes)>,
    pub(super) next_token: Token,
    /// The change of members that this process drives.
    pub(super) change: Option<Reconfiguration>,
    pub(super) change_effects: Vec<ChangeEffect>,
    /// The request that settles a key for it.
    pub(super) settling: Option<(Token, RoundNumber)>,
}

/// Which question an answer belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Call {
    Coordinator(CallId),
    /// Of the change of members that the asking process drives.
    Change(RoundNumber),
}

/// Who asked a replica.
#[derive(Clone)]
pub(super) struct Asker {
    pub(super) node: usize,
    /// Of that node: an answer to a former start goes nowhere.
    pub(super) start: u64,
    pub(super) call: Call,
    /// What was to be promised, and for which key.
    pub(super) promise: Option<(usize, Ballot)>,
}

/// How a node's clocks differ from the world's.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct NodeClock {
    /// Added to the wall clock, in milliseconds.
    pub(super) offset_ms: i64,
    /// Of a thousand, how much faster it runs.
    pub(super) drift: i64,
}

impl Node {
    /// The epoch that it knows; the first one while it is down.
    pub(super) fn epoch(&self) -> u64 {
        let machines = self.machines.as_ref();
        machines.map_or(0, |machines| machines.replica.epoch())
    }
}

impl NodeClock {
    pub(super) fn now(self, now_us: u64) -> Now {
        let elapsed_us = i64::try_from(now_us).unwrap_or(i64::MAX);
        let steady_ms = (elapsed_us + elapsed_us / 1000 * self.drift) / 1000;
        let wall_ms = WALL_MS_FIRST as i64 + steady_ms + self.offset_ms;
        Now {
            wall_ms: wall_ms.max(0) as u64,
            steady_ms: steady_ms.max(0) as u64,
        }
    }
}

impl Machines {
    /// The machines of a start, after everything was replayed.
    pub(super) fn start(
        me: usize,
        start: u64,
        quorums: Quorums,
        replay: Replay,
        appended: u64,
        wall_ms: u64,
        among: Option<(usize, &DirectoryRecord)>,
    ) -> Self {
        let replica = match among {
            None => replay.finish(EPOCH, appended),
            Some(_) => replay.finish_in_directory(node_number(me), appended),
        };
        let proposer = Proposer {
            node: me as u64 + 1,
            start,
        };
        let clock = replica.clock(wall_ms);
        let coordinator = match among {
            None => Coordinator::new(me, EPOCH, proposer, quorums, clock, start),
            Some((nodes, first)) => {
                let members = membership(replica.directory().unwrap_or(first));
                Coordinator::among(me, nodes, members, proposer, clock, start)
            }
        };
        Self {
            replica,
            coordinator,
            attesting: None,
            askers: Vec::new(),
            callers: Vec::new(),
            next_token: 1,
            change: None,
            change_effects: Vec::new(),
            settling: None,
        }
    }
}
