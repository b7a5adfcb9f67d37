//! Rights that narrow those of a user: both have to allow what is done.

use crate::policy::{Grant, Role};

/// Most grants of one narrowing.
pub const NARROWING_GRANTS_MAX: usize = 16;

/// A list of grants that is neither empty nor longer than
/// [`NARROWING_GRANTS_MAX`]. Whatever is judged by it is judged by the user's roles
/// too, so it never adds a right.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Narrowing(Vec<Role>);

/// Why grants were not taken for a narrowing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadNarrowing {
    /// There is none. A list that allows nothing and one that was forgotten must not
    /// look alike.
    #[error("there is no grant to narrow to")]
    Empty,
    /// There are too many.
    #[error("at most {NARROWING_GRANTS_MAX} grants narrow a key")]
    TooMany,
}

impl Narrowing {
    /// Narrows to these grants.
    ///
    /// # Errors
    /// [`BadNarrowing`].
    pub fn new(grants: Vec<Grant>) -> Result<Self, BadNarrowing> {
        match grants.len() {
            0 => Err(BadNarrowing::Empty),
            1..=NARROWING_GRANTS_MAX => Ok(Self(grants.into_iter().map(Role::Grant).collect())),
            _ => Err(BadNarrowing::TooMany),
        }
    }

    /// The grants as rules that a policy decides by.
    #[must_use]
    pub fn rules(&self) -> &[Role] {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grants(count: usize) -> Vec<Grant> {
        (0..count)
            .map(|index| format!("k{index}:r").parse().expect("a grant"))
            .collect()
    }

    #[test]
    fn no_grants_and_too_many_are_no_narrowing() {
        assert_eq!(Narrowing::new(grants(0)), Err(BadNarrowing::Empty));
        let most = Narrowing::new(grants(NARROWING_GRANTS_MAX)).expect("taken");
        assert_eq!(most.rules().len(), NARROWING_GRANTS_MAX);
        let more = grants(NARROWING_GRANTS_MAX + 1);
        assert_eq!(Narrowing::new(more), Err(BadNarrowing::TooMany));
    }
}
