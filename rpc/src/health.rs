//! Whether a server, and each of its services, is ready for calls.
//!
//! The program says it by a [`HealthReporter`]; whoever may call the server asks
//! once or watches. A server that drains is not ready, whatever its program says:
//! every watcher for which there is room is told so at once, and its call ends well;
//! the others' calls fail, so that none holds up the drain.
//!
//! ```
//! # use sealmoot_rpc::{Router, health::{HealthStatus, health_service}};
//! # fn example(services: Router) -> Result<Router, sealmoot_rpc::DuplicateMethod> {
//! let (reporter, health) = health_service(&services);
//! let router = services.service(health)?.with_reflection()?;
//! // Later, when the store behind it is away:
//! reporter.set("shop.v1.Store", HealthStatus::NotServing);
//! # Ok(router)
//! # }
//! ```

use std::collections::HashMap;

use tokio::sync::watch;

use crate::builtin::{Health as Answers, HealthServer, health_methods};
use crate::descriptor::ServiceDescriptor;
use crate::frame::HEADER_BYTES;
use crate::limits::STREAM_WINDOW_BYTES;
use crate::service::{CallContext, ReplyFuture, Router, Service, StreamFuture};
use crate::status::{Code, Execution, Status};
use crate::streams::{RawReplies, Replies};

pub use crate::builtin::{HealthClient, HealthReply, HealthRequest, ServingStatus};
pub use health_methods::SERVICE;

/// Whether calls make sense now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum HealthStatus {
    /// They do.
    Serving,
    /// They do not, and are answered nevertheless.
    NotServing,
}

/// What is told, and heard by every watcher when it changes. Nothing is queued: a
/// watcher that was busy sees the newest.
#[derive(Debug)]
struct Told {
    /// By full name; under the empty one the server as a whole. Bounded by what
    /// the program names.
    statuses: HashMap<String, HealthStatus>,
    is_draining: bool,
}

impl Told {
    fn of(&self, service: &str) -> Option<HealthStatus> {
        let status = *self.statuses.get(service)?;
        Some(if self.is_draining {
            HealthStatus::NotServing
        } else {
            status
        })
    }
}

/// Health as the program tells it: the server as a whole and each service of
/// `router` are [`HealthStatus::Serving`] until it says otherwise, the health
/// service itself among them. The [`HealthService`] belongs into a router of one
/// server.
#[must_use]
pub fn health_service(router: &Router) -> (HealthReporter, HealthService) {
    let names = router.descriptors().chain([&SERVICE]);
    let names = names.map(|descriptor| descriptor.name).chain([""]);
    let told = Told {
        statuses: names
            .map(|name| (name.to_owned(), HealthStatus::Serving))
            .collect(),
        is_draining: false,
    };
    let told = watch::Sender::new(told);
    let answers = Checks { told: told.clone() };
    let service = HealthService {
        told: told.clone(),
        server: HealthServer::new(answers),
    };
    (HealthReporter { told }, service)
}

/// Says whether calls make sense. Clones say it of the same server.
#[derive(Clone, Debug)]
pub struct HealthReporter {
    told: watch::Sender<Told>,
}

impl HealthReporter {
    /// The status of `service`, by full name, from now on; of the server as a
    /// whole under the empty name. The one says nothing of the other. A name that
    /// was never told of is known from now on.
    pub fn set(&self, service: &str, status: HealthStatus) {
        self.told.send_if_modified(|told| {
            let before = told.statuses.get_mut(service);
            match before {
                Some(before) => std::mem::replace(before, status) != status,
                None => {
                    told.statuses.insert(service.to_owned(), status);
                    true
                }
            }
        });
    }
}

/// The service `sealmoot.rpc.v1.Health`.
#[derive(Clone, Debug)]
pub struct HealthService {
    told: watch::Sender<Told>,
    server: HealthServer<Checks>,
}

impl Service for HealthService {
    fn methods(&self) -> &[u64] {
        self.server.methods()
    }

    fn descriptor(&self) -> Option<&'static ServiceDescriptor> {
        self.server.descriptor()
    }

    fn kind(&self, method: u64) -> crate::MethodKind {
        self.server.kind(method)
    }

    fn call(&self, context: CallContext, method: u64, body: bytes::Bytes) -> ReplyFuture {
        self.server.call(context, method, body)
    }

    fn server_stream(
        &self,
        context: CallContext,
        method: u64,
        body: bytes::Bytes,
        replies: RawReplies,
    ) -> StreamFuture {
        self.server.server_stream(context, method, body, replies)
    }

    fn draining(&self) {
        self.told
            .send_if_modified(|told| !std::mem::replace(&mut told.is_draining, true));
    }
}

/// So many statuses, of two bytes each, are paid for by the credit with which a
/// stream begins.
const CREDITED: usize = STREAM_WINDOW_BYTES / (HEADER_BYTES + 2);

/// Answers from what is told.
#[derive(Clone, Debug)]
struct Checks {
    told: watch::Sender<Told>,
}

impl Answers for Checks {
    async fn check(&self, _: CallContext, request: HealthRequest) -> Result<HealthReply, Status> {
        let status = self.told.borrow().of(&request.service);
        status.map(reply).ok_or_else(unknown)
    }

    async fn watch(
        &self,
        _: CallContext,
        request: HealthRequest,
        mut replies: Replies<HealthReply>,
    ) -> Result<(), Status> {
        // One for each call: bounded by the calls in flight.
        let mut told = self.told.subscribe();
        let (mut said, mut said_count) = (None, 0);
        loop {
            let (status, is_draining) = {
                let told = told.borrow_and_update();
                (told.of(&request.service), told.is_draining)
            };
            let Some(status) = status else {
                return Err(unknown());
            };
            if is_draining {
                // Who may owe us credit is not waited for: a failure throws away
                // what it has not paid for.
                return if said_count >= CREDITED {
                    Err(gone())
                } else if said == Some(status) {
                    Ok(())
                } else {
                    say_at_once(&mut replies, status).await
                };
            }
            if said != Some(status) {
                let reply = reply(status);
                tokio::select! {
                    biased;
                    sent = replies.send(&reply) => sent?,
                    // The watcher does not read. What waits to be said is thrown
                    // away for the newest, and a drain is not held up.
                    changed = told.changed() => {
                        changed.map_err(|_| gone())?;
                        continue;
                    }
                }
                said = Some(status);
                said_count += 1;
            }
            told.changed().await.map_err(|_| gone())?;
        }
    }
}

/// Ends the call well only if the watcher has been told: the server waits for it.
async fn say_at_once(
    replies: &mut Replies<HealthReply>,
    status: HealthStatus,
) -> Result<(), Status> {
    let reply = reply(status);
    tokio::select! {
        biased;
        sent = replies.send(&reply) => sent,
        () = std::future::ready(()) => Err(gone()),
    }
}

fn reply(status: HealthStatus) -> HealthReply {
    let status = match status {
        HealthStatus::Serving => ServingStatus::Serving,
        HealthStatus::NotServing => ServingStatus::NotServing,
    };
    HealthReply {
        status: status.into(),
    }
}

fn unknown() -> Status {
    let message = "no service of that name is here";
    Status::new(Code::NotFound, Execution::NotStarted, message)
}

/// The watcher has not heard the last word.
fn gone() -> Status {
    let message = "the server is shutting down";
    Status::new(Code::Unavailable, Execution::Executed, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_program_says_during_a_drain_makes_nothing_ready() {
        let (reporter, service) = health_service(&Router::new());
        let of = |name| service.told.borrow().of(name);
        assert_eq!(of(""), Some(HealthStatus::Serving));
        service.draining();
        for name in ["", SERVICE.name, "shop.v1.Store"] {
            reporter.set(name, HealthStatus::Serving);
            assert_eq!(of(name), Some(HealthStatus::NotServing), "{name:?}");
        }
        assert_eq!(of("nobody.v1.Knows"), None);
    }
}
