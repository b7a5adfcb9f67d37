//! Why a service did not do what it was asked, and what the peer is told.

use sealmoot_rpc::binding::{BadName, RecordError};
use sealmoot_rpc::{Code, Execution, Status};
use tokio::sync::mpsc::error::TrySendError;

use crate::book::PublishError;
use crate::store::writer::{Command, WriteError};

/// Why not.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// Something that is no name.
    #[error(transparent)]
    Name(BadName),
    /// A record that is not believed.
    #[error(transparent)]
    Record(RecordError),
    /// The peer may not do this with the name, whether or not there is such a name.
    #[error("the peer may not do this with that name")]
    Denied,
    /// No record of the name counts.
    #[error("no such name")]
    NotFound,
    /// The book has no place for the record.
    #[error(transparent)]
    Book(PublishError),
    /// Too many publishes wait for the disk.
    #[error("too many publishes are waiting")]
    Busy,
    /// The peer has too many watches open, or all have.
    #[error("too many watches are open")]
    TooManyWatches,
    /// The server ends: watch at another, or again.
    #[error("the server is shutting down")]
    Draining,
    /// The disk failed with this record: after a restart it may be there or not.
    #[error("the record may not have been kept: the store has failed")]
    WriteFailed,
    /// The disk failed before, or the service was stopped.
    #[error("the service takes no records until it is restarted")]
    Closed,
}

impl Refusal {
    pub(super) fn of_queue(error: TrySendError<Command>) -> Self {
        match error {
            TrySendError::Full(_) => Self::Busy,
            TrySendError::Closed(_) => Self::Closed,
        }
    }

    pub(super) fn of_write(error: WriteError) -> Self {
        match error {
            WriteError::Refused(error) => Self::Book(error),
            WriteError::Failed => Self::WriteFailed,
            WriteError::FailedBefore => Self::Closed,
        }
    }
}

/// What travels. Of a record that is not believed, the peer learns that and not
/// more; which it was is the operator's to see.
impl From<Refusal> for Status {
    fn from(refusal: Refusal) -> Self {
        use Execution::{Executed, MaybeExecuted, NotStarted};
        let (code, execution, message) = match &refusal {
            Refusal::Name(_) => (Code::InvalidArgument, NotStarted, "not a name"),
            Refusal::Record(RecordError::UnknownSigner(_)) => (
                Code::PermissionDenied,
                NotStarted,
                "the record's signer is not believed for that name",
            ),
            Refusal::Record(_) => (
                Code::InvalidArgument,
                NotStarted,
                "not a record that can be believed",
            ),
            Refusal::Denied => (Code::PermissionDenied, NotStarted, "not for this peer"),
            // A question has been answered: asking again changes nothing.
            Refusal::NotFound => (Code::NotFound, Executed, "no such name"),
            Refusal::Book(PublishError::Expired) => (
                Code::FailedPrecondition,
                NotStarted,
                "the record has expired",
            ),
            Refusal::Book(PublishError::OlderSerial { .. }) => {
                (Code::Aborted, NotStarted, "a newer record was published")
            }
            Refusal::Book(PublishError::SerialReused { .. }) => (
                Code::AlreadyExists,
                NotStarted,
                "another record with this serial was published",
            ),
            Refusal::Book(PublishError::PrefixFull { .. }) => (
                Code::ResourceExhausted,
                NotStarted,
                "as many names stand under the prefix as may",
            ),
            Refusal::Book(PublishError::Full) => (
                Code::ResourceExhausted,
                NotStarted,
                "the service keeps as many records as it can",
            ),
            Refusal::Busy => (Code::ResourceExhausted, NotStarted, "busy"),
            Refusal::TooManyWatches => (Code::ResourceExhausted, NotStarted, "too many watches"),
            Refusal::Draining => (Code::Unavailable, Executed, "shutting down"),
            Refusal::WriteFailed => (Code::Unavailable, MaybeExecuted, "the store has failed"),
            Refusal::Closed => (
                Code::Unavailable,
                NotStarted,
                "no records are taken until a restart",
            ),
        };
        Self::new(code, execution, message)
    }
}
