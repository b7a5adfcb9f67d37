//! What a server serves, told to those who ask.
//!
//! A server that has it ([`Router::with_reflection`]) tells every admitted client
//! the names, schemas and methods of its services. A tool builds calls from that; a
//! client compares schemas right after it connected, and so knows before the first
//! call whether both mean the same by their bytes:
//!
//! ```no_run
//! # use std::time::Duration;
//! # use sealmoot_rpc::{Connection, ServiceDescriptor};
//! # async fn example(
//! #     connection: &Connection,
//! #     descriptor: &ServiceDescriptor,
//! # ) -> Result<(), Box<dyn std::error::Error>> {
//! let served = sealmoot_rpc::reflection::services(connection, Duration::from_secs(1)).await?;
//! served.check(descriptor)?;
//! # Ok(())
//! # }
//! ```
//!
//! What a server says is believed as far as its calls are: it is the word of the
//! peer that the channel verified.

mod served;

use std::time::Duration;

use prost::Message;

use crate::builtin::{Reflection as Answers, reflection_methods};
use crate::caller::Caller;
use crate::client::{CallOptions, Connection};
use crate::descriptor::{MethodDescriptor, ServiceDescriptor};
use crate::retry::{Guard, Idempotency as Promise};
use crate::service::{CallContext, DuplicateMethod, MethodKind, Router};
use crate::status::{Code, Execution, Status};

pub use crate::builtin::{
    DescribeReply, DescribeRequest, Idempotency, Kind, Method, ReflectionClient, ServiceSummary,
    ServicesReply, ServicesRequest,
};
pub use reflection_methods::SERVICE;
pub use served::{MalformedServices, SchemaMismatch, ServedSchema, ServedSchemas};

/// The service: tells what a router answers.
#[derive(Clone, Debug)]
pub struct Reflection {
    services: Vec<&'static ServiceDescriptor>,
}

/// [`Reflection`] as a [`Service`](crate::Service).
pub type ReflectionServer = crate::builtin::ReflectionServer<Reflection>;

impl Reflection {
    /// Tells what `router` answers now, and of itself. Services without a schema
    /// are not told.
    #[must_use]
    pub fn new(router: &Router) -> Self {
        let services = router.descriptors().chain([&SERVICE]).collect();
        Self { services }
    }
}

impl Router {
    /// The router with [`Reflection`] of all that was added before. It tells at
    /// most [`SERVICES_MAX`](crate::limits::reflection::SERVICES_MAX) services to
    /// our clients, itself included: they refuse longer lists.
    ///
    /// # Errors
    ///
    /// It is answered already.
    pub fn with_reflection(self) -> Result<Self, DuplicateMethod> {
        let reflection = Reflection::new(&self);
        self.service(ReflectionServer::new(reflection))
    }
}

impl Answers for Reflection {
    async fn services(&self, _: CallContext, _: ServicesRequest) -> Result<ServicesReply, Status> {
        let services = self.services.iter().map(|service| ServiceSummary {
            name: service.name.to_owned(),
            fingerprint: bytes::Bytes::from_static(service.fingerprint.as_bytes()),
            earlier: earlier(service),
        });
        Ok(ServicesReply {
            services: services.collect(),
        })
    }

    async fn describe(
        &self,
        _: CallContext,
        request: DescribeRequest,
    ) -> Result<DescribeReply, Status> {
        let found = self
            .services
            .iter()
            .find(|service| service.name == request.service);
        let Some(service) = found else {
            let message = "no service of that name has a schema here";
            return Err(Status::new(Code::NotFound, Execution::NotStarted, message));
        };
        Ok(DescribeReply {
            name: service.name.to_owned(),
            fingerprint: bytes::Bytes::from_static(service.fingerprint.as_bytes()),
            earlier: earlier(service),
            methods: service.methods.iter().map(method).collect(),
            file_descriptors: bytes::Bytes::from_static(service.file_descriptors),
        })
    }
}

fn earlier(service: &ServiceDescriptor) -> Vec<bytes::Bytes> {
    let earlier = service.earlier.iter();
    earlier
        .map(|fingerprint| bytes::Bytes::from_static(fingerprint.as_bytes()))
        .collect()
}

fn method(method: &MethodDescriptor) -> Method {
    let kind = match method.kind {
        MethodKind::Unary => Kind::Unary,
        MethodKind::ClientStream => Kind::ClientStream,
        MethodKind::ServerStream => Kind::ServerStream,
        MethodKind::Bidirectional => Kind::Bidirectional,
    };
    let (idempotency, at_most_once) = match method.guard {
        Guard::Method(Promise::Unknown) => (Idempotency::Unknown, false),
        Guard::Method(Promise::NoSideEffects) => (Idempotency::NoSideEffects, false),
        Guard::Method(Promise::Idempotent) => (Idempotency::Idempotent, false),
        Guard::Once => (Idempotency::Unknown, true),
    };
    Method {
        name: method.name.to_owned(),
        number: method.number,
        kind: kind.into(),
        idempotency: idempotency.into(),
        at_most_once,
    }
}

/// Asks the server what it serves.
///
/// # Errors
///
/// [`ReflectionError`]: it does not tell, the call failed, or nobody can believe
/// the answer.
pub async fn services(
    connection: &Connection,
    timeout: Duration,
) -> Result<ServedSchemas, ReflectionError> {
    let request = ServicesRequest {}.encode_to_vec().into();
    let options = CallOptions::new(timeout);
    let guard = Guard::Method(Promise::NoSideEffects);
    let reply = Caller::call(
        connection,
        reflection_methods::SERVICES,
        guard,
        request,
        &options,
    )
    .await
    .map_err(|status| match status.code() {
        Code::Unimplemented => ReflectionError::Absent,
        _ => ReflectionError::Failed(status),
    })?;
    Ok(ServedSchemas::decode(reply)?)
}

/// Why it is not known what a server serves.
#[derive(Debug, thiserror::Error)]
pub enum ReflectionError {
    /// The server does not tell: whether to call it nevertheless is the caller's
    /// choice.
    #[error("the server does not tell what it serves (Router::with_reflection)")]
    Absent,
    /// The call failed.
    #[error("asking what the server serves: {0}")]
    Failed(#[source] Status),
    /// The answer is none that can be believed.
    #[error("the server tells what it serves, and it makes no sense: {0}")]
    Malformed(#[from] MalformedServices),
}
