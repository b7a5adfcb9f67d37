//! Hearing from an endpoint whether it is ready.
//!
//! Where the server has the health service, each wanted service is watched over the
//! connection that its calls use. An endpoint that is not ready is left alone before
//! a call fails there, and is back as soon as it says so.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use tokio::task::JoinHandle;
use tokio::time::sleep;

use super::super::balance::EndpointId;
use super::super::binder::Dialled;
use super::Endpoints;
use crate::client::Connection;
use crate::health::{HealthClient, HealthRequest, ServingStatus};
use crate::limits::binding::{HEALTH_REST, HEALTH_WATCH};
use crate::status::Code;

/// One service, watched for as long as this lives: its task keeps the connection
/// open.
pub(super) struct Watch(JoinHandle<()>);

impl Drop for Watch {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Watches what can be watched over a new connection.
pub(super) fn watches(endpoints: &Arc<Endpoints>, id: EndpointId, dialled: &Dialled) -> Vec<Watch> {
    let unready = Arc::new(Mutex::new(BTreeSet::new()));
    let each = dialled.watchable.iter().map(|service| {
        let told = Told {
            endpoints: Arc::downgrade(endpoints),
            id,
            service,
            unready: Arc::clone(&unready),
        };
        Watch(tokio::spawn(watch(dialled.connection.clone(), told)))
    });
    each.collect()
}

/// What is heard of one service.
struct Told {
    endpoints: Weak<Endpoints>,
    id: EndpointId,
    service: &'static str,
    /// Services at this endpoint that are not ready: with one of them it is none
    /// that all calls of the name can go to.
    unready: Arc<Mutex<BTreeSet<&'static str>>>,
}

impl Told {
    fn tell(&self, is_ready: bool) {
        let Some(endpoints) = self.endpoints.upgrade() else {
            return;
        };
        // Held while it is told, so that the last to change is the last to tell.
        let mut unready = self.unready.lock().unwrap_or_else(PoisonError::into_inner);
        if is_ready {
            unready.remove(self.service);
        } else {
            unready.insert(self.service);
        }
        endpoints.ready(self.id, unready.is_empty());
    }
}

async fn watch(connection: Connection, told: Told) {
    let client = HealthClient::new(connection);
    loop {
        let request = HealthRequest {
            service: told.service.to_owned(),
        };
        let mut replies = match client.watch(request, HEALTH_WATCH).await {
            Ok(replies) => replies,
            Err(_) if client.caller().is_closed() => return,
            // There are too many calls. What was heard last must not stand for
            // as long as the connection does.
            Err(_) => {
                sleep(HEALTH_REST).await;
                continue;
            }
        };
        let ended = loop {
            match replies.next().await {
                Ok(Some(reply)) => told.tell(reply.status() != ServingStatus::NotServing),
                Ok(None) => break None,
                Err(status) => break Some(status.code()),
            }
        };
        match ended {
            // It does not know the service, or does not tell us: then its calls
            // are what shows whether it is ready.
            Some(Code::NotFound | Code::Unimplemented | Code::PermissionDenied) => {
                return told.tell(true);
            }
            _ if client.caller().is_closed() => return,
            _ => sleep(HEALTH_REST).await,
        }
    }
}
