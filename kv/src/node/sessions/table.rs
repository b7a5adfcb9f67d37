//! The sessions that a node has seen.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use sealmoot_authn::session::{Authenticated, latest_end};
use sealmoot_crypto::signature::KeyId;

/// Most sessions that a node remembers, and most of which it remembers that others
/// used them. Above it the one is forgotten that was unused for longest: it is not
/// listed any more, and holds as before.
pub const SESSIONS_MAX: usize = 16 * 1024;

/// A session that came in.
#[derive(Debug, Clone)]
pub struct Seen {
    /// The session.
    pub session: Authenticated,
    /// Where it came from last.
    pub origin: String,
    /// When it was served last, in milliseconds since 1970; shared with its channels.
    pub last_used_ms: Arc<AtomicU64>,
}

/// What another node said of a session that never came in here.
#[derive(Debug, Clone, Copy)]
struct Elsewhere {
    issued_ms: u64,
    last_used_ms: u64,
}

/// The sessions by their keys.
#[derive(Debug, Default)]
pub struct SessionTable {
    seen: BTreeMap<KeyId, Seen>,
    elsewhere: BTreeMap<KeyId, Elsewhere>,
}

impl SessionTable {
    /// A session comes in; where to write down that it was used, or none when it has
    /// gone unused for longer than it may. One that was never seen counts as used when
    /// it was made.
    pub fn enter(
        &mut self,
        session: &Authenticated,
        origin: String,
        now_ms: u64,
    ) -> Option<Arc<AtomicU64>> {
        let key = session.key;
        let issued_ms = session.issued_ms;
        // A key that logged in again is another session.
        let seen = self
            .seen
            .get(&key)
            .filter(|seen| seen.session.issued_ms == issued_ms);
        let here_ms = seen.map(|seen| seen.last_used_ms.load(Ordering::Relaxed));
        let elsewhere = self
            .elsewhere
            .get(&key)
            .filter(|told| told.issued_ms == issued_ms);
        let elsewhere_ms = elsewhere.map(|told| told.last_used_ms);
        let last_used_ms = here_ms.max(elsewhere_ms).unwrap_or(issued_ms);
        if session.is_idle(last_used_ms, now_ms) {
            return None;
        }
        let last_used = match seen {
            Some(seen) => Arc::clone(&seen.last_used_ms),
            None => Arc::default(),
        };
        last_used.fetch_max(now_ms, Ordering::Relaxed);
        self.elsewhere.remove(&key);
        if !self.seen.contains_key(&key) && self.seen.len() >= SESSIONS_MAX {
            let used = |seen: &Seen| seen.last_used_ms.load(Ordering::Relaxed);
            let oldest = self.seen.iter().min_by_key(|(_, seen)| used(seen));
            if let Some(oldest) = oldest.map(|(key, _)| *key) {
                self.seen.remove(&oldest);
            }
        }
        let entry = Seen {
            session: session.clone(),
            origin,
            last_used_ms: Arc::clone(&last_used),
        };
        self.seen.insert(key, entry);
        Some(last_used)
    }

    /// Another node served the session at that time. Times to come are not believed.
    pub fn learn(&mut self, key: KeyId, issued_ms: u64, last_used_ms: u64, now_ms: u64) {
        let last_used_ms = last_used_ms.min(now_ms);
        if let Some(seen) = self.seen.get(&key) {
            if seen.session.issued_ms == issued_ms {
                seen.last_used_ms.fetch_max(last_used_ms, Ordering::Relaxed);
            }
            return;
        }
        if !self.elsewhere.contains_key(&key) && self.elsewhere.len() >= SESSIONS_MAX {
            return;
        }
        let told = self.elsewhere.entry(key).or_insert(Elsewhere {
            issued_ms,
            last_used_ms,
        });
        if told.issued_ms == issued_ms {
            told.last_used_ms = told.last_used_ms.max(last_used_ms);
        } else if told.issued_ms < issued_ms {
            *told = Elsewhere {
                issued_ms,
                last_used_ms,
            };
        }
    }

    /// Forgets what is over by the clock.
    pub fn forget_expired(&mut self, now_ms: u64) {
        self.seen.retain(|_, seen| seen.session.expires_ms > now_ms);
        self.elsewhere
            .retain(|_, told| latest_end(told.issued_ms) > now_ms);
    }

    /// The sessions in order of their keys, from behind `after` on.
    pub fn behind(&self, after: Option<&KeyId>) -> impl Iterator<Item = &Seen> {
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        self.seen
            .range((from, Bound::Unbounded))
            .map(|(_, seen)| seen)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sealmoot_crypto::signature::SigningKey;

    fn session(index: u64, issued_ms: u64, idle_ms: u64) -> Authenticated {
        let mut key = [0; 32];
        key[..8].copy_from_slice(&index.to_be_bytes());
        Authenticated {
            node: KeyId::from_bytes([0; 32]),
            user: "alice".parse().expect("a name"),
            user_key: SigningKey::from_seed(&sealmoot_crypto::secret::SecretArray::from_bytes(
                [7; 32],
            ))
            .verifying_key(),
            key: KeyId::from_bytes(key),
            issued_ms,
            expires_ms: 1_000_000,
            idle_ms,
            enrolled: None,
        }
    }

    fn enter(table: &mut SessionTable, session: &Authenticated, now_ms: u64) -> bool {
        table.enter(session, "here".to_owned(), now_ms).is_some()
    }

    #[test]
    fn a_session_with_a_limit_ends_when_it_goes_unused() {
        let mut table = SessionTable::default();
        let limited = session(1, 0, 100);
        assert!(enter(&mut table, &limited, 99));
        assert!(enter(&mut table, &limited, 198));
        assert!(!enter(&mut table, &limited, 298));
        assert!(
            !enter(&mut table, &limited, 299),
            "it was not used by being refused"
        );
        // Made long ago and never seen here.
        assert!(!enter(&mut table, &session(2, 0, 100), 100));
        // The same key after another login, and one without a limit.
        assert!(enter(&mut table, &session(1, 290, 100), 300));
        assert!(enter(&mut table, &session(3, 0, 0), 999_999));
    }

    #[test]
    fn what_other_nodes_served_counts_and_what_they_say_of_the_future_does_not() {
        let mut table = SessionTable::default();
        let limited = session(1, 0, 100);
        table.learn(limited.key, 0, 150, 160);
        assert!(enter(&mut table, &limited, 240));
        table.learn(limited.key, 0, 300, 310);
        assert!(enter(&mut table, &limited, 390));
        // Of another login with the same key.
        table.learn(limited.key, 5, 480, 480);
        assert!(!enter(&mut table, &limited, 490));
        table.learn(session(2, 0, 100).key, 0, u64::MAX, 50);
        assert!(!enter(&mut table, &session(2, 0, 100), 150));
    }

    #[test]
    fn the_table_is_bounded_and_forgets_what_was_unused_for_longest() {
        let mut table = SessionTable::default();
        for index in 0..SESSIONS_MAX as u64 {
            assert!(enter(&mut table, &session(index, 0, 0), 10 + index));
        }
        assert!(enter(&mut table, &session(0, 0, 0), 500_000));
        assert!(enter(&mut table, &session(u64::MAX, 0, 0), 500_000));
        assert_eq!(table.behind(None).count(), SESSIONS_MAX);
        let key = |index| session(index, 0, 0).key;
        assert!(table.seen.contains_key(&key(0)) && !table.seen.contains_key(&key(1)));
        for index in 0..=SESSIONS_MAX as u64 {
            table.learn(key(1_000_000 + index), 0, 1, 1);
        }
        assert_eq!(table.elsewhere.len(), SESSIONS_MAX);
        assert_eq!(table.behind(Some(&key(SESSIONS_MAX as u64 - 2))).count(), 2);
        table.forget_expired(1_000_000);
        assert_eq!(table.behind(None).count(), 0);
    }
}
