//! Who is at the door, and who goes when there is no more room: a value without
//! clock, lock or socket.

use std::cmp::Reverse;
use std::collections::{BTreeSet, HashMap};
use std::net::IpAddr;

/// The table of strangers; its size is bounded by the common cap.
#[derive(Debug)]
pub(super) struct Strangers {
    count_max: usize,
    per_source_max: usize,
    bytes_max: usize,
    table: HashMap<u64, Stranger>,
    by_source: HashMap<IpAddr, Crowd>,
    bytes: usize,
    number_last: u64,
}

#[derive(Debug)]
struct Stranger {
    source: IpAddr,
    bytes: usize,
    is_guest: bool,
}

/// Those of one source; by number, and so by age.
#[derive(Debug, Default)]
struct Crowd {
    strangers: BTreeSet<u64>,
    guests: BTreeSet<u64>,
}

impl Crowd {
    fn count(&self) -> usize {
        self.strangers.len() + self.guests.len()
    }
}

/// A stranger came in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Entered {
    pub(super) number: u64,
    /// Who had to go for it.
    pub(super) evicted: Option<u64>,
}

/// What became of bytes that a stranger sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Weighed {
    /// Noted; whoever held most had to go for them, if anybody.
    Noted { evicted: Option<u64> },
    /// It is no stranger any more: its bytes are no concern here.
    NoStranger,
}

impl Strangers {
    pub(super) fn new(count_max: usize, per_source_max: usize, bytes_max: usize) -> Self {
        Self {
            count_max,
            per_source_max,
            bytes_max,
            table: HashMap::new(),
            by_source: HashMap::new(),
            bytes: 0,
            number_last: 0,
        }
    }

    /// A place for one more, unless its source has all that it may have.
    ///
    /// When every place is taken, somebody goes: were the newcomer turned away
    /// instead, a crowd that says nothing would keep everybody out until its
    /// deadlines. It is the oldest of the source that has most, so an honest
    /// stranger, whose source has few and who is quick, is the last to be hit.
    pub(super) fn enter(&mut self, source: IpAddr) -> Option<Entered> {
        if self.count_of(source) >= self.per_source_max {
            return None;
        }
        let mut evicted = None;
        if self.table.len() >= self.count_max {
            evicted = Some(self.most_crowding()?);
        }
        if let Some(number) = evicted {
            self.leave(number);
        }
        self.number_last += 1;
        let number = self.number_last;
        self.table.insert(
            number,
            Stranger {
                source,
                bytes: 0,
                is_guest: false,
            },
        );
        let crowd = self.by_source.entry(source).or_default();
        crowd.strangers.insert(number);
        Some(Entered { number, evicted })
    }

    /// Its place is free. Nothing happens when it was evicted before.
    pub(super) fn leave(&mut self, number: u64) {
        let Some(stranger) = self.table.remove(&number) else {
            return;
        };
        self.bytes -= stranger.bytes;
        if let Some(crowd) = self.by_source.get_mut(&stranger.source) {
            crowd.strangers.remove(&number);
            crowd.guests.remove(&number);
            if crowd.count() == 0 {
                self.by_source.remove(&stranger.source);
            }
        }
    }

    /// It was let in as somebody unknown: it keeps its place, but what it sends
    /// is from now on bounded by limits of its own, and it is evicted last.
    pub(super) fn welcome(&mut self, number: u64) {
        if let Some(stranger) = self.table.get_mut(&number) {
            stranger.is_guest = true;
            self.bytes -= std::mem::take(&mut stranger.bytes);
            if let Some(crowd) = self.by_source.get_mut(&stranger.source)
                && crowd.strangers.remove(&number)
            {
                crowd.guests.insert(number);
            }
        }
    }

    /// Notes bytes received from a stranger, as if all were still held. When all
    /// strangers together are beyond the bound, the one who sent most goes.
    pub(super) fn weigh(&mut self, number: u64, bytes: usize) -> Weighed {
        let Some(stranger) = self.table.get_mut(&number) else {
            return Weighed::NoStranger;
        };
        if stranger.is_guest {
            return Weighed::NoStranger;
        }
        stranger.bytes = stranger.bytes.saturating_add(bytes);
        self.bytes = self.bytes.saturating_add(bytes);
        let mut evicted = None;
        if self.bytes > self.bytes_max {
            evicted = self.heaviest();
        }
        if let Some(number) = evicted {
            self.leave(number);
        }
        Weighed::Noted { evicted }
    }

    fn count_of(&self, source: IpAddr) -> usize {
        self.by_source.get(&source).map_or(0, Crowd::count)
    }

    /// The search is as long as there are sources; it costs less than the system
    /// call that brought the newcomer.
    fn most_crowding(&self) -> Option<u64> {
        let oldest = |of: fn(&Crowd) -> Option<&u64>| {
            self.by_source
                .values()
                .filter_map(|crowd| of(crowd).map(|number| (crowd.count(), Reverse(*number))))
                .max()
                .map(|(_, Reverse(number))| number)
        };
        oldest(|crowd| crowd.strangers.first()).or_else(|| oldest(|crowd| crowd.guests.first()))
    }

    /// As long as the table, but whoever is found has sent its share of the
    /// common bound.
    fn heaviest(&self) -> Option<u64> {
        self.table
            .iter()
            .max_by_key(|(_, stranger)| stranger.bytes)
            .map(|(number, _)| *number)
    }

    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.table.is_empty() && self.by_source.is_empty() && self.bytes == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(last: u8) -> IpAddr {
        IpAddr::from([192, 0, 2, last])
    }

    /// Enters and tells who had to go.
    fn enter(strangers: &mut Strangers, last: u8) -> (u64, Option<u64>) {
        let entered = strangers.enter(source(last)).expect("room");
        (entered.number, entered.evicted)
    }

    #[test]
    fn one_source_cannot_take_every_place() {
        let mut strangers = Strangers::new(3, 2, 100);
        enter(&mut strangers, 1);
        enter(&mut strangers, 1);
        assert_eq!(strangers.enter(source(1)), None);
        assert_eq!(enter(&mut strangers, 2).1, None);
    }

    #[test]
    fn a_source_at_its_cap_evicts_nobody() {
        let mut strangers = Strangers::new(2, 1, 100);
        enter(&mut strangers, 1);
        enter(&mut strangers, 2);
        assert_eq!(strangers.enter(source(1)), None);
        assert_eq!(enter(&mut strangers, 3), (3, Some(1)));
    }

    #[test]
    fn the_oldest_of_the_fullest_source_makes_room() {
        let mut strangers = Strangers::new(4, 4, 100);
        let (honest, _) = enter(&mut strangers, 9);
        let (first, _) = enter(&mut strangers, 1);
        let (second, _) = enter(&mut strangers, 1);
        enter(&mut strangers, 2);
        assert_eq!(enter(&mut strangers, 3).1, Some(first));
        // Now everybody is alone: the oldest.
        assert_eq!(enter(&mut strangers, 4).1, Some(honest));
        assert_eq!(enter(&mut strangers, 5).1, Some(second));
    }

    #[test]
    fn guests_are_evicted_last() {
        let mut strangers = Strangers::new(2, 2, 100);
        let (guest, _) = enter(&mut strangers, 1);
        strangers.welcome(guest);
        let (other, _) = enter(&mut strangers, 2);
        assert_eq!(enter(&mut strangers, 3), (3, Some(other)));
        strangers.welcome(3);
        assert_eq!(enter(&mut strangers, 4).1, Some(guest));
    }

    #[test]
    fn whoever_left_or_was_evicted_leaves_once() {
        let mut strangers = Strangers::new(1, 1, 100);
        let (first, _) = enter(&mut strangers, 1);
        let (second, evicted) = enter(&mut strangers, 2);
        assert_eq!(evicted, Some(first));
        strangers.leave(first);
        assert_eq!(strangers.enter(source(2)), None, "the second still stands");
        strangers.leave(second);
        strangers.leave(second);
        assert!(strangers.is_empty());
    }

    #[test]
    fn whoever_sent_most_pays_for_all() {
        let mut strangers = Strangers::new(9, 9, 100);
        let (small, _) = enter(&mut strangers, 1);
        let (large, _) = enter(&mut strangers, 2);
        let noted = Weighed::Noted { evicted: None };
        assert_eq!(strangers.weigh(large, 60), noted);
        assert_eq!(strangers.weigh(small, 40), noted);
        let evicted = Weighed::Noted {
            evicted: Some(large),
        };
        assert_eq!(strangers.weigh(small, 1), evicted);
        assert_eq!(strangers.weigh(large, 1), Weighed::NoStranger);
        // Its bytes went with it.
        assert_eq!(strangers.weigh(small, 59), noted);
        let evicted = Weighed::Noted {
            evicted: Some(small),
        };
        assert_eq!(strangers.weigh(small, 1), evicted);
        assert!(strangers.is_empty());
    }

    #[test]
    fn bytes_of_guests_and_of_the_gone_do_not_weigh() {
        let mut strangers = Strangers::new(9, 9, 100);
        let (guest, _) = enter(&mut strangers, 1);
        strangers.weigh(guest, 90);
        strangers.welcome(guest);
        assert_eq!(strangers.weigh(guest, 1_000), Weighed::NoStranger);
        let (gone, _) = enter(&mut strangers, 1);
        strangers.weigh(gone, 90);
        strangers.leave(gone);
        let (last, _) = enter(&mut strangers, 1);
        assert_eq!(strangers.weigh(last, 100), Weighed::Noted { evicted: None });
    }

    #[test]
    fn bytes_beyond_every_number_evict_and_do_not_overflow() {
        let mut strangers = Strangers::new(9, 9, usize::MAX - 1);
        let (number, _) = enter(&mut strangers, 1);
        strangers.weigh(number, usize::MAX - 1);
        let evicted = Weighed::Noted {
            evicted: Some(number),
        };
        assert_eq!(strangers.weigh(number, usize::MAX), evicted);
        assert!(strangers.is_empty());
    }

    #[test]
    fn a_crowd_never_exceeds_the_caps() {
        let mut strangers = Strangers::new(50, 8, 1_000);
        let mut inside = Vec::new();
        for step in 0..5_000_u32 {
            let from = u8::try_from(step * 7 % 31).expect("small");
            if let Some(entered) = strangers.enter(source(from)) {
                inside.push(entered.number);
                inside.retain(|number| Some(*number) != entered.evicted);
            }
            if step % 3 == 0 && !inside.is_empty() {
                strangers.leave(inside.remove(step as usize % inside.len()));
            }
            assert_eq!(strangers.table.len(), inside.len());
            assert!(inside.len() <= 50);
            assert!(strangers.by_source.values().all(|crowd| crowd.count() <= 8));
        }
        for number in inside {
            strangers.leave(number);
        }
        assert!(strangers.is_empty());
    }
}
