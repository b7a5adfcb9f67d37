//! The network between nodes: what becomes of each message.

use sealmoot_kv::message::{Reply, Request};

use super::node::{Asker, Call};
use super::{Event, World};
use crate::fault::Fault;

/// Of a thousand lost messages, for so many the sender learns that there will be no
/// answer.
const NOTICED: u64 = 700;

pub(super) struct Network {
    nodes: usize,
    links: Vec<Link>,
}

#[derive(Clone, Copy, Default)]
struct Link {
    cut_until_us: u64,
    flapping_until_us: u64,
    /// Half the period in which it flaps.
    flap_us: u64,
    last_arrival_us: u64,
}

impl Network {
    pub(super) fn new(nodes: usize) -> Self {
        Self {
            nodes,
            links: vec![Link::default(); nodes * nodes],
        }
    }

    fn link(&mut self, from: usize, to: usize) -> &mut Link {
        &mut self.links[from * self.nodes + to]
    }

    pub(super) fn cut(&mut self, from: usize, to: usize, until_us: u64) {
        self.link(from, to).cut_until_us = until_us;
    }

    pub(super) fn flap(&mut self, from: usize, to: usize, until_us: u64, half_period_us: u64) {
        let link = self.link(from, to);
        link.flapping_until_us = until_us;
        link.flap_us = half_period_us.max(1);
    }

    pub(super) fn heal(&mut self) {
        for link in &mut self.links {
            link.cut_until_us = 0;
            link.flapping_until_us = 0;
        }
    }

    fn is_cut(&mut self, from: usize, to: usize, now_us: u64) -> bool {
        let link = self.link(from, to);
        let flaps = link.flapping_until_us > now_us && now_us / link.flap_us % 2 == 1;
        link.cut_until_us > now_us || flaps
    }
}

impl World<'_> {
    /// A coordinator's request to another node.
    pub(super) fn send_request(&mut self, from: usize, to: usize, call: Call, request: Request) {
        let start = self.nodes[from].start;
        self.metered_sending(from, call);
        let accept = matches!(request, Request::Accept { .. });
        if self.is_lost(from, to, accept) {
            self.maybe_notice(from, start, to, call);
            return;
        }
        let event = |request| Event::Request {
            from,
            start,
            to,
            call,
            request,
        };
        if self.faulty(Fault::Duplication)
            && self.network_random.permille(self.plan.rates.duplication)
        {
            self.counts.add(Fault::Duplication);
            let at_us = self.arrival(from, to);
            self.queue.push(at_us, event(request.clone()));
        }
        let at_us = self.arrival(from, to);
        self.queue.push(at_us, event(request));
    }

    /// A replica's answer to another node.
    pub(super) fn send_reply(&mut self, from: usize, asker: Asker, reply: Reply) {
        let Asker {
            node, start, call, ..
        } = asker;
        if self.is_lost(from, node, false) {
            self.maybe_notice(node, start, from, call);
            return;
        }
        let at_us = self.arrival(from, node);
        let position = self.attested_for(from, node);
        self.queue.push(
            at_us,
            Event::Reply {
                from,
                to: node,
                start,
                call,
                reply,
                position,
            },
        );
    }

    /// The asker learns that a node is down.
    pub(super) fn send_unreachable(&mut self, node: usize, start: u64, member: usize, call: Call) {
        let at_us = match self.metered_arrival() {
            Some(at_us) => at_us,
            None => self.now_us + self.network_random.between(50, 1_000),
        };
        self.queue.push(
            at_us,
            Event::Unreachable {
                node,
                start,
                member,
                call,
            },
        );
    }

    pub(super) fn is_lost(&mut self, from: usize, to: usize, accept: bool) -> bool {
        if self.network.is_cut(from, to, self.now_us) {
            return true;
        }
        if !self.faulty(Fault::Loss) {
            return false;
        }
        let rates = &self.plan.rates;
        let chance = rates.loss + if accept { rates.accept_loss } else { 0 };
        let lost = self.network_random.permille(chance);
        if lost {
            self.counts.add(Fault::Loss);
        }
        lost
    }

    fn maybe_notice(&mut self, node: usize, start: u64, member: usize, call: Call) {
        if self.meter.is_none() && self.network_random.permille(NOTICED) {
            let at_us = self.now_us + self.network_random.between(500, 60_000);
            self.queue.push(
                at_us,
                Event::Unreachable {
                    node,
                    start,
                    member,
                    call,
                },
            );
        }
    }

    /// When a message that leaves now arrives.
    pub(super) fn arrival(&mut self, from: usize, to: usize) -> u64 {
        if let Some(at_us) = self.metered_arrival() {
            return at_us;
        }
        let mut at_us = self.now_us + self.network_random.between(50, 800);
        if self.faulty(Fault::Delay) && self.network_random.permille(self.plan.rates.delay) {
            self.counts.add(Fault::Delay);
            at_us += self.network_random.below(self.plan.rates.delay_us_max) + 1;
        }
        let reorders = self.faulty(Fault::Reorder);
        let link = self.network.link(from, to);
        if at_us <= link.last_arrival_us {
            if reorders {
                self.counts.add(Fault::Reorder);
                return at_us;
            }
            at_us = link.last_arrival_us + 1;
        }
        self.network.link(from, to).last_arrival_us = at_us;
        at_us
    }
}
