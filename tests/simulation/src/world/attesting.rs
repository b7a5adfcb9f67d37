//! A node that starts asks the others what they remember of it before it votes, as the
//! node's own shell does (REPLICATION rule 9).

use sealmoot_kv::attest::{Admission, Attestations, Attested, Standing};
use sealmoot_kv::record::Record;

use super::{Event, Phase, World};

/// How often members are asked until the node votes, in microseconds.
const ASK_EVERY_US: u64 = 2_000;
/// How long members beyond those that are needed are waited for.
const ALL_WITHIN_US: u64 = 30_000;
/// How often a node that votes tells its peers how far its log is, when it has moved.
const TELL_EVERY_US: u64 = 100_000;
/// A question without an answer is asked again after so long.
const PATIENCE_US: u64 = 80_000;

/// What a node remembers of the others, and whether it may vote.
pub(super) struct Attesting {
    pub(super) attestations: Attestations,
    admission: Admission,
    /// By member: what it was last told of this node, and has answered.
    told: Vec<Option<Attested>>,
    /// By member: since when it is being asked.
    asked_us: Vec<Option<u64>>,
    enough_since_us: Option<u64>,
}

/// What one node says to another.
pub(super) struct Attestation {
    from: usize,
    start: u64,
    to: usize,
    own: Attested,
}

/// What the other answers.
pub(super) struct Remembered {
    asked: Attestation,
    remembered: Option<Attested>,
    position: Attested,
}

impl Attestation {
    /// Where it arrives.
    pub(super) fn at(&self) -> usize {
        self.to
    }
}

impl Remembered {
    /// Where it arrives.
    pub(super) fn at(&self) -> usize {
        self.asked.from
    }
}

impl Attesting {
    fn new(
        me: usize,
        own: Attested,
        members: usize,
        needed: usize,
        attestations: Attestations,
    ) -> Self {
        Self {
            attestations,
            admission: Admission::new(me, own, members, needed),
            told: vec![None; members],
            asked_us: vec![None; members],
            enough_since_us: None,
        }
    }

    fn votes(&self) -> bool {
        self.admission.standing() == Standing::Admitted
    }
}

impl World<'_> {
    /// The machines of a node were started on a log that holds this.
    pub(super) fn begin_attesting(&mut self, index: usize, attestations: Attestations) {
        if self.meter.is_some() || self.first.is_some() || self.is_admitted_unasked() {
            return;
        }
        let members = self.plan.nodes;
        let needed = self.quorums.prepare();
        let node = &mut self.nodes[index];
        let own = node.storage.attested();
        let start = node.start;
        if let Some(machines) = &mut node.machines {
            let attesting = Attesting::new(index, own, members, needed, attestations);
            machines.attesting = Some(attesting);
            self.queue
                .push(self.now_us, Event::Attest { node: index, start });
        }
    }

    /// Whether a running node may grant anything.
    pub(super) fn votes(&self, index: usize) -> bool {
        let machines = self.nodes[index].machines.as_ref();
        let attesting = machines.and_then(|machines| machines.attesting.as_ref());
        attesting.is_none_or(Attesting::votes)
    }

    /// How far the log of a node is, for a member to remember.
    pub(super) fn attested_for(&self, index: usize, member: usize) -> Option<Attested> {
        let node = &self.nodes[index];
        let attesting = node.machines.as_ref()?.attesting.as_ref()?;
        Some(if attesting.admission.has_reported(member) {
            node.storage.attested()
        } else {
            attesting.admission.own()
        })
    }

    /// A node hears how far another's log is.
    pub(super) fn note_attested(&mut self, index: usize, of: usize, attested: Option<Attested>) {
        let machines = self.nodes[index].machines.as_mut();
        let attesting = machines.and_then(|machines| machines.attesting.as_mut());
        if let (Some(attesting), Some(attested)) = (attesting, attested) {
            attesting.attestations.note(of as u64, attested);
        }
    }

    /// One round of questions.
    pub(super) fn attest(&mut self, index: usize, start: u64) {
        if !self.is_running(index, start) {
            return;
        }
        let now_us = self.now_us;
        for member in 0..self.nodes.len() {
            let Some(own) = self.attested_for(index, member) else {
                return;
            };
            let reachable = member != index && self.nodes[member].machines.is_some();
            let Some(attesting) = self.attesting(index) else {
                return;
            };
            let asked_us = attesting.asked_us[member];
            let waits = asked_us.is_some_and(|asked_us| now_us < asked_us + PATIENCE_US);
            if !reachable || waits || attesting.told[member] == Some(own) {
                continue;
            }
            attesting.asked_us[member] = Some(now_us);
            let question = Attestation {
                from: index,
                start,
                to: member,
                own,
            };
            self.send_attestation(index, member, Event::AttestAsked(question));
        }
        self.judge_standing(index, start);
    }

    fn judge_standing(&mut self, index: usize, start: u64) {
        let now_us = self.now_us;
        let Some(attesting) = self.attesting(index) else {
            return;
        };
        if attesting.admission.has_enough() {
            let since_us = *attesting.enough_since_us.get_or_insert(now_us);
            if now_us >= since_us + ALL_WITHIN_US {
                attesting.admission.wait_no_longer();
            }
        }
        let pause_us = match attesting.admission.standing() {
            Standing::Behind { member, remembered } => {
                self.refuse_to_vote(index, member, remembered);
                return;
            }
            Standing::Waiting => ASK_EVERY_US,
            Standing::Admitted => {
                self.demand_whole(index);
                TELL_EVERY_US
            }
        };
        let votes = pause_us == TELL_EVERY_US;
        if !(votes && self.phase == Phase::Probing) {
            let event = Event::Attest { node: index, start };
            self.queue.push(now_us + pause_us, event);
        }
    }

    /// A node is asked what it remembers.
    pub(super) fn attest_asked(&mut self, question: Attestation) {
        let (from, to) = (question.from, question.to);
        let Some(position) = self.attested_for(to, from) else {
            return;
        };
        let Some(attesting) = self.attesting(to) else {
            return;
        };
        let remembered = attesting.attestations.of(from as u64);
        attesting.attestations.note(from as u64, question.own);
        let answer = Remembered {
            asked: question,
            remembered,
            position,
        };
        self.send_attestation(to, from, Event::AttestAnswered(answer));
    }

    /// The answer arrives.
    pub(super) fn attest_answered(&mut self, answer: Remembered) {
        let Attestation {
            from,
            start,
            to,
            own,
        } = answer.asked;
        if !self.is_running(from, start) {
            return;
        }
        self.note(18, [from as u64, to as u64, own.counter], || {
            let remembered = answer.remembered.map(|attested| attested.counter);
            format!("{to} remembers {remembered:?} of {from}")
        });
        if let Some(attesting) = self.attesting(from) {
            attesting.asked_us[to] = None;
            attesting.told[to] = Some(own);
            attesting.admission.report(to, answer.remembered);
            attesting.attestations.note(to as u64, answer.position);
        }
    }

    /// Writes what a node has heard along with the group that is due.
    pub(super) fn append_attestations(&mut self, index: usize) {
        let node = &mut self.nodes[index];
        let durable = node.storage.records();
        let enqueued = durable + (node.writing.len() + node.queued.len()) as u64;
        let Some(machines) = &mut node.machines else {
            return;
        };
        let Some(attesting) = &mut machines.attesting else {
            return;
        };
        if enqueued != machines.replica.appended() {
            return;
        }
        for (of, attested) in attesting.attestations.due(durable) {
            let number = machines.replica.note_foreign_record();
            node.queued.push(Record::Attested { node: of, attested });
            attesting.attestations.written(of, number);
        }
    }

    fn send_attestation(&mut self, from: usize, to: usize, event: Event) {
        if !self.is_lost(from, to, false) {
            let at_us = self.arrival(from, to);
            self.queue.push(at_us, event);
        }
    }

    fn attesting(&mut self, index: usize) -> Option<&mut Attesting> {
        self.nodes[index].machines.as_mut()?.attesting.as_mut()
    }
}
