//! The driver over an in-memory pipe: no TLS, no sockets, paused time.

use std::sync::Arc;

use bytes::Bytes;
use sealmoot_crypto::signature::SigningKey;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};

use super::*;
use crate::channel::{Origin, Transport};
use crate::client::Connection;
use crate::frame::{Kind, PING_BYTES};
use crate::payload::decode_failure;
use crate::peer::{ChannelBinding, Peer};
use crate::service::Router;
use crate::serving::{OnceCalls, ServerEndpoint};

fn peer() -> Peer {
    let key = SigningKey::generate().expect("random source");
    Peer::danger_assume(
        key.verifying_key(),
        ChannelBinding::from_bytes([0; 32]),
        Origin::Memory,
        Transport::Memory,
        Arc::new(()),
    )
}

/// A client's driver and the raw far end.
fn client(limits: &Limits) -> (Connection, DuplexStream) {
    let (near, far) = duplex(64 * 1024);
    let (connection, driver) = Connection::over(near, peer(), limits);
    tokio::spawn(driver);
    (connection, far)
}

/// A server's driver and the raw far end.
fn server(limits: &Limits) -> DuplexStream {
    let (near, far) = duplex(64 * 1024);
    let (endpoint, _link) =
        ServerEndpoint::new(Arc::new(Router::new()), OnceCalls::new(), peer(), limits);
    tokio::spawn(Driver::new(near, endpoint, limits));
    far
}

async fn read_frame(stream: &mut DuplexStream) -> Option<(Kind, u16, Vec<u8>)> {
    let mut bytes = Vec::new();
    loop {
        if let Some((frame, _)) = Frame::decode(&bytes).expect("well formed") {
            return Some((frame.kind, frame.code, frame.payload.to_vec()));
        }
        bytes.push(stream.read_u8().await.ok()?);
    }
}

async fn write_frame(stream: &mut DuplexStream, kind: Kind, call: u32, payload: &[u8]) {
    let mut bytes = Vec::new();
    crate::frame::append(&mut bytes, kind, 0, 0, call, &[payload]);
    stream.write_all(&bytes).await.expect("open");
}

#[tokio::test(start_paused = true)]
async fn silence_is_pinged_and_then_ends_the_connection() {
    let limits = Limits::default();
    let started = tokio::time::Instant::now();
    let (connection, mut far) = client(&limits);
    let (kind, _, _) = read_frame(&mut far).await.expect("a ping");
    assert_eq!(kind, Kind::Ping);
    assert_eq!(started.elapsed().as_secs(), 1);
    connection.closed().await;
    assert_eq!(started.elapsed().as_millis(), 2_500);
}

#[tokio::test(start_paused = true)]
async fn a_pong_keeps_the_connection() {
    let limits = Limits::default();
    let started = tokio::time::Instant::now();
    let (connection, mut far) = client(&limits);
    for _ in 0..10 {
        let (kind, _, token) = read_frame(&mut far).await.expect("a ping");
        assert_eq!(kind, Kind::Ping);
        write_frame(&mut far, Kind::Pong, 0, &token).await;
    }
    assert!(!connection.is_closed());
    assert!(started.elapsed().as_secs() >= 10);
}

#[tokio::test(start_paused = true)]
async fn whoever_only_receives_shows_life_unasked() {
    let limits = Limits::default();
    let (connection, far) = client(&limits);
    let (mut hear, mut talk) = tokio::io::split(far);
    let talk = async {
        loop {
            let mut frame = Vec::new();
            crate::frame::append(&mut frame, Kind::Pong, 0, 0, 0, &[&[0; PING_BYTES]]);
            talk.write_all(&frame).await.expect("open");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    let started = tokio::time::Instant::now();
    let hear = async {
        let mut frames = [0; 5 * (12 + PING_BYTES)];
        hear.read_exact(&mut frames).await.expect("open");
        for frame in frames.chunks(12 + PING_BYTES) {
            let (frame, _) = Frame::decode(frame).expect("a frame").expect("whole");
            assert_eq!(frame.kind, Kind::Pong);
        }
    };
    tokio::select! {
        heard = tokio::time::timeout(Duration::from_secs(60), hear) => heard.expect("life is shown"),
        () = talk => unreachable!(),
    }
    assert_eq!(started.elapsed().as_secs(), 5);
    assert!(!connection.is_closed());
}

#[tokio::test(start_paused = true)]
async fn a_slow_link_is_not_a_dead_one() {
    let limits = Limits::default();
    let (connection, far) = client(&limits);
    let (mut hear, mut talk) = tokio::io::split(far);
    // Less than the pipe holds in the time that a ping has to be answered.
    let sink = async {
        let mut piece = [0; 8 * 1024];
        loop {
            let taken = hear.read(&mut piece).await.expect("open");
            tokio::time::sleep(Duration::from_millis(taken as u64 / 4)).await;
        }
    };
    let life = async {
        loop {
            let mut frame = Vec::new();
            crate::frame::append(&mut frame, Kind::Pong, 0, 0, 0, &[&[0; PING_BYTES]]);
            talk.write_all(&frame).await.expect("open");
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    };
    let call = connection.call(1, vec![0; 1024 * 1024], Duration::from_secs(120));
    let status = tokio::select! {
        outcome = call => outcome.expect_err("nobody answers"),
        () = sink => unreachable!(),
        () = life => unreachable!(),
    };
    // A mebibyte at 4 kB/s takes longer than the call has, and nobody hangs up.
    assert_eq!(status.code(), Code::DeadlineExceeded);
    assert!(!connection.is_closed());
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_takes_no_bytes_is_dead_even_when_it_sends() {
    let limits = Limits::default();
    let (connection, mut far) = client(&limits);
    let talk = async {
        loop {
            write_frame(&mut far, Kind::Pong, 0, &[0; PING_BYTES]).await;
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    };
    let call = connection.call(1, vec![0; 1024 * 1024], Duration::from_secs(60));
    let status = tokio::select! {
        outcome = call => outcome.expect_err("nobody reads"),
        () = talk => unreachable!(),
    };
    assert_eq!(status.code(), Code::Unavailable);
    assert_eq!(status.execution(), Execution::MaybeExecuted);
    assert_eq!(status.message(), "the peer takes no bytes");
}

#[tokio::test(start_paused = true)]
async fn a_call_ends_at_its_own_deadline() {
    let started = tokio::time::Instant::now();
    let (connection, mut far) = client(&Limits::default());
    let call = connection.call(1, Bytes::new(), Duration::from_millis(700));
    let status = call.await.expect_err("nobody answers");
    assert_eq!(status.code(), Code::DeadlineExceeded);
    assert_eq!(status.execution(), Execution::MaybeExecuted);
    assert_eq!(started.elapsed().as_millis(), 700);
    assert_eq!(read_frame(&mut far).await.expect("call").0, Kind::Call);
    assert_eq!(read_frame(&mut far).await.expect("cancel").0, Kind::Cancel);
}

#[tokio::test(start_paused = true)]
async fn dropping_a_call_sends_cancel() {
    let (connection, mut far) = client(&Limits::default());
    let call = connection.call(1, Bytes::new(), Duration::from_secs(60));
    let outcome = tokio::time::timeout(Duration::from_millis(10), call).await;
    assert!(outcome.is_err());
    assert_eq!(read_frame(&mut far).await.expect("call").0, Kind::Call);
    assert_eq!(read_frame(&mut far).await.expect("cancel").0, Kind::Cancel);
}

#[tokio::test(start_paused = true)]
async fn dropping_the_last_handle_flushes_and_closes() {
    let (connection, mut far) = client(&Limits::default());
    let clone = connection.clone();
    {
        let mut call = Box::pin(clone.call(1, Bytes::new(), Duration::from_secs(60)));
        // One poll queues the call; dropping it queues the cancel.
        let _ = std::future::poll_fn(|cx| Poll::Ready(call.as_mut().poll(cx))).await;
    }
    drop(connection);
    drop(clone);
    assert_eq!(read_frame(&mut far).await.expect("call").0, Kind::Call);
    assert_eq!(read_frame(&mut far).await.expect("cancel").0, Kind::Cancel);
    assert_eq!(read_frame(&mut far).await, None);
}

#[tokio::test(start_paused = true)]
async fn closing_ends_calls_in_flight_truthfully() {
    let (connection, mut far) = client(&Limits::default());
    let sent = tokio::spawn({
        let connection = connection.clone();
        async move {
            connection
                .call(1, Bytes::new(), Duration::from_secs(60))
                .await
        }
    });
    assert_eq!(read_frame(&mut far).await.expect("call").0, Kind::Call);
    connection.close();
    let status = sent.await.expect("task").expect_err("closed");
    assert_eq!(status.execution(), Execution::MaybeExecuted);
    let status = connection
        .call(1, Bytes::new(), Duration::from_secs(60))
        .await
        .expect_err("closed");
    assert_eq!(status.execution(), Execution::NotSent);
    assert!(connection.is_closed());
}

#[tokio::test(start_paused = true)]
async fn an_unknown_kind_closes_with_the_reason() {
    let mut far = server(&Limits::default());
    far.write_all(&[0, 0, 0, 0, 77, 0, 0, 0, 0, 0, 0, 0])
        .await
        .expect("open");
    let (kind, code, payload) = read_frame(&mut far).await.expect("goaway");
    assert_eq!(kind, Kind::Goaway);
    let reason = decode_failure(code, &payload).expect("well formed");
    assert_eq!(reason.message(), "unknown frame kind 77");
    assert_eq!(read_frame(&mut far).await, None);
}

#[tokio::test(start_paused = true)]
async fn no_credit_closes_with_the_reason() {
    let mut far = server(&Limits::default());
    write_frame(&mut far, Kind::Credit, 1, &[0; 4]).await;
    let (kind, code, payload) = read_frame(&mut far).await.expect("goaway");
    assert_eq!(kind, Kind::Goaway);
    let reason = decode_failure(code, &payload).expect("well formed");
    assert_eq!(
        reason.message(),
        "a stream was given 0 bytes of credit at a wrong time or beyond the maximum"
    );
    assert_eq!(read_frame(&mut far).await, None);
}

#[tokio::test(start_paused = true)]
async fn an_at_most_once_call_is_not_started() {
    let mut far = server(&Limits::default());
    let prefix = crate::payload::CallPrefix {
        timeout_ms: 0,
        method: 1,
    };
    let once = crate::payload::OnceId {
        incarnation: [1; 16],
        sequence: 1,
        floor: 0,
    };
    let (flags, head) = crate::payload::CallPayload::encode_head(
        &prefix,
        Some(&once),
        &crate::metadata::Metadata::new(),
    );
    let mut bytes = Vec::new();
    crate::frame::append(&mut bytes, Kind::Call, flags, 0, 1, &[&head]);
    far.write_all(&bytes).await.expect("open");
    let (kind, code, payload) = read_frame(&mut far).await.expect("a reply");
    assert_eq!(kind, Kind::Reply);
    let status = decode_failure(code, &payload).expect("well formed");
    assert_eq!(
        (status.code(), status.execution()),
        (Code::Unimplemented, Execution::NotStarted)
    );
}

#[tokio::test(start_paused = true)]
async fn a_huge_length_closes_before_its_payload_is_awaited() {
    let mut far = server(&Limits::default());
    far.write_all(&[0xff, 0xff, 0xff, 0xff, 2, 0, 0, 0, 1, 0, 0, 0])
        .await
        .expect("open");
    let (kind, _, _) = read_frame(&mut far).await.expect("goaway");
    assert_eq!(kind, Kind::Goaway);
}

#[tokio::test(start_paused = true)]
async fn a_client_tells_a_server_that_breaks_the_protocol() {
    let (connection, mut far) = client(&Limits::default());
    write_frame(&mut far, Kind::Call, 1, &[0; 12]).await;
    let (kind, _, _) = read_frame(&mut far).await.expect("goaway");
    assert_eq!(kind, Kind::Goaway);
    connection.closed().await;
    let status = connection
        .call(1, Bytes::new(), Duration::from_secs(1))
        .await
        .expect_err("closed");
    assert_eq!(status.execution(), Execution::NotSent);
    assert!(status.message().contains("unexpected Call frame"));
}

#[tokio::test(start_paused = true)]
async fn a_client_that_reads_nothing_is_read_no_further() {
    struct Big;
    impl crate::service::Service for Big {
        fn methods(&self) -> &[u64] {
            &[1]
        }
        fn call(
            &self,
            _: crate::service::CallContext,
            _: u64,
            _: Bytes,
        ) -> crate::service::ReplyFuture {
            Box::pin(std::future::ready(Ok(Bytes::from(vec![0; 100_000]))))
        }
    }
    let limits = Limits {
        outgoing_bytes_pause: 50_000,
        ..Limits::default()
    };
    let (near, mut far) = duplex(1024);
    let router = Router::new().service(Big).expect("one method");
    let (endpoint, _link) =
        ServerEndpoint::new(Arc::new(router), OnceCalls::new(), peer(), &limits);
    tokio::spawn(Driver::new(near, endpoint, &limits));
    let mut call = Vec::new();
    let mut payload = [0; 12];
    payload[4] = 1;
    let mut accepted = 0;
    // Each call asks for more than may wait; the pipe holds fifty calls.
    for number in 1..1000_u32 {
        call.clear();
        crate::frame::append(&mut call, Kind::Call, 0, 0, number, &[&payload]);
        let write = far.write_all(&call);
        if tokio::time::timeout(Duration::from_millis(10), write)
            .await
            .is_err()
        {
            break;
        }
        accepted = number;
    }
    assert!(accepted < 150, "{accepted}");
}

/// Finished at once; later it has more to say than is taken.
struct Afterthought {
    started: Instant,
    polls: Arc<std::sync::atomic::AtomicUsize>,
}

impl Endpoint for Afterthought {
    fn receive(&mut self, _: &mut Input, _: Instant) -> Result<(), Violation> {
        Ok(())
    }

    fn transmit(&mut self, output: Option<&mut Vec<u8>>, now: Instant, waker: &Waker) -> Outlook {
        self.polls
            .fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let at = self.started + Duration::from_millis(100);
        if let Some(output) = output.filter(|_| now >= at) {
            output.resize(1024 * 1024, 0);
        }
        if now < at {
            let waker = waker.clone();
            tokio::spawn(async move {
                tokio::time::sleep_until(at.into()).await;
                waker.wake();
            });
        }
        Outlook {
            is_cut: false,
            wants_input: true,
            has_output: false,
            deadline: None,
            is_finished: true,
            lets_peer_close: true,
        }
    }

    fn ping(&mut self) {}

    fn show_life(&mut self) {}

    fn violated(&mut self, _: &Violation) {}

    fn lost(&mut self, _: &Status) {}
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_is_gone_while_it_may_close_first_is_noticed_in_time() {
    let limits = Limits::default();
    let (near, _far) = duplex(64 * 1024);
    let polls = Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let endpoint = Afterthought {
        started: now(),
        polls: Arc::clone(&polls),
    };
    let driver = Driver::new(near, endpoint, &limits);
    let patience = limits.keepalive_idle + limits.keepalive_timeout;
    let ended = tokio::time::timeout(patience + Duration::from_millis(100), driver).await;
    let polls = polls.load(std::sync::atomic::Ordering::Relaxed);
    assert!(polls < 1_000, "{polls} polls");
    ended.expect("it is silent and takes no bytes");
}
