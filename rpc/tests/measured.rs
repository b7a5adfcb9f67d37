//! What calls count as.
#![cfg(feature = "metrics")]
#![allow(missing_docs, clippy::unwrap_used)]

mod common;

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock, Mutex};
use std::time::Duration;

use common::{Anyone, ECHO, FAIL, LATER, PATIENCE, STUCK, TestService, connect, key};
use metrics::{
    Counter, CounterFn, Gauge, GaugeFn, Histogram, HistogramFn, Key, KeyName, Metadata, Recorder,
    SharedString, Unit,
};
use sealmoot_rpc::bytes::Bytes;
use sealmoot_rpc::interceptor::MethodNames;
use sealmoot_rpc::{
    CallOptions, Caller, Guard, Idempotency, Intercepted, Limits, Measured, Router, Server,
};
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};

/// What was recorded, by name and labels. One for the process: handlers run in
/// tasks of their own.
#[derive(Clone, Default)]
struct Board(Arc<Mutex<BTreeMap<String, Vec<f64>>>>);

static BOARD: LazyLock<Board> = LazyLock::new(|| {
    let board = Board::default();
    metrics::set_global_recorder(board.clone()).expect("the only one");
    board
});

struct Cell(Board, String);

impl Cell {
    fn push(&self, value: f64) {
        let mut board = self.0.0.lock().unwrap();
        board.entry(self.1.clone()).or_default().push(value);
    }
}

impl CounterFn for Cell {
    fn increment(&self, value: u64) {
        self.push(value as f64);
    }

    fn absolute(&self, _: u64) {
        panic!("counters count");
    }
}

impl GaugeFn for Cell {
    fn increment(&self, value: f64) {
        self.push(value);
    }

    fn decrement(&self, value: f64) {
        self.push(-value);
    }

    fn set(&self, _: f64) {
        panic!("gauges go up and down");
    }
}

impl HistogramFn for Cell {
    fn record(&self, value: f64) {
        self.push(value);
    }
}

impl Board {
    fn cell(&self, key: &Key) -> Arc<Cell> {
        let labels: Vec<String> = key
            .labels()
            .map(|label| format!("{}={}", label.key(), label.value()))
            .collect();
        Arc::new(Cell(
            self.clone(),
            format!("{}{{{}}}", key.name(), labels.join(",")),
        ))
    }

    fn values(&self, key: &str) -> Vec<f64> {
        let board = self.0.lock().unwrap();
        board.get(key).cloned().unwrap_or_default()
    }

    fn sum(&self, key: &str) -> f64 {
        self.values(key).iter().sum()
    }
}

impl Recorder for Board {
    fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> Counter {
        Counter::from_arc(self.cell(key))
    }

    fn register_gauge(&self, key: &Key, _: &Metadata<'_>) -> Gauge {
        Gauge::from_arc(self.cell(key))
    }

    fn register_histogram(&self, key: &Key, _: &Metadata<'_>) -> Histogram {
        Histogram::from_arc(self.cell(key))
    }
}

/// One test, because the recorder is the process's.
#[tokio::test]
async fn calls_are_counted_and_timed_on_both_sides() {
    let board = &*BOARD;
    let names = MethodNames::from_iter([(ECHO, "Echo"), (STUCK, "Stuck"), (FAIL, "Fail")]);
    let service = TestService::default();
    let router = Router::new()
        .service(service.clone())
        .expect("no duplicates")
        .intercepted_by(Measured::new(names.clone()));
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let server = Server::start(
        listener,
        &key(),
        Arc::new(Anyone(b"")),
        router,
        Limits::default(),
    )
    .expect("sound configuration");
    let client = Intercepted::new(connect(&server).await, Measured::new(names));
    let options = CallOptions::new(PATIENCE);
    let call = |method| {
        client.call(
            method,
            Guard::Method(Idempotency::Unknown),
            Bytes::new(),
            &options,
        )
    };
    for _ in 0..3 {
        call(ECHO).await.expect("an answer");
    }
    call(FAIL).await.expect_err("its own failure");
    call(LATER).await.expect("an answer");
    // No handler: the client's number alone.
    for unknown in [77, 78] {
        call(unknown).await.expect_err("no such method");
    }
    tokio::select! {
        answered = call(STUCK) => panic!("{answered:?}"),
        () = service.stuck.reaches(1) => {}
    }
    let gone = async {
        while board.sum("sealmoot_rpc_server_calls_in_flight{method=Stuck}") != 0.0 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::time::timeout(PATIENCE, gone).await.expect("dropped");

    let total = |side: &str, method: &str, code: &str| {
        board.sum(&format!(
            "sealmoot_rpc_{side}_calls_total{{method={method},code={code}}}"
        ))
    };
    for side in ["client", "server"] {
        assert_eq!(total(side, "Echo", "ok"), 3.0, "{side}");
        assert_eq!(total(side, "Fail", "aborted"), 1.0, "{side}");
        assert_eq!(total(side, "Fail", "ok"), 0.0, "{side}");
        assert_eq!(total(side, "other", "ok"), 1.0, "{side}");
        assert_eq!(total(side, "Stuck", "cancelled"), 1.0, "{side}");
        for method in ["Echo", "Fail", "Stuck", "other"] {
            let gauge = format!("sealmoot_rpc_{side}_calls_in_flight{{method={method}}}");
            assert!(!board.values(&gauge).is_empty(), "{gauge}");
            assert_eq!(board.sum(&gauge), 0.0, "{gauge}");
        }
        let durations = board.values(&format!(
            "sealmoot_rpc_{side}_call_duration_seconds{{method=Echo}}"
        ));
        assert_eq!(durations.len(), 3);
        // Seconds, and not milliseconds or nothing.
        assert!(durations.iter().all(|one| *one > 0.0 && *one < 10.0));
        let later = board.values(&format!(
            "sealmoot_rpc_{side}_call_duration_seconds{{method=other}}"
        ));
        assert!(later[0] >= 0.02, "its handler sleeps so long");
    }
    let open = "sealmoot_rpc_server_connections_open{}";
    assert_eq!(board.sum(open), 1.0);
    let mut stranger = TcpStream::connect(server.local_addr())
        .await
        .expect("a port");
    stranger
        .write_all(b"GET / HTTP/1.1\r\n\r\n")
        .await
        .expect("room");
    let failed = async {
        while board.sum("sealmoot_rpc_server_handshakes_failed_total{reason=failed}") != 1.0 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::time::timeout(PATIENCE, failed)
        .await
        .expect("refused");
    assert_eq!(board.values(open), [1.0], "a stranger is none");
    client.caller().close();
    let closed = async {
        while board.sum(open) != 0.0 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::time::timeout(PATIENCE, closed)
        .await
        .expect("closed");
    assert_eq!(total("client", "other", "unimplemented"), 2.0);
    assert_eq!(total("server", "other", "unimplemented"), 0.0);
}
