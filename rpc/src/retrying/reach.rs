//! Where the attempts of calls go.

use std::fmt;
use std::sync::Arc;

use sealmoot_crypto::signature::KeyId;

use crate::binding::balance::EndpointId;
use crate::binding::endpoints::{Endpoints, Seat, Wanted};
use crate::client::Connection;
use crate::link::Link;
use crate::status::{Code, Execution, Status};

/// One place, or the endpoints of a name.
pub(super) enum Reach {
    One(Link),
    Named(Arc<Endpoints>),
}

/// A connection for one attempt.
pub(super) struct Lease {
    pub(super) connection: Connection,
    seat: Option<Seat>,
}

impl Reach {
    /// A connection, as soon as there is one; one to `server`, if only that may be
    /// asked, and else rather not at an endpoint in `tried`. Callers put a deadline
    /// around it.
    ///
    /// # Errors
    ///
    /// There is nobody to wait for: [`Execution::NotSent`].
    pub(super) async fn lease(
        &self,
        tried: &[EndpointId],
        server: Option<KeyId>,
    ) -> Result<Lease, Status> {
        match self {
            Self::One(link) => {
                let connection = link.up().await;
                if server.is_some_and(|server| server != connection.peer().key_id()) {
                    let message = "another server answers, which cannot know whether the call ran";
                    return Err(Status::new(Code::Unavailable, Execution::NotSent, message));
                }
                Ok(Lease {
                    connection,
                    seat: None,
                })
            }
            Self::Named(endpoints) => {
                let seat = endpoints.seat(&Wanted { tried, server }).await?;
                Ok(Lease::at(seat))
            }
        }
    }

    /// One that stands now, for an attempt beside the one that is in `tried`.
    pub(super) fn lease_now(&self, tried: &[EndpointId]) -> Option<Lease> {
        match self {
            Self::One(link) => {
                let connection = link.connection().ok()?;
                Some(Lease {
                    connection,
                    seat: None,
                })
            }
            Self::Named(endpoints) => Some(Lease::at(endpoints.seat_now(tried)?)),
        }
    }

    /// Whether a call that has failed at these could be sent elsewhere at once.
    pub(super) fn has_other(&self, tried: &[EndpointId]) -> bool {
        match self {
            Self::One(_) => false,
            Self::Named(endpoints) => endpoints.is_any_up(|id, _| !tried.contains(&id)),
        }
    }

    /// Whether a call could be sent at once.
    pub(super) fn is_up(&self) -> bool {
        match self {
            Self::One(link) => link.connection().is_ok(),
            Self::Named(endpoints) => endpoints.is_up(),
        }
    }

    /// Why not, if it could not.
    pub(super) fn cause(&self) -> Option<String> {
        match self {
            Self::One(link) => link.connection().err(),
            Self::Named(endpoints) if endpoints.is_up() => None,
            Self::Named(endpoints) => Some(endpoints.cause()),
        }
    }
}

impl Lease {
    fn at(seat: Seat) -> Self {
        Self {
            connection: seat.connection().clone(),
            seat: Some(seat),
        }
    }

    /// At which endpoint, where there are several.
    pub(super) fn endpoint(&self) -> Option<EndpointId> {
        self.seat.as_ref().map(Seat::id)
    }

    /// The attempt has ended so.
    pub(super) fn end<T>(self, outcome: &Result<T, Status>) {
        if let Some(seat) = self.seat {
            seat.end(outcome);
        }
    }

    /// What keeps the endpoint counted while a stream lasts.
    pub(super) fn into_parts(self) -> (Connection, Option<Seat>) {
        (self.connection, self.seat)
    }
}

impl fmt::Debug for Reach {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::One(link) => link.fmt(formatter),
            Self::Named(endpoints) => endpoints.fmt(formatter),
        }
    }
}
