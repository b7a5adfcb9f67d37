//! How a call failed, and whether it may have had an effect.

use std::fmt;

use bytes::Bytes;

/// Whether a failed call can have had an effect. Never a guess in the
/// optimistic direction: what is not known not to have run is
/// [`Execution::MaybeExecuted`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Execution {
    /// No byte of the call left this process.
    NotSent,
    /// The server refused the call before its handler ran.
    NotStarted,
    /// Bytes of the call may have left, and nothing tells what became of them.
    MaybeExecuted,
    /// The handler ran to its end and answered with this error.
    Executed,
}

impl Execution {
    /// Whether the same request may be sent again without acting twice,
    /// whatever the method does.
    pub fn is_safe_to_retry(self) -> bool {
        matches!(self, Self::NotSent | Self::NotStarted)
    }

    pub(crate) fn to_wire(self) -> u8 {
        match self {
            // A peer has evidently received the call, so it cannot say
            // `NotSent` of it.
            Self::NotSent | Self::NotStarted => 1,
            Self::MaybeExecuted => 2,
            Self::Executed => 3,
        }
    }

    pub(crate) fn from_wire(number: u8) -> Self {
        match number {
            1 => Self::NotStarted,
            3 => Self::Executed,
            _ => Self::MaybeExecuted,
        }
    }
}

impl fmt::Display for Execution {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::NotSent => "not sent",
            Self::NotStarted => "not started",
            Self::MaybeExecuted => "maybe executed",
            Self::Executed => "executed",
        })
    }
}

/// What went wrong, coarsely: the number that travels.
///
/// A number that this version does not know reads as [`Code::Internal`], so
/// that a newer server's finer distinctions stay errors here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
#[repr(u16)]
pub enum Code {
    /// No error; never the code of a [`Status`].
    Ok = 0,
    /// The caller gave up.
    Cancelled = 1,
    /// The time for the call ran out.
    DeadlineExceeded = 2,
    /// The request is wrong whatever the state of the server.
    InvalidArgument = 3,
    /// What was asked for does not exist.
    NotFound = 4,
    /// What was to be made exists.
    AlreadyExists = 5,
    /// The caller is known and may not do this.
    PermissionDenied = 6,
    /// The caller is not known.
    Unauthenticated = 7,
    /// Busy: a quota or a queue is full.
    ResourceExhausted = 8,
    /// The server's state does not admit the request.
    FailedPrecondition = 9,
    /// Another request got there first.
    Aborted = 10,
    /// The server has no such method.
    Unimplemented = 11,
    /// A fault of the server.
    Internal = 12,
    /// The server cannot be reached or does not serve now.
    Unavailable = 13,
    /// Stored data is damaged.
    DataLoss = 14,
    /// The service cannot tell whether the request took effect.
    OutcomeUnknown = 15,
}

impl Code {
    /// The number on the wire.
    pub fn number(self) -> u16 {
        self as u16
    }

    /// The code with this number; an unknown number is [`Code::Internal`].
    pub fn from_number(number: u16) -> Self {
        match number {
            0 => Self::Ok,
            1 => Self::Cancelled,
            2 => Self::DeadlineExceeded,
            3 => Self::InvalidArgument,
            4 => Self::NotFound,
            5 => Self::AlreadyExists,
            6 => Self::PermissionDenied,
            7 => Self::Unauthenticated,
            8 => Self::ResourceExhausted,
            9 => Self::FailedPrecondition,
            10 => Self::Aborted,
            11 => Self::Unimplemented,
            13 => Self::Unavailable,
            14 => Self::DataLoss,
            15 => Self::OutcomeUnknown,
            _ => Self::Internal,
        }
    }

    /// The code of an error: a failure that calls itself [`Code::Ok`] would be
    /// read as a success by the other side, so it becomes [`Code::Internal`].
    pub(crate) fn of_failure(self) -> Self {
        match self {
            Self::Ok => Self::Internal,
            other => other,
        }
    }
}

impl fmt::Display for Code {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Ok => "ok",
            Self::Cancelled => "cancelled",
            Self::DeadlineExceeded => "deadline exceeded",
            Self::InvalidArgument => "invalid argument",
            Self::NotFound => "not found",
            Self::AlreadyExists => "already exists",
            Self::PermissionDenied => "permission denied",
            Self::Unauthenticated => "unauthenticated",
            Self::ResourceExhausted => "resource exhausted",
            Self::FailedPrecondition => "failed precondition",
            Self::Aborted => "aborted",
            Self::Unimplemented => "unimplemented",
            Self::Internal => "internal error",
            Self::Unavailable => "unavailable",
            Self::DataLoss => "data loss",
            Self::OutcomeUnknown => "outcome unknown",
        })
    }
}

/// A failed call: what went wrong, and whether it may have had an effect.
///
/// `message` may come from the peer: escape it where it is printed.
#[derive(Clone, Debug)]
pub struct Status {
    code: Code,
    execution: Execution,
    message: String,
    details: Bytes,
    /// The outcome of a call that was made, and not of the one that is answered.
    is_foreign: bool,
}

impl Status {
    /// A failure. `execution` has no default, because only the place that
    /// failed knows it. [`Code::Ok`] is no failure and becomes
    /// [`Code::Internal`].
    pub fn new(code: Code, execution: Execution, message: impl Into<String>) -> Self {
        Self {
            code: code.of_failure(),
            execution,
            message: message.into(),
            details: Bytes::new(),
            is_foreign: false,
        }
    }

    /// The same, as the outcome of a call that was made.
    pub(crate) fn foreign(mut self) -> Self {
        self.is_foreign = true;
        self
    }

    /// The same as the outcome of a handler.
    ///
    /// A handler that passes on the failure of a call of its own may have done
    /// something before it: that the one call did not start says nothing of the
    /// other. A handler that has done nothing makes a status that says so.
    pub(crate) fn of_handler(mut self) -> Self {
        let is_of_another_call = self.is_foreign || self.execution == Execution::NotSent;
        if is_of_another_call && self.execution.is_safe_to_retry() {
            self.execution = Execution::MaybeExecuted;
        }
        self
    }

    /// The same as a refusal of whoever stands before a call: it has gone no
    /// further, whatever a call of the refuser's own has done.
    pub(crate) fn refusing(mut self, execution: Execution) -> Self {
        self.execution = execution;
        self.is_foreign = false;
        self
    }

    /// The same failure with bytes for the caller's program, at most
    /// [`STATUS_DETAILS_BYTES_MAX`](crate::limits::STATUS_DETAILS_BYTES_MAX).
    #[must_use]
    pub fn with_details(mut self, details: impl Into<Bytes>) -> Self {
        self.details = details.into();
        self
    }

    /// What went wrong.
    pub fn code(&self) -> Code {
        self.code
    }

    /// Whether the call may have had an effect.
    pub fn execution(&self) -> Execution {
        self.execution
    }

    /// For people.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// For programs; empty when there are none.
    pub fn details(&self) -> &Bytes {
        &self.details
    }
}

/// Where a status comes from makes it no other.
impl PartialEq for Status {
    fn eq(&self, other: &Self) -> bool {
        self.code == other.code
            && self.execution == other.execution
            && self.message == other.message
            && self.details == other.details
    }
}

impl Eq for Status {}

impl fmt::Display for Status {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            formatter,
            "{}: {} ({})",
            self.code,
            self.message.escape_debug(),
            self.execution
        )
    }
}

impl std::error::Error for Status {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_round_trip_and_unknown_ones_are_internal() {
        for number in 0..16 {
            assert_eq!(Code::from_number(number).number(), number);
        }
        assert_eq!(Code::from_number(16), Code::Internal);
        assert_eq!(Code::from_number(u16::MAX), Code::Internal);
    }

    #[test]
    fn a_failure_is_never_ok() {
        let status = Status::new(Code::Ok, Execution::Executed, "");
        assert_eq!(status.code(), Code::Internal);
    }

    #[test]
    fn a_handler_that_passes_on_a_failure_may_have_done_something_before() {
        let by_handler = |execution| Status::new(Code::Unavailable, execution, "");
        for (status, becomes) in [
            (by_handler(Execution::NotStarted), Execution::NotStarted),
            (by_handler(Execution::NotSent), Execution::MaybeExecuted),
            (
                by_handler(Execution::NotStarted).foreign(),
                Execution::MaybeExecuted,
            ),
            (
                by_handler(Execution::NotSent).foreign(),
                Execution::MaybeExecuted,
            ),
            (
                by_handler(Execution::MaybeExecuted).foreign(),
                Execution::MaybeExecuted,
            ),
            (
                by_handler(Execution::Executed).foreign(),
                Execution::Executed,
            ),
        ] {
            assert_eq!(status.of_handler().execution(), becomes);
        }
    }

    #[test]
    fn a_refusal_is_of_the_call_that_it_refuses() {
        // Passed on from a call of the refuser's own.
        let foreign = Status::new(Code::Unavailable, Execution::Executed, "").foreign();
        for execution in [Execution::NotSent, Execution::NotStarted] {
            assert_eq!(foreign.clone().refusing(execution).execution(), execution);
        }
        let refusal = foreign.refusing(Execution::NotStarted).of_handler();
        assert_eq!(refusal.execution(), Execution::NotStarted);
    }

    #[test]
    fn a_peer_cannot_claim_not_sent() {
        assert_eq!(Execution::from_wire(0), Execution::MaybeExecuted);
        assert_eq!(Execution::from_wire(200), Execution::MaybeExecuted);
        assert_eq!(
            Execution::from_wire(Execution::NotSent.to_wire()),
            Execution::NotStarted
        );
        for execution in [
            Execution::NotStarted,
            Execution::MaybeExecuted,
            Execution::Executed,
        ] {
            assert_eq!(Execution::from_wire(execution.to_wire()), execution);
        }
    }

    #[test]
    fn control_characters_are_escaped_when_displayed() {
        let status = Status::new(Code::NotFound, Execution::Executed, "a\u{1b}[31m");
        assert_eq!(status.to_string(), "not found: a\\u{1b}[31m (executed)");
    }
}
