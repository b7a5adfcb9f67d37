//! The shell around one node's machines: carries out what they want, as the node's own
//! shell does, and crashes where a fault asks for it.

use bytes::Bytes;
use sealmoot_kv::coordinator::{Answer, Command, Effect as CoordinatorEffect};
use sealmoot_kv::directory::{DirectoryRecord, MemberSet};
use sealmoot_kv::log::Durable;
use sealmoot_kv::message::{Reply, Request};
use sealmoot_kv::reconfiguration::Reconfiguration;
use sealmoot_kv::record::Record;
use sealmoot_kv::register::Outcome as WriteOutcome;
use sealmoot_kv::replica::Effect as ReplicaEffect;

use super::client::AttemptId;
use super::damages::heard_in;
use super::directory::membership;
use super::node::{Asker, Call};
use super::{Event, Phase, SYNC_US, World};
use crate::fault::Fault;
use crate::keys::key_index;
use crate::plan::Control;

/// What a node's machines are given.
pub(super) enum Input {
    Begin(AttemptId, Command, u64),
    Ask(Asker, Request),
    Reply(Call, usize, Reply),
    Unreachable(Call, usize),
    Tick,
    Synced(Durable),
    /// A request of the node itself or of nobody in particular, and within how many
    /// milliseconds it ends.
    Own(Command, u64),
    /// What the directory holds.
    Directory(Box<DirectoryRecord>),
    /// Become this incarnation.
    Incarnation(u64),
    /// Replace the members of this record.
    Change(Box<DirectoryRecord>, MemberSet),
    ChangeDue,
}

impl World<'_> {
    /// Gives the machines of a node something and carries out what they want, until
    /// they want nothing more or the node crashes.
    pub(super) fn work(&mut self, index: usize, input: Input) {
        let now = self.nodes[index].clock.now(self.now_us);
        let mut replica = std::mem::take(&mut self.replica_effects);
        let mut coordinator = std::mem::take(&mut self.coordinator_effects);
        if let Some(machines) = &mut self.nodes[index].machines {
            match input {
                Input::Begin(id, command, timeout_ms) => {
                    let token = machines.next_token;
                    machines.next_token += 1;
                    let key = match &command {
                        Command::Write { key, .. } | Command::Read { key, .. } => key.clone(),
                        _ => Bytes::new(),
                    };
                    machines.callers.push((token, id, key));
                    machines
                        .coordinator
                        .begin(now, token, command, timeout_ms, &mut coordinator);
                }
                Input::Ask(asker, request) => {
                    let token = machines.askers.len() as u64;
                    machines.askers.push(asker);
                    machines
                        .replica
                        .request(now.wall_ms, token, request, &mut replica);
                }
                Input::Reply(Call::Change(round), from, reply) => {
                    machines.reply_to_change(now.steady_ms, round, from, reply);
                }
                Input::Unreachable(Call::Change(_), _) => {}
                Input::Directory(record) => {
                    machines.replica.adopt(&record, &mut replica);
                    let members = membership(&record);
                    machines
                        .coordinator
                        .reconfigure(now, members, &mut coordinator);
                    if let Some(change) = &mut machines.change {
                        change.directory(now.steady_ms, &record, &mut machines.change_effects);
                    }
                }
                Input::Incarnation(incarnation) => {
                    machines
                        .replica
                        .become_incarnation(incarnation, &mut replica);
                }
                Input::Change(record, target) => {
                    let effects = &mut machines.change_effects;
                    machines.change =
                        Reconfiguration::begin(*record, target, now.steady_ms, effects);
                }
                Input::ChangeDue => {
                    if let Some(change) = &mut machines.change {
                        change.tick(now.steady_ms, &mut machines.change_effects);
                    }
                }
                Input::Reply(Call::Coordinator(call), from, reply) => {
                    machines
                        .coordinator
                        .reply(now, call, from, reply, &mut coordinator);
                }
                Input::Unreachable(Call::Coordinator(call), member) => {
                    machines.coordinator.unreachable(
                        now,
                        call,
                        member,
                        "unreachable",
                        &mut coordinator,
                    );
                }
                Input::Own(command, within_ms) => {
                    // Nobody waits for what comes of it.
                    let token = machines.next_token;
                    machines.next_token += 1;
                    machines
                        .coordinator
                        .begin(now, token, command, within_ms, &mut coordinator);
                }
                Input::Tick => machines.coordinator.tick(now, &mut coordinator),
                Input::Synced(durable) => machines.replica.synced(durable, &mut replica),
            }
        }
        let mut replica_round = Vec::new();
        let mut coordinator_round = Vec::new();
        'node: loop {
            let mut change_round = Vec::new();
            if let Some(machines) = &mut self.nodes[index].machines {
                std::mem::swap(&mut machines.change_effects, &mut change_round);
            }
            if replica.is_empty() && coordinator.is_empty() && change_round.is_empty() {
                break;
            }
            for effect in change_round {
                if self.crashes_here(index) {
                    break 'node;
                }
                self.carry_out_change(index, effect, &mut replica, &mut coordinator);
            }
            std::mem::swap(&mut replica, &mut replica_round);
            for effect in replica_round.drain(..) {
                if self.crashes_here(index) {
                    break 'node;
                }
                self.carry_out_replica(index, effect, &mut coordinator);
            }
            std::mem::swap(&mut coordinator, &mut coordinator_round);
            for effect in coordinator_round.drain(..) {
                if self.crashes_here(index) {
                    break 'node;
                }
                self.carry_out_coordinator(index, effect, &mut replica);
            }
        }
        replica.clear();
        coordinator.clear();
        self.replica_effects = replica;
        self.coordinator_effects = coordinator;
        self.begin_sync(index);
        self.schedule_tick(index);
        self.schedule_change(index);
    }

    fn crashes_here(&mut self, index: usize) -> bool {
        let node = &mut self.nodes[index];
        if node.machines.is_none() {
            return true;
        }
        node.effects_left -= 1;
        if node.effects_left > 0 {
            return false;
        }
        self.counts.add(Fault::CrashAtEffect);
        self.crash(index);
        true
    }

    fn carry_out_replica(
        &mut self,
        index: usize,
        effect: ReplicaEffect,
        coordinator: &mut Vec<CoordinatorEffect>,
    ) {
        match effect {
            ReplicaEffect::Append(number, record) => {
                self.append(index, number, record);
                self.append_attestations(index);
            }
            ReplicaEffect::Reply(token, reply) => {
                let now = self.nodes[index].clock.now(self.now_us);
                let Some(machines) = &mut self.nodes[index].machines else {
                    return;
                };
                let asker = machines.askers[token as usize].clone();
                let given = matches!(
                    reply,
                    Reply::Holds { .. } | Reply::Accepted { promised: true }
                );
                if let (Some((key, ballot)), true, true) =
                    (asker.promise, given, self.plan.invariants)
                {
                    self.invariants.promised(index, key, ballot);
                }
                if asker.node == index {
                    match asker.call {
                        Call::Coordinator(call) => {
                            machines
                                .coordinator
                                .reply(now, call, index, reply, coordinator);
                        }
                        Call::Change(round) => {
                            machines.reply_to_change(now.steady_ms, round, index, reply);
                        }
                    }
                } else {
                    self.send_reply(index, asker, reply);
                }
            }
        }
    }

    fn append(&mut self, index: usize, number: u64, record: Record) {
        if self.plan.invariants {
            match &record {
                Record::Accepted { key, ballot, state } => {
                    let accepted = self.invariants.accepted(index, key, *ballot, state);
                    self.demand(accepted);
                }
                Record::Removed { key, .. } => self.invariants.removed(index, key),
                Record::Incarnation(_) | Record::Epoch { retired: true, .. } => {
                    self.invariants.emptied(index);
                }
                _ => {}
            }
        }
        let node = &mut self.nodes[index];
        // What was promised before and is told later was promised by a member that is
        // no more.
        if let (Record::Incarnation(_) | Record::Epoch { retired: true, .. }, Some(machines)) =
            (&record, &mut node.machines)
        {
            for asker in &mut machines.askers {
                asker.promise = None;
            }
        }
        node.queued.push(record);
        let waiting = node.writing.len() + node.queued.len();
        let expected = node.storage.records() + waiting as u64;
        if number != expected {
            self.demand(Err(format!(
                "node {index} numbered a record {number}, and the log {expected}"
            )));
        }
    }

    fn carry_out_coordinator(
        &mut self,
        index: usize,
        effect: CoordinatorEffect,
        replica: &mut Vec<ReplicaEffect>,
    ) {
        match effect {
            CoordinatorEffect::Finish(token, result) => {
                let Some(machines) = &mut self.nodes[index].machines else {
                    return;
                };
                if let Some((settling, round)) = machines.settling
                    && settling == token
                {
                    let steady_ms = self.nodes[index].clock.now(self.now_us).steady_ms;
                    return self.settled(index, steady_ms, round, result.is_ok());
                }
                let callers = &mut machines.callers;
                let Some(at) = callers.iter().position(|caller| caller.0 == token) else {
                    return;
                };
                let (_, id, key) = callers.swap_remove(at);
                if self.plan.invariants
                    && let Ok(Answer::Written { outcome, .. }) = &result
                    && let WriteOutcome::Written { revision } | WriteOutcome::Deleted { revision } =
                        outcome
                {
                    let acknowledged = self.invariants.acknowledged(&key, *revision);
                    self.demand(acknowledged);
                }
                self.answer_client(index, id, result);
            }
            CoordinatorEffect::Send(member, call, _) if member == index && !self.votes(index) => {
                let start = self.nodes[index].start;
                let refused = Event::Unreachable {
                    node: index,
                    start,
                    member,
                    call: Call::Coordinator(call),
                };
                self.queue.push(self.now_us, refused);
            }
            CoordinatorEffect::Send(member, call, request) if member == index => {
                let now = self.nodes[index].clock.now(self.now_us);
                let start = self.nodes[index].start;
                let Some(machines) = &mut self.nodes[index].machines else {
                    return;
                };
                let promise = asked_promise(&request);
                let token = machines.askers.len() as u64;
                machines.askers.push(Asker {
                    node: index,
                    start,
                    call: Call::Coordinator(call),
                    promise,
                });
                machines
                    .replica
                    .request(now.wall_ms, token, request, replica);
            }
            CoordinatorEffect::Send(member, call, request) => {
                self.send_request(index, member, Call::Coordinator(call), request);
            }
        }
    }

    fn settled(&mut self, index: usize, steady_ms: u64, round: u64, settled: bool) {
        let Some(machines) = &mut self.nodes[index].machines else {
            return;
        };
        machines.settling = None;
        if let Some(change) = &mut machines.change {
            let effects = &mut machines.change_effects;
            change.settled(steady_ms, round, settled, effects);
        }
    }

    /// The writer takes whatever is queued as one batch.
    pub(super) fn begin_sync(&mut self, index: usize) {
        let now_us = self.now_us;
        let node = &mut self.nodes[index];
        if node.syncing || node.queued.is_empty() || node.machines.is_none() {
            return;
        }
        node.syncing = true;
        std::mem::swap(&mut node.queued, &mut node.writing);
        let slow = node.slow_until_us > now_us;
        let start = node.start;
        let latency_us = if self.meter.is_some() {
            SYNC_US
        } else if slow {
            self.disk_random.between(5_000, 80_000)
        } else {
            self.disk_random.between(100, 2_500)
        };
        let sync = Event::Synced { node: index, start };
        if self.plan.control == Some(Control::AcknowledgedBeforeSync) {
            // The machine is told now; the batch is written all the same.
            let node = &mut self.nodes[index];
            let durable = node.storage.commit(&mut node.writing, true);
            node.syncing = false;
            if let Some(durable) = durable {
                self.queue.push(now_us + latency_us, sync);
                self.work(index, Input::Synced(durable));
            }
            return;
        }
        self.queue.push(now_us + latency_us, sync);
    }

    pub(super) fn synced(&mut self, index: usize, start: u64) {
        if !self.is_running(index, start) {
            return;
        }
        self.note(14, [index as u64, 0, 0], || format!("node {index} synced"));
        if self.plan.control == Some(Control::AcknowledgedBeforeSync) {
            let node = &mut self.nodes[index];
            let _ = node.storage.commit(&mut Vec::new(), false);
            return;
        }
        if let Some(kind) = self.nodes[index].failing.take() {
            self.stop_after_failure(index, kind);
            return;
        }
        let lies = self.plan.control == Some(Control::LyingSync)
            && self.phase == Phase::Faulty
            && self.disk_random.coin();
        if self.plan.invariants {
            let mut all = Ok(());
            for record in &self.nodes[index].writing {
                all = all.and_then(|()| self.invariants.durable(index, record));
            }
            self.demand(all);
        }
        let node = &mut self.nodes[index];
        node.syncing = false;
        node.heed_incarnations();
        if let Some(meter) = &mut self.meter {
            meter.records += node.writing.len() as u64;
        }
        let heard = heard_in(&node.writing);
        match node.storage.commit(&mut node.writing, lies) {
            Some(durable) => {
                self.note_durable(index, &heard);
                self.work(index, Input::Synced(durable));
            }
            None => self.demand(Err(format!("node {index} could not write to a sound disk"))),
        }
    }

    fn schedule_tick(&mut self, index: usize) {
        if self.plan.control == Some(Control::NeverRetries) {
            return;
        }
        let now_us = self.now_us;
        let node = &mut self.nodes[index];
        let Some(machines) = &node.machines else {
            return;
        };
        let Some(wake_ms) = machines.coordinator.next_wake_ms() else {
            return;
        };
        let steady_ms = node.clock.now(now_us).steady_ms;
        let at_us = now_us + (wake_ms.saturating_sub(steady_ms) * 1000).max(500);
        if at_us < node.tick_at_us {
            node.tick_at_us = at_us;
            let start = node.start;
            self.queue.push(at_us, Event::Tick { node: index, start });
        }
    }
}

impl super::node::Machines {
    fn reply_to_change(&mut self, steady_ms: u64, round: u64, from: usize, reply: Reply) {
        if let Some(change) = &mut self.change {
            let node = super::directory::node_number(from);
            change.reply(steady_ms, round, node, reply, &mut self.change_effects);
        }
    }
}

impl super::node::Node {
    /// What is being written becomes durable.
    fn heed_incarnations(&mut self) {
        for record in &self.writing {
            if let Record::Incarnation(incarnation) = record {
                self.incarnation = Some(*incarnation);
                self.renewing = false;
            }
        }
    }
}

/// The promise that a request asks for, along with an accept or alone.
pub(super) fn asked_promise(request: &Request) -> Option<(usize, sealmoot_kv::ballot::Ballot)> {
    match request {
        Request::Prepare { key, ballot } => Some((key_index(key)?, *ballot)),
        Request::Accept { key, next, .. } => Some((key_index(key)?, (*next)?)),
        _ => None,
    }
}
