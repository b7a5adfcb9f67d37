//! What a server says that it serves, over a real connection; and servers that
//! say what makes no sense.
#![allow(missing_docs, unreachable_pub)]

mod common;

use std::sync::Arc;

use common::{Anyone, PATIENCE, TestService, connect, key};
use sealmoot_rpc::binding::Fingerprint;
use sealmoot_rpc::bytes::Bytes;
use sealmoot_rpc::limits::reflection::{EARLIER_MAX, SERVICES_BYTES_MAX, SERVICES_MAX};
use sealmoot_rpc::prost::Message;
use sealmoot_rpc::reflection::{
    DescribeRequest, Idempotency, Kind, MalformedServices, ReflectionClient, ReflectionError,
    SERVICE, SchemaMismatch, ServiceSummary, ServicesReply, services,
};
use sealmoot_rpc::{
    CallContext, Code, Connection, Execution, Limits, ReplyFuture, Router, Server, ServerHandle,
    Service, ServiceDescriptor,
};
use tokio::net::TcpListener;

/// Has a schema, and no method that is called here.
struct Echo;

#[allow(dead_code)]
mod echo {
    pub mod v1 {
        include!("../codegen/tests/golden/echo.v1.rs");
    }
}
mod shared {
    pub mod v1 {
        include!("../codegen/tests/golden/shared.v1.rs");
    }
}

const ECHO: &ServiceDescriptor = &echo::v1::echo_methods::SERVICE;

impl Service for Echo {
    fn methods(&self) -> &[u64] {
        &echo::v1::echo_methods::ALL
    }

    fn descriptor(&self) -> Option<&'static ServiceDescriptor> {
        Some(ECHO)
    }

    fn call(&self, _: CallContext, _: u64, body: Bytes) -> ReplyFuture {
        Box::pin(std::future::ready(Ok(body)))
    }
}

async fn serve(router: Router) -> (ServerHandle, Connection) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let anyone = Arc::new(Anyone(b""));
    let server = Server::start(listener, &key(), anyone, router, Limits::default())
        .expect("sound configuration");
    let connection = connect(&server).await;
    (server, connection)
}

async fn reflecting() -> (ServerHandle, Connection) {
    let router = Router::new()
        .service(TestService::default())
        .and_then(|router| router.service(Echo))
        .and_then(Router::with_reflection)
        .expect("no duplicates");
    serve(router).await
}

#[tokio::test]
async fn a_server_lists_its_services_and_itself() {
    let (_server, connection) = reflecting().await;
    let served = services(&connection, PATIENCE).await.expect("an answer");
    let listed: Vec<_> = served
        .iter()
        .map(|(service, schema)| (service, schema.fingerprint))
        .collect();
    let expected = [ECHO, &SERVICE].map(|service| (service.name, service.fingerprint));
    assert_eq!(listed, expected);
    assert_eq!(served.check(ECHO), Ok(()));
    assert_eq!(served.check(&SERVICE), Ok(()));
    let other = ServiceDescriptor {
        fingerprint: Fingerprint::from_bytes([1; 32]),
        ..*ECHO
    };
    let mismatch = SchemaMismatch::Other {
        service: ECHO.name.to_owned(),
        found: ECHO.fingerprint,
    };
    assert_eq!(served.check(&other), Err(mismatch));
}

#[tokio::test]
async fn a_service_is_described_with_its_methods_and_its_schema() {
    let (_server, connection) = reflecting().await;
    let client = ReflectionClient::new(connection);
    let request = DescribeRequest {
        service: ECHO.name.to_owned(),
    };
    let reply = client.describe(request, PATIENCE).await.expect("known");
    assert_eq!(reply.name, ECHO.name);
    assert_eq!(reply.fingerprint, &ECHO.fingerprint.as_bytes()[..]);
    assert_eq!(reply.earlier.len(), ECHO.earlier.len());
    assert_eq!(reply.file_descriptors, ECHO.file_descriptors);
    let methods: Vec<_> = reply
        .methods
        .iter()
        .map(|method| {
            let (kind, idempotency) = (method.kind(), method.idempotency());
            let name = method.name.as_str();
            (name, method.number, kind, idempotency, method.at_most_once)
        })
        .collect();
    use echo::v1::echo_methods::{ALL_, CHAT, COLLECT, FORGET, LIST, MATCH, NOTE, SAY};
    let unknown = Idempotency::Unknown;
    assert_eq!(
        methods,
        [
            ("Say", SAY, Kind::Unary, unknown, false),
            ("Match", MATCH, Kind::Unary, unknown, false),
            ("All", ALL_, Kind::Unary, Idempotency::NoSideEffects, false),
            ("Note", NOTE, Kind::Unary, unknown, true),
            (
                "Forget",
                FORGET,
                Kind::Unary,
                Idempotency::Idempotent,
                false
            ),
            ("Collect", COLLECT, Kind::ClientStream, unknown, false),
            ("List", LIST, Kind::ServerStream, unknown, false),
            ("Chat", CHAT, Kind::Bidirectional, unknown, false),
        ]
    );
}

#[tokio::test]
async fn a_service_that_nobody_knows_is_not_described() {
    let (_server, connection) = reflecting().await;
    let client = ReflectionClient::new(connection);
    for service in ["", "echo.v1.Ech", "echo.v1.Echo2", "Echo"] {
        let request = DescribeRequest {
            service: service.to_owned(),
        };
        let status = client.describe(request, PATIENCE).await;
        let status = status.expect_err("unknown");
        assert_eq!(status.code(), Code::NotFound, "{service:?}");
        assert_eq!(status.execution(), Execution::NotStarted, "{service:?}");
    }
}

#[tokio::test]
async fn a_server_without_reflection_is_told_from_one_that_fails() {
    let router = Router::new().service(Echo).expect("no duplicates");
    let (server, connection) = serve(router).await;
    let absent = services(&connection, PATIENCE).await;
    assert!(matches!(absent, Err(ReflectionError::Absent)), "{absent:?}");
    drop(server);
    connection.closed().await;
    let failed = services(&connection, PATIENCE).await;
    let Err(ReflectionError::Failed(status)) = &failed else {
        panic!("{failed:?}");
    };
    assert_eq!(status.code(), Code::Unavailable);
}

#[test]
fn reflection_is_added_once() {
    let router = Router::new().with_reflection().expect("the first");
    assert!(router.with_reflection().is_err());
}

#[test]
fn the_generator_and_the_client_agree_on_how_many_schemas_are_earlier_ones() {
    assert_eq!(sealmoot_rpc_codegen::EARLIER_MAX, EARLIER_MAX);
}

/// Answers every question for services with these bytes.
struct Liar(Bytes);

impl Service for Liar {
    fn methods(&self) -> &[u64] {
        std::slice::from_ref(&SERVICE.methods[0].number)
    }

    fn call(&self, _: CallContext, _: u64, _: Bytes) -> ReplyFuture {
        Box::pin(std::future::ready(Ok(self.0.clone())))
    }
}

async fn judged(reply: impl Into<Bytes>) -> MalformedServices {
    let router = Router::new().service(Liar(reply.into())).expect("one");
    let (_server, connection) = serve(router).await;
    match services(&connection, PATIENCE).await {
        Err(ReflectionError::Malformed(fault)) => fault,
        other => panic!("{other:?}"),
    }
}

fn reply(summaries: impl IntoIterator<Item = (String, usize, usize)>) -> Vec<u8> {
    let services = summaries.into_iter().map(|(name, length, earlier)| {
        let fingerprint = Bytes::from(vec![7; length]);
        ServiceSummary {
            name,
            earlier: vec![fingerprint.clone(); earlier],
            fingerprint,
        }
    });
    let services = services.collect();
    ServicesReply { services }.encode_to_vec()
}

#[tokio::test]
async fn a_fingerprint_of_another_length_is_not_believed() {
    for length in [0, 31, 33, 64] {
        let fault = judged(reply([("a.S".to_owned(), length, 0)])).await;
        let service = "a.S".to_owned();
        assert_eq!(
            fault,
            MalformedServices::FingerprintLength { service, length }
        );
    }
}

#[tokio::test]
async fn more_services_than_any_server_has_are_not_believed() {
    let count = SERVICES_MAX + 1;
    let many = (0..count).map(|index| (format!("s{index}"), 32, 0));
    let fault = judged(reply(many)).await;
    assert_eq!(fault, MalformedServices::TooManyServices { count });
}

#[tokio::test]
async fn more_earlier_schemas_than_the_generator_writes_are_not_believed() {
    let count = EARLIER_MAX + 1;
    let service = "a.S".to_owned();
    let fault = judged(reply([(service.clone(), 32, count)])).await;
    assert_eq!(fault, MalformedServices::TooManyEarlier { service, count });
}

#[tokio::test]
async fn a_service_that_is_listed_twice_is_not_believed() {
    let service = || "a.S".to_owned();
    let fault = judged(reply([(service(), 32, 0), (service(), 32, 1)])).await;
    let service = service();
    assert_eq!(fault, MalformedServices::ServiceTwice { service });
}

#[tokio::test]
async fn a_name_that_is_none_is_not_believed() {
    let fault = judged(reply([("\u{1b}[31m".to_owned(), 32, 0)])).await;
    assert_eq!(fault, MalformedServices::ServiceName);
}

#[tokio::test]
async fn garbage_is_not_believed() {
    for garbage in [&[0xff; 9][..], &[0x0a, 0x7f], b"services"] {
        let fault = judged(garbage.to_vec()).await;
        assert!(
            matches!(fault, MalformedServices::Undecodable(_)),
            "{fault:?}"
        );
    }
}

#[tokio::test]
async fn a_list_longer_than_any_is_refused_unread() {
    // Empty entries, two bytes each, which take eighty in memory.
    let length = SERVICES_BYTES_MAX + 1;
    let fault = judged([0x0a, 0].repeat(length.div_ceil(2))).await;
    let length = length.div_ceil(2) * 2;
    assert_eq!(fault, MalformedServices::TooLong { length });
}
