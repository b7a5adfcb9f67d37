//! The shell around replica and coordinator: carries out what they want done.
//!
//! One lock guards both machines and the order of records; whatever they ask for
//! is done under it until nothing is left: messages to this node's own replica go
//! straight there, others are handed to links, records to the log's writer. An
//! answer of the replica leaves when the writer reports a sync.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::sync::{Notify, oneshot, watch};

use crate::attest::{Admission, Attestations, Attested, Standing};
use crate::checkpoint::{Changes, Frozen, Keeper};
use crate::coordinator::{
    Answer, CallId, Command, Coordinator, Effect as CoordinatorEffect, Failure, Now, Token,
};
use crate::log::{AppendRefused, Durable, LogPosition, LogWriter};
use crate::message::{Reply, Request};
use crate::record::{Record, RefillStage};
use crate::replica::{Effect as ReplicaEffect, Replica, RequestToken};

use super::links::Links;

mod attesting;
mod refilling;
mod sweeping;

/// Why a node that has just started grants nothing.
const NOT_VOTING: &str = "it does not vote before others have said how far its log was";

/// How often the coordinator is asked whether anything is due.
const TICK: Duration = Duration::from_millis(5);
/// Bytes that wait for a sync above which a replica takes no more accepts.
const UNSYNCED_BYTES_MAX: usize = 32 * 1024 * 1024;
/// With so many bytes of changes a checkpoint is due.
const CHECKPOINT_BYTES: usize = 16 * 1024 * 1024;
/// With so many the disk does not keep up with checkpoints.
const CHANGES_BYTES_MAX: usize = 4 * CHECKPOINT_BYTES;

/// Why a peer's request has no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum AskError {
    /// The disk does not keep up.
    #[error("the disk does not keep up")]
    DiskBusy,
    /// The node has not heard yet how far others remember its log to have been.
    #[error("{NOT_VOTING}")]
    NotVoting,
    /// The member that asks remembers more of its own life than it says there is, or this
    /// node lost what it held too.
    #[error("{0}")]
    NoBeginning(&'static str),
    /// The node is going down.
    #[error("the node is going down")]
    Stopping,
}

/// What the node must end for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Fatal {
    /// The disk or the program failed.
    #[error("the node cannot go on: {0}")]
    Failed(String),
    /// What was written earlier is damaged, and the others hold it.
    #[error("{0}")]
    Damaged(String),
    /// Another node remembers more of this node's log than there is.
    #[error(
        "the data of this node is older than what it has voted on: {peer} remembers \
         record {remembered}, the log ends at {own}"
    )]
    RolledBack {
        /// The node that remembers.
        peer: String,
        /// The number of the last record that it has heard of.
        remembered: u64,
        /// The number of the last record that there is.
        own: u64,
    },
}

enum Asker {
    Here(CallId),
    Peer(oneshot::Sender<Reply>),
}

struct Machines {
    replica: Replica,
    coordinator: Coordinator,
    next_token: u64,
    clients: HashMap<Token, oneshot::Sender<Result<Answer, Failure>>>,
    askers: HashMap<RequestToken, Asker>,
    /// Number and length of records that are not durable yet.
    unsynced: VecDeque<(u64, usize)>,
    unsynced_bytes: usize,
    /// The number of the record that was handed to the log last.
    enqueued: u64,
    position: LogPosition,
    /// What the log holds that no checkpoint does.
    changes: Changes,
    /// What the next checkpoint is to hold, until it is durable in the log.
    frozen: Option<Frozen>,
    /// Whether a checkpoint is being written.
    keeping: bool,
    /// The key after which the next sweep begins, and when.
    sweep: (Bytes, u64),
    /// What this node remembers of the others.
    attestations: Attestations,
    /// Whether it may vote.
    admission: Admission,
    /// A record was not appended, or this lock was poisoned: the machines no
    /// longer tell the truth about the disk, and nobody is answered any more.
    dead: bool,
}

/// Replica, coordinator and log of one node.
pub(super) struct Engine {
    me: usize,
    /// How many members must promise.
    prepare_quorum: usize,
    machines: Mutex<Machines>,
    /// Taken out when the node stops.
    log: Mutex<Option<LogWriter>>,
    /// Taken out when the node stops.
    keeper: Mutex<Option<Keeper>>,
    links: Arc<Links>,
    durable: watch::Sender<u64>,
    fatal: watch::Sender<Option<Fatal>>,
    /// Whether damage was found.
    is_giving_up: AtomicBool,
    busy: Notify,
    started: Instant,
    wall_ms: fn() -> u64,
    this: Weak<Self>,
}

impl Machines {
    /// Whether the node may grant anything.
    fn votes(&self) -> bool {
        self.admission.standing() == Standing::Admitted
    }

    /// Whether it may answer this request.
    fn votes_on(&self, request: &Request) -> bool {
        self.votes() && self.replica.answers(request)
    }

    /// Whether so much waits for the disk that this request must not add to it.
    fn is_too_far_behind(&self, request: &Request) -> bool {
        let waits =
            self.unsynced_bytes > UNSYNCED_BYTES_MAX || self.changes.bytes() > CHANGES_BYTES_MAX;
        matches!(request, Request::Accept { .. }) && waits
    }
}

/// The machines and their effects, while the lock is held.
struct Work<'a> {
    machines: MutexGuard<'a, Machines>,
    coordinator: Vec<CoordinatorEffect>,
    replica: Vec<ReplicaEffect>,
    now: Now,
}

impl Engine {
    /// Puts the machines to work. Must be called inside a runtime.
    #[expect(clippy::too_many_arguments, reason = "the parts of one engine")]
    pub(super) fn start(
        me: usize,
        replica: Replica,
        coordinator: Coordinator,
        (log, keeper): (LogWriter, Keeper),
        (position, mut changes): (LogPosition, Changes),
        (attestations, needed): (Attestations, usize),
        links: Arc<Links>,
        wall_ms: fn() -> u64,
    ) -> Arc<Self> {
        let members = links.members().len();
        let stage = replica.refill_stage();
        // A cluster that has just formed may have learnt many users.
        let is_due = changes.bytes() >= CHECKPOINT_BYTES;
        let frozen = is_due.then(|| changes.freeze(position.records));
        let engine = Arc::new_cyclic(|this| Self {
            me,
            prepare_quorum: needed,
            machines: Mutex::new(Machines {
                replica,
                coordinator,
                next_token: 1,
                clients: HashMap::new(),
                askers: HashMap::new(),
                unsynced: VecDeque::new(),
                unsynced_bytes: 0,
                enqueued: position.records,
                position,
                changes,
                frozen,
                keeping: false,
                sweep: (Bytes::new(), 0),
                attestations,
                // One that begins anew asks all.
                admission: Admission::new(
                    me,
                    position.into(),
                    members,
                    if stage == RefillStage::Unfenced {
                        members
                    } else {
                        needed
                    },
                ),
                dead: false,
            }),
            log: Mutex::new(Some(log)),
            keeper: Mutex::new(Some(keeper)),
            links,
            durable: watch::Sender::new(position.records),
            fatal: watch::Sender::new(None),
            is_giving_up: AtomicBool::new(false),
            busy: Notify::new(),
            started: Instant::now(),
            wall_ms,
            this: this.clone(),
        });
        engine.keep_when_durable(&mut engine.lock());
        tokio::spawn(Arc::clone(&engine).keep_time());
        tokio::spawn(attesting::attest(Arc::downgrade(&engine)));
        if stage != RefillStage::Done {
            tokio::spawn(refilling::refill(Arc::downgrade(&engine)));
        }
        engine
    }

    /// Carries a client's request through the cluster.
    ///
    /// # Errors
    /// The coordinator's [`Failure`].
    pub(super) async fn execute(
        &self,
        command: Command,
        timeout: Duration,
    ) -> Result<Answer, Failure> {
        let (sender, receiver) = oneshot::channel();
        let timeout_ms = u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX);
        self.work(|work| {
            let token = work.machines.next_token;
            work.machines.next_token += 1;
            work.machines.clients.insert(token, sender);
            for member in 0..self.links.members().len() {
                let connected = member == self.me || self.links.connection(member).is_ok();
                work.machines.coordinator.connected(member, connected);
            }
            work.machines.coordinator.begin(
                work.now,
                token,
                command,
                timeout_ms,
                &mut work.coordinator,
            );
        });
        self.busy.notify_one();
        // The sender is dropped unanswered only when the engine itself goes away.
        receiver.await.unwrap_or_else(|_| {
            Err(Failure::new(
                crate::coordinator::FailureKind::OutcomeUnknown,
                crate::clock::Clock::ZERO,
            ))
        })
    }

    /// Answers a peer's request.
    ///
    /// # Errors
    /// [`AskError`].
    pub(super) async fn ask(&self, member: usize, request: Request) -> Result<Reply, AskError> {
        let (sender, receiver) = oneshot::channel();
        let taken = self.work(|work| {
            let machines = &work.machines;
            if !machines.admission.answers(member) || !machines.replica.answers(&request) {
                return Err(AskError::NotVoting);
            }
            if work.machines.is_too_far_behind(&request) {
                return Err(AskError::DiskBusy);
            }
            let token = work.machines.next_token;
            work.machines.next_token += 1;
            work.machines.askers.insert(token, Asker::Peer(sender));
            let now = work.now;
            work.machines
                .replica
                .request(now.wall_ms, token, request, &mut work.replica);
            Ok(())
        });
        taken?;
        receiver.await.map_err(|_| AskError::Stopping)
    }

    /// Appends records of the node itself and waits until they are durable.
    ///
    /// # Errors
    /// [`AskError`].
    pub(super) async fn append(&self, records: Vec<Record>) -> Result<(), AskError> {
        let number = self.enqueue(records);
        self.durable_through(number).await
    }

    /// Appends records of the node itself; returns the number of the last.
    pub(super) fn enqueue(&self, records: Vec<Record>) -> u64 {
        self.work(|work| {
            for record in records {
                let number = work.machines.replica.note_foreign_record();
                self.append_record(&mut work.machines, number, record);
            }
            work.machines.replica.appended()
        })
    }

    /// Waits until the record with this number is durable, and all before it.
    ///
    /// # Errors
    /// [`AskError`].
    pub(super) async fn durable_through(&self, number: u64) -> Result<(), AskError> {
        let mut durable = self.durable.subscribe();
        durable
            .wait_for(|through| *through >= number)
            .await
            .map(|_| ())
            .map_err(|_| AskError::Stopping)
    }

    /// Takes the writer's report of a sync, or of its failure.
    pub(super) fn on_durable(&self, durable: Durable) {
        self.work(|work| {
            work.machines.position = durable.position();
            while let Some((number, length)) = work.machines.unsynced.front().copied()
                && number <= durable.through()
            {
                work.machines.unsynced.pop_front();
                work.machines.unsynced_bytes -= length;
            }
            work.machines.replica.synced(durable, &mut work.replica);
            self.keep_when_durable(&mut work.machines);
        });
        self.durable.send_replace(durable.through());
    }

    /// Takes the report of a checkpoint that was written.
    pub(super) fn on_kept(&self) {
        let mut machines = self.lock();
        machines.keeping = false;
        self.keep_when_durable(&mut machines);
    }

    /// Has the next checkpoint written once all that it holds is durable in the log, and the
    /// one before is done.
    fn keep_when_durable(&self, machines: &mut Machines) {
        let durable = machines.position.records;
        if machines.keeping || machines.dead {
            return;
        }
        if let Some(frozen) = machines.frozen.take_if(|frozen| frozen.through <= durable) {
            machines.keeping = true;
            if let Some(keeper) = &*self.lock_keeper() {
                keeper.keep(frozen);
            }
        }
    }

    /// Takes note that the disk failed: nothing is acknowledged any more and the
    /// process has to end.
    pub(super) fn on_disk_failure(&self, cause: &dyn std::fmt::Display) {
        self.fatal
            .send_replace(Some(Fatal::Failed(format!("the disk failed: {cause}"))));
    }

    /// Takes the report of damage in what was written earlier: the node gives its data up,
    /// once all others can give it back.
    pub(super) fn on_damage(&self, damage: &dyn std::fmt::Display) {
        if !self.is_giving_up.swap(true, Ordering::Relaxed) {
            let given_up = refilling::give_up(self.this.clone(), damage.to_string());
            tokio::spawn(given_up);
        }
    }

    /// Ends when the disk has failed.
    pub(super) async fn failed(&self) -> Fatal {
        let mut fatal = self.fatal.subscribe();
        match fatal.wait_for(Option::is_some).await {
            Ok(fatal) => fatal.clone().unwrap_or(Fatal::Failed("unknown".to_owned())),
            Err(_) => std::future::pending().await,
        }
    }

    /// How far the log is, durably, for a member to remember. Before that member has
    /// said what it remembers, it is where the node started: what was written since
    /// says nothing about what was voted on before, and must not make up for it.
    pub(super) fn attested_for(&self, member: usize) -> Attested {
        let machines = self.lock();
        if machines.admission.has_reported(member) {
            machines.position.into()
        } else {
            machines.admission.own()
        }
    }

    /// What this node remembers of a member.
    pub(super) fn remembered_of(&self, member: usize) -> Option<Attested> {
        self.lock().attestations.of(self.links.number(member))
    }

    /// Remembers how far a member says that its log is.
    pub(super) fn remember(&self, member: usize, attested: Attested) {
        let node = self.links.number(member);
        self.lock().attestations.note(node, attested);
    }

    /// Whether the node may grant anything.
    pub(super) fn votes(&self) -> bool {
        self.lock().votes()
    }

    /// How far the node is with taking from the others what it lost.
    pub(super) fn refill_stage(&self) -> RefillStage {
        self.lock().replica.refill_stage()
    }

    /// How many keys it holds, deleted ones included.
    pub(super) fn keys(&self) -> usize {
        self.lock().replica.len()
    }

    /// Where the log stands, durably.
    pub(super) fn position(&self) -> LogPosition {
        self.lock().position
    }

    /// The hybrid clock, for new deadlines.
    pub(super) fn clock(&self) -> crate::clock::Clock {
        let wall_ms = (self.wall_ms)();
        self.lock().coordinator.clock(wall_ms)
    }

    /// Makes everything that waits durable and ends the log's thread.
    pub(super) fn close(&self) {
        let keeper = self.lock_keeper().take();
        let log = self.lock_log().take();
        let Some(log) = log else {
            return;
        };
        if let Err(error) = log.close() {
            self.on_disk_failure(&error);
            return;
        }
        // All of it is durable now: the next start has no log to go through.
        let mut machines = self.lock();
        let appended = machines.enqueued;
        let last = [
            machines.frozen.take(),
            Some(machines.changes.freeze(appended)),
        ];
        drop(machines);
        for frozen in last.into_iter().flatten() {
            if let Some(keeper) = &keeper
                && !frozen.is_empty()
            {
                keeper.keep(frozen);
            }
        }
    }

    fn lock_keeper(&self) -> MutexGuard<'_, Option<Keeper>> {
        self.keeper.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lock_log(&self) -> MutexGuard<'_, Option<LogWriter>> {
        self.log.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn keep_time(self: Arc<Self>) {
        let weak = Arc::downgrade(&self);
        drop(self);
        loop {
            let Some(engine) = weak.upgrade() else {
                return;
            };
            engine.sweep();
            let idle = engine.lock().coordinator.in_progress() == 0;
            if idle {
                // A wake-up that comes while this is being looked at is kept.
                let waited = tokio::time::timeout(Duration::from_secs(1), engine.busy.notified());
                let _ = waited.await;
                continue;
            }
            drop(engine);
            tokio::time::sleep(TICK).await;
            if let Some(engine) = weak.upgrade() {
                engine.work(|work| {
                    work.machines
                        .coordinator
                        .tick(work.now, &mut work.coordinator);
                });
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Machines> {
        self.machines.lock().unwrap_or_else(|poisoned| {
            self.fatal.send_replace(Some(Fatal::Failed(
                "the program panicked while it changed its state".to_owned(),
            )));
            let mut machines = poisoned.into_inner();
            machines.dead = true;
            machines
        })
    }

    fn work<T>(&self, act: impl FnOnce(&mut Work<'_>) -> T) -> T {
        let mut work = Work {
            machines: self.lock(),
            coordinator: Vec::new(),
            replica: Vec::new(),
            now: Now {
                wall_ms: (self.wall_ms)(),
                steady_ms: u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX),
            },
        };
        let result = act(&mut work);
        while !work.coordinator.is_empty() || !work.replica.is_empty() {
            for effect in std::mem::take(&mut work.replica) {
                self.carry_out_replica(&mut work, effect);
            }
            for effect in std::mem::take(&mut work.coordinator) {
                self.carry_out_coordinator(&mut work, effect);
            }
        }
        result
    }

    fn carry_out_replica(&self, work: &mut Work<'_>, effect: ReplicaEffect) {
        match effect {
            ReplicaEffect::Append(number, record) => {
                self.append_record(&mut work.machines, number, record);
                self.append_attestations(&mut work.machines);
            }
            // What the machine believes to be durable may not be: silence.
            ReplicaEffect::Reply(..) if work.machines.dead => {}
            ReplicaEffect::Reply(token, reply) => match work.machines.askers.remove(&token) {
                Some(Asker::Here(call)) => {
                    let now = work.now;
                    work.machines.coordinator.reply(
                        now,
                        call,
                        self.me,
                        reply,
                        &mut work.coordinator,
                    );
                }
                // A peer that went away does not want it any more.
                Some(Asker::Peer(sender)) => drop(sender.send(reply)),
                None => {}
            },
        }
    }

    fn carry_out_coordinator(&self, work: &mut Work<'_>, effect: CoordinatorEffect) {
        match effect {
            CoordinatorEffect::Finish(token, result) => {
                if let Some(sender) = work.machines.clients.remove(&token) {
                    drop(sender.send(result));
                }
            }
            CoordinatorEffect::Send(member, call, request)
                if member == self.me && !work.machines.votes_on(&request) =>
            {
                let now = work.now;
                work.machines.coordinator.unreachable(
                    now,
                    call,
                    member,
                    NOT_VOTING,
                    &mut work.coordinator,
                );
            }
            CoordinatorEffect::Send(member, call, request)
                if member == self.me && work.machines.is_too_far_behind(&request) =>
            {
                let now = work.now;
                work.machines.coordinator.unreachable(
                    now,
                    call,
                    member,
                    "the disk does not keep up",
                    &mut work.coordinator,
                );
            }
            CoordinatorEffect::Send(member, call, request) if member == self.me => {
                let token = work.machines.next_token;
                work.machines.next_token += 1;
                work.machines.askers.insert(token, Asker::Here(call));
                let now = work.now;
                work.machines
                    .replica
                    .request(now.wall_ms, token, request, &mut work.replica);
            }
            CoordinatorEffect::Send(member, call, request) => {
                let now = work.now;
                match self.links.connection(member) {
                    Err(cause) => work.machines.coordinator.unreachable(
                        now,
                        call,
                        member,
                        &cause,
                        &mut work.coordinator,
                    ),
                    Ok(peer) => {
                        if let Some(engine) = self.this.upgrade() {
                            tokio::spawn(async move {
                                let reply = peer.ask(request).await;
                                engine.on_peer(member, call, reply);
                            });
                        }
                    }
                }
            }
        }
    }

    fn on_peer(
        &self,
        member: usize,
        call: CallId,
        reply: Result<(Reply, Option<Attested>), String>,
    ) {
        self.work(|work| {
            let now = work.now;
            match reply {
                Ok((reply, position)) => {
                    if let Some(position) = position {
                        let node = self.links.number(member);
                        work.machines.attestations.note(node, position);
                    }
                    work.machines.coordinator.reply(
                        now,
                        call,
                        member,
                        reply,
                        &mut work.coordinator,
                    );
                }
                Err(cause) => work.machines.coordinator.unreachable(
                    now,
                    call,
                    member,
                    &cause,
                    &mut work.coordinator,
                ),
            }
        });
    }

    /// Writes what this node has heard of the others along with the group that is
    /// due, if nothing of the kind is under way.
    fn append_attestations(&self, machines: &mut Machines) {
        // The replica numbers its records when it makes them: one that it has made
        // and that was not appended yet must not be overtaken.
        if machines.enqueued != machines.replica.appended() {
            return;
        }
        let durable = machines.position.records;
        for (node, attested) in machines.attestations.due(durable) {
            let number = machines.replica.note_foreign_record();
            self.append_record(machines, number, Record::Attested { node, attested });
            machines.attestations.written(node, number);
        }
    }

    fn append_record(&self, machines: &mut Machines, expected: u64, record: Record) {
        if machines.dead {
            return;
        }
        let bytes = Bytes::from(record.encode());
        let length = bytes.len();
        let appended = match &*self.lock_log() {
            Some(log) => log.append(bytes.clone()),
            None => Err(AppendRefused::Stopped),
        };
        match appended {
            Ok(number) if number == expected => {
                machines.enqueued = number;
                machines.unsynced.push_back((number, length));
                machines.unsynced_bytes += length;
                machines.changes.note(number, &record, &bytes);
                if machines.frozen.is_none() && machines.changes.bytes() >= CHECKPOINT_BYTES {
                    machines.frozen = Some(machines.changes.freeze(number));
                }
                return;
            }
            Ok(_) => self.on_disk_failure(&"records were numbered differently by the log"),
            Err(error @ (AppendRefused::Busy | AppendRefused::TooLong { .. })) => {
                self.on_disk_failure(&error);
            }
            // The failure that stopped the writer has been reported; or the node
            // is going down.
            Err(AppendRefused::Stopped) => {}
        }
        // The machine has gone on as if the record were on its way. A later record
        // would get its number, and a sync of that would release answers that rest
        // on this one.
        machines.dead = true;
    }
}
