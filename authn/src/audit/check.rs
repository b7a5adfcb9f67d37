//! Verifying a chain: its links with the first key, its heads with those that others
//! remember.
//!
//! Heads that others remember have to be fetched before the chain's own head: then an
//! honest chain is never behind them.

use std::collections::BTreeMap;

use sealmoot_crypto::hash_chain::{ChainError, Head, Verifier};
use sealmoot_crypto::secret::SecretArray;

use super::chain::{Entry, key_after};
use super::event::Event;
use super::head::SignedHead;

/// Most events that a log may have dropped: two keys are derived for each of them.
pub const DROPPED_EVENTS_MAX: u64 = 1 << 28;

/// A head and who remembers it.
#[derive(Debug, Clone)]
pub struct Witnessed {
    /// The name of the node that remembers.
    pub by: String,
    /// What it remembers.
    pub head: SignedHead,
}

/// What is wrong with a chain.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// The first key does not open, or not as that of this chain.
    #[error("its first key was replaced, or sealed to another realm")]
    FirstKey,
    /// The head that the log claims for its beginning does not belong to it.
    #[error("its beginning is of another chain")]
    Beginning,
    /// The event with this sequence, or its link, is not the one that was appended
    /// there: changed, moved, put in, or what stood before it was dropped.
    #[error("event {sequence} is not the one that was written there")]
    Broken {
        /// The sequence of the event.
        sequence: u64,
    },
    /// Another event stands where this one should.
    #[error("event {expected} is missing: event {found} stands in its place")]
    Missing {
        /// The sequence that is due.
        expected: u64,
        /// The sequence that is there.
        found: u64,
    },
    /// The link is right and the event is none that is known here.
    #[error("event {sequence} cannot be read: it was written by another version")]
    Unreadable {
        /// The sequence of the event.
        sequence: u64,
    },
    /// The log does not end with the head that its writer presents.
    #[error("it does not lead to its own head after {records} events")]
    HeadDiffers {
        /// How many events the head counts.
        records: u64,
    },
    /// Fewer events are there than the writer's own head counts.
    #[error("its end is missing: {present} of {expected} events are there")]
    EndMissing {
        /// How many there are.
        present: u64,
        /// How many the head counts.
        expected: u64,
    },
    /// Others remember more events than there are.
    #[error("it was truncated at event {present}: {by} witnessed {witnessed} events")]
    Truncated {
        /// How many events there are.
        present: u64,
        /// How many were witnessed.
        witnessed: u64,
        /// By whom.
        by: String,
    },
    /// Another event was witnessed in the place of this one.
    #[error("it was rewritten at or before event {sequence}, which {by} witnessed otherwise")]
    Rewritten {
        /// The last event that can differ.
        sequence: u64,
        /// Who remembers it otherwise.
        by: String,
    },
    /// Others remember another chain of the same node.
    #[error("it was begun anew: {by} witnessed another log of {witnessed} events")]
    Replaced {
        /// How many events the other one had.
        witnessed: u64,
        /// By whom.
        by: String,
    },
}

impl Fault {
    /// The sequence where the fault is, where it has one.
    #[must_use]
    pub fn place(&self) -> Option<u64> {
        match self {
            Self::FirstKey | Self::Beginning => None,
            Self::Broken { sequence }
            | Self::Unreadable { sequence }
            | Self::Rewritten { sequence, .. } => Some(*sequence),
            Self::Missing { expected, .. } => Some(*expected),
            Self::HeadDiffers { records } => Some(records.saturating_sub(1)),
            Self::EndMissing { present, .. } | Self::Truncated { present, .. } => Some(*present),
            Self::Replaced { .. } => Some(0),
        }
    }
}

/// Walks a chain from its oldest event that is kept to its head.
pub struct Walk {
    verifier: Verifier,
    next: u64,
    end: Head,
    expected: BTreeMap<u64, Vec<(Head, String)>>,
    witnessed: u64,
    faults: Vec<Fault>,
    broken: bool,
}

/// What a walk found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// How many events were verified, those that were dropped counted in.
    pub events: u64,
    /// How many heads that others remember lie on the verified part.
    pub witnessed: u64,
    /// What is wrong, in the order in which it was met.
    pub faults: Vec<Fault>,
}

impl Walk {
    /// Before the first event after `oldest`, on the way to `own`, both of the chain
    /// `chain_id` that begins with `first_key`.
    #[must_use]
    pub fn begin(
        first_key: &SecretArray<32>,
        chain_id: [u8; 32],
        oldest: Head,
        own: Head,
        witnessed: &[Witnessed],
    ) -> Self {
        let mut faults = Vec::new();
        let mut expected: BTreeMap<u64, Vec<(Head, String)>> = BTreeMap::new();
        for Witnessed { by, head } in witnessed {
            let by = by.clone();
            let records = head.head().records();
            if head.chain_id() != chain_id {
                faults.push(Fault::Replaced {
                    witnessed: records,
                    by,
                });
            } else if records > own.records() {
                faults.push(Fault::Truncated {
                    present: own.records(),
                    witnessed: records,
                    by,
                });
            } else {
                expected.entry(records).or_default().push((head.head(), by));
            }
        }
        // Deriving the key of a place beyond the end would be work for nothing, and a
        // node that lies must not keep a verifier busy for ever.
        let begins_within =
            oldest.records() <= own.records() && oldest.records() <= DROPPED_EVENTS_MAX;
        let key = key_after(first_key, if begins_within { oldest.records() } else { 0 });
        if !begins_within {
            faults.push(Fault::Beginning);
        }
        let mut walk = Self {
            verifier: Verifier::resume(&key, chain_id, oldest, own),
            next: oldest.records(),
            end: own,
            expected,
            witnessed: 0,
            faults,
            broken: !begins_within,
        };
        walk.compare();
        walk
    }

    /// The next event; those after the head are not looked at.
    pub fn entry(&mut self, entry: &Entry) {
        if self.is_over() {
            return;
        }
        if entry.sequence != self.next {
            return self.stop(Fault::Missing {
                expected: self.next,
                found: entry.sequence,
            });
        }
        match self.verifier.check(&entry.event, &entry.link) {
            Ok(()) => {}
            Err(ChainError::HeadDiffers { records }) => {
                return self.stop(Fault::HeadDiffers { records });
            }
            Err(_) => {
                return self.stop(Fault::Broken {
                    sequence: entry.sequence,
                });
            }
        }
        self.next += 1;
        if Event::decode(&entry.event).is_err() {
            self.faults.push(Fault::Unreadable {
                sequence: entry.sequence,
            });
        }
        self.compare();
    }

    /// Whether no further event would be looked at.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.broken || self.next >= self.end.records()
    }

    /// Ends the walk.
    #[must_use]
    pub fn finish(mut self) -> Report {
        if !self.broken && self.next < self.end.records() {
            self.faults.push(Fault::EndMissing {
                present: self.next,
                expected: self.end.records(),
            });
        }
        Report {
            events: self.next,
            witnessed: self.witnessed,
            faults: self.faults,
        }
    }

    fn stop(&mut self, fault: Fault) {
        self.broken = true;
        self.faults.push(fault);
    }

    /// Compares where the walk stands with what others saw there.
    fn compare(&mut self) {
        let here = self.verifier.head();
        for (head, by) in self.expected.remove(&here.records()).unwrap_or_default() {
            if head == here {
                self.witnessed += 1;
            } else {
                self.faults.push(Fault::Rewritten {
                    sequence: here.records().saturating_sub(1),
                    by,
                });
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::{Subject, What, Who};
    use crate::realm_id::RealmId;
    use sealmoot_crypto::hash_chain::Chain;
    use sealmoot_crypto::signature::SigningKey;

    const ID: [u8; 32] = [7; 32];

    fn first_key() -> SecretArray<32> {
        SecretArray::from_bytes([1; 32])
    }

    fn append(chain: &mut Chain, entries: &mut Vec<Entry>, count: u64, word: &str) {
        for _ in 0..count {
            let sequence = chain.head().records();
            let event = Event::done(sequence, What::Login, Who::Node, Subject::Nothing)
                .detail(word)
                .encode();
            let link = chain.append(&event).expect("room");
            entries.push(Entry {
                sequence,
                event,
                link,
            });
        }
    }

    /// Ten events, and the heads after each number of them.
    fn log() -> (Vec<Entry>, Vec<Head>) {
        let mut chain = Chain::start(&first_key(), ID);
        let (mut entries, mut heads) = (Vec::new(), vec![chain.head()]);
        for _ in 0..10 {
            append(&mut chain, &mut entries, 1, "as it was");
            heads.push(chain.head());
        }
        (entries, heads)
    }

    fn witnessed(head: Head) -> Witnessed {
        let key = SigningKey::generate().expect("random");
        Witnessed {
            by: "n2".to_owned(),
            head: SignedHead::sign(&key, &RealmId::from_bytes([1; 32]), ID, head, 5),
        }
    }

    fn walk(entries: &[Entry], own: Head, witnessed: &[Witnessed]) -> Report {
        let mut walk = Walk::begin(&first_key(), ID, Head::EMPTY, own, witnessed);
        for entry in entries {
            walk.entry(entry);
        }
        walk.finish()
    }

    fn faults(entries: &[Entry], own: Head, witnesses: &[Witnessed]) -> Vec<Fault> {
        walk(entries, own, witnesses).faults
    }

    #[test]
    fn a_whole_log_with_its_witnesses_has_no_fault() {
        let (entries, heads) = log();
        let report = walk(
            &entries,
            heads[10],
            &[witnessed(heads[4]), witnessed(heads[10])],
        );
        assert_eq!(
            report,
            Report {
                events: 10,
                witnessed: 2,
                faults: vec![]
            }
        );
        // What was appended after the head was asked for is nobody's concern.
        assert_eq!(faults(&entries, heads[8], &[witnessed(heads[8])]), []);
    }

    #[test]
    fn flipped_events_and_links_are_named() {
        let (entries, heads) = log();
        for at in 0..10 {
            let mut changed = entries.clone();
            changed[at].event[5] ^= 1;
            let broken = [Fault::Broken {
                sequence: at as u64,
            }];
            assert_eq!(faults(&changed, heads[10], &[]), broken);
            let mut changed = entries.clone();
            let mut link = *changed[at].link.as_bytes();
            link[0] ^= 1;
            changed[at].link = sealmoot_crypto::hash_chain::Link::from_bytes(link);
            assert_eq!(faults(&changed, heads[10], &[]), broken);
        }
    }

    #[test]
    fn removed_reordered_and_spliced_events_are_named() {
        let (entries, heads) = log();
        let mut removed = entries.clone();
        removed.remove(3);
        let missing = Fault::Missing {
            expected: 3,
            found: 4,
        };
        assert_eq!(faults(&removed, heads[10], &[]), [missing]);
        // Numbered anew, so that no number is missing.
        for (sequence, entry) in removed.iter_mut().enumerate() {
            entry.sequence = sequence as u64;
        }
        assert_eq!(
            faults(&removed, heads[10], &[]),
            [Fault::Broken { sequence: 3 }]
        );
        let mut reordered = entries.clone();
        reordered.swap(5, 6);
        reordered[5].sequence = 5;
        reordered[6].sequence = 6;
        assert_eq!(
            faults(&reordered, heads[10], &[]),
            [Fault::Broken { sequence: 5 }]
        );
        // The middle of another chain of the same length.
        let mut other = Chain::start(&SecretArray::from_bytes([2; 32]), ID);
        let mut foreign = Vec::new();
        append(&mut other, &mut foreign, 10, "as it was");
        let mut spliced = entries.clone();
        spliced[7..].clone_from_slice(&foreign[7..]);
        assert_eq!(
            faults(&spliced, heads[10], &[]),
            [Fault::Broken { sequence: 7 }]
        );
    }

    #[test]
    fn a_truncated_log_passes_alone_and_is_caught_by_its_witness() {
        let (entries, heads) = log();
        assert_eq!(faults(&entries[..6], heads[6], &[]), []);
        assert_eq!(
            faults(&entries[..6], heads[6], &[witnessed(heads[9])]),
            [Fault::Truncated {
                present: 6,
                witnessed: 9,
                by: "n2".to_owned()
            }]
        );
        // Cut, while the head still tells.
        assert_eq!(
            faults(&entries[..6], heads[9], &[]),
            [Fault::EndMissing {
                present: 6,
                expected: 9
            }]
        );
    }

    #[test]
    fn a_log_that_went_on_otherwise_after_it_was_cut_is_caught_by_its_witness() {
        let (mut entries, heads) = log();
        entries.truncate(6);
        // As a thief does who has the key that followed event 6.
        let key = key_after(&first_key(), 6);
        let mut chain = Chain::resume(&key, ID, heads[6]);
        append(&mut chain, &mut entries, 8, "invented");
        assert_eq!(faults(&entries, chain.head(), &[]), []);
        let rewritten = |sequence| Fault::Rewritten {
            sequence,
            by: "n2".to_owned(),
        };
        assert_eq!(
            faults(&entries, chain.head(), &[witnessed(heads[9])]),
            [rewritten(8)]
        );
        assert_eq!(faults(&entries, chain.head(), &[witnessed(heads[6])]), []);
    }

    #[test]
    fn a_log_that_was_begun_anew_is_caught_by_its_witness() {
        let (entries, heads) = log();
        let key = SigningKey::generate().expect("random");
        let other = Witnessed {
            by: "n3".to_owned(),
            head: SignedHead::sign(&key, &RealmId::from_bytes([1; 32]), [8; 32], heads[4], 5),
        };
        assert_eq!(
            faults(&entries, heads[10], &[other]),
            [Fault::Replaced {
                witnessed: 4,
                by: "n3".to_owned()
            }]
        );
    }

    #[test]
    fn a_wrong_first_key_a_foreign_head_and_a_wrong_beginning_are_faults() {
        let (entries, heads) = log();
        let wrong = SecretArray::from_bytes([2; 32]);
        let mut walk = Walk::begin(&wrong, ID, Head::EMPTY, heads[10], &[]);
        walk.entry(&entries[0]);
        assert_eq!(walk.finish().faults, [Fault::Broken { sequence: 0 }]);

        let mut other = Chain::start(&SecretArray::from_bytes([2; 32]), ID);
        append(&mut other, &mut Vec::new(), 10, "x");
        assert_eq!(
            faults(&entries, other.head(), &[]),
            [Fault::HeadDiffers { records: 10 }]
        );
        let walk = Walk::begin(&first_key(), ID, heads[10], heads[4], &[]);
        assert_eq!(walk.finish().faults, [Fault::Beginning]);
        let far = |records: u64| {
            let mut bytes = heads[10].to_bytes();
            bytes[2..10].copy_from_slice(&records.to_le_bytes());
            Head::from_bytes(&bytes).expect("a head")
        };
        let lie = Walk::begin(&first_key(), ID, far(u64::MAX - 1), far(u64::MAX), &[]);
        assert_eq!(lie.finish().faults, [Fault::Beginning]);
    }

    #[test]
    fn a_log_whose_oldest_part_was_dropped_is_verified_from_there() {
        let (entries, heads) = log();
        let mut walk = Walk::begin(&first_key(), ID, heads[4], heads[10], &[]);
        for entry in &entries[4..] {
            walk.entry(entry);
        }
        assert_eq!(walk.finish().faults, []);
        let mut walk = Walk::begin(&first_key(), ID, heads[4], heads[10], &[]);
        walk.entry(&entries[5]);
        assert_eq!(
            walk.finish().faults,
            [Fault::Missing {
                expected: 4,
                found: 5
            }]
        );
    }
}
