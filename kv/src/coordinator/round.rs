//! One round of questions to the members, and how each of them took it.

/// How a member took the question.
#[derive(Debug, Clone, PartialEq, Eq)]
enum State {
    /// It was not asked.
    Spared,
    /// No answer yet.
    Asked,
    /// It did what was asked.
    Done,
    /// A higher ballot stands in the way there.
    Refused,
    /// It could not be asked, and why.
    Failed(String),
}

/// How a member took the question, for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MemberReport {
    /// Whether it answered.
    pub answered: bool,
    /// Why not; empty when it answered or was not asked.
    pub cause: String,
}

/// One round of questions.
#[derive(Debug)]
pub(super) struct Round {
    number: u32,
    states: Vec<State>,
}

impl Round {
    pub(super) fn new(members: usize) -> Self {
        Self {
            number: 0,
            states: vec![State::Spared; members],
        }
    }

    /// Begins the next round: answers to this one no longer count.
    pub(super) fn restart(&mut self) {
        self.number = self.number.wrapping_add(1);
        // Failures stay visible until the member is asked again.
        for state in &mut self.states {
            if !matches!(state, State::Failed(_)) {
                *state = State::Spared;
            }
        }
    }

    /// Begins the next round and forgets failures too.
    pub(super) fn restart_fully(&mut self) {
        self.restart();
        self.states.fill(State::Spared);
    }

    pub(super) fn number(&self) -> u32 {
        self.number
    }

    pub(super) fn ask(&mut self, member: usize) {
        self.states[member] = State::Asked;
    }

    pub(super) fn done(&mut self, member: usize) {
        self.states[member] = State::Done;
    }

    pub(super) fn refuse(&mut self, member: usize) {
        self.states[member] = State::Refused;
    }

    pub(super) fn fail(&mut self, member: usize, cause: &str) {
        self.states[member] = State::Failed(cause.to_owned());
    }

    pub(super) fn is_spared(&self, member: usize) -> bool {
        self.states[member] == State::Spared
    }

    pub(super) fn is_done(&self, member: usize) -> bool {
        self.states[member] == State::Done
    }

    pub(super) fn count_done(&self) -> usize {
        self.count(|state| *state == State::Done)
    }

    /// Whether it has done it, or was asked and may still.
    pub(super) fn is_under_way(&self, member: usize) -> bool {
        matches!(self.states[member], State::Done | State::Asked)
    }

    /// Whether it has done it, or may when it is asked.
    pub(super) fn may_do(&self, member: usize) -> bool {
        matches!(
            self.states[member],
            State::Done | State::Asked | State::Spared
        )
    }

    pub(super) fn is_asked(&self, member: usize) -> bool {
        self.states[member] == State::Asked
    }

    /// Whether anybody was asked at all.
    pub(super) fn has_begun(&self) -> bool {
        self.states.iter().any(|state| *state != State::Spared)
    }

    pub(super) fn any_refused(&self) -> bool {
        self.states.contains(&State::Refused)
    }

    /// How many answered at all.
    pub(super) fn count_answered(&self) -> usize {
        self.count(|state| matches!(state, State::Done | State::Refused))
    }

    pub(super) fn reports(&self) -> Vec<MemberReport> {
        self.states
            .iter()
            .map(|state| MemberReport {
                answered: matches!(state, State::Done | State::Refused),
                cause: match state {
                    State::Failed(cause) => cause.clone(),
                    State::Asked => "not waited for".to_owned(),
                    State::Spared | State::Done | State::Refused => String::new(),
                },
            })
            .collect()
    }

    fn count(&self, matches: impl Fn(&State) -> bool) -> usize {
        self.states.iter().filter(|state| matches(state)).count()
    }
}
