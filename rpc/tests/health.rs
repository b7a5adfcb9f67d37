//! Whether a server is ready, over real connections.
#![allow(missing_docs)]

mod common;

use std::sync::Arc;
use std::time::Duration;

use common::{Anyone, PATIENCE, STUCK, TestService, connect, key};
use sealmoot_rpc::bytes::Bytes;
use sealmoot_rpc::health::{
    HealthClient, HealthReply, HealthReporter, HealthRequest, HealthStatus, SERVICE, ServingStatus,
    health_service,
};
use sealmoot_rpc::{Code, Execution, Limits, ReplyStream, Router, Server, ServerHandle, Status};
use tokio::net::TcpListener;

/// Statuses that the credit of a new stream pays for: 64 KiB, and 14 for each with
/// its frame.
const CREDITED: usize = 64 * 1024 / 14;

const REFLECTION: &str = "sealmoot.rpc.v1.Reflection";

async fn serve() -> (ServerHandle, HealthReporter) {
    serve_beside(TestService::default()).await
}

async fn serve_beside(service: TestService) -> (ServerHandle, HealthReporter) {
    let router = Router::new()
        .service(service)
        .and_then(Router::with_reflection)
        .expect("no duplicates");
    let (reporter, health) = health_service(&router);
    let router = router.service(health).expect("no duplicates");
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let anyone = Arc::new(Anyone(b""));
    let server = Server::start(listener, &key(), anyone, router, Limits::default())
        .expect("sound configuration");
    (server, reporter)
}

async fn client(server: &ServerHandle) -> HealthClient {
    HealthClient::new(connect(server).await)
}

fn of(service: &str) -> HealthRequest {
    HealthRequest {
        service: service.to_owned(),
    }
}

async fn check(client: &HealthClient, service: &str) -> Result<ServingStatus, Status> {
    let reply = client.check(of(service), PATIENCE).await?;
    Ok(reply.status())
}

async fn watch(client: &HealthClient, service: &str) -> ReplyStream<HealthReply> {
    // Longer than any patience here: no call ends by its own time.
    let started = client.watch(of(service), Duration::from_secs(300));
    started.await.expect("a connection")
}

async fn next(statuses: &mut ReplyStream<HealthReply>) -> Option<ServingStatus> {
    let next = tokio::time::timeout(PATIENCE, statuses.next()).await;
    let reply = next.expect("in time").expect("the call goes on");
    reply.map(|reply| reply.status())
}

#[tokio::test]
async fn the_server_and_all_its_services_serve_until_somebody_says_otherwise() {
    let (server, reporter) = serve().await;
    let client = client(&server).await;
    for service in ["", REFLECTION, SERVICE.name] {
        let status = check(&client, service).await;
        assert_eq!(status, Ok(ServingStatus::Serving), "{service:?}");
    }
    reporter.set(REFLECTION, HealthStatus::NotServing);
    let status = check(&client, REFLECTION).await;
    assert_eq!(status, Ok(ServingStatus::NotServing));
    // The one says nothing of the other.
    assert_eq!(check(&client, "").await, Ok(ServingStatus::Serving));
    reporter.clone().set("", HealthStatus::NotServing);
    assert_eq!(check(&client, "").await, Ok(ServingStatus::NotServing));
    reporter.set(REFLECTION, HealthStatus::Serving);
    let status = check(&client, REFLECTION).await;
    assert_eq!(status, Ok(ServingStatus::Serving));
}

#[tokio::test]
async fn a_service_that_nobody_knows_has_no_status_until_it_is_told() {
    let (server, reporter) = serve().await;
    let client = client(&server).await;
    let status = check(&client, "shop.v1.Store").await.expect_err("unknown");
    assert_eq!(status.code(), Code::NotFound);
    assert_eq!(status.execution(), Execution::NotStarted);
    let mut statuses = watch(&client, "shop.v1.Store").await;
    let status = statuses.next().await.expect_err("unknown");
    assert_eq!(status.code(), Code::NotFound);
    reporter.set("shop.v1.Store", HealthStatus::NotServing);
    let status = check(&client, "shop.v1.Store").await;
    assert_eq!(status, Ok(ServingStatus::NotServing));
}

#[tokio::test]
async fn a_watcher_hears_the_present_status_and_each_change() {
    let (server, reporter) = serve().await;
    let client = client(&server).await;
    let mut statuses = watch(&client, REFLECTION).await;
    assert_eq!(next(&mut statuses).await, Some(ServingStatus::Serving));
    reporter.set(REFLECTION, HealthStatus::NotServing);
    assert_eq!(next(&mut statuses).await, Some(ServingStatus::NotServing));
    // Neither another's status nor the same again is a change.
    reporter.set("", HealthStatus::NotServing);
    reporter.set(REFLECTION, HealthStatus::NotServing);
    assert_eq!(check(&client, "").await, Ok(ServingStatus::NotServing));
    reporter.set(REFLECTION, HealthStatus::Serving);
    assert_eq!(next(&mut statuses).await, Some(ServingStatus::Serving));
}

#[tokio::test]
async fn a_watcher_that_comes_late_hears_the_newest_first() {
    let (server, reporter) = serve().await;
    let client = client(&server).await;
    reporter.set("", HealthStatus::NotServing);
    let mut statuses = watch(&client, "").await;
    assert_eq!(next(&mut statuses).await, Some(ServingStatus::NotServing));
}

#[tokio::test]
async fn a_watcher_that_does_not_read_is_told_the_newest_and_fills_no_queue() {
    let (server, reporter) = serve().await;
    let client = client(&server).await;
    let mut statuses = watch(&client, "").await;
    assert_eq!(next(&mut statuses).await, Some(ServingStatus::Serving));
    // The watcher's handler runs once in so many changes.
    const CHANGES: usize = 100_000;
    const AT_ONCE: usize = 64;
    for change in 0..CHANGES {
        let status = if change % 3 == 0 {
            HealthStatus::NotServing
        } else {
            HealthStatus::Serving
        };
        reporter.set("", status);
        if change % AT_ONCE == 0 {
            tokio::task::yield_now().await;
        }
    }
    reporter.set("", HealthStatus::NotServing);
    // Ends the stream behind what it holds.
    let draining = tokio::spawn(server.drain(PATIENCE));
    let (mut heard, mut last) = (0, None);
    while let Some(status) = next(&mut statuses).await {
        assert_ne!(last, Some(status), "no change");
        last = Some(status);
        heard += 1;
    }
    assert_eq!(last, Some(ServingStatus::NotServing));
    assert!((2..CHANGES / AT_ONCE + 3).contains(&heard), "{heard}");
    draining.await.expect("no panic");
}

#[tokio::test]
async fn a_watcher_hears_of_a_drain_and_does_not_hold_it_up() {
    let (server, _reporter) = serve().await;
    let client = client(&server).await;
    let mut all = watch(&client, "").await;
    let mut one = watch(&client, REFLECTION).await;
    for statuses in [&mut all, &mut one] {
        assert_eq!(next(statuses).await, Some(ServingStatus::Serving));
    }
    let draining = tokio::spawn(server.drain(10 * PATIENCE));
    for statuses in [&mut all, &mut one] {
        assert_eq!(next(statuses).await, Some(ServingStatus::NotServing));
        assert_eq!(next(statuses).await, None, "it ends well");
    }
    let drained = tokio::time::timeout(PATIENCE, draining).await;
    drained.expect("long before its time").expect("no panic");
}

#[tokio::test]
async fn a_watcher_that_does_not_listen_does_not_hold_up_a_drain() {
    let (server, reporter) = serve().await;
    let client = client(&server).await;
    let mut deaf = watch(&client, "").await;
    let mut listening = watch(&client, "").await;
    assert_eq!(next(&mut listening).await, Some(ServingStatus::Serving));
    // What it is told uses up its credit, and it gives none back. Each change waits
    // until somebody has heard it, or many would be told as one.
    for change in 0..CREDITED * 5 / 4 {
        let (status, told) = if change % 2 == 0 {
            (HealthStatus::NotServing, ServingStatus::NotServing)
        } else {
            (HealthStatus::Serving, ServingStatus::Serving)
        };
        reporter.set("", status);
        assert_eq!(next(&mut listening).await, Some(told), "{change}");
    }
    drop(listening);
    let draining = tokio::time::timeout(PATIENCE, server.drain(10 * PATIENCE));
    draining.await.expect("long before its time");
    // It had been told more than its credit pays for: the rest was thrown away.
    let mut heard = 0;
    let end = loop {
        match deaf.next().await {
            Ok(Some(_)) => heard += 1,
            end => break end,
        }
    };
    assert!((CREDITED - 4..=CREDITED).contains(&heard), "{heard}");
    end.expect_err("it was not told of the drain");
}

#[tokio::test]
async fn a_server_that_drains_is_not_ready_whatever_its_program_says() {
    let service = TestService::default();
    let (server, reporter) = serve_beside(service.clone()).await;
    let client = client(&server).await;
    let mut statuses = watch(&client, "").await;
    assert_eq!(next(&mut statuses).await, Some(ServingStatus::Serving));
    // Something else holds the drain up.
    let stuck = client.caller().clone();
    let stuck = tokio::spawn(async move { stuck.call(STUCK, Bytes::new(), PATIENCE).await });
    service.stuck.reaches(1).await;
    let draining = tokio::spawn(server.drain(Duration::from_secs(5)));
    assert_eq!(next(&mut statuses).await, Some(ServingStatus::NotServing));
    reporter.set("", HealthStatus::Serving);
    assert_eq!(next(&mut statuses).await, None);
    draining.await.expect("no panic");
    assert!(stuck.await.expect("no panic").is_err());
}
