//! The shell around replica and coordinator: carries out what they want done.
//!
//! One lock guards both machines and the order of records; whatever they ask for
//! is done under it until nothing is left: messages to this node's own replica go
//! straight there, others are handed to links, records to the log's writer. An
//! answer of the replica leaves when the writer reports a sync.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use tokio::sync::{Notify, oneshot, watch};

use crate::coordinator::{
    Answer, CallId, Command, Coordinator, Effect as CoordinatorEffect, Failure, Now, Token,
};
use crate::log::{AppendRefused, Durable, LogPosition, LogWriter};
use crate::message::{Reply, Request};
use crate::record::Record;
use crate::replica::{Effect as ReplicaEffect, Replica, RequestToken};

use super::links::Links;

/// How often the coordinator is asked whether anything is due.
const TICK: Duration = Duration::from_millis(5);
/// Bytes that wait for a sync above which a replica takes no more accepts.
const UNSYNCED_BYTES_MAX: usize = 32 * 1024 * 1024;

/// Why a peer's request has no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum AskError {
    /// The disk does not keep up.
    #[error("the disk does not keep up")]
    DiskBusy,
    /// The node is going down.
    #[error("the node is going down")]
    Stopping,
}

/// What the node must end for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the node cannot go on: {0}")]
pub struct Fatal(pub String);

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
    position: LogPosition,
    /// A record was not appended, or this lock was poisoned: the machines no
    /// longer tell the truth about the disk, and nobody is answered any more.
    dead: bool,
}

/// Replica, coordinator and log of one node.
pub(super) struct Engine {
    me: usize,
    machines: Mutex<Machines>,
    /// Taken out when the node stops.
    log: Mutex<Option<LogWriter>>,
    links: Arc<Links>,
    durable: watch::Sender<u64>,
    fatal: watch::Sender<Option<Fatal>>,
    busy: Notify,
    started: Instant,
    wall_ms: fn() -> u64,
    this: Weak<Self>,
}

impl Machines {
    /// Whether so much waits for a sync that this request must not add to it.
    fn is_too_far_behind(&self, request: &Request) -> bool {
        matches!(request, Request::Accept { .. }) && self.unsynced_bytes > UNSYNCED_BYTES_MAX
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
    pub(super) fn start(
        me: usize,
        replica: Replica,
        coordinator: Coordinator,
        log: LogWriter,
        position: LogPosition,
        links: Arc<Links>,
        wall_ms: fn() -> u64,
    ) -> Arc<Self> {
        let engine = Arc::new_cyclic(|this| Self {
            me,
            machines: Mutex::new(Machines {
                replica,
                coordinator,
                next_token: 1,
                clients: HashMap::new(),
                askers: HashMap::new(),
                unsynced: VecDeque::new(),
                unsynced_bytes: 0,
                position,
                dead: false,
            }),
            log: Mutex::new(Some(log)),
            links,
            durable: watch::Sender::new(position.records),
            fatal: watch::Sender::new(None),
            busy: Notify::new(),
            started: Instant::now(),
            wall_ms,
            this: this.clone(),
        });
        tokio::spawn(Arc::clone(&engine).keep_time());
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
    pub(super) async fn ask(&self, request: Request) -> Result<Reply, AskError> {
        let (sender, receiver) = oneshot::channel();
        let taken = self.work(|work| {
            if work.machines.is_too_far_behind(&request) {
                return false;
            }
            let token = work.machines.next_token;
            work.machines.next_token += 1;
            work.machines.askers.insert(token, Asker::Peer(sender));
            let now = work.now;
            work.machines
                .replica
                .request(now.wall_ms, token, request, &mut work.replica);
            true
        });
        if !taken {
            return Err(AskError::DiskBusy);
        }
        receiver.await.map_err(|_| AskError::Stopping)
    }

    /// Appends records of the node itself and waits until they are durable.
    ///
    /// # Errors
    /// [`AskError`].
    pub(super) async fn append(&self, records: Vec<Record>) -> Result<(), AskError> {
        let number = self.work(|work| {
            for record in records {
                let number = work.machines.replica.note_foreign_record();
                self.append_record(&mut work.machines, number, record);
            }
            work.machines.replica.appended()
        });
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
        });
        self.durable.send_replace(durable.through());
    }

    /// Takes note that the disk failed: nothing is acknowledged any more and the
    /// process has to end.
    pub(super) fn on_disk_failure(&self, cause: &dyn std::fmt::Display) {
        self.fatal
            .send_replace(Some(Fatal(format!("the disk failed: {cause}"))));
    }

    /// Ends when the disk has failed.
    pub(super) async fn failed(&self) -> Fatal {
        let mut fatal = self.fatal.subscribe();
        match fatal.wait_for(Option::is_some).await {
            Ok(fatal) => fatal.clone().unwrap_or(Fatal("unknown".to_owned())),
            Err(_) => std::future::pending().await,
        }
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
        let log = self.lock_log().take();
        if let Some(log) = log
            && let Err(error) = log.close()
        {
            self.on_disk_failure(&error);
        }
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
            self.fatal.send_replace(Some(Fatal(
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

    fn on_peer(&self, member: usize, call: CallId, reply: Result<Reply, String>) {
        self.work(|work| {
            let now = work.now;
            match reply {
                Ok(reply) => {
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

    fn append_record(&self, machines: &mut Machines, expected: u64, record: Record) {
        let bytes = record.encode();
        let length = bytes.len();
        let appended = match &*self.lock_log() {
            Some(log) => log.append(bytes),
            None => Err(AppendRefused::Stopped),
        };
        match appended {
            Ok(number) if number == expected => {
                machines.unsynced.push_back((number, length));
                machines.unsynced_bytes += length;
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
