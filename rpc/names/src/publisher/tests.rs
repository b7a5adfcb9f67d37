use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use bytes::Bytes;
use sealmoot_rpc::channel::Identity;
use sealmoot_rpc::{
    AllowedKeys, CallContext, Connection, Connector, Execution, Limits, Replies, Router, Server,
    ServerHandle,
};

use super::*;
use crate::policy::Policy;
use crate::proto::{
    ListReply, ListRequest, Names, NamesServer, PublishReply, ResolveReply, WatchReply,
    WatchRequest,
};
use crate::service::NameService;
use crate::testing::{FOREVER_MS, id, key, name, open_policy, unsigned};

const VALIDITY: Duration = Duration::from_secs(90);

/// Takes what it is given, or does not, and remembers when.
#[derive(Clone, Default)]
struct Recorder(Arc<Recorded>);

#[derive(Default)]
struct Recorded {
    arrivals: Mutex<Vec<(Instant, NameRecord)>>,
    is_down: AtomicBool,
    hangs: AtomicBool,
    hanging: AtomicUsize,
    /// Refuses as if it had this one.
    shows: Mutex<Option<Bytes>>,
}

/// Counts those that hang, until they are dropped.
struct Hanging(Arc<Recorded>);

impl Hanging {
    fn new(recorded: &Arc<Recorded>) -> Self {
        recorded.hanging.fetch_add(1, Ordering::SeqCst);
        Self(Arc::clone(recorded))
    }
}

impl Drop for Hanging {
    fn drop(&mut self) {
        self.0.hanging.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Recorder {
    fn arrivals(&self) -> Vec<(Instant, NameRecord)> {
        self.0.arrivals.lock().expect("not poisoned").clone()
    }

    fn serials(&self) -> Vec<u64> {
        let arrivals = self.arrivals();
        arrivals.iter().map(|(_, record)| record.serial).collect()
    }

    fn shown(&self) -> Option<Bytes> {
        self.0.shows.lock().expect("not poisoned").clone()
    }
}

fn status(code: Code) -> Status {
    Status::new(code, Execution::NotStarted, "by the test")
}

impl Names for Recorder {
    async fn publish(
        &self,
        _: CallContext,
        request: PublishRequest,
    ) -> Result<PublishReply, Status> {
        let claim = Claim::decode(&request.record).expect("a record");
        let record = claim.believe_signer(&[id(1)]).expect("by the publisher");
        let arrival = (Instant::now(), record.record().clone());
        self.0.arrivals.lock().expect("not poisoned").push(arrival);
        if self.0.hangs.load(Ordering::SeqCst) {
            let _hanging = Hanging::new(&self.0);
            std::future::pending::<()>().await;
        }
        if self.0.is_down.load(Ordering::SeqCst) {
            return Err(status(Code::Unavailable));
        }
        match self.shown() {
            Some(_) => Err(status(Code::Aborted)),
            None => Ok(PublishReply {}),
        }
    }

    async fn resolve(&self, _: CallContext, _: ResolveRequest) -> Result<ResolveReply, Status> {
        let record = self.shown().ok_or_else(|| status(Code::NotFound))?;
        Ok(ResolveReply { record })
    }

    async fn list(
        &self,
        _: CallContext,
        _: ListRequest,
        _: Replies<ListReply>,
    ) -> Result<(), Status> {
        Ok(())
    }

    async fn watch(
        &self,
        _: CallContext,
        _: WatchRequest,
        _: Replies<WatchReply>,
    ) -> Result<(), Status> {
        Ok(())
    }
}

/// Serves in this process, to peer 9.
async fn serve(service: impl Names) -> (ServerHandle, Connection) {
    let server = Server::builder(
        Identity::new(&key(5)).expect("a sound key"),
        Arc::new(AllowedKeys::new([id(9)])),
        Router::new()
            .service(NamesServer::new(service))
            .expect("one service"),
        Limits::default(),
    )
    .start()
    .expect("started");
    let connector = Connector::new(
        &key(9),
        Arc::new(AllowedKeys::new([id(5)])),
        Limits::default(),
    )
    .expect("a sound key");
    let connection = connector
        .connect_memory(&server.door(), Duration::from_secs(10))
        .await
        .expect("connected");
    (server, connection)
}

fn start(services: Vec<Connection>) -> Publisher {
    Publisher::start(key(1), unsigned("a", 0, 0), VALIDITY, services).expect("started")
}

async fn published(publisher: &Publisher) -> u64 {
    let mut standing = publisher.standing();
    let reached = standing.wait_for(Standing::is_published).await;
    reached.expect("running").serial.expect("published")
}

fn elsewhere() -> Vec<Endpoint> {
    let mut endpoints = unsigned("a", 0, 0).endpoints;
    endpoints[0].address = "127.0.0.1:7001".to_owned();
    endpoints
}

#[tokio::test(start_paused = true)]
async fn a_name_is_kept_alive() {
    let recorder = Recorder::default();
    let (_server, connection) = serve(recorder.clone()).await;
    let started = Instant::now();
    let _publisher = start(vec![connection]);
    tokio::time::sleep(Duration::from_secs(95)).await;
    let arrivals = recorder.arrivals();
    let seconds: Vec<_> = arrivals
        .iter()
        .map(|(at, _)| (*at - started).as_secs())
        .collect();
    assert_eq!(seconds, [0, 30, 60, 90]);
    assert!(recorder.serials().is_sorted_by(|old, new| old < new));
    for (_, record) in arrivals {
        let left_ms = record.valid_until_ms - unix_ms();
        assert!((1..=90_000).contains(&left_ms), "{left_ms}");
        assert_eq!(record.name, name("a"));
    }
}

#[tokio::test(start_paused = true)]
async fn a_changed_place_is_published_at_once() {
    let recorder = Recorder::default();
    let (_server, connection) = serve(recorder.clone()).await;
    let publisher = start(vec![connection]);
    let first = published(&publisher).await;
    let before = Instant::now();
    publisher.update(elsewhere()).expect("sound");
    let mut standing = publisher.standing();
    standing
        .wait_for(|it| it.is_published() && it.serial != Some(first))
        .await
        .expect("running");
    assert!(before.elapsed() < Duration::from_secs(1), "nobody slept");
    let (_, last) = recorder.arrivals().pop().expect("published");
    assert_eq!(last.endpoints, elsewhere());
    assert!(last.serial > first);
}

#[tokio::test(start_paused = true)]
async fn a_place_that_is_none_is_refused_and_the_old_one_stays() {
    let recorder = Recorder::default();
    let (_server, connection) = serve(recorder.clone()).await;
    let publisher = start(vec![connection]);
    published(&publisher).await;
    assert_eq!(publisher.update(Vec::new()), Err(RecordError::NoEndpoint));
    tokio::time::sleep(Duration::from_secs(35)).await;
    let arrivals = recorder.arrivals();
    assert_eq!(arrivals.len(), 2);
    assert_eq!(arrivals[1].1.endpoints, unsigned("a", 0, 0).endpoints);
}

#[tokio::test(start_paused = true)]
async fn after_a_withdrawal_nothing_is_published() {
    for (withdraw, hangs) in [
        (Publisher::withdraw as fn(Publisher), false),
        (drop, false),
        (drop, true),
    ] {
        let recorder = Recorder::default();
        recorder.0.hangs.store(hangs, Ordering::SeqCst);
        let (_server, connection) = serve(recorder.clone()).await;
        let publisher = start(vec![connection]);
        while recorder.arrivals().is_empty() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        withdraw(publisher);
        tokio::time::sleep(Duration::from_secs(1000)).await;
        assert_eq!(recorder.0.hanging.load(Ordering::SeqCst), 0);
        assert_eq!(recorder.arrivals().len(), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn a_service_that_is_down_holds_nobody_up_and_is_told_when_it_is_back() {
    let (well, ill) = (Recorder::default(), Recorder::default());
    ill.0.is_down.store(true, Ordering::SeqCst);
    let (_well_server, to_well) = serve(well.clone()).await;
    let (_ill_server, to_ill) = serve(ill.clone()).await;
    let publisher = start(vec![to_ill, to_well]);
    tokio::time::sleep(Duration::from_secs(20)).await;
    let standing = publisher.standing().borrow().clone();
    assert_eq!(standing.services[1].taken, standing.serial);
    assert_eq!(standing.services[0].taken, None);
    let failure = standing.services[0].failure.as_ref().expect("it failed");
    assert_eq!(failure.code(), Code::Unavailable);
    assert_eq!(well.arrivals().len(), 1);
    let attempts = ill.arrivals().len();
    assert!((6..=9).contains(&attempts), "{attempts} in 20 s");
    ill.0.is_down.store(false, Ordering::SeqCst);
    let serial = published(&publisher).await;
    assert_eq!(Some(&serial), ill.serials().last());
    assert_eq!(publisher.standing().borrow().services[0].failure, None);
}

#[tokio::test(start_paused = true)]
async fn an_attempt_that_hangs_ends_and_does_not_hold_a_change_up() {
    let recorder = Recorder::default();
    recorder.0.hangs.store(true, Ordering::SeqCst);
    let (_server, connection) = serve(recorder.clone()).await;
    let started = Instant::now();
    let publisher = start(vec![connection]);
    while recorder.arrivals().len() < 2 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let retried = started.elapsed();
    assert!(retried >= PUBLISH_TIMEOUT && retried < 2 * PUBLISH_TIMEOUT);
    recorder.0.hangs.store(false, Ordering::SeqCst);
    // The second attempt hangs. It is not waited for.
    let before = Instant::now();
    publisher.update(elsewhere()).expect("sound");
    published(&publisher).await;
    while recorder.0.hanging.load(Ordering::SeqCst) > 0 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert!(before.elapsed() < Duration::from_secs(1), "it is dropped");
}

#[tokio::test(start_paused = true)]
async fn a_newer_record_of_the_same_signer_is_overtaken() {
    let service = NameService::in_memory(open_policy());
    let ahead = unix_ms() + 1_000_000;
    let newer = unsigned("a", ahead, FOREVER_MS)
        .sign(&key(1))
        .expect("sound");
    let stored = service.publish(&id(9), newer.bytes()).await;
    stored.map(drop).expect("stored");
    let (_server, connection) = serve(service.clone()).await;
    let publisher = start(vec![connection]);
    assert_eq!(published(&publisher).await, ahead + 1);
    let found = service.resolve(&id(9), &name("a")).expect("there");
    assert_eq!(found.record().serial, ahead + 1);
}

#[tokio::test(start_paused = true)]
async fn a_service_that_lies_about_what_it_has_drives_no_serial() {
    let huge = u64::MAX - 1;
    let by_other = unsigned("a", huge, FOREVER_MS).sign(&key(2));
    let of_other = unsigned("b", huge, FOREVER_MS).sign(&key(1));
    let expired = unsigned("a", huge, 1).sign(&key(1));
    let lies = [by_other, of_other, expired].map(|it| it.expect("sound").bytes().clone());
    for (index, lie) in lies.into_iter().chain([Bytes::new()]).enumerate() {
        let recorder = Recorder::default();
        *recorder.0.shows.lock().expect("not poisoned") = Some(lie);
        let (_server, connection) = serve(recorder.clone()).await;
        let _publisher = start(vec![connection]);
        tokio::time::sleep(Duration::from_secs(29)).await;
        let mut serials = recorder.serials();
        let attempts = serials.len();
        serials.dedup();
        assert_eq!(serials.len(), 1, "lie {index}");
        assert!(serials[0] < huge);
        assert!((2..20).contains(&attempts), "lie {index}: {attempts}");
    }
}

#[tokio::test]
async fn what_nobody_would_take_is_not_started() {
    let (_server, connection) = serve(NameService::in_memory(Policy::new())).await;
    let try_start = |record, validity, services| {
        Publisher::start(key(1), record, validity, services).map(|_| ())
    };
    let record = || unsigned("a", 0, 0);
    let one = || vec![connection.clone()];
    for validity in [Duration::ZERO, Duration::from_secs(2), Duration::MAX] {
        let refused = Err(PublisherError::Validity(validity));
        assert_eq!(try_start(record(), validity, one()), refused);
    }
    let refused = Err(PublisherError::NoService);
    assert_eq!(try_start(record(), VALIDITY, Vec::new()), refused);
    let nowhere = NameRecord {
        endpoints: Vec::new(),
        ..record()
    };
    let refused = Err(PublisherError::Record(RecordError::NoEndpoint));
    assert_eq!(try_start(nowhere, VALIDITY, one()), refused);
}
