//! What a client needs before it can send: connections and incarnations.

use std::time::Duration;

use bytes::Bytes;

use super::client::{UnderWay, Waits};
use super::network::{Pipe, Wire};
use super::server::OPEN_TIMEOUT;
use super::wire::{OPEN, extras};
use super::world::{Event, World, unavailable};
use crate::limits::Limits;
use crate::multiplexer;
use crate::once::session::{Opening, Session, Unopened};
use crate::once::{Incarnation, Outcome, is_unknown_incarnation};
use crate::status::{Execution, Status};

/// What a client has to do with one server.
#[derive(Default)]
pub(super) struct Link {
    pub(super) wire: Option<u32>,
    pub(super) is_dialing: bool,
    pub(super) opening: Option<Opening>,
    /// The last is the current one; those before have calls that are not settled.
    pub(super) sessions: Vec<Session>,
    /// Calls that wait for a connection or for an open.
    pub(super) waiting: Vec<usize>,
}

/// Under which name an at-most-once call is sent.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    pub(super) server: usize,
    pub(super) incarnation: Incarnation,
    pub(super) sequence: u64,
}

impl World {
    pub(super) fn dialed(&mut self, client: usize, server: usize) {
        self.people[client].links[server].is_dialing = false;
        let host = &self.servers[server];
        let waiting = std::mem::take(&mut self.people[client].links[server].waiting);
        if !host.takes_connections() {
            for call in waiting {
                self.attempt_failed(call, &unavailable("nobody listens"));
            }
            return;
        }
        self.wire_last += 1;
        let wire = Wire {
            client,
            server,
            upward: Pipe::default(),
            downward: Pipe::default(),
            caller: Some(multiplexer::Client::new(Limits::default())),
            callee: Some(multiplexer::Server::new(host.limits())),
            caller_timer: None,
            callee_timer: None,
        };
        self.wires.insert(self.wire_last, wire);
        self.people[client].links[server].wire = Some(self.wire_last);
        for call in waiting {
            self.attempt(call);
        }
    }

    pub(super) fn usable_wire(&mut self, client: usize, server: usize) -> Option<u32> {
        let link = &mut self.people[client].links[server];
        let is_usable = link
            .wire
            .and_then(|number| self.wires.get(&number))
            .and_then(|wire| wire.caller.as_ref())
            .is_some_and(|caller| caller.refusal().is_none());
        if !is_usable {
            link.wire = None;
        }
        link.wire
    }

    pub(super) fn dial(&mut self, client: usize, server: usize) {
        if !self.people[client].links[server].is_dialing {
            self.people[client].links[server].is_dialing = true;
            let at = self.now + 2 * self.latency();
            self.at(at, Event::Dialed { client, server });
        }
    }

    /// A name for an at-most-once call, if an incarnation is open.
    pub(super) fn place(&mut self, client: usize, server: usize) -> Option<Place> {
        let now = self.instant(self.now);
        let is_careless = self.nature.is_careless;
        let session = self.people[client].links[server].sessions.last_mut()?;
        if is_careless {
            session.heard(now);
        }
        let sequence = session.begin(now).ok()?;
        let incarnation = session.incarnation();
        Some(Place {
            server,
            incarnation,
            sequence,
        })
    }

    pub(super) fn open(&mut self, client: usize, server: usize, number: u32) {
        if self.people[client].links[server].opening.is_some() {
            return;
        }
        let now = self.instant(self.now);
        let incarnation = self.random.incarnation();
        let unopened = Unopened::with_horizon(incarnation, self.nature.horizon);
        let (id, opening) = unopened.send(now);
        self.people[client].links[server].opening = Some(opening);
        let caller = self
            .wires
            .get_mut(&number)
            .and_then(|wire| wire.caller.as_mut());
        let caller = caller.expect("the connection is usable");
        let waits = Waits::Open { incarnation };
        let extras = extras(Some(id));
        match caller.begin_with(now, OPEN, Bytes::new(), OPEN_TIMEOUT, &extras, waits) {
            Ok(_) => self.pump(number),
            Err(status) => self.opened(number, incarnation, Err(status)),
        }
    }

    pub(super) fn opened(&mut self, number: u32, incarnation: Incarnation, outcome: Outcome) {
        // The connection may be gone from the map while its calls fail.
        let found = self.people.iter().enumerate().find_map(|(client, person)| {
            let server = person.links.iter().position(|link| {
                let opening = link.opening.as_ref();
                opening.is_some_and(|opening| opening.incarnation() == incarnation)
            })?;
            Some((client, server))
        });
        let Some((client, server)) = found else {
            return;
        };
        let link = &mut self.people[client].links[server];
        let opening = link.opening.take().expect("found by it");
        let waiting = std::mem::take(&mut link.waiting);
        match opening.answered(outcome) {
            Ok(session) => {
                link.sessions.retain(|session| !session.is_settled());
                link.sessions.push(session);
                for call in waiting {
                    self.attempt(call);
                }
            }
            Err(status) => {
                self.truth.count("once: open failed");
                self.mark(u64::from(number));
                let status = Status::new(status.code(), Execution::NotSent, status.message());
                for call in waiting {
                    self.attempt_failed(call, &status);
                }
            }
        }
    }

    /// What a client must never do: send an open a second time.
    pub(super) fn open_again(&mut self, call: usize) {
        let now = self.instant(self.now);
        let kept = &self.calls[call];
        let client = kept.client;
        if let Some(place) = kept.once
            && let Some(number) = self.usable_wire(client, place.server)
            && let Some(wire) = self.wires.get_mut(&number)
            && let Some(caller) = &mut wire.caller
        {
            let (id, _) = Unopened::new(place.incarnation).send(now);
            let waits = Waits::Open {
                incarnation: place.incarnation,
            };
            let extras = extras(Some(id));
            let begun = caller.begin_with(now, OPEN, Bytes::new(), OPEN_TIMEOUT, &extras, waits);
            if begun.is_ok() {
                self.pump(number);
            }
        }
        self.rest(call, Duration::from_millis(1));
    }

    /// What an answer says of the incarnation.
    pub(super) fn hear(&mut self, call: usize, under_way: &UnderWay, outcome: &Outcome) {
        let kept = &self.calls[call];
        let Some(place) = kept.once else {
            return;
        };
        let sessions = &mut self.people[kept.client].links[under_way.server].sessions;
        let Some(session) = sessions
            .iter_mut()
            .find(|session| session.incarnation() == place.incarnation)
        else {
            return;
        };
        match outcome {
            Ok(_) => session.heard(under_way.sent),
            Err(status) if is_unknown_incarnation(status) => session.lost(),
            Err(status) if status.execution() == Execution::Executed => {
                session.heard(under_way.sent);
            }
            Err(_) => {}
        }
    }

    /// Ends the call's name: no further attempt carries it.
    pub(super) fn settle(&mut self, call: usize) {
        let kept = &mut self.calls[call];
        let client = kept.client;
        if let Some(place) = kept.once.take() {
            let sessions = &mut self.people[client].links[place.server].sessions;
            for session in sessions.iter_mut() {
                if session.incarnation() == place.incarnation {
                    session.settle(place.sequence);
                }
            }
        }
    }
}
