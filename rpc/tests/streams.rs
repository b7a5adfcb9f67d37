//! Streams of messages through generated stubs, in one process and over TLS.
#![allow(missing_docs, unreachable_pub)]

mod common;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use common::{Anyone, Gauge, PATIENCE, connector, key};
use echo::v1::{Echo, EchoClient, EchoServer, SayReply, SayRequest, echo_methods};
use sealmoot_rpc::bytes::Bytes;
use sealmoot_rpc::limits::STREAM_WINDOW_BYTES;
use sealmoot_rpc::{
    CallContext, CallOptions, Code, Execution, Limits, Metadata, Replies, Requests, Router, Server,
    ServerHandle, Status,
};
use tokio::net::TcpListener;

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

/// Does what it is told: "fail", "stop" and "hang" are orders, all else is
/// said again.
#[derive(Clone, Default)]
struct Talker {
    running: Gauge,
    sent: Arc<AtomicUsize>,
}

fn failure() -> Status {
    Status::new(Code::Aborted, Execution::Executed, "as I was told")
}

fn reply(words: impl Into<Bytes>) -> SayReply {
    SayReply {
        words: vec![words.into()],
    }
}

fn say(words: impl Into<Bytes>) -> SayRequest {
    times(words, 1)
}

fn times(words: impl Into<Bytes>, times: u32) -> SayRequest {
    SayRequest {
        words: words.into(),
        times,
        ..SayRequest::default()
    }
}

impl Echo for Talker {
    async fn say(&self, context: CallContext, _: SayRequest) -> Result<SayReply, Status> {
        let entries = context.metadata().iter();
        let shown = entries.map(|(key, value)| {
            let value = String::from_utf8_lossy(value);
            Bytes::from(format!("{key}={value}"))
        });
        Ok(SayReply {
            words: shown.collect(),
        })
    }

    async fn r#match(
        &self,
        _: CallContext,
        request: shared::v1::Empty,
    ) -> Result<shared::v1::Empty, Status> {
        Ok(request)
    }

    async fn all(&self, _: CallContext, _: SayRequest) -> Result<SayReply, Status> {
        Ok(SayReply::default())
    }

    async fn note(&self, _: CallContext, _: SayRequest) -> Result<(), Status> {
        Ok(())
    }

    async fn forget(&self, _: CallContext, (): ()) -> Result<(), Status> {
        Ok(())
    }

    async fn collect(
        &self,
        context: CallContext,
        mut requests: Requests<SayRequest>,
    ) -> Result<SayReply, Status> {
        let _running = self.running.enter();
        let mut words = Vec::new();
        if let Some(value) = context.metadata().get("k") {
            words.push(Bytes::copy_from_slice(value));
        }
        while let Some(request) = requests.next().await? {
            match &request.words[..] {
                b"fail" => return Err(failure()),
                b"stop" => break,
                b"hang" => std::future::pending().await,
                b"panic" => panic!("as I was told"),
                _ => words.push(request.words),
            }
        }
        Ok(SayReply { words })
    }

    async fn list(
        &self,
        context: CallContext,
        request: SayRequest,
        mut replies: Replies<SayReply>,
    ) -> Result<(), Status> {
        let _running = self.running.enter();
        if let Some(value) = context.metadata().get("k") {
            replies.send(&reply(value.to_vec())).await?;
        }
        for _ in 0..request.times {
            replies.send(&reply(request.words.clone())).await?;
            self.sent.fetch_add(1, Ordering::SeqCst);
        }
        match &request.words[..] {
            b"fail" => Err(failure()),
            b"hang" => std::future::pending().await,
            _ => Ok(()),
        }
    }

    async fn chat(
        &self,
        _: CallContext,
        mut requests: Requests<SayRequest>,
        mut replies: Replies<SayReply>,
    ) -> Result<(), Status> {
        let _running = self.running.enter();
        while let Some(request) = requests.next().await? {
            match &request.words[..] {
                b"fail" => return Err(failure()),
                b"stop" => break,
                b"deaf" => {
                    drop(requests);
                    return self.deafly(replies).await;
                }
                _ => {}
            }
            for _ in 0..request.times {
                replies.send(&reply(request.words.clone())).await?;
            }
        }
        Ok(())
    }
}

impl Talker {
    /// Goes on without its requests.
    async fn deafly(&self, mut replies: Replies<SayReply>) -> Result<(), Status> {
        for _ in 0..3 {
            tokio::time::sleep(Duration::from_millis(20)).await;
            replies.send(&reply(&b"what?"[..])).await?;
        }
        Ok(())
    }
}

struct World {
    talker: Talker,
    _server: ServerHandle,
    clients: [EchoClient; 2],
}

async fn world() -> World {
    world_of(Limits::default()).await
}

async fn world_of(limits: Limits) -> World {
    let talker = Talker::default();
    let router = Router::new()
        .service(EchoServer::new(talker.clone()))
        .expect("no duplicates");
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let authorizer = Arc::new(Anyone(b""));
    let server =
        Server::start(listener, &key(), authorizer, router, limits).expect("sound configuration");
    let connector = connector(Limits::default());
    let address = server.local_addr().to_string();
    let door = server.door();
    let memory = connector.connect_memory(&door, PATIENCE).await;
    let tls = connector.connect(&address, PATIENCE).await;
    let clients = [memory, tls].map(|connected| EchoClient::new(connected.expect("admitted")));
    World {
        talker,
        _server: server,
        clients,
    }
}

fn big(byte: u8) -> Bytes {
    Bytes::from(vec![byte; 200_000])
}

#[tokio::test]
async fn a_client_stream_is_collected() {
    let world = world().await;
    for client in &world.clients {
        let (mut requests, answer) = client.collect(PATIENCE).await.expect("room");
        let sent = [
            Bytes::from_static(b"one"),
            Bytes::new(),
            big(7),
            Bytes::from_static(b"four"),
        ];
        for words in &sent {
            requests.send(&say(words.clone())).await.expect("taken");
        }
        requests.finish();
        assert_eq!(answer.await.expect("an answer").words, sent);
    }
}

#[tokio::test]
async fn an_empty_client_stream_is_answered() {
    let world = world().await;
    for client in &world.clients {
        let (requests, answer) = client.collect(PATIENCE).await.expect("room");
        requests.finish();
        assert!(answer.await.expect("an answer").words.is_empty());
    }
}

#[tokio::test]
async fn a_server_stream_arrives_in_order_and_ends() {
    let world = world().await;
    for client in &world.clients {
        for words in [Bytes::from_static(b"word"), big(9)] {
            let mut replies = client
                .list(times(words.clone(), 50), PATIENCE)
                .await
                .expect("room");
            for _ in 0..50 {
                let message = replies.next().await.expect("no failure").expect("not over");
                assert_eq!(message, reply(words.clone()));
            }
            assert_eq!(replies.next().await, Ok(None));
            assert_eq!(replies.next().await, Ok(None), "it stays so");
        }
    }
}

#[tokio::test]
async fn a_large_request_opens_a_server_stream() {
    let world = world().await;
    for client in &world.clients {
        let mut replies = client.list(times(big(1), 1), PATIENCE).await.expect("room");
        assert_eq!(replies.next().await, Ok(Some(reply(big(1)))));
        assert_eq!(replies.next().await, Ok(None));
        let mut none = client.list(times(big(1), 0), PATIENCE).await.expect("room");
        assert_eq!(none.next().await, Ok(None));
    }
}

#[tokio::test]
async fn both_sides_talk_in_turn() {
    let world = world().await;
    for client in &world.clients {
        let (mut requests, mut replies) = client.chat(PATIENCE).await.expect("room");
        for round in 0..100_u8 {
            let words = vec![round; usize::from(round) * 500];
            requests.send(&say(words.clone())).await.expect("taken");
            assert_eq!(replies.next().await, Ok(Some(reply(words))));
        }
        requests.finish();
        assert_eq!(replies.next().await, Ok(None));
    }
}

#[tokio::test]
async fn an_early_answer_ends_a_client_stream() {
    let world = world().await;
    for client in &world.clients {
        let (mut requests, answer) = client.collect(PATIENCE).await.expect("room");
        requests.send(&say(&b"one"[..])).await.expect("taken");
        requests.send(&say(&b"stop"[..])).await.expect("taken");
        assert_eq!(answer.await.expect("an answer").words, [&b"one"[..]]);
        let status = requests.send(&say(big(1))).await.expect_err("over");
        assert_eq!(status.execution(), Execution::Executed);
        world.talker.running.reaches(0).await;
        assert!(!client.caller().is_closed());
    }
}

#[tokio::test]
async fn an_early_end_of_replies_ends_a_conversation() {
    let world = world().await;
    for client in &world.clients {
        let (mut requests, mut replies) = client.chat(PATIENCE).await.expect("room");
        requests.send(&say(&b"one"[..])).await.expect("taken");
        requests.send(&say(&b"stop"[..])).await.expect("taken");
        assert_eq!(replies.next().await, Ok(Some(reply(&b"one"[..]))));
        assert_eq!(replies.next().await, Ok(None));
        drop(requests);
        assert_eq!(replies.next().await, Ok(None), "a drop changes nothing now");
    }
}

#[tokio::test]
async fn a_failure_follows_the_messages_before_it() {
    let world = world().await;
    for client in &world.clients {
        let mut replies = client
            .list(times(&b"fail"[..], 0), PATIENCE)
            .await
            .expect("room");
        assert_eq!(replies.next().await, Err(failure()));
        let (mut requests, mut replies) = client.chat(PATIENCE).await.expect("room");
        requests.send(&say(&b"one"[..])).await.expect("taken");
        assert_eq!(replies.next().await, Ok(Some(reply(&b"one"[..]))));
        requests.send(&say(&b"fail"[..])).await.expect("taken");
        assert_eq!(replies.next().await, Err(failure()));
        assert_eq!(replies.next().await, Err(failure()), "again and again");
        assert_eq!(requests.send(&say(&b"x"[..])).await, Err(failure()));
        let (mut requests, answer) = client.collect(PATIENCE).await.expect("room");
        requests.send(&say(&b"fail"[..])).await.expect("taken");
        assert_eq!(answer.await, Err(failure()));
        assert!(!client.caller().is_closed());
    }
}

#[tokio::test]
async fn a_handler_that_panics_fails_its_call_alone() {
    let world = world().await;
    for client in &world.clients {
        let (mut requests, answer) = client.collect(PATIENCE).await.expect("room");
        requests.send(&say(&b"panic"[..])).await.expect("taken");
        let status = answer.await.expect_err("panicked");
        assert_eq!(
            (status.code(), status.execution()),
            (Code::Internal, Execution::MaybeExecuted)
        );
        let mut replies = client
            .list(say(&b"still"[..]), PATIENCE)
            .await
            .expect("room");
        assert_eq!(replies.next().await, Ok(Some(reply(&b"still"[..]))));
    }
}

#[tokio::test]
async fn dropping_either_end_cancels_the_handler() {
    let world = world().await;
    let running = &world.talker.running;
    for client in &world.clients {
        let (requests, answer) = client.collect(PATIENCE).await.expect("room");
        running.reaches(1).await;
        drop(requests);
        let status = answer.await.expect_err("cancelled");
        assert_eq!(
            (status.code(), status.execution()),
            (Code::Cancelled, Execution::MaybeExecuted)
        );
        running.reaches(0).await;

        let (requests, answer) = client.collect(PATIENCE).await.expect("room");
        running.reaches(1).await;
        drop(answer);
        running.reaches(0).await;
        drop(requests);

        let replies = client
            .list(times(&b"hang"[..], 5), PATIENCE)
            .await
            .expect("room");
        running.reaches(1).await;
        drop(replies);
        running.reaches(0).await;

        let (mut requests, replies) = client.chat(PATIENCE).await.expect("room");
        running.reaches(1).await;
        drop(replies);
        running.reaches(0).await;
        let status = requests.send(&say(&b"x"[..])).await.expect_err("cancelled");
        assert_eq!(status.code(), Code::Cancelled);
    }
}

#[tokio::test]
async fn a_finished_sink_may_be_dropped() {
    let world = world().await;
    for client in &world.clients {
        let (mut requests, mut replies) = client.chat(PATIENCE).await.expect("room");
        requests.send(&say(&b"one"[..])).await.expect("taken");
        requests.finish();
        tokio::task::yield_now().await;
        assert_eq!(replies.next().await, Ok(Some(reply(&b"one"[..]))));
        assert_eq!(replies.next().await, Ok(None));
    }
}

#[tokio::test]
async fn a_deadline_ends_every_kind() {
    let world = world().await;
    let soon = Duration::from_millis(300);
    // Two replies come before it.
    let later = Duration::from_secs(4);
    for client in &world.clients {
        let (_requests, answer) = client.collect(soon).await.expect("room");
        let status = answer.await.expect_err("too late");
        assert_eq!(status.code(), Code::DeadlineExceeded);
        let mut replies = client
            .list(times(&b"hang"[..], 2), later)
            .await
            .expect("room");
        for _ in 0..2 {
            assert_eq!(replies.next().await, Ok(Some(reply(&b"hang"[..]))));
        }
        let status = replies.next().await.expect_err("too late");
        assert_eq!(
            (status.code(), status.execution()),
            (Code::DeadlineExceeded, Execution::MaybeExecuted)
        );
        let (_requests, mut replies) = client.chat(soon).await.expect("room");
        let status = replies.next().await.expect_err("too late");
        assert_eq!(status.code(), Code::DeadlineExceeded);
        world.talker.running.reaches(0).await;
    }
}

#[tokio::test]
async fn the_servers_own_bound_ends_a_stream() {
    let world = world_of(Limits {
        stream_duration_max: Duration::from_millis(50),
        ..Limits::default()
    })
    .await;
    for client in &world.clients {
        let mut replies = client
            .list(times(&b"hang"[..], 0), PATIENCE)
            .await
            .expect("room");
        let status = replies.next().await.expect_err("too late");
        assert_eq!(status.code(), Code::DeadlineExceeded);
        world.talker.running.reaches(0).await;
    }
}

#[tokio::test]
async fn a_call_of_another_kind_is_not_started() {
    let world = world().await;
    let options = CallOptions::new(PATIENCE);
    for client in &world.clients {
        let connection = client.caller();
        let mut refused = Vec::new();
        for method in [
            echo_methods::COLLECT,
            echo_methods::LIST,
            echo_methods::CHAT,
        ] {
            let unary = connection.call(method, Bytes::new(), PATIENCE).await;
            refused.push(unary.expect_err("no unary method"));
        }
        for method in [echo_methods::SAY, echo_methods::COLLECT, echo_methods::CHAT] {
            let replies = connection.server_stream(method, Bytes::new(), &options);
            refused.push(replies.expect("room").next().await.expect_err("refused"));
        }
        for method in [echo_methods::SAY, echo_methods::LIST, echo_methods::CHAT] {
            let (_sink, answer) = connection.client_stream(method, &options).expect("room");
            refused.push(answer.await.expect_err("refused"));
        }
        for method in [echo_methods::SAY, echo_methods::LIST, echo_methods::COLLECT] {
            let (_sink, mut replies) = connection.bidirectional(method, &options).expect("room");
            refused.push(replies.next().await.expect_err("refused"));
        }
        for status in refused {
            assert_eq!(
                (status.code(), status.execution(), status.message()),
                (
                    Code::InvalidArgument,
                    Execution::NotStarted,
                    "the method is not of that kind"
                )
            );
        }
        assert!(!connection.is_closed());
        assert_eq!(world.talker.running.running(), 0);
    }
}

#[tokio::test]
async fn an_unknown_method_refuses_a_stream() {
    let world = world().await;
    let options = CallOptions::new(PATIENCE);
    for client in &world.clients {
        for method in [0, 12345] {
            let (_sink, mut replies) = client
                .caller()
                .bidirectional(method, &options)
                .expect("room");
            let status = replies.next().await.expect_err("unknown");
            assert_eq!(
                (status.code(), status.execution()),
                (Code::Unimplemented, Execution::NotStarted)
            );
        }
    }
}

#[tokio::test]
async fn a_message_that_does_not_decode_fails_the_call() {
    let world = world().await;
    let options = CallOptions::new(PATIENCE);
    for client in &world.clients {
        let (mut sink, answer) = client
            .caller()
            .client_stream(echo_methods::COLLECT, &options)
            .expect("room");
        sink.send(vec![0xff; 3]).await.expect("taken");
        let status = answer.await.expect_err("no message");
        assert_eq!(
            (status.code(), status.execution()),
            (Code::InvalidArgument, Execution::MaybeExecuted)
        );
    }
}

#[tokio::test]
async fn metadata_is_seen_by_handlers_of_every_kind() {
    let world = world().await;
    let mut metadata = Metadata::new();
    metadata.insert("traceparent", b"x").expect("sound");
    metadata.insert("k", b"v").expect("sound");
    let options = CallOptions::new(PATIENCE).with_metadata(metadata);
    for client in &world.clients {
        let answer = client.say_with(say(big(1)), &options).await;
        let words = answer.expect("an answer").words;
        assert_eq!(words, [&b"k=v"[..], b"traceparent=x"]);
        let answer = client.say(say(&b""[..]), PATIENCE).await;
        assert!(answer.expect("an answer").words.is_empty());
        let (requests, answer) = client.collect_with(&options).await.expect("room");
        requests.finish();
        assert_eq!(answer.await.expect("an answer").words, [&b"v"[..]]);
        let mut replies = client
            .list_with(times(big(1), 0), &options)
            .await
            .expect("room");
        assert_eq!(replies.next().await, Ok(Some(reply(&b"v"[..]))));
    }
}

/// The reader takes nothing of 100,000 messages, then all.
#[tokio::test]
async fn a_slow_reader_holds_its_sender_back() {
    const COUNT: u32 = 100_000;
    let world = world().await;
    let words = Bytes::from(vec![3; 1000]);
    for client in &world.clients {
        world.talker.sent.store(0, Ordering::SeqCst);
        let mut replies = client
            .list(times(words.clone(), COUNT), PATIENCE * 6)
            .await
            .expect("room");
        world.talker.running.reaches(1).await;
        // Other calls go on meanwhile, and time passes for the sender.
        for _ in 0..50 {
            client
                .say(say(&b""[..]), PATIENCE)
                .await
                .expect("an answer");
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        let sent = world.talker.sent.load(Ordering::SeqCst);
        let most = STREAM_WINDOW_BYTES / words.len() + 1;
        assert!((1..=most).contains(&sent), "{sent} messages sent");
        let mut taken = 0;
        while let Some(message) = replies.next().await.expect("no failure") {
            assert_eq!(message.words[0], words);
            taken += 1;
        }
        assert_eq!(taken, COUNT);
    }
}

#[tokio::test]
async fn a_handler_that_reads_nothing_holds_its_caller_back() {
    let world = world().await;
    for client in &world.clients {
        let (mut requests, _answer) = client.collect(PATIENCE).await.expect("room");
        requests.send(&say(&b"hang"[..])).await.expect("taken");
        let mut sent = 0;
        let all = async {
            loop {
                requests.send(&say(vec![1; 1000])).await.expect("no end");
                sent += 1;
            }
        };
        let waited = tokio::time::timeout(Duration::from_millis(100), all).await;
        assert!(waited.is_err(), "it waits for ever");
        assert!(sent <= STREAM_WINDOW_BYTES / 1000 + 1, "{sent}");
    }
}

#[tokio::test]
async fn a_handler_that_drops_its_requests_lets_its_caller_go_on() {
    let world = world().await;
    for client in &world.clients {
        let (mut requests, mut replies) = client.chat(PATIENCE).await.expect("room");
        requests.send(&say(&b"deaf"[..])).await.expect("taken");
        // Far more than a window: nobody reads it, and it must not wait.
        for _ in 0..20 {
            if requests.send(&say(big(1))).await.is_err() {
                break;
            }
        }
        for _ in 0..3 {
            assert_eq!(replies.next().await, Ok(Some(reply(&b"what?"[..]))));
        }
        assert_eq!(replies.next().await, Ok(None));
    }
}

#[tokio::test]
async fn a_lost_connection_ends_its_streams() {
    let world = world().await;
    for client in &world.clients {
        let (mut requests, mut replies) = client.chat(PATIENCE).await.expect("room");
        requests.send(&say(&b"one"[..])).await.expect("taken");
        assert_eq!(replies.next().await, Ok(Some(reply(&b"one"[..]))));
        client.caller().close();
        let status = replies.next().await.expect_err("lost");
        assert_eq!(status.execution(), Execution::MaybeExecuted);
        assert!(requests.send(&say(&b"two"[..])).await.is_err());
        assert!(client.chat(PATIENCE).await.is_err());
        world.talker.running.reaches(0).await;
    }
}

#[tokio::test]
async fn a_message_above_the_limit_ends_the_call() {
    let world = world_of(Limits {
        message_bytes_max: 100_000,
        ..Limits::default()
    })
    .await;
    for client in &world.clients {
        let (mut requests, answer) = client.collect(PATIENCE).await.expect("room");
        requests
            .send(&say(big(1)))
            .await
            .expect("our own limit is higher");
        let status = answer.await.expect_err("too large");
        assert_eq!(
            (status.code(), status.execution()),
            (Code::InvalidArgument, Execution::MaybeExecuted)
        );
        world.talker.running.reaches(0).await;
        let mut replies = client
            .list(times(vec![1; 200_000], 1), PATIENCE)
            .await
            .expect("room");
        let status = replies.next().await.expect_err("too large");
        assert_eq!(status.code(), Code::InvalidArgument);
        assert!(!client.caller().is_closed());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn many_streams_share_a_connection() {
    let world = world().await;
    for client in &world.clients {
        let mut tasks = Vec::new();
        for index in 0..32_u8 {
            let client = client.clone();
            tasks.push(tokio::spawn(async move {
                let (mut requests, mut replies) = client.chat(PATIENCE).await.expect("room");
                let words = vec![index; 5000 * usize::from(index)];
                for _ in 0..10 {
                    requests.send(&say(words.clone())).await.expect("taken");
                    assert_eq!(replies.next().await, Ok(Some(reply(words.clone()))));
                }
                requests.finish();
                assert_eq!(replies.next().await, Ok(None));
            }));
        }
        for task in tasks {
            task.await.expect("no panic");
        }
    }
}
