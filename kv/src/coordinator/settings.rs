//! By which quorums a request is carried out: the settings of its namespace.
//!
//! A coordinator that does not know a namespace reads its register first, and keeps
//! what it finds for ever, because settings never change. A namespace that nobody
//! created has the default; the first write below it makes that permanent, by a cas
//! of the register from absent, so that no later creation can contradict a write
//! that was carried out by the default. A read leaves nothing behind and need not:
//! settings that are created after its register was read are younger than itself.

use std::collections::BTreeMap;

use bytes::Bytes;

use super::{
    Answer, Command, Coordinator, Effect, Failure, FailureKind, Kind, Level, Now, Operation, Owner,
};
use crate::message::SCAN_ENTRIES_MAX;
use crate::namespace::{NAMESPACE_PREFIX, decode, encode, namespace_of, register_key};
use crate::quorum::Quorums;
use crate::register::{Change, Expectation, Operation as Asked, OperationId};

/// Most namespaces whose settings are remembered; others are read again.
const KNOWN_MAX: usize = 16 * 1024;
/// After how long without an answer the settings of a namespace are looked for once
/// more, in milliseconds. Requests that wait for them end by their own time.
const LOOK_UP_MS_MAX: u64 = 1_000;

/// What a coordinator knows of namespaces, and who waits to know more.
#[derive(Debug, Default)]
pub(super) struct Namespaces {
    known: BTreeMap<Bytes, Quorums>,
    /// Requests that wait for the settings of a namespace.
    waiting: BTreeMap<Bytes, Vec<u64>>,
}

impl Namespaces {
    pub(super) fn get(&self, name: &[u8]) -> Option<Quorums> {
        self.known.get(name).copied()
    }

    fn learn(&mut self, name: Bytes, quorums: Quorums) {
        if self.known.len() >= KNOWN_MAX {
            self.known.pop_first();
        }
        self.known.insert(name, quorums);
    }
}

impl Coordinator {
    /// Takes note of the settings of a namespace, which its register holds: they
    /// need not be read any more.
    pub fn know_namespace(&mut self, name: Bytes, quorums: Quorums) {
        self.namespaces.learn(name, quorums);
    }

    /// The settings that hold for `key`, as far as they are known.
    pub(super) fn quorums_of(&self, key: &[u8]) -> Option<Quorums> {
        match namespace_of(key) {
            None => Some(self.quorums()),
            Some(name) => {
                let members = self.quorums().members();
                let settings = self.namespaces.get(name);
                settings.map(|settings| settings.scaled_to(members))
            }
        }
    }

    /// Looks up what a new request needs to know of namespaces; says whether it can
    /// begin at once. Otherwise it must be put in its place before anything else
    /// happens, and begins when its settings are known.
    pub(super) fn look_up(
        &mut self,
        now: Now,
        id: u64,
        operation: &mut Operation,
        effects: &mut Vec<Effect>,
    ) -> bool {
        let name = match &mut operation.kind {
            Kind::Write(write) => namespace_of(write.key()).map(Bytes::copy_from_slice),
            // One member is one member, whatever the settings.
            Kind::Read(read) if read.level() == Level::One => None,
            Kind::Read(read) => namespace_of(read.key()).map(Bytes::copy_from_slice),
            Kind::Forget(forget) => namespace_of(forget.key()).map(Bytes::copy_from_slice),
            Kind::List(list) if list.level() == Level::One => None,
            Kind::List(list) if list.spans_namespaces() => {
                list.await_settings();
                let prefix = [NAMESPACE_PREFIX, list.prefix()].concat().into();
                let expires_ms = operation.expires_ms;
                self.list_namespaces(now, id, (prefix, Bytes::new()), expires_ms, effects);
                return false;
            }
            Kind::List(list) => namespace_of(list.prefix()).map(Bytes::copy_from_slice),
        };
        let Some(name) = name else {
            return true;
        };
        if let Some(quorums) = self.namespaces.get(&name) {
            operation.electorate.heed(Some(quorums));
            return true;
        }
        self.wait_for(now, name, id, effects);
        false
    }

    /// The register of a namespace was read.
    pub(super) fn on_settings(
        &mut self,
        now: Now,
        name: Bytes,
        result: Result<Answer, Failure>,
        effects: &mut Vec<Effect>,
    ) {
        let value = match result {
            Ok(Answer::Value(register)) => register.value,
            Ok(_) => return,
            Err(failure) => return self.on_look_up_failed(now, name, &failure, effects),
        };
        match value.as_deref().map(decode) {
            // Settings from before a change of members mean the same for as many as
            // there are now.
            Some(Ok(quorums)) => {
                self.settle_namespace(now, name, quorums, effects);
            }
            Some(Err(_)) => {
                let clock = self.clock.peek(now.wall_ms);
                let failure = Failure::new(FailureKind::SettingsUnusable, clock);
                self.release(now, &name, |_| Released::Failed(failure.clone()), effects);
            }
            None => {
                let writes = |operation: &Operation| match &operation.kind {
                    Kind::Write(_) => Released::Stays,
                    Kind::Read(_) | Kind::List(_) | Kind::Forget(_) => Released::Begins(None),
                };
                self.release(now, &name, writes, effects);
                if self.namespaces.waiting.contains_key(&name) {
                    self.claim(now, name, effects);
                }
            }
        }
    }

    /// The default was written for a namespace that nobody had created, or somebody
    /// was faster.
    pub(super) fn on_claim(
        &mut self,
        now: Now,
        name: Bytes,
        result: Result<Answer, Failure>,
        effects: &mut Vec<Effect>,
    ) {
        match result {
            Ok(_) => self.read_settings(now, name, effects),
            Err(failure) => self.on_look_up_failed(now, name, &failure, effects),
        }
    }

    /// Without a quorum nobody who waits can begin. Whatever else went wrong says
    /// nothing about them, and another look may go better while one of them waits.
    fn on_look_up_failed(
        &mut self,
        now: Now,
        name: Bytes,
        failure: &Failure,
        effects: &mut Vec<Effect>,
    ) {
        if let FailureKind::NoQuorum { .. } = failure.kind {
            self.release(now, &name, |_| Released::Failed(failure.clone()), effects);
            return;
        }
        self.release(now, &name, |_| Released::Stays, effects);
        if self.namespaces.waiting.contains_key(&name) {
            self.read_settings(now, name, effects);
        }
    }

    /// A page of the namespaces that a list spans.
    pub(super) fn on_namespaces_listed(
        &mut self,
        now: Now,
        id: u64,
        result: Result<Answer, Failure>,
        effects: &mut Vec<Effect>,
    ) {
        let Some(mut operation) = self.operations.remove(&id) else {
            return;
        };
        let Kind::List(list) = &mut operation.kind else {
            self.operations.insert(id, operation);
            return;
        };
        let (entries, next) = match result {
            Ok(Answer::Listed { entries, next }) => (entries, next),
            Ok(_) => (Vec::new(), None),
            Err(failure) => {
                self.finish(now, id, operation, Err(failure), effects);
                return;
            }
        };
        let mut unknown = Vec::new();
        for entry in entries {
            let name = entry.key.slice(NAMESPACE_PREFIX.len()..);
            match self.namespaces.get(&name) {
                Some(quorums) => list.heed(Some(quorums)),
                None => {
                    list.await_settings();
                    unknown.push(name);
                }
            }
        }
        let prefix: Bytes = [NAMESPACE_PREFIX, list.prefix()].concat().into();
        let more = next.is_some();
        let expires_ms = operation.expires_ms;
        let ready = !more && list.settings_arrived();
        self.operations.insert(id, operation);
        for name in unknown {
            self.wait_for(now, name, id, effects);
        }
        if let Some(next) = next {
            self.list_namespaces(now, id, (prefix, next), expires_ms, effects);
        }
        if ready {
            self.begin_waiting(now, id, None, effects);
        }
    }

    fn settle_namespace(
        &mut self,
        now: Now,
        name: Bytes,
        quorums: Quorums,
        effects: &mut Vec<Effect>,
    ) {
        self.namespaces.learn(name.clone(), quorums);
        self.release(now, &name, |_| Released::Begins(Some(quorums)), effects);
    }

    fn wait_for(&mut self, now: Now, name: Bytes, id: u64, effects: &mut Vec<Effect>) {
        let waiting = self.namespaces.waiting.entry(name.clone()).or_default();
        waiting.push(id);
        if waiting.len() == 1 {
            self.read_settings(now, name, effects);
        }
    }

    fn read_settings(&mut self, now: Now, name: Bytes, effects: &mut Vec<Effect>) {
        let command = Command::Read {
            key: register_key(&name),
            level: Level::Linearizable,
        };
        let expires_ms = now.steady_ms + LOOK_UP_MS_MAX;
        self.start(now, Owner::Settings(name), command, expires_ms, effects);
    }

    /// Makes the default the settings of a namespace, if it has none.
    fn claim(&mut self, now: Now, name: Bytes, effects: &mut Vec<Effect>) {
        let mut client = [0; 16];
        client[..8].copy_from_slice(&self.proposer.node.to_le_bytes());
        client[8..].copy_from_slice(&self.proposer.start.to_le_bytes());
        let operation = Asked {
            id: OperationId {
                client,
                sequence: self.next_operation,
            },
            deadline: self.clock.peek(now.wall_ms).plus_ms(LOOK_UP_MS_MAX),
            change: Change::CompareAndSet(Expectation::Absent, encode(self.quorums())),
        };
        let command = Command::Write {
            key: register_key(&name),
            operation,
            fresh: true,
        };
        let expires_ms = now.steady_ms + LOOK_UP_MS_MAX;
        self.start(now, Owner::Claim(name), command, expires_ms, effects);
    }

    fn list_namespaces(
        &mut self,
        now: Now,
        id: u64,
        (prefix, after): (Bytes, Bytes),
        expires_ms: u64,
        effects: &mut Vec<Effect>,
    ) {
        let command = Command::List {
            prefix,
            after,
            limit: SCAN_ENTRIES_MAX,
            level: Level::Linearizable,
        };
        self.start(now, Owner::Spanning(id), command, expires_ms, effects);
    }

    /// Lets those who wait for a namespace go on, end or stay, as `judge` says.
    fn release(
        &mut self,
        now: Now,
        name: &Bytes,
        judge: impl Fn(&Operation) -> Released,
        effects: &mut Vec<Effect>,
    ) {
        let mut staying = Vec::new();
        for id in self.namespaces.waiting.remove(name).unwrap_or_default() {
            // One that ran out of time is gone.
            let Some(operation) = self.operations.get(&id) else {
                continue;
            };
            match judge(operation) {
                Released::Stays => staying.push(id),
                Released::Begins(settings) => {
                    self.begin_waiting(now, id, Some(settings), effects);
                }
                Released::Failed(failure) => {
                    if let Some(operation) = self.operations.remove(&id) {
                        self.finish(now, id, operation, Err(failure), effects);
                    }
                }
            }
        }
        if !staying.is_empty() {
            self.namespaces
                .waiting
                .entry(name.clone())
                .or_default()
                .append(&mut staying);
        }
    }

    /// Begins a request that waited, now that its settings are known.
    fn begin_waiting(
        &mut self,
        now: Now,
        id: u64,
        settings: Option<Option<Quorums>>,
        effects: &mut Vec<Effect>,
    ) {
        let Some(mut operation) = self.operations.remove(&id) else {
            return;
        };
        match &mut operation.kind {
            Kind::List(list) if list.spans_namespaces() => {
                if let Some(settings) = settings {
                    list.heed(settings);
                    if !list.settings_arrived() {
                        self.operations.insert(id, operation);
                        return;
                    }
                }
            }
            _ => operation.electorate.heed(settings.flatten()),
        }
        self.launch_first(now, id, operation, effects);
    }
}

enum Released {
    Stays,
    /// By these settings, or by the members' own.
    Begins(Option<Quorums>),
    Failed(Failure),
}
