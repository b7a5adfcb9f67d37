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
    fn settings_without_overlap_are_refused() {
        assert_eq!(Quorums::new(3, 1, 2), Err(BadQuorum::NoOverlap));
        assert_eq!(Quorums::new(3, 0, 3), Err(BadQuorum::OutOfRange));
        assert_eq!(Quorums::new(3, 4, 1), Err(BadQuorum::OutOfRange));
        assert!(Quorums::new(3, 3, 1).is_ok());
    }
}
