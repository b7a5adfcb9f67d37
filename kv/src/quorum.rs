//! How many members each step needs: computed once, from the replication factor,
//! never given by a caller.

/// A setting of N, W and R that is no quorum system.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadQuorum {
    /// W or R is zero or above N.
    #[error("W and R must be between 1 and N")]
    OutOfRange,
    /// A read could miss the last write.
    #[error("W + R must be above N, or a read could miss the last write")]
    NoOverlap,
}

/// Sizes of quorums (REPLICATION rule 8).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Quorums {
    members: usize,
    write: usize,
    read: usize,
}

impl Quorums {
    /// N members, W of which hold a write and R of which answer a read.
    ///
    /// # Errors
    /// [`BadQuorum`].
    pub fn new(members: usize, write: usize, read: usize) -> Result<Self, BadQuorum> {
        if !(1..=members).contains(&write) || !(1..=members).contains(&read) {
            return Err(BadQuorum::OutOfRange);
        }
        if write + read <= members {
            return Err(BadQuorum::NoOverlap);
        }
        Ok(Self {
            members,
            write,
            read,
        })
    }

    /// A majority for both, which is the default: (3, 2, 2) for three members.
    ///
    /// # Panics
    /// When there is no member, which no roster allows.
    #[must_use]
    pub fn majority(members: usize) -> Self {
        let majority = members / 2 + 1;
        Self::new(members, majority, majority).expect("two majorities overlap")
    }

    /// N.
    #[must_use]
    pub fn members(self) -> usize {
        self.members
    }

    /// W: how many must hold a state for it to be chosen.
    #[must_use]
    pub fn write(self) -> usize {
        self.write
    }

    /// R: how many answer a `quorum` read.
    #[must_use]
    pub fn read(self) -> usize {
        self.read
    }

    /// P = max(floor(N/2)+1, N-W+1): how many must promise, so that every promise
    /// meets every other and every chosen state.
    #[must_use]
    pub fn prepare(self) -> usize {
        (self.members / 2 + 1).max(self.members - self.write + 1)
    }

    /// max(P, N-R+1): how many must have left an epoch, so that nothing is promised,
    /// accepted or read in it any more (REPLICATION rule 7).
    #[must_use]
    pub fn fence(self) -> usize {
        self.prepare().max(self.members - self.read + 1)
    }

    /// What these settings mean for another number of members: a majority stays a
    /// majority, anything else keeps its proportions, rounded up. W·M/N + R·M/N > M
    /// because W + R > N, and rounding up only adds.
    ///
    /// # Panics
    /// When there is no member, which no set of members allows.
    #[must_use]
    pub fn scaled_to(self, members: usize) -> Self {
        if members == self.members {
            return self;
        }
        if self == Self::majority(self.members) {
            return Self::majority(members);
        }
        let scaled = |part: usize| (part * members).div_ceil(self.members);
        Self::new(members, scaled(self.write), scaled(self.read))
            .expect("proportions rounded up keep the overlap")
    }

    /// max(R, W): how many must answer a linearizable read.
    #[must_use]
    pub fn linearizable_read(self) -> usize {
        self.read.max(self.write)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_members_need_two_for_everything() {
        let quorums = Quorums::majority(3);
        assert_eq!((quorums.write(), quorums.read()), (2, 2));
        assert_eq!((quorums.prepare(), quorums.linearizable_read()), (2, 2));
    }

    #[test]
    fn promises_meet_each_other_and_every_chosen_state() {
        for members in 1..=9 {
            for write in 1..=members {
                for read in 1..=members {
                    let Ok(quorums) = Quorums::new(members, write, read) else {
                        assert!(write + read <= members);
                        continue;
                    };
                    assert!(2 * quorums.prepare() > members);
                    assert!(quorums.prepare() + write > members);
                }
            }
        }
    }

    #[test]
    fn nothing_happens_in_an_epoch_that_enough_members_have_left() {
        for members in 1..=9 {
            for write in 1..=members {
                for read in members - write + 1..=members {
                    let quorums = Quorums::new(members, write, read).expect("overlap");
                    let left = members - quorums.fence();
                    assert!(left < quorums.write() && left < quorums.read());
                    assert!(left < quorums.prepare());
                }
            }
        }
    }

    #[test]
    fn settings_for_another_number_of_members_overlap_and_a_majority_stays_one() {
        for members in 1..=9 {
            for write in 1..=members {
                for read in members - write + 1..=members {
                    let quorums = Quorums::new(members, write, read).expect("overlap");
                    for other in 1..=9 {
                        assert_eq!(quorums.scaled_to(other).members(), other);
                    }
                }
            }
        }
        assert_eq!(Quorums::majority(3).scaled_to(5), Quorums::majority(5));
        let all = Quorums::new(3, 3, 1).expect("overlap").scaled_to(4);
        assert_eq!((all.write(), all.read()), (4, 2));
    }

    #[test]
    fn settings_without_overlap_are_refused() {
        assert_eq!(Quorums::new(3, 1, 2), Err(BadQuorum::NoOverlap));
        assert_eq!(Quorums::new(3, 0, 3), Err(BadQuorum::OutOfRange));
        assert_eq!(Quorums::new(3, 4, 1), Err(BadQuorum::OutOfRange));
        assert!(Quorums::new(3, 3, 1).is_ok());
    }
}
