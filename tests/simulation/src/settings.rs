//! The settings of the namespace that a history's keys are in: how many members hold
//! a write and answer a read, and how these settings came to be.

use sealmoot_kv::quorum::Quorums;

use crate::random::Random;

/// Of the streams of a seed, the one for settings.
const PURPOSE: u64 = 40;
/// Of a thousand histories, so many go by the majority.
const MAJORITY: u64 = 350;
/// Of a thousand with other settings, in so many the creation races with the first
/// requests.
const RACED: u64 = 150;

/// How the namespace of a history's keys gets its settings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Creation {
    /// Nobody creates it: the first write below it makes the default permanent.
    Claimed,
    /// It was created before the first request.
    Before,
    /// It is created while the first requests are under way; who is first decides.
    Raced,
}

impl Creation {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Claimed, Self::Before, Self::Raced];

    /// The name on the command line.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Claimed => "claimed",
            Self::Before => "before",
            Self::Raced => "raced",
        }
    }

    /// The one of a name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|known| known.name() == name)
    }
}

/// Quorums and how they came to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settings {
    /// N, W and R. Of a claimed namespace, the majority.
    pub quorums: Quorums,
    /// How they came to be.
    pub creation: Creation,
}

impl Settings {
    /// Nobody asked for any: a majority for everything.
    #[must_use]
    pub fn claimed(members: usize) -> Self {
        Self {
            quorums: Quorums::majority(members),
            creation: Creation::Claimed,
        }
    }

    /// What a seed gives for so many members.
    #[must_use]
    pub fn of_seed(seed: u64, members: usize) -> Self {
        let mut random = Random::stream(seed, PURPOSE);
        if random.permille(MAJORITY) {
            let created = Self {
                quorums: Quorums::majority(members),
                creation: Creation::Before,
            };
            return if random.coin() {
                created
            } else {
                Self::claimed(members)
            };
        }
        let valid = valid_quorums(members);
        Self {
            quorums: valid[random.index(valid.len())],
            creation: if random.permille(RACED) {
                Creation::Raced
            } else {
                Creation::Before
            },
        }
    }

    /// How many members must be there for everything to be possible: for prepares,
    /// writes and reads at every level.
    #[must_use]
    pub fn members_needed(self) -> usize {
        let needed = |quorums: Quorums| quorums.prepare().max(quorums.linearizable_read());
        let majority = needed(Quorums::majority(self.quorums.members()));
        needed(self.quorums).max(majority)
    }
}

/// Every W and R with which so many members are a quorum system.
#[must_use]
pub fn valid_quorums(members: usize) -> Vec<Quorums> {
    let pairs = (1..=members).flat_map(|write| (1..=members).map(move |read| (write, read)));
    pairs
        .filter_map(|(write, read)| Quorums::new(members, write, read).ok())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seeds_give_every_valid_setting_and_every_way_of_creation() {
        for members in [3, 5] {
            let drawn: Vec<Settings> = (0..2_000)
                .map(|seed| Settings::of_seed(seed, members))
                .collect();
            for quorums in valid_quorums(members) {
                for creation in [Creation::Before, Creation::Raced] {
                    let settings = Settings { quorums, creation };
                    assert!(drawn.contains(&settings), "{settings:?}");
                }
            }
            assert!(drawn.contains(&Settings::claimed(members)));
        }
        assert_eq!((valid_quorums(3).len(), valid_quorums(5).len()), (6, 15));
    }

    #[test]
    fn what_is_needed_is_the_largest_quorum_of_any_step() {
        let needed = |write, read| {
            let quorums = Quorums::new(5, write, read).expect("they overlap");
            let creation = Creation::Before;
            Settings { quorums, creation }.members_needed()
        };
        assert_eq!(
            [needed(3, 3), needed(4, 2), needed(1, 5), needed(2, 4)],
            [3, 4, 5, 4]
        );
    }
}
