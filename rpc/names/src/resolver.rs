//! Finding records at name services, none of which is trusted.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use sealmoot_crypto::signature::KeyId;
use sealmoot_rpc::binding::record::{VerifiedRecord, verify};
use sealmoot_rpc::binding::{Name, Resolution, ResolveError, Resolver, unix_ms};
use sealmoot_rpc::{Caller, Code};

use crate::limits::RESOLVE_TIMEOUT;
use crate::proto::{NamesClient, ResolveRequest};

mod first_of;

pub use first_of::FirstOf;

/// Asks one name service.
///
/// Over a [`Retrying`](sealmoot_rpc::Retrying) a service that is away is known only
/// when [`RESOLVE_TIMEOUT`] is over: whoever waits less, at
/// [`Binder::bind`](sealmoot_rpc::binding::Binder::bind), does not learn why.
///
/// What it answers is believed only if one of the trusted signers has signed it
/// for that name and its time is not over. A service can therefore withhold a
/// record or show an old one that still counts, and nothing else; against old ones
/// stands the floor of the [`cache`](sealmoot_rpc::binding::cache) that asks here.
pub struct NameServiceResolver<C> {
    client: NamesClient<C>,
    trusted: Vec<KeyId>,
    timeout: Duration,
}

impl<C: Caller + 'static> NameServiceResolver<C> {
    /// Asks over `caller`, and believes `trusted`.
    #[must_use]
    pub fn new(caller: C, trusted: &[KeyId]) -> Self {
        Self {
            client: NamesClient::new(caller),
            trusted: trusted.to_vec(),
            timeout: RESOLVE_TIMEOUT,
        }
    }

    /// The same with another time that one question may take; at first
    /// [`RESOLVE_TIMEOUT`].
    #[must_use]
    pub fn with_timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    async fn ask(&self, name: &Name) -> Result<Arc<VerifiedRecord>, ResolveError> {
        let request = ResolveRequest {
            name: name.to_string(),
        };
        let asking = self.client.resolve(request, self.timeout);
        let reply = asking.await.map_err(|status| match status.code() {
            Code::NotFound => ResolveError::NotFound(name.clone()),
            // Printed with what comes from the service escaped.
            _ => ResolveError::Unavailable(status.to_string()),
        })?;
        let record = verify(&reply.record, name, &self.trusted, unix_ms(), 0)?;
        Ok(Arc::new(record))
    }
}

impl<C: Caller + 'static> Resolver for NameServiceResolver<C> {
    fn resolve<'a>(&'a self, name: &'a Name) -> Resolution<'a> {
        Box::pin(self.ask(name))
    }
}

impl<C> fmt::Debug for NameServiceResolver<C> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("NameServiceResolver")
            .field("trusted", &self.trusted)
            .field("timeout", &self.timeout)
            .finish_non_exhaustive()
    }
}
