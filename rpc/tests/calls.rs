//! Calls over real sockets: what is answered, what is refused, what is ended.
#![allow(missing_docs)]

mod common;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use common::{
    BIG, ECHO, FAIL, LATER, PANIC, PANIC_LATER, PATIENCE, REMAINING, STUCK, WHO, assert_serves,
    connect, connector, serve,
};
use sealmoot_rpc::bytes::Bytes;
use sealmoot_rpc::{Code, Execution, Limits};

#[tokio::test]
async fn a_call_is_answered() {
    let (server, _) = serve(Limits::default()).await;
    let connection = connect(&server).await;
    for length in [0, 1, 64, 16 * 1024, 16 * 1024 + 1, 1024 * 1024] {
        let body = Bytes::from(vec![9; length]);
        let reply = connection.call(ECHO, body.clone(), PATIENCE).await;
        assert_eq!(reply.expect("an answer"), body);
    }
}

#[tokio::test]
async fn both_sides_see_the_same_binding_and_each_others_statements() {
    let (server, _) = serve(Limits::default()).await;
    let connection = connect(&server).await;
    let presented = connection.peer().claims::<common::Presented>();
    assert_eq!(presented.expect("claims").0, &b"server"[..]);
    let seen = connection.call(WHO, Bytes::new(), PATIENCE).await;
    let seen = seen.expect("an answer");
    assert_eq!(&seen[..32], connection.peer().binding().as_bytes());
    assert_eq!(&seen[64..], b"client");
    let other = connect(&server).await;
    assert_ne!(other.peer().binding(), connection.peer().binding());
    assert_eq!(other.peer().key_id(), connection.peer().key_id());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_concurrent_calls_are_answered() {
    let (server, _) = serve(Limits::default()).await;
    let connection = connect(&server).await;
    let calls: Vec<_> = (0..1000_u32)
        .map(|number| {
            let connection = connection.clone();
            let method = if number % 2 == 0 { ECHO } else { LATER };
            tokio::spawn(async move {
                let body = number.to_le_bytes().to_vec();
                let reply = connection.call(method, body.clone(), PATIENCE).await;
                assert_eq!(reply.expect("an answer"), body);
            })
        })
        .collect();
    for call in calls {
        call.await.expect("no panic");
    }
}

#[tokio::test]
async fn small_calls_overtake_bulk() {
    let (server, _) = serve(Limits::default()).await;
    let connection = connect(&server).await;
    let bulk_done = Arc::new(AtomicUsize::new(0));
    let bulk: Vec<_> = (0..12)
        .map(|_| {
            let connection = connection.clone();
            let bulk_done = Arc::clone(&bulk_done);
            tokio::spawn(async move {
                let body = vec![1; 4 << 20];
                let reply = connection.call(ECHO, body, PATIENCE).await;
                assert_eq!(reply.expect("an answer").len(), 4 << 20);
                bulk_done.fetch_add(1, Ordering::SeqCst);
            })
        })
        .collect();
    // Lets the bulk calls get into the queue first.
    tokio::task::yield_now().await;
    // Whatever the kernel's buffers hold, they do not hold 48 MiB.
    let reply = connection.call(ECHO, &b"small"[..], PATIENCE).await;
    assert_eq!(reply.expect("an answer"), &b"small"[..]);
    assert_eq!(bulk_done.load(Ordering::SeqCst), 0, "a small call waited");
    for call in bulk {
        call.await.expect("no panic");
    }
}

#[tokio::test]
async fn bulk_in_both_directions_does_not_deadlock() {
    let (server, _) = serve(Limits {
        outgoing_bytes_pause: 64 * 1024,
        ..Limits::default()
    })
    .await;
    let connection = connect(&server).await;
    let calls: Vec<_> = (0..32)
        .map(|_| {
            let connection = connection.clone();
            tokio::spawn(async move {
                let reply = connection.call(ECHO, vec![1; 1 << 20], PATIENCE).await;
                assert_eq!(reply.expect("an answer").len(), 1 << 20);
            })
        })
        .collect();
    for call in calls {
        call.await.expect("no panic");
    }
}

#[tokio::test]
async fn a_deadline_ends_the_call_and_its_handler() {
    let (server, service) = serve(Limits::default()).await;
    let connection = connect(&server).await;
    let started = Instant::now();
    // Enough to reach the handler: or it was not sent.
    let timeout = Duration::from_secs(2);
    let status = connection
        .call(STUCK, Bytes::new(), timeout)
        .await
        .expect_err("no answer");
    assert_eq!(status.code(), Code::DeadlineExceeded);
    assert_eq!(status.execution(), Execution::MaybeExecuted);
    assert!(started.elapsed() >= timeout);
    service.stuck.reaches(0).await;
}

#[tokio::test]
async fn the_servers_own_limit_ends_a_handler_too() {
    let (server, service) = serve(Limits {
        call_duration_max: Duration::from_millis(50),
        ..Limits::default()
    })
    .await;
    let connection = connect(&server).await;
    let status = connection
        .call(STUCK, Bytes::new(), PATIENCE)
        .await
        .expect_err("no answer");
    assert_eq!(status.code(), Code::DeadlineExceeded);
    assert_eq!(status.execution(), Execution::MaybeExecuted);
    service.stuck.reaches(0).await;
}

#[tokio::test]
async fn the_handler_knows_how_long_the_caller_waits() {
    let (server, _) = serve(Limits::default()).await;
    let reply = connect(&server)
        .await
        .call(REMAINING, Bytes::new(), Duration::from_secs(100))
        .await
        .expect("an answer");
    let remaining_ms = u64::from_le_bytes(reply[..].try_into().expect("eight bytes"));
    assert!((40_000..=100_000).contains(&remaining_ms), "{remaining_ms}");
}

#[tokio::test]
async fn cancelling_a_call_aborts_its_handler() {
    let (server, service) = serve(Limits::default()).await;
    let connection = connect(&server).await;
    let call = tokio::spawn({
        let connection = connection.clone();
        async move { connection.call(STUCK, Bytes::new(), PATIENCE).await }
    });
    service.stuck.reaches(1).await;
    call.abort();
    service.stuck.reaches(0).await;
    let reply = connection.call(ECHO, &b"x"[..], PATIENCE).await;
    assert_eq!(reply.expect("an answer"), &b"x"[..]);
}

#[tokio::test]
async fn a_call_cancelled_in_its_own_batch_leaves_no_handler() {
    let (server, service) = serve(Limits::default()).await;
    let connection = connect(&server).await;
    for _ in 0..50 {
        let mut call = Box::pin(connection.call(STUCK, Bytes::new(), PATIENCE));
        let polled =
            std::future::poll_fn(|cx| std::task::Poll::Ready(call.as_mut().poll(cx).is_pending()));
        assert!(polled.await);
    }
    let reply = connection.call(LATER, &b"x"[..], PATIENCE).await;
    assert_eq!(reply.expect("an answer"), &b"x"[..]);
    service.stuck.reaches(0).await;
}

#[tokio::test]
async fn losing_the_connection_aborts_its_handlers() {
    let (server, service) = serve(Limits::default()).await;
    let connection = connect(&server).await;
    let call = tokio::spawn({
        let connection = connection.clone();
        async move { connection.call(STUCK, Bytes::new(), PATIENCE).await }
    });
    service.stuck.reaches(1).await;
    connection.close();
    service.stuck.reaches(0).await;
    let status = call.await.expect("no panic").expect_err("closed");
    assert_eq!(status.execution(), Execution::MaybeExecuted);
}

#[tokio::test]
async fn an_unknown_method_is_not_started() {
    let (server, _) = serve(Limits::default()).await;
    let connection = connect(&server).await;
    let status = connection
        .call(0xdead, Bytes::new(), PATIENCE)
        .await
        .expect_err("no such method");
    assert_eq!(status.code(), Code::Unimplemented);
    assert_eq!(status.execution(), Execution::NotStarted);
    assert!(!connection.is_closed(), "an unknown method is no violation");
}

#[tokio::test]
async fn a_handlers_failure_arrives_as_it_was_made() {
    let (server, _) = serve(Limits::default()).await;
    let status = connect(&server)
        .await
        .call(FAIL, &b"details"[..], PATIENCE)
        .await
        .expect_err("fails");
    assert_eq!(status.code(), Code::Aborted);
    assert_eq!(status.execution(), Execution::Executed);
    assert_eq!(status.message(), "no luck");
    assert_eq!(status.details(), &b"details"[..]);
}

#[tokio::test]
async fn a_panicking_handler_fails_its_call_only() {
    let (server, _) = serve(Limits::default()).await;
    let connection = connect(&server).await;
    for method in [PANIC, PANIC_LATER] {
        let status = connection
            .call(method, Bytes::new(), PATIENCE)
            .await
            .expect_err("panics");
        assert_eq!(status.code(), Code::Internal);
        assert_eq!(status.execution(), Execution::MaybeExecuted);
    }
    let reply = connection.call(ECHO, &b"x"[..], PATIENCE).await;
    assert_eq!(reply.expect("an answer"), &b"x"[..]);
}

#[tokio::test]
async fn a_request_above_the_clients_limit_is_not_sent() {
    let (server, _) = serve(Limits::default()).await;
    let status = connect(&server)
        .await
        .call(ECHO, vec![0; (4 << 20) + 1], PATIENCE)
        .await
        .expect_err("too large");
    assert_eq!(status.code(), Code::InvalidArgument);
    assert_eq!(status.execution(), Execution::NotSent);
}

#[tokio::test]
async fn a_request_above_the_servers_limit_is_not_started() {
    let (server, _) = serve(Limits {
        message_bytes_max: 100_000,
        ..Limits::default()
    })
    .await;
    let connection = connect(&server).await;
    for length in [100_001, 4 << 20] {
        let status = connection
            .call(ECHO, vec![0; length], PATIENCE)
            .await
            .expect_err("too large");
        assert_eq!(status.code(), Code::InvalidArgument);
        assert_eq!(status.execution(), Execution::NotStarted);
    }
    let reply = connection.call(ECHO, vec![0; 100_000], PATIENCE).await;
    assert_eq!(reply.expect("within the limit").len(), 100_000);
}

#[tokio::test]
async fn a_reply_above_the_clients_limit_has_been_executed() {
    let (server, _) = serve(Limits::default()).await;
    let connection = connector(Limits {
        message_bytes_max: 100_000,
        ..Limits::default()
    })
    .connect(&server.local_addr().to_string(), PATIENCE)
    .await
    .expect("admitted");
    let size = 100_001_u32.to_le_bytes().to_vec();
    let status = connection
        .call(BIG, size, PATIENCE)
        .await
        .expect_err("too large");
    assert_eq!(status.code(), Code::ResourceExhausted);
    assert_eq!(status.execution(), Execution::Executed);
    let size = 100_000_u32.to_le_bytes().to_vec();
    let reply = connection.call(BIG, size, PATIENCE).await;
    assert_eq!(reply.expect("within the limit").len(), 100_000);
}

#[tokio::test]
async fn a_reply_above_the_servers_limit_has_been_executed() {
    let (server, _) = serve(Limits::default()).await;
    let size = ((4_u32 << 20) + 1).to_le_bytes().to_vec();
    let status = connect(&server)
        .await
        .call(BIG, size, PATIENCE)
        .await
        .expect_err("too large");
    assert_eq!(status.code(), Code::Internal);
    assert_eq!(status.execution(), Execution::Executed);
}

#[tokio::test]
async fn a_busy_server_says_so_and_starts_nothing() {
    let (server, service) = serve(Limits {
        calls_in_flight_max: 2,
        ..Limits::default()
    })
    .await;
    let connection = connect(&server).await;
    let stuck: Vec<_> = (0..2)
        .map(|_| {
            let connection = connection.clone();
            tokio::spawn(async move { connection.call(STUCK, Bytes::new(), PATIENCE).await })
        })
        .collect();
    service.stuck.reaches(2).await;
    let status = connection
        .call(ECHO, Bytes::new(), PATIENCE)
        .await
        .expect_err("busy");
    assert_eq!(status.code(), Code::ResourceExhausted);
    assert_eq!(status.execution(), Execution::NotStarted);
    for call in stuck {
        call.abort();
    }
    service.stuck.reaches(0).await;
    assert_serves(&server).await;
}

#[tokio::test]
async fn a_busy_client_sends_nothing() {
    let (server, service) = serve(Limits::default()).await;
    let connection = connector(Limits {
        calls_in_flight_max: 1,
        ..Limits::default()
    })
    .connect(&server.local_addr().to_string(), PATIENCE)
    .await
    .expect("admitted");
    let stuck = tokio::spawn({
        let connection = connection.clone();
        async move { connection.call(STUCK, Bytes::new(), PATIENCE).await }
    });
    service.stuck.reaches(1).await;
    let status = connection
        .call(ECHO, Bytes::new(), PATIENCE)
        .await
        .expect_err("busy");
    assert_eq!(status.code(), Code::ResourceExhausted);
    assert_eq!(status.execution(), Execution::NotSent);
    stuck.abort();
}
