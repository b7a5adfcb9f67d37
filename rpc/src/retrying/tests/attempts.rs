//! Which calls are sent again, how often, and for how long.

use super::*;
use crate::limits::{HEDGE_SAMPLES_MIN, RETRY_DEPOSIT_THOUSANDTHS, RETRY_PER_SECOND};

const PLAIN: Guard = Guard::Method(Idempotency::Unknown);
const IDEMPOTENT: Guard = Guard::Method(Idempotency::Idempotent);

#[tokio::test]
async fn a_plain_call_that_may_have_run_is_not_sent_again() {
    let deeds = Deeds::new();
    let server = serve(&key(), deeds.clone()).await;
    let proxy = Proxy::to(server.local_addr()).await;
    let retrying = retrying(proxy.address);
    let calling = call(&retrying, ACT, PLAIN);
    reaches("the handler runs", || deeds.running() == 1).await;
    proxy.cut();
    let status = ended(calling).await.expect_err("cut");
    assert_eq!(status.code(), Code::Unavailable);
    assert_eq!(status.execution(), Execution::MaybeExecuted);
    reaches("another connection", || proxy.accepted() == 2).await;
    a_while().await;
    assert_eq!(deeds.started(), 1);
    reaches("its handler is dropped", || deeds.running() == 0).await;
}

#[tokio::test]
async fn an_idempotent_call_that_may_have_run_is_sent_again() {
    let deeds = Deeds::new();
    let server = serve(&key(), deeds.clone()).await;
    let proxy = Proxy::to(server.local_addr()).await;
    let calling = call(&retrying(proxy.address), ACT, IDEMPOTENT);
    reaches("the handler runs", || deeds.running() == 1).await;
    proxy.cut();
    reaches("it runs again", || deeds.started() == 2).await;
    deeds.open_gate();
    ended(calling).await.expect("a reply");
}

#[tokio::test]
async fn a_plain_call_that_did_not_start_is_sent_again() {
    let deeds = Deeds::new();
    let server = serve(&key(), deeds.clone()).await;
    let three = RetryPolicy {
        attempts_max: 3,
        ..RetryPolicy::default()
    };
    let retrying = Retrying::new(link_to(&key(), server.local_addr()), three);
    let status = ended(call(&retrying, BUSY, PLAIN)).await.expect_err("busy");
    assert_eq!(status.execution(), Execution::NotStarted);
    assert_eq!(deeds.started(), 3);
}

#[tokio::test]
async fn all_calls_together_send_no_more_again_than_their_budget_gives() {
    let deeds = Deeds::new();
    let server = serve(&key(), deeds.clone()).await;
    let retrying = retrying(server.local_addr());
    let began = std::time::Instant::now();
    let calls = 200;
    let callings: Vec<Calling> = (0..calls).map(|_| call(&retrying, BUSY, PLAIN)).collect();
    for calling in callings {
        let status = ended(calling).await.expect_err("busy");
        assert_eq!(status.code(), Code::ResourceExhausted);
    }
    let seconds = usize::try_from(began.elapsed().as_secs()).expect("few") + 1;
    let retries = deeds.started() - calls;
    let deposits = calls * RETRY_DEPOSIT_THOUSANDTHS as usize / 1_000;
    let given = RETRY_BURST_MAX as usize + deposits + seconds * RETRY_PER_SECOND as usize;
    assert!(retries >= RETRY_BURST_MAX as usize, "{retries}");
    assert!(retries <= given, "{retries} of {given}");
}

#[tokio::test]
async fn every_call_ends_by_its_deadline() {
    let deeds = Deeds::new();
    let server = serve(&key(), deeds.clone()).await;
    let nobody = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let nowhere = nobody.local_addr().expect("bound");
    drop(nobody);
    for guard in [PLAIN, IDEMPOTENT, Guard::Once] {
        for (address, execution) in [
            (nowhere, Execution::NotSent),
            (server.local_addr(), Execution::MaybeExecuted),
        ] {
            // Where somebody is, long enough for the call to get there.
            let milliseconds = if address == nowhere { 200 } else { 3_000 };
            let timeout = options(Duration::from_millis(milliseconds));
            let retrying = retrying(address);
            if address != nowhere {
                retrying.up().await.expect("one place");
            }
            let call = retrying.call(ACT, guard, &b"x"[..], &timeout);
            let ended = tokio::time::timeout(SOON, call).await.expect("it ends");
            let status = ended.expect_err("no time left");
            assert_eq!(status.code(), Code::DeadlineExceeded, "{guard:?}: {status}");
            assert_eq!(status.execution(), execution, "{guard:?}: {status}");
        }
    }
    reaches("the handlers are dropped", || deeds.running() == 0).await;
}

#[tokio::test]
async fn an_open_that_nobody_answers_takes_no_more_than_the_time_of_the_call() {
    let deeds = Deeds::new();
    let server = serve(&key(), deeds.clone()).await;
    let proxy = Proxy::to(server.local_addr()).await;
    let retrying = retrying(proxy.address);
    retrying.up().await.expect("one place");
    proxy.mute(true);
    let timeout = options(Duration::from_millis(200));
    let call = retrying.call(ACT, Guard::Once, &b"x"[..], &timeout);
    let ended = tokio::time::timeout(SOON, call).await.expect("it ends");
    let status = ended.expect_err("no time left");
    assert_eq!(status.code(), Code::DeadlineExceeded, "{status}");
    assert_eq!(status.execution(), Execution::NotSent);
    assert_eq!(deeds.started(), 0);
}

#[tokio::test]
async fn a_slow_idempotent_call_is_hedged_and_the_slower_attempt_cancelled() {
    let deeds = Deeds::new();
    let server = serve(&key(), deeds.clone()).await;
    let retrying = retrying(server.local_addr());
    for _ in 0..HEDGE_SAMPLES_MIN {
        let calling = call(&retrying, SLOW_ONCE, IDEMPOTENT);
        ended(calling).await.expect("a reply");
    }
    // A quick call may have been hedged, too.
    let before = deeds.started();
    deeds.arm();
    let calling = call(&retrying, SLOW_ONCE, IDEMPOTENT);
    assert_eq!(ended(calling).await.expect("a reply"), &b"x"[..]);
    assert_eq!(deeds.started(), before + 2);
    reaches("the slower one is cancelled", || deeds.running() == 0).await;
}

#[tokio::test]
async fn neither_plain_nor_at_most_once_calls_are_hedged() {
    for guard in [PLAIN, Guard::Once] {
        let deeds = Deeds::new();
        let server = serve(&key(), deeds.clone()).await;
        let retrying = retrying(server.local_addr());
        for _ in 0..HEDGE_SAMPLES_MIN {
            let calling = call(&retrying, SLOW_ONCE, guard);
            ended(calling).await.expect("a reply");
        }
        deeds.arm();
        let calling = call(&retrying, SLOW_ONCE, guard);
        a_while().await;
        assert!(!calling.is_finished());
        assert_eq!(deeds.started(), HEDGE_SAMPLES_MIN + 1);
        calling.abort();
        reaches("the handler stops", || deeds.running() == 0).await;
    }
}

#[tokio::test]
async fn a_call_waits_for_a_connection() {
    let deeds = Deeds::new();
    let server = serve(&key(), deeds.clone()).await;
    let proxy = Proxy::to(server.local_addr()).await;
    proxy.target(None);
    let retrying = retrying(proxy.address);
    let soon = options(Duration::from_millis(100));
    let stream = retrying.bidirectional(ACT, &soon).await;
    let status = stream.expect_err("no connection to start on");
    assert_eq!(status.code(), Code::DeadlineExceeded);
    assert_eq!(status.execution(), Execution::NotSent);
    let calling = call(&retrying, ECHO, PLAIN);
    let later = retrying.clone();
    let starting = tokio::spawn(async move {
        let started = later.bidirectional(ACT, &options(PATIENCE)).await;
        started.map(|_| ())
    });
    a_while().await;
    assert!(!calling.is_finished() && !starting.is_finished());
    proxy.target(Some(server.local_addr()));
    assert_eq!(ended(calling).await.expect("a reply"), &b"x"[..]);
    let started = starting.await.expect("no panic");
    started.expect("a connection to start on");
}
