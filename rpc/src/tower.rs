//! Calls as requests of a `tower` service, so that its layers wrap them.
//!
//! [`CallerService`] is a [`Caller`](crate::Caller) as a `tower_service::Service`;
//! [`TowerCaller`] is a service as a caller, which generated clients call
//! over. Between the two stand any layers:
//!
//! ```
//! use sealmoot_rpc::Caller;
//! use sealmoot_rpc::tower::{CallerService, TowerCaller};
//!
//! fn layered<C: Caller + Clone + 'static>(caller: C) -> impl Caller {
//!     TowerCaller::new(caller, |service: CallerService<C>| {
//!         // A layer of tower takes a service and returns one:
//!         // tower::ServiceBuilder::new().load_shed().concurrency_limit(64).service(service)
//!         service
//!     })
//! }
//! ```
//!
//! Calls with streams pass beside the layers, straight to the caller: to a layer
//! a request is over with its answer, and a stream has none.

mod caller;
mod service;

use std::sync::Arc;

use bytes::Bytes;

use crate::client::CallOptions;
use crate::retry::Guard;

pub use caller::TowerCaller;
pub use service::CallerService;

/// A call without a stream, as layers see it.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Request {
    /// Which method.
    pub method: u64,
    /// Why sending it again cannot act twice, if it cannot. A layer that sends
    /// requests again must heed it.
    pub guard: Guard,
    /// The request's message.
    pub body: Bytes,
    /// Timeout and metadata.
    pub options: CallOptions,
    /// Shared by the clones of a request.
    trail: Arc<service::Trail>,
    /// When the caller stops waiting; none when that is too far away to count. What
    /// layers take of the time is not given to the call again.
    deadline: Option<tokio::time::Instant>,
}

impl Request {
    /// A call of `method`.
    pub fn new(method: u64, guard: Guard, body: Bytes, options: CallOptions) -> Self {
        let deadline = tokio::time::Instant::now().checked_add(options.timeout);
        Self {
            method,
            guard,
            body,
            options,
            trail: Arc::default(),
            deadline,
        }
    }
}
