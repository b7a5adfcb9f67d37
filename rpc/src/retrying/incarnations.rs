//! The incarnations in which a client numbers its at-most-once calls.

use std::collections::HashMap;
use std::sync::{Arc, Weak};
use std::time::Instant;

use bytes::Bytes;
use sealmoot_crypto::secret::SecretArray;
use sealmoot_crypto::signature::KeyId;
use tokio::sync::watch;

use super::Shared;
use super::now;
use crate::client::Connection;
use crate::limits::{ONCE_OPEN_TIMEOUT, ONCE_SERVERS_MAX};
use crate::multiplexer::Extras;
use crate::once::session::{Session, Unopened};
use crate::once::{Incarnation, OnceId};
use crate::status::{Code, Execution, Status};

/// Opens an incarnation instead of calling a method.
const OPEN: u64 = 0;

/// The answer to an open, once there is one.
type Opened = Option<Result<(), Status>>;

/// By server: what one knows, another does not.
#[derive(Default)]
pub(super) struct Incarnations {
    servers: HashMap<KeyId, Known>,
}

#[derive(Default)]
struct Known {
    /// The last is the current one; those before have calls that are not settled.
    sessions: Vec<Session>,
    opening: Option<watch::Receiver<Opened>>,
}

/// The name of a call, settled when it is dropped: no attempt is sent under it
/// from then on.
pub(super) struct Place {
    shared: Arc<Shared>,
    server: KeyId,
    incarnation: Incarnation,
    sequence: u64,
}

impl Place {
    /// A name for a call to the server of this connection.
    pub(super) async fn take(
        shared: &Arc<Shared>,
        connection: &Connection,
    ) -> Result<Self, Status> {
        let server = connection.peer().key_id();
        loop {
            let mut opened = {
                let mut state = shared.state();
                let known = state.incarnations.server(server);
                let session = known.sessions.last_mut();
                if let Some(session) = session
                    && let Ok(sequence) = session.begin(now())
                {
                    return Ok(Self {
                        shared: Arc::clone(shared),
                        server,
                        incarnation: session.incarnation(),
                        sequence,
                    });
                }
                match &known.opening {
                    // Its task is alive.
                    Some(opened) if opened.has_changed().is_ok() => opened.clone(),
                    _ => {
                        let opened = open(shared, connection)?;
                        known.opening = Some(opened.clone());
                        opened
                    }
                }
            };
            let answer = match opened.wait_for(Option::is_some).await {
                Ok(answer) => answer.clone(),
                Err(_) => None,
            };
            match answer {
                Some(Ok(())) => {}
                Some(Err(status)) => {
                    let message = format!("no incarnation: {}", status.message());
                    return Err(Status::new(status.code(), Execution::NotSent, message)
                        .with_details(status.details().clone()));
                }
                None => {
                    let message = "no incarnation: the connection was closed";
                    return Err(Status::new(Code::Unavailable, Execution::NotSent, message));
                }
            }
        }
    }

    pub(super) fn server(&self) -> KeyId {
        self.server
    }

    /// What the next attempt carries.
    pub(super) fn id(&self) -> OnceId {
        self.with_session(|session| session.id(self.sequence))
            .expect("a session stays while a call in it is not settled")
    }

    /// An attempt that was sent then shows that the server has used the
    /// incarnation.
    pub(super) fn heard(&self, sent: Instant) {
        self.with_session(|session| session.heard(sent));
    }

    /// The server does not know the incarnation.
    pub(super) fn lost(&self) {
        self.with_session(Session::lost);
    }

    fn with_session<T>(&self, act: impl FnOnce(&mut Session) -> T) -> Option<T> {
        let mut state = self.shared.state();
        let known = state.incarnations.servers.get_mut(&self.server)?;
        let mut sessions = known.sessions.iter_mut();
        sessions
            .find(|session| session.incarnation() == self.incarnation)
            .map(act)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.with_session(|session| session.settle(self.sequence));
    }
}

impl Incarnations {
    fn server(&mut self, server: KeyId) -> &mut Known {
        if self.servers.len() >= ONCE_SERVERS_MAX && !self.servers.contains_key(&server) {
            // What is left is bounded by the calls that are under way.
            self.servers.retain(|_, known| {
                known.opening.is_some() || !known.sessions.iter().all(Session::is_settled)
            });
        }
        self.servers.entry(server).or_default()
    }
}

/// Opens an incarnation, in a task of its own: a caller that leaves meanwhile
/// must not leave an incarnation behind at the server that nobody uses.
fn open(shared: &Arc<Shared>, connection: &Connection) -> Result<watch::Receiver<Opened>, Status> {
    let random = SecretArray::<16>::random().map_err(|_| {
        let message = "the system gives no random numbers";
        Status::new(Code::Internal, Execution::NotSent, message)
    })?;
    let unopened = Unopened::with_horizon(*random.expose(), shared.policy.once_horizon);
    let (tell, opened) = watch::channel(None);
    let (shared, connection) = (Arc::downgrade(shared), connection.clone());
    tokio::spawn(async move {
        let answer = opened_by(&connection, unopened, &shared).await;
        tell.send_replace(Some(answer));
    });
    Ok(opened)
}

async fn opened_by(
    connection: &Connection,
    unopened: Unopened,
    shared: &Weak<Shared>,
) -> Result<(), Status> {
    let (id, opening) = unopened.send(now());
    let extras = Extras {
        once: Some(id),
        ..Extras::default()
    };
    let outcome = connection
        .call_extra(OPEN, Bytes::new(), ONCE_OPEN_TIMEOUT, &extras)
        .await;
    let Some(shared) = shared.upgrade() else {
        return Ok(());
    };
    let mut state = shared.state();
    let known = state.incarnations.server(connection.peer().key_id());
    known.opening = None;
    let session = opening.answered(outcome)?;
    known.sessions.retain(|session| !session.is_settled());
    known.sessions.push(session);
    Ok(())
}
