//! What goes wrong in the simulated world, and how it ends.

use super::world::{Event, MILLISECOND, NOTICED, SECOND, World};

impl World {
    pub(super) fn fault(&mut self) {
        let server = self.random.index(self.servers.len());
        let numbers: Vec<u32> = self.wires.keys().copied().collect();
        let wire = if numbers.is_empty() {
            0
        } else {
            numbers[self.random.index(numbers.len())]
        };
        let kind = self.random.below(9);
        if !self.wires.contains_key(&wire) && kind < 6 {
            return;
        }
        match kind {
            0 => self.cut("fault: cut in both directions", wire, true, true),
            1 => self.cut("fault: cut upwards", wire, true, false),
            2 => self.cut("fault: cut downwards", wire, false, true),
            3 => {
                self.truth.count("fault: reset seen by the client first");
                let later = self.now + self.random.between(MILLISECOND, NOTICED);
                // What is under way may arrive long after the client gave it up.
                if self.random.chance(50)
                    && let Some(wire) = self.wires.get_mut(&wire)
                {
                    wire.upward.stalled_until = later - 1;
                }
                self.at(
                    self.now,
                    Event::Lost {
                        wire,
                        is_server: false,
                    },
                );
                self.at(
                    later,
                    Event::Lost {
                        wire,
                        is_server: true,
                    },
                );
            }
            4 => {
                self.truth.count("fault: reset seen by the server first");
                let later = self.now + self.random.below(NOTICED);
                self.at(
                    self.now,
                    Event::Lost {
                        wire,
                        is_server: true,
                    },
                );
                self.at(
                    later,
                    Event::Lost {
                        wire,
                        is_server: false,
                    },
                );
            }
            5 => {
                self.truth.count("fault: stall");
                let until = self.now + self.random.between(MILLISECOND, 2 * SECOND);
                let until = until.min(self.heals_at.max(self.now));
                let is_upward = self.random.chance(50);
                if let Some(wire) = self.wires.get_mut(&wire) {
                    wire.pipe(is_upward).stalled_until = until;
                }
            }
            6 => {
                self.truth.count("fault: crash and restart");
                let is_quick = self.random.chance(50);
                self.crash(server, is_quick);
            }
            7 => {
                self.truth.count("fault: server pauses");
                let until = self.now + self.random.between(MILLISECOND, SECOND);
                let until = until.min(self.heals_at.max(self.now));
                let host = &mut self.servers[server];
                host.paused_until = host.paused_until.max(until);
                self.at(until, Event::Unpaused { server });
            }
            _ => {
                self.truth.count("fault: drain and restart");
                self.drain(server);
                let until = self.now + self.random.between(MILLISECOND, SECOND);
                self.at(
                    until.min(self.heals_at.max(self.now)),
                    Event::Drained { server },
                );
            }
        }
    }

    fn cut(&mut self, name: &str, number: u32, upward: bool, downward: bool) {
        self.truth.count(name);
        if let Some(wire) = self.wires.get_mut(&number) {
            wire.upward.is_cut |= upward;
            wire.downward.is_cut |= downward;
        }
        for is_server in [false, true] {
            let noticed = self.now + self.random.below(NOTICED);
            self.at(
                noticed,
                Event::Lost {
                    wire: number,
                    is_server,
                },
            );
        }
    }

    /// The process is gone with all it knew; another one comes up in its place.
    pub(super) fn crash(&mut self, server: usize, is_quick: bool) {
        if !self.servers[server].crash() {
            return;
        }
        let numbers: Vec<u32> = self.wires.keys().copied().collect();
        for number in numbers {
            let is_lost = self.random.chance(50);
            let noticed = if is_quick { 20 * MILLISECOND } else { NOTICED };
            let noticed = self.now + self.random.below(noticed);
            let Some(wire) = self.wires.get_mut(&number) else {
                continue;
            };
            if wire.server == server && wire.callee.take().is_some() {
                wire.upward.is_cut = true;
                wire.downward.is_cut |= is_lost;
                self.at(
                    noticed,
                    Event::Lost {
                        wire: number,
                        is_server: false,
                    },
                );
            }
        }
        let until = self.now + self.random.between(10 * MILLISECOND, SECOND);
        self.at(until.min(self.heals_at.max(self.now)), Event::Up { server });
    }

    /// No further faults; what is broken is noticed in its own time.
    pub(super) fn heal(&mut self) {
        for wire in self.wires.values_mut() {
            wire.upward.stalled_until = 0;
            wire.downward.stalled_until = 0;
        }
        for server in 0..self.servers.len() {
            self.servers[server].paused_until = 0;
            self.servers[server].relax();
        }
        let numbers: Vec<u32> = self.wires.keys().copied().collect();
        for number in numbers {
            if self.nature.is_overloaded {
                // Connections keep the limits that they were made with.
                self.at(
                    self.now,
                    Event::Lost {
                        wire: number,
                        is_server: true,
                    },
                );
                self.at(
                    self.now,
                    Event::Lost {
                        wire: number,
                        is_server: false,
                    },
                );
            }
            self.pump(number);
        }
    }
}
