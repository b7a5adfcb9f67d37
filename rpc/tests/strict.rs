//! Messages that are taken in one encoding alone, by generated stubs.
#![allow(missing_docs, unreachable_pub, clippy::unwrap_used)]

mod common;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use common::{Anyone, PATIENCE, connect, key};
use sealmoot_rpc::bytes::Bytes;
use sealmoot_rpc::prost::Message;
use sealmoot_rpc::{
    CallContext, CallOptions, Code, Connection, Execution, Limits, MethodKind, RawReplies,
    RawRequests, Replies, ReplyFuture, Requests, Router, Server, ServerHandle, Service, Status,
    StreamFuture, StrictError, decode_strict,
};
use strict::v1::form::Manner;
use strict::v1::{Form, Registry, RegistryClient, RegistryServer, registry_methods};
use tokio::net::TcpListener;

// Some of its messages are there not to be marked.
#[allow(dead_code)]
mod strict {
    pub mod v1 {
        include!("../codegen/tests/golden/strict.v1.rs");
    }
}

fn form() -> Form {
    Form {
        count: 300,
        name: "a".to_owned(),
        numbers: vec![1, 2],
        manner: Some(Manner::Loud(true)),
        offset: Some(0),
        inner: Some(Box::new(Form {
            count: 1,
            ..Form::default()
        })),
        ratio: f64::NAN,
        mood: 1,
        last: true,
        ..Form::default()
    }
}

/// Bytes that decode as a form and are not its encoding, with what is wrong.
const OTHERS: [(&str, &[u8]); 19] = [
    ("a varint that is not minimal", b"\x08\x81\x00"),
    ("a tag that is not minimal", b"\x88\x00\x01"),
    ("a length that is not minimal", b"\x12\x81\x00a"),
    ("fields in another order", b"\x12\x01a\x08\x01"),
    ("a default written out", b"\x08\x00"),
    ("an empty string written out", b"\x12\x00"),
    ("an empty list written out", b"\x1a\x00"),
    ("an unknown field", b"\x08\x01\xa0\x06\x01"),
    ("a list that is not packed", b"\x18\x01\x18\x02"),
    ("a packed list in two parts", b"\x1a\x01\x01\x1a\x01\x02"),
    ("a number twice", b"\x08\x01\x08\x02"),
    ("the same number twice", b"\x08\x01\x08\x01"),
    (
        "a message in two parts",
        b"\x3a\x02\x08\x01\x3a\x03\x12\x01a",
    ),
    ("two members of a oneof", b"\x20\x01\x2a\x01x"),
    ("a truth that is not one", b"\x60\x02"),
    (
        "a number too large for its type",
        b"\x08\x81\x80\x80\x80\x10",
    ),
    ("a negative zero", b"\x41\x00\x00\x00\x00\x00\x00\x00\x80"),
    ("within a message, a default", b"\x3a\x02\x08\x00"),
    (
        "within a message, an unknown field",
        b"\x3a\x03\xa0\x06\x01",
    ),
];

#[test]
fn the_encoding_of_a_message_is_taken() {
    for form in [Form::default(), form()] {
        let bytes = Bytes::from(form.encode_to_vec());
        let decoded: Form = decode_strict(bytes.clone()).expect("its own");
        assert_eq!(decoded.encode_to_vec(), bytes);
    }
    assert_eq!(decode_strict::<()>(Bytes::new()), Ok(()));
    // Presence is a value, and so are the bits of NaN.
    for bytes in [
        &b"\x30\x00"[..],
        b"\x2a\x00",
        b"\x20\x00",
        b"\x3a\x00",
        b"\x41\x01\x00\x00\x00\x00\x00\xf8\x7f",
        b"\x41\x02\x00\x00\x00\x00\x00\xf8\xff",
        b"\x50\x07",
    ] {
        let decoded = decode_strict::<Form>(Bytes::from_static(bytes));
        assert!(decoded.is_ok(), "{bytes:?}");
    }
}

#[test]
fn other_encodings_are_refused() {
    for (what, bytes) in OTHERS {
        let bytes = Bytes::from_static(bytes);
        assert!(Form::decode(bytes.clone()).is_ok(), "{what}: lenient");
        let refused = decode_strict::<Form>(bytes).expect_err(what);
        assert_eq!(refused, StrictError::NotDeterministic, "{what}");
    }
    assert_eq!(
        decode_strict::<()>(Bytes::from_static(b"\x08\x01")),
        Err(StrictError::NotDeterministic)
    );
}

#[test]
fn what_does_not_decode_at_all_is_said_so() {
    for bytes in [
        &b"\x08"[..],
        b"\xff",
        b"\x12\x05a",
        b"\x12\x01\xff",
        b"\x0b",
    ] {
        let refused = decode_strict::<Form>(Bytes::from_static(bytes));
        assert!(matches!(refused, Err(StrictError::Decode(_))), "{bytes:?}");
    }
}

/// No two byte strings of three are taken for one form.
#[test]
fn no_message_has_two_encodings_of_three_bytes() {
    let mut taken = 0;
    for first in 0..=0x70_u8 {
        for second in 0..=0xff_u8 {
            for third in 0..=0x2f_u8 {
                let bytes = Bytes::from(vec![first, second, third]);
                if let Ok(form) = decode_strict::<Form>(bytes.clone()) {
                    assert_eq!(form.encode_to_vec(), bytes);
                    taken += 1;
                }
            }
        }
    }
    assert!(taken > 100, "{taken}");
}

#[derive(Clone, Default)]
struct Desk(Arc<AtomicUsize>);

impl Desk {
    fn count(&self) -> usize {
        self.0.load(Ordering::SeqCst)
    }

    fn enter(&self) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

impl Registry for Desk {
    async fn check(&self, _: CallContext, form: Form) -> Result<Form, Status> {
        self.enter();
        Ok(form)
    }

    async fn lenient(&self, _: CallContext, form: Form) -> Result<Form, Status> {
        self.enter();
        Ok(form)
    }

    async fn clear(&self, _: CallContext, (): ()) -> Result<(), Status> {
        self.enter();
        Ok(())
    }

    async fn collect(&self, _: CallContext, mut forms: Requests<Form>) -> Result<Form, Status> {
        let mut last = Form::default();
        while let Some(form) = forms.next().await? {
            self.enter();
            last = form;
        }
        Ok(last)
    }

    async fn list(
        &self,
        _: CallContext,
        form: Form,
        mut replies: Replies<Form>,
    ) -> Result<(), Status> {
        self.enter();
        replies.send(&form).await
    }
}

async fn serve(service: impl Service) -> (ServerHandle, Connection) {
    let router = Router::new().service(service).expect("no duplicates");
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let authorizer = Arc::new(Anyone(b""));
    let server = Server::start(listener, &key(), authorizer, router, Limits::default())
        .expect("sound configuration");
    let connection = connect(&server).await;
    (server, connection)
}

#[tokio::test]
async fn a_strict_server_takes_what_a_strict_client_sends() {
    let desk = Desk::default();
    let (_server, connection) = serve(RegistryServer::new(desk.clone())).await;
    let client = RegistryClient::new(connection);
    let reply = client.check(form(), PATIENCE).await.expect("an answer");
    assert_eq!(reply.encode_to_vec(), form().encode_to_vec());
    client.clear((), PATIENCE).await.expect("an answer");
    let mut replies = client.list(form(), PATIENCE).await.expect("a connection");
    assert!(replies.next().await.expect("a form").is_some());
    let (mut forms, reply) = client.collect(PATIENCE).await.expect("a connection");
    forms.send(&form()).await.expect("room");
    forms.finish();
    assert_eq!(reply.await.expect("an answer").count, 300);
    assert_eq!(desk.count(), 4);
}

#[tokio::test]
async fn a_strict_server_starts_nothing_for_another_encoding() {
    let desk = Desk::default();
    let (_server, connection) = serve(RegistryServer::new(desk.clone())).await;
    for (what, bytes) in OTHERS {
        let call = connection.call(registry_methods::CHECK, bytes, PATIENCE);
        let status = call.await.expect_err(what);
        assert_eq!(status.code(), Code::InvalidArgument, "{what}");
        assert_eq!(status.execution(), Execution::NotStarted, "{what}");
        let options = CallOptions::new(PATIENCE);
        let mut replies = connection
            .server_stream(registry_methods::LIST, bytes, &options)
            .expect("a connection");
        let status = replies.next().await.expect_err(what);
        assert_eq!(status.execution(), Execution::NotStarted, "{what}");
        let (mut forms, reply) = connection
            .client_stream(registry_methods::COLLECT, &options)
            .expect("a connection");
        forms.send(bytes).await.expect("room");
        forms.finish();
        let status = reply.await.expect_err(what);
        assert_eq!(status.code(), Code::InvalidArgument, "{what}");
        assert_eq!(status.execution(), Execution::MaybeExecuted, "{what}");
    }
    let call = connection.call(registry_methods::CLEAR, &b"\x08\x01"[..], PATIENCE);
    assert_eq!(
        call.await.expect_err("unknown").code(),
        Code::InvalidArgument
    );
    assert_eq!(desk.count(), 0);
    for (what, bytes) in OTHERS {
        let call = connection.call(registry_methods::LENIENT, bytes, PATIENCE);
        call.await.expect(what);
    }
}

/// Answers everything with the same bytes.
struct Sloppy(&'static [u8]);

impl Service for Sloppy {
    fn methods(&self) -> &[u64] {
        &registry_methods::ALL
    }

    fn kind(&self, method: u64) -> MethodKind {
        match method {
            registry_methods::COLLECT => MethodKind::ClientStream,
            registry_methods::LIST => MethodKind::ServerStream,
            _ => MethodKind::Unary,
        }
    }

    fn call(&self, _: CallContext, _: u64, _: Bytes) -> ReplyFuture {
        let reply = Bytes::from_static(self.0);
        Box::pin(async move { Ok(reply) })
    }

    fn client_stream(&self, context: CallContext, method: u64, _: RawRequests) -> ReplyFuture {
        self.call(context, method, Bytes::new())
    }

    fn server_stream(
        &self,
        _: CallContext,
        _: u64,
        _: Bytes,
        mut replies: RawReplies,
    ) -> StreamFuture {
        let reply = Bytes::from_static(self.0);
        Box::pin(async move { replies.send(reply).await })
    }
}

#[tokio::test]
async fn a_strict_client_takes_no_other_encoding_of_a_reply() {
    for (what, bytes) in OTHERS {
        let (_server, connection) = serve(Sloppy(bytes)).await;
        let client = RegistryClient::new(connection);
        let status = client.check(form(), PATIENCE).await.expect_err(what);
        assert_eq!(status.code(), Code::Internal, "{what}");
        assert_eq!(status.execution(), Execution::Executed, "{what}");
        let (_forms, reply) = client.collect(PATIENCE).await.expect("a connection");
        let status = reply.await.expect_err(what);
        assert_eq!(status.execution(), Execution::Executed, "{what}");
        let mut replies = client.list(form(), PATIENCE).await.expect("a connection");
        let status = replies.next().await.expect_err(what);
        assert_eq!(status.code(), Code::Internal, "{what}");
        client.lenient(form(), PATIENCE).await.expect(what);
    }
}
