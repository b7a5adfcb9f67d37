//! Who is at the door, and who goes when there is no more room: a value without
//! clock, lock or socket.

use std::cmp::Reverse;
use std::collections::{BTreeSet, HashMap};
use std::net::IpAddr;

use crate::limits::KNOWN_PLACES_DIVISOR;

/// The table of strangers; its size is bounded by the common cap.
#[derive(Debug)]
pub(super) struct Strangers {
    count_max: usize,
    per_source_max: usize,
    bytes_max: usize,
    table: HashMap<u64, Stranger>,
    by_source: HashMap<IpAddr, Crowd>,
    /// Strangers of known sources, over all of them.
    known_count: usize,
    bytes: usize,
    number_last: u64,
}

#[derive(Debug)]
struct Stranger {
    source: IpAddr,
    bytes: usize,
    standing: Standing,
}

/// What is known of a stranger.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    Unknown,
    /// Nothing, but its source had the lead over unknown ones when it came.
    KnownSource,
    /// It was let in as somebody unknown.
    Guest,
}

/// Those of one source; by number, and so by age.
#[derive(Debug, Default)]
struct Crowd {
    unknown: BTreeSet<u64>,
    known: BTreeSet<u64>,
    guests: BTreeSet<u64>,
}

impl Crowd {
    fn count(&self) -> usize {
        self.unknown.len() + self.known.len() + self.guests.len()
    }

    /// Whoever has been here longest of those who are no guests.
    fn oldest(&self) -> Option<&u64> {
        self.unknown
            .first()
            .into_iter()
            .chain(self.known.first())
            .min()
    }

    fn of(&mut self, standing: Standing) -> &mut BTreeSet<u64> {
        match standing {
            Standing::Unknown => &mut self.unknown,
            Standing::KnownSource => &mut self.known,
            Standing::Guest => &mut self.guests,
        }
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
            known_count: 0,
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
    /// Those of known sources are spared while there are others, unless they
    /// have so many places that the others would drive each other out.
    pub(super) fn enter(&mut self, source: IpAddr, is_known: bool) -> Option<Entered> {
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
        let standing = if is_known {
            self.known_count += 1;
            Standing::KnownSource
        } else {
            Standing::Unknown
        };
        self.table.insert(
            number,
            Stranger {
                source,
                bytes: 0,
                standing,
            },
        );
        let crowd = self.by_source.entry(source).or_default();
        crowd.of(standing).insert(number);
        Some(Entered { number, evicted })
    }

    /// Its place is free. Nothing happens when it was evicted before.
    pub(super) fn leave(&mut self, number: u64) {
        let Some(stranger) = self.table.remove(&number) else {
            return;
        };
        self.bytes -= stranger.bytes;
        self.known_count -= usize::from(stranger.standing == Standing::KnownSource);
        if let Some(crowd) = self.by_source.get_mut(&stranger.source) {
            crowd.of(stranger.standing).remove(&number);
            if crowd.count() == 0 {
                self.by_source.remove(&stranger.source);
            }
        }
    }

    /// It was let in as somebody unknown: it keeps its place, but what it sends
    /// is from now on bounded by limits of its own, and it is evicted last.
    pub(super) fn welcome(&mut self, number: u64) {
        if let Some(stranger) = self.table.get_mut(&number) {
            let standing = std::mem::replace(&mut stranger.standing, Standing::Guest);
            self.bytes -= std::mem::take(&mut stranger.bytes);
            self.known_count -= usize::from(standing == Standing::KnownSource);
            if let Some(crowd) = self.by_source.get_mut(&stranger.source) {
                crowd.of(standing).remove(&number);
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
        if stranger.standing == Standing::Guest {
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
        let unknown = if self.known_count > self.count_max / KNOWN_PLACES_DIVISOR {
            None
        } else {
            oldest(|crowd| crowd.unknown.first())
        };
        unknown
            .or_else(|| oldest(Crowd::oldest))
            .or_else(|| oldest(|crowd| crowd.guests.first()))
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
        self.table.is_empty()
            && self.by_source.is_empty()
            && (self.known_count, self.bytes) == (0, 0)
    }
}

#[cfg(test)]
mod tests;
