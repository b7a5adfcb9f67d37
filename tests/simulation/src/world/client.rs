//! Clients: what the store's client library does, as far as the protocol can tell.
//! The same operation id and deadline at every attempt, another node where that may
//! help, and an unknown outcome only when an attempt may have been proposed.

use sealmoot_kv::clock::Clock;
use sealmoot_kv::coordinator::{Answer, Command, FailureKind, Level};
use sealmoot_kv::register::{
    Change, Expectation, Operation, OperationId, Outcome as WriteOutcome, Register,
};

use super::node::WALL_MS_FIRST;
use super::{Event, Phase, World};
use crate::fault::Fault;
use crate::history::{Action, Expected, ReadLevel, Response, Value};
use crate::keys::{key_bytes, value_bytes, value_of};
use crate::plan::Control;

const PAUSE_FIRST_US: u64 = 10_000;
const PAUSE_US_MAX: u64 = 250_000;
/// The coordinator gives up this long before the client does, in milliseconds.
const ANSWER_MARGIN_MS: u64 = 50;
/// A node refuses deadlines further ahead than this, in milliseconds.
pub(super) const DEADLINE_LEAD_MS_MAX: u64 = 10 * 60 * 1000;
/// What a client gives an operation of the last probes, in milliseconds.
const PROBE_TIMEOUT_MS: u64 = 10_000;
const PROBE_ATTEMPT_MS: u64 = 2_500;

/// Names one attempt of one client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct AttemptId {
    pub(super) client: usize,
    pub(super) number: u64,
}

/// What came of an attempt.
pub(super) enum Reply {
    Answer(Answer),
    Refused(FailureKind),
    /// The connection broke.
    Broken,
}

pub(super) struct Client {
    /// In the history; a client that takes a dead one's place has another.
    pub(super) number: u32,
    sequence: u64,
    /// The node in use.
    node: usize,
    /// How far the cluster's clock was found ahead.
    lead_ms: u64,
    /// How far its own clock is off.
    offset_ms: i64,
    /// What it saw last of each key.
    seen: Vec<(Option<Value>, u64)>,
    current: Option<Current>,
    /// The attempt whose answer is waited for, or the step that is due.
    attempt: u64,
    /// Where the attempt is, while it waits for an answer.
    pub(super) at: Option<usize>,
    /// By node: cut off until then.
    pub(super) cut_until_us: Vec<u64>,
    /// The id of an operation with an unknown outcome, for the control that uses it
    /// again.
    leftover: Option<u64>,
}

struct Current {
    operation: usize,
    key: usize,
    action: Action,
    sequence: u64,
    deadline: Clock,
    expires_us: u64,
    attempt_ms: u64,
    pause_us: u64,
    maybe_executed: bool,
    /// It is to be answered by this node and no other.
    pinned: Option<usize>,
}

impl Client {
    pub(super) fn is_idle(&self) -> bool {
        self.current.is_none()
    }

    pub(super) fn new(number: u32, node: usize, nodes: usize, offset_ms: i64) -> Self {
        Self {
            number,
            sequence: 0,
            node,
            lead_ms: 0,
            offset_ms,
            seen: vec![(None, 0); 3],
            current: None,
            attempt: 0,
            at: None,
            cut_until_us: vec![0; nodes],
            leftover: None,
        }
    }

    fn id(&self) -> [u8; 16] {
        (u128::from(self.number) + 1).to_be_bytes()
    }

    fn wall_ms(&self, now_us: u64) -> u64 {
        (WALL_MS_FIRST + now_us / 1000).saturating_add_signed(self.offset_ms)
    }

    /// Everything that is scheduled for it no longer counts.
    fn next_attempt(&mut self) -> u64 {
        self.attempt += 1;
        self.at = None;
        self.attempt
    }
}

impl World<'_> {
    /// A client's turn: the next attempt, or the next operation.
    pub(super) fn client_step(&mut self, id: AttemptId) {
        let client = &self.clients[id.client];
        if client.attempt != id.number {
            return;
        }
        if client.current.is_none() {
            if self.operations_left == 0 {
                self.finish_workload();
                return;
            }
            self.operations_left -= 1;
            let (key, action) = self.choose_operation(id.client);
            let timeout_ms = self.choose_timeout();
            let attempt_ms = self.plan.rates.attempt_ms;
            self.begin_operation(id.client, key, action, timeout_ms, attempt_ms, None);
        }
        self.send_attempt(id.client);
    }

    /// Lets a client ask one node for something and no other.
    pub(super) fn begin_probe(&mut self, client: usize, node: usize, key: usize, write: bool) {
        let action = if write {
            Action::Put(self.next_value())
        } else {
            Action::Get(ReadLevel::Linearizable)
        };
        self.begin_operation(
            client,
            key,
            action,
            PROBE_TIMEOUT_MS,
            PROBE_ATTEMPT_MS,
            Some(node),
        );
        self.send_attempt(client);
    }

    fn next_value(&mut self) -> Value {
        self.values += 1;
        Value(self.values)
    }

    fn choose_timeout(&mut self) -> u64 {
        let timeout_ms = self.plan.rates.timeout_ms;
        if self.client_random.permille(self.plan.rates.short_timeouts) {
            (timeout_ms / self.client_random.between(2, 10)).max(20)
        } else {
            timeout_ms
        }
    }

    /// How long a message between a client and a node takes.
    fn client_latency(&mut self) -> u64 {
        let mut latency_us = self.client_random.between(30, 500);
        if self.faulty(Fault::Delay) && self.client_random.permille(self.plan.rates.delay) {
            self.counts.add(Fault::Delay);
            latency_us += self.client_random.below(self.plan.rates.delay_us_max) + 1;
        }
        latency_us
    }

    /// A node's answer to a client leaves.
    pub(super) fn send_client_reply(&mut self, id: AttemptId, reply: Reply, clock: Clock) {
        let at_us = self.now_us + self.client_latency();
        self.queue.push(at_us, Event::ClientReply(id, reply, clock));
    }

    fn choose_operation(&mut self, client: usize) -> (usize, Action) {
        let key = self.client_random.index(self.plan.keys);
        let rates = &self.plan.rates;
        let choice = self.client_random.below(1000);
        let (puts, conditional, deletions) = (rates.puts, rates.conditional, rates.deletions);
        let action = if choice < puts {
            Action::Put(self.next_value())
        } else if choice < puts + conditional {
            let (value, revision) = self.clients[client].seen[key];
            let expected = match (self.client_random.below(4), value) {
                (0, _) | (_, None) => Expected::Absent,
                (1, Some(value)) => Expected::Value(value),
                (_, Some(_)) => Expected::Revision(revision),
            };
            Action::CompareAndSet(expected, self.next_value())
        } else if choice < puts + conditional + deletions {
            Action::Delete
        } else {
            Action::Get(match self.client_random.below(10) {
                0 => ReadLevel::Quorum,
                1 => ReadLevel::One,
                _ => ReadLevel::Linearizable,
            })
        };
        (key, action)
    }

    fn begin_operation(
        &mut self,
        client: usize,
        key: usize,
        action: Action,
        timeout_ms: u64,
        attempt_ms: u64,
        pinned: Option<usize>,
    ) {
        let now_us = self.now_us;
        let reuses = self.reuses_operation_ids();
        let client = &mut self.clients[client];
        let operation = self.history.invoke(client.number, key, action);
        client.sequence += 1;
        let sequence = match client.leftover.take() {
            Some(sequence) if reuses => sequence,
            _ => client.sequence,
        };
        let wall_ms = client.wall_ms(now_us).saturating_add(client.lead_ms);
        client.current = Some(Current {
            operation,
            key,
            action,
            sequence,
            deadline: Clock::from_ms(wall_ms).plus_ms(timeout_ms),
            expires_us: now_us + timeout_ms * 1000,
            attempt_ms,
            pause_us: PAUSE_FIRST_US,
            maybe_executed: false,
            pinned,
        });
        let number = client.number;
        self.note(1, [u64::from(number), key as u64, operation as u64], || {
            format!("client {number} begins {action} of key {key}")
        });
    }

    fn reuses_operation_ids(&self) -> bool {
        self.plan.control == Some(Control::OperationIdReused)
            || crate::mutants::is_active(sealmoot_kv::mutant::Mutant::OperationIdReused)
    }

    /// Connects to the node in use or the next one that can be reached, and asks.
    fn send_attempt(&mut self, index: usize) {
        let now_us = self.now_us;
        let client = &mut self.clients[index];
        let number = client.next_attempt();
        let Some(current) = &client.current else {
            return;
        };
        let nodes = self.nodes.len();
        let candidates = match current.pinned {
            Some(node) => node..node + 1,
            None => client.node..client.node + nodes,
        };
        let reachable = candidates.map(|node| node % nodes).find(|node| {
            self.nodes[*node].machines.is_some() && client.cut_until_us[*node] <= now_us
        });
        let Some(node) = reachable else {
            self.pause(index);
            return;
        };
        client.node = node;
        client.at = Some(node);
        let remaining_ms = current.expires_us.saturating_sub(now_us) / 1000;
        let timeout_ms = remaining_ms.min(current.attempt_ms);
        let id = AttemptId {
            client: index,
            number,
        };
        let command = command_of(client.id(), current);
        let latency_us = self.client_latency();
        self.queue.push(
            now_us + latency_us,
            Event::ClientCall {
                id,
                node,
                command,
                timeout_ms: timeout_ms.saturating_sub(ANSWER_MARGIN_MS).max(1),
            },
        );
        self.queue
            .push(now_us + timeout_ms * 1000, Event::AttemptOver(id));
    }

    /// An attempt took too long: another node is asked.
    pub(super) fn attempt_over(&mut self, id: AttemptId) {
        let client = &mut self.clients[id.client];
        if client.attempt != id.number || client.at.is_none() {
            return;
        }
        if let Some(current) = &mut client.current {
            current.maybe_executed = true;
        }
        self.leave_node(id.client);
        self.pause(id.client);
    }

    /// An answer arrives.
    pub(super) fn client_reply(&mut self, id: AttemptId, reply: Reply, clock: Clock) {
        let now_us = self.now_us;
        let client = &mut self.clients[id.client];
        if client.attempt != id.number || client.at.is_none() {
            return;
        }
        let wall_ms = client.wall_ms(now_us);
        let Some(current) = &mut client.current else {
            return;
        };
        match reply {
            Reply::Answer(answer) => {
                client.lead_ms = clock.ms().saturating_sub(wall_ms);
                self.conclude(id.client, answer);
            }
            Reply::Refused(kind) => {
                if kind == FailureKind::DeadlinePassed && !current.maybe_executed {
                    client.lead_ms = clock.ms().saturating_sub(wall_ms);
                    let left_ms = current.expires_us.saturating_sub(now_us) / 1000;
                    current.deadline = clock.plus_ms(left_ms.max(self.plan.rates.timeout_ms));
                }
                let proposed =
                    matches!(kind, FailureKind::OutcomeUnknown | FailureKind::OutcomeLost);
                let passed = kind == FailureKind::DeadlinePassed && current.maybe_executed;
                current.maybe_executed |= proposed;
                match kind {
                    FailureKind::OutcomeLost => self.give_up(id.client),
                    _ if passed => self.give_up(id.client),
                    FailureKind::NoQuorum { .. } => {
                        self.leave_node(id.client);
                        self.pause(id.client);
                    }
                    _ => self.pause(id.client),
                }
            }
            Reply::Broken => {
                current.maybe_executed = true;
                self.leave_node(id.client);
                self.pause(id.client);
            }
        }
    }

    fn leave_node(&mut self, client: usize) {
        let nodes = self.nodes.len();
        let client = &mut self.clients[client];
        client.node = (client.node + 1) % nodes;
    }

    /// Waits before the next attempt, or ends with a failure when there is no time.
    fn pause(&mut self, index: usize) {
        let now_us = self.now_us;
        let client = &mut self.clients[index];
        let number = client.next_attempt();
        let Some(current) = &mut client.current else {
            return;
        };
        if current.expires_us.saturating_sub(now_us) <= current.pause_us {
            self.give_up(index);
            return;
        }
        let wait_us = current.pause_us;
        current.pause_us = (current.pause_us * 2).min(PAUSE_US_MAX);
        let id = AttemptId {
            client: index,
            number,
        };
        self.queue.push(now_us + wait_us, Event::ClientStep(id));
    }

    fn give_up(&mut self, index: usize) {
        let client = &mut self.clients[index];
        let Some(current) = client.current.take() else {
            return;
        };
        let is_write = !matches!(current.action, Action::Get(_));
        if current.maybe_executed {
            client.leftover = is_write.then_some(current.sequence);
        } else {
            self.history.fail(current.operation);
        }
        let number = client.number;
        self.note(2, [u64::from(number), current.operation as u64, 0], || {
            let certain = if current.maybe_executed {
                "unknown"
            } else {
                "failed"
            };
            format!("client {number} gives up: {certain}")
        });
        if self.phase == Phase::Probing {
            let node = current.pinned.unwrap_or_default();
            self.stall(format!(
                "after the faults ended, node {node} did not answer {}",
                current.action
            ));
        }
        self.rest(index);
    }

    fn conclude(&mut self, index: usize, answer: Answer) {
        let client = &mut self.clients[index];
        let Some(current) = client.current.take() else {
            return;
        };
        let response = response_of(&answer);
        let seen = &mut client.seen[current.key];
        match (response, current.action) {
            (Response::Got { value, revision }, _) => *seen = (value, revision),
            (
                Response::Written { revision },
                Action::Put(value) | Action::CompareAndSet(_, value),
            ) => *seen = (Some(value), revision),
            _ => *seen = (None, 0),
        }
        self.history.respond(current.operation, response);
        let number = client.number;
        self.note(3, [u64::from(number), current.operation as u64, 0], || {
            format!("client {number} is told: {response}")
        });
        if self.phase == Phase::Probing
            && let (Some(node), Response::Got { value, revision }) = (current.pinned, response)
        {
            self.probe_read(node, current.key, value, revision);
        }
        self.rest(index);
    }

    /// Thinks before the next operation.
    fn rest(&mut self, index: usize) {
        self.operations_done += 1;
        let number = self.clients[index].next_attempt();
        let think_us = self.client_random.below(self.plan.rates.think_us_max) + 1;
        let id = AttemptId {
            client: index,
            number,
        };
        self.queue
            .push(self.now_us + think_us, Event::ClientStep(id));
    }

    /// A client dies in the middle of whatever it does; another takes its place.
    pub(super) fn kill_client(&mut self, index: usize) {
        self.client_numbers += 1;
        let node = self.clients[index].node;
        let offset_ms = self.clients[index].offset_ms;
        let attempt = self.clients[index].next_attempt();
        let mut next = Client::new(self.client_numbers, node, self.nodes.len(), offset_ms);
        next.attempt = attempt;
        let died = std::mem::replace(&mut self.clients[index], next);
        if died.current.is_some() {
            self.operations_done += 1;
            self.counts.add(Fault::ClientDeath);
        }
        let id = AttemptId {
            client: index,
            number: attempt,
        };
        self.queue.push(self.now_us + 1_000, Event::ClientStep(id));
    }

    /// The connections to a node break.
    pub(super) fn break_connections(&mut self, node: usize) {
        for (index, client) in self.clients.iter().enumerate() {
            if client.at == Some(node) {
                let id = AttemptId {
                    client: index,
                    number: client.attempt,
                };
                let event = Event::ClientReply(id, Reply::Broken, Clock::ZERO);
                self.queue.push(self.now_us + 200, event);
            }
        }
    }
}

fn command_of(client: [u8; 16], current: &Current) -> Command {
    let key = key_bytes(current.key);
    let change = match current.action {
        Action::Get(level) => {
            let level = match level {
                ReadLevel::Linearizable => Level::Linearizable,
                ReadLevel::Quorum => Level::Quorum,
                ReadLevel::One => Level::One,
            };
            return Command::Read { key, level };
        }
        Action::Put(value) => Change::Put(value_bytes(value)),
        Action::Delete => Change::Delete,
        Action::CompareAndSet(expected, value) => {
            let expected = match expected {
                Expected::Absent => Expectation::Absent,
                Expected::Revision(revision) => Expectation::Revision(revision),
                Expected::Value(value) => Expectation::Value(value_bytes(value)),
            };
            Change::CompareAndSet(expected, value_bytes(value))
        }
    };
    Command::Write {
        key,
        operation: Operation {
            id: OperationId {
                client,
                sequence: current.sequence,
            },
            deadline: current.deadline,
            change,
        },
        fresh: !current.maybe_executed,
    }
}

fn response_of(answer: &Answer) -> Response {
    match answer {
        Answer::Written { outcome, .. } => match *outcome {
            WriteOutcome::Written { revision } => Response::Written { revision },
            WriteOutcome::Deleted { revision } => Response::Deleted { revision },
            WriteOutcome::NothingToDelete => Response::NothingToDelete,
            WriteOutcome::Conflict { revision } => Response::Conflict { revision },
        },
        Answer::Value(register) => got(register),
        // No client of this world asks for anything else.
        _ => Response::Got {
            value: None,
            revision: 0,
        },
    }
}

fn got(register: &Register) -> Response {
    Response::Got {
        value: register.value.as_deref().map(value_of),
        revision: register.visible_revision(),
    }
}
