//! Takes from the other members what this node lost: see [`crate::replica`]'s part in
//! `replica/refill.rs`, where the steps and their reasons are.

use std::collections::BTreeSet;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use bytes::Bytes;
use sealmoot_authn::policy::RESERVED_PREFIX;
use tokio::task::JoinSet;
use tracing::{info, warn};

use super::{AskError, Attested, Command, Engine, Fatal};
use crate::clock::Clock;
use crate::message::{Reply, Request, SCAN_ENTRIES_MAX};
use crate::record::{Record, RefillStage};

/// Keys that are written again at the same time.
const IN_FLIGHT_MAX: usize = 64;
/// How long writing one again may take.
const SETTLE_WITHIN: Duration = Duration::from_secs(5);
/// The pause behind a pass that did not reach every key.
const PAUSE: Duration = Duration::from_millis(500);
/// How long each member waits for those before it to give up damaged data.
const TURN: Duration = Duration::from_secs(2);
/// How often it is told how far it is.
const TELL_EVERY: Duration = Duration::from_secs(10);

/// Runs until the node holds again whatever it may have acknowledged.
pub(super) async fn refill(engine: Weak<Engine>) {
    let began = Instant::now();
    let mut told = Instant::now();
    loop {
        let Some(engine) = engine.upgrade() else {
            return;
        };
        if engine.refill_stage() == RefillStage::Filling && engine.votes() {
            match engine.pass(&mut told).await {
                Ok(()) => {
                    let number = engine.work(|work| {
                        let machines = &mut *work.machines;
                        machines.replica.end_filling(&mut work.replica)
                    });
                    if engine.durable_through(number).await.is_ok() {
                        let keys = engine.keys();
                        let took_ms = began.elapsed().as_millis();
                        info!(keys, took_ms, "holds again what it lost");
                    }
                    return;
                }
                Err(cause) => {
                    if told.elapsed() >= TELL_EVERY {
                        told = Instant::now();
                        warn!(%cause, "does not hold all yet that it lost");
                    }
                }
            }
        }
        drop(engine);
        tokio::time::sleep(PAUSE).await;
    }
}

/// Ends a node with damaged data as soon as all others hold theirs. Until then it goes on:
/// what it has in memory is right, and may be needed.
pub(super) async fn give_up(engine: Weak<Engine>, damage: String) {
    loop {
        let Some(engine) = engine.upgrade() else {
            return;
        };
        if engine.links.members().len() - 1 < engine.prepare_quorum {
            warn!(%damage, "there are too few other nodes to take it from: make a backup");
            return;
        }
        // Two that find damage at the same moment must not both give up.
        let turn = TURN * u32::try_from(engine.me).unwrap_or(u32::MAX);
        tokio::time::sleep(turn).await;
        let own = engine.lock().admission.own();
        match engine.ask_all_to_begin(own, Clock::ZERO).await {
            Ok(_) => {
                let fatal = Fatal::Damaged(format!("{damage}: failed authentication"));
                engine.fatal.send_replace(Some(fatal));
                return;
            }
            Err(cause) => warn!(%damage, %cause, "not set aside before the others hold theirs"),
        }
        drop(engine);
        tokio::time::sleep(TELL_EVERY).await;
    }
}

impl Engine {
    /// A member has lost what it held and begins another life, with its log at `position`.
    /// With a clock, what the former life may have granted up to there is stopped here,
    /// durably. Returns the latest clock that this node has heard of, and the highest
    /// revision of any key that was removed here.
    ///
    /// # Errors
    /// [`AskError`].
    pub(in crate::node) async fn begin_life_of(
        &self,
        member: usize,
        position: Attested,
        clock: Clock,
    ) -> Result<(Clock, u64), AskError> {
        let node = self.links.number(member);
        let begun = self.work(|work| {
            let machines = &mut *work.machines;
            // Its own answers would make up for nothing.
            if !machines.votes() || !machines.replica.is_whole() {
                return Err(AskError::NoBeginning("this node does not hold all itself"));
            }
            let wall_ms = work.now.wall_ms;
            let latest = machines.replica.clock(wall_ms);
            let latest = latest.max(machines.coordinator.clock(wall_ms));
            let revision_floor = machines.replica.revision_floor();
            if clock == Clock::ZERO {
                return Ok((latest, revision_floor, 0, None));
            }
            let new = machines.attestations.begin_life(node, position);
            let new = new.map_err(|_| AskError::NoBeginning("more of this life is remembered"))?;
            let fenced = machines
                .replica
                .fence_former_life(wall_ms, clock, &mut work.replica);
            let floors = fenced.ok_or(AskError::NoBeginning(
                "its clock is too far ahead of this node's",
            ))?;
            Ok((latest, revision_floor, floors, Some(new)))
        });
        let (latest, revision_floor, floors, new) = begun?;
        if let Some(new) = new {
            if new {
                let name = self
                    .links
                    .members()
                    .nth(member)
                    .map(|peer| peer.name.clone());
                let name = name.map_or_else(String::new, |name| name.to_string());
                warn!(node = name, "begins anew, without what it held");
            }
            // Also when it is not new: the answer to the first time may have been lost
            // before this was durable.
            let attested = Record::Attested {
                node,
                attested: position,
            };
            let attested = self.enqueue(vec![attested]);
            self.durable_through(floors.max(attested)).await?;
        }
        Ok((latest, revision_floor))
    }

    /// Has all others stop what this node's former life may have granted, then does so
    /// itself.
    ///
    /// # Errors
    /// The cause in a few words; to be tried again.
    pub(super) async fn fence_former_life(&self) -> Result<(), String> {
        let own = self.lock().admission.own();
        let told = self.ask_all_to_begin(own, Clock::ZERO).await?;
        let clocks = told.iter().map(|(clock, _)| *clock);
        let clock = clocks.fold(self.clock(), Clock::max);
        let told = self.ask_all_to_begin(own, clock).await?;
        let revision_floor = told.iter().map(|(_, floor)| *floor).max().unwrap_or(0);
        let number = self.work(|work| {
            let machines = &mut *work.machines;
            machines
                .replica
                .begin_filling(clock, revision_floor, &mut work.replica);
            machines.replica.appended()
        });
        self.durable_through(number)
            .await
            .map_err(|error| error.to_string())?;
        let mut machines = self.lock();
        for member in (0..self.links.members().len()).filter(|member| *member != self.me) {
            // It remembers this life, and no more of it than there is.
            machines.admission.report(member, None);
        }
        Ok(())
    }

    async fn ask_all_to_begin(
        &self,
        own: Attested,
        clock: Clock,
    ) -> Result<Vec<(Clock, u64)>, String> {
        let mut told = Vec::new();
        for (member, peer) in self.links.members().enumerate() {
            if member == self.me {
                continue;
            }
            let connection = self.links.connection(member)?;
            let answer = connection.begin_life(own, clock).await;
            told.push(answer.map_err(|cause| format!("{}: {cause}", peer.name))?);
        }
        Ok(told)
    }

    /// Takes all keys once.
    async fn pass(self: &Arc<Self>, told: &mut Instant) -> Result<(), String> {
        for prefix in [Bytes::new(), Bytes::from_static(RESERVED_PREFIX)] {
            let mut after = Bytes::new();
            loop {
                let page = self.page(&prefix, &after).await?;
                self.settle_all(page.keys).await?;
                if told.elapsed() >= TELL_EVERY {
                    *told = Instant::now();
                    info!(keys = self.keys(), "takes from the others what it lost");
                }
                match page.next {
                    Some(next) => after = next,
                    None => break,
                }
            }
        }
        Ok(())
    }

    /// Which keys behind `after` P of the others know, and where to go on.
    async fn page(&self, prefix: &Bytes, after: &Bytes) -> Result<Page, String> {
        let epoch = self.lock().replica.epoch();
        let needed = self.prepare_quorum;
        let mut answers = 0;
        let mut page = Page::default();
        let mut trouble = String::from("too few others");
        for member in (0..self.links.members().len()).filter(|member| *member != self.me) {
            let request = Request::Scan {
                prefix: prefix.clone(),
                after: after.clone(),
                limit: SCAN_ENTRIES_MAX,
                epoch,
            };
            let answer = match self.links.connection(member) {
                Ok(peer) => peer.ask(request).await,
                Err(cause) => Err(cause),
            };
            match answer {
                Ok((
                    Reply::Scanned {
                        entries, complete, ..
                    },
                    _,
                )) => {
                    answers += 1;
                    let last = entries.last().map(|entry| entry.key.clone());
                    page.keys.extend(entries.into_iter().map(|entry| entry.key));
                    if !complete {
                        // Behind the last key of this member it may have more.
                        let last = last.ok_or("a member scans without end")?;
                        page.next = Some(page.next.map_or(last.clone(), |next| next.min(last)));
                    }
                }
                Ok(_) => trouble = "a member of another epoch".to_owned(),
                Err(cause) => trouble = cause,
            }
        }
        if answers < needed {
            return Err(trouble);
        }
        if let Some(next) = &page.next {
            page.keys.retain(|key| key <= next);
        }
        Ok(page)
    }

    /// Has every key written again that this node does not hold.
    async fn settle_all(self: &Arc<Self>, keys: BTreeSet<Bytes>) -> Result<(), String> {
        let mut under_way = JoinSet::new();
        let mut outcome = Ok(());
        for key in keys {
            if self.lock().replica.holds(&key) {
                continue;
            }
            if under_way.len() >= IN_FLIGHT_MAX
                && let Some(one) = under_way.join_next().await
            {
                outcome = outcome.and(one.map_err(|error| error.to_string()).flatten());
            }
            let engine = Arc::clone(self);
            under_way.spawn(async move {
                let command = Command::Settle { key: key.clone() };
                let settled = engine.execute(command, SETTLE_WITHIN).await;
                settled.map_err(|failure| format!("{failure:?}"))?;
                // W of the others are enough for the write, and not for this.
                if engine.lock().replica.holds(&key) {
                    Ok(())
                } else {
                    Err("a key was settled without this node".to_owned())
                }
            });
        }
        while let Some(one) = under_way.join_next().await {
            outcome = outcome.and(one.map_err(|error| error.to_string()).flatten());
        }
        outcome
    }
}

/// A part of what the others hold.
#[derive(Debug, Default)]
struct Page {
    keys: BTreeSet<Bytes>,
    /// The key behind which to go on; none at the end.
    next: Option<Bytes>,
}
