//! Looks for deleted keys that can be forgotten, a few at a time.

use super::{Command, Engine};
use crate::clock::Clock;
use crate::placement::preferred_member;

/// How often deleted keys are looked for, in milliseconds.
const SWEEP_EVERY_MS: u64 = 1_000;
/// Most keys that one sweep begins to forget.
const SWEPT_KEYS_MAX: usize = 8;
/// How long a tombstone stands before it is forgotten, in milliseconds: its removal
/// raises a floor under the ballots of all keys, and should not meet young ones.
const TOMBSTONE_AGE_MS_MIN: u64 = 60_000;
/// How long forgetting one key may take, in milliseconds.
const FORGET_WITHIN_MS: u64 = 5_000;
/// With more requests in progress than this nothing is swept.
const SWEEP_LOAD_MAX: usize = 1_024;

impl Engine {
    /// Begins to forget a few keys that were deleted long ago, if all members are
    /// there. Each key is swept by one member, so that they do not get in each
    /// other's way.
    pub(super) fn sweep(&self) {
        let members = self.links.members().len();
        let all_connected =
            (0..members).all(|member| member == self.me || self.links.connection(member).is_ok());
        self.work(|work| {
            let now = work.now;
            let machines = &mut *work.machines;
            let busy = machines.coordinator.in_progress() > SWEEP_LOAD_MAX;
            if now.steady_ms < machines.sweep.1 || busy || !all_connected {
                return;
            }
            machines.sweep.1 = now.steady_ms + SWEEP_EVERY_MS;
            let clock = machines.replica.clock(now.wall_ms);
            let before = Clock::from_ms(clock.ms().saturating_sub(TOMBSTONE_AGE_MS_MIN));
            let after = std::mem::take(&mut machines.sweep.0);
            let mine = |key: &[u8]| preferred_member(key, members) == self.me;
            let (keys, next) =
                machines
                    .replica
                    .forgettable(&after, before, clock, mine, SWEPT_KEYS_MAX);
            machines
                .replica
                .drop_promises(&after, next.as_ref(), before);
            machines.sweep.0 = next.unwrap_or_default();
            for key in keys {
                // Nobody waits for it: its token belongs to no client.
                let token = machines.next_token;
                machines.next_token += 1;
                machines.coordinator.begin(
                    now,
                    token,
                    Command::Forget { key },
                    FORGET_WITHIN_MS,
                    &mut work.coordinator,
                );
            }
        });
    }
}
